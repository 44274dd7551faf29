//! What the registers of one node say of it: which of its names count, which version is shown
//! under them, and which versions are shown as copies.
//!
//! Law: a function of the node's registers and of whether its versions' copies have entries of
//! their own; of no other node, so that it can be asked at any time.
//!
//! **Names.** A name that was not deleted counts. If all were deleted, one counts again when
//! the node has attributes or a version that its delete did not know: an edit beats a concurrent
//! delete. A delete is taken to know what the newest delete of the node knew, if that one was
//! made knowing it: who deletes the last name ends the node, whatever was written to it since
//! the first name went. Digests and other names are no edits. Where the newest delete did not know
//! that another name was gone, its name counts again: each of two who deleted one name of two, and
//! did not know of the other, left the file under that. Two entries of the same name are no two
//! names: whoever first deletes a conflict copy, or changes it, makes one.
//!
//! **Versions.** A version whose copy has an entry of its own has left the file. Of the others
//! the greatest is shown under the names. A delete ends only the version that it was made on,
//! the greatest that it knew, and what is equal to it. Where a version that it did not know may
//! have superseded that one, the delete ends none: what is left were copies then. Nor do deletes of
//! two names that did not know of each other.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::ids::Dot;
use crate::tree::conflict;
use crate::tree::name::TargetPath;
use crate::tree::register::{Attrs, Body, Content, Entry, Kind};
use crate::tree::store::{EntryIx, Ix, Registers};
use crate::version::VersionVector;

/// How far up attributes are looked for from the copy of a copy: a bound, since an ill-made
/// history can go round; by eye.
const COPIES_OF_COPIES_MAX: usize = 16;

/// One version of a node: that which is held under `cell`, which is another node's when the
/// node is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) cell: Ix,
    pub(super) dot: Dot,
}

/// What is to be shown of a node.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The entries that count, by id.
    pub(super) entries: Vec<EntryIx>,
    /// The version under them; `None` if there is no such entry, or no version.
    pub(super) winner: Option<Version>,
    /// The versions that are shown as copies, by dot.
    pub(super) copies: Vec<Dot>,
    /// The entry beside which they are shown.
    pub(super) beside: Option<EntryIx>,
}

/// Returns what is to be shown of a file or symlink.
pub(super) fn of(registers: &Registers, ix: Ix) -> Facts {
    let cell = &registers.cells[ix.0];
    let mut versions = versions(registers, ix);
    let live: Vec<_> = living(registers, ix).collect();
    if let Some(&beside) = live.first() {
        return shown(registers, live, versions, beside);
    }
    let Some(newest) = newest(registers, &cell.entries) else {
        return Facts::default();
    };
    let Deleted { kept, ended } = deleted(registers, ix, newest, &versions);
    let mut ended = ended.into_iter();
    versions.retain(|_| ended.next() == Some(false));
    match kept.first() {
        Some(&beside) => shown(registers, kept, versions, beside),
        None => Facts {
            copies: copies(registers, None, &versions),
            beside: Some(newest),
            ..Facts::default()
        },
    }
}

/// What is left of a node all names of which were deleted.
struct Deleted {
    /// The entries that count all the same.
    kept: Vec<EntryIx>,
    /// Of each version whether the deletes ended it.
    ended: Vec<bool>,
}

fn deleted(
    registers: &Registers,
    ix: Ix,
    newest: EntryIx,
    versions: &[(Version, &Content)],
) -> Deleted {
    let cell = &registers.cells[ix.0];
    let last = &registers.entries[newest.0].register;

    let attrs = cell.attrs.as_ref().map(|held| held.register.stamp.dot);
    let mut kept = Vec::new();
    let mut attrs_unseen = false;
    // Whether two of the deletes did not know of each other.
    let mut apart = false;
    // Versions that every delete ended.
    let mut ended: Vec<bool> = versions.iter().map(|_| true).collect();
    for &ix in &cell.entries {
        let entry = &registers.entries[ix.0].register;
        let knows = |dot: Dot| knew(entry, last, dot);
        let changed = attrs.is_some_and(|dot| !knows(dot));
        attrs_unseen |= changed;
        if changed || versions.iter().any(|(version, _)| !knows(version.dot)) {
            kept.push(ix);
        }
        // Of a conflict copy whoever deletes it makes the entry: those of one name are one.
        let is_another = (entry.parent, &entry.name) != (last.parent, &last.name);
        apart |= is_another && !covers(&last.deleted, entry.stamp.dot);
        let made_on = made_on(versions, knows);
        for (ended, (version, content)) in ended.iter_mut().zip(versions) {
            *ended &=
                knows(version.dot) && made_on.is_some_and(|base| same(registers, base, content));
        }
    }
    if apart && kept.is_empty() {
        kept.push(newest);
    }
    // Who left the file another name has ended none of its versions, whatever else brings its names
    // back.
    if attrs_unseen || apart {
        ended.fill(false);
    }
    Deleted { kept, ended }
}

/// Returns the versions of a node that were ended with all of its names, while another one that
/// is left has these count again: what makes one of them anew has to say that of each.
pub(super) fn ended_versions(registers: &Registers, ix: Ix) -> Vec<Dot> {
    let cell = &registers.cells[ix.0];
    let is_live = living(registers, ix).next().is_some();
    let Some(newest) = newest(registers, &cell.entries).filter(|_| !is_live) else {
        return Vec::new();
    };
    let versions = versions(registers, ix);
    let Deleted { kept, ended } = deleted(registers, ix, newest, &versions);
    let of_cell = versions.iter().zip(ended);
    of_cell
        .filter(|((version, _), ended)| *ended && version.cell == ix && !kept.is_empty())
        .map(|((version, _), _)| version.dot)
        .collect()
}

/// Returns the version that a delete was made on, given what it knew: the greatest, unless that
/// may have been another, which a version that it did not know has superseded.
fn made_on<'a>(
    versions: &[(Version, &'a Content)],
    knows: impl Fn(Dot) -> bool,
) -> Option<&'a Content> {
    let known = |(version, _): &&(Version, &Content)| knows(version.dot);
    let (_, base) = *versions.iter().find(known)?;
    let hidden = |unseen: &Content| {
        base.beside.iter().any(|&dot| unseen.supersedes(dot))
            || unseen.context.iter().any(|(actor, counter)| {
                // What `base` supersedes was none of the versions that the delete saw.
                let own = match base.stamp.dot {
                    Dot { actor: by, counter } if by == actor => counter,
                    Dot { .. } => 0,
                };
                let counter_from = base.context.counter(actor).max(own) + 1;
                let from = Dot {
                    actor,
                    counter: counter_from,
                };
                counter >= counter_from && knows(from)
            })
    };
    let unseen = versions.iter().filter(|version| !known(version));
    let mut hiding = unseen.filter(|(_, content)| hidden(content));
    hiding.next().is_none().then_some(base)
}

/// Returns the entry under which a directory stands, and whether it counts by itself. One that
/// does not was deleted, and counts only while something stands in the directory.
///
/// A directory has one name: if it was given several, the newest of those that count.
pub(super) fn directory(registers: &Registers, ix: Ix) -> Option<(EntryIx, bool)> {
    let cell = &registers.cells[ix.0];
    if let [only] = cell.entries[..] {
        let entry = &registers.entries[only.0].register;
        return Some((
            only,
            entry.deleted.is_none() || unseen_attrs(registers, ix, entry),
        ));
    }
    let live: Vec<_> = living(registers, ix).collect();
    if let Some(entry) = newest(registers, &live) {
        return Some((entry, true));
    }
    let newest = newest(registers, &cell.entries)?;
    let entry = &registers.entries[newest.0].register;
    Some((newest, unseen_attrs(registers, ix, entry)))
}

/// Tells whether a node has names, and all were deleted for good.
pub(super) fn ended(registers: &Registers, ix: Ix) -> bool {
    !registers.cells[ix.0].entries.is_empty() && of(registers, ix).entries.is_empty()
}

/// Tells whether the copy of a version has an entry of its own.
pub(super) fn separated(registers: &Registers, version: Dot) -> bool {
    registers
        .ix(conflict::copy_of(version))
        .is_some_and(|ix| !registers.cells[ix.0].entries.is_empty())
}

/// Returns the file whose version a node without entries is the copy of.
pub(super) fn untouched_copy(registers: &Registers, ix: Ix) -> Option<(Ix, Dot)> {
    let cell = &registers.cells[ix.0];
    if !cell.entries.is_empty() {
        return None;
    }
    let version = conflict::copied(cell.id)?;
    Some((registers.origin(version)?, version))
}

/// Returns the attributes that are shown of a node; a copy that has none of its own shows those
/// of the file that it comes from. What a copy has counts only once it has an entry.
pub(super) fn attrs(registers: &Registers, ix: Ix) -> Option<&Attrs> {
    let mut at = ix;
    for _ in 0..COPIES_OF_COPIES_MAX {
        let cell = &registers.cells[at.0];
        let version = conflict::copied(cell.id);
        if let (true, Some(held)) = (version.is_none() || !cell.entries.is_empty(), &cell.attrs) {
            return Some(&held.register);
        }
        at = registers.origin(version?)?;
    }
    None
}

/// Returns a version that is held.
pub(super) fn content(registers: &Registers, version: Version) -> Option<&Content> {
    registers.cells[version.cell.0]
        .contents
        .iter()
        .map(|held| &held.register)
        .find(|content| content.stamp.dot == version.dot)
}

/// Tells whether two versions hold the same, as far as is known.
pub(super) fn same(registers: &Registers, a: &Content, b: &Content) -> bool {
    a.object() == b.object()
        || essence(registers, a).is_some_and(|a| essence(registers, b) == Some(a))
}

/// What a version holds, as far as is known: two versions of one essence are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Essence<'a> {
    Empty,
    Bytes { size: u64, digest: u128 },
    Target(&'a TargetPath),
}

/// Returns the essence of a version, once it is known.
pub(super) fn essence<'a>(registers: &Registers, content: &'a Content) -> Option<Essence<'a>> {
    match &content.body {
        Body::Link { target } => Some(Essence::Target(target)),
        Body::File { size: 0, .. } => Some(Essence::Empty),
        &Body::File { size, .. } => {
            let digest = registers.digest(content.object())?;
            Some(Essence::Bytes { size, digest })
        }
    }
}

/// Tells whether a node is a directory.
pub(super) fn is_directory(registers: &Registers, ix: Ix) -> bool {
    ix == Ix::ROOT
        || registers.cells[ix.0]
            .attrs
            .as_ref()
            .is_some_and(|held| held.register.kind == Kind::Directory)
}

/// Tells whether a directory has, or ever had, a place of its own, so that others can stand in
/// it.
pub(super) fn anchored(registers: &Registers, ix: Ix) -> bool {
    ix == Ix::ROOT || (!registers.cells[ix.0].entries.is_empty() && is_directory(registers, ix))
}

fn shown(
    registers: &Registers,
    entries: Vec<EntryIx>,
    versions: Vec<(Version, &Content)>,
    beside: EntryIx,
) -> Facts {
    let winner = versions.first().copied();
    Facts {
        copies: match versions.get(1) {
            Some(_) => copies(registers, winner, &versions),
            None => Vec::new(),
        },
        entries,
        winner: winner.map(|(version, _)| version),
        beside: Some(beside),
    }
}

/// Returns the versions of a node that have not left it, the greatest first.
fn versions(registers: &Registers, ix: Ix) -> Vec<(Version, &Content)> {
    let cell = &registers.cells[ix.0];
    let several = cell.contents.len() > 1;
    let mut versions: Vec<_> = cell
        .contents
        .iter()
        .map(|held| &held.register)
        .filter(|content| !(several && separated(registers, content.stamp.dot)))
        .map(|content| {
            let dot = content.stamp.dot;
            (Version { cell: ix, dot }, content)
        })
        .collect();
    if let Some((origin, dot)) = borrowed(registers, ix) {
        let version = Version { cell: origin, dot };
        let held = content(registers, version);
        let superseded = cell.contents.iter().any(|own| own.register.supersedes(dot));
        if let (Some(content), false) = (held, superseded) {
            let at = versions.partition_point(|(_, own)| own.stamp > content.stamp);
            versions.insert(at, (version, content));
        }
    }
    versions
}

/// Returns the version of another file that a copy with entries of its own shows while it has
/// none that was made on it.
fn borrowed(registers: &Registers, ix: Ix) -> Option<(Ix, Dot)> {
    let version = conflict::copied(registers.cells[ix.0].id)?;
    let origin = registers.origin(version).filter(|&origin| origin != ix)?;
    Some((origin, version))
}

/// Returns which of `versions` but the winner are shown: of equal ones that of the lowest dot.
fn copies(
    registers: &Registers,
    winner: Option<(Version, &Content)>,
    versions: &[(Version, &Content)],
) -> Vec<Dot> {
    let mut losers: Vec<_> = versions
        .iter()
        .filter(|(version, _)| winner.is_none_or(|(winner, _)| winner != *version))
        .collect();
    losers.sort_by_key(|(version, _)| version.dot);
    let mut seen: BTreeSet<_> = winner
        .and_then(|(_, content)| essence(registers, content))
        .into_iter()
        .collect();
    losers
        .iter()
        .filter(|(_, content)| essence(registers, content).is_none_or(|new| seen.insert(new)))
        .map(|(version, _)| version.dot)
        .collect()
}

/// Returns the entries of a node that were not deleted, by id.
fn living(registers: &Registers, ix: Ix) -> impl Iterator<Item = EntryIx> {
    registers.cells[ix.0]
        .entries
        .iter()
        .copied()
        .filter(|entry| registers.entries[entry.0].register.deleted.is_none())
}

fn newest(registers: &Registers, entries: &[EntryIx]) -> Option<EntryIx> {
    entries.iter().copied().max_by_key(|entry| {
        let entry = &registers.entries[entry.0].register;
        (entry.stamp, entry.id)
    })
}

/// Tells whether the delete of `entry` knew `dot`, given the newest delete of the node.
fn knew(entry: &Entry, last: &Entry, dot: Dot) -> bool {
    covers(&entry.deleted, dot)
        || (covers(&last.deleted, entry.stamp.dot) && covers(&last.deleted, dot))
}

fn covers(knowledge: &Option<VersionVector>, dot: Dot) -> bool {
    knowledge.as_ref().is_some_and(|known| known.covers(dot))
}

fn unseen_attrs(registers: &Registers, ix: Ix, entry: &Entry) -> bool {
    registers.cells[ix.0]
        .attrs
        .as_ref()
        .is_some_and(|held| !knew(entry, entry, held.register.stamp.dot))
}
