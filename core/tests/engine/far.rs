//! `durability = peer`: a sync is answered once another machine has it.

use tandem_core::action::{DiskWish, FsReply};
use tandem_core::edit::Edit;
use tandem_core::engine::{Durability, Last};
use tandem_core::error::{DiskError, FsError};
use tandem_core::event::FsCall;
use tandem_core::ids::{Ino, ReqId};
use tandem_core::place_wish::PlaceWish;
use tandem_core::time::Duration;

use crate::app::{create, open, read, secs, sync, written};
use crate::placing::tree;
use crate::stage::{Held, Stage};

/// Bo, whose syncs wait for ada, has joined her; she takes what he changes.
fn both() -> Stage {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("photo", b"ada's");
    stage.side("ada").config.writable = true;
    let bo = &mut stage.side("bo").config;
    (bo.writable, bo.chunk_size, bo.durability) = (true, 512, Durability::Peer);
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    stage.wait(secs(2));
    stage
}

fn answer(stage: &mut Stage, req: ReqId) -> Option<Result<FsReply, FsError>> {
    stage.answer("bo", req)
}

#[test]
fn a_sync_is_answered_when_the_host_holds_what_was_written() {
    let mut stage = both();
    let is_harden = |wish: &DiskWish| matches!(wish, DiskWish::Place(PlaceWish::Harden));
    stage.side("ada").failing = Some((is_harden, DiskError::Io));
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bo's", 101);
    let req = sync(&mut stage, fh);
    stage.wait(Duration::from_millis(700));
    assert_eq!(tree(&mut stage)["new"], b"bo's");
    assert_eq!(answer(&mut stage, req), None, "a power loss could take it");
    stage.wait(secs(3));
    assert_eq!(answer(&mut stage, req), Some(Ok(FsReply::Done)));
    stage.power_loss("ada");
    assert_eq!(tree(&mut stage)["new"], b"bo's");
    // What was synced once is so.
    stage.start("ada", Last::Lost);
    stage.wait(secs(40));
    let req = sync(&mut stage, fh);
    stage.wait(secs(1));
    assert_eq!(answer(&mut stage, req), Some(Ok(FsReply::Done)));
}

/// The name counts as well: it is stored in the order in which it was made.
#[test]
fn a_sync_waits_for_the_name() {
    let mut stage = both();
    stage.hold("ada", Held::Commits);
    let (_, fh) = create(&mut stage, "empty");
    let req = sync(&mut stage, fh);
    let ino = Ino::ROOT;
    let dir = stage.call("bo", FsCall::Edit(Edit::SyncDir { ino }));
    stage.wait(secs(2));
    assert_eq!(answer(&mut stage, req), None);
    assert_eq!(answer(&mut stage, dir), None);
    stage.release("ada", Held::Commits);
    stage.wait(secs(3));
    assert_eq!(answer(&mut stage, req), Some(Ok(FsReply::Done)));
    assert_eq!(answer(&mut stage, dir), Some(Ok(FsReply::Done)));
}

/// Nobody is there: an error by the deadline, and at once when nobody was there for that long. What
/// was written is safe here, and goes when it can.
#[test]
fn a_sync_that_nobody_hears_fails_by_its_deadline() {
    let mut stage = both();
    stage.mute("ada");
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bo's", 101);
    let req = sync(&mut stage, fh);
    stage.wait(secs(28));
    assert_eq!(answer(&mut stage, req), None);
    stage.wait(secs(4));
    assert_eq!(answer(&mut stage, req), Some(Err(FsError::Io)));
    stage.wait(secs(60));
    let (_, other) = open(&mut stage, "photo");
    let req = sync(&mut stage, other);
    assert_eq!(answer(&mut stage, req), Some(Err(FsError::Io)), "at once");
    stage.power_loss("bo");
    stage.start("bo", Last::Lost);
    stage.wait(secs(2));
    assert_eq!(read(&mut stage, "new"), b"bo's");
    stage.unmute("ada");
    stage.wait(secs(60));
    assert_eq!(tree(&mut stage)["new"], b"bo's");
}

/// A version that was written over before it was held is had with the one that took its place.
#[test]
fn a_sync_of_what_was_written_over_waits_for_that() {
    let mut stage = both();
    stage.mute("ada");
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"once", 101);
    let first = sync(&mut stage, fh);
    stage.wait(Duration::from_millis(100));
    written(&mut stage, fh, 0, b"more", 102);
    let second = sync(&mut stage, fh);
    stage.wait(secs(2));
    assert_eq!(answer(&mut stage, first), None);
    stage.unmute("ada");
    stage.wait(secs(20));
    assert_eq!(tree(&mut stage)["new"], b"more");
    for req in [first, second] {
        assert_eq!(answer(&mut stage, req), Some(Ok(FsReply::Done)));
    }
}
