//! What a hostile peer says: messages made of noise, most of them nearly right.
//!
//! Law: dots, names and sizes come from few, so that what is said now meets what was said before;
//! and everything goes over the wire, so that nothing comes that no wire would let through.

use tandem_core::ids::{
    ActorId, Arrival, ChunkHash, ChunkIx, Dot, EntryId, Lamport, LinkId, NodeId, ObjectId, PeerId,
};
use tandem_core::label::Label;
use tandem_core::limits::COUNTER_MAX;
use tandem_core::message::{
    Batch, Cursor, FolderId, Have, Hello, Message, PROTOCOL, Refusal, Role, Want,
};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath, XattrName};
use tandem_core::tree::register::{
    Attrs, Body, Content, Digest, Entry, Kind, Register, Stamp, Xattrs,
};
use tandem_core::tree::runs::{Run, Runs};
use tandem_core::version::VersionVector;
use tandem_proto::convert;

use crate::disk::name_of;
use crate::folk::{FOLDER, secret_of};
use crate::noise::Noise;

/// The bit that makes a conflict copy's node of a version's dot.
const COPY: u64 = 1 << 63;

/// The chunks of the largest file that is spoken of: a file that is opened takes memory by its
/// chunks, and a fuzzer has little of it.
const CHUNKS_MAX: u64 = 1 << 16;

/// Names that are said, and asked for.
pub(crate) const NAMES: [&[u8]; 6] = [b"a", b"d", b"b", b"l", b"\xff.txt", b"new"];

/// Who speaks, and what it has heard.
#[derive(Debug)]
pub(crate) struct Mouth {
    /// As whom it speaks.
    pub peer: PeerId,
    /// Actors that were heard of.
    pub actors: Vec<ActorId>,
    /// Registers that were heard.
    pub heard: Vec<Register>,
}

impl Mouth {
    /// Takes in what the other side said.
    pub(crate) fn hear(&mut self, message: &Message) {
        match message {
            Message::Hello(hello) => self.actors.push(hello.actor),
            Message::Registers(batch) => self.heard.extend(batch.registers.iter().cloned()),
            Message::Refused(_)
            | Message::Ack(_)
            | Message::Ping
            | Message::Pong
            | Message::Bye => {}
        }
    }

    /// Returns what the wire makes of noise: of the bytes themselves, or of a message that is made
    /// of them; nothing if the wire refuses it.
    pub(crate) fn message(&self, noise: &mut Noise<'_>) -> Option<Message> {
        let message = match noise.byte() % 16 {
            0 => {
                let frame = noise.counted().to_vec();
                return convert::decode(frame.into()).ok().filter(is_small);
            }
            1 => Message::Bye,
            2 => Message::Pong,
            3 => Message::Ping,
            4 => Message::Refused(
                noise
                    .pick(&[
                        Refusal::NotPaired,
                        Refusal::Protocol,
                        Refusal::OtherFolder,
                        Refusal::Busy,
                        Refusal::Broken,
                        Refusal::Removed,
                    ])
                    .unwrap_or(Refusal::Broken),
            ),
            5 | 6 => Message::Ack(self.arrival(noise)),
            7 => Message::Hello(self.hello(noise)),
            _ => Message::Registers(self.batch(noise)),
        };
        convert::decode(convert::encode(&message)).ok()
    }

    /// Returns a hello that is as it should be.
    pub(crate) fn good_hello(&self, role: Role) -> Message {
        Message::Hello(Hello {
            protocol: PROTOCOL,
            folder: Some(FOLDER),
            role,
            name: Label::lossy("mallory"),
            secret: Some(secret_of(self.peer)),
            session: 1,
            actor: ActorId(3),
            epoch: 1,
            knowledge: VersionVector::new(),
            cursor: None,
            takes_changes: true,
            pushes: false,
        })
    }

    fn hello(&self, noise: &mut Noise<'_>) -> Hello {
        let roles = [Role::Sparse, Role::Full, Role::Guest];
        Hello {
            protocol: PROTOCOL + u32::from(noise.one_in(32)),
            folder: match noise.byte() % 16 {
                0 => None,
                1 => Some(FolderId([8; 16])),
                _ => Some(FOLDER),
            },
            role: noise.pick(&roles).unwrap_or(Role::Guest),
            name: Label::lossy("mallory"),
            secret: (!noise.one_in(16)).then(|| secret_of(self.peer)),
            session: u64::from(noise.byte() % 3),
            actor: self.actor(noise),
            epoch: u64::from(noise.byte() % 3),
            knowledge: self.knowledge(noise),
            cursor: noise.one_in(2).then(|| Cursor {
                epoch: u64::from(noise.byte() % 3),
                upto: self.arrival(noise),
            }),
            takes_changes: noise.one_in(2),
            pushes: noise.one_in(2),
        }
    }

    fn batch(&self, noise: &mut Noise<'_>) -> Batch {
        let upto = self.arrival(noise);
        let count = noise.byte() % 6;
        Batch {
            upto,
            registers: (0..count).map(|_| self.register(noise)).collect(),
            knowledge: noise.one_in(2).then(|| self.knowledge(noise)),
        }
    }

    fn register(&self, noise: &mut Noise<'_>) -> Register {
        match noise.byte() % 5 {
            0 => Register::Entry(self.entry(noise)),
            1 => Register::Attrs(self.attrs(noise)),
            2 => Register::Content(self.content(noise)),
            3 => Register::Digest(Digest {
                object: self.object(noise),
                stamp: self.stamp(noise),
                hash: noise.byte().into(),
            }),
            _ => {
                // What was heard, said again by somebody else.
                let at = noise.index(self.heard.len());
                let mut again = match self.heard.get(at) {
                    Some(heard) => heard.clone(),
                    None => Register::Entry(self.entry(noise)),
                };
                let stamp = match &mut again {
                    Register::Entry(entry) => &mut entry.stamp,
                    Register::Attrs(attrs) => &mut attrs.stamp,
                    Register::Content(content) => &mut content.stamp,
                    Register::Digest(digest) => &mut digest.stamp,
                };
                *stamp = self.stamp(noise);
                again
            }
        }
    }

    fn entry(&self, noise: &mut Noise<'_>) -> Entry {
        Entry {
            id: EntryId(self.dot(noise)),
            stamp: self.stamp(noise),
            node: self.node(noise),
            parent: self.node(noise),
            name: name(noise),
            previous: noise.one_in(4).then(|| (self.node(noise), name(noise))),
            deleted: noise.one_in(4).then(|| self.knowledge(noise)),
        }
    }

    fn attrs(&self, noise: &mut Noise<'_>) -> Attrs {
        let kinds = [Kind::File, Kind::Directory, Kind::Symlink];
        let mut xattrs = Xattrs::new();
        if noise.one_in(8)
            && let Ok(name) = XattrName::parse(b"user.x")
        {
            xattrs.insert(name, noise.counted().into());
        }
        Attrs {
            node: self.node(noise),
            stamp: self.stamp(noise),
            kind: noise.pick(&kinds).unwrap_or(Kind::File),
            mode: noise.byte().into(),
            uid: noise.byte().into(),
            gid: noise.byte().into(),
            mtime: noise.one_in(2).then(|| time(noise)),
            xattrs,
        }
    }

    fn content(&self, noise: &mut Noise<'_>) -> Content {
        let chunk_sizes = [512, 1024, 512 * 1024, 16 * 1024 * 1024];
        let sizes = [0, 1, 511, 512, 513, 700, 5_000, 40_000, 1 << 25];
        let body = if noise.one_in(8) {
            let target = TargetPath::parse(noise.counted());
            match target.or_else(|_| TargetPath::parse(b"a")) {
                Ok(target) => Body::Link { target },
                Err(never) => unreachable!("{never}"),
            }
        } else {
            Body::File {
                size: noise.pick(&sizes).unwrap_or(0),
                chunk_size: noise.pick(&chunk_sizes).unwrap_or(512),
            }
        };
        let beside = noise.byte() % 3;
        Content {
            node: self.node(noise),
            stamp: self.stamp(noise),
            context: self.knowledge(noise),
            beside: (0..beside).map(|_| self.dot(noise)).collect(),
            author: Label::lossy("mallory"),
            day: u32::from(noise.byte()),
            mtime: time(noise),
            body,
            base: noise.one_in(2).then(|| self.dot(noise)),
            changed: noise.one_in(2).then(|| runs(noise)),
        }
    }

    /// Returns a chunk to ask for.
    pub(crate) fn want(&self, noise: &mut Noise<'_>) -> Want {
        let files = self.heard.iter().filter_map(|register| match register {
            Register::Content(content) => Some(content.object()),
            Register::Entry(_) | Register::Attrs(_) | Register::Digest(_) => None,
        });
        let files: Vec<ObjectId> = files.collect();
        let object = match noise.byte() % 4 {
            0 => self.object(noise),
            _ => noise.pick(&files).unwrap_or_else(|| self.object(noise)),
        };
        let chunk = match noise.byte() {
            0xff => u32::MAX,
            small => u32::from(small % 4),
        };
        Want {
            object,
            chunk: ChunkIx(chunk),
            have: noise.one_in(3).then(|| Have {
                len: u32::from(noise.byte()),
                hash: ChunkHash(noise.byte().into()),
            }),
        }
    }

    fn object(&self, noise: &mut Noise<'_>) -> ObjectId {
        ObjectId {
            node: self.node(noise),
            version: self.dot(noise),
        }
    }

    fn node(&self, noise: &mut Noise<'_>) -> NodeId {
        let heard: Vec<NodeId> = self.heard.iter().map(Register::node).collect();
        match noise.byte() % 8 {
            0 | 1 => NodeId::ROOT,
            2 => noise.pick(&heard).unwrap_or(NodeId::ROOT),
            3 => {
                let dot = self.dot(noise);
                let counter = dot.counter ^ COPY;
                NodeId(Dot { counter, ..dot })
            }
            _ => NodeId(self.dot(noise)),
        }
    }

    fn stamp(&self, noise: &mut Noise<'_>) -> Stamp {
        Stamp {
            lamport: Lamport(counter(noise)),
            dot: self.dot(noise),
        }
    }

    fn dot(&self, noise: &mut Noise<'_>) -> Dot {
        Dot {
            actor: self.actor(noise),
            counter: counter(noise),
        }
    }

    fn knowledge(&self, noise: &mut Noise<'_>) -> VersionVector {
        let count = noise.byte() % 4;
        let known = (0..count).map(|_| (self.actor(noise), counter(noise)));
        known.collect()
    }

    fn actor(&self, noise: &mut Noise<'_>) -> ActorId {
        match noise.byte() % 4 {
            0 => ActorId(3),
            1 => ActorId(noise.byte().into()),
            _ => noise.pick(&self.actors).unwrap_or(ActorId(4)),
        }
    }

    fn arrival(&self, noise: &mut Noise<'_>) -> Arrival {
        Arrival(counter(noise))
    }
}

/// Tells whether no file in a message has too many chunks for a fuzzer.
fn is_small(message: &Message) -> bool {
    let Message::Registers(batch) = message else {
        return true;
    };
    batch.registers.iter().all(|register| match register {
        Register::Content(content) => match content.body {
            Body::File { size, chunk_size } => size / u64::from(chunk_size) <= CHUNKS_MAX,
            Body::Link { .. } => true,
        },
        Register::Entry(_) | Register::Attrs(_) | Register::Digest(_) => true,
    })
}

/// Takes a count: most are small, some at an edge.
fn counter(noise: &mut Noise<'_>) -> u64 {
    match noise.byte() {
        0xff => u64::MAX,
        0xfe => COUNTER_MAX,
        0xfd => COUNTER_MAX - 1,
        0xfc => COPY | 1,
        small => u64::from(small % 24),
    }
}

fn name(noise: &mut Noise<'_>) -> Name {
    match noise.byte() {
        0xff => Name::parse(noise.counted()).unwrap_or_else(|_| name_of(b"odd")),
        small => name_of(NAMES[usize::from(small) % NAMES.len()]),
    }
}

/// Returns runs of chunks, most of them near the start.
fn runs(noise: &mut Noise<'_>) -> Runs {
    let mut runs = Runs::default();
    for _ in 0..noise.byte() % 4 {
        let first = match noise.byte() {
            0xff => u32::MAX,
            few => u32::from(few % 16),
        };
        runs.insert_run(Run {
            first: ChunkIx(first),
            count: u32::from(noise.byte() % 4),
        });
    }
    runs
}

fn time(noise: &mut Noise<'_>) -> WallTime {
    let secs = match noise.byte() {
        0xff => i64::MAX,
        0xfe => i64::MIN,
        small => small.into(),
    };
    let nanos = u32::from(noise.byte()) * 3_921_568;
    WallTime { secs, nanos }
}

/// Returns one of a shell's links.
pub(crate) fn link(noise: &mut Noise<'_>, links: &[LinkId]) -> Option<LinkId> {
    noise.pick(links)
}
