//! Failure has two audiences: an application is told a code, the operator a sentence.

use alloc::string::String;

use crate::ids::{ChunkIx, ObjectId, PeerId};
use crate::label::Label;

/// What an application is told. The shell turns it into an errno or an NTSTATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// No such file or directory.
    #[error("no such file or directory")]
    NoEntry,
    /// Not a directory.
    #[error("not a directory")]
    NotDirectory,
    /// Is a directory.
    #[error("is a directory")]
    IsDirectory,
    /// The replica, or the share, takes no changes.
    #[error("read-only file system")]
    ReadOnly,
    /// The bytes can't be had, or not by the deadline.
    #[error("input/output error")]
    Io,
    /// A handle that was never given, or was given back.
    #[error("bad handle")]
    BadHandle,
    /// The inode is not there any more.
    #[error("stale file handle")]
    Stale,
    /// The call makes no sense for this node.
    #[error("invalid argument")]
    Invalid,
    /// The node has no such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The name is longer than 255 bytes.
    #[error("file name too long")]
    NameTooLong,
    /// A bound of ours was reached.
    #[error("too many open files")]
    TooManyHandles,
    /// Not supported here.
    #[error("operation not supported")]
    NotSupported,
    /// There is something of that name already.
    #[error("file exists")]
    Exists,
    /// A directory that is to go has something in it.
    #[error("directory not empty")]
    NotEmpty,
    /// The disk is full.
    #[error("no space left on device")]
    NoSpace,
    /// The file would be longer than files may be.
    #[error("file too large")]
    TooLarge,
    /// Nobody may do that here.
    #[error("operation not permitted")]
    NotPermitted,
    /// The file has as many names as it may have.
    #[error("too many links")]
    TooManyLinks,
}

/// Why a job of the disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// There is nothing of that name.
    #[error("not found")]
    NotFound,
    /// It is something else than was expected (a directory for a file, a symlink on the way).
    #[error("not of the expected kind")]
    WrongKind,
    /// The disk, or the user's quota, is full.
    #[error("no space left on device")]
    NoSpace,
    /// The permissions forbid it.
    #[error("permission denied")]
    Denied,
    /// Something stands there already.
    #[error("something stands there already")]
    Exists,
    /// The directory has something in it.
    #[error("directory not empty")]
    NotEmpty,
    /// What stands there is not what was expected.
    #[error("it was changed meanwhile")]
    Changed,
    /// Anything else: the bytes can't be read or written.
    #[error("input/output error")]
    Io,
}

/// What the operator should hear of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A peer broke the rules of the wire; its link was closed.
    #[error("{peer} broke the protocol: {what}; the link was closed")]
    Protocol {
        /// Who.
        peer: PeerId,
        /// Which rule.
        what: &'static str,
    },
    /// A peer does not let us in.
    #[error("{peer} refused us: {why}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Its reason.
        why: crate::message::Refusal,
    },
    /// A peer was not let in.
    #[error("refused {name} ({peer}): {why}")]
    Turned {
        /// Who.
        peer: PeerId,
        /// What it calls itself.
        name: Label,
        /// Our reason.
        why: crate::message::Refusal,
    },
    /// Our metadata lack updates that a joiner knows: they were rebuilt, or restored from a copy.
    #[error(
        "{name} ({peer}) knows changes that are lost here, since the metadata of this folder were \
         rebuilt or restored; it has to join again with a new store"
    )]
    Forgot {
        /// Who knows them.
        peer: PeerId,
        /// What it calls itself.
        name: Label,
    },
    /// The host's metadata lack updates that we know.
    #[error(
        "{name} ({peer}) has lost changes that are known here, since its metadata were rebuilt or \
         restored; what is here can still be read; to go on, join again with a new store (--store)"
    )]
    HostForgot {
        /// The host.
        peer: PeerId,
        /// What it calls itself.
        name: Label,
    },
    /// A chunk did not come.
    #[error("{chunk} of {object:?} did not come after {attempts} attempts")]
    ChunkMissing {
        /// Of which version.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
        /// How often it was asked for.
        attempts: u32,
    },
    /// A chunk that arrived is not what its hash says.
    #[error("{chunk} of {object:?} from {peer} does not match its hash; it was dropped")]
    ChunkCorrupt {
        /// Of which version.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
        /// Who sent it.
        peer: PeerId,
    },
    /// Bytes that were stored are not what they were.
    #[error("{chunk} of {object:?} has rotted on disk; it is fetched again")]
    ChunkRotten {
        /// Of which version.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// Bytes that were stored can't be read any more.
    #[error("{path} can't be read from the store; it is fetched again")]
    Unreadable {
        /// Of which file.
        path: String,
    },
    /// The disk refused a job.
    #[error("{what}: {why}")]
    Disk {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        why: DiskError,
    },
    /// So much is missing from the shared folder that somebody has to say that it was meant.
    #[error(
        "{missing} of {known} files and directories are missing from the shared folder; nothing \
         was deleted for others: if that is what you meant, start again with --accept-deletes"
    )]
    MuchMissing {
        /// How many are missing.
        missing: usize,
        /// Of how many.
        known: usize,
    },
    /// The log of changes could not be written; nothing is acknowledged until it can.
    #[error("the metadata store failed: {why}")]
    Store {
        /// Why.
        why: DiskError,
    },
    /// A sidecar was no good; the download starts over from what verifies.
    #[error("{object:?}: {why}; it starts over from what verifies")]
    Sidecar {
        /// Whose.
        object: ObjectId,
        /// What is wrong with it.
        why: String,
    },
    /// What lies on disk of a file that was being written can't be relied on.
    #[error(
        "what was written to {object:?} is lost or can't be proven: {why}; what is left of it was not touched"
    )]
    Draft {
        /// Under the name of which object it lies.
        object: ObjectId,
        /// What is wrong with it.
        why: String,
    },
}
