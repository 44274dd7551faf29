//! Tandem's state machine: things that happened go in, with the time they happened; things to
//! do come out, as values; a shell does them. See `docs/ARCHITECTURE.md` for a map.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
mod ancestors;
pub mod conflicts;
pub mod draft;
pub mod draft_wish;
pub mod edit;
pub mod engine;
pub mod error;
pub mod event;
pub mod fetch;
pub mod fetch_state;
pub mod handle;
pub mod ids;
pub mod label;
pub mod limits;
pub mod message;
pub mod mutant;
pub mod peers;
pub mod place_wish;
pub mod rng;
pub mod status;
pub mod time;
pub mod trash;
pub mod tree;
pub mod version;

mod commits;
mod exchange;
mod folder;
mod inodes;
mod link;
mod object;
mod on;
mod placing;
mod reconcile;
mod records;
mod resting;
mod standing;
mod thrown;
mod timers;

pub use records::{Owned, is_record, register_in};
