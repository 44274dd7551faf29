//! Stories of what bo makes through his mount, and what becomes of it in ada's folder.

use std::collections::BTreeMap;

use tandem_core::action::DiskWish;
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, Fault};
use tandem_core::ids::NodeId;
use tandem_core::message::Message;
use tandem_core::place_wish::PlaceWish;
use tandem_core::time::Duration;
use tandem_core::tree::register::{Register, RegisterKey};

use crate::bo::{BO, Bo};
use crate::stage::{Held, Stage};

const ROOT: NodeId = NodeId::ROOT;

/// Ada shares, and takes changes; the trace is of no interest.
pub(crate) fn ada(files: &[(&str, &[u8])]) -> Stage {
    let mut stage = Stage::new(&[]);
    stage.side("ada").config.writable = true;
    for (path, bytes) in files {
        stage.side("ada").files.write(path, bytes);
    }
    stage.start("ada", Last::Clean);
    stage.wait(Duration::from_millis(200));
    stage
}

pub(crate) fn tree(stage: &mut Stage) -> BTreeMap<String, Vec<u8>> {
    stage.side("ada").files.tree()
}

pub(crate) fn names(stage: &mut Stage) -> Vec<String> {
    tree(stage).into_keys().collect()
}

/// Asserts that the folder is exactly this, that it is what the engine shows, and that a restart
/// changes nothing of it.
fn expect(stage: &mut Stage, want: &[(&str, &[u8])]) {
    let want: BTreeMap<String, Vec<u8>> = want
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
        .collect();
    assert_eq!(tree(stage), want);
    assert_eq!(stage.side("ada").faults, []);
    let shown: Vec<String> = stage.shown("ada").into_iter().collect();
    let here: Vec<String> = want
        .keys()
        .map(|path| format!("/{}", path.trim_end_matches('/')))
        .collect();
    assert_eq!(shown, here);
}

/// Asserts that a look at everything makes no register.
fn is_quiet(stage: &mut Stage) {
    let before = stage.side("ada").registers();
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(Duration::from_secs(3));
    let after = stage.side("ada").registers();
    assert_eq!(before, after, "our own changes are no edits");
}

#[test]
fn what_a_joiner_makes_stands_in_the_folder() {
    let mut stage = ada(&[("old", b"old")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let d = bo.directory(ROOT, "d");
    let e = bo.directory(d, "e");
    bo.file(e, "deep", &[7; 1_300]);
    bo.file(ROOT, "empty", b"");
    bo.symlink(d, "link", "../old");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(
        &mut stage,
        &[
            ("d/", b""),
            ("d/e/", b""),
            ("d/e/deep", &[7; 1_300]),
            ("d/link", b"-> ../old"),
            ("empty", b""),
            ("old", b"old"),
        ],
    );
    let files = &stage.side("ada").files;
    assert_eq!(files.mode("d/e/deep"), 0o640);
    assert_eq!(files.mode("d/e"), 0o750);
    assert_eq!(files.mtime("d/e/deep").secs / 1_000_000, 1_700);
    assert_eq!(stage.side("ada").objects.count(), 0, "nothing is left over");
    is_quiet(&mut stage);
}

#[test]
fn a_folder_that_is_not_writable_takes_nothing() {
    let mut stage = Stage::new(&[]);
    stage.start("ada", Last::Clean);
    let mut bo = Bo::join(&mut stage);
    bo.file(ROOT, "a", b"a");
    bo.tell(&mut stage);
    assert_eq!(stage.side("ada").faults.len(), 1, "his link is closed");
    assert_eq!(names(&mut stage), Vec::<String>::new());
}

#[test]
fn a_new_version_replaces_the_old_one_which_goes_to_the_trash() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.write(a, &[9; 700]);
    bo.tell(&mut stage);
    assert_eq!(tree(&mut stage)["a"], b"first", "nothing half stands there");
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", &[9; 700])]);
    assert_eq!(stage.side("ada").files.beside(), [b"first"]);
    is_quiet(&mut stage);
}

/// The first chunk's sync was under way when the last one came: the file was put in its place, the sync
/// did not find it, and ada was told that her disk had failed.
#[test]
fn a_file_goes_to_its_place_when_nothing_is_under_way_on_it() {
    let is_sync = |wish: &DiskWish| matches!(wish, DiskWish::SyncObject { .. });
    for is_refused in [false, true] {
        let mut stage = ada(&[]);
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        bo.file(ROOT, "a", &[9; 700]);
        bo.tell(&mut stage);
        assert!(bo.serve_one(&mut stage));
        for _ in 0..19 {
            stage.said("ada", bo.link, Message::Ping);
            stage.wait(Duration::from_millis(250));
        }
        stage.hold("ada", Held::Disk);
        stage.side("ada").failing = is_refused.then_some((is_sync, DiskError::Io));
        assert!(bo.serve_one(&mut stage));
        stage.wait(Duration::from_millis(500));
        assert!(stage.trace().contains("sync n"), "{}", stage.trace());
        // The chunk is stored.
        stage.let_by("ada", Held::Disk, 1);
        assert!(!stage.trace().contains("files ready"));
        stage.release("ada", Held::Disk);
        bo.attend(&mut stage);
        assert_eq!(tree(&mut stage)["a"], [9; 700]);
        assert_eq!(stage.side("ada").faults.len(), usize::from(is_refused));
    }
}

#[test]
fn an_outside_edit_that_was_not_seen_yet_is_kept_beside_the_version_that_replaces_it() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.write(a, b"bo's");
    bo.tell(&mut stage);
    // No hint of it comes before bo's version does.
    stage.side("ada").files.write("a", b"ada's own");
    bo.attend(&mut stage);
    let found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert_eq!(found.len(), 2, "{:?}", names(&mut stage));
    assert!(found.contains(&b"bo's".to_vec()) && found.contains(&b"ada's own".to_vec()));
    assert_eq!(stage.side("ada").files.beside(), Vec::<Vec<u8>>::new());
    is_quiet(&mut stage);
}

#[test]
fn versions_made_apart_both_stand() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (a, knew) = (bo.find("a"), bo.knows.clone());
    stage.side("ada").files.write("a", b"ada's own");
    stage.hint("a");
    bo.listen(&mut stage);
    bo.write_on(a, knew, b"bo's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    // Bo's is the later one, and keeps the name.
    let found = tree(&mut stage);
    assert_eq!(found["a"], b"bo's");
    let copy = found
        .iter()
        .find(|(name, _)| name.contains("conflict"))
        .unwrap();
    assert_eq!(copy.1, b"ada's own");
    assert_eq!(found.len(), 2);
    is_quiet(&mut stage);
}

#[test]
fn a_delete_takes_what_was_seen_and_leaves_what_was_not() {
    let mut stage = ada(&[("a", b"a"), ("b", b"b"), ("d/x", b"x")]);
    stage.side("ada").files.mkdir("d");
    stage.hint("d");
    stage.wait(Duration::from_secs(2));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (a, b, d, x) = (bo.find("a"), bo.find("b"), bo.find("d"), bo.find("x"));
    bo.remove(a, "a");
    bo.remove(b, "b");
    bo.remove(x, "x");
    bo.remove(d, "d");
    stage.side("ada").files.write("b", b"edited");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("b", b"edited")]);
    let mut trash = stage.side("ada").files.beside();
    trash.sort();
    assert_eq!(trash, [b"a", b"x"]);
    is_quiet(&mut stage);
}

#[test]
fn an_unseen_file_in_a_directory_that_goes_keeps_it() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let d = bo.directory(ROOT, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    stage.side("ada").files.write("d/new", b"new");
    bo.remove(d, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("d/", b""), ("d/new", b"new")]);
}

#[test]
fn what_a_joiner_moves_is_moved_and_not_fetched() {
    let mut stage = ada(&[("a", b"a"), ("b", b"b"), ("c", b"c")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    bo.serves = false;
    let inode = stage.side("ada").files.inode("a");
    let (a, b, c) = (bo.find("a"), bo.find("b"), bo.find("c"));
    let d = bo.directory(ROOT, "d");
    bo.rename(a, "a", d, "moved");
    // A ring of two.
    bo.rename(b, "b", ROOT, "between");
    bo.rename(c, "c", ROOT, "b");
    bo.rename(b, "between", ROOT, "c");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(
        &mut stage,
        &[("b", b"c"), ("c", b"b"), ("d/", b""), ("d/moved", b"a")],
    );
    assert_eq!(stage.side("ada").files.inode("d/moved"), inode);
    assert_eq!(stage.side("ada").files.beside(), Vec::<Vec<u8>>::new());
    is_quiet(&mut stage);
}

#[test]
fn directories_change_places_with_what_is_in_them() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let d = bo.directory(ROOT, "d");
    let e = bo.directory(d, "e");
    bo.file(e, "f", b"f");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("d/", b""), ("d/e/", b""), ("d/e/f", b"f")]);
    // d/e becomes d, and d goes into it.
    bo.rename(e, "e", ROOT, "between");
    bo.rename(d, "d", e, "e");
    bo.rename(e, "between", ROOT, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("d/", b""), ("d/e/", b""), ("d/f", b"f")]);
    is_quiet(&mut stage);
}

/// Ada had put bo's file where it goes and was killed before that was on record; meanwhile a program
/// wrote to it and set its time back. She put it there again, and took what she saw for what she had put.
#[test]
fn what_was_written_in_secret_to_what_a_killed_host_had_put_down_is_found() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let node = bo.file(ROOT, "a", &[7; 1_200]);
    stage.hold("ada", Held::Commits);
    bo.tell(&mut stage);
    for _ in 0..10 {
        if !tree(&mut stage).is_empty() {
            break;
        }
        while bo.serve_one(&mut stage) {}
        stage.let_by("ada", Held::Commits, 1);
    }
    expect(&mut stage, &[("a", &[7; 1_200])]);
    stage.kill("ada");
    stage.release("ada", Held::Commits);
    let mut edited = [7; 1_200];
    edited[1_000] = 8;
    stage.side("ada").files.write_secretly("a", &edited);
    stage.start("ada", Last::Killed);
    bo.connect(&mut stage);
    bo.listen(&mut stage);
    bo.attend(&mut stage);
    assert_ne!(bo.version_of(node).actor, BO, "he is told");
    expect(&mut stage, &[("a", &edited)]);
}

/// A directory was to take the name of one that it stood in and that was one with it from then on: each
/// waited for the other to go first.
#[test]
fn a_directory_takes_the_name_of_the_one_that_it_stands_in_and_is_one_with() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let inner = bo.directory(ROOT, "inner");
    let outer = bo.directory(ROOT, "d");
    bo.file(inner, "f", b"f");
    bo.file(outer, "g", b"g");
    bo.rename(inner, "inner", outer, "inner");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let within = [
        ("d/", b"" as &[u8]),
        ("d/g", b"g"),
        ("d/inner/", b""),
        ("d/inner/f", b"f"),
    ];
    expect(&mut stage, &within);
    bo.rename(inner, "inner", ROOT, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("d/", b""), ("d/f", b"f"), ("d/g", b"g")]);
    assert_eq!(stage.side("ada").files.beside(), Vec::<Vec<u8>>::new());
    is_quiet(&mut stage);
}

/// Bo had two files change places, and a program saved over one of them before that was done: it
/// could not be put out of the way, and was tried again before it was looked at, without end.
#[test]
fn what_was_replaced_before_it_could_be_parked_is_looked_at() {
    for (saved, other) in [("f", "g"), ("g", "f")] {
        let mut stage = ada(&[("f", b"f"), ("g", b"g"), ("lock", b"lock")]);
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        let (f, g) = (bo.find("f"), bo.find("g"));
        stage.side("ada").files.rename("lock", saved);
        bo.rename(f, "f", ROOT, "between");
        bo.rename(g, "g", ROOT, "f");
        bo.rename(f, "between", ROOT, "g");
        bo.tell(&mut stage);
        bo.attend(&mut stage);
        let found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
        assert!(found.contains(&other.as_bytes().to_vec()) && found.contains(&b"lock".to_vec()));
        is_quiet(&mut stage);
    }
}

/// A program had a file open that lay out of the way for a moment, and wrote to it there; and a peer had
/// deleted it by then. Nobody ever looked at it: it could not go to the trash, and was tried without end.
#[test]
fn what_is_written_to_a_file_that_lies_out_of_the_way_brings_it_back() {
    let mut stage = ada(&[("f", b"f"), ("g", b"g")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (f, g) = (bo.find("f"), bo.find("g"));
    bo.rename(f, "f", ROOT, "between");
    bo.rename(g, "g", ROOT, "f");
    bo.rename(f, "between", ROOT, "g");
    stage.hold("ada", Held::Disk);
    bo.tell(&mut stage);
    while stage.side("ada").files.parked().is_none() {
        stage.let_by("ada", Held::Disk, 1);
        stage.wait(Duration::from_millis(10));
    }
    let (node, name) = match stage.side("ada").files.parked() {
        Some(path) if path.ends_with(&format!("{f:?}")) => (f, "g"),
        Some(_) | None => (g, "f"),
    };
    bo.remove(node, name);
    bo.tell(&mut stage);
    let path = stage.side("ada").files.parked().unwrap();
    stage.side("ada").files.write(&path, b"written there");
    stage.release("ada", Held::Disk);
    bo.attend(&mut stage);
    let found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert!(found.contains(&b"written there".to_vec()), "{found:?}");
    assert_eq!(found.len(), 2);
    is_quiet(&mut stage);
}

/// Bo had two files change places, and a program removed their directory while it was put on record
/// that one of them lies out of the way: it was taken to be on its way there for ever, and whatever
/// was to stand under its name waited for that.
#[test]
fn what_went_with_its_directory_before_it_could_be_parked_is_let_go_of() {
    for commits in 0..6 {
        let mut stage = ada(&[]);
        stage.side("ada").files.mkdir("d");
        for name in ["d/f", "d/g"] {
            stage.side("ada").files.write(name, b"old");
        }
        stage.hint("d");
        stage.wait(Duration::from_secs(3));
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        let (d, f, g) = (bo.find("d"), bo.find("f"), bo.find("g"));
        bo.rename(f, "f", ROOT, "between");
        bo.rename(g, "g", d, "f");
        bo.rename(f, "between", d, "g");
        stage.hold("ada", Held::Commits);
        bo.tell(&mut stage);
        stage.let_by("ada", Held::Commits, commits);
        stage.side("ada").files.remove("d");
        stage.hint("d");
        stage.wait(Duration::from_secs(3));
        stage.release("ada", Held::Commits);
        bo.listen(&mut stage);
        for name in ["f", "g"] {
            bo.file(d, name, b"new");
        }
        bo.tell(&mut stage);
        bo.attend(&mut stage);
        let new = |bytes: &&Vec<u8>| **bytes == b"new";
        let found = tree(&mut stage);
        assert_eq!(
            found.values().filter(new).count(),
            2,
            "{commits}: {found:?}"
        );
        is_quiet(&mut stage);
    }
}

/// Bo had two files change places. One was about to be put out of the way when its owner renamed it:
/// the name that it had left counted as in use for ever, and the other one never got it.
#[test]
fn what_is_renamed_before_it_is_parked_is_out_of_the_way() {
    let mut stage = ada(&[("f", b"f"), ("g", b"g")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (f, g) = (bo.find("f"), bo.find("g"));
    bo.rename(f, "f", ROOT, "between");
    bo.rename(g, "g", ROOT, "f");
    bo.rename(f, "between", ROOT, "g");
    stage.hold("ada", Held::Commits);
    bo.tell(&mut stage);
    // That g lies out of the way is yet to be stored.
    let is_parking = |stage: &mut Stage| {
        let mut keys = stage.side("ada").store.keys();
        keys.any(|key| key.starts_with(b"k"))
    };
    while !is_parking(&mut stage) {
        stage.let_by("ada", Held::Commits, 1);
    }
    stage.side("ada").files.rename("g", "h");
    stage.hint("g");
    stage.hint("h");
    stage.wait(Duration::from_secs(1));
    stage.release("ada", Held::Commits);
    bo.attend(&mut stage);
    expect(&mut stage, &[("g", b"f"), ("h", b"g")]);
    assert_eq!(stage.side("ada").files.beside(), Vec::<Vec<u8>>::new());
    is_quiet(&mut stage);
}

#[test]
fn a_directory_is_replaced_by_another_of_its_name_that_takes_what_was_in_it() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let old = bo.directory(ROOT, "d");
    let f = bo.file(old, "f", b"f");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let new = bo.directory(ROOT, "other");
    bo.rename(f, "f", new, "f");
    bo.remove(old, "d");
    bo.rename(new, "other", ROOT, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("d/", b""), ("d/f", b"f")]);
    is_quiet(&mut stage);
}

#[test]
fn a_file_takes_the_name_of_a_directory_that_moves_below_a_new_one() {
    let mut stage = ada(&[("x", b"x")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let x = bo.find("x");
    // `x` becomes a directory that holds what was `x`.
    let dir = bo.directory(ROOT, "other");
    bo.rename(x, "x", dir, "x");
    bo.rename(dir, "other", ROOT, "x");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("x/", b""), ("x/x", b"x")]);
    is_quiet(&mut stage);
}

#[test]
fn a_further_name_is_a_link() {
    let mut stage = ada(&[("a", b"a")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.link(a, ROOT, "b");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", b"a"), ("b", b"a")]);
    let files = &stage.side("ada").files;
    assert_eq!(files.inode("a"), files.inode("b"));
    bo.write(a, b"new");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", b"new"), ("b", b"new")]);
    let files = &stage.side("ada").files;
    assert_eq!(files.inode("a"), files.inode("b"));
    bo.remove(a, "a");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("b", b"new")]);
    is_quiet(&mut stage);
}

/// What lost stood under two names. The conflict copy took over one of them: the other stayed, as
/// the file of what won, and to change the one changed the other.
#[test]
fn a_conflict_copy_takes_over_a_file_of_one_name() {
    let mut stage = ada(&[("a", b"first")]);
    stage.side("ada").files.link("a", "b");
    stage.hint("b");
    stage.wait(Duration::from_secs(1));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (a, knew) = (bo.find("a"), bo.knows.clone());
    stage.side("ada").files.write("a", b"ada's own");
    stage.hint("a");
    bo.listen(&mut stage);
    bo.write_on(a, knew, b"bo's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let found = tree(&mut stage);
    let mut copies = found.keys().filter(|name| name.contains("conflict"));
    let (Some(copy), None) = (copies.next(), copies.next()) else {
        panic!("{found:?}");
    };
    expect(
        &mut stage,
        &[("a", b"bo's"), (copy, b"ada's own"), ("b", b"bo's")],
    );
    let files = &stage.side("ada").files;
    assert_eq!(files.inode("a"), files.inode("b"));
    assert_ne!(files.inode("a"), files.inode(copy));
    is_quiet(&mut stage);
}

#[test]
fn attributes_are_set_and_set_id_bits_are_not() {
    let mut stage = ada(&[("a", b"a")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.chmod(a, 0o4700);
    bo.touch(a, 77);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let files = &stage.side("ada").files;
    assert_eq!(files.mode("a"), 0o700);
    assert_eq!(files.mtime("a").secs, 1_700_000_077);
    is_quiet(&mut stage);
    // One that was set here stays, and is cleared with the mode.
    bo.connect(&mut stage);
    bo.chmod(a, 0o4711);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(stage.side("ada").files.mode("a"), 0o711);
    stage.side("ada").files.chmod("a", 0o4711);
    stage.hint("a");
    bo.touch(a, 78);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(stage.side("ada").files.mode("a"), 0o4711);
    assert_eq!(stage.side("ada").files.mtime("a").secs, 1_700_000_078);
    bo.chmod(a, 0o711);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(stage.side("ada").files.mode("a"), 0o711);
    // What is changed here goes the other way, and only that.
    stage.side("ada").files.chmod("a", 0o711);
    stage.hint("a");
    let registers = stage.side("ada").registers();
    let is_his = |register: &&Register| register.key() == RegisterKey::Attrs(a);
    let attrs = registers.iter().find(is_his);
    assert!(matches!(attrs, Some(Register::Attrs(attrs)) if attrs.mode == 0o711));
}

/// A refusal left them as they were until the next start.
#[test]
fn attributes_that_the_disk_refused_are_set_later() {
    let mut stage = ada(&[("a", b"a")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.chmod(a, 0o640);
    stage.side("ada").failing = Some((
        |wish| {
            matches!(
                wish,
                tandem_core::action::DiskWish::Place(
                    tandem_core::place_wish::PlaceWish::Dress { .. }
                )
            )
        },
        DiskError::Denied,
    ));
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(stage.side("ada").files.mode("a"), 0o640);
    assert_eq!(stage.side("ada").faults.len(), 1);
}

/// A file that was made ready with its old attributes was taken for one that can't have the new
/// ones.
#[test]
fn attributes_that_change_at_any_step_of_placing_are_set() {
    for steps in 0..8 {
        let mut stage = ada(&[]);
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        stage.hold("ada", Held::Disk);
        let a = bo.file(ROOT, "a", b"a");
        bo.tell(&mut stage);
        for _ in 0..steps {
            while bo.serve_one(&mut stage) {}
            stage.let_by("ada", Held::Disk, 1);
            stage.wait(Duration::from_millis(250));
        }
        bo.chmod(a, 0o600);
        bo.tell(&mut stage);
        stage.release("ada", Held::Disk);
        bo.attend(&mut stage);
        assert_eq!(stage.side("ada").files.mode("a"), 0o600, "after {steps}");
    }
}

#[test]
fn a_name_that_somebody_took_meanwhile_is_kept_beside() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    bo.file(ROOT, "a", b"bo's");
    stage.side("ada").files.write("a", b"ada's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert_eq!(found.len(), 2, "{:?}", names(&mut stage));
    assert!(found.contains(&b"bo's".to_vec()) && found.contains(&b"ada's".to_vec()));
    is_quiet(&mut stage);
}

/// Ada edited a conflict copy, and whoever had made that went on with his version. The copy had
/// nothing but its name and its bytes then, and was gone for all.
#[test]
fn an_edited_copy_outlives_the_version_that_it_was_made_of() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let a = bo.file(ROOT, "a", b"base");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let knew = bo.knows.clone();
    let first = bo.write_on(a, knew.clone(), b"first");
    bo.write_on(a, knew, b"second");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let copy = names(&mut stage).pop().unwrap();
    assert_eq!(tree(&mut stage)[&copy], b"first");
    stage.side("ada").files.write(&copy, b"ada's");
    stage.hint(&copy);
    stage.wait(Duration::from_secs(2));
    bo.write_on(
        a,
        [(first.actor, first.counter)].into_iter().collect(),
        b"third",
    );
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)[&copy], b"ada's");
    assert_eq!(tree(&mut stage)["a"], b"third");
    is_quiet(&mut stage);
}

/// A pipe is of ada's machine alone, and was shown to all as bo's file, which stood nowhere.
#[test]
fn what_a_pipe_is_in_the_way_of_stands_beside_it() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    stage.side("ada").files.mkfifo("a");
    stage.hint("a");
    bo.file(ROOT, "a", b"bo's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let [pipe, beside] = names(&mut stage).try_into().unwrap();
    assert_eq!(pipe, "a");
    assert!(beside.starts_with("a (conflict from "), "{beside}");
    assert_eq!(tree(&mut stage)[&beside], b"bo's");
    assert_eq!(stage.shown("ada"), [format!("/{beside}")].into());
    is_quiet(&mut stage);
}

/// It could not go, and bo's view and her folder never were the same again.
#[test]
fn a_directory_with_a_pipe_in_it_is_kept() {
    let mut stage = ada(&[]);
    stage.side("ada").files.mkdir("d");
    stage.side("ada").files.mkfifo("d/pipe");
    stage.hint("d");
    stage.wait(Duration::from_secs(1));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let d = bo.find("d");
    bo.remove(d, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(names(&mut stage), ["d/", "d/pipe"]);
    assert_eq!(stage.shown("ada"), ["/d".to_owned()].into());
    is_quiet(&mut stage);
}

/// A program made a file in a directory just before that went out of the way of another one. Ada
/// could not remove it, tried again for ever, and nobody saw the file.
#[test]
fn what_is_made_in_a_directory_that_goes_out_of_the_way_comes_back() {
    let mut stage = ada(&[]);
    stage.side("ada").files.mkdir("d");
    stage.side("ada").files.write("d/old", b"old");
    stage.hint("d");
    stage.wait(Duration::from_secs(1));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (d, old) = (bo.find("d"), bo.find("old"));
    bo.remove(old, "old");
    bo.remove(d, "d");
    let d = bo.directory(ROOT, "d");
    bo.file(d, "other", b"other");
    stage.side("ada").files.mkdir("d/sub");
    stage.side("ada").files.write("d/sub/new", b"new");
    stage.side("ada").files.mkfifo("d/sub/pipe");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let there = ["d/", "d/other", "d/sub/", "d/sub/new", "d/sub/pipe"];
    assert_eq!(names(&mut stage), there);
    is_quiet(&mut stage);
}

#[test]
fn what_the_disk_refuses_is_told_once_and_tried_again() {
    let makes: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Place(PlaceWish::MakeDirectory { .. }));
    // It was told of its object, and of its node too.
    let prepares: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Place(PlaceWish::Prepare { .. }));
    for (picks, file) in [(makes, None), (prepares, Some("f")), (prepares, Some(""))] {
        let mut stage = ada(&[]);
        let mut bo = Bo::join(&mut stage);
        match file {
            None => drop(bo.directory(ROOT, "d")),
            Some(bytes) => drop(bo.file(ROOT, "d", bytes.as_bytes())),
        }
        stage.side("ada").failing = Some((picks, DiskError::NoSpace));
        bo.tell(&mut stage);
        assert_eq!(names(&mut stage), Vec::<String>::new());
        bo.attend(&mut stage);
        let there = if file.is_none() { "d/" } else { "d" };
        assert_eq!(names(&mut stage), [there]);
        assert_eq!(stage.side("ada").faults.len(), 1, "{file:?}");
    }
}

/// Both names of a file become directories, which it goes into. It was to be taken out of the way
/// of each: the second name stayed, since the file lay there already, and was tried without end.
#[test]
fn a_file_of_two_names_is_in_the_way_twice() {
    let mut stage = ada(&[("a", b"a")]);
    stage.side("ada").files.link("a", "b");
    stage.hint("b");
    stage.wait(Duration::from_secs(1));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let file = bo.find("a");
    let (a, b) = (bo.directory(ROOT, "a"), bo.directory(ROOT, "b"));
    bo.rename(file, "a", a, "x");
    bo.rename(file, "b", b, "y");
    let makes: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Place(PlaceWish::MakeDirectory { .. }));
    stage.side("ada").failing = Some((makes, DiskError::NoSpace));
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let told = std::mem::take(&mut stage.side("ada").faults);
    assert_eq!(told.len(), 1, "{told:?}");
    let want: [(&str, &[u8]); 4] = [("a/", b""), ("a/x", b"a"), ("b/", b""), ("b/y", b"a")];
    expect(&mut stage, &want);
    is_quiet(&mut stage);
}

/// One of a file's two names lay out of the way when a new version came. That was put down under
/// the other, and the old one stayed where it lay: to throw it away was tried without end.
#[test]
fn a_name_that_lies_out_of_the_way_goes_before_its_file_is_replaced() {
    let mut stage = ada(&[("a", b"a")]);
    stage.side("ada").files.link("a", "b");
    stage.hint("b");
    stage.wait(Duration::from_secs(1));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let file = bo.find("a");
    let a = bo.directory(ROOT, "a");
    bo.rename(file, "a", a, "x");
    bo.rename(file, "b", a, "y");
    let makes: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Place(PlaceWish::MakeDirectory { .. }));
    stage.side("ada").failing = Some((makes, DiskError::NoSpace));
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(100));
    assert_eq!(names(&mut stage), ["b"], "a lies out of the way");
    bo.write(file, b"new");
    bo.rename(file, "y", ROOT, "b");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let told = std::mem::take(&mut stage.side("ada").faults);
    assert_eq!(told.len(), 1, "{told:?}");
    let want: [(&str, &[u8]); 3] = [("a/", b""), ("a/x", b"new"), ("b", b"new")];
    expect(&mut stage, &want);
    let files = &stage.side("ada").files;
    assert_eq!(files.inode("a/x"), files.inode("b"));
    is_quiet(&mut stage);
}

/// A file was deleted while ada waited for its bytes, and somebody's edit brought it back before
/// those came: she asked for them once more, as if they were not on their way.
#[test]
fn what_is_wanted_again_while_it_is_on_its_way_is_not_asked_for_again() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let a = bo.file(ROOT, "a", b"a");
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(200));
    assert_eq!(stage.unanswered.len(), 1);
    bo.remove(a, "a");
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(200));
    bo.chmod(a, 0o600);
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(200));
    assert_eq!(stage.unanswered.len(), 1);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", b"a")]);
}

#[test]
fn a_version_that_nobody_has_waits_for_who_comes() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    bo.file(ROOT, "a", b"a");
    bo.serves = false;
    bo.tell(&mut stage);
    stage.kill("ada");
    stage.unanswered.clear();
    stage.start("ada", Last::Killed);
    stage.wait(Duration::from_secs(5));
    assert_eq!(names(&mut stage), Vec::<String>::new());
    bo.serves = true;
    bo.connect(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", b"a")]);
}

#[test]
fn when_most_of_a_large_folder_is_missing_nobody_is_told_unless_that_was_meant() {
    let mut stage = Stage::new(&[]);
    for nr in 0..1_200 {
        stage.side("ada").files.write(&format!("f{nr}"), b"x");
    }
    stage.start("ada", Last::Clean);
    stage.wait(Duration::from_secs(1));
    stage.kill("ada");
    for nr in 0..1_100 {
        stage.side("ada").files.remove(&format!("f{nr}"));
    }
    let before = stage.side("ada").registers();
    stage.start("ada", Last::Killed);
    stage.wait(Duration::from_secs(5));
    assert!(stage.side("ada").stopped);
    let (missing, known) = (1_100, 1_200);
    assert_eq!(
        stage.side("ada").faults,
        [Fault::MuchMissing { missing, known }]
    );
    assert_eq!(stage.side("ada").registers(), before);
    stage.kill("ada");
    stage.side("ada").config.accept_deletes = true;
    stage.start("ada", Last::Clean);
    stage.wait(Duration::from_secs(5));
    assert_eq!(stage.shown("ada").len(), 100);
}

#[test]
fn many_small_files_share_their_syncs() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    for nr in 0..300_u32 {
        bo.file(ROOT, &format!("f{nr}"), &nr.to_le_bytes());
    }
    bo.tell(&mut stage);
    // Disks answer when all that can be asked for at once has been.
    stage.hold("ada", Held::Disk);
    stage.hold("ada", Held::Commits);
    let mut syncs = 0;
    for _ in 0..400 {
        while bo.serve_one(&mut stage) {}
        syncs += stage.let_all_by("ada");
    }
    assert_eq!(names(&mut stage).len(), 300);
    assert!(syncs < 60, "{syncs} syncs");
}

/// What is placed in the story that is killed at every step.
fn long_story(bo: &mut Bo, phase: u32) {
    match phase {
        0 => {
            let d = bo.directory(ROOT, "d");
            bo.file(d, "f", &[1; 600]);
            bo.symlink(ROOT, "l", "d/f");
            bo.file(ROOT, "empty", b"");
        }
        1 => {
            let (old, a, b) = (bo.find("old"), bo.find("a"), bo.find("b"));
            bo.write(old, b"rewritten");
            bo.rename(a, "a", ROOT, "between");
            bo.rename(b, "b", ROOT, "a");
            bo.rename(a, "between", ROOT, "b");
            let gone = bo.find("gone");
            bo.remove(gone, "gone");
        }
        _ => {
            let (d, old) = (bo.find("d"), bo.find("old"));
            let e = bo.directory(ROOT, "e");
            bo.rename(d, "d", e, "d");
            bo.link(old, e, "again");
            bo.chmod(old, 0o600);
        }
    }
}

/// Kills ada after so many of her actions, by the end of a disk job or commit, with or without a
/// loss of power; returns whether there were that many.
fn killed_after(steps: usize, lost: bool) -> bool {
    let mut stage = ada(&[
        ("old", b"old"),
        ("a", b"was a"),
        ("b", b"was b"),
        ("gone", b"gone"),
    ]);
    stage.side("ada").files.sync();
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    stage.hold("ada", Held::Disk);
    stage.hold("ada", Held::Commits);
    let mut left = steps;
    let mut killed = false;
    for phase in 0..3 {
        long_story(&mut bo, phase);
        bo.tell(&mut stage);
        for _ in 0..400 {
            if left == 0 && !killed {
                killed = true;
                if lost {
                    stage.power_loss("ada");
                } else {
                    stage.kill("ada");
                }
                stage.unanswered.clear();
                stage.release("ada", Held::Disk);
                stage.release("ada", Held::Commits);
                let found = tree(&mut stage);
                for (name, bytes) in &found {
                    let whole: [&[u8]; 8] = [
                        b"",
                        b"old",
                        b"was a",
                        b"was b",
                        b"gone",
                        b"rewritten",
                        b"-> d/f",
                        &[1; 600],
                    ];
                    assert!(whole.contains(&&bytes[..]), "{name} is half a file");
                }
                let last = if lost { Last::Lost } else { Last::Killed };
                stage.start("ada", last);
                stage.wait(Duration::from_millis(300));
                bo.connect(&mut stage);
                bo.tell_all(&mut stage);
                bo.attend(&mut stage);
            }
            let did = stage.let_one_by("ada") || bo.serve_one(&mut stage);
            if did && !killed {
                left -= 1;
            }
            if !did {
                break;
            }
        }
    }
    stage.release("ada", Held::Disk);
    stage.release("ada", Held::Commits);
    bo.attend(&mut stage);
    let want: BTreeMap<String, Vec<u8>> = [
        ("a", b"was b".to_vec()),
        ("b", b"was a".to_vec()),
        ("e/", Vec::new()),
        ("e/again", b"rewritten".to_vec()),
        ("e/d/", Vec::new()),
        ("e/d/f", vec![1; 600]),
        ("empty", Vec::new()),
        ("l", b"-> d/f".to_vec()),
        ("old", b"rewritten".to_vec()),
    ]
    .into_iter()
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .collect();
    assert_eq!(tree(&mut stage), want, "killed after {steps}");
    let ours = stage
        .side("ada")
        .registers()
        .iter()
        .filter(|register| register.stamp().dot.actor != crate::bo::BO)
        .filter(|register| !matches!(register, Register::Digest(_)))
        .count();
    // The root's attributes, and attributes, content and name of four files of hers, of which bo
    // has changed some.
    assert!(
        ours <= 13,
        "killed after {steps}: {ours} registers of her own"
    );
    killed
}

#[test]
fn a_kill_at_any_step_of_placing_loses_nothing_and_makes_nothing_up() {
    let mut steps = 0;
    while killed_after(steps, false) {
        steps += 1;
    }
    assert!(steps > 40, "the story has only {steps} steps");
}

#[test]
fn a_power_loss_at_any_step_of_placing_loses_nothing_and_makes_nothing_up() {
    let mut steps = 0;
    while killed_after(steps, true) {
        steps += 1;
    }
    assert!(steps > 40, "the story has only {steps} steps");
}

/// A version that was superseded while it was fetched left its file for fetched, and the next was
/// never asked for.
#[test]
fn a_version_that_is_superseded_while_it_is_fetched_makes_room_for_the_next() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.write(a, &[9; 700]);
    bo.tell(&mut stage);
    bo.write(a, &[8; 900]);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", &[8; 900])]);
    is_quiet(&mut stage);
}

/// Bo changed a chunk of a file of which he never read the others: they are in ada's own file, and
/// nowhere else.
#[test]
fn what_a_version_says_is_as_before_is_taken_from_the_file_that_stands() {
    let mut before = vec![1; 1_600];
    before[512..1_024].fill(2);
    let mut stage = ada(&[("a", &before)]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    let base = bo.version_of(a);
    let mut after = before.clone();
    after[600] = 9;
    bo.write(a, &after);
    bo.only_changed(base, &[1]);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    expect(&mut stage, &[("a", &after)]);
    is_quiet(&mut stage);
}

/// The same, and a program writes to the file before it was looked at: what it wrote is no part of
/// bo's version, and is kept.
#[test]
fn a_file_that_is_another_by_now_is_no_base() {
    let before = vec![1; 1_600];
    let mut stage = ada(&[("a", &before)]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    let base = bo.version_of(a);
    let mut after = before.clone();
    after[600] = 9;
    bo.write(a, &after);
    bo.only_changed(base, &[1]);
    let hers = vec![7; 1_600];
    stage.side("ada").files.write("a", &hers);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let found: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert!(found.contains(&hers), "{found:?}");
    for bytes in &found {
        assert!(*bytes == hers || *bytes == after || *bytes == before);
    }
}

/// Each directory was counted with all below it, and they once more: of a deep tree that was
/// deleted on purpose, five times as much was missed as there was.
#[test]
fn what_is_missing_is_counted_once_however_deep_it_lay() {
    let mut stage = Stage::new(&[]);
    stage.side("ada").config.writable = true;
    for dir in 0..40 {
        let mut path = format!("burst{dir}");
        stage.side("ada").files.mkdir(&path);
        for below in ["deep", "er"] {
            path = format!("{path}/{below}");
            stage.side("ada").files.mkdir(&path);
        }
        for file in 0..20 {
            stage
                .side("ada")
                .files
                .write(&format!("{path}/{file}"), b"x");
        }
    }
    stage.start("ada", Last::Clean);
    stage.wait(Duration::from_secs(2));
    for dir in 0..40 {
        for below in ["/deep/er", "/deep", ""] {
            if below == "/deep/er" {
                for file in 0..20 {
                    let path = format!("burst{dir}/deep/er/{file}");
                    stage.side("ada").files.remove(&path);
                    stage.hint(&path);
                }
            }
            let path = format!("burst{dir}{below}");
            stage.side("ada").files.remove(&path);
            stage.hint(&path);
        }
    }
    stage.wait(Duration::from_secs(5));
    assert_eq!(stage.side("ada").faults, []);
    assert!(stage.shown("ada").is_empty());
}

/// What the disk had refused was to be tried again, and ada was told to stop while another job was
/// under way: what was due stayed due, and she was woken for it without end.
#[test]
fn who_stops_does_not_wake_for_what_is_tried_no_more() {
    use tandem_core::event::Event;

    let makes: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Place(PlaceWish::MakeDirectory { .. }));
    let mut stage = ada(&[("a", b"a")]);
    let mut bo = Bo::join(&mut stage);
    bo.directory(ROOT, "d");
    stage.side("ada").failing = Some((makes, DiskError::NoSpace));
    bo.tell(&mut stage);
    assert_eq!(names(&mut stage), ["a"]);
    stage.hold("ada", Held::Disk);
    stage.hint("a");
    stage.event("ada", Event::Stop);
    stage.now = stage.now + Duration::from_secs(600);
    stage.event("ada", Event::Tick);
    let due = stage.side("ada").engine().poll_timeout();
    assert!(due.is_none_or(|due| due > stage.now), "{due:?}");
}
