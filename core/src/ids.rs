//! Identifiers: one type for each thing that is counted, so that an index, a count and a size
//! are never the same integer.
//!
//! Law: none of them is ever reused in the lifetime of what it names.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $tag:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        pub struct $name(pub $repr);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($tag, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

counted!(
    /// A request of the mount that waits for its reply.
    ReqId, u64, "req");
counted!(
    /// A job given to the disk.
    JobId, u64, "job");
counted!(
    /// A set of records given to the metadata store, to be stored all or none.
    CommitId, u64, "commit");
counted!(
    /// A chunk asked of a peer.
    FetchId, u64, "fetch");
counted!(
    /// A chunk that a peer asks of us.
    AskId, u64, "ask");
counted!(
    /// Bytes parked in the shell; the core knows only their length and hash.
    PayloadId, u64, "payload");
counted!(
    /// One connection between two peers, from its dialling to its end.
    LinkId, u64, "link");
counted!(
    /// An inode number as the kernel sees it. Local to a replica and kept for a node's life.
    Ino, u64, "ino");
counted!(
    /// An open handle. Never reused, never aliased (P7).
    Fh, u64, "fh");
counted!(
    /// The index of a chunk in a file.
    ChunkIx, u32, "#");
counted!(
    /// The order in which this replica came to hold a register; a cursor of an exchange.
    Arrival, u64, "@");
counted!(
    /// A Lamport time.
    Lamport, u64, "L");

impl Ino {
    /// The root of the mount, by FUSE's convention.
    pub const ROOT: Self = Self(1);
}

/// A peer: the SHA-256 of its certificate's public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 32]);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("peer:")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A peer in one incarnation: drawn by chance whenever what the store says of the past can no
/// longer be trusted, so that two different updates never bear the same dot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ActorId(pub u64);

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0 & 0xffff)
    }
}

/// One update of one actor. Counters start at 1; the dot (0, 0) is the root's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Dot {
    /// Who made the update.
    pub actor: ActorId,
    /// Which of its updates it is.
    pub counter: u64,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.actor, self.counter)
    }
}

/// A file, directory or symlink: the dot of its creation, which never changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NodeId(pub Dot);

impl NodeId {
    /// The root of the folder, which every replica has and none has made.
    pub const ROOT: Self = Self(Dot {
        actor: ActorId(0),
        counter: 0,
    });
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT {
            f.write_str("root")
        } else {
            write!(f, "n{:?}", self.0)
        }
    }
}

/// A name under which a node stands in a directory: the dot of its creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EntryId(pub Dot);

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{:?}", self.0)
    }
}

/// One version of one file: the node, and the dot of the update that made the version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The file.
    pub node: NodeId,
    /// Its version.
    pub version: Dot,
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}v{:?}", self.node, self.version)
    }
}

/// The xxh3-128 of a chunk's bytes. For integrity; authenticity comes from TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkHash(pub u128);

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0 >> 96)
    }
}

impl ChunkHash {
    /// Returns the hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(bytes))
    }
}
