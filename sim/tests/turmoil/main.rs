//! The real network shell (TLS, HTTP/2, gRPC, lanes, reconnecting) under turmoil, with two real
//! engines: latency, partitions, connections that stand still, kills and power losses, on fixed
//! seeds.
//!
//! It checks the wiring; the simulator hunts. Turmoil's TCP never sends anything twice, so that a
//! partition ends every stream that had something under way, and only heartbeats find out.
#![expect(clippy::unwrap_used, reason = "what a test can't make stops the test")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "these look at a few of many events and answers"
)]
#![expect(
    clippy::unwrap_in_result,
    reason = "the helpers of a test may fail as loudly as the test"
)]

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tandem_core::event::FsCall;

use world::{CHUNK, DEADLINE, World};

mod peer;
mod store;
mod transport;
mod world;

const SEC: Duration = Duration::from_secs(1);

#[test]
fn a_download_cut_three_times_asks_for_nothing_twice() {
    let mut world = World::new(1);
    let film = world.chance.bytes(100 * CHUNK - 77);
    world.put("film", film.clone());
    world.linked();
    let want = world.want("film");
    for quarter in 1..=3 {
        world.until("some progress", |w| w.account().1 >= 25 * quarter);
        assert!(!world.is_done(want));
        world.partition();
        world.run_for(5 * SEC);
        world.repair();
    }
    world.until("the whole file", |w| w.is_done(want));
    let (asked, held, vain) = world.account();
    assert_eq!(held, 100);
    assert_eq!(asked, 100 + vain);
    // What was under way at a cut was asked for in vain, and nothing else was sent twice.
    let written = world.host.written.load(Ordering::Relaxed);
    let most = (100 + vain) * CHUNK * 102 / 100 + 4 * 64 * 1024;
    assert!(written <= most as u64, "{written} bytes of at most {most}");
    assert_eq!(world.content("film"), film);
}

#[test]
fn a_read_waits_while_the_network_stands_still_and_fails_by_its_deadline() {
    let mut world = World::new(2);
    let notes = world.chance.bytes(3 * CHUNK);
    world.put("notes", notes.clone());
    world.linked();
    let fh = world.open("notes");
    world.hold();
    let (offset, len) = (CHUNK as u64, 10);
    let req = world.call(FsCall::Read { fh, offset, len });
    world.run_for(3 * SEC);
    assert!(world.ada.answers.borrow().is_empty());
    world.release();
    let (_, bytes) = world.answer(req).unwrap();
    assert_eq!(bytes, notes[CHUNK..CHUNK + 10]);

    world.partition();
    let offset = 2 * offset;
    let req = world.call(FsCall::Read { fh, offset, len });
    world.run_for(DEADLINE + SEC);
    assert!(world.answer(req).is_err());
    // What is here is read all the same.
    assert_eq!(world.read(fh, CHUNK, 5).unwrap(), notes[CHUNK..CHUNK + 5]);
    world.repair();
    world.linked();
    assert_eq!(world.content("notes"), notes);
}

#[test]
fn a_host_that_was_killed_is_found_again_and_goes_on_serving() {
    let mut world = World::new(3);
    let film = world.chance.bytes(60 * CHUNK);
    world.put("film", film.clone());
    world.linked();
    let want = world.want("film");
    world.until("some progress", |w| w.account().1 >= 20);
    world.crash("host", false);
    world.run_for(3 * SEC);
    world.restart("host");
    world.until("the whole file", |w| w.is_done(want));
    let (asked, held, vain) = world.account();
    assert_eq!((held, asked), (60, 60 + vain));
    assert_eq!(world.content("film"), film);
}

#[test]
fn a_joiner_that_was_killed_resumes_from_its_disk() {
    let mut world = World::new(4);
    let film = world.chance.bytes(60 * CHUNK);
    world.put("film", film.clone());
    world.linked();
    world.want("film");
    world.until("some progress", |w| w.account().1 >= 30);
    world.crash("ada", false);
    let before = world.account().1;
    world.run_for(SEC);
    world.restart("ada");
    world.linked();
    assert_eq!(world.content("film"), film);
    let (asked, held, vain) = world.account();
    assert!(before >= 30 && held == 60);
    assert_eq!(asked, 60 + vain);
}

#[test]
fn a_change_made_while_nobody_listened_arrives() {
    let mut world = World::new(5);
    let old = world.chance.bytes(2 * CHUNK);
    world.put("notes", old.clone());
    world.linked();
    assert_eq!(world.content("notes"), old);
    world.partition();
    let new = world.chance.bytes(3 * CHUNK + 5);
    world.put("notes", new.clone());
    world.run_for(30 * SEC);
    assert_eq!(world.content("notes"), old);
    world.repair();
    world.linked();
    world.run_for(5 * SEC);
    assert_eq!(world.content("notes"), new);
}

/// What the hard days together must meet: a link that broke and one that could not be dialled, a
/// start after a kill and one after a power loss.
const TO_MEET: [&str; 4] = ["why: Lost }", "why: Unreachable }", ", Killed", ", Lost"];

/// A few files, wanted while everything that turmoil can break breaks; drawn from the seed.
/// Returns the trace.
fn a_hard_day(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let mut files = Vec::new();
    for n in 0..3 {
        let size = 1 + world.chance.index(50 * CHUNK);
        let bytes = world.chance.bytes(size);
        let file = format!("f{n}");
        world.put(&file, bytes.clone());
        files.push((file, bytes));
    }
    world.linked();
    for (file, _) in &files {
        world.want(file);
    }
    for _ in 0..4 {
        let wait = world.chance.between(5, 600);
        world.run_for(Duration::from_millis(wait));
        let time = Duration::from_millis(world.chance.between(20, 9_000));
        let who = ["host", "ada"][world.chance.index(2)];
        match world.chance.below(4) {
            0 => {
                world.partition();
                world.run_for(time);
                world.repair();
            }
            1 => {
                world.hold();
                world.run_for(time);
                world.release();
            }
            kill => {
                world.crash(who, kill == 3 && who == "ada");
                world.run_for(time);
                world.restart(who);
                world.run_for(Duration::from_millis(1));
            }
        }
        // Whoever wanted a file wants it still when their program is back.
        for (file, _) in &files {
            world.want(file);
        }
    }
    // A link on which something was lost stands still until its heartbeats are missed; a read
    // on it may fail by its deadline before that.
    world.run_for(20 * SEC);
    world.linked();
    let chunks: usize = files.iter().map(|(_, b)| b.len().div_ceil(CHUNK)).sum();
    for (file, bytes) in &files {
        assert!(world.content(file) == *bytes, "{file} of seed {seed}");
    }
    let (asked, held, vain) = world.account();
    // What a power loss spared of a partial file is hashed, and not asked for again.
    assert!(
        held <= chunks && asked <= chunks + vain,
        "seed {seed}: {asked} asks, {vain} in vain"
    );
    world.lines()
}

#[test]
fn hard_days_end_well_and_the_same_day_twice_is_the_same() {
    let mut met = BTreeSet::new();
    for seed in 100..108 {
        let (first, second) = (a_hard_day(seed), a_hard_day(seed));
        let is_met = |mark: &&str| first.iter().any(|line| line.contains(*mark));
        met.extend(TO_MEET.into_iter().filter(is_met));
        let apart = first.iter().zip(&second).position(|(a, b)| a != b);
        if let Some(at) = apart {
            panic!("seed {seed}, line {at}:\n{}\n{}", first[at], second[at]);
        }
        assert_eq!(first.len(), second.len());
    }
    // A day on which nothing breaks says nothing.
    assert_eq!(met, BTreeSet::from(TO_MEET));
}
