//! The shared folder: plain files that belong to the user, and that any program may change at
//! any moment.
//!
//! Law (P6): every access goes from the folder's handle by `openat2`, which neither follows a
//! symlink nor leaves the folder nor its file system, and nothing but regular files and
//! directories is ever opened for reading: a fifo would hang, a device would act. What could not
//! be looked at is never reported as missing.

use std::ffi::CStr;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use tandem_core::action::Besides;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Nature, Seen, Sighting};
use tandem_core::ids::ChunkHash;
use tandem_core::tree::name::{Name, NameError, TargetPath};
use tandem_core::tree::register::Xattrs;

use crate::disk::place::Beside;
use crate::disk::sight::{FileSystem, fingerprint, sighting, xattrs};
use crate::disk::{disk_error, own_path, read_within, stat, wall_clock};
use crate::payload::Payloads;

/// Why a folder can't be shared.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The directory can't be opened.
    #[error("{}: {why}", dir.display())]
    Open {
        /// Which.
        dir: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The kernel can't keep us beneath a directory.
    #[error(
        "this kernel, or the sandbox around this program, has no openat2: Tandem needs Linux 5.6 \
         or later to stay inside the folder that it shares"
    )]
    NoOpenat2,
    /// There is no `/proc`.
    #[error("/proc is not mounted: Tandem needs it to read files by their handles; mount it")]
    NoProc,
}

/// A shared folder by its handle. Threads may use it at once.
pub struct Folder {
    root: OwnedFd,
    home: FileSystem,
    beside: Option<Beside>,
}

impl Folder {
    /// Opens the folder at `dir`.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        let failed = |errno: Errno| FolderError::Open {
            dir: dir.to_owned(),
            why: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(failed)?;
        let folder = Self {
            home: FileSystem::of(&stat(&root).map_err(failed)?),
            beside: None,
            root,
        };
        match folder.enter(&[], flags) {
            Ok(_) => {}
            // EPERM is what sandboxes that don't know the call answer.
            Err(Errno::NOSYS | Errno::PERM) => return Err(FolderError::NoOpenat2),
            Err(errno) => return Err(failed(errno)),
        }
        if rustix::fs::access(own_path(&folder.root), rustix::fs::Access::EXISTS).is_err() {
            return Err(FolderError::NoProc);
        }
        Ok(folder)
    }

    /// Lets the folder be changed, by way of what lies in `home`, which is to be on the same file
    /// system: its `.tandem`.
    pub fn placing_by(mut self, home: &Path) -> Result<Self, FolderError> {
        let beside = Beside::open(home).map_err(|why| FolderError::Open {
            dir: home.to_owned(),
            why,
        })?;
        self.beside = Some(beside);
        Ok(self)
    }

    pub(super) fn beside(&self) -> Option<&Beside> {
        self.beside.as_ref()
    }

    /// Returns a path by which this process reaches the folder for as long as the folder lives
    /// here, though it be renamed.
    pub(crate) fn own_path(&self) -> String {
        // The dot makes it a directory for programs that would stop at a link.
        own_path(&self.root) + "/."
    }

    /// Lists a directory: everything in it but `.tandem`, as [`DiskDone::Listed`].
    ///
    /// A directory that changes meanwhile may hide a name that is renamed within it, so it is
    /// listed again, up to three times; when it never holds still, the listing is not complete.
    pub fn list(&self, path: &[Name]) -> Result<DiskDone, DiskError> {
        self.list_open(&self.open_to_list(path).map_err(disk_error)?)
    }

    /// Lists an open directory, likewise.
    pub(super) fn list_open(&self, fd: &OwnedFd) -> Result<DiskDone, DiskError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let wall = wall_clock();
            let before = stat(fd).map_err(disk_error)?;
            let (items, whole) = self.list_once(fd).map_err(disk_error)?;
            let after = stat(fd).map_err(disk_error)?;
            // A directory that was removed while we held it is empty, and says nothing.
            let still = fingerprint(&before) == fingerprint(&after) && after.stx_nlink > 0;
            if still || attempts == 3 {
                return Ok(DiskDone::Listed {
                    this: fingerprint(&before),
                    items,
                    complete: whole && still,
                    wall,
                });
            }
            rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0)).map_err(disk_error)?;
        }
    }

    /// Looks at one name, following nothing, as [`DiskDone::Looked`].
    pub fn look(&self, path: &[Name]) -> Result<DiskDone, DiskError> {
        let wall = wall_clock();
        let seen = match path.split_last() {
            None => self.sight(&self.root).map(Some),
            Some((name, parents)) => self.look_in(parents, name),
        };
        Ok(DiskDone::Looked {
            sighting: seen.map_err(disk_error)?,
            wall,
        })
    }

    /// Reads up to `len` bytes of a plain file and parks them, as [`DiskDone::Chunk`].
    ///
    /// Both fingerprints are taken through the descriptor that is read, which was opened by the
    /// path. If another file takes the name meanwhile, these are still bytes of the one whose
    /// fingerprint goes with them, and losing a name changes that one's time of change.
    pub fn read_chunk(
        &self,
        path: &[Name],
        offset: u64,
        len: u32,
        besides: Besides,
        payloads: &Payloads,
    ) -> Result<DiskDone, DiskError> {
        // It is used up, also when nothing can be read to go before it.
        let tail = match besides {
            Besides::Join(tail) => payloads.take(tail).ok_or(DiskError::Io)?,
            Besides::Nothing | Besides::Prefix(_) => Bytes::new(),
        };
        let found = self
            .enter(path, OFlags::PATH | OFlags::NOFOLLOW)
            .map_err(disk_error)?;
        self.read_from(&found, offset, len, (besides, tail), payloads)
    }

    /// Reads a chunk of the file behind a handle that opens nothing yet, and what goes behind it.
    pub(super) fn read_from(
        &self,
        found: &OwnedFd,
        offset: u64,
        len: u32,
        (besides, tail): (Besides, Bytes),
        payloads: &Payloads,
    ) -> Result<DiskDone, DiskError> {
        let before = stat(found).map_err(disk_error)?;
        if FileType::from_raw_mode(before.stx_mode.into()) != FileType::RegularFile
            || FileSystem::of(&before) != self.home
        {
            return Err(DiskError::WrongKind);
        }
        let fd = reopen(found, OFlags::NOCTTY).map_err(disk_error)?;
        let before = stat(&fd).map_err(disk_error)?;
        let (mut bytes, _) = read_within(&fd, offset, len, before.stx_size).map_err(disk_error)?;
        let after = stat(&fd).map_err(disk_error)?;
        bytes.extend_from_slice(&tail);
        let len = u32::try_from(bytes.len()).map_err(|_| DiskError::Io)?;
        let hash = ChunkHash::of(&bytes);
        let nature = Nature::of(&bytes, besides);
        Ok(DiskDone::Chunk {
            payload: payloads.put(Bytes::from(bytes)),
            len,
            hash,
            before: fingerprint(&before),
            after: fingerprint(&after),
            nature,
        })
    }

    /// Finds whether a directory of the folder stands at a path, and no symlink or mount point.
    pub(crate) fn hold_directory(&self, path: &[Name]) -> Result<(), DiskError> {
        self.enter(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            .map(drop)
            .map_err(disk_error)
    }

    /// Returns the names of the directories in a directory, mount points included, `.tandem`
    /// not.
    pub(crate) fn directories(&self, path: &[Name]) -> Result<Vec<Name>, DiskError> {
        let fd = self.open_to_list(path).map_err(disk_error)?;
        let mut names = Vec::new();
        each_name(&fd, |name, kind| {
            let Ok(name) = Name::parse(name.to_bytes()) else {
                return;
            };
            let directory = match kind {
                FileType::Directory => true,
                // Some file systems do not tell in a listing.
                FileType::Unknown => self
                    .sight_in(&fd, name.as_bytes())
                    .is_ok_and(|seen| seen.what == Seen::Directory),
                FileType::RegularFile
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => false,
            };
            if directory {
                names.push(name);
            }
        })
        .map_err(disk_error)?;
        Ok(names)
    }

    /// Opens a directory for listing.
    fn open_to_list(&self, path: &[Name]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        reopen(&self.enter(path, flags)?, OFlags::DIRECTORY)
    }

    /// Lists an open directory once; also tells whether every name in it could be looked at.
    fn list_once(&self, fd: &OwnedFd) -> rustix::io::Result<(Vec<(Name, Sighting)>, bool)> {
        let mut items = Vec::new();
        let mut whole = true;
        each_name(fd, |name, _| match Name::parse(name.to_bytes()) {
            Ok(name) => match self.sight_in(fd, name.as_bytes()) {
                Ok(sighting) => items.push((name, sighting)),
                // It went between the two calls, and so is not there.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    tracing::debug!("{name} can't be looked at: {errno}");
                    whole = false;
                }
            },
            Err(NameError::Reserved) => {}
            Err(
                NameError::Empty
                | NameError::TooLong { .. }
                | NameError::Nul(_)
                | NameError::Slash(_)
                | NameError::Dots
                | NameError::Namespace,
            ) => whole = false,
        })?;
        Ok((items, whole))
    }

    fn look_in(&self, parents: &[Name], name: &Name) -> rustix::io::Result<Option<Sighting>> {
        let seen = self
            .enter(parents, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            .and_then(|parent| self.sight_in(&parent, name.as_bytes()));
        match seen {
            Ok(sighting) => Ok(Some(sighting)),
            // Beneath a folder that was itself removed nothing is found, and that says nothing.
            Err(Errno::NOENT) if stat(&self.root)?.stx_nlink > 0 => Ok(None),
            Err(Errno::NOENT) => Err(Errno::STALE),
            Err(errno) => Err(errno),
        }
    }

    /// Looks at one name of an open directory.
    pub(super) fn sight_in(&self, parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<Sighting> {
        // A handle first, so that all that is said of a name is said of one inode. O_PATH opens
        // nothing: fifos and devices do not notice.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), RESOLVE) {
            Ok(fd) => self.sight(&fd),
            // A mount point, of which there is only this to say.
            Err(Errno::XDEV) => {
                let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
                let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
                let stat = rustix::fs::statx(parent, name, flags, mask)?;
                Ok(sighting(&stat, Seen::Local, Xattrs::new()))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Looks at what a handle is of.
    fn sight(&self, fd: &OwnedFd) -> rustix::io::Result<Sighting> {
        let stat = stat(fd)?;
        if FileSystem::of(&stat) != self.home {
            return Ok(sighting(&stat, Seen::Local, Xattrs::new()));
        }
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => Ok(sighting(&stat, Seen::File, xattrs(fd)?)),
            FileType::Directory => Ok(sighting(&stat, Seen::Directory, xattrs(fd)?)),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(fd, c"", Vec::new())?;
                let what = TargetPath::parse(target.to_bytes()).map_or(Seen::Local, Seen::Symlink);
                Ok(sighting(&stat, what, Xattrs::new()))
            }
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Ok(sighting(&stat, Seen::Local, Xattrs::new())),
        }
    }

    /// Opens what stands at the end of a path, beneath the folder, following nothing.
    ///
    /// A path longer than the kernel takes at once goes in legs, each beneath the one before.
    pub(super) fn enter(&self, path: &[Name], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.enter_from(self.root.as_fd(), path, flags)
    }

    /// Opens what stands at the end of a path beneath a directory, likewise.
    pub(super) fn enter_from(
        &self,
        top: BorrowedFd<'_>,
        path: &[Name],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let mut at: Option<OwnedFd> = None;
        let mut rest = path;
        loop {
            let (leg, beyond) = leg(rest);
            let flags = if beyond.is_empty() {
                flags
            } else {
                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW
            };
            let from = at.as_ref().map_or(top, AsFd::as_fd);
            let flags = flags | OFlags::CLOEXEC;
            let fd = rustix::fs::openat2(from, leg.as_slice(), flags, Mode::empty(), RESOLVE)?;
            if beyond.is_empty() {
                return Ok(fd);
            }
            at = Some(fd);
            rest = beyond;
        }
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// What keeps a path beneath the folder and on its file system.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// The longest path given to the kernel at once, in bytes: below `PATH_MAX`, by eye.
const LEG_LEN_MAX: usize = 3_500;

/// Bytes of a directory read at once: some hundred names, by eye.
const LISTING_BUFFER: usize = 32 * 1024;

/// Joins as many names as the kernel takes at once, and returns those beyond them.
fn leg(path: &[Name]) -> (Vec<u8>, &[Name]) {
    let mut joined = Vec::new();
    for (index, name) in path.iter().enumerate() {
        if joined.len() + 1 + name.as_bytes().len() > LEG_LEN_MAX {
            return (joined, path.get(index..).unwrap_or_default());
        }
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name.as_bytes());
    }
    if joined.is_empty() {
        joined.push(b'.');
    }
    (joined, &[])
}

/// Opens for reading what a handle is of, which was found to be a regular file or a directory;
/// without moving its access time, where that is permitted.
pub(super) fn reopen(found: &OwnedFd, more: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = own_path(found);
    // Non-blocking, so that a lease held by another program is an error and no wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    match rustix::fs::open(path.as_str(), flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path.as_str(), flags, Mode::empty()),
        opened => opened,
    }
}

/// Calls `each` with every name of an open directory but the dots.
fn each_name(fd: &OwnedFd, mut each: impl FnMut(&CStr, FileType)) -> rustix::io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
    let mut names = RawDir::new(fd, &mut buffer);
    while let Some(item) = names.next() {
        let item = item?;
        let name = item.file_name();
        if name != c"." && name != c".." {
            each(name, item.file_type());
        }
    }
    Ok(())
}
