//! A measurement: how often one read of a chunk shows two versions of a file that is replaced over
//! and over. Run by `tests/long.sh torn`, which prints the table.
#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::common::pattern::CHUNK;
use crate::common::world::World;

/// The file has so many chunks, each byte of which is the number of the version.
const CHUNKS: u64 = 4;

/// How long each row is measured.
const WITHIN: Duration = Duration::from_secs(15);

/// How long a version stands.
const EACH: Duration = Duration::from_millis(25);

/// How a file is changed.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Written beside it, and renamed over it.
    Rename,
    /// Written over it, in one call.
    InPlace,
}

/// What `O_DIRECT` asks of an address.
const ALIGN: usize = 4_096;

/// Memory that a read around the kernel's cache may go to.
struct Aligned(Vec<u8>);

impl Aligned {
    fn new() -> Self {
        Self(vec![0; usize::try_from(CHUNK).unwrap() + ALIGN])
    }

    fn bytes(&mut self) -> &mut [u8] {
        let at = self.0.as_ptr().align_offset(ALIGN);
        &mut self.0[at..at + usize::try_from(CHUNK).unwrap()]
    }
}

/// What a row counts.
#[derive(Debug, Default)]
struct Row {
    reads: u64,
    torn: u64,
    failed: u64,
    versions: u64,
}

/// Changes `file` over and over until it is told to stop.
fn change_over_and_over(how: Change, file: &Path, stop: &AtomicBool) {
    let beside = file.with_extension("new");
    let mut version = 0_u8;
    while !stop.load(Ordering::Relaxed) {
        version = version.wrapping_add(1);
        let bytes = vec![version; usize::try_from(CHUNKS * CHUNK).unwrap()];
        match how {
            Change::Rename => {
                fs::write(&beside, &bytes).unwrap();
                fs::rename(&beside, file).unwrap();
            }
            Change::InPlace => {
                let file = File::options().write(true).open(file).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
            }
        }
        thread::sleep(EACH);
    }
}

/// Reads `file` chunk by chunk, opened for each pass, until the time is over.
fn read_over_and_over(file: &Path, flags: OFlags) -> Row {
    let mut row = Row::default();
    let mut buffer = Aligned::new();
    let mut last = None;
    let begun = Instant::now();
    let flags = i32::try_from(flags.bits()).unwrap();
    while begun.elapsed() < WITHIN {
        let Ok(file) = File::options().read(true).custom_flags(flags).open(file) else {
            row.failed += 1;
            continue;
        };
        for chunk in 0..CHUNKS {
            let bytes = buffer.bytes();
            match file.read_at(bytes, chunk * CHUNK) {
                Ok(got) if got == bytes.len() => {
                    row.reads += 1;
                    let first = bytes[0];
                    row.torn += u64::from(bytes.iter().any(|&byte| byte != first));
                    row.versions += u64::from(last.replace(first) != Some(first));
                }
                // Of a version that is gone, or between two of different ends.
                Ok(_) | Err(_) => row.failed += 1,
            }
        }
    }
    row
}

/// Returns the file that says how far ahead the kernel reads on a mount.
fn read_ahead_of(mnt: &Path) -> PathBuf {
    let device = fs::metadata(mnt).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    PathBuf::from(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"))
}

/// Measures one row: `changed` is changed while `read`, the same file, is read.
fn measure(place: &str, how: Change, changed: &Path, read: &Path) {
    for (way, flags) in [("buffered", OFlags::empty()), ("O_DIRECT", OFlags::DIRECT)] {
        let stop = AtomicBool::new(false);
        let row = thread::scope(|scope| {
            scope.spawn(|| change_over_and_over(how, changed, &stop));
            let row = read_over_and_over(read, flags);
            stop.store(true, Ordering::Relaxed);
            row
        });
        let how = match how {
            Change::Rename => "by rename",
            Change::InPlace => "in place",
        };
        println!(
            "| {place} | {how} | {way} | {} | {} | {} | {} |",
            row.reads, row.versions, row.torn, row.failed
        );
        assert!(row.versions > 10, "{row:?}");
        if place.starts_with("mount") && way == "O_DIRECT" {
            assert_eq!(row.torn, 0, "one request is of one version");
        }
    }
}

#[test]
#[ignore = "a measurement of minutes: tests/long.sh torn"]
fn reads_of_a_chunk_that_show_two_versions() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let file = dir.join("x");
    fs::write(&file, vec![0; usize::try_from(CHUNKS * CHUNK).unwrap()]).unwrap();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let seen = joiner.sees("x", CHUNKS * CHUNK);
    println!("| read on | changed | reads | of a chunk | versions | torn | failed |");
    println!("|---|---|---|---|---|---|---|");
    measure("mount", Change::Rename, &file, &seen);
    measure("mount", Change::InPlace, &file, &seen);
    let read_ahead = read_ahead_of(&joiner.mnt);
    let usual = fs::read_to_string(&read_ahead).unwrap();
    // Then the kernel asks for an aligned chunk in one request.
    if fs::write(&read_ahead, "512").is_ok() {
        measure("mount, read ahead 512 KiB", Change::Rename, &file, &seen);
        fs::write(&read_ahead, usual).unwrap();
    }
    let plain = world.mkdir("plain").join("x");
    fs::write(&plain, vec![0; usize::try_from(CHUNKS * CHUNK).unwrap()]).unwrap();
    measure("disk", Change::Rename, &plain, &plain);
    measure("disk", Change::InPlace, &plain, &plain);
}
