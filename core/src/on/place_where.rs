//! Where things are in the shared folder, which they are, and what they are to look like.

use alloc::vec::Vec;

use crate::engine::Engine;
use crate::folder::Spot;
use crate::ids::NodeId;
use crate::place_wish::{Dress, FileKey, Whereabouts};
use crate::tree::register::Kind;

/// Permission bits that a peer's change may set here: set-id bits are stripped.
const MODE_MASK: u16 = 0o1777;

impl Engine {
    /// Returns what the file that stands for a node is to look like: bits that set an id stay
    /// where they were set here, until somebody clears them.
    pub(crate) fn dress_here(&self, node: NodeId) -> Option<Dress> {
        let dress = self.dress_of(node)?;
        let shown = self.tree.node(node).map_or(0, |view| view.mode);
        let worn = self.folder.worn(node).map_or(0, |worn| worn.mode);
        Some(Dress {
            mode: dress.mode | (shown & worn & !MODE_MASK),
            ..dress
        })
    }

    /// Returns what a node is to look like where it is made.
    pub(crate) fn dress_of(&self, node: NodeId) -> Option<Dress> {
        let view = self.tree.node(node)?;
        let mtime = match view.kind {
            Kind::File | Kind::Symlink => view.mtime,
            // A directory's time is its own, unless a peer set it by hand.
            Kind::Directory => {
                let attrs = self.tree.registers().attrs(node);
                let is_peers = |by| by != self.me.actor && by != node.0.actor;
                let set = attrs.filter(|attrs| is_peers(attrs.stamp.dot.actor));
                set.and_then(|attrs| attrs.mtime)
            }
        };
        let owner = self.config.owners.then_some((view.uid, view.gid));
        Some(Dress {
            mode: view.mode & MODE_MASK,
            owner,
            mtime,
            xattrs: view.xattrs.clone(),
        })
    }

    pub(crate) fn is_dressed(&self, node: NodeId) -> bool {
        let (Some(dress), Some(worn), Some(placed)) = (
            self.dress_here(node),
            self.folder.worn(node),
            self.folder.placed(node),
        ) else {
            return true;
        };
        if self.folder.placing.unset.get(&node) == Some(&dress) {
            return true;
        }
        let kind = self.kind(node);
        let has_time = dress
            .mtime
            .is_none_or(|mtime| mtime == placed.print.mtime || kind == Some(Kind::Directory));
        let has_owner = dress
            .owner
            .is_none_or(|owner| owner == (worn.uid, worn.gid));
        // A symlink has no mode of its own, and no attributes of users.
        let is_link = kind == Some(Kind::Symlink);
        has_time
            && has_owner
            && (is_link || (dress.mode == worn.mode && dress.xattrs == worn.xattrs))
    }

    /// Returns which file or directory stands for a node.
    pub(crate) fn key_of(&self, node: NodeId) -> Option<FileKey> {
        let placed = self.folder.placed(node)?;
        Some(FileKey::from(&placed.print))
    }

    pub(crate) fn out_of_the_way(node: NodeId) -> Whereabouts {
        Whereabouts {
            parked: Some(node),
            names: Vec::new(),
            parent: None,
        }
    }

    /// Returns where a name is.
    pub(crate) fn whereabouts(&self, spot: &Spot) -> Option<Whereabouts> {
        let mut names = alloc::vec![spot.1.clone()];
        let parent = self.key_of(spot.0);
        let standing = &self.folder.standing;
        for at in standing.ancestors(spot.0) {
            if at == NodeId::ROOT {
                names.reverse();
                let parked = None;
                return Some(Whereabouts {
                    parked,
                    names,
                    parent,
                });
            }
            match standing.spots(at).next() {
                Some((_, name)) => names.push(name.clone()),
                None if standing.is_parked(at) => {
                    names.reverse();
                    let parked = Some(at);
                    return Some(Whereabouts {
                        parked,
                        names,
                        parent,
                    });
                }
                None => return None,
            }
        }
        None
    }

    pub(crate) fn whereabouts_or_parked(
        &self,
        node: NodeId,
        spot: Option<&Spot>,
    ) -> Option<Whereabouts> {
        match spot {
            Some(spot) => self.whereabouts(spot),
            None => Some(Self::out_of_the_way(node)),
        }
    }

    pub(crate) fn whereabouts_of(&self, node: NodeId, spot: Option<&Spot>) -> Option<Whereabouts> {
        if node == NodeId::ROOT {
            return Some(Whereabouts {
                parked: None,
                names: Vec::new(),
                parent: None,
            });
        }
        self.whereabouts_or_parked(node, spot)
    }
}
