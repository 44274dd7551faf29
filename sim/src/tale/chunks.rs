//! Chunk maps: what each peer holds of each version of a file, over time.
//!
//! Law: a map says what the disk was told to do and did; what the engine believes is not asked.

use std::collections::BTreeMap;

use tandem_core::action::DiskWish;
use tandem_core::event::DiskDone;
use tandem_core::ids::{ChunkIx, ObjectId};
use tandem_core::message::Want;

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is here.
    Absent,
    /// It was asked for.
    Asked,
    /// It is written, with its record.
    Here,
    /// And synced.
    Durable,
    /// It was there before the process died: a claim.
    Claimed,
}

/// A change of one chunk, or of all.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When, in nanoseconds.
    pub at: u64,
    /// Which chunk.
    pub chunk: usize,
    /// What it is from then on.
    pub state: State,
}

/// What a peer holds of a version of a file, over time.
#[derive(Clone, Debug)]
pub struct Map {
    /// Who.
    pub peer: usize,
    /// Of which version.
    pub object: ObjectId,
    /// Each chunk's state at the end.
    pub chunks: Vec<State>,
    /// How they came to it.
    pub steps: Vec<Step>,
}

/// All maps.
#[derive(Debug)]
pub struct Maps {
    by_object: BTreeMap<(usize, ObjectId), Map>,
    chunk_size: u64,
}

impl Maps {
    pub(super) fn new(chunk_size: u32) -> Self {
        Self {
            by_object: BTreeMap::new(),
            chunk_size: u64::from(chunk_size),
        }
    }

    /// Returns them, in order of peers.
    pub fn iter(&self) -> impl Iterator<Item = &Map> {
        self.by_object.values()
    }

    /// A process ends. After a clean stop all bits hold; else those that were not synced are
    /// claims.
    pub(super) fn ended(&mut self, now: u64, peer: usize, clean: bool) {
        let of_peer = self.by_object.values_mut().filter(|map| map.peer == peer);
        for map in of_peer {
            for chunk in 0..map.chunks.len() {
                match map.chunks[chunk] {
                    State::Asked => map.set(now, chunk, State::Absent),
                    State::Here if !clean => map.set(now, chunk, State::Claimed),
                    State::Here | State::Durable | State::Absent | State::Claimed => {}
                }
            }
        }
    }

    /// A disk job was carried out.
    pub(crate) fn done(&mut self, now: u64, peer: usize, wish: &DiskWish, done: &DiskDone) {
        match wish {
            DiskWish::CreateObject { object, size, .. } => {
                let count = usize::try_from(size.div_ceil(self.chunk_size)).unwrap_or(0);
                let map = Map {
                    peer,
                    object: *object,
                    chunks: vec![State::Absent; count],
                    steps: Vec::new(),
                };
                let asked: Vec<usize> = match self.by_object.get(&(peer, *object)) {
                    Some(old) => old.asked(),
                    None => Vec::new(),
                };
                self.by_object.insert((peer, *object), map);
                for chunk in asked {
                    let chunk = ChunkIx(u32::try_from(chunk).unwrap_or(0));
                    let want = Want {
                        object: *object,
                        chunk,
                        have: None,
                    };
                    self.mark(now, peer, want, State::Asked);
                }
            }
            DiskWish::StoreChunk { object, offset, .. }
            | DiskWish::StoreHole { object, offset, .. } => {
                self.mark(now, peer, self.want(*object, *offset), State::Here);
            }
            DiskWish::HashChunk { object, offset, .. } => {
                if matches!(done, DiskDone::Hashed { .. }) {
                    self.mark(now, peer, self.want(*object, *offset), State::Here);
                }
            }
            DiskWish::SyncObject { object } | DiskWish::FinishObject { object } => {
                let complete = matches!(wish, DiskWish::FinishObject { .. });
                if let Some(map) = self.by_object.get_mut(&(peer, *object)) {
                    for chunk in 0..map.chunks.len() {
                        if complete || map.chunks[chunk] == State::Here {
                            map.set(now, chunk, State::Durable);
                        }
                    }
                }
            }
            DiskWish::RemoveObject { object } => {
                if let Some(map) = self.by_object.get_mut(&(peer, *object)) {
                    for chunk in 0..map.chunks.len() {
                        map.set(now, chunk, State::Absent);
                    }
                }
            }
            DiskWish::List { .. }
            | DiskWish::Look { .. }
            | DiskWish::Place(_)
            | DiskWish::Trash(_)
            | DiskWish::ReadChunk { .. }
            | DiskWish::ReadThrown { .. }
            | DiskWish::LoadObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::ReadStored { .. }
            | DiskWish::Draft { .. } => {}
        }
    }

    fn want(&self, object: ObjectId, offset: u64) -> Want {
        let chunk = ChunkIx(u32::try_from(offset / self.chunk_size).unwrap_or(u32::MAX));
        Want {
            object,
            chunk,
            have: None,
        }
    }

    /// A chunk is something else from here on.
    pub(super) fn mark(&mut self, now: u64, peer: usize, want: Want, state: State) {
        let map = self
            .by_object
            .entry((peer, want.object))
            .or_insert_with(|| Map {
                peer,
                object: want.object,
                chunks: Vec::new(),
                steps: Vec::new(),
            });
        let chunk = want.chunk.0 as usize;
        if map.chunks.len() <= chunk {
            map.chunks.resize(chunk + 1, State::Absent);
        }
        map.set(now, chunk, state);
    }

    /// A link has ended for a peer: what it asked for there is not on its way any more.
    pub(crate) fn unasked(&mut self, now: u64, peer: usize, wants: impl Iterator<Item = Want>) {
        for want in wants {
            if let Some(map) = self.by_object.get_mut(&(peer, want.object)) {
                let chunk = want.chunk.0 as usize;
                if map.chunks.get(chunk) == Some(&State::Asked) {
                    map.set(now, chunk, State::Absent);
                }
            }
        }
    }
}

impl Map {
    fn set(&mut self, at: u64, chunk: usize, state: State) {
        if let Some(here) = self.chunks.get_mut(chunk)
            && *here != state
        {
            *here = state;
            self.steps.push(Step { at, chunk, state });
        }
    }

    fn asked(&self) -> Vec<usize> {
        let asked = self.chunks.iter().enumerate();
        let asked = asked.filter(|(_, state)| **state == State::Asked);
        asked.map(|(chunk, _)| chunk).collect()
    }
}
