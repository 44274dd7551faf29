//! What is not seen any more was deleted, unless the tree had moved it on already.
//!
//! Law: a name is deleted only by a look of its own that came after all others (S25). A delete
//! knows what stood there, and not what was yet to be placed: an edit that nobody here could see
//! beats it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::engine::Engine;
use crate::ids::{Dot, EntryId, NodeId};
use crate::records;
use crate::tree::conflict;
use crate::tree::name::Name;
use crate::tree::register::Entry;
use crate::version::VersionVector;

impl Engine {
    /// Nothing was seen under a name: if that holds, it is deleted.
    pub(crate) fn not_seen(&mut self, dir: NodeId, name: &Name) {
        let spot = (dir, name.clone());
        if self.folder.placing.defers(&spot) {
            return;
        }
        if self.folder.standing.lookup(dir, name).is_none() {
            self.folder.missing.remove(&spot);
            // It may have been a name of a file that was written through it.
            for node in self.folder.take_linked() {
                self.look_at_node(node);
            }
            return;
        }
        match self.folder.missing.get(&spot) {
            Some(true) => {
                self.folder.missing.remove(&spot);
                self.delete(dir, name);
            }
            Some(false) => {}
            None => {
                self.folder.missing.insert(spot, false);
            }
        }
    }

    /// A name is gone from the disk, and what was below it.
    pub(crate) fn delete(&mut self, dir: NodeId, name: &Name) {
        let Some(node) = self.folder.standing.lookup(dir, name) else {
            return;
        };
        // Leaves first; a stack of our own, since a folder may be deeper than ours.
        let mut left = alloc::vec![(dir, name.clone(), node, false)];
        // By a damaged store a directory may stand below itself: none is entered twice.
        let mut entered = BTreeSet::new();
        while let Some((dir, name, node, is_empty)) = left.pop() {
            if !is_empty && self.folder.standing.holds_any(node) && entered.insert(node) {
                left.push((dir, name, node, true));
                let below: Vec<_> = self
                    .folder
                    .standing
                    .list(node)
                    .map(|(name, below)| (node, name.clone(), below, false))
                    .collect();
                left.extend(below);
                continue;
            }
            self.delete_entry(dir, &name, node);
        }
    }

    fn delete_entry(&mut self, dir: NodeId, name: &Name, node: NodeId) {
        let known = self.seen_of(node);
        let held = self.held_object(node);
        self.leave(dir, name);
        if let Some(old) = self.entry_behind(dir, name, node) {
            self.end_name(node, old, &known);
            // A peer may have ended one of its names that stands here to this moment, and whoever
            // ended this one saw that it does: the file is not ended by the two of them.
            let left = self.folder.standing.spots(node).next().cloned();
            if let Some((dir, name)) = left.filter(|_| self.tree.node(node).is_none()) {
                self.add_entry(node, dir, &name);
            }
        }
        if self.folder.standing.count(node) == 0 {
            if let Some((object, _)) = held {
                self.let_go_of(node, object);
            }
            self.forget_file(node);
        } else {
            // What was written through this name is seen under the others.
            self.look_at_node(node);
        }
    }

    /// A name of a node goes, and with it that of whatever is one with it there.
    fn end_name(&mut self, node: NodeId, old: Entry, known: &VersionVector) {
        let placed = self.folder.placed(node).map(|placed| placed.version);
        let shown = self.tree.node(node).and_then(|view| view.version);
        // Where a newer version is yet to be placed, nobody has seen what the others hold.
        let is_all = shown.is_none() || shown == placed;
        let twins = self.twins(node, old.parent, &old.name);
        let twins = if is_all { twins } else { Vec::new() };
        let mut known_of_all = known.clone();
        for twin in &twins {
            self.know_all_of(twin.node, &mut known_of_all);
        }
        self.keep_shown(node, &[old.id]);
        let mut ends = self.same_names(&old);
        ends.push(old);
        self.end_entries(ends, known, None);
        self.end_entries(twins, &known_of_all, None);
    }

    /// Forgets a node's file, of which no name stands any more.
    fn forget_file(&mut self, node: NodeId) {
        self.folder.depart(node);
        self.end_recheck(node);
        self.commits.remove(records::placed(node));
    }

    /// Returns the entry that a name which is gone stood for: none, if the tree does not have the
    /// name, and has the node under no other name that is yet to be placed.
    fn entry_behind(&self, dir: NodeId, name: &Name, node: NodeId) -> Option<Entry> {
        let is_here = self.tree.lookup(dir, name.as_bytes()) == Some(node);
        let (dir, name) = if is_here {
            (dir, name.clone())
        } else {
            let stands = |(dir, name): &(NodeId, Name)| {
                self.folder.standing.lookup(*dir, name) == Some(node)
            };
            self.places_of(node)
                .into_iter()
                .find(|spot| !stands(spot))?
        };
        let id = self.tree.entry_at(dir, name.as_bytes());
        let held = id.and_then(|id| self.tree.registers().entry(id).cloned());
        held.or_else(|| {
            // A conflict copy that has no entry of its own gets one, to end with it.
            conflict::copied(node)?;
            let stamp = crate::tree::register::Stamp::default();
            Some(Entry {
                id: EntryId(Dot {
                    actor: self.me.actor,
                    counter: self.me.counter + 1,
                }),
                stamp,
                node,
                parent: dir,
                name,
                previous: None,
                deleted: None,
            })
        })
    }

    /// Returns what whoever looks into the shared folder knows of a node: not the versions and
    /// attributes that are yet to be placed.
    fn seen_of(&self, node: NodeId) -> VersionVector {
        let mut knowledge = self.me.knowledge.clone();
        let Some(placed) = self.folder.placed(node) else {
            return knowledge;
        };
        // While a peer is still telling what it has, its updates are placed before all of them
        // count as known.
        knowledge.cover(placed.version);
        let registers = self.tree.registers();
        let is_copied = |version: Dot| {
            let copy = self.folder.placed(conflict::copy_of(version));
            copy.is_some_and(|copy| copy.version == version)
        };
        let unseen: Vec<Dot> = registers
            .versions_of(node)
            .map(|content| content.stamp.dot)
            .filter(|dot| *dot != placed.version && !is_copied(*dot))
            .collect();
        let mut attrs = registers.attrs(node).map(|attrs| attrs.stamp.dot);
        if !self.places_changes() || self.is_dressed(node) {
            attrs
                .take()
                .into_iter()
                .for_each(|dot| knowledge.cover(dot));
        }
        let unseen: Vec<Dot> = unseen.into_iter().chain(attrs).collect();
        without(knowledge, &unseen)
    }
}

/// Returns what is known but for these updates, which whoever deletes has not seen.
pub(crate) fn without(knowledge: VersionVector, unseen: &[Dot]) -> VersionVector {
    if unseen.is_empty() {
        return knowledge;
    }
    let below = |actor, counter: u64| {
        let unseen = unseen.iter().filter(|dot| dot.actor == actor);
        let first = unseen.map(|dot| dot.counter.saturating_sub(1)).min();
        first.map_or(counter, |first| first.min(counter))
    };
    let known = knowledge.iter();
    known
        .map(|(actor, counter)| (actor, below(actor, counter)))
        .collect()
}
