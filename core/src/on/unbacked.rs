//! A version that a power loss left without bytes, before anybody was told of it.
//!
//! Law (P2): a version is told to nobody before its bytes were synced. Its record may have
//! survived a power loss that its bytes did not. What a file holds then that was made a moment
//! before is nothing, as anywhere; but whoever may have heard of the version may have its bytes,
//! and only the host can tell that nobody has.

use crate::draft_wish::DraftFrom;
use crate::engine::Engine;
use crate::ids::{NodeId, ObjectId};
use crate::records;
use crate::tree::register::{Body, Content, Register};
use crate::version::VersionVector;

impl Engine {
    /// Remembers, over restarts, that there is no file of a draft that was made from nothing.
    pub(crate) fn note_unbacked(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let (object, record) = (draft.last(), draft.record());
        if draft.from == DraftFrom::Nothing && self.me.is(object.version.actor) {
            self.unbacked.insert(object, (node, record));
        }
    }

    /// Puts the record of an unbacked version back, which went with its draft; does without, if
    /// the host is there.
    pub(crate) fn remember_unbacked(&mut self) {
        for (node, record) in self.unbacked.values() {
            if !self.drafts.contains_key(node) {
                let record = records::encode(record);
                self.commits.put(records::draft(*node), record);
            }
        }
        let host = self.source().and_then(|link| self.links.links.get(&link));
        if let Some(theirs) = host.map(|host| host.outbox.theirs.clone()) {
            self.bury_unbacked(&theirs);
        }
    }

    /// A host is there, and knows this: what it does not know of nobody has.
    pub(crate) fn bury_unbacked(&mut self, knows: &VersionVector) {
        for (object, (node, _)) in core::mem::take(&mut self.unbacked) {
            if !self.drafts.contains_key(&node) {
                self.commits.remove(records::draft(node));
            }
            if !knows.covers(object.version) {
                self.empty(object);
            }
        }
    }

    /// Makes a version of nothing in the place of one of which nobody has the bytes.
    fn empty(&mut self, object: ObjectId) {
        let ObjectId { node, version } = object;
        let Some(lost) = self.tree.registers().content(object).cloned() else {
            return;
        };
        let Body::File { chunk_size, .. } = lost.body else {
            return;
        };
        let (context, beside) = self.tree.registers().context_for(node, Some(version));
        let stamp = self.stamp();
        self.make_here(Register::Content(Content {
            stamp,
            context,
            beside,
            author: self.config.name.clone(),
            body: Body::File {
                size: 0,
                chunk_size,
            },
            base: None,
            changed: None,
            ..lost
        }));
    }
}
