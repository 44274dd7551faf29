//! A picture of the engine, for people and tests.

use alloc::collections::BTreeMap;

use crate::engine::Engine;
use crate::ids::ObjectId;
use crate::object::Object;
use crate::status::{Counters, FileStatus, LinkState, PeerStatus, Status};
use crate::time::{Duration, Time};
use crate::timers::Timer;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    /// Returns a picture of the engine at `now`.
    pub fn status(&self, now: Time) -> Status {
        Status {
            me: self.config.me,
            name: self.config.name.clone(),
            role: self.config.role,
            folder: self.me.folder,
            actor: self.me.actor,
            scanning: self.is_scanning(),
            complete: self.me.complete,
            nodes: self.tree.count(),
            bytes: self.tree.bytes(),
            conflicts: self.tree.contests().count() as u64,
            peers: self.peer_statuses(now),
            files: self
                .objects
                .iter()
                .filter(|(object, _)| !self.is_ancestor(**object))
                .map(|(object, kept)| self.file(*object, kept))
                .collect(),
            counters: self.counters,
            sync: self.sync_status(),
        }
    }

    /// Returns whether the shared folder is being listed for the first time since the start.
    pub fn is_scanning(&self) -> bool {
        self.config.role == crate::message::Role::Full && !self.folder.scanned
    }

    /// Returns whether an exchange of registers was ever completed.
    pub fn is_complete(&self) -> bool {
        self.me.complete
    }

    /// Returns what was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn peer_statuses(&self, now: Time) -> alloc::vec::Vec<PeerStatus> {
        let mut pictures = BTreeMap::new();
        for (&peer, known) in &self.links.peers {
            let link = known.link.and_then(|link| self.links.links.get(&link));
            let next = self.timers.when(Timer::Dial(peer));
            pictures.insert(
                peer,
                PeerStatus {
                    peer,
                    name: known.name.clone(),
                    role: known.role,
                    link: link.map_or(LinkState::Gone, |link| link.state),
                    attempts: known.backoff.attempts(),
                    next_attempt_ms: next.map(|next| millis(next.since(now))),
                    heard_ms: known.heard.map(|heard| millis(now.since(heard))),
                    refused: Self::refusal_of(known),
                    behind: link
                        .filter(|link| link.is_greeted())
                        .map_or(0, |link| self.unacknowledged(link)),
                },
            );
        }
        pictures.into_values().collect()
    }

    fn file(&self, object: ObjectId, kept: &Object) -> FileStatus {
        let handles = self
            .inodes
            .get(object.node)
            .map_or(0, |ino| self.handles.opens_of(ino));
        let is_complete = kept.is_readable(0, u32::MAX) && kept.writer.is_none();
        let (chunks_present, bytes_present) = if is_complete {
            (kept.held().total(), kept.size())
        } else {
            (
                kept.held().have() + kept.claims().have(),
                kept.held().have_bytes() + kept.claims().have_bytes(),
            )
        };
        FileStatus {
            path: self.tree.path(object.node).unwrap_or_default(),
            size: kept.size(),
            chunks: kept.held().total(),
            chunks_present,
            bytes_present,
            chunks_fetched: kept.chunks_fetched,
            bytes_fetched: kept.bytes_fetched,
            waiting: u32::try_from(kept.readers.len()).unwrap_or(u32::MAX),
            handles: u32::try_from(handles).unwrap_or(u32::MAX),
            state: kept.fetch_state(self.source().is_some()),
        }
    }
}
