//! The threads: every job answered, in order where order counts.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use tandem_core::action::{Besides, DiskWish};
use tandem_core::draft_wish::{DraftFrom, DraftWish};
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event};
use tandem_core::ids::{ChunkHash, CommitId, JobId};
use tandem_io::disk::folder::Folder;
use tandem_io::disk::objects::Objects;
use tandem_io::disk::places::Store;
use tandem_io::disk::pool::Disk;
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tempfile::TempDir;

use crate::{Heard, loaded, object, open, path, put};

#[test]
fn every_wish_is_answered_and_those_of_an_object_in_order() {
    let shared = TempDir::new().unwrap();
    let own = TempDir::new().unwrap();
    fs::write(shared.path().join("file"), "hello").unwrap();
    let heard = Arc::new(Heard::default());
    let payloads = Arc::new(Payloads::default());
    let objects = Arc::new(Objects::new(Arc::new(Store::open(own.path()).unwrap())));
    let disk = Disk::start(
        Some(Arc::new(Folder::open(shared.path()).unwrap())),
        Some(Arc::clone(&objects)),
        open(own.path()).0,
        Arc::clone(&heard) as Arc<dyn Sink>,
        Arc::clone(&payloads),
        3,
    )
    .unwrap();

    let file = path(&[b"file"]);
    let mut wishes = vec![
        DiskWish::List { path: vec![] },
        DiskWish::Look { path: file.clone() },
        DiskWish::ReadChunk {
            path: file,
            offset: 1,
            len: 100,
            besides: Besides::Nothing,
        },
    ];
    for counter in 1..=20 {
        let object = object(counter, 1);
        wishes.push(DiskWish::LoadObject { object });
        wishes.push(DiskWish::CreateObject {
            object,
            size: 6,
            sidecar: b"head".to_vec(),
        });
        wishes.push(DiskWish::StoreChunk {
            object,
            offset: 0,
            payload: payloads.put(Bytes::from_static(b"abcdef")),
            record: b"+".to_vec(),
        });
        wishes.push(DiskWish::MarkSidecar {
            object,
            record: b"-".to_vec(),
        });
        wishes.push(DiskWish::CutSidecar { object, len: 5 });
        wishes.push(DiskWish::SyncObject { object });
        wishes.push(DiskWish::LoadObject { object });
        wishes.push(DiskWish::FinishObject { object });
        wishes.push(DiskWish::HashChunk {
            object,
            offset: 0,
            len: 6,
        });
        wishes.push(DiskWish::RemoveObject { object });
        wishes.push(DiskWish::LoadObject { object });
    }
    let count = wishes.len();
    for (number, wish) in wishes.into_iter().enumerate() {
        disk.perform(JobId(number as u64), wish);
    }
    let outcomes = heard.disk(count);
    let chunk = &outcomes[2];
    let Ok(DiskDone::Chunk {
        payload, len: 4, ..
    }) = chunk
    else {
        panic!("{chunk:?}");
    };
    assert_eq!(payloads.take(*payload).unwrap(), "ello");
    assert!(payloads.is_empty());
    for round in outcomes[3..].chunks(11) {
        let hash = ChunkHash::of(b"abcdef");
        let hashed = DiskDone::Hashed { len: 6, hash };
        let done = Ok(DiskDone::Done);
        let none = loaded(None, None, None);
        assert_eq!(round[0], none);
        assert_eq!(round[6], loaded(Some(b"head+"), Some(6), None));
        assert_eq!(round[8], Ok(hashed));
        assert_eq!(round[10], none);
        for index in [1, 2, 3, 4, 5, 7, 9] {
            assert_eq!(round[index], done, "{index}");
        }
    }

    // A payload that is not there is the engine's mistake, and no reason to hang.
    disk.perform(
        JobId(9_999),
        DiskWish::StoreChunk {
            object: object(1, 1),
            offset: 0,
            payload: tandem_core::ids::PayloadId(12_345),
            record: vec![],
        },
    );
    assert_eq!(heard.disk(count + 1)[count], Err(DiskError::Io));
    disk.stop().unwrap();
}

#[test]
fn commits_are_answered_in_order_and_a_stop_drains() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    let store = open(dir.path()).0;
    let disk = Disk::start(None, None, store, sink, Arc::default(), 0).unwrap();
    disk.perform(JobId(0), DiskWish::List { path: vec![] });
    for number in 1..=500_u64 {
        let record = put(&number.to_be_bytes(), b"v");
        disk.commit(CommitId(number), vec![record], number.is_multiple_of(50));
    }
    disk.stop().unwrap();
    disk.stop().unwrap();
    assert_eq!(heard.disk(1), [Err(DiskError::WrongKind)]);
    let commits = heard.commits();
    assert!(commits.iter().copied().eq((1..=500).map(CommitId)));
    let opened = open(dir.path()).1;
    assert_eq!((opened.last, opened.records.len()), (Last::Clean, 500));
}

#[test]
fn a_disk_that_is_only_dropped_leaves_no_clean_end() {
    let dir = TempDir::new().unwrap();
    let sink = Arc::new(Heard::default());
    let store = open(dir.path()).0;
    let disk = Disk::start(None, None, store, sink, Arc::default(), 1).unwrap();
    disk.commit(CommitId(1), vec![put(b"k", b"v")], false);
    drop(disk);
    let opened = open(dir.path()).1;
    assert_eq!((opened.last, opened.records.len()), (Last::Killed, 1));
}

/// A write that its own thread does overtakes nothing, and nothing overtakes it.
#[test]
fn a_claimed_job_keeps_its_place() {
    let own = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let payloads = Arc::new(Payloads::default());
    let objects = Arc::new(Objects::new(Arc::new(Store::open(own.path()).unwrap())));
    let disk = Disk::start(
        None,
        Some(Arc::clone(&objects)),
        open(own.path()).0,
        Arc::clone(&heard) as Arc<dyn Sink>,
        Arc::clone(&payloads),
        2,
    )
    .unwrap();
    let draft = object(1, 1);
    let wish = |wish| DiskWish::Draft {
        object: draft,
        wish,
    };
    let write = |offset, bytes: &'static [u8]| {
        wish(DraftWish::Write {
            offset,
            payload: payloads.put(Bytes::from_static(bytes)),
            before: b"-".to_vec(),
            after: Vec::new(),
        })
    };
    let open = wish(DraftWish::Open {
        journal: b"head".to_vec(),
        from: DraftFrom::Nothing,
        anew: true,
    });
    disk.perform(JobId(1), open);
    heard.disk(1);

    let mine = write(0, b"aaaa");
    assert!(disk.claim(&mine));
    // Neither another thread's, nor one of another version of the same file.
    assert!(!disk.claim(&mine));
    let version = object(1, 2);
    assert!(!disk.claim(&DiskWish::RemoveObject { object: version }));
    assert!(!disk.claim(&DiskWish::Look { path: vec![] }));
    // Given meanwhile: they wait, and then come in their order; those of others do not wait.
    disk.perform(JobId(3), write(2, b"bbbb"));
    disk.perform(JobId(4), write(4, b"cc"));
    disk.perform(JobId(5), DiskWish::LoadObject { object: version });
    disk.perform(
        JobId(6),
        DiskWish::LoadObject {
            object: object(3, 1),
        },
    );
    let done = heard.disk(2);
    assert_eq!(done[1], loaded(None, None, None));
    let Event::Disk { job, outcome } = disk.do_claimed(JobId(2), mine) else {
        panic!("another event");
    };
    assert_eq!((job, outcome), (JobId(2), Ok(DiskDone::Done)));
    assert_eq!(heard.disk(5).len(), 5);
    assert_eq!(objects.load(draft), loaded(None, Some(6), None));
    let hashed = objects.hash(draft, 0, 6).unwrap();
    let hash = ChunkHash::of(b"aabbcc");
    assert_eq!(hashed, DiskDone::Hashed { len: 6, hash });
    // It is free again.
    let again = write(0, b"dd");
    assert!(disk.claim(&again));
    disk.do_claimed(JobId(7), again);
    assert!(payloads.is_empty());
    disk.stop().unwrap();
}
