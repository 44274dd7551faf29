//! Being sure: whether what was made here, or came here, is where it has to be.
//!
//! Law: *synced* means that every connected peer has acknowledged all that is here as stored, that
//! nothing waits to become a version, and that each version that shows and was made on a sparse
//! replica is held, durably, by a full one: here a sparse replica answers for what it has made
//! itself, a full one for what everybody else has made, but for peers that were removed, whose
//! bytes nobody can bring. With nobody connected nothing is synced.
//! What waits to be held is kept by transitions, so that to ask costs no walk of the tree.

use alloc::vec::Vec;

use crate::draft::Draft;
use crate::engine::Engine;
use crate::ids::{NodeId, ObjectId};
use crate::limits::WAITING_TOLD_MAX;
use crate::link::Link;
use crate::message::Role;
use crate::mutant::Mutant;
use crate::records::Holding;
use crate::status::{FileState, PeerSync, SyncStatus, WaitingFile};
use crate::tree::conflict;
use crate::tree::register::Body;
use crate::tree::view::Change;

impl Engine {
    /// Returns whether all that is here is synced.
    pub fn is_synced(&self) -> bool {
        let mut peers = self.synced_with().peekable();
        let mut kept_back = self.still_kept_back();
        let are_held = self.unheld.is_empty() && kept_back.next().is_none();
        let had = |link: &Link| self.unacknowledged(link) == 0;
        peers.peek().is_some()
            && (peers.all(had) || self.has(Mutant::SyncedUnacked))
            && (are_held || self.has(Mutant::SyncedUnheld))
            && self.unpublished().next().is_none()
            && self.unseen() == 0
    }

    /// Returns whether all that is here is synced, and what is waited for.
    pub fn sync_status(&self) -> SyncStatus {
        let peers = self.synced_with().map(|link| {
            let known = self.links.peers.get(&link.peer);
            PeerSync {
                peer: link.peer,
                name: known.and_then(|known| known.name.clone()),
                unacknowledged: self.unacknowledged(link),
            }
        });
        let kept_back = self.still_kept_back().map(|object| object.node);
        let nodes = self.unpublished().chain(self.unheld.iter().copied());
        let mut told: Vec<NodeId> = Vec::new();
        for node in nodes.chain(kept_back) {
            if told.len() >= WAITING_TOLD_MAX {
                break;
            }
            if !told.contains(&node) {
                told.push(node);
            }
        }
        SyncStatus {
            synced: self.is_synced(),
            peers: peers.collect(),
            unpublished: self.unpublished().count() as u64,
            unheld: (self.unheld.len() + self.still_kept_back().count()) as u64,
            unseen: self.unseen(),
            waiting: told
                .into_iter()
                .map(|node| self.waiting_file(node))
                .collect(),
        }
    }

    /// Returns the links to the peers that have to have what is here: a guest has no say.
    fn synced_with(&self) -> impl Iterator<Item = &Link> {
        let links = self.links.links.values();
        links.filter(|link| {
            link.is_greeted() && link.role != Role::Guest && self.config.role != Role::Guest
        })
    }

    /// Returns how many registers a link's peer has not acknowledged as stored, at most.
    pub(crate) fn unacknowledged(&self, link: &Link) -> u64 {
        if link.is_told(self.config.writable) {
            return link.outbox.behind(self.tree.registers().last_arrival());
        }
        // It takes none, and lacks what it did not take when it still did.
        let ours = self.me.former.iter().chain([&self.me.actor]);
        let lacks = |actor| {
            let known = self.me.knowledge.counter(actor);
            known.saturating_sub(link.outbox.theirs.counter(actor))
        };
        ours.map(|actor| lacks(*actor)).sum()
    }

    /// Iterates over the files of which something was written that is no version yet.
    fn unpublished(&self) -> impl Iterator<Item = NodeId> {
        let is_owed = |(&node, draft): (&NodeId, &Draft)| {
            let may_be_changed = draft.overlay.is_changed() || draft.is_restored;
            (may_be_changed && self.is_owed(node)).then_some(node)
        };
        self.drafts.iter().filter_map(is_owed)
    }

    /// Iterates over the versions made here that do not show, and without which a full replica
    /// could not have all of what does.
    fn still_kept_back(&self) -> impl Iterator<Item = ObjectId> {
        let kept = self.kept_back.iter().copied();
        kept.filter(|object| !self.may_go(*object))
    }

    /// Returns how much of the shared folder may have changed, and was not looked at since.
    fn unseen(&self) -> u64 {
        if self.config.role == Role::Full {
            self.folder.to_be_seen() as u64 + u64::from(!self.folder.scanned)
        } else {
            0
        }
    }

    pub(crate) fn waiting_file(&self, node: NodeId) -> WaitingFile {
        WaitingFile {
            path: self.tree.path(node).unwrap_or_default(),
            size: self.shown_size(node),
        }
    }

    fn shown_size(&self, node: NodeId) -> u64 {
        let drafted = self.draft_face(node).map(|(size, _)| size);
        let shown = self.tree.node(node).map(|view| view.size);
        drafted.or(shown).unwrap_or_default()
    }

    /// Returns whether what a file shows was made on a sparse replica, as far as it is for us to
    /// know, and no full one is known to hold it.
    pub(crate) fn waits_to_be_held(&self, node: NodeId) -> bool {
        let Some(view) = self.tree.node(node) else {
            return false;
        };
        let (Some(object), Some(Body::File { .. })) = (view.object, view.body) else {
            return false;
        };
        let is_ours = self.me.is(object.version.actor);
        match self.config.role {
            Role::Sparse => is_ours && !self.is_held(object),
            Role::Full => {
                !is_ours && !self.is_held(object) && !self.is_of_removed(object.version.actor)
            }
            Role::Guest => false,
        }
    }

    /// Looks again at whether what a file shows waits to be held.
    pub(crate) fn review_unheld(&mut self, node: NodeId) {
        if self.waits_to_be_held(node) {
            self.unheld.insert(node);
        } else {
            self.unheld.remove(&node);
        }
    }

    /// Other versions are shown.
    pub(crate) fn review_shown(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Content { node, .. } => self.review_unheld(*node),
                Change::Vanished { .. } | Change::Appeared { .. } | Change::Attributes { .. } => {}
            }
        }
    }

    /// Somebody has said that a version is held, or that it is not any more.
    pub(crate) fn review_held(&mut self, object: ObjectId) {
        self.review_unheld(object.node);
        self.review_unheld(conflict::copy_of(object.version));
    }

    /// Finds what waits to be held in what the store said. What a full replica has on record as
    /// placed survives power loss: it need not know as whom it had made that.
    pub(crate) fn find_unheld(&mut self) {
        let versions = self.tree.registers().versions();
        let nodes = versions.flat_map(|content| {
            let copy = conflict::copy_of(content.stamp.dot);
            [content.node, copy]
        });
        let stands = |node: NodeId| {
            let placed = self.folder.placed(node).map(|placed| placed.version);
            let shown = self.tree.node(node).and_then(|view| view.version);
            placed.is_some() && placed == shown
        };
        let waits = nodes.filter(|node| self.waits_to_be_held(*node) && !stands(*node));
        self.unheld = waits.collect();
    }

    /// Returns how a file of a sparse replica stands; `None` for what is no file.
    pub(crate) fn file_state(&self, node: NodeId) -> Option<FileState> {
        let view = self.tree.node(node)?;
        let (Some(object), Some(&Body::File { size, .. })) = (view.object, view.body) else {
            return None;
        };
        let is_changed = self.draft_face(node).is_some();
        let here = self.presence(node, object, size);
        Some(if self.tree.is_conflict_copy(node) {
            FileState::Conflict
        } else if here == Presence::Some {
            FileState::Partial
        } else if is_changed || self.unheld.contains(&node) {
            FileState::Local
        } else if here == Presence::None {
            FileState::Remote
        } else {
            FileState::Synced
        })
    }

    /// Returns how much of a file is here, claims of earlier runs included.
    fn presence(&self, node: NodeId, object: ObjectId, size: u64) -> Presence {
        if let Some(draft) = self.drafts.get(&node) {
            let is_shown = draft.last() == object || draft.overlay.is_changed();
            if is_shown && !draft.is_restored {
                let beneath = draft.beneath(&self.objects);
                let is_all = draft.overlay.is_here(0, draft.overlay.size(), beneath);
                return if is_all {
                    Presence::All
                } else {
                    Presence::Some
                };
            }
        }
        if size == 0 || self.kept.get(&object) == Some(&Holding::Complete) {
            return Presence::All;
        }
        match (self.objects.get(&object), self.kept.contains_key(&object)) {
            (Some(kept), _) if kept.is_readable(0, u32::MAX) && kept.writer.is_none() => {
                Presence::All
            }
            (Some(kept), is_kept) => {
                let here = kept.held().have() + kept.claims().have();
                if here == kept.held().total() {
                    Presence::All
                } else if here > 0 || (is_kept && !kept.is_open()) {
                    // Of one that was not looked at since the start, all that is known is that
                    // there is something.
                    Presence::Some
                } else {
                    Presence::None
                }
            }
            (None, true) => Presence::Some,
            (None, false) => Presence::None,
        }
    }
}

/// How much of a file is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    None,
    Some,
    All,
}
