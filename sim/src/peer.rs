//! A peer: an engine, its store, and what its shell keeps for it.
//!
//! Law: an engine that crashed is a value that was dropped; nothing runs for it. What its shell
//! had in memory goes with it, what its disk had stays as the disk's law says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_core::action::{DiskWish, Record, Shown};
use tandem_core::edit::{Edit, RenameHow};
use tandem_core::engine::{Config, Engine, Last};
use tandem_core::event::{Fingerprint, FsCall};
use tandem_core::ids::{
    ChunkIx, CommitId, FetchId, Fh, Ino, JobId, LinkId, ObjectId, PayloadId, PeerId, ReqId,
};
use tandem_core::message::Want;
use tandem_core::time::Time;
use tandem_core::trash::TrashWish;
use tandem_core::tree::name::Name;

use crate::check::bodies::Bodies;
use crate::check::bounds::Bounds;
use crate::check::faults::Caused;
use crate::check::handles::Handles;
use crate::check::here::Here;
use crate::check::kept::Seeing;
use crate::check::live::Live;
use crate::check::names::Names;
use crate::check::resume::Resume;
use crate::check::retries::Retries;
use crate::check::truth::Truth;
use crate::choices::Chance;
use crate::disk::folder::Id;
use crate::disk::objects::Objects;
use crate::disk::records::Records;
use crate::kernel::Kernel;
use crate::net::{Asked, Asks, Stream};
use crate::user::Thread;

/// Who made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A thread of applications.
    Thread(usize),
    /// A story, or the walk that compares the folders.
    Walker,
    /// Whoever judges a mount as soon as it answers.
    Judge,
    /// The kernel, which wants no answer.
    Nobody,
}

/// A disk job that is not done.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub wish: DiskWish,
    /// The bytes to store.
    pub payload: Option<(PayloadId, Vec<u8>)>,
    /// What was seen when it began.
    pub begun: Option<Begun>,
}

impl Job {
    /// Returns whether it is a look at the trash, which goes on for ever.
    pub fn is_look(&self) -> bool {
        self.wish == DiskWish::Trash(TrashWish::List)
    }
}

/// What a job of two steps saw in its first.
#[derive(Debug)]
pub enum Begun {
    /// The directory's fingerprint, and the names in it.
    Names(Fingerprint, Vec<Name>),
    /// The descriptor, its fingerprint, and the first half of the bytes.
    Read(Id, Fingerprint, Vec<u8>),
}

/// What came of a job on an object, for the oracles to know when its engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A chunk was stored, on a disk that was not in doubt: progress.
    Stored,
    /// The disk failed.
    Failed,
    /// A chunk could not be read: that one is lost, and the others are not in doubt.
    Unread,
    /// It was found what is there.
    Loaded,
}

/// A fetch on its way.
#[derive(Clone, Copy, Debug)]
pub struct Fetching {
    /// On which link.
    pub link: usize,
    /// On which lane.
    pub stream: Stream,
    /// For what.
    pub want: Want,
    /// How many bytes that has.
    pub len: u32,
}

/// A commit that is not carried out.
#[derive(Debug)]
pub struct Pending {
    /// Which.
    pub commit: CommitId,
    /// What to store.
    pub records: Vec<Record>,
    /// Whether to sync.
    pub sync: bool,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// What it is called in traces.
    pub name: &'static str,
    /// Its key.
    pub id: PeerId,
    /// What its engines are told.
    pub config: Config,
    /// Its engine, while it runs.
    pub engine: Option<Engine>,
    /// How often it was started.
    pub boot: u64,
    /// When its clock was zero.
    pub epoch: u64,
    /// How much faster than time its monotonic clock runs, in millionths.
    pub drift: i64,
    /// How far its wall clock is off, in nanoseconds.
    pub wall_off: i64,
    /// When its next tick is due.
    pub tick: Option<u64>,
    /// How its last run ended.
    pub last: Last,
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// Whether it has no engine, and lies.
    pub hostile: bool,
    /// Until when its machine sleeps.
    pub asleep: u64,
    /// Until when its disk is slow.
    pub slow: u64,
    /// How many of its next starts crash again at once.
    pub relapses: u32,
    /// Actions that are still performed before it is killed, and whether power fails then.
    pub dying: Option<(u64, bool)>,
    /// Its metadata.
    pub records: Records,
    /// Its objects.
    pub objects: Objects,
    /// Bytes that its shell holds for the engine.
    pub payloads: BTreeMap<PayloadId, Vec<u8>>,
    /// Drawn by its shell: payloads, asks, links and requests.
    pub drawn: u64,
    /// Disk jobs that are not done.
    pub jobs: BTreeMap<JobId, Job>,
    /// The jobs' ids of this start, to find one that is used twice.
    pub jobs_seen: u64,
    /// When the last job of an object ends.
    pub busy: BTreeMap<ObjectId, u64>,
    /// Commits that are not carried out.
    pub commits: VecDeque<Pending>,
    /// When the last of them ends.
    pub commit_busy: u64,
    /// Its links, by its own names.
    pub links: BTreeMap<LinkId, usize>,
    /// What it was asked for.
    pub asks: Asks,
    /// Of which chunks it was asked by those who are gone, which its engine may not know yet.
    pub unheard: BTreeSet<(ObjectId, ChunkIx)>,
    /// What it asks for.
    pub fetches: BTreeMap<FetchId, Fetching>,
    /// Chance on its wires, of its disk and of its shell.
    pub wires: Chance,
    /// See `wires`.
    pub disk: Chance,
    /// See `wires`.
    pub shell: Chance,
    /// The kernel above its mount.
    pub kernel: Kernel,
    /// The applications on its mount.
    pub threads: Vec<Thread>,
    /// Calls that the kernel holds back until a lock is free, with the bytes that they bring.
    pub held_back: VecDeque<(Caller, FsCall, Vec<u8>, Option<Shown>)>,
    /// What the application was shown of the file that it is about to change, before its call
    /// waited: meanwhile the kernel may have had to forget that.
    pub seen_before: Option<Shown>,
    /// The start after which its applications were let in.
    pub let_in: Option<u64>,
    /// Bytes of writes under way.
    pub writing: BTreeMap<ReqId, Vec<u8>>,
    /// What was edited here: names, and contents.
    pub names: Names,
    /// See `names`.
    pub bodies: Bodies,
    /// Names that its engine gave to conflict copies, or took from them: their directory, and what
    /// they are copies of.
    pub copies: BTreeSet<(Ino, Vec<u8>)>,
    /// Links whose dial waits until the mount was judged.
    pub undialled: BTreeSet<LinkId>,
    /// Whether an application removed a name of which the kernel did not know what it was: a file
    /// that has none left may be that.
    pub removed_blindly: bool,
    /// When a read of an inode failed that had waited: what it asked for is not waited for again at
    /// once.
    pub failed: BTreeMap<Ino, u64>,
    /// What was read through each handle: from and to.
    pub reads: BTreeMap<Fh, Vec<(u64, u64)>>,
    /// What edits under way are on top of.
    pub seeing: BTreeMap<ReqId, Seeing>,
    /// Files of which edits under way take a name away.
    pub unnaming: BTreeMap<ReqId, Ino>,
    /// Whether its engine is being told of what others have made.
    pub hears: bool,
    /// Whether its engine last said that all is synced.
    pub is_synced: bool,
    /// How it crashed, if what it shows was not judged since: whether power was lost.
    pub crashed: Option<bool>,
    /// Who waits for what, and how often the shell tried.
    pub callers: BTreeMap<ReqId, (Caller, FsCall, u32)>,
    /// Wants of whole files that have not ended.
    pub wants: BTreeMap<ReqId, Vec<Name>>,
    /// Oracles.
    pub truth: Truth,
    /// See `truth`.
    pub resume: Resume,
    /// See `truth`.
    pub handles: Handles,
    /// See `truth`.
    pub live: Live,
    /// See `truth`.
    pub here: Here,
    /// See `truth`.
    pub retries: Retries,
    /// Jobs on objects that have ended and whose engine was not told yet.
    pub ended: BTreeMap<JobId, (ObjectId, Ended)>,
    /// Objects of which the engine is about to be told that they could not be placed.
    pub unplaced: BTreeMap<JobId, Vec<ObjectId>>,
    /// See `truth`.
    pub bounds: Bounds,
    /// See `truth`.
    pub caused: Caused,
    /// Ticks at one moment, to find a busy loop.
    pub ticks: (u64, u64),
}

impl Peer {
    /// Draws a number that its shell has not used.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Returns the peer's clock.
    pub fn clock(&self, now: u64) -> Time {
        let passed = now.saturating_sub(self.epoch);
        Time(scaled(passed, self.rate(), MILLION))
    }

    /// Returns when the peer's clock has come to a time, and not sooner.
    pub fn when(&self, clock: Time) -> u64 {
        let passed = scaled(clock.0, MILLION, self.rate());
        let early = scaled(passed, self.rate(), MILLION) < clock.0;
        let passed = passed.saturating_add(u64::from(early));
        passed.saturating_add(self.epoch)
    }

    fn rate(&self) -> u64 {
        MILLION.saturating_add_signed(self.drift)
    }

    /// Tells whether an application is exchanging two names.
    pub fn exchanges(&self) -> bool {
        let how = RenameHow::Exchange;
        let is_it =
            |call: &FsCall| matches!(call, FsCall::Edit(Edit::Rename { how: h, .. }) if *h == how);
        self.callers.values().any(|(_, call, _)| is_it(call))
    }

    /// These asks are answered to nobody.
    pub fn unheard(&mut self, asks: Asks) {
        let chunk = |asked: Asked| (asked.want.object, asked.want.chunk);
        self.unheard.extend(asks.into_values().map(chunk));
    }

    /// An attempt at an object failed.
    pub fn attempt_failed(&mut self, object: ObjectId) {
        let fetches = self.fetches.values();
        let fetches = fetches.filter(|fetching| fetching.want.object == object);
        // Behind one that the disk failed on, those that were given with it may fail too.
        let jobs = self.jobs.values();
        let jobs = jobs.filter(|job| crate::jobs::object(&job.wish) == Some(object));
        let ended = self.ended.values().filter(|(ended, _)| *ended == object);
        self.retries
            .failed(object, fetches.count() + jobs.count() + ended.count());
    }

    /// Draws how long its disk takes, where it typically takes this long.
    pub fn disk_delay(&mut self, now: u64, typical: u64) -> u64 {
        let slow = if now < self.slow {
            crate::world::SLOW
        } else {
            1
        };
        self.disk.delay(typical) * slow
    }

    /// Tells whether it takes part in the mount's side of things.
    pub fn mounts(&self) -> bool {
        self.config.host.is_some()
    }
}

const MILLION: u64 = 1_000_000;

/// Returns `time` × `by` ÷ `of`, rounded down.
fn scaled(time: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(time) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;
    use crate::world::World;

    #[test]
    fn a_clock_that_runs_fast_or_slow_comes_to_each_time_and_not_sooner() {
        let mut world = World::new(crate::config::Config::quiet(), Choices::new(1), false);
        let peer = &mut world.peers[0];
        peer.epoch = 77;
        for drift in [-1_000, -7, 0, 1, 999] {
            peer.drift = drift;
            for time in [0, 1, 999, 1_000_000, 5_000_000_001, 40_000_000_000_003].map(Time) {
                let when = peer.when(time);
                assert!(peer.clock(when) >= time, "{drift}: {time:?}");
                assert!(
                    when == 77 || peer.clock(when - 1) < time,
                    "{drift}: {time:?}"
                );
            }
        }
        assert!(peer.when(Time::NEVER) > u64::MAX / 2);
    }
}
