//! What makes a guest a machine of its own: network addresses and UUID, kept or made anew.

use std::hash::{DefaultHasher, Hash, Hasher};

use drs_model::{JobId, VmForm};

use super::Wanted;
use super::survey::Survey;
use crate::ReplacedVm;
use crate::proxmox::config::{Config, Properties, is_net, new_mac, nic, set_mac};
use crate::proxmox::guest::Vmid;
use crate::proxmox::native::Native;

/// Gives every card a new address and the machine a new UUID, as `qmrestore --unique` would. The same
/// job makes the same ones again.
pub(super) fn renew(job: JobId, native: &mut Native) -> Vec<String> {
    let config = &mut native.config;
    let keys: Vec<String> =
        config.entries().map(|(key, _)| key.to_owned()).filter(|key| is_net(key)).collect();
    for key in &keys {
        let mut card = Properties::parse(config.get(key).unwrap_or_default());
        let [a, b, c, ..] = chance(job, key).to_be_bytes();
        set_mac(native.form, &mut card, &new_mac([a, b, c]));
        config.set(key, &card.to_string());
    }
    if native.form == VmForm::Machine {
        let mut smbios = Properties::parse(config.get("smbios1").unwrap_or_default());
        smbios.set("uuid", new_uuid(job));
        config.set("smbios1", &smbios.to_string());
    }
    match keys.is_empty() {
        true => Vec::new(),
        false => vec![format!("{} get new network addresses", keys.join(", "))],
    }
}

/// Random in practice, and the same for the same job.
fn chance(job: JobId, what: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (job, what).hash(&mut hasher);
    hasher.finish()
}

/// A UUID of version 4.
fn new_uuid(job: JobId) -> String {
    let (high, low) = (chance(job, "uuid, high"), chance(job, "uuid, low"));
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// What the guest's configuration contains, and that of no other guest together.
pub(super) fn identity(native: &Native) -> Vec<String> {
    let config = &native.config;
    let name = match native.form {
        VmForm::Machine => "name",
        VmForm::Container => "hostname",
    };
    let uuid = Properties::parse(config.get("smbios1").unwrap_or_default());
    let uuid = uuid.get("uuid").map(|uuid| format!("uuid={uuid}"));
    let name = config.get(name).map(|value| format!("{name}: {value}"));
    name.into_iter().chain(uuid).chain(macs(native.form, config)).collect()
}

fn macs(form: VmForm, config: &Config) -> Vec<String> {
    let cards = config.entries().filter(|(key, _)| is_net(key));
    let macs = cards.map(|(_, card)| nic(form, card).mac);
    macs.filter(|mac| !mac.is_empty()).collect()
}

/// Warns of the guests of this cluster that have the same network addresses.
pub(super) fn twins(
    wanted: &Wanted<'_>,
    survey: &Survey,
    replaces: Option<&ReplacedVm>,
) -> Option<String> {
    let target = wanted.request.target;
    let displaced = replaces.filter(|old| old.policy.takes_place());
    let displaced = displaced.and_then(|old| Vmid::parse(old.name.as_str()));
    let twins = survey.twins.iter().filter(|twin| Some(**twin) != displaced);
    let twins: Vec<String> = twins.map(|twin| twin.to_string()).collect();
    let told = target.keep_macs && !twins.is_empty();
    told.then(|| {
        format!(
            "it has network addresses that VM {} of this cluster has, too: do not let both run in one network, or restore with new addresses (`--new-macs`)",
            twins.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "name: web\nnet0: virtio=BC:24:11:2A:6F:01,bridge=vmbr0\n\
        net1: e1000=BC:24:11:2A:6F:02,bridge=vmbr0\nsmbios1: uuid=6a8c8a7e-0d0b-4a5f-9b52-0f5a6d1c1a11\n";

    #[test]
    fn trap_15_new_addresses_and_uuid_are_the_jobs_own() {
        let renewed = |key: &str| {
            let mut native = Native::new(VmForm::Machine, CONFIG, "");
            renew(JobId::from_key(key), &mut native);
            identity(&native)
        };
        let old = identity(&Native::new(VmForm::Machine, CONFIG, ""));
        assert_eq!(old.len(), 4, "name, UUID and two addresses: {old:?}");
        let (one, again, other) = (renewed("a"), renewed("a"), renewed("b"));
        assert_eq!(one, again);
        for (at, value) in one.iter().enumerate().skip(1) {
            assert!(!old.contains(value) && !other.contains(value), "{value}");
            let mac = value.starts_with("bc:24:11:") && value.len() == 17;
            assert!(mac || at == 1 && value.len() == 41, "{value}");
        }
        assert_eq!(one[1].as_bytes()[19], b'4', "the version of the UUID: {}", one[1]);
    }

    #[test]
    fn a_container_has_a_name_and_addresses() {
        let config = "hostname: ct\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:00:01\n";
        let mut native = Native::new(VmForm::Container, config, "");
        assert_eq!(identity(&native), ["hostname: ct", "bc:24:11:aa:00:01"]);
        renew(JobId::from_key("a"), &mut native);
        assert!(!native.config.to_string().contains("AA:00:01"));
        assert_eq!(native.config.get("smbios1"), None);
    }
}
