//! What the kernel is not told because it asked for it.
//!
//! Law: only the names and inodes that one edit was about, and only while it is carried out; what
//! changes besides (a conflict copy that appears, a name that another loses) is told as ever.

use alloc::collections::BTreeSet;

use crate::action::Invalidation;
use crate::ids::Ino;
use crate::tree::name::Name;

/// The names and inodes that an edit under way is about.
#[derive(Debug, Default)]
pub(crate) struct Hush {
    /// Names, with their directories.
    pub names: BTreeSet<(Ino, Name)>,
    /// Inodes: the directories, and what is made, moved, linked or unlinked.
    pub inodes: BTreeSet<Ino>,
}

impl Hush {
    /// Returns whether the kernel knows this from the answer that it waits for.
    pub(crate) fn covers(&self, what: &Invalidation) -> bool {
        match what {
            Invalidation::Inode { ino, .. } => self.inodes.contains(ino),
            Invalidation::Entry { parent, name } | Invalidation::Delete { parent, name, .. } => {
                self.names.contains(&(*parent, name.clone()))
            }
        }
    }
}
