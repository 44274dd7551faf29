//! What a full replica does not hold yet stays where it was made.
//!
//! Law (P2, P3): a sparse replica gives up the bytes of a version that it made only when a full
//! replica holds that version, or one that was made of it, durably. A full replica says so by
//! the version's digest, which it writes once the file is placed and survives power loss. What
//! lies beneath a version in part is given up only then, too: until it is held, what this peer
//! lacks of it can be had as nothing but what it was made of.

use alloc::vec::Vec;

use crate::draft::Draft;
use crate::engine::Engine;
use crate::ids::{ActorId, ChunkIx, Dot, NodeId, ObjectId};
use crate::message::Role;
use crate::object::Object;
use crate::tree::conflict;
use crate::tree::register::{Body, Content, Digest, Register};

impl Engine {
    /// Returns whether a full replica is known to hold a version durably.
    pub(crate) fn is_held(&self, object: ObjectId) -> bool {
        let author = self.tree.registers().digest_author(object);
        author.is_some_and(|author| author != object.version.actor)
    }

    /// Returns whether the bytes of a version that is not shown any more need not stay here.
    pub(crate) fn may_go(&self, object: ObjectId) -> bool {
        let node = object.node;
        if self.config.role != Role::Sparse || !self.me.is(object.version.actor) {
            return true;
        }
        let registers = self.tree.registers();
        let copy = conflict::copy_of(object.version);
        let mut later = registers
            .versions_of(node)
            .chain(registers.versions_of(copy));
        let goes_on = |content: &Content| {
            // What is ours on top of a joiner's may be as much in need of the first as that is.
            let began_here = content.base.is_none_or(|base| self.me.is(base.actor));
            let is_safe = content.is_empty()
                || (self.me.is(content.stamp.dot.actor) && began_here)
                || self.is_full(content.stamp.dot.actor)
                || self.is_held(content.object());
            content.supersedes(object.version) && is_safe
        };
        let is_gone = self.tree.node(node).is_none() && !self.is_copied(object);
        is_gone || self.is_held(object) || later.any(goes_on)
    }

    /// Returns whether an actor is a full replica: what it makes it holds.
    pub(crate) fn is_full(&self, actor: ActorId) -> bool {
        let mut links = self.links.links.values();
        links.any(|link| link.is_greeted() && link.role == Role::Full && link.actor == actor)
    }

    /// Has a version that is not shown any more stay while nobody else may have it: true if it
    /// does.
    pub(crate) fn keep_back(&mut self, object: ObjectId) -> bool {
        let is_here = self.objects.contains_key(&object) || self.kept.contains_key(&object);
        if !is_here || self.may_go(object) {
            return false;
        }
        self.kept_back.insert(object);
        true
    }

    /// Looks again at what of a node is kept until a full replica holds it.
    pub(crate) fn review_kept_back(&mut self, node: NodeId) {
        let first = ObjectId {
            node,
            version: Dot::default(),
        };
        let of_node = self.kept_back.range(first..);
        let of_node: Vec<ObjectId> = of_node
            .take_while(|object| object.node == node)
            .copied()
            .collect();
        for object in of_node {
            if self.is_needed(object) {
                self.kept_back.remove(&object);
            } else if self.may_go(object) {
                self.kept_back.remove(&object);
                self.retire(object);
            }
        }
        self.pump_draft(node);
    }

    /// Looks again at everything that is kept until a full replica holds it: one has come.
    pub(crate) fn review_all_kept_back(&mut self) {
        let nodes = self.kept_back.iter().map(|object| object.node);
        let nodes: alloc::collections::BTreeSet<NodeId> = nodes.collect();
        for node in nodes {
            self.review_kept_back(node);
        }
    }

    /// A file of the shared folder survives power loss as it stands: whoever made its version
    /// need not keep it any more.
    pub(crate) fn say_held(&mut self, node: NodeId) {
        let Some(placed) = self.folder.placed(node).copied() else {
            return;
        };
        let object = self.tree.node(node).and_then(|view| view.object);
        let object = object.filter(|object| {
            object.version == placed.version && object.version.actor != self.me.actor
        });
        if let Some(object) = object {
            self.digest(object);
        }
    }

    /// Writes the digest of a version that all hashes are known of, if nobody who holds it has.
    pub(crate) fn digest(&mut self, object: ObjectId) -> bool {
        let registers = self.tree.registers();
        let body = registers.content(object).map(|content| &content.body);
        let Some(&Body::File { size, chunk_size }) = body else {
            return false;
        };
        let known = self.hashes.get(&object);
        let count = known.map_or(0, |known| known.len() as u64);
        // That of a version's author, if that is another host's or one of ours that we have
        // forgotten, does not say that it is held here.
        let author = registers.digest_author(object);
        let is_said = author.is_some_and(|by| by != object.version.actor || self.me.is(by));
        if is_said || count != size.div_ceil(u64::from(chunk_size)) {
            return false;
        }
        let hash = self.digest_of(object);
        let stamp = self.stamp();
        self.make(Register::Digest(Digest {
            object,
            stamp,
            hash,
        }));
        true
    }

    /// Returns the size of a version and of its chunks, of one too that was superseded while its
    /// bytes stay here.
    pub(crate) fn sizes_of(&self, object: ObjectId) -> Option<(u64, u32)> {
        if let Some(content) = self.tree.registers().content(object) {
            return match content.body {
                Body::File { size, chunk_size } => Some((size, chunk_size)),
                Body::Link { .. } => None,
            };
        }
        if let Some(draft) = self.draft_of(object) {
            return Some((draft.published_size, draft.overlay.chunk_size()));
        }
        let kept = self.objects.get(&object)?;
        Some((kept.size(), kept.held().chunk_size()))
    }

    /// Returns the draft whose last version is this.
    pub(crate) fn draft_of(&self, object: ObjectId) -> Option<&Draft> {
        let ObjectId { node, version } = object;
        let nodes = [
            node,
            conflict::copy_of(version),
            conflict::aside_of(version),
        ];
        let drafts = nodes.into_iter().filter_map(|node| self.drafts.get(&node));
        drafts.into_iter().find(|draft| draft.last() == object)
    }

    /// Returns whether a version that stands in the shared folder was made between another one
    /// and what was made of that, so that what these have in common it has too.
    pub(crate) fn is_between(&self, placed: ObjectId, base: Dot, object: ObjectId) -> bool {
        let same_author = placed.version.actor == object.version.actor;
        let lineage = self.folder.lineage.get(&placed.node);
        same_author
            && placed.version.counter < object.version.counter
            && lineage == Some(&(placed.version, base))
    }

    /// Returns the version of which a chunk is asked for where nobody has it in its own: the one
    /// on which it was made, if that says that the chunk is the same.
    pub(crate) fn base_version(&self, object: ObjectId, chunk: ChunkIx) -> Option<Dot> {
        let version = self.tree.registers().content(object)?.same_as(chunk)?;
        // What is here of it already is no way to have it.
        let base = ObjectId { version, ..object };
        let is_here = |kept: &Object| kept.held().has(chunk);
        (!self.objects.get(&base).is_some_and(is_here)).then_some(version)
    }
}
