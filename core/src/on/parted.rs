//! A host that has lost part of its past: its metadata were rebuilt, or restored from a copy.
//!
//! Law: nobody is locked out silently. A joiner that knows updates which its host has lost can't
//! go on with it; both sides say so, and what to do, once.
//!
//! Both find out from the other's hello. All that a joiner knows came from its host, but for what
//! it made itself; and a host stores an update for good before anybody hears of it.

use crate::engine::Engine;
use crate::error::Fault;
use crate::ids::{ActorId, PeerId};
use crate::label::Label;
use crate::link::Barred;
use crate::message::{Hello, Role};
use crate::version::VersionVector;

/// Tells whether `ours` covers all of `theirs` but for updates of `author`.
fn covers(ours: &VersionVector, theirs: &VersionVector, author: ActorId) -> bool {
    let mut others = theirs.iter().filter(|(actor, _)| *actor != author);
    others.all(|(actor, counter)| counter <= ours.counter(actor))
}

impl Engine {
    /// Returns whether the one of us that is the host has lost what the other knows.
    pub(crate) fn is_parted(&self, hello: &Hello) -> bool {
        if self.config.writable {
            // It takes changes: what was lost is told again.
            return false;
        }
        match (self.config.role, hello.role) {
            (Role::Full, Role::Sparse) => {
                !covers(&self.me.knowledge, &hello.knowledge, hello.actor)
            }
            (Role::Sparse, Role::Full) => {
                !covers(&hello.knowledge, &self.me.knowledge, self.me.actor)
            }
            (Role::Full, Role::Full)
            | (Role::Sparse, Role::Sparse)
            | (Role::Guest, _)
            | (_, Role::Guest) => false,
        }
    }

    /// Says that we have parted: in the status for as long as it lasts, and once as a fault.
    pub(crate) fn tell_parted(&mut self, peer: PeerId, role: Role, name: Label) {
        let Some(known) = self.links.peers.get_mut(&peer) else {
            return;
        };
        let (barred, fault) = match role {
            Role::Full => (Barred::HostForgot, Fault::HostForgot { peer, name }),
            Role::Sparse | Role::Guest => (Barred::Forgot, Fault::Forgot { peer, name }),
        };
        known.refused = Some(barred);
        if !core::mem::replace(&mut known.parted, true) {
            self.fault(fault);
        }
    }
}
