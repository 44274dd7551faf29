//! A peer that makes registers as an engine would, and checks its tree after each.

use std::collections::BTreeMap;

use tandem_core::ids::{ActorId, Arrival, Dot, EntryId, Lamport, NodeId, ObjectId};
use tandem_core::label::Label;
use tandem_core::time::WallTime;
use tandem_core::tree::check::View;
use tandem_core::tree::name::{Name, TargetPath};
use tandem_core::tree::register::{
    Attrs, Body, Content, Digest, Entry, Kind, Register, Stamp, Xattrs,
};
use tandem_core::tree::store::Applied;
use tandem_core::tree::view::{Change, Tree};
use tandem_core::version::VersionVector;

/// 2026-11-23.
pub(crate) const DAY: u32 = 20_780;

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) actor: ActorId,
    pub(crate) tree: Tree,
    pub(crate) knowledge: VersionVector,
    /// All that it made.
    pub(crate) made: Vec<Register>,
    /// What the changes that were told add up to.
    mirror: BTreeMap<(NodeId, Name), NodeId>,
    versions: BTreeMap<NodeId, Dot>,
    counter: u64,
    label: Label,
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

impl Peer {
    pub(crate) fn new(actor: u64, label: &str) -> Self {
        Self {
            actor: ActorId(actor),
            tree: Tree::new(),
            knowledge: VersionVector::new(),
            made: Vec::new(),
            mirror: BTreeMap::new(),
            versions: BTreeMap::new(),
            counter: 0,
            label: Label::parse(label).unwrap(),
        }
    }

    // Making registers.

    fn dot(&mut self) -> Dot {
        self.counter += 1;
        let dot = Dot {
            actor: self.actor,
            counter: self.counter,
        };
        self.knowledge.cover(dot);
        dot
    }

    fn stamp(&mut self) -> Stamp {
        Stamp {
            lamport: Lamport(self.tree.registers().lamport().0 + 1),
            dot: self.dot(),
        }
    }

    pub(crate) fn make(&mut self, register: Register) {
        self.made.push(register.clone());
        let applied = self.take(register.clone());
        assert!(
            matches!(applied, Applied::Stored { .. }),
            "{applied:?} {register:?}"
        );
    }

    fn create(&mut self, dir: NodeId, at: &str, kind: Kind) -> NodeId {
        let node = NodeId(self.dot());
        self.attrs(node, kind, 0o644, None);
        self.enter(node, dir, at);
        node
    }

    pub(crate) fn mkdir(&mut self, dir: NodeId, at: &str) -> NodeId {
        self.create(dir, at, Kind::Directory)
    }

    pub(crate) fn write(&mut self, dir: NodeId, at: &str, size: u64) -> NodeId {
        let node = self.create(dir, at, Kind::File);
        self.edit(node, size);
        node
    }

    pub(crate) fn symlink(&mut self, dir: NodeId, at: &str, target: &str) -> NodeId {
        let node = self.create(dir, at, Kind::Symlink);
        let target = TargetPath::parse(target.as_bytes()).unwrap();
        self.content(node, None, Body::Link { target });
        node
    }

    pub(crate) fn attrs(&mut self, node: NodeId, kind: Kind, mode: u16, mtime: Option<WallTime>) {
        let attrs = Attrs {
            node,
            stamp: self.stamp(),
            kind,
            mode,
            uid: 1,
            gid: 2,
            mtime,
            xattrs: Xattrs::new(),
        };
        self.make(Register::Attrs(attrs));
    }

    pub(crate) fn chmod(&mut self, node: NodeId, mode: u16) {
        let kind = self.tree.node(node).unwrap().kind;
        self.attrs(node, kind, mode, None);
    }

    /// Gives a node another name, or a copy its first.
    pub(crate) fn enter(&mut self, node: NodeId, dir: NodeId, at: &str) -> EntryId {
        let id = EntryId(self.dot());
        let entry = Entry {
            id,
            stamp: self.stamp(),
            node,
            parent: dir,
            name: name(at),
            previous: None,
            deleted: None,
        };
        self.make(Register::Entry(entry));
        id
    }

    /// Writes to a file as it is shown here.
    pub(crate) fn edit(&mut self, node: NodeId, size: u64) -> Dot {
        let shown = self.tree.node(node).and_then(|view| view.version);
        let chunk_size = 512 * 1024;
        self.content(node, shown, Body::File { size, chunk_size })
    }

    pub(crate) fn content(&mut self, node: NodeId, base: Option<Dot>, body: Body) -> Dot {
        let (context, beside) = self.tree.registers().context_for(node, base);
        let stamp = self.stamp();
        let content = Content {
            node,
            stamp,
            context,
            beside,
            author: self.label.clone(),
            day: DAY,
            mtime: WallTime {
                secs: i64::try_from(stamp.lamport.0).unwrap(),
                nanos: 0,
            },
            body,
            base: None,
            changed: None,
        };
        self.make(Register::Content(content));
        stamp.dot
    }

    pub(crate) fn digest(&mut self, object: ObjectId, hash: u128) {
        let stamp = self.stamp();
        self.make(Register::Digest(Digest {
            object,
            stamp,
            hash,
        }));
    }

    /// Tells the digest of what is shown of a file.
    pub(crate) fn hash(&mut self, node: NodeId, hash: u128) {
        let object = self.tree.node(node).unwrap().object.unwrap();
        self.digest(object, hash);
    }

    pub(crate) fn rename(&mut self, dir: NodeId, at: &str, to: NodeId, new: &str) {
        let Some(id) = self.tree.entry_at(dir, at.as_bytes()) else {
            // A copy gets an entry of its own.
            let node = self.tree.lookup(dir, at.as_bytes()).unwrap();
            self.enter(node, to, new);
            return;
        };
        let entry = self.tree.registers().entry(id).unwrap().clone();
        let entry = Entry {
            stamp: self.stamp(),
            previous: Some((entry.parent, entry.name)),
            parent: to,
            name: name(new),
            ..entry
        };
        self.make(Register::Entry(entry));
    }

    pub(crate) fn remove(&mut self, dir: NodeId, at: &str) {
        let deleted = Some(self.knowledge.clone());
        let entry = match self.tree.entry_at(dir, at.as_bytes()) {
            Some(id) => self.tree.registers().entry(id).unwrap().clone(),
            None => {
                let node = self.tree.lookup(dir, at.as_bytes()).unwrap();
                Entry {
                    id: EntryId(self.dot()),
                    stamp: Stamp {
                        lamport: Lamport(1),
                        dot: Dot::default(),
                    },
                    node,
                    parent: dir,
                    name: name(at),
                    previous: None,
                    deleted: None,
                }
            }
        };
        let stamp = self.stamp();
        self.make(Register::Entry(Entry {
            stamp,
            deleted,
            ..entry
        }));
    }

    // Talking.

    /// Takes all that `other` has.
    pub(crate) fn pull(&mut self, other: &Self) {
        for (_, register) in other.tree.registers().after(Arrival(0)) {
            self.take(register);
        }
        self.knowledge.merge(&other.knowledge);
    }

    /// Takes some of what `other` has, and so knows nothing for sure.
    pub(crate) fn pull_some(&mut self, other: &Self, from: usize, some: usize) {
        let registers = other.tree.registers();
        for (_, register) in registers.after(Arrival(0)).skip(from).take(some) {
            self.take(register);
        }
    }

    pub(crate) fn take(&mut self, register: Register) -> Applied {
        let mut changes = Vec::new();
        let applied = self.tree.apply(register, &mut changes);
        if !matches!(applied, Applied::Stored { .. }) {
            assert_eq!(changes, []);
        }
        self.replay(&changes);
        self.check();
        applied
    }

    fn replay(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Vanished { dir, name, node } => {
                    assert_eq!(self.mirror.remove(&(dir, name)), Some(node), "{changes:?}");
                }
                Change::Appeared { dir, name, node } => {
                    assert_eq!(self.mirror.insert((dir, name), node), None, "{changes:?}");
                }
                Change::Content { node, from, to } => {
                    let former = match to {
                        Some(to) => self.versions.insert(node, to),
                        None => self.versions.remove(&node),
                    };
                    assert_eq!(former, from, "{changes:?}");
                }
                Change::Attributes { node } => {
                    assert!(self.tree.node(node).is_some(), "{changes:?}");
                }
            }
        }
    }

    /// Compares the tree with what it must be.
    pub(crate) fn check(&self) {
        let view = View::of(&self.tree);
        let scratch = View::from_scratch(self.tree.registers());
        assert_eq!(view, scratch);
        let mirror = view.names.iter();
        let mirror: BTreeMap<_, _> = mirror.map(|(at, (node, _))| (at.clone(), *node)).collect();
        assert_eq!(self.mirror, mirror);
        let versions = view.nodes.iter();
        let versions: BTreeMap<_, _> = versions
            .filter_map(|(&node, look)| Some((node, look.object?.version)))
            .collect();
        assert_eq!(self.versions, versions);
        let count = u64::try_from(view.nodes.len()).unwrap() - 1;
        assert_eq!(self.tree.count(), count);
        let files = view.nodes.values().filter(|look| look.kind == Kind::File);
        assert_eq!(self.tree.bytes(), files.map(|look| look.size).sum::<u64>());
        for ((dir, name), (node, _)) in &view.names {
            assert!(view.nodes.contains_key(node), "S17: {name} leads nowhere");
            let mut places = self.tree.places(*node);
            assert!(
                places.any(|place| place == (*dir, name)),
                "{name} is no place"
            );
            let path = self.tree.path(*node).unwrap();
            assert_eq!(self.tree.resolve(&path), Some(*node));
        }
    }

    /// Lists everything as paths, with the size and number of links of files.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut ahead = vec![(String::new(), NodeId::ROOT)];
        while let Some((path, dir)) = ahead.pop() {
            for (name, node) in self.tree.list(dir) {
                let path = format!("{path}/{name}");
                let view = self.tree.node(node).unwrap();
                if view.kind == Kind::Directory {
                    lines.push(format!("{path}/"));
                    ahead.push((path, node));
                } else {
                    lines.push(format!("{path} {}", view.size));
                }
            }
        }
        lines.sort();
        lines
    }
}
