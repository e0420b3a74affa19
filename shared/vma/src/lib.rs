//! Reads and writes VMA, the archive format of Proxmox VE's backups, more strictly than the original.
