//! How the fetching of a file stands, in a word.

use serde::Serialize;

/// How the fetching of a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FetchState {
    /// Nothing of it is asked for.
    Idle,
    /// Chunks are asked for.
    Fetching,
    /// Chunks are wanted and nobody is there to be asked.
    Waiting,
    /// The attempts ran out; the next link, or the next read, starts afresh.
    Exhausted,
    /// All of it is here.
    Complete,
}
