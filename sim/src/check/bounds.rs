//! P6 bounded: queues, payloads and messages stay below their limits.

use std::collections::BTreeMap;

use tandem_core::action::DiskWish;
use tandem_core::ids::LinkId;
use tandem_core::limits::{
    ASKS_PER_LINK_MAX, BATCH_REGISTERS_MAX, BATCHES_IN_FLIGHT_MAX, LISTS_IN_FLIGHT_MAX,
};
use tandem_core::message::Message;

use super::{Failure, Verdict};

/// Actions after one event, at most: far above a full rescan of a simulated folder.
const ACTIONS_MAX: u64 = 200_000;

/// The account of one peer.
#[derive(Debug, Default)]
pub struct Bounds {
    unacked: BTreeMap<LinkId, i64>,
    lists: usize,
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
            if *unacked > i64::from(BATCHES_IN_FLIGHT_MAX) {
                return Err(over("batches that are not acknowledged", *unacked));
            }
        }
        Ok(())
    }

    /// A message was heard.
    pub fn heard(&mut self, link: LinkId, message: &Message) {
        if let Message::Ack(_) = message {
            *self.unacked.entry(link).or_default() -= 1;
        }
    }

    /// A link ended.
    pub fn link_down(&mut self, link: LinkId) {
        self.unacked.remove(&link);
    }

    /// A disk job was given.
    pub fn begin(&mut self, wish: &DiskWish) {
        if let DiskWish::List { .. } = wish {
            self.lists += 1;
        }
    }

    /// A disk job has ended.
    pub fn end(&mut self, wish: &DiskWish) {
        if let DiskWish::List { .. } = wish {
            self.lists = self.lists.saturating_sub(1);
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
