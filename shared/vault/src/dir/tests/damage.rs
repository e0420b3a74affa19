use std::fs;
use std::path::Path;

use drs_model::{FaultCode, PointState, Timestamp};

use super::{folder, fresh, ids};
use crate::{Vault, VaultError, conformance};

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[place] ^= 1;
    fs::write(path, bytes).expect("write");
}

/// Verifies point 1 and expects one damage per part of `told`, which must be told in it.
async fn expect_damage(vault: &dyn Vault, id: drs_model::PointId, told: &[&str]) {
    let at = Timestamp::from_second(77).expect("a time");
    let report = vault.verify(id, at, &|_| {}).await.expect("verify");
    assert_eq!(report.damage.len(), told.len(), "{:?}", report.damage);
    for (damage, part) in report.damage.iter().zip(told) {
        assert!(damage.contains(part), "{damage:?} does not tell {part:?}");
    }
    assert_eq!(vault.get(id).await.expect("get").state, PointState::Damaged(at));
}

async fn read_through(vault: &dyn Vault, id: drs_model::PointId) -> VaultError {
    let mut reader = match vault.read(id, "vda").await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the damage was not found"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_told_with_its_place_by_verify_and_by_read() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    flip(&folder(&vault, id).join("disk-vda.stream"), 40);
    expect_damage(&vault, id, &["disk-vda.stream, byte 32: "]).await;
    let error = read_through(&vault, id).await;
    assert!(error.to_string().contains("disk-vda.stream, byte 32: "), "{error}");
    assert_eq!(error.fault().code, FaultCode::PointDamaged);
}

#[tokio::test]
async fn missing_short_and_long_streams_are_told_each() {
    let (_place, vault) = fresh();
    let point = conformance::point(&vault, 1).await;
    let (vda, vdb) = ("disk-vda.stream", "disk-vdb.stream");
    let folder = folder(&vault, point.id);

    let mut bytes = fs::read(folder.join(vda)).expect("read");
    bytes.push(0);
    fs::write(folder.join(vda), &bytes).expect("write");
    fs::remove_file(folder.join(vdb)).expect("rm");
    expect_damage(&vault, point.id, &["disk-vda.stream has", "disk-vdb.stream is missing"]).await;

    bytes.truncate(100);
    fs::write(folder.join(vda), &bytes).expect("write");
    expect_damage(&vault, point.id, &["has 100 bytes", "is missing"]).await;
    assert!(matches!(read_through(&vault, point.id).await, VaultError::Damaged { .. }));
}

#[tokio::test]
async fn a_sound_stream_in_the_wrong_place_is_found() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    let folder = folder(&vault, id);
    let other = fs::read(folder.join("disk-vdb.stream")).expect("read");
    let length = fs::metadata(folder.join("disk-vda.stream")).expect("stat").len();
    fs::write(folder.join("disk-vda.stream"), &other).expect("write");
    let told = if other.len() as u64 == length { "digest" } else { "bytes instead of" };
    expect_damage(&vault, id, &[told]).await;
}

#[tokio::test]
async fn a_damaged_manifest_is_named_by_every_call() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    let path = folder(&vault, id).join("manifest.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("\"vcpus\":1", "\"vcpus\":8", 1)).expect("write");
    for error in [
        vault.get(id).await.expect_err("get"),
        vault.begin(id).await.map(drop).expect_err("begin"),
        vault.read(id, "vda").await.map(drop).expect_err("read"),
    ] {
        assert!(matches!(error, VaultError::Damaged { point, .. } if point == id), "{error}");
        assert!(error.to_string().contains("manifest.json"), "{error}");
    }
    let report = vault.verify(id, Timestamp::UNIX_EPOCH, &|_| {}).await.expect("verify");
    assert_eq!(report.damage.len(), 1);
    vault.remove(id).await.expect("what is damaged can be removed");
    assert!(ids(&vault).await.is_empty());
}

#[tokio::test]
async fn a_point_without_manifest_or_under_a_wrong_id_is_damaged() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    let other = "0192f000-0000-7000-8000-000000000099".parse().expect("an id");
    fs::rename(folder(&vault, id), folder(&vault, other)).expect("mv");
    let error = vault.get(other).await.expect_err("wrong id");
    assert!(error.to_string().contains("belongs to"), "{error}");
    fs::remove_file(folder(&vault, other).join("manifest.json")).expect("rm");
    let error = vault.get(other).await.expect_err("no manifest");
    assert!(error.to_string().contains("manifest.json is missing"), "{error}");
}

#[tokio::test]
async fn newer_documents_and_streams_are_called_newer() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    let path = folder(&vault, id).join("manifest.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("\"format\":1", "\"format\":2", 1)).expect("write");
    let error = vault.get(id).await.expect_err("newer");
    assert!(matches!(error, VaultError::TooNew { found: 2, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn every_way_to_be_unreadable_stands_beside_the_sound_points() {
    let (_place, vault) = fresh();
    let manifest = |id| folder(&vault, id).join("manifest.json");
    let mut points = Vec::new();
    for number in 1..=5 {
        points.push(conformance::point(&vault, number).await.id);
    }
    flip(&manifest(points[0]), 200);
    let text = fs::read_to_string(manifest(points[1])).expect("read");
    fs::write(manifest(points[1]), text.replacen("\"format\":1", "\"format\":2", 1))
        .expect("write");
    fs::remove_file(manifest(points[2])).expect("rm");
    // A link to itself fails as a bad sector does: when it is opened, for whoever reads it.
    fs::remove_file(manifest(points[3])).expect("rm");
    std::os::unix::fs::symlink("manifest.json", manifest(points[3])).expect("ln");

    assert_eq!(ids(&vault).await, [points[4]]);
    let unreadable = vault.list().await.expect("list").unreadable;
    let codes: Vec<_> = unreadable.iter().map(|(id, error)| (*id, error.fault().code)).collect();
    let expected = [
        (points[0], FaultCode::PointDamaged),
        (points[1], FaultCode::DataTooNew),
        (points[2], FaultCode::PointDamaged),
        (points[3], FaultCode::VaultFailed),
    ];
    assert_eq!(codes, expected);
    for point in points {
        vault.remove(point).await.expect("every one can be removed");
    }
    assert!(vault.list().await.expect("list").unreadable.is_empty());
}

#[tokio::test]
async fn a_void_verdict_proves_nothing() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    vault.verify(id, Timestamp::UNIX_EPOCH, &|_| {}).await.expect("verify");
    flip(&folder(&vault, id).join("verdict.json"), 100);
    assert_eq!(vault.get(id).await.expect("get").state, PointState::Complete);

    let verdict = folder(&vault, id).join("verdict.json");
    fs::remove_file(&verdict).expect("rm");
    std::os::unix::fs::symlink("verdict.json", &verdict).expect("ln");
    assert_eq!(vault.get(id).await.expect("an unreadable one").state, PointState::Complete);
}
