//! The log: one line per event on standard error.
//!
//! Law: standard output belongs to what a command was asked for; secrets are in neither.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Why the log can't be written as asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't use log = {filter:?}: {why}; write a level (error, warn, info, debug, trace) or a filter such as tandem_io=debug"
)]
pub struct LogError {
    filter: String,
    why: String,
}

/// Starts the log. To be called once, by the program.
///
/// # Errors
/// When `filter` is none.
pub fn start(filter: &str) -> Result<(), LogError> {
    let wrong = |why: String| LogError {
        filter: filter.to_owned(),
        why,
    };
    // What it says goes first, so that a filter can ask for it: that an answer came after its
    // asker was killed, or after the unmount, is no news.
    let parsed =
        EnvFilter::try_new(format!("fuser=off,{filter}")).map_err(|why| wrong(why.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|why| wrong(why.to_string()))
}
