//! What the tree keeps of a node beside its registers: where it stands, and, of a directory,
//! who stands in it.
//!
//! Law: a directory's slots hold exactly what the seats of its nodes claim, and whoever keeps a
//! slot is the least of those who stand in it: directories first, then by id.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{EntryId, NodeId};
use crate::tree::facts::{self, Version};
use crate::tree::name::Name;
use crate::tree::store::{EntryIx, Ix, Registers};

/// A place that a node asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// Which entry asks; `None` for a conflict copy that has no entry of its own, and gets a
    /// name derived from this one.
    pub(super) entry: Option<EntryIx>,
    /// The directory that is asked for.
    pub(super) parent: Ix,
    /// The directory in whose listing the claim is: another one if `parent` is one with it, the
    /// root if nothing can stand in `parent`.
    pub(super) dir: Ix,
    /// Set when nothing can stand in `parent`.
    pub(super) orphan: bool,
    pub(super) name: Name,
}

/// What the tree keeps of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    /// In their order.
    pub(super) claims: Vec<Claim>,
    /// The version that is shown.
    pub(super) winner: Option<Version>,
    /// How many names stand for the node.
    pub(super) shown: u32,
    pub(super) dir: Option<Box<Dir>>,
}

/// Who stands in a directory.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<Name, Slot>,
    /// Names that several stand under.
    pub(super) contested: BTreeSet<Name>,
    /// Conflict copies without an entry, with the names that theirs are derived from.
    pub(super) beside: BTreeSet<(Name, Ix)>,
    /// Derived names, and who is shown under them.
    pub(super) derived: BTreeMap<Name, Derived>,
    /// The same: the name from which, and the derived name.
    pub(super) sources: BTreeSet<(Name, Name)>,
    /// Set when a derived name was taken, so that another had to be found.
    pub(super) crowded: bool,
    /// How many claims ask for this very directory.
    pub(super) live: u32,
    /// How many names in it stand for directories.
    pub(super) subdirs: u32,
    /// The directory that this one is one with, and in whose listing its claims are.
    pub(super) canon: Ix,
}

/// Who stands under one name.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) keeper: Standing,
    /// The others, in order.
    #[expect(
        clippy::box_collection,
        reason = "it takes 8 bytes of each slot, not 24, and hardly any has it"
    )]
    pub(super) rest: Option<Box<Vec<Standing>>>,
}

/// One who stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) node: Ix,
    pub(super) entry: EntryIx,
}

/// One who is shown under a derived name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Derived {
    pub(super) node: Ix,
    pub(super) entry: Option<EntryIx>,
}

impl Dir {
    /// Returns the empty directory of this number.
    pub(super) fn new(ix: Ix) -> Self {
        Self {
            names: BTreeMap::new(),
            contested: BTreeSet::new(),
            beside: BTreeSet::new(),
            derived: BTreeMap::new(),
            sources: BTreeSet::new(),
            crowded: false,
            live: 0,
            subdirs: 0,
            canon: ix,
        }
    }

    /// Returns who is shown under `name`.
    pub(super) fn occupant(&self, name: &[u8]) -> Option<Ix> {
        match self.names.get(name) {
            Some(slot) => Some(slot.keeper.node),
            None => Some(self.derived.get(name)?.node),
        }
    }

    /// Lets one more stand under `name`.
    pub(super) fn stand(&mut self, registers: &Registers, name: &Name, new: Standing) {
        let Some(slot) = self.names.get_mut(name) else {
            let slot = Slot {
                keeper: new,
                rest: None,
            };
            self.names.insert(name.clone(), slot);
            return;
        };
        let mut later = new;
        if new.rank(registers) < slot.keeper.rank(registers) {
            core::mem::swap(&mut slot.keeper, &mut later);
        }
        let rest = slot.rest.get_or_insert_default();
        let rank = later.rank(registers);
        let at = rest.partition_point(|other| other.rank(registers) < rank);
        rest.insert(at, later);
        self.contested.insert(name.clone());
    }

    /// Lets one stand under `name` no longer.
    pub(super) fn step_down(&mut self, name: &Name, old: Standing) {
        const LOST: &str = "whoever claims a name stands under it";
        let slot = self.names.get_mut(name).expect(LOST);
        let Some(rest) = &mut slot.rest else {
            assert!(slot.keeper == old, "{LOST}");
            self.names.remove(name);
            return;
        };
        if slot.keeper == old {
            slot.keeper = rest.remove(0);
        } else {
            let at = rest.iter().position(|other| *other == old).expect(LOST);
            rest.remove(at);
        }
        if rest.is_empty() {
            slot.rest = None;
            self.contested.remove(name);
        }
    }

    /// Iterates over all who stand in it, in the order of names, then over the copies beside.
    pub(super) fn everyone(&self) -> impl Iterator<Item = Ix> {
        let standing = self.names.values().flat_map(Slot::all);
        let beside = self.beside.iter().map(|&(_, ix)| ix);
        standing.map(|standing| standing.node).chain(beside)
    }

    /// Iterates over the copies beside `name`.
    pub(super) fn copies_of(&self, name: &Name) -> impl Iterator<Item = Ix> {
        self.beside
            .range((name.clone(), Ix::ROOT)..)
            .take_while(move |(base, _)| base == name)
            .map(|&(_, ix)| ix)
    }

    /// Returns the names that are derived from `base`.
    pub(super) fn derived_from(&self, base: &Name) -> Vec<Name> {
        // No name is less than the one of a single 0x01.
        let least = Name::parse(&[1]).expect("a byte that is neither NUL nor slash is a name");
        self.sources
            .range((base.clone(), least)..)
            .take_while(|(source, _)| source == base)
            .map(|(_, name)| name.clone())
            .collect()
    }
}

impl Slot {
    /// Iterates over all who stand there, the keeper first.
    pub(super) fn all(&self) -> impl Iterator<Item = Standing> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        core::iter::once(&self.keeper).chain(rest).copied()
    }
}

impl Standing {
    /// Returns the order in which a name is kept: directories first, then by id.
    fn rank(self, registers: &Registers) -> (bool, NodeId, EntryId) {
        (
            !facts::is_directory(registers, self.node),
            registers.cells[self.node.0].id,
            registers.entries[self.entry.0].register.id,
        )
    }
}
