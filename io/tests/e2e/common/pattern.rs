//! Bytes that say where they belong: a file made of them can be judged piece by piece.
//!
//! Each 16 bytes hold the file's stamp and their own offset, scrambled, so that no run of them is
//! zeros and no piece fits anywhere else.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The size of a chunk in bytes.
pub(crate) const CHUNK: u64 = 512 * 1024;

/// The bytes of one record.
const RECORD: u64 = 16;

fn scramble(mut word: u64) -> u64 {
    // splitmix64's finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number
    // generators", 2014).
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn record(stamp: u64, at: u64) -> [u8; 16] {
    let first = scramble(stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at);
    let second = scramble(first ^ 0x5555_5555_5555_5555);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

/// Returns `len` bytes from `offset` of the file with this stamp.
pub(crate) fn pattern(stamp: u64, offset: u64, len: usize) -> Vec<u8> {
    let first = offset / RECORD;
    let skip = usize::try_from(offset % RECORD).unwrap();
    let mut bytes = Vec::with_capacity(len + 32);
    let mut at = first;
    while bytes.len() < skip + len {
        bytes.extend_from_slice(&record(stamp, at));
        at += 1;
    }
    bytes.drain(..skip);
    bytes.truncate(len);
    bytes
}

/// Writes a new file of `size` bytes.
pub(crate) fn write_file(path: &Path, stamp: u64, size: u64) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut at = 0;
    while at < size {
        let len = usize::try_from((size - at).min(1 << 20)).unwrap();
        file.write_all(&pattern(stamp, at, len)).unwrap();
        at += len as u64;
    }
    file.into_inner().unwrap();
}

/// Writes over a part of a file.
pub(crate) fn write_part(file: &File, stamp: u64, offset: u64, len: usize) {
    file.write_all_at(&pattern(stamp, offset, len), offset)
        .unwrap();
}

/// Returns which of the stamps these bytes, read at `offset`, are of: all of them of one.
pub(crate) fn stamp_of(bytes: &[u8], offset: u64, stamps: &[u64]) -> Option<u64> {
    stamps
        .iter()
        .copied()
        .find(|&stamp| bytes == pattern(stamp, offset, bytes.len()))
}

/// Tells where these bytes, read at `offset`, change from one stamp to another, record by record.
pub(crate) fn seams(bytes: &[u8], offset: u64, stamps: &[u64]) -> String {
    let mut said = String::new();
    let mut last = None;
    for (at, piece) in (offset..).step_by(16).zip(bytes.chunks(16)) {
        let found = stamp_of(piece, at, stamps);
        if last != Some(found) {
            said.push_str(&format!("from {at} {found:?}; "));
            last = Some(found);
        }
    }
    said
}

/// Chance for tests: a small generator, and the seed that it began with.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Begins with a seed, which is printed: a failing test shows it.
    pub(crate) fn new(seed: u64) -> Self {
        eprintln!("dice seed {seed}");
        Self(seed)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0) % end
    }
}
