//! Two peers on turmoil's network, and the hand that breaks it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tandem_core::action::{FsReply, WantState};
use tandem_core::engine::{Config, Host, Invite, Last};
use tandem_core::event::{Event, FsCall, Hint};
use tandem_core::ids::{Fh, Ino, PeerId, ReqId};
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Role, Secret};
use tandem_io::net::identity::Identity;
use tandem_sim::choices::{Chance, Choices, Key};
use tandem_sim::disk::folder::Node;
use tandem_sim::outside::name;
use tandem_sim::trace::Trace;

use crate::peer::{Answer, Peer};
use crate::store::Store;

/// The size of chunks, in bytes.
pub(crate) const CHUNK: usize = 32 * 1024;

/// How long a read of absent bytes may wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Longer than reconnecting takes: all heartbeats missed, and the longest backoff.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The two keys, the same in every run of this process, so that traces can be compared.
fn homes() -> &'static [(tempfile::TempDir, PeerId); 2] {
    static HOMES: OnceLock<[(tempfile::TempDir, PeerId); 2]> = OnceLock::new();
    let make = || {
        let home = tempfile::tempdir().unwrap();
        let peer = Identity::load_or_make(home.path()).unwrap().peer();
        (home, peer)
    };
    HOMES.get_or_init(|| [make(), make()])
}

pub(crate) struct World {
    sim: turmoil::Sim<'static>,
    pub(crate) host: Rc<Peer>,
    pub(crate) ada: Rc<Peer>,
    pub(crate) trace: Rc<RefCell<Trace>>,
    pub(crate) chance: Chance,
}

impl World {
    /// Makes a world in which both peers have just been started.
    pub(crate) fn new(seed: u64) -> Self {
        let choices = Choices::new(seed);
        let trace = Rc::new(RefCell::new(Trace::new(true)));
        let keys: Vec<PeerId> = homes().iter().map(|(_, peer)| *peer).collect();
        let make = |place: usize, name: &'static str, role, dials| {
            let mut config = Config::new(keys[place], Label::lossy(name), role);
            config.chunk_size = u32::try_from(CHUNK).unwrap();
            // A link that stands still is given up before what was asked on it is.
            config.heartbeat = tandem_core::time::Duration::from_secs(2);
            config.read_deadline = tandem_core::time::Duration::from_secs(DEADLINE.as_secs());
            Peer {
                name,
                place,
                config,
                home: homes()[place].0.path().to_owned(),
                dials,
                choices: choices.clone(),
                trace: Rc::clone(&trace),
                store: RefCell::new(Store::default()),
                last: Cell::new(Last::Clean),
                boot: Cell::default(),
                inbox: RefCell::default(),
                reqs: Cell::default(),
                answers: RefCell::default(),
                wants: RefCell::default(),
                linked: Cell::default(),
                written: Arc::default(),
                resume: RefCell::default(),
                asked: RefCell::default(),
                unstored: RefCell::default(),
                vain: Cell::default(),
            }
        };
        let mut host = make(0, "host", Role::Full, None);
        host.config.folder = Some(FolderId([7; 16]));
        host.config.invites = vec![Invite {
            id: 1,
            secret: Secret([9; 32]),
        }];
        let mut ada = make(1, "ada", Role::Sparse, Some(keys[0]));
        ada.config.host = Some(Host {
            peer: keys[0],
            secret: Some(Secret([9; 32])),
        });
        let (host, ada) = (Rc::new(host), Rc::new(ada));

        let mut chance = choices.stream(Key::Net(0));
        let slowest = [2, 20, 60, 150][chance.index(4)];
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(100_000))
            .min_message_latency(Duration::from_millis(slowest / 4))
            .max_message_latency(Duration::from_millis(slowest))
            .build();
        for peer in [&host, &ada] {
            let peer = Rc::clone(peer);
            sim.host(peer.name, move || Rc::clone(&peer).live());
        }
        Self {
            sim,
            host,
            ada,
            trace,
            chance,
        }
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// Lets time pass until something holds.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + PATIENCE;
        while !holds(self) {
            let lines = self.trace.borrow();
            let last = lines.lines().iter().rev().take(20).rev();
            let last: Vec<_> = last.map(String::as_str).collect();
            assert!(
                self.sim.elapsed() < end,
                "{what} does not come about; the trace ends:\n{}",
                last.join("\n")
            );
            drop(lines);
            self.sim.step().unwrap();
        }
    }

    pub(crate) fn linked(&mut self) {
        self.until("a live link", |w| w.ada.linked.get() && w.host.linked.get());
    }

    pub(crate) fn partition(&mut self) {
        self.sim.partition("host", "ada");
    }

    pub(crate) fn repair(&mut self) {
        self.sim.repair("host", "ada");
    }

    pub(crate) fn hold(&mut self) {
        self.sim.hold("host", "ada");
    }

    pub(crate) fn release(&mut self) {
        self.sim.release("host", "ada");
    }

    /// Kills a process; with its machine's power, if so told. It stays down.
    pub(crate) fn crash(&mut self, who: &'static str, power: bool) {
        self.sim.crash(who);
        let peer = if who == "host" { &self.host } else { &self.ada };
        peer.died(power);
    }

    pub(crate) fn restart(&mut self, who: &'static str) {
        self.sim.bounce(who);
    }

    /// Puts a file into the shared folder, or gives it other bytes.
    pub(crate) fn put(&mut self, file: &str, bytes: Vec<u8>) {
        let elapsed = i64::try_from(self.sim.elapsed().as_nanos()).unwrap();
        let path = vec![name(file)];
        {
            let mut store = self.host.store.borrow_mut();
            let folder = store.folder.at(1_790_000_000_000_000_000 + elapsed);
            match folder.find(&path) {
                Some(id) => folder.write(id, bytes),
                None => drop(folder.place(&path, Node::File(Arc::new(bytes)), 0o644)),
            }
        }
        if self.host.inbox.borrow().is_some() {
            let settled = true;
            self.host.tell(Event::Hint(Hint::Path { path, settled }));
        }
    }

    /// Asks for all of a file, once it is known; it ends in `Peer::wants`.
    pub(crate) fn want(&mut self, file: &str) -> ReqId {
        self.find(file);
        let req = self.ada.draw();
        let path = vec![name(file)];
        self.ada.tell(Event::Want { req, path });
        req
    }

    pub(crate) fn is_done(&self, want: ReqId) -> bool {
        let wants = self.ada.wants.borrow();
        matches!(wants.get(&want), Some(WantState::Done { .. }))
    }

    /// Makes a call on ada's mount.
    pub(crate) fn call(&mut self, call: FsCall) -> ReqId {
        let req = self.ada.draw();
        self.ada.tell(Event::Fs { req, call });
        req
    }

    pub(crate) fn answer(&mut self, req: ReqId) -> Answer {
        self.until("an answer", |w| w.ada.answers.borrow().contains_key(&req));
        self.ada.answers.borrow_mut().remove(&req).unwrap()
    }

    /// Finds a file on ada's mount, once it is there.
    fn find(&mut self, file: &str) -> Ino {
        loop {
            let lookup = FsCall::Lookup {
                parent: Ino::ROOT,
                name: file.as_bytes().to_vec(),
            };
            let req = self.call(lookup);
            match self.answer(req) {
                Ok((FsReply::Entry(shown), _)) => return shown.ino,
                _ => self.run_for(Duration::from_millis(100)),
            }
        }
    }

    /// Opens a file on ada's mount, once it is there.
    pub(crate) fn open(&mut self, file: &str) -> Fh {
        let ino = self.find(file);
        let req = self.call(FsCall::Open { ino, write: false });
        match self.answer(req) {
            Ok((FsReply::Opened { fh, .. }, _)) => fh,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn read(&mut self, fh: Fh, offset: usize, len: usize) -> Result<Vec<u8>, String> {
        let (offset, len) = (offset as u64, u32::try_from(len).unwrap());
        let req = self.call(FsCall::Read { fh, offset, len });
        let answer = self.answer(req);
        answer.map(|(_, bytes)| bytes).map_err(|e| format!("{e:?}"))
    }

    /// Reads a whole file through ada's mount.
    pub(crate) fn content(&mut self, file: &str) -> Vec<u8> {
        let fh = self.open(file);
        let mut whole = Vec::new();
        loop {
            let piece = self.read(fh, whole.len(), 4 * CHUNK).unwrap();
            if piece.is_empty() {
                return whole;
            }
            whole.extend(piece);
        }
    }

    /// Chunks that ada asked for, that she holds, and that were asked for in vain.
    pub(crate) fn account(&self) -> (usize, usize, usize) {
        let resume = self.ada.resume.borrow();
        let asked = usize::try_from(resume.fetches()).unwrap();
        (asked, resume.held(), self.ada.vain.get())
    }

    /// Returns the lines of the trace.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.trace.borrow().lines().to_vec()
    }
}
