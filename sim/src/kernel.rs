//! The kernel above a mount: which inodes it knows, which handles are open, and what it has
//! cached.
//!
//! Law: it keeps everything until it is told to forget, as with an attribute time of a year.
//! Whatever is still cached when all is settled must be what a fresh call would say: that is
//! what exact invalidation means. As Linux does, it locks a directory while a name in it is
//! changed or looked up, and an inode while it is written or changed: what it is told of such a
//! name waits until then; attributes that it was told to forget meanwhile it does not take from
//! the answer.

use std::collections::BTreeMap;

use tandem_core::action::{FsReply, Invalidation, Shown};
use tandem_core::edit::{Edit, RenameHow};
use tandem_core::event::FsCall;
use tandem_core::ids::{Fh, Ino, ReqId};
use tandem_core::tree::register::Kind;

use crate::reach;
use crate::reach::Reach;

/// An inode that the kernel knows.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Lookups to be given back.
    pub lookups: u64,
    /// What it is.
    pub kind: Kind,
    /// In which directory it was last found.
    pub parent: Ino,
}

/// A handle.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Of which inode.
    pub ino: Ino,
    /// Whether of a directory.
    pub dir: bool,
    /// Whether it may be written through.
    pub write: bool,
}

/// What the kernel holds of one mount.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// Inodes with lookups.
    pub known: BTreeMap<Ino, Known>,
    /// Names seen, whether cached or not: what applications may ask for.
    pub names: BTreeMap<(Ino, Vec<u8>), ()>,
    /// Handles that are open.
    pub open: BTreeMap<Fh, Opened>,
    /// Handles that are not: never given, and closed.
    pub strangers: [Fh; 2],
    /// Cached attributes.
    pub attrs: BTreeMap<Ino, Shown>,
    /// Where files end by what it last knew: it is told to ask anew, and appends there all the same.
    pub ends: BTreeMap<Ino, u64>,
    /// Cached names; `None` is a name that is not there.
    pub entries: BTreeMap<(Ino, Vec<u8>), Option<Ino>>,
    /// Cached bytes, by offset.
    pub pages: BTreeMap<Ino, BTreeMap<u64, Vec<u8>>>,
    /// Edits under way, and what is locked for each.
    locked: BTreeMap<ReqId, Vec<Ino>>,
    /// What it was told of names in directories that are locked.
    late: Vec<Invalidation>,
    /// How often it was told to forget attributes; when last those of an inode; and how often it
    /// had been when a call began.
    told: u64,
    told_of: BTreeMap<Ino, u64>,
    began: BTreeMap<ReqId, u64>,
}

/// Returns what Linux locks for a call.
fn locks(call: &FsCall) -> Vec<Ino> {
    match call {
        FsCall::Lookup { parent, .. } => vec![*parent],
        FsCall::Edit(edit) => match edit {
            Edit::Create { parent, .. }
            | Edit::Make { parent, .. }
            | Edit::Unlink { parent, .. }
            | Edit::RemoveDir { parent, .. } => vec![*parent],
            Edit::Link { ino, parent, .. } => vec![*parent, *ino],
            Edit::Rename {
                parent, to_parent, ..
            } => vec![*parent, *to_parent],
            Edit::SetAttr { ino, .. }
            | Edit::SetXattr { ino, .. }
            | Edit::RemoveXattr { ino, .. } => vec![*ino],
            Edit::Write { .. } | Edit::Flush { .. } | Edit::Sync { .. } | Edit::SyncDir { .. } => {
                Vec::new()
            }
        },
        FsCall::Forget { .. }
        | FsCall::GetAttr { .. }
        | FsCall::ReadLink { .. }
        | FsCall::Open { .. }
        | FsCall::Read { .. }
        | FsCall::Release { .. }
        | FsCall::OpenDir { .. }
        | FsCall::ReadDir { .. }
        | FsCall::ReleaseDir { .. }
        | FsCall::GetXattr { .. }
        | FsCall::ListXattr { .. }
        | FsCall::StatFs => Vec::new(),
    }
}

impl Kernel {
    /// Returns the kernel of a fresh mount, which knows the root.
    pub fn new() -> Self {
        let mut kernel = Self::default();
        let root = Known {
            lookups: 1,
            kind: Kind::Directory,
            parent: Ino::ROOT,
        };
        kernel.known.insert(Ino::ROOT, root);
        kernel
    }

    fn locks_of(&self, call: &FsCall) -> Vec<Ino> {
        let through =
            if let FsCall::Edit(Edit::Write { fh, .. }) | FsCall::ReadDir { fh, .. } = call {
                self.open.get(fh).map(|opened| opened.ino)
            } else {
                None
            };
        locks(call).into_iter().chain(through).collect()
    }

    /// Tells whether a call waits for one that is under way.
    pub fn must_wait(&self, call: &FsCall) -> bool {
        let wanted = self.locks_of(call);
        let mut taken = self.locked.values().flatten();
        !wanted.is_empty() && taken.any(|ino| wanted.contains(ino))
    }

    /// Tells whether an edit of this inode is under way.
    pub fn is_changing(&self, ino: Ino) -> bool {
        self.locked.values().flatten().any(|locked| *locked == ino)
    }

    /// A call begins.
    pub fn begins(&mut self, req: ReqId, call: &FsCall) {
        self.began.insert(req, self.told);
        if let FsCall::Edit(_) = call {
            self.locked.insert(req, self.locks_of(call));
        }
    }

    /// A call was answered: what waited for it is done.
    pub fn ends(&mut self, req: ReqId, reach: &mut Reach) {
        self.began.remove(&req);
        if self.locked.remove(&req).is_some() {
            for late in std::mem::take(&mut self.late) {
                self.invalidate(&late, reach);
            }
        }
    }

    /// Tells whether attributes that came with an answer may be kept.
    fn may_keep(&self, req: ReqId, ino: Ino) -> bool {
        let began = self.began.get(&req).copied().unwrap_or(self.told);
        self.told_of.get(&ino).is_none_or(|told| *told <= began)
    }

    /// Learns from a reply.
    pub fn learn(
        &mut self,
        req: ReqId,
        call: &FsCall,
        reply: &FsReply,
        bytes: &[u8],
        reach: &mut Reach,
    ) {
        self.take_in(req, call, reply, bytes, reach);
        let (FsReply::Created { shown, .. } | FsReply::Entry(shown) | FsReply::Attr(shown)) = reply
        else {
            return;
        };
        if !self.may_keep(req, shown.ino) {
            self.attrs.remove(&shown.ino);
        }
    }

    /// A call failed. What a write would have changed is not kept, as with Linux.
    pub fn failed(&mut self, call: &FsCall, len: u64) {
        if let FsCall::Edit(Edit::Write { fh, offset, .. }) = call
            && let Some(opened) = self.open.get(fh).copied()
        {
            self.attrs.remove(&opened.ino);
            let end = offset + len;
            if let Some(pages) = self.pages.get_mut(&opened.ino) {
                pages.retain(|at, page| end <= *at || at + page.len() as u64 <= *offset);
            }
        }
    }

    /// Learns what an edit did.
    fn edited(&mut self, req: ReqId, edit: &Edit, reply: &FsReply, bytes: &[u8]) {
        match (edit, reply) {
            (Edit::Create { parent, name, .. }, FsReply::Created { shown, fh, .. }) => {
                self.found(*parent, name.clone(), shown);
                let opened = Opened {
                    ino: shown.ino,
                    dir: false,
                    write: true,
                };
                self.open.insert(*fh, opened);
            }
            (
                Edit::Make { parent, name, .. } | Edit::Link { parent, name, .. },
                FsReply::Entry(shown),
            ) => {
                self.found(*parent, name.clone(), shown);
            }
            (Edit::Unlink { parent, name } | Edit::RemoveDir { parent, name }, FsReply::Done) => {
                let spot = (*parent, name.clone());
                if let Some(Some(ino)) = self.entries.remove(&spot) {
                    self.attrs.remove(&ino);
                }
                self.names.remove(&spot);
            }
            (
                Edit::Rename {
                    parent,
                    name,
                    to_parent,
                    to_name,
                    how,
                },
                FsReply::Done,
            ) => {
                let (from, to) = ((*parent, name.clone()), (*to_parent, to_name.clone()));
                self.renamed(from, to, *how);
            }
            (Edit::SetAttr { set, .. }, FsReply::Attr(shown)) => {
                self.knows(shown);
                if set.size.is_some() {
                    self.pages.remove(&shown.ino);
                }
            }
            (Edit::Write { fh, offset, .. }, FsReply::Written { .. }) => {
                if let Some(opened) = self.open.get(fh).copied() {
                    self.wrote(req, opened.ino, *offset, bytes);
                }
            }
            _ => {}
        }
    }

    fn renamed(&mut self, from: (Ino, Vec<u8>), to: (Ino, Vec<u8>), how: RenameHow) {
        let (moved, other) = (
            self.entries.get(&from).copied(),
            self.entries.get(&to).copied(),
        );
        if let (Some(Some(moved)), Some(Some(other))) = (moved, other)
            && moved == other
        {
            return;
        }
        for ino in [moved, other].into_iter().flatten().flatten() {
            self.attrs.remove(&ino);
        }
        self.entries.remove(&from);
        self.entries.remove(&to);
        self.names.remove(&from);
        if let Some(Some(ino)) = moved {
            self.moves(ino, to.0);
            self.entries.insert(to.clone(), Some(ino));
        }
        self.names.insert(to, ());
        if let (RenameHow::Exchange, Some(Some(ino))) = (how, other) {
            self.moves(ino, from.0);
            self.entries.insert(from.clone(), Some(ino));
            self.names.insert(from, ());
        }
    }

    fn moves(&mut self, ino: Ino, to: Ino) {
        if let Some(known) = self.known.get_mut(&ino) {
            known.parent = to;
        }
    }

    /// What was written lies in pages, unless these were dropped meanwhile.
    fn knows(&mut self, shown: &Shown) {
        if !self.holds(shown.ino) {
            return;
        }
        self.attrs.insert(shown.ino, *shown);
        self.ends.insert(shown.ino, shown.size);
    }

    fn wrote(&mut self, req: ReqId, ino: Ino, offset: u64, bytes: &[u8]) {
        self.attrs.remove(&ino);
        let end = offset + bytes.len() as u64;
        let known = self.ends.entry(ino).or_default();
        *known = end.max(*known);
        let keeps = self.may_keep(req, ino);
        let pages = self.pages.entry(ino).or_default();
        pages.retain(|at, page| end <= *at || at + page.len() as u64 <= offset);
        if keeps {
            pages.insert(offset, bytes.to_vec());
        }
    }

    fn take_in(
        &mut self,
        req: ReqId,
        call: &FsCall,
        reply: &FsReply,
        bytes: &[u8],
        reach: &mut Reach,
    ) {
        match (call, reply) {
            (FsCall::Edit(edit), reply) => self.edited(req, edit, reply, bytes),
            (FsCall::Lookup { parent, name }, FsReply::Entry(shown)) => {
                self.found(*parent, name.clone(), shown);
            }
            (FsCall::Lookup { parent, name }, FsReply::Absent) => {
                self.entries.insert((*parent, name.clone()), None);
            }
            (_, FsReply::Attr(shown)) => self.knows(shown),
            (FsCall::Open { ino, write }, FsReply::Opened { fh, keep_cache }) => {
                if *keep_cache {
                    reach!(reach, "keep cache: yes");
                } else {
                    reach!(reach, "keep cache: no");
                    self.pages.remove(ino);
                }
                let opened = Opened {
                    ino: *ino,
                    dir: false,
                    write: *write,
                };
                self.open.insert(*fh, opened);
            }
            (FsCall::OpenDir { ino }, FsReply::OpenedDir { fh }) => {
                let opened = Opened {
                    ino: *ino,
                    dir: true,
                    write: false,
                };
                self.open.insert(*fh, opened);
            }
            (FsCall::ReadDir { fh, plus, .. }, FsReply::Items(items)) => {
                let Some(opened) = self.open.get(fh).copied() else {
                    return;
                };
                for item in items {
                    if matches!(&*item.name, b"." | b"..") {
                        continue;
                    }
                    let name = item.name.to_vec();
                    if *plus {
                        self.found(opened.ino, name, &item.shown);
                    } else {
                        self.names.insert((opened.ino, name), ());
                    }
                }
            }
            (FsCall::Read { fh, offset, .. }, FsReply::Data(_)) => {
                if let Some(opened) = self.open.get(fh)
                    && self.may_keep(req, opened.ino)
                {
                    let pages = self.pages.entry(opened.ino).or_default();
                    pages.insert(*offset, bytes.to_vec());
                }
            }
            _ => {}
        }
    }

    fn found(&mut self, parent: Ino, name: Vec<u8>, shown: &Shown) {
        let (kind, lookups) = (shown.kind, 0);
        let known = self.known.entry(shown.ino).or_insert(Known {
            lookups,
            kind,
            parent,
        });
        known.lookups += 1;
        known.parent = parent;
        self.knows(shown);
        self.names.insert((parent, name.clone()), ());
        self.entries.insert((parent, name), Some(shown.ino));
    }

    /// Forgets what it is told to.
    pub fn invalidate(&mut self, what: &Invalidation, reach: &mut Reach) {
        if let Invalidation::Entry { parent, .. } | Invalidation::Delete { parent, .. } = what
            && self.locked.values().flatten().any(|ino| ino == parent)
        {
            reach!(reach, "invalidate: waits for an edit");
            self.late.push(what.clone());
            return;
        }
        match what {
            Invalidation::Inode { ino, data } => {
                self.told += 1;
                self.told_of.insert(*ino, self.told);
                self.attrs.remove(ino);
                if *data {
                    reach!(reach, "invalidate: pages");
                    if self.open.values().any(|opened| opened.ino == *ino) {
                        reach!(reach, "version: changed while open");
                    }
                    self.pages.remove(ino);
                }
            }
            Invalidation::Entry { parent, name } => {
                reach!(reach, "invalidate: entry");
                self.entries.remove(&(*parent, name.as_bytes().to_vec()));
            }
            Invalidation::Delete {
                parent,
                child: _,
                name,
            } => {
                reach!(reach, "invalidate: delete");
                self.entries.remove(&(*parent, name.as_bytes().to_vec()));
            }
        }
    }

    /// Tells whether it has anything to do with an inode: what it was given back is nobody's.
    pub fn holds(&self, ino: Ino) -> bool {
        self.known.contains_key(&ino) || self.open.values().any(|opened| opened.ino == ino)
    }

    /// Tells whether a file is open.
    pub fn has_open(&self, ino: Ino) -> bool {
        self.open.values().any(|opened| opened.ino == ino)
    }

    /// A handle is closed. Returns what it was, and whether the inode goes with it: a program that
    /// opened it had it from before it was given back.
    pub fn release(&mut self, fh: Fh) -> Option<(Opened, bool)> {
        let closed = self.open.remove(&fh)?;
        let goes = !self.holds(closed.ino);
        if goes {
            self.attrs.remove(&closed.ino);
            self.ends.remove(&closed.ino);
            self.pages.remove(&closed.ino);
        }
        Some((closed, goes))
    }

    /// Gives an inode back, if nothing hangs on it; returns the call.
    pub fn forget(&mut self, ino: Ino) -> Option<FsCall> {
        let in_use = ino == Ino::ROOT
            || self.open.values().any(|opened| opened.ino == ino)
            || self
                .known
                .iter()
                .any(|(child, known)| known.parent == ino && *child != Ino::ROOT);
        if in_use {
            return None;
        }
        let known = self.known.remove(&ino)?;
        self.attrs.remove(&ino);
        self.ends.remove(&ino);
        self.pages.remove(&ino);
        self.entries.retain(|_, to| *to != Some(ino));
        self.entries.retain(|(parent, _), _| *parent != ino);
        self.names.retain(|(parent, _), ()| *parent != ino);
        let lookups = known.lookups;
        Some(FsCall::Forget { ino, lookups })
    }
}
