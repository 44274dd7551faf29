//! P6 and P9: attempts end, and not before their time.
//!
//! Law: a chunk is given up only when more attempts than are allowed failed since the last
//! progress on its object, or since the process started. And no more fail than are allowed, of each
//! chunk that is under way, until there is progress, a new call, or a new link. What counts as failed is counted
//! here on the wire and on the disk; a read that fails before its deadline needs that, or a
//! link that was gone for as long, or a process that stops.

use std::collections::BTreeMap;

use tandem_core::ids::ObjectId;

use super::{Failure, Verdict};

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Retries {
    failed: BTreeMap<ObjectId, u32>,
    /// Since anything happened that allows for more.
    in_a_row: BTreeMap<ObjectId, Row>,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    failed: u32,
    /// How many attempts were under way at once: they may fail together.
    at_once: u32,
}

impl Retries {
    /// An attempt at an object failed: on the wire, by its hash, or on the disk, while so many others
    /// were under way.
    pub fn failed(&mut self, object: ObjectId, under_way: usize) {
        *self.failed.entry(object).or_default() += 1;
        let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
        let row = self.in_a_row.entry(object).or_default();
        row.failed += 1;
        row.at_once = row.at_once.max(under_way);
    }

    /// Who was asked for a chunk of an object went.
    pub fn lost(&mut self, object: ObjectId) {
        *self.failed.entry(object).or_default() += 1;
    }

    /// Somebody asks for something, or a link has come: all may be tried again.
    pub fn afresh(&mut self) {
        self.in_a_row.clear();
    }

    /// Judges that attempts end: no more failed in a row than are allowed, beside the first, of as
    /// many chunks as were under way together.
    pub fn check(&self, allowed: u32) -> Verdict {
        let is_over = |row: &Row| row.failed > (allowed + 1).saturating_mul(row.at_once + 1);
        match self.in_a_row.iter().find(|(_, row)| is_over(row)) {
            None => Ok(()),
            Some((object, row)) => {
                let what = format!("{object:?}: {row:?} in a row; {allowed} are allowed");
                Err(Failure::new(super::Kind::Liveness, "P6", what))
            }
        }
    }

    /// A chunk of an object was stored.
    pub fn progress(&mut self, object: ObjectId) {
        self.failed.remove(&object);
        self.in_a_row.remove(&object);
    }

    /// The process ended.
    pub fn crash(&mut self) {
        self.failed.clear();
        self.in_a_row.clear();
    }

    /// Tells whether so many attempts failed at any object that it may be given up.
    pub fn any(&self, allowed: u32) -> bool {
        self.failed.values().any(|failed| *failed > allowed)
    }

    /// Judges that an object is given up.
    pub fn given_up(&self, object: ObjectId, allowed: u32) -> Verdict {
        // It may have been asked for as a chunk of another version of the file.
        let of_file = |(of, _): &(&ObjectId, &u32)| of.node == object.node;
        let failed: u32 = self.failed.iter().filter(of_file).map(|(_, n)| *n).sum();
        if failed > allowed {
            return Ok(());
        }
        let what = format!(
            "{object:?} is given up after {failed} failed attempts since the last progress; \
             {allowed} are allowed"
        );
        Err(Failure::new(super::Kind::Liveness, "P9", what))
    }
}
