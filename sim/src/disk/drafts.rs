//! Drafts: files of a peer's store while they are written to, each with its journal.
//!
//! Law: a wish is a row of steps, in the order in which the real shell takes them. Where the
//! process ends, or the disk fails, any number of the first ones is done, and a part of the next.
//! A power loss takes of file and journal what was not synced, each for itself; a journal that was
//! put in its place, or removed, without a sync of the directory, may be gone or back.

use tandem_core::draft_wish::{DraftFrom, DraftWish};
use tandem_core::error::DiskError;
use tandem_core::event::DiskDone;
use tandem_core::ids::ObjectId;
use tandem_core::time::WallTime;

use super::objects::{Image, Journal, Objects, Stored};
use crate::choices::Chance;
use crate::reach;
use crate::reach::Reach;

/// A draft's journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// What stands in its place.
    pub(super) now: Option<Image>,
    /// What stood there when the directory was last synced, if that may come back.
    before: Option<Option<Image>>,
}

impl Log {
    fn put(&mut self, image: Option<Image>) {
        let old = std::mem::replace(&mut self.now, image);
        self.before.get_or_insert(old);
    }

    pub(super) fn lose_power(&mut self, chance: &mut Chance, reach: &mut Reach) {
        if let Some(before) = self.before.take()
            && chance.often(300)
        {
            reach!(reach, "power: a draft's journal came back, or never was");
            self.now = before;
        }
        if let Some(image) = &mut self.now {
            image.lose_power(chance, reach);
        }
    }
}

/// Something that is done to the files of a draft, at once or in part.
#[derive(Debug)]
enum Step {
    /// Another journal is put in the place of what stood there.
    Place {
        bytes: Vec<u8>,
        synced: bool,
    },
    /// What stands in `partial/` goes.
    Clear,
    /// An empty file is made.
    Make,
    /// The complete file goes to `partial/`, for good.
    Reopen,
    Append(Vec<u8>),
    Write(usize, Vec<u8>),
    /// The same, without a change of its time.
    Fill(usize, Vec<u8>),
    Resize(usize),
    Touch(WallTime),
    SyncFile,
    SyncJournal,
    /// The sidecar of the object under which it is to lie goes.
    NoSidecar(ObjectId),
    /// The partial file of that object goes.
    NoPartial(ObjectId),
    /// The file goes to `partial/` under another object's name, with this sidecar.
    Hand(ObjectId),
    Sidecar(ObjectId, Vec<u8>),
    /// The file goes to its complete place, for good.
    Finish(ObjectId),
    NoFile,
    NoJournal,
}

impl Objects {
    /// Does what is wished of a draft; `now` is what the disk's clock shows.
    pub fn draft(
        &mut self,
        object: ObjectId,
        wish: &DraftWish,
        bytes: &[u8],
        now: WallTime,
    ) -> Result<DiskDone, DiskError> {
        if let DraftWish::Load = wish {
            return Ok(self.load_draft(object));
        }
        for step in self.steps(object, wish, bytes)? {
            self.take(object, step, now);
        }
        Ok(DiskDone::Done)
    }

    /// Does a part of it.
    pub fn break_off_draft(
        &mut self,
        object: ObjectId,
        wish: &DraftWish,
        bytes: &[u8],
        now: WallTime,
        chance: &mut Chance,
    ) {
        // Where it can't be begun, nothing was done.
        let steps = self.steps(object, wish, bytes).unwrap_or_default();
        let done = chance.index(steps.len() + 1);
        let mut rest = steps.into_iter();
        for step in rest.by_ref().take(done) {
            self.take(object, step, now);
        }
        let part = match rest.next() {
            Some(Step::Append(mut bytes)) => {
                bytes.truncate(chance.index(bytes.len() + 1));
                Some(Step::Append(bytes))
            }
            Some(Step::Write(at, mut bytes)) => {
                bytes.truncate(chance.index(bytes.len() + 1));
                Some(Step::Write(at, bytes))
            }
            _ => None,
        };
        if let Some(part) = part {
            self.take(object, part, now);
        }
    }

    fn load_draft(&self, object: ObjectId) -> DiskDone {
        let stored = self.0.get(&object);
        let journal = stored.and_then(|stored| stored.draft.now.as_ref());
        let file = stored.and_then(|stored| stored.partial.as_ref());
        let sidecar = stored.and_then(|stored| stored.sidecar.as_ref());
        DiskDone::Draft {
            journal: journal.map(|image| image.now.clone()),
            file: file.map(|image| (image.now.len() as u64, image.mtime)),
            sidecar: sidecar
                .filter(|_| file.is_some())
                .map(|sidecar| sidecar.now.clone()),
        }
    }

    /// Returns the steps of a wish, or why it can't be begun.
    fn steps(
        &self,
        object: ObjectId,
        wish: &DraftWish,
        bytes: &[u8],
    ) -> Result<Vec<Step>, DiskError> {
        let none = Stored::default();
        let stored = self.0.get(&object).unwrap_or(&none);
        let log = stored.draft.now.as_ref();
        let is_open = log.is_some() && stored.partial.is_some();
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let append = |bytes: &Vec<u8>| Step::Append(bytes.clone());
        match wish {
            DraftWish::Open {
                journal,
                from,
                anew,
            } => open_steps(stored, journal, *from, *anew),
            DraftWish::Load => Ok(Vec::new()),
            DraftWish::Settle {
                object: settled,
                sidecar,
            } => self.settle_steps(object, *settled, sidecar.as_ref()),
            DraftWish::Remove => Ok(vec![Step::NoFile, Step::NoSidecar(object), Step::NoJournal]),
            _ if !is_open => Err(DiskError::NotFound),
            DraftWish::Write {
                offset,
                payload: _,
                before,
                after,
            } => Ok(vec![
                append(before),
                Step::Write(at(*offset), bytes.to_vec()),
                append(after),
            ]),
            DraftWish::Resize { size, after } => Ok(vec![Step::Resize(at(*size)), append(after)]),
            DraftWish::Fill {
                offset,
                payload,
                gaps,
                after,
            } => {
                let len = stored.partial.as_ref().map_or(0, |image| image.now.len());
                let mut steps = Vec::new();
                for (from, to) in gaps {
                    let (from, to) = (*from as usize, *to as usize);
                    let zeros = vec![0; to];
                    let bytes = if payload.is_some() { bytes } else { &zeros };
                    let piece = bytes.get(from..to).ok_or(DiskError::Io)?;
                    let start = at(*offset) + from;
                    if start + piece.len() > len {
                        return Err(DiskError::Io);
                    }
                    steps.push(Step::Fill(start, piece.to_vec()));
                }
                steps.push(append(after));
                Ok(steps)
            }
            DraftWish::Touch { mtime } => Ok(vec![Step::Touch(*mtime)]),
            DraftWish::Mark { record } => Ok(vec![append(record)]),
            DraftWish::Sync { after } => Ok(vec![Step::SyncFile, append(after), Step::SyncJournal]),
        }
    }

    fn settle_steps(
        &self,
        object: ObjectId,
        settled: ObjectId,
        sidecar: Option<&Vec<u8>>,
    ) -> Result<Vec<Step>, DiskError> {
        let has =
            |object: ObjectId, file: fn(&Stored) -> bool| self.0.get(&object).is_some_and(file);
        if !has(object, |stored| stored.draft.now.is_some()) {
            // It was settled before, or there is nothing to settle.
            let is_there = match sidecar {
                Some(_) => has(settled, |stored| stored.partial.is_some()),
                None => has(settled, |stored| stored.complete.is_some()),
            };
            return if is_there {
                Ok(Vec::new())
            } else {
                Err(DiskError::NotFound)
            };
        }
        let begun = has(object, |stored| stored.partial.is_some());
        let mut steps = Vec::new();
        match sidecar {
            Some(sidecar) => {
                if !begun && !has(settled, |stored| stored.partial.is_some()) {
                    return Err(DiskError::NotFound);
                }
                let renew = Step::Sidecar(settled, sidecar.clone());
                if object == settled {
                    steps.push(renew);
                } else if begun {
                    let old = [Step::NoSidecar(settled), Step::NoPartial(settled)];
                    steps.extend(old);
                    steps.extend([renew, Step::Hand(settled)]);
                }
            }
            None => {
                if begun {
                    steps.push(Step::Finish(settled));
                } else if !has(settled, |stored| stored.complete.is_some()) {
                    return Err(DiskError::NotFound);
                }
                steps.push(Step::NoSidecar(settled));
            }
        }
        if object != settled {
            steps.push(Step::NoSidecar(object));
        }
        steps.push(Step::NoJournal);
        Ok(steps)
    }

    fn take(&mut self, object: ObjectId, step: Step, now: WallTime) {
        match step {
            Step::NoSidecar(of) => self.0.entry(of).or_default().sidecar = None,
            Step::NoPartial(of) => self.0.entry(of).or_default().partial = None,
            Step::Hand(to) => {
                let image = self.0.entry(object).or_default().partial.take();
                let other = self.0.entry(to).or_default();
                other.partial = image;
                other.partial_sure = true;
            }
            Step::Sidecar(of, bytes) => {
                let stored = self.0.entry(of).or_default();
                stored.sidecar = Some(Journal::sure(bytes));
                stored.partial_sure = true;
            }
            Step::Finish(to) => {
                let image = self.0.entry(object).or_default().partial.take();
                let other = self.0.entry(to).or_default();
                other.complete = image;
                other.complete_sure = true;
            }
            Step::Place { .. }
            | Step::Clear
            | Step::Make
            | Step::Reopen
            | Step::Append(_)
            | Step::Write(..)
            | Step::Fill(..)
            | Step::Resize(_)
            | Step::Touch(_)
            | Step::SyncFile
            | Step::SyncJournal
            | Step::NoFile
            | Step::NoJournal => self.0.entry(object).or_default().take(step, now),
        }
        let is_empty = |stored: &Stored| {
            stored.sidecar.is_none()
                && stored.partial.is_none()
                && stored.complete.is_none()
                && stored.draft.now.is_none()
                && stored.draft.before.as_ref().is_none_or(Option::is_none)
        };
        self.0.retain(|_, stored| !is_empty(stored));
    }

    /// Returns a draft's journal.
    pub fn draft_journal(&self, object: ObjectId) -> Option<&[u8]> {
        let log = self.0.get(&object)?.draft.now.as_ref()?;
        Some(&log.now)
    }

    /// Returns the objects that have a draft's journal.
    pub fn drafts(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let has = |stored: &Stored| stored.draft.now.is_some();
        let drafts = self.0.iter().filter(move |(_, stored)| has(stored));
        drafts.map(|(object, _)| *object)
    }
}

fn open_steps(
    stored: &Stored,
    journal: &[u8],
    from: DraftFrom,
    anew: bool,
) -> Result<Vec<Step>, DiskError> {
    let (partial, complete) = (stored.partial.is_some(), stored.complete.is_some());
    let is_there = match from {
        DraftFrom::Nothing => true,
        DraftFrom::Partial => partial,
        DraftFrom::Complete => complete || partial,
    };
    if !is_there {
        return Err(DiskError::NotFound);
    }
    let log = stored.draft.now.as_ref();
    let mut steps = Vec::new();
    let has_begun = log.is_some_and(|log| log.now.starts_with(journal));
    let nothing = from == DraftFrom::Nothing;
    let is_other = log.is_none() || (anew && !has_begun);
    if nothing && is_other && partial {
        steps.push(Step::Clear);
    }
    if !has_begun {
        let synced = log.is_some() || from == DraftFrom::Complete;
        let bytes = journal.to_vec();
        steps.push(Step::Place { bytes, synced });
    }
    if nothing && (is_other || !partial) {
        steps.push(Step::Make);
    }
    if from == DraftFrom::Complete && complete {
        steps.push(Step::Reopen);
    }
    Ok(steps)
}

impl Stored {
    fn take(&mut self, step: Step, now: WallTime) {
        let log = &mut self.draft.now;
        match step {
            Step::Place { bytes, synced } => {
                let mut image = Image::default();
                image.write(0, &bytes);
                if synced {
                    image.sync();
                }
                self.draft.put(Some(image));
            }
            Step::NoFile | Step::Clear => self.partial = None,
            Step::Make => {
                let mut image = Image::new(0);
                image.mtime = now;
                self.partial = Some(image);
                self.partial_sure = false;
            }
            Step::Reopen => {
                self.partial = self.complete.take();
                self.partial_sure = true;
                // Both directories were synced.
                self.draft.before = None;
            }
            Step::Append(bytes) => {
                if let Some(log) = log {
                    let end = log.now.len();
                    log.write(end, &bytes);
                }
            }
            Step::Write(at, bytes) => {
                if let Some(image) = &mut self.partial {
                    image.write(at, &bytes);
                    image.mtime = now;
                }
            }
            Step::Fill(at, bytes) => {
                if let Some(image) = &mut self.partial {
                    image.write(at, &bytes);
                }
            }
            Step::Resize(len) => {
                if let Some(image) = &mut self.partial {
                    image.resize(len);
                    image.mtime = now;
                }
            }
            Step::Touch(mtime) => {
                if let Some(image) = &mut self.partial {
                    image.mtime = mtime;
                }
            }
            Step::SyncFile => {
                if let Some(image) = &mut self.partial {
                    image.sync();
                    image.settled();
                }
                self.partial_sure = true;
                self.draft.before = None;
                if let Some(sidecar) = &mut self.sidecar {
                    sidecar.sync();
                }
            }
            Step::SyncJournal => {
                if let Some(log) = log {
                    log.sync();
                }
            }
            Step::NoJournal => self.draft.put(None),
            Step::NoSidecar(_)
            | Step::NoPartial(_)
            | Step::Hand(_)
            | Step::Sidecar(..)
            | Step::Finish(_) => {}
        }
    }
}
