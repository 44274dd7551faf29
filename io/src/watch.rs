//! The watcher of a shared folder: turns what the kernel says into hints to look.
//!
//! Law: a hint is never more than a reason to compare, and none is ever needed twice: what can't
//! be watched, or was missed, becomes a hint that all of a directory may have changed. What is
//! waiting to be said is bounded; a burst beyond the bound becomes one such hint at the root.
//!
//! Directories are watched one by one, by paths that begin at the folder's own handle, and each
//! before it is listed. Two threads work here besides notify's own: one says hints, one watches
//! new directories, so that neither waits for a busy kernel queue.

mod keeper;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::{
    AccessKind, AccessMode, CreateKind, EventKind, Flag, MetadataKind, ModifyKind,
};
use notify::{Config, RecommendedWatcher, Watcher as _};
use tandem_core::event::{Event, Hint};
use tandem_core::tree::name::{Name, NameError};

use crate::disk::folder::Folder;
use crate::sink::Sink;
use crate::watch::keeper::Keeper;

/// How a watcher takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long hints are gathered, so that one path is said once for many events.
    pub window: Duration,
    /// How often everything is to be compared while some directory can't be watched.
    pub rescan: Duration,
    /// How long after a burst that could not be held before another may be told: comparing
    /// everything opens every directory, which makes events too.
    pub burst: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(20),
            rescan: Duration::from_secs(60),
            burst: Duration::from_secs(5),
        }
    }
}

/// A running watcher; it ends when it is dropped.
pub struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What waits to be said, and to be watched.
#[derive(Debug, Default)]
struct Waiting {
    /// Paths that changed, and whether whoever changed them last was done.
    paths: BTreeMap<Vec<Name>, bool>,
    /// Directories below which anything may have changed.
    subtrees: BTreeSet<Vec<Name>>,
    /// Directories that are new, and not watched yet.
    directories: BTreeSet<Vec<Name>>,
    /// Events were lost: by the kernel, or here.
    burst: bool,
    stopping: bool,
}

/// How many paths may wait: with 255-byte names ten deep this is 10 MiB, by eye.
const WAITING_MAX: usize = 4_096;

struct Shared {
    folder: Arc<Folder>,
    root: PathBuf,
    pace: Pace,
    sink: Arc<dyn Sink>,
    waiting: Mutex<Waiting>,
    /// There is something to say, or an end to come to.
    changed: Condvar,
    /// There is a directory to watch, or an end to come to.
    grown: Condvar,
}

impl Watcher {
    /// Watches a folder at the usual pace. Returns when every directory that can be is watched,
    /// so that a scan that begins then misses nothing.
    pub fn start(folder: Arc<Folder>, sink: Arc<dyn Sink>) -> io::Result<Self> {
        Self::start_at(folder, sink, Pace::default())
    }

    /// Watches a folder at a pace of one's own.
    pub fn start_at(folder: Arc<Folder>, sink: Arc<dyn Sink>, pace: Pace) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(folder, sink, pace));
        let ear = Arc::clone(&shared);
        let hear = move |heard| ear.hear(heard);
        let notify = match RecommendedWatcher::new(hear, Config::default()) {
            Ok(notify) => Some(notify),
            Err(error) => {
                tracing::warn!(
                    "the folder can't be watched ({error}), and is compared every {} s instead; \
                     if there are too many watchers: sysctl fs.inotify.max_user_instances=1024",
                    pace.rescan.as_secs()
                );
                None
            }
        };
        Self::begin(shared, notify)
    }

    /// Watches through `notify`, or, without one, only compares everything from time to time.
    fn begin(shared: Arc<Shared>, notify: Option<RecommendedWatcher>) -> io::Result<Self> {
        let mut keeper = Keeper::new(Arc::clone(&shared), notify);
        keeper.watch_all();
        // From here on a drop ends what was started.
        let mut watcher = Self {
            shared,
            threads: Vec::new(),
        };
        let keep = Builder::new().name("watch-keep".into());
        watcher.threads.push(keep.spawn(move || keeper.run())?);
        let speaker = Arc::clone(&watcher.shared);
        let say = Builder::new().name("watch-say".into());
        watcher.threads.push(say.spawn(move || speaker.say())?);
        Ok(watcher)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        self.shared.grown.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the watcher has panicked");
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("folder", &self.shared.folder)
            .field("pace", &self.shared.pace)
            .finish_non_exhaustive()
    }
}

/// What an event of notify's means for the paths that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    /// Something may have changed, and whether whoever changed it is done.
    Changed {
        settled: bool,
    },
    /// A directory may stand there that is not watched.
    Directory,
}

impl Meaning {
    fn of(kind: EventKind) -> Self {
        match kind {
            EventKind::Create(CreateKind::Folder) => Self::Directory,
            // Whoever creates a file has it open, and says more when he closes it; a new link or
            // symlink is found a quiet second later.
            EventKind::Create(CreateKind::File) => Self::Changed { settled: false },
            // A name that came by a rename may be that of a directory.
            EventKind::Create(CreateKind::Any | CreateKind::Other)
            | EventKind::Modify(ModifyKind::Name(_)) => Self::Directory,
            EventKind::Modify(ModifyKind::Data(_)) => Self::Changed { settled: false },
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Metadata(
                MetadataKind::Any
                | MetadataKind::WriteTime
                | MetadataKind::Permissions
                | MetadataKind::Ownership
                | MetadataKind::Extended
                | MetadataKind::Other,
            ))
            | EventKind::Modify(ModifyKind::Any | ModifyKind::Other)
            | EventKind::Remove(_)
            | EventKind::Any
            | EventKind::Other => Self::Changed { settled: true },
            // What reading does, ours included.
            EventKind::Access(
                AccessKind::Any
                | AccessKind::Read
                | AccessKind::Open(_)
                | AccessKind::Close(AccessMode::Any | AccessMode::Execute | AccessMode::Read)
                | AccessKind::Close(AccessMode::Other)
                | AccessKind::Other,
            )
            | EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => Self::Nothing,
        }
    }
}

/// Where an event was, seen from the folder.
#[derive(Debug, PartialEq, Eq)]
enum Where {
    /// At this path.
    Here(Vec<Name>),
    /// In `.tandem`, or under a name that is never shared.
    Ours,
    /// Outside: not a path of ours at all.
    Elsewhere,
}

impl Shared {
    fn new(folder: Arc<Folder>, sink: Arc<dyn Sink>, pace: Pace) -> Self {
        Self {
            root: PathBuf::from(folder.own_path()),
            folder,
            pace,
            sink,
            waiting: Mutex::default(),
            changed: Condvar::new(),
            grown: Condvar::new(),
        }
    }

    /// Takes an event from notify's thread, which must not wait.
    fn hear(&self, heard: notify::Result<notify::Event>) {
        let event = match heard {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!("the watcher says: {error}");
                return self.put(|waiting| waiting.burst = true);
            }
        };
        if event.attrs.flag() == Some(Flag::Rescan) {
            return self.put(|waiting| waiting.burst = true);
        }
        let meaning = Meaning::of(event.kind);
        if meaning == Meaning::Nothing {
            return;
        }
        for path in &event.paths {
            match (self.locate(path), meaning) {
                (Where::Ours, _) | (_, Meaning::Nothing) => {}
                (Where::Elsewhere, _) => self.put(|waiting| waiting.burst = true),
                (Where::Here(path), Meaning::Changed { settled }) => {
                    self.put(|waiting| waiting.change(path, settled));
                }
                (Where::Here(path), Meaning::Directory) => self.put(|waiting| {
                    waiting.directories.insert(path.clone());
                    waiting.change(path, true);
                }),
            }
        }
    }

    fn locate(&self, path: &Path) -> Where {
        let Ok(beneath) = path.strip_prefix(&self.root) else {
            return Where::Elsewhere;
        };
        let mut names = Vec::new();
        for component in beneath.components() {
            match component {
                Component::Normal(name) => match Name::parse(name.as_bytes()) {
                    Ok(name) => names.push(name),
                    Err(
                        NameError::Reserved
                        | NameError::Empty
                        | NameError::TooLong { .. }
                        | NameError::Nul(_)
                        | NameError::Slash(_)
                        | NameError::Dots
                        | NameError::Namespace,
                    ) => return Where::Ours,
                },
                Component::CurDir => {}
                Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                    return Where::Elsewhere;
                }
            }
        }
        Where::Here(names)
    }

    fn put(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        change(&mut waiting);
        waiting.bound();
        if !waiting.directories.is_empty() {
            self.grown.notify_all();
        }
        self.changed.notify_all();
    }

    /// The life of the thread that says hints.
    fn say(&self) {
        let mut last_burst: Option<Instant> = None;
        loop {
            let mut waiting = self.lock();
            loop {
                if waiting.stopping {
                    return;
                }
                let may_burst = last_burst.is_none_or(|last| last.elapsed() >= self.pace.burst);
                if !waiting.paths.is_empty()
                    || !waiting.subtrees.is_empty()
                    || (waiting.burst && may_burst)
                {
                    break;
                }
                let nap = if waiting.burst {
                    self.pace.burst
                } else {
                    Duration::from_secs(3_600)
                };
                waiting = self
                    .changed
                    .wait_timeout(waiting, nap)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting);
            }
            drop(waiting);
            std::thread::sleep(self.pace.window);

            let mut waiting = self.lock();
            let paths = std::mem::take(&mut waiting.paths);
            let mut subtrees = std::mem::take(&mut waiting.subtrees);
            let may_burst = last_burst.is_none_or(|last| last.elapsed() >= self.pace.burst);
            if waiting.burst && may_burst {
                waiting.burst = false;
                last_burst = Some(Instant::now());
                subtrees.insert(Vec::new());
            }
            drop(waiting);
            for (path, settled) in paths {
                self.hint(Hint::Path { path, settled });
            }
            for path in subtrees {
                self.hint(Hint::Subtree { path });
            }
        }
    }

    fn hint(&self, hint: Hint) {
        self.sink.event(Event::Hint(hint));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Notes a change; the last word on whether it is settled counts.
    fn change(&mut self, path: Vec<Name>, settled: bool) {
        if path.is_empty() {
            self.subtrees.insert(path);
        } else {
            self.paths.insert(path, settled);
        }
    }

    /// Turns too much into one thing.
    fn bound(&mut self) {
        if self.paths.len() + self.subtrees.len() > WAITING_MAX {
            self.paths.clear();
            self.subtrees.clear();
            self.burst = true;
        }
        if self.directories.len() > WAITING_MAX {
            self.directories = BTreeSet::from([Vec::new()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use notify::event::RenameMode;

    use super::*;

    impl Sink for Sender<Event> {
        fn event(&self, event: Event) {
            // Whoever listened may have heard enough.
            let _ = self.send(event);
        }
    }

    fn shared(dir: &Path, pace: Pace) -> (Arc<Shared>, Receiver<Event>) {
        let (sender, receiver) = channel();
        let folder = Arc::new(Folder::open(dir).unwrap());
        let shared = Shared::new(folder, Arc::new(sender), pace);
        (Arc::new(shared), receiver)
    }

    fn quick() -> Pace {
        Pace {
            window: Duration::from_millis(1),
            rescan: Duration::from_millis(50),
            burst: Duration::from_millis(300),
        }
    }

    fn assert_everything(event: &Event) {
        assert!(
            matches!(event, Event::Hint(Hint::Subtree { path }) if path.is_empty()),
            "{event:?}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_compared_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, heard) = shared(dir.path(), quick());
        let _watcher = Watcher::begin(shared, None).unwrap();
        for _ in 0..3 {
            assert_everything(&heard.recv_timeout(Duration::from_secs(20)).unwrap());
        }
    }

    #[test]
    fn lost_events_make_one_comparison_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace {
            rescan: Duration::from_secs(600),
            ..quick()
        };
        let (shared, heard) = shared(dir.path(), pace);
        let _watcher = Watcher::begin(Arc::clone(&shared), None).unwrap();
        let began = Instant::now();
        let lost = || notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        shared.hear(Ok(lost()));
        assert_everything(&heard.recv_timeout(Duration::from_secs(20)).unwrap());
        shared.hear(Ok(lost()));
        shared.hear(Err(notify::Error::generic("odd")));
        assert_everything(&heard.recv_timeout(Duration::from_secs(20)).unwrap());
        assert!(began.elapsed() >= pace.burst);
        assert!(heard.recv_timeout(pace.burst * 2).is_err());
    }

    #[test]
    fn the_last_word_on_a_path_counts_and_ours_is_not_said() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, _heard) = shared(dir.path(), quick());
        let event = |kind, path: &str| {
            let full = shared.root.join(path);
            shared.hear(Ok(notify::Event::new(kind).add_path(full)));
        };
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let growing = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        event(growing, "a");
        event(written, "a");
        event(written, "b");
        event(growing, "b");
        event(moved, "c");
        event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "d");
        event(written, ".tandem/x");
        event(written, "e/.TANDEM/x");
        let waiting = shared.lock();
        let said: Vec<_> = waiting
            .paths
            .iter()
            .map(|(path, settled)| (path[0].to_string(), *settled))
            .collect();
        let expected = [("a", true), ("b", false), ("c", true)];
        assert!(
            said.iter().map(|(p, s)| (p.as_str(), *s)).eq(expected),
            "{said:?}"
        );
        assert_eq!(waiting.directories.len(), 1);
        assert!(!waiting.burst);
    }
}
