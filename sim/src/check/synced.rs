//! P2, P3: whoever says that all is synced is believed, and the machine thrown away. So each peer
//! that is connected has stored all that is stored here, and what was closed or synced on the
//! mount lies on the disk of the host, under whatever name.
//!
//! Law: judged by what the stores and the folder hold, not by what an engine says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_core::action::FsReply;
use tandem_core::edit::Edit;
use tandem_core::engine::Durability;
use tandem_core::error::FsError;
use tandem_core::message::Role;
use tandem_core::register_in;
use tandem_core::status::WaitingFile;
use tandem_core::tree::register::{Content, Register, RegisterKey};

use super::kept::Author;
use super::{Failure, Verdict};
use crate::peer::Peer;
use crate::reach;
use crate::world::{HOST, World};

/// The registers of a store, as far as they survive what its peer promises.
fn registers(p: usize, peer: &Peer) -> BTreeMap<RegisterKey, Register> {
    let read = |key: &[u8], value: &[u8]| {
        let register = register_in(key, value)?;
        Some((register.key(), register))
    };
    if p == HOST {
        let durable = peer.records.all_durable();
        return durable
            .filter_map(|(key, value)| read(key, value))
            .collect();
    }
    let here = peer.records.all();
    here.filter_map(|(key, value)| read(&key, &value)).collect()
}

/// Returns a register that one store has, and another neither has nor knows better.
fn lacks<'a>(
    ours: &'a BTreeMap<RegisterKey, Register>,
    theirs: &BTreeMap<RegisterKey, Register>,
) -> Option<&'a Register> {
    let mut versions: BTreeMap<_, Vec<&Content>> = BTreeMap::new();
    for register in theirs.values() {
        if let Register::Content(content) = register {
            versions.entry(content.node).or_default().push(content);
        }
    }
    let is_there = |register: &&Register| {
        let has = theirs.get(&register.key());
        let of = match register.key() {
            RegisterKey::Content(object) | RegisterKey::Digest(object) => Some(object),
            RegisterKey::Entry(_) | RegisterKey::Attrs(_) => None,
        };
        let mut later = of.iter().flat_map(|of| versions.get(&of.node)).flatten();
        has.is_some_and(|has| has.stamp() >= register.stamp())
            || of.is_some_and(|of| later.any(|content| content.supersedes(of.version)))
    };
    ours.values().find(|register| !is_there(register))
}

impl World {
    /// Judges what an engine says when it says that all is synced, and did not before.
    pub(crate) fn check_synced(&mut self, p: usize) -> Verdict {
        let peer = &mut self.peers[p];
        let is_synced = peer.engine.as_ref().is_some_and(|it| it.is_synced());
        if std::mem::replace(&mut peer.is_synced, is_synced) || !is_synced {
            return Ok(());
        }
        if p == HOST {
            reach!(self.reach, "synced: a host was judged");
        } else {
            reach!(self.reach, "synced: a joiner was judged");
        }
        let ours = registers(p, &self.peers[p]);
        for link in self.links.values() {
            let Some(side) = link.ends.iter().position(|end| end.peer == p) else {
                continue;
            };
            let (near, far) = (link.ends[side], link.ends[1 - side]);
            let other = &self.peers[far.peer];
            let is_it = near.boot == self.peers[p].boot && far.boot == other.boot;
            // One that has crashed comes again, and is not connected before it has said who it is: what
            // is said till then is said of the link that it had before.
            let counts = is_it && near.greeted && !near.over && other.engine.is_some();
            if !counts || other.hostile || other.config.role == Role::Guest {
                continue;
            }
            let is_met = |engine: &tandem_core::engine::Engine| {
                let peers = engine.sync_status().peers;
                peers.iter().any(|met| met.peer == other.id)
            };
            if !self.peers[p].engine.as_ref().is_some_and(is_met) {
                continue;
            }
            if let Some(register) = lacks(&ours, &registers(far.peer, other)) {
                let what = format!(
                    "{} says that all is synced, and {} lacks {register:?}",
                    self.peers[p].name, other.name
                );
                return Err(Failure::safety("P2", what));
            }
        }
        if p == HOST {
            return Ok(());
        }
        let on_disk: Vec<Arc<Vec<u8>>> = self.folder.all_bytes().collect();
        self.kept.judge_of(p, &on_disk, &self.folder.history)
    }

    /// Judges a sync that waits for another machine (`durability = peer`): where it is answered, what
    /// the file held lies on the disk of the host; it fails only where it has waited for that long, or
    /// nobody was there for that long, or the disk here has failed.
    pub(crate) fn check_far(
        &mut self,
        p: usize,
        edit: &Edit,
        result: &Result<FsReply, FsError>,
        took: u64,
    ) -> Verdict {
        let peer = &self.peers[p];
        let Edit::Sync { fh, .. } = edit else {
            return Ok(());
        };
        if peer.config.durability != Durability::Peer {
            return Ok(());
        }
        match result {
            Ok(_) => {
                reach!(self.reach, "sync: far");
                let Some(opened) = peer.kernel.open.get(fh) else {
                    return Ok(());
                };
                if peer
                    .bodies
                    .is_changed_since(opened.ino, self.now.saturating_sub(took))
                {
                    // What was written meanwhile need not be there.
                    return Ok(());
                }
                let author = Author::Mount(p, opened.ino);
                let on_disk: Vec<Arc<Vec<u8>>> = self.folder.all_bytes().collect();
                (self.kept).judge_file(author, &on_disk, &self.folder.history)
            }
            Err(FsError::Io) => {
                // Clocks differ by a thousandth at most.
                let deadline = self.config.read_deadline / 1_000 * 998;
                let since = peer.live.unmet_since;
                let is_alone = since.is_some_and(|since| self.now >= since + deadline);
                let caused = &peer.caused;
                let may_be_here = caused.disk_for_good || caused.disk.any() || caused.commit.any();
                if took >= deadline || is_alone || may_be_here || peer.stopping {
                    reach!(self.reach, "sync: not far");
                    return Ok(());
                }
                let what = format!(
                    "a sync of {} fails after {} ms",
                    peer.name,
                    took / 1_000_000
                );
                Err(Failure::safety("P9", what))
            }
            Err(_) => Ok(()),
        }
    }

    /// Judges, when all is at rest, that everybody who is connected says that all is synced, but for
    /// what a peer that is gone for good has made, and for files of which something is nowhere.
    pub(crate) fn check_all_synced(&mut self) -> Verdict {
        for (p, peer) in self.peers.iter().enumerate() {
            let Some(engine) = peer.engine.as_ref().filter(|_| self.lost != Some(p)) else {
                continue;
            };
            let status = engine.sync_status();
            let is_nowhere = |file: &WaitingFile| {
                let path: Vec<Vec<u8>> = file
                    .path
                    .iter()
                    .map(|name| name.as_bytes().to_vec())
                    .collect();
                self.nowhere.contains(&path)
            };
            // The list is of the first few.
            let rest = status
                .waiting
                .iter()
                .filter(|file| !is_nowhere(file))
                .count();
            let is_owed = rest > 0 || status.unpublished > 0 || status.unseen > 0;
            let are_told = status.peers.iter().all(|peer| peer.unacknowledged == 0);
            if status.synced || status.peers.is_empty() || (!is_owed && are_told) {
                continue;
            }
            let what = format!("{} is not synced at the end: {status:?}", peer.name);
            return Err(Failure::new(super::Kind::Convergence, "synced", what));
        }
        Ok(())
    }
}
