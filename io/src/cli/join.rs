//! `tandem join [TICKET] MNT`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::say::Say;
use super::{CliError, settle, takes_changes, ticket};
use crate::config::Given;
use crate::mount::point;
use crate::net::ticket::{Ticket, TicketError};
use crate::node::{JoinOptions, NodeError, join, store_of};

#[derive(Debug, Args)]
#[command(override_usage = "tandem join [OPTIONS] [TICKET] MNT")]
pub(super) struct Join {
    /// The ticket (text, a file that holds it, or - for standard input), and where to mount; the
    /// ticket may be left out where something was mounted before
    #[arg(required = true, num_args = 1..=2, value_names = ["TICKET", "MNT"])]
    arguments: Vec<OsString>,
    /// Where to keep what was fetched [default: $XDG_DATA_HOME/tandem/NAME-ID]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// What this peer calls itself [default: the machine's name]
    #[arg(long)]
    name: Option<String>,
    /// Say that it is ready as a JSON object
    #[arg(long)]
    json: bool,
    /// Stop when the standard input ends, with the process that holds the other side of it
    #[arg(long, hide = true)]
    end_with_input: bool,
}

/// What is said when the folder is mounted.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: &'a str,
    store: &'a str,
    pid: u32,
}

impl Join {
    pub(super) fn run(self, given: Given, say: &Say) -> Result<(), CliError> {
        let (first, mnt) = match self.arguments.as_slice() {
            [ticket] if is_ticket(ticket) => {
                // Not taken for a mount point, whose name may be shown.
                let usage = "say where to mount as well: tandem join TICKET MNT";
                return Err(CliError::Usage(usage.to_owned()));
            }
            [mnt] => (None, mnt),
            [first, mnt] => (Some(first), mnt),
            _ => return Err(CliError::Usage("give [TICKET] MNT".to_owned())),
        };
        let ticket = first.map(ticket).transpose()?;
        let point = point::place(Path::new(mnt)).map_err(NodeError::from)?;
        let home = store_of(self.store.as_deref(), ticket.as_ref(), &point)?;
        let options = JoinOptions {
            settings: settle(&home, given)?,
            ticket,
            point,
            name: self.name,
            writable: takes_changes(),
            end_with_input: self.end_with_input,
        };
        let running = join(&home, &options)?;
        let place = running.place().display().to_string();
        let said = if self.json {
            say.json(&Ready {
                ready: &place,
                store: &home.holder().display().to_string(),
                pid: std::process::id(),
            })
        } else {
            say.line(format_args!("ready: {place}"))
        };
        if let Err(error) = said {
            running.stop()?;
            return Err(error);
        }
        Ok(running.wait()?)
    }
}

/// Tells whether an argument is a ticket, be it a damaged one.
fn is_ticket(argument: &OsString) -> bool {
    let read = argument.to_str().map(Ticket::parse);
    read.is_some_and(|read| !matches!(read, Err(TicketError::Foreign)))
}
