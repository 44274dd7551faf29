//! Deltas: what a new version costs somebody who holds an older one.

use tandem_core::engine::Last;
use tandem_core::event::{Event, Fetched};
use tandem_core::ids::{ActorId, Arrival, ChunkHash, ChunkIx, Dot, Fh, Lamport};
use tandem_core::message::{Batch, Message};
use tandem_core::time::Duration;
use tandem_core::tree::register::{Content, Register, Stamp};
use tandem_core::tree::runs::Runs;

use crate::app::{both, close, open, resize, written};
use crate::bo::Bo;
use crate::placing::{ada, tree};
use crate::stage::{Held, Stage, photo};

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

/// `cp` empties a file before it fills it: on a machine under load ada looked at it in between, bo
/// heard that there was nothing in it, and fetched again all that he had.
#[test]
fn a_file_that_is_seen_empty_while_it_is_rewritten_costs_what_changed() {
    let (mut stage, fh) = bo_has_read();
    becomes(&mut stage, b"");
    assert_eq!(cost(&mut stage, fh, &book()), 0);
    assert_eq!(stage.side("bo").objects.count(), 1);
    becomes(&mut stage, b"");
    stage.wait(Duration::from_secs(4));
    assert_eq!(
        stage.side("bo").objects.count(),
        0,
        "it is not kept for ever"
    );
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

/// A log grew faster than a host could put it down: each line had her fetch anew all that had
/// come since the version that stood in her folder.
#[test]
fn what_a_host_has_of_a_version_that_never_stood_is_named() {
    let mut stage = ada(&[("book", b"")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("book");
    let mut log = book();
    bo.write(node, &log);
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(100));
    for _ in 0..3 {
        assert!(bo.serve_one(&mut stage));
    }
    stage.wait(Duration::from_millis(100));
    log.extend_from_slice(b"the end");
    let version = bo.write(node, &log);
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(100));
    let asked: Vec<(u32, Option<u32>)> = (stage.unanswered.iter())
        .filter(|(_, _, want)| want.object.version == version)
        .map(|(_, _, want)| (want.chunk.0, want.have.map(|have| have.len)))
        .collect();
    let here = Some(512);
    assert_eq!(
        asked,
        [(0, here), (1, here), (2, here), (3, None), (4, None)]
    );
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["book"], log);
    assert_eq!(
        stage.side("ada").objects.count(),
        0,
        "it is not kept for ever"
    );
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

/// A sidecar of version 1 lists chunks and gives no hashes. Those that are there cost nothing, and
/// those that are not, themselves.
#[test]
fn what_version_1_lists_is_named_and_proven() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("book", &book());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "book");
    let read = stage.read("bo", fh, 600, 900);
    stage.bytes("bo", read);
    stage.kill("bo");
    stage.side("bo").objects.list_all_in_version_1();
    stage.start("bo", Last::Killed);
    let fh = stage.open("bo", "book");
    reads(&mut stage, fh, &book());
    assert_eq!(fetched(&mut stage), 2_148 - 2 * 512);
    assert_eq!(stage.side("bo").objects.count(), 1);
}

/// What was named and proven stays so: its record is that of any chunk.
#[test]
fn what_version_1_listed_is_a_claim_with_a_hash_after_a_kill() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("book", &book());
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let fh = stage.open("bo", "book");
    let read = stage.read("bo", fh, 600, 900);
    stage.bytes("bo", read);
    stage.kill("bo");
    stage.side("bo").objects.list_all_in_version_1();
    for _ in 0..2 {
        stage.start("bo", Last::Killed);
        let fh = stage.open("bo", "book");
        let read = stage.read("bo", fh, 600, 900);
        assert_eq!(stage.bytes("bo", read), book()[600..1_500]);
        assert_eq!(fetched(&mut stage), 0);
        stage.kill("bo");
        stage.mute("ada");
    }
}

/// A version whose author says which chunk it changed: the others are taken from the base, and
/// nobody is asked, nor need anybody be there.
#[test]
fn what_a_version_says_is_as_its_base_is_not_asked_for() {
    let (mut stage, fh) = bo_has_read();
    let mut held = stage.side("bo").registers().into_iter();
    let base = held.find_map(|register| match register {
        Register::Content(content) => Some(content),
        _ => None,
    });
    let base = base.unwrap();
    let dot = Dot {
        actor: ActorId(0xc0),
        counter: 1,
    };
    let mut context = base.context.clone();
    context.cover(base.stamp.dot);
    let mut changed = Runs::default();
    changed.insert(ChunkIx(2));
    let new = Content {
        stamp: Stamp {
            lamport: Lamport(base.stamp.lamport.0 + 1),
            dot,
        },
        context,
        base: Some(base.stamp.dot),
        changed: Some(changed),
        ..base
    };
    let link = stage.links("bo")[0];
    let said = Batch {
        upto: Arrival(100),
        registers: vec![Register::Content(new)],
        knowledge: None,
    };
    stage.mute("ada");
    stage.said("bo", link, Message::Registers(said));
    stage.cut();
    let asked = stage.side("bo").engine().counters().chunks_asked;
    for (offset, len) in [(0, 1_024), (1_536, 612)] {
        let read = stage.read("bo", fh, offset, len);
        let from = usize::try_from(offset).unwrap();
        let upto = from + usize::try_from(len).unwrap();
        assert_eq!(stage.bytes("bo", read), book()[from..upto]);
    }
    assert_eq!(stage.side("bo").engine().counters().chunks_asked, asked);
    let other = stage.read("bo", fh, 1_024, 1);
    assert_eq!(stage.answer("bo", other), None, "that one has changed");
}

// What stands in a host's folder.

/// Bo opens the photo, of which he has read nothing, and writes it anew from its beginning: all of
/// it, with these bytes. Returns what it costs ada, and what she has then.
fn rewritten(stage: &mut Stage, bytes: &[u8]) -> u64 {
    let before = stage.side("ada").engine().counters().bytes_fetched;
    let (ino, fh) = open(stage, "photo");
    resize(stage, ino, 0, 101);
    written(stage, fh, 0, bytes, 102);
    close(stage, fh);
    stage.wait(Duration::from_secs(5));
    assert_eq!(tree(stage)["photo"], bytes);
    stage.side("ada").engine().counters().bytes_fetched - before
}

/// Ada was never asked for the photo, and knew no hash of what stood in her folder: all of it came
/// over the wire. She reads what stands where a chunk will be before she asks for that.
#[test]
fn what_stands_in_the_folder_is_not_fetched_again() {
    let mut stage = both();
    assert_eq!(rewritten(&mut stage, &photo()), 0);
    let mut longer = photo();
    longer.extend_from_slice(b"the end");
    assert_eq!(rewritten(&mut stage, &longer), 7);
    longer[600] ^= 0xff;
    assert_eq!(rewritten(&mut stage, &longer), 512);
    assert_eq!(rewritten(&mut stage, &longer[..1_000]), 0);
}

/// A program changed what stood while what goes behind it was on its way: the two make no chunk,
/// all of which is asked for, and nothing of either side is lost.
#[test]
fn what_stood_and_is_another_is_joined_to_nothing() {
    let mut stage = both();
    let mut longer = photo();
    longer.extend_from_slice(b"the end");
    let mut edited = photo();
    edited[1_590] ^= 0xff;
    stage.hold("ada", Held::Chunks);
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 1_600, b"the end", 102);
    close(&mut stage, fh);
    stage.wait(Duration::from_secs(1));
    stage.side("ada").files.write("photo", &edited);
    stage.release("ada", Held::Chunks);
    stage.hint("photo");
    stage.wait(Duration::from_secs(5));
    let all: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert_eq!(all.len(), 2);
    assert!(all.contains(&longer) && all.contains(&edited));
    let asked = stage.side("ada").engine().counters().chunks_asked;
    assert_eq!(asked, 2, "for what goes behind it, and for all of it");
}
