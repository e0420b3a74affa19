//! Configurations of guests.
