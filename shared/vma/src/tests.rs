//! Tests of the whole: archives of the real tools, files, packings, hostile input.

mod compressed;
mod files;
mod fixtures;
mod hostile;
mod properties;
mod samples;
