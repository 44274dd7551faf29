//! The bytes of a sidecar of version 2: a header, then records that are only ever appended.
//!
//! Law: a record counts when its checksum follows from the one before it, back to the header's.
//! So a tail that was torn by a power loss ends the sidecar at its first broken record, and
//! records that stood behind it, from before the loss, cannot revive when others are written in
//! between; and since whoever goes on appending begins with a [`Record::Opened`] of fresh chance,
//! they cannot revive when the same ones are written again either.
//!
//! Header, 65 bytes, little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `KDBM` |
//! | 4 | 1 | version, 2 |
//! | 5 | 8 | file size in bytes, > 0 |
//! | 13 | 4 | chunk size in bytes, > 0 |
//! | 17 | 16 | the file: actor and counter of its node's dot |
//! | 33 | 16 | its version: actor and counter of the version's dot |
//! | 49 | 8 | salt, drawn for each sidecar |
//! | 57 | 8 | checksum: xxh3-64 of the 57 bytes before, seed 0 |
//!
//! Record, 32 bytes, little-endian; what is not named is zero:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind: 1 chunk, 2 durable, 3 lost, 4 clean, 5 opened, 6 claim |
//! | 4 | 4 | chunk, lost, claim: the chunk's index |
//! | 8 | 16 | chunk: the xxh3-128 of its bytes; durable: a count of records in the first 8; opened: a salt in the first 8 |
//! | 24 | 8 | checksum: xxh3-64 of the 24 bytes before; its seed is the checksum of the record before, or of the header |

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fetch::bitmap::ChunkBitmap;
use crate::fetch::error::{RecordFault, SidecarError};
use crate::fetch::kdbitmap::{MAGIC, empty, field, short, version_of};
use crate::ids::{ActorId, ChunkHash, ChunkIx, Dot, NodeId, ObjectId};

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 65;

/// The length of a record in bytes.
pub const RECORD_LEN: usize = 32;

const VERSION: u8 = 2;
const HEADER_BODY: usize = HEADER_LEN - 8;
const RECORD_BODY: usize = RECORD_LEN - 8;

/// What a sidecar of version 2 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the file whose chunks it lists.
    pub object: ObjectId,
    /// The size of that version in bytes; not zero.
    pub file_size: u64,
    /// The size of a chunk in bytes; not zero.
    pub chunk_size: u32,
    /// A number drawn for each sidecar, so that no two have the same checksums.
    pub salt: u64,
}

/// Something that became so of a partial file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The bytes of a chunk were checked against this hash and written, not yet synced.
    ///
    /// Appended after the write. A chunk that is here and is to be written anew is first lost.
    Chunk {
        /// Which chunk.
        chunk: ChunkIx,
        /// The hash of its bytes.
        hash: ChunkHash,
    },
    /// Somebody said that a chunk is here, and gave no hash: a sidecar of version 1.
    Claim {
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// The bytes of every [`Record::Chunk`] among the first `upto` records are on stable
    /// storage. Appended after a sync of the data; `upto` was taken before the sync began.
    Durable {
        /// How many records, at most as many as stand before this one.
        upto: u64,
    },
    /// A chunk is not here: its bytes proved to be others, or are about to be given up.
    ///
    /// Before bytes are given up, this is synced: else a power loss could bring the chunk back
    /// without them.
    Lost {
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// Whoever wrote here has synced the data and stopped: the bytes of every
    /// [`Record::Chunk`] before are on stable storage.
    Clean,
    /// Somebody goes on appending.
    Opened {
        /// A number drawn for each opening.
        salt: u64,
    },
}

impl Header {
    /// Returns the header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let Dot {
            actor: node,
            counter: node_counter,
        } = self.object.node.0;
        let Dot {
            actor: version,
            counter: version_counter,
        } = self.object.version;
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, [VERSION]);
        put(&mut bytes, 5, self.file_size.to_le_bytes());
        put(&mut bytes, 13, self.chunk_size.to_le_bytes());
        put(&mut bytes, 17, node.0.to_le_bytes());
        put(&mut bytes, 25, node_counter.to_le_bytes());
        put(&mut bytes, 33, version.0.to_le_bytes());
        put(&mut bytes, 41, version_counter.to_le_bytes());
        put(&mut bytes, 49, self.salt.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes[..HEADER_BODY], 0);
        put(&mut bytes, HEADER_BODY, sum.to_le_bytes());
        bytes
    }

    /// Returns the header at the beginning of a sidecar, or the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, SidecarError> {
        let found = version_of(bytes)?;
        if found != VERSION {
            return Err(SidecarError::Version {
                found,
                wanted: VERSION,
            });
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(short(bytes, HEADER_LEN));
        };
        let found = u64_at(bytes, HEADER_BODY);
        let computed = xxh3_64_with_seed(&bytes[..HEADER_BODY], 0);
        if found != computed {
            return Err(SidecarError::Header { found, computed });
        }
        let dot = |at| Dot {
            actor: ActorId(u64_at(bytes, at)),
            counter: u64_at(bytes, at + 8),
        };
        let header = Self {
            object: ObjectId {
                node: NodeId(dot(17)),
                version: dot(33),
            },
            file_size: u64_at(bytes, 5),
            chunk_size: u32_at(bytes, 13),
            salt: u64_at(bytes, 49),
        };
        header.bitmap()?;
        Ok(header)
    }

    /// Returns a bitmap of the file in which no chunk is held, or which of the sizes is
    /// impossible.
    pub fn bitmap(&self) -> Result<ChunkBitmap, SidecarError> {
        empty(self.file_size, self.chunk_size)
    }
}

impl Record {
    /// Returns the record as the one that follows the checksum `chain`, and its own.
    pub(super) fn encode(self, chain: u64) -> ([u8; RECORD_LEN], u64) {
        let mut bytes = [0; RECORD_LEN];
        let (kind, chunk) = match self {
            Self::Chunk { chunk, .. } => (1, chunk),
            Self::Durable { .. } => (2, ChunkIx(0)),
            Self::Lost { chunk } => (3, chunk),
            Self::Clean => (4, ChunkIx(0)),
            Self::Opened { .. } => (5, ChunkIx(0)),
            Self::Claim { chunk } => (6, chunk),
        };
        put(&mut bytes, 0, [kind]);
        put(&mut bytes, 4, chunk.0.to_le_bytes());
        match self {
            Self::Chunk { hash, .. } => put(&mut bytes, 8, hash.0.to_le_bytes()),
            Self::Durable { upto } => put(&mut bytes, 8, upto.to_le_bytes()),
            Self::Opened { salt } => put(&mut bytes, 8, salt.to_le_bytes()),
            Self::Claim { .. } | Self::Lost { .. } | Self::Clean => {}
        }
        let sum = xxh3_64_with_seed(&bytes[..RECORD_BODY], chain);
        put(&mut bytes, RECORD_BODY, sum.to_le_bytes());
        (bytes, sum)
    }

    /// Returns what bytes whose checksum is right say, as the record `at` of a file of `total`
    /// chunks.
    fn decode(bytes: &[u8; RECORD_LEN], at: u64, total: u32) -> Result<Self, RecordFault> {
        let chunk = ChunkIx(u32_at(bytes, 4));
        let word = u64_at(bytes, 8);
        let record = match bytes[0] {
            1 => Self::Chunk {
                chunk,
                hash: ChunkHash(u128_at(bytes, 8)),
            },
            2 => Self::Durable { upto: word },
            3 => Self::Lost { chunk },
            4 => Self::Clean,
            5 => Self::Opened { salt: word },
            6 => Self::Claim { chunk },
            kind => return Err(RecordFault::Kind(kind)),
        };
        record.check_bounds(at, total)?;
        if record.encode(0).0[..RECORD_BODY] != bytes[..RECORD_BODY] {
            return Err(RecordFault::Padding);
        }
        Ok(record)
    }

    /// Returns what is impossible about the record `at` of a file of `total` chunks.
    fn check_bounds(self, at: u64, total: u32) -> Result<(), RecordFault> {
        match self {
            Self::Chunk { chunk, .. } | Self::Lost { chunk } | Self::Claim { chunk }
                if chunk.0 >= total =>
            {
                Err(RecordFault::Chunk {
                    chunk: chunk.0,
                    total,
                })
            }
            Self::Durable { upto } if upto > at => Err(RecordFault::Upto { upto }),
            Self::Chunk { .. }
            | Self::Lost { .. }
            | Self::Claim { .. }
            | Self::Durable { .. }
            | Self::Clean
            | Self::Opened { .. } => Ok(()),
        }
    }
}

/// What is needed to append records to a sidecar: the last checksum, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::len_without_is_empty,
    reason = "it has a header, and so is never empty"
)]
pub struct SidecarWriter {
    chain: u64,
    records: u64,
    total: u32,
}

impl SidecarWriter {
    /// Begins a sidecar: returns what appends to it, and the header, which is written first.
    ///
    /// An error says which size of the header is impossible.
    pub fn create(header: &Header) -> Result<(Self, [u8; HEADER_LEN]), SidecarError> {
        let total = header.bitmap()?.total();
        let bytes = header.encode();
        Ok((
            Self {
                chain: u64_at(&bytes, HEADER_BODY),
                records: 0,
                total,
            },
            bytes,
        ))
    }

    /// Returns the next record's bytes, to be appended at [`SidecarWriter::len`] in the order
    /// of the calls.
    ///
    /// # Panics
    ///
    /// When the record names a chunk that the file does not have, or records that are not there.
    pub fn append(&mut self, record: Record) -> [u8; RECORD_LEN] {
        if let Err(fault) = record.check_bounds(self.records, self.total) {
            panic!("a sidecar's record {} {fault}", self.records);
        }
        let (bytes, chain) = record.encode(self.chain);
        self.chain = chain;
        self.records += 1;
        bytes
    }

    /// Goes on behind a record that was appended earlier, and returns it; `None` when the bytes
    /// are not the record that follows, and an error when they are and can't be.
    pub(super) fn follow(
        &mut self,
        bytes: &[u8; RECORD_LEN],
    ) -> Result<Option<Record>, SidecarError> {
        let sum = xxh3_64_with_seed(&bytes[..RECORD_BODY], self.chain);
        if sum != u64_at(bytes, RECORD_BODY) {
            return Ok(None);
        }
        let at = self.records;
        let record = Record::decode(bytes, at, self.total);
        let record = record.map_err(|fault| SidecarError::Record { at, fault })?;
        self.chain = sum;
        self.records += 1;
        Ok(Some(record))
    }

    /// Returns how many records there are. Taken before a sync of the data begins, it is what
    /// [`Record::Durable`] names when the sync has ended.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the length of the sidecar in bytes, header and records: where the next record
    /// goes.
    pub fn len(&self) -> u64 {
        HEADER_LEN as u64 + self.records * RECORD_LEN as u64
    }
}

/// Returns the eight bytes at an offset within a header or record, as a number.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at).expect("the layout's offsets lie within it"))
}

/// Returns the four bytes at an offset within a header or record, as a number.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at).expect("the layout's offsets lie within it"))
}

/// Returns the sixteen bytes at an offset within a record, as a number.
fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(field(bytes, at).expect("the layout's offsets lie within it"))
}

/// Writes a field at an offset within a header or record.
fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
