//! A shell in memory: what stands around an engine that is fuzzed.
//!
//! Law: it does what the engine asks, in order and when it is told to, and panics when the engine
//! breaks a rule of the door: what is said goes to a link that is there, a payload is used up once,
//! a request is answered once, and every event has few actions.

use std::collections::{BTreeMap, VecDeque};

use tandem_core::action::{Action, Besides, DiskWish, FsReply, Record, WantState};
use tandem_core::engine::{Config, Engine, Last, RestoreError, Start};
use tandem_core::error::{DiskError, FsError};
use tandem_core::event::{DiskDone, Event, FsCall, LinkDown, Nature};
use tandem_core::ids::{
    AskId, ChunkHash, CommitId, FetchId, JobId, LinkId, PayloadId, PeerId, ReqId,
};
use tandem_core::limits::{BATCHES_IN_FLIGHT_MAX, LANES};
use tandem_core::message::{Answer, Message, Want};
use tandem_core::time::Time;
use tandem_core::tree::name::Name;

use crate::disk::{Folder, Objects};

/// The actions that one event may have: a batch of registers moves as many names, closes their
/// files and sends the news to every peer; by eye.
const ACTIONS_MAX: usize = 4_096;

/// What a payload is.
pub(crate) type Parked = (u32, ChunkHash);

/// One end of a link.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Whose key is at the other end.
    pub peer: Option<PeerId>,
    /// Whether it is connected.
    pub is_up: bool,
    /// Whether the engine closed it: what was said still goes out.
    pub is_closed: bool,
    /// What was said and not taken yet.
    pub said: VecDeque<Message>,
    /// Batches that were said and not acknowledged.
    unacked: u32,
}

/// What an ask was answered, as far as a peer of this kind can say it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    /// A chunk, and the hash on record.
    Data(Parked, ChunkHash),
    /// It is what was named.
    Same,
    /// Nothing.
    Gone,
}

/// An engine, and all that is around it.
#[derive(Debug)]
pub(crate) struct Shell {
    pub engine: Engine,
    pub config: Config,
    pub now: Time,
    /// The metadata store.
    pub store: BTreeMap<Vec<u8>, Vec<u8>>,
    pub folder: Folder,
    objects: Objects,
    payloads: BTreeMap<PayloadId, Parked>,
    jobs: VecDeque<(JobId, DiskWish, Option<Parked>)>,
    commits: VecDeque<(CommitId, Vec<Record>)>,
    pub lines: BTreeMap<LinkId, Line>,
    /// Fetches that are not answered.
    pub fetches: BTreeMap<FetchId, (LinkId, Want, u32)>,
    asks: BTreeMap<AskId, LinkId>,
    /// Answers to asks that nobody has taken yet.
    pub answers: Vec<(AskId, Told)>,
    waiting: BTreeMap<ReqId, Option<FsCall>>,
    /// How requests of the mount ended.
    pub replies: BTreeMap<ReqId, Result<FsReply, FsError>>,
    /// How wants ended.
    pub ended: BTreeMap<ReqId, WantState>,
    is_stopping: bool,
    pub is_stopped: bool,
    drawn: u64,
}

impl Shell {
    /// Starts a new engine.
    pub(crate) fn new(config: Config, folder: Folder) -> Self {
        let store = BTreeMap::new();
        let new = Self::of(config, folder, store, Last::Clean, Time::ZERO);
        new.expect("an empty store is sound")
    }

    /// Starts an engine of a store.
    pub(crate) fn of(
        config: Config,
        folder: Folder,
        store: BTreeMap<Vec<u8>, Vec<u8>>,
        last: Last,
        now: Time,
    ) -> Result<Self, RestoreError> {
        // Chance differs from start to start: an actor is drawn once.
        let starts = if store.is_empty() { 0 } else { 1 << 8 };
        let seed = starts + now.0 + u64::from(config.me.0[0]);
        let start = Start { seed, now, last };
        let mut shell = Self {
            engine: Engine::restore(config.clone(), start, store.clone())?,
            config,
            now,
            store,
            folder,
            objects: Objects::default(),
            payloads: BTreeMap::new(),
            jobs: VecDeque::new(),
            commits: VecDeque::new(),
            lines: BTreeMap::new(),
            fetches: BTreeMap::new(),
            asks: BTreeMap::new(),
            answers: Vec::new(),
            waiting: BTreeMap::new(),
            replies: BTreeMap::new(),
            ended: BTreeMap::new(),
            is_stopping: false,
            is_stopped: false,
            drawn: 0,
        };
        shell.perform_all();
        Ok(shell)
    }

    /// Kills the process and starts it again; what was committed holds, and what it wrote.
    ///
    /// # Panics
    ///
    /// When it can't be restored from what it stored itself.
    pub(crate) fn restart(&mut self) {
        let folder = std::mem::take(&mut self.folder);
        let store = std::mem::take(&mut self.store);
        let restored = Self::of(self.config.clone(), folder, store, Last::Killed, self.now);
        let new = restored.expect("an engine can be restored from what it stored");
        let objects = std::mem::take(&mut self.objects);
        let drawn = self.drawn;
        *self = Self {
            objects,
            drawn,
            ..new
        };
    }

    /// Hands an event in, and performs what comes of it.
    pub(crate) fn tell(&mut self, event: Event) {
        self.engine.handle(self.now, event);
        self.perform_all();
    }

    fn perform_all(&mut self) {
        for count in 0.. {
            assert!(count < ACTIONS_MAX, "an event has no end of actions");
            let Some(action) = self.engine.poll_action() else {
                break;
            };
            self.perform(action);
        }
    }

    /// Draws a number that was not drawn before.
    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Parks bytes.
    pub(crate) fn park(&mut self, parked: Parked) -> PayloadId {
        let payload = PayloadId(self.draw());
        self.payloads.insert(payload, parked);
        payload
    }

    fn unpark(&mut self, payload: PayloadId) -> Parked {
        let parked = self.payloads.remove(&payload);
        parked.expect("a payload that is there is used up, once")
    }

    /// Lets somebody connect.
    pub(crate) fn accept(&mut self, peer: PeerId) -> LinkId {
        let link = LinkId(self.draw() * 2 + 1);
        let line = Line {
            peer: Some(peer),
            is_up: true,
            ..Line::default()
        };
        self.lines.insert(link, line);
        self.tell(Event::Accepted { link, peer });
        link
    }

    /// Connects a link that the engine dialled.
    pub(crate) fn connect(&mut self, link: LinkId) {
        if let Some(line) = self.lines.get_mut(&link) {
            line.is_up = true;
            self.tell(Event::Dialled { link });
        }
    }

    /// Tells the engine that a link is over.
    pub(crate) fn cut(&mut self, link: LinkId, why: LinkDown) {
        if self.lines.remove(&link).is_some_and(|line| !line.is_closed) {
            self.forget(link);
            self.tell(Event::LinkDown { link, why });
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.fetches.retain(|_, (over, ..)| *over != link);
        self.asks.retain(|_, over| *over != link);
    }

    /// Says something to the engine on a link, if that is still there.
    pub(crate) fn hear(&mut self, link: LinkId, message: Message) {
        let Some(line) = self.lines.get_mut(&link) else {
            return;
        };
        if line.is_up && !line.is_closed {
            if let Message::Ack(_) = message {
                line.unacked = line.unacked.saturating_sub(1);
            }
            self.tell(Event::Said { link, message });
        }
    }

    /// Asks the engine for a chunk, if the link is there.
    pub(crate) fn ask(&mut self, link: LinkId, want: Want, len: u32) -> Option<AskId> {
        let is_there = |line: &Line| line.is_up && !line.is_closed;
        if !self.lines.get(&link).is_some_and(is_there) {
            return None;
        }
        let ask = AskId(self.draw());
        self.asks.insert(ask, link);
        self.tell(Event::Asked {
            link,
            ask,
            want,
            len,
        });
        Some(ask)
    }

    /// Calls the file system.
    pub(crate) fn call(&mut self, call: FsCall) -> ReqId {
        let req = ReqId(self.draw());
        self.waiting.insert(req, Some(call.clone()));
        self.tell(Event::Fs { req, call });
        req
    }

    /// Wants all of a file.
    pub(crate) fn want(&mut self, path: Vec<Name>) -> ReqId {
        let req = ReqId(self.draw());
        self.waiting.insert(req, None);
        self.tell(Event::Want { req, path });
        req
    }

    /// Lets time pass up to the next deadline; false if there is none.
    pub(crate) fn wait(&mut self) -> bool {
        let Some(at) = self.engine.poll_timeout() else {
            return false;
        };
        self.wait_until(at);
        true
    }

    /// Lets time pass up to this point.
    pub(crate) fn wait_until(&mut self, at: Time) {
        self.now = self.now.max(at);
        self.tell(Event::Tick);
    }

    /// Finishes the oldest commit; false if there is none.
    pub(crate) fn commit(&mut self) -> bool {
        let Some((commit, records)) = self.commits.pop_front() else {
            return false;
        };
        for Record { key, value } in records {
            match value {
                Some(value) => {
                    assert!(
                        tandem_core::is_record(&key, &value),
                        "what is stored reads back"
                    );
                    self.store.insert(key, value);
                }
                None => {
                    self.store.remove(&key);
                }
            }
        }
        let outcome = Ok(());
        self.tell(Event::Committed { commit, outcome });
        true
    }

    /// Does the oldest job of the disk; false if there is none.
    pub(crate) fn work(&mut self) -> bool {
        let Some((job, wish, parked)) = self.jobs.pop_front() else {
            return false;
        };
        let outcome = match wish {
            DiskWish::List { path } => self.folder.list(&path),
            DiskWish::Look { path } => Ok(self.folder.look(&path)),
            DiskWish::ReadChunk {
                path, offset, len, ..
            } => self.folder.read(&path, offset, len).map(|read| {
                let (bytes, print) = read;
                let len = u32::try_from(bytes.len()).expect("no longer than it was asked to");
                // As below.
                let (len, hash) = match parked {
                    Some((more, _)) => (len + more, ChunkHash(0)),
                    None => (len, ChunkHash::of(&bytes)),
                };
                DiskDone::Chunk {
                    payload: self.park((len, hash)),
                    len,
                    hash,
                    before: print,
                    after: print,
                    nature: Nature::default(),
                }
            }),
            // Nothing is ever placed here, so nothing lies in the trash.
            DiskWish::ReadThrown { .. } => Err(DiskError::NotFound),
            wish @ (DiskWish::LoadObject { .. }
            | DiskWish::CreateObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::FinishObject { .. }
            | DiskWish::RemoveObject { .. }) => self.objects.perform(wish, parked),
            DiskWish::ReadStored {
                object,
                offset,
                len,
                ..
            } => self.objects.read(object, offset).map(|read| {
                // Bytes are not kept here: what is joined of two is some other.
                let (len, hash) = match parked {
                    Some((more, _)) => (len + more, ChunkHash(0)),
                    None => read,
                };
                DiskDone::Read {
                    payload: self.park((len, hash)),
                    len,
                    hash,
                    nature: Nature::default(),
                }
            }),
            DiskWish::Place(_) | DiskWish::Trash(_) | DiskWish::Draft { .. } => {
                Err(DiskError::WrongKind)
            }
        };
        self.tell(Event::Disk { job, outcome });
        true
    }

    /// Does all that the disk was given; tells whether that was anything.
    pub(crate) fn work_all(&mut self) -> bool {
        let mut any = false;
        while self.work() || self.commit() {
            any = true;
        }
        any
    }

    /// Stops the process, and checks that nothing is left over.
    ///
    /// # Panics
    ///
    /// When something is.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
        self.tell(Event::Stop);
        for _ in 0..64 {
            self.work_all();
            if self.is_stopped || !self.wait() {
                break;
            }
        }
        assert!(self.is_stopped, "a stop has its end");
        assert!(self.payloads.is_empty(), "every payload was used up");
        let calls = self.waiting.values().flatten().count();
        assert_eq!(calls, 0, "every call was answered: {:?}", self.waiting);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Reply { req, result } => {
                let call = self
                    .waiting
                    .remove(&req)
                    .expect("a request is answered once");
                assert!(call.is_some(), "a want has no reply");
                self.replies.insert(req, result);
            }
            Action::Dial { link, peer } => {
                let line = Line {
                    peer: Some(peer),
                    ..Line::default()
                };
                assert!(self.lines.insert(link, line).is_none(), "{link} is new");
            }
            Action::Send { link, message } => {
                let line = self.lines.get_mut(&link);
                let line = line.filter(|line| line.is_up && !line.is_closed);
                let line = line.expect("what is said goes to a link that is there");
                if let Message::Registers(_) = message {
                    line.unacked += 1;
                    assert!(line.unacked <= BATCHES_IN_FLIGHT_MAX, "the window holds");
                }
                line.said.push_back(message);
            }
            Action::Close { link } => {
                let line = self.lines.get_mut(&link).filter(|line| !line.is_closed);
                line.expect("a link that is there is closed").is_closed = true;
                self.forget(link);
            }
            Action::Fetch {
                fetch,
                link,
                lane,
                want,
                len,
            } => {
                let line = self.lines.get(&link);
                let is_there = line.is_some_and(|line| line.is_up && !line.is_closed);
                assert!(
                    is_there && lane < LANES,
                    "a lane is of a link that is there"
                );
                let asked = self.fetches.insert(fetch, (link, want, len));
                assert!(asked.is_none(), "a fetch is made once");
            }
            Action::CloseLanes { .. } | Action::Invalidate(_) => {}
            Action::Answer { ask, answer } => {
                let told = match answer {
                    Answer::Data { hash, payload } => Told::Data(self.unpark(payload), hash),
                    Answer::Tail { payload, .. } => {
                        self.unpark(payload);
                        Told::Gone
                    }
                    Answer::Same => Told::Same,
                    Answer::Hole | Answer::Gone | Answer::NotHeld | Answer::Failed => Told::Gone,
                };
                if self.asks.remove(&ask).is_some() {
                    self.answers.push((ask, told));
                }
            }
            Action::Drop { payload } => {
                self.unpark(payload);
            }
            Action::Disk { job, wish } => {
                let parked = match &wish {
                    DiskWish::StoreChunk { payload, .. }
                    | DiskWish::ReadStored {
                        besides: Besides::Join(payload),
                        ..
                    }
                    | DiskWish::ReadChunk {
                        besides: Besides::Join(payload),
                        ..
                    } => Some(self.unpark(*payload)),
                    DiskWish::List { .. }
                    | DiskWish::Look { .. }
                    | DiskWish::Place(_)
                    | DiskWish::Trash(_)
                    | DiskWish::ReadChunk { .. }
                    | DiskWish::ReadThrown { .. }
                    | DiskWish::LoadObject { .. }
                    | DiskWish::CreateObject { .. }
                    | DiskWish::CutSidecar { .. }
                    | DiskWish::StoreHole { .. }
                    | DiskWish::MarkSidecar { .. }
                    | DiskWish::SyncObject { .. }
                    | DiskWish::HashChunk { .. }
                    | DiskWish::FinishObject { .. }
                    | DiskWish::RemoveObject { .. }
                    | DiskWish::ReadStored { .. }
                    | DiskWish::Draft { .. } => None,
                };
                self.jobs.push_back((job, wish, parked));
            }
            Action::Commit {
                commit, records, ..
            } => self.commits.push_back((commit, records)),
            Action::Fault(fault) => assert!(!fault.to_string().is_empty(), "a fault has words"),
            Action::Wanted { req, state } => {
                let wanted = self.waiting.get(&req);
                assert_eq!(wanted, Some(&None), "a want ends once");
                if !matches!(state, WantState::Progress { .. }) {
                    self.waiting.remove(&req);
                    self.ended.insert(req, state);
                }
            }
            Action::Settled { .. } | Action::Removed { .. } | Action::Restored { .. } => {}
            Action::Stopped => {
                assert!(
                    self.is_stopping && !self.is_stopped,
                    "it stops once, when told"
                );
                self.is_stopped = true;
            }
        }
    }
}
