//! What can be wrong with a sidecar.
//!
//! Law: each thing that can be wrong has a variant of its own, which says what it was and what
//! it should have been; its text is the end of a sentence that began with the sidecar's name.

use crate::ids::ObjectId;

/// Why bytes are no sidecar, or not the one that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SidecarError {
    /// There are fewer bytes than there must be.
    #[error("it is short: {len} bytes of {wanted}")]
    Short {
        /// How many there are.
        len: usize,
        /// How many there must be, at least as far as could be read.
        wanted: usize,
    },
    /// There are more bytes than there may be.
    #[error("it is long: {len} bytes instead of {wanted}")]
    Long {
        /// How many there are.
        len: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// The first bytes are others.
    #[error("it is no sidecar: it begins with {0:02x?}, not with KDBM")]
    Magic([u8; 4]),
    /// It was written by a newer program.
    #[error("it is of version {found}, from the future: {newest} is the newest known")]
    Future {
        /// Its version.
        found: u8,
        /// The newest version that is known here.
        newest: u8,
    },
    /// It is of a version that is known, or was never written, but not of the one wanted.
    #[error("it is of version {found}, not {wanted}")]
    Version {
        /// Its version.
        found: u8,
        /// The version that is read.
        wanted: u8,
    },
    /// The header's bytes are not those that were written.
    #[error("its header is damaged: checksum {found:016x}, computed {computed:016x}")]
    Header {
        /// The checksum that stands there.
        found: u64,
        /// The checksum of what stands there.
        computed: u64,
    },
    /// It is of an empty file, which has none.
    #[error("its file size is zero")]
    SizeZero,
    /// It is of a file that is larger than any.
    #[error("its file size of {0} bytes is larger than any file's")]
    SizeAbsurd(u64),
    /// It has chunks of an impossible size.
    #[error("its chunk size of {0} bytes is absurd")]
    ChunkSize(u32),
    /// It is of another file, or of another version of the file.
    #[error("it is of a file of {found} bytes, not {wanted}")]
    OtherSize {
        /// Its file's size in bytes.
        found: u64,
        /// The size of the file that was meant.
        wanted: u64,
    },
    /// It is of another file, or of another version of the file.
    #[error("it is of {found:?}, not {wanted:?}")]
    OtherObject {
        /// Its object.
        found: ObjectId,
        /// The object that was meant.
        wanted: ObjectId,
    },
    /// The number of chunks does not follow from the sizes.
    #[error("it says {found} chunks, and its sizes say {wanted}")]
    Total {
        /// The number that stands there.
        found: u32,
        /// The number of chunks that a file of its size has.
        wanted: u32,
    },
    /// The number of chunks present does not follow from the bits.
    #[error("it says that {found} chunks are present, and its bits say {bits}")]
    Count {
        /// The number that stands there.
        found: u32,
        /// The number of bits that are set.
        bits: u32,
    },
    /// A chunk is named that the file does not have.
    #[error("it names chunk {chunk} of {total}")]
    Beyond {
        /// The chunk's index.
        chunk: u64,
        /// How many chunks the file has.
        total: u32,
    },
    /// A record that was written whole says what can't be.
    #[error("its record {at} {fault}")]
    Record {
        /// Which record, from zero.
        at: u64,
        /// What can't be.
        fault: RecordFault,
    },
}

/// What can't be in a record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// There is no such kind.
    #[error("is of the unknown kind {0}")]
    Kind(u8),
    /// A byte that is always zero is not.
    #[error("has bytes where none belong")]
    Padding,
    /// The file has no such chunk.
    #[error("names chunk {chunk} of {total}")]
    Chunk {
        /// The chunk's index.
        chunk: u32,
        /// How many chunks the file has.
        total: u32,
    },
    /// It speaks of records that come after it.
    #[error("speaks of {upto} records before it")]
    Upto {
        /// How many it speaks of.
        upto: u64,
    },
}
