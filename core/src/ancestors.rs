//! Ancestors: objects of superseded versions, kept while a newer version of their file fills.
//!
//! Law (P6): of each file at most [`ANCESTORS_MAX`] are kept, and none for longer than it may
//! spare anybody a chunk. What one holds is named to a newer version's owner, or taken where that
//! version says it is the same; nothing is believed of it that was not hashed when it was taken.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{NodeId, ObjectId};
use crate::limits::ANCESTORS_MAX;

/// The ancestors of all files.
#[derive(Debug, Default)]
pub(crate) struct Ancestors {
    /// Of each file, the newest last.
    of: BTreeMap<NodeId, Vec<ObjectId>>,
    /// Those of which nobody has looked yet what is stored.
    unknown: BTreeSet<ObjectId>,
    /// Those that are being looked at.
    looking: BTreeSet<ObjectId>,
}

impl Ancestors {
    /// Takes in an object. Where there were too many, returns the one that goes: `held` tells how
    /// many bytes of one are here, and the newest stays, as does the fullest of the others.
    pub(crate) fn keep(
        &mut self,
        object: ObjectId,
        held: impl Fn(ObjectId) -> u64,
    ) -> Option<ObjectId> {
        let of = self.of.entry(object.node).or_default();
        of.retain(|kept| *kept != object);
        of.push(object);
        if of.len() <= ANCESTORS_MAX {
            return None;
        }
        let older = of.len() - 1;
        let least = of
            .iter()
            .take(older)
            .copied()
            .min_by_key(|kept| held(*kept))?;
        self.forget(least);
        Some(least)
    }

    /// Says that nobody has looked yet what is stored of an ancestor.
    pub(crate) fn is_unknown(&mut self, object: ObjectId) {
        self.unknown.insert(object);
    }

    /// Returns the ancestors of a file that have to be looked at, which is under way from here on.
    pub(crate) fn look(&mut self, node: NodeId) -> Vec<ObjectId> {
        let of: Vec<ObjectId> = self.of(node).collect();
        let unknown = |object: &ObjectId| self.unknown.remove(object);
        let found: Vec<ObjectId> = of.into_iter().filter(unknown).collect();
        self.looking.extend(&found);
        found
    }

    /// Says that an ancestor was looked at.
    pub(crate) fn looked(&mut self, object: ObjectId) {
        self.looking.remove(&object);
    }

    /// Returns whether it is known what is stored of all ancestors of a file, or nobody has asked
    /// yet.
    pub(crate) fn are_known(&self, node: NodeId) -> bool {
        !self.of(node).any(|object| self.looking.contains(&object))
    }

    /// Returns the ancestors of a file, the newest first.
    pub(crate) fn of(&self, node: NodeId) -> impl Iterator<Item = ObjectId> + '_ {
        self.of.get(&node).into_iter().flatten().rev().copied()
    }

    /// Returns whether an object is one.
    pub(crate) fn has(&self, object: ObjectId) -> bool {
        self.of(object.node).any(|kept| kept == object)
    }

    /// Has an object be none.
    pub(crate) fn forget(&mut self, object: ObjectId) {
        self.unknown.remove(&object);
        self.looking.remove(&object);
        if let Some(of) = self.of.get_mut(&object.node) {
            of.retain(|kept| *kept != object);
            if of.is_empty() {
                self.of.remove(&object.node);
            }
        }
    }
}
