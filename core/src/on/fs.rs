//! An application has called the file system.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, DirItem, FsReply, Shown, Stored};
use crate::engine::Engine;
use crate::error::FsError;
use crate::event::FsCall;
use crate::ids::{Fh, Ino, NodeId, ObjectId, ReqId};
use crate::inodes::INODES_AHEAD;
use crate::limits::NAME_LEN_MAX;
use crate::mutant::Mutant;
use crate::on::draft::DraftRead;
use crate::records;
use crate::time::{Duration, Time};
use crate::timers::Timer;
use crate::tree::register::{Body, Kind};

/// The size that a directory shows, in bytes: a block, as on ext4.
const DIRECTORY_SIZE: u64 = 4096;

/// The extended attribute that tells how a file stands.
const STATE_XATTR: &[u8] = b"user.tandem.state";

/// What an open handle holds.
#[derive(Debug)]
pub(crate) enum Open {
    /// A file: what it last showed while it had a name, for after it lost its last.
    File {
        /// What it showed.
        last: Shown,
        /// Its version and the size of its chunks.
        version: Option<(ObjectId, u32)>,
        /// Whether it may be written through.
        write: bool,
    },
    /// A directory: the names it had when its listing began.
    Directory {
        /// Names and nodes, `.` and `..` first.
        listing: Vec<(Arc<[u8]>, NodeId)>,
    },
}

/// A read that waits for bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Through which handle.
    pub fh: Fh,
    /// From which offset, in bytes.
    pub offset: u64,
    /// How many bytes at most.
    pub len: u32,
    /// When it fails.
    pub deadline: Time,
    /// Of which object it waits for bytes.
    pub object: Option<ObjectId>,
}

/// A read that has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vain {
    /// When.
    pub at: Time,
    /// Of which object.
    pub object: ObjectId,
    /// From which offset, in bytes.
    pub from: u64,
    /// To which.
    pub to: u64,
}

/// How soon after a read that has failed another one of the same piece fails at once: a kernel asks
/// within a millisecond.
const AGAIN_WITHIN: Duration = Duration::from_millis(500);

/// So many of them are remembered: as many as a kernel may have under way, and some.
const VAIN_MAX: usize = 256;

impl Engine {
    /// An application has called.
    pub(crate) fn on_fs(&mut self, req: ReqId, call: FsCall) {
        if self.are_drafts_sought() && !matches!(call, FsCall::Forget { .. }) {
            // How long a file is that was written to, its draft alone tells.
            self.early.push_back((req, call));
            return;
        }
        self.counters.calls += 1;
        let result = match call {
            FsCall::Forget { ino, lookups } => {
                self.inodes.forget(ino, lookups);
                return;
            }
            FsCall::Read { fh, offset, len } => {
                let deadline = self.now + self.config.read_deadline;
                let object = None;
                self.read(
                    req,
                    Waiting {
                        fh,
                        offset,
                        len,
                        deadline,
                        object,
                    },
                );
                return;
            }
            FsCall::Lookup { parent, name } => self.lookup(parent, &name),
            FsCall::GetAttr { ino } => self.get_attr(ino),
            FsCall::ReadLink { ino } => self.read_link(ino),
            FsCall::Open { ino, write } => self.open(ino, write),
            FsCall::Release { fh } => self.release(fh),
            FsCall::OpenDir { ino } => self.open_dir(ino),
            FsCall::ReadDir {
                fh,
                from,
                count,
                plus,
            } => self.read_dir(fh, from, count, plus),
            FsCall::ReleaseDir { fh } => self.release_dir(fh),
            FsCall::GetXattr { ino, name } => self.get_xattr(ino, &name),
            FsCall::ListXattr { ino } => self.list_xattr(ino),
            FsCall::StatFs => Ok(FsReply::StatFs {
                nodes: self.tree.count(),
                bytes: self.tree.bytes(),
            }),
            FsCall::Edit(edit) => {
                self.on_edit(req, edit);
                return;
            }
        };
        self.reply(req, result);
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, req: ReqId, result: Result<FsReply, FsError>) {
        self.act(Action::Reply { req, result });
    }

    /// Returns a node's inode number, and has it stored when it is new.
    pub(crate) fn ino(&mut self, node: NodeId) -> Ino {
        let (ino, drawn) = self.inodes.of(node);
        if drawn {
            if ino.0 >= self.me.inodes {
                self.me.inodes = ino.0 + INODES_AHEAD;
                self.news = true;
            }
            self.commits
                .put(records::inode(node), records::encode(&ino));
        }
        ino
    }

    /// Returns what is shown of a node that has a name.
    pub(crate) fn shown(&mut self, node: NodeId) -> Option<Shown> {
        let ino = self.ino(node);
        let view = self.tree.node(node)?;
        let face = self.draft_face(node);
        let (drafted, touched) = (face.map(|face| face.0), face.map(|face| face.1));
        let size = match view.kind {
            Kind::Directory => DIRECTORY_SIZE,
            Kind::File | Kind::Symlink => drafted.unwrap_or(view.size),
        };
        Some(Shown {
            ino,
            kind: view.kind,
            mode: view.mode,
            uid: view.uid,
            gid: view.gid,
            nlink: view.nlink,
            size,
            mtime: touched.or(view.mtime).unwrap_or_default(),
        })
    }

    /// Returns the node of an inode number that the kernel was given.
    fn node(&self, ino: Ino) -> Result<NodeId, FsError> {
        self.inodes.node(ino).ok_or(FsError::Stale)
    }

    /// Returns the node of an inode number, if it is a directory that has a name. One that has none
    /// any more is stale: so the kernel looks its path up again, and finds what stands there now.
    fn directory(&self, ino: Ino) -> Result<NodeId, FsError> {
        let node = self.node(ino)?;
        match self.tree.node(node).map(|view| view.kind) {
            Some(Kind::Directory) => Ok(node),
            Some(Kind::File | Kind::Symlink) => Err(FsError::NotDirectory),
            None => Err(FsError::Stale),
        }
    }

    fn lookup(&mut self, parent: Ino, name: &[u8]) -> Result<FsReply, FsError> {
        let dir = self.directory(parent)?;
        if name.len() > NAME_LEN_MAX {
            return Err(FsError::NameTooLong);
        }
        let found = self.tree.lookup(dir, name);
        let Some(shown) = found.and_then(|node| self.shown(node)) else {
            return Ok(FsReply::Absent);
        };
        self.inodes.looked_up(shown.ino);
        Ok(FsReply::Entry(shown))
    }

    fn get_attr(&mut self, ino: Ino) -> Result<FsReply, FsError> {
        self.node(ino)?;
        let shown = self.shown_open(ino).ok_or(FsError::Stale)?;
        Ok(FsReply::Attr(shown))
    }

    /// Returns what is shown of an inode that has a name, or has lost it and is open.
    pub(crate) fn shown_open(&mut self, ino: Ino) -> Option<Shown> {
        let node = self.inodes.node(ino)?;
        if let Some(shown) = self.shown(node) {
            return Some(shown);
        }
        match self.handles.on(ino).next()?.1 {
            Open::File { last, .. } => {
                let last = Shown { nlink: 0, ..*last };
                Some(match self.draft_face(node) {
                    Some((size, mtime)) => Shown {
                        size,
                        mtime,
                        ..last
                    },
                    None => last,
                })
            }
            Open::Directory { .. } => None,
        }
    }

    fn read_link(&self, ino: Ino) -> Result<FsReply, FsError> {
        let view = self.tree.node(self.node(ino)?).ok_or(FsError::Stale)?;
        match view.body {
            Some(Body::Link { target }) => Ok(FsReply::Target(target.as_bytes().into())),
            Some(Body::File { .. }) | None => Err(FsError::Invalid),
        }
    }

    fn open(&mut self, ino: Ino, write: bool) -> Result<FsReply, FsError> {
        let node = self.node(ino)?;
        let last = self.shown(node).ok_or(FsError::Stale)?;
        match last.kind {
            Kind::Directory => return Err(FsError::IsDirectory),
            Kind::Symlink => return Err(FsError::Invalid),
            Kind::File => {}
        }
        if write {
            self.may_edit()?;
        }
        let version = self.current(node);
        let fh = self.handles.open(
            ino,
            Open::File {
                last,
                version,
                write,
            },
        );
        // Pages are invalidated exactly when the version changes, so those that are left hold.
        Ok(FsReply::Opened {
            fh,
            keep_cache: true,
        })
    }

    /// Returns the version that a file shows, and the size of its chunks in bytes.
    pub(crate) fn current(&self, node: NodeId) -> Option<(ObjectId, u32)> {
        let view = self.tree.node(node)?;
        match view.body? {
            Body::File { chunk_size, .. } => Some((view.object?, *chunk_size)),
            Body::Link { .. } => None,
        }
    }

    /// Answers a read, or has it wait for its bytes.
    pub(crate) fn read(&mut self, req: ReqId, read: Waiting) {
        let Some(ino) = self.handles.ino(read.fh) else {
            self.reply(req, Err(FsError::BadHandle));
            return;
        };
        let Some(node) = self.inodes.node(ino) else {
            self.reply(req, Err(FsError::Stale));
            return;
        };
        if self.read_draft(req, node, read) {
            return;
        }
        let now_shown = self.tree.node(node).map(|view| view.size);
        let (size, version) = match (now_shown, self.handles.get(read.fh)) {
            (Some(size), Some(Open::File { .. })) => (size, self.current(node)),
            // It has lost its last name, and is what it was then, to its last close.
            (None, Some(Open::File { last, version, .. })) => (last.size, *version),
            (_, Some(Open::Directory { .. })) => {
                self.reply(req, Err(FsError::IsDirectory));
                return;
            }
            (_, None) => {
                self.reply(req, Err(FsError::BadHandle));
                return;
            }
        };
        let left = size.saturating_sub(read.offset).min(u64::from(read.len));
        let len = u32::try_from(left).unwrap_or(read.len);
        if len == 0 {
            self.reply(req, Ok(FsReply::Eof));
            return;
        }
        let Some((object, chunk_size)) = version else {
            self.reply(req, Err(FsError::Io));
            return;
        };
        if !self.keep_object(object, size, chunk_size) {
            self.reply(req, Err(FsError::Io));
            return;
        }
        if self.is_written_over(node, object, read.offset, len) {
            // There is no other file to fetch it to.
            self.fail_read(req);
            return;
        }
        let is_here = self
            .objects
            .get(&object)
            .is_some_and(|kept| kept.is_readable(read.offset, len));
        if is_here {
            let stored = Stored {
                object,
                offset: read.offset,
                len,
            };
            self.reply(req, Ok(FsReply::Data(stored)));
            return;
        }
        if self.is_in_vain(object, &read, len) {
            self.fail_read(req);
            return;
        }
        self.timers.set(Timer::Read(req), read.deadline);
        self.waiting.insert(
            req,
            Waiting {
                object: Some(object),
                ..read
            },
        );
        self.demand(object, req, read.offset, len);
    }

    /// Answers a read out of a draft, or has it wait for what is beneath; false if the file's
    /// version has nothing to do with one.
    fn read_draft(&mut self, req: ReqId, node: NodeId, read: Waiting) -> bool {
        let Some(Open::File { .. }) = self.handles.get(read.fh) else {
            return false;
        };
        match self.draft_reads(node, read.offset, read.len) {
            None => false,
            Some(DraftRead::NotFound) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.readers.insert(req);
                }
                self.timers.set(Timer::Read(req), read.deadline);
                self.waiting.insert(req, read);
                true
            }
            Some(DraftRead::Here { len: 0, .. }) => {
                self.reply(req, Ok(FsReply::Eof));
                true
            }
            Some(DraftRead::Here {
                file: object,
                len,
                is_here: true,
            }) => {
                let offset = read.offset;
                let stored = Stored {
                    object,
                    offset,
                    len,
                };
                self.reply(req, Ok(FsReply::Data(stored)));
                true
            }
            Some(DraftRead::Here {
                file,
                len,
                is_here: false,
            }) => {
                if self.is_in_vain(file, &read, len) {
                    self.fail_read(req);
                    return true;
                }
                self.timers.set(Timer::Read(req), read.deadline);
                let object = Some(file);
                self.waiting.insert(req, Waiting { object, ..read });
                self.demand(file, req, read.offset, len);
                true
            }
        }
    }

    /// Answers a read that its bytes can't be had.
    pub(crate) fn fail_read(&mut self, req: ReqId) {
        self.counters.reads_failed += 1;
        if self.has(Mutant::FailedReadIsEof) {
            self.reply(req, Ok(FsReply::Eof));
            return;
        }
        self.reply(req, Err(FsError::Io));
    }

    /// Takes a waiting read out, wherever it is noted.
    pub(crate) fn take_waiting(&mut self, req: ReqId) -> Option<Waiting> {
        let read = self.waiting.remove(&req)?;
        self.timers.cancel(Timer::Read(req));
        if let Some(object) = read.object.and_then(|object| self.objects.get_mut(&object)) {
            object.readers.remove(&req);
        }
        Some(read)
    }

    /// Looks again at a read that waits: it is answered, or goes on waiting to the same deadline.
    pub(crate) fn read_again(&mut self, req: ReqId) {
        if let Some(read) = self.take_waiting(req) {
            self.read(
                req,
                Waiting {
                    object: None,
                    ..read
                },
            );
        }
    }

    /// Returns whether to wait for what a read lacks is of no use: nobody can be asked, or it has
    /// just begun, and the same was waited for to a moment ago.
    fn is_in_vain(&self, object: ObjectId, read: &Waiting, len: u32) -> bool {
        if self.may_be_here(object, read.offset, len) {
            return false;
        }
        let end = read.offset.saturating_add(len.into());
        let is_it = |vain: &Vain| {
            let is_within = vain.from <= read.offset && end <= vain.to;
            vain.object == object && is_within && self.now.since(vain.at) < AGAIN_WITHIN
        };
        let is_new = read.deadline == self.now + self.config.read_deadline;
        self.is_given_up() || is_new && self.vain.iter().any(is_it)
    }

    /// Notes that a read has failed. What a kernel reads ahead it asks for once more, page by page,
    /// when that fails: the application would wait twice as long.
    pub(crate) fn note_vain(&mut self, read: &Waiting) {
        let now = self.now;
        self.vain.retain(|vain| now.since(vain.at) < AGAIN_WITHIN);
        if let Some(object) = read.object
            && self.vain.len() < VAIN_MAX
        {
            self.vain.push(Vain {
                at: now,
                object,
                from: read.offset,
                to: read.offset.saturating_add(read.len.into()),
            });
        }
    }

    /// A read has waited for long enough.
    pub(crate) fn read_overdue(&mut self, req: ReqId) {
        if let Some(read) = self.take_waiting(req) {
            self.note_vain(&read);
            self.fail_read(req);
            if let Some(object) = read.object {
                self.unwant_idle(object);
            }
        }
    }

    pub(crate) fn release(&mut self, fh: Fh) -> Result<FsReply, FsError> {
        let (version, was_written) = match self.handles.get(fh) {
            Some(Open::File { version, write, .. }) => (*version, *write),
            Some(Open::Directory { .. }) | None => return Err(FsError::BadHandle),
        };
        let released = self.handles.release(fh).ok_or(FsError::BadHandle)?;
        #[cfg(feature = "mutants")]
        if self.has(Mutant::HandleReused) {
            self.handles.reuse(fh);
        }
        let node = self.inodes.node(released.ino);
        let is_written = |(_, open): (Fh, &Open)| match open {
            Open::File { write, .. } => *write,
            Open::Directory { .. } => false,
        };
        let writes_end = was_written && !self.handles.on(released.ino).any(is_written);
        if let Some(node) = node.filter(|_| writes_end || released.last) {
            self.draft_release(node);
        }
        if released.last {
            let now = node.and_then(|node| self.current(node));
            for (object, _) in [version, now].into_iter().flatten() {
                self.closed(object);
            }
        }
        Ok(FsReply::Done)
    }

    fn open_dir(&mut self, ino: Ino) -> Result<FsReply, FsError> {
        self.directory(ino)?;
        let listing = Vec::new();
        let fh = self.handles.open(ino, Open::Directory { listing });
        Ok(FsReply::OpenedDir { fh })
    }

    fn read_dir(&mut self, fh: Fh, from: u64, count: u32, plus: bool) -> Result<FsReply, FsError> {
        let ino = self.handles.ino(fh).ok_or(FsError::BadHandle)?;
        let Some(Open::Directory { .. }) = self.handles.get(fh) else {
            return Err(FsError::NotDirectory);
        };
        if from == 0 {
            let now = self.names_of(ino);
            if let Some(Open::Directory { listing }) = self.handles.get_mut(fh) {
                *listing = now;
            }
        }
        let mut at = usize::try_from(from).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        while items.len() < count {
            let Some(Open::Directory { listing }) = self.handles.get(fh) else {
                return Err(FsError::BadHandle);
            };
            let Some((name, node)) = listing.get(at).cloned() else {
                break;
            };
            at += 1;
            // What a name stands for at this moment is what the kernel will be told of changes
            // to; a name that has gone since the listing began is left out.
            let node = if at > 2 {
                let dir = self.inodes.node(ino);
                dir.and_then(|dir| self.tree.lookup(dir, &name))
            } else {
                Some(node)
            };
            let Some(shown) = node.and_then(|node| self.shown(node)) else {
                continue;
            };
            if plus && at > 2 {
                self.inodes.looked_up(shown.ino);
            }
            items.push(DirItem {
                name,
                shown,
                next: at as u64,
            });
        }
        Ok(FsReply::Items(items))
    }

    /// Returns what a directory lists at this moment.
    fn names_of(&self, ino: Ino) -> Vec<(Arc<[u8]>, NodeId)> {
        let Some(dir) = self.inodes.node(ino) else {
            return Vec::new();
        };
        let parent = self
            .tree
            .places(dir)
            .next()
            .map_or(NodeId::ROOT, |(parent, _)| parent);
        let dots = [(Arc::from(&b"."[..]), dir), (Arc::from(&b".."[..]), parent)];
        let names = self
            .tree
            .list(dir)
            .map(|(name, node)| (name.as_bytes().into(), node));
        dots.into_iter().chain(names).collect()
    }

    fn release_dir(&mut self, fh: Fh) -> Result<FsReply, FsError> {
        match self.handles.get(fh) {
            Some(Open::Directory { .. }) => {
                self.handles.release(fh);
                Ok(FsReply::Done)
            }
            Some(Open::File { .. }) | None => Err(FsError::BadHandle),
        }
    }

    fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<FsReply, FsError> {
        let node = self.node(ino)?;
        let view = self.tree.node(node).ok_or(FsError::Stale)?;
        if name == STATE_XATTR {
            // It is not listed: whoever copies a file with its attributes would copy it.
            let state = self.file_state(node).ok_or(FsError::NoAttribute)?;
            return Ok(FsReply::Value(state.word().as_bytes().into()));
        }
        let found = view
            .xattrs
            .iter()
            .find(|(known, _)| known.as_bytes() == name);
        match found {
            Some((_, value)) => Ok(FsReply::Value(value.clone())),
            None => Err(FsError::NoAttribute),
        }
    }

    fn list_xattr(&self, ino: Ino) -> Result<FsReply, FsError> {
        let view = self.tree.node(self.node(ino)?).ok_or(FsError::Stale)?;
        let names = view.xattrs.keys().map(|name| name.as_bytes().into());
        Ok(FsReply::Names(names.collect()))
    }
}
