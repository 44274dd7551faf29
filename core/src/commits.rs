//! Commits: what is to be stored, and what waits until it is.
//!
//! Law: the records of one event are stored all or none, in the order of events; what depends on
//! them (an answer, an acknowledgement, a rename) is done when they are stored, and not before.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::action::Record;
use crate::ids::{Arrival, AskId, CommitId, LinkId, ObjectId};
use crate::message::Answer;
use crate::version::VersionVector;

/// What is done once a commit holds.
#[derive(Clone, Debug)]
pub(crate) enum After {
    /// Tell a peer that its batch is stored.
    Ack {
        /// On which link.
        link: LinkId,
        /// Up to where.
        upto: Arrival,
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
    /// An object's file may be made.
    Create(ObjectId),
    /// An object is on record as complete: its file may go to its place.
    Finish(ObjectId),
}

#[derive(Debug, Default)]
struct Group {
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    after: Vec<After>,
    sync: bool,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.after.is_empty()
    }
}

/// The commits of an engine.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    next: u64,
    gathering: Group,
    pending: BTreeMap<CommitId, Group>,
    failed: Group,
}

impl Commits {
    /// Adds a record to the commit of this event.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.gathering.records.insert(key, Some(value));
    }

    /// Removes a record with the commit of this event.
    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.gathering.records.insert(key, None);
    }

    /// Has something done once the commit of this event holds.
    pub(crate) fn then(&mut self, after: After) {
        self.gathering.after.push(after);
    }

    /// Makes the commit of this event one that survives power loss.
    pub(crate) fn harden(&mut self) {
        self.gathering.sync = true;
    }

    /// Returns whether nothing is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.gathering.is_empty() && self.pending.is_empty() && self.failed.is_empty()
    }

    /// Closes the commit of this event.
    ///
    /// While an earlier one has failed and was not retried, it joins that one.
    pub(crate) fn close(&mut self) -> Option<(CommitId, Vec<Record>, bool)> {
        if self.gathering.is_empty() {
            return None;
        }
        let group = core::mem::take(&mut self.gathering);
        if !self.failed.is_empty() {
            join(&mut self.failed, group);
            return None;
        }
        Some(self.give(group))
    }

    /// Takes in that a commit holds, and returns what waited for it.
    pub(crate) fn stored(&mut self, commit: CommitId) -> Vec<After> {
        self.pending
            .remove(&commit)
            .map_or_else(Vec::new, |group| group.after)
    }

    /// Takes in that a commit failed: it is kept for another attempt, and everything later is
    /// kept behind it.
    pub(crate) fn failed(&mut self, commit: CommitId) {
        let Some(group) = self.pending.remove(&commit) else {
            return;
        };
        // A later commit under way may store a newer value of the same key; this one may not
        // take it back.
        let stale = |key: &Vec<u8>| {
            self.pending
                .range(commit..)
                .any(|(_, later)| later.records.contains_key(key))
        };
        let mut group = group;
        group.records.retain(|key, _| !stale(key));
        join(&mut self.failed, group);
    }

    /// Returns what failed, as a commit to be tried again.
    pub(crate) fn retry(&mut self) -> Option<(CommitId, Vec<Record>, bool)> {
        if self.failed.is_empty() || !self.pending.is_empty() {
            return None;
        }
        let group = core::mem::take(&mut self.failed);
        Some(self.give(group))
    }

    /// Returns whether something failed and waits.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    fn give(&mut self, group: Group) -> (CommitId, Vec<Record>, bool) {
        let commit = CommitId(self.next);
        self.next += 1;
        let sync = group.sync;
        let records = group
            .records
            .iter()
            .map(|(key, value)| Record {
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        self.pending.insert(commit, group);
        (commit, records, sync)
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

    #[test]
    fn a_failed_commit_never_takes_back_a_later_one() {
        let mut commits = Commits::default();
        commits.put(vec![1], vec![10]);
        commits.put(vec![2], vec![20]);
        let (first, ..) = commits.close().unwrap();
        commits.put(vec![1], vec![11]);
        let (second, ..) = commits.close().unwrap();
        commits.failed(first);
        assert!(commits.retry().is_none(), "the second is still under way");
        commits.stored(second);
        let (_, records, _) = commits.retry().unwrap();
        assert_eq!(
            records,
            vec![Record {
                key: vec![2],
                value: Some(vec![20])
            }]
        );
    }

    #[test]
    fn what_comes_after_a_failure_waits_behind_it() {
        let mut commits = Commits::default();
        commits.put(vec![1], vec![10]);
        let (first, ..) = commits.close().unwrap();
        commits.failed(first);
        commits.put(vec![1], vec![11]);
        assert!(commits.close().is_none());
        let (_, records, _) = commits.retry().unwrap();
        assert_eq!(
            records,
            vec![Record {
                key: vec![1],
                value: Some(vec![11])
            }]
        );
    }
}
