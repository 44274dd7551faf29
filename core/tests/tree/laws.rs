//! Laws over the histories of three peers that make what they like and talk when they like.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;
use tandem_core::ids::{Arrival, NodeId};
use tandem_core::tree::check::View;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;
use tandem_core::tree::store::Applied;
use tandem_core::tree::view::Tree;

use crate::peer::Peer;

const NAMES: [&str; 3] = ["a", "b.txt", "c"];

#[derive(Clone, Copy, Debug)]
enum Deed {
    Mkdir,
    Write,
    Symlink,
    Edit,
    Chmod,
    Hash,
    Link,
    Rename,
    Remove,
    Pull,
    PullSome,
}

#[derive(Clone)]
struct Step {
    peer: usize,
    deed: Deed,
    /// What it is done to, and where to.
    which: Index,
    to: Index,
    name: usize,
    size: u8,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (which, to) = (self.which.index(1_000), self.to.index(1_000));
        let Self {
            peer,
            deed,
            name,
            size,
            ..
        } = self;
        write!(f, "{peer} {deed:?} {which} to {to} as {name}, {size}")
    }
}

fn step() -> impl Strategy<Value = Step> {
    let deed = prop_oneof![
        3 => Just(Deed::Mkdir),
        4 => Just(Deed::Write),
        1 => Just(Deed::Symlink),
        4 => Just(Deed::Edit),
        1 => Just(Deed::Chmod),
        2 => Just(Deed::Hash),
        1 => Just(Deed::Link),
        5 => Just(Deed::Rename),
        4 => Just(Deed::Remove),
        4 => Just(Deed::Pull),
        1 => Just(Deed::PullSome),
    ];
    let step = (
        0..3_usize,
        deed,
        any::<Index>(),
        any::<Index>(),
        0..3_usize,
        0..3_u8,
    );
    step.prop_map(|(peer, deed, which, to, name, size)| Step {
        peer,
        deed,
        which,
        to,
        name,
        size,
    })
}

fn pick<T: Clone>(all: &[T], index: Index) -> Option<T> {
    (!all.is_empty()).then(|| index.get(all).clone())
}

fn act(peers: &mut [Peer], step: &Step) {
    let other = peers[(step.peer + 1 + usize::from(step.size) % 2) % 3].clone();
    let peer = &mut peers[step.peer];
    let view = View::of(&peer.tree);
    let names: Vec<((NodeId, Name), NodeId)> = view
        .names
        .iter()
        .map(|(at, (node, _))| (at.clone(), *node))
        .collect();
    let of_kind = |kind| {
        let nodes = view.nodes.iter();
        let nodes = nodes.filter(move |(_, look)| look.kind == kind);
        nodes.map(|(&node, _)| node).collect::<Vec<_>>()
    };
    let files = of_kind(Kind::File);
    let dir = pick(&of_kind(Kind::Directory), step.to).unwrap();
    let new = NAMES[step.name];
    let size = u64::from(step.size);
    match step.deed {
        Deed::Mkdir => drop(peer.mkdir(dir, new)),
        Deed::Write => drop(peer.write(dir, new, size)),
        Deed::Symlink => drop(peer.symlink(dir, new, NAMES[usize::from(step.size)])),
        Deed::Edit => {
            if let Some(file) = pick(&files, step.which) {
                if peer.tree.registers().entries_of(file).next().is_none() {
                    // A copy that is touched gets an entry of its own.
                    let (dir, name) = peer.tree.places(file).next().unwrap();
                    let name = name.to_string();
                    peer.enter(file, dir, &name);
                }
                peer.edit(file, size);
            }
        }
        Deed::Chmod => {
            if let Some((_, node)) = pick(&names, step.which) {
                peer.chmod(node, 0o600 + u16::from(step.size));
            }
        }
        Deed::Hash => {
            if let Some(file) = pick(&files, step.which) {
                peer.hash(file, 7);
            }
        }
        Deed::Link => {
            if let Some(file) = pick(&files, step.which) {
                peer.enter(file, dir, new);
            }
        }
        Deed::Rename => {
            // Nobody looks where it goes: into itself as well.
            if let Some(((from, old), _)) = pick(&names, step.which) {
                peer.rename(from, &old.to_string(), dir, new);
            }
        }
        Deed::Remove => {
            if let Some(((from, old), _)) = pick(&names, step.which) {
                peer.remove(from, &old.to_string());
            }
        }
        Deed::Pull => peer.pull(&other),
        Deed::PullSome => {
            let len = other.tree.registers().len() + 1;
            peer.pull_some(&other, step.which.index(len), step.to.index(len));
        }
    }
}

fn lived(steps: &[Step]) -> Vec<Peer> {
    let mut peers = vec![Peer::new(1, "ada"), Peer::new(2, "bo"), Peer::new(3, "cy")];
    for step in steps {
        act(&mut peers, step);
    }
    peers
}

/// Shuffles by keys, without a generator of chance of its own.
fn shuffled<T: Clone>(all: &[T], keys: &[u32]) -> Vec<T> {
    let mut keyed: Vec<_> = (0_u32..).zip(all).collect();
    keyed.sort_by_key(|&(n, _)| {
        let key = keys.iter().cycle().nth(usize::try_from(n).unwrap());
        (key.unwrap().rotate_left(n % 32), n)
    });
    keyed.into_iter().map(|(_, one)| one.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each peer compares its tree with the one from scratch, and the changes that it was told
    /// with both, after every register: `Peer::take`.
    #[test]
    fn the_tree_is_the_one_from_scratch_and_peers_that_talked_agree(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut peers = lived(&steps);
        for _ in 0..2 {
            for n in 0..3 {
                let other = peers[(n + 1) % 3].clone();
                peers[n].pull(&other);
            }
        }
        let view = View::of(&peers[0].tree);
        prop_assert_eq!(&view, &View::of(&peers[1].tree));
        prop_assert_eq!(&view, &View::of(&peers[2].tree));
    }

    #[test]
    fn any_order_of_arrival_gives_the_same_tree(
        steps in prop::collection::vec(step(), 1..60),
        keys in prop::collection::vec(any::<u32>(), 1..50),
    ) {
        let peers = lived(&steps);
        let mut in_order = Peer::new(8, "dee");
        let all: Vec<_> = peers.iter().flat_map(|peer| peer.made.clone()).collect();
        for register in &all {
            in_order.take(register.clone());
        }
        let mut shuffle = Peer::new(9, "eve");
        for register in shuffled(&all, &keys) {
            let applied = shuffle.take(register);
            prop_assert!(!matches!(applied, Applied::Refused(_)), "{:?}", applied);
        }
        prop_assert_eq!(View::of(&in_order.tree), View::of(&shuffle.tree));
        for register in all {
            prop_assert_eq!(shuffle.take(register), Applied::Known);
        }
    }

    #[test]
    fn a_tree_that_is_restored_is_the_same(
        steps in prop::collection::vec(step(), 1..60),
        keys in prop::collection::vec(any::<u32>(), 1..50),
    ) {
        for peer in lived(&steps) {
            let registers = peer.tree.registers();
            let all: Vec<_> = registers.after(Arrival(0)).collect();
            let mut tree = Tree::new();
            for (arrival, register) in shuffled(&all, &keys) {
                let applied = tree.restore(arrival, register);
                prop_assert_eq!(applied, Applied::Stored { arrival, replaced: vec![] });
            }
            tree.settle();
            prop_assert_eq!(View::of(&tree), View::of(&peer.tree));
            prop_assert_eq!(tree.count(), peer.tree.count());
            prop_assert_eq!(tree.bytes(), peer.tree.bytes());
            prop_assert_eq!(tree.registers().last_arrival(), registers.last_arrival());
            let greatest = all.iter().map(|(_, register)| register.stamp().lamport).max();
            prop_assert_eq!(tree.registers().lamport(), greatest.unwrap_or_default());
            let again: Vec<_> = tree.registers().after(Arrival(0)).collect();
            prop_assert_eq!(again, all);
        }
    }
}
