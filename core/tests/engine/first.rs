//! First contact: a folder was copied, or its metadata come from a backup or were built anew.

use std::collections::BTreeMap;

use tandem_core::edit::{Edit, SetAttr};
use tandem_core::engine::Last;
use tandem_core::event::FsCall;

use crate::app::{append, both, close, create, flush, open, read, secs, wall, written};
use crate::placing::{names, tree};
use crate::stage::{Stage, photo};

/// The metadata of a replica.
type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes a file on the mount.
fn write(stage: &mut Stage, name: &str, bytes: &[u8]) {
    let (_, fh) = create(stage, name);
    written(stage, fh, 0, bytes, 101);
    flush(stage, fh);
    close(stage, fh);
    stage.wait(secs(5));
}

/// Ada's folder is copied while she is away, and she goes on with the copy. Its root was not the one
/// that was known, and was never listed; nothing of a peer's could be placed in it. And each file was
/// another one: an edit by nobody, which stood against what bo had written.
#[test]
fn a_copy_of_the_folder_is_the_folder() {
    let mut stage = both();
    stage.side("ada").files.write("two", b"names");
    stage.side("ada").files.link("two", "names");
    stage.hint("two");
    stage.hint("names");
    stage.wait(secs(3));
    assert_eq!(read(&mut stage, "photo"), photo());
    stage.kill("ada");
    let (_, fh) = open(&mut stage, "photo");
    append(&mut stage, fh, 1_600, b"more", 102);
    flush(&mut stage, fh);
    close(&mut stage, fh);
    let (_, fh) = open(&mut stage, "two");
    written(&mut stage, fh, 0, b"NAMES", 103);
    flush(&mut stage, fh);
    close(&mut stage, fh);
    let ada = stage.side("ada");
    ada.files.copied();
    ada.files.write("new", b"ada's");
    stage.start("ada", Last::Lost);
    stage.wait(secs(10));
    let photo = [&photo()[..], b"more"].concat();
    let mut want: Vec<(&str, &[u8])> = [
        ("names", &b"NAMES"[..]),
        ("new", b"ada's"),
        ("photo", &photo),
        ("two", b"NAMES"),
    ]
    .into();
    agree(&mut stage, &want);
    write(&mut stage, "later", b"bo's");
    want.push(("later", b"bo's"));
    agree(&mut stage, &want);
}

/// What both are to hold in the end.
fn agree(stage: &mut Stage, want: &[(&str, &[u8])]) {
    let want: BTreeMap<String, Vec<u8>> = want
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
        .collect();
    let called: Vec<String> = want.keys().cloned().collect();
    assert_eq!(names(stage), called);
    assert!(tree(stage) == want, "their bytes are others");
    let shown: Vec<String> = stage.shown("bo").into_iter().collect();
    let called: Vec<String> = called.iter().map(|name| format!("/{name}")).collect();
    assert_eq!(shown, called);
    for (name, bytes) in &want {
        assert!(&read(stage, name) == bytes, "{name} has other bytes");
    }
    assert_eq!(stage.side("ada").faults, []);
    assert_eq!(stage.side("bo").faults, []);
}

/// Ada's metadata are made anew of her folder. What bo tells of stood there already, in files of which
/// she took each for a new one; each was there twice, and of what bo had never read nobody had the bytes.
#[test]
fn a_host_that_lost_its_metadata_knows_its_files_again() {
    for seed in 0..4 {
        let mut stage = both();
        stage.side("ada").files.write("unread", &[7; 1_300]);
        stage.side("ada").files.write("two", b"names");
        stage.side("ada").files.link("two", "names");
        for name in ["unread", "two", "names"] {
            stage.hint(name);
        }
        stage.wait(secs(3));
        write(&mut stage, "made", b"bo's");
        let ino = stage.lookup("bo", "made");
        let set = SetAttr {
            mtime: Some(wall(77)),
            ..SetAttr::default()
        };
        let (fh, at) = (None, wall(104));
        stage.call(
            "bo",
            FsCall::Edit(Edit::SetAttr {
                ino,
                fh,
                set,
                wall: at,
            }),
        );
        stage.wait(secs(5));
        assert_eq!(stage.side("ada").files.mtime("made"), wall(77));
        assert_eq!(read(&mut stage, "photo"), photo());
        stage.kill("ada");
        stage.side("ada").store.clear();
        stage.side("ada").seed += seed;
        write(&mut stage, "mine", b"while she was away");
        stage.start("ada", Last::Lost);
        stage.wait(secs(20));
        let want: [(&str, &[u8]); 6] = [
            ("made", b"bo's"),
            ("mine", b"while she was away"),
            ("names", b"names"),
            ("photo", &photo()),
            ("two", b"names"),
            ("unread", &[7; 1_300]),
        ];
        agree(&mut stage, &want);
        stage.kill("ada");
        stage.start("ada", Last::Killed);
        stage.wait(secs(20));
        agree(&mut stage, &want);
    }
}

/// Bo wrote over a file while ada's metadata were lost: what he wrote it over is not told any more, so
/// that what stands in her folder may be anything. Both are kept.
#[test]
fn what_was_written_while_the_metadata_were_lost_is_kept_beside_what_stands() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    stage.kill("ada");
    stage.side("ada").store.clear();
    let (_, fh) = open(&mut stage, "photo");
    append(&mut stage, fh, 1_600, b"more", 102);
    flush(&mut stage, fh);
    close(&mut stage, fh);
    stage.start("ada", Last::Lost);
    stage.wait(secs(20));
    let mut found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    found.sort();
    assert!(found == [photo(), [&photo()[..], b"more"].concat()]);
    assert_eq!(stage.shown("bo").len(), 2);
    assert!(
        names(&mut stage)
            .iter()
            .all(|name| name.starts_with("photo"))
    );
}

/// Ada's metadata come from a backup, and much has happened since that bo knows of.
#[test]
fn a_host_whose_metadata_come_from_a_backup_knows_its_files_again() {
    for seed in 0..4 {
        let mut stage = both();
        for name in ["hers", "his", "gone", "old"] {
            stage.side("ada").files.write(name, name.as_bytes());
            stage.hint(name);
        }
        stage.wait(secs(3));
        let backup = stage.side("ada").store.clone();
        stage.side("ada").files.write("hers", b"edited");
        stage.side("ada").files.remove("gone");
        stage.side("ada").files.rename("old", "renamed");
        stage.side("ada").files.write("new", b"ada's");
        for name in ["hers", "gone", "old", "renamed", "new"] {
            stage.hint(name);
        }
        stage.wait(secs(3));
        write(&mut stage, "made", b"bo's");
        let (_, fh) = open(&mut stage, "his");
        append(&mut stage, fh, 3, b" edit", 102);
        flush(&mut stage, fh);
        close(&mut stage, fh);
        stage.wait(secs(3));
        stage.kill("ada");
        stage.side("ada").store = backup;
        stage.side("ada").seed += seed;
        write(&mut stage, "mine", b"while she was away");
        stage.side("ada").files.write("alone", b"hers alone");
        stage.start("ada", Last::Lost);
        stage.wait(secs(20));
        let want: [(&str, &[u8]); 8] = [
            ("alone", b"hers alone"),
            ("hers", b"edited"),
            ("his", b"his edit"),
            ("made", b"bo's"),
            ("mine", b"while she was away"),
            ("new", b"ada's"),
            ("photo", &photo()),
            ("renamed", b"old"),
        ];
        agree(&mut stage, &want);
    }
}

/// Ada went on with a copy of her folder, and then with the folder itself. What the copy had made was
/// another's to her, who had said what it is; that she held it she did not say, and nothing was synced.
#[test]
fn what_another_host_of_the_folder_has_made_is_held_by_this_one() {
    let mut stage = both();
    stage.wait(secs(3));
    stage.kill("ada");
    let ada = stage.side("ada");
    let (folder, store) = (ada.files.clone(), ada.store.clone());
    ada.files.copied();
    ada.files.write("new", &[7; 1_300]);
    stage.start("ada", Last::Lost);
    stage.wait(secs(5));
    assert_eq!(read(&mut stage, "new"), [7; 1_300]);
    stage.wait(secs(5));
    stage.kill("ada");
    let ada = stage.side("ada");
    (ada.files, ada.store) = (folder, store);
    stage.start("ada", Last::Clean);
    stage.wait(secs(10));
    agree(&mut stage, &[("new", &[7; 1_300]), ("photo", &photo())]);
    assert!(stage.side("ada").engine().is_synced());
    assert!(stage.side("bo").engine().is_synced());
}

/// A program has done something to a file of ada's: she sees it, and it is told.
fn seen(stage: &mut Stage, path: &str) {
    stage.hint(path);
    stage.wait(secs(6));
}

/// Ada's metadata are those of a backup from here on.
fn restore(stage: &mut Stage, backup: Store) {
    stage.kill("ada");
    stage.side("ada").store = backup;
    stage.start("ada", Last::Lost);
    stage.wait(secs(20));
}

/// Ada has a file of which the backup that is returned tells.
fn backed_up() -> (Stage, Store) {
    let mut stage = both();
    stage.side("ada").files.write("b", b"one");
    seen(&mut stage, "b");
    let backup = stage.side("ada").store.clone();
    (stage, backup)
}

/// Since the backup a file was edited and removed, and another took its name: that was taken for an edit
/// of the one that was there at first, and neither of the two was ended by the delete that bo told of.
#[test]
fn a_file_that_took_the_name_of_another_since_the_backup_is_that_file() {
    let (mut stage, backup) = backed_up();
    stage.side("ada").files.write("b", b"two");
    seen(&mut stage, "b");
    stage.side("ada").files.remove("b");
    seen(&mut stage, "b");
    stage.side("ada").files.write("b", b"new");
    seen(&mut stage, "b");
    restore(&mut stage, backup);
    agree(&mut stage, &[("b", b"new"), ("photo", &photo())]);
}

/// Since the backup a file was edited, and removed or moved. The host, who knew nothing of the edit, took
/// it for removed; that edit, whose bytes nobody had, brought it back.
#[test]
fn a_file_that_went_since_the_backup_does_not_come_back() {
    for is_moved in [false, true] {
        let (mut stage, backup) = backed_up();
        stage.side("ada").files.replace("b", b"two");
        seen(&mut stage, "b");
        if is_moved {
            stage.side("ada").files.rename("b", "moved");
            stage.hint("moved");
        } else {
            stage.side("ada").files.remove("b");
        }
        seen(&mut stage, "b");
        restore(&mut stage, backup);
        let moved: &[(&str, &[u8])] = &[("moved", b"two"), ("photo", &photo())];
        agree(&mut stage, if is_moved { moved } else { &moved[1..] });
    }
}
