//! Objects of no use at the moment are forgotten, beyond a number of them.
//!
//! Law (P6): what is kept in memory of files that were read does not grow with their number. Only
//! what is on disk as it is here is forgotten (P5), and is found there when it is of use again. Of
//! what was fetched of a part, the hashes are in its sidecar; of what is complete, on record.

use crate::engine::Engine;
use crate::ids::ObjectId;
use crate::message::Role;
use crate::object::Stage;
use crate::timers::Timer;

/// How many objects are looked at after an event: more than come in, of which there is one in
/// most events.
const LOOKS: usize = 2;

impl Engine {
    /// Forgets objects that were of no use for longest, if there are too many. Those that are in
    /// use meanwhile have their turn again after all others.
    pub(crate) fn pump_rest(&mut self) {
        if self.config.role == Role::Full {
            // What it has is on its way to its place, and goes from memory there.
            return;
        }
        for _ in 0..LOOKS {
            let Some(oldest) = self.resting.beyond(self.config.resting) else {
                return;
            };
            if self.is_spare(oldest) {
                self.objects.remove(&oldest);
                self.close_idle_lanes(oldest.node);
                self.timers.cancel(Timer::Harden(oldest));
                self.timers.cancel(Timer::Retry(oldest));
            } else if self.objects.contains_key(&oldest) {
                self.resting.used(oldest);
            }
        }
    }

    /// Returns whether all that is known of an object is on disk, and nobody needs it in memory.
    fn is_spare(&self, object: ObjectId) -> bool {
        let is_written = self.drafts_on.contains_key(&object) || self.is_settling(object);
        // What can't be read of it is told by whoever has it open, and known of it by then.
        let ino = self.inodes.get(object.node);
        let is_open = ino.is_some_and(|ino| self.handles.opens_of(ino) > 0);
        if is_written || is_open || self.is_ancestor(object) {
            return false;
        }
        let is_hardening = self.timers.when(Timer::Harden(object)).is_some();
        self.objects.get(&object).is_some_and(|kept| {
            // What was stored of a part is made durable first. Claims of an earlier run are found
            // again as what they are.
            let is_hard = kept.stage == Stage::Complete || !is_hardening;
            kept.is_idle() && is_hard
        })
    }
}
