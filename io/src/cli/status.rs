//! `tandem status [DIR|MNT]`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::say::{Say, bytes_text};
use super::wait::waits_text;
use crate::control;
use crate::node::home::Home;
use crate::node::known::{Known, Places};
use crate::node::{NodeError, data_dir, find_home};
use crate::report::conflicts::ConflictsReport;
use crate::report::log::LogReport;
use crate::report::peers::PeersReport;
use crate::report::{FileReport, PeerReport, Report};

#[derive(Debug, Args)]
pub(super) struct StatusOf {
    /// The shared folder, the mount point or the store [default: all that run]
    #[arg(value_name = "DIR|MNT")]
    place: Option<PathBuf>,
    /// As JSON: an object for a place, an array for all
    #[arg(long)]
    json: bool,
    /// Again each second, until Ctrl-C; with --json a line each time
    #[arg(long)]
    watch: bool,
}

/// How many files are shown to a person.
const FILES_MAX: usize = 20;

impl StatusOf {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        loop {
            self.show(say)?;
            if !self.watch {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn show(&self, say: &Say) -> Result<(), CliError> {
        let clear = self.watch && !self.json && say.is_terminal();
        match &self.place {
            Some(place) => {
                let home = find_home(place)?;
                let report = control::status(home.dir(), place).map_err(NodeError::from)?;
                if self.json {
                    return say.json(&report);
                }
                page(say, clear, &text(&report))
            }
            None => {
                let all: Vec<Report> = running()?.into_iter().map(|(_, report)| report).collect();
                if self.json {
                    return say.json(&all);
                }
                if all.is_empty() {
                    return page(say, clear, "nothing is running\n");
                }
                let texts: Vec<String> = all.iter().map(text).collect();
                page(say, clear, &texts.join("\n"))
            }
        }
    }
}

/// Shows text, on a fresh screen if wanted.
fn page(say: &Say, clear: bool, text: &str) -> Result<(), CliError> {
    let clear = if clear { "\x1b[H\x1b[2J" } else { "" };
    say.bytes(format!("{clear}{text}").as_bytes())
}

/// Returns all that run for this user, with their reports.
pub(super) fn running() -> Result<Vec<(Known, Report)>, NodeError> {
    each_running(|home, place| control::status(home.dir(), place).ok())
}

/// Something that what runs for a place has said.
pub(super) trait Reported {
    /// Returns its process, and the place that it says it runs for, if that is text.
    fn by(&self) -> (u32, Option<&str>);
}

impl Reported for Report {
    fn by(&self) -> (u32, Option<&str>) {
        let place = self.place_hex.is_none().then_some(self.place.as_str());
        (self.pid, place)
    }
}

impl Reported for ConflictsReport {
    fn by(&self) -> (u32, Option<&str>) {
        let place = self.place_hex.is_none().then_some(self.place.as_str());
        (self.pid, place)
    }
}

impl Reported for LogReport {
    fn by(&self) -> (u32, Option<&str>) {
        let place = self.place_hex.is_none().then_some(self.place.as_str());
        (self.pid, place)
    }
}

impl Reported for PeersReport {
    fn by(&self) -> (u32, Option<&str>) {
        let place = self.place_hex.is_none().then_some(self.place.as_str());
        (self.pid, place)
    }
}

/// Asks all that run for this user, each once.
pub(super) fn each_running<T: Reported>(
    ask: impl Fn(&Home, &Path) -> Option<T>,
) -> Result<Vec<(Known, T)>, NodeError> {
    let mut all: Vec<(Known, T)> = Vec::new();
    for known in Places::new(&data_dir()?).all() {
        if let Some(report) = ask(&Home::of(&known.holder), &known.place)
            && !all.iter().any(|(_, it)| it.by().0 == report.by().0)
            && (report.by().1).is_none_or(|place| Path::new(place) == known.place)
        {
            all.push((known, report));
        }
    }
    Ok(all)
}

/// Returns a report for people.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let what = match (report.mounted, report.scanning) {
        (true, _) => "mounted",
        (false, true) => "shared, being scanned",
        (false, false) => "shared",
    };
    let _ = writeln!(
        text,
        "{}: {what} by {:?}",
        shown(&report.place),
        report.name
    );
    let _ = writeln!(
        text,
        "  {} files, directories and links, {}",
        report.nodes,
        bytes_text(report.bytes)
    );
    for peer in &report.peers {
        let _ = writeln!(text, "  {}", peer_text(peer));
    }
    if report.peers.is_empty() {
        let _ = writeln!(text, "  no peer yet");
    }
    if report.sync.synced {
        let _ = writeln!(text, "  all is synced");
    } else {
        let waits = shown(&waits_text(&report.sync));
        let _ = writeln!(text, "  not synced: {waits}");
    }
    if report.conflicts > 0 {
        let many = if report.conflicts == 1 { "" } else { "s" };
        let _ = writeln!(
            text,
            "  {} conflict{many} (tandem conflicts lists them)",
            report.conflicts
        );
    }
    for file in report.files.iter().take(FILES_MAX) {
        let _ = writeln!(text, "  {}", file_text(file));
    }
    if report.files.len() > FILES_MAX {
        let more = report.files.len() - FILES_MAX;
        let _ = writeln!(text, "  and {more} more files (--json shows all)");
    }
    let counters = &report.counters;
    let _ = writeln!(
        text,
        "  fetched {} in {} pieces, served {} in {}",
        bytes_text(counters.bytes_fetched),
        counters.chunks_fetched,
        bytes_text(counters.bytes_served),
        counters.chunks_served
    );
    text
}

/// Returns a path without what would move a terminal's cursor.
pub(super) fn shown(path: &str) -> String {
    path.replace(char::is_control, "\u{fffd}")
}

fn peer_text(peer: &PeerReport) -> String {
    let id = peer.peer.get(..8).unwrap_or_default();
    let name = peer.name.as_deref().unwrap_or("?");
    let mut text = format!("peer {name} ({id}): {}", peer.link);
    if let Some(why) = &peer.refused {
        let _ = write!(text, ", refused: {why}");
    }
    if let Some(next) = peer.next_attempt_ms {
        let _ = write!(
            text,
            ", attempt {} in {}.{} s",
            peer.attempts.saturating_add(1),
            next / 1_000,
            next % 1_000 / 100
        );
    }
    if peer.behind > 0 {
        let _ = write!(text, ", {} changes on their way", peer.behind);
    }
    text
}

fn file_text(file: &FileReport) -> String {
    let mut text = format!(
        "{}: {} of {} ({})",
        shown(&file.path),
        bytes_text(file.bytes_present),
        bytes_text(file.size),
        file.state
    );
    if file.waiting > 0 {
        let _ = write!(text, ", {} reads wait", file.waiting);
    }
    text
}
