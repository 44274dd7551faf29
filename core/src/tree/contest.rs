//! Names for which several things stand: what keeps one, and what is shown beside it under names
//! derived from that.
//!
//! Law: they are exactly the names of conflict copies that the tree lists, by the names that these
//! are derived from: of versions made apart, and of files that got one name apart.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::ids::NodeId;
use crate::tree::name::Name;
use crate::tree::seat::Dir;
use crate::tree::store::Ix;
use crate::tree::view::Tree;

/// A name for which several things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// In which directory.
    pub dir: NodeId,
    /// The name.
    pub name: Name,
    /// What is shown under it; nothing, if that was deleted.
    pub keeper: Option<NodeId>,
    /// What is shown beside it, and under which names.
    pub others: Vec<(Name, NodeId)>,
}

impl Tree {
    /// Iterates over all contests in directories that are visible.
    pub fn contests(&self) -> impl Iterator<Item = Contest> {
        let all = (0..self.seats.len()).map(Ix);
        all.filter(|ix| self.contested(*ix).is_some() && self.path(self.id(*ix)).is_some())
            .flat_map(move |ix| {
                let bases = self.bases(ix).into_iter();
                bases.filter_map(move |base| self.contest(ix, base))
            })
    }

    /// Returns the contest in which a name of `dir` is: as the name that it is about, or as that of
    /// what is shown beside.
    pub fn contest_at(&self, dir: NodeId, name: &Name) -> Option<Contest> {
        let ix = self.canon(self.registers.ix(dir)?);
        self.contest(ix, name).or_else(|| {
            let mut sources = self.contested(ix)?.sources.iter();
            let (base, _) = sources.find(|(_, derived)| derived == name)?;
            self.contest(ix, base)
        })
    }

    /// Returns the contest about a name of `dir`.
    pub fn contest_about(&self, dir: NodeId, name: &Name) -> Option<Contest> {
        self.contest(self.canon(self.registers.ix(dir)?), name)
    }

    fn contested(&self, ix: Ix) -> Option<&Dir> {
        let dir = self.seats[ix.0].dir.as_deref();
        dir.filter(|dir| !dir.derived.is_empty())
    }

    /// Returns the names of a directory from which others are derived.
    fn bases(&self, ix: Ix) -> BTreeSet<&Name> {
        let sources = self.contested(ix).map(|dir| dir.sources.iter());
        sources
            .into_iter()
            .flatten()
            .map(|(base, _)| base)
            .collect()
    }

    fn contest(&self, ix: Ix, base: &Name) -> Option<Contest> {
        let dir = self.contested(ix)?;
        let derived = dir.derived_from(base);
        let others = derived.into_iter().filter_map(|name| {
            let shown = dir.derived.get(&name)?;
            Some((name, self.id(shown.node)))
        });
        let others: Vec<_> = others.collect();
        let keeper = dir.names.get(base).map(|slot| self.id(slot.keeper.node));
        (!others.is_empty()).then(|| Contest {
            dir: self.id(ix),
            name: base.clone(),
            keeper,
            others,
        })
    }
}
