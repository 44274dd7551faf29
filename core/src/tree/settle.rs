//! How the tree follows a register: from what it says of its node, to where the node stands, to
//! who is shown under which name.
//!
//! Law: whatever a step changes, those that depend on it are taken up again, until nothing
//! changes. Where a node stands depends on those above it (is its directory one with another?),
//! and whether a deleted directory is shown on those below it; the two never depend on each
//! other, so that this ends, and in the same state whatever the order within a round.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use crate::ids::{Arrival, Dot};
use crate::tree::arena::Arena;
use crate::tree::conflict;
use crate::tree::cycle::{self, Place};
use crate::tree::face::Face;
use crate::tree::facts::{self, Version};
use crate::tree::name::Name;
use crate::tree::register::{Kind, Register};
use crate::tree::seat::{Claim, Dir, Seat, Standing};
use crate::tree::store::{Applied, EntryIx, Ix, Registers};
use crate::tree::view::{Change, Tree};

/// What is yet to be done, and what was before it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// Nodes that may have to stand elsewhere, or to show another version.
    pub(super) dirty: BTreeSet<Ix>,
    /// Names in a directory from which others are derived, perhaps differently now.
    pub(super) stale: BTreeSet<(Ix, Name)>,
    /// Set when changes are to be told.
    pub(super) told: bool,
    /// Who was shown under the names that were touched.
    pub(super) was: BTreeMap<(Ix, Name), Option<Ix>>,
    /// What the nodes that were touched looked like.
    pub(super) faces: BTreeMap<Ix, Face>,
}

impl Tree {
    /// Takes a register in, and appends to `changes` what it changes in the tree.
    pub fn apply(&mut self, register: Register, changes: &mut Vec<Change>) -> Applied {
        assert!(
            self.settled,
            "a tree that was restored is settled before it is changed"
        );
        self.work.told = true;
        let node = register.node();
        let of_directory = match &register {
            Register::Entry(_) => true,
            Register::Attrs(attrs) => attrs.kind == Kind::Directory,
            Register::Content(_) | Register::Digest(_) => false,
        };
        let before = self.registers.ix(node);
        let was_anchored = before.is_some_and(|ix| facts::anchored(&self.registers, ix));
        if let Some(ix) = before {
            self.take_up(ix);
        }

        let applied = self.registers.apply(register);
        match applied {
            Applied::Stored { .. } => {}
            Applied::Known | Applied::Refused(_) => {
                self.work = Work::default();
                return applied;
            }
        }
        self.seat_all();
        let ix = self
            .registers
            .ix(node)
            .expect("a register that is held has a node");
        self.take_up(ix);
        if of_directory && facts::anchored(&self.registers, ix) {
            self.break_cycles(ix);
            if !was_anchored {
                let asking = self.orphans.range((ix, Ix(0))..=(ix, Ix(u32::MAX)));
                self.work.dirty.extend(asking.map(|&(_, node)| node));
            }
        }
        self.follow();
        self.tell(changes);
        applied
    }

    /// Takes in a register that was stored with its arrival; they may come in any order. The tree
    /// can be asked again, and changed, once it was settled.
    ///
    /// Anything but [`Applied::Stored`] with nothing replaced says that the store is damaged.
    pub fn restore(&mut self, arrival: Arrival, register: Register) -> Applied {
        self.settled = false;
        self.registers.restore(arrival, register)
    }

    /// Builds the tree of what was restored.
    pub fn settle(&mut self) {
        self.seats = Arena::new();
        self.orphans.clear();
        self.work = Work::default();
        let versions: Vec<_> = self.registers.siblings().collect();
        for version in versions {
            self.registers.intern(conflict::copy_of(version));
        }
        self.seat_all();

        let all = || (0..self.seats.len()).map(Ix);
        let anchored = |&ix: &Ix| facts::anchored(&self.registers, ix);
        self.levels = cycle::put_back(&self.registers, all().filter(anchored));
        for ix in (0..self.seats.len()).map(Ix) {
            self.reconcile(ix);
        }
        self.follow();

        self.count = 0;
        self.bytes = 0;
        for ix in (1..self.seats.len()).map(Ix) {
            let face = self.face(ix);
            self.count += u64::from(face.visible);
            self.bytes += face.bytes;
        }
        self.settled = true;
    }

    /// Gives a seat to every node that is spoken of.
    pub(super) fn seat_all(&mut self) {
        while self.seats.len() < self.registers.cells.len() {
            self.seats.push(Seat::default());
        }
    }

    /// Takes up a node whose registers change, and all copies that depend on them: those of its
    /// versions and of theirs, and, when it is a copy, the file that it comes from.
    fn take_up(&mut self, ix: Ix) {
        let mut ahead = Vec::from([ix]);
        if let Some(version) = conflict::copied(self.id(ix)) {
            ahead.extend(self.registers.origin(version));
        }
        let mut taken = BTreeSet::new();
        while let Some(ix) = ahead.pop() {
            if !taken.insert(ix) {
                continue;
            }
            let contents = &self.registers.cells[ix.0].contents;
            if contents.len() > 1 {
                let dots: Vec<Dot> = contents
                    .iter()
                    .map(|held| held.register.stamp.dot)
                    .collect();
                for dot in dots {
                    ahead.push(self.registers.intern(conflict::copy_of(dot)));
                }
                self.seat_all();
            }
        }
        for &ix in &taken {
            self.note(ix);
        }
        self.work.dirty.append(&mut taken);
    }

    /// Puts back directories whose moves close a cycle, given that `moved` was changed.
    fn break_cycles(&mut self, moved: Ix) {
        // In a directory that nobody asks for, not even itself, no cycle can close.
        if self.levels.is_empty() && self.registers.cells[moved.0].kids == 0 {
            return;
        }
        let suspects: Vec<_> = self.levels.keys().copied().chain([moved]).collect();
        let levels = cycle::put_back(&self.registers, suspects);
        let former = mem::replace(&mut self.levels, levels);
        for ix in former.keys().chain(self.levels.keys()) {
            if former.get(ix) != self.levels.get(ix) {
                self.work.dirty.insert(*ix);
            }
        }
    }

    /// Works until nothing is left to do.
    ///
    /// In rounds, so that nobody waits while others chase each other: each round settles one
    /// more level of the tree, from the top and from the bottom.
    fn follow(&mut self) {
        let mut rounds = 0;
        while !self.work.dirty.is_empty() {
            assert!(
                rounds <= 4 * self.seats.len(),
                "a tree settles level by level"
            );
            rounds += 1;
            for ix in mem::take(&mut self.work.dirty) {
                self.work.dirty.remove(&ix);
                self.reconcile(ix);
            }
        }
        while let Some((dir, base)) = self.work.stale.pop_first() {
            self.derive(dir, &base);
        }
    }

    /// Lets a node stand where it is to stand, and show what it is to show.
    fn reconcile(&mut self, ix: Ix) {
        if ix == Ix::ROOT {
            return;
        }
        let (mut claims, winner) = self.wanted(ix);
        claims.sort();
        self.question(ix);
        if self.seats[ix.0].winner != winner {
            self.note(ix);
            self.seats[ix.0].winner = winner;
        }
        if self.seats[ix.0].claims == claims {
            return;
        }
        let former = mem::replace(&mut self.seats[ix.0].claims, claims.clone());
        // Before they leave, so that a directory is not thought empty in between.
        for claim in claims.iter().filter(|claim| !claim.orphan) {
            self.live(claim.parent, 1);
        }
        for claim in former.iter().filter(|claim| !claim.orphan) {
            self.live(claim.parent, -1);
        }
        // Both are in order.
        let mut old = former.iter().peekable();
        let mut new = claims.iter().peekable();
        let mut entering = Vec::new();
        loop {
            match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => {
                    old.next();
                    new.next();
                }
                (Some(a), Some(b)) if a > b => entering.extend(new.next()),
                (None, Some(_)) => entering.extend(new.next()),
                (Some(claim), _) => {
                    self.leave(ix, claim);
                    old.next();
                }
            }
        }
        for claim in entering {
            self.enter(ix, claim);
        }
        for claim in claims.iter().filter(|claim| claim.orphan) {
            self.orphans.insert((claim.parent, ix));
        }
        self.question(ix);
        // A directory that left others of its name may ask for one of them.
        if facts::is_directory(&self.registers, ix) && self.wanted(ix).0 != claims {
            self.work.dirty.insert(ix);
        }
    }

    /// Returns what a node asks for, and which version it shows.
    fn wanted(&self, ix: Ix) -> (Vec<Claim>, Option<Version>) {
        let registers = &self.registers;
        if let Some((origin, dot)) = facts::untouched_copy(registers, ix) {
            let facts = facts::of(registers, origin);
            return match facts.beside {
                Some(beside)
                    if facts.copies.contains(&dot) && facts::attrs(registers, ix).is_some() =>
                {
                    let claim = self.claim(None, cycle::place(registers, beside, 0));
                    let version = Version { cell: origin, dot };
                    (Vec::from([claim]), Some(version))
                }
                Some(_) | None => (Vec::new(), None),
            };
        }
        if registers.cells[ix.0].entries.is_empty() || facts::attrs(registers, ix).is_none() {
            return (Vec::new(), None);
        }
        if facts::is_directory(registers, ix) {
            let live = || {
                self.seats[ix.0]
                    .dir
                    .as_ref()
                    .is_some_and(|dir| dir.live > 0)
            };
            let level = self.levels.get(&ix).copied().unwrap_or(0);
            let claims = facts::directory(registers, ix)
                .filter(|(_, counts)| *counts || live())
                .map(|(entry, _)| self.claim(Some(entry), cycle::place(registers, entry, level)));
            return (claims.into_iter().collect(), None);
        }
        let facts = facts::of(registers, ix);
        if facts.winner.is_none() {
            return (Vec::new(), None);
        }
        let claims = facts.entries.iter();
        let claims =
            claims.map(|&entry| self.claim(Some(entry), cycle::place(registers, entry, 0)));
        (claims.collect(), facts.winner)
    }

    fn claim(&self, entry: Option<EntryIx>, place: Place<'_>) -> Claim {
        Claim {
            entry,
            parent: place.parent,
            dir: self.canon(place.standing()),
            orphan: place.orphan,
            name: place.name.clone(),
        }
    }

    /// Counts those who ask for a directory. If it was deleted it is shown while there are any.
    fn live(&mut self, ix: Ix, by: i32) {
        let dir = self.dir(ix);
        let was = dir.live;
        dir.live = was
            .checked_add_signed(by)
            .expect("who leaves a directory was counted in it");
        if (was == 0) != (dir.live == 0) {
            self.work.dirty.insert(ix);
        }
    }

    fn enter(&mut self, ix: Ix, claim: &Claim) {
        let Some(entry) = claim.entry else {
            self.dir(claim.dir).beside.insert((claim.name.clone(), ix));
            self.work.stale.insert((claim.dir, claim.name.clone()));
            return;
        };
        self.change(claim.dir, &claim.name, |dir, registers| {
            dir.stand(registers, &claim.name, Standing { node: ix, entry });
        });
        if facts::is_directory(&self.registers, ix) {
            self.unite(claim.dir, &claim.name);
        }
    }

    fn leave(&mut self, ix: Ix, claim: &Claim) {
        if claim.orphan {
            self.orphans.remove(&(claim.parent, ix));
        }
        let Some(entry) = claim.entry else {
            self.dir(claim.dir).beside.remove(&(claim.name.clone(), ix));
            self.work.stale.insert((claim.dir, claim.name.clone()));
            return;
        };
        self.change(claim.dir, &claim.name, |dir, _| {
            dir.step_down(&claim.name, Standing { node: ix, entry });
        });
        if facts::is_directory(&self.registers, ix) {
            self.set_canon(ix, ix);
            self.unite(claim.dir, &claim.name);
        }
    }

    /// Makes the directories of one name one.
    fn unite(&mut self, dir: Ix, name: &Name) {
        let Some(slot) = self.dir(dir).names.get(name) else {
            return;
        };
        let canon = slot.keeper.node;
        let all: Vec<_> = slot.all().map(|standing| standing.node).collect();
        for ix in all {
            if facts::is_directory(&self.registers, ix) {
                self.set_canon(ix, canon);
            }
        }
    }

    fn set_canon(&mut self, ix: Ix, canon: Ix) {
        let former = self.canon(ix);
        if former == canon {
            return;
        }
        self.dir(ix).canon = canon;
        if let Some(listing) = &self.seats[former.0].dir {
            for node in listing.everyone() {
                let mut claims = self.seats[node.0].claims.iter();
                if claims.any(|claim| claim.parent == ix) {
                    self.work.dirty.insert(node);
                }
            }
        }
    }

    /// Marks the names that are derived because of a node.
    fn question(&mut self, ix: Ix) {
        for claim in &self.seats[ix.0].claims {
            let dir = self.seats[claim.dir.0].dir.as_ref();
            if dir.is_some_and(|dir| claim.entry.is_none() || dir.contested.contains(&claim.name)) {
                self.work.stale.insert((claim.dir, claim.name.clone()));
            }
        }
    }

    /// Changes who stands under a name.
    fn change(&mut self, ix: Ix, name: &Name, by: impl FnOnce(&mut Dir, &Registers)) {
        let seat = &mut self.seats[ix.0];
        let dir = seat.dir.get_or_insert_with(|| Box::new(Dir::new(ix)));
        let former = dir.occupant(name.as_bytes());
        let contested = dir.contested.contains(name);
        by(dir, &self.registers);
        let now = dir.occupant(name.as_bytes());
        // A name that was derived is taken, or one that was taken may be free.
        dir.crowded |= dir.derived.contains_key(name);
        if contested || dir.contested.contains(name) || dir.crowded {
            self.work.stale.insert((ix, name.clone()));
        }
        self.occupy(ix, name, former, now);
    }

    /// Keeps count when another is shown under a name.
    pub(super) fn occupy(&mut self, ix: Ix, name: &Name, former: Option<Ix>, now: Option<Ix>) {
        const COUNTED: &str = "who is shown no longer was counted";
        if former == now {
            return;
        }
        if self.work.told {
            self.work.was.entry((ix, name.clone())).or_insert(former);
        }
        for (node, by) in [(former, -1), (now, 1)] {
            let Some(node) = node else { continue };
            self.note(node);
            let shown = &mut self.seats[node.0].shown;
            *shown = shown.checked_add_signed(by).expect(COUNTED);
            if facts::is_directory(&self.registers, node) {
                self.note(ix);
                let subdirs = &mut self.dir(ix).subdirs;
                *subdirs = subdirs.checked_add_signed(by).expect(COUNTED);
            }
        }
    }

    pub(super) fn dir(&mut self, ix: Ix) -> &mut Dir {
        let dir = &mut self.seats[ix.0].dir;
        dir.get_or_insert_with(|| Box::new(Dir::new(ix)))
    }
}
