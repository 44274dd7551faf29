//! Which versions lie in the trash of a shared folder: a peer that made an edit on one of them,
//! and lacks some of it, can still be served.

use alloc::collections::{BTreeMap, VecDeque};

use crate::event::Fingerprint;
use crate::ids::Dot;

/// Versions in the trash that are remembered; the oldest are forgotten first. By eye.
const THROWN_MAX: usize = 4_096;

/// Versions in the trash, by the fingerprints of their files.
#[derive(Debug, Default)]
pub(crate) struct Thrown {
    prints: BTreeMap<Dot, Fingerprint>,
    order: VecDeque<Dot>,
}

impl Thrown {
    /// Notes that a version's file has gone to the trash; returns one that is forgotten for it.
    pub(crate) fn note(&mut self, version: Dot, print: Fingerprint) -> Option<Dot> {
        if self.prints.insert(version, print).is_none() {
            self.order.push_back(version);
        }
        if self.order.len() <= THROWN_MAX {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.prints.remove(&oldest).map(|_| oldest)
    }

    /// Returns the fingerprint of a version's file.
    pub(crate) fn print(&self, version: Dot) -> Option<&Fingerprint> {
        self.prints.get(&version)
    }

    /// Forgets a version, whose file is not there any more.
    pub(crate) fn forget(&mut self, version: Dot) {
        if self.prints.remove(&version).is_some() {
            self.order.retain(|other| *other != version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ActorId;
    use crate::time::WallTime;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let dot = |counter| Dot {
            actor: ActorId(1),
            counter,
        };
        let print = Fingerprint {
            ino: 1,
            born_ns: 2,
            size: 3,
            mtime: WallTime::default(),
            ctime: WallTime::default(),
        };
        let mut thrown = Thrown::default();
        for counter in 1..=THROWN_MAX as u64 {
            assert_eq!(thrown.note(dot(counter), print), None);
        }
        assert_eq!(thrown.note(dot(7), print), None);
        assert_eq!(thrown.note(dot(9_999), print), Some(dot(1)));
        assert_eq!(thrown.print(dot(1)), None);
        assert!(thrown.print(dot(2)).is_some());
        thrown.forget(dot(2));
        assert_eq!(thrown.note(dot(10_000), print), None);
        assert_eq!(thrown.note(dot(10_001), print), Some(dot(3)));
    }
}
