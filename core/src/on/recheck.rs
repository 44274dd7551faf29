//! A file whose change time alone has moved, or that is a copy of itself, is hashed again.
//!
//! Law: what nobody has may be anything; a chunk that a peer may have is what its hash says, or
//! the file is a new version.

use alloc::vec::Vec;

use crate::action::{Action, Besides, DiskWish};
use crate::engine::Engine;
use crate::error::DiskError;
use crate::event::{DiskDone, Sighting};
use crate::folder::Recheck;
use crate::ids::{ChunkHash, ChunkIx, NodeId, ObjectId};
use crate::on::disk::Job;
use crate::time::WallTime;

impl Engine {
    /// Settles whether a file of the same size and time still holds its version: every
    /// chunk that a peer may have is hashed again. What nobody has may be anything.
    pub(crate) fn recheck(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime) {
        let held = self.held_object(node).map(|(object, _)| object);
        // Of one that was superseded, what is made of it may still be asked for.
        let placed = self.folder.placed(node).map(|placed| ObjectId {
            node,
            version: placed.version,
        });
        let Some(object) = held.or(placed) else {
            return;
        };
        let left: Vec<(ChunkIx, ChunkHash)> = self
            .hashes
            .get(&object)
            .map(|hashes| hashes.iter().map(|(&chunk, &hash)| (chunk, hash)).collect())
            .unwrap_or_default();
        let recheck = Recheck {
            round: self.next_job,
            sighting: sighting.clone(),
            wall,
            left,
            asks: Vec::new(),
        };
        self.folder.rechecks.insert(node, recheck);
        self.recheck_next(node);
    }

    fn recheck_next(&mut self, node: NodeId) {
        let Some(recheck) = self.folder.rechecks.get_mut(&node) else {
            return;
        };
        let next = recheck.left.pop();
        let round = recheck.round;
        let sighting = recheck.sighting.clone();
        let sizes = self.standing_sizes(node);
        let path = self.folder.standing.path(node);
        match (next, sizes, path) {
            (Some((chunk, hash)), Some((size, chunk_size)), Some(path)) => {
                let offset = u64::from(chunk.0) * u64::from(chunk_size);
                let left = size.saturating_sub(offset);
                let len = u32::try_from(left).map_or(chunk_size, |left| left.min(chunk_size));
                let wish = DiskWish::ReadChunk {
                    path,
                    offset,
                    len,
                    besides: Besides::Nothing,
                };
                self.job(Job::Recheck { node, round, hash }, wish);
            }
            (None, _, _) => {
                if let Some(placed) = self.folder.placed(node).copied() {
                    self.place(node, placed.version, &sighting);
                }
                self.end_recheck(node);
            }
            (Some(_), _, _) => self.end_recheck(node),
        }
    }

    /// A chunk was hashed again.
    pub(crate) fn on_rechecked(
        &mut self,
        node: NodeId,
        round: u64,
        hash: ChunkHash,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let current = self
            .folder
            .rechecks
            .get(&node)
            .filter(|recheck| recheck.round == round);
        let Some(recheck) = current else {
            self.drop_payload(outcome);
            return;
        };
        let expected = recheck.sighting.print;
        let Ok(DiskDone::Chunk {
            payload,
            hash: found,
            before,
            after,
            ..
        }) = outcome
        else {
            self.drop_payload(outcome);
            self.end_recheck(node);
            self.look_at_node(node);
            return;
        };
        self.act(Action::Drop { payload });
        if before != expected || after != expected {
            self.end_recheck(node);
            self.look_at_node(node);
        } else if found == hash {
            self.recheck_next(node);
        } else {
            let sighting = recheck_sighting(self, node);
            let placed = self.folder.placed(node).map(|placed| placed.version);
            if let Some((sighting, wall)) = sighting {
                self.new_version(node, &sighting, wall, placed);
            }
            self.end_recheck(node);
        }
    }

    /// Ends a recheck, and serves who waited for it.
    pub(crate) fn end_recheck(&mut self, node: NodeId) {
        if let Some(recheck) = self.folder.rechecks.remove(&node) {
            for ask in recheck.asks {
                self.serve(ask);
            }
        }
    }
}

fn recheck_sighting(engine: &Engine, node: NodeId) -> Option<(Sighting, WallTime)> {
    let recheck = engine.folder.rechecks.get(&node)?;
    Some((recheck.sighting.clone(), recheck.wall))
}
