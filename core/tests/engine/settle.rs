//! Conflicts are listed, and settled.

use tandem_core::conflicts::{Conflict, Keep, Settled, Unsettled};
use tandem_core::edit::Edit;
use tandem_core::engine::Last;
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Ino, ReqId};
use tandem_core::time::Time;
use tandem_core::tree::name::Name;

use crate::app::{both, close, copy_of, create, is_done, open, read, resize, secs, size, written};
use crate::bo::Bo;
use crate::placing::tree;
use crate::stage::{Held, Stage, path, photo};

const PEERS: [&str; 2] = ["ada", "bo"];

/// Ada and bo have both written to the photo while apart, and ada's version has won; returns the
/// name of bo's conflict copy.
fn apart() -> (Stage, String) {
    let mut stage = both();
    read(&mut stage, "photo");
    stage.mute("ada");
    for word in [b"once".as_slice(), b"ada's"] {
        stage.side("ada").files.write("photo", word);
        stage.hint("photo");
        stage.wait(secs(2));
    }
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"HELLO", 101);
    close(&mut stage, fh);
    stage.unmute("ada");
    stage.wait(secs(25));
    let copy = copy_of(&mut stage);
    assert_eq!(tree(&mut stage)["photo"], b"ada's");
    assert_eq!(tree(&mut stage)[&copy], hello());
    (stage, copy)
}

fn hello() -> Vec<u8> {
    let mut bytes = photo();
    bytes[..5].copy_from_slice(b"HELLO");
    bytes
}

fn listed(stage: &mut Stage, name: &str) -> Vec<Conflict> {
    stage.side(name).engine().conflicts()
}

/// Returns a listed path as text.
fn text(path: &[Name]) -> String {
    let names: Vec<String> = path.iter().map(ToString::to_string).collect();
    names.join("/")
}

fn settle(stage: &mut Stage, name: &str, file: &str, keep: Keep) -> Result<Settled, Unsettled> {
    let result = settle_now(stage, name, file, keep);
    stage.wait(secs(25));
    result
}

fn settle_now(stage: &mut Stage, name: &str, file: &str, keep: Keep) -> Result<Settled, Unsettled> {
    let req = ReqId(stage.draw());
    let path = path(file);
    stage.event(name, Event::Settle { req, path, keep });
    let result = stage.side(name).settled.remove(&req);
    result.expect("it is answered at once")
}

/// Checks that the folder and bo's mount have these files and nothing else, and no conflict.
#[track_caller]
fn holds(stage: &mut Stage, files: &[(&str, &[u8])]) {
    let folder = tree(stage);
    let wanted = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    assert_eq!(folder, wanted.collect());
    for (name, bytes) in files {
        assert_eq!(read(stage, name), *bytes, "{name}");
    }
    let shown = stage.shown("bo");
    assert_eq!(shown.len(), files.len(), "{shown:?}");
    for name in PEERS {
        assert_eq!(listed(stage, name), []);
    }
}

#[test]
fn a_conflict_is_listed_on_both_sides() {
    let (mut stage, copy) = apart();
    for name in PEERS {
        let all = listed(&mut stage, name);
        assert_eq!(all.len(), 1);
        assert_eq!(stage.side(name).engine().status(Time::ZERO).conflicts, 1);
        let conflict = &all[0];
        assert_eq!(text(&conflict.path), "photo");
        let file = conflict.file.as_ref().unwrap();
        let (author, _) = file.author.as_ref().unwrap();
        assert_eq!((author.as_str(), file.size), ("ada", 5));
        assert_eq!(file.is_mine, name == "ada");
        let [(at, side)] = &conflict.copies[..] else {
            panic!("{conflict:?}");
        };
        assert_eq!(text(at), copy);
        let (author, day) = side.author.as_ref().unwrap();
        assert_eq!((author.as_str(), *day, side.size), ("bo", 0, 1_600));
        assert_eq!(side.is_mine, name == "bo");
        assert_eq!((file.gone, side.gone), (0, 0));
    }
}

#[test]
fn one_side_is_kept_on_either_machine_by_either_name() {
    for name in PEERS {
        for (keep, author) in [(Keep::Mine, name), (Keep::Theirs, other(name))] {
            for by_copy in [false, true] {
                let (mut stage, copy) = apart();
                let file = if by_copy { copy } else { "photo".to_owned() };
                let settled = settle(&mut stage, name, &file, keep).unwrap();
                assert_eq!(text(&settled.path), "photo");
                assert_eq!(settled.stays.to_string(), author);
                assert_eq!(settled.gone.to_string(), other(author));
                assert_eq!(settled.beside, Vec::<Vec<Name>>::new());
                let ada = b"ada's".to_vec();
                let (stays, gone) = if author == "ada" {
                    (ada, hello())
                } else {
                    (hello(), ada)
                };
                holds(&mut stage, &[("photo", &stays)]);
                assert!(
                    stage.side("ada").files.beside().contains(&gone),
                    "{name} {keep:?}"
                );
                stage.kill(name);
                stage.start(name, Last::Killed);
                stage.wait(secs(25));
                holds(&mut stage, &[("photo", &stays)]);
            }
        }
    }
}

fn other(name: &str) -> &'static str {
    if name == "ada" { "bo" } else { "ada" }
}

/// A copy that is kept goes on as any file: a later edit of the other one leaves it alone.
#[test]
fn both_are_kept_and_are_two_files() {
    for name in PEERS {
        let (mut stage, copy) = apart();
        let settled = settle(&mut stage, name, "photo", Keep::Both).unwrap();
        assert_eq!(settled.stays.to_string(), "ada and bo");
        assert_eq!(text(&settled.beside[0]), copy);
        holds(&mut stage, &[("photo", b"ada's"), (&copy, &hello())]);
        stage.side("ada").files.write("photo", b"later");
        stage.hint("photo");
        stage.wait(secs(5));
        holds(&mut stage, &[("photo", b"later"), (&copy, &hello())]);
    }
}

/// Who has a file open goes on reading what it was, under whatever name.
#[test]
fn open_handles_follow() {
    let (mut stage, copy) = apart();
    let (ino, fh) = open(&mut stage, &copy);
    let (_, old) = open(&mut stage, "photo");
    settle(&mut stage, "bo", "photo", Keep::Mine).unwrap();
    assert_eq!(stage.lookup("bo", "photo"), ino);
    let req = stage.read("bo", fh, 0, 5);
    assert_eq!(stage.bytes("bo", req), b"HELLO");
    let req = stage.read("bo", old, 0, 5);
    assert_eq!(stage.bytes("bo", req), b"ada's");
    written(&mut stage, fh, 0, b"AGAIN", 103);
    close(&mut stage, fh);
    close(&mut stage, old);
    stage.wait(secs(25));
    let mut bytes = photo();
    bytes[..5].copy_from_slice(b"AGAIN");
    holds(&mut stage, &[("photo", &bytes)]);
}

/// Both made a file of one name while apart, and ada's keeps it.
fn namesakes() -> (Stage, String) {
    let mut stage = both();
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(secs(25));
    stage.mute("ada");
    stage.side("ada").files.write("new", b"ada's");
    stage.hint("new");
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bo's", 101);
    close(&mut stage, fh);
    stage.wait(secs(3));
    stage.unmute("ada");
    stage.wait(secs(25));
    let copy = copy_of(&mut stage);
    assert_eq!(tree(&mut stage).len(), 2);
    (stage, copy)
}

#[test]
fn files_of_one_name_are_a_conflict() {
    for name in PEERS {
        for (keep, author) in [(Keep::Mine, name), (Keep::Theirs, other(name))] {
            let (mut stage, _) = namesakes();
            let all = listed(&mut stage, name);
            assert_eq!(text(&all[0].path), "new");
            settle(&mut stage, name, "new", keep).unwrap();
            let (stays, gone) = if author == "ada" {
                ("ada's", "bo's")
            } else {
                ("bo's", "ada's")
            };
            holds(&mut stage, &[("new", stays.as_bytes())]);
            assert!(
                stage
                    .side("ada")
                    .files
                    .beside()
                    .contains(&gone.as_bytes().to_vec())
            );
        }
        let (mut stage, copy) = namesakes();
        let mut files = tree(&mut stage);
        settle(&mut stage, name, &copy, Keep::Both).unwrap();
        let (first, beside) = (files.remove("new").unwrap(), files.remove(&copy).unwrap());
        holds(&mut stage, &[("new", &first), (&copy, &beside)]);
    }
}

/// Each of them settles it while they are apart: only what both threw away is gone.
#[test]
fn two_who_settle_one_conflict_apart_agree_again() {
    let all = [Keep::Mine, Keep::Theirs, Keep::Both];
    for (ada, bo) in all.into_iter().flat_map(|ada| all.map(|bo| (ada, bo))) {
        for meet in [both_apart, both_namesakes] {
            let (mut stage, file) = meet();
            let before = tree(&mut stage);
            let (first, second) = match &before.values().collect::<Vec<_>>()[..] {
                [one, other] if **one == b"ada's" => ((*one).clone(), (*other).clone()),
                [one, other] => ((*other).clone(), (*one).clone()),
                files => panic!("{files:?}"),
            };
            stage.mute("ada");
            settle(&mut stage, "ada", file, ada).unwrap();
            settle(&mut stage, "bo", file, bo).unwrap();
            stage.unmute("ada");
            stage.wait(secs(40));
            let files = tree(&mut stage);
            let names: Vec<(&String, usize)> = files
                .iter()
                .map(|(name, bytes)| (name, bytes.len()))
                .collect();
            let said = format!("{ada:?} {bo:?}: {names:?}");
            let has = |bytes: &Vec<u8>| files.values().any(|file| file == bytes);
            let wanted = (
                ada != Keep::Theirs || bo != Keep::Mine,
                ada != Keep::Mine || bo != Keep::Theirs,
            );
            assert_eq!((has(&first), has(&second)), wanted, "{said}");
            // Named twice apart, a conflict copy has two names.
            let is_named_twice = ada != bo && files.len() > 2;
            let count = usize::from(wanted.0) + usize::from(wanted.1);
            assert!(files.len() == count || is_named_twice, "{said}");
            assert!(files.contains_key(file), "{said}");
            for (name, bytes) in &files {
                assert_eq!(read(&mut stage, name), *bytes, "{said}");
            }
            assert_eq!(stage.shown("bo").len(), files.len(), "{said}");
            // And each of them can be removed for good.
            for _ in 0..files.len() {
                let name = stage.shown("bo").pop_last().unwrap();
                let (parent, name) = (Ino::ROOT, name.as_bytes()[1..].to_vec());
                let edit = Edit::Unlink { parent, name };
                let req = stage.call("bo", FsCall::Edit(edit));
                assert!(is_done(&mut stage, req));
                stage.wait(secs(3));
            }
            stage.wait(secs(25));
            assert_eq!(tree(&mut stage).len(), 0, "{said}");
        }
    }
}

fn both_apart() -> (Stage, &'static str) {
    (apart().0, "photo")
}

fn both_namesakes() -> (Stage, &'static str) {
    (namesakes().0, "new")
}

/// Bo settles it while ada goes on with what would go: her edit stays.
#[test]
fn an_edit_that_was_not_known_is_not_thrown_away() {
    let (mut stage, copy) = apart();
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"go on");
    stage.hint("photo");
    stage.wait(secs(2));
    settle(&mut stage, "bo", &copy, Keep::Mine).unwrap();
    stage.unmute("ada");
    stage.wait(secs(40));
    let files: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert!(
        files.contains(&b"go on".to_vec()) && files.contains(&hello()),
        "{files:?}"
    );
    assert_eq!(listed(&mut stage, "bo").len(), 1);
}

/// The file has two names, and the version that is kept stands under both.
#[test]
fn what_is_kept_has_all_names_of_the_file() {
    for name in PEERS {
        let mut stage = both();
        stage.side("ada").files.link("photo", "other");
        stage.hint("other");
        stage.wait(secs(1));
        read(&mut stage, "photo");
        stage.mute("ada");
        for word in [b"once".as_slice(), b"ada's"] {
            stage.side("ada").files.write("photo", word);
            stage.hint("photo");
            stage.wait(secs(2));
        }
        let (_, fh) = open(&mut stage, "photo");
        written(&mut stage, fh, 0, b"HELLO", 101);
        close(&mut stage, fh);
        stage.unmute("ada");
        stage.wait(secs(25));
        let keep = if name == "bo" {
            Keep::Mine
        } else {
            Keep::Theirs
        };
        settle(&mut stage, name, "photo", keep).unwrap();
        holds(&mut stage, &[("other", &hello()), ("photo", &hello())]);
        let files = &stage.side("ada").files;
        assert_eq!(files.inode("other"), files.inode("photo"));
        assert_eq!(stage.lookup("bo", "other"), stage.lookup("bo", "photo"));
    }
}

#[test]
fn what_can_not_be_told_apart_is_not_chosen_between() {
    let mut stage = Stage::new(&["bo", "cleo"]);
    stage.side("ada").files.write("photo", &photo());
    for name in ["ada", "bo", "cleo"] {
        stage.side(name).config.writable = true;
        stage.start(name, Last::Clean);
    }
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, &hello(), 101);
    close(&mut stage, fh);
    stage.unmute("ada");
    stage.wait(secs(25));
    for keep in [Keep::Mine, Keep::Theirs] {
        let why = settle(&mut stage, "cleo", "photo", keep).unwrap_err();
        let said = why.to_string();
        assert!(
            said.starts_with("all of it was written by ada and bo, elsewhere"),
            "{said}"
        );
    }
    assert_eq!(listed(&mut stage, "cleo").len(), 1);
    settle(&mut stage, "cleo", "photo", Keep::Both).unwrap();
    assert_eq!(tree(&mut stage).len(), 2);
    assert_eq!(listed(&mut stage, "ada"), []);
}

#[test]
fn what_is_being_written_does_not_go() {
    let (mut stage, _) = apart();
    let (ino, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"BO", 102);
    let why = settle_now(&mut stage, "bo", "photo", Keep::Mine).unwrap_err();
    let path = "/photo".to_owned();
    assert_eq!(why, Unsettled::BeingWritten { path });
    close(&mut stage, fh);
    stage.wait(secs(25));
    assert_eq!(size(&mut stage, ino), 5);
    assert_eq!(tree(&mut stage)["photo"], b"BOa's");
}

#[test]
fn what_is_in_no_conflict_is_not_settled() {
    let mut stage = both();
    for (file, why) in [
        ("photo", Unsettled::NoConflict),
        ("none", Unsettled::NotFound),
    ] {
        for name in PEERS {
            assert_eq!(settle(&mut stage, name, file, Keep::Mine), Err(why.clone()));
        }
    }
    let mut stage = Stage::met();
    for name in PEERS {
        let why = settle(&mut stage, name, "photo", Keep::Mine).unwrap_err();
        assert_eq!(why, Unsettled::ReadOnly);
    }
}

/// Ada and bo wrote the same, and cleo's version won over both: one conflict copy is shown for the
/// two, and there is one file of it in the end.
#[test]
fn equal_copies_are_settled_as_one() {
    for keep in [Keep::Both, Keep::Theirs] {
        let mut stage = both();
        read(&mut stage, "photo");
        let mut cleo = Bo::join(&mut stage);
        cleo.listen(&mut stage);
        let (node, knew) = (cleo.find("photo"), cleo.knows.clone());
        stage.mute("ada");
        stage.side("ada").files.write("photo", b"same!");
        stage.hint("photo");
        let (ino, fh) = open(&mut stage, "photo");
        resize(&mut stage, ino, 0, 101);
        written(&mut stage, fh, 0, b"same!", 101);
        close(&mut stage, fh);
        stage.unmute("ada");
        stage.wait(secs(25));
        cleo.connect(&mut stage);
        cleo.write_on(node, knew, b"cleo's");
        cleo.tell(&mut stage);
        cleo.attend(&mut stage);
        stage.wait(secs(5));
        // Once all of them was read, it is known that they are equal.
        for name in stage.shown("bo") {
            read(&mut stage, &name[1..]);
        }
        cleo.attend(&mut stage);
        let copy = copy_of(&mut stage);
        let all = listed(&mut stage, "bo");
        assert_eq!(all[0].copies.len(), 1, "{all:?}");
        let by_ada = all[0].copies[0].1.author.as_ref().unwrap().0.as_str() == "ada";
        match keep {
            Keep::Both => {
                settle(&mut stage, "bo", "photo", keep).unwrap();
                holds(&mut stage, &[("photo", b"cleo's"), (&copy, b"same!")]);
            }
            Keep::Mine | Keep::Theirs => {
                // Of the two the one that shows says whose they are.
                let name = if by_ada { "bo" } else { "ada" };
                let why = settle(&mut stage, name, "photo", Keep::Mine).unwrap_err();
                assert!(matches!(why, Unsettled::OneSided { .. }), "{why}");
                let name = other(name);
                settle(&mut stage, name, "photo", keep).unwrap();
                holds(&mut stage, &[("photo", b"cleo's")]);
            }
        }
    }
}

/// The folder is not looked through yet: what lies there may be newer than what is known.
#[test]
fn nothing_is_settled_before_all_is_known() {
    let (mut stage, _) = apart();
    stage.kill("ada");
    stage.hold("ada", Held::Disk);
    stage.start("ada", Last::Killed);
    let why = settle_now(&mut stage, "ada", "photo", Keep::Mine).unwrap_err();
    assert_eq!(why, Unsettled::Starting);
    stage.release("ada", Held::Disk);
    stage.wait(secs(5));
    settle(&mut stage, "ada", "photo", Keep::Mine).unwrap();
    holds(&mut stage, &[("photo", b"ada's")]);
}

/// Bo wrote to a part of a photo of which he had nothing, and ada went over it in place: what lay
/// around his words is nowhere any more. It is listed, and nothing that is whole goes for it.
#[test]
fn what_is_nowhere_any_more_is_listed() {
    let mut stage = both();
    let (_, fh) = open(&mut stage, "photo");
    stage.mute("ada");
    for word in [b"once".as_slice(), b"ada's"] {
        stage.side("ada").files.write("photo", word);
        stage.hint("photo");
        stage.wait(secs(2));
    }
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.unmute("ada");
    stage.wait(secs(60));
    let copy = copy_of(&mut stage);
    let gone = |stage: &mut Stage, name| listed(stage, name)[0].copies[0].1.gone;
    assert_eq!(gone(&mut stage, "bo"), 1_600 - 5);
    assert_eq!(gone(&mut stage, "ada"), 1_600);
    let why = settle(&mut stage, "bo", "photo", Keep::Mine).unwrap_err();
    let said = why.to_string();
    let what = format!("/{copy} would stay, and 1595 bytes of it are nowhere any more");
    assert!(said.starts_with(&what), "{said}");
    assert_eq!(tree(&mut stage)["photo"], b"ada's");
    settle(&mut stage, "ada", "photo", Keep::Mine).unwrap();
    holds(&mut stage, &[("photo", b"ada's")]);
}

/// Ada's file still stood as the one that bo had written, whose bytes had not come, when she settled
/// for hers: she waited for herself, and bo's, which he had not let go of, never got a name.
#[test]
fn what_stands_under_the_name_that_it_is_kept_for_stays_there() {
    let mut stage = crate::placing::ada(&[("photo", b"first")]);
    // She is somebody else after that, of a lower id: her copy keeps the name.
    stage.kill("ada");
    stage.start("ada", Last::Lost);
    stage.wait(secs(3));
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (node, knew) = (bo.find("photo"), bo.knows.clone());
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(secs(2));
    bo.write_on(node, knew, b"bo's words");
    bo.tell(&mut stage);
    settle_now(&mut stage, "ada", "photo", Keep::Mine).unwrap();
    stage.wait(secs(2));
    assert_eq!(tree(&mut stage).len(), 1);
    bo.chmod(node, 0o600);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let files = tree(&mut stage);
    assert_eq!(files["photo"], b"ada's");
    let copies: Vec<&Vec<u8>> = files.values().skip(1).collect();
    assert_eq!(copies, [b"bo's words"]);
}

/// Ada throws bo's away and goes on with hers, while bo keeps both and knows nothing of that: his was
/// nowhere any more, since her next version had taken the place of it, too.
#[test]
fn what_was_kept_stays_though_who_threw_it_away_has_gone_on() {
    let (mut stage, copy) = apart();
    stage.mute("ada");
    settle(&mut stage, "ada", "photo", Keep::Mine).unwrap();
    stage.side("ada").files.write("photo", b"later");
    stage.hint("photo");
    stage.wait(secs(5));
    settle(&mut stage, "bo", "photo", Keep::Both).unwrap();
    stage.unmute("ada");
    stage.wait(secs(40));
    holds(&mut stage, &[("photo", b"later"), (&copy, &hello())]);
}
