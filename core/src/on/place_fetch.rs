//! What is to be put down is fetched first, a few files at a time.

use crate::engine::Engine;
use crate::ids::{NodeId, ObjectId};
use crate::placing::FETCHING_MAX;
use crate::tree::conflict;
use crate::tree::register::Body;

impl Engine {
    /// Has the object of a node's version fetched.
    pub(crate) fn fetch_for(&mut self, node: NodeId) {
        let placing = &mut self.folder.placing;
        if placing.fetching.contains(&node) || placing.stuck.contains(&node) {
            return;
        }
        if placing.fetching.len() >= FETCHING_MAX {
            placing.unfetched.insert(node);
            return;
        }
        placing.unfetched.remove(&node);
        placing.fetching.insert(node);
        let view = self.tree.node(node);
        let body = view.and_then(|view| Some((view.object?, view.body?.clone())));
        if let Some((object, Body::File { size, chunk_size })) = body
            && self.keep_object(object, size, chunk_size)
        {
            self.demand_whole(object);
        }
    }

    pub(crate) fn fetch_more(&mut self) {
        while self.folder.placing.fetching.len() < FETCHING_MAX {
            let Some(node) = self.folder.placing.unfetched.pop_first() else {
                return;
            };
            self.settle(node);
        }
    }

    /// Returns the nodes that an object's version stands for.
    fn nodes_of(object: ObjectId) -> [NodeId; 2] {
        [object.node, conflict::copy_of(object.version)]
    }

    /// An object is all here: it goes to its place.
    pub(crate) fn object_whole(&mut self, object: ObjectId) {
        for node in Self::nodes_of(object) {
            self.folder.placing.fetching.remove(&node);
            self.settle_later(node);
        }
    }

    /// An object can't be had for now.
    pub(crate) fn object_stuck(&mut self, object: ObjectId) {
        for node in Self::nodes_of(object) {
            if self.folder.placing.fetching.remove(&node) {
                self.folder.placing.stuck.insert(node);
                // Its name may be had without it.
                self.settle_later(node);
            }
        }
    }

    /// More of an object has come, for which nobody asked any more: the rest is asked for again.
    pub(crate) fn object_moves(&mut self, object: ObjectId) {
        for node in Self::nodes_of(object) {
            if self.folder.placing.stuck.remove(&node) {
                self.settle_later(node);
            }
        }
    }

    /// The disk has refused an object that is to be placed: it is set about again when its time
    /// comes. False if it is none.
    pub(crate) fn placing_refused(&mut self, object: ObjectId) -> bool {
        let mut is_any = false;
        for node in Self::nodes_of(object) {
            if self.folder.placing.fetching.remove(&node) {
                is_any = true;
                let (now, jitter) = (self.now, self.rng.next_u8());
                self.folder.placing.rest(node, now, jitter);
            }
        }
        if is_any && let Some(kept) = self.objects.get_mut(&object) {
            kept.whole = false;
        }
        is_any
    }

    /// A peer was given a chunk of a version of a file: what it made on top of that, and lacked a part
    /// of, can be asked for again.
    pub(crate) fn author_moves(&mut self, node: NodeId) {
        let is_of = |stuck: &NodeId| {
            let object = self.tree.node(*stuck).and_then(|view| view.object);
            object.is_some_and(|object| object.node == node)
        };
        let stuck = self.folder.placing.stuck.iter().copied();
        let moving: alloc::vec::Vec<NodeId> = stuck.filter(is_of).collect();
        for stuck in moving {
            self.folder.placing.stuck.remove(&stuck);
            self.settle_later(stuck);
        }
    }

    /// Somebody has come who may have what nobody had.
    pub(crate) fn unstick(&mut self) {
        let stuck = core::mem::take(&mut self.folder.placing.stuck);
        for node in stuck {
            self.settle_later(node);
        }
    }
}
