//! The Proxmox VE driver against the driver suite, on two nodes.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use drs_hypervisor::conformance::{DriverFixture, exercise};
use drs_hypervisor::{Driver, proxmox::ProxmoxDriver};
use drs_model::{Host, HypervisorKind, VmRef};
use drs_tests::nodes::{BOOTED, DC, DRC, Nodes, Vm};
use drs_transport::{ShellGuard, SshConfig, SshRemote};
use tokio::task::spawn_blocking;

struct Hosts {
    nodes: &'static Nodes,
    source: Arc<dyn Driver>,
    target: Arc<dyn Driver>,
    running: Arc<Vm>,
    off: Vm,
    made: Mutex<Vec<String>>,
}

fn driver(nodes: &Nodes, name: &str) -> Arc<dyn Driver> {
    let host = Host {
        name: name.parse().expect("a name"),
        site: name.parse().expect("a name"),
        kind: HypervisorKind::Proxmox,
        address: nodes.of_node("ADDR", name).to_owned(),
        key_file: Some(nodes.value("KEY_FILE").to_owned()),
        host_keys: vec![nodes.of_node("FINGERPRINT", name).to_owned()],
        image_dir: None,
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
    Arc::new(ProxmoxDriver::new(host, remote, guard))
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
        let vmid = self.nodes.fresh_vmid().to_string();
        let vm = format!("{DRC}/{vmid}").parse().expect("a VM");
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(vmid);
        vm
    }

    async fn guest_write(&self) {
        let image = self.nodes.volume(DC, &self.running.vmid, "scsi0");
        let written = spawn_blocking(move || {
            let before = std::fs::read(&image).expect("an image");
            drs_tests::product::wait_for("the guest writes", || {
                (std::fs::read(&image).expect("an image") != before).then_some(())
            });
        });
        written.await.expect("the guest wrote");
    }

    async fn leftovers(&self, vm: &VmRef) -> Vec<String> {
        let (nodes, vm) = (self.nodes, vm.clone());
        let look = move || nodes.leftovers(vm.host.as_str(), vm.name.as_str());
        spawn_blocking(look).await.expect("the node was looked at")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for vmid in self.made.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.nodes.remove(DRC, vmid);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxmox_driver_passes_the_driver_suite() {
    let nodes = Nodes::get();
    let hosts = spawn_blocking(move || {
        let (running, off) = (nodes.guest("writer", &[]), nodes.guest("boot", &[]));
        running.start();
        nodes.console(DC, &running.vmid, BOOTED);
        Hosts {
            nodes,
            source: driver(nodes, DC),
            target: driver(nodes, DRC),
            running: Arc::new(running),
            off,
            made: Mutex::default(),
        }
    });
    let hosts = hosts.await.expect("the fixture");
    let report = exercise(&hosts).await;
    println!("{report}");
    assert!(report.passed(), "{report}");
}
