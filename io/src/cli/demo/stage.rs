//! The directory of one demo: made, known again by others, removed.
//!
//! Law: a directory is removed only if a demo of this user made it and no process of that demo
//! lives. All of them hold the lock in it, which the kernel takes from each at its end, whatever
//! ended it; where there is no lock, it is not ours. What anybody else serves, has mounted or was
//! asked to share in it stays.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use tandem_core::rng::Rng;

use super::super::CliError;
use super::super::say::Say;
use super::LARGE;
use crate::disk;
use crate::mount::{point, table};
use crate::node::home::Home;

/// What each demo's directory is called, with the number of its process and one more.
const PREFIX: &str = "tandem-demo-";

/// The file in it that says that its demo lives.
const LOCK: &str = "lock";

/// The folder that a demo makes, where the other peer keeps what it fetched, and its mount.
const FOLDER: &str = "folder";
const STORE: &str = "store";
const MOUNT: &str = "mnt";

/// The directory of one demo, removed at its end.
#[derive(Debug)]
pub(super) struct Stage {
    dir: PathBuf,
    /// Held by this process, and by the peers, which inherit it.
    _lock: File,
}

impl Stage {
    /// Makes one, beside those of other demos.
    pub(super) fn make() -> Result<Self, CliError> {
        let base = base()?;
        for number in 0..1_000_u32 {
            let dir = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(making(error)),
            }
            if let Some(lock) = begin(&dir).map_err(making)? {
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(making(io::ErrorKind::AlreadyExists.into()))
    }

    /// Returns a path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns where the other peer keeps what it fetched.
    pub(super) fn store(&self) -> PathBuf {
        self.path(STORE)
    }

    /// Returns where the folder is mounted.
    pub(super) fn mount(&self) -> PathBuf {
        self.path(MOUNT)
    }

    /// Makes a small tree with something of everything.
    pub(super) fn make_folder(&self) -> io::Result<PathBuf> {
        let folder = self.path(FOLDER);
        fs::create_dir(&folder)?;
        fs::write(
            folder.join("README.txt"),
            "This folder is shared by a demo of Tandem.\n",
        )?;
        fs::write(folder.join("empty"), "")?;
        let poems = folder.join("poems");
        fs::create_dir(&poems)?;
        for (name, line) in [
            ("spring ☘.txt", "An old silent pond\n"),
            ("autumn.txt", "A crow has settled on a bare branch\n"),
        ] {
            fs::write(poems.join(name), line)?;
        }
        std::os::unix::fs::symlink("poems/autumn.txt", folder.join("latest"))?;
        let mut large = io::BufWriter::new(File::create(folder.join("large.bin"))?);
        let mut rng = Rng::new(LARGE);
        for _ in 0..LARGE / 8 {
            large.write_all(&rng.next_u64().to_le_bytes())?;
        }
        large.flush()?;
        Ok(folder)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !remove(&self.dir) {
            Say.note(format_args!(
                "note: {} could not be removed; remove it by hand",
                self.dir.display()
            ));
        }
    }
}

/// Removes what demos left that were killed, but for one in which `given`, the folder to share,
/// lies.
pub(super) fn sweep(given: Option<&Path>, say: &Say) {
    let Ok(base) = base() else {
        return;
    };
    let Ok(items) = fs::read_dir(&base) else {
        return;
    };
    for item in items.flatten() {
        let is_named = item
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        let dir = item.path();
        if !is_named || given.is_some_and(|given| given.starts_with(&dir)) {
            continue;
        }
        // Held to the end: the next demo may be looking at the same.
        let Some(_lock) = abandoned(&dir) else {
            continue;
        };
        let mnt = dir.join(MOUNT);
        // Its peer is gone, so whatever of ours is mounted there and answers is somebody else's.
        let _ = point::clear(&mnt, |_| None);
        if remove(&dir) {
            say.note(format_args!(
                "removed {}, which a demo left that was killed",
                dir.display()
            ));
        }
    }
}

/// Takes the lock of a directory that a demo of this user's made, if none of its processes has it
/// and nobody else serves what is in it.
fn abandoned(dir: &Path) -> Option<File> {
    let found = fs::symlink_metadata(dir).ok()?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let follow_nothing = i32::try_from(OFlags::NOFOLLOW.bits()).ok()?;
    let lock = File::options()
        .read(true)
        .custom_flags(follow_nothing)
        .open(dir.join(LOCK))
        .ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    let is_served = |holder: &str| disk::is_held(Home::of(&dir.join(holder)).dir());
    (!is_served(FOLDER) && !is_served(STORE)).then_some(lock)
}

/// Makes and takes the lock of a new directory; `None` if somebody took the directory for an
/// abandoned one in the moment between.
fn begin(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LOCK);
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let lock = match made {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        made => made?,
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
        || lock.metadata()?.nlink() == 0
    {
        return Ok(None);
    }
    fcntl_setfd(&lock, FdFlags::empty())?;
    Ok(Some(lock))
}

/// Removes a directory, unless something is mounted below it; returns whether it is gone.
fn remove(dir: &Path) -> bool {
    // Never into a mount that did not come off.
    let is_free = table::mounted()
        .is_ok_and(|mounted| !mounted.iter().any(|line| line.point.starts_with(dir)));
    is_free && fs::remove_dir_all(dir).is_ok()
}

/// Returns where the directories of demos lie.
fn base() -> Result<PathBuf, CliError> {
    std::env::temp_dir().canonicalize().map_err(making)
}

/// Says why the files of a demo can't be made.
pub(super) fn making(why: io::Error) -> CliError {
    CliError::Said(format!(
        "can't make the demo's files in {}: {why}; make room there, or set TMPDIR",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes what a demo makes first, and ends like one that was killed.
    fn left(base: &Path, name: &str) -> PathBuf {
        let dir = base.join(name);
        fs::create_dir(&dir).unwrap();
        assert!(begin(&dir).unwrap().is_some());
        dir
    }

    #[test]
    fn one_whose_processes_are_gone_is_abandoned_and_no_other() {
        let base = tempfile::tempdir().unwrap();
        let dir = left(base.path(), "tandem-demo-1-0");
        assert!(abandoned(&dir).is_some());

        let dir = base.path().join("tandem-demo-2-0");
        fs::create_dir(&dir).unwrap();
        let lock = begin(&dir).unwrap().unwrap();
        assert!(abandoned(&dir).is_none(), "its demo lives");
        // A peer that inherited it holds it too.
        let mut peer = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        drop(lock);
        assert!(abandoned(&dir).is_none(), "its peer lives");
        drop(peer.stdin.take());
        peer.wait().unwrap();
        assert!(abandoned(&dir).is_some());
    }

    #[test]
    fn what_a_demo_did_not_make_is_not_abandoned() {
        let base = tempfile::tempdir().unwrap();
        let plain = base.path().join("tandem-demo-1-0");
        fs::create_dir(&plain).unwrap();
        assert!(abandoned(&plain).is_none(), "it has no lock");
        let dir = left(base.path(), "tandem-demo-2-0");
        let link = base.path().join("tandem-demo-3-0");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        assert!(abandoned(&link).is_none(), "it is a link");
        // Somebody shares the folder of a demo that was killed.
        let home = Home::of(&dir.join(FOLDER));
        fs::create_dir_all(home.dir()).unwrap();
        let served = disk::metadata::Metadata::open(home.dir(), disk::wall_clock()).unwrap();
        assert!(abandoned(&dir).is_none(), "it is served");
        drop(served);
        assert!(abandoned(&dir).is_some());
    }
}
