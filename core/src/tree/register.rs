//! Registers: what peers tell each other, and all that the tree is made of.
//!
//! Law: a register is replaced only by one that is greater (entries and attributes: by Lamport
//! time, then dot) or that was made knowing it (content). Wall-clock time decides nothing.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{ActorId, ChunkIx, Dot, EntryId, Lamport, NodeId, ObjectId};
use crate::label::Label;
use crate::time::WallTime;
use crate::tree::name::{Name, TargetPath, XattrName};
use crate::tree::runs::Runs;
use crate::version::VersionVector;

/// When an update was made, in the order that all peers share: Lamport time first, then dot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Greater than that of every update that its author knew.
    pub lamport: Lamport,
    /// Which update of which actor it is.
    pub dot: Dot,
}

impl Stamp {
    /// Before every update.
    pub(crate) const ZERO: Self = Self {
        lamport: Lamport(0),
        dot: Dot {
            actor: ActorId(0),
            counter: 0,
        },
    };
}

/// What a node is. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// A name in a directory. Last writer wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which entry; it keeps its id when it is renamed.
    pub id: EntryId,
    /// When it was last changed.
    pub stamp: Stamp,
    /// The node that it names. Never changes.
    pub node: NodeId,
    /// The directory in which it stands.
    pub parent: NodeId,
    /// The name under which it stands.
    pub name: Name,
    /// Where it stood before its last move, for when that move closes a cycle.
    pub previous: Option<(NodeId, Name)>,
    /// Set when it was deleted: what the deleter knew. A register of the node that this does not
    /// cover keeps the node alive here.
    pub deleted: Option<VersionVector>,
}

/// Extended attributes, at most [`crate::limits::XATTR_BYTES_MAX`] in all.
pub type Xattrs = BTreeMap<XattrName, Arc<[u8]>>;

/// What is known of a node apart from names and content. Last writer wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Whose attributes.
    pub node: NodeId,
    /// When they were last changed.
    pub stamp: Stamp,
    /// What the node is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky: at most 0o7777.
    pub mode: u16,
    /// Owner, as a number.
    pub uid: u32,
    /// Group, as a number.
    pub gid: u32,
    /// A modification time that was set by hand; it is shown while it is newer, by Lamport time,
    /// than the content.
    pub mtime: Option<WallTime>,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What a version of a file or symlink holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A regular file's bytes.
    File {
        /// Its length in bytes, at most [`crate::limits::FILE_SIZE_MAX`].
        size: u64,
        /// The size of its chunks in bytes: a power of two from 512 to 16 MiB.
        chunk_size: u32,
    },
    /// A symlink's target.
    Link {
        /// Where it points.
        target: TargetPath,
    },
}

/// One version of a file's or symlink's content. Concurrent versions stay side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whose content. A directory has none.
    pub node: NodeId,
    /// When it was made; its dot names the version.
    pub stamp: Stamp,
    /// The versions of this node that its author knew.
    pub context: VersionVector,
    /// The versions within `context` that this one does not supersede: it was made beside them.
    pub beside: Vec<Dot>,
    /// The name of its author, for the name of a conflict copy.
    pub author: Label,
    /// The UTC day on which it was made, in days from 1970-01-01, for the same.
    pub day: u32,
    /// The modification time that goes with it.
    pub mtime: WallTime,
    /// What it holds.
    pub body: Body,
    /// The version on which it was made, if its author says so: one that it supersedes.
    pub base: Option<Dot>,
    /// The chunks in which it may differ from `base`: every other one has the same bytes, and as
    /// many, as the base's chunk of that index. `None` says nothing: any may differ.
    pub changed: Option<Runs>,
}

impl Content {
    /// Tells whether this version was made on `other`, or on one that was.
    pub fn supersedes(&self, other: Dot) -> bool {
        self.context.covers(other) && !self.beside.contains(&other)
    }

    /// Returns the version whose chunk `chunk` has the same bytes, if its author names one.
    pub fn same_as(&self, chunk: ChunkIx) -> Option<Dot> {
        let changed = self.changed.as_ref()?;
        self.base.filter(|_| !changed.has(chunk))
    }

    /// Returns whether there is nothing to fetch of it.
    pub fn is_empty(&self) -> bool {
        match self.body {
            Body::File { size, .. } => size == 0,
            Body::Link { .. } => true,
        }
    }

    /// Returns the object that holds this version's bytes.
    pub fn object(&self) -> ObjectId {
        ObjectId {
            node: self.node,
            version: self.stamp.dot,
        }
    }
}

/// The hash of a version's manifest, written once when all of its chunks are hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The version.
    pub object: ObjectId,
    /// When it was written.
    pub stamp: Stamp,
    /// The xxh3-128 over the little-endian hashes of its chunks, in order.
    pub hash: u128,
}

/// Any register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Register {
    /// A name.
    Entry(Entry),
    /// Attributes.
    Attrs(Attrs),
    /// A version of content.
    Content(Content),
    /// A version's digest.
    Digest(Digest),
}

/// Which register: two with the same key compete, or are siblings (content).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RegisterKey {
    /// The entry of this id.
    Entry(EntryId),
    /// The attributes of this node.
    Attrs(NodeId),
    /// This version of this node.
    Content(ObjectId),
    /// The digest of this version.
    Digest(ObjectId),
}

impl Register {
    /// Returns which register it is.
    pub fn key(&self) -> RegisterKey {
        match self {
            Self::Entry(entry) => RegisterKey::Entry(entry.id),
            Self::Attrs(attrs) => RegisterKey::Attrs(attrs.node),
            Self::Content(content) => RegisterKey::Content(content.object()),
            Self::Digest(digest) => RegisterKey::Digest(digest.object),
        }
    }

    /// Returns when it was made.
    pub fn stamp(&self) -> Stamp {
        match self {
            Self::Entry(entry) => entry.stamp,
            Self::Attrs(attrs) => attrs.stamp,
            Self::Content(content) => content.stamp,
            Self::Digest(digest) => digest.stamp,
        }
    }

    /// Returns the node that it speaks of.
    pub fn node(&self) -> NodeId {
        match self {
            Self::Entry(entry) => entry.node,
            Self::Attrs(attrs) => attrs.node,
            Self::Content(content) => content.node,
            Self::Digest(digest) => digest.object.node,
        }
    }
}
