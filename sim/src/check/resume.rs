//! P5 resume: a verified chunk is fetched once.
//!
//! A chunk is held from the moment at which its bytes and its record were written, a kill
//! notwithstanding, until a power loss took what was not complete, its object was removed or
//! made anew, or the disk failed on it. What is held, or on its way on a live link, is not asked
//! for; nor is what was made of bytes of another object, or is a hole; and nothing is while the
//! disk is in doubt, since it could not be stored.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::ids::{ChunkHash, FetchId, LinkId, ObjectId, PayloadId};
use tandem_core::message::Want;

use super::{Failure, Verdict};

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Resume {
    held: BTreeMap<Want, ChunkHash>,
    /// As what those of them were asked for that came from peers.
    came_as: BTreeMap<Want, Want>,
    asked: BTreeMap<FetchId, (LinkId, Want)>,
    here: BTreeMap<PayloadId, (Want, ChunkHash)>,
    /// Objects on which the disk failed: their sidecars count again once they were loaded.
    doubtful: BTreeSet<ObjectId>,
    /// Objects on which the disk failed, as the engine was told, and which it has not looked at
    /// since.
    refused: BTreeSet<ObjectId>,
    /// Objects of which the engine was told that they could not be put into the folder, and which
    /// it has not looked at since; and those that it has removed.
    unplaced: BTreeSet<ObjectId>,
    /// Objects of which the engine was told what is there.
    known: BTreeSet<ObjectId>,
    fetches: u64,
    /// What was held, sound, until the engine threw it away.
    thrown: BTreeSet<Want>,
    /// What is held, and could not be read when it was read last, as to be copied: whoever may have
    /// it is asked.
    unread: BTreeSet<Want>,
    /// The bytes of each chunk that was asked for.
    bytes: BTreeMap<Want, Bytes>,
}

/// The bytes of a chunk: how many it has, how many were on the wire towards this peer, and how many
/// there may have been.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    len: u64,
    wire: u64,
    due: u64,
}

impl Resume {
    /// A chunk is asked for.
    pub fn fetch(
        &mut self,
        fetch: FetchId,
        link: LinkId,
        want: Want,
        (len, is_passed_on): (u64, bool),
    ) -> Verdict {
        self.fetches += 1;
        let want = Want { have: None, ..want };
        let bytes = self.bytes.entry(want).or_default();
        if bytes.len == 0 {
            bytes.due += len;
        }
        bytes.len = len;
        // It may be asked for as a chunk of another version of the file.
        let of_file = |known: &&ObjectId| known.node == want.object.node;
        let others = self.known.iter().filter(of_file);
        let is_own = others.filter(|known| **known != want.object).count() == 0;
        // What is passed on to another peer is stored nowhere.
        if is_own && !is_passed_on && self.refused.contains(&want.object) {
            let what = format!("{want:?} is asked for, and could not be stored: the disk failed");
            return Err(Failure::safety("P5", what));
        }
        if self.here.values().any(|(here, _)| *here == want) {
            let what = format!("{want:?} is being stored and asked for again");
            return Err(Failure::safety("P5", what));
        }
        // While nobody knows what became of it, or it is on its way out, another peer need not wait
        // for that.
        let is_held = self.held.contains_key(&want);
        let is_out_of_reach = is_passed_on && self.unplaced.contains(&want.object);
        if is_held && (is_out_of_reach || self.unread.contains(&want)) {
            self.excuse(want);
        } else if is_held {
            let what = format!("{want:?} is held and fetched again");
            return Err(Failure::safety("P5", what));
        }
        if self.thrown.contains(&want) {
            let what = format!("{want:?} was held, thrown away, and is fetched again");
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

    /// Bytes of a chunk were put on the wire towards this peer: at most those of the chunk once,
    /// and once more for each time that it was excused.
    pub fn sent(&mut self, want: Want, len: u64) -> Verdict {
        let bytes = self.bytes.entry(Want { have: None, ..want }).or_default();
        bytes.wire += len;
        if bytes.wire <= bytes.due {
            return Ok(());
        }
        let what = format!("of {want:?} more is on the wire than is accounted for: {bytes:?}");
        Err(Failure::safety("P5", what))
    }

    /// Bytes came for a fetch, if anybody waits for it still: see [`Resume::sent`].
    pub fn came(&mut self, fetch: FetchId, len: u64) -> Verdict {
        match self.asked.get(&fetch).copied() {
            Some((_, want)) => self.sent(want, len),
            None => Ok(()),
        }
    }

    /// A chunk may be fetched once more: what came of it was lost.
    fn excuse(&mut self, want: Want) {
        if let Some(bytes) = self.bytes.get_mut(&want) {
            bytes.due += bytes.len;
        }
    }

    /// What was held is lost, and may be fetched once more: as whatever it was asked for, and its bytes
    /// were counted.
    fn excuse_held(&mut self, want: Want) {
        let asked = self.came_as.remove(&want).unwrap_or(want);
        self.excuse(asked);
    }

    /// A fetch has ended; with good bytes, if there is a payload.
    pub fn fetched(&mut self, fetch: FetchId, good: Option<(PayloadId, ChunkHash)>) {
        match (self.asked.remove(&fetch), good) {
            (Some((_, want)), Some((payload, hash))) => {
                self.here.insert(payload, (want, hash));
            }
            (Some((_, want)), None) => self.excuse(want),
            (None, _) => {}
        }
    }

    /// A payload was dropped: nobody wanted it any more, or the disk is in doubt.
    pub fn dropped(&mut self, payload: PayloadId) {
        if let Some((want, _)) = self.here.remove(&payload) {
            self.excuse(want);
        }
    }

    /// A link has ended, and its fetches with it: a window of bytes is lost.
    pub fn link_down(&mut self, link: LinkId) {
        let on: Vec<Want> = self
            .asked
            .values()
            .filter(|(on, _)| *on == link)
            .map(|(_, w)| *w)
            .collect();
        for want in on {
            self.excuse(want);
        }
        self.asked.retain(|_, (on, _)| *on != link);
    }

    /// A payload was stored, with its record, or could not be; false if it came from no peer. It
    /// may have been asked for as a chunk of another version than the one that holds it now.
    pub fn stored(&mut self, payload: PayloadId, into: Option<ObjectId>, done: bool) -> bool {
        let Some((want, hash)) = self.here.remove(&payload) else {
            return false;
        };
        let object = into.unwrap_or(want.object);
        if done && !self.doubtful.contains(&object) {
            self.held.insert(Want { object, ..want }, hash);
            self.unread.remove(&Want { object, ..want });
            self.came_as.insert(Want { object, ..want }, want);
        } else {
            self.excuse(want);
        }
        true
    }

    /// The end of a chunk went into a payload with what was here before it, or was lost.
    pub fn joined(&mut self, tail: PayloadId, whole: Option<PayloadId>) {
        match (self.here.remove(&tail), whole) {
            (Some(here), Some(whole)) => {
                self.here.insert(whole, here);
            }
            (Some((want, _)), None) => self.excuse(want),
            (None, _) => {}
        }
    }

    /// A chunk was stored, with its record, of which no byte came from a peer.
    pub fn made(&mut self, want: Want, hash: ChunkHash) {
        if !self.doubtful.contains(&want.object) {
            self.held.insert(want, hash);
        }
    }

    /// Stored bytes were hashed.
    pub fn hashed(&mut self, want: Want, hash: ChunkHash) {
        if self.held.get(&want).is_some_and(|held| *held != hash) {
            self.held.remove(&want);
            self.excuse_held(want);
        }
    }

    /// A stored chunk could not be read.
    pub fn unreadable(&mut self, want: Want) {
        if self.held.remove(&want).is_some() {
            self.excuse_held(want);
        }
    }

    /// Stored bytes were read, to be sent or copied, or could not be.
    pub fn read(&mut self, want: Want, good: bool) {
        if good {
            self.unread.remove(&want);
        } else {
            self.unread.insert(want);
        }
    }

    /// The engine had an object removed or made anew. What was wrong with it is known here: what
    /// was not is never needed again, or should have been kept.
    pub fn thrown(&mut self, object: ObjectId) {
        if !self.refused.contains(&object) {
            let held = self.held.keys().filter(|want| want.object == object);
            self.thrown.extend(held);
        }
        self.forget(object);
    }

    /// What was there of an object is lost, or in doubt.
    pub fn forget(&mut self, object: ObjectId) {
        let is_of = |want: &Want| want.object == object;
        let held: Vec<Want> = self.held.keys().copied().filter(is_of).collect();
        for want in held {
            self.held.remove(&want);
            self.excuse_held(want);
        }
        self.unread.retain(|want| want.object != object);
        self.doubtful.remove(&object);
        self.refused.remove(&object);
        self.unplaced.remove(&object);
        self.known.remove(&object);
    }

    /// The engine was told that the disk failed on an object.
    pub fn refused(&mut self, object: ObjectId) {
        self.refused.insert(object);
    }

    /// The engine was told what is there of an object.
    pub fn found(&mut self, object: ObjectId) {
        self.refused.remove(&object);
        self.unplaced.remove(&object);
        self.known.insert(object);
    }

    /// The engine was told that an object could not be put into the folder.
    pub fn not_placed(&mut self, object: ObjectId) {
        self.unplaced.insert(object);
    }

    /// The engine has an object removed.
    pub fn let_go(&mut self, object: ObjectId) {
        self.unplaced.insert(object);
    }

    /// Tells whether the disk failed on an object that was not loaded since.
    pub fn is_doubtful(&self, object: ObjectId) -> bool {
        self.doubtful.contains(&object)
    }

    /// The disk failed on an object.
    pub fn doubt(&mut self, object: ObjectId) {
        self.forget(object);
        self.doubtful.insert(object);
    }

    /// An object was loaded.
    pub fn loaded(&mut self, object: ObjectId) {
        self.known.insert(object);
        self.doubtful.remove(&object);
    }

    /// The process ended; with power loss, only complete objects are sure.
    pub fn crash(&mut self, complete: Option<&BTreeSet<ObjectId>>) {
        let mut lost: Vec<Want> = self.asked.values().map(|(_, want)| *want).collect();
        lost.extend(self.here.values().map(|(want, _)| *want));
        self.asked.clear();
        self.here.clear();
        self.unread.clear();
        self.doubtful.clear();
        self.refused.clear();
        self.unplaced.clear();
        self.known.clear();
        if let Some(complete) = complete {
            // What made it throw something away may be lost too.
            self.thrown.clear();
            let is_lost = |want: &&Want| !complete.contains(&want.object);
            let held: Vec<Want> = self.held.keys().filter(is_lost).copied().collect();
            self.held.retain(|want, _| complete.contains(&want.object));
            for want in held {
                self.excuse_held(want);
            }
        }
        for want in lost {
            self.excuse(want);
        }
    }

    /// Everything that was stored is gone, as far as anybody knows.
    pub fn forget_all(&mut self) {
        self.crash(Some(&BTreeSet::new()));
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
