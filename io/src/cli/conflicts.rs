//! `tandem conflicts [DIR|MNT]` and `tandem conflicts --keep WHICH FILE`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tandem_core::conflicts::Keep;

use super::CliError;
use super::say::{Say, bytes_text};
use super::status::{each_running, shown};
use crate::control;
use crate::node::home::Home;
use crate::node::{NodeError, find_file, find_home};
use crate::report::conflicts::{ConflictReport, ConflictsReport, SettledReport, SideReport};

#[derive(Debug, Args)]
pub(super) struct Conflicts {
    /// The shared folder, the mount point or the store [default: all that run]; with --keep a file
    /// that is in conflict, or one of its conflict copies
    #[arg(value_name = "DIR|MNT|FILE")]
    place: Option<PathBuf>,
    /// Settle the conflict of FILE; of what goes, what the shared folder has stays in its trash
    #[arg(long, value_name = "WHICH", requires = "place")]
    keep: Option<Which>,
    /// As JSON: an object for a place or a settled conflict, an array for all places
    #[arg(long)]
    json: bool,
}

/// What stays of a conflict.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// What was written on this machine, under the file's name
    Mine,
    /// What was written elsewhere, under the file's name
    Theirs,
    /// All of it, each as a file of its own
    Both,
}

impl Conflicts {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        match (&self.place, self.keep) {
            (Some(file), Some(which)) => self.settle(say, file, which),
            (Some(place), None) => {
                let home = find_home(place)?;
                let report = control::conflicts(home.dir(), place).map_err(NodeError::from)?;
                if self.json {
                    return say.json(&report);
                }
                say.bytes(text(&report).as_bytes())
            }
            (None, _) => {
                let ask = |home: &Home, place: &Path| control::conflicts(home.dir(), place).ok();
                let all = each_running(ask)?.into_iter();
                let all: Vec<ConflictsReport> = all.map(|(_, report)| report).collect();
                if self.json {
                    return say.json(&all);
                }
                if all.is_empty() {
                    return say.line("nothing is running");
                }
                let texts: Vec<String> = all.iter().map(text).collect();
                say.bytes(texts.join("\n").as_bytes())
            }
        }
    }

    fn settle(&self, say: &Say, file: &Path, which: Which) -> Result<(), CliError> {
        let (home, place, path) = find_file(file)?;
        let keep = match which {
            Which::Mine => Keep::Mine,
            Which::Theirs => Keep::Theirs,
            Which::Both => Keep::Both,
        };
        let answer = control::settle(home.dir(), &place, &path, keep).map_err(NodeError::from)?;
        match answer {
            Ok(settled) if self.json => say.json(&settled),
            Ok(settled) => say.line(settled_text(&settled)),
            Err(why) => Err(CliError::Said(format!(
                "can't settle {}: {why}",
                file.display()
            ))),
        }
    }
}

/// Returns a report for people.
fn text(report: &ConflictsReport) -> String {
    let place = shown(&report.place);
    let mut text = match report.conflicts.len() {
        0 => format!("{place}: no conflicts\n"),
        1 => format!("{place}: 1 conflict\n"),
        many => format!("{place}: {many} conflicts\n"),
    };
    for conflict in &report.conflicts {
        conflict_text(&mut text, conflict);
    }
    if !report.conflicts.is_empty() {
        let _ = writeln!(
            text,
            "  to settle one: tandem conflicts --keep mine|theirs|both FILE"
        );
    }
    text
}

fn conflict_text(text: &mut String, conflict: &ConflictReport) {
    let path = shown(&conflict.path);
    let file = conflict.file.as_ref();
    let file = file.map_or_else(|| "was deleted".to_owned(), side_text);
    let _ = writeln!(text, "  {path}: {file}");
    for copy in &conflict.copies {
        let _ = writeln!(text, "    {}: {}", shown(&copy.path), side_text(&copy.side));
    }
}

fn side_text(side: &SideReport) -> String {
    let (Some(author), Some(day)) = (&side.author, &side.day) else {
        return format!("a {}", side.kind);
    };
    let here = if side.mine { " (here)" } else { "" };
    let size = bytes_text(side.size);
    let mut text = format!("{size} by {}{here} on {day}", shown(author));
    if side.bytes_gone > 0 {
        let gone = bytes_text(side.bytes_gone);
        let _ = write!(text, ", {gone} of it nowhere any more");
    }
    text
}

fn settled_text(settled: &SettledReport) -> String {
    let names = |all: &[String]| {
        let all: Vec<String> = all.iter().map(|name| shown(name)).collect();
        all.join(" and ")
    };
    let mut text = format!("settled: {}", shown(&settled.path));
    if settled.gone.is_empty() {
        let _ = write!(text, " and {}", names(&settled.beside));
        text.push_str(" are files of their own");
        return text;
    }
    let _ = write!(
        text,
        " is as {} wrote it; what {} wrote was removed",
        names(&settled.stays),
        names(&settled.gone)
    );
    if !settled.beside.is_empty() {
        let _ = write!(text, "; still in conflict: {}", names(&settled.beside));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::conflicts::CopyReport;

    fn side(author: &str, mine: bool, bytes_gone: u64) -> SideReport {
        SideReport {
            kind: "file".to_owned(),
            size: 1_536,
            author: Some(author.to_owned()),
            day: Some("2026-11-28".to_owned()),
            mine,
            bytes_gone,
        }
    }

    #[test]
    fn a_conflict_is_told_with_its_copies_and_what_can_not_be_had() {
        let mut report = ConflictsReport {
            place: "/mnt/x".to_owned(),
            place_hex: None,
            pid: 1,
            conflicts: Vec::new(),
        };
        assert_eq!(text(&report), "/mnt/x: no conflicts\n");
        report.conflicts.push(ConflictReport {
            path: "a/b.txt".to_owned(),
            path_hex: None,
            file: Some(side("ada", false, 0)),
            copies: vec![CopyReport {
                path: "a/b (conflict from bo 2026-11-28 0a6b).txt".to_owned(),
                path_hex: None,
                side: side("bo", true, 512),
            }],
        });
        let told = "/mnt/x: 1 conflict\n  a/b.txt: 1.5 KiB by ada on 2026-11-28\n    \
                    a/b (conflict from bo 2026-11-28 0a6b).txt: 1.5 KiB by bo (here) on \
                    2026-11-28, 512 B of it nowhere any more\n  to settle one: tandem conflicts \
                    --keep mine|theirs|both FILE\n";
        assert_eq!(text(&report), told);
    }
}
