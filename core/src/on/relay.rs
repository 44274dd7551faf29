//! A host passes on what one joiner has and another needs.
//!
//! What is written over a version that the host has not yet, or never had all of, needs the bytes of
//! that version around it; and joiners know no way to each other but by the host.
//!
//! Law (P1, P6): nothing of it is stored, and its owner's hash goes along, so that who asked proves
//! it as any other chunk. It has its share of the window of the link over which it comes, waits for
//! room there for a moment, and ends with that link, or when that brings nothing for long.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::{Action, DiskWish};
use crate::engine::Engine;
use crate::event::Fetched;
use crate::ids::{AskId, ChunkIx, FetchId, LinkId, NodeId, ObjectId};
use crate::limits::{CHUNK_SIZES, LANES};
use crate::message::{Answer, Want};
use crate::object::{Object, Stage};
use crate::on::disk::Job;
use crate::on::fetch::{Fetch, STALL};
use crate::on::serve::besides;
use crate::time::Duration;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::Body;

/// How long an ask waits for room on the link over which it would be passed on. What takes the room
/// may itself wait for this ask, where two joiners each need what the other one has: then one of
/// the two is to give way soon. So it is with what a joiner lends. By eye.
pub(crate) const ROOM_WAIT: Duration = Duration::from_secs(1);

/// A chunk that was asked for on behalf of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    /// Who waits for it.
    pub ask: AskId,
    /// On which link it was asked for.
    pub link: LinkId,
    /// Of which version.
    pub object: ObjectId,
    /// Which chunk.
    pub chunk: ChunkIx,
    /// How many bytes it has.
    pub len: u32,
}

impl Engine {
    /// Answers an ask out of what came of a version that does not stand in the folder; else asks who
    /// made it. True if either can be done.
    pub(crate) fn serve_in_part(&mut self, ask: AskId) -> bool {
        let want = self.asks.get(&ask).map(|serving| serving.want);
        let Some(Want { object, chunk, .. }) = want else {
            return false;
        };
        let is_here = |kept: &Object| match kept.stage {
            Stage::Partial | Stage::Finishing | Stage::Complete => kept.held().has(chunk),
            Stage::Unknown
            | Stage::Loading
            | Stage::Absent
            | Stage::Creating
            | Stage::Syncing
            | Stage::Broken => false,
        };
        if self.objects.get(&object).is_some_and(is_here) {
            self.serve_stored(ask);
            return true;
        }
        self.serve_as_other(ask) || self.relay(ask)
    }

    /// Answers an ask out of an object of another version whose chunk came as the one that is asked
    /// for; false if there is none.
    fn serve_as_other(&mut self, ask: AskId) -> bool {
        let Some(serving) = self.asks.get(&ask).copied() else {
            return false;
        };
        let Want {
            object,
            chunk,
            have,
        } = serving.want;
        let Some(file) = self.keeper_of(object, chunk).filter(|file| *file != object) else {
            return false;
        };
        let Some(kept) = self.objects.get(&file) else {
            return false;
        };
        let (offset, len) = kept.held().chunk_range(chunk);
        if len != serving.said || !kept.is_readable(offset, len) {
            return false;
        }
        if let Some(serving) = self.asks.get_mut(&ask) {
            serving.len = len;
        }
        let wish = DiskWish::ReadStored {
            object: file,
            offset,
            len,
            besides: besides(have, len),
        };
        self.job(Job::ServeStored { ask, file }, wish);
        true
    }

    /// Returns whether a chunk is asked for already, or may be here: whoever waits for it asks again.
    fn is_on_its_way(&self, object: ObjectId, chunk: ChunkIx) -> bool {
        let ObjectId { node, version } = object;
        let is_asked = |fetch: &Fetch| {
            (fetch.object.node, fetch.version, fetch.chunk) == (node, version, chunk)
        };
        let may_be_here = match self.objects.get(&object) {
            Some(kept) => kept.whole || !kept.lacks(chunk),
            // What waits to be removed is here to that moment.
            None => self.kept.contains_key(&object) || self.discards.contains_key(&object),
        };
        may_be_here || self.fetches.values().any(is_asked) || self.is_relayed(object, chunk)
    }

    /// Returns whether a chunk is being passed on.
    pub(crate) fn is_relayed(&self, object: ObjectId, chunk: ChunkIx) -> bool {
        let mut relays = self.relays.values();
        relays.any(|relay| (relay.object, relay.chunk) == (object, chunk))
    }

    /// Asks who made a version for a chunk of it that a peer asks for and that is not here: true if
    /// that can be asked.
    fn relay(&mut self, ask: AskId) -> bool {
        let Some(serving) = self.asks.get(&ask).copied() else {
            return false;
        };
        let (object, chunk, len) = (serving.want.object, serving.want.chunk, serving.said);
        let author = |link: &LinkId| {
            let link = self.links.links.get(link);
            link.is_some_and(|link| link.actor == object.version.actor)
        };
        let Some(link) = self.holders().find(author) else {
            return false;
        };
        let is_possible =
            len > 0 && len <= *CHUNK_SIZES.end() && self.may_be_as_long(object, chunk, len);
        if !is_possible || link == serving.link || self.is_on_its_way(object, chunk) {
            return false;
        }
        if self.waits_for(link, serving.link, object, chunk) {
            self.answer(ask, Answer::NotHeld);
            return true;
        }
        let node = object.node;
        let window = self.config.window;
        let has_room =
            self.links.links.get(&link).is_some_and(|link| {
                link.in_flight == 0 || link.in_flight + u64::from(len) <= window
            });
        if !has_room || !self.has_lanes_for(link, node) {
            // To say at once that it is not here would count as an attempt, and they would run out
            // over what else is on its way.
            if !self.unrelayed.contains(&ask) {
                self.unrelayed.push_back(ask);
                let timer = Timer::Unrelayed(ask);
                self.timers.set_sooner(timer, self.now + ROOM_WAIT);
            }
            return true;
        }
        self.timers.cancel(Timer::Unrelayed(ask));
        if let Some(source) = self.links.links.get_mut(&link) {
            source.in_flight += u64::from(len);
            source.lanes.insert(node);
        }
        if let Some(serving) = self.asks.get_mut(&ask) {
            serving.len = len;
        }
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.counters.chunks_asked += 1;
        let relay = Relay {
            ask,
            link,
            object,
            chunk,
            len,
        };
        self.relays.insert(fetch, relay);
        self.timers.set(Timer::Fetch(fetch), self.now + STALL);
        // What the asker holds is not named: a tail would have to be joined to be passed on.
        let want = Want {
            object,
            chunk,
            have: None,
        };
        self.act(Action::Fetch {
            fetch,
            link,
            lane: chunk.0 % LANES,
            want,
            len,
        });
        true
    }

    /// Returns whether a chunk of a version may have so many bytes: of one that is known, it is known.
    fn may_be_as_long(&self, object: ObjectId, chunk: ChunkIx, len: u32) -> bool {
        let content = self.tree.registers().content(object);
        match content.map(|content| &content.body) {
            Some(Body::File { size, chunk_size }) => {
                let offset = u64::from(chunk.0) * u64::from(*chunk_size);
                size.saturating_sub(offset).min(u64::from(*chunk_size)) == u64::from(len)
            }
            Some(Body::Link { .. }) => false,
            None => true,
        }
    }

    /// Returns whether a peer waits for what another one is to have of a chunk, through however many:
    /// where each needs it of the next, none of them has it, and they would wait for ever.
    fn waits_for(&self, link: LinkId, other: LinkId, object: ObjectId, chunk: ChunkIx) -> bool {
        let mut open = alloc::vec![link];
        let mut met = BTreeSet::new();
        while let Some(at) = open.pop() {
            if at == other {
                return true;
            }
            if !met.insert(at) {
                continue;
            }
            let is_of = |relay: &&Relay| {
                let asker = self.asks.get(&relay.ask).map(|serving| serving.link);
                is_kin(relay.object, object) && relay.chunk == chunk && asker == Some(at)
            };
            open.extend(self.relays.values().filter(is_of).map(|relay| relay.link));
        }
        false
    }

    /// Looks again at the asks that wait for room, if there may be some.
    pub(crate) fn pump_relays(&mut self) {
        if !core::mem::take(&mut self.has_made_room) {
            return;
        }
        for ask in core::mem::take(&mut self.unrelayed) {
            self.serve(ask);
        }
    }

    /// An ask has waited for room for as long as it may.
    pub(crate) fn unrelayed_for_long(&mut self, ask: AskId) {
        if self.unrelayed.contains(&ask) {
            self.unrelayed.retain(|waits| *waits != ask);
            self.answer(ask, Answer::NotHeld);
        }
    }

    /// A chunk that is passed on has come, or has not.
    pub(crate) fn relayed(&mut self, fetch: FetchId, outcome: Fetched) {
        self.timers.cancel(Timer::Fetch(fetch));
        let Some(relay) = self.relays.remove(&fetch) else {
            return;
        };
        self.heard_on(relay.link);
        if let Some(link) = self.links.links.get_mut(&relay.link) {
            link.brought = self.now;
        }
        self.landed_bytes(relay.link, relay.len);
        let answer = match outcome {
            Fetched::Data {
                payload,
                len,
                computed,
                recorded,
            } if len == relay.len && computed == recorded => Answer::Data {
                hash: recorded,
                payload,
            },
            Fetched::Data { payload, .. } | Fetched::Tail { payload, .. } => {
                self.counters.chunks_dropped += 1;
                self.act(Action::Drop { payload });
                Answer::Failed
            }
            Fetched::Hole { .. } => Answer::Hole,
            Fetched::Gone => Answer::Gone,
            Fetched::NotHeld => Answer::NotHeld,
            // Nothing was named that it could be the same as.
            Fetched::Same | Fetched::Failed => Answer::Failed,
        };
        self.answer(relay.ask, answer);
        self.close_idle_lanes(relay.object.node);
    }

    /// Returns the files of which chunks are passed on from a link.
    pub(crate) fn relayed_on(&self, link: LinkId) -> impl Iterator<Item = NodeId> {
        let relays = self.relays.values();
        let of = relays.filter(move |relay| relay.link == link);
        of.map(|relay| relay.object.node)
    }

    /// A link has ended: who waits for what was to come over it is told.
    pub(crate) fn relays_lost(&mut self, link: LinkId) {
        let is_on = |(_, relay): &(&FetchId, &Relay)| relay.link == link;
        let lost: Vec<(FetchId, Relay)> = self
            .relays
            .iter()
            .filter(is_on)
            .map(|(fetch, relay)| (*fetch, *relay))
            .collect();
        for (fetch, relay) in lost {
            self.relays.remove(&fetch);
            self.timers.cancel(Timer::Fetch(fetch));
            self.answer(relay.ask, Answer::Failed);
        }
    }
}

/// Returns whether one of two may need the bytes of the other one: versions of one file, or what was
/// made of a conflict copy and the version that this is a copy of.
fn is_kin(a: ObjectId, b: ObjectId) -> bool {
    let is_made_of = |a: ObjectId, b: ObjectId| conflict::copied(a.node) == Some(b.version);
    a.node == b.node || is_made_of(a, b) || is_made_of(b, a)
}
