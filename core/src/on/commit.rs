//! The store has answered.

use crate::action::{Action, FsReply};
use crate::commits::After;
use crate::engine::Engine;
use crate::error::{DiskError, Fault, FsError};
use crate::ids::CommitId;
use crate::message::Message;
use crate::time::Duration;
use crate::timers::Timer;

/// How long a failed commit waits for its next attempt: a full disk is not freed in less; by eye.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl Engine {
    /// A commit has finished.
    pub(crate) fn on_committed(&mut self, commit: CommitId, outcome: Result<(), DiskError>) {
        match outcome {
            Ok(()) => {
                for after in self.commits.stored(commit) {
                    self.follow(after);
                }
            }
            Err(why) => {
                self.fault(Fault::Store { why });
                let error = match why {
                    DiskError::NoSpace => FsError::NoSpace,
                    DiskError::NotFound
                    | DiskError::WrongKind
                    | DiskError::Denied
                    | DiskError::Exists
                    | DiskError::NotEmpty
                    | DiskError::Changed
                    | DiskError::Io => FsError::Io,
                };
                self.drafts_unrecorded(error);
                for (req, reply, hush) in self.commits.failed(commit) {
                    self.reply(req, Err(error));
                    self.take_back(&reply);
                    // It happened, and will be stored: the kernel takes it for undone.
                    for told in hush.all() {
                        self.act(Action::Invalidate(told));
                    }
                }
                self.timers.set_sooner(Timer::Store, self.now + STORE_RETRY);
            }
        }
    }

    /// The kernel does not get what this answer would have given it: what it never had it never
    /// gives back.
    fn take_back(&mut self, reply: &FsReply) {
        if let FsReply::Created { fh, .. } = *reply {
            self.release(fh).ok();
        }
        if let FsReply::Created { shown, .. } | FsReply::Entry(shown) = *reply {
            self.inodes.forget(shown.ino, 1);
        }
    }

    /// A failed commit is tried again, by the upkeep.
    pub(crate) fn retry_store(&mut self) {
        self.commits.release();
    }

    /// Does what waited for a commit.
    pub(crate) fn follow(&mut self, after: After) {
        match after {
            After::Reply { req, reply, .. } => self.reply(req, Ok(reply)),
            After::Settled { req, settled } => {
                let result = Ok(settled);
                self.act(Action::Settled { req, result });
            }
            After::Removed { req, removed } => {
                let result = Ok(removed);
                self.act(Action::Removed { req, result });
            }
            After::Ack { link, peer, cursor } => {
                if let Some(known) = self.links.peers.get_mut(&peer) {
                    known.stored = Some(cursor);
                }
                if let Some(sender) = self.links.links.get_mut(&link) {
                    sender.unacked = sender.unacked.saturating_sub(1);
                    self.say(link, Message::Ack(cursor.upto));
                }
            }
            After::Answer { ask, answer } => self.answer(ask, answer),
            After::Tell { upto, knowledge } => {
                self.told.0 = self.told.0.max(upto);
                self.tree.are_stored(self.told.0);
                self.told.1.merge(&knowledge);
            }
            After::Put(node) => self.put(node),
            After::Park(node) => self.park_now(node),
            After::Draft(node) => self.draft_recorded(node),
            After::Settle(node) => self.draft_settles(node),
            After::Create(object) => self.create_object(object),
            After::Finish(object) => self.finish_object(object),
            After::Discard(object, nr) => self.discard_now(object, nr),
            After::Remove(node) => self.draft_goes(node),
        }
    }
}
