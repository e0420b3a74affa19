//! Every adapter against the suite of its port, where that needs more than the adapter's own crate.

mod libvirt;
mod proxmox;
