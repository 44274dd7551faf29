//! Resume (P5): cuts and kills cost at most what was in flight.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::pattern::{CHUNK, Dice, write_file};
use crate::common::world::{Host, World};
use crate::common::{is_large, until};

/// What may be in flight when a link is cut, by P5.
const WINDOW: u64 = 64 << 20;

/// How fast the proxy is, so that there is a middle to be cut in.
const RATE: u64 = 96 << 20;

fn size() -> u64 {
    if is_large() {
        1 << 30
    } else {
        (256 << 20) + 12_345
    }
}

#[track_caller]
fn same_bytes(world: &World, one: &Path, other: &Path) {
    let compared = world.run(Command::new("cmp").args([one, other]));
    assert_eq!(
        (compared.text(), compared.err.as_str(), compared.code),
        ("", "", Some(0))
    );
}

/// Waits until the host has served `bytes` more than before.
fn served(host: &Host, bytes: u64) -> u64 {
    until("enough was served", || {
        let served = host.status().counter("bytes_served");
        (served >= bytes).then_some(served)
    })
}

/// P5, S11, S29: the joiner is killed in the middle of a download, three times. What was stored
/// is still there; what comes over the wire afterwards is what was missing and one window a kill.
#[test]
fn a_killed_joiner_goes_on_where_it_was_s11_s29() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("big"), 1, size());
    let (host, proxy) = world.share_behind("dir");
    proxy.limit(RATE);
    let mut joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("big", size());
    let mut dice = Dice::new(3);
    let kills = 3;
    for kill in 1..=kills {
        let mut reader = world.start(Command::new("cmp").args([&dir.join("big"), &path]));
        // The first chunks are there and come from here, then the rest.
        served(&host, size() * kill / (kills + 2) + dice.below(8 << 20));
        let seen = joiner.status().file("big").expect("it is read");
        joiner.kill();
        let status = reader.join(Duration::from_secs(60));
        assert_ne!(
            status.code(),
            Some(0),
            "the reader of a dead mount saw no error"
        );
        joiner.restart();
        // What is stored is looked for when it is first read.
        File::open(&path).unwrap().read_exact(&mut [0]).unwrap();
        let again = until("its sidecar was read", || {
            joiner
                .status()
                .file("big")
                .filter(|seen| seen.number("chunks_present") > 0)
        });
        let (before, after) = (
            seen.number("chunks_present"),
            again.number("chunks_present"),
        );
        assert!(
            before > 0 && before < size().div_ceil(CHUNK),
            "killed too late: {seen:?}"
        );
        assert!(
            after >= before,
            "{before} chunks were here before the kill, {after} after it"
        );
    }
    same_bytes(&world, &dir.join("big"), &path);
    let served = host.status().counter("bytes_served");
    assert!(
        served <= size() + kills * WINDOW,
        "{served} bytes were served for {}",
        size()
    );
    let seen = joiner.status().file("big").expect("it was read");
    assert_eq!(seen.number("chunks_present"), size().div_ceil(CHUNK));
}

/// P5: the same for `get`, which keeps its partial file beside the target.
#[test]
fn a_killed_get_goes_on_where_it_was() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let out = world.mkdir("out");
    write_file(&dir.join("big"), 2, size());
    let (host, proxy) = world.share_behind("dir");
    proxy.limit(RATE);
    let user = world.user("guest");
    let args = ["get", &host.ticket(), "big", "-o", out.to_str().unwrap()];
    let kills = 3;
    for kill in 1..=kills {
        let running = user.start(args);
        served(&host, size() * kill / (kills + 2));
        running.kill();
        assert!(
            !out.join("big").exists(),
            "a half file stands under the real name"
        );
    }
    user.run(args).ok();
    same_bytes(&world, &dir.join("big"), &out.join("big"));
    let left: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(
        left,
        [out.join("big")],
        "something was left beside the target"
    );
    let served = host.status().counter("bytes_served");
    assert!(
        served <= size() + kills * WINDOW,
        "{served} bytes were served for {}",
        size()
    );
}

/// P1, P5, S21: twenty cuts at random moments. The reader notices nothing, no verified chunk is
/// fetched twice, and the wire carries what was missing and one window a cut.
#[test]
fn twenty_cuts_do_not_show_s21() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = if is_large() {
        1 << 30
    } else {
        (128 << 20) + 777
    };
    write_file(&dir.join("big"), 3, size);
    let (host, proxy) = world.share_behind("dir");
    let joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("big", size);
    proxy.limit(if is_large() { RATE } else { 32 << 20 });
    let mut reader = world.start(Command::new("cmp").args([&dir.join("big"), &path]));
    let mut dice = Dice::new(21);
    let mut cuts = 0;
    while cuts < 20 && reader.is_running() {
        thread::sleep(Duration::from_millis(20 + dice.below(200)));
        proxy.cut();
        cuts += 1;
    }
    assert_eq!(
        cuts, 20,
        "the download was over before the cuts: make it slower"
    );
    proxy.limit(0);
    let patience = Duration::from_secs(if is_large() { 900 } else { 120 });
    assert_eq!(
        reader.join(patience).code(),
        Some(0),
        "the reader saw the cuts"
    );
    let seen = joiner.status().file("big").expect("it was read");
    assert_eq!(
        seen.number("chunks_fetched"),
        size.div_ceil(CHUNK),
        "chunks came twice"
    );
    let down = proxy.down();
    assert!(down <= size + cuts * WINDOW, "{down} bytes came for {size}");
    assert!(joiner.status().counter("links") > 1, "no cut was felt");
}

/// P5 for `get` under cuts: it goes on by itself and ends well.
#[test]
fn get_lives_through_cuts() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let out = world.mkdir("out");
    let size = (64 << 20) + 1;
    write_file(&dir.join("big"), 4, size);
    let (host, proxy) = world.share_behind("dir");
    proxy.limit(16 << 20);
    let user = world.user("guest");
    let mut running = user.start(["get", &host.ticket(), "big", "-o", out.to_str().unwrap()]);
    let mut dice = Dice::new(5);
    for cut in 1..=8 {
        let due = size * cut / 12;
        until("a further part has come", || {
            (proxy.down() >= due || !running.is_running()).then_some(())
        });
        thread::sleep(Duration::from_millis(dice.below(50)));
        proxy.cut();
    }
    proxy.limit(0);
    assert_eq!(
        running.join(Duration::from_secs(120)).code(),
        Some(0),
        "{}",
        running.err()
    );
    same_bytes(&world, &dir.join("big"), &out.join("big"));
}

/// S8: the partial file takes its full length at once, and nothing of it is ever shown as zeros:
/// a reader that comes while little is here waits for the bytes.
#[test]
fn a_partial_file_is_never_served_as_zeros_s8() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 32 * CHUNK;
    write_file(&dir.join("big"), 6, size);
    let (host, proxy) = world.share_behind("dir");
    let mut joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("big", size);
    proxy.limit(4 << 20);
    let mut readers: Vec<_> = (0..3)
        .map(|_| world.start(Command::new("cmp").args([&dir.join("big"), &path])))
        .collect();
    until("something has come", || {
        (proxy.down() > 3 << 20).then_some(())
    });
    joiner.kill();
    for reader in &mut readers {
        assert_ne!(reader.join(Duration::from_secs(60)).code(), Some(0));
        assert!(
            !reader.line_said("differ"),
            "bytes that never came were shown"
        );
    }
    joiner.restart();
    let held: u64 = walk(&joiner.store).iter().map(|path| stored(path)).sum();
    assert!(held > 0 && held < 2 * size, "{held} bytes are stored");
    proxy.limit(0);
    same_bytes(&world, &dir.join("big"), &path);
}

/// Returns the files below a directory.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Returns the bytes that a file takes on disk.
fn stored(path: &Path) -> u64 {
    File::open(path)
        .and_then(|file| file.metadata())
        .map_or(0, |seen| seen.blocks() * 512)
}
