//! Mutants: faults planted in the core, one at a time, to see that the oracles find them.
//!
//! Law: each is found within [`SEEDS_MAX`] seeds, or the oracles or the generators are too weak. A
//! seed has found a fault if it holds without it. Of runs in which joiners write some fail as it
//! is, and a planted fault leads a run to where another might have gone: there only a promise
//! counts that the fault is known to break.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use tandem_core::mutant::Mutant;

use crate::config::{SETTLING, WRITING};
use crate::run::{self, Outcome, make, run_in};

/// How many seeds may pass before a mutant is found.
pub const SEEDS_MAX: u64 = 2000;

/// The fault that is planted in every run of a program, if any is: `--plant`.
pub static PLANTED: OnceLock<Mutant> = OnceLock::new();

/// Returns the fault of this name.
pub fn named(name: &str) -> Option<Mutant> {
    let is_it = |mutant: &Mutant| format!("{mutant:?}").eq_ignore_ascii_case(name);
    Mutant::ALL.into_iter().find(is_it)
}

/// Runs a seed with a planted fault.
pub fn run(seed: u64, off: &[u32], keep_trace: bool, mutant: Mutant) -> Outcome {
    let mut world = make(seed, off, keep_trace);
    world.mutant = Some(mutant);
    run_in(&mut world)
}

/// Returns which promises a planted fault breaks: what else is broken by it may be seen first, but
/// not by just any oracle.
pub fn expected(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::RangeOutward | Mutant::FailedReadIsEof => &["P1"],
        Mutant::BitBeforeData | Mutant::RenameUnsynced => &["P2"],
        Mutant::ReplayedChunk => &["no fault without a cause", "P5"],
        Mutant::KnowledgeEarly => &["P1", "P4"],
        Mutant::AttemptsNeverReset => &["P9"],
        Mutant::HandleReused | Mutant::LeaseDropped => &["P7"],
        Mutant::NewsDropped => &["P4"],
        Mutant::WindowIgnored => &["P6"],
        Mutant::NameNotForgotten => &["exact invalidation"],
        Mutant::SidecarIgnored => &["P5"],
        Mutant::IntentAfterEffect => &["P2"],
        Mutant::ParentNewest | Mutant::SyncedUnheld => &["P3"],
        Mutant::SyncedUnacked => &["P2"],
        Mutant::RemovedLetIn => &["access ends"],
        Mutant::TrashEmptied | Mutant::OtherRestored => &["undo"],
        Mutant::SettledBlind | Mutant::SettledLoosely => &["P3"],
        Mutant::CopyIdLocal | Mutant::ClockOrder | Mutant::DominatedKept => &["P2", "P3", "P4"],
    }
}

/// Tells whether a run with a planted fault has found it, and not something else.
fn is_found(outcome: &Outcome, mutant: Mutant) -> bool {
    let Some(failure) = &outcome.failure else {
        return false;
    };
    let is_expected = !mutant.is_of_writing() || expected(mutant).contains(&failure.promise);
    is_expected && run::run(outcome.seed, &[], false).failure.is_none()
}

/// Runs seeds from 0 until one finds the planted fault; returns the first that does.
///
/// Whether joiners write, and users settle conflicts, is the mutant's to say, for all runs meanwhile.
pub fn find(mutant: Mutant, jobs: usize) -> Option<Outcome> {
    let was_writing = WRITING.swap(mutant.is_of_writing(), Ordering::Relaxed);
    let was_settling = SETTLING.swap(mutant.is_of_settling(), Ordering::Relaxed);
    let found = find_in_these(mutant, jobs);
    SETTLING.store(was_settling, Ordering::Relaxed);
    WRITING.store(was_writing, Ordering::Relaxed);
    found
}

fn find_in_these(mutant: Mutant, jobs: usize) -> Option<Outcome> {
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
            if !is_found(&outcome, mutant) {
                continue;
            }
            let mut found = lock();
            if found.as_ref().is_none_or(|found| seed < found.seed) {
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
