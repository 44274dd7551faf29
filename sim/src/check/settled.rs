//! Conflicts, settled by users: whoever settles one is answered, by what is known of it; what goes is
//! what he was shown, and nothing else (P3); in the end all list the same conflicts (P4).
//!
//! Law: what an answer has to be follows from the list that the user saw. What he throws away is
//! struck off as if he had removed it by hand. Where two settle one conflict, neither of whom
//! knows of the other one, only what both threw away may go.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::{FsReply, Shown};
use tandem_core::conflicts::{Conflict, Keep, Settled, Side, Unsettled};
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Ino, ReqId};
use tandem_core::label::Label;
use tandem_core::message::Role;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;

use super::kept::Went;
use super::{Failure, Verdict};
use crate::choices::Chance;
use crate::config::SEC;
use crate::peer::Caller;
use crate::reach;
use crate::world::{HOST, Item, World};

/// What a conflict looks like to everybody: what stands for it, and who wrote that.
type Face = (Vec<Name>, BTreeSet<(bool, u64, Option<(Label, u32)>)>);

/// A conflict that a user settled.
#[derive(Debug)]
struct Settlement {
    p: usize,
    conflict: Conflict,
    keep: Keep,
    /// Whether it was answered that it is settled, and nothing took that back.
    holds: bool,
}

/// Who settled what.
#[derive(Debug, Default)]
pub struct Settling {
    all: Vec<Settlement>,
    /// Those that are not answered: of which peer, in which of its runs.
    asked: BTreeMap<(usize, ReqId), (u64, usize)>,
}

impl Settling {
    /// A peer lost what it stored, or a part of it: perhaps what it settled, too.
    pub fn lost(&mut self, p: usize) {
        for settlement in self.all.iter_mut().filter(|it| it.p == p) {
            settlement.holds = false;
        }
    }
}

fn sides(conflict: &Conflict) -> impl Iterator<Item = (&Vec<Name>, &Side)> {
    let file = conflict.file.iter().map(|side| (&conflict.path, side));
    file.chain(conflict.copies.iter().map(|(path, side)| (path, side)))
}

fn face(conflict: &Conflict) -> Face {
    let all = sides(conflict);
    let all = all.map(|(_, side)| (side.kind == Kind::File, side.size, side.author.clone()));
    (conflict.path.clone(), all.collect())
}

fn stays(keep: Keep, side: &Side) -> bool {
    match keep {
        Keep::Mine => side.is_mine,
        Keep::Theirs => !side.is_mine,
        Keep::Both => true,
    }
}

fn authors<'a>(sides: impl Iterator<Item = &'a Side>) -> Vec<Label> {
    let all: BTreeSet<Label> = sides
        .filter_map(|side| Some(side.author.as_ref()?.0.clone()))
        .collect();
    all.into_iter().collect()
}

fn wrong(what: String) -> Failure {
    Failure::safety("settling", what)
}

impl World {
    /// A user settles one of the conflicts that his replica lists; if there is none anywhere, he
    /// looks again later. Now and then another settles the same one, before either knows.
    pub(crate) fn settle_something(&mut self, mut chance: Chance) -> Verdict {
        if self.resting {
            return Ok(());
        }
        let all: Vec<usize> = (0..self.peers.len())
            .filter(|p| !self.listed(*p).is_empty())
            .collect();
        let Some(p) = chance.pick(&all).copied() else {
            let later = chance.between(SEC / 10, SEC);
            self.after(later, Item::Settle(chance));
            return Ok(());
        };
        let listed = self.listed(p);
        let Some(conflict) = chance.pick(&listed).cloned() else {
            return Ok(());
        };
        self.user_settles(p, &conflict, &mut chance)?;
        let is_it = |other: &Conflict| face(other) == face(&conflict);
        let others = all.into_iter().filter(|q| *q != p);
        let others: Vec<usize> = others
            .filter(|q| self.listed(*q).iter().any(is_it))
            .collect();
        match chance.pick(&others).copied() {
            Some(q) if chance.often(500) => {
                let listed = self.listed(q);
                match listed.iter().find(|other| is_it(other)) {
                    Some(other) => self.user_settles(q, other, &mut chance),
                    None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the conflicts that a peer lists, if its user can ask for them.
    fn listed(&self, p: usize) -> Vec<Conflict> {
        let peer = &self.peers[p];
        let is_awake = !peer.stopping && self.now >= peer.asleep;
        // One that is to be judged after a crash is looked at by nobody before.
        let answers = is_awake && (p == HOST || peer.crashed.is_none());
        let engine = peer.engine.as_ref().filter(|_| answers);
        engine.map_or_else(Vec::new, |engine| engine.conflicts())
    }

    /// A user looks at what stands for a name, and settles the conflict about it.
    fn user_settles(&mut self, p: usize, conflict: &Conflict, chance: &mut Chance) -> Verdict {
        let keep = [Keep::Mine, Keep::Theirs, Keep::Both][chance.index(3)];
        let any = sides(conflict).count();
        let path = match sides(conflict).nth(chance.index(any)) {
            Some((path, _)) if chance.often(300) => path.clone(),
            Some(_) | None => conflict.path.clone(),
        };
        let Some(went) = self.looked_at(p, conflict, keep)? else {
            return Ok(());
        };
        if !self.listed(p).contains(conflict) {
            return Ok(());
        }
        let by = self.settling.all.len();
        let peer = &mut self.peers[p];
        let (req, boot) = (ReqId(peer.draw()), peer.boot);
        self.settling.all.push(Settlement {
            p,
            conflict: conflict.clone(),
            keep,
            holds: false,
        });
        self.settling.asked.insert((p, req), (boot, by));
        self.tell(p, boot, Event::Settle { req, path, keep })?;
        let is_refused =
            !self.settling.asked.contains_key(&(p, req)) && !self.settling.all[by].holds;
        if is_refused {
            return Ok(());
        }
        self.throw(p, by, &went);
        self.check_left(p, conflict, keep)
    }

    /// Strikes off what a user has thrown away.
    fn throw(&mut self, p: usize, by: usize, went: &[Went]) {
        let on_disk: Vec<_> = self.folder.all_bytes().collect();
        for went in went {
            let history = &self.folder.history;
            self.kept.settled(by, went, &on_disk, history);
            if let Went::Shown(_, shown) = went {
                let bodies = &mut self.peers[p].bodies;
                self.kept.removed(bodies.contents(shown, history));
                if shown.nlink <= 1 {
                    bodies.unnamed(shown.ino);
                }
                self.taken_over(p, shown.size);
            }
        }
    }

    /// Returns what a user sees of the files that are to go; nothing, if he can't see them now.
    fn looked_at(
        &mut self,
        p: usize,
        conflict: &Conflict,
        keep: Keep,
    ) -> Result<Option<Vec<Went>>, Failure> {
        let mut went = Vec::new();
        for (path, side) in sides(conflict) {
            if stays(keep, side) || side.kind != Kind::File {
                continue;
            }
            if p == HOST {
                let there = self.folder.find(path);
                let bytes = there.and_then(|id| self.folder.bytes(id));
                let stands = bytes.filter(|bytes| bytes.len() as u64 == side.size);
                went.push(stands.map_or(Went::Comes(side.size), Went::Stands));
                continue;
            }
            match self.seen_at(p, path)? {
                Some(shown) => went.push(Went::Shown(p, shown)),
                None => return Ok(None),
            }
        }
        Ok(Some(went))
    }

    /// Looks a path up on a mount.
    fn seen_at(&mut self, p: usize, path: &[Name]) -> Result<Option<Shown>, Failure> {
        let mut parent = Ino::ROOT;
        let mut last = None;
        for name in path {
            let name = name.as_bytes().to_vec();
            let call = FsCall::Lookup { parent, name };
            let req = self.call(p, Caller::Walker, call)?;
            let Some(Ok((FsReply::Entry(shown), _))) = self.answers.remove(&(p, req)) else {
                return Ok(None);
            };
            parent = shown.ino;
            last = Some(shown);
        }
        Ok(last)
    }

    /// Judges what is listed at once after a conflict was settled.
    fn check_left(&self, p: usize, conflict: &Conflict, keep: Keep) -> Verdict {
        let Some(engine) = &self.peers[p].engine else {
            return Ok(());
        };
        let left = engine.conflicts();
        let Some(left) = left.iter().find(|left| left.path == conflict.path) else {
            return Ok(());
        };
        let is_left = |side: &Side| keep == Keep::Both || !stays(keep, side);
        match sides(left).find(|(_, side)| is_left(side)) {
            None => Ok(()),
            Some(_) => Err(wrong(format!(
                "{} settled {conflict:?}: {keep:?}, and there is {left:?}",
                self.peers[p].name
            ))),
        }
    }

    /// An engine has answered somebody who settled a conflict.
    pub(crate) fn was_settled(
        &mut self,
        p: usize,
        req: ReqId,
        result: &Result<Settled, Unsettled>,
    ) -> Verdict {
        let boot = self.peers[p].boot;
        let asked = self.settling.asked.remove(&(p, req));
        let Some((_, by)) = asked.filter(|(at, _)| *at == boot) else {
            let what = format!("{req} was never asked, or is answered twice: {result:?}");
            return Err(wrong(what));
        };
        let settlement = &mut self.settling.all[by];
        settlement.holds = result.is_ok();
        let (conflict, keep) = (settlement.conflict.clone(), settlement.keep);
        let is_right = match result {
            Ok(settled) => self.is_settled_so(p, &conflict, keep, settled),
            Err(why) => self.may_refuse(p, &conflict, keep, why),
        };
        if is_right {
            return Ok(());
        }
        let name = self.peers[p].name;
        let what = format!("{name} settles {conflict:?}: {keep:?}, and is answered {result:?}");
        Err(wrong(what))
    }

    fn may_settle(&self, p: usize) -> bool {
        let config = &self.peers[p].config;
        config.writable && config.role != Role::Guest
    }

    /// Tells whether a conflict can be decided so, by what is listed of it.
    fn can_be(conflict: &Conflict, keep: Keep) -> bool {
        let all = || sides(conflict).map(|(_, side)| side);
        let is_told_apart =
            all().any(|side| stays(keep, side)) && all().any(|side| !stays(keep, side));
        let are_files = all().all(|side| side.kind != Kind::Directory);
        let is_whole = all().all(|side| !stays(keep, side) || side.gone == 0);
        keep == Keep::Both || (is_told_apart && are_files && is_whole)
    }

    fn is_settled_so(
        &mut self,
        p: usize,
        conflict: &Conflict,
        keep: Keep,
        settled: &Settled,
    ) -> bool {
        match keep {
            Keep::Mine => reach!(self.reach, "settled: mine"),
            Keep::Theirs => reach!(self.reach, "settled: theirs"),
            Keep::Both => reach!(self.reach, "settled: both"),
        }
        let all = || sides(conflict).map(|(_, side)| side);
        let stay = authors(all().filter(|side| stays(keep, side)));
        let gone = authors(all().filter(|side| !stays(keep, side)));
        self.may_settle(p)
            && Self::can_be(conflict, keep)
            && settled.path == conflict.path
            && settled.stays.0 == stay
            && settled.gone.0 == gone
    }

    fn may_refuse(&self, p: usize, conflict: &Conflict, keep: Keep, why: &Unsettled) -> bool {
        let all = || sides(conflict).map(|(_, side)| side);
        let chosen = keep != Keep::Both;
        let has_directory = all().any(|side| side.kind == Kind::Directory);
        match why {
            Unsettled::Starting => self.may_settle(p),
            // It was listed a moment ago, by one that was not asked to stop.
            Unsettled::Stopping | Unsettled::NotFound | Unsettled::NoConflict => false,
            Unsettled::ReadOnly => !self.may_settle(p),
            Unsettled::Directory => chosen && has_directory,
            Unsettled::OneSided { .. } | Unsettled::InPart { .. } => {
                chosen && !has_directory && !Self::can_be(conflict, keep)
            }
            Unsettled::BeingWritten { .. } => {
                p != HOST && chosen && Self::can_be(conflict, keep) && self.may_settle(p)
            }
        }
    }

    /// Judges that whoever settled a conflict was answered.
    pub(crate) fn settling_ended(&self) -> Verdict {
        let mut asked = self.settling.asked.iter();
        let is_here = |(p, boot): (usize, u64)| self.peers[p].boot == boot && self.lost != Some(p);
        match asked.find(|((p, _), (boot, _))| is_here((*p, *boot))) {
            None => Ok(()),
            Some(((p, _), _)) => {
                let name = self.peers[*p].name;
                let what = format!("who settled a conflict at {name} was never answered");
                Err(Failure::new(super::Kind::Liveness, "P9", what))
            }
        }
    }

    /// Judges that all list the same conflicts.
    pub(crate) fn check_conflicts(&self) -> Verdict {
        let of = |p: usize| {
            let engine = self.peers[p].engine.as_ref();
            let all = engine.map_or_else(Vec::new, |engine| engine.conflicts());
            all.into_iter().map(anybody_s).collect::<Vec<_>>()
        };
        let host = of(HOST);
        for p in (HOST + 1..=self.config.joiners).filter(|p| self.lost != Some(*p)) {
            let here = of(p);
            if here != host {
                let name = self.peers[p].name;
                let what = format!("{name} lists the conflicts {here:?}, the host {host:?}");
                return Err(Failure::new(super::Kind::Convergence, "P4", what));
            }
        }
        Ok(())
    }

    /// What one threw away as he settled a conflict that another one settled the other way is owed
    /// still: neither knew of the other one, since each saw all of it.
    pub(crate) fn oppose(&mut self) {
        let all = &self.settling.all;
        let holds = |it: &&Settlement| it.holds && self.lost != Some(it.p);
        let mut opposed = Vec::new();
        for (by, one) in all.iter().enumerate().filter(|(_, it)| holds(it)) {
            let is_opposed = |other: &Settlement| {
                other.p != one.p && face(&other.conflict) == face(&one.conflict) && {
                    // Of several copies of one side nobody decides anything but that they stay for
                    // now; and what has one size is not told apart here.
                    let mut sizes = sides(&one.conflict).map(|(_, side)| side.size);
                    let (a, b) = (sizes.next(), sizes.next());
                    let are_two = sizes.next().is_none() && a != b;
                    let keeps = |a: &Side| {
                        let mut its = sides(&other.conflict);
                        its.any(|(_, b)| {
                            (b.size, &b.author) == (a.size, &a.author) && stays(other.keep, b)
                        })
                    };
                    are_two && sides(&one.conflict).any(|(_, a)| !stays(one.keep, a) && keeps(a))
                }
            };
            if all.iter().filter(holds).any(is_opposed) {
                opposed.push(by);
            }
        }
        for by in opposed {
            if self.kept.opposed(by) > 0 {
                reach!(self.reach, "settled: opposed");
            }
        }
    }
}

/// Returns what everybody lists of a conflict: whose it is, and what is known to be nowhere, differ.
fn anybody_s(mut conflict: Conflict) -> Conflict {
    let copies = conflict.copies.iter_mut().map(|(_, side)| side);
    for side in conflict.file.iter_mut().chain(copies) {
        (side.is_mine, side.gone) = (false, 0);
    }
    conflict.copies.sort_by(|a, b| a.0.cmp(&b.0));
    conflict
}
