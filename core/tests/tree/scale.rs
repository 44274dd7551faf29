//! S40: folders of a million files, directories of a hundred thousand.

use tandem_core::ids::{ActorId, Arrival, Dot, EntryId, Lamport, NodeId};
use tandem_core::label::Label;
use tandem_core::time::WallTime;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp, Xattrs};
use tandem_core::tree::store::Applied;
use tandem_core::tree::view::{Change, Tree};
use tandem_core::version::VersionVector;

/// Makes the registers of one host that was filled and never changed.
struct Host {
    counter: u64,
    label: Label,
}

impl Host {
    fn new() -> Self {
        let label = Label::parse("ada").unwrap();
        Self { counter: 0, label }
    }

    fn dot(&mut self) -> Dot {
        self.counter += 1;
        Dot {
            actor: ActorId(1),
            counter: self.counter,
        }
    }

    fn stamp(&mut self) -> Stamp {
        let dot = self.dot();
        let lamport = Lamport(dot.counter);
        Stamp { lamport, dot }
    }

    fn node(&mut self, parent: NodeId, name: &str, kind: Kind) -> (NodeId, Vec<Register>) {
        let node = NodeId(self.dot());
        let mut registers = vec![Register::Attrs(Attrs {
            node,
            stamp: self.stamp(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: None,
            xattrs: Xattrs::new(),
        })];
        if kind == Kind::File {
            registers.push(Register::Content(Content {
                node,
                stamp: self.stamp(),
                context: VersionVector::new(),
                beside: Vec::new(),
                author: self.label.clone(),
                day: 20_780,
                mtime: WallTime::default(),
                body: Body::File {
                    size: 10,
                    chunk_size: 512 * 1024,
                },
                base: None,
                changed: None,
            }));
        }
        registers.push(Register::Entry(Entry {
            id: EntryId(self.dot()),
            stamp: self.stamp(),
            node,
            parent,
            name: Name::parse(name.as_bytes()).unwrap(),
            previous: None,
            deleted: None,
        }));
        (node, registers)
    }
}

#[test]
fn a_directory_of_100_000_takes_another_without_looking_at_the_rest() {
    let mut host = Host::new();
    let mut tree = Tree::new();
    let mut changes = Vec::new();
    let (dir, registers) = host.node(NodeId::ROOT, "d", Kind::Directory);
    for register in registers {
        tree.apply(register, &mut changes);
    }
    // Were each to look at the rest, these would be 15,000,000,000 steps, and the test not end.
    for n in 0..100_000 {
        changes.clear();
        let (node, registers) = host.node(dir, &format!("{n}"), Kind::File);
        for register in registers {
            tree.apply(register, &mut changes);
        }
        assert_eq!(changes.len(), 2, "a name and a version: {changes:?}");
        let view = tree.node(node).unwrap();
        assert_eq!((view.size, view.nlink), (10, 1));
    }
    assert_eq!((tree.count(), tree.bytes()), (100_001, 1_000_000));
    assert_eq!(tree.list(dir).count(), 100_000);
    let next = tree.list_after(dir, Some(b"9999")).next();
    assert_eq!(next.map(|(name, _)| name.to_string()), Some("99990".into()));

    // The directory moves, and nobody in it is told of.
    changes.clear();
    let id = tree.entry_at(NodeId::ROOT, b"d").unwrap();
    let entry = tree.registers().entry(id).unwrap().clone();
    let previous = Some((entry.parent, entry.name.clone()));
    let moved = Entry {
        stamp: host.stamp(),
        name: Name::parse(b"e").unwrap(),
        previous,
        ..entry
    };
    tree.apply(Register::Entry(moved), &mut changes);
    assert!(
        matches!(
            changes[..],
            [Change::Vanished { .. }, Change::Appeared { .. }]
        ),
        "{changes:?}"
    );
}

#[test]
#[expect(
    clippy::disallowed_types,
    reason = "how long it takes is what it tells"
)]
#[ignore = "a million files take a gigabyte and, without optimisation, a minute"]
fn a_million_files_are_restored_in_seconds() {
    let mut host = Host::new();
    let mut all = Vec::new();
    for d in 0..10_000 {
        let (dir, registers) = host.node(NodeId::ROOT, &format!("dir{d}"), Kind::Directory);
        all.extend(registers);
        for f in 0..100 {
            let (_, registers) = host.node(dir, &format!("file{f}.txt"), Kind::File);
            all.extend(registers);
        }
    }
    let before = resident();
    let start = std::time::Instant::now();
    let mut tree = Tree::new();
    for (n, register) in (1_u64..).zip(all.drain(..)) {
        let applied = tree.restore(Arrival(n), register);
        assert!(matches!(applied, Applied::Stored { .. }), "{applied:?}");
    }
    println!("restored in {:?}", start.elapsed());
    tree.settle();
    println!("settled after {:?}", start.elapsed());
    println!("{} bytes a node", (resident() - before) / tree.count());
    assert_eq!(tree.count(), 1_010_000);
}

/// Returns the resident memory of this process in bytes; 0 where that can't be read.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}
