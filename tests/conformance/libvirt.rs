//! The libvirt driver against the driver suite, on two real hosts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use drs_hypervisor::conformance::{DriverFixture, exercise};
use drs_hypervisor::{Driver, libvirt::LibvirtDriver};
use drs_model::{Host, HypervisorKind, VmRef};
use drs_tests::lab::{Guest, HOSTS, Lab, remove};
use drs_transport::{ShellGuard, SshConfig, SshRemote};
use tokio::task::spawn_blocking;

struct Hosts {
    lab: &'static Lab,
    source: Arc<dyn Driver>,
    target: Arc<dyn Driver>,
    running: Arc<Guest>,
    off: Guest,
    made: AtomicU32,
}

fn driver(lab: &Lab, name: &str) -> Arc<dyn Driver> {
    let host = Host {
        name: name.parse().expect("a name"),
        site: name.parse().expect("a name"),
        kind: HypervisorKind::Libvirt,
        address: lab.of_host("ADDR", name).to_owned(),
        key_file: Some(lab.value("KEY_FILE").to_owned()),
        host_keys: vec![lab.of_host("FINGERPRINT", name).to_owned()],
        image_dir: Some(lab.of_host("IMAGES", name).to_owned()),
        dump_dir: None,
        slots: 2,
        bytes_per_second: None,
    };
    let remote = SshRemote::new(SshConfig {
        host: host.name.clone(),
        address: host.address.clone(),
        key_file: host.key_file.clone().map(Into::into),
        agent_socket: None,
        pinned: host.host_keys.clone(),
        connect_timeout: SshConfig::CONNECT_TIMEOUT,
    });
    let remote = Arc::new(remote.expect("an address"));
    let guard = Arc::new(ShellGuard::new(remote.clone()));
    Arc::new(LibvirtDriver::new(host, remote, guard))
}

#[async_trait]
impl DriverFixture for Hosts {
    fn source(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.source)
    }

    fn target(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.target)
    }

    fn running_vm(&self) -> VmRef {
        self.running.reference().parse().expect("a VM")
    }

    fn off_vm(&self) -> VmRef {
        self.off.reference().parse().expect("a VM")
    }

    fn fresh_target(&self) -> VmRef {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("{}/{}-c{number}", HOSTS[1], self.off.name).parse().expect("a VM")
    }

    async fn guest_write(&self) {
        let guest = Arc::clone(&self.running);
        let written = spawn_blocking(move || {
            let before = guest.sequence(HOSTS[0]);
            drs_tests::product::wait_for("the guest writes", || {
                (guest.sequence(HOSTS[0]) > before).then_some(())
            });
        });
        written.await.expect("the guest wrote");
    }

    async fn leftovers(&self, vm: &VmRef) -> Vec<String> {
        let (lab, vm) = (self.lab, vm.clone());
        let look = move || {
            let (host, name) = (vm.host.as_str(), vm.name.as_str());
            let mut left = lab.leftovers(host, name);
            left.extend(stray_disks(lab, host, name));
            left
        };
        spawn_blocking(look).await.expect("the host was looked at")
    }
}

/// Images that were made for a VM of that name, or in its place, and belong to no VM.
fn stray_disks(lab: &Lab, host: &str, vm: &str) -> Vec<String> {
    let vms = lab.ssh(host, &["virsh", "-q", "list", "--all", "--name"]);
    let disks = |vm: &str| lab.ssh(host, &["virsh", "-q", "domblklist", vm]);
    let used: String = vms.lines().filter(|name| !name.is_empty()).map(disks).collect();
    let files = lab.ssh(host, &["ls", "-A", lab.of_host("IMAGES", host)]);
    let made_for = |file: &&str| file.starts_with(&format!("{vm}-")) && !used.contains(*file);
    files.lines().filter(made_for).map(str::to_owned).collect()
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for number in 0..self.made.load(Ordering::Relaxed) {
            remove(self.lab, HOSTS[1], &format!("{}-c{number}", self.off.name));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_libvirt_driver_passes_the_driver_suite() {
    let lab = Lab::get();
    // The suite maps no networks: the recovery site gets a bridge of the same name.
    lab.ssh(HOSTS[1], &["ip", "link", "add", "br-dr-a", "type", "bridge"]);
    let hosts = spawn_blocking(move || Hosts {
        lab,
        source: driver(lab, HOSTS[0]),
        target: driver(lab, HOSTS[1]),
        running: Arc::new(lab.running("tick", 16)),
        off: lab.stopped("tick", 16),
        made: AtomicU32::new(1),
    });
    let hosts = hosts.await.expect("the fixture");
    let report = exercise(&hosts).await;
    println!("{report}");
    assert!(report.passed(), "{report}");
}
