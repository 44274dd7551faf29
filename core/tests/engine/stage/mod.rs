//! The stage: ada shares a folder, others join it. Engines are driven by events alone; disks,
//! stores and wires are stand-ins that answer at once unless the test holds, fails or cuts them.
//!
//! Law: time moves only when the test says so, and everything that happens is one line of the
//! trace: at the margin what an engine is told, below it what it then wants done.

mod cast;
mod folder;
mod objects;
mod script;
mod wire;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_core::action::{Action, DiskWish, FsReply};
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, FsError};
use tandem_core::event::{DiskDone, Event, Fetched, FsCall, Hint, LinkDown};
use tandem_core::ids::{AskId, FetchId, Fh, Ino, LinkId, PayloadId, ReqId};
use tandem_core::message::{Message, Want};
use tandem_core::time::{Duration, Time};
use tandem_core::tree::register::Kind;

pub(crate) use cast::{CHUNK, Side, TICKET, path, photo};
pub(crate) use objects::Objects;
use script::Script;

/// What can be held back until the test lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    /// The ends of disk jobs.
    Disk,
    /// The ends of commits.
    Commits,
    /// Answers to fetches.
    Chunks,
    /// What is said to it.
    Messages,
}

/// A message that an engine sent, or was told.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// Which side.
    pub(crate) side: usize,
    /// By the link's number there.
    pub(crate) link: LinkId,
    pub(crate) is_sent: bool,
    pub(crate) message: Message,
}

/// Fails the next disk job whose wish it picks.
pub(crate) type Failing = (fn(&DiskWish) -> bool, DiskError);

/// Some engines, what stands between them, and the clock.
pub(crate) struct Stage {
    pub(crate) now: Time,
    pub(crate) sides: Vec<Side>,
    /// Both ends of every connection.
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    asks: BTreeMap<AskId, (usize, FetchId)>,
    fetches: BTreeMap<(usize, FetchId), (LinkId, u32)>,
    queue: VecDeque<(usize, Event)>,
    held: BTreeSet<(usize, Held)>,
    waiting: Vec<(Held, usize, Event)>,
    /// Who hears of no changes that others make.
    pub(crate) deaf: &'static [&'static str],
    /// Whose cable is out, without anybody being told.
    muted: BTreeSet<usize>,
    /// Whoever dials a peer that is not in the cast is connected; on which link, last.
    pub(crate) puppet: Option<LinkId>,
    /// Fetches on links whose other end no engine holds.
    pub(crate) unanswered: Vec<(LinkId, FetchId, Want)>,
    /// Every message, in the order of what happened to it.
    pub(crate) traffic: Vec<Traffic>,
    next: u64,
    script: Script,
}

impl Stage {
    /// Sets the stage for ada, who will share, and for these, who will join.
    pub(crate) fn new(joiners: &[&str]) -> Self {
        let mut sides = vec![Side::host("ada")];
        sides.extend((1..).zip(joiners).map(|(nr, name)| Side::joiner(nr, name)));
        let script = Script::of(&sides);
        Self {
            now: Time::ZERO,
            sides,
            ends: BTreeMap::new(),
            asks: BTreeMap::new(),
            fetches: BTreeMap::new(),
            queue: VecDeque::new(),
            held: BTreeSet::new(),
            waiting: Vec::new(),
            deaf: &[],
            muted: BTreeSet::new(),
            puppet: None,
            traffic: Vec::new(),
            unanswered: Vec::new(),
            next: 0,
            script,
        }
    }

    /// Sets the stage for these, as they are.
    pub(crate) fn of(sides: Vec<Side>) -> Self {
        let mut stage = Self::new(&[]);
        stage.script = Script::of(&sides);
        stage.sides = sides;
        stage
    }

    /// Ada shares `photo`, of three chunks and a bit, and bo has joined; the trace begins after.
    pub(crate) fn met() -> Self {
        let mut stage = Self::new(&["bo"]);
        stage.side("ada").files.write("photo", &photo());
        stage.start("ada", Last::Clean);
        stage.start("bo", Last::Clean);
        stage.trace();
        stage
    }

    fn ix(&self, name: &str) -> usize {
        let named = |side: &Side| side.name == name;
        self.sides
            .iter()
            .position(named)
            .expect("it is in the cast")
    }

    pub(crate) fn side(&mut self, name: &str) -> &mut Side {
        let ix = self.ix(name);
        &mut self.sides[ix]
    }

    /// Returns the trace since the last call.
    pub(crate) fn trace(&mut self) -> String {
        self.script.take()
    }

    /// Has heartbeats, and deadlines that pass without effect, told too.
    pub(crate) fn tell_heartbeats(&mut self) {
        self.script.heartbeats = true;
    }

    /// Draws a number that was not used before.
    pub(crate) fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Returns `name`'s links, oldest first.
    pub(crate) fn links(&self, name: &str) -> Vec<LinkId> {
        let ix = self.ix(name);
        self.ends
            .keys()
            .filter(|end| end.0 == ix)
            .map(|end| end.1)
            .collect()
    }

    // Holding back.

    pub(crate) fn hold(&mut self, name: &str, what: Held) {
        self.held.insert((self.ix(name), what));
    }

    /// Lets the first few of what is held back go on.
    pub(crate) fn let_by(&mut self, name: &str, what: Held, count: usize) {
        let ix = self.ix(name);
        for _ in 0..count {
            let is_it = |(kind, to, _): &(Held, usize, Event)| (*kind, *to) == (what, ix);
            let Some(at) = self.waiting.iter().position(is_it) else {
                return;
            };
            let (_, to, event) = self.waiting.remove(at);
            self.queue.push_back((to, event));
            self.settle();
        }
    }

    /// Lets the first of all that is held back go on; false if there is none.
    pub(crate) fn let_one_by(&mut self, name: &str) -> bool {
        let ix = self.ix(name);
        let Some(at) = self.waiting.iter().position(|(_, to, _)| *to == ix) else {
            return false;
        };
        let (_, to, event) = self.waiting.remove(at);
        self.queue.push_back((to, event));
        self.settle();
        true
    }

    /// Lets all that is held back by now go on; returns how often the disk was synced until then,
    /// since the last time.
    pub(crate) fn let_all_by(&mut self, name: &str) -> u32 {
        let ix = self.ix(name);
        let go = std::mem::take(&mut self.waiting).into_iter();
        let (go, stay) = go.partition(|(_, to, _)| *to == ix);
        self.waiting = stay;
        let go: Vec<(Held, usize, Event)> = go;
        self.queue
            .extend(go.into_iter().map(|(_, to, event)| (to, event)));
        self.settle();
        std::mem::take(&mut self.sides[ix].syncs)
    }

    /// Lets go of what was held back.
    pub(crate) fn release(&mut self, name: &str, what: Held) {
        let ix = self.ix(name);
        self.held.remove(&(ix, what));
        let (go, stay) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(kind, to, _)| (*kind, *to) == (what, ix));
        self.waiting = stay;
        let go: Vec<(Held, usize, Event)> = go;
        self.queue
            .extend(go.into_iter().map(|(_, to, event)| (to, event)));
        self.settle();
    }

    // What happens.

    /// Tells an engine something, and lets everything run that follows from it.
    pub(crate) fn event(&mut self, name: &str, event: Event) {
        let ix = self.ix(name);
        self.deliver(ix, event);
        self.settle();
    }

    /// Says something on a link of `name` as if its peer had.
    pub(crate) fn said(&mut self, name: &str, link: LinkId, message: Message) {
        self.event(name, Event::Said { link, message });
    }

    /// Calls the file system; returns the request, answered or waiting.
    pub(crate) fn call(&mut self, name: &str, call: FsCall) -> ReqId {
        let req = ReqId(self.draw());
        self.event(name, Event::Fs { req, call });
        req
    }

    pub(crate) fn answer(&mut self, name: &str, req: ReqId) -> Option<Result<FsReply, FsError>> {
        self.side(name).replies.get(&req).cloned()
    }

    pub(crate) fn lookup(&mut self, name: &str, file: &str) -> Ino {
        let parent = Ino::ROOT;
        let called = file.as_bytes().to_vec();
        let req = self.call(
            name,
            FsCall::Lookup {
                parent,
                name: called,
            },
        );
        match self.answer(name, req) {
            Some(Ok(FsReply::Entry(shown))) => shown.ino,
            other => panic!("{file} is not there: {other:?}"),
        }
    }

    pub(crate) fn open(&mut self, name: &str, file: &str) -> Fh {
        let ino = self.lookup(name, file);
        let write = false;
        let req = self.call(name, FsCall::Open { ino, write });
        match self.answer(name, req) {
            Some(Ok(FsReply::Opened { fh, .. })) => fh,
            other => panic!("{file} does not open: {other:?}"),
        }
    }

    pub(crate) fn read(&mut self, name: &str, fh: Fh, offset: u64, len: u32) -> ReqId {
        self.call(name, FsCall::Read { fh, offset, len })
    }

    /// Returns the bytes that a read was answered.
    pub(crate) fn bytes(&mut self, name: &str, req: ReqId) -> Vec<u8> {
        match self.answer(name, req) {
            Some(Ok(FsReply::Data(stored))) => self.side(name).objects.read(stored),
            other => panic!("the read brought no bytes: {other:?}"),
        }
    }

    /// The watcher hints at a path of ada's folder.
    pub(crate) fn hint(&mut self, at: &str) {
        let settled = true;
        let path = path(at);
        self.event("ada", Event::Hint(Hint::Path { path, settled }));
    }

    /// Returns the paths that `name` shows, as an application would find them. Is not traced.
    pub(crate) fn shown(&mut self, name: &str) -> BTreeSet<String> {
        let before = self.script.take();
        let mut found = BTreeSet::new();
        let mut dirs = vec![(Ino::ROOT, String::new())];
        while let Some((ino, at)) = dirs.pop() {
            let req = self.call(name, FsCall::OpenDir { ino });
            let Some(Ok(FsReply::OpenedDir { fh })) = self.answer(name, req) else {
                panic!("{at}/ does not open");
            };
            let (from, count, plus) = (0, u32::MAX, false);
            let req = self.call(
                name,
                FsCall::ReadDir {
                    fh,
                    from,
                    count,
                    plus,
                },
            );
            let Some(Ok(FsReply::Items(items))) = self.answer(name, req) else {
                panic!("{at}/ has no listing");
            };
            self.call(name, FsCall::ReleaseDir { fh });
            for item in items.into_iter().skip(2) {
                let path = format!("{at}/{}", String::from_utf8_lossy(&item.name));
                if item.shown.kind == Kind::Directory {
                    dirs.push((item.shown.ino, path.clone()));
                }
                found.insert(path);
            }
        }
        self.script.put_back(before);
        found
    }

    // Time and what follows.

    /// Lets time pass, deadline by deadline.
    pub(crate) fn wait(&mut self, how_long: Duration) {
        let until = self.now + how_long;
        loop {
            let due =
                |(ix, side): (usize, &Side)| Some((side.engine.as_ref()?.poll_timeout()?, ix));
            let next = self.sides.iter().enumerate().filter_map(due).min();
            let Some((at, ix)) = next.filter(|(at, _)| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.deliver(ix, Event::Tick);
            self.settle();
        }
        self.now = until;
    }

    pub(crate) fn settle(&mut self) {
        while let Some((ix, event)) = self.queue.pop_front() {
            let is_there = match &event {
                Event::Said { link, .. } | Event::Asked { link, .. } => {
                    self.ends.contains_key(&(ix, *link))
                }
                // Who hung up hears no more; a connection that failed had no ends.
                Event::LinkDown { link, why } => {
                    let had = self.ends.remove(&(ix, *link)).is_some();
                    had || *why == LinkDown::Unreachable
                }
                Event::Fetched { fetch, .. } => {
                    let is_there = self.fetches.remove(&(ix, *fetch)).is_some();
                    if !is_there
                        && let Event::Fetched {
                            outcome: Fetched::Data { payload, .. } | Fetched::Tail { payload, .. },
                            ..
                        } = event
                    {
                        self.sides[ix].payloads.remove(&payload);
                    }
                    is_there
                }
                Event::Tick
                | Event::Fs { .. }
                | Event::Dialled { .. }
                | Event::Accepted { .. }
                | Event::Disk { .. }
                | Event::Unreadable { .. }
                | Event::Committed { .. }
                | Event::Hint(_)
                | Event::Stop
                | Event::Want { .. }
                | Event::Settle { .. }
                | Event::Invited(_)
                | Event::Remove { .. }
                | Event::Restore { .. } => true,
            };
            if is_there {
                self.deliver(ix, event);
            }
        }
    }

    fn deliver(&mut self, ix: usize, event: Event) {
        let what = self.script.event(&event);
        let side = &mut self.sides[ix];
        let Some(engine) = side.engine.as_mut() else {
            return;
        };
        self.script.tell(self.now, &side.name, what);
        if let Event::Said { link, message } = &event {
            self.traffic.push(Traffic {
                side: ix,
                link: *link,
                is_sent: false,
                message: message.clone(),
            });
        }
        engine.handle(self.now, event);
        self.act(ix);
    }

    fn act(&mut self, ix: usize) {
        while let Some(action) = self.sides[ix].poll() {
            let what = self.script.action(&action);
            self.script.wish(self.now, what);
            self.perform(ix, action);
        }
    }

    fn is_deaf(&self, ix: usize) -> bool {
        self.deaf.contains(&self.sides[ix].name.as_str())
    }

    fn push(&mut self, kind: Held, ix: usize, event: Event) {
        if self.held.contains(&(ix, kind)) {
            self.waiting.push((kind, ix, event));
        } else {
            self.queue.push_back((ix, event));
        }
    }

    fn perform(&mut self, ix: usize, action: Action) {
        if self.sides[ix].is_dead() {
            return;
        }
        match action {
            Action::Reply { req, result } => {
                let again = self.sides[ix].replies.insert(req, result);
                assert!(again.is_none(), "{req} was answered twice");
            }
            Action::Dial { link, peer } => self.dial(ix, link, peer),
            Action::Send { link, message } => {
                self.traffic.push(Traffic {
                    side: ix,
                    link,
                    is_sent: true,
                    message: message.clone(),
                });
                if let Some(&(to, link)) = self.ends.get(&(ix, link))
                    && !self.is_muted(ix, to)
                    && !(matches!(message, Message::Registers(_)) && self.is_deaf(to))
                {
                    self.push(Held::Messages, to, Event::Said { link, message });
                }
            }
            Action::Close { link } => {
                self.sides[ix].closed.push(link);
                self.fetches
                    .retain(|(of, _), (on, _)| (*of, *on) != (ix, link));
                self.hang_up((ix, link));
            }
            Action::Fetch {
                fetch,
                link,
                want,
                len,
                ..
            } => {
                self.fetches.insert((ix, fetch), (link, len));
                let ask = AskId(self.draw());
                self.asks.insert(ask, (ix, fetch));
                if !self.ends.contains_key(&(ix, link)) {
                    self.unanswered.push((link, fetch, want));
                }
                if let Some(&(to, link)) = self.ends.get(&(ix, link))
                    && !self.is_muted(ix, to)
                {
                    self.queue.push_back((
                        to,
                        Event::Asked {
                            link,
                            ask,
                            want,
                            len,
                        },
                    ));
                }
            }
            Action::Answer { ask, answer } => self.bring(ix, ask, answer),
            Action::Drop { payload } => {
                let bytes = self.sides[ix].payloads.remove(&payload);
                assert!(bytes.is_some(), "{payload} was used up twice");
            }
            Action::Disk { job, wish } => {
                let mut done = self.sides[ix].disk(wish);
                if let Ok(DiskDone::Chunk { payload, .. } | DiskDone::Read { payload, .. }) =
                    &mut done
                {
                    let own = PayloadId(self.draw());
                    let bytes = self.sides[ix]
                        .payloads
                        .remove(payload)
                        .expect("it was read");
                    self.sides[ix].payloads.insert(own, bytes);
                    *payload = own;
                }
                if !self.sides[ix].is_dead() {
                    self.push(Held::Disk, ix, Event::Disk { job, outcome: done });
                }
            }
            Action::Commit {
                commit,
                records,
                sync,
            } => {
                let outcome = self.sides[ix].commit(records, sync);
                if !self.sides[ix].is_dead() {
                    self.push(Held::Commits, ix, Event::Committed { commit, outcome });
                }
            }
            Action::Fault(fault) => self.sides[ix].faults.push(fault),
            Action::Wanted { req, state } => self.sides[ix].wanted.push((req, state)),
            Action::Settled { req, result } => {
                let again = self.sides[ix].settled.insert(req, result);
                assert!(again.is_none(), "{req} was answered twice");
            }
            Action::Removed { req, result } => {
                let again = self.sides[ix].removed.insert(req, result);
                assert!(again.is_none(), "{req} was answered twice");
            }
            Action::Restored { req, result } => {
                let again = self.sides[ix].restored.insert(req, result);
                assert!(again.is_none(), "{req} was answered twice");
            }
            Action::CloseLanes { .. } | Action::Invalidate(_) => {}
            Action::Stopped => self.sides[ix].stopped = true,
        }
    }
}
