//! What was written becomes a version, is synced, and comes to rest.
//!
//! Law (P2): a version is told to nobody before its bytes were synced, and an application that
//! asked for that is answered when both are: bytes, and the record of the version. A draft comes
//! to rest only when it is recorded as an object; until its files are those of the object, its
//! own record stays, and the end is done again after a kill.

use alloc::vec::Vec;

use crate::action::{DiskWish, FsReply};
use crate::commits::After;
use crate::draft::journal::Record;
use crate::draft::{DraftJob, Op, Stage};
use crate::draft_wish::DraftWish;
use crate::engine::Engine;
use crate::fetch::record::{Header, Record as Kept, SidecarWriter};
use crate::ids::{ChunkHash, ChunkIx, Dot, NodeId, ObjectId, ReqId};
use crate::limits::{CHANGED_RUNS_MAX, JOURNAL_RECORDS_MAX};
use crate::on::disk::Job;
use crate::on::draft_disk::Turn;
use crate::on::seen::day_of;
use crate::records::{self, Holding};
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::{Body, Content, Entry, Register};
use crate::tree::runs::{Run, Runs};

/// Chunks that are hashed at once for a sidecar.
const HASHES_AT_ONCE: u32 = 4;

impl Engine {
    /// Returns whether what is written to a file is somebody's: it has a name, though it may be
    /// shown as one with an equal file of that name; or it lost its last name to a peer, who did
    /// not know of the edit. That beats the delete (P3).
    pub(crate) fn is_owed(&self, node: NodeId) -> bool {
        let mut entries = self.tree.registers().entries_of(node);
        let is_named =
            |entry: &Entry| entry.deleted.is_none() || !self.me.is(entry.stamp.dot.actor);
        self.tree.node(node).is_some() || entries.any(is_named)
    }

    /// Makes a version of what was changed, if anything was and the file has a name.
    pub(crate) fn publish(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.born = None;
        if !draft.overlay.is_changed() || !self.is_owed(node) {
            return;
        }
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        let (size, chunk_size) = (draft.overlay.size(), draft.overlay.chunk_size());
        let (base, mtime, wall) = (draft.version, draft.mtime, draft.wall);
        // Of what lies beneath: whoever has that need not have had what was published since.
        let is_of_node = draft.file.node == node;
        let began = if is_of_node { draft.file.version } else { base };
        let runs = draft.overlay.unlike_base().into_iter();
        let runs: Vec<Run> = runs.map(|(first, count)| Run { first, count }).collect();
        // A conflict copy was made on a version of another node.
        let can_say = runs.len() <= CHANGED_RUNS_MAX && is_of_node;
        let changed = can_say.then(|| Runs::parse(runs).ok()).flatten();
        self.stand_alone(node);
        self.own_attrs(node);
        let last = self.drafts.get(&node).map(crate::draft::Draft::last);
        let is_held = last.is_some_and(|last| last.node == node && self.is_held(last));
        let (context, beside) = self.tree.registers().context_for(node, Some(base));
        let stamp = self.stamp();
        self.end_twins(node, base, Some(stamp));
        if let Some(draft) = self.drafts.get_mut(&node) {
            let version = stamp.dot;
            // Where none is known to be held, the one before may have come as far as to its place.
            let is_guess = draft.held.is_none() && draft.version != draft.file.version;
            if is_held || is_guess {
                draft.held = Some(draft.version);
            }
            (draft.version, draft.of) = (version, node);
            draft.published_size = size;
            draft.changed_at = None;
            let record = Record::Published { version, size };
            draft.pending.push(record);
            draft.overlay.apply(record);
            let stored = records::encode(&draft.record());
            self.commits.put(records::draft(node), stored);
        }
        let names = self.tree.node(node).map(|view| view.nlink);
        // The kernel has the bytes: it was they that it gave us.
        let ino = self.inodes.get(node);
        let is_new = ino.is_some_and(|ino| self.hush.inodes.insert(ino));
        self.make_here(Register::Content(Content {
            node,
            stamp,
            context,
            beside,
            author: self.config.name.clone(),
            day: day_of(wall),
            mtime,
            body: Body::File { size, chunk_size },
            base: Some(began),
            changed,
        }));
        if let Some(ino) = ino.filter(|_| is_new) {
            self.hush.inodes.remove(&ino);
        }
        let object = ObjectId {
            node,
            version: stamp.dot,
        };
        self.show_unnamed(object, (size, chunk_size), mtime);
        let shown = self.tree.node(node).map(|view| (view.version, view.nlink));
        if shown.map(|(version, _)| version) != Some(Some(stamp.dot)) {
            // Another version shows, and it was ours that the kernel was shown till now.
            self.forget_inode(node, true);
        } else if shown.map(|(_, names)| names) != names {
            // A peer had removed a name of it, which it has again.
            self.forget_inode(node, false);
        }
        self.forget_hashes(ObjectId {
            node,
            version: base,
        });
        self.timers.cancel(Timer::Quiet(node));
        let last = self.tree.registers().last_arrival();
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.hold.get_or_insert(last);
        }
        self.drafts_to_sync.insert(node);
        self.want_unfilled(node);
    }

    /// A sync in the background has ended, one way or the other.
    pub(crate) fn sync_ended(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            if core::mem::take(&mut draft.syncing) {
                self.draft_syncs = self.draft_syncs.saturating_sub(1);
            }
            if draft.hold.is_some() {
                self.drafts_to_sync.insert(node);
            }
        }
    }

    /// A draft was synced.
    pub(crate) fn draft_synced(&mut self, node: NodeId, version: Dot, req: Option<ReqId>) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.journaling = false;
        if draft.version == version {
            draft.hold = None;
        }
        self.sync_ended(node);
        if let Some(req) = req {
            self.reply_synced(req, Some(node));
        }
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let is_long = draft
            .writer
            .as_ref()
            .is_some_and(|writer| writer.records() > JOURNAL_RECORDS_MAX);
        if is_long && draft.is_idle() && !draft.overlay.is_changed() && draft.hold.is_none() {
            let published = (version != draft.file.version).then_some(Record::Published {
                version,
                size: draft.published_size,
            });
            let mut records = draft.overlay.records(published);
            records.push(Record::Synced);
            self.open_draft(node, &records, false);
        }
    }

    /// Nothing waits to be done with a draft: it comes to rest, if nobody has it open.
    pub(crate) fn draft_rests(&mut self, node: NodeId) -> Turn {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return Turn::Wait;
        };
        if !draft.is_idle() {
            return Turn::Wait;
        }
        let may_move = draft.stage == Stage::Open && !draft.overlay.is_changed();
        if may_move && self.draft_moves_on(node) {
            // Its last version is a conflict copy's from now on.
            return Turn::Wait;
        }
        let ino = self.inodes.get(node);
        let is_open = ino.is_some_and(|ino| self.handles.opens_of(ino) > 0);
        let Some(draft) = self.drafts.get_mut(&node).filter(|_| !is_open) else {
            return Turn::Wait;
        };
        draft.born = None;
        let is_changed = draft.overlay.is_changed();
        let (object, file) = (draft.last(), draft.file);
        if is_changed && self.is_owed(node) {
            // Its time comes.
            return Turn::Wait;
        }
        let may_go = self.may_go(object);
        if is_changed {
            // What was written since is nobody's, and stands over bytes of its last version: what
            // is left of that stays until a full replica has all of it.
            return if may_go {
                self.end_draft(node, false)
            } else {
                Turn::Wait
            };
        }
        let is_begun = object != file;
        let is_wanted = self.is_needed(object) || !may_go;
        if is_wanted && is_begun && !self.is_held(object) && !self.is_draft_whole(node) {
            // What is not here of it can be had as nothing but what is beneath, until a full
            // replica holds it.
            self.want_unfilled(node);
            return Turn::Wait;
        }
        self.end_draft(node, is_wanted)
    }

    /// Ends a draft that nothing is under way on: as its last version, or without a trace.
    fn end_draft(&mut self, node: NodeId, is_wanted: bool) -> Turn {
        let Some(draft) = self.drafts.get(&node) else {
            return Turn::Wait;
        };
        if draft.stage == Stage::Closed {
            self.forget_draft(node);
            return Turn::Wait;
        }
        let is_fetching = self
            .objects
            .get(&draft.file)
            .is_some_and(|kept| kept.jobs > 0 || !kept.storing.is_empty());
        if is_fetching {
            return Turn::Wait;
        }
        if !is_wanted || draft.overlay.size() == 0 {
            self.remove_draft(node);
            return Turn::Wait;
        }
        if draft.hold.is_some() || draft.soft {
            self.drafts_to_sync.insert(node);
            return Turn::Wait;
        }
        if self.want_unfilled(node) {
            return Turn::Wait;
        }
        self.settle_draft(node);
        Turn::Wait
    }

    /// Removes what is on disk of a draft, once what says that it is of no use survives power loss:
    /// else its file could come back without it.
    pub(crate) fn remove_draft(&mut self, node: NodeId) {
        self.mark_removing(node);
        if let Some(after) = self.commits.then_hard(After::Remove(node)) {
            self.follow(after);
        }
    }

    /// Has a draft be about to be removed, and something be under way until it is.
    pub(crate) fn mark_removing(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.stage = Stage::Removing;
            draft.hold = None;
            draft.born = None;
            draft.jobs += 1;
        }
    }

    /// A draft's files may go.
    pub(crate) fn draft_goes(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node)
            && draft.stage == Stage::Removing
        {
            draft.jobs = draft.jobs.saturating_sub(1);
            self.draft_job(node, DraftJob::Removed, DraftWish::Remove);
        }
    }

    /// A draft's files are removed.
    pub(crate) fn draft_removed(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let (file, last) = (draft.file, draft.last());
        let keeps_base = draft.keeps_base;
        let readers = if keeps_base {
            Vec::new()
        } else {
            self.forget_stored(file);
            self.drop_object(file)
        };
        if last != file && !self.is_needed(last) {
            self.forget_hashes(last);
        }
        self.forget_draft(node);
        for req in readers {
            self.read_again(req);
        }
    }

    pub(crate) fn forget_stored(&mut self, object: ObjectId) {
        self.kept.remove(&object);
        self.commits.remove(records::object(object));
        self.forget_hashes(object);
    }

    /// A draft whose version is not shown any more makes room for one on that which is: true if
    /// it does, and what waits to be written waits for that.
    pub(crate) fn draft_moves_on(&mut self, node: NodeId) -> bool {
        let shown = self.shown_version(node);
        let Some(draft) = self.drafts.get_mut(&node) else {
            return false;
        };
        let (version, object) = (draft.version, draft.last());
        if shown.is_none_or(|shown| shown == Some(version)) || draft.stays(version) {
            return false;
        }
        if !draft.is_idle() {
            return true;
        }
        let is_wanted = self.is_needed(object) || !self.may_go(object);
        let Some(draft) = self.drafts.get_mut(&node) else {
            return false;
        };
        if is_wanted && draft.stage == Stage::Open {
            if draft.hold.is_some() || draft.soft {
                draft.queue.push_front(Op::Sync { req: None });
                self.pump_draft(node);
                return true;
            }
            if !self.is_draft_whole(node) {
                // What it lacks can be had as nothing but what is beneath.
                self.set_draft_aside(node);
                return true;
            }
        }
        self.end_draft(node, is_wanted);
        true
    }

    /// Has a draft go with the conflict copy that shows its last version, or be kept out of sight
    /// where that has been edited: what waits to be written is written to the version that its file
    /// shows.
    fn set_draft_aside(&mut self, node: NodeId) {
        self.timers.cancel(Timer::Quiet(node));
        self.sync_ended(node);
        self.drafts_to_sync.remove(&node);
        let Some(mut draft) = self.drafts.remove(&node) else {
            return;
        };
        let mut copy = conflict::copy_of(draft.version);
        let is_edited = self.tree.registers().versions_of(copy).next().is_some();
        if is_edited || self.drafts.contains_key(&copy) {
            copy = conflict::aside_of(draft.version);
        }
        let queue = core::mem::take(&mut draft.queue);
        draft.attended = false;
        self.commits.remove(records::draft(node));
        let record = records::encode(&draft.record());
        self.commits.put(records::draft(copy), record);
        self.drafts_on.insert(draft.file, copy);
        self.drafts.insert(copy, draft);
        self.pump_draft(copy);
        for op in queue {
            self.do_anew(node, op);
        }
    }

    /// Has a draft recorded as the object that its last version is.
    fn settle_draft(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let object = draft.last();
        let is_all = self.is_draft_whole(node);
        if !is_all && !self.has_hashes(node) {
            return;
        }
        let holding = if is_all {
            Holding::Complete
        } else {
            Holding::Partial
        };
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.stage = Stage::Settling;
            draft.is_unsure = true;
        }
        self.hold(object, holding);
        self.commits.harden();
        self.commits.then(After::Settle(node));
    }

    fn is_draft_whole(&self, node: NodeId) -> bool {
        let Some(draft) = self.drafts.get(&node) else {
            return false;
        };
        match draft.from {
            crate::draft_wish::DraftFrom::Nothing | crate::draft_wish::DraftFrom::Complete => true,
            crate::draft_wish::DraftFrom::Partial => self
                .objects
                .get(&draft.file)
                .is_some_and(|kept| kept.download.is_complete()),
        }
    }

    /// Returns the hash that a chunk of a draft is known to have.
    fn draft_hash(&self, node: NodeId, chunk: ChunkIx) -> Option<ChunkHash> {
        let draft = self.drafts.get(&node)?;
        if draft.overlay.is_base(chunk) {
            return self.objects.get(&draft.file)?.download.hash(chunk);
        }
        let recorded = self.hashes.get(&draft.last());
        let recorded = recorded.and_then(|hashes| hashes.get(&chunk)).copied();
        recorded.or_else(|| draft.hashes.get(&chunk).copied())
    }

    /// Returns whether the hashes of all chunks that are here are known; others are found.
    fn has_hashes(&mut self, node: NodeId) -> bool {
        let Some(draft) = self.drafts.get(&node) else {
            return false;
        };
        let object = draft.file;
        let size = draft.overlay.size();
        let mut wanting = Vec::new();
        for chunk in (0..draft.overlay.chunks(size)).map(ChunkIx) {
            let is_here = draft.overlay.is_whole(chunk, draft.beneath(&self.objects));
            if is_here && self.draft_hash(node, chunk).is_none() {
                wanting.push(chunk);
                if wanting.len() as u64 >= u64::from(HASHES_AT_ONCE) {
                    break;
                }
            }
        }
        let has_all = wanting.is_empty();
        for chunk in wanting {
            let Some(draft) = self.drafts.get_mut(&node) else {
                return false;
            };
            draft.jobs += 1;
            let offset = draft.overlay.start(chunk);
            let chunk_size = draft.overlay.chunk_size();
            let left = size - offset;
            let len = u32::try_from(left).map_or(chunk_size, |left| left.min(chunk_size));
            let what = DraftJob::Hashed(chunk);
            let wish = DiskWish::HashChunk {
                object,
                offset,
                len,
            };
            self.job(Job::Draft { node, what }, wish);
        }
        has_all
    }

    /// A draft is on record as an object: its file becomes that.
    pub(crate) fn draft_settles(&mut self, node: NodeId) {
        let salt = self.rng.next_u64();
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        if draft.stage != Stage::Settling {
            return;
        }
        let object = draft.last();
        let sidecar = if self.is_draft_whole(node) {
            None
        } else {
            Some(self.settled_sidecar(node, object, salt))
        };
        let wish = DraftWish::Settle { object, sidecar };
        self.draft_job(node, DraftJob::Settled, wish);
    }

    /// Returns the sidecar of a draft's last version.
    fn settled_sidecar(&self, node: NodeId, object: ObjectId, salt: u64) -> Vec<u8> {
        let Some(draft) = self.drafts.get(&node) else {
            return Vec::new();
        };
        let size = draft.overlay.size();
        let header = Header {
            object,
            file_size: size,
            chunk_size: draft.overlay.chunk_size(),
            salt,
        };
        let (mut writer, head) =
            SidecarWriter::create(&header).expect("a draft's sizes were found possible");
        let mut bytes = head.to_vec();
        let mut claims = Vec::new();
        for chunk in (0..draft.overlay.chunks(size)).map(ChunkIx) {
            let Some(hash) = self.draft_hash(node, chunk) else {
                continue;
            };
            if draft.overlay.is_whole(chunk, draft.beneath(&self.objects)) {
                bytes.extend(writer.append(Kept::Chunk { chunk, hash }));
            } else if draft.overlay.is_base(chunk) {
                claims.push(Kept::Chunk { chunk, hash });
            }
        }
        let upto = writer.records();
        bytes.extend(writer.append(Kept::Durable { upto }));
        for claim in claims {
            bytes.extend(writer.append(claim));
        }
        bytes
    }

    /// A draft has become an object.
    pub(crate) fn draft_settled(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let (file, object) = (draft.file, draft.last());
        if object != file {
            self.forget_stored(file);
        }
        let readers = self.drop_object(file);
        self.forget_draft(node);
        for req in readers {
            self.read_again(req);
        }
        if !self.is_needed(object) && !self.is_held_open(object) {
            self.doom(object);
        }
        self.review_ancestors(node);
    }

    /// Does something with a file whose draft has ended meanwhile.
    pub(crate) fn do_anew(&mut self, node: NodeId, op: Op) {
        match op {
            Op::Write {
                offset, len, wall, ..
            } => {
                let end = offset.saturating_add(len.into());
                self.change_draft(node, op, end, wall);
            }
            Op::Resize { size, wall, .. } => self.change_draft(node, op, size, wall),
            Op::Touch { .. } | Op::Harden => {}
            Op::Publish { req } => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.queue.push_back(op);
                } else if let Some(req) = req {
                    self.reply_stored(req, FsReply::Done);
                }
            }
            Op::Sync { req } => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.queue.push_back(op);
                } else if let Some(req) = req {
                    self.reply_synced(req, Some(node));
                }
            }
        }
    }

    /// Has every draft end as far as it can, before the process does.
    pub(crate) fn stop_drafts(&mut self) {
        let nodes: Vec<NodeId> = self.drafts.keys().copied().collect();
        for node in nodes {
            if let Some(draft) = self.drafts.get_mut(&node) {
                draft.queue.push_back(Op::Sync { req: None });
                self.pump_draft(node);
            }
        }
    }
}
