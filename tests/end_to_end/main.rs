//! The product as its users meet it: the real binary on real hosts.

mod bad_input;
mod libvirt;
