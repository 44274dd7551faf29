//! A sparse store: partial files, sidecars, drafts' journals and complete files, by object.
//!
//! Law: what is done is done in the steps of which the wish speaks, in their order; and a process
//! that is to die at a step does nothing from it on.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::{DiskWish, Stored};
use tandem_core::draft_wish::{DraftFrom, DraftWish};
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::fetch::bitmap::ChunkBitmap;
use tandem_core::ids::{ChunkHash, ObjectId};
use tandem_core::time::WallTime;

/// The largest file, in bytes, that these disks take: they hold it in memory, and a hostile host may
/// claim any.
const ROOM: u64 = 1 << 30;

/// What is stored.
pub(crate) struct Objects {
    partial: BTreeMap<ObjectId, File>,
    complete: BTreeMap<ObjectId, File>,
    sidecars: BTreeMap<ObjectId, Vec<u8>>,
    /// Journals, and what of them survives power loss.
    journals: BTreeMap<ObjectId, (Vec<u8>, Vec<u8>)>,
    /// Steps that are left before the process dies.
    pub(crate) left: usize,
}

/// A file: its bytes, those that survive power loss, and its time.
#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    mtime: WallTime,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            partial: BTreeMap::new(),
            complete: BTreeMap::new(),
            sidecars: BTreeMap::new(),
            journals: BTreeMap::new(),
            left: usize::MAX,
        }
    }
}

impl Objects {
    fn file(&mut self, object: ObjectId) -> Result<&mut File, DiskError> {
        let found = self.partial.get_mut(&object);
        found
            .or_else(|| self.complete.get_mut(&object))
            .ok_or(DiskError::NotFound)
    }

    /// Returns whether the process still lives to take a step.
    pub(super) fn step(&mut self) -> bool {
        let lives = self.left > 0;
        if self.left != usize::MAX {
            self.left = self.left.saturating_sub(1);
        }
        lives
    }

    pub(super) fn power_loss(&mut self) {
        for file in self.partial.values_mut().chain(self.complete.values_mut()) {
            file.bytes.clone_from(&file.synced);
        }
        for (journal, synced) in self.journals.values_mut() {
            journal.clone_from(synced);
        }
    }

    /// Returns the bytes that a reply points to.
    pub(super) fn read(&mut self, stored: Stored) -> Vec<u8> {
        let from = usize::try_from(stored.offset).unwrap();
        self.file(stored.object).unwrap().bytes[from..from + stored.len as usize].to_vec()
    }

    /// Flips a bit of the newest object, where nobody looks.
    pub(crate) fn rot(&mut self, offset: usize) {
        let partial = self.partial.last_entry();
        let found = partial.or_else(|| self.complete.last_entry());
        found.expect("something is stored").get_mut().bytes[offset] ^= 1;
    }

    /// Loses all files, beneath whoever holds them.
    pub(crate) fn lose(&mut self) {
        self.partial.clear();
        self.complete.clear();
        self.sidecars.clear();
    }

    /// Returns the newest object of which anything is stored.
    pub(crate) fn newest(&self) -> Option<ObjectId> {
        let partial = self.partial.last_key_value();
        let newest = partial.or_else(|| self.complete.last_key_value());
        newest.map(|(object, _)| *object)
    }

    /// Returns the sidecars that are stored.
    pub(crate) fn sidecars(&self) -> Vec<(ObjectId, Vec<u8>)> {
        let one = |(object, sidecar): (&ObjectId, &Vec<u8>)| (*object, sidecar.clone());
        self.sidecars.iter().map(one).collect()
    }

    /// Returns the bytes of a partial object, as they are.
    pub(super) fn whole(&self, object: ObjectId) -> Option<&[u8]> {
        self.partial.get(&object).map(|file| &file.bytes[..])
    }

    /// An object's data is synced.
    pub(super) fn synced(&mut self, object: ObjectId) {
        if let Some(file) = self.partial.get_mut(&object) {
            file.synced.clone_from(&file.bytes);
        }
    }

    /// An object's data has gone to its place.
    pub(super) fn take(&mut self, object: ObjectId) {
        self.partial.remove(&object);
    }

    /// Returns how many objects are stored, in part or whole.
    pub(crate) fn count(&self) -> usize {
        let all: BTreeSet<_> = self.partial.keys().chain(self.complete.keys()).collect();
        all.len()
    }

    /// Returns how many drafts have a journal.
    pub(crate) fn drafts(&self) -> usize {
        self.journals.len()
    }

    /// Loses every journal, as a power loss does that keeps the bytes.
    pub(crate) fn lose_journals(&mut self) {
        self.journals.clear();
    }

    /// Spoils every journal.
    pub(crate) fn spoil_journals(&mut self) {
        for (journal, _) in self.journals.values_mut() {
            journal[20] ^= 1;
        }
    }

    pub(super) fn store(
        &mut self,
        object: ObjectId,
        offset: u64,
        bytes: &[u8],
        record: &[u8],
    ) -> Result<DiskDone, DiskError> {
        if self.step() {
            let file = self.partial.get_mut(&object).ok_or(DiskError::NotFound)?;
            put(&mut file.bytes, offset, bytes);
        }
        self.mark(object, record)
    }

    fn mark(&mut self, object: ObjectId, record: &[u8]) -> Result<DiskDone, DiskError> {
        if self.step() {
            let sidecar = self.sidecars.get_mut(&object);
            sidecar.ok_or(DiskError::NotFound)?.extend(record);
        }
        Ok(DiskDone::Done)
    }

    /// Has every sidecar be one of version 1 that lists all chunks.
    pub(crate) fn list_all_in_version_1(&mut self) {
        for (object, file) in &self.partial {
            let len = u64::try_from(file.bytes.len()).unwrap();
            let mut all = ChunkBitmap::with_chunk_size(len, 512).unwrap();
            all.set_range(0, len);
            self.sidecars.insert(*object, all.encode());
        }
    }

    pub(super) fn read_stored(
        &mut self,
        object: ObjectId,
        offset: u64,
        len: u32,
    ) -> Result<Vec<u8>, DiskError> {
        let bytes = &self.file(object)?.bytes;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let to = (from + len as usize).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    pub(super) fn perform(&mut self, wish: DiskWish) -> Result<DiskDone, DiskError> {
        match wish {
            DiskWish::LoadObject { object } => {
                let len = |file: &File| file.bytes.len() as u64;
                return Ok(DiskDone::Loaded {
                    sidecar: self.sidecars.get(&object).cloned(),
                    partial: self.partial.get(&object).map(len),
                    complete: self.complete.get(&object).map(len),
                });
            }
            DiskWish::HashChunk {
                object,
                offset,
                len,
            } => {
                let bytes = self.read_stored(object, offset, len)?;
                return Ok(DiskDone::Hashed {
                    len: u32::try_from(bytes.len()).unwrap(),
                    hash: ChunkHash::of(&bytes),
                });
            }
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => {
                if size > ROOM {
                    return Err(DiskError::NoSpace);
                }
                if self.step() {
                    let bytes = vec![0; usize::try_from(size).unwrap()];
                    let file = File {
                        synced: bytes.clone(),
                        bytes,
                        ..File::default()
                    };
                    self.partial.insert(object, file);
                    self.sidecars.insert(object, sidecar);
                }
            }
            DiskWish::CutSidecar { object, len } => {
                if self.step() {
                    let sidecar = self.sidecars.get_mut(&object);
                    let sidecar = sidecar.ok_or(DiskError::NotFound)?;
                    sidecar.truncate(usize::try_from(len).unwrap());
                }
            }
            DiskWish::MarkSidecar { object, record } => return self.mark(object, &record),
            DiskWish::SyncObject { object } => {
                if self.step() {
                    let file = self.file(object)?;
                    file.synced.clone_from(&file.bytes);
                }
            }
            DiskWish::FinishObject { object } => {
                if self.step() {
                    let file = self.partial.remove(&object).ok_or(DiskError::NotFound)?;
                    self.complete.insert(object, file);
                    self.sidecars.remove(&object);
                }
            }
            DiskWish::RemoveObject { object } => {
                if self.step() {
                    self.partial.remove(&object);
                    self.complete.remove(&object);
                    self.sidecars.remove(&object);
                }
            }
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::Draft { .. } => unreachable!("it is no job of the object store"),
        }
        Ok(DiskDone::Done)
    }

    /// Does something with a draft; `bytes` are those of its payload.
    pub(super) fn draft(
        &mut self,
        object: ObjectId,
        wish: DraftWish,
        bytes: &[u8],
    ) -> Result<DiskDone, DiskError> {
        match wish {
            DraftWish::Open {
                journal,
                from,
                anew,
            } => {
                let was_there = self.journals.contains_key(&object);
                let begun = self.journals.get(&object);
                let has_begun = begun.is_some_and(|(now, _)| now.starts_with(&journal));
                if self.step() {
                    if from == DraftFrom::Nothing && (!was_there || (anew && !has_begun)) {
                        self.partial.remove(&object);
                    }
                    let synced = if was_there {
                        journal.clone()
                    } else {
                        Vec::new()
                    };
                    self.journals.insert(object, (journal, synced));
                }
                if self.step() {
                    match from {
                        DraftFrom::Nothing => {
                            self.partial.entry(object).or_default();
                        }
                        DraftFrom::Partial => {}
                        DraftFrom::Complete => {
                            let moved = self.complete.remove(&object);
                            self.partial.extend(moved.map(|file| (object, file)));
                        }
                    }
                    if !self.partial.contains_key(&object) {
                        return Err(DiskError::NotFound);
                    }
                }
            }
            DraftWish::Write {
                offset,
                before,
                after,
                ..
            } => {
                self.append(object, &before)?;
                // A kill may come in the middle.
                let half = bytes.len() / 2;
                let (first, second) = bytes.split_at(half);
                for (at, piece) in [(offset, first), (offset + half as u64, second)] {
                    if self.step() {
                        let file = self.partial.get_mut(&object).ok_or(DiskError::NotFound)?;
                        put(&mut file.bytes, at, piece);
                    }
                }
                self.append(object, &after)?;
            }
            DraftWish::Resize { size, after } => {
                if self.step() {
                    let file = self.partial.get_mut(&object).ok_or(DiskError::NotFound)?;
                    file.bytes.resize(usize::try_from(size).unwrap(), 0);
                }
                self.append(object, &after)?;
            }
            DraftWish::Fill {
                offset,
                gaps,
                after,
                ..
            } => {
                for (from, to) in gaps {
                    if self.step() {
                        // Without a payload, they are zeros.
                        let zeros = vec![0; to as usize];
                        let bytes = if bytes.is_empty() { &zeros } else { bytes };
                        let piece = &bytes[from as usize..to as usize];
                        let file = self.partial.get_mut(&object).ok_or(DiskError::NotFound)?;
                        let len = file.bytes.len();
                        put(&mut file.bytes, offset + u64::from(from), piece);
                        assert_eq!(file.bytes.len(), len, "filling lengthens no file");
                    }
                }
                self.append(object, &after)?;
            }
            DraftWish::Touch { mtime } => {
                if self.step() {
                    self.file(object)?.mtime = mtime;
                }
            }
            DraftWish::Mark { record } => self.append(object, &record)?,
            DraftWish::Sync { after } => {
                if self.step() {
                    let file = self.file(object)?;
                    file.synced.clone_from(&file.bytes);
                }
                self.append(object, &after)?;
                if self.step() {
                    let (journal, synced) =
                        self.journals.get_mut(&object).ok_or(DiskError::NotFound)?;
                    synced.clone_from(journal);
                }
            }
            DraftWish::Load => {
                let file = self.partial.get(&object);
                return Ok(DiskDone::Draft {
                    journal: self
                        .journals
                        .get(&object)
                        .map(|(journal, _)| journal.clone()),
                    file: file.map(|file| (file.bytes.len() as u64, file.mtime)),
                    sidecar: self.sidecars.get(&object).cloned(),
                });
            }
            DraftWish::Settle {
                object: settled,
                sidecar,
            } => {
                if self.journals.contains_key(&object) {
                    self.settle(object, settled, sidecar);
                }
            }
            DraftWish::Remove => {
                if self.step() {
                    self.partial.remove(&object);
                }
                if self.step() {
                    self.sidecars.remove(&object);
                }
                if self.step() {
                    self.journals.remove(&object);
                }
            }
        }
        Ok(DiskDone::Done)
    }

    fn settle(&mut self, object: ObjectId, settled: ObjectId, sidecar: Option<Vec<u8>>) {
        if self.step()
            && let Some(sidecar) = &sidecar
        {
            self.sidecars.insert(settled, sidecar.clone());
        }
        if self.step()
            && let Some(file) = self.partial.remove(&object)
        {
            let place = if sidecar.is_some() {
                &mut self.partial
            } else {
                &mut self.complete
            };
            place.insert(settled, file);
        }
        if self.step() && (object != settled || sidecar.is_none()) {
            self.sidecars.remove(&object);
        }
        if self.step() {
            self.journals.remove(&object);
        }
    }

    /// Appends to a journal; a kill may come in the middle.
    fn append(&mut self, object: ObjectId, records: &[u8]) -> Result<(), DiskError> {
        for piece in records.chunks(25) {
            if self.step() {
                let (journal, _) = self.journals.get_mut(&object).ok_or(DiskError::NotFound)?;
                journal.extend(piece);
            }
        }
        Ok(())
    }
}

/// Puts bytes into a file that may have to grow.
fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap();
    let end = from + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[from..end].copy_from_slice(bytes);
}
