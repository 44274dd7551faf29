//! The disk of a guest: downloads at the user's places, and records in memory only.
//!
//! Law: a guest has no replica, and leaves nothing behind but what was asked for and, until that
//! is whole, its partial file and sidecar beside it. One thread does everything, in order.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tandem_core::action::{DiskWish, Record};
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event};
use tandem_core::ids::{CommitId, JobId, ObjectId};

use crate::disk::objects::Objects;
use crate::disk::places::Targets;
use crate::driver::Store;
use crate::payload::Payloads;
use crate::sink::Sink;

/// The disk of a guest.
pub(super) struct GuestStore {
    queue: Sender<Work>,
    targets: Arc<Targets>,
    /// Where the file goes that is wanted at the moment. Objects that the engine looks for
    /// meanwhile are versions of it.
    target: Mutex<Option<PathBuf>>,
    sink: Arc<OnceLock<Arc<dyn Sink>>>,
}

enum Work {
    Job(JobId, Box<DiskWish>),
    Commit(CommitId),
}

impl GuestStore {
    /// Makes it, with its thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(payloads: Arc<Payloads>) -> io::Result<Self> {
        let targets = Arc::new(Targets::default());
        let objects = Objects::new(Arc::clone(&targets) as Arc<_>);
        let sink = Arc::new(OnceLock::new());
        let (queue, work) = channel();
        let out = Arc::clone(&sink);
        thread::Builder::new()
            .name("guest-disk".into())
            .spawn(move || run(&work, &objects, &payloads, &out))?;
        Ok(Self {
            queue,
            targets,
            target: Mutex::new(None),
            sink,
        })
    }

    /// Says to whom results go. To be called once, before the first job.
    pub(super) fn report_to(&self, sink: Arc<dyn Sink>) {
        assert!(
            self.sink.set(sink).is_ok(),
            "a guest's disk reports to one engine"
        );
    }

    /// Says where the file goes that is wanted next; its directory must be there.
    pub(super) fn aim(&self, target: &Path) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.to_owned());
    }

    /// Gives a place to an object that the engine begins to look for.
    fn assign(&self, object: ObjectId) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = &*target
            && let Err(error) = self.targets.assign(object, target)
        {
            tracing::warn!("can't write to {}: {error}", target.display());
        }
    }
}

impl Store for GuestStore {
    fn perform(&self, job: JobId, wish: DiskWish) {
        match &wish {
            DiskWish::LoadObject { object } | DiskWish::CreateObject { object, .. } => {
                self.assign(*object);
            }
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::StoreChunk { .. }
            | DiskWish::StoreHole { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::FinishObject { .. }
            | DiskWish::RemoveObject { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Draft { .. } => {}
        }
        // The thread ends only with the process.
        let _ = self.queue.send(Work::Job(job, Box::new(wish)));
    }

    fn commit(&self, commit: CommitId, _records: Vec<Record>, _sync: bool) {
        let _ = self.queue.send(Work::Commit(commit));
    }

    fn claim(&self, _wish: &DiskWish) -> bool {
        false
    }

    fn do_claimed(&self, job: JobId, _wish: DiskWish) -> Event {
        let outcome = Err(DiskError::WrongKind);
        Event::Disk { job, outcome }
    }
}

impl fmt::Debug for GuestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestStore").finish_non_exhaustive()
    }
}

/// Does one thing after another.
fn run(
    work: &Receiver<Work>,
    objects: &Objects,
    payloads: &Payloads,
    sink: &OnceLock<Arc<dyn Sink>>,
) {
    while let Ok(work) = work.recv() {
        let event = match work {
            Work::Job(job, wish) => Event::Disk {
                job,
                outcome: perform(objects, payloads, *wish),
            },
            Work::Commit(commit) => Event::Committed {
                commit,
                outcome: Ok(()),
            },
        };
        if let Some(sink) = sink.get() {
            sink.event(event);
        }
    }
}

/// Does what is wished. A guest has no folder to look into.
fn perform(objects: &Objects, payloads: &Payloads, wish: DiskWish) -> Result<DiskDone, DiskError> {
    let done = |outcome: Result<(), DiskError>| outcome.map(|()| DiskDone::Done);
    match wish {
        // A guest serves nobody and writes nothing of its own.
        DiskWish::List { .. }
        | DiskWish::Look { .. }
        | DiskWish::Place(_)
        | DiskWish::Trash(_)
        | DiskWish::ReadChunk { .. }
        | DiskWish::ReadThrown { .. }
        | DiskWish::ReadStored { .. }
        | DiskWish::Draft { .. } => Err(DiskError::WrongKind),
        DiskWish::LoadObject { object } => objects.load(object),
        DiskWish::CreateObject {
            object,
            size,
            sidecar,
        } => done(objects.create(object, size, &sidecar)),
        DiskWish::CutSidecar { object, len } => done(objects.cut(object, len)),
        DiskWish::StoreChunk {
            object,
            offset,
            payload,
            record,
        } => {
            let bytes = payloads.take(payload).ok_or(DiskError::Io)?;
            done(objects.store(object, offset, &bytes, &record))
        }
        DiskWish::StoreHole {
            object,
            offset,
            len,
            record,
        } => done(objects.store_hole(object, offset, len, &record)),
        DiskWish::MarkSidecar { object, record } => done(objects.mark(object, &record)),
        DiskWish::SyncObject { object } => done(objects.sync(object)),
        DiskWish::HashChunk {
            object,
            offset,
            len,
        } => objects.hash(object, offset, len),
        DiskWish::FinishObject { object } => done(objects.finish(object)),
        DiskWish::RemoveObject { object } => done(objects.remove(object)),
    }
}
