//! What an application changes through the mount.
//!
//! Law: a call that is answered with success survives a kill (P2); one that syncs survives power
//! loss. None waits for the network.

use alloc::vec::Vec;

use crate::ids::{Fh, Ino, PayloadId};
use crate::time::WallTime;

/// A change, as an application asks for it. Names are as it gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Make a file and open it; replies `FsReply::Created`.
    Create {
        /// In which directory.
        parent: Ino,
        /// Under which name.
        name: Vec<u8>,
        /// How.
        making: Making,
        /// Whether a file that is there already is an error (`O_EXCL`); else it is opened.
        exclusive: bool,
    },
    /// Make something; replies `FsReply::Entry`.
    Make {
        /// In which directory.
        parent: Ino,
        /// Under which name.
        name: Vec<u8>,
        /// What.
        what: Make,
        /// How.
        making: Making,
    },
    /// Give a file a further name; replies `FsReply::Entry`.
    Link {
        /// Which file.
        ino: Ino,
        /// In which directory.
        parent: Ino,
        /// Under which name.
        name: Vec<u8>,
    },
    /// Remove a name of a file or symlink; replies `FsReply::Done`.
    Unlink {
        /// In which directory.
        parent: Ino,
        /// Which name.
        name: Vec<u8>,
    },
    /// Remove an empty directory; replies `FsReply::Done`.
    RemoveDir {
        /// In which directory.
        parent: Ino,
        /// Its name.
        name: Vec<u8>,
    },
    /// Move a name; replies `FsReply::Done`.
    Rename {
        /// From which directory.
        parent: Ino,
        /// Which name.
        name: Vec<u8>,
        /// To which directory.
        to_parent: Ino,
        /// To which name.
        to_name: Vec<u8>,
        /// What becomes of what stands there.
        how: RenameHow,
    },
    /// Set attributes; replies `FsReply::Attr`.
    SetAttr {
        /// Of which inode.
        ino: Ino,
        /// Through which handle, if through one.
        fh: Option<Fh>,
        /// Which.
        set: SetAttr,
        /// The wall clock.
        wall: WallTime,
    },
    /// Set an extended attribute; replies `FsReply::Done`.
    SetXattr {
        /// Of which inode.
        ino: Ino,
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// Whether it may, must or must not be there.
        how: XattrHow,
    },
    /// Remove an extended attribute; replies `FsReply::Done`.
    RemoveXattr {
        /// Of which inode.
        ino: Ino,
        /// Its name.
        name: Vec<u8>,
    },
    /// Write; replies `FsReply::Written` once the bytes survive a kill. The payload is used up,
    /// or dropped by `Action::Drop`.
    Write {
        /// Through which handle.
        fh: Fh,
        /// At which offset, in bytes.
        offset: u64,
        /// Whether it goes to the end of the file, wherever that is by now: `O_APPEND`. A kernel
        /// that has not asked since a peer appended takes an offset for the end that is not it.
        append: bool,
        /// The bytes.
        payload: PayloadId,
        /// How many.
        len: u32,
        /// The wall clock.
        wall: WallTime,
    },
    /// A descriptor of the handle was closed: a publish point; replies `FsReply::Done`.
    Flush {
        /// Which handle.
        fh: Fh,
        /// The wall clock.
        wall: WallTime,
    },
    /// A publish point that survives power loss, name and bytes; replies `FsReply::Done`.
    Sync {
        /// Which handle.
        fh: Fh,
        /// The wall clock.
        wall: WallTime,
    },
    /// What was changed in a directory is to survive power loss; replies `FsReply::Done`.
    SyncDir {
        /// Which inode.
        ino: Ino,
    },
}

/// How something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Making {
    /// Permission bits, the umask applied: at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The wall clock.
    pub wall: WallTime,
}

/// What is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// An empty file, not opened.
    File,
    /// A directory.
    Directory,
    /// A symlink with this target.
    Symlink(Vec<u8>),
}

/// What becomes of what stands at a rename's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameHow {
    /// It is replaced.
    Replace,
    /// It is an error (`RENAME_NOREPLACE`).
    NoReplace,
    /// It goes to where the other came from (`RENAME_EXCHANGE`).
    Exchange,
}

/// Whether an extended attribute may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrHow {
    /// It may.
    Set,
    /// It must not (`XATTR_CREATE`).
    Create,
    /// It must (`XATTR_REPLACE`).
    Replace,
}

/// Attributes that are set; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, at most 0o7777.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length in bytes: cut, or filled up with zeros.
    pub size: Option<u64>,
    /// Modification time.
    pub mtime: Option<WallTime>,
}
