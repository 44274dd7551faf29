//! Invalidations on their way to the kernel.
//!
//! Law: they are sent in the order in which the engine gave them, each after every answer that
//! was computed before it (see `driver`), by threads that hold no lock: the kernel may let an
//! invalidation wait for an answer of ours.
//!
//! There are two such threads. Names and attributes never wait long, since no answer about them
//! does. Pages may: the kernel waits for reads of the same page that are under way, and such a
//! read may wait for a peer until its deadline. So pages go by a way of their own, after the
//! attributes of the same inode; in between, an open of the new version discards the old pages
//! by itself (`keep_cache` is not set then).

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use fuser::{INodeNo, Notifier};
use tandem_core::action::Invalidation;
use tandem_core::ids::Ino;

use crate::driver::Driver;

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Outbox {
    queues: Mutex<Queues>,
    filled: Condvar,
}

#[derive(Default)]
struct Queues {
    /// Names and attributes, in order.
    marks: VecDeque<Invalidation>,
    /// Inodes whose attributes were sent and whose pages are to follow: a set, since once is
    /// enough, and so bounded by what the kernel knows.
    pages: BTreeSet<Ino>,
    closed: bool,
}

impl Outbox {
    /// Queues one. Never blocks for long.
    pub(super) fn put(&self, what: Invalidation) {
        let mut queues = self.queues();
        if !queues.closed && queues.marks.back() != Some(&what) {
            queues.marks.push_back(what);
            self.filled.notify_all();
        }
    }

    /// Ends the threads; what waits is dropped, for the mount is gone.
    pub(super) fn close(&self) {
        let mut queues = self.queues();
        queues.closed = true;
        queues.marks.clear();
        queues.pages.clear();
        self.filled.notify_all();
    }

    /// Starts the threads that send.
    pub(super) fn start(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        notifier: Notifier,
    ) -> io::Result<()> {
        let (this, driver, sender) = (Arc::clone(self), Arc::clone(driver), notifier.clone());
        thread::Builder::new()
            .name("tandem-forget".into())
            .spawn(move || this.send_marks(&driver, &sender))?;
        let this = Arc::clone(self);
        thread::Builder::new()
            .name("tandem-pages".into())
            .spawn(move || this.send_pages(&notifier))?;
        Ok(())
    }

    fn send_marks(&self, driver: &Driver, notifier: &Notifier) {
        while let Some(batch) = self.take(|queues| {
            let batch = std::mem::take(&mut queues.marks);
            (!batch.is_empty()).then_some(batch)
        }) {
            driver.let_answers_out();
            for what in batch {
                if let Some(pages) = send_mark(notifier, &what) {
                    let mut queues = self.queues();
                    if !queues.closed && queues.pages.insert(pages) {
                        self.filled.notify_all();
                    }
                }
            }
        }
    }

    fn send_pages(&self, notifier: &Notifier) {
        while let Some(ino) = self.take(|queues| queues.pages.pop_first()) {
            note(notifier.inval_inode(INodeNo(ino.0), 0, 0), "pages");
        }
    }

    /// Waits until `pick` finds something; `None` at the end.
    fn take<T>(&self, mut pick: impl FnMut(&mut Queues) -> Option<T>) -> Option<T> {
        let mut queues = self.queues();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(found) = pick(&mut queues) {
                return Some(found);
            }
            queues = self
                .filled
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.queues();
        f.debug_struct("Outbox")
            .field("marks", &queues.marks.len())
            .field("pages", &queues.pages.len())
            .finish_non_exhaustive()
    }
}

/// An offset before the file's begin: attributes only.
const ATTRIBUTES_ONLY: i64 = -1;

/// Sends one, without its pages; returns the inode whose pages are to follow.
fn send_mark(notifier: &Notifier, what: &Invalidation) -> Option<Ino> {
    match what {
        Invalidation::Inode { ino, data } => {
            note(
                notifier.inval_inode(INodeNo(ino.0), ATTRIBUTES_ONLY, 0),
                "attributes",
            );
            data.then_some(*ino)
        }
        Invalidation::Entry { parent, name } => {
            let name = OsStr::from_bytes(name.as_bytes());
            note(notifier.inval_entry(INodeNo(parent.0), name), "a name");
            None
        }
        Invalidation::Delete {
            parent,
            child,
            name,
        } => {
            let name = OsStr::from_bytes(name.as_bytes());
            let parent = INodeNo(parent.0);
            // A directory that the kernel believes not empty, a mount point, or another inode
            // under that name: then the name alone is forgotten.
            if notifier.delete(parent, INodeNo(child.0), name).is_err() {
                note(notifier.inval_entry(parent, name), "a name");
            }
            // The kernel then holds the inode for deleted, though it may have other names.
            note(
                notifier.inval_inode(INodeNo(child.0), ATTRIBUTES_ONLY, 0),
                "attributes",
            );
            None
        }
    }
}

/// Says so if the kernel refused an invalidation for another reason than that it has nothing to
/// forget, or that the mount is gone.
fn note(sent: io::Result<()>, what: &str) {
    if let Err(error) = sent {
        let gone = [rustix::io::Errno::NODEV, rustix::io::Errno::NOTCONN];
        let raw = error.raw_os_error();
        if !gone.iter().any(|errno| raw == Some(errno.raw_os_error())) {
            tracing::warn!("the kernel did not forget {what}: {error}");
        }
    }
}
