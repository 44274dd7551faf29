//! What was seen in the shared folder becomes registers.
//!
//! Law: what is seen is compared with what stands there, never with the tree, and an outside
//! edit's parent is the version that its file held, never the newest known. A fingerprint that is
//! equal means that nothing happened; one whose size and time are the same is settled by the
//! hashes on record, so that a changed mode, or a copy of the folder, costs nobody a download. What
//! is seen to be as the tree wants it anyway makes no register.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::action::Placed;
use crate::engine::Engine;
use crate::event::{Fingerprint, Seen, Sighting};
use crate::folder::{Spot, Worn, file_key};
use crate::ids::{Dot, EntryId, NodeId, ObjectId};
use crate::limits::FILE_SIZE_MAX;
use crate::mutant::Mutant;
use crate::on::placed::same_content;
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

/// Returns whether two fingerprints may be of one content.
fn looks_alike(a: &Fingerprint, b: &Fingerprint) -> bool {
    a.size == b.size && a.mtime == b.mtime
}

impl Engine {
    /// Something was seen under a name.
    pub(crate) fn seen(&mut self, dir: NodeId, name: &Name, sighting: &Sighting, wall: WallTime) {
        if self.folder.placing.defers(&(dir, name.clone())) {
            return;
        }
        let standing = &self.folder.standing;
        if !self.is_directory(dir) || !(standing.stands(dir) || standing.is_parked(dir)) {
            // What stood there was a directory when it was looked into, and is none here.
            return;
        }
        let Some(kind) = kind_of(sighting) else {
            self.local_seen(dir, name, wall);
            return;
        };
        self.folder.missing.remove(&(dir, name.clone()));
        let known = self.folder.standing.lookup(dir, name);
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
                if self.kind(node) == Some(kind)
                    && (self.folder.standing.count(node) == 1
                        || self.is_copy_of(node, sighting)) =>
            {
                // Another file stands in its place, as after a save by rename. (Of a file with
                // several names, the others still name the old one, but where all were copied.)
                self.stood_elsewhere(sighting);
                self.update(node, sighting, wall);
                if kind == Kind::Directory {
                    self.folder.list(node);
                }
            }
            (Some(_), None) => {
                self.delete(dir, name);
                self.appeared(dir, name, kind, sighting, wall);
            }
            (None, None) => {
                if !self.is_made_by_us(dir, name, kind, sighting) {
                    self.appeared(dir, name, kind, sighting, wall);
                }
            }
            (known, Some(mover)) => {
                let is_ours = self.may_be_moved_by_us(mover);
                if let Some(known) = known {
                    self.displaced(known, dir, name);
                }
                if is_ours {
                    self.was_moved_by_us(mover, dir, name);
                } else if kind == Kind::File && sighting.nlink > 1 {
                    self.stand_alone(mover);
                    self.add_entry(mover, dir, name);
                } else {
                    self.rename(mover, dir, name);
                    self.is_back(mover);
                }
                self.update(mover, sighting, wall);
                if kind == Kind::Directory {
                    // What was hinted at below either name may have been looked for in vain.
                    self.folder.list(mover);
                }
            }
        }
    }

    /// Returns whether a node that is seen under a name may have got it from us: after a kill what was
    /// done last is not on record, and by now the tree may want something else of it. Then it is not
    /// taken for what somebody did, which would undo what a peer did meanwhile.
    fn may_be_moved_by_us(&self, node: NodeId) -> bool {
        if !self.folder.recovers {
            return false;
        }
        let wanted: BTreeSet<Spot> = self.places_of(node).into_iter().collect();
        let spots: BTreeSet<Spot> = self.folder.standing.spots(node).cloned().collect();
        wanted != spots
    }

    /// A node stands where we have put it.
    fn was_moved_by_us(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let wanted = self.places_of(node);
        let mut spots = self.folder.standing.spots(node);
        let left = spots.find(|spot| !wanted.contains(spot)).cloned();
        drop(spots);
        if let Some((dir, name)) = left {
            self.leave(dir, &name);
        }
        self.stand(dir, name, node);
        self.is_back(node);
        self.settle_later_with_all(node);
    }

    /// Another node stands where one did: it is gone from there, and its name with it, unless the tree
    /// wants it elsewhere and it may be there.
    fn displaced(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let is_wanted = self.places_of(node).contains(&(dir, name.clone()));
        if is_wanted || !self.may_be_moved_by_us(node) {
            self.delete(dir, name);
            return;
        }
        self.leave(dir, name);
        self.settle_later(node);
    }

    /// What has but one name was seen under it: it does not lie out of the way, whatever a kill
    /// has left on record.
    fn is_back(&mut self, node: NodeId) {
        let placing = &mut self.folder.placing;
        if self.folder.standing.is_parked(node) && !placing.is_busy(node) {
            self.folder.standing.unpark(node);
            placing.done.parked.insert(node);
            self.settle_later_with_all(node);
        }
    }

    /// Returns whether what was seen is a directory or symlink that the tree wants there, made by
    /// us just before a kill, or by somebody who wants the same; then it stands for that.
    fn is_made_by_us(&mut self, dir: NodeId, name: &Name, kind: Kind, sighting: &Sighting) -> bool {
        if !self.places_changes() {
            return false;
        }
        let wanted = self.tree.lookup(dir, name.as_bytes());
        // It may have been renamed since.
        let spot = (dir, name.clone());
        let was_wanted = || self.folder.renamed.get(&spot).copied();
        let Some(node) = wanted.or_else(was_wanted) else {
            return false;
        };
        if self.folder.standing.stands(node) || self.folder.standing.is_parked(node) {
            return false;
        }
        let view = self.tree.node(node);
        let version = view.and_then(|view| view.version);
        let (is_it, version) = match (&sighting.what, view.and_then(|view| view.body), version) {
            (Seen::Directory, None, _) => (self.kind(node) == Some(kind), node.0),
            (Seen::Symlink(target), Some(Body::Link { target: wanted }), Some(version)) => {
                (target == wanted, version)
            }
            (Seen::File | Seen::Directory | Seen::Symlink(_) | Seen::Local, _, _) => return false,
        };
        if is_it {
            self.place(node, version, sighting);
            self.stand(dir, name, node);
            if kind == Kind::Directory {
                self.folder.list(node);
                self.settle_later_with_all(node);
            }
        }
        is_it
    }

    /// Returns what a node is, whether it has a name or not.
    pub(crate) fn kind(&self, node: NodeId) -> Option<Kind> {
        let shown = self.tree.node(node).map(|view| view.kind);
        shown.or_else(|| self.tree.registers().attrs(node).map(|attrs| attrs.kind))
    }

    /// Returns whether a node is a directory.
    pub(crate) fn is_directory(&self, node: NodeId) -> bool {
        self.kind(node) == Some(Kind::Directory)
    }

    fn is_file_of(&self, node: NodeId, kind: Kind, print: &Fingerprint) -> bool {
        let placed = self.folder.placed(node);
        self.kind(node) == Some(kind)
            && placed.is_some_and(|placed| file_key(&placed.print) == file_key(print))
    }

    /// Returns whether a file with several names looks like the one of a node, with as many: the
    /// whole folder was copied, or came from a backup.
    fn is_copy_of(&self, node: NodeId, sighting: &Sighting) -> bool {
        let count = self.folder.standing.count(node);
        let placed = self.folder.placed(node);
        sighting.what == Seen::File
            && usize::try_from(sighting.nlink).is_ok_and(|links| links == count)
            && placed.is_some_and(|placed| looks_alike(&placed.print, &sighting.print))
    }

    /// Returns the object that a node's file in the shared folder holds, and what that is;
    /// nothing of a directory, and of a version that was superseded.
    pub(crate) fn held_object(&self, node: NodeId) -> Option<(ObjectId, Body)> {
        let version = self.folder.placed(node)?.version;
        let view = self.tree.node(node);
        if let Some(view) = view.filter(|view| view.version == Some(version)) {
            // A conflict copy holds an object of the file that it is a copy of.
            return Some((view.object?, view.body?.clone()));
        }
        let object = ObjectId { node, version };
        let content = self.tree.registers().content(object)?;
        Some((object, content.body.clone()))
    }

    /// Remembers a node's file, as it was seen.
    pub(crate) fn place(&mut self, node: NodeId, version: Dot, sighting: &Sighting) {
        let print = sighting.print;
        self.folder.place(node, Placed { version, print });
        self.folder.wear(node, Worn::from(sighting));
        self.remember_placed(node);
    }

    /// Has stored what is known of a node's file.
    pub(crate) fn remember_placed(&mut self, node: NodeId) {
        if let Some(placed) = self.folder.placed(node) {
            let value = records::encode_placed(placed, self.folder.worn(node));
            self.commits.put(records::placed(node), value);
        }
    }

    /// Notes that a node stands under a name.
    pub(crate) fn stand(&mut self, dir: NodeId, name: &Name, node: NodeId) {
        self.folder.standing.stand(dir, name, node);
        self.settle_later(node);
        self.commits
            .put(records::stands(dir, name), records::encode(&node));
    }

    /// Notes that nothing stands under a name.
    pub(crate) fn leave(&mut self, dir: NodeId, name: &Name) {
        if let Some(old) = self.folder.standing.leave(dir, name) {
            self.settle_later(old);
        }
        self.spot_free(dir, name);
        self.commits.remove(records::stands(dir, name));
    }

    /// A file stands for another one from here on. Where it was moved, and its last name was found to be
    /// gone before, it is what a peer still gets that had begun to make something of what it was.
    fn stood_elsewhere(&mut self, sighting: &Sighting) {
        let was = self.folder.returned(file_key(&sighting.print));
        if let Some((_, was)) = was
            && sighting.what == Seen::File
            && same_content(&was.print, &sighting.print)
        {
            self.still_served(was);
        }
    }

    /// A file, directory or symlink is new.
    /// What nobody knows here is new, or is a file whose last name was found to be gone before this
    /// one was seen: then it is who it was, and what peers did to it meanwhile is done to it.
    fn appeared(
        &mut self,
        dir: NodeId,
        name: &Name,
        kind: Kind,
        sighting: &Sighting,
        wall: WallTime,
    ) {
        let was = self.folder.returned(file_key(&sighting.print));
        let was = was.filter(|(node, _)| {
            self.kind(*node) == Some(kind)
                && !self.folder.standing.stands(*node)
                && !self.folder.standing.is_parked(*node)
                && self.folder.placed(*node).is_none()
        });
        let Some((node, was)) = was else {
            self.create(dir, name, kind, sighting, wall);
            return;
        };
        let version = was.version;
        // The name comes first: while none counts, whatever is told of a file brings back all that
        // were deleted.
        self.name_again(node, dir, name);
        self.update_attrs(node, sighting);
        match kind {
            // Its hashes were forgotten with its name, and it may have changed on its way: what it
            // holds is told anew. What a peer had begun to make of the old version it still gets.
            Kind::File | Kind::Symlink => {
                self.new_version(node, sighting, wall, Some(version));
                if same_content(&was.print, &sighting.print) {
                    self.still_served(was);
                }
            }
            Kind::Directory => self.place(node, version, sighting),
        }
        if kind == Kind::Directory {
            self.folder.list(node);
        }
        self.count_names(node, sighting);
    }

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
            self.place(node, stamp.dot, sighting);
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
        let known = self.folder.standing.count(node);
        let all = usize::try_from(sighting.nlink).unwrap_or(usize::MAX);
        if sighting.what == Seen::File && all > known {
            self.folder.has_more_names(node);
        }
    }

    /// A node stands under a further name.
    pub(crate) fn add_entry(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        if self.tree.lookup(dir, name.as_bytes()) != Some(node) {
            self.keep_shown(node, &[]);
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
        self.stand(dir, name, node);
    }

    /// A node of which all names were deleted stands under one: that one counts.
    fn name_again(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let id = self.tree.entry_at(dir, name.as_bytes());
        let old = id.and_then(|id| self.tree.registers().entry(id).cloned());
        match old.filter(|old| old.node == node && old.deleted.is_some()) {
            Some(old) => {
                self.end_what_was_deleted(node, None);
                let stamp = self.stamp();
                let deleted = None;
                self.make(Register::Entry(Entry {
                    stamp,
                    deleted,
                    ..old
                }));
                self.stand(dir, name, node);
            }
            None => self.add_entry(node, dir, name),
        }
    }

    /// A node stands under another name.
    fn rename(&mut self, node: NodeId, dir: NodeId, name: &Name) {
        let wanted: Vec<Spot> = self.places_of(node);
        let spots: Vec<Spot> = self.folder.standing.spots(node).cloned().collect();
        let is_wanted = |spot: &&Spot| wanted.contains(spot);
        if self.tree.lookup(dir, name.as_bytes()) == Some(node) {
            // It is where the tree has it: what it left is a name that the tree has not.
            if let Some((dir, name)) = spots.iter().find(|spot| !is_wanted(spot)) {
                self.leave(*dir, name);
            }
            self.stand(dir, name, node);
            return;
        }
        // The entry of a name under which it stood, else one that a peer moved meanwhile.
        let from = spots.iter().find(is_wanted);
        let moved = wanted.iter().find(|place| !spots.contains(place));
        let place = from.or(moved).or(wanted.first());
        let id = place.and_then(|(dir, name)| self.tree.entry_at(*dir, name.as_bytes()));
        let old = id.and_then(|id| self.tree.registers().entry(id).cloned());
        if let Some((dir, name)) = from.or(spots.first()) {
            self.leave(*dir, name);
        }
        match old {
            Some(old) => {
                let twins = self.twins(node, old.parent, &old.name);
                for other in self.same_names(&old) {
                    let stamp = self.stamp();
                    let deleted = Some(self.me.knowledge.clone());
                    self.make(Register::Entry(Entry {
                        stamp,
                        deleted,
                        ..other
                    }));
                }
                let stamp = self.stamp();
                self.make(Register::Entry(Entry {
                    stamp,
                    previous: Some((old.parent, old.name)),
                    parent: dir,
                    name: name.clone(),
                    ..old
                }));
                self.move_twins(twins, dir, name, stamp);
                self.stand(dir, name, node);
            }
            None => self.add_entry(node, dir, name),
        }
    }

    /// Returns the names under which the tree shows a node.
    ///
    /// They are in the directories that stand for theirs: of several that are one, in that one.
    pub(crate) fn places_of(&self, node: NodeId) -> Vec<Spot> {
        let places = self.tree.places(node);
        let canonical = places.map(|(dir, name)| (self.tree.canonical(dir), name.clone()));
        canonical.collect()
    }

    /// A file that is known was seen again.
    pub(crate) fn update(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime) {
        self.update_attrs(node, sighting);
        self.count_names(node, sighting);
        let Some(placed) = self.folder.placed(node).copied() else {
            if self.is_directory(node) {
                self.place(node, node.0, sighting);
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
            self.place(node, placed.version, sighting);
            return;
        }
        if let Some(recheck) = self.folder.rechecks.get(&node) {
            if recheck.sighting.print == print {
                return;
            }
            self.end_recheck(node);
        }
        let before = placed.print;
        let is_same_link = match (&sighting.what, self.held_object(node)) {
            (Seen::Symlink(target), Some((_, Body::Link { target: known }))) => *target == known,
            (Seen::Symlink(_), Some((_, Body::File { .. }))) => false,
            // A symlink can't be written to: it is the one that it was.
            (Seen::Symlink(_), None) => true,
            (Seen::File | Seen::Directory | Seen::Local, _) => true,
        };
        // It may be another file, a copy: what peers have of it tells whether it holds the same.
        if is_same_link && looks_alike(&before, &print) {
            self.recheck(node, sighting, wall);
        } else {
            let is_newest = self.has(Mutant::ParentNewest);
            let newest = self.tree.node(node).filter(|_| is_newest);
            let parent = newest.and_then(|view| view.version);
            let parent = parent.unwrap_or(placed.version);
            self.new_version(node, sighting, wall, Some(parent));
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
        self.wear(NodeId::ROOT, sighting);
    }

    /// Remembers the attributes that the disk shows of a node.
    fn wear(&mut self, node: NodeId, sighting: &Sighting) {
        let worn = Worn::from(sighting);
        if self.folder.worn(node) != Some(&worn) {
            self.folder.wear(node, worn);
            self.remember_placed(node);
        }
    }

    /// Returns the attributes that a node has by the registers; a conflict copy that has none of
    /// its own has those of the file that it comes from.
    pub(crate) fn known_attrs(&self, node: NodeId) -> Option<Attrs> {
        if let Some(known) = self.tree.registers().attrs(node) {
            return Some(known.clone());
        }
        let view = self.tree.node(node)?;
        Some(Attrs {
            node,
            stamp: crate::tree::register::Stamp::default(),
            kind: view.kind,
            mode: view.mode,
            uid: view.uid,
            gid: view.gid,
            mtime: None,
            xattrs: view.xattrs.clone(),
        })
    }

    /// Takes in the attributes that were seen: what differs from those that the disk showed
    /// before was changed there, and only that.
    fn update_attrs(&mut self, node: NodeId, sighting: &Sighting) {
        let Some(known) = self.known_attrs(node) else {
            return;
        };
        let seen = Worn::from(sighting);
        let worn = self.folder.worn(node).cloned().unwrap_or_else(|| Worn {
            mode: known.mode,
            uid: known.uid,
            gid: known.gid,
            xattrs: known.xattrs.clone(),
        });
        if seen == worn {
            self.wear(node, sighting);
            return;
        }
        let mut next = known.clone();
        if seen.mode != worn.mode {
            next.mode = seen.mode;
        }
        if seen.uid != worn.uid {
            next.uid = seen.uid;
        }
        if seen.gid != worn.gid {
            next.gid = seen.gid;
        }
        if seen.xattrs != worn.xattrs {
            next.xattrs.clone_from(&seen.xattrs);
        }
        self.wear(node, sighting);
        if next != known {
            self.stand_alone(node);
            self.keep_shown(node, &[]);
            let stamp = self.stamp();
            self.make(Register::Attrs(Attrs { stamp, ..next }));
        }
    }

    /// A file or symlink has new content, made on `base`.
    pub(crate) fn new_version(
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
        let held = self.held_object(node);
        self.stand_alone(node);
        if let Some(base) = base {
            self.end_twins(node, base, None);
        }
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
            let old = held.map_or(ObjectId { node, version }, |(object, _)| object);
            self.let_go_of(node, old);
            // Another of its names may lie in the trash, and is written to with this one.
            let key = file_key(&sighting.print);
            let thrown = self.thrown.print(version);
            if thrown.is_some_and(|thrown| file_key(thrown) == key) {
                self.thrown.forget(version);
                self.commits.remove(records::thrown(version));
            }
        }
        self.place(node, stamp.dot, sighting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, DiskWish};
    use crate::engine::{Config, Last, Start};
    use crate::event::{DiskDone, Event};
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
