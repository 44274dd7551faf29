//! P5 resume: a verified chunk is fetched once.
//!
//! A chunk is held from the moment at which its bytes and its record were written, a kill
//! notwithstanding, until a power loss took what was not complete, its object was removed or
//! made anew, or the disk failed on it. What is held, or on its way on a live link, is not asked
//! for.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::ids::{ChunkHash, FetchId, LinkId, ObjectId, PayloadId};
use tandem_core::message::Want;

use super::{Failure, Verdict};

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Resume {
    held: BTreeMap<Want, ChunkHash>,
    asked: BTreeMap<FetchId, (LinkId, Want)>,
    here: BTreeMap<PayloadId, (Want, ChunkHash)>,
    /// Objects on which the disk failed: their sidecars count again once they were loaded.
    doubtful: BTreeSet<ObjectId>,
    fetches: u64,
}

impl Resume {
    /// A chunk is asked for.
    pub fn fetch(&mut self, fetch: FetchId, link: LinkId, want: Want) -> Verdict {
        self.fetches += 1;
        if self.held.contains_key(&want) {
            let what = format!("{want:?} is held and fetched again");
            return Err(Failure::safety("P5", what));
        }
        if self.asked.values().any(|asked| *asked == (link, want)) {
            let what = format!("{want:?} is asked for twice at once on {link}");
            return Err(Failure::safety("P5", what));
        }
        match self.asked.insert(fetch, (link, want)) {
            None => Ok(()),
            Some(_) => Err(Failure::safety("P7", format!("{fetch} was used twice"))),
        }
    }

    /// A fetch has ended; with good bytes, if there is a payload.
    pub fn fetched(&mut self, fetch: FetchId, good: Option<(PayloadId, ChunkHash)>) {
        if let Some((_, want)) = self.asked.remove(&fetch)
            && let Some((payload, hash)) = good
        {
            self.here.insert(payload, (want, hash));
        }
    }

    /// A link has ended, and its fetches with it.
    pub fn link_down(&mut self, link: LinkId) {
        self.asked.retain(|_, (on, _)| *on != link);
    }

    /// A payload was stored, with its record, or could not be.
    pub fn stored(&mut self, payload: PayloadId, done: bool) {
        if let Some((want, hash)) = self.here.remove(&payload)
            && done
            && !self.doubtful.contains(&want.object)
        {
            self.held.insert(want, hash);
        }
    }

    /// Stored bytes were hashed.
    pub fn hashed(&mut self, want: Want, hash: ChunkHash) {
        if self.held.get(&want).is_some_and(|held| *held != hash) {
            self.held.remove(&want);
        }
    }

    /// An object was removed or made anew.
    pub fn forget(&mut self, object: ObjectId) {
        self.held.retain(|want, _| want.object != object);
        self.doubtful.remove(&object);
    }

    /// The disk failed on an object.
    pub fn doubt(&mut self, object: ObjectId) {
        self.forget(object);
        self.doubtful.insert(object);
    }

    /// An object was loaded.
    pub fn loaded(&mut self, object: ObjectId) {
        self.doubtful.remove(&object);
    }

    /// The process ended; with power loss, only complete objects are sure.
    pub fn crash(&mut self, complete: Option<&BTreeSet<ObjectId>>) {
        self.asked.clear();
        self.here.clear();
        self.doubtful.clear();
        if let Some(complete) = complete {
            self.held.retain(|want, _| complete.contains(&want.object));
        }
    }

    /// Returns the objects of which something is held.
    pub fn objects(&self) -> BTreeSet<ObjectId> {
        self.held.keys().map(|want| want.object).collect()
    }

    /// Returns how many chunks are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns how many fetches there were.
    pub fn fetches(&self) -> u64 {
        self.fetches
    }
}
