//! What the disk should do with a draft: a file of a sparse store while it is written to.
//!
//! A draft is the partial file of the object under whose name it began, `partial/OBJECT`, with
//! its sidecar (where the version beneath is not all here) and a *journal*, `OBJECT.kddraft`, of
//! what was written over it. Wishes for one object keep their order.

use alloc::vec::Vec;

use crate::ids::{ObjectId, PayloadId};
use crate::time::WallTime;

/// Something to be done with a draft. All but `Load` bring `DiskDone::Done`.
///
/// A wish that fails at one of its steps does none of those that follow, and the engine asks for
/// `Load` before it wishes for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftWish {
    /// Begin it, or go on with another journal. Done twice it does no harm. The journal is put
    /// in its place first, so that no file with bytes of ours ever stands in `partial/` without
    /// one, and whole: made under another name, synced if one is there already, and renamed. A
    /// complete file is moved, and the directories on both sides synced, before this is done.
    Open {
        /// All of the journal's bytes.
        journal: Vec<u8>,
        /// What is written over.
        from: DraftFrom,
        /// Whether this is another draft than any that may lie there: if it is written over
        /// nothing, what lies there goes, unless it was begun with this very journal.
        anew: bool,
    },
    /// Append `before` to the journal, write the payload, append `after`. A write that did not
    /// find room leaves the file as long as it was, and is `DiskError::NoSpace`. The payload is
    /// used up.
    Write {
        /// At which offset, in bytes.
        offset: u64,
        /// The bytes.
        payload: PayloadId,
        /// Records that have to be there before the bytes; may be empty.
        before: Vec<u8>,
        /// Records that may be there only after the bytes; may be empty.
        after: Vec<u8>,
    },
    /// Cut the file, or fill it up with a hole; then append to the journal.
    Resize {
        /// To this length in bytes.
        size: u64,
        /// The record.
        after: Vec<u8>,
    },
    /// Write pieces of a chunk of the version beneath around what was written over it, then
    /// append to the journal. The file's length stays. The payload is used up.
    Fill {
        /// Where the chunk begins, in bytes.
        offset: u64,
        /// The chunk; zeros, if it is nowhere.
        payload: Option<PayloadId>,
        /// Which pieces of it: from and to, in bytes from its beginning.
        gaps: Vec<(u32, u32)>,
        /// The record.
        after: Vec<u8>,
    },
    /// Set the file's modification time, which outlives a kill with it.
    Touch {
        /// To this.
        mtime: WallTime,
    },
    /// Append to the journal.
    Mark {
        /// The record.
        record: Vec<u8>,
    },
    /// Sync file, sidecar, and the directory that they stand in; then append to the journal, and
    /// sync that.
    Sync {
        /// The records.
        after: Vec<u8>,
    },
    /// Find what is there: brings `DiskDone::Draft`.
    Load,
    /// End it: what was written becomes the stored bytes of `object`. With a sidecar the file
    /// goes to `partial/` under the object's name, the sidecar there first and synced; else it is
    /// complete and goes to its place. Sidecar and journal of the draft are removed after that.
    /// Done twice it does no harm.
    Settle {
        /// The version that it is.
        object: ObjectId,
        /// What its sidecar is to hold, if not all of it is here.
        sidecar: Option<Vec<u8>>,
    },
    /// Remove all of it.
    Remove,
}

/// What a draft is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftFrom {
    /// Nothing: an empty file is made.
    Nothing,
    /// The partial file of the same name.
    Partial,
    /// The complete file of the same name, which is moved to `partial/`.
    Complete,
}
