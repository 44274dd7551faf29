//! Drafts: files of a sparse store while they are being written.
//!
//! Law (P1, P2): a draft is the file of the version on which it began, written in place. What its
//! bytes are is told by three things on disk and nothing else: the file itself, the sidecar of
//! the version beneath (where that is not all here), and the journal. What waits for the disk is
//! done in the order in which it was asked for; one wish at a time appends to the journal.

pub mod journal;
pub mod overlay;
pub mod spans;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::Shown;
use crate::draft::journal::{JournalWriter, Record};
use crate::draft::overlay::{Overlay, Plan};
use crate::draft_wish::DraftFrom;
use crate::ids::{Arrival, AskId, ChunkHash, ChunkIx, Dot, NodeId, ObjectId, PayloadId, ReqId};
use crate::object::{Fare, Object};
use crate::records::{DraftBase, DraftRecord};
use crate::time::{Time, WallTime};

/// How far a draft is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What is beneath it is being found, or made.
    Base,
    /// Its record is being stored.
    Recording,
    /// Nothing of it need be on disk yet.
    Closed,
    /// The disk is asked what is there.
    Loading,
    /// Its journal is being put in place.
    Opening,
    /// It is written to.
    Open,
    /// The disk refused something; it is looked at again once no job is under way.
    Broken,
    /// Its last version is on record as an object; the file becomes that.
    Settling,
    /// Its files are being removed.
    Removing,
}

/// Something to be done in its turn.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Bytes are written.
    Write {
        /// Whose request.
        req: ReqId,
        /// From which offset, in bytes.
        offset: u64,
        /// Whether from the end of the file, wherever that is.
        append: bool,
        /// The bytes.
        payload: PayloadId,
        /// How many.
        len: u32,
        /// The wall clock.
        wall: WallTime,
    },
    /// The file is cut, or extended.
    Resize {
        /// Whose request.
        req: ReqId,
        /// To this length in bytes.
        size: u64,
        /// The wall clock.
        wall: WallTime,
        /// What was shown of it when that was asked for.
        shown: Option<Shown>,
        /// Of which version that was.
        of: Option<Dot>,
    },
    /// Its modification time is set by hand.
    Touch {
        /// To this.
        mtime: WallTime,
    },
    /// What was changed becomes a version.
    Publish {
        /// Whose request, if anybody waits.
        req: Option<ReqId>,
    },
    /// That, and its bytes are synced.
    Sync {
        /// Whose request, if anybody waits.
        req: Option<ReqId>,
    },
    /// The bytes of its last version are synced; what was written since stays what it is.
    Harden,
}

/// What a job on a draft was for.
#[derive(Clone, Debug)]
pub(crate) enum DraftJob {
    /// Its journal is put in place.
    Opened,
    /// What is there of it is found.
    Loaded,
    /// What is beneath it is to be proven, once more.
    Doubted,
    /// Bytes are written.
    Wrote {
        /// Whose request.
        req: ReqId,
        /// Which of the changes under way.
        nr: u64,
        /// The records that go with it.
        plan: Plan,
        /// The wall clock.
        wall: WallTime,
        /// Whether they went elsewhere than the kernel takes it.
        moved: bool,
    },
    /// It is cut or extended.
    Resized {
        /// Whose request.
        req: ReqId,
        /// Which of the changes under way.
        nr: u64,
        /// To this length in bytes.
        size: u64,
        /// The records that go with it.
        after: Vec<Record>,
        /// The wall clock.
        wall: WallTime,
        /// What was shown of it when that was asked for.
        shown: Option<Shown>,
    },
    /// Records are appended.
    Marked(Vec<Record>),
    /// A chunk of the version beneath is put around what was written.
    Filled {
        /// Which chunk.
        chunk: ChunkIx,
        /// Its hash.
        hash: ChunkHash,
        /// What it took to get it.
        fare: Fare,
    },
    /// Its modification time is set.
    Touched,
    /// It is synced.
    Synced {
        /// As of which version.
        version: Dot,
        /// Whose request, if anybody waits.
        req: Option<ReqId>,
    },
    /// A chunk is hashed, for the sidecar of what it settles as.
    Hashed(ChunkIx),
    /// It became an object.
    Settled,
    /// Its files are removed.
    Removed,
}

/// A draft.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Under the name of which object it lies.
    pub file: ObjectId,
    /// What that held.
    pub from: DraftFrom,
    /// The last version that was published of it: at first the one on which it began.
    pub version: Dot,
    /// The last version before it that a full replica holds, as far as is known.
    pub held: Option<Dot>,
    /// The node whose version that is: of a conflict copy that nobody has edited, the other one.
    pub of: NodeId,
    /// That version's size in bytes.
    pub published_size: u64,
    /// The last version of which the journal says that it was published.
    pub journaled: Dot,
    pub stage: Stage,
    pub overlay: Overlay,
    /// What appends to the journal, once there is one.
    pub writer: Option<JournalWriter>,
    /// Records that go with the next append.
    pub pending: Vec<Record>,
    pub mtime: WallTime,
    /// The wall clock as it was last told.
    pub wall: WallTime,
    pub queue: VecDeque<Op>,
    /// Writes under way, and cuts: from where to where.
    pub flying: BTreeMap<u64, (u64, u64)>,
    pub next_write: u64,
    /// Whether a wish that appends to the journal is under way.
    pub journaling: bool,
    /// Jobs under way.
    pub jobs: u32,
    /// Since when there is something to publish.
    pub changed_at: Option<Time>,
    /// Of a file that was made a moment ago: the first of its registers that nobody is told yet.
    pub born: Option<Arrival>,
    /// The register of the last version, while its bytes are not synced.
    pub hold: Option<Arrival>,
    /// Whether bytes were written since the last sync began.
    pub soft: bool,
    /// Whether it waits to be synced.
    pub syncing: bool,
    /// Chunks of what is beneath that a peer has asked for.
    pub lent: BTreeSet<ChunkIx>,
    /// Peers that wait for a chunk of it.
    pub asks: BTreeSet<AskId>,
    /// Reads that wait until it was found.
    pub readers: BTreeSet<ReqId>,
    /// Hashes of chunks, for the sidecar of what it settles as.
    pub hashes: BTreeMap<ChunkIx, ChunkHash>,
    /// Whether the version beneath stays when the files are removed.
    pub keeps_base: bool,
    /// Whether there was a power loss, and it was not looked at since.
    pub lost: bool,
    /// Whether a record says so.
    pub doubted: bool,
    /// Whether it is one of an earlier run, and was not looked at since.
    pub is_restored: bool,
    /// Whether its end was begun, so that its file may be somewhere else, or a cut was refused, so
    /// that it may be shorter: what is there of it is known when the disk was asked.
    pub is_unsure: bool,
    /// Whether the disk has refused it, and it was not found since.
    pub refused: bool,
    /// Whether it waits a while before the disk is asked again.
    pub pausing: bool,
    /// Whether it is being attended to, and is to be looked at once more.
    pub attended: bool,
    pub again: bool,
}

impl Draft {
    /// Returns a draft on a version of which `from` is here.
    pub(crate) fn new(file: ObjectId, from: DraftFrom, chunk_size: u32, size: u64) -> Self {
        Self {
            file,
            from,
            version: file.version,
            held: None,
            of: file.node,
            published_size: size,
            journaled: file.version,
            stage: Stage::Base,
            overlay: Overlay::new(chunk_size, size),
            writer: None,
            pending: Vec::new(),
            mtime: WallTime::default(),
            wall: WallTime::default(),
            queue: VecDeque::new(),
            flying: BTreeMap::new(),
            next_write: 0,
            journaling: false,
            jobs: 0,
            changed_at: None,
            born: None,
            hold: None,
            soft: false,
            syncing: false,
            lent: BTreeSet::new(),
            asks: BTreeSet::new(),
            readers: BTreeSet::new(),
            hashes: BTreeMap::new(),
            keeps_base: false,
            lost: false,
            doubted: false,
            is_restored: false,
            is_unsure: false,
            refused: false,
            pausing: false,
            attended: false,
            again: false,
        }
    }

    /// Returns the object that its last version is.
    pub(crate) fn last(&self) -> ObjectId {
        ObjectId {
            node: self.of,
            version: self.version,
        }
    }

    /// Returns what is stored of it.
    pub(crate) fn record(&self) -> DraftRecord {
        DraftRecord {
            file: self.file,
            from: match self.from {
                DraftFrom::Nothing => DraftBase::Nothing,
                DraftFrom::Partial => DraftBase::Partial,
                DraftFrom::Complete => DraftBase::Complete,
            },
            version: self.version,
        }
    }

    /// Returns whether what is to be done next is done to a version, though another shows by now:
    /// who cuts off all of a file has seen nothing of that, and needs nothing of it.
    pub(crate) fn stays(&self, version: Dot) -> bool {
        let next = self.queue.front();
        matches!(next, Some(Op::Resize { size: 0, of, .. }) if *of == Some(version))
    }

    /// Returns whether what was written since its last version is nobody's, and about to go: should
    /// its file have a name again, that is none of it.
    pub(crate) fn is_nobodys(&self) -> bool {
        self.stage == Stage::Removing && self.overlay.is_changed()
    }

    /// Returns whether nothing is under way on it.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs == 0 && self.flying.is_empty() && !self.journaling
    }

    /// Returns where the file ends, once the changes under way are made.
    pub(crate) fn end(&self) -> u64 {
        let flying = self.flying.values().map(|(_, to)| *to);
        flying.fold(self.overlay.size(), u64::max)
    }

    /// Returns whether a change under way touches a chunk.
    pub(crate) fn is_flying(&self, chunk: ChunkIx) -> bool {
        let start = self.overlay.start(chunk);
        let end = start + u64::from(self.overlay.chunk_size());
        self.flying
            .values()
            .any(|&(from, to)| from < end && start < to)
    }

    /// Returns which chunks of the version beneath are here.
    pub(crate) fn beneath<'a>(
        &self,
        objects: &'a BTreeMap<ObjectId, Object>,
    ) -> impl Fn(ChunkIx) -> bool + use<'a> {
        let kept = objects.get(&self.file);
        let is_whole = self.from == DraftFrom::Complete;
        move |chunk| is_whole || kept.is_some_and(|kept| kept.held().has(chunk))
    }

    /// Returns the bytes of records to be appended, those that wait before them.
    pub(crate) fn append(&mut self, records: &[Record]) -> Vec<u8> {
        let mut all = core::mem::take(&mut self.pending);
        all.extend_from_slice(records);
        for record in &all {
            if let Record::Published { version, .. } = record {
                self.journaled = *version;
            }
        }
        self.writer
            .as_mut()
            .map_or_else(Vec::new, |writer| writer.append(&all))
    }
}
