//! Changes that the host's engine makes to the shared folder.
//!
//! Law: each is a compare-and-swap, all of it or nothing, as the real disk's are; programs go on
//! before and after it. What it does survives power loss at once: that is the harder case, since
//! the records of it may not.

use std::collections::BTreeMap;

use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Sighting};
use tandem_core::ids::{NodeId, ObjectId};
use tandem_core::place_wish::{Dress, FileKey, PlaceWish, Ready, Whereabouts};
use tandem_core::time::WallTime;
use tandem_core::tree::name::Name;

use crate::disk::folder::{Folder, Id, Node, ROOT};

/// What lies beside the folder.
#[derive(Debug, Default)]
pub struct Beside {
    /// Objects that were made ready.
    pub ready: BTreeMap<ObjectId, Id>,
    /// What was taken out of the way.
    pub parked: BTreeMap<NodeId, Id>,
    /// What was replaced or deleted.
    pub trash: Vec<Id>,
}

/// Where something lies.
enum Slot {
    Name(Id, Name),
    Parked(NodeId),
    Root,
}

impl Folder {
    /// Makes an object ready, of which these are the bytes.
    pub fn prepare(&mut self, ready: &Ready, bytes: Vec<u8>) -> Sighting {
        let id = match self.beside.ready.get(&ready.object) {
            Some(id) => *id,
            None => self.make(Node::File(bytes.into()), 0o600),
        };
        self.beside.ready.insert(ready.object, id);
        self.dress(id, &ready.dress);
        self.sighting(id)
    }

    /// Forgets an object that was made ready.
    pub fn discard(&mut self, object: ObjectId) {
        self.beside.ready.remove(&object);
    }

    /// Carries out a wish; the side does the one that needs objects.
    pub fn place_wish(&mut self, wish: &PlaceWish, wall: WallTime) -> Result<DiskDone, DiskError> {
        match wish {
            PlaceWish::Prepare { .. } => Err(DiskError::WrongKind),
            PlaceWish::Put {
                object,
                key,
                to,
                over,
            } => {
                let to = self.slot(to)?;
                if let Some(there) = self.there(&to)
                    && self.key(there) == *key
                {
                    return Ok(self.looked(Some(there), wall));
                }
                let ready = self.beside.ready.get(object).copied();
                let id = ready.ok_or(DiskError::NotFound)?;
                if self.key(id) != *key {
                    return Err(DiskError::NotFound);
                }
                self.clear(&to, over.as_ref())?;
                self.beside.ready.remove(object);
                self.history.put(object.node, id);
                self.settle(&to, id);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::MakeDirectory { at, dress } => {
                let at = self.slot(at)?;
                self.clear(&at, None)?;
                let id = self.make(Node::Dir(BTreeMap::new()), 0o700);
                self.settle(&at, id);
                self.dress(id, dress);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::MakeSymlink {
                at,
                target,
                mtime,
                over,
            } => {
                let at = self.slot(at)?;
                self.clear(&at, over.as_ref())?;
                let id = self.make(Node::Link(target.clone()), 0o777);
                let nanos = nanos(*mtime);
                self.touch(id, |inode, _| inode.mtime = nanos);
                self.settle(&at, id);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::Link {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.slot(from)?, self.slot(to)?);
                let id = self.expect(&from, *key)?;
                self.expect_seen(id, expect.as_ref())?;
                self.clear(&to, None)?;
                self.touch(id, |inode, _| inode.nlink += 1);
                self.settle(&to, id);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::Move {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.slot(from)?, self.slot(to)?);
                let id = self.expect(&from, *key)?;
                self.expect_seen(id, expect.as_ref())?;
                self.clear(&to, None)?;
                if let Slot::Name(dir, _) = &to
                    && self.is_within(*dir, id)
                {
                    return Err(DiskError::Io);
                }
                self.lift(&from);
                self.touch(id, |_, _| {});
                self.settle(&to, id);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::Trash { at, expect } => {
                let at = self.slot(at)?;
                let there = self.there(&at).ok_or(DiskError::NotFound)?;
                let has_more = self.inode(there).nlink > 1;
                self.throw(&at, there, expect)?;
                Ok(self.looked(has_more.then_some(there), wall))
            }
            PlaceWish::RemoveDirectory { at, key } => {
                let at = self.slot(at)?;
                let id = self.expect(&at, *key)?;
                match &self.inode(id).node {
                    Node::Dir(names) if names.is_empty() => {}
                    Node::Dir(_) => return Err(DiskError::NotEmpty),
                    Node::File(_) | Node::Link(_) | Node::Fifo => {
                        return Err(DiskError::WrongKind);
                    }
                }
                self.lift(&at);
                self.drop_name(id);
                Ok(DiskDone::Done)
            }
            PlaceWish::Dress { at, expect, dress } => {
                let at = self.slot(at)?;
                let id = self.expect(&at, FileKey::from(expect))?;
                let is_directory = matches!(self.inode(id).node, Node::Dir(_));
                let print = self.print(id);
                // Who keeps a file's size and sets its time back changes that of its change.
                let is_untouched = same(&print, expect) && print.ctime == expect.ctime;
                if !is_directory && !is_untouched {
                    return Err(DiskError::Changed);
                }
                self.dress(id, dress);
                Ok(self.looked(Some(id), wall))
            }
            PlaceWish::Look { at } => {
                let at = self.slot(at)?;
                let found = self.there(&at);
                Ok(self.looked(found, wall))
            }
            PlaceWish::List { at } => {
                let at = self.slot(at)?;
                let dir = self.there(&at).ok_or(DiskError::NotFound)?;
                let Node::Dir(names) = &self.inode(dir).node else {
                    return Err(DiskError::WrongKind);
                };
                let items = names.iter();
                Ok(DiskDone::Listed {
                    this: self.print(dir),
                    items: items
                        .map(|(name, id)| (name.clone(), self.sighting(*id)))
                        .collect(),
                    complete: true,
                    wall,
                })
            }
            PlaceWish::Harden => Ok(DiskDone::Done),
        }
    }

    fn looked(&self, found: Option<Id>, wall: WallTime) -> DiskDone {
        let sighting = found.map(|id| self.sighting(id));
        DiskDone::Looked { sighting, wall }
    }

    /// Returns a file that lies in the trash.
    pub(crate) fn thrown(&self, key: FileKey) -> Option<Id> {
        let mut trash = self.beside.trash.iter().copied();
        trash.find(|id| self.key(*id) == key)
    }

    /// Removes a file from the trash for good.
    pub(crate) fn remove_thrown(&mut self, id: Id) {
        self.beside.trash.retain(|thrown| *thrown != id);
        self.drop_name(id);
    }

    fn key(&self, id: Id) -> FileKey {
        FileKey::from(&self.print(id))
    }

    /// Finds the directory of a place, if it is the one that was meant.
    fn slot(&self, at: &Whereabouts) -> Result<Slot, DiskError> {
        let (top, names) = match (at.parked, at.names.split_last()) {
            (None, None) => return Ok(Slot::Root),
            (Some(node), None) => return Ok(Slot::Parked(node)),
            (Some(node), Some(names)) => {
                let top = self.beside.parked.get(&node).copied();
                (top.ok_or(DiskError::NotFound)?, names)
            }
            (None, Some(names)) => (ROOT, names),
        };
        let (name, parents) = names;
        let mut dir = top;
        for parent in parents {
            match &self.inode(dir).node {
                Node::Dir(names) => dir = *names.get(parent).ok_or(DiskError::NotFound)?,
                Node::File(_) | Node::Link(_) | Node::Fifo => return Err(DiskError::WrongKind),
            }
        }
        if !matches!(self.inode(dir).node, Node::Dir(_)) {
            return Err(DiskError::WrongKind);
        }
        if at.parent.is_some_and(|key| key != self.key(dir)) {
            return Err(DiskError::Changed);
        }
        Ok(Slot::Name(dir, name.clone()))
    }

    fn there(&self, slot: &Slot) -> Option<Id> {
        match slot {
            Slot::Root => Some(ROOT),
            Slot::Parked(node) => self.beside.parked.get(node).copied(),
            Slot::Name(dir, name) => match &self.inode(*dir).node {
                Node::Dir(names) => names.get(name).copied(),
                Node::File(_) | Node::Link(_) | Node::Fifo => None,
            },
        }
    }

    fn expect(&self, slot: &Slot, key: FileKey) -> Result<Id, DiskError> {
        let id = self.there(slot).ok_or(DiskError::NotFound)?;
        if self.key(id) == key {
            Ok(id)
        } else {
            Err(DiskError::Changed)
        }
    }

    fn expect_seen(&self, id: Id, expect: Option<&Fingerprint>) -> Result<(), DiskError> {
        let print = self.print(id);
        let is_it = |expect: &Fingerprint| same(&print, expect) && print.ctime == expect.ctime;
        if expect.is_none_or(is_it) {
            Ok(())
        } else {
            Err(DiskError::Changed)
        }
    }

    fn is_within(&self, dir: Id, top: Id) -> bool {
        let mut left = vec![top];
        while let Some(at) = left.pop() {
            if at == dir {
                return true;
            }
            if let Node::Dir(names) = &self.inode(at).node {
                left.extend(names.values());
            }
        }
        false
    }

    /// Makes a place free: of nothing, or of what is expected there.
    fn clear(&mut self, slot: &Slot, over: Option<&Fingerprint>) -> Result<(), DiskError> {
        match (self.there(slot), over) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(DiskError::Exists),
            (None, Some(_)) => Err(DiskError::Changed),
            (Some(there), Some(over)) => self.throw(slot, there, over),
        }
    }

    fn throw(&mut self, slot: &Slot, there: Id, expect: &Fingerprint) -> Result<(), DiskError> {
        let print = self.print(there);
        if !same(&print, expect) || print.ctime != expect.ctime {
            return Err(DiskError::Changed);
        }
        self.lift(slot);
        if self.inode(there).nlink > 1 {
            self.drop_name(there);
        } else {
            self.beside.trash.push(there);
        }
        Ok(())
    }

    fn lift(&mut self, slot: &Slot) {
        match slot {
            Slot::Root => {}
            Slot::Parked(node) => {
                self.beside.parked.remove(node);
            }
            Slot::Name(dir, name) => self.touch(*dir, |inode, now| {
                if let Node::Dir(names) = &mut inode.node {
                    names.remove(name);
                    inode.mtime = now;
                }
            }),
        }
    }

    fn settle(&mut self, slot: &Slot, id: Id) {
        match slot {
            Slot::Root => {}
            Slot::Parked(node) => {
                self.beside.parked.insert(*node, id);
            }
            Slot::Name(dir, name) => self.enter(*dir, name.clone(), id),
        }
    }

    fn dress(&mut self, id: Id, dress: &Dress) {
        let mtime = dress.mtime.map(nanos);
        self.touch(id, |inode, _| {
            if !matches!(inode.node, Node::Link(_)) {
                inode.mode = dress.mode;
                inode.xattrs.clone_from(&dress.xattrs);
            }
            if let Some(mtime) = mtime {
                inode.mtime = mtime;
            }
        });
    }
}

/// Tells whether two fingerprints are of one file that was not written to in between.
fn same(a: &Fingerprint, b: &Fingerprint) -> bool {
    FileKey::from(a) == FileKey::from(b) && a.size == b.size && a.mtime == b.mtime
}

fn nanos(wall: WallTime) -> i64 {
    wall.secs
        .saturating_mul(1_000_000_000)
        .saturating_add(wall.nanos.into())
}
