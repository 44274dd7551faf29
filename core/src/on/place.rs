//! The shared folder follows the tree: what peers made, changed, moved and deleted is placed.
//!
//! Law: one thing at a time is done about a node, and each is a compare-and-swap; when what
//! stands is not what was expected, it is looked at again, and becomes an edit of its own before
//! anything is put over it (S25).

use alloc::vec::Vec;

use crate::action::DiskWish;
use crate::commits::After;
use crate::engine::Engine;
use crate::event::Fingerprint;
use crate::folder::Spot;
use crate::ids::{NodeId, ObjectId};
use crate::message::Role;
use crate::object::{Object, Stage};
use crate::on::disk::Job;
use crate::place_wish::{FileKey, PlaceWish, Ready};
use crate::placing::{BATCH_MAX, DEEDS_MAX, Deed};
use crate::reconcile::{Content, Estate, Parent, Place, Situation, Step, There, reconcile};
use crate::records;
use crate::timers::Timer;
use crate::tree::conflict;
use crate::tree::register::Body;

impl Engine {
    /// Returns whether peers' changes are placed here.
    pub(crate) fn places_changes(&self) -> bool {
        self.config.role == Role::Full && self.config.writable
    }

    /// Has a node looked after.
    pub(crate) fn settle_later(&mut self, node: NodeId) {
        if self.places_changes() {
            self.folder.placing.queue(node);
        }
    }

    /// Has a node looked after once its registers of now are stored.
    pub(crate) fn settle_when_stored(&mut self, node: NodeId) {
        let arrival = self.tree.registers().last_arrival();
        self.folder.placing.queue_fresh(node, arrival);
    }

    /// Has a node looked after, and all that stands or is to stand in it.
    pub(crate) fn settle_later_with_all(&mut self, node: NodeId) {
        if !self.places_changes() {
            return;
        }
        self.settle_later(node);
        let wanted = self.tree.list(node).map(|(_, below)| below);
        let standing = self.folder.standing.list(node).map(|(_, below)| below);
        let below: Vec<NodeId> = wanted.chain(standing).collect();
        for below in below {
            self.folder.placing.queue(below);
        }
    }

    /// Goes on placing, as far as the bounds allow.
    pub(crate) fn pump_places(&mut self) {
        if !self.places_changes() {
            return;
        }
        let is_placing = !self.stopping && self.folder.scanned;
        if is_placing {
            self.begin_placing();
            self.folder.placing.stored(self.told.0);
            self.folder.placing.wake(self.now);
            while self.folder.placing.deeds < DEEDS_MAX {
                let Some(node) = self.folder.placing.next() else {
                    break;
                };
                self.settle(node);
            }
            self.fetch_more();
            self.prepare();
        }
        self.harden_places();
        // Who stops tries nothing again: what is due would be due for ever.
        let again = (self.folder.placing.refused.when()).filter(|_| is_placing);
        match again
            .into_iter()
            .chain(self.folder.placing.harden_at())
            .min()
        {
            Some(due) => self.timers.set(Timer::Place, due),
            None => self.timers.cancel(Timer::Place),
        }
    }

    /// Looks after everything once, when the first scan has shown what stands.
    fn begin_placing(&mut self) {
        if self.folder.placing.begun {
            return;
        }
        self.folder.placing.begun = true;
        // What a scan has found elsewhere is not among them any more.
        self.seek_parked(|count| count == 0);
        let standing: Vec<NodeId> = self.folder.standing.nodes().collect();
        for node in standing {
            self.folder.placing.queue(node);
        }
        let mut left = alloc::vec![NodeId::ROOT];
        while let Some(dir) = left.pop() {
            self.folder.placing.queue(dir);
            for (_, below) in self.tree.list(dir) {
                if self.is_directory(below) {
                    left.push(below);
                } else {
                    self.folder.placing.queue(below);
                }
            }
        }
    }

    /// Has what lies out of the way, by what is on record, looked for there.
    fn seek_parked(&mut self, is_due: impl Fn(usize) -> bool) {
        let standing = &self.folder.standing;
        let is_sought = |node: &NodeId| is_due(standing.count(*node));
        let parked: Vec<NodeId> = standing.parked().filter(is_sought).collect();
        for node in parked {
            self.look_out_of_the_way(node);
        }
    }

    /// Has a node looked for out of the way.
    pub(crate) fn look_out_of_the_way(&mut self, node: NodeId) {
        let at = Self::out_of_the_way(node);
        self.deed(Deed::Seek(node), PlaceWish::Look { at });
    }

    /// Goes on with what an earlier run has begun.
    pub(crate) fn resume_placing(&mut self) {
        self.seek_parked(|count| count > 0);
        let intents: Vec<NodeId> = self.folder.placing.intents.keys().copied().collect();
        for node in intents {
            self.folder.placing.resumed.insert(node);
            self.begin_intent(node);
            self.put(node);
        }
    }

    /// Takes the next step of a node.
    pub(crate) fn settle(&mut self, node: NodeId) {
        self.recognise(node);
        let situation = self.situation(node);
        let step = reconcile(&situation);
        let is_wanting = matches!(step, Step::Fetch);
        if !is_wanting {
            self.folder.placing.stuck.remove(&node);
            self.folder.placing.unfetched.remove(&node);
            self.folder.placing.fetching.remove(&node);
        }
        match step {
            Step::Rest => {}
            Step::Await(other) => self.await_node(node, other),
            Step::Fetch => self.fetch_for(node),
            Step::Put(spot, over) => self.make_ready(node, &spot, over),
            Step::MakeDirectory(spot) => self.make_directory(node, spot),
            Step::Adopt(other, spot) => self.adopt_directory(node, other, &spot),
            Step::Inherit { from, spot, to } => {
                if self.folder.placing.is_busy(from) {
                    self.folder.placing.wait(node, from);
                    return;
                }
                let heir = node;
                let (Some(at), Some(end)) = (self.whereabouts(&spot), self.whereabouts(&to)) else {
                    return;
                };
                let Some(key) = self.key_of(from) else {
                    return;
                };
                let wish = PlaceWish::Move {
                    from: at,
                    key,
                    expect: self.seen_as(from),
                    to: end,
                };
                let deed = Deed::Inherit {
                    heir,
                    from,
                    spot,
                    to,
                };
                self.deed(deed, wish);
            }
            Step::Succeed { from, spot } => self.succeed_in_place(node, from, &spot),
            Step::Move(from, to) => self.move_node(node, from, to),
            Step::Link(from, to) => {
                let (Some(at), Some(end)) = (self.whereabouts(&from), self.whereabouts(&to)) else {
                    return;
                };
                if let Some(key) = self.key_of(node) {
                    let wish = PlaceWish::Link {
                        from: at,
                        key,
                        expect: self.seen_as(node),
                        to: end,
                    };
                    self.deed(Deed::Link(node, to), wish);
                }
            }
            Step::Trash(spot) => self.trash(node, spot),
            Step::RemoveDirectory(spot) => {
                let at = self.whereabouts_or_parked(node, spot.as_ref());
                if let (Some(at), Some(key)) = (at, self.key_of(node)) {
                    let wish = PlaceWish::RemoveDirectory { at, key };
                    self.deed(Deed::Remove(node, spot), wish);
                }
            }
            Step::Park(other) => self.park(node, other),
            Step::Dress => {
                let spot = self.folder.standing.spots(node).next().cloned();
                let at = self.whereabouts_of(node, spot.as_ref());
                let placed = self.folder.placed(node).copied();
                if let (Some(at), Some(placed), Some(dress)) = (at, placed, self.dress_here(node)) {
                    let wish = PlaceWish::Dress {
                        at,
                        expect: placed.print,
                        dress: dress.clone(),
                    };
                    self.deed(Deed::Dress(node, dress), wish);
                }
            }
        }
    }

    fn await_node(&mut self, node: NodeId, other: NodeId) {
        // What it waits for may have had no reason to be looked after; but two that wait for each
        // other are not looked after in turns for ever.
        let is_news = !self.folder.placing.waits(node, other);
        self.folder.placing.wait(node, other);
        if is_news && !self.folder.placing.is_busy(other) {
            self.folder.placing.queue_alone(other);
        }
    }

    /// Returns what there is to know of a node.
    pub(crate) fn situation(&self, node: NodeId) -> Situation {
        let standing: Vec<Spot> = self.folder.standing.spots(node).cloned().collect();
        let wanted = self.places_of(node);
        let wanted: Vec<Place> = wanted
            .into_iter()
            .map(|spot| Place {
                parent: self.parent_of(node, spot.0),
                there: self.there(node, &spot),
                spot,
            })
            .collect();
        Situation {
            is_directory: self.is_directory(node),
            is_parked: self.folder.standing.is_parked(node),
            holds_any: self.folder.standing.holds_any(node),
            content: self.content_of(node),
            is_stuck: self.folder.placing.stuck.contains(&node),
            heir: self.heir(node),
            estate: self.estate(node),
            is_dressed: wanted.is_empty() || self.is_dressed(node),
            standing,
            wanted,
        }
    }

    fn parent_of(&self, node: NodeId, dir: NodeId) -> Parent {
        let standing = &self.folder.standing;
        if !standing.stands(dir) && !standing.is_parked(dir) {
            return Parent::After(dir);
        }
        if !standing.is_below(dir, node) {
            return Parent::Stands;
        }
        // Something between the two stands where the tree does not have it.
        let between = standing.ancestors(dir).take_while(|at| *at != node);
        let misplaced = |at: &NodeId| {
            let wanted = self.places_of(*at);
            !standing.spots(*at).any(|spot| wanted.contains(spot))
        };
        Parent::After(between.into_iter().find(misplaced).unwrap_or(dir))
    }

    fn there(&self, node: NodeId, spot: &Spot) -> There {
        let Some(other) = self.folder.standing.lookup(spot.0, &spot.1) else {
            return match self.folder.placing.owner(spot) {
                Some(owner) if owner != node => There::Leaving(owner),
                Some(_) | None => There::Free,
            };
        };
        if other == node {
            return There::Own;
        }
        let are_directories = self.is_directory(node) && self.is_directory(other);
        if are_directories && self.tree.canonical(other) == node {
            // One that holds the node is never empty before that has gone to its place.
            return if self.folder.standing.is_below(node, other) {
                There::InTheWay(other)
            } else {
                There::Merged(other)
            };
        }
        let wanted = self.places_of(other);
        let leaves = if wanted.is_empty() {
            if !self.is_directory(other) {
                let is_only = self.folder.standing.count(other) == 1;
                let placing = &self.folder.placing;
                let is_open = !placing.is_busy(other) && !placing.is_fresh(other);
                if is_only && self.heir(other).is_none() && is_open {
                    return There::Gone(other);
                }
                true
            } else {
                !self.folder.standing.holds_any(other)
            }
        } else {
            let stands_elsewhere = !self.is_directory(other)
                && self
                    .folder
                    .standing
                    .spots(other)
                    .any(|at| wanted.contains(at));
            stands_elsewhere
                || wanted.iter().any(|to| {
                    self.parent_of(other, to.0) == Parent::Stands
                        && self.folder.standing.lookup(to.0, &to.1).is_none()
                })
        };
        if leaves || self.folder.placing.is_busy(other) {
            There::Leaving(other)
        } else {
            There::InTheWay(other)
        }
    }

    fn content_of(&self, node: NodeId) -> Content {
        let Some(view) = self.tree.node(node) else {
            return Content::Current;
        };
        let placed = self.folder.placed(node);
        let stands = self.folder.standing.stands(node) || self.folder.standing.is_parked(node);
        if view.version.is_none()
            || (stands && placed.is_some_and(|placed| Some(placed.version) == view.version))
        {
            return Content::Current;
        }
        match (view.body, view.object) {
            (Some(Body::Link { .. }), _) | (Some(Body::File { size: 0, .. }), _) => Content::Here,
            (Some(Body::File { .. }), Some(object)) if self.is_whole(object) => Content::Here,
            (Some(Body::File { .. }) | None, _) => Content::Absent,
        }
    }

    fn is_whole(&self, object: ObjectId) -> bool {
        self.objects
            .get(&object)
            .is_some_and(|kept| kept.stage == Stage::Complete)
    }

    /// Returns the conflict copy that shows the version that stands for a node, if it does not
    /// stand yet.
    pub(crate) fn heir(&self, node: NodeId) -> Option<NodeId> {
        let placed = self.folder.placed(node)?;
        if self
            .tree
            .node(node)
            .is_some_and(|view| view.version == Some(placed.version))
        {
            return None;
        }
        let heir = conflict::copy_of(placed.version);
        let view = self.tree.node(heir)?;
        let object = view.object?;
        let is_it = view.version == Some(placed.version) && object.node == node;
        let stands = self.folder.standing.stands(heir) || self.folder.standing.is_parked(heir);
        (is_it && !stands && heir != node).then_some(heir)
    }

    fn estate(&self, node: NodeId) -> Option<Estate> {
        let from = self.tree.node(node)?.object?.node;
        if from == node || self.heir(from) != Some(node) {
            return None;
        }
        let spot = self.folder.standing.spots(from).next()?.clone();
        let standing = &self.folder.standing;
        let is_only = standing.count(from) == 1 && !standing.is_parked(from);
        let is_stuck = self.folder.placing.stuck.contains(&from);
        Some(Estate {
            from,
            spot,
            is_only,
            is_free: self.content_of(from) != Content::Absent || is_stuck,
        })
    }

    /// Gives the disk something to do in the shared folder.
    pub(crate) fn deed(&mut self, deed: Deed, wish: PlaceWish) {
        self.folder.placing.begin(&deed.nodes(), &deed.spots());
        self.folder.placing.deeds += 1;
        self.job(Job::Place(deed), DiskWish::Place(wish));
    }

    fn make_directory(&mut self, node: NodeId, spot: Spot) {
        let (Some(at), Some(dress)) = (self.whereabouts(&spot), self.dress_of(node)) else {
            return;
        };
        let wish = PlaceWish::MakeDirectory { at, dress };
        self.deed(Deed::MakeDirectory(node, spot), wish);
    }

    /// A directory stands already, as another node that the tree has as one with this one.
    fn adopt_directory(&mut self, node: NodeId, other: NodeId, spot: &Spot) {
        if self.folder.placing.is_busy(other) {
            self.folder.placing.wait(node, other);
            return;
        }
        let placed = self.folder.placed(other).copied();
        let worn = self.folder.worn(other).cloned();
        let below: Vec<_> = self.folder.standing.list(other).collect();
        let below: Vec<_> = below
            .into_iter()
            .map(|(name, below)| (name.clone(), below))
            .collect();
        for (name, below) in below {
            self.lift(other, &name);
            self.set_down(node, &name, below);
        }
        self.lift(spot.0, &spot.1);
        self.set_down(spot.0, &spot.1, node);
        if let Some(placed) = placed {
            let version = node.0;
            self.folder
                .place(node, crate::action::Placed { version, ..placed });
        }
        if let Some(worn) = worn {
            self.folder.wear(node, worn);
        }
        self.folder.placing.done.nodes.insert(node);
        self.settle_later_with_all(node);
    }

    /// A conflict copy has got the name under which its version stands as that of the file which it
    /// was made of: whoever settles a conflict gives it that. Nothing moves.
    fn succeed_in_place(&mut self, heir: NodeId, from: NodeId, spot: &Spot) {
        if self.folder.placing.is_busy(from) {
            self.folder.placing.wait(heir, from);
            return;
        }
        self.inherited(heir, from, spot, spot);
        self.settle_later(heir);
        self.settle_later(from);
    }

    /// Returns the fingerprint under which a file was last seen; of a directory none counts.
    fn seen_as(&self, node: NodeId) -> Option<Fingerprint> {
        let placed = self.folder.placed(node)?;
        (!self.is_directory(node)).then_some(placed.print)
    }

    fn move_node(&mut self, node: NodeId, from: Option<Spot>, to: Spot) {
        let at = self.whereabouts_or_parked(node, from.as_ref());
        let end = self.whereabouts(&to);
        if let (Some(at), Some(end), Some(key)) = (at, end, self.key_of(node)) {
            // What lies out of the way is looked at when it stands again.
            let expect = self.seen_as(node).filter(|_| from.is_some());
            let wish = PlaceWish::Move {
                from: at,
                key,
                expect,
                to: end,
            };
            let to = Some(to);
            self.deed(Deed::Move { node, from, to }, wish);
        }
    }

    /// Has a name of a file go to the trash, or what lies out of the way.
    fn trash(&mut self, node: NodeId, spot: Option<Spot>) {
        let at = self.whereabouts_or_parked(node, spot.as_ref());
        let placed = self.folder.placed(node).copied();
        if let (Some(at), Some(placed)) = (at, placed) {
            let expect = placed.print;
            self.deed(Deed::Remove(node, spot), PlaceWish::Trash { at, expect });
        }
    }

    /// Takes what stands in a node's way out of it; that it lies there is on record first.
    fn park(&mut self, node: NodeId, other: NodeId) {
        self.folder.placing.wait(node, other);
        // What the disk refused to move is looked at before it is tried again.
        if self.folder.placing.is_busy(other) || self.folder.placing.rests(other) {
            return;
        }
        let Some(spot) = self.folder.standing.spots(other).next().cloned() else {
            return;
        };
        if self.folder.standing.is_parked(other) {
            // Another of its names does: there is no room for a second, nor need of one.
            self.trash(other, Some(spot));
            return;
        }
        self.folder.standing.park(other);
        self.commits
            .put(records::parked(other), records::encode(&()));
        self.commits.harden();
        self.folder.placing.begin(&[other], &[spot]);
        self.commits.then(After::Park(other));
    }

    /// It is on record that a node lies out of the way: it goes there.
    pub(crate) fn park_now(&mut self, node: NodeId) {
        if self.stopping {
            // The next start finds out that it does not lie there.
            return;
        }
        let marked = self.folder.placing.owned(node);
        let standing = &self.folder.standing;
        let from = standing.spots(node).find(|spot| marked.contains(spot));
        let from = from.cloned();
        let at = from.as_ref().and_then(|spot| self.whereabouts(spot));
        let (Some(at), Some(key)) = (at, self.key_of(node)) else {
            self.not_parked(node);
            return;
        };
        let wish = PlaceWish::Move {
            from: at,
            key,
            expect: None,
            to: Self::out_of_the_way(node),
        };
        let to = None;
        self.deed(Deed::Move { node, from, to }, wish);
    }

    /// A node's content is all here: it is to be made ready, or made, if it is a symlink.
    fn make_ready(&mut self, node: NodeId, spot: &Spot, over: Option<NodeId>) {
        let Some(view) = self.tree.node(node) else {
            return;
        };
        let (Some(version), Some(object), Some(body)) = (view.version, view.object, view.body)
        else {
            return;
        };
        match body.clone() {
            Body::File { .. } => {
                self.folder.placing.ready.insert(node, object);
            }
            Body::Link { target } => {
                let mtime = view.mtime.unwrap_or_default();
                let replaced = over.or(self
                    .folder
                    .standing
                    .lookup(spot.0, &spot.1)
                    .filter(|there| *there == node));
                let print = replaced.and_then(|there| self.folder.placed(there));
                let print = print.map(|placed| placed.print);
                let Some(at) = self.whereabouts(spot) else {
                    return;
                };
                let wish = PlaceWish::MakeSymlink {
                    at,
                    target,
                    mtime,
                    over: print,
                };
                let spot = spot.clone();
                let deed = Deed::MakeSymlink {
                    node,
                    spot,
                    version,
                    over,
                };
                self.deed(deed, wish);
            }
        }
    }

    /// Has a batch of whole objects made ready: one wish, and so few syncs, for many files.
    fn prepare(&mut self) {
        if self.folder.placing.preparing || self.folder.placing.ready.is_empty() {
            return;
        }
        let mut batch: Vec<(NodeId, ObjectId)> = Vec::new();
        let mut files = Vec::new();
        while batch.len() < BATCH_MAX {
            let Some((node, object)) = self.folder.placing.ready.pop_first() else {
                break;
            };
            // A version may have stood for a conflict copy and stand for its file by now.
            let intents = self.folder.placing.intents.iter();
            let intended = intents.map(|(other, intent)| (*other, intent.object));
            let mut both = intended.chain(batch.iter().copied());
            if let Some((other, _)) = both.find(|&(_, of)| of == object) {
                self.folder.placing.wait(node, other);
                continue;
            }
            let is_busy = |kept: &Object| kept.jobs > 0;
            if self.objects.get(&object).is_some_and(is_busy) {
                // A sync of what was there by then would not find it. It is settled again when that
                // has ended.
                continue;
            }
            let view = self.tree.node(node);
            let is_it = view.is_some_and(|view| view.object == Some(object));
            let (Some(dress), true) = (self.dress_of(node), is_it) else {
                self.settle_later(node);
                continue;
            };
            let size = view.map_or(0, |view| view.size);
            if let Some(kept) = self.objects.get_mut(&object) {
                kept.jobs += 1;
            }
            batch.push((node, object));
            files.push(Ready {
                object,
                size,
                dress,
            });
        }
        if !batch.is_empty() {
            self.folder.placing.preparing = true;
            self.deed(Deed::Prepare(batch), PlaceWish::Prepare { files });
        }
    }

    /// Marks the names of a node's intent as under way.
    pub(crate) fn begin_intent(&mut self, node: NodeId) {
        if let Some(intent) = self.folder.placing.intents.get(&node) {
            let spot = (intent.dir, intent.name.clone());
            let over = intent.over.as_ref().map(|(over, _)| *over);
            let nodes: Vec<NodeId> = core::iter::once(node).chain(over).collect();
            self.folder.placing.begin(&nodes, &[spot]);
        }
    }

    /// A node's intent is on record: it is carried out.
    pub(crate) fn put(&mut self, node: NodeId) {
        let Some(intent) = self.folder.placing.intents.get(&node).cloned() else {
            return;
        };
        if self.stopping {
            // It stays on record for the next start.
            return;
        }
        let spot = (intent.dir, intent.name.clone());
        let Some(to) = self.whereabouts(&spot) else {
            self.end_intent(node, Err(crate::error::DiskError::Changed));
            return;
        };
        let wish = PlaceWish::Put {
            object: intent.object,
            key: FileKey::from(&intent.print),
            to,
            over: intent.over.map(|(_, print)| print),
        };
        self.deed(Deed::Put(node), wish);
    }

    /// Notes that a node stands under a name; it is recorded once that survives power loss.
    pub(crate) fn set_down(&mut self, dir: NodeId, name: &crate::tree::name::Name, node: NodeId) {
        self.folder.standing.stand(dir, name, node);
        self.folder.placing.done.spots.insert((dir, name.clone()));
        self.folder.hinted(dir);
        self.settle_later(node);
        self.settle_later(dir);
    }

    /// Notes that nothing stands under a name; it is recorded once that survives power loss.
    pub(crate) fn lift(&mut self, dir: NodeId, name: &crate::tree::name::Name) {
        let spot = (dir, name.clone());
        let old = self.folder.standing.leave(dir, name);
        self.folder.missing.remove(&spot);
        self.folder.placing.done.spots.insert(spot);
        self.folder.hinted(dir);
        if let Some(old) = old {
            self.settle_later(old);
        }
        self.spot_free(dir, name);
    }

    /// A name is free: whoever is to stand there, or to remove its directory, goes on.
    pub(crate) fn spot_free(&mut self, dir: NodeId, name: &crate::tree::name::Name) {
        if let Some(next) = self.tree.lookup(dir, name.as_bytes()) {
            self.settle_later(next);
        }
        self.settle_later(dir);
    }

    /// Has what was done made to survive power loss, all of it at once.
    fn harden_places(&mut self) {
        let placing = &mut self.folder.placing;
        if placing.hardening.is_none() && !placing.done.is_empty() && placing.may_harden(self.now) {
            placing.hardening = Some(core::mem::take(&mut placing.done));
            self.deed(Deed::Harden, PlaceWish::Harden);
        }
    }

    /// What was done survives power loss: it is recorded.
    pub(crate) fn record_places(&mut self) {
        let Some(done) = self.folder.placing.hardening.take() else {
            return;
        };
        for node in done.nodes {
            if self.folder.placed(node).is_some() {
                self.remember_placed(node);
                self.say_held(node);
            } else {
                self.commits.remove(records::placed(node));
            }
        }
        for (dir, name) in done.spots {
            let key = records::stands(dir, &name);
            match self.folder.standing.lookup(dir, &name) {
                Some(node) => self.commits.put(key, records::encode(&node)),
                None => self.commits.remove(key),
            }
        }
        for node in done.parked {
            if self.folder.standing.is_parked(node) {
                self.commits
                    .put(records::parked(node), records::encode(&()));
            } else {
                self.commits.remove(records::parked(node));
            }
        }
        for node in done.intents {
            if !self.folder.placing.intents.contains_key(&node) {
                self.commits.remove(records::intent(node));
            }
        }
        self.commits.harden();
    }
}
