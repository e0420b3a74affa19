//! What every form of the vault must do. A form's tests call [`run`] with a way to make an empty
//! vault and a way to spoil a manifest; it panics where the form breaks the port's word.

mod samples;

use std::sync::Mutex;

use drs_model::{PointId, PointState, Timestamp};

use self::samples::{MIB, complete, content, extents, id, image, read_disk, time, write_disk};
pub use self::samples::{manifest, point};
use crate::{Listing, StoredPoint, Vault, VaultError};

/// Runs the whole suite, each part on a vault of its own. `spoil` makes the manifest of a complete
/// point unreadable.
pub async fn run<V: Vault>(fresh: impl Fn() -> V, spoil: impl Fn(&V, PointId)) {
    what_is_written_is_read(&fresh()).await;
    points_are_listed_oldest_first(&fresh()).await;
    an_unfinished_point_is_not_there(&fresh()).await;
    finished_disks_are_kept_and_others_start_again(&fresh()).await;
    a_commit_may_be_repeated_but_not_changed(&fresh()).await;
    a_commit_needs_every_disk_as_its_manifest_says(&fresh()).await;
    a_discarded_point_leaves_nothing(&fresh()).await;
    extents_come_in_any_order(&fresh()).await;
    a_content_without_a_size_is_as_long_as_what_was_written(&fresh()).await;
    extents_stay_inside_the_disk(&fresh()).await;
    a_point_has_one_writer(&fresh()).await;
    a_verified_point_says_so(&fresh()).await;
    a_removed_point_is_gone(&fresh()).await;
    the_sweep_takes_what_nobody_claims_or_writes(&fresh()).await;
    what_is_not_there_is_not_found(&fresh()).await;
    let vault = fresh();
    an_unreadable_point_hides_no_other(&vault, |id| spoil(&vault, id)).await;
}

/// The points that are there, all of them readable.
async fn list(vault: &dyn Vault) -> Vec<StoredPoint> {
    let Listing { points, unreadable } = vault.list().await.expect("list");
    assert!(unreadable.is_empty(), "{unreadable:?}");
    points
}

async fn what_is_written_is_read(vault: &dyn Vault) {
    let written = complete(vault, id(1), time(1)).await;
    let stored = vault.get(id(1)).await.expect("get");
    assert_eq!(stored.manifest, written);
    assert_eq!(stored.state, PointState::Complete);
    for (number, disk) in written.disks.iter().enumerate() {
        let (read, data_bytes) = read_disk(vault, id(1), &disk.name).await;
        assert!(read == image(number), "the content of {} is not what was written", disk.name);
        assert_eq!(data_bytes, disk.data_bytes, "{}", disk.name);
        let compressible = disk.size_bytes / 2;
        assert!(disk.stored_bytes < compressible, "zeros of {} were stored", disk.name);
    }
}

async fn points_are_listed_oldest_first(vault: &dyn Vault) {
    assert!(list(vault).await.is_empty());
    for (number, at) in [(1, 30), (2, 10), (3, 20)] {
        complete(vault, id(number), time(at)).await;
    }
    let listed = list(vault).await;
    let ids: Vec<_> = listed.iter().map(|point| point.manifest.id).collect();
    assert_eq!(ids, [id(2), id(3), id(1)]);
    assert_eq!(listed[0], vault.get(id(2)).await.expect("get"));
}

async fn an_unfinished_point_is_not_there(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let disk = write_disk(writer.as_mut(), 0).await;
    assert!(list(vault).await.is_empty());
    assert!(matches!(vault.get(id(1)).await, Err(VaultError::NotFound(_))));
    assert!(matches!(vault.read(id(1), &disk.name).await, Err(VaultError::NotFound(_))));
    drop(writer);
    assert!(list(vault).await.is_empty());
}

async fn finished_disks_are_kept_and_others_start_again(vault: &dyn Vault) {
    let mut first = vault.begin(id(1)).await.expect("begin");
    let kept = write_disk(first.as_mut(), 0).await;
    let mut broken_off = first.disk("vdb", Some(8 * MIB)).await.expect("disk");
    for extent in extents(0) {
        broken_off.write(extent).await.expect("write");
    }
    drop(broken_off);
    drop(first);

    let mut second = vault.begin(id(1)).await.expect("begin again");
    assert_eq!(second.finished_disk("vda").await.expect("vda"), Some(kept.clone()));
    assert_eq!(second.finished_disk("vdb").await.expect("vdb"), None);
    let again = write_disk(second.as_mut(), 1).await;
    let point = manifest(id(1), time(1), vec![kept, again]);
    second.commit(&point).await.expect("commit");
    for number in [0, 1] {
        let disk = &point.disks[number].name;
        assert!(read_disk(vault, id(1), disk).await.0 == image(number), "{disk}");
    }
}

async fn a_commit_may_be_repeated_but_not_changed(vault: &dyn Vault) {
    let point = complete(vault, id(1), time(1)).await;

    let mut again = vault.begin(id(1)).await.expect("begin a complete point");
    for disk in &point.disks {
        let finished = again.finished_disk(&disk.name).await.expect("finished");
        assert_eq!(finished.as_ref(), Some(disk));
    }
    assert!(matches!(again.disk("vda", Some(MIB)).await, Err(VaultError::Misuse(_))));
    let mut later = point.clone();
    later.completed_at = time(99);
    again.commit(&later).await.expect("the same manifest again");

    let other = manifest(id(1), time(2), point.disks.clone());
    let again = vault.begin(id(1)).await.expect("begin");
    assert!(matches!(again.commit(&other).await, Err(VaultError::Misuse(_))));
    let again = vault.begin(id(1)).await.expect("begin");
    again.discard().await.expect("discard");
    assert_eq!(vault.get(id(1)).await.expect("get").manifest, point);
}

async fn a_commit_needs_every_disk_as_its_manifest_says(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let disk = write_disk(writer.as_mut(), 0).await;
    let missing = manifest(id(1), time(1), vec![disk.clone(), content("vdb")]);
    assert!(matches!(writer.commit(&missing).await, Err(VaultError::Misuse(_))));

    let mut unlike = disk.clone();
    unlike.data_bytes += 1;
    let writer = vault.begin(id(1)).await.expect("begin");
    let refused = writer.commit(&manifest(id(1), time(1), vec![unlike])).await;
    assert!(matches!(refused, Err(VaultError::Misuse(_))));

    let writer = vault.begin(id(1)).await.expect("begin");
    let refused = writer.commit(&manifest(id(2), time(1), vec![disk.clone()])).await;
    assert!(matches!(refused, Err(VaultError::Misuse(_))));

    assert!(list(vault).await.is_empty());
    let writer = vault.begin(id(1)).await.expect("begin");
    writer.commit(&manifest(id(1), time(1), vec![disk])).await.expect("the true manifest");
}

async fn a_discarded_point_leaves_nothing(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    write_disk(writer.as_mut(), 0).await;
    writer.discard().await.expect("discard");
    assert!(list(vault).await.is_empty());
    assert_eq!(vault.sweep_unfinished(&|_| false).await.expect("sweep"), 0);
    let mut writer = vault.begin(id(1)).await.expect("begin");
    assert_eq!(writer.finished_disk("vda").await.expect("finished"), None);
}

async fn extents_come_in_any_order(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let mut disk = writer.disk("vda", Some(8 * MIB)).await.expect("disk");
    for extent in extents(0).into_iter().rev() {
        disk.write(extent).await.expect("write");
    }
    let written = disk.finish().await.expect("finish");
    writer.commit(&manifest(id(1), time(1), vec![written])).await.expect("commit");
    assert!(read_disk(vault, id(1), "vda").await.0 == image(0));
    let report = vault.verify(id(1), time(2), &|_| {}).await.expect("verify");
    assert_eq!(report.damage, Vec::<String>::new());
}

async fn a_content_without_a_size_is_as_long_as_what_was_written(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let mut archive = writer.disk("archive.tar", None).await.expect("archive");
    for (offset, data) in [(0, vec![7; 5000]), (5000, vec![0; 10_240])] {
        archive.write(drs_model::Extent { offset, data: data.into() }).await.expect("write");
    }
    let written = archive.finish().await.expect("finish");
    assert_eq!(written.size_bytes, 15_240);
    writer.commit(&manifest(id(1), time(1), vec![written])).await.expect("commit");
    let (content, _) = read_disk(vault, id(1), "archive.tar").await;
    assert!(content == [vec![7; 5000], vec![0; 10_240]].concat());
}

async fn extents_stay_inside_the_disk(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let mut disk = writer.disk("vda", Some(8 * MIB)).await.expect("disk");
    for (offset, bytes) in [(8 * MIB, 1), (8 * MIB - 1, 2), (u64::MAX, 2), (5 * MIB, 1_048_577)] {
        let extent = drs_model::Extent { offset, data: vec![1; bytes].into() };
        assert!(matches!(disk.write(extent).await, Err(VaultError::Misuse(_))), "{offset}");
    }
}

async fn a_point_has_one_writer(vault: &dyn Vault) {
    let mut writer = vault.begin(id(1)).await.expect("begin");
    let disk = writer.disk("vda", Some(MIB)).await.expect("disk");
    assert!(matches!(vault.begin(id(1)).await, Err(VaultError::Busy(_))));
    drop(writer);
    assert!(matches!(vault.begin(id(1)).await, Err(VaultError::Busy(_))));
    disk.finish().await.expect("finish");
    let mut writer = vault.begin(id(1)).await.expect("begin");
    assert!(writer.finished_disk("vda").await.expect("finished").is_some());
}

async fn a_verified_point_says_so(vault: &dyn Vault) {
    let point = complete(vault, id(1), time(1)).await;
    let told = Mutex::new(Vec::new());
    let tell = |bytes| told.lock().expect("told").push(bytes);
    let report = vault.verify(id(1), time(5), &tell).await.expect("verify");
    assert_eq!((report.read_bytes, report.damage), (point.stored_bytes(), Vec::new()));
    let told = told.into_inner().expect("told");
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&report.read_bytes));
    assert_eq!(vault.get(id(1)).await.expect("get").state, PointState::Verified(time(5)));
    vault.verify(id(1), time(6), &|_| {}).await.expect("verify");
    let listed = list(vault).await;
    assert_eq!(listed[0].state, PointState::Verified(time(6)));
}

async fn a_removed_point_is_gone(vault: &dyn Vault) {
    let point = complete(vault, id(1), time(1)).await;
    complete(vault, id(2), time(2)).await;
    vault.verify(id(1), time(5), &|_| {}).await.expect("verify");
    vault.remove(id(1)).await.expect("remove");
    assert!(matches!(vault.get(id(1)).await, Err(VaultError::NotFound(_))));
    assert!(matches!(vault.remove(id(1)).await, Err(VaultError::NotFound(_))));
    assert_eq!(list(vault).await.len(), 1);

    let mut writer = vault.begin(id(1)).await.expect("begin");
    assert_eq!(writer.finished_disk("vda").await.expect("finished"), None);
    drop(writer);
    assert_eq!(complete(vault, id(1), time(1)).await, point);
    let remade = vault.get(id(1)).await.expect("get");
    assert_eq!(remade.state, PointState::Complete, "the old verdict is not about the new point");
}

async fn the_sweep_takes_what_nobody_claims_or_writes(vault: &dyn Vault) {
    complete(vault, id(1), time(1)).await;
    let mut stored = 0;
    for number in [2, 3] {
        let mut writer = vault.begin(id(number)).await.expect("begin");
        stored = write_disk(writer.as_mut(), 0).await.stored_bytes;
    }
    let mut living = vault.begin(id(4)).await.expect("begin");
    write_disk(living.as_mut(), 0).await;

    let freed = vault.sweep_unfinished(&|point| point == id(2)).await.expect("sweep");
    assert!(freed >= stored && freed < 2 * stored, "{freed} bytes came free, stored {stored}");
    assert!(living.finished_disk("vda").await.expect("living").is_some());
    for (number, kept) in [(2, true), (3, false)] {
        let mut writer = vault.begin(id(number)).await.expect("begin");
        let finished = writer.finished_disk("vda").await.expect("finished");
        assert_eq!(finished.is_some(), kept, "point {number}");
    }
    assert_eq!(list(vault).await.len(), 1);
}

async fn what_is_not_there_is_not_found(vault: &dyn Vault) {
    let absent = |result: Result<(), VaultError>| {
        assert!(matches!(result, Err(VaultError::NotFound(_))), "{result:?}");
    };
    absent(vault.get(id(1)).await.map(drop));
    absent(vault.read(id(1), "vda").await.map(drop));
    absent(vault.verify(id(1), Timestamp::UNIX_EPOCH, &|_| {}).await.map(drop));
    absent(vault.remove(id(1)).await);
}

async fn an_unreadable_point_hides_no_other(vault: &dyn Vault, spoil: impl Fn(PointId)) {
    for number in [1, 2, 3] {
        complete(vault, id(number), time(number.into())).await;
    }
    spoil(id(2));
    let told = vault.get(id(2)).await.expect_err("it cannot be read").to_string();
    let Listing { points, unreadable } = vault.list().await.expect("list");
    let ids: Vec<_> = points.iter().map(|point| point.manifest.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    let named: Vec<_> = unreadable.iter().map(|(id, error)| (*id, error.to_string())).collect();
    assert_eq!(named, [(id(2), told)]);

    assert!(read_disk(vault, id(1), "vda").await.0 == image(0));
    vault.verify(id(3), time(5), &|_| {}).await.expect("verify");
    assert_eq!(vault.get(id(3)).await.expect("get").state, PointState::Verified(time(5)));
    assert_eq!(vault.sweep_unfinished(&|_| false).await.expect("sweep"), 0);
    assert!(!matches!(vault.get(id(2)).await, Ok(_) | Err(VaultError::NotFound(_))));
    complete(vault, id(4), time(4)).await;
    vault.remove(id(1)).await.expect("remove a sound one");
    vault.remove(id(2)).await.expect("remove the unreadable one");
    let ids: Vec<_> = list(vault).await.iter().map(|point| point.manifest.id).collect();
    assert_eq!(ids, [id(3), id(4)]);
}
