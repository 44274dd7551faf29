//! A hostile peer, straight into a live engine: it is never believed beyond what it may say,
//! nothing panics or grows without bound, and an honest peer is served afterwards.

use proptest::prelude::*;
use tandem_core::action::FsReply;
use tandem_core::engine::Last;
use tandem_core::error::{Fault, FsError};
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{
    ActorId, Arrival, AskId, ChunkIx, Dot, EntryId, Ino, Lamport, LinkId, NodeId, ObjectId, PeerId,
};
use tandem_core::label::Label;
use tandem_core::limits::{
    ACTORS_MAX, ASKS_PER_LINK_MAX, BATCH_REGISTERS_MAX, COUNTER_MAX, FILE_SIZE_MAX, GREETING_MAX,
    LAMPORT_LEAP_MAX,
};
use tandem_core::message::{Batch, FolderId, Hello, Message, PROTOCOL, Role, Want};
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::name::Name;
use tandem_core::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp, Xattrs};
use tandem_core::version::VersionVector;

use crate::app::{both, close, create, newest, written};
use crate::placing::tree;
use crate::stage::{Held, Side, Stage, TICKET, photo};

/// Under which actor the hostile peer writes.
const EVIL: ActorId = ActorId(666);

fn dot(counter: u64) -> Dot {
    let actor = EVIL;
    Dot { actor, counter }
}

fn stamp(counter: u64, lamport: u64) -> Stamp {
    let dot = dot(counter);
    let lamport = Lamport(lamport);
    Stamp { lamport, dot }
}

fn attrs(node: NodeId, stamp: Stamp, kind: Kind) -> Register {
    Register::Attrs(Attrs {
        node,
        stamp,
        kind,
        mode: 0o700,
        uid: 0,
        gid: 0,
        mtime: None,
        xattrs: Xattrs::new(),
    })
}

fn entry(id: EntryId, stamp: Stamp, node: NodeId, parent: NodeId, name: &str) -> Register {
    Register::Entry(Entry {
        id,
        stamp,
        node,
        parent,
        name: Name::parse(name.as_bytes()).unwrap(),
        previous: None,
        deleted: None,
    })
}

fn content(node: NodeId, stamp: Stamp, size: u64, chunk_size: u32) -> Register {
    Register::Content(Content {
        node,
        stamp,
        context: VersionVector::new(),
        beside: Vec::new(),
        author: Label::parse("eve").unwrap(),
        day: 0,
        mtime: WallTime::default(),
        body: Body::File { size, chunk_size },
        base: None,
        changed: None,
    })
}

fn batch(upto: u64, registers: Vec<Register>, knowledge: Option<VersionVector>) -> Message {
    let upto = Arrival(upto);
    Message::Registers(Batch {
        upto,
        registers,
        knowledge,
    })
}

fn hello(role: Role, knowledge: VersionVector) -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([9; 16])),
        role,
        name: Label::parse("eve").unwrap(),
        secret: Some(TICKET),
        session: 6,
        actor: EVIL,
        epoch: 6,
        knowledge,
        cursor: None,
        takes_changes: true,
        pushes: false,
    })
}

/// Says something to bo as if ada were hostile; returns the faults that bo then tells.
fn to_bo(stage: &mut Stage, message: Message) -> Vec<Fault> {
    stage.wait(Duration::from_secs(1));
    stage.side("bo").faults.clear();
    let link = *stage.links("bo").last().expect("bo dials again");
    stage.said("bo", link, message);
    stage.side("bo").faults.clone()
}

fn broke(faults: &[Fault]) -> bool {
    matches!(faults, [Fault::Protocol { .. }])
}

/// A host that is nothing but lies, to which bo has gone.
struct Liar {
    stage: Stage,
    greeted: Option<LinkId>,
    /// What it says there is.
    folder: Vec<Register>,
}

impl Liar {
    /// Has one file, `photo`, of which it will send nothing.
    fn new() -> Self {
        let node = NodeId(dot(1_000));
        let folder = vec![
            attrs(node, stamp(1_000, 0), Kind::File),
            content(node, stamp(1_001, 0), 1_600, 512),
            entry(
                EntryId(dot(1_002)),
                stamp(1_002, 0),
                node,
                NodeId::ROOT,
                "photo",
            ),
        ];
        let mut stage = Stage::of(vec![Side::joiner(1, "bo")]);
        stage.start("bo", Last::Clean);
        let mut liar = Self {
            stage,
            greeted: None,
            folder: folder.clone(),
        };
        let knows = [(EVIL, 1_002)].into_iter().collect();
        assert_eq!(liar.say(batch(0, folder, Some(knows))), []);
        assert!(liar.stage.shown("bo").contains("/photo"));
        liar
    }

    /// Says something, after a hello where one is due; returns the faults that bo then tells.
    fn say(&mut self, message: Message) -> Vec<Fault> {
        self.stage.wait(Duration::from_secs(2));
        let link = self.stage.puppet.expect("bo has dialled");
        if self.greeted.replace(link) != Some(link) {
            self.stage
                .said("bo", link, hello(Role::Full, VersionVector::new()));
        }
        self.stage.side("bo").faults.clear();
        self.stage.said("bo", link, message);
        self.stage.side("bo").faults.clone()
    }

    /// Every name that is listed is reached, a walk ends, and a read ends in an error or waits.
    fn walk(&mut self) {
        let shown = self.stage.shown("bo");
        assert!(shown.len() < 100, "{shown:?}");
        for path in shown.iter().filter(|path| path.matches('/').count() == 1) {
            let ino = self.stage.lookup("bo", &path[1..]);
            let write = false;
            let open = self.stage.call("bo", FsCall::Open { ino, write });
            if let Some(Ok(FsReply::Opened { fh, .. })) = self.stage.answer("bo", open) {
                let read = self.stage.read("bo", fh, 0, 10);
                let said = self.stage.answer("bo", read);
                assert!(!matches!(said, Some(Ok(FsReply::Data(_)))), "P1: {said:?}");
                self.stage.call("bo", FsCall::Release { fh });
            }
        }
    }

    /// What bo has stored it reads again.
    fn restart(&mut self) {
        let before = self.stage.shown("bo");
        self.stage.kill("bo");
        self.stage.start("bo", Last::Killed);
        assert_eq!(self.stage.shown("bo"), before);
    }
}

/// Lets eve in at ada's with a key and the ticket, and returns her link.
fn eve(stage: &mut Stage, role: Role, knowledge: VersionVector) -> LinkId {
    let link = stage.connect("ada", 66);
    stage.said("ada", link, hello(role, knowledge));
    link
}

/// What ada writes from here on reaches bo, who reads it.
fn honest_after(stage: &mut Stage) {
    stage.wait(Duration::from_secs(2));
    stage.cut();
    stage.wait(Duration::from_secs(2));
    stage.side("ada").files.write("after", &[9; 700]);
    stage.hint("after");
    let fh = stage.open("bo", "after");
    let read = stage.read("bo", fh, 600, 50);
    assert_eq!(stage.bytes("bo", read), [9; 50]);
}

#[test]
fn a_register_from_the_end_of_time_freezes_nothing() {
    for lamport in [
        u64::MAX,
        COUNTER_MAX + 1,
        COUNTER_MAX,
        LAMPORT_LEAP_MAX + 100,
    ] {
        let mut stage = Stage::met();
        let last = attrs(NodeId::ROOT, stamp(1, lamport), Kind::Directory);
        let faults = to_bo(&mut stage, batch(9, vec![last], None));
        assert!(broke(&faults), "{lamport}: {faults:?}");
        honest_after(&mut stage);
        // The next writer wins, as ever.
        stage.side("ada").files.chmod("", 0o711);
        stage.event(
            "ada",
            Event::Hint(tandem_core::event::Hint::Subtree { path: Vec::new() }),
        );
        stage.hint("after");
        let ino = Ino::ROOT;
        let root = stage.call("bo", FsCall::GetAttr { ino });
        let shown = format!("{:?}", stage.answer("bo", root));
        assert!(!shown.contains(&format!("mode: {}", 0o700)), "{shown}");
    }
}

#[test]
fn counters_that_leave_no_room_are_refused() {
    for counter in [0, COUNTER_MAX + 1, u64::MAX] {
        let mut stage = Stage::met();
        let node = NodeId(dot(counter));
        let said = attrs(node, stamp(counter, 9), Kind::File);
        let faults = to_bo(&mut stage, batch(9, vec![said], None));
        assert!(broke(&faults), "{counter}: {faults:?}");
        honest_after(&mut stage);
    }
}

#[test]
fn nobody_knows_what_ada_is_yet_to_write() {
    // Were she to believe it, her next updates would count as known, and reach nobody.
    for role in [Role::Sparse, Role::Guest] {
        let mut stage = Stage::met();
        let now = stage.now;
        let actor = stage.side("ada").engine().status(now).actor;
        let far: VersionVector = [(actor, COUNTER_MAX)].into_iter().collect();
        let link = eve(&mut stage, role, VersionVector::new());
        stage.said("ada", link, batch(1, Vec::new(), Some(far.clone())));
        let is_another = stage.side("ada").engine().status(now).actor != actor;
        assert!(!is_another, "nor has she to become another for it");
        stage.side("ada").files.write("letter", b"dear bo");
        stage.hint("letter");
        assert!(
            stage.shown("bo").contains("/letter"),
            "bo still hears of it"
        );
        honest_after(&mut stage);

        let mut stage = Stage::met();
        eve(&mut stage, role, far);
        let is_another = stage.side("ada").engine().status(now).actor != actor;
        // A member's word may mean that our store is older than it was; a guest's means nothing.
        assert_eq!(is_another, role == Role::Sparse);
        honest_after(&mut stage);
    }
}

/// Eve calls herself a host, and claims to know all that bo ever makes: ada believed her, and what bo
/// made then was told to nobody.
#[test]
fn who_calls_herself_a_host_keeps_nobody_from_telling() {
    for role in [Role::Full, Role::Sparse] {
        let mut stage = both();
        let (_, fh) = create(&mut stage, "before");
        close(&mut stage, fh);
        stage.wait(Duration::from_secs(2));
        let actor = newest(&mut stage).version.actor;
        stage.mute("ada");
        let (_, fh) = create(&mut stage, "after");
        written(&mut stage, fh, 0, b"bytes", 101);
        close(&mut stage, fh);
        let all = [(actor, COUNTER_MAX)]
            .into_iter()
            .collect::<VersionVector>();
        let link = eve(&mut stage, role, VersionVector::new());
        stage.said("ada", link, batch(1, Vec::new(), Some(all)));
        stage.unmute("ada");
        stage.wait(Duration::from_secs(40));
        let files = tree(&mut stage);
        assert_eq!(
            files.get("after").map(Vec::as_slice),
            Some(&b"bytes"[..]),
            "{role:?}"
        );
    }
}

#[test]
fn knowledge_of_actors_that_nobody_met_is_not_passed_on() {
    let mut stage = Stage::met();
    let link = eve(&mut stage, Role::Sparse, VersionVector::new());
    let many = |from: u64| {
        let actors = from..from + ACTORS_MAX as u64 - 10;
        actors
            .map(|actor| (ActorId(actor), 1))
            .collect::<VersionVector>()
    };
    stage.said("ada", link, batch(1, Vec::new(), Some(many(1_000))));
    stage.side("ada").faults.clear();
    stage.said("ada", link, batch(2, Vec::new(), Some(many(1_000_000))));
    assert!(
        broke(&stage.side("ada").faults.clone()),
        "two vectors of all are too many"
    );
    stage.traffic.clear();
    honest_after(&mut stage);
    for traffic in &stage.traffic {
        if let Message::Hello(hello) = &traffic.message {
            assert!(hello.knowledge.actors() < 5, "{}", hello.knowledge.actors());
        }
    }
}

#[test]
fn a_host_that_knows_too_much_is_hung_up_on() {
    let mut stage = Stage::met();
    for from in [1, 1_000_000] {
        let actors = from..from + ACTORS_MAX as u64 - 10;
        let many = actors.map(|actor| (ActorId(actor), 1)).collect();
        let faults = to_bo(&mut stage, batch(9, Vec::new(), Some(many)));
        assert_eq!(broke(&faults), from > 1, "{faults:?}");
    }
}

#[test]
fn trees_that_are_none_are_refused_or_shown_as_trees() {
    let at = |counter| stamp(counter, counter);
    let (a, b, photo) = (NodeId(dot(11)), NodeId(dot(12)), NodeId(dot(1_000)));
    let (ghost, nowhere) = (NodeId(dot(900)), NodeId(dot(901)));
    let own_parent = vec![
        attrs(a, at(11), Kind::Directory),
        entry(EntryId(dot(13)), at(13), a, a, "self"),
    ];
    let cycle = vec![
        attrs(b, at(12), Kind::Directory),
        entry(EntryId(dot(13)), at(14), a, b, "a"),
        entry(EntryId(dot(15)), at(15), b, a, "b"),
    ];
    let below_a_file = vec![entry(EntryId(dot(16)), at(16), b, photo, "below")];
    let root_elsewhere = vec![entry(EntryId(dot(17)), at(17), NodeId::ROOT, a, "root")];
    let root_is_a_file = vec![attrs(NodeId::ROOT, at(18), Kind::File)];
    let file_is_a_directory = vec![attrs(photo, at(19), Kind::Directory)];
    let root_has_bytes = vec![content(NodeId::ROOT, at(20), 10, 512)];
    let vast = vec![content(photo, at(21), FILE_SIZE_MAX + 1, 512)];
    let orphan = vec![entry(EntryId(dot(22)), at(22), ghost, nowhere, "ghost")];
    let mut liar = Liar::new();
    let all = [
        own_parent,
        cycle,
        below_a_file,
        root_elsewhere,
        root_is_a_file,
        file_is_a_directory,
        root_has_bytes,
        vast,
        orphan,
    ];
    for said in all {
        liar.say(batch(9, said, None));
        liar.walk();
        let shown = liar.stage.shown("bo");
        assert!(shown.contains("/photo"), "{shown:?}");
    }
    liar.restart();
}

#[test]
fn a_file_of_more_chunks_than_can_be_counted_reads_as_an_error() {
    let mut liar = Liar::new();
    let node = NodeId(dot(1));
    let vast = vec![
        attrs(node, stamp(1, 1), Kind::File),
        content(node, stamp(2, 2), FILE_SIZE_MAX, 512),
        entry(EntryId(dot(3)), stamp(3, 3), node, NodeId::ROOT, "vast"),
    ];
    if !broke(&liar.say(batch(9, vast, None))) {
        let fh = liar.stage.open("bo", "vast");
        let read = liar.stage.read("bo", fh, 0, 10);
        assert_eq!(liar.stage.answer("bo", read), Some(Err(FsError::Io)));
    }
    liar.walk();
    liar.restart();
}

#[test]
fn a_batch_out_of_order_or_over_its_bound_ends_the_link() {
    let mut liar = Liar::new();
    let folder = liar.folder.clone();
    assert_eq!(liar.say(batch(u64::MAX, folder.clone(), None)), []);
    assert!(broke(&liar.say(batch(5, Vec::new(), None))), "it went back");
    let many = vec![folder[0].clone(); BATCH_REGISTERS_MAX + 1];
    assert!(broke(&liar.say(batch(9, many, None))));
    assert!(broke(&liar.say(Message::Ack(Arrival(u64::MAX)))));
    assert!(broke(&liar.say(hello(Role::Full, VersionVector::new()))));
    liar.walk();
    liar.restart();
}

/// S31: strangers who connect and say nothing hold so many links, and so long.
#[test]
fn strangers_who_say_nothing_are_counted() {
    let mut stage = Stage::met();
    let first: Vec<LinkId> = (0..200).map(|key| stage.connect("ada", key)).collect();
    let closed = stage.side("ada").closed.len();
    assert_eq!(closed, first.len() - GREETING_MAX);
    stage.wait(Duration::from_secs(11));
    assert!(
        stage.side("ada").closed.len() >= first.len(),
        "nobody greets for ever"
    );
    honest_after(&mut stage);
}

#[test]
fn who_asks_for_everything_at_once_is_answered_that_it_can_not_be() {
    let mut stage = Stage::met();
    let link = eve(&mut stage, Role::Guest, VersionVector::new());
    stage.hold("ada", Held::Disk);
    let (node, version) = (NodeId(dot(1)), dot(2));
    let known = stage.side("bo").registers();
    let object = known.iter().find_map(|register| match register {
        Register::Content(content) => Some(content.object()),
        Register::Entry(_) | Register::Attrs(_) | Register::Digest(_) => None,
    });
    for chunk in 0..2 * u32::try_from(ASKS_PER_LINK_MAX).unwrap() {
        let ask = AskId(stage.draw());
        let chunk = ChunkIx(chunk % 3);
        let want = Want {
            object: object.unwrap(),
            chunk,
            have: None,
        };
        stage.event(
            "ada",
            Event::Asked {
                link,
                ask,
                want,
                len: 1,
            },
        );
        let object = ObjectId { node, version };
        let (ask, chunk) = (AskId(stage.draw()), ChunkIx(u32::MAX));
        stage.event(
            "ada",
            Event::Asked {
                link,
                ask,
                want: Want {
                    object,
                    chunk,
                    have: None,
                },
                len: u32::MAX,
            },
        );
    }
    let failed = stage.trace().matches("answer: failed").count();
    assert!(failed >= ASKS_PER_LINK_MAX, "{failed}");
    stage.release("ada", Held::Disk);
    assert!(stage.side("ada").payloads.is_empty());
    honest_after(&mut stage);
}

// And at random: registers of few nodes, so that they meet, with extreme numbers.

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..12u64,
        1 => Just(COUNTER_MAX),
        1 => Just(u64::MAX),
        1 => Just(1 << 63),
        1 => Just(LAMPORT_LEAP_MAX),
    ]
}

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![
        1 => Just(NodeId::ROOT),
        4 => number().prop_map(|counter| NodeId(dot(counter))),
        1 => (0..6u64).prop_map(|counter| NodeId(Dot { actor: ActorId(1 << 63 | 7), counter })),
    ]
}

fn register() -> impl Strategy<Value = Register> {
    let kinds = prop::sample::select(vec![Kind::File, Kind::Directory, Kind::Symlink]);
    let stamps = || (number(), number()).prop_map(|(counter, lamport)| stamp(counter, lamport));
    let names = prop::sample::select(vec!["a", "b", "photo"]);
    let dead = prop::option::of(number());
    prop_oneof![
        (node(), stamps(), kinds).prop_map(|(node, stamp, kind)| attrs(node, stamp, kind)),
        (number(), stamps(), node(), node(), names, dead).prop_map(
            |(id, stamp, node, parent, name, dead)| {
                let Register::Entry(mut made) = entry(EntryId(dot(id)), stamp, node, parent, name)
                else {
                    unreachable!("an entry is one")
                };
                made.deleted = dead.map(|counter| [(EVIL, counter)].into_iter().collect());
                Register::Entry(made)
            }
        ),
        (node(), stamps(), number(), number(), 0..26u32).prop_map(
            |(node, stamp, size, known, shift)| {
                let Register::Content(mut made) = content(node, stamp, size, 1 << shift) else {
                    unreachable!("a version is one")
                };
                made.context = [(EVIL, known)].into_iter().collect();
                Register::Content(made)
            }
        ),
    ]
}

proptest! {
    #[test]
    fn whatever_a_host_says_bo_walks_reads_and_starts_again(
        said in prop::collection::vec(
            (prop::collection::vec(register(), 1..12), number(), prop::option::of(number())),
            1..8,
        ),
    ) {
        let mut liar = Liar::new();
        for (registers, upto, known) in said {
            let known = known.map(|counter| [(EVIL, counter)].into_iter().collect());
            liar.say(batch(upto, registers, known));
            liar.walk();
        }
        liar.restart();
    }
}

#[test]
fn another_key_with_the_same_ticket_takes_one_place_each() {
    let mut stage = Stage::met();
    // Ada's three invitations have one secret here; bo took a place.
    for key in 50..60 {
        let link = stage.connect("ada", key);
        stage.said("ada", link, hello(Role::Sparse, VersionVector::new()));
    }
    let me = PeerId([1; 32]);
    let now = stage.now;
    let status = stage.side("ada").engine().status(now);
    assert_eq!(
        status.peers.iter().filter(|peer| peer.peer != me).count(),
        3
    );
    let read = stage.open("bo", "photo");
    let read = stage.read("bo", read, 0, 10);
    assert_eq!(stage.bytes("bo", read), photo()[..10]);
}
