//! What the tests that cross crates share: the built product, its data directories, and the lab.
#![allow(clippy::disallowed_methods)] // tests start the product and the lab, and read where it is

pub mod cluster;
pub mod dice;
pub mod engine;
pub mod fleet;
pub mod lab;
pub mod nodes;
pub mod product;
