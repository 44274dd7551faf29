//! Objects: from nothing to complete, on full disks, and beside a target.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use tandem_core::action::Stored;
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::ids::ChunkHash;
use tandem_io::disk::objects::Objects;
use tandem_io::disk::places::{Store, Targets};
use tempfile::TempDir;

use crate::{Mounted, files_below, loaded, object};

#[test]
fn an_object_goes_from_nothing_to_complete() {
    let dir = TempDir::new().unwrap();
    let objects = Objects::new(Arc::new(Store::open(dir.path()).unwrap()));
    let object = object(1, 2);
    assert_eq!(objects.load(object), loaded(None, None, None));
    assert_eq!(objects.mark(object, b"r"), Err(DiskError::NotFound));
    assert_eq!(objects.finish(object), Err(DiskError::NotFound));

    objects.create(object, 1_000, b"head").unwrap();
    objects.store(object, 500, &[7; 400], b"-one").unwrap();
    objects.mark(object, b"-two").unwrap();
    objects.sync(object).unwrap();
    let sidecar = &b"head-one-two"[..];
    assert_eq!(
        objects.load(object),
        loaded(Some(sidecar), Some(1_000), None)
    );

    // Cut, and gone on after the cut.
    objects.cut(object, 8).unwrap();
    objects.mark(object, b"!").unwrap();
    assert_eq!(
        objects.load(object),
        loaded(Some(b"head-one!"), Some(1_000), None)
    );
    assert_eq!(objects.cut(object, 100), Err(DiskError::Io));

    // Nothing is written beyond the object, and no record of it.
    assert_eq!(
        objects.store(object, 900, &[7; 200], b"x"),
        Err(DiskError::Io)
    );
    let stored = |offset, len| Stored {
        object,
        offset,
        len,
    };
    assert_eq!(objects.read_vec(stored(400, 300)).unwrap()[..101], {
        let mut half = vec![0; 100];
        half.push(7);
        half
    });
    let mut buf = [0; 400];
    objects.read(stored(500, 400), &mut buf).unwrap();
    assert_eq!(buf, [7; 400]);
    assert!(objects.read(stored(800, 400), &mut buf).is_err());
    assert!(objects.read(stored(0, 399), &mut buf).is_err());

    for _ in 0..2 {
        objects.finish(object).unwrap();
        assert_eq!(objects.load(object), loaded(None, None, Some(1_000)));
        assert_eq!(objects.read_vec(stored(500, 400)).unwrap(), [7; 400]);
    }
    let hashed = objects.hash(object, 500, 1_000).unwrap();
    let mut end = vec![7; 400];
    end.resize(500, 0);
    let hash = ChunkHash::of(&end);
    assert_eq!(hashed, DiskDone::Hashed { len: 500, hash });

    objects.remove(object).unwrap();
    objects.remove(object).unwrap();
    assert_eq!(objects.load(object), loaded(None, None, None));
    assert!(objects.read_vec(stored(500, 400)).is_err());
    assert_eq!(files_below(dir.path()), 0);
}

#[test]
fn an_object_begun_again_has_nothing_of_before() {
    let dir = TempDir::new().unwrap();
    let objects = Objects::new(Arc::new(Store::open(dir.path()).unwrap()));
    let object = object(1, 2);
    objects.create(object, 100, b"head").unwrap();
    objects.store(object, 0, &[9; 100], b"all").unwrap();
    let stored = Stored {
        object,
        offset: 0,
        len: 50,
    };
    assert_eq!(objects.read_vec(stored).unwrap(), [9; 50]);
    objects.create(object, 50, b"new").unwrap();
    assert_eq!(objects.load(object), loaded(Some(b"new"), Some(50), None));
    assert_eq!(objects.read_vec(stored).unwrap(), [0; 50]);
}

#[test]
fn a_sidecar_without_data_claims_nothing() {
    let dir = TempDir::new().unwrap();
    let objects = Objects::new(Arc::new(Store::open(dir.path()).unwrap()));
    let object = object(1, 2);
    objects.create(object, 100, b"head").unwrap();
    let data = fs::read_dir(dir.path().join("partial"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .find(|path| path.extension().is_none())
        .unwrap();
    fs::remove_file(data).unwrap();
    assert_eq!(objects.load(object), loaded(None, None, None));
}

#[test]
fn a_full_disk_claims_nothing() {
    let dir = TempDir::new().unwrap();
    let Some(mounted) = Mounted::tmpfs(dir.path().join("small"), "1m") else {
        return;
    };
    let objects = Objects::new(Arc::new(Store::open(&mounted.0).unwrap()));
    let object = object(1, 2);
    let chunk = vec![5; 300 * 1024];
    objects.create(object, 10 << 20, b"head").unwrap();
    let mut written: u64 = 0;
    let full = loop {
        match objects.store(object, written * (300 << 10), &chunk, b"+") {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10, "it never fills");
    };
    assert_eq!(full, DiskError::NoSpace);
    let claims = format!("head{}", "+".repeat(usize::try_from(written).unwrap()));
    let expected = loaded(Some(claims.as_bytes()), Some(10 << 20), None);
    assert_eq!(objects.load(object), expected);

    // A record that fits only in part is cut off again.
    let filler = fs::File::create(mounted.0.join("filler")).unwrap();
    while (&filler).write(&[0; 1024]).is_ok_and(|count| count > 0) {}
    let long = vec![b'x'; 64 * 1024];
    assert_eq!(objects.mark(object, &long), Err(DiskError::NoSpace));
    assert_eq!(objects.load(object), expected);
    // Nor is there a sidecar of an object that could not be made.
    let other = self::object(2, 2);
    assert_eq!(objects.create(other, 99, &long), Err(DiskError::NoSpace));
    assert_eq!(objects.load(other), loaded(None, Some(99), None));
    objects.remove(other).unwrap();
    objects.remove(object).unwrap();
    assert_eq!(files_below(&mounted.0), 1);
}

#[test]
fn a_wanted_file_grows_beside_its_target() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("big.iso");
    fs::write(&target, "an older one of the user's").unwrap();
    let targets = Arc::new(Targets::default());
    let objects = Objects::new(Arc::clone(&targets) as Arc<_>);
    let (old, new) = (object(1, 1), object(1, 2));
    assert_eq!(objects.load(old), Err(DiskError::NotFound));

    targets.assign(old, &target).unwrap();
    assert_eq!(objects.load(old), loaded(None, None, None));
    objects.create(old, 4, b"old-head").unwrap();
    objects.store(old, 0, b"OLD!", b"+").unwrap();

    // Another version takes the target over: what is there is its to judge, and the old one
    // touches it no more.
    targets.assign(new, &target).unwrap();
    assert_eq!(objects.load(new), loaded(Some(b"old-head+"), Some(4), None));
    assert_eq!(objects.mark(old, b"late"), Err(DiskError::NotFound));
    assert_eq!(objects.finish(old), Err(DiskError::NotFound));
    objects.create(new, 3, b"new-head").unwrap();
    objects.remove(old).unwrap();
    objects.store(new, 0, b"new", b"+").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"an older one of the user's");
    assert_eq!(
        fs::read(dir.path().join(".big.iso.tandem-part.kdbitmap")).unwrap(),
        b"new-head+"
    );

    objects.sync(new).unwrap();
    objects.finish(new).unwrap();
    objects.finish(new).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(files_below(dir.path()), 1);
    assert_eq!(objects.load(new), loaded(None, None, Some(3)));
}

#[test]
fn a_wanted_file_never_removes_what_it_did_not_bring() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("mine");
    fs::write(&target, "mine").unwrap();
    let targets = Arc::new(Targets::default());
    let objects = Objects::new(Arc::clone(&targets) as Arc<_>);
    targets.assign(object(1, 1), &target).unwrap();
    objects.create(object(1, 1), 4, b"h").unwrap();
    objects.remove(object(1, 1)).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    assert_eq!(files_below(dir.path()), 1);
}

/// The host changed a file of which `get` had brought the version before, in the same run: the
/// object went, and the user's file with it.
#[test]
fn a_wanted_file_that_was_brought_is_the_users() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("mine");
    let targets = Arc::new(Targets::default());
    let objects = Objects::new(Arc::clone(&targets) as Arc<_>);
    targets.assign(object(1, 1), &target).unwrap();
    objects.create(object(1, 1), 4, b"h").unwrap();
    objects.store(object(1, 1), 0, b"that", b"r").unwrap();
    objects.sync(object(1, 1)).unwrap();
    objects.finish(object(1, 1)).unwrap();
    objects.remove(object(1, 1)).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"that");
}
