//! Names derived from others: who is shown under one because his own is kept by another.
//!
//! Law: those of a directory are found in the order of their ids, each getting the first of its
//! names that is free; what is kept is never displaced by what is derived. While no derived name
//! of a directory was taken, each depends on nothing but the name that it comes from, and only
//! those are found again that may have changed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::NodeId;
use crate::tree::conflict;
use crate::tree::facts;
use crate::tree::name::Name;
use crate::tree::register::Content;
use crate::tree::seat::Derived;
use crate::tree::store::Ix;
use crate::tree::view::Tree;

impl Tree {
    /// Finds the names of those who are shown under one derived from `base`.
    pub(super) fn derive(&mut self, ix: Ix, base: &Name) {
        if !self.dir(ix).crowded {
            let mut wanted = BTreeMap::new();
            let mut clash = false;
            for (_, shown, name) in self.losers(ix, base) {
                clash |= wanted.insert(name, shown).is_some();
            }
            let dir = self.dir(ix);
            let former = dir.derived_from(base);
            clash |= wanted.keys().any(|name| {
                dir.names.contains_key(name)
                    || (dir.derived.contains_key(name) && !former.contains(name))
            });
            if !clash {
                for name in former.iter().filter(|name| !wanted.contains_key(*name)) {
                    self.set_derived(ix, base, name, None);
                }
                for (name, shown) in &wanted {
                    self.set_derived(ix, base, name, Some(*shown));
                }
                return;
            }
        }
        self.derive_all(ix);
    }

    /// Finds all derived names of a directory, where some are taken.
    fn derive_all(&mut self, ix: Ix) {
        let dir = self.dir(ix);
        let mut bases = dir.contested.clone();
        bases.extend(dir.beside.iter().map(|(base, _)| base.clone()));
        for (base, name) in dir.sources.clone() {
            self.set_derived(ix, &base, &name, None);
        }
        let mut losers: Vec<_> = bases
            .iter()
            .flat_map(|base| self.losers(ix, base).map(move |loser| (loser, base)))
            .collect();
        losers.sort_by_key(|((id, ..), base)| (*id, *base));
        let mut crowded = false;
        for ((id, shown, mut name), base) in losers {
            let mut attempt = 0;
            while self.dir(ix).occupant(name.as_bytes()).is_some() {
                attempt += 1;
                crowded = true;
                name = self.derived_name(id, shown.node, base, attempt);
            }
            self.set_derived(ix, base, &name, Some(shown));
        }
        self.dir(ix).crowded = crowded;
    }

    /// Returns those who are shown under a name derived from `base`, and that name.
    fn losers(&self, dir: Ix, base: &Name) -> impl Iterator<Item = (NodeId, Derived, Name)> {
        let listing = self.seats[dir.0]
            .dir
            .as_ref()
            .expect("who has losers is a directory");
        let mut losers = Vec::new();
        if let Some(slot) = listing.names.get(base) {
            let mut seen = BTreeSet::from([slot.keeper.node]);
            let mut essences = BTreeSet::new();
            for standing in slot.all() {
                let ix = standing.node;
                if facts::is_directory(&self.registers, ix) {
                    continue;
                }
                let content = self.shown_content(ix);
                let new = facts::essence(&self.registers, content)
                    .is_none_or(|essence| essences.insert(essence));
                if new && seen.insert(ix) {
                    let entry = Some(standing.entry);
                    losers.push(Derived { node: ix, entry });
                }
            }
        }
        let copies = listing.copies_of(base);
        losers.extend(copies.map(|node| Derived { node, entry: None }));
        losers.into_iter().map(move |shown| {
            let id = self.id(shown.node);
            (id, shown, self.derived_name(id, shown.node, base, 0))
        })
    }

    fn derived_name(&self, id: NodeId, ix: Ix, base: &Name, attempt: u32) -> Name {
        let content = self.shown_content(ix);
        let dot = conflict::copied(id).unwrap_or(id.0);
        conflict::copy_name(base, &content.author, content.day, dot, attempt)
    }

    fn shown_content(&self, ix: Ix) -> &Content {
        self.seats[ix.0]
            .winner
            .and_then(|version| facts::content(&self.registers, version))
            .expect("a file that stands somewhere shows a version")
    }

    /// Changes who is shown under a derived name.
    fn set_derived(&mut self, ix: Ix, base: &Name, name: &Name, shown: Option<Derived>) {
        let dir = self.dir(ix);
        let former = dir.occupant(name.as_bytes());
        match shown {
            Some(shown) => {
                dir.derived.insert(name.clone(), shown);
                dir.sources.insert((base.clone(), name.clone()));
            }
            None => {
                dir.derived.remove(name);
                dir.sources.remove(&(base.clone(), name.clone()));
            }
        }
        let now = dir.occupant(name.as_bytes());
        self.occupy(ix, name, former, now);
    }
}
