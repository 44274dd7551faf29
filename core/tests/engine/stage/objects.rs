//! A sparse store: partial files, sidecars and complete files, by object.

use std::collections::BTreeMap;

use tandem_core::action::{DiskWish, Stored};
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::ids::{ChunkHash, ObjectId};

/// What is stored.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<ObjectId, Kept>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// The bytes that survive power loss.
    synced: Vec<u8>,
    sidecar: Option<Vec<u8>>,
    complete: bool,
}

impl Objects {
    fn get(&mut self, object: ObjectId) -> Result<&mut Kept, DiskError> {
        self.0.get_mut(&object).ok_or(DiskError::NotFound)
    }

    pub(super) fn power_loss(&mut self) {
        for kept in self.0.values_mut() {
            kept.bytes.clone_from(&kept.synced);
        }
    }

    /// Returns the bytes that a reply points to.
    pub(super) fn read(&self, stored: Stored) -> Vec<u8> {
        let from = usize::try_from(stored.offset).unwrap();
        self.0[&stored.object].bytes[from..from + stored.len as usize].to_vec()
    }

    /// Flips a bit of the newest object, where nobody looks.
    pub(crate) fn rot(&mut self, offset: usize) {
        let (_, kept) = self
            .0
            .last_key_value()
            .map(|(object, _)| *object)
            .map(|object| (object, self.0.get_mut(&object).unwrap()))
            .expect("something is stored");
        kept.bytes[offset] ^= 1;
    }

    /// Returns the sidecars that are stored.
    pub(crate) fn sidecars(&self) -> Vec<(ObjectId, Vec<u8>)> {
        let one = |(object, kept): (&ObjectId, &Kept)| Some((*object, kept.sidecar.clone()?));
        self.0.iter().filter_map(one).collect()
    }

    /// Returns the bytes of a partial object, as they are.
    pub(super) fn whole(&self, object: ObjectId) -> Option<&[u8]> {
        self.0.get(&object).map(|kept| &kept.bytes[..])
    }

    /// An object's data is synced.
    pub(super) fn synced(&mut self, object: ObjectId) {
        if let Some(kept) = self.0.get_mut(&object) {
            kept.synced.clone_from(&kept.bytes);
        }
    }

    /// An object's data has gone to its place.
    pub(super) fn take(&mut self, object: ObjectId) {
        self.0.remove(&object);
    }

    /// Returns how many objects are stored, in part or whole.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn store(
        &mut self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
        record: &[u8],
    ) -> Result<DiskDone, DiskError> {
        let kept = self.get(object)?;
        let from = usize::try_from(offset).unwrap();
        kept.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        kept.sidecar
            .as_mut()
            .ok_or(DiskError::NotFound)?
            .extend(record);
        Ok(DiskDone::Done)
    }

    pub(super) fn perform(&mut self, wish: DiskWish) -> Result<DiskDone, DiskError> {
        match wish {
            DiskWish::LoadObject { object } => {
                let kept = self.0.get(&object);
                let len = |complete| {
                    let kept = kept.filter(|kept| kept.complete == complete)?;
                    Some(kept.bytes.len() as u64)
                };
                return Ok(DiskDone::Loaded {
                    sidecar: kept.and_then(|kept| kept.sidecar.clone()),
                    partial: len(false),
                    complete: len(true),
                });
            }
            DiskWish::HashChunk {
                object,
                offset,
                len,
            } => {
                let kept = self.get(object)?;
                let from = usize::try_from(offset).unwrap();
                let bytes = &kept.bytes[from..from + len as usize];
                return Ok(DiskDone::Hashed {
                    len,
                    hash: ChunkHash::of(bytes),
                });
            }
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => {
                let bytes = vec![0; usize::try_from(size).unwrap()];
                let synced = bytes.clone();
                let sidecar = Some(sidecar);
                self.0.insert(
                    object,
                    Kept {
                        bytes,
                        synced,
                        sidecar,
                        complete: false,
                    },
                );
            }
            DiskWish::CutSidecar { object, len } => {
                let sidecar = self
                    .get(object)?
                    .sidecar
                    .as_mut()
                    .ok_or(DiskError::NotFound)?;
                sidecar.truncate(usize::try_from(len).unwrap());
            }
            DiskWish::MarkSidecar { object, record } => {
                self.get(object)?
                    .sidecar
                    .as_mut()
                    .ok_or(DiskError::NotFound)?
                    .extend(record);
            }
            DiskWish::SyncObject { object } => {
                let kept = self.get(object)?;
                kept.synced.clone_from(&kept.bytes);
            }
            DiskWish::FinishObject { object } => {
                let kept = self.get(object)?;
                (kept.complete, kept.sidecar) = (true, None);
            }
            DiskWish::RemoveObject { object } => {
                self.0.remove(&object);
            }
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::ReadChunk { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Place(_)
            | DiskWish::Draft { .. } => {
                unreachable!("it is no job of the object store")
            }
        }
        Ok(DiskDone::Done)
    }
}
