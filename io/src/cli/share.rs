//! `tandem share DIR`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::say::Say;
use super::{CliError, settle, takes_changes};
use crate::config::Given;
use crate::mount::point;
use crate::node::{NodeError, ShareOptions, share, shared_folder};

#[derive(Debug, Args)]
pub(super) struct Share {
    /// The folder
    dir: PathBuf,
    /// Where to listen: ADDRESS:PORT, may be given several times; port 0 is chosen once and kept
    /// [default: [::]:0, every address]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Write the ticket to this file, for its owner's eyes, instead of showing it
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Mount it on this machine too, at an empty or missing directory outside of it
    #[arg(long, value_name = "MNT")]
    mount: Option<PathBuf>,
    /// Take no changes, from nobody
    #[arg(long)]
    read_only: bool,
    /// What this peer calls itself [default: the machine's name]
    #[arg(long)]
    name: Option<String>,
    /// What is missing from the folder was deleted, though it be most of it
    #[arg(long)]
    accept_deletes: bool,
    /// Set owners and groups that peers set, by their numbers (as root)
    #[arg(long)]
    owners: bool,
    /// Say that it is ready as a JSON object
    #[arg(long)]
    json: bool,
    /// Stop when the standard input ends, with the process that holds the other side of it
    #[arg(long, hide = true)]
    end_with_input: bool,
    /// Give out a further ticket, which lets somebody in this time only
    #[arg(long, hide = true)]
    passing_ticket: bool,
}

/// What is said when the folder is shared.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    pid: u32,
}

impl Share {
    pub(super) fn run(self, given: Given, say: &Say) -> Result<(), CliError> {
        let home = shared_folder(&self.dir)?;
        let mount = self.mount.as_deref().map(point::place).transpose();
        let options = ShareOptions {
            mount: mount.map_err(NodeError::from)?,
            writable: takes_changes() && !self.read_only,
            settings: settle(&home, given)?,
            listen: self.listen,
            ticket_file: self.ticket_file,
            name: self.name,
            accept_deletes: self.accept_deletes,
            owners: self.owners,
            end_with_input: self.end_with_input,
            passing_ticket: self.passing_ticket,
        };
        let running = share(&home, &options)?;
        let shown = options.ticket_file.is_none();
        let ticket = running.ticket().filter(|_| shown);
        let place = running.place().display().to_string();
        let mount = running
            .mounted_at()
            .map(|point| point.display().to_string());
        let said = if self.json {
            say.json(&Ready {
                ready: &place,
                mount: mount.as_deref(),
                ticket,
                pid: std::process::id(),
            })
        } else {
            let mounted = mount.as_deref().map(|mount| ("mounted", mount));
            [
                ticket.map(|ticket| ("ticket", ticket)),
                mounted,
                Some(("ready", &place)),
            ]
            .into_iter()
            .flatten()
            .try_for_each(|(what, text)| say.line(format_args!("{what}: {text}")))
        };
        if let Err(error) = said {
            running.stop()?;
            return Err(error);
        }
        Ok(running.wait()?)
    }
}
