//! Deltas: what a new version costs somebody who holds an older one.

use tandem_core::engine::Last;
use tandem_core::event::{Event, Fetched};
use tandem_core::ids::{ChunkHash, Fh};
use tandem_core::time::Duration;

use crate::stage::{Held, Stage};

/// Four chunks, and the beginning of a fifth, no two alike.
fn book() -> Vec<u8> {
    (0..2_148u32)
        .map(|at| u8::try_from(at / 7 % 251 + 1).unwrap())
        .collect()
}

/// Bo has read all of the book, and keeps it open.
fn bo_has_read() -> (Stage, Fh) {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("book", &book());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "book");
    reads(&mut stage, fh, &book());
    (stage, fh)
}

/// Ada's file becomes another, and bo hears of it.
fn becomes(stage: &mut Stage, bytes: &[u8]) {
    stage.side("ada").files.write("book", bytes);
    stage.hint("book");
    stage.wait(Duration::from_secs(1));
}

fn reads(stage: &mut Stage, fh: Fh, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap();
    let read = stage.read("bo", fh, 0, len);
    stage.settle();
    assert!(stage.bytes("bo", read) == bytes, "bo reads something else");
}

/// Returns the bytes that bo has fetched so far.
fn fetched(stage: &mut Stage) -> u64 {
    stage.side("bo").engine().counters().bytes_fetched
}

/// Returns the bytes that it costs bo to read ada's new version.
fn cost(stage: &mut Stage, fh: Fh, bytes: &[u8]) -> u64 {
    let before = fetched(stage);
    becomes(stage, bytes);
    reads(stage, fh, bytes);
    fetched(stage) - before
}

#[test]
fn a_changed_byte_costs_its_chunk() {
    let (mut stage, fh) = bo_has_read();
    let mut new = book();
    new[1_100] ^= 0xff;
    assert_eq!(cost(&mut stage, fh, &new), 512);
    assert_eq!(stage.side("bo").objects.count(), 1, "the older one went");
}

#[test]
fn what_is_appended_costs_itself() {
    let (mut stage, fh) = bo_has_read();
    let mut new = book();
    new.extend_from_slice(b"the end");
    assert_eq!(cost(&mut stage, fh, &new), 7);
    // Over the end of a chunk: what the last one lacked, and what is beyond it.
    new.extend((0..600u32).map(|at| u8::try_from(at % 200).unwrap() + 3));
    assert_eq!(cost(&mut stage, fh, &new), 600);
}

#[test]
fn equal_bytes_written_again_cost_nothing() {
    let (mut stage, fh) = bo_has_read();
    assert_eq!(cost(&mut stage, fh, &book()), 0);
}

#[test]
fn zeros_cost_nothing() {
    let (mut stage, fh) = bo_has_read();
    let mut new = book();
    new[512..1_536].fill(0);
    new.resize(9_000, 0);
    // The fifth chunk is what it was, and zeros behind that.
    assert_eq!(cost(&mut stage, fh, &new), 512 - 100);
}

/// What was read of a version in between is not fetched again for the one after it.
#[test]
fn the_newest_and_the_fullest_of_older_versions_are_kept() {
    let (mut stage, fh) = bo_has_read();
    let mut new = book();
    new[1_100] ^= 0xff;
    becomes(&mut stage, &new);
    let before = fetched(&mut stage);
    let read = stage.read("bo", fh, 1_100, 1);
    stage.settle();
    stage.bytes("bo", read);
    new[0] ^= 0xff;
    becomes(&mut stage, &new);
    reads(&mut stage, fh, &new);
    assert_eq!(fetched(&mut stage) - before, 1_024);
    assert_eq!(stage.side("bo").objects.count(), 1);
}

/// A kill does not lose what an older version spares.
#[test]
fn an_older_version_is_found_after_a_kill() {
    let (mut stage, _) = bo_has_read();
    let mut new = book();
    new[1_100] ^= 0xff;
    becomes(&mut stage, &new);
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    let fh = stage.open("bo", "book");
    reads(&mut stage, fh, &new);
    assert_eq!(fetched(&mut stage), 512);
}

/// What rotted here is named as what it was, and is found out when it is taken.
#[test]
fn an_older_version_that_rotted_is_not_taken() {
    let (mut stage, fh) = bo_has_read();
    let mut new = book();
    new[1_100] ^= 0xff;
    stage.side("bo").objects.rot(600);
    assert_eq!(cost(&mut stage, fh, &new), 1_024);
}

/// S32: an owner that says "the same" of what was not named, or sends an end that does not fit,
/// has nothing stored.
#[test]
fn what_was_not_named_is_not_the_same_s32() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("book", &book());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "book");
    stage.hold("bo", Held::Chunks);
    let read = stage.read("bo", fh, 0, 10);
    let fetch = stage.asked("bo");
    let outcome = Fetched::Same;
    stage.event("bo", Event::Fetched { fetch, outcome });
    assert_eq!(stage.side("bo").faults.len(), 1);
    stage.release("bo", Held::Chunks);
    stage.wait(Duration::from_secs(5));
    assert_eq!(stage.bytes("bo", read), book()[..10]);
    let zeros = ChunkHash::of(&[0; 512]);
    assert_ne!(zeros, ChunkHash::of(&book()[..512]));
}
