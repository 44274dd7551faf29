//! What is known of the plain files of a shared folder, and what has to be looked at.
//!
//! Law: each plain file remembers the version that it holds and the fingerprint at which it was
//! seen to. A watcher's event is only a hint to compare; a name is missing only when a look of
//! its own, after all other looks, has found nothing.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::Placed;
use crate::event::{Fingerprint, Sighting};
use crate::fetch::backoff::Backoff;
use crate::ids::{AskId, ChunkHash, ChunkIx, Dot, JobId, NodeId};
use crate::limits::{GROWING_MAX, LOOKS_IN_FLIGHT_MAX, QUIET};
use crate::placing::Placing;
use crate::standing::Standing;
use crate::time::{Duration, Time, WallTime};
use crate::tree::name::Name;
use crate::tree::register::Xattrs;

/// The attributes that the disk shows of a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Worn {
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl From<&Sighting> for Worn {
    fn from(sighting: &Sighting) -> Self {
        Self {
            mode: sighting.mode,
            uid: sighting.uid,
            gid: sighting.gid,
            xattrs: sighting.xattrs.clone(),
        }
    }
}

/// Which file on its file system: inode number and birth time.
pub(crate) type FileKey = (u64, i64);

/// Returns which file a fingerprint is of.
pub(crate) fn file_key(print: &Fingerprint) -> FileKey {
    (print.ino, print.born_ns)
}

/// A name of a directory.
pub(crate) type Spot = (NodeId, Name);

/// A name that is to be looked at.
#[derive(Debug)]
pub(crate) struct Look {
    /// When it is ripe; `None` while it is under way.
    due: Option<Time>,
    /// When the first hint came that has not been looked after.
    first: Time,
    /// Whether another hint came while it was under way, and when that is ripe.
    again: Option<Time>,
}

/// What the disk has refused to show, and when to ask again.
#[derive(Debug)]
pub(crate) struct Refused<K> {
    due: BTreeSet<(Time, K)>,
    backoff: BTreeMap<K, Backoff>,
}

impl<K> Default for Refused<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            backoff: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Refused<K> {
    /// Notes a refusal; true if it is the first since it was last shown.
    pub(crate) fn refused(&mut self, key: K, now: Time, jitter: u8) -> bool {
        let is_first = !self.backoff.contains_key(&key);
        let fresh = || Backoff::new(REFUSED_BASE, REFUSED_CAP, None);
        let backoff = self.backoff.entry(key.clone()).or_insert_with(fresh);
        let delay = backoff.next_delay(jitter).unwrap_or(REFUSED_CAP);
        self.due.insert((now + delay, key));
        is_first
    }

    /// Notes that it was shown.
    pub(crate) fn shown(&mut self, key: &K) {
        self.backoff.remove(key);
    }

    /// Takes out what is to be asked for again.
    pub(crate) fn next(&mut self, now: Time) -> Option<K> {
        if self.due.first()?.0 > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// Returns when the next is due.
    pub(crate) fn when(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// Files of which it is remembered that they have names that are not known: those that programs
/// link and write at this moment; by eye.
const LINKED_MAX: usize = 16;

/// Files of which it is remembered who they were, after their last name was found to be gone: one
/// that was moved may turn up long after that; by eye.
const DEPARTED_MAX: usize = 4_096;

/// The first delay before a directory or name that can't be read is tried again.
const REFUSED_BASE: Duration = Duration::from_secs(1);

/// The longest: somebody has to mend its permissions or its disk first; by eye.
const REFUSED_CAP: Duration = Duration::from_secs(60);

/// A file whose change time alone has moved: its chunks on record are hashed again.
#[derive(Debug)]
pub(crate) struct Recheck {
    /// Which recheck of its file it is: a read that was begun for an earlier one says nothing.
    pub round: u64,
    /// What was seen.
    pub sighting: Sighting,
    /// The wall clock then.
    pub wall: WallTime,
    /// The chunks that remain.
    pub left: Vec<(ChunkIx, ChunkHash)>,
    /// Peers' asks that wait for the result.
    pub asks: Vec<AskId>,
}

/// The shared folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// What is being done to it.
    pub placing: Placing,
    /// Which node stands under which name.
    pub standing: Standing,
    placed: BTreeMap<NodeId, Placed>,
    worn: BTreeMap<NodeId, Worn>,
    /// Of files that peers made: the version that stands, and the one on which that was made.
    pub lineage: BTreeMap<NodeId, (Dot, Dot)>,
    by_file: BTreeMap<FileKey, NodeId>,
    /// Directories that wait to be listed.
    pub to_list: VecDeque<NodeId>,
    queued: BTreeSet<NodeId>,
    /// Listings under way, and whether a hint below the directory came since.
    pub listing: BTreeMap<JobId, (NodeId, bool)>,
    looks: BTreeMap<Spot, Look>,
    ripening: BTreeSet<(Time, Spot)>,
    looking: usize,
    /// Names of which a look is under way that says nothing: what stands there was changed by us
    /// meanwhile.
    outdated: BTreeSet<Spot>,
    /// Names that were not found, and whether they are being looked at once more.
    pub missing: BTreeMap<Spot, bool>,
    /// Directories that could not be listed.
    pub unlisted: Refused<NodeId>,
    /// Names that could not be looked at.
    pub unseen: Refused<Spot>,
    /// Files that are being hashed again.
    pub rechecks: BTreeMap<NodeId, Recheck>,
    /// The files seen last that have more names than are known, the latest at the end.
    linked: VecDeque<NodeId>,
    /// Files whose last names are gone, by what they are.
    departed: BTreeMap<FileKey, (NodeId, Placed)>,
    /// The order in which they went.
    departures: VecDeque<FileKey>,
    /// Whether the scan at the start has been finished.
    pub scanned: bool,
    /// Whether there was a kill before, until then: what was done may not be on record.
    pub recovers: bool,
    /// Meanwhile the directories that are known to stand nowhere, by the name that each had before it
    /// was renamed: it may have been made under that.
    pub renamed: BTreeMap<Spot, NodeId>,
}

impl Folder {
    /// Returns the version and fingerprint of a node's file.
    pub(crate) fn placed(&self, node: NodeId) -> Option<&Placed> {
        self.placed.get(&node)
    }

    /// Returns every node whose file is known.
    pub(crate) fn all_placed(&self) -> impl Iterator<Item = NodeId> {
        self.placed.keys().copied()
    }

    /// Remembers a node's file.
    pub(crate) fn place(&mut self, node: NodeId, placed: Placed) {
        self.displace(node);
        self.by_file.insert(file_key(&placed.print), node);
        self.placed.insert(node, placed);
    }

    /// Returns the attributes that the disk shows of a node, where that is known.
    pub(crate) fn worn(&self, node: NodeId) -> Option<&Worn> {
        self.worn.get(&node)
    }

    /// Remembers the attributes that the disk shows of a node.
    pub(crate) fn wear(&mut self, node: NodeId, worn: Worn) {
        self.worn.insert(node, worn);
    }

    /// Forgets a node's file and attributes.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.displace(node);
        self.worn.remove(&node);
        self.lineage.remove(&node);
    }

    /// Forgets a node's file, whose last name is gone, but for who it was.
    pub(crate) fn depart(&mut self, node: NodeId) {
        if let Some(placed) = self.placed.get(&node).copied() {
            let key = file_key(&placed.print);
            if self.departed.insert(key, (node, placed)).is_none() {
                self.departures.push_back(key);
            }
            while self.departures.len() > DEPARTED_MAX {
                let first = self.departures.pop_front();
                first.and_then(|first| self.departed.remove(&first));
            }
        }
        self.forget(node);
    }

    /// Returns who a file was whose last name was gone, which version it held, and as what.
    pub(crate) fn returned(&mut self, key: FileKey) -> Option<(NodeId, Placed)> {
        let was = self.departed.remove(&key)?;
        self.departures.retain(|departed| *departed != key);
        Some(was)
    }

    fn displace(&mut self, node: NodeId) {
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

    /// Notes that a file has a name that is not known.
    pub(crate) fn has_more_names(&mut self, node: NodeId) {
        self.linked.retain(|linked| *linked != node);
        self.linked.push_back(node);
        if self.linked.len() > LINKED_MAX {
            self.linked.pop_front();
        }
    }

    /// Takes out the files that may have been written through a name that was never known.
    pub(crate) fn take_linked(&mut self) -> VecDeque<NodeId> {
        core::mem::take(&mut self.linked)
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

    /// Wants a name looked at: at once if whoever wrote it is done, else after a quiet time, and
    /// at the latest when it has been growing for long.
    pub(crate) fn look(&mut self, spot: Spot, now: Time, is_settled: bool) {
        let first = match self.looks.get(&spot) {
            Some(Look {
                due: Some(_),
                first,
                ..
            }) => *first,
            Some(Look { due: None, .. }) | None => now,
        };
        let ripe = if is_settled {
            now
        } else {
            (now + QUIET).min(first + GROWING_MAX)
        };
        match self.looks.get_mut(&spot) {
            Some(look) => match look.due {
                Some(old) => {
                    self.ripening.remove(&(old, spot.clone()));
                    look.due = Some(ripe);
                    self.ripening.insert((ripe, spot));
                }
                None => {
                    let sooner = look.again.map_or(ripe, |again| again.min(ripe));
                    look.again = Some(sooner);
                }
            },
            None => {
                let look = Look {
                    due: Some(ripe),
                    first,
                    again: None,
                };
                self.looks.insert(spot.clone(), look);
                self.ripening.insert((ripe, spot));
            }
        }
    }

    /// Takes out a name that is ripe for a look, if there is room for one.
    pub(crate) fn next_look(&mut self, now: Time) -> Option<Spot> {
        let (due, _) = self.ripening.first()?;
        if *due > now || self.looking >= LOOKS_IN_FLIGHT_MAX {
            return None;
        }
        let (_, spot) = self.ripening.pop_first()?;
        if let Some(look) = self.looks.get_mut(&spot) {
            look.due = None;
        }
        self.looking += 1;
        Some(spot)
    }

    /// Takes note that what stands under a name was changed by us: a look that is under way says
    /// nothing of it, nor does a listing.
    pub(crate) fn outdate(&mut self, spot: &Spot) {
        if self.looks.get(spot).is_some_and(|look| look.due.is_none()) {
            self.outdated.insert(spot.clone());
        }
        // What is listed was looked at one after the other, and may have been before.
        self.hinted(spot.0);
    }

    /// Returns whether the look that has just ended says nothing.
    pub(crate) fn was_outdated(&mut self, spot: &Spot) -> bool {
        self.outdated.remove(spot)
    }

    /// Takes in that a look has ended: it is forgotten, or due again.
    pub(crate) fn looked(&mut self, spot: &Spot) {
        self.looking = self.looking.saturating_sub(1);
        let Some(look) = self.looks.remove(spot) else {
            return;
        };
        if let Some(ripe) = look.again {
            let look = Look {
                due: Some(ripe),
                first: ripe,
                again: None,
            };
            self.looks.insert(spot.clone(), look);
            self.ripening.insert((ripe, spot.clone()));
        }
    }

    /// Returns when the next look is ripe.
    pub(crate) fn next_ripe(&self) -> Option<Time> {
        if self.looking >= LOOKS_IN_FLIGHT_MAX {
            return None;
        }
        self.ripening.first().map(|(due, _)| *due)
    }

    /// Returns whether every directory is listed, and nothing is looked at or ripe for it at
    /// `now`.
    pub(crate) fn is_idle(&self, now: Time) -> bool {
        self.to_list.is_empty()
            && self.listing.is_empty()
            && self.looking == 0
            && self.ripening.first().is_none_or(|(due, _)| *due > now)
    }

    /// Returns how many names and directories may have changed, and were not looked at since.
    pub(crate) fn to_be_seen(&self) -> usize {
        self.to_list.len() + self.listing.len() + self.looks.len() + self.missing.len()
    }

    /// Returns whether directories are yet to be listed.
    pub(crate) fn is_listing(&self) -> bool {
        !self.to_list.is_empty() || !self.listing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Fingerprint;
    use crate::ids::{ActorId, Dot};
    use crate::time::WallTime;

    /// A file that two nodes were placed on, one after the other, is the later one's, whatever
    /// becomes of the earlier.
    #[test]
    fn a_file_is_the_node_s_that_was_placed_on_it_last() {
        let dot = |counter| {
            let actor = ActorId(1);
            Dot { actor, counter }
        };
        let time = WallTime { secs: 1, nanos: 0 };
        let print = Fingerprint {
            ino: 5,
            born_ns: 6,
            size: 7,
            mtime: time,
            ctime: time,
        };
        let version = dot(9);
        let (first, second) = (NodeId(dot(1)), NodeId(dot(2)));
        let mut folder = Folder::default();
        let key = file_key(&print);
        folder.place(first, Placed { version, print });
        assert_eq!(folder.node_of(key), Some(first));
        folder.place(second, Placed { version, print });
        folder.displace(first);
        assert_eq!(folder.node_of(key), Some(second));
        folder.displace(second);
        assert_eq!(folder.node_of(key), None);
    }
}
