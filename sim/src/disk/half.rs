//! Jobs that the end of a process broke off: what the disk had done of them by then.
//!
//! Law: a job is a row of steps, in the order in which the real shell takes them, and any number
//! of the first ones may be done. Nobody is told.

use tandem_core::action::DiskWish;
use tandem_core::ids::ObjectId;
use tandem_core::time::WallTime;

use super::objects::{Image, Objects};
use crate::choices::Chance;

impl Objects {
    /// Does some of a job's steps. Returns whether what was stored of its object before may be
    /// gone.
    pub fn break_off(
        &mut self,
        wish: &DiskWish,
        bytes: &[u8],
        now: WallTime,
        chance: &mut Chance,
    ) -> bool {
        match wish {
            DiskWish::StoreChunk {
                object,
                offset,
                record,
                ..
            } => {
                let part = chance.part(bytes.len());
                let written = self.write(*object, *offset, &bytes[..part]).is_ok();
                if written && part == bytes.len() {
                    self.append_part(*object, record, chance);
                }
                false
            }
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => {
                // A hole is there, or is not.
                let zeros = vec![0; *len as usize];
                if chance.often(500) && self.write(*object, *offset, &zeros).is_ok() {
                    self.append_part(*object, record, chance);
                }
                false
            }
            DiskWish::MarkSidecar { object, record } => {
                self.append_part(*object, record, chance);
                false
            }
            DiskWish::CutSidecar { object, len } => {
                if chance.often(500) {
                    // Without a sidecar there is nothing to cut.
                    let _ = self.cut(*object, *len);
                }
                false
            }
            DiskWish::SyncObject { object } => {
                if chance.often(500) {
                    // Without a partial file there is nothing to sync.
                    let _ = self.sync(*object);
                }
                false
            }
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => self.create_in_part(*object, *size, sidecar, chance.below(4)),
            DiskWish::FinishObject { object } => {
                match chance.below(3) {
                    0 => {}
                    1 => self.rename_unsynced(*object),
                    _ => {
                        // Without either file there is nothing to finish.
                        let _ = self.finish(*object);
                    }
                }
                false
            }
            DiskWish::RemoveObject { object } => self.remove_in_part(*object, chance.below(4)),
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::LoadObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::ReadStored { .. } => false,
            DiskWish::Draft { object, wish } => {
                self.break_off_draft(*object, wish, bytes, now, chance);
                false
            }
        }
    }

    /// Appends all of a record, nothing, or the beginning of it.
    fn append_part(&mut self, object: ObjectId, record: &[u8], chance: &mut Chance) {
        let part = chance.part(record.len());
        // Without a sidecar there is nothing to append to.
        let _ = self.mark(object, &record[..part]);
    }

    /// The old sidecar goes, the new partial file comes, then its sidecar.
    fn create_in_part(&mut self, object: ObjectId, size: u64, sidecar: &[u8], steps: u64) -> bool {
        match steps {
            0 => {}
            3 => self.create(object, size, sidecar.to_vec()),
            some => {
                let stored = self.0.entry(object).or_default();
                stored.sidecar = None;
                if some == 2 {
                    stored.partial = Some(Image::new(usize::try_from(size).unwrap_or(0)));
                    stored.partial_sure = false;
                }
            }
        }
        steps > 0
    }

    /// The partial file stands at its complete place, but that may not outlive a power loss, and
    /// the sidecar is still there.
    fn rename_unsynced(&mut self, object: ObjectId) {
        if let Some(stored) = self.0.get_mut(&object)
            && let Some(partial) = stored.partial.take()
        {
            stored.complete = Some(partial);
            stored.complete_sure = false;
        }
    }

    /// The sidecar goes, then the partial file, then the complete one.
    fn remove_in_part(&mut self, object: ObjectId, steps: u64) -> bool {
        if steps == 3 {
            self.remove(object);
        } else if let Some(stored) = self.0.get_mut(&object) {
            stored.sidecar = stored.sidecar.take().filter(|_| steps < 1);
            stored.partial = stored.partial.take().filter(|_| steps < 2);
        }
        steps > 0
    }
}

#[cfg(test)]
mod tests {
    use tandem_core::ids::{ActorId, Dot, NodeId};

    use super::*;
    use crate::choices::{Choices, Key};
    use crate::reach::Reach;

    const OBJECT: ObjectId = {
        let dot = Dot {
            actor: ActorId(1),
            counter: 1,
        };
        ObjectId {
            node: NodeId(dot),
            version: dot,
        }
    };

    /// The files of an object of which `wish` was broken off, then power lost if so told; from
    /// many draws.
    fn left(wish: &DiskWish, power: bool) -> Vec<(bool, Option<u64>, Option<u64>)> {
        let mut all = Vec::new();
        for seed in 0..200 {
            let mut chance = Choices::new(seed).stream(Key::Config);
            let mut objects = Objects::default();
            objects.create(OBJECT, 4, vec![7; 65]);
            objects.write(OBJECT, 0, &[1, 2, 3, 4]).unwrap();
            objects.sync(OBJECT).unwrap();
            objects.break_off(wish, &[], WallTime::default(), &mut chance);
            if power {
                objects.lose_power(&mut chance, &mut Reach::default());
            }
            let (sidecar, partial, complete) = objects.load(OBJECT);
            all.push((sidecar.is_some(), partial, complete));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn a_rename_that_was_not_synced_may_be_lost_with_power_and_never_with_a_kill() {
        let wish = DiskWish::FinishObject { object: OBJECT };
        let here = (true, Some(4), None);
        let moved = [(false, None, Some(4)), (true, None, Some(4))];
        assert_eq!(left(&wish, false), [moved[0], moved[1], here]);
        assert_eq!(left(&wish, true), [moved[0], moved[1], here]);
        let mut objects = Objects::default();
        objects.create(OBJECT, 4, vec![7; 65]);
        objects.rename_unsynced(OBJECT);
        let lost = (0..64).any(|seed| {
            let mut after = objects.clone();
            let mut chance = Choices::new(seed).stream(Key::Config);
            after.lose_power(&mut chance, &mut Reach::default());
            !after.is_complete(OBJECT)
        });
        assert!(lost);
    }

    #[test]
    fn no_sidecar_stands_beside_a_file_that_it_was_not_made_for() {
        let sidecar = vec![9; 65];
        let wish = DiskWish::CreateObject {
            object: OBJECT,
            size: 8,
            sidecar,
        };
        let old = (true, Some(4), None);
        let new = (true, Some(8), None);
        let between = [(false, Some(4), None), (false, Some(8), None)];
        assert_eq!(left(&wish, false), [between[0], between[1], old, new]);
    }

    #[test]
    fn a_removal_takes_the_sidecar_first() {
        let wish = DiskWish::RemoveObject { object: OBJECT };
        let none = (false, None, None);
        let bare = (false, Some(4), None);
        assert_eq!(left(&wish, false), [none, bare, (true, Some(4), None)]);
    }
}
