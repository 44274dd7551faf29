//! A set of numbers as the spans that it consists of: bytes of a chunk, or chunks of a file.
//!
//! Law: spans are kept in order, none is empty, and no two touch; so what was put in in any
//! pieces is kept as one, and two sets are equal when they hold the same numbers.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(
    /// Where each span begins, and where it ends.
    BTreeMap<u64, u64>,
);

impl Spans {
    /// Returns the set of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts every number of a range in.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // The last span that begins before the end reaches furthest; others that begin within or
        // end at the beginning melt into the new one.
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            start = start.min(from);
            end = end.max(to);
            self.0.remove(&from);
        }
        self.0.insert(start, end);
    }

    /// Takes every number of a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..end).next_back() {
            if to <= start {
                return;
            }
            self.0.remove(&from);
            if from < start {
                self.0.insert(from, start);
            }
            if to > end {
                self.0.insert(end, to);
            }
        }
    }

    /// Takes every number out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns whether a number is in.
    pub fn has(&self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back();
        before.is_some_and(|(_, &to)| number < to)
    }

    /// Returns whether every number of a range is in; of an empty one, true.
    pub fn covers(&self, range: Range<u64>) -> bool {
        self.gaps(range).next().is_none()
    }

    /// Returns, in order, the parts of a range that are not in.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = range;
        let before = self.0.range(..start).next_back();
        let mut at = before.map_or(start, |(_, &to)| to.max(start));
        let mut spans = self.0.range(start..);
        core::iter::from_fn(move || {
            while at < end {
                let Some((&from, &to)) = spans.next() else {
                    let gap = at..end;
                    at = end;
                    return Some(gap);
                };
                let gap = at..from.min(end);
                at = to.max(at);
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// Returns the spans, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(&from, &to)| from..to)
    }

    /// Returns how many spans there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Ranges of a small world, some of them empty or backwards.
    fn range() -> impl Strategy<Value = Range<u64>> {
        (0..40_u64, 0..12_u64).prop_map(|(from, len)| from..(from + len).saturating_sub(1))
    }

    proptest! {
        #[test]
        fn they_are_the_set_of_numbers_put_in_and_not_taken_out(
            steps in proptest::collection::vec((any::<bool>(), range()), 0..40),
            asked in range(),
        ) {
            let mut spans = Spans::new();
            let mut model = BTreeSet::new();
            for (is_in, range) in steps {
                if is_in {
                    spans.insert(range.clone());
                    model.extend(range);
                } else {
                    spans.remove(range.clone());
                    model.retain(|number| !range.contains(number));
                }
            }
            let held: Vec<u64> = spans.iter().flatten().collect();
            prop_assert_eq!(held, model.iter().copied().collect::<Vec<_>>());
            let ends: Vec<_> = spans.iter().collect();
            prop_assert!(ends.windows(2).all(|two| two[0].end < two[1].start));
            prop_assert_eq!(spans.count(), ends.len());
            let gaps: Vec<u64> = spans.gaps(asked.clone()).flatten().collect();
            let missing: Vec<u64> = asked.clone().filter(|number| !model.contains(number)).collect();
            prop_assert_eq!(spans.covers(asked), missing.is_empty());
            prop_assert_eq!(gaps, missing);
            prop_assert!((0..60).all(|number| spans.has(number) == model.contains(&number)));
        }
    }
}
