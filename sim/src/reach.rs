//! Reach: what happened at least once, counted over a batch of runs.
//!
//! Law: a test that never met the case it is there for proves nothing; the default range of
//! seeds fails when a mark of `EXPECTED` is never hit.

use std::collections::BTreeMap;

/// How often each mark was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<&'static str, u64>);

impl Reach {
    /// Hits a mark.
    pub fn hit(&mut self, mark: &'static str) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// Returns how often a mark was hit.
    pub fn count(&self, mark: &str) -> u64 {
        self.0.get(mark).copied().unwrap_or(0)
    }

    /// Adds the marks of another run.
    pub fn merge(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(mark).or_default() += count;
        }
    }

    /// Iterates over marks and counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(mark, count)| (*mark, *count))
    }
}

/// Hits a mark of a [`Reach`].
#[macro_export]
macro_rules! reach {
    ($reach:expr, $mark:literal) => {
        $reach.hit($mark)
    };
}

/// Returns the marks that the default range of seeds must hit.
pub fn expected() -> Vec<String> {
    EXPECTED.iter().map(|mark| (*mark).to_owned()).collect()
}

/// Returns how many of the expected marks were hit, and how many there are.
pub fn met(reach: &Reach) -> (usize, usize) {
    let all = expected();
    let met = all.iter().filter(|mark| reach.count(mark) > 0).count();
    (met, all.len())
}

const EXPECTED: &[&str] = &[
    "answer: failed",
    "answer: gone",
    "chaos: cut",
    "chaos: kill",
    "chaos: kill between actions",
    "chaos: partition",
    "chaos: power loss",
    "chaos: stall",
    "chaos: stop",
    "chunk: corrupted",
    "chunk: hashed after a crash",
    "chunk: torn by a writer while read",
    "commit: failed",
    "dial: unreachable",
    "disk: failed",
    "fetch: died with its link",
    "hint: lost",
    "invalidate: delete",
    "invalidate: entry",
    "invalidate: pages",
    "keep cache: yes",
    "link: half open",
    "link: live again",
    "object: created",
    "object: finished",
    "object: removed",
    "power: lost a commit",
    "power: lost a write",
    "power: tore a write",
    "read: at once",
    "read: end of file",
    "read: failed",
    "read: waited",
    "sidecar: cut",
    "sidecar: old tail came back",
    "version: changed while open",
];
