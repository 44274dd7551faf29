//! What was written over a version, and what of the two is here.
//!
//! Law: a byte is here when it was written, or lies where the version beneath does not count (at
//! or beyond `limit`), or its chunk of that version is here. What was changed since the last
//! publish is known at least: a chunk that does not count as changed holds what it held then.
//! Both are true of what [`Overlay::recover`] makes of any prefix of the journal and of the file
//! as a kill left it, since each [`Plan`] has a record of bytes that are to change before the
//! change, and of bytes that are there after it.
//!
//! Whether a chunk of the version beneath is here is told by whoever asks: `has`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::draft::journal::{Header, Record};
use crate::draft::spans::Spans;
use crate::ids::{ChunkIx, Dot};
use crate::limits::DRAFT_SPANS_MAX;

/// A file as it is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    chunk_size: u32,
    base_size: u64,
    /// Bytes of the version beneath count only below it. At most `base_size`; it only sinks.
    limit: u64,
    size: u64,
    /// Chunks that are wholly here and not as they are beneath.
    whole: Spans,
    /// Written bytes over chunks that are not here, from their beginnings. None is empty.
    parts: BTreeMap<ChunkIx, Spans>,
    /// How many spans `parts` has.
    spans: usize,
    /// Chunks that are on record as changed since the last publish.
    marked: Spans,
    /// Every chunk from this one on was changed since then.
    beyond: Option<ChunkIx>,
}

/// The records that go with a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those that have to be there before the bytes change.
    pub before: Vec<Record>,
    /// Those that may be there only after.
    pub after: Vec<Record>,
}

impl Plan {
    /// Returns whether nothing is to be recorded.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// There are more separate pieces than are kept track of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooScattered;

/// What is left of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The file.
    pub overlay: Overlay,
    /// What a new journal begins with.
    pub records: Vec<Record>,
}

impl Overlay {
    /// Returns a file that is what is beneath.
    pub fn new(chunk_size: u32, base_size: u64) -> Self {
        Self {
            chunk_size,
            base_size,
            limit: base_size,
            size: base_size,
            whole: Spans::new(),
            parts: BTreeMap::new(),
            spans: 0,
            marked: Spans::new(),
            beyond: None,
        }
    }

    /// Returns what is left of a draft, by its journal and the length of its file.
    ///
    /// `version` is the last one that was published of it. After a power loss (`lost`) what was
    /// not synced is in doubt: bytes that stood over others of the version beneath which may not
    /// be there go, and all counts as changed, and as unlike what is beneath.
    pub fn recover(
        header: &Header,
        records: &[Record],
        version: Dot,
        len: u64,
        lost: bool,
    ) -> Recovered {
        let is_it = |record: &Record| matches!(record, Record::Published { version: it, .. } if *it == version);
        let published = records.iter().rposition(is_it);
        let synced = records
            .iter()
            .rposition(|record| *record == Record::Synced)
            .map_or(0, |at| at + 1);
        let mut known = Self::new(header.chunk_size, header.base_size);
        let mut published_size = header.base_size;
        if published.is_none() && version != header.file.version {
            known.apply(Record::Beyond { chunk: ChunkIx(0) });
        }
        let mut fresh = Vec::new();
        for (at, &record) in records.iter().enumerate() {
            if at == synced && synced > 0 {
                fresh = known.records(published.filter(|it| *it < synced).map(|_| {
                    let size = published_size;
                    Record::Published { version, size }
                }));
                fresh.push(Record::Synced);
            }
            if let Record::Published { size, .. } = record {
                if Some(at) != published {
                    continue;
                }
                published_size = size;
            }
            let record = if lost && at >= synced {
                known.doubt(record, header.base_whole)
            } else {
                Some(record)
            };
            if let Some(record) = record {
                known.apply(record);
                if at >= synced {
                    fresh.push(record);
                }
            }
        }
        if synced > 0 && synced == records.len() {
            fresh = known.records(published.map(|_| {
                let size = published_size;
                Record::Published { version, size }
            }));
            fresh.push(Record::Synced);
        }
        // It was cut, and killed before that was on record.
        let cut = (len < known.limit.max(published_size)).then_some(Record::Cut { len });
        let doubt = lost.then_some(Record::Beyond { chunk: ChunkIx(0) });
        // A write may have come as far as to the file, and its mark not to the journal: no chunk
        // is known to be the one of the version beneath.
        let (first, count) = (ChunkIx(0), known.chunks(len));
        let rewritten =
            (lost && header.base_whole && count > 0).then_some(Record::Chunks { first, count });
        for record in cut.into_iter().chain(doubt).chain(rewritten) {
            known.apply(record);
            fresh.push(record);
        }
        known.size = published_size.min(len);
        known.grow(published_size.max(len));
        known.size = len;
        Recovered {
            overlay: known,
            records: fresh,
        }
    }

    /// Returns what holds of a record whose bytes may not have reached the disk.
    fn doubt(&self, record: Record, base_whole: bool) -> Option<Record> {
        match record {
            Record::Chunks { first, count } => {
                let end = u64::from(first.0) + u64::from(count);
                let beneath = u64::from(first.0)..end.min(self.chunks(self.limit).into());
                (base_whole || self.whole.covers(beneath)).then_some(record)
            }
            Record::Range { .. } | Record::Filled { .. } => None,
            Record::Touched { .. }
            | Record::Cut { .. }
            | Record::Beyond { .. }
            | Record::Published { .. }
            | Record::Synced => Some(record),
        }
    }

    /// Takes in what a record says.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Chunks { first, count } => {
                let chunks = u64::from(first.0)..u64::from(first.0) + u64::from(count);
                self.marked.insert(chunks.clone());
                self.whole.insert(chunks.clone());
                let inner: Vec<ChunkIx> = self
                    .parts
                    .range(first..)
                    .map(|(&chunk, _)| chunk)
                    .take_while(|chunk| u64::from(chunk.0) < chunks.end)
                    .collect();
                for chunk in inner {
                    self.drop_parts(chunk);
                }
            }
            Record::Touched { first, count } => {
                let first = u64::from(first.0);
                self.marked.insert(first..first + u64::from(count));
            }
            Record::Range { chunk, from, to } => {
                self.marked.insert(one(chunk));
                let need = self.need(chunk);
                let range = u64::from(from)..u64::from(to.min(need));
                if self.whole.has(chunk.0.into()) || range.is_empty() {
                    return;
                }
                let parts = self.parts.entry(chunk).or_default();
                let before = parts.count();
                parts.insert(range);
                self.spans = self.spans + parts.count() - before;
                if parts.covers(0..need.into()) {
                    self.drop_parts(chunk);
                    self.whole.insert(one(chunk));
                }
            }
            Record::Cut { len } => self.cut(len),
            Record::Filled { chunk } => {
                self.drop_parts(chunk);
                self.whole.insert(one(chunk));
            }
            Record::Beyond { chunk } => {
                self.beyond = Some(self.beyond.map_or(chunk, |beyond| beyond.min(chunk)));
            }
            Record::Published { .. } => {
                self.marked.clear();
                self.beyond = None;
            }
            Record::Synced => {}
        }
    }

    /// The file was cut to a length.
    fn cut(&mut self, len: u64) {
        let at = self.chunk_of(len);
        self.apply(Record::Beyond { chunk: at });
        self.limit = self.limit.min(len);
        self.size = self.size.min(len);
        let rest = u64::from(self.chunks(len))..u64::from(u32::MAX);
        self.whole.remove(rest.clone());
        self.marked.remove(rest);
        let over: Vec<ChunkIx> = self.parts.range(at..).map(|(&chunk, _)| chunk).collect();
        for chunk in over {
            let need = u64::from(self.need(chunk));
            let Some(mut parts) = self.drop_parts(chunk) else {
                continue;
            };
            parts.remove(need..self.chunk_size.into());
            if need > 0 && parts.covers(0..need) {
                self.whole.insert(one(chunk));
            } else if !parts.is_empty() {
                self.spans += parts.count();
                self.parts.insert(chunk, parts);
            }
        }
    }

    fn drop_parts(&mut self, chunk: ChunkIx) -> Option<Spans> {
        let parts = self.parts.remove(&chunk)?;
        self.spans -= parts.count();
        Some(parts)
    }

    /// Returns the records that go with a write.
    pub fn plan_write(
        &self,
        offset: u64,
        len: u32,
        has: impl Fn(ChunkIx) -> bool,
    ) -> Result<Plan, TooScattered> {
        let mut plan = Plan::default();
        let mut spans = self.spans;
        for (chunk, bytes) in self.pieces(offset..offset.saturating_add(len.into())) {
            let is_marked = self.marked.has(chunk.0.into());
            if self.is_whole(chunk, &has) {
                // What is marked may have been written beyond the version beneath alone.
                if !is_marked || self.is_as_beneath(chunk) {
                    plan.before.push(Record::Chunks {
                        first: chunk,
                        count: 1,
                    });
                }
                continue;
            }
            let need = self.need(chunk);
            // Bytes of ours that belong to what was published may be among those that change.
            if !is_marked && (self.parts.contains_key(&chunk) || bytes.end > need) {
                plan.before.push(Record::Touched {
                    first: chunk,
                    count: 1,
                });
            }
            if bytes.start < need {
                let (from, to) = (bytes.start, bytes.end.min(need));
                plan.after.push(Record::Range { chunk, from, to });
                spans += 1;
            }
        }
        if spans > DRAFT_SPANS_MAX && !plan.after.is_empty() {
            return Err(TooScattered);
        }
        Ok(plan)
    }

    /// Returns the records that go with a cut or an extension to a length.
    pub fn plan_resize(&self, len: u64, has: impl Fn(ChunkIx) -> bool) -> Plan {
        let mut plan = Plan::default();
        if len >= self.size {
            return plan;
        }
        let at = self.chunk_of(len);
        let is_inside = !len.is_multiple_of(self.chunk_size.into());
        // Its hash on record is that of the whole chunk, which it is no longer.
        let is_told = self.marked.has(at.0.into()) && !self.is_as_beneath(at);
        if is_inside && self.is_whole(at, has) && !is_told {
            plan.before.push(Record::Chunks {
                first: at,
                count: 1,
            });
        }
        plan.after.push(Record::Cut { len });
        plan
    }

    /// The file is at least this long.
    pub fn grow(&mut self, to: u64) {
        if to > self.size {
            let chunk = self.chunk_of(self.size);
            self.apply(Record::Beyond { chunk });
            self.size = to;
        }
    }

    /// Returns the size of the version beneath in bytes.
    pub fn base_size(&self) -> u64 {
        self.base_size
    }

    /// Returns below which byte the version beneath counts.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the records that say which chunks were changed since the last publish.
    pub fn marks(&self) -> Vec<Record> {
        let marked = self.marked.iter().map(|run| Record::Touched {
            first: ChunkIx(narrow(run.start)),
            count: narrow(run.end - run.start),
        });
        let beyond = self.beyond.map(|chunk| Record::Beyond { chunk });
        marked.chain(beyond).collect()
    }

    /// Returns the chunks that are wholly here and not as they are beneath, as runs of first and
    /// count.
    pub fn written(&self) -> Vec<(ChunkIx, u32)> {
        let run = |run: Range<u64>| (ChunkIx(narrow(run.start)), narrow(run.end - run.start));
        self.whole.iter().map(run).collect()
    }

    /// Returns the file's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the size of a chunk in bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Returns whether anything was changed since the last publish.
    pub fn is_changed(&self) -> bool {
        !self.marked.is_empty() || self.beyond.is_some()
    }

    /// Returns whether anything is not as it is beneath.
    pub fn is_touched(&self) -> bool {
        self.is_changed()
            || !self.whole.is_empty()
            || !self.parts.is_empty()
            || self.size != self.base_size
            || self.limit != self.base_size
    }

    /// Returns whether a chunk was changed since the last publish.
    pub fn has_changed(&self, chunk: ChunkIx) -> bool {
        self.marked.has(chunk.0.into()) || self.beyond.is_some_and(|beyond| beyond <= chunk)
    }

    /// Returns the chunks that were changed since the last publish, as runs of first and count.
    pub fn changed(&self) -> Vec<(ChunkIx, u32)> {
        let mut changed = self.marked.clone();
        let end = u64::from(self.chunks(self.size));
        if let Some(beyond) = self.beyond {
            changed.insert(u64::from(beyond.0)..end);
        }
        changed.remove(end..u64::from(u32::MAX));
        let run = |run: Range<u64>| (ChunkIx(narrow(run.start)), narrow(run.end - run.start));
        changed.iter().map(run).collect()
    }

    /// Returns whether every byte of a range is here.
    pub fn is_here(&self, offset: u64, len: u64, has: impl Fn(ChunkIx) -> bool) -> bool {
        self.pieces(offset..offset.saturating_add(len))
            .all(|(chunk, bytes)| {
                let need = u64::from(bytes.start)..u64::from(bytes.end.min(self.need(chunk)));
                let parts = self.parts.get(&chunk);
                self.is_whole(chunk, &has)
                    || need.is_empty()
                    || parts.is_some_and(|parts| parts.covers(need))
            })
    }

    /// Returns whether all of a chunk is here.
    pub fn is_whole(&self, chunk: ChunkIx, has: impl Fn(ChunkIx) -> bool) -> bool {
        self.need(chunk) == 0 || self.whole.has(chunk.0.into()) || has(chunk)
    }

    /// Returns whether a chunk is, to its end, the one beneath.
    pub fn is_base(&self, chunk: ChunkIx) -> bool {
        let end = self.start(chunk) + u64::from(self.chunk_size);
        !self.whole.has(chunk.0.into())
            && !self.parts.contains_key(&chunk)
            && end.min(self.base_size) <= self.limit
            && end.min(self.base_size) == end.min(self.size)
            && self.start(chunk) < self.base_size
    }

    /// Returns whether nothing says that a chunk, if it is here, is another than the one beneath.
    fn is_as_beneath(&self, chunk: ChunkIx) -> bool {
        self.need(chunk) > 0 && !self.whole.has(chunk.0.into())
    }

    /// Returns the chunks that are not the ones beneath, as runs of first and count.
    pub fn unlike_base(&self) -> Vec<(ChunkIx, u32)> {
        let mut unlike = self.whole.clone();
        for &chunk in self.parts.keys() {
            unlike.insert(one(chunk));
        }
        let end = u64::from(self.chunks(self.size));
        let same_end = self.limit.min(self.size);
        if self.limit < self.base_size || self.size != self.base_size {
            unlike.insert(u64::from(self.chunk_of(same_end).0)..end);
        }
        unlike.remove(end..u64::from(u32::MAX));
        let run = |run: Range<u64>| (ChunkIx(narrow(run.start)), narrow(run.end - run.start));
        unlike.iter().map(run).collect()
    }

    /// Returns whether the chunk beneath can't simply be put in its place: ours would be lost.
    pub fn is_mixed(&self, chunk: ChunkIx) -> bool {
        let end = self.start(chunk) + u64::from(self.chunk_size);
        self.parts.contains_key(&chunk) || end.min(self.base_size) > self.limit
    }

    /// Returns which pieces of the chunk beneath are wanting, from its beginning.
    pub fn gaps(&self, chunk: ChunkIx) -> Vec<(u32, u32)> {
        let need = 0..u64::from(self.need(chunk));
        let narrow = |number: u64| u32::try_from(number).unwrap_or(self.chunk_size);
        let gap = |gap: Range<u64>| (narrow(gap.start), narrow(gap.end));
        match self.parts.get(&chunk) {
            Some(parts) => parts.gaps(need).map(gap).collect(),
            None => [gap(need)].into(),
        }
    }

    /// Returns the chunks of which a part is ours and the rest is not here.
    pub fn unfilled(&self, has: impl Fn(ChunkIx) -> bool) -> Vec<ChunkIx> {
        let mut unfilled: Vec<ChunkIx> = self.parts.keys().copied().collect();
        let last = self.chunk_of(self.limit);
        let is_cut = self.need(last) > 0
            && !self.is_base(last)
            && !self.parts.contains_key(&last)
            && self.start(last) < self.size;
        if is_cut && !self.is_whole(last, has) {
            unfilled.push(last);
        }
        unfilled
    }

    /// Returns the fewest records that say the same, with the last publish among them.
    pub fn records(&self, published: Option<Record>) -> Vec<Record> {
        let mut records = Vec::new();
        if self.limit < self.base_size {
            records.push(Record::Cut { len: self.limit });
        }
        records.extend(self.whole.iter().map(|run| Record::Chunks {
            first: ChunkIx(narrow(run.start)),
            count: narrow(run.end - run.start),
        }));
        for (&chunk, parts) in &self.parts {
            records.extend(parts.iter().map(|part| Record::Range {
                chunk,
                from: narrow(part.start),
                to: narrow(part.end),
            }));
        }
        records.extend(published);
        // Without a publish all that is said of is changed since the beginning, and more may be.
        records.extend(self.marks());
        records
    }

    /// Returns how many bytes of a chunk's beginning belong to the version beneath.
    fn need(&self, chunk: ChunkIx) -> u32 {
        let rest = self.limit.saturating_sub(self.start(chunk));
        u32::try_from(rest).map_or(self.chunk_size, |rest| rest.min(self.chunk_size))
    }

    /// Returns where a chunk begins, in bytes.
    pub fn start(&self, chunk: ChunkIx) -> u64 {
        u64::from(chunk.0) * u64::from(self.chunk_size)
    }

    /// Returns the chunk that a byte lies in.
    pub fn chunk_of(&self, byte: u64) -> ChunkIx {
        ChunkIx(u32::try_from(byte / u64::from(self.chunk_size)).unwrap_or(u32::MAX))
    }

    /// Returns how many chunks so many bytes have.
    pub fn chunks(&self, size: u64) -> u32 {
        u32::try_from(size.div_ceil(u64::from(self.chunk_size))).unwrap_or(u32::MAX)
    }

    /// Returns the chunks that a range touches, each with the bytes from its beginning that are
    /// meant.
    fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (ChunkIx, Range<u32>)> + use<> {
        let size = u64::from(self.chunk_size);
        let Range { start: mut at, end } = range;
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let chunk = ChunkIx(u32::try_from(at / size).ok()?);
            let begin = at - at % size;
            let narrow = |byte: u64| u32::try_from(byte - begin).unwrap_or(u32::MAX);
            let bytes = narrow(at)..narrow(end.min(begin + size));
            at = begin + size;
            Some((chunk, bytes))
        })
    }
}

/// Narrows the index of a chunk, or a number of them.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn one(chunk: ChunkIx) -> Range<u64> {
    u64::from(chunk.0)..u64::from(chunk.0) + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::draft::journal::{HEADER_LEN, Journal, JournalWriter};
    use crate::ids::{ActorId, NodeId, ObjectId};

    /// The size of a chunk in bytes: the smallest there is.
    const CHUNK: u32 = 512;

    /// A write was in the file, and its mark not in the journal. The version that came of it said
    /// that it was as the one beneath, whose bytes the host then took for it.
    #[test]
    fn after_a_power_loss_no_chunk_is_known_to_be_the_one_beneath() {
        let world = World::new(1_000, 0, true, 0);
        let version = world.header.file.version;
        let found = |lost| Overlay::recover(&world.header, &[], version, 1_000, lost).overlay;
        assert_eq!(found(false).unlike_base(), []);
        let chunks = found(true).chunks(1_000);
        assert_eq!(found(true).unlike_base(), [(ChunkIx(0), chunks)]);
    }

    /// A byte was appended to a chunk that was not here, which came then, and was written to. It
    /// was marked already, and so nothing on record told it from the one beneath: after a start
    /// its hash was wrong, and the one beneath went over what was written.
    #[test]
    fn what_is_written_beside_an_append_is_told_from_what_is_beneath() {
        for step in [Step::Write(600, 5, 9), Step::Resize(600)] {
            let mut world = World::new(1_000, 1, false, usize::MAX / 2);
            for step in [Step::Write(1_000, 1, 7), Step::Fetch(1), step] {
                world.perform(&step);
                world.check();
            }
            world.recover();
            world.check();
        }
    }

    /// What lies on the disk where nothing was written: never to be shown.
    const JUNK: u8 = 0xEE;

    /// One thing that happens to a draft. Numbers are taken modulo what is possible.
    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, u32, u8),
        Resize(u64),
        Fetch(u32),
        Publish,
        Sync,
        Recover,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..2_600_u64, 1..900_u32, any::<u8>()).prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
            2 => (0..2_600_u64).prop_map(Step::Resize),
            3 => (0..4_u32).prop_map(Step::Fetch),
            2 => Just(Step::Publish),
            1 => Just(Step::Sync),
            1 => Just(Step::Recover),
        ]
    }

    /// A draft, its disk, and what is true of it, byte for byte.
    struct World {
        header: Header,
        base: Vec<u8>,
        /// Chunks of the version beneath that are here, as its own sidecar knows.
        has: BTreeSet<ChunkIx>,
        overlay: Overlay,
        writer: JournalWriter,
        file: Vec<u8>,
        journal: Vec<u8>,
        /// The file as an application sees it.
        truth: Vec<u8>,
        /// The last version that was published, and what it holds.
        version: Dot,
        published: Vec<u8>,
        /// Steps of the disk that are left before the kill.
        left: usize,
        /// What is being written when the kill comes.
        pending: Option<(u64, Vec<u8>)>,
        pending_size: Option<u64>,
    }

    impl World {
        fn new(base_size: usize, here: u8, base_whole: bool, left: usize) -> Self {
            let dot = |counter| Dot {
                actor: ActorId(7),
                counter,
            };
            let header = Header {
                file: ObjectId {
                    node: NodeId(dot(1)),
                    version: dot(2),
                },
                base_size: base_size as u64,
                base_whole,
                chunk_size: CHUNK,
                salt: 1,
            };
            let base: Vec<u8> = (1..=200).cycle().take(base_size).collect();
            let is_here = |chunk: &u32| base_whole || here >> chunk & 1 == 1;
            let total = u32::try_from(base_size.div_ceil(CHUNK as usize)).unwrap();
            let has: BTreeSet<ChunkIx> = (0..total).filter(is_here).map(ChunkIx).collect();
            let mut file = vec![JUNK; base_size];
            for chunk in &has {
                let from = chunk.0 as usize * CHUNK as usize;
                let to = base_size.min(from + CHUNK as usize);
                file[from..to].copy_from_slice(&base[from..to]);
            }
            let (writer, journal) = JournalWriter::begin(&header, &[]);
            Self {
                overlay: Overlay::new(CHUNK, header.base_size),
                version: header.file.version,
                published: base.clone(),
                truth: base.clone(),
                header,
                base,
                has,
                writer,
                file,
                journal,
                left,
                pending: None,
                pending_size: None,
            }
        }

        /// Returns whether a further step of the disk is done.
        fn lives(&mut self) -> bool {
            let lives = self.left > 0;
            self.left = self.left.saturating_sub(1);
            lives
        }

        /// Appends to the journal; a kill may come between any two bytes.
        fn append(&mut self, records: &[Record]) {
            for byte in self.writer.append(records) {
                if self.lives() {
                    self.journal.push(byte);
                }
            }
        }

        fn put(&mut self, offset: u64, bytes: &[u8]) {
            let from = usize::try_from(offset).unwrap();
            for (at, byte) in (from..).zip(bytes) {
                if self.lives() {
                    if self.file.len() <= at {
                        self.file.resize(at + 1, 0);
                    }
                    self.file[at] = *byte;
                }
            }
        }

        fn has(&self) -> impl Fn(ChunkIx) -> bool + use<> {
            let has = self.has.clone();
            move |chunk| has.contains(&chunk)
        }

        fn perform(&mut self, step: &Step) {
            match *step {
                Step::Write(offset, len, byte) => {
                    let plan = self.overlay.plan_write(offset, len, self.has()).unwrap();
                    let bytes = vec![byte; len as usize];
                    self.pending = Some((offset, bytes.clone()));
                    self.append(&plan.before);
                    self.put(offset, &bytes);
                    self.append(&plan.after);
                    if self.left == 0 {
                        return;
                    }
                    for record in plan.before.iter().chain(&plan.after) {
                        self.overlay.apply(*record);
                    }
                    let from = usize::try_from(offset).unwrap();
                    let end = from + bytes.len();
                    self.overlay.grow(end as u64);
                    self.truth.resize(self.truth.len().max(end), 0);
                    self.truth[from..end].copy_from_slice(&bytes);
                    self.pending = None;
                }
                Step::Resize(len) => {
                    let plan = self.overlay.plan_resize(len, self.has());
                    self.pending_size = Some(len);
                    self.append(&plan.before);
                    if self.lives() {
                        self.file.resize(usize::try_from(len).unwrap(), 0);
                    }
                    self.append(&plan.after);
                    if self.left == 0 {
                        return;
                    }
                    for record in plan.before.iter().chain(&plan.after) {
                        self.overlay.apply(*record);
                    }
                    self.overlay.grow(len);
                    self.truth.resize(usize::try_from(len).unwrap(), 0);
                    self.pending_size = None;
                }
                Step::Fetch(chunk) => self.fetch(ChunkIx(chunk)),
                Step::Publish => {
                    if self.overlay.is_changed() {
                        self.version.counter += 1;
                        let record = Record::Published {
                            version: self.version,
                            size: self.overlay.size(),
                        };
                        self.published.clone_from(&self.truth);
                        self.append(&[record]);
                        self.overlay.apply(record);
                    }
                }
                Step::Sync => self.append(&[Record::Synced]),
                Step::Recover => {
                    if self.left > 0 {
                        self.recover();
                    }
                }
            }
        }

        /// A chunk of the version beneath comes.
        fn fetch(&mut self, chunk: ChunkIx) {
            let from = chunk.0 as usize * CHUNK as usize;
            let to = self.base.len().min(from + CHUNK as usize);
            if from >= to || self.overlay.is_whole(chunk, self.has()) {
                return;
            }
            if self.overlay.is_mixed(chunk) {
                for (a, b) in self.overlay.gaps(chunk) {
                    let (a, b) = (from + a as usize, from + b as usize);
                    let bytes = self.base[a..b].to_vec();
                    self.put(a as u64, &bytes);
                }
                let record = Record::Filled { chunk };
                self.append(&[record]);
                self.overlay.apply(record);
            } else {
                let bytes = self.base[from..to].to_vec();
                self.put(from as u64, &bytes);
                if self.lives() {
                    self.has.insert(chunk);
                }
            }
        }

        /// Starts again with what is on disk.
        fn recover(&mut self) {
            let found = Journal::decode(&self.journal).unwrap();
            assert_eq!(found.header, self.header);
            let len = self.file.len() as u64;
            let Recovered { overlay, records } =
                Overlay::recover(&found.header, &found.records, self.version, len, false);
            self.header.salt += 1;
            (self.writer, self.journal) = JournalWriter::begin(&self.header, &records);
            // A new journal says the same as what it was made of.
            let again = Journal::decode(&self.journal).unwrap();
            let again = Overlay::recover(&again.header, &again.records, self.version, len, false);
            // It marks what was only filled up; where all from some chunk on counts as changed,
            // that says nothing more.
            let said = |overlay: &Overlay| {
                let mut overlay = overlay.clone();
                if let Some(beyond) = overlay.beyond {
                    overlay
                        .marked
                        .remove(u64::from(beyond.0)..u64::from(u32::MAX));
                }
                overlay
            };
            assert_eq!(said(&again.overlay), said(&overlay));
            self.overlay = overlay;
        }

        /// What the engine believes is so.
        fn check(&self) {
            let overlay = &self.overlay;
            let size = self.file.len();
            assert_eq!(overlay.size(), size as u64);
            let fits = |size: usize| {
                size == self.truth.len()
                    || self.pending_size == Some(size as u64)
                    || self.pending.is_some()
            };
            assert!(
                fits(size),
                "it has {size} bytes and should have {}",
                self.truth.len()
            );
            for at in 0..size {
                let new = self.pending.as_ref().and_then(|(from, bytes)| {
                    bytes.get(at.checked_sub(usize::try_from(*from).unwrap())?)
                });
                let old = self.truth.get(at).copied().unwrap_or(0);
                let is_cut = self.pending_size.is_some_and(|size| size <= at as u64);
                if overlay.is_here(at as u64, 1, self.has()) {
                    let found = self.file[at];
                    assert!(
                        found == old || Some(&found) == new || (is_cut && found == 0),
                        "byte {at} is {found} and should be {old}"
                    );
                } else {
                    // Only what is beneath can be wanting.
                    assert_eq!(old, self.base[at], "byte {at} was lost");
                }
            }
            let chunk = CHUNK as usize;
            for ix in 0..u32::try_from(size.max(self.published.len()).div_ceil(chunk)).unwrap() {
                let is_last_version = !overlay.has_changed(ChunkIx(ix));
                if is_last_version {
                    let from = ix as usize * chunk;
                    let clip = |bytes: &[u8]| {
                        bytes[from.min(bytes.len())..bytes.len().min(from + chunk)].to_vec()
                    };
                    let (now, then) = (clip(&self.file), clip(&self.published));
                    assert_eq!(now.len(), then.len(), "chunk {ix} has another length");
                    for (at, (now, then)) in now.iter().zip(&then).enumerate() {
                        let is_here = overlay.is_here((from + at) as u64, 1, self.has());
                        assert!(!is_here || now == then, "chunk {ix} was changed unnoticed");
                    }
                }
            }
            for &at in &self.has {
                let from = overlay.start(at);
                if overlay.whole.has(at.0.into()) || from >= overlay.limit() {
                    continue;
                }
                // It is told by its own hash, and fetched again where that is wrong.
                let from = usize::try_from(from).unwrap();
                let to = self.base.len().min(from + chunk);
                assert_eq!(
                    self.file.get(from..to),
                    self.base.get(from..to),
                    "chunk {at:?} is not the one beneath"
                );
            }
            let run = |&(first, count): &(ChunkIx, u32)| first.0..first.0 + count;
            let listed: BTreeSet<u32> = overlay.changed().iter().flat_map(run).collect();
            let asked: BTreeSet<u32> = (0..overlay.chunks(overlay.size()))
                .filter(|ix| overlay.has_changed(ChunkIx(*ix)))
                .collect();
            assert_eq!(listed, asked);
            for chunk in overlay.unfilled(self.has()) {
                assert!(!overlay.is_whole(chunk, self.has()) && !overlay.is_base(chunk));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever happened, and wherever a kill cut it off, down to single bytes of the journal
        /// and of the file: what was acknowledged is there, nothing is made up, and a chunk that
        /// does not count as changed is what was published.
        #[test]
        fn a_kill_at_any_byte_leaves_the_truth(
            base_size in prop_oneof![Just(0_usize), Just(512), 1..1_700_usize],
            here in 0..16_u8,
            base_whole in any::<bool>(),
            steps in proptest::collection::vec(step(), 1..24),
            left in prop_oneof![0..2_000_usize, 0..9_000_usize, Just(usize::MAX / 2)],
        ) {
            let mut world = World::new(base_size, here, base_whole, left);
            for step in steps {
                world.perform(&step);
                if world.left == 0 {
                    break;
                }
                world.check();
            }
            // A version that was being published when the kill came is one that was not.
            world.recover();
            world.check();
            prop_assert!(world.journal.len() >= HEADER_LEN);
        }
    }
}
