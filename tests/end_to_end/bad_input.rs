//! Hostile and tired input: what, why, what to do, and nothing lost.
