mod fixtures;
mod samples;
