//! Where directories stand when moves, each fine by itself, together would make them contain
//! themselves.
//!
//! Law: the newest move in a cycle does not count. The directory stands where it stood before
//! that move; if that closes a cycle too in which its move is the newest, in the root. A cycle
//! stays one until one of its own moves is undone, so that the order in which cycles are found
//! makes no difference.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::tree::facts;
use crate::tree::name::Name;
use crate::tree::store::{EntryIx, Ix, Registers};

/// How far a directory is put back: 0 not at all, 1 to where it stood before, 2 to the root.
pub(super) type Level = u8;

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The directory that it asks for.
    pub(super) parent: Ix,
    /// Set when nothing can stand in that directory, so that the entry stands in the root.
    pub(super) orphan: bool,
    pub(super) name: &'a Name,
}

impl Place<'_> {
    /// Returns the directory in which it stands.
    pub(super) fn standing(&self) -> Ix {
        if self.orphan { Ix::ROOT } else { self.parent }
    }
}

/// Returns where `entry` stands when it is put back to `level`.
pub(super) fn place(registers: &Registers, entry: EntryIx, level: Level) -> Place<'_> {
    let held = &registers.entries[entry.0];
    let name = &held.register.name;
    let (parent, name) = match (level, &held.register.previous) {
        (0, _) => (held.parent, name),
        (1, Some((parent, name))) => (registers.ix(*parent).unwrap_or(Ix::ROOT), name),
        _ => (Ix::ROOT, name),
    };
    Place {
        parent,
        orphan: !facts::anchored(registers, parent),
        name,
    }
}

/// Returns which directories are put back, and how far.
///
/// Every cycle of moves must contain one of `suspects`, or be led to by one.
pub(super) fn put_back(
    registers: &Registers,
    suspects: impl IntoIterator<Item = Ix>,
) -> BTreeMap<Ix, Level> {
    let mut levels: BTreeMap<Ix, Level> = BTreeMap::new();
    // Those that are known to stand below the root; nothing on their way there is put back later.
    let mut settled = BTreeSet::from([Ix::ROOT]);
    for suspect in suspects {
        while let Err(cycle) = way_up(registers, &levels, &mut settled, suspect) {
            let newest = cycle
                .into_iter()
                .max_by_key(|&ix| {
                    let stamp = facts::directory(registers, ix)
                        .map(|(entry, _)| registers.entries[entry.0].register.stamp);
                    (stamp, registers.cells[ix.0].id)
                })
                .expect("a cycle has a directory");
            *levels.entry(newest).or_default() += 1;
        }
    }
    levels
}

/// Walks from a directory to the root, or returns the cycle that the way leads to.
fn way_up(
    registers: &Registers,
    levels: &BTreeMap<Ix, Level>,
    settled: &mut BTreeSet<Ix>,
    from: Ix,
) -> Result<(), Vec<Ix>> {
    let mut way = Vec::new();
    let mut on_way = BTreeSet::new();
    let mut at = from;
    while !settled.contains(&at) {
        if !on_way.insert(at) {
            let start = way.iter().position(|&ix| ix == at);
            return Err(way.split_off(start.expect("it was met on the way")));
        }
        way.push(at);
        let level = levels.get(&at).copied().unwrap_or(0);
        at = match facts::directory(registers, at) {
            Some((entry, _)) => place(registers, entry, level).standing(),
            None => Ix::ROOT,
        };
    }
    settled.append(&mut on_way);
    Ok(())
}
