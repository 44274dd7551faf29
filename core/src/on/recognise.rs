//! A file that stands here is one of which a peer tells, from before our metadata were lost.
//!
//! Law: what a host finds whose metadata were made anew, or come from a backup, it takes for new.
//! Where a peer tells of a file with that name, size and time which this folder held before, what
//! stands is an edit of that: it goes on under the id that peers know, and nothing is there twice.
//! What a joiner alone has is never taken for what stands here.

use alloc::vec::Vec;

use crate::action::Placed;
use crate::engine::Engine;
use crate::folder::Spot;
use crate::ids::{ActorId, NodeId, ObjectId};
use crate::message::Role;
use crate::tree::conflict;
use crate::tree::register::{Body, Content, Register};
use crate::version::VersionVector;

impl Engine {
    /// Looks whether a node and one that stands are the same file, by what is known by now; then
    /// they are one from here on.
    pub(crate) fn recognise(&mut self, node: NodeId) {
        let Some((told, ours)) = self.acquaintance(node) else {
            return;
        };
        let placing = &self.folder.placing;
        if !placing.is_busy(told.node) && !placing.is_busy(ours) {
            self.go_on_as(told, ours);
        }
    }

    /// Returns the version that a peer tells of and the node that stands, of which a node is the
    /// one or the other.
    fn acquaintance(&self, node: NodeId) -> Option<(ObjectId, NodeId)> {
        let view = self.tree.node(node)?;
        let standing = &self.folder.standing;
        if standing.stands(node) {
            let placed = self.folder.placed(node)?;
            if view.version != Some(placed.version) {
                return self.is_again(view.object?, node);
            }
            // Its name may be another's, by the tree.
            let (dir, name) = standing.spots(node).next()?;
            let other = self.tree.lookup(*dir, name.as_bytes())?;
            let told = self.tree.node(other).filter(|_| other != node)?.object?;
            return self.is_again(told, node);
        }
        let told = view.object?;
        if told.node != node {
            let is_copy = node == conflict::copy_of(told.version);
            return is_copy.then(|| self.is_again(told, told.node)).flatten();
        }
        let (dir, name) = self.spots_by_entries(node).into_iter().next()?;
        self.is_again(told, standing.lookup(dir, &name)?)
    }

    /// Returns the names that a file was given, whoever has them by the tree.
    fn spots_by_entries(&self, node: NodeId) -> Vec<Spot> {
        let entries = self.tree.registers().entries_of(node);
        let live = entries.filter(|entry| entry.deleted.is_none());
        live.map(|entry| (self.tree.canonical(entry.parent), entry.name.clone()))
            .collect()
    }

    /// Returns a version and a node that stands, if they are one by their looks and their names.
    fn is_again(&self, told: ObjectId, ours: NodeId) -> Option<(ObjectId, NodeId)> {
        let is_one = if ours == told.node {
            true
        } else {
            let names = self.spots_by_entries(told.node);
            let mut spots = self.folder.standing.spots(ours);
            let is_free = !self.folder.standing.stands(told.node);
            let is_nothing_else = self.is_new(ours) || self.is_revived(ours);
            is_free && is_nothing_else && spots.all(|spot| names.contains(spot))
        };
        (is_one && self.looks_again(told, ours)).then_some((told, ours))
    }

    /// Returns whether a node was made when what stands for it was found, and nobody has edited it.
    fn is_new(&self, ours: NodeId) -> bool {
        let placed = self.folder.placed(ours);
        let mut versions = self.tree.registers().versions_of(ours);
        placed.is_some_and(|placed| {
            placed.version.actor == ours.0.actor
                && versions.all(|content| content.stamp.dot == placed.version)
        })
    }

    /// Returns whether a node was deleted since the backup was made, and lives by nothing but what
    /// was taken for an edit of it: another file, which has its name.
    fn is_revived(&self, ours: NodeId) -> bool {
        let registers = self.tree.registers();
        let mut ended = VersionVector::new();
        let deletes = registers
            .entries_of(ours)
            .map(|entry| entry.deleted.as_ref());
        for known in deletes {
            match known {
                Some(known) => ended.merge(known),
                None => return false,
            }
        }
        let placed = self.folder.placed(ours).map(|placed| placed.version);
        let mut versions = registers.versions_of(ours).map(|content| content.stamp.dot);
        versions.all(|dot| Some(dot) == placed || ended.covers(dot))
    }

    /// Returns whether a node that stands looks as a version did when it stood here, and was taken
    /// for new.
    fn looks_again(&self, told: ObjectId, ours: NodeId) -> bool {
        let placed = self.folder.placed(ours);
        let content = self.tree.registers().content(told);
        let (Some(placed), Some(content)) = (placed, content) else {
            return false;
        };
        let Body::File { size, .. } = content.body else {
            return false;
        };
        // Its time may have been set by hand.
        let shown = [told.node, conflict::copy_of(told.version)]
            .map(|node| self.tree.node(node))
            .into_iter()
            .flatten();
        let mut times = shown
            .filter(|view| view.object == Some(told))
            .filter_map(|view| view.mtime);
        let looks_so = size == placed.print.size
            && (content.mtime == placed.print.mtime
                || times.any(|mtime| mtime == placed.print.mtime));
        let is_taken_for_new = self.me.is(placed.version.actor) && told.version != placed.version;
        let holder = self.tree.registers().digest_author(told);
        let stood_here = self.is_of_our_past(told.version.actor)
            || holder.is_some_and(|by| self.is_of_our_past(by));
        let standing = &self.folder.standing;
        let lies_aside = standing.is_parked(ours) || standing.is_parked(told.node);
        size > 0 && looks_so && is_taken_for_new && stood_here && !lies_aside
    }

    /// Returns whether an actor is nobody who is known now: an incarnation of ours that is forgotten,
    /// or a joiner's of which we held what it made.
    pub(crate) fn is_of_our_past(&self, actor: ActorId) -> bool {
        let is_peers = |actors: &[ActorId]| actors.contains(&actor);
        let mut peers = self.links.peers.values();
        let mut links = self.links.links.values();
        actor != self.me.actor
            && !peers.any(|peer| peer.role != Some(Role::Full) && is_peers(&peer.actors))
            && !links.any(|link| link.is_greeted() && link.actor == actor)
    }

    /// What stands for `ours` is an edit of a version that a peer tells of.
    fn go_on_as(&mut self, told: ObjectId, ours: NodeId) {
        let placed = self.folder.placed(ours).copied();
        let content = self.tree.registers().content(told).cloned();
        let (Some(placed), Some(content)) = (placed, content) else {
            return;
        };
        let node = told.node;
        let worn = self.folder.worn(ours).cloned();
        let spots: Vec<Spot> = self.folder.standing.spots(ours).cloned().collect();
        if ours != node {
            self.take_away(ours, &spots);
        }
        let registers = self.tree.registers();
        let (mut context, mut beside) = registers.context_for(node, Some(told.version));
        if ours == node {
            context.cover(placed.version);
            beside.retain(|dot| *dot != placed.version);
        }
        let stamp = self.stamp();
        self.make(Register::Content(Content {
            stamp,
            context,
            beside,
            author: self.config.name.clone(),
            mtime: placed.print.mtime,
            base: None,
            changed: None,
            ..content
        }));
        if ours == node {
            let version = placed.version;
            self.let_go_of(node, ObjectId { node, version });
        }
        let version = stamp.dot;
        self.folder.place(node, Placed { version, ..placed });
        if let Some(worn) = worn {
            self.folder.wear(node, worn);
        }
        self.remember_placed(node);
        for (dir, name) in &spots {
            self.stand(*dir, name, node);
        }
        self.settle_later(node);
    }

    /// A node that stood under these names is another: it goes. A delete ends one version, so that
    /// what a peer's delete of it has ended comes to be that one.
    fn take_away(&mut self, ours: NodeId, spots: &[Spot]) {
        let placed = self.folder.placed(ours).copied();
        let registers = self.tree.registers();
        let has_more = registers.versions_of(ours).nth(1).is_some();
        let stands = placed.and_then(|placed| {
            let mut versions = registers.versions_of(ours);
            let content = versions.find(|content| content.stamp.dot == placed.version)?;
            Some((placed, content.clone()))
        });
        if let (true, Some((placed, content))) = (has_more, stands) {
            let (mut context, _) = registers.context_for(ours, Some(placed.version));
            context.cover(placed.version);
            let stamp = self.stamp();
            let version = stamp.dot;
            let beside = Vec::new();
            self.make(Register::Content(Content {
                stamp,
                context,
                beside,
                ..content
            }));
            self.folder.place(ours, Placed { version, ..placed });
        }
        for (dir, name) in spots {
            self.delete(*dir, name);
        }
    }
}
