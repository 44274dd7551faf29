//! Taking a mount away.
//!
//! Law: a mount comes off, whoever uses it; who that is, is said. What holds it is found without
//! touching it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};

use super::point::PointError;
use super::table::mounted;

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
pub(super) fn detach(point: &Path) -> io::Result<()> {
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
