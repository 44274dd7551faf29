//! Writing where it hurts: many writers, kills, full disks, and what programs do between a write
//! and a rename.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::pattern::{CHUNK, Dice, pattern, stamp_of, write_file, write_part};
use crate::common::tree::{converge, tree};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

fn joined() -> (World, Host, Joiner) {
    let world = World::taking_changes();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    (world, host, joiner)
}

fn whole(stamp: u64, size: u64) -> Vec<u8> {
    pattern(stamp, 0, usize::try_from(size).unwrap())
}

/// S1: thousands of files made, written and closed at once; no write ever lands elsewhere, and
/// none is lost.
#[test]
fn thousands_of_files_at_once_keep_their_own_bytes_s1() {
    const THREADS: u64 = 8;
    const FILES: u64 = 250;
    let (_world, host, joiner) = joined();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let dir = joiner.path(&format!("t{thread}"));
            scope.spawn(move || {
                fs::create_dir(&dir).unwrap();
                for number in 0..FILES {
                    let stamp = thread * FILES + number;
                    let path = dir.join(number.to_string());
                    let mut file = File::create_new(&path).unwrap();
                    for part in 0..3 {
                        file.write_all(&pattern(stamp, part * 1_000, 1_000))
                            .unwrap();
                    }
                    drop(file);
                    if number % 5 == 4 {
                        fs::remove_file(dir.join((number - 1).to_string())).unwrap();
                    }
                }
            });
        }
    });
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len() as u64, THREADS * (1 + FILES - FILES / 5));
    for thread in 0..THREADS {
        for number in (0..FILES).filter(|number| number % 5 != 3) {
            let path = host.dir.join(format!("t{thread}/{number}"));
            assert!(fs::read(path).unwrap() == whole(thread * FILES + number, 3_000));
        }
    }
}

/// S2: large copies under load are whole, many times over; what is read from the folder is whole
/// or of before.
#[test]
fn copies_under_load_are_whole_s2() {
    const SIZE: u64 = 40 * CHUNK + 99;
    let (world, host, joiner) = joined();
    let source = world.path("source");
    write_file(&source, 1, SIZE);
    thread::scope(|scope| {
        for number in 0..4 {
            let (world, source) = (&world, &source);
            let target = joiner.path(&format!("copy{number}"));
            scope.spawn(move || {
                for _ in 0..3 {
                    world.run(Command::new("cp").arg(source).arg(&target)).ok();
                    world.run(Command::new("cmp").arg(source).arg(&target)).ok();
                }
            });
        }
    });
    converge(&host.dir, &joiner.mnt);
    for number in 0..4 {
        let copy = host.dir.join(format!("copy{number}"));
        assert!(fs::read(copy).unwrap() == whole(1, SIZE));
    }
}

/// S3, S4, S5: syncs and writes around closes: another descriptor, a copy by the kernel, and pages
/// that were mapped, which are written when everything is closed.
#[test]
fn writes_and_syncs_around_a_close_s3_s4_s5() {
    let (world, host, joiner) = joined();
    let path = joiner.path("file");
    let first = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap();
    let second = first.try_clone().unwrap();
    write_part(&first, 1, 0, 1_000);
    drop(first);
    write_part(&second, 1, 1_000, 1_000);
    second.sync_all().unwrap();
    drop(second);
    File::open(&path).unwrap().sync_all().unwrap();
    let from = File::open(&path).unwrap();
    let to = File::create(joiner.path("copied")).unwrap();
    let mut copied = 0;
    while copied < 2_000 {
        let (mut at, mut into) = (copied as u64, copied as u64);
        let left = 2_000 - copied;
        let went = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left);
        copied += went.unwrap();
    }
    drop((from, to));
    let script = "import mmap, sys\n\
        f = open(sys.argv[1], 'r+b')\n\
        m = mmap.mmap(f.fileno(), 0)\n\
        f.close()\n\
        m[10:15] = b'MAPPD'\n\
        m.close()\n";
    world
        .run(Command::new("python3").arg("-c").arg(script).arg(&path))
        .ok();
    let mut expected = whole(1, 2_000);
    assert!(fs::read(joiner.path("copied")).unwrap() == expected);
    expected[10..15].copy_from_slice(b"MAPPD");
    assert!(fs::read(&path).unwrap() == expected);
    converge(&host.dir, &joiner.mnt);
    assert!(fs::read(host.dir.join("file")).unwrap() == expected);
}

/// S12, S13: `X.lock` is written, synced, lengthened after it was closed, and renamed onto `X`,
/// again and again: who looks into the folder sees a whole X, old or new, and no lock stays.
#[test]
fn a_file_saved_by_rename_is_old_or_new_s12_s13() {
    const ROUNDS: u64 = 30;
    const SIZE: u64 = CHUNK + 777;
    let (_world, host, joiner) = joined();
    let (path, lock) = (joiner.path("x"), joiner.path("x.lock"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stamps: Vec<u64> = (1..=ROUNDS).collect();
            while !done.load(Ordering::Acquire) {
                if let Ok(bytes) = fs::read(host.dir.join("x")) {
                    let size = bytes.len() as u64;
                    assert_eq!(size, SIZE + 20, "half a file under a real name");
                    assert!(stamp_of(&bytes, 0, &stamps).is_some(), "a mixed file");
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        for round in 1..=ROUNDS {
            let file = File::create_new(&lock).unwrap();
            write_part(&file, round, 0, usize::try_from(SIZE).unwrap());
            file.sync_all().unwrap();
            drop(file);
            let file = File::options().append(true).open(&lock).unwrap();
            (&file).write_all(&pattern(round, SIZE, 20)).unwrap();
            drop(file);
            fs::rename(&lock, &path).unwrap();
        }
        until("the last one stands", || {
            (fs::read(host.dir.join("x")).ok()? == whole(ROUNDS, SIZE + 20)).then_some(())
        });
        done.store(true, Ordering::Release);
    });
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 1, "{tree:?}");
}

/// S14: what is made and deleted at once is never resurrected.
#[test]
fn what_is_made_and_deleted_at_once_stays_away_s14() {
    let (_world, mut host, mut joiner) = joined();
    for round in 0..200 {
        let path = joiner.path(".keep");
        fs::write(&path, vec![7; 10 * (round % 3)]).unwrap();
        fs::remove_file(&path).unwrap();
    }
    fs::write(joiner.path("last"), "x").unwrap();
    for _ in 0..2 {
        let tree = converge(&host.dir, &joiner.mnt);
        assert_eq!(tree.len(), 1, "{tree:?}");
        host.stop();
        joiner.stop();
        host.start();
        joiner.restart();
    }
}

/// P2, S26: `kill -9` at any moment; what was answered is there after it, on the mount at once
/// and in the folder soon, and no partial file stands under a real name.
#[test]
fn what_was_acknowledged_survives_kills() {
    const KILLS: u64 = 5;
    let (_world, host, mut joiner) = joined();
    let mut dice = Dice::new(0x5eed);
    let (mut acknowledged, mut gone): (Vec<(String, u64, u64)>, Vec<String>) = Default::default();
    for kill in 0..KILLS {
        let mnt = joiner.mnt.clone();
        let moment = Duration::from_millis(20 + dice.below(300));
        let worker = thread::spawn(move || work(&mnt, kill));
        thread::sleep(moment);
        joiner.kill();
        let (made, removed) = worker.join().unwrap();
        acknowledged.extend(made);
        gone.extend(removed);
        joiner.restart();
        acknowledged.retain(|(name, ..)| !gone.contains(name));
        for (name, stamp, size) in &acknowledged {
            let read = fs::read(joiner.path(name));
            assert!(
                read.is_ok_and(|read| read == whole(*stamp, *size)),
                "{name} after {kill}"
            );
        }
        for name in &gone {
            assert!(
                fs::symlink_metadata(joiner.path(name)).is_err(),
                "{name} came back"
            );
        }
    }
    converge(&host.dir, &joiner.mnt);
    for (name, stamp, size) in &acknowledged {
        assert!(
            fs::read(host.dir.join(name)).unwrap() == whole(*stamp, *size),
            "{name}"
        );
    }
}

/// Saves files by rename until the mount is gone, and returns those that were acknowledged, and
/// the names that were removed.
fn work(mnt: &Path, kill: u64) -> (Vec<(String, u64, u64)>, Vec<String>) {
    let (mut made, mut removed) = (Vec::new(), Vec::new());
    for number in 0..10_000 {
        let stamp = kill * 10_000 + number;
        let size = (stamp * 7_919) % (2 * CHUNK);
        let (tmp, name) = (mnt.join(format!("tmp{kill}")), format!("f{stamp}"));
        let save = || {
            let mut file = File::create(&tmp)?;
            for at in (0..size).step_by(100_000) {
                let len = usize::try_from((size - at).min(100_000)).unwrap();
                file.write_all(&pattern(stamp, at, len))?;
            }
            if number % 3 == 0 {
                file.sync_all()?;
            }
            drop(file);
            fs::rename(&tmp, mnt.join(&name))
        };
        if save().is_err() {
            break;
        }
        made.push((name, stamp, size));
        if number % 7 == 6 {
            let victim = format!("f{}", stamp - 3);
            // A call that was not answered may have been made or not: nobody counts it.
            match fs::remove_file(mnt.join(&victim)) {
                Ok(()) => removed.push(victim),
                Err(_) => {
                    made.retain(|(name, ..)| *name != victim);
                    break;
                }
            }
        }
    }
    (made, removed)
}

/// A small file system for a store.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut command = Command::new("mount");
        let command = command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let done = command.arg(&at).status().unwrap();
        if !done.success() {
            eprintln!("skipped: no tmpfs can be mounted; run it as root");
        }
        done.success().then_some(Self(at))
    }
}

impl Small {
    fn grow(&self, size: &str) {
        let mut command = Command::new("mount");
        let command = command.args(["-o", &format!("remount,size={size}")]);
        assert!(command.arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The disk of the store is full: the write that does not fit says so, nothing else is harmed,
/// and all is well once there is room.
#[test]
fn a_full_disk_harms_nothing_else() {
    let world = World::taking_changes();
    let Some(small) = Small::mount(world.path("mo-store"), "24m") else {
        return;
    };
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let at = |name: &str| joiner.path(name);
    const SIZE: u64 = 4 * CHUNK + 9;
    for name in ["one", "two"] {
        write_file(&at(name), 1, SIZE);
    }
    let big = File::create(at("big")).unwrap();
    let mut written = 0;
    let full = loop {
        match big.write_at(&pattern(2, written, 300_000), written) {
            Ok(count) => written += count as u64,
            Err(error) => break error,
        }
        assert!(written < 64 << 20, "it never fills");
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    assert_eq!(big.metadata().unwrap().len(), written);
    for name in ["one", "two"] {
        assert!(fs::read(at(name)).unwrap() == whole(1, SIZE));
    }
    drop(big);
    assert!(fs::read(at("big")).unwrap() == whole(2, written));
    fs::remove_file(at("big")).unwrap();
    until("there is room again", || {
        fs::write(at("three"), whole(3, SIZE)).ok()?;
        File::open(at("three")).ok()?.sync_all().ok()
    });
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 3);
    drop(joiner);
    drop(small);
}

/// The disk of the host is full, by what a peer makes and by what a program writes beside: neither
/// is half there under its name, nothing else is harmed, and all of it arrives once there is room.
#[test]
fn a_full_disk_of_the_host_harms_nothing_else() {
    let world = World::taking_changes();
    let Some(small) = Small::mount(world.path("dir"), "24m") else {
        return;
    };
    let (host, mnt) = world.share_mounted("dir");
    let joiner = world.join("mo", &host.ticket());
    let at = |name: &str| joiner.path(name);
    const SIZE: u64 = 4 * CHUNK + 9;
    const BIG: u64 = 60 * CHUNK + 5;
    write_file(&at("one"), 1, SIZE);
    converge(&host.dir, &joiner.mnt);
    // A machine under load may see what was written by then, as a version of its own.
    write_file(&at("big.part"), 2, BIG);
    fs::rename(at("big.part"), at("big")).unwrap();
    until("it is said", || host.err().contains("space").then_some(()));
    let harms_nothing = || {
        assert!(fs::read(host.dir.join("one")).unwrap() == whole(1, SIZE));
        assert!(fs::read(at("one")).unwrap() == whole(1, SIZE));
        assert!(fs::read(at("big")).unwrap() == whole(2, BIG));
        assert!(!host.dir.join("big").exists());
    };
    harms_nothing();
    // Nobody has room for a byte now, not even the host's own store.
    let filler = File::create(host.dir.join("filler")).unwrap();
    let mut filled = 0;
    while let Ok(count) = filler.write_at(&[7; 4_096], filled) {
        filled += count as u64;
    }
    fs::write(at("two"), whole(3, SIZE)).unwrap();
    fs::rename(at("two"), at("three")).unwrap();
    // Through the host's own mount, whose store is on that disk.
    let error = loop {
        let done = File::create(mnt.join("four"))
            .and_then(|mut four| four.write_all(&[4; 100_000]))
            .and_then(|()| fs::remove_file(mnt.join("four")));
        if let Err(error) = done {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    harms_nothing();
    fs::remove_file(host.dir.join("filler")).unwrap();
    small.grow("96m");
    until("the big file is there", || {
        let placed = fs::read(host.dir.join("big")).ok()?;
        (placed == whole(2, BIG)).then_some(())
    });
    until("there is room again", || {
        fs::write(mnt.join("four"), whole(4, SIZE)).ok()
    });
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 4, "{:?}", tree.keys());
    assert!(fs::read(host.dir.join("three")).unwrap() == whole(3, SIZE));
    drop(joiner);
    drop(host);
    drop(small);
}

/// A program that rewrites a file in place while the link comes and goes: every state that the
/// folder shows for long is one that the program made, and the last one arrives.
#[test]
fn a_file_rewritten_through_cuts_arrives_whole() {
    let world = World::taking_changes();
    let (host, proxy) = world.share_behind("dir");
    let joiner = world.join("mo", &host.ticket());
    let path = joiner.path("file");
    const SIZE: u64 = 6 * CHUNK + 1;
    for stamp in 1..=10 {
        write_file(&path, stamp, SIZE);
        File::open(&path).unwrap().sync_all().unwrap();
        proxy.cut();
    }
    converge(&host.dir, &joiner.mnt);
    assert!(fs::read(host.dir.join("file")).unwrap() == whole(10, SIZE));
    assert_eq!(tree(&host.dir).len(), 1);
}
