//! The sidecar's older form: `.kdbitmap` version 1, read and written bit for bit.
//!
//! | offset | size | field, little-endian |
//! |---|---|---|
//! | 0 | 4 | magic `KDBM` |
//! | 4 | 1 | version, 1 |
//! | 5 | 8 | file size in bytes, > 0 |
//! | 13 | 4 | total chunks |
//! | 17 | 4 | chunks present |
//! | 21 | 4 | chunk size in bytes; 0 means 524,288 |
//! | 25 | 8 × ⌈total/64⌉ | words; chunk *i* is bit *i* mod 64 of word ⌊*i*/64⌋ |
//!
//! Law (P6): nothing that the bytes claim is believed before it agrees with everything else that
//! they claim, and memory follows their length, never their claims. What they say is held is
//! still only a claim: the version has no hashes and no version of the file.

use alloc::vec::Vec;

use crate::fetch::bitmap::ChunkBitmap;
use crate::fetch::error::SidecarError;
use crate::limits;

/// The first bytes of a sidecar of any version.
pub const MAGIC: [u8; 4] = *b"KDBM";

/// The newest version of the format that is known here.
pub const NEWEST: u8 = 2;

/// What is written behind a file's name to get its sidecar's.
pub const SUFFIX: &[u8] = b".kdbitmap";

const VERSION: u8 = 1;
const HEADER_LEN: usize = 25;

/// Returns the name of the sidecar of the file of this name.
///
/// It may be longer than a file system allows; whoever names objects leaves room for it.
pub fn bitmap_path(file_name: &[u8]) -> Vec<u8> {
    [file_name, SUFFIX].concat()
}

/// Returns the version of a sidecar: 1, read by [`ChunkBitmap::decode`], or 2, read by
/// [`Sidecar::decode`](crate::fetch::sidecar::Sidecar::decode).
pub fn version_of(bytes: &[u8]) -> Result<u8, SidecarError> {
    let Some((magic, rest)) = bytes.split_first_chunk() else {
        return Err(short(bytes, MAGIC.len() + 1));
    };
    if *magic != MAGIC {
        return Err(SidecarError::Magic(*magic));
    }
    match rest.first() {
        None => Err(short(bytes, MAGIC.len() + 1)),
        Some(0) => Err(SidecarError::Version {
            found: 0,
            wanted: NEWEST,
        }),
        Some(&found) if found > NEWEST => Err(SidecarError::Future {
            found,
            newest: NEWEST,
        }),
        Some(&found) => Ok(found),
    }
}

impl ChunkBitmap {
    /// Returns the bitmap as a sidecar of version 1. The chunk size is written as it is, the
    /// usual one too.
    pub fn encode(&self) -> Vec<u8> {
        let words = self.total().div_ceil(u64::BITS);
        let mut bytes = Vec::with_capacity(word_at(words));
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.file_size().to_le_bytes());
        bytes.extend_from_slice(&self.total().to_le_bytes());
        bytes.extend_from_slice(&self.have().to_le_bytes());
        bytes.extend_from_slice(&self.chunk_size().to_le_bytes());
        for (at, word) in self.words() {
            bytes.resize(word_at(at), 0);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(word_at(words), 0);
        bytes
    }

    /// Returns the bitmap that a sidecar of version 1 holds, of a file of `expected_file_size`
    /// bytes when that is known, or the first thing that is wrong with it.
    pub fn decode(bytes: &[u8], expected_file_size: Option<u64>) -> Result<Self, SidecarError> {
        let found = version_of(bytes)?;
        if found != VERSION {
            return Err(SidecarError::Version {
                found,
                wanted: VERSION,
            });
        }
        let need = || short(bytes, HEADER_LEN);
        let file_size = u64::from_le_bytes(field(bytes, 5).ok_or_else(need)?);
        let total = u32::from_le_bytes(field(bytes, 13).ok_or_else(need)?);
        let have = u32::from_le_bytes(field(bytes, 17).ok_or_else(need)?);
        let chunk_size = match u32::from_le_bytes(field(bytes, 21).ok_or_else(need)?) {
            0 => limits::CHUNK_SIZE,
            size => size,
        };
        let mut bitmap = empty(file_size, chunk_size)?;
        if let Some(wanted) = expected_file_size.filter(|wanted| *wanted != file_size) {
            return Err(SidecarError::OtherSize {
                found: file_size,
                wanted,
            });
        }
        if total != bitmap.total() {
            return Err(SidecarError::Total {
                found: total,
                wanted: bitmap.total(),
            });
        }
        let words = total.div_ceil(u64::BITS);
        let wanted = word_at(words);
        if bytes.len() < wanted {
            return Err(short(bytes, wanted));
        }
        if bytes.len() > wanted {
            return Err(SidecarError::Long {
                len: bytes.len(),
                wanted,
            });
        }
        for at in 0..words {
            let word = u64::from_le_bytes(field(bytes, word_at(at)).ok_or_else(need)?);
            let chunks = (total - at * u64::BITS).min(u64::BITS);
            let beyond = word & !(u64::MAX >> (u64::BITS - chunks));
            if beyond != 0 {
                let chunk =
                    u64::from(at) * u64::from(u64::BITS) + u64::from(beyond.trailing_zeros());
                return Err(SidecarError::Beyond { chunk, total });
            }
            bitmap.set_word(at, word);
        }
        if have != bitmap.have() {
            return Err(SidecarError::Count {
                found: have,
                bits: bitmap.have(),
            });
        }
        Ok(bitmap)
    }
}

/// Returns the bitmap that these sizes make, of nothing; they are the file's claims.
pub(super) fn empty(file_size: u64, chunk_size: u32) -> Result<ChunkBitmap, SidecarError> {
    if file_size == 0 {
        return Err(SidecarError::SizeZero);
    }
    if file_size > limits::FILE_SIZE_MAX {
        return Err(SidecarError::SizeAbsurd(file_size));
    }
    ChunkBitmap::with_chunk_size(file_size, chunk_size).ok_or(SidecarError::ChunkSize(chunk_size))
}

/// Returns the bytes of a field at an offset, or `None` when they are not all there.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Returns the error that there are fewer bytes than `wanted`.
pub(super) fn short(bytes: &[u8], wanted: usize) -> SidecarError {
    SidecarError::Short {
        len: bytes.len(),
        wanted,
    }
}

/// Returns where a word stands in a sidecar of version 1.
fn word_at(at: u32) -> usize {
    HEADER_LEN + usize::try_from(at).expect("indices have at least 32 bits") * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::collection::{btree_set, vec as list_of};
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ChunkIx;

    /// 1,179,647 bytes: three chunks of 512 KiB, of which the last has one byte less than a
    /// quarter; the first and the last are here.
    const THREE: &[u8] = include_bytes!("../../tests/golden/three.kdbitmap");

    /// The same, written by hand from the table above.
    const THREE_BY_HAND: &[u8] = &[
        b'K', b'D', b'B', b'M', // magic
        1,    // version
        0xff, 0xff, 0x11, 0, 0, 0, 0, 0, // file size 1,179,647
        3, 0, 0, 0, // total chunks
        2, 0, 0, 0, // chunks present
        0, 0, 8, 0, // chunk size 524,288
        0b101, 0, 0, 0, 0, 0, 0, 0, // word 0
    ];

    /// 65 chunks of one byte, of which 0, 63 and 64 are here.
    const TWO_WORDS: &[u8] = include_bytes!("../../tests/golden/two-words.kdbitmap");

    /// As [`THREE`], with the usual chunk size left to be understood.
    const USUAL: &[u8] = include_bytes!("../../tests/golden/usual.kdbitmap");

    /// A file of one chunk, complete.
    const WHOLE: &[u8] = include_bytes!("../../tests/golden/whole.kdbitmap");

    #[test]
    fn the_golden_files_are_read_and_written_bit_for_bit() {
        assert_eq!(THREE, THREE_BY_HAND);
        let three = ChunkBitmap::decode(THREE, Some(1_179_647)).unwrap();
        assert_eq!(three.held().collect::<Vec<_>>(), [ChunkIx(0), ChunkIx(2)]);
        assert_eq!((three.total(), three.have_bytes()), (3, 524_288 + 131_071));
        assert_eq!(three.encode(), THREE);

        let two_words = ChunkBitmap::decode(TWO_WORDS, None).unwrap();
        assert_eq!(
            two_words.held().map(|chunk| chunk.0).collect::<Vec<_>>(),
            [0, 63, 64]
        );
        assert_eq!((two_words.total(), two_words.chunk_size()), (65, 1));
        assert_eq!(two_words.encode(), TWO_WORDS);

        let whole = ChunkBitmap::decode(WHOLE, Some(7)).unwrap();
        assert!(whole.is_complete());
        assert_eq!(whole.encode(), WHOLE);
    }

    #[test]
    fn a_chunk_size_of_zero_means_the_usual_one() {
        let usual = ChunkBitmap::decode(USUAL, None).unwrap();
        assert_eq!(usual.chunk_size(), limits::CHUNK_SIZE);
        assert_eq!(Ok(usual), ChunkBitmap::decode(THREE, None));
    }

    /// Each lie of a sidecar, told of a good one by changing bytes at an offset.
    #[test]
    fn a_lying_sidecar_is_refused_and_the_lie_is_named_s29() {
        let lies: &[(usize, &[u8], SidecarError, &str)] = &[
            (
                0,
                b"PK",
                SidecarError::Magic(*b"PKBM"),
                "it is no sidecar: it begins with [50, 4b, 42, 4d], not with KDBM",
            ),
            (
                4,
                &[9],
                SidecarError::Future {
                    found: 9,
                    newest: 2,
                },
                "it is of version 9, from the future: 2 is the newest known",
            ),
            (
                4,
                &[2],
                SidecarError::Version {
                    found: 2,
                    wanted: 1,
                },
                "it is of version 2, not 1",
            ),
            (
                4,
                &[0],
                SidecarError::Version {
                    found: 0,
                    wanted: 2,
                },
                "it is of version 0, not 2",
            ),
            (
                5,
                &[0, 0, 0],
                SidecarError::SizeZero,
                "its file size is zero",
            ),
            (
                5,
                &[0xff; 8],
                SidecarError::SizeAbsurd(u64::MAX),
                "its file size of 18446744073709551615 bytes is larger than any file's",
            ),
            (
                5,
                &[0xfe],
                SidecarError::OtherSize {
                    found: 1_179_646,
                    wanted: 1_179_647,
                },
                "it is of a file of 1179646 bytes, not 1179647",
            ),
            (
                13,
                &[4],
                SidecarError::Total {
                    found: 4,
                    wanted: 3,
                },
                "it says 4 chunks, and its sizes say 3",
            ),
            (
                13,
                &[0xff; 4],
                SidecarError::Total {
                    found: u32::MAX,
                    wanted: 3,
                },
                "it says 4294967295 chunks, and its sizes say 3",
            ),
            (
                17,
                &[3],
                SidecarError::Count { found: 3, bits: 2 },
                "it says that 3 chunks are present, and its bits say 2",
            ),
            (
                21,
                &[0xff; 4],
                SidecarError::ChunkSize(u32::MAX),
                "its chunk size of 4294967295 bytes is absurd",
            ),
            (
                25,
                &[0b1001],
                SidecarError::Beyond { chunk: 3, total: 3 },
                "it names chunk 3 of 3",
            ),
            (
                32,
                &[0x80],
                SidecarError::Beyond {
                    chunk: 63,
                    total: 3,
                },
                "it names chunk 63 of 3",
            ),
        ];
        for (at, lie, error, said) in lies {
            let mut bytes = THREE.to_vec();
            bytes[*at..at + lie.len()].copy_from_slice(lie);
            assert_eq!(ChunkBitmap::decode(&bytes, Some(1_179_647)), Err(*error));
            assert_eq!(error.to_string(), *said);
        }
    }

    #[test]
    fn a_short_or_long_sidecar_is_refused() {
        for len in 0..THREE.len() {
            let error = ChunkBitmap::decode(&THREE[..len], None).unwrap_err();
            assert!(matches!(error, SidecarError::Short { len: found, .. } if found == len));
        }
        let long = [THREE, &[0]].concat();
        assert_eq!(
            ChunkBitmap::decode(&long, None),
            Err(SidecarError::Long {
                len: 34,
                wanted: 33
            })
        );
    }

    /// 33 bytes that claim a file of 2 PiB must not cost half a GiB.
    #[test]
    fn a_huge_claim_costs_nothing_s31() {
        let mut bytes = ChunkBitmap::new(1).unwrap().encode();
        bytes[5..13].copy_from_slice(&limits::FILE_SIZE_MAX.to_le_bytes());
        bytes[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
        let wanted = 25 + 8 * 67_108_864;
        assert_eq!(
            ChunkBitmap::decode(&bytes, None),
            Err(SidecarError::Short { len: 33, wanted })
        );
    }

    #[test]
    fn the_sidecar_stands_beside_its_file() {
        assert_eq!(bitmap_path(b"film.mkv"), b"film.mkv.kdbitmap");
        assert_eq!(bitmap_path(b"\xff"), b"\xff.kdbitmap");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            size in 1..20_000u64,
            chunk in 1..300u32,
            held in btree_set(any::<u32>(), 0..40),
        ) {
            let mut bitmap = ChunkBitmap::with_chunk_size(size, chunk).unwrap();
            for ix in held {
                bitmap.set(ChunkIx(ix % bitmap.total()));
            }
            let bytes = bitmap.encode();
            prop_assert_eq!(bytes.len(), 25 + 8 * bitmap.total().div_ceil(64) as usize);
            prop_assert_eq!(ChunkBitmap::decode(&bytes, Some(size)).unwrap(), bitmap);
        }

        /// Noise behind a good beginning; what is accepted is what would be written, the chunk
        /// size that stands for the usual one apart.
        #[test]
        fn what_is_accepted_is_canonical(
            keep in 0..34usize,
            noise in list_of(prop_oneof![Just(0), any::<u8>()], 0..40),
        ) {
            let bytes: Vec<u8> = THREE.iter().take(keep).copied().chain(noise).collect();
            if let Ok(bitmap) = ChunkBitmap::decode(&bytes, None) {
                let written = bitmap.encode();
                prop_assert_eq!(&written[..21], &bytes[..21]);
                prop_assert_eq!(&written[25..], &bytes[25..]);
            }
        }
    }
}
