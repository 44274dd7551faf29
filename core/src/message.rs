//! What peers say to each other on a link, apart from chunks.
//!
//! Law: every message has a bound (see [`crate::limits`]); the shell that decodes one has
//! checked names and sizes, and the engine checks the order.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ActorId, Arrival, ChunkHash, ChunkIx, ObjectId, PayloadId};
use crate::label::Label;
use crate::tree::register::Register;
use crate::version::VersionVector;

/// The protocol's version. A peer of another one is refused.
pub const PROTOCOL: u32 = 1;

/// Which folder: drawn when it is first shared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FolderId(pub [u8; 16]);

impl fmt::Debug for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The secret of a ticket. It is never printed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// As what a peer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Its replica is the shared folder itself.
    Full,
    /// Its replica is a sparse store.
    Sparse,
    /// It looks and downloads, and has no say.
    Guest,
}

/// Where one side stands in the stream of the other's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch of the sender's store: arrivals are comparable only within one.
    pub epoch: u64,
    /// Everything up to this arrival was received and stored.
    pub upto: Arrival,
}

/// The first message of each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The folder, if the speaker knows it already.
    pub folder: Option<FolderId>,
    /// As what the speaker comes.
    pub role: Role,
    /// What it calls itself.
    pub name: Label,
    /// The secret of its ticket, from the side that dialled.
    pub secret: Option<Secret>,
    /// Drawn at each start of the process: tells a reconnect from a copy.
    pub session: u64,
    /// Its present incarnation.
    pub actor: ActorId,
    /// The epoch of its store.
    pub epoch: u64,
    /// What it knows.
    pub knowledge: VersionVector,
    /// Where it stands in the listener's stream.
    pub cursor: Option<Cursor>,
    /// Whether it takes the listener's changes.
    pub takes_changes: bool,
    /// Whether the listener is to fetch what it tells of from here on.
    pub pushes: bool,
}

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Its key is unknown, and it has no secret that would make it known.
    #[error("this key is not paired with the folder; ask for a new ticket")]
    NotPaired,
    /// It speaks another version of the protocol.
    #[error("the versions differ; update the older of the two")]
    Protocol,
    /// It means another folder.
    #[error("the address belongs to another folder")]
    OtherFolder,
    /// A live session has this key.
    #[error("a session with the same key is live; stop it, or wait until it is gone")]
    Busy,
    /// A rule of the wire was broken.
    #[error("the protocol was broken")]
    Broken,
    /// Its key was removed by who shares the folder.
    #[error(
        "this peer was removed from the folder by who shares it; what is here can still be read; to \
         come back, ask for a new ticket and join with a new store (--store)"
    )]
    Removed,
}

impl Refusal {
    /// Tells whether trying again may help without anybody doing anything.
    pub fn is_passing(self) -> bool {
        match self {
            Self::Busy | Self::Broken => true,
            Self::NotPaired | Self::Protocol | Self::OtherFolder | Self::Removed => false,
        }
    }
}

/// A piece of the stream of registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The arrival, at the sender, of the last register sent so far.
    pub upto: Arrival,
    /// The registers, in the sender's order of arrival.
    pub registers: Vec<Register>,
    /// Set when this batch reaches the end of what the sender has: what the sender then knew.
    /// The receiver knows as much once it has stored the batch.
    pub knowledge: Option<VersionVector>,
}

/// What one peer says to another on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first message of each side; the side that dialled speaks first.
    Hello(Hello),
    /// Instead of a hello: why not.
    Refused(Refusal),
    /// Registers.
    Registers(Batch),
    /// The batch up to this arrival is stored.
    Ack(Arrival),
    /// Are you there?
    Ping,
    /// I am.
    Pong,
    /// The speaker stops on purpose.
    Bye,
}

/// What an asker holds in the place of a chunk: bytes of another version, or bytes that somebody
/// said are the chunk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Have {
    /// How many bytes; at least one.
    pub len: u32,
    /// Their hash.
    pub hash: ChunkHash,
}

/// A chunk that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Of which version.
    pub object: ObjectId,
    /// Which chunk.
    pub chunk: ChunkIx,
    /// What the asker holds there already, if it names it.
    pub have: Option<Have>,
}

/// The answer to a [`Want`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here it is.
    Data {
        /// The hash that its owner has on record.
        hash: ChunkHash,
        /// The bytes, parked in the shell.
        payload: PayloadId,
    },
    /// It is exactly what the asker named.
    Same,
    /// It has nothing but zeros.
    Hole,
    /// It begins with what the asker named.
    Tail {
        /// The hash of all of it that its owner has on record.
        hash: ChunkHash,
        /// All of its bytes, parked in the shell.
        payload: PayloadId,
        /// How many of them, at the start, are not sent.
        skip: u32,
    },
    /// This chunk of this version is nowhere any more; a newer version is on its way.
    Gone,
    /// The one asked has no such version, or not this chunk of it.
    NotHeld,
    /// The one asked may have it, and can't give it now.
    Failed,
}

impl Answer {
    /// Returns the payload that it uses up.
    pub fn payload(&self) -> Option<PayloadId> {
        match *self {
            Self::Data { payload, .. } | Self::Tail { payload, .. } => Some(payload),
            Self::Same | Self::Hole | Self::Gone | Self::NotHeld | Self::Failed => None,
        }
    }
}
