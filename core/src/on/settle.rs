//! Conflicts are listed and settled.
//!
//! Law (P3): who settles one renames and deletes, knowing what is known here, as he could by hand:
//! no version is made, so that whatever a peer makes of the same conflict meanwhile stands beside.
//! What stays has its attributes told anew, so that it stays though somebody settles the conflict
//! the other way meanwhile: of two who throw away what the other one keeps, neither does. Whose a
//! file is its version tells; which one is kept is never guessed.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::Action;
use crate::commits::After;
use crate::conflicts::{Conflict, Keep, Settled, Side, Unsettled};
use crate::draft::Op;
use crate::engine::Engine;
use crate::ids::{ChunkIx, Dot, NodeId, ObjectId, ReqId};
use crate::label::Label;
use crate::message::Role;
use crate::mutant::Mutant;
use crate::tree::contest::Contest;
use crate::tree::name::Name;
use crate::tree::register::{Attrs, Entry, Kind, Register};

/// One of those who stand for a name.
struct Standing {
    name: Name,
    node: NodeId,
    side: Side,
}

impl Engine {
    /// Returns the conflicts that are visible, in the order of their paths.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let all = self.tree.contests();
        let mut all: Vec<Conflict> = all.filter_map(|contest| self.conflict(&contest)).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }

    fn conflict(&self, contest: &Contest) -> Option<Conflict> {
        let copy = |(name, node): &(Name, NodeId)| {
            Some((self.path_in(contest.dir, name)?, self.side(*node)?))
        };
        Some(Conflict {
            path: self.path_in(contest.dir, &contest.name)?,
            file: contest.keeper.and_then(|node| self.side(node)),
            copies: contest.others.iter().filter_map(copy).collect(),
        })
    }

    fn path_in(&self, dir: NodeId, name: &Name) -> Option<Vec<Name>> {
        let mut path = self.tree.path(dir)?;
        path.push(name.clone());
        Some(path)
    }

    fn side(&self, node: NodeId) -> Option<Side> {
        let view = self.tree.node(node)?;
        let object = view.object;
        let content = object.and_then(|object| self.tree.registers().content(object));
        Some(Side {
            kind: view.kind,
            size: view.size,
            author: content.map(|content| (content.author.clone(), content.day)),
            is_mine: view
                .version
                .is_some_and(|version| self.me.is(version.actor)),
            gone: object.map_or(0, |object| self.bytes_gone(object)),
        })
    }

    /// Returns how many bytes of a version are nowhere any more, as far as whoever should have them
    /// was asked.
    fn bytes_gone(&self, object: ObjectId) -> u64 {
        let Some(draft) = self.draft_of(object) else {
            let Some(kept) = self.objects.get(&object) else {
                return 0;
            };
            let lacks = |chunk: &ChunkIx| !kept.held().has(*chunk) && !kept.claims().has(*chunk);
            let len = |chunk| u64::from(kept.held().chunk_range(chunk).1);
            return kept.gone.iter().copied().filter(lacks).map(len).sum();
        };
        let Some(kept) = self.objects.get(&draft.file) else {
            return 0;
        };
        let is_here = draft.beneath(&self.objects);
        let lacks = |chunk: &ChunkIx| !draft.overlay.is_whole(*chunk, &is_here);
        let len = |chunk| {
            let gaps = draft.overlay.gaps(chunk).into_iter();
            gaps.map(|(from, to)| u64::from(to - from)).sum::<u64>()
        };
        kept.gone.iter().copied().filter(lacks).map(len).sum()
    }

    /// A user settles a conflict.
    pub(crate) fn on_settle(&mut self, req: ReqId, path: &[Name], keep: Keep) {
        match self.settle_conflict(path, keep) {
            Ok(settled) => self.commits.then(After::Settled { req, settled }),
            Err(why) => {
                let result = Err(why);
                self.act(Action::Settled { req, result });
            }
        }
    }

    fn settle_conflict(&mut self, path: &[Name], keep: Keep) -> Result<Settled, Unsettled> {
        self.may_settle()?;
        let (name, above) = path.split_last().ok_or(Unsettled::NotFound)?;
        let dir = self.tree.resolve(above).ok_or(Unsettled::NotFound)?;
        let Some(contest) = self.tree.contest_at(dir, name) else {
            return Err(match self.tree.lookup(dir, name.as_bytes()) {
                Some(_) => Unsettled::NoConflict,
                None => Unsettled::NotFound,
            });
        };
        match keep {
            Keep::Both => Ok(self.keep_all(&contest)),
            Keep::Mine => self.keep_side(&contest, true),
            Keep::Theirs => self.keep_side(&contest, false),
        }
    }

    fn may_settle(&self) -> Result<(), Unsettled> {
        if self.stopping {
            return Err(Unsettled::Stopping);
        }
        let may = match self.config.role {
            Role::Full => self.config.writable,
            Role::Sparse | Role::Guest => self.may_edit().is_ok(),
        };
        if !may {
            return Err(Unsettled::ReadOnly);
        }
        if self.is_scanning() || self.are_drafts_sought() {
            return Err(Unsettled::Starting);
        }
        Ok(())
    }

    /// Returns those who stand for a name.
    fn standing_for(&self, contest: &Contest) -> Vec<Standing> {
        let keeper = contest.keeper.map(|node| (contest.name.clone(), node));
        let all = keeper.into_iter().chain(contest.others.iter().cloned());
        all.filter_map(|(name, node)| {
            let side = self.side(node)?;
            Some(Standing { name, node, side })
        })
        .collect()
    }

    /// Makes every conflict copy a file of its own.
    fn keep_all(&mut self, contest: &Contest) -> Settled {
        let all = self.standing_for(contest);
        let mut beside = Vec::new();
        for (_, node) in &contest.others {
            let Some(name) = self.name_beside(contest, *node) else {
                continue;
            };
            let entry = self.tree.entry_at(contest.dir, name.as_bytes());
            match entry.and_then(|id| self.tree.registers().entry(id).cloned()) {
                Some(entry) => {
                    let stamp = self.stamp();
                    let dir = entry.parent;
                    self.move_entry(entry, dir, &name, stamp);
                }
                None => self.stand_alone(*node),
            }
            beside.extend(self.path_in(contest.dir, &name));
        }
        self.throw_twins(contest, &all);
        for one in &all {
            self.hold_on_to(one.node);
        }
        Settled {
            path: self.path_in(contest.dir, &contest.name).unwrap_or_default(),
            stays: all.iter().filter_map(author).collect(),
            gone: [].into_iter().collect(),
            beside,
        }
    }

    /// Keeps what was written here, or what was not.
    fn keep_side(&mut self, contest: &Contest, mine: bool) -> Result<Settled, Unsettled> {
        let all = self.standing_for(contest);
        if all.iter().any(|one| one.side.kind == Kind::Directory) {
            return Err(Unsettled::Directory);
        }
        let (stay, go): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.side.is_mine == mine);
        if stay.is_empty() || go.is_empty() {
            return Err(Unsettled::OneSided {
                authors: all.iter().filter_map(author).collect(),
                is_mine: mine != stay.is_empty(),
            });
        }
        if let Some(one) = stay.iter().find(|one| one.side.gone > 0) {
            return Err(Unsettled::InPart {
                path: self.shown_path_in(contest.dir, &one.name),
                gone: one.side.gone,
            });
        }
        if let Some(one) = go.iter().find(|one| self.is_being_written(one.node)) {
            let path = self.shown_path_in(contest.dir, &one.name);
            return Err(Unsettled::BeingWritten { path });
        }
        let keeps_name = stay.iter().any(|one| contest.keeper == Some(one.node));
        for one in go.iter().filter(|one| contest.keeper != Some(one.node)) {
            self.throw_away(contest, one.node);
        }
        if !keeps_name {
            self.succeed(contest, &all);
        }
        self.throw_twins(contest, &all);
        for one in &stay {
            self.hold_on_to(one.node);
        }
        let left = self.tree.contest_about(contest.dir, &contest.name);
        let left = left.into_iter().flat_map(|left| left.others);
        Ok(Settled {
            path: self.path_in(contest.dir, &contest.name).unwrap_or_default(),
            stays: stay.into_iter().filter_map(author).collect(),
            gone: go.into_iter().filter_map(author).collect(),
            beside: left
                .filter_map(|(name, _)| self.path_in(contest.dir, &name))
                .collect(),
        })
    }

    fn shown_path_in(&self, dir: NodeId, name: &Name) -> alloc::string::String {
        let above = self.shown_path(dir);
        alloc::format!("{}/{name}", above.trim_end_matches('/'))
    }

    /// Returns whether a program has written to a file what is no version yet: that goes nowhere.
    pub(crate) fn is_being_written(&self, node: NodeId) -> bool {
        let is_write = |op: &Op| matches!(op, Op::Write { .. } | Op::Resize { .. });
        self.drafts.get(&node).is_some_and(|draft| {
            draft.overlay.is_changed()
                || !draft.flying.is_empty()
                || draft.queue.iter().any(is_write)
        })
    }

    /// Returns under which name a node is shown beside the one that a contest is about: with others
    /// it may have changed.
    fn name_beside(&self, contest: &Contest, node: NodeId) -> Option<Name> {
        let now = self.tree.contest_about(contest.dir, &contest.name)?;
        let mut others = now.others.into_iter();
        others
            .find(|(_, other)| *other == node)
            .map(|(name, _)| name)
    }

    fn throw_away(&mut self, contest: &Contest, node: NodeId) {
        if let Some(name) = self.name_beside(contest, node) {
            let stamp = self.stamp();
            self.unname(contest.dir, &name, node, stamp);
            self.end_blindly(node);
        }
    }

    /// A planted fault: what a delete here ended was all that anybody may make of it yet.
    fn end_blindly(&mut self, node: NodeId) {
        if !self.has(Mutant::SettledBlind) {
            return;
        }
        let registers = self.tree.registers();
        let entries: Vec<_> = registers.entries_of(node).cloned().collect();
        for entry in entries {
            let Some(mut all) = entry.deleted.clone() else {
                continue;
            };
            for (actor, counter) in entry.deleted.iter().flat_map(|known| known.iter()) {
                let counter = counter + 1_000;
                all.cover(Dot { actor, counter });
            }
            let (stamp, deleted) = (self.stamp(), Some(all));
            self.make_on_any_side(Register::Entry(Entry {
                stamp,
                deleted,
                ..entry
            }));
        }
    }

    /// Has a file outlive a delete that was made of it elsewhere and is not known yet.
    fn hold_on_to(&mut self, node: NodeId) {
        let is_loose = self.has(Mutant::SettledLoosely);
        if is_loose || self.tree.registers().entries_of(node).next().is_none() {
            // A conflict copy still, of which nobody has decided anything.
            return;
        }
        if let Some(attrs) = self.attrs_shown(node) {
            let stamp = self.stamp();
            self.keep_shown_here(node, &[], stamp);
            self.make_on_any_side(Register::Attrs(Attrs { stamp, ..attrs }));
        }
    }

    /// Throws away what shows only now, since it is equal to something that was shown.
    fn throw_twins(&mut self, contest: &Contest, shown: &[Standing]) {
        let mut known: BTreeSet<NodeId> = shown.iter().map(|one| one.node).collect();
        while let Some(twin) = self.twin(contest, &known) {
            known.insert(twin);
            self.throw_away(contest, twin);
        }
    }

    fn twin(&self, contest: &Contest, known: &BTreeSet<NodeId>) -> Option<NodeId> {
        let now = self.tree.contest_about(contest.dir, &contest.name)?;
        let mut others = now.others.into_iter().map(|(_, node)| node);
        others.find(|node| !known.contains(node) && !self.is_being_written(*node))
    }

    /// What has the name of a contest goes, and one of those that stand beside takes its place.
    fn succeed(&mut self, contest: &Contest, all: &[Standing]) {
        let dir = contest.dir;
        let stamp = self.stamp();
        let Some((name, heir)) = self.heir_of(contest, all) else {
            // One that got the same name apart has an entry there, and is shown by itself.
            if let Some(loser) = contest.keeper {
                self.unname(dir, &contest.name, loser, stamp);
            }
            return;
        };
        let origin = self.tree.node(heir).and_then(|view| view.object);
        let from = self.entry_or_new(dir, &name, heir, stamp);
        let mut spots = Vec::from([(dir, contest.name.clone())]);
        if let Some(loser) = contest.keeper {
            let is_of_loser = origin.is_some_and(|object| object.node == loser);
            let places = self.tree.places(loser);
            let mut further: Vec<_> = places.map(|(dir, name)| (dir, name.clone())).collect();
            // A version is that of all names of its file.
            further.retain(|spot| is_of_loser && !spots.contains(spot));
            spots.extend(further);
            for (dir, name) in &spots {
                let stamp = self.stamp_beside(stamp);
                self.unname(*dir, name, loser, stamp);
            }
            self.end_blindly(loser);
        }
        self.move_entry(from, dir, &contest.name, stamp);
        for (dir, name) in spots.iter().skip(1) {
            let stamp = self.stamp_beside(stamp);
            self.name_node(heir, *dir, name, stamp);
        }
    }

    /// Returns the newest of the conflict copies that stay, and under which name it is shown; none,
    /// if another file has the name of the contest by itself.
    fn heir_of(&self, contest: &Contest, all: &[Standing]) -> Option<(Name, NodeId)> {
        let now = self.tree.contest_about(contest.dir, &contest.name)?;
        let is_known = |node: &NodeId| all.iter().any(|one| one.node == *node);
        let others = now.others.into_iter().filter(|(_, node)| is_known(node));
        let others: Vec<_> = others.collect();
        let has_entry =
            |(name, _): &(Name, NodeId)| self.tree.entry_at(contest.dir, name.as_bytes()).is_some();
        if others.iter().any(has_entry) {
            return None;
        }
        let registers = self.tree.registers();
        let stamp = |node| {
            registers
                .content(self.tree.node(node)?.object?)
                .map(|it| it.stamp)
        };
        others.into_iter().max_by_key(|(_, node)| stamp(*node))
    }
}

fn author(one: &Standing) -> Option<Label> {
    one.side.author.as_ref().map(|(author, _)| author.clone())
}
