//! Carrying out the jobs of disks: in time, and now and then not at all.
//!
//! Law: jobs on one object are carried out in the order in which they were given; a read of the
//! shared folder has two moments, between which programs go on.

use tandem_core::action::{Besides, DiskWish};
use tandem_core::draft_wish::DraftWish;
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event, Fingerprint, Nature, Seen};
use tandem_core::ids::{ChunkHash, ChunkIx, JobId, ObjectId, PayloadId};
use tandem_core::message::Want;
use tandem_core::place_wish::PlaceWish;
use tandem_core::tree::name::Name;

use crate::check::{self, Verdict};
use crate::config::Minority;
use crate::disk::folder::{Id, Node, wall};
use crate::marks;
use crate::peer::{Begun, Ended, Job};
use crate::reach;
use crate::world::{HOST, Item, World};

/// Returns the object that a wish is about.
pub(crate) fn object(wish: &DiskWish) -> Option<ObjectId> {
    match wish {
        DiskWish::List { .. }
        | DiskWish::Look { .. }
        | DiskWish::ReadChunk { .. }
        | DiskWish::ReadThrown { .. }
        | DiskWish::Place(_)
        | DiskWish::Trash(_) => None,
        DiskWish::LoadObject { object }
        | DiskWish::CreateObject { object, .. }
        | DiskWish::CutSidecar { object, .. }
        | DiskWish::StoreChunk { object, .. }
        | DiskWish::StoreHole { object, .. }
        | DiskWish::MarkSidecar { object, .. }
        | DiskWish::SyncObject { object }
        | DiskWish::HashChunk { object, .. }
        | DiskWish::FinishObject { object }
        | DiskWish::RemoveObject { object }
        | DiskWish::ReadStored { object, .. }
        | DiskWish::Draft { object, .. } => Some(*object),
    }
}

/// Returns the objects of which a failed job leaves open whether they are still what they were.
fn unplaced(wish: &DiskWish, outcome: &Result<DiskDone, DiskError>) -> Vec<ObjectId> {
    match (wish, outcome) {
        (DiskWish::Place(PlaceWish::Prepare { files }), Ok(DiskDone::Prepared(found))) => {
            let each = files.iter().zip(found);
            let failed = each.filter(|(_, found)| found.is_err());
            failed.map(|(ready, _)| ready.object).collect()
        }
        (DiskWish::Place(PlaceWish::Prepare { files }), Err(_)) => {
            files.iter().map(|ready| ready.object).collect()
        }
        (DiskWish::Place(PlaceWish::Put { object, .. }), Err(DiskError::NotFound)) => {
            vec![*object]
        }
        _ => Vec::new(),
    }
}

/// Returns the other object that a wish is about, if it has a second.
pub(crate) fn becomes(wish: &DiskWish) -> Option<ObjectId> {
    let DiskWish::Draft {
        wish: DraftWish::Settle { object, .. },
        ..
    } = wish
    else {
        return None;
    };
    Some(*object)
}

/// Returns the payload that a wish uses up.
pub(crate) fn payload(wish: &DiskWish) -> Option<PayloadId> {
    match wish {
        DiskWish::StoreChunk { payload, .. } => Some(*payload),
        DiskWish::ReadStored { besides, .. } | DiskWish::ReadChunk { besides, .. } => match besides
        {
            Besides::Join(payload) => Some(*payload),
            Besides::Nothing | Besides::Prefix(_) => None,
        },
        DiskWish::List { .. }
        | DiskWish::Look { .. }
        | DiskWish::ReadThrown { .. }
        | DiskWish::Place(_)
        | DiskWish::Trash(_)
        | DiskWish::LoadObject { .. }
        | DiskWish::CreateObject { .. }
        | DiskWish::CutSidecar { .. }
        | DiskWish::StoreHole { .. }
        | DiskWish::MarkSidecar { .. }
        | DiskWish::SyncObject { .. }
        | DiskWish::HashChunk { .. }
        | DiskWish::FinishObject { .. }
        | DiskWish::RemoveObject { .. } => None,
        DiskWish::Draft { wish, .. } => match wish {
            DraftWish::Write { payload, .. } => Some(*payload),
            DraftWish::Fill { payload, .. } => *payload,
            DraftWish::Open { .. }
            | DraftWish::Resize { .. }
            | DraftWish::Touch { .. }
            | DraftWish::Mark { .. }
            | DraftWish::Sync { .. }
            | DraftWish::Load
            | DraftWish::Settle { .. }
            | DraftWish::Remove => None,
        },
    }
}

/// Returns the name of what a wish moves to the trash, and its size.
fn over(wish: &PlaceWish) -> Option<(Name, u64)> {
    let (at, print) = match wish {
        PlaceWish::Put { to, over, .. } => (to, over.as_ref()?),
        PlaceWish::MakeSymlink { at, over, .. } => (at, over.as_ref()?),
        PlaceWish::Trash { at, expect } => (at, expect),
        PlaceWish::Prepare { .. }
        | PlaceWish::MakeDirectory { .. }
        | PlaceWish::Link { .. }
        | PlaceWish::Move { .. }
        | PlaceWish::RemoveDirectory { .. }
        | PlaceWish::Dress { .. }
        | PlaceWish::Look { .. }
        | PlaceWish::List { .. }
        | PlaceWish::Harden => return None,
    };
    // What lies out of the way has no name there.
    let name = at.names.last().cloned();
    let name = name.or_else(|| Name::parse(b"parked").ok())?;
    Some((name, print.size))
}

impl World {
    /// Carries out a disk job, or its first half.
    pub(crate) fn job(&mut self, p: usize, boot: u64, id: JobId) -> Verdict {
        if self.peers[p].boot != boot || self.peers[p].engine.is_none() {
            return Ok(());
        }
        let Some(mut job) = self.peers[p].jobs.remove(&id) else {
            return Ok(());
        };
        if job.begun.is_none()
            && let Some(begun) = self.begin(&job)
        {
            job.begun = Some(begun);
            let took = self.peers[p].disk_delay(self.now, self.config.disk_time / 2);
            self.peers[p].jobs.insert(id, job);
            self.after(took, Item::Job(p, boot, id));
            return Ok(());
        }
        self.peers[p].bounds.end(&job.wish);
        let outcome = match self.trouble(p, &job.wish) {
            Some(error) => {
                self.reach.hit_in("disk fails", marks::job(&job.wish));
                if p == HOST {
                    // Whoever asks for what it holds suffers too.
                    self.peers
                        .iter_mut()
                        .for_each(|peer| peer.caused.host_disk = true);
                }
                let told = if let DiskWish::Place(PlaceWish::Prepare { files }) = &job.wish {
                    files.len()
                } else {
                    1
                };
                (0..told).for_each(|_| self.peers[p].caused.disk.add());
                self.peers[p].here.lost();
                if let DiskWish::Draft {
                    wish: DraftWish::Load,
                    ..
                } = job.wish
                {
                    self.peers[p].bodies.in_doubt = true;
                }
                // A write that finds no room leaves all as it was; what else fails may be done in
                // part.
                if let (DiskWish::Draft { object, wish }, DiskError::Io) = (&job.wish, error) {
                    let here = wall(self.wall_of(p));
                    let peer = &mut self.peers[p];
                    let bytes = job.payload.as_ref().map(|(_, bytes)| bytes.as_slice());
                    let bytes = bytes.unwrap_or_default();
                    (peer.objects).break_off_draft(*object, wish, bytes, here, &mut peer.disk);
                }
                Err(error)
            }
            None => {
                let peer = &self.peers[p];
                let len = job.payload.as_ref().map_or(0, |(_, bytes)| bytes.len());
                check::order::judge(&job.wish, len as u64, &peer.objects, &peer.records)?;
                self.judge_placing(p, &job.wish)?;
                self.judge_trash(&job.wish)?;
                let done = self.carry_out(p, &mut job);
                if done.is_ok() {
                    self.judge_copy(&job.wish)?;
                }
                done
            }
        };
        self.account(p, &job, &outcome);
        if let (Some(tale), Ok(done)) = (&mut self.trace.tale, &outcome) {
            tale.maps.done(self.now, p, &job.wish, done);
        }
        if let Some(object) = object(&job.wish)
            && let Some(ended) = self.meaning(p, object, &job.wish, outcome.is_ok())
        {
            self.peers[p].ended.insert(id, (object, ended));
        }
        let unplaced = unplaced(&job.wish, &outcome);
        if !unplaced.is_empty() {
            self.peers[p].unplaced.insert(id, unplaced);
        }
        // Equal for all, so that the ends keep the order of the jobs.
        let delay = self.config.disk_time / 4 + 1;
        let event = Event::Disk { job: id, outcome };
        self.after(delay, Item::Tell(p, boot, Box::new(event)));
        Ok(())
    }

    /// Returns what a job on an object meant for it, if anything.
    fn meaning(&self, p: usize, object: ObjectId, wish: &DiskWish, good: bool) -> Option<Ended> {
        match wish {
            DiskWish::Draft {
                wish: DraftWish::Load,
                ..
            } if good => Some(Ended::Loaded),
            // What failed to be removed is not looked at again; the others are about other files,
            // or say nothing of what comes later.
            DiskWish::RemoveObject { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::Draft { .. } => None,
            DiskWish::LoadObject { .. } if good => Some(Ended::Loaded),
            DiskWish::HashChunk { .. } => (!good).then_some(Ended::Unread),
            // Behind a job that failed, nobody knows whether its record counts.
            DiskWish::StoreChunk { .. } | DiskWish::StoreHole { .. } if good => {
                let is_doubtful = self.peers[p].resume.is_doubtful(object);
                (!is_doubtful).then_some(Ended::Stored)
            }
            DiskWish::LoadObject { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::CreateObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::FinishObject { .. } => (!good).then_some(Ended::Failed),
        }
    }

    /// Draws whether the disk fails on a job.
    fn trouble(&mut self, p: usize, wish: &DiskWish) -> Option<DiskError> {
        let shared = object(wish).is_none();
        let rate = if shared {
            self.config.folder_errors
        } else {
            self.config.store_errors
        };
        let dead = self.lost == Some(p) && self.config.minority == Minority::NoDisk;
        let fails = (self.peers[p].disk.often(rate) && !self.healed) || dead;
        let errors: &[DiskError] = match wish {
            DiskWish::CreateObject { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::MarkSidecar { .. } => &[DiskError::NoSpace, DiskError::Io],
            DiskWish::Draft { wish, .. } => match wish {
                DraftWish::Open { .. }
                | DraftWish::Write { .. }
                | DraftWish::Resize { .. }
                | DraftWish::Fill { .. }
                | DraftWish::Mark { .. }
                | DraftWish::Sync { .. } => {
                    &[DiskError::NoSpace, DiskError::NoSpace, DiskError::Io]
                }
                DraftWish::Touch { .. }
                | DraftWish::Load
                | DraftWish::Settle { .. }
                | DraftWish::Remove => &[DiskError::Io],
            },
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. } => &[DiskError::Denied, DiskError::Io],
            DiskWish::Place(_) | DiskWish::Trash(_) => {
                &[DiskError::NoSpace, DiskError::Denied, DiskError::Io]
            }
            DiskWish::LoadObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::FinishObject { .. }
            | DiskWish::RemoveObject { .. }
            | DiskWish::ReadStored { .. } => &[DiskError::Io],
        };
        let error = self.peers[p].disk.pick(errors).copied();
        error.filter(|_| fails)
    }

    fn begin(&self, job: &Job) -> Option<Begun> {
        match &job.wish {
            DiskWish::List { path } => {
                let id = self.folder.find(path)?;
                let this = self.folder.print(id);
                match &self.folder.inode(id).node {
                    Node::Dir(names) => Some(Begun::Names(this, names.keys().cloned().collect())),
                    Node::File(_) | Node::Link(_) | Node::Fifo => None,
                }
            }
            DiskWish::ReadChunk {
                path, offset, len, ..
            } => {
                let id = self.folder.find(path)?;
                let half = self.piece_of(id, *offset, u64::from(*len / 2))?;
                Some(Begun::Read(id, self.folder.print(id), half))
            }
            DiskWish::ReadThrown {
                file, offset, len, ..
            } => {
                let id = self.folder.thrown(*file)?;
                let half = self.piece_of(id, *offset, u64::from(*len / 2))?;
                Some(Begun::Read(id, self.folder.print(id), half))
            }
            DiskWish::Look { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::LoadObject { .. }
            | DiskWish::CreateObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::FinishObject { .. }
            | DiskWish::RemoveObject { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Draft { .. } => None,
        }
    }

    fn piece_of(&self, id: Id, offset: u64, len: u64) -> Option<Vec<u8>> {
        let bytes = self.folder.bytes(id)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
        Some(rest[..len].to_vec())
    }

    /// Reads the rest of a chunk of which a half was read when the job began.
    fn read_on(
        &mut self,
        p: usize,
        (id, before): (Id, Fingerprint),
        mut bytes: Vec<u8>,
        offset: u64,
        len: u32,
        (besides, tail): (Besides, Option<&[u8]>),
    ) -> Result<DiskDone, DiskError> {
        let half = bytes.len() as u64;
        let more = u64::from(len) - half;
        if half == u64::from(len / 2)
            && let Some(rest) = self.piece_of(id, offset + half, more)
        {
            bytes.extend(rest);
        }
        let after = self.folder.print(id);
        if after != before {
            reach!(self.reach, "chunk: torn by a writer while read");
        }
        if let Some(tail) = tail {
            reach!(self.reach, "chunk: joined to what stands");
            bytes.extend_from_slice(tail);
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let hash = ChunkHash::of(&bytes);
        let nature = Nature::of(&bytes, besides);
        let payload = PayloadId(self.peers[p].draw());
        self.peers[p].payloads.insert(payload, bytes);
        if after == before {
            self.leases.read(payload, id, &self.folder);
        }
        Ok(DiskDone::Chunk {
            payload,
            len,
            hash,
            before,
            after,
            nature,
        })
    }

    fn carry_out(&mut self, p: usize, job: &mut Job) -> Result<DiskDone, DiskError> {
        let nanos = self.wall_of(p);
        let here = wall(nanos);
        let objects = &mut self.peers[p].objects;
        match &job.wish {
            DiskWish::List { path } => {
                let Some(Begun::Names(this, names)) = job.begun.take() else {
                    let there = self.folder.find(path).is_some();
                    return Err(if there {
                        DiskError::WrongKind
                    } else {
                        DiskError::NotFound
                    });
                };
                let mut items = Vec::new();
                let mut complete = true;
                let rate = if self.healed {
                    0
                } else {
                    self.config.folder_errors / 4
                };
                for name in names {
                    let mut below = path.clone();
                    below.push(name.clone());
                    if self.peers[p].disk.often(rate) {
                        complete = false;
                        self.peers[p].caused.disk.add();
                    } else if let Some(id) = self.folder.find(&below) {
                        items.push((name, self.folder.sighting(id)));
                    }
                }
                let wall = here;
                Ok(DiskDone::Listed {
                    this,
                    items,
                    complete,
                    wall,
                })
            }
            DiskWish::Look { path } => {
                let found = self.folder.find(path);
                let sighting = found.map(|id| self.folder.sighting(id));
                let wall = here;
                Ok(DiskDone::Looked { sighting, wall })
            }
            DiskWish::ReadChunk {
                path,
                offset,
                len,
                besides,
            } => {
                let Some(Begun::Read(id, before, bytes)) = job.begun.take() else {
                    let found = self.folder.find(path);
                    let there = found.map(|id| self.folder.sighting(id).what);
                    return Err(match there {
                        None => DiskError::NotFound,
                        Some(Seen::File | Seen::Directory | Seen::Symlink(_) | Seen::Local) => {
                            DiskError::WrongKind
                        }
                    });
                };
                let tail = job.payload.as_ref().map(|(_, bytes)| bytes.as_slice());
                self.read_on(p, (id, before), bytes, *offset, *len, (*besides, tail))
            }
            DiskWish::ReadThrown {
                offset,
                len,
                besides,
                ..
            } => {
                let Some(Begun::Read(id, before, bytes)) = job.begun.take() else {
                    return Err(DiskError::NotFound);
                };
                reach!(self.reach, "chunk: read from the trash");
                self.read_on(p, (id, before), bytes, *offset, *len, (*besides, None))
            }
            DiskWish::LoadObject { object } => {
                let (sidecar, partial, complete) = objects.load(*object);
                Ok(DiskDone::Loaded {
                    sidecar,
                    partial,
                    complete,
                })
            }
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => {
                reach!(self.reach, "object: created");
                objects.create(*object, *size, sidecar.clone());
                Ok(DiskDone::Done)
            }
            DiskWish::CutSidecar { object, len } => {
                reach!(self.reach, "sidecar: cut");
                objects.cut(*object, *len).map(|()| DiskDone::Done)
            }
            DiskWish::StoreChunk {
                object,
                offset,
                payload: _,
                record,
            } => {
                if let Some((_, bytes)) = &job.payload {
                    objects.write(*object, *offset, bytes)?;
                }
                objects.mark(*object, record).map(|()| DiskDone::Done)
            }
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => {
                reach!(self.reach, "chunk: a hole");
                objects.write(*object, *offset, &vec![0; *len as usize])?;
                objects.mark(*object, record).map(|()| DiskDone::Done)
            }
            DiskWish::MarkSidecar { object, record } => {
                objects.mark(*object, record).map(|()| DiskDone::Done)
            }
            DiskWish::SyncObject { object } => objects.sync(*object).map(|()| DiskDone::Done),
            DiskWish::HashChunk {
                object,
                offset,
                len,
            } => {
                reach!(self.reach, "chunk: hashed after a crash");
                let bytes = objects.read(*object, *offset, *len);
                let bytes = bytes.ok_or(DiskError::NotFound)?;
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let hash = ChunkHash::of(bytes);
                Ok(DiskDone::Hashed { len, hash })
            }
            DiskWish::FinishObject { object } => {
                reach!(self.reach, "object: finished");
                objects.finish(*object).map(|()| DiskDone::Done)
            }
            DiskWish::RemoveObject { object } => {
                reach!(self.reach, "object: removed");
                objects.remove(*object);
                self.folder.discard(*object);
                Ok(DiskDone::Done)
            }
            DiskWish::ReadStored {
                object,
                offset,
                len,
                besides,
            } => {
                let stored = objects.read(*object, *offset, *len);
                let mut bytes = stored.ok_or(DiskError::NotFound)?.to_vec();
                if let Some((_, tail)) = &job.payload {
                    reach!(self.reach, "chunk: joined of two");
                    bytes.extend_from_slice(tail);
                }
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let hash = ChunkHash::of(&bytes);
                let nature = Nature::of(&bytes, *besides);
                let payload = PayloadId(self.peers[p].draw());
                self.peers[p].payloads.insert(payload, bytes);
                Ok(DiskDone::Read {
                    payload,
                    len,
                    hash,
                    nature,
                })
            }
            DiskWish::Draft { object, wish } => {
                let bytes = job.payload.as_ref().map(|(_, bytes)| bytes.as_slice());
                objects.draft(*object, wish, bytes.unwrap_or_default(), here)
            }
            DiskWish::Place(PlaceWish::Prepare { files }) => {
                let mut done = Vec::new();
                for ready in files {
                    let len = u32::try_from(ready.size).unwrap_or(u32::MAX);
                    let bytes = match objects.read(ready.object, 0, len) {
                        Some(bytes) => bytes.to_vec(),
                        None if ready.size == 0 => Vec::new(),
                        None => {
                            done.push(Err(DiskError::NotFound));
                            continue;
                        }
                    };
                    if bytes.len() as u64 != ready.size {
                        done.push(Err(DiskError::WrongKind));
                        continue;
                    }
                    if ready.size > 0
                        && let Err(error) = objects.sync(ready.object)
                    {
                        done.push(Err(error));
                        continue;
                    }
                    done.push(Ok(self.folder.at(nanos).prepare(ready, bytes)));
                }
                Ok(DiskDone::Prepared(done))
            }
            DiskWish::Trash(wish) => self.attend_trash(&wish.clone()),
            DiskWish::Place(wish) => {
                let over = over(wish);
                let thrown = self.folder.beside.trash.len();
                let ready = if let PlaceWish::Put { object, .. } = wish {
                    self.folder.beside.ready.get(object).copied()
                } else {
                    None
                };
                let done = self.folder.at(nanos).place_wish(wish, here);
                let came: Vec<Id> = self.folder.beside.trash[thrown..].to_vec();
                if let (Some((_, size)), [], Ok(_)) = (&over, &came[..], &done) {
                    self.undo.has_others(*size);
                }
                for id in &came {
                    let bytes = self.folder.bytes(*id);
                    if let Some(bytes) = &bytes {
                        self.kept.displaced(bytes);
                    }
                    if let Some((called, _)) = &over {
                        self.undo.came(*id, here, called.clone(), bytes);
                    }
                    // It is told when the job is, and hears what is asked by then right after.
                    self.leases.thrown(*id, self.now + self.config.disk_time);
                    reach!(self.reach, "trash: a file came");
                }
                if let (PlaceWish::Put { object, .. }, Ok(_)) = (wish, &done) {
                    objects.remove(*object);
                    if let Some(id) = ready {
                        self.leases.put(*object, id, &self.folder);
                    }
                }
                done
            }
        }
    }

    /// Judges what is about to be made ready for a name of the shared folder: no half file ever
    /// stands there (P3).
    fn judge_placing(&mut self, p: usize, wish: &DiskWish) -> Verdict {
        let DiskWish::Place(PlaceWish::Prepare { files }) = wish else {
            return Ok(());
        };
        self.note_rest();
        for ready in files {
            let len = u32::try_from(ready.size).unwrap_or(u32::MAX);
            let bytes = self.peers[p].objects.read(ready.object, 0, len);
            if let Some(bytes) = bytes
                && !self.folder.history.had(bytes)
            {
                let (object, len) = (ready.object, bytes.len());
                let nearest = self.folder.history.nearest(bytes);
                let what = format!(
                    "{object:?} is to be placed, and nobody wrote these {len} bytes: {nearest}"
                );
                return Err(check::Failure::safety("P3", what));
            }
        }
        Ok(())
    }

    /// Keeps P5's account of what a job did.
    fn account(&mut self, p: usize, job: &Job, outcome: &Result<DiskDone, DiskError>) {
        let chunk = u64::from(self.config.chunk_size);
        let resume = &mut self.peers[p].resume;
        let want = |object, offset: u64| Want {
            object,
            chunk: ChunkIx(u32::try_from(offset / chunk).unwrap_or(u32::MAX)),
            have: None,
        };
        match (&job.wish, &job.payload) {
            (DiskWish::ReadStored { .. } | DiskWish::ReadChunk { .. }, Some((tail, _))) => {
                let joined = match outcome {
                    Ok(DiskDone::Read { payload, .. } | DiskDone::Chunk { payload, .. }) => {
                        Some(*payload)
                    }
                    Ok(_) | Err(_) => None,
                };
                resume.joined(*tail, joined);
            }
            (DiskWish::StoreChunk { object, offset, .. }, Some((payload, bytes))) => {
                let was_asked_for = resume.stored(*payload, Some(*object), outcome.is_ok());
                if !was_asked_for && outcome.is_ok() {
                    resume.made(want(*object, *offset), ChunkHash::of(bytes));
                }
            }
            (
                DiskWish::StoreHole {
                    object,
                    offset,
                    len,
                    ..
                },
                None,
            ) if outcome.is_ok() => {
                let zeros = ChunkHash::of(&vec![0; *len as usize]);
                resume.made(want(*object, *offset), zeros);
            }
            (_, Some((payload, _))) => {
                resume.stored(*payload, None, outcome.is_ok());
            }
            _ => {}
        }
        match (&job.wish, outcome) {
            (DiskWish::HashChunk { object, offset, .. }, Err(_)) => {
                resume.unreadable(want(*object, *offset));
            }
            (DiskWish::ReadStored { object, offset, .. }, _) => {
                resume.read(want(*object, *offset), outcome.is_ok());
            }
            (wish, Err(_)) => {
                if let Some(object) = object(wish) {
                    resume.doubt(object);
                }
            }
            // The host puts what it fetched into the folder, where programs may delete it; and what
            // was removed may come back with what somebody writes.
            (DiskWish::RemoveObject { object }, Ok(_)) if self.config.writable != 0 => {
                resume.forget(*object);
            }
            (DiskWish::Place(PlaceWish::Put { object, .. }), Ok(_)) => resume.forget(*object),
            (DiskWish::RemoveObject { object }, Ok(_)) => resume.thrown(*object),
            (
                DiskWish::Draft {
                    object,
                    wish: DraftWish::Remove,
                },
                Ok(_),
            ) => resume.forget(*object),
            (DiskWish::CreateObject { object, .. }, Ok(_)) => {
                resume.thrown(*object);
                resume.loaded(*object);
            }
            (
                DiskWish::LoadObject { object }
                | DiskWish::Draft {
                    object,
                    wish: DraftWish::Load,
                },
                Ok(_),
            ) => resume.loaded(*object),
            (DiskWish::HashChunk { object, offset, .. }, Ok(DiskDone::Hashed { hash, .. })) => {
                resume.hashed(want(*object, *offset), *hash);
            }
            _ => {}
        }
    }

    /// Carries out the next commit.
    pub(crate) fn commit(&mut self, p: usize, boot: u64) -> Verdict {
        if self.peers[p].boot != boot || self.peers[p].engine.is_none() {
            return Ok(());
        }
        let (rate, healed) = (self.config.commit_errors, self.healed);
        let peer = &mut self.peers[p];
        let Some(pending) = peer.commits.pop_front() else {
            return Ok(());
        };
        let good = healed || !peer.disk.often(rate);
        if good {
            peer.records.commit(pending.records, pending.sync);
            peer.last = Last::Killed;
            peer.names.stored();
        } else {
            reach!(self.reach, "commit: failed");
            peer.caused.commit.add();
            peer.live.commit_refused(self.now);
        }
        let delay = self.config.disk_time / 4 + 1;
        let event = Self::committed(pending.commit, good);
        self.after(delay, Item::Tell(p, boot, Box::new(event)));
        Ok(())
    }
}
