//! Files are written on a joiner: what an application was told is so, whatever dies when.

use tandem_core::action::DiskWish;
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::Edit;
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, Fault, FsError};
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Fh, Ino, ReqId};
use tandem_core::limits::DRAFT_SYNCS_MAX;
use tandem_core::message::Message;
use tandem_core::time::Duration;
use tandem_core::tree::register::{Body, Content, Register};

use crate::app::{
    alone, append, asked, both, close, create, flush, is_done, met, newest, open, pattern, read,
    resize, secs, size, sync, versions, wall, write, written,
};
use crate::placing::tree;
use crate::stage::{Held, Stage, photo};

// Writing.

#[test]
fn what_was_written_is_read_and_becomes_one_version_at_the_close() {
    let mut stage = alone();
    let (ino, fh) = create(&mut stage, "new");
    let bytes = pattern(1_300, 7);
    written(&mut stage, fh, 0, &bytes[..1_000], 101);
    written(&mut stage, fh, 1_000, &bytes[1_000..], 102);
    assert_eq!(size(&mut stage, ino), 1_300);
    assert_eq!(read(&mut stage, "new"), bytes);
    let sizes = |stage: &mut Stage| -> Vec<u64> {
        let size = |content: &Content| match content.body {
            Body::File { size, .. } => size,
            Body::Link { .. } => 0,
        };
        versions(stage).iter().map(size).collect()
    };
    assert_eq!(
        sizes(&mut stage),
        [0],
        "it is not published while it is written"
    );
    let closed = flush(&mut stage, fh);
    assert!(is_done(&mut stage, closed));
    assert_eq!(sizes(&mut stage), [1_300]);
    assert_eq!(versions(&mut stage)[0].mtime, wall(102));
    stage.call("bo", FsCall::Release { fh });
    stage.wait(secs(2));
    assert_eq!(
        sizes(&mut stage),
        [1_300],
        "nothing more was to be published"
    );
    assert_eq!(stage.side("bo").objects.drafts(), 0, "it has settled");
    assert_eq!(read(&mut stage, "new"), bytes);
    assert!(stage.side("bo").faults.is_empty());
}

#[test]
fn a_quiet_second_publishes_and_a_busy_file_is_published_every_ten() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "log");
    written(&mut stage, fh, 0, b"one", 101);
    let first = versions(&mut stage)[0].stamp;
    stage.wait(secs(1));
    let second = versions(&mut stage)[0].stamp;
    assert_ne!(first, second);
    for at in 0..24_u64 {
        written(&mut stage, fh, 3 + at, b"x", 102);
        stage.wait(Duration::from_millis(500));
    }
    let busy = versions(&mut stage)[0].stamp;
    assert_ne!(second, busy);
}

/// The second was over while the disk wrote, and what it wrote was published at once, as half of a
/// save would be.
#[test]
fn a_file_that_is_written_at_this_moment_is_not_quiet() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "log");
    written(&mut stage, fh, 0, b"one", 101);
    stage.wait(Duration::from_millis(900));
    let first = versions(&mut stage)[0].stamp;
    stage.hold("bo", Held::Disk);
    let req = write(&mut stage, fh, 3, b"two", 102);
    stage.wait(Duration::from_millis(300));
    stage.release("bo", Held::Disk);
    assert!(stage.answer("bo", req).is_some());
    stage.wait(Duration::from_millis(500));
    assert_eq!(versions(&mut stage)[0].stamp, first);
    stage.wait(secs(1));
    assert_ne!(versions(&mut stage)[0].stamp, first);
}

/// It was made a second ago, and its first bytes were on their way to the disk: they were published
/// as soon as they were there.
#[test]
fn a_new_file_that_is_written_at_this_moment_is_not_quiet() {
    for is_opened in [false, true] {
        let mut stage = alone();
        let (ino, fh) = create(&mut stage, "log");
        if is_opened {
            resize(&mut stage, ino, 0, 101);
        }
        let first = versions(&mut stage)[0].stamp;
        stage.wait(Duration::from_millis(900));
        stage.hold("bo", Held::Disk);
        let req = write(&mut stage, fh, 0, b"one", 101);
        stage.wait(Duration::from_millis(300));
        stage.release("bo", Held::Disk);
        assert!(stage.answer("bo", req).is_some());
        stage.wait(Duration::from_millis(500));
        assert_eq!(versions(&mut stage)[0].stamp, first);
        stage.wait(secs(1));
        assert_ne!(versions(&mut stage)[0].stamp, first);
    }
}

#[test]
fn a_write_over_absent_bytes_waits_for_nobody_and_is_filled_up_beneath() {
    let mut stage = met();
    stage.mute("ada");
    let (ino, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    let here = stage.read("bo", fh, 600, 5);
    assert_eq!(stage.bytes("bo", here), b"HELLO");
    let absent = stage.read("bo", fh, 590, 20);
    assert_eq!(stage.answer("bo", absent), None, "the rest is not made up");
    assert_eq!(size(&mut stage, ino), 1_600);
    stage.unmute("ada");
    // The old link is found dead.
    stage.wait(secs(25));
    assert_eq!(stage.bytes("bo", absent), want[590..610]);
    assert_eq!(read(&mut stage, "photo"), want);
    // Cut inside a chunk that is here, and extended: what was cut off is gone for good.
    for (size, req) in [
        (700, resize(&mut stage, ino, 700, 103)),
        (1_000, resize(&mut stage, ino, 1_000, 104)),
    ] {
        assert!(is_done(&mut stage, req));
        want.resize(size, 0);
    }
    assert_eq!(read(&mut stage, "photo"), want);
}

#[test]
fn a_write_over_an_absent_hole_has_zeros_beneath() {
    let mut stage = met();
    let zeros = vec![0; 1_600];
    stage.side("ada").files.write("photo", &zeros);
    stage.hint("photo");
    stage.wait(secs(1));
    stage.mute("ada");
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    stage.unmute("ada");
    stage.wait(secs(25));
    let mut want = zeros;
    want[600..605].copy_from_slice(b"HELLO");
    assert_eq!(read(&mut stage, "photo"), want);
    assert_eq!(stage.side("bo").engine().counters().bytes_fetched, 0);
}

fn is_write(wish: &DiskWish) -> bool {
    matches!(
        wish,
        DiskWish::Draft {
            wish: DraftWish::Write { .. },
            ..
        }
    )
}

#[test]
fn what_has_no_room_harms_nothing() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"here", 101);
    stage.side("bo").failing = Some((is_write, DiskError::NoSpace));
    let req = write(&mut stage, fh, 600, b"there", 102);
    assert_eq!(stage.answer("bo", req), Some(Err(FsError::NoSpace)));
    assert_eq!(read(&mut stage, "new"), b"here");
    written(&mut stage, fh, 4, b"!", 103);
    assert_eq!(read(&mut stage, "new"), b"here!");
    close(&mut stage, fh);
    stage.wait(secs(2));
    assert_eq!(stage.side("bo").objects.drafts(), 0);
    assert_eq!(read(&mut stage, "new"), b"here!");
}

#[test]
fn a_file_that_was_unlinked_is_written_and_read_to_its_last_close() {
    let mut stage = alone();
    let (ino, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"one", 101);
    let edit = Edit::Unlink {
        parent: Ino::ROOT,
        name: "new".into(),
    };
    stage.call("bo", FsCall::Edit(edit));
    written(&mut stage, fh, 3, b"two", 102);
    assert_eq!(size(&mut stage, ino), 6);
    let req = stage.read("bo", fh, 0, 10);
    assert_eq!(stage.bytes("bo", req), b"onetwo");
    stage.wait(secs(2));
    close(&mut stage, fh);
    stage.wait(secs(2));
    let objects = &stage.side("bo").objects;
    assert_eq!((objects.drafts(), objects.count()), (0, 0));
    assert!(stage.side("bo").faults.is_empty());
}

/// What was published a moment ago is synced in the background: what is written meanwhile is not
/// published with it, as half of a save would be.
#[test]
fn a_sync_in_the_background_publishes_nothing() {
    let mut stage = alone();
    // As many syncs as run at once, and one more: that waits.
    let names: Vec<String> = (0..=DRAFT_SYNCS_MAX).map(|nr| format!("f{nr}")).collect();
    let mut handles = Vec::new();
    for name in &names {
        let (_, fh) = create(&mut stage, name);
        written(&mut stage, fh, 0, b"whole", 101);
        handles.push(fh);
    }
    stage.hold("bo", Held::Disk);
    for fh in &handles {
        flush(&mut stage, *fh);
    }
    let published = newest(&mut stage);
    let half = write(&mut stage, *handles.last().unwrap(), 5, b"half", 102);
    let before = stage.side("bo").syncs;
    stage.release("bo", Held::Disk);
    assert!(is_done(&mut stage, half));
    assert_eq!(newest(&mut stage), published);
    stage.wait(Duration::from_millis(500));
    assert!(stage.side("bo").syncs > before, "it can be told");
    assert_eq!(newest(&mut stage), published);
    stage.wait(secs(1));
    assert_ne!(newest(&mut stage), published, "it has been quiet");
}

/// P2: an acknowledged sync survives power loss; and what a power loss left of the rest is not
/// made up.
#[test]
fn what_was_synced_survives_power_loss() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    let bytes = pattern(1_300, 7);
    written(&mut stage, fh, 0, &bytes, 101);
    stage.hold("bo", Held::Disk);
    let req = sync(&mut stage, fh);
    assert!(!is_done(&mut stage, req));
    stage.release("bo", Held::Disk);
    assert!(is_done(&mut stage, req));
    written(&mut stage, fh, 2_000, b"unsynced", 102);
    stage.power_loss("bo");
    stage.start("bo", Last::Lost);
    stage.wait(secs(3));
    assert_eq!(read(&mut stage, "new")[..1_300], bytes);
}

#[test]
fn a_journal_that_is_no_good_is_said_and_nothing_is_removed() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bytes", 101);
    flush(&mut stage, fh);
    stage.kill("bo");
    stage.side("bo").objects.spoil_journals();
    stage.start("bo", Last::Killed);
    stage.wait(secs(3));
    let is_it = |fault: &Fault| matches!(fault, Fault::Draft { .. });
    assert!(stage.side("bo").faults.iter().any(is_it));
    assert_eq!(stage.side("bo").objects.count(), 1);
    let fh = stage.open("bo", "new");
    let req = stage.read("bo", fh, 0, 5);
    stage.wait(secs(60));
    assert_eq!(stage.answer("bo", req), Some(Err(FsError::Io)));
}

/// A file was written and synced, and removed: its bytes went before that was stored for good. A
/// power loss took the removal back, and the file had nothing.
#[test]
fn what_a_power_loss_brings_back_has_its_bytes() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    let bytes = pattern(1_300, 7);
    written(&mut stage, fh, 0, &bytes, 101);
    close(&mut stage, fh);
    stage.wait(secs(60));
    let (parent, name) = (Ino::ROOT, b"new".to_vec());
    let unlink = FsCall::Edit(Edit::Unlink { parent, name });
    let req = stage.call("bo", unlink.clone());
    assert!(is_done(&mut stage, req));
    stage.power_loss("bo");
    stage.start("bo", Last::Lost);
    stage.wait(secs(3));
    assert_eq!(read(&mut stage, "new"), bytes);
    // Once nothing brings it back, nothing is left.
    stage.call("bo", unlink);
    stage.wait(secs(60));
    assert_eq!(stage.side("bo").objects.count(), 0);
}

/// Bo has made a file, and lost its bytes with his power; the record of it survived that. Ada can't be
/// reached at first: that she has not heard of it is known later.
fn new_without_bytes() -> Stage {
    let mut stage = both();
    stage.hold("bo", Held::Disk);
    let (_, fh) = create(&mut stage, "new");
    let req = write(&mut stage, fh, 0, b"bytes", 101);
    stage.let_by("bo", Held::Disk, 2);
    assert!(is_done(&mut stage, req));
    close(&mut stage, fh);
    stage.wait(secs(2));
    stage.power_loss("bo");
    stage.side("bo").objects.lose();
    stage.release("bo", Held::Disk);
    stage.mute("ada");
    stage.start("bo", Last::Lost);
    stage.wait(secs(2));
    stage
}

/// The record of what was made a moment before a power loss survived it, and its bytes did not.
/// Everybody was told of a version that nobody could ever read.
#[test]
fn what_a_power_loss_left_no_bytes_of_is_empty() {
    let mut stage = new_without_bytes();
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(2));
    stage.unmute("ada");
    stage.wait(secs(40));
    assert_eq!(tree(&mut stage)["new"], b"");
    assert_eq!(read(&mut stage, "new"), b"");
    assert!(!stage.side("bo").faults.is_empty(), "it is said");
}

/// Bo removed it before ada could be reached: as she had not heard of it, it was there again.
#[test]
fn what_a_power_loss_left_no_bytes_of_and_was_removed_stays_gone() {
    let mut stage = new_without_bytes();
    let (parent, name) = (Ino::ROOT, b"new".to_vec());
    let req = stage.call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
    assert!(is_done(&mut stage, req));
    stage.unmute("ada");
    stage.wait(secs(40));
    assert!(!tree(&mut stage).contains_key("new"));
}

/// Ada wrote to a file that bo had made and has open, and he removed it: what he wrote on went on the
/// empty file that he had made.
#[test]
fn what_is_written_to_an_unlinked_file_goes_on_what_it_showed() {
    let mut stage = both();
    let (ino, fh) = create(&mut stage, "new");
    stage.wait(secs(3));
    stage.side("ada").files.write("new", &pattern(774, 7));
    stage.hint("new");
    stage.wait(secs(3));
    assert_eq!(size(&mut stage, ino), 774);
    let (parent, name) = (Ino::ROOT, b"new".to_vec());
    let req = stage.call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
    assert!(is_done(&mut stage, req));
    let req = append(&mut stage, fh, 774, b"more", 102);
    assert!(is_done(&mut stage, req));
    assert_eq!(size(&mut stage, ino), 778);
    let req = stage.read("bo", fh, 770, 100);
    assert_eq!(stage.bytes("bo", req)[4..], *b"more");
}

/// Bo removed the photo, wrote to it for nobody, and closed it. Before that was cleared away he heard
/// that ada had written to the photo: it was there again, and as long as what he had written.
#[test]
fn what_was_written_for_nobody_is_not_shown_when_the_file_comes_back() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let (ino, fh) = open(&mut stage, "photo");
    stage.hold("bo", Held::Messages);
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(secs(1));
    let (parent, name) = (Ino::ROOT, b"photo".to_vec());
    let req = stage.call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
    assert!(is_done(&mut stage, req));
    written(&mut stage, fh, 0, b"nobody's", 101);
    stage.hold("bo", Held::Disk);
    stage.call("bo", FsCall::Release { fh });
    stage.release("bo", Held::Messages);
    stage.wait(Duration::from_millis(100));
    assert_eq!(stage.lookup("bo", "photo"), ino);
    assert_eq!(size(&mut stage, ino), 5);
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 0, 9);
    stage.release("bo", Held::Disk);
    assert_eq!(stage.bytes("bo", req), b"ada's");
    assert_eq!(size(&mut stage, ino), 5);
    stage.wait(secs(25));
    assert_eq!(tree(&mut stage)["photo"], b"ada's");
}

/// Bo has written to a part of the photo, or to a new file; then a power loss took the journals, and
/// of the bytes nothing.
fn bo_lost_his_journals(name: &str, publishes: bool) -> Stage {
    let mut stage = both();
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", req), photo()[600..610]);
    stage.event("bo", Event::Stop);
    stage.wait(secs(2));
    stage.kill("bo");
    stage.mute("ada");
    stage.start("bo", Last::Clean);
    let fh = match name {
        "photo" => open(&mut stage, name).1,
        _new => create(&mut stage, name).1,
    };
    written(&mut stage, fh, 600, b"HELLO", 101);
    if publishes {
        stage.hold("bo", Held::Disk);
        flush(&mut stage, fh);
    }
    stage.kill("bo");
    stage.release("bo", Held::Disk);
    stage.side("bo").objects.lose_journals();
    // He is killed before he has looked at anything: what was lost is lost all the same.
    stage.hold("bo", Held::Disk);
    stage.start("bo", Last::Lost);
    stage.wait(secs(2));
    stage.kill("bo");
    stage.release("bo", Held::Disk);
    stage.start("bo", Last::Killed);
    stage.wait(secs(2));
    stage.unmute("ada");
    stage.wait(secs(40));
    stage
}

/// It was read as what had been there before.
#[test]
fn a_journal_that_a_power_loss_took_leaves_nothing_in_what_is_beneath() {
    let mut stage = bo_lost_his_journals("photo", false);
    assert_eq!(read(&mut stage, "photo"), photo());
    assert_eq!(tree(&mut stage)["photo"], photo());
}

/// Bo began to write to the photo, and his disk refused the journal; or he was killed before it was
/// there. To be sure of what lay beneath, its sidecar was written anew, and the disk refused that too,
/// or he was killed once more: what he had of the photo was lost, and said to be what was written.
#[test]
fn a_draft_that_never_began_leaves_what_is_beneath_as_it_was() {
    let is_open = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Open { .. })
    };
    let is_mark = |wish: &DiskWish| matches!(wish, DiskWish::MarkSidecar { .. });
    for is_killed in [false, true] {
        let mut stage = met();
        let fh = stage.open("bo", "photo");
        let req = stage.read("bo", fh, 600, 10);
        assert_eq!(stage.bytes("bo", req), photo()[600..610]);
        stage.wait(secs(10));
        stage.mute("ada");
        let (_, fh) = open(&mut stage, "photo");
        stage.side("bo").failing = Some((is_open, DiskError::Io));
        let req = write(&mut stage, fh, 600, b"HELLO", 101);
        assert_eq!(stage.answer("bo", req), Some(Err(FsError::Io)));
        if is_killed {
            stage.kill("bo");
            stage.hold("bo", Held::Disk);
            stage.start("bo", Last::Killed);
            stage.let_by("bo", Held::Disk, 2);
            stage.kill("bo");
            stage.release("bo", Held::Disk);
            stage.start("bo", Last::Killed);
        } else {
            stage.side("bo").failing = Some((is_mark, DiskError::NoSpace));
            stage.wait(secs(2));
            stage.side("bo").failing = None;
        }
        stage.wait(secs(2));
        let is_it = |fault: &Fault| matches!(fault, Fault::Draft { .. } | Fault::Sidecar { .. });
        assert!(!stage.side("bo").faults.iter().any(is_it));
        let fh = stage.open("bo", "photo");
        let req = stage.read("bo", fh, 600, 10);
        assert_eq!(stage.bytes("bo", req), photo()[600..610]);
    }
}

/// Its version's record was there: everybody was told of what nobody could ever read.
#[test]
fn a_version_whose_journal_a_power_loss_took_is_as_it_was_before() {
    let mut stage = bo_lost_his_journals("photo", true);
    assert_eq!(read(&mut stage, "photo"), photo());
    assert_eq!(tree(&mut stage)["photo"], photo());
    assert!(!stage.side("bo").faults.is_empty(), "it is said");
    let mut stage = bo_lost_his_journals("new", true);
    assert_eq!(read(&mut stage, "new"), b"");
    assert_eq!(tree(&mut stage)["new"], b"");
    assert!(!stage.side("bo").faults.is_empty(), "it is said");
}

/// The journal of what was written to an empty file was no good after a crash, and the file was
/// written again: the bytes of before stood behind the new ones, and the version of a few bytes
/// was a file of many, which nobody could read once it had come to its place.
#[test]
fn a_draft_that_is_begun_anew_has_nothing_of_the_one_before() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, &pattern(1_300, 7), 101);
    stage.kill("bo");
    stage.side("bo").objects.spoil_journals();
    stage.start("bo", Last::Killed);
    stage.wait(secs(3));
    assert_eq!(read(&mut stage, "new"), b"");
    let (_, fh) = open(&mut stage, "new");
    written(&mut stage, fh, 0, b"bytes", 102);
    flush(&mut stage, fh);
    stage.call("bo", FsCall::Release { fh });
    stage.wait(secs(60));
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(3));
    assert_eq!(read(&mut stage, "new"), b"bytes");
}

// Order: each of these fails without the rule that it tells of.

/// Bo has read the second chunk of the photo and was killed before that was durable; ada can't be
/// reached.
fn bo_has_a_claim() -> Stage {
    let mut stage = met();
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 600, 10);
    assert_eq!(stage.bytes("bo", req), photo()[600..610]);
    stage.kill("bo");
    stage.mute("ada");
    stage.start("bo", Last::Killed);
    stage
}

/// Bytes that are written over can't be proven any more, and ada is not there to give others.
#[test]
fn what_is_claimed_is_proven_before_it_is_written_over() {
    let mut stage = bo_has_a_claim();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    let req = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.bytes("bo", req), want[512..1_024]);
}

/// The disk refused to go on with the sidecar of what he had, just when he began to write: what was
/// claimed was never proven, and who wrote over it waited for ever.
#[test]
fn what_is_claimed_is_proven_though_the_disk_refuses_its_sidecar() {
    let is_cut = |wish: &DiskWish| matches!(wish, DiskWish::CutSidecar { .. });
    let mut stage = bo_has_a_claim();
    let (_, fh) = open(&mut stage, "photo");
    stage.side("bo").failing = Some((is_cut, DiskError::Io));
    written(&mut stage, fh, 100, b"in a chunk that is not here", 101);
    assert!(stage.side("bo").failing.is_none());
    written(&mut stage, fh, 600, b"HELLO", 102);
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    let req = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.bytes("bo", req), want[512..1_024]);
}

/// The disk could not find what he had, as he read, and was to be asked again after a pause. What was
/// written then waited for that too; and for ever, where no attempt was left.
#[test]
fn a_write_waits_for_the_disk_and_for_no_pause() {
    let is_load = |wish: &DiskWish| matches!(wish, DiskWish::LoadObject { .. });
    let mut stage = bo_has_a_claim();
    let (_, fh) = open(&mut stage, "photo");
    stage.side("bo").failing = Some((is_load, DiskError::Io));
    let read = stage.read("bo", fh, 512, 512);
    assert!(stage.side("bo").failing.is_none());
    written(&mut stage, fh, 600, b"HELLO", 101);
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    assert_eq!(stage.bytes("bo", read), want[512..1_024]);
}

/// The hash on record is that of the whole chunk.
#[test]
fn what_is_left_of_a_chunk_that_was_cut_survives_a_kill() {
    let mut stage = bo_has_a_claim();
    let (ino, _) = open(&mut stage, "photo");
    let req = resize(&mut stage, ino, 700, 101);
    assert!(is_done(&mut stage, req));
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(2));
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 512, 512);
    assert_eq!(stage.bytes("bo", req), photo()[512..700]);
}

/// The chunk beneath would come to lie over what was written a moment before.
#[test]
fn a_chunk_that_comes_while_it_is_written_over_waits() {
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"first", 101);
    stage.hold("bo", Held::Chunks);
    let read = stage.read("bo", fh, 700, 10);
    stage.hold("bo", Held::Disk);
    let req = write(&mut stage, fh, 600, b"HELLO", 102);
    stage.release("bo", Held::Chunks);
    stage.release("bo", Held::Disk);
    assert!(is_done(&mut stage, req));
    assert_eq!(stage.bytes("bo", read), photo()[700..710]);
    let req = stage.read("bo", fh, 600, 5);
    assert_eq!(stage.bytes("bo", req), b"HELLO");
}

/// The disk had refused a write. While what is there of the draft was found out anew, the rest of
/// a chunk of which a part was written came, and went over that part.
#[test]
fn a_chunk_that_comes_while_a_draft_is_opened_again_waits() {
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    stage.hold("bo", Held::Chunks);
    let read = stage.read("bo", fh, 700, 10);
    stage.hold("bo", Held::Disk);
    stage.side("bo").failing = Some((is_write, DiskError::Io));
    let req = write(&mut stage, fh, 100, b"refused", 102);
    // The refusal, and what is there.
    stage.let_by("bo", Held::Disk, 2);
    assert_eq!(stage.answer("bo", req), Some(Err(FsError::Io)));
    stage.release("bo", Held::Chunks);
    stage.release("bo", Held::Disk);
    assert_eq!(stage.bytes("bo", read), photo()[700..710]);
    let req = stage.read("bo", fh, 600, 5);
    assert_eq!(stage.bytes("bo", req), b"HELLO");
}

/// The disk had refused to cut a file, and had cut it. A read of what had been there was told that
/// it still was.
#[test]
fn a_read_of_a_draft_whose_cut_was_refused_waits_until_it_was_found() {
    let is_cut = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Resize { .. })
    };
    let mut stage = alone();
    let (ino, fh) = create(&mut stage, "new");
    let bytes = pattern(1_300, 7);
    written(&mut stage, fh, 0, &bytes, 101);
    stage.hold("bo", Held::Disk);
    stage.side("bo").failing = Some((is_cut, DiskError::Io));
    let cut = resize(&mut stage, ino, 0, 102);
    stage.let_by("bo", Held::Disk, 1);
    assert_eq!(stage.answer("bo", cut), Some(Err(FsError::Io)));
    let read = stage.read("bo", fh, 0, 1_300);
    assert_eq!(stage.answer("bo", read), None);
    stage.release("bo", Held::Disk);
    assert_eq!(stage.bytes("bo", read), bytes);
}

/// The disk of a joiner could not find what a peer asked for: the peer waited for its deadline, and
/// asked again and again on the same link.
#[test]
fn an_ask_for_what_the_disk_can_not_find_fails_at_once() {
    let is_load = |wish: &DiskWish| matches!(wish, DiskWish::LoadObject { .. });
    let mut stage = met();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, &pattern(1_300, 7), 101);
    close(&mut stage, fh);
    stage.wait(secs(60));
    let made = newest(&mut stage);
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(1));
    stage.side("bo").failing = Some((is_load, DiskError::Io));
    assert_eq!(asked(&mut stage, made, 0), "failed");
    // It is looked for again after a pause.
    stage.wait(secs(2));
    assert_eq!(asked(&mut stage, made, 0), "here it is");
}

/// The disk had refused to have a draft settle, and had done it. What was known of the file on which it
/// had been written was kept, and some seconds later the disk was asked to sync that.
#[test]
fn a_draft_whose_end_was_refused_and_done_leaves_nothing_to_sync() {
    let is_settle = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Settle { .. })
    };
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    for from in [0, 1_024, 1_536] {
        stage.read("bo", fh, from, 10);
    }
    stage.side("bo").done_in_vain = Some((is_settle, DiskError::Io));
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(20));
    assert!(stage.side("bo").done_in_vain.is_none());
    assert_eq!(stage.side("bo").objects.drafts(), 0, "it has settled");
    assert_eq!(stage.side("bo").faults.len(), 1, "that it was refused");
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    assert_eq!(read(&mut stage, "photo"), want);
}

/// The disk had refused to remove what was written to a file that a peer had deleted since, and had
/// done it. The next start said that it was lost.
#[test]
fn a_draft_whose_removal_was_refused_and_done_is_not_lost() {
    let is_remove = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Remove)
    };
    let mut stage = both();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    stage.wait(secs(3));
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    assert_eq!(tree(&mut stage)["photo"], want);
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(secs(3));
    stage.side("bo").done_in_vain = Some((is_remove, DiskError::Io));
    close(&mut stage, fh);
    stage.wait(secs(3));
    assert!(stage.side("bo").done_in_vain.is_none());
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(3));
    let is_it = |fault: &Fault| matches!(fault, Fault::Draft { .. });
    assert!(!stage.side("bo").faults.iter().any(is_it));
}

/// While the disk could not find what had been written, each time that it was asked anew all calls waited
/// for it once more, as at the start.
#[test]
fn calls_wait_for_the_disk_to_find_a_draft_but_once() {
    let is_load = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Load)
    };
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bytes", 101);
    stage.kill("bo");
    stage.side("bo").failing = Some((is_load, DiskError::Io));
    stage.start("bo", Last::Killed);
    stage.wait(Duration::from_millis(500));
    assert!(stage.side("bo").failing.is_none());
    stage.hold("bo", Held::Disk);
    stage.wait(secs(2));
    let (parent, name) = (Ino::ROOT, b"new".to_vec());
    let req = stage.call("bo", FsCall::Lookup { parent, name });
    assert!(stage.answer("bo", req).is_some());
}

/// What was put around it came after the sync of what was written.
#[test]
fn a_draft_that_was_filled_up_is_synced_before_it_settles() {
    let mut stage = met();
    assert_eq!(read(&mut stage, "photo")[..10], photo()[..10]);
    stage.kill("bo");
    // It is fetched again, but for one chunk.
    stage.side("bo").objects = crate::stage::Objects::default();
    stage.start("bo", Last::Killed);
    let (_, fh) = open(&mut stage, "photo");
    for from in [0, 1_024, 1_536] {
        stage.read("bo", fh, from, 10);
    }
    stage.hold("bo", Held::Chunks);
    written(&mut stage, fh, 600, b"HELLO", 101);
    let req = sync(&mut stage, fh);
    assert!(is_done(&mut stage, req));
    close(&mut stage, fh);
    stage.wait(secs(1));
    assert_eq!(stage.side("bo").objects.drafts(), 1, "a chunk is wanting");
    stage.release("bo", Held::Chunks);
    stage.wait(secs(1));
    assert_eq!(stage.side("bo").objects.drafts(), 0);
    stage.power_loss("bo");
    stage.start("bo", Last::Lost);
    let mut want = photo();
    want[600..605].copy_from_slice(b"HELLO");
    assert_eq!(read(&mut stage, "photo"), want);
}

// Telling and serving.

#[test]
fn nobody_hears_of_a_version_before_it_is_synced() {
    let mut stage = met();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bytes", 101);
    let told = |stage: &Stage| {
        let made = stage.traffic.iter().filter(|traffic| {
            let registers = match &traffic.message {
                Message::Registers(batch) => batch.registers.as_slice(),
                _ => &[],
            };
            let is_new = |register: &Register| matches!(register, Register::Content(content) if content.body == Body::File { size: 5, chunk_size: 512 });
            traffic.is_sent && registers.iter().any(is_new)
        });
        made.count()
    };
    stage.hold("bo", Held::Disk);
    flush(&mut stage, fh);
    stage.wait(secs(5));
    assert_eq!(versions(&mut stage).len(), 2, "it is stored");
    assert_eq!(told(&stage), 0);
    stage.release("bo", Held::Disk);
    stage.wait(secs(1));
    assert_eq!(told(&stage), 1);
}

#[test]
fn a_chunk_is_served_until_it_is_rewritten_and_again_when_settled() {
    let mut stage = met();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, &pattern(1_300, 7), 101);
    flush(&mut stage, fh);
    let first = newest(&mut stage);
    for chunk in 0..3 {
        assert_eq!(asked(&mut stage, first, chunk), "here it is");
    }
    assert_eq!(asked(&mut stage, first, 3), "not held");
    written(&mut stage, fh, 600, b"other", 102);
    assert_eq!(asked(&mut stage, first, 0), "here it is");
    assert_eq!(asked(&mut stage, first, 1), "gone");
    close(&mut stage, fh);
    stage.wait(secs(2));
    let second = newest(&mut stage);
    assert_ne!(first, second);
    assert_eq!(stage.side("bo").objects.drafts(), 0);
    assert_eq!(asked(&mut stage, second, 1), "here it is");
    assert_eq!(asked(&mut stage, first, 1), "gone");
}

// Dying.

/// What an application does, and what it then knows.
struct Story {
    stage: Stage,
    /// The bytes of the file that are acknowledged.
    truth: Vec<u8>,
    /// What was asked for last, and may be so or not.
    pending: Vec<u8>,
    dead: bool,
}

impl Story {
    fn settle(&mut self, req: ReqId, next: Vec<u8>) {
        if self.dead {
            return;
        }
        self.pending = next;
        if is_done(&mut self.stage, req) {
            self.truth.clone_from(&self.pending);
        } else {
            self.dead = true;
            assert!(self.stage.side("bo").is_dead(), "it was not answered");
        }
    }

    fn write(&mut self, fh: Fh, offset: usize, bytes: &[u8]) {
        if self.dead {
            return;
        }
        let mut next = self.truth.clone();
        next.resize(next.len().max(offset + bytes.len()), 0);
        next[offset..offset + bytes.len()].copy_from_slice(bytes);
        let req = write(&mut self.stage, fh, offset as u64, bytes, 101);
        self.settle(req, next);
    }

    fn resize(&mut self, ino: Ino, size: usize) {
        if self.dead {
            return;
        }
        let mut next = self.truth.clone();
        next.resize(size, 0);
        let req = resize(&mut self.stage, ino, size as u64, 102);
        self.settle(req, next);
    }
}

/// Reads the photo, chunk by chunk. One that nobody has written to may be anywhere: ada, who does
/// not hear of what bo publishes, can't be asked for it as that.
fn read_what_is_here(stage: &mut Stage, truth: &[u8]) -> Vec<u8> {
    let fh = stage.open("bo", "photo");
    let ino = stage.lookup("bo", "photo");
    let size = usize::try_from(size(stage, ino)).unwrap();
    let mut found = Vec::new();
    for from in (0..size).step_by(512) {
        let to = size.min(from + 512);
        let req = stage.read("bo", fh, from as u64, 512);
        if stage.answer("bo", req).is_some() {
            found.extend(stage.bytes("bo", req));
        } else {
            assert_eq!(truth[from..to], photo()[from..to], "{from}.. was lost");
            found.extend(&photo()[from..to]);
        }
    }
    found
}

/// Writes, cuts, publishes, syncs and closes a file, and dies at a step of its disk. Returns how
/// many steps there were.
fn die_at(left: usize, from_complete: bool) -> usize {
    let mut stage = met();
    if from_complete {
        assert_eq!(read(&mut stage, "photo"), photo());
        stage.wait(secs(6));
    } else {
        // All but the third chunk is here.
        let fh = stage.open("bo", "photo");
        for (at, len) in [(0, 600), (1_540, 60)] {
            let req = stage.read("bo", fh, at, len);
            let from = usize::try_from(at).unwrap();
            let to = from + len as usize;
            assert_eq!(stage.bytes("bo", req), photo()[from..to]);
        }
        stage.call("bo", FsCall::Release { fh });
        stage.wait(secs(6));
    }
    let (ino, fh) = open(&mut stage, "photo");
    stage.side("bo").objects.left = left;
    let mut story = Story {
        stage,
        truth: photo(),
        pending: photo(),
        dead: false,
    };
    story.write(fh, 100, b"in a chunk that is here");
    story.write(fh, 1_100, &pattern(300, 9));
    story.write(fh, 1_040, &pattern(80, 3));
    let req = flush(&mut story.stage, fh);
    story.dead |= !is_done(&mut story.stage, req);
    story.write(fh, 1_050, b"published bytes are changed");
    story.resize(ino, 1_200);
    story.resize(ino, 1_500);
    story.write(fh, 2_000, b"beyond the end");
    let req = sync(&mut story.stage, fh);
    story.dead |= !is_done(&mut story.stage, req);
    story.resize(ino, 700);
    close(&mut story.stage, fh);
    if !story.stage.side("bo").is_dead() {
        story.stage.wait(secs(3));
    }
    let Story {
        mut stage,
        truth,
        pending,
        ..
    } = story;
    let rest = stage.side("bo").objects.left;
    stage.kill("bo");
    stage.side("bo").objects.left = usize::MAX;
    stage.start("bo", Last::Killed);
    stage.wait(secs(20));
    let found = read_what_is_here(&mut stage, &truth);
    let is_true = |at: usize, byte: u8| {
        truth.get(at).or(Some(&0)) == Some(&byte) || pending.get(at).or(Some(&0)) == Some(&byte)
    };
    for (at, byte) in found.iter().enumerate() {
        assert!(is_true(at, *byte), "step {left}: byte {at} is made up");
    }
    let shortest = truth.len().min(pending.len());
    let longest = truth.len().max(pending.len());
    assert!(
        (shortest..=longest).contains(&found.len()),
        "step {left}: {} bytes",
        found.len()
    );
    assert_eq!(stage.side("bo").faults, [], "step {left}");
    // Of what is not all here the rest can be had as nothing but what is beneath, since nobody
    // holds what was made of it.
    let drafts = stage.side("bo").objects.drafts();
    assert!(
        drafts == 0 || (!from_complete && drafts == 1),
        "step {left}: it has settled"
    );
    assert_eq!(
        versions(&mut stage).len(),
        1,
        "step {left}: one version after the other"
    );
    left - rest
}

#[test]
fn a_kill_at_any_step_of_the_disk_loses_nothing_that_was_answered() {
    for from_complete in [false, true] {
        let steps = die_at(1_000_000, from_complete);
        assert!(
            steps > 40,
            "the story has {steps} steps and should have more"
        );
        for left in 1..steps {
            die_at(left, from_complete);
        }
    }
}

/// A chunk that came while the file was being cut was put there whole: its end, which had been
/// cut off, was back when the file was extended.
#[test]
fn a_chunk_that_comes_while_the_file_is_cut_is_not_put_where_that_cuts() {
    let mut stage = both();
    let (ino, fh) = open(&mut stage, "photo");
    stage.hold("bo", Held::Chunks);
    stage.read("bo", fh, 600, 10);
    stage.settle();
    stage.hold("bo", Held::Disk);
    let cut = resize(&mut stage, ino, 700, 101);
    while !stage.trace().contains("resize to 700 bytes") {
        stage.let_by("bo", Held::Disk, 1);
        stage.settle();
    }
    stage.release("bo", Held::Chunks);
    stage.settle();
    stage.release("bo", Held::Disk);
    stage.settle();
    assert!(matches!(stage.answer("bo", cut), Some(Ok(_))));
    resize(&mut stage, ino, 1600, 102);
    let mut expected = photo();
    expected[700..].fill(0);
    assert_eq!(read(&mut stage, "photo"), expected);
}
