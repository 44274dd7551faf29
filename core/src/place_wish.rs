//! What is done to the plain files of a shared folder, so that they become what the tree wants.
//!
//! Law: each wish is a compare-and-swap. It names what is expected to stand there; if something
//! else does, everything is left, or put back, as it was, and the wish fails with
//! [`crate::error::DiskError::Changed`]. Nothing is ever put over a name that is not the one
//! expected, and what is replaced goes to the trash. No byte of a file under a user's name is
//! written here: a file is made whole beside the folder, and renamed into it.

use alloc::vec::Vec;

use crate::event::Fingerprint;
use crate::ids::{NodeId, ObjectId};
use crate::time::WallTime;
use crate::tree::name::{Name, TargetPath};
use crate::tree::register::Xattrs;

/// Where something lies: in the shared folder, or in or below what was taken out of the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whereabouts {
    /// Below what lies out of the way (`.tandem/parked/NODE`), if set; else below the folder.
    pub parked: Option<NodeId>,
    /// Names from there.
    pub names: Vec<Name>,
    /// Which directory it stands in: if another stands there by now, the wish fails.
    pub parent: Option<FileKey>,
}

/// Which file on its file system: inode number and birth time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct FileKey {
    /// The inode number.
    pub ino: u64,
    /// Birth time in nanoseconds from 1970, 0 where there is none.
    pub born_ns: i64,
}

impl From<&Fingerprint> for FileKey {
    fn from(print: &Fingerprint) -> Self {
        Self {
            ino: print.ino,
            born_ns: print.born_ns,
        }
    }
}

/// What something is to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dress {
    /// Permission bits, without set-id: at most 0o1777.
    pub mode: u16,
    /// Owner and group, where they are to be set.
    pub owner: Option<(u32, u32)>,
    /// Modification time, where it is to be set.
    pub mtime: Option<WallTime>,
    /// Extended attributes: these and no others of the `user.` namespace. Those that the file
    /// system does not take are left out.
    pub xattrs: Xattrs,
}

/// An object that is whole, to be made ready for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which: its data lies in `partial/`. An empty one is made by this.
    pub object: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// What it is to look like.
    pub dress: Dress,
}

/// What is to be done in the shared folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceWish {
    /// Dress objects that are whole, and sync their data: after it a power loss takes nothing of
    /// them. Brings `DiskDone::Prepared`.
    Prepare {
        /// Which.
        files: Vec<Ready>,
    },
    /// Move an object's data to a name. Brings `DiskDone::Looked`.
    ///
    /// Done again after a kill, it goes on from wherever it was: what bears `key` is the file.
    Put {
        /// Whose data.
        object: ObjectId,
        /// Which file that is.
        key: FileKey,
        /// To where.
        to: Whereabouts,
        /// What stands there, which goes to the trash; nothing, if not set.
        over: Option<Fingerprint>,
    },
    /// Make a directory. Brings `DiskDone::Looked`.
    MakeDirectory {
        /// Where.
        at: Whereabouts,
        /// What it is to look like.
        dress: Dress,
    },
    /// Make a symlink. Brings `DiskDone::Looked`.
    MakeSymlink {
        /// Where.
        at: Whereabouts,
        /// Where it points.
        target: TargetPath,
        /// Its modification time.
        mtime: WallTime,
        /// What stands there, which goes to the trash; nothing, if not set.
        over: Option<Fingerprint>,
    },
    /// Give a file a further name where nothing stands. Brings `DiskDone::Looked`.
    Link {
        /// One of its names.
        from: Whereabouts,
        /// Which file that is.
        key: FileKey,
        /// Its fingerprint, change time included: what is done to it here moves that, and with it
        /// what a program left there goes unseen. Any, if not set.
        expect: Option<Fingerprint>,
        /// The further one.
        to: Whereabouts,
    },
    /// Move a name to where nothing stands. Brings `DiskDone::Looked`, of the new name.
    Move {
        /// From where.
        from: Whereabouts,
        /// Which file or directory that is.
        key: FileKey,
        /// A file's fingerprint, as of a link.
        expect: Option<Fingerprint>,
        /// To where.
        to: Whereabouts,
    },
    /// Move a name of a file or symlink to the trash; where it has further ones, remove it. Brings
    /// `DiskDone::Looked`, of what it was a name of where there are further ones, else of nothing.
    Trash {
        /// Which name.
        at: Whereabouts,
        /// What stands there.
        expect: Fingerprint,
    },
    /// Remove an empty directory. Brings `DiskDone::Done`.
    RemoveDirectory {
        /// Which.
        at: Whereabouts,
        /// Which directory that is.
        key: FileKey,
    },
    /// Change what something looks like. Brings `DiskDone::Looked`.
    Dress {
        /// Where it is.
        at: Whereabouts,
        /// What stands there. Its change time counts: a program that sets the other time back leaves
        /// its trace there alone. Of a directory only which one it is.
        expect: Fingerprint,
        /// What it is to look like.
        dress: Dress,
    },
    /// Look at what may lie out of the way. Brings `DiskDone::Looked`.
    Look {
        /// Where.
        at: Whereabouts,
    },
    /// List a directory that lies out of the way, or below what does. Brings `DiskDone::Listed`.
    List {
        /// Where.
        at: Whereabouts,
    },
    /// Have all that was done so far survive power loss. Brings `DiskDone::Done`.
    Harden,
}
