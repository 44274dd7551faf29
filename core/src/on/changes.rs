//! The tree has changed: the kernel forgets what it may have kept, and reads go on with the
//! version that is shown now.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::action::{Action, Invalidation};
use crate::draft::Draft;
use crate::engine::Engine;
use crate::ids::{Dot, Ino, NodeId, ObjectId};
use crate::limits::QUIET;
use crate::mutant::Mutant;
use crate::on::fs::Open;
use crate::time::WallTime;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::view::Change;

impl Engine {
    /// Follows changes of the tree. The engine has switched: from here on it answers anew, and
    /// what the kernel kept of the old is invalidated.
    pub(crate) fn on_changes(&mut self, changes: Vec<Change>) {
        let mut superseded: BTreeSet<ObjectId> = BTreeSet::new();
        let mut moved: BTreeSet<NodeId> = BTreeSet::new();
        if self.places_changes() {
            self.follow_changes(&changes);
        }
        let mut appeared: BTreeMap<NodeId, usize> = BTreeMap::new();
        for change in &changes {
            match change {
                Change::Vanished { node, .. } => drop(moved.insert(*node)),
                Change::Appeared { node, .. } => *appeared.entry(*node).or_default() += 1,
                Change::Content { .. } | Change::Attributes { .. } => {}
            }
        }
        for (node, names) in appeared {
            if !moved.contains(&node) && self.tree.places(node).count() == names {
                // It comes back: nobody was told what changed while it had no name.
                self.forget_inode(node, true);
                // What was written to it is somebody's again.
                let is_changed = |draft: &Draft| draft.overlay.is_changed();
                if self.drafts.get(&node).is_some_and(is_changed) {
                    self.timers.set(Timer::Quiet(node), self.now + QUIET);
                }
            }
        }
        for change in changes {
            match change {
                Change::Appeared { dir, name, .. } => {
                    if let Some(parent) = self.inodes.known(dir) {
                        self.invalidate(Invalidation::Entry { parent, name });
                        self.invalidate(Invalidation::Inode {
                            ino: parent,
                            data: true,
                        });
                    }
                }
                Change::Vanished { .. } if self.has(Mutant::NameNotForgotten) => {}
                Change::Vanished { dir, name, node } => {
                    if let Some(parent) = self.inodes.known(dir) {
                        let is_gone = self.tree.places(node).next().is_none();
                        let told = match self.inodes.known(node) {
                            Some(child) if is_gone => Invalidation::Delete {
                                parent,
                                child,
                                name,
                            },
                            Some(_) | None => Invalidation::Entry { parent, name },
                        };
                        self.invalidate(told);
                        self.invalidate(Invalidation::Inode {
                            ino: parent,
                            data: true,
                        });
                    }
                }
                Change::Attributes { node } => self.forget_inode(node, false),
                Change::Content { node, from, to } => {
                    // What was being fetched for it was another version.
                    self.folder.placing.fetching.remove(&node);
                    self.folder.placing.stuck.remove(&node);
                    if from.is_some() && to.is_some() {
                        // What is being written shows until it is published.
                        if self.draft_face(node).is_none() {
                            self.forget_inode(node, true);
                        }
                        self.refresh_handles(node);
                    }
                    superseded.extend(from.map(|version| ObjectId { node, version }));
                }
            }
        }
        let nodes: BTreeSet<NodeId> = superseded.iter().map(|object| object.node).collect();
        for object in superseded {
            self.supersede(object);
            self.pump_draft(object.node);
        }
        for node in nodes.into_iter().chain(moved) {
            self.review_ancestors(node);
        }
    }

    /// Has whatever changed looked after in the shared folder.
    fn follow_changes(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Vanished { dir, name, node } | Change::Appeared { dir, name, node } => {
                    self.settle_when_stored(*dir);
                    if let Some(there) = self.folder.standing.lookup(*dir, name) {
                        self.settle_when_stored(there);
                    }
                    self.settle_when_stored(*node);
                    if self.is_directory(*node) {
                        self.settle_later_with_all(*node);
                    }
                }
                Change::Content { node, .. } | Change::Attributes { node } => {
                    self.settle_when_stored(*node);
                }
            }
        }
    }

    fn invalidate(&mut self, what: Invalidation) {
        if self.hush.covers(&what) {
            return;
        }
        self.act(Action::Invalidate(what));
    }

    pub(crate) fn forget_inode(&mut self, node: NodeId, data: bool) {
        // Whoever has it open has pages of it, whatever else was forgotten.
        let is_open = |ino: &Ino| self.handles.opens_of(*ino) > 0;
        let open = self.inodes.get(node).filter(is_open);
        if let Some(ino) = self.inodes.known(node).or(open) {
            self.invalidate(Invalidation::Inode { ino, data });
        }
    }

    /// Returns which version a file shows: one without a name the one that its handles show.
    pub(crate) fn shown_version(&self, node: NodeId) -> Option<Option<Dot>> {
        if let Some(view) = self.tree.node(node) {
            return Some(view.version);
        }
        let ino = self.inodes.get(node)?;
        self.handles.on(ino).find_map(|(_, open)| match open {
            Open::File { version, .. } => version.map(|(held, _)| Some(held.version)),
            Open::Directory { .. } => None,
        })
    }

    /// Has open handles show a file's version of now: should it lose its name, they keep that.
    pub(crate) fn refresh_handles(&mut self, node: NodeId) {
        let Some(ino) = self.inodes.get(node) else {
            return;
        };
        if self.handles.on(ino).next().is_none() {
            return;
        }
        let Some(shown) = self.shown(node) else {
            return;
        };
        let now = self.current(node);
        let open: Vec<_> = self.handles.on(ino).map(|(fh, _)| fh).collect();
        for fh in open {
            if let Some(Open::File { last, version, .. }) = self.handles.get_mut(fh) {
                *last = shown;
                *version = now;
            }
        }
    }

    /// Has the open handles of a file that has no name show a version that was made of it all the
    /// same: it is shown as one with an equal file.
    pub(crate) fn show_unnamed(&mut self, object: ObjectId, sizes: (u64, u32), mtime: WallTime) {
        let (size, chunk_size) = sizes;
        let Some(ino) = self.inodes.get(object.node) else {
            return;
        };
        if self.tree.node(object.node).is_some() {
            return;
        }
        let open: Vec<_> = self.handles.on(ino).map(|(fh, _)| fh).collect();
        for fh in open {
            if let Some(Open::File { last, version, .. }) = self.handles.get_mut(fh) {
                (last.size, last.mtime) = (size, mtime);
                *version = Some((object, chunk_size));
            }
        }
    }

    /// A version is not shown any more where it was: its readers look again, and it goes unless
    /// a handle still holds it.
    fn supersede(&mut self, shown: ObjectId) {
        let is_kept =
            |object: &ObjectId| self.objects.contains_key(object) || self.kept.contains_key(object);
        // A conflict copy shows an object of the node that it is a copy of.
        let is_it = |object: &&ObjectId| object.version == shown.version;
        let found = Some(shown).filter(is_kept).or_else(|| {
            let is_copy = self.tree.registers().attrs(shown.node).is_none();
            let mut held = self.objects.keys().chain(self.kept.keys());
            is_copy.then(|| held.find(is_it).copied()).flatten()
        });
        let Some(object) = found else {
            return;
        };
        self.wake(object);
        self.want_moved(object);
        if self.is_needed(object) || self.is_held_open(object) {
            return;
        }
        self.retire(object);
    }

    /// Returns whether a handle shows this version of a file that has lost its last name: the
    /// handle of the file, or of the conflict copy that showed the version.
    pub(crate) fn is_held_open(&self, object: ObjectId) -> bool {
        let nodes = [object.node, conflict::copy_of(object.version)];
        let shows = |(_, open): (_, &Open)| match open {
            Open::File { version, .. } => version.is_some_and(|(held, _)| held == object),
            Open::Directory { .. } => false,
        };
        let mut inodes = nodes.into_iter().filter_map(|node| self.inodes.get(node));
        inodes.any(|ino| self.handles.on(ino).any(shows))
    }
}
