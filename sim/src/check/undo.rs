//! Undo: what peers delete or overwrite in the shared folder stays in its trash for its time while the
//! budget has room, and what is listed there comes back with the bytes that it had.
//!
//! Law: judged by what the disk is told to do, and by what users are answered. A file is removed for
//! good only when its time is over by the host's wall clock, at its latest so far, or when more lies
//! there than may. What is listed as a version has the bytes that were put down, or served, as that
//! version. Who asks is answered, unless the host is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_core::action::DiskWish;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event};
use tandem_core::ids::ReqId;
use tandem_core::place_wish::FileKey;
use tandem_core::time::WallTime;
use tandem_core::trash::{Fate, Found, Restored, TrashWish, Unrestored};
use tandem_core::tree::name::Name;

use super::{Failure, Verdict};
use crate::choices::Chance;
use crate::disk::folder::{Id, Node, wall};
use crate::reach;
use crate::world::{HOST, World};

/// A file that has gone to the trash.
#[derive(Clone, Debug)]
struct Thrown {
    since: WallTime,
    called: Name,
    /// Its bytes then; none of a symlink.
    bytes: Option<Arc<Vec<u8>>>,
}

/// What is known of the trash, and of who asked for something out of it.
#[derive(Debug, Default)]
pub struct Undo {
    thrown: BTreeMap<Id, Thrown>,
    /// Bytes of files that took the place of others under one of several names, since the trash was
    /// last listed: the engine takes them to lie there.
    unkept: u64,
    /// The latest that the host's wall clock has shown.
    latest: WallTime,
    /// In which run of the host something was asked for, and by which number.
    asked: BTreeMap<ReqId, (u64, u64)>,
    /// Where copies were put, and of which file, that nobody was told of yet.
    put: BTreeMap<Vec<Name>, Id>,
}

impl Undo {
    /// The host's clock shows this.
    fn shows(&mut self, wall: WallTime) {
        self.latest = self.latest.max(wall);
    }

    /// A file has gone to the trash.
    pub fn came(&mut self, file: Id, since: WallTime, called: Name, bytes: Option<Arc<Vec<u8>>>) {
        self.shows(since);
        let thrown = Thrown {
            since,
            called,
            bytes,
        };
        self.thrown.insert(file, thrown);
    }

    /// A name of a file that has others was put over, and so does not lie there.
    pub fn has_others(&mut self, size: u64) {
        self.unkept += size;
    }
}

impl World {
    /// A user of the host wants something back that is listed, or now and then what is not.
    pub(crate) fn restore_something(&mut self, chance: &mut Chance) -> Verdict {
        let wall = wall(self.wall_of(HOST));
        let host = &mut self.peers[HOST];
        let Some(engine) = host.engine.as_ref() else {
            return Ok(());
        };
        if host.stopping || self.now < host.asleep {
            return Ok(());
        }
        let listed: Vec<u64> = engine.trash_log().map(|(number, _)| number).collect();
        let number = match chance.pick(&listed) {
            Some(number) if chance.often(950) => *number,
            Some(_) | None => chance.below(1_000),
        };
        let (req, boot) = (ReqId(host.draw()), host.boot);
        self.undo.asked.insert(req, (boot, number));
        self.tell(HOST, boot, Event::Restore { req, number, wall })
    }

    /// The host's engine has answered.
    pub(crate) fn was_restored(
        &mut self,
        req: ReqId,
        result: &Result<Restored, Unrestored>,
    ) -> Verdict {
        let Some((_, number)) = self.undo.asked.remove(&req) else {
            let what = format!("{req} was never asked, or is answered twice: {result:?}");
            return Err(Failure::safety("undo", what));
        };
        let restored = match result {
            Ok(restored) => restored,
            Err(why) => {
                let is_odd = match why {
                    Unrestored::NotShared => true,
                    Unrestored::Disk { .. } => !self.peers[HOST].caused.host_disk,
                    Unrestored::Stopping
                    | Unrestored::Unknown
                    | Unrestored::Busy
                    | Unrestored::Gone
                    | Unrestored::Taken => false,
                };
                if is_odd {
                    let what = format!("{number} does not come back: {why}");
                    return Err(Failure::safety("undo", what));
                }
                return Ok(());
            }
        };
        let Some(file) = self.undo.put.remove(&restored.path) else {
            let what = format!("{number} is said to stand where nothing was put: {restored:?}");
            return Err(Failure::safety("undo", what));
        };
        if restored.path == restored.what.path {
            reach!(self.reach, "undo: under its name");
        } else {
            reach!(self.reach, "undo: beside");
        }
        // A version may be put down twice, as a file that its conflict copy takes over: so the bytes
        // are compared, and not which file has them.
        let bytes = self.undo.thrown.get(&file).map(|thrown| &thrown.bytes);
        if let Some(version) = restored.what.version
            && let (Some(Some(bytes)), Some(known)) = (bytes, self.leases.bytes(version))
            && *bytes != known
        {
            let what = format!("{number} is listed as {version:?}, and has other bytes");
            return Err(Failure::safety("undo", what));
        }
        if restored.what.fate == Fate::Unknown {
            reach!(self.reach, "undo: of what has no record");
        }
        Ok(())
    }

    /// Does something in the trash.
    pub(crate) fn attend_trash(&mut self, wish: &TrashWish) -> Result<DiskDone, DiskError> {
        let nanos = self.wall_of(HOST);
        let here = wall(nanos);
        self.undo.shows(here);
        match wish {
            TrashWish::List => {
                self.undo.unkept = 0;
                let mut found = Vec::new();
                for id in &self.folder.beside.trash {
                    let thrown = self.undo.thrown.get(id);
                    found.push(Found {
                        print: self.folder.print(*id),
                        name: thrown.map(|thrown| thrown.called.clone()),
                        since: thrown.map_or(here, |thrown| thrown.since),
                    });
                }
                Ok(DiskDone::Trash { found, wall: here })
            }
            TrashWish::Remove { files } => {
                for file in files {
                    if let Some(id) = self.folder.thrown(*file) {
                        reach!(self.reach, "trash: a file went for good");
                        self.folder.at(nanos).remove_thrown(id);
                    }
                }
                Ok(DiskDone::Done)
            }
            TrashWish::Restore { file, to } => self.put_copy(nanos, *file, to),
        }
    }

    fn put_copy(&mut self, nanos: i64, file: FileKey, to: &[Name]) -> Result<DiskDone, DiskError> {
        let id = self.folder.thrown(file).ok_or(DiskError::NotFound)?;
        let before = self.standing();
        for len in 1..to.len() {
            let dir = &to[..len];
            match self.folder.find(dir) {
                Some(there) if matches!(self.folder.inode(there).node, Node::Dir(_)) => {}
                Some(_) => return Err(DiskError::WrongKind),
                None => {
                    reach!(self.reach, "undo: a directory is made anew");
                    self.folder
                        .at(nanos)
                        .place(dir, Node::Dir([].into()), 0o755);
                }
            }
        }
        if self.folder.find(to).is_some() {
            return Err(DiskError::Exists);
        }
        let was = self.folder.inode(id);
        let (node, mode, mtime) = (was.node.clone(), was.mode, was.mtime);
        let xattrs = was.xattrs.clone();
        let made = self.folder.at(nanos).place(to, node, mode);
        if let Some(made) = made {
            self.folder.touch(made, |inode, _| {
                inode.mtime = mtime;
                inode.xattrs = xattrs;
            });
        }
        self.account_outside(&before);
        self.undo.put.insert(to.to_vec(), id);
        Ok(DiskDone::Done)
    }

    /// Judges what is about to be done in the trash.
    pub(crate) fn judge_trash(&mut self, wish: &DiskWish) -> Verdict {
        let DiskWish::Trash(TrashWish::Remove { files }) = wish else {
            return Ok(());
        };
        self.undo.shows(wall(self.wall_of(HOST)));
        let size = |id: &Id| self.folder.print(*id).size;
        let held: u64 = self.folder.beside.trash.iter().map(size).sum();
        let mut held = held + self.undo.unkept;
        let keep = i64::try_from(self.config.trash_kept).unwrap_or(i64::MAX);
        for file in files {
            let Some(id) = self.folder.thrown(*file) else {
                continue;
            };
            let since = self.undo.thrown.get(&id).map(|thrown| thrown.since.secs);
            let age = self.undo.latest.secs - since.unwrap_or(i64::MIN / 2);
            if age <= keep && held <= self.config.trash_bytes {
                let what = format!(
                    "a file goes from the trash after {age} s of {keep}, with {held} bytes of {} there",
                    self.config.trash_bytes
                );
                return Err(Failure::safety("undo", what));
            }
            held -= size(&id);
        }
        Ok(())
    }

    /// Judges a copy of what lies in the trash as it was: it has the bytes that it came with.
    pub(crate) fn judge_copy(&self, wish: &DiskWish) -> Verdict {
        let DiskWish::Trash(TrashWish::Restore { to, .. }) = wish else {
            return Ok(());
        };
        let file = self.undo.put.get(to);
        let was = file.and_then(|file| self.undo.thrown.get(file)?.bytes.clone());
        let copy = self.folder.find(to).and_then(|id| self.folder.bytes(id));
        let is_touched = file.is_some_and(|file| was != self.folder.bytes(*file));
        if is_touched || was == copy {
            return Ok(());
        }
        let what = format!("{to:?} came back with other bytes than it had");
        Err(Failure::safety("undo", what))
    }

    /// Judges that whoever asked was answered.
    pub(crate) fn undo_ended(&self) -> Verdict {
        let boot = self.peers[HOST].boot;
        let mut asked = self.undo.asked.values();
        match asked.find(|(at, _)| *at == boot) {
            None => Ok(()),
            Some((_, number)) => {
                let what = format!("who wanted {number} back was never answered");
                Err(Failure::new(super::Kind::Liveness, "undo", what))
            }
        }
    }
}
