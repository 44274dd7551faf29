//! Registers go out to peers, and come in.

use crate::commits::After;
use crate::engine::Engine;
use crate::ids::{Arrival, LinkId};
use crate::limits::{ACTORS_MAX, BATCH_REGISTERS_MAX};
use crate::message::{Batch, Cursor, Message, Role};
use crate::tree::store::Applied;

impl Engine {
    /// Sends every live peer what it lacks, as far as its window allows.
    pub(crate) fn pump_registers(&mut self) {
        let (upto, knowledge) = (self.told.0, &self.told.1);
        let mut batches = alloc::vec::Vec::new();
        for (&id, link) in &mut self.links.links {
            if !link.is_greeted() {
                continue;
            }
            // A guest, or a joiner that made no change, has nothing that its host lacks; its
            // host tells it even that there is nothing.
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
        if self.config.role == Role::Full && !batch.registers.is_empty() {
            self.broken(link, "it changed a folder that takes no changes");
            return;
        }
        if role == Role::Guest && !batch.registers.is_empty() {
            self.broken(link, "it changed a folder as a guest");
            return;
        }
        sender.taken = batch.upto;
        self.counters.registers_received += batch.registers.len() as u64;
        for register in batch.registers {
            match self.absorb(register) {
                Applied::Stored { .. } | Applied::Known => {}
                Applied::Refused(why) => {
                    self.broken(link, why);
                    return;
                }
            }
        }
        if let Some(knowledge) = batch.knowledge {
            if knowledge.actors() > ACTORS_MAX {
                self.broken(link, "its knowledge has more actors than there can be");
                return;
            }
            if let Some(told) = self.links.links.get_mut(&link) {
                told.outbox.theirs.merge(&knowledge);
            }
            // Who takes no registers learns nothing: it would count as known what nobody made,
            // and others would never be told of it once it is.
            if self.config.role != Role::Full {
                self.me.knowledge.merge(&knowledge);
                self.me.complete = true;
                self.news = true;
            }
        }
        if let Some(known) = self.links.peers.get_mut(&peer) {
            known.cursor = Some(Cursor {
                epoch,
                upto: batch.upto,
            });
        }
        self.remember_peer(peer);
        self.commits.then(After::Ack {
            link,
            upto: batch.upto,
        });
    }
}
