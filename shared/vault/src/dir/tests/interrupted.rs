use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use drs_model::Timestamp;

use super::{folder, fresh, ids};
use crate::{DirVault, Vault, VaultError, conformance};

#[tokio::test]
async fn a_crash_before_the_publishing_rename_leaves_a_point_that_can_be_committed() {
    let (_place, vault) = fresh();
    let point = conformance::point(&vault, 1).await;
    let unfinished = vault.path().join("unfinished").join(point.id.to_string());
    fs::rename(folder(&vault, point.id), &unfinished).expect("mv");
    fs::write(unfinished.join("manifest.1-1.tmp"), "half").expect("write");
    assert!(ids(&vault).await.is_empty());

    let mut writer = vault.begin(point.id).await.expect("begin");
    for disk in &point.disks {
        let finished = writer.finished_disk(&disk.name).await.expect("finished");
        assert_eq!(finished.as_ref(), Some(disk));
    }
    writer.commit(&point).await.expect("commit");
    assert_eq!(vault.get(point.id).await.expect("get").manifest, point);
    let mut names: Vec<_> = fs::read_dir(folder(&vault, point.id))
        .expect("ls")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["disk-vda.json", "disk-vda.stream", "disk-vdb.json", "disk-vdb.stream", "manifest.json"]
    );
}

#[tokio::test]
async fn a_record_without_its_whole_stream_counts_for_nothing() {
    let (_place, vault) = fresh();
    let point = conformance::point(&vault, 1).await;
    let unfinished = vault.path().join("unfinished").join(point.id.to_string());
    fs::rename(folder(&vault, point.id), &unfinished).expect("mv");
    fs::write(unfinished.join("disk-vda.stream"), "half").expect("write");
    fs::write(unfinished.join("disk-vdb.json"), "{\"format\":1").expect("write");
    let mut writer = vault.begin(point.id).await.expect("begin");
    for disk in ["vda", "vdb"] {
        assert_eq!(writer.finished_disk(disk).await.expect("finished"), None, "{disk}");
    }
}

#[tokio::test]
async fn the_sweep_ends_a_removal_that_was_interrupted() {
    let (_place, vault) = fresh();
    let point = conformance::point(&vault, 1).await;
    let removed = vault.path().join("removed").join(point.id.to_string());
    fs::rename(folder(&vault, point.id), &removed).expect("mv");
    assert!(ids(&vault).await.is_empty());
    let freed = vault.sweep_unfinished(&|_| true).await.expect("sweep");
    assert!(freed >= point.stored_bytes());
    assert!(!removed.exists());

    conformance::point(&vault, 1).await;
    fs::create_dir(&removed).expect("mkdir");
    fs::write(removed.join("disk-vda.stream"), "left over").expect("write");
    vault.remove(point.id).await.expect("remove over a leftover");
    assert!(!removed.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_that_is_removed_while_it_is_verified_stays_removed() {
    let (_place, vault) = fresh();
    let id = conformance::point(&vault, 1).await.id;
    // The first progress comes when the first bytes were read: then the point goes.
    let gone = AtomicBool::new(false);
    let path = folder(&vault, id);
    let grave = vault.path().join("removed").join(id.to_string());
    let verdict = vault
        .verify(id, Timestamp::UNIX_EPOCH, &|_| {
            if !gone.swap(true, Ordering::SeqCst) {
                fs::rename(&path, &grave).expect("mv");
            }
        })
        .await;
    assert!(gone.load(Ordering::SeqCst));
    assert!(matches!(verdict, Err(VaultError::NotFound(_))), "{verdict:?}");
    assert!(!path.exists());
    assert!(!grave.join("verdict.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_openings_of_a_directory_see_one_vault() {
    let (_place, vault) = fresh();
    let other = DirVault::open(vault.path()).expect("open");
    let writer = vault.begin("0192f000-0000-7000-8000-000000000007".parse().expect("an id")).await;
    let writer = writer.expect("begin");
    let point = conformance::point(&other, 1).await;
    assert_eq!(other.sweep_unfinished(&|_| false).await.expect("sweep"), 0);
    writer.discard().await.expect("discard");
    let (one, two) = tokio::join!(
        vault.verify(point.id, Timestamp::UNIX_EPOCH, &|_| {}),
        other.verify(point.id, Timestamp::UNIX_EPOCH, &|_| {}),
    );
    assert_eq!(one.expect("one"), two.expect("two"));
    other.remove(point.id).await.expect("remove");
    assert!(matches!(vault.get(point.id).await, Err(VaultError::NotFound(_))));
}
