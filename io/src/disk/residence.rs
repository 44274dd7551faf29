//! Where a store lives: on which machine, under which boot, in which directory, and in whose
//! hands.
//!
//! Law: two processes never hold one directory, and a copy, or an older one of itself, is never
//! taken for the original.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::disk::metadata::{MetadataError, at};
use crate::disk::{born_ns, changed_ns, stat};

/// The file that is locked.
const LOCK: &str = "lock";

/// Where and under which boot a store is opened.
#[derive(Debug)]
pub(super) struct Residence {
    /// Which boot of the machine; empty where that is not told.
    pub(super) boot: Vec<u8>,
    machine: Vec<u8>,
    /// Inode and birth of the directory that holds the store.
    dir: (u64, i64),
}

impl Residence {
    /// Returns where `dir` is, under this boot.
    pub(super) fn of(dir: &Path) -> Result<Self, MetadataError> {
        Ok(Self {
            // Where it can't be read, any boot may be another one.
            boot: fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            // A container may have none: then inode and birth have to tell.
            machine: fs::read("/etc/machine-id").unwrap_or_default(),
            dir: identity(dir)?,
        })
    }

    /// Returns what tells this place from that of a copy, as it is stored: another machine's,
    /// another directory, or another file.
    pub(super) fn stored(&self, file: &Path) -> Result<Vec<u8>, MetadataError> {
        let (file_ino, file_born) = identity(file)?;
        let mut bytes = Vec::new();
        for number in [self.dir.0, file_ino] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.dir.1, file_born] {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        bytes.extend_from_slice(&self.machine);
        Ok(bytes)
    }
}

/// Returns a file's inode number and birth.
fn identity(path: &Path) -> Result<(u64, i64), MetadataError> {
    let file = File::open(path).map_err(|why| at(path, why))?;
    let stat = stat(&file).map_err(|why| at(path, why.into()))?;
    Ok((stat.stx_ino, born_ns(&stat)))
}

/// A directory that this process holds, until it is dropped.
///
/// When its file was last changed is a mark that no backup brings back: neither one of all that is
/// here, which changes it anew, nor one of the store alone, which knows of an earlier one.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// The mark that it has.
    pub(super) mark: i64,
}

impl Lock {
    /// Writes down who holds it, and so sets another mark, for the beginning.
    ///
    /// A store notes before that it will, and after that which mark it got: a kill between the two
    /// is no older store.
    pub(super) fn sign(&mut self) -> Result<i64, MetadataError> {
        self.write(&format!("{}\n", std::process::id()))
    }

    /// Sets another mark, for the end: what was copied meanwhile has that of the beginning.
    pub(super) fn sign_off(&mut self) -> Result<i64, MetadataError> {
        self.write("")
    }

    fn write(&mut self, text: &str) -> Result<i64, MetadataError> {
        let failed = |why| at(&self.path, why);
        self.file.set_len(0).map_err(failed)?;
        self.file.rewind().map_err(failed)?;
        self.file.write_all(text.as_bytes()).map_err(failed)?;
        self.mark = mark_of(&self.file).map_err(failed)?;
        Ok(self.mark)
    }
}

/// Returns when a file was last changed, for good.
fn mark_of(file: &File) -> io::Result<i64> {
    file.sync_all()?;
    Ok(changed_ns(&stat(file)?))
}

/// Takes the lock of a directory, and leaves its mark as it is found.
pub(super) fn lock(dir: &Path) -> Result<Lock, MetadataError> {
    let path = dir.join(LOCK);
    let failed = |why| at(&path, why);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match lock_in_time(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Twenty digits hold any number; what is not read is not shown.
            let read = (&mut file).take(20).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = read.is_ok() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
            return Err(MetadataError::Busy {
                dir: dir.to_owned(),
                pid: if known {
                    pid.to_owned()
                } else {
                    "?".to_owned()
                },
            });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let found = stat(&file).map_err(|errno| failed(errno.into()))?;
    Ok(Lock {
        file,
        mark: changed_ns(&found),
        path,
    })
}

/// Tells whether a process holds a directory, at this moment.
pub(crate) fn is_held(dir: &Path) -> bool {
    // It is opened for reading: looking makes nothing.
    File::open(dir.join(LOCK)).is_ok_and(|file| {
        let taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        taken == Err(Errno::WOULDBLOCK)
    })
}

/// Takes a lock, and waits for a moment where another holds it: one that was killed holds it
/// until the kernel has cleared up after it, and a child that is being started does for as long
/// as it is a copy of us.
fn lock_in_time(file: &File) -> Result<(), Errno> {
    const PAUSE: Duration = Duration::from_millis(50);
    const PAUSES: u32 = 40;
    for _ in 0..PAUSES {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}
