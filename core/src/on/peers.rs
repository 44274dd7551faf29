//! Peers are listed, and removed.
//!
//! Law: from the event that removes a peer on nothing is told to it but that, nothing it says
//! counts, and its key is refused. Who removed it is answered once that survives power loss.
//! What it has told stays; its word is not waited for any more: what shows and was made by it alone
//! does not count as not yet *synced*, since nobody can bring it.
//!
//! A ticket is handed to one person, who may look with it as a guest as well: it ends with the
//! joining peer that it let in. Else who was removed would look on, under another key.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::Action;
use crate::commits::After;
use crate::engine::{Engine, Invite};
use crate::ids::{ActorId, LinkId, NodeId, PeerId, ReqId};
use crate::limits::WAITING_TOLD_MAX;
use crate::message::{Message, Refusal, Role};
use crate::mutant::Mutant;
use crate::peers::{Listed, Removed, Unremoved};
use crate::records::{self, Bound, Gone};
use crate::status::{LinkState, PeerStatus, WaitingFile};
use crate::time::Time;

impl Engine {
    /// Returns everybody who was ever let in, or is dialled, and who was removed.
    pub fn peers(&self, now: Time) -> Vec<Listed> {
        let is_removed = false;
        let known = self.peer_statuses(now).into_iter();
        let known = known.map(|status| Listed { status, is_removed });
        let mut all: Vec<Listed> = known.collect();
        // Of a guest that is not here only its binding is left.
        let bound = self.bound.values().filter(|bound| !self.has_ended(bound));
        let guests: BTreeSet<PeerId> = bound.filter_map(|bound| bound.guest).collect();
        let is_known =
            |peer: &PeerId| self.links.peers.contains_key(peer) || self.removed.contains_key(peer);
        let guests = guests.into_iter().filter(|guest| !is_known(guest));
        all.extend(guests.map(|peer| Listed {
            status: absent(peer, None, Some(Role::Guest)),
            is_removed,
        }));
        all.extend(self.removed.iter().map(|(peer, gone)| Listed {
            status: absent(*peer, gone.name.clone(), gone.role),
            is_removed: true,
        }));
        all
    }

    /// Returns the invitations that let a joining peer or a guest in, and still do.
    pub fn invites_of(&self, peer: PeerId) -> Vec<u64> {
        let bound = self.bound.iter().filter(|(_, bound)| {
            bound.names(peer) && !self.has_ended(bound) && !self.removed.contains_key(&peer)
        });
        bound.map(|(invite, _)| *invite).collect()
    }

    /// A further invitation was given out.
    pub(crate) fn on_invited(&mut self, invite: Invite) {
        self.config.invites.push(invite);
    }

    /// A user removes a peer.
    pub(crate) fn on_remove(&mut self, req: ReqId, peer: PeerId) {
        match self.remove_peer(peer) {
            Ok(removed) => self.commits.then(After::Removed { req, removed }),
            Err(why) => {
                let result = Err(why);
                self.act(Action::Removed { req, result });
            }
        }
    }

    fn remove_peer(&mut self, peer: PeerId) -> Result<Removed, Unremoved> {
        self.may_remove(peer)?;
        let known = self.links.peers.get(&peer);
        let gone = Gone {
            name: known.and_then(|known| known.name.clone()),
            role: known.and_then(|known| known.role),
            actors: self.actors_of(peer),
        };
        let guests = self.guests_of_ended_tickets(peer);
        self.commits
            .put(records::removed(peer), records::encode(&gone));
        self.commits.remove(records::peer(peer));
        self.commits.harden();
        let name = gone.name.clone();
        self.removed.insert(peer, gone);
        self.hang_up(peer, Refusal::Removed);
        for guest in &guests {
            self.hang_up(*guest, Refusal::NotPaired);
            self.links.peers.remove(guest);
        }
        self.links.peers.remove(&peer);
        let (unheld, waiting) = self.wait_no_longer();
        Ok(Removed {
            peer,
            name,
            guests,
            unheld,
            waiting,
        })
    }

    fn may_remove(&self, peer: PeerId) -> Result<(), Unremoved> {
        if self.stopping {
            return Err(Unremoved::Stopping);
        }
        if peer == self.config.me {
            return Err(Unremoved::Oneself);
        }
        if self.config.role != Role::Full {
            return Err(Unremoved::NotShared);
        }
        if self.removed.contains_key(&peer) {
            return Err(Unremoved::Already);
        }
        let is_bound = self.bound.values().any(|bound| bound.names(peer));
        if !is_bound && !self.links.peers.contains_key(&peer) {
            return Err(Unremoved::Unknown);
        }
        Ok(())
    }

    /// Returns the incarnations that a peer alone has said are its own: it may say what it likes.
    fn actors_of(&self, peer: PeerId) -> Vec<ActorId> {
        let Some(known) = self.links.peers.get(&peer) else {
            return Vec::new();
        };
        let others = self.links.peers.iter().filter(|(other, _)| **other != peer);
        let others: BTreeSet<ActorId> = others.flat_map(|(_, it)| it.actors.clone()).collect();
        let actors = known.actors.iter().copied();
        actors
            .filter(|actor| !others.contains(actor) && !self.me.is(*actor))
            .collect()
    }

    /// Returns the guests that came in by the tickets of a joining peer, and by no other.
    fn guests_of_ended_tickets(&self, peer: PeerId) -> Vec<PeerId> {
        let has_ended = |bound: &&Bound| bound.member == Some(peer);
        let ended = self.bound.values().filter(has_ended);
        let guests: BTreeSet<PeerId> = ended.filter_map(|bound| bound.guest).collect();
        let comes_else = |guest: &PeerId| {
            let mut others = self.bound.values().filter(|bound| !has_ended(bound));
            others.any(|bound| bound.guest == Some(*guest) && !self.has_ended(bound))
        };
        let guests = guests.into_iter().filter(|guest| !comes_else(guest));
        guests
            .filter(|guest| *guest != peer && !self.removed.contains_key(guest))
            .collect()
    }

    /// Returns whether an invitation lets nobody in any more: the joining peer that it let in was
    /// removed.
    pub(crate) fn has_ended(&self, bound: &Bound) -> bool {
        let member = bound.member;
        member.is_some_and(|member| self.removed.contains_key(&member))
            && !self.has(Mutant::RemovedLetIn)
    }

    /// Returns whether an invitation lets in nobody but those whom it let in before.
    pub(crate) fn takes_nobody_new(&self, bound: &Bound) -> bool {
        let guest = bound.guest;
        guest.is_some_and(|guest| self.removed.contains_key(&guest))
    }

    /// Ends all links of a peer, and says why.
    fn hang_up(&mut self, peer: PeerId, why: Refusal) {
        let links = self.links.links.iter();
        let links = links.filter(|(_, link)| link.peer == peer);
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for link in links {
            self.say(link, Message::Refused(why));
            self.drop_link(link);
        }
    }

    /// Has what only removed peers may have all of wait no longer; returns how many files that is
    /// about, and the first of them.
    fn wait_no_longer(&mut self) -> (u64, Vec<WaitingFile>) {
        let unheld = self.unheld.iter().copied();
        let over: Vec<NodeId> = unheld
            .filter(|node| !self.waits_to_be_held(*node))
            .collect();
        for node in &over {
            self.unheld.remove(node);
        }
        let told = over.iter().take(WAITING_TOLD_MAX);
        let told = told.map(|node| self.waiting_file(*node)).collect();
        (over.len() as u64, told)
    }

    /// Returns whether an update was made by a peer that was removed.
    pub(crate) fn is_of_removed(&self, actor: ActorId) -> bool {
        let mut removed = self.removed.values();
        removed.any(|gone| gone.actors.contains(&actor))
    }
}

/// Returns the picture of a peer that is not here.
fn absent(peer: PeerId, name: Option<crate::label::Label>, role: Option<Role>) -> PeerStatus {
    PeerStatus {
        peer,
        name,
        role,
        link: LinkState::Gone,
        attempts: 0,
        next_attempt_ms: None,
        heard_ms: None,
        refused: None,
        behind: 0,
    }
}
