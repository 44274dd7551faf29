//! What peers delete or overwrite is listed, kept for its time, and brought back.

use tandem_core::action::DiskWish;
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, Fault};
use tandem_core::event::Event;
use tandem_core::ids::{NodeId, ReqId};
use tandem_core::time::Duration;
use tandem_core::trash::{Fate, Restored, TrashWish, Trashed, Unrestored};
use tandem_core::tree::name::Name;

use crate::app::{both, secs};
use crate::bo::{BO, Bo};
use crate::placing::{ada, names, tree};
use crate::stage::{Held, Stage};

const ROOT: NodeId = NodeId::ROOT;
const DAY: u64 = 86_400;

/// Ada keeps what peers change for 30 days, as long as it is no more than `budget` bytes, and looks
/// at it each hour.
fn keeps(stage: &mut Stage, budget: u64) {
    let trash = &mut stage.side("ada").config.trash;
    trash.keep = Duration::from_secs(30 * DAY);
    trash.budget = budget;
    (trash.first, trash.look) = (secs(10), secs(3_600));
    stage.kill("ada");
    stage.start("ada", Last::Clean);
    stage.wait(secs(1));
}

fn listed(stage: &mut Stage) -> Vec<(u64, Trashed)> {
    let log = stage.side("ada").engine().trash_log();
    log.map(|(number, thing)| (number, thing.clone())).collect()
}

/// Returns the numbers and paths of what is listed.
fn log(stage: &mut Stage) -> Vec<(u64, String)> {
    let all = listed(stage).into_iter();
    all.map(|(number, thing)| (number, path(&thing.path)))
        .collect()
}

fn path(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join("/")
}

fn ask(stage: &mut Stage, name: &str, number: u64) -> ReqId {
    let req = ReqId(stage.draw());
    let wall = stage.side("ada").files.wall();
    stage.event(name, Event::Restore { req, number, wall });
    req
}

fn restore(stage: &mut Stage, number: u64) -> Result<Restored, Unrestored> {
    let req = ask(stage, "ada", number);
    let answer = stage.side("ada").restored.get(&req).cloned();
    answer.expect("it is answered")
}

/// Returns where a thing stands that is brought back.
fn restored(stage: &mut Stage, number: u64) -> String {
    let restored = restore(stage, number).unwrap();
    path(&restored.path)
}

/// Ada shares these, and bo knows of them.
fn with_bo(files: &[(&str, &[u8])]) -> (Stage, Bo) {
    let mut stage = ada(&[]);
    let here = &mut stage.side("ada").files;
    for (path, bytes) in files {
        for (at, _) in path.match_indices('/') {
            here.mkdir(&path[..at]);
        }
        here.write(path, bytes);
    }
    keeps(&mut stage, 1 << 20);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    (stage, bo)
}

#[test]
fn what_a_peer_replaces_or_deletes_is_listed_with_who_and_when() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first"), ("d/b", b"deep"), ("own", b"ada's")]);
    let (a, b) = (bo.find("a"), bo.find("b"));
    bo.write(a, b"second");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    // What ada does herself is not kept for her.
    stage.side("ada").files.write("own", b"anew");
    stage.side("ada").files.remove("own");
    stage.hint("own");
    stage.wait(secs(1));
    stage.side("ada").files.pass(60);
    bo.remove(b, "b");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let all = listed(&mut stage);
    assert_eq!(
        log(&mut stage),
        [(1, "d/b".to_owned()), (0, "a".to_owned())]
    );
    let [(_, deleted), (_, replaced)] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (deleted.fate, replaced.fate),
        (Fate::Deleted, Fate::Replaced)
    );
    for (thing, node, size) in [(deleted, b, 4), (replaced, a, 5)] {
        assert_eq!(thing.who.as_ref().map(|who| who.as_str()), Some("bo"));
        assert_eq!(thing.actor, Some(BO));
        assert_eq!(thing.version.map(|version| version.node), Some(node));
        assert_eq!(thing.print.size, size);
    }
    assert!(deleted.since.secs - replaced.since.secs >= 60);
    // Across a kill, and what comes after it has a number of its own.
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(20));
    assert_eq!(listed(&mut stage), all);
    bo.connect(&mut stage);
    bo.remove(a, "a");
    bo.tell(&mut stage);
    assert_eq!(log(&mut stage)[0], (2, "a".to_owned()));
}

#[test]
fn a_thing_comes_back_under_its_name_and_peers_hear_of_it() {
    let (mut stage, mut bo) = with_bo(&[("d/e/a.txt", b"first"), ("b", b"b")]);
    let (d, e, a) = (bo.find("d"), bo.find("e"), bo.find("a.txt"));
    bo.remove(a, "a.txt");
    bo.remove(e, "e");
    bo.remove(d, "d");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(names(&mut stage), ["b"]);
    assert_eq!(log(&mut stage), [(0, "d/e/a.txt".to_owned())]);
    stage.traffic.clear();
    assert_eq!(restored(&mut stage, 0), "d/e/a.txt");
    stage.wait(secs(3));
    assert_eq!(names(&mut stage), ["b", "d/", "d/e/", "d/e/a.txt"]);
    assert_eq!(tree(&mut stage)["d/e/a.txt"], b"first");
    bo.listen(&mut stage);
    assert_ne!(
        bo.find("a.txt"),
        a,
        "it is a new file, so that no delete is about it"
    );
    // It lies there until its time: it may be wanted again.
    assert_eq!(log(&mut stage), [(0, "d/e/a.txt".to_owned())]);
    let again = restored(&mut stage, 0);
    assert_eq!(again, "d/e/a (restored 2026-11-23 0000).txt");
    let third = restored(&mut stage, 0);
    assert_eq!(third, "d/e/a (restored 2026-11-23 0000-1).txt");
    stage.wait(secs(3));
    assert_eq!(tree(&mut stage)[&third], b"first");
    assert_eq!(stage.side("ada").faults, []);
}

#[test]
fn nothing_is_put_over_what_stands_there_or_is_on_its_way() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first"), ("b", b"b"), ("d/c", b"c")]);
    for (called, dir) in [("a", None), ("b", None), ("c", Some("d"))] {
        let node = bo.find(called);
        bo.remove(node, called);
        if let Some(dir) = dir {
            let node = bo.find(dir);
            bo.remove(node, dir);
        }
    }
    bo.tell(&mut stage);
    assert_eq!(log(&mut stage).len(), 3);
    let number = |stage: &mut Stage, path: &str| {
        let found = log(stage).into_iter().find(|(_, at)| at == path);
        found.unwrap().0
    };
    // A program has made one that nobody has seen yet.
    stage.side("ada").files.write("a", b"a program's");
    let (a, b, c) = (
        number(&mut stage, "a"),
        number(&mut stage, "b"),
        number(&mut stage, "d/c"),
    );
    let beside = format!("a (restored 2026-11-23 {a:04x})");
    assert_eq!(restored(&mut stage, a), beside);
    // Bo has made one of which the bytes are not here yet.
    bo.file(ROOT, "b", &[7; 900]);
    bo.tell(&mut stage);
    assert!(!names(&mut stage).contains(&"b".to_owned()));
    let beside = format!("b (restored 2026-11-23 {b:04x})");
    assert_eq!(restored(&mut stage, b), beside);
    // A file has the name of its directory.
    stage.side("ada").files.write("d", b"a file");
    let beside = format!("c (restored 2026-11-23 {c:04x})");
    assert_eq!(restored(&mut stage, c), beside);
    bo.attend(&mut stage);
    stage.wait(secs(3));
    let found = tree(&mut stage);
    assert_eq!(found["a"], b"a program's");
    assert_eq!(found["b"], [7; 900]);
    assert_eq!(found["d"], b"a file");
    assert_eq!(found.len(), 6);
}

/// Ada is killed as she does what bo wished: by the record the file stands, and it does not. What is
/// put back under that name at once would go with the next look: it stands beside it, and stays.
#[test]
fn what_comes_back_after_a_kill_stays_though_its_name_is_on_record() {
    let mut stale = 0;
    for steps in 0..12 {
        let (mut stage, mut bo) = with_bo(&[("d/a", b"first"), ("b", b"b")]);
        let (d, a) = (bo.find("d"), bo.find("a"));
        bo.remove(a, "a");
        bo.remove(d, "d");
        stage.hold("ada", Held::Disk);
        stage.hold("ada", Held::Commits);
        bo.tell(&mut stage);
        for _ in 0..steps {
            stage.let_one_by("ada");
        }
        stage.kill("ada");
        stage.release("ada", Held::Commits);
        stage.start("ada", Last::Killed);
        let is_gone = !names(&mut stage).contains(&"d/a".to_owned());
        let listed: Vec<u64> = log(&mut stage).iter().map(|(number, _)| *number).collect();
        let mut back = None;
        if let (true, [number]) = (is_gone, &listed[..]) {
            let req = ask(&mut stage, "ada", *number);
            stage.release("ada", Held::Disk);
            let restored = stage.side("ada").restored.get(&req).cloned();
            back = Some(path(&restored.expect("it is answered").unwrap().path));
        }
        stage.release("ada", Held::Disk);
        stage.wait(secs(5));
        if let Some(back) = back {
            assert_eq!(tree(&mut stage)[&back], b"first", "after {steps} steps");
            stale += usize::from(back != "d/a");
        }
    }
    assert!(stale > 0, "its name was never on record");
}

#[test]
fn what_was_kept_for_its_time_goes_and_nothing_younger() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first"), ("b", b"b")]);
    let (a, b) = (bo.find("a"), bo.find("b"));
    bo.remove(a, "a");
    bo.tell(&mut stage);
    stage.side("ada").files.pass(20 * 86_400);
    bo.remove(b, "b");
    bo.tell(&mut stage);
    stage.side("ada").files.pass(10 * 86_400 - 60);
    stage.wait(secs(3_700));
    assert_eq!(stage.side("ada").files.beside().len(), 2);
    stage.side("ada").files.pass(120);
    stage.wait(secs(3_700));
    assert_eq!(stage.side("ada").files.beside(), [b"b"]);
    assert_eq!(log(&mut stage), [(1, "b".to_owned())]);
    assert_eq!(restore(&mut stage, 0), Err(Unrestored::Unknown));
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(20));
    assert_eq!(log(&mut stage), [(1, "b".to_owned())]);
}

#[test]
fn the_oldest_goes_at_once_when_there_is_no_room() {
    let files: [(&str, &[u8]); 3] = [("a", &[1; 500]), ("b", &[2; 400]), ("c", &[3; 300])];
    let (mut stage, mut bo) = with_bo(&files);
    keeps(&mut stage, 900);
    bo.connect(&mut stage);
    let mut remove = |stage: &mut Stage, called| {
        let node = bo.find(called);
        bo.remove(node, called);
        bo.tell(stage);
    };
    remove(&mut stage, "a");
    remove(&mut stage, "b");
    assert_eq!(log(&mut stage).len(), 2);
    remove(&mut stage, "c");
    let left = [(2, "c".to_owned()), (1, "b".to_owned())];
    assert_eq!(log(&mut stage), left);
    assert_eq!(stage.side("ada").files.beside().len(), 2);
    assert_eq!(stage.side("ada").engine().trash_bytes(), 700);
    // With less room from the next start on.
    keeps(&mut stage, 300);
    stage.wait(secs(20));
    assert_eq!(log(&mut stage), left[..1]);
    assert_eq!(stage.side("ada").files.beside(), [[3; 300]]);
}

/// A kill came between the deed and its record: what lies there is listed by its name. And what
/// the user took out himself is forgotten.
#[test]
fn what_lies_there_is_the_truth() {
    let (mut stage, mut bo) = with_bo(&[("d/a", b"first"), ("b", b"b")]);
    let (a, b) = (bo.find("a"), bo.find("b"));
    bo.remove(b, "b");
    bo.tell(&mut stage);
    bo.remove(a, "a");
    stage.hold("ada", Held::Disk);
    bo.tell(&mut stage);
    assert_eq!(stage.side("ada").files.beside().len(), 2, "it was done");
    stage.kill("ada");
    stage.release("ada", Held::Disk);
    stage.start("ada", Last::Killed);
    stage.wait(secs(1));
    assert_eq!(log(&mut stage), [(0, "b".to_owned())]);
    stage.wait(secs(20));
    let all = listed(&mut stage);
    assert_eq!(log(&mut stage), [(1, "a".to_owned()), (0, "b".to_owned())]);
    assert_eq!((all[0].1.fate, &all[0].1.who), (Fate::Unknown, &None));
    assert_eq!(restored(&mut stage, 1), "a");
    stage.wait(secs(3));
    assert_eq!(tree(&mut stage)["a"], b"first");
    stage.side("ada").files.empty_trash();
    assert_eq!(restore(&mut stage, 1), Err(Unrestored::Gone));
    assert_eq!(log(&mut stage), [(0, "b".to_owned())]);
    stage.wait(secs(3_700));
    assert_eq!(log(&mut stage), []);
    assert_eq!(stage.side("ada").engine().trash_bytes(), 0);
    // No number ever means another thing.
    stage.kill("ada");
    stage.start("ada", Last::Clean);
    bo.connect(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    bo.remove(a, "a");
    bo.tell(&mut stage);
    assert_eq!(log(&mut stage), [(2, "a".to_owned())]);
}

/// Ada took it out of the trash by hand, and bo deletes it again.
#[test]
fn a_thing_that_was_taken_out_by_hand_and_comes_again_is_listed_once() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first"), ("b", b"b")]);
    let a = bo.find("a");
    bo.remove(a, "a");
    bo.tell(&mut stage);
    let thrown = stage.side("ada").files.thrown();
    stage.side("ada").files.rename(&thrown[0], "again");
    stage.hint("again");
    stage.wait(secs(3));
    bo.listen(&mut stage);
    let again = bo.find("again");
    bo.remove(again, "again");
    bo.tell(&mut stage);
    assert_eq!(log(&mut stage), [(1, "again".to_owned())]);
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(20));
    assert_eq!(log(&mut stage), [(1, "again".to_owned())]);
}

#[test]
fn what_can_not_be_brought_back_stays_and_is_said() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first")]);
    let a = bo.find("a");
    bo.remove(a, "a");
    bo.tell(&mut stage);
    assert_eq!(restore(&mut stage, 7), Err(Unrestored::Unknown));
    let why = DiskError::NoSpace;
    stage.side("ada").failing = Some((|_| true, why));
    let refused = restore(&mut stage, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it can't be put under a: no space left on device; it still lies in the trash"
    );
    // While it is on its way it is not asked for again, and does not go.
    stage.hold("ada", Held::Disk);
    let req = ask(&mut stage, "ada", 0);
    assert_eq!(restore(&mut stage, 0), Err(Unrestored::Busy));
    stage.release("ada", Held::Disk);
    stage.wait(secs(1));
    assert!(stage.side("ada").restored[&req].is_ok());
    assert_eq!(stage.side("ada").faults, []);
}

#[test]
fn a_trash_that_can_not_be_emptied_is_told_of_and_tried_again() {
    let (mut stage, mut bo) = with_bo(&[("a", b"first")]);
    let a = bo.find("a");
    bo.remove(a, "a");
    bo.tell(&mut stage);
    stage.wait(secs(20));
    stage.side("ada").files.pass(31 * 86_400);
    let why = DiskError::Denied;
    let is_removal: fn(&DiskWish) -> bool =
        |wish| matches!(wish, DiskWish::Trash(TrashWish::Remove { .. }));
    stage.side("ada").failing = Some((is_removal, why));
    stage.wait(secs(3_600));
    let what = "emptying the trash".to_owned();
    assert_eq!(stage.side("ada").faults, [Fault::Disk { what, why }]);
    assert_eq!(log(&mut stage).len(), 1);
    stage.wait(secs(3_600));
    assert_eq!(log(&mut stage), []);
}

#[test]
fn whoever_joined_keeps_nothing() {
    let mut stage = both();
    stage.wait(secs(1));
    let req = ask(&mut stage, "bo", 0);
    assert_eq!(stage.side("bo").restored[&req], Err(Unrestored::NotShared));
}

/// Two files change places, for which one of them is taken out of the way; and there it is deleted.
#[test]
fn what_lay_out_of_the_way_is_listed_under_its_last_name() {
    let (mut stage, mut bo) = with_bo(&[("d/a", b"first"), ("d/b", b"second")]);
    let (d, a, b) = (bo.find("d"), bo.find("a"), bo.find("b"));
    bo.rename(a, "a", d, "b");
    bo.rename(b, "b", d, "a");
    stage.hold("ada", Held::Disk);
    bo.tell(&mut stage);
    while stage.side("ada").files.parked().is_none() {
        assert!(stage.let_one_by("ada"), "one is taken out of the way");
    }
    bo.remove(a, "b");
    bo.remove(b, "a");
    bo.tell(&mut stage);
    stage.release("ada", Held::Disk);
    stage.wait(secs(3));
    assert_eq!(names(&mut stage), ["d/"]);
    let mut paths: Vec<String> = log(&mut stage).into_iter().map(|(_, path)| path).collect();
    paths.sort();
    // One stood there still, and the other was to.
    assert_eq!(paths, ["d/a", "d/a"]);
}
