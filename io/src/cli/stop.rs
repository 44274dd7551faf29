//! `tandem stop DIR|MNT`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::say::Say;
use crate::control;
use crate::node::{NodeError, find_home};

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The shared folder, the mount point or the store
    #[arg(value_name = "DIR|MNT")]
    place: PathBuf,
}

/// How long an end may take: what the engine, the mount and the links may take together.
const WITHIN: Duration = Duration::from_secs(30);

impl Stop {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        let home = find_home(&self.place)?;
        control::stop(home.dir(), &self.place, WITHIN).map_err(NodeError::from)?;
        say.line(format_args!("stopped: {}", self.place.display()))
    }
}
