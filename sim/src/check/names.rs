//! P2 durable, of names: what an edit through a mount made of a name is still so after the process
//! was killed; after a power loss, what was synced is.
//!
//! Law: a name that an edit was about has a row of states, each by the edit that made it. After a
//! kill it is in the last one that was acknowledged, or in one of an edit that was not answered
//! yet; after a power loss in the last one that was synced, or a later one. An edit about two
//! names happened to both or to neither. A change that came from elsewhere, as the kernel is told,
//! ends what can be said of a name.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::FsReply;
use tandem_core::edit::{Edit, RenameHow};
use tandem_core::error::FsError;
use tandem_core::ids::{Ino, ReqId};

use super::Failure;

/// A directory and a name in it.
pub type Spot = (Ino, Vec<u8>);

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Nobody knows.
    Any,
    /// Nothing.
    Absent,
    /// This inode.
    Is(Ino),
    /// Something new, whose number was not told.
    Fresh,
}

impl Target {
    fn fits(self, found: Option<Ino>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Is(ino) => found == Some(ino),
            Self::Fresh => found.is_some(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    target: Target,
    /// By which edit; 0 for what was there before.
    edit: u64,
}

#[derive(Clone, Debug)]
struct Claim {
    states: Vec<State>,
    /// From which state on it survives power loss.
    hard: usize,
    /// From which state on it must be in after the last crash.
    must: usize,
    /// Whether what was there before came from elsewhere a moment ago: a kill may take that back.
    is_news: bool,
}

/// An edit that was not answered yet.
#[derive(Clone, Debug)]
struct Pending {
    edit: u64,
    effects: Vec<(Spot, Target)>,
    /// What a sync that was asked for makes hard: names, up to which edit.
    hardens: Vec<(Spot, u64)>,
    /// Names that something else changed meanwhile.
    overtaken: BTreeSet<Spot>,
}

/// What is claimed of the names of one mount.
#[derive(Debug, Default)]
pub struct Names {
    claims: BTreeMap<Spot, Claim>,
    pending: BTreeMap<ReqId, Pending>,
    edits: u64,
    /// Names that something else changed, and how many more commits it takes until that is stored
    /// for sure: one may have been under way, and the next one has it.
    news: BTreeMap<Spot, u32>,
}

impl Names {
    /// An application asks for an edit; `there` tells what the kernel knows of a name, and `of`
    /// the inode of a handle.
    pub fn asked(
        &mut self,
        req: ReqId,
        edit: &Edit,
        there: impl Fn(&Spot) -> Option<Option<Ino>>,
        of: impl Fn(tandem_core::ids::Fh) -> Option<Ino>,
    ) {
        self.edits += 1;
        let target = |spot: &Spot| match there(spot) {
            None => Target::Any,
            Some(None) => Target::Absent,
            Some(Some(ino)) => Target::Is(ino),
        };
        let mut effects = Vec::new();
        let mut hardens = Vec::new();
        match edit {
            Edit::Create { parent, name, .. } | Edit::Make { parent, name, .. } => {
                let spot = (*parent, name.clone());
                if !matches!(target(&spot), Target::Is(_)) {
                    effects.push((spot, Target::Fresh));
                }
            }
            Edit::Link { ino, parent, name } => {
                effects.push(((*parent, name.clone()), Target::Is(*ino)));
            }
            Edit::Unlink { parent, name } | Edit::RemoveDir { parent, name } => {
                effects.push(((*parent, name.clone()), Target::Absent));
            }
            Edit::Rename {
                parent,
                name,
                to_parent,
                to_name,
                how,
            } => {
                let from = (*parent, name.clone());
                let to = (*to_parent, to_name.clone());
                let (moved, other) = (target(&from), target(&to));
                let same = from == to || (moved == other && matches!(moved, Target::Is(_)));
                if !same {
                    let left = match how {
                        RenameHow::Replace | RenameHow::NoReplace => Target::Absent,
                        RenameHow::Exchange => other,
                    };
                    effects.push((from, left));
                    effects.push((to, moved));
                }
            }
            Edit::SyncDir { ino } => {
                let within = self.claims.iter().filter(|((dir, _), _)| dir == ino);
                hardens.extend(within.map(|(spot, claim)| (spot.clone(), claim.last())));
            }
            Edit::Sync { fh, .. } => {
                let ino = of(*fh);
                let its = |claim: &Claim| match claim.states.last().map(|state| state.target) {
                    Some(Target::Is(named)) => Some(named) == ino,
                    Some(Target::Any | Target::Absent | Target::Fresh) | None => false,
                };
                let named = self.claims.iter().filter(|(_, claim)| its(claim));
                hardens.extend(named.map(|(spot, claim)| (spot.clone(), claim.last())));
            }
            Edit::SetAttr { .. }
            | Edit::SetXattr { .. }
            | Edit::RemoveXattr { .. }
            | Edit::Write { .. }
            | Edit::Flush { .. } => {}
        }
        for (spot, _) in &effects {
            self.claims.entry(spot.clone()).or_insert_with(|| Claim {
                states: vec![State {
                    target: target(spot),
                    edit: 0,
                }],
                hard: 0,
                must: 0,
                is_news: self.news.contains_key(spot),
            });
        }
        let pending = Pending {
            edit: self.edits,
            effects,
            hardens,
            overtaken: BTreeSet::new(),
        };
        self.pending.insert(req, pending);
    }

    /// It was answered. What the disk refused may have happened, or may yet.
    pub fn answered(&mut self, req: ReqId, result: &Result<FsReply, FsError>) {
        let Some(pending) = self.pending.remove(&req) else {
            return;
        };
        let made = match result {
            Ok(FsReply::Created { shown, .. } | FsReply::Entry(shown)) => Some(shown.ino),
            Err(FsError::NoSpace | FsError::Io) => {
                self.leave_open(pending);
                return;
            }
            Err(_) => return,
            Ok(_) => None,
        };
        for (spot, target) in pending.effects {
            if pending.overtaken.contains(&spot) {
                self.claims.remove(&spot);
                continue;
            }
            let target = match (target, made) {
                (Target::Fresh, Some(ino)) => Target::Is(ino),
                (target, _) => target,
            };
            if let Some(claim) = self.claims.get_mut(&spot) {
                let edit = pending.edit;
                claim.states.push(State { target, edit });
                claim.must = claim.states.len() - 1;
            }
        }
        for (spot, edit) in pending.hardens {
            if let Some(claim) = self.claims.get_mut(&spot) {
                let upto = claim.states.iter().rposition(|state| state.edit <= edit);
                claim.hard = claim.hard.max(upto.unwrap_or(0));
            }
        }
    }

    /// Something else changed a name. Where it is the name of a conflict copy, that may have got
    /// the plain name, or have lost it.
    pub fn changed(&mut self, spot: &Spot) {
        let mut name = Some(spot.1.clone());
        while let Some(next) = name {
            name = plain(&next);
            self.is_changed(&(spot.0, next));
        }
    }

    /// The kernel has forgotten a directory: it is told no more of what changes in it.
    pub fn forgotten(&mut self, dir: Ino) {
        let is_edited = |spot: &Spot| {
            let mut effects = self.pending.values().flat_map(|pending| &pending.effects);
            effects.any(|(other, _)| other == spot)
        };
        self.claims
            .retain(|spot, _| spot.0 != dir || is_edited(spot));
    }

    /// Anything may have changed.
    pub fn overtaken(&mut self) {
        self.claims.clear();
    }

    /// A commit was stored.
    pub fn stored(&mut self) {
        self.news.retain(|_, left| {
            *left = left.saturating_sub(1);
            *left > 0
        });
    }

    fn is_changed(&mut self, spot: &Spot) {
        self.news.insert(spot.clone(), 2);
        let mut is_pending = false;
        for pending in self.pending.values_mut() {
            if pending.effects.iter().any(|(other, _)| other == spot) {
                pending.overtaken.insert(spot.clone());
                is_pending = true;
            }
        }
        if !is_pending {
            self.claims.remove(spot);
        }
    }

    /// The process ended: what was not answered may have happened.
    pub fn crash(&mut self, power: bool) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.leave_open(pending);
        }
        self.news.clear();
        for claim in self.claims.values_mut() {
            if power {
                claim.must = claim.must.min(claim.hard);
            }
            // What others have made is told again, and may be lost until then.
            if let Some(first) = claim.states.first_mut().filter(|first| first.edit == 0)
                && (power || claim.is_news)
            {
                first.target = Target::Any;
            }
        }
    }

    /// Nobody knows whether it happened.
    fn leave_open(&mut self, pending: Pending) {
        for (spot, target) in pending.effects {
            if pending.overtaken.contains(&spot) {
                self.claims.remove(&spot);
            } else if let Some(claim) = self.claims.get_mut(&spot) {
                let edit = pending.edit;
                claim.states.push(State { target, edit });
            }
        }
    }

    /// Judges what a walk over the mount found after a crash: the directories, and what stands in
    /// them; `is_new` tells which numbers were never shown before. After a power loss, an inode may
    /// have got another number: returns which are known.
    pub fn judge(
        &mut self,
        found: &BTreeMap<Spot, Ino>,
        dirs: &BTreeSet<Ino>,
        power: bool,
        is_new: impl Fn(Ino) -> bool,
    ) -> Result<BTreeMap<Ino, Ino>, Failure> {
        let mut numbers: BTreeMap<Ino, Option<Ino>> = BTreeMap::new();
        if power {
            // Numbers are drawn anew; those of directories that were synced stay.
            let is_sure = |spot: &Spot| spot.0 == Ino::ROOT;
            self.claims.retain(|spot, _| is_sure(spot));
        }
        self.claims.retain(|(dir, _), _| dirs.contains(dir));
        let mut happened: BTreeMap<u64, Vec<(bool, Spot)>> = BTreeMap::new();
        for (spot, claim) in &mut self.claims {
            let here = found.get(spot).copied();
            let is_new = here.is_some_and(&is_new);
            let fits = |state: State| {
                // The number of what was only looked at waits for no commit: where that failed until
                // the kill, or was not done, another is drawn, from a block that comes by chance.
                let may_differ = power || (state.edit == 0 && is_new);
                if may_differ && matches!(state.target, Target::Is(_)) {
                    here.is_some()
                } else {
                    state.target.fits(here)
                }
            };
            let could: Vec<usize> = (claim.must..claim.states.len())
                .filter(|at| fits(claim.states[*at]))
                .collect();
            let (Some(first), Some(last)) = (could.first(), could.last()) else {
                let what = format!(
                    "{:?} in {} is {here:?} after a {}; its states were {:?}, from {} on",
                    String::from_utf8_lossy(&spot.1),
                    spot.0,
                    if power { "power loss" } else { "kill" },
                    claim.states,
                    claim.must,
                );
                return Err(Failure::safety("P2", what));
            };
            for (at, state) in claim.states.iter().enumerate().skip(claim.must) {
                let sure = match (at <= *first, at > *last) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    (false, false) => None,
                };
                if let (Some(did), true) = (sure, state.edit > 0) {
                    let of = happened.entry(state.edit).or_default();
                    of.push((did, spot.clone()));
                }
            }
            // After a power loss any file that stands there may be any that did.
            let target = claim.states[*last].target;
            let is_one = could.iter().all(|at| claim.states[*at].target == target);
            claim.states.truncate(last + 1);
            if let (Target::Is(old), Some(new), true) = (target, here, is_one || !power) {
                let known = numbers.entry(old).or_insert(Some(new));
                *known = known.filter(|known| *known == new);
            }
            if let (Some(state), Some(ino)) = (claim.states.last_mut(), here) {
                state.target = Target::Is(ino);
            }
            if power {
                claim.states.drain(..*last);
                claim.hard = 0;
            }
            claim.must = claim.states.len() - 1;
        }
        for (edit, names) in happened {
            let did = names.iter().filter(|(did, _)| *did).count();
            if did > 0 && did < names.len() {
                let what = format!("half of edit {edit} happened: {names:?}");
                return Err(Failure::safety("P2", what));
            }
        }
        let sure = |(old, new): (Ino, Option<Ino>)| Some((old, new?));
        Ok(numbers.into_iter().filter_map(sure).collect())
    }

    /// Tells whether anything is claimed.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
}

/// Returns the name that a conflict copy would have if there were no conflict.
fn plain(name: &[u8]) -> Option<Vec<u8>> {
    const MARK: &[u8] = b" (conflict from ";
    let from = name.windows(MARK.len()).rposition(|part| part == MARK)?;
    let rest = name.get(from..)?;
    let to = rest.iter().position(|byte| *byte == b')')? + 1;
    Some([name.get(..from)?, rest.get(to..)?].concat())
}

impl Claim {
    fn last(&self) -> u64 {
        self.states.last().map_or(0, |state| state.edit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: Ino = Ino::ROOT;

    fn unlink(names: &mut Names, req: u64, name: &str) {
        let edit = Edit::Unlink {
            parent: DIR,
            name: name.into(),
        };
        names.asked(ReqId(req), &edit, |_| Some(Some(Ino(7))), |_| None);
    }

    fn judge(
        names: &mut Names,
        there: &[(&str, u64)],
        power: bool,
    ) -> Result<BTreeMap<Ino, Ino>, Failure> {
        let spot = |(name, ino): &(&str, u64)| ((DIR, name.as_bytes().to_vec()), Ino(*ino));
        let found = there.iter().map(spot).collect();
        names.judge(&found, &[DIR].into(), power, |ino| ino < Ino(7))
    }

    #[test]
    fn what_was_answered_holds_after_a_kill_and_what_was_not_may() {
        for (answered, there, good) in [
            (true, true, false),
            (true, false, true),
            (false, true, true),
            (false, false, true),
        ] {
            let mut names = Names::default();
            unlink(&mut names, 1, "a");
            if answered {
                names.answered(ReqId(1), &Ok(FsReply::Done));
            }
            names.crash(false);
            let here: &[(&str, u64)] = if there { &[("a", 7)] } else { &[] };
            assert_eq!(judge(&mut names, here, false).is_ok(), good);
        }
    }

    /// What had been seen of the file was not stored before the kill, and the next start drew from
    /// a lower block.
    #[test]
    fn what_was_only_looked_at_may_get_another_number_that_nobody_has_had() {
        for (ino, good) in [(5, true), (7, true), (8, false)] {
            let mut names = Names::default();
            unlink(&mut names, 1, "a");
            names.crash(false);
            assert_eq!(judge(&mut names, &[("a", ino)], false).is_ok(), good);
        }
    }

    #[test]
    fn a_power_loss_may_take_what_was_not_synced() {
        for synced in [false, true] {
            let mut names = Names::default();
            unlink(&mut names, 1, "a");
            names.answered(ReqId(1), &Ok(FsReply::Done));
            if synced {
                let edit = Edit::SyncDir { ino: DIR };
                names.asked(ReqId(2), &edit, |_| None, |_| None);
                names.answered(ReqId(2), &Ok(FsReply::Done));
            }
            names.crash(true);
            assert_eq!(judge(&mut names, &[("a", 7)], true).is_ok(), !synced);
        }
    }

    #[test]
    fn half_a_rename_is_found() {
        let rename = Edit::Rename {
            parent: DIR,
            name: b"a".to_vec(),
            to_parent: DIR,
            to_name: b"b".to_vec(),
            how: RenameHow::Replace,
        };
        let there = |spot: &Spot| Some((spot.1 == b"a").then_some(Ino(7)));
        for (here, good) in [
            (&[("a", 7)][..], true),
            (&[("b", 7)], true),
            (&[("a", 7), ("b", 7)], false),
            (&[], false),
        ] {
            let mut names = Names::default();
            names.asked(ReqId(1), &rename, there, |_| None);
            names.crash(false);
            assert_eq!(judge(&mut names, here, false).is_ok(), good, "{here:?}");
        }
    }

    /// A peer made what bo had found not to be there, and nobody told his kernel, which had forgotten
    /// the directory.
    #[test]
    fn nothing_is_claimed_of_what_is_in_a_directory_that_was_forgotten() {
        for (forgotten, good) in [(true, true), (false, false)] {
            let mut names = Names::default();
            unlink(&mut names, 1, "a");
            names.answered(ReqId(1), &Ok(FsReply::Done));
            if forgotten {
                names.forgotten(DIR);
            }
            names.crash(false);
            assert_eq!(judge(&mut names, &[("a", 8)], false).is_ok(), good);
        }
    }

    /// Two files had one name, and the other of them got it when the first was moved away: what
    /// the mount tells of is that the name of the conflict copy is gone.
    #[test]
    fn a_name_that_was_moved_away_may_be_that_of_a_conflict_copy() {
        let gone = b"a (conflict from bo 2026-09-21 f057)".to_vec();
        for (told, good) in [(true, true), (false, false)] {
            let mut names = Names::default();
            unlink(&mut names, 1, "a");
            if told {
                names.changed(&(DIR, gone.clone()));
            }
            names.answered(ReqId(1), &Ok(FsReply::Done));
            names.crash(false);
            assert_eq!(judge(&mut names, &[("a", 8)], false).is_ok(), good);
        }
    }

    #[test]
    fn a_conflict_copy_has_a_plain_name() {
        let name = b"a (conflict from bo 2026-09-21 f057).txt";
        assert_eq!(plain(name), Some(b"a.txt".to_vec()));
        let twice = b"a (conflict from bo 2026-09-21 f057) (conflict from cy 2026-09-21 0001)";
        assert_eq!(
            plain(twice),
            Some(b"a (conflict from bo 2026-09-21 f057)".to_vec())
        );
        assert_eq!(plain(b"a.txt"), None);
    }
}
