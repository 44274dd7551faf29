//! A deadline has passed.

use crate::engine::Engine;
use crate::timers::Timer;

impl Engine {
    /// Attends to every deadline that has passed.
    pub(crate) fn on_tick(&mut self) {
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Link(link) => self.link_silent(link),
                Timer::Dial(peer) => self.dial(peer),
                Timer::Read(req) => self.read_overdue(req),
                Timer::Sync(req) => self.far_sync_overdue(req),
                Timer::Fetch(fetch) => self.fetch_overdue(fetch),
                Timer::Unrelayed(ask) => self.unrelayed_for_long(ask),
                Timer::Lent(ask) => self.lent_for_long(ask),
                Timer::Unlent(ask) => self.unlent_for_long(ask),
                Timer::Retry(object) => self.retry(object),
                Timer::Harden(object) => self.harden(object),
                Timer::Missing => self.confirm_missing(),
                Timer::Store => self.retry_store(),
                Timer::Tell => self.tell_due(),
                Timer::Quiet(node) => self.draft_quiet(node),
                Timer::Emptied(node) => self.review_ancestors(node),
                Timer::Trash => self.look_into_trash(),
                // The upkeep takes what is ripe.
                Timer::Looks | Timer::Place => {}
            }
        }
    }
}
