//! The placing of what the tree wants in the shared folder: what is to be looked after, what is
//! under way, and what was done and is not on record yet.
//!
//! Law: intent before effect. What is to be put under a name is on record, with the file that it
//! is, before it is put there; what was done is on record only after it was made to survive power
//! loss. So whatever a kill leaves is told by the record or by the file itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::Fingerprint;
use crate::folder::{Refused, Spot};
use crate::ids::{Arrival, Dot, NodeId, ObjectId};
use crate::place_wish::Dress;
use crate::time::{Duration, Time};
use crate::tree::name::Name;

/// Deeds under way at once: keeps a disk queue busy; by eye.
pub(crate) const DEEDS_MAX: usize = 64;

/// Objects that are fetched for their places at once: their state is in memory; by eye.
pub(crate) const FETCHING_MAX: usize = 128;

/// Objects that are made ready by one wish, which is answered as a whole; by eye.
pub(crate) const BATCH_MAX: usize = 256;

/// How long a sync that failed waits for its next attempt; by eye.
const HARDEN_RETRY: Duration = Duration::from_secs(1);

/// A file that is about to be put under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// In which directory.
    pub dir: NodeId,
    /// Under which name.
    pub name: Name,
    /// Which version it is.
    pub version: Dot,
    /// The object that holds it.
    pub object: ObjectId,
    /// What the file is, made ready.
    pub print: Fingerprint,
    /// What stands there and goes.
    pub over: Option<(NodeId, Fingerprint)>,
}

/// Something that is done to the shared folder.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Objects are made ready, for these nodes.
    Prepare(Vec<(NodeId, ObjectId)>),
    /// A node's intent is carried out.
    Put(NodeId),
    /// A directory is made.
    MakeDirectory(NodeId, Spot),
    /// A symlink is made, of this version.
    MakeSymlink {
        node: NodeId,
        spot: Spot,
        version: Dot,
        /// What stands there and goes.
        over: Option<NodeId>,
    },
    /// A node gets a further name.
    Link(NodeId, Spot),
    /// A node moves; from or to out of the way, where that is not set.
    Move {
        node: NodeId,
        from: Option<Spot>,
        to: Option<Spot>,
    },
    /// A node takes over another's file.
    Inherit {
        heir: NodeId,
        from: NodeId,
        spot: Spot,
        to: Spot,
    },
    /// A name of a node goes, or what lies out of the way.
    Remove(NodeId, Option<Spot>),
    /// A node's attributes are set.
    Dress(NodeId, Dress),
    /// What should lie out of the way is looked for.
    Seek(NodeId),
    /// What was done is made to survive power loss.
    Harden,
}

impl Deed {
    /// Returns the nodes that it is about.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Prepare(files) => files.iter().map(|(node, _)| *node).collect(),
            Self::Put(node)
            | Self::MakeDirectory(node, _)
            | Self::Link(node, _)
            | Self::Move { node, .. }
            | Self::Remove(node, _)
            | Self::Dress(node, _)
            | Self::Seek(node) => [*node].into(),
            Self::MakeSymlink { node, over, .. } => core::iter::once(*node).chain(*over).collect(),
            Self::Inherit { heir, from, .. } => [*heir, *from].into(),
            Self::Harden => Vec::new(),
        }
    }

    /// Returns the names that it is about: what is seen under them meanwhile says nothing.
    pub(crate) fn spots(&self) -> Vec<Spot> {
        match self {
            Self::MakeDirectory(_, spot) | Self::MakeSymlink { spot, .. } | Self::Link(_, spot) => {
                [spot.clone()].into()
            }
            Self::Move { from, to, .. } => from.iter().chain(to).cloned().collect(),
            Self::Inherit { spot, to, .. } => [spot.clone(), to.clone()].into(),
            Self::Remove(_, spot) => spot.iter().cloned().collect(),
            Self::Prepare(_) | Self::Put(_) | Self::Dress(..) | Self::Seek(_) | Self::Harden => {
                Vec::new()
            }
        }
    }
}

/// What was done and is not on record.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    /// Nodes whose files are to be recorded as they are known by then.
    pub nodes: BTreeSet<NodeId>,
    /// Names, likewise.
    pub spots: BTreeSet<Spot>,
    /// Nodes of which it is to be recorded whether they lie out of the way.
    pub parked: BTreeSet<NodeId>,
    /// Intents that were carried out, or given up.
    pub intents: BTreeSet<NodeId>,
}

impl Unrecorded {
    /// Returns whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.spots.is_empty()
            && self.parked.is_empty()
            && self.intents.is_empty()
    }
}

/// The placing.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    /// Nodes to be looked after.
    queue: BTreeSet<NodeId>,
    /// Nodes of which registers are not stored yet: nothing is done about them until those are,
    /// or a power loss would make edits of the folder's owner of what peers have done.
    fresh: BTreeMap<NodeId, Arrival>,
    by_arrival: BTreeSet<(Arrival, NodeId)>,
    /// Nodes that wait for another one.
    waiters: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Nodes about which something is under way.
    busy: BTreeSet<NodeId>,
    /// Names about which something is under way, for which node, and whether they were hinted at
    /// meanwhile.
    spots: BTreeMap<Spot, (NodeId, bool)>,
    /// Nodes whose objects are all here, to be made ready.
    pub ready: BTreeMap<NodeId, ObjectId>,
    /// Whether objects are being made ready.
    pub preparing: bool,
    /// What is about to be put under a name, by node.
    pub intents: BTreeMap<NodeId, Intent>,
    /// Those of them that an earlier run may have carried out.
    pub resumed: BTreeSet<NodeId>,
    /// Nodes whose objects are being fetched.
    pub fetching: BTreeSet<NodeId>,
    /// Nodes whose objects are to be fetched when there is room.
    pub unfetched: BTreeSet<NodeId>,
    /// Nodes whose objects nobody has that can be reached.
    pub stuck: BTreeSet<NodeId>,
    /// Deeds under way.
    pub deeds: usize,
    /// What was done since the last time that it was made to survive power loss.
    pub done: Unrecorded,
    /// What is being made to survive power loss.
    pub hardening: Option<Unrecorded>,
    harden_at: Option<Time>,
    /// Nodes that the disk refused to have placed.
    pub refused: Refused<NodeId>,
    /// Those of them whose time has not come.
    resting: BTreeSet<NodeId>,
    /// What could not be set of a node.
    pub unset: BTreeMap<NodeId, Dress>,
    /// Whether everything was looked at since the start.
    pub begun: bool,
}

impl Placing {
    /// Has a node looked after, and whatever waits for it.
    pub(crate) fn queue(&mut self, node: NodeId) {
        if let Some(waiters) = self.waiters.remove(&node) {
            self.queue.extend(waiters);
        }
        self.queue.insert(node);
    }

    /// Has a node looked after once everything up to an arrival is stored.
    pub(crate) fn queue_fresh(&mut self, node: NodeId, arrival: Arrival) {
        if let Some(old) = self.fresh.insert(node, arrival) {
            self.by_arrival.remove(&(old, node));
        }
        self.by_arrival.insert((arrival, node));
    }

    /// Returns whether a node waits for its registers to be stored.
    pub(crate) fn is_fresh(&self, node: NodeId) -> bool {
        self.fresh.contains_key(&node)
    }

    /// Queues what waited for registers up to an arrival.
    pub(crate) fn stored(&mut self, upto: Arrival) {
        while let Some(&(arrival, node)) = self.by_arrival.first()
            && arrival <= upto
        {
            self.by_arrival.pop_first();
            self.fresh.remove(&node);
            self.queue(node);
        }
    }

    /// Takes the next node that nothing is under way about and that does not rest.
    pub(crate) fn next(&mut self) -> Option<NodeId> {
        while let Some(node) = self.queue.pop_first() {
            let waits = self.busy.contains(&node) || self.fresh.contains_key(&node);
            if !waits && !self.resting.contains(&node) {
                return Some(node);
            }
        }
        None
    }

    /// Has a node looked after, without waking what waits for it.
    pub(crate) fn queue_alone(&mut self, node: NodeId) {
        self.queue.insert(node);
    }

    /// Returns whether a node waits for another one.
    pub(crate) fn waits(&self, node: NodeId, other: NodeId) -> bool {
        let waiters = self.waiters.get(&other);
        waiters.is_some_and(|waiters| waiters.contains(&node))
    }

    /// Has the next hardening wait, after one that failed.
    pub(crate) fn retry_harden(&mut self, now: Time) {
        self.harden_at = Some(now + HARDEN_RETRY);
    }

    /// Returns when the next hardening may begin, if that is not at once.
    pub(crate) fn harden_at(&self) -> Option<Time> {
        self.harden_at
    }

    /// Returns whether hardening may begin.
    pub(crate) fn may_harden(&mut self, now: Time) -> bool {
        if self.harden_at.is_some_and(|at| at > now) {
            return false;
        }
        self.harden_at = None;
        true
    }

    /// Has a node wait for another one.
    pub(crate) fn wait(&mut self, node: NodeId, other: NodeId) {
        self.waiters.entry(other).or_default().insert(node);
    }

    /// Returns whether something is under way about a node.
    pub(crate) fn is_busy(&self, node: NodeId) -> bool {
        self.busy.contains(&node)
    }

    /// Returns whether a node rests after the disk refused it.
    pub(crate) fn rests(&self, node: NodeId) -> bool {
        self.resting.contains(&node)
    }

    /// Notes that something is under way about nodes and names.
    pub(crate) fn begin(&mut self, nodes: &[NodeId], spots: &[Spot]) {
        self.busy.extend(nodes);
        for (spot, node) in spots.iter().zip(nodes.iter().cycle()) {
            self.spots.insert(spot.clone(), (*node, false));
        }
    }

    /// Notes that it has ended; returns the names that were hinted at meanwhile.
    pub(crate) fn end(&mut self, nodes: &[NodeId], spots: &[Spot]) -> Vec<Spot> {
        let mut hinted = Vec::new();
        for spot in spots {
            if let Some((_, true)) = self.spots.remove(spot) {
                hinted.push(spot.clone());
            }
        }
        for node in nodes {
            self.busy.remove(node);
            self.queue(*node);
        }
        hinted
    }

    /// Returns for which node something is under way about a name.
    pub(crate) fn owner(&self, spot: &Spot) -> Option<NodeId> {
        self.spots.get(spot).map(|(node, _)| *node)
    }

    /// Returns the names about which something is under way for a node.
    pub(crate) fn owned(&self, node: NodeId) -> Vec<Spot> {
        let owned = self.spots.iter().filter(|(_, (owner, _))| *owner == node);
        owned.map(|(spot, _)| spot.clone()).collect()
    }

    /// Takes in that something was seen, or not, under a name; true if that says nothing, since
    /// something is under way about it: it is looked at again after.
    pub(crate) fn defers(&mut self, spot: &Spot) -> bool {
        match self.spots.get_mut(spot) {
            Some((_, hinted)) => {
                *hinted = true;
                true
            }
            None => false,
        }
    }

    /// Has a node rest after the disk refused it; true if that is news.
    pub(crate) fn rest(&mut self, node: NodeId, now: Time, jitter: u8) -> bool {
        if !self.resting.insert(node) {
            return false;
        }
        self.refused.refused(node, now, jitter)
    }

    /// Wakes the nodes whose time has come.
    pub(crate) fn wake(&mut self, now: Time) {
        while let Some(node) = self.refused.next(now) {
            self.resting.remove(&node);
            self.queue(node);
        }
    }
}
