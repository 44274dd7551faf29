//! Objects: the bytes of versions, complete or partial, named by node and version.
//!
//! Law: a sidecar never claims what was not written. Data are written first; a record that could
//! not be appended whole is cut off again; a new sidecar takes its place only after the new data
//! file has, with no sidecar there in between. What is read is exactly what was asked for, or an
//! error.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use tandem_core::action::{Besides, Stored};
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Nature};
use tandem_core::ids::{ChunkHash, ObjectId};
use tandem_core::time::WallTime;

use crate::disk::descriptors::Descriptors;
use crate::disk::places::{Place, Places, Spot};
use crate::disk::{disk_error, read_at, read_within, stat, wall_time};
use crate::payload::Payloads;

/// The objects of one replica. Threads may use it at once; changes of one object come from one
/// thread at a time.
#[derive(Debug)]
pub struct Objects {
    places: Arc<dyn Places>,
    reading: Descriptors,
}

/// Descriptors kept for reading: well below the 1,024 that a process has by default, and more
/// than the files that applications read at once.
const DESCRIPTORS_MAX: usize = 256;

/// The longest sidecar that is read, in bytes: 40 bytes for each chunk of a file of 3 TiB, by
/// eye. Of a longer one only the beginning counts.
const SIDECAR_LEN_MAX: u64 = 256 * 1024 * 1024;

/// What a new file is called until it is whole.
pub(crate) const NEW: &str = ".new";

impl Objects {
    /// Keeps objects at `places`.
    pub fn new(places: Arc<dyn Places>) -> Self {
        Self {
            places,
            reading: Descriptors::new(DESCRIPTORS_MAX),
        }
    }

    /// Finds what is stored of an object. A sidecar without data claims nothing, and is not
    /// there.
    pub fn load(&self, object: ObjectId) -> Result<DiskDone, DiskError> {
        let place = self.place(object).map_err(disk_error)?;
        let partial = place.partial.len().map_err(disk_error)?;
        let complete = if place.ours {
            place.complete.len().map_err(disk_error)?
        } else {
            None
        };
        let sidecar = match partial {
            Some(_) => read_sidecar(&place.sidecar).map_err(disk_error)?,
            None => None,
        };
        Ok(DiskDone::Loaded {
            sidecar,
            partial,
            complete,
        })
    }

    /// Makes the partial file and its sidecar, in the place of whatever stood there.
    pub fn create(&self, object: ObjectId, size: u64, sidecar: &[u8]) -> Result<(), DiskError> {
        self.change(object, |place| {
            place.sidecar.remove()?;
            renew(&place.partial, place.mode, |fd| {
                rustix::fs::ftruncate(fd, size)
            })?;
            self.reading.forget(object);
            renew(&place.sidecar, place.mode, |fd| write_at(fd, sidecar, 0))
        })
    }

    /// Cuts the sidecar to its first `len` bytes; it is an error if it has fewer.
    pub fn cut(&self, object: ObjectId, len: u64) -> Result<(), DiskError> {
        self.change(object, |place| {
            let fd = place.sidecar.open(OFlags::WRONLY, Mode::empty())?;
            if length(&fd)? < len {
                return Err(Errno::INVAL);
            }
            rustix::fs::ftruncate(fd, len)
        })
    }

    /// Writes bytes at an offset, then appends to the sidecar.
    pub fn store(
        &self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
        record: &[u8],
    ) -> Result<(), DiskError> {
        self.change(object, |place| {
            let fd = place.partial.open(OFlags::WRONLY, Mode::empty())?;
            let end = offset.checked_add(bytes.len() as u64);
            if end.is_none_or(|end| length(&fd).is_ok_and(|size| end > size)) {
                return Err(Errno::INVAL);
            }
            // Of a draft, the file's time is when an application wrote to it.
            keeping_mtime(&fd, || write_at(&fd, bytes, offset))?;
            append(&place.sidecar, record)
        })
    }

    /// Makes a range zeros that take no space where that is possible, then appends to the sidecar.
    pub fn store_hole(
        &self,
        object: ObjectId,
        offset: u64,
        len: u32,
        record: &[u8],
    ) -> Result<(), DiskError> {
        self.change(object, |place| {
            let fd = place.partial.open(OFlags::RDWR, Mode::empty())?;
            let end = offset.checked_add(len.into());
            if end.is_none_or(|end| length(&fd).is_ok_and(|size| end > size)) {
                return Err(Errno::INVAL);
            }
            // Something may lie there of a write that was cut off.
            if !is_hole(&fd, offset, len.into()) {
                punch(&fd, offset, len)?;
            }
            append(&place.sidecar, record)
        })
    }

    /// Appends to the sidecar.
    pub fn mark(&self, object: ObjectId, record: &[u8]) -> Result<(), DiskError> {
        self.change(object, |place| append(&place.sidecar, record))
    }

    /// Syncs the object's data.
    pub fn sync(&self, object: ObjectId) -> Result<(), DiskError> {
        self.place(object)
            .and_then(|place| open_data(&place))
            .and_then(rustix::fs::fdatasync)
            .map_err(disk_error)
    }

    /// Hashes up to `len` stored bytes.
    pub fn hash(&self, object: ObjectId, offset: u64, len: u32) -> Result<DiskDone, DiskError> {
        let read = || {
            let fd = self.open_to_read(object)?;
            read_within(&fd, offset, len, length(&fd)?)
        };
        let (bytes, len) = read().map_err(disk_error)?;
        let hash = ChunkHash::of(&bytes);
        Ok(DiskDone::Hashed { len, hash })
    }

    /// Reads up to `len` stored bytes, and parks them, with those of a payload behind them where
    /// that is asked for. It is used up, also when nothing can be read to go before it.
    pub fn read_stored(
        &self,
        object: ObjectId,
        offset: u64,
        len: u32,
        besides: Besides,
        payloads: &Payloads,
    ) -> Result<DiskDone, DiskError> {
        let tail = match besides {
            Besides::Join(tail) => payloads.take(tail).ok_or(DiskError::Io)?,
            Besides::Nothing | Besides::Prefix(_) => Bytes::new(),
        };
        let read = || {
            let fd = self.open_to_read(object)?;
            read_within(&fd, offset, len, length(&fd)?)
        };
        let (mut bytes, _) = read().map_err(disk_error)?;
        bytes.extend_from_slice(&tail);
        Ok(DiskDone::Read {
            len: u32::try_from(bytes.len()).map_err(|_| DiskError::Io)?,
            hash: ChunkHash::of(&bytes),
            nature: Nature::of(&bytes, besides),
            payload: payloads.put(bytes.into()),
        })
    }

    /// Renames the partial file to its complete place, syncs the directories, removes the
    /// sidecar. Does nothing more when done again.
    pub fn finish(&self, object: ObjectId) -> Result<(), DiskError> {
        self.change(object, |place| {
            match place.partial.rename(&place.complete) {
                Ok(()) => {}
                // It was renamed before; its names may not have been synced.
                Err(Errno::NOENT) if place.ours && place.complete.len()?.is_some() => {}
                Err(errno) => return Err(errno),
            }
            place.complete.sync_directory()?;
            place.partial.sync_directory()?;
            self.places.finished(object);
            place.sidecar.remove()
        })
    }

    /// Removes all that is stored of an object. Open descriptors stay readable.
    pub fn remove(&self, object: ObjectId) -> Result<(), DiskError> {
        if self.places.place(object).is_none() {
            // Its place has gone to another, and with it what lay there.
            return Ok(());
        }
        self.change(object, |place| {
            place.sidecar.remove()?;
            place.sidecar.beside(NEW).remove()?;
            place.partial.remove()?;
            place.partial.beside(NEW).remove()?;
            if place.disposable {
                place.complete.remove()?;
            }
            self.reading.forget(object);
            Ok(())
        })
    }

    /// Fills `buf` from where `stored` begins; its length must be that of `stored`. Any number
    /// of threads may read at once.
    pub fn read(&self, stored: Stored, buf: &mut [u8]) -> io::Result<()> {
        if u32::try_from(buf.len()) != Ok(stored.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let fd = self.open_to_read(stored.object)?;
        let mut at = stored.offset;
        let mut rest = buf;
        while !rest.is_empty() {
            match rustix::io::pread(&fd, &mut *rest, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    at += count as u64;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads where `stored` says, all of it, without clearing memory first.
    pub fn read_vec(&self, stored: Stored) -> io::Result<Vec<u8>> {
        let fd = self.open_to_read(stored.object)?;
        let bytes = read_at(&fd, stored.offset, stored.len.into())?;
        if u32::try_from(bytes.len()) == Ok(stored.len) {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Opens the descriptor that is kept for reading, if it is not: the file is about to be moved
    /// to the place of another object, and whoever was told to read it here finds it.
    pub(crate) fn keep_open(&self, object: ObjectId) -> Result<(), Errno> {
        self.open_to_read(object).map(drop)
    }

    /// Closes the descriptor that is kept for reading; call it after the file was moved, replaced
    /// or removed.
    pub(crate) fn forget(&self, object: ObjectId) {
        self.reading.forget(object);
    }

    pub(crate) fn place(&self, object: ObjectId) -> Result<Place, Errno> {
        self.places.place(object).ok_or(Errno::NOENT)
    }

    fn open_to_read(&self, object: ObjectId) -> Result<Arc<OwnedFd>, Errno> {
        self.reading.get(object, || open_data(&self.place(object)?))
    }

    /// Changes what lies at an object's place while it is the object's.
    fn change(
        &self,
        object: ObjectId,
        change: impl FnOnce(&Place) -> Result<(), Errno>,
    ) -> Result<(), DiskError> {
        let changed = self.place(object).and_then(|place| {
            let _held = place.hold(object)?;
            change(&place)
        });
        changed.map_err(disk_error)
    }
}

/// Opens the data of an object for reading: partial, else complete, else partial: a draft may have
/// begun on what was complete a moment ago.
fn open_data(place: &Place) -> Result<OwnedFd, Errno> {
    let partial = || place.partial.open(OFlags::RDONLY, Mode::empty());
    match partial() {
        Err(Errno::NOENT) if place.ours => {
            match place.complete.open(OFlags::RDONLY, Mode::empty()) {
                Err(Errno::NOENT) => partial(),
                opened => opened,
            }
        }
        opened => opened,
    }
}

/// Does something to a file's bytes, and gives it back the modification time that it had.
pub(crate) fn keeping_mtime(
    fd: &OwnedFd,
    change: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let before = wall_time(stat(fd)?.stx_mtime);
    change()?;
    set_mtime(fd, before)
}

/// Sets a file's modification time.
pub(crate) fn set_mtime(fd: &OwnedFd, mtime: WallTime) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.secs,
            tv_nsec: mtime.nanos.into(),
        },
    };
    rustix::fs::futimens(fd, &times)
}

pub(crate) fn read_sidecar(spot: &Spot) -> Result<Option<Vec<u8>>, Errno> {
    match spot.open(OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => read_at(&fd, 0, length(&fd)?.min(SIDECAR_LEN_MAX)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Replaces a file by one that `fill` has filled; leaves nothing of it behind when that fails.
pub(crate) fn renew(
    spot: &Spot,
    mode: Mode,
    fill: impl FnOnce(&OwnedFd) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let new = spot.beside(NEW);
    new.remove()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let renewed = new
        .open(flags, mode)
        .and_then(|fd| fill(&fd))
        .and_then(|()| new.rename(spot));
    if renewed.is_err() {
        // The first error is what counts; the next attempt removes it again.
        let _ = new.remove();
    }
    renewed
}

/// Appends to a sidecar, all or nothing.
fn append(spot: &Spot, record: &[u8]) -> Result<(), Errno> {
    let fd = spot.open(OFlags::WRONLY, Mode::empty())?;
    let before = length(&fd)?;
    let written = write_at(&fd, record, before);
    if written.is_err() {
        rustix::fs::ftruncate(&fd, before)?;
    }
    written
}

/// Tells whether a range is known to take no space, and so to be zeros.
fn is_hole(fd: &OwnedFd, offset: u64, len: u64) -> bool {
    match rustix::fs::seek(fd, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + len,
        // There are no data from there to the end.
        Err(Errno::NXIO) => true,
        Err(_) => false,
    }
}

/// Makes a range zeros: a hole, or written ones where the file system has no holes.
fn punch(fd: &OwnedFd, offset: u64, len: u32) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(fd, flags, offset, len.into()) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_at(fd, &vec![0; len as usize], offset),
        punched => punched,
    }
}

pub(crate) fn length(fd: impl AsFd) -> Result<u64, Errno> {
    let size = rustix::fs::fstat(fd)?.st_size;
    u64::try_from(size).map_err(|_| Errno::INVAL)
}

pub(crate) fn write_at(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::pwrite(&fd, rest, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                at += count as u64;
                rest = rest.get(count..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
