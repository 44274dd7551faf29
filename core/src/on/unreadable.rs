//! Bytes that were here can't be read any more: a disk has an error there, or somebody has taken
//! or cut the file.
//!
//! Law (P1, P9): what can't be read is not here. It is missing from then on, and is fetched again
//! by whoever wants it. What may be nowhere else stays as it is, and its reads fail (P3).

use crate::action::DiskWish;
use crate::engine::Engine;
use crate::error::Fault;
use crate::fetch::record::Record;
use crate::ids::{ChunkIx, ObjectId};
use crate::object::{Object, Stage};
use crate::on::disk::Job;

impl Engine {
    /// A range of an object that was said to be here could not be read.
    pub(crate) fn on_unreadable(&mut self, object: ObjectId, offset: u64, len: u32) {
        if !self.is_from_elsewhere(object) {
            return;
        }
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        match kept.stage {
            Stage::Complete => self.start_over(object),
            Stage::Partial => self.lose_range(object, offset, len),
            // Once it is in its place it can be removed; whoever reads it waits.
            Stage::Syncing | Stage::Finishing => kept.spoilt = true,
            // It is being found out what is there.
            Stage::Unknown | Stage::Loading | Stage::Absent | Stage::Creating | Stage::Broken => {}
        }
    }

    /// Returns whether the bytes of an object were had from a peer, and can be had again. What was
    /// written here may be nowhere else: it is never given up for an error that may pass.
    fn is_from_elsewhere(&self, object: ObjectId) -> bool {
        if self.drafts_on.contains_key(&object) || self.is_settling(object) {
            return false;
        }
        let is_fetched = |kept: &Object| kept.chunks_fetched > 0;
        if !self.config.writable || self.objects.get(&object).is_some_and(is_fetched) {
            return true;
        }
        // A former name of ours can't be told from another's, but by what its bearer is called.
        let mut versions = self.tree.registers().versions_of(object.node);
        let version = versions.find(|content| content.object() == object);
        object.version.actor != self.me.actor
            && version.is_some_and(|content| content.author != self.config.name)
    }

    /// A complete file is removed, to be made anew: it is trusted as a whole or not at all, and
    /// the part that can be read may be cut short or stand on a disk that fails.
    pub(crate) fn start_over(&mut self, object: ObjectId) {
        self.tell_unreadable(object);
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.break_off();
        }
        self.object_job(
            object,
            Job::Cleared(object),
            DiskWish::RemoveObject { object },
        );
        self.pause(object, None);
    }

    /// The chunks of a range of a partial file are given up.
    fn lose_range(&mut self, object: ObjectId, offset: u64, len: u32) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        let chunks = kept.held().chunks_covering(offset, u64::from(len));
        let held: alloc::vec::Vec<ChunkIx> =
            chunks.filter(|chunk| kept.held().has(*chunk)).collect();
        if held.is_empty() {
            return;
        }
        self.tell_unreadable(object);
        for chunk in held {
            self.lose_chunk(object, chunk);
        }
        self.wake(object);
    }

    /// Notes, in the sidecar too, that a chunk of a partial file is not here after all.
    pub(crate) fn lose_chunk(&mut self, object: ObjectId, chunk: ChunkIx) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.download.lost(chunk);
        if let Some(writer) = kept.writer.as_mut() {
            let record = writer.append(Record::Lost { chunk }).to_vec();
            let wish = DiskWish::MarkSidecar { object, record };
            self.object_job(object, Job::Marked(object), wish);
        }
    }

    fn tell_unreadable(&mut self, object: ObjectId) {
        let path = self.shown_path(object.node);
        self.fault(Fault::Unreadable { path });
    }
}
