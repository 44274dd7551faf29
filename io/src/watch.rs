//! The watcher of a shared folder: turns what the kernel says into hints to look.
//!
//! Law: a hint is never more than a reason to compare, and none is ever needed twice: what can't
//! be watched, or was missed, becomes a hint that all of a directory may have changed. What is
//! waiting to be said is bounded; a burst beyond the bound becomes one such hint at the root.
//!
//! Directories are watched one by one, by paths that begin at the folder's own handle, and each
//! before it is listed. Two threads work here besides notify's own: one says hints, one watches
//! new directories, so that neither waits for a busy kernel queue.

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
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tandem_core::error::DiskError;
use tandem_core::event::{Event, Hint};
use tandem_core::tree::name::{Name, NameError};

use crate::disk::folder::Folder;
use crate::sink::Sink;

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

/// How often a directory is tried again whose own directories come and go while it is walked.
const WALKS_MAX: u32 = 3;

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
        let shared = Arc::new(Shared {
            root: PathBuf::from(folder.own_path()),
            folder,
            pace,
            sink,
            waiting: Mutex::default(),
            changed: Condvar::new(),
            grown: Condvar::new(),
        });
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
        let mut keeper = Keeper {
            shared: Arc::clone(&shared),
            trusted: notify.is_some(),
            notify,
        };
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

/// Keeps every directory watched.
struct Keeper {
    shared: Arc<Shared>,
    notify: Option<RecommendedWatcher>,
    /// Whether every directory is watched.
    trusted: bool,
}

/// How watching a directory and those in it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Walk {
    Whole,
    /// Some directory was gone when its turn came.
    Moved,
    /// Some directory can't be watched.
    Blind,
}

impl Keeper {
    /// The life of the thread that watches.
    fn run(mut self) {
        let mut next_rescan = Instant::now() + self.shared.pace.rescan;
        loop {
            let new = {
                let mut waiting = self.shared.lock();
                loop {
                    if waiting.stopping {
                        return;
                    }
                    if !waiting.directories.is_empty() {
                        break;
                    }
                    let nap = if self.trusted {
                        Duration::from_secs(3_600)
                    } else {
                        let left = next_rescan.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        left
                    };
                    waiting = self
                        .shared
                        .grown
                        .wait_timeout(waiting, nap)
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting);
                }
                std::mem::take(&mut waiting.directories)
            };
            for path in new {
                // Said when it is watched, so that what is found then and what is heard later
                // leave no gap.
                if self.watch_again(&path) {
                    self.shared.put(|waiting| {
                        waiting.subtrees.insert(path);
                    });
                }
            }
            if !self.trusted && next_rescan <= Instant::now() {
                self.watch_all();
                self.shared.put(|waiting| {
                    waiting.subtrees.insert(Vec::new());
                });
                next_rescan = Instant::now() + self.shared.pace.rescan;
            }
        }
    }

    /// Watches everything; what can't be watched now may be later.
    fn watch_all(&mut self) {
        let was = self.trusted;
        self.trusted = self.notify.is_some();
        self.watch_again(&[]);
        if self.trusted && !was {
            tracing::info!("the whole folder is watched");
        }
    }

    /// Watches a directory and those below it, again while they move under our feet. Tells
    /// whether it is a directory at all.
    fn watch_again(&mut self, path: &[Name]) -> bool {
        for _ in 0..WALKS_MAX {
            match self.walk(path) {
                None => return false,
                Some(Walk::Whole) => return true,
                Some(Walk::Moved) => {}
                Some(Walk::Blind) => {
                    self.distrust();
                    return true;
                }
            }
        }
        // What appears or goes in a watched directory is heard: whatever moved will be in an
        // event of its own.
        true
    }

    /// Watches a directory, then those in it; `None` if there is no directory there.
    fn walk(&mut self, path: &[Name]) -> Option<Walk> {
        let mut walk = Walk::Whole;
        let mut next = vec![path.to_vec()];
        let mut root = true;
        while let Some(path) = next.pop() {
            // No symlink, no mount point: what is watched is beneath the folder's handle. And
            // watched before it is listed, so that nothing appears unseen in between.
            let watched = match self.shared.folder.hold_directory(&path) {
                Ok(()) => self.watch(&path),
                Err(_) if root => return None,
                Err(DiskError::NotFound) => Walk::Moved,
                Err(DiskError::WrongKind) => continue,
                Err(DiskError::NoSpace | DiskError::Denied | DiskError::Io) => Walk::Blind,
            };
            root = false;
            walk = walk.max(watched);
            for name in self.shared.folder.directories(&path).unwrap_or_default() {
                let mut below = path.clone();
                below.push(name);
                next.push(below);
            }
        }
        Some(walk)
    }

    /// Watches one directory.
    fn watch(&mut self, path: &[Name]) -> Walk {
        let Some(notify) = &mut self.notify else {
            return Walk::Blind;
        };
        let mut full = self.shared.root.clone();
        full.extend(
            path.iter()
                .map(|name| std::ffi::OsStr::from_bytes(name.as_bytes())),
        );
        let Err(error) = notify.watch(&full, RecursiveMode::NonRecursive) else {
            return Walk::Whole;
        };
        match error.kind {
            ErrorKind::PathNotFound => Walk::Moved,
            ErrorKind::Io(why) if why.kind() == io::ErrorKind::NotFound => Walk::Moved,
            ErrorKind::Io(_)
            | ErrorKind::MaxFilesWatch
            | ErrorKind::Generic(_)
            | ErrorKind::WatchNotFound
            | ErrorKind::InvalidConfig(_) => {
                if self.trusted {
                    tracing::warn!("{error}");
                }
                Walk::Blind
            }
        }
    }

    /// Some directory is not watched: everything is compared from time to time.
    fn distrust(&mut self) {
        if self.trusted {
            tracing::warn!(
                "not every directory can be watched, so the folder is compared every {} s; \
                 if there are too many directories: sysctl fs.inotify.max_user_watches=1048576",
                self.shared.pace.rescan.as_secs()
            );
        }
        self.trusted = false;
    }
}
