//! What the kernel is shown of a node.
//!
//! Law: sizes, modes and times are the engine's; whose a node is depends on who mounted it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use tandem_core::action::Shown;
use tandem_core::time::WallTime;
use tandem_core::tree::register::Kind;

/// How long the kernel may keep attributes, names and the absence of names. Whatever changes is
/// invalidated at once (see `driver`), so this only bounds what a lost invalidation could cost.
pub(super) const TTL: Duration = Duration::from_secs(3_600);

/// `st_blksize`: what programs take as the size of their buffers. 128 KiB is what the kernel
/// reads ahead and what coreutils use at least; more would make a program that reads a few
/// bytes of many files read far more than it asked for.
const BLOCK_SIZE: u32 = 128 * 1024;

/// The unit of `st_blocks` in bytes, by POSIX.
const ST_BLOCK: u64 = 512;

/// Whose the nodes of a mount are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whoever the folder says: mounted by root.
    AsGiven,
    /// This user and group, for all of them: mounted by a user.
    All {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

impl Owner {
    /// Returns the owner of a mount that this process makes.
    pub fn of_this_process() -> Self {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            Self::AsGiven
        } else {
            Self::All {
                uid: uid.as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }
        }
    }
}

impl Owner {
    /// Returns the owner and group that are to be set, of those that were asked for; `None` if
    /// nobody may set those here.
    pub(super) fn given(
        self,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Option<(Option<u32>, Option<u32>)> {
        match self {
            Self::AsGiven => Some((uid, gid)),
            Self::All { uid: ours, gid: us } => {
                let is_same = uid.is_none_or(|uid| uid == ours) && gid.is_none_or(|gid| gid == us);
                is_same.then_some((None, None))
            }
        }
    }
}

/// Returns the attributes of a node. `st_blocks` is what the whole file would take, so that `du`
/// shows sizes and not what happens to be here.
pub(super) fn attr(shown: &Shown, owner: Owner) -> FileAttr {
    let time = system_time(shown.mtime);
    let (uid, gid) = match owner {
        Owner::AsGiven => (shown.uid, shown.gid),
        Owner::All { uid, gid } => (uid, gid),
    };
    FileAttr {
        ino: INodeNo(shown.ino.0),
        size: shown.size,
        blocks: shown.size.div_ceil(ST_BLOCK),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(shown.kind),
        perm: shown.mode,
        nlink: shown.nlink,
        uid,
        gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Returns what the kernel calls a kind of node.
pub(super) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

/// Returns a wall time as the standard library has it; 1970 if it can't hold it.
fn system_time(wall: WallTime) -> SystemTime {
    let secs = Duration::from_secs(wall.secs.unsigned_abs());
    let whole = if wall.secs < 0 {
        UNIX_EPOCH.checked_sub(secs)
    } else {
        UNIX_EPOCH.checked_add(secs)
    };
    whole
        .and_then(|time| time.checked_add(Duration::from_nanos(wall.nanos.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// Returns a time of the standard library as a wall time.
pub(super) fn wall_time(time: SystemTime) -> WallTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => WallTime {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(error) => {
            let until = error.duration();
            let secs = i64::try_from(until.as_secs()).map_or(i64::MIN, |secs| -secs);
            match until.subsec_nanos() {
                0 => WallTime { secs, nanos: 0 },
                nanos => WallTime {
                    secs: secs.saturating_sub(1),
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_core::ids::Ino;

    #[test]
    fn a_wall_time_comes_back_as_it_went() {
        for (secs, nanos) in [
            (0, 0),
            (7, 1),
            (-2, 250_000_000),
            (-1, 0),
            (-1, 999_999_999),
        ] {
            let wall = WallTime { secs, nanos };
            assert_eq!(wall_time(system_time(wall)), wall);
        }
    }

    #[test]
    fn an_owner_is_set_as_given_or_stays() {
        let theirs = Owner::All { uid: 5, gid: 6 };
        assert_eq!(theirs.given(Some(5), Some(6)), Some((None, None)));
        assert_eq!(theirs.given(Some(0), None), None);
        assert_eq!(theirs.given(None, Some(5)), None);
        let root = Owner::AsGiven;
        assert_eq!(root.given(Some(1), None), Some((Some(1), None)));
    }

    fn shown() -> Shown {
        Shown {
            ino: Ino(7),
            kind: Kind::File,
            mode: 0o640,
            uid: 12,
            gid: 34,
            nlink: 1,
            size: 1_025,
            mtime: WallTime {
                secs: -2,
                nanos: 250_000_000,
            },
        }
    }

    #[test]
    fn a_time_before_1970_keeps_its_nanoseconds() {
        let attr = attr(&shown(), Owner::AsGiven);
        assert_eq!(
            UNIX_EPOCH.duration_since(attr.mtime).unwrap(),
            Duration::from_millis(1_750)
        );
    }

    #[test]
    fn a_users_mount_shows_everything_as_theirs_and_whole_blocks() {
        let attr = attr(&shown(), Owner::All { uid: 5, gid: 6 });
        assert_eq!((attr.uid, attr.gid), (5, 6));
        assert_eq!(attr.blocks, 3);
    }
}
