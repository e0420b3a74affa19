//! The product as its users meet it: the real binary on real hosts.
#![allow(clippy::disallowed_methods)] // these tests start programs beside the product

mod bad_input;
mod cluster;
mod libvirt;
mod proxmox;
mod proxmox_bad_input;
mod proxmox_cross;
mod proxmox_mapping;
mod proxmox_replace;
mod proxmox_replicate;
mod proxmox_traps;
mod telemetry;
