//! What a change can be seen by: how nodes looked before it, and how they look after it.
//!
//! Law: what is told, replayed, gives the listing; the count of visible nodes and of their bytes
//! is that of what is told.

use alloc::vec::Vec;
use core::mem;

use crate::ids::ObjectId;
use crate::time::WallTime;
use crate::tree::facts;
use crate::tree::register::{Kind, Stamp};
use crate::tree::store::Ix;
use crate::tree::view::{Change, Tree};

/// What of a node a change can be seen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Face {
    pub(super) visible: bool,
    object: Option<ObjectId>,
    /// Bytes of a file; 0 of anything else.
    pub(super) bytes: u64,
    nlink: u32,
    attrs: Option<Stamp>,
    mtime: Option<WallTime>,
}

impl Tree {
    /// Remembers what a node looked like before anything changed.
    pub(super) fn note(&mut self, ix: Ix) {
        if self.work.told && !self.work.faces.contains_key(&ix) {
            let face = self.face(ix);
            self.work.faces.insert(ix, face);
        }
    }

    pub(super) fn face(&self, ix: Ix) -> Face {
        let id = self.id(ix);
        let Some(view) = self.node(id) else {
            return Face::default();
        };
        Face {
            visible: true,
            object: view.object,
            bytes: match view.kind {
                Kind::File => view.size,
                Kind::Directory | Kind::Symlink => 0,
            },
            nlink: view.nlink,
            attrs: facts::attrs(&self.registers, ix).map(|attrs| attrs.stamp),
            mtime: view.mtime,
        }
    }

    /// Tells what changed since the work began.
    pub(super) fn tell(&mut self, changes: &mut Vec<Change>) {
        let work = mem::take(&mut self.work);
        let mut appeared = Vec::new();
        for ((dir, name), was) in work.was {
            let listing = self.seats[dir.0].dir.as_ref();
            let now = listing.and_then(|dir| dir.occupant(name.as_bytes()));
            if was == now {
                continue;
            }
            let dir = self.id(dir);
            if let Some(node) = now {
                appeared.push(Change::Appeared {
                    dir,
                    name: name.clone(),
                    node: self.id(node),
                });
            }
            if let Some(node) = was {
                let node = self.id(node);
                changes.push(Change::Vanished { dir, name, node });
            }
        }
        changes.append(&mut appeared);
        for (ix, was) in work.faces {
            let now = self.face(ix);
            if ix != Ix::ROOT {
                self.count = self.count - u64::from(was.visible) + u64::from(now.visible);
                self.bytes = self.bytes - was.bytes + now.bytes;
            }
            let node = self.id(ix);
            if was.object != now.object {
                changes.push(Change::Content {
                    node,
                    from: was.object.map(|object| object.version),
                    to: now.object.map(|object| object.version),
                });
            }
            let looks = |face: Face| (face.attrs, face.nlink, face.mtime);
            if was.visible && now.visible && looks(was) != looks(now) {
                changes.push(Change::Attributes { node });
            }
        }
    }
}
