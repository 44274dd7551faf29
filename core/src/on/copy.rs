//! Chunks are made of bytes that are here: of an earlier version, or of what a file of ours held.
//!
//! Law (P1, P5): what is here is named when a chunk is asked for, so that only what differs comes
//! over the wire; a chunk that its version says is as the base's is not asked for at all. Either
//! way bytes are taken by reading and hashing them, and are stored as any that came: only if all
//! of the chunk has the hash that it should have. Where it has not, the chunk is asked for whole.

use alloc::vec::Vec;

use crate::action::{Besides, DiskWish};
use crate::engine::Engine;
use crate::error::DiskError;
use crate::event::{DiskDone, Fingerprint};
use crate::fetch::download::Download;
use crate::fetch::record::Record;
use crate::fetch::sidecar::Sidecar;
use crate::folder::file_key;
use crate::ids::{AskId, ChunkHash, ChunkIx, Dot, NodeId, ObjectId, PayloadId};
use crate::limits::COPIES_MAX;
use crate::message::{Answer, Have, Role};
use crate::object::{Fare, Object, Parcel, Stage};
use crate::on::disk::Job;
use crate::on::placed::same_content;
use crate::on::serve::Serving;
use crate::place_wish::FileKey;
use crate::records::Holding;
use crate::time::Duration;
use crate::timers::Timer;
use crate::tree::name::Name;
use crate::tree::register::Content;

/// How long what was here of a file that was emptied is kept: `cp` and every shell's `>` empty a
/// file before they fill it again, often with much the same. By eye.
const REWRITE: Duration = Duration::from_secs(3);

/// Bytes that are here and may be a chunk's, or its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Where they lie, at the chunk's own offset.
    pub from: Source,
    /// What they are.
    pub have: Have,
}

/// Where bytes lie that may be a chunk's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// In this object: an ancestor, or the chunk's own.
    Object(ObjectId),
    /// In what stands for the file in the shared folder, with this fingerprint.
    Standing(Fingerprint),
}

/// A chunk that is being made of bytes that are here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copying {
    /// Of which object.
    pub object: ObjectId,
    /// Which chunk.
    pub chunk: ChunkIx,
    /// What its hash must be.
    pub hash: ChunkHash,
    /// What it took.
    pub fare: Fare,
}

/// A plain file whose bytes are of some version.
#[derive(Debug)]
pub(crate) enum PlainFile {
    /// One that stands in the shared folder.
    Stands(Vec<Name>),
    /// One that lies in the trash.
    Thrown(FileKey),
}

/// Where a chunk lies in a plain file.
#[derive(Debug)]
struct PlainBase {
    file: PlainFile,
    /// In bytes.
    offset: u64,
    /// In bytes.
    len: u32,
    /// The file's fingerprint.
    print: Fingerprint,
}

impl PlainFile {
    /// Returns the wish to read a chunk of it.
    pub(crate) fn read(self, offset: u64, len: u32, besides: Besides) -> DiskWish {
        match self {
            Self::Stands(path) => DiskWish::ReadChunk {
                path,
                offset,
                len,
                besides,
            },
            Self::Thrown(file) => DiskWish::ReadThrown {
                file,
                offset,
                len,
                besides,
            },
        }
    }
}

impl Engine {
    /// Keeps what is here of a version that was superseded, while the newer one fills; gives it
    /// up where that spares nobody anything.
    pub(crate) fn retire(&mut self, object: ObjectId) {
        if self.keep_back(object) {
            return;
        }
        let holds = match self.objects.get(&object) {
            Some(kept) => {
                let here = kept.held().have() > 0 || kept.claims().have() > 0;
                here || matches!(kept.stage, Stage::Finishing | Stage::Complete)
            }
            None => self.kept.contains_key(&object),
        };
        // A guest has one file for all versions of a target: the next one takes its place.
        let is_of_use = match self.config.role {
            // Who rewrites a file in place empties it first.
            Role::Sparse if holds && self.is_emptied(object.node) => {
                let timer = Timer::Emptied(object.node);
                self.timers.set_sooner(timer, self.now + REWRITE);
                true
            }
            Role::Sparse | Role::Full => holds && self.fills(object.node),
            Role::Guest => false,
        };
        // The file of a draft bears the name of what is beneath it.
        let is_drafted = self.drafts_on.contains_key(&object) || self.is_settling(object);
        if !is_of_use || is_drafted {
            self.doom(object);
            return;
        }
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.whole = false;
            kept.wanted.clear();
            let fetches: Vec<_> = kept.asked.values().copied().collect();
            for parcel in core::mem::take(&mut kept.arrived) {
                self.give_up(parcel);
            }
            for fetch in fetches {
                if let Some(fetch) = self.fetches.get_mut(&fetch) {
                    fetch.is_of_use = false;
                }
            }
            self.close_idle_lanes(object.node);
        }
        self.keep_ancestor(object);
    }

    /// Keeps an object as an ancestor.
    pub(crate) fn keep_ancestor(&mut self, object: ObjectId) {
        let objects = &self.objects;
        let held = |object: ObjectId| {
            let kept = objects.get(&object);
            kept.map_or(u64::MAX, |kept| match kept.stage {
                Stage::Complete | Stage::Finishing => kept.size(),
                Stage::Unknown
                | Stage::Loading
                | Stage::Absent
                | Stage::Creating
                | Stage::Partial
                | Stage::Syncing
                | Stage::Broken => kept.held().have_bytes(),
            })
        };
        let gone = self.ancestors.keep(object, held);
        if !self.objects.contains_key(&object) {
            self.ancestors.is_unknown(object);
        }
        if let Some(gone) = gone {
            self.doom(gone);
        }
    }

    /// Returns whether an object is an ancestor.
    pub(crate) fn is_ancestor(&self, object: ObjectId) -> bool {
        self.ancestors.has(object)
    }

    /// An object is asked for again: it is no ancestor, and is filled as any other.
    pub(crate) fn unretire(&mut self, object: ObjectId) {
        if !self.ancestors.has(object) {
            return;
        }
        self.ancestors.forget(object);
        if let Some(kept) = self.objects.get_mut(&object)
            && kept.stage == Stage::Partial
            && kept.writer.is_none()
        {
            // It was looked at to be read from, not to be gone on with.
            kept.stage = Stage::Unknown;
        }
    }

    /// Returns whether a file has a version of which not all is here.
    fn fills(&self, node: NodeId) -> bool {
        self.tree.node(node).is_some()
            && self.tree.registers().versions_of(node).any(|content| {
                let is_complete = |kept: &Object| kept.stage == Stage::Complete;
                let object = content.object();
                !content.is_empty()
                    && self.holder_of(object).is_none()
                    && self.kept.get(&object) != Some(&Holding::Complete)
                    && !self.objects.get(&object).is_some_and(is_complete)
            })
    }

    /// Tells whether there is nothing in a file.
    fn is_emptied(&self, node: NodeId) -> bool {
        let mut versions = self.tree.registers().versions_of(node);
        self.tree.node(node).is_some() && versions.any(Content::is_empty)
    }

    /// Gives up the ancestors of a file once they spare nobody anything.
    pub(crate) fn review_ancestors(&mut self, node: NodeId) {
        let timer = Timer::Emptied(node);
        let is_rewritten = self.timers.when(timer).is_some() && self.is_emptied(node);
        if self.ancestors.of(node).next().is_some() && !self.fills(node) && !is_rewritten {
            self.timers.cancel(timer);
            let over: Vec<ObjectId> = self.ancestors.of(node).collect();
            for object in over {
                self.doom(object);
            }
        }
    }

    /// Has the ancestors of a file looked at that nobody has looked at since the start; false
    /// while that is under way.
    pub(crate) fn recall_ancestors(&mut self, node: NodeId) -> bool {
        for object in self.ancestors.look(node) {
            self.job(Job::Recalled(object), DiskWish::LoadObject { object });
        }
        self.ancestors.are_known(node)
    }

    /// The disk has told what is stored of an ancestor, or of what is kept back.
    pub(crate) fn on_recalled(&mut self, object: ObjectId, outcome: Result<DiskDone, DiskError>) {
        self.ancestors.looked(object);
        let is_of_use = self.ancestors.has(object) || self.kept_back.contains(&object);
        if is_of_use && !self.objects.contains_key(&object) {
            match outcome {
                Ok(DiskDone::Loaded {
                    sidecar,
                    partial,
                    complete,
                }) => match self.recalled(object, sidecar, partial, complete) {
                    Some(found) => {
                        self.objects.insert(object, found);
                        self.resting.used(object);
                    }
                    None => self.doom(object),
                },
                Ok(other) => self.drop_payload(Ok(other)),
                // It is named to nobody, and goes with the others.
                Err(_) => {}
            }
        }
        self.serve_recalled(object);
        let waiting: Vec<ObjectId> = self
            .objects
            .iter()
            .filter(|(at, kept)| at.node == object.node && !kept.wanted.is_empty())
            .map(|(at, _)| *at)
            .collect();
        for object in waiting {
            self.queue(object);
        }
    }

    /// Peers that have asked for chunks of an object wait until it was looked at no longer; it may
    /// have gone meanwhile.
    fn serve_recalled(&mut self, object: ObjectId) {
        let is_kept = self.kept_back.contains(&object) || self.is_ancestor(object);
        let is_unread = is_kept && !self.objects.contains_key(&object);
        // How many bytes those want was not known.
        let waits = |serving: &Serving| serving.want.object == object && serving.len == 0;
        let asks = self.asks.iter().filter(|(_, serving)| waits(serving));
        let asks: Vec<AskId> = asks.map(|(ask, _)| *ask).collect();
        for ask in asks {
            if is_unread {
                self.answer(ask, Answer::Failed);
            } else {
                self.serve(ask);
            }
        }
    }

    /// Returns an ancestor as its files tell of it. Its size is on no record: of a complete file
    /// it is that of the file, and its chunks are as large as those of the version that fills.
    fn recalled(
        &self,
        object: ObjectId,
        sidecar: Option<Vec<u8>>,
        partial: Option<u64>,
        complete: Option<u64>,
    ) -> Option<Object> {
        let backoff = self.fetch_backoff();
        if let Some(size) = complete {
            let (_, chunk_size) = self.current(object.node)?;
            let mut found = Object::new(size, chunk_size, backoff, self.now)?;
            found.stage = Stage::Complete;
            return Some(found);
        }
        let sidecar = Sidecar::decode(&sidecar?, Some((object, partial?))).ok()?;
        let header = sidecar.header();
        let mut found = Object::new(
            header.file_size,
            header.chunk_size,
            backoff.clone(),
            self.now,
        )?;
        found.stage = Stage::Partial;
        found.download = Download::resume(&sidecar, self.now, backoff);
        Some(found)
    }

    /// Returns what is here in the place of a chunk: what was found in the object's own file, or
    /// what an ancestor of its file has there, the newest first.
    pub(crate) fn held_for(&self, object: ObjectId, chunk: ChunkIx) -> Option<Held> {
        let kept = self.objects.get(&object)?;
        if kept.plain.contains(&chunk) {
            return None;
        }
        let (_, len) = kept.held().chunk_range(chunk);
        if let Some(&hash) = kept.found.get(&chunk) {
            let have = Have { len, hash };
            let from = Source::Object(object);
            return Some(Held { from, have });
        }
        let held = |from| self.chunk_of(from, chunk, kept.held().chunk_size());
        let all = self.ancestors.of(object.node).filter(|at| *at != object);
        all.filter_map(held)
            .find(|held| held.have.len <= len)
            .or_else(|| {
                let beneath = (*kept.beneath.get(&chunk)?)?;
                self.held_beneath(object.node, beneath)
            })
    }

    /// Returns what an ancestor has at a chunk's place, if its chunks have this size.
    fn chunk_of(&self, from: ObjectId, chunk: ChunkIx, chunk_size: u32) -> Option<Held> {
        let kept = self.objects.get(&from)?;
        if kept.held().chunk_size() != chunk_size || chunk.0 >= kept.held().total() {
            return None;
        }
        let recorded = || self.hashes.get(&from)?.get(&chunk).copied();
        let hash = match kept.stage {
            Stage::Partial | Stage::Syncing => kept.download.hash(chunk)?,
            Stage::Finishing | Stage::Complete => kept.download.hash(chunk).or_else(recorded)?,
            Stage::Unknown | Stage::Loading | Stage::Absent | Stage::Creating | Stage::Broken => {
                return None;
            }
        };
        let (_, len) = kept.held().chunk_range(chunk);
        let have = Have { len, hash };
        let from = Source::Object(from);
        Some(Held { from, have })
    }

    /// Returns the base's chunk where a version says that its own is the same, and the base's is
    /// here; or that of the version as which it would be asked for.
    fn base_of(&self, object: ObjectId, chunk: ChunkIx) -> Option<Held> {
        let content = self.tree.registers().content(object);
        let base = content.and_then(|content| content.same_as(chunk));
        let asked = Some(self.asked_as(object, chunk)).filter(|asked| *asked != object.version);
        let mut both = base.into_iter().chain(asked);
        both.find_map(|version| self.chunk_as(object, chunk, version))
    }

    /// Returns a chunk as another version of its file has it, if that is here.
    fn chunk_as(&self, object: ObjectId, chunk: ChunkIx, version: Dot) -> Option<Held> {
        let kept = self.objects.get(&object)?;
        let from = self.keeper_of(ObjectId { version, ..object }, chunk)?;
        // It may be no ancestor: where a conflict copy shows it, it is filled as any other.
        let is_doomed = self.objects.get(&from).is_none_or(|base| base.doomed);
        if is_doomed || self.drafts_on.contains_key(&from) || kept.plain.contains(&chunk) {
            return None;
        }
        let held = self.chunk_of(from, chunk, kept.held().chunk_size())?;
        let known = kept.download.hash(chunk);
        let fits = known.is_none_or(|known| known == held.have.hash);
        (fits && held.have.len == kept.held().chunk_range(chunk).1).then_some(held)
    }

    /// Returns which object has a chunk of a version: that version, or another one of its file whose
    /// chunk came as that.
    pub(crate) fn keeper_of(&self, object: ObjectId, chunk: ChunkIx) -> Option<ObjectId> {
        let own = self.objects.get(&object);
        if own.is_some_and(|own| own.held().has(chunk)) {
            return Some(object);
        }
        let first = ObjectId {
            version: Dot::default(),
            ..object
        };
        let of = self.objects.range(first..);
        let mut of = of.take_while(|(at, _)| at.node == object.node);
        let has = |kept: &Object| {
            let is_it = kept.came_as.get(&chunk) == Some(&object.version);
            is_it && kept.held().has(chunk) && !kept.doomed
        };
        let other = of.find(|(_, kept)| has(kept)).map(|(at, _)| *at);
        other.or(own.map(|_| object))
    }

    /// Returns where the same chunk lies in a plain file of the shared folder, or in the trash: of
    /// a file that holds the version, or of one that holds a version of which it says that the
    /// chunk is as there.
    fn plain_base_of(&self, object: ObjectId, chunk: ChunkIx) -> Option<PlainBase> {
        if self.config.role != Role::Full {
            return None;
        }
        let kept = self.objects.get(&object)?;
        if kept.plain.contains(&chunk) {
            return None;
        }
        let base = self.tree.registers().content(object)?.same_as(chunk);
        let (file, print) = self
            .plain_file_of(object)
            .or_else(|| self.plain_file_between(object, base?))
            .or_else(|| {
                let node = object.node;
                let version = base?;
                self.plain_file_of(ObjectId { node, version })
            })?;
        let (offset, len) = kept.held().chunk_range(chunk);
        let has_all = offset.checked_add(len.into())? <= print.size;
        let chunk_size = u64::from(kept.held().chunk_size());
        // Of a file that was longer the last chunk says nothing of a shorter one's.
        let is_whole = u64::from(len) == chunk_size || offset + u64::from(len) == print.size;
        (has_all && is_whole).then_some(PlainBase {
            file,
            offset,
            len,
            print,
        })
    }

    /// Returns the plain file that holds a version: one that stands in the shared folder, also as
    /// a newer version of the same bytes, or one that lies in the trash.
    pub(crate) fn plain_file_of(&self, object: ObjectId) -> Option<(PlainFile, Fingerprint)> {
        let thrown = self.thrown.print(object.version);
        let Some(holder) = self.holder_of(object).or_else(|| self.told_anew(thrown?)) else {
            let print = *thrown?;
            return Some((PlainFile::Thrown(FileKey::from(&print)), print));
        };
        let print = self.folder.placed(holder)?.print;
        let path = self.folder.standing.path(holder)?;
        let is_sure = !self.folder.rechecks.contains_key(&holder);
        is_sure.then_some((PlainFile::Stands(path), print))
    }

    /// Returns the node whose file this is and stands: it holds what it held then, as a newer
    /// version.
    fn told_anew(&self, print: &Fingerprint) -> Option<NodeId> {
        let node = self.folder.node_of(file_key(print))?;
        let placed = self.folder.placed(node)?;
        same_content(&placed.print, print).then_some(node)
    }

    /// Returns the plain file of a node, if it holds a version that is known to lie between one
    /// and its base.
    fn plain_file_between(&self, object: ObjectId, base: Dot) -> Option<(PlainFile, Fingerprint)> {
        let node = object.node;
        let version = self.folder.placed(node)?.version;
        let stands = ObjectId { node, version };
        let is_between = self.is_between(stands, base, object);
        is_between.then(|| self.plain_file_of(stands)).flatten()
    }

    /// Returns whether a chunk need not be asked for.
    pub(crate) fn is_as_base(&self, object: ObjectId, chunk: ChunkIx) -> bool {
        self.base_of(object, chunk).is_some() || self.plain_base_of(object, chunk).is_some()
    }

    /// Takes a wanted chunk from the base; false if there is no room, or no such chunk there.
    pub(crate) fn copy_one(&mut self, object: ObjectId, chunk: ChunkIx) -> bool {
        if self.copies >= COPIES_MAX {
            return false;
        }
        if let Some(base) = self.plain_base_of(object, chunk) {
            self.copy_plain(object, chunk, base);
            return true;
        }
        let Some(held) = self.base_of(object, chunk) else {
            return false;
        };
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.wanted.remove(&chunk);
        }
        self.copies += 1;
        let fare = Fare {
            link: None,
            len: held.have.len,
            wire: 0,
        };
        self.take_held(object, chunk, held, held.have.hash, None, fare);
        true
    }

    /// Reads a chunk of the plain file that holds the base.
    fn copy_plain(&mut self, object: ObjectId, chunk: ChunkIx, base: PlainBase) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.wanted.remove(&chunk);
            kept.copying.insert(chunk);
        }
        self.copies += 1;
        let PlainBase {
            file,
            offset,
            len,
            print,
        } = base;
        let is_thrown = matches!(file, PlainFile::Thrown(_));
        let job = Job::CopiedPlain {
            object,
            chunk,
            len,
            print,
            is_thrown,
        };
        let wish = file.read(offset, len, Besides::Nothing);
        self.object_job(object, job, wish);
    }

    /// A chunk of the plain file was read: it is the base's only if the file was the one that
    /// holds the base, before and after.
    pub(crate) fn on_copied_plain(
        &mut self,
        (object, chunk): (ObjectId, ChunkIx),
        len: u32,
        (print, is_thrown): (Fingerprint, bool),
        outcome: Result<DiskDone, DiskError>,
    ) {
        let fare = Fare {
            link: None,
            len,
            wire: 0,
        };
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.copying.remove(&chunk);
        }
        // In the trash a file has another change time than it had under its name.
        let is_file = |print: &Fingerprint, found: &Fingerprint| {
            print == found || (is_thrown && same_content(print, found))
        };
        match outcome {
            Ok(DiskDone::Chunk {
                payload,
                len: found,
                hash,
                before,
                after,
                nature,
            }) if found == len
                && is_file(&print, &before)
                && before == after
                && (is_thrown || self.is_as_told(print, (object, chunk), hash)) =>
            {
                let mut parcel = Parcel {
                    chunk,
                    hash,
                    payload: Some(payload),
                    fare,
                };
                if nature.zeros {
                    parcel.payload = None;
                    self.act(crate::action::Action::Drop { payload });
                }
                self.store_chunk(object, parcel);
            }
            other => {
                self.drop_payload(other);
                self.landed(fare);
                if let Some(kept) = self.objects.get_mut(&object) {
                    kept.plain.insert(chunk);
                }
                self.look_at_node(object.node);
                self.want_again(object, chunk);
            }
        }
    }

    /// Returns whether a chunk of a plain file has the hash that it is known by, from now on if not
    /// before: what was made of it is not to be joined with what the file holds later.
    fn is_as_told(
        &mut self,
        print: Fingerprint,
        (object, chunk): (ObjectId, ChunkIx),
        hash: ChunkHash,
    ) -> bool {
        let kept = self.objects.get(&object);
        let chunk_size = kept.map(|kept| kept.held().chunk_size());
        let Some(node) = self.folder.node_of(file_key(&print)) else {
            return false;
        };
        let sizes = self.standing_sizes(node);
        let (Some(placed), true) = (
            self.folder.placed(node).filter(|at| at.print == print),
            sizes.map(|(_, chunk_size)| chunk_size) == chunk_size,
        ) else {
            // Nobody knows that file by chunks as these.
            return true;
        };
        let version = placed.version;
        let held = self.held_object(node).map(|(object, _)| object);
        let file = held.unwrap_or(ObjectId { node, version });
        let known = self.hashes.get(&file).and_then(|all| all.get(&chunk));
        match known {
            Some(known) => *known == hash,
            None => {
                self.record_hash(file, chunk, hash);
                true
            }
        }
    }

    /// Takes what can be had without anybody being asked, while nobody can be.
    pub(crate) fn pump_copies(&mut self) {
        let waiting: Vec<ObjectId> = self.demand.iter().copied().collect();
        for object in waiting {
            if self.copies >= COPIES_MAX {
                return;
            }
            let says = |object| self.tree.registers().content(object)?.changed.as_ref();
            let is_told = says(object).is_some() || self.plain_file_of(object).is_some();
            if !is_told || !self.recall_ancestors(object.node) {
                continue;
            }
            let Some(kept) = self.objects.get(&object).filter(|kept| !kept.pausing) else {
                continue;
            };
            let chunks: Vec<ChunkIx> = kept.wanted.iter().copied().collect();
            for chunk in chunks {
                self.copy_one(object, chunk);
            }
        }
    }

    /// Makes a chunk of bytes that are here, and of those in `tail` behind them.
    pub(crate) fn take_held(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        held: Held,
        hash: ChunkHash,
        tail: Option<PayloadId>,
        fare: Fare,
    ) {
        let Some(kept) = self.objects.get_mut(&object) else {
            self.give_up(Parcel {
                chunk,
                hash,
                payload: tail,
                fare,
            });
            return;
        };
        let (offset, _) = kept.held().chunk_range(chunk);
        let len = held.have.len;
        let besides = tail.map_or(Besides::Nothing, Besides::Join);
        let wish = match held.from {
            Source::Object(from) if from == object => {
                self.prove_found(object, chunk, hash, fare);
                return;
            }
            Source::Object(from) => DiskWish::ReadStored {
                object: from,
                offset,
                len,
                besides,
            },
            Source::Standing(print) => {
                let stands = self.standing_file(object.node);
                let Some((path, _)) = stands.filter(|(_, stands)| *stands == print) else {
                    self.drop_tail(tail);
                    self.landed(fare);
                    self.ask_whole(object, chunk);
                    return;
                };
                PlainFile::Stands(path).read(offset, len, besides)
            }
        };
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.copying.insert(chunk);
        }
        let copying = Copying {
            object,
            chunk,
            hash,
            fare,
        };
        self.object_job(object, Job::Copied(copying), wish);
    }

    fn drop_tail(&mut self, tail: Option<PayloadId>) {
        if let Some(payload) = tail {
            self.act(crate::action::Action::Drop { payload });
        }
    }

    /// What was here is not what it was thought to be: the chunk's owner is asked for all of it.
    fn ask_whole(&mut self, object: ObjectId, chunk: ChunkIx) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.plain.insert(chunk);
        }
        self.want_again(object, chunk);
    }

    /// Bytes were read that may be a chunk's.
    pub(crate) fn on_copied(&mut self, copying: Copying, outcome: Result<DiskDone, DiskError>) {
        let Copying {
            object,
            chunk,
            hash,
            fare,
        } = copying;
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.copying.remove(&chunk);
        }
        match outcome {
            Ok(
                DiskDone::Read {
                    payload,
                    len,
                    hash: found,
                    nature,
                }
                | DiskDone::Chunk {
                    payload,
                    len,
                    hash: found,
                    nature,
                    ..
                },
            ) if len == fare.len && found == hash => {
                let mut parcel = Parcel {
                    chunk,
                    hash,
                    payload: Some(payload),
                    fare,
                };
                if nature.zeros {
                    parcel.payload = None;
                    self.act(crate::action::Action::Drop { payload });
                }
                self.store_chunk(object, parcel);
            }
            other => {
                // What was here is not what it was thought to be, or can't be read: no fault of
                // the chunk's owner, who is asked for all of it.
                self.drop_payload(other);
                self.landed(fare);
                self.ask_whole(object, chunk);
            }
        }
    }

    /// What was found in an object's own file is what its owner has: its record is all it lacks.
    fn prove_found(&mut self, object: ObjectId, chunk: ChunkIx, hash: ChunkHash, fare: Fare) {
        self.landed(fare);
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        let is_found = kept.found.remove(&chunk) == Some(hash);
        let (true, Stage::Partial, Some(writer)) = (is_found, kept.stage, kept.writer.as_mut())
        else {
            self.want_again(object, chunk);
            return;
        };
        let record = writer.append(Record::Chunk { chunk, hash }).to_vec();
        kept.download.arrived(self.now, chunk, hash);
        kept.soft = true;
        self.counters.bytes_spared += u64::from(fare.len);
        let wish = DiskWish::MarkSidecar { object, record };
        self.object_job(object, Job::Marked(object), wish);
        self.want_progress(object);
        self.wake(object);
        self.finish_if_complete(object);
    }
}
