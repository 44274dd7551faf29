//! The host's folder changes while a peer looks at it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{Advice, Mode, OFlags, fadvise, mkdirat, openat};
use rustix::io::Errno;

use crate::common::pattern::{CHUNK, pattern, seams, stamp_of, write_file};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

/// A world with a shared directory that is filled first.
fn shared(fill: impl FnOnce(&Path)) -> (World, Host, Joiner) {
    let world = World::new();
    let dir = world.mkdir("dir");
    fill(&dir);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    (world, host, joiner)
}

/// Waits until an open of its own reads exactly these bytes.
#[track_caller]
fn becomes(path: &Path, bytes: &[u8]) {
    until(&format!("{} has its new bytes", path.display()), || {
        let is_new = fs::symlink_metadata(path).is_ok_and(|seen| seen.len() == bytes.len() as u64)
            && fs::read(path).is_ok_and(|read| read == bytes);
        is_new.then_some(())
    });
}

/// Reads a file chunk by chunk from one open. What one request to the file system brings is of
/// one version: a page, read through the kernel's cache, which asks for pages as it likes; a chunk,
/// read around it (`O_DIRECT`). What can't be had any more must say so.
#[track_caller]
fn check_versions(path: &Path, stamps: &[u64]) {
    let Ok(cached) = File::open(path) else {
        return;
    };
    check_pieces(&cached, 4_096, stamps);
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap();
    if let Ok(direct) = File::options().read(true).custom_flags(flags).open(path) {
        check_pieces(&direct, CHUNK, stamps);
    }
}

#[track_caller]
fn check_pieces(file: &File, piece: u64, stamps: &[u64]) {
    let mut bytes = vec![0; usize::try_from(CHUNK).unwrap()];
    // Beyond any end.
    for at in (0..SIZE + CHUNK).step_by(bytes.len()) {
        match file.read_at(&mut bytes, at) {
            Ok(got) => {
                let pieces = bytes[..got].chunks(usize::try_from(piece).unwrap());
                for (at, bytes) in (at..).step_by(usize::try_from(piece).unwrap()).zip(pieces) {
                    let is_one = stamp_of(bytes, at, stamps).is_some();
                    assert!(is_one, "not of one version: {}", seams(bytes, at, stamps));
                }
            }
            Err(error) => {
                let code = Errno::from_io_error(&error);
                let is_defined = [Some(Errno::IO), Some(Errno::STALE)].contains(&code);
                assert!(is_defined, "{error}");
            }
        }
    }
}

/// Opens a file and reads its first chunk, without the kernel's reading ahead.
fn begin(path: &Path, stamp: u64) -> File {
    let file = File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    let mut bytes = vec![0; 65_536];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == pattern(stamp, 0, bytes.len()));
    file
}

const SIZE: u64 = 8 * CHUNK + 4_321;

fn whole(stamp: u64, size: u64) -> Vec<u8> {
    pattern(stamp, 0, usize::try_from(size).unwrap())
}

/// S12, S13: `X.lock` is written, synced and renamed onto `X` while the peer reads `X`: the old
/// or the new, and no `X.lock` stays.
#[test]
fn a_file_replaced_by_rename_is_old_or_new_s12() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("x"), 1, SIZE));
    let path = joiner.sees("x", SIZE);
    let old = begin(&path, 1);
    write_file(&host.dir.join("x.lock"), 2, SIZE + 100);
    File::open(host.dir.join("x.lock"))
        .unwrap()
        .sync_all()
        .unwrap();
    fs::rename(host.dir.join("x.lock"), host.dir.join("x")).unwrap();
    check_pieces(&old, 4_096, &[1, 2]);
    becomes(&path, &whole(2, SIZE + 100));
    check_pieces(&old, 4_096, &[1, 2]);
    drop(old);
    until("the lock file is gone", || {
        fs::symlink_metadata(joiner.path("x.lock"))
            .is_err()
            .then_some(())
    });
    assert!(fs::read(&path).unwrap() == whole(2, SIZE + 100));
}

/// S7: a file that shrank shows no bytes of its old tail, also when it grows again.
#[test]
fn a_truncated_file_has_no_old_tail_s7() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("x"), 1, SIZE));
    let path = joiner.sees("x", SIZE);
    assert!(fs::read(&path).unwrap() == whole(1, SIZE));
    let source = File::options()
        .write(true)
        .open(host.dir.join("x"))
        .unwrap();
    let cut = 2 * CHUNK + 1_000;
    source.set_len(cut).unwrap();
    becomes(&path, &whole(1, cut));
    source.set_len(SIZE).unwrap();
    let mut expected = whole(1, cut);
    expected.resize(usize::try_from(SIZE).unwrap(), 0);
    becomes(&path, &expected);
    source.set_len(0).unwrap();
    becomes(&path, &[]);
}

/// S13: what is appended arrives, on an open descriptor of the peer as well.
#[test]
fn what_is_appended_arrives_s13() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("log"), 1, SIZE));
    let path = joiner.sees("log", SIZE);
    let open = begin(&path, 1);
    let mut source = File::options()
        .append(true)
        .open(host.dir.join("log"))
        .unwrap();
    let mut size = SIZE;
    for len in [20, 1, 70_000, 524_288] {
        source.write_all(&pattern(1, size, len)).unwrap();
        size += len as u64;
        becomes(&path, &whole(1, size));
    }
    let mut tail = vec![0; 64];
    until("the open descriptor sees the end", || {
        open.read_exact_at(&mut tail, size - 64)
            .is_ok()
            .then_some(())
    });
    assert_eq!(tail, pattern(1, size - 64, 64));
}

/// S29: rewritten in place at the same size, even with the time put back: each chunk is of one
/// version, and after close and open the new bytes are there.
#[test]
fn a_rewrite_at_the_same_size_is_seen_s29() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("x"), 1, SIZE));
    let path = joiner.sees("x", SIZE);
    let time = fs::metadata(host.dir.join("x"))
        .unwrap()
        .modified()
        .unwrap();
    for stamp in 2..6 {
        let open = begin(&path, stamp - 1);
        let source = File::options()
            .write(true)
            .open(host.dir.join("x"))
            .unwrap();
        source.write_all_at(&whole(stamp, SIZE), 0).unwrap();
        if stamp % 2 == 0 {
            source.set_modified(time).unwrap();
        }
        drop(source);
        check_pieces(&open, 4_096, &[stamp - 1, stamp]);
        check_versions(&path, &[stamp - 1, stamp]);
        becomes(&path, &whole(stamp, SIZE));
        check_pieces(&open, 4_096, &[stamp - 1, stamp]);
    }
}

/// P1, S15, S29: a file is replaced over and over while the peer reads it over and over. Every
/// piece is of one version; in the end the last version is there.
#[test]
fn a_storm_of_replacements_never_mixes_versions_s15() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("x"), 1, SIZE));
    let path = joiner.sees("x", SIZE);
    let all: Vec<u64> = (1..=25).collect();
    thread::scope(|scope| {
        let storm = scope.spawn(|| {
            for stamp in 2..=25 {
                write_file(&host.dir.join("next"), stamp, SIZE);
                fs::rename(host.dir.join("next"), host.dir.join("x")).unwrap();
                thread::sleep(Duration::from_millis(60));
            }
        });
        let mut reads = 0;
        while !storm.is_finished() {
            check_versions(&path, &all);
            reads += 1;
        }
        assert!(reads > 0);
        storm.join().unwrap();
    });
    becomes(&path, &whole(25, SIZE));
}

/// S12: a file that the peer knows is moved onto another one, over and over. Whoever opens that
/// name finds one of them, and never nothing.
#[test]
fn a_name_that_another_file_takes_is_never_missing_s12() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("x"), 1, 100));
    let path = joiner.sees("x", 100);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                File::open(&path)?;
            }
            io::Result::Ok(())
        });
        for n in 2..=40 {
            write_file(&host.dir.join("next"), n, 100 + n);
            joiner.sees("next", 100 + n);
            fs::rename(host.dir.join("next"), host.dir.join("x")).unwrap();
            joiner.sees("x", 100 + n);
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap().unwrap();
    });
}

/// S14, S16, S18: names come, go and move, alone and in bursts, and a peer that looks sees them.
#[test]
fn names_come_go_and_move_s14_s16_s18() {
    let (_world, host, joiner) = shared(|dir| {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/file"), "one").unwrap();
    });
    let there = |name: &str| host.dir.join(name);
    let here = |name: &str| joiner.path(name);
    let gone = |name: &str| {
        let path = here(name);
        until(&format!("{name} is gone"), || {
            fs::symlink_metadata(&path).is_err().then_some(())
        });
    };
    joiner.sees("a/b/file", 3);

    // A name that was looked up before it existed.
    assert!(fs::metadata(here("new")).is_err());
    fs::write(there("new"), "hello").unwrap();
    becomes(&here("new"), b"hello");
    fs::remove_file(there("new")).unwrap();
    gone("new");
    // And one of the same name and size again.
    fs::write(there("new"), "HELLO").unwrap();
    becomes(&here("new"), b"HELLO");

    fs::rename(there("new"), there("a/renamed")).unwrap();
    becomes(&here("a/renamed"), b"HELLO");
    gone("new");

    // A directory moves while a file in it is open.
    let open = File::open(here("a/b/file")).unwrap();
    fs::rename(there("a/b"), there("moved")).unwrap();
    becomes(&here("moved/file"), b"one");
    gone("a/b");
    let mut bytes = [0; 3];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"one");

    fs::set_permissions(there("moved"), fs::Permissions::from_mode(0o701)).unwrap();
    fs::set_permissions(there("moved/file"), fs::Permissions::from_mode(0o604)).unwrap();
    for (name, mode) in [("moved", 0o701), ("moved/file", 0o604)] {
        until("the mode has come", || {
            let seen = fs::symlink_metadata(here(name)).ok()?.permissions().mode() & 0o7777;
            (seen == mode).then_some(())
        });
    }
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_007, 123_456_789);
    File::open(there("moved/file"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    until("the time has come", || {
        (fs::metadata(here("moved/file")).ok()?.modified().ok()? == time).then_some(())
    });

    symlink("moved/file", there("link")).unwrap();
    until("the symlink has come", || {
        (fs::read_link(here("link")).ok()? == Path::new("moved/file")).then_some(())
    });
    fs::remove_file(there("link")).unwrap();
    symlink("elsewhere", there("link")).unwrap();
    until("the symlink has changed", || {
        (fs::read_link(here("link")).ok()? == Path::new("elsewhere")).then_some(())
    });

    // A file becomes a directory, and a directory a file.
    fs::remove_file(there("a/renamed")).unwrap();
    fs::create_dir(there("a/renamed")).unwrap();
    until("it is a directory", || {
        here("a/renamed").is_dir().then_some(())
    });
    fs::remove_dir(there("a/renamed")).unwrap();
    fs::write(there("a/renamed"), "again").unwrap();
    becomes(&here("a/renamed"), b"again");

    // A burst of nested directories, dropped in at once (S16), and taken away.
    for dir in 0..40 {
        fs::create_dir_all(there(&format!("burst/{dir}/deep/er"))).unwrap();
        for file in 0..20 {
            fs::write(
                there(&format!("burst/{dir}/deep/er/{file}")),
                format!("{dir} {file}"),
            )
            .unwrap();
        }
    }
    for dir in 0..40 {
        for file in 0..20 {
            becomes(
                &here(&format!("burst/{dir}/deep/er/{file}")),
                format!("{dir} {file}").as_bytes(),
            );
        }
    }
    fs::remove_dir_all(there("burst")).unwrap();
    gone("burst");

    // Made and deleted at once: never resurrected (S14).
    for _ in 0..50 {
        fs::write(there(".keep"), "").unwrap();
        fs::remove_file(there(".keep")).unwrap();
    }
    fs::write(there("last"), "last").unwrap();
    becomes(&here("last"), b"last");
    gone(".keep");
}

/// What happened while nobody shared shows after the next start (the scan at the start).
#[test]
fn changes_made_while_nobody_shared_are_found_s22() {
    let (_world, mut host, joiner) = shared(|dir| {
        write_file(&dir.join("same"), 1, SIZE);
        write_file(&dir.join("changed"), 2, 1_000);
        write_file(&dir.join("deleted"), 3, 1_000);
        write_file(&dir.join("renamed"), 4, 1_000);
    });
    let same = joiner.sees("same", SIZE);
    assert!(fs::read(&same).unwrap() == whole(1, SIZE));
    let fetched = joiner.status().counter("bytes_fetched");
    host.stop();
    write_file(&host.dir.join("changed"), 5, 1_000);
    fs::remove_file(host.dir.join("deleted")).unwrap();
    fs::rename(host.dir.join("renamed"), host.dir.join("new name")).unwrap();
    write_file(&host.dir.join("added"), 6, 10);
    host.start();
    becomes(&joiner.path("changed"), &whole(5, 1_000));
    becomes(&joiner.path("new name"), &whole(4, 1_000));
    becomes(&joiner.path("added"), &whole(6, 10));
    for name in ["deleted", "renamed"] {
        let path = joiner.path(name);
        until("it is gone", || {
            fs::symlink_metadata(&path).is_err().then_some(())
        });
    }
    assert!(fs::read(&same).unwrap() == whole(1, SIZE));
    let again = joiner.status().counter("bytes_fetched") - fetched;
    assert!(
        again <= 2_010,
        "{again} bytes were fetched for 2,010 new ones"
    );
}

/// What lies deeper than a path may be long can't be watched. Each directory down there was told
/// of, with all of its path, at each comparison.
#[test]
fn a_tree_that_is_too_deep_to_be_watched_is_told_of_once() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let name = "d".repeat(100);
    let open = |at: &OwnedFd, what: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        openat(at, what, flags, Mode::empty())
    };
    let mut at = OwnedFd::from(File::open(&dir).unwrap());
    for _ in 0..60 {
        mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = open(&at, &name).unwrap();
    }
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let mut at = OwnedFd::from(File::open(&joiner.mnt).unwrap());
    for depth in 0..60 {
        let found = until(&format!("the mount shows {depth} levels"), || {
            open(&at, &name).ok()
        });
        at = found;
    }
    let err = host.err();
    assert_eq!(err.matches("can be watched").count(), 1, "{err}");
    assert!(err.len() < 2_000, "{err}");
}
