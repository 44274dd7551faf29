//! The requests of a mount that wait for their answer, and how each is answered.
//!
//! Law: every request is answered exactly once. Whatever becomes of it, it is either here, or
//! answered: a reply that is dropped unanswered is an `EIO` (fuser sees to that).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{
    Errno, FileAttr, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr,
};
use tandem_core::action::{DirItem, FsReply, Invalidation, Shown, Stored};
use tandem_core::error::FsError;
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Fh, Ino, ReqId};
use tandem_core::time::WallTime;
use tandem_core::tree::register::Kind;

use super::errno::errno;
use super::notify::Outbox;
use super::show::{Owner, TTL, attr, kind};
use crate::driver::Front;

/// Where the bytes lie that reads are answered with.
pub trait Objects: Send + Sync {
    /// Fills `buffer` from the place where `stored` begins; it is as long as `stored.len`.
    ///
    /// # Errors
    /// When not all of the bytes can be read.
    fn read(&self, stored: Stored, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the space of the disk.
    ///
    /// # Errors
    /// When the disk does not say.
    fn space(&self) -> io::Result<Space>;
}

/// The space of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be stored.
    pub free: u64,
    /// Files that may still be made.
    pub files: u64,
}

/// A request that waits, with what its answer needs.
pub(super) enum Pending {
    Entry(ReplyEntry),
    Attr(ReplyAttr),
    Target(ReplyData),
    Open {
        reply: ReplyOpen,
        ino: Ino,
        write: bool,
    },
    OpenDir(ReplyOpen),
    Read {
        reply: ReplyData,
        fh: Fh,
        offset: u64,
        len: u32,
        /// How often the bytes could not be read so far.
        failed: u32,
    },
    Dir(ReplyDirectory),
    DirPlus {
        reply: ReplyDirectoryPlus,
        count: u32,
    },
    Xattr {
        reply: ReplyXattr,
        /// The room that the application has; 0 to ask how much it needs.
        room: u32,
    },
    StatFs(ReplyStatfs),
    Empty(ReplyEmpty),
    Create(ReplyCreate),
    Write(ReplyWrite),
}

/// The requests of one mount.
pub struct Requests {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<ReqId, Pending>>,
    objects: Arc<dyn Objects>,
    outbox: Arc<Outbox>,
    owner: Owner,
    /// How many items of a listing were found to fit into the kernel's buffer.
    items: AtomicU32,
}

/// How often a read is asked again when its bytes can't be read from the store: the engine may
/// know another place, or fetch them again. By eye.
const READS_AGAIN_MAX: u32 = 3;

/// Items asked for at first, at least and at most. glibc's 32 KiB hold about 200; items beyond
/// the buffer cost a `Forget` each, items short of it a round trip to this process.
const ITEMS: u32 = 192;
const ITEMS_MIN: u32 = 16;
const ITEMS_MAX: u32 = 1_024;

/// Inode numbers are never reused, so one generation is enough.
const GENERATION: Generation = Generation(0);

/// The unit in which `statfs` counts, in bytes.
const STATFS_BLOCK: u32 = 4_096;

impl Requests {
    /// Makes the table.
    pub(super) fn new(objects: Arc<dyn Objects>, outbox: Arc<Outbox>, owner: Owner) -> Self {
        Self {
            next: AtomicU64::new(1),
            waiting: Mutex::new(BTreeMap::new()),
            objects,
            outbox,
            owner,
            items: AtomicU32::new(ITEMS),
        }
    }

    /// Draws a number for a request that has no reply.
    pub(super) fn draw(&self) -> ReqId {
        ReqId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets a request wait. To be called before the engine hears of it.
    pub(super) fn park(&self, pending: Pending) -> ReqId {
        let req = self.draw();
        self.waiting().insert(req, pending);
        req
    }

    /// Answers a request with an error, if it still waits.
    pub(super) fn refuse(&self, req: ReqId, error: FsError) {
        let pending = self.waiting().remove(&req);
        if let Some(pending) = pending {
            fail(pending, errno(error));
        }
    }

    /// Returns whose the nodes of this mount are.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns how many items of a listing to ask for.
    pub(super) fn items(&self) -> u32 {
        self.items.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<ReqId, Pending>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers with what the engine said.
    fn succeed(&self, pending: Pending, answer: FsReply) -> Vec<Event> {
        match (pending, answer) {
            (Pending::Entry(reply), FsReply::Entry(shown)) => {
                reply.entry(&TTL, &attr(&shown, self.owner), GENERATION);
            }
            (Pending::Entry(reply), FsReply::Absent) => reply.entry(&TTL, &nothing(), GENERATION),
            (Pending::Attr(reply), FsReply::Attr(shown)) => {
                reply.attr(&TTL, &attr(&shown, self.owner));
            }
            (Pending::Target(reply), FsReply::Target(target)) => reply.data(&target),
            (Pending::Open { reply, ino, write }, FsReply::Opened { fh, keep_cache }) => {
                let keep_cache = keep_cache && !self.outbox.has_pages(ino);
                reply.opened(FileHandle(fh.0), open_flags(keep_cache, write));
            }
            // Listings are not kept by the kernel (`FOPEN_CACHE_DIR`): it adds a listing to its
            // cache some time after the answer, unordered with an invalidation in between.
            (Pending::OpenDir(reply), FsReply::OpenedDir { fh }) => {
                reply.opened(FileHandle(fh.0), FopenFlags::empty());
            }
            (
                Pending::Read {
                    reply,
                    fh,
                    offset,
                    len,
                    failed,
                },
                FsReply::Data(stored),
            ) => return self.send_bytes(reply, stored, (fh, offset, len), failed),
            (Pending::Read { reply, .. }, FsReply::Eof) => reply.data(&[]),
            (Pending::Dir(reply), FsReply::Items(items)) => list(reply, &items),
            (Pending::DirPlus { reply, count }, FsReply::Items(items)) => {
                return self.list_plus(reply, &items, count);
            }
            (Pending::Xattr { reply, room }, FsReply::Value(value)) => {
                answer_xattr(reply, room, &value);
            }
            (Pending::Xattr { reply, room }, FsReply::Names(names)) => {
                let mut list = Vec::new();
                for name in names {
                    list.extend_from_slice(&name);
                    list.push(0);
                }
                answer_xattr(reply, room, &list);
            }
            (Pending::StatFs(reply), FsReply::StatFs { nodes, bytes }) => {
                self.answer_statfs(reply, nodes, bytes);
            }
            (Pending::Empty(reply), FsReply::Done) => reply.ok(),
            (
                Pending::Create(reply),
                FsReply::Created {
                    shown,
                    fh,
                    keep_cache,
                },
            ) => {
                let keep_cache = keep_cache && !self.outbox.has_pages(shown.ino);
                reply.created(
                    &TTL,
                    &attr(&shown, self.owner),
                    GENERATION,
                    FileHandle(fh.0),
                    open_flags(keep_cache, true),
                );
            }
            (Pending::Write(reply), FsReply::Written { len }) => reply.written(len),
            (pending, answer) => {
                tracing::error!("an answer of another kind than the question: {answer:?}");
                fail(pending, Errno::EIO);
            }
        }
        Vec::new()
    }

    /// Reads the bytes and sends them; asks the engine again if they can't be read.
    fn send_bytes(
        &self,
        reply: ReplyData,
        stored: Stored,
        (fh, offset, len): (Fh, u64, u32),
        failed: u32,
    ) -> Vec<Event> {
        thread_local! {
            /// As long as the longest read of this thread (1 MiB at most), so that a read
            /// neither allocates nor clears.
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            let size = usize::try_from(stored.len).unwrap_or(usize::MAX);
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let bytes = &mut buffer[..size];
            match self.objects.read(stored, bytes) {
                Ok(()) => reply.data(bytes),
                Err(error) if failed >= READS_AGAIN_MAX => {
                    tracing::warn!(
                        "{:?} can't be read from the store: {error}; the read fails",
                        stored.object
                    );
                    reply.error(Errno::EIO);
                }
                Err(error) => {
                    // At first another version, or the complete file, may have taken its place
                    // between the engine's answer and here.
                    let lost = (failed > 0).then(|| {
                        tracing::debug!("{stored:?} can't be read from the store: {error}");
                        Event::Unreadable {
                            object: stored.object,
                            offset: stored.offset,
                            len: stored.len,
                        }
                    });
                    let req = self.park(Pending::Read {
                        reply,
                        fh,
                        offset,
                        len,
                        failed: failed + 1,
                    });
                    let call = FsCall::Read { fh, offset, len };
                    return lost.into_iter().chain([Event::Fs { req, call }]).collect();
                }
            }
            Vec::new()
        })
    }

    /// Sends as many items as fit, and gives the lookups of the others back.
    fn list_plus(
        &self,
        mut reply: ReplyDirectoryPlus,
        items: &[DirItem],
        count: u32,
    ) -> Vec<Event> {
        let mut fitted = 0;
        for item in items {
            let full = reply.add(
                INodeNo(item.shown.ino.0),
                item.next,
                OsStr::from_bytes(&item.name),
                &TTL,
                &attr(&item.shown, self.owner),
                GENERATION,
            );
            if full {
                break;
            }
            fitted += 1;
        }
        reply.ok();
        let left = &items[fitted..];
        let fitted = u32::try_from(fitted).unwrap_or(u32::MAX);
        if !left.is_empty() {
            self.items.store(fitted.max(ITEMS_MIN), Ordering::Relaxed);
        } else if fitted == count {
            let more = (count + count / 4).min(ITEMS_MAX);
            self.items.store(more, Ordering::Relaxed);
        }
        left.iter()
            .filter(|item| !is_dots(&item.name))
            .map(|item| Event::Fs {
                req: self.draw(),
                call: FsCall::Forget {
                    ino: item.shown.ino,
                    lookups: 1,
                },
            })
            .collect()
    }

    /// Sends the counts of the folder and the space of the store's disk: "used" is what is
    /// shared, "free" is what may still be stored here.
    fn answer_statfs(&self, reply: ReplyStatfs, nodes: u64, bytes: u64) {
        match self.objects.space() {
            Ok(space) => {
                let used = bytes.div_ceil(STATFS_BLOCK.into());
                let free = space.free / u64::from(STATFS_BLOCK);
                reply.statfs(
                    used.saturating_add(free),
                    free,
                    free,
                    nodes.saturating_add(space.files),
                    space.files,
                    STATFS_BLOCK,
                    255,
                    STATFS_BLOCK,
                );
            }
            Err(error) => {
                tracing::warn!("the disk of the store does not tell its space: {error}");
                reply.error(Errno::EIO);
            }
        }
    }
}

impl Front for Requests {
    fn reply(&self, req: ReqId, result: Result<FsReply, FsError>) -> Vec<Event> {
        let Some(pending) = self.waiting().remove(&req) else {
            return Vec::new();
        };
        match result {
            Ok(answer) => self.succeed(pending, answer),
            Err(error) => {
                fail(pending, errno(error));
                Vec::new()
            }
        }
    }

    fn invalidate(&self, what: Invalidation) {
        self.outbox.put(what);
    }

    fn abandon(&self) {
        for (_, pending) in mem::take(&mut *self.waiting()) {
            fail(pending, Errno::EIO);
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("waiting", &self.waiting().len())
            .finish_non_exhaustive()
    }
}

/// Answers a request with an errno.
fn fail(pending: Pending, errno: Errno) {
    match pending {
        Pending::Entry(reply) => reply.error(errno),
        Pending::Attr(reply) => reply.error(errno),
        Pending::Target(reply) | Pending::Read { reply, .. } => reply.error(errno),
        Pending::Open { reply, .. } | Pending::OpenDir(reply) => reply.error(errno),
        Pending::Dir(reply) => reply.error(errno),
        Pending::DirPlus { reply, .. } => reply.error(errno),
        Pending::Xattr { reply, .. } => reply.error(errno),
        Pending::StatFs(reply) => reply.error(errno),
        Pending::Empty(reply) => reply.error(errno),
        Pending::Create(reply) => reply.error(errno),
        Pending::Write(reply) => reply.error(errno),
    }
}

/// Returns the flags of an open file: the pages are kept while they are of the version that is
/// opened, and what can't have been written needs no flush at each close.
fn open_flags(keep_cache: bool, write: bool) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, keep_cache);
    flags.set(FopenFlags::FOPEN_NOFLUSH, !write);
    flags
}

/// Returns the attributes of no node: an entry with inode number 0 is an absence that the
/// kernel may keep.
fn nothing() -> FileAttr {
    attr(
        &Shown {
            ino: Ino(0),
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 0,
            size: 0,
            mtime: WallTime::default(),
        },
        Owner::AsGiven,
    )
}

/// Sends as many items as fit.
fn list(mut reply: ReplyDirectory, items: &[DirItem]) {
    for item in items {
        let name = OsStr::from_bytes(&item.name);
        if reply.add(
            INodeNo(item.shown.ino.0),
            item.next,
            kind(item.shown.kind),
            name,
        ) {
            break;
        }
    }
    reply.ok();
}

/// The kernel counts no lookup for `.` and `..`.
fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Answers by the protocol of `getxattr(2)`: a room of 0 asks for the size, too small a room is
/// `ERANGE`.
fn answer_xattr(reply: ReplyXattr, room: u32, value: &[u8]) {
    let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
    if room == 0 {
        reply.size(size);
    } else if size > room {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}
