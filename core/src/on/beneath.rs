//! What stands in the shared folder where a chunk will be.
//!
//! Law (P5): a host knows of what stands in its folder only the hashes that it was asked for, and of
//! what it has fetched; so what stands where a chunk will be is read and hashed before that is asked
//! for, and named. What was named may change meanwhile: only its hash makes it a chunk.

use alloc::vec::Vec;

use crate::action::Besides;
use crate::engine::Engine;
use crate::error::DiskError;
use crate::event::{DiskDone, Fingerprint};
use crate::ids::{ChunkIx, NodeId, ObjectId};
use crate::limits::COPIES_MAX;
use crate::message::{Have, Role};
use crate::object::Object;
use crate::on::copy::{Held, PlainFile, Source};
use crate::on::disk::Job;
use crate::tree::name::Name;

/// What stands where a chunk will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beneath {
    /// The fingerprint of the file.
    print: Fingerprint,
    /// What it has there.
    have: Have,
}

impl Engine {
    /// Returns the file that stands for a node in the shared folder, whatever version it holds, and
    /// its fingerprint.
    pub(crate) fn standing_file(&self, node: NodeId) -> Option<(Vec<Name>, Fingerprint)> {
        if self.config.role != Role::Full || self.folder.rechecks.contains_key(&node) {
            return None;
        }
        let print = self.folder.placed(node)?.print;
        Some((self.folder.standing.path(node)?, print))
    }

    /// Returns whether it is to be found out what stands where a chunk will be, before that is asked
    /// for.
    pub(crate) fn is_beneath_unknown(&self, object: ObjectId, chunk: ChunkIx) -> bool {
        let stands_there = |kept: &Object| {
            let (offset, _) = kept.held().chunk_range(chunk);
            let stands = self.standing_file(object.node);
            stands.is_some_and(|(_, print)| print.size > offset)
        };
        self.objects.get(&object).is_some_and(|kept| {
            !kept.plain.contains(&chunk) && !kept.beneath.contains_key(&chunk) && stands_there(kept)
        })
    }

    /// Has that read; false if there is no room.
    pub(crate) fn look_beneath(&mut self, object: ObjectId, chunk: ChunkIx) -> bool {
        if self.copies >= COPIES_MAX {
            return false;
        }
        let Some((path, print)) = self.standing_file(object.node) else {
            return false;
        };
        let Some(kept) = self.objects.get_mut(&object) else {
            return false;
        };
        kept.wanted.remove(&chunk);
        kept.copying.insert(chunk);
        self.copies += 1;
        let (offset, len) = kept.held().chunk_range(chunk);
        let job = Job::Beneath {
            object,
            chunk,
            print,
        };
        let wish = PlainFile::Stands(path).read(offset, len, Besides::Nothing);
        self.object_job(object, job, wish);
        true
    }

    /// What stands where a chunk will be was read: it is named when the chunk is asked for.
    pub(crate) fn on_beneath(
        &mut self,
        (object, chunk): (ObjectId, ChunkIx),
        print: Fingerprint,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let beneath = match &outcome {
            Ok(DiskDone::Chunk {
                len, hash, before, ..
            }) if *before == print && *len > 0 => {
                let (len, hash) = (*len, *hash);
                let have = Have { len, hash };
                Some(Beneath { print, have })
            }
            Ok(_) | Err(_) => None,
        };
        self.drop_payload(outcome);
        self.copies = self.copies.saturating_sub(1);
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.copying.remove(&chunk);
            kept.beneath.insert(chunk, beneath);
        }
        self.want_again(object, chunk);
    }

    /// Returns what stands where a chunk will be as what can be named in its place, if it is still
    /// there.
    pub(crate) fn held_beneath(&self, node: NodeId, beneath: Beneath) -> Option<Held> {
        let Beneath { print, have } = beneath;
        let (_, stands) = self.standing_file(node)?;
        let from = Source::Standing(print);
        (stands == print).then_some(Held { from, have })
    }
}
