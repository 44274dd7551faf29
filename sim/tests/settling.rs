//! Writing runs in which users settle conflicts (`--writing --settling`): none of a fixed range may
//! fail, and together they must reach what they are there for.

mod range;

use std::sync::atomic::Ordering;

use tandem_sim::config::{SETTLING, WRITING};
use tandem_sim::run::run;

/// How many seeds settle in every way.
const SEEDS: u64 = 400;

const MET: &[&str] = &[
    "settled: both",
    "settled: mine",
    "settled: opposed",
    "settled: theirs",
    "unsettled: a directory",
    "unsettled: being written",
    "unsettled: in part",
    "unsettled: one-sided",
    "unsettled: read-only",
];

/// Runs that found something, and what.
const FOUND: &[(u64, &str)] = &[
    (
        0x19,
        "a conflict copy waited for the file whose name it had got, and that one for it",
    ),
    (
        0x1c4,
        "what a delete had ended was there again when what an edit had kept was settled for",
    ),
    (
        0x36d,
        "what one had kept went with the next version of who had thrown it away",
    ),
];

#[test]
fn no_seed_of_the_range_breaks_a_promise_as_conflicts_are_settled() {
    WRITING.store(true, Ordering::Relaxed);
    SETTLING.store(true, Ordering::Relaxed);
    let met = MET.iter().map(|mark| (*mark).to_owned()).collect();
    range::met(&range::hold(SEEDS), met);
}

#[test]
fn seeds_that_found_something_hold_as_conflicts_are_settled() {
    WRITING.store(true, Ordering::Relaxed);
    SETTLING.store(true, Ordering::Relaxed);
    for (seed, story) in FOUND {
        assert_eq!(run(*seed, &[], false).failure, None, "{seed:#x}: {story}");
    }
}
