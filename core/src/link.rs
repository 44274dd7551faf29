//! Links: one connection to a peer, from its dialling to its end; and the peers they lead to.
//!
//! Law: a peer has at most one link that was greeted. A link that is silent for longer than a
//! heartbeat is probed, then suspect, then gone; whoever dialled it dials again, after a backoff
//! that a live link resets.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::exchange::Outbox;
use crate::fetch::backoff::Backoff;
use crate::ids::{ActorId, Arrival, LinkId, NodeId, PeerId};
use crate::label::Label;
use crate::limits::FORMER_ACTORS_MAX;
use crate::message::{Cursor, Refusal, Role};
use crate::status::LinkState;
use crate::time::Time;

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose key is at the other end.
    pub peer: PeerId,
    /// Whether we dialled it.
    pub ours: bool,
    /// How it stands; never `Gone`, since a link that is gone is not kept.
    pub state: LinkState,
    /// When it came to be, or was greeted.
    pub since: Time,
    /// When the peer was last heard of.
    pub heard: Time,
    /// When it was last probed without an answer.
    pub probed: Option<Time>,
    /// As what the peer came; known once it is greeted.
    pub role: Role,
    /// The peer's session; known once it is greeted.
    pub session: u64,
    /// The peer's incarnation; known once it is greeted.
    pub actor: ActorId,
    /// The epoch of the peer's arrivals; known once it is greeted.
    pub epoch: u64,
    /// Whether the peer takes changes; known once it is greeted.
    pub takes_changes: bool,
    /// Whether what the peer tells of is to be fetched; known once it is greeted.
    pub pushes: bool,
    /// The registers that go to the peer.
    pub outbox: Outbox,
    /// Up to where the peer's registers were taken in.
    pub taken: Arrival,
    /// Batches of the peer's that are not stored yet.
    pub unacked: u32,
    /// When an answer to a fetch last came on it.
    pub brought: Time,
    /// Bytes asked for on this link and not stored yet.
    pub in_flight: u64,
    /// Files whose lanes are open on it.
    pub lanes: BTreeSet<NodeId>,
    /// Chunks that the peer asked for and that are not answered.
    pub asks: usize,
}

impl Link {
    /// Returns a link that has just come to be.
    pub(crate) fn new(peer: PeerId, ours: bool, now: Time) -> Self {
        let state = if ours {
            LinkState::Dialling
        } else {
            LinkState::Greeting
        };
        Self {
            peer,
            ours,
            state,
            since: now,
            heard: now,
            probed: None,
            role: Role::Guest,
            session: 0,
            actor: ActorId(0),
            epoch: 0,
            takes_changes: false,
            pushes: false,
            outbox: Outbox::default(),
            taken: Arrival(0),
            brought: now,
            unacked: 0,
            in_flight: 0,
            lanes: BTreeSet::new(),
            asks: 0,
        }
    }

    /// Returns whether the hellos were exchanged.
    pub(crate) fn is_greeted(&self) -> bool {
        match self.state {
            LinkState::Live | LinkState::Suspect => true,
            LinkState::Dialling | LinkState::Greeting | LinkState::Gone => false,
        }
    }

    /// Returns whether its peer is sent what is here, by one who may change things or may not: what
    /// was changed here before its host took no more stays here.
    pub(crate) fn is_told(&self, by_writer: bool) -> bool {
        !by_writer || self.role != Role::Full || self.takes_changes
    }
}

/// Why we do not get through to a peer that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Barred {
    /// It said so.
    #[error("{0}")]
    Refused(Refusal),
    /// It is somebody else.
    #[error("another key answers at its address; ask for a new ticket")]
    WrongKey,
    /// The host that it is has lost updates that are known here.
    #[error(
        "its metadata were rebuilt or restored, and changes that are known here are lost there; \
         stop, and join again with a new store (--store)"
    )]
    HostForgot,
    /// It knows updates that were lost here.
    #[error(
        "the metadata of this folder were rebuilt or restored, and changes that it knows are lost \
         here; it has to join again with a new store"
    )]
    Forgot,
}

impl Barred {
    /// Tells whether trying again may help without anybody doing anything.
    pub(crate) fn is_passing(self) -> bool {
        match self {
            Self::Refused(why) => why.is_passing(),
            // It comes in, and is hung up on when it tells what was lost.
            Self::HostForgot | Self::Forgot => true,
            Self::WrongKey => false,
        }
    }
}

/// A peer that is dialled, or that was ever let in.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What it calls itself.
    pub name: Option<Label>,
    /// As what it comes.
    pub role: Option<Role>,
    /// Its greeted link, or the one that we dial.
    pub link: Option<LinkId>,
    /// Whether it is dialled by us.
    pub dialled: bool,
    /// The delays between our attempts.
    pub backoff: Backoff,
    /// Since when there has been no greeted link; `None` while there is one.
    pub gone: Option<Time>,
    /// When it was last heard of.
    pub heard: Option<Time>,
    /// Why it does not let us in.
    pub refused: Option<Barred>,
    /// Whether it was said that one of us has lost what the other knows.
    pub parted: bool,
    /// Where we stand in its stream.
    pub cursor: Option<Cursor>,
    /// Where we do as far as it is stored.
    pub stored: Option<Cursor>,
    /// Whether it takes changes, as it last said.
    pub takes_changes: Option<bool>,
    /// The incarnations that it has said are its own, the latest at the end.
    pub actors: Vec<ActorId>,
}

impl Peer {
    /// Returns a peer without a link.
    pub(crate) fn new(dialled: bool, now: Time) -> Self {
        Self {
            name: None,
            role: None,
            link: None,
            dialled,
            backoff: Backoff::of_dial(),
            gone: Some(now),
            heard: None,
            refused: None,
            parted: false,
            cursor: None,
            stored: None,
            takes_changes: None,
            actors: Vec::new(),
        }
    }

    /// Notes an incarnation that it says is its own.
    pub(crate) fn is_called(&mut self, actor: ActorId) {
        self.actors.retain(|known| *known != actor);
        if self.actors.len() > FORMER_ACTORS_MAX {
            self.actors.remove(0);
        }
        self.actors.push(actor);
    }
}

/// All links and peers.
#[derive(Debug, Default)]
pub(crate) struct Links {
    next: u64,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
}

impl Links {
    /// Draws the number of a link that we dial: even ones are ours.
    pub(crate) fn draw(&mut self) -> LinkId {
        self.next += 2;
        LinkId(self.next)
    }

    /// Returns the greeted link to a peer.
    pub(crate) fn live(&self, peer: PeerId) -> Option<LinkId> {
        let link = self.peers.get(&peer)?.link?;
        self.links.get(&link)?.is_greeted().then_some(link)
    }

    /// Returns the links that were accepted and not greeted yet.
    pub(crate) fn greeting(&self) -> usize {
        let waiting = |link: &&Link| !link.ours && !link.is_greeted();
        self.links.values().filter(waiting).count()
    }
}
