//! Open handles.
//!
//! Law (P7): a handle is a number that was never given before and is never given again; every
//! open has exactly one release; two opens of one file are two handles. A handle names an inode,
//! not a path, so it survives rename and unlink; it belongs to no link, so it survives a
//! reconnect.
//!
//! How many there may be is bounded by the kernel, which allows each process so many open files.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::{Fh, Ino};

/// The open handles of a mount, each on an inode and with a `T` of its own.
#[derive(Clone, Debug)]
pub struct Handles<T> {
    next: u64,
    open: BTreeMap<Fh, Handle<T>>,
    /// The handles on each inode that has one. No set is empty.
    on: BTreeMap<Ino, BTreeSet<Fh>>,
}

#[derive(Clone, Debug)]
struct Handle<T> {
    ino: Ino,
    value: T,
}

/// What was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released<T> {
    /// The inode that the handle was open on.
    pub ino: Ino,
    /// What the table kept for the handle.
    pub value: T,
    /// Whether the inode has no open handle left.
    pub last: bool,
}

impl<T> Handles<T> {
    /// Returns a table without handles, whose first will be `start`.
    ///
    /// A mount that outlives the table (a restart under a kernel that kept its handles) starts
    /// the next one beyond every number that the last one gave.
    pub fn new(start: Fh) -> Self {
        Self {
            next: start.0,
            open: BTreeMap::new(),
            on: BTreeMap::new(),
        }
    }

    /// Opens a handle on an inode, and keeps `value` for it until it is released.
    pub fn open(&mut self, ino: Ino, value: T) -> Fh {
        let fh = Fh(self.next);
        self.next = self
            .next
            .checked_add(1)
            .expect("2^64 handles are never opened");
        self.open.insert(fh, Handle { ino, value });
        self.on.entry(ino).or_default().insert(fh);
        fh
    }

    /// Returns what is kept for a handle; `None` when it is not open.
    pub fn get(&self, fh: Fh) -> Option<&T> {
        self.open.get(&fh).map(|handle| &handle.value)
    }

    /// Returns what is kept for a handle, to be changed; `None` when it is not open.
    pub fn get_mut(&mut self, fh: Fh) -> Option<&mut T> {
        self.open.get_mut(&fh).map(|handle| &mut handle.value)
    }

    /// Returns the inode that a handle is open on; `None` when it is not open.
    pub fn ino(&self, fh: Fh) -> Option<Ino> {
        self.open.get(&fh).map(|handle| handle.ino)
    }

    /// Releases a handle; `None` when it is not open, so that a second release finds nothing.
    pub fn release(&mut self, fh: Fh) -> Option<Released<T>> {
        let Handle { ino, value } = self.open.remove(&fh)?;
        let last = self.on.get_mut(&ino).is_none_or(|on| {
            on.remove(&fh);
            on.is_empty()
        });
        if last {
            self.on.remove(&ino);
        }
        Some(Released { ino, value, last })
    }

    /// Gives the number of a released handle again, if none beyond it is open.
    #[cfg(feature = "mutants")]
    pub(crate) fn reuse(&mut self, fh: Fh) {
        if self.open.range(fh..).next().is_none() {
            self.next = fh.0;
        }
    }

    /// Returns how many handles are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns whether no handle is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns how many handles are open on an inode.
    pub fn opens_of(&self, ino: Ino) -> usize {
        self.on.get(&ino).map_or(0, BTreeSet::len)
    }

    /// Returns the handles that are open on an inode, in the order of their opening.
    pub fn on(&self, ino: Ino) -> impl Iterator<Item = (Fh, &T)> {
        let open = self.on.get(&ino).into_iter().flatten();
        open.filter_map(|&fh| Some((fh, self.get(fh)?)))
    }

    /// Returns the inodes that have an open handle, in order.
    pub fn inos(&self) -> impl Iterator<Item = Ino> + '_ {
        self.on.keys().copied()
    }

    /// Returns the open handles with their inodes, in the order of their opening.
    pub fn iter(&self) -> impl Iterator<Item = (Fh, Ino, &T)> {
        self.open
            .iter()
            .map(|(&fh, handle)| (fh, handle.ino, &handle.value))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// In the reference two opens of one file share a handle, and closing one breaks the other.
    #[test]
    fn two_opens_of_one_file_are_two_handles() {
        let mut handles = Handles::new(Fh(7));
        let one = handles.open(Ino(2), "one");
        let two = handles.open(Ino(2), "two");
        assert_eq!((one, two), (Fh(7), Fh(8)));
        assert_eq!(handles.opens_of(Ino(2)), 2);
        assert_eq!(
            handles.release(one),
            Some(Released {
                ino: Ino(2),
                value: "one",
                last: false
            })
        );
        assert_eq!(handles.get(two), Some(&"two"));
        assert_eq!(
            handles.release(two),
            Some(Released {
                ino: Ino(2),
                value: "two",
                last: true
            })
        );
        assert_eq!(handles.release(two), None);
        assert_eq!(handles.opens_of(Ino(2)), 0);
        assert!(handles.is_empty());
    }

    /// The kernel reuses descriptor numbers, and a late operation hits another file.
    #[test]
    fn a_released_number_never_comes_back_s1() {
        let mut handles = Handles::new(Fh(1));
        let mut last = Fh(0);
        for round in 0..1_000 {
            let fh = handles.open(Ino(round), ());
            assert!(fh > last);
            assert!(handles.get(last).is_none(), "{last} names nothing any more");
            handles.release(fh).unwrap();
            last = fh;
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Open(u64),
        Release(usize),
        Change(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..4u64).prop_map(Op::Open),
            any::<usize>().prop_map(Op::Release),
            any::<usize>().prop_map(Op::Change),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(start in 0..u64::MAX / 2, ops in prop::collection::vec(op(), 0..60)) {
            let mut handles = Handles::new(Fh(start));
            let mut given = Vec::new();
            let mut model: Vec<(Fh, Ino, u32)> = Vec::new();
            for op in ops {
                match op {
                    Op::Open(ino) => {
                        let fh = handles.open(Ino(ino), 0);
                        prop_assert!(!given.contains(&fh));
                        given.push(fh);
                        model.push((fh, Ino(ino), 0));
                    }
                    Op::Release(at) if !given.is_empty() => {
                        let fh = given[at % given.len()];
                        let held = model.iter().position(|(open, ..)| *open == fh);
                        let gone = held.map(|at| model.remove(at)).map(|(_, ino, value)| {
                            let last = model.iter().all(|(_, other, _)| *other != ino);
                            Released { ino, value, last }
                        });
                        prop_assert_eq!(handles.release(fh), gone);
                    }
                    Op::Change(at) if !model.is_empty() => {
                        let at = at % model.len();
                        model[at].2 += 1;
                        *handles.get_mut(model[at].0).unwrap() += 1;
                    }
                    Op::Release(_) | Op::Change(_) => {}
                }
                let open: Vec<_> = handles.iter().map(|(fh, ino, value)| (fh, ino, *value)).collect();
                prop_assert_eq!(&open, &model);
                prop_assert_eq!(handles.len(), model.len());
                for ino in (0..5).map(Ino) {
                    let on: Vec<_> = model.iter().filter(|open| open.1 == ino).collect();
                    prop_assert_eq!(handles.opens_of(ino), on.len());
                    prop_assert!(handles.on(ino).eq(on.iter().map(|open| (open.0, &open.2))));
                    prop_assert_eq!(handles.inos().any(|open| open == ino), !on.is_empty());
                }
                for fh in &given {
                    let held = model.iter().find(|open| open.0 == *fh);
                    prop_assert_eq!(handles.get(*fh), held.map(|open| &open.2));
                    prop_assert_eq!(handles.ino(*fh), held.map(|open| open.1));
                }
            }
        }
    }
}
