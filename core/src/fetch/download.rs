//! The arrival of one version of one file.
//!
//! Law (P5): every chunk is missing, claimed or held, and one of these only. A held chunk was
//! checked against its hash and is not fetched again; a claimed one is said to be here by a
//! sidecar, and is hashed before it is used; nothing else is asked of a peer. What can be
//! computed from the chunks is computed, never counted beside them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::fetch::backoff::Backoff;
use crate::fetch::bitmap::{ChunkBitmap, Fill};
use crate::fetch::sidecar::Sidecar;
use crate::ids::{ChunkHash, ChunkIx};
use crate::time::{Duration, Time};

/// How far a version of a file has arrived, and when to try again.
#[derive(Clone, Debug)]
pub struct Download {
    /// `None` of an empty file, which is complete by itself.
    chunks: Option<Chunks>,
    hashes: BTreeMap<ChunkIx, ChunkHash>,
    last_offset: Option<u64>,
    started: Time,
    last_success: Option<Time>,
    backoff: Backoff,
}

/// The chunks of a file that has some. Both bitmaps have the same sizes, and no chunk in common.
#[derive(Clone, Debug)]
struct Chunks {
    held: ChunkBitmap,
    claims: ChunkBitmap,
}

impl Download {
    /// Returns the download of `size` bytes in chunks of `chunk_size`, of which nothing is here;
    /// `None` when the sizes are none that a [`ChunkBitmap`] can have. A size of zero can: there
    /// is nothing to fetch.
    pub fn new(size: u64, chunk_size: u32, now: Time, backoff: Backoff) -> Option<Self> {
        let chunks = match size {
            0 => None,
            size => {
                let held = ChunkBitmap::with_chunk_size(size, chunk_size)?;
                Some(Chunks {
                    claims: held.clone(),
                    held,
                })
            }
        };
        Some(Self::of(chunks, BTreeMap::new(), now, backoff))
    }

    /// Returns the download that goes on from a sidecar: its durable chunks are held, and the
    /// others that are present are claims.
    pub fn resume(sidecar: &Sidecar, now: Time, backoff: Backoff) -> Self {
        let held = sidecar.durable().clone();
        let claims = sidecar.claims().clone();
        Self::of(
            Some(Chunks { held, claims }),
            sidecar.hashes().clone(),
            now,
            backoff,
        )
    }

    fn of(
        chunks: Option<Chunks>,
        hashes: BTreeMap<ChunkIx, ChunkHash>,
        started: Time,
        backoff: Backoff,
    ) -> Self {
        Self {
            chunks,
            hashes,
            last_offset: None,
            started,
            last_success: None,
            backoff,
        }
    }

    /// Starts over with another version, of `size` bytes in chunks of `chunk_size`: nothing of
    /// it is here, and its attempts are counted afresh. Returns whether the size is possible;
    /// when it is not, nothing changes.
    pub fn reset(&mut self, size: u64, chunk_size: u32, now: Time) -> bool {
        let mut backoff = self.backoff.clone();
        backoff.progress();
        let fresh = Self::new(size, chunk_size, now, backoff);
        fresh.map(|fresh| *self = fresh).is_some()
    }

    /// Forgets which chunks are here, for the disk to be asked again; the attempts still count.
    pub fn forget(&mut self, size: u64, chunk_size: u32, now: Time) -> bool {
        let fresh = Self::new(size, chunk_size, now, self.backoff.clone());
        fresh.map(|fresh| *self = fresh).is_some()
    }

    /// Says that a chunk came from a peer, was found to have this hash, which is the right one,
    /// and was written.
    ///
    /// When that is news it is progress: the attempts are counted afresh.
    pub fn arrived(&mut self, now: Time, chunk: ChunkIx, hash: ChunkHash) -> Fill {
        let Some(chunks) = &mut self.chunks else {
            return Fill::Known;
        };
        chunks.claims.clear(chunk);
        let fill = chunks.held.set(chunk);
        match fill {
            Fill::Known => {}
            Fill::Gained | Fill::Completed => {
                self.hashes.insert(chunk, hash);
                self.last_offset = Some(chunks.held.chunk_range(chunk).0);
                self.last_success = Some(now);
                self.backoff.progress();
            }
        }
        fill
    }

    /// Says that the bytes of a claimed chunk were found to have this hash, which is the right
    /// one: it is held. A chunk that is not claimed stays what it is.
    pub fn confirmed(&mut self, chunk: ChunkIx, hash: ChunkHash) -> Fill {
        let Some(chunks) = &mut self.chunks else {
            return Fill::Known;
        };
        if !chunks.claims.clear(chunk) {
            return Fill::Known;
        }
        self.hashes.insert(chunk, hash);
        chunks.held.set(chunk)
    }

    /// Says that a chunk, claimed or held, is not here after all: its bytes proved to be others,
    /// or were given up. Returns whether it was thought to be here.
    pub fn lost(&mut self, chunk: ChunkIx) -> bool {
        self.hashes.remove(&chunk);
        let chunks = self.chunks.as_mut();
        chunks.is_some_and(|chunks| chunks.claims.clear(chunk) | chunks.held.clear(chunk))
    }

    /// Says that these chunks are here, and were written by somebody else: no hash of theirs is
    /// known.
    pub fn written(&mut self, first: ChunkIx, count: u32) {
        let Some(chunks) = &mut self.chunks else {
            return;
        };
        let end = first.0.saturating_add(count);
        let inside = |chunk: &ChunkIx| (first.0..end).contains(&chunk.0);
        let claims: Vec<ChunkIx> = chunks.claims.held().filter(inside).collect();
        for claim in claims {
            chunks.claims.clear(claim);
        }
        let size = u64::from(chunks.held.chunk_size());
        chunks
            .held
            .set_range(u64::from(first.0) * size, u64::from(count) * size);
        let hashed: Vec<ChunkIx> = self
            .hashes
            .range(first..ChunkIx(end))
            .map(|(&chunk, _)| chunk)
            .collect();
        for chunk in hashed {
            self.hashes.remove(&chunk);
        }
    }

    /// Says that what is held is to be proven again: it is claimed, where there is a hash to
    /// prove it by.
    pub fn doubt(&mut self) {
        let Some(chunks) = &mut self.chunks else {
            return;
        };
        let held: Vec<ChunkIx> = chunks.held.held().collect();
        for chunk in held {
            chunks.held.clear(chunk);
            if self.hashes.contains_key(&chunk) {
                chunks.claims.set(chunk);
            }
        }
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.chunks
            .as_ref()
            .map_or(0, |chunks| chunks.held.file_size())
    }

    /// Returns how many bytes are held, to the byte.
    pub fn bytes(&self) -> u64 {
        self.chunks
            .as_ref()
            .map_or(0, |chunks| chunks.held.have_bytes())
    }

    /// Returns the part of the bytes that is held, from 0.0 to 1.0; 1.0 only when all are.
    pub fn progress(&self) -> f64 {
        // Sizes are below 2⁵³ (`limits::FILE_SIZE_MAX`), so both conversions are exact.
        if self.size() == 0 {
            1.0
        } else {
            self.bytes() as f64 / self.size() as f64
        }
    }

    /// Returns whether every chunk is held.
    pub fn is_complete(&self) -> bool {
        self.chunks
            .as_ref()
            .is_none_or(|chunks| chunks.held.is_complete())
    }

    /// Returns the chunks that are held; `None` when the file is empty and has none.
    pub fn held(&self) -> Option<&ChunkBitmap> {
        self.chunks.as_ref().map(|chunks| &chunks.held)
    }

    /// Returns the chunks that are claimed; `None` when the file is empty and has none.
    pub fn claims(&self) -> Option<&ChunkBitmap> {
        self.chunks.as_ref().map(|chunks| &chunks.claims)
    }

    /// Returns whether every byte of a range is held, or lies beyond the end of the file.
    pub fn has_range(&self, offset: u64, len: u64) -> bool {
        self.chunks
            .as_ref()
            .is_none_or(|chunks| chunks.held.has_range(offset, len))
    }

    /// Returns, in order, the chunks that a range touches and that must be fetched: those
    /// neither held nor claimed.
    pub fn wanted_in(&self, offset: u64, len: u64) -> impl Iterator<Item = ChunkIx> + '_ {
        self.chunks.iter().flat_map(move |Chunks { held, claims }| {
            held.missing_in(offset, len)
                .filter(|&chunk| !claims.has(chunk))
        })
    }

    /// Returns, in order, the chunks that a range touches and that must be hashed before their
    /// use.
    pub fn claimed_in(&self, offset: u64, len: u64) -> impl Iterator<Item = ChunkIx> + '_ {
        self.chunks.iter().flat_map(move |Chunks { held, claims }| {
            held.missing_in(offset, len)
                .filter(|&chunk| claims.has(chunk))
        })
    }

    /// Returns the hash of a chunk that is held, or that a claim gives it.
    pub fn hash(&self, chunk: ChunkIx) -> Option<ChunkHash> {
        self.hashes.get(&chunk).copied()
    }

    /// Returns the hashes of the chunks that are held, and of claims that came with one.
    pub fn hashes(&self) -> &BTreeMap<ChunkIx, ChunkHash> {
        &self.hashes
    }

    /// Returns where the chunk that arrived last begins, in bytes.
    pub fn last_offset(&self) -> Option<u64> {
        self.last_offset
    }

    /// Returns when the download began, or went on from a sidecar.
    pub fn started(&self) -> Time {
        self.started
    }

    /// Returns when a chunk arrived last.
    pub fn last_success(&self) -> Option<Time> {
        self.last_success
    }

    /// Counts an attempt, and returns how long to wait before it; `None` when none is left.
    pub fn next_attempt(&mut self, jitter: u8) -> Option<Duration> {
        self.backoff.next_delay(jitter)
    }

    /// Says that the link is up again: the attempts are counted afresh.
    pub fn link_up(&mut self) {
        self.backoff.progress();
    }

    /// Returns the attempts since the last progress.
    pub fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    /// Returns whether an attempt is left, and something to fetch by it.
    pub fn can_retry(&self) -> bool {
        !self.is_complete() && !self.backoff.exhausted()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fetch::record::{Header, Record, SidecarWriter};
    use crate::ids::{ActorId, Dot, NodeId, ObjectId};

    const ANY: ChunkHash = ChunkHash(1);

    fn download(size: u64) -> Download {
        Download::new(size, 100, Time(5), Backoff::default()).unwrap()
    }

    #[test]
    fn bytes_are_exact_and_the_last_chunk_is_short() {
        let mut download = download(250);
        assert_eq!(
            (download.size(), download.bytes(), download.progress()),
            (250, 0, 0.0)
        );
        assert_eq!(download.arrived(Time(7), ChunkIx(2), ANY), Fill::Gained);
        assert_eq!((download.bytes(), download.progress()), (50, 0.2));
        assert_eq!(download.last_offset(), Some(200));
        assert_eq!(
            (download.started(), download.last_success()),
            (Time(5), Some(Time(7)))
        );
        assert_eq!(download.arrived(Time(8), ChunkIx(0), ANY), Fill::Gained);
        assert_eq!(download.arrived(Time(9), ChunkIx(1), ANY), Fill::Completed);
        assert_eq!((download.bytes(), download.progress()), (250, 1.0));
        assert!(download.is_complete() && !download.can_retry());
    }

    #[test]
    fn an_empty_file_is_complete_by_itself() {
        let mut download = download(0);
        assert!(download.is_complete() && download.has_range(0, 10));
        assert_eq!(
            (download.size(), download.bytes(), download.progress()),
            (0, 0, 1.0)
        );
        assert_eq!(download.wanted_in(0, u64::MAX).count(), 0);
        assert_eq!(download.arrived(Time(9), ChunkIx(0), ANY), Fill::Known);
        assert!(!download.lost(ChunkIx(0)) && download.held().is_none());
        assert!(Download::new(u64::MAX, 100, Time(0), Backoff::default()).is_none());
    }

    #[test]
    fn attempts_end_and_only_news_begins_them_afresh() {
        let mut download = download(250);
        download.arrived(Time(6), ChunkIx(0), ANY);
        while download.next_attempt(0).is_some() {}
        assert_eq!(download.attempts(), 5);
        assert!(!download.can_retry());
        // A peer that sends again what is here does not keep a fetch alive.
        assert_eq!(download.arrived(Time(7), ChunkIx(0), ANY), Fill::Known);
        assert!(!download.can_retry());
        assert_eq!(download.last_success(), Some(Time(6)));
        download.arrived(Time(8), ChunkIx(1), ANY);
        assert!(download.can_retry());
        while download.next_attempt(0).is_some() {}
        download.link_up();
        assert_eq!((download.attempts(), download.can_retry()), (0, true));
    }

    #[test]
    fn another_version_starts_over() {
        let mut download = download(250);
        download.arrived(Time(7), ChunkIx(0), ANY);
        download.next_attempt(0);
        assert!(!download.reset(u64::MAX, 100, Time(9)));
        assert_eq!(download.bytes(), 100);
        assert!(download.reset(90, 100, Time(9)));
        assert_eq!(
            (download.size(), download.bytes(), download.attempts()),
            (90, 0, 0)
        );
        assert_eq!(
            (download.started(), download.last_success()),
            (Time(9), None)
        );
        assert!(download.hashes().is_empty() && download.last_offset().is_none());
        assert!(download.reset(0, 100, Time(10)) && download.is_complete());
    }

    #[test]
    fn a_resumed_download_fetches_neither_what_is_durable_nor_what_is_claimed_s29() {
        let dot = Dot {
            actor: ActorId(1),
            counter: 1,
        };
        let object = ObjectId {
            node: NodeId(dot),
            version: dot,
        };
        let header = Header {
            object,
            file_size: 450,
            chunk_size: 100,
            salt: 3,
        };
        let (mut writer, head) = SidecarWriter::create(&header).unwrap();
        let chunk = |ix| Record::Chunk {
            chunk: ChunkIx(ix),
            hash: ChunkHash(ix.into()),
        };
        let mut bytes = head.to_vec();
        for record in [chunk(4), Record::Durable { upto: 1 }, chunk(1), chunk(2)] {
            bytes.extend_from_slice(&writer.append(record));
        }
        let sidecar = Sidecar::decode(&bytes, Some((object, 450))).unwrap();
        let mut download = Download::resume(&sidecar, Time(3), Backoff::default());
        let wanted = |download: &Download| download.wanted_in(0, 450).collect::<Vec<_>>();

        assert_eq!(download.bytes(), 50);
        assert_eq!(wanted(&download), [ChunkIx(0), ChunkIx(3)]);
        let claimed: Vec<_> = download.claimed_in(0, 201).collect();
        assert_eq!(claimed, [ChunkIx(1), ChunkIx(2)]);

        assert_eq!(download.confirmed(ChunkIx(1), ChunkHash(1)), Fill::Gained);
        assert!(download.lost(ChunkIx(2)));
        assert_eq!(download.confirmed(ChunkIx(2), ChunkHash(2)), Fill::Known);
        assert_eq!(download.hash(ChunkIx(2)), None);
        assert_eq!(wanted(&download), [ChunkIx(0), ChunkIx(2), ChunkIx(3)]);
        assert_eq!(download.bytes(), 150);
    }

    proptest! {
        /// Whatever happens to the chunks, each is in one state, and what is derived agrees.
        #[test]
        fn every_chunk_is_missing_claimed_or_held(
            size in 1..1_000u64,
            steps in prop::collection::vec((0..3u8, any::<u32>()), 0..40),
            claimed in prop::collection::vec(any::<u32>(), 0..6),
        ) {
            let mut claims = ChunkBitmap::with_chunk_size(size, 100).unwrap();
            let total = claims.total();
            for ix in claimed {
                claims.set(ChunkIx(ix % total));
            }
            let dot = Dot { actor: ActorId(1), counter: 1 };
            let object = ObjectId { node: NodeId(dot), version: dot };
            let sidecar = Sidecar::from_v1(claims.clone(), object, 1);
            let mut download = Download::resume(&sidecar, Time(0), Backoff::default());
            let mut state: Vec<u8> = (0..total).map(|ix| claims.has(ChunkIx(ix)).into()).collect();
            for (step, ix) in steps {
                // One more than there is, which nothing may come of.
                let chunk = ChunkIx(ix % (total + 1));
                let state = state.get_mut(chunk.0 as usize);
                match step {
                    0 => {
                        let news = state.as_ref().is_some_and(|state| **state < 2);
                        let fill = download.arrived(Time(1), chunk, ANY);
                        prop_assert_eq!(fill != Fill::Known, news);
                        state.into_iter().for_each(|state| *state = 2);
                    }
                    1 => {
                        download.confirmed(chunk, ANY);
                        state.into_iter().filter(|state| **state == 1).for_each(|state| *state = 2);
                    }
                    _ => {
                        let here = state.as_ref().is_some_and(|state| **state > 0);
                        prop_assert_eq!(download.lost(chunk), here);
                        state.into_iter().for_each(|state| *state = 0);
                    }
                }
                let now = state_of(&download, total);
                let of = |wanted| -> Vec<_> {
                    let all = (0..total).map(ChunkIx).zip(&now);
                    all.filter(|(_, is)| **is == wanted).map(|(chunk, _)| chunk).collect()
                };
                prop_assert_eq!(of(0), download.wanted_in(0, size).collect::<Vec<_>>());
                prop_assert_eq!(of(1), download.claimed_in(0, size).collect::<Vec<_>>());
            }
            prop_assert_eq!(&state_of(&download, total), &state);
            let len = |ix: u32| u64::from(claims.chunk_range(ChunkIx(ix)).1);
            let held = (0..total).filter(|ix| state[*ix as usize] == 2);
            prop_assert_eq!(download.bytes(), held.clone().map(len).sum::<u64>());
            prop_assert!(held.clone().all(|ix| download.hash(ChunkIx(ix)) == Some(ANY)));
            prop_assert_eq!(download.is_complete(), held.count() == total as usize);
            prop_assert_eq!(download.is_complete(), download.progress() >= 1.0);
        }
    }

    /// The state of every chunk: 0 missing, 1 claimed, 2 held; 3 is none.
    fn state_of(download: &Download, total: u32) -> Vec<u8> {
        let (held, claims) = (download.held().unwrap(), download.claims().unwrap());
        let state = |chunk| u8::from(claims.has(chunk)) + 2 * u8::from(held.has(chunk));
        (0..total).map(|ix| state(ChunkIx(ix))).collect()
    }
}
