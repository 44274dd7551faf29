//! What the kernel is not told because it asked for it.
//!
//! Law: only the names and inodes that one edit was about, and only while it is carried out; what
//! changes besides (a conflict copy that appears, a name that another loses) is told as ever.

use alloc::collections::BTreeSet;

use crate::action::Invalidation;
use crate::ids::Ino;
use crate::tree::name::Name;

/// The names and inodes that an edit under way is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hush {
    /// Names, with their directories.
    pub names: BTreeSet<(Ino, Name)>,
    /// The directories: all of them.
    pub inodes: BTreeSet<Ino>,
    /// What is made, moved, linked or unlinked: its attributes. That it shows another content,
    /// since a name that is gone kept two apart, is news.
    pub attributes: BTreeSet<Ino>,
}

impl Hush {
    /// Returns all of it, to be told after all.
    pub(crate) fn all(self) -> impl Iterator<Item = Invalidation> {
        let names = self.names.into_iter();
        let names = names.map(|(parent, name)| Invalidation::Entry { parent, name });
        let inodes = self.inodes.into_iter().chain(self.attributes);
        names.chain(inodes.map(|ino| Invalidation::Inode { ino, data: false }))
    }

    /// Returns whether the kernel knows this from the answer that it waits for.
    pub(crate) fn covers(&self, what: &Invalidation) -> bool {
        match what {
            Invalidation::Inode { ino, data } => {
                self.inodes.contains(ino) || (!data && self.attributes.contains(ino))
            }
            Invalidation::Entry { parent, name } | Invalidation::Delete { parent, name, .. } => {
                self.names.contains(&(*parent, name.clone()))
            }
        }
    }
}
