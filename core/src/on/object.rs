//! Objects on disk: found, made, filled, hardened, finished, removed.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::action::{Action, DiskWish, WantState};
use crate::commits::After;
use crate::draft::{Draft, Stage as DraftStage};
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::fetch::backoff::Backoff;
use crate::fetch::bitmap::ChunkBitmap;
use crate::fetch::download::Download;
use crate::fetch::error::SidecarError;
use crate::fetch::kdbitmap::version_of;
use crate::fetch::record::{Header, Record, SidecarWriter};
use crate::fetch::sidecar::Sidecar;
use crate::ids::{ChunkHash, ChunkIx, NodeId, ObjectId, ReqId};
use crate::message::Role;
use crate::mutant::Mutant;
use crate::object::{Fare, Object, Parcel, Stage};
use crate::on::disk::Job;
use crate::records::{self, Holding};
use crate::time::Duration;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::Content;

/// Claims that are hashed at once, of a file of which nothing else is missing.
const CLAIMS_AT_ONCE: usize = 16;

/// How long written chunks may stay unsynced: what a power loss makes us hash again; by eye.
const HARDEN: Duration = Duration::from_secs(5);

impl Engine {
    /// Sees to it that an object is known; false if its size has no chunks.
    pub(crate) fn keep_object(&mut self, object: ObjectId, size: u64, chunk_size: u32) -> bool {
        self.unretire(object);
        if self.objects.contains_key(&object) {
            return true;
        }
        match Object::new(size, chunk_size, self.fetch_backoff(), self.now) {
            Some(new) => {
                self.objects.insert(object, new);
                self.resting.used(object);
                if self.discards.remove(&object).is_some() {
                    // What is there of it was about to go: its record stands too.
                    self.kept.insert(object, Holding::Partial);
                }
                true
            }
            None => false,
        }
    }

    /// Returns when to ask again for chunks of an object.
    pub(crate) fn fetch_backoff(&self) -> Backoff {
        let backoff = Backoff::of_fetch(self.config.retries);
        #[cfg(feature = "mutants")]
        if self.has(Mutant::AttemptsNeverReset) {
            return backoff.stuck();
        }
        backoff
    }

    /// Returns whether a range might be had without anybody being asked.
    pub(crate) fn may_be_here(&self, object: ObjectId, offset: u64, len: u32) -> bool {
        self.objects
            .get(&object)
            .is_some_and(|kept| kept.may_be_here(offset, len))
    }

    /// Has a reader wait for a range of an object, and has the range fetched.
    pub(crate) fn demand(&mut self, object: ObjectId, req: ReqId, offset: u64, len: u32) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.readers.insert(req);
        if kept.exhausted {
            kept.exhausted = false;
            kept.download.link_up();
        }
        self.get_going(object);
        self.want_range(object, offset, len);
    }

    /// Has all of an object fetched.
    pub(crate) fn demand_whole(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.whole = true;
            if kept.exhausted {
                kept.exhausted = false;
                kept.download.link_up();
            }
            self.get_going(object);
            self.want_more(object);
        }
    }

    /// Takes the step towards a partial file that the object's stage asks for.
    pub(crate) fn get_going(&mut self, object: ObjectId) {
        if self.drafted(object).is_some() || self.is_settling(object) {
            return;
        }
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        match kept.stage {
            Stage::Unknown => {
                kept.stage = Stage::Loading;
                self.object_job(object, Job::Loaded(object), DiskWish::LoadObject { object });
            }
            Stage::Absent => {
                kept.stage = Stage::Creating;
                self.hold(object, Holding::Partial);
                self.commits.then(After::Create(object));
            }
            Stage::Loading
            | Stage::Creating
            | Stage::Partial
            | Stage::Syncing
            | Stage::Finishing
            | Stage::Complete
            | Stage::Broken => {}
        }
    }

    /// Records what is on disk of an object.
    pub(crate) fn hold(&mut self, object: ObjectId, holding: Holding) {
        self.kept.insert(object, holding);
        self.commits
            .put(records::object(object), records::encode(&holding));
    }

    /// Gives the disk a job on an object.
    pub(crate) fn object_job(&mut self, object: ObjectId, job: Job, wish: DiskWish) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.jobs += 1;
        }
        self.job(job, wish);
    }

    /// Wants the chunks of a range that are not here, and has claims in it hashed.
    pub(crate) fn want_range(&mut self, object: ObjectId, offset: u64, len: u32) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        if !kept.is_open() {
            return;
        }
        let chunks = kept.held().chunks_covering(offset, u64::from(len));
        for chunk in chunks {
            self.want_chunk(object, chunk);
        }
    }

    /// Wants a chunk of an object whose file is there.
    pub(crate) fn want_range_chunk(&mut self, object: ObjectId, chunk: ChunkIx) {
        if let Some(kept) = self.objects.get(&object)
            && kept.stage == Stage::Partial
        {
            self.want_chunk(object, chunk);
        }
    }

    fn want_chunk(&mut self, object: ObjectId, chunk: ChunkIx) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.claims().has(chunk) {
            if kept.checking.insert(chunk) {
                let (offset, len) = kept.held().chunk_range(chunk);
                let wish = DiskWish::HashChunk {
                    object,
                    offset,
                    len,
                };
                self.object_job(object, Job::Checked { object, chunk }, wish);
            }
        } else if !kept.exhausted && kept.lacks(chunk) && kept.wanted.insert(chunk) {
            self.queue(object);
        }
    }

    /// Looks at everything that waits for an object: readers whose range is here are answered,
    /// what the others need is wanted.
    pub(crate) fn wake(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        let readers: Vec<ReqId> = kept.readers.iter().copied().collect();
        for req in readers {
            self.read_again(req);
        }
        self.serve_waiting(object);
        self.draft_woken(object);
        let wants_more = self.objects.get(&object).is_some_and(|kept| kept.whole);
        if wants_more {
            self.get_going(object);
            self.want_more(object);
        }
    }

    /// The disk has told what is stored of an object.
    pub(crate) fn on_loaded(
        &mut self,
        object: ObjectId,
        sidecar: Option<Vec<u8>>,
        partial: Option<u64>,
        complete: Option<u64>,
    ) {
        let is_recorded_complete = self.kept.get(&object) == Some(&Holding::Complete);
        let salt = self.rng.next_u64();
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        let size = kept.size();
        if complete == Some(size) {
            // Only the rename after sync and record puts a file there.
            kept.stage = Stage::Complete;
            if !is_recorded_complete {
                self.hold(object, Holding::Complete);
            }
            self.wake(object);
            self.want_done(object);
            self.review_ancestors(object.node);
            return;
        }
        // A partial file beside a record that says complete was killed before the rename, or is a
        // later one whose own record a power loss took: its sidecar tells what is in it.
        kept.stage = Stage::Absent;
        let chunk_size = kept.held().chunk_size();
        let is_ignored = self.has(Mutant::SidecarIgnored);
        let found = sidecar.filter(|_| partial == Some(size) && !is_ignored);
        let read = found.map(|bytes| read_sidecar(&bytes, object, size, salt));
        match read {
            Some(Ok((found, rewritten))) if found.header().chunk_size == chunk_size => {
                if let Some(rewritten) = rewritten {
                    self.rewrite_sidecar(object, rewritten);
                }
                self.adopt(object, &found, salt);
            }
            Some(Ok(_)) => {
                let why = "it has chunks of another size".to_string();
                self.fault(Fault::Sidecar { object, why });
            }
            Some(Err(why)) => {
                let why = why.to_string();
                self.fault(Fault::Sidecar { object, why });
            }
            None => {}
        }
        self.wake(object);
    }

    /// Replaces a sidecar. A kill in between leaves one that says nothing.
    pub(crate) fn rewrite_sidecar(&mut self, object: ObjectId, record: Vec<u8>) {
        let cut = DiskWish::CutSidecar { object, len: 0 };
        self.object_job(object, Job::Marked(object), cut);
        let mark = DiskWish::MarkSidecar { object, record };
        self.object_job(object, Job::Marked(object), mark);
    }

    /// Goes on where a sidecar of an earlier run ends.
    pub(crate) fn adopt(&mut self, object: ObjectId, found: &Sidecar, salt: u64) {
        let backoff = self.fetch_backoff();
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.stage = Stage::Partial;
        kept.download = Download::resume(found, self.now, backoff);
        kept.soft = kept.claims().have() > 0;
        let (writer, opened) = found.writer(salt);
        kept.writer = Some(writer);
        let len = found.valid_len();
        self.object_job(
            object,
            Job::Marked(object),
            DiskWish::CutSidecar { object, len },
        );
        let record = opened.to_vec();
        self.object_job(
            object,
            Job::Marked(object),
            DiskWish::MarkSidecar { object, record },
        );
    }

    /// An object's record is stored: its file is made.
    pub(crate) fn create_object(&mut self, object: ObjectId) {
        let salt = self.rng.next_u64();
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.stage != Stage::Creating || kept.doomed {
            return;
        }
        let header = Header {
            object,
            file_size: kept.size(),
            chunk_size: kept.held().chunk_size(),
            salt,
        };
        let (writer, bytes) =
            SidecarWriter::create(&header).expect("an object's sizes were found possible");
        kept.writer = Some(writer);
        let wish = DiskWish::CreateObject {
            object,
            size: header.file_size,
            sidecar: bytes.to_vec(),
        };
        self.object_job(object, Job::Created(object), wish);
    }

    /// An object's file was made.
    pub(crate) fn on_created(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.stage = Stage::Partial;
        for parcel in core::mem::take(&mut kept.arrived) {
            self.store_chunk(object, parcel);
        }
    }

    /// Has a chunk written that is what it should be.
    pub(crate) fn store_chunk(&mut self, object: ObjectId, parcel: Parcel) {
        if self.draft_takes(object, parcel) {
            return;
        }
        let Parcel {
            chunk,
            hash,
            payload,
            fare,
        } = parcel;
        let Some(kept) = self.objects.get_mut(&object) else {
            self.give_up(parcel);
            return;
        };
        kept.denied.remove(&chunk);
        match (kept.stage, kept.writer.is_some()) {
            (Stage::Partial, true) => {}
            (Stage::Absent | Stage::Creating, _) => {
                kept.arrived.push(parcel);
                // Its readers may have gone meanwhile: then nobody else would have it made.
                self.get_going(object);
                return;
            }
            (
                Stage::Unknown
                | Stage::Loading
                | Stage::Partial
                | Stage::Syncing
                | Stage::Finishing
                | Stage::Complete
                | Stage::Broken,
                _,
            ) => {
                // The disk failed meanwhile; what it holds is found out first.
                self.counters.chunks_dropped += 1;
                self.give_up(parcel);
                self.want_again(object, chunk);
                return;
            }
        }
        let Some(writer) = kept.writer.as_mut() else {
            return;
        };
        let record = writer.append(Record::Chunk { chunk, hash }).to_vec();
        kept.storing.insert(chunk);
        let (offset, len) = kept.held().chunk_range(chunk);
        let job = Job::Stored {
            object,
            chunk,
            hash,
            fare,
        };
        let wish = match payload {
            Some(payload) => DiskWish::StoreChunk {
                object,
                offset,
                payload,
                record,
            },
            None => DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            },
        };
        self.object_job(object, job, wish);
    }

    /// Does without a chunk that was on its way into a file.
    pub(crate) fn give_up(&mut self, parcel: Parcel) {
        self.landed(parcel.fare);
        if let Some(payload) = parcel.payload {
            self.act(Action::Drop { payload });
        }
    }

    /// Counts what came over the wire of a chunk that was stored, and what need not have.
    pub(crate) fn count_fetched(&mut self, object: ObjectId, fare: Fare) {
        if fare.wire > 0 {
            if let Some(kept) = self.objects.get_mut(&object) {
                kept.chunks_fetched += 1;
                kept.bytes_fetched += u64::from(fare.wire);
            }
            self.counters.chunks_fetched += 1;
            self.counters.bytes_fetched += u64::from(fare.wire);
        }
        self.counters.bytes_spared += u64::from(fare.len.saturating_sub(fare.wire));
    }

    /// A chunk was written.
    pub(crate) fn on_stored(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        hash: ChunkHash,
        fare: Fare,
    ) {
        let is_outward = self.has(Mutant::RangeOutward);
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.stage == Stage::Broken {
            return;
        }
        kept.download.arrived(self.now, chunk, hash);
        kept.plain.remove(&chunk);
        kept.beneath.remove(&chunk);
        if is_outward && let Some(next) = kept.held().next_missing(chunk) {
            kept.download.arrived(self.now, next, hash);
        }
        kept.soft = true;
        kept.refused = false;
        kept.failing = false;
        kept.rounds = 0;
        // It was still on its way when the attempts at another chunk ran out.
        let is_after_all = core::mem::take(&mut kept.exhausted);
        if let Some(node) = self.drafts_on.get(&object)
            && let Some(draft) = self.drafts.get_mut(node)
        {
            draft.soft = true;
        }
        if is_after_all {
            self.object_moves(object);
        }
        self.count_fetched(object, fare);
        self.timers
            .set_sooner(Timer::Harden(object), self.now + HARDEN);
        self.want_progress(object);
        self.wake(object);
        self.finish_if_complete(object);
    }

    /// A claim was hashed.
    pub(crate) fn on_checked(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        found: Result<(u32, ChunkHash), DiskError>,
    ) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.checking.remove(&chunk);
        if kept.stage == Stage::Broken || !kept.claims().has(chunk) {
            return;
        }
        self.counters.claims_checked += 1;
        let (_, len) = kept.held().chunk_range(chunk);
        let recorded = kept.download.hash(chunk);
        if let (Ok((read, hash)), None) = (found, recorded)
            && read == len
        {
            // Version 1 gives no hash: whether these bytes are the chunk's, its owner knows. On
            // record it stays what it is, a claim, until the answer is there.
            kept.download.lost(chunk);
            kept.found.insert(chunk, hash);
            self.want_again(object, chunk);
            self.wake(object);
            return;
        }
        let proven = match (found, recorded) {
            (Ok((read, hash)), Some(recorded)) if read == len && hash == recorded => Some(hash),
            (Ok(_) | Err(_), _) => None,
        };
        if let Some(hash) = proven {
            kept.download.confirmed(chunk, hash);
        } else {
            // After a power loss that is no rot: the record may have outlived its bytes.
            self.lose_chunk(object, chunk);
        }
        self.wake(object);
        self.finish_if_complete(object);
    }

    /// Goes on to complete an object once all of its chunks are proven.
    pub(crate) fn finish_if_complete(&mut self, object: ObjectId) {
        if let Some(node) = self.drafted(object) {
            // Its file is not this version's alone.
            self.pump_draft(node);
            return;
        }
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.stage != Stage::Partial || !kept.storing.is_empty() {
            return;
        }
        if !kept.download.is_complete() {
            // Where claims are all that is missing, they are proven now.
            let mut missing = kept.download.wanted_in(0, u64::MAX);
            if missing.next().is_none() {
                drop(missing);
                let claims: Vec<ChunkIx> = kept.claims().held().take(CLAIMS_AT_ONCE).collect();
                for claim in claims {
                    self.want_chunk(object, claim);
                }
            }
            return;
        }
        if self.config.role == Role::Full {
            // It stays where it is until it is put under its name, synced with others.
            kept.stage = Stage::Complete;
            kept.soft = false;
            kept.whole = false;
            self.timers.cancel(Timer::Harden(object));
            self.close_idle_lanes(object.node);
            self.object_whole(object);
            return;
        }
        kept.stage = Stage::Syncing;
        if self.has(Mutant::RenameUnsynced) {
            self.on_synced(object);
            return;
        }
        self.object_job(object, Job::Synced(object), DiskWish::SyncObject { object });
    }

    /// Has written chunks synced, so that a power loss does not make claims of them.
    ///
    /// A mark covers every record before it, those of earlier runs too. So claims are proven
    /// first: of a power loss before this run, a record may be left whose bytes are not, and a
    /// sync of today does not bring them back.
    pub(crate) fn harden(&mut self, object: ObjectId) {
        let stopping = self.stopping;
        let is_leaving =
            |draft: &Draft| matches!(draft.stage, DraftStage::Settling | DraftStage::Removing);
        let draft = self.drafted(object).and_then(|node| self.drafts.get(&node));
        if draft.is_some_and(is_leaving) {
            // Its file is about to bear another name, or none.
            return;
        }
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        let Some(writer) = kept.writer.as_ref() else {
            return;
        };
        if kept.stage != Stage::Partial || !kept.soft || kept.syncing.is_some() {
            return;
        }
        if kept.claims().have() > 0 {
            if !stopping {
                let claims: Vec<ChunkIx> = kept.claims().held().take(CLAIMS_AT_ONCE).collect();
                for claim in claims {
                    self.want_chunk(object, claim);
                }
                self.timers
                    .set_sooner(Timer::Harden(object), self.now + HARDEN);
            }
            return;
        }
        kept.soft = !kept.storing.is_empty();
        // Only what is written by now is covered: records of jobs under way come after.
        let storing = u64::try_from(kept.storing.len()).unwrap_or(u64::MAX);
        kept.syncing = Some(writer.records().saturating_sub(storing));
        if self.has(Mutant::BitBeforeData) {
            self.on_synced(object);
            return;
        }
        self.object_job(object, Job::Synced(object), DiskWish::SyncObject { object });
    }

    /// An object's data was synced.
    pub(crate) fn on_synced(&mut self, object: ObjectId) {
        let stopping = self.stopping;
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.stage == Stage::Syncing {
            if kept.syncing.take().is_some() {
                // It was begun to harden what was there by then; the one for all follows.
                return;
            }
            kept.stage = Stage::Finishing;
            self.keep_hashes(object);
            self.hold(object, Holding::Complete);
            self.commits.harden();
            self.commits.then(After::Finish(object));
            self.wake(object);
            return;
        }
        let Some(upto) = kept.syncing.take() else {
            return;
        };
        if kept.stage == Stage::Complete {
            // It goes to its place, and is synced there once more.
            return;
        }
        let is_all = kept.storing.is_empty() && !kept.soft;
        let has_claims = kept.claims().have() > 0;
        let Some(writer) = kept.writer.as_mut() else {
            return;
        };
        if has_claims {
            // Records of an earlier run stand among those that the mark would speak of, and what
            // they say of is not proven: a power loss may have taken it. The bytes are synced;
            // what they are is found out again after the next crash.
            return;
        }
        let mark = if stopping && is_all {
            Record::Clean
        } else {
            Record::Durable { upto }
        };
        let record = writer.append(mark).to_vec();
        let wish = DiskWish::MarkSidecar { object, record };
        self.object_job(object, Job::Marked(object), wish);
        if self.objects.get(&object).is_some_and(|kept| kept.soft) {
            self.timers
                .set_sooner(Timer::Harden(object), self.now + HARDEN);
        }
    }

    /// An object is on record as complete: its file goes to its place, unless its version was
    /// superseded meanwhile.
    pub(crate) fn finish_object(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        if kept.stage == Stage::Finishing {
            let wish = DiskWish::FinishObject { object };
            self.object_job(object, Job::Finished(object), wish);
        }
    }

    /// An object's file is at its place.
    pub(crate) fn on_finished(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.stage = Stage::Complete;
            kept.writer = None;
            kept.soft = false;
            if kept.spoilt {
                self.start_over(object);
                return;
            }
            self.close_idle_lanes(object.node);
            self.wake(object);
            self.want_done(object);
            self.review_ancestors(object.node);
        }
    }

    /// The disk has refused a job on an object: it is looked at again after a pause.
    pub(crate) fn object_failed(&mut self, object: ObjectId, what: &str, why: DiskError) {
        let Some(kept) = self.objects.get_mut(&object) else {
            self.fault(Fault::Disk {
                what: alloc::format!("{what} {object:?}"),
                why,
            });
            return;
        };
        // Once is enough until something of it was written again.
        let is_news = !core::mem::replace(&mut kept.refused, true);
        let was_whole = kept.stage == Stage::Complete;
        kept.break_off();
        for parcel in core::mem::take(&mut kept.arrived) {
            self.give_up(parcel);
        }
        if is_news {
            let path = self.shown_path(object.node);
            let what = alloc::format!("{what} {path}");
            self.fault(Fault::Disk { what, why });
        }
        if why == DiskError::NoSpace {
            self.want_failed(object, WantState::NoSpace);
        }
        self.draft_base_failed(object, why);
        self.refuse_asks(object);
        if !self.placing_refused(object) {
            self.pause(object, None);
        }
        if was_whole && self.config.role == Role::Full {
            // It waited for this to go to its place, and is wanted again.
            self.object_whole(object);
        }
    }

    /// Looks at a broken object's files again, once nothing is under way on them.
    pub(crate) fn mend(&mut self, object: ObjectId) {
        if self.drafts_on.contains_key(&object) {
            // The draft is found anew, and this with it; or it waits for this, and for no pause.
            self.draft_woken(object);
            return;
        }
        let is_pausing = self.objects.get(&object).is_none_or(|kept| kept.pausing);
        if is_pausing || !self.forget_broken(object) {
            return;
        }
        if let Some(kept) = self.objects.get_mut(&object) {
            let is_wanted = kept.whole || !kept.readers.is_empty();
            if is_wanted {
                self.get_going(object);
            } else if self.is_ancestor(object) {
                // What is left of it is looked at before anything is fetched that it may have.
                self.drop_object(object);
                self.ancestors.is_unknown(object);
            }
        }
    }

    /// Forgets what was known of a broken object, so that the disk is asked anew; false while
    /// something is under way on it.
    pub(crate) fn forget_broken(&mut self, object: ObjectId) -> bool {
        let Some(kept) = self.objects.get_mut(&object) else {
            return false;
        };
        let is_due = kept.stage == Stage::Broken && kept.jobs == 0;
        if is_due {
            kept.stage = Stage::Unknown;
            let (size, chunk_size) = (kept.size(), kept.held().chunk_size());
            kept.download.forget(size, chunk_size, self.now);
            kept.checking.clear();
            kept.storing.clear();
            kept.found.clear();
        }
        is_due
    }

    /// A job on an object has ended, whatever came of it.
    pub(crate) fn job_ended(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.jobs = kept.jobs.saturating_sub(1);
            let is_free = kept.jobs == 0 && kept.stage == Stage::Complete && !kept.doomed;
            if is_free && self.config.role == Role::Full {
                // It may have waited for that to go to its place.
                self.object_whole(object);
            }
            self.bury_if_idle(object);
            self.mend(object);
        }
    }

    /// Gives up an object whose version no file shows.
    pub(crate) fn doom(&mut self, object: ObjectId) {
        if self.keep_back(object) {
            return;
        }
        self.ancestors.forget(object);
        if self.drafts_on.contains_key(&object) || self.is_settling(object) {
            // The draft's file bears its name.
            self.draft_woken(object);
            return;
        }
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.doomed = true;
            kept.whole = false;
            kept.wanted.clear();
            for parcel in core::mem::take(&mut kept.arrived) {
                self.give_up(parcel);
            }
            self.bury_if_idle(object);
        } else if self.kept.remove(&object).is_some() {
            self.forget_hashes(object);
            self.discard(object);
        }
    }

    fn bury_if_idle(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        if !kept.doomed || kept.jobs > 0 || !kept.readers.is_empty() {
            return;
        }
        let fetches: Vec<_> = kept.asked.values().copied().collect();
        for fetch in fetches {
            if let Some(fetch) = self.fetches.get_mut(&fetch) {
                fetch.is_of_use = false;
            }
        }
        let gone = self.objects.remove(&object);
        self.close_idle_lanes(object.node);
        for parcel in gone.into_iter().flat_map(|kept| kept.arrived) {
            self.give_up(parcel);
        }
        self.resting.gone(object);
        self.timers.cancel(Timer::Harden(object));
        self.timers.cancel(Timer::Retry(object));
        if self.kept.remove(&object).is_some() {
            self.forget_hashes(object);
            self.discard(object);
        }
    }

    /// An object's file stands under a name of the shared folder: what is known of its chunks is
    /// what they are served by.
    pub(crate) fn object_placed(&mut self, object: ObjectId) {
        self.ancestors.forget(object);
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.doomed = true;
            kept.whole = false;
            kept.wanted.clear();
        }
        if self.kept.remove(&object).is_some() {
            self.discard(object);
        }
    }

    /// Puts the hashes of what was fetched on record.
    pub(crate) fn keep_hashes(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get(&object) else {
            return;
        };
        let hashes = kept.download.hashes().iter();
        let hashes: Vec<_> = hashes.map(|(&chunk, &hash)| (chunk, hash)).collect();
        for (chunk, hash) in hashes {
            self.hashes.entry(object).or_default().insert(chunk, hash);
            self.commits
                .put(records::hash(object, chunk), records::encode(&hash));
        }
    }

    /// Forgets the hashes of a version that nobody can be served any more.
    pub(crate) fn forget_hashes(&mut self, object: ObjectId) {
        if let Some(hashes) = self.hashes.remove(&object) {
            for chunk in hashes.into_keys() {
                self.commits.remove(records::hash(object, chunk));
            }
        }
    }

    /// A node's file holds a version no more: the hashes of that are forgotten, unless the file of
    /// a conflict copy, or of what that is a copy of, holds it too.
    pub(crate) fn let_go_of(&mut self, node: NodeId, object: ObjectId) {
        let nodes = [object.node, conflict::copy_of(object.version)];
        let holds = |other: &NodeId| {
            let placed = self.folder.placed(*other).filter(|_| *other != node);
            placed.is_some_and(|placed| placed.version == object.version)
        };
        if !nodes.iter().any(holds) {
            self.forget_hashes(object);
        }
    }

    /// The last handle of a file was closed.
    pub(crate) fn closed(&mut self, object: ObjectId) {
        self.unwant_idle(object);
        self.close_idle_lanes(object.node);
        if self.is_needed(object) {
            self.resting.used(object);
        } else if !self.is_ancestor(object) {
            self.doom(object);
        }
    }

    /// Returns whether a version is one that a file shows.
    pub(crate) fn is_needed(&self, object: ObjectId) -> bool {
        let node = object.node;
        let is_current = |content: &Content| content.stamp.dot == object.version;
        let is_shown = self.tree.node(node).is_some() || self.is_copied(object);
        is_shown && self.tree.registers().versions_of(node).any(is_current)
    }

    /// Returns whether a version is shown by a conflict copy: also where the file of which that
    /// is a copy was deleted.
    pub(crate) fn is_copied(&self, object: ObjectId) -> bool {
        let view = self.tree.node(conflict::copy_of(object.version));
        view.is_some_and(|view| view.object == Some(object))
    }
}

/// Reads a sidecar, of version 2 or 1: what that one lists are claims without hashes. Of version
/// 1, returns the bytes that it is rewritten to.
fn read_sidecar(
    bytes: &[u8],
    object: ObjectId,
    size: u64,
    salt: u64,
) -> Result<(Sidecar, Option<Vec<u8>>), SidecarError> {
    match version_of(bytes) {
        Ok(1) => {
            let listed = ChunkBitmap::decode(bytes, Some(size))?;
            let found = Sidecar::from_v1(listed, object, salt);
            let rewritten = found.encode(salt);
            Ok((found, Some(rewritten)))
        }
        Ok(_) | Err(_) => Sidecar::decode(bytes, Some((object, size))).map(|found| (found, None)),
    }
}
