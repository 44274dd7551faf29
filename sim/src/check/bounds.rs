//! P6 bounded: queues, payloads and messages stay below their limits.
//!
//! Law: the numbers are written here once more, so that one that is raised in the core by mistake
//! does not raise the yardstick with it.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::DiskWish;
use tandem_core::ids::{FetchId, LinkId, NodeId};
use tandem_core::message::Message;

use super::{Failure, Verdict};
use crate::config::SEC;

/// Registers in one batch.
const BATCH_REGISTERS_MAX: usize = 2_048;
/// Batches that are not acknowledged, on a link.
const BATCHES_IN_FLIGHT_MAX: i64 = 4;
/// Asks under way on a link; each may have a payload parked.
const ASKS_PER_LINK_MAX: usize = 256;
/// Listings, and looks at names, under way.
const LISTS_IN_FLIGHT_MAX: usize = 4;
const LOOKS_IN_FLIGHT_MAX: usize = 64;
/// Actions after one event, at most: far above a full rescan of a simulated folder.
const ACTIONS_MAX: u64 = 200_000;

/// How long what was asked for counts, in nanoseconds: the room of a chunk for which a link that
/// lives has brought nothing for so long is given back.
const STALL: u64 = 120 * SEC;

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Bounds {
    unacked: BTreeMap<LinkId, i64>,
    lists: usize,
    looks: usize,
    /// Files whose lanes are open.
    lanes: BTreeMap<LinkId, BTreeSet<NodeId>>,
    /// What was asked for and was not answered: on which link, how many bytes, when.
    asked: BTreeMap<FetchId, (LinkId, u64, u64)>,
}

fn over(what: &str, count: impl std::fmt::Display) -> Failure {
    Failure::safety("P6", format!("{what}: {count}"))
}

impl Bounds {
    /// A message was sent.
    pub fn sent(&mut self, link: LinkId, message: &Message) -> Verdict {
        if let Message::Registers(batch) = message {
            let unacked = self.unacked.entry(link).or_default();
            *unacked += 1;
            if batch.registers.len() > BATCH_REGISTERS_MAX {
                return Err(over("registers in a batch", batch.registers.len()));
            }
            if *unacked > BATCHES_IN_FLIGHT_MAX {
                return Err(over("batches that are not acknowledged", *unacked));
            }
        }
        Ok(())
    }

    /// A message was heard.
    pub fn heard(&mut self, link: LinkId, message: &Message) {
        if let Message::Ack(_) = message {
            // To acknowledge what was not sent gives no credit.
            let unacked = self.unacked.entry(link).or_default();
            *unacked = (*unacked - 1).max(0);
        }
    }

    /// A chunk of so many bytes is asked for, on a link on which the lanes of so many files may be
    /// open and so many bytes under way: one chunk may be larger. Tells of each whether another
    /// such has no room.
    pub fn asked(
        &mut self,
        now: u64,
        fetch: FetchId,
        (link, node): (LinkId, NodeId),
        bytes: u64,
        (files, window): (usize, u64),
    ) -> Result<(bool, bool), Failure> {
        let lanes = self.lanes.entry(link).or_default();
        lanes.insert(node);
        if lanes.len() > files {
            return Err(over("files whose lanes are open", lanes.len()));
        }
        self.asked.insert(fetch, (link, bytes, now));
        let counts = |(on, _, at): &&(LinkId, u64, u64)| *on == link && now < *at + STALL;
        let under_way: u64 = self
            .asked
            .values()
            .filter(counts)
            .map(|asked| asked.1)
            .sum();
        if under_way > window.max(bytes) {
            return Err(over("bytes that are asked for", under_way));
        }
        Ok((lanes.len() == files, under_way + bytes > window))
    }

    /// The lanes of a file are closed.
    pub fn lanes_closed(&mut self, link: LinkId, node: NodeId) {
        if let Some(lanes) = self.lanes.get_mut(&link) {
            lanes.remove(&node);
        }
    }

    /// A chunk was answered, or will not be.
    pub fn fetched(&mut self, fetch: FetchId) {
        self.asked.remove(&fetch);
    }

    /// A link ended.
    pub fn link_down(&mut self, link: LinkId) {
        self.unacked.remove(&link);
        self.lanes.remove(&link);
        self.asked.retain(|_, (on, ..)| *on != link);
    }

    /// A disk job was given.
    pub fn begin(&mut self, wish: &DiskWish) {
        if let DiskWish::List { .. } = wish {
            self.lists += 1;
        } else if let DiskWish::Look { .. } = wish {
            self.looks += 1;
        }
    }

    /// A disk job has ended.
    pub fn end(&mut self, wish: &DiskWish) {
        if let DiskWish::List { .. } = wish {
            self.lists = self.lists.saturating_sub(1);
        } else if let DiskWish::Look { .. } = wish {
            self.looks = self.looks.saturating_sub(1);
        }
    }

    /// An event was handled, with so many actions; so many payloads are parked, and there are so
    /// many links.
    pub fn drained(&self, actions: u64, payloads: usize, links: usize) -> Verdict {
        if actions > ACTIONS_MAX {
            return Err(over("actions after one event", actions));
        }
        if self.lists > LISTS_IN_FLIGHT_MAX {
            return Err(over("listings at once", self.lists));
        }
        // The root is looked at beside them.
        if self.looks > LOOKS_IN_FLIGHT_MAX + 1 {
            return Err(over("looks at once", self.looks));
        }
        if payloads > 2 * ASKS_PER_LINK_MAX * (links + 1) {
            return Err(over("payloads that are parked", payloads));
        }
        Ok(())
    }

    /// The process ended.
    pub fn crash(&mut self) {
        *self = Self::default();
    }
}
