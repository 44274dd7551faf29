//! Oracles: what the promises say, judged from outside, without code of the core.

pub mod bodies;
pub mod bounds;
pub mod caches;
pub mod converge;
pub mod faults;
pub mod handles;
pub mod here;
pub mod kept;
pub mod leases;
pub mod live;
pub mod names;
pub mod order;
pub mod removed;
pub mod resume;
pub mod retries;
pub mod settled;
pub mod shown;
pub mod synced;
pub mod truth;
pub mod undo;

use std::fmt;

/// What kind of promise was broken; the exit code of the program tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The core panicked.
    Crash,
    /// Something happened that never may.
    Safety,
    /// Something did not happen in time.
    Liveness,
    /// The peers do not agree after all is well.
    Convergence,
    /// The same seed gave another trace.
    Determinism,
    /// The simulator panicked, outside of the core.
    Simulator,
}

impl Kind {
    /// Returns the exit code for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Crash => 10,
            Self::Safety => 11,
            Self::Liveness => 12,
            Self::Convergence => 13,
            Self::Determinism => 14,
            Self::Simulator => 15,
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of.
    pub kind: Kind,
    /// Which promise of the design.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
    /// When, in nanoseconds of virtual time; 0 if that is not known.
    pub at: u64,
}

impl Failure {
    /// Returns a failure; the world adds the time.
    pub fn new(kind: Kind, promise: &'static str, what: impl Into<String>) -> Self {
        Self {
            kind,
            promise,
            what: what.into(),
            at: 0,
        }
    }

    /// Returns a broken promise of safety.
    pub fn safety(promise: &'static str, what: impl Into<String>) -> Self {
        Self::new(Kind::Safety, promise, what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, micros) = (self.at / 1_000_000_000, self.at / 1_000 % 1_000_000);
        write!(
            f,
            "{:?}: {} is broken at {secs}.{micros:06}s: {}",
            self.kind, self.promise, self.what
        )
    }
}

/// What an oracle says.
pub type Verdict = Result<(), Failure>;
