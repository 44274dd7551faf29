//! What lies in `.tandem/trash`: what peers have deleted or overwritten.
//!
//! Law: a thing is called `SECONDS-NANOSECONDS-NUMBER-NAME` there, so that what a kill left without
//! a record still says when it came, and what it was called. Which thing is meant is told by inode and
//! birth time. What is brought back is a copy, made beside the folder and renamed to where nothing
//! stands: what lies here is not touched by what a program does to the copy, and peers that need
//! something of it go on reading it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Gid, Mode, OFlags, RenameFlags, Statx, Uid};
use rustix::io::Errno;
use tandem_core::action::Besides;
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::place_wish::{Dress, FileKey};
use tandem_core::time::WallTime;
use tandem_core::trash::{Found, TrashWish};
use tandem_core::tree::name::Name;

use crate::disk::folder::{Folder, reopen};
use crate::disk::place::{
    Beside, Spot, dress_file, file_type, key_of, look, open_directory_at, place_error, remove,
    rename, set_mtime,
};
use crate::disk::sight::{fingerprint, xattrs};
use crate::disk::{disk_error, stat, wall_clock, wall_time};
use crate::payload::Payloads;

/// Attempts at a name in the trash that nothing has.
const NAMES_MAX: u32 = 16;

/// How many bytes of a thing's name its name in the trash has, at most: the time goes before them.
const CALLED_LEN_MAX: usize = 200;

/// How the names of copies begin that are on their way out of the trash, in `partial/`.
pub(super) const RESTORED: &[u8] = b"restored-";

/// The trash of a shared folder.
pub(super) struct Trash {
    dir: OwnedFd,
    /// The names of what is there, by which file it is; empty until somebody asks.
    names: Mutex<BTreeMap<FileKey, OsString>>,
}

impl Trash {
    /// Is the trash in this directory.
    pub(super) fn of(dir: OwnedFd) -> Self {
        let names = Mutex::default();
        Self { dir, names }
    }

    /// Returns a name in the trash.
    pub(super) fn spot(&self, name: OsString) -> Result<Spot, DiskError> {
        let dir = open_directory_at(&self.dir, ".").map_err(disk_error)?;
        Ok(Spot { dir, name })
    }

    /// Moves a name to the trash, where it bears the name that it had in the folder, behind the
    /// time and a number that was drawn; returns it.
    pub(super) fn throw(
        &self,
        spot: &Spot,
        called: &OsStr,
        mut draw: impl FnMut() -> u64,
    ) -> Result<OsString, Errno> {
        let now = wall_clock();
        for _ in 0..NAMES_MAX {
            let mut name = format!("{:011}-{:09}-{}-", now.secs, now.nanos, draw()).into_bytes();
            name.extend(called.as_bytes().iter().take(CALLED_LEN_MAX));
            let name = OsString::from_vec(name);
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&spot.dir, &spot.name, &self.dir, &name, flags) {
                Err(Errno::EXIST) => {}
                Ok(()) => return Ok(name),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }

    /// Finds a file, and opens it without opening it for anything. What it is called is found by one
    /// look at all of them, and then for each once more only if it has gone.
    fn find(&self, file: FileKey) -> Result<Option<(OsString, OwnedFd)>, DiskError> {
        let named = self.names().get(&file).cloned();
        let found = named.map_or(Ok(None), |name| self.open(name, file))?;
        if found.is_some() {
            return Ok(found);
        }
        let all = self.all()?;
        let listed = all.into_iter().map(|(name, stat)| (key_of(&stat), name));
        let listed: BTreeMap<FileKey, OsString> = listed.collect();
        let named = listed.get(&file).cloned();
        *self.names() = listed;
        named.map_or(Ok(None), |name| self.open(name, file))
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<FileKey, OsString>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(
        &self,
        name: OsString,
        file: FileKey,
    ) -> Result<Option<(OsString, OwnedFd)>, DiskError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, &name, flags, Mode::empty()) {
            Ok(fd) if key_of(&stat(&fd).map_err(disk_error)?) == file => Ok(Some((name, fd))),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(disk_error(errno)),
        }
    }

    /// Returns all files and symlinks that lie there.
    fn all(&self) -> Result<Vec<(OsString, Statx)>, DiskError> {
        let mut all = Vec::new();
        let dir = rustix::fs::Dir::read_from(&self.dir).map_err(disk_error)?;
        let mut spot = self.spot(OsString::new())?;
        for item in dir {
            let item = item.map_err(disk_error)?;
            spot.name = OsStr::from_bytes(item.file_name().to_bytes()).to_owned();
            if let Some(found) = look(&spot)?
                && matches!(file_type(&found), FileType::RegularFile | FileType::Symlink)
            {
                all.push((spot.name.clone(), found));
            }
        }
        Ok(all)
    }

    fn list(&self) -> Result<DiskDone, DiskError> {
        let wall = wall_clock();
        let all = self.all()?;
        let found = all.iter().map(|(name, stat)| {
            let told = told_by(name.as_bytes());
            let (since, called) = told.unwrap_or((wall_time(stat.stx_ctime), name.as_bytes()));
            Found {
                print: fingerprint(stat),
                name: Name::parse(called).ok(),
                since,
            }
        });
        let found = found.collect();
        let names = all.into_iter().map(|(name, stat)| (key_of(&stat), name));
        *self.names() = names.collect();
        Ok(DiskDone::Trash { found, wall })
    }

    fn remove(&self, files: &[FileKey]) -> Result<DiskDone, DiskError> {
        for file in files {
            if let Some((name, _)) = self.find(*file)? {
                remove(&self.spot(name)?)?;
                self.names().remove(file);
            }
        }
        Ok(DiskDone::Done)
    }
}

/// Returns when a thing came to the trash, and what it was called, as its name there says.
fn told_by(name: &[u8]) -> Option<(WallTime, &[u8])> {
    let mut parts = name.splitn(4, |byte| *byte == b'-');
    let mut number = || std::str::from_utf8(parts.next()?).ok();
    let secs = number()?.parse().ok()?;
    let nanos = number()?
        .parse()
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    let _drawn: u64 = number()?.parse().ok()?;
    Some((WallTime { secs, nanos }, parts.next()?))
}

impl Folder {
    /// Reads a chunk of a file in the trash.
    pub(super) fn read_thrown(
        &self,
        file: FileKey,
        offset: u64,
        len: u32,
        besides: Besides,
        payloads: &Payloads,
    ) -> Result<DiskDone, DiskError> {
        let beside = self.beside().ok_or(DiskError::WrongKind)?;
        let (_, found) = beside.trash.find(file)?.ok_or(DiskError::NotFound)?;
        self.read_from(
            &found,
            offset,
            len,
            (besides, bytes::Bytes::new()),
            payloads,
        )
    }

    /// Carries out a wish that is about the trash.
    pub(super) fn attend_trash(&self, wish: TrashWish) -> Result<DiskDone, DiskError> {
        let beside = self.beside().ok_or(DiskError::WrongKind)?;
        match wish {
            TrashWish::List => beside.trash.list(),
            TrashWish::Remove { files } => beside.trash.remove(&files),
            TrashWish::Restore { file, to } => self.restore(beside, file, &to),
        }
    }

    fn restore(&self, beside: &Beside, file: FileKey, to: &[Name]) -> Result<DiskDone, DiskError> {
        let (name, above) = to.split_last().ok_or(DiskError::WrongKind)?;
        let (_, found) = beside.trash.find(file)?.ok_or(DiskError::NotFound)?;
        let name = OsString::from_vec(name.as_bytes().to_vec());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        // Found out before all of it is copied, where it can be.
        match self.enter(above, flags) {
            Ok(dir) => {
                let name = name.clone();
                if look(&Spot { dir, name })?.is_some() {
                    return Err(DiskError::Exists);
                }
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(disk_error(errno)),
        }
        let copy = Spot {
            dir: open_directory_at(&beside.partial, ".").map_err(disk_error)?,
            name: copy_name(beside.draw()),
        };
        // One that a kill has left.
        remove(&copy)?;
        let placed = copy_of(&found, &copy)
            .and_then(|()| self.make_way(above))
            .and_then(|dir| rename(&copy, &Spot { dir, name }, RenameFlags::NOREPLACE));
        if let Err(why) = placed {
            remove(&copy)?;
            return Err(why);
        }
        rustix::fs::syncfs(&beside.home).map_err(disk_error)?;
        Ok(DiskDone::Done)
    }

    /// Opens a directory of the folder, and makes those on the way that are missing.
    fn make_way(&self, path: &[Name]) -> Result<OwnedFd, DiskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut dir = self.enter(&[], flags).map_err(disk_error)?;
        for (ix, name) in path.iter().enumerate() {
            let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
            match rustix::fs::mkdirat(&dir, name.as_bytes(), mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(disk_error(errno)),
            }
            let way = path.get(..=ix).unwrap_or_default();
            dir = self.enter(way, flags).map_err(disk_error)?;
        }
        Ok(dir)
    }
}

fn copy_name(drawn: u64) -> OsString {
    OsString::from_vec([RESTORED, drawn.to_string().as_bytes()].concat())
}

/// Makes a copy of a file or symlink under a name that nothing has, its permissions, attributes and
/// time included, and syncs it.
fn copy_of(found: &OwnedFd, copy: &Spot) -> Result<(), DiskError> {
    let was = stat(found).map_err(disk_error)?;
    let mtime = wall_time(was.stx_mtime);
    if file_type(&was) == FileType::Symlink {
        let target = rustix::fs::readlinkat(found, c"", Vec::new()).map_err(disk_error)?;
        rustix::fs::symlinkat(target, &copy.dir, &copy.name).map_err(place_error)?;
        return set_mtime(copy, mtime);
    }
    let from = reopen(found, OFlags::NOCTTY).map_err(disk_error)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = rustix::fs::openat(&copy.dir, &copy.name, flags, Mode::RUSR | Mode::WUSR);
    let to = to.map_err(place_error)?;
    let dress = Dress {
        // A set-id bit is not given back, as none is taken from a peer.
        mode: was.stx_mode & 0o1777,
        owner: None,
        mtime: Some(mtime),
        xattrs: xattrs(found).map_err(disk_error)?,
    };
    // Where the file system can, the two share their blocks.
    let to = if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        to
    } else {
        let (mut from, mut to) = (File::from(from), File::from(to));
        std::io::copy(&mut from, &mut to)
            .map_err(|error| Errno::from_io_error(&error).map_or(DiskError::Io, disk_error))?;
        to.into()
    };
    let made = stat(&to).map_err(disk_error)?;
    if (made.stx_uid, made.stx_gid) != (was.stx_uid, was.stx_gid) {
        let (uid, gid) = (Uid::from_raw(was.stx_uid), Gid::from_raw(was.stx_gid));
        // Only root may; whoever else shares the folder owns what is put there.
        let _ = rustix::fs::fchown(&to, Some(uid), Some(gid));
    }
    dress_file(&to, &made, &dress)?;
    set_mtime(copy, mtime)?;
    rustix::fs::fsync(&to).map_err(place_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_trash_says_when_it_came_and_what_it_was_called() {
        let at = |secs, nanos| WallTime { secs, nanos };
        let told = told_by(b"01795428000-000000007-3-a-b.txt");
        assert_eq!(told, Some((at(1_795_428_000, 7), b"a-b.txt".as_slice())));
        for other in ["a.txt", "1-2-a", "1-2-x-a", "1-1000000000-3-a", ""] {
            assert_eq!(told_by(other.as_bytes()), None, "{other}");
        }
    }
}
