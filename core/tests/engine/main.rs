//! The engine, driven by its events alone: stories that are read, laws over random histories,
//! and peers that break every rule.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "what a test makes is well made"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for, and says whatever else came"
)]

mod app;
mod bo;
mod copies;
mod deltas;
mod drafts;
mod far;
mod first;
mod held;
mod hostile;
mod laws;
mod meets;
mod moves;
mod names;
mod peers;
mod placing;
mod push;
mod settle;
mod stage;
mod stories;
mod synced;
mod trash;
mod twins;
