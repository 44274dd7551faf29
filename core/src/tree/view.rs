//! The tree that follows from the registers: what is shown, and what can be asked of it.
//!
//! Law: it is a function of the registers, whatever the order in which they came; `check`
//! computes the same from scratch. Every listed name leads to a node that [`Tree::node`] returns
//! (S17).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::iter;
use core::ops::Bound::{Excluded, Unbounded};

use crate::ids::{Arrival, Dot, EntryId, NodeId, ObjectId};
use crate::time::WallTime;
use crate::tree::arena::Arena;
use crate::tree::cycle::Level;
use crate::tree::facts::{self, Version};
use crate::tree::name::Name;
use crate::tree::register::{Attrs, Body, Content, Kind, Xattrs};
use crate::tree::seat::{Derived, Dir, Seat};
use crate::tree::settle::Work;
use crate::tree::store::{Ix, Registers, kind_of};

/// What is shown of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky: at most 0o7777.
    pub mode: u16,
    /// Owner, as a number.
    pub uid: u32,
    /// Group, as a number.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: &'a Xattrs,
    /// The modification time; `None` for a directory whose time was not set by hand.
    pub mtime: Option<WallTime>,
    /// Bytes of a file, length of a symlink's target, 0 for a directory.
    pub size: u64,
    /// Names of a file or symlink; 2 and the number of subdirectories of a directory.
    pub nlink: u32,
    /// The version that is shown; `None` for a directory.
    pub version: Option<Dot>,
    /// The object that holds the version's bytes: of a conflict copy it is one of another node.
    pub object: Option<ObjectId>,
    /// What the version holds; `None` for a directory.
    pub body: Option<&'a Body>,
}

/// What a register changed in the tree. Names that vanish are told before names that appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name stands for no node any more, or for another.
    Vanished {
        /// Where.
        dir: NodeId,
        /// The name.
        name: Name,
        /// The node that it stood for.
        node: NodeId,
    },
    /// A name stands for a node.
    Appeared {
        /// Where.
        dir: NodeId,
        /// The name.
        name: Name,
        /// The node that it stands for.
        node: NodeId,
    },
    /// Another version is shown: `from` is `None` when the node was not visible, `to` when it
    /// is not.
    Content {
        /// The file or symlink.
        node: NodeId,
        /// The version that was shown.
        from: Option<Dot>,
        /// The version that is shown.
        to: Option<Dot>,
    },
    /// Attributes of a node that was and is visible changed: its number of names included.
    Attributes {
        /// The node.
        node: NodeId,
    },
}

/// The registers, and the tree that follows from them, kept incrementally.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) registers: Registers,
    /// By the numbers of `registers.cells`.
    pub(super) seats: Arena<Seat>,
    /// Directories whose moves closed cycles, and how far they are put back.
    pub(super) levels: BTreeMap<Ix, Level>,
    /// Directories in which nothing can stand yet, and who asks for them.
    pub(super) orphans: BTreeSet<(Ix, Ix)>,
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// What an `apply` under way has yet to do, and what was before it.
    pub(super) work: Work,
    pub(super) settled: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Returns the tree of no registers: an empty root.
    pub fn new() -> Self {
        let mut tree = Self {
            registers: Registers::new(),
            seats: Arena::new(),
            levels: BTreeMap::new(),
            orphans: BTreeSet::new(),
            count: 0,
            bytes: 0,
            work: Work::default(),
            settled: true,
        };
        tree.seat_all();
        tree
    }

    /// Returns the registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Takes in that every register up to `arrival` is stored.
    pub fn are_stored(&mut self, arrival: Arrival) {
        self.registers.are_stored(arrival);
    }

    /// Returns the node that `name` stands for in `dir`.
    pub fn lookup(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        let ix = self.listing(dir)?.occupant(name)?;
        Some(self.id(ix))
    }

    /// Lists `dir` in the order of names.
    pub fn list(&self, dir: NodeId) -> impl Iterator<Item = (&Name, NodeId)> {
        self.list_after(dir, None)
    }

    /// Lists what comes after `name` in `dir`, in the order of names; all of it for `None`.
    pub fn list_after(
        &self,
        dir: NodeId,
        name: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Name, NodeId)> {
        let range = (name.map_or(Unbounded, Excluded), Unbounded);
        let listing = self.listing(dir).into_iter();
        listing.flat_map(move |dir| {
            let kept = dir.names.range::<[u8], _>(range);
            let mut kept = kept.map(|(name, slot)| (name, slot.keeper.node)).peekable();
            let derived = dir.derived.range::<[u8], _>(range);
            let mut derived = derived.map(|(name, shown)| (name, shown.node)).peekable();
            iter::from_fn(move || match (kept.peek(), derived.peek()) {
                (Some((a, _)), Some((b, _))) if a < b => kept.next(),
                (Some(_), None) => kept.next(),
                (_, _) => derived.next(),
            })
            .map(|(name, ix)| (name, self.id(ix)))
        })
    }

    /// Returns what is shown of `node`, if it is visible.
    pub fn node(&self, node: NodeId) -> Option<NodeView<'_>> {
        let ix = self.registers.ix(node)?;
        let seat = &self.seats[ix.0];
        let attrs = facts::attrs(&self.registers, ix);
        let subdirs = || 2 + seat.dir.as_ref().map_or(0, |dir| dir.subdirs);
        let Some(attrs) = attrs.filter(|_| ix == Ix::ROOT || seat.shown > 0) else {
            return (ix == Ix::ROOT).then(|| NodeView::bare_root(subdirs()));
        };
        let content = seat
            .winner
            .and_then(|version| facts::content(&self.registers, version));
        let by_hand = attrs
            .mtime
            .filter(|_| content.is_none_or(|content| attrs.stamp > content.stamp));
        Some(NodeView {
            kind: content.map_or(Kind::Directory, |content| kind_of(&content.body)),
            mode: attrs.mode,
            uid: attrs.uid,
            gid: attrs.gid,
            xattrs: &attrs.xattrs,
            mtime: by_hand.or(content.map(|content| content.mtime)),
            size: content.map_or(0, |content| match &content.body {
                Body::File { size, .. } => *size,
                Body::Link { target } => target.as_bytes().len() as u64,
            }),
            nlink: match content {
                Some(_) => seat.shown,
                None => subdirs(),
            },
            version: content.map(|content| content.stamp.dot),
            object: content.map(Content::object),
            body: content.map(|content| &content.body),
        })
    }

    /// Returns the attributes of `node`, whether it is visible or not: a conflict copy that has
    /// none of its own has those of the file that it comes from.
    pub(crate) fn attrs_shown(&self, node: NodeId) -> Option<&Attrs> {
        facts::attrs(&self.registers, self.registers.ix(node)?)
    }

    /// Returns the versions of `node` that were ended with all of its names, while it shows under
    /// one of these as another that nobody knew.
    pub(crate) fn ended_versions(&self, node: NodeId) -> Vec<Dot> {
        let ix = self.registers.ix(node).into_iter();
        ix.flat_map(|ix| facts::ended_versions(&self.registers, ix))
            .collect()
    }

    /// Returns the visible places of `node`: one of a directory, one for each name of a file,
    /// none of the root and of what is not visible.
    pub fn places(&self, node: NodeId) -> impl Iterator<Item = (NodeId, &Name)> {
        let ix = self.registers.ix(node);
        ix.into_iter()
            .flat_map(|ix| self.seats[ix.0].claims.iter().map(move |claim| (ix, claim)))
            .filter_map(|(ix, claim)| {
                let dir = self.seats[claim.dir.0].dir.as_ref()?;
                let keeps = dir.names.get(&claim.name).is_some_and(|slot| {
                    slot.keeper.node == ix && Some(slot.keeper.entry) == claim.entry
                });
                let name = if keeps {
                    &claim.name
                } else {
                    let entry = claim.entry;
                    let shown = Derived { node: ix, entry };
                    dir.derived.iter().find(|(_, other)| **other == shown)?.0
                };
                Some((self.id(claim.dir), name))
            })
    }

    /// Tells whether a node is shown as a conflict copy: of a version that lost, or of what another
    /// one has the name of.
    pub fn is_conflict_copy(&self, node: NodeId) -> bool {
        let Some(ix) = self.registers.ix(node) else {
            return false;
        };
        self.seats[ix.0].claims.iter().any(|claim| {
            let dir = self.seats[claim.dir.0].dir.as_ref();
            let entry = claim.entry;
            let shown = Derived { node: ix, entry };
            dir.is_some_and(|dir| dir.derived.values().any(|other| *other == shown))
        })
    }

    /// Returns the entry behind a visible name; `None` also for a conflict copy that has none of
    /// its own.
    pub fn entry_at(&self, dir: NodeId, name: &[u8]) -> Option<EntryId> {
        let dir = self.listing(dir)?;
        let entry = match dir.names.get(name) {
            Some(slot) => slot.keeper.entry,
            None => dir.derived.get(name)?.entry?,
        };
        Some(self.registers.entries[entry.0].register.id)
    }

    /// Returns the names that lead from the root to `node`'s first place.
    pub fn path(&self, node: NodeId) -> Option<Vec<Name>> {
        let mut path = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            let (dir, name) = self.places(at).next()?;
            path.push(name.clone());
            at = dir;
        }
        path.reverse();
        Some(path)
    }

    /// Returns the node to which `path` leads from the root.
    pub fn resolve(&self, path: &[Name]) -> Option<NodeId> {
        path.iter()
            .try_fold(NodeId::ROOT, |dir, name| self.lookup(dir, name.as_bytes()))
    }

    /// Returns the number of visible nodes, the root apart.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the bytes of all visible files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the directory under whose id `dir` is shown: itself, unless it is one with
    /// another of its name.
    ///
    /// Both can be asked for their listing, which is that of the latter.
    pub fn canonical(&self, dir: NodeId) -> NodeId {
        self.registers
            .ix(dir)
            .map_or(dir, |ix| self.id(self.canon(ix)))
    }

    /// Returns the nodes that are one with a visible node at one of its places, and not shown
    /// there for that reason: of directories those of the same name, of files those of the same
    /// name that hold the same.
    pub fn merged(&self, node: NodeId) -> Vec<NodeId> {
        let mut merged = BTreeSet::new();
        let Some(ix) = self.registers.ix(node) else {
            return Vec::new();
        };
        for claim in &self.seats[ix.0].claims {
            let dir = self.seats[claim.dir.0].dir.as_ref();
            let Some(slot) = dir.and_then(|dir| dir.names.get(&claim.name)) else {
                continue;
            };
            for other in slot.all().filter(|other| other.node != ix) {
                if self.one(ix, other.node) {
                    merged.insert(self.id(other.node));
                }
            }
        }
        merged.into_iter().collect()
    }

    /// Tells whether two nodes of one name are one.
    fn one(&self, a: Ix, b: Ix) -> bool {
        let directory = |ix| facts::is_directory(&self.registers, ix);
        if directory(a) || directory(b) {
            return directory(a) && directory(b);
        }
        let essence = |ix| {
            let content = facts::content(&self.registers, self.winner(ix)?)?;
            facts::essence(&self.registers, content)
        };
        essence(a).is_some() && essence(a) == essence(b)
    }

    fn winner(&self, ix: Ix) -> Option<Version> {
        self.seats[ix.0].winner
    }

    /// Returns the listing that shows what stands in a directory.
    fn listing(&self, dir: NodeId) -> Option<&Dir> {
        let canon = self.canon(self.registers.ix(dir)?);
        self.seats[canon.0].dir.as_deref()
    }

    pub(super) fn canon(&self, ix: Ix) -> Ix {
        self.seats[ix.0].dir.as_ref().map_or(ix, |dir| dir.canon)
    }

    pub(super) fn id(&self, ix: Ix) -> NodeId {
        self.registers.cells[ix.0].id
    }
}

impl NodeView<'_> {
    /// Returns the root's while nobody gave it attributes.
    fn bare_root(nlink: u32) -> Self {
        static NONE: Xattrs = Xattrs::new();
        NodeView {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: &NONE,
            mtime: None,
            size: 0,
            nlink,
            version: None,
            object: None,
            body: None,
        }
    }
}
