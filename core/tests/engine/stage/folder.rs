//! Ada's folder: a few files with fingerprints that change as a real file system's do.

use std::collections::BTreeMap;

use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Seen, Sighting};
use tandem_core::ids::ObjectId;
use tandem_core::place_wish::{Dress, FileKey, PlaceWish, Ready, Whereabouts};
use tandem_core::time::WallTime;
use tandem_core::trash::{Found, TrashWish};
use tandem_core::tree::name::{Name, TargetPath};
use tandem_core::tree::register::Xattrs;

/// 2026-11-23, 10:00 UTC.
const MORNING: i64 = 1_795_428_000;

/// Where the trash is.
const TRASH: &str = ".tandem/trash/";

/// The files of a shared folder, by path. Below `.tandem/` lies what is beside it.
#[derive(Clone)]
pub(crate) struct Files {
    /// Which inode each path leads to.
    paths: BTreeMap<String, u64>,
    /// All that were ever made: what has no path may be open.
    files: BTreeMap<u64, File>,
    /// Ticks with every change.
    clock: i64,
    inodes: u64,
    /// What survives power loss.
    hardened: Option<Box<Self>>,
}

#[derive(Clone)]
struct File {
    what: Seen,
    bytes: Vec<u8>,
    mode: u16,
    print: Fingerprint,
    xattrs: Xattrs,
}

impl Default for Files {
    fn default() -> Self {
        let mut files = Self {
            paths: BTreeMap::new(),
            files: BTreeMap::new(),
            clock: MORNING,
            inodes: 10,
            hardened: None,
        };
        files.make("", Seen::Directory, &[]);
        files.harden();
        files
    }
}

/// Tells whether two fingerprints are of one file that was not written to in between.
fn same(a: &Fingerprint, b: &Fingerprint) -> bool {
    FileKey::from(a) == FileKey::from(b) && a.size == b.size && a.mtime == b.mtime
}

fn text(path: &[Name]) -> String {
    let names = path
        .iter()
        .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    names.collect::<Vec<_>>().join("/")
}

impl Files {
    fn tick(&mut self) -> WallTime {
        self.clock += 1;
        WallTime {
            secs: self.clock,
            nanos: 0,
        }
    }

    fn make(&mut self, path: &str, what: Seen, bytes: &[u8]) {
        self.inodes += 1;
        let (now, ino) = (self.tick(), self.inodes);
        let print = Fingerprint {
            ino,
            born_ns: now.secs * 1_000_000_000,
            size: bytes.len() as u64,
            mtime: now,
            ctime: now,
        };
        let mode = if what == Seen::Directory {
            0o755
        } else {
            0o644
        };
        let bytes = bytes.to_vec();
        let xattrs = Xattrs::new();
        self.paths.insert(path.to_owned(), ino);
        self.files.insert(
            ino,
            File {
                what,
                bytes,
                mode,
                print,
                xattrs,
            },
        );
    }

    fn at(&self, path: &str) -> Option<&File> {
        self.files.get(self.paths.get(path)?)
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut File> {
        self.files.get_mut(self.paths.get(path)?)
    }

    fn links(&self, ino: u64) -> u32 {
        let names = self.paths.values().filter(|at| **at == ino).count();
        u32::try_from(names).unwrap()
    }

    fn holds_any(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.paths.keys().any(|path| path.starts_with(&below))
    }

    /// Moves a path and all below it.
    fn shift(&mut self, from: &str, to: &str) {
        let now = self.tick();
        self.at_mut(from).expect("it is there").print.ctime = now;
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .paths
            .keys()
            .filter(|path| *path == from || path.starts_with(&below))
            .cloned()
            .collect();
        for path in moved {
            let ino = self.paths.remove(&path).unwrap();
            self.paths
                .insert(format!("{to}{}", &path[from.len()..]), ino);
        }
    }

    /// What is there now survives power loss.
    pub(crate) fn sync(&mut self) {
        self.harden();
    }

    fn harden(&mut self) {
        let mut copy = self.clone();
        copy.hardened = None;
        self.hardened = Some(Box::new(copy));
    }

    /// What was done since the last time is gone.
    pub(super) fn power_loss(&mut self) {
        if let Some(hardened) = self.hardened.take() {
            *self = *hardened;
            self.harden();
        }
    }

    /// Returns every name, but for what is beside the folder, with what is there: a directory
    /// ends with a slash, a symlink shows its target.
    pub(crate) fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let own = self
            .paths
            .iter()
            .filter(|(path, _)| !path.starts_with(".tandem"));
        own.filter(|(path, _)| !path.is_empty())
            .map(|(path, ino)| {
                let file = &self.files[ino];
                match &file.what {
                    Seen::Directory => (format!("{path}/"), Vec::new()),
                    Seen::Symlink(target) => (path.clone(), [b"-> ", target.as_bytes()].concat()),
                    Seen::File | Seen::Local => (path.clone(), file.bytes.clone()),
                }
            })
            .collect()
    }

    /// Returns what lies in the trash, and what was taken out of the way.
    pub(crate) fn beside(&self) -> Vec<Vec<u8>> {
        let beside = |path: &&String| {
            path.starts_with(".tandem/trash/") || path.starts_with(".tandem/parked/")
        };
        let paths = self.paths.keys().filter(beside);
        paths
            .map(|path| self.at(path).unwrap().bytes.clone())
            .collect()
    }

    /// Lets the wall clock go on.
    pub(crate) fn pass(&mut self, secs: i64) {
        self.clock += secs;
    }

    /// Returns the wall clock.
    pub(crate) fn wall(&self) -> WallTime {
        WallTime {
            secs: self.clock,
            nanos: 0,
        }
    }

    /// All of it is copied to another place, with times and all names, as `cp -a` does.
    pub(crate) fn copied(&mut self) {
        let now = self.tick();
        let mut copies = BTreeMap::new();
        for ino in self.paths.values_mut() {
            let copy = *copies.entry(*ino).or_insert_with(|| {
                self.inodes += 1;
                self.inodes
            });
            let mut file = self.files[ino].clone();
            file.print.ino = copy;
            file.print.born_ns = now.secs * 1_000_000_000;
            file.print.ctime = now;
            self.files.insert(copy, file);
            *ino = copy;
        }
        self.harden();
    }

    /// Returns where something lies that was taken out of the way, if anything does.
    pub(crate) fn parked(&self) -> Option<String> {
        let mut paths = self.paths.keys();
        paths
            .find(|path| path.starts_with(".tandem/parked/"))
            .cloned()
    }

    pub(crate) fn mode(&self, path: &str) -> u16 {
        self.at(path).expect("it is there").mode
    }

    pub(crate) fn mtime(&self, path: &str) -> WallTime {
        self.at(path).expect("it is there").print.mtime
    }

    pub(crate) fn inode(&self, path: &str) -> u64 {
        self.paths[path]
    }

    /// Returns what was seen at a place of a wish, if its directory is the one that was meant.
    fn place(&self, at: &Whereabouts) -> Result<String, DiskError> {
        let mut path = match at.parked {
            Some(node) => format!(".tandem/parked/{node:?}"),
            None => String::new(),
        };
        for (ix, name) in at.names.iter().enumerate() {
            let is_last = ix + 1 == at.names.len();
            if is_last && let Some(key) = at.parent {
                let parent = self.at(&path).ok_or(DiskError::NotFound)?;
                if FileKey::from(&parent.print) != key {
                    return Err(DiskError::Changed);
                }
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&String::from_utf8_lossy(name.as_bytes()));
        }
        Ok(path)
    }

    fn seen_at(&self, path: &str) -> Result<DiskDone, DiskError> {
        let file = self.at(path).ok_or(DiskError::NotFound)?;
        Ok(self.seen_as(Some(self.sighting(file))))
    }

    fn seen_as(&self, sighting: Option<Sighting>) -> DiskDone {
        let wall = WallTime {
            secs: self.clock,
            nanos: 0,
        };
        DiskDone::Looked { sighting, wall }
    }

    fn dress(&mut self, path: &str, dress: &Dress) {
        let now = self.tick();
        let file = self.at_mut(path).expect("it is there");
        file.mode = dress.mode;
        file.xattrs.clone_from(&dress.xattrs);
        if let Some(mtime) = dress.mtime {
            file.print.mtime = mtime;
        }
        file.print.ctime = now;
    }

    /// Returns where an object that is ready lies.
    fn ready(object: ObjectId) -> String {
        format!(".tandem/partial/{object:?}")
    }

    /// Makes an object ready.
    pub(super) fn prepare(&mut self, ready: &Ready, bytes: &[u8]) -> Sighting {
        let path = Self::ready(ready.object);
        self.make(&path, Seen::File, bytes);
        self.dress(&path, &ready.dress);
        self.sighting(self.at(&path).unwrap())
    }

    /// Forgets an object that was ready.
    pub(super) fn discard(&mut self, object: ObjectId) {
        self.paths.remove(&Self::ready(object));
    }

    fn trash(&mut self, path: &str) {
        let now = self.tick();
        let called = path.rsplit('/').next().unwrap_or_default();
        self.shift(path, &format!(".tandem/trash/{}-{called}", now.secs));
    }

    /// Does something in the trash.
    pub(super) fn attend_trash(&mut self, wish: &TrashWish) -> Result<DiskDone, DiskError> {
        match wish {
            TrashWish::List => {
                let mut found = Vec::new();
                for path in self.thrown() {
                    let (secs, called) = path[TRASH.len()..].split_once('-').unwrap();
                    found.push(Found {
                        print: self.at(&path).unwrap().print,
                        name: Name::parse(called.as_bytes()).ok(),
                        since: WallTime {
                            secs: secs.parse().unwrap(),
                            nanos: 0,
                        },
                    });
                }
                let secs = self.clock;
                let wall = WallTime { secs, nanos: 0 };
                Ok(DiskDone::Trash { found, wall })
            }
            TrashWish::Remove { files } => {
                for path in self.thrown() {
                    if files.contains(&FileKey::from(&self.at(&path).unwrap().print)) {
                        self.paths.remove(&path);
                    }
                }
                Ok(DiskDone::Done)
            }
            TrashWish::Restore { file, to } => {
                let mut all = self.thrown().into_iter();
                let is_it = |path: &String| FileKey::from(&self.at(path).unwrap().print) == *file;
                let from = all.find(is_it).ok_or(DiskError::NotFound)?;
                for len in 1..to.len() {
                    let dir = text(&to[..len]);
                    match self.at(&dir).map(|file| file.what.clone()) {
                        None => self.make(&dir, Seen::Directory, &[]),
                        Some(Seen::Directory) => {}
                        Some(_) => return Err(DiskError::WrongKind),
                    }
                }
                if self.at(&text(to)).is_some() {
                    return Err(DiskError::Exists);
                }
                let file = self.at(&from).unwrap();
                let (what, bytes) = (file.what.clone(), file.bytes.clone());
                let mtime = file.print.mtime;
                self.make(&text(to), what, &bytes);
                self.at_mut(&text(to)).unwrap().print.mtime = mtime;
                Ok(DiskDone::Done)
            }
        }
    }

    /// Returns where everything lies that is in the trash.
    pub(crate) fn thrown(&self) -> Vec<String> {
        let all = self.paths.keys();
        all.filter(|path| path.starts_with(TRASH))
            .cloned()
            .collect()
    }

    fn expects(&self, path: &str, expect: &Fingerprint) -> bool {
        let is_it = |print: &Fingerprint| same(print, expect) && print.ctime == expect.ctime;
        self.at(path).is_some_and(|file| is_it(&file.print))
    }

    /// Carries out a wish, all of it or nothing.
    pub(super) fn perform(&mut self, wish: &PlaceWish) -> Result<DiskDone, DiskError> {
        match wish {
            PlaceWish::Prepare { .. } => unreachable!("the side does that, with its objects"),
            PlaceWish::Put {
                object,
                key,
                to,
                over,
            } => {
                let (from, to) = (Self::ready(*object), self.place(to)?);
                let is_it = |file: &File| FileKey::from(&file.print) == *key;
                if self.at(&to).is_some_and(is_it) {
                    return self.seen_at(&to);
                }
                if !self.at(&from).is_some_and(is_it) {
                    return Err(DiskError::NotFound);
                }
                match over {
                    None if self.at(&to).is_some() => return Err(DiskError::Exists),
                    Some(over) if !self.expects(&to, over) => return Err(DiskError::Changed),
                    Some(_) => self.trash(&to),
                    None => {}
                }
                self.shift(&from, &to);
                self.seen_at(&to)
            }
            PlaceWish::MakeDirectory { at, dress } => {
                let path = self.place(at)?;
                if self.at(&path).is_some() {
                    return Err(DiskError::Exists);
                }
                self.make(&path, Seen::Directory, &[]);
                self.dress(&path, dress);
                self.seen_at(&path)
            }
            PlaceWish::MakeSymlink {
                at,
                target,
                mtime,
                over,
            } => {
                let path = self.place(at)?;
                match over {
                    None if self.at(&path).is_some() => return Err(DiskError::Exists),
                    Some(over) if !self.expects(&path, over) => return Err(DiskError::Changed),
                    Some(_) => self.trash(&path),
                    None => {}
                }
                self.make(&path, Seen::Symlink(target.clone()), &[]);
                self.at_mut(&path).unwrap().print.mtime = *mtime;
                self.seen_at(&path)
            }
            PlaceWish::Link {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let file = self.at(&from).ok_or(DiskError::NotFound)?;
                let is_seen = expect.is_none_or(|expect| self.expects(&from, &expect));
                if FileKey::from(&file.print) != *key || !is_seen {
                    return Err(DiskError::Changed);
                }
                if self.at(&to).is_some() {
                    return Err(DiskError::Exists);
                }
                let ino = self.paths[&from];
                self.paths.insert(to.clone(), ino);
                let now = self.tick();
                self.at_mut(&to).unwrap().print.ctime = now;
                self.seen_at(&to)
            }
            PlaceWish::Move {
                from,
                key,
                expect,
                to,
            } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let file = self.at(&from).ok_or(DiskError::NotFound)?;
                let is_seen = expect.is_none_or(|expect| self.expects(&from, &expect));
                if FileKey::from(&file.print) != *key || !is_seen {
                    return Err(DiskError::Changed);
                }
                if self.at(&to).is_some() {
                    return Err(DiskError::Exists);
                }
                self.shift(&from, &to);
                self.seen_at(&to)
            }
            PlaceWish::Trash { at, expect } => {
                let path = self.place(at)?;
                self.at(&path).ok_or(DiskError::NotFound)?;
                if !self.expects(&path, expect) {
                    return Err(DiskError::Changed);
                }
                let ino = self.paths[&path];
                if self.links(ino) > 1 {
                    self.paths.remove(&path);
                    let now = self.tick();
                    let of_it = |(_, other): &(&String, &u64)| **other == ino;
                    let other = self.paths.iter().find(of_it).map(|(path, _)| path.clone());
                    let other = other.expect("it has a further name");
                    self.at_mut(&other).unwrap().print.ctime = now;
                    return self.seen_at(&other);
                }
                self.trash(&path);
                Ok(self.seen_as(None))
            }
            PlaceWish::RemoveDirectory { at, key } => {
                let path = self.place(at)?;
                let file = self.at(&path).ok_or(DiskError::NotFound)?;
                if FileKey::from(&file.print) != *key {
                    return Err(DiskError::Changed);
                }
                if self.holds_any(&path) {
                    return Err(DiskError::NotEmpty);
                }
                self.paths.remove(&path);
                Ok(DiskDone::Done)
            }
            PlaceWish::Dress { at, expect, dress } => {
                let path = self.place(at)?;
                let file = self.at(&path).ok_or(DiskError::NotFound)?;
                let is_directory = file.what == Seen::Directory;
                let is_it = FileKey::from(&file.print) == FileKey::from(expect);
                if !(is_it && (is_directory || self.expects(&path, expect))) {
                    return Err(DiskError::Changed);
                }
                self.dress(&path, dress);
                self.seen_at(&path)
            }
            PlaceWish::Look { at } => {
                let path = self.place(at)?;
                let found = self.at(&path).map(|file| self.sighting(file));
                Ok(self.seen_as(found))
            }
            PlaceWish::List { at } => {
                let path = self.place(at)?;
                self.list_at(&path)
            }
            PlaceWish::Harden => {
                self.harden();
                Ok(DiskDone::Done)
            }
        }
    }

    /// Writes a file: in place if it is there.
    pub(crate) fn write(&mut self, path: &str, bytes: &[u8]) {
        if !self.paths.contains_key(path) {
            self.make(path, Seen::File, bytes);
        }
        let now = self.tick();
        let file = self.at_mut(path).expect("it was made");
        file.bytes = bytes.to_vec();
        file.print.size = bytes.len() as u64;
        (file.print.mtime, file.print.ctime) = (now, now);
    }

    /// Writes as many bytes as there are over them, and sets the time back: only the change time
    /// tells.
    pub(crate) fn write_secretly(&mut self, path: &str, bytes: &[u8]) {
        let now = self.tick();
        let file = self.at_mut(path).expect("it is there");
        assert_eq!(file.bytes.len(), bytes.len());
        file.bytes = bytes.to_vec();
        file.print.ctime = now;
    }

    /// Puts another file in its place, as a save by rename does.
    pub(crate) fn replace(&mut self, path: &str, bytes: &[u8]) {
        self.make(path, Seen::File, bytes);
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        self.make(path, Seen::Directory, &[]);
    }

    /// Makes a pipe.
    pub(crate) fn mkfifo(&mut self, path: &str) {
        self.make(path, Seen::Local, &[]);
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        let target = TargetPath::parse(target.as_bytes()).unwrap();
        self.make(path, Seen::Symlink(target), &[]);
    }

    pub(crate) fn chmod(&mut self, path: &str, mode: u16) {
        let now = self.tick();
        let file = self.at_mut(path).expect("it is there");
        (file.mode, file.print.ctime) = (mode, now);
    }

    /// Gives what stands there a new time.
    pub(crate) fn touch(&mut self, path: &str) {
        let now = self.tick();
        let file = self.at_mut(path).expect("it is there");
        (file.print.mtime, file.print.ctime) = (now, now);
    }

    pub(crate) fn xattrs(&self, path: &str) -> &Xattrs {
        &self.at(path).expect("it is there").xattrs
    }

    pub(crate) fn set_xattrs(&mut self, path: &str, xattrs: Xattrs) {
        let now = self.tick();
        let file = self.at_mut(path).expect("it is there");
        (file.xattrs, file.print.ctime) = (xattrs, now);
    }

    /// Gives a file a further name.
    pub(crate) fn link(&mut self, from: &str, to: &str) {
        let ino = self.paths[from];
        self.paths.insert(to.to_owned(), ino);
        let now = self.tick();
        self.at_mut(to).expect("it was linked").print.ctime = now;
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.shift(from, to);
    }

    /// Removes a name, and all below it.
    pub(crate) fn remove(&mut self, path: &str) {
        self.paths.remove(path).expect("it is there");
        let below = format!("{path}/");
        self.paths.retain(|path, _| !path.starts_with(&below));
    }

    fn sighting(&self, file: &File) -> Sighting {
        Sighting {
            what: file.what.clone(),
            print: file.print,
            mode: file.mode,
            uid: 0,
            gid: 0,
            nlink: self.links(file.print.ino),
            xattrs: file.xattrs.clone(),
        }
    }

    pub(super) fn list(&self, dir: &[Name]) -> Result<DiskDone, DiskError> {
        self.list_at(&text(dir))
    }

    fn list_at(&self, at: &str) -> Result<DiskDone, DiskError> {
        let this = self.at(at).ok_or(DiskError::NotFound)?;
        let here = |path: &str| match path.rsplit_once('/') {
            Some((parent, name)) => (parent == at).then(|| name.to_owned()),
            None => (at.is_empty() && !path.is_empty()).then(|| path.to_owned()),
        };
        let item = |(path, ino): (&String, &u64)| {
            Some((
                Name::parse(here(path)?.as_bytes()).ok()?,
                self.sighting(&self.files[ino]),
            ))
        };
        Ok(DiskDone::Listed {
            this: this.print,
            items: self.paths.iter().filter_map(item).collect(),
            complete: true,
            wall: WallTime {
                secs: self.clock,
                nanos: 0,
            },
        })
    }

    pub(super) fn look(&self, path: &[Name]) -> DiskDone {
        DiskDone::Looked {
            sighting: self.at(&text(path)).map(|file| self.sighting(file)),
            wall: WallTime {
                secs: self.clock,
                nanos: 0,
            },
        }
    }

    pub(super) fn read(
        &self,
        path: &[Name],
        offset: u64,
        len: u32,
    ) -> Result<(Vec<u8>, Fingerprint), DiskError> {
        let file = self.at(&text(path)).ok_or(DiskError::NotFound)?;
        Ok(file.read(offset, len))
    }

    /// Reads a file that lies in the trash.
    pub(super) fn read_thrown(
        &self,
        key: FileKey,
        offset: u64,
        len: u32,
    ) -> Result<(Vec<u8>, Fingerprint), DiskError> {
        let below = |path: &str| path.starts_with(TRASH);
        let thrown = self.paths.iter().filter(|(path, _)| below(path));
        let mut files = thrown.map(|(_, ino)| &self.files[ino]);
        let found = files.find(|file| FileKey::from(&file.print) == key);
        Ok(found.ok_or(DiskError::NotFound)?.read(offset, len))
    }

    pub(crate) fn empty_trash(&mut self) {
        self.paths.retain(|path, _| !path.starts_with(TRASH));
    }
}

impl File {
    fn read(&self, offset: u64, len: u32) -> (Vec<u8>, Fingerprint) {
        let from = usize::try_from(offset).unwrap().min(self.bytes.len());
        let to = (from + len as usize).min(self.bytes.len());
        (self.bytes[from..to].to_vec(), self.print)
    }
}
