//! The driver: the loop around the engine. Event in, actions performed.
//!
//! Law: actions are taken from the engine under its lock, in the order in which it gave them.
//! Those whose order matters (links, disk, records, invalidations) are queued under that lock;
//! queueing never blocks and never calls back into the driver on the same thread. Answers that
//! wait for nobody's turn, to applications and to peers, go out after the lock is released, by
//! the thread that brought the event: a cached lookup or read takes no hop between threads. Nor
//! does a write: the thread that brought its bytes writes them itself, after the lock is released
//! and its answers are out, where no earlier job of that file is under way.
//!
//! **Exact invalidation.** An answer may be computed, then the engine may switch on another
//! thread, and then the answer may be written: the kernel would keep for an hour what was true
//! for a moment. So whoever hands over an event holds the *barrier* for reading from before the
//! engine sees the event until after every answer to it is written, and whoever sends
//! invalidations passes through the barrier for writing ([`Driver::let_answers_out`]) between
//! taking them from their queue and sending them. The switch, the queueing of its invalidation
//! and every answer computed before it are ordered by the engine's lock; so an answer computed
//! before the switch is written before the invalidation is sent, and no answer needs a TTL of 0.
//! The sender holds nothing while it sends, since the kernel may make it wait for an answer.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_core::action::{Action, DiskWish, FsReply, Invalidation, Record, WantState};
use tandem_core::conflicts::{Keep, Settled, Unsettled};
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::Edit;
use tandem_core::engine::Engine;
use tandem_core::error::{Fault, FsError};
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{AskId, CommitId, FetchId, JobId, LinkId, NodeId, PayloadId, PeerId, ReqId};
use tandem_core::message::{Answer, Message, Want};
use tandem_core::peers::{Listed, Removed, Unremoved};
use tandem_core::status::Status;
use tandem_core::time::Time;
use tandem_core::trash::{Restored, Unrestored};
use tandem_core::tree::name::Name;

use crate::disk::wall_clock;
use crate::payload::Payloads;
use crate::sink::Sink;

/// The network as the driver sees it. No method blocks, or hands over an event before it
/// returns; calls that name one link keep their order.
pub trait Wire: Send + Sync {
    /// `Action::Dial`.
    fn dial(&self, link: LinkId, peer: PeerId);
    /// `Action::Send`.
    fn send(&self, link: LinkId, message: Message);
    /// `Action::Close`.
    fn close(&self, link: LinkId);
    /// `Action::Fetch`.
    fn fetch(&self, fetch: FetchId, link: LinkId, lane: u32, want: Want, len: u32);
    /// `Action::CloseLanes`.
    fn close_lanes(&self, link: LinkId, node: NodeId);
    /// `Action::Answer`.
    fn answer(&self, ask: AskId, answer: Answer);
}

/// The disk as the driver sees it. No method blocks, or hands over an event before it returns;
/// jobs for one object keep their order, and so do commits.
pub trait Store: Send + Sync {
    /// `Action::Disk`.
    fn perform(&self, job: JobId, wish: DiskWish);
    /// `Action::Commit`.
    fn commit(&self, commit: CommitId, records: Vec<Record>, sync: bool);
    /// Lets the caller do a job itself, unless it would overtake another of the same object. One
    /// who may calls [`Store::do_claimed`] with it, soon, and holding no lock. Called under the
    /// engine's lock, like [`Store::perform`].
    fn claim(&self, wish: &DiskWish) -> bool;
    /// Does a job that was claimed, and returns what came of it.
    fn do_claimed(&self, job: JobId, wish: DiskWish) -> Event;
}

/// Where applications are: a mount, or the program itself.
pub trait Front: Send + Sync {
    /// Answers a request; one that nobody waits for is passed over. Returns what is to be handed
    /// over because of it (a read of bytes that could not be read, asked again; lookups of items
    /// that found no room, given back).
    ///
    /// Called with the barrier held: it must not wait for anything but the kernel and the disk,
    /// and must not hand over events itself.
    fn reply(&self, req: ReqId, result: Result<FsReply, FsError>) -> Vec<Event>;

    /// Queues an invalidation. Called under the engine's lock.
    fn invalidate(&self, what: Invalidation);

    /// Answers everything that still waits: the engine is broken, and nothing will.
    fn abandon(&self);
}

/// What the driver is connected to.
pub struct Parts {
    /// The network.
    pub wire: Arc<dyn Wire>,
    /// The disk.
    pub store: Arc<dyn Store>,
    /// The applications.
    pub front: Arc<dyn Front>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// What whoever runs the process should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `Action::Wanted`.
    Wanted {
        /// Which.
        req: ReqId,
        /// How it stands.
        state: WantState,
    },
    /// `Action::Stopped`.
    Stopped,
    /// The engine broke one of its own laws and takes no more events.
    Broken(String),
    /// The engine stops by itself until somebody has said what is meant.
    Halted(String),
    /// Somebody asked for an end: a signal, or `tandem stop`.
    StopAsked,
}

/// The loop around one engine.
pub struct Driver {
    started: Instant,
    core: Mutex<Core>,
    barrier: RwLock<()>,
    timer: Timer,
    parts: OnceLock<Parts>,
    payloads: Arc<Payloads>,
    notices: Sender<Notice>,
    settling: Mutex<BTreeMap<ReqId, Sender<Result<Settled, Unsettled>>>>,
    removing: Mutex<BTreeMap<ReqId, Sender<Result<Removed, Unremoved>>>>,
    restoring: Mutex<BTreeMap<ReqId, Sender<Result<Restored, Unrestored>>>>,
    /// Numbers of what users ask, for all of these.
    next_asked: AtomicU64,
    broken: AtomicBool,
}

/// What the lock guards.
struct Core {
    engine: Engine,
    /// Events that came before [`Driver::connect`], in their order; `None` after it.
    early: Option<Vec<Event>>,
}

/// When the engine next wants a tick, and the thread that waits for it.
#[derive(Default)]
struct Timer {
    /// In nanoseconds of the session's clock. Written under the engine's lock.
    due: AtomicU64,
    /// Held by the thread from reading `due` to its sleep, and by whoever makes `due` earlier
    /// while waking it: so no waking is lost.
    sleep: Mutex<bool>,
    wake: Condvar,
}

/// How long whoever settles a conflict, or removes a peer, waits until that is stored: a disk that is busy takes seconds
/// to sync; by eye.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// How long whoever wants a thing back waits until it is copied: a hundred gigabytes, on a disk that is
/// not the fastest; by eye.
pub const RESTORED_WITHIN: Duration = Duration::from_secs(1_200);

/// How long the timer rests after a tick that left the deadline in the past: a bound on what a
/// wrong deadline can cost; by eye.
const REST: Duration = Duration::from_millis(1);

impl Driver {
    /// Makes the driver of `engine`, whose clock began at `started`, and its timer thread. Events
    /// are kept until [`Driver::connect`].
    pub fn new(
        engine: Engine,
        started: Instant,
        payloads: Arc<Payloads>,
        notices: Sender<Notice>,
    ) -> Arc<Self> {
        let driver = Arc::new(Self {
            started,
            core: Mutex::new(Core {
                engine,
                early: Some(Vec::new()),
            }),
            barrier: RwLock::new(()),
            timer: Timer {
                due: AtomicU64::new(Time::NEVER.0),
                ..Timer::default()
            },
            parts: OnceLock::new(),
            payloads,
            notices,
            settling: Mutex::default(),
            removing: Mutex::default(),
            restoring: Mutex::default(),
            next_asked: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        });
        let timed = Arc::clone(&driver);
        thread::Builder::new()
            .name("tandem-timer".into())
            .spawn(move || keep_time(&timed))
            .expect("the system gives a thread at start");
        driver
    }

    /// Connects the parts, then hands over what came before. To be called once.
    pub fn connect(&self, parts: Parts) {
        assert!(
            self.parts.set(parts).is_ok(),
            "a driver is connected once, when the parts are made"
        );
        let again = self.pass(None);
        for event in again {
            self.submit(event);
        }
    }

    /// Hands over an event, and performs what follows.
    pub fn submit(&self, event: Event) {
        let mut left = VecDeque::from([event]);
        while let Some(event) = left.pop_front() {
            left.extend(self.pass(Some(event)));
        }
    }

    /// Parks bytes that an event is about to name.
    pub fn park(&self, bytes: Bytes) -> PayloadId {
        self.payloads.put(bytes)
    }

    /// Waits until every answer that was computed before is written. Whoever sends
    /// invalidations calls this after taking them from their queue.
    pub fn let_answers_out(&self) {
        drop(self.barrier.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns a picture of the engine; `None` if it is broken.
    pub fn status(&self) -> Option<Status> {
        let core = self.core.lock().ok()?;
        Some(core.engine.status(self.now()))
    }

    /// Asks the engine something short; `None` if it is broken.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> Option<T> {
        let core = self.core.lock().ok()?;
        Some(look(&core.engine))
    }

    /// Settles a conflict, and waits until that is stored; `None` if it is not by
    /// [`SETTLED_WITHIN`], or the engine is broken.
    pub fn settle(&self, path: Vec<Name>, keep: Keep) -> Option<Result<Settled, Unsettled>> {
        let event = |req| Event::Settle { req, path, keep };
        self.ask(&self.settling, event, SETTLED_WITHIN)
    }

    /// Returns everybody who was ever let in, or is dialled, and who was removed; `None` if the
    /// engine is broken.
    pub fn peers(&self) -> Option<Vec<Listed>> {
        let core = self.core.lock().ok()?;
        Some(core.engine.peers(self.now()))
    }

    /// Removes a peer, and waits until that is stored for good; `None` if it is not by
    /// [`SETTLED_WITHIN`], or the engine is broken.
    pub fn remove(&self, peer: PeerId) -> Option<Result<Removed, Unremoved>> {
        let event = |req| Event::Remove { req, peer };
        self.ask(&self.removing, event, SETTLED_WITHIN)
    }

    /// Brings a thing back out of the trash, and waits until it stands in the folder; `None` if it
    /// does not by [`RESTORED_WITHIN`], or the engine is broken.
    pub fn restore(&self, number: u64) -> Option<Result<Restored, Unrestored>> {
        let wall = wall_clock();
        let event = |req| Event::Restore { req, number, wall };
        self.ask(&self.restoring, event, RESTORED_WITHIN)
    }

    /// Tells the engine what a user wants, and waits for its answer, at most so long.
    fn ask<T>(
        &self,
        asking: &Mutex<BTreeMap<ReqId, Sender<T>>>,
        event: impl FnOnce(ReqId) -> Event,
        within: Duration,
    ) -> Option<T> {
        let req = ReqId(self.next_asked.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = channel();
        lock(asking).insert(req, sender);
        self.submit(event(req));
        let answer = if self.is_broken() {
            None
        } else {
            answer.recv_timeout(within).ok()
        };
        lock(asking).remove(&req);
        answer
    }

    /// Tells whether the engine is broken.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Tells whoever runs the process something.
    pub fn notice(&self, notice: Notice) {
        // Nobody listens any more only when the process is about to end.
        let _ = self.notices.send(notice);
    }

    /// Ends the timer's thread.
    pub fn shutdown(&self) {
        *lock(&self.timer.sleep) = true;
        self.timer.wake.notify_all();
    }

    /// Returns the session's clock.
    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Hands over one event, or what came before the parts were connected; performs what
    /// follows, and returns what is to be handed over because of it.
    fn pass(&self, event: Option<Event>) -> Vec<Event> {
        let answering = self.barrier.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = if let Some(Event::Fs { req, .. }) = &event {
            Some(*req)
        } else {
            None
        };
        let brings_bytes = matches!(
            &event,
            Some(Event::Fs {
                call: FsCall::Edit(Edit::Write { .. }),
                ..
            })
        );
        let mut later = Later {
            own: brings_bytes.then(Vec::new),
            ..Later::default()
        };
        let taken = panic::catch_unwind(AssertUnwindSafe(|| {
            let Ok(mut core) = self.core.lock() else {
                return false;
            };
            let events = match (core.early.as_mut(), event) {
                (Some(early), Some(event)) => {
                    early.push(event);
                    return true;
                }
                (Some(_), None) => core.early.take().unwrap_or_default(),
                (None, event) => Vec::from_iter(event),
            };
            self.turn(&mut core.engine, events, &mut later);
            true
        }));
        let Some(parts) = self.parts.get() else {
            return Vec::new();
        };
        match taken {
            Ok(true) => {}
            Ok(false) => {
                if let Some(req) = waiting {
                    parts.front.reply(req, Err(FsError::Io));
                }
            }
            Err(panic) => self.give_up(parts, panic_text(&*panic)),
        }
        let mut follows = Vec::new();
        for (req, result) in later.replies {
            follows.extend(parts.front.reply(req, result));
        }
        for (ask, answer) in later.answers {
            parts.wire.answer(ask, answer);
        }
        drop(answering);
        for (job, wish) in later.own.unwrap_or_default() {
            follows.push(parts.store.do_claimed(job, wish));
        }
        follows
    }

    /// Turns the engine once for each event. Called under its lock.
    fn turn(&self, engine: &mut Engine, events: Vec<Event>, later: &mut Later) {
        // What the engine wants to do from the start comes first.
        self.drain(engine, later);
        for event in events {
            // The clock is read under the lock, so that the engine's time never goes back.
            engine.handle(self.now(), event);
            self.drain(engine, later);
        }
        self.set_timer(engine.poll_timeout());
    }

    fn drain(&self, engine: &mut Engine, later: &mut Later) {
        while let Some(action) = engine.poll_action() {
            // Whoever waits for the first exchange is told, and needs to hear it once.
            if let Action::Fault(fault @ Fault::Refused { .. }) = &action
                && !engine.is_complete()
            {
                tracing::info!("{fault}");
            } else {
                self.queue(action, later);
            }
        }
    }

    /// Queues what has an order; keeps what has none for after the lock.
    fn queue(&self, action: Action, later: &mut Later) {
        let parts = self
            .parts
            .get()
            .expect("the engine is given events only when the parts are connected");
        match action {
            Action::Reply { req, result } => later.replies.push((req, result)),
            Action::Answer { ask, answer } => later.answers.push((ask, answer)),
            Action::Dial { link, peer } => parts.wire.dial(link, peer),
            Action::Send { link, message } => parts.wire.send(link, message),
            Action::Close { link } => parts.wire.close(link),
            Action::Fetch {
                fetch,
                link,
                lane,
                want,
                len,
            } => parts.wire.fetch(fetch, link, lane, want, len),
            Action::CloseLanes { link, node } => parts.wire.close_lanes(link, node),
            Action::Drop { payload } => drop(self.payloads.take(payload)),
            Action::Disk { job, wish } => match &mut later.own {
                Some(own) if is_write(&wish) && parts.store.claim(&wish) => own.push((job, wish)),
                Some(_) | None => parts.store.perform(job, wish),
            },
            Action::Commit {
                commit,
                records,
                sync,
            } => parts.store.commit(commit, records, sync),
            Action::Invalidate(what) => parts.front.invalidate(what),
            // What was downloaded before is given up: a guest, who logs errors only, is told too.
            Action::Fault(fault @ (Fault::Sidecar { .. } | Fault::Draft { .. })) => {
                tracing::error!("{fault}");
            }
            Action::Fault(fault @ Fault::MuchMissing { .. }) => {
                self.notice(Notice::Halted(fault.to_string()));
            }
            // The store says it itself, once, and with the words of the operating system.
            Action::Fault(fault @ Fault::Store { .. }) => tracing::debug!("{fault}"),
            Action::Fault(fault) => tracing::warn!("{fault}"),
            Action::Wanted { req, state } => self.notice(Notice::Wanted { req, state }),
            Action::Settled { req, result } => {
                if let Some(asker) = lock(&self.settling).remove(&req) {
                    // One that has given up waiting does not mind.
                    let _ = asker.send(result);
                }
            }
            Action::Removed { req, result } => {
                if let Some(asker) = lock(&self.removing).remove(&req) {
                    // One that has given up waiting does not mind.
                    let _ = asker.send(result);
                }
            }
            Action::Restored { req, result } => {
                if let Some(asker) = lock(&self.restoring).remove(&req) {
                    // One that has given up waiting does not mind.
                    let _ = asker.send(result);
                }
            }
            Action::Stopped => self.notice(Notice::Stopped),
        }
    }

    /// The engine broke its own law. Its state can't be trusted: nothing more is done with it,
    /// every application gets an error, and the process is told to end.
    fn give_up(&self, parts: &Parts, why: String) {
        self.broken.store(true, Ordering::Release);
        tracing::error!("a law of the engine was broken: {why}; every call fails until a restart");
        parts.front.abandon();
        self.notice(Notice::Broken(why));
    }

    /// Notes when the engine wants its tick, and wakes the timer if that is earlier than before.
    /// Called under the engine's lock.
    fn set_timer(&self, due: Option<Time>) {
        let due = due.unwrap_or(Time::NEVER).0;
        if due < self.timer.due.swap(due, Ordering::AcqRel) {
            drop(lock(&self.timer.sleep));
            self.timer.wake.notify_one();
        }
    }
}

impl Sink for Driver {
    fn event(&self, event: Event) {
        self.submit(event);
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

/// What is done after the lock.
#[derive(Default)]
struct Later {
    replies: Vec<(ReqId, Result<FsReply, FsError>)>,
    answers: Vec<(AskId, Answer)>,
    /// Jobs that this thread does itself, if it may.
    own: Option<Vec<(JobId, DiskWish)>>,
}

/// Tells whether a job writes what an application wrote.
fn is_write(wish: &DiskWish) -> bool {
    matches!(
        wish,
        DiskWish::Draft {
            wish: DraftWish::Write { .. },
            ..
        }
    )
}

/// Sleeps until the engine's deadline, hands over a tick, and again, until the shutdown.
fn keep_time(driver: &Driver) {
    let timer = &driver.timer;
    let mut ended = lock(&timer.sleep);
    while !*ended && !driver.is_broken() {
        let due = Time(timer.due.load(Ordering::Acquire));
        let wait = due.since(driver.now());
        if !wait.is_zero() {
            ended = rest(timer, ended, wait);
            continue;
        }
        drop(ended);
        driver.submit(Event::Tick);
        ended = lock(&timer.sleep);
        if timer.due.load(Ordering::Acquire) <= due.0 {
            ended = rest(timer, ended, REST);
        }
    }
}

/// Sleeps for `wait`, or until somebody wakes the timer.
fn rest<'a>(timer: &'a Timer, ended: MutexGuard<'a, bool>, wait: Duration) -> MutexGuard<'a, bool> {
    timer
        .wake
        .wait_timeout(ended, wait)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Locks what stays whole whatever its holder did.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
