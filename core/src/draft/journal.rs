//! The journal of a draft: what was written over the version beneath, and what was published.
//!
//! Law: a record counts when its checksum follows from the one before it, back to the header's;
//! the first that does not ends the journal. Records that say of bytes that are about to change
//! stand before the change, those that say of bytes that are there come after it: so whatever
//! prefix of a journal is left, what it says of the file is true (see
//! [`Overlay`](crate::draft::overlay::Overlay)).
//!
//! Header, 68 bytes, little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `KDDR` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | 1 if the version beneath was wholly here, else 0 |
//! | 6 | 2 | zero |
//! | 8 | 4 | chunk size in bytes: a power of two from 512 to 16 MiB |
//! | 12 | 16 | the file: actor and counter of its node's dot |
//! | 28 | 16 | the version beneath: actor and counter of its dot |
//! | 44 | 8 | size of the version beneath in bytes |
//! | 52 | 8 | salt, drawn for each journal |
//! | 60 | 8 | checksum: xxh3-64 of the 60 bytes before, seed 0 |
//!
//! Record, 40 bytes, little-endian; what is not named is zero:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind: 1 chunks, 2 touched, 3 range, 4 cut, 5 filled, 6 beyond, 7 published, 8 synced |
//! | 4 | 4 | chunks, touched, range, filled, beyond: the index of a chunk |
//! | 8 | 8 | chunks, touched: how many; range: from; cut: the length; published: the version's actor |
//! | 16 | 8 | range: to; published: the version's counter |
//! | 24 | 8 | published: the version's size in bytes |
//! | 32 | 8 | checksum: xxh3-64 of the 32 bytes before; its seed is the checksum of the record before, or of the header |

use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{ActorId, ChunkIx, Dot, NodeId, ObjectId};
use crate::limits::{CHUNK_SIZES, FILE_SIZE_MAX};

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 68;

/// The length of a record in bytes.
pub const RECORD_LEN: usize = 40;

const MAGIC: [u8; 4] = *b"KDDR";
const VERSION: u8 = 1;
const HEADER_BODY: usize = HEADER_LEN - 8;
const RECORD_BODY: usize = RECORD_LEN - 8;

/// What a journal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version on which the draft began; its name is the draft's.
    pub file: ObjectId,
    /// The size of that version in bytes.
    pub base_size: u64,
    /// Whether all of that version was here.
    pub base_whole: bool,
    /// The size of a chunk in bytes.
    pub chunk_size: u32,
    /// A number drawn for each journal, so that no two have the same checksums.
    pub salt: u64,
}

/// Something that became so of a draft, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// All bytes of these chunks are here, and some of them were changed or are about to be.
    Chunks {
        /// The first of them.
        first: ChunkIx,
        /// How many.
        count: u32,
    },
    /// Bytes of ours in these chunks are about to be changed; what else of them is here stays.
    Touched {
        /// The first of them.
        first: ChunkIx,
        /// How many.
        count: u32,
    },
    /// These bytes were written over a chunk of which nothing else need be here.
    Range {
        /// Which chunk.
        chunk: ChunkIx,
        /// From where, in bytes from the chunk's beginning.
        from: u32,
        /// To where.
        to: u32,
    },
    /// The file was cut to this length: no byte of the version beneath counts from there on.
    Cut {
        /// In bytes.
        len: u64,
    },
    /// The version's bytes were put around ours in this chunk: all of it is here.
    Filled {
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// Every chunk from this one on was changed, or is new.
    Beyond {
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// What was changed up to here is a version, if the metadata say so too.
    Published {
        /// Which.
        version: Dot,
        /// Its size in bytes.
        size: u64,
    },
    /// The bytes that all records before speak of are on stable storage, and so are these.
    Synced,
}

/// Why bytes are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// They are too few.
    #[error("it is shorter than a header")]
    Short,
    /// They begin otherwise.
    #[error("it does not begin as a journal does")]
    Magic,
    /// They are of another version of the format.
    #[error("it is of version {0} of the format, and this program reads version 1")]
    Version(u8),
    /// The header's checksum is wrong.
    #[error("its header is damaged")]
    Header,
    /// The header's numbers are impossible.
    #[error("its sizes are impossible")]
    Sizes,
    /// It is the journal of another file.
    #[error("it is of another file")]
    OtherFile,
    /// A record whose checksum is right says what can't be.
    #[error("its record {0} is impossible")]
    Record(u64),
}

impl Header {
    /// Returns the header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (node, version) = (self.file.node.0, self.file.version);
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, [VERSION, u8::from(self.base_whole)]);
        put(&mut bytes, 8, self.chunk_size.to_le_bytes());
        put(&mut bytes, 12, node.actor.0.to_le_bytes());
        put(&mut bytes, 20, node.counter.to_le_bytes());
        put(&mut bytes, 28, version.actor.0.to_le_bytes());
        put(&mut bytes, 36, version.counter.to_le_bytes());
        put(&mut bytes, 44, self.base_size.to_le_bytes());
        put(&mut bytes, 52, self.salt.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes[..HEADER_BODY], 0);
        put(&mut bytes, HEADER_BODY, sum.to_le_bytes());
        bytes
    }

    /// Returns the header at the beginning of a journal, or the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, JournalError> {
        if !bytes.starts_with(&MAGIC) {
            let is_cut = MAGIC.starts_with(bytes);
            return Err(if is_cut {
                JournalError::Short
            } else {
                JournalError::Magic
            });
        }
        match bytes.get(4) {
            Some(&VERSION) => {}
            Some(&other) => return Err(JournalError::Version(other)),
            None => return Err(JournalError::Short),
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(JournalError::Short);
        };
        if xxh3_64_with_seed(&bytes[..HEADER_BODY], 0) != u64_at(bytes, HEADER_BODY) {
            return Err(JournalError::Header);
        }
        let dot = |at| Dot {
            actor: ActorId(u64_at(bytes, at)),
            counter: u64_at(bytes, at + 8),
        };
        let header = Self {
            file: ObjectId {
                node: NodeId(dot(12)),
                version: dot(28),
            },
            base_size: u64_at(bytes, 44),
            base_whole: bytes[5] == 1,
            chunk_size: u32_at(bytes, 8),
            salt: u64_at(bytes, 52),
        };
        let sizes = header.chunk_size.is_power_of_two()
            && CHUNK_SIZES.contains(&header.chunk_size)
            && header.base_size <= size_max(header.chunk_size);
        if !sizes || header.encode() != *bytes {
            return Err(JournalError::Sizes);
        }
        Ok(header)
    }
}

/// Returns the greatest size of a file in chunks of this size, in bytes: its chunks are counted
/// in 32 bits.
pub fn size_max(chunk_size: u32) -> u64 {
    FILE_SIZE_MAX.min(u64::from(u32::MAX) * u64::from(chunk_size))
}

impl Record {
    /// Returns the record as the one that follows the checksum `chain`, and its own.
    fn encode(self, chain: u64) -> ([u8; RECORD_LEN], u64) {
        let (kind, index, words) = match self {
            Self::Chunks { first, count } => (1, first, [u64::from(count), 0, 0]),
            Self::Touched { first, count } => (2, first, [u64::from(count), 0, 0]),
            Self::Range { chunk, from, to } => (3, chunk, [from.into(), to.into(), 0]),
            Self::Cut { len } => (4, ChunkIx(0), [len, 0, 0]),
            Self::Filled { chunk } => (5, chunk, [0; 3]),
            Self::Beyond { chunk } => (6, chunk, [0; 3]),
            Self::Published { version, size } => {
                (7, ChunkIx(0), [version.actor.0, version.counter, size])
            }
            Self::Synced => (8, ChunkIx(0), [0; 3]),
        };
        let mut bytes = [0; RECORD_LEN];
        put(&mut bytes, 0, [kind]);
        put(&mut bytes, 4, index.0.to_le_bytes());
        for (word, at) in words.into_iter().zip([8, 16, 24]) {
            put(&mut bytes, at, word.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&bytes[..RECORD_BODY], chain);
        put(&mut bytes, RECORD_BODY, sum.to_le_bytes());
        (bytes, sum)
    }

    /// Returns what bytes whose checksum is right say of a file in chunks of this size; `None` if
    /// that can't be.
    fn decode(bytes: &[u8; RECORD_LEN], chunk_size: u32) -> Option<Self> {
        let chunk = ChunkIx(u32_at(bytes, 4));
        let words = [u64_at(bytes, 8), u64_at(bytes, 16), u64_at(bytes, 24)];
        let narrow = |word: u64| u32::try_from(word).ok();
        let record = match bytes[0] {
            1 => Self::Chunks {
                first: chunk,
                count: narrow(words[0])?,
            },
            2 => Self::Touched {
                first: chunk,
                count: narrow(words[0])?,
            },
            3 => Self::Range {
                chunk,
                from: narrow(words[0])?,
                to: narrow(words[1])?,
            },
            4 => Self::Cut { len: words[0] },
            5 => Self::Filled { chunk },
            6 => Self::Beyond { chunk },
            7 => Self::Published {
                version: Dot {
                    actor: ActorId(words[0]),
                    counter: words[1],
                },
                size: words[2],
            },
            8 => Self::Synced,
            _ => return None,
        };
        let is_possible = record.is_possible(chunk_size);
        let is_exact = record.encode(0).0[..RECORD_BODY] == bytes[..RECORD_BODY];
        (is_possible && is_exact).then_some(record)
    }

    /// Returns whether it can be said of a file in chunks of this size.
    fn is_possible(self, chunk_size: u32) -> bool {
        match self {
            Self::Chunks { first, count } | Self::Touched { first, count } => {
                count > 0 && first.0.checked_add(count).is_some()
            }
            Self::Filled { chunk } | Self::Beyond { chunk } => chunk.0 < u32::MAX,
            Self::Range { chunk, from, to } => chunk.0 < u32::MAX && from < to && to <= chunk_size,
            Self::Cut { len } => len <= size_max(chunk_size),
            Self::Published { version: _, size } => size <= size_max(chunk_size),
            Self::Synced => true,
        }
    }
}

/// What is needed to append records to a journal: the last checksum, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalWriter {
    chain: u64,
    records: u64,
}

impl JournalWriter {
    /// Begins a journal: returns what appends to it, and its bytes so far.
    pub fn begin(header: &Header, records: &[Record]) -> (Self, Vec<u8>) {
        let head = header.encode();
        let mut writer = Self {
            chain: u64_at(&head, HEADER_BODY),
            records: 0,
        };
        let mut bytes = head.to_vec();
        bytes.extend(writer.append(records));
        (writer, bytes)
    }

    /// Returns the bytes of the next records, to be appended in the order of the calls.
    pub fn append(&mut self, records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD_LEN);
        for record in records {
            let (next, chain) = record.encode(self.chain);
            bytes.extend_from_slice(&next);
            self.chain = chain;
            self.records += 1;
        }
        bytes
    }

    /// Returns how many records there are.
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// A journal that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// What it is about.
    pub header: Header,
    /// Its records, up to the first that does not count.
    pub records: Vec<Record>,
    /// Whether there was more that did not count.
    pub is_torn: bool,
}

impl Journal {
    /// Returns what the bytes say, or why they are no journal.
    pub fn decode(bytes: &[u8]) -> Result<Self, JournalError> {
        let header = Header::decode(bytes)?;
        let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        let mut chain = xxh3_64_with_seed(&bytes[..HEADER_BODY], 0);
        let mut records = Vec::new();
        while let Some((bytes, after)) = rest.split_first_chunk::<RECORD_LEN>() {
            let sum = xxh3_64_with_seed(&bytes[..RECORD_BODY], chain);
            if sum != u64_at(bytes, RECORD_BODY) {
                break;
            }
            let Some(record) = Record::decode(bytes, header.chunk_size) else {
                return Err(JournalError::Record(records.len() as u64));
            };
            records.push(record);
            (chain, rest) = (sum, after);
        }
        Ok(Self {
            header,
            records,
            is_torn: !rest.is_empty(),
        })
    }
}

/// Returns the eight bytes at an offset within a header or record, as a number.
fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

/// Returns the four bytes at an offset within a header or record, as a number.
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

/// Returns a field at an offset within a header or record.
fn field<const N: usize, const M: usize>(bytes: &[u8; N], at: usize) -> [u8; M] {
    let mut field = [0; M];
    field.copy_from_slice(&bytes[at..at + M]);
    field
}

/// Writes a field at an offset within a header or record.
fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn header(salt: u64) -> Header {
        let dot = |actor, counter| Dot {
            actor: ActorId(actor),
            counter,
        };
        Header {
            file: ObjectId {
                node: NodeId(dot(0xada, 7)),
                version: dot(0xb0, 9),
            },
            base_size: 1_300,
            base_whole: true,
            chunk_size: 512,
            salt,
        }
    }

    /// One record of each kind.
    fn each() -> Vec<Record> {
        let chunk = ChunkIx(2);
        vec![
            Record::Chunks {
                first: chunk,
                count: 3,
            },
            Record::Touched {
                first: chunk,
                count: 1,
            },
            Record::Range {
                chunk,
                from: 1,
                to: 512,
            },
            Record::Cut { len: 700 },
            Record::Filled { chunk },
            Record::Beyond { chunk },
            Record::Published {
                version: header(0).file.version,
                size: 700,
            },
            Record::Synced,
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut writer, mut bytes) = JournalWriter::begin(&header(5), &each()[..3]);
        bytes.extend(writer.append(&each()[3..]));
        assert_eq!(writer.records(), 8);
        let read = Journal::decode(&bytes).unwrap();
        assert_eq!((read.header, read.is_torn), (header(5), false));
        assert_eq!(read.records, each());
    }

    #[test]
    fn what_is_no_journal_is_told_apart() {
        let (_, bytes) = JournalWriter::begin(&header(5), &each());
        assert_eq!(Journal::decode(b"KDBM"), Err(JournalError::Magic));
        for len in 0..HEADER_LEN {
            assert_eq!(Journal::decode(&bytes[..len]), Err(JournalError::Short));
        }
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            Journal::decode(&bytes)
        };
        assert_eq!(with(4, 2), Err(JournalError::Version(2)));
        assert_eq!(with(44, 9), Err(JournalError::Header));
        let odd = Header {
            chunk_size: 513,
            ..header(5)
        };
        let large = Header {
            base_size: u64::MAX,
            ..header(5)
        };
        for header in [odd, large] {
            let (_, bytes) = JournalWriter::begin(&header, &[]);
            assert_eq!(Journal::decode(&bytes), Err(JournalError::Sizes));
        }
        for record in [
            Record::Chunks {
                first: ChunkIx(u32::MAX),
                count: 1,
            },
            Record::Chunks {
                first: ChunkIx(0),
                count: 0,
            },
            Record::Range {
                chunk: ChunkIx(0),
                from: 0,
                to: 513,
            },
            Record::Cut { len: u64::MAX },
        ] {
            let (_, bytes) = JournalWriter::begin(&header(5), &[Record::Synced, record]);
            assert_eq!(Journal::decode(&bytes), Err(JournalError::Record(1)));
        }
    }

    proptest! {
        /// A torn tail ends it; and what stood behind a tear does not come back to life when
        /// others are written in its place.
        #[test]
        fn every_prefix_is_a_journal_of_fewer_records(cut in 0..RECORD_LEN * 8, flip in 0..40_usize) {
            let (_, bytes) = JournalWriter::begin(&header(5), &each());
            let read = Journal::decode(&bytes[..HEADER_LEN + cut]).unwrap();
            prop_assert_eq!(&read.records[..], &each()[..cut / RECORD_LEN]);
            prop_assert_eq!(read.is_torn, cut % RECORD_LEN != 0);
            let mut spoilt = bytes.clone();
            spoilt[HEADER_LEN + cut / RECORD_LEN * RECORD_LEN + flip] ^= 1;
            let read = Journal::decode(&spoilt).unwrap();
            prop_assert_eq!(&read.records[..], &each()[..cut / RECORD_LEN]);
            let (_, other) = JournalWriter::begin(&header(6), &each()[..1]);
            spoilt[..other.len()].copy_from_slice(&other);
            prop_assert_eq!(Journal::decode(&spoilt).unwrap().records.len(), 1);
        }
    }
}
