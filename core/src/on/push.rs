//! A host pushes: what is written to its folder comes to who joined it, unasked for by any reader.
//!
//! Law (P1, P5, P6): nothing is sent that was not asked for. The host says in its hello that it
//! pushes, and a joiner then fetches of itself what it hears of, a few files at once: the bytes go by
//! the same windows, are proven, resumed, copied from what is here and given up like any others. What
//! stood in the folder before the first exchange was over is no news, and is read when somebody
//! wants it.

use alloc::collections::BTreeSet;

use crate::engine::Engine;
use crate::ids::{LinkId, NodeId, ObjectId};
use crate::limits::PUSHED_AT_ONCE;
use crate::message::Role;
use crate::tree::register::{Body, Register};

/// What is to come of itself.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// Files of which something was heard in an exchange that is not over.
    heard: BTreeSet<NodeId>,
    /// Files whose newest version is to be fetched.
    queue: BTreeSet<NodeId>,
    /// What is being fetched.
    under_way: BTreeSet<ObjectId>,
}

impl Engine {
    /// A register is about to be taken in: of a version that its teller pushes, the file is noted.
    pub(crate) fn note_pushed(&mut self, link: LinkId, register: &Register) {
        let link = self.links.links.get(&link);
        let pushes = link.is_some_and(|link| link.pushes && link.role == Role::Full);
        if let Register::Content(content) = register
            && let Body::File { size, .. } = content.body
            && pushes
            && size > 0
            && self.me.complete
            && self.config.role == Role::Sparse
        {
            self.pushed.heard.insert(content.node);
        }
    }

    /// An exchange is over: what was heard of has its names.
    pub(crate) fn queue_pushed(&mut self) {
        let heard = core::mem::take(&mut self.pushed.heard);
        self.pushed.queue.extend(heard);
    }

    /// Sets about fetching what is pushed, as many files as may be at once.
    pub(crate) fn pump_pushed(&mut self) {
        if self.pushed.queue.is_empty() {
            return;
        }
        let objects = &self.objects;
        let is_on = |object: &ObjectId| objects.get(object).is_some_and(|kept| kept.whole);
        self.pushed.under_way.retain(is_on);
        while self.pushed.under_way.len() < PUSHED_AT_ONCE && !self.stopping {
            let Some(node) = self.pushed.queue.pop_first() else {
                return;
            };
            let size = self.tree.node(node).map_or(0, |view| view.size);
            let Some((object, chunk_size)) = self.current(node).filter(|_| size > 0) else {
                continue;
            };
            // What is being edited here gets what it needs by that.
            let is_drafted =
                self.drafts.contains_key(&node) || self.drafts_on.contains_key(&object);
            if !is_drafted && self.keep_object(object, size, chunk_size) {
                self.pushed.under_way.insert(object);
                self.demand_whole(object);
            }
        }
    }
}
