//! Mount points: where a mount may be made, what stands there, and how it is cleared.
//!
//! Law: nothing here touches a path that a mount of ours covers (that could wait for a daemon
//! that is gone, or for ourselves): what is mounted is read from the kernel's table. A mount is
//! cleared only if it is Tandem's and nobody serves it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::release::detach;
use super::table::mounted;

/// Why a mount can't be made, kept or ended.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// The path can't be made absolute.
    #[error("can't use {path} as a mount point: {why}; name a directory that can be reached", path = .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The directory is missing and can't be made.
    #[error("can't make the mount point {path}: {why}; make it yourself or choose another", path = .path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It is no directory.
    #[error("can't mount at {path}: it is not a directory; choose an empty or missing one", path = .path.display())]
    NotDirectory {
        /// Which.
        path: PathBuf,
    },
    /// It has something in it.
    #[error("can't mount at {path}: it is not empty, and the mount would hide what is in it; choose an empty or missing directory", path = .path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// Something is mounted there.
    #[error("can't mount at {path}: it is busy, {what} is mounted there; unmount it (umount {path}) or choose another directory", path = .path.display())]
    Busy {
        /// Which.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// A running Tandem serves it.
    #[error("can't mount at {path}: it is busy, a running tandem serves it; stop that first (tandem stop {path})", path = .path.display())]
    Served {
        /// Which.
        path: PathBuf,
    },
    /// A stale mount of ours that can't be cleared.
    #[error("can't clear the stale mount at {path}: {why}; clear it as root (umount -l {path})", path = .path.display())]
    Stale {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It lies where it must not.
    #[error("can't use {path}: it lies inside {other}, {what}; choose a directory outside of it", path = .path.display(), other = .other.display())]
    Inside {
        /// What was asked for.
        path: PathBuf,
        /// In what it lies.
        other: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// It contains what it must not.
    #[error("can't use {path}: {other} lies inside it, {what}; choose another directory", path = .path.display(), other = .other.display())]
    Contains {
        /// What was asked for.
        path: PathBuf,
        /// What lies in it.
        other: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// The kernel has no FUSE here.
    #[error(
        "can't mount: {why} (/dev/fuse); load it (modprobe fuse), or give the container the device (--device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    NoFuse {
        /// Why.
        why: io::Error,
    },
    /// This user may not use FUSE.
    #[error(
        "can't mount: this user may not open /dev/fuse; let an administrator allow it (chmod 666 /dev/fuse) or run as root"
    )]
    NoFuseForUser,
    /// A user needs the helper.
    #[error(
        "can't mount as a user: fusermount3 is not there; install it (apt install fuse3) or run as root"
    )]
    NoHelper,
    /// The kernel, or the helper, refused.
    #[error("can't mount at {path}: {why}; mounting needs root (in a container, CAP_SYS_ADMIN) or fusermount3 (apt install fuse3)", path = .path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The table of mounts can't be read.
    #[error("can't read the table of mounts (/proc/self/mountinfo): {0}; mount /proc")]
    Table(io::Error),
    /// It can't be unmounted.
    #[error("can't unmount {path}: {why}; unmount it as root (umount -l {path})", path = .path.display())]
    Unmount {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// Returns the absolute path of `path` without touching what stands there, so that a mount whose
/// daemon is gone can be named too. Its parent must exist if `path` does.
///
/// # Errors
/// When the working directory is gone, or the path ends in `..` and can't be resolved.
pub fn place(path: &Path) -> Result<PathBuf, PointError> {
    let wrong = |why| PointError::Path {
        path: path.to_owned(),
        why,
    };
    let whole = std::path::absolute(path).map_err(wrong)?;
    if whole.components().any(|part| part == Component::ParentDir) {
        return whole.canonicalize().map_err(wrong);
    }
    // A link at the end leads to the place; reading it asks no file system for attributes.
    if let Ok(target) = fs::read_link(&whole) {
        let parent = whole.parent().unwrap_or(Path::new("/"));
        return parent.join(target).canonicalize().map_err(wrong);
    }
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Ok(whole);
    };
    // The nearest parent that exists is made canonical; what is missing is kept as it is.
    for (above, ancestor) in parent.ancestors().enumerate() {
        if let Ok(real) = ancestor.canonicalize() {
            let missing: PathBuf = parent
                .components()
                .skip(parent.components().count() - above)
                .collect();
            return Ok(real.join(missing).join(name));
        }
    }
    Ok(whole)
}

/// Makes `point` ready to be mounted at: clears a stale mount of ours, makes a missing directory.
/// `served` tells whether a running Tandem serves the mount there, if that is known.
///
/// # Errors
/// When something else is there, or nothing can be mounted on this machine.
pub fn prepare(point: &Path, served: impl Fn(&Path) -> Option<bool>) -> Result<(), PointError> {
    check_fuse()?;
    clear(point, served)?;
    let path = point.to_owned();
    match fs::symlink_metadata(point) {
        Ok(found) if !found.is_dir() => return Err(PointError::NotDirectory { path }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(point).map_err(|why| PointError::Make { path, why })?;
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(PointError::NotDirectory { path });
        }
        Err(why) => return Err(PointError::Path { path, why }),
    }
    let mut items = fs::read_dir(point).map_err(|why| PointError::Path {
        path: path.clone(),
        why,
    })?;
    match items.next() {
        None => Ok(()),
        Some(_) => Err(PointError::NotEmpty { path }),
    }
}

/// Clears the stale mounts of ours at `point`; `served` as for [`prepare`].
///
/// # Errors
/// When something else is mounted there, or it is not stale, or can't be cleared.
pub fn clear(point: &Path, served: impl Fn(&Path) -> Option<bool>) -> Result<(), PointError> {
    while let Some(there) = mounted()?.into_iter().rfind(|line| line.point == point) {
        let path = point.to_owned();
        if !there.is_ours() {
            let what = format!("{} ({})", there.source.display(), there.kind.display());
            return Err(PointError::Busy { path, what });
        }
        if served(point).unwrap_or_else(|| answers(point)) {
            return Err(PointError::Served { path });
        }
        detach(point).map_err(|why| PointError::Stale { path, why })?;
        tracing::warn!(
            "cleared the stale mount at {}: its tandem is gone",
            point.display()
        );
    }
    Ok(())
}

/// Refuses `path` if it lies inside a mount of ours.
///
/// # Errors
/// See [`PointError::Inside`].
pub fn refuse_inside_mount(path: &Path) -> Result<(), PointError> {
    match mounted()?
        .into_iter()
        .find(|line| line.is_ours() && path.starts_with(&line.point))
    {
        None => Ok(()),
        Some(line) => Err(PointError::Inside {
            path: path.to_owned(),
            other: line.point,
            what: "a mount of tandem's",
        }),
    }
}

/// Refuses the folder `path` if a mount of ours lies inside it.
///
/// # Errors
/// See [`PointError::Contains`].
pub fn refuse_around_mount(path: &Path) -> Result<(), PointError> {
    match mounted()?
        .into_iter()
        .find(|line| line.is_ours() && line.point.starts_with(path))
    {
        None => Ok(()),
        Some(line) => Err(PointError::Contains {
            path: path.to_owned(),
            other: line.point,
            what: "a mount of tandem's",
        }),
    }
}

/// Tells whether somebody answers for the mount at `point`. A mount whose daemon is gone says
/// `ENOTCONN` at once.
fn answers(point: &Path) -> bool {
    match fs::metadata(point) {
        Ok(_) => true,
        Err(error) => {
            error.raw_os_error() != Some(rustix::io::Errno::NOTCONN.raw_os_error())
                && error.raw_os_error() != Some(rustix::io::Errno::CONNABORTED.raw_os_error())
        }
    }
}

/// Checks that this machine can mount.
fn check_fuse() -> Result<(), PointError> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(|why| {
            if why.kind() == io::ErrorKind::PermissionDenied {
                PointError::NoFuseForUser
            } else {
                PointError::NoFuse { why }
            }
        })?;
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .any(|directory| directory.join("fusermount3").exists())
        .then_some(())
        .ok_or(PointError::NoHelper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_what_is_missing_and_resolves_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap();
        fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("link")).unwrap();
        assert_eq!(place(&real.join("link/x/y")).unwrap(), real.join("a/x/y"));
        assert_eq!(place(&real.join("link")).unwrap(), real.join("a"));
        assert_eq!(place(&real.join("a/../a")).unwrap(), real.join("a"));
    }

    #[test]
    fn a_point_that_is_a_file_or_not_empty_is_refused() {
        if !Path::new("/dev/fuse").exists() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(
            prepare(&file, |_| None),
            Err(PointError::NotDirectory { .. })
        ));
        assert!(matches!(
            prepare(&file.join("below"), |_| None),
            Err(PointError::NotDirectory { .. })
        ));
        assert!(matches!(
            prepare(home.path(), |_| None),
            Err(PointError::NotEmpty { .. })
        ));
        let missing = home.path().join("x/y");
        prepare(&missing, |_| None).unwrap();
        assert!(missing.is_dir());
    }
}
