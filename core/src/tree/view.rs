//! The tree that follows from the registers.

use alloc::vec::Vec;

use crate::ids::{Arrival, Dot, EntryId, NodeId, ObjectId};
use crate::time::WallTime;
use crate::tree::name::Name;
use crate::tree::register::{Body, Kind, Register, Xattrs};
use crate::tree::store::{Applied, Registers};

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
#[derive(Debug, Default)]
pub struct Tree {
    registers: Registers,
}

impl Tree {
    /// Returns the tree of no registers: an empty root.
    pub fn new() -> Self {
        Self::default()
    }
    /// Returns the registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }
    /// Takes a register in, and appends to `changes` what it changes in the tree.
    pub fn apply(&mut self, _register: Register, _changes: &mut Vec<Change>) -> Applied {
        unimplemented!()
    }
    /// Takes a stored register in.
    pub fn restore(&mut self, _arrival: Arrival, _register: Register) {
        unimplemented!()
    }
    /// Builds the tree of what was restored.
    pub fn settle(&mut self) {
        unimplemented!()
    }
    /// Returns the node that `name` stands for in `dir`.
    pub fn lookup(&self, _dir: NodeId, _name: &[u8]) -> Option<NodeId> {
        unimplemented!()
    }
    /// Lists `dir` in the order of names.
    pub fn list(&self, _dir: NodeId) -> impl Iterator<Item = (&Name, NodeId)> {
        core::iter::empty()
    }
    /// Returns what is shown of `node`, if it is visible.
    pub fn node(&self, _node: NodeId) -> Option<NodeView<'_>> {
        unimplemented!()
    }
    /// Returns the visible places of `node`.
    pub fn places(&self, _node: NodeId) -> impl Iterator<Item = (NodeId, &Name)> {
        core::iter::empty()
    }
    /// Returns the entry behind a visible name.
    pub fn entry_at(&self, _dir: NodeId, _name: &[u8]) -> Option<EntryId> {
        unimplemented!()
    }
    /// Returns the names that lead from the root to `node`'s first place.
    pub fn path(&self, _node: NodeId) -> Option<Vec<Name>> {
        unimplemented!()
    }
    /// Returns the node to which `path` leads from the root.
    pub fn resolve(&self, _path: &[Name]) -> Option<NodeId> {
        unimplemented!()
    }
    /// Returns the number of visible nodes, the root apart.
    pub fn count(&self) -> u64 {
        unimplemented!()
    }
    /// Returns the bytes of all visible files.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Returns the directory under whose id `dir` is shown: itself, unless it is one with
    /// another of its name.
    pub fn canonical(&self, _dir: NodeId) -> NodeId {
        unimplemented!()
    }
    /// Returns the nodes that are one with `node` and not shown apart from it.
    pub fn merged(&self, _node: NodeId) -> Vec<NodeId> {
        unimplemented!()
    }
}
