//! Disks in memory: a shared folder, and the objects of a sparse store.
//!
//! Law: they never fail, and bring back what was put there.

use std::collections::BTreeMap;

use tandem_core::action::DiskWish;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Seen, Sighting};
use tandem_core::ids::{ChunkHash, ObjectId};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath};

use crate::shell::Parked;

/// Something in a folder.
#[derive(Clone, Debug)]
pub(crate) enum Thing {
    Dir,
    File(Vec<u8>),
    Link(TargetPath),
}

/// A shared folder: things by their path, each with the inode and time of its last change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    things: BTreeMap<Vec<Name>, (Thing, u64, i64)>,
    clock: i64,
}

impl Folder {
    /// Returns a folder with two files, a directory and a symlink.
    pub(crate) fn small() -> Self {
        let mut folder = Self::default();
        let target = TargetPath::parse(b"a").expect("a target");
        folder.put(&[b"a"], Thing::File(vec![b'a'; 700]));
        folder.put(&[b"d"], Thing::Dir);
        folder.put(&[b"d", b"b"], Thing::File(vec![b'b'; 10]));
        folder.put(&[b"l"], Thing::Link(target));
        folder
    }

    /// Puts something at a path; what stands there is rewritten in place.
    pub(crate) fn put(&mut self, path: &[&[u8]], thing: Thing) {
        self.clock += 1;
        let path: Vec<Name> = path.iter().map(|name| name_of(name)).collect();
        let born = u64::try_from(self.clock).expect("it counts up") + 1;
        let ino = self.things.get(&path).map_or(born, |(_, ino, _)| *ino);
        self.things.insert(path, (thing, ino, self.clock));
    }

    /// Returns what is in it, for people who compare.
    pub(crate) fn things(&self) -> impl Iterator<Item = (&[Name], &Thing)> {
        let things = self.things.iter();
        things.map(|(path, (thing, ..))| (path.as_slice(), thing))
    }

    fn sighting(&self, path: &[Name]) -> Option<Sighting> {
        let root = (Thing::Dir, 1, 0);
        let (thing, ino, at) = match path {
            [] => &root,
            path => self.things.get(path)?,
        };
        let (what, size) = match thing {
            Thing::Dir => (Seen::Directory, 0),
            Thing::File(bytes) => (Seen::File, bytes.len()),
            Thing::Link(target) => (Seen::Symlink(target.clone()), target.as_bytes().len()),
        };
        let time = wall(*at);
        let print = Fingerprint {
            ino: *ino,
            born_ns: 1,
            size: u64::try_from(size).expect("small sizes are fine"),
            mtime: time,
            ctime: time,
        };
        Some(Sighting {
            what,
            print,
            mode: 0o644,
            uid: 0,
            gid: 0,
            nlink: 1,
            xattrs: BTreeMap::new(),
        })
    }

    /// Lists a directory.
    pub(crate) fn list(&self, path: &[Name]) -> Result<DiskDone, DiskError> {
        let this = self.sighting(path).ok_or(DiskError::NotFound)?;
        if this.what != Seen::Directory {
            return Err(DiskError::WrongKind);
        }
        let below = self.things.keys().filter_map(|at| {
            let (name, parent) = at.split_last()?;
            (parent == path).then_some((name.clone(), self.sighting(at)?))
        });
        Ok(DiskDone::Listed {
            this: this.print,
            items: below.collect(),
            complete: true,
            wall: wall(self.clock),
        })
    }

    /// Looks at a name.
    pub(crate) fn look(&self, path: &[Name]) -> DiskDone {
        DiskDone::Looked {
            sighting: self.sighting(path),
            wall: wall(self.clock),
        }
    }

    /// Reads from a file.
    pub(crate) fn read(
        &self,
        path: &[Name],
        offset: u64,
        len: u32,
    ) -> Result<(Vec<u8>, Fingerprint), DiskError> {
        let print = self.sighting(path).ok_or(DiskError::NotFound)?.print;
        match self.things.get(path) {
            Some((Thing::File(bytes), ..)) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let read = bytes.iter().skip(from).take(len).copied().collect();
                Ok((read, print))
            }
            Some((Thing::Dir | Thing::Link(_), ..)) | None => Err(DiskError::WrongKind),
        }
    }
}

/// Returns the name that these bytes are.
pub(crate) fn name_of(bytes: &[u8]) -> Name {
    Name::parse(bytes).expect("a good name")
}

fn wall(secs: i64) -> WallTime {
    WallTime { secs, nanos: 0 }
}

/// What is stored of one object.
#[derive(Debug, Default)]
struct Object {
    size: u64,
    sidecar: Vec<u8>,
    chunks: BTreeMap<u64, Parked>,
    is_complete: bool,
}

/// The objects of a sparse store. Of bytes only their length and hash are kept.
#[derive(Debug, Default)]
pub(crate) struct Objects(BTreeMap<ObjectId, Object>);

impl Objects {
    /// Returns what is stored at an offset of an object.
    pub(crate) fn read(&self, object: ObjectId, offset: u64) -> Result<Parked, DiskError> {
        let found = self.0.get(&object).ok_or(DiskError::NotFound)?;
        let none = (0, ChunkHash::of(&[]));
        Ok(found.chunks.get(&offset).copied().unwrap_or(none))
    }

    /// Does a job on an object.
    pub(crate) fn perform(
        &mut self,
        wish: DiskWish,
        parked: Option<Parked>,
    ) -> Result<DiskDone, DiskError> {
        match wish {
            DiskWish::LoadObject { object } => {
                let found = self.0.get(&object);
                let partial = found.filter(|found| !found.is_complete);
                return Ok(DiskDone::Loaded {
                    sidecar: partial.map(|found| found.sidecar.clone()),
                    partial: partial.map(|found| found.size),
                    complete: found.filter(|found| found.is_complete).map(|it| it.size),
                });
            }
            DiskWish::HashChunk { object, offset, .. } => {
                let found = self.0.get(&object);
                let found = found.and_then(|found| found.chunks.get(&offset));
                let (len, hash) = found.copied().unwrap_or((0, ChunkHash::of(&[])));
                return Ok(DiskDone::Hashed { len, hash });
            }
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => {
                let new = Object {
                    size,
                    sidecar,
                    ..Object::default()
                };
                self.0.insert(object, new);
            }
            DiskWish::CutSidecar { object, len } => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                self.partial(object).sidecar.truncate(len);
            }
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => {
                let zeros = ChunkHash::of(&vec![0; len as usize]);
                let partial = self.partial(object);
                partial.chunks.insert(offset, (len, zeros));
                partial.sidecar.extend(record);
            }
            DiskWish::StoreChunk {
                object,
                offset,
                record,
                ..
            } => {
                let partial = self.partial(object);
                partial.chunks.extend(parked.map(|parked| (offset, parked)));
                partial.sidecar.extend(record);
            }
            DiskWish::MarkSidecar { object, record } => self.partial(object).sidecar.extend(record),
            DiskWish::SyncObject { object } => {
                self.partial(object);
            }
            DiskWish::FinishObject { object } => {
                let finished = self.0.get_mut(&object);
                finished.expect("what is finished was made").is_complete = true;
            }
            DiskWish::RemoveObject { object } => {
                self.0.remove(&object);
            }
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Draft { .. } => {
                return Err(DiskError::WrongKind);
            }
        }
        Ok(DiskDone::Done)
    }

    /// Returns an object that is being written.
    fn partial(&mut self, object: ObjectId) -> &mut Object {
        let found = self.0.get_mut(&object).filter(|found| !found.is_complete);
        found.expect("what is written was made, and is not complete")
    }
}
