//! Reads: exact bytes, and only what is read is fetched.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::fs::{Advice, fadvise};

use crate::common::pattern::{CHUNK, Dice, pattern, write_file, write_part};
use crate::common::world::World;

/// Opens a file and asks the kernel not to read ahead of us.
fn open_random(path: &Path) -> File {
    let file = File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    file
}

#[track_caller]
fn check(file: &File, stamp: u64, offset: u64, len: usize) {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).unwrap();
    assert!(
        bytes == pattern(stamp, offset, len),
        "{len} bytes at {offset} differ"
    );
}

/// S10, S39: 4 KiB of a file of 5 GiB cost its chunk, not the file, and once.
#[test]
fn four_kib_of_five_gib_fetch_one_chunk_s10() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let source = File::create(dir.join("big")).unwrap();
    source.set_len(5 << 30).unwrap();
    let offset = (4 << 30) + 5 * CHUNK + 100_000;
    write_part(&source, 9, offset, 8_192);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let file = open_random(&joiner.sees("big", 5 << 30));
    for _ in 0..3 {
        check(&file, 9, offset, 4_096);
    }
    let seen = joiner.status().file("big").expect("the file was read");
    assert_eq!(seen.number("chunks"), 10 * 1_024);
    assert_eq!(seen.number("chunks_present"), 1);
    assert_eq!(seen.number("chunks_fetched"), 1);
    assert!(seen.number("bytes_fetched") <= CHUNK, "{seen:?}");
    assert!(host.status().counter("bytes_served") <= CHUNK);
}

/// S10: head, tail, then jumps, as a media player does: the touched chunks and no others.
#[test]
fn head_tail_and_jumps_fetch_what_they_touch_s10() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 40 * CHUNK + 12_345;
    write_file(&dir.join("film"), 2, size);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let file = open_random(&joiner.sees("film", size));
    let mut dice = Dice::new(10);
    let mut touched = std::collections::BTreeSet::new();
    let mut read = |offset: u64, len: usize| {
        check(&file, 2, offset, len);
        touched.extend(offset / CHUNK..=(offset + len as u64 - 1) / CHUNK);
    };
    read(0, 65_536);
    read(size - 40_000, 40_000);
    for _ in 0..12 {
        // Whole pages, which is what the kernel asks for anyway.
        read(dice.below(size / 4_096 - 16) * 4_096, 65_536);
    }
    let seen = joiner.status().file("film").expect("the file was read");
    assert_eq!(seen.number("chunks_present"), touched.len() as u64);
    assert_eq!(seen.number("chunks_fetched"), touched.len() as u64);
}

/// S11, S40: sizes around a chunk's, read in pieces that are not a chunk's.
#[test]
fn odd_sizes_in_odd_pieces_are_exact_s11() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let sizes = [
        0,
        1,
        4_095,
        4_097,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK + 1,
        9 * CHUNK - 7,
    ];
    let pieces = [4_096, 131_072, 1 << 20, 4 << 20, 777_777];
    // Files of its own for each size of piece, so that each is fetched by such reads.
    let name = |stamp: u64, piece: usize| format!("f{stamp}-{piece}");
    for piece in pieces {
        for (stamp, size) in (0..).zip(sizes) {
            write_file(&dir.join(name(stamp, piece)), stamp, size);
        }
    }
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    for piece in pieces {
        for (stamp, size) in (0..).zip(sizes) {
            let name = name(stamp, piece);
            let mut file = File::open(joiner.sees(&name, size)).unwrap();
            let mut at = 0;
            let mut bytes = vec![0; piece];
            loop {
                let len = file.read(&mut bytes).unwrap();
                assert!(
                    bytes[..len] == pattern(stamp, at, len),
                    "{name} differs at {at}"
                );
                at += len as u64;
                if len == 0 {
                    break;
                }
            }
            assert_eq!(at, size, "{name} ended early");
            let fetched = joiner
                .status()
                .file(&name)
                .map(|seen| seen.number("chunks_fetched"));
            assert_eq!(fetched.unwrap_or(0), size.div_ceil(CHUNK), "{name}");
        }
    }
}

/// S9: the kernel and many programs read one file in parallel and overlapping; each chunk is
/// fetched once. Two opens are two handles: closing one leaves the other whole (P7).
#[test]
fn parallel_readers_and_two_opens_share_what_comes_s9() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 64 * CHUNK + 1;
    write_file(&dir.join("file"), 3, size);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("file", size);
    let first = File::open(&path).unwrap();
    thread::scope(|scope| {
        for reader in 0..6 {
            let path = &path;
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let mut dice = Dice::new(reader);
                for _ in 0..60 {
                    let offset = dice.below(size);
                    let len = dice.below(300_000).min(size - offset).max(1);
                    check(&file, 3, offset, usize::try_from(len).unwrap());
                }
            });
        }
        for _ in 0..2 {
            let path = &path;
            scope.spawn(move || {
                let bytes = fs::read(path).unwrap();
                assert!(bytes == pattern(3, 0, usize::try_from(size).unwrap()));
            });
        }
    });
    check(&first, 3, size - 5_000, 5_000);
    let seen = joiner.status().file("file").expect("the file was read");
    assert_eq!(seen.number("chunks_fetched"), size.div_ceil(CHUNK));
    assert_eq!(seen.number("chunks_present"), size.div_ceil(CHUNK));
    assert_eq!(host.status().counter("chunks_served"), size.div_ceil(CHUNK));
}

/// S6: a mapped file reads as it is, page by page, on demand.
#[test]
fn a_mapped_file_is_exact_s6() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 20 * CHUNK + 321;
    write_file(&dir.join("file"), 4, size);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("file", size);
    // In a process of its own: a page that can't be had is SIGBUS.
    let script = "
import mmap, sys
with open(sys.argv[1], 'rb') as a, open(sys.argv[2], 'rb') as b:
    a = mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ)
    b = mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ)
    assert len(a) == len(b)
    for at in list(range(0, len(a), 1234567)) + [0, len(a) - 1]:
        assert a[at:at + 5000] == b[at:at + 5000], at
    assert a[:] == b[:]
";
    let paths = [dir.join("file"), joiner.path("file")];
    world
        .run(Command::new("python3").arg("-c").arg(script).args(paths))
        .ok();
}

/// P5, S26: what was read once is not fetched again, not by another open, and not after a stop
/// and a start.
#[test]
fn what_is_here_is_not_fetched_again_s26() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 12 * CHUNK + 5;
    write_file(&dir.join("file"), 5, size);
    let host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    let expected = pattern(5, 0, usize::try_from(size).unwrap());
    let path = joiner.sees("file", size);
    assert!(fs::read(&path).unwrap() == expected);
    assert!(fs::read(&path).unwrap() == expected);
    let served = host.status().counter("bytes_served");
    assert_eq!(served, size);
    joiner.stop();
    assert_eq!(world.mounts(), []);
    joiner.restart();
    assert!(fs::read(&path).unwrap() == expected);
    assert_eq!(host.status().counter("bytes_served"), served);
    assert_eq!(joiner.status().counter("chunks_fetched"), 0);
}
