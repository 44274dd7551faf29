//! Which inode number the kernel knows a node by, and how many lookups it holds.
//!
//! Law (P7): a number stands for one node for ever, across restarts; it is never given to
//! another.

use alloc::collections::BTreeMap;

use crate::ids::{Ino, NodeId};

/// How many numbers are set aside at once: after a kill, those that may have been given and not
/// recorded are passed over.
pub(crate) const INODES_AHEAD: u64 = 4096;

/// The inode numbers of a replica.
#[derive(Debug)]
pub(crate) struct Inodes {
    next: u64,
    by_node: BTreeMap<NodeId, Ino>,
    by_ino: BTreeMap<Ino, NodeId>,
    lookups: BTreeMap<Ino, u64>,
}

impl Inodes {
    pub(crate) fn new() -> Self {
        Self {
            next: Ino::ROOT.0 + 1,
            by_node: BTreeMap::from([(NodeId::ROOT, Ino::ROOT)]),
            by_ino: BTreeMap::from([(Ino::ROOT, NodeId::ROOT)]),
            lookups: BTreeMap::new(),
        }
    }

    /// Takes in a number that was given in an earlier run.
    pub(crate) fn restore(&mut self, node: NodeId, ino: Ino) {
        self.by_node.insert(node, ino);
        self.by_ino.insert(ino, node);
        self.next = self.next.max(ino.0.saturating_add(1));
    }

    /// Passes over every number that may have been given before `ahead` was to be set further.
    ///
    /// A start that was killed before that was stored did the same, so each passes over a number
    /// of blocks of its own, by chance.
    ///
    /// Returns the next number, which is to be recorded: a later start that ended cleanly would
    /// give what was passed over.
    pub(crate) fn pass_over(&mut self, ahead: u64, chance: u16) -> u64 {
        let blocks = u64::from(chance) + 1;
        let ahead = ahead.saturating_add(blocks.saturating_mul(INODES_AHEAD));
        self.begin_at(ahead);
        self.next
    }

    /// Gives no number below `next`.
    pub(crate) fn begin_at(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Returns a node's number, and whether it was drawn just now (and is to be stored).
    pub(crate) fn of(&mut self, node: NodeId) -> (Ino, bool) {
        if let Some(&ino) = self.by_node.get(&node) {
            return (ino, false);
        }
        let ino = Ino(self.next);
        self.next += 1;
        self.by_node.insert(node, ino);
        self.by_ino.insert(ino, node);
        (ino, true)
    }

    /// Returns a node's number if it has one.
    pub(crate) fn get(&self, node: NodeId) -> Option<Ino> {
        self.by_node.get(&node).copied()
    }

    /// Returns the node of a number.
    pub(crate) fn node(&self, ino: Ino) -> Option<NodeId> {
        self.by_ino.get(&ino).copied()
    }

    /// Counts a lookup that the kernel was given.
    pub(crate) fn looked_up(&mut self, ino: Ino) {
        *self.lookups.entry(ino).or_default() += 1;
    }

    /// Takes lookups back.
    pub(crate) fn forget(&mut self, ino: Ino, lookups: u64) {
        if let Some(held) = self.lookups.get_mut(&ino) {
            *held = held.saturating_sub(lookups);
            if *held == 0 {
                self.lookups.remove(&ino);
            }
        }
    }

    /// Returns the number by which the kernel may have something cached of a node; the root is
    /// always known.
    pub(crate) fn known(&self, node: NodeId) -> Option<Ino> {
        let ino = self.get(node)?;
        (ino == Ino::ROOT || self.lookups.contains_key(&ino)).then_some(ino)
    }
}
