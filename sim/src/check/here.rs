//! P5 and P9, as an application sees them: what was read once reads again at once, whoever is
//! there, through any handle and after any kill.
//!
//! Law: a piece that one call returned is here from some time after that on, until the file
//! shows another size or time, the kernel is told that its data has changed, power is lost, the
//! disk fails or its files are damaged, or the file has neither a name nor a handle: what nobody can
//! read goes, and a change made elsewhere may bring the name back. From then on a call for it, or for
//! a part of it, waits for this disk only.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::ids::Ino;
use tandem_core::time::WallTime;

use crate::config::SEC;

/// How long what was read may take to be stored, where the disk is not slow.
pub const SETTLES: u64 = 3 * SEC;

/// The size and the time by which an application knows a version.
pub type Look = (u64, WallTime);

#[derive(Clone, Debug)]
struct Piece {
    from: u64,
    bytes: Vec<u8>,
    at: u64,
    look: Look,
}

/// What is here of the files of one mount.
#[derive(Debug, Default)]
pub struct Here {
    pieces: BTreeMap<Ino, Vec<Piece>>,
    switched: BTreeMap<Ino, u64>,
    /// Files that have lost their last name, and have been shown under none since.
    nameless: BTreeSet<Ino>,
}

impl Here {
    /// A call that began at `began` has returned what lies from `from` on.
    pub fn read(
        &mut self,
        (began, at): (u64, u64),
        (ino, look): (Ino, Look),
        (from, bytes): (u64, &[u8]),
    ) {
        // It may be of what the file was before.
        if self.switched.get(&ino).is_none_or(|at| *at < began) {
            let bytes = bytes.to_vec();
            let piece = Piece {
                from,
                bytes,
                at,
                look,
            };
            self.pieces.entry(ino).or_default().push(piece);
        }
    }

    /// Returns a piece that was here at a time, if all of it is of what one earlier call returned.
    ///
    /// A program may have changed the file and set its time back: then these are not its bytes.
    pub fn had(&self, at: u64, (ino, look): (Ino, Look), from: u64, len: usize) -> Option<&[u8]> {
        let pieces = self.pieces.get(&ino).into_iter().flatten();
        let here = pieces.filter(|piece| {
            piece.look == look && piece.at.saturating_add(SETTLES) <= at && piece.from <= from
        });
        let mut found = here.filter_map(|piece| {
            let skip = usize::try_from(from - piece.from).ok()?;
            piece.bytes.get(skip..skip.checked_add(len)?)
        });
        found.next()
    }

    /// The kernel is told that a file's data has changed.
    pub fn changed(&mut self, now: u64, ino: Ino) {
        self.pieces.remove(&ino);
        self.switched.insert(ino, now);
    }

    /// A file has lost its last name.
    pub fn unnamed(&mut self, now: u64, ino: Ino, is_open: bool) {
        self.nameless.insert(ino);
        self.rests(now, ino, is_open);
    }

    /// A file is shown with a name.
    pub fn named(&mut self, ino: Ino) {
        self.nameless.remove(&ino);
    }

    /// A handle was closed, or a name went.
    pub fn rests(&mut self, now: u64, ino: Ino, is_open: bool) {
        if !is_open && self.nameless.contains(&ino) {
            self.changed(now, ino);
        }
    }

    /// The engine hears of names that were deleted: the kernel is told of none of a file that it does
    /// not know, as after a start.
    pub fn names_go(&mut self, now: u64, is_known: impl Fn(Ino) -> bool) {
        let unknown = self.pieces.keys().copied().filter(|ino| !is_known(*ino));
        for ino in unknown.collect::<Vec<_>>() {
            self.changed(now, ino);
        }
    }

    /// The process was killed, and has no handles any more: what was read a moment ago may not be
    /// stored.
    pub fn killed(&mut self, now: u64) {
        for ino in std::mem::take(&mut self.nameless) {
            self.changed(now, ino);
        }
        for pieces in self.pieces.values_mut() {
            pieces.retain(|piece| piece.at.saturating_add(SETTLES) <= now);
        }
    }

    /// Nobody knows what is still here.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_here_once_it_had_its_time_until_it_changes() {
        let mut here = Here::default();
        let look = |size| (size, WallTime { secs: 1, nanos: 0 });
        let file = (Ino(7), look(900));
        let bytes: Vec<u8> = (0..100).collect();
        here.read((0, 5), file, (100, &bytes));
        let later = 5 + SETTLES;
        assert_eq!(here.had(later - 1, file, 100, 100), None);
        assert_eq!(here.had(later, file, 120, 80), Some(&bytes[20..]));
        assert_eq!(here.had(later, file, 120, 81), None);
        assert_eq!(here.had(later, file, 99, 5), None);
        assert_eq!(here.had(later, (Ino(8), look(900)), 120, 10), None);
        assert_eq!(here.had(later, (Ino(7), look(901)), 120, 10), None);
        here.killed(later);
        assert!(here.had(later, file, 120, 80).is_some());
        here.changed(later, Ino(7));
        here.read((later, later + 9), file, (100, &bytes));
        assert_eq!(here.had(u64::MAX, file, 120, 10), None);
        here.read((later + 1, later + 9), file, (100, &bytes));
        assert!(here.had(u64::MAX, file, 120, 10).is_some());
        here.killed(later + 10);
        assert_eq!(here.had(u64::MAX, file, 120, 10), None);
    }

    #[test]
    fn a_file_without_name_and_handle_is_nowhere() {
        let look = (900, WallTime { secs: 1, nanos: 0 });
        let ino = Ino(7);
        let had = |here: &Here| here.had(u64::MAX, (ino, look), 0, 3).is_some();
        let mut here = Here::default();
        here.read((0, 5), (ino, look), (0, &[1, 2, 3]));
        here.unnamed(6, ino, true);
        assert!(had(&here));
        here.rests(7, ino, false);
        assert!(!had(&here));
        here.read((8, 9), (ino, look), (0, &[1, 2, 3]));
        here.named(ino);
        here.rests(10, ino, false);
        assert!(had(&here));
    }
}
