//! P7 handles: a handle id is never given twice, not to files and directories either, and an
//! inode number never names things of two kinds.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::Shown;
use tandem_core::ids::{Fh, Ino};
use tandem_core::tree::register::Kind;

use super::{Failure, Verdict};

/// What one start of a mount was given.
#[derive(Debug, Default)]
pub struct Handles {
    given: BTreeSet<Fh>,
    kinds: BTreeMap<Ino, Kind>,
    /// Numbers that were shown before the last crash.
    past: BTreeSet<Ino>,
}

impl Handles {
    /// A handle was given.
    pub fn opened(&mut self, fh: Fh) -> Verdict {
        if self.given.insert(fh) {
            Ok(())
        } else {
            Err(Failure::safety("P7", format!("{fh} was given twice")))
        }
    }

    /// An inode was shown.
    pub fn shown(&mut self, shown: &Shown) -> Verdict {
        let kind = *self.kinds.entry(shown.ino).or_insert(shown.kind);
        if shown.ino == Ino(0) || kind != shown.kind {
            let what = format!("{} was a {kind:?} and is a {:?}", shown.ino, shown.kind);
            return Err(Failure::safety("P7", what));
        }
        Ok(())
    }

    /// Returns handles that name nothing: one that was never given, and the last one that is not
    /// among those that are open.
    pub fn strangers(&self, is_open: impl Fn(&Fh) -> bool) -> [Fh; 2] {
        let never = Fh(self.given.last().map_or(0, |fh| fh.0) + 1_000_000);
        let closed = self.given.iter().rev().find(|fh| !is_open(fh));
        [never, closed.copied().unwrap_or(never)]
    }

    /// Tells whether an inode number was not shown before the last crash.
    pub fn is_new(&self, ino: Ino) -> bool {
        !self.past.contains(&ino)
    }

    /// The process ended: the kernel forgets handles with the mount. Inode numbers stay, even
    /// those that were given too late to be stored; after a power loss, the machine is new.
    pub fn crash(&mut self, power: bool) {
        self.given.clear();
        if power {
            self.kinds.clear();
        }
        self.past = self.kinds.keys().copied().collect();
    }
}
