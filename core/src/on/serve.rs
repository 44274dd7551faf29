//! A peer asks for a chunk of a file of the shared folder.
//!
//! Law (P1): only a read between two equal fingerprints of the version takes a first hash; it is
//! stored before it is sent; and every serving is checked against it. What an asker holds is
//! compared with the bytes that were read, never with what is merely known of them.

use crate::action::{Action, Besides};
use crate::commits::After;
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::{DiskDone, Fingerprint, Nature};
use crate::ids::{AskId, ChunkHash, ChunkIx, LinkId, NodeId, ObjectId, PayloadId};
use crate::limits::ASKS_PER_LINK_MAX;
use crate::message::{Answer, Have, Role, Want};
use crate::on::copy::PlainFile;
use crate::on::disk::Job;
use crate::on::placed::same_content;
use crate::records;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::Body;

/// A chunk that a peer waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    /// On which link.
    pub link: LinkId,
    /// What it wants.
    pub want: Want,
    /// How many bytes that has.
    pub len: u32,
    /// How many it has, as the asker says.
    pub said: u32,
    /// Whether it is read from the trash.
    pub is_thrown: bool,
    /// Whether what lies beneath a draft was fetched for it.
    pub was_lent: bool,
}

impl Engine {
    /// A peer asks.
    pub(crate) fn on_asked(&mut self, link: LinkId, ask: AskId, want: Want, len: u32) {
        let Some(asker) = self.links.links.get_mut(&link) else {
            self.act(Action::Answer {
                ask,
                answer: Answer::Failed,
            });
            return;
        };
        if !asker.is_greeted() || asker.asks >= ASKS_PER_LINK_MAX {
            self.act(Action::Answer {
                ask,
                answer: Answer::Failed,
            });
            return;
        }
        asker.asks += 1;
        self.heard_on(link);
        let serving = Serving {
            link,
            want,
            len: 0,
            said: len,
            is_thrown: false,
            was_lent: false,
        };
        self.asks.insert(ask, serving);
        self.serve(ask);
    }

    /// Sets about answering an ask.
    pub(crate) fn serve(&mut self, ask: AskId) {
        let Some(serving) = self.asks.get(&ask).copied() else {
            return;
        };
        if self.config.role == Role::Sparse {
            self.serve_stored(ask);
            return;
        }
        let holder = self.holder_of(serving.want.object);
        let node = holder.unwrap_or(serving.want.object.node);
        if let Some(recheck) = self.folder.rechecks.get_mut(&node) {
            recheck.asks.push(ask);
            return;
        }
        let sizes = match holder {
            Some(node) => self.standing_sizes(node),
            None => {
                let thrown = self.thrown.print(serving.want.object.version);
                thrown.map(|print| (print.size, self.config.chunk_size))
            }
        };
        let found = self.plain_file_of(serving.want.object);
        let (Some((found, _)), Some((size, chunk_size))) = (found, sizes) else {
            if self.serve_in_part(ask) {
                return;
            }
            let was_here = self.inodes_or_registers_know(serving.want.object);
            let answer = if was_here {
                Answer::Gone
            } else {
                Answer::NotHeld
            };
            self.answer(ask, answer);
            return;
        };
        let offset = u64::from(serving.want.chunk.0) * u64::from(chunk_size);
        if offset >= size {
            self.answer(ask, Answer::NotHeld);
            return;
        }
        let left = size - offset;
        let len = u32::try_from(left).map_or(chunk_size, |left| left.min(chunk_size));
        if let Some(serving) = self.asks.get_mut(&ask) {
            serving.len = len;
            serving.is_thrown = matches!(found, PlainFile::Thrown(_));
        }
        let wish = found.read(offset, len, besides(serving.want.have, len));
        self.job(Job::Serve(ask), wish);
    }

    /// Returns the node whose file in the shared folder is a version: its own, or the conflict
    /// copy that shows it.
    pub(crate) fn holder_of(&self, object: ObjectId) -> Option<NodeId> {
        let holds = |node: &NodeId| {
            let placed = self.folder.placed(*node);
            placed.is_some_and(|placed| placed.version == object.version)
        };
        let nodes = [object.node, conflict::copy_of(object.version)];
        nodes.into_iter().find(holds)
    }

    /// Returns the size of a file that stands in the shared folder, and of its chunks: also of
    /// one whose version was superseded, and is what the newer one was made of.
    pub(crate) fn standing_sizes(&self, node: NodeId) -> Option<(u64, u32)> {
        match self.held_object(node) {
            Some((_, Body::File { size, chunk_size })) => Some((size, chunk_size)),
            Some((_, Body::Link { .. })) => None,
            None => {
                let placed = self.folder.placed(node)?;
                let is_file = !self.is_directory(node);
                is_file.then_some((placed.print.size, self.config.chunk_size))
            }
        }
    }

    /// Returns whether a version was ever known here.
    fn inodes_or_registers_know(&self, object: ObjectId) -> bool {
        self.me.knowledge.covers(object.version) && self.me.knowledge.covers(object.node.0)
    }

    /// The disk has read a chunk for a peer.
    pub(crate) fn on_served(&mut self, ask: AskId, outcome: Result<DiskDone, DiskError>) {
        let Some(serving) = self.asks.get(&ask).copied() else {
            self.drop_payload(outcome);
            return;
        };
        let object = serving.want.object;
        let chunk = serving.want.chunk;
        let (payload, len, hash, before, after, nature) = match outcome {
            Ok(DiskDone::Chunk {
                payload,
                len,
                hash,
                before,
                after,
                nature,
            }) => (payload, len, hash, before, after, nature),
            Ok(other) => {
                self.drop_payload(Ok(other));
                self.answer(ask, Answer::Failed);
                return;
            }
            Err(DiskError::NotFound | DiskError::WrongKind) => {
                if self.went_to_trash(serving) {
                    self.serve(ask);
                    return;
                }
                let holder = self.holder_of(object);
                if holder.is_none() && serving.is_thrown {
                    self.thrown.forget(object.version);
                    self.commits.remove(records::thrown(object.version));
                }
                self.look_at_node(holder.unwrap_or(object.node));
                self.answer(ask, Answer::Gone);
                return;
            }
            Err(
                DiskError::NoSpace
                | DiskError::Denied
                | DiskError::Exists
                | DiskError::NotEmpty
                | DiskError::Changed
                | DiskError::Io,
            ) => {
                self.answer(ask, Answer::Failed);
                return;
            }
        };
        let holder = self.holder_of(object);
        let node = holder.unwrap_or(object.node);
        let print = match holder {
            Some(node) => self.folder.placed(node).map(|placed| placed.print),
            // Its change time has moved with its name.
            None => {
                let thrown = self.thrown.print(object.version).copied();
                let is_it = |thrown: &Fingerprint| same_content(thrown, &before);
                thrown.filter(is_it).map(|_| before)
            }
        };
        let holds = print == Some(before) && before == after;
        if !holds || len != serving.len {
            self.act(Action::Drop { payload });
            if self.folder.rechecks.contains_key(&node) || self.went_to_trash(serving) {
                self.serve(ask);
                return;
            }
            self.look_at_node(node);
            self.answer(ask, Answer::Gone);
            return;
        }
        let recorded = self
            .hashes
            .get(&object)
            .and_then(|hashes| hashes.get(&chunk))
            .copied();
        let answer = shape(serving.want.have, payload, len, hash, nature);
        match recorded {
            Some(recorded) if recorded == hash => {
                self.spare(answer, payload);
                self.answer(ask, answer);
            }
            Some(_) => {
                // The same fingerprint and other bytes: rot, or a program that writes through a
                // mapping and whose times are not updated yet. Neither may be served.
                self.fault(Fault::ChunkRotten { object, chunk });
                self.act(Action::Drop { payload });
                self.look_at_node(node);
                self.answer(ask, Answer::Failed);
            }
            // Of what lies in the trash nothing is on record any more, nor need be.
            None if holder.is_none() => {
                self.spare(answer, payload);
                self.answer(ask, answer);
            }
            None => {
                self.record_hash(object, chunk, hash);
                self.spare(answer, payload);
                self.commits.then(After::Answer { ask, answer });
            }
        }
    }

    /// Returns whether a file went to the trash while it was read under its name: it is there.
    fn went_to_trash(&self, serving: Serving) -> bool {
        let found = self.plain_file_of(serving.want.object);
        !serving.is_thrown && matches!(found, Some((PlainFile::Thrown(_), _)))
    }

    /// Puts a chunk's first hash on record, and the digest with the last of them.
    pub(crate) fn record_hash(&mut self, object: ObjectId, chunk: ChunkIx, hash: ChunkHash) {
        let hashes = self.hashes.entry(object).or_default();
        hashes.insert(chunk, hash);
        self.commits
            .put(records::hash(object, chunk), records::encode(&hash));
        if !self.digest(object) {
            // A hash that was told must be on record after a power loss too.
            self.commits.harden();
        }
    }

    /// Returns the hash over all hashes of a version, in the order of its chunks.
    pub(crate) fn digest_of(&self, object: ObjectId) -> u128 {
        let mut manifest = alloc::vec::Vec::new();
        if let Some(hashes) = self.hashes.get(&object) {
            for hash in hashes.values() {
                manifest.extend_from_slice(&hash.0.to_le_bytes());
            }
        }
        ChunkHash::of(&manifest).0
    }

    /// Answers an ask, if its link is still there.
    pub(crate) fn answer(&mut self, ask: AskId, answer: Answer) {
        self.timers.cancel(Timer::Lent(ask));
        let Some(serving) = self.asks.remove(&ask) else {
            if let Some(payload) = answer.payload() {
                self.act(Action::Drop { payload });
            }
            return;
        };
        if let Some(link) = self.links.links.get_mut(&serving.link) {
            link.asks = link.asks.saturating_sub(1);
        }
        let skipped = match answer {
            Answer::Data { .. } => Some(0),
            Answer::Tail { skip, .. } => Some(skip),
            Answer::Same | Answer::Hole => Some(serving.len),
            Answer::Gone | Answer::NotHeld | Answer::Failed => None,
        };
        if let Some(skipped) = skipped {
            self.counters.chunks_served += 1;
            self.counters.bytes_served += u64::from(serving.len.saturating_sub(skipped));
            self.author_moves(serving.want.object.node);
        }
        self.act(Action::Answer { ask, answer });
    }

    /// Gives back a payload that the answer does without.
    pub(crate) fn spare(&mut self, answer: Answer, payload: PayloadId) {
        if answer.payload().is_none() {
            self.act(Action::Drop { payload });
        }
    }

    /// Forgets the asks of a link that has ended.
    pub(crate) fn asks_lost(&mut self, link: LinkId) {
        self.asks.retain(|_, serving| serving.link != link);
    }
}

/// Returns what has to be found out of a chunk of `len` bytes for an asker that holds `have`.
pub(crate) fn besides(have: Option<Have>, len: u32) -> Besides {
    match have {
        Some(have) if have.len < len => Besides::Prefix(have.len),
        Some(_) | None => Besides::Nothing,
    }
}

/// Returns the shortest answer that makes a chunk of what the asker holds.
pub(crate) fn shape(
    have: Option<Have>,
    payload: PayloadId,
    len: u32,
    hash: ChunkHash,
    nature: Nature,
) -> Answer {
    if nature.zeros {
        return Answer::Hole;
    }
    match have {
        Some(have) if have == (Have { len, hash }) => Answer::Same,
        Some(have) if have.len < len && nature.prefix == Some(have.hash) => Answer::Tail {
            hash,
            payload,
            skip: have.len,
        },
        Some(_) | None => Answer::Data { hash, payload },
    }
}
