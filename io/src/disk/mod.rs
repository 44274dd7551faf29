//! The disk: the shared folder, the store of objects, the metadata, and the threads that work on
//! them.
//!
//! Law: everything beneath a directory is reached by that directory's handle; what the operating
//! system says becomes a [`DiskError`] in one place, and the operator hears what it was.

pub mod descriptors;
pub mod drafts;
pub mod folder;
pub mod metadata;
pub mod objects;
mod place;
pub mod places;
pub mod pool;
mod reserve;
mod residence;
mod sight;
mod trash;

pub(crate) use residence::is_held;

use std::os::fd::{AsFd, AsRawFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use tandem_core::error::DiskError;
use tandem_core::time::WallTime;

/// Returns what the core is told of an error of the operating system.
pub(crate) fn disk_error(errno: Errno) -> DiskError {
    match errno {
        Errno::NOENT => DiskError::NotFound,
        Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO => {
            DiskError::WrongKind
        }
        Errno::NOSPC | Errno::DQUOT => DiskError::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => DiskError::Denied,
        other => {
            tracing::warn!("the disk says: {other}");
            DiskError::Io
        }
    }
}

/// Returns the wall clock.
pub(crate) fn wall_clock() -> WallTime {
    let nanos = |duration: std::time::Duration| {
        let secs = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        (secs, duration.subsec_nanos())
    };
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => {
            let (secs, nanos) = nanos(since);
            WallTime { secs, nanos }
        }
        // A clock before 1970, which only says that nobody has set it.
        Err(_) => WallTime::default(),
    }
}

/// Returns a time as a file system gave it. Nanoseconds beyond a second, which no file system
/// should give, are cut.
pub(crate) fn wall_time(stamp: StatxTimestamp) -> WallTime {
    WallTime {
        secs: stamp.tv_sec,
        nanos: stamp.tv_nsec.min(999_999_999),
    }
}

/// Returns a time of birth in nanoseconds from 1970, or 0 if the file system has none.
pub(crate) fn born_ns(stat: &rustix::fs::Statx) -> i64 {
    if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return 0;
    }
    stat.stx_btime
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(stat.stx_btime.tv_nsec))
}

/// Returns when what was looked at was last changed.
pub(crate) fn changed_ns(stat: &rustix::fs::Statx) -> i64 {
    let changed = stat.stx_ctime;
    changed
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(changed.tv_nsec))
}

/// Looks at what a descriptor is of.
pub(crate) fn stat(fd: impl AsFd) -> rustix::io::Result<rustix::fs::Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, mask)
}

/// The path by which this process reaches what one of its own descriptors is of, whatever its
/// name has become.
pub(crate) fn own_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens a directory to work beneath it and to sync it.
pub(crate) fn open_directory(path: &std::path::Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Reads up to `len` bytes of a file of `size` bytes, and says how many there were.
pub(crate) fn read_within(
    fd: impl AsFd,
    offset: u64,
    len: u32,
    size: u64,
) -> rustix::io::Result<(Vec<u8>, u32)> {
    let there = size.saturating_sub(offset).min(len.into());
    let bytes = read_at(fd, offset, there)?;
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::OVERFLOW)?;
    Ok((bytes, len))
}

/// Reads until `len` bytes or the end.
pub(crate) fn read_at(fd: impl AsFd, offset: u64, len: u64) -> rustix::io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| Errno::INVAL)?;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        let room = spare_capacity(&mut bytes);
        match rustix::io::pread(&fd, room, at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // An allocator may have given more room than was asked for.
    bytes.truncate(len);
    Ok(bytes)
}
