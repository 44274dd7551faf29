//! What changes cost on the wire, all in all: both ways, TLS, HTTP/2 and heartbeats included.
#![expect(
    clippy::print_stdout,
    reason = "what it costs is of interest below its bound too"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::pattern::{CHUNK, pattern, write_file, write_part};
use crate::common::proxy::Proxy;
use crate::common::tree::converge;
use crate::common::world::{Host, Joiner, World};
use crate::common::{is_large, until};

/// What heartbeats and greetings of some seconds may cost.
const IDLE: u64 = 8 * 1024;

/// What a version of a file costs that is told by itself, and asked for: twice what was measured.
const TOLD: u64 = 350;

/// A host behind a proxy, and a joiner that has seen the folder.
fn joined(fill: impl FnOnce(&std::path::Path)) -> (World, Host, Proxy, Joiner) {
    let world = World::taking_changes();
    fill(&world.mkdir("dir"));
    let (host, proxy) = world.share_behind("dir");
    let joiner = world.join("mo", &host.ticket());
    (world, host, proxy, joiner)
}

/// Waits until nothing but heartbeats has come through for a second, and returns how much has by
/// then.
fn quiet(proxy: &Proxy) -> u64 {
    let (mut last, mut since) = (proxy.carried(), Instant::now());
    until("the wire is quiet", || {
        let now = proxy.carried();
        if now - last > 1_000 {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(1_500)).then_some(())
    });
    proxy.carried()
}

fn say(what: &str, cost: u64, bound: u64) {
    println!("| {what} | {cost} bytes on the wire | at most {bound} |");
    assert!(
        cost <= bound,
        "{what}: {cost} bytes on the wire, not {bound}"
    );
}

/// A byte of 10 GiB, changed by a program on the joiner's mount, and then by one at the host's.
#[test]
fn a_byte_of_a_large_sparse_file_costs_two_chunks() {
    const SIZE: u64 = 10 << 30;
    const AT: u64 = 5 << 30;
    let (_world, host, proxy, joiner) = joined(|dir| {
        let big = File::create(dir.join("big")).unwrap();
        big.set_len(SIZE).unwrap();
        write_part(&big, 9, AT, 2 * 8_192);
    });
    let path = joiner.sees("big", SIZE);
    let before = quiet(&proxy);
    let big = File::options().read(true).write(true).open(&path).unwrap();
    big.write_all_at(b"!", AT + 1).unwrap();
    drop(big);
    let placed = host.dir.join("big");
    let read = |path: &std::path::Path| {
        let mut bytes = vec![0; 8_192];
        File::open(path)
            .unwrap()
            .read_exact_at(&mut bytes, AT)
            .unwrap();
        bytes
    };
    let mut wanted = pattern(9, AT, 8_192);
    wanted[1] = b'!';
    until("the host has the byte", || {
        (read(&placed) == wanted).then_some(())
    });
    let bound = 2 * CHUNK + IDLE;
    say(
        "a byte of 10 GiB, from the mount",
        quiet(&proxy) - before,
        bound,
    );
    let seen = fs::metadata(&placed).unwrap();
    assert_eq!(seen.len(), SIZE);
    assert!(
        seen.blocks() < 8 * 2 * CHUNK / 512,
        "{} blocks",
        seen.blocks()
    );

    let before = proxy.carried();
    let source = File::options().write(true).open(&placed).unwrap();
    source.write_all_at(b"?", AT + 2).unwrap();
    drop(source);
    wanted[2] = b'?';
    until("the joiner has the byte", || {
        (read(&path) == wanted).then_some(())
    });
    say(
        "a byte of 10 GiB, in the folder",
        quiet(&proxy) - before,
        bound,
    );
}

/// A directory of many files goes under another name: one record, whoever renames it.
#[test]
fn a_renamed_directory_costs_a_record() {
    let files = if is_large() { 100_000 } else { 5_000 };
    let (_world, host, proxy, joiner) = joined(|dir| {
        for part in 0..files / 100 {
            let dir = dir.join(format!("photos/{part}"));
            fs::create_dir_all(&dir).unwrap();
            for file in 0..100 {
                fs::write(dir.join(format!("{file}.txt")), file.to_string()).unwrap();
            }
        }
    });
    let last = files / 100 - 1;
    until("the folder is seen", || {
        joiner
            .path(&format!("photos/{last}/99.txt"))
            .exists()
            .then_some(())
    });
    let before = quiet(&proxy);
    fs::rename(joiner.path("photos"), joiner.path("pictures")).unwrap();
    until("the host has renamed it", || {
        (host.dir.join(format!("pictures/{last}/99.txt")).exists()
            && !host.dir.join("photos").exists())
        .then_some(())
    });
    let what = format!("a directory of {files} files renamed on the mount");
    say(&what, quiet(&proxy) - before, IDLE);

    let before = proxy.carried();
    fs::rename(host.dir.join("pictures"), host.dir.join("albums")).unwrap();
    until("the joiner shows it", || {
        (joiner.path(&format!("albums/{last}/99.txt")).exists()
            && !joiner.path("pictures").exists())
        .then_some(())
    });
    let what = format!("a directory of {files} files renamed in the folder");
    say(&what, quiet(&proxy) - before, IDLE);
    let read = fs::read(joiner.path("albums/7/42.txt")).unwrap();
    assert_eq!(read, b"42");
}

/// A program that keeps its log open, and one that opens it for each line.
#[test]
fn a_log_costs_what_is_appended() {
    let lines = if is_large() { 10_000 } else { 1_000 };
    let line = pattern(5, 0, 1_000);
    let (_world, host, proxy, joiner) = joined(|dir| write_file(&dir.join("log"), 1, 3 * CHUNK));
    let path = joiner.sees("log", 3 * CHUNK);
    for kept_open in [true, false] {
        let before = quiet(&proxy);
        let had = fs::metadata(&path).unwrap().len();
        let open = || File::options().append(true).open(&path).unwrap();
        let mut log = open();
        for _ in 0..lines {
            if !kept_open {
                log = open();
            }
            log.write_all(&line).unwrap();
            // A thousand lines a second would be a busy one.
            thread::sleep(Duration::from_micros(500));
        }
        drop(log);
        let size = had + lines * 1_000;
        until("the host has all lines", || {
            (fs::metadata(host.dir.join("log")).unwrap().len() == size).then_some(())
        });
        let bytes = lines * 1_000;
        let what = format!("{lines} lines, {bytes} bytes, kept open: {kept_open}");
        // Kept open, it is published now and then; the last chunk is fetched from the host once, since
        // what is appended lies in it. Closed, each line is a version, and as many are told by
        // themselves as the peers and the machine keep up with.
        let bound = if kept_open {
            bytes * 11 / 10 + CHUNK
        } else {
            bytes + lines * TOLD
        };
        say(&what, quiet(&proxy) - before, bound + IDLE);
        converge(&host.dir, &joiner.mnt);
    }
}

/// A file is written again with the bytes that it has: hashes are told, and no bytes.
#[test]
fn equal_bytes_written_again_cost_their_hashes() {
    const SIZE: u64 = 40 * CHUNK + 9;
    let (world, host, proxy, joiner) = joined(|dir| write_file(&dir.join("file"), 1, SIZE));
    let path = joiner.sees("file", SIZE);
    let same = world.path("same");
    world.run(Command::new("cp").arg(&path).arg(&same)).ok();
    let before = quiet(&proxy);
    let had = fs::metadata(&path).unwrap().mtime();
    world
        .run(
            Command::new("cp")
                .arg("--reflink=never")
                .arg(&same)
                .arg(&path),
        )
        .ok();
    let time = |path: &std::path::Path| {
        let seen = fs::metadata(path).unwrap();
        (seen.mtime(), seen.mtime_nsec())
    };
    until("the host has the new time", || {
        (time(&host.dir.join("file")) == time(&path)).then_some(())
    });
    assert!(fs::metadata(&path).unwrap().mtime() >= had);
    say("an equal file of 20 MiB", quiet(&proxy) - before, 2 * IDLE);
    converge(&host.dir, &joiner.mnt);
}
