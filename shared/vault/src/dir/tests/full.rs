//! A real full disk: the test runs itself once more in a mount namespace of its own, which ends
//! with it, on a file system of one MiB.

use std::process::Command;

use drs_model::{Extent, FaultCode, PointId, Timestamp};
use tempfile::TempDir;

use super::ids;
use crate::{DirVault, Vault, VaultError, conformance};

/// Tells the inner run where the small file system is mounted.
const SMALL_DISK: &str = "DRS_VAULT_TEST_SMALL_DISK";
/// What the inner run says at its end, so that a run of nothing does not pass.
const DONE: &str = "the full disk was met and left";
const NAME: &str = "dir::tests::full::a_full_disk_is_told_and_leaves_no_half_point";
/// Mounts a small file system on `$1` and runs the test `$3` of the binary `$2`.
const MOUNT_AND_RUN: &str = r#"
    mount -t tmpfs -o size=1m drs-test "$1" && exec "$2" --exact "$3" --nocapture
"#;

#[test]
#[expect(clippy::disallowed_methods, reason = "the test runs itself inside a mount namespace")]
fn a_full_disk_is_told_and_leaves_no_half_point() {
    if let Ok(disk) = std::env::var(SMALL_DISK) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(meet_a_full_disk(&disk));
        println!("{DONE}");
        return;
    }
    let place = TempDir::new().expect("a directory");
    let output = Command::new("unshare")
        // Root may mount as it is; anybody else may in a user namespace.
        .args(["--map-root-user"].iter().filter(|_| !rustix::process::geteuid().is_root()))
        .args(["--mount", "sh", "-c", MOUNT_AND_RUN, "sh"])
        .arg(place.path())
        .arg(std::env::current_exe().expect("this binary"))
        .arg(NAME)
        .env(SMALL_DISK, place.path())
        .output()
        .expect("unshare (util-linux) runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(DONE),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn meet_a_full_disk(disk: &str) {
    let vault = DirVault::create(format!("{disk}/vault")).expect("a vault");
    let id = "0192f000-0000-7000-8000-000000000009".parse().expect("an id");
    let mut noise = vec![0; Extent::BYTES_MAX];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);

    for _round in 0..3 {
        let mut writer = vault.begin(id).await.expect("begin");
        let mut disk = writer.disk("vda", Some(1 << 30)).await.expect("disk");
        let mut refused = None;
        for offset in (0..16).map(|n| n << 20) {
            let extent = Extent { offset, data: noise.clone().into() };
            if let Err(error) = disk.write(extent).await {
                refused = Some(error);
                break;
            }
        }
        let error = refused.expect("16 MiB do not fit into one");
        assert!(matches!(&error, VaultError::Full { path } if path.ends_with("vault")), "{error}");
        assert_eq!(error.fault().code, FaultCode::VaultFull);
        assert!(disk.finish().await.is_err(), "what is half written cannot be finished");
        assert_eq!(writer.finished_disk("vda").await.expect("finished"), None);
        assert!(ids(&vault).await.is_empty());
        writer.discard().await.expect("discard on a full disk");
    }

    full_at_every_later_place(&vault, disk).await;
    let point = conformance::point(&vault, 1).await;
    assert_eq!(vault.get(point.id).await.expect("get").manifest, point, "the space came free");
}

/// Leaves a little more room each time, so that the disk's stream, then its record, then the
/// manifest is what does not fit.
async fn full_at_every_later_place(vault: &DirVault, disk: &str) {
    let ballast = format!("{disk}/ballast");
    let mut refused = Vec::new();
    for room_kib in (0..1024).step_by(4) {
        std::fs::write(&ballast, vec![1; (1024 - room_kib) * 1024]).unwrap_or_default();
        match try_small_point(vault).await {
            Ok(id) => {
                assert_eq!(refused, ["finish", "commit"]);
                std::fs::remove_file(&ballast).expect("rm");
                vault.remove(id).await.expect("remove");
                return;
            }
            Err((place, error)) => {
                assert!(matches!(error, VaultError::Full { .. }), "{place}: {error}");
                refused.push(place);
                refused.dedup();
            }
        }
        assert!(ids(vault).await.is_empty());
    }
    panic!("a small point never fitted");
}

/// Writes a point of a few bytes, or tells the call that was refused.
async fn try_small_point(vault: &DirVault) -> Result<PointId, (&'static str, VaultError)> {
    let id = "0192f000-0000-7000-8000-00000000000a".parse().expect("an id");
    let mut writer = vault.begin(id).await.map_err(|error| ("begin", error))?;
    let mut disk = writer.disk("vda", Some(1 << 20)).await.map_err(|error| ("disk", error))?;
    let extent = Extent { offset: 0, data: b"DR Switch".to_vec().into() };
    disk.write(extent).await.map_err(|error| ("write", error))?;
    match disk.finish().await {
        Ok(content) => {
            let manifest = conformance::manifest(id, Timestamp::UNIX_EPOCH, vec![content]);
            writer.commit(&manifest).await.map_err(|error| ("commit", error))?;
            Ok(id)
        }
        Err(error) => {
            writer.discard().await.map_err(|error| ("discard", error))?;
            Err(("finish", error))
        }
    }
}
