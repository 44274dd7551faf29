//! What peers have deleted or overwritten in a shared folder, as people list it and bring it back.
//!
//! Law: what lies in the trash stays for as long as it is to be kept, while the budget has room; the
//! oldest goes first. Each thing has a number of its own, which nothing else ever gets. What lies
//! there is the truth: a record without a file is forgotten, a file without a record gets one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::error::DiskError;
use crate::event::Fingerprint;
use crate::ids::{ActorId, ObjectId};
use crate::label::Label;
use crate::limits::THROWN_KEPT_MAX;
use crate::place_wish::FileKey;
use crate::time::{Duration, WallTime};
use crate::tree::name::Name;

/// For how long, and how much of it, a full replica keeps what peers delete or overwrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For how long.
    pub keep: Duration,
    /// How much, in bytes: the sum of the sizes of all that lies there.
    pub budget: u64,
    /// How long after its start a replica first looks at what lies there.
    pub first: Duration,
    /// How often it does after that.
    pub look: Duration,
}

/// What has become of a thing that lies in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Another version, or another file, took its place.
    Replaced,
    /// Its name was deleted.
    Deleted,
    /// Nobody knows: a kill came before it was put on record.
    Unknown,
}

/// A thing that lies in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trashed {
    /// What stood there: which file it is, its size, its time.
    pub print: Fingerprint,
    /// Where it stood: names from the folder's root. Of what has no record, its name alone.
    pub path: Vec<Name>,
    /// Which version of which file it is, where that is known.
    pub version: Option<ObjectId>,
    /// What has become of it.
    pub fate: Fate,
    /// The incarnation that changed it, where that is known.
    pub actor: Option<ActorId>,
    /// What whoever that was calls itself.
    pub who: Option<Label>,
    /// When it went to the trash.
    pub since: WallTime,
}

/// A file that was found in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its fingerprint.
    pub print: Fingerprint,
    /// What it was called in the folder, if that is a name.
    pub name: Option<Name>,
    /// When it came there.
    pub since: WallTime,
}

/// What is to be done in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrashWish {
    /// List it. Brings `DiskDone::Trash`.
    List,
    /// Remove these for good; what is not there is no error. Brings `DiskDone::Done`.
    Remove {
        /// Which.
        files: Vec<FileKey>,
    },
    /// Copy a file to a name of the folder where nothing stands, all of it or nothing, and have
    /// it survive power loss; directories on the way there that are missing are made. What lies in
    /// the trash stays. Brings `DiskDone::Done`; [`DiskError::Exists`] where something stands there,
    /// [`DiskError::WrongKind`] where what is on the way is no directory, [`DiskError::NotFound`]
    /// where the file is not in the trash.
    Restore {
        /// Which.
        file: FileKey,
        /// To where: names from the folder's root.
        to: Vec<Name>,
    },
}

/// A thing that was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it is.
    pub what: Trashed,
    /// Where it stands.
    pub path: Vec<Name>,
}

/// Why a thing was not brought back. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrestored {
    /// The engine is about to end.
    #[error("it is being stopped; start it again first")]
    Stopping,
    /// The folder is shared by somebody else.
    #[error(
        "nothing is kept here of what others change; whoever shares the folder has it, on that \
         machine"
    )]
    NotShared,
    /// Nothing in the trash has this number.
    #[error("nothing in the trash has this number; tandem log lists what lies there")]
    Unknown,
    /// It is being removed, or brought back.
    #[error("it is being removed for good, or brought back; look at tandem log in a moment")]
    Busy,
    /// It is not there any more.
    #[error("it is not in the trash any more; tandem log lists what lies there")]
    Gone,
    /// Too many names are taken.
    #[error("something stands under its name, and under each of those that were tried beside it")]
    Taken,
    /// The disk refused.
    #[error("it can't be put under {path}: {why}; it still lies in the trash")]
    Disk {
        /// Where to.
        path: String,
        /// Why.
        why: DiskError,
    },
}

/// What lies in the trash, as far as that is on record.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    things: BTreeMap<u64, Trashed>,
    numbers: BTreeMap<FileKey, u64>,
    bytes: u64,
    /// The number of the next thing.
    pub next: u64,
    /// Those that are being removed, or brought back.
    pub busy: BTreeSet<u64>,
    /// Whether it is being listed, or emptied.
    pub is_attended: bool,
}

impl Trash {
    /// Takes in what is on record.
    pub(crate) fn restore(&mut self, number: u64, thing: Trashed) {
        self.next = self.next.max(number.saturating_add(1));
        self.put(number, thing);
    }

    fn put(&mut self, number: u64, thing: Trashed) {
        self.bytes = self.bytes.saturating_add(thing.print.size);
        self.numbers.insert(FileKey::from(&thing.print), number);
        self.things.insert(number, thing);
    }

    /// Notes a thing; returns its number, and that under which the same file was noted before,
    /// which it has no longer.
    pub(crate) fn note(&mut self, thing: Trashed) -> (u64, Option<u64>) {
        let before = self
            .numbers
            .get(&FileKey::from(&thing.print))
            .copied()
            .filter(|number| self.forget(*number).is_some());
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.put(number, thing);
        (number, before)
    }

    /// Forgets a thing.
    pub(crate) fn forget(&mut self, number: u64) -> Option<Trashed> {
        self.busy.remove(&number);
        let thing = self.things.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(thing.print.size);
        let key = FileKey::from(&thing.print);
        if self.numbers.get(&key) == Some(&number) {
            self.numbers.remove(&key);
        }
        Some(thing)
    }

    /// Returns a thing.
    pub(crate) fn get(&self, number: u64) -> Option<&Trashed> {
        self.things.get(&number)
    }

    /// Returns the number of a file's record.
    pub(crate) fn number(&self, file: FileKey) -> Option<u64> {
        self.numbers.get(&file).copied()
    }

    /// Returns all of them, in the order of their numbers.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = (u64, &Trashed)> {
        self.things.iter().map(|(number, thing)| (*number, thing))
    }

    /// Returns how many bytes lie there.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether more lies there than may.
    pub(crate) fn is_over(&self, retention: &Retention) -> bool {
        self.bytes > retention.budget || self.things.len() > THROWN_KEPT_MAX
    }

    /// Returns what is to go at `wall`, the oldest first, but for what is busy: what was kept for
    /// long enough, and as much as there is no room for.
    pub(crate) fn due(&self, retention: &Retention, wall: WallTime) -> Vec<u64> {
        let keep = i64::try_from(retention.keep.as_secs()).unwrap_or(i64::MAX);
        let mut oldest: Vec<(WallTime, u64)> = self
            .things
            .iter()
            .map(|(number, thing)| (thing.since, *number))
            .collect();
        oldest.sort_unstable();
        let (mut bytes, mut count) = (self.bytes, self.things.len());
        let mut due = Vec::new();
        for (since, number) in oldest {
            let is_old = wall.secs.saturating_sub(since.secs) > keep;
            let is_over = bytes > retention.budget || count > THROWN_KEPT_MAX;
            if !is_old && !is_over {
                break;
            }
            let size = self.things.get(&number).map_or(0, |thing| thing.print.size);
            bytes = bytes.saturating_sub(size);
            count -= 1;
            if !self.busy.contains(&number) {
                due.push(number);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn thing(ino: u64, size: u64, secs: i64) -> Trashed {
        Trashed {
            print: Fingerprint {
                ino,
                born_ns: 2,
                size,
                mtime: WallTime::default(),
                ctime: WallTime::default(),
            },
            path: vec![Name::parse(b"a").unwrap()],
            version: None,
            fate: Fate::Deleted,
            actor: None,
            who: None,
            since: WallTime { secs, nanos: 0 },
        }
    }

    fn retention(keep: u64, budget: u64) -> Retention {
        Retention {
            keep: Duration::from_secs(keep),
            budget,
            first: Duration::from_secs(1),
            look: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_must() {
        let mut trash = Trash::default();
        for (ino, size, secs) in [(1, 10, 30), (2, 20, 10), (3, 30, 20)] {
            assert_eq!(trash.note(thing(ino, size, secs)), (ino - 1, None));
        }
        let at = |secs| WallTime { secs, nanos: 0 };
        assert_eq!(trash.due(&retention(100, 60), at(110)), []);
        assert_eq!(trash.due(&retention(100, 60), at(111)), [1]);
        assert_eq!(trash.due(&retention(100, 60), at(121)), [1, 2]);
        assert!(!trash.is_over(&retention(100, 60)));
        assert!(trash.is_over(&retention(100, 59)));
        assert_eq!(trash.due(&retention(100, 59), at(30)), [1]);
        assert_eq!(trash.due(&retention(100, 39), at(30)), [1, 2]);
        assert_eq!(trash.due(&retention(100, 0), at(30)), [1, 2, 0]);
        // What is on its way out, or back, counts and is left alone.
        trash.busy.insert(1);
        assert_eq!(trash.due(&retention(100, 59), at(30)), []);
        assert_eq!(trash.due(&retention(100, 39), at(30)), [2]);
    }

    #[test]
    fn a_file_has_one_record_and_no_number_is_given_twice() {
        let mut trash = Trash::default();
        assert_eq!(trash.note(thing(1, 10, 1)), (0, None));
        assert_eq!(trash.note(thing(1, 12, 2)), (1, Some(0)));
        assert_eq!(trash.bytes(), 12);
        assert_eq!(trash.number(FileKey { ino: 1, born_ns: 2 }), Some(1));
        assert_eq!(trash.forget(0), None);
        assert_eq!(trash.forget(1).unwrap().print.size, 12);
        assert_eq!((trash.bytes(), trash.all().count()), (0, 0));
        assert_eq!(trash.note(thing(1, 10, 3)), (2, None));
        trash.restore(7, thing(2, 10, 3));
        assert_eq!(trash.next, 8);
    }
}
