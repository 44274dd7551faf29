//! The world: engines, and everything that stands in for the whole of `io`, in one thread and in
//! virtual time.
//!
//! Law: one event at a time, in order of time, then of arrival; each is handed to one engine,
//! whose actions are performed until there is none. Between any two actions the process may die.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tandem_core::action::{FsReply, Stored, WantState};
use tandem_core::engine::{self, Engine, Host, Invite, Last, Start};
use tandem_core::error::FsError;
use tandem_core::event::{Event, FsCall, Hint, LinkDown};
use tandem_core::ids::{CommitId, FetchId, Ino, JobId, LinkId, PeerId, ReqId};
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Message, Role, Secret};
use tandem_core::time::Duration;
use tandem_core::trash::Retention;
use tandem_core::tree::register::Register;

use crate::chaos::{Aim, Planned};
use crate::check::bodies::Bodies;
use crate::check::bounds::Bounds;
use crate::check::faults::Caused;
use crate::check::handles::Handles;
use crate::check::here::Here;
use crate::check::kept::Author;
use crate::check::kept::Kept;
use crate::check::leases::Leases;
use crate::check::live::Live;
use crate::check::names::Names;
use crate::check::resume::Resume;
use crate::check::retries::Retries;
use crate::check::settled::Settling;
use crate::check::truth::Truth;
use crate::check::undo::Undo;
use crate::check::{Failure, Kind, Verdict};
use crate::choices::{Chance, Choices, Key};
use crate::config::{Config, MS, Minority, SEC};
use crate::disk::folder::Folder;
use crate::disk::objects::Objects;
use crate::disk::records::Records;
use crate::hostile::{Heard, Session};
use crate::kernel::Kernel;
use crate::net::{Link, Stream};
use crate::outside::Writer;
use crate::peer::{Caller, Ended, Peer};
use crate::reach::Reach;
use crate::run::Cut;
use crate::trace::Trace;
use crate::{marks, reach, show};

/// The host's place among the peers.
pub const HOST: usize = 0;

/// Something that is due.
#[derive(Debug)]
pub(crate) enum Item {
    Start(usize),
    Tick(usize, u64),
    Tell(usize, u64, Box<Event>),
    Piece(usize, usize, Stream),
    Up(usize, usize),
    Down(usize, usize),
    NoDial(usize, u64, LinkId, LinkDown),
    /// A dial that waits until the mount was judged.
    Dial(usize, u64, LinkId, PeerId),
    Job(usize, u64, JobId),
    Commit(usize, u64),
    User(usize, u64, usize),
    Again(usize, u64, ReqId, Stored),
    Planned(usize),
    Strike(usize, usize),
    Write(Box<Writer>),
    Hint(Box<Hint>),
    LaneClosed(usize, u64, FetchId),
    /// A lock of a kernel is free.
    Unlocked(usize, u64),
    /// A mount answers after a crash.
    Judge(usize, u64),
    Hostile(Box<Session>),
    /// The last joiner is to be removed, if it is not yet.
    Remove,
    /// A user settles a conflict, or waits for one.
    Settle(Chance),
}

#[derive(Debug)]
struct Due(u64, u64, Item);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What a call was answered, with the bytes that its shell read for it.
pub type Answer = Result<(FsReply, Vec<u8>), FsError>;

/// Everything.
#[derive(Debug)]
pub struct World {
    /// What the run is made of.
    pub config: Config,
    /// Where chance comes from.
    pub choices: Choices,
    /// Virtual time, in nanoseconds.
    pub now: u64,
    /// The peers; the first is the host.
    pub peers: Vec<Peer>,
    /// The shared folder.
    pub folder: Folder,
    /// What is owed of what was written.
    pub kept: Kept,
    /// What the host holds for others.
    pub(crate) leases: Leases,
    /// What was reached.
    pub reach: Reach,
    /// What happened.
    pub trace: Trace,
    /// Events handled.
    pub events: u64,
    /// Whether a program ever changed a file and set its time back.
    pub set_back: bool,
    /// Whether the host, where joiners write, has given up fetching something.
    pub gave_up: bool,
    /// Whether anybody could not give the host what he may have: it is asked for again much later.
    pub was_failed: bool,
    /// Whether an engine is at work: who panics then.
    pub in_core: bool,
    /// What was planned at the start.
    pub plan: Vec<Planned>,
    /// Planned events that wait for a state.
    pub(crate) aims: Vec<Aim>,
    pub(crate) links: BTreeMap<usize, Link>,
    pub(crate) links_made: usize,
    /// Pairs of peers that can't reach each other, and until when.
    pub(crate) apart: BTreeMap<(usize, usize), u64>,
    pub(crate) healed: bool,
    /// Where one of them is still to lose power, between two actions.
    pub(crate) cut: Option<Cut>,
    /// Whether the oracles call a mount, which lives until they are through.
    pub(crate) judging: bool,
    /// How many actions each has performed before all is healed.
    pub(crate) actions: Vec<u64>,
    /// Which peer stays broken for ever.
    pub(crate) lost: Option<usize>,
    /// In which of its runs the host was last asked to remove the last joiner.
    pub(crate) removing: Option<u64>,
    /// Which peer was removed.
    pub(crate) removed: Option<usize>,
    /// What lies in the host's trash, and who wants it back.
    pub(crate) undo: Undo,
    /// Who settled which conflict.
    pub(crate) settling: Settling,
    /// Names of files that a mount shows in the end, and of which something can't be had.
    pub(crate) nowhere: BTreeSet<Vec<Vec<u8>>>,
    /// Until when bytes take long, on all wires.
    pub(crate) throttled: u64,
    /// What a hostile peer picked up.
    pub(crate) heard: Heard,
    /// A fault planted in every engine.
    #[cfg(feature = "mutants")]
    pub mutant: Option<tandem_core::mutant::Mutant>,
    /// Whether the applications on the mounts close what they have and rest.
    pub(crate) resting: bool,
    /// When something other than a heartbeat last went on.
    pub(crate) busy_at: u64,
    pub(crate) answers: BTreeMap<(usize, ReqId), Answer>,
    /// How wants ended.
    pub(crate) ended: BTreeMap<(usize, ReqId), WantState>,
    queue: BinaryHeap<Reverse<Due>>,
    seq: u64,
}

/// How much longer a slow disk takes.
pub(crate) const SLOW: u64 = 10;

const NAMES: [&str; 5] = ["host", "ada", "bo", "cy", "di"];

impl World {
    /// Returns a world in which nobody was started yet.
    pub fn new(config: Config, choices: Choices, keep_trace: bool) -> Self {
        let mut world = Self {
            now: 0,
            peers: Vec::new(),
            folder: Folder::new(),
            kept: Kept::default(),
            leases: Leases::default(),
            reach: Reach::default(),
            trace: Trace::new(keep_trace),
            events: 0,
            set_back: false,
            gave_up: false,
            was_failed: false,
            in_core: false,
            plan: Vec::new(),
            aims: Vec::new(),
            links: BTreeMap::new(),
            links_made: 0,
            apart: BTreeMap::new(),
            healed: false,
            cut: None,
            judging: false,
            actions: Vec::new(),
            lost: None,
            removing: None,
            removed: None,
            undo: Undo::default(),
            settling: Settling::default(),
            nowhere: BTreeSet::new(),
            throttled: 0,
            heard: Heard::default(),
            #[cfg(feature = "mutants")]
            mutant: crate::mutants::PLANTED.get().copied(),
            resting: false,
            busy_at: 0,
            answers: BTreeMap::new(),
            ended: BTreeMap::new(),
            queue: BinaryHeap::new(),
            seq: 0,
            config,
            choices,
        };
        for n in 0..=world.config.joiners {
            let peer = world.make_peer(n);
            world.peers.push(peer);
        }
        if world.config.hostile > 0 {
            let mut peer = world.make_peer(world.config.joiners + 1);
            peer.name = "eve";
            peer.hostile = true;
            peer.config.host = None;
            world.peers.push(peer);
        }
        world.actions = vec![0; world.peers.len()];
        world
    }

    fn make_peer(&self, n: usize) -> Peer {
        let key = |n: usize| PeerId([u8::try_from(n + 1).unwrap_or(0); 32]);
        let secret = |n: usize| Secret([u8::try_from(n + 100).unwrap_or(0); 32]);
        let name = NAMES.get(n).copied().unwrap_or("peer");
        let role = match n {
            HOST => Role::Full,
            n if self.config.guest && n == self.config.joiners => Role::Guest,
            _ => Role::Sparse,
        };
        let mut config = engine::Config::new(key(n), Label::lossy(name), role);
        config.chunk_size = self.config.chunk_size;
        config.read_deadline = Duration::from_nanos(self.config.read_deadline);
        config.resting = self.config.resting;
        config.lane_files = self.config.lane_files;
        config.window = self.config.window;
        config.retries = self.config.retries;
        config.heartbeat = Duration::from_nanos(self.config.heartbeat);
        config.writable = match n {
            HOST => self.config.writable != 0,
            n => role == Role::Sparse && self.config.writable >> n & 1 == 1,
        };
        if role == Role::Sparse && self.config.far >> n & 1 == 1 {
            config.durability = engine::Durability::Peer;
        }
        config.push = n == HOST && self.config.push;
        // Without anybody who wants something back the trash is not looked at, so that what else
        // happens does as it did.
        let is_undone = self.config.restores > 0 && self.config.writable != 0;
        config.trash = if is_undone {
            Retention {
                keep: Duration::from_secs(self.config.trash_kept),
                budget: self.config.trash_bytes,
                first: Duration::from_nanos(self.config.trash_look),
                look: Duration::from_nanos(self.config.trash_look),
            }
        } else {
            Retention {
                keep: Duration::MAX,
                budget: u64::MAX,
                first: Duration::MAX,
                look: Duration::MAX,
            }
        };
        if n == HOST {
            config.folder = Some(FolderId([7; 16]));
            // One more than there are joiners: for the hostile peer.
            config.invites = (1..=self.config.joiners + 1)
                .map(|guest| Invite {
                    id: guest as u64,
                    secret: secret(guest),
                })
                .collect();
        } else {
            config.host = Some(Host {
                peer: key(HOST),
                secret: Some(secret(n)),
            });
        }
        // A job may wait behind others of its object, each as slow as a disk is in a bad moment.
        let slow = if self.config.slow_disks > 0 { SLOW } else { 1 };
        let slack = SEC + 400 * self.config.disk_time * slow;
        let (drift, wall_off) = self.clocks(n);
        let mut live = Live::new(self.config.read_deadline, slack);
        live.far = config.durability == engine::Durability::Peer;
        Peer {
            name,
            id: key(n),
            config,
            engine: None,
            boot: 0,
            epoch: 0,
            drift,
            wall_off,
            tick: None,
            last: Last::Clean,
            stopping: false,
            hostile: false,
            asleep: 0,
            slow: 0,
            relapses: 0,
            dying: None,
            records: Records::default(),
            objects: Objects::default(),
            payloads: BTreeMap::new(),
            drawn: 0,
            jobs: BTreeMap::new(),
            jobs_seen: 0,
            busy: BTreeMap::new(),
            commits: std::collections::VecDeque::new(),
            commit_busy: 0,
            links: BTreeMap::new(),
            asks: BTreeMap::new(),
            unheard: BTreeSet::new(),
            fetches: BTreeMap::new(),
            wires: self.choices.stream(Key::Net(n)),
            disk: self.choices.stream(Key::Disk(n)),
            shell: self.choices.stream(Key::Shell(n)),
            kernel: Kernel::new(),
            threads: Vec::new(),
            held_back: std::collections::VecDeque::new(),
            seen_before: None,
            let_in: None,
            writing: BTreeMap::new(),
            names: Names::default(),
            bodies: Bodies::default(),
            removed_blindly: false,
            copies: BTreeSet::new(),
            failed: BTreeMap::new(),
            undialled: BTreeSet::new(),
            reads: BTreeMap::new(),
            seeing: BTreeMap::new(),
            unnaming: BTreeMap::new(),
            hears: false,
            is_synced: false,
            crashed: None,
            callers: BTreeMap::new(),
            wants: BTreeMap::new(),
            truth: Truth::default(),
            resume: Resume::default(),
            handles: Handles::default(),
            here: Here::default(),
            live,
            retries: Retries::default(),
            ended: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            bounds: Bounds::default(),
            caused: Caused::default(),
            ticks: (0, 0),
        }
    }

    /// Draws how a peer's clocks run: how much faster than time the monotonic one, in millionths,
    /// and how far the other is off. The others are off from the host's.
    fn clocks(&self, p: usize) -> (i64, i64) {
        let mut chance = self.choices.stream(Key::Clock(p));
        let mut within = |far: u64| {
            let drawn = chance.between(0, 2 * far);
            let signed = |far| i64::try_from(far).unwrap_or(0);
            signed(drawn) - signed(far)
        };
        let drift = within(self.config.drift);
        let off = within(if p == HOST { 0 } else { self.config.skew });
        (drift, off)
    }

    /// Returns the wall clock of the host, and of its shared folder.
    pub fn wall(&self) -> i64 {
        self.wall_of(HOST)
    }

    /// Returns a peer's wall clock, in nanoseconds from 1970: noon of some day, what has passed,
    /// and how far it is off.
    pub fn wall_of(&self, p: usize) -> i64 {
        let off = self.peers.get(p).map_or(0, |peer| peer.wall_off);
        1_790_000_000_000_000_000 + off + i64::try_from(self.now).unwrap_or(0)
    }

    /// Puts something into the queue.
    pub(crate) fn after(&mut self, delay: u64, item: Item) {
        self.at(self.now + delay, item);
    }

    pub(crate) fn at(&mut self, at: u64, item: Item) {
        self.seq += 1;
        self.queue
            .push(Reverse(Due(at.max(self.now), self.seq, item)));
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&mut self, who: usize, what: std::fmt::Arguments<'_>) {
        let name = self.peers.get(who).map_or("world", |peer| peer.name);
        self.trace.line(self.now, name, what);
    }

    /// Lets time pass until `end`.
    pub fn run_until(&mut self, end: u64) -> Verdict {
        while let Some(Reverse(due)) = self.queue.peek() {
            if due.0 > end {
                break;
            }
            if self.folder.history.is_full() {
                return Ok(());
            }
            self.step()?;
        }
        self.now = self.now.max(end);
        let now = self.now;
        let mut checks = self.peers.iter().map(|peer| peer.live.check(now));
        checks
            .try_for_each(|check| check)
            .map_err(|f| self.dated(f))
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: u64) -> Verdict {
        self.run_until(self.now + time)
    }

    fn dated(&self, mut failure: Failure) -> Failure {
        failure.at = self.now;
        failure
    }

    /// Handles what is due next; tells whether there was anything.
    pub fn step(&mut self) -> Result<bool, Failure> {
        let Some(Reverse(Due(at, _, item))) = self.queue.pop() else {
            return Ok(false);
        };
        self.now = at;
        if let Some(p) = self.sleeper(&item) {
            self.doze(p, item);
            return Ok(true);
        }
        self.events += 1;
        self.item(item).map_err(|failure| self.dated(failure))?;
        Ok(true)
    }

    /// Returns the peer that something would happen to, if it sleeps.
    fn sleeper(&self, item: &Item) -> Option<usize> {
        let end = |link: usize, side: usize| self.links.get(&link).map(|link| link.ends[side].peer);
        let p = match item {
            Item::Tick(p, _)
            | Item::Tell(p, ..)
            | Item::NoDial(p, ..)
            | Item::Dial(p, ..)
            | Item::Job(p, ..)
            | Item::Commit(p, _)
            | Item::User(p, ..)
            | Item::Again(p, ..)
            | Item::Unlocked(p, _)
            | Item::Judge(p, _)
            | Item::LaneClosed(p, ..) => Some(*p),
            Item::Piece(link, from, _) => end(*link, 1 - from),
            Item::Up(link, side) | Item::Down(link, side) => end(*link, *side),
            Item::Hint(_) => Some(HOST),
            Item::Start(_)
            | Item::Planned(_)
            | Item::Strike(..)
            | Item::Write(_)
            | Item::Remove
            | Item::Settle(_)
            | Item::Hostile(_) => None,
        };
        p.filter(|p| self.now < self.peers[*p].asleep)
    }

    /// Puts off what would happen to a peer that sleeps.
    fn doze(&mut self, p: usize, item: Item) {
        let until = self.peers[p].asleep;
        if let Item::Tick(..) = item
            && self.peers[p].tick == Some(self.now)
        {
            self.peers[p].tick = Some(until);
        }
        self.at(until, item);
    }

    fn item(&mut self, item: Item) -> Verdict {
        match item {
            Item::Start(p) => self.start(p),
            Item::Tick(p, boot) => self.tick(p, boot),
            Item::Tell(p, boot, event) => self.tell(p, boot, *event),
            Item::Piece(link, from, stream) => self.piece(link, from, stream),
            Item::Up(link, side) => self.up(link, side),
            Item::Down(link, side) => self.down(link, side),
            Item::NoDial(p, boot, link, why) => self.no_dial(p, boot, link, why),
            // Unless it was closed meanwhile.
            Item::Dial(p, _, link, _) if !self.peers[p].undialled.contains(&link) => Ok(()),
            Item::Dial(p, boot, link, to) => self.dial_later(p, boot, link, to),
            Item::Job(p, boot, job) => self.job(p, boot, job),
            Item::Commit(p, boot) => self.commit(p, boot),
            Item::User(p, boot, thread) => self.user(p, boot, thread),
            Item::Again(p, boot, req, stored) => self.again(p, boot, req, stored),
            Item::Planned(n) => self.planned(n),
            Item::Strike(n, p) => self.strike(n, p, true),
            Item::Write(writer) => self.write(*writer),
            Item::Hint(hint) => {
                let boot = self.peers[HOST].boot;
                self.tell(HOST, boot, Event::Hint(*hint))
            }
            Item::LaneClosed(p, boot, fetch) => self.lane_closed(p, boot, fetch),
            Item::Unlocked(p, boot) => self.unlocked(p, boot),
            Item::Judge(p, boot) => self.judge_crash(p, boot),
            Item::Hostile(session) => self.hostile_speaks(*session),
            Item::Remove => self.insist_on_removing(),
            Item::Settle(chance) => self.settle_something(chance),
        }
    }

    /// Starts a peer, from what its disk holds.
    pub(crate) fn start(&mut self, p: usize) -> Verdict {
        let peer = &self.peers[p];
        let down = self.lost == Some(p) && self.config.minority == Minority::Down;
        if peer.engine.is_some() || peer.hostile || down {
            return Ok(());
        }
        let boot = self.peers[p].boot + 1;
        let seed = self.choices.stream(Key::Engine { peer: p, boot }).bits();
        let now = self.now;
        let peer = &mut self.peers[p];
        peer.boot = boot;
        peer.undialled.clear();
        // A session's clock begins anywhere.
        peer.epoch = now.saturating_sub(seed % (3 * SEC));
        let start = Start {
            seed,
            now: peer.clock(now),
            last: peer.last,
        };
        self.in_core = true;
        let engine = Engine::restore(peer.config.clone(), start, peer.records.all());
        self.in_core = false;
        #[cfg(feature = "mutants")]
        let engine = engine.map(|mut engine| {
            if let Some(mutant) = self.mutant {
                engine.plant(mutant);
            }
            engine
        });
        let last = peer.last;
        if peer.drift != 0 {
            reach!(self.reach, "clock: runs fast or slow");
        }
        peer.stopping = false;
        if p == HOST {
            self.leases.started();
        }
        peer.live.crash();
        peer.live.alone(now);
        peer.live.started(now);
        peer.bodies.in_doubt = false;
        self.note(p, format_args!("starts, boot {boot}, {last:?}"));
        if p == HOST && last == Last::Lost {
            self.heard.lost();
        }
        if let Some(tale) = &mut self.trace.tale {
            tale.started(now, p, boot);
        }
        match engine {
            Ok(engine) => self.peers[p].engine = Some(engine),
            Err(error) => {
                return Err(Failure::safety("P2", format!("no start: {error}")));
            }
        }
        if self.peers[p].relapses > 0 && !self.healed {
            reach!(self.reach, "chaos: crash while it recovers");
            let mut chance = self.choices.stream(Key::Crash { peer: p, boot });
            let _ = chance.bits();
            self.peers[p].relapses -= 1;
            self.peers[p].dying = Some((chance.below(25), chance.often(500)));
        }
        self.drain(p)?;
        if !self.peers[p].mounts() || self.peers[p].engine.is_none() {
            return Ok(());
        }
        self.peers[p].kernel = Kernel::new();
        if self.peers[p].crashed.is_some() && self.peers[p].config.writable {
            // Once the mount answers, it is judged before anybody else calls.
            let ino = Ino::ROOT;
            self.call(p, Caller::Judge, FsCall::GetAttr { ino })?;
            return Ok(());
        }
        self.let_users_in(p);
        Ok(())
    }

    pub(crate) fn let_users_in(&mut self, p: usize) {
        let boot = self.peers[p].boot;
        let threads = self.peers[p].threads.len();
        if threads == 0 || self.peers[p].let_in.replace(boot) == Some(boot) {
            // Each thread makes one call at a time.
            return;
        }
        for thread in 0..threads {
            self.after(
                u64::try_from(thread).unwrap_or(0) * MS,
                Item::User(p, boot, thread),
            );
        }
    }

    fn tick(&mut self, p: usize, boot: u64) -> Verdict {
        let now = self.now;
        let peer = &mut self.peers[p];
        if peer.boot != boot || peer.tick != Some(now) || peer.engine.is_none() {
            return Ok(());
        }
        peer.tick = None;
        peer.ticks = if peer.ticks.0 == now {
            (now, peer.ticks.1 + 1)
        } else {
            (now, 0)
        };
        if peer.ticks.1 > 100 {
            let what = format!("{} ticks for ever at one moment", peer.name);
            return Err(Failure::new(Kind::Liveness, "P6", what));
        }
        self.tell(p, boot, Event::Tick)
    }

    /// Hands an event to an engine, and performs what it wants done.
    pub(crate) fn tell(&mut self, p: usize, boot: u64, event: Event) -> Verdict {
        if self.peers[p].boot != boot || self.peers[p].engine.is_none() {
            return Ok(());
        }
        if let Event::Fs { req, call } = &event {
            let forget = matches!(call, FsCall::Forget { .. });
            if !forget {
                let now = self.now;
                self.peers[p].live.called(now, *req, call.clone());
                if matches!(call, FsCall::Read { .. } | FsCall::Edit(_)) {
                    self.peers[p].retries.afresh();
                }
            }
        }
        if !matches!(event, Event::Tick) {
            self.note(p, format_args!("< {:?}", show::event(&event)));
        }
        let (kind, which) = marks::event(&event);
        self.reach.hit_in(kind, which);
        if let Some(tale) = &mut self.trace.tale {
            tale.event(self.now, p, &event);
        }
        let peer = &mut self.peers[p];
        if let Event::Disk { job, .. } = &event {
            for object in peer.unplaced.remove(job).unwrap_or_default() {
                peer.resume.not_placed(object);
            }
            match peer.ended.remove(job) {
                Some((object, Ended::Stored)) => peer.retries.progress(object),
                Some((object, Ended::Failed)) => {
                    peer.attempt_failed(object);
                    peer.resume.refused(object);
                }
                Some((object, Ended::Unread)) => peer.attempt_failed(object),
                Some((object, Ended::Loaded)) => peer.resume.found(object),
                None => {}
            }
        }
        if let Event::Unreadable { object, .. } = &event {
            // To have it fetched anew is an attempt.
            peer.attempt_failed(*object);
        }
        if matches!(
            &event,
            Event::Dialled { .. }
                | Event::Accepted { .. }
                | Event::Want { .. }
                | Event::Said {
                    message: Message::Hello(_),
                    ..
                }
        ) {
            peer.retries.afresh();
        }
        let clock = peer.clock(self.now);
        peer.hears = matches!(
            &event,
            Event::Said {
                message: Message::Registers(_),
                ..
            }
        );
        let is_news = matches!(
            &event,
            Event::Said {
                message: Message::Registers(batch),
                ..
            } if !batch.registers.is_empty()
        );
        if is_news && peer.crashed.is_some() {
            // Nobody knows any more what a mount should show of what was edited before.
            peer.names.overtaken();
            peer.bodies.overtaken(&mut self.folder.history);
        }
        if is_of_deletes(&event) {
            let kernel = &peer.kernel;
            peer.here.names_go(self.now, |ino| kernel.holds(ino));
        }
        if let Some(engine) = &mut peer.engine {
            self.in_core = true;
            engine.handle(clock, event);
            self.in_core = false;
        }
        self.drain(p)
    }

    /// Tells whether this is where a peer was to lose power.
    fn is_cut_here(&self, p: usize) -> bool {
        let is_here = |cut: Cut| cut.peer == p && self.actions[p] >= cut.after;
        !self.healed
            && !self.judging
            && self.peers[p].engine.is_some()
            && self.cut.is_some_and(is_here)
    }

    /// Performs actions until there is none, or the process dies.
    fn drain(&mut self, p: usize) -> Verdict {
        let mut count = 0;
        loop {
            if self.is_cut_here(p) {
                self.cut = None;
                reach!(self.reach, "chaos: power cut at a boundary");
                self.crash(p, true);
                return Ok(());
            }
            let peer = &mut self.peers[p];
            if let Some((left, power)) = peer.dying
                && left == 0
            {
                reach!(self.reach, "chaos: kill between actions");
                self.crash(p, power);
                return Ok(());
            }
            let Some(engine) = &mut peer.engine else {
                return Ok(());
            };
            self.in_core = true;
            let action = engine.poll_action();
            self.in_core = false;
            let Some(action) = action else {
                break;
            };
            count += 1;
            if !self.healed {
                self.actions[p] += 1;
            }
            if let Some((left, _)) = &mut peer.dying {
                *left -= 1;
            }
            self.note(p, format_args!("  > {:?}", show::action(&action)));
            let (kind, which) = marks::action(&action);
            self.reach.hit_in(kind, which);
            if let Some(tale) = &mut self.trace.tale {
                tale.action(self.now, p, &action);
            }
            self.check_removed(p, &action)?;
            self.perform(p, action)?;
        }
        let links = self.peers[p].links.len();
        let peer = &mut self.peers[p];
        peer.bounds.drained(count, peer.payloads.len(), links)?;
        peer.live.check(self.now)?;
        if self.config.writable == 0 {
            peer.retries.check(self.config.retries)?;
        }
        if self.config.writable != 0 {
            self.check_synced(p)?;
        }
        let peer = &mut self.peers[p];
        let due = peer.engine.as_ref().and_then(Engine::poll_timeout);
        let now = self.now;
        let due = due.map(|time| peer.when(time).max(now));
        if due != peer.tick {
            peer.tick = due;
            if let Some(due) = due {
                let boot = peer.boot;
                self.at(due, Item::Tick(p, boot));
            }
        }
        Ok(())
    }

    /// Makes a call on a mount; returns its request.
    pub fn call(&mut self, p: usize, caller: Caller, call: FsCall) -> Result<ReqId, Failure> {
        let peer = &mut self.peers[p];
        let (req, boot) = (ReqId(peer.draw()), peer.boot);
        if caller != Caller::Nobody {
            peer.callers.insert(req, (caller, call.clone(), 0));
        }
        if let FsCall::Edit(edit) = &call {
            self.edits(p, req, edit);
        }
        let peer = &mut self.peers[p];
        if let FsCall::Release { fh } | FsCall::ReleaseDir { fh } = &call {
            let closed = peer.kernel.release(*fh);
            let goes = closed.is_some_and(|(_, goes)| goes);
            let closed = closed.map(|(closed, _)| closed);
            let ino = closed.filter(|closed| !closed.dir).map(|closed| closed.ino);
            let is_written = |ino| {
                let mut open = peer.kernel.open.values();
                open.any(|opened| opened.ino == ino && opened.write)
            };
            if let Some(ino) = ino.filter(|ino| !is_written(*ino))
                && let Some((ino, cells, beneath)) =
                    peer.bodies.released(ino, &mut self.folder.history)
            {
                let author = Author::Mount(p, ino);
                self.kept.published(self.now, author, cells, beneath, false);
            }
            if let Some(ino) = ino.filter(|_| goes) {
                peer.bodies.forgotten(ino);
            }
            if let Some(ino) = ino {
                peer.here.rests(self.now, ino, peer.kernel.has_open(ino));
            }
        }
        if caller != Caller::Nobody {
            peer.kernel.begins(req, &call);
        }
        self.tell(p, boot, Event::Fs { req, call })?;
        Ok(req)
    }

    /// Makes a call and lets time pass until it is answered.
    pub fn ask(&mut self, p: usize, call: FsCall) -> Result<Answer, Failure> {
        let req = self
            .call(p, Caller::Walker, call)
            .map_err(|failure| self.dated(failure))?;
        self.answer(p, req)
    }

    /// Lets time pass until a call of a story is answered.
    pub fn answer(&mut self, p: usize, req: ReqId) -> Result<Answer, Failure> {
        loop {
            if let Some(answer) = self.answers.remove(&(p, req)) {
                return Ok(answer);
            }
            let now = self.now;
            let overdue = self.peers[p].live.check(now);
            overdue.map_err(|failure| self.dated(failure))?;
            if !self.peers[p].callers.contains_key(&req) || !self.step()? {
                let what = format!("{req} of {} will never be answered", self.peers[p].name);
                return Err(self.dated(Failure::new(Kind::Liveness, "P9", what)));
            }
        }
    }

    /// Asks a peer's engine to stop.
    pub(crate) fn stop(&mut self, p: usize) -> Verdict {
        let boot = self.peers[p].boot;
        self.peers[p].stopping = true;
        self.tell(p, boot, Event::Stop)
    }

    /// Tells whether a commit is due; for traces.
    pub(crate) fn committed(commit: CommitId, good: bool) -> Event {
        let outcome = if good {
            Ok(())
        } else {
            Err(tandem_core::error::DiskError::Io)
        };
        Event::Committed { commit, outcome }
    }
}

/// Tells whether an event is of names that were deleted.
fn is_of_deletes(event: &Event) -> bool {
    let Event::Said {
        message: Message::Registers(batch),
        ..
    } = event
    else {
        return false;
    };
    let is_delete =
        |register: &Register| matches!(register, Register::Entry(entry) if entry.deleted.is_some());
    batch.registers.iter().any(is_delete)
}
