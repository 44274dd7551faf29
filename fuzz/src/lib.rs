//! What is fuzzed: plain functions of bytes, each of which panics when a law does not hold.
//!
//! The libFuzzer package `fuzz/fuzz_targets`, outside the workspace, calls them with noise;
//! `tests/replay.rs` calls them with every input under `corpus/`, in plain `cargo test`. An input
//! that once broke a law goes into its target's corpus.

mod bitmap;
mod names;
mod sidecar;

pub use bitmap::{bitmap_decode, bitmap_ops};
pub use names::names;
pub use sidecar::sidecar_decode;

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All targets by name: that of their file in `fuzz_targets/` and of their folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("bitmap_decode", bitmap_decode),
    ("bitmap_ops", bitmap_ops),
    ("names", names),
    ("sidecar_decode", sidecar_decode),
];
