//! Schedulers on a real store, in a time of the test's own.

mod bench;
mod ends;
mod runs;
