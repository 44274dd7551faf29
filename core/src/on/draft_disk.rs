//! What is to be done with drafts goes to the disk, in its turn, and comes back.

use alloc::vec::Vec;

use crate::action::{DiskWish, FsReply, Shown};
use crate::draft::journal::{Header, JournalWriter, Record, size_max};
use crate::draft::{DraftJob, Op, Stage};
use crate::draft_wish::{DraftFrom, DraftWish};
use crate::engine::Engine;
use crate::error::{DiskError, FsError};
use crate::event::DiskDone;
use crate::ids::{ChunkIx, NodeId, ObjectId, ReqId};
use crate::limits::{DRAFT_SYNCS_MAX, GROWING_MAX, QUIET};
use crate::object;
use crate::on::disk::Job;
use crate::records::{self, DraftBase, DraftRecord};
use crate::timers::Timer;

/// What came of looking at the first thing in a draft's queue.
pub(crate) enum Turn {
    /// It is done or under way, and the next may follow.
    Next,
    /// It waits.
    Wait,
}

/// Returns what an application is told of a disk's error.
pub(crate) fn told(why: DiskError) -> FsError {
    match why {
        DiskError::NoSpace => FsError::NoSpace,
        DiskError::NotFound
        | DiskError::WrongKind
        | DiskError::Denied
        | DiskError::Exists
        | DiskError::NotEmpty
        | DiskError::Changed
        | DiskError::Io => FsError::Io,
    }
}

impl Engine {
    /// Does with a draft what can be done.
    pub(crate) fn pump_draft(&mut self, node: NodeId) {
        match self.drafts.get_mut(&node) {
            Some(draft) if draft.attended => {
                // What is being done to it led here: its order is kept.
                draft.again = true;
                return;
            }
            Some(draft) => draft.attended = true,
            None => return,
        }
        loop {
            let Some(draft) = self.drafts.get_mut(&node) else {
                return;
            };
            draft.again = false;
            let turn = match draft.stage {
                Stage::Base => self.draft_base(node),
                Stage::Closed => self.draft_closed(node),
                Stage::Open => self.draft_next(node),
                Stage::Broken => self.draft_reload(node),
                Stage::Recording
                | Stage::Loading
                | Stage::Opening
                | Stage::Settling
                | Stage::Removing => Turn::Wait,
            };
            match turn {
                Turn::Next => {}
                Turn::Wait => match self.drafts.get_mut(&node) {
                    Some(draft) if draft.again => {}
                    Some(draft) => {
                        draft.attended = false;
                        if matches!(draft.stage, Stage::Open | Stage::Settling) {
                            self.serve_later(node);
                        }
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    /// Syncs drafts in the background, as many at once as the bound allows.
    pub(crate) fn pump_draft_syncs(&mut self) {
        while self.draft_syncs < DRAFT_SYNCS_MAX {
            let Some(node) = self.drafts_to_sync.pop_first() else {
                return;
            };
            if let Some(draft) = self.drafts.get_mut(&node)
                && !draft.syncing
                && !draft.pausing
            {
                draft.syncing = true;
                self.draft_syncs += 1;
                draft.queue.push_back(Op::Harden);
                self.pump_draft(node);
            }
        }
    }

    /// Gives the disk a job on a draft.
    pub(crate) fn draft_job(&mut self, node: NodeId, what: DraftJob, wish: DraftWish) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.jobs += 1;
            let object = draft.file;
            let wish = DiskWish::Draft { object, wish };
            self.job(Job::Draft { node, what }, wish);
        }
    }

    /// A draft's record is stored.
    pub(crate) fn draft_recorded(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node)
            && draft.stage == Stage::Recording
        {
            draft.stage = Stage::Closed;
            self.pump_draft(node);
        }
    }

    /// The next thing for a draft of which nothing is on disk.
    fn draft_closed(&mut self, node: NodeId) -> Turn {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        match draft.queue.front() {
            None => self.draft_rests(node),
            Some(Op::Write { .. } | Op::Resize { .. }) => {
                if self.draft_moves_on(node) {
                    return Turn::Wait;
                }
                self.open_draft(node, &[], true);
                Turn::Wait
            }
            Some(Op::Touch { .. }) => {
                draft.queue.pop_front();
                Turn::Next
            }
            Some(&Op::Publish { req }) => {
                draft.queue.pop_front();
                draft.born = None;
                if let Some(req) = req {
                    self.reply_stored(req, FsReply::Done);
                }
                Turn::Next
            }
            Some(Op::Harden) => {
                draft.queue.pop_front();
                self.sync_ended(node);
                Turn::Next
            }
            Some(&Op::Sync { req }) => {
                draft.queue.pop_front();
                draft.born = None;
                self.sync_ended(node);
                if let Some(req) = req {
                    self.reply_synced(req, Some(node));
                }
                Turn::Next
            }
        }
    }

    /// Puts a journal in place that says this; `anew` if nothing of this draft is on disk.
    pub(crate) fn open_draft(&mut self, node: NodeId, records: &[Record], anew: bool) {
        let salt = self.rng.next_u64();
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        let header = Header {
            file: draft.file,
            base_size: draft.overlay.base_size(),
            base_whole: draft.from == DraftFrom::Complete,
            chunk_size: draft.overlay.chunk_size(),
            salt,
        };
        let (writer, journal) = JournalWriter::begin(&header, records);
        draft.writer = Some(writer);
        draft.stage = Stage::Opening;
        draft.pending.clear();
        for record in records {
            if let Record::Published { version, .. } = record {
                draft.journaled = *version;
            }
        }
        let from = draft.from;
        let wish = DraftWish::Open {
            journal,
            from,
            anew,
        };
        self.draft_job(node, DraftJob::Opened, wish);
    }

    /// The next thing for a draft that is open.
    fn draft_next(&mut self, node: NodeId) -> Turn {
        self.take_arrived(node);
        let Some(draft) = self.drafts.get(&node) else {
            return Turn::Wait;
        };
        match draft.queue.front() {
            None => self.draft_rests(node),
            Some(&Op::Write {
                offset,
                append,
                len,
                ..
            }) => {
                let end = draft.end();
                if !draft.overlay.is_changed() && self.draft_moves_on(node) {
                    return Turn::Wait;
                }
                self.write_next(node, if append { end } else { offset }, len)
            }
            Some(&Op::Resize {
                req,
                size,
                wall,
                shown,
                ..
            }) => {
                if !draft.overlay.is_changed() && self.draft_moves_on(node) {
                    return Turn::Wait;
                }
                self.resize_next(node, (req, shown), size, wall)
            }
            Some(&Op::Touch { mtime }) => {
                if !draft.is_idle() {
                    return Turn::Wait;
                }
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.queue.pop_front();
                    draft.mtime = mtime;
                }
                self.draft_job(node, DraftJob::Touched, DraftWish::Touch { mtime });
                Turn::Next
            }
            Some(&Op::Publish { req }) => {
                if !draft.flying.is_empty() || draft.journaling {
                    return Turn::Wait;
                }
                self.pop_op(node);
                self.publish(node);
                if let Some(req) = req {
                    self.reply_stored(req, FsReply::Done);
                }
                Turn::Next
            }
            Some(&Op::Sync { req }) => {
                if !draft.flying.is_empty() || draft.journaling {
                    return Turn::Wait;
                }
                self.pop_op(node);
                self.publish(node);
                self.sync_draft(node, req);
                Turn::Next
            }
            Some(Op::Harden) => {
                if !draft.flying.is_empty() || draft.journaling {
                    return Turn::Wait;
                }
                self.pop_op(node);
                self.sync_draft(node, None);
                Turn::Next
            }
        }
    }

    fn pop_op(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.queue.pop_front();
        }
    }

    fn sync_draft(&mut self, node: NodeId, req: Option<ReqId>) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        self.drafts_to_sync.remove(&node);
        draft.journaling = true;
        draft.soft = false;
        let version = draft.version;
        let after = draft.append(&[Record::Synced]);
        let what = DraftJob::Synced { version, req };
        self.draft_job(node, what, DraftWish::Sync { after });
    }

    /// Writes, unless the disk or the journal is busy with the chunks that it touches.
    fn write_next(&mut self, node: NodeId, offset: u64, len: u32) -> Turn {
        if !self.is_free(node, offset, u64::from(len)) {
            return Turn::Wait;
        }
        let Some(draft) = self.drafts.get(&node) else {
            return Turn::Wait;
        };
        if offset.saturating_add(len.into()) > size_max(draft.overlay.chunk_size()) {
            // Only what is appended can be found to be so here.
            self.fail_next(node, FsError::TooLarge);
            return Turn::Next;
        }
        let beneath = draft.beneath(&self.objects);
        let Ok(plan) = draft.overlay.plan_write(offset, len, beneath) else {
            // What is beneath would make one piece of many.
            let file = draft.file;
            self.want_range(file, offset, len);
            self.fail_next(node, FsError::NoSpace);
            return Turn::Next;
        };
        if !plan.is_empty() && draft.journaling {
            return Turn::Wait;
        }
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        let Some(Op::Write {
            req,
            offset: asked,
            payload,
            wall,
            ..
        }) = draft.queue.pop_front()
        else {
            return Turn::Wait;
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        if !plan.is_empty() {
            draft.journaling = true;
            before = draft.append(&plan.before);
            after = draft.append(&plan.after);
        }
        let nr = draft.next_write;
        draft.next_write += 1;
        draft.flying.insert(nr, (offset, offset + u64::from(len)));
        draft.soft = true;
        let what = DraftJob::Wrote {
            req,
            nr,
            plan,
            wall,
            moved: offset != asked,
        };
        let wish = DraftWish::Write {
            offset,
            payload,
            before,
            after,
        };
        self.draft_job(node, what, wish);
        Turn::Next
    }

    /// Returns whether no chunk of a range is being stored or proven; claims in it are set about
    /// being proven, since bytes that are written over can't be.
    fn is_free(&mut self, node: NodeId, offset: u64, len: u64) -> bool {
        let Some(draft) = self.drafts.get(&node) else {
            return false;
        };
        let file = draft.file;
        let Some(kept) = self.objects.get(&file) else {
            return true;
        };
        let inside = kept.held().chunks_covering(offset, len);
        let mut is_free = true;
        let mut claims = Vec::new();
        for chunk in inside {
            is_free &= !kept.storing.contains(&chunk);
            if kept.claims().has(chunk) {
                claims.push(chunk);
            }
        }
        is_free &= claims.is_empty();
        for chunk in claims {
            self.want_range_chunk(file, chunk);
        }
        is_free
    }

    /// Cuts or extends the file.
    fn resize_next(
        &mut self,
        node: NodeId,
        (req, shown): (ReqId, Option<Shown>),
        size: u64,
        wall: crate::time::WallTime,
    ) -> Turn {
        let Some(draft) = self.drafts.get(&node) else {
            return Turn::Wait;
        };
        if !draft.flying.is_empty() || draft.journaling {
            return Turn::Wait;
        }
        let file = draft.file;
        let from = size.min(draft.overlay.size());
        let is_storing = |kept: &crate::object::Object| !kept.storing.is_empty();
        if self.objects.get(&file).is_some_and(is_storing) {
            return Turn::Wait;
        }
        if !self.is_free(node, from, 1) {
            return Turn::Wait;
        }
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        let plan = draft
            .overlay
            .plan_resize(size, draft.beneath(&self.objects));
        draft.journaling = true;
        draft.soft = true;
        if !plan.before.is_empty() {
            // It is looked at again when that is on record.
            let record = draft.append(&plan.before);
            let what = DraftJob::Marked(plan.before);
            self.draft_job(node, what, DraftWish::Mark { record });
            return Turn::Wait;
        }
        draft.queue.pop_front();
        let after = if plan.after.is_empty() {
            Vec::new()
        } else {
            draft.append(&plan.after)
        };
        // What comes of the version beneath meanwhile must not be put where this cuts.
        let nr = draft.next_write;
        draft.next_write += 1;
        draft.flying.insert(nr, (from, u64::MAX));
        let what = DraftJob::Resized {
            req,
            nr,
            size,
            after: plan.after,
            wall,
            shown,
        };
        self.draft_job(node, what, DraftWish::Resize { size, after });
        Turn::Next
    }

    fn fail_next(&mut self, node: NodeId, why: FsError) {
        let op = self
            .drafts
            .get_mut(&node)
            .and_then(|draft| draft.queue.pop_front());
        if let Some(op) = op {
            self.fail_op(op, why);
        }
    }

    /// A job on a draft has ended.
    pub(crate) fn on_drafted(
        &mut self,
        node: NodeId,
        what: DraftJob,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            self.drop_payload(outcome);
            return;
        };
        draft.jobs = draft.jobs.saturating_sub(1);
        let failed = match outcome {
            Ok(DiskDone::Draft {
                journal,
                file,
                sidecar,
            }) => {
                if let DraftJob::Loaded = what {
                    self.on_draft_loaded(node, journal, file, sidecar);
                }
                None
            }
            Ok(DiskDone::Hashed { len: _, hash }) => {
                if let DraftJob::Hashed(chunk) = what {
                    draft.hashes.insert(chunk, hash);
                }
                None
            }
            Ok(DiskDone::Done) => {
                self.draft_done(node, what);
                None
            }
            Ok(other) => {
                self.drop_payload(Ok(other));
                Some((what, DiskError::Io))
            }
            Err(why) => Some((what, why)),
        };
        if let Some((what, why)) = failed {
            self.draft_refused(node, what, why);
        }
        self.pump_draft(node);
    }

    /// The disk has done what was wished.
    fn draft_done(&mut self, node: NodeId, what: DraftJob) {
        match what {
            DraftJob::Opened => self.draft_opened(node),
            DraftJob::Doubted => self.draft_doubted(node),
            DraftJob::Wrote {
                req,
                nr,
                plan,
                wall,
                moved,
            } => {
                let Some(draft) = self.drafts.get_mut(&node) else {
                    return;
                };
                let (from, to) = draft.flying.remove(&nr).unwrap_or_default();
                if !plan.is_empty() {
                    draft.journaling = false;
                }
                draft.mtime = wall;
                let records: Vec<Record> = plan.before.into_iter().chain(plan.after).collect();
                self.draft_changed(node, &records, Some(to));
                let len = u32::try_from(to - from).unwrap_or(u32::MAX);
                if moved {
                    self.forget_inode(node, true);
                }
                self.reply(req, Ok(FsReply::Written { len }));
            }
            DraftJob::Resized {
                req,
                nr,
                size,
                after,
                wall,
                shown: before,
            } => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.flying.remove(&nr);
                    draft.journaling = false;
                    draft.mtime = wall;
                }
                self.draft_changed(node, &after, Some(size));
                let ino = self.inodes.get(node);
                let shown = ino.and_then(|ino| self.shown_open(ino));
                // A peer may have deleted it, and nobody has it open: it is done all the same, and
                // brings the file back.
                let gone = before.map(|before| Shown {
                    nlink: 0,
                    size,
                    mtime: wall,
                    ..before
                });
                let shown = shown.or(gone).ok_or(FsError::Stale);
                self.reply(req, shown.map(FsReply::Attr));
            }
            DraftJob::Marked(records) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.journaling = false;
                }
                self.draft_changed(node, &records, None);
            }
            DraftJob::Filled { chunk, hash, fare } => self.draft_filled(node, chunk, hash, fare),
            DraftJob::Touched | DraftJob::Loaded | DraftJob::Hashed(_) => {}
            DraftJob::Synced { version, req } => self.draft_synced(node, version, req),
            DraftJob::Settled => self.draft_settled(node),
            DraftJob::Removed => self.draft_removed(node),
        }
    }

    /// A draft holds other bytes than it did, and at least so many.
    fn draft_changed(&mut self, node: NodeId, records: &[Record], end: Option<u64>) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        for record in records {
            draft.overlay.apply(*record);
        }
        if let Some(end) = end {
            draft.overlay.grow(end);
        }
        let file = draft.file;
        if draft.overlay.is_changed() {
            let since = *draft.changed_at.get_or_insert(self.now);
            let quiet = (self.now + QUIET).min(since + GROWING_MAX);
            self.timers.set(Timer::Quiet(node), quiet);
        }
        let mut written = Vec::new();
        for record in records {
            match *record {
                Record::Chunks { first, count } => written.push((first, count)),
                Record::Range { chunk, .. } | Record::Filled { chunk } => written.push((chunk, 1)),
                Record::Cut { len } => {
                    let first = ChunkIx(draft.overlay.chunks(len));
                    written.push((first, u32::MAX - first.0));
                }
                Record::Touched { .. }
                | Record::Beyond { .. }
                | Record::Published { .. }
                | Record::Synced => {}
            }
        }
        if let Some(kept) = self.objects.get_mut(&file) {
            for (first, count) in written {
                let is_one = count == 1;
                if !is_one || draft.overlay.is_whole(first, |_| false) {
                    kept.download.written(first, count);
                }
            }
        }
        self.wake(file);
    }

    /// A draft's journal is in its place.
    fn draft_opened(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.stage = Stage::Open;
        let file = draft.file;
        self.settle_doubt(node);
        let is_broken = |kept: &object::Object| kept.stage == object::Stage::Broken;
        if self.objects.get(&file).is_some_and(is_broken) {
            // The disk has refused a job on what is beneath, while the draft was on its way.
            self.draft_broken(node, None);
        }
        self.wake(file);
    }

    /// The disk has refused something.
    fn draft_refused(&mut self, node: NodeId, what: DraftJob, why: DiskError) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        let object = draft.file;
        match what {
            DraftJob::Wrote { req, nr, plan, .. } => {
                draft.flying.remove(&nr);
                if !plan.is_empty() {
                    draft.journaling = false;
                    // What was to be on record before may be.
                    for record in &plan.before {
                        draft.overlay.apply(*record);
                    }
                }
                self.reply(req, Err(told(why)));
                self.draft_broken(node, None);
            }
            DraftJob::Resized { req, nr, .. } => {
                draft.flying.remove(&nr);
                draft.journaling = false;
                draft.is_unsure = true;
                self.reply(req, Err(told(why)));
                self.draft_broken(node, None);
            }
            DraftJob::Marked(records) => {
                draft.journaling = false;
                for record in &records {
                    draft.overlay.apply(*record);
                }
                self.fail_next(node, told(why));
                self.draft_broken(node, None);
            }
            DraftJob::Filled { chunk, fare, .. } => {
                draft.journaling = false;
                self.landed(fare);
                if let Some(kept) = self.objects.get_mut(&object) {
                    kept.storing.remove(&chunk);
                }
                self.want_again(object, chunk);
                self.pause(object, None);
                self.draft_broken(node, None);
            }
            DraftJob::Synced { req, .. } => {
                draft.journaling = false;
                draft.soft = true;
                if let Some(req) = req {
                    self.reply(req, Err(told(why)));
                }
                self.sync_ended(node);
                self.draft_broken(node, Some(why));
            }
            DraftJob::Opened | DraftJob::Loaded | DraftJob::Doubted | DraftJob::Settled => {
                self.draft_broken(node, Some(why));
            }
            DraftJob::Removed => {
                // A record stays, by which the next start removes it, whatever is needed by then. It
                // may be removed all the same: nothing counts as here that it was written over.
                let keeps_base = draft.keeps_base;
                if !keeps_base {
                    let record = DraftRecord {
                        from: DraftBase::Over,
                        ..draft.record()
                    };
                    self.commits
                        .put(records::draft(node), records::encode(&record));
                }
                self.draft_fault(object, why);
                let queue = self.take_draft(node);
                let readers = if keeps_base {
                    Vec::new()
                } else {
                    self.forget_stored(object);
                    self.drop_object(object)
                };
                for op in queue {
                    self.fail_op(op, told(why));
                }
                for req in readers {
                    self.read_again(req);
                }
            }
            DraftJob::Touched => {}
            DraftJob::Hashed(_) => self.draft_broken(node, Some(why)),
        }
    }

    /// What is on disk of a draft is to be found out anew. With a reason: not before a while, and
    /// nobody waits for it.
    pub(crate) fn draft_broken(&mut self, node: NodeId, why: Option<DiskError>) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        if draft.stage == Stage::Removing {
            return;
        }
        draft.stage = Stage::Broken;
        draft.hashes.clear();
        if let Some(why) = why {
            draft.pausing = true;
            // Once is enough until it was found.
            let is_news = !core::mem::replace(&mut draft.refused, true);
            let object = draft.file;
            self.timers.set(Timer::Quiet(node), self.now + QUIET);
            self.fail_queue(node, told(why));
            if is_news {
                self.draft_fault(object, why);
            }
            self.serve_later(node);
        }
    }

    /// Fails the queues of drafts whose records could not be stored, or those of what they are
    /// written over.
    pub(crate) fn drafts_unrecorded(&mut self, why: FsError) {
        let is_unmade = |draft: &crate::draft::Draft| {
            let kept = self.objects.get(&draft.file);
            kept.is_some_and(|kept| kept.stage == object::Stage::Creating && kept.jobs == 0)
        };
        let unmade: Vec<NodeId> = self
            .drafts
            .iter()
            .filter(|(_, draft)| draft.stage == Stage::Base && is_unmade(draft))
            .map(|(node, _)| *node)
            .collect();
        for node in unmade {
            for op in self.take_draft(node) {
                self.fail_op(op, why);
            }
        }
        let is_it = |draft: &crate::draft::Draft| draft.stage == Stage::Recording;
        let unrecorded: Vec<NodeId> = self
            .drafts
            .iter()
            .filter(|(_, draft)| is_it(draft))
            .map(|(node, _)| *node)
            .collect();
        for node in unrecorded {
            self.fail_queue(node, why);
        }
    }

    fn fail_queue(&mut self, node: NodeId, why: FsError) {
        while self
            .drafts
            .get(&node)
            .is_some_and(|draft| !draft.queue.is_empty())
        {
            self.fail_next(node, why);
        }
        self.sync_ended(node);
    }

    fn draft_fault(&mut self, object: ObjectId, why: DiskError) {
        let path = self.shown_path(object.node);
        let what = alloc::format!("keeping what was written to {path}");
        self.fault(crate::error::Fault::Disk { what, why });
    }

    /// Has a broken draft found anew once nothing is under way on it.
    fn draft_reload(&mut self, node: NodeId) -> Turn {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        let file = draft.file;
        let is_busy = draft.jobs > 0 || self.objects.get(&file).is_some_and(|kept| kept.jobs > 0);
        if is_busy || (draft.pausing && draft.queue.is_empty()) {
            return Turn::Wait;
        }
        draft.pausing = false;
        draft.stage = Stage::Loading;
        self.draft_job(node, DraftJob::Loaded, DraftWish::Load);
        Turn::Wait
    }
}
