//! Mutants: faults planted in the core, one at a time, to see that the oracles find them.
//!
//! Law: each is found within [`SEEDS_MAX`] seeds, or the oracles or the generators are too weak.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_core::mutant::Mutant;

use crate::run::{Outcome, make, run_in};

/// How many seeds may pass before a mutant is found.
pub const SEEDS_MAX: u64 = 2000;

/// Runs a seed with a planted fault.
pub fn run(seed: u64, off: &[u32], keep_trace: bool, mutant: Mutant) -> Outcome {
    let mut world = make(seed, off, keep_trace);
    world.mutant = Some(mutant);
    run_in(&mut world)
}

/// Runs seeds from 0 until one finds the planted fault; returns the first that does.
pub fn find(mutant: Mutant, jobs: usize) -> Option<Outcome> {
    let next = AtomicU64::new(0);
    let found: Mutex<Option<Outcome>> = Mutex::new(None);
    let lock = || match found.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Threads run seeds in no order: the lowest that fails is the one.
            if seed >= SEEDS_MAX || lock().as_ref().is_some_and(|found| found.seed < seed) {
                return;
            }
            let outcome = run(seed, &[], false, mutant);
            let mut found = lock();
            let first = found.as_ref().is_none_or(|found| seed < found.seed);
            if outcome.failure.is_some() && first {
                *found = Some(outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    lock().take()
}
