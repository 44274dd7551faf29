//! The commands of DESIGN's list, as a user gives them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::program::{Running, SOON};
use crate::common::until;
use crate::common::world::World;

/// `ls` lists a folder, a directory in it, and a file; it mounts nothing.
#[test]
fn ls_lists_without_a_mount() {
    let world = World::new();
    let dir = world.mkdir("dir");
    fs::create_dir_all(dir.join("sub/deep")).unwrap();
    write_file(&dir.join("sub/file"), 1, 1_234_567);
    fs::write(dir.join("top"), "x").unwrap();
    symlink("top", dir.join("link")).unwrap();
    let host = world.share("dir");
    let user = world.user("guest");
    let ticket = host.ticket();
    let root = user.run(["ls", &ticket]).ok();
    for name in ["sub", "top", "link"] {
        assert!(root.text().contains(name), "{root:?}");
    }
    assert!(!root.text().contains(".tandem"), "{root:?}");
    assert!(!root.text().contains("deep"), "{root:?}");
    let sub = user.run(["ls", &ticket, "sub"]).ok();
    assert!(
        sub.text().contains("file") && sub.text().contains("deep"),
        "{sub:?}"
    );
    user.run(["ls", &ticket, "sub/file"]).ok();
    // The ticket may lie in a file.
    let file = world.path("dir.ticket");
    let again = user.run([OsStr::new("ls"), file.as_os_str()]).ok();
    assert_eq!(again.out, root.out);
    assert_eq!(world.mounts(), []);
}

/// S33: a guest who has only looked keeps its key, and the ticket still joins.
#[test]
fn get_brings_files_and_a_guest_may_come_again_s33() {
    let world = World::new();
    let dir = world.mkdir("dir");
    fs::create_dir(dir.join("sub")).unwrap();
    let size = 5 * CHUNK + 3;
    write_file(&dir.join("sub/one"), 1, size);
    write_file(&dir.join("two"), 2, 10);
    fs::write(dir.join("empty"), "").unwrap();
    let host = world.share("dir");
    let user = world.user("guest");
    let out = world.mkdir("out");
    let ticket = host.ticket();
    let got = |names: &[&str]| {
        let args = [&["get", &ticket][..], names, &["-o", out.to_str().unwrap()]].concat();
        user.run(args).ok();
    };
    got(&["sub/one", "two", "empty"]);
    assert!(fs::read(out.join("one")).unwrap() == pattern(1, 0, usize::try_from(size).unwrap()));
    assert!(fs::read(out.join("two")).unwrap() == pattern(2, 0, 10));
    assert_eq!(fs::read(out.join("empty")).unwrap(), b"");
    // What stood at the target is replaced, whole.
    fs::write(out.join("two"), "something else that is longer").unwrap();
    got(&["two"]);
    assert!(fs::read(out.join("two")).unwrap() == pattern(2, 0, 10));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
    let joiner = world.join("mo", &ticket);
    assert!(fs::read(joiner.sees("two", 10)).unwrap() == pattern(2, 0, 10));
}

/// S27: `status` says what is true, `stop` stops and unmounts, on both sides.
#[test]
fn status_and_stop_say_and_do_s27() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 1_000);
    let host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    assert!(fs::read(joiner.sees("file", 1_000)).unwrap() == pattern(1, 0, 1_000));
    until("both are live", || {
        (joiner.status().links() == ["live"] && host.status().links() == ["live"]).then_some(())
    });
    assert!(!joiner.status().flag("scanning"));
    assert_eq!(
        (host.status().number("nodes"), host.status().number("bytes")),
        (1, 1_000)
    );
    for (user, place) in [(&joiner.user, &joiner.mnt), (&host.user, &host.dir)] {
        let said = user.run([OsStr::new("status"), place.as_os_str()]).ok();
        assert!(!said.text().is_empty());
    }
    let stop = [OsStr::new("stop"), joiner.mnt.as_os_str()];
    joiner.user.run(stop).ok();
    assert_eq!(world.mounts(), []);
    joiner.user.run(stop).fails(1);
    joiner.ended();
    joiner.restart();
    assert!(fs::read(joiner.sees("file", 1_000)).unwrap() == pattern(1, 0, 1_000));
    host.user
        .run([OsStr::new("stop"), host.dir.as_os_str()])
        .ok();
    host.user
        .run([OsStr::new("status"), host.dir.as_os_str()])
        .fails(1);
}

/// `join MNT`, without ticket and store, finds the store that was last mounted there.
#[test]
fn join_again_needs_only_the_mount_point() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 2 * CHUNK);
    let host = world.share("dir");
    let user = world.user("mo");
    let mnt = world.path("mnt");
    let expected = pattern(1, 0, usize::try_from(2 * CHUNK).unwrap());
    let ticket = host.ticket();
    for args in [
        vec![OsStr::new("join"), OsStr::new(&ticket)],
        vec![OsStr::new("join")],
    ] {
        let mut running = user.start(args.into_iter().chain([mnt.as_os_str()]));
        let line = running.line(SOON);
        assert_eq!(line, format!("ready: {}", mnt.display()));
        let read = until("the file is there", || fs::read(mnt.join("file")).ok());
        assert!(read == expected);
        assert_eq!(running.stop().code(), Some(0));
    }
    assert_eq!(host.status().counter("bytes_served"), 2 * CHUNK);
}

/// S36: neither logs nor status carry the ticket's secret, however much is logged.
#[test]
fn logs_and_status_carry_no_secret_s36() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 1_000);
    let mut host = world.share("dir");
    host.stop();
    host.user = host.user.with("TANDEM_LOG", "trace");
    host.start();
    let ticket = host.ticket();
    let joiner = world.join_as(world.user("mo").with("TANDEM_LOG", "trace"), "mo", &ticket);
    fs::read(joiner.sees("file", 1_000)).unwrap();
    let status = joiner
        .user
        .run([OsStr::new("status"), joiner.mnt.as_os_str()])
        .ok();
    let secret = &ticket[ticket.len() - 40..];
    for text in [host.err(), joiner.err(), status.text().to_owned()] {
        assert!(!text.contains(secret), "a secret is shown");
    }
}

/// `demo` starts two peers, mounts, says so, and takes everything away again.
#[test]
fn demo_plays_and_cleans_up() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 3 * CHUNK);
    let user = world
        .user("mo")
        .with("TMPDIR", world.mkdir("tmp").to_str().unwrap());
    let mut demo: Running = user.start([OsStr::new("demo"), dir.as_os_str()]);
    let mount = until("it has mounted", || {
        assert!(demo.is_running(), "{}", demo.err());
        world.mounts().pop()
    });
    assert!(!demo.line(SOON).is_empty());
    let read = until("the file is there", || {
        fs::read(mount.point.join("file")).ok()
    });
    assert!(read == pattern(1, 0, usize::try_from(3 * CHUNK).unwrap()));
    demo.interrupt();
    assert_eq!(
        demo.join(Duration::from_secs(60)).code(),
        Some(0),
        "{}",
        demo.err()
    );
    assert_eq!(world.mounts(), []);
    assert!(
        fs::read(dir.join("file")).unwrap() == read,
        "the demo changed the folder"
    );
}

/// Returns the processes that a command line of a world names a path below one of these for.
fn processes(places: &[&Path]) -> Vec<Pid> {
    let names_one = |line: Vec<u8>| {
        line.split(|&byte| byte == 0).any(|word| {
            places
                .iter()
                .any(|place| word.starts_with(place.as_os_str().as_bytes()))
        })
    };
    let of = |item: fs::DirEntry| {
        let line = fs::read(item.path().join("cmdline")).ok()?;
        let pid = item.file_name().to_str()?.parse().ok()?;
        names_one(line).then(|| Pid::from_raw(pid)).flatten()
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|item| of(item.ok()?)).collect()
}

/// A demo that is killed can't say goodbye; its two peers end with it all the same, in good order.
#[test]
fn demo_that_is_killed_takes_its_peers_along() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, CHUNK);
    let tmp = world.mkdir("tmp");
    let user = world.user("mo").with("TMPDIR", tmp.to_str().unwrap());
    let mut demo: Running = user.start([OsStr::new("demo"), dir.as_os_str()]);
    assert!(!demo.line(SOON).is_empty());
    assert_eq!(world.mounts().len(), 1);
    let peers = || processes(&[&dir, &tmp]).len();
    assert_eq!(peers(), 3, "the demo, a host and a joiner");
    demo.kill();
    until("nothing is mounted", || {
        world.mounts().is_empty().then_some(())
    });
    until("the peers have ended", || (peers() == 0).then_some(()));

    // The folder's ticket is the dead joiner's: with that, no demo of this folder began again.
    for _ in 0..2 {
        let mut demo: Running = user.start([OsStr::new("demo"), dir.as_os_str()]);
        assert!(!demo.line(SOON).is_empty(), "{}", demo.err());
        demo.interrupt();
        assert_eq!(demo.join(Duration::from_secs(60)).code(), Some(0));
    }
}

/// What a demo leaves that was killed, its peers and its mount included, the next one removes. It
/// touches nothing of one that lives, nor a folder that it was given, nor what is no demo's.
#[test]
fn a_killed_demo_is_cleaned_up_by_the_next() {
    let world = World::new();
    let tmp = world.mkdir("tmp");
    let stages = || -> BTreeSet<PathBuf> {
        let items = fs::read_dir(&tmp).unwrap();
        items.map(|item| item.unwrap().path()).collect()
    };
    let start = |dir: &Path| {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("mine"), "x").unwrap();
        let user = world.user("mo").with("TMPDIR", tmp.to_str().unwrap());
        let before = stages();
        let mut demo: Running = user.start([OsStr::new("demo"), dir.as_os_str()]);
        assert!(!demo.line(SOON).is_empty());
        let mut made = stages();
        made.retain(|stage| !before.contains(stage));
        (demo, made.pop_first().expect("it made its directory"))
    };
    let kill = |demo: Running, places: &[&Path]| {
        demo.kill();
        for peer in processes(places) {
            // It may have ended with the demo.
            let _ = kill_process(peer, Signal::KILL);
            // A process that ends loses its command line before its locks.
            let there = format!("/proc/{}", peer.as_raw_nonzero());
            until("it is gone", || (!Path::new(&there).exists()).then_some(()));
        }
    };
    let (living, its) = start(&world.path("living"));
    let (killed, first) = start(&world.path("first"));
    kill(killed, &[&first, &world.path("first")]);
    assert!(first.join("store").is_dir());
    // Nobody's: named alike, with no lock, and a link with one behind it.
    let plain = tmp.join("tandem-demo-1-0");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("mine"), "x").unwrap();
    let link = tmp.join("tandem-demo-2-0");
    symlink(&first, &link).unwrap();

    // Given a folder in what was left, it leaves that as it is.
    let (again, second) = start(&first.join("folder"));
    assert_eq!(fs::read(first.join("folder/mine")).unwrap(), b"x");
    kill(again, &[&second, &first]);

    let (last, third) = start(&world.path("last"));
    let left = BTreeSet::from([its.clone(), plain.clone(), link, third.clone()]);
    assert_eq!(stages(), left, "{}", last.err());
    assert!(
        last.err().contains(first.to_str().unwrap()),
        "{}",
        last.err()
    );
    assert_eq!(fs::read(plain.join("mine")).unwrap(), b"x");
    assert_eq!(fs::read(its.join("mnt/mine")).unwrap(), b"x");
    for name in ["first", "living", "last"] {
        assert_eq!(fs::read(world.path(name).join("mine")).unwrap(), b"x");
    }
    for mut demo in [living, last] {
        demo.interrupt();
        assert_eq!(demo.join(SOON).code(), Some(0));
    }
    assert!(!its.exists() && !third.exists());
    assert_eq!(world.mounts(), []);
}
