//! Exact invalidation: whatever the kernel still has cached when all is settled is what a fresh
//! call says.

use std::collections::BTreeSet;

use tandem_core::action::{FsReply, Shown};
use tandem_core::error::FsError;
use tandem_core::event::FsCall;
use tandem_core::ids::Ino;
use tandem_core::time::WallTime;
use tandem_core::tree::register::Kind;

use super::{Failure, Verdict};
use crate::world::World;

fn stale(name: &str, what: String) -> Failure {
    Failure::safety("exact invalidation", format!("{name}: {what}"))
}

/// What of a node's attributes must agree: of a directory neither size nor time nor links.
fn firm(shown: &Shown) -> Shown {
    match shown.kind {
        Kind::File | Kind::Symlink => *shown,
        Kind::Directory => Shown {
            size: 0,
            mtime: WallTime::default(),
            nlink: 0,
            ..*shown
        },
    }
}

impl World {
    /// Judges the caches of a mount.
    pub fn check_caches(&mut self, p: usize) -> Verdict {
        let name = self.peers[p].name;
        let kernel = self.peers[p].kernel.clone();
        let mut gone = BTreeSet::new();
        for (ino, cached) in &kernel.attrs {
            match self.ask(p, FsCall::GetAttr { ino: *ino })? {
                Ok((FsReply::Attr(fresh), _)) if firm(&fresh) == firm(cached) => {}
                // Its last name is gone: no name that is cached leads there.
                Err(FsError::Stale) => drop(gone.insert(*ino)),
                fresh => return Err(stale(name, format!("cached {cached:?}, is {fresh:?}"))),
            }
        }
        for ((parent, entry), cached) in &kernel.entries {
            if !kernel.known.contains_key(parent) {
                continue;
            }
            let call = FsCall::Lookup {
                parent: *parent,
                name: entry.clone(),
            };
            let fresh = match self.ask(p, call)? {
                Ok((FsReply::Entry(shown), _)) => Some(shown.ino),
                Ok((FsReply::Absent, _)) => None,
                // The directory is gone, and nobody comes there.
                Err(FsError::Stale) => continue,
                other => return Err(stale(name, format!("a lookup is answered {other:?}"))),
            };
            if let Some(ino) = fresh.filter(|ino| gone.contains(ino)) {
                return Err(stale(
                    name,
                    format!("{ino} is said to be gone, and has a name"),
                ));
            }
            if fresh != *cached {
                let entry = String::from_utf8_lossy(entry);
                let what = format!("{entry:?} in {parent} is cached as {cached:?}, is {fresh:?}");
                return Err(stale(name, what));
            }
        }
        for (ino, pages) in &kernel.pages {
            self.check_pages(p, *ino, pages)?;
        }
        Ok(())
    }

    fn check_pages(
        &mut self,
        p: usize,
        ino: Ino,
        pages: &std::collections::BTreeMap<u64, Vec<u8>>,
    ) -> Verdict {
        let write = false;
        let (fh, keep_cache) = match self.ask(p, FsCall::Open { ino, write })? {
            Ok((FsReply::Opened { fh, keep_cache }, _)) => (fh, keep_cache),
            // Its last name is gone: nobody reads these pages.
            Err(FsError::Stale) => return Ok(()),
            other => {
                let what = format!("opening {ino} is answered {other:?}");
                return Err(stale(self.peers[p].name, what));
            }
        };
        if keep_cache {
            for (offset, cached) in pages {
                let (offset, len) = (*offset, u32::try_from(cached.len()).unwrap_or(0));
                let fresh = self.ask(p, FsCall::Read { fh, offset, len })?;
                let fresh = fresh.map(|(_, bytes)| bytes);
                if fresh.as_ref() != Ok(cached) {
                    let got = fresh.map(|bytes| bytes.len());
                    let what = format!("{len} B of {ino} at {offset} are stale; fresh: {got:?}");
                    return Err(stale(self.peers[p].name, what));
                }
            }
        }
        self.ask(p, FsCall::Release { fh })?.ok();
        Ok(())
    }
}
