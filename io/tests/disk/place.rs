//! Changes to the shared folder: what each wish does, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use tandem_core::action::DiskWish;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Sighting};
use tandem_core::ids::{JobId, NodeId};
use tandem_core::place_wish::{Dress, FileKey, PlaceWish, Ready, Whereabouts};
use tandem_core::time::WallTime;
use tandem_core::tree::name::TargetPath;
use tandem_core::tree::register::Xattrs;
use tandem_io::disk::folder::Folder;
use tandem_io::disk::pool::Disk;
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tempfile::TempDir;

use crate::{Heard, looked, object, open, path};

/// A shared folder, and the disk that changes it.
pub(crate) struct Share {
    dir: TempDir,
    disk: Disk,
    heard: Arc<Heard>,
    folder: Arc<Folder>,
    /// The next job's number, and how many there were.
    jobs: std::cell::Cell<(u64, usize)>,
}

pub(crate) fn share() -> Share {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join(".tandem");
    fs::create_dir(&home).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let folder = Arc::new(folder.placing_by(&home).unwrap());
    let heard = Arc::new(Heard::default());
    let (metadata, _) = open(&home);
    let disk = Disk::start(
        Some(Arc::clone(&folder)),
        None,
        metadata,
        Arc::clone(&heard) as Arc<dyn Sink>,
        Arc::new(Payloads::default()),
        2,
    )
    .unwrap();
    let jobs = std::cell::Cell::new((0, 0));
    Share {
        dir,
        disk,
        heard,
        folder,
        jobs,
    }
}

impl Share {
    pub(crate) fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn place(&self, wish: PlaceWish) -> Result<DiskDone, DiskError> {
        self.perform(DiskWish::Place(wish))
    }

    pub(crate) fn perform(&self, wish: DiskWish) -> Result<DiskDone, DiskError> {
        let (job, before) = self.jobs.get();
        let count = before + 1;
        self.jobs.set((job + 1, count));
        self.disk.perform(JobId(job), wish);
        let last = self.heard.disk(count).pop();
        last.unwrap_or_else(|| panic!("{count} jobs were waited for"))
    }

    pub(crate) fn print(&self, names: &[&[u8]]) -> Fingerprint {
        looked(self.folder.look(&path(names))).unwrap().print
    }

    /// Makes an object of these bytes ready.
    fn ready(&self, nr: u64, bytes: &[u8]) -> Sighting {
        let name = format!("{:016x}-{nr:016x}-{:016x}-{nr:016x}", 0xfeed, 0xfeed);
        fs::write(self.at(".tandem/partial").join(name), bytes).unwrap();
        let ready = Ready {
            object: object(nr, nr),
            size: bytes.len() as u64,
            dress: dress(0o640),
        };
        match self.place(PlaceWish::Prepare { files: vec![ready] }) {
            Ok(DiskDone::Prepared(mut done)) => done.pop().unwrap().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn put(&self, nr: u64, name: &[u8], over: Option<Fingerprint>) -> Result<DiskDone, DiskError> {
        let key = self.key_of_ready(nr);
        self.put_key(nr, key, name, over)
    }

    fn key_of_ready(&self, nr: u64) -> FileKey {
        let name = format!("{:016x}-{nr:016x}-{:016x}-{nr:016x}", 0xfeed, 0xfeed);
        let found = fs::metadata(self.at(".tandem/partial").join(name)).unwrap();
        let born = found.created().unwrap();
        let born = born.duration_since(std::time::UNIX_EPOCH).unwrap();
        FileKey {
            ino: found.ino(),
            born_ns: i64::try_from(born.as_nanos()).unwrap(),
        }
    }

    fn put_key(
        &self,
        nr: u64,
        key: FileKey,
        name: &[u8],
        over: Option<Fingerprint>,
    ) -> Result<DiskDone, DiskError> {
        self.place(PlaceWish::Put {
            object: object(nr, nr),
            key,
            to: whereabouts(&[name]),
            over,
        })
    }

    fn trash(&self) -> Vec<Vec<u8>> {
        let items = fs::read_dir(self.at(".tandem/trash")).unwrap();
        items
            .map(|item| fs::read(item.unwrap().path()).unwrap())
            .collect()
    }
}

fn dress(mode: u16) -> Dress {
    Dress {
        mode,
        owner: None,
        mtime: Some(WallTime {
            secs: 1_500_000_000,
            nanos: 7,
        }),
        xattrs: Xattrs::new(),
    }
}

pub(crate) fn whereabouts(names: &[&[u8]]) -> Whereabouts {
    Whereabouts {
        parked: None,
        names: path(names),
        parent: None,
    }
}

fn mtime(path: &Path) -> (i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mtime(), found.mtime_nsec())
}

#[test]
fn a_file_is_put_where_nothing_stands_and_nowhere_else() {
    let share = share();
    let ready = share.ready(1, b"whole");
    let put = looked(share.put(1, b"a", None)).unwrap();
    assert_eq!(FileKey::from(&put.print), FileKey::from(&ready.print));
    assert_eq!(fs::read(share.at("a")).unwrap(), b"whole");
    assert_eq!(mtime(&share.at("a")), (1_500_000_000, 7));
    let mode = fs::metadata(share.at("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    // Again, as after a kill.
    let key = FileKey::from(&put.print);
    assert_eq!(
        looked(share.put_key(1, key, b"a", None)).unwrap().print,
        put.print
    );
    share.ready(2, b"other");
    assert_eq!(share.put(2, b"a", None), Err(DiskError::Exists));
    assert_eq!(fs::read(share.at("a")).unwrap(), b"whole");
}

#[test]
fn a_file_replaces_the_one_that_is_expected_and_no_other() {
    let share = share();
    fs::write(share.at("a"), "old").unwrap();
    let old = share.print(&[b"a"]);
    share.ready(1, b"new");
    fs::write(share.at("a"), "edited").unwrap();
    assert_eq!(share.put(1, b"a", Some(old)), Err(DiskError::Changed));
    assert_eq!(fs::read(share.at("a")).unwrap(), b"edited");
    assert_eq!(share.trash(), Vec::<Vec<u8>>::new());
    let edited = share.print(&[b"a"]);
    looked(share.put(1, b"a", Some(edited))).unwrap();
    assert_eq!(fs::read(share.at("a")).unwrap(), b"new");
    assert_eq!(share.trash(), [b"edited"]);
}

#[test]
fn what_a_kill_left_between_exchange_and_compare_is_compared_after() {
    let share = share();
    fs::write(share.at("a"), "old").unwrap();
    let old = share.print(&[b"a"]);
    let ready = share.ready(1, b"new");
    let key = FileKey::from(&ready.print);
    // An edit that nobody has seen, and the exchange; then the kill.
    fs::write(share.at("a"), "edited").unwrap();
    let name = format!("{0:016x}-{1:016x}-{0:016x}-{1:016x}", 0xfeed, 1);
    let partial = share.at(".tandem/partial").join(name);
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &partial,
        rustix::fs::CWD,
        share.at("a"),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    assert_eq!(
        share.put_key(1, key, b"a", Some(old)),
        Err(DiskError::Changed)
    );
    assert_eq!(fs::read(share.at("a")).unwrap(), b"edited");
    assert_eq!(fs::read(&partial).unwrap(), b"new");
}

#[test]
fn a_directory_that_was_moved_is_not_mistaken_for_another() {
    let share = share();
    fs::create_dir(share.at("d")).unwrap();
    let key = FileKey::from(&share.print(&[b"d"]));
    fs::rename(share.at("d"), share.at("e")).unwrap();
    fs::create_dir(share.at("d")).unwrap();
    let mut at = whereabouts(&[b"d", b"new"]);
    at.parent = Some(key);
    let dress = dress(0o755);
    let made = share.place(PlaceWish::MakeDirectory { at, dress });
    assert_eq!(made, Err(DiskError::Changed));
    assert_eq!(fs::read_dir(share.at("d")).unwrap().count(), 0);
}

#[test]
fn names_move_out_of_the_way_and_back() {
    let share = share();
    fs::create_dir(share.at("d")).unwrap();
    fs::write(share.at("d/f"), "f").unwrap();
    let key = FileKey::from(&share.print(&[b"d"]));
    let node = NodeId(object(5, 5).node.0);
    let parked = |names: &[&[u8]]| Whereabouts {
        parked: Some(node),
        names: path(names),
        parent: None,
    };
    let wish = |from, to, key| PlaceWish::Move {
        from,
        key,
        expect: None,
        to,
    };
    looked(share.place(wish(whereabouts(&[b"d"]), parked(&[]), key))).unwrap();
    assert!(!share.at("d").exists());
    let found = share.place(PlaceWish::Look {
        at: parked(&[b"f"]),
    });
    let file = FileKey::from(&looked(found).unwrap().print);
    let Ok(DiskDone::Listed { this, items, .. }) = share.place(PlaceWish::List { at: parked(&[]) })
    else {
        panic!("it can be listed there");
    };
    let names = items.iter().map(|(name, _)| name.as_bytes());
    assert!(FileKey::from(&this) == key && names.eq([b"f"]));
    let nothing = share.place(PlaceWish::List {
        at: parked(&[b"no"]),
    });
    assert!(matches!(nothing, Err(DiskError::NotFound)), "{nothing:?}");
    let no_directory = share.place(PlaceWish::List {
        at: parked(&[b"f"]),
    });
    assert!(
        matches!(no_directory, Err(DiskError::WrongKind)),
        "{no_directory:?}"
    );
    looked(share.place(wish(parked(&[b"f"]), whereabouts(&[b"f"]), file))).unwrap();
    fs::write(share.at("g"), "in the way").unwrap();
    let taken = share.place(wish(parked(&[]), whereabouts(&[b"g"]), key));
    assert_eq!(taken, Err(DiskError::Exists));
    looked(share.place(wish(parked(&[]), whereabouts(&[b"e"]), key))).unwrap();
    assert!(share.at("e").is_dir() && share.at("f").is_file());
    fs::write(share.at("e/unseen"), "").unwrap();
    let at = whereabouts(&[b"e"]);
    let gone = share.place(PlaceWish::RemoveDirectory { at, key });
    assert_eq!(gone, Err(DiskError::NotEmpty));
}

#[test]
fn what_was_edited_is_not_thrown_away() {
    let share = share();
    fs::write(share.at("a"), "old").unwrap();
    let expect = share.print(&[b"a"]);
    fs::write(share.at("a"), "edited").unwrap();
    let at = whereabouts(&[b"a"]);
    let wish = |expect| PlaceWish::Trash {
        at: at.clone(),
        expect,
    };
    assert_eq!(share.place(wish(expect)), Err(DiskError::Changed));
    let expect = share.print(&[b"a"]);
    assert_eq!(looked(share.place(wish(expect))), None);
    assert_eq!(share.trash(), [b"edited"]);
    assert_eq!(share.place(wish(expect)), Err(DiskError::NotFound));
}

#[test]
fn of_a_file_with_further_names_one_goes_and_what_is_left_is_told() {
    let share = share();
    fs::write(share.at("a"), "both").unwrap();
    fs::hard_link(share.at("a"), share.at("b")).unwrap();
    let expect = share.print(&[b"a"]);
    let at = whereabouts(&[b"a"]);
    let left = looked(share.place(PlaceWish::Trash { at, expect })).unwrap();
    assert_eq!(left.print, share.print(&[b"b"]));
    assert_eq!(left.nlink, 1);
    assert_eq!(fs::read(share.at("b")).unwrap(), b"both");
    assert!(share.trash().is_empty());
}

#[test]
fn symlinks_links_and_attributes() {
    let share = share();
    let target = TargetPath::parse(b"../out").unwrap();
    let mtime_wanted = WallTime {
        secs: 1_400_000_000,
        nanos: 0,
    };
    let at = whereabouts(&[b"l"]);
    looked(share.place(PlaceWish::MakeSymlink {
        at,
        target,
        mtime: mtime_wanted,
        over: None,
    }))
    .unwrap();
    assert_eq!(fs::read_link(share.at("l")).unwrap(), Path::new("../out"));
    assert_eq!(mtime(&share.at("l")), (1_400_000_000, 0));
    fs::write(share.at("a"), "a").unwrap();
    let print = share.print(&[b"a"]);
    looked(share.place(PlaceWish::Link {
        from: whereabouts(&[b"a"]),
        key: FileKey::from(&print),
        expect: Some(print),
        to: whereabouts(&[b"b"]),
    }))
    .unwrap();
    let again = share.place(PlaceWish::Link {
        from: whereabouts(&[b"a"]),
        key: FileKey::from(&print),
        expect: Some(print),
        to: whereabouts(&[b"c"]),
    });
    assert_eq!(again, Err(DiskError::Changed), "its change time moved");
    assert_eq!(share.print(&[b"b"]).ino, print.ino);
    let dressed = share.place(PlaceWish::Dress {
        at: whereabouts(&[b"b"]),
        expect: share.print(&[b"b"]),
        dress: dress(0o600),
    });
    assert_eq!(looked(dressed).unwrap().mode, 0o600);
    assert_eq!(mtime(&share.at("a")), (1_500_000_000, 7));
    assert_eq!(share.place(PlaceWish::Harden), Ok(DiskDone::Done));
    // Nothing is reached through a symlink.
    symlink("/tmp", share.at("out")).unwrap();
    let at = whereabouts(&[b"out", b"x"]);
    let made = share.place(PlaceWish::MakeDirectory {
        at,
        dress: dress(0o755),
    });
    assert_eq!(made, Err(DiskError::WrongKind));
}
