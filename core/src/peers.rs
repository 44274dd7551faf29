//! Peers, as people list and remove them.
//!
//! Law: who shares a folder says who comes in. A key that was removed never comes in again,
//! whatever it presents, and nor does anybody by a ticket that let it in.

use alloc::vec::Vec;

use crate::ids::PeerId;
use crate::label::Label;
use crate::status::{PeerStatus, WaitingFile};

/// A peer that comes in, or may not any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// How it stands.
    pub status: PeerStatus,
    /// Whether it was removed.
    pub is_removed: bool,
}

/// A peer that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Who.
    pub peer: PeerId,
    /// What it calls itself, if it ever said so here.
    pub name: Option<Label>,
    /// Guests that came in by its ticket, and don't any more.
    pub guests: Vec<PeerId>,
    /// How many files show what only it may have all of.
    pub unheld: u64,
    /// The first of them.
    pub waiting: Vec<WaitingFile>,
}

/// Why a peer was not removed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unremoved {
    /// The engine is about to end.
    #[error("it is being stopped; start it again first")]
    Stopping,
    /// The folder is shared by somebody else.
    #[error("the folder is not shared here; only who shares it can remove a peer, on that machine")]
    NotShared,
    /// It is this peer.
    #[error("that is this peer itself; to end sharing, stop it (tandem stop)")]
    Oneself,
    /// No such peer was ever let in.
    #[error("no such peer was ever let in; tandem peers lists those that were")]
    Unknown,
    /// It was removed before.
    #[error("it was removed already")]
    Already,
}
