//! Whether a restored guest is the planned one, line by line.

use std::collections::BTreeSet;

use crate::proxmox::config::{Config, Properties, is_drive, is_net, volume_storage};
use crate::proxmox::native::Native;

/// Lines that every restore makes anew.
const RENEWED: [&str; 4] = ["vmgenid", "meta", "digest", "description"];

/// Compares the restored guest's lines with the planned ones; tells the first difference.
pub(super) fn demand(wanted: &Native, actual: &str) -> Result<(), String> {
    let actual = Config::parse(actual);
    let form = wanted.form;
    for (key, value) in wanted.config.entries() {
        let found = actual.get(key);
        let same = match found {
            _ if RENEWED.contains(&key) => true,
            Some(found) if is_drive(form, key) => same_drive(value, found),
            Some(found) => set(value) == set(found),
            None => false,
        };
        if !same && is_secret(key) {
            return Err(format!("{key} differs"));
        }
        if !same {
            let found = found.map_or("is not there".to_owned(), |it| format!("is {it:?}"));
            return Err(format!("{key} {found} instead of {value:?}"));
        }
    }
    let hardware = |key: &str| is_drive(form, key) || is_net(key);
    match actual.entries().find(|(key, _)| hardware(key) && wanted.config.get(key).is_none()) {
        Some((key, value)) => Err(format!("{key} is {value:?}, but should not be there")),
        None => Ok(()),
    }
}

/// Lines whose value may hold a password: it is told to nobody.
pub(in crate::proxmox) fn is_secret(key: &str) -> bool {
    ["cipassword", "sshkeys", "args"].contains(&key)
}

/// The properties of a value: their order means nothing.
fn set(value: &str) -> BTreeSet<&str> {
    value.split(',').collect()
}

/// A drive is the same on the same storage with the same options. A volume has the name that its
/// storage gives it, and a size that its storage rounds.
fn same_drive(wanted: &str, found: &str) -> bool {
    let volume = |line: &Properties| {
        let name = line.leading("file").or(line.get("volume")).unwrap_or_default().to_owned();
        volume_storage(&name).map(str::to_owned).unwrap_or(name)
    };
    let (wanted, found) = (Properties::parse(wanted), Properties::parse(found));
    let options = |line: &Properties| -> BTreeSet<(String, String)> {
        let counted = |key: &str| !matches!(key, "size" | "format" | "file" | "volume");
        let pairs = line.pairs().filter(|(key, _)| counted(key));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    volume(&wanted) == volume(&found) && options(&wanted) == options(&found)
}

#[cfg(test)]
mod tests {
    use drs_model::VmForm;

    use super::*;

    const WANTED: &str = "boot: order=scsi0\nide2: none,media=cdrom\nname: web-112\n\
        net0: virtio=BC:24:11:2A:6F:01,bridge=vmbr0\n\
        scsi0: nfs-dr:vm-212-scsi0,iothread=1,aio=threads,size=8M\nvmgenid: 0b6f2a40\n";
    const FOUND: &str = "boot: order=scsi0\nide2: none,media=cdrom\nname: web-112\n\
        net0: bridge=vmbr0,virtio=BC:24:11:2A:6F:01\n\
        scsi0: nfs-dr:212/vm-212-disk-0.raw,aio=threads,iothread=1,size=8200K\nvmgenid: f373aaee\n";

    fn compare(found: &str) -> Result<(), String> {
        demand(&Native::new(VmForm::Machine, WANTED, ""), found)
    }

    #[test]
    fn a_password_is_not_told() {
        for key in ["cipassword", "sshkeys", "args"] {
            let wanted = Native::new(VmForm::Machine, &format!("{key}: hush\n"), "");
            for found in [format!("{key}: quiet\n"), String::new()] {
                let difference = demand(&wanted, &found).expect_err(key);
                assert_eq!(difference, format!("{key} differs"));
            }
        }
    }

    #[test]
    fn a_restored_guest_is_the_planned_one_but_for_what_every_restore_makes_anew() {
        assert_eq!(compare(FOUND), Ok(()));
        for (from, to, part) in [
            ("nfs-dr:", "local:", "scsi0"),
            ("iothread=1,", "", "scsi0"),
            ("bridge=vmbr0", "bridge=vmbr9", "net0"),
            ("name: web-112\n", "", "name is not there"),
            ("name:", "scsi1: local:212/vm-212-disk-1.raw\nname:", "should not be there"),
        ] {
            let difference = compare(&FOUND.replace(from, to)).expect_err(from);
            assert!(difference.contains(part), "{difference}");
        }
    }
}
