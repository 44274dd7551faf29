//! A sync that is answered only when another machine has it too (`durability = peer`).
//!
//! Law (P2, P9): such a sync is answered when what it is about survives power loss here, and a full
//! replica holds the version and has stored all that was changed by then; with an error by its
//! deadline, the data being safe here and on its way. Once nobody can be reached for that long, it
//! fails at once.

use alloc::vec::Vec;

use crate::action::FsReply;
use crate::engine::{Durability, Engine};
use crate::error::FsError;
use crate::ids::{Arrival, NodeId, ObjectId, ReqId};
use crate::message::Role;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::Content;

/// A sync that waits for another machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FarSync {
    /// The version that is to be held, if it is about a file.
    object: Option<ObjectId>,
    /// Up to where all registers are to be stored.
    upto: Arrival,
}

impl Engine {
    /// Answers a sync: what it is about is on stable storage here, but for records, which go there
    /// with the next commit.
    pub(crate) fn reply_synced(&mut self, req: ReqId, node: Option<NodeId>) {
        self.commits.harden();
        if self.config.durability == Durability::Local {
            self.reply_stored(req, FsReply::Done);
            return;
        }
        let object = node.and_then(|node| match self.drafts.get(&node) {
            Some(draft) => Some(draft.last()),
            None => self.tree.node(node)?.object,
        });
        let upto = self.tree.registers().last_arrival();
        let deadline = self.now + self.config.read_deadline;
        self.timers.set(Timer::Sync(req), deadline);
        self.far_syncs.insert(req, FarSync { object, upto });
    }

    /// Answers the syncs whose time has come.
    pub(crate) fn pump_far_syncs(&mut self) {
        if self.far_syncs.is_empty() {
            return;
        }
        let given_up = self.is_given_up();
        let syncs: Vec<(ReqId, FarSync)> = self
            .far_syncs
            .iter()
            .map(|(&req, &far)| (req, far))
            .collect();
        for (req, far) in syncs {
            if self.is_far(&far) {
                self.end_far_sync(req, Ok(()));
            } else if given_up {
                self.end_far_sync(req, Err(FsError::Io));
            }
        }
    }

    /// A sync has waited for long enough.
    pub(crate) fn far_sync_overdue(&mut self, req: ReqId) {
        self.end_far_sync(req, Err(FsError::Io));
    }

    fn end_far_sync(&mut self, req: ReqId, outcome: Result<(), FsError>) {
        if self.far_syncs.remove(&req).is_none() {
            return;
        }
        self.timers.cancel(Timer::Sync(req));
        match outcome {
            Ok(()) => self.reply_stored(req, FsReply::Done),
            Err(why) => self.reply(req, Err(why)),
        }
    }

    /// Returns whether a full replica has what a sync is about.
    fn is_far(&self, far: &FarSync) -> bool {
        let mut links = self.links.links.values();
        let is_told = links.any(|link| {
            let is_full = link.is_greeted() && link.role == Role::Full;
            is_full && link.is_told(self.config.writable) && link.outbox.has_acked(far.upto)
        });
        is_told
            && far
                .object
                .is_none_or(|object| self.is_held_or_followed(object))
    }

    /// Returns whether a full replica holds a version that was made here, or one that was made of
    /// it; or nothing is left of it to be held.
    fn is_held_or_followed(&self, object: ObjectId) -> bool {
        let copy = conflict::copy_of(object.version);
        if !self.me.is(object.version.actor) || self.is_held(object) {
            return true;
        }
        let registers = self.tree.registers();
        // What a program of the host has made beside a version was not made of what that was made of.
        let is_beside = |content: &Content| {
            let node = content.node;
            let others = content.beside.iter().copied();
            let others = others.filter_map(|version| registers.content(ObjectId { node, version }));
            others
                .into_iter()
                .any(|other| other.supersedes(object.version))
        };
        let follows = |content: &Content| {
            let is_made_there = self.is_full(content.stamp.dot.actor) && !is_beside(content);
            content.supersedes(object.version) && (is_made_there || self.is_held(content.object()))
        };
        let versions = registers.versions_of(object.node);
        let mut versions = versions.chain(registers.versions_of(copy));
        let is_gone = [object.node, copy]
            .iter()
            .all(|node| self.tree.node(*node).is_none());
        is_gone || versions.any(follows)
    }
}
