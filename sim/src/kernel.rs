//! The kernel above a mount: which inodes it knows, which handles are open, and what it has
//! cached.
//!
//! Law: it keeps everything until it is told to forget, as with an attribute time of a year.
//! Whatever is still cached when all is settled must be what a fresh call would say: that is
//! what exact invalidation means.

use std::collections::BTreeMap;

use tandem_core::action::{FsReply, Invalidation, Shown};
use tandem_core::event::FsCall;
use tandem_core::ids::{Fh, Ino};
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
    /// Cached attributes.
    pub attrs: BTreeMap<Ino, Shown>,
    /// Cached names; `None` is a name that is not there.
    pub entries: BTreeMap<(Ino, Vec<u8>), Option<Ino>>,
    /// Cached bytes, by offset.
    pub pages: BTreeMap<Ino, BTreeMap<u64, Vec<u8>>>,
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

    /// Learns from a reply.
    pub fn learn(&mut self, call: &FsCall, reply: &FsReply, bytes: &[u8], reach: &mut Reach) {
        match (call, reply) {
            (FsCall::Lookup { parent, name }, FsReply::Entry(shown)) => {
                self.found(*parent, name.clone(), shown);
            }
            (FsCall::Lookup { parent, name }, FsReply::Absent) => {
                self.entries.insert((*parent, name.clone()), None);
            }
            (_, FsReply::Attr(shown)) => drop(self.attrs.insert(shown.ino, *shown)),
            (FsCall::Open { ino, .. }, FsReply::Opened { fh, keep_cache }) => {
                if *keep_cache {
                    reach!(reach, "keep cache: yes");
                } else {
                    reach!(reach, "keep cache: no");
                    self.pages.remove(ino);
                }
                let ino = *ino;
                self.open.insert(*fh, Opened { ino, dir: false });
            }
            (FsCall::OpenDir { ino }, FsReply::OpenedDir { fh }) => {
                let ino = *ino;
                self.open.insert(*fh, Opened { ino, dir: true });
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
                if let Some(opened) = self.open.get(fh) {
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
        self.attrs.insert(shown.ino, *shown);
        self.names.insert((parent, name.clone()), ());
        self.entries.insert((parent, name), Some(shown.ino));
    }

    /// Forgets what it is told to.
    pub fn invalidate(&mut self, what: &Invalidation, reach: &mut Reach) {
        match what {
            Invalidation::Inode { ino, data } => {
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
        self.pages.remove(&ino);
        self.entries.retain(|_, to| *to != Some(ino));
        self.entries.retain(|(parent, _), _| *parent != ino);
        self.names.retain(|(parent, _), ()| *parent != ino);
        let lookups = known.lookups;
        Some(FsCall::Forget { ino, lookups })
    }
}
