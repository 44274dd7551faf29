//! A peer's store of objects: partial files with their sidecars, and complete files.
//!
//! Law: a kill keeps all that was written. A power loss keeps what was synced, and of each later
//! write all, a part or nothing, each for itself: a sidecar's record may survive the bytes that
//! it speaks of. A partial file's names, and its sidecar, are sure only after a rename was
//! synced; a sidecar that was cut may get its old tail back.

use std::collections::BTreeMap;
use std::ops::Range;

use tandem_core::error::DiskError;
use tandem_core::ids::ObjectId;
use tandem_core::time::WallTime;

use super::drafts::Log;
use crate::choices::Chance;
use crate::reach;
use crate::reach::Reach;

/// A file's bytes, and which of them a power loss can't take.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Change>,
    /// What power losses took of writes, until it is written again.
    lost: Vec<Range<usize>>,
    /// When it was last written, or what that was set to; and the same when it was last synced.
    pub(super) mtime: WallTime,
    synced_mtime: WallTime,
}

/// What was done to a file since it was last synced.
#[derive(Clone, Debug)]
enum Change {
    /// Bytes were written.
    Write(usize, Vec<u8>),
    /// It was cut to a length, or filled up to it with a hole.
    Resize(usize),
}

impl Change {
    fn has_bytes(&self) -> bool {
        match self {
            Self::Write(_, bytes) => !bytes.is_empty(),
            Self::Resize(_) => false,
        }
    }
}

impl Image {
    pub(super) fn new(size: usize) -> Self {
        Self {
            now: vec![0; size],
            synced: vec![0; size],
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
        self.made_good(at..end);
        self.since.push(Change::Write(at, bytes.to_vec()));
    }

    pub(super) fn resize(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.made_good(len..usize::MAX);
        self.since.push(Change::Resize(len));
    }

    /// Nothing of a range is lost any more.
    fn made_good(&mut self, range: Range<usize>) {
        let left = std::mem::take(&mut self.lost).into_iter();
        let left = left.flat_map(|lost| {
            let before = lost.start..lost.end.min(range.start);
            let behind = lost.start.max(range.end)..lost.end;
            [before, behind]
        });
        self.lost = left.filter(|left| !left.is_empty()).collect();
    }

    pub(super) fn sync(&mut self) {
        self.synced.clone_from(&self.now);
        self.synced_mtime = self.mtime;
        self.since.clear();
    }

    pub(super) fn lose_power(&mut self, chance: &mut Chance, reach: &mut Reach) {
        for change in std::mem::take(&mut self.since) {
            let (at, bytes) = match change {
                Change::Write(at, bytes) => (at, bytes),
                Change::Resize(len) => {
                    if chance.often(500) {
                        self.synced.resize(len, 0);
                    } else {
                        reach!(reach, "power: lost a resize");
                    }
                    continue;
                }
            };
            let kept = match chance.below(3) {
                0 => {
                    reach!(reach, "power: lost a write");
                    0
                }
                1 => bytes.len(),
                _ => {
                    reach!(reach, "power: tore a write");
                    chance.index(bytes.len() + 1)
                }
            };
            // A later write that was kept makes good what an earlier one lost.
            self.made_good(at..at + kept);
            // What lay there before may happen to be the same bytes: then nothing is lost.
            let before = |n: usize| self.synced.get(at + n).copied().unwrap_or(0);
            if (kept..bytes.len()).any(|n| bytes[n] != before(n)) {
                self.lost.push(at + kept..at + bytes.len());
            }
            let end = at + kept;
            if self.synced.len() < end {
                self.synced.resize(end, 0);
            }
            self.synced[at..end].copy_from_slice(&bytes[..kept]);
        }
        self.now.clone_from(&self.synced);
        if self.mtime != self.synced_mtime && chance.often(500) {
            self.mtime = self.synced_mtime;
        }
        self.synced_mtime = self.mtime;
    }

    /// What a power loss left of a draft is what its next version is made of.
    pub(super) fn settled(&mut self) {
        self.lost.clear();
    }

    /// Tells whether no byte of a range waits for a sync, or was lost.
    pub(super) fn is_synced(&self, range: &Range<u64>) -> bool {
        let end = range.end.min(self.now.len() as u64);
        // A length that is not sure says nothing of what lies before it, and before the last sure
        // one.
        let sure = self.synced.len() as u64;
        let within = |change: &Change| match change {
            Change::Write(at, bytes) => {
                let (from, end) = (*at as u64, (*at + bytes.len()) as u64);
                from < range.end && range.start < end
            }
            Change::Resize(len) => (*len as u64).min(sure) < end,
        };
        let gone =
            |lost: &Range<usize>| (lost.start as u64) < range.end && range.start < lost.end as u64;
        !self.since.iter().any(within) && !self.lost.iter().any(gone)
    }
}

/// A sidecar: what it holds, and what it held when that was last sure to be on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    pub(super) now: Vec<u8>,
    before: Vec<u8>,
}

impl Journal {
    /// Returns a sidecar that is sure to be on the disk.
    pub(super) fn sure(bytes: Vec<u8>) -> Self {
        Self {
            before: bytes.clone(),
            now: bytes,
        }
    }

    pub(super) fn sync(&mut self) {
        self.before.clone_from(&self.now);
    }

    fn lose_power(&mut self, chance: &mut Chance, reach: &mut Reach) {
        let same = self
            .now
            .iter()
            .zip(&self.before)
            .take_while(|(a, b)| a == b)
            .count();
        let kept = same + chance.part(self.now.len() - same);
        let mut left = self.now[..kept].to_vec();
        if self.before.len() > kept && chance.often(800) {
            reach!(reach, "sidecar: old tail came back");
            left.extend_from_slice(&self.before[kept..]);
        } else if chance.often(200) {
            left.extend(vec![0; chance.index(64)]);
        }
        self.now = left;
        self.before.clone_from(&self.now);
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) sidecar: Option<Journal>,
    pub(super) partial: Option<Image>,
    /// Whether the partial file's name has outlived a sync.
    pub(super) partial_sure: bool,
    pub(super) complete: Option<Image>,
    /// Whether the complete file's name has.
    pub(super) complete_sure: bool,
    /// The journal of a draft.
    pub(super) draft: Log,
    /// Whether the complete file can't be read.
    pub(super) bad: bool,
}

/// What `DiskWish::LoadObject` brings: the sidecar, and the lengths of the two files.
pub type Loaded = (Option<Vec<u8>>, Option<u64>, Option<u64>);

/// All objects of a peer.
#[derive(Clone, Debug, Default)]
pub struct Objects(pub(super) BTreeMap<ObjectId, Stored>);

impl Objects {
    /// Finds what is stored of an object.
    pub fn load(&self, object: ObjectId) -> Loaded {
        let Some(stored) = self.0.get(&object) else {
            return (None, None, None);
        };
        let len = |image: &Option<Image>| image.as_ref().map(|image| image.now.len() as u64);
        let sidecar = stored.sidecar.as_ref().map(|journal| journal.now.clone());
        (sidecar, len(&stored.partial), len(&stored.complete))
    }

    /// Makes the partial file and its sidecar. The old sidecar goes first, for good: one that
    /// vouches for bytes never stands beside a new, empty file.
    pub fn create(&mut self, object: ObjectId, size: u64, sidecar: Vec<u8>) {
        let stored = self.0.entry(object).or_default();
        stored.sidecar = Some(Journal {
            now: sidecar,
            before: Vec::new(),
        });
        stored.partial = Some(Image::new(usize::try_from(size).unwrap_or(0)));
        stored.partial_sure = false;
        stored.bad = false;
    }

    /// Appends to the sidecar.
    pub fn mark(&mut self, object: ObjectId, record: &[u8]) -> Result<(), DiskError> {
        let journal = self.journal(object)?;
        journal.now.extend_from_slice(record);
        Ok(())
    }

    /// Cuts the sidecar.
    pub fn cut(&mut self, object: ObjectId, len: u64) -> Result<(), DiskError> {
        let journal = self.journal(object)?;
        // What is cut off may have reached the disk, and the cut may not.
        if journal.before.len() < journal.now.len() {
            journal.before.clone_from(&journal.now);
        }
        journal.now.truncate(usize::try_from(len).unwrap_or(0));
        Ok(())
    }

    fn journal(&mut self, object: ObjectId) -> Result<&mut Journal, DiskError> {
        self.0
            .get_mut(&object)
            .and_then(|stored| stored.sidecar.as_mut())
            .ok_or(DiskError::NotFound)
    }

    /// Writes into the partial file.
    pub fn write(&mut self, object: ObjectId, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let partial = self
            .0
            .get_mut(&object)
            .and_then(|stored| stored.partial.as_mut())
            .ok_or(DiskError::NotFound)?;
        partial.write(usize::try_from(at).unwrap_or(0), bytes);
        Ok(())
    }

    /// Syncs the partial file's data.
    pub fn sync(&mut self, object: ObjectId) -> Result<(), DiskError> {
        let stored = self.0.get_mut(&object).ok_or(DiskError::NotFound)?;
        let partial = stored.partial.as_mut().ok_or(DiskError::NotFound)?;
        partial.sync();
        stored.partial_sure = true;
        Ok(())
    }

    /// Moves the partial file to its complete place, for good; done twice it does no harm.
    pub fn finish(&mut self, object: ObjectId) -> Result<(), DiskError> {
        let stored = self.0.get_mut(&object).ok_or(DiskError::NotFound)?;
        if let Some(partial) = stored.partial.take() {
            stored.complete = Some(partial);
        }
        stored.sidecar = None;
        stored.complete_sure = true;
        match stored.complete {
            Some(_) => Ok(()),
            None => Err(DiskError::NotFound),
        }
    }

    /// Removes everything of an object.
    pub fn remove(&mut self, object: ObjectId) {
        self.0.remove(&object);
    }

    /// Reads stored bytes, from the complete file if there is one. `None` when there is neither
    /// file; fewer bytes than asked for at the end of it.
    pub fn read(&self, object: ObjectId, at: u64, len: u32) -> Option<&[u8]> {
        let stored = self.0.get(&object).filter(|stored| !stored.bad)?;
        let image = stored.complete.as_ref().or(stored.partial.as_ref())?;
        let at = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .min(image.now.len());
        let end = (at + len as usize).min(image.now.len());
        Some(&image.now[at..end])
    }

    /// Returns an object's sidecar.
    pub fn sidecar(&self, object: ObjectId) -> Option<&[u8]> {
        let stored = self.0.get(&object)?;
        stored
            .sidecar
            .as_ref()
            .map(|journal| journal.now.as_slice())
    }

    /// Tells whether no byte of a range of the partial file waits for a sync, or was lost.
    pub fn is_synced(&self, object: ObjectId, range: Range<u64>) -> bool {
        let stored = self.0.get(&object);
        let partial = stored.and_then(|stored| stored.partial.as_ref());
        partial.is_none_or(|image| image.is_synced(&range))
    }

    /// Tells whether the object is complete.
    pub fn is_complete(&self, object: ObjectId) -> bool {
        self.0
            .get(&object)
            .is_some_and(|stored| stored.complete.is_some())
    }

    /// Returns the number of objects of which anything is stored.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has a complete file vanish, or be unreadable from here on; returns of which object.
    pub fn go_bad(&mut self, chance: &mut Chance) -> Option<ObjectId> {
        let good = |stored: &&ObjectId| self.0[stored].complete.is_some() && !self.0[stored].bad;
        let some: Vec<ObjectId> = self.0.keys().filter(good).copied().collect();
        let object = *chance.pick(&some)?;
        let stored = self.0.get_mut(&object)?;
        stored.bad = true;
        if chance.often(500) {
            stored.complete = None;
        }
        Some(object)
    }

    /// Tells whether a complete file has gone bad and nobody has cleared it away.
    pub fn is_bad(&self, object: ObjectId) -> bool {
        self.0.get(&object).is_some_and(|stored| stored.bad)
    }

    /// Flips a bit of a sidecar; returns of which object.
    pub fn rot_sidecar(&mut self, chance: &mut Chance) -> Option<ObjectId> {
        let has = |stored: &&ObjectId| self.0[stored].sidecar.is_some();
        let some: Vec<ObjectId> = self.0.keys().filter(has).copied().collect();
        let object = *chance.pick(&some)?;
        let journal = self.0.get_mut(&object)?.sidecar.as_mut()?;
        let at = chance.index(journal.now.len());
        *journal.now.get_mut(at)? ^= 1 << chance.below(8);
        journal.before.clone_from(&journal.now);
        Some(object)
    }

    /// Flips a bit of a chunk that was written and not synced since; returns of which object.
    pub fn rot_unsynced(&mut self, chance: &mut Chance) -> Option<ObjectId> {
        // What applications wrote is nowhere else, and beyond what checksums can mend.
        let soft = |stored: &Stored| {
            let partial = stored
                .partial
                .as_ref()
                .filter(|_| stored.draft.now.is_none());
            partial.is_some_and(|image| image.since.iter().any(Change::has_bytes))
        };
        let some = self.0.iter().filter(|(_, stored)| soft(stored));
        let some: Vec<ObjectId> = some.map(|(object, _)| *object).collect();
        let object = *chance.pick(&some)?;
        let image = self.0.get_mut(&object)?.partial.as_mut()?;
        let n = chance.index(image.since.len());
        let Change::Write(at, bytes) = image.since.get_mut(n)? else {
            return None;
        };
        let within = chance.index(bytes.len());
        let bit = 1 << chance.below(8);
        *bytes.get_mut(within)? ^= bit;
        *image.now.get_mut(*at + within)? ^= bit;
        Some(object)
    }

    /// Loses power.
    pub fn lose_power(&mut self, chance: &mut Chance, reach: &mut Reach) {
        for stored in self.0.values_mut() {
            if stored.complete.is_some() && !stored.complete_sure && chance.often(500) {
                reach!(reach, "power: undid a rename");
                stored.partial = stored.complete.take();
                stored.partial_sure = true;
                stored.bad = false;
            }
            if let Some(journal) = &mut stored.sidecar {
                journal.lose_power(chance, reach);
            }
            if stored.partial.is_some() && !stored.partial_sure {
                match chance.below(6) {
                    0 => stored.partial = None,
                    1 => stored.sidecar = None,
                    2 => {
                        stored.partial = None;
                        stored.sidecar = None;
                    }
                    _ => {}
                }
            }
            let images = [&mut stored.partial, &mut stored.complete];
            for image in images.into_iter().flatten() {
                image.lose_power(chance, reach);
            }
            stored.draft.lose_power(chance, reach);
            stored.partial_sure = stored.partial.is_some();
            stored.complete_sure = stored.complete.is_some();
        }
    }
}
