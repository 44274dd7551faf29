//! `tandem peers [DIR|MNT]` and `tandem peers remove PEER [DIR]`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::CliError;
use super::say::{Say, bytes_text};
use super::status::{each_running, shown};
use crate::control;
use crate::node::home::Home;
use crate::node::{NodeError, find_home};
use crate::report::peers::{ListedReport, PeersReport, RemovedReport};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Peers {
    #[command(subcommand)]
    what: Option<What>,
    /// The shared folder, the mount point or the store [default: all that run]
    #[arg(value_name = "DIR|MNT")]
    place: Option<PathBuf>,
    /// As JSON: an object for a place, an array for all
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// End a peer's access to a folder that is shared here, at once and for good, and that of its
    /// ticket
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Remove {
    /// Its name, or the first digits of its id, as tandem peers lists them
    #[arg(value_name = "PEER")]
    peer: String,
    /// The shared folder [default: the one that has such a peer]
    #[arg(value_name = "DIR")]
    place: Option<PathBuf>,
    /// As JSON: an object
    #[arg(long)]
    json: bool,
}

/// How many digits of an id say whom it means, at least; as many are shown.
const DIGITS_MIN: usize = 8;

impl Peers {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        if let Some(What::Remove(remove)) = self.what {
            return remove.run(say);
        }
        if let Some(place) = &self.place {
            let home = find_home(place)?;
            let report = control::peers(home.dir(), place).map_err(NodeError::from)?;
            if self.json {
                return say.json(&report);
            }
            return say.bytes(text(&report).as_bytes());
        }
        let all = running()?.into_iter();
        let all: Vec<PeersReport> = all.map(|(_, report)| report).collect();
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

/// Returns all that run for this user, with their homes and peers.
fn running() -> Result<Vec<(PathBuf, PeersReport)>, NodeError> {
    let ask = |home: &Home, place: &Path| control::peers(home.dir(), place).ok();
    let all = each_running(ask)?.into_iter();
    let all = all.map(|(known, report)| (Home::of(&known.holder).dir().to_owned(), report));
    Ok(all.collect())
}

impl Remove {
    fn run(&self, say: &Say) -> Result<(), CliError> {
        let places = match &self.place {
            Some(place) => {
                let home = find_home(place)?;
                let report = control::peers(home.dir(), place).map_err(NodeError::from)?;
                vec![(home.dir().to_owned(), report)]
            }
            None => running()?,
        };
        let cant = |why: String| CliError::Said(format!("can't remove {}: {why}", self.peer));
        let (home, place, peer) = self.find(&places).map_err(cant)?;
        let answer = control::remove(&home, Path::new(&place), &peer).map_err(NodeError::from)?;
        match answer {
            Ok(removed) if self.json => say.json(&removed),
            Ok(removed) => say.bytes(removed_text(&place, &removed).as_bytes()),
            Err(why) => Err(cant(why)),
        }
    }

    /// Finds who is meant: its home, the place, and its id.
    fn find(&self, places: &[(PathBuf, PeersReport)]) -> Result<(PathBuf, String, String), String> {
        if places.is_empty() {
            return Err("nothing is running; start the folder with tandem share".to_owned());
        }
        let mut found = Vec::new();
        for (home, report) in places {
            let is_shared = report.role == "full";
            let of = |peer: &str| (home.clone(), report.place.clone(), peer.to_owned());
            let listed = report.peers.iter();
            let listed = listed.filter(|one| self.means(&one.peer.peer, one.peer.name.as_deref()));
            found.extend(listed.map(|one| (of(&one.peer.peer), one.removed, is_shared)));
            if self.means(&report.me, Some(&report.name)) {
                found.push((of(&report.me), false, is_shared));
            }
        }
        // Where a folder is only joined nobody is removed.
        if found.iter().any(|(.., is_shared)| *is_shared) {
            found.retain(|(.., is_shared)| *is_shared);
        }
        // One of that name that was removed before does not stand in the way of another.
        if found.iter().any(|(_, removed, _)| !removed) {
            found.retain(|(_, removed, _)| !removed);
        }
        match &found[..] {
            [] => {
                Err("no such peer was ever let in; tandem peers lists those that were".to_owned())
            }
            [(one, ..)] => Ok(one.clone()),
            several => {
                let each = several
                    .iter()
                    .map(|((_, place, peer), ..)| format!("{} of {}", short(peer), shown(place)));
                let each: Vec<String> = each.collect();
                Err(format!(
                    "that may be {}; say which by its id and the folder",
                    each.join(" or ")
                ))
            }
        }
    }

    /// Returns whether what was given is this name, or the beginning of this id.
    fn means(&self, id: &str, name: Option<&str>) -> bool {
        let given = self.peer.to_ascii_lowercase();
        name == Some(self.peer.as_str()) || (given.len() >= DIGITS_MIN && id.starts_with(&given))
    }
}

fn short(id: &str) -> &str {
    id.get(..DIGITS_MIN).unwrap_or(id)
}

/// Returns a report for people.
fn text(report: &PeersReport) -> String {
    let place = shown(&report.place);
    let mut text = format!("{place}: {} ({})\n", shown(&report.name), short(&report.me));
    if report.peers.is_empty() {
        text.push_str("  nobody was ever let in\n");
    }
    for listed in &report.peers {
        let _ = writeln!(text, "  {}", listed_text(listed));
    }
    text
}

fn listed_text(listed: &ListedReport) -> String {
    let peer = &listed.peer;
    let name = shown(peer.name.as_deref().unwrap_or("?"));
    let mut text = format!("{name} ({}): ", short(&peer.peer));
    if listed.removed {
        text.push_str("removed");
        return text;
    }
    text.push_str(match peer.role.as_deref() {
        Some("full") => "shares the folder",
        Some("guest") => "looks as a guest",
        Some(_) | None if listed.own_mount => "the mount on this machine",
        Some(_) => "joined",
        None => "not met yet",
    });
    let _ = write!(text, ", {}", peer.link);
    if let Some(why) = &peer.refused {
        let _ = write!(text, ", refused: {why}");
    }
    if peer.behind > 0 {
        let _ = write!(text, ", {} changes on their way", peer.behind);
    }
    text
}

fn removed_text(place: &str, removed: &RemovedReport) -> String {
    let name = shown(removed.name.as_deref().unwrap_or("a peer without a name"));
    let id = short(&removed.peer);
    let mut text = format!("removed: {name} ({id}) from {}\n", shown(place));
    if !removed.guests.is_empty() {
        let guests: Vec<&str> = removed.guests.iter().map(|guest| short(guest)).collect();
        let _ = writeln!(
            text,
            "  and who looked with its ticket: {}",
            guests.join(", ")
        );
    }
    if removed.unheld > 0 {
        let _ = writeln!(
            text,
            "  {} of the files that it wrote are not all in the folder, and only it may have the \
             rest:",
            removed.unheld
        );
        for file in &removed.waiting {
            let (path, size) = (shown(&file.path), bytes_text(file.size));
            let _ = writeln!(text, "    {path} ({size})");
        }
    }
    if let Some(ticket) = &removed.ticket {
        let _ = writeln!(text, "ticket from here on: {ticket}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PeerReport;

    fn listed(id: &str, name: Option<&str>, removed: bool) -> ListedReport {
        ListedReport {
            peer: PeerReport {
                peer: id.repeat(32),
                name: name.map(str::to_owned),
                role: Some("sparse".to_owned()),
                link: "live".to_owned(),
                attempts: 0,
                next_attempt_ms: None,
                heard_ms: None,
                refused: None,
                behind: 2,
            },
            own_mount: false,
            removed,
        }
    }

    fn report(place: &str, peers: Vec<ListedReport>) -> (PathBuf, PeersReport) {
        let report = PeersReport {
            place: place.to_owned(),
            place_hex: None,
            pid: 1,
            role: "full".to_owned(),
            me: "aa".repeat(32),
            name: "ada".to_owned(),
            peers,
        };
        (PathBuf::from(place).join(".tandem"), report)
    }

    fn find(peer: &str, places: &[(PathBuf, PeersReport)]) -> Result<String, String> {
        let (peer, place, json) = (peer.to_owned(), None, false);
        let remove = Remove { peer, place, json };
        remove
            .find(places)
            .map(|(_, place, id)| format!("{} {place}", short(&id)))
    }

    #[test]
    fn a_peer_is_named_by_name_or_id_and_never_guessed() {
        let one = [report(
            "/x",
            vec![
                listed("01", Some("bo"), true),
                listed("02", Some("bo"), false),
                listed("03", Some("cy"), false),
                listed("04", Some("cy"), false),
                listed("05", None, false),
            ],
        )];
        assert_eq!(find("bo", &one).unwrap(), "02020202 /x");
        assert_eq!(find("01010101", &one).unwrap(), "01010101 /x");
        assert_eq!(find("05050505050505", &one).unwrap(), "05050505 /x");
        assert_eq!(find("ada", &one).unwrap(), "aaaaaaaa /x");
        assert!(find("0505", &one).unwrap_err().starts_with("no such peer"));
        let several = find("cy", &one).unwrap_err();
        assert!(
            several.starts_with("that may be 03030303 of /x or 04040404 of /x; say which"),
            "{several}"
        );
        assert!(find("bo", &[]).unwrap_err().contains("nothing is running"));
        let two = [
            one[0].clone(),
            report("/y", vec![listed("02", Some("bo"), false)]),
        ];
        assert!(
            find("bo", &two)
                .unwrap_err()
                .contains("of /x or 02020202 of /y")
        );
    }

    #[test]
    fn peers_are_listed_in_words() {
        let mut mount = listed("02", Some("ada"), false);
        mount.own_mount = true;
        mount.peer.behind = 0;
        let all = vec![
            listed("01", Some("bo"), false),
            mount,
            listed("03", None, true),
        ];
        let told = "/x: ada (aaaaaaaa)\n  bo (01010101): joined, live, 2 changes on their way\n  \
                    ada (02020202): joined, live\n  ? (03030303): removed\n";
        let told = told.replace(
            "ada (02020202): joined",
            "ada (02020202): the mount on this machine",
        );
        assert_eq!(text(&report("/x", all).1), told);
        let none = text(&report("/x", Vec::new()).1);
        assert_eq!(none, "/x: ada (aaaaaaaa)\n  nobody was ever let in\n");
    }
}
