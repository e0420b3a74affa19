//! What the tests that cross crates share: the built product, its data directories, and the lab.
