//! The shared folder: what a look, a listing and a read bring, and where they may not go.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use tandem_core::action::Besides;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Nature, Seen, Sighting};
use tandem_core::ids::ChunkHash;
use tandem_core::tree::name::{Name, TargetPath, XattrName};
use tandem_io::disk::folder::Folder;
use tandem_io::payload::Payloads;
use tempfile::TempDir;

use crate::{Mounted, listed, looked, name, path};

#[test]
fn a_listing_shows_what_is_there_but_not_ours() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "hello").unwrap();
    fs::set_permissions(dir.path().join("file"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::hard_link(dir.path().join("file"), dir.path().join("again")).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::create_dir(dir.path().join(".tandem")).unwrap();
    fs::create_dir(dir.path().join(".Tandem")).unwrap();
    symlink("../outside", dir.path().join("link")).unwrap();
    let odd = OsStr::from_bytes(b"caf\xe9\n");
    fs::write(dir.path().join(odd), "").unwrap();
    make_fifo(&dir.path().join("fifo"));

    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&[]));
    assert!(complete);
    let names: BTreeSet<_> = items.iter().map(|(name, _)| name.clone()).collect();
    let expected = [
        &b"file"[..],
        b"again",
        b"sub",
        b"link",
        b"caf\xe9\n",
        b"fifo",
    ];
    assert_eq!(names, expected.into_iter().map(name).collect());

    let file = find(&items, b"file");
    assert_eq!(file.what, Seen::File);
    assert_eq!((file.print.size, file.mode, file.nlink), (5, 0o4640, 2));
    assert_eq!(file, find(&items, b"again"));
    assert_eq!(Some(file), looked(folder.look(&path(&[b"file"]))).as_ref());
    assert_eq!(find(&items, b"sub").what, Seen::Directory);
    assert_eq!(find(&items, b"fifo").what, Seen::Local);
    let target = TargetPath::parse(b"../outside").unwrap();
    assert_eq!(find(&items, b"link").what, Seen::Symlink(target));
}

#[test]
fn a_look_follows_nothing_and_tells_absent_from_unknown() {
    let dir = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    fs::write(dir.path().join("file"), "f").unwrap();
    symlink(outside.path(), dir.path().join("way")).unwrap();
    let folder = Folder::open(dir.path()).unwrap();

    assert_eq!(looked(folder.look(&path(&[b"none"]))), None);
    assert_eq!(looked(folder.look(&path(&[b"none", b"deep"]))), None);
    assert_eq!(looked(folder.look(&[])).unwrap().what, Seen::Directory);
    let wrong = Err(DiskError::WrongKind);
    let beyond = path(&[b"way", b"secret"]);
    assert_eq!(folder.look(&beyond), wrong);
    assert_eq!(folder.look(&path(&[b"file", b"x"])), wrong);
    assert_eq!(folder.list(&path(&[b"way"])), wrong);
    assert_eq!(folder.list(&path(&[b"file"])), wrong);
    assert_eq!(folder.list(&path(&[b"none"])), Err(DiskError::NotFound));
    let payloads = Payloads::default();
    assert_eq!(
        folder.read_chunk(&beyond, 0, 9, Besides::Nothing, &payloads),
        wrong
    );
    let link = path(&[b"way"]);
    assert_eq!(
        folder.read_chunk(&link, 0, 9, Besides::Nothing, &payloads),
        wrong
    );
    assert!(payloads.is_empty());
}

#[test]
fn a_folder_that_is_gone_says_nothing_of_its_files() {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let folder = Folder::open(&inner).unwrap();
    fs::rename(&inner, dir.path().join("renamed")).unwrap();
    fs::write(dir.path().join("renamed/file"), "x").unwrap();
    assert!(looked(folder.look(&path(&[b"file"]))).is_some());
    fs::remove_dir_all(dir.path().join("renamed")).unwrap();
    assert!(folder.look(&path(&[b"file"])).is_err());
    assert!(!matches!(
        folder.list(&[]),
        Ok(DiskDone::Listed { complete: true, .. })
    ));
}

#[test]
fn attributes_of_users_are_read_within_bounds() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    if set(&file, "user.tag", b"blue\0").is_err() {
        eprintln!("skipped: this file system has no user attributes");
        return;
    }
    set(&file, "user.empty", b"").unwrap();
    set(&dir.path().join("sub"), "user.d", b"1").unwrap();
    if rustix::process::geteuid().is_root() {
        set(&file, "trusted.hidden", b"no").unwrap();
    }
    let folder = Folder::open(dir.path()).unwrap();
    let seen = looked(folder.look(&path(&[b"file"]))).unwrap();
    let found: Vec<_> = seen
        .xattrs
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_ref()))
        .collect();
    assert_eq!(
        found,
        [(&b"user.empty"[..], &b""[..]), (b"user.tag", b"blue\0")]
    );
    let seen = looked(folder.look(&path(&[b"sub"]))).unwrap();
    assert_eq!(seen.xattrs.len(), 1);
    assert!(
        seen.xattrs
            .contains_key(&XattrName::parse(b"user.d").unwrap())
    );
}

#[test]
fn a_chunk_comes_with_the_fingerprint_of_its_file() {
    let dir = TempDir::new().unwrap();
    let content: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(dir.path().join("file"), &content).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let payloads = Payloads::default();
    let file = path(&[b"file"]);
    let print = looked(folder.look(&file)).unwrap().print;

    for (offset, len, there) in [(0, 4_096, 4_096), (39_000, 4_096, 1_000), (40_000, 1, 0)] {
        let besides = Besides::Prefix(500);
        let done = folder
            .read_chunk(&file, offset, len, besides, &payloads)
            .unwrap();
        let DiskDone::Chunk {
            payload,
            len,
            hash,
            before,
            after,
            nature,
        } = done
        else {
            panic!("{done:?}");
        };
        let bytes = payloads.take(payload).unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(bytes, content[from..from + there]);
        assert_eq!(usize::try_from(len).unwrap(), there);
        assert_eq!(hash, ChunkHash::of(&bytes));
        let zeros = false;
        let prefix = bytes.get(..500).map(ChunkHash::of);
        assert_eq!(nature, Nature { zeros, prefix });
        assert_eq!((before, after), (print, print));
    }

    // A file of the same size and time that takes the name is another one.
    fs::write(dir.path().join("new"), &content).unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("file")).unwrap();
    let DiskDone::Chunk { before, .. } = folder
        .read_chunk(&file, 0, 1, Besides::Nothing, &payloads)
        .unwrap()
    else {
        panic!("no chunk");
    };
    assert_ne!(before.ino, print.ino);
}

#[test]
fn a_fifo_neither_hangs_nor_is_read() {
    let dir = TempDir::new().unwrap();
    make_fifo(&dir.path().join("fifo"));
    let folder = Folder::open(dir.path()).unwrap();
    let payloads = Payloads::default();
    within(Duration::from_secs(10), move || {
        let wrong = Err(DiskError::WrongKind);
        assert_eq!(
            folder.read_chunk(&path(&[b"fifo"]), 0, 9, Besides::Nothing, &payloads),
            wrong
        );
        assert_eq!(folder.list(&path(&[b"fifo"])), wrong);
    });
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_walked_in_legs() {
    let dir = TempDir::new().unwrap();
    let long = [b'd'; 250];
    let mut at = rustix::fs::open(dir.path(), dir_flags(), Mode::empty()).unwrap();
    let mut names = Vec::new();
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &long[..], Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &long[..], dir_flags(), Mode::empty()).unwrap();
        names.push(name(&long));
    }
    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&names));
    assert!(items.is_empty() && complete);
    assert_eq!(looked(folder.look(&names)).unwrap().what, Seen::Directory);
}

#[test]
fn another_file_system_is_local_and_not_entered() {
    let dir = TempDir::new().unwrap();
    let Some(mounted) = Mounted::tmpfs(dir.path().join("other"), "1m") else {
        return;
    };
    fs::write(mounted.0.join("inside"), "x").unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let (items, complete) = listed(folder.list(&[]));
    assert!(complete);
    assert_eq!(find(&items, b"other").what, Seen::Local);
    let wrong = Err(DiskError::WrongKind);
    assert_eq!(folder.list(&path(&[b"other"])), wrong);
    assert_eq!(folder.look(&path(&[b"other", b"inside"])), wrong);
}

/// Fails if it takes longer.
fn within(limit: Duration, what: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        what();
        done.send(()).unwrap();
    });
    let ended = ended.recv_timeout(limit);
    assert_ne!(
        ended,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "it hangs"
    );
    thread.join().unwrap();
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn dir_flags() -> rustix::fs::OFlags {
    rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY
}

fn find<'a>(items: &'a [(Name, Sighting)], bytes: &[u8]) -> &'a Sighting {
    let item = items.iter().find(|(name, _)| name.as_bytes() == bytes);
    &item.unwrap().1
}
