//! P6 and P9: attempts end, and not before their time.
//!
//! Law: a chunk is given up only when more attempts than are allowed failed since the last
//! progress on its object, or since the process started. What counts as failed is counted
//! here on the wire and on the disk; a read that fails before its deadline needs that, or a
//! link that was gone for as long, or a process that stops.

use std::collections::BTreeMap;

use tandem_core::ids::ObjectId;

use super::{Failure, Verdict};

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Retries {
    failed: BTreeMap<ObjectId, u32>,
}

impl Retries {
    /// An attempt at an object failed: on the wire, by its hash, or on the disk.
    pub fn failed(&mut self, object: ObjectId) {
        *self.failed.entry(object).or_default() += 1;
    }

    /// A chunk of an object was stored.
    pub fn progress(&mut self, object: ObjectId) {
        self.failed.remove(&object);
    }

    /// The process ended.
    pub fn crash(&mut self) {
        self.failed.clear();
    }

    /// Tells whether so many attempts failed at any object that it may be given up.
    pub fn any(&self, allowed: u32) -> bool {
        self.failed.values().any(|failed| *failed > allowed)
    }

    /// Judges that an object is given up.
    pub fn given_up(&self, object: ObjectId, allowed: u32) -> Verdict {
        let failed = self.failed.get(&object).copied().unwrap_or(0);
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
