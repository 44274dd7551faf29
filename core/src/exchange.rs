//! The stream of registers to one peer.
//!
//! Law: registers go out in our order of arrival, each after it was stored here, and never one
//! that the peer is known to know. Whenever everything has gone out, and nothing waits to be stored, our knowledge of that
//! moment goes with it, and only then: so a peer's knowledge never covers what it was not sent.
//! At most [`BATCHES_IN_FLIGHT_MAX`] batches are unacknowledged, so a slow peer holds no memory. They
//! are acknowledged one after the other: a peer that says so of one twice has said nothing of the next.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::ids::{Arrival, Dot};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_REGISTERS_MAX, BATCHES_IN_FLIGHT_MAX, EDIT_REGISTERS_MAX,
};
use crate::message::Batch;
use crate::tree::register::{Body, Register};
use crate::tree::store::Registers;
use crate::version::VersionVector;

/// Where one peer stands in our stream.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Everything up to here was sent, or is known to the peer.
    pub cursor: Arrival,
    /// Everything up to here the peer was told that it has had: less than `cursor` while
    /// something below is replaced and the new is not stored, since a kill would bring it back.
    pub said: Arrival,
    /// Everything up to here was acknowledged, or was known.
    pub acked: Arrival,
    /// What the peer is known to know.
    pub theirs: VersionVector,
    /// Updates that the peer has sent on this link and that `theirs` does not cover: it has them,
    /// and is not sent them back.
    pub heard: BTreeSet<Dot>,
    /// Batches sent and not acknowledged, in their order.
    pub in_flight: VecDeque<Sent>,
    /// Whether our knowledge of the end of the stream was ever sent on this link.
    pub told: bool,
}

/// A batch that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Up to where it said that everything was had: so it is acknowledged.
    said: Arrival,
    /// Where the cursor stood behind it.
    cursor: Arrival,
}

impl Outbox {
    /// Returns the next batch, if there is anything to say and room to say it.
    ///
    /// `upto` and `knowledge` are what is stored here.
    pub(crate) fn next_batch(
        &mut self,
        registers: &Registers,
        upto: Arrival,
        knowledge: &VersionVector,
    ) -> Option<Batch> {
        if self.in_flight.len() >= BATCHES_IN_FLIGHT_MAX as usize {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut reached = self.cursor;
        let mut ended = true;
        let mut before = None;
        for (arrival, register) in registers.after(self.cursor) {
            if arrival > upto {
                break;
            }
            let stamp = register.stamp();
            // The registers of one edit go out in one piece: a peer that has the first of them
            // only would show what never was.
            let edit = (stamp.dot.actor, stamp.lamport);
            let is_full =
                batch.len() >= BATCH_REGISTERS_MAX - EDIT_REGISTERS_MAX || bytes >= BATCH_BYTES_MAX;
            if (is_full && before != Some(edit)) || batch.len() >= BATCH_REGISTERS_MAX {
                ended = false;
                break;
            }
            before = Some(edit);
            reached = arrival;
            let dot = stamp.dot;
            if !self.theirs.covers(dot) && !self.heard.contains(&dot) {
                bytes += weight(&register);
                batch.push(register);
            }
        }
        if ended {
            reached = reached.max(upto);
        }
        // While anything here waits to be stored, it may have replaced what would have been sent
        // before it: then what is known is not all on its way.
        let is_all = ended && upto == registers.last_arrival();
        let news = is_all && !(self.told && self.theirs.includes(knowledge));
        if batch.is_empty() && !news {
            self.cursor = reached;
            return None;
        }
        if self.in_flight.is_empty() {
            self.acked = self.cursor;
        }
        self.cursor = reached;
        let hole = registers.first_hole(self.said);
        let had = hole.map_or(reached, |hole| Arrival(hole.0 - 1).min(reached));
        self.said = self.said.max(had);
        self.in_flight.push_back(Sent {
            said: self.said,
            cursor: reached,
        });
        if news {
            // What is sent in order on one link need not be sent again on it.
            self.theirs.merge(knowledge);
            self.told = true;
        }
        Some(Batch {
            upto: self.said,
            registers: batch,
            knowledge: news.then(|| knowledge.clone()),
        })
    }

    /// Notes an update that the peer has sent.
    pub(crate) fn hear(&mut self, dot: Dot) {
        if !self.theirs.covers(dot) {
            self.heard.insert(dot);
        }
    }

    /// Notes what the peer knows.
    pub(crate) fn learn(&mut self, theirs: VersionVector) {
        self.theirs = theirs;
        self.heard.retain(|dot| !self.theirs.covers(*dot));
    }

    /// Takes in an acknowledgement; false if it acknowledges what was not sent.
    pub(crate) fn ack(&mut self, upto: Arrival) -> bool {
        let is_it = |sent: &mut Sent| sent.said == upto;
        let Some(sent) = self.in_flight.pop_front_if(is_it) else {
            return false;
        };
        self.acked = sent.cursor;
        true
    }

    /// Returns whether everything up to `upto` was acknowledged, or was known.
    pub(crate) fn has_acked(&self, upto: Arrival) -> bool {
        self.acked >= upto || (self.in_flight.is_empty() && self.cursor >= upto)
    }

    /// Returns how many registers up to `upto` are not acknowledged, at most.
    pub(crate) fn behind(&self, upto: Arrival) -> u64 {
        let had = if self.in_flight.is_empty() {
            self.cursor
        } else {
            self.acked
        };
        upto.0.saturating_sub(had.0)
    }
}

/// Returns about how many bytes a register takes on the wire.
fn weight(register: &Register) -> usize {
    const FIXED: usize = 96;
    FIXED
        + match register {
            Register::Entry(entry) => {
                let dead = entry
                    .deleted
                    .as_ref()
                    .map_or(0, |known| known.actors() * 16);
                let before = entry
                    .previous
                    .as_ref()
                    .map_or(0, |(_, name)| name.as_bytes().len());
                entry.name.as_bytes().len() + before + dead
            }
            Register::Attrs(attrs) => {
                let one =
                    |(name, value): (&crate::tree::name::XattrName, &alloc::sync::Arc<[u8]>)| {
                        name.as_bytes().len() + value.len()
                    };
                attrs.xattrs.iter().map(one).sum()
            }
            Register::Content(content) => {
                let target = match &content.body {
                    Body::File { .. } => 0,
                    Body::Link { target } => target.as_bytes().len(),
                };
                let changed = content.changed.as_ref();
                let runs = changed.map_or(0, |changed| changed.runs().len());
                content.context.actors() * 16 + content.beside.len() * 16 + target + runs * 10
            }
            Register::Digest(_) => 0,
        }
}
