//! What a directory adds to the port's promises: damage in its files, a full disk, crashes, and
//! other processes.

mod damage;
mod full;
mod interrupted;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use drs_model::FaultCode;
use tempfile::TempDir;

use super::DirVault;
use crate::{VaultError, conformance};

/// A fresh vault in a directory that goes with the test.
fn fresh() -> (TempDir, DirVault) {
    let place = TempDir::new().expect("a directory");
    let vault = DirVault::create(place.path().join("vault")).expect("a vault");
    (place, vault)
}

/// The ids of the points that can be read.
async fn ids(vault: &DirVault) -> Vec<drs_model::PointId> {
    let points = crate::Vault::list(vault).await.expect("list").points;
    points.iter().map(|point| point.manifest.id).collect()
}

/// The folder of a complete point.
fn folder(vault: &DirVault, id: drs_model::PointId) -> PathBuf {
    vault.path().join("points").join(id.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_conforms_to_the_port() {
    let place = TempDir::new().expect("a directory");
    let count = AtomicU32::new(0);
    let fresh = || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        DirVault::create(place.path().join(number.to_string())).expect("a vault")
    };
    let spoil = |vault: &DirVault, id| {
        std::fs::write(folder(vault, id).join("manifest.json"), "nonsense").expect("write");
    };
    conformance::run(fresh, spoil).await;
}

#[test]
fn a_creation_that_was_interrupted_is_continued_and_repeated() {
    let place = TempDir::new().expect("a directory");
    let path = place.path().join("vault");
    std::fs::create_dir(&path).expect("mkdir");
    std::fs::create_dir(path.join("points")).expect("mkdir");
    std::fs::write(path.join("format.1-1.tmp"), "drs").expect("write");
    assert!(matches!(DirVault::open(&path), Err(VaultError::NotAVault { .. })));
    DirVault::create(&path).expect("create");
    DirVault::create(&path).expect("create again");
    DirVault::open(&path).expect("open");
}

#[test]
fn what_is_no_vault_is_refused_with_a_remedy_and_left_alone() {
    let place = TempDir::new().expect("a directory");
    let missing = DirVault::open(place.path().join("missing")).expect_err("missing");
    assert_eq!(missing.fault().code, FaultCode::VaultFailed);
    assert!(missing.fault().remedy.contains("Do not run `drs init`"));

    std::fs::write(place.path().join("letter.txt"), "dear").expect("write");
    let foreign = DirVault::create(place.path()).expect_err("foreign");
    assert!(foreign.to_string().contains("letter.txt"), "{foreign}");
    assert_eq!(std::fs::read_dir(place.path()).expect("ls").count(), 1);

    std::fs::write(place.path().join("format"), "something else\n").expect("write");
    assert!(matches!(DirVault::open(place.path()), Err(VaultError::NotAVault { .. })));
}

#[test]
fn a_newer_layout_is_refused() {
    let (_place, vault) = fresh();
    std::fs::write(vault.path().join("format"), "drs-vault 2\n").expect("write");
    let error = DirVault::open(vault.path()).expect_err("newer");
    assert!(matches!(error, VaultError::TooNew { found: 2, known: 1, .. }), "{error}");
    assert_eq!(error.fault().code, FaultCode::DataTooNew);
}

#[tokio::test]
async fn hundreds_of_points_are_listed_at_once() {
    let (_place, vault) = fresh();
    let template = conformance::point(&vault, 1).await;
    for number in 0..500u128 {
        let id = format!("{:032x}", number + (1 << 100)).parse().expect("an id");
        let mut point = template.clone();
        point.id = id;
        std::fs::create_dir(folder(&vault, id)).expect("mkdir");
        vault.root.put(&folder(&vault, id).join("manifest.json"), &point).expect("put");
    }
    let start = std::time::Instant::now();
    let listed = crate::Vault::list(&vault).await.expect("list");
    assert_eq!(listed.points.len(), 501);
    assert!(start.elapsed().as_secs() < 5, "took {:?}", start.elapsed());
}
