//! Stories: what peers go through, read line by line.
//!
//! At the margin stands what an engine is told, below it what it wants done. A dot `ada:3` is
//! ada's third update, `photo@ada:4` the version of the photo that her fourth made.

use tandem_core::action::{DiskWish, FsReply, WantState};
use tandem_core::edit::Edit;
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, Fault, FsError};
use tandem_core::event::{Event, FsCall};
use tandem_core::fetch::sidecar::Sidecar;
use tandem_core::ids::{Arrival, Fh, Ino, ReqId};
use tandem_core::message::{Batch, Message, Refusal, Secret};
use tandem_core::status::LinkState;
use tandem_core::time::Duration;

use crate::stage::{Held, Stage, path, photo};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Bo has the photo open and has read its second chunk; the trace begins after.
fn bo_reads() -> (Stage, Fh) {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    let read = stage.read("bo", fh, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    stage.trace();
    (stage, fh)
}

/// Returns how the link to the only peer of `name` stands.
fn link_of(stage: &mut Stage, name: &str) -> LinkState {
    let now = stage.now;
    stage.side(name).engine().status(now).peers[0].link
}

// Meeting.

#[test]
fn two_peers_meet() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("photo", &photo());
    stage.side("ada").files.mkdir("letters");
    stage.side("ada").files.write("letters/first", b"dear bo");
    stage.side("ada").files.symlink("newest", "letters/first");
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    insta::assert_snapshot!(stage.trace());
    let shown = stage.shown("bo");
    assert_eq!(shown.len(), 4);
    assert_eq!(shown, stage.shown("ada"));
}

/// S33: whoever is not let in learns nothing, not even whether the folder exists.
#[test]
fn a_stranger_with_a_wrong_secret_learns_nothing() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("photo", &photo());
    stage.start("ada", Last::Clean);
    stage.trace();
    let host = stage.side("bo").config.host.as_mut().unwrap();
    host.secret = Some(Secret([8; 32]));
    stage.start("bo", Last::Clean);
    insta::assert_snapshot!(stage.trace());
    assert!(stage.shown("bo").is_empty());
    // It tries again, since somebody may have let it in meanwhile, but not soon.
    stage.wait(secs(29));
    assert_eq!(stage.trace(), "");
}

#[test]
fn a_second_session_with_the_same_key_waits_until_the_first_is_gone() {
    let mut stage = Stage::new(&["bo", "copy"]);
    let key = stage.side("bo").config.me;
    stage.side("copy").config.me = key;
    stage.side("ada").files.write("photo", &photo());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    stage.trace();
    stage.start("copy", Last::Clean);
    insta::assert_snapshot!(stage.trace());
    assert!(stage.shown("copy").is_empty());
    let busy = Fault::Refused {
        peer: stage.side("ada").config.me,
        why: Refusal::Busy,
    };
    assert_eq!(stage.side("copy").faults, [busy]);
    stage.kill("bo");
    stage.wait(secs(2));
    assert_eq!(stage.shown("copy").len(), 1, "it got in");
}

#[test]
fn whoever_breaks_the_protocol_is_hung_up_on() {
    let (mut stage, _) = bo_reads();
    let nothing = Batch {
        upto: Arrival(1),
        registers: Vec::new(),
        knowledge: None,
    };
    let link = stage.connect("ada", 66);
    stage.said("ada", link, Message::Registers(nothing));
    let link = stage.links("ada")[0];
    stage.said("ada", link, Message::Ack(Arrival(1_000)));
    insta::assert_snapshot!(stage.trace());
    stage.wait(secs(1));
    stage.trace();
    // What ada made, said back to her with a greater stamp: a joiner changes nothing yet.
    let made = stage.side("bo").registers();
    let change = Batch {
        upto: Arrival(9),
        registers: made,
        knowledge: None,
    };
    let link = stage.links("ada")[0];
    stage.said("ada", link, Message::Registers(change));
    insta::assert_snapshot!("a_joiner_changes_nothing", stage.trace());
    stage.wait(secs(1));
    let read = stage.open("bo", "photo");
    let read = stage.read("bo", read, 0, 10);
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
}

// Reading.

#[test]
fn a_chunk_that_is_read_is_fetched_once() {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    let read = stage.read("bo", fh, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    insta::assert_snapshot!(stage.trace());
    let again = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.bytes("bo", again), photo()[512..1024]);
    insta::assert_snapshot!("the_same_read_again", stage.trace());
}

#[test]
fn two_opens_are_two_handles_of_one_file() {
    let (mut stage, first) = bo_reads();
    let second = stage.open("bo", "photo");
    stage.call("bo", FsCall::Release { fh: first });
    let read = stage.read("bo", second, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    let late = stage.read("bo", first, 600, 100);
    assert_eq!(stage.answer("bo", late), Some(Err(FsError::BadHandle)));
    stage.call("bo", FsCall::Release { fh: second });
    insta::assert_snapshot!(stage.trace());
}

#[test]
fn a_file_that_is_wanted_whole_is_finished() {
    let (mut stage, _) = bo_reads();
    let req = ReqId(stage.draw());
    let wanted = path("photo");
    stage.event("bo", Event::Want { req, path: wanted });
    insta::assert_snapshot!(stage.trace());
    let (_, state) = *stage.side("bo").wanted.last().unwrap();
    assert!(matches!(state, WantState::Done { size: 1_600, .. }));
}

#[test]
fn a_chunk_that_comes_spoilt_is_asked_for_again() {
    let (mut stage, fh) = bo_reads();
    stage.side("bo").spoil = 1;
    let read = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.answer("bo", read), None);
    stage.wait(secs(1));
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
    insta::assert_snapshot!(stage.trace());
    assert!(matches!(
        stage.side("bo").faults[..],
        [Fault::ChunkCorrupt { .. }]
    ));
}

#[test]
fn a_chunk_that_is_spoilt_each_time_fails_its_reader_and_the_next_starts_afresh() {
    let (mut stage, fh) = bo_reads();
    stage.side("bo").spoil = 6;
    let read = stage.read("bo", fh, 0, 10);
    stage.wait(secs(29));
    assert_eq!(stage.answer("bo", read), Some(Err(FsError::Io)));
    insta::assert_snapshot!(stage.trace());
    let read = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
}

#[test]
fn a_version_is_superseded_while_a_read_waits_for_it() {
    let (mut stage, fh) = bo_reads();
    stage.hold("bo", Held::Chunks);
    let read = stage.read("bo", fh, 0, 10);
    stage.side("ada").files.write("photo", &[5; 700]);
    stage.hint("photo");
    stage.release("bo", Held::Chunks);
    assert_eq!(stage.bytes("bo", read), [5; 10]);
    insta::assert_snapshot!(stage.trace());
    assert_eq!(
        stage.side("bo").objects.count(),
        2,
        "the old version stays while the new one fills"
    );
    let rest = stage.read("bo", fh, 0, 700);
    assert_eq!(stage.bytes("bo", rest), [5; 700]);
    assert_eq!(
        stage.side("bo").objects.count(),
        1,
        "the old version is gone"
    );
    let past = stage.read("bo", fh, 700, 10);
    assert_eq!(
        stage.answer("bo", past),
        Some(Ok(FsReply::Eof)),
        "S7: no old tail"
    );
}

/// A complete file vanished beneath bo, or its disk can't read it: each read was answered with an
/// error until the next start.
#[test]
fn a_complete_file_that_can_not_be_read_is_fetched_again() {
    let (mut stage, fh) = bo_reads();
    let (req, wanted) = (ReqId(stage.draw()), path("photo"));
    stage.event("bo", Event::Want { req, path: wanted });
    stage.trace();
    let before = stage.side("bo").engine().counters().chunks_fetched;
    let object = stage.side("bo").objects.newest().unwrap();
    stage.side("bo").objects.lose();
    let (offset, len) = (600, 100);
    let unreadable = Event::Unreadable {
        object,
        offset,
        len,
    };
    stage.event("bo", unreadable.clone());
    let read = stage.read("bo", fh, offset, len);
    stage.wait(secs(2));
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    insta::assert_snapshot!(stage.trace());
    let fetched = stage.side("bo").engine().counters().chunks_fetched - before;
    assert_eq!(fetched, 1, "what is read, and no more");
    let faults = stage.side("bo").faults.clone();
    assert!(
        matches!(&faults[..], [Fault::Unreadable { path }] if path == "/photo"),
        "{faults:?}"
    );
    // After a kill nothing is believed that was only there before.
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    let fh = stage.open("bo", "photo");
    let read = stage.read("bo", fh, 0, 1_600);
    stage.wait(secs(2));
    assert_eq!(stage.bytes("bo", read), photo());
}

#[test]
fn a_chunk_of_a_partial_file_that_can_not_be_read_is_fetched_again() {
    let (mut stage, fh) = bo_reads();
    let object = stage.side("bo").objects.newest().unwrap();
    let (offset, len) = (600, 100);
    let before = stage.side("bo").engine().counters().chunks_fetched;
    let unreadable = Event::Unreadable {
        object,
        offset,
        len,
    };
    stage.event("bo", unreadable.clone());
    let read = stage.read("bo", fh, offset, len);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    let fetched = stage.side("bo").engine().counters().chunks_fetched - before;
    assert_eq!(fetched, 1, "the chunk, and no other");
    // With the link gone there is no other place to have it from.
    stage.mute("ada");
    stage.wait(secs(60));
    stage.event("bo", unreadable);
    let read = stage.read("bo", fh, offset, len);
    assert_eq!(stage.answer("bo", read), Some(Err(FsError::Io)));
}

/// A search looked into the heads of many files, and was done with each. What bo had fetched of
/// them, and the hashes of that, stayed in memory for as long as bo ran.
#[test]
fn of_files_that_were_looked_into_only_the_last_stay_in_memory() {
    const FILES: u64 = 12;
    let mut stage = Stage::new(&["bo"]);
    stage.side("bo").config.resting = 3;
    let name = |nr: u64| format!("photo {nr}");
    for nr in 0..FILES {
        stage.side("ada").files.write(&name(nr), &photo());
    }
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let look_into_all = |stage: &mut Stage| {
        for nr in 0..FILES {
            let fh = stage.open("bo", &name(nr));
            let read = stage.read("bo", fh, 600, 100);
            assert_eq!(stage.bytes("bo", read), photo()[600..700]);
            stage.call("bo", FsCall::Release { fh });
        }
        // Until what was stored is durable.
        stage.wait(secs(10));
    };
    let kept = |stage: &mut Stage| {
        let now = stage.now;
        stage.side("bo").engine().status(now).files.len()
    };
    look_into_all(&mut stage);
    assert_eq!(kept(&mut stage), 3);
    assert_eq!(stage.side("bo").engine().counters().chunks_fetched, FILES);
    // All of it is still here: nobody is asked, and nothing that is durable is doubted.
    stage.mute("ada");
    stage.wait(secs(60));
    look_into_all(&mut stage);
    assert_eq!(kept(&mut stage), 3);
    let counters = stage.side("bo").engine().counters();
    assert_eq!(
        (counters.chunks_fetched, counters.claims_checked),
        (FILES, 0)
    );
    // A file that was open meanwhile reads on, and one that changes costs what changed.
    stage.unmute("ada");
    stage.wait(secs(60));
    let fh = stage.open("bo", &name(0));
    look_into_all(&mut stage);
    let mut changed = photo();
    changed[0] ^= 1;
    stage.side("ada").files.write(&name(0), &changed);
    stage.hint(&name(0));
    let read = stage.read("bo", fh, 0, 1_600);
    stage.wait(secs(2));
    assert_eq!(stage.bytes("bo", read), changed);
    let counters = stage.side("bo").engine().counters();
    // The chunk that changed, and the two that were never read.
    assert_eq!(counters.chunks_fetched, FILES + 3);
    assert!(kept(&mut stage) <= 3);
}

/// Ada's metadata were set aside as damaged and built anew: bo was hung up on without a word, each
/// time it told of what she had lost.
#[test]
fn a_host_that_has_lost_its_past_and_its_joiner_say_so_once() {
    let mut stage = Stage::new(&["bo"]);
    for name in ["ada", "bo"] {
        // Where changes are taken, what was lost is told again.
        stage.side(name).config.writable = false;
    }
    stage.side("ada").files.write("photo", &photo());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "photo");
    let read = stage.read("bo", fh, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    let (ada, bo) = (stage.side("ada").config.me, stage.side("bo").config.me);
    stage.kill("ada");
    stage.side("ada").store.clear();
    stage.side("ada").seed += 1_000;
    stage.start("ada", Last::Lost);
    stage.wait(secs(90));
    let told = |fault: &&Fault| matches!(fault, Fault::Forgot { peer, .. } if *peer == bo);
    assert_eq!(stage.side("ada").faults.iter().filter(told).count(), 1);
    let told = |fault: &&Fault| matches!(fault, Fault::HostForgot { peer, .. } if *peer == ada);
    assert_eq!(stage.side("bo").faults.iter().filter(told).count(), 1);
    for (name, words) in [("ada", "lost here"), ("bo", "join again")] {
        let now = stage.now;
        let status = stage.side(name).engine().status(now);
        let why = status.peers[0].refused.clone().unwrap_or_default();
        assert!(why.contains(words), "{why}");
    }
    // What is here is still here.
    let read = stage.read("bo", fh, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
}

// Links that break.

#[test]
fn a_link_is_cut_while_a_chunk_is_on_its_way() {
    let (mut stage, fh) = bo_reads();
    stage.hold("bo", Held::Chunks);
    let read = stage.read("bo", fh, 0, 10);
    stage.cut();
    stage.release("bo", Held::Chunks);
    assert_eq!(stage.answer("bo", read), None);
    stage.wait(secs(1));
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
    insta::assert_snapshot!(stage.trace());
    let counted = stage.side("bo").engine().counters();
    assert_eq!(
        (counted.chunks_asked, counted.chunks_fetched),
        (3, 2),
        "P5: one more, no others"
    );
}

/// U1: what is here answers at once, the rest fails by a deadline, and it comes back by itself.
#[test]
fn the_host_falls_silent_and_comes_back() {
    let (mut stage, fh) = bo_reads();
    stage.tell_heartbeats();
    stage.mute("ada");
    let absent = stage.read("bo", fh, 0, 10);
    stage.wait(secs(10));
    assert_eq!(link_of(&mut stage, "bo"), LinkState::Suspect);
    stage.wait(secs(10));
    assert_eq!(link_of(&mut stage, "bo"), LinkState::Gone);
    insta::assert_snapshot!("the_host_falls_silent", stage.trace());
    let here = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", here), photo()[600..610]);
    stage.wait(secs(10));
    assert_eq!(stage.answer("bo", absent), Some(Err(FsError::Io)));
    insta::assert_snapshot!("a_read_ends_by_its_deadline", stage.trace());
    stage.wait(secs(21));
    stage.trace();
    let late = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.answer("bo", late), Some(Err(FsError::Io)));
    insta::assert_snapshot!("further_ones_fail_at_once", stage.trace());
    stage.unmute("ada");
    stage.wait(secs(31));
    stage.trace();
    let read = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
}

// Kills and power losses.

#[test]
fn after_a_kill_what_was_stored_is_a_claim() {
    let (mut stage, fh) = bo_reads();
    let other = stage.read("bo", fh, 0, 10);
    stage.bytes("bo", other);
    stage.side("bo").objects.rot(600);
    stage.kill("bo");
    stage.trace();
    stage.start("bo", Last::Killed);
    let fh = stage.open("bo", "photo");
    let sound = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.bytes("bo", sound), photo()[..10]);
    insta::assert_snapshot!("a_claim_that_holds", stage.trace());
    let rotten = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", rotten), photo()[600..610]);
    insta::assert_snapshot!("a_claim_that_does_not", stage.trace());
    let counted = stage.side("bo").engine().counters();
    assert_eq!((counted.claims_checked, counted.chunks_fetched), (2, 1));
}

#[test]
fn after_a_power_loss_the_host_is_another_actor() {
    let (mut stage, _) = bo_reads();
    stage.power_loss("ada");
    stage.trace();
    stage.start("ada", Last::Lost);
    stage.wait(secs(1));
    stage.side("ada").files.write("letter", b"dear bo");
    stage.hint("letter");
    insta::assert_snapshot!(stage.trace());
    assert_eq!(stage.shown("bo"), stage.shown("ada"));
}

#[test]
fn a_clean_stop_leaves_no_claims() {
    let (mut stage, _) = bo_reads();
    stage.event("bo", Event::Stop);
    insta::assert_snapshot!(stage.trace());
    assert!(stage.side("bo").stopped);
    let (_, sidecar) = stage.side("bo").objects.sidecars().remove(0);
    assert!(Sidecar::decode(&sidecar, None).unwrap().is_clean());
    stage.kill("bo");
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "photo");
    let read = stage.read("bo", fh, 600, 100);
    assert_eq!(stage.bytes("bo", read), photo()[600..700]);
    let counted = stage.side("bo").engine().counters();
    assert_eq!((counted.claims_checked, counted.chunks_asked), (0, 0));
}

// Disks that refuse.

#[test]
fn nothing_is_told_that_is_not_stored() {
    let (mut stage, _) = bo_reads();
    stage.side("ada").full = 1;
    stage.side("ada").files.write("letter", b"dear bo");
    stage.hint("letter");
    insta::assert_snapshot!("a_commit_fails", stage.trace());
    assert_eq!(stage.shown("bo").len(), 1, "bo was not told");
    stage.wait(secs(1));
    insta::assert_snapshot!("it_is_tried_again", stage.trace());
    assert_eq!(stage.shown("bo").len(), 2);
}

#[test]
fn a_full_disk_is_looked_at_again() {
    let (mut stage, fh) = bo_reads();
    let is_store = |wish: &DiskWish| matches!(wish, DiskWish::StoreChunk { .. });
    stage.side("bo").failing = Some((is_store, DiskError::NoSpace));
    let read = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.answer("bo", read), None);
    stage.wait(secs(1));
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
    insta::assert_snapshot!(stage.trace());
    let kept = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", kept), photo()[600..610]);
}

/// A store failed, and its pause ended while another job of the file was under way. A chunk that
/// came was dropped, since nobody knew what the disk held, and asked for again at once, as often
/// as the wire could bring it.
#[test]
fn nothing_is_asked_for_that_the_disk_could_not_take() {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    let is_store = |wish: &DiskWish| matches!(wish, DiskWish::StoreChunk { .. });
    stage.side("bo").failing = Some((is_store, DiskError::Io));
    stage.hold("bo", Held::Chunks);
    let reads = [0, 600, 1200].map(|offset| (offset, stage.read("bo", fh, offset, 10)));
    stage.hold("bo", Held::Disk);
    stage.let_by("bo", Held::Chunks, 2);
    stage.let_by("bo", Held::Disk, 1);
    stage.wait(secs(5));
    let asked = stage.side("bo").engine().counters().chunks_asked;
    stage.let_by("bo", Held::Chunks, 1);
    assert_eq!(
        stage.side("bo").engine().counters().chunks_asked,
        asked,
        "P5"
    );
    stage.release("bo", Held::Disk);
    stage.release("bo", Held::Chunks);
    stage.wait(secs(5));
    for (offset, read) in reads {
        let from = usize::try_from(offset).unwrap();
        assert_eq!(stage.bytes("bo", read), photo()[from..from + 10]);
    }
}

// Outside edits.

#[test]
fn a_file_is_changed_in_place() {
    let (mut stage, fh) = bo_reads();
    stage.side("ada").files.write("photo", &[6; 600]);
    stage.hint("photo");
    insta::assert_snapshot!(stage.trace());
    let read = stage.read("bo", fh, 590, 100);
    assert_eq!(stage.bytes("bo", read), [6; 10]);
}

#[test]
fn a_file_is_replaced_by_another() {
    let (mut stage, fh) = bo_reads();
    stage.side("ada").files.replace("photo", &[7; 600]);
    stage.hint("photo");
    insta::assert_snapshot!(stage.trace());
    let read = stage.read("bo", fh, 590, 100);
    assert_eq!(
        stage.bytes("bo", read),
        [7; 10],
        "it is the same file to who has it open"
    );
}

#[test]
fn a_file_is_renamed() {
    let (mut stage, fh) = bo_reads();
    stage.side("ada").files.rename("photo", "picture");
    stage.hint("photo");
    stage.hint("picture");
    insta::assert_snapshot!(stage.trace());
    stage.wait(secs(1));
    let read = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", read), photo()[600..610], "P7");
    assert_eq!(
        stage.side("bo").engine().counters().chunks_asked,
        1,
        "nothing was fetched again"
    );
}

#[test]
fn a_file_is_deleted_at_the_second_look() {
    let (mut stage, fh) = bo_reads();
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    assert_eq!(stage.shown("bo").len(), 1, "one look is not enough");
    stage.wait(secs(1));
    insta::assert_snapshot!(stage.trace());
    let read = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", read), photo()[600..610], "P7");
    stage.call("bo", FsCall::Release { fh });
    insta::assert_snapshot!("its_last_handle_is_closed", stage.trace());
    assert_eq!(stage.side("bo").objects.count(), 0);
}

#[test]
fn a_changed_mode_makes_no_version() {
    let (mut stage, fh) = bo_reads();
    stage.side("ada").files.chmod("photo", 0o600);
    stage.hint("photo");
    insta::assert_snapshot!(stage.trace());
    let read = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", read), photo()[600..610]);
    assert_eq!(
        stage.side("bo").engine().counters().chunks_asked,
        1,
        "nothing was fetched again"
    );
}

// Names.

#[test]
fn a_listing_goes_on_where_it_was_left() {
    let mut stage = Stage::met();
    for name in ["apple", "berry", "cherry"] {
        stage.side("ada").files.write(name, b"fruit");
        stage.hint(name);
    }
    stage.trace();
    let ino = Ino::ROOT;
    let req = stage.call("bo", FsCall::OpenDir { ino });
    let Some(Ok(FsReply::OpenedDir { fh })) = stage.answer("bo", req) else {
        panic!("the root opens");
    };
    let plus = true;
    let (from, count) = (0, 4);
    stage.call(
        "bo",
        FsCall::ReadDir {
            fh,
            from,
            count,
            plus,
        },
    );
    // What goes meanwhile is left out; what comes is for the next listing.
    stage.side("ada").files.remove("cherry");
    stage.hint("cherry");
    stage.wait(secs(1));
    let (from, count) = (4, 10);
    stage.call(
        "bo",
        FsCall::ReadDir {
            fh,
            from,
            count,
            plus,
        },
    );
    let from = 6;
    stage.call(
        "bo",
        FsCall::ReadDir {
            fh,
            from,
            count,
            plus,
        },
    );
    stage.call("bo", FsCall::ReleaseDir { fh });
    insta::assert_snapshot!(stage.trace());
}

#[test]
fn the_kernel_is_told_to_forget_what_it_may_hold_and_no_more() {
    let mut stage = Stage::met();
    let parent = Ino::ROOT;
    let absent = b"letter".to_vec();
    stage.call(
        "bo",
        FsCall::Lookup {
            parent,
            name: absent,
        },
    );
    stage.side("ada").files.write("letter", b"dear bo");
    stage.hint("letter");
    insta::assert_snapshot!("a_name_that_was_absent", stage.trace());

    let ino = stage.lookup("bo", "letter");
    stage.lookup("bo", "letter");
    stage.call("bo", FsCall::Forget { ino, lookups: 1 });
    stage.side("ada").files.write("letter", b"dear bo, ");
    stage.hint("letter");
    insta::assert_snapshot!("an_inode_that_is_held", stage.trace());

    stage.call("bo", FsCall::Forget { ino, lookups: 1 });
    stage.side("ada").files.write("letter", b"dear bo, dear");
    stage.hint("letter");
    insta::assert_snapshot!("an_inode_that_is_not", stage.trace());

    stage.lookup("bo", "letter");
    stage.side("ada").files.remove("letter");
    stage.hint("letter");
    stage.wait(secs(1));
    insta::assert_snapshot!("a_name_that_is_deleted", stage.trace());
}

/// A file was moved onto another one, and who opened that name was told that there is none: the
/// kernel asked for the inode that it had found there before. Of one that is stale it looks the
/// path up again.
#[test]
fn what_the_kernel_asks_of_a_file_that_is_gone_is_stale_and_not_absent() {
    let mut stage = Stage::met();
    stage.side("ada").files.write("other", b"another");
    stage.hint("other");
    let (ino, other) = (stage.lookup("bo", "photo"), stage.lookup("bo", "other"));
    stage.side("ada").files.rename("other", "photo");
    stage.hint("other");
    stage.hint("photo");
    stage.wait(secs(1));
    let write = false;
    let name = b"user.x".to_vec();
    for call in [
        FsCall::GetAttr { ino },
        FsCall::Open { ino, write },
        FsCall::ReadLink { ino },
        FsCall::OpenDir { ino },
        FsCall::GetXattr { ino, name },
        FsCall::ListXattr { ino },
    ] {
        let asked = stage.call("bo", call);
        assert_eq!(stage.answer("bo", asked), Some(Err(FsError::Stale)));
    }
    assert_eq!(stage.lookup("bo", "photo"), other);
}

#[test]
fn a_mount_that_is_not_writable_takes_no_changes() {
    let mut stage = Stage::met();
    let ino = stage.lookup("bo", "photo");
    let write = true;
    let open = stage.call("bo", FsCall::Open { ino, write });
    assert_eq!(stage.answer("bo", open), Some(Err(FsError::ReadOnly)));
    let name = b"user.x".to_vec();
    let change = stage.call("bo", FsCall::Edit(Edit::RemoveXattr { ino, name }));
    assert_eq!(
        stage.answer("bo", change),
        Some(Err(FsError::ReadOnly)),
        "S35"
    );
    // Nothing has to be synced, and so everything is.
    let sync = stage.call("bo", FsCall::Edit(Edit::SyncDir { ino: Ino::ROOT }));
    assert_eq!(stage.answer("bo", sync), Some(Ok(FsReply::Done)));
}

/// A chunk that comes when its reader has gone, while the disk is looked at again, is not kept
/// in memory for nobody.
#[test]
fn a_chunk_that_comes_for_nobody_takes_no_room() {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    stage.hold("bo", Held::Chunks);
    let is_make = |wish: &DiskWish| matches!(wish, DiskWish::CreateObject { .. });
    stage.side("bo").failing = Some((is_make, DiskError::NoSpace));
    stage.read("bo", fh, 0, 10);
    stage.hold("bo", Held::Disk);
    stage.wait(secs(31));
    stage.release("bo", Held::Disk);
    stage.release("bo", Held::Chunks);
    stage.wait(secs(31));
    assert!(stage.side("bo").payloads.is_empty());
    let read = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
}

/// The host stored a file's registers and was killed; started again, it saw that the file was
/// gone, and greeted bo before the deletion was stored. What it sent was the file without its
/// entry, which the deletion had replaced, and knowledge that covered the entry: bo never heard of
/// either.
#[test]
fn knowledge_waits_for_what_replaced_a_register_to_be_stored() {
    let mut stage = Stage::met();
    stage.hold("ada", Held::Commits);
    stage.side("ada").files.write("letter", b"");
    stage.hint("letter");
    stage.side("ada").files.remove("letter");
    stage.hint("letter");
    stage.power_loss("ada");
    stage.start("ada", Last::Lost);
    // Long enough for her to see that it is gone, and for bo to come back.
    stage.wait(Duration::from_millis(400));
    stage.side("ada").files.write("letter", b"");
    stage.hint("letter");
    stage.power_loss("ada");
    stage.start("ada", Last::Lost);
    stage.release("ada", Held::Commits);
    stage.wait(Duration::from_secs(40));
    assert!(stage.shown("bo").contains("/letter"));
}

/// A kernel asks once more, page by page, for what it read ahead in vain: an application waited
/// twice as long as a read may take.
#[test]
fn what_was_just_waited_for_in_vain_is_not_waited_for_again() {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    stage.hold("bo", Held::Chunks);
    let ahead = stage.read("bo", fh, 0, 1024);
    stage.wait(Duration::from_millis(29_900));
    let waiting = stage.read("bo", fh, 512, 512);
    stage.wait(Duration::from_millis(100));
    assert_eq!(stage.answer("bo", ahead), Some(Err(FsError::Io)));
    let page = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.answer("bo", page), Some(Err(FsError::Io)));
    // One that waits already goes on.
    assert_eq!(stage.answer("bo", waiting), None);
    // Another piece, and this one a moment later, are waited for.
    let other = stage.read("bo", fh, 1024, 512);
    assert_eq!(stage.answer("bo", other), None);
    stage.wait(Duration::from_millis(600));
    let page = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.answer("bo", page), None);
    stage.release("bo", Held::Chunks);
    stage.wait(Duration::from_secs(5));
    assert_eq!(stage.bytes("bo", page), photo()[512..1024]);
}
