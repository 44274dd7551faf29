//! Plays a range of seeds on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_sim::reach::Reach;
use tandem_sim::run::{flags, run};

/// Plays all seeds below `seeds`, of which none may fail; returns what they came across together.
#[track_caller]
pub(crate) fn hold(seeds: u64) -> Reach {
    let next = AtomicU64::new(0);
    let found = Mutex::new((Reach::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let outcome = run(seed, &[], false);
            let mut found = found.lock().expect("no run panics outside its own");
            found.0.merge(&outcome.reach);
            if let Some(failure) = outcome.failure {
                found.1.push((seed, failure));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let (reach, mut failures) = found.into_inner().expect("no run panics outside its own");
    failures.sort_by_key(|(seed, _)| *seed);
    let told = failures.iter().map(|(seed, failure)| {
        let again = "again: cargo run -p tandem-sim --release -- run";
        format!("{failure}\n{again} {} --trace\n", flags(*seed, &[], None))
    });
    assert!(
        failures.is_empty(),
        "{}{} of {seeds} seeds failed",
        told.collect::<String>(),
        failures.len()
    );
    reach
}

/// Checks that each of these marks was hit.
#[track_caller]
pub(crate) fn met(reach: &Reach, marks: Vec<String>) {
    let marks = marks.into_iter();
    let never: Vec<_> = marks.filter(|mark| reach.count(mark) == 0).collect();
    assert!(never.is_empty(), "never reached: {never:?}");
}
