//! The product as its users meet it: the real binary on real hosts.
#![allow(clippy::disallowed_methods)] // these tests start programs beside the product

mod bad_input;
mod libvirt;
