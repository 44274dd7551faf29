//! A fixed range of seeds: none may fail, and together they must reach what they are there for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_sim::reach::{Reach, expected};
use tandem_sim::run::run;

const SEEDS: u64 = 4000;

#[test]
fn no_seed_of_the_range_breaks_a_promise() {
    let next = AtomicU64::new(0);
    let found = Mutex::new((Reach::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            let outcome = run(seed, &[], false);
            let mut found = found.lock().unwrap();
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
    let (reach, mut failures) = found.into_inner().unwrap();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, failure) in &failures {
        println!("{failure}");
        println!("again: cargo run -p tandem-sim --release -- run --seed {seed:#x} --trace");
    }
    assert!(
        failures.is_empty(),
        "{} of {SEEDS} seeds failed",
        failures.len()
    );
    let never: Vec<_> = expected()
        .into_iter()
        .filter(|mark| reach.count(mark) == 0)
        .collect();
    assert!(never.is_empty(), "never reached: {never:?}");
}
