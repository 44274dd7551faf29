//! What stands on the disk of a shared folder: which node under which name.
//!
//! Law: this is what was seen or put there, and not what the tree wants: while a peer's change is
//! being placed the two differ. Whatever the disk shows is compared with what stands, so that a
//! peer's rename that is yet to be carried out is not taken for a delete.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::folder::Spot;
use crate::ids::NodeId;
use crate::tree::name::Name;

/// The names that stand on the disk.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    names: BTreeMap<NodeId, BTreeMap<Name, NodeId>>,
    spots: BTreeMap<NodeId, BTreeSet<Spot>>,
    /// What was taken out of the way, or is about to be.
    parked: BTreeSet<NodeId>,
}

impl Standing {
    /// Returns the node that stands under a name.
    pub(crate) fn lookup(&self, dir: NodeId, name: &Name) -> Option<NodeId> {
        self.names.get(&dir)?.get(name).copied()
    }

    /// Lists what stands in a directory, in the order of names.
    pub(crate) fn list(&self, dir: NodeId) -> impl Iterator<Item = (&Name, NodeId)> {
        let names = self.names.get(&dir).into_iter();
        names.flat_map(|names| names.iter().map(|(name, node)| (name, *node)))
    }

    /// Returns whether anything stands in a directory.
    pub(crate) fn holds_any(&self, dir: NodeId) -> bool {
        self.names.contains_key(&dir)
    }

    /// Returns the names under which a node stands.
    pub(crate) fn spots(&self, node: NodeId) -> impl Iterator<Item = &Spot> {
        self.spots.get(&node).into_iter().flatten()
    }

    /// Returns under how many names a node stands.
    pub(crate) fn count(&self, node: NodeId) -> usize {
        self.spots.get(&node).map_or(0, BTreeSet::len)
    }

    /// Returns whether a node stands anywhere; the root always does.
    pub(crate) fn stands(&self, node: NodeId) -> bool {
        node == NodeId::ROOT || self.spots.contains_key(&node)
    }

    /// Returns whether a node lies out of the way, or is about to.
    pub(crate) fn is_parked(&self, node: NodeId) -> bool {
        self.parked.contains(&node)
    }

    /// Returns what lies out of the way.
    pub(crate) fn parked(&self) -> impl Iterator<Item = NodeId> {
        self.parked.iter().copied()
    }

    /// Notes that a node lies out of the way.
    pub(crate) fn park(&mut self, node: NodeId) {
        self.parked.insert(node);
    }

    /// Notes that a node does not lie out of the way.
    pub(crate) fn unpark(&mut self, node: NodeId) {
        self.parked.remove(&node);
    }

    /// Returns every node that stands somewhere, the root apart.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.spots.keys().copied()
    }

    /// Notes that a node stands under a name; returns the one that stood there.
    pub(crate) fn stand(&mut self, dir: NodeId, name: &Name, node: NodeId) -> Option<NodeId> {
        let old = self.leave(dir, name);
        self.names
            .entry(dir)
            .or_default()
            .insert(name.clone(), node);
        let spots = self.spots.entry(node).or_default();
        spots.insert((dir, name.clone()));
        old
    }

    /// Notes that nothing stands under a name; returns what stood there.
    pub(crate) fn leave(&mut self, dir: NodeId, name: &Name) -> Option<NodeId> {
        let names = self.names.get_mut(&dir)?;
        let node = names.remove(name)?;
        if names.is_empty() {
            self.names.remove(&dir);
        }
        if let Some(spots) = self.spots.get_mut(&node) {
            spots.remove(&(dir, name.clone()));
            if spots.is_empty() {
                self.spots.remove(&node);
            }
        }
        Some(node)
    }

    /// Returns the names that lead from the root to where a node stands, by the first of its
    /// names; `None` if it stands nowhere, or for the moment below itself.
    pub(crate) fn path(&self, node: NodeId) -> Option<Vec<Name>> {
        let mut path = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            if path.len() > self.spots.len() {
                return None;
            }
            let (dir, name) = self.spots.get(&at)?.first()?;
            path.push(name.clone());
            at = *dir;
        }
        path.reverse();
        Some(path)
    }

    /// Returns whether a directory stands at or below another.
    pub(crate) fn is_below(&self, dir: NodeId, top: NodeId) -> bool {
        self.ancestors(dir).any(|at| at == top)
    }

    /// Returns a directory and those in which it stands, upwards; it ends, though a damaged
    /// store should have it stand below itself.
    pub(crate) fn ancestors(&self, dir: NodeId) -> impl Iterator<Item = NodeId> {
        let up = |at: &NodeId| Some(self.spots.get(at)?.first()?.0);
        core::iter::successors(Some(dir), up).take(self.spots.len() + 1)
    }

    /// Returns the node to which a path leads from the root.
    pub(crate) fn resolve(&self, path: &[Name]) -> Option<NodeId> {
        path.iter()
            .try_fold(NodeId::ROOT, |dir, name| self.lookup(dir, name))
    }

    /// Returns how many names stand in a directory and all below it, and itself.
    pub(crate) fn weigh(&self, node: NodeId) -> usize {
        let mut count = 0;
        let mut left = alloc::vec![node];
        while let Some(at) = left.pop() {
            count += 1;
            // Of a store that is damaged, a directory may stand below itself.
            if count > self.spots.len() {
                break;
            }
            left.extend(self.list(at).map(|(_, below)| below));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ActorId, Dot};

    fn node(counter: u64) -> NodeId {
        NodeId(Dot {
            actor: ActorId(1),
            counter,
        })
    }

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_follows_its_directories_wherever_they_stand() {
        let mut standing = Standing::default();
        standing.stand(NodeId::ROOT, &name("d"), node(1));
        standing.stand(node(1), &name("f"), node(2));
        assert_eq!(standing.path(node(2)), Some([name("d"), name("f")].into()));
        standing.leave(NodeId::ROOT, &name("d"));
        assert_eq!(standing.path(node(2)), None);
        standing.stand(NodeId::ROOT, &name("e"), node(1));
        assert_eq!(standing.path(node(2)), Some([name("e"), name("f")].into()));
        assert_eq!(standing.resolve(&[name("e"), name("f")]), Some(node(2)));
        assert_eq!(standing.weigh(node(1)), 2);
    }

    #[test]
    fn a_directory_that_stands_below_itself_has_no_path() {
        let mut standing = Standing::default();
        standing.stand(node(2), &name("a"), node(1));
        standing.stand(node(1), &name("b"), node(2));
        assert_eq!(standing.path(node(2)), None);
        assert!(standing.weigh(node(1)) > 0);
    }
}
