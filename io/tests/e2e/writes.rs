//! Writing through the mount: what the calls do there, at once, and what stands in the folder of
//! the host a moment later.

use std::fs::{self, File, FileTimes};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags};
use rustix::fs::{mknodat, renameat_with};
use rustix::io::Errno;

use crate::common::pattern::{CHUNK, pattern, write_file, write_part};
use crate::common::tree::{converge, xattrs};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

/// A world with a shared directory that is filled first.
fn shared(fill: impl FnOnce(&Path)) -> (World, Host, Joiner) {
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    fill(&dir);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    (world, host, joiner)
}

fn code<T>(result: std::io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

fn whole(stamp: u64, size: u64) -> Vec<u8> {
    pattern(stamp, 0, usize::try_from(size).unwrap())
}

const SIZE: u64 = 3 * CHUNK + 4_321;

/// Files of all sizes, made, lengthened, written over and cut.
#[test]
fn what_is_written_on_the_mount_stands_in_the_folder() {
    let (_world, host, joiner) = shared(|_| ());
    for (name, size) in [("empty", 0), ("one", 1), ("chunk", CHUNK), ("large", SIZE)] {
        write_file(&joiner.path(name), size, size);
        assert!(
            fs::read(joiner.path(name)).unwrap() == whole(size, size),
            "{name}"
        );
    }
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(joiner.path("log"))
        .unwrap();
    for line in 0..100 {
        writeln!(log, "line {line}").unwrap();
        assert_eq!(
            log.metadata().unwrap().len(),
            fs::metadata(joiner.path("log")).unwrap().len()
        );
    }
    drop(log);
    let file = File::options()
        .read(true)
        .write(true)
        .open(joiner.path("large"))
        .unwrap();
    write_part(&file, 7, CHUNK - 100, 200);
    file.set_len(2 * CHUNK + 5).unwrap();
    file.set_len(SIZE).unwrap();
    let mut expected = whole(SIZE, SIZE);
    let (from, to) = (2 * CHUNK + 5, SIZE);
    expected[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0);
    let at = usize::try_from(CHUNK - 100).unwrap();
    expected[at..at + 200].copy_from_slice(&pattern(7, CHUNK - 100, 200));
    assert!(fs::read(joiner.path("large")).unwrap() == expected);
    drop(file);
    // Made anew, in place.
    fs::write(joiner.path("chunk"), "short").unwrap();
    assert_eq!(fs::read(joiner.path("chunk")).unwrap(), b"short");
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 5);
    assert!(fs::read(host.dir.join("large")).unwrap() == expected);
    let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
    assert_eq!(fs::read_to_string(host.dir.join("log")).unwrap(), log);
}

/// What the host made is written over on the mount: nothing of it that was not written is lost,
/// whether it had been fetched before or not.
#[test]
fn a_file_of_the_host_is_written_over_piece_by_piece() {
    let (_world, host, joiner) = shared(|dir| {
        for name in ["absent", "partly", "here"] {
            write_file(&dir.join(name), 1, SIZE);
        }
    });
    fs::read(joiner.sees("here", SIZE)).unwrap();
    let mut head = [0; 16];
    File::open(joiner.path("partly"))
        .unwrap()
        .read_exact(&mut head)
        .unwrap();
    let mut expected = whole(1, SIZE);
    for (at, len) in [(5, 10), (CHUNK - 5, 10), (SIZE - 3, 3)] {
        for name in ["absent", "partly", "here"] {
            let file = File::options().write(true).open(joiner.path(name)).unwrap();
            write_part(&file, 2, at, len);
        }
        let from = usize::try_from(at).unwrap();
        expected[from..from + len].copy_from_slice(&pattern(2, at, len));
    }
    for name in ["absent", "partly", "here"] {
        assert!(fs::read(joiner.path(name)).unwrap() == expected, "{name}");
        until(&format!("{name} stands in the folder"), || {
            (fs::read(host.dir.join(name)).unwrap() == expected).then_some(())
        });
    }
    converge(&host.dir, &joiner.mnt);
}

/// Directories and names: each call's result, and its errors.
#[test]
fn names_are_made_moved_and_removed() {
    let (_world, host, joiner) = shared(|dir| {
        fs::create_dir_all(dir.join("old/deep")).unwrap();
        fs::write(dir.join("old/deep/file"), "deep").unwrap();
        fs::write(dir.join("a"), "a").unwrap();
        fs::write(dir.join("b"), "b").unwrap();
    });
    let at = |name: &str| joiner.path(name);
    let links = fs::metadata(&joiner.mnt).unwrap().nlink();
    fs::create_dir(at("sub")).unwrap();
    assert_eq!(fs::metadata(&joiner.mnt).unwrap().nlink(), links + 1);
    assert_eq!(code(fs::create_dir(at("sub"))), Some(Errno::EXIST));
    assert_eq!(code(fs::remove_dir(at("old"))), Some(Errno::NOTEMPTY));
    assert_eq!(code(fs::remove_file(at("none"))), Some(Errno::NOENT));
    assert_eq!(code(fs::remove_dir(at("a"))), Some(Errno::NOTDIR));
    assert_eq!(code(fs::remove_file(at("old"))), Some(Errno::ISDIR));
    assert_eq!(code(fs::write(at("a/x"), "x")), Some(Errno::NOTDIR));
    let long = "x".repeat(256);
    assert_eq!(code(fs::write(at(&long), "x")), Some(Errno::NAMETOOLONG));
    let reserved = File::create(at("sub/.tandem"));
    assert!(reserved.is_err(), "nobody may make that");

    // Over another, beside it, and in its place.
    let rename = |from: &str, to: &str, flags| renameat_with(CWD, at(from), CWD, at(to), flags);
    assert_eq!(rename("a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename("a", "b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(at("a")).unwrap(), b"b");
    assert_eq!(fs::read(at("b")).unwrap(), b"a");
    assert_eq!(
        rename("a", "none", RenameFlags::EXCHANGE),
        Err(Errno::NOENT)
    );
    let whiteout = rename("a", "c", RenameFlags::WHITEOUT);
    assert_eq!(whiteout, Err(Errno::INVAL));
    rename("a", "c", RenameFlags::NOREPLACE).unwrap();
    fs::rename(at("c"), at("b")).unwrap();
    assert_eq!(fs::read(at("b")).unwrap(), b"b");
    // Directories: into another, over an empty one, not over a full one nor into themselves.
    fs::rename(at("old"), at("sub/old")).unwrap();
    assert_eq!(fs::read(at("sub/old/deep/file")).unwrap(), b"deep");
    assert_eq!(
        code(fs::rename(at("sub"), at("sub/old/x"))),
        Some(Errno::INVAL)
    );
    fs::create_dir(at("empty")).unwrap();
    assert_eq!(code(fs::rename(at("b"), at("empty"))), Some(Errno::ISDIR));
    assert_eq!(code(fs::rename(at("empty"), at("b"))), Some(Errno::NOTDIR));
    assert_eq!(
        code(fs::rename(at("empty"), at("sub"))),
        Some(Errno::NOTEMPTY)
    );
    fs::rename(at("sub/old"), at("empty")).unwrap();
    fs::remove_dir(at("sub")).unwrap();
    fs::create_dir_all(at("x/y/z")).unwrap();
    fs::write(at("x/y/z/file"), "z").unwrap();
    fs::remove_dir_all(at("x")).unwrap();
    assert_eq!(fs::metadata(&joiner.mnt).unwrap().nlink(), links);
    let tree = converge(&host.dir, &joiner.mnt);
    let names: Vec<_> = tree.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["b", "empty", "empty/deep", "empty/deep/file"]);
}

#[test]
fn links_are_made_and_go_one_by_one() {
    let (_world, host, joiner) = shared(|dir| fs::write(dir.join("one"), "first").unwrap());
    let at = |name: &str| joiner.path(name);
    symlink("nowhere/at all", at("soft")).unwrap();
    assert_eq!(
        fs::read_link(at("soft")).unwrap(),
        Path::new("nowhere/at all")
    );
    fs::hard_link(at("one"), at("two")).unwrap();
    assert_eq!(
        code(fs::hard_link(at("one"), at("two"))),
        Some(Errno::EXIST)
    );
    let seen = ["one", "two"].map(|name| fs::metadata(at(name)).unwrap());
    assert_eq!(seen[0].ino(), seen[1].ino());
    assert!(seen.iter().all(|seen| seen.nlink() == 2));
    fs::write(at("two"), "second").unwrap();
    assert_eq!(fs::read(at("one")).unwrap(), b"second");
    converge(&host.dir, &joiner.mnt);
    assert_eq!(
        fs::metadata(host.dir.join("one")).unwrap().ino(),
        fs::metadata(host.dir.join("two")).unwrap().ino()
    );
    fs::remove_file(at("one")).unwrap();
    assert_eq!(fs::metadata(at("two")).unwrap().nlink(), 1);
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 2);
    // What can't be shared can't be made.
    let fifo = Command::new("mkfifo").arg(at("fifo")).output().unwrap();
    assert!(!fifo.status.success());
}

/// S20: made with mode 0444 and written through the same handle; modes, times and attributes
/// kept; the umask applied once.
#[test]
fn attributes_are_kept_s20() {
    let (world, host, joiner) = shared(|dir| fs::write(dir.join("theirs"), "x").unwrap());
    let at = |name: &str| joiner.path(name);
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
    let mut sealed = File::options()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(at("sealed"))
        .unwrap();
    sealed.write_all(b"written all the same").unwrap();
    drop(sealed);
    assert_eq!(mode("sealed"), 0o444);
    assert_eq!(fs::read(at("sealed")).unwrap(), b"written all the same");
    let script = "umask 027; cd \"$0\" && : > made && mkdir dir && umask 0 && : > open";
    world
        .run(Command::new("sh").arg("-c").arg(script).arg(&joiner.mnt))
        .ok();
    assert_eq!(
        (mode("made"), mode("dir"), mode("open")),
        (0o640, 0o750, 0o666)
    );
    for (name, bits) in [("theirs", 0o751), ("dir", 0o700), ("made", 0o000)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(bits)).unwrap();
        assert_eq!(mode(name), bits);
    }
    fs::set_permissions(at("made"), fs::Permissions::from_mode(0o600)).unwrap();
    // Set-id bits are the mount's to show, not a peer's to have.
    let past = UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    for name in ["theirs", "made"] {
        let times = FileTimes::new().set_modified(past).set_accessed(past);
        File::options()
            .write(true)
            .open(at(name))
            .unwrap()
            .set_times(times)
            .unwrap();
        assert_eq!(fs::metadata(at(name)).unwrap().modified().unwrap(), past);
    }
    // Written again, it is of now again.
    fs::write(at("made"), "again").unwrap();
    assert!(fs::metadata(at("made")).unwrap().modified().unwrap() > past);
    let theirs = at("theirs");
    let set = |name: &str, value: &[u8], how| rustix::fs::setxattr(&theirs, name, value, how);
    set("user.one", b"1", XattrFlags::empty()).unwrap();
    set("user.two", b"2", XattrFlags::CREATE).unwrap();
    assert_eq!(set("user.two", b"x", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(
        set("user.three", b"x", XattrFlags::REPLACE),
        Err(Errno::NODATA)
    );
    set("user.two", b"two\0\xff", XattrFlags::REPLACE).unwrap();
    assert_eq!(
        set("trusted.x", b"x", XattrFlags::empty()),
        Err(Errno::OPNOTSUPP)
    );
    rustix::fs::removexattr(&theirs, "user.one").unwrap();
    assert_eq!(
        rustix::fs::removexattr(&theirs, "user.one"),
        Err(Errno::NODATA)
    );
    let kept = xattrs(&theirs).unwrap();
    assert_eq!(
        kept.into_iter().collect::<Vec<_>>(),
        [(b"user.two".to_vec(), b"two\0\xff".to_vec())]
    );
    converge(&host.dir, &joiner.mnt);
    // Owners are numbers, shown as given where root mounts, and set in no folder unasked.
    if rustix::process::geteuid().is_root() {
        chown(at("made"), Some(12), Some(34)).unwrap();
        let seen = fs::metadata(at("made")).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (12, 34));
        let made = fs::metadata(host.dir.join("made")).unwrap();
        assert_eq!(made.uid(), 0);
    }
}

/// P7: what is open stays readable and writable, whatever becomes of its name.
#[test]
fn an_open_file_outlives_its_name() {
    let (_world, host, joiner) = shared(|dir| write_file(&dir.join("theirs"), 1, SIZE));
    let at = |name: &str| joiner.path(name);
    joiner.sees("theirs", SIZE);
    let options = || File::options().read(true).write(true).clone();
    let mut made = options().create(true).open(at("made")).unwrap();
    let theirs = options().open(at("theirs")).unwrap();
    made.write_all(b"before").unwrap();
    fs::remove_file(at("made")).unwrap();
    fs::write(at("other"), "other").unwrap();
    fs::rename(at("other"), at("theirs")).unwrap();
    assert_eq!(fs::read(at("theirs")).unwrap(), b"other");
    assert_eq!(made.metadata().unwrap().nlink(), 0);
    made.write_all(b" and after").unwrap();
    made.rewind().unwrap();
    let mut read = String::new();
    made.read_to_string(&mut read).unwrap();
    assert_eq!(read, "before and after");
    write_part(&theirs, 2, 10, 100);
    let mut bytes = vec![0; 200];
    theirs.read_exact_at(&mut bytes, 10).unwrap();
    assert!(bytes[..100] == pattern(2, 10, 100) && bytes[100..] == pattern(1, 110, 100));
    drop((made, theirs));
    let tree = converge(&host.dir, &joiner.mnt);
    assert_eq!(tree.len(), 1);
}

/// Calls that programs make besides.
#[test]
fn programs_find_what_they_need() {
    let (world, host, joiner) = shared(|dir| write_file(&dir.join("src"), 1, SIZE));
    let at = |name: &str| joiner.path(name);
    joiner.sees("src", SIZE);
    // A hole, and the end of a file from behind.
    let mut file = File::create(at("holes")).unwrap();
    file.seek(SeekFrom::Start(CHUNK + 7)).unwrap();
    file.write_all(b"end").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    let room = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 20);
    assert_eq!(room, Err(Errno::OPNOTSUPP), "what can't be promised is not");
    drop(file);
    File::open(&joiner.mnt).unwrap().sync_all().unwrap();
    let read = fs::read(at("holes")).unwrap();
    assert!(read.iter().take(read.len() - 3).all(|&byte| byte == 0) && read.ends_with(b"end"));
    for script in [
        "cp src copy && cmp src copy",
        "cp --reflink=never -a src again && cmp src again",
        "dd if=src of=odd bs=7777 conv=fsync 2>/dev/null && cmp src odd",
        "mkdir t && tar cf - src copy | tar xf - -C t && cmp t/copy src",
        "sed -i 's/end/END/' holes && tail -c 3 holes | grep -q END",
        "mv copy t/copy && rm -r t && ! ls t 2>/dev/null",
        "truncate -s 5 odd && printf x >> odd && [ $(stat -c %s odd) = 6 ]",
        "touch -d '2001-02-03 04:05:06 UTC' again && [ $(stat -c %Y again) = 981173106 ]",
        "touch new && [ -e new ] && [ ! -s new ]",
    ] {
        let mut command = Command::new("sh");
        world
            .run(
                command
                    .arg("-ec")
                    .arg(format!("cd \"$0\"; {script}"))
                    .arg(&joiner.mnt),
            )
            .ok();
    }
    converge(&host.dir, &joiner.mnt);
    assert!(fs::read(host.dir.join("again")).unwrap() == whole(1, SIZE));
}

/// Offline everything is made at once, and stands in the folder when the host is back.
#[test]
fn what_is_written_offline_comes_later() {
    let (_world, mut host, mut joiner) = shared(|dir| {
        write_file(&dir.join("absent"), 1, SIZE);
        write_file(&dir.join("here"), 1, SIZE);
        fs::create_dir(dir.join("sub")).unwrap();
    });
    let at = |name: &str| joiner.path(name);
    fs::read(joiner.sees("here", SIZE)).unwrap();
    host.stop();
    for name in ["absent", "here"] {
        let file = File::options().write(true).open(at(name)).unwrap();
        // A page, since the kernel asks for no less.
        write_part(&file, 2, 4_096, 4_096);
        file.sync_all().unwrap();
    }
    write_file(&at("sub/new"), 3, SIZE);
    fs::rename(at("sub"), at("moved")).unwrap();
    let read = fs::read(at("here")).unwrap();
    let mut expected = whole(1, SIZE);
    expected[4_096..8_192].copy_from_slice(&pattern(2, 4_096, 4_096));
    assert!(read == expected);
    // What was written is there; the rest of it is nobody's guess.
    let mut bytes = vec![0; 4_096];
    let absent = File::open(at("absent")).unwrap();
    absent.read_exact_at(&mut bytes, 4_096).unwrap();
    assert!(bytes == pattern(2, 4_096, 4_096));
    drop(absent);
    // Across a restart, too.
    joiner.stop();
    joiner.restart();
    host.start();
    converge(&host.dir, &joiner.mnt);
    for name in ["absent", "here"] {
        assert!(fs::read(host.dir.join(name)).unwrap() == expected, "{name}");
    }
    assert!(fs::read(host.dir.join("moved/new")).unwrap() == whole(3, SIZE));
}

/// A pipe is of the host's machine alone: a peer's file of that name was shown and stood nowhere,
/// and a directory with one in it, which a peer removed, was never the same again on both.
#[test]
fn a_pipe_of_the_host_stays_where_it_is() {
    let (_world, host, joiner) = shared(|dir| {
        fs::create_dir(dir.join("d")).unwrap();
        for pipe in ["pipe", "d/pipe"] {
            mknodat(CWD, dir.join(pipe), FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        fs::write(dir.join("d/file"), "x").unwrap();
    });
    joiner.sees("d/file", 1);
    assert!(!joiner.path("pipe").exists());
    fs::write(joiner.path("pipe"), "mine").unwrap();
    fs::remove_file(joiner.path("d/file")).unwrap();
    fs::remove_dir(joiner.path("d")).unwrap();
    let beside = until("the file stands beside the pipe", || {
        let names = fs::read_dir(&host.dir).unwrap().flatten();
        let mut names = names.map(|item| item.file_name().into_string().unwrap());
        names.find(|name| name.starts_with("pipe (conflict from "))
    });
    assert_eq!(fs::read(host.dir.join(&beside)).unwrap(), b"mine");
    until("the mount shows what the folder has", || {
        let names = fs::read_dir(&joiner.mnt).unwrap().flatten();
        let mut names: Vec<_> = names.map(|item| item.file_name()).collect();
        names.sort();
        (names == ["d", &beside]).then_some(())
    });
    assert!(!host.dir.join("d/file").exists());
    for pipe in ["pipe", "d/pipe"] {
        let there = fs::symlink_metadata(host.dir.join(pipe)).unwrap();
        assert!(there.file_type().is_fifo(), "{pipe}");
    }
}

/// A peer may take a set-id bit from a file of the host, and give it none.
#[test]
fn a_set_id_bit_is_taken_by_a_peer_and_not_given() {
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let (_world, host, joiner) = shared(|dir| {
        for (name, mode) in [("taken", 0o4755), ("given", 0o755)] {
            fs::write(dir.join(name), "x").unwrap();
            chmod(&dir.join(name), mode).unwrap();
        }
    });
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&joiner.sees("taken", 1)), 0o4755);
    chmod(&joiner.path("taken"), 0o755).unwrap();
    chmod(&joiner.path("given"), 0o4750).unwrap();
    until("both are as they may be", || {
        let modes = ["taken", "given"].map(|name| mode(&host.dir.join(name)));
        (modes == [0o755, 0o750]).then_some(())
    });
    assert_eq!(mode(&joiner.path("taken")), 0o755);
}

/// The host's own mount is a mount like others.
#[test]
fn the_host_writes_through_its_own_mount() {
    let world = World::taking_changes();
    let (mut host, mnt) = world.share_mounted("dir");
    write_file(&mnt.join("near"), 1, SIZE);
    fs::create_dir(mnt.join("sub")).unwrap();
    fs::write(mnt.join("sub/file"), "x").unwrap();
    let joiner = world.join("mo", &host.ticket());
    write_file(&joiner.path("far"), 2, SIZE);
    write_file(&host.dir.join("plain"), 3, SIZE);
    let tree = converge(&host.dir, &mnt);
    converge(&host.dir, &joiner.mnt);
    until("all is there", || {
        (converge(&host.dir, &mnt).len() == 5).then_some(())
    });
    drop(tree);
    host.stop();
    assert!(fs::read(host.dir.join("near")).unwrap() == whole(1, SIZE));
    assert_eq!(code(fs::read(joiner.path("sub/file"))), None);
    assert!(!host.err().contains("panicked"), "{}", host.err());
}

/// S35: a folder that is shared read-only takes nothing, from anybody.
#[test]
fn a_read_only_share_refuses_every_change_s35() {
    let world = World::taking_changes();
    fs::write(world.mkdir("dir").join("file"), "x").unwrap();
    let host = world.share_with("dir", &["--read-only".as_ref()]);
    let joiner = world.join("mo", &host.ticket());
    let file = joiner.sees("file", 1);
    let tried = [
        fs::write(&file, "y").map_err(|error| error.kind()),
        fs::create_dir(joiner.path("new")).map_err(|error| error.kind()),
        fs::remove_file(&file).map_err(|error| error.kind()),
    ];
    assert_eq!(tried, [Err(ErrorKind::ReadOnlyFilesystem); 3]);
    assert_eq!(fs::read(host.dir.join("file")).unwrap(), b"x");
}

/// A log that both sides append to, the joiner's program through one descriptor that asks nothing in
/// between: its kernel writes where it last knew the end to be. Nothing of either is written over.
#[test]
fn what_is_appended_goes_to_the_end_that_there_is_s13() {
    let (_world, host, joiner) = shared(|dir| fs::write(dir.join("log"), "begun\n").unwrap());
    let path = joiner.sees("log", 6);
    let mut log = File::options().append(true).open(path).unwrap();
    let mut wanted = b"begun\n".to_vec();
    for turn in 0..5 {
        let line = format!("ada's line {turn}\n");
        let mut outside = File::options().append(true).open(host.dir.join("log"));
        outside
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        drop(outside);
        wanted.extend_from_slice(line.as_bytes());
        until("the joiner has heard of it", || {
            (joiner.status().number("bytes") == wanted.len() as u64).then_some(())
        });
        let line = format!("mo's line {turn}\n");
        log.write_all(line.as_bytes()).unwrap();
        wanted.extend_from_slice(line.as_bytes());
        // A quiet second publishes it.
        until("the host has it", || {
            (fs::read(host.dir.join("log")).unwrap() == wanted).then_some(())
        });
    }
    assert!(fs::read(joiner.path("log")).unwrap() == wanted);
    drop(log);
    assert_eq!(converge(&host.dir, &joiner.mnt).len(), 1);
}
