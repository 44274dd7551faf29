//! The registers that a replica holds: the current ones, and the order in which they came.
//!
//! Law: what is held is a function of what was taken in, whatever the order. Of entries,
//! attributes and digests the greatest by stamp is held; of the versions of a file those that no
//! held one supersedes. What a held version supersedes is known for ever, since whoever makes a
//! version on another knows at least what that one's author knew. Each held register has an
//! arrival of its own, later than that of whatever it replaced.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{Arrival, Dot, EntryId, Lamport, NodeId, ObjectId};
use crate::limits::{ENTRIES_PER_NODE_MAX, SIBLINGS_MAX};
use crate::tree::arena::Arena;
use crate::tree::conflict;
use crate::tree::facts;
use crate::tree::invariant;
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
enum Slot {
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
    nodes: BTreeMap<NodeId, Ix>,
    entry_ids: BTreeMap<EntryId, EntryIx>,
    arrivals: BTreeMap<Arrival, Slot>,
    /// The versions of all nodes that have more than one.
    siblings: BTreeSet<(Dot, NodeId)>,
    last: Arrival,
    lamport: Lamport,
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
            last: Arrival(0),
            lamport: Lamport(0),
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

    /// Returns a version.
    pub fn content(&self, object: ObjectId) -> Option<&Content> {
        self.versions_of(object.node)
            .find(|content| content.stamp.dot == object.version)
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
    /// All that stands beside `base` goes on standing, but for what is equal to it and for
    /// copies that came to their end.
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
                && !self.copy_ended(dot)
                && !base.is_some_and(|base| self.one(node, base, dot))
        });
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

    fn take(&mut self, arrival: Arrival, register: Register) -> Applied {
        if let Err(broken) = invariant::hold(&register) {
            return Applied::Refused(broken);
        }
        let lamport = register.stamp().lamport;
        let applied = match register {
            Register::Entry(entry) => self.take_entry(arrival, entry),
            Register::Attrs(attrs) => self.take_attrs(arrival, attrs),
            Register::Content(content) => self.take_content(arrival, content),
            Register::Digest(digest) => self.take_digest(arrival, digest),
        };
        if let Applied::Stored { .. } = applied {
            self.last = self.last.max(arrival);
            self.lamport = self.lamport.max(lamport);
        }
        applied
    }

    fn take_entry(&mut self, arrival: Arrival, entry: Entry) -> Applied {
        // A move that closes a cycle leads back there.
        let previous = entry.previous.as_ref().map(|(parent, _)| *parent);
        if let Some(&ix) = self.entry_ids.get(&entry.id) {
            let held = &self.entries[ix.0].register;
            if held.node != entry.node {
                return Applied::Refused("an entry names another node than before");
            }
            if entry.stamp <= held.stamp {
                return Applied::Known;
            }
            let parent = self.intern(entry.parent);
            previous.map(|parent| self.intern(parent));
            let held = &mut self.entries[ix.0];
            self.arrivals.remove(&held.arrival);
            self.cells[held.parent.0].kids -= 1;
            held.arrival = arrival;
            held.register = entry;
            held.parent = parent;
            self.cells[parent.0].kids += 1;
            return self.stored(arrival, Slot::Entry(ix), Vec::new());
        }
        let node = self.intern(entry.node);
        if self.cells[node.0].entries.len() >= ENTRIES_PER_NODE_MAX {
            return Applied::Refused("a node has more names than allowed");
        }
        let parent = self.intern(entry.parent);
        previous.map(|parent| self.intern(parent));
        let id = entry.id;
        let ix = EntryIx(self.entries.push(HeldEntry {
            arrival,
            register: entry,
            parent,
        }));
        self.entry_ids.insert(id, ix);
        self.cells[parent.0].kids += 1;
        let at = self.cells[node.0]
            .entries
            .partition_point(|other| self.entries[other.0].register.id < id);
        insert_exact(&mut self.cells[node.0].entries, at, ix);
        self.stored(arrival, Slot::Entry(ix), Vec::new())
    }

    fn take_attrs(&mut self, arrival: Arrival, attrs: Attrs) -> Applied {
        let ix = self.intern(attrs.node);
        if self.kind(ix).is_some_and(|kind| kind != attrs.kind) {
            return Applied::Refused("the kind of a node changed");
        }
        let cell = &mut self.cells[ix.0];
        if let Some(held) = &cell.attrs {
            if attrs.stamp <= held.register.stamp {
                return Applied::Known;
            }
            self.arrivals.remove(&held.arrival);
        }
        cell.attrs = Some(Held {
            arrival,
            register: attrs,
        });
        self.stored(arrival, Slot::Attrs(ix), Vec::new())
    }

    fn take_content(&mut self, arrival: Arrival, content: Content) -> Applied {
        let ix = self.intern(content.node);
        if self
            .kind(ix)
            .is_some_and(|kind| kind != kind_of(&content.body))
        {
            return Applied::Refused("the kind of a node changed");
        }
        let dot = content.stamp.dot;
        let cell = &mut self.cells[ix.0];
        let known =
            |held: &Held<Content>| held.register.stamp.dot == dot || held.register.supersedes(dot);
        if cell.contents.iter().any(known) {
            return Applied::Known;
        }
        let superseded = |held: &&Held<Content>| content.supersedes(held.register.stamp.dot);
        let left = cell.contents.len() - cell.contents.iter().filter(superseded).count();
        if left >= SIBLINGS_MAX {
            return Applied::Refused("a file has more versions side by side than allowed");
        }

        let mut replaced = Vec::new();
        for held in &cell.contents {
            self.siblings.remove(&(held.register.stamp.dot, cell.id));
        }
        let arrivals = &mut self.arrivals;
        cell.contents.retain(|held| {
            let gone = content.supersedes(held.register.stamp.dot);
            if gone {
                arrivals.remove(&held.arrival);
                replaced.push(RegisterKey::Content(held.register.object()));
            }
            !gone
        });
        cell.digests.retain(|held| {
            let gone = content.supersedes(held.register.object.version);
            if gone {
                arrivals.remove(&held.arrival);
                replaced.push(RegisterKey::Digest(held.register.object));
            }
            !gone
        });
        let at = cell
            .contents
            .partition_point(|held| held.register.stamp > content.stamp);
        let held = Held {
            arrival,
            register: content,
        };
        insert_exact(&mut cell.contents, at, held);
        if cell.contents.len() > 1 {
            for held in &cell.contents {
                self.siblings.insert((held.register.stamp.dot, cell.id));
            }
        }
        self.stored(arrival, Slot::Content(ix), replaced)
    }

    fn take_digest(&mut self, arrival: Arrival, digest: Digest) -> Applied {
        let ix = self.intern(digest.object.node);
        let cell = &mut self.cells[ix.0];
        let version = digest.object.version;
        let supersedes = |held: &Held<Content>| held.register.supersedes(version);
        if cell.contents.iter().any(supersedes) {
            return Applied::Known;
        }
        let same = |held: &&mut Held<Digest>| held.register.object == digest.object;
        if let Some(held) = cell.digests.iter_mut().find(same) {
            if digest.stamp <= held.register.stamp {
                return Applied::Known;
            }
            self.arrivals.remove(&held.arrival);
            *held = Held {
                arrival,
                register: digest,
            };
        } else {
            // As many again as there may be versions: a digest may come before its version.
            if cell.digests.len() >= 2 * SIBLINGS_MAX {
                return Applied::Refused("a file has more digests than allowed");
            }
            let held = Held {
                arrival,
                register: digest,
            };
            insert_exact(&mut cell.digests, 0, held);
        }
        self.stored(arrival, Slot::Digest(ix), Vec::new())
    }

    fn stored(&mut self, arrival: Arrival, slot: Slot, replaced: Vec<RegisterKey>) -> Applied {
        self.arrivals.insert(arrival, slot);
        Applied::Stored { arrival, replaced }
    }

    /// Returns what a node is, as far as its registers tell.
    fn kind(&self, ix: Ix) -> Option<Kind> {
        let cell = &self.cells[ix.0];
        let told = cell.attrs.as_ref().map(|held| held.register.kind);
        told.or_else(|| Some(kind_of(&cell.contents.first()?.register.body)))
    }
}

/// Returns the kind of a node that holds `body`.
pub(super) fn kind_of(body: &Body) -> Kind {
    match body {
        Body::File { .. } => Kind::File,
        Body::Link { .. } => Kind::Symlink,
    }
}

/// Inserts, and takes no more memory than that: almost all nodes have one of each register.
pub(super) fn insert_exact<T>(list: &mut Vec<T>, at: usize, value: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.insert(at, value);
}
