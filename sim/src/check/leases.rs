//! P7 of what is open elsewhere: a file that a peer unlinked or overwrote, and that so lies in the
//! host's trash, is served to whoever has it open for as long as it lies there as it was, through
//! any number of links.
//!
//! Law: which file holds a version is known from what the host did itself: it put that version's
//! bytes down there, or has answered with bytes that it read there. What of it is asked for after
//! the host was told that the file is in the trash is not "gone" and not "held by nobody": an
//! application that has the file open, or has written over a part of it, would never see the rest.
//! After a start of the host nothing is known until it is learnt anew, since a kill may take the
//! record of what went to the trash just before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_core::ids::{ObjectId, PayloadId};
use tandem_core::time::WallTime;

use super::{Failure, Verdict};
use crate::disk::folder::{Folder, Id};

/// A file as it was when it held a version.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    file: Id,
    mtime: WallTime,
    bytes: Arc<Vec<u8>>,
}

impl Held {
    fn by(file: Id, folder: &Folder) -> Option<Self> {
        let bytes = folder.bytes(file)?;
        let mtime = folder.print(file).mtime;
        Some(Self { file, mtime, bytes })
    }
}

/// What the host is known to hold.
#[derive(Debug, Default)]
pub struct Leases {
    /// Which file holds a version.
    held: BTreeMap<ObjectId, Held>,
    /// From which file bytes were read.
    read: BTreeMap<PayloadId, Held>,
    /// Since when the host knows of a file that it is in the trash.
    thrown: BTreeMap<Id, u64>,
}

impl Leases {
    /// The host has read these bytes from a file that did not change meanwhile.
    pub fn read(&mut self, payload: PayloadId, file: Id, folder: &Folder) {
        if let Some(held) = Held::by(file, folder) {
            self.read.insert(payload, held);
        }
    }

    /// The host has answered who asked for a version with these bytes.
    pub fn answered(&mut self, object: ObjectId, payload: PayloadId) {
        if let Some(held) = self.read.remove(&payload) {
            self.held.insert(object, held);
        }
    }

    /// The host dropped bytes that it had read.
    pub fn dropped(&mut self, payload: PayloadId) {
        self.read.remove(&payload);
    }

    /// The host has put a version down as this file.
    pub fn put(&mut self, object: ObjectId, file: Id, folder: &Folder) {
        if let Some(held) = Held::by(file, folder) {
            self.held.insert(object, held);
        }
    }

    /// A file has gone to the trash, of which the host knows from this moment on.
    pub fn thrown(&mut self, file: Id, known: u64) {
        self.thrown.insert(file, known);
    }

    /// Returns the bytes of a version, as far as they are known.
    pub fn bytes(&self, object: ObjectId) -> Option<Arc<Vec<u8>>> {
        self.held.get(&object).map(|held| held.bytes.clone())
    }

    /// The host is started.
    pub fn started(&mut self) {
        *self = Self::default();
    }

    /// The host was asked for what a version has from an offset on, and says that there is none.
    pub fn denied(&self, of: (ObjectId, u64), asked: u64, folder: &Folder) -> Verdict {
        let (object, offset) = of;
        let Some(held) = self.held.get(&object) else {
            return Ok(());
        };
        let known = self.thrown.get(&held.file);
        let is_there = folder.beside.trash.contains(&held.file)
            && Held::by(held.file, folder).as_ref() == Some(held);
        // Who makes things up asks for what lies behind the end.
        let has_it = offset < held.bytes.len() as u64;
        if is_there && has_it && known.is_some_and(|known| *known < asked) {
            let what = format!("{object:?} lies in the trash as it was, and is not served");
            return Err(Failure::safety("P7", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tandem_core::ids::{ActorId, Dot, NodeId};

    use super::*;
    use crate::disk::folder::Node;

    fn object(counter: u64) -> ObjectId {
        let dot = |counter| Dot {
            actor: ActorId(1),
            counter,
        };
        ObjectId {
            node: NodeId(dot(1)),
            version: dot(counter),
        }
    }

    #[test]
    fn what_lies_in_the_trash_as_it_was_is_not_denied() {
        let mut folder = Folder::new();
        let file = folder.make(Node::File(vec![7; 9].into()), 0o644);
        let mut leases = Leases::default();
        leases.read(PayloadId(3), file, &folder);
        leases.answered(object(2), PayloadId(3));
        assert!(
            leases.denied((object(2), 4), 20, &folder).is_ok(),
            "it may have been deleted"
        );
        folder.beside.trash.push(file);
        leases.thrown(file, 10);
        assert!(
            leases.denied((object(2), 4), 10, &folder).is_ok(),
            "nobody was told yet"
        );
        assert!(
            leases.denied((object(2), 9), 20, &folder).is_ok(),
            "it ends there"
        );
        assert!(
            leases.denied((object(3), 4), 20, &folder).is_ok(),
            "it is another version"
        );
        assert!(leases.denied((object(2), 4), 20, &folder).is_err());
        folder.touch(file, |inode, _| inode.mtime += 1);
        assert!(
            leases.denied((object(2), 4), 20, &folder).is_ok(),
            "it was written to"
        );
    }
}
