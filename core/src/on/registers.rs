//! Registers go out to peers, and come in.

use crate::commits::After;
use crate::engine::Engine;
use crate::ids::{ActorId, Arrival, Dot, LinkId};
use crate::limits::{ACTORS_MAX, BATCH_REGISTERS_MAX, BATCHES_IN_FLIGHT_MAX, LAMPORT_LEAP_MAX};
use crate::message::{Batch, Cursor, Message, Role};
use crate::mutant::Mutant;
use crate::tree::register::Register;
use crate::tree::store::Applied;
use crate::version::VersionVector;

impl Engine {
    /// Sends every live peer what it lacks, as far as its window allows.
    pub(crate) fn pump_registers(&mut self) {
        if self.config.role == Role::Guest {
            // It changes nothing, and what it was told is not its to tell.
            return;
        }
        let (upto, knowledge) = (self.told.0, &self.told.1);
        let mut batches = alloc::vec::Vec::new();
        for (&id, link) in &mut self.links.links {
            if !link.is_greeted() {
                continue;
            }
            if !link.is_told(self.config.writable) {
                continue;
            }
            // A joiner that made no change has nothing that its host lacks; its host tells it even
            // that there is nothing.
            let registers = self.tree.registers();
            while let Some(batch) = link.outbox.next_batch(registers, upto, knowledge) {
                batches.push((id, batch));
            }
        }
        for (link, batch) in batches {
            self.counters.registers_sent += batch.registers.len() as u64;
            self.say(link, Message::Registers(batch));
        }
    }

    /// A peer has stored a batch.
    pub(crate) fn on_ack(&mut self, link: LinkId, upto: Arrival) {
        let Some(acked) = self.links.links.get_mut(&link) else {
            return;
        };
        if !acked.outbox.ack(upto) {
            self.broken(link, "it acknowledged what it was not sent");
        }
    }

    /// A peer has sent registers.
    pub(crate) fn on_registers(&mut self, link: LinkId, batch: Batch) {
        let Some(sender) = self.links.links.get_mut(&link) else {
            return;
        };
        let (peer, epoch, role) = (sender.peer, sender.epoch, sender.role);
        if batch.upto < sender.taken || batch.registers.len() > BATCH_REGISTERS_MAX {
            self.broken(link, "its batch of registers is out of order or too large");
            return;
        }
        let takes_changes = self.config.role != Role::Full || self.config.writable;
        if !takes_changes && !batch.registers.is_empty() {
            self.broken(link, "it changed a folder that takes no changes");
            return;
        }
        if role == Role::Guest && !batch.registers.is_empty() {
            self.broken(link, "it changed a folder as a guest");
            return;
        }
        if sender.unacked >= BATCHES_IN_FLIGHT_MAX {
            self.broken(link, "it does not wait for its batches to be acknowledged");
            return;
        }
        sender.unacked += 1;
        sender.taken = batch.upto;
        self.counters.registers_received += batch.registers.len() as u64;
        for register in batch.registers {
            let stamp = register.stamp();
            let known = self.tree.registers().lamport();
            if stamp.lamport.0.saturating_sub(known.0) > LAMPORT_LEAP_MAX {
                self.broken(link, "a Lamport time is too far ahead");
                return;
            }
            self.foresee(stamp.dot.counter, stamp.dot.actor);
            if let Some(sender) = self.links.links.get_mut(&link) {
                sender.outbox.hear(stamp.dot);
            }
            if self.has(Mutant::NewsDropped)
                && let Register::Attrs(attrs) = &register
                && self.tree.node(attrs.node).is_some()
            {
                continue;
            }
            self.note_pushed(link, &register);
            match self.absorb(register) {
                Applied::Stored { .. } | Applied::Known => {}
                Applied::Refused(why) => {
                    self.broken(link, why);
                    return;
                }
            }
        }
        if let Some(knowledge) = batch.knowledge {
            if takes_changes && role != Role::Guest {
                self.foresee(knowledge.counter(self.me.actor), self.me.actor);
            }
            if !self.learn(link, &knowledge, role) {
                self.broken(link, "its knowledge has more actors than there can be");
                return;
            }
            self.me.complete = true;
            self.news = true;
            self.queue_pushed();
        }
        if self.places_changes() {
            // What is placed has to be on record.
            self.commits.harden();
        }
        let cursor = Cursor {
            epoch,
            upto: batch.upto,
        };
        if let Some(known) = self.links.peers.get_mut(&peer) {
            known.cursor = Some(cursor);
        }
        self.remember_peer(peer);
        self.commits.then(After::Ack { link, peer, cursor });
    }

    /// Becomes another actor if an update that is spoken of is one that we are yet to make:
    /// either our store is older than it was, or somebody would have our next updates taken for
    /// known.
    pub(crate) fn foresee(&mut self, counter: u64, actor: ActorId) {
        if actor == self.me.actor && counter > self.me.counter {
            self.reincarnate();
        }
    }

    /// Takes in what a peer knows; false if that names too many actors, and then nothing is.
    fn learn(&mut self, link: LinkId, knowledge: &VersionVector, role: Role) -> bool {
        let Some(told) = self.links.links.get_mut(&link) else {
            return true;
        };
        let mut theirs = told.outbox.theirs.clone();
        theirs.merge(knowledge);
        // A replica that takes no changes has nothing to learn from others, and a guest has
        // nothing to tell.
        let takes_changes = self.config.role != Role::Full || self.config.writable;
        let mut ours = self.me.knowledge.clone();
        match (takes_changes, role) {
            (false, _) | (_, Role::Guest) => {}
            // A host has no host, whatever a peer calls itself.
            (true, Role::Full) if self.config.role != Role::Full => ours.merge(knowledge),
            // What a joiner claims beyond what it has told would keep others from telling it.
            (true, Role::Full | Role::Sparse) => {
                let told = self.tree.registers().latest();
                for (actor, counter) in knowledge.iter() {
                    let counter = counter.min(told.counter(actor));
                    ours.cover(Dot { actor, counter });
                }
            }
        }
        if theirs.actors() > ACTORS_MAX || ours.actors() > ACTORS_MAX {
            return false;
        }
        told.outbox.learn(theirs);
        self.me.knowledge = ours;
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::engine::{Config, Invite, Last, Start};
    use crate::event::Event;
    use crate::ids::{ActorId, PeerId};
    use crate::label::Label;
    use crate::message::{FolderId, Hello, PROTOCOL, Secret};
    use crate::time::Time;
    use crate::version::VersionVector;

    const LINK: LinkId = LinkId(1);

    /// A host, and a joiner that it has let in.
    fn visited() -> Engine {
        visited_if(false)
    }

    /// The same; whether the host takes changes is said.
    fn visited_if(writable: bool) -> Engine {
        let secret = Secret([9; 32]);
        let config = Config {
            writable,
            folder: Some(FolderId([7; 16])),
            invites: [Invite { id: 1, secret }].into(),
            ..Config::new(PeerId([1; 32]), Label::lossy("host"), Role::Full)
        };
        let start = Start {
            seed: 7,
            now: Time::ZERO,
            last: Last::Clean,
        };
        let mut engine = Engine::restore(config, start, []).unwrap();
        let peer = PeerId([3; 32]);
        engine.handle(Time::ZERO, Event::Accepted { link: LINK, peer });
        let hello = Message::Hello(Hello {
            protocol: PROTOCOL,
            folder: None,
            role: Role::Sparse,
            name: Label::lossy("mallory"),
            secret: Some(secret),
            session: 1,
            actor: ActorId(3),
            epoch: 1,
            knowledge: VersionVector::new(),
            cursor: None,
            takes_changes: true,
            pushes: false,
        });
        say(&mut engine, hello);
        engine
    }

    fn say(engine: &mut Engine, message: Message) {
        let link = LINK;
        engine.handle(Time::ZERO, Event::Said { link, message });
    }

    fn knows(knowledge: VersionVector) -> Message {
        Message::Registers(Batch {
            upto: Arrival(0),
            registers: Vec::new(),
            knowledge: Some(knowledge),
        })
    }

    /// A joiner said, in an empty batch, that it knew all updates that its host would ever make.
    /// The host took that for its own knowledge, told it to the other joiners, and never sent
    /// them a change again: they knew it already.
    #[test]
    fn a_joiner_does_not_teach_its_host_what_the_host_has_made() {
        let mut engine = visited();
        let ours = engine.me.actor;
        let all = [(ours, u64::MAX), (ActorId(5), 5)].into_iter().collect();
        say(&mut engine, knows(all));
        assert!(engine.links.links.contains_key(&LINK));
        assert_eq!(engine.me.knowledge.counter(ours), engine.me.counter);
        assert_eq!(engine.me.knowledge.counter(ActorId(5)), 0);
    }

    /// The host takes changes. The joiner claimed to know what another was yet to tell: nobody
    /// heard of that, ever.
    #[test]
    fn what_a_joiner_claims_of_others_counts_as_far_as_it_was_told() {
        let mut engine = visited_if(true);
        let ours = engine.me.actor;
        let all = [(ours, 1 << 40), (ActorId(3), 9), (ActorId(5), 5)];
        say(&mut engine, knows(all.into_iter().collect()));
        assert!(engine.links.links.contains_key(&LINK));
        assert_ne!(
            engine.me.actor, ours,
            "its next updates are not among those"
        );
        for (actor, _) in all {
            let told = engine.tree.registers().latest().counter(actor);
            assert_eq!(engine.me.knowledge.counter(actor), told);
        }
    }

    /// Each batch was within its bound, and their sum was not (P6).
    #[test]
    fn a_peer_can_not_name_more_actors_in_many_batches_than_in_one() {
        let mut engine = visited();
        let max = u64::try_from(ACTORS_MAX).unwrap();
        let some = |from: u64| (from..from + max).map(|n| (ActorId(n), 1)).collect();
        say(&mut engine, knows(some(0)));
        assert!(engine.links.links.contains_key(&LINK));
        say(&mut engine, knows(some(1)));
        assert!(!engine.links.links.contains_key(&LINK), "it is let go");
    }
}
