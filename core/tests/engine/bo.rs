//! Bo, a joiner that writes: played by hand, register by register, so that a story needs nothing
//! of a real one.
//!
//! Law: what he says is well made, and he holds the bytes of every version that he made.

use std::collections::BTreeMap;

use tandem_core::event::{Event, Fetched};
use tandem_core::ids::{
    ActorId, Arrival, ChunkHash, ChunkIx, Dot, EntryId, Lamport, LinkId, NodeId, ObjectId,
    PayloadId,
};
use tandem_core::label::Label;
use tandem_core::message::{Batch, FolderId, Hello, Message, PROTOCOL, Role};
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::name::{Name, TargetPath};
use tandem_core::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp, Xattrs};
use tandem_core::tree::runs::Runs;
use tandem_core::version::VersionVector;

use crate::stage::{CHUNK, Stage, TICKET};

/// Under which actor he writes.
pub(crate) const BO: ActorId = ActorId(0xb0);

/// The joiner.
pub(crate) struct Bo {
    pub(crate) link: LinkId,
    counter: u64,
    upto: u64,
    /// The registers that he has made, as they are, by what they are about.
    entries: BTreeMap<EntryId, Entry>,
    attrs: BTreeMap<NodeId, Attrs>,
    /// What he knew when he last listened.
    pub(crate) knows: VersionVector,
    bytes: BTreeMap<ObjectId, Vec<u8>>,
    /// The last version that he heard of, of each file.
    versions: BTreeMap<NodeId, Dot>,
    /// The chunks that he has of versions of which he has not all.
    has_only: BTreeMap<ObjectId, Vec<u32>>,
    unsaid: Vec<Register>,
    said: Vec<Register>,
    /// Whether he answers who asks for chunks.
    pub(crate) serves: bool,
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn at(secs: u64) -> WallTime {
    WallTime {
        secs: 1_700_000_000 + i64::try_from(secs).unwrap(),
        nanos: 0,
    }
}

impl Bo {
    /// Joins ada.
    pub(crate) fn join(stage: &mut Stage) -> Self {
        let mut bo = Self {
            link: LinkId(0),
            counter: 0,
            upto: 0,
            entries: BTreeMap::new(),
            attrs: BTreeMap::new(),
            knows: VersionVector::new(),
            bytes: BTreeMap::new(),
            versions: BTreeMap::new(),
            has_only: BTreeMap::new(),
            unsaid: Vec::new(),
            said: Vec::new(),
            serves: true,
        };
        bo.connect(stage);
        bo
    }

    /// Comes (again), knowing what he knew.
    pub(crate) fn connect(&mut self, stage: &mut Stage) {
        self.link = stage.connect("ada", 77);
        let hello = Hello {
            protocol: PROTOCOL,
            folder: Some(FolderId([9; 16])),
            role: Role::Sparse,
            name: Label::lossy("bo"),
            secret: Some(TICKET),
            session: 1 + stage.draw(),
            actor: BO,
            epoch: 5,
            knowledge: self.knows.clone(),
            cursor: None,
            takes_changes: true,
            pushes: false,
        };
        stage.said("ada", self.link, Message::Hello(hello));
    }

    /// Learns what ada has told so far.
    pub(crate) fn listen(&mut self, stage: &mut Stage) {
        for traffic in std::mem::take(&mut stage.traffic) {
            let Message::Registers(batch) = traffic.message else {
                continue;
            };
            if !traffic.is_sent || traffic.side != 0 {
                continue;
            }
            for register in batch.registers {
                match register {
                    Register::Entry(entry) => {
                        self.entries.insert(entry.id, entry);
                    }
                    Register::Attrs(attrs) => {
                        self.attrs.insert(attrs.node, attrs);
                    }
                    Register::Content(content) => {
                        self.versions.insert(content.node, content.stamp.dot);
                    }
                    Register::Digest(_) => {}
                }
            }
            if let Some(knowledge) = batch.knowledge {
                self.knows.merge(&knowledge);
            }
            stage.said("ada", traffic.link, Message::Ack(batch.upto));
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.counter += 1;
        let dot = Dot {
            actor: BO,
            counter: self.counter,
        };
        self.knows.cover(dot);
        // Later than all that ada made so far in these stories.
        let lamport = Lamport(1_000 * self.counter);
        Stamp { lamport, dot }
    }

    fn say_attrs(&mut self, node: NodeId, stamp: Stamp, kind: Kind, mode: u16) {
        let attrs = Attrs {
            node,
            stamp,
            kind,
            mode,
            uid: 1_234,
            gid: 1_234,
            mtime: None,
            xattrs: Xattrs::new(),
        };
        self.attrs.insert(node, attrs.clone());
        self.unsaid.push(Register::Attrs(attrs));
    }

    /// Gives a conflict copy attributes of its own.
    pub(crate) fn own(&mut self, node: NodeId) {
        let stamp = self.stamp();
        self.say_attrs(node, stamp, Kind::File, 0o640);
    }

    fn say_entry(&mut self, node: NodeId, parent: NodeId, text: &str) -> EntryId {
        let stamp = self.stamp();
        let entry = Entry {
            id: EntryId(stamp.dot),
            stamp,
            node,
            parent,
            name: name(text),
            previous: None,
            deleted: None,
        };
        self.entries.insert(entry.id, entry.clone());
        self.unsaid.push(Register::Entry(entry));
        EntryId(stamp.dot)
    }

    fn say_content(&mut self, node: NodeId, context: VersionVector, body: Body) -> Dot {
        let stamp = self.stamp();
        self.unsaid.push(Register::Content(Content {
            node,
            stamp,
            context,
            beside: Vec::new(),
            author: Label::lossy("bo"),
            day: 20_000,
            mtime: at(stamp.dot.counter),
            body,
            base: None,
            changed: None,
        }));
        stamp.dot
    }

    /// Makes a file.
    pub(crate) fn file(&mut self, parent: NodeId, text: &str, bytes: &[u8]) -> NodeId {
        let stamp = self.stamp();
        let node = NodeId(stamp.dot);
        self.say_attrs(node, stamp, Kind::File, 0o640);
        self.write(node, bytes);
        self.say_entry(node, parent, text);
        node
    }

    pub(crate) fn directory(&mut self, parent: NodeId, text: &str) -> NodeId {
        let stamp = self.stamp();
        let node = NodeId(stamp.dot);
        self.say_attrs(node, stamp, Kind::Directory, 0o750);
        self.say_entry(node, parent, text);
        node
    }

    pub(crate) fn symlink(&mut self, parent: NodeId, text: &str, target: &str) -> NodeId {
        let stamp = self.stamp();
        let node = NodeId(stamp.dot);
        self.say_attrs(node, stamp, Kind::Symlink, 0o777);
        let target = TargetPath::parse(target.as_bytes()).unwrap();
        let context = self.knows.clone();
        self.say_content(node, context, Body::Link { target });
        self.say_entry(node, parent, text);
        node
    }

    /// Writes a version on all that he knows.
    pub(crate) fn write(&mut self, node: NodeId, bytes: &[u8]) -> Dot {
        let context = self.knows.clone();
        self.write_on(node, context, bytes)
    }

    /// Writes a version on what he knew once.
    pub(crate) fn write_on(&mut self, node: NodeId, context: VersionVector, bytes: &[u8]) -> Dot {
        let body = Body::File {
            size: bytes.len() as u64,
            chunk_size: CHUNK,
        };
        let version = self.say_content(node, context, body);
        self.bytes
            .insert(ObjectId { node, version }, bytes.to_vec());
        version
    }

    /// Returns the version of a file of which he heard last.
    pub(crate) fn version_of(&self, node: NodeId) -> Dot {
        self.versions[&node]
    }

    /// Says of the last version that he wrote that it is as `base` but in these chunks, and has
    /// the bytes of no others.
    pub(crate) fn only_changed(&mut self, base: Dot, chunks: &[u32]) {
        let Some(Register::Content(content)) = self.unsaid.last_mut() else {
            panic!("he wrote no version");
        };
        content.base = Some(base);
        let mut changed = Runs::default();
        for chunk in chunks {
            changed.insert(ChunkIx(*chunk));
        }
        content.changed = Some(changed);
        let object = content.object();
        self.has_only(object, chunks);
    }

    /// Of this version he has these chunks and no others.
    pub(crate) fn has_only(&mut self, object: ObjectId, chunks: &[u32]) {
        self.has_only.insert(object, chunks.to_vec());
    }

    /// Gives a file a further name.
    pub(crate) fn link(&mut self, node: NodeId, parent: NodeId, text: &str) {
        self.say_entry(node, parent, text);
    }

    fn entry_of(&self, node: NodeId, text: &str) -> Entry {
        let is_it = |entry: &&Entry| {
            entry.node == node && entry.name == name(text) && entry.deleted.is_none()
        };
        self.entries.values().find(is_it).unwrap().clone()
    }

    /// Returns the node of a name in the root that ada made.
    pub(crate) fn find(&self, text: &str) -> NodeId {
        let is_it = |entry: &&Entry| entry.name == name(text) && entry.deleted.is_none();
        self.entries.values().find(is_it).unwrap().node
    }

    pub(crate) fn rename(&mut self, node: NodeId, from: &str, parent: NodeId, to: &str) {
        let old = self.entry_of(node, from);
        let stamp = self.stamp();
        let entry = Entry {
            stamp,
            parent,
            name: name(to),
            previous: Some((old.parent, old.name.clone())),
            ..old
        };
        self.entries.insert(entry.id, entry.clone());
        self.unsaid.push(Register::Entry(entry));
    }

    pub(crate) fn remove(&mut self, node: NodeId, text: &str) {
        let old = self.entry_of(node, text);
        let deleted = Some(self.knows.clone());
        let stamp = self.stamp();
        let entry = Entry {
            stamp,
            deleted,
            ..old
        };
        self.entries.insert(entry.id, entry.clone());
        self.unsaid.push(Register::Entry(entry));
    }

    pub(crate) fn chmod(&mut self, node: NodeId, mode: u16) {
        let stamp = self.stamp();
        let attrs = Attrs {
            stamp,
            mode,
            ..self.attrs[&node].clone()
        };
        self.attrs.insert(node, attrs.clone());
        self.unsaid.push(Register::Attrs(attrs));
    }

    pub(crate) fn touch(&mut self, node: NodeId, secs: u64) {
        let stamp = self.stamp();
        let attrs = Attrs {
            stamp,
            mtime: Some(at(secs)),
            ..self.attrs[&node].clone()
        };
        self.attrs.insert(node, attrs.clone());
        self.unsaid.push(Register::Attrs(attrs));
    }

    /// Tells ada what he made.
    pub(crate) fn tell(&mut self, stage: &mut Stage) {
        self.upto += 1;
        self.said.extend(self.unsaid.iter().cloned());
        let batch = Batch {
            upto: Arrival(self.upto),
            registers: std::mem::take(&mut self.unsaid),
            knowledge: Some(self.knows.clone()),
        };
        stage.said("ada", self.link, Message::Registers(batch));
    }

    /// Tells ada all that he ever made, as to one who may have lost it.
    pub(crate) fn tell_all(&mut self, stage: &mut Stage) {
        self.unsaid = std::mem::take(&mut self.said);
        self.tell(stage);
    }

    /// Answers one chunk that ada asks for; false if she asks for none.
    pub(crate) fn serve_one(&mut self, stage: &mut Stage) -> bool {
        if !self.serves || stage.unanswered.is_empty() {
            return false;
        }
        let (_, fetch, want) = stage.unanswered.remove(0);
        let has_only = self.has_only.get(&want.object);
        let lacks = has_only.is_some_and(|chunks| !chunks.contains(&want.chunk.0));
        let outcome = match self.bytes.get(&want.object) {
            _ if lacks => Fetched::NotHeld,
            None => Fetched::NotHeld,
            Some(bytes) => {
                let from = want.chunk.0 as usize * CHUNK as usize;
                let piece = bytes[from..].iter().take(CHUNK as usize);
                let piece: Vec<u8> = piece.copied().collect();
                let hash = ChunkHash::of(&piece);
                let payload = PayloadId(stage.draw());
                let len = u32::try_from(piece.len()).unwrap();
                stage.side("ada").payloads.insert(payload, piece);
                Fetched::Data {
                    payload,
                    len,
                    computed: hash,
                    recorded: hash,
                }
            }
        };
        stage.event("ada", Event::Fetched { fetch, outcome });
        true
    }

    /// Serves ada for a while, and stays in touch.
    pub(crate) fn attend(&mut self, stage: &mut Stage) {
        for _ in 0..40 {
            while self.serve_one(stage) {}
            stage.said("ada", self.link, Message::Ping);
            stage.wait(Duration::from_millis(250));
        }
    }
}
