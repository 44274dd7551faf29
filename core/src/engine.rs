//! The door: one event goes in, actions come out.
//!
//! After each event the upkeep leaves a state that one sentence describes: *every register that
//! is stored and that a live peer lacks is on its way as far as the window allows; every chunk
//! that a read waits for is here, asked for, or waits for a link or a backoff; every directory
//! that must be listed is being listed as far as the bound allows; and everything that must be
//! remembered is in a commit.*

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::{Action, DiskWish};
use crate::ancestors::Ancestors;
use crate::commits::Commits;
use crate::draft::Draft;
use crate::error::Fault;
use crate::event::{Event, FsCall};
use crate::folder::Folder;
use crate::handle::Handles;
use crate::ids::{
    ActorId, Arrival, AskId, ChunkHash, ChunkIx, Dot, FetchId, Fh, JobId, Lamport, LinkId, NodeId,
    ObjectId, PeerId, ReqId,
};
use crate::inodes::Inodes;
use crate::label::Label;
use crate::limits::{
    CHUNK_SIZE, COUNTER_MAX, FETCH_BYTES_IN_FLIGHT_MAX, LANE_FILES_MAX, RESTING_MAX,
    TRASH_BYTES_MAX, TRASH_FIRST_LOOK, TRASH_KEPT, TRASH_LOOK,
};
use crate::link::Links;
use crate::message::{FolderId, Role, Secret};
use crate::object::Object;
use crate::on::disk::Job;
use crate::on::far::FarSync;
use crate::on::fetch::Fetch;
use crate::on::fs::{Open, Vain, Waiting};
use crate::on::hush::Hush;
use crate::on::push::Pushed;
use crate::on::relay::Relay;
use crate::on::serve::Serving;
use crate::on::tell::Tell;
use crate::on::want::Wanting;
use crate::records::{self, Bound, DraftRecord, Gone, Holding, Myself};
use crate::resting::Resting;
use crate::rng::Rng;
use crate::status::Counters;
use crate::thrown::Thrown;
use crate::time::{Duration, Time};
use crate::timers::Timers;
use crate::trash::{Retention, Trash};
use crate::tree::register::{Entry, Register, RegisterKey, Stamp};
use crate::tree::store::Applied;
use crate::tree::view::Tree;
use crate::version::VersionVector;

/// What an engine is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is.
    pub me: PeerId,
    /// What it calls itself.
    pub name: Label,
    /// What kind of replica it has.
    pub role: Role,
    /// Whom it dials (a joiner or guest), with the secret of the ticket.
    pub host: Option<Host>,
    /// Whom it lets in (a host).
    pub invites: Vec<Invite>,
    /// The folder's id, drawn by the shell when it is first shared; a joiner learns it.
    pub folder: Option<FolderId>,
    /// Whether it was said that whatever is missing from the shared folder was deleted.
    pub accept_deletes: bool,
    /// Whether owners that peers set are set in the shared folder.
    pub owners: bool,
    /// The size of the chunks of files shared from here, in bytes: a power of two from 512 to
    /// 16 MiB.
    pub chunk_size: u32,
    /// How long a read of absent bytes may wait.
    pub read_deadline: Duration,
    /// Attempts at a chunk without progress before its reads fail.
    pub retries: u32,
    /// Files of which what is here is kept in memory while it is of no use.
    pub resting: usize,
    /// Files whose lanes are open at once, for each link: at least one, and at most
    /// [`LANE_FILES_MAX`].
    pub lane_files: usize,
    /// Bytes of chunks asked for and not yet stored, for each link; one chunk may be larger.
    pub window: u64,
    /// How often a silent link is probed.
    pub heartbeat: Duration,
    /// Heartbeats that may stay unanswered before a link is gone.
    pub misses: u32,
    /// Whether applications may change things through the mount of a sparse replica, and peers
    /// the folder of a full one.
    pub writable: bool,
    /// When a sync of an application is answered.
    pub durability: Durability,
    /// Whether sparse replicas are to fetch what is written to this full one.
    pub push: bool,
    /// How long a full replica keeps what peers delete or overwrite, and how much of it.
    pub trash: Retention,
}

/// What an application's sync waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// That what was written survives power loss here.
    #[default]
    Local,
    /// That, and that a full replica holds it: an error by the read deadline says that none does
    /// yet.
    Peer,
}

/// Whom a joiner dials.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its key.
    pub peer: PeerId,
    /// The ticket's secret.
    pub secret: Option<Secret>,
}

/// Whom a host lets in: the first guest and the first joining peer that present the secret.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Which invitation; its bindings are stored under it.
    pub id: u64,
    /// The secret in its ticket.
    pub secret: Secret,
}

impl Config {
    /// Returns the usual settings.
    pub fn new(me: PeerId, name: Label, role: Role) -> Self {
        Self {
            me,
            name,
            role,
            host: None,
            invites: Vec::new(),
            folder: None,
            accept_deletes: false,
            owners: false,
            chunk_size: CHUNK_SIZE,
            read_deadline: Duration::from_secs(30),
            retries: 5,
            resting: RESTING_MAX,
            lane_files: LANE_FILES_MAX,
            window: FETCH_BYTES_IN_FLIGHT_MAX,
            heartbeat: Duration::from_secs(5),
            misses: 3,
            writable: false,
            durability: Durability::Local,
            push: false,
            trash: Retention {
                keep: TRASH_KEPT,
                budget: TRASH_BYTES_MAX,
                first: TRASH_FIRST_LOOK,
                look: TRASH_LOOK,
            },
        }
    }
}

/// How the run before this one ended, as far as the store can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It stopped cleanly, or there was none: everything holds.
    Clean,
    /// It was killed: what was committed holds.
    Killed,
    /// The power failed, or the store was copied or restored: what was synced holds, and a new
    /// incarnation is drawn.
    Lost,
}

/// What differs at each start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The seed of all chance: real entropy in the real shell.
    pub seed: u64,
    /// The clock.
    pub now: Time,
    /// How the last run ended.
    pub last: Last,
}

/// Why an engine could not be made of the records of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A record is damaged, or of a later version of Tandem.
    #[error("the record {key:02x?} can't be read: it is damaged, or of a later version of Tandem")]
    Record {
        /// Its key.
        key: Vec<u8>,
    },
}

/// The state machine of one replica.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    /// Drawn at each start: tells a reconnect of this process from a copy of it.
    pub(crate) session: u64,
    pub(crate) me: Myself,
    pub(crate) tree: Tree,
    /// What is stored and may be told to peers.
    pub(crate) told: (Arrival, VersionVector),
    pub(crate) inodes: Inodes,
    pub(crate) handles: Handles<Open>,
    pub(crate) waiting: BTreeMap<ReqId, Waiting>,
    /// Reads that have failed a moment ago.
    pub(crate) vain: Vec<Vain>,
    pub(crate) wants: BTreeMap<ReqId, Wanting>,
    /// Whether every want has been looked for.
    pub(crate) sought: bool,
    pub(crate) links: Links,
    pub(crate) bound: BTreeMap<u64, Bound>,
    /// Peers that may not come in any more.
    pub(crate) removed: BTreeMap<PeerId, Gone>,
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    /// The versions of files of which something is on disk, and how much.
    pub(crate) kept: BTreeMap<ObjectId, Holding>,
    /// Objects whose files go once it is stored that they may, and which of the times that this was
    /// said counts: one may come to be of use, and of none again, before that.
    pub(crate) discards: BTreeMap<ObjectId, u64>,
    pub(crate) next_discard: u64,
    /// The order in which `objects` were last of use.
    pub(crate) resting: Resting,
    /// Objects that have chunks to ask for, in the order of their first want.
    pub(crate) ancestors: Ancestors,
    /// Objects of versions made here that are not shown any more, and stay until a full replica
    /// holds them, or what was made of them.
    pub(crate) kept_back: BTreeSet<ObjectId>,
    /// Files that show a version made on a sparse replica which no full one is known to hold.
    pub(crate) unheld: BTreeSet<NodeId>,
    /// Chunks that are being made of what is here, with nobody asked.
    pub(crate) copies: u32,
    pub(crate) demand: VecDeque<ObjectId>,
    pub(crate) fetches: BTreeMap<FetchId, Fetch>,
    /// Chunks that were asked for on behalf of another peer.
    pub(crate) relays: BTreeMap<FetchId, Relay>,
    pub(crate) pushed: Pushed,
    /// Asks that wait until what they are for can be asked for on their behalf.
    pub(crate) unrelayed: VecDeque<AskId>,
    /// Whether a link may have room for more since those were looked at.
    pub(crate) has_made_room: bool,
    pub(crate) folder: Folder,
    pub(crate) thrown: Thrown,
    pub(crate) trash: Trash,
    pub(crate) hashes: BTreeMap<ObjectId, BTreeMap<ChunkIx, ChunkHash>>,
    pub(crate) asks: BTreeMap<AskId, Serving>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) next_job: u64,
    pub(crate) next_fetch: u64,
    /// Files that are being written.
    pub(crate) drafts: BTreeMap<NodeId, Draft>,
    /// Under the name of which object each of them lies.
    pub(crate) drafts_on: BTreeMap<ObjectId, NodeId>,
    /// Versions made here of which no bytes are left, and which nobody may have heard of; with
    /// the nodes and records of their drafts.
    pub(crate) unbacked: BTreeMap<NodeId, DraftRecord>,
    /// Those that are to be synced, and how many are being.
    pub(crate) drafts_to_sync: BTreeSet<NodeId>,
    /// Calls that came before the drafts of the run before were found.
    pub(crate) early: VecDeque<(ReqId, FsCall)>,
    pub(crate) draft_syncs: usize,
    /// Syncs that wait for another machine.
    pub(crate) far_syncs: BTreeMap<ReqId, FarSync>,
    pub(crate) commits: Commits,
    /// Whether registers or knowledge changed since the last commit.
    pub(crate) news: bool,
    pub(crate) tell: Tell,
    /// What the edit under way is about.
    pub(crate) hush: Hush,
    pub(crate) timers: Timers,
    pub(crate) stopping: bool,
    pub(crate) stopped: bool,
    pub(crate) counters: Counters,
    pub(crate) actions: VecDeque<Action>,
    /// A fault planted on purpose.
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<crate::mutant::Mutant>,
    /// The clock on the wall at the last edit.
    #[cfg(feature = "mutants")]
    pub(crate) wall: i64,
}

impl Engine {
    /// Makes the engine of what its store holds (nothing, at first), in any order of records.
    pub fn restore(
        config: Config,
        start: Start,
        stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        let mut rng = Rng::new(start.seed);
        let me = Myself {
            actor: ActorId(rng.next_u64()),
            epoch: rng.next_u64(),
            folder: config.folder,
            knowledge: VersionVector::new(),
            complete: false,
            counter: 0,
            inodes: 0,
            former: Vec::new(),
        };
        let mut engine = Self {
            now: start.now,
            session: rng.next_u64(),
            rng,
            me,
            tree: Tree::new(),
            told: (Arrival(0), VersionVector::new()),
            inodes: Inodes::new(),
            handles: Handles::new(Fh(1)),
            waiting: BTreeMap::new(),
            vain: Vec::new(),
            wants: BTreeMap::new(),
            sought: false,
            links: Links::default(),
            bound: BTreeMap::new(),
            removed: BTreeMap::new(),
            objects: BTreeMap::new(),
            kept: BTreeMap::new(),
            discards: BTreeMap::new(),
            next_discard: 0,
            ancestors: Ancestors::default(),
            kept_back: BTreeSet::new(),
            unheld: BTreeSet::new(),
            copies: 0,
            resting: Resting::default(),
            demand: VecDeque::new(),
            fetches: BTreeMap::new(),
            relays: BTreeMap::new(),
            pushed: Pushed::default(),
            unrelayed: VecDeque::new(),
            has_made_room: false,
            folder: Folder::default(),
            thrown: Thrown::default(),
            trash: Trash::default(),
            hashes: BTreeMap::new(),
            asks: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            next_fetch: 0,
            drafts: BTreeMap::new(),
            drafts_on: BTreeMap::new(),
            unbacked: BTreeMap::new(),
            far_syncs: BTreeMap::new(),
            drafts_to_sync: BTreeSet::new(),
            early: VecDeque::new(),
            draft_syncs: 0,
            commits: Commits::default(),
            news: false,
            tell: Tell::default(),
            hush: Hush::default(),
            timers: Timers::default(),
            stopping: false,
            stopped: false,
            counters: Counters::default(),
            actions: VecDeque::new(),
            #[cfg(feature = "mutants")]
            mutant: None,
            #[cfg(feature = "mutants")]
            wall: 0,
            config,
        };
        engine.load(start, stored)?;
        engine.begin();
        engine.upkeep();
        Ok(engine)
    }

    /// Takes in something that happened at `now`.
    pub fn handle(&mut self, now: Time, event: Event) {
        self.now = self.now.max(now);
        self.at_work(&event);
        match event {
            Event::Tick => self.on_tick(),
            Event::Fs { req, call } => self.on_fs(req, call),
            Event::Dialled { link } => self.on_dialled(link),
            Event::Accepted { link, peer } => self.on_accepted(link, peer),
            Event::Said { link, message } => self.on_said(link, message),
            Event::LinkDown { link, why } => self.on_link_down(link, why),
            Event::Fetched { fetch, outcome } => self.on_fetched(fetch, outcome),
            Event::Asked {
                link,
                ask,
                want,
                len,
            } => self.on_asked(link, ask, want, len),
            Event::Disk { job, outcome } => self.on_disk(job, outcome),
            Event::Unreadable {
                object,
                offset,
                len,
            } => self.on_unreadable(object, offset, len),
            Event::Committed { commit, outcome } => self.on_committed(commit, outcome),
            Event::Hint(hint) => self.on_hint(hint),
            Event::Stop => self.on_stop(),
            Event::Want { req, path } => self.on_want(req, path),
            Event::Settle { req, path, keep } => self.on_settle(req, &path, keep),
            Event::Invited(invite) => self.on_invited(invite),
            Event::Remove { req, peer } => self.on_remove(req, peer),
            Event::Restore { req, number, wall } => self.on_restore(req, number, wall),
        }
        self.upkeep();
    }

    /// Returns the next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns when `Event::Tick` is next due, if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next().map(|(at, _)| at)
    }

    /// Leaves the state that the head of this file describes.
    fn upkeep(&mut self) {
        self.pump_early();
        self.pump_lists();
        self.pump_missing();
        self.pump_wants();
        self.pump_pushed();
        self.pump_places();
        self.pump_draft_syncs();
        self.pump_far_syncs();
        self.pump_relays();
        self.pump_fetches();
        self.pump_rest();
        self.close_commit();
        self.pump_registers();
        self.close_commit();
        self.pump_stop();
    }

    /// Gives what was gathered to the store.
    fn close_commit(&mut self) {
        if core::mem::take(&mut self.news) {
            self.commits
                .put(records::myself(), records::encode_myself(&self.me));
            self.tell.news = true;
        }
        self.pump_tell();
        if let Some((commit, records, sync)) = self.commits.begin() {
            self.act(Action::Commit {
                commit,
                records,
                sync,
            });
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.act(Action::Fault(fault));
    }

    /// Gives the disk a job.
    pub(crate) fn job(&mut self, job: Job, wish: DiskWish) {
        let id = JobId(self.next_job);
        self.next_job += 1;
        self.jobs.insert(id, job);
        self.act(Action::Disk { job: id, wish });
    }

    /// Draws the stamp of an update of ours: greater than all that is known here.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.me.counter += 1;
        let dot = Dot {
            actor: self.me.actor,
            counter: self.me.counter,
        };
        self.me.knowledge.cover(dot);
        let next = self.tree.registers().lamport().0.saturating_add(1);
        let lamport = Lamport(self.ordered(next).min(COUNTER_MAX));
        Stamp { lamport, dot }
    }

    /// Makes an update of ours: applies it, and has it stored so that it survives power loss
    /// before any peer hears of it.
    pub(crate) fn make(&mut self, register: Register) {
        let applied = self.absorb(register);
        debug_assert!(
            matches!(applied, Applied::Stored { .. }),
            "an update of ours is always news: {applied:?}"
        );
        self.commits.harden();
    }

    /// Takes in a register, ours or a peer's: the tree changes, and with it what the kernel may
    /// keep, which objects are kept, and what is stored.
    pub(crate) fn absorb(&mut self, register: Register) -> Applied {
        let key = register.key();
        let restated = self.restated(&register);
        if let Register::Entry(entry) = &register {
            // It may be its last name that goes.
            self.refresh_handles(entry.node);
        }
        let mut changes = Vec::new();
        let applied = self.tree.apply(register, &mut changes);
        if let Applied::Stored { arrival, replaced } = &applied {
            for old in replaced {
                if *old != key {
                    self.commits.remove(records::register(*old));
                }
            }
            if let Some(register) = self.tree.registers().get(key) {
                let value = records::encode_register(*arrival, &register);
                self.commits.put(records::register(key), value);
            }
            self.news = true;
        }
        self.review_shown(&changes);
        self.on_changes(changes);
        if let (RegisterKey::Digest(of), Applied::Stored { .. }) = (key, &applied) {
            self.review_held(of);
        }
        if let (RegisterKey::Digest(of) | RegisterKey::Content(of), Applied::Stored { .. }) =
            (key, &applied)
        {
            self.review_kept_back(of.node);
        }
        if let Some(entry) = restated
            && (entry.deleted.is_none() || self.tree.node(entry.node).is_some())
        {
            // What is said again knows of the deletes of other names, and ours did not.
            self.keep_shown(entry.node, &[entry.id]);
            let stamp = self.stamp();
            self.make(Register::Entry(Entry { stamp, ..entry }));
        }
        applied
    }

    /// Returns what is to be said again of a name that was deleted here when another delete of it
    /// comes: a later one, which takes the place of ours, and knew less; or an earlier one which
    /// knew more, of ours before our metadata were lost. Else what was deleted here with open eyes
    /// would come back, its bytes gone. And what we had moved then was not missing where it was.
    fn restated(&self, register: &Register) -> Option<Entry> {
        let Register::Entry(new) = register else {
            return None;
        };
        let ours = self.tree.registers().entry(new.id)?;
        let known = ours.deleted.as_ref()?;
        let by = new.stamp.dot.actor;
        let is_later = new.stamp > ours.stamp;
        let is_old = !is_later && self.is_of_our_past(by);
        if !self.me.is(ours.stamp.dot.actor) {
            return None;
        }
        let Some(theirs) = &new.deleted else {
            let is_moved = (new.parent, &new.name) != (ours.parent, &ours.name);
            return (is_old && is_moved).then(|| new.clone());
        };
        let (winner, lacks) = if is_later {
            (new, !self.me.is(by) && !theirs.includes(known))
        } else {
            (ours, is_old && !known.includes(theirs))
        };
        let mut both = known.clone();
        both.merge(theirs);
        lacks.then(|| Entry {
            deleted: Some(both),
            ..winner.clone()
        })
    }

    /// Returns a greeted link over which chunks can be had.
    pub(crate) fn source(&self) -> Option<LinkId> {
        match &self.config.host {
            Some(host) => self.links.live(host.peer),
            None => self.holders().next(),
        }
    }

    /// Returns the link over which an object's chunks are to be had: of a joiner that to its host;
    /// of a host that to the version's author, else any that has not said that it has not this
    /// chunk.
    pub(crate) fn source_of(&self, object: ObjectId, chunk: Option<ChunkIx>) -> Option<LinkId> {
        if let Some(host) = &self.config.host {
            return self.links.live(host.peer);
        }
        let kept = self.objects.get(&object);
        let denied = chunk.and_then(|chunk| kept?.denied.get(&chunk));
        let may = |link: &LinkId| denied.is_none_or(|denied| !denied.by.contains(link));
        let author = |link: &LinkId| {
            let link = self.links.links.get(link);
            link.is_some_and(|link| link.actor == object.version.actor)
        };
        let mut holders = self.holders().filter(may);
        let others = self.holders().filter(may);
        holders.find(author).or_else(|| others.into_iter().next())
    }

    /// Returns the greeted links to joiners, for a host that takes their changes.
    pub(crate) fn holders(&self) -> impl Iterator<Item = LinkId> {
        let links = self.places_changes().then_some(&self.links.links);
        let links = links.into_iter().flatten();
        links
            .filter(|(_, link)| link.is_greeted() && link.role == Role::Sparse)
            .map(|(id, _)| *id)
    }
}
