//! Drafts: files of a sparse store while they are written to, each with its journal.
//!
//! Law: no file with bytes of a user's stands in `partial/` without its journal. A wish that finds
//! no room ([`DiskError::NoSpace`]) leaves file and journal as they were, byte for byte; after any
//! other error the draft is what [`Drafts::load`] finds. Every wish may be done again after a
//! kill in its middle, and then has done what it was to do.
//!
//! A draft lies at `partial/OBJECT`, with its journal `partial/OBJECT.kddraft` and, where the
//! version beneath is only partly here, the sidecar `partial/OBJECT.kdbitmap`. What the journal
//! says is the core's (`docs/FORMATS.md`); here it is bytes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use tandem_core::draft_wish::{DraftFrom, DraftWish};
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::ids::ObjectId;
use tandem_core::time::WallTime;

use crate::disk::descriptors::Descriptors;
use crate::disk::objects::{
    NEW, Objects, keeping_mtime, length, read_sidecar, renew, set_mtime, write_at,
};
use crate::disk::places::{Place, Spot};
use crate::disk::{disk_error, read_at, stat, wall_time};
use crate::payload::Payloads;

/// The drafts of one store. Threads may use it at once; wishes for one object come from one
/// thread at a time.
#[derive(Debug)]
pub struct Drafts {
    objects: Arc<Objects>,
    pens: Descriptors<Pen>,
}

/// The files of a draft, open for writing.
#[derive(Debug)]
struct Pen {
    data: OwnedFd,
    journal: OwnedFd,
}

/// Drafts whose two files are kept open: more than applications write to at once, and with the
/// descriptors for reading half of the 1,024 that a process has by default.
const PENS_MAX: usize = 128;

/// The longest journal that is read, in bytes: eight million records, by eye. Of a longer one
/// only the beginning counts.
const JOURNAL_LEN_MAX: u64 = 256 * 1024 * 1024;

/// What the name of a journal ends with.
pub(crate) const JOURNAL: &str = ".kddraft";

impl Drafts {
    /// Keeps the drafts of a store of objects.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self {
            objects,
            pens: Descriptors::new(PENS_MAX),
        }
    }

    /// Does what is wished.
    pub fn perform(
        &self,
        object: ObjectId,
        wish: DraftWish,
        payloads: &Payloads,
    ) -> Result<DiskDone, DiskError> {
        // Used up first: also when it can't be written.
        let bytes = |payload| payloads.take(payload).ok_or(DiskError::Io);
        let done = match wish {
            DraftWish::Open {
                journal,
                from,
                anew,
            } => self.open(object, &journal, from, anew),
            DraftWish::Write {
                offset,
                payload,
                before,
                after,
            } => self.write(object, offset, &bytes(payload)?, (&before, &after)),
            DraftWish::Resize { size, after } => self.resize(object, size, &after),
            DraftWish::Fill {
                offset,
                payload,
                gaps,
                after,
            } => {
                let chunk = match payload {
                    Some(payload) => bytes(payload)?,
                    None => zeros(&gaps)?,
                };
                self.fill(object, offset, &chunk, &gaps, &after)
            }
            DraftWish::Touch { mtime } => self.touch(object, mtime),
            DraftWish::Mark { record } => self.mark(object, &record),
            DraftWish::Sync { after } => self.sync(object, &after),
            DraftWish::Load => return self.load(object),
            DraftWish::Settle {
                object: settled,
                sidecar,
            } => self.settle(object, settled, sidecar.as_deref()),
            DraftWish::Remove => self.remove(object),
        };
        done.map(|()| DiskDone::Done)
    }

    /// Begins a draft: its journal first, then its file. A draft whose journal begins with the
    /// same bytes has begun already, and keeps what was written to it; so does one that goes on
    /// with another journal, unless it is begun `anew`.
    pub fn open(
        &self,
        object: ObjectId,
        journal: &[u8],
        from: DraftFrom,
        anew: bool,
    ) -> Result<(), DiskError> {
        let open = |place: &Place| {
            let log = journal_of(place);
            let is_there = match from {
                DraftFrom::Nothing => true,
                DraftFrom::Partial => place.partial.len()?.is_some(),
                DraftFrom::Complete => {
                    place.complete.len()?.is_some() || place.partial.len()?.is_some()
                }
            };
            if !is_there {
                return Err(Errno::NOENT);
            }
            let has_begun = begins_with(&log, journal)?;
            let had_journal = log.len()?.is_some();
            if from == DraftFrom::Nothing && (!had_journal || (anew && !has_begun)) {
                // Bytes of whatever else would count as ours beside the journal.
                place.partial.remove()?;
                self.objects.forget(object);
            }
            if !has_begun {
                renew(&log, place.mode, |fd| {
                    write_at(fd, journal, 0)?;
                    match from {
                        DraftFrom::Nothing | DraftFrom::Partial if !had_journal => Ok(()),
                        // What is complete, or was synced beside another journal, may be all that
                        // there is of it; it must be found again, whatever happens.
                        DraftFrom::Nothing | DraftFrom::Partial | DraftFrom::Complete => {
                            rustix::fs::fdatasync(fd)
                        }
                    }
                })?;
                self.pens.forget(object);
            }
            match from {
                DraftFrom::Nothing if place.partial.len()?.is_some() => Ok(()),
                DraftFrom::Nothing => {
                    renew(&place.partial, place.mode, |_| Ok(()))?;
                    self.objects.forget(object);
                    Ok(())
                }
                DraftFrom::Partial => Ok(()),
                DraftFrom::Complete => {
                    if !has_begun {
                        log.sync_directory()?;
                    }
                    rename_once(&place.complete, &place.partial)
                }
            }
        };
        self.place(object)
            .and_then(|place| open(&place))
            .map_err(disk_error)
    }

    /// Appends the first record, writes the bytes, appends the second.
    pub fn write(
        &self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
        (before, after): (&[u8], &[u8]),
    ) -> Result<(), DiskError> {
        let write = |pen: &Pen| {
            let size = length(&pen.data)?;
            // The part that lengthens the file goes first: without room for it nothing of the
            // other part has changed.
            let inside = size.saturating_sub(offset).min(bytes.len() as u64);
            let (inside, beyond) = bytes
                .split_at_checked(usize::try_from(inside).map_err(|_| Errno::INVAL)?)
                .ok_or(Errno::INVAL)?;
            let log = length(&pen.journal)?;
            let first = log + before.len() as u64;
            let room = if before.is_empty() || after.is_empty() {
                0
            } else {
                // Then the second can't fail once what the first announces was done.
                before.len() + after.len()
            };
            reserve(&pen.journal, log, room as u64)
                .and_then(|()| write_at(&pen.journal, before, log))
                .and_then(|()| reserve(&pen.data, offset, inside.len() as u64))
                .and_then(|()| write_at(&pen.data, beyond, offset.max(size)))
                .or_else(|errno| pen.undo(errno, size, log))?;
            if before.is_empty() {
                // Bytes under chunks that are absent are of no account without the record.
                return write_at(&pen.data, inside, offset)
                    .and_then(|()| write_at(&pen.journal, after, log))
                    .or_else(|errno| pen.undo(errno, size, log));
            }
            write_at(&pen.data, inside, offset)
                .and_then(|()| write_at(&pen.journal, after, first))
                .or_else(|_| pen.undo(Errno::IO, size.max(offset + inside.len() as u64), first))
        };
        self.with_pen(object, write)
    }

    /// Cuts the file, or fills it up with a hole; then appends the record.
    pub fn resize(&self, object: ObjectId, size: u64, after: &[u8]) -> Result<(), DiskError> {
        self.with_pen(object, |pen| {
            let before = length(&pen.data)?;
            let log = length(&pen.journal)?;
            // A cut can't be undone: so that the record fits is made sure of first.
            reserve(&pen.journal, log, after.len() as u64)?;
            rustix::fs::ftruncate(&pen.data, size)?;
            match write_at(&pen.journal, after, log) {
                Err(errno) if before <= size => pen.undo(errno, before, log),
                Err(_) => pen.undo(Errno::IO, size, log),
                Ok(()) => Ok(()),
            }
        })
    }

    /// Writes pieces of a chunk that begins at `offset`, then appends the record.
    pub fn fill(
        &self,
        object: ObjectId,
        offset: u64,
        chunk: &[u8],
        gaps: &[(u32, u32)],
        after: &[u8],
    ) -> Result<(), DiskError> {
        self.with_pen(object, |pen| {
            let size = length(&pen.data)?;
            let log = length(&pen.journal)?;
            let pieces = || {
                for &(from, to) in gaps {
                    let within = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                    let piece = within
                        .and_then(|(from, to)| chunk.get(from..to))
                        .ok_or(Errno::INVAL)?;
                    let at = offset.checked_add(from.into()).ok_or(Errno::INVAL)?;
                    if at
                        .checked_add(piece.len() as u64)
                        .is_none_or(|end| end > size)
                    {
                        return Err(Errno::INVAL);
                    }
                    write_at(&pen.data, piece, at)?;
                }
                Ok(())
            };
            // What was written into the gaps before room ran out is of no account without the
            // record.
            keeping_mtime(&pen.data, pieces)
                .and_then(|()| write_at(&pen.journal, after, log))
                .or_else(|errno| pen.undo(errno, size, log))
        })
    }

    /// Sets the file's modification time.
    pub fn touch(&self, object: ObjectId, mtime: WallTime) -> Result<(), DiskError> {
        self.with_pen(object, |pen| set_mtime(&pen.data, mtime))
    }

    /// Appends to the journal.
    pub fn mark(&self, object: ObjectId, record: &[u8]) -> Result<(), DiskError> {
        self.with_pen(object, |pen| {
            let size = length(&pen.data)?;
            let log = length(&pen.journal)?;
            write_at(&pen.journal, record, log).or_else(|errno| pen.undo(errno, size, log))
        })
    }

    /// Makes all of it survive power loss: bytes, time, sidecar, their names, and then the journal
    /// with these records, which so say of what is synced.
    pub fn sync(&self, object: ObjectId, after: &[u8]) -> Result<(), DiskError> {
        let sync = |pen: &Pen| {
            // Not `fdatasync`: the time is the user's, too.
            rustix::fs::fsync(&pen.data)?;
            let place = self.place(object)?;
            match place.sidecar.open(OFlags::RDONLY, Mode::empty()) {
                Ok(sidecar) => rustix::fs::fdatasync(sidecar)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            place.partial.sync_directory()?;
            let size = length(&pen.data)?;
            let log = length(&pen.journal)?;
            write_at(&pen.journal, after, log).or_else(|errno| pen.undo(errno, size, log))?;
            rustix::fs::fdatasync(&pen.journal)
        };
        self.with_pen(object, sync)
    }

    /// Finds what is there.
    pub fn load(&self, object: ObjectId) -> Result<DiskDone, DiskError> {
        let load = |place: &Place| {
            let journal = read_whole(&journal_of(place))?;
            let file = match place.partial.open(OFlags::RDONLY, Mode::empty()) {
                Ok(fd) => {
                    let seen = stat(fd)?;
                    Some((seen.stx_size, wall_time(seen.stx_mtime)))
                }
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno),
            };
            let sidecar = match file {
                Some(_) => read_sidecar(&place.sidecar)?,
                None => None,
            };
            Ok(DiskDone::Draft {
                journal,
                file,
                sidecar,
            })
        };
        self.place(object)
            .and_then(|place| load(&place))
            .map_err(disk_error)
    }

    /// Makes the draft the stored bytes of `settled`. The journal goes last: without one it was
    /// settled before.
    pub fn settle(
        &self,
        object: ObjectId,
        settled: ObjectId,
        sidecar: Option<&[u8]>,
    ) -> Result<(), DiskError> {
        let settle = || {
            let (from, to) = (self.place(object)?, self.place(settled)?);
            let log = journal_of(&from);
            let stands = match sidecar {
                Some(_) => &to.partial,
                None => &to.complete,
            };
            if log.len()?.is_none() {
                return stands.len()?.map(drop).ok_or(Errno::NOENT);
            }
            match self.objects.keep_open(object) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            match sidecar {
                Some(sidecar) => {
                    let renew_sidecar = || {
                        renew(&to.sidecar, to.mode, |fd| {
                            write_at(fd, sidecar, 0)?;
                            rustix::fs::fdatasync(fd)
                        })
                    };
                    if object == settled {
                        renew_sidecar()?;
                    } else if from.partial.len()?.is_some() {
                        // The sidecar first: without its file it claims nothing, and the file
                        // without its sidecar would be taken for nothing. What may be left of an
                        // earlier life has neither.
                        to.sidecar.remove()?;
                        to.partial.remove()?;
                        renew_sidecar()?;
                        from.partial.rename(&to.partial)?;
                    } else {
                        to.partial.len()?.ok_or(Errno::NOENT)?;
                    }
                }
                None => {
                    rename_once(&from.partial, &to.complete)?;
                    to.complete.sync_directory()?;
                    to.sidecar.remove()?;
                }
            }
            to.partial.sync_directory()?;
            self.pens.forget(object);
            self.objects.forget(settled);
            if object != settled {
                from.sidecar.remove()?;
            }
            log.remove()
        };
        settle().map_err(disk_error)
    }

    /// Closes what was kept for those who were told to read the draft before they could know that
    /// it is settled; call it when the engine knows.
    pub fn settled(&self, object: ObjectId) {
        self.objects.forget(object);
    }

    /// Removes all of it, the journal last. Open descriptors stay readable.
    pub fn remove(&self, object: ObjectId) -> Result<(), DiskError> {
        let remove = |place: &Place| {
            let log = journal_of(place);
            for spot in [&place.partial, &place.sidecar, &log] {
                spot.beside(NEW).remove()?;
                spot.remove()?;
            }
            self.pens.forget(object);
            self.objects.forget(object);
            Ok(())
        };
        self.place(object)
            .and_then(|place| remove(&place))
            .map_err(disk_error)
    }

    fn place(&self, object: ObjectId) -> Result<Place, Errno> {
        self.objects.place(object)
    }

    fn with_pen(
        &self,
        object: ObjectId,
        work: impl FnOnce(&Pen) -> Result<(), Errno>,
    ) -> Result<(), DiskError> {
        let open = || {
            let place = self.place(object)?;
            let open = |spot: &Spot| spot.open(OFlags::RDWR, Mode::empty());
            Ok(Pen {
                journal: open(&journal_of(&place))?,
                data: open(&place.partial)?,
            })
        };
        let pen = self.pens.get(object, open).map_err(disk_error)?;
        work(&pen).map_err(disk_error)
    }
}

impl Pen {
    /// Gives file and journal back the lengths that they had, and returns why.
    fn undo(&self, why: Errno, size: u64, log: u64) -> Result<(), Errno> {
        for (fd, before) in [(&self.data, size), (&self.journal, log)] {
            if length(fd)? > before {
                rustix::fs::ftruncate(fd, before)?;
            }
        }
        Err(why)
    }
}

fn journal_of(place: &Place) -> Spot {
    place.partial.beside(JOURNAL)
}

/// Makes sure that writing over these bytes of a file finds room. Where the file has them, it
/// does; only file systems that write elsewhere than before may still be surprised.
fn reserve(fd: &OwnedFd, offset: u64, len: u64) -> Result<(), Errno> {
    if len == 0 {
        return Ok(());
    }
    let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
    match rustix::fs::seek(fd, SeekFrom::Hole(offset)) {
        Ok(hole) if hole >= end => return Ok(()),
        // From the end of the file on there is nothing but room to be found.
        Ok(_) | Err(Errno::NXIO) => {}
        // A file system that does not tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, offset, len) {
        // A file system without it finds out by writing.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Renames; it is no error if that was done before.
fn rename_once(from: &Spot, to: &Spot) -> Result<(), Errno> {
    match from.rename(to) {
        Err(Errno::NOENT) if to.len()?.is_some() => Ok(()),
        other => other,
    }
}

fn begins_with(spot: &Spot, bytes: &[u8]) -> Result<bool, Errno> {
    match spot.open(OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => Ok(read_at(fd, 0, bytes.len() as u64)? == bytes),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn read_whole(spot: &Spot) -> Result<Option<Vec<u8>>, Errno> {
    match spot.open(OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => read_at(&fd, 0, length(&fd)?.min(JOURNAL_LEN_MAX)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns as many zeros as the last gap reaches.
fn zeros(gaps: &[(u32, u32)]) -> Result<Bytes, DiskError> {
    let end = gaps.iter().map(|(_, to)| *to).max().unwrap_or(0);
    let end = usize::try_from(end).map_err(|_| DiskError::Io)?;
    Ok(Bytes::from(vec![0; end]))
}
