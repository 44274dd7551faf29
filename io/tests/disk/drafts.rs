//! Drafts: from their first byte to their end, on full disks, and where a kill came between.

use std::fs::{self, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tandem_core::action::{Besides, Stored};
use tandem_core::draft_wish::{DraftFrom, DraftWish};
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::ids::{ChunkHash, ObjectId};
use tandem_core::time::WallTime;
use tandem_io::disk::drafts::Drafts;
use tandem_io::disk::objects::Objects;
use tandem_io::disk::places::Store;
use tandem_io::payload::Payloads;
use tempfile::TempDir;

use crate::{Mounted, files_below, loaded, object};

/// A store with drafts.
struct Desk {
    dir: PathBuf,
    objects: Arc<Objects>,
    drafts: Drafts,
    payloads: Payloads,
}

impl Desk {
    fn new(dir: &Path) -> Self {
        let objects = Arc::new(Objects::new(Arc::new(Store::open(dir).unwrap())));
        Self {
            dir: dir.to_owned(),
            drafts: Drafts::new(Arc::clone(&objects)),
            objects,
            payloads: Payloads::default(),
        }
    }

    fn wish(&self, object: ObjectId, wish: DraftWish) -> Result<(), DiskError> {
        let done = self.drafts.perform(object, wish, &self.payloads);
        assert!(self.payloads.is_empty(), "a payload is left");
        done.map(|done| assert_eq!(done, DiskDone::Done))
    }

    fn open(&self, object: ObjectId, journal: &[u8], from: DraftFrom) -> Result<(), DiskError> {
        let journal = journal.to_vec();
        self.wish(
            object,
            DraftWish::Open {
                journal,
                from,
                anew: false,
            },
        )
    }

    fn write(
        &self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
        (before, after): (&[u8], &[u8]),
    ) -> Result<(), DiskError> {
        let payload = self.payloads.put(Bytes::copy_from_slice(bytes));
        let (before, after) = (before.to_vec(), after.to_vec());
        self.wish(
            object,
            DraftWish::Write {
                offset,
                payload,
                before,
                after,
            },
        )
    }

    fn settle(
        &self,
        object: ObjectId,
        settled: ObjectId,
        sidecar: Option<&[u8]>,
    ) -> Result<(), DiskError> {
        let sidecar = sidecar.map(<[u8]>::to_vec);
        self.wish(
            object,
            DraftWish::Settle {
                object: settled,
                sidecar,
            },
        )
    }

    /// Returns journal, length and sidecar of a draft.
    fn found(&self, object: ObjectId) -> (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>) {
        match self.drafts.perform(object, DraftWish::Load, &self.payloads) {
            Ok(DiskDone::Draft {
                journal,
                file,
                sidecar,
            }) => (journal, file.map(|(size, _)| size), sidecar),
            other => panic!("{other:?}"),
        }
    }

    fn mtime(&self, object: ObjectId) -> WallTime {
        match self.drafts.load(object) {
            Ok(DiskDone::Draft {
                file: Some((_, mtime)),
                ..
            }) => mtime,
            other => panic!("{other:?}"),
        }
    }

    fn bytes(&self, object: ObjectId) -> Vec<u8> {
        let DiskDone::Read {
            payload, len, hash, ..
        } = self
            .objects
            .read_stored(object, 0, 1 << 20, Besides::Nothing, &self.payloads)
            .unwrap()
        else {
            panic!("something else");
        };
        let bytes = self.payloads.take(payload).unwrap();
        assert_eq!(
            (bytes.len() as u64, ChunkHash::of(&bytes)),
            (len.into(), hash)
        );
        bytes.to_vec()
    }

    /// Makes a complete object.
    fn complete(&self, object: ObjectId, bytes: &[u8]) {
        self.partial(object, bytes, b"head");
        self.objects.finish(object).unwrap();
    }

    fn partial(&self, object: ObjectId, bytes: &[u8], sidecar: &[u8]) {
        self.objects
            .create(object, bytes.len() as u64, sidecar)
            .unwrap();
        self.objects.store(object, 0, bytes, b"").unwrap();
    }

    /// Returns the path of a file in `partial/`, or of what is beside it.
    fn path(&self, object: ObjectId, suffix: &str) -> PathBuf {
        let (node, version) = (object.node.0, object.version);
        let name = format!(
            "{:016x}-{:016x}-{:016x}-{:016x}{suffix}",
            node.actor.0, node.counter, version.actor.0, version.counter
        );
        self.dir.join("partial").join(name)
    }
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn a_new_file_goes_from_nothing_to_complete() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let (draft, version) = (object(1, 2), object(1, 3));
    assert_eq!(desk.found(draft), (None, None, None));
    assert_eq!(
        desk.write(draft, 0, b"x", (b"", b"")),
        Err(DiskError::NotFound)
    );
    for _ in 0..2 {
        desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
        assert_eq!(desk.found(draft), (some(b"head"), Some(0), None));
    }
    desk.write(draft, 0, b"hello", (b"-a", b"")).unwrap();
    // Beyond the end there is a hole, and what follows is where it belongs.
    desk.write(draft, 7, b"world", (b"-b", b"-c")).unwrap();
    desk.write(draft, 3, b"LO\0\0WO", (b"", b"-d")).unwrap();
    assert_eq!(desk.bytes(draft), b"helLO\0\0WOrld");
    let record = b"-e".to_vec();
    desk.wish(draft, DraftWish::Mark { record }).unwrap();
    desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
    let journal = some(b"head-a-b-c-d-e");
    assert_eq!(desk.found(draft), (journal.clone(), Some(12), None));
    // It goes on with another journal, and keeps its bytes.
    desk.open(draft, b"again", DraftFrom::Nothing).unwrap();
    let after = b"-synced".to_vec();
    desk.wish(draft, DraftWish::Sync { after }).unwrap();
    assert_eq!(desk.found(draft), (some(b"again-synced"), Some(12), None));
    assert_eq!(desk.bytes(draft), b"helLO\0\0WOrld");
    desk.open(draft, b"head-a-b-c-d-e", DraftFrom::Nothing)
        .unwrap();

    let mtime = WallTime { secs: -5, nanos: 7 };
    for _ in 0..2 {
        desk.wish(draft, DraftWish::Touch { mtime }).unwrap();
        let after = Vec::new();
        desk.wish(draft, DraftWish::Sync { after }).unwrap();
        assert_eq!(desk.mtime(draft), mtime);
    }
    for (size, bytes) in [(4, &b"helL"[..]), (6, b"helL\0\0")] {
        let after = b"!".to_vec();
        desk.wish(draft, DraftWish::Resize { size, after }).unwrap();
        assert_eq!(desk.bytes(draft), bytes);
    }
    let journal = some(b"head-a-b-c-d-e!!");
    assert_eq!(desk.found(draft), (journal, Some(6), None));

    for _ in 0..2 {
        desk.settle(draft, version, None).unwrap();
        assert_eq!(desk.found(draft), (None, None, None));
        assert_eq!(desk.objects.load(version), loaded(None, None, Some(6)));
        assert_eq!(desk.bytes(version), b"helL\0\0");
    }
    // Whoever was told a moment before to read the draft can do so, until the engine knows.
    assert_eq!(desk.bytes(draft), b"helL\0\0");
    desk.drafts.settled(draft);
    assert!(
        desk.objects
            .read_stored(draft, 0, 1, Besides::Nothing, &desk.payloads)
            .is_err()
    );
    assert_eq!(files_below(dir.path()), 1);
}

#[test]
fn a_partial_version_is_filled_around_what_was_written_over_it() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let draft = object(1, 2);
    desk.partial(draft, b"................", b"side");
    assert_eq!(
        desk.open(object(9, 9), b"head", DraftFrom::Partial),
        Err(DiskError::NotFound)
    );
    for _ in 0..2 {
        desk.open(draft, b"head", DraftFrom::Partial).unwrap();
    }
    desk.write(draft, 6, b"WORD", (b"", b"-range")).unwrap();
    let mtime = WallTime { secs: 7, nanos: 8 };
    desk.wish(draft, DraftWish::Touch { mtime }).unwrap();
    let fill = |gaps: &[(u32, u32)], offset| {
        let payload = Some(desk.payloads.put(Bytes::from_static(b"abcdefgh")));
        let (gaps, after) = (gaps.to_vec(), b"-filled".to_vec());
        desk.wish(
            draft,
            DraftWish::Fill {
                offset,
                payload,
                gaps,
                after,
            },
        )
    };
    fill(&[(0, 2), (6, 8)], 4).unwrap();
    assert_eq!(desk.bytes(draft), b"....abWORDgh....");
    // Neither the fetching of a gap nor that of a whole chunk is an application's change.
    desk.objects.store(draft, 0, b"1234", b"+").unwrap();
    assert_eq!(desk.mtime(draft), mtime);
    // Not beyond the file, nor beyond the chunk.
    assert_eq!(fill(&[(0, 8)], 12), Err(DiskError::Io));
    assert_eq!(fill(&[(4, 9)], 0), Err(DiskError::Io));
    assert_eq!(
        desk.found(draft),
        (some(b"head-range-filled"), Some(16), some(b"side+"))
    );
    assert_eq!(desk.bytes(draft), b"1234abWORDgh....");

    // Still not all of it is here.
    let version = object(1, 3);
    for _ in 0..2 {
        desk.settle(draft, version, Some(b"fresh")).unwrap();
        assert_eq!(desk.found(draft), (None, None, None));
        assert_eq!(
            desk.objects.load(version),
            loaded(Some(b"fresh"), Some(16), None)
        );
    }
    assert_eq!(desk.bytes(version), b"1234abWORDgh....");
    // What comes to it after that is not undone by another repetition.
    desk.objects.store(version, 12, b"last", b"+").unwrap();
    desk.settle(draft, version, Some(b"fresh")).unwrap();
    assert_eq!(
        desk.objects.load(version),
        loaded(Some(b"fresh+"), Some(16), None)
    );
    assert_eq!(files_below(dir.path()), 2);
}

#[test]
fn a_complete_version_is_written_over_in_its_place() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let draft = object(1, 2);
    desk.complete(draft, b"complete");
    assert_eq!(desk.bytes(draft), b"complete");
    for _ in 0..2 {
        desk.open(draft, b"head", DraftFrom::Complete).unwrap();
        assert_eq!(desk.found(draft), (some(b"head"), Some(8), None));
    }
    assert_eq!(desk.objects.load(draft), loaded(None, Some(8), None));
    desk.write(draft, 0, b"COM", (b"-a", b"")).unwrap();
    assert_eq!(desk.bytes(draft), b"COMplete");
    // Nothing was published of it.
    for _ in 0..2 {
        desk.settle(draft, draft, None).unwrap();
        assert_eq!(desk.objects.load(draft), loaded(None, None, Some(8)));
        assert_eq!(desk.bytes(draft), b"COMplete");
    }
    assert_eq!(files_below(dir.path()), 1);
}

#[test]
fn a_removed_draft_leaves_nothing_and_keeps_what_is_complete() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let (draft, other) = (object(1, 2), object(2, 2));
    desk.partial(draft, b"1234", b"side");
    desk.open(draft, b"head", DraftFrom::Partial).unwrap();
    let stored = Stored {
        object: draft,
        offset: 0,
        len: 4,
    };
    assert_eq!(desk.objects.read_vec(stored).unwrap(), b"1234");
    for _ in 0..2 {
        desk.wish(draft, DraftWish::Remove).unwrap();
        assert_eq!(desk.found(draft), (None, None, None));
    }
    assert!(desk.objects.read_vec(stored).is_err());
    assert_eq!(files_below(dir.path()), 0);
    // It had only begun.
    desk.complete(other, b"all");
    fs::write(desk.path(other, ".kddraft"), b"head").unwrap();
    desk.wish(other, DraftWish::Remove).unwrap();
    assert_eq!(desk.bytes(other), b"all");
    assert_eq!(files_below(dir.path()), 1);
}

/// Another journal, cut short or not, is replaced, and the bytes beside it stay; bytes without one
/// are nobody's.
#[test]
fn a_draft_goes_on_with_another_journal_and_begins_without_any() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let draft = object(1, 2);
    for old in [&b""[..], b"he", b"HEAD", b"HEAD-with-records"] {
        fs::write(desk.path(draft, ".kddraft"), old).unwrap();
        fs::write(desk.path(draft, ""), b"bytes").unwrap();
        desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
        assert_eq!(desk.found(draft), (some(b"head"), Some(5), None));
        desk.write(draft, 0, b"new", (b"-a", b"")).unwrap();
        assert_eq!(desk.bytes(draft), b"newes");
        // Another draft has nothing to do with those bytes; asked for twice, it goes on.
        let (journal, from) = (b"other".to_vec(), DraftFrom::Nothing);
        for (bytes, left) in [(&b"is"[..], 0), (b"", 2)] {
            let anew = DraftWish::Open {
                journal: journal.clone(),
                from,
                anew: true,
            };
            desk.wish(draft, anew).unwrap();
            assert_eq!(desk.found(draft), (some(b"other"), Some(left), None));
            desk.write(draft, 0, bytes, (b"", b"")).unwrap();
        }
        fs::remove_file(desk.path(draft, ".kddraft")).unwrap();
        desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
        assert_eq!(desk.found(draft), (some(b"head"), Some(0), None));
        desk.wish(draft, DraftWish::Remove).unwrap();
    }
}

/// Whatever a kill left of opening a complete version: the same wish, or one with another
/// journal, goes on from there.
#[test]
fn opening_goes_on_after_a_kill() {
    for journal in [None, Some(&b"head"[..]), Some(b"HEAD"), Some(b"")] {
        for moved in [false, true] {
            // The journal was made first, and whole.
            if moved && journal != Some(b"head") {
                continue;
            }
            let dir = TempDir::new().unwrap();
            let desk = Desk::new(dir.path());
            let draft = object(1, 2);
            desk.complete(draft, b"complete");
            if let Some(journal) = journal {
                fs::write(desk.path(draft, ".kddraft"), journal).unwrap();
            }
            if moved {
                desk.open(draft, b"head", DraftFrom::Complete).unwrap();
            }
            let desk = Desk::new(dir.path());
            desk.open(draft, b"head", DraftFrom::Complete).unwrap();
            assert_eq!(desk.found(draft), (some(b"head"), Some(8), None));
            assert_eq!(desk.bytes(draft), b"complete");
            assert_eq!(files_below(dir.path()), 2);
        }
    }
}

/// After each step of settling to which a kill can cut it short.
#[test]
fn settling_goes_on_after_a_kill() {
    for sidecar in [None, Some(&b"fresh"[..])] {
        for steps in 0..4 {
            let dir = TempDir::new().unwrap();
            let desk = Desk::new(dir.path());
            let (draft, version) = (object(1, 2), object(1, 3));
            desk.partial(draft, b"12345678", b"side");
            desk.open(draft, b"head", DraftFrom::Partial).unwrap();
            desk.write(draft, 0, b"new", (b"", b"-a")).unwrap();
            if steps > 0
                && let Some(sidecar) = sidecar
            {
                fs::write(desk.path(version, ".kdbitmap"), sidecar).unwrap();
                // It claims nothing yet.
                assert_eq!(desk.objects.load(version), loaded(None, None, None));
            }
            if steps > 1 {
                fs::rename(desk.path(draft, ""), desk.path(version, "")).unwrap();
                if sidecar.is_none() {
                    desk.objects.finish(version).unwrap();
                }
            }
            if steps > 2 {
                fs::remove_file(desk.path(draft, ".kdbitmap")).unwrap();
            }
            let desk = Desk::new(dir.path());
            desk.settle(draft, version, sidecar).unwrap();
            let expected = match sidecar {
                Some(sidecar) => loaded(Some(sidecar), Some(8), None),
                None => loaded(None, None, Some(8)),
            };
            assert_eq!(desk.objects.load(version), expected, "after {steps}");
            assert_eq!(desk.bytes(version), b"new45678");
            assert_eq!(desk.found(draft), (None, None, None));
            assert_eq!(files_below(dir.path()), 1 + usize::from(sidecar.is_some()));
        }
    }
}

#[test]
fn a_draft_whose_file_is_gone_can_not_be_settled() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let (draft, version) = (object(1, 2), object(1, 3));
    let gone = Err(DiskError::NotFound);
    assert_eq!(desk.settle(draft, version, None), gone);
    desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
    fs::remove_file(desk.path(draft, "")).unwrap();
    assert_eq!(desk.settle(draft, version, None), gone);
    assert_eq!(desk.settle(draft, version, Some(b"s")), gone);
    assert_eq!(desk.found(draft).0, some(b"head"));
}

/// A symlink in the store is nobody's draft.
#[test]
fn a_symlink_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let desk = Desk::new(dir.path());
    let draft = object(1, 2);
    let outside = dir.path().join("outside");
    fs::write(&outside, "outside").unwrap();
    desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
    fs::remove_file(desk.path(draft, "")).unwrap();
    std::os::unix::fs::symlink(&outside, desk.path(draft, "")).unwrap();
    let refused = Err(DiskError::WrongKind);
    assert_eq!(desk.write(draft, 0, b"x", (b"", b"")), refused);
    assert_eq!(fs::read(&outside).unwrap(), b"outside");
}

/// Fills a small disk to its last byte.
fn fill(dir: &Path) {
    let file = fs::File::create(dir.join("filler")).unwrap();
    while (&file).write(&[0; 4096]).is_ok_and(|count| count > 0) {}
}

#[test]
fn what_finds_no_room_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let Some(mounted) = Mounted::tmpfs(dir.path().join("small"), "1m") else {
        return;
    };
    let desk = Desk::new(&mounted.0);
    let draft = object(1, 2);
    desk.open(draft, b"head", DraftFrom::Nothing).unwrap();
    desk.write(draft, 0, &[7; 8_192], (b"-a", b"")).unwrap();
    // A hole, then bytes again.
    desk.write(draft, 40_960, &[8; 4_096], (b"-b", b""))
        .unwrap();
    let mtime = UNIX_EPOCH + Duration::from_secs(9);
    let file = fs::File::options()
        .write(true)
        .open(desk.path(draft, ""))
        .unwrap();
    file.set_times(FileTimes::new().set_modified(mtime))
        .unwrap();
    let bytes = desk.bytes(draft);
    let found = desk.found(draft);

    fill(&mounted.0);
    let full = Err(DiskError::NoSpace);
    let long = vec![9; 300_000];
    let log = vec![b'+'; 8_192];
    // Longer than the file; over its last byte and on; into the hole, begun before it; with a
    // record that does not fit, before or after.
    assert_eq!(desk.write(draft, 45_056, &long, (b"-c", b"")), full);
    assert_eq!(desk.write(draft, 45_055, &long, (b"-c", b"-d")), full);
    assert_eq!(desk.write(draft, 45_055, &long, (b"", b"-d")), full);
    assert_eq!(desk.write(draft, 4_096, &[9; 20_000], (b"-c", b"")), full);
    assert_eq!(desk.write(draft, 0, b"x", (&log, b"")), full);
    assert_eq!(desk.write(draft, 0, b"x", (b"-c", &log)), full);
    assert_eq!(desk.write(draft, 45_056, b"", (b"", &log)), full);
    let after = log.clone();
    assert_eq!(desk.wish(draft, DraftWish::Resize { size: 3, after }), full);
    let after = log.clone();
    let size = 1 << 30;
    assert_eq!(desk.wish(draft, DraftWish::Resize { size, after }), full);
    let record = log.clone();
    assert_eq!(desk.wish(draft, DraftWish::Mark { record }), full);
    assert_eq!(desk.found(draft), found);
    assert!(desk.bytes(draft) == bytes);
    let other = object(2, 2);
    assert_eq!(desk.open(other, &log, DraftFrom::Nothing), full);
    assert_eq!(desk.found(other), (None, None, None));

    // What has its room already is written.
    desk.write(draft, 100, b"over", (b"-c", b"-d")).unwrap();
    // And all is well once there is room again.
    fs::remove_file(mounted.0.join("filler")).unwrap();
    desk.write(draft, 45_055, &long, (b"-e", b"-f")).unwrap();
    let journal = some(b"head-a-b-c-d-e-f");
    assert_eq!(desk.found(draft), (journal, Some(345_055), None));
    assert!(desk.bytes(draft)[45_055..] == long);
}
