//! What a look shows: fingerprints, attributes, and on which file system they were found.
//!
//! Law: everything here is said of one inode, through a handle to it, and opens nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Statx, StatxFlags};
use rustix::io::Errno;
use tandem_core::event::{Fingerprint, Seen, Sighting};
use tandem_core::limits;
use tandem_core::tree::name::XattrName;
use tandem_core::tree::register::Xattrs;

use crate::disk::{born_ns, own_path, wall_time};

/// Which mounted file system something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    device: (u32, u32),
    /// Zero on kernels before 5.8, which don't tell.
    mount: u64,
}

impl FileSystem {
    pub(super) fn of(stat: &Statx) -> Self {
        let told = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            mount: if told { stat.stx_mnt_id } else { 0 },
        }
    }
}

/// Returns what tells this state of a file from another.
pub(super) fn fingerprint(stat: &Statx) -> Fingerprint {
    Fingerprint {
        ino: stat.stx_ino,
        born_ns: born_ns(stat),
        size: stat.stx_size,
        mtime: wall_time(stat.stx_mtime),
        ctime: wall_time(stat.stx_ctime),
    }
}

/// Returns what was seen, of which the attributes are `stat`.
pub(super) fn sighting(stat: &Statx, what: Seen, xattrs: Xattrs) -> Sighting {
    Sighting {
        what,
        print: fingerprint(stat),
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        nlink: stat.stx_nlink,
        xattrs,
    }
}

/// Reads the extended attributes of the `user.` namespace. Those that may not be read, and those
/// that don't fit into [`limits::XATTR_BYTES_MAX`] (taken in the order of their names), are left
/// out.
pub(super) fn xattrs(fd: &OwnedFd) -> rustix::io::Result<Xattrs> {
    // By the handle's own path, for the calls that take a descriptor refuse one that is O_PATH.
    let path = own_path(fd);
    let mut list = Vec::new();
    // The length of nothing is asked first: most files have none.
    match rustix::fs::listxattr_query(path.as_str()) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        Ok(_) => list.reserve(limits::XATTR_BYTES_MAX),
        Err(errno) => return Err(errno),
    }
    rustix::fs::listxattr(path.as_str(), spare_capacity(&mut list))?;
    let mut names: Vec<XattrName> = list
        .split(|&byte| byte == 0)
        .filter_map(|name| XattrName::parse(name).ok())
        .collect();
    names.sort_unstable();

    let mut room = limits::XATTR_BYTES_MAX;
    let mut xattrs = Xattrs::new();
    for name in names {
        let Some(left) = room.checked_sub(name.as_bytes().len()) else {
            continue;
        };
        let mut value = Vec::with_capacity(left.max(1));
        match rustix::fs::getxattr(path.as_str(), name.as_bytes(), spare_capacity(&mut value)) {
            Ok(_) if value.len() <= left => {
                room = left - value.len();
                xattrs.insert(name, Arc::from(value));
            }
            // Too large for what is left; gone since; not ours to read.
            Ok(_) | Err(Errno::RANGE | Errno::NODATA | Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(xattrs)
}
