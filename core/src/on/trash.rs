//! What peers delete or overwrite is put on record, kept for its time, and brought back.
//!
//! Law: a deed comes first, and its record after it, so that no record speaks of what has not
//! happened; what a kill leaves without one is found by the next look, and listed by its name. What
//! goes for good is removed first and forgotten after. To bring a thing back is an edit of whoever
//! shares the folder, like any other: a copy is put where nothing stands, and seen there.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::action::{Action, DiskWish};
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::{DiskDone, Hint};
use crate::folder::Spot;
use crate::ids::{ActorId, NodeId, ObjectId, ReqId};
use crate::label::Label;
use crate::limits::{EMPTIED_AT_ONCE_MAX, RESTORE_NAMES_MAX, STEPS_UP_MAX};
use crate::message::Role;
use crate::mutant::Mutant;
use crate::on::disk::Job;
use crate::on::seen::day_of;
use crate::place_wish::FileKey;
use crate::records;
use crate::time::{Duration, Time, WallTime};
use crate::timers::Timer;
use crate::trash::{Fate, Found, Restored, Retention, TrashWish, Trashed, Unrestored};
use crate::tree::conflict::restored_name;
use crate::tree::name::Name;

/// What is being done in the trash.
#[derive(Clone, Debug)]
pub(crate) enum TrashJob {
    /// It is listed; what has a number below this was on record before.
    List(u64),
    /// These are removed, as it was to be at this time.
    Remove(Vec<u64>, WallTime),
    /// A thing is brought back.
    Restore(Restoring),
}

/// A thing that is being brought back.
#[derive(Clone, Debug)]
pub(crate) struct Restoring {
    req: ReqId,
    number: u64,
    what: Box<Trashed>,
    /// In which directory it is to stand: names from the root.
    dir: Vec<Name>,
    /// As what: 0 is its own name, the further ones are beside it.
    attempt: u32,
    /// The day of the request, for such names.
    day: u32,
}

impl Engine {
    /// Returns what lies in the trash of the shared folder, with numbers, the latest first.
    pub fn trash_log(&self) -> impl Iterator<Item = (u64, &Trashed)> {
        self.trash.all().rev()
    }

    /// Returns how long it is kept, and how much of it.
    pub fn retention(&self) -> Retention {
        self.config.trash
    }

    /// Returns how many bytes lie there.
    pub fn trash_bytes(&self) -> u64 {
        self.trash.bytes()
    }

    /// Has the trash looked at a while after the start.
    pub(crate) fn begin_trash(&mut self) {
        self.look_at_trash_after(self.config.trash.first);
    }

    fn look_at_trash_after(&mut self, wait: Duration) {
        let at = self.now + wait;
        if at < Time::NEVER {
            self.timers.set(Timer::Trash, at);
        }
    }

    /// Puts on record that a file has gone to the trash from where it stood.
    pub(crate) fn note_thrown(&mut self, node: NodeId, spot: Option<&Spot>, wall: WallTime) {
        if self.is_directory(node) {
            return;
        }
        let Some(placed) = self.folder.placed(node).copied() else {
            return;
        };
        let version = placed.version;
        let (fate, actor, who) = self.end_of(node, ObjectId { node, version });
        let thing = Trashed {
            print: placed.print,
            path: self.path_of_thrown(node, spot),
            version: Some(ObjectId { node, version }),
            fate,
            actor,
            who,
            since: wall,
        };
        self.put_on_record(thing);
        if self.trash.is_over(&self.config.trash) {
            self.empty_trash(wall);
        }
    }

    fn put_on_record(&mut self, thing: Trashed) {
        let value = records::encode(&thing);
        let (number, before) = self.trash.note(thing);
        if let Some(before) = before {
            self.commits.remove(records::trashed(before));
        }
        self.commits.put(records::trashed(number), value);
        self.commits
            .put(records::trash(), records::encode(&self.trash.next));
    }

    fn forget_thrown(&mut self, number: u64) {
        let Some(thing) = self.trash.forget(number) else {
            return;
        };
        self.commits.remove(records::trashed(number));
        let Some(ObjectId { version, .. }) = thing.version else {
            return;
        };
        let print = self.thrown.print(version);
        if print.is_some_and(|print| FileKey::from(print) == FileKey::from(&thing.print)) {
            self.thrown.forget(version);
            self.commits.remove(records::thrown(version));
        }
    }

    /// Returns what has become of a version that stood, and who did that.
    fn end_of(&self, node: NodeId, was: ObjectId) -> (Fate, Option<ActorId>, Option<Label>) {
        let registers = self.tree.registers();
        let shown = self.tree.node(node).and_then(|view| view.object);
        let newer = shown.filter(|shown| shown.version != was.version);
        if let Some(content) = newer.and_then(|newer| registers.content(newer)) {
            let author = Some(content.author.clone());
            return (Fate::Replaced, Some(content.stamp.dot.actor), author);
        }
        let last = registers.entries_of(node).max_by_key(|entry| entry.stamp);
        let Some(last) = last else {
            // A conflict copy goes when what stands beside it supersedes it.
            return (Fate::Replaced, None, None);
        };
        let fate = if last.deleted.is_some() {
            Fate::Deleted
        } else {
            Fate::Replaced
        };
        let actor = last.stamp.dot.actor;
        (fate, Some(actor), self.name_of(actor))
    }

    /// Returns what whoever has made an update calls itself, as far as it is known here.
    fn name_of(&self, actor: ActorId) -> Option<Label> {
        if self.me.is(actor) {
            return Some(self.config.name.clone());
        }
        let mut peers = self.links.peers.values();
        let known = peers.find(|peer| peer.actors.contains(&actor));
        if let Some(known) = known {
            return known.name.clone();
        }
        let mut removed = self.removed.values();
        let known = removed.find(|gone| gone.actors.contains(&actor));
        known.and_then(|gone| gone.name.clone())
    }

    /// Returns where a file stood that has gone to the trash: under this name, or, where it lay
    /// out of the way, where the tree had it last.
    fn path_of_thrown(&self, node: NodeId, spot: Option<&Spot>) -> Vec<Name> {
        let Some(at) = spot.and_then(|spot| self.whereabouts(spot)) else {
            return self.last_path(node);
        };
        let mut path = at.parked.map_or_else(Vec::new, |top| self.last_path(top));
        path.extend(at.names);
        path
    }

    /// Returns where the tree has a node, or had it last.
    fn last_path(&self, node: NodeId) -> Vec<Name> {
        let mut names = Vec::new();
        let mut at = node;
        for _ in 0..STEPS_UP_MAX {
            if let Some(above) = self.tree.path(at) {
                names.extend(above.into_iter().rev());
                break;
            }
            let entries = self.tree.registers().entries_of(at);
            let Some(last) = entries.max_by_key(|entry| entry.stamp) else {
                break;
            };
            names.push(last.name.clone());
            at = last.parent;
        }
        names.reverse();
        names
    }

    /// It is time to look at what lies in the trash.
    pub(crate) fn look_into_trash(&mut self) {
        self.look_at_trash_after(self.config.trash.look);
        if self.stopping || self.trash.is_attended {
            return;
        }
        self.trash.is_attended = true;
        let job = TrashJob::List(self.trash.next);
        self.job(Job::Trash(job), DiskWish::Trash(TrashWish::List));
    }

    /// A job in the trash has ended.
    pub(crate) fn on_trash(&mut self, job: TrashJob, outcome: Result<DiskDone, DiskError>) {
        match (job, outcome) {
            (TrashJob::List(next), Ok(DiskDone::Trash { found, wall })) => {
                self.trash.is_attended = false;
                self.compare_trash(found, next);
                self.empty_trash(wall);
            }
            (TrashJob::Remove(numbers, wall), Ok(DiskDone::Done)) => {
                self.trash.is_attended = false;
                for number in numbers {
                    self.forget_thrown(number);
                }
                self.empty_trash(wall);
            }
            (TrashJob::Restore(restoring), outcome) => self.on_restored(restoring, outcome),
            (TrashJob::List(_), outcome) => {
                self.trash.is_attended = false;
                self.trash_refused("listing the trash", outcome);
            }
            (TrashJob::Remove(numbers, _), outcome) => {
                // What is left of them the next look finds.
                self.trash.is_attended = false;
                for number in numbers {
                    self.trash.busy.remove(&number);
                }
                self.trash_refused("emptying the trash", outcome);
            }
        }
    }

    fn trash_refused(&mut self, what: &str, outcome: Result<DiskDone, DiskError>) {
        let why = match &outcome {
            Ok(_) => DiskError::Io,
            Err(why) => *why,
        };
        self.drop_payload(outcome);
        let what = what.into();
        self.fault(Fault::Disk { what, why });
    }

    /// Compares what lies in the trash with the records that there were when it was listed.
    fn compare_trash(&mut self, found: Vec<Found>, next: u64) {
        let there: BTreeSet<FileKey> = found
            .iter()
            .map(|found| FileKey::from(&found.print))
            .collect();
        let all = self.trash.all().filter(|(number, _)| *number < next);
        let lost = all.filter(|(number, thing)| {
            let is_there = there.contains(&FileKey::from(&thing.print));
            !is_there && !self.trash.busy.contains(number)
        });
        let lost: Vec<u64> = lost.map(|(number, _)| number).collect();
        for number in lost {
            self.forget_thrown(number);
        }
        for one in found {
            if self.trash.number(FileKey::from(&one.print)).is_some() {
                continue;
            }
            self.put_on_record(Trashed {
                print: one.print,
                path: one.name.into_iter().collect(),
                version: None,
                fate: Fate::Unknown,
                actor: None,
                who: None,
                since: one.since,
            });
        }
    }

    /// Has the first of what is to go removed.
    fn empty_trash(&mut self, wall: WallTime) {
        if self.stopping || self.trash.is_attended {
            return;
        }
        let mut due = self.trash.due(&self.config.trash, wall);
        if self.has(Mutant::TrashEmptied) {
            let idle = |number: &u64| !self.trash.busy.contains(number);
            due.extend(self.trash.all().map(|(number, _)| number).find(idle));
            due.dedup();
        }
        due.truncate(EMPTIED_AT_ONCE_MAX);
        let things = due.iter().filter_map(|number| self.trash.get(*number));
        let files: Vec<FileKey> = things.map(|thing| FileKey::from(&thing.print)).collect();
        if files.is_empty() {
            return;
        }
        self.trash.is_attended = true;
        self.trash.busy.extend(due.iter().copied());
        let wish = DiskWish::Trash(TrashWish::Remove { files });
        self.job(Job::Trash(TrashJob::Remove(due, wall)), wish);
    }

    /// A user wants a thing back.
    pub(crate) fn on_restore(&mut self, req: ReqId, number: u64, wall: WallTime) {
        match self.may_restore(number) {
            Ok(what) => {
                self.trash.busy.insert(number);
                let above = what.path.split_last().map(|(_, above)| above.to_vec());
                self.restore_to(Restoring {
                    req,
                    number,
                    what: Box::new(what),
                    dir: above.unwrap_or_default(),
                    attempt: 0,
                    day: day_of(wall),
                });
            }
            Err(why) => self.unrestored(req, why),
        }
    }

    fn may_restore(&self, number: u64) -> Result<Trashed, Unrestored> {
        if self.stopping {
            return Err(Unrestored::Stopping);
        }
        if self.config.role != Role::Full {
            return Err(Unrestored::NotShared);
        }
        let thing = self.trash.get(number).ok_or(Unrestored::Unknown)?;
        if self.trash.busy.contains(&number) {
            return Err(Unrestored::Busy);
        }
        Ok(thing.clone())
    }

    fn unrestored(&mut self, req: ReqId, why: Unrestored) {
        let result = Err(why);
        self.act(Action::Restored { req, result });
    }

    /// Puts a copy of a thing under the first of its names that nothing is known to have.
    fn restore_to(&mut self, mut restoring: Restoring) {
        while let Some(to) = restoring.target() {
            if self.is_taken(&to) {
                restoring.attempt += 1;
                continue;
            }
            let oldest = self.trash.all().next();
            let what = match oldest {
                Some((_, oldest)) if self.has(Mutant::OtherRestored) => oldest,
                Some(_) | None => &restoring.what,
            };
            let file = FileKey::from(&what.print);
            let wish = DiskWish::Trash(TrashWish::Restore { file, to });
            self.job(Job::Trash(TrashJob::Restore(restoring)), wish);
            return;
        }
        self.trash.busy.remove(&restoring.number);
        self.unrestored(restoring.req, Unrestored::Taken);
    }

    /// Returns whether something stands under a name, or is to: a file of a peer may be on its way.
    fn is_taken(&self, path: &[Name]) -> bool {
        let Some((name, above)) = path.split_last() else {
            return true;
        };
        let standing = self.folder.standing.resolve(above);
        let stands = standing.and_then(|dir| self.folder.standing.lookup(dir, name));
        let shown = self.tree.resolve(above);
        let shows = shown.and_then(|dir| self.tree.lookup(dir, name.as_bytes()));
        stands.is_some() || shows.is_some()
    }

    fn on_restored(&mut self, mut restoring: Restoring, outcome: Result<DiskDone, DiskError>) {
        let number = restoring.number;
        let path = restoring.target().unwrap_or_default();
        match outcome {
            Ok(DiskDone::Done) => {
                self.trash.busy.remove(&number);
                let settled = true;
                self.on_hint(Hint::Path {
                    path: path.clone(),
                    settled,
                });
                let Restoring { req, what, .. } = restoring;
                let result = Ok(Restored { what: *what, path });
                self.act(Action::Restored { req, result });
            }
            Err(DiskError::Exists) => {
                restoring.attempt += 1;
                self.restore_to(restoring);
            }
            // A file has the name of a directory on the way.
            Err(DiskError::WrongKind) if !restoring.dir.is_empty() => {
                restoring.dir = Vec::new();
                restoring.attempt = restoring.attempt.max(1);
                self.restore_to(restoring);
            }
            Err(DiskError::NotFound) => {
                self.forget_thrown(number);
                self.unrestored(restoring.req, Unrestored::Gone);
            }
            other => {
                self.trash.busy.remove(&number);
                let why = other.as_ref().err().copied().unwrap_or(DiskError::Io);
                self.drop_payload(other);
                let names: Vec<String> = path.iter().map(ToString::to_string).collect();
                let path = names.join("/");
                self.unrestored(restoring.req, Unrestored::Disk { path, why });
            }
        }
    }
}

impl Restoring {
    /// Returns where the thing is to be put by this attempt, while there are further ones.
    fn target(&self) -> Option<Vec<Name>> {
        let own = self.what.path.last()?;
        let name = match self.attempt {
            0 => own.clone(),
            attempt if attempt < RESTORE_NAMES_MAX => {
                restored_name(own, self.day, self.number, attempt - 1)
            }
            _ => return None,
        };
        let mut to = self.dir.clone();
        to.push(name);
        Some(to)
    }
}
