//! The calls of the kernel, as calls of the engine.
//!
//! Law: nothing is decided here. A call becomes one event; its answer is written by whoever
//! brings the event that leads to it, most often this same thread. No call waits here for a peer.
//! A panic is caught at this edge: the call fails with `EIO`, and the mount lives.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FileType, OFlags, XattrFlags};
use tandem_core::edit::{Edit, Make, Making, RenameHow, SetAttr, XattrHow};
use tandem_core::error::FsError;
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Fh, Ino};

use super::requests::{Pending, Requests};
use super::show::wall_time;
use crate::disk::wall_clock;
use crate::driver::{Driver, panic_text};

/// The largest request in bytes, both ways: the kernel's bound on pages in one request.
const MAX_WRITE: u32 = 1 << 20;

/// Requests that the kernel may have under way for nobody in particular (readahead). Those that
/// wait for a peer that is gone take their places to the read deadline, and may not keep reads of
/// what is here from theirs.
const MAX_BACKGROUND: u16 = 512;

/// The namespace of extended attributes that are kept. The kernel asks for others at every
/// write and exec (`security.capability`); they are answered without troubling the engine.
const XATTR_NAMESPACE: &[u8] = b"user.";

/// The kernel's side of a mount.
#[derive(Debug)]
pub(super) struct Fuse {
    driver: Arc<Driver>,
    requests: Arc<Requests>,
}

impl Fuse {
    /// Makes it.
    pub(super) fn new(driver: Arc<Driver>, requests: Arc<Requests>) -> Self {
        Self { driver, requests }
    }

    /// Lets a request wait, and asks the engine.
    fn ask(&self, pending: Pending, call: FsCall) {
        let req = self.requests.park(pending);
        let asked = panic::catch_unwind(AssertUnwindSafe(|| {
            self.driver.submit(Event::Fs { req, call });
        }));
        if let Err(panic) = asked {
            tracing::error!("a call of the mount failed: {}", panic_text(&*panic));
            self.requests.refuse(req, FsError::Io);
        }
    }

    /// Asks the engine for a change.
    fn edit(&self, pending: Pending, edit: Edit) {
        self.ask(pending, FsCall::Edit(edit));
    }

    /// Asks the engine to make something.
    fn make(&self, parent: INodeNo, name: &OsStr, what: Make, making: Making, reply: ReplyEntry) {
        let edit = Edit::Make {
            parent: Ino(parent.0),
            name: name.as_bytes().to_vec(),
            what,
            making,
        };
        self.edit(Pending::Entry(reply), edit);
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel does not have it does without: the answers are the same, only slower.
        // Not wanted: the writeback cache (it would guess sizes and times), POSIX ACLs, listings
        // without attributes (`READDIRPLUS_AUTO`).
        for flag in [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ] {
            if let Err(missing) = config.add_capabilities(flag) {
                tracing::info!("this kernel has no {missing:?}");
            }
        }
        if let Err(nearest) = config.set_max_write(MAX_WRITE) {
            tracing::info!("the largest request is {nearest} bytes");
        }
        if config.set_max_background(MAX_BACKGROUND).is_err() {
            tracing::info!("the number of background requests can't be set");
        }
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.ask(
            Pending::Entry(reply),
            FsCall::Lookup {
                parent: Ino(parent.0),
                name: name.as_bytes().to_vec(),
            },
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, lookups: u64) {
        let req = self.requests.draw();
        let call = FsCall::Forget {
            ino: Ino(ino.0),
            lookups,
        };
        // Nobody waits, so a panic (reported by the driver) has nobody to be told to.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| {
            self.driver.submit(Event::Fs { req, call });
        }));
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.ask(Pending::Attr(reply), FsCall::GetAttr { ino: Ino(ino.0) });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.ask(Pending::Target(reply), FsCall::ReadLink { ino: Ino(ino.0) });
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => false,
            OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR => true,
        };
        let ino = Ino(ino.0);
        self.ask(
            Pending::Open { reply, ino, write },
            FsCall::Open { ino, write },
        );
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        len: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let fh = Fh(fh.0);
        self.ask(
            Pending::Read {
                reply,
                fh,
                offset,
                len,
                failed: 0,
            },
            FsCall::Read { fh, offset, len },
        );
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.ask(Pending::Empty(reply), FsCall::Release { fh: Fh(fh.0) });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.ask(Pending::OpenDir(reply), FsCall::OpenDir { ino: Ino(ino.0) });
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        from: u64,
        reply: ReplyDirectory,
    ) {
        self.ask(
            Pending::Dir(reply),
            FsCall::ReadDir {
                fh: Fh(fh.0),
                from,
                count: self.requests.items(),
                plus: false,
            },
        );
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        from: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let count = self.requests.items();
        self.ask(
            Pending::DirPlus { reply, count },
            FsCall::ReadDir {
                fh: Fh(fh.0),
                from,
                count,
                plus: true,
            },
        );
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.ask(Pending::Empty(reply), FsCall::ReleaseDir { fh: Fh(fh.0) });
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.ask(Pending::StatFs(reply), FsCall::StatFs);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        if !name.as_bytes().starts_with(XATTR_NAMESPACE) {
            reply.error(Errno::ENODATA);
            return;
        }
        self.ask(
            Pending::Xattr { reply, room },
            FsCall::GetXattr {
                ino: Ino(ino.0),
                name: name.as_bytes().to_vec(),
            },
        );
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, room: u32, reply: ReplyXattr) {
        self.ask(
            Pending::Xattr { reply, room },
            FsCall::ListXattr { ino: Ino(ino.0) },
        );
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let (fh, wall) = (Fh(fh.0), wall_clock());
        self.edit(Pending::Empty(reply), Edit::Flush { fh, wall });
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let (fh, wall) = (Fh(fh.0), wall_clock());
        self.edit(Pending::Empty(reply), Edit::Sync { fh, wall });
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.edit(Pending::Empty(reply), Edit::SyncDir { ino: Ino(ino.0) });
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let Some((uid, gid)) = self.requests.owner().given(uid, gid) else {
            reply.error(Errno::EPERM);
            return;
        };
        let now = wall_clock();
        let ino = Ino(ino.0);
        let set = SetAttr {
            mode: mode.map(permissions),
            uid,
            gid,
            size,
            mtime: mtime.map(|mtime| match mtime {
                TimeOrNow::SpecificTime(time) => wall_time(time),
                TimeOrNow::Now => now,
            }),
        };
        if set == SetAttr::default() {
            // A time of access, which is not kept, or an owner who is it already.
            self.ask(Pending::Attr(reply), FsCall::GetAttr { ino });
            return;
        }
        let edit = Edit::SetAttr {
            ino,
            fh: fh.map(|fh| Fh(fh.0)),
            set,
            wall: now,
        };
        self.edit(Pending::Attr(reply), edit);
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => {
                self.make(parent, name, Make::File, making(req, mode), reply);
            }
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => reply.error(Errno::EPERM),
        }
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.make(parent, name, Make::Directory, making(req, mode), reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, name) = (Ino(parent.0), name.as_bytes().to_vec());
        self.edit(Pending::Empty(reply), Edit::Unlink { parent, name });
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, name) = (Ino(parent.0), name.as_bytes().to_vec());
        self.edit(Pending::Empty(reply), Edit::RemoveDir { parent, name });
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let what = Make::Symlink(target.as_os_str().as_bytes().to_vec());
        self.make(parent, name, what, making(req, 0o777), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = if flags.is_empty() {
            RenameHow::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameHow::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameHow::Exchange
        } else {
            reply.error(Errno::EINVAL);
            return;
        };
        let edit = Edit::Rename {
            parent: Ino(parent.0),
            name: name.as_bytes().to_vec(),
            to_parent: Ino(newparent.0),
            to_name: newname.as_bytes().to_vec(),
            how,
        };
        self.edit(Pending::Empty(reply), edit);
    }

    fn link(
        &self,
        _req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let edit = Edit::Link {
            ino: Ino(ino.0),
            parent: Ino(newparent.0),
            name: newname.as_bytes().to_vec(),
        };
        self.edit(Pending::Entry(reply), edit);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let exclusive = OFlags::from_bits_retain(flags.cast_unsigned()).contains(OFlags::EXCL);
        let edit = Edit::Create {
            parent: Ino(parent.0),
            name: name.as_bytes().to_vec(),
            making: making(req, mode),
            exclusive,
        };
        self.edit(Pending::Create(reply), edit);
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        how: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Ok(len) = u32::try_from(data.len()) else {
            reply.error(Errno::EINVAL);
            return;
        };
        // The one copy: the kernel's next request goes into the same buffer.
        let payload = self.driver.park(Bytes::copy_from_slice(data));
        let edit = Edit::Write {
            fh: Fh(fh.0),
            offset,
            // What the kernel writes of pages that were mapped lies where it says.
            append: flags.0.cast_unsigned() & OFlags::APPEND.bits() != 0
                && !how.contains(WriteFlags::FUSE_WRITE_CACHE),
            payload,
            len,
            wall: wall_clock(),
        };
        self.edit(Pending::Write(reply), edit);
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if !name.as_bytes().starts_with(XATTR_NAMESPACE) {
            reply.error(Errno::EOPNOTSUPP);
            return;
        }
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        let how = if flags.is_empty() {
            XattrHow::Set
        } else if flags == XattrFlags::CREATE {
            XattrHow::Create
        } else if flags == XattrFlags::REPLACE {
            XattrHow::Replace
        } else {
            reply.error(Errno::EINVAL);
            return;
        };
        let edit = Edit::SetXattr {
            ino: Ino(ino.0),
            name: name.as_bytes().to_vec(),
            value: value.to_vec(),
            how,
        };
        self.edit(Pending::Empty(reply), edit);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if !name.as_bytes().starts_with(XATTR_NAMESPACE) {
            reply.error(Errno::EOPNOTSUPP);
            return;
        }
        let (ino, name) = (Ino(ino.0), name.as_bytes().to_vec());
        self.edit(Pending::Empty(reply), Edit::RemoveXattr { ino, name });
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        // Room can't be promised: the bytes go to more disks than this one. Who has to have it
        // (`posix_fallocate`) writes, and is told by that.
        reply.error(Errno::EOPNOTSUPP);
    }

    // What follows the kernel does by itself when it is told that we don't: `ENOSYS` once, and it
    // never asks again. `default_permissions` checks access; holes are not told; a range is copied
    // by reading and writing it.

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _handle: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}

/// Returns the permission bits of a mode.
fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("it has twelve bits")
}

/// Returns how a caller wants something made. The umask is in `mode` already: the kernel applies
/// it, since it is not asked to leave that to us (`FUSE_DONT_MASK`).
fn making(req: &Request, mode: u32) -> Making {
    Making {
        mode: permissions(mode),
        uid: req.uid(),
        gid: req.gid(),
        wall: wall_clock(),
    }
}
