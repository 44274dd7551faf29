//! What lies in the trash: it is listed, removed for good, and copied back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use tandem_core::action::DiskWish;
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::place_wish::{FileKey, PlaceWish};
use tandem_core::trash::{Found, TrashWish};

use crate::place::{Share, share, whereabouts};
use crate::{name, path};

/// Moves a name of the root to the trash.
fn throw(share: &Share, called: &str) -> FileKey {
    let names = [called.as_bytes()];
    let expect = share.print(&names);
    let at = whereabouts(&names);
    let done = share.place(PlaceWish::Trash { at, expect });
    assert!(
        matches!(done, Ok(DiskDone::Looked { sighting: None, .. })),
        "{done:?}"
    );
    FileKey::from(&expect)
}

fn list(share: &Share) -> Vec<Found> {
    match share.perform(DiskWish::Trash(TrashWish::List)) {
        Ok(DiskDone::Trash { mut found, wall }) => {
            assert!(found.iter().all(|found| wall >= found.since));
            found.sort_by(|a, b| a.name.cmp(&b.name));
            found
        }
        other => panic!("{other:?}"),
    }
}

fn restore(share: &Share, file: FileKey, to: &[&[u8]]) -> Result<DiskDone, DiskError> {
    let to = path(to);
    share.perform(DiskWish::Trash(TrashWish::Restore { file, to }))
}

#[test]
fn what_lies_there_is_listed_with_its_name_and_time() {
    let share = share();
    fs::write(share.at("a-b.txt"), "first").unwrap();
    symlink("../x", share.at("link")).unwrap();
    let (a, link) = (throw(&share, "a-b.txt"), throw(&share, "link"));
    // What somebody has put there is listed as well; what is no file or symlink is left alone.
    fs::write(share.at(".tandem/trash/by hand"), "mine").unwrap();
    fs::create_dir(share.at(".tandem/trash/dir")).unwrap();
    let found = list(&share);
    let names = found.iter().map(|found| found.name.clone().unwrap());
    let expected = ["a-b.txt", "by hand", "link"].map(|called| name(called.as_bytes()));
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let keys: Vec<FileKey> = found
        .iter()
        .map(|found| FileKey::from(&found.print))
        .collect();
    assert_eq!((keys[0], keys[2]), (a, link));
    assert_eq!(found[0].print.size, 5);

    let files = vec![a, keys[1], FileKey { ino: 1, born_ns: 1 }];
    let done = share.perform(DiskWish::Trash(TrashWish::Remove { files }));
    assert_eq!(done, Ok(DiskDone::Done));
    let left = list(&share);
    assert_eq!(left.len(), 1);
    assert_eq!(FileKey::from(&left[0].print), link);
}

#[test]
fn a_copy_is_put_where_nothing_stands_and_directories_are_made_anew() {
    let share = share();
    let file = share.at("a");
    fs::write(&file, "first").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4640)).unwrap();
    let was = fs::metadata(&file).unwrap();
    symlink("../x", share.at("link")).unwrap();
    let (a, link) = (throw(&share, "a"), throw(&share, "link"));
    assert_eq!(restore(&share, a, &[b"d", b"e", b"a"]), Ok(DiskDone::Done));
    let back = share.at("d/e/a");
    let is = fs::metadata(&back).unwrap();
    assert_eq!(fs::read(&back).unwrap(), b"first");
    assert_eq!(
        (is.mtime(), is.mtime_nsec()),
        (was.mtime(), was.mtime_nsec())
    );
    assert_eq!(is.mode() & 0o7777, 0o640, "a set-id bit is not given back");
    assert_ne!(
        is.ino(),
        was.ino(),
        "what lies in the trash is another file"
    );
    assert_eq!(restore(&share, link, &[b"d", b"link"]), Ok(DiskDone::Done));
    let target = fs::read_link(share.at("d/link")).unwrap();
    assert_eq!(target.as_os_str(), "../x");

    // Never over anything, and never through a symlink.
    fs::write(&back, "anew").unwrap();
    let taken = restore(&share, a, &[b"d", b"e", b"a"]);
    assert_eq!(taken, Err(DiskError::Exists));
    assert_eq!(fs::read(&back).unwrap(), b"anew");
    let odd = restore(&share, a, &[b"d", b"e", b"a", b"below"]);
    assert_eq!(odd, Err(DiskError::WrongKind));
    symlink("d", share.at("way")).unwrap();
    let odd = restore(&share, a, &[b"way", b"new", b"a"]);
    assert_eq!(odd, Err(DiskError::WrongKind));
    assert!(!share.at("d/new").exists());
    let key = FileKey { ino: 1, born_ns: 1 };
    assert_eq!(restore(&share, key, &[b"b"]), Err(DiskError::NotFound));
    let left: Vec<_> = fs::read_dir(share.at(".tandem/partial")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(list(&share).len(), 2, "what lies there stays");
}

#[test]
fn a_copy_that_a_kill_has_left_goes_at_the_next_start() {
    let share = share();
    for left in ["restored-0", "restored-77"] {
        fs::write(share.at(".tandem/partial").join(left), "half").unwrap();
    }
    fs::write(share.at(".tandem/partial/other"), "stays").unwrap();
    let folder = tandem_io::disk::folder::Folder::open(&share.at("")).unwrap();
    folder.placing_by(&share.at(".tandem")).unwrap();
    let left = fs::read_dir(share.at(".tandem/partial")).unwrap();
    let left: Vec<_> = left.map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, ["other"]);
}
