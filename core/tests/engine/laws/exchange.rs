//! Knowledge exchange: replicas in a row, each of which dials the one before it. Each has an
//! author beside it, a peer that brings updates of its own actor.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tandem_core::engine::{Invite, Last};
use tandem_core::event::{Event, LinkDown};
use tandem_core::ids::{ActorId, Arrival, Dot, Lamport, LinkId, NodeId, PeerId};
use tandem_core::limits::{BATCH_REGISTERS_MAX, BATCHES_IN_FLIGHT_MAX};
use tandem_core::message::{Batch, FolderId, Message, Role};
use tandem_core::time::Duration;
use tandem_core::tree::name::XattrName;
use tandem_core::tree::register::{Attrs, Kind, Register, RegisterKey, Stamp};
use tandem_core::version::VersionVector;

use super::hello;
use crate::stage::{Held, Side, Stage, TICKET};

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
                    host.peer = PeerId([nr; 32]);
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
