//! Real deaths: the process is killed at every point of a job, and everything must come right.

mod crash_libvirt;
mod crash_proxmox;
mod dying_proxmox;
