//! A hostile peer: it has an invitation of its own, and lies.
//!
//! Law: it says only what can be encoded (the shell refuses the rest, which is the fuzzer's to
//! check), in any order: hellos that are wrong in one way, batches, acknowledgements of what was
//! never sent, what others said before, floods of asks. It takes nothing in. Whatever it does,
//! the host serves the others.

use tandem_core::event::LinkDown;
use tandem_core::ids::{
    ActorId, Arrival, ChunkHash, ChunkIx, Dot, FetchId, LinkId, NodeId, ObjectId,
};
use tandem_core::label::Label;
use tandem_core::message::{
    Batch, Cursor, FolderId, Have, Hello, Message, PROTOCOL, Refusal, Role, Secret, Want,
};
use tandem_core::version::VersionVector;

use crate::check::Verdict;
use crate::choices::Chance;
use crate::config::{MS, SEC};
use crate::net::{End, Link, Piece, Stream};
use crate::reach;
use crate::world::{HOST, Item, World};

/// How many of the messages of others it remembers.
const HEARD_MAX: usize = 24;

/// Asks of a flood: more than a link may have open.
const FLOOD: u64 = 400;

/// A session of the hostile peer.
#[derive(Debug)]
pub(crate) struct Session {
    chance: Chance,
    link: usize,
    left: u64,
    greeted: bool,
}

/// What it picked up of what others said.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    messages: Vec<Message>,
    /// How many of them were said before the host last started after a power loss: it may have
    /// lost what they told, and would never ask the others for what their snapshots claim.
    stale: usize,
    objects: Vec<ObjectId>,
    actors: Vec<ActorId>,
}

impl Heard {
    /// Notes a message of others.
    pub(crate) fn note(&mut self, message: &Message) {
        match message {
            Message::Hello(hello) => self.actors.push(hello.actor),
            Message::Registers(batch) => {
                for register in &batch.registers {
                    if let tandem_core::tree::register::Register::Content(content) = register {
                        self.objects.push(ObjectId {
                            node: content.node,
                            version: content.stamp.dot,
                        });
                    }
                }
            }
            Message::Refused(_) | Message::Ack(_) => {}
            Message::Ping | Message::Pong | Message::Bye => return,
        }
        if self.messages.len() < HEARD_MAX {
            self.messages.push(message.clone());
        }
        self.objects.truncate(4 * HEARD_MAX);
        self.actors.truncate(HEARD_MAX);
    }

    /// The host starts, after it has lost power.
    pub(crate) fn lost(&mut self) {
        self.stale = self.messages.len();
    }

    /// Returns a message of somebody, to be said again. That a peer who is let in could keep the host
    /// from what a third one knows, by claiming that it has told all of it, is no promise of ours.
    fn some_message(&self, chance: &mut Chance) -> Option<Message> {
        let at = chance.index(self.messages.len());
        let mut message = self.messages.get(at)?.clone();
        if let Message::Registers(batch) = &mut message
            && at < self.stale
        {
            batch.knowledge = None;
        }
        Some(message)
    }
}

impl World {
    /// Returns the hostile peer's place, if there is one.
    pub(crate) fn hostile(&self) -> Option<usize> {
        self.peers.iter().position(|peer| peer.hostile)
    }

    /// The hostile peer comes.
    pub(crate) fn hostile_comes(&mut self, mut chance: Chance) {
        let Some(p) = self.hostile() else {
            return;
        };
        if self.peers[HOST].engine.is_none() {
            return;
        }
        reach!(self.reach, "hostile: comes");
        for peer in &mut self.peers {
            peer.caused.hostile = true;
        }
        let end = |peer: usize, boot, id| End {
            peer,
            boot,
            id,
            up: false,
            greeted: false,
            over: false,
        };
        let other = &mut self.peers[HOST];
        let id = LinkId(other.draw() * 2 + 1);
        let ends = [end(p, 0, LinkId(0)), end(HOST, other.boot, id)];
        let link = self.links_made;
        self.links_made += 1;
        self.links.insert(link, Link::new(ends));
        let delay = chance.delay(self.config.latency);
        self.after(delay, Item::Up(link, 1));
        let left = chance.between(1, 12);
        let session = Session {
            chance,
            link,
            left,
            greeted: false,
        };
        self.after(delay + MS, Item::Hostile(Box::new(session)));
    }

    /// The hostile peer says something more, or goes.
    pub(crate) fn hostile_speaks(&mut self, mut session: Session) -> Verdict {
        let Some(p) = self.hostile() else {
            return Ok(());
        };
        let chance = &mut session.chance;
        let over = self.links.get(&session.link).is_none_or(|link| link.cut);
        if over {
            return Ok(());
        }
        if session.left == 0 || self.healed {
            reach!(self.reach, "hostile: goes");
            self.send(session.link, p, Stream::Control, Piece::Closed);
            return Ok(());
        }
        session.left -= 1;
        if !session.greeted && chance.often(900) {
            session.greeted = true;
            let hello = self.hostile_hello(&mut session.chance);
            self.send(session.link, p, Stream::Control, Piece::Said(hello));
        } else if chance.often(300) {
            self.hostile_asks(p, &mut session);
        } else {
            let message = self.hostile_message(&mut session.chance);
            self.send(session.link, p, Stream::Control, Piece::Said(message));
        }
        let pause = [0, MS, 300 * MS, 4 * SEC][session.chance.index(4)];
        self.after(pause, Item::Hostile(Box::new(session)));
        Ok(())
    }

    fn hostile_hello(&mut self, chance: &mut Chance) -> Message {
        let number = self.config.joiners + 1;
        let own = Secret([u8::try_from(number + 100).unwrap_or(0); 32]);
        let odd = chance.below(12);
        if odd > 5 {
            reach!(self.reach, "hostile: a hello that is let in");
        } else {
            reach!(self.reach, "hostile: a hello that is wrong");
        }
        Message::Hello(Hello {
            protocol: if odd == 0 { 99 } else { PROTOCOL },
            folder: match odd {
                1 => Some(FolderId([8; 16])),
                2 => None,
                _ => Some(FolderId([7; 16])),
            },
            role: match chance.below(8) {
                0 => Role::Full,
                1 => Role::Guest,
                _ => Role::Sparse,
            },
            name: Label::lossy("mallory"),
            secret: if odd == 3 { None } else { Some(own) },
            session: chance.bits(),
            actor: self.some_actor(chance),
            epoch: chance.bits(),
            knowledge: if chance.often(300) {
                self.some_knowledge(chance)
            } else {
                VersionVector::new()
            },
            cursor: chance.often(300).then(|| Cursor {
                epoch: chance.bits(),
                upto: Arrival(chance.below(100)),
            }),
            takes_changes: true,
            pushes: false,
        })
    }

    fn some_actor(&self, chance: &mut Chance) -> ActorId {
        match chance.pick(&self.heard.actors) {
            Some(actor) if chance.often(500) => *actor,
            _ => ActorId(chance.bits()),
        }
    }

    fn some_knowledge(&self, chance: &mut Chance) -> VersionVector {
        let mut knowledge = VersionVector::new();
        for _ in 0..chance.below(4) {
            let counter = [1, chance.below(50), u64::MAX, 1 << 40][chance.index(4)];
            let actor = self.some_actor(chance);
            knowledge.cover(Dot { actor, counter });
        }
        knowledge
    }

    fn hostile_message(&mut self, chance: &mut Chance) -> Message {
        match chance.below(9) {
            0 | 1 => {
                reach!(self.reach, "hostile: says what another said");
                match self.heard.some_message(chance) {
                    // What another said in its hello is that one's secret.
                    Some(message) if !matches!(message, Message::Hello(_)) => message,
                    _ => Message::Ping,
                }
            }
            2 | 3 => {
                reach!(self.reach, "hostile: a batch");
                Message::Registers(Batch {
                    upto: Arrival(chance.below(1000)),
                    registers: Vec::new(),
                    knowledge: chance.often(700).then(|| self.some_knowledge(chance)),
                })
            }
            4 => Message::Ack(Arrival(chance.below(1000))),
            5 => Message::Ping,
            6 => Message::Pong,
            7 => Message::Refused(Refusal::Broken),
            _ => Message::Bye,
        }
    }

    fn hostile_asks(&mut self, p: usize, session: &mut Session) {
        let chance = &mut session.chance;
        let many = if chance.often(200) { FLOOD } else { 1 };
        if many > 1 {
            reach!(self.reach, "hostile: a flood of asks");
        }
        for _ in 0..many {
            let object = match chance.pick(&self.heard.objects) {
                Some(object) => *object,
                None => ObjectId {
                    node: NodeId(Dot::default()),
                    version: Dot::default(),
                },
            };
            let chunk = ChunkIx(u32::try_from(chance.below(30)).unwrap_or(0));
            let have = chance.often(500).then(|| Have {
                len: u32::try_from(1 + chance.below(1 << 20)).unwrap_or(1),
                hash: ChunkHash(chance.bits().into()),
            });
            let want = Want {
                object,
                chunk,
                have,
            };
            let fetch = FetchId(chance.bits());
            let stream = Stream::Lane(object.node, chunk.0 % 4);
            self.send(
                session.link,
                p,
                stream,
                Piece::Ask(fetch, want, have.map_or(0, |have| have.len), false),
            );
        }
    }

    /// A dial that finds somebody with another key.
    pub(crate) fn wrong_key(&mut self, p: usize) -> LinkDown {
        reach!(self.reach, "dial: wrong key");
        self.peers[p].caused.link = true;
        LinkDown::WrongKey
    }
}
