use std::collections::BTreeMap;
use std::path::Path;

use drs_model::{FaultCode, Firmware, HypervisorKind, RestoreTarget, VmSpec};
use drs_transport::Argv;
use tokio::process::Command;

use super::domain::{self, Facts, Wanted};
use super::parse::{self, HostCapabilities};
use super::xml::Element;
use super::*;
use crate::PlannedDisk;

mod foreign;
mod scripts;

const LIN1: &str = include_str!("fixtures/lin1.inactive.xml");
const TWO1: &str = include_str!("fixtures/two1.inactive.xml");
const TWO1_LIVE: &str = include_str!("fixtures/two1.live.xml");
const CAPABILITIES: &str = include_str!("fixtures/capabilities.xml");
const BLOCK_INFO: &str = include_str!("fixtures/two1.domblkinfo");
const INFO: &str = include_str!("fixtures/off1.dominfo");

fn host() -> Host {
    Host {
        name: "dc1".parse().expect("a name"),
        site: "north".parse().expect("a name"),
        kind: HypervisorKind::Libvirt,
        address: "root@192.0.2.1".into(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots: 2,
        bytes_per_second: None,
    }
}

fn vm() -> VmRef {
    "dc1/web1".parse().expect("a VM")
}

fn spec_of(document: &str) -> VmSpec {
    let domain = Element::parse(document).expect("a domain");
    spec::spec(&domain, &parse::disk_sizes(BLOCK_INFO)).expect("a spec")
}

#[test]
fn a_domain_becomes_a_spec() {
    let spec = spec_of(TWO1);
    assert_eq!((spec.vcpus, spec.memory_mib, spec.firmware), (1, 16, Firmware::Bios));
    assert_eq!(spec.machine, "pc-q35-7.2");
    let disks: Vec<_> =
        spec.disks.iter().map(|it| (it.name.as_str(), it.size_bytes, it.protected)).collect();
    assert_eq!(disks, [("vda", 134_217_728, true), ("vdb", 314_572_800, true), ("sda", 0, false)]);
    assert_eq!(spec.disks[1].source, "/var/lib/libvirt/images/two1-data.qcow2");
    assert_eq!(spec.disks[2].unprotected_reason, "it is a cdrom");
    assert_eq!(spec.nics[0].mac, "52:54:00:8b:1f:61");
    assert_eq!((spec.nics[0].network.as_str(), spec.nics[0].model.as_str()), ("br-dr-a", "virtio"));
    assert!(!spec.guest_agent);
    assert!(spec_of(LIN1).guest_agent);
}

#[test]
fn a_disk_that_is_not_covered_says_why() {
    let disk = |inside: &str, attributes: &str| {
        let text = format!(
            "<domain><name>a</name><devices><disk device='disk' {attributes}><target dev='vda'/>{inside}</disk></devices></domain>"
        );
        spec_of(&text).disks.remove(0)
    };
    let file = "<source file='/a'/>";
    assert!(disk(file, "type='file'").protected);
    assert!(disk("<source dev='/dev/vg/a'/>", "type='block'").protected);
    for (inside, attributes, reason) in [
        ("", "type='file'", "it has no medium"),
        ("<source file='/a'/><readonly/>", "type='file'", "it is read-only"),
        ("<source file='/a'/><shareable/>", "type='file'", "it is shared"),
        ("<source file='/a'/><transient/>", "type='file'", "thrown away"),
        ("<source protocol='rbd' name='p/v'/>", "type='network'", "type network"),
        ("<source pool='p' volume='v'/>", "type='volume'", "type volume"),
    ] {
        let disk = disk(inside, attributes);
        assert!(!disk.protected && disk.unprotected_reason.contains(reason), "{disk:?}");
    }
}

#[test]
fn the_inventory_is_read() {
    let text = "running 76466b5c-bd40-47d2-8059-f8cc447586b7 tick1\n\
                paused d1d77b7a-b9df-4357-8fc4-eefc5e74b492 Windows Server 2019\n\
                shutoff cfd59277-153f-4dc6-8a4d-134a052d4db6 5\nother x y\n\n";
    let all: Vec<_> = parse::inventory(text).into_iter().map(|vm| (vm.name, vm.power)).collect();
    let expected = [
        ("tick1", PowerState::Running),
        ("Windows Server 2019", PowerState::Paused),
        ("5", PowerState::Off),
        ("y", PowerState::Broken),
    ];
    assert_eq!(all, expected.map(|(name, power)| (name.to_owned(), power)));
    assert_eq!(parse::field(INFO, "Managed save"), Some("no"));
    assert_eq!(parse::field(INFO, "State"), Some("shut off"));
}

#[test]
fn complaints_are_understood() {
    let code = |code: i32, stderr: &str| {
        let output = Output { code, stdout: Vec::new(), stderr: stderr.into() };
        parse::failure(&host(), Some(&vm()), "virsh", &output).fault().code
    };
    for (stderr, expected) in [
        ("\nerror: failed to get domain 'nope'\n\n", FaultCode::VmNotFound),
        (
            "error: Failed to define domain from /dev/stdin\nerror: operation failed: domain 'two1' already exists with uuid f18d",
            FaultCode::AlreadyExists,
        ),
        (
            "error: Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainBackupBegin)",
            FaultCode::VmBusy,
        ),
        (
            "error: operation failed: failed to format image: 'Could not write qcow2 header: No space left on device'",
            FaultCode::HostFull,
        ),
        (
            "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
            FaultCode::PermissionDenied,
        ),
        (
            "error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
            FaultCode::PermissionDenied,
        ),
        ("qemu-img: command not found", FaultCode::Unsupported),
        ("error: Domain is already active", FaultCode::HypervisorFailed),
        ("", FaultCode::HypervisorFailed),
    ] {
        assert_eq!(code(1, stderr), expected, "{stderr}");
    }
    assert_eq!(code(127, "sh: 1: virsh: not found"), FaultCode::Unsupported);
    assert_eq!(code(17, "/images/a.qcow2"), FaultCode::AlreadyExists);
    assert_eq!(code(21, "another program has a job on it (Backup)"), FaultCode::VmBusy);
    assert_eq!(code(124, ""), FaultCode::VmBusy);
}

#[test]
fn a_machine_type_is_found_or_its_newest_relative() {
    let host = HostCapabilities::parse(CAPABILITIES).expect("capabilities");
    assert!(!host.kvm());
    assert!(host.runs("x86_64") && !host.runs("aarch64"));
    assert_eq!(host.machine("x86_64", "pc-q35-6.2"), Some("pc-q35-6.2"));
    assert_eq!(host.machine("x86_64", "q35"), Some("q35"));
    assert_eq!(host.machine("x86_64", "pc-q35-10.0"), Some("pc-q35-7.2"));
    assert_eq!(host.machine("x86_64", "pc-i440fx-noble"), Some("pc-i440fx-7.2"));
    assert_eq!(host.machine("x86_64", "virt-9"), None);
}

#[test]
fn folders_that_are_no_plain_absolute_paths_are_refused() {
    assert_eq!(parse::folder("/srv/vm images/").ok().as_deref(), Some("/srv/vm images"));
    for text in ["", "images", "/a/../etc", "/a\nb", "/a'b", "/a,b", "/a\"b", "~/a"] {
        assert!(matches!(parse::folder(text), Err(DriverError::Invalid(_))), "{text:?}");
    }
}

fn planned(name: &str) -> PlannedDisk {
    PlannedDisk {
        name: name.into(),
        size_bytes: 1,
        staging: format!("/images/.drs-1-{name}.qcow2"),
        path: format!("/images/new-{name}.qcow2"),
        format: "qcow2".into(),
    }
}

fn facts(networks: &[&str], bridges: &[&str]) -> Facts {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Facts {
        files: set(&[
            "/var/lib/libvirt/images/guest/vmlinux",
            "/var/lib/libvirt/images/guest/initrd-qga.cpio",
        ]),
        networks: set(networks),
        bridges: set(bridges),
        capabilities: HostCapabilities::parse(CAPABILITIES).expect("capabilities"),
        uuids: Default::default(),
        host: "dc2".into(),
    }
}

fn target(networks: &[(&str, &str)], keep_macs: bool) -> RestoreTarget {
    RestoreTarget {
        vm: "dc2/new".parse().expect("a VM"),
        networks: networks.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        storage: BTreeMap::new(),
        keep_macs,
        start: false,
        replace: None,
        pair: None,
    }
}

fn adapted(
    source: &str,
    disks: &[PlannedDisk],
    target: &RestoreTarget,
    facts: &Facts,
) -> Result<(Element, Vec<String>), DriverError> {
    let source = Element::parse(source).expect("a domain");
    let job = drs_model::JobId::from_key("restore");
    let wanted = Wanted { job, name: &target.vm.name, disks, target };
    let (text, remarks) = domain::adapt(source, &wanted, facts)?;
    Ok((Element::parse(&text).expect("a domain"), remarks))
}

#[test]
fn a_vm_keeps_everything_but_what_the_target_names_otherwise() {
    let target = target(&[("br-dr-a", "br-dr-b")], true);
    let facts = facts(&[], &["br-dr-b"]);
    let (domain, remarks) =
        adapted(LIN1, &[planned("vda")], &target, &facts).expect("a description");
    assert_eq!(remarks, [""; 0]);
    let mut expected = Element::parse(LIN1).expect("a domain");
    let original = spec_of(LIN1);
    expected.remove("name");
    let mut got = domain.clone();
    got.remove("name");
    assert_eq!(got.at("uuid"), expected.at("uuid"));
    assert_eq!(got.at("os"), expected.at("os"));
    assert_eq!(got.at("cpu"), expected.at("cpu"));
    let spec = spec_of(&domain.to_string());
    assert_eq!(spec.name.as_str(), "new");
    assert_eq!(spec.nics[0].mac, original.nics[0].mac);
    assert_eq!(spec.nics[0].network, "br-dr-b");
    assert_eq!(spec.disks[0].source, "/images/new-vda.qcow2");
    let address = |domain: &Element| domain.at("devices/disk/address").cloned();
    assert_eq!(address(&domain), address(&expected));
}

#[test]
fn a_restored_vm_says_which_job_made_it_and_not_which_made_its_source() {
    let target = target(&[], true);
    let facts = facts(&[], &["br-dr-a"]);
    let job = drs_model::JobId::from_key("restore").to_string();
    let (once, _) = adapted(LIN1, &[planned("vda")], &target, &facts).expect("a description");
    let older = once.to_string().replace(&job, "11111111-1111-1111-1111-111111111111");
    let (twice, _) = adapted(&older, &[planned("vda")], &target, &facts).expect("a description");
    let notes: Vec<_> = twice.at("metadata").expect("metadata").all("drs:import").collect();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].attribute("job"), Some(job.as_str()));
}

#[test]
fn a_live_description_with_its_traces_of_a_host_can_be_restored_too() {
    let target = target(&[], true);
    let disks = [planned("vda"), planned("vdb")];
    let (domain, _) = adapted(TWO1_LIVE, &disks, &target, &facts(&[], &["br-dr-a"])).expect("ok");
    let text = domain.to_string();
    for trace in ["<seclabel", "<backingStore", "vnet", " id=\"4\"", "<emulator"] {
        assert!(!text.contains(trace), "{trace} in {text}");
    }
}

#[test]
fn a_network_can_become_a_bridge_and_an_unknown_one_is_named() {
    let no_mac = target(&[("br-dr-a", "default")], false);
    let facts = facts(&["default"], &[]);
    let (domain, _) = adapted(LIN1, &[planned("vda")], &no_mac, &facts).expect("a network");
    let nic = domain.at("devices/interface").expect("a card");
    assert_eq!(nic.attribute("type"), Some("network"));
    assert_eq!(nic.at("source").and_then(|it| it.attribute("network")), Some("default"));
    assert!(nic.at("mac").is_none());
    let unmapped = target(&[], true);
    let error = adapted(LIN1, &[planned("vda")], &unmapped, &facts).expect_err("no bridge");
    assert!(error.to_string().contains("--network br-dr-a=NAME"), "{error}");
}

#[test]
fn what_the_target_lacks_is_exchanged_with_a_remark_each() {
    let mut facts = facts(&[], &["br-dr-a"]);
    facts.uuids.insert("f18daddc-251a-44bf-aa7c-c2a5a74b92da".into());
    let source = TWO1
        .replace("type='qemu'", "type='kvm'")
        .replace("pc-q35-7.2", "pc-q35-10.0")
        .replace("mode='custom' match='exact' check='none'", "mode='host-passthrough'")
        .replace(
            "<target dev='sda' bus='sata'/>",
            "<source file='/iso/x.iso'/><target dev='sda' bus='sata'/>",
        );
    let disks = [planned("vda")];
    let (domain, remarks) = adapted(&source, &disks, &target(&[], true), &facts).expect("ok");
    assert_eq!(domain.attribute("type"), Some("qemu"));
    assert!(domain.at("uuid").is_none() && domain.at("cpu").is_none());
    let drives: Vec<_> = domain
        .at("devices")
        .into_iter()
        .flat_map(|it| it.all("disk"))
        .map(spec::disk_name)
        .collect();
    assert_eq!(drives, ["vda", "sda"]);
    let all = remarks.join("\n");
    for part in ["UUID", "no KVM", "CPU", "pc-q35-7.2", "disk vdb", "/iso/x.iso"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let missing = adapted(&source, &[planned("vdx")], &target(&[], true), &facts);
    assert!(matches!(missing, Err(DriverError::Invalid(_))));
}

async fn run(argv: &Argv) -> (Option<i32>, String) {
    let (program, args) = argv.parts().split_first().expect("a program");
    let output = Command::new(program).args(args).output().await.expect("a shell");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_probe_tells_room_and_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().to_str().expect("text");
    std::os::unix::fs::symlink("/nowhere", Path::new(here).join("dangling")).expect("a link");
    let dangling = format!("{here}/dangling");
    let argv =
        import::import("probe").args([here, "/nowhere", "--", here, &dangling, "/nowhere/at all"]);
    let (code, text) = run(&argv).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(code, Some(0));
    assert!(lines[0].parse::<u64>().is_ok_and(|free| free > 0), "{text}");
    assert_eq!(lines[1..], ["missing", "yes", "yes", "no"]);
}
