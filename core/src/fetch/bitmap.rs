//! Which chunks of a file are here.
//!
//! Law (P1): a chunk is held when somebody said so of that chunk, wholly; a range that covers a
//! chunk in part says nothing about it. A question about a range is answered of every chunk that
//! the range touches.
//!
//! Offsets and lengths are bytes and may be any number: what lies beyond the end of the file is
//! no part of any chunk. Memory is one bit a chunk, in pages of 4,096 chunks that exist while
//! one of theirs is held: 560 bytes for each 2 GiB that were touched, and half a GiB for the
//! largest file, when 2 PiB of it are here.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::ids::ChunkIx;
use crate::limits;

/// What marking a chunk or a range changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: all of it was marked, or there was nothing to mark.
    Known,
    /// At least one chunk is held that was not, and others are still missing.
    Gained,
    /// At least one chunk is held that was not, and it was the last one missing.
    Completed,
}

/// Which chunks of a file of known size are here.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkBitmap {
    file_size: u64,
    chunk_size: u32,
    total: u32,
    have: u32,
    /// By index of the page. No page is empty.
    pages: BTreeMap<u32, Page>,
}

/// The bits of 4,096 chunks, or of as many as the file has from there.
#[derive(Clone, PartialEq, Eq)]
struct Page {
    have: u32,
    words: Vec<u64>,
}

const WORD_BITS: u32 = u64::BITS;
const PAGE_WORDS: u32 = 64;
const PAGE_CHUNKS: u32 = PAGE_WORDS * WORD_BITS;

impl ChunkBitmap {
    /// Returns the bitmap of a file of `file_size` bytes of which nothing is here, in chunks of
    /// [`limits::CHUNK_SIZE`]; `None` when the file is empty, and so needs none, or is larger
    /// than [`limits::FILE_SIZE_MAX`].
    pub fn new(file_size: u64) -> Option<Self> {
        Self::with_chunk_size(file_size, limits::CHUNK_SIZE)
    }

    /// Returns the bitmap of a file of `file_size` bytes of which nothing is here, in chunks of
    /// `chunk_size` bytes.
    ///
    /// `None` also when `chunk_size` is zero or above [`chunk_size_max`], or when the chunks
    /// would be more than 2³² − 1.
    pub fn with_chunk_size(file_size: u64, chunk_size: u32) -> Option<Self> {
        if file_size == 0 || file_size > limits::FILE_SIZE_MAX {
            return None;
        }
        if chunk_size == 0 || u64::from(chunk_size) > chunk_size_max() {
            return None;
        }
        let total = u32::try_from(file_size.div_ceil(u64::from(chunk_size))).ok()?;
        Some(Self {
            file_size,
            chunk_size,
            total,
            have: 0,
            pages: BTreeMap::new(),
        })
    }

    /// Returns the size of the file in bytes; never zero.
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    /// Returns the size of a chunk in bytes; never zero. The last chunk may be shorter.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Returns how many chunks the file has; never zero.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Returns how many chunks are here.
    pub fn have(&self) -> u32 {
        self.have
    }

    /// Returns how many bytes are here: of the last chunk, as many as it has.
    pub fn have_bytes(&self) -> u64 {
        let bytes = u64::from(self.have) * u64::from(self.chunk_size);
        let last = ChunkIx(self.total - 1);
        let short = self.chunk_size - self.chunk_range(last).1;
        if self.has(last) {
            bytes - u64::from(short)
        } else {
            bytes
        }
    }

    /// Returns whether every chunk is here.
    pub fn is_complete(&self) -> bool {
        self.have == self.total
    }

    /// Returns the part of the chunks that is here, from 0.0 to 1.0; 1.0 only when all are.
    pub fn progress(&self) -> f64 {
        f64::from(self.have) / f64::from(self.total)
    }

    /// Returns whether this chunk is here; an index beyond the last is not.
    pub fn has(&self, chunk: ChunkIx) -> bool {
        let (page, bit) = (chunk.0 / PAGE_CHUNKS, chunk.0 % PAGE_CHUNKS);
        self.pages.get(&page).is_some_and(|page| {
            let word = page.words.get(index(bit / WORD_BITS)).copied().unwrap_or(0);
            word >> (bit % WORD_BITS) & 1 == 1
        })
    }

    /// Returns whether every chunk that the range touches is here: so, of a range that is empty
    /// or lies beyond the end of the file, true.
    pub fn has_range(&self, offset: u64, len: u64) -> bool {
        let touched = self.touched(offset, len);
        self.first_missing(touched.start)
            .is_none_or(|missing| missing >= touched.end)
    }

    /// Marks a chunk as here. An index beyond the last marks nothing.
    pub fn set(&mut self, chunk: ChunkIx) -> Fill {
        if chunk.0 >= self.total {
            Fill::Known
        } else {
            self.fill(chunk.0..chunk.0 + 1)
        }
    }

    /// Marks the chunks that lie wholly in the range; the last chunk lies in a range that
    /// reaches the end of the file, however short the chunk is.
    pub fn set_range(&mut self, offset: u64, len: u64) -> Fill {
        self.fill(self.covered(offset, len))
    }

    /// Marks a chunk as missing. Returns whether it was here.
    pub fn clear(&mut self, chunk: ChunkIx) -> bool {
        if !self.has(chunk) {
            return false;
        }
        let at = chunk.0 / PAGE_CHUNKS;
        let bit = chunk.0 % PAGE_CHUNKS;
        let page = self
            .pages
            .get_mut(&at)
            .expect("a chunk that is held has a page");
        page.words[index(bit / WORD_BITS)] &= !(1 << (bit % WORD_BITS));
        page.have -= 1;
        if page.have == 0 {
            self.pages.remove(&at);
        }
        self.have -= 1;
        true
    }

    /// Returns the first chunk from `from` on that is missing, or `None` when none is.
    pub fn next_missing(&self, from: ChunkIx) -> Option<ChunkIx> {
        self.first_missing(from.0).map(ChunkIx)
    }

    /// Returns, in order, the chunks that the range touches and that are missing.
    pub fn missing_in(&self, offset: u64, len: u64) -> impl Iterator<Item = ChunkIx> + '_ {
        let Range { mut start, end } = self.touched(offset, len);
        core::iter::from_fn(move || {
            let missing = self.first_missing(start).filter(|&missing| missing < end)?;
            start = missing + 1;
            Some(ChunkIx(missing))
        })
    }

    /// Returns, in order, the chunks that are here.
    pub fn held(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        self.words().flat_map(|(at, word)| {
            let bits = (0..WORD_BITS).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| ChunkIx(at * WORD_BITS + bit))
        })
    }

    /// Returns, in order, the chunks that the range touches: none when it is empty or lies
    /// beyond the end of the file.
    pub fn chunks_covering(
        &self,
        offset: u64,
        len: u64,
    ) -> impl DoubleEndedIterator<Item = ChunkIx> + ExactSizeIterator + Clone + use<> {
        self.touched(offset, len).map(ChunkIx)
    }

    /// Returns where a chunk begins and how many bytes it has: a whole chunk, of the last one as
    /// many as the file has, and none beyond it.
    pub fn chunk_range(&self, chunk: ChunkIx) -> (u64, u32) {
        let offset = u64::from(chunk.0) * u64::from(self.chunk_size);
        let rest = self.file_size.saturating_sub(offset);
        (
            offset,
            u32::try_from(rest).map_or(self.chunk_size, |rest| rest.min(self.chunk_size)),
        )
    }

    /// Returns the words of 64 chunks that have a bit set, each with its index, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.pages.iter().flat_map(|(&at, page)| {
            let indexed = (at * PAGE_WORDS..).zip(page.words.iter().copied());
            indexed.filter(|&(_, word)| word != 0)
        })
    }

    /// Marks the chunks of a word of 64 by its index; the word has no bit beyond the last chunk.
    pub(super) fn set_word(&mut self, at: u32, word: u64) {
        if word == 0 {
            return;
        }
        let page = self.page(at / PAGE_WORDS);
        let old = &mut page.words[index(at % PAGE_WORDS)];
        let gained = (word & !*old).count_ones();
        *old |= word;
        page.have += gained;
        self.have += gained;
    }

    /// Marks chunks, all of the file's.
    fn fill(&mut self, chunks: Range<u32>) -> Fill {
        if chunks.is_empty() {
            return Fill::Known;
        }
        let before = self.have;
        for at in chunks.start / WORD_BITS..=(chunks.end - 1) / WORD_BITS {
            let first = at * WORD_BITS;
            let low = chunks.start.saturating_sub(first);
            let high = (chunks.end - first).min(WORD_BITS);
            self.set_word(at, u64::MAX >> (WORD_BITS - (high - low)) << low);
        }
        match self.have {
            have if have == before => Fill::Known,
            have if have == self.total => Fill::Completed,
            _ => Fill::Gained,
        }
    }

    /// Returns the page, which is made when it is not there, and then has a bit set by the
    /// caller.
    fn page(&mut self, at: u32) -> &mut Page {
        let chunks = (self.total - at * PAGE_CHUNKS).min(PAGE_CHUNKS);
        self.pages.entry(at).or_insert_with(|| Page {
            have: 0,
            words: vec![0; index(chunks.div_ceil(WORD_BITS))],
        })
    }

    /// Returns the first chunk from `from` on that is missing.
    fn first_missing(&self, from: u32) -> Option<u32> {
        if self.is_complete() || from >= self.total {
            return None;
        }
        let mut next = from;
        for (&at, page) in self.pages.range(from / PAGE_CHUNKS..) {
            let first = at * PAGE_CHUNKS;
            if first > next {
                break;
            }
            if page.have < PAGE_CHUNKS {
                for (word, at) in page.words.iter().zip((first..).step_by(index(WORD_BITS))) {
                    let past = next.saturating_sub(at);
                    if past < WORD_BITS {
                        let missing = (!word >> past).trailing_zeros();
                        if past + missing < WORD_BITS {
                            next = at + past + missing;
                            return (next < self.total).then_some(next);
                        }
                    }
                }
            }
            next = first.saturating_add(PAGE_CHUNKS);
        }
        (next < self.total).then_some(next)
    }

    /// Returns the chunks of which the range has at least a byte.
    fn touched(&self, offset: u64, len: u64) -> Range<u32> {
        let end = offset.saturating_add(len).min(self.file_size);
        if offset >= end {
            return 0..0;
        }
        let size = u64::from(self.chunk_size);
        self.chunk_at(offset / size)..self.chunk_at(end.div_ceil(size))
    }

    /// Returns the chunks of which the range has every byte.
    fn covered(&self, offset: u64, len: u64) -> Range<u32> {
        let end = offset.saturating_add(len).min(self.file_size);
        if offset >= end {
            return 0..0;
        }
        let size = u64::from(self.chunk_size);
        let end = if end == self.file_size {
            self.total
        } else {
            self.chunk_at(end / size)
        };
        self.chunk_at(offset.div_ceil(size))..end
    }

    /// Narrows the index of a chunk that begins in the file or at its end.
    fn chunk_at(&self, at: u64) -> u32 {
        u32::try_from(at).expect("a file's chunks are counted in 32 bits")
    }
}

/// The largest size of a chunk in bytes: a larger one could not be asked for within what may be
/// in flight.
pub const fn chunk_size_max() -> u64 {
    limits::FETCH_BYTES_IN_FLIGHT_MAX
}

/// Widens a small number to an index.
fn index(at: u32) -> usize {
    usize::try_from(at).expect("indices have at least 32 bits")
}

impl fmt::Debug for ChunkBitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} chunks of {} bytes",
            self.have, self.total, self.chunk_size
        )
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use proptest::collection::vec as list_of;
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn an_empty_file_needs_no_bitmap() {
        assert_eq!(ChunkBitmap::new(0), None);
        assert_eq!(ChunkBitmap::with_chunk_size(1, 0), None);
        assert_eq!(ChunkBitmap::with_chunk_size(1, u32::MAX), None);
        assert_eq!(ChunkBitmap::with_chunk_size(1 << 40, 1), None);
        assert_eq!(ChunkBitmap::new(limits::FILE_SIZE_MAX + 1), None);
        assert_eq!(ChunkBitmap::new(u64::MAX), None);
    }

    #[test]
    fn the_usual_chunk_is_512_kib_and_the_last_may_be_short() {
        let map = ChunkBitmap::new(512 * KIB + 1).unwrap();
        assert_eq!(
            (map.chunk_size(), map.total(), map.file_size()),
            (524_288, 2, 524_289)
        );
        assert_eq!(map.chunk_range(ChunkIx(0)), (0, 524_288));
        assert_eq!(map.chunk_range(ChunkIx(1)), (524_288, 1));
        assert_eq!(map.chunk_range(ChunkIx(2)), (1_048_576, 0));
        assert_eq!(map.chunk_range(ChunkIx(u32::MAX)).1, 0);
    }

    /// The reference rounds a range outward, and so marks chunks that never arrived.
    #[test]
    fn a_range_marks_only_the_chunks_that_it_covers_wholly_s11() {
        let mut map = ChunkBitmap::with_chunk_size(1000, 100).unwrap();
        assert_eq!(map.set_range(50, 100), Fill::Known);
        assert_eq!(map.have(), 0);
        assert_eq!(map.set_range(50, 150), Fill::Gained);
        assert_eq!(map.held().collect::<Vec<_>>(), [ChunkIx(1)]);
        assert_eq!(map.set_range(0, 999), Fill::Gained);
        assert!(!map.has(ChunkIx(9)));
        assert_eq!(map.set_range(900, 100), Fill::Completed);
        assert_eq!(map.set_range(0, u64::MAX), Fill::Known);
    }

    #[test]
    fn progress_is_the_part_that_is_here() {
        let mut map = ChunkBitmap::with_chunk_size(400, 100).unwrap();
        let mut seen = Vec::from([map.progress()]);
        for chunk in 0..4 {
            map.set(ChunkIx(chunk));
            seen.push(map.progress());
        }
        assert_eq!(seen, [0.0, 0.25, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn a_short_last_chunk_is_covered_by_a_range_to_the_end_of_the_file() {
        let mut map = ChunkBitmap::with_chunk_size(250, 100).unwrap();
        assert_eq!(map.set_range(200, 49), Fill::Known);
        assert_eq!(map.set_range(201, 49), Fill::Known);
        assert_eq!(map.set_range(200, 50), Fill::Gained);
        assert_eq!(map.have_bytes(), 50);
        map.clear(ChunkIx(2));
        assert_eq!(map.set_range(200, u64::MAX), Fill::Gained);
        assert_eq!(map.set_range(0, 200), Fill::Completed);
        assert_eq!(map.have_bytes(), 250);
    }

    #[test]
    fn ranges_at_the_end_of_numbers_neither_overflow_nor_mark() {
        let mut map = ChunkBitmap::new(limits::FILE_SIZE_MAX).unwrap();
        assert_eq!(map.set_range(u64::MAX, u64::MAX), Fill::Known);
        assert_eq!(map.set(ChunkIx(u32::MAX)), Fill::Known);
        assert_eq!(map.set(ChunkIx(u32::MAX - 1)), Fill::Gained);
        assert!(map.has_range(limits::FILE_SIZE_MAX - 1, u64::MAX));
        assert!(map.has_range(u64::MAX, 1));
        assert!(map.has_range(0, 0));
        assert!(!map.has_range(0, u64::MAX));
        assert_eq!(map.next_missing(ChunkIx(u32::MAX - 1)), None);
        assert_eq!(map.next_missing(ChunkIx(u32::MAX)), None);
        assert_eq!(map.chunks_covering(0, u64::MAX).len(), index(u32::MAX));
        assert_eq!(
            map.pages.len(),
            1,
            "memory follows what is held, not the file's size"
        );
        assert!(map.clear(ChunkIx(u32::MAX - 1)));
        assert_eq!(map, ChunkBitmap::new(limits::FILE_SIZE_MAX).unwrap());
    }

    #[test]
    fn it_prints_as_a_line() {
        let mut map = ChunkBitmap::new(3 << 20).unwrap();
        map.set(ChunkIx(4));
        assert_eq!(format!("{map:?}"), "1/6 chunks of 524288 bytes");
    }

    /// The same, one bool a chunk, every question answered byte by byte's chunk.
    #[derive(Debug)]
    struct Model {
        file_size: u64,
        chunk_size: u64,
        held: Vec<bool>,
    }

    impl Model {
        /// Returns whether chunk `ix` shares a byte with the range, and whether it lies in it.
        fn meets(&self, ix: usize, offset: u64, len: u64) -> (bool, bool) {
            let start = u128::from(self.chunk_size) * ix as u128;
            let end = (start + u128::from(self.chunk_size)).min(u128::from(self.file_size));
            let (from, to) = (u128::from(offset), u128::from(offset) + u128::from(len));
            (
                from < end && start < to && len > 0,
                from <= start && end <= to,
            )
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(u32),
        SetRange(u64, u64),
        Clear(u32),
    }

    /// Files of up to 9,000 chunks (three pages), and ranges near the ends of chunks.
    fn story() -> impl Strategy<Value = (u64, u32, Vec<Op>, (u64, u64))> {
        let file = prop_oneof![
            (1..300u64, 1..40u32),
            (1..9_000u64, Just(1)),
            (8_000..9_000u64, Just(1)),
        ];
        file.prop_flat_map(|(size, chunk)| {
            let span = prop_oneof![
                8 => (0..size + 3, 0..size + 3),
                1 => (any::<u64>(), any::<u64>()),
                1 => (0..size, Just(u64::MAX)),
            ];
            let total = u32::try_from(size.div_ceil(u64::from(chunk))).unwrap();
            let op = prop_oneof![
                (0..=total).prop_map(Op::Set),
                span.clone()
                    .prop_map(|(offset, len)| Op::SetRange(offset, len)),
                (0..=total).prop_map(Op::Clear),
            ];
            (Just(size), Just(chunk), list_of(op, 0..12), span)
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_bools((size, chunk, ops, (offset, len)) in story()) {
            let mut map = ChunkBitmap::with_chunk_size(size, chunk).unwrap();
            let total = index(map.total());
            let mut model =
                Model { file_size: size, chunk_size: u64::from(chunk), held: vec![false; total] };
            for op in ops {
                let before = model.held.clone();
                match op {
                    Op::Set(ix) => {
                        if let Some(held) = model.held.get_mut(index(ix)) {
                            *held = true;
                        }
                        prop_assert_eq!(map.set(ChunkIx(ix)), fill(&before, &model.held));
                    }
                    Op::SetRange(offset, len) => {
                        for ix in 0..total {
                            model.held[ix] |= model.meets(ix, offset, len).1;
                        }
                        prop_assert_eq!(map.set_range(offset, len), fill(&before, &model.held));
                    }
                    Op::Clear(ix) => {
                        let was = model.held.get_mut(index(ix)).is_some_and(core::mem::take);
                        prop_assert_eq!(map.clear(ChunkIx(ix)), was);
                    }
                }
            }
            let all = || (0..map.total()).map(ChunkIx);
            let held = |chunk: &ChunkIx| model.held[index(chunk.0)];
            let touched =
                |chunk: &ChunkIx| model.meets(index(chunk.0), offset, len).0;
            let have = all().filter(held).count();
            let bytes = all().filter(held).map(|ix| u64::from(map.chunk_range(ix).1)).sum::<u64>();
            prop_assert!(all().all(|ix| map.has(ix) == held(&ix)));
            prop_assert_eq!(index(map.have()), have);
            prop_assert_eq!(map.have_bytes(), bytes);
            prop_assert_eq!(map.is_complete(), have == total);
            prop_assert_eq!(map.is_complete(), map.progress() >= 1.0);
            prop_assert!(map.held().eq(all().filter(held)));
            prop_assert!(map.chunks_covering(offset, len).eq(all().filter(touched)));
            prop_assert!(map
                .missing_in(offset, len)
                .eq(all().filter(touched).filter(|ix| !held(ix))));
            prop_assert_eq!(map.has_range(offset, len), all().filter(touched).all(|ix| held(&ix)));
            let from = u32::try_from(offset.min(u64::from(map.total()) + 1)).unwrap();
            prop_assert_eq!(
                map.next_missing(ChunkIx(from)),
                all().find(|ix| ix.0 >= from && !held(ix))
            );
        }

        #[test]
        fn the_chunks_partition_the_file(size in 1..5_000u64, chunk in 1..600u32) {
            let map = ChunkBitmap::with_chunk_size(size, chunk).unwrap();
            let mut at = 0;
            for ix in map.chunks_covering(0, size) {
                let (offset, len) = map.chunk_range(ix);
                prop_assert_eq!(offset, at);
                prop_assert!(len > 0);
                at += u64::from(len);
            }
            prop_assert_eq!(at, size);
        }
    }

    /// What a change of the model's bools is called.
    fn fill(before: &[bool], after: &[bool]) -> Fill {
        match () {
            () if before == after => Fill::Known,
            () if after.iter().all(|held| *held) => Fill::Completed,
            () => Fill::Gained,
        }
    }
}
