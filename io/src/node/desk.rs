//! The program as its own application: `ls` and `get` ask the engine what a mount would ask.
//!
//! Law: every question has an end: its answer, or a deadline.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_core::action::{DirItem, FsReply, Invalidation, Shown};
use tandem_core::error::FsError;
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{Ino, ReqId};
use tandem_core::tree::name::Name;

use crate::driver::{Driver, Front};

/// Answers on their way to whoever asked.
#[derive(Default)]
pub struct Desk {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<ReqId, Sender<Result<FsReply, FsError>>>>,
}

/// How long a question about names may take; they are answered from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Items of a listing asked for at once.
const ITEMS: u32 = 1_024;

impl Desk {
    /// Draws a number for a request.
    pub fn draw(&self) -> ReqId {
        ReqId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks the engine, and waits for its answer.
    ///
    /// # Errors
    /// What the engine answers, or [`FsError::Io`] when it does not.
    pub fn ask(&self, driver: &Driver, call: FsCall) -> Result<FsReply, FsError> {
        let req = self.draw();
        let (sender, answer) = channel();
        self.waiting().insert(req, sender);
        driver.submit(Event::Fs { req, call });
        let answer = answer.recv_timeout(PATIENCE).unwrap_or(Err(FsError::Io));
        self.waiting().remove(&req);
        answer
    }

    /// Finds what stands at `path`, following nothing.
    ///
    /// # Errors
    /// [`FsError::NoEntry`] when there is nothing, or the engine's error.
    pub fn find(&self, driver: &Driver, path: &[Name]) -> Result<Shown, FsError> {
        let answer = self.ask(driver, FsCall::GetAttr { ino: Ino::ROOT })?;
        let FsReply::Attr(mut found) = answer else {
            return Err(unexpected(&answer));
        };
        for name in path {
            let call = FsCall::Lookup {
                parent: found.ino,
                name: name.as_bytes().to_vec(),
            };
            let answer = self.ask(driver, call)?;
            if answer == FsReply::Absent {
                return Err(FsError::NoEntry);
            }
            let FsReply::Entry(shown) = answer else {
                return Err(unexpected(&answer));
            };
            found = shown;
        }
        Ok(found)
    }

    /// Lists a directory, without `.` and `..`.
    ///
    /// # Errors
    /// The engine's.
    pub fn list(&self, driver: &Driver, ino: Ino) -> Result<Vec<DirItem>, FsError> {
        let answer = self.ask(driver, FsCall::OpenDir { ino })?;
        let FsReply::OpenedDir { fh } = answer else {
            return Err(unexpected(&answer));
        };
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let call = FsCall::ReadDir {
                fh,
                from,
                count: ITEMS,
                plus: false,
            };
            let answer = self.ask(driver, call)?;
            let FsReply::Items(items) = answer else {
                return Err(unexpected(&answer));
            };
            let Some(last) = items.last() else {
                break;
            };
            from = last.next;
            all.extend(
                items
                    .into_iter()
                    .filter(|item| *item.name != *b"." && *item.name != *b".."),
            );
        }
        self.ask(driver, FsCall::ReleaseDir { fh })?;
        Ok(all)
    }

    /// Returns the target of a symlink.
    ///
    /// # Errors
    /// The engine's.
    pub fn target(&self, driver: &Driver, ino: Ino) -> Result<Vec<u8>, FsError> {
        let answer = self.ask(driver, FsCall::ReadLink { ino })?;
        let FsReply::Target(target) = answer else {
            return Err(unexpected(&answer));
        };
        Ok(target.to_vec())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<ReqId, Sender<Result<FsReply, FsError>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer of another kind than the question.
fn unexpected(answer: &FsReply) -> FsError {
    tracing::error!("an answer of another kind than the question: {answer:?}");
    FsError::Io
}

impl Front for Desk {
    fn reply(&self, req: ReqId, result: Result<FsReply, FsError>) -> Vec<Event> {
        if let Some(asker) = self.waiting().remove(&req) {
            // One that has given up waiting does not mind.
            let _ = asker.send(result);
        }
        Vec::new()
    }

    fn invalidate(&self, _what: Invalidation) {
        // Nothing is kept here that could be out of date.
    }

    fn abandon(&self) {
        for (_, asker) in mem::take(&mut *self.waiting()) {
            let _ = asker.send(Err(FsError::Io));
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("waiting", &self.waiting().len())
            .finish_non_exhaustive()
    }
}
