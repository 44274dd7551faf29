//! The start: what the store says is taken in, and the first things are set going.

use alloc::vec::Vec;

use crate::action::DiskWish;
use crate::engine::{Engine, Last, RestoreError, Start};
use crate::ids::ActorId;
use crate::ids::{NodeId, ObjectId};
use crate::link::Peer;
use crate::message::Role;
use crate::on::disk::Job;
use crate::records::{self, Stored};
use crate::tree::store::Applied;

impl Engine {
    /// Takes in what the store holds.
    pub(crate) fn load(
        &mut self,
        start: Start,
        stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<(), RestoreError> {
        let fresh = self.me.clone();
        let mut is_new = true;
        let mut objects = Vec::new();
        for (key, value) in stored {
            match Stored::read(&key, &value)? {
                Stored::Myself(me) => {
                    is_new = false;
                    self.me = me;
                }
                Stored::Register(arrival, register) => {
                    if let Applied::Refused(_) = self.tree.restore(arrival, register) {
                        return Err(RestoreError::Record { key });
                    }
                }
                Stored::Inode(node, ino) => self.inodes.restore(node, ino),
                Stored::Peer(peer, known) => {
                    let mut met = Peer::new(false, self.now);
                    met.name = Some(known.name);
                    met.role = Some(known.role);
                    met.cursor = known.cursor;
                    self.links.peers.insert(peer, met);
                }
                Stored::Bound(invite, bound) => {
                    self.bound.insert(invite, bound);
                }
                Stored::Object(object, holding) => objects.push((object, holding)),
                Stored::Placed(node, placed) => self.folder.place(node, placed),
                Stored::Hash(object, chunk, hash) => {
                    self.hashes.entry(object).or_default().insert(chunk, hash);
                }
            }
        }
        self.tree.settle();
        if self.me.folder.is_none() {
            self.me.folder = fresh.folder;
        }
        if start.last == Last::Lost && !is_new {
            self.reincarnate();
        }
        if start.last != Last::Clean {
            let [high, low, ..] = self.rng.next_u64().to_be_bytes();
            let chance = u16::from_be_bytes([high, low]);
            self.inodes.pass_over(self.me.inodes, chance);
        }
        if self.config.role == Role::Full {
            self.me.complete = true;
        }
        self.news |= is_new;
        self.told = (
            self.tree.registers().last_arrival(),
            self.me.knowledge.clone(),
        );
        for (object, holding) in objects {
            if self.is_needed(object) {
                self.kept.insert(object, holding);
            } else {
                self.discard(object);
            }
        }
        Ok(())
    }

    /// Becomes another actor with another stream: what was told of the former ones may not be
    /// all that is here, and no dot may ever stand for two updates.
    pub(crate) fn reincarnate(&mut self) {
        self.me.actor = ActorId(self.rng.next_u64());
        self.me.epoch = self.rng.next_u64();
        self.me.counter = 0;
        self.news = true;
    }

    /// Sets the first things going.
    pub(crate) fn begin(&mut self) {
        if let Some(host) = self.config.host.clone() {
            let peer = self
                .links
                .peers
                .entry(host.peer)
                .or_insert_with(|| Peer::new(true, self.now));
            peer.dialled = true;
            self.dial(host.peer);
        }
        if self.config.role == Role::Full {
            self.folder.list(NodeId::ROOT);
        }
    }

    /// Removes what is stored of an object that no file shows.
    pub(crate) fn discard(&mut self, object: ObjectId) {
        self.commits.remove(records::object(object));
        self.job(Job::Removed, DiskWish::RemoveObject { object });
    }
}
