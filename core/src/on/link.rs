//! Links come, greet, fall silent and go.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::ToString;

use crate::action::Action;
use crate::engine::{Engine, Invite};
use crate::error::Fault;
use crate::event::LinkDown;
use crate::exchange::Outbox;
use crate::ids::{Arrival, LinkId, PeerId};
use crate::limits::{ACTORS_MAX, GREETING_DEADLINE, GREETING_MAX};
use crate::link::{Barred, Link, Peer};
use crate::message::{Cursor, Hello, Message, PROTOCOL, Refusal, Role};
use crate::mutant::Mutant;
use crate::records::{self, Known};
use crate::status::LinkState;
use crate::thrown::Thrown;
use crate::time::{Duration, Time};
use crate::timers::Timer;

/// How long to wait before dialling a peer that has refused us for good: somebody has to do
/// something first, and may.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// How long dialling may take before the attempt is given up: the shell's own bound is shorter,
/// this one holds should it not keep it.
const DIAL_DEADLINE: Duration = Duration::from_secs(20);

impl Engine {
    /// Dials a peer, unless there is a link already.
    pub(crate) fn dial(&mut self, peer: PeerId) {
        let link = self.links.draw();
        let Some(whom) = self.links.peers.get_mut(&peer) else {
            return;
        };
        if whom.link.is_some() || self.stopping {
            return;
        }
        whom.link = Some(link);
        self.links
            .links
            .insert(link, Link::new(peer, true, self.now));
        self.timers.set(Timer::Link(link), self.now + DIAL_DEADLINE);
        self.act(Action::Dial { link, peer });
    }

    /// A connection that we dialled is there: we speak first.
    pub(crate) fn on_dialled(&mut self, link: LinkId) {
        let now = self.now;
        let Some(dialled) = self.links.links.get_mut(&link) else {
            return;
        };
        dialled.state = LinkState::Greeting;
        dialled.since = now;
        dialled.heard = now;
        let peer = dialled.peer;
        let secret = self.config.host.as_ref().and_then(|host| host.secret);
        let hello = self.hello(peer, secret);
        self.say(link, Message::Hello(hello));
        self.timers.set(Timer::Link(link), now + GREETING_DEADLINE);
    }

    /// Somebody connected: it has to say hello.
    pub(crate) fn on_accepted(&mut self, link: LinkId, peer: PeerId) {
        if self.stopping || self.links.greeting() >= GREETING_MAX {
            self.act(Action::Close { link });
            return;
        }
        self.links
            .links
            .insert(link, Link::new(peer, false, self.now));
        self.timers
            .set(Timer::Link(link), self.now + GREETING_DEADLINE);
    }

    fn hello(&self, peer: PeerId, secret: Option<crate::message::Secret>) -> Hello {
        // A kill could take what is not stored; and it is taken for an acknowledgement.
        let cursor = self.links.peers.get(&peer).and_then(|known| known.stored);
        Hello {
            protocol: PROTOCOL,
            folder: self.me.folder,
            role: self.config.role,
            name: self.config.name.clone(),
            secret,
            session: self.session,
            actor: self.me.actor,
            epoch: self.me.epoch,
            knowledge: self.told.1.clone(),
            cursor,
            takes_changes: self.config.writable,
            pushes: self.config.push,
        }
    }

    /// Says something on a link.
    pub(crate) fn say(&mut self, link: LinkId, message: Message) {
        match message {
            Message::Ping | Message::Pong => self.counters.heartbeats_sent += 1,
            Message::Hello(_)
            | Message::Refused(_)
            | Message::Registers(_)
            | Message::Ack(_)
            | Message::Bye => self.counters.messages_sent += 1,
        }
        self.act(Action::Send { link, message });
    }

    /// A peer said something.
    pub(crate) fn on_said(&mut self, link: LinkId, message: Message) {
        let Some(speaker) = self.links.links.get(&link) else {
            return;
        };
        let is_greeted = speaker.is_greeted();
        self.heard_on(link);
        match message {
            Message::Ping | Message::Pong => {}
            Message::Hello(_)
            | Message::Refused(_)
            | Message::Registers(_)
            | Message::Ack(_)
            | Message::Bye => self.counters.messages_received += 1,
        }
        match (is_greeted, message) {
            (false, Message::Hello(hello)) => self.on_hello(link, hello),
            (false, Message::Refused(why)) => self.on_refused(link, why),
            (true, Message::Registers(batch)) => self.on_registers(link, batch),
            (true, Message::Ack(upto)) => self.on_ack(link, upto),
            (true, Message::Ping) => self.say(link, Message::Pong),
            (true, Message::Pong) => {}
            (_, Message::Bye) => self.drop_link(link),
            (true, Message::Hello(_)) => self.broken(link, "it said hello twice"),
            (true, Message::Refused(why)) if self.may_be_ended(link, why) => {
                self.on_refused(link, why);
            }
            (true, Message::Refused(_)) => self.broken(link, "it refused after its hello"),
            (false, Message::Registers(_) | Message::Ack(_) | Message::Ping | Message::Pong) => {
                self.broken(link, "it spoke before its hello");
            }
        }
    }

    /// Notes that a link's peer is there.
    pub(crate) fn heard_on(&mut self, link: LinkId) {
        let now = self.now;
        let heartbeat = self.config.heartbeat;
        let Some(speaker) = self.links.links.get_mut(&link) else {
            return;
        };
        speaker.heard = now;
        speaker.probed = None;
        if speaker.state == LinkState::Suspect {
            speaker.state = LinkState::Live;
        }
        if speaker.is_greeted() {
            if let Some(peer) = self.links.peers.get_mut(&speaker.peer) {
                peer.heard = Some(now);
            }
            self.timers.set(Timer::Link(link), now + heartbeat);
        }
    }

    /// The other side has introduced itself.
    fn on_hello(&mut self, link: LinkId, hello: Hello) {
        let Some(greeting) = self.links.links.get(&link) else {
            return;
        };
        let (peer, ours) = (greeting.peer, greeting.ours);
        if let Err(why) = self.admit(link, peer, ours, &hello) {
            if why != Refusal::Removed {
                // Of one that was removed the operator knows, and it comes again for ever.
                self.fault(Fault::Turned {
                    peer,
                    name: hello.name,
                    why,
                });
            }
            self.say(link, Message::Refused(why));
            self.drop_link(link);
            return;
        }
        if hello.knowledge.actors() > ACTORS_MAX {
            self.broken(link, "its knowledge has more actors than there can be");
            return;
        }
        // A guest has no say, and no past with us.
        let is_guest = hello.role == Role::Guest;
        if !is_guest && hello.knowledge.counter(self.me.actor) > self.me.counter {
            // It knows updates of ours that we do not: our store is older than it was.
            self.reincarnate();
        }
        if !ours {
            let ours = self.hello(peer, None);
            self.say(link, Message::Hello(ours));
        }
        let parted = self
            .is_parted(&hello)
            .then(|| (hello.role, hello.name.clone()));
        if self.me.folder.is_none() {
            self.me.folder = hello.folder;
            self.news = true;
        }
        self.greet(link, peer, hello);
        if let Some((role, name)) = parted {
            self.tell_parted(peer, role, name);
        }
    }

    /// Decides whether a peer is let in (or, if we dialled it, whether it is whom we meant).
    fn admit(
        &mut self,
        link: LinkId,
        peer: PeerId,
        ours: bool,
        hello: &Hello,
    ) -> Result<(), Refusal> {
        if self.removed.contains_key(&peer) && !self.has(Mutant::RemovedLetIn) {
            return Err(Refusal::Removed);
        }
        if !ours && !self.is_paired(peer, hello) {
            // Nothing else is told to a stranger: not even that the versions differ.
            return Err(Refusal::NotPaired);
        }
        if hello.protocol != PROTOCOL {
            return Err(Refusal::Protocol);
        }
        let is_other = match (self.me.folder, hello.folder) {
            (Some(mine), Some(theirs)) => mine != theirs,
            (None, None) => true,
            (Some(_), None) => ours,
            (None, Some(_)) => false,
        };
        if is_other {
            return Err(Refusal::OtherFolder);
        }
        let standing = self.links.live(peer).filter(|standing| *standing != link);
        if let Some(standing) = standing {
            let is_same = self
                .links
                .links
                .get(&standing)
                .is_some_and(|standing| standing.session == hello.session);
            if !is_same {
                // Its old process may be dead and its connection not yet: then the probe finds
                // out, and the next attempt gets in.
                self.probe(standing);
                return Err(Refusal::Busy);
            }
            self.drop_link(standing);
        }
        Ok(())
    }

    /// Returns whether a key belongs to a peer that may come in; a secret binds to the first
    /// guest and the first joining peer that present it.
    fn is_paired(&mut self, peer: PeerId, hello: &Hello) -> bool {
        let is_guest = hello.role == Role::Guest;
        let is_parted = self.is_parted(hello);
        let invites: alloc::vec::Vec<Invite> = self.config.invites.clone();
        for invite in invites {
            let bound = self.bound.entry(invite.id).or_default().clone();
            if self.has_ended(&bound) {
                continue;
            }
            let is_closed = self.takes_nobody_new(&bound);
            let bound = self.bound.entry(invite.id).or_default();
            let place = if is_guest {
                &mut bound.guest
            } else {
                &mut bound.member
            };
            if *place == Some(peer) {
                return true;
            }
            if place.is_none() && !is_closed && hello.secret == Some(invite.secret) {
                if is_parted {
                    // It can't go on; the place stays free for the store that takes its place.
                    return true;
                }
                *place = Some(peer);
                let value = records::encode(bound);
                self.commits.put(records::bound(invite.id), value);
                self.commits.harden();
                return true;
            }
        }
        false
    }

    /// Both sides have said hello: the link is live.
    fn greet(&mut self, link: LinkId, peer: PeerId, hello: Hello) {
        let now = self.now;
        if self.has(Mutant::KnowledgeEarly) {
            self.me.knowledge.merge(&hello.knowledge);
            self.news = true;
        }
        if self.has(Mutant::LeaseDropped) {
            self.thrown = Thrown::default();
        }
        let start = match hello.cursor {
            Some(Cursor { epoch, upto }) if epoch == self.me.epoch && upto <= self.told.0 => upto,
            Some(_) | None => Arrival(0),
        };
        if let Some(greeted) = self.links.links.get_mut(&link) {
            greeted.state = LinkState::Live;
            greeted.since = now;
            greeted.role = hello.role;
            greeted.session = hello.session;
            greeted.actor = hello.actor;
            greeted.epoch = hello.epoch;
            greeted.takes_changes = hello.takes_changes;
            greeted.pushes = hello.pushes;
            greeted.outbox = Outbox {
                cursor: start,
                said: start,
                acked: start,
                theirs: hello.knowledge,
                heard: BTreeSet::new(),
                in_flight: VecDeque::new(),
                told: false,
            };
        }
        let known = self
            .links
            .peers
            .entry(peer)
            .or_insert_with(|| Peer::new(false, now));
        known.link = Some(link);
        known.gone = None;
        known.heard = Some(now);
        known.refused = None;
        known.backoff.progress();
        known.name = Some(hello.name);
        known.role = Some(hello.role);
        known.takes_changes = Some(hello.takes_changes);
        known.is_called(hello.actor);
        if known
            .cursor
            .is_some_and(|cursor| cursor.epoch != hello.epoch)
        {
            (known.cursor, known.stored) = (None, None);
        }
        if known.role == Some(Role::Full)
            && let Some(theirs) = self
                .links
                .links
                .get(&link)
                .map(|it| it.outbox.theirs.clone())
        {
            self.bury_unbacked(&theirs);
        }
        self.counters.links += 1;
        self.timers.cancel(Timer::Dial(peer));
        self.timers
            .set(Timer::Link(link), now + self.config.heartbeat);
        self.remember_peer(peer);
        if self.config.host.is_some() && self.source() == Some(link) {
            self.fetches_resume();
            self.review_all_kept_back();
        } else if self.places_changes() && hello.role == Role::Sparse {
            self.unstick();
            self.fetches_resume();
        }
    }

    /// Has stored what is known of a peer. Guests leave no trace but their binding.
    pub(crate) fn remember_peer(&mut self, peer: PeerId) {
        let Some(known) = self.links.peers.get(&peer) else {
            return;
        };
        let (Some(name), Some(role)) = (known.name.clone(), known.role) else {
            return;
        };
        if role != Role::Guest {
            let value = Known {
                name,
                role,
                cursor: known.cursor,
                takes_changes: known.takes_changes.unwrap_or(false),
                actors: known.actors.clone(),
            };
            self.commits
                .put(records::peer(peer), records::encode_known(&value));
        }
    }

    /// Returns whether a peer may end a link that was greeted for this reason: who was let in can be
    /// removed, and with it who came by its ticket.
    fn may_be_ended(&self, link: LinkId, why: Refusal) -> bool {
        let is_ours = self.links.links.get(&link).is_some_and(|link| link.ours);
        match why {
            Refusal::Removed | Refusal::NotPaired => is_ours,
            Refusal::Protocol | Refusal::OtherFolder | Refusal::Busy | Refusal::Broken => false,
        }
    }

    /// The peer does not let us in, or not any more.
    fn on_refused(&mut self, link: LinkId, why: Refusal) {
        let Some(peer) = self.links.links.get(&link).map(|refused| refused.peer) else {
            return;
        };
        if let Some(known) = self.links.peers.get_mut(&peer) {
            known.refused = Some(Barred::Refused(why));
        }
        self.fault(Fault::Refused { peer, why });
        self.drop_link(link);
    }

    /// The peer broke a rule.
    pub(crate) fn broken(&mut self, link: LinkId, what: &'static str) {
        if let Some(peer) = self.links.links.get(&link).map(|broken| broken.peer) {
            self.fault(Fault::Protocol { peer, what });
        }
        self.drop_link(link);
    }

    /// Closes a link.
    pub(crate) fn drop_link(&mut self, link: LinkId) {
        self.act(Action::Close { link });
        self.link_ended(link);
    }

    /// A link has ended by itself.
    pub(crate) fn on_link_down(&mut self, link: LinkId, why: LinkDown) {
        if why == LinkDown::Garbled
            && let Some(peer) = self.links.links.get(&link).map(|garbled| garbled.peer)
        {
            let what = "it sent what can't be decoded, or more than a bound allows";
            self.fault(Fault::Protocol { peer, what });
        }
        if why == LinkDown::WrongKey {
            let peer = self.links.links.get(&link).map(|link| link.peer);
            if let Some(known) = peer.and_then(|peer| self.links.peers.get_mut(&peer)) {
                known.refused = Some(Barred::WrongKey);
            }
        }
        self.link_ended(link);
    }

    /// Clears up after a link, and plans the next one.
    fn link_ended(&mut self, link: LinkId) {
        let Some(ended) = self.links.links.remove(&link) else {
            return;
        };
        self.timers.cancel(Timer::Link(link));
        self.fetches_lost(link);
        self.asks_lost(link);
        let jitter = self.rng.next_u8();
        let now = self.now;
        let Some(peer) = self.links.peers.get_mut(&ended.peer) else {
            return;
        };
        if peer.link != Some(link) {
            return;
        }
        peer.link = None;
        peer.gone.get_or_insert(now);
        let is_dialled = peer.dialled && !self.stopping;
        if is_dialled {
            let passing = peer.refused.is_none_or(Barred::is_passing);
            let delay = peer.backoff.next_delay(jitter).unwrap_or(REFUSED_RETRY);
            let delay = if passing {
                delay
            } else {
                delay.max(REFUSED_RETRY)
            };
            self.timers.set(Timer::Dial(ended.peer), now + delay);
        }
        self.give_up_wants();
    }

    /// Asks a link's peer whether it is there.
    fn probe(&mut self, link: LinkId) {
        let now = self.now;
        let patience = self.config.heartbeat;
        let Some(probed) = self.links.links.get_mut(&link) else {
            return;
        };
        probed.probed.get_or_insert(now);
        self.say(link, Message::Ping);
        self.timers.set(Timer::Link(link), now + patience);
    }

    /// A link has been silent, or has not greeted in time.
    pub(crate) fn link_silent(&mut self, link: LinkId) {
        let Some(silent) = self.links.links.get_mut(&link) else {
            return;
        };
        match silent.state {
            LinkState::Dialling | LinkState::Greeting | LinkState::Gone => self.drop_link(link),
            LinkState::Live | LinkState::Suspect => {
                let silence = self.now.since(silent.heard);
                if silence >= self.config.heartbeat * self.config.misses.saturating_add(1) {
                    self.drop_link(link);
                    return;
                }
                if silent.probed.is_some() {
                    silent.state = LinkState::Suspect;
                }
                self.probe(link);
            }
        }
    }

    /// Returns for how long nobody could be asked for chunks; `None` while somebody can.
    pub(crate) fn unreachable_for(&self) -> Option<Duration> {
        let host = self.config.host.as_ref()?;
        let gone: Time = self.links.peers.get(&host.peer)?.gone?;
        Some(self.now.since(gone))
    }

    /// Returns whether nobody could be asked for so long that waiting is of no use.
    pub(crate) fn is_given_up(&self) -> bool {
        self.stopping
            || self
                .unreachable_for()
                .is_some_and(|gone| gone >= self.config.read_deadline)
    }

    /// Returns why a peer refuses us, in words.
    pub(crate) fn refusal_of(peer: &Peer) -> Option<alloc::string::String> {
        peer.refused.map(|why| why.to_string())
    }
}
