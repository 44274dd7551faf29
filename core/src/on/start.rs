//! The start: what the store says is taken in, and the first things are set going.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::DiskWish;
use crate::commits::After;
use crate::engine::{Engine, Last, RestoreError, Start};
use crate::ids::{ActorId, Arrival};
use crate::ids::{NodeId, ObjectId};
use crate::limits::{COUNTER_MAX, FORMER_ACTORS_MAX};
use crate::link::Peer;
use crate::message::Role;
use crate::on::disk::Job;
use crate::records::{self, Stored};
use crate::tree::register::Register;
use crate::tree::store::Applied;
use crate::version::VersionVector;

impl Engine {
    /// Takes in what the store holds.
    pub(crate) fn load(
        &mut self,
        start: Start,
        stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<(), RestoreError> {
        let fresh = self.me.clone();
        let mut is_new = true;
        let mut past = VersionVector::new();
        let mut objects = Vec::new();
        let mut is_standing_known = false;
        let mut drafts = Vec::new();
        let mut doubted = BTreeSet::new();
        for (key, value) in stored {
            match Stored::read(&key, &value)? {
                Stored::Myself(me) => {
                    is_new = false;
                    self.me = me;
                }
                Stored::Register(arrival, register) => {
                    past.cover(register.stamp().dot);
                    if let Register::Content(content) = &register {
                        past.merge(&content.context);
                    }
                    if let Applied::Refused(_) = self.tree.restore(arrival, register) {
                        return Err(RestoreError::Record { key });
                    }
                }
                Stored::Inode(node, ino) => self.inodes.restore(node, ino),
                Stored::Peer(peer, known) => {
                    let mut met = Peer::new(false, self.now);
                    met.name = Some(known.name);
                    met.role = Some(known.role);
                    (met.cursor, met.stored) = (known.cursor, known.cursor);
                    met.takes_changes = Some(known.takes_changes);
                    met.actors = known.actors;
                    self.links.peers.insert(peer, met);
                }
                Stored::Bound(invite, bound) => {
                    self.bound.insert(invite, bound);
                }
                Stored::Removed(peer, gone) => {
                    self.removed.insert(peer, gone);
                }
                Stored::Object(object, holding) => objects.push((object, holding)),
                Stored::Placed(node, placed, worn) => {
                    past.cover(placed.version);
                    self.folder.place(node, placed);
                    if let Some(worn) = worn {
                        self.folder.wear(node, worn);
                    }
                }
                Stored::Stands(dir, name, node) => {
                    is_standing_known = true;
                    self.folder.standing.stand(dir, &name, node);
                }
                Stored::Parked(node) => self.folder.standing.park(node),
                Stored::Intent(node, intent) => {
                    self.folder.placing.intents.insert(node, *intent);
                }
                Stored::Draft(node, record) => drafts.push((node, record)),
                Stored::Doubted(node) => drop(doubted.insert(node)),
                Stored::Thrown(version, print) => drop(self.thrown.note(version, print)),
                Stored::Trash(next) => self.trash.next = self.trash.next.max(next),
                Stored::Trashed(number, thing) => self.trash.restore(number, *thing),
                Stored::Hash(object, chunk, hash) => {
                    self.hashes.entry(object).or_default().insert(chunk, hash);
                }
            }
        }
        self.tree.settle();
        if !is_standing_known {
            self.stand_as_shown();
        }
        if self.me.folder.is_none() {
            self.me.folder = fresh.folder;
        }
        past.merge(&self.me.knowledge);
        // A store that tells of updates of ours which its own count has not reached is damaged, or
        // was put together of several.
        let is_torn = past.counter(self.me.actor) > self.me.counter;
        let is_old = start.last == Last::Lost || self.me.counter >= COUNTER_MAX;
        if is_torn || (is_old && !is_new) {
            self.reincarnate();
        }
        if start.last == Last::Clean {
            self.inodes.begin_at(self.me.inodes);
        } else {
            let [high, low, ..] = self.rng.next_u64().to_be_bytes();
            let chance = u16::from_be_bytes([high, low]);
            self.me.inodes = self.inodes.pass_over(self.me.inodes, chance);
            self.news = true;
        }
        if self.config.role == Role::Full {
            self.me.complete = true;
        }
        self.news |= is_new;
        self.told = (
            self.tree.registers().last_arrival(),
            self.me.knowledge.clone(),
        );
        if self.config.role == Role::Sparse && self.config.writable {
            // What was stored last may not have been synced, or waits for bytes.
            self.told.0 = Arrival(0);
            self.tell.news = true;
            self.tell.unsynced = true;
            self.tell.due = true;
        }
        if start.last == Last::Killed {
            self.commits.begin_soft();
        }
        if start.last != Last::Clean && self.config.role == Role::Full {
            self.folder.recovers = true;
            self.note_renamed();
        }
        for (node, record) in drafts {
            let lost = start.last == Last::Lost;
            if lost {
                self.commits
                    .put(records::doubted(node), records::encode(&()));
            }
            self.restore_draft(node, record, lost || doubted.contains(&node));
        }
        let (needed, over): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(object, _)| {
            let mut intents = self.folder.placing.intents.values();
            let is_intended = intents.any(|intent| intent.object == *object);
            self.is_needed(*object) || is_intended || self.drafts_on.contains_key(object)
        });
        self.kept.extend(needed);
        for (object, holding) in over {
            // It may be that a newer version was about to fill.
            self.kept.insert(object, holding);
            self.retire(object);
        }
        self.find_unheld();
        Ok(())
    }

    /// Takes note of the directories that stand nowhere, by the names that they had before. A kill may
    /// have come when one was made and not yet on record, and a peer have renamed it: it would be taken
    /// for one that a program made, and what lies in it for moved there (P2).
    fn note_renamed(&mut self) {
        let registers = self.tree.registers().after(Arrival(0));
        let entries = registers.filter_map(|(_, register)| match register {
            Register::Entry(entry) if entry.deleted.is_none() => {
                entry.previous.zip(Some(entry.node))
            }
            Register::Entry(_)
            | Register::Attrs(_)
            | Register::Content(_)
            | Register::Digest(_) => None,
        });
        let standing = &self.folder.standing;
        let stands = |node: NodeId| standing.stands(node) || standing.is_parked(node);
        let renamed = entries.filter(|(_, node)| self.is_directory(*node) && !stands(*node));
        self.folder.renamed = renamed.collect();
    }

    /// Takes it that everything stands where the tree has it: of a store whose folder was never
    /// changed by a peer.
    fn stand_as_shown(&mut self) {
        let placed: Vec<NodeId> = self.folder.all_placed().collect();
        for node in placed {
            let places = self.tree.places(node);
            let spots: Vec<_> = places.map(|(dir, name)| (dir, name.clone())).collect();
            for (dir, name) in spots {
                self.stand(dir, &name, node);
            }
        }
    }

    /// Becomes another actor with another stream: what was told of the former ones may not be
    /// all that is here, and no dot may ever stand for two updates.
    pub(crate) fn reincarnate(&mut self) {
        if self.me.former.len() >= FORMER_ACTORS_MAX {
            self.me.former.remove(0);
        }
        self.me.former.push(self.me.actor);
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
        self.load_drafts();
        if self.config.role == Role::Full {
            self.folder.list(NodeId::ROOT);
            self.resume_placing();
            self.begin_trash();
        }
    }

    /// Removes what is stored of an object that no file shows: first its files, then its record,
    /// so that a kill in between leaves nothing that is not known.
    ///
    /// They go once it is stored that they may: were a kill in between, the file would be shown as
    /// it was, and what was here of it gone. What was made here may be nowhere else, so that this
    /// has to survive power loss.
    pub(crate) fn discard(&mut self, object: ObjectId) {
        let is_ours = self.me.is(object.version.actor) && !self.is_held(object);
        let nr = self.next_discard;
        self.next_discard += 1;
        self.discards.insert(object, nr);
        let after = After::Discard(object, nr);
        let due = if is_ours {
            self.commits.then_hard(after)
        } else {
            self.commits.then_stored(after)
        };
        if let Some(after) = due {
            self.follow(after);
        }
    }

    pub(crate) fn discard_now(&mut self, object: ObjectId, nr: u64) {
        if self.discards.get(&object) != Some(&nr) {
            // It is of use again, or is discarded anew.
            return;
        }
        self.discards.remove(&object);
        if self.kept.contains_key(&object) {
            return;
        }
        self.job(Job::Removed(object), DiskWish::RemoveObject { object });
    }

    /// An object's files are gone.
    pub(crate) fn on_removed(&mut self, object: ObjectId) {
        if !self.kept.contains_key(&object) {
            self.commits.remove(records::object(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::engine::Config;
    use crate::ids::{Dot, Lamport, PeerId};
    use crate::label::Label;
    use crate::time::Time;
    use crate::tree::register::{Attrs, Kind, Stamp};

    /// A record said that this replica had made one update, and another held its ninth. Its next
    /// edits bore dots that were taken, and were lost.
    #[test]
    fn a_store_that_tells_of_more_updates_than_it_counts_makes_another_actor() {
        let config = Config::new(PeerId([1; 32]), Label::lossy("host"), Role::Full);
        let start = Start {
            seed: 7,
            now: Time::ZERO,
            last: Last::Clean,
        };
        let mut me = Engine::restore(config.clone(), start, []).unwrap().me;
        me.counter = 1;
        let counter = 9;
        let actor = me.actor;
        let ninth = Register::Attrs(Attrs {
            node: NodeId::ROOT,
            stamp: Stamp {
                lamport: Lamport(9),
                dot: Dot { actor, counter },
            },
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: None,
            xattrs: [].into(),
        });
        let key = records::register(ninth.key());
        let stored = [
            (records::myself(), records::encode_myself(&me)),
            (
                key,
                records::encode_register(crate::ids::Arrival(1), &ninth),
            ),
        ];
        let start = Start { seed: 8, ..start };
        let engine = Engine::restore(config, start, stored).unwrap();
        assert_ne!(engine.me.actor, actor);
    }

    /// A number was given, and its record lost with a kill. The next start gave none and stopped
    /// cleanly; the one after that gave the number to another node.
    #[test]
    fn numbers_passed_over_after_a_kill_stay_so_after_a_clean_stop() {
        let config = Config::new(PeerId([1; 32]), Label::lossy("bo"), Role::Sparse);
        let begin = |last, stored: &[(Vec<u8>, Vec<u8>)]| {
            let start = Start {
                seed: 7,
                now: Time::ZERO,
                last,
            };
            Engine::restore(config.clone(), start, stored.iter().cloned()).unwrap()
        };
        let node = |counter| {
            let actor = ActorId(3);
            NodeId(Dot { actor, counter })
        };
        let mut first = begin(Last::Clean, &[]);
        let lost = first.ino(node(1));
        // What is set ahead goes out with the number, and is lost with it.
        let mut second = begin(Last::Killed, &[]);
        let mut stored = Vec::new();
        while let Some(action) = second.poll_action() {
            if let Action::Commit { records, .. } = action {
                let held = records.into_iter();
                stored.extend(held.filter_map(|held| Some((held.key, held.value?))));
            }
        }
        let mut third = begin(Last::Clean, &stored);
        assert!(third.ino(node(2)) > lost);
    }
}
