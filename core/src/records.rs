//! What is kept in the metadata store: keys and values.
//!
//! A key is a letter and the bytes of what it is about, big-endian so that keys of one kind and
//! node lie together. A value is postcard (<https://postcard.jamesmunns.com/wire-format>) behind
//! a byte that names its layout, so that a later one can be told. `docs/FORMATS.md` has the table.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::action::Placed;
use crate::engine::RestoreError;
use crate::event::Fingerprint;
use crate::folder::Worn;
use crate::ids::{ActorId, Arrival, ChunkHash, ChunkIx, Dot, Ino, NodeId, ObjectId, PeerId};
use crate::label::Label;
use crate::message::{Cursor, FolderId, Role};
use crate::placing::Intent;
use crate::trash::Trashed;
use crate::tree::name::Name;
use crate::tree::register::{Register, RegisterKey};
use crate::tree::{conflict, invariant};
use crate::version::VersionVector;

/// The layout of values that is written.
const LAYOUT: u8 = 1;

/// The layout of versions of content that is written. Layout 1 has no base and no changed chunks,
/// which are the last two fields, and were both none.
const CONTENT_LAYOUT: u8 = 2;

/// Who this replica is and what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Myself {
    /// Its incarnation.
    pub actor: ActorId,
    /// The epoch of its arrivals.
    pub epoch: u64,
    /// The folder, once known.
    pub folder: Option<FolderId>,
    /// What it knows.
    pub knowledge: VersionVector,
    /// Whether an exchange was ever completed.
    pub complete: bool,
    /// Its own updates so far.
    pub counter: u64,
    /// Inode numbers from here on are not given before this is set further.
    pub inodes: u64,
    /// The incarnations before this one, the latest at the end.
    pub former: Vec<ActorId>,
}

impl Myself {
    /// Returns whether an actor is this replica, now or in an earlier incarnation.
    pub(crate) fn is(&self, actor: ActorId) -> bool {
        self.actor == actor || self.former.contains(&actor)
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// What it calls itself.
    pub name: Label,
    /// As what it came.
    pub role: Role,
    /// Where this replica stands in its stream.
    pub cursor: Option<Cursor>,
    /// Whether it takes changes.
    pub takes_changes: bool,
    /// The incarnations that it has said are its own, the latest at the end.
    pub actors: Vec<ActorId>,
}

/// What is kept of a peer that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    /// What it called itself, if it ever said so.
    pub name: Option<Label>,
    /// As what it came.
    pub role: Option<Role>,
    /// The incarnations that were its own.
    pub actors: Vec<ActorId>,
}

/// Whom an invitation let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// The guest's key.
    pub guest: Option<PeerId>,
    /// The joining peer's key.
    pub member: Option<PeerId>,
}

impl Bound {
    /// Returns whether it let this key in.
    pub(crate) fn names(&self, peer: PeerId) -> bool {
        self.guest == Some(peer) || self.member == Some(peer)
    }
}

/// What is stored of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Holding {
    /// A partial file, or none yet, with a sidecar.
    Partial,
    /// All of it is synced; its file is at its place, or about to be renamed there.
    Complete,
}

/// What a draft is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DraftBase {
    /// Nothing: it began as an empty file.
    Nothing,
    /// A partial file.
    Partial,
    /// A complete file.
    Complete,
    /// There is no draft any more: a power loss took it, before anybody was told of its version.
    Gone(Unbacked),
    /// There is no draft any more: nobody was in need of it, and the disk refused to remove its files.
    Over,
}

/// What a version is taken to be whose bytes a power loss took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unbacked {
    /// Empty.
    Empty,
    /// What the draft was written over, of so many bytes.
    Beneath(u64),
}

/// What is stored of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DraftRecord {
    /// Under the name of which object it lies.
    pub file: ObjectId,
    /// What that held.
    pub from: DraftBase,
    /// The last version that was published of it.
    pub version: Dot,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Myself(Myself),
    Register(Arrival, Register),
    Inode(NodeId, Ino),
    Peer(PeerId, Known),
    Bound(u64, Bound),
    Removed(PeerId, Gone),
    Object(ObjectId, Holding),
    Placed(NodeId, Placed, Option<Worn>),
    Stands(NodeId, Name, NodeId),
    Parked(NodeId),
    Intent(NodeId, Box<Intent>),
    Hash(ObjectId, ChunkIx, ChunkHash),
    Draft(NodeId, DraftRecord),
    Doubted(NodeId),
    Thrown(Dot, Fingerprint),
    Trash(u64),
    Trashed(u64, Box<Trashed>),
}

fn dot(key: &mut Vec<u8>, dot: Dot) {
    key.extend_from_slice(&dot.actor.0.to_be_bytes());
    key.extend_from_slice(&dot.counter.to_be_bytes());
}

/// Returns the key of what this replica is.
pub(crate) fn myself() -> Vec<u8> {
    b"m".to_vec()
}

/// Returns the key of a register.
pub(crate) fn register(of: RegisterKey) -> Vec<u8> {
    let mut key = b"r".to_vec();
    match of {
        RegisterKey::Entry(id) => {
            key.push(b'e');
            dot(&mut key, id.0);
        }
        RegisterKey::Attrs(node) => {
            key.push(b'a');
            dot(&mut key, node.0);
        }
        RegisterKey::Content(object) => {
            key.push(b'c');
            dot(&mut key, object.node.0);
            dot(&mut key, object.version);
        }
        RegisterKey::Digest(object) => {
            key.push(b'd');
            dot(&mut key, object.node.0);
            dot(&mut key, object.version);
        }
    }
    key
}

/// Returns the key of a node's inode number.
pub(crate) fn inode(node: NodeId) -> Vec<u8> {
    let mut key = b"i".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of a peer.
pub(crate) fn peer(peer: PeerId) -> Vec<u8> {
    let mut key = b"p".to_vec();
    key.extend_from_slice(&peer.0);
    key
}

/// Returns the key of an invitation.
pub(crate) fn bound(invite: u64) -> Vec<u8> {
    let mut key = b"b".to_vec();
    key.extend_from_slice(&invite.to_be_bytes());
    key
}

/// Returns the key of a peer that was removed.
pub(crate) fn removed(peer: PeerId) -> Vec<u8> {
    let mut key = b"x".to_vec();
    key.extend_from_slice(&peer.0);
    key
}

/// Returns the key of an object.
pub(crate) fn object(object: ObjectId) -> Vec<u8> {
    let mut key = b"o".to_vec();
    dot(&mut key, object.node.0);
    dot(&mut key, object.version);
    key
}

/// Returns the key of a node's place in the shared folder.
pub(crate) fn placed(node: NodeId) -> Vec<u8> {
    let mut key = b"f".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of a name that stands in the shared folder.
pub(crate) fn stands(dir: NodeId, name: &Name) -> Vec<u8> {
    let mut key = b"n".to_vec();
    dot(&mut key, dir.0);
    key.extend_from_slice(name.as_bytes());
    key
}

/// Returns the key of what lies out of the way of others.
pub(crate) fn parked(node: NodeId) -> Vec<u8> {
    let mut key = b"k".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of what is about to be put under a name.
pub(crate) fn intent(node: NodeId) -> Vec<u8> {
    let mut key = b"w".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of what says that a node's draft was not looked at since a power loss.
pub(crate) fn doubted(node: NodeId) -> Vec<u8> {
    let mut key = b"u".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of a node's draft.
pub(crate) fn draft(node: NodeId) -> Vec<u8> {
    let mut key = b"d".to_vec();
    dot(&mut key, node.0);
    key
}

/// Returns the key of a version that lies in the trash.
pub(crate) fn thrown(version: Dot) -> Vec<u8> {
    let mut key = b"t".to_vec();
    dot(&mut key, version);
    key
}

/// Returns the key of the number that the next thing in the trash gets.
pub(crate) fn trash() -> Vec<u8> {
    b"v".to_vec()
}

/// Returns the key of a thing in the trash.
pub(crate) fn trashed(number: u64) -> Vec<u8> {
    let mut key = b"v".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Returns the key of a chunk's hash.
pub(crate) fn hash(object: ObjectId, chunk: ChunkIx) -> Vec<u8> {
    let mut key = b"h".to_vec();
    dot(&mut key, object.node.0);
    dot(&mut key, object.version);
    key.extend_from_slice(&chunk.0.to_be_bytes());
    key
}

/// Returns a value's bytes.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let head = [LAYOUT].to_vec();
    postcard::to_extend(value, head).expect("a vector grows, and our types have no unsized maps")
}

/// Returns the bytes of a register and its arrival.
pub(crate) fn encode_register(arrival: Arrival, register: &Register) -> Vec<u8> {
    let mut value = encode(&(arrival, register));
    if let (Register::Content(_), Some(layout)) = (register, value.first_mut()) {
        *layout = CONTENT_LAYOUT;
    }
    value
}

/// The layout of who this replica is that is written: the first ended before its former
/// incarnations, which were not known.
const MYSELF_LAYOUT: u8 = 2;

/// Returns the bytes of who this replica is.
pub(crate) fn encode_myself(me: &Myself) -> Vec<u8> {
    let head = [MYSELF_LAYOUT].to_vec();
    postcard::to_extend(me, head).expect("a vector grows, and our types have no unsized maps")
}

fn decode_myself(value: &[u8]) -> Option<Myself> {
    match value.split_first()? {
        (&MYSELF_LAYOUT, body) => whole(body),
        (&LAYOUT, body) => whole(&[body, &[0]].concat()),
        _ => None,
    }
}

/// The layout of what is known of a peer that is written: the first ended before its incarnations,
/// which were not known.
const KNOWN_LAYOUT: u8 = 2;

/// Returns the bytes of what is known of a peer.
pub(crate) fn encode_known(known: &Known) -> Vec<u8> {
    let head = [KNOWN_LAYOUT].to_vec();
    postcard::to_extend(known, head).expect("a vector grows, and our types have no unsized maps")
}

fn decode_known(value: &[u8]) -> Option<Known> {
    match value.split_first()? {
        (&KNOWN_LAYOUT, body) => whole(body),
        (&LAYOUT, body) => whole(&[body, &[0]].concat()),
        _ => None,
    }
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    whole(value.strip_prefix(&[LAYOUT])?)
}

fn decode_register(value: &[u8]) -> Option<(Arrival, Register)> {
    let (&layout, body) = value.split_first()?;
    let found: (Arrival, Register) = match layout {
        LAYOUT => whole(body).or_else(|| whole(&[body, &[0, 0]].concat()))?,
        CONTENT_LAYOUT => whole(body)?,
        _ => return None,
    };
    let is_content = matches!(found.1, Register::Content(_));
    (is_content || layout == LAYOUT).then_some(found)
}

/// Returns the register that a record holds, if it is one of a register: for whoever judges a
/// store.
pub fn register_in(key: &[u8], value: &[u8]) -> Option<Register> {
    let (_, register) = decode_register(value).filter(|_| key.starts_with(b"r"))?;
    Some(register)
}

fn whole<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

/// The layout of what a file of the shared folder holds that is written: the first had no
/// attributes.
const PLACED_LAYOUT: u8 = 2;

/// Returns the bytes of what a file of the shared folder holds, and of the attributes that the
/// disk shows of it.
pub(crate) fn encode_placed(placed: &Placed, worn: Option<&Worn>) -> Vec<u8> {
    let head = [PLACED_LAYOUT].to_vec();
    postcard::to_extend(&(placed, worn), head)
        .expect("a vector grows, and our types have no unsized maps")
}

fn decode_placed(value: &[u8]) -> Option<(Placed, Option<Worn>)> {
    let Some(body) = value.strip_prefix(&[PLACED_LAYOUT]) else {
        return decode(value).map(|placed| (placed, None));
    };
    let (found, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(found)
}

/// A reader of keys.
struct Key<'a>(&'a [u8]);

impl Key<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn dot(&mut self) -> Option<Dot> {
        let actor = ActorId(u64::from_be_bytes(self.bytes()?));
        let counter = u64::from_be_bytes(self.bytes()?);
        Some(Dot { actor, counter })
    }

    fn object(&mut self) -> Option<ObjectId> {
        Some(ObjectId {
            node: NodeId(self.dot()?),
            version: self.dot()?,
        })
    }
}

impl Stored {
    /// Reads a record; the error names its key.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Self, RestoreError> {
        Self::parse(key, value).ok_or_else(|| RestoreError::Record { key: key.to_vec() })
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (&letter, rest) = key.split_first()?;
        let mut rest = Key(rest);
        let stored = match letter {
            b'm' => Self::Myself(decode_myself(value)?),
            b'r' => {
                let (arrival, found) = decode_register(value)?;
                if register(found.key()) != key {
                    return None;
                }
                return Some(Self::Register(arrival, found));
            }
            b'i' => Self::Inode(NodeId(rest.dot()?), decode(value)?),
            b'p' => Self::Peer(PeerId(rest.bytes()?), decode_known(value)?),
            b'x' => Self::Removed(PeerId(rest.bytes()?), decode(value)?),
            b'b' => Self::Bound(u64::from_be_bytes(rest.bytes()?), decode(value)?),
            b'o' => Self::Object(rest.object()?, decode(value)?),
            b'f' => {
                let node = NodeId(rest.dot()?);
                let (placed, worn) = decode_placed(value)?;
                Self::Placed(node, placed, worn)
            }
            b'n' => {
                let dir = NodeId(rest.dot()?);
                let name = Name::parse(core::mem::take(&mut rest.0)).ok()?;
                Self::Stands(dir, name, decode(value)?)
            }
            b'k' => {
                let node = NodeId(rest.dot()?);
                let () = decode(value)?;
                Self::Parked(node)
            }
            b'w' => Self::Intent(NodeId(rest.dot()?), Box::new(decode(value)?)),
            b't' => Self::Thrown(rest.dot()?, decode(value)?),
            b'v' if rest.0.is_empty() => Self::Trash(decode(value)?),
            b'v' => Self::Trashed(u64::from_be_bytes(rest.bytes()?), Box::new(decode(value)?)),
            b'd' => Self::Draft(NodeId(rest.dot()?), decode(value)?),
            b'u' => {
                let node = NodeId(rest.dot()?);
                let () = decode(value)?;
                Self::Doubted(node)
            }
            b'h' => {
                let object = rest.object()?;
                let chunk = ChunkIx(u32::from_be_bytes(rest.bytes()?));
                Self::Hash(object, chunk, decode(value)?)
            }
            _ => return None,
        };
        (rest.0.is_empty() && stored.is_of_made()).then_some(stored)
    }

    /// Tells whether every node that it names was made, or is the root where the root may be: an
    /// update of ours that follows from it must be one that a peer takes.
    fn is_of_made(&self) -> bool {
        let is_any = |node: NodeId| node == NodeId::ROOT || invariant::is_made(node);
        let is_made = invariant::is_made;
        match self {
            Self::Inode(node, _) | Self::Placed(node, ..) => is_any(*node),
            Self::Stands(dir, _, node) => is_any(*dir) && is_made(*node),
            Self::Parked(node) => is_made(*node),
            Self::Intent(node, intent) => {
                let over = intent.over.is_none_or(|(over, _)| is_made(over));
                is_made(*node) && is_any(intent.dir) && is_made(intent.object.node) && over
            }
            Self::Draft(node, draft) => {
                let is_aside = *node == conflict::aside_of(draft.version);
                (is_made(*node) || is_aside) && is_made(draft.file.node)
            }
            Self::Object(object, _) | Self::Hash(object, ..) => is_made(object.node),
            // A register is judged when the tree takes it; a doubt is of a draft that is there.
            Self::Register(..)
            | Self::Doubted(..)
            | Self::Myself(_)
            | Self::Peer(..)
            | Self::Bound(..)
            | Self::Removed(..)
            | Self::Thrown(..)
            | Self::Trash(_)
            | Self::Trashed(..) => true,
        }
    }
}

/// Which objects of a store are of use, as far as its records tell.
#[derive(Debug)]
pub struct Owned {
    objects: BTreeSet<ObjectId>,
    knowledge: VersionVector,
}

impl Owned {
    /// Reads what the records of a store tell; to be asked before the engine is made of them.
    /// `None` while not all versions are known, since the store is new or was built anew: then
    /// whatever lies there may be of use.
    pub fn read(stored: &[(Vec<u8>, Vec<u8>)]) -> Option<Self> {
        let mut knowledge = None;
        let mut objects = BTreeSet::new();
        for (key, value) in stored {
            match Stored::parse(key, value)? {
                Stored::Myself(me) => knowledge = me.complete.then_some(me.knowledge),
                Stored::Object(object, _) => {
                    objects.insert(object);
                }
                Stored::Draft(node, draft) => {
                    objects.insert(draft.file);
                    let version = draft.version;
                    for node in [node, draft.file.node] {
                        objects.insert(ObjectId { node, version });
                    }
                }
                Stored::Register(_, Register::Content(content)) => {
                    objects.insert(content.object());
                }
                Stored::Register(
                    _,
                    Register::Entry(_) | Register::Attrs(_) | Register::Digest(_),
                )
                | Stored::Inode(..)
                | Stored::Peer(..)
                | Stored::Bound(..)
                | Stored::Removed(..)
                | Stored::Placed(..)
                | Stored::Stands(..)
                | Stored::Parked(..)
                | Stored::Intent(..)
                | Stored::Hash(..)
                | Stored::Doubted(..)
                | Stored::Thrown(..)
                | Stored::Trash(_)
                | Stored::Trashed(..) => {}
            }
        }
        let knowledge = knowledge?;
        Some(Self { objects, knowledge })
    }

    /// Tells whether an object is of use, or may be: it is on record, or its version is one that
    /// is known, or that is not known yet.
    pub fn has(&self, object: ObjectId) -> bool {
        self.objects.contains(&object) || !self.knowledge.covers(object.version)
    }
}

/// Reads a record of the metadata store and tells whether it is one: for the fuzzer.
pub fn is_record(key: &[u8], value: &[u8]) -> bool {
    Stored::parse(key, value).is_some()
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::ids::Lamport;
    use crate::time::WallTime;
    use crate::trash::Fate;
    use crate::tree::register::{Body, Content, Stamp};
    use crate::tree::runs::{Run, Runs};

    fn content(base: Option<Dot>, changed: Option<Runs>) -> Register {
        let dot = |counter| Dot {
            actor: ActorId(7),
            counter,
        };
        Register::Content(Content {
            node: NodeId(dot(1)),
            stamp: Stamp {
                lamport: Lamport(9),
                dot: dot(9),
            },
            context: [(ActorId(7), 8)].into_iter().collect(),
            beside: Vec::new(),
            author: Label::lossy("ada"),
            day: 20_000,
            mtime: WallTime::default(),
            body: Body::File {
                size: 700,
                chunk_size: 512,
            },
            base,
            changed,
        })
    }

    #[test]
    fn who_a_replica_is_comes_back_from_either_layout() {
        let mut me = Myself {
            actor: ActorId(7),
            epoch: 1,
            folder: None,
            knowledge: VersionVector::default(),
            complete: true,
            counter: 300,
            inodes: 4,
            former: vec![ActorId(5), ActorId(6)],
        };
        let value = encode_myself(&me);
        assert_eq!(value.first(), Some(&2));
        let back = Stored::parse(b"m", &value);
        assert_eq!(back, Some(Stored::Myself(me.clone())));
        // As it was before former incarnations were kept: the bytes end with the inode numbers.
        me.former.clear();
        let mut old = encode_myself(&me);
        assert_eq!(old.pop(), Some(0));
        old[0] = 1;
        assert_eq!(Stored::parse(b"m", &old), Some(Stored::Myself(me)));
        old[0] = 2;
        assert_eq!(Stored::parse(b"m", &old), None);
    }

    /// The bytes are those of `docs/FORMATS.md`: a later layout has another number before them.
    #[test]
    fn a_thing_in_the_trash_is_written_as_it_always_was() {
        let dot = |counter| Dot {
            actor: ActorId(5),
            counter,
        };
        let thing = Trashed {
            print: Fingerprint {
                ino: 7,
                born_ns: 1,
                size: 300,
                mtime: WallTime { secs: 2, nanos: 3 },
                ctime: WallTime { secs: 4, nanos: 0 },
            },
            path: vec![Name::parse(b"d").unwrap(), Name::parse(b"a").unwrap()],
            version: Some(ObjectId {
                node: NodeId(dot(1)),
                version: dot(2),
            }),
            fate: Fate::Deleted,
            actor: Some(ActorId(6)),
            who: Some(Label::lossy("bo")),
            since: WallTime { secs: 8, nanos: 9 },
        };
        let value = [
            1, 7, 2, 0xac, 2, 4, 3, 8, 0, 2, 1, b'd', 1, b'a', 1, 5, 1, 5, 2, 1, 1, 6, 1, 2, b'b',
            b'o', 16, 9,
        ];
        assert_eq!(encode(&thing), value);
        let key = [b'v', 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(trashed(258), key);
        let back = Stored::parse(&key, &value);
        assert_eq!(back, Some(Stored::Trashed(258, Box::new(thing))));
        assert_eq!(Stored::parse(b"v", &[1, 3]), Some(Stored::Trash(3)));
        assert_eq!(Stored::parse(b"v\0", &[1, 3]), None);
    }

    #[test]
    fn what_is_known_of_a_peer_comes_back_from_either_layout() {
        let id = PeerId([3; 32]);
        let mut known = Known {
            name: Label::lossy("bo"),
            role: Role::Sparse,
            cursor: None,
            takes_changes: true,
            actors: vec![ActorId(5), ActorId(6)],
        };
        let value = encode_known(&known);
        assert_eq!(value.first(), Some(&2));
        let back = Stored::parse(&peer(id), &value);
        assert_eq!(back, Some(Stored::Peer(id, known.clone())));
        // As it was before incarnations were kept: the bytes end with whether it takes changes.
        known.actors.clear();
        let mut old = encode_known(&known);
        assert_eq!(old.pop(), Some(0));
        old[0] = 1;
        let back = Stored::parse(&peer(id), &old);
        assert_eq!(back, Some(Stored::Peer(id, known)));
        old[0] = 2;
        assert_eq!(Stored::parse(&peer(id), &old), None);
    }

    /// A name was said to stand in a node with the counter zero, and its deletion was an update
    /// that no peer takes.
    #[test]
    fn a_record_of_a_node_that_nobody_made_is_none() {
        let node = |counter| {
            let actor = ActorId(7);
            NodeId(Dot { actor, counter })
        };
        let name = Name::parse(b"a").unwrap();
        let stands = |dir, of| Stored::parse(&stands(dir, &name), &encode(&of));
        assert!(stands(node(1), node(2)).is_some());
        assert!(stands(NodeId::ROOT, node(2)).is_some());
        assert_eq!(stands(node(0), node(2)), None);
        assert_eq!(stands(node(1), node(0)), None);
        assert_eq!(stands(node(1), NodeId::ROOT), None);
        assert!(Stored::parse(&inode(NodeId::ROOT), &encode(&Ino(1))).is_some());
        let copy_of_none = crate::tree::conflict::copy_of(node(0).0);
        assert_eq!(Stored::parse(&inode(copy_of_none), &encode(&Ino(9))), None);
        assert_eq!(Stored::parse(&parked(node(0)), &encode(&())), None);
    }

    #[test]
    fn a_version_comes_back_from_either_layout() {
        let first = ChunkIx(1);
        let changed = Runs::parse(vec![Run { first, count: 1 }]).unwrap();
        let base = Dot {
            actor: ActorId(7),
            counter: 3,
        };
        for found in [content(None, None), content(Some(base), Some(changed))] {
            let value = encode_register(Arrival(5), &found);
            assert_eq!(value.first(), Some(&2));
            let back = Stored::parse(&register(found.key()), &value);
            assert_eq!(back, Some(Stored::Register(Arrival(5), found)));
        }
        // As it was before versions had a base: the bytes end with the body.
        let found = content(None, None);
        let mut old = encode_register(Arrival(5), &found);
        assert_eq!(old.split_off(old.len() - 2), [0, 0]);
        old[0] = 1;
        let back = Stored::parse(&register(found.key()), &old);
        assert_eq!(back, Some(Stored::Register(Arrival(5), found.clone())));
        old[0] = 2;
        assert_eq!(Stored::parse(&register(found.key()), &old), None);
    }
}
