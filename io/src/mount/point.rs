//! Mount points: where a mount may be made, what stands there, and how it is cleared.
//!
//! Law: nothing here touches a path that a mount of ours covers (that could wait for a daemon
//! that is gone, or for ourselves): what is mounted is read from the kernel's table. A mount is
//! cleared only if it is Tandem's and nobody serves it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};

/// The source of our mounts, as `mount` and `df` show it.
pub(super) const SOURCE: &str = "tandem";

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

/// A line of the kernel's table of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: OsString,
    /// From what, as the mounter named it.
    pub source: OsString,
}

impl Mounted {
    /// Tells whether it is a mount of Tandem's.
    pub fn is_ours(&self) -> bool {
        let fuse = self.kind == "fuse" || self.kind == "fuse.tandem";
        fuse && self.source == SOURCE
    }
}

/// Returns what is mounted in this process's view, later mounts after those that they cover.
///
/// # Errors
/// When `/proc/self/mountinfo` can't be read.
pub fn mounted() -> Result<Vec<Mounted>, PointError> {
    let table = fs::read("/proc/self/mountinfo").map_err(PointError::Table)?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect())
}

/// Reads a line by proc(5): `36 35 98:0 /root /point options fields - type source super`.
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|&byte| byte == b' ');
    let point = words.nth(4)?;
    let mut rest = words.skip_while(|&word| word != b"-").skip(1);
    let kind = rest.next()?;
    let source = rest.next()?;
    Some(Mounted {
        point: PathBuf::from(unescape(point)),
        kind: unescape(kind),
        source: unescape(source),
    })
}

/// Undoes the kernel's octal escapes of blanks and backslashes (`\040`).
fn unescape(word: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0_u8, |value, digit| {
                let digit = digit.checked_sub(b'0').filter(|&digit| digit < 8)?;
                value.checked_mul(8)?.checked_add(digit)
            })
        };
        match (byte, tail.split_at_checked(3)) {
            (b'\\', Some((digits, after))) if octal(digits).is_some() => {
                bytes.extend(octal(digits));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    OsString::from_vec(bytes)
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

/// Unmounts `point`: politely first; if programs hold it, says who, and takes it away from them.
///
/// # Errors
/// When neither works.
pub(super) fn release(point: &Path) -> Result<Released, PointError> {
    let there = mounted()?;
    if !there
        .iter()
        .any(|line| line.point == point && line.is_ours())
    {
        return Ok(Released::Whole);
    }
    let polite = unmount(point, UnmountFlags::NOFOLLOW).map_err(io::Error::from);
    let polite = match polite {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            helper(point, &["-u", "-q"])
        }
        other => other,
    };
    if polite.is_ok() {
        return Ok(Released::Whole);
    }
    let holders = holders(point);
    let holders = if holders.is_empty() {
        "a program that can't be seen".to_owned()
    } else {
        holders.join(", ")
    };
    tracing::warn!(
        "{} is still used by {holders}; it is detached, and their files there are gone",
        point.display()
    );
    detach(point).map_err(|why| PointError::Unmount {
        path: point.to_owned(),
        why,
    })?;
    Ok(Released::Detached)
}

/// How a mount came off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// The kernel has let go of it.
    Whole,
    /// It is out of the tree; programs hold its files until they, or this process, end.
    Detached,
}

/// Takes the mount out of the tree, whoever uses it.
fn detach(point: &Path) -> io::Result<()> {
    match unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => helper(point, &["-u", "-q", "-z"]),
        Err(error) => Err(error.into()),
    }
}

/// Runs `fusermount3`, which may unmount what its user mounted.
fn helper(point: &Path, flags: &[&str]) -> io::Result<()> {
    let done = Command::new("fusermount3")
        .args(flags)
        .arg("--")
        .arg(point)
        .stdin(Stdio::null())
        .output()?;
    if done.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&done.stderr);
        Err(io::Error::other(said.trim().to_owned()))
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

/// How many holders are named.
const HOLDERS_MAX: usize = 3;

/// Returns who has a file, its program or its working directory below `point`: from `/proc`, as
/// far as this process may look, without touching the mount.
fn holders(point: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let me = std::process::id().to_string();
    processes
        .flatten()
        .filter(|process| {
            let name = process.file_name();
            name.as_bytes().iter().all(u8::is_ascii_digit) && name != OsStr::new(&me)
        })
        .filter(|process| holds(&process.path(), point))
        .take(HOLDERS_MAX)
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} ({})", name.trim(), process.file_name().display())
        })
        .collect()
}

/// Tells whether the process holds something below `point`.
fn holds(process: &Path, point: &Path) -> bool {
    let links = ["cwd", "root", "exe"].map(|name| process.join(name));
    let open = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    links
        .into_iter()
        .chain(open)
        .filter_map(|link| fs::read_link(link).ok())
        .any(|target| target.starts_with(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_with_its_escapes() {
        let line = br"36 35 0:41 / /mnt/my\040mount rw,nosuid shared:1 master:2 - fuse.tandem tandem rw,user_id=0";
        let read = parse_line(line).unwrap();
        assert_eq!(read.point, Path::new("/mnt/my mount"));
        assert!(read.is_ours());
    }

    #[test]
    fn a_line_that_is_cut_is_passed_over() {
        assert_eq!(parse_line(b"36 35 0:41 / /mnt rw -"), None);
        assert_eq!(parse_line(b""), None);
    }

    #[test]
    fn an_escape_that_is_none_stays_as_it_is() {
        assert_eq!(unescape(br"a\9"), OsStr::new(r"a\9"));
        assert_eq!(unescape(br"a\134b"), OsStr::new(r"a\b"));
        assert_eq!(unescape(br"a\777b"), OsStr::new(r"a\777b"));
    }

    #[test]
    fn somebody_elses_mount_is_not_ours() {
        let line = b"36 35 0:41 / /mnt rw - ext4 /dev/sda rw";
        assert!(!parse_line(line).unwrap().is_ours());
    }

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
