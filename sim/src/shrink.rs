//! Shrinking: the fewest planned events with which a seed still breaks the same promise.
//!
//! Law: only whole planned events are switched off; since each draws from a stream of its own,
//! what is left happens as before, as far as it does not depend on what was taken away.

use crate::run::{Outcome, run_cut};

/// Returns the outcome with as few planned events as could be found, and all that is switched off
/// then: of a run in which `off` already was. `tell` is given how many are left, and how many runs
/// it may yet take.
///
/// Delta debugging (Zeller 1999) by halves, then one by one, at most `runs` runs. What is kept
/// breaks the same promise; it may be another finding.
pub fn shrink(
    failed: &Outcome,
    off: &[u32],
    mut runs: u32,
    mut tell: impl FnMut(usize, u32),
) -> (Outcome, Vec<u32>) {
    let mut best = failed.clone();
    let mut off = off.to_vec();
    let mut size = (best.fired.len() / 2).max(1);
    loop {
        let mut smaller = false;
        let mut at = 0;
        while at < best.fired.len() && runs > 0 {
            tell(best.fired.len(), runs);
            runs -= 1;
            let end = (at + size).min(best.fired.len());
            let mut more = off.clone();
            more.extend_from_slice(&best.fired[at..end]);
            let tried = run_cut(failed.seed, &more, failed.cut, false);
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
