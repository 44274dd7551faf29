//! The registers that a replica holds: the current ones, and the order in which they came.
//!
//! Law: what is held is a function of what was taken in, whatever the order. Of entries,
//! attributes and digests the greatest by stamp is held; of the versions of a file those that no
//! held one supersedes. What a held version supersedes is known for ever, since whoever makes a
//! version on another knows at least what that one's author knew. Each held register has an
//! arrival of its own, later than that of whatever it replaced.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{ActorId, Arrival, Dot, EntryId, Lamport, NodeId, ObjectId};
use crate::limits::ENDED_BESIDE_MAX;
use crate::tree::arena::Arena;
use crate::tree::conflict;
use crate::tree::facts;
use crate::tree::register::{Attrs, Body, Content, Digest, Entry, Kind, Register, RegisterKey};
use crate::version::VersionVector;

/// What became of a register that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is held.
    Stored {
        /// When it arrived.
        arrival: Arrival,
        /// The registers that are no longer held because of it. A former value under its own
        /// key is not among them.
        replaced: Vec<RegisterKey>,
    },
    /// It, or one that supersedes it, was held already. Nothing changed.
    Known,
    /// It breaks an invariant, which is named. Nothing changed.
    Refused(&'static str),
}

/// The number of a node that is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ix(pub(super) u32);

impl Ix {
    /// The root.
    pub(super) const ROOT: Self = Self(0);
}

/// The number of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryIx(pub(super) u32);

/// A register and its arrival.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    pub(super) arrival: Arrival,
    pub(super) register: T,
}

/// An entry, and the number of the directory that it names.
#[derive(Clone, Debug)]
pub(super) struct HeldEntry {
    pub(super) arrival: Arrival,
    pub(super) register: Entry,
    pub(super) parent: Ix,
}

/// The registers of one node.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) id: NodeId,
    pub(super) attrs: Option<Held<Attrs>>,
    /// The greatest stamp first.
    pub(super) contents: Vec<Held<Content>>,
    pub(super) digests: Vec<Held<Digest>>,
    /// By id.
    pub(super) entries: Vec<EntryIx>,
    /// How many entries name it as their parent.
    pub(super) kids: u32,
}

/// Where a register lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Entry(EntryIx),
    Attrs(Ix),
    Content(Ix),
    Digest(Ix),
}

/// Every current register, by key and in order of arrival.
#[derive(Clone, Debug)]
pub struct Registers {
    pub(super) cells: Arena<Cell>,
    pub(super) entries: Arena<HeldEntry>,
    pub(super) nodes: BTreeMap<NodeId, Ix>,
    pub(super) entry_ids: BTreeMap<EntryId, EntryIx>,
    pub(super) arrivals: BTreeMap<Arrival, Slot>,
    /// The versions of all nodes that have more than one.
    pub(super) siblings: BTreeSet<(Dot, NodeId)>,
    /// What was replaced by something that may not be stored yet: the arrival of the new, and that
    /// of the old. Should the new be lost, the old is held again.
    pub(super) holes: BTreeSet<(Arrival, Arrival)>,
    pub(super) last: Arrival,
    pub(super) lamport: Lamport,
    /// The latest update of each actor that was ever held.
    pub(super) latest: VersionVector,
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// Returns no registers.
    pub fn new() -> Self {
        let mut registers = Self {
            cells: Arena::new(),
            entries: Arena::new(),
            nodes: BTreeMap::new(),
            entry_ids: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            siblings: BTreeSet::new(),
            holes: BTreeSet::new(),
            last: Arrival(0),
            lamport: Lamport(0),
            latest: VersionVector::new(),
        };
        let root = registers.intern(NodeId::ROOT);
        debug_assert_eq!(root, Ix::ROOT, "the root is the first node");
        registers
    }

    /// Takes in a register that was made here or came from a peer.
    pub fn apply(&mut self, register: Register) -> Applied {
        self.take(Arrival(self.last.0 + 1), register)
    }

    /// Takes in a register that was stored with its arrival. They may come in any order.
    ///
    /// Anything but [`Applied::Stored`] with nothing replaced says that the store is damaged.
    pub fn restore(&mut self, arrival: Arrival, register: Register) -> Applied {
        if self.arrivals.contains_key(&arrival) {
            return Applied::Refused("two registers have one arrival");
        }
        self.take(arrival, register)
    }

    /// Returns a register by its key: a copy, since each kind is held in its own way.
    pub fn get(&self, key: RegisterKey) -> Option<Register> {
        match key {
            RegisterKey::Entry(id) => self.entry(id).cloned().map(Register::Entry),
            RegisterKey::Attrs(node) => self.attrs(node).cloned().map(Register::Attrs),
            RegisterKey::Content(object) => self.content(object).cloned().map(Register::Content),
            RegisterKey::Digest(object) => self
                .held_digest(object)
                .map(|held| Register::Digest(held.register.clone())),
        }
    }

    /// Iterates over what arrived after `arrival`, in order of arrival.
    pub fn after(&self, arrival: Arrival) -> impl Iterator<Item = (Arrival, Register)> + '_ {
        use core::ops::Bound::{Excluded, Unbounded};
        self.arrivals
            .range((Excluded(arrival), Unbounded))
            .map(|(&arrival, &slot)| (arrival, self.at(arrival, slot)))
    }

    /// Returns the latest update of each actor that was ever held here, as far as this process
    /// knows. Those before it were not all held.
    pub fn latest(&self) -> &VersionVector {
        &self.latest
    }

    /// Takes in that everything up to `arrival` is stored: nothing brings back what it replaced.
    pub fn are_stored(&mut self, arrival: Arrival) {
        self.holes = self.holes.split_off(&(Arrival(arrival.0 + 1), Arrival(0)));
    }

    /// Returns the first arrival after `from` at which something was held that may be held again:
    /// a peer that was not sent it yet must not be told that it has had everything up to there.
    pub fn first_hole(&self, from: Arrival) -> Option<Arrival> {
        let old = self.holes.iter().map(|&(_, old)| old);
        old.filter(|old| *old > from).min()
    }

    /// Returns the newest arrival; 0 if nothing arrived.
    pub fn last_arrival(&self) -> Arrival {
        self.last
    }

    /// Returns an entry.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        let ix = self.entry_ids.get(&id)?;
        Some(&self.entries[ix.0].register)
    }

    /// Returns the attributes of a node.
    pub fn attrs(&self, node: NodeId) -> Option<&Attrs> {
        Some(&self.cell(node)?.attrs.as_ref()?.register)
    }

    /// Returns the entries of a node, deleted ones included, by id.
    pub fn entries_of(&self, node: NodeId) -> impl Iterator<Item = &Entry> {
        self.cell(node)
            .into_iter()
            .flat_map(|cell| &cell.entries)
            .map(|ix| &self.entries[ix.0].register)
    }

    /// Returns the versions of a node that stand side by side, the greatest stamp first.
    pub fn versions_of(&self, node: NodeId) -> impl Iterator<Item = &Content> {
        self.cell(node)
            .into_iter()
            .flat_map(|cell| &cell.contents)
            .map(|held| &held.register)
    }

    /// Iterates over the versions of all nodes.
    pub fn versions(&self) -> impl Iterator<Item = &Content> {
        let cells = self.cells.iter();
        cells.flat_map(|cell| cell.contents.iter().map(|held| &held.register))
    }

    /// Returns a version.
    pub fn content(&self, object: ObjectId) -> Option<&Content> {
        self.versions_of(object.node)
            .find(|content| content.stamp.dot == object.version)
    }

    /// Returns who wrote a version's digest, once it is known.
    pub fn digest_author(&self, object: ObjectId) -> Option<ActorId> {
        let held = self.held_digest(object)?;
        Some(held.register.stamp.dot.actor)
    }

    /// Returns the digest of a version, once it is known.
    pub fn digest(&self, object: ObjectId) -> Option<u128> {
        Some(self.held_digest(object)?.register.hash)
    }

    /// Returns the greatest Lamport time that was seen; of what was restored, of that which was
    /// still held. Nothing that is held no longer can compete with what is made next.
    pub fn lamport(&self) -> Lamport {
        self.lamport
    }

    /// Returns the number of registers.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Returns `context` and `beside` for a new version of `node` that is made on the version
    /// `base`, or on none.
    ///
    /// All that stands beside `base` goes on standing, but for what is equal to it and, of copies
    /// that came to their end, all but the last few: somebody who does not know of that end may have
    /// kept one, and has its version of nowhere but the file.
    pub fn context_for(&self, node: NodeId, base: Option<Dot>) -> (VersionVector, Vec<Dot>) {
        let mut context = VersionVector::new();
        let mut beside = BTreeSet::new();
        for content in self.versions_of(node) {
            context.merge(&content.context);
            context.cover(content.stamp.dot);
            beside.insert(content.stamp.dot);
            beside.extend(&content.beside);
        }
        // Of a copy the version on which it is made may be one of another node.
        if let Some(base) = base {
            context.cover(base);
            beside.remove(&base);
        }
        beside.retain(|&dot| {
            context.covers(dot)
                && !self.versions_of(node).any(|other| other.supersedes(dot))
                && !base.is_some_and(|base| self.one(node, base, dot))
        });
        let mut ended: Vec<_> = beside.iter().copied().collect();
        ended.retain(|&dot| self.copy_ended(dot));
        ended.sort_by_key(|&version| {
            let content = self.content(ObjectId { node, version });
            content.map(|content| content.stamp)
        });
        // One that went on as a file of its own needs that version no more.
        let (gone_on, mut ended): (Vec<Dot>, Vec<Dot>) =
            ended.into_iter().partition(|&dot| self.has_gone_on(dot));
        let last = ended.len().saturating_sub(ENDED_BESIDE_MAX);
        for dot in gone_on.into_iter().chain(ended.drain(..last)) {
            beside.remove(&dot);
        }
        (context, beside.into_iter().collect())
    }

    /// Tells whether two versions of a file are equal, and shown as one.
    fn one(&self, node: NodeId, a: Dot, b: Dot) -> bool {
        let content = |version| self.content(ObjectId { node, version });
        match (content(a), content(b)) {
            (Some(a), Some(other)) => facts::same(self, a, other) && !facts::separated(self, b),
            (None, _) | (_, None) => false,
        }
    }

    /// Tells whether the copy of this version had an entry of its own and was deleted.
    fn copy_ended(&self, version: Dot) -> bool {
        self.ix(conflict::copy_of(version))
            .is_some_and(|ix| facts::ended(self, ix))
    }

    /// Tells whether the copy of this version has one of its own that was made on it.
    fn has_gone_on(&self, version: Dot) -> bool {
        let mut own = self.versions_of(conflict::copy_of(version));
        own.any(|content| content.supersedes(version))
    }

    // What the rooms beside this one see.

    /// Returns the number of a node that was spoken of.
    pub(super) fn ix(&self, node: NodeId) -> Option<Ix> {
        self.nodes.get(&node).copied()
    }

    /// Returns the number of a node.
    pub(super) fn intern(&mut self, node: NodeId) -> Ix {
        if let Some(&ix) = self.nodes.get(&node) {
            return ix;
        }
        let ix = Ix(self.cells.push(Cell {
            id: node,
            attrs: None,
            contents: Vec::new(),
            digests: Vec::new(),
            entries: Vec::new(),
            kids: 0,
        }));
        self.nodes.insert(node, ix);
        ix
    }

    /// Returns the file that has `version` among several: that of the lowest id, if somebody
    /// used a dot twice.
    pub(super) fn origin(&self, version: Dot) -> Option<Ix> {
        let from = (version, NodeId::ROOT);
        let to = (
            version,
            NodeId(Dot {
                actor: crate::ids::ActorId(u64::MAX),
                counter: u64::MAX,
            }),
        );
        let (_, node) = self.siblings.range(from..=to).next()?;
        self.ix(*node)
    }

    /// Iterates over the versions of all files that have several.
    pub(super) fn siblings(&self) -> impl Iterator<Item = Dot> + '_ {
        self.siblings.iter().map(|&(dot, _)| dot)
    }

    fn cell(&self, node: NodeId) -> Option<&Cell> {
        self.ix(node).map(|ix| &self.cells[ix.0])
    }

    fn held_digest(&self, object: ObjectId) -> Option<&Held<Digest>> {
        self.cell(object.node)?
            .digests
            .iter()
            .find(|held| held.register.object == object)
    }

    fn at(&self, arrival: Arrival, slot: Slot) -> Register {
        const LIES: &str = "an arrival leads to its register";
        match slot {
            Slot::Entry(ix) => Register::Entry(self.entries[ix.0].register.clone()),
            Slot::Attrs(ix) => {
                let attrs = self.cells[ix.0].attrs.as_ref().expect(LIES);
                Register::Attrs(attrs.register.clone())
            }
            Slot::Content(ix) => {
                let mut contents = self.cells[ix.0].contents.iter();
                let content = contents.find(|held| held.arrival == arrival).expect(LIES);
                Register::Content(content.register.clone())
            }
            Slot::Digest(ix) => {
                let mut digests = self.cells[ix.0].digests.iter();
                let digest = digests.find(|held| held.arrival == arrival).expect(LIES);
                Register::Digest(digest.register.clone())
            }
        }
    }
}

/// Returns the kind of a node that holds `body`.
pub(super) fn kind_of(body: &Body) -> Kind {
    match body {
        Body::File { .. } => Kind::File,
        Body::Link { .. } => Kind::Symlink,
    }
}
