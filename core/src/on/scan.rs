//! The shared folder is listed and looked at.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::action::{DiskWish, Placed};
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::{DiskDone, Fingerprint, Hint, Seen, Sighting};
use crate::folder::{Spot, file_key};
use crate::ids::{JobId, NodeId};
use crate::limits::{LISTS_IN_FLIGHT_MAX, MISSING_GRACE, MISSING_UNASKED_MAX};
use crate::on::disk::Job;
use crate::place_wish::PlaceWish;
use crate::time::WallTime;
use crate::timers::Timer;
use crate::tree::name::Name;

impl Engine {
    /// Has the next directories listed and the next names looked at.
    pub(crate) fn pump_lists(&mut self) {
        if self.stopping {
            return;
        }
        while let Some(dir) = self.folder.unlisted.next(self.now) {
            self.folder.list(dir);
        }
        while let Some(spot) = self.folder.unseen.next(self.now) {
            self.folder.look(spot, self.now, true);
        }
        while self.folder.listing.len() < LISTS_IN_FLIGHT_MAX {
            let Some(dir) = self.folder.next_list() else {
                break;
            };
            let Some(path) = self.folder.standing.path(dir) else {
                continue;
            };
            if dir == NodeId::ROOT {
                // The root stands in no listing.
                let path = Vec::new();
                self.job(Job::RootLooked, DiskWish::Look { path });
            }
            self.folder
                .listing
                .insert(JobId(self.next_job), (dir, false));
            self.job(Job::Listed(dir), DiskWish::List { path });
        }
        while let Some((dir, name)) = self.folder.next_look(self.now) {
            match self.path_of(dir, &name) {
                Some(path) => self.job(Job::Looked(dir, name), DiskWish::Look { path }),
                None => self.folder.looked(&(dir, name)),
            }
        }
        let again = [self.folder.unlisted.when(), self.folder.unseen.when()];
        let again = again
            .into_iter()
            .flatten()
            .chain(self.folder.next_ripe())
            .min();
        match again {
            Some(ripe) => self.timers.set(Timer::Looks, ripe),
            None => self.timers.cancel(Timer::Looks),
        }
        if !self.folder.is_listing() && self.folder.placed(NodeId::ROOT).is_some() {
            self.folder.scanned = true;
            self.folder.recovers = false;
            self.folder.renamed.clear();
        }
    }

    fn path_of(&self, dir: NodeId, name: &Name) -> Option<Vec<Name>> {
        let mut path = self.folder.standing.path(dir)?;
        path.push(name.clone());
        Some(path)
    }

    /// Has what was not found looked at once more, when nothing else is going on.
    pub(crate) fn pump_missing(&mut self) {
        let waits = self.folder.missing.values().any(|confirming| !confirming);
        if self.stopping || !waits || self.timers.when(Timer::Missing).is_some() {
            return;
        }
        self.timers.set(Timer::Missing, self.now + MISSING_GRACE);
    }

    /// What was not found has had time to turn up elsewhere.
    pub(crate) fn confirm_missing(&mut self) {
        if !self.folder.is_idle(self.now) {
            return;
        }
        if self.misses_much() {
            return;
        }
        let now = self.now;
        let mut spots = Vec::new();
        for (spot, confirming) in &mut self.folder.missing {
            if !*confirming {
                *confirming = true;
                spots.push(spot.clone());
            }
        }
        for spot in spots {
            self.folder.look(spot, now, true);
        }
    }

    /// Stops, before anybody is told, if so much is missing that it may be a disk that is not
    /// there, or a slip of the hand.
    fn misses_much(&mut self) -> bool {
        if self.config.accept_deletes {
            return false;
        }
        let standing = &self.folder.standing;
        let spots = || self.folder.missing.keys();
        let found = |(dir, name): &Spot| Some((*dir, standing.lookup(*dir, name)?));
        let gone: BTreeSet<NodeId> = spots().filter_map(found).map(|(_, node)| node).collect();
        // What is missing with its directory is counted with it, and once.
        let is_top = |dir: NodeId| !standing.ancestors(dir).any(|at| gone.contains(&at));
        let tops = spots().filter_map(found).filter(|(dir, _)| is_top(*dir));
        let missing: usize = tops.map(|(_, node)| standing.weigh(node)).sum();
        let known = standing.nodes().count();
        if missing <= MISSING_UNASKED_MAX || missing * 2 <= known {
            return false;
        }
        self.fault(Fault::MuchMissing { missing, known });
        self.on_stop();
        true
    }

    /// The watcher has a hint.
    pub(crate) fn on_hint(&mut self, hint: Hint) {
        let (path, is_settled, is_deep) = match hint {
            Hint::Path { path, settled } => (path, settled, false),
            Hint::Subtree { path } => (path, true, true),
        };
        if is_deep && let Some(dir) = self.folder.standing.resolve(&path) {
            self.folder.hinted(dir);
            self.folder.list(dir);
            return;
        }
        let mut dir = NodeId::ROOT;
        let mut left = path.iter().peekable();
        while let Some(name) = left.next() {
            let is_last = left.peek().is_none();
            let below = self.folder.standing.lookup(dir, name);
            match below {
                Some(node) if !is_last && self.is_directory(node) => dir = node,
                Some(_) | None => {
                    // What is below a name that is not known yet is found with it.
                    self.folder.hinted(dir);
                    let now = self.now;
                    self.folder
                        .look((dir, name.clone()), now, is_settled || !is_last);
                    return;
                }
            }
        }
        self.folder.hinted(dir);
        self.folder.list(dir);
    }

    /// Has a file looked at under each of its names.
    pub(crate) fn look_at_node(&mut self, node: NodeId) {
        let spots: Vec<Spot> = self.folder.standing.spots(node).cloned().collect();
        if spots.is_empty() && self.folder.standing.is_parked(node) {
            // A program that has it open may have written to it there.
            self.look_out_of_the_way(node);
        }
        for spot in spots {
            self.folder.look(spot, self.now, true);
        }
    }

    /// The shared folder itself was looked at: its attributes are the root's.
    pub(crate) fn on_root_looked(&mut self, outcome: Result<DiskDone, DiskError>) {
        match outcome {
            Ok(DiskDone::Looked {
                sighting: Some(sighting),
                ..
            }) if sighting.what == Seen::Directory => self.update_root(&sighting),
            // The listing, asked for at the same time, tells what is wrong with it.
            Ok(other) => self.drop_payload(Ok(other)),
            Err(_) => {}
        }
    }

    /// A directory was listed.
    pub(crate) fn on_listed(
        &mut self,
        job: JobId,
        dir: NodeId,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let hinted = self
            .folder
            .listing
            .remove(&job)
            .is_none_or(|(_, hinted)| hinted);
        self.counters.listed += 1;
        match outcome {
            Ok(DiskDone::Listed {
                this,
                items,
                complete,
                wall,
            }) => {
                if complete {
                    self.folder.unlisted.shown(&dir);
                } else {
                    let jitter = self.rng.next_u8();
                    self.folder.unlisted.refused(dir, self.now, jitter);
                }
                if self.is_listing_of(dir, &this) {
                    self.take_listing(dir, items, complete, wall, hinted);
                } else {
                    self.look_at_node(dir);
                }
            }
            Ok(other) => self.drop_payload(Ok(other)),
            Err(DiskError::NotFound | DiskError::WrongKind) => self.look_at_node(dir),
            Err(why) => {
                let jitter = self.rng.next_u8();
                if self.folder.unlisted.refused(dir, self.now, jitter) {
                    let what = alloc::format!("listing {}", self.shown_path(dir));
                    self.fault(Fault::Disk { what, why });
                }
            }
        }
    }

    /// Has a directory listed, in the folder or out of the way.
    pub(crate) fn list_where_it_is(&mut self, dir: NodeId) {
        if self.folder.standing.path(dir).is_some() {
            self.folder.list(dir);
            return;
        }
        let spot = self.folder.standing.spots(dir).next().cloned();
        if let Some(at) = self.whereabouts_or_parked(dir, spot.as_ref()) {
            let wish = DiskWish::Place(PlaceWish::List { at });
            self.job(Job::Strays(dir), wish);
        }
    }

    /// A directory that lies out of the way was listed. What is in it and nobody knows of was made
    /// by a program that was in there, or just before it went: for that it comes back. All else is
    /// where it is known to be, or found missing when it is moved.
    pub(crate) fn on_strays(&mut self, dir: NodeId, outcome: Result<DiskDone, DiskError>) {
        match outcome {
            Ok(DiskDone::Listed {
                this, items, wall, ..
            }) => {
                if !self.is_listing_of(dir, &this) {
                    return;
                }
                for (name, sighting) in items {
                    if self.folder.standing.lookup(dir, &name).is_none() {
                        self.seen(dir, &name, &sighting, wall);
                    }
                }
            }
            // What is wrong is found again when the directory is tried to be removed again.
            Ok(other) => self.drop_payload(Ok(other)),
            Err(_) => {}
        }
    }

    /// Returns whether a listing is of the directory that it was asked of, and not of another
    /// that stands there by now. The shell holds the folder itself, so that it is what is listed,
    /// whichever directory that was at the last start: a copy has another root.
    fn is_listing_of(&mut self, dir: NodeId, this: &Fingerprint) -> bool {
        let placed = self.folder.placed(dir).map(|placed| &placed.print);
        match placed.map(|print| file_key(print) == file_key(this)) {
            Some(true) => true,
            Some(false) if dir != NodeId::ROOT => false,
            Some(false) | None => {
                self.folder.place(
                    dir,
                    Placed {
                        version: dir.0,
                        print: *this,
                    },
                );
                self.remember_placed(dir);
                true
            }
        }
    }

    fn take_listing(
        &mut self,
        dir: NodeId,
        items: Vec<(Name, Sighting)>,
        is_complete: bool,
        wall: WallTime,
        hinted: bool,
    ) {
        let listed: BTreeSet<Name> = items.iter().map(|(name, _)| name.clone()).collect();
        let absent: Vec<Name> = self
            .folder
            .standing
            .list(dir)
            .filter(|(name, _)| is_complete && !listed.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        // What is known to have had another name comes first: else what stands there by now would be
        // taken for an edit of it.
        let (moved, rest): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|(name, sighting)| self.is_moved(dir, name, sighting));
        for (name, sighting) in moved.into_iter().chain(rest) {
            // What was seen before a hint came may be older than what a look has seen since.
            if hinted {
                self.folder.look((dir, name.clone()), self.now, true);
            } else {
                self.seen(dir, &name, &sighting, wall);
            }
            if let Some(below) = self.folder.standing.lookup(dir, &name)
                && self.is_directory(below)
            {
                self.folder.list(below);
            }
        }
        for name in absent {
            self.not_seen(dir, &name);
        }
    }

    fn is_moved(&self, dir: NodeId, name: &Name, sighting: &Sighting) -> bool {
        let node = self.folder.node_of(file_key(&sighting.print));
        node.is_some() && self.folder.standing.lookup(dir, name) != node
    }

    /// A name was looked at.
    pub(crate) fn on_looked(
        &mut self,
        dir: NodeId,
        name: Name,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let spot = (dir, name.clone());
        self.folder.looked(&spot);
        if self.folder.was_outdated(&spot) {
            self.drop_payload(outcome);
            self.folder.look(spot, self.now, true);
            return;
        }
        match outcome {
            Ok(DiskDone::Looked {
                sighting: Some(sighting),
                wall,
            }) => {
                self.seen(spot.0, &spot.1, &sighting, wall);
            }
            Ok(DiskDone::Looked { sighting: None, .. })
            | Err(DiskError::NotFound | DiskError::WrongKind) => self.not_seen(spot.0, &spot.1),
            Ok(other) => self.drop_payload(Ok(other)),
            Err(why) => {
                // What could not be read is not missing.
                self.folder.missing.remove(&spot);
                let jitter = self.rng.next_u8();
                if self.folder.unseen.refused(spot.clone(), self.now, jitter) {
                    let (dir, name) = &spot;
                    let what = alloc::format!("looking at {}/{name}", self.shown_path(*dir));
                    self.fault(Fault::Disk { what, why });
                }
                return;
            }
        }
        self.folder.unseen.shown(&(dir, name));
    }

    /// Returns a node's path for a person to read.
    pub(crate) fn shown_path(&self, node: NodeId) -> String {
        let path = self.tree.path(node).unwrap_or_default();
        let names: Vec<String> = path.iter().map(ToString::to_string).collect();
        alloc::format!("/{}", names.join("/"))
    }
}
