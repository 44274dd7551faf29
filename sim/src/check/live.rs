//! P9 live: every call ends. What needs no bytes is answered before anything else happens; a
//! read ends by its deadline; when no link was there for as long, a read that fails does so at
//! once.

use std::collections::BTreeMap;

use tandem_core::edit::Edit;
use tandem_core::event::FsCall;
use tandem_core::ids::ReqId;

use super::{Failure, Kind, Verdict};

/// The calls of one mount that wait.
#[derive(Debug)]
pub struct Live {
    waiting: BTreeMap<ReqId, Waiting>,
    /// Since when no link is there, as its engine was told.
    pub alone_since: Option<u64>,
    /// Since when nobody has introduced himself.
    pub unmet_since: Option<u64>,
    /// Whether its disk fails for ever: then only the deadline holds.
    pub no_disk: bool,
    /// Whether its syncs wait for another machine, until their deadline.
    pub far: bool,
    greeted: bool,
    /// When the process started: until it has found what was written, all wait for the disk.
    started: u64,
    /// When the store refused a commit. What waits for it waits until it is tried again.
    refused: Vec<u64>,
    deadline: u64,
    slack: u64,
}

#[derive(Debug)]
struct Waiting {
    since: u64,
    call: FsCall,
    alone: bool,
}

impl Live {
    /// Returns an account of calls that may wait for `deadline`, and for `slack` more while the
    /// disk works.
    pub fn new(deadline: u64, slack: u64) -> Self {
        Self {
            waiting: BTreeMap::new(),
            alone_since: None,
            unmet_since: None,
            no_disk: false,
            far: false,
            greeted: false,
            started: 0,
            refused: Vec::new(),
            deadline,
            slack,
        }
    }

    /// A call was made.
    pub fn called(&mut self, now: u64, req: ReqId, call: FsCall) {
        let alone = self
            .alone_since
            .is_some_and(|since| now > since + self.deadline + self.slack);
        let since = now;
        self.waiting.insert(req, Waiting { since, call, alone });
    }

    /// A call was answered; returns it, and how long that took.
    pub fn answered(&mut self, now: u64, req: ReqId) -> Result<(FsCall, u64), Failure> {
        match self.waiting.remove(&req) {
            Some(waiting) => {
                self.judge(now, req, &waiting)?;
                Ok((waiting.call, now.saturating_sub(waiting.since)))
            }
            None => {
                let what = format!("{req} was answered, and nobody waits for it");
                Err(Failure::safety("P9", what))
            }
        }
    }

    /// Judges what still waits.
    pub fn check(&self, now: u64) -> Verdict {
        self.waiting
            .iter()
            .try_for_each(|(req, waiting)| self.judge(now, *req, waiting))
    }

    fn judge(&self, now: u64, req: ReqId, waiting: &Waiting) -> Verdict {
        let allowed = match &waiting.call {
            FsCall::Read { .. } if waiting.alone && !self.no_disk => self.slack,
            FsCall::Read { .. } => self.deadline + self.slack,
            FsCall::Open { .. } => self.slack,
            FsCall::Lookup { .. }
            | FsCall::Forget { .. }
            | FsCall::GetAttr { .. }
            | FsCall::ReadLink { .. }
            | FsCall::Release { .. }
            | FsCall::OpenDir { .. }
            | FsCall::ReadDir { .. }
            | FsCall::ReleaseDir { .. }
            | FsCall::GetXattr { .. }
            | FsCall::ListXattr { .. }
            | FsCall::StatFs => 0,
            // An edit waits for this disk, and for nothing else; a sync may for another machine.
            FsCall::Edit(edit) => {
                let meanwhile = self.refused.iter().filter(|at| **at >= waiting.since);
                let here = self.slack * (1 + meanwhile.count() as u64);
                let is_sync = matches!(edit, Edit::Sync { .. } | Edit::SyncDir { .. });
                if self.far && is_sync && !waiting.alone {
                    here + self.deadline
                } else {
                    here
                }
            }
        };
        let took = now.saturating_sub(waiting.since);
        let is_early = waiting.since <= self.started + self.slack;
        let allowed = allowed + if is_early { self.slack } else { 0 };
        if took <= allowed {
            return Ok(());
        }
        let what = format!(
            "{req} {:?} waits since {} ms; allowed are {} ms{}",
            waiting.call,
            took / 1_000_000,
            allowed / 1_000_000,
            if waiting.alone { ", with no link" } else { "" }
        );
        Err(Failure::new(Kind::Liveness, "P9", what))
    }

    /// A call has ended that had to wait for this disk only.
    pub fn only_this_disk(&self, now: u64, began: u64) -> Verdict {
        let is_early = began <= self.started + self.slack;
        let allowed = self.slack * if is_early { 2 } else { 1 };
        let took = now.saturating_sub(began);
        if took <= allowed || self.no_disk {
            return Ok(());
        }
        let took = took / 1_000_000;
        let what = format!("a read of what was read before took {took} ms");
        Err(Failure::new(Kind::Liveness, "P9", what))
    }

    /// The machine sleeps for so long: nobody's time passes.
    pub fn slept(&mut self, time: u64) {
        for waiting in self.waiting.values_mut() {
            waiting.since += time;
        }
        for since in [&mut self.alone_since, &mut self.unmet_since]
            .into_iter()
            .flatten()
        {
            *since += time;
        }
        self.started += time;
    }

    /// The other side has introduced itself.
    pub fn greeted(&mut self) {
        self.greeted = true;
        self.unmet_since = None;
    }

    /// Tells whether a link is there over which the other side has introduced itself.
    pub fn is_greeted(&self) -> bool {
        self.greeted && self.alone_since.is_none()
    }

    /// The process has started.
    pub fn started(&mut self, now: u64) {
        self.started = now;
    }

    /// The store has refused a commit.
    pub fn commit_refused(&mut self, now: u64) {
        self.refused.push(now);
    }

    /// No link is there from here on.
    pub fn alone(&mut self, now: u64) {
        self.greeted = false;
        self.unmet_since.get_or_insert(now);
        self.alone_since.get_or_insert(now);
    }

    /// Returns how many calls wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The process ended, and with it all who waited.
    pub fn crash(&mut self) {
        self.waiting.clear();
        self.refused.clear();
        self.alone_since = None;
        self.unmet_since = None;
    }
}
