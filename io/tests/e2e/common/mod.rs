//! What the tests share: programs, mounts, a bad network, and bytes that say where they belong.

pub(crate) mod pattern;
pub(crate) mod picture;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod tree;
pub(crate) mod watchdog;
pub(crate) mod world;

use std::thread;
use std::time::{Duration, Instant};

/// Asks again and again until there is an answer, and returns it; fails the test after a
/// generous minute.
#[track_caller]
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(ask).unwrap_or_else(|| panic!("waited a minute until {what}"))
}

/// Asks again and again until there is an answer, for a generous minute.
pub(crate) fn within<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    let mut wait = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return None;
        }
        thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(100));
    }
}

/// Returns whether the long form of the tests was asked for.
pub(crate) fn is_large() -> bool {
    std::env::var_os("TANDEM_E2E_LARGE").is_some()
}
