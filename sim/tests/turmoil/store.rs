//! A disk in memory, for an engine that is driven over a simulated network.
//!
//! Law: it outlives its process. What was carried out before a kill stays; a power loss takes
//! what the simulator's disk takes.

use bytes::Bytes;
use tandem_core::action::{DiskWish, Record};
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Nature};
use tandem_core::ids::{ChunkHash, CommitId, JobId, PayloadId};
use tandem_io::payload::Payloads;
use tandem_sim::choices::Chance;
use tandem_sim::disk::folder::{Folder, Node, wall};
use tandem_sim::disk::objects::Objects;
use tandem_sim::disk::records::Records;
use tandem_sim::reach::Reach;

/// What waits for the disk.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time")]
pub(crate) enum Work {
    Job(JobId, DiskWish, Option<(PayloadId, Bytes)>),
    Commit(CommitId, Vec<Record>, bool),
}

/// Everything that a peer has on disk.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) records: Records,
    pub(crate) objects: Objects,
    pub(crate) folder: Folder,
}

impl Store {
    pub(crate) fn lose_power(&mut self, chance: &mut Chance) {
        self.records.lose_power(chance);
        self.objects.lose_power(chance, &mut Reach::default());
    }

    pub(crate) fn carry_out(
        &mut self,
        wish: &DiskWish,
        payload: Option<&Bytes>,
        payloads: &Payloads,
        now_ns: i64,
    ) -> Result<DiskDone, DiskError> {
        let here = wall(now_ns);
        let (folder, objects) = (&self.folder, &mut self.objects);
        match wish {
            DiskWish::List { path } => {
                let id = folder.find(path).ok_or(DiskError::NotFound)?;
                let Node::Dir(names) = &folder.inode(id).node else {
                    return Err(DiskError::WrongKind);
                };
                let sight = |(name, id): (&_, &_)| (Clone::clone(name), folder.sighting(*id));
                Ok(DiskDone::Listed {
                    this: folder.print(id),
                    items: names.iter().map(sight).collect(),
                    complete: true,
                    wall: here,
                })
            }
            DiskWish::Look { path } => Ok(DiskDone::Looked {
                sighting: folder.find(path).map(|id| folder.sighting(id)),
                wall: here,
            }),
            DiskWish::ReadChunk {
                path,
                offset,
                len,
                besides,
            } => {
                let id = folder.find(path).ok_or(DiskError::NotFound)?;
                let bytes = folder.bytes(id).ok_or(DiskError::WrongKind)?;
                let from = usize::try_from(*offset).unwrap().min(bytes.len());
                let upto = (from + *len as usize).min(bytes.len());
                let read = Bytes::copy_from_slice(&bytes[from..upto]);
                Ok(DiskDone::Chunk {
                    len: u32::try_from(read.len()).unwrap(),
                    hash: ChunkHash::of(&read),
                    nature: Nature::of(&read, *besides),
                    payload: payloads.put(read),
                    before: folder.print(id),
                    after: folder.print(id),
                })
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
                objects.create(*object, *size, sidecar.clone());
                Ok(DiskDone::Done)
            }
            DiskWish::CutSidecar { object, len } => {
                objects.cut(*object, *len).map(|()| DiskDone::Done)
            }
            DiskWish::StoreChunk {
                object,
                offset,
                payload: _,
                record,
            } => {
                let bytes = payload.expect("a chunk to store has its bytes");
                objects.write(*object, *offset, bytes)?;
                objects.mark(*object, record).map(|()| DiskDone::Done)
            }
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => {
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
                let bytes = objects.read(*object, *offset, *len);
                let bytes = bytes.ok_or(DiskError::NotFound)?;
                Ok(DiskDone::Hashed {
                    len: u32::try_from(bytes.len()).unwrap(),
                    hash: ChunkHash::of(bytes),
                })
            }
            DiskWish::FinishObject { object } => objects.finish(*object).map(|()| DiskDone::Done),
            DiskWish::RemoveObject { object } => {
                objects.remove(*object);
                Ok(DiskDone::Done)
            }
            DiskWish::ReadStored {
                object,
                offset,
                len,
                besides,
            } => {
                let stored = objects.read(*object, *offset, *len);
                let mut read = stored.ok_or(DiskError::NotFound)?.to_vec();
                read.extend(payload.into_iter().flatten());
                Ok(DiskDone::Read {
                    len: u32::try_from(read.len()).unwrap(),
                    hash: ChunkHash::of(&read),
                    nature: Nature::of(&read, *besides),
                    payload: payloads.put(read.into()),
                })
            }
            // Nothing is written here.
            // Nothing is placed here, so nothing lies in the trash.
            DiskWish::ReadThrown { .. } => Err(DiskError::NotFound),
            DiskWish::Place(_) | DiskWish::Trash(_) | DiskWish::Draft { .. } => {
                Err(DiskError::WrongKind)
            }
        }
    }
}
