//! The threads that work on the disk.
//!
//! Law: jobs of one node are done in the order in which they were given, and so are commits;
//! every job and every commit is answered once, also one that panics. Queues have no bound of
//! their own: the core bounds what it asks for ([`tandem_core::limits`]).
//!
//! A thread that brought a job may do it itself, without a hop to another and back, where no
//! earlier job of that node is under way ([`Disk::claim`]); what is given for the node meanwhile
//! waits until it is done.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use tandem_core::action::{DiskWish, Record};
use tandem_core::draft_wish::DraftWish;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event};
use tandem_core::ids::{CommitId, JobId, NodeId, ObjectId};

use crate::disk::drafts::Drafts;
use crate::disk::folder::Folder;
use crate::disk::metadata::{Metadata, MetadataError};
use crate::disk::objects::Objects;
use crate::payload::Payloads;
use crate::sink::Sink;

/// The disk of one replica, at work. When it is dropped without [`Disk::stop`] it still does
/// what it was given, and the store is left like that of a process that was killed.
pub struct Disk {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<Metadata>>,
}

struct Shared {
    folder: Option<Arc<Folder>>,
    objects: Option<Arc<Objects>>,
    drafts: Option<Drafts>,
    payloads: Arc<Payloads>,
    sink: Arc<dyn Sink>,
    jobs: Mutex<Jobs>,
    jobs_changed: Condvar,
    commits: Mutex<Commits>,
    commits_changed: Condvar,
}

struct Jobs {
    /// One for each thread: jobs that have to keep their order.
    ordered: Vec<VecDeque<(JobId, DiskWish)>>,
    /// Jobs for whoever is free.
    free: VecDeque<(JobId, DiskWish)>,
    /// Of each node how many jobs are queued or being done by these threads.
    under_way: BTreeMap<NodeId, usize>,
    /// Nodes of which another thread does a job, with those that were given meanwhile.
    claimed: BTreeMap<NodeId, Vec<(JobId, DiskWish)>>,
    stopping: bool,
}

#[derive(Default)]
struct Commits {
    queue: VecDeque<Commit>,
    stopping: bool,
}

struct Commit {
    id: CommitId,
    records: Vec<Record>,
    sync: bool,
}

impl Disk {
    /// Starts `threads` threads for files (at least one), and one for the metadata.
    pub fn start(
        folder: Option<Arc<Folder>>,
        objects: Option<Arc<Objects>>,
        metadata: Metadata,
        sink: Arc<dyn Sink>,
        payloads: Arc<Payloads>,
        threads: usize,
    ) -> io::Result<Self> {
        let threads = threads.max(1);
        let disk = Self {
            shared: Arc::new(Shared {
                folder,
                drafts: objects.clone().map(Drafts::new),
                objects,
                payloads,
                sink,
                jobs: Mutex::new(Jobs {
                    ordered: (0..threads).map(|_| VecDeque::new()).collect(),
                    free: VecDeque::new(),
                    under_way: BTreeMap::new(),
                    claimed: BTreeMap::new(),
                    stopping: false,
                }),
                jobs_changed: Condvar::new(),
                commits: Mutex::default(),
                commits_changed: Condvar::new(),
            }),
            threads: Mutex::default(),
        };
        {
            let mut running = disk.threads();
            for number in 0..threads {
                let shared = Arc::clone(&disk.shared);
                let name = format!("disk-{number}");
                let worker = Builder::new()
                    .name(name)
                    .spawn(move || shared.work(number))?;
                running.workers.push(worker);
            }
            let shared = Arc::clone(&disk.shared);
            let write = move || shared.write(metadata);
            running.writer = Some(Builder::new().name("metadata".into()).spawn(write)?);
        }
        Ok(disk)
    }

    /// Does something with files; ends with [`Event::Disk`].
    pub fn perform(&self, job: JobId, wish: DiskWish) {
        lock(&self.shared.jobs).put(job, wish);
        // All, since one job may be for one of them only.
        self.shared.jobs_changed.notify_all();
    }

    /// Lets the caller do this job itself, unless it would overtake another. Whoever is allowed
    /// to calls [`Disk::do_claimed`] with it, soon, and holding no lock.
    pub fn claim(&self, wish: &DiskWish) -> bool {
        let Some(node) = node_of(wish) else {
            return false;
        };
        let mut jobs = lock(&self.shared.jobs);
        let is_free = !jobs.under_way.contains_key(&node) && !jobs.claimed.contains_key(&node);
        if is_free {
            jobs.claimed.insert(node, Vec::new());
        }
        is_free
    }

    /// Does a job that was claimed, on this thread, and returns what came of it.
    pub fn do_claimed(&self, job: JobId, wish: DiskWish) -> Event {
        let node = node_of(&wish);
        let done = self.shared.done(job, wish);
        let waited = node.and_then(|node| {
            let mut jobs = lock(&self.shared.jobs);
            let waited = jobs.claimed.remove(&node)?;
            let any = !waited.is_empty();
            for (job, wish) in waited {
                jobs.put(job, wish);
            }
            any.then_some(())
        });
        if waited.is_some() {
            self.shared.jobs_changed.notify_all();
        }
        done
    }

    /// Stores records; ends with [`Event::Committed`], in the order of commits.
    pub fn commit(&self, commit: CommitId, records: Vec<Record>, sync: bool) {
        lock(&self.shared.commits).queue.push_back(Commit {
            id: commit,
            records,
            sync,
        });
        self.shared.commits_changed.notify_one();
    }

    /// Does what was given so far, ends the threads and closes the store cleanly. Not to be
    /// called by a [`Sink`], which is called by these very threads. Done twice it does nothing.
    pub fn stop(&self) -> Result<(), MetadataError> {
        match self.finish() {
            Some(metadata) => metadata.close_clean(),
            None => Ok(()),
        }
    }

    /// Ends the threads once their queues are empty, and returns the store if it is there.
    fn finish(&self) -> Option<Metadata> {
        let mut threads = self.threads();
        lock(&self.shared.jobs).stopping = true;
        self.shared.jobs_changed.notify_all();
        for worker in threads.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread of the disk has panicked");
            }
        }
        // Then the commits: what a job brought may have made the engine give one more.
        lock(&self.shared.commits).stopping = true;
        self.shared.commits_changed.notify_all();
        match threads.writer.take()?.join() {
            Ok(metadata) => Some(metadata),
            Err(_) => {
                tracing::error!("the thread of the metadata has panicked");
                None
            }
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        lock(&self.threads)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("folder", &self.shared.folder)
            .field("objects", &self.shared.objects)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The life of a thread that does jobs.
    fn work(&self, number: usize) {
        let mut own_first = true;
        while let Some((job, wish)) = self.next_job(number, own_first) {
            own_first = !own_first;
            let node = node_of(&wish);
            let settled = settled_by(&wish);
            let done = self.done(job, wish);
            // First, so that a job that follows from this one may be claimed.
            if let Some(node) = node {
                lock(&self.jobs).ended(node);
            }
            self.sink.event(done);
            if let Some((drafts, object)) = self.drafts.as_ref().zip(settled) {
                drafts.settled(object);
            }
        }
    }

    /// Does a job, and returns what came of it.
    fn done(&self, job: JobId, wish: DiskWish) -> Event {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(wish)));
        let outcome = outcome.unwrap_or_else(|_| {
            tracing::error!("{job} of the disk has panicked");
            Err(DiskError::Io)
        });
        Event::Disk { job, outcome }
    }

    /// Waits for a job; `None` once there will be none. Takes by turns from the two queues, so
    /// that neither starves.
    fn next_job(&self, number: usize, own_first: bool) -> Option<(JobId, DiskWish)> {
        let mut jobs = lock(&self.jobs);
        loop {
            let taken = if own_first {
                jobs.take_own(number).or_else(|| jobs.free.pop_front())
            } else {
                jobs.free.pop_front().or_else(|| jobs.take_own(number))
            };
            if taken.is_some() {
                return taken;
            }
            if jobs.stopping {
                return None;
            }
            jobs = self
                .jobs_changed
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn perform(&self, wish: DiskWish) -> Result<DiskDone, DiskError> {
        match wish {
            DiskWish::List { path } => self.folder()?.list(&path),
            DiskWish::Look { path } => self.folder()?.look(&path),
            DiskWish::ReadChunk {
                path,
                offset,
                len,
                besides,
            } => self
                .folder()?
                .read_chunk(&path, offset, len, besides, &self.payloads),
            DiskWish::ReadThrown {
                file,
                offset,
                len,
                besides,
            } => self
                .folder()?
                .read_thrown(file, offset, len, besides, &self.payloads),
            DiskWish::LoadObject { object } => self.objects()?.load(object),
            DiskWish::CreateObject {
                object,
                size,
                sidecar,
            } => done(self.objects()?.create(object, size, &sidecar)),
            DiskWish::CutSidecar { object, len } => done(self.objects()?.cut(object, len)),
            DiskWish::StoreChunk {
                object,
                offset,
                payload,
                record,
            } => {
                // Used up first: also when it can't be written.
                let bytes = self.payloads.take(payload).ok_or(DiskError::Io)?;
                done(self.objects()?.store(object, offset, &bytes, &record))
            }
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => done(self.objects()?.store_hole(object, offset, len, &record)),
            DiskWish::MarkSidecar { object, record } => done(self.objects()?.mark(object, &record)),
            DiskWish::SyncObject { object } => done(self.objects()?.sync(object)),
            DiskWish::HashChunk {
                object,
                offset,
                len,
            } => self.objects()?.hash(object, offset, len),
            DiskWish::FinishObject { object } => done(self.objects()?.finish(object)),
            DiskWish::RemoveObject { object } => done(self.objects()?.remove(object)),
            DiskWish::Place(wish) => self.folder()?.place(wish),
            DiskWish::Trash(wish) => self.folder()?.attend_trash(wish),
            DiskWish::ReadStored {
                object,
                offset,
                len,
                besides,
            } => self
                .objects()?
                .read_stored(object, offset, len, besides, &self.payloads),
            DiskWish::Draft { object, wish } => {
                let drafts = self.drafts.as_ref().ok_or(DiskError::WrongKind)?;
                drafts.perform(object, wish, &self.payloads)
            }
        }
    }

    /// The shared folder; a replica without one has no such job.
    fn folder(&self) -> Result<&Folder, DiskError> {
        self.folder.as_deref().ok_or(DiskError::WrongKind)
    }

    /// The objects; a replica without them has no such job.
    fn objects(&self) -> Result<&Objects, DiskError> {
        self.objects.as_deref().ok_or(DiskError::WrongKind)
    }

    /// The life of the thread that commits: all that is waiting goes into one transaction, with
    /// one sync if any of it asks for one.
    ///
    /// When that fails, each commit in it has failed: one of them alone must not hold after one
    /// before it did not.
    fn write(&self, mut metadata: Metadata) -> Metadata {
        loop {
            let group = {
                let mut commits = lock(&self.commits);
                while commits.queue.is_empty() && !commits.stopping {
                    commits = self
                        .commits_changed
                        .wait(commits)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::take(&mut commits.queue)
            };
            if group.is_empty() {
                return metadata;
            }
            let sync = group.iter().any(|commit| commit.sync);
            let sets = group.iter().map(|commit| commit.records.as_slice());
            let outcome = metadata.commit_all(sets, sync);
            for commit in group {
                self.sink.event(Event::Committed {
                    commit: commit.id,
                    outcome,
                });
            }
        }
    }
}

impl Jobs {
    /// Queues a job behind the others of its node.
    fn put(&mut self, job: JobId, wish: DiskWish) {
        let Some(node) = node_of(&wish) else {
            self.free.push_back((job, wish));
            return;
        };
        if let Some(waiting) = self.claimed.get_mut(&node) {
            waiting.push((job, wish));
            return;
        }
        *self.under_way.entry(node).or_default() += 1;
        let count = self.ordered.len();
        match self.ordered.get_mut(shard(node, count)) {
            Some(queue) => queue.push_back((job, wish)),
            None => self.free.push_back((job, wish)),
        }
    }

    /// Counts a job of a node that is done.
    fn ended(&mut self, node: NodeId) {
        if let Entry::Occupied(mut count) = self.under_way.entry(node) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn take_own(&mut self, number: usize) -> Option<(JobId, DiskWish)> {
        self.ordered.get_mut(number)?.pop_front()
    }
}

fn done(outcome: Result<(), DiskError>) -> Result<DiskDone, DiskError> {
    outcome.map(|()| DiskDone::Done)
}

/// Returns the node whose jobs this one has to keep its order with: of all its versions, since a
/// draft of one becomes the stored bytes of another.
fn node_of(wish: &DiskWish) -> Option<NodeId> {
    match wish {
        DiskWish::List { .. }
        | DiskWish::Look { .. }
        | DiskWish::ReadChunk { .. }
        | DiskWish::ReadThrown { .. }
        | DiskWish::Place(_)
        | DiskWish::Trash(_) => None,
        DiskWish::LoadObject { object }
        | DiskWish::CreateObject { object, .. }
        | DiskWish::CutSidecar { object, .. }
        | DiskWish::StoreChunk { object, .. }
        | DiskWish::StoreHole { object, .. }
        | DiskWish::MarkSidecar { object, .. }
        | DiskWish::SyncObject { object }
        | DiskWish::HashChunk { object, .. }
        | DiskWish::FinishObject { object }
        | DiskWish::RemoveObject { object }
        | DiskWish::ReadStored { object, .. }
        | DiskWish::Draft { object, .. } => Some(object.node),
    }
}

/// Returns the draft that a job ends.
fn settled_by(wish: &DiskWish) -> Option<ObjectId> {
    if let DiskWish::Draft {
        object,
        wish: DraftWish::Settle { .. },
    } = wish
    {
        Some(*object)
    } else {
        None
    }
}

/// Returns the thread of a node: by its counter, which counts up and so spreads well.
fn shard(node: NodeId, threads: usize) -> usize {
    usize::try_from(node.0.counter % threads as u64).expect("it is below a usize")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
