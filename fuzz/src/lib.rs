//! What is fuzzed: plain functions of bytes, each of which panics when a law does not hold.
//!
//! The libFuzzer package `fuzz/fuzz_targets`, outside the workspace, calls them with noise;
//! `tests/replay.rs` calls them with every input under `corpus/`, in plain `cargo test`. An input
//! that once broke a law goes into its target's corpus.

mod bitmap;
mod choices;
mod disk;
mod folk;
mod hostile;
mod io;
mod journal;
mod names;
mod noise;
mod paths;
mod records;
mod shell;
mod sidecar;
mod text;
mod words;

pub use bitmap::{bitmap_decode, bitmap_ops};
pub use choices::sim_choices;
pub use hostile::hostile_peer;
pub use journal::journal_decode;
pub use names::names;
pub use paths::paths;
pub use records::metadata_records;
pub use sidecar::sidecar_decode;
pub use tandem_proto::fuzz::{wire_frame, wire_lane};
pub use text::{configuration, ticket};

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All targets by name: that of their file in `fuzz_targets/` and of their folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("bitmap_decode", bitmap_decode),
    ("bitmap_ops", bitmap_ops),
    ("configuration", configuration),
    ("hostile_peer", hostile_peer),
    ("journal_decode", journal_decode),
    ("metadata_records", metadata_records),
    ("names", names),
    ("paths", paths),
    ("sidecar_decode", sidecar_decode),
    ("sim_choices", sim_choices),
    ("ticket", ticket),
    ("wire_frame", wire_frame),
    ("wire_lane", wire_lane),
];
