//! The disk on a real file system: what each wish does, and what outside programs, full disks
//! and kills may not do to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may, like tests")]

mod drafts;
mod folder;
mod metadata;
mod objects;
mod place;
mod threads;
mod trash;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use tandem_core::action::Record;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event, Hint, Sighting};
use tandem_core::ids::{ActorId, CommitId, Dot, NodeId, ObjectId};
use tandem_core::time::WallTime;
use tandem_core::tree::name::Name;
use tandem_io::disk::metadata::{Metadata, Opened};
use tandem_io::sink::Sink;

/// A sink that remembers.
#[derive(Default)]
pub(crate) struct Heard {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Sink for Heard {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.more.notify_all();
    }
}

impl Heard {
    /// Waits for `count` disk events and returns their outcomes in the order of jobs.
    pub(crate) fn disk(&self, count: usize) -> Vec<Result<DiskDone, DiskError>> {
        let mut found = Vec::new();
        self.wait(|events| {
            found = events
                .iter()
                .filter_map(|event| {
                    let Event::Disk { job, outcome } = event else {
                        return None;
                    };
                    Some((*job, outcome.clone()))
                })
                .collect();
            found.len() == count
        });
        found.sort_by_key(|(job, _)| *job);
        found.into_iter().map(|(_, outcome)| outcome).collect()
    }

    pub(crate) fn commits(&self) -> Vec<CommitId> {
        let events = self.events.lock().unwrap();
        let commits = events.iter().filter_map(|event| {
            let Event::Committed { commit, outcome } = event else {
                return None;
            };
            assert_eq!(*outcome, Ok(()));
            Some(*commit)
        });
        commits.collect()
    }

    pub(crate) fn hints(&self) -> Vec<Hint> {
        let events = self.events.lock().unwrap();
        let hints = events.iter().filter_map(|event| {
            let Event::Hint(hint) = event else {
                return None;
            };
            Some(hint.clone())
        });
        hints.collect()
    }

    /// Waits for a hint, and forgets it.
    pub(crate) fn hint(&self, wanted: &Hint) {
        self.wait(|events| {
            let at = events
                .iter()
                .position(|event| matches!(event, Event::Hint(hint) if hint == wanted));
            if let Some(at) = at {
                // What came with it stays: the order within a window is that of names.
                events.remove(at);
            }
            at.is_some()
        });
    }

    pub(crate) fn forget_after_quiet(&self) {
        self.forget_after_quiet_counting(usize::MAX);
    }

    /// Waits until nothing comes for a while; there may be so many events by then.
    pub(crate) fn forget_after_quiet_counting(&self, max: usize) {
        let mut before = usize::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(700));
            let mut events = self.events.lock().unwrap();
            if events.len() == before {
                assert!(before <= max, "{before} events");
                events.clear();
                return;
            }
            before = events.len();
        }
    }

    fn wait(&self, mut until: impl FnMut(&mut Vec<Event>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut events = self.events.lock().unwrap();
        while !until(&mut events) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came; there is {events:?}");
            events = self.more.wait_timeout(events, left).unwrap().0;
        }
    }
}

/// A file system of its own, gone with the test.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Mounted {
    /// Mounts a tmpfs; `None`, with a word why, where that is not permitted.
    pub(crate) fn tmpfs(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", &at, "tmpfs", flags, options.as_c_str()) {
            Ok(()) => Some(Self(at)),
            Err(errno) => {
                eprintln!("skipped: no tmpfs can be mounted ({errno}); run it as root");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let detach = rustix::mount::UnmountFlags::DETACH;
        if let Err(errno) = rustix::mount::unmount(&self.0, detach) {
            eprintln!("{} stays mounted: {errno}", self.0.display());
        }
    }
}

pub(crate) fn name(bytes: &[u8]) -> Name {
    Name::parse(bytes).unwrap()
}

pub(crate) fn path(names: &[&[u8]]) -> Vec<Name> {
    names.iter().map(|bytes| name(bytes)).collect()
}

pub(crate) fn listed(done: Result<DiskDone, DiskError>) -> (Vec<(Name, Sighting)>, bool) {
    match done {
        Ok(DiskDone::Listed {
            items, complete, ..
        }) => (items, complete),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn looked(done: Result<DiskDone, DiskError>) -> Option<Sighting> {
    match done {
        Ok(DiskDone::Looked { sighting, wall }) => {
            assert!(wall.secs > 1_600_000_000);
            sighting
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn object(node: u64, version: u64) -> ObjectId {
    let dot = |counter| Dot {
        actor: ActorId(0xfeed),
        counter,
    };
    ObjectId {
        node: NodeId(dot(node)),
        version: dot(version),
    }
}

pub(crate) fn loaded(
    sidecar: Option<&[u8]>,
    partial: Option<u64>,
    complete: Option<u64>,
) -> Result<DiskDone, DiskError> {
    Ok(DiskDone::Loaded {
        sidecar: sidecar.map(<[u8]>::to_vec),
        partial,
        complete,
    })
}

pub(crate) fn files_below(dir: &Path) -> usize {
    let count = |item: fs::DirEntry| {
        if item.file_type().unwrap().is_dir() {
            files_below(&item.path())
        } else {
            1
        }
    };
    fs::read_dir(dir)
        .unwrap()
        .map(|item| count(item.unwrap()))
        .sum()
}

pub(crate) fn open(dir: &Path) -> (Metadata, Opened) {
    Metadata::open(dir, WallTime::default()).unwrap()
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> Record {
    Record {
        key: key.to_vec(),
        value: Some(value.to_vec()),
    }
}
