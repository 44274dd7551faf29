//! Something of this machine alone (a pipe, a socket, a device) stands where a peer's file should,
//! or in a directory that a peer removed.
//!
//! Law: it is never touched, and hides nothing. What the tree has there takes a name beside it, as
//! a conflict copy would, and a directory that holds it is kept: for everybody.

use crate::engine::Engine;
use crate::ids::NodeId;
use crate::on::seen::day_of;
use crate::time::WallTime;
use crate::tree::conflict;
use crate::tree::name::Name;
use crate::tree::register::{Entry, Register};

impl Engine {
    /// Something that peers are not told of was seen under a name.
    pub(crate) fn local_seen(&mut self, dir: NodeId, name: &Name, wall: WallTime) {
        self.not_seen(dir, name);
        if !self.places_changes() {
            return;
        }
        if dir != NodeId::ROOT && self.tree.node(dir).is_none() {
            self.keep_directory(dir);
        }
        if self.folder.standing.lookup(dir, name).is_some() {
            return;
        }
        let Some(node) = self.tree.lookup(dir, name.as_bytes()) else {
            return;
        };
        let id = self.tree.entry_at(dir, name.as_bytes());
        let Some(old) = id.and_then(|id| self.tree.registers().entry(id).cloned()) else {
            return;
        };
        let object = self.tree.node(node).and_then(|view| view.object);
        let content = object.and_then(|object| self.tree.registers().content(object));
        let (author, day) = match content {
            Some(content) => (content.author.clone(), content.day),
            None => (self.config.name.clone(), day_of(wall)),
        };
        let is_free = |name: &Name| {
            self.tree.lookup(dir, name.as_bytes()).is_none()
                && self.folder.standing.lookup(dir, name).is_none()
        };
        let free = (0..)
            .map(|attempt| conflict::copy_name(name, &author, day, node.0, attempt))
            .find(is_free);
        if let Some(free) = free {
            let stamp = self.stamp();
            self.make(Register::Entry(Entry {
                stamp,
                previous: Some((old.parent, old.name)),
                name: free,
                ..old
            }));
            self.settle_later(node);
        }
    }

    /// A directory that a peer removed can't go: it is there again.
    fn keep_directory(&mut self, dir: NodeId) {
        let Some((parent, name)) = self.folder.standing.spots(dir).next().cloned() else {
            return;
        };
        let Some(old) = self.tree.registers().entries_of(dir).next().cloned() else {
            return;
        };
        let stamp = self.stamp();
        self.make(Register::Entry(Entry {
            stamp,
            previous: Some((old.parent, old.name)),
            parent,
            name,
            deleted: None,
            ..old
        }));
        self.settle_later(dir);
    }
}
