//! What is known of the plain files of a shared folder, and what has to be looked at.
//!
//! Law: each plain file remembers the version that it holds and the fingerprint at which it was
//! seen to. A watcher's event is only a hint to compare; a name is missing only when a look of
//! its own, after all other looks, has found nothing.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::Placed;
use crate::event::{Fingerprint, Sighting};
use crate::ids::{AskId, ChunkHash, ChunkIx, JobId, NodeId};
use crate::time::Time;
use crate::tree::name::Name;

/// Which file on its file system: inode number and birth time.
pub(crate) type FileKey = (u64, i64);

/// Returns which file a fingerprint is of.
pub(crate) fn file_key(print: &Fingerprint) -> FileKey {
    (print.ino, print.born_ns)
}

/// A name that is to be looked at.
#[derive(Debug)]
pub(crate) struct Look {
    /// When it is ripe; `None` while it is under way.
    pub due: Option<Time>,
    /// When the first hint came that has not been looked after.
    pub first: Time,
    /// Whether another hint came while it was under way, and when that is ripe.
    pub again: Option<Time>,
}

/// A file whose change time alone has moved: its chunks on record are hashed again.
#[derive(Debug)]
pub(crate) struct Recheck {
    /// What was seen.
    pub sighting: Sighting,
    /// The wall clock then.
    pub day: u32,
    /// The chunks that remain.
    pub left: Vec<(ChunkIx, ChunkHash)>,
    /// Peers' asks that wait for the result.
    pub asks: Vec<(AskId, crate::ids::LinkId, ChunkIx)>,
}

/// The shared folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    placed: BTreeMap<NodeId, Placed>,
    by_file: BTreeMap<FileKey, NodeId>,
    /// Directories that wait to be listed.
    pub to_list: VecDeque<NodeId>,
    queued: BTreeSet<NodeId>,
    /// Listings under way, and whether a hint below the directory came since.
    pub listing: BTreeMap<JobId, (NodeId, bool)>,
    /// Names that are to be looked at, by directory.
    pub looks: BTreeMap<(NodeId, Name), Look>,
    /// Names that were not found, and since when.
    pub missing: BTreeMap<(NodeId, Name), Time>,
    /// Files that are being hashed again.
    pub rechecks: BTreeMap<NodeId, Recheck>,
    /// Whether the scan at the start has been finished.
    pub scanned: bool,
}

impl Folder {
    /// Returns the version and fingerprint of a node's file.
    pub(crate) fn placed(&self, node: NodeId) -> Option<&Placed> {
        self.placed.get(&node)
    }

    /// Remembers a node's file.
    pub(crate) fn place(&mut self, node: NodeId, placed: Placed) {
        self.displace(node);
        self.by_file.insert(file_key(&placed.print), node);
        self.placed.insert(node, placed);
    }

    /// Forgets a node's file.
    pub(crate) fn displace(&mut self, node: NodeId) {
        if let Some(old) = self.placed.remove(&node) {
            let key = file_key(&old.print);
            if self.by_file.get(&key) == Some(&node) {
                self.by_file.remove(&key);
            }
        }
    }

    /// Returns the node whose file this is.
    pub(crate) fn node_of(&self, key: FileKey) -> Option<NodeId> {
        self.by_file.get(&key).copied()
    }

    /// Queues a directory to be listed.
    pub(crate) fn list(&mut self, dir: NodeId) {
        if self.queued.insert(dir) {
            self.to_list.push_back(dir);
        }
    }

    /// Takes the next directory to be listed.
    pub(crate) fn next_list(&mut self) -> Option<NodeId> {
        let dir = self.to_list.pop_front()?;
        self.queued.remove(&dir);
        Some(dir)
    }

    /// Notes that something may have changed in a directory, for listings under way.
    pub(crate) fn hinted(&mut self, dir: NodeId) {
        for (listed, hinted) in self.listing.values_mut() {
            *hinted |= *listed == dir;
        }
    }

    /// Returns whether nothing is to be listed or looked at now.
    pub(crate) fn is_idle(&self) -> bool {
        self.to_list.is_empty() && self.listing.is_empty()
    }
}
