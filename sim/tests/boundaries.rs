//! Writing runs in which a peer loses power between two of its actions, wherever that is.

use std::sync::atomic::Ordering;

use tandem_sim::config::WRITING;
use tandem_sim::run::{Cut, run, run_cut};

/// Every so many boundaries of a run are played; all of them in `tests/long.sh boundaries`.
const EVERY: usize = 29;

/// Runs and boundaries that found something, and what.
const FOUND: &[(u64, &str, &str)] = &[
    (
        0x3,
        "1:118",
        "chunks that were taken of a file before and after a program wrote to it, with its time set \
         back, were joined to one version",
    ),
    (
        0x3,
        "0:44",
        "a liar said again what another had said while the host was down, and was believed to have \
         told all of it",
    ),
    (
        0x3,
        "0:127",
        "an ask for more bytes than the chunk has was passed on to the peer that made the version",
    ),
    (
        0x6,
        "1:94",
        "what a peer had published of an open file went with its store",
    ),
    (
        0x10,
        "2:826",
        "a file that a power loss had emptied showed its old size until it was found, and the kernel was \
         not told that it had another",
    ),
    (
        0x17,
        "2:358",
        "what lay written over a version, and was published, was read as that version through a conflict \
         copy",
    ),
    (
        0x19,
        "1:571",
        "a file whose bytes its conflict copy was to take over lay out of the way meanwhile, and each of \
         the two waited for the other",
    ),
];

#[test]
fn what_a_power_loss_at_a_boundary_found_holds() {
    WRITING.store(true, Ordering::Relaxed);
    for (seed, cut, story) in FOUND {
        let cut = cut.parse().unwrap();
        let outcome = run_cut(*seed, &[], Some(cut), false);
        assert_eq!(outcome.failure, None, "{seed:#x} --cut {cut}: {story}");
    }
}

#[test]
fn power_may_be_lost_between_any_two_actions() {
    WRITING.store(true, Ordering::Relaxed);
    let mut played = 0;
    for seed in 0..12 {
        let whole = run(seed, &[], false);
        assert_eq!(whole.failure, None, "{seed:#x}");
        for (peer, actions) in whole.actions.iter().enumerate() {
            for after in (1..=*actions).step_by(EVERY) {
                let cut = Cut { peer, after };
                let outcome = run_cut(seed, &[], Some(cut), false);
                assert_eq!(outcome.failure, None, "{seed:#x} --cut {cut}");
                assert_ne!(outcome.hash, whole.hash, "{seed:#x}: {cut} cuts nothing");
                played += 1;
            }
        }
    }
    assert!(played > 200, "{played}");
}
