//! `tandem wait --synced [DIR|MNT]`.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::CliError;
use super::say::Say;
use super::status::running;
use crate::config::Span;
use crate::control;
use crate::node::{NodeError, find_home};
use crate::report::SyncReport;

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// The shared folder, the mount point or the store [default: all that run]
    #[arg(value_name = "DIR|MNT")]
    place: Option<PathBuf>,
    /// Until every connected peer has stored what is here, and the shared folder holds, safe from
    /// power loss, what was written on mounts
    #[arg(long, required = true)]
    synced: bool,
    /// For how long at most (30s, 2m) [default: as long as a peer is connected]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// As JSON: one object, at the end
    #[arg(long)]
    json: bool,
}

/// How often it is asked: what is waited for takes a round trip and a sync at least.
const ASK_EACH: Duration = Duration::from_millis(100);

/// How often it is said, at most, what is waited for.
const SAY_EACH: Duration = Duration::from_secs(1);

/// A place that is waited for.
#[derive(Debug)]
struct Target {
    home: PathBuf,
    place: PathBuf,
}

/// How a place stands.
#[derive(Debug, Serialize)]
struct Stands {
    place: String,
    #[serde(flatten)]
    sync: SyncReport,
}

/// What is printed at the end.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    synced: bool,
    waited_ms: u128,
    places: &'a [Stands],
}

impl Wait {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        debug_assert!(self.synced, "there is nothing else to wait for");
        let targets = self.targets()?;
        let begun = Instant::now();
        let deadline = self.timeout.map(|Span(time)| begun + time);
        let mut said: Option<(String, Instant)> = None;
        loop {
            let stands = ask(&targets)?;
            let is_synced = stands.iter().all(|stands| stands.sync.synced);
            let is_alone = stands.iter().any(|stands| stands.sync.peers.is_empty());
            let is_over = match deadline {
                Some(deadline) => Instant::now() >= deadline,
                None => is_alone,
            };
            if is_synced || is_over {
                return self.end(say, begun.elapsed(), &stands);
            }
            let text = text(&stands);
            let is_news = said.as_ref().is_none_or(|(last, at)| {
                let is_due = at.elapsed() >= SAY_EACH;
                is_due && *last != text
            });
            if is_news {
                say.note(format_args!("waiting: {text}"));
                said = Some((text, Instant::now()));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            thread::sleep(left.map_or(ASK_EACH, |left| left.min(ASK_EACH)));
        }
    }

    fn targets(&self) -> Result<Vec<Target>, CliError> {
        if let Some(place) = &self.place {
            let home = find_home(place)?.dir().to_owned();
            let place = place.clone();
            return Ok(vec![Target { home, place }]);
        }
        let all = running()?.into_iter();
        let all = all.map(|(known, _)| Target {
            home: crate::node::home::Home::of(&known.holder).dir().to_owned(),
            place: known.place,
        });
        let all: Vec<Target> = all.collect();
        if all.is_empty() {
            let what = "nothing is running; start it with tandem share or tandem join";
            return Err(CliError::Said(what.to_owned()));
        }
        Ok(all)
    }

    fn end(&self, say: &Say, waited: Duration, stands: &[Stands]) -> Result<(), CliError> {
        let synced = stands.iter().all(|stands| stands.sync.synced);
        if self.json {
            say.json(&Ended {
                synced,
                waited_ms: waited.as_millis(),
                places: stands,
            })?;
        }
        if synced {
            return Ok(());
        }
        let for_how_long = match self.timeout {
            Some(Span(time)) => format!(" within {} s", time.as_secs_f64()),
            None => String::new(),
        };
        Err(CliError::Said(format!(
            "not synced{for_how_long}: {}; see that the other machine runs and is reached \
             (tandem status), and wait again",
            text(stands)
        )))
    }
}

/// Asks how all of them stand.
fn ask(targets: &[Target]) -> Result<Vec<Stands>, CliError> {
    let ask = |target: &Target| {
        let sync = control::sync(&target.home, &target.place).map_err(NodeError::from)?;
        Ok(Stands {
            place: target.place.display().to_string(),
            sync,
        })
    };
    targets.iter().map(ask).collect()
}

/// Returns what is waited for, and where.
fn text(stands: &[Stands]) -> String {
    let waiting = stands.iter().filter(|stands| !stands.sync.synced);
    let texts: Vec<String> = waiting
        .map(|stands| format!("{}: {}", stands.place, waits_text(&stands.sync)))
        .collect();
    texts.join("; ")
}

/// Files that are named to a person.
const NAMED_MAX: usize = 3;

/// Returns what a place waits for, and for whom.
pub(super) fn waits_text(sync: &SyncReport) -> String {
    let mut parts = Vec::new();
    if sync.peers.is_empty() {
        parts.push("no peer is connected".to_owned());
    }
    for peer in sync.peers.iter().filter(|peer| peer.unacknowledged > 0) {
        let name = peer.name.as_deref().unwrap_or("a peer without a name");
        parts.push(format!(
            "{name} has yet to store {}",
            counted(peer.unacknowledged, "change")
        ));
    }
    if sync.unheld > 0 {
        let files = counted(sync.unheld, "file");
        parts.push(format!("the shared folder has yet to hold {files}"));
    }
    if sync.unpublished > 0 {
        let files = counted(sync.unpublished, "file");
        parts.push(format!("{files} being written"));
    }
    if sync.unseen > 0 {
        let names = counted(sync.unseen, "changed name");
        parts.push(format!("{names} to be looked at"));
    }
    let mut text = parts.join(", ");
    let named: Vec<&str> = sync
        .waiting
        .iter()
        .take(NAMED_MAX)
        .map(|file| file.path.as_str())
        .filter(|path| !path.is_empty())
        .collect();
    if !named.is_empty() {
        let all = sync.unheld + sync.unpublished;
        let more = all.saturating_sub(named.len() as u64);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        text.push_str(&format!(" ({}{more})", named.join(", ")));
    }
    text
}

fn counted(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PeerSyncReport, WaitingReport};

    #[test]
    fn what_is_waited_for_is_said_in_words() {
        let nobody = SyncReport::default();
        assert_eq!(waits_text(&nobody), "no peer is connected");
        let file = |path: &str| WaitingReport {
            path: path.to_owned(),
            path_hex: None,
            size: 1,
        };
        let sync = SyncReport {
            peers: vec![PeerSyncReport {
                peer: "00".to_owned(),
                name: Some("ada".to_owned()),
                unacknowledged: 1,
            }],
            unheld: 5,
            waiting: ["a", "b", "c", "d"].map(file).into(),
            ..SyncReport::default()
        };
        assert_eq!(
            waits_text(&sync),
            "ada has yet to store 1 change, the shared folder has yet to hold 5 files \
             (a, b, c and 2 more)"
        );
    }
}
