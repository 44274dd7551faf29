//! The journal of a draft.

use tandem_core::draft::journal::{HEADER_LEN, Journal, JournalWriter, RECORD_LEN, Record};
use tandem_core::draft::overlay::Overlay;
use tandem_core::ids::ChunkIx;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The length of a checksum, which ends the header and each record.
const SUM_LEN: usize = 8;

/// Decodes any bytes as a journal, and again with the magic, version and checksums put right, as
/// a program would that lies. What is accepted must agree with itself, and so must what a start
/// makes of it, whatever file lies beside it.
///
/// # Panics
///
/// When a law does not hold.
pub fn journal_decode(bytes: &[u8]) {
    decode(bytes);
    decode(&sealed(bytes));
}

fn decode(bytes: &[u8]) {
    let Ok(journal) = Journal::decode(bytes) else {
        return;
    };
    let Journal {
        header,
        records,
        is_torn,
    } = &journal;
    // What counted is what would be written.
    let (_, written) = JournalWriter::begin(header, records);
    assert!(bytes.starts_with(&written));
    assert_eq!(*is_torn, written.len() < bytes.len());

    let mut versions = vec![header.file.version];
    let mut lens = vec![0, header.base_size];
    for record in records {
        match *record {
            Record::Published { version, size } => {
                versions.push(version);
                lens.push(size);
            }
            Record::Cut { len } => lens.push(len),
            Record::Chunks { .. }
            | Record::Touched { .. }
            | Record::Range { .. }
            | Record::Filled { .. }
            | Record::Beyond { .. }
            | Record::Synced => {}
        }
    }
    // The last few say enough.
    for &version in versions.iter().rev().take(2) {
        for &len in lens.iter().rev().take(3) {
            for lost in [false, true] {
                let found = Overlay::recover(header, records, version, len, lost);
                let overlay = &found.overlay;
                assert_eq!(overlay.size(), len);
                assert!(overlay.limit() <= len.min(header.base_size));
                let anew = |records: &[Record]| {
                    let (_, anew) = JournalWriter::begin(header, records);
                    let anew = Journal::decode(&anew).expect("what was written is read");
                    Overlay::recover(header, &anew.records, version, len, false)
                };
                let again = anew(&found.records);
                assert_is_same(overlay, &again.overlay);
                assert_eq!(anew(&again.records).overlay, again.overlay);
                let changed = overlay.changed();
                assert!(changed.iter().all(|(first, _)| overlay.has_changed(*first)));
                let unfilled = overlay.unfilled(|_| false);
                assert!(
                    unfilled
                        .iter()
                        .all(|chunk| !overlay.gaps(*chunk).is_empty())
                );
            }
        }
    }
}

/// A journal written anew says the same of every byte. What was changed since the last publish it
/// knows at least: a chunk that only ever was filled counts as changed where nothing has been
/// published yet.
fn assert_is_same(overlay: &Overlay, anew: &Overlay) {
    assert_eq!(anew.size(), overlay.size());
    assert_eq!(anew.limit(), overlay.limit());
    assert_eq!(anew.written(), overlay.written());
    let unfilled = overlay.unfilled(|_| false);
    assert_eq!(anew.unfilled(|_| false), unfilled);
    for chunk in unfilled {
        assert_eq!(anew.gaps(chunk), overlay.gaps(chunk));
    }
    let runs = anew.changed();
    assert!(overlay.changed().iter().all(|&(first, count)| {
        let holds = |run: &(ChunkIx, u32)| run.0 <= first && first.0 + count <= run.0.0 + run.1;
        runs.iter().any(holds)
    }));
}

/// Returns the bytes with magic, version and every checksum put right.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let start = b"KDDR\x01";
    if bytes.len() < HEADER_LEN {
        return bytes;
    }
    bytes[..start.len()].copy_from_slice(start);
    let (header, records) = bytes.split_at_mut(HEADER_LEN);
    let mut chain = seal(header, 0);
    for record in records.chunks_exact_mut(RECORD_LEN) {
        chain = seal(record, chain);
    }
    bytes
}

/// Puts the checksum at the end of a header or record right, and returns it.
fn seal(bytes: &mut [u8], seed: u64) -> u64 {
    let (body, sum) = bytes.split_at_mut(bytes.len() - SUM_LEN);
    let computed = xxh3_64_with_seed(body, seed);
    sum.copy_from_slice(&computed.to_le_bytes());
    computed
}
