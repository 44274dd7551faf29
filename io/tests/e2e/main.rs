//! Tandem from end to end: real processes, mounts, sockets and `kill -9`.
//!
//! Every test has a world of its own with a watchdog, so that none can hang; see
//! `common/watchdog.rs`. `TANDEM_E2E_LARGE=1` makes the large files as large as promised.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "this is all test code, also outside of its tests"
)]

mod changes;
mod commands;
mod common;
mod conflicts;
mod costs;
mod deltas;
mod errors;
mod first;
mod git;
mod host_gone;
mod host_mount;
mod kills;
mod missing;
mod peers;
mod races;
mod reads;
mod resume;
mod sidecar;
mod store;
mod sure;
mod torn;
mod tree;
mod undo;
mod unprivileged;
mod writes;
mod writes_hard;
