//! Tandem's state machine. See `docs/ARCHITECTURE.md`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod fetch;
pub mod handle;
pub mod ids;
pub mod limits;
pub mod rng;
pub mod time;
pub mod tree;
