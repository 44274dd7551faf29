//! `tandem log [DIR|PATH]` and `tandem log --restore ID [DIR]`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tandem_core::tree::name::Name;

use super::CliError;
use super::say::{Say, bytes_text, shell_word};
use super::status::{each_running, shown};
use crate::control;
use crate::node::home::Home;
use crate::node::{NodeError, find_file, find_home};
use crate::report::log::{LogReport, RestoredReport, ThingReport};

#[derive(Debug, Args)]
pub(super) struct Log {
    /// The shared folder, or what was once in it: then only what stood there, or below [default: all
    /// that are shared]
    #[arg(value_name = "DIR|PATH")]
    place: Option<PathBuf>,
    /// How many to list, the latest first
    #[arg(long, value_name = "NUMBER", default_value_t = COUNT)]
    count: u32,
    /// Bring one back, by the number that it is listed under: a copy is put where it stood, or beside
    /// what stands there
    #[arg(long, value_name = "ID", conflicts_with = "count")]
    restore: Option<u64>,
    /// As JSON: an object for a folder or what was brought back, an array for all folders
    #[arg(long)]
    json: bool,
}

/// As many as a person looks through; by eye.
const COUNT: u32 = 50;

/// Why there is nothing to list of a mount.
const NOT_KEPT: &str = "nothing is kept here of what others change; whoever shares the folder has \
                        it: run tandem log on that machine";

impl Log {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        if let Some(id) = self.restore {
            return self.restore(say, id);
        }
        if let Some(place) = &self.place {
            let (home, folder, below) = find(place)?;
            let report = control::log(home.dir(), &folder, self.count, &below);
            let report = report.map_err(NodeError::from)?;
            if report.role != FULL {
                let place = place.display();
                return Err(CliError::Said(format!("can't list {place}: {NOT_KEPT}")));
            }
            if self.json {
                return say.json(&report);
            }
            return say.bytes(text(&report, !below.is_empty()).as_bytes());
        }
        let all = shared(self.count)?.into_iter();
        let all: Vec<LogReport> = all.map(|(_, report)| report).collect();
        if self.json {
            return say.json(&all);
        }
        if all.is_empty() {
            return say.line("no folder is shared here");
        }
        let texts: Vec<String> = all.iter().map(|report| text(report, false)).collect();
        say.bytes(texts.join("\n").as_bytes())
    }

    fn restore(&self, say: &Say, id: u64) -> Result<(), CliError> {
        let cant = |why: &str| CliError::Said(format!("can't bring {id} back: {why}"));
        let (home, folder) = match &self.place {
            Some(place) => {
                let (home, folder, _) = find(place)?;
                (home.dir().to_owned(), folder)
            }
            None => match &shared(1)?[..] {
                [] => return Err(cant("no folder is shared here")),
                [(home, report)] => (home.clone(), PathBuf::from(&report.place)),
                several => {
                    let each = several.iter().map(|(_, report)| shown(&report.place));
                    let each: Vec<String> = each.collect();
                    let each = each.join(" and ");
                    return Err(cant(&format!("{each} are shared here; say which")));
                }
            },
        };
        let answer = control::restore(&home, &folder, id).map_err(NodeError::from)?;
        match answer {
            Ok(restored) if self.json => say.json(&restored),
            Ok(restored) => say.line(restored_text(&folder, &restored)),
            Err(why) => Err(cant(&why)),
        }
    }
}

/// How the role of whoever shares a folder is said.
const FULL: &str = "full";

/// Finds the folder that is meant, and what in it.
fn find(place: &Path) -> Result<(Home, PathBuf, Vec<Name>), NodeError> {
    match find_home(place) {
        Ok(home) => Ok((home, place.to_owned(), Vec::new())),
        Err(why) => find_file(place).map_err(|_| why),
    }
}

/// Returns the folders that are shared by this user, with their homes.
fn shared(count: u32) -> Result<Vec<(PathBuf, LogReport)>, NodeError> {
    let ask = |home: &Home, place: &Path| control::log(home.dir(), place, count, &[]).ok();
    let all = each_running(ask)?.into_iter();
    let all = all.filter(|(_, report)| report.role == FULL);
    let all = all.map(|(known, report)| (Home::of(&known.holder).dir().to_owned(), report));
    Ok(all.collect())
}

/// Returns a report for people; `is_part`, if it is of something in the folder.
fn text(report: &LogReport, is_part: bool) -> String {
    let place = shown(&report.place);
    let bytes = bytes_text(report.bytes);
    let budget = match report.budget {
        Some(budget) => format!(" of {}", bytes_text(budget)),
        None => String::new(),
    };
    let keep = match report.keep_secs / 86_400 {
        0 => format!("{} s", report.keep_secs),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    };
    let mut text = format!("{place}: {bytes}{budget} in the trash, kept for {keep}\n");
    if report.things.is_empty() {
        let what = if is_part {
            "nothing of this"
        } else {
            "nothing"
        };
        let _ = writeln!(text, "  {what} lies there that others deleted or replaced");
        return text;
    }
    for thing in &report.things {
        let _ = writeln!(text, "  {}", thing_text(thing));
    }
    if report.more > 0 {
        let _ = writeln!(text, "  and {} more (--count)", report.more);
    }
    let folder = shell_word(Path::new(&report.place));
    let _ = writeln!(
        text,
        "  to bring one back: tandem log {} --restore ID",
        shown(&folder)
    );
    text
}

fn thing_text(thing: &ThingReport) -> String {
    let when = thing.when.replace('T', " ").replace('Z', " UTC");
    let path = shown(&thing.path);
    let size = bytes_text(thing.size);
    let by = thing
        .by
        .as_deref()
        .map_or_else(|| "somebody".to_owned(), shown);
    let id = thing.id;
    match thing.fate.as_str() {
        "replaced" => format!("{id}  {when}  {by} replaced {path} ({size})"),
        "deleted" => format!("{id}  {when}  {by} deleted {path} ({size})"),
        _ => format!("{id}  {when}  {path} ({size}) went, by whom is not on record"),
    }
}

fn restored_text(folder: &Path, restored: &RestoredReport) -> String {
    let at = folder.join(&restored.restored).display().to_string();
    let mut text = format!("restored: {}", shown(&at));
    if restored.restored != restored.path {
        let _ = write!(text, ", beside what {} is by now", shown(&restored.path));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_trash_is_told_with_who_and_when() {
        let thing = |id, path: &str, fate: &str, by: Option<&str>| ThingReport {
            id,
            path: path.to_owned(),
            path_hex: None,
            size: 1_536,
            fate: fate.to_owned(),
            by: by.map(str::to_owned),
            when: "2026-11-28T12:34:56Z".to_owned(),
        };
        let mut report = LogReport {
            place: "/x y".to_owned(),
            place_hex: None,
            pid: 1,
            role: FULL.to_owned(),
            bytes: 0,
            budget: Some(10 << 30),
            keep_secs: 30 * 86_400,
            things: Vec::new(),
            more: 0,
        };
        let none = "/x y: 0 B of 10.0 GiB in the trash, kept for 30 days\n  \
                    nothing lies there that others deleted or replaced\n";
        assert_eq!(text(&report, false), none);
        report.things = vec![
            thing(12, "d/a\u{1b}[2J", "deleted", Some("b\no")),
            thing(11, "b", "replaced", None),
            thing(3, "c", "unknown", None),
        ];
        (report.bytes, report.budget, report.more) = (4_608, None, 7);
        let told = "/x y: 4.5 KiB in the trash, kept for 30 days\n  \
                    12  2026-11-28 12:34:56 UTC  b\u{fffd}o deleted d/a\u{fffd}[2J (1.5 KiB)\n  \
                    11  2026-11-28 12:34:56 UTC  somebody replaced b (1.5 KiB)\n  \
                    3  2026-11-28 12:34:56 UTC  c (1.5 KiB) went, by whom is not on record\n  \
                    and 7 more (--count)\n  \
                    to bring one back: tandem log '/x y' --restore ID\n";
        assert_eq!(text(&report, false), told);
    }

    #[test]
    fn where_a_thing_stands_is_told() {
        let mut restored = RestoredReport {
            id: 3,
            path: "d/a".to_owned(),
            size: 5,
            restored: "d/a".to_owned(),
            restored_hex: None,
        };
        let text = |restored: &RestoredReport| restored_text(Path::new("/x"), restored);
        assert_eq!(text(&restored), "restored: /x/d/a");
        restored.restored = "d/a (restored 2026-11-28 0003)".to_owned();
        let told = "restored: /x/d/a (restored 2026-11-28 0003), beside what d/a is by now";
        assert_eq!(text(&restored), told);
    }
}
