//! Holds the house in order: who may depend on whom, who owns which foreign library, and the size
//! and the names of what stands in it.

mod dependencies;
mod sources;
