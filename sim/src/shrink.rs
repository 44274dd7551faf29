//! Shrinking: the fewest planned events with which a seed still breaks the same promise.
//!
//! Law: only whole planned events are switched off; since each draws from a stream of its own,
//! what is left happens as before, as far as it does not depend on what was taken away.

use crate::run::{Outcome, run};

/// Returns the outcome with as few planned events as could be found, and those switched off
/// beyond what already was.
/// Delta debugging (Zeller 1999) by halves, then one by one, at most `runs` runs.
pub fn shrink(failed: &Outcome, mut runs: u32) -> (Outcome, Vec<u32>) {
    let mut best = failed.clone();
    let mut off: Vec<u32> = Vec::new();
    let mut size = (best.fired.len() / 2).max(1);
    loop {
        let mut smaller = false;
        let mut at = 0;
        while at < best.fired.len() && runs > 0 {
            runs -= 1;
            let end = (at + size).min(best.fired.len());
            let mut more = off.clone();
            more.extend_from_slice(&best.fired[at..end]);
            let tried = run(failed.seed, &more, false);
            if is_same(&tried, failed) {
                (best, off, smaller) = (tried, more, true);
            } else {
                at = end;
            }
        }
        if runs == 0 || (size == 1 && !smaller) {
            return (best, off);
        }
        size = (size / 2).max(1);
    }
}

fn is_same(a: &Outcome, b: &Outcome) -> bool {
    let key = |outcome: &Outcome| outcome.failure.as_ref().map(|f| (f.kind, f.promise));
    key(a) == key(b)
}
