//! A whole tree: what the mount shows is what the folder holds.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::common::pattern::{pattern, write_file, write_part};
use crate::common::until;
use crate::common::world::World;

const DIRS: usize = 500;
const FILES_PER_DIR: usize = 20;
const SPARSE: &str = "sparse.img";
const SPARSE_LEN: u64 = 5 << 30;

/// Where the sparse file has bytes: at its ends, around 4 GiB, and at an odd place.
const ISLANDS: [(u64, usize); 4] = [
    (0, 70_000),
    (123_456_789, 600_001),
    ((4 << 30) - 8_192, 16_384),
    (SPARSE_LEN - 99, 99),
];

/// Returns the name of a file: every kind that a Linux file system takes.
fn name(number: usize) -> OsString {
    let odd: Vec<u8> = match number % 40 {
        0 => format!("zażółć gęślą jaźń {number}").into_bytes(),
        1 => format!("目録 ☃ 🦀 {number}.txt").into_bytes(),
        // The same word composed and decomposed: two names.
        2 => format!("caf\u{e9} {}", number / 40).into_bytes(),
        3 => format!("cafe\u{301} {}", number / 40).into_bytes(),
        4 => [
            b"latin \xe9\xff\x80 ".as_slice(),
            number.to_string().as_bytes(),
        ]
        .concat(),
        5 => format!("new\nline\tand \\ back {number}").into_bytes(),
        6 => format!("-dash --{number}").into_bytes(),
        7 => format!("...dots {number}..").into_bytes(),
        8 => format!("CON.{number}: \"*?<|>").into_bytes(),
        9 => format!("{number:0>255}").into_bytes(),
        10 => format!("\u{202e}bidi {number}").into_bytes(),
        11 => format!(" space {number} ").into_bytes(),
        _ => format!("file-{number}.dat").into_bytes(),
    };
    OsStr::from_bytes(&odd).to_owned()
}

/// Makes the tree, and returns how many files, directories and symlinks it has.
fn grow(root: &Path) -> u64 {
    let mut count = 0;
    for dir in 0..DIRS {
        // Five levels deep at most.
        let mut path = root.to_owned();
        for level in [dir / 125, dir / 25, dir / 5] {
            path.push(format!("level {level}"));
        }
        path.push(format!("dir-{dir}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..FILES_PER_DIR {
            let number = dir * FILES_PER_DIR + file;
            let path = path.join(name(number));
            let size = match number % 1_000 {
                17 => 524_288,
                18 => 524_289,
                19 => 1_300_000,
                n if n % 13 == 0 => 0,
                n => u64::try_from(n * 3).unwrap(),
            };
            write_file(&path, number as u64, size);
            let mode = [0o644, 0o600, 0o755, 0o444, 0o640, 0o000, 0o1777][number % 7];
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let nanos = u32::try_from(number * 7_919 % 1_000_000_000).unwrap();
            let time = match number % 50 {
                // Before 1970, and beyond 2038.
                0 => SystemTime::UNIX_EPOCH - Duration::new(number as u64 + 1, nanos),
                1 => SystemTime::UNIX_EPOCH + Duration::new(4_200_000_000, nanos),
                _ => SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000 + number as u64, nanos),
            };
            File::open(&path).unwrap().set_modified(time).unwrap();
            count += 1;
        }
    }
    let links: [(&str, &[u8]); 6] = [
        ("to a file", b"level 0/level 0/level 0/dir-0/file-12.dat"),
        ("to a directory", b"level 0"),
        ("to nothing", b"is/not/there"),
        ("out of here", b"../../../etc/hostname"),
        ("absolute", b"/dev/null"),
        ("to bytes", b"\xff\xfe\\ \n"),
    ];
    for (name, target) in links {
        symlink(OsStr::from_bytes(target), root.join(name)).unwrap();
        count += 1;
    }
    symlink("x".repeat(4_000), root.join("to far away")).unwrap();
    fs::create_dir(root.join("empty directory")).unwrap();
    fs::set_permissions(
        root.join("empty directory"),
        fs::Permissions::from_mode(0o711),
    )
    .unwrap();
    let sparse = File::create(root.join(SPARSE)).unwrap();
    sparse.set_len(SPARSE_LEN).unwrap();
    for (offset, len) in ISLANDS {
        write_part(&sparse, 5, offset, len);
    }
    let dirs = Command::new("find")
        .arg(root)
        .args(["-mindepth", "1", "-type", "d"])
        .output();
    let dirs = dirs.unwrap().stdout.split(|&byte| byte == b'\n').count() - 1;
    count + 2 + dirs as u64
}

/// Returns what `find` says of everything below `root`, in order.
fn listing(world: &World, root: &Path) -> Vec<Vec<u8>> {
    let found = world.run(
        Command::new("find")
            .current_dir(root)
            .args([".", "-mindepth", "1", "-name", ".tandem"])
            .args([
                "-prune",
                "-o",
                "-type",
                "d",
                "-printf",
                r"%p %m %l\0",
                "-o",
                "-printf",
                r"%p %m %s %T@ %l\0",
            ]),
    );
    let mut lines: Vec<Vec<u8>> = found
        .ok()
        .out
        .split(|&byte| byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    lines.sort();
    lines
}

/// P1, P4, S17, S40: names, modes, sizes, times, targets and bytes of a large and odd tree; and
/// a first `ls -lR` asks the peer for nothing (U4).
#[test]
fn the_mount_shows_what_the_folder_holds_s17_s40() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let nodes = grow(&dir);
    // Below any directory, `.tandem` is never shared.
    fs::create_dir(dir.join("level 0/.tandem")).unwrap();
    fs::write(dir.join("level 0/.tandem/secret"), "x").unwrap();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    until("all of the tree is known", || {
        (joiner.status().number("nodes") == nodes).then_some(())
    });

    let before = joiner.status();
    world
        .run(Command::new("ls").arg("-lR").arg(&joiner.mnt))
        .ok();
    let after = joiner.status();
    for counter in ["messages_sent", "messages_received"] {
        let asked = after.counter(counter) - before.counter(counter);
        assert!(asked < 10, "{asked} {counter} for a listing of {nodes}");
    }
    assert_eq!(after.counter("chunks_asked"), 0, "a listing fetched bytes");

    let (there, here) = (listing(&world, &dir), listing(&world, &joiner.mnt));
    for (there, here) in there.iter().zip(&here) {
        assert_eq!(
            String::from_utf8_lossy(there),
            String::from_utf8_lossy(here)
        );
    }
    assert_eq!(there.len(), here.len());
    assert!(fs::symlink_metadata(joiner.path("level 0/.tandem")).is_err());
    assert!(fs::symlink_metadata(joiner.path(".tandem")).is_err());

    let diff = world.run(
        Command::new("diff")
            .args(["-r", "--no-dereference", "-x", ".tandem", "-x", SPARSE])
            .args([&dir, &joiner.mnt]),
    );
    assert_eq!((diff.text(), diff.err.as_str()), ("", ""));
    diff.ok();

    let sparse = File::open(joiner.path(SPARSE)).unwrap();
    for (offset, len) in ISLANDS {
        let mut bytes = vec![0; len];
        sparse.read_exact_at(&mut bytes, offset).unwrap();
        assert!(
            bytes == pattern(5, offset, len),
            "the bytes at {offset} differ"
        );
    }
    for hole in [1 << 20, 3 << 30, (4 << 30) + 12_345, SPARSE_LEN - 4_196] {
        let mut bytes = vec![1; 4_097];
        sparse.read_exact_at(&mut bytes, hole).unwrap();
        assert!(
            bytes.iter().all(|&byte| byte == 0),
            "the hole at {hole} has bytes"
        );
    }
    let mut bytes = [0; 8];
    assert_eq!(sparse.read_at(&mut bytes, SPARSE_LEN).unwrap(), 0);
    assert_eq!(sparse.read_at(&mut bytes, SPARSE_LEN - 3).unwrap(), 3);
}

/// S40: hard links are one node under several names; what can't be shared stays local.
#[test]
fn links_are_one_file_and_fifos_stay_at_home() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("one"), 1, 100_000);
    fs::hard_link(dir.join("one"), dir.join("other")).unwrap();
    let fifo = world.run(Command::new("mkfifo").arg(dir.join("fifo")));
    fifo.ok();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    for name in ["one", "other"] {
        assert_eq!(
            fs::read(joiner.sees(name, 100_000)).unwrap(),
            pattern(1, 0, 100_000)
        );
    }
    let names: Vec<PathBuf> = fs::read_dir(&joiner.mnt)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// Until writing comes, every change on the mount is refused, as a read-only file system does,
/// and nothing of it reaches the folder.
#[test]
fn a_mount_takes_no_changes() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 1_000);
    fs::create_dir(dir.join("sub")).unwrap();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("file", 1_000);
    let before = listing(&world, &dir);
    let file = joiner.path("file");
    let refused = [
        ("write", fs::write(&file, "x").err()),
        ("create", File::create(joiner.path("new")).err()),
        ("mkdir", fs::create_dir(joiner.path("new")).err()),
        ("rmdir", fs::remove_dir(joiner.path("sub")).err()),
        ("unlink", fs::remove_file(&file).err()),
        ("rename", fs::rename(&file, joiner.path("new")).err()),
        ("symlink", symlink("x", joiner.path("new")).err()),
        ("link", fs::hard_link(&file, joiner.path("new")).err()),
        (
            "chmod",
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).err(),
        ),
    ];
    for (what, error) in refused {
        let code = error.and_then(|error| error.raw_os_error());
        assert_eq!(code, Some(rustix::io::Errno::ROFS.raw_os_error()), "{what}");
    }
    assert_eq!(listing(&world, &dir), before);
    assert_eq!(fs::read(&file).unwrap(), pattern(1, 0, 1_000));
}
