//! Deadlines, each with its reason.
//!
//! Law: a timer is set at most once at a time, and fires once; what it was set for is looked at
//! afresh when it fires, since the state may have moved on.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::{AskId, FetchId, LinkId, NodeId, ObjectId, PeerId, ReqId};
use crate::time::Time;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A link is to be probed, suspected or given up.
    Link(LinkId),
    /// A peer is to be dialled.
    Dial(PeerId),
    /// A read has waited for long enough.
    Read(ReqId),
    /// A sync has waited for another machine for long enough.
    Sync(ReqId),
    /// An answer to a fetch is overdue.
    Fetch(FetchId),
    /// An ask has waited for room on the link over which it would be passed on for long enough.
    Unrelayed(AskId),
    /// An ask has waited for what lies beneath a draft for long.
    Lent(AskId),
    /// An ask has waited for what lies beneath a draft to be asked for, for long enough.
    Unlent(AskId),
    /// What failed of an object may be asked for again.
    Retry(ObjectId),
    /// Stored chunks of an object are to be made durable.
    Harden(ObjectId),
    /// Hints have ripened.
    Looks,
    /// What is missing is to be looked at once more.
    Missing,
    /// What the disk refused to have placed is to be tried again.
    Place,
    /// A failed commit is to be tried again.
    Store,
    /// What is stored is to be told to peers.
    Tell,
    /// A file that was written has been quiet for long enough to be published.
    Quiet(NodeId),
    /// A file that was emptied was not rewritten since.
    Emptied(NodeId),
    /// What lies in the trash is to be looked at.
    Trash,
}

/// The deadlines that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, Timer)>,
    at: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets a timer, in the place of an earlier setting.
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        self.due.insert((at, timer));
        self.at.insert(timer, at);
    }

    /// Sets a timer unless it is due sooner.
    pub(crate) fn set_sooner(&mut self, timer: Timer, at: Time) {
        if self.at.get(&timer).is_none_or(|&set| at < set) {
            self.set(timer, at);
        }
    }

    /// Takes a timer back.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    /// Returns when a timer is due, if it is set.
    pub(crate) fn when(&self, timer: Timer) -> Option<Time> {
        self.at.get(&timer).copied()
    }

    /// Returns the next deadline and what it is for.
    pub(crate) fn next(&self) -> Option<(Time, Timer)> {
        self.due.first().copied()
    }

    /// Takes out a timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Looks, Time(5));
        timers.set(Timer::Missing, Time(3));
        timers.set(Timer::Looks, Time(9));
        timers.set_sooner(Timer::Looks, Time(10));
        assert_eq!(timers.next(), Some((Time(3), Timer::Missing)));
        assert_eq!(timers.pop(Time(2)), None);
        assert_eq!(timers.pop(Time(9)), Some(Timer::Missing));
        assert_eq!(timers.pop(Time(9)), Some(Timer::Looks));
        assert_eq!(timers.pop(Time(9)), None);
    }
}
