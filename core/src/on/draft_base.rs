//! What is beneath a draft: found, made and fetched like any other version, and put around what
//! was written.

use alloc::vec::Vec;

use crate::draft::journal::Record;
use crate::draft::{DraftJob, Stage};
use crate::draft_wish::{DraftFrom, DraftWish};
use crate::engine::Engine;
use crate::error::DiskError;
use crate::ids::{ChunkHash, ChunkIx, Dot, NodeId, ObjectId, ReqId};
use crate::object;
use crate::object::{Alias, Fare, Parcel};
use crate::on::draft_disk::{Turn, told};

impl Engine {
    /// Returns the node whose draft lies under the name of an object.
    pub(crate) fn drafted(&self, object: ObjectId) -> Option<NodeId> {
        let node = *self.drafts_on.get(&object)?;
        let draft = self.drafts.get(&node)?;
        (draft.stage != Stage::Base).then_some(node)
    }

    /// Returns whether a range of a version, which a node shows, is not in its file any more: another
    /// node's draft is written over that. So it is with what a draft is written over and has lost, until
    /// the draft goes with it.
    pub(crate) fn is_written_over(
        &self,
        node: NodeId,
        object: ObjectId,
        offset: u64,
        len: u32,
    ) -> bool {
        let Some(other) = self.drafted(object).filter(|other| *other != node) else {
            return false;
        };
        let Some(draft) = self.drafts.get(&other) else {
            return false;
        };
        let chunk_size = u64::from(draft.overlay.chunk_size());
        let last = offset.saturating_add(u64::from(len).saturating_sub(1)) / chunk_size;
        draft.is_unsure
            || draft.is_restored
            || (offset / chunk_size..=last).any(|ix| {
                let chunk = ChunkIx(u32::try_from(ix).unwrap_or(u32::MAX));
                // What was changed before the last publish point is as little as it was.
                !draft.overlay.is_base(chunk) || draft.is_flying(chunk)
            })
    }

    /// Returns whether an object is one that a draft is about to become.
    pub(crate) fn is_settling(&self, object: ObjectId) -> bool {
        self.draft_of(object)
            .is_some_and(|draft| draft.file != object)
    }

    /// Sees to it that what is beneath a draft has a file that can be written to.
    pub(crate) fn draft_base(&mut self, node: NodeId) -> Turn {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        let file = draft.file;
        let is_named = self.tree.node(node).is_some();
        let stays = draft.stays(file.version);
        if is_named && !stays && self.current(node).is_none_or(|(now, _)| now != file) {
            // Another version came meanwhile, and nothing was written yet.
            self.forget_draft(node);
            return Turn::Wait;
        }
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        if draft.overlay.base_size() == 0 {
            self.record_draft(node, false);
            return Turn::Wait;
        }
        let Some(kept) = self.objects.get(&file) else {
            return Turn::Wait;
        };
        let from = match kept.stage {
            object::Stage::Partial => DraftFrom::Partial,
            object::Stage::Complete => DraftFrom::Complete,
            object::Stage::Unknown | object::Stage::Absent => {
                self.get_going(file);
                return Turn::Wait;
            }
            object::Stage::Loading
            | object::Stage::Creating
            | object::Stage::Syncing
            | object::Stage::Finishing => return Turn::Wait,
            object::Stage::Broken => {
                // Who writes waits for the disk, and for no pause; it says what it says.
                if self.forget_broken(file) {
                    self.get_going(file);
                }
                return Turn::Wait;
            }
        };
        draft.from = from;
        // What is there may be all that there is of what was synced before.
        self.record_draft(node, true);
        Turn::Wait
    }

    /// Something happened to an object that a draft may wait for.
    pub(crate) fn draft_woken(&mut self, object: ObjectId) {
        if let Some(&node) = self.drafts_on.get(&object) {
            self.pump_draft(node);
        }
    }

    /// The disk has refused a job on what is beneath a draft.
    pub(crate) fn draft_base_failed(&mut self, object: ObjectId, why: DiskError) {
        let Some(&node) = self.drafts_on.get(&object) else {
            return;
        };
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        match draft.stage {
            Stage::Base => {
                let queue = self.take_draft(node);
                for op in queue {
                    self.fail_op(op, told(why));
                }
            }
            Stage::Opening | Stage::Open => self.draft_broken(node, None),
            Stage::Recording
            | Stage::Closed
            | Stage::Loading
            | Stage::Broken
            | Stage::Settling
            | Stage::Removing => {}
        }
    }

    /// Takes in a chunk of what is beneath a draft: false if it is to be stored as of any object.
    pub(crate) fn draft_takes(&mut self, object: ObjectId, parcel: Parcel) -> bool {
        let Parcel {
            chunk,
            hash,
            payload,
            fare,
        } = parcel;
        let Some(node) = self.drafted(object) else {
            return false;
        };
        let (Some(draft), Some(kept)) = (self.drafts.get(&node), self.objects.get_mut(&object))
        else {
            return false;
        };
        let has_sidecar = kept.writer.is_some() && kept.stage == object::Stage::Partial;
        // One that was opened again has what was written to it, where a chunk must not go.
        let is_written = draft.overlay.is_whole(chunk, |_| false);
        let is_untouched = !is_written && !draft.overlay.is_mixed(chunk);
        let is_held_back = match draft.stage {
            Stage::Base => return false,
            Stage::Recording | Stage::Closed | Stage::Opening if has_sidecar && is_untouched => {
                return false;
            }
            Stage::Recording | Stage::Closed | Stage::Opening => true,
            Stage::Open => draft.is_flying(chunk),
            // When it is found again, whoever waits wants it anew: a disk that is broken for long
            // is not sent the same chunk all the while.
            Stage::Loading | Stage::Broken => {
                self.counters.chunks_dropped += 1;
                self.give_up(parcel);
                return true;
            }
            Stage::Settling | Stage::Removing => {
                self.counters.chunks_dropped += 1;
                self.give_up(parcel);
                self.want_again(object, chunk);
                return true;
            }
        };
        if is_held_back {
            kept.arrived.push(parcel);
            return true;
        }
        let held = |chunk: ChunkIx| kept.held().has(chunk);
        if draft.overlay.is_whole(chunk, held) {
            self.counters.chunks_dropped += 1;
            self.give_up(parcel);
            return true;
        }
        if has_sidecar && !draft.overlay.is_mixed(chunk) {
            return false;
        }
        if draft.journaling {
            kept.arrived.push(parcel);
            return true;
        }
        let gaps = draft.overlay.gaps(chunk);
        let (offset, _) = kept.held().chunk_range(chunk);
        kept.storing.insert(chunk);
        let Some(draft) = self.drafts.get_mut(&node) else {
            return true;
        };
        draft.journaling = true;
        draft.soft = true;
        let after = draft.append(&[Record::Filled { chunk }]);
        let what = DraftJob::Filled { chunk, hash, fare };
        let wish = DraftWish::Fill {
            offset,
            payload,
            gaps,
            after,
        };
        self.draft_job(node, what, wish);
        true
    }

    /// Looks again at chunks that came while the draft was busy.
    pub(crate) fn take_arrived(&mut self, node: NodeId) {
        let Some(file) = self.drafts.get(&node).map(|draft| draft.file) else {
            return;
        };
        let Some(kept) = self.objects.get_mut(&file) else {
            return;
        };
        for parcel in core::mem::take(&mut kept.arrived) {
            self.store_chunk(file, parcel);
        }
    }

    /// A chunk of what is beneath was put around what was written.
    pub(crate) fn draft_filled(
        &mut self,
        node: NodeId,
        chunk: ChunkIx,
        hash: ChunkHash,
        fare: Fare,
    ) {
        self.landed(fare);
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.journaling = false;
        draft.overlay.apply(Record::Filled { chunk });
        let file = draft.file;
        if let Some(kept) = self.objects.get_mut(&file) {
            kept.storing.remove(&chunk);
            kept.refused = false;
            // Progress, though the chunk is not the one that came.
            kept.download.arrived(self.now, chunk, hash);
            kept.download.written(chunk, 1);
        }
        self.count_fetched(file, fare);
        self.wake(file);
    }

    /// Wants what is beneath of chunks of which a part was written.
    pub(crate) fn want_unfilled(&mut self, node: NodeId) -> bool {
        let Some(draft) = self.drafts.get(&node) else {
            return false;
        };
        let file = draft.file;
        let unfilled = draft.overlay.unfilled(draft.beneath(&self.objects));
        let is_any = !unfilled.is_empty();
        for chunk in unfilled {
            self.want_range_chunk(file, chunk);
        }
        is_any
    }

    /// Returns whether a chunk is wanted because a part of it was written, though nobody reads.
    pub(crate) fn draft_wants(&self, object: ObjectId, chunk: ChunkIx) -> bool {
        let draft = self.drafted(object).and_then(|node| self.drafts.get(&node));
        draft.is_some_and(|draft| {
            let is_absent = !draft.overlay.is_whole(chunk, draft.beneath(&self.objects));
            is_absent && (!draft.overlay.is_base(chunk) || draft.lent.contains(&chunk))
        })
    }

    /// Returns which version a chunk is asked for as: whoever has taken up what was published
    /// here has what is beneath no longer, and in it the same chunk.
    pub(crate) fn asked_as(&self, object: ObjectId, chunk: ChunkIx) -> Dot {
        let alias = self.objects.get(&object).map_or(Alias::Own, |kept| {
            let denied = kept.denied.get(&chunk);
            denied.map_or(kept.alias, |denied| denied.alias)
        });
        self.alias(object, chunk, alias).unwrap_or(object.version)
    }

    /// Returns by which version a chunk is known, if any.
    fn alias(&self, object: ObjectId, chunk: ChunkIx, alias: Alias) -> Option<Dot> {
        let draft = self.drafted(object).and_then(|node| self.drafts.get(&node));
        let same = draft.filter(|draft| draft.overlay.is_base(chunk));
        let found = match (alias, draft) {
            (Alias::Own, _) => None,
            (Alias::Latest, None) if self.places_changes() => self.base_version(object, chunk),
            (Alias::Latest, _) => same.map(|draft| draft.version),
            (Alias::Held, _) => same.and_then(|draft| draft.held),
        };
        found.filter(|version| *version != object.version)
    }

    /// Whoever was asked for a chunk has it no longer as what it was asked for: true if it can be
    /// asked for as another version; else it is asked for as its own again. Each chunk for itself:
    /// they need not be known by the same versions.
    pub(crate) fn ask_elsewhere(&mut self, object: ObjectId, chunk: ChunkIx, asked: Dot) -> bool {
        let all = [Alias::Own, Alias::Latest, Alias::Held];
        let versions = all.map(|alias| match alias {
            Alias::Own => Some(object.version),
            Alias::Latest | Alias::Held => self.alias(object, chunk, alias),
        });
        let Some(kept) = self.objects.get_mut(&object) else {
            return false;
        };
        let denied = kept.denied.entry(chunk).or_default();
        let as_asked = all.iter().zip(&versions);
        let as_asked = as_asked.filter(|(_, version)| **version == Some(asked));
        denied.tried.extend(as_asked.map(|(alias, _)| *alias));
        let mut left = all.iter().zip(&versions);
        let next = left.find(|(alias, version)| {
            !denied.tried.contains(alias) && version.is_some_and(|version| version != asked)
        });
        let next = next.map(|(alias, _)| *alias);
        match next {
            Some(alias) => (denied.alias, kept.alias) = (alias, alias),
            None => drop(kept.denied.remove(&chunk)),
        }
        next.is_some()
    }

    /// What is beneath a draft can't be had: whoever has asked for it is told.
    pub(crate) fn lend_no_more(&mut self, object: ObjectId) {
        if let Some(node) = self.drafted(object)
            && let Some(draft) = self.drafts.get_mut(&node)
        {
            draft.lent.clear();
            self.serve_later(node);
        }
    }

    /// Forgets what is known of the fetching of an object whose file was taken away from it.
    pub(crate) fn drop_object(&mut self, object: ObjectId) -> Vec<ReqId> {
        let Some(mut kept) = self.objects.remove(&object) else {
            return Vec::new();
        };
        for fetch in kept.asked.values() {
            if let Some(fetch) = self.fetches.get_mut(fetch) {
                fetch.is_of_use = false;
            }
        }
        for parcel in core::mem::take(&mut kept.arrived) {
            self.give_up(parcel);
        }
        self.close_idle_lanes(object.node);
        self.timers.cancel(crate::timers::Timer::Harden(object));
        self.timers.cancel(crate::timers::Timer::Retry(object));
        kept.readers.iter().copied().collect()
    }

    /// Takes a draft out of memory, and returns what waits to be done with it.
    pub(crate) fn take_draft(
        &mut self,
        node: NodeId,
    ) -> alloc::collections::VecDeque<crate::draft::Op> {
        self.sync_ended(node);
        self.drafts_to_sync.remove(&node);
        let Some(draft) = self.drafts.remove(&node) else {
            return alloc::collections::VecDeque::new();
        };
        self.drafts_on.remove(&draft.file);
        self.timers.cancel(crate::timers::Timer::Quiet(node));
        for ask in draft.asks {
            self.serve(ask);
        }
        for req in draft.readers {
            self.read_again(req);
        }
        draft.queue
    }

    /// What a power loss left of a draft is known, and what is there says so.
    pub(crate) fn settle_doubt(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.lost = false;
            if core::mem::take(&mut draft.doubted) {
                self.commits.remove(crate::records::doubted(node));
            }
        }
    }

    /// Fails what waits for a draft that is no more, or begins another for it.
    pub(crate) fn forget_draft(&mut self, node: NodeId) {
        self.commits.remove(crate::records::draft(node));
        self.settle_doubt(node);
        let queue = self.take_draft(node);
        for op in queue {
            self.do_anew(node, op);
        }
    }
}
