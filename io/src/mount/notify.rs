//! Invalidations on their way to the kernel.
//!
//! Law: they are sent in the order in which the engine gave them, each after every answer that
//! was computed before it (see `driver`), by threads that hold no lock: the kernel may let an
//! invalidation wait for an answer of ours.
//!
//! Names and attributes never wait long, since no answer about them does. Pages may: the kernel
//! waits for reads of the same pages that are under way, and such a read may wait for a peer until
//! its deadline. So pages go by threads of their own; and as long as those of an inode are
//! waiting, an open of it is told to discard them itself ([`Outbox::has_pages`]), so that what is
//! closed and opened shows the new bytes, whatever else the kernel waits for.

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
    /// Inodes whose pages are to be forgotten: a set, since once is enough, and so bounded by
    /// what the kernel knows.
    pages: BTreeSet<Ino>,
    /// Those of which the kernel is being told.
    sending: Vec<Ino>,
    closed: bool,
}

impl Outbox {
    /// Queues one. Never blocks for long.
    pub(super) fn put(&self, what: Invalidation) {
        let mut queues = self.queues();
        if queues.closed {
            return;
        }
        if let Invalidation::Inode { ino, data: true } = what {
            queues.pages.insert(ino);
        }
        if queues.marks.back() != Some(&what) {
            queues.marks.push_back(what);
        }
        self.filled.notify_all();
    }

    /// Tells whether the kernel may hold pages of an inode that it was not yet told to forget.
    pub(super) fn has_pages(&self, ino: Ino) -> bool {
        let queues = self.queues();
        queues.pages.contains(&ino) || queues.sending.contains(&ino)
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
        for number in 0..PAGE_THREADS {
            let (this, driver, notifier) = (Arc::clone(self), Arc::clone(driver), notifier.clone());
            thread::Builder::new()
                .name(format!("tandem-pages-{number}"))
                .spawn(move || this.send_pages(&driver, &notifier))?;
        }
        let (this, driver) = (Arc::clone(self), Arc::clone(driver));
        thread::Builder::new()
            .name("tandem-forget".into())
            .spawn(move || this.send_marks(&driver, &notifier))?;
        Ok(())
    }

    fn send_marks(&self, driver: &Driver, notifier: &Notifier) {
        while let Some(batch) = self.take(|queues| {
            let batch = std::mem::take(&mut queues.marks);
            (!batch.is_empty()).then_some(batch)
        }) {
            driver.let_answers_out();
            for what in batch {
                send_mark(notifier, &what);
            }
        }
    }

    fn send_pages(&self, driver: &Driver, notifier: &Notifier) {
        while let Some(ino) = self.take(|queues| {
            let ino = queues.pages.pop_first()?;
            queues.sending.push(ino);
            Some(ino)
        }) {
            driver.let_answers_out();
            note(notifier.inval_inode(INodeNo(ino.0), 0, 0), "pages");
            let mut queues = self.queues();
            if let Some(at) = queues.sending.iter().position(|it| *it == ino) {
                queues.sending.swap_remove(at);
            }
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

/// Threads for pages: so many files may be read from a peer that does not answer before the pages
/// of others wait; by eye.
const PAGE_THREADS: usize = 4;

/// An offset before the file's begin: attributes only.
const ATTRIBUTES_ONLY: i64 = -1;

/// Sends one, without its pages.
fn send_mark(notifier: &Notifier, what: &Invalidation) {
    match what {
        Invalidation::Inode { ino, data: _ } => {
            note(
                notifier.inval_inode(INodeNo(ino.0), ATTRIBUTES_ONLY, 0),
                "attributes",
            );
        }
        Invalidation::Entry { parent, name } => {
            let name = OsStr::from_bytes(name.as_bytes());
            note(notifier.inval_entry(INodeNo(parent.0), name), "a name");
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
