//! Laws over random histories: knowledge exchange, determinism, and that no event, however
//! senseless, makes an engine panic or forget bytes that it was given.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tandem_core::engine::{Invite, Last};
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event, Fetched, Fingerprint, FsCall, Hint, LinkDown};
use tandem_core::ids::{
    ActorId, Arrival, AskId, ChunkHash, ChunkIx, CommitId, Dot, FetchId, Fh, Ino, JobId, Lamport,
    LinkId, NodeId, ObjectId, PayloadId, ReqId,
};
use tandem_core::label::Label;
use tandem_core::limits::{BATCH_REGISTERS_MAX, BATCHES_IN_FLIGHT_MAX};
use tandem_core::message::{Batch, FolderId, Hello, Message, PROTOCOL, Role, Want};
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::name::XattrName;
use tandem_core::tree::register::{Attrs, Kind, Register, RegisterKey, Stamp};
use tandem_core::version::VersionVector;

use crate::stage::{Held, Side, Stage, TICKET, path, photo};

// Knowledge exchange: replicas in a row, each of which dials the one before it. Each has an
// author beside it, a peer that brings updates of its own actor.

/// Bytes of the extended attribute of each update: so that a dozen fill a batch.
const WEIGHT: usize = 48 * 1024;

#[derive(Clone, Debug)]
enum Turn {
    /// An author brings so many updates.
    Write(usize, u8),
    /// Every connection breaks.
    Cut,
    /// What is said to a replica is held back.
    Hold(usize),
    /// So many messages to it get through.
    LetBy(usize, usize),
    Release(usize),
    /// A replica is killed, and started again.
    Restart(usize),
    /// Milliseconds pass.
    Wait(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..4usize, 1..16u8).prop_map(|(at, count)| Turn::Write(at, count)),
        2 => Just(Turn::Cut),
        2 => (0..4usize).prop_map(Turn::Hold),
        3 => (0..4usize, 1..6usize).prop_map(|(at, count)| Turn::LetBy(at, count)),
        2 => (0..4usize).prop_map(Turn::Release),
        1 => (0..4usize).prop_map(Turn::Restart),
        4 => (0..3_000u64).prop_map(Turn::Wait),
    ]
}

/// The model: what each replica was ever sent, by register, and what was said on each link.
struct Model {
    stage: Stage,
    names: Vec<String>,
    /// Which register each update was of, and its stamp.
    made: BTreeMap<Dot, (RegisterKey, Stamp)>,
    received: Vec<BTreeMap<RegisterKey, Stamp>>,
    said: BTreeMap<(usize, LinkId), BTreeSet<Dot>>,
    in_flight: BTreeMap<(usize, LinkId), u32>,
    lamport: u64,
}

impl Model {
    fn new(count: usize) -> Self {
        let all = ["ann", "ben", "cid", "dot"];
        let names: Vec<String> = all[..count].iter().map(ToString::to_string).collect();
        let mut sides = Vec::new();
        for (nr, name) in (0..).zip(&names) {
            let mut side = Side::joiner(nr, name);
            side.config.folder = Some(FolderId([9; 16]));
            side.config.invites = (1..=3).map(|id| Invite { id, secret: TICKET }).collect();
            let before = nr.checked_sub(1);
            side.config.host = side
                .config
                .host
                .filter(|_| before.is_some())
                .map(|mut host| {
                    host.peer = tandem_core::ids::PeerId([nr; 32]);
                    host
                });
            sides.push(side);
        }
        let mut stage = Stage::of(sides);
        for name in &names {
            stage.start(name, Last::Clean);
        }
        Self {
            stage,
            made: BTreeMap::new(),
            received: vec![BTreeMap::new(); count],
            said: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            lamport: 0,
            names,
        }
    }

    fn actor(at: usize) -> ActorId {
        ActorId(1_000 + at as u64)
    }

    /// The author beside a replica connects, brings new updates, and goes.
    fn write(&mut self, at: usize, count: u8) {
        let actor = Self::actor(at);
        let before = self.made.keys().filter(|dot| dot.actor == actor).count() as u64;
        let mut registers = Vec::new();
        for counter in before + 1..=before + u64::from(count) {
            let dot = Dot { actor, counter };
            self.lamport += counter % 3;
            let lamport = Lamport(self.lamport.max(counter));
            let stamp = Stamp { lamport, dot };
            // Every third is of a node that all authors write to.
            let shared = Dot {
                actor: ActorId(999),
                counter: 1 + counter % 2,
            };
            let node = NodeId(if counter % 3 == 0 { shared } else { dot });
            let key = XattrName::parse(b"user.weight").unwrap();
            let register = Register::Attrs(Attrs {
                node,
                stamp,
                kind: Kind::File,
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: None,
                xattrs: [(key, vec![0; WEIGHT].into())].into(),
            });
            self.made.insert(dot, (register.key(), stamp));
            registers.push(register);
        }
        let knowledge = Some([(actor, before + u64::from(count))].into_iter().collect());
        let name = self.names[at].clone();
        let link = self.stage.connect(&name, 100 + u8::try_from(at).unwrap());
        let all = (0..4).map(|at| (Self::actor(at), 1 << 40));
        self.stage
            .said(&name, link, hello(Role::Sparse, 7, all.collect()));
        let upto = Arrival(1);
        let batch = Batch {
            upto,
            registers,
            knowledge,
        };
        self.stage.said(&name, link, Message::Registers(batch));
        let why = LinkDown::Lost;
        self.stage.event(&name, Event::LinkDown { link, why });
    }

    fn turn(&mut self, turn: &Turn) {
        let count = self.names.len();
        let names = self.names.clone();
        let name = |at: usize| names[at % count].clone();
        match *turn {
            Turn::Write(at, count) => self.write(at % self.names.len(), count),
            Turn::Cut => self.stage.cut(),
            Turn::Hold(at) => self.stage.hold(&name(at), Held::Messages),
            Turn::LetBy(at, count) => self.stage.let_by(&name(at), Held::Messages, count),
            Turn::Release(at) => self.stage.release(&name(at), Held::Messages),
            Turn::Restart(at) => {
                self.stage.kill(&name(at));
                self.follow();
                // It counts its links from one again.
                self.said.retain(|line, _| line.0 != at % count);
                self.in_flight.retain(|line, _| line.0 != at % count);
                self.stage.start(&name(at), Last::Killed);
            }
            Turn::Wait(ms) => self.stage.wait(Duration::from_millis(ms)),
        }
        self.follow();
    }

    /// Follows what was said since the last look, and holds it against the laws.
    fn follow(&mut self) {
        for traffic in std::mem::take(&mut self.stage.traffic) {
            let at = traffic.side;
            let line = (at, traffic.link);
            match (traffic.is_sent, traffic.message) {
                (true, Message::Hello(hello)) => self.must_hold(at, &hello.knowledge),
                (true, Message::Registers(batch)) => {
                    let in_flight = self.in_flight.entry(line).or_default();
                    *in_flight += 1;
                    assert!(*in_flight <= BATCHES_IN_FLIGHT_MAX, "too much is in flight");
                    assert!(batch.registers.len() <= BATCH_REGISTERS_MAX);
                    let weight = batch.registers.len() * WEIGHT;
                    assert!(weight <= 1_000_000, "a batch has {weight} bytes");
                    for register in &batch.registers {
                        let is_new = self
                            .said
                            .entry(line)
                            .or_default()
                            .insert(register.stamp().dot);
                        assert!(is_new, "said twice: {:?}", register.stamp());
                    }
                    if let Some(knowledge) = batch.knowledge {
                        self.must_hold(at, &knowledge);
                    }
                }
                (false, Message::Registers(batch)) => {
                    for register in batch.registers {
                        let held = self.received[at]
                            .entry(register.key())
                            .or_insert(register.stamp());
                        *held = register.stamp().max(*held);
                    }
                }
                (false, Message::Ack(_)) => *self.in_flight.entry(line).or_default() -= 1,
                (true, Message::Ack(_))
                | (false, Message::Hello(_))
                | (_, Message::Refused(_) | Message::Ping | Message::Pong | Message::Bye) => {}
            }
        }
    }

    /// A replica that says it knows an update was sent it, or one that supersedes it.
    fn must_hold(&self, at: usize, knowledge: &VersionVector) {
        for (dot, (key, stamp)) in &self.made {
            if knowledge.covers(*dot) {
                let held = self.received[at].get(key);
                assert!(
                    held >= Some(stamp),
                    "{} says it knows {dot:?}",
                    self.names[at]
                );
            }
        }
    }
}

/// These cases are dear: a quarter of what is usual, or of what is asked for.
fn quarter() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases / 4,
        ..usual
    }
}

fn hello(role: Role, session: u64, knowledge: VersionVector) -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([9; 16])),
        role,
        name: Label::parse("author").unwrap(),
        secret: Some(TICKET),
        session,
        actor: ActorId(session),
        epoch: 1,
        knowledge,
        cursor: None,
    })
}

proptest! {
    #![proptest_config(quarter())]

    #[test]
    fn knowledge_never_covers_more_than_was_received_and_all_converge(
        count in 2..=4usize,
        turns in prop::collection::vec(turn(), 1..40),
    ) {
        let mut model = Model::new(count);
        for turn in &turns {
            model.turn(turn);
        }
        for at in 0..count {
            model.turn(&Turn::Release(at));
        }
        for _ in 0..3 {
            model.turn(&Turn::Wait(40_000));
        }
        let held: Vec<Vec<Register>> =
            model.stage.sides.iter().map(Side::registers).collect();
        let keys: BTreeSet<_> = model.made.values().map(|(key, _)| *key).collect();
        prop_assert_eq!(held[0].len(), keys.len(), "everything is here");
        for other in &held {
            prop_assert_eq!(other, &held[0]);
        }
        // A completed exchange: after a restart of all, nothing is left to be sent.
        for at in 0..count {
            model.turn(&Turn::Restart(at));
        }
        model.stage.traffic.clear();
        model.stage.cut();
        model.stage.wait(Duration::from_secs(40));
        for traffic in &model.stage.traffic {
            if let Message::Registers(batch) = &traffic.message {
                prop_assert!(batch.registers.is_empty(), "sent again: {:?}", batch.upto);
            }
        }
    }
}

// A life of ada and bo: used for determinism, and to see that they end alike.

#[derive(Clone, Debug)]
enum Deed {
    Write(u8, u16),
    Replace(u8, u16),
    Rename(u8, u8),
    Remove(u8),
    Mode(u8, u16),
    Read(u8, u16, u16),
    Get(u8),
    Spoil,
    NoSpace,
    FullStore(bool),
    Cut,
    Hold(bool, u8),
    Release(bool, u8),
    Restart(bool, u8),
    Wait(u16),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..3u8, 0..3_000u16).prop_map(|(file, len)| Deed::Write(file, len)),
        1 => (0..3u8, 1..3_000u16).prop_map(|(file, len)| Deed::Replace(file, len)),
        1 => (0..3u8, 0..3u8).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => (0..3u8).prop_map(Deed::Remove),
        1 => (0..3u8, 0..0o777u16).prop_map(|(file, mode)| Deed::Mode(file, mode)),
        6 => (0..3u8, 0..3_000u16, 1..1_500u16).prop_map(|(file, at, len)| Deed::Read(file, at, len)),
        1 => (0..3u8).prop_map(Deed::Get),
        1 => Just(Deed::Spoil),
        1 => Just(Deed::NoSpace),
        1 => any::<bool>().prop_map(Deed::FullStore),
        2 => Just(Deed::Cut),
        2 => (any::<bool>(), 0..4u8).prop_map(|(who, what)| Deed::Hold(who, what)),
        3 => (any::<bool>(), 0..4u8).prop_map(|(who, what)| Deed::Release(who, what)),
        1 => (any::<bool>(), 0..3u8).prop_map(|(who, last)| Deed::Restart(who, last)),
        4 => (0..9_000u16).prop_map(Deed::Wait),
    ]
}

const FILES: [&str; 3] = ["photo", "letter", "song"];

fn who(is_host: bool) -> &'static str {
    if is_host { "ada" } else { "bo" }
}

fn held(what: u8) -> Held {
    [Held::Disk, Held::Commits, Held::Chunks, Held::Messages][usize::from(what % 4)]
}

/// Two peers, and what ada's files have held: a read may bring bytes of any version, of one at
/// a time within a chunk.
struct Life {
    stage: Stage,
    contents: BTreeMap<String, Vec<u8>>,
    writes: u8,
    reads: Vec<ReqId>,
}

impl Life {
    fn new() -> Self {
        let contents = BTreeMap::from([("photo".to_owned(), photo())]);
        Self {
            stage: Stage::met(),
            contents,
            writes: 0,
            reads: Vec::new(),
        }
    }

    fn bytes(&mut self, len: u16) -> Vec<u8> {
        self.writes = self.writes.wrapping_add(1);
        vec![self.writes; usize::from(len)]
    }

    fn deed(&mut self, deed: &Deed) {
        let stage = &mut self.stage;
        let is_there = |file: u8| self.contents.contains_key(FILES[usize::from(file)]);
        match *deed {
            Deed::Write(file, len) => {
                let (name, bytes) = (FILES[usize::from(file)], self.bytes(len));
                self.stage.side("ada").files.write(name, &bytes);
                self.contents.insert(name.to_owned(), bytes);
                self.stage.hint(name);
            }
            Deed::Replace(file, len) => {
                let (name, bytes) = (FILES[usize::from(file)], self.bytes(len));
                self.stage.side("ada").files.replace(name, &bytes);
                self.contents.insert(name.to_owned(), bytes);
                self.stage.hint(name);
            }
            Deed::Rename(from, to) if is_there(from) && from != to => {
                let (from, to) = (FILES[usize::from(from)], FILES[usize::from(to)]);
                stage.side("ada").files.rename(from, to);
                let bytes = self.contents.remove(from).unwrap();
                self.contents.insert(to.to_owned(), bytes);
                self.stage.hint(from);
                self.stage.hint(to);
            }
            Deed::Remove(file) if is_there(file) => {
                let name = FILES[usize::from(file)];
                stage.side("ada").files.remove(name);
                self.contents.remove(name);
                self.stage.hint(name);
            }
            Deed::Mode(file, mode) if is_there(file) => {
                let name = FILES[usize::from(file)];
                stage.side("ada").files.chmod(name, mode);
                stage.hint(name);
            }
            Deed::Rename(..) | Deed::Remove(_) | Deed::Mode(..) => {}
            Deed::Read(file, at, len) => {
                let name = FILES[usize::from(file)];
                if stage.shown("bo").contains(&format!("/{name}")) {
                    let fh = stage.open("bo", name);
                    let read = stage.read("bo", fh, u64::from(at), u32::from(len));
                    self.reads.push(read);
                    self.check(read);
                }
            }
            Deed::Get(file) => {
                let req = ReqId(stage.draw());
                let path = path(FILES[usize::from(file)]);
                stage.event("bo", Event::Want { req, path });
            }
            Deed::Spoil => stage.side("bo").spoil = 1,
            Deed::NoSpace => {
                stage.side("bo").failing = Some((|_| true, DiskError::NoSpace));
            }
            Deed::FullStore(is_host) => stage.side(who(is_host)).full = 1,
            Deed::Cut => stage.cut(),
            Deed::Hold(is_host, what) => stage.hold(who(is_host), held(what)),
            Deed::Release(is_host, what) => stage.release(who(is_host), held(what)),
            Deed::Restart(is_host, last) => {
                let name = who(is_host);
                match last {
                    0 => {
                        stage.power_loss(name);
                        stage.start(name, Last::Lost);
                    }
                    _ => {
                        stage.kill(name);
                        stage.start(name, Last::Killed);
                    }
                }
                if !is_host {
                    self.reads.clear();
                }
            }
            Deed::Wait(ms) => stage.wait(Duration::from_millis(u64::from(ms))),
        }
    }

    /// Bytes of one version have one value, but for the photo's first.
    fn check(&mut self, read: ReqId) {
        if let Some(Ok(tandem_core::action::FsReply::Data(_))) = self.stage.answer("bo", read) {
            let bytes = self.stage.bytes("bo", read);
            let is_of = |part: &[u8]| {
                let whole = photo();
                part.iter().all(|byte| *byte == part[0] && *byte != 0)
                    || whole.windows(part.len()).any(|window| window == part)
            };
            assert!(is_of(&bytes), "P1: {bytes:?}");
        }
    }

    /// Faults stop; everything settles.
    fn rest(&mut self) {
        for name in ["ada", "bo"] {
            self.stage.side(name).failing = None;
            self.stage.side(name).full = 0;
            self.stage.side(name).spoil = 0;
            for what in 0..4 {
                self.stage.release(name, held(what));
            }
        }
        for _ in 0..4 {
            self.stage.wait(Duration::from_secs(40));
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_both_sides_end_alike_and_twice_in_the_same_way(
        deeds in prop::collection::vec(deed(), 1..50),
    ) {
        let run = || {
            let mut life = Life::new();
            for deed in &deeds {
                life.deed(deed);
            }
            life.rest();
            life
        };
        let mut life = run();
        prop_assert_eq!(life.stage.trace(), run().stage.trace(), "P8");

        for read in life.reads.clone() {
            prop_assert!(life.stage.answer("bo", read).is_some(), "P9: {read} was not answered");
        }
        let shown: BTreeSet<_> = life.contents.keys().map(|name| format!("/{name}")).collect();
        prop_assert_eq!(life.stage.shown("ada"), shown.clone());
        prop_assert_eq!(life.stage.shown("bo"), shown, "P4");
        for (name, bytes) in life.contents.clone() {
            let fh = life.stage.open("bo", &name);
            let read = life.stage.read("bo", fh, 0, 10_000);
            life.stage.wait(Duration::from_secs(20));
            if bytes.is_empty() {
                let eof = tandem_core::action::FsReply::Eof;
                prop_assert_eq!(life.stage.answer("bo", read), Some(Ok(eof)));
            } else {
                prop_assert_eq!(life.stage.bytes("bo", read), bytes);
            }
        }
        for name in ["ada", "bo"] {
            prop_assert!(life.stage.side(name).payloads.is_empty(), "{name} keeps bytes for nothing");
            life.stage.event(name, Event::Stop);
            life.stage.wait(Duration::from_secs(1));
            prop_assert!(life.stage.side(name).stopped, "{name} does not stop");
        }
    }
}

// Garbage: ids that were never given, ends of jobs that never began or ended before, in the
// middle of a live session.

#[derive(Clone, Debug)]
enum Garbage {
    Tick,
    Call(u8, u64, u64),
    Dialled(u64),
    Accepted(u8),
    Said(u64, u8, u64),
    LinkDown(u64),
    Fetched(u64, u8),
    Asked(u64, u32),
    Disk(u64, u8),
    Committed(u64, bool),
    Hint(u8),
    Stop,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let id = || 0..24u64;
    prop_oneof![
        1 => Just(Garbage::Tick),
        4 => (any::<u8>(), 0..6u64, any::<u64>()).prop_map(|(call, id, at)| Garbage::Call(call, id, at)),
        1 => id().prop_map(Garbage::Dialled),
        1 => (1..5u8).prop_map(Garbage::Accepted),
        4 => (id(), any::<u8>(), id()).prop_map(|(link, what, upto)| Garbage::Said(link, what, upto)),
        1 => id().prop_map(Garbage::LinkDown),
        4 => (0..6u64, any::<u8>()).prop_map(|(fetch, what)| Garbage::Fetched(fetch, what)),
        3 => (id(), any::<u32>()).prop_map(|(link, chunk)| Garbage::Asked(link, chunk)),
        6 => (0..12u64, any::<u8>()).prop_map(|(job, what)| Garbage::Disk(job, what)),
        3 => (0..12u64, any::<bool>()).prop_map(|(commit, holds)| Garbage::Committed(commit, holds)),
        1 => any::<u8>().prop_map(Garbage::Hint),
        1 => Just(Garbage::Stop),
    ]
}

/// Parks bytes in a side's shell, as a real event would have.
fn park(stage: &mut Stage, name: &str) -> PayloadId {
    let payload = PayloadId(stage.draw());
    stage.side(name).payloads.insert(payload, vec![1; 512]);
    payload
}

fn throw(stage: &mut Stage, name: &str, garbage: &Garbage) {
    let parent = Ino::ROOT;
    let print = Fingerprint {
        ino: 12,
        born_ns: 0,
        size: 1_600,
        mtime: WallTime::default(),
        ctime: WallTime::default(),
    };
    let wall = WallTime::default();
    let event = match *garbage {
        Garbage::Tick => Event::Tick,
        Garbage::Call(call, id, at) => {
            let (ino, fh) = (Ino(id), Fh(id));
            let call = match call % 10 {
                0 => FsCall::Lookup {
                    parent,
                    name: vec![call; usize::from(call)],
                },
                1 => FsCall::Forget { ino, lookups: at },
                2 => FsCall::GetAttr { ino },
                3 => FsCall::ReadLink { ino },
                4 => FsCall::Open { ino, write: false },
                5 | 6 => FsCall::Read {
                    fh,
                    offset: at % 2_000,
                    len: u32::MAX,
                },
                7 => FsCall::Release { fh },
                8 => FsCall::OpenDir { ino },
                _ => FsCall::ReadDir {
                    fh,
                    from: at,
                    count: 9,
                    plus: true,
                },
            };
            let req = ReqId(stage.draw());
            Event::Fs { req, call }
        }
        Garbage::Dialled(link) => Event::Dialled { link: LinkId(link) },
        Garbage::Accepted(key) => Event::Accepted {
            // Odd numbers are the shell's; it draws no number twice.
            link: LinkId(stage.draw() * 2 + 1),
            peer: tandem_core::ids::PeerId([key; 32]),
        },
        Garbage::Said(link, what, upto) => {
            let upto = Arrival(upto);
            let message = match what % 6 {
                0 => hello(Role::Sparse, u64::from(what), VersionVector::new()),
                1 => Message::Refused(tandem_core::message::Refusal::Broken),
                2 => Message::Registers(Batch {
                    upto,
                    registers: Vec::new(),
                    knowledge: None,
                }),
                3 => Message::Ack(upto),
                4 => Message::Ping,
                _ => Message::Bye,
            };
            Event::Said {
                link: LinkId(link),
                message,
            }
        }
        Garbage::LinkDown(link) => Event::LinkDown {
            link: LinkId(link),
            why: LinkDown::Garbled,
        },
        Garbage::Fetched(fetch, what) => Event::Fetched {
            fetch: FetchId(fetch),
            outcome: match what % 6 {
                0 => Fetched::Gone,
                1 => Fetched::NotHeld,
                2 => Fetched::Failed,
                _ => Fetched::Data {
                    payload: park(stage, name),
                    len: 512,
                    computed: ChunkHash::of(&[1; 512]),
                    recorded: ChunkHash(u128::from(what)),
                },
            },
        },
        Garbage::Asked(link, chunk) => {
            let some = Dot {
                actor: ActorId(1),
                counter: 1,
            };
            let object = ObjectId {
                node: NodeId(some),
                version: some,
            };
            Event::Asked {
                link: LinkId(link),
                ask: AskId(stage.draw()),
                want: Want {
                    object,
                    chunk: ChunkIx(chunk),
                },
            }
        }
        Garbage::Disk(job, what) => Event::Disk {
            job: JobId(job),
            outcome: match what % 7 {
                0 => Ok(DiskDone::Done),
                1 => Ok(DiskDone::Listed {
                    this: print,
                    items: Vec::new(),
                    complete: true,
                    wall,
                }),
                2 => Ok(DiskDone::Looked {
                    sighting: None,
                    wall,
                }),
                3 => Ok(DiskDone::Chunk {
                    payload: park(stage, name),
                    len: 512,
                    hash: ChunkHash::of(&[1; 512]),
                    before: print,
                    after: print,
                }),
                4 => Ok(DiskDone::Hashed {
                    len: 512,
                    hash: ChunkHash(1),
                }),
                5 => Ok(DiskDone::Loaded {
                    sidecar: Some(vec![what; 200]),
                    partial: Some(1_600),
                    complete: None,
                }),
                _ => Err(DiskError::Io),
            },
        },
        Garbage::Committed(commit, holds) => Event::Committed {
            commit: CommitId(commit),
            outcome: if holds {
                Ok(())
            } else {
                Err(DiskError::NoSpace)
            },
        },
        Garbage::Hint(what) => Event::Hint(Hint::Subtree {
            path: path(FILES[usize::from(what) % 3]),
        }),
        Garbage::Stop => Event::Stop,
    };
    stage.event(name, event);
}

proptest! {
    #[test]
    fn no_event_makes_it_panic_and_bytes_are_used_up_once(
        mix in prop::collection::vec((any::<bool>(), garbage(), prop::option::of(deed())), 1..60),
    ) {
        let mut life = Life::new();
        for (is_host, garbage, deed) in &mix {
            if let Some(Deed::Hold(..) | Deed::Release(..) | Deed::Cut | Deed::Wait(_)) = deed {
                life.deed(deed.as_ref().unwrap());
            }
            throw(&mut life.stage, who(*is_host), garbage);
        }
        life.rest();
        for name in ["ada", "bo"] {
            let links = life.stage.links(name);
            for link in links {
                let why = LinkDown::Lost;
                life.stage.event(name, Event::LinkDown { link, why });
            }
            life.stage.event(name, Event::Stop);
        }
        life.rest();
        for name in ["ada", "bo"] {
            let kept = life.stage.side(name).payloads.len();
            prop_assert_eq!(kept, 0, "{} keeps bytes for nothing", name);
        }
    }
}
