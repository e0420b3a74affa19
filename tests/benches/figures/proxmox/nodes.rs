//! The lab's nodes and the VMs on them.

use anyhow::Result;
use drs_tests::nodes::Nodes;

use crate::product::Product;

/// The number of each VM at its source, and of its counterpart.
pub(super) const SOURCE: &str = "112";
/// See [`SOURCE`].
pub(super) const COUNTERPART: &str = "111";

/// A VM of the data centre that runs, and the node of its counterpart. The VM is removed with this value.
pub(super) struct Pair {
    pub(super) nodes: Nodes,
    pub(super) name: String,
    pub(super) dc: String,
    pub(super) drc: String,
}

/// The `n`-th pair: a new VM of this size on node dc`n`, for node drc`n`.
pub(super) fn pair(n: usize, size_mib: u32) -> Result<Pair> {
    let dir = std::env::var("DRS_PROXMOX_LAB")?;
    let nodes = Nodes::at(dir.as_ref());
    let (dc, drc) = (format!("dc{n}"), format!("drc{n}"));
    let size = format!("{size_mib}M");
    nodes.run(&["guest", &dc, SOURCE, "boot", "--size", &size, "--data", "40%"]);
    nodes.run(&["ssh", &dc, "qm", "start", SOURCE]);
    nodes.console(&dc, SOURCE, "DR-LAB BOOT OK");
    Ok(Pair { nodes, name: format!("pair-{n}"), dc, drc })
}

impl Pair {
    /// A new installation of the product that knows this pair.
    pub(super) fn product(&self) -> Result<Product> {
        let drs = Product::new()?;
        self.add_to(&drs)?;
        Ok(drs)
    }

    /// Adds both nodes and the pair.
    pub(super) fn add_to(&self, drs: &Product) -> Result<()> {
        for (node, site) in [(&self.dc, "dc"), (&self.drc, "rc")] {
            let of_node = |key| self.nodes.of_node(key, node);
            let (address, fingerprint) = (of_node("ADDR"), of_node("FINGERPRINT"));
            let login = ["--address", address, "--key", self.nodes.value("KEY_FILE")];
            let host = ["host", "add", node, "--driver", "proxmox", "--site", site];
            drs.run(&[&host[..], &login, &["--accept-key", fingerprint]].concat())?;
        }
        let source = format!("{}/{SOURCE}", self.dc);
        let target = format!("{}/{COUNTERPART}", self.drc);
        drs.run(&["pair", "add", &self.name, "--source", &source, "--target", &target])?;
        Ok(())
    }

    /// Makes the counterpart's number free again.
    pub(super) fn remove_counterpart(&self) {
        self.nodes.remove(&self.drc, COUNTERPART);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.nodes.remove(&self.dc, SOURCE);
        self.remove_counterpart();
    }
}
