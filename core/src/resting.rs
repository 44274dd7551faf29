//! The objects that are in memory, in the order in which they were last of use.
//!
//! Law: each that was taken in is here until it is taken out, or is said to be gone. One that went
//! from memory without a word is passed over when its turn comes.

use alloc::collections::BTreeMap;

use crate::ids::ObjectId;

/// An order of objects.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    next: u64,
    by_use: BTreeMap<u64, ObjectId>,
    uses: BTreeMap<ObjectId, u64>,
}

impl Resting {
    /// Notes that an object was of use.
    pub(crate) fn used(&mut self, object: ObjectId) {
        self.gone(object);
        self.by_use.insert(self.next, object);
        self.uses.insert(object, self.next);
        self.next += 1;
    }

    /// Notes that an object is not kept any more.
    pub(crate) fn gone(&mut self, object: ObjectId) {
        if let Some(used) = self.uses.remove(&object) {
            self.by_use.remove(&used);
        }
    }

    /// Takes out the object that was of no use for longest, if there are more than `max`.
    pub(crate) fn beyond(&mut self, max: usize) -> Option<ObjectId> {
        if self.uses.len() <= max {
            return None;
        }
        let (_, object) = self.by_use.pop_first()?;
        self.uses.remove(&object);
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ActorId, Dot, NodeId};

    #[test]
    fn the_one_of_no_use_for_longest_goes_first() {
        let object = |counter| {
            let actor = ActorId(1);
            ObjectId {
                node: NodeId(Dot { actor, counter }),
                version: Dot { actor, counter },
            }
        };
        let mut resting = Resting::default();
        for counter in [1, 2, 3, 1, 2] {
            resting.used(object(counter));
        }
        assert_eq!(resting.beyond(3), None);
        assert_eq!(resting.beyond(2), Some(object(3)));
        resting.gone(object(1));
        assert_eq!(resting.beyond(0), Some(object(2)));
        assert_eq!(resting.beyond(0), None);
    }
}
