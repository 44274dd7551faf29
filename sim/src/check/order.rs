//! P2 durable, from below: data durable, then its bit, then complete.
//!
//! Law: a sidecar's word that chunks are durable is written only when the bytes of all chunks that
//! it speaks of were synced; an object goes to its complete place only when all of its bytes were
//! synced and the store has it on record, by a commit that outlives a power loss; and a file gets
//! its name in the shared folder only when that it is about to is on record likewise: after a kill
//! in between it would be taken for what a program made there, a new version that nobody wrote.
//! The records are read here as `docs/FORMATS.md` has them, not by the core's code.

use std::collections::BTreeMap;
use std::ops::Range;

use tandem_core::action::DiskWish;
use tandem_core::draft_wish::DraftWish;
use tandem_core::ids::ObjectId;
use tandem_core::place_wish::PlaceWish;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Failure, Verdict};
use crate::disk::objects::Objects;
use crate::disk::records::Records;

/// The length of a sidecar's header and of its records, in bytes.
const HEADER: usize = 65;
const RECORD: usize = 32;
/// The kinds of records that count here.
const CHUNK: u8 = 1;
const DURABLE: u8 = 2;
const LOST: u8 = 3;
const CLEAN: u8 = 4;

/// Judges a job on an object at the moment in which it is carried out; it writes so many bytes.
pub fn judge(wish: &DiskWish, len: u64, objects: &Objects, records: &Records) -> Verdict {
    match wish {
        DiskWish::MarkSidecar { object, record } => marked(*object, record, objects),
        DiskWish::FinishObject { object } => finished(*object, objects, records),
        DiskWish::Place(PlaceWish::Put { object, .. }) => put_down(*object, records),
        DiskWish::List { .. }
        | DiskWish::Look { .. }
        | DiskWish::Place(_)
        | DiskWish::Trash(_)
        | DiskWish::ReadChunk { .. }
        | DiskWish::ReadThrown { .. }
        | DiskWish::LoadObject { .. }
        | DiskWish::CreateObject { .. }
        | DiskWish::CutSidecar { .. }
        | DiskWish::StoreChunk { .. }
        | DiskWish::StoreHole { .. }
        | DiskWish::SyncObject { .. }
        | DiskWish::HashChunk { .. }
        | DiskWish::RemoveObject { .. }
        | DiskWish::ReadStored { .. } => Ok(()),
        DiskWish::Draft { object, wish } => drafted(*object, wish, len, objects, records),
    }
}

fn marked(object: ObjectId, record: &[u8], objects: &Objects) -> Verdict {
    let Some(sidecar) = objects.sidecar(object) else {
        return Ok(());
    };
    let records = sidecar.get(HEADER..).unwrap_or_default();
    let before: Vec<&[u8]> = records.chunks_exact(RECORD).collect();
    let all = before.iter().copied().chain([record]);
    if chained(sidecar, all) != before.len() + 1 {
        // A record before it was not written, as the disk failed: who reads ends there.
        return Ok(());
    }
    let upto = match record.first() {
        Some(&CLEAN) => before.len(),
        Some(&DURABLE) => {
            let count = record.get(8..16).and_then(|bytes| bytes.try_into().ok());
            let count = count.map_or(u64::MAX, u64::from_le_bytes);
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        Some(_) | None => return Ok(()),
    };
    if upto > before.len() {
        let what = format!(
            "{object:?} has {} records, and {upto} are said durable",
            before.len()
        );
        return Err(Failure::safety("P2", what));
    }
    let Some(chunk_size) = sidecar.get(13..17).and_then(|bytes| bytes.try_into().ok()) else {
        return Ok(());
    };
    let chunk_size = u64::from(u32::from_le_bytes(chunk_size));
    // Of a chunk that was lost and came again, the last record counts.
    let mut said = BTreeMap::new();
    for (n, record) in before.iter().enumerate() {
        let index = record.get(4..8).and_then(|bytes| bytes.try_into().ok());
        if let (Some(&kind @ (CHUNK | LOST)), Some(index)) = (record.first(), index) {
            said.insert(u32::from_le_bytes(index), kind == CHUNK && n < upto);
        }
    }
    // What a draft was written over since is in doubt after a power loss, whatever this says.
    let journal = objects.draft_journal(object).unwrap_or_default();
    let drafted = journal.get(DRAFT_HEADER..).unwrap_or_default();
    let is_drafted = |chunk: u32| {
        let chunk_size = u32::try_from(chunk_size).unwrap_or(u32::MAX);
        let mut records = drafted.chunks_exact(DRAFT_RECORD);
        records.any(|record| {
            is_whole_by(record, chunk.into(), chunk_size) || is_touched(record, chunk.into())
        })
    };
    for (index, is_durable) in said {
        if is_durable && !is_drafted(index) {
            let from = u64::from(index) * chunk_size;
            if !objects.is_synced(object, from..from + chunk_size) {
                let what = format!("chunk {index} of {object:?} is said durable before its sync");
                return Err(Failure::safety("P2", what));
            }
        }
    }
    Ok(())
}

/// Tells whether a sidecar says last of a chunk that it is here; one that was damaged says nothing.
fn has_chunk(sidecar: &[u8], chunk: u64) -> bool {
    let body = sidecar.get(..HEADER - 8).unwrap_or_default();
    let sum = sidecar.get(HEADER - 8..HEADER);
    if sum != Some(&xxh3_64_with_seed(body, 0).to_le_bytes()) {
        return false;
    }
    let records = sidecar.get(HEADER..).unwrap_or_default();
    let is_about =
        |record: &&[u8]| matches!(record.first(), Some(&(CHUNK | LOST))) && index(record) == chunk;
    let last = records.chunks_exact(RECORD).rfind(is_about);
    last.is_some_and(|record| record.first() == Some(&CHUNK))
}

/// Returns how many records follow from the header, each by its checksum from the one before.
fn chained<'a>(sidecar: &[u8], records: impl Iterator<Item = &'a [u8]>) -> usize {
    let sum = |bytes: Option<&[u8]>| bytes?.try_into().ok().map(u64::from_le_bytes);
    let Some(mut last) = sum(sidecar.get(HEADER - 8..HEADER)) else {
        return 0;
    };
    let follows = |record: &&[u8]| {
        let body = record.get(..RECORD - 8).unwrap_or_default();
        let is_next = sum(record.get(RECORD - 8..)) == Some(xxh3_64_with_seed(body, last));
        last = sum(record.get(RECORD - 8..)).unwrap_or(last);
        is_next
    };
    records.take_while(follows).count()
}

/// The length of a draft's journal's header and of its records, in bytes.
const DRAFT_HEADER: usize = 68;
const DRAFT_RECORD: usize = 40;
/// The kinds of records that count here.
const WHOLE: u8 = 1;
const TOUCHED: u8 = 2;
const RANGE: u8 = 3;
const CUT: u8 = 4;
const FILLED: u8 = 5;
const BEYOND: u8 = 6;
const PUBLISHED: u8 = 7;

/// A draft is begun only when that is on record; and what is written is told of in its journal,
/// before where bytes were that a version may still be asked for, else after it.
fn drafted(
    object: ObjectId,
    wish: &DraftWish,
    len: u64,
    objects: &Objects,
    records: &Records,
) -> Verdict {
    match wish {
        DraftWish::Open { .. } => {
            if !is_recorded(object, records) {
                let what = format!("the draft {object:?} is begun before that is on record");
                return Err(Failure::safety("P2", what));
            }
            Ok(())
        }
        DraftWish::Write {
            offset,
            payload: _,
            before,
            after,
        } => match objects.draft_journal(object) {
            Some(journal) => {
                let sidecar = objects.sidecar(object).unwrap_or_default();
                let bytes = *offset..*offset + len;
                written(object, (journal, sidecar), bytes, (before, after))
            }
            None => {
                let what = format!("{object:?} is written, and has no journal");
                Err(Failure::safety("P2", what))
            }
        },
        DraftWish::Resize { .. }
        | DraftWish::Fill { .. }
        | DraftWish::Touch { .. }
        | DraftWish::Mark { .. }
        | DraftWish::Sync { .. }
        | DraftWish::Load
        | DraftWish::Settle { .. }
        | DraftWish::Remove => Ok(()),
    }
}

/// Returns whether a draft's record says that it lies under the name of this object. It stands
/// under the node that is written, which in the case of a conflict copy is not the object's.
fn is_recorded(object: ObjectId, records: &Records) -> bool {
    let name = written_as(object);
    // A value is a byte for its layout, and the object comes first.
    let is_it = |value: &[u8]| value.get(1..).is_some_and(|rest| rest.starts_with(&name));
    records
        .all()
        .any(|(key, value)| key.first() == Some(&b'd') && is_it(&value))
}

/// Judges that an object's data gets a name in the shared folder.
fn put_down(object: ObjectId, records: &Records) -> Verdict {
    let name = written_as(object);
    let mut intents = records
        .all_durable()
        .filter(|(key, _)| key.first() == Some(&b'w'));
    // Before the object come a byte for the layout, the directory, the name and the version.
    let is_it = |value: &[u8]| {
        let rest = after_numbers(value.get(1..)?, 2)?;
        let (len, rest) = leading_number(rest)?;
        let rest = after_numbers(rest.get(usize::try_from(len).ok()?..)?, 2)?;
        Some(rest.starts_with(&name))
    };
    if intents.any(|(_, value)| is_it(value) == Some(true)) {
        return Ok(());
    }
    let what = format!("{object:?} gets its name before it is on record that it is about to");
    Err(Failure::safety("P2", what))
}

/// Returns the number with which a value begins, and what follows it.
fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(end + 1);
    let add = |all: u64, byte: &u8| (all << 7) | u64::from(byte & 0x7f);
    Some((number.iter().rev().fold(0, add), rest))
}

/// Returns what follows so many numbers.
fn after_numbers(bytes: &[u8], count: usize) -> Option<&[u8]> {
    (0..count).try_fold(bytes, |rest, _| Some(leading_number(rest)?.1))
}

/// Returns the numbers of an object as they stand in a value.
fn written_as(object: ObjectId) -> Vec<u8> {
    let mut name = Vec::new();
    for part in [object.node.0, object.version] {
        for mut number in [part.actor.0, part.counter] {
            // Seven bits a byte, the lowest first; the last byte has no upper bit.
            while number >= 0x80 {
                name.push(number.to_le_bytes()[0] | 0x80);
                number >>= 7;
            }
            name.push(number.to_le_bytes()[0]);
        }
    }
    name
}

fn number(record: &[u8], at: usize) -> u64 {
    let bytes = record
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

fn index(record: &[u8]) -> u64 {
    number(record, 4) & u64::from(u32::MAX)
}

/// Tells whether a record says that all of this chunk is here, and that it changes.
fn is_whole_by(record: &[u8], chunk: u64, size: u32) -> bool {
    let first = index(record);
    match record.first() {
        // What lies from a cut on is ours.
        Some(&CUT) => number(record, 8).div_ceil(size.into()) <= chunk,
        Some(&WHOLE) => first <= chunk && chunk - first < number(record, 8),
        Some(_) | None => false,
    }
}

/// Tells whether a record says that what is here of this chunk changes.
fn is_touched(record: &[u8], chunk: u64) -> bool {
    let first = index(record);
    match record.first() {
        Some(&TOUCHED) => first <= chunk && chunk - first < number(record, 8),
        Some(&BEYOND) => first <= chunk,
        Some(_) | None => false,
    }
}

/// Judges a write: of each chunk of it, either the journal says beforehand that it changes, or it
/// is not here, and the ranges that were written are told of, afterwards if need be.
fn written(
    object: ObjectId,
    (journal, sidecar): (&[u8], &[u8]),
    bytes: Range<u64>,
    (before, after): (&[u8], &[u8]),
) -> Verdict {
    let size = journal.get(8..12).and_then(|bytes| bytes.try_into().ok());
    let Some(size) = size.map(u32::from_le_bytes).filter(|size| *size > 0) else {
        return Ok(());
    };
    let records = journal.get(DRAFT_HEADER..).unwrap_or_default();
    let so_far: Vec<&[u8]> = records.chunks_exact(DRAFT_RECORD).collect();
    let published = so_far
        .iter()
        .rposition(|record| record.first() == Some(&PUBLISHED));
    let since = so_far
        .get(published.map_or(0, |at| at + 1)..)
        .unwrap_or_default();
    // What lies beyond the end of the version beneath, or of the last one that was published,
    // nobody may still be asked for.
    let last = published.and_then(|at| so_far.get(at).copied());
    let end = last.map_or_else(|| number(journal, 44), |record| number(record, 24));
    let before = before.chunks_exact(DRAFT_RECORD);
    let told: Vec<&[u8]> = since.iter().copied().chain(before).collect();
    let after: Vec<&[u8]> = after.chunks_exact(DRAFT_RECORD).collect();
    let mut at = bytes.start;
    while at < bytes.end.min(end) {
        let chunk = at / u64::from(size);
        let start = chunk * u64::from(size);
        let upto = (start + u64::from(size)).min(bytes.end).min(end);
        let is_range = |record: &&&[u8]| record.first() == Some(&RANGE) && index(record) == chunk;
        let mut new: Vec<_> = after.iter().filter(is_range).map(|r| range(r)).collect();
        let is_whole = told.iter().any(|record| is_whole_by(record, chunk, size));
        let is_changed = is_whole || told.iter().any(|r| is_range(&r) || is_touched(r, chunk));
        let mut ours = ours(&so_far, chunk, size);
        ours.extend(told.iter().filter(is_range).map(|r| range(r)));
        // Behind the version beneath all is ours; where that is here, all is.
        ours.push(number(journal, 44).saturating_sub(start)..u64::MAX);
        if journal.get(5) == Some(&1) || has_chunk(sidecar, chunk) {
            ours.push(0..u64::MAX);
        }
        let piece = at - start..upto - start;
        let is_told = if is_changed {
            ours.append(&mut new);
            is_whole || covers(&mut ours, piece)
        } else {
            !ours.iter().any(|ours| overlaps(ours, &piece)) && covers(&mut new, piece)
        };
        if !is_told {
            let what = format!(
                "chunk {chunk} of {object:?} is written, and its journal says nothing of it"
            );
            return Err(Failure::safety("P2", what));
        }
        at = upto;
    }
    Ok(())
}

fn range(record: &[u8]) -> Range<u64> {
    number(record, 8)..number(record, 16)
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

/// Returns what of a chunk is ours, or is here: by all that a journal says.
fn ours(records: &[&[u8]], chunk: u64, size: u32) -> Vec<Range<u64>> {
    let start = chunk * u64::from(size);
    let mut ours = Vec::new();
    for record in records {
        match record.first() {
            Some(&RANGE) if index(record) == chunk => ours.push(range(record)),
            Some(&FILLED) if index(record) == chunk => ours.push(0..u64::MAX),
            Some(&CUT) => ours.push(number(record, 8).saturating_sub(start)..u64::MAX),
            Some(&WHOLE) if is_whole_by(record, chunk, size) => ours.push(0..u64::MAX),
            Some(_) | None => {}
        }
    }
    ours
}

/// Tells whether ranges leave nothing of another one out.
fn covers(ranges: &mut [Range<u64>], all: Range<u64>) -> bool {
    ranges.sort_unstable_by_key(|range| range.start);
    let upto = |upto: u64, range: &Range<u64>| {
        if range.start <= upto {
            upto.max(range.end)
        } else {
            upto
        }
    };
    ranges.iter().fold(all.start, upto) >= all.end
}

fn finished(object: ObjectId, objects: &Objects, records: &Records) -> Verdict {
    if !objects.is_synced(object, 0..u64::MAX) {
        let what = format!("{object:?} goes to its place before all of it was synced");
        return Err(Failure::safety("P2", what));
    }
    let mut key = b"o".to_vec();
    for part in [object.node.0, object.version] {
        key.extend_from_slice(&part.actor.0.to_be_bytes());
        key.extend_from_slice(&part.counter.to_be_bytes());
    }
    // A value is a byte for its layout and the variant's number: 1 is complete.
    if records.durable(&key).map(|value| value.last().copied()) != Some(Some(1)) {
        let what = format!("{object:?} goes to its place before that is on record for good");
        return Err(Failure::safety("P2", what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandem_core::ids::{ActorId, Dot, NodeId};

    use super::*;

    const OBJECT: ObjectId = ObjectId {
        node: NodeId(Dot {
            actor: ActorId(0x1234),
            counter: 5,
        }),
        version: Dot {
            actor: ActorId(1),
            counter: 200,
        },
    };

    /// A conflict copy was written: its draft is on record under its own node, and lies under the
    /// name of the file that it is a copy of.
    #[test]
    fn a_draft_is_on_record_under_whichever_node() {
        let mut value = vec![1, 0xb4, 0x24, 5, 1, 0xc8, 1, 0];
        for (is_it, last) in [(true, 1), (false, 2)] {
            value[6] = last;
            let mut records = Records::default();
            let record = tandem_core::action::Record {
                key: b"d another node".to_vec(),
                value: Some(value.clone()),
            };
            records.commit(vec![record], false);
            assert_eq!(is_recorded(OBJECT, &records), is_it);
        }
    }

    /// Two ends of a chunk were written, and the rest of it came: it is here and counts as
    /// changed, so that a write between them needs no record. After a cut, or a publish, it does.
    #[test]
    fn a_chunk_that_was_filled_up_is_told_of() {
        let record = |kind: u8, chunk: u8, from: u64, to: u64| {
            let mut record = vec![kind, 0, 0, 0, chunk, 0, 0, 0];
            record.extend([from, to, 4096, 0].map(u64::to_le_bytes).concat());
            record
        };
        let write = |records: &[Vec<u8>]| {
            let mut journal = vec![0; DRAFT_HEADER];
            journal[8..12].copy_from_slice(&1024_u32.to_le_bytes());
            journal[44..52].copy_from_slice(&4096_u64.to_le_bytes());
            journal.extend(records.concat());
            written(OBJECT, (&journal, &[]), 500..501, (&[], &[])).is_ok()
        };
        let (range, filled) = (record(RANGE, 0, 0, 29), record(FILLED, 0, 0, 0));
        let (cut, published) = (record(CUT, 0, 2048, 0), record(PUBLISHED, 0, 0, 0));
        assert!(!write(std::slice::from_ref(&range)));
        assert!(!write(&[range.clone(), record(FILLED, 1, 0, 0)]));
        assert!(write(&[range.clone(), filled.clone()]));
        assert!(write(&[range.clone(), filled.clone(), cut]));
        assert!(!write(&[range, filled, published]));
    }
}
