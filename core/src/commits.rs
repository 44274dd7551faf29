//! Commits: what is to be stored, and what waits until it is.
//!
//! Law: the records of one event are stored all or none, in the order of events; what depends on
//! them (an answer, an acknowledgement, a rename) is done when they are stored, and not before.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::action::{FsReply, Record};
use crate::conflicts::Settled;
use crate::ids::{Arrival, AskId, CommitId, LinkId, NodeId, ObjectId, PeerId, ReqId};
use crate::message::{Answer, Cursor};
use crate::on::hush::Hush;
use crate::peers::Removed;
use crate::version::VersionVector;

/// What is done once a commit holds.
#[derive(Clone, Debug)]
pub(crate) enum After {
    /// Answer an application: what it changed survives a kill.
    Reply {
        /// Whose request.
        req: ReqId,
        /// What to say.
        reply: FsReply,
        /// What the kernel knows from the answer, and was not told.
        hush: Hush,
    },
    /// Tell a user that a conflict is settled.
    Settled {
        /// Whose request.
        req: ReqId,
        /// How.
        settled: Settled,
    },
    /// Tell a user that a peer is removed.
    Removed {
        /// Whose request.
        req: ReqId,
        /// How.
        removed: Removed,
    },
    /// Tell a peer that its batch is stored.
    Ack {
        /// On which link.
        link: LinkId,
        /// Whom, should it be gone meanwhile.
        peer: PeerId,
        /// Up to where.
        cursor: Cursor,
    },
    /// Answer a peer's ask: the chunk's hash is on record.
    Answer {
        /// Which.
        ask: AskId,
        /// What.
        answer: Answer,
    },
    /// Registers may be told to peers.
    Tell {
        /// Up to this arrival.
        upto: Arrival,
        /// What was known then.
        knowledge: VersionVector,
    },
    /// A node's file may be put down: that it is about to be is on record.
    Put(NodeId),
    /// A node may be taken out of the way: that it is about to be is on record.
    Park(NodeId),
    /// A draft is on record: its file may be made.
    Draft(NodeId),
    /// A draft is on record as the object that it becomes.
    Settle(NodeId),
    /// An object's file may be made.
    Create(ObjectId),
    /// An object is on record as complete: its file may go to its place.
    Finish(ObjectId),
    /// What says that an object is of no use is stored: its files may go.
    Discard(ObjectId, u64),
    /// What says that a draft is of no use survives power loss: its files may go.
    Remove(NodeId),
}

#[derive(Debug, Default)]
struct Group {
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    after: Vec<After>,
    sync: bool,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.after.is_empty() && !self.sync
    }
}

/// The commits of an engine. One is under way at a time, and what is gathered meanwhile goes into
/// the next: so none can hold while an earlier one does not.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    next: u64,
    gathering: Group,
    pending: Option<(CommitId, Group)>,
    /// Whether the last one failed and waits for its time.
    held: bool,
    /// What waits for the next commit that survives power loss.
    after_hard: Vec<After>,
    /// Whether a power loss could take back what was stored.
    soft: bool,
}

impl Commits {
    /// Adds a record to the next commit.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.gathering.records.insert(key, Some(value));
    }

    /// Removes a record with the next commit.
    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.gathering.records.insert(key, None);
    }

    /// Has something done once the next commit holds.
    pub(crate) fn then(&mut self, after: After) {
        self.gathering.after.push(after);
    }

    /// Has something done once all that is known now survives power loss; returns it if that is so
    /// already. It waits for the next commit that does, and makes none.
    pub(crate) fn then_hard(&mut self, after: After) -> Option<After> {
        if !self.gathering.is_empty() || self.soft {
            self.after_hard.push(after);
            return None;
        }
        let Some((_, pending)) = &mut self.pending else {
            return Some(after);
        };
        pending.after.push(after);
        None
    }

    /// Has something done once all that is known now is stored; returns it if that is so already.
    pub(crate) fn then_stored(&mut self, after: After) -> Option<After> {
        let waits = if self.gathering.is_empty() {
            self.pending.as_mut().map(|(_, pending)| &mut pending.after)
        } else {
            Some(&mut self.gathering.after)
        };
        let Some(waits) = waits else {
            return Some(after);
        };
        waits.push(after);
        None
    }

    /// Returns whether anything waits for a commit that survives power loss.
    pub(crate) fn awaits_hard(&self) -> bool {
        !self.after_hard.is_empty()
    }

    /// What was stored before this process may not survive power loss.
    pub(crate) fn begin_soft(&mut self) {
        self.soft = true;
    }

    /// Makes the next commit one that survives power loss.
    pub(crate) fn harden(&mut self) {
        self.gathering.sync = true;
    }

    /// Returns whether the next commit is one that survives power loss.
    pub(crate) fn is_hard(&self) -> bool {
        self.gathering.sync
    }

    /// Returns whether anything is gathered for the next commit.
    pub(crate) fn is_gathering(&self) -> bool {
        !self.gathering.is_empty() || self.gathering.sync
    }

    /// Returns whether nothing is gathered or under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.gathering.is_empty() && self.pending.is_none() && self.after_hard.is_empty()
    }

    /// Begins the next commit, if there is anything to store and none is under way or held back.
    pub(crate) fn begin(&mut self) -> Option<(CommitId, Vec<Record>, bool)> {
        if self.gathering.is_empty() || self.pending.is_some() || self.held {
            return None;
        }
        let mut group = core::mem::take(&mut self.gathering);
        self.soft = !group.sync;
        if group.sync {
            group.after.append(&mut self.after_hard);
        }
        let commit = CommitId(self.next);
        self.next += 1;
        let sync = group.sync;
        let record = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| Record {
            key: key.clone(),
            value: value.clone(),
        };
        let records = group.records.iter().map(record).collect();
        self.pending = Some((commit, group));
        Some((commit, records, sync))
    }

    /// Takes in that a commit holds, and returns what waited for it.
    pub(crate) fn stored(&mut self, commit: CommitId) -> Vec<After> {
        match self.pending.take() {
            Some((pending, group)) if pending == commit => group.after,
            other => {
                self.pending = other;
                Vec::new()
            }
        }
    }

    /// Takes in that a commit failed: it is the beginning of the next one, which is held back
    /// until [`Commits::release`]. Returns the requests that waited for it, since none waits for a
    /// disk that has no room, what each would have been answered, and what it was about.
    pub(crate) fn failed(&mut self, commit: CommitId) -> Vec<(ReqId, FsReply, Hush)> {
        let Some((pending, mut group)) = self.pending.take() else {
            return Vec::new();
        };
        let mut waiting = Vec::new();
        if pending == commit {
            join(&mut group, core::mem::take(&mut self.gathering));
            group.after.retain_mut(|after| match after {
                After::Reply { req, reply, hush } => {
                    let reply = core::mem::replace(reply, FsReply::Done);
                    waiting.push((*req, reply, core::mem::take(hush)));
                    false
                }
                // It is done, and will be stored.
                After::Settled { .. }
                | After::Removed { .. }
                | After::Ack { .. }
                | After::Answer { .. }
                | After::Tell { .. }
                | After::Put(_)
                | After::Park(_)
                | After::Draft(_)
                | After::Settle(_)
                | After::Create(_)
                | After::Finish(_)
                | After::Discard(..)
                | After::Remove(_) => true,
            });
            self.gathering = group;
            self.held = true;
        } else {
            self.pending = Some((pending, group));
        }
        waiting
    }

    /// Lets the next commit go.
    pub(crate) fn release(&mut self) {
        self.held = false;
    }
}

/// Puts `later` behind `earlier`.
fn join(earlier: &mut Group, later: Group) {
    earlier.records.extend(later.records);
    earlier.after.extend(later.after);
    earlier.sync |= later.sync;
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn ack(at: u64) -> After {
        let (link, peer) = (LinkId(1), PeerId([1; 32]));
        let (epoch, upto) = (1, Arrival(at));
        let cursor = Cursor { epoch, upto };
        After::Ack { link, peer, cursor }
    }

    fn acked(after: &[After]) -> Vec<u64> {
        let mut upto = Vec::new();
        for after in after {
            if let After::Ack { cursor, .. } = after {
                upto.push(cursor.upto.0);
            }
        }
        upto
    }

    #[test]
    fn what_comes_after_a_failure_waits_for_it_and_acknowledges_in_order() {
        let mut commits = Commits::default();
        commits.put(vec![1], vec![10]);
        commits.put(vec![2], vec![20]);
        commits.then(ack(26));
        let (first, ..) = commits.begin().unwrap();
        commits.put(vec![1], vec![11]);
        commits.then(ack(35));
        assert!(commits.begin().is_none(), "one at a time");
        assert!(commits.failed(first).is_empty());
        assert!(commits.begin().is_none(), "it is held back");
        commits.release();
        let (second, records, _) = commits.begin().unwrap();
        let value = |key: u8, value: u8| Record {
            key: vec![key],
            value: Some(vec![value]),
        };
        assert_eq!(records, vec![value(1, 11), value(2, 20)]);
        assert_eq!(acked(&commits.stored(second)), [26, 35]);
        assert!(commits.is_settled());
    }
}
