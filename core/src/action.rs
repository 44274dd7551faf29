//! What is to be done: everything that goes out through the door.
//!
//! Law: actions of one kind that name the same link, object or store are performed in the order
//! in which they were given; others may overtake each other.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::conflicts::{Settled, Unsettled};
use crate::draft_wish::DraftWish;
use crate::error::{Fault, FsError};
use crate::event::Fingerprint;
use crate::ids::{
    AskId, ChunkIx, CommitId, FetchId, Fh, Ino, JobId, LinkId, NodeId, ObjectId, PayloadId, PeerId,
    ReqId,
};
use crate::message::{Answer, Message, Want};
use crate::peers::{Removed, Unremoved};
use crate::place_wish::{FileKey, PlaceWish};
use crate::time::WallTime;
use crate::trash::{Restored, TrashWish, Unrestored};
use crate::tree::name::Name;
use crate::tree::register::Kind;

/// Something the shell should do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer an application.
    Reply {
        /// Whose request.
        req: ReqId,
        /// What to say.
        result: Result<FsReply, FsError>,
    },
    /// Connect to a peer at whatever addresses are known, all at once (the first wins), and
    /// check its key. Ends with `Event::Dialled` or `Event::LinkDown`.
    Dial {
        /// The connection to be.
        link: LinkId,
        /// Whose key must be at the other end.
        peer: PeerId,
    },
    /// Say something on a link. Messages of a link keep their order.
    Send {
        /// On which.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// Close a link once what was said on it is out. No `Event::LinkDown` follows.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Ask a peer for a chunk on a demand lane. Ends with `Event::Fetched`, or with the link.
    Fetch {
        /// Which fetch.
        fetch: FetchId,
        /// On which link.
        link: LinkId,
        /// Which of the file's lanes, below [`crate::limits::LANES`]; the first fetch on any
        /// opens all of them.
        lane: u32,
        /// What is wanted.
        want: Want,
        /// How many bytes it has.
        len: u32,
    },
    /// Close the lanes of a file: nobody reads it.
    CloseLanes {
        /// On which link.
        link: LinkId,
        /// Of which file.
        node: NodeId,
    },
    /// Answer a peer's ask. A payload is used up by it.
    Answer {
        /// Which.
        ask: AskId,
        /// What to say.
        answer: Answer,
    },
    /// A payload is of no use.
    Drop {
        /// Which.
        payload: PayloadId,
    },
    /// Do something with files. Ends with `Event::Disk`.
    Disk {
        /// Which job.
        job: JobId,
        /// What to do.
        wish: DiskWish,
    },
    /// Store records, all or none, in the order of commits. Ends with `Event::Committed`.
    Commit {
        /// Which commit.
        commit: CommitId,
        /// What to store.
        records: Vec<Record>,
        /// Whether it must survive power loss before it counts as committed; else a kill.
        sync: bool,
    },
    /// Tell the kernel to forget something, in the order given, after the engine has switched.
    Invalidate(Invalidation),
    /// Tell the operator.
    Fault(Fault),
    /// A want (`Event::Want`) has ended, or has come further.
    Wanted {
        /// Which.
        req: ReqId,
        /// How it stands.
        state: WantState,
    },
    /// A conflict was settled (`Event::Settle`), which survives a kill; or it was not, and why.
    Settled {
        /// Which request.
        req: ReqId,
        /// How.
        result: Result<Settled, Unsettled>,
    },
    /// A peer was removed (`Event::Remove`), which survives power loss; or it was not, and why.
    Removed {
        /// Which request.
        req: ReqId,
        /// How.
        result: Result<Removed, Unremoved>,
    },
    /// A thing was brought back out of the trash (`Event::Restore`), which survives power loss; or
    /// it was not, and why.
    Restored {
        /// Which request.
        req: ReqId,
        /// How.
        result: Result<Restored, Unrestored>,
    },
    /// The engine is done after `Event::Stop`: everything is on disk, the process may end.
    Stopped,
}

/// How a wanted file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantState {
    /// So many bytes of so many are here.
    Progress {
        /// Bytes here.
        have: u64,
        /// Bytes in all.
        size: u64,
    },
    /// All of it is here, on stable storage, at its place.
    Done {
        /// Which version.
        object: ObjectId,
        /// Its size in bytes.
        size: u64,
    },
    /// There is no such file.
    NotFound,
    /// It is a directory.
    IsDirectory,
    /// It is a symlink.
    IsSymlink,
    /// The disk is full; what is here so far is kept.
    NoSpace,
    /// It could not be had.
    Failed,
}

/// A key of the metadata store and its new value; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Option<Vec<u8>>,
}

/// What the disk should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskWish {
    /// List a directory of the shared folder.
    List {
        /// Names from the root.
        path: Vec<Name>,
    },
    /// Look at one name of the shared folder, following nothing.
    Look {
        /// Names from the root.
        path: Vec<Name>,
    },
    /// Read a chunk of a plain file of the shared folder, with its fingerprint before and after.
    /// Fewer bytes than asked for are no error: `len` says how many there were.
    ReadChunk {
        /// Names from the root.
        path: Vec<Name>,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
        /// What else to do with them.
        besides: Besides,
    },
    /// Read a chunk of a file that lies in the trash of the shared folder, likewise. Brings
    /// `DiskDone::Chunk`.
    ReadThrown {
        /// Which file.
        file: FileKey,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
        /// What else to do with them.
        besides: Besides,
    },
    /// Find what is stored of an object: its sidecar, its partial file, its complete file.
    LoadObject {
        /// Which.
        object: ObjectId,
    },
    /// Make the partial file (sparse, of this size) and its sidecar with these bytes, in the
    /// place of whatever stood there.
    CreateObject {
        /// Which.
        object: ObjectId,
        /// Its size in bytes.
        size: u64,
        /// The sidecar's first bytes.
        sidecar: Vec<u8>,
    },
    /// Cut the sidecar to the length that was valid, and go on after it.
    CutSidecar {
        /// Whose.
        object: ObjectId,
        /// To this length in bytes.
        len: u64,
    },
    /// Write a payload, then append to the sidecar. The payload is used up.
    StoreChunk {
        /// Into which object.
        object: ObjectId,
        /// At which offset, in bytes.
        offset: u64,
        /// The bytes.
        payload: PayloadId,
        /// The record to append.
        record: Vec<u8>,
    },
    /// See to it that a range of the partial file is zeros, taking no space where that is
    /// possible, then append to the sidecar.
    StoreHole {
        /// Of which object.
        object: ObjectId,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
        /// The record to append.
        record: Vec<u8>,
    },
    /// Append to the sidecar.
    MarkSidecar {
        /// Whose.
        object: ObjectId,
        /// The record.
        record: Vec<u8>,
    },
    /// Sync the partial file's data.
    SyncObject {
        /// Which.
        object: ObjectId,
    },
    /// Hash stored bytes.
    HashChunk {
        /// Of which object.
        object: ObjectId,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// Rename the partial file to its complete place, sync the directory, remove the sidecar.
    /// Done twice it does no harm.
    FinishObject {
        /// Which.
        object: ObjectId,
    },
    /// Bring the shared folder nearer to what the tree wants.
    Place(PlaceWish),
    /// Do something in the trash of the shared folder.
    Trash(TrashWish),
    /// Remove all that is stored of an object. Descriptors that are open stay readable.
    RemoveObject {
        /// Which.
        object: ObjectId,
    },
    /// Read stored bytes, of a partial or a complete file, for a peer or to store them in another
    /// object; brings `DiskDone::Read`. Fewer bytes than asked for are no error.
    ReadStored {
        /// Of which object.
        object: ObjectId,
        /// From which offset, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
        /// What else to do with them.
        besides: Besides,
    },
    /// Do something with a draft.
    Draft {
        /// Under the name of which object it lies.
        object: ObjectId,
        /// What.
        wish: DraftWish,
    },
}

/// What to do with bytes that are read, besides parking and hashing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Besides {
    /// Nothing.
    Nothing,
    /// Hash as many of the first too, to find out whether an asker holds these.
    Prefix(u32),
    /// Put this payload, which is used up, behind them: what is parked and hashed is both.
    Join(PayloadId),
}

/// What the kernel should forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Attributes, and cached pages where `data` is set.
    Inode {
        /// Of which inode.
        ino: Ino,
        /// Pages too.
        data: bool,
    },
    /// A name, positive or negative.
    Entry {
        /// In which directory.
        parent: Ino,
        /// Which name.
        name: Name,
    },
    /// A name that was removed, with the inode it named.
    Delete {
        /// In which directory.
        parent: Ino,
        /// The inode it named.
        child: Ino,
        /// Which name.
        name: Name,
    },
}

/// What an application is shown of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its inode number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names.
    pub nlink: u32,
    /// Length in bytes; of a symlink, of its target.
    pub size: u64,
    /// Modification time; it stands for all three.
    pub mtime: WallTime,
}

/// One item of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirItem {
    /// Its name, which may be `.` or `..`.
    pub name: Arc<[u8]>,
    /// Its attributes (inode number and kind are always right).
    pub shown: Shown,
    /// Where to go on after it.
    pub next: u64,
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// In which object.
    pub object: ObjectId,
    /// From which offset, in bytes.
    pub offset: u64,
    /// How many bytes; all of them are there.
    pub len: u32,
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsReply {
    /// A lookup: the node.
    Entry(Shown),
    /// A lookup: nothing of that name, which may be cached.
    Absent,
    /// Attributes.
    Attr(Shown),
    /// A symlink's target.
    Target(Arc<[u8]>),
    /// An open file.
    Opened {
        /// Its handle.
        fh: Fh,
        /// Whether the kernel's pages of it still hold.
        keep_cache: bool,
    },
    /// A file that was made, or was there, and is open: counts one lookup.
    Created {
        /// What it shows.
        shown: Shown,
        /// Its handle.
        fh: Fh,
        /// Whether the kernel's pages of it still hold.
        keep_cache: bool,
    },
    /// Bytes were written.
    Written {
        /// How many.
        len: u32,
    },
    /// An open directory.
    OpenedDir {
        /// Its handle.
        fh: Fh,
    },
    /// Bytes to be read from the store and sent. When they can't be read, the shell asks again.
    Data(Stored),
    /// End of file.
    Eof,
    /// Items of a listing; none at its end.
    Items(Vec<DirItem>),
    /// An extended attribute's value.
    Value(Arc<[u8]>),
    /// Names of extended attributes.
    Names(Vec<Arc<[u8]>>),
    /// What is shared; the shell adds the space on the disk.
    StatFs {
        /// Files, directories and symlinks.
        nodes: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Nothing but success.
    Done,
}

/// A fingerprint at which a version was materialised in the shared folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Placed {
    /// The version.
    pub version: crate::ids::Dot,
    /// The file's fingerprint then.
    pub print: Fingerprint,
}

/// Which chunk of which object; for maps.
pub type ChunkKey = (ObjectId, ChunkIx);
