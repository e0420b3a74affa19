//! Stands in for the commands of a Proxmox VE node: vzdump, qmrestore, qm, pct, pvesh, pvesm.

fn main() {}
