//! Objects: one version of one file in a sparse store, from nothing to complete.
//!
//! Law (P1, P5): a chunk is readable once its bytes matched the owner's hash and were written;
//! after a kill it is a claim, hashed before its first use. An object is complete only by sync of
//! its data, then its record, then the rename to its place. What failed is asked for again after
//! a backoff that progress resets.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::fetch::backoff::Backoff;
use crate::fetch::bitmap::ChunkBitmap;
use crate::fetch::download::Download;
use crate::fetch::record::SidecarWriter;
use crate::fetch_state::FetchState;
use crate::ids::{AskId, ChunkHash, ChunkIx, Dot, FetchId, LinkId, PayloadId, ReqId};
use crate::on::beneath::Beneath;
use crate::time::Time;

/// How much of an object is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not looked at since the start.
    Unknown,
    /// The disk is asked what is there.
    Loading,
    /// Nothing is there.
    Absent,
    /// Its record is being stored, then its file is made.
    Creating,
    /// A partial file and its sidecar are there.
    Partial,
    /// All chunks are there; its data is being synced.
    Syncing,
    /// Its data is synced; its record is being stored, then its file is renamed.
    Finishing,
    /// All of it is at its place.
    Complete,
    /// Something failed on disk; it is looked at again when all jobs have ended and the backoff
    /// has passed.
    Broken,
}

/// What it took to get a chunk, and what room it takes until it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fare {
    /// In the window of which link it takes room; in that of the copies, if of none.
    pub link: Option<LinkId>,
    /// How many bytes the chunk has.
    pub len: u32,
    /// How many of them came over the wire.
    pub wire: u32,
}

/// A chunk on its way into an object's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel {
    /// Which chunk.
    pub chunk: ChunkIx,
    /// Its hash.
    pub hash: ChunkHash,
    /// Its bytes; zeros, if they are nowhere.
    pub payload: Option<PayloadId>,
    /// What it took.
    pub fare: Fare,
}

/// As of which version a chunk is asked for that whoever has it may know by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Alias {
    /// Its own.
    #[default]
    Own,
    /// Of what is beneath a draft: what was published of that last. Else what it was made of.
    Latest,
    /// What a full replica held of that before.
    Held,
}

/// Who was asked for a chunk in vain.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    /// As what it is asked for.
    pub alias: Alias,
    /// Links whose peers have said that they have it not as that.
    pub by: BTreeSet<LinkId>,
    /// As what else it was asked for in vain.
    pub tried: BTreeSet<Alias>,
}

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    pub stage: Stage,
    /// Which chunks are here, which are claims, their hashes, and when to ask again.
    pub download: Download,
    /// What appends to the sidecar, while it is partial.
    pub writer: Option<SidecarWriter>,
    /// How many records were in the sidecar when the sync under way began.
    pub syncing: Option<u64>,
    /// Whether chunks were written since the last sync.
    pub soft: bool,
    /// Reads that wait for it.
    pub readers: BTreeSet<ReqId>,
    /// Chunks that somebody has not, for a host that asks one after the other.
    pub denied: BTreeMap<ChunkIx, Denied>,
    /// Chunks of which whoever should have them said that they are nowhere any more.
    pub gone: BTreeSet<ChunkIx>,
    /// Whether all of it is wanted.
    pub whole: bool,
    /// Chunks wanted and not asked for.
    pub wanted: BTreeSet<ChunkIx>,
    /// Whether it stands in the queue of objects with wanted chunks.
    pub queued: bool,
    /// Chunks asked for.
    pub asked: BTreeMap<ChunkIx, FetchId>,
    /// Chunks that came before the file was made.
    pub arrived: Vec<Parcel>,
    /// Chunks being made of bytes that are here.
    pub copying: BTreeSet<ChunkIx>,
    /// Chunks that are asked for whole: what was named in their place proved to be of no use.
    pub plain: BTreeSet<ChunkIx>,
    /// Of a host's: what stands in the shared folder where chunks will be; `None` where that is of no
    /// use.
    pub beneath: BTreeMap<ChunkIx, Option<Beneath>>,
    /// Of chunks that somebody said are in the file, and gave no hash: what was found there.
    pub found: BTreeMap<ChunkIx, ChunkHash>,
    /// As which other version chunks of it came: that has them too, whatever becomes of the registers
    /// that said so.
    pub came_as: BTreeMap<ChunkIx, Dot>,
    /// Chunks being written.
    pub storing: BTreeSet<ChunkIx>,
    /// Claims being hashed.
    pub checking: BTreeSet<ChunkIx>,
    /// Disk jobs under way.
    pub jobs: u32,
    /// Whether it is to be removed once no job is under way: its version is not shown any more.
    pub doomed: bool,
    /// Whether the disk has refused a job on it, and was not obliging since.
    pub refused: bool,
    /// Whether it could not be read while it was being put in its place: nothing of it is here.
    pub spoilt: bool,
    /// Whether it waits for its backoff.
    pub pausing: bool,
    /// Whether it waits as an attempt is counted.
    pub counted: bool,
    /// Whether the attempts ran out.
    pub exhausted: bool,
    /// Whether a peer that may have it could not read it, since anything of it came.
    pub failing: bool,
    /// How often the attempts have run out since then.
    pub rounds: u32,
    /// As of which version its chunks are asked for first: as the one before was asked for last.
    pub alias: Alias,
    /// Peers that wait until it was found.
    pub asks: BTreeSet<AskId>,
    /// Chunks since the start of which bytes were fetched.
    pub chunks_fetched: u64,
    /// Bytes fetched since the start.
    pub bytes_fetched: u64,
}

impl Object {
    /// Returns an object of which nothing is known, or `None` for sizes that have no chunks.
    pub(crate) fn new(size: u64, chunk_size: u32, backoff: Backoff, now: Time) -> Option<Self> {
        if size == 0 {
            return None;
        }
        Some(Self {
            stage: Stage::Unknown,
            download: Download::new(size, chunk_size, now, backoff)?,
            writer: None,
            syncing: None,
            soft: false,
            readers: BTreeSet::new(),
            denied: BTreeMap::new(),
            gone: BTreeSet::new(),
            whole: false,
            wanted: BTreeSet::new(),
            queued: false,
            asked: BTreeMap::new(),
            arrived: Vec::new(),
            copying: BTreeSet::new(),
            plain: BTreeSet::new(),
            beneath: BTreeMap::new(),
            found: BTreeMap::new(),
            came_as: BTreeMap::new(),
            storing: BTreeSet::new(),
            checking: BTreeSet::new(),
            jobs: 0,
            doomed: false,
            refused: false,
            spoilt: false,
            pausing: false,
            counted: false,
            exhausted: false,
            failing: false,
            rounds: 0,
            alias: Alias::Own,
            asks: BTreeSet::new(),
            chunks_fetched: 0,
            bytes_fetched: 0,
        })
    }

    /// Returns its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.download.size()
    }

    /// Returns its proven chunks.
    pub(crate) fn held(&self) -> &ChunkBitmap {
        self.download
            .held()
            .expect("an object has at least one byte")
    }

    /// Returns the chunks that were written in an earlier run and are not proven.
    pub(crate) fn claims(&self) -> &ChunkBitmap {
        self.download
            .claims()
            .expect("an object has at least one byte")
    }

    /// Returns whether a range is readable as it is.
    pub(crate) fn is_readable(&self, offset: u64, len: u32) -> bool {
        match self.stage {
            Stage::Syncing | Stage::Finishing if self.spoilt => false,
            Stage::Complete | Stage::Finishing => true,
            Stage::Partial | Stage::Syncing => self.download.has_range(offset, u64::from(len)),
            Stage::Unknown | Stage::Loading | Stage::Absent | Stage::Creating | Stage::Broken => {
                false
            }
        }
    }

    /// Returns whether a range might be readable without anybody being asked, once the disk has
    /// answered.
    pub(crate) fn may_be_here(&self, offset: u64, len: u32) -> bool {
        match self.stage {
            Stage::Syncing | Stage::Finishing if self.spoilt => false,
            Stage::Unknown | Stage::Loading | Stage::Finishing | Stage::Complete => true,
            Stage::Partial | Stage::Syncing => self
                .download
                .wanted_in(offset, u64::from(len))
                .next()
                .is_none(),
            Stage::Absent | Stage::Creating | Stage::Broken => false,
        }
    }

    /// Returns whether a chunk is neither here nor on its way.
    pub(crate) fn lacks(&self, chunk: ChunkIx) -> bool {
        !self.held().has(chunk)
            && !self.claims().has(chunk)
            && !self.asked.contains_key(&chunk)
            && !self.storing.contains(&chunk)
            && !self.copying.contains(&chunk)
            && !self.arrived.iter().any(|parcel| parcel.chunk == chunk)
    }

    /// Returns whether what is asked for could be stored when it comes: it is known what the disk
    /// holds.
    pub(crate) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Absent | Stage::Creating | Stage::Partial | Stage::Syncing => true,
            Stage::Unknown
            | Stage::Loading
            | Stage::Finishing
            | Stage::Complete
            | Stage::Broken => false,
        }
    }

    /// Returns whether nothing is under way on it, and nobody waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        let is_settled = match self.stage {
            Stage::Unknown | Stage::Absent | Stage::Partial | Stage::Complete => true,
            Stage::Loading
            | Stage::Creating
            | Stage::Syncing
            | Stage::Finishing
            | Stage::Broken => false,
        };
        is_settled
            && self.jobs == 0
            && !self.doomed
            && !self.whole
            && !self.pausing
            && self.syncing.is_none()
            && self.readers.is_empty()
            && self.asks.is_empty()
            && self.wanted.is_empty()
            && self.asked.is_empty()
            && self.arrived.is_empty()
            && self.copying.is_empty()
    }

    /// Forgets what was known of the disk, to look again.
    pub(crate) fn break_off(&mut self) {
        self.stage = Stage::Broken;
        self.spoilt = false;
        self.writer = None;
        self.syncing = None;
        self.wanted.clear();
    }

    /// Returns how its fetching stands, for people; `reachable` tells whether anybody could be
    /// asked.
    pub(crate) fn fetch_state(&self, reachable: bool) -> FetchState {
        let wants = !self.wanted.is_empty() || !self.asked.is_empty() || !self.readers.is_empty();
        match self.stage {
            Stage::Complete | Stage::Finishing => FetchState::Complete,
            Stage::Unknown
            | Stage::Loading
            | Stage::Absent
            | Stage::Creating
            | Stage::Partial
            | Stage::Syncing
            | Stage::Broken => {
                if self.exhausted {
                    FetchState::Exhausted
                } else if !wants && !self.whole {
                    FetchState::Idle
                } else if reachable {
                    FetchState::Fetching
                } else {
                    FetchState::Waiting
                }
            }
        }
    }
}
