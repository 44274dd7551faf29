//! Hunting: fresh seeds on all cores, until one fails or the time is up.
//!
//! Law: only the choice of seeds and the clock on the wall are outside of a run; a seed that fails
//! here fails everywhere.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::reach::Reach;
use crate::run::{Outcome, run, run_twice};

/// Every so many seeds run twice, to compare their traces.
const TWICE_EVERY: u64 = 8;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How far a hunt has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events that were handled.
    pub events: u64,
    /// How long it took so far.
    pub time: Duration,
    /// What was reached.
    pub reach: Reach,
}

impl Progress {
    /// Returns seeds in a second.
    pub fn seeds_per_sec(&self) -> f64 {
        per_sec(self.seeds, self.time)
    }

    /// Returns events in a second.
    pub fn events_per_sec(&self) -> f64 {
        per_sec(self.events, self.time)
    }
}

fn per_sec(count: u64, time: Duration) -> f64 {
    // A hunt handles fewer than 2⁵³ events.
    count as f64 / time.as_secs_f64().max(0.001)
}

/// Plays something of each kind on some cores at once; what comes of each is told as it ends.
pub fn each<T: Sync, U: Send>(
    all: &[T],
    jobs: usize,
    play: impl Fn(&T) -> U + Sync,
    mut tell: impl FnMut(U),
) {
    let next = AtomicUsize::new(0);
    let (send, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, next, play) = (send.clone(), &next, &play);
            scope.spawn(move || {
                while let Some(what) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if send.send(play(what)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        ended.iter().for_each(&mut tell);
    });
}

/// When a hunt ends, if no seed fails.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// After so many seeds.
    pub seeds: u64,
    /// After so long.
    pub time: Duration,
    /// Whether a failure does not end it.
    pub keep_going: bool,
}

/// Runs seeds in order from `from`, on so many threads, and tells of its progress about once a
/// second. Returns how far it came, and the failures that were found, in order of their seeds.
pub fn hunt(
    from: u64,
    until: Until,
    jobs: usize,
    mut tell: impl FnMut(&Progress),
) -> (Progress, Vec<Outcome>) {
    let start = Instant::now();
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let found = Mutex::new((Progress::default(), Vec::new()));
    let lock = || match found.lock() {
        Ok(guard) => guard,
        // What another thread left behind is whole: it only adds.
        Err(poisoned) => poisoned.into_inner(),
    };
    let work = || {
        while !over.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= until.seeds || start.elapsed() >= until.time {
                return;
            }
            let (seed, twice) = (from.wrapping_add(n), n % TWICE_EVERY == 0);
            let outcome = if twice {
                run_twice(seed)
            } else {
                run(seed, &[], false)
            };
            let mut found = lock();
            found.0.seeds += 1;
            found.0.events += outcome.events * if twice { 2 } else { 1 };
            found.0.reach.merge(&outcome.reach);
            if outcome.failure.is_some() {
                found.1.push(outcome);
                over.store(!until.keep_going, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                let mut now = lock().0.clone();
                now.time = start.elapsed();
                tell(&now);
            }
        }
    });
    let (mut progress, mut failed) = match found.into_inner() {
        Ok(found) => found,
        Err(poisoned) => poisoned.into_inner(),
    };
    progress.time = start.elapsed();
    failed.sort_by_key(|failed| failed.seed);
    (progress, failed)
}

/// Returns a seed that nobody has seen: from the chance that the system gives every process.
pub fn fresh() -> u64 {
    // Some bits less, so that the seeds that follow are as short to write.
    RandomState::new().build_hasher().finish() >> 16
}
