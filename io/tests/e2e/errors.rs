//! What can go wrong for a user: each a line that says what to do, exit code 1 (2 for usage), no
//! panic, and nothing left mounted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::program::{SOON, Said};
use crate::common::until;
use crate::common::watchdog::Watchdog;
use crate::common::world::{Host, User, World};

/// A world with a small share.
fn shared() -> (World, Host) {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, 100_000);
    let host = world.share("dir");
    (world, host)
}

fn join(user: &User, ticket: &str, mnt: &Path, store: &Path) -> Said {
    user.run([
        OsStr::new("join"),
        OsStr::new(ticket),
        mnt.as_os_str(),
        OsStr::new("--store"),
        store.as_os_str(),
    ])
}

/// Joins as somebody new; it must fail, and leave nothing mounted. Returns what was said.
#[track_caller]
fn cannot_join(world: &World, name: &str, ticket: &str) -> String {
    let before = world.mounts();
    let mnt = world.path(&format!("{name}-mnt"));
    let store = world.path(&format!("{name}-store"));
    let said = join(&world.user(name), ticket, &mnt, &store).fails(1);
    assert_eq!(world.mounts(), before, "{said}");
    said
}

/// S31: what is no ticket is no ticket, wherever it comes from.
#[test]
fn a_garbage_ticket_is_refused_s31() {
    let (world, host) = shared();
    let good = host.ticket();
    let cut = &good[..good.len() - 4];
    let mut changed = good.clone();
    let last = if changed.pop() == Some('a') { 'b' } else { 'a' };
    changed.push(last);
    let tickets = [
        "tandem1",
        "tandem1garbage",
        "hello",
        "",
        cut,
        &changed,
        "/not/a/file",
    ];
    for (n, ticket) in tickets.into_iter().enumerate() {
        let said = cannot_join(&world, &format!("guest{n}"), ticket);
        assert!(said.contains("ticket"), "{said}");
        assert!(
            !said.contains(&good[20..]),
            "the secret is in the message: {said}"
        );
    }
    let noise = world.path("noise");
    fs::write(&noise, [0xff; 9_000]).unwrap();
    cannot_join(&world, "guest", noise.to_str().unwrap());
    for command in ["ls", "get"] {
        let args = [command, "tandem1garbage", "file"];
        world.user("looker").run(args).fails(1);
    }
}

/// S23: nobody answers there.
#[test]
fn an_unreachable_address_is_said_s23() {
    let (world, mut host) = shared();
    let ticket = host.ticket();
    let address = host.address().to_string();
    host.stop();
    let said = cannot_join(&world, "mo", &ticket);
    assert!(said.contains(&address), "{said}");
    let user = world.user("guest");
    for args in [vec!["ls", &ticket], vec!["get", &ticket, "file"]] {
        let said = user.run(args).fails(1);
        assert!(said.contains(&address), "{said}");
    }
}

/// S33: somebody else listens at the address. The key is wrong, nothing is learnt.
#[test]
fn another_key_at_the_address_is_refused_s33() {
    let (world, mut host) = shared();
    let ticket = host.ticket();
    let address = host.address();
    host.stop();
    let dir = world.mkdir("other");
    fs::write(dir.join("private"), "x").unwrap();
    let mut other = world.share("other");
    other.stop();
    other.listen_at(address);
    other.start();
    let said = cannot_join(&world, "mo", &ticket);
    assert!(said.contains("key"), "{said}");
    let said = world.user("guest").run(["ls", &ticket]).fails(1);
    assert!(!said.contains("private"), "{said}");
}

/// S33: a ticket's secret belongs to the first joining key that presents it.
#[test]
fn a_ticket_that_another_has_used_is_refused_s33() {
    let (world, host) = shared();
    let joiner = world.join("mo", &host.ticket());
    let said = cannot_join(&world, "eve", &host.ticket());
    assert!(said.contains("ticket") || said.contains("paired"), "{said}");
    let file = joiner.sees("file", 100_000);
    assert!(fs::read(file).unwrap() == pattern(1, 0, 100_000));
}

/// Mount points that can't be, and the one that is made.
#[test]
fn a_bad_mount_point_is_refused() {
    let (world, host) = shared();
    let ticket = host.ticket();
    let user = world.user("mo");
    let store = world.path("store");
    let file = world.path("a-file");
    fs::write(&file, "x").unwrap();
    let full = world.mkdir("full");
    fs::write(full.join("mine"), "x").unwrap();
    for (point, word) in [
        (&file, "not a directory"),
        (&file.join("below"), "not a directory"),
        (&full, "not empty"),
        (&host.dir.join("inside"), "inside"),
        (&world.path(""), "inside"),
    ] {
        let said = join(&user, &ticket, point, &store).fails(1);
        assert!(
            said.contains(word) && said.contains(point.to_str().unwrap().trim_end_matches('/')),
            "{word:?} was wanted: {said}"
        );
        assert_eq!(world.mounts(), []);
    }
    assert_eq!(fs::read(full.join("mine")).unwrap(), b"x");
    assert!(
        !host.dir.join("inside").exists(),
        "a mount point was made in the shared folder"
    );
    let sharing = [OsStr::new("share"), full.as_os_str()];
    let mut joiner = world.join_as(user.clone(), "mo", &ticket);
    assert!(joiner.mnt.is_dir(), "a missing mount point is made");

    // Served by a running program; and a folder inside a mount of ours.
    let said = join(
        &world.user("zoe"),
        &ticket,
        &joiner.mnt,
        &world.path("zoe-store"),
    )
    .fails(1);
    assert!(said.contains("busy"), "{said}");
    let said = user
        .run([OsStr::new("share"), joiner.mnt.as_os_str()])
        .fails(1);
    assert!(said.contains("inside"), "{said}");
    let inside = [joiner.mnt.join("store"), joiner.mnt.clone()];
    for store in inside {
        join(&world.user("zoe"), &ticket, &world.path("zoe-mnt"), &store).fails(1);
    }
    joiner.stop();
    let mut running = user.start(sharing);
    assert!(!running.line(SOON).is_empty());
    assert_eq!(running.stop().code(), Some(0));
}

/// Somebody else's mount is an error; it stays as it is.
#[test]
fn a_busy_mount_point_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    }
    let (world, host) = shared();
    let busy = world.mkdir("busy");
    mount("none", &busy, "tmpfs", MountFlags::empty(), None).unwrap();
    let said = join(
        &world.user("mo"),
        &host.ticket(),
        &busy,
        &world.path("store"),
    )
    .fails(1);
    assert!(said.contains("busy") && said.contains("tmpfs"), "{said}");
    assert_eq!(world.mounts().len(), 1);
    world.run(Command::new("umount").arg(&busy)).ok();
}

/// S24, S27: the mount of a joiner that was killed is cleared by the next.
#[test]
fn a_stale_mount_is_cleared_s27() {
    let (world, host) = shared();
    let mut joiner = world.join("mo", &host.ticket());
    joiner.kill();
    assert_eq!(
        world.mounts().len(),
        1,
        "the mount of a killed program stays, and is stale"
    );
    assert!(fs::metadata(&joiner.mnt).is_err());
    joiner.restart();
    assert_eq!(world.mounts().len(), 1);
    assert!(fs::read(joiner.path("file")).unwrap() == pattern(1, 0, 100_000));
    joiner.stop();
    assert_eq!(world.mounts(), []);
}

/// A folder is served by one program.
#[test]
fn a_folder_already_served_is_refused() {
    let (world, host) = shared();
    let dir = host.dir.as_os_str();
    for user in [&host.user, &world.user("other")] {
        let said = user.run([OsStr::new("share"), dir]).fails(1);
        let mend = format!("tandem stop {}", host.dir.display());
        assert!(said.contains(&mend), "{said}");
    }
    host.status();
}

/// Stores that can't be: a file, and what would be shared again as it fills.
#[test]
fn a_bad_store_is_refused() {
    let (world, host) = shared();
    let file = world.path("a-file");
    fs::write(&file, "x").unwrap();
    for (store, word) in [
        (&file, "not a directory"),
        (&host.dir.join("store"), "inside"),
        (&host.dir.join("not/yet/there"), "inside"),
    ] {
        let mnt = world.path("mnt");
        let said = join(&world.user("mo"), &host.ticket(), &mnt, store).fails(1);
        let is_said = said.contains(word) && said.contains(store.to_str().unwrap());
        assert!(is_said, "{word:?} was wanted: {said}");
    }
    assert_eq!(world.mounts(), []);
    assert_eq!(fs::read(&file).unwrap(), b"x");
    assert!(!host.dir.join("store").exists() && !host.dir.join("not").exists());
}

/// A share's own directory holds its key: whoever shared that would give it away.
#[test]
fn what_is_tandems_own_is_not_shared() {
    let (world, host) = shared();
    for own in [".tandem", ".tandem/trash"] {
        let dir = host.dir.join(own);
        fs::create_dir_all(&dir).unwrap();
        let user = world.user("ada");
        let said = user.run([OsStr::new("share"), dir.as_os_str()]).fails(1);
        assert!(said.contains("tandem itself"), "{said}");
        assert!(!dir.join(".tandem").exists());
    }
}

/// A ticket without a mount point is no mount point: its secret is not shown.
#[test]
fn a_ticket_alone_mounts_nothing_and_is_not_shown() {
    let (world, host) = shared();
    let ticket = host.ticket();
    for ticket in [&ticket, &ticket[..ticket.len() - 3]] {
        let said = world.user("mo").run(["join", ticket]).fails(2);
        assert!(said.contains("where to mount"), "{said}");
        assert!(!said.contains(&ticket[20..]), "{said}");
    }
}

/// A machine without FUSE: said before anything is done.
#[test]
fn no_fuse_device_is_said() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: hiding /dev/fuse needs root");
        return;
    }
    let (world, host) = shared();
    let user = world.user("mo");
    let hide = "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", hide, env!("CARGO_BIN_EXE_tandem"), "join"]);
    command
        .arg(host.ticket())
        .arg(world.path("mnt"))
        .arg("--store")
        .arg(world.path("store"));
    user.dress(&mut command);
    let said = world.run(&mut command).fails(1);
    assert!(said.contains("/dev/fuse"), "{said}");
    assert_eq!(world.mounts(), []);
}

/// P1: a full disk ends in errors, never in wrong bytes: a line from `get`, `EIO` on the mount,
/// which goes on with what is there and with what fits.
#[test]
fn a_full_disk_is_said() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    }
    let (world, host) = shared();
    let size = 64 * CHUNK;
    write_file(&host.dir.join("large"), 2, size);
    let small = world.mkdir("mo-store");
    mount(
        "none",
        &small,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=8m"),
    )
    .unwrap();
    let user = world.user("mo").with("TANDEM_READ_DEADLINE", "5s");
    let mut joiner = world.join_as(user, "mo", &host.ticket());
    let path = joiner.sees("large", size);
    let file = File::open(&path).unwrap();
    let mut failed = 0;
    for chunk in 0..64 {
        let mut bytes = vec![0; usize::try_from(CHUNK).unwrap()];
        match file.read_exact_at(&mut bytes, chunk * CHUNK) {
            Ok(()) => assert!(bytes == pattern(2, chunk * CHUNK, bytes.len())),
            Err(error) => {
                let code = Errno::from_io_error(&error);
                assert!(
                    [Some(Errno::IO), Some(Errno::NOSPC)].contains(&code),
                    "{error}"
                );
                failed += 1;
                if failed > 2 {
                    break;
                }
            }
        }
    }
    assert!(failed > 0, "32 MiB went into 8");
    assert!(joiner.err().contains("space"), "{}", joiner.err());
    joiner.status();
    drop(file);
    // What can't be written down is said as well.
    joiner.end();
    let small = world.mkdir("small");
    mount(
        "none",
        &small,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=8m"),
    )
    .unwrap();
    let args = [
        "get",
        &host.ticket(),
        "large",
        "-o",
        small.to_str().unwrap(),
    ];
    let said = world.user("guest").run(args).fails(1);
    assert!(said.contains("no space left"), "{said}");
    assert!(!small.join("large").exists());
}

/// Usage errors are told apart: exit code 2.
#[test]
fn wrong_usage_is_exit_code_2() {
    let world = World::new();
    let user = world.user("mo");
    for args in [
        &["share"][..],
        &["join"],
        &["get"],
        &["nonsense"],
        &["share", "x", "--nonsense"],
        &["status", "--nonsense"],
        &[],
    ] {
        user.run(args).fails(2);
    }
    user.run(["--help"]).ok();
    user.run(["--version"]).ok();
}

/// What is not there, or not running, is said.
#[test]
fn what_is_not_there_is_said() {
    let (world, host) = shared();
    let user = world.user("mo");
    let missing = world.path("missing");
    for args in [
        [OsStr::new("share"), missing.as_os_str()],
        [OsStr::new("status"), missing.as_os_str()],
        [OsStr::new("stop"), missing.as_os_str()],
        [OsStr::new("join"), missing.as_os_str()],
        [OsStr::new("bitmap"), missing.as_os_str()],
    ] {
        let said = user.run(args).fails(1);
        assert!(said.contains(missing.to_str().unwrap()), "{said}");
    }
    let said = user.run(["get", &host.ticket(), "missing"]).fails(1);
    assert!(said.contains("missing"), "{said}");
    let said = user.run(["ls", &host.ticket(), "missing"]).fails(1);
    assert!(said.contains("missing"), "{said}");
    let file = host.dir.join("file");
    let said = user.run([OsStr::new("share"), file.as_os_str()]).fails(1);
    assert!(said.contains("directory"), "{said}");
}

/// The harness itself: a mount whose program has stopped answering is aborted by the watchdog,
/// which frees whoever waits on it, and is over in time.
#[test]
fn the_watchdog_frees_who_waits_on_a_mount() {
    let (world, mut host) = shared();
    let user = world.user("mo").with("TANDEM_READ_DEADLINE", "600s");
    let joiner = world.join_as(user, "mo", &host.ticket());
    let path = joiner.sees("file", 100_000);
    host.kill();
    // A second dog, with a short patience, over the same mounts.
    let dog = Watchdog::start(&world.path(""), Duration::from_secs(1));
    let read = fs::read(&path);
    assert!(read.is_err(), "{read:?}");
    until("nothing is mounted", || {
        world.mounts().is_empty().then_some(())
    });
    dog.expect_barked();
}
