//! Keeps every directory of a folder watched, new ones too, and knows whether all of them are.
//!
//! Law: a directory is watched before it is listed, and said to be new after both, so that what
//! is found then and what is heard later leave no gap. While one can't be watched, everything is
//! compared from time to time.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tandem_core::error::DiskError;
use tandem_core::tree::name::Name;

use crate::watch::Shared;

/// How often a directory is tried again whose own directories come and go while it is walked.
const WALKS_MAX: u32 = 3;

/// Keeps every directory watched.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    notify: Option<RecommendedWatcher>,
    /// Whether every directory is watched.
    trusted: bool,
    /// Whether it was said that one is not.
    is_told: bool,
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
    /// Keeps a folder watched through `notify`, if there is one.
    pub(super) fn new(shared: Arc<Shared>, notify: Option<RecommendedWatcher>) -> Self {
        Self {
            shared,
            trusted: notify.is_some(),
            is_told: false,
            notify,
        }
    }

    /// The life of the thread that watches.
    pub(super) fn run(mut self) {
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
    pub(super) fn watch_all(&mut self) {
        let was = self.trusted;
        self.trusted = self.notify.is_some();
        self.watch_again(&[]);
        if self.trusted && !was {
            tracing::info!("the whole folder is watched");
            self.is_told = false;
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
                Err(
                    DiskError::NoSpace
                    | DiskError::Denied
                    | DiskError::Exists
                    | DiskError::NotEmpty
                    | DiskError::Changed
                    | DiskError::Io,
                ) => Walk::Blind,
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
        full.extend(path.iter().map(|name| OsStr::from_bytes(name.as_bytes())));
        let Err(error) = notify.watch(&full, RecursiveMode::NonRecursive) else {
            return Walk::Whole;
        };
        let why = match &error.kind {
            ErrorKind::PathNotFound => return Walk::Moved,
            ErrorKind::Io(why) if why.kind() == io::ErrorKind::NotFound => return Walk::Moved,
            ErrorKind::Io(why) => why.to_string(),
            ErrorKind::MaxFilesWatch => {
                "there are too many; try sysctl fs.inotify.max_user_watches=1048576".to_owned()
            }
            ErrorKind::Generic(why) => why.clone(),
            ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => error.to_string(),
        };
        self.tell(&format!("{}: {why}", shortened(path)));
        Walk::Blind
    }

    /// Some directory is not watched: everything is compared from time to time.
    fn distrust(&mut self) {
        self.tell("some can't be opened");
        self.trusted = false;
    }

    /// Says that not all is watched: once, as it is so with each comparison.
    fn tell(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                "not every directory can be watched, so the folder is compared every {} s ({why})",
                self.shared.pace.rescan.as_secs()
            );
        }
    }
}

/// So much of a path is said: a deep one is of no use to anybody.
const SAID_MAX: usize = 200;

/// Returns the beginning of a path in the folder.
fn shortened(path: &[Name]) -> String {
    let parts = path
        .iter()
        .map(|name| String::from_utf8_lossy(name.as_bytes()));
    let whole = parts.collect::<Vec<_>>().join("/");
    match whole.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}
