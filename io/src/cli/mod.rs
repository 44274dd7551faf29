//! The command line.
//!
//! Law: what was asked for goes to standard output, everything else to standard error. An error
//! is one line that says what failed, on what, why, and what to do. Exit codes: 0 done, 1
//! failed, 2 usage.

mod bitmap;
mod conflicts;
mod demo;
mod get;
mod join;
mod log;
mod ls;
mod peers;
mod say;
mod share;
mod status;
mod stop;
mod wait;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::{ConfigError, Given, Settings};
use crate::log::LogError;
use crate::net::ticket::{Ticket, TicketError};
use crate::node::NodeError;
use crate::node::home::Home;
use say::Say;

/// One folder on two machines: share it here, mount it there; bytes arrive when they are read
#[derive(Debug, Parser)]
#[command(name = "tandem", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    settings: Given,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Share a folder: prints a ticket, and serves whoever brings it
    Share(share::Share),
    /// Mount a shared folder here
    Join(join::Join),
    /// Download files without a mount; goes on where it stopped
    Get(get::Get),
    /// List what a ticket's folder holds
    Ls(ls::Ls),
    /// Show peers, links, transfers and counters of what runs here
    Status(status::StatusOf),
    /// Wait until what was written is safe on the other machine
    Wait(wait::Wait),
    /// List the conflicts of what runs here, or settle one
    Conflicts(conflicts::Conflicts),
    /// List what others deleted or overwrote in a folder that is shared here, or bring it back
    Log(log::Log),
    /// List who comes in, or end a peer's access to a folder that is shared here
    Peers(peers::Peers),
    /// Stop what runs for a folder or a mount point, and wait for its end
    Stop(stop::Stop),
    /// Show or convert the sidecar of a partial file
    Bitmap(bitmap::Bitmap),
    /// Two peers on this machine, mounted, ready to play with
    Demo(demo::Demo),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// A part of the peer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ticket.
    #[error("can't use the ticket: {0}")]
    Ticket(#[from] TicketError),
    /// Something that only one command does.
    #[error("{0}")]
    Said(String),
    /// The arguments don't fit together.
    #[error("{0}")]
    Usage(String),
    /// What failed was told already, item by item.
    #[error("some items could not be had")]
    Told,
    /// Standard output is gone.
    #[error("can't write to standard output: {0}; check where it leads")]
    Output(io::Error),
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wanted = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Where it can't be shown, the code says it.
            let _ = error.print();
            return ExitCode::from(if wanted { 0 } else { 2 });
        }
    };
    let say = Say;
    match arguments.command.run(arguments.settings, &say) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has heard enough (`tandem ls … | head`).
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(CliError::Told) => ExitCode::from(1),
        Err(error) => {
            say.error(&error);
            ExitCode::from(match error {
                CliError::Usage(_) => 2,
                CliError::Node(_)
                | CliError::Config(_)
                | CliError::Log(_)
                | CliError::Ticket(_)
                | CliError::Said(_)
                | CliError::Told
                | CliError::Output(_) => 1,
            })
        }
    }
}

impl Command {
    fn run(self, given: Given, say: &Say) -> Result<(), CliError> {
        match self {
            Self::Share(share) => share.run(given, say),
            Self::Join(join) => join.run(given, say),
            Self::Get(get) => get.run(given, say),
            Self::Ls(ls) => ls.run(given, say),
            Self::Status(status) => status.run(say),
            Self::Wait(wait) => wait.run(say),
            Self::Conflicts(conflicts) => conflicts.run(say),
            Self::Log(log) => log.run(say),
            Self::Peers(peers) => peers.run(say),
            Self::Stop(stop) => stop.run(say),
            Self::Bitmap(bitmap) => bitmap.run(say),
            Self::Demo(demo) => demo.run(say),
        }
    }
}

/// Set to `1` on both sides, mounts take changes. Unfinished: not all that is written is kept,
/// placed and served in every case yet, so that it is for trying out, with copies, and a mount is
/// read-only without it.
const PREVIEW: &str = "TANDEM_WRITING_PREVIEW";

/// Returns whether peers may change a folder that is not shared read-only.
fn takes_changes() -> bool {
    std::env::var_os(PREVIEW).is_some_and(|value| value == "1")
}

/// Returns the settings of the replica in `home`, and starts the log.
fn settle(home: &Home, given: Given) -> Result<Settings, CliError> {
    let settings = given.or(Given::read(home.dir())?)?;
    crate::log::start(&settings.log)?;
    Ok(settings)
}

/// Returns the settings of a guest, and starts the log: with errors only unless asked, since what
/// goes wrong is the command's own answer.
fn settle_guest(home: &Home, mut given: Given) -> Result<Settings, CliError> {
    let file = Given::read(home.dir())?;
    if given.log.is_none() && file.log.is_none() {
        given.log = Some("error".to_owned());
    }
    let settings = given.or(file)?;
    crate::log::start(&settings.log)?;
    Ok(settings)
}

/// Returns the ticket that an argument is, names a file of, or (`-`) is on standard input.
fn ticket(argument: &OsString) -> Result<Ticket, CliError> {
    let text = argument.to_str().ok_or_else(|| {
        CliError::Said("can't use the ticket: it is not text; copy it again".to_owned())
    })?;
    Ok(Ticket::read(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn settings_are_taken_before_and_after_the_command() {
        for line in [
            ["tandem", "--retries", "7", "share", "/x"],
            ["tandem", "share", "/x", "--retries", "7"],
        ] {
            let arguments = Arguments::try_parse_from(line).unwrap();
            assert_eq!(arguments.settings.retries, Some(7));
        }
    }
}
