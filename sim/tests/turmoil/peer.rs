//! A peer: a real engine, the real network shell on turmoil's network, and a disk in memory.
//!
//! Law: it is the loop that every shell is. Its disk outlives it; all else dies with its host,
//! without a word.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tandem_core::action::{Action, Besides, DiskWish, FsReply, WantState};
use tandem_core::engine::{self, Engine, Last, Start};
use tandem_core::error::FsError;
use tandem_core::event::{DiskDone, Event, Fetched};
use tandem_core::ids::{FetchId, PayloadId, PeerId, ReqId};
use tandem_core::status::LinkState;
use tandem_core::time::Time;
use tandem_io::net::identity::Identity;
use tandem_io::net::{Net, NetConfig};
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tandem_sim::check::resume::Resume;
use tandem_sim::choices::{Choices, Key};
use tandem_sim::trace::Trace;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::store::{Store, Work};
use crate::transport::Simulated;

/// Where a host listens.
pub(crate) const PORT: u16 = 7440;

/// How long a disk job takes: turmoil's clock has no finer step.
const DISK: Duration = Duration::from_millis(1);

/// Noon of some day, in nanoseconds from 1970.
const NOON: i64 = 1_790_000_000_000_000_000;

/// Returns wall-clock time, in nanoseconds from 1970.
fn wall_ns() -> i64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    NOON + i64::try_from(elapsed.as_nanos()).unwrap()
}

/// What an application was answered, with the bytes that were read for it.
pub(crate) type Answer = Result<(FsReply, Vec<u8>), FsError>;

/// One peer, over all its lives.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Its place, for its streams of chance.
    pub(crate) place: usize,
    pub(crate) config: engine::Config,
    /// Where its identity lies.
    pub(crate) home: std::path::PathBuf,
    /// Whom it may dial, and where; whoever dials nobody listens.
    pub(crate) dials: Option<PeerId>,
    pub(crate) choices: Choices,
    pub(crate) trace: Rc<RefCell<Trace>>,
    pub(crate) store: RefCell<Store>,
    pub(crate) last: Cell<Last>,
    pub(crate) boot: Cell<u64>,
    pub(crate) inbox: RefCell<Option<UnboundedSender<Event>>>,
    pub(crate) reqs: Cell<u64>,
    pub(crate) answers: RefCell<BTreeMap<ReqId, Answer>>,
    pub(crate) wants: RefCell<BTreeMap<ReqId, WantState>>,
    pub(crate) linked: Cell<bool>,
    /// Bytes that it wrote to the network.
    pub(crate) written: Arc<AtomicU64>,
    /// P5, judged as the simulator judges it.
    pub(crate) resume: RefCell<Resume>,
    /// What it asked for and has not on disk.
    pub(crate) asked: RefCell<BTreeSet<FetchId>>,
    pub(crate) unstored: RefCell<BTreeSet<PayloadId>>,
    /// Asks that a cut or a kill has made vain.
    pub(crate) vain: Cell<usize>,
}

struct Ear(UnboundedSender<Event>);

impl Sink for Ear {
    fn event(&self, event: Event) {
        // The process may have ended.
        let _ = self.0.send(event);
    }
}

impl Peer {
    /// Hands an event to the running process.
    pub(crate) fn tell(&self, event: Event) {
        let inbox = self.inbox.borrow();
        let inbox = inbox.as_ref().expect("the process runs");
        inbox.send(event).expect("the process hears");
    }

    pub(crate) fn draw(&self) -> ReqId {
        self.reqs.set(self.reqs.get() + 1);
        ReqId(self.reqs.get())
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap();
        self.trace.borrow_mut().line(now, self.name, what);
    }

    /// The process has died.
    pub(crate) fn died(&self, power: bool) {
        *self.inbox.borrow_mut() = None;
        self.linked.set(false);
        let mut vain = self.vain.get() + self.asked.take().len() + self.unstored.take().len();
        let mut store = self.store.borrow_mut();
        let mut resume = self.resume.borrow_mut();
        if power {
            let peer = self.place;
            let boot = self.boot.get();
            store.lose_power(&mut self.choices.stream(Key::Crash { peer, boot }));
            self.last.set(Last::Lost);
            let held = resume.held();
            let objects = resume.objects().into_iter();
            let complete = objects.filter(|object| store.objects.is_complete(*object));
            resume.crash(Some(&complete.collect()));
            vain += held - resume.held();
        } else {
            self.last.set(Last::Killed);
            resume.crash(None);
        }
        self.vain.set(vain);
    }

    /// One life: from its start until the host is crashed.
    pub(crate) async fn live(self: Rc<Self>) -> turmoil::Result {
        self.boot.set(self.boot.get() + 1);
        let (said, mut events) = unbounded_channel();
        let payloads = Arc::new(Payloads::default());
        let host = "host:7440".parse()?;
        let config = NetConfig {
            identity: Identity::load_or_make(&self.home)?,
            listen: match self.dials {
                Some(_) => Vec::new(),
                None => vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT)],
            },
            addresses: self
                .dials
                .map(|peer| (peer, vec![host]))
                .into_iter()
                .collect(),
        };
        let network = Arc::new(Simulated {
            written: Arc::clone(&self.written),
        });
        let ear = Arc::new(Ear(said.clone()));
        let net = Net::start_on(
            network,
            config,
            ear,
            Arc::clone(&payloads),
            Handle::current(),
        )?;

        let (work, mut todo) = unbounded_channel::<Work>();
        let (disk, finished, parked) = (Rc::clone(&self), said.clone(), Arc::clone(&payloads));
        tokio::task::spawn_local(async move {
            while let Some(work) = todo.recv().await {
                sleep(DISK).await;
                // Nobody hears when the process is about to end.
                let _ = finished.send(disk.work(work, &parked));
            }
        });

        let (peer, boot) = (self.place, self.boot.get());
        let start = Start {
            seed: self.choices.stream(Key::Engine { peer, boot }).bits(),
            now: Time(0),
            last: self.last.replace(Last::Killed),
        };
        self.note(format_args!("starts, boot {boot}, {:?}", start.last));
        let stored: Vec<_> = self.store.borrow().records.all().collect();
        let mut engine = Engine::restore(self.config.clone(), start, stored)?;
        let began = Instant::now();
        let clock = || Time(u64::try_from(began.elapsed().as_nanos()).unwrap());
        *self.inbox.borrow_mut() = Some(said);
        loop {
            while let Some(action) = engine.poll_action() {
                self.perform(action, &net, &payloads, &work);
            }
            let live = |peer: &tandem_core::status::PeerStatus| peer.link == LinkState::Live;
            self.linked
                .set(engine.status(clock()).peers.iter().any(live));
            let due = engine.poll_timeout().map_or(u64::MAX, |due| due.0);
            let due = began + Duration::from_nanos(due.min(1 << 60));
            let event = tokio::select! {
                biased;
                event = events.recv() => event.expect("the loop itself holds a sender"),
                () = sleep_until(due) => Event::Tick,
            };
            self.hear(&event);
            engine.handle(clock(), event);
        }
    }

    fn work(&self, work: Work, payloads: &Payloads) -> Event {
        let mut store = self.store.borrow_mut();
        match work {
            Work::Job(job, wish, payload) => {
                let bytes = payload.as_ref().map(|(_, bytes)| bytes);
                let outcome = store.carry_out(&wish, bytes, payloads, wall_ns());
                let mut resume = self.resume.borrow_mut();
                if let Some((payload, _)) = payload {
                    let mut unstored = self.unstored.borrow_mut();
                    unstored.remove(&payload);
                    match (&wish, &outcome) {
                        (
                            DiskWish::ReadStored { .. },
                            Ok(DiskDone::Read { payload: whole, .. }),
                        ) => {
                            unstored.insert(*whole);
                            resume.joined(payload, Some(*whole));
                        }
                        (DiskWish::ReadStored { .. }, _) => resume.joined(payload, None),
                        _ => {
                            resume.stored(payload, None, outcome.is_ok());
                        }
                    }
                }
                match &wish {
                    DiskWish::RemoveObject { object } | DiskWish::CreateObject { object, .. } => {
                        resume.thrown(*object);
                    }
                    DiskWish::LoadObject { object } => resume.loaded(*object),
                    _ => {}
                }
                Event::Disk { job, outcome }
            }
            Work::Commit(commit, records, sync) => {
                store.records.commit(records, sync);
                let outcome = Ok(());
                Event::Committed { commit, outcome }
            }
        }
    }

    /// Keeps account of an event.
    fn hear(&self, event: &Event) {
        match event {
            Event::Tick | Event::Disk { .. } | Event::Committed { .. } => return,
            Event::Fetched { fetch, outcome } => {
                self.asked.borrow_mut().remove(fetch);
                let good = match *outcome {
                    Fetched::Data {
                        payload,
                        len,
                        computed,
                        recorded,
                    } => {
                        self.resume
                            .borrow_mut()
                            .came(*fetch, u64::from(len))
                            .unwrap();
                        // The network does not flip bits: TLS would have noticed.
                        assert_eq!(computed, recorded);
                        self.unstored.borrow_mut().insert(payload);
                        Some((payload, computed))
                    }
                    Fetched::Tail {
                        payload,
                        len,
                        recorded,
                    } => {
                        self.resume
                            .borrow_mut()
                            .came(*fetch, u64::from(len))
                            .unwrap();
                        self.unstored.borrow_mut().insert(payload);
                        Some((payload, recorded))
                    }
                    Fetched::Same
                    | Fetched::Hole { .. }
                    | Fetched::Gone
                    | Fetched::NotHeld
                    | Fetched::Failed => None,
                };
                if good.is_none() {
                    self.vain.set(self.vain.get() + 1);
                }
                self.resume.borrow_mut().fetched(*fetch, good);
            }
            Event::LinkDown { link, .. } => {
                self.vain.set(self.vain.get() + self.asked.take().len());
                self.resume.borrow_mut().link_down(*link);
            }
            _ => {}
        }
        self.note(format_args!("< {event:?}"));
    }

    fn perform(
        &self,
        action: Action,
        net: &Net,
        payloads: &Payloads,
        work: &UnboundedSender<Work>,
    ) {
        if !matches!(action, Action::Disk { .. } | Action::Commit { .. }) {
            self.note(format_args!("  > {action:?}"));
        }
        let queue = |item| {
            assert!(
                work.send(item).is_ok(),
                "the disk runs as long as its process"
            );
        };
        match action {
            Action::Reply { req, result } => {
                let store = self.store.borrow();
                let answer = result.map(|reply| {
                    let bytes = match &reply {
                        FsReply::Data(at) => store.objects.read(at.object, at.offset, at.len),
                        _ => None,
                    };
                    let bytes = bytes.unwrap_or_default().to_vec();
                    (reply, bytes)
                });
                self.answers.borrow_mut().insert(req, answer);
            }
            Action::Dial { link, peer } => net.dial(link, peer),
            Action::Send { link, message } => net.send(link, message),
            Action::Close { link } => {
                self.vain.set(self.vain.get() + self.asked.take().len());
                self.resume.borrow_mut().link_down(link);
                net.close(link);
            }
            Action::Fetch {
                fetch,
                link,
                lane,
                want,
                len,
            } => {
                let mut resume = self.resume.borrow_mut();
                resume
                    .fetch(fetch, link, want, (u64::from(len), false))
                    .unwrap();
                self.asked.borrow_mut().insert(fetch);
                net.fetch(fetch, link, lane, want, len);
            }
            Action::CloseLanes { link, node } => net.close_lanes(link, node),
            Action::Answer { ask, answer } => net.answer(ask, answer),
            Action::Drop { payload } => {
                self.resume.borrow_mut().dropped(payload);
                if self.unstored.borrow_mut().remove(&payload) {
                    self.vain.set(self.vain.get() + 1);
                }
                assert!(payloads.take(payload).is_some(), "{payload} is used once");
            }
            Action::Disk { job, wish } => {
                let payload = match &wish {
                    DiskWish::StoreChunk { payload, .. }
                    | DiskWish::ReadStored {
                        besides: Besides::Join(payload),
                        ..
                    } => {
                        let bytes = payloads.take(*payload).expect("a payload is used once");
                        Some((*payload, bytes))
                    }
                    _ => None,
                };
                queue(Work::Job(job, wish, payload));
            }
            Action::Commit {
                commit,
                records,
                sync,
            } => queue(Work::Commit(commit, records, sync)),
            Action::Wanted { req, state } => {
                self.wants.borrow_mut().insert(req, state);
            }
            Action::Invalidate(_)
            | Action::Fault(_)
            | Action::Settled { .. }
            | Action::Removed { .. }
            | Action::Restored { .. }
            | Action::Stopped => {}
        }
    }
}
