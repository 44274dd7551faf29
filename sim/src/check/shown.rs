//! P1, of names and attributes: what a mount shows of an inode is what some file of that
//! name was at some time.
//!
//! The folder keeps every name, every size with its time, and every mode that an inode ever had.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::Shown;
use tandem_core::edit::Edit;
use tandem_core::ids::Ino;
use tandem_core::time::WallTime;
use tandem_core::tree::register::Kind;

use super::truth::History;
use super::{Failure, Verdict};
use crate::disk::folder::Id;

/// What every inode of the folder ever was.
#[derive(Debug, Default)]
pub struct Past {
    names: BTreeMap<Vec<u8>, BTreeSet<Id>>,
    states: BTreeMap<Id, BTreeSet<(u64, WallTime)>>,
    modes: BTreeMap<Id, BTreeSet<u16>>,
    /// Names and modes that applications on mounts asked for, if any did.
    asked: Option<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    names: BTreeSet<Vec<u8>>,
    modes: BTreeSet<u16>,
}

/// Returns the name of which a name is that of a conflict copy.
pub(crate) fn original(name: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(name);
    let Some((before, rest)) = text.split_once(" (conflict from ") else {
        return name.to_vec();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}").into_bytes()
}

impl Past {
    /// An inode stands under a name.
    pub fn named(&mut self, name: &[u8], id: Id) {
        self.names.entry(name.to_vec()).or_default().insert(id);
    }

    /// An inode has a size with a time, and a mode.
    pub fn was(&mut self, id: Id, size: u64, mtime: WallTime, mode: u16) {
        self.states.entry(id).or_default().insert((size, mtime));
        self.modes.entry(id).or_default().insert(mode);
    }

    /// An application on a mount asks for an edit: names and modes may come to be anywhere.
    pub fn asked(&mut self, edit: &Edit) {
        let asked = self.asked.get_or_insert_default();
        match edit {
            Edit::Create { name, making, .. } | Edit::Make { name, making, .. } => {
                asked.names.insert(name.clone());
                asked.modes.insert(making.mode);
            }
            Edit::Link { name, .. } => drop(asked.names.insert(name.clone())),
            Edit::Rename { name, to_name, .. } => {
                asked.names.insert(name.clone());
                asked.names.insert(to_name.clone());
            }
            Edit::SetAttr { set, .. } => asked.modes.extend(set.mode),
            Edit::Unlink { .. }
            | Edit::RemoveDir { .. }
            | Edit::SetXattr { .. }
            | Edit::RemoveXattr { .. }
            | Edit::Write { .. }
            | Edit::Flush { .. }
            | Edit::Sync { .. }
            | Edit::SyncDir { .. } => {}
        }
    }

    /// Judges a name and a mode where mounts are written to: any of either may be together.
    fn judge_asked(&self, asked: &Asked, name: Option<&[u8]>, shown: &Shown) -> Verdict {
        if let Some(name) = name {
            let known = |name: &[u8]| self.names.contains_key(name) || asked.names.contains(name);
            // A copy may be edited apart again, and has copies then.
            let mut origins = std::iter::successors(Some(name.to_vec()), |name| {
                Some(original(name)).filter(|before| before != name)
            });
            if !origins.any(|name| known(&name)) {
                return Err(untrue(name, shown, "nothing was ever called so"));
            }
        }
        // A symlink has the mode that it was made with.
        let mut modes = self.modes.values();
        let had = modes.any(|modes| modes.contains(&shown.mode));
        if !had && !asked.modes.contains(&shown.mode) {
            return Err(untrue(b"?", shown, "nothing had that mode"));
        }
        Ok(())
    }

    fn had_state(&self, id: Id, shown: &Shown) -> bool {
        let state = (shown.size, shown.mtime);
        let states = self.states.get(&id);
        shown.kind == Kind::Directory || states.is_some_and(|states| states.contains(&state))
    }

    fn had_mode(&self, id: Id, shown: &Shown) -> bool {
        let modes = self.modes.get(&id);
        modes.is_some_and(|modes| modes.contains(&shown.mode))
    }

    /// Judges what is shown under a name. Where files stood one after the other in one place, as
    /// after a save by rename, they are one: name, content and mode may be of three of them, since
    /// each is news of its own, and a later name may come before a later content.
    pub fn judge(&self, history: &History, name: &[u8], shown: &Shown) -> Verdict {
        if shown.ino == Ino::ROOT {
            return Ok(());
        }
        if let Some(asked) = &self.asked {
            return self.judge_asked(asked, Some(name), shown);
        }
        let Some(ids) = self.names.get(name) else {
            return Err(untrue(name, shown, "nothing was ever called so"));
        };
        let named: BTreeSet<Id> = ids.iter().map(|id| history.family(*id)).collect();
        let is_kin = |id: &Id| named.contains(&history.family(*id));
        self.judge_of(self.states.keys().copied().filter(is_kin), name, shown)
    }

    /// Returns what stood under a name, where nobody but programs in the folder gives names.
    pub fn named_so(&self, name: &[u8]) -> Option<&BTreeSet<Id>> {
        self.names.get(name).filter(|_| self.asked.is_none())
    }

    /// Judges what is shown of an inode, by whatever name; of one of these files, if it is known
    /// to be.
    pub fn judge_any(
        &self,
        history: &History,
        shown: &Shown,
        files: Option<&BTreeSet<Id>>,
    ) -> Verdict {
        if shown.ino == Ino::ROOT {
            return Ok(());
        }
        if let Some(asked) = &self.asked {
            return self.judge_asked(asked, None, shown);
        }
        let families = |files: &BTreeSet<Id>| files.iter().map(|id| history.family(*id)).collect();
        let families: Option<BTreeSet<Id>> = files.map(families);
        let is_kin = |id: &Id| {
            let families = families.as_ref();
            families.is_none_or(|families| families.contains(&history.family(*id)))
        };
        self.judge_of(self.states.keys().copied().filter(is_kin), b"?", shown)
    }

    fn judge_of(
        &self,
        mut ids: impl Iterator<Item = Id> + Clone,
        name: &[u8],
        shown: &Shown,
    ) -> Verdict {
        if !ids.clone().any(|id| self.had_mode(id, shown)) {
            return Err(untrue(name, shown, "nothing of that name had that mode"));
        }
        if !ids.any(|id| self.had_state(id, shown)) {
            let why = "nothing of that name had that size at that time";
            return Err(untrue(name, shown, why));
        }
        Ok(())
    }
}

fn untrue(name: &[u8], shown: &Shown, why: &str) -> Failure {
    let name = String::from_utf8_lossy(name);
    Failure::safety("P1", format!("{name:?} shows {shown:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::outside::name;

    fn shown(size: u64) -> Shown {
        Shown {
            ino: Ino(2),
            kind: Kind::File,
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            nlink: 1,
            size,
            mtime: WallTime { secs: 1, nanos: 0 },
        }
    }

    /// A file was saved by a rename onto `x`, then renamed to `y`. A joiner heard of the name
    /// before it heard of the content: under `y` stood what only ever stood under `x`.
    #[test]
    fn a_later_name_may_come_before_a_later_content_and_no_other_file_s() {
        let (mut past, mut history) = (Past::default(), History::default());
        let time = WallTime { secs: 1, nanos: 0 };
        let (old, new, other) = (Id(1), Id(2), Id(3));
        for (id, size) in [(old, 10), (new, 20), (other, 30)] {
            history.note(id, Arc::new(Vec::new()));
            past.was(id, size, time, 0o644);
        }
        for (at, id) in [("x", old), ("x", new), ("y", new), ("z", other)] {
            past.named(at.as_bytes(), id);
            history.stood(&vec![name(at)], id);
        }
        assert_eq!(past.judge(&history, b"y", &shown(10)), Ok(()));
        assert_eq!(past.judge(&history, b"y", &shown(20)), Ok(()));
        assert!(past.judge(&history, b"y", &shown(30)).is_err());
        assert!(past.judge(&history, b"w", &shown(20)).is_err());
    }
}
