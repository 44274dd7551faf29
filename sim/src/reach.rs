//! Reach: what happened at least once, counted over a batch of runs.
//!
//! Law: a test that never met the case it is there for proves nothing; the default range of
//! seeds fails when a mark of [`expected`] is never hit, and a range of writing runs when one of
//! [`expected_of_writing`] is not.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::config::WRITING;
use crate::marks::{FAULTS, HOST_STATES, STATES, WRITING_STATES};

/// How often each mark was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<(&'static str, &'static str), u64>);

impl Reach {
    /// Hits a mark.
    pub fn hit(&mut self, mark: &'static str) {
        self.hit_in(mark, "");
    }

    /// Hits a mark of two words, such as a fault and the state that it met.
    pub fn hit_in(&mut self, mark: &'static str, state: &'static str) {
        *self.0.entry((mark, state)).or_default() += 1;
    }

    /// Returns how often a mark was hit.
    pub fn count(&self, mark: &str) -> u64 {
        let of =
            |(words, count): (&(&str, &str), &u64)| (written(*words) == mark).then_some(*count);
        self.0.iter().find_map(of).unwrap_or(0)
    }

    /// Adds the marks of another run.
    pub fn merge(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(*mark).or_default() += count;
        }
    }

    /// Iterates over marks and counts.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.0
            .iter()
            .map(|(words, count)| (written(*words), *count))
    }
}

fn written((mark, state): (&str, &str)) -> String {
    if state.is_empty() {
        mark.to_owned()
    } else {
        format!("{mark}: {state}")
    }
}

/// Hits a mark of a [`Reach`].
#[macro_export]
macro_rules! reach {
    ($reach:expr, $mark:literal) => {
        $reach.hit($mark)
    };
}

/// Returns the marks that the default range of seeds must hit.
pub fn expected() -> Vec<String> {
    let single = EXPECTED.iter().map(|mark| (*mark).to_owned());
    let pair = |(fault, state): (&str, &str)| written((fault, state));
    let met = FAULTS
        .iter()
        .flat_map(|fault| STATES.iter().map(|state| (*fault, *state)))
        .filter(|pair| !RARE.contains(pair));
    let at_host = FAULTS
        .iter()
        .flat_map(|fault| HOST_STATES.iter().map(|state| (*fault, *state)))
        .filter(|pair| !RARE.contains(pair));
    let jobs = STATES[..9].iter().chain(&HOST_STATES);
    let failed = jobs.map(|job| ("disk fails", *job));
    let pairs = met.chain(at_host).chain(failed);
    single.chain(pairs.map(pair)).collect()
}

/// Returns the marks that a thousand writing runs must hit, and no others can.
pub fn expected_of_writing() -> Vec<String> {
    let single = EXPECTED_OF_WRITING.iter().map(|mark| (*mark).to_owned());
    let met = MET_WHILE_WRITING.iter().copied();
    // A draft is touched too seldom for that.
    let jobs = WRITING_STATES
        .iter()
        .filter(|job| **job != "touching a draft");
    let failed = jobs.map(|job| ("disk fails", *job));
    single.chain(met.chain(failed).map(written)).collect()
}

/// Returns the marks that this program's runs are to hit: if joiners write in them, also those that
/// they should and hardly ever do.
pub fn wanted() -> Vec<String> {
    let mut all = expected();
    if WRITING.load(Ordering::Relaxed) {
        all.extend(expected_of_writing());
        all.extend(RARE_WHILE_WRITING.iter().copied().map(written));
    }
    all
}

/// Returns how many of the wanted marks were hit, and how many there are.
pub fn met(reach: &Reach) -> (usize, usize) {
    let all = wanted();
    let met = all.iter().filter(|mark| reach.count(mark) > 0).count();
    (met, all.len())
}

/// Faults that hardly ever meet a state: it lasts for less than a thousandth of a run. They are
/// counted, and not demanded.
const RARE: &[(&str, &str)] = &[
    ("kill", "cutting a sidecar"),
    ("kill", "marking"),
    ("kill", "hashing"),
    ("power loss", "cutting a sidecar"),
    ("power loss", "marking"),
    ("power loss", "hashing"),
    ("power loss", "finishing"),
    ("stop", "loading"),
    ("stop", "creating"),
    ("stop", "cutting a sidecar"),
    ("stop", "storing"),
    ("stop", "marking"),
    ("stop", "syncing"),
    ("stop", "hashing"),
    ("stop", "finishing"),
    ("stop", "removing"),
    ("stop", "listing"),
    ("stop", "looking"),
    ("stop", "reading a chunk"),
    ("cut", "creating"),
    ("cut", "cutting a sidecar"),
    ("cut", "marking"),
    ("cut", "syncing"),
    ("cut", "removing"),
    ("stall", "loading"),
    ("stall", "creating"),
    ("stall", "cutting a sidecar"),
    ("stall", "marking"),
    ("stall", "syncing"),
    ("stall", "hashing"),
    ("stall", "finishing"),
    ("stall", "removing"),
    ("sleep", "loading"),
    ("sleep", "creating"),
    ("sleep", "cutting a sidecar"),
    ("sleep", "storing"),
    ("sleep", "marking"),
    ("sleep", "syncing"),
    ("sleep", "hashing"),
    ("sleep", "finishing"),
    ("sleep", "removing"),
    ("sleep", "listing"),
    ("sleep", "looking"),
    ("sleep", "reading a chunk"),
    ("slow disk", "loading"),
    ("slow disk", "creating"),
    ("slow disk", "cutting a sidecar"),
    ("slow disk", "marking"),
    ("slow disk", "syncing"),
    ("slow disk", "hashing"),
    ("slow disk", "finishing"),
    ("slow disk", "removing"),
    ("slow disk", "listing"),
    ("slow disk", "looking"),
    ("slow disk", "reading a chunk"),
    ("throttle", "loading"),
    ("throttle", "creating"),
    ("throttle", "cutting a sidecar"),
    ("throttle", "marking"),
    ("throttle", "syncing"),
    ("throttle", "hashing"),
    ("throttle", "finishing"),
    ("throttle", "removing"),
    ("throttle", "listing"),
];

const EXPECTED: &[&str] = &[
    "answer: a hole",
    "answer: a lie",
    "answer: a tail",
    "answer: data",
    "answer: failed",
    "answer: gone",
    "answer: not held",
    "answer: the same",
    "asked",
    "broken off: creating",
    "broken off: cutting a sidecar",
    "broken off: finishing",
    "broken off: loading",
    "broken off: marking",
    "broken off: removing",
    "broken off: storing",
    "broken off: syncing",
    "call: forget",
    "call: getattr",
    "call: getxattr",
    "call: listxattr",
    "call: lookup",
    "call: open",
    "call: opendir",
    "call: read",
    "call: readdir",
    "call: readlink",
    "call: release",
    "call: releasedir",
    "call: removexattr",
    "call: statfs",
    "chaos: clock jump",
    "chaos: clock jump of the host",
    "chaos: crash while it recovers",
    "chaos: kill",
    "chaos: kill between actions",
    "chaos: one-way partition",
    "chaos: partition",
    "chaos: power loss",
    "chunk: a hole",
    "chunk: corrupted",
    "chunk: hashed after a crash",
    "chunk: joined of two",
    "chunk: torn by a writer while read",
    "clock: runs fast or slow",
    "commit: done",
    "commit: failed",
    "dial: unreachable",
    "dial: wrong key",
    "disk: chunk",
    "disk: chunk, changed meanwhile",
    "disk: denied",
    "disk: done",
    "disk: error",
    "disk: full",
    "disk: hashed",
    "disk: listed",
    "disk: listed in part",
    "disk: not found",
    "disk: nothing seen",
    "disk: of the wrong kind",
    "disk: seen",
    "does: close",
    "does: close lanes",
    "does: commit",
    "does: commit for good",
    "does: dial",
    "does: drop a payload",
    "does: fetch",
    "does: stop",
    "edit: hard link",
    "edit: mtime set back",
    "fault: chunk corrupt",
    "fault: disk",
    "fault: protocol",
    "fault: refused",
    "fault: sidecar",
    "fault: store",
    "fault: turned away",
    "fetch: died with its link",
    "fetch: pushed",
    "fetched: damaged",
    "fetched: data",
    "fetched: failed",
    "fetched: gone",
    "heard: ack",
    "heard: bye",
    "heard: hello",
    "heard: ping",
    "heard: pong",
    "heard: refused: broken",
    "heard: refused: busy",
    "heard: registers",
    "heard: registers, to be continued",
    "hint: growing",
    "hint: lost",
    "hint: settled",
    "hint: subtree",
    "hint: twice",
    "hostile: a batch",
    "hostile: a flood of asks",
    "hostile: a hello that is let in",
    "hostile: a hello that is wrong",
    "hostile: comes",
    "hostile: goes",
    "hostile: says what another said",
    "invalidate: attributes",
    "invalidate: delete",
    "invalidate: entry",
    "invalidate: pages",
    "job: creating",
    "job: cutting a sidecar",
    "job: finishing",
    "job: hashing",
    "job: listing",
    "job: loading",
    "job: looking",
    "job: marking",
    "job: reading a chunk",
    "job: removing",
    "job: storing",
    "job: syncing",
    "keep cache: yes",
    "lane: broke",
    "link down: lost",
    "link down: unreachable",
    "link down: wrong key",
    "link: a full window",
    "link: a stream overtakes another",
    "link: accepted",
    "link: dialled",
    "link: half open",
    "link: lanes of as many files as may be",
    "link: live again",
    "link: twice: a message",
    "link: twice: an answer",
    "link: twice: an ask",
    "loaded: a partial file alone",
    "loaded: a sidecar alone",
    "loaded: complete",
    "loaded: nothing",
    "loaded: partial",
    "minority: apart for ever",
    "minority: down for ever",
    "minority: removed at last",
    "minority: removed meanwhile",
    "minority: without a disk for ever",
    "object: created",
    "object: finished",
    "object: removed",
    "power: lost a commit",
    "power: lost a write",
    "power: tore a write",
    "read: at once",
    "read: data",
    "read: end of file",
    "read: failed",
    "read: failed again, at once",
    "read: waited",
    "read: of what was read before",
    "reply: absent",
    "reply: attributes",
    "reply: bad handle",
    "reply: data",
    "reply: directory opened",
    "reply: done",
    "reply: end of file",
    "reply: entry",
    "reply: i/o error",
    "reply: invalid",
    "reply: is a directory",
    "reply: items",
    "reply: names",
    "reply: opened",
    "reply: read-only",
    "reply: stale",
    "reply: statfs",
    "reply: target",
    "reply: value",
    "rot: chunk",
    "rot: complete file",
    "rot: metadata set aside",
    "rot: sidecar",
    "says: ack",
    "says: bye",
    "says: hello",
    "says: ping",
    "says: pong",
    "says: refused: busy",
    "says: refused: not paired",
    "says: refused: other folder",
    "says: refused: protocol",
    "says: registers",
    "sidecar: cut",
    "sidecar: old tail came back",
    "tick",
    "version: changed while open",
    "want",
    "wanted: a directory",
    "wanted: a symlink",
    "wanted: done",
    "wanted: failed",
    "wanted: not found",
    "wanted: progress",
];

/// What only writing runs reach, each in more than four of a thousand.
const EXPECTED_OF_WRITING: &[&str] = &[
    "broken off: loading a draft",
    "broken off: opening a draft",
    "broken off: settling a draft",
    "broken off: writing a draft",
    "call: create",
    "call: flush",
    "call: fsync",
    "call: fsyncdir",
    "call: link",
    "call: make",
    "call: rename",
    "call: rmdir",
    "call: setattr",
    "call: setxattr",
    "call: unlink",
    "call: write",
    "chunk: read from the trash",
    "clock: an application's is off",
    "disk: changed",
    "disk: draft",
    "disk: made ready",
    "edit: acknowledged",
    "fault: draft",
    "fetched: not held",
    "invalidate: waits for an edit",
    "job: emptying the trash",
    "job: filling a draft",
    "job: listing the trash",
    "job: loading a draft",
    "job: marking a draft",
    "job: opening a draft",
    "job: placing",
    "job: removing a draft",
    "job: resizing a draft",
    "job: restoring",
    "job: settling a draft",
    "job: syncing a draft",
    "job: touching a draft",
    "job: writing a draft",
    "judged: edits after a crash",
    "not restored: unknown",
    "power: a draft's journal came back, or never was",
    "power: lost a resize",
    "reply: created",
    "reply: exists",
    "reply: no entry",
    "reply: no space",
    "reply: no such attribute",
    "reply: not a directory",
    "reply: not empty",
    "reply: not permitted",
    "reply: written",
    "restored",
    "synced: a host was judged",
    "synced: a joiner was judged",
    "trash: a file came",
    "trash: a file went for good",
    "undo: beside",
    "undo: under its name",
];

/// Faults that meet what only writing runs do, likewise.
const MET_WHILE_WRITING: &[(&str, &str)] = &[
    ("kill", "placing"),
    ("kill", "opening a draft"),
    ("kill", "writing a draft"),
    ("kill", "syncing a draft"),
    ("kill", "loading a draft"),
    ("kill", "settling a draft"),
    ("power loss", "placing"),
    ("power loss", "opening a draft"),
    ("power loss", "writing a draft"),
    ("power loss", "loading a draft"),
    ("cut", "placing"),
    ("cut", "writing a draft"),
    ("cut", "syncing a draft"),
    ("stall", "placing"),
];

/// What writing runs should reach, and hardly ever do, or never: it is counted, and not demanded.
const RARE_WHILE_WRITING: &[(&str, &str)] = &[
    ("kill", "resizing a draft"),
    ("kill", "filling a draft"),
    ("kill", "touching a draft"),
    ("kill", "marking a draft"),
    ("kill", "removing a draft"),
    ("power loss", "resizing a draft"),
    ("power loss", "filling a draft"),
    ("power loss", "touching a draft"),
    ("power loss", "marking a draft"),
    ("power loss", "syncing a draft"),
    ("power loss", "settling a draft"),
    ("power loss", "removing a draft"),
    ("broken off", "resizing a draft"),
    ("broken off", "filling a draft"),
    ("broken off", "touching a draft"),
    ("broken off", "marking a draft"),
    ("broken off", "syncing a draft"),
    ("broken off", "removing a draft"),
    ("broken off", "storing a hole"),
    ("disk fails", "touching a draft"),
    ("disk", "not empty"),
    ("kill", "restoring"),
    ("power loss", "restoring"),
    ("disk fails", "restoring"),
    ("disk fails", "emptying the trash"),
    ("not restored", "gone"),
    ("undo: a directory is made anew", ""),
    ("undo: of what has no record", ""),
    ("disk", "taken"),
    ("reply", "name too long"),
    ("reply", "too large"),
    ("reply", "too many links"),
];
