//! What a replica knows: version vectors over actors.
//!
//! Law: a vector covers a dot only if whoever holds the vector holds that update or one that
//! superseded it. Vectors only grow.
//! Source: D. S. Parker et al., "Detection of mutual inconsistency in distributed systems", 1983.

use alloc::collections::BTreeMap;
use core::cmp::Ordering;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ActorId, Dot};

/// For each actor, how many of its updates are covered: all with a counter up to this one.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionVector(BTreeMap<ActorId, u64>);

impl VersionVector {
    /// Returns the vector that covers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether `dot` is covered. The root's dot always is.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.counter(dot.actor)
    }

    /// Returns the highest counter of `actor` that is covered; 0 if none is.
    pub fn counter(&self, actor: ActorId) -> u64 {
        self.0.get(&actor).copied().unwrap_or(0)
    }

    /// Covers `dot` and every earlier one of its actor.
    pub fn cover(&mut self, dot: Dot) {
        if dot.counter > 0 {
            let known = self.0.entry(dot.actor).or_default();
            *known = dot.counter.max(*known);
        }
    }

    /// Covers what `other` covers.
    pub fn merge(&mut self, other: &Self) {
        for (&actor, &counter) in &other.0 {
            self.cover(Dot { actor, counter });
        }
    }

    /// Tells whether everything that `other` covers is covered.
    pub fn includes(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(&actor, &counter)| self.covers(Dot { actor, counter }))
    }

    /// Compares two vectors: before, equal, after, or concurrent (`None`).
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// Returns the number of actors.
    pub fn actors(&self) -> usize {
        self.0.len()
    }

    /// Iterates over actors and counters, in the order of actors.
    pub fn iter(&self) -> impl Iterator<Item = (ActorId, u64)> + '_ {
        self.0.iter().map(|(&actor, &counter)| (actor, counter))
    }
}

impl FromIterator<(ActorId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ActorId, u64)>>(pairs: I) -> Self {
        let mut vector = Self::new();
        for (actor, counter) in pairs {
            vector.cover(Dot { actor, counter });
        }
        vector
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (actor, counter)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { " " };
            write!(f, "{comma}{actor:?}:{counter}")?;
        }
        f.write_str("}")
    }
}
