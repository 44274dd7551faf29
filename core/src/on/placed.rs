//! Something was done to the shared folder, or refused.
//!
//! Law: what a deed brought is taken for ours only as far as it is what we did: a size or time
//! that is not the one expected is an outside edit, and becomes a version of its own.

use alloc::vec::Vec;

use crate::action::Placed;
use crate::commits::After;
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::{DiskDone, Fingerprint, Sighting};
use crate::folder::{Spot, Worn, file_key};
use crate::ids::{Dot, NodeId, ObjectId};
use crate::mutant::Mutant;
use crate::place_wish::{Dress, FileKey};
use crate::placing::{Deed, Intent};
use crate::reconcile::{Step, reconcile};
use crate::records;
use crate::time::WallTime;

impl Engine {
    /// A deed has ended.
    pub(crate) fn on_placed(&mut self, deed: Deed, outcome: Result<DiskDone, DiskError>) {
        self.folder.placing.deeds = self.folder.placing.deeds.saturating_sub(1);
        let (nodes, spots) = (deed.nodes(), deed.spots());
        match deed {
            Deed::Prepare(batch) => {
                self.folder.placing.preparing = false;
                self.folder.placing.end(&nodes, &spots);
                self.on_prepared(batch, outcome);
                return;
            }
            Deed::Put(node) => {
                self.end_intent(node, sighted(outcome));
                return;
            }
            Deed::Harden => {
                match outcome {
                    Ok(_) => self.record_places(),
                    Err(why) => self.unhardened(why),
                }
                return;
            }
            Deed::MakeDirectory(node, ref spot) => match sighted(outcome) {
                Ok((sighting, _)) => {
                    self.settled(node, node.0, &sighting);
                    self.set_down(spot.0, &spot.1, node);
                    self.settle_later_with_all(node);
                }
                Err(why) => self.refused(node, "making", &spots, why),
            },
            Deed::MakeSymlink {
                node,
                ref spot,
                version,
                over,
            } => match sighted(outcome) {
                Ok((sighting, wall)) => {
                    self.replaced(over, spot, Some(wall));
                    self.settled(node, version, &sighting);
                    self.set_down(spot.0, &spot.1, node);
                }
                Err(why) => self.refused(node, "making", &spots, why),
            },
            Deed::Link(node, ref spot) => match sighted(outcome) {
                Ok((sighting, wall)) => {
                    self.set_down(spot.0, &spot.1, node);
                    self.seen_after(node, &sighting, wall);
                }
                Err(why) => self.refused(node, "linking", &spots, why),
            },
            Deed::Move {
                node,
                ref from,
                ref to,
            } => match sighted(outcome) {
                Ok((sighting, wall)) => {
                    self.moved(node, from.as_ref(), to.as_ref());
                    self.seen_after(node, &sighting, wall);
                }
                Err(why) => {
                    if to.is_none() {
                        self.folder.standing.unpark(node);
                        self.folder.placing.done.parked.insert(node);
                    }
                    self.refused(node, "moving", &spots, why);
                }
            },
            Deed::Inherit {
                heir,
                from,
                ref spot,
                ref to,
            } => match sighted(outcome) {
                Ok((sighting, wall)) => {
                    self.inherited(heir, from, spot, to);
                    self.seen_after(heir, &sighting, wall);
                }
                Err(why) => self.refused(heir, "moving", &spots, why),
            },
            Deed::Remove(node, ref spot) => match outcome {
                Ok(done) => {
                    let thrown = thrown_at(&done);
                    self.lost(node, spot.as_ref());
                    match sighted(Ok(done)) {
                        // The change time moved with that name, and nothing else did.
                        Ok((sighting, wall)) if self.stands(node) => {
                            self.seen_after(node, &sighting, wall);
                        }
                        Ok(_) | Err(_) => self.gone(node, spot.as_ref(), thrown),
                    }
                }
                Err(DiskError::NotFound) if spot.is_none() => {
                    self.lost(node, None);
                    self.gone(node, None, None);
                }
                Err(why) => self.refused(node, "removing", &spots, why),
            },
            Deed::Dress(node, ref dress) => match sighted(outcome) {
                Ok((sighting, wall)) => {
                    self.worn_anew(node, &sighting, wall, dress);
                    self.dressed(node, dress);
                }
                Err(why) => {
                    let spots: Vec<Spot> = self.folder.standing.spots(node).cloned().collect();
                    self.refused(node, "setting the attributes of", &spots, why);
                }
            },
            Deed::Seek(node) => self.sought(node, outcome),
        }
        self.end_deed(&nodes, &spots);
    }

    /// What was to be taken out of the way stands nowhere that can be told: what it stood in went
    /// while that was put on record.
    pub(crate) fn not_parked(&mut self, node: NodeId) {
        let spots = self.folder.placing.owned(node);
        self.folder.standing.unpark(node);
        self.folder.placing.done.parked.insert(node);
        self.refused(node, "moving", &spots, DiskError::Changed);
        self.end_deed(&[node], &spots);
    }

    /// Notes that nothing is under way any more about nodes and names.
    fn end_deed(&mut self, nodes: &[NodeId], spots: &[Spot]) {
        let now = self.now;
        for spot in spots {
            self.folder.outdate(spot);
        }
        for spot in self.folder.placing.end(nodes, spots) {
            self.folder.look(spot, now, true);
        }
    }

    /// Remembers a node's file as it was put down; it is recorded once that survives power loss.
    fn settled(&mut self, node: NodeId, version: Dot, sighting: &Sighting) {
        let print = sighting.print;
        let object = self.tree.node(node).and_then(|view| view.object);
        let content = object.and_then(|object| self.tree.registers().content(object));
        let base = content.filter(|content| content.stamp.dot == version);
        match base.and_then(|content| content.base) {
            Some(base) => drop(self.folder.lineage.insert(node, (version, base))),
            None => drop(self.folder.lineage.remove(&node)),
        }
        self.folder.place(node, Placed { version, print });
        self.folder.wear(node, Worn::from(sighting));
        self.folder.placing.done.nodes.insert(node);
    }

    /// Remembers what could not be set of a node, so that it is not tried for ever.
    fn dressed(&mut self, node: NodeId, tried: &Dress) {
        self.folder.placing.unset.remove(&node);
        if !self.is_dressed(node) && self.dress_here(node).as_ref() == Some(tried) {
            self.folder.placing.unset.insert(node, tried.clone());
        }
    }

    /// Takes in what was seen of a node's file when its names were changed: only its change time
    /// has moved, or somebody has edited it.
    fn seen_after(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime) {
        let placed = self.folder.placed(node).copied();
        if let Some(placed) = placed
            && (same_content(&placed.print, &sighting.print) || self.is_directory(node))
        {
            let print = sighting.print;
            self.folder.place(node, Placed { print, ..placed });
            self.folder.placing.done.nodes.insert(node);
            self.end_recheck(node);
        }
        self.update(node, sighting, wall);
    }

    /// A node's attributes were set.
    fn worn_anew(&mut self, node: NodeId, sighting: &Sighting, wall: WallTime, dress: &Dress) {
        let Some(placed) = self.folder.placed(node).copied() else {
            return;
        };
        let is_timed = dress
            .mtime
            .is_some_and(|mtime| mtime == sighting.print.mtime);
        let mut before = placed.print;
        if is_timed {
            before.mtime = sighting.print.mtime;
        }
        if same_content(&before, &sighting.print) || self.is_directory(node) {
            self.settled(node, placed.version, sighting);
            self.end_recheck(node);
        } else {
            self.folder.wear(node, Worn::from(sighting));
            self.update(node, sighting, wall);
        }
    }

    fn moved(&mut self, node: NodeId, from: Option<&Spot>, to: Option<&Spot>) {
        match from {
            Some((dir, name)) => self.lift(*dir, name),
            None => {
                self.folder.standing.unpark(node);
                self.folder.placing.done.parked.insert(node);
            }
        }
        if let Some((dir, name)) = to {
            self.set_down(*dir, name, node);
            if self.is_directory(node) {
                // What was hinted at below either name may have been looked for in vain.
                self.folder.list(node);
            }
        }
        // Its conflict copy takes a file over from a name, and may have found none.
        if let Some(heir) = self.heir(node) {
            self.settle_later(heir);
        }
        self.settle_later_with_all(node);
    }

    /// The file of a node stands for a conflict copy of it from here on.
    pub(crate) fn inherited(&mut self, heir: NodeId, from: NodeId, spot: &Spot, to: &Spot) {
        let placed = self.folder.placed(from).copied();
        let worn = self.folder.worn(from).cloned();
        self.lift(spot.0, &spot.1);
        if self.folder.standing.count(from) == 0 {
            self.folder.forget(from);
            self.end_recheck(from);
            self.folder.placing.done.nodes.insert(from);
        }
        if let Some(placed) = placed {
            self.folder.place(heir, placed);
        }
        if let Some(worn) = worn {
            self.folder.wear(heir, worn);
        }
        self.folder.placing.done.nodes.insert(heir);
        self.set_down(to.0, &to.1, heir);
    }

    /// A name of a node is gone, as the tree wanted.
    /// A node stands under one name less.
    fn lost(&mut self, node: NodeId, spot: Option<&Spot>) {
        match spot {
            Some((dir, name)) => self.lift(*dir, name),
            None => {
                self.folder.standing.unpark(node);
                self.folder.placing.done.parked.insert(node);
            }
        }
    }

    /// Tells whether a node has a name of any kind in the folder.
    fn stands(&self, node: NodeId) -> bool {
        self.folder.standing.stands(node) || self.folder.standing.is_parked(node)
    }

    /// Forgets a node's file, if it stands nowhere any more; where it stood, and when it went to the
    /// trash, if it did just now.
    fn gone(&mut self, node: NodeId, spot: Option<&Spot>, thrown: Option<WallTime>) {
        if self.stands(node) {
            // Its change time has moved with its name.
            self.look_at_node(node);
            return;
        }
        if let Some((object, _)) = self.held_object(node) {
            self.let_go_of(node, object);
        }
        self.thrown_away(node);
        if let Some(wall) = thrown {
            self.note_thrown(node, spot, wall);
        }
        self.folder.forget(node);
        self.end_recheck(node);
        self.folder.placing.done.nodes.insert(node);
    }

    /// Remembers that a node's file lies in the trash: a peer may have made an edit on it that
    /// nobody here knew of, and lack some of it.
    fn thrown_away(&mut self, node: NodeId) {
        if self.is_directory(node) {
            return;
        }
        if let Some(placed) = self.folder.placed(node).copied() {
            self.still_served(placed);
        }
    }

    /// Remembers the file of a version that nothing in the folder holds any more: it lies in the
    /// trash, or holds the same bytes as a newer version.
    pub(crate) fn still_served(&mut self, Placed { version, print }: Placed) {
        self.commits
            .put(records::thrown(version), records::encode(&print));
        if let Some(forgotten) = self.thrown.note(version, print) {
            self.commits.remove(records::thrown(forgotten));
        }
    }

    /// What stood under a name has gone to the trash.
    fn replaced(&mut self, over: Option<NodeId>, spot: &Spot, thrown: Option<WallTime>) {
        if let Some(over) = over {
            self.lift(spot.0, &spot.1);
            self.gone(over, Some(spot), thrown);
        }
    }

    /// Objects were made ready: that they are about to be put down is recorded.
    fn on_prepared(
        &mut self,
        batch: Vec<(NodeId, ObjectId)>,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let results = match outcome {
            Ok(DiskDone::Prepared(results)) if results.len() == batch.len() => results,
            Ok(other) => {
                self.drop_payload(Ok(other));
                batch.iter().map(|_| Err(DiskError::Io)).collect()
            }
            Err(why) => batch.iter().map(|_| Err(why)).collect(),
        };
        for ((node, object), result) in batch.into_iter().zip(results) {
            match result {
                Ok(sighting) => self.intend(node, object, sighting.print),
                Err(why) => {
                    let what = "making ready";
                    let is_told = self.refusal(node, what, &[], why);
                    if let Some(kept) = self.objects.get_mut(&object) {
                        // Once is enough.
                        kept.refused |= is_told;
                        self.object_failed(object, what, why);
                    }
                    self.job_ended(object);
                }
            }
        }
    }

    fn intend(&mut self, node: NodeId, object: ObjectId, print: Fingerprint) {
        let view = self.tree.node(node);
        let is_it = view.is_some_and(|view| view.object == Some(object));
        let version = view.and_then(|view| view.version);
        let step = reconcile(&self.situation(node));
        let (Step::Put(spot, over), Some(version), true) = (step, version, is_it) else {
            // Things have moved on.
            self.settle_later(node);
            if !self.objects.contains_key(&object) {
                self.discard(object);
            }
            self.job_ended(object);
            return;
        };
        let there = self.folder.standing.lookup(spot.0, &spot.1);
        let replaced = over.or(there.filter(|there| *there == node));
        let over = replaced.and_then(|over| Some((over, self.folder.placed(over)?.print)));
        let (dir, name) = spot;
        let intent = Intent {
            dir,
            name,
            version,
            object,
            print,
            over,
        };
        // A program may write to it before it is on record that it stands there.
        self.keep_hashes(object);
        if self.has(Mutant::IntentAfterEffect) {
            self.folder.placing.intents.insert(node, intent);
            self.begin_intent(node);
            self.put(node);
            return;
        }
        self.commits
            .put(records::intent(node), records::encode(&intent));
        self.commits.harden();
        self.commits.then(After::Put(node));
        self.folder.placing.intents.insert(node, intent);
        self.begin_intent(node);
    }

    /// A node's intent was carried out, or was not.
    pub(crate) fn end_intent(
        &mut self,
        node: NodeId,
        outcome: Result<(Sighting, WallTime), DiskError>,
    ) {
        let Some(intent) = self.folder.placing.intents.remove(&node) else {
            return;
        };
        if self.has(Mutant::IntentAfterEffect) {
            self.commits
                .put(records::intent(node), records::encode(&intent));
            self.commits.harden();
        }
        let is_resumed = self.folder.placing.resumed.remove(&node);
        self.folder.placing.done.intents.insert(node);
        let spot = (intent.dir, intent.name.clone());
        let over = intent.over.as_ref().map(|(over, _)| *over);
        let nodes: Vec<NodeId> = core::iter::once(node).chain(over).collect();
        let object = intent.object;
        match outcome {
            Ok((sighting, wall)) => {
                if let Some(old) = over {
                    self.forget_held(old);
                    self.thrown_away(old);
                    self.note_thrown(old, Some(&spot), wall);
                }
                self.replaced(over.filter(|over| *over != node), &spot, None);
                self.object_placed(object);
                let print = sighting.print;
                // What an earlier run put there a program may have written to, and have set its time
                // back: all that tells of it then is that it changed after.
                let is_ours = same_content(&intent.print, &print) && !is_resumed;
                let print = if is_ours { print } else { intent.print };
                let ours = Sighting {
                    print,
                    ..sighting.clone()
                };
                self.settled(node, intent.version, &ours);
                self.set_down(spot.0, &spot.1, node);
                if !is_ours {
                    self.update(node, &sighting, wall);
                }
                self.review_ancestors(node);
            }
            Err(why) => {
                self.let_go_of(node, object);
                let spots = core::slice::from_ref(&spot);
                self.refused(node, "putting down", spots, why);
                if why == DiskError::NotFound
                    && let Some(kept) = self.objects.get_mut(&object)
                {
                    // The file is neither here nor there: it is found out what is.
                    kept.break_off();
                } else if !self.objects.contains_key(&object) {
                    // An empty file is made anew each time.
                    self.discard(object);
                }
            }
        }
        self.job_ended(object);
        self.end_deed(&nodes, core::slice::from_ref(&spot));
    }

    /// Forgets the hashes of the version that stands for a node and is about to go.
    fn forget_held(&mut self, node: NodeId) {
        if let Some(placed) = self.folder.placed(node).copied() {
            let held = self.held_object(node).map(|(object, _)| object);
            let version = placed.version;
            self.let_go_of(node, held.unwrap_or(ObjectId { node, version }));
        }
    }

    fn refused(&mut self, node: NodeId, what: &str, spots: &[Spot], why: DiskError) {
        self.refusal(node, what, spots, why);
    }

    /// The disk has refused a deed: what stands there is looked at, and it is tried again. Returns
    /// whether the operator was told.
    fn refusal(&mut self, node: NodeId, what: &str, spots: &[Spot], why: DiskError) -> bool {
        let now = self.now;
        let jitter = self.rng.next_u8();
        let is_news = self.folder.placing.rest(node, now, jitter);
        let mut is_told = false;
        match why {
            // Somebody else was there, or what it is in has moved: that is seen first.
            DiskError::Changed => self.look_at_node(node),
            DiskError::NotFound | DiskError::Exists | DiskError::WrongKind => {}
            DiskError::NotEmpty => self.list_where_it_is(node),
            DiskError::NoSpace | DiskError::Denied | DiskError::Io => {
                if is_news {
                    let path = self.shown_path(node);
                    let what = alloc::format!("{what} {path}");
                    self.fault(Fault::Disk { what, why });
                    is_told = true;
                }
            }
        }
        for spot in spots {
            self.folder.look(spot.clone(), now, true);
        }
        is_told
    }

    /// What was done could not be made to survive power loss: it is tried again.
    fn unhardened(&mut self, why: DiskError) {
        self.fault(Fault::Disk {
            what: "syncing the shared folder".into(),
            why,
        });
        if let Some(undone) = self.folder.placing.hardening.take() {
            let done = &mut self.folder.placing.done;
            done.nodes.extend(undone.nodes);
            done.spots.extend(undone.spots);
            done.parked.extend(undone.parked);
            done.intents.extend(undone.intents);
        }
        self.folder.placing.retry_harden(self.now);
    }

    /// What should lie out of the way was looked for.
    fn sought(&mut self, node: NodeId, outcome: Result<DiskDone, DiskError>) {
        let spots: Vec<Spot> = self.folder.standing.spots(node).cloned().collect();
        let found = match outcome {
            Ok(DiskDone::Looked {
                sighting: Some(sighting),
                wall,
            }) => Some((sighting, wall)),
            Ok(_) | Err(DiskError::NotFound) => None,
            // It is found out at the next start; until then nothing is done with it.
            Err(_) => return,
        };
        let key = self.key_of(node);
        match found.filter(|(sighting, _)| key == Some(FileKey::from(&sighting.print))) {
            Some((sighting, wall)) => {
                for (dir, name) in spots {
                    self.lift(dir, &name);
                }
                self.seen_after(node, &sighting, wall);
            }
            None => {
                self.folder.standing.unpark(node);
                self.folder.placing.done.parked.insert(node);
            }
        }
    }
}

/// Returns when a file went to the trash, if it did: it has no further names.
fn thrown_at(done: &DiskDone) -> Option<WallTime> {
    if let DiskDone::Looked {
        sighting: None,
        wall,
    } = done
    {
        return Some(*wall);
    }
    None
}

/// Returns what a wish that looks has seen.
fn sighted(outcome: Result<DiskDone, DiskError>) -> Result<(Sighting, WallTime), DiskError> {
    match outcome {
        Ok(DiskDone::Looked {
            sighting: Some(sighting),
            wall,
        }) => Ok((sighting, wall)),
        Ok(_) => Err(DiskError::Io),
        Err(why) => Err(why),
    }
}

/// Tells whether two fingerprints are of one file that was not written to in between.
pub(crate) fn same_content(a: &Fingerprint, b: &Fingerprint) -> bool {
    file_key(a) == file_key(b) && a.size == b.size && a.mtime == b.mtime
}
