//! What was seen in the shared folder becomes registers.
//!
//! Law: an outside edit's parent is the version that its file held, never the newest known. A
//! fingerprint that is equal means that nothing happened; one that differs only in its change
//! time is settled by the hashes on record, so that a changed mode costs nobody a download.

use alloc::vec::Vec;

use crate::action::{Action, DiskWish, Placed};
use crate::engine::Engine;
use crate::error::DiskError;
use crate::event::{DiskDone, Fingerprint, Seen, Sighting};
use crate::folder::{Recheck, file_key};
use crate::ids::{ChunkHash, ChunkIx, Dot, EntryId, NodeId, ObjectId};
use crate::limits::FILE_SIZE_MAX;
use crate::on::disk::Job;
use crate::records;
use crate::time::WallTime;
use crate::tree::name::Name;
use crate::tree::register::{Attrs, Body, Content, Entry, Kind, Register};

/// The seconds of a day.
const DAY: i64 = 86_400;

/// Returns the UTC day of a moment, in days from 1970; the first for anything before.
pub(crate) fn day_of(wall: WallTime) -> u32 {
    u32::try_from(wall.secs.div_euclid(DAY)).unwrap_or(0)
}

/// Returns what a sighting is to peers: nothing, if it is only of this machine.
fn kind_of(sighting: &Sighting) -> Option<Kind> {
    match &sighting.what {
        Seen::File if sighting.print.size > FILE_SIZE_MAX => None,
        Seen::File => Some(Kind::File),
        Seen::Directory => Some(Kind::Directory),
        Seen::Symlink(_) => Some(Kind::Symlink),
        Seen::Local => None,
    }
}

impl Engine {
    /// Something was seen under a name.
    pub(crate) fn seen(&mut self, dir: NodeId, name: &Name, sighting: &Sighting, wall: WallTime) {
        if !self.is_directory(dir) {
            // What stood there was a directory when it was looked into, and is none here yet.
            return;
        }
        let Some(kind) = kind_of(sighting) else {
            self.not_seen(dir, name);
            return;
        };
        self.folder.missing.remove(&(dir, name.clone()));
        let known = self.tree.lookup(dir, name.as_bytes());
        if let Some(node) = known
            && self.is_file_of(node, kind, &sighting.print)
        {
            self.update(node, sighting, wall);
            return;
        }
        let mover = self
            .folder
            .node_of(file_key(&sighting.print))
            .filter(|mover| self.kind(*mover) == Some(kind));
        match (known, mover) {
            (Some(node), None)
                if self.kind(node) == Some(kind) && self.tree.places(node).count() == 1 =>
            {
                // Another file stands in its place, as after a save by rename. (Of a file with
                // several names, the others still name the old one.)
                self.update(node, sighting, wall);
                if kind == Kind::Directory {
                    self.folder.list(node);
                }
            }
            (Some(_), None) => {
                self.delete(dir, name);
                self.create(dir, name, kind, sighting, wall);
            }
            (None, None) => self.create(dir, name, kind, sighting, wall),
            (known, Some(mover)) => {
                if known.is_some() {
                    self.delete(dir, name);
                }
                if kind == Kind::File && sighting.nlink > 1 {
                    self.add_entry(mover, dir, name);
                } else {
                    self.rename(mover, dir, name);
                }
                self.update(mover, sighting, wall);
                if kind == Kind::Directory {
                    // What was hinted at below either name may have been looked for in vain.
                    self.folder.list(mover);
                }
            }
        }
    }

    fn kind(&self, node: NodeId) -> Option<Kind> {
        self.tree.node(node).map(|view| view.kind)
    }

    /// Returns whether a node is a directory that has a name.
    pub(crate) fn is_directory(&self, node: NodeId) -> bool {
        self.kind(node) == Some(Kind::Directory)
    }

    fn is_file_of(&self, node: NodeId, kind: Kind, print: &Fingerprint) -> bool {
        let placed = self.folder.placed(node);
        self.kind(node) == Some(kind)
            && placed.is_some_and(|placed| file_key(&placed.print) == file_key(print))
    }

    /// Nothing was seen under a name: if that holds, it is deleted.
    pub(crate) fn not_seen(&mut self, dir: NodeId, name: &Name) {
        let spot = (dir, name.clone());
        if self.tree.lookup(dir, name.as_bytes()).is_none() {
            self.folder.missing.remove(&spot);
            // It may have been a name of a file that was written through it.
            for node in self.folder.take_linked() {
                self.look_at_node(node);
            }
            return;
        }
        match self.folder.missing.get(&spot) {
            Some(true) => {
                self.folder.missing.remove(&spot);
                self.delete(dir, name);
            }
            Some(false) => {}
            None => {
                self.folder.missing.insert(spot, false);
            }
        }
    }

    /// Remembers a node's file.
    pub(crate) fn place(&mut self, node: NodeId, version: Dot, print: Fingerprint) {
        let placed = Placed { version, print };
        self.folder.place(node, placed);
        self.commits
            .put(records::placed(node), records::encode(&placed));
    }

    /// A file, directory or symlink is new.
    fn create(
        &mut self,
        dir: NodeId,
        name: &Name,
        kind: Kind,
        sighting: &Sighting,
        wall: WallTime,
    ) {
        let stamp = self.stamp();
        let node = NodeId(stamp.dot);
        // A directory's time is its own and is not kept up; what it was at first is shown.
        let mtime = (kind == Kind::Directory).then_some(sighting.print.mtime);
        self.make(Register::Attrs(Attrs {
            node,
            stamp,
            kind,
            mode: sighting.mode,
            uid: sighting.uid,
            gid: sighting.gid,
            mtime,
            xattrs: sighting.xattrs.clone(),
        }));
        if kind == Kind::Directory {
            self.place(node, stamp.dot, sighting.print);
        } else {
            self.new_version(node, sighting, wall, None);
        }
        self.add_entry(node, dir, name);
        if kind == Kind::Directory {
            self.folder.list(node);
        }
        self.count_names(node, sighting);
    }

    /// Notes whether a file has names that are not known.
    fn count_names(&mut self, node: NodeId, sighting: &Sighting) {
        let known = self.tree.places(node).count();
        let all = usize::try_from(sighting.nlink).unwrap_or(usize::MAX);
        if sighting.what == Seen::File && all > known {
            self.folder.has_more_names(node);
        }
    }

    /// A node gets a further name.
    fn add_entry(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let stamp = self.stamp();
        self.make(Register::Entry(Entry {
            id: EntryId(stamp.dot),
            stamp,
            node,
            parent: dir,
            name: name.clone(),
            previous: None,
            deleted: None,
        }));
    }

    /// A node stands under another name.
    fn rename(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let place = self
            .tree
            .places(node)
            .next()
            .and_then(|(parent, name)| self.tree.entry_at(parent, name.as_bytes()));
        let old = place.and_then(|id| self.tree.registers().entry(id).cloned());
        match old {
            Some(old) => {
                let stamp = self.stamp();
                self.make(Register::Entry(Entry {
                    stamp,
                    previous: Some((old.parent, old.name)),
                    parent: dir,
                    name: name.clone(),
                    ..old
                }));
            }
            None => self.add_entry(node, dir, name),
        }
    }

    /// A name is deleted, and what was below it.
    fn delete(&mut self, dir: NodeId, name: &Name) {
        let Some(node) = self.tree.lookup(dir, name.as_bytes()) else {
            return;
        };
        // Leaves first; a stack of our own, since a folder may be deeper than ours.
        let mut left = alloc::vec![(dir, name.clone(), node, false)];
        while let Some((dir, name, node, is_empty)) = left.pop() {
            if !is_empty && self.is_directory(node) {
                left.push((dir, name, node, true));
                let below: Vec<_> = self
                    .tree
                    .list(node)
                    .map(|(name, below)| (node, name.clone(), below, false))
                    .collect();
                left.extend(below);
                continue;
            }
            self.delete_entry(dir, &name, node);
        }
    }

    fn delete_entry(&mut self, dir: NodeId, name: &Name, node: NodeId) {
        let id = self.tree.entry_at(dir, name.as_bytes());
        let Some(old) = id.and_then(|id| self.tree.registers().entry(id).cloned()) else {
            return;
        };
        let deleted = Some(self.me.knowledge.clone());
        let stamp = self.stamp();
        self.make(Register::Entry(Entry {
            stamp,
            deleted,
            ..old
        }));
        if self.tree.places(node).next().is_none() {
            if let Some(placed) = self.folder.placed(node).copied() {
                self.forget_hashes(ObjectId {
                    node,
                    version: placed.version,
                });
            }
            self.folder.displace(node);
            self.end_recheck(node);
            self.commits.remove(records::placed(node));
        } else if self.tree.lookup(dir, name.as_bytes()) != Some(node) {
            // What was written through this name is seen under the others. If the delete did not
            // hold, as with an edit that the deleter did not know, a further look would only try
            // it again, for ever.
            self.look_at_node(node);
        }
    }

    /// A file that is known was seen again.
    fn update(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime) {
        self.update_attrs(node, sighting);
        self.count_names(node, sighting);
        let Some(placed) = self.folder.placed(node).copied() else {
            if self.is_directory(node) {
                self.place(node, node.0, sighting.print);
            } else {
                self.new_version(node, sighting, wall, None);
            }
            return;
        };
        let print = sighting.print;
        if placed.print == print {
            return;
        }
        if self.is_directory(node) {
            self.place(node, placed.version, print);
            return;
        }
        if let Some(recheck) = self.folder.rechecks.get(&node) {
            if recheck.sighting.print == print {
                return;
            }
            self.end_recheck(node);
        }
        let before = placed.print;
        let is_same_file = file_key(&before) == file_key(&print);
        let is_same_link = match (&sighting.what, self.target_of(node)) {
            (Seen::Symlink(target), Some(known)) => *target == known,
            (Seen::Symlink(_), None) => false,
            (Seen::File | Seen::Directory | Seen::Local, _) => true,
        };
        let is_only_touched = is_same_file
            && is_same_link
            && before.size == print.size
            && before.mtime == print.mtime;
        if is_only_touched {
            self.recheck(node, sighting, wall);
        } else {
            self.new_version(node, sighting, wall, Some(placed.version));
        }
    }

    fn target_of(&self, node: NodeId) -> Option<crate::tree::name::TargetPath> {
        match self.tree.node(node)?.body? {
            Body::Link { target } => Some(target.clone()),
            Body::File { .. } => None,
        }
    }

    /// The root has the attributes of the shared folder.
    pub(crate) fn update_root(&mut self, sighting: &Sighting) {
        if self.tree.registers().attrs(NodeId::ROOT).is_some() {
            self.update_attrs(NodeId::ROOT, sighting);
            return;
        }
        let stamp = self.stamp();
        self.make(Register::Attrs(Attrs {
            node: NodeId::ROOT,
            stamp,
            kind: Kind::Directory,
            mode: sighting.mode,
            uid: sighting.uid,
            gid: sighting.gid,
            mtime: Some(sighting.print.mtime),
            xattrs: sighting.xattrs.clone(),
        }));
    }

    fn update_attrs(&mut self, node: NodeId, sighting: &Sighting) {
        let Some(known) = self.tree.registers().attrs(node).cloned() else {
            return;
        };
        let is_same = known.mode == sighting.mode
            && known.uid == sighting.uid
            && known.gid == sighting.gid
            && known.xattrs == sighting.xattrs;
        if !is_same {
            let stamp = self.stamp();
            self.make(Register::Attrs(Attrs {
                stamp,
                mode: sighting.mode,
                uid: sighting.uid,
                gid: sighting.gid,
                xattrs: sighting.xattrs.clone(),
                ..known
            }));
        }
    }

    /// A file or symlink has new content, made on `base`.
    fn new_version(
        &mut self,
        node: NodeId,
        sighting: &Sighting,
        wall: WallTime,
        base: Option<Dot>,
    ) {
        let body = match &sighting.what {
            Seen::Symlink(target) => Body::Link {
                target: target.clone(),
            },
            Seen::File | Seen::Directory | Seen::Local => Body::File {
                size: sighting.print.size,
                chunk_size: self.config.chunk_size,
            },
        };
        let (context, beside) = self.tree.registers().context_for(node, base);
        let stamp = self.stamp();
        self.make(Register::Content(Content {
            node,
            stamp,
            context,
            beside,
            author: self.config.name.clone(),
            day: day_of(wall),
            mtime: sighting.print.mtime,
            body,
            base: None,
            changed: None,
        }));
        if let Some(version) = base {
            self.forget_hashes(ObjectId { node, version });
        }
        self.place(node, stamp.dot, sighting.print);
    }

    /// Settles whether a file whose change time alone has moved still holds its version: every
    /// chunk that a peer may have is hashed again. What nobody has may be anything.
    fn recheck(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime) {
        let Some(placed) = self.folder.placed(node).copied() else {
            return;
        };
        let object = ObjectId {
            node,
            version: placed.version,
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
        let print = recheck.sighting.print;
        let body = self.tree.node(node).and_then(|view| view.body.cloned());
        let path = self.tree.path(node);
        match (next, body, path) {
            (Some((chunk, hash)), Some(Body::File { size, chunk_size }), Some(path)) => {
                let offset = u64::from(chunk.0) * u64::from(chunk_size);
                let left = size.saturating_sub(offset);
                let len = u32::try_from(left).map_or(chunk_size, |left| left.min(chunk_size));
                let wish = DiskWish::ReadChunk { path, offset, len };
                self.job(Job::Recheck { node, round, hash }, wish);
            }
            (None, _, _) => {
                if let Some(placed) = self.folder.placed(node).copied() {
                    self.place(node, placed.version, print);
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
    fn end_recheck(&mut self, node: NodeId) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Config, Last, Start};
    use crate::event::Event;
    use crate::ids::{ActorId, Lamport, PeerId};
    use crate::label::Label;
    use crate::message::Role;
    use crate::time::Time;
    use crate::tree::register::{Stamp, Xattrs};
    use crate::version::VersionVector;

    /// More looks than a folder of two names has reason for.
    const LOOKS_MAX: usize = 8;

    /// A damaged store held an edit beyond the knowledge beside it. Another file was renamed over
    /// that one: its delete did not hold, the name was looked at again, deleted again, and so on
    /// for ever, until memory was full of updates.
    #[test]
    fn a_delete_that_does_not_hold_is_not_tried_for_ever() {
        let mut engine = host();
        for register in stranger() {
            engine.absorb(register);
        }
        let name = |name: &[u8]| Name::parse(name).expect("a good name");
        engine.seen(NodeId::ROOT, &name(b"b"), &file(7), WallTime::default());
        assert!(engine.tree.lookup(NodeId::ROOT, b"b").is_some());
        // `mv b a`, of which the watcher tells once.
        engine
            .folder
            .look((NodeId::ROOT, name(b"a")), Time::ZERO, true);
        engine.handle(Time::ZERO, Event::Tick);
        let mut looks = 0;
        while let Some(action) = engine.poll_action() {
            if let Action::Disk { job, wish } = action
                && let DiskWish::Look { path } = wish
            {
                looks += 1;
                assert!(looks < LOOKS_MAX, "a name is looked at for ever");
                let outcome = Ok(DiskDone::Looked {
                    sighting: (path == [name(b"a")]).then(|| file(7)),
                    wall: WallTime::default(),
                });
                engine.handle(Time::ZERO, Event::Disk { job, outcome });
            }
        }
        assert!(looks > 0, "the name is looked at");
    }

    fn host() -> Engine {
        let config = Config::new(PeerId([1; 32]), Label::lossy("host"), Role::Full);
        let start = Start {
            seed: 7,
            now: Time::ZERO,
            last: Last::Clean,
        };
        Engine::restore(config, start, []).expect("nothing is there to be damaged")
    }

    fn file(ino: u64) -> Sighting {
        Sighting {
            what: Seen::File,
            print: Fingerprint {
                ino,
                born_ns: 1,
                size: 1,
                mtime: WallTime::default(),
                ctime: WallTime::default(),
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            nlink: 1,
            xattrs: Xattrs::new(),
        }
    }

    /// A file `a` that somebody made of whom the host knows nothing.
    fn stranger() -> [Register; 3] {
        let stamp = |counter| Stamp {
            lamport: Lamport(counter),
            dot: Dot {
                actor: ActorId(99),
                counter,
            },
        };
        let node = NodeId(stamp(1).dot);
        let attrs = Attrs {
            node,
            stamp: stamp(1),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: None,
            xattrs: Xattrs::new(),
        };
        let content = Content {
            node,
            stamp: stamp(2),
            context: VersionVector::new(),
            beside: Vec::new(),
            author: Label::lossy("stranger"),
            day: 0,
            mtime: WallTime::default(),
            body: Body::File {
                size: 1,
                chunk_size: 512,
            },
            base: None,
            changed: None,
        };
        let entry = Entry {
            id: EntryId(stamp(3).dot),
            stamp: stamp(3),
            node,
            parent: NodeId::ROOT,
            name: Name::parse(b"a").expect("a good name"),
            previous: None,
            deleted: None,
        };
        [
            Register::Attrs(attrs),
            Register::Content(content),
            Register::Entry(entry),
        ]
    }
}
