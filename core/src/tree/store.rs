//! The registers that a replica holds.

use alloc::vec::Vec;

use crate::ids::{Arrival, Dot, Lamport, NodeId, ObjectId};
use crate::tree::register::{Attrs, Content, Entry, Register, RegisterKey};
use crate::version::VersionVector;

/// What became of a register that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is held.
    Stored {
        /// When it arrived.
        arrival: Arrival,
        /// The registers that it replaced and that are no longer held; not its own key.
        replaced: Vec<RegisterKey>,
    },
    /// It, or one that supersedes it, was held already. Nothing changed.
    Known,
    /// It breaks an invariant, which is named. Nothing changed.
    Refused(&'static str),
}

/// Every current register.
#[derive(Debug, Default)]
pub struct Registers {}

impl Registers {
    /// Returns no registers.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes a register in.
    pub fn apply(&mut self, _register: Register) -> Applied {
        unimplemented!()
    }
    /// Takes a stored register in.
    pub fn restore(&mut self, _arrival: Arrival, _register: Register) {
        unimplemented!()
    }
    /// Returns a register by its key; a clone, since registers are stored by kind.
    pub fn get(&self, _key: RegisterKey) -> Option<Register> {
        unimplemented!()
    }
    /// Iterates over what arrived after `arrival`, in order of arrival.
    pub fn after(&self, _arrival: Arrival) -> impl Iterator<Item = (Arrival, Register)> + '_ {
        core::iter::empty()
    }
    /// Returns the newest arrival.
    pub fn last_arrival(&self) -> Arrival {
        unimplemented!()
    }
    /// Returns an entry.
    pub fn entry(&self, _entry: crate::ids::EntryId) -> Option<&Entry> {
        unimplemented!()
    }
    /// Returns the attributes of a node.
    pub fn attrs(&self, _node: NodeId) -> Option<&Attrs> {
        unimplemented!()
    }
    /// Returns the entries of a node, deleted ones included, by id.
    pub fn entries_of(&self, _node: NodeId) -> impl Iterator<Item = &Entry> {
        core::iter::empty()
    }
    /// Returns the versions of a node that none supersedes, the greatest first.
    pub fn versions_of(&self, _node: NodeId) -> impl Iterator<Item = &Content> {
        core::iter::empty()
    }
    /// Returns the digest of a version.
    pub fn digest(&self, _object: ObjectId) -> Option<u128> {
        unimplemented!()
    }
    /// Returns the greatest Lamport time seen.
    pub fn lamport(&self) -> Lamport {
        unimplemented!()
    }
    /// Returns the number of registers.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns `context` and `beside` for a new version of `node` that is made on `base`.
    pub fn context_for(&self, _node: NodeId, _base: Option<Dot>) -> (VersionVector, Vec<Dot>) {
        unimplemented!()
    }
}
