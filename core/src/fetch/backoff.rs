//! When to try again after a failure.
//!
//! Law (P6): attempts without progress are counted, and each waits longer than the one before,
//! up to a cap; who asks for one more than allowed is told that it is over. Progress starts
//! afresh.
//!
//! The full delay before attempt *n*, from zero, is `base` × 2ⁿ, at most `cap`. Half of it is
//! kept and the other half is drawn ("equal jitter", Brooker: "Exponential backoff and jitter",
//! 2015), so that peers that failed together do not come back together, and none comes at once:
//!
//! ```text
//! delay(n, jitter) = full/2 + full/2 × jitter/255        full = min(cap, base × 2ⁿ)
//! ```

use crate::time::Duration;

/// The attempts without progress after which a fetch gives up, unless set otherwise.
pub const ATTEMPTS_MAX: u32 = 5;

/// The first full delay of a fetch: about a round trip to the other side of the world, so that
/// the answer to the attempt before was possible.
pub const FETCH_BASE: Duration = Duration::from_millis(250);

/// The longest delay of a fetch: well below the deadline of a read (30 s), which has to see more
/// than one attempt.
pub const FETCH_CAP: Duration = Duration::from_secs(8);

/// The first full delay of dialling: a peer that restarts is back within a second.
pub const DIAL_BASE: Duration = Duration::from_millis(250);

/// The longest delay of dialling: how long a machine that wakes may seem to be gone. By eye; two
/// packets a minute and peer cost nothing.
pub const DIAL_CAP: Duration = Duration::from_secs(30);

/// No delay is shorter, whatever was asked for, so that no loop spins.
const FLOOR: Duration = Duration::from_millis(1);

/// The delays between attempts at one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts_max: Option<u32>,
    attempts: u32,
    /// Whether nothing resets it.
    #[cfg(feature = "mutants")]
    is_stuck: bool,
}

impl Backoff {
    /// Returns the backoff of these full delays, first and longest, that allows `attempts_max`
    /// attempts without progress, or any number when that is `None`.
    ///
    /// Both are at least a millisecond, and `cap` wins over `base`.
    pub fn new(base: Duration, cap: Duration, attempts_max: Option<u32>) -> Self {
        Self {
            base: base.max(FLOOR),
            cap: cap.max(FLOOR),
            attempts_max,
            attempts: 0,
            #[cfg(feature = "mutants")]
            is_stuck: false,
        }
    }

    /// Returns the backoff whose attempts are counted for ever.
    #[cfg(feature = "mutants")]
    pub(crate) fn stuck(mut self) -> Self {
        self.is_stuck = true;
        self
    }

    /// Returns the backoff of a fetch: [`FETCH_BASE`], [`FETCH_CAP`], `attempts_max` attempts.
    pub fn of_fetch(attempts_max: u32) -> Self {
        Self::new(FETCH_BASE, FETCH_CAP, Some(attempts_max))
    }

    /// Returns the backoff of dialling a peer, which never ends: [`DIAL_BASE`], [`DIAL_CAP`].
    pub fn of_dial() -> Self {
        Self::new(DIAL_BASE, DIAL_CAP, None)
    }

    /// Returns how long to wait before the next attempt, and counts it; `None` once they are
    /// used up. `jitter` is drawn evenly by the caller: zero waits half the full delay, 255 all
    /// of it.
    pub fn next_delay(&mut self, jitter: u8) -> Option<Duration> {
        if self.exhausted() {
            return None;
        }
        let half = self.full() / 2;
        self.attempts = self.attempts.saturating_add(1);
        Some(half + half / u32::from(u8::MAX) * u32::from(jitter))
    }

    /// Says that an attempt brought something: what follows starts afresh.
    pub fn progress(&mut self) {
        #[cfg(feature = "mutants")]
        if self.is_stuck {
            return;
        }
        self.attempts = 0;
    }

    /// Returns the attempts since the last progress.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns whether no attempt is left.
    pub fn exhausted(&self) -> bool {
        self.attempts_max.is_some_and(|max| self.attempts >= max)
    }

    /// Returns the full delay before the next attempt.
    fn full(&self) -> Duration {
        let times = 1u32.checked_shl(self.attempts);
        let delay = times.and_then(|times| self.base.checked_mul(times));
        delay.map_or(self.cap, |delay| delay.min(self.cap))
    }
}

impl Default for Backoff {
    /// The backoff of a fetch with [`ATTEMPTS_MAX`] attempts.
    fn default() -> Self {
        Self::of_fetch(ATTEMPTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_fetch_gives_up_after_five_attempts_and_progress_starts_afresh() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = core::iter::from_fn(|| backoff.next_delay(0)).collect();
        assert_eq!(delays, [MS(125), MS(250), MS(500), MS(1000), MS(2000)]);
        assert!(backoff.exhausted());
        assert_eq!(backoff.attempts(), 5);
        backoff.progress();
        assert!(!backoff.exhausted());
        assert_eq!(backoff.next_delay(0), Some(MS(125)));
    }

    #[test]
    fn dialling_goes_on_for_ever_at_the_cap() {
        let mut backoff = Backoff::of_dial();
        for _ in 0..100 {
            assert!(backoff.next_delay(255).unwrap() <= DIAL_CAP);
        }
        assert!(backoff.next_delay(255).unwrap() > DIAL_CAP - MS(1));
        assert_eq!(backoff.next_delay(0), Some(DIAL_CAP / 2));
        assert!(!backoff.exhausted());
    }

    #[test]
    fn no_attempts_are_none() {
        assert_eq!(Backoff::of_fetch(0).next_delay(0), None);
        assert!(Backoff::of_fetch(0).exhausted());
    }

    #[test]
    fn absurd_delays_neither_spin_nor_overflow() {
        let mut still = Backoff::new(Duration::ZERO, Duration::ZERO, None);
        assert!(still.next_delay(0).unwrap() > Duration::ZERO);
        let mut long = Backoff::new(Duration::MAX, Duration::MAX, None);
        for _ in 0..40 {
            assert!(long.next_delay(255).unwrap() <= Duration::MAX);
        }
    }

    proptest! {
        #[test]
        fn delays_follow_the_formula(
            base in 1..10_000u64,
            cap in 1..100_000u64,
            max in prop::option::of(0..80u32),
            jitters in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut backoff = Backoff::new(MS(base), MS(cap), max);
            for (n, jitter) in (0..).zip(jitters) {
                prop_assert_eq!(backoff.attempts(), n);
                let over = max.is_some_and(|max| n >= max);
                prop_assert_eq!(backoff.exhausted(), over);
                let delay = backoff.next_delay(jitter);
                prop_assert_eq!(delay.is_none(), over);
                let Some(delay) = delay else { break };
                let full = u128::from(base).saturating_mul(1 << n).min(u128::from(cap)) * 1_000_000;
                let exact = full / 2 + full / 2 * u128::from(jitter) / 255;
                prop_assert!(delay.as_nanos() <= exact);
                prop_assert!(delay.as_nanos() + 255 >= exact, "{:?} {}", delay, exact);
            }
        }
    }
}
