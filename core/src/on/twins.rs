//! Files and directories that are shown as one.
//!
//! Law: what is done to one under a name is done to all that are one with it there, so that none comes
//! to light by it: they move together, and go together. Who changes the content of a file ends the
//! others, which hold what it was; what somebody makes of one of those meanwhile beats that, as it beats
//! any delete. What is being written to one here, and is no version yet, is no part of what shows: nobody
//! who ends that ends it.

use alloc::vec::Vec;

use crate::engine::Engine;
use crate::ids::{Dot, NodeId};
use crate::tree::name::Name;
use crate::tree::register::{Entry, Register, Stamp};
use crate::version::VersionVector;

impl Engine {
    /// Returns the entries of what is one with a node under a name, and not shown there for that
    /// reason.
    pub(crate) fn twins(&self, node: NodeId, dir: NodeId, name: &Name) -> Vec<Entry> {
        let canonical = self.tree.canonical(dir);
        let here = |entry: &&Entry| {
            entry.deleted.is_none()
                && entry.name == *name
                && self.tree.canonical(entry.parent) == canonical
        };
        let merged = self.tree.merged(node).into_iter();
        let entry_of = |other| self.tree.registers().entries_of(other).find(here).cloned();
        merged.filter_map(entry_of).collect()
    }

    /// The same, of what ends with it: of one that is being written to here the version alone is equal,
    /// and not what its writer makes of it.
    pub(crate) fn ending_twins(&self, node: NodeId, dir: NodeId, name: &Name) -> Vec<Entry> {
        let mut twins = self.twins(node, dir, name);
        twins.retain(|twin| !self.is_being_written(twin.node));
        twins
    }

    /// Moves what is one with a node to where that has gone by an edit.
    pub(crate) fn move_twins(&mut self, twins: Vec<Entry>, dir: NodeId, name: &Name, edit: Stamp) {
        for twin in twins {
            let stamp = self.stamp_beside(edit);
            self.move_entry(twin, dir, name, stamp);
        }
    }

    /// Ends what is one with a file, before that changes from the version `base`: by the edit that
    /// changes it, if it is known already.
    pub(crate) fn end_twins(&mut self, node: NodeId, base: Dot, edit: Option<Stamp>) {
        if self.tree.node(node).and_then(|view| view.version) != Some(base) {
            // They hold what shows, and that is not what changes.
            return;
        }
        let places: Vec<_> = self.tree.places(node).collect();
        let twins = places.into_iter();
        let twins: Vec<Entry> = twins
            .flat_map(|(dir, name)| self.ending_twins(node, dir, name))
            .collect();
        let mut knowledge = self.me.knowledge.clone();
        for twin in &twins {
            self.know_all_of(twin.node, &mut knowledge);
        }
        self.end_entries(twins, &knowledge, edit);
    }

    /// Deletes names, knowing this: by an edit that is being made, or each by one of its own.
    pub(crate) fn end_entries(
        &mut self,
        entries: Vec<Entry>,
        known: &VersionVector,
        edit: Option<Stamp>,
    ) {
        for entry in entries {
            let stamp = match edit {
                Some(edit) => self.stamp_beside(edit),
                None => self.stamp(),
            };
            self.make_on_any_side(Register::Entry(Entry {
                stamp,
                deleted: Some(known.clone()),
                ..entry
            }));
        }
    }
}
