//! Real deaths: the process is killed at every point of a job, and everything must come right.
#![allow(clippy::disallowed_methods)] // these tests start programs beside the product

mod crash_libvirt;
mod crash_proxmox;
mod dying_proxmox;
