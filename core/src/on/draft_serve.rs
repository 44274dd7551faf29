//! A peer asks for a chunk that a sparse replica has: of a draft's last version, or of a version
//! that is stored.
//!
//! Law (P1): of a draft only a chunk is served that was not rewritten since its version was
//! published, before the read and after it; its first hash is on record before it is sent, and
//! every later serving is checked against that.

use alloc::vec::Vec;

use crate::action::{Action, DiskWish};
use crate::commits::After;
use crate::draft::{Draft, Stage};
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::DiskDone;
use crate::ids::{AskId, ChunkHash, ChunkIx, NodeId, ObjectId};
use crate::message::Answer;
use crate::object;
use crate::on::disk::Job;
use crate::on::relay::ROOM_WAIT;
use crate::on::serve::{besides, shape};
use crate::records;
use crate::timers::Timer;

/// Where a chunk that is asked for stands.
enum Standing {
    /// In the file of this object.
    Here(ObjectId),
    /// It will be known in a moment, when more is known of this object.
    Soon(ObjectId),
    /// It will be known when the draft of this node goes on.
    Later(NodeId),
    /// Not here, but what lies beneath the draft of this node may be had.
    Beneath(NodeId),
    /// The disk does not say.
    Refused,
    /// Not here.
    Absent,
    /// It was rewritten.
    Rewritten,
}

impl Engine {
    /// Sets about answering an ask out of the store.
    pub(crate) fn serve_stored(&mut self, ask: AskId) {
        let Some(serving) = self.asks.get(&ask).copied() else {
            return;
        };
        let (object, chunk) = (serving.want.object, serving.want.chunk);
        let Some((size, chunk_size)) = self.sizes_of(object) else {
            if self.kept_back.contains(&object) || self.is_ancestor(object) {
                // It was not in memory when it was superseded, and only its files tell its size.
                self.job(Job::Recalled(object), DiskWish::LoadObject { object });
                return;
            }
            let is_old = self.me.knowledge.covers(object.version);
            self.answer(
                ask,
                if is_old {
                    Answer::Gone
                } else {
                    Answer::NotHeld
                },
            );
            return;
        };
        let offset = u64::from(chunk.0) * u64::from(chunk_size);
        if offset >= size {
            self.answer(ask, Answer::NotHeld);
            return;
        }
        let left = size - offset;
        let len = u32::try_from(left).map_or(chunk_size, |left| left.min(chunk_size));
        if let Some(serving) = self.asks.get_mut(&ask) {
            serving.len = len;
        }
        match self.standing(object, chunk, size, chunk_size) {
            Standing::Here(file) => {
                let wish = DiskWish::ReadStored {
                    object: file,
                    offset,
                    len,
                    besides: besides(serving.want.have, len),
                };
                self.job(Job::ServeStored { ask, file }, wish);
            }
            Standing::Soon(at) => {
                if let Some(kept) = self.objects.get_mut(&at) {
                    kept.asks.insert(ask);
                } else {
                    self.answer(ask, Answer::Failed);
                }
            }
            Standing::Later(node) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.asks.insert(ask);
                } else {
                    self.answer(ask, Answer::Failed);
                }
            }
            Standing::Beneath(node) if self.lend(ask, node, chunk) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.asks.insert(ask);
                    let due = self.now + self.config.read_deadline;
                    self.timers.set_sooner(Timer::Lent(ask), due);
                }
            }
            Standing::Refused => self.answer(ask, Answer::Failed),
            Standing::Beneath(_) | Standing::Absent => self.answer(ask, Answer::NotHeld),
            Standing::Rewritten => self.answer(ask, Answer::Gone),
        }
    }

    /// Returns where a chunk of a version stands, and has it found out.
    fn standing(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        size: u64,
        chunk_size: u32,
    ) -> Standing {
        if let Some(draft) = self.draft_of(object) {
            let node = self.drafts_on.get(&draft.file).copied();
            let node = node.unwrap_or(object.node);
            return match draft.stage {
                Stage::Open | Stage::Settling => {
                    if draft.overlay.has_changed(chunk) || draft.is_flying(chunk) {
                        Standing::Rewritten
                    } else if draft.overlay.is_whole(chunk, draft.beneath(&self.objects)) {
                        Standing::Here(draft.file)
                    } else {
                        Standing::Beneath(node)
                    }
                }
                // Of one that has not begun, what is beneath is the version.
                Stage::Base if draft.file != object => Standing::Absent,
                Stage::Base => self.standing_stored(object, chunk, size, chunk_size),
                // The disk is not asked again soon.
                Stage::Broken if draft.pausing => Standing::Refused,
                Stage::Recording
                | Stage::Closed
                | Stage::Loading
                | Stage::Opening
                | Stage::Broken => Standing::Later(node),
                Stage::Removing => Standing::Absent,
            };
        }
        if self.drafts_on.contains_key(&object) {
            // It was written over.
            return Standing::Rewritten;
        }
        self.standing_stored(object, chunk, size, chunk_size)
    }

    /// Returns where a chunk of a version stands that is stored, or is not.
    fn standing_stored(
        &mut self,
        object: ObjectId,
        chunk: ChunkIx,
        size: u64,
        chunk_size: u32,
    ) -> Standing {
        // Of a version that is known it may be here though nothing is on record of it: its record
        // was lost with the metadata.
        let may_be_here =
            self.kept.contains_key(&object) || self.tree.registers().content(object).is_some();
        if !may_be_here || !self.keep_object(object, size, chunk_size) {
            return Standing::Absent;
        }
        let is_unknown = |kept: &object::Object| kept.stage == object::Stage::Unknown;
        if self.objects.get(&object).is_some_and(is_unknown) {
            self.get_going(object);
        }
        let Some(kept) = self.objects.get(&object) else {
            return Standing::Absent;
        };
        match kept.stage {
            // The disk is not asked again soon.
            object::Stage::Broken if kept.pausing => Standing::Refused,
            object::Stage::Complete => Standing::Here(object),
            object::Stage::Partial if kept.held().has(chunk) => Standing::Here(object),
            object::Stage::Loading
            | object::Stage::Syncing
            | object::Stage::Finishing
            | object::Stage::Broken => Standing::Soon(object),
            object::Stage::Partial
            | object::Stage::Unknown
            | object::Stage::Absent
            | object::Stage::Creating => Standing::Absent,
        }
    }

    /// Returns the draft whose file this is.
    fn draft_on(&self, file: ObjectId) -> Option<&Draft> {
        self.drafts.get(self.drafts_on.get(&file)?)
    }

    /// Has a chunk of what is beneath a draft fetched, or its rest where a part of it is ours:
    /// whoever asks for it as a part of what was published may have no other way to it. False if it
    /// can't come.
    ///
    /// Where the attempts have run out each who asks gives it one more: who has the chunk may have come
    /// to the host meanwhile, of which nobody tells this peer.
    fn lend(&mut self, ask: AskId, node: NodeId, chunk: ChunkIx) -> bool {
        let Some(draft) = self.drafts.get(&node) else {
            return false;
        };
        let file = draft.file;
        let is_open = draft.stage == Stage::Open;
        let was_lent = self.asks.get(&ask).is_none_or(|serving| serving.was_lent);
        let may_come = |kept: &object::Object| {
            kept.stage == object::Stage::Partial && !(kept.exhausted && was_lent)
        };
        let is_source = self.source().is_some();
        if !is_open || !is_source || !self.objects.get(&file).is_some_and(may_come) {
            return false;
        }
        if let Some(serving) = self.asks.get_mut(&ask)
            && !core::mem::replace(&mut serving.was_lent, true)
        {
            self.timers.set(Timer::Unlent(ask), self.now + ROOM_WAIT);
        }
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.lent.insert(chunk);
        }
        if let Some(kept) = self.objects.get_mut(&file) {
            kept.exhausted = false;
        }
        self.want_range_chunk(file, chunk);
        true
    }

    /// An ask has waited for a while for what lies beneath a draft. Where that was not even asked for,
    /// since there is no room, what takes the room may wait for this ask, through others: it gives way.
    pub(crate) fn unlent_for_long(&mut self, ask: AskId) {
        let Some(serving) = self.asks.get(&ask) else {
            return;
        };
        let chunk = serving.want.chunk;
        let waits = |(_, draft): &(&NodeId, &Draft)| draft.asks.contains(&ask);
        let Some((&node, draft)) = self.drafts.iter().find(waits) else {
            return;
        };
        let beneath = self.objects.get(&draft.file);
        if beneath.is_some_and(|kept| kept.asked.contains_key(&chunk)) {
            return;
        }
        // Between two attempts at it there is nothing to wait for but that somebody comes who has it.
        let is_in_vain = beneath.is_none_or(|kept| kept.pausing);
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.asks.remove(&ask);
        }
        let answer = if is_in_vain {
            Answer::NotHeld
        } else {
            Answer::Failed
        };
        self.answer(ask, answer);
    }

    /// A chunk of what is beneath a draft was asked for in vain: whoever waits for it is told, and asks
    /// again, while the attempts go on. Lanes and room that others need are not kept for as long.
    pub(crate) fn lent_in_vain(&mut self, object: ObjectId, chunk: ChunkIx) {
        let node = self.drafted(object);
        let Some(draft) = node.and_then(|node| self.drafts.get_mut(&node)) else {
            return;
        };
        let asks = &self.asks;
        let waits = |ask: &AskId| {
            let serving = asks.get(ask);
            serving.is_some_and(|serving| serving.was_lent && serving.want.chunk == chunk)
        };
        let waiting: Vec<AskId> = draft.asks.iter().copied().filter(waits).collect();
        for ask in &waiting {
            draft.asks.remove(ask);
        }
        for ask in waiting {
            self.answer(ask, Answer::NotHeld);
        }
    }

    /// An ask has waited for what lies beneath a draft for as long as anybody waits for a read. What it
    /// waits for may itself wait for it, through the room that both take on links between them.
    pub(crate) fn lent_for_long(&mut self, ask: AskId) {
        let waited = self.drafts.values_mut();
        if waited.filter_map(|draft| draft.asks.take(&ask)).count() > 0 {
            self.answer(ask, Answer::Failed);
        }
    }

    /// Asks that waited for a draft are looked at again.
    pub(crate) fn serve_later(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        for ask in core::mem::take(&mut draft.asks) {
            self.serve(ask);
        }
    }

    /// Asks that waited for an object to be found fail with it: who asks may have another way.
    pub(crate) fn refuse_asks(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        for ask in core::mem::take(&mut kept.asks) {
            self.answer(ask, Answer::Failed);
        }
    }

    /// Asks that waited for an object to be found are looked at again.
    pub(crate) fn serve_waiting(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        for ask in core::mem::take(&mut kept.asks) {
            self.serve(ask);
        }
    }

    /// The disk has read a chunk out of the store.
    pub(crate) fn on_served_stored(
        &mut self,
        ask: AskId,
        file: ObjectId,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let Some(serving) = self.asks.get(&ask).copied() else {
            self.drop_payload(outcome);
            return;
        };
        let (payload, len, hash, nature) = match outcome {
            Ok(DiskDone::Read {
                payload,
                len,
                hash,
                nature,
            }) => (payload, len, hash, nature),
            other => {
                self.drop_payload(other);
                self.answer(ask, Answer::Failed);
                return;
            }
        };
        let (object, chunk) = (serving.want.object, serving.want.chunk);
        if len != serving.len || !self.is_served_from(object, chunk, file) {
            self.act(Action::Drop { payload });
            self.answer(ask, Answer::Gone);
            return;
        }
        let answer = shape(serving.want.have, payload, len, hash, nature);
        match self.known_hash(object, chunk, file) {
            Some(known) if known == hash => {
                self.spare(answer, payload);
                self.answer(ask, answer);
            }
            Some(_) => {
                self.fault(Fault::ChunkRotten { object, chunk });
                self.act(Action::Drop { payload });
                self.answer(ask, Answer::Failed);
            }
            None => {
                self.hashes.entry(object).or_default().insert(chunk, hash);
                self.commits
                    .put(records::hash(object, chunk), records::encode(&hash));
                // A hash that was told must be on record after a power loss too.
                self.commits.harden();
                self.spare(answer, payload);
                self.commits.then(After::Answer { ask, answer });
            }
        }
    }

    /// Returns whether the bytes that were read are the version's to this moment.
    fn is_served_from(&self, object: ObjectId, chunk: ChunkIx, file: ObjectId) -> bool {
        match self.draft_on(file) {
            Some(draft) => {
                draft.last() == object
                    && !draft.overlay.has_changed(chunk)
                    && !draft.is_flying(chunk)
            }
            None => true,
        }
    }

    /// Returns the hash that a chunk of a version is known to have.
    fn known_hash(&self, object: ObjectId, chunk: ChunkIx, file: ObjectId) -> Option<ChunkHash> {
        let recorded = self.hashes.get(&object);
        if let Some(&hash) = recorded.and_then(|hashes| hashes.get(&chunk)) {
            return Some(hash);
        }
        let kept = self.objects.get(&file)?;
        let is_as_beneath = self
            .draft_on(file)
            .is_none_or(|draft| draft.overlay.is_base(chunk));
        kept.download.hash(chunk).filter(|_| is_as_beneath)
    }
}
