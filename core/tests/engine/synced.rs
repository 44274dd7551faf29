//! Being sure: what is synced, what is waited for, and how a file stands.

use tandem_core::action::{DiskWish, FsReply};
use tandem_core::edit::{Edit, Make, XattrHow};
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, FsError};
use tandem_core::event::FsCall;
use tandem_core::ids::{Ino, LinkId, NodeId};
use tandem_core::limits::FORMER_ACTORS_MAX;
use tandem_core::message::Message;
use tandem_core::place_wish::PlaceWish;
use tandem_core::status::SyncStatus;
use tandem_core::time::Duration;

use crate::app::{
    MAKING, alone, both, close, copy_of, create, flush, greeting, met, open, read, resize, secs,
    written,
};
use crate::bo::Bo;
use crate::held::{hears, superseded};
use crate::placing::{ada, names, tree};
use crate::stage::{Held, Stage, Traffic, photo};

/// Returns what `name` says of itself.
fn said(stage: &mut Stage, name: &str) -> SyncStatus {
    stage.side(name).engine().sync_status()
}

fn is_synced(stage: &mut Stage, name: &str) -> bool {
    said(stage, name).synced
}

/// Returns the files that `name` says it waits for.
fn waiting(stage: &mut Stage, name: &str) -> Vec<String> {
    let waiting = said(stage, name).waiting.into_iter();
    let path = |path: Vec<tandem_core::tree::name::Name>| {
        let names: Vec<String> = path.iter().map(ToString::to_string).collect();
        names.join("/")
    };
    waiting.map(|file| path(file.path)).collect()
}

/// Returns how many registers `name` says that its one peer has not acknowledged.
fn unacknowledged(stage: &mut Stage, name: &str) -> u64 {
    let peers = said(stage, name).peers;
    assert_eq!(peers.len(), 1);
    peers[0].unacknowledged
}

/// Bo makes a file of four bytes and closes it.
fn make(stage: &mut Stage, name: &str) {
    let (_, fh) = create(stage, name);
    written(stage, fh, 0, b"bo's", 101);
    close(stage, fh);
}

fn make_directory(stage: &mut Stage, name: &str) {
    let edit = Edit::Make {
        parent: Ino::ROOT,
        name: name.into(),
        what: Make::Directory,
        making: MAKING,
    };
    let req = stage.call("bo", FsCall::Edit(edit));
    assert!(matches!(stage.answer("bo", req), Some(Ok(_))));
}

fn is_harden(wish: &DiskWish) -> bool {
    matches!(wish, DiskWish::Place(PlaceWish::Harden))
}

/// Ada's disk refuses to make things survive power loss, once; it is asked again a second later.
fn refuse_one_sync(stage: &mut Stage) {
    stage.side("ada").failing = Some((is_harden, DiskError::Io));
}

// What is waited for.

/// A joiner that never met its host would be told that all is well.
#[test]
fn with_nobody_connected_nothing_is_synced() {
    let mut stage = alone();
    assert!(!is_synced(&mut stage, "bo"));
    let mut stage = both();
    stage.wait(secs(2));
    assert!(is_synced(&mut stage, "bo"));
    assert!(is_synced(&mut stage, "ada"));
    stage.kill("ada");
    assert!(!is_synced(&mut stage, "bo"));
    assert_eq!(said(&mut stage, "bo").peers, []);
}

#[test]
fn what_a_peer_has_not_stored_is_waited_for() {
    let mut stage = both();
    stage.wait(secs(2));
    stage.hold("ada", Held::Commits);
    make_directory(&mut stage, "d");
    stage.wait(secs(2));
    assert_eq!(said(&mut stage, "bo").unheld, 0);
    assert!(!is_synced(&mut stage, "bo"));
    assert!(unacknowledged(&mut stage, "bo") >= 2, "attributes and name");
    stage.release("ada", Held::Commits);
    stage.wait(secs(2));
    assert_eq!(names(&mut stage), ["d/", "photo"]);
    assert!(is_synced(&mut stage, "bo"));
    assert_eq!(unacknowledged(&mut stage, "bo"), 0);
}

/// The link broke while ada stored what bo had told her. She came again and said up to where she had
/// heard him, and he took that for what she has stored.
#[test]
fn what_a_peer_has_heard_and_not_stored_is_waited_for_on_its_next_link() {
    let mut stage = both();
    stage.wait(secs(2));
    stage.hold("ada", Held::Commits);
    make_directory(&mut stage, "d");
    stage.wait(secs(1));
    stage.cut();
    stage.wait(secs(5));
    assert_eq!(
        said(&mut stage, "bo").peers.len(),
        1,
        "they are linked again"
    );
    assert!(unacknowledged(&mut stage, "bo") >= 2, "attributes and name");
    assert!(!is_synced(&mut stage, "bo"));
    stage.release("ada", Held::Commits);
    stage.wait(secs(2));
    assert_eq!(names(&mut stage), ["d/", "photo"]);
    assert!(is_synced(&mut stage, "bo"));
}

/// Bo says twice that he has stored the first of two batches: the second is on its way still.
#[test]
fn an_acknowledgement_that_is_repeated_counts_once() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    for _ in 0..3 {
        bo.listen(&mut stage);
        stage.wait(Duration::from_millis(100));
    }
    assert!(is_synced(&mut stage, "ada"));
    stage.traffic.clear();
    for directory in ["d", "e"] {
        stage.side("ada").files.mkdir(directory);
        stage.hint(directory);
        stage.wait(secs(1));
    }
    let told = std::mem::take(&mut stage.traffic).into_iter();
    let batch = |traffic: Traffic| match traffic.message {
        Message::Registers(batch) if traffic.is_sent && traffic.side == 0 => Some(batch.upto),
        _ => None,
    };
    let told: Vec<_> = told.filter_map(batch).collect();
    assert!(told.len() == 2 && told[0] < told[1], "{told:?}");
    for _ in 0..2 {
        stage.said("ada", bo.link, Message::Ack(told[0]));
        assert!(!is_synced(&mut stage, "ada"));
    }
}

/// Whoever joins a large folder and makes one file has one file on its way, and not as many
/// changes as he was told.
#[test]
fn what_came_from_a_peer_is_not_on_its_way_to_it() {
    let mut stage = both();
    stage.wait(secs(2));
    let before = stage.side("bo").registers().len() as u64;
    stage.deaf = &["ada"];
    let (_, fh) = create(&mut stage, "empty");
    close(&mut stage, fh);
    stage.wait(secs(2));
    let on_their_way = unacknowledged(&mut stage, "bo");
    let now = stage.side("bo").registers().len() as u64;
    assert!(on_their_way > 0);
    assert!(on_their_way <= now - before, "{on_their_way}");
}

/// Ada has all that bo made, and a power loss could take it: he is told that by name.
#[test]
fn what_a_host_does_not_hold_for_good_is_waited_for() {
    let mut stage = both();
    stage.wait(secs(2));
    refuse_one_sync(&mut stage);
    make(&mut stage, "new");
    stage.wait(Duration::from_millis(800));
    assert_eq!(tree(&mut stage)["new"], b"bo's");
    for side in ["ada", "bo"] {
        let said = said(&mut stage, side);
        assert!(!said.synced, "{side}");
        assert_eq!(said.unheld, 1, "{side}");
        assert_eq!(waiting(&mut stage, side), ["new"]);
    }
    assert_eq!(unacknowledged(&mut stage, "bo"), 0);
    stage.wait(secs(3));
    assert!(is_synced(&mut stage, "bo"));
    assert!(is_synced(&mut stage, "ada"));
    stage.power_loss("ada");
    assert_eq!(tree(&mut stage)["new"], b"bo's");
}

#[test]
fn what_is_written_and_no_version_yet_is_waited_for() {
    let mut stage = both();
    stage.wait(secs(2));
    make(&mut stage, "new");
    stage.wait(secs(2));
    assert!(is_synced(&mut stage, "bo"));
    let (_, fh) = open(&mut stage, "new");
    written(&mut stage, fh, 0, b"more", 102);
    assert!(!is_synced(&mut stage, "bo"));
    assert_eq!(said(&mut stage, "bo").unpublished, 1);
    assert_eq!(waiting(&mut stage, "bo"), ["new"]);
    // A quiet second makes a version of it.
    stage.wait(secs(5));
    assert_eq!(tree(&mut stage)["new"], b"more");
    assert!(is_synced(&mut stage, "bo"));
}

/// Ada has heard of what bo made, and has none of its bytes.
#[test]
fn a_host_waits_for_the_bytes_of_what_it_has_heard_of() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.serves = false;
    bo.file(NodeId::ROOT, "b", b"bo's");
    bo.tell(&mut stage);
    for _ in 0..3 {
        stage.wait(Duration::from_millis(100));
        bo.listen(&mut stage);
    }
    assert_eq!(said(&mut stage, "ada").unheld, 1);
    assert_eq!(unacknowledged(&mut stage, "ada"), 0);
    assert!(!is_synced(&mut stage, "ada"));
    bo.serves = true;
    bo.attend(&mut stage);
    bo.listen(&mut stage);
    assert_eq!(tree(&mut stage)["b"], b"bo's");
    assert_eq!(said(&mut stage, "ada").unheld, 0);
    assert!(is_synced(&mut stage, "ada"));
}

/// The watcher has said that something changed: what that is nobody knows yet.
#[test]
fn what_a_host_has_not_looked_at_is_waited_for() {
    let mut stage = both();
    stage.wait(secs(2));
    stage.hold("ada", Held::Disk);
    stage.side("ada").files.write("photo", b"changed");
    stage.hint("photo");
    assert_eq!(said(&mut stage, "ada").unseen, 1);
    assert!(!is_synced(&mut stage, "ada"));
    stage.release("ada", Held::Disk);
    stage.wait(secs(3));
    assert!(is_synced(&mut stage, "ada"));
    assert_eq!(read(&mut stage, "photo"), b"changed");
}

/// After each power loss ada is another actor, and she remembers so many of them. What she made as
/// the first stands in her folder, and nobody will ever say of it that it is held.
#[test]
fn a_host_does_not_wait_for_what_it_made_before_a_power_loss() {
    let mut stage = ada(&[("a", b"first")]);
    for _ in 0..FORMER_ACTORS_MAX + 2 {
        stage.power_loss("ada");
        stage.start("ada", Last::Lost);
        stage.wait(secs(2));
    }
    assert_eq!(said(&mut stage, "ada").unheld, 0);
    let mut bo = Bo::join(&mut stage);
    for _ in 0..3 {
        bo.listen(&mut stage);
        stage.wait(Duration::from_millis(100));
    }
    assert!(is_synced(&mut stage, "ada"));
}

/// What waits is found again in the store, and told while nobody is there.
#[test]
fn what_waits_to_be_held_is_known_after_a_restart() {
    let mut stage = met();
    make(&mut stage, "new");
    stage.wait(secs(2));
    assert_eq!(said(&mut stage, "bo").unheld, 1);
    for last in [Last::Killed, Last::Clean, Last::Lost, Last::Killed] {
        match last {
            Last::Lost => stage.power_loss("bo"),
            Last::Killed | Last::Clean => stage.kill("bo"),
        }
        stage.start("bo", last);
        stage.wait(secs(2));
        assert_eq!(said(&mut stage, "bo").unheld, 1);
        assert_eq!(waiting(&mut stage, "bo"), ["new"]);
    }
}

/// Bo made a file and removed it before anybody had it: there is nothing to wait for.
#[test]
fn what_was_deleted_is_not_waited_for() {
    let mut stage = met();
    make(&mut stage, "new");
    stage.wait(secs(2));
    assert_eq!(said(&mut stage, "bo").unheld, 1);
    let edit = Edit::Unlink {
        parent: Ino::ROOT,
        name: b"new".to_vec(),
    };
    stage.call("bo", FsCall::Edit(edit));
    stage.wait(secs(2));
    assert_eq!(said(&mut stage, "bo").unheld, 0);
    assert_eq!(waiting(&mut stage, "bo"), Vec::<String>::new());
}

/// Ada takes no changes any more. What bo had made before stays with him: he is not told that it
/// is safe.
#[test]
fn what_a_host_takes_no_more_is_not_synced() {
    let mut stage = both();
    stage.wait(secs(2));
    stage.kill("ada");
    let (_, fh) = create(&mut stage, "empty");
    close(&mut stage, fh);
    stage.side("ada").config.writable = false;
    stage.start("ada", Last::Clean);
    stage.wait(secs(40));
    assert!(unacknowledged(&mut stage, "bo") > 0);
    assert!(!is_synced(&mut stage, "bo"));
}

/// Bo may write, and ada takes nothing: of nobody's making is anything on its way.
#[test]
fn who_made_nothing_has_nothing_on_its_way_to_a_host_that_takes_nothing() {
    let mut stage = both();
    stage.kill("ada");
    stage.side("ada").config.writable = false;
    stage.start("ada", Last::Clean);
    stage.wait(secs(40));
    assert_eq!(unacknowledged(&mut stage, "bo"), 0);
    assert!(is_synced(&mut stage, "bo"));
}

/// What was written just before a kill is no version yet, and until the disk has said what is there
/// nobody knows of it.
#[test]
fn what_may_have_been_written_before_a_kill_is_waited_for() {
    let mut stage = both();
    stage.wait(secs(2));
    make(&mut stage, "new");
    stage.wait(secs(2));
    let (_, fh) = open(&mut stage, "new");
    written(&mut stage, fh, 0, b"more", 102);
    stage.kill("bo");
    stage.hold("bo", Held::Disk);
    stage.start("bo", Last::Killed);
    stage.wait(Duration::from_millis(500));
    assert_eq!(said(&mut stage, "bo").unpublished, 1);
    stage.release("bo", Held::Disk);
    stage.wait(secs(40));
    assert_eq!(tree(&mut stage)["new"], b"more");
    assert!(is_synced(&mut stage, "bo"));
}

/// Acknowledges all that bo has told whoever is played by hand.
fn acknowledge(stage: &mut Stage, link: LinkId) {
    for traffic in std::mem::take(&mut stage.traffic) {
        if let Message::Registers(batch) = traffic.message
            && traffic.is_sent
        {
            stage.said("bo", link, Message::Ack(batch.upto));
        }
    }
}

/// Cleo's version takes the place of bo's, and may be nothing without it: until a host holds hers he
/// has something to wait for.
#[test]
fn what_another_version_may_be_made_of_is_waited_for() {
    let (mut stage, link, _, said_held) = superseded();
    acknowledge(&mut stage, link);
    assert_eq!(unacknowledged(&mut stage, "bo"), 0);
    assert_eq!(said(&mut stage, "bo").unheld, 1);
    assert!(!is_synced(&mut stage, "bo"));
    hears(&mut stage, link, 2, said_held);
    acknowledge(&mut stage, link);
    assert_eq!(said(&mut stage, "bo").unheld, 0);
    assert!(is_synced(&mut stage, "bo"));
}

/// What lost and shows as a conflict copy has to be held like what won.
#[test]
fn a_conflict_copy_is_waited_for_under_its_name() {
    let mut stage = both();
    stage.wait(secs(2));
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(secs(2));
    stage.side("ada").files.write("photo", b"ada's own");
    stage.hint("photo");
    stage.wait(secs(2));
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    assert_eq!(waiting(&mut stage, "bo"), ["photo"]);
    stage.unmute("ada");
    stage.wait(secs(40));
    let copy = copy_of(&mut stage);
    assert_eq!(state(&mut stage, &copy), Ok("conflict".to_owned()));
    assert_eq!(tree(&mut stage)["photo"], b"ada's own");
    assert_eq!(
        tree(&mut stage).contains_key(&copy),
        is_synced(&mut stage, "bo")
    );
}

// How a file stands.

/// Returns the state that a file shows.
fn state(stage: &mut Stage, file: &str) -> Result<String, FsError> {
    let ino = stage.lookup("bo", file);
    let name = b"user.tandem.state".to_vec();
    let req = stage.call("bo", FsCall::GetXattr { ino, name });
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Value(value))) => Ok(String::from_utf8(value.to_vec()).unwrap()),
        Some(Err(why)) => Err(why),
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn a_file_tells_how_it_stands() {
    let mut stage = both();
    stage.wait(secs(2));
    let is = |stage: &mut Stage, file: &str, word: &str| {
        assert_eq!(state(stage, file), Ok(word.to_owned()));
    };
    is(&mut stage, "photo", "remote");
    let fh = stage.open("bo", "photo");
    stage.read("bo", fh, 0, 10);
    stage.wait(secs(1));
    is(&mut stage, "photo", "partial");
    stage.call("bo", FsCall::Release { fh });
    assert_eq!(read(&mut stage, "photo"), photo());
    is(&mut stage, "photo", "synced");

    refuse_one_sync(&mut stage);
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    is(&mut stage, "photo", "local");
    flush(&mut stage, fh);
    is(&mut stage, "photo", "local");
    stage.call("bo", FsCall::Release { fh });
    stage.wait(Duration::from_millis(800));
    is(&mut stage, "photo", "local");
    stage.wait(secs(10));
    assert_eq!(tree(&mut stage)["photo"], greeting());
    is(&mut stage, "photo", "synced");
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(5));
    is(&mut stage, "photo", "synced");
}

/// What was written into a file of which nothing else is here is not all of it.
#[test]
fn a_draft_in_part_is_partial() {
    let mut stage = met();
    let (ino, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    assert_eq!(state(&mut stage, "photo"), Ok("partial".to_owned()));
    resize(&mut stage, ino, 0, 102);
    assert_eq!(state(&mut stage, "photo"), Ok("local".to_owned()));
}

/// It would be copied with the file, as if it were the copy's own.
#[test]
fn the_state_is_not_listed_and_nobody_sets_it() {
    let mut stage = both();
    stage.wait(secs(2));
    let ino = stage.lookup("bo", "photo");
    let req = stage.call("bo", FsCall::ListXattr { ino });
    let listed = stage.answer("bo", req);
    assert_eq!(listed, Some(Ok(FsReply::Names(Vec::new()))));
    let name = b"user.tandem.state".to_vec();
    let edits = [
        Edit::SetXattr {
            ino,
            name: name.clone(),
            value: b"synced".to_vec(),
            how: XattrHow::Set,
        },
        Edit::RemoveXattr { ino, name },
    ];
    for edit in edits {
        let req = stage.call("bo", FsCall::Edit(edit));
        assert_eq!(stage.answer("bo", req), Some(Err(FsError::NotPermitted)));
    }
}

#[test]
fn only_a_file_has_a_state() {
    let mut stage = both();
    stage.side("ada").files.mkdir("d");
    stage.hint("d");
    stage.wait(secs(2));
    assert_eq!(state(&mut stage, "d"), Err(FsError::NoAttribute));
}
