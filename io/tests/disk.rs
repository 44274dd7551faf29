//! The disk on a real file system: what each wish does, and what outside programs, full disks
//! and kills may not do to it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode};
use tandem_core::action::{DiskWish, Record, Stored};
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event, Hint, Seen, Sighting};
use tandem_core::ids::{ActorId, ChunkHash, CommitId, Dot, JobId, NodeId, ObjectId};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath, XattrName};
use tandem_io::disk::folder::Folder;
use tandem_io::disk::metadata::{Metadata, MetadataError, Opened};
use tandem_io::disk::objects::Objects;
use tandem_io::disk::places::{Store, Targets};
use tandem_io::disk::pool::Disk;
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tandem_io::watch::{Pace, Watcher};
use tempfile::TempDir;

// ------------------------------------------------------------------ the shared folder

#[test]
fn a_listing_shows_what_is_there_but_not_ours() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "hello").unwrap();
    fs::set_permissions(dir.path().join("file"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::hard_link(dir.path().join("file"), dir.path().join("again")).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::create_dir(dir.path().join(".tandem")).unwrap();
    fs::create_dir(dir.path().join(".Tandem")).unwrap();
    symlink("../outside", dir.path().join("link")).unwrap();
    let odd = OsStr::from_bytes(b"caf\xe9\n");
    fs::write(dir.path().join(odd), "").unwrap();
    make_fifo(&dir.path().join("fifo"));

    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&[]));
    assert!(complete);
    let names: BTreeSet<_> = items.iter().map(|(name, _)| name.clone()).collect();
    let expected = [
        &b"file"[..],
        b"again",
        b"sub",
        b"link",
        b"caf\xe9\n",
        b"fifo",
    ];
    assert_eq!(names, expected.into_iter().map(name).collect());

    let file = find(&items, b"file");
    assert_eq!(file.what, Seen::File);
    assert_eq!((file.print.size, file.mode, file.nlink), (5, 0o4640, 2));
    assert_eq!(file, find(&items, b"again"));
    assert_eq!(Some(file), looked(folder.look(&path(&[b"file"]))).as_ref());
    assert_eq!(find(&items, b"sub").what, Seen::Directory);
    assert_eq!(find(&items, b"fifo").what, Seen::Local);
    let target = TargetPath::parse(b"../outside").unwrap();
    assert_eq!(find(&items, b"link").what, Seen::Symlink(target));
}

#[test]
fn a_look_follows_nothing_and_tells_absent_from_unknown() {
    let dir = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    fs::write(dir.path().join("file"), "f").unwrap();
    symlink(outside.path(), dir.path().join("way")).unwrap();
    let folder = Folder::open(dir.path()).unwrap();

    assert_eq!(looked(folder.look(&path(&[b"none"]))), None);
    assert_eq!(looked(folder.look(&path(&[b"none", b"deep"]))), None);
    assert_eq!(looked(folder.look(&[])).unwrap().what, Seen::Directory);
    let wrong = Err(DiskError::WrongKind);
    let beyond = path(&[b"way", b"secret"]);
    assert_eq!(folder.look(&beyond), wrong);
    assert_eq!(folder.look(&path(&[b"file", b"x"])), wrong);
    assert_eq!(folder.list(&path(&[b"way"])), wrong);
    assert_eq!(folder.list(&path(&[b"file"])), wrong);
    assert_eq!(folder.list(&path(&[b"none"])), Err(DiskError::NotFound));
    let payloads = Payloads::default();
    assert_eq!(folder.read_chunk(&beyond, 0, 9, &payloads), wrong);
    let link = path(&[b"way"]);
    assert_eq!(folder.read_chunk(&link, 0, 9, &payloads), wrong);
    assert!(payloads.is_empty());
}

#[test]
fn a_folder_that_is_gone_says_nothing_of_its_files() {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let folder = Folder::open(&inner).unwrap();
    fs::rename(&inner, dir.path().join("renamed")).unwrap();
    fs::write(dir.path().join("renamed/file"), "x").unwrap();
    assert!(looked(folder.look(&path(&[b"file"]))).is_some());
    fs::remove_dir_all(dir.path().join("renamed")).unwrap();
    assert!(folder.look(&path(&[b"file"])).is_err());
    assert!(!matches!(
        folder.list(&[]),
        Ok(DiskDone::Listed { complete: true, .. })
    ));
}

#[test]
fn attributes_of_users_are_read_within_bounds() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    if set(&file, "user.tag", b"blue\0").is_err() {
        eprintln!("skipped: this file system has no user attributes");
        return;
    }
    set(&file, "user.empty", b"").unwrap();
    set(&dir.path().join("sub"), "user.d", b"1").unwrap();
    if rustix::process::geteuid().is_root() {
        set(&file, "trusted.hidden", b"no").unwrap();
    }
    let folder = Folder::open(dir.path()).unwrap();
    let seen = looked(folder.look(&path(&[b"file"]))).unwrap();
    let found: Vec<_> = seen
        .xattrs
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_ref()))
        .collect();
    assert_eq!(
        found,
        [(&b"user.empty"[..], &b""[..]), (b"user.tag", b"blue\0")]
    );
    let seen = looked(folder.look(&path(&[b"sub"]))).unwrap();
    assert_eq!(seen.xattrs.len(), 1);
    assert!(
        seen.xattrs
            .contains_key(&XattrName::parse(b"user.d").unwrap())
    );
}

#[test]
fn a_chunk_comes_with_the_fingerprint_of_its_file() {
    let dir = TempDir::new().unwrap();
    let content: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(dir.path().join("file"), &content).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let payloads = Payloads::default();
    let file = path(&[b"file"]);
    let print = looked(folder.look(&file)).unwrap().print;

    for (offset, len, there) in [(0, 4_096, 4_096), (39_000, 4_096, 1_000), (40_000, 1, 0)] {
        let done = folder.read_chunk(&file, offset, len, &payloads).unwrap();
        let DiskDone::Chunk {
            payload,
            len,
            hash,
            before,
            after,
        } = done
        else {
            panic!("{done:?}");
        };
        let bytes = payloads.take(payload).unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(bytes, content[from..from + there]);
        assert_eq!(usize::try_from(len).unwrap(), there);
        assert_eq!(hash, ChunkHash::of(&bytes));
        assert_eq!((before, after), (print, print));
    }

    // A file of the same size and time that takes the name is another one.
    fs::write(dir.path().join("new"), &content).unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("file")).unwrap();
    let DiskDone::Chunk { before, .. } = folder.read_chunk(&file, 0, 1, &payloads).unwrap() else {
        panic!("no chunk");
    };
    assert_ne!(before.ino, print.ino);
}

#[test]
fn a_fifo_neither_hangs_nor_is_read() {
    let dir = TempDir::new().unwrap();
    make_fifo(&dir.path().join("fifo"));
    let folder = Folder::open(dir.path()).unwrap();
    let payloads = Payloads::default();
    within(Duration::from_secs(10), move || {
        let wrong = Err(DiskError::WrongKind);
        assert_eq!(folder.read_chunk(&path(&[b"fifo"]), 0, 9, &payloads), wrong);
        assert_eq!(folder.list(&path(&[b"fifo"])), wrong);
    });
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_walked_in_legs() {
    let dir = TempDir::new().unwrap();
    let long = [b'd'; 250];
    let mut at = rustix::fs::open(dir.path(), dir_flags(), Mode::empty()).unwrap();
    let mut names = Vec::new();
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &long[..], Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &long[..], dir_flags(), Mode::empty()).unwrap();
        names.push(name(&long));
    }
    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&names));
    assert!(items.is_empty() && complete);
    assert_eq!(looked(folder.look(&names)).unwrap().what, Seen::Directory);
}

#[test]
fn another_file_system_is_local_and_not_entered() {
    let dir = TempDir::new().unwrap();
    let Some(mounted) = Mounted::tmpfs(dir.path().join("other"), "1m") else {
        return;
    };
    fs::write(mounted.0.join("inside"), "x").unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&[]));
    assert!(complete);
    assert_eq!(find(&items, b"other").what, Seen::Local);
    let wrong = Err(DiskError::WrongKind);
    assert_eq!(folder.list(&path(&[b"other"])), wrong);
    assert_eq!(folder.look(&path(&[b"other", b"inside"])), wrong);
}

// ------------------------------------------------------------------ objects

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

// ------------------------------------------------------------------ metadata

#[test]
fn a_store_remembers_and_knows_how_it_ended() {
    let dir = TempDir::new().unwrap();
    let (mut store, opened) = open(dir.path());
    assert_eq!((opened.last, opened.records.len()), (Last::Clean, 0));
    store
        .commit(&[put(b"a", b"1"), put(b"b", b"2")], false)
        .unwrap();
    store
        .commit(&[put(b"a", b"3"), remove(b"b"), put(b"", b"")], true)
        .unwrap();
    store.commit(&[], true).unwrap();
    let records = vec![pair(b"", b""), pair(b"a", b"3")];
    assert_eq!(store.load().unwrap(), records);
    store.close_clean().unwrap();

    let (store, opened) = open(dir.path());
    assert_eq!(
        (opened.last, opened.records),
        (Last::Clean, records.clone())
    );
    drop(store);
    let (store, opened) = open(dir.path());
    assert_eq!((opened.last, opened.records), (Last::Killed, records));
    store.close_clean().unwrap();
}

#[test]
fn a_store_in_use_names_who_uses_it() {
    let dir = TempDir::new().unwrap();
    let (_store, _) = open(dir.path());
    match Metadata::open(dir.path(), WallTime::default()) {
        Err(error @ MetadataError::Busy { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&std::process::id().to_string()), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copied_store_is_lost_and_a_moved_one_is_not() {
    let dir = TempDir::new().unwrap();
    let first = dir.path().join("first");
    fs::create_dir(&first).unwrap();
    let (mut store, _) = open(&first);
    store.commit(&[put(b"k", b"v")], true).unwrap();
    store.close_clean().unwrap();

    let moved = dir.path().join("moved");
    fs::rename(&first, &moved).unwrap();
    let (store, opened) = open(&moved);
    assert_eq!(opened.last, Last::Clean);
    store.close_clean().unwrap();

    let copy = dir.path().join("copy");
    let copied = Command::new("cp").arg("-a").arg(&moved).arg(&copy).status();
    assert!(copied.unwrap().success());
    let (store, opened) = open(&copy);
    assert_eq!(
        (opened.last, opened.records),
        (Last::Lost, vec![pair(b"k", b"v")])
    );
    store.close_clean().unwrap();
    // Once it lives there, it is at home.
    assert_eq!(open(&copy).1.last, Last::Clean);
}

#[test]
fn a_damaged_store_is_set_aside_and_told() {
    for damage in [flip_a_value, cut_the_file, empty_the_file, remove_the_file] {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path());
        let value = vec![0xab; 3_000];
        for number in 0..100_u8 {
            store.commit(&[put(&[number], &value)], false).unwrap();
        }
        store.close_clean().unwrap();
        damage(&dir.path().join("metadata/store.sqlite"));

        let (mut store, opened) = open(dir.path());
        assert_eq!((opened.last, opened.records.len()), (Last::Lost, 0));
        let (aside, why) = opened.damaged.expect("it is told");
        assert_eq!(aside, dir.path().join("metadata.damaged-1"));
        assert!(aside.is_dir() && !why.is_empty());
        store.commit(&[put(b"k", b"v")], true).unwrap();
        store.close_clean().unwrap();
        assert_eq!(open(dir.path()).1.records, [pair(b"k", b"v")]);
    }
}

#[test]
fn power_loss_while_a_store_is_made_leaves_one_that_opens() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("metadata.new")).unwrap();
    fs::write(dir.path().join("metadata.new/store.sqlite"), "half").unwrap();
    let (store, opened) = open(dir.path());
    assert_eq!(opened.last, Last::Clean);
    assert!(opened.damaged.is_none());
    store.close_clean().unwrap();
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).0.close_clean().unwrap();
    let file = dir.path().join("metadata/store.sqlite");
    let sql = rusqlite::Connection::open(&file).unwrap();
    sql.pragma_update(None, "user_version", 99).unwrap();
    drop(sql);
    let error = Metadata::open(dir.path(), WallTime::default()).unwrap_err();
    assert!(
        matches!(error, MetadataError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(file.exists());
}

/// Where the child of the next test commits.
const CHILD_DIR: &str = "TANDEM_TEST_COMMITS_IN";

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged = 0_u64;
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_commits", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = acknowledged;
        let mut seen = 0;
        // Somewhere between the first commits and some hundred, at no round number.
        let enough = 1 + (round * 37) % 400;
        for line in lines.by_ref() {
            if let Some(number) = line.unwrap().strip_prefix("done ") {
                last = number.parse().unwrap();
                seen += 1;
            }
            if seen == enough {
                child.kill().unwrap();
                break;
            }
        }
        // What was said before the kill arrived counts as well.
        for line in lines {
            if let Some(number) = line.ok().as_deref().and_then(|l| l.strip_prefix("done ")) {
                last = number.parse().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen == enough, "the child ended by itself in round {round}");

        let (store, opened) = open(dir.path());
        assert_eq!(opened.last, Last::Killed);
        assert!(opened.damaged.is_none());
        let count = check_commits(&opened.records);
        assert!(
            count == last || count == last + 1,
            "{last} were acknowledged and {count} are there"
        );
        acknowledged = count;
        drop(store);
    }
    assert!(acknowledged > 20);
}

#[test]
#[ignore = "the child of a_kill_loses_nothing_that_was_acknowledged"]
fn child_that_commits() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let (mut store, opened) = open(Path::new(&dir));
    let mut number = check_commits(&opened.records);
    let mut out = std::io::stdout();
    loop {
        number += 1;
        store.commit(&commit_of(number), number % 7 == 0).unwrap();
        writeln!(out, "done {number}").unwrap();
        out.flush().unwrap();
    }
}

/// The records of commit `number`: the count, and one of 50 slots, which it overwrites.
fn commit_of(number: u64) -> [Record; 2] {
    let slot = u8::try_from(number % 50).unwrap();
    let mut value = number.to_le_bytes().to_vec();
    value.resize(usize::try_from(8 + number % 3_000).unwrap(), slot);
    [put(b"count", &number.to_le_bytes()), put(&[slot], &value)]
}

/// Returns the number of the last commit, having checked that the records are those of it and
/// all before it.
fn check_commits(records: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    let number_in = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let count = records
        .iter()
        .find(|(key, _)| key == b"count")
        .map_or(0, |(_, value)| number_in(value));
    let mut expected = std::collections::BTreeMap::new();
    for number in count.saturating_sub(49).max(1)..=count {
        for record in commit_of(number) {
            expected.insert(record.key, record.value.unwrap());
        }
    }
    assert!(records.iter().cloned().eq(expected), "of {count}");
    count
}

// ------------------------------------------------------------------ the threads

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
        disk.commit(CommitId(number), vec![record], number % 50 == 0);
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

// ------------------------------------------------------------------ the watcher

#[test]
fn what_programs_do_is_heard() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir(dir.path().join(".tandem")).unwrap();
    fs::write(dir.path().join("a/b/old"), "1").unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    let _watcher = Watcher::start(Arc::clone(&folder), sink).unwrap();
    let settled = |names: &[&[u8]]| Hint::Path {
        path: path(names),
        settled: true,
    };
    let subtree = |names: &[&[u8]]| Hint::Subtree { path: path(names) };

    fs::write(dir.path().join("new"), "x").unwrap();
    heard.hint(&settled(&[b"new"]));
    fs::write(dir.path().join("a/b/old"), "2").unwrap();
    heard.hint(&settled(&[b"a", b"b", b"old"]));
    fs::rename(dir.path().join("a/b/old"), dir.path().join("a/moved")).unwrap();
    heard.hint(&settled(&[b"a", b"b", b"old"]));
    heard.hint(&settled(&[b"a", b"moved"]));
    fs::set_permissions(dir.path().join("new"), fs::Permissions::from_mode(0o600)).unwrap();
    heard.hint(&settled(&[b"new"]));
    fs::remove_file(dir.path().join("new")).unwrap();
    heard.hint(&settled(&[b"new"]));

    // Writing without an end is heard as that.
    let open_file = fs::File::create(dir.path().join("growing")).unwrap();
    open_file.write_all_at(b"x", 0).unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"growing"]),
        settled: false,
    });
    drop(open_file);
    heard.hint(&settled(&[b"growing"]));

    // New directories are watched, whatever was in them already, and moved ones still.
    fs::create_dir_all(dir.path().join("c/d/e")).unwrap();
    heard.hint(&subtree(&[b"c"]));
    fs::write(dir.path().join("c/d/e/f"), "x").unwrap();
    heard.hint(&settled(&[b"c", b"d", b"e", b"f"]));
    fs::rename(dir.path().join("c"), dir.path().join("a/c2")).unwrap();
    heard.hint(&subtree(&[b"a", b"c2"]));
    fs::write(dir.path().join("a/c2/d/e/g"), "x").unwrap();
    heard.hint(&settled(&[b"a", b"c2", b"d", b"e", b"g"]));
    heard.forget_after_quiet();

    // Reading says nothing, ours or anyone's, and nor does what is ours.
    listed(folder.list(&[]));
    folder
        .read_chunk(&path(&[b"a", b"moved"]), 0, 9, &Payloads::default())
        .unwrap();
    fs::read(dir.path().join("a/moved")).unwrap();
    fs::write(dir.path().join(".tandem/ours"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(heard.hints(), []);
}

#[test]
fn a_busy_writer_makes_few_hints_and_a_burst_one() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    let pace = Pace {
        window: Duration::from_millis(500),
        ..Pace::default()
    };
    let _watcher = Watcher::start_at(folder, sink, pace).unwrap();
    let file = fs::File::create(dir.path().join("busy")).unwrap();
    let end = Instant::now() + Duration::from_millis(400);
    let mut writes = 0_u32;
    while Instant::now() < end {
        file.write_all_at(b"x", 0).unwrap();
        writes += 1;
    }
    heard.forget_after_quiet_counting(4);
    assert!(writes > 100);

    for number in 0..6_000 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    heard.hint(&Hint::Subtree { path: vec![] });
    assert!(heard.hints().len() < 12_000);
}

#[test]
fn a_folder_renamed_while_it_is_watched_still_is() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("here")).unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(&dir.path().join("here")).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    fs::rename(dir.path().join("here"), dir.path().join("there")).unwrap();
    fs::create_dir(dir.path().join("there/sub")).unwrap();
    heard.hint(&Hint::Subtree {
        path: path(&[b"sub"]),
    });
    fs::write(dir.path().join("there/sub/file"), "x").unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"sub", b"file"]),
        settled: true,
    });
}

#[test]
fn a_link_out_of_the_folder_is_not_watched() {
    let dir = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    symlink(outside.path(), dir.path().join("out2")).unwrap();
    fs::rename(dir.path().join("out2"), dir.path().join("out3")).unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"out3"]),
        settled: true,
    });
    heard.forget_after_quiet();
    fs::write(outside.path().join("secret"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(heard.hints(), []);
}

#[test]
fn churning_directories_end_up_watched() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    let at = |name: &str| dir.path().join(name);
    for round in 0..100 {
        fs::create_dir_all(at("x/y")).unwrap();
        fs::rename(at("x"), at("z")).unwrap();
        if round < 99 {
            fs::remove_dir_all(at("z")).unwrap();
        }
    }
    fs::rename(at("z"), at("x")).unwrap();
    heard.forget_after_quiet();
    fs::write(at("x/y/last"), "x").unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"x", b"y", b"last"]),
        settled: true,
    });
}

// ------------------------------------------------------------------ helpers

/// A sink that remembers.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Sink for Heard {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.more.notify_all();
    }
}

impl Heard {
    /// Waits for `count` disk events and returns their outcomes in the order of jobs.
    fn disk(&self, count: usize) -> Vec<Result<DiskDone, DiskError>> {
        let mut found = Vec::new();
        self.wait(|events| {
            found = events
                .iter()
                .filter_map(|event| match event {
                    Event::Disk { job, outcome } => Some((*job, outcome.clone())),
                    _ => None,
                })
                .collect();
            found.len() == count
        });
        found.sort_by_key(|(job, _)| *job);
        found.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn commits(&self) -> Vec<CommitId> {
        let events = self.events.lock().unwrap();
        let commits = events.iter().filter_map(|event| match event {
            Event::Committed { commit, outcome } => {
                assert_eq!(*outcome, Ok(()));
                Some(*commit)
            }
            _ => None,
        });
        commits.collect()
    }

    fn hints(&self) -> Vec<Hint> {
        let events = self.events.lock().unwrap();
        let hints = events.iter().filter_map(|event| match event {
            Event::Hint(hint) => Some(hint.clone()),
            _ => None,
        });
        hints.collect()
    }

    /// Waits for a hint, and forgets it and all before it.
    fn hint(&self, wanted: &Hint) {
        self.wait(|events| {
            let at = events
                .iter()
                .position(|event| matches!(event, Event::Hint(hint) if hint == wanted));
            if let Some(at) = at {
                // What came with it stays: the order within a window is that of names.
                events.remove(at);
            }
            at.is_some()
        });
    }

    fn forget_after_quiet(&self) {
        self.forget_after_quiet_counting(usize::MAX);
    }

    /// Waits until nothing comes for a while; there may be so many events by then.
    fn forget_after_quiet_counting(&self, max: usize) {
        let mut before = usize::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(700));
            let mut events = self.events.lock().unwrap();
            if events.len() == before {
                assert!(before <= max, "{before} events");
                events.clear();
                return;
            }
            before = events.len();
        }
    }

    fn wait(&self, mut until: impl FnMut(&mut Vec<Event>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut events = self.events.lock().unwrap();
        while !until(&mut events) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came; there is {events:?}");
            events = self.more.wait_timeout(events, left).unwrap().0;
        }
    }
}

/// A file system of its own, gone with the test.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a tmpfs; `None`, with a word why, where that is not permitted.
    fn tmpfs(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", &at, "tmpfs", flags, options.as_c_str()) {
            Ok(()) => Some(Self(at)),
            Err(errno) => {
                eprintln!("skipped: no tmpfs can be mounted ({errno}); run it as root");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let detach = rustix::mount::UnmountFlags::DETACH;
        if let Err(errno) = rustix::mount::unmount(&self.0, detach) {
            eprintln!("{} stays mounted: {errno}", self.0.display());
        }
    }
}

/// Fails if it takes longer.
fn within(limit: Duration, what: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        what();
        done.send(()).unwrap();
    });
    let ended = ended.recv_timeout(limit);
    assert_ne!(
        ended,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "it hangs"
    );
    thread.join().unwrap();
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn dir_flags() -> rustix::fs::OFlags {
    rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY
}

fn name(bytes: &[u8]) -> Name {
    Name::parse(bytes).unwrap()
}

fn path(names: &[&[u8]]) -> Vec<Name> {
    names.iter().map(|bytes| name(bytes)).collect()
}

fn listed(done: Result<DiskDone, DiskError>) -> (Vec<(Name, Sighting)>, bool) {
    match done {
        Ok(DiskDone::Listed {
            items, complete, ..
        }) => (items, complete),
        other => panic!("{other:?}"),
    }
}

fn looked(done: Result<DiskDone, DiskError>) -> Option<Sighting> {
    match done {
        Ok(DiskDone::Looked { sighting, wall }) => {
            assert!(wall.secs > 1_600_000_000);
            sighting
        }
        other => panic!("{other:?}"),
    }
}

fn find<'a>(items: &'a [(Name, Sighting)], bytes: &[u8]) -> &'a Sighting {
    let item = items.iter().find(|(name, _)| name.as_bytes() == bytes);
    &item.unwrap().1
}

fn object(node: u64, version: u64) -> ObjectId {
    let dot = |counter| Dot {
        actor: ActorId(0xfeed),
        counter,
    };
    ObjectId {
        node: NodeId(dot(node)),
        version: dot(version),
    }
}

fn loaded(
    sidecar: Option<&[u8]>,
    partial: Option<u64>,
    complete: Option<u64>,
) -> Result<DiskDone, DiskError> {
    Ok(DiskDone::Loaded {
        sidecar: sidecar.map(<[u8]>::to_vec),
        partial,
        complete,
    })
}

fn files_below(dir: &Path) -> usize {
    let count = |item: fs::DirEntry| {
        if item.file_type().unwrap().is_dir() {
            files_below(&item.path())
        } else {
            1
        }
    };
    fs::read_dir(dir)
        .unwrap()
        .map(|item| count(item.unwrap()))
        .sum()
}

fn open(dir: &Path) -> (Metadata, Opened) {
    Metadata::open(dir, WallTime::default()).unwrap()
}

fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

fn put(key: &[u8], value: &[u8]) -> Record {
    Record {
        key: key.to_vec(),
        value: Some(value.to_vec()),
    }
}

fn remove(key: &[u8]) -> Record {
    Record {
        key: key.to_vec(),
        value: None,
    }
}

/// Flips a bit in the middle of a value, where SQLite has no eye.
fn flip_a_value(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let run = [0xab; 1_000];
    let at = bytes
        .windows(run.len())
        .position(|window| window == run)
        .unwrap();
    bytes[at + 500] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn cut_the_file(file: &Path) {
    let half = fs::metadata(file).unwrap().len() / 2;
    fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(half)
        .unwrap();
}

fn empty_the_file(file: &Path) {
    fs::write(file, "").unwrap();
}

fn remove_the_file(file: &Path) {
    fs::remove_file(file).unwrap();
}
