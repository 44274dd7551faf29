//! Writing runs in which syncs of some joiners wait for another machine (`--writing --far`).

mod range;

use std::sync::atomic::Ordering;

use tandem_sim::config::{FAR, WRITING};
use tandem_sim::run::run;

/// How many seeds meet both ends of such a sync, many times.
const SEEDS: u64 = 150;

/// Runs that found something, and what.
const FOUND: &[(u64, &str)] = &[(
    0x9b,
    "a sync was answered by what a program had made beside the version that it was about",
)];

#[test]
fn no_seed_of_the_range_breaks_a_promise_as_syncs_wait() {
    WRITING.store(true, Ordering::Relaxed);
    FAR.store(true, Ordering::Relaxed);
    let met = ["sync: far", "sync: not far"].map(str::to_owned);
    range::met(&range::hold(SEEDS), met.to_vec());
}

#[test]
fn seeds_that_found_something_hold_as_syncs_wait() {
    WRITING.store(true, Ordering::Relaxed);
    FAR.store(true, Ordering::Relaxed);
    for (seed, story) in FOUND {
        assert_eq!(run(*seed, &[], false).failure, None, "{seed:#x}: {story}");
    }
}
