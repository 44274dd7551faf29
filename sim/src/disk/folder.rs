//! A shared folder: a tree of plain files that programs change and the host's engine looks at.
//!
//! Law: what `stat` shows advances properly. Each change of an inode moves its change time, so
//! that two states of a file never bear equal fingerprints; inode numbers come back after a
//! delete, with another birth time. Every content that a file ever had goes into the history.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_core::event::{Fingerprint, Seen, Sighting};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath, XattrName};

use crate::check::shown::Past;
use crate::check::truth::History;
use crate::disk::place::Beside;

/// Names from the root.
pub type Path = Vec<Name>;

/// An inode for the simulator's own use: unlike its number it never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64);

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A plain file.
    File(Arc<Vec<u8>>),
    /// A directory.
    Dir(BTreeMap<Name, Id>),
    /// A symlink.
    Link(TargetPath),
    /// A fifo.
    Fifo,
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is.
    pub node: Node,
    /// Its number, which another may have had.
    pub number: u64,
    /// Permission bits.
    pub mode: u16,
    /// When it was made, last written, last changed: nanoseconds from 1970.
    pub born: i64,
    /// See `born`.
    pub mtime: i64,
    /// See `born`.
    pub ctime: i64,
    /// How many names it has.
    pub nlink: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<XattrName, Arc<[u8]>>,
}

/// The folder. Inodes without a name stay, for descriptors that are open.
#[derive(Debug)]
pub struct Folder {
    inodes: BTreeMap<Id, Inode>,
    next: u64,
    free: Vec<u64>,
    clock: i64,
    /// What lies beside it.
    pub beside: Beside,
    /// All contents that were ever here.
    pub history: History,
    /// All names, sizes, times and modes that were ever here.
    pub past: Past,
}

/// The root's inode.
pub const ROOT: Id = Id(0);

impl Folder {
    /// Returns an empty folder.
    pub fn new() -> Self {
        let mut folder = Self {
            inodes: BTreeMap::new(),
            next: 0,
            free: Vec::new(),
            clock: 0,
            beside: Beside::default(),
            history: History::default(),
            past: Past::default(),
        };
        folder.make(Node::Dir(BTreeMap::new()), 0o755);
        folder
    }

    /// Moves the clock forward to the wall time `nanos`; it never goes back.
    pub fn at(&mut self, nanos: i64) -> &mut Self {
        self.clock = self.clock.max(nanos);
        self
    }

    /// Sets the clock to the wall time `nanos`, which may be earlier.
    pub fn jump(&mut self, nanos: i64) {
        self.clock = nanos;
    }

    fn now(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn make(&mut self, node: Node, mode: u16) -> Id {
        let id = Id(self.next);
        self.next += 1;
        let number = self.free.pop().unwrap_or(100 + id.0);
        let now = self.now();
        if let Node::File(bytes) = &node {
            self.history.note(id, bytes.clone());
        }
        let inode = Inode {
            node,
            number,
            mode,
            born: now,
            mtime: now,
            ctime: now,
            nlink: 1,
            xattrs: BTreeMap::new(),
        };
        self.inodes.insert(id, inode);
        self.remember(id);
        id
    }

    fn remember(&mut self, id: Id) {
        let (print, mode) = (self.print(id), self.inode(id).mode);
        self.past.was(id, print.size, print.mtime, mode);
    }

    /// Returns the inode; one that was ever made is always there.
    pub fn inode(&self, id: Id) -> &Inode {
        &self.inodes[&id]
    }

    /// Changes an inode and its change time.
    pub fn touch(&mut self, id: Id, change: impl FnOnce(&mut Inode, i64)) {
        let now = self.now();
        if let Some(inode) = self.inodes.get_mut(&id) {
            change(inode, now);
            inode.ctime = now;
            self.remember(id);
        }
    }

    /// Returns what stands at the end of a path.
    pub fn find(&self, path: &[Name]) -> Option<Id> {
        let mut at = ROOT;
        for name in path {
            match &self.inode(at).node {
                Node::Dir(names) => at = *names.get(name)?,
                Node::File(_) | Node::Link(_) | Node::Fifo => return None,
            }
        }
        Some(at)
    }

    /// Returns everything that has a name, in order of paths, without the root.
    pub fn walk(&self) -> Vec<(Path, Id)> {
        self.walk_from(vec![(Path::new(), ROOT)])
    }

    /// Returns what the host has put out of the way, and all that is in it.
    pub fn out_of_the_way(&self) -> Vec<Id> {
        let tops: Vec<_> = self.beside.parked.values().copied().collect();
        let below = self.walk_from(tops.iter().map(|id| (Path::new(), *id)).collect());
        let below = below.into_iter().map(|(_, id)| id);
        tops.iter().copied().chain(below).collect()
    }

    fn walk_from(&self, mut open: Vec<(Path, Id)>) -> Vec<(Path, Id)> {
        let mut found = Vec::new();
        while let Some((path, id)) = open.pop() {
            if let Node::Dir(names) = &self.inode(id).node {
                for (name, child) in names {
                    let mut below = path.clone();
                    below.push(name.clone());
                    found.push((below.clone(), *child));
                    open.push((below, *child));
                }
            }
        }
        found.sort();
        found
    }

    /// Makes something new under a name, in the place of what stood there (as a rename of a new
    /// file would). Does nothing where the parent is no directory, or a directory would go.
    pub fn place(&mut self, path: &[Name], node: Node, mode: u16) -> Option<Id> {
        let (name, parent) = path.split_last()?;
        let parent = self.find(parent)?;
        if !matches!(self.inode(parent).node, Node::Dir(_)) {
            return None;
        }
        if let Some(old) = self.find(path) {
            if matches!(self.inode(old).node, Node::Dir(_)) {
                return None;
            }
            self.unlink(path);
        }
        let id = self.make(node, mode);
        self.enter(parent, name.clone(), id);
        Some(id)
    }

    pub(super) fn enter(&mut self, parent: Id, name: Name, id: Id) {
        self.past.named(name.as_bytes(), id);
        self.history.stood_in(parent, name.as_bytes(), id);
        self.touch(parent, |inode, now| {
            if let Node::Dir(names) = &mut inode.node {
                names.insert(name, id);
                inode.mtime = now;
            }
        });
        for (path, id) in self.walk() {
            self.history.stood(&path, id);
        }
    }

    fn leave(&mut self, path: &[Name]) -> Option<Id> {
        let (name, parent) = path.split_last()?;
        let parent = self.find(parent)?;
        let id = self.find(path)?;
        self.touch(parent, |inode, now| {
            if let Node::Dir(names) = &mut inode.node {
                names.remove(name);
                inode.mtime = now;
            }
        });
        Some(id)
    }

    /// Removes a name, and what is below it.
    pub fn unlink(&mut self, path: &[Name]) {
        if let Some(id) = self.leave(path) {
            self.drop_name(id);
        }
    }

    pub(super) fn drop_name(&mut self, id: Id) {
        if let Node::Dir(names) = self.inode(id).node.clone() {
            for child in names.values() {
                self.drop_name(*child);
            }
        }
        self.touch(id, |inode, _| inode.nlink = inode.nlink.saturating_sub(1));
        if self.inode(id).nlink == 0 {
            self.free.push(self.inode(id).number);
        }
    }

    /// Gives a file a second name.
    pub fn link(&mut self, from: &[Name], to: &[Name]) -> bool {
        let (Some(id), Some((name, parent))) = (self.find(from), to.split_last()) else {
            return false;
        };
        let Some(parent) = self.find(parent) else {
            return false;
        };
        let fits = matches!(self.inode(parent).node, Node::Dir(_))
            && matches!(self.inode(id).node, Node::File(_))
            && self.find(to).is_none();
        if fits {
            self.touch(id, |inode, _| inode.nlink += 1);
            self.enter(parent, name.clone(), id);
        }
        fits
    }

    /// Renames, replacing what stands at the end, as `rename(2)` would. Tells whether it did.
    pub fn rename(&mut self, from: &[Name], to: &[Name]) -> bool {
        let (Some(id), Some((name, parent))) = (self.find(from), to.split_last()) else {
            return false;
        };
        let Some(parent) = self.find(parent) else {
            return false;
        };
        let is_dir = |id| matches!(self.inode(id).node, Node::Dir(_));
        if from == to || to.starts_with(from) || from.is_empty() || !is_dir(parent) {
            return false;
        }
        if let Some(old) = self.find(to) {
            let empty = matches!(&self.inode(old).node, Node::Dir(names) if names.is_empty());
            if old == id || is_dir(old) != is_dir(id) || (is_dir(old) && !empty) {
                return false;
            }
            self.unlink(to);
        }
        if self.leave(from).is_none() {
            return false;
        }
        self.touch(id, |_, _| {});
        self.enter(parent, name.clone(), id);
        true
    }

    /// Gives a file new content, in place.
    pub fn write(&mut self, id: Id, bytes: Vec<u8>) {
        let bytes = Arc::new(bytes);
        self.history.note(id, bytes.clone());
        self.touch(id, |inode, now| {
            if matches!(inode.node, Node::File(_)) {
                inode.node = Node::File(bytes);
                inode.mtime = now;
            }
        });
    }

    /// Iterates over the bytes of all files that there are, in the folder and beside it.
    pub fn all_bytes(&self) -> impl Iterator<Item = Arc<Vec<u8>>> + '_ {
        self.inodes.keys().filter_map(|id| self.bytes(*id))
    }

    /// Returns a file's bytes.
    pub fn bytes(&self, id: Id) -> Option<Arc<Vec<u8>>> {
        match &self.inode(id).node {
            Node::File(bytes) => Some(bytes.clone()),
            Node::Dir(_) | Node::Link(_) | Node::Fifo => None,
        }
    }

    /// Returns an inode's fingerprint.
    pub fn print(&self, id: Id) -> Fingerprint {
        let inode = self.inode(id);
        let size = match &inode.node {
            Node::File(bytes) => bytes.len() as u64,
            Node::Dir(names) => 4096 + names.len() as u64,
            Node::Link(target) => target.as_bytes().len() as u64,
            Node::Fifo => 0,
        };
        Fingerprint {
            ino: inode.number,
            born_ns: inode.born,
            size,
            mtime: wall(inode.mtime),
            ctime: wall(inode.ctime),
        }
    }

    /// Returns what a look at an inode shows.
    pub fn sighting(&self, id: Id) -> Sighting {
        let inode = self.inode(id);
        Sighting {
            what: match &inode.node {
                Node::File(_) => Seen::File,
                Node::Dir(_) => Seen::Directory,
                Node::Link(target) => Seen::Symlink(target.clone()),
                Node::Fifo => Seen::Local,
            },
            print: self.print(id),
            mode: inode.mode,
            uid: 1000,
            gid: 1000,
            nlink: inode.nlink,
            xattrs: inode.xattrs.clone(),
        }
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns nanoseconds from 1970 as a file system stores them.
pub fn wall(nanos: i64) -> WallTime {
    WallTime {
        secs: nanos.div_euclid(1_000_000_000),
        nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}
