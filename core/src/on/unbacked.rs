//! A version that a power loss left without bytes, before anybody was told of it.
//!
//! Law (P2): a version is told to nobody before its bytes were synced. Its record may have
//! survived a power loss that its bytes did not. What a file holds then that was made a moment
//! before is nothing, as anywhere; but whoever may have heard of the version may have its bytes,
//! and only the host can tell that nobody has.

use crate::engine::Engine;
use crate::ids::{NodeId, ObjectId};
use crate::records::{self, DraftBase, DraftRecord, Unbacked};
use crate::tree::conflict;
use crate::tree::register::{Body, Content, Register};
use crate::tree::runs::Runs;
use crate::version::VersionVector;

impl Engine {
    /// Remembers, over restarts, that nothing is left of what was written to a draft.
    pub(crate) fn note_unbacked(&mut self, node: NodeId, as_if: Unbacked) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let record = DraftRecord {
            from: DraftBase::Gone(as_if),
            ..draft.record()
        };
        if self.me.is(record.version.actor) {
            self.unbacked.insert(node, record);
        }
    }

    /// Puts the record of an unbacked version back, which went with its draft; does without, if
    /// the host is there.
    pub(crate) fn remember_unbacked(&mut self) {
        for (node, record) in &self.unbacked {
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
        for (node, record) in core::mem::take(&mut self.unbacked) {
            if !self.drafts.contains_key(&node) {
                self.commits.remove(records::draft(node));
            }
            if !knows.covers(record.version) {
                self.replace(node, record);
            }
        }
    }

    /// Makes a version in the place of one of which nobody has the bytes: of nothing, or of what it
    /// was written over.
    fn replace(&mut self, node: NodeId, record: DraftRecord) {
        let version = record.version;
        // Of a draft that was set aside the version is one of the file that it was written over.
        let mut nodes = [node, record.file.node].into_iter();
        let registers = self.tree.registers();
        let lost = nodes.find_map(|node| registers.content(ObjectId { node, version }));
        let Some(lost) = lost.cloned() else {
            return;
        };
        let node = lost.node;
        let shows = |node| self.tree.node(node).and_then(|view| view.version) == Some(version);
        if !shows(node) && !shows(conflict::copy_of(version)) {
            // Somebody ended it: a new one would be one that he did not know, and bring it back.
            return;
        }
        let (Body::File { chunk_size, .. }, DraftBase::Gone(as_if)) = (lost.body, record.from)
        else {
            return;
        };
        let (size, base) = match as_if {
            Unbacked::Empty => (0, None),
            Unbacked::Beneath(size) => (size, Some(record.file.version)),
        };
        let (context, beside) = self.tree.registers().context_for(node, Some(version));
        let stamp = self.stamp();
        self.make_here(Register::Content(Content {
            stamp,
            context,
            beside,
            author: self.config.name.clone(),
            body: Body::File { size, chunk_size },
            base,
            changed: base.map(|_| Runs::default()),
            ..lost
        }));
    }
}
