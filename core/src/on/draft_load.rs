//! What a run before this one, or a failure of the disk, left of a draft.
//!
//! Law (P1, P2): what was acknowledged is there, and nothing is made up: what can't be proven is
//! said, and left where it is.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::action::DiskWish;
use crate::draft::journal::{Journal, JournalError, Record};
use crate::draft::overlay::{Overlay, Recovered};
use crate::draft::{Draft, DraftJob, Op, Stage};
use crate::draft_wish::{DraftFrom, DraftWish};
use crate::engine::Engine;
use crate::error::Fault;
use crate::fetch::sidecar::Sidecar;
use crate::ids::{Arrival, ChunkIx, NodeId, ObjectId};
use crate::limits::QUIET;
use crate::object;
use crate::on::disk::Job;
use crate::records::{DraftBase, DraftRecord, Unbacked};
use crate::time::WallTime;
use crate::timers::Timer;
use crate::tree::conflict;

impl Engine {
    /// Takes in the record of a draft.
    pub(crate) fn restore_draft(&mut self, node: NodeId, record: DraftRecord, lost: bool) {
        let from = match record.from {
            DraftBase::Nothing => DraftFrom::Nothing,
            DraftBase::Partial => DraftFrom::Partial,
            DraftBase::Complete => DraftFrom::Complete,
            // Of what is left of it nothing counts.
            DraftBase::Over => DraftFrom::Nothing,
            DraftBase::Gone(_) => {
                self.unbacked.insert(node, record);
                return;
            }
        };
        let mut draft = Draft::new(record.file, from, self.config.chunk_size, 0);
        draft.version = record.version;
        let version = record.version;
        let is_aside = [conflict::copy_of(version), conflict::aside_of(version)].contains(&node);
        if record.version != record.file.version && !is_aside {
            draft.of = node;
        }
        draft.journaled = record.version;
        let is_over = record.from == DraftBase::Over;
        draft.stage = if is_over {
            Stage::Removing
        } else {
            Stage::Loading
        };
        (draft.lost, draft.doubted) = (lost, lost);
        draft.is_restored = true;
        // Of its versions none is known to be synced.
        draft.hold = (!is_over).then_some(Arrival(1));
        self.drafts_on.insert(record.file, node);
        self.drafts.insert(node, draft);
    }

    /// Has the drafts of the run before found.
    pub(crate) fn load_drafts(&mut self) {
        let nodes: Vec<NodeId> = self.drafts.keys().copied().collect();
        for node in nodes {
            let draft = self.drafts.get(&node);
            let is_over = draft.is_some_and(|draft| draft.stage == Stage::Removing);
            let last = draft.map(Draft::last);
            let may_go = last.is_none_or(|last| self.may_go(last));
            if is_over || (may_go && !self.is_owed(node)) {
                self.remove_draft(node);
            } else {
                self.draft_job(node, DraftJob::Loaded, DraftWish::Load);
            }
        }
    }

    /// Returns whether the disk was not yet asked in vain, or with success, what is there of every
    /// draft of the run before.
    pub(crate) fn are_drafts_sought(&self) -> bool {
        let is_sought =
            |draft: &Draft| draft.is_restored && draft.stage == Stage::Loading && !draft.refused;
        self.drafts.values().any(is_sought)
    }

    /// Takes in the calls that came before that.
    pub(crate) fn pump_early(&mut self) {
        while !self.early.is_empty() && !self.are_drafts_sought() {
            if let Some((req, call)) = self.early.pop_front() {
                self.on_fs(req, call);
            }
        }
    }

    /// The disk has told what is there of a draft.
    pub(crate) fn on_draft_loaded(
        &mut self,
        node: NodeId,
        journal: Option<Vec<u8>>,
        file: Option<(u64, WallTime)>,
        sidecar: Option<Vec<u8>>,
    ) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let (object, version) = (draft.file, draft.version);
        let (from, is_sure) = (draft.from, !draft.lost);
        let is_begun = version != object.version || draft.overlay.is_changed();
        let has_journal = journal.is_some();
        let found = journal.map(|bytes| {
            let found = Journal::decode(&bytes)?;
            if found.header.file == object {
                Ok(found)
            } else {
                Err(JournalError::OtherFile)
            }
        });
        match (found, file) {
            (Some(Ok(found)), Some((len, mtime))) => {
                self.draft_found(node, &found, len, mtime, sidecar);
            }
            (_, None) => self.draft_absent(node, is_begun, has_journal),
            (None, Some(_)) if !is_begun && is_sure && from == DraftFrom::Partial => {
                // It was recorded, and ended before it began: what is beneath is as it was.
                self.forget_draft(node);
            }
            (None, Some((len, _))) => {
                let is_said = is_begun || draft.from != DraftFrom::Partial;
                let why = is_said.then(|| "its journal is not there".to_string());
                self.draft_unsaid(node, why, len, sidecar);
            }
            (Some(Err(why)), Some((len, _))) => {
                self.draft_unsaid(node, Some(why.to_string()), len, sidecar);
            }
        }
    }

    /// There is no file of a draft: it never began, or it has ended, or it is lost.
    fn draft_absent(&mut self, node: NodeId, is_begun: bool, has_journal: bool) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let file = draft.file;
        let object = draft.last();
        let is_settled = object != file && self.kept.contains_key(&object);
        // One that nobody is in need of was being removed when the run before ended, or the disk
        // refused that, and did it: only its record was left.
        let has_ended = is_settled || (draft.is_restored && !draft.lost && self.may_go(object));
        let size = match self.tree.registers().content(object).map(|it| &it.body) {
            Some(crate::tree::register::Body::File { size, .. }) => *size,
            Some(crate::tree::register::Body::Link { .. }) | None => 0,
        };
        if is_begun && !has_ended && size > 0 {
            if draft.from == DraftFrom::Nothing {
                self.note_unbacked(node, Unbacked::Empty);
            }
            self.draft_lost(node, "its file is not there".to_string());
            self.remember_unbacked();
            return;
        }
        if object != file {
            self.kept.remove(&file);
            self.commits.remove(crate::records::object(file));
        }
        // What was known of the file that it was written to is true of nothing that is there.
        let readers = self.drop_object(file);
        if has_journal {
            if let Some(draft) = self.drafts.get_mut(&node) {
                draft.keeps_base = true;
            }
            // Its bytes are not there: nothing is lost with the rest.
            self.mark_removing(node);
            self.draft_goes(node);
        } else {
            self.forget_draft(node);
        }
        for req in readers {
            self.read_again(req);
        }
    }

    /// Nothing tells what was written to a draft's file. A journal that a power loss took was never
    /// synced, nor was what it spoke of: nobody was told of a version of that.
    fn draft_unsaid(
        &mut self,
        node: NodeId,
        why: Option<String>,
        len: u64,
        sidecar: Option<Vec<u8>>,
    ) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let (file, from, lost) = (draft.file, draft.from, draft.lost);
        let is_published = draft.version != file.version;
        let salt = self.rng.next_u64();
        let found = sidecar.and_then(|bytes| {
            let found = Sidecar::decode(&bytes, Some((file, len))).ok()?;
            Some((found.header().file_size, found.doubted(salt)))
        });
        let beneath = found.as_ref().map(|(size, _)| *size);
        match from {
            DraftFrom::Nothing if lost => self.note_unbacked(node, Unbacked::Empty),
            DraftFrom::Partial if lost && is_published => {
                if let Some(size) = beneath {
                    self.note_unbacked(node, Unbacked::Beneath(size));
                }
            }
            DraftFrom::Nothing | DraftFrom::Partial | DraftFrom::Complete => {}
        }
        let is_partial = from == DraftFrom::Partial;
        if let Some((_, doubted)) = found.filter(|_| is_partial) {
            if let Some(why) = why {
                self.fault(Fault::Draft { object: file, why });
            }
            let cut = DiskWish::CutSidecar {
                object: file,
                len: 0,
            };
            self.job(Job::Marked(file), cut);
            if let Some(draft) = self.drafts.get_mut(&node) {
                draft.jobs += 1;
            }
            let what = DraftJob::Doubted;
            let mark = DiskWish::MarkSidecar {
                object: file,
                record: doubted,
            };
            self.job(Job::Draft { node, what }, mark);
        } else {
            let why = why.unwrap_or_else(|| "it is of another length".to_string());
            self.draft_lost(node, why);
            self.remember_unbacked();
        }
    }

    /// Nothing of what is beneath a draft counts that is not proven first: the draft is no more.
    pub(crate) fn draft_doubted(&mut self, node: NodeId) {
        self.forget_draft(node);
        self.remember_unbacked();
    }

    /// What is left of a draft proves nothing: it is left where it is, and said.
    fn draft_lost(&mut self, node: NodeId, why: String) {
        let Some(draft) = self.drafts.get(&node) else {
            return;
        };
        let object = draft.file;
        self.fault(Fault::Draft { object, why });
        self.kept.remove(&object);
        self.commits.remove(crate::records::object(object));
        let readers = self.drop_object(object);
        self.forget_draft(node);
        for req in readers {
            self.read_again(req);
        }
    }

    /// A draft goes on from what is there of it.
    fn draft_found(
        &mut self,
        node: NodeId,
        found: &Journal,
        len: u64,
        mtime: WallTime,
        sidecar: Option<Vec<u8>>,
    ) {
        let header = &found.header;
        let size_shown = self.size_shown(node);
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        let lost = draft.lost;
        let Recovered {
            mut overlay,
            mut records,
        } = Overlay::recover(header, &found.records, draft.journaled, len, lost);
        let is_restored = core::mem::take(&mut draft.is_restored);
        draft.is_unsure = false;
        draft.refused = false;
        if is_restored {
            (draft.mtime, draft.wall) = (mtime, mtime);
            let (last, mut size) = (draft.version, header.base_size);
            for record in &found.records {
                if let Record::Published {
                    version,
                    size: then,
                } = record
                    && *version == last
                {
                    size = *then;
                }
            }
            draft.published_size = size;
        } else {
            // What is known to have changed since the last publish is known better here.
            let (version, size) = (draft.version, draft.published_size);
            let published =
                (version != header.file.version).then_some(Record::Published { version, size });
            let from = len.min(draft.overlay.size());
            let longer = (len != draft.overlay.size()).then_some(Record::Beyond {
                chunk: overlay.chunk_of(from),
            });
            let marks = draft.overlay.marks();
            for record in published.into_iter().chain(marks).chain(longer) {
                overlay.apply(record);
                records.push(record);
            }
        }
        let file = draft.file;
        let from = draft.from;
        // What failed was done in part, and the kernel may have been told of the rest meanwhile.
        let is_other = draft.overlay.size() != overlay.size();
        draft.overlay = overlay;
        if draft.overlay.is_changed() {
            draft.changed_at.get_or_insert(self.now);
            // What failed may have changed it, and nobody need have it open or write again.
            self.timers.set(Timer::Quiet(node), self.now + QUIET);
        }
        if is_restored {
            draft.queue.push_back(Op::Sync { req: None });
        } else {
            draft.soft = true;
            self.drafts_to_sync.insert(node);
        }
        self.find_beneath(
            node,
            file,
            from,
            (header.base_size, header.chunk_size),
            sidecar,
            lost,
        );
        self.open_draft(node, &records, false);
        // Until it was found its version showed; a power loss may have taken what that was.
        if is_other || size_shown != self.size_shown(node) {
            self.forget_inode(node, true);
        }
        let readers = self
            .drafts
            .get_mut(&node)
            .map(|draft| core::mem::take(&mut draft.readers))
            .unwrap_or_default();
        for req in readers {
            self.read_again(req);
        }
    }

    /// Returns the size that a file shows, if it has a name.
    fn size_shown(&self, node: NodeId) -> Option<u64> {
        let view = self.tree.node(node).map(|view| view.size)?;
        Some(self.draft_face(node).map_or(view, |(size, _)| size))
    }

    /// Finds out what is here of the version beneath a draft.
    fn find_beneath(
        &mut self,
        node: NodeId,
        file: ObjectId,
        from: DraftFrom,
        (size, chunk_size): (u64, u32),
        sidecar: Option<Vec<u8>>,
        lost: bool,
    ) {
        if size == 0 || !self.keep_object(file, size, chunk_size) {
            return;
        }
        let salt = self.rng.next_u64();
        let Some(kept) = self.objects.get_mut(&file) else {
            return;
        };
        match from {
            DraftFrom::Nothing => return,
            DraftFrom::Complete => kept.stage = object::Stage::Complete,
            DraftFrom::Partial if kept.stage == object::Stage::Partial => {}
            DraftFrom::Partial => {
                kept.download.forget(size, chunk_size, self.now);
                kept.checking.clear();
                kept.storing.clear();
                kept.stage = object::Stage::Partial;
                let expect = Some((file, size));
                let read = sidecar.map(|bytes| {
                    let found = Sidecar::decode(&bytes, expect)?;
                    let doubted = lost.then(|| found.doubted(salt));
                    match &doubted {
                        Some(bytes) => Sidecar::decode(bytes, expect).map(|found| (found, doubted)),
                        None => Ok((found, None)),
                    }
                });
                match read {
                    Some(Ok((found, doubted))) if found.header().chunk_size == chunk_size => {
                        if let Some(doubted) = doubted {
                            self.rewrite_sidecar(file, doubted);
                        }
                        self.adopt(file, &found, salt);
                    }
                    Some(Ok(_)) | None => {
                        let why = "it is not there, or has chunks of another size".to_string();
                        self.fault(Fault::Sidecar { object: file, why });
                    }
                    Some(Err(why)) => {
                        let why = why.to_string();
                        self.fault(Fault::Sidecar { object: file, why });
                    }
                }
            }
        }
        let (Some(kept), Some(draft)) = (self.objects.get_mut(&file), self.drafts.get(&node))
        else {
            return;
        };
        for run in draft.overlay.written() {
            kept.download.written(run.0, run.1);
        }
        let first = ChunkIx(draft.overlay.chunks(draft.overlay.limit()));
        kept.download.written(first, u32::MAX - first.0);
    }
}
