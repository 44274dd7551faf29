//! Room that is kept for the metadata store: on a full disk what frees some has to be stored
//! first.
//!
//! Law: the reserve holds nothing of worth, and is given up before a commit fails for want of
//! room. It is taken again when there is some.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

/// How much is kept, in bytes: some dozens of small commits; by eye.
const RESERVE: u64 = 1 << 20;

/// How long after it was given up it is not taken again: who makes room makes more; by eye.
const PAUSE: Duration = Duration::from_secs(10);

/// A file that keeps room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// When it was given up, unless it is there.
    spent: Option<Instant>,
}

impl Reserve {
    /// Takes room in a directory, if there is any.
    pub(super) fn take(dir: &Path) -> Self {
        let path = dir.join("reserve");
        let held = fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE) || fill(&path);
        let spent = (!held).then(Instant::now);
        Self { path, spent }
    }

    /// Gives the room up: false if it was already.
    pub(super) fn give_up(&mut self) -> bool {
        let was_there = self.spent.is_none() && give_up(&self.path);
        self.spent = Some(Instant::now());
        was_there
    }

    /// Takes the room again, if it was given up a while ago and there is some.
    pub(super) fn take_again(&mut self) {
        if self.spent.is_some_and(|since| since.elapsed() >= PAUSE) {
            self.spent = (!fill(&self.path)).then(Instant::now);
        }
    }
}

/// Gives up the room that is kept in a directory, by whomever.
pub(super) fn give_up_in(dir: &Path) -> bool {
    give_up(&dir.join("reserve"))
}

fn give_up(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0) && File::create(path).is_ok()
}

/// Makes the file. A disk that has no room for it, or can't promise any, is left as it was.
fn fill(path: &Path) -> bool {
    let made = File::create(path).and_then(|file| {
        let all = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE);
        all.map_err(Into::into)
    });
    if made.is_err() {
        give_up(path);
    }
    made.is_ok()
}
