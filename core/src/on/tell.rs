//! When what is stored may be told to peers.
//!
//! Law (P2, P3): no peer hears of an update of ours that a power loss could take back, nor of a
//! name whose bytes are yet to come: registers go out in their order, up to the first that waits.
//! So many edits share one sync, and a file that is made, written, closed and renamed within
//! moments is told as one.

use crate::commits::After;
use crate::engine::Engine;
use crate::ids::Arrival;
use crate::time::Duration;
use crate::timers::Timer;

/// How long updates of ours are gathered before one sync makes them all fit to be told: little
/// beside a round trip, and enough that a burst of edits costs few syncs; by eye.
const GATHER: Duration = Duration::from_millis(20);

/// How often it is looked whether what holds the telling up still does; by eye.
const HELD_UP: Duration = Duration::from_millis(250);

/// What is yet to be told.
#[derive(Debug, Default)]
pub(crate) struct Tell {
    /// Whether anything is.
    pub news: bool,
    /// Whether updates of ours were stored without a sync.
    pub unsynced: bool,
    /// Whether the time to gather is over.
    pub due: bool,
    /// Up to where a commit under way has told, or will.
    pub queued: Arrival,
}

impl Engine {
    /// Has what may be told ride on the next commit.
    pub(crate) fn pump_tell(&mut self) {
        if !self.tell.news && !self.commits.awaits_hard() {
            return;
        }
        let last = self.tree.registers().last_arrival();
        let held = self.draft_holds_tell();
        let upto = held.map_or(last, |held| Arrival(held.0.saturating_sub(1)).min(last));
        if upto < last {
            self.timers.set_sooner(Timer::Tell, self.now + HELD_UP);
            if upto <= self.tell.queued && !self.commits.awaits_hard() {
                return;
            }
        }
        if self.tell.unsynced || self.commits.awaits_hard() {
            if !self.tell.due && !self.commits.is_hard() && !self.stopping {
                self.timers.set_sooner(Timer::Tell, self.now + GATHER);
                return;
            }
            self.commits.harden();
            self.tell.unsynced = false;
        }
        self.tell.due = false;
        self.tell.queued = self.tell.queued.max(upto);
        self.tell.news = upto < last;
        let knowledge = self.me.knowledge.clone();
        self.commits.then(After::Tell { upto, knowledge });
    }

    /// The time to gather is over.
    pub(crate) fn tell_due(&mut self) {
        self.tell.due = self.tell.news || self.commits.awaits_hard();
    }
}
