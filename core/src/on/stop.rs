//! The user wants the process to end.

use alloc::vec::Vec;

use crate::action::Action;
use crate::engine::Engine;
use crate::ids::{LinkId, ObjectId, ReqId};
use crate::message::Message;

impl Engine {
    /// Nothing new is begun; what is under way ends; what is only in memory goes to disk.
    pub(crate) fn on_stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let waiting: Vec<ReqId> = self.waiting.keys().copied().collect();
        for req in waiting {
            if self.take_waiting(req).is_some() {
                self.fail_read(req);
            }
        }
        let syncs: Vec<ReqId> = self.far_syncs.keys().copied().collect();
        for req in syncs {
            self.far_sync_overdue(req);
        }
        let links: Vec<LinkId> = self.links.links.keys().copied().collect();
        for link in links {
            let is_greeted = self
                .links
                .links
                .get(&link)
                .is_some_and(|link| link.is_greeted());
            if is_greeted {
                self.say(link, Message::Bye);
            }
            self.drop_link(link);
        }
        self.stop_drafts();
        let objects: Vec<ObjectId> = self.objects.keys().copied().collect();
        for object in objects {
            if let Some(kept) = self.objects.get_mut(&object) {
                kept.whole = false;
                kept.wanted.clear();
            }
            self.harden(object);
        }
    }

    /// Says that all is done, once it is.
    pub(crate) fn pump_stop(&mut self) {
        let is_done = self.stopping && self.jobs.is_empty() && self.commits.is_settled();
        if !is_done || self.stopped {
            return;
        }
        let soft: Vec<ObjectId> = self
            .objects
            .iter()
            .filter(|(_, kept)| kept.soft && kept.writer.is_some())
            .map(|(object, _)| *object)
            .collect();
        for object in soft {
            self.harden(object);
        }
        if self.jobs.is_empty() {
            self.stopped = true;
            self.act(Action::Stopped);
        }
    }
}
