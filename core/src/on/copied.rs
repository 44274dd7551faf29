//! A conflict copy that is changed.
//!
//! Law: what a copy has of its own (content, attributes, further names) counts once it has an
//! entry of its own; until then it is shown as what it was made of. So whatever is changed of one
//! is changed after it was given the name that it is shown under, and attributes: those of the
//! file that it was made of are there only as long as its version is.

use alloc::vec::Vec;

use crate::engine::Engine;
use crate::ids::{EntryId, NodeId};
use crate::message::Role;
use crate::on::fs::Open;
use crate::tree::conflict;
use crate::tree::register::{Attrs, Entry, Register, Stamp, Xattrs};

impl Engine {
    /// Gives a conflict copy that is about to be changed the name that it is shown under, and
    /// attributes; does nothing for anything else.
    pub(crate) fn stand_alone(&mut self, node: NodeId) {
        if conflict::copied(node).is_none() {
            return;
        }
        if self.tree.registers().entries_of(node).next().is_some() {
            if self.tree.node(node).is_some() {
                self.own_attrs(node);
            }
            return;
        }
        let place = self.tree.places(node).next();
        let Some((parent, name)) = place.map(|(dir, name)| (dir, name.clone())) else {
            return;
        };
        let stamp = self.stamp();
        let entry = Register::Entry(Entry {
            id: EntryId(stamp.dot),
            stamp,
            node,
            parent,
            name,
            previous: None,
            deleted: None,
        });
        let attrs = self.attrs_of_copy(node);
        self.make_on_any_side(entry);
        if let Some(attrs) = attrs {
            let stamp = self.stamp_beside(stamp);
            self.make_on_any_side(Register::Attrs(Attrs { stamp, ..attrs }));
        }
    }

    /// Gives a conflict copy with a name of its own attributes, if it has none. Where that name was
    /// deleted it shows again by that: only for whoever knows that it is owed one.
    pub(crate) fn own_attrs(&mut self, node: NodeId) {
        let has = self.tree.registers().attrs(node).is_some();
        if conflict::copied(node).is_none() || has {
            return;
        }
        if let Some(attrs) = self.attrs_of_copy(node) {
            let stamp = self.stamp();
            self.make_on_any_side(Register::Attrs(Attrs { stamp, ..attrs }));
        }
    }

    /// Returns the attributes that a conflict copy without own ones has: those of the file that it
    /// was made of; where that has the version no more, what whoever has it open was last shown.
    fn attrs_of_copy(&self, node: NodeId) -> Option<Attrs> {
        if let Some(attrs) = self.tree.attrs_shown(node) {
            return Some(Attrs {
                node,
                ..attrs.clone()
            });
        }
        let ino = self.inodes.get(node)?;
        let last = self.handles.on(ino).find_map(|(_, open)| match open {
            Open::File { last, .. } => Some(*last),
            Open::Directory { .. } => None,
        })?;
        Some(Attrs {
            node,
            stamp: Stamp::ZERO,
            kind: last.kind,
            mode: last.mode,
            uid: last.uid,
            gid: last.gid,
            mtime: None,
            xattrs: Xattrs::new(),
        })
    }

    /// A name that shows though it was deleted is about to be made anew, beside `first` if that is an
    /// edit in one piece. What the delete ended of the file would show again by that: it gets an end of
    /// its own, as the conflict copy that it would be.
    pub(crate) fn end_what_was_deleted(&mut self, node: NodeId, first: Option<Stamp>) {
        let ended = self.tree.ended_versions(node);
        let place = self.tree.places(node).next();
        let Some((parent, name)) = place.map(|(dir, name)| (dir, name.clone())) else {
            return;
        };
        for version in ended {
            let copy = conflict::copy_of(version);
            if self.tree.registers().entries_of(copy).next().is_some() {
                continue;
            }
            let mut knowledge = self.me.knowledge.clone();
            knowledge.cover(version);
            let stamp = match first {
                Some(first) => self.stamp_beside(first),
                None => self.stamp(),
            };
            self.make_on_any_side(Register::Entry(Entry {
                id: EntryId(stamp.dot),
                stamp,
                node: copy,
                parent,
                name: name.clone(),
                previous: None,
                deleted: Some(knowledge),
            }));
        }
    }

    /// Returns the further entries by which a node has the name of this one: two who change a
    /// conflict copy apart both name it. Whatever ends or moves one of them ends the others.
    pub(crate) fn same_names(&self, entry: &Entry) -> Vec<Entry> {
        let dir = self.tree.canonical(entry.parent);
        let entries = self.tree.registers().entries_of(entry.node);
        let same = entries.filter(|other| {
            other.id != entry.id
                && other.deleted.is_none()
                && other.name == entry.name
                && self.tree.canonical(other.parent) == dir
        });
        same.cloned().collect()
    }

    /// Makes an update that somebody waits for on this machine.
    pub(crate) fn make_on_any_side(&mut self, register: Register) {
        match self.config.role {
            Role::Full => self.make(register),
            Role::Sparse | Role::Guest => self.make_here(register),
        }
    }
}
