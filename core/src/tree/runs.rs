//! Runs of chunks: which chunks of a version may differ from those of its base.
//!
//! Law (P6): runs are in ascending order, none is empty, and between two lies at least one chunk:
//! each set of chunks has one form. [`Runs::joined`] makes fewer of them by taking in what lies
//! between: more chunks may then differ than do, which costs a question and is no untruth.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::ChunkIx;

/// Chunks that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The first of them.
    pub first: ChunkIx,
    /// How many they are; at least one.
    pub count: u32,
}

impl Run {
    /// Returns the index after its last chunk's, which no chunk may have.
    fn end(self) -> u64 {
        u64::from(self.first.0) + u64::from(self.count)
    }
}

/// A set of chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct Runs(Vec<Run>);

/// Why runs are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// One is empty.
    #[error("a run of chunks is empty")]
    Empty,
    /// One begins before, or right at, the end of the one before it.
    #[error("runs of chunks touch each other, or are out of order")]
    Order,
    /// One ends beyond what an index can say.
    #[error("a run of chunks ends beyond the last index")]
    End,
}

impl Runs {
    /// Takes runs from outside.
    pub fn parse(runs: Vec<Run>) -> Result<Self, RunsError> {
        let mut from = 0;
        for run in &runs {
            if run.count == 0 {
                return Err(RunsError::Empty);
            }
            if u64::from(run.first.0) < from {
                return Err(RunsError::Order);
            }
            if run.end() > u64::from(u32::MAX) {
                return Err(RunsError::End);
            }
            from = run.end() + 1;
        }
        Ok(Self(runs))
    }

    /// Adds a chunk; false if it was in already, or has an index that no file's chunk has.
    pub fn insert(&mut self, chunk: ChunkIx) -> bool {
        self.insert_run(Run {
            first: chunk,
            count: 1,
        })
    }

    /// Adds chunks that follow one another; false if all of them were in already.
    pub fn insert_run(&mut self, run: Run) -> bool {
        let (from, to) = (u64::from(run.first.0), run.end().min(u64::from(u32::MAX)));
        if from >= to {
            return false;
        }
        // The first that it touches, and the first beyond it that it does not.
        let low = self.0.partition_point(|held| held.end() < from);
        let high = self.0.partition_point(|held| u64::from(held.first.0) <= to);
        let touched = self.0.get(low..high).unwrap_or_default();
        let (mut first, mut end) = (from, to);
        if let [only] = touched
            && u64::from(only.first.0) <= from
            && only.end() >= to
        {
            return false;
        }
        for held in touched {
            first = first.min(u64::from(held.first.0));
            end = end.max(held.end());
        }
        self.0.splice(low..high, run_of(first, end));
        true
    }

    /// Adds all chunks of another set.
    pub fn merge(&mut self, other: &Self) {
        for &run in &other.0 {
            self.insert_run(run);
        }
    }

    /// Returns whether a chunk is in.
    pub fn has(&self, chunk: ChunkIx) -> bool {
        let at = self
            .0
            .partition_point(|run| run.end() <= u64::from(chunk.0));
        self.0.get(at).is_some_and(|run| run.first <= chunk)
    }

    /// Returns the runs, in order.
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// Returns whether no chunk is in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the index after that of the last chunk; 0 if there is none.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.end())
    }

    /// Returns the set in at most `max` runs: where there are more, those with the fewest chunks
    /// between them are joined. `max` is at least one.
    #[must_use]
    pub fn joined(mut self, max: usize) -> Self {
        let max = max.max(1);
        if self.0.len() <= max {
            return self;
        }
        let gap = |pair: &[Run]| match pair {
            [left, right] => u64::from(right.first.0) - left.end(),
            _ => 0,
        };
        let mut gaps: Vec<(u64, usize)> = self
            .0
            .windows(2)
            .enumerate()
            .map(|(at, pair)| (gap(pair), at))
            .collect();
        gaps.sort_unstable();
        let mut closed: Vec<usize> = gaps
            .into_iter()
            .take(self.0.len() - max)
            .map(|(_, at)| at)
            .collect();
        closed.sort_unstable();
        let mut closed = closed.into_iter().peekable();
        let mut joined: Vec<Run> = Vec::with_capacity(max);
        let mut joins_last = false;
        for (at, run) in self.0.drain(..).enumerate() {
            match joined.last_mut().filter(|_| joins_last) {
                Some(last) => last.count = run.first.0 + run.count - last.first.0,
                None => joined.push(run),
            }
            joins_last = closed.next_if_eq(&at).is_some();
        }
        Self(joined)
    }
}

/// Returns the run from `first` up to `end`, both of which are indices.
fn run_of(first: u64, end: u64) -> Option<Run> {
    Some(Run {
        first: ChunkIx(u32::try_from(first).ok()?),
        count: u32::try_from(end - first).ok()?,
    })
}

impl TryFrom<Vec<Run>> for Runs {
    type Error = RunsError;

    fn try_from(runs: Vec<Run>) -> Result<Self, RunsError> {
        Self::parse(runs)
    }
}

impl From<Runs> for Vec<Run> {
    fn from(runs: Runs) -> Self {
        runs.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn run(first: u32, count: u32) -> Run {
        Run {
            first: ChunkIx(first),
            count,
        }
    }

    #[test]
    fn what_is_no_form_of_a_set_is_refused() {
        let parse = |runs: &[Run]| Runs::parse(runs.to_vec()).map(|_| ());
        assert_eq!(parse(&[run(0, 1), run(2, 3), run(9, 1)]), Ok(()));
        assert_eq!(parse(&[run(4, 0)]), Err(RunsError::Empty));
        assert_eq!(parse(&[run(0, 1), run(1, 1)]), Err(RunsError::Order));
        assert_eq!(parse(&[run(5, 1), run(2, 1)]), Err(RunsError::Order));
        assert_eq!(parse(&[run(1, u32::MAX)]), Err(RunsError::End));
        assert_eq!(parse(&[run(1, u32::MAX - 1)]), Ok(()));
    }

    #[test]
    fn the_runs_that_are_joined_are_those_nearest_to_each_other() {
        let runs = Runs::parse(vec![run(0, 1), run(9, 1), run(12, 2), run(20, 1)]).unwrap();
        let fewer = |max| runs.clone().joined(max).runs().to_vec();
        assert_eq!(fewer(4), runs.runs());
        assert_eq!(fewer(3), [run(0, 1), run(9, 5), run(20, 1)]);
        assert_eq!(fewer(2), [run(0, 1), run(9, 12)]);
        assert_eq!(fewer(0), [run(0, 21)]);
    }

    proptest! {
        /// Whatever is added, in whatever order, the runs say what a plain set says, in the one
        /// form that it has; and fewer of them say no less.
        #[test]
        fn runs_are_a_set(
            added in prop::collection::vec((0..60u32, 0..6u32), 0..30),
            max in 1..8usize,
        ) {
            let mut plain = BTreeSet::new();
            let mut runs = Runs::default();
            for (first, count) in added {
                let is_news = (first..first + count).any(|ix| !plain.contains(&ix));
                prop_assert_eq!(runs.insert_run(run(first, count)), is_news);
                plain.extend(first..first + count);
            }
            prop_assert_eq!(Runs::parse(runs.runs().to_vec()), Ok(runs.clone()));
            let fewer = runs.clone().joined(max);
            prop_assert_eq!(Runs::parse(fewer.runs().to_vec()), Ok(fewer.clone()));
            prop_assert!(fewer.runs().len() <= max && fewer.end() == runs.end());
            for ix in 0..70 {
                prop_assert_eq!(runs.has(ChunkIx(ix)), plain.contains(&ix));
                prop_assert!(fewer.has(ChunkIx(ix)) || !runs.has(ChunkIx(ix)));
            }
            prop_assert_eq!(runs.end(), plain.last().map_or(0, |ix| u64::from(*ix) + 1));
            let mut both = fewer.clone();
            both.merge(&runs);
            prop_assert_eq!(both, fewer);
        }
    }
}
