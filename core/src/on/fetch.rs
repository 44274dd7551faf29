//! Chunks are asked for, and come.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::{Action, WantState};
use crate::engine::Engine;
use crate::error::Fault;
use crate::event::Fetched;
use crate::fetch::backoff::DIAL_CAP;
use crate::ids::{ChunkHash, ChunkIx, Dot, FetchId, LinkId, NodeId, ObjectId, ReqId};
use crate::limits::LANES;
use crate::link::Link;
use crate::message::{Role, Want};
use crate::mutant::Mutant;
use crate::object::{Alias, Denied, Fare, Object, Parcel, Stage};
use crate::on::copy::Held;
use crate::time::Duration;
use crate::timers::Timer;

/// How long to wait before asking again for a chunk that its owner no longer has in that
/// version: its new version is on its way here, and makes the question idle. By eye.
const GONE_RETRY: Duration = Duration::from_millis(500);

/// The same before it is asked for as another version that has the same bytes; by eye.
const ALIAS_RETRY: Duration = Duration::from_millis(10);

/// How long a full replica waits before it asks anew for what a peer could not read, once the
/// attempts have run out: as long as between two attempts to reach somebody.
const FAILING_RETRY: Duration = DIAL_CAP;

/// How often that wait doubles, up to an hour: a peer whose disk is gone for good costs next to
/// nothing.
const FAILING_DOUBLINGS: u32 = 7;

/// How long a link may bring no chunk at all before what is asked for on it counts as failed: a
/// chunk of 512 KiB takes less at 5 kB/s. A dead link is found by its heartbeats long before.
pub(crate) const STALL: Duration = Duration::from_secs(120);

/// Chunks of a file that is wanted whole which are queued at once: enough to fill what may be in
/// flight, so that memory does not follow the size of the file.
const WHOLE_QUEUE: usize = 128;

/// A chunk that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    /// Of which version.
    pub object: ObjectId,
    /// Which chunk.
    pub chunk: ChunkIx,
    /// On which link.
    pub link: LinkId,
    /// How many bytes it has.
    pub len: u32,
    /// As of which version it was asked for.
    pub version: Dot,
    /// What is here in its place, and was named.
    pub held: Option<Held>,
    /// Whether anybody still wants it.
    pub is_of_use: bool,
}

impl Engine {
    /// Queues an object that has wanted chunks.
    pub(crate) fn queue(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object)
            && !kept.queued
        {
            kept.queued = true;
            self.demand.push_back(object);
        }
    }

    /// Wants the next chunks of a file that is wanted whole.
    pub(crate) fn want_more(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        let is_open = match kept.stage {
            Stage::Absent | Stage::Creating | Stage::Partial => true,
            Stage::Unknown
            | Stage::Loading
            | Stage::Syncing
            | Stage::Finishing
            | Stage::Complete
            | Stage::Broken => false,
        };
        if !is_open || !kept.whole || kept.wanted.len() >= WHOLE_QUEUE / 2 {
            return;
        }
        let mut next = kept.held().next_missing(ChunkIx(0));
        let mut wanted = Vec::new();
        while let Some(chunk) = next {
            if kept.wanted.len() + wanted.len() >= WHOLE_QUEUE {
                break;
            }
            if kept.lacks(chunk) {
                wanted.push(chunk);
            }
            next = chunk
                .0
                .checked_add(1)
                .and_then(|at| kept.held().next_missing(ChunkIx(at)));
        }
        kept.wanted.extend(wanted);
        if kept.wanted.is_empty() {
            self.finish_if_complete(object);
        } else {
            self.queue(object);
        }
    }

    /// Asks for what is wanted, an object after the other, as far as the window allows.
    pub(crate) fn pump_fetches(&mut self) {
        if self.source().is_none() {
            self.pump_copies();
            return;
        }
        let is_host = self.config.host.is_none();
        let mut turns = self.demand.len();
        while turns > 0 {
            turns -= 1;
            let Some(object) = self.demand.pop_front() else {
                return;
            };
            let kept = self.objects.get(&object);
            let next = kept.and_then(|kept| kept.wanted.first().copied());
            let link = self.source_of(object, next);
            if link.is_some_and(|link| self.ask_one(link, object)) {
                self.demand.push_back(object);
                turns = self.demand.len();
            } else if self.is_waiting_for_window(object) {
                if is_host {
                    // Another may be had of somebody else, whose window has room.
                    self.demand.push_back(object);
                    continue;
                }
                self.demand.push_front(object);
                return;
            } else if let Some(kept) = self.objects.get_mut(&object) {
                kept.queued = false;
            }
        }
    }

    /// Returns whether an object could be asked for, were there room.
    fn is_waiting_for_window(&self, object: ObjectId) -> bool {
        self.ancestors.are_known(object.node)
            && self
                .objects
                .get(&object)
                .is_some_and(|kept| !kept.pausing && !kept.wanted.is_empty())
    }

    /// Returns whether a host asks for a chunk already, for another version that has it too, or is
    /// about to store it: once it is here it is copied.
    fn is_asked_as(&self, object: ObjectId, version: Dot, chunk: ChunkIx) -> bool {
        if self.config.host.is_some() {
            return false;
        }
        let is_it = |fetch: &Fetch| {
            let same = (fetch.object.node, fetch.version, fetch.chunk);
            same == (object.node, version, chunk) && fetch.object != object
        };
        let other = ObjectId { version, ..object };
        let kept = self.objects.get(&other).filter(|_| other != object);
        let is_being_stored = kept.is_some_and(|kept| kept.storing.contains(&chunk));
        is_being_stored || self.fetches.values().any(is_it)
    }

    /// Takes up a fetch on a link that nobody wanted any more when its object was given up: it is
    /// of use again. False if there is none for this chunk.
    fn take_up(&mut self, link: LinkId, object: ObjectId, version: Dot, chunk: ChunkIx) -> bool {
        let is_it = |fetch: &Fetch| {
            let of = (fetch.link, fetch.object, fetch.version, fetch.chunk);
            of == (link, object, version, chunk) && !fetch.is_of_use
        };
        let found = self.fetches.iter_mut().find(|(_, fetch)| is_it(fetch));
        let (Some((&fetch, asked)), Some(kept)) = (found, self.objects.get_mut(&object)) else {
            return false;
        };
        asked.is_of_use = true;
        kept.wanted.remove(&chunk);
        kept.asked.insert(chunk, fetch);
        true
    }

    /// Asks for the next chunk of an object; false if there is none, or no room.
    fn ask_one(&mut self, link: LinkId, object: ObjectId) -> bool {
        let Some(kept) = self.objects.get(&object) else {
            return false;
        };
        if kept.pausing {
            return false;
        }
        let Some(&chunk) = kept.wanted.first() else {
            return false;
        };
        if !self.recall_ancestors(object.node) {
            return false;
        }
        if self.is_as_base(object, chunk) {
            return self.copy_one(object, chunk);
        }
        let version = self.asked_as(object, chunk);
        let as_asked = ObjectId { version, ..object };
        if self.is_asked_as(object, version, chunk) || self.is_relayed(as_asked, chunk) {
            self.pause(object, Some(ALIAS_RETRY));
            return false;
        }
        if self.take_up(link, object, version, chunk) {
            return true;
        }
        let held = self.held_for(object, chunk);
        if held.is_none() && self.is_beneath_unknown(object, chunk) {
            return self.look_beneath(object, chunk);
        }
        let Some(kept) = self.objects.get(&object) else {
            return false;
        };
        let (_, len) = kept.held().chunk_range(chunk);
        let bytes = u64::from(len);
        let window = if self.has(Mutant::WindowIgnored) {
            u64::MAX / 2
        } else {
            self.config.window
        };
        let has_room = |source: &Link| source.in_flight == 0 || source.in_flight + bytes <= window;
        if !self.links.links.get(&link).is_some_and(has_room)
            || !self.has_lanes_for(link, object.node)
        {
            return false;
        }
        let (Some(kept), Some(source)) = (
            self.objects.get_mut(&object),
            self.links.links.get_mut(&link),
        ) else {
            return false;
        };
        source.in_flight += bytes;
        kept.wanted.remove(&chunk);
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        kept.asked.insert(chunk, fetch);
        source.lanes.insert(object.node);
        self.counters.chunks_asked += 1;
        let is_of_use = true;
        self.fetches.insert(
            fetch,
            Fetch {
                object,
                chunk,
                link,
                len,
                version,
                held,
                is_of_use,
            },
        );
        self.timers.set(Timer::Fetch(fetch), self.now + STALL);
        let want = Want {
            object: ObjectId { version, ..object },
            chunk,
            have: held.map(|held| held.have),
        };
        let lane = chunk.0 % LANES;
        self.act(Action::Fetch {
            fetch,
            link,
            lane,
            want,
            len,
        });
        true
    }

    /// Makes room for the lanes of a file: when as many are open as a link carries, those of one
    /// that asks for nothing on it at the moment are closed. False if all ask.
    pub(crate) fn has_lanes_for(&mut self, link: LinkId, node: NodeId) -> bool {
        let Some(source) = self.links.links.get(&link) else {
            return false;
        };
        if source.lanes.contains(&node) || source.lanes.len() < self.config.lane_files {
            return true;
        }
        let asking: BTreeSet<NodeId> = self
            .fetches
            .values()
            .filter(|fetch| fetch.link == link)
            .map(|fetch| fetch.object.node)
            .chain(self.relayed_on(link))
            .collect();
        let Some(&idle) = source.lanes.difference(&asking).next() else {
            return false;
        };
        self.close_lanes(link, idle);
        true
    }

    fn close_lanes(&mut self, link: LinkId, node: NodeId) {
        if let Some(source) = self.links.links.get_mut(&link)
            && source.lanes.remove(&node)
        {
            self.act(Action::CloseLanes { link, node });
        }
    }

    /// Closes a file's lanes on all links if no version of it needs them.
    pub(crate) fn close_idle_lanes(&mut self, node: NodeId) {
        let is_open = self
            .inodes
            .get(node)
            .is_some_and(|ino| self.handles.opens_of(ino) > 0);
        let needs_them = |kept: &Object| {
            let is_over = kept.doomed || matches!(kept.stage, Stage::Complete);
            let is_idle = kept.asked.is_empty() && kept.wanted.is_empty() && !kept.whole;
            !is_over && (is_open || !is_idle)
        };
        if self.objects_of(node).any(needs_them) {
            return;
        }
        let is_relayed = |link: LinkId| self.relayed_on(link).any(|of| of == node);
        let open: Vec<LinkId> = self
            .links
            .links
            .iter()
            .filter(|(id, link)| link.lanes.contains(&node) && !is_relayed(**id))
            .map(|(link, _)| *link)
            .collect();
        for link in open {
            self.close_lanes(link, node);
        }
    }

    /// Returns the versions of a file that are kept.
    fn objects_of(&self, node: NodeId) -> impl Iterator<Item = &Object> {
        let first = ObjectId {
            node,
            version: Dot::default(),
        };
        let of = self.objects.range(first..);
        of.take_while(move |(object, _)| object.node == node)
            .map(|(_, kept)| kept)
    }

    /// Wants nothing more of an object that nobody waits for.
    pub(crate) fn unwant_idle(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object)
            && kept.readers.is_empty()
            && !kept.whole
        {
            kept.wanted.clear();
        }
    }

    /// Gives back the room that a chunk took.
    pub(crate) fn landed(&mut self, fare: Fare) {
        match fare.link {
            Some(link) => self.landed_bytes(link, fare.len),
            None => self.copies = self.copies.saturating_sub(1),
        }
    }

    pub(crate) fn landed_bytes(&mut self, link: LinkId, len: u32) {
        if let Some(link) = self.links.links.get_mut(&link) {
            link.in_flight = link.in_flight.saturating_sub(u64::from(len));
        }
        self.has_made_room = true;
    }

    /// A peer has not answered a fetch, though its link lives. On a slow link a full window takes
    /// its time: only when no chunk at all has come for long is the room that it takes given
    /// back, and an answer that comes after all is dropped.
    pub(crate) fn fetch_overdue(&mut self, fetch: FetchId) {
        let relayed = self.relays.get(&fetch).map(|relay| relay.link);
        let asked = self.fetches.get(&fetch).map(|asked| asked.link);
        let Some(link) = relayed.or(asked) else {
            return;
        };
        let brought = self.links.links.get(&link).map(|link| link.brought);
        match brought
            .map(|brought| brought + STALL)
            .filter(|due| *due > self.now)
        {
            Some(due) => self.timers.set(Timer::Fetch(fetch), due),
            None if relayed.is_some() => self.relayed(fetch, Fetched::Failed),
            None => self.end_fetch(fetch, Fetched::Failed),
        }
    }

    /// A peer has answered a fetch.
    pub(crate) fn on_fetched(&mut self, fetch: FetchId, outcome: Fetched) {
        if self.relays.contains_key(&fetch) {
            self.relayed(fetch, outcome);
            return;
        }
        let Some(asked) = self.fetches.remove(&fetch) else {
            if let Fetched::Data { payload, .. } | Fetched::Tail { payload, .. } = outcome {
                self.counters.chunks_dropped += 1;
                self.act(Action::Drop { payload });
            }
            return;
        };
        self.heard_on(asked.link);
        if let Some(link) = self.links.links.get_mut(&asked.link) {
            link.brought = self.now;
        }
        self.fetches.insert(fetch, asked);
        self.end_fetch(fetch, outcome);
    }

    /// A fetch has come to its end.
    fn end_fetch(&mut self, fetch: FetchId, outcome: Fetched) {
        self.timers.cancel(Timer::Fetch(fetch));
        let Some(asked) = self.fetches.remove(&fetch) else {
            return;
        };
        // Its lanes are free, if not its room.
        self.has_made_room = true;
        let Fetch {
            mut object,
            chunk,
            link,
            len,
            version,
            held,
            mut is_of_use,
        } = asked;
        if let Some(kept) = self.objects.get_mut(&object)
            && kept.asked.get(&chunk) == Some(&fetch)
        {
            kept.asked.remove(&chunk);
        }
        if self.has(Mutant::ReplayedChunk)
            && let Some((shown, _)) = self.current(object.node)
            && self.objects.contains_key(&shown)
        {
            (object, is_of_use) = (shown, true);
        }
        let known = self
            .objects
            .get(&object)
            .map(|kept| kept.download.hash(chunk));
        let Some(known) = known.filter(|_| is_of_use) else {
            if let Fetched::Data { payload, .. } | Fetched::Tail { payload, .. } = outcome {
                self.counters.chunks_dropped += 1;
                self.act(Action::Drop { payload });
            }
            self.landed_bytes(link, len);
            return;
        };
        if let Some(kept) = self.objects.get_mut(&object)
            && version != object.version
        {
            kept.came_as.insert(chunk, version);
        }
        let fits = |hash: ChunkHash| known.is_none_or(|known| known == hash);
        let link_of = Some(link);
        let fare = |wire| Fare {
            link: link_of,
            len,
            wire,
        };
        match outcome {
            Fetched::Data {
                payload,
                len: got,
                computed,
                recorded,
            } => {
                if got == len && computed == recorded && fits(recorded) {
                    let parcel = Parcel {
                        chunk,
                        hash: recorded,
                        payload: Some(payload),
                        fare: fare(len),
                    };
                    self.store_chunk(object, parcel);
                } else {
                    self.act(Action::Drop { payload });
                    self.refuse_chunk(object, chunk, link, len);
                }
            }
            Fetched::Hole { zeros } => {
                if fits(zeros) {
                    let parcel = Parcel {
                        chunk,
                        hash: zeros,
                        payload: None,
                        fare: fare(0),
                    };
                    self.store_chunk(object, parcel);
                } else {
                    self.refuse_chunk(object, chunk, link, len);
                }
            }
            Fetched::Same => match held {
                Some(held) if held.have.len == len && fits(held.have.hash) => {
                    self.take_held(object, chunk, held, held.have.hash, None, fare(0));
                }
                Some(_) | None => self.refuse_chunk(object, chunk, link, len),
            },
            Fetched::Tail {
                payload,
                len: got,
                recorded,
            } => match held {
                Some(held)
                    if got > 0 && held.have.len.checked_add(got) == Some(len) && fits(recorded) =>
                {
                    self.take_held(object, chunk, held, recorded, Some(payload), fare(got));
                }
                Some(_) | None => {
                    self.act(Action::Drop { payload });
                    self.refuse_chunk(object, chunk, link, len);
                }
            },
            Fetched::Gone | Fetched::NotHeld => {
                self.landed_bytes(link, len);
                let is_gone = outcome == Fetched::Gone;
                if is_gone && version == object.version && self.places_changes() {
                    self.note_gone(object, chunk);
                }
                if self.places_changes() {
                    self.denied(object, chunk, link, version);
                } else if self.tree.node(object.node).is_none() {
                    // The file was deleted: no newer version will come in its place.
                    self.exhaust(object);
                } else {
                    self.not_there(object, chunk, version, is_gone);
                }
            }
            Fetched::Failed => {
                self.landed_bytes(link, len);
                if let Some(kept) = self.objects.get_mut(&object) {
                    kept.failing = true;
                }
                if self.places_changes() && self.another_may_have(object, chunk, link, version) {
                    self.want_again(object, chunk);
                } else {
                    self.try_again(object, chunk);
                }
            }
        }
    }

    /// A joiner has failed to give its host a chunk, as may be for long: returns whether another
    /// one is to be asked first.
    fn another_may_have(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        link: LinkId,
        asked: Dot,
    ) -> bool {
        if asked != self.asked_as(object, chunk) {
            return false;
        }
        let Some(kept) = self.objects.get_mut(&object) else {
            return false;
        };
        kept.denied.entry(chunk).or_default().by.insert(link);
        let is_any = self.source_of(object, Some(chunk)).is_some();
        if !is_any && let Some(kept) = self.objects.get_mut(&object) {
            kept.denied.remove(&chunk);
        }
        is_any
    }

    /// The owner of a file has not this version of it any more. Of the one that is shown, a newer
    /// one is on its way here; of one that is not, as what lies beneath a draft, nobody has it
    /// but under the name of the version that was made of it.
    fn not_there(&mut self, object: ObjectId, chunk: ChunkIx, asked: Dot, is_gone: bool) {
        let is_shown = self
            .current(object.node)
            .is_some_and(|(now, _)| now == object);
        let is_way_left = self.ask_elsewhere(object, chunk, asked);
        if is_gone && !is_way_left {
            self.note_gone(object, chunk);
        }
        self.want_again(object, chunk);
        if !is_way_left {
            self.lent_in_vain(object, chunk);
        }
        if is_way_left {
            self.pause(object, Some(ALIAS_RETRY));
        } else if is_shown && self.is_read(object) {
            self.pause(object, Some(GONE_RETRY));
        } else {
            // Its owner may be about to have it as one of these: a few times it is asked again; and so
            // is what is wanted here and nobody waits for.
            self.pause(object, None);
        }
    }

    /// Returns whether somebody waits for some of an object, as long as a read may.
    fn is_read(&self, object: ObjectId) -> bool {
        let kept = self.objects.get(&object);
        kept.is_some_and(|kept| !kept.readers.is_empty())
    }

    /// Whoever should have a chunk has said that it is nowhere any more.
    fn note_gone(&mut self, object: ObjectId, chunk: ChunkIx) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.gone.insert(chunk);
        }
    }

    /// A joiner has not the chunk that its host wants: another is asked, and all of them again
    /// later; when the attempts have run out, when somebody comes. Each chunk for itself: of two
    /// that have a part each, none is passed over for what the other one has.
    fn denied(&mut self, object: ObjectId, chunk: ChunkIx, link: LinkId, asked: Dot) {
        let is_now = asked == self.asked_as(object, chunk);
        let has_base = self.base_version(object, chunk).is_some();
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if is_now {
            kept.denied.entry(chunk).or_default().by.insert(link);
        }
        let mut is_left = self.source_of(object, Some(chunk)).is_some();
        if !is_left && let Some(kept) = self.objects.get_mut(&object) {
            // Then as what it was made of, before all of them are asked again.
            is_left = has_base && asked == object.version;
            if is_left {
                let denied = Denied {
                    alias: Alias::Latest,
                    ..Denied::default()
                };
                kept.denied.insert(chunk, denied);
            } else {
                kept.denied.remove(&chunk);
            }
        }
        self.want_again(object, chunk);
        if !is_left {
            let mut links = self.links.links.values();
            if links.any(|link| link.is_greeted() && link.actor == object.version.actor) {
                // Its author is among those who have it not.
                self.note_gone(object, chunk);
            }
            self.pause(object, None);
        }
    }

    /// Does without what a peer has sent: it can't be the chunk.
    fn refuse_chunk(&mut self, object: ObjectId, chunk: ChunkIx, link: LinkId, len: u32) {
        self.counters.chunks_dropped += 1;
        self.landed_bytes(link, len);
        if let Some(link) = self.links.links.get(&link) {
            let peer = link.peer;
            self.fault(Fault::ChunkCorrupt {
                object,
                chunk,
                peer,
            });
        }
        self.try_again(object, chunk);
    }

    /// Wants a chunk that was asked for in vain, if somebody still waits. Of an object whose disk
    /// failed, nothing is wanted until it was looked at again: then whoever waits wants it anew.
    pub(crate) fn want_again(&mut self, object: ObjectId, chunk: ChunkIx) {
        let is_drafted = self.draft_wants(object, chunk);
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        let is_wanted = !kept.doomed && (kept.whole || !kept.readers.is_empty() || is_drafted);
        if is_wanted && kept.is_open() && kept.lacks(chunk) {
            kept.wanted.insert(chunk);
            self.queue(object);
        }
    }

    /// Counts a failed attempt at a chunk.
    fn try_again(&mut self, object: ObjectId, chunk: ChunkIx) {
        self.want_again(object, chunk);
        self.lent_in_vain(object, chunk);
        let attempts = self
            .objects
            .get(&object)
            .map_or(0, |kept| kept.download.attempts());
        if !self.pause(object, None) {
            self.fault(Fault::ChunkMissing {
                object,
                chunk,
                attempts,
            });
        }
    }

    /// Has an object wait: for this long, or for its backoff, which counts an attempt. False if
    /// the attempts have run out: then its readers fail.
    pub(crate) fn pause(&mut self, object: ObjectId, wait: Option<Duration>) -> bool {
        let jitter = self.rng.next_u8();
        let Some(kept) = self.objects.get_mut(&object) else {
            return true;
        };
        // A pause that counts no attempt must not keep another chunk's from being counted.
        if kept.pausing && (kept.counted || wait.is_some()) {
            return true;
        }
        kept.counted = wait.is_none();
        match wait.or_else(|| kept.download.next_attempt(jitter)) {
            Some(delay) => {
                kept.pausing = true;
                self.timers.set(Timer::Retry(object), self.now + delay);
                true
            }
            None => {
                self.exhaust(object);
                false
            }
        }
    }

    /// The attempts at an object have run out: whoever waits for it is told.
    fn exhaust(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        kept.exhausted = true;
        kept.wanted.clear();
        kept.denied.clear();
        if kept.failing && self.config.role == Role::Full {
            // Nobody waits for it here who would ask again, and whoever has it does not say when its
            // disk obliges.
            let wait = FAILING_RETRY * (1 << kept.rounds.min(FAILING_DOUBLINGS));
            kept.rounds = kept.rounds.saturating_add(1);
            self.timers.set(Timer::Retry(object), self.now + wait);
        }
        let readers: Vec<ReqId> = kept.readers.iter().copied().collect();
        for req in readers {
            if let Some(read) = self.take_waiting(req) {
                self.note_vain(&read);
                self.fail_read(req);
            }
        }
        self.want_failed(object, WantState::Failed);
        self.object_stuck(object);
        self.lend_no_more(object);
    }

    /// The pause of an object is over.
    pub(crate) fn retry(&mut self, object: ObjectId) {
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.pausing = false;
            let is_over = kept.exhausted && kept.failing;
            if is_over && self.config.role == Role::Full {
                kept.exhausted = false;
                kept.failing = false;
                kept.download.link_up();
                self.object_moves(object);
            }
            self.mend(object);
            self.wake(object);
            self.bury_or_queue(object);
        }
    }

    fn bury_or_queue(&mut self, object: ObjectId) {
        if self.is_waiting_for_window(object) {
            self.queue(object);
        }
    }

    /// What was asked on a link that has ended is wanted again.
    pub(crate) fn fetches_lost(&mut self, link: LinkId) {
        self.relays_lost(link);
        self.has_made_room = true;
        let lost: Vec<(FetchId, Fetch)> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.link == link)
            .map(|(id, fetch)| (*id, *fetch))
            .collect();
        for (id, fetch) in lost {
            self.fetches.remove(&id);
            self.timers.cancel(Timer::Fetch(id));
            if let Some(kept) = self.objects.get_mut(&fetch.object)
                && kept.asked.get(&fetch.chunk) == Some(&id)
            {
                kept.asked.remove(&fetch.chunk);
            }
            if fetch.is_of_use {
                self.want_again(fetch.object, fetch.chunk);
            }
        }
        self.deny_anew();
    }

    /// A link is gone: where it was the last one that was yet to be asked for a chunk, those that
    /// are left are asked again later.
    fn deny_anew(&mut self) {
        if self.source().is_none() {
            // Whoever comes is asked.
            return;
        }
        let denied = |(object, kept): (&ObjectId, &Object)| {
            let chunks = kept.denied.keys().map(|chunk| (*object, *chunk));
            chunks.collect::<Vec<_>>()
        };
        let all: Vec<_> = self.objects.iter().flat_map(denied).collect();
        for (object, chunk) in all {
            let is_asked = |kept: &Object| kept.asked.contains_key(&chunk);
            if self.source_of(object, Some(chunk)).is_none()
                && let Some(kept) = self.objects.get_mut(&object).filter(|kept| !is_asked(kept))
            {
                kept.denied.remove(&chunk);
                self.pause(object, None);
            }
        }
    }

    /// A link over which chunks can be had has come: everybody starts afresh.
    pub(crate) fn fetches_resume(&mut self) {
        self.vain.clear();
        let waiting: Vec<ObjectId> = self
            .objects
            .iter()
            .filter(|(object, kept)| {
                kept.whole || !kept.readers.is_empty() || self.drafts_on.contains_key(object)
            })
            .map(|(object, _)| *object)
            .collect();
        for object in waiting {
            if let Some(kept) = self.objects.get_mut(&object) {
                kept.exhausted = false;
                kept.failing = false;
                kept.rounds = 0;
                kept.denied.clear();
                kept.gone.clear();
                kept.download.link_up();
                kept.pausing = false;
            }
            self.timers.cancel(Timer::Retry(object));
            self.mend(object);
            self.wake(object);
            self.bury_or_queue(object);
        }
    }
}
