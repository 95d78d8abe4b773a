//! What must hold for every input, one module a way into the server; each has `holds(input)`,
//! which panics where it does not.
//!
//! The fuzzers in `targets/` draw inputs for hours; `test/fuzz.rs` replays the corpus.

pub mod body;
pub mod config;
pub mod key;
pub mod request;
pub mod route;
pub mod sessions;
pub mod socket;
mod transport;
