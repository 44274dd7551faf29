//! Being sure: `tandem wait --synced`, what `status` says of it, and how a file stands.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use serde_json::Value;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::program::Said;
use crate::common::until;
use crate::common::world::{User, World};

const STATE: &str = "user.tandem.state";

/// Waits for a place, with these arguments besides.
fn wait(user: &User, place: &Path, args: &[&str]) -> Said {
    let args = ["wait", "--synced"].iter().chain(args).map(OsStr::new);
    user.run(args.chain([place.as_os_str()]))
}

fn whole(stamp: u64, size: u64) -> Vec<u8> {
    pattern(stamp, 0, usize::try_from(size).unwrap())
}

/// Returns the state that a file shows.
fn state(path: &Path) -> String {
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(path, STATE, &mut value).unwrap();
    String::from_utf8(value[..len].to_vec()).unwrap()
}

/// What was written is synced when `wait` says so: both machines may lose everything that is not
/// on their disks.
#[test]
fn what_is_synced_survives_both_machines() {
    const SIZE: u64 = 9 * CHUNK + 77;
    let world = World::taking_changes();
    let mut host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    fs::create_dir(joiner.path("sub")).unwrap();
    for number in 0..40 {
        write_file(&joiner.path(&format!("sub/{number}")), number, 3_000);
    }
    write_file(&joiner.path("large"), 99, SIZE);
    fs::write(joiner.path("empty"), "").unwrap();
    let said = wait(&joiner.user, &joiner.mnt, &["--timeout", "60s", "--json"]).ok();
    let json: Value = serde_json::from_str(said.text()).unwrap();
    assert_eq!(json["synced"], true, "{json}");
    assert_eq!(json["places"][0]["unheld"], 0, "{json}");
    joiner.kill();
    host.kill();
    for number in 0..40 {
        let path = host.dir.join(format!("sub/{number}"));
        assert!(fs::read(path).unwrap() == whole(number, 3_000), "{number}");
    }
    assert!(fs::read(host.dir.join("large")).unwrap() == whole(99, SIZE));
    assert_eq!(fs::read(host.dir.join("empty")).unwrap(), b"");
}

/// The host is gone: what is written waits for it, `wait` says so and does not wait without need.
#[test]
fn with_the_host_gone_nothing_is_synced() {
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 100);
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    wait(&joiner.user, &joiner.mnt, &["--timeout", "60"]).ok();
    wait(&host.user, &host.dir, &["--timeout", "60"]).ok();
    let status = |joiner: &crate::common::world::Joiner| {
        let said = joiner
            .user
            .run([OsStr::new("status"), joiner.mnt.as_os_str()]);
        said.ok().text().to_owned()
    };
    assert!(status(&joiner).contains("all is synced"));
    host.kill();
    until("its end is noticed", || {
        (joiner.status().links() != ["live"]).then_some(())
    });
    write_file(&joiner.path("new"), 2, 100);
    let begun = Instant::now();
    let err = wait(&joiner.user, &joiner.mnt, &[]).fails(1);
    assert!(begun.elapsed() < Duration::from_secs(20), "at once");
    assert!(err.contains("no peer is connected"), "{err}");
    let said = wait(&joiner.user, &joiner.mnt, &["--timeout", "500ms"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let lines: Vec<&str> = said.err.lines().collect();
    let is_it = |line: &str, begin| line.starts_with(begin) && line.contains("new");
    assert!(
        matches!(lines[..], [first, last] if is_it(first, "waiting: ")
            && is_it(last, "error: not synced within 0.5 s: ")),
        "{said:?}"
    );
    assert!(status(&joiner).contains("not synced: no peer is connected"));
    assert_eq!(state(&joiner.path("new")), "local");
    // It comes back, and all who wait are told.
    host.start();
    wait(&joiner.user, &joiner.mnt, &["--timeout", "60"]).ok();
    assert!(fs::read(host.dir.join("new")).unwrap() == whole(2, 100));
    assert_eq!(state(&joiner.path("new")), "synced");
}

/// A file says how it stands; nobody sets that, and a copy with all attributes does not take it
/// along.
#[test]
fn a_file_tells_how_it_stands() {
    const SIZE: u64 = 3 * CHUNK;
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, SIZE);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let file = joiner.sees("file", SIZE);
    assert_eq!(state(&file), "remote");
    let mut byte = [0];
    let open = fs::File::open(&file).unwrap();
    std::os::unix::fs::FileExt::read_at(&open, &mut byte, 0).unwrap();
    assert_eq!(state(&file), "partial");
    assert!(fs::read(&file).unwrap() == whole(1, SIZE));
    assert_eq!(state(&file), "synced");
    let listed = |path: &Path| {
        let mut names = [0; 1_024];
        rustix::fs::listxattr(path, &mut names).unwrap()
    };
    assert_eq!(listed(&file), 0);
    let none = XattrFlags::empty();
    let set = rustix::fs::setxattr(&file, STATE, b"local", none);
    assert_eq!(set, Err(Errno::PERM));
    assert_eq!(rustix::fs::removexattr(&file, STATE), Err(Errno::PERM));
    // One that somebody gave the file in the folder itself is his, and stays there.
    let theirs = host.dir.join("file");
    if rustix::fs::setxattr(&theirs, STATE, b"mine", none).is_ok() {
        rustix::fs::setxattr(&theirs, "user.one", b"1", none).unwrap();
        until("the other attribute is there", || {
            (listed(&file) > 0).then_some(())
        });
        assert_eq!(listed(&file), "user.one\0".len());
        assert_eq!(state(&file), "synced");
    }
}

/// A host pushes: what is written to its folder is read on the other machine when the host is gone,
/// though nobody had read it; what had been there before has to be asked for.
#[test]
fn what_a_host_pushes_is_here_before_it_is_read() {
    const SIZE: u64 = 3 * CHUNK + 77;
    let world = World::new();
    write_file(&world.mkdir("dir").join("before"), 1, SIZE);
    let mut host = world.share_with("dir", &[OsStr::new("--push")]);
    let joiner = world.join("mo", &host.ticket());
    assert_eq!(state(&joiner.path("before")), "remote");
    write_file(&host.dir.join("new"), 2, SIZE);
    until("what was written has come", || {
        let is_there = joiner.path("new").exists();
        (is_there && state(&joiner.path("new")) == "synced").then_some(())
    });
    assert_eq!(state(&joiner.path("before")), "remote");
    host.kill();
    assert!(fs::read(joiner.path("new")).unwrap() == whole(2, SIZE));
}
