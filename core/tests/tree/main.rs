//! The tree: stories of each rule, laws over random histories, and its size.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod laws;
mod peer;
mod scale;
mod stories;
