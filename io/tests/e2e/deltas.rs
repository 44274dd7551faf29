//! Deltas: what a host's change costs a joiner that holds the version before it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::common::pattern::{CHUNK, pattern, write_file, write_part};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

/// Some megabytes, and a last chunk that is short.
const SIZE: u64 = 5 * CHUNK + 1_000;

/// A joiner that has read all of the file `big`.
fn read_once() -> (World, Host, Joiner) {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("big"), 7, SIZE);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let big = joiner.sees("big", SIZE);
    assert!(fs::read(big).unwrap() == pattern(7, 0, usize::try_from(SIZE).unwrap()));
    (world, host, joiner)
}

/// Waits until a file is what it is at the host, and returns how many bytes were fetched since.
fn cost(joiner: &Joiner, host: &Host, before: u64) -> u64 {
    let new = fs::read(host.dir.join("big")).unwrap();
    let big = joiner.path("big");
    until("the new version is read", || {
        let seen = fs::read(&big).ok()?;
        (seen == new).then_some(())
    });
    joiner.status().counter("bytes_fetched") - before
}

#[test]
fn a_line_appended_costs_a_line() {
    let (_world, host, joiner) = read_once();
    let before = joiner.status().counter("bytes_fetched");
    let mut big = OpenOptions::new()
        .append(true)
        .open(host.dir.join("big"))
        .unwrap();
    big.write_all(b"one more line\n").unwrap();
    drop(big);
    assert_eq!(cost(&joiner, &host, before), 14);
}

#[test]
fn equal_bytes_cost_nothing_however_they_came() {
    let (world, host, joiner) = read_once();
    let before = joiner.status().counter("bytes_fetched");
    let big = host.dir.join("big");
    // As `touch` does.
    File::options()
        .write(true)
        .open(&big)
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    assert_eq!(cost(&joiner, &host, before), 0);
    // As `cp` does.
    let copy = world.path("copy");
    fs::copy(&big, &copy).unwrap();
    let bytes = fs::read(&copy).unwrap();
    fs::write(&big, &bytes).unwrap();
    let mtime = |path: &Path| fs::metadata(path).unwrap().mtime_nsec();
    until("the new time is shown", || {
        (mtime(&joiner.path("big")) == mtime(&big)).then_some(())
    });
    assert_eq!(cost(&joiner, &host, before), 0);
}

/// As editors save: the whole file is written beside it by an outside program, synced, and renamed
/// over the name. To the host that is another inode; what differs is a byte, and costs its chunk.
#[test]
fn a_save_by_rename_costs_what_changed() {
    let (_world, host, joiner) = read_once();
    let big = host.dir.join("big");
    for (save, at) in [(1_u8, 2 * CHUNK + 77), (2, 0), (3, SIZE - 1)] {
        let before = joiner.status().counter("bytes_fetched");
        let mut bytes = fs::read(&big).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= save;
        let beside = host.dir.join(".big.swp");
        let mut new = File::create(&beside).unwrap();
        new.write_all(&bytes).unwrap();
        new.sync_all().unwrap();
        drop(new);
        fs::rename(&beside, &big).unwrap();
        let cost = cost(&joiner, &host, before);
        assert!(
            (1..=2 * CHUNK).contains(&cost),
            "save {save}: {cost} bytes were fetched"
        );
    }
}

/// One byte of 10 GiB: what is read of it costs that chunk, and no disk for the holes.
#[test]
fn a_byte_in_a_large_sparse_file_costs_its_chunk() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let source = File::create(dir.join("big")).unwrap();
    source.set_len(10 << 30).unwrap();
    let at = 5 << 30;
    write_part(&source, 9, at, 8_192);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let big = joiner.sees("big", 10 << 30);
    let read = |offset: u64| {
        let mut bytes = vec![0; 4_096];
        File::open(&big)
            .unwrap()
            .read_exact_at(&mut bytes, offset)
            .unwrap();
        bytes
    };
    assert!(read(at) == pattern(9, at, 4_096));
    let before = joiner.status().counter("bytes_fetched");
    source.write_all_at(b"!", at + 1).unwrap();
    drop(source);
    until("the byte is read", || (read(at)[1] == b'!').then_some(()));
    assert!(read(0) == [0; 4_096] && read((10 << 30) - 4_096) == [0; 4_096]);
    let cost = joiner.status().counter("bytes_fetched") - before;
    assert!(cost <= 2 * CHUNK, "{cost} bytes were fetched");
    drop(host);
}
