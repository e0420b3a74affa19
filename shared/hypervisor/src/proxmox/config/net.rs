//! Lines that tell of network cards: `virtio=BC:24:11:2A:6F:01,bridge=vmbr0,tag=20` in a machine,
//! `name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:00:01,ip=dhcp` in a container.

use drs_model::{NetworkMap, Nic, VmForm};

use super::Properties;

/// Card models of a machine; each is the key of the card's address.
const MODELS: [&str; 17] = [
    "virtio",
    "e1000",
    "e1000e",
    "rtl8139",
    "vmxnet3",
    "ne2k_pci",
    "ne2k_isa",
    "pcnet",
    "i82551",
    "i82557b",
    "i82559er",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "i82562",
    "i82550",
    "i82801",
];
/// Model that is used when the wanted one is not known.
const MODEL_DEFAULT: &str = "virtio";

/// Whether a key names a network card.
pub(in crate::proxmox) fn is_net(key: &str) -> bool {
    key.strip_prefix("net").is_some_and(|number| {
        (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A card as its line tells it; a card without a bridge has an empty network.
pub(in crate::proxmox) fn nic(form: VmForm, value: &str) -> Nic {
    let properties = Properties::parse(value);
    let (model, mac) = match form {
        VmForm::Machine => {
            let model = properties.pairs().find(|(key, _)| MODELS.contains(key));
            model.unwrap_or_else(|| {
                let mac = properties.get("macaddr").unwrap_or_default();
                (properties.leading("model").unwrap_or_default(), mac)
            })
        }
        VmForm::Container => {
            let text = |key| properties.get(key).unwrap_or_default();
            (properties.get("type").unwrap_or("veth"), text("hwaddr"))
        }
    };
    Nic { mac: mac.to_lowercase(), network: network(&properties), model: model.to_owned() }
}

/// The bridge of a card, with its VLAN tag behind a dot.
fn network(properties: &Properties) -> String {
    match (properties.get("bridge").unwrap_or_default(), properties.get("tag")) {
        (bridge, Some(tag)) => format!("{bridge}.{tag}"),
        (bridge, None) => bridge.to_owned(),
    }
}

/// A new card's line for a machine.
pub(super) fn line(nic: &Nic) -> String {
    let model = MODELS.iter().find(|it| **it == nic.model).unwrap_or(&MODEL_DEFAULT);
    let mut properties = Properties::default();
    properties.set(model, nic.mac.to_uppercase());
    attach(&mut properties, &nic.network);
    properties.to_string()
}

/// Attaches a card to the network that the map names for its own: first that of bridge and VLAN tag
/// (`vmbr0.20`), whose new value says all (`vmbr1.30`; `vmbr1` drops the tag); then that of the bridge
/// alone (`vmbr0`), where a new value without a tag keeps the card's. Tells the card's network before
/// and after when that is another one.
pub(in crate::proxmox) fn map_network(
    properties: &mut Properties,
    networks: &NetworkMap,
) -> Option<(String, String)> {
    let before = network(properties);
    let tag = properties.get("tag").map(str::to_owned);
    let bridge = properties.get("bridge").unwrap_or_default();
    match (networks.get(&before), networks.get(bridge), tag) {
        (Some(whole), ..) => attach(properties, whole),
        (None, Some(target), Some(tag)) if split(target).1.is_none() => {
            attach(properties, &format!("{target}.{tag}"));
        }
        (None, Some(target), _) => attach(properties, target),
        (None, None, _) => {}
    }
    let after = network(properties);
    (after != before).then_some((before, after))
}

fn attach(properties: &mut Properties, network: &str) {
    let (bridge, tag) = split(network);
    if bridge.is_empty() {
        return;
    }
    properties.set("bridge", bridge);
    match tag {
        Some(tag) => properties.set("tag", tag),
        None => properties.remove("tag"),
    }
}

/// Bridge and VLAN tag (1 to 4094).
fn split(network: &str) -> (&str, Option<&str>) {
    let tagged = network.rsplit_once('.').filter(|(bridge, tag)| {
        !bridge.is_empty() && tag.parse().is_ok_and(|tag: u16| (1..=4094).contains(&tag))
    });
    tagged.map_or((network, None), |(bridge, tag)| (bridge, Some(tag)))
}

/// Gives a card another address.
pub(in crate::proxmox) fn set_mac(form: VmForm, properties: &mut Properties, mac: &str) {
    let key = match form {
        VmForm::Machine => properties.pairs().map(|(key, _)| key).find(|key| MODELS.contains(key)),
        VmForm::Container => Some("hwaddr"),
    };
    let key = key.unwrap_or("macaddr").to_owned();
    properties.set(&key, mac.to_uppercase());
}

/// An address under Proxmox's own prefix, made from three bytes of chance.
pub(in crate::proxmox) fn new_mac(chance: [u8; 3]) -> String {
    let [a, b, c] = chance;
    format!("BC:24:11:{a:02X}:{b:02X}:{c:02X}")
}
