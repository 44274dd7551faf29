//! P4 convergence: when faults have stopped, a walk over each mount finds what is in the shared
//! folder: the same names, kinds, modes, owners, sizes, times, targets, attributes and bytes.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::{FsReply, Shown};
use tandem_core::event::FsCall;
use tandem_core::ids::Ino;
use tandem_core::tree::register::Kind;

use super::{Failure, Verdict};
use crate::disk::folder::{Id, Node, wall};
use crate::world::World;

fn apart(what: String) -> Failure {
    Failure::new(super::Kind::Convergence, "P4", what)
}

/// Returns a path with the name that a conflict copy was made from: of a copy of what has the name
/// of a copy itself, as one of two files of one name has, the name without either.
fn original(path: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut path = path.to_vec();
    if let Some(name) = path.last_mut() {
        loop {
            let before = super::shown::original(name);
            if before == *name {
                break;
            }
            *name = before;
        }
    }
    path
}

type Walk = BTreeMap<Vec<Vec<u8>>, Shown>;

impl World {
    /// Judges what a mount shows at the end.
    ///
    /// To read files is to have them hashed. Where a file and its conflict copy prove equal by that, the
    /// copy goes in the midst of the walk: what is shown then is judged once all is calm again.
    pub fn check_converged(&mut self, p: usize) -> Verdict {
        loop {
            let before = self.conflict_copies();
            let Err(failure) = self.check_walk(p) else {
                return Ok(());
            };
            self.settle()?;
            let after = self.conflict_copies();
            let has_gone = after.len() < before.len() && after.is_subset(&before);
            if !has_gone || failure.kind != super::Kind::Convergence {
                return Err(failure);
            }
        }
    }

    /// Returns the conflict copies in the shared folder.
    fn conflict_copies(&self) -> BTreeSet<Vec<Vec<u8>>> {
        let walk = self.folder.walk().into_iter();
        let raw = |name: &tandem_core::tree::name::Name| name.as_bytes().to_vec();
        let paths = walk.map(|(path, _)| path.iter().map(raw).collect::<Vec<_>>());
        paths.filter(|path| original(path) != *path).collect()
    }

    fn check_walk(&mut self, p: usize) -> Verdict {
        let mut seen = Walk::new();
        let mut open = vec![(Vec::new(), Ino::ROOT)];
        while let Some((path, ino)) = open.pop() {
            for (name, shown) in self.list(p, ino)? {
                let mut below = path.clone();
                below.push(name);
                if shown.kind == Kind::Directory {
                    open.push((below.clone(), shown.ino));
                }
                seen.insert(below, shown);
            }
        }
        let who = self.peers[p].name;
        let walk = self.folder.walk();
        let mut in_part = BTreeMap::new();
        for (path, id) in walk {
            let raw: Vec<Vec<u8>> = path.iter().map(|name| name.as_bytes().to_vec()).collect();
            let shown = seen.remove(&raw);
            let here = matches!(self.folder.inode(id).node, Node::Fifo);
            match shown {
                None if here => {}
                None => return Err(apart(format!("{who} does not show {path:?}"))),
                // What can't be had is never put down, and meets nothing that stands there.
                Some(shown) if here => {
                    if !self.can_not_be_there(p, &raw, &shown)? {
                        return Err(apart(format!("{who} shows the fifo {path:?}")));
                    }
                }
                Some(shown) => {
                    if let Err(mut failure) = self.compare(p, id, &shown) {
                        let is_apart = failure.kind == super::Kind::Convergence;
                        if !is_apart || !self.can_not_be_there(p, &raw, &shown)? {
                            failure.what = format!("{who}, {path:?}: {}", failure.what);
                            return Err(failure);
                        }
                        in_part.insert(raw, id);
                    }
                }
            }
        }
        for (path, shown) in seen {
            // What lost against something that can't be had stands where that would, wherever the
            // one and the other were moved since. (Nothing is like nothing anywhere.)
            let bytes: Vec<_> = in_part
                .iter()
                .filter_map(|(other, id)| Some((other, self.folder.bytes(*id)?)))
                .filter(|(other, bytes)| !bytes.is_empty() || original(other) == original(&path))
                .map(|(_, bytes)| bytes)
                .collect();
            if !bytes.is_empty()
                && let Ok(read) = self.read_all(p, shown.ino, 0)?
                && bytes.iter().any(|bytes| **bytes == read)
            {
                continue;
            }
            if !self.can_not_be_there(p, &path, &shown)? {
                let path: Vec<_> = path.iter().map(|n| String::from_utf8_lossy(n)).collect();
                return Err(apart(format!(
                    "{who} shows {path:?}, which is not there: {shown:?}"
                )));
            }
        }
        Ok(())
    }

    /// Tells whether what a mount shows under a path can't be in the folder.
    ///
    /// A guest keeps what it has read, and nobody asks a guest for anything: of a version that the host
    /// has lost it may have all, where those who are asked have not.
    fn can_not_be_there(
        &mut self,
        p: usize,
        path: &[Vec<u8>],
        shown: &Shown,
    ) -> Result<bool, Failure> {
        let is_guest = self.config.guest && p == self.config.joiners;
        if is_guest && shown.kind == Kind::File && self.nowhere.contains(path) {
            return Ok(true);
        }
        let is_in_part = self.is_in_part(p, shown)?;
        if is_in_part {
            self.nowhere.insert(path.to_vec());
        }
        Ok(is_in_part)
    }

    /// Tells whether a file is one of which something can't be had any more, by anybody, or lies
    /// with a peer that is gone for good: it is shown, and can't be in the folder.
    fn is_in_part(&mut self, p: usize, shown: &Shown) -> Result<bool, Failure> {
        if shown.kind != Kind::File {
            return Ok(false);
        }
        let (ino, write) = (shown.ino, false);
        let Ok((FsReply::Opened { fh, .. }, _)) = self.ask(p, FsCall::Open { ino, write })? else {
            return Ok(false);
        };
        let mut pieces = BTreeMap::new();
        let mut is_whole = true;
        let len = self.config.chunk_size;
        for offset in (0..shown.size).step_by(len as usize) {
            match self.ask(p, FsCall::Read { fh, offset, len })? {
                Ok((_, bytes)) => drop(pieces.insert(offset, bytes)),
                Err(_) => is_whole = false,
            }
        }
        self.ask(p, FsCall::Release { fh })?.ok();
        let history = &self.folder.history;
        let lost = self.lost.map(|p| self.peers[p].bodies.all_contents());
        let with_lost = lost.unwrap_or_default();
        Ok(!is_whole
            && self
                .kept
                .is_in_part(shown.size, &pieces, (self.lost, &with_lost), history))
    }

    /// Lists a directory of a mount.
    pub fn list(&mut self, p: usize, ino: Ino) -> Result<Vec<(Vec<u8>, Shown)>, Failure> {
        let mut found = Vec::new();
        let opened = self.ask(p, FsCall::OpenDir { ino })?;
        let Ok((FsReply::OpenedDir { fh }, _)) = opened else {
            return Err(apart(format!("can't open the directory {ino}: {opened:?}")));
        };
        let mut from = 0;
        loop {
            let call = FsCall::ReadDir {
                fh,
                from,
                count: 7,
                plus: true,
            };
            let Ok((FsReply::Items(items), _)) = self.ask(p, call)? else {
                return Err(apart(format!("can't list the directory {ino}")));
            };
            let Some(last) = items.last() else {
                break;
            };
            from = last.next;
            for item in items {
                if !matches!(&*item.name, b"." | b"..") {
                    found.push((item.name.to_vec(), item.shown));
                }
            }
        }
        self.ask(p, FsCall::ReleaseDir { fh })?.ok();
        Ok(found)
    }

    fn compare(&mut self, p: usize, id: Id, shown: &Shown) -> Verdict {
        let inode = self.folder.inode(id).clone();
        let print = self.folder.print(id);
        let kind = match &inode.node {
            Node::File(_) => Kind::File,
            Node::Dir(_) => Kind::Directory,
            Node::Link(_) | Node::Fifo => Kind::Symlink,
        };
        let firm = kind == Kind::Directory
            || (shown.size == print.size && shown.mtime == wall(inode.mtime));
        // Set-id bits from a peer are not set in the folder.
        let modes = [shown.mode, shown.mode & 0o1777];
        let same =
            modes.contains(&inode.mode) && (shown.kind, shown.uid, shown.gid) == (kind, 1000, 1000);
        if !firm || !same {
            let mode = inode.mode;
            return Err(apart(format!(
                "shown {shown:?}, is {kind:?} {mode:o} {print:?}"
            )));
        }
        // A directory's links are its subdirectories', which are judged by their names.
        if kind != Kind::Directory && shown.nlink != inode.nlink {
            let (shown, is) = (shown.nlink, inode.nlink);
            return Err(apart(format!("shown with {shown} links, has {is}")));
        }
        let ino = shown.ino;
        let names: Vec<_> = inode.xattrs.keys().map(|name| name.as_bytes()).collect();
        match self.ask(p, FsCall::ListXattr { ino })? {
            Ok((FsReply::Names(got), _)) if got.iter().map(|name| &**name).eq(names) => {}
            other => {
                return Err(apart(format!(
                    "attributes {:?} are {other:?}",
                    inode.xattrs
                )));
            }
        }
        for (name, value) in &inode.xattrs {
            let name = name.as_bytes().to_vec();
            let call = FsCall::GetXattr { ino, name };
            match self.ask(p, call)? {
                Ok((FsReply::Value(got), _)) if got == *value => {}
                other => return Err(apart(format!("attribute {value:?} is {other:?}"))),
            }
        }
        match &inode.node {
            Node::File(bytes) => {
                let read = self.read_all(p, ino, 0)?;
                if read.as_ref() != Ok(bytes.as_ref()) {
                    let read = read.map(|read| read.len());
                    let what = format!("{} bytes, read {read:?} others", bytes.len());
                    return Err(apart(what));
                }
            }
            Node::Link(target) => match self.ask(p, FsCall::ReadLink { ino })? {
                Ok((FsReply::Target(got), _)) if *got == *target.as_bytes() => {}
                other => return Err(apart(format!("target {target:?} is {other:?}"))),
            },
            Node::Dir(_) | Node::Fifo => {}
        }
        Ok(())
    }

    /// Opens a file on a mount, reads it from an offset to its end, in odd pieces, and closes it.
    pub fn read_all(
        &mut self,
        p: usize,
        ino: Ino,
        from: u64,
    ) -> Result<Result<Vec<u8>, tandem_core::error::FsError>, Failure> {
        let write = false;
        let fh = match self.ask(p, FsCall::Open { ino, write })? {
            Ok((FsReply::Opened { fh, .. }, _)) => fh,
            Ok(other) => return Err(apart(format!("open is answered {other:?}"))),
            Err(error) => return Ok(Err(error)),
        };
        let mut read = Vec::new();
        let len = self.config.chunk_size * 3 / 2 + 1;
        let result = loop {
            let offset = from + read.len() as u64;
            match self.ask(p, FsCall::Read { fh, offset, len })? {
                Ok((_, bytes)) if bytes.is_empty() => break Ok(read),
                Ok((_, bytes)) => read.extend(bytes),
                Err(error) => break Err(error),
            }
        };
        self.ask(p, FsCall::Release { fh })?.ok();
        Ok(result)
    }
}
