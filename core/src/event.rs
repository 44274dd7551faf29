//! What happened: everything that comes in through the door.

use alloc::vec::Vec;

use crate::action::Besides;
use crate::conflicts::Keep;
use crate::edit::Edit;
use crate::engine::Invite;
use crate::error::DiskError;
use crate::ids::{
    AskId, ChunkHash, CommitId, FetchId, Fh, Ino, JobId, LinkId, ObjectId, PayloadId, PeerId, ReqId,
};
use crate::message::{Message, Want};
use crate::time::WallTime;
use crate::trash::Found;
use crate::tree::name::Name;
use crate::tree::name::TargetPath;
use crate::tree::register::Xattrs;

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Event {
    /// A deadline returned by `poll_timeout` has passed.
    Tick,
    /// An application called the file system and waits for `Action::Reply` with the same `req`
    /// (but for [`FsCall::Forget`], which has none).
    Fs {
        /// Which request.
        req: ReqId,
        /// What it asks.
        call: FsCall,
    },
    /// A connection that `Action::Dial` asked for is there: the peer's key was checked.
    Dialled {
        /// Which.
        link: LinkId,
    },
    /// Somebody connected. The key is proven by TLS; whether it is let in is the engine's choice.
    Accepted {
        /// Its link; the shell draws odd numbers, the engine even ones.
        link: LinkId,
        /// Its key.
        peer: PeerId,
    },
    /// A peer said something.
    Said {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// A link ended, or its dialling failed. Nothing more is heard on it; its lanes are closed,
    /// and what was asked on them is not answered.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        why: LinkDown,
    },
    /// A peer answered a fetch.
    Fetched {
        /// Which.
        fetch: FetchId,
        /// What it answered.
        outcome: Fetched,
    },
    /// A peer asks for a chunk, on a lane.
    Asked {
        /// On which link.
        link: LinkId,
        /// Drawn by the shell; answered by `Action::Answer`.
        ask: AskId,
        /// For what.
        want: Want,
        /// How many bytes that has, as the peer says; 0 if it does not.
        len: u32,
    },
    /// Bytes of an object that a reply pointed to could not be read, and not only because another
    /// version has taken their place.
    Unreadable {
        /// Which object.
        object: ObjectId,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// A disk job has finished.
    Disk {
        /// Which.
        job: JobId,
        /// How.
        outcome: Result<DiskDone, DiskError>,
    },
    /// A commit has finished. Commits finish in the order in which they were given.
    Committed {
        /// Which.
        commit: CommitId,
        /// Whether it holds.
        outcome: Result<(), DiskError>,
    },
    /// Something may have changed in the shared folder: a hint to look.
    Hint(Hint),
    /// The user wants the process to end: what is in memory only goes to disk, peers are told.
    /// Ends with `Action::Stopped`.
    Stop,
    /// The user wants all of a file here (`get`); ends with `Action::Wanted`.
    Want {
        /// Which request.
        req: ReqId,
        /// Where it stands: names from the root.
        path: Vec<Name>,
    },
    /// The user settles a conflict; ends with `Action::Settled`.
    Settle {
        /// Which request.
        req: ReqId,
        /// Where the file or one of its conflict copies stands: names from the root.
        path: Vec<Name>,
        /// What becomes of it.
        keep: Keep,
    },
    /// A further invitation was given out, and is kept by the shell.
    Invited(Invite),
    /// The user removes a peer; ends with `Action::Removed`.
    Remove {
        /// Which request.
        req: ReqId,
        /// Whom.
        peer: PeerId,
    },
    /// The user wants a thing back out of the trash; ends with `Action::Restored`.
    Restore {
        /// Which request.
        req: ReqId,
        /// The number of the thing.
        number: u64,
        /// The wall clock at the request.
        wall: WallTime,
    },
}

/// What an application asks of the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsCall {
    /// The node of this name; counts one lookup.
    Lookup {
        /// In which directory.
        parent: Ino,
        /// The name, as the application gave it.
        name: Vec<u8>,
    },
    /// The kernel gives lookups back. Has no reply.
    Forget {
        /// Of which inode.
        ino: Ino,
        /// How many.
        lookups: u64,
    },
    /// Attributes.
    GetAttr {
        /// Of which inode.
        ino: Ino,
    },
    /// The target of a symlink.
    ReadLink {
        /// Of which inode.
        ino: Ino,
    },
    /// Open a file.
    Open {
        /// Which inode.
        ino: Ino,
        /// Whether writing was asked for.
        write: bool,
    },
    /// Read from a file.
    Read {
        /// Through which handle.
        fh: Fh,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes at most.
        len: u32,
    },
    /// A file's handle is closed for good.
    Release {
        /// Which handle.
        fh: Fh,
    },
    /// Open a directory.
    OpenDir {
        /// Which inode.
        ino: Ino,
    },
    /// List a directory.
    ReadDir {
        /// Through which handle.
        fh: Fh,
        /// From which position: 0, or the `next` of an item.
        from: u64,
        /// How many items at most.
        count: u32,
        /// Whether each item counts one lookup (readdirplus). Items that the shell could not
        /// deliver it gives back with [`FsCall::Forget`].
        plus: bool,
    },
    /// A directory's handle is closed for good.
    ReleaseDir {
        /// Which handle.
        fh: Fh,
    },
    /// One extended attribute.
    GetXattr {
        /// Of which inode.
        ino: Ino,
        /// Its name.
        name: Vec<u8>,
    },
    /// The names of all extended attributes.
    ListXattr {
        /// Of which inode.
        ino: Ino,
    },
    /// Space and counts.
    StatFs,
    /// A change.
    Edit(Edit),
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// No address could be reached, or the peer hung up while dialling.
    Unreachable,
    /// The one who answered has another key.
    WrongKey,
    /// The connection broke, or was closed by the peer.
    Lost,
    /// The peer sent what could not be decoded, or more than a bound allows.
    Garbled,
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The bytes, parked in the shell.
    Data {
        /// Where.
        payload: PayloadId,
        /// How many bytes.
        len: u32,
        /// What the shell computed over them.
        computed: ChunkHash,
        /// What the owner has on record.
        recorded: ChunkHash,
    },
    /// [`crate::message::Answer::Same`].
    Same,
    /// [`crate::message::Answer::Hole`].
    Hole {
        /// What the shell computed over as many zeros as the chunk has bytes.
        zeros: ChunkHash,
    },
    /// [`crate::message::Answer::Tail`]: the bytes after those that were named, parked in the
    /// shell.
    Tail {
        /// Where.
        payload: PayloadId,
        /// How many bytes.
        len: u32,
        /// What the owner has on record of the whole chunk.
        recorded: ChunkHash,
    },
    /// [`crate::message::Answer::Gone`].
    Gone,
    /// [`crate::message::Answer::NotHeld`].
    NotHeld,
    /// [`crate::message::Answer::Failed`], or the lane broke.
    Failed,
}

/// A watcher's word: at most a reason to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The name at the end of this path may have appeared, changed or gone.
    Path {
        /// Names from the root.
        path: Vec<Name>,
        /// Whether whoever wrote it is done (close, rename); else it may still grow.
        settled: bool,
    },
    /// Anything in or below this directory may have changed (overflow, a missing watch).
    Subtree {
        /// Names from the root.
        path: Vec<Name>,
    },
}

/// What tells one state of a plain file from another.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Fingerprint {
    /// The inode number on its file system.
    pub ino: u64,
    /// Birth time in nanoseconds from 1970 (0 where the file system has none): tells two files
    /// that had the same inode number apart.
    pub born_ns: i64,
    /// Length in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: WallTime,
    /// Change time.
    pub ctime: WallTime,
}

/// What a look at the disk showed under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it is.
    pub what: Seen,
    /// Its fingerprint.
    pub print: Fingerprint,
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u32,
    /// Extended attributes of the `user.` namespace.
    pub xattrs: Xattrs,
}

/// What kind of thing a look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A regular file.
    File,
    /// A directory on the shared file system.
    Directory,
    /// A symlink.
    Symlink(TargetPath),
    /// A fifo, socket or device, a mount point of another file system, or a symlink whose target
    /// is no [`TargetPath`]: here, and in no message.
    Local,
}

/// What was found out of bytes that were read, besides their hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    /// Whether all of them are zeros.
    pub zeros: bool,
    /// The hash of as many of the first as `Besides::Prefix` asked for, if there are so many.
    pub prefix: Option<ChunkHash>,
}

impl Nature {
    /// Returns what is to be found out of `bytes`.
    pub fn of(bytes: &[u8], besides: Besides) -> Self {
        let prefix = match besides {
            Besides::Prefix(len) => usize::try_from(len).ok().and_then(|len| bytes.get(..len)),
            Besides::Nothing | Besides::Join(_) => None,
        };
        Self {
            zeros: !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0),
            prefix: prefix.map(ChunkHash::of),
        }
    }
}

/// What a disk job brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// A job that brings nothing but its end.
    Done,
    /// `DiskWish::List`: everything in the directory but `.tandem`.
    Listed {
        /// The directory's own fingerprint, so that a listing of what stands there is not taken
        /// for one of what stood there.
        this: Fingerprint,
        /// What is there; names that cannot be read are not missing, but here.
        items: Vec<(Name, Sighting)>,
        /// False if some names could not be looked at: then absence says nothing.
        complete: bool,
        /// The wall clock when it was listed.
        wall: WallTime,
    },
    /// `DiskWish::Look`: what stands there, if anything.
    Looked {
        /// What.
        sighting: Option<Sighting>,
        /// The wall clock at the look.
        wall: WallTime,
    },
    /// `TrashWish::List`: what lies in the trash.
    Trash {
        /// Files and symlinks, in any order.
        found: Vec<Found>,
        /// The wall clock when it was listed.
        wall: WallTime,
    },
    /// `PlaceWish::Prepare`: what each of the files is, in their order.
    Prepared(Vec<Result<Sighting, DiskError>>),
    /// `DiskWish::ReadChunk`: the bytes, parked in the shell.
    Chunk {
        /// Where.
        payload: PayloadId,
        /// How many bytes were there.
        len: u32,
        /// Their hash.
        hash: ChunkHash,
        /// The file's fingerprint before the read.
        before: Fingerprint,
        /// And after it.
        after: Fingerprint,
        /// What else was found out of the bytes.
        nature: Nature,
    },
    /// `DiskWish::HashChunk`: the hash of what is stored there.
    Hashed {
        /// How many bytes were there.
        len: u32,
        /// Their hash.
        hash: ChunkHash,
    },
    /// `DiskWish::LoadObject`: what is stored.
    Loaded {
        /// The partial file's sidecar, if there is one.
        sidecar: Option<Vec<u8>>,
        /// The length of the partial file, if there is one.
        partial: Option<u64>,
        /// The length of the complete file, if there is one.
        complete: Option<u64>,
    },
    /// `DiskWish::ReadStored`: the bytes, parked in the shell.
    Read {
        /// Where.
        payload: PayloadId,
        /// How many bytes were there, the joined ones included.
        len: u32,
        /// Their hash.
        hash: ChunkHash,
        /// What else was found out of the bytes.
        nature: Nature,
    },
    /// `DraftWish::Load`: what is there of a draft.
    Draft {
        /// Its journal, if there is one.
        journal: Option<Vec<u8>>,
        /// The length and modification time of its file in `partial/`, if there is one.
        file: Option<(u64, WallTime)>,
        /// The sidecar beside it, if there is one.
        sidecar: Option<Vec<u8>>,
    },
}
