//! Changes to the shared folder: each a compare-and-swap, beneath the folder's handle.
//!
//! Law: nothing is written under a user's name; a file is made beside, in `.tandem/`, and renamed
//! into the folder. A rename either finds its target free, or exchanges the two, and what was
//! displaced is compared at once: if it is not what was expected, the two are exchanged back.
//! What goes, goes to the trash. The directory in which something is done is opened first and
//! compared too, so that a directory that was moved meanwhile is not mistaken for another.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Statx, StatxFlags, Timespec};
use rustix::io::Errno;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Sighting};
use tandem_core::ids::{NodeId, ObjectId};
use tandem_core::place_wish::{Dress, FileKey, PlaceWish, Ready, Whereabouts};
use tandem_core::time::WallTime;
use tandem_core::tree::name::TargetPath;

use crate::disk::folder::{Folder, reopen};
use crate::disk::places::object_name;
use crate::disk::sight::{fingerprint, xattrs};
use crate::disk::trash::{RESTORED, Trash};
use crate::disk::{disk_error, open_directory, own_path, stat, wall_clock};

/// What lies beside a shared folder, in its `.tandem`.
pub(super) struct Beside {
    /// The directory itself; also what is synced, being on the folder's file system.
    pub(super) home: OwnedFd,
    /// Objects on their way.
    pub(super) partial: OwnedFd,
    /// What was replaced or deleted.
    pub(super) trash: Trash,
    /// What was taken out of the way.
    parked: OwnedFd,
    /// Numbers for names that are drawn.
    drawn: AtomicU64,
}

/// Files that are synced one by one; of more, the whole file system is synced once. By eye.
const SYNCED_ALONE_MAX: usize = 4;

/// A name of an open directory.
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    pub(super) name: OsString,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl Beside {
    /// Opens what lies in `home`, and makes what is missing.
    pub(super) fn open(home: &Path) -> std::io::Result<Self> {
        let open = |name: &str| -> std::io::Result<OwnedFd> {
            let path = home.join(name);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                Ok(()) | Err(_) => Ok(open_directory(&path)?),
            }
        };
        let partial = open("partial")?;
        // What a kill has left of things that were being brought back.
        for item in std::fs::read_dir(home.join("partial"))? {
            let item = item?;
            if item.file_name().as_bytes().starts_with(RESTORED) {
                std::fs::remove_file(item.path())?;
            }
        }
        Ok(Self {
            partial,
            trash: Trash::of(open("trash")?),
            parked: open("parked")?,
            home: open_directory(home)?,
            drawn: AtomicU64::new(0),
        })
    }

    pub(super) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    /// Moves a name to the trash; returns that which it has there.
    fn throw(&self, spot: &Spot, called: &OsStr) -> Result<OsString, DiskError> {
        let thrown = self.trash.throw(spot, called, || self.draw());
        thrown.map_err(place_error)
    }
}

impl Folder {
    /// Carries out a wish.
    pub(super) fn place(&self, wish: PlaceWish) -> Result<DiskDone, DiskError> {
        let beside = self.beside().ok_or(DiskError::WrongKind)?;
        match wish {
            PlaceWish::Prepare { files } => prepare(beside, &files),
            PlaceWish::Put {
                object,
                key,
                to,
                over,
            } => {
                let to = self.spot(beside, &to)?;
                self.put(beside, object, key, &to, over.as_ref())
            }
            PlaceWish::MakeDirectory { at, dress } => {
                let at = self.spot(beside, &at)?;
                rustix::fs::mkdirat(&at.dir, &at.name, Mode::RWXU).map_err(place_error)?;
                self.dress(&at, &dress)?;
                self.looked_at(&at)
            }
            PlaceWish::MakeSymlink {
                at,
                target,
                mtime,
                over,
            } => {
                let at = self.spot(beside, &at)?;
                self.make_symlink(beside, &at, &target, mtime, over.as_ref())
            }
            PlaceWish::Link {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.spot(beside, &from)?, self.spot(beside, &to)?);
                expect_seen(&from, key, expect.as_ref())?;
                rustix::fs::linkat(&from.dir, &from.name, &to.dir, &to.name, AtFlags::empty())
                    .map_err(place_error)?;
                if expect_key(&to, key).is_err() {
                    // The name had become another's; that one keeps its own.
                    rustix::fs::unlinkat(&to.dir, &to.name, AtFlags::empty())
                        .map_err(place_error)?;
                    return Err(DiskError::Changed);
                }
                self.looked_at(&to)
            }
            PlaceWish::Move {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.spot(beside, &from)?, self.spot(beside, &to)?);
                expect_seen(&from, key, expect.as_ref())?;
                rename(&from, &to, RenameFlags::NOREPLACE)?;
                if expect_key(&to, key).is_err() {
                    rename(&to, &from, RenameFlags::NOREPLACE)?;
                    return Err(DiskError::Changed);
                }
                self.looked_at(&to)
            }
            PlaceWish::Trash { at, expect } => {
                let at = self.spot(beside, &at)?;
                self.throw_away(beside, &at, &expect)
            }
            PlaceWish::RemoveDirectory { at, key } => {
                let at = self.spot(beside, &at)?;
                expect_key(&at, key)?;
                rustix::fs::unlinkat(&at.dir, &at.name, AtFlags::REMOVEDIR).map_err(place_error)?;
                Ok(DiskDone::Done)
            }
            PlaceWish::Dress { at, expect, dress } => {
                let at = self.spot(beside, &at)?;
                let found = look(&at)?.ok_or(DiskError::NotFound)?;
                let is_directory = file_type(&found) == FileType::Directory;
                let is_it = key_of(&found) == FileKey::from(&expect);
                if !is_it || !(is_directory || is_untouched(&found, &expect)) {
                    return Err(DiskError::Changed);
                }
                self.dress(&at, &dress)?;
                self.looked_at(&at)
            }
            PlaceWish::Look { at } => match self.spot(beside, &at) {
                Ok(at) => match look(&at)? {
                    Some(_) => self.looked_at(&at),
                    None => Ok(seen(None)),
                },
                Err(why) => Err(why),
            },
            PlaceWish::List { at } => {
                let at = self.spot(beside, &at)?;
                let dir = open_directory_at(&at.dir, &at.name).map_err(disk_error)?;
                self.list_open(&reopen(&dir, OFlags::DIRECTORY).map_err(disk_error)?)
            }
            PlaceWish::Harden => {
                rustix::fs::syncfs(&beside.home).map_err(disk_error)?;
                Ok(DiskDone::Done)
            }
        }
    }

    /// Opens the directory of a place, and finds that it is the one that was meant.
    fn spot(&self, beside: &Beside, at: &Whereabouts) -> Result<Spot, DiskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let (dir, name) = match (at.parked, at.names.split_last()) {
            (None, None) => (
                self.enter(&[], flags).map_err(disk_error)?,
                OsString::from("."),
            ),
            (None, Some((name, parents))) => (
                self.enter(parents, flags).map_err(disk_error)?,
                OsString::from_vec(name.as_bytes().to_vec()),
            ),
            (Some(node), None) => (
                open_directory_at(&beside.parked, ".").map_err(disk_error)?,
                parked_name(node),
            ),
            (Some(node), Some((name, parents))) => {
                let top =
                    open_directory_at(&beside.parked, parked_name(node)).map_err(disk_error)?;
                (
                    self.enter_from(top.as_fd(), parents, flags)
                        .map_err(disk_error)?,
                    OsString::from_vec(name.as_bytes().to_vec()),
                )
            }
        };
        if let Some(key) = at.parent
            && key_of(&stat(&dir).map_err(disk_error)?) != key
        {
            return Err(DiskError::Changed);
        }
        Ok(Spot { dir, name })
    }

    /// Moves a name to the trash, if what stands there is what was expected.
    fn throw_away(
        &self,
        beside: &Beside,
        at: &Spot,
        expect: &Fingerprint,
    ) -> Result<DiskDone, DiskError> {
        let found = look(at)?.ok_or(DiskError::NotFound)?;
        if !is_untouched(&found, expect) {
            return Err(DiskError::Changed);
        }
        let name = beside.throw(at, &at.name)?;
        let thrown = beside.trash.spot(name)?;
        let there = look(&thrown)?;
        if there.is_none_or(|thrown| !same(&thrown, expect)) {
            rename(&thrown, at, RenameFlags::NOREPLACE)?;
            return Err(DiskError::Changed);
        }
        if there.is_none_or(|thrown| thrown.stx_nlink < 2) {
            return Ok(seen(None));
        }
        // What has further names elsewhere needs none in the trash.
        let mut sighting = self
            .sight_in(&thrown.dir, thrown.name.as_bytes())
            .map_err(disk_error)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(&thrown.dir, &thrown.name, flags, Mode::empty());
        let held = held.map_err(disk_error)?;
        remove(&thrown)?;
        let left = rustix::fs::statx(&held, "", AtFlags::EMPTY_PATH, STAT).map_err(disk_error)?;
        sighting.print = fingerprint(&left);
        sighting.nlink = left.stx_nlink;
        Ok(seen(Some(sighting)))
    }

    fn looked_at(&self, at: &Spot) -> Result<DiskDone, DiskError> {
        let sighting = self
            .sight_in(&at.dir, at.name.as_bytes())
            .map_err(disk_error)?;
        Ok(seen(Some(sighting)))
    }

    fn put(
        &self,
        beside: &Beside,
        object: ObjectId,
        key: FileKey,
        to: &Spot,
        over: Option<&Fingerprint>,
    ) -> Result<DiskDone, DiskError> {
        let from = Spot {
            dir: open_directory_at(&beside.partial, ".").map_err(disk_error)?,
            name: object_name(object).into(),
        };
        let there = look(to)?;
        if there.as_ref().is_some_and(|there| key_of(there) == key) {
            // It was put there before a kill; what it displaced was perhaps not compared.
            if let (Some(over), Some(_)) = (over, look(&from)?) {
                settle_displaced(beside, &from, to, over)?;
            }
            return self.looked_at(to);
        }
        if look(&from)?.is_none_or(|found| key_of(&found) != key) {
            return Err(DiskError::NotFound);
        }
        match over {
            None => rename(&from, to, RenameFlags::NOREPLACE)?,
            Some(over) => exchange(beside, &from, to, there.as_ref(), over)?,
        }
        self.looked_at(to)
    }

    fn make_symlink(
        &self,
        beside: &Beside,
        at: &Spot,
        target: &TargetPath,
        mtime: WallTime,
        over: Option<&Fingerprint>,
    ) -> Result<DiskDone, DiskError> {
        let there = look(at)?;
        if there.is_some() && over.is_none() {
            return Err(DiskError::Exists);
        }
        let from = Spot {
            dir: open_directory_at(&beside.partial, ".").map_err(disk_error)?,
            name: format!("link-{}", beside.draw()).into(),
        };
        // One that a kill has left.
        remove(&from)?;
        rustix::fs::symlinkat(target.as_bytes(), &from.dir, &from.name).map_err(place_error)?;
        set_mtime(&from, mtime)?;
        let placed = match over {
            None => rename(&from, at, RenameFlags::NOREPLACE),
            Some(over) => exchange(beside, &from, at, there.as_ref(), over),
        };
        if let Err(why) = placed {
            remove(&from)?;
            return Err(why);
        }
        self.looked_at(at)
    }

    /// Sets what something looks like, through a handle to it.
    fn dress(&self, at: &Spot, dress: &Dress) -> Result<(), DiskError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&at.dir, &at.name, flags, Mode::empty()).map_err(disk_error)?;
        let found = stat(&fd).map_err(disk_error)?;
        if let Some((uid, gid)) = dress.owner
            && (found.stx_uid, found.stx_gid) != (uid, gid)
        {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(uid),
                rustix::fs::Gid::from_raw(gid),
            );
            rustix::fs::chownat(&fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                .map_err(place_error)?;
        }
        if file_type(&found) != FileType::Symlink {
            dress_file(&fd, &found, dress)?;
        }
        match dress.mtime {
            Some(mtime) => set_mtime(at, mtime),
            None => Ok(()),
        }
    }
}

/// Makes objects ready, and syncs them: one by one if they are few.
fn prepare(beside: &Beside, files: &[Ready]) -> Result<DiskDone, DiskError> {
    let mut done: Vec<Result<(OwnedFd, Sighting), DiskError>> = Vec::new();
    for ready in files {
        done.push(prepare_one(beside, ready));
    }
    if files.len() <= SYNCED_ALONE_MAX {
        for file in &mut done {
            if let Ok((fd, _)) = file
                && let Err(errno) = rustix::fs::fsync(fd)
            {
                *file = Err(place_error(errno));
            }
        }
    } else {
        rustix::fs::syncfs(&beside.home).map_err(place_error)?;
    }
    let done = done.into_iter().map(|file| file.map(|(_, seen)| seen));
    Ok(DiskDone::Prepared(done.collect()))
}

fn prepare_one(beside: &Beside, ready: &Ready) -> Result<(OwnedFd, Sighting), DiskError> {
    let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if ready.size == 0 {
        flags |= OFlags::CREATE;
    }
    let name = object_name(ready.object);
    let fd = rustix::fs::openat(&beside.partial, &name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(place_error)?;
    let found = stat(&fd).map_err(disk_error)?;
    if file_type(&found) != FileType::RegularFile || found.stx_size != ready.size {
        return Err(DiskError::WrongKind);
    }
    dress_file(&fd, &found, &ready.dress)?;
    if let Some(mtime) = ready.dress.mtime {
        let times = times(mtime);
        rustix::fs::futimens(&fd, &times).map_err(place_error)?;
    }
    let found = stat(&fd).map_err(disk_error)?;
    let seen = tandem_core::event::Seen::File;
    let xattrs = xattrs(&fd).map_err(disk_error)?;
    let sighting = crate::disk::sight::sighting(&found, seen, xattrs);
    Ok((fd, sighting))
}

/// Sets permission bits and attributes of a file or directory.
pub(super) fn dress_file(fd: &OwnedFd, found: &Statx, dress: &Dress) -> Result<(), DiskError> {
    let path = own_path(fd);
    if found.stx_mode & 0o7777 != dress.mode {
        let mode = Mode::from_raw_mode(dress.mode.into());
        rustix::fs::chmod(path.as_str(), mode).map_err(place_error)?;
    }
    let held = xattrs(fd).map_err(disk_error)?;
    for name in held.keys().filter(|name| !dress.xattrs.contains_key(*name)) {
        tolerate(rustix::fs::removexattr(path.as_str(), name.as_bytes()))?;
    }
    for (name, value) in &dress.xattrs {
        if held.get(name) != Some(value) {
            let flags = rustix::fs::XattrFlags::empty();
            tolerate(rustix::fs::setxattr(
                path.as_str(),
                name.as_bytes(),
                value,
                flags,
            ))?;
        }
    }
    Ok(())
}

/// An attribute that the file system does not take is left out.
fn tolerate(outcome: rustix::io::Result<()>) -> Result<(), DiskError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(
            errno @ (Errno::OPNOTSUPP
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::NODATA
            | Errno::PERM
            | Errno::NOSPC),
        ) => {
            tracing::debug!("an extended attribute can't be set: {errno}");
            Ok(())
        }
        Err(errno) => Err(place_error(errno)),
    }
}

/// Exchanges a file that was made beside with what stands under a name, if that is what was
/// expected; it goes to the trash.
fn exchange(
    beside: &Beside,
    from: &Spot,
    to: &Spot,
    there: Option<&Statx>,
    over: &Fingerprint,
) -> Result<(), DiskError> {
    // Found out before, where it can be, since nobody then sees the names change places twice.
    if there.is_none_or(|there| !is_untouched(there, over)) {
        return Err(DiskError::Changed);
    }
    rename(from, to, RenameFlags::EXCHANGE)?;
    settle_displaced(beside, from, to, over)
}

/// Compares what was displaced: it goes to the trash, or back.
fn settle_displaced(
    beside: &Beside,
    from: &Spot,
    to: &Spot,
    over: &Fingerprint,
) -> Result<(), DiskError> {
    let displaced = look(from)?.ok_or(DiskError::NotFound)?;
    if !same(&displaced, over) {
        rename(from, to, RenameFlags::EXCHANGE)?;
        return Err(DiskError::Changed);
    }
    let name = beside.throw(from, &to.name)?;
    keep_or_unlink(beside, name)
}

/// What has further names elsewhere needs none in the trash.
fn keep_or_unlink(beside: &Beside, name: OsString) -> Result<(), DiskError> {
    let thrown = beside.trash.spot(name)?;
    match look(&thrown)? {
        Some(found) if found.stx_nlink > 1 => remove(&thrown),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn rename(from: &Spot, to: &Spot, flags: RenameFlags) -> Result<(), DiskError> {
    rustix::fs::renameat_with(&from.dir, &from.name, &to.dir, &to.name, flags).map_err(place_error)
}

pub(super) fn remove(at: &Spot) -> Result<(), DiskError> {
    match rustix::fs::unlinkat(&at.dir, &at.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(place_error(errno)),
    }
}

/// What is asked of a name.
const STAT: StatxFlags = StatxFlags::BASIC_STATS
    .union(StatxFlags::BTIME)
    .union(StatxFlags::MNT_ID);

pub(super) fn look(at: &Spot) -> Result<Option<Statx>, DiskError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(&at.dir, &at.name, flags, STAT) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(disk_error(errno)),
    }
}

fn expect_key(at: &Spot, key: FileKey) -> Result<(), DiskError> {
    let found = look(at)?.ok_or(DiskError::NotFound)?;
    if key_of(&found) == key {
        Ok(())
    } else {
        Err(DiskError::Changed)
    }
}

pub(super) fn key_of(stat: &Statx) -> FileKey {
    FileKey::from(&fingerprint(stat))
}

/// Finds that a name is that of a file which is as it was seen, if that counts.
fn expect_seen(at: &Spot, key: FileKey, expect: Option<&Fingerprint>) -> Result<(), DiskError> {
    expect_key(at, key)?;
    let Some(expect) = expect else {
        return Ok(());
    };
    match look(at)? {
        Some(found) if is_untouched(&found, expect) => Ok(()),
        Some(_) | None => Err(DiskError::Changed),
    }
}

/// Tells whether nobody has touched something: a program may have written to it and set its time
/// back, and only the change time tells.
fn is_untouched(stat: &Statx, expect: &Fingerprint) -> bool {
    same(stat, expect) && fingerprint(stat).ctime == expect.ctime
}

/// Tells whether something is what it was, but for its change time, which a rename moves.
fn same(stat: &Statx, expect: &Fingerprint) -> bool {
    let print = fingerprint(stat);
    FileKey::from(&print) == FileKey::from(expect)
        && print.size == expect.size
        && print.mtime == expect.mtime
}

pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn times(mtime: WallTime) -> rustix::fs::Timestamps {
    rustix::fs::Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.secs,
            tv_nsec: mtime.nanos.into(),
        },
    }
}

pub(super) fn set_mtime(at: &Spot, mtime: WallTime) -> Result<(), DiskError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(&at.dir, &at.name, &times(mtime), flags).map_err(place_error)
}

fn seen(sighting: Option<Sighting>) -> DiskDone {
    let wall = wall_clock();
    DiskDone::Looked { sighting, wall }
}

/// Returns what the core is told of an error, where a name may be taken or a directory full.
pub(super) fn place_error(errno: Errno) -> DiskError {
    match errno {
        Errno::EXIST => DiskError::Exists,
        Errno::NOTEMPTY => DiskError::NotEmpty,
        errno => disk_error(errno),
    }
}

pub(super) fn open_directory_at(
    dir: &OwnedFd,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn parked_name(node: NodeId) -> OsString {
    format!("{:016x}-{:016x}", node.0.actor.0, node.0.counter).into()
}
