//! Where a store lives: on which machine, under which boot, in which directory, and in whose
//! hands.
//!
//! Law: two processes never hold one directory, and a copy is never taken for the original.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::disk::metadata::{MetadataError, at};
use crate::disk::{born_ns, stat};

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

/// Takes the lock of a directory, for as long as the file is open in this process.
pub(super) fn lock(dir: &Path) -> Result<File, MetadataError> {
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
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
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
