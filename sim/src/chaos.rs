//! What is planned to go wrong, and the end of processes.
//!
//! Law: the plan is made before the run; each planned event has a number, a time and a stream of
//! chance of its own, and can be switched off without disturbing the others.

use std::collections::BTreeSet;

use tandem_core::action::DiskWish;
use tandem_core::engine::Last;
use tandem_core::event::Event;
use tandem_core::ids::ReqId;
use tandem_core::peers::{Removed, Unremoved};
use tandem_core::place_wish::PlaceWish;

use crate::check::here::SETTLES;
use crate::check::kept::{Author, Seeing};
use crate::check::{Failure, Verdict};
use crate::choices::{Choices, Key};
use crate::config::{Config, MS, Minority, SEC};
use crate::disk::folder::wall;
use crate::marks::{self, HOST_STATES, STATES};
use crate::reach;
use crate::tale::{STOPS, Trouble};
use crate::words;
use crate::world::{HOST, Item, World};

/// A planned event.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Its number, for its stream of chance and for switching it off.
    pub id: u32,
    /// When.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What can be planned.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A link is cut.
    Cut,
    /// What one side sends stands still for a while.
    Stall,
    /// Two peers can't reach each other for a while.
    Partition,
    /// A process is killed, and starts again.
    Kill,
    /// A machine loses power, and starts again.
    PowerLoss,
    /// A process is stopped cleanly, and starts again.
    Stop,
    /// A program changes the shared folder.
    Edit,
    /// Somebody wants the whole of a file.
    Want,
    /// All wires get slow for a while.
    Throttle,
    /// A disk gets slow for a while.
    SlowDisk,
    /// A machine sleeps for a while.
    Sleep,
    /// A peer's wall clock jumps.
    ClockJump,
    /// A joiner's process is killed, and what it stored is damaged before it starts again.
    Rot,
    /// A complete file vanishes from a joiner's store, or can't be read any more.
    Vanish,
    /// The hostile peer comes.
    Hostile,
    /// The last joiner is removed by the host.
    Remove,
    /// A user of the host brings something back out of its trash.
    Restore,
    /// A user settles a conflict, as soon as there is one.
    Settle,
}

impl What {
    /// Tells whether it can wait until a peer is in a certain state.
    fn has_aim(self) -> bool {
        match self {
            Self::Cut
            | Self::Stall
            | Self::Kill
            | Self::PowerLoss
            | Self::Stop
            | Self::Throttle
            | Self::SlowDisk
            | Self::Sleep => true,
            Self::Partition
            | Self::Edit
            | Self::Want
            | Self::ClockJump
            | Self::Rot
            | Self::Vanish
            | Self::Hostile
            | Self::Remove
            | Self::Restore
            | Self::Settle => false,
        }
    }
}

/// A planned event that waits until its peer is in a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    n: usize,
    p: usize,
    state: &'static str,
}

/// How many of a joiner's states are jobs of its disk, or its store's.
const JOB_STATES: usize = 10;

/// Draws the plan of a run.
pub fn plan(config: &Config, choices: &Choices) -> Vec<Planned> {
    let mut plan = Vec::new();
    // What was written there may be nowhere else: nobody could bring it back.
    let vanishes = if config.writable == 0 {
        config.vanishes
    } else {
        0
    };
    // Where nobody else changes the folder nothing lies there.
    let restores = if config.writable == 0 {
        0
    } else {
        config.restores
    };
    // Where one alone changes the folder there is no conflict.
    let settles = if config.writable == 0 {
        0
    } else {
        config.settles
    };
    let removes = u64::from(config.minority == Minority::Removed && config.joiners > 1);
    let kinds = [
        (What::Cut, config.cuts),
        (What::Kill, config.kills),
        (What::PowerLoss, config.power_losses),
        (What::Stop, config.stops),
        (What::Edit, config.edits),
        (What::Want, config.files / 3),
        (What::Throttle, config.throttles),
        (What::SlowDisk, config.slow_disks),
        (What::Sleep, config.sleeps),
        (What::ClockJump, config.clock_jumps),
        (What::Rot, config.rots),
        (What::Hostile, config.hostile),
        (What::Vanish, vanishes),
        (What::Remove, removes),
        (What::Restore, restores),
        (What::Settle, settles),
    ];
    for (what, count) in kinds {
        for _ in 0..count {
            let id = u32::try_from(plan.len()).unwrap_or(u32::MAX);
            let mut chance = choices.stream(Key::Planned(id));
            let at = chance.between(SEC / 5, config.heal_at);
            let what = match (what, chance.below(4)) {
                (What::Cut, 0) => What::Stall,
                (What::Cut, 1) => What::Partition,
                (what, _) => what,
            };
            plan.push(Planned { id, at, what });
        }
    }
    plan
}

impl World {
    /// Puts a plan into the queue.
    pub fn follow(&mut self, plan: Vec<Planned>) {
        for (n, planned) in plan.iter().enumerate() {
            self.at(planned.at, Item::Planned(n));
        }
        self.plan = plan;
    }

    pub(crate) fn planned(&mut self, n: usize) -> Verdict {
        let Some(planned) = self.plan.get(n).copied() else {
            return Ok(());
        };
        if self.healed || !self.choices.fire(planned.id) {
            return Ok(());
        }
        let mut chance = self.choices.stream(Key::Planned(planned.id));
        let _ = chance.bits();
        self.note(usize::MAX, format_args!("{planned:?}"));
        if let (Some(tale), Some(title)) = (&mut self.trace.tale, words::planned(planned.what)) {
            tale.trouble(self.now, Trouble::default(), title);
        }
        let p = chance.index(self.peers.len());
        let aims: &[&'static str] = if p == HOST {
            &HOST_STATES
        } else {
            &STATES[..JOB_STATES]
        };
        match chance.pick(aims) {
            Some(state) if planned.what.has_aim() && chance.often(600) => {
                let state = if chance.often(100) {
                    "committing"
                } else {
                    state
                };
                self.aims.push(Aim { n, p, state });
                Ok(())
            }
            _ => self.strike(n, p, false),
        }
    }

    /// A peer comes into a state: what was aimed at it strikes, within the time of a job.
    pub(crate) fn aimed(&mut self, p: usize, state: &'static str) {
        let fits = |aim: &Aim| aim.p == p && aim.state == state;
        if let Some(at) = self.aims.iter().position(fits) {
            let aim = self.aims.swap_remove(at);
            let id = self.plan.get(aim.n).map_or(0, |planned| planned.id);
            let mut chance = self.choices.stream(Key::Aim(id));
            let delay = chance.below(self.config.disk_time);
            self.after(delay, Item::Strike(aim.n, p));
        }
    }

    /// A planned event happens, to a peer if it is about one.
    pub(crate) fn strike(&mut self, n: usize, p: usize, was_aimed: bool) -> Verdict {
        let Some(planned) = self.plan.get(n).copied().filter(|_| !self.healed) else {
            return Ok(());
        };
        if was_aimed {
            self.note(usize::MAX, format_args!("strikes: {planned:?}"));
        }
        let mut chance = self.choices.stream(Key::Planned(planned.id));
        for _ in 0..5 {
            let _ = chance.bits();
        }
        let mut links = self.links_of(p);
        if links.is_empty() {
            links = self.links.keys().copied().collect();
        }
        match planned.what {
            What::Cut => {
                if let Some(at) = chance.pick(&links) {
                    self.meets_ends("cut", *at);
                    self.cut(*at);
                }
            }
            What::Stall => {
                if let Some(at) = chance.pick(&links) {
                    self.meets_ends("stall", *at);
                    let time = chance.between(MS, 20 * SEC);
                    self.stall(*at, chance.index(2), time);
                }
            }
            What::Partition => {
                reach!(self.reach, "chaos: partition");
                let time = chance.between(100 * MS, 20 * SEC);
                let joiner = 1 + chance.index(self.config.joiners);
                match chance.below(3) {
                    0 => self.partition_one_way(joiner, chance.index(2), time),
                    _ => self.partition(joiner, time),
                }
            }
            What::Kill | What::PowerLoss => {
                let power = matches!(planned.what, What::PowerLoss);
                if self.peers[p].engine.is_some() && self.peers[p].dying.is_none() {
                    if chance.often(self.config.relapses) {
                        self.peers[p].relapses = 1 + u32::from(chance.often(300));
                    }
                    if was_aimed || chance.often(500) {
                        self.crash(p, power);
                    } else {
                        self.peers[p].dying = Some((chance.below(30), power));
                    }
                }
            }
            What::Stop => {
                let awake = self.now >= self.peers[p].asleep;
                if self.peers[p].engine.is_some() && !self.peers[p].stopping && awake {
                    self.met("stop", p);
                    self.stop(p)?;
                }
            }
            What::Edit => self.edit(planned.id)?,
            What::Want => {
                let joiner = 1 + chance.index(self.config.joiners);
                if self.now >= self.peers[joiner].asleep {
                    self.want(joiner, &mut chance)?;
                }
            }
            What::Throttle => {
                for p in 0..self.peers.len() {
                    self.met("throttle", p);
                }
                self.throttled = self.now + chance.between(SEC, 10 * SEC);
                self.peers
                    .iter_mut()
                    .for_each(|peer| peer.caused.link = true);
            }
            What::SlowDisk => {
                self.met("slow disk", p);
                self.peers[p].slow = self.now + chance.between(SEC, 10 * SEC);
                self.peers
                    .iter_mut()
                    .for_each(|peer| peer.caused.link = true);
            }
            What::Sleep => {
                let time = chance.between(SEC / 2, 30 * SEC);
                let counts = chance.often(500);
                self.sleep(p, time, counts);
            }
            What::ClockJump => {
                reach!(self.reach, "chaos: clock jump");
                let far = [SEC, 3_600 * SEC, 86_400 * SEC][chance.index(3)];
                let far = i64::try_from(chance.below(far)).unwrap_or(0);
                self.peers[p].wall_off += if chance.often(500) { far } else { -far };
                if p == HOST {
                    reach!(self.reach, "chaos: clock jump of the host");
                    let wall = self.wall();
                    self.folder.jump(wall);
                }
            }
            What::Rot => self.rot(1 + chance.index(self.config.joiners), &mut chance),
            What::Vanish => self.vanish(1 + chance.index(self.config.joiners), &mut chance),
            What::Hostile => self.hostile_comes(chance),
            What::Remove => self.remove_last()?,
            What::Restore => self.restore_something(&mut chance)?,
            What::Settle => self.after(0, Item::Settle(chance)),
        }
        Ok(())
    }

    /// Lets a peer's machine sleep; its monotonic clock counts that time, or does not.
    pub fn sleep(&mut self, p: usize, time: u64, counts: bool) {
        if self.peers[p].engine.is_none() || self.now < self.peers[p].asleep {
            return;
        }
        self.met("sleep", p);
        // All wake when all heals.
        let time = time.min(self.config.heal_at.saturating_sub(self.now));
        let until = self.now + time;
        let peer = &mut self.peers[p];
        peer.asleep = until;
        peer.live.slept(time);
        if !counts {
            peer.epoch += time;
        }
        self.peers
            .iter_mut()
            .for_each(|peer| peer.caused.link = true);
    }

    /// Kills a joiner, and damages what it has stored.
    fn rot(&mut self, p: usize, chance: &mut crate::choices::Chance) {
        if self.peers[p].engine.is_none() {
            return;
        }
        let again = self.drop_engine(p, false);
        let peer = &mut self.peers[p];
        match chance.below(3) {
            0 => {
                // The store's checksums tell: it is set aside, and a new one begun.
                reach!(self.reach, "rot: metadata set aside");
                peer.records.wipe();
                peer.last = Last::Lost;
                peer.resume.forget_all();
                peer.here.lost();
                peer.handles = crate::check::handles::Handles::default();
                peer.truth = crate::check::truth::Truth::default();
                peer.names = crate::check::names::Names::default();
                let bodies = std::mem::take(&mut peer.bodies);
                self.kept.lost_with(bodies.all_contents());
                self.kept.lost(p, |_| false);
                self.settling.lost(p);
            }
            1 => {
                if let Some(object) = peer.objects.rot_sidecar(chance) {
                    reach!(self.reach, "rot: sidecar");
                    peer.resume.forget(object);
                    peer.here.lost();
                }
            }
            _ => {
                if let Some(object) = peer.objects.rot_unsynced(chance) {
                    reach!(self.reach, "rot: chunk");
                    peer.resume.forget(object);
                    peer.here.lost();
                }
            }
        }
        self.after(again, Item::Start(p));
    }

    /// Has a complete file of a joiner go bad, while it runs or does not.
    fn vanish(&mut self, p: usize, chance: &mut crate::choices::Chance) {
        let peer = &mut self.peers[p];
        if let Some(object) = peer.objects.go_bad(chance) {
            reach!(self.reach, "rot: complete file");
            peer.caused.disk_for_good = true;
            peer.resume.forget(object);
            peer.here.lost();
        }
    }

    /// Lets nothing of what one side sends come through for a while, and no dial.
    pub fn partition_one_way(&mut self, joiner: usize, side: usize, time: u64) {
        reach!(self.reach, "chaos: one-way partition");
        self.part(joiner, self.now + time);
        if let Some(tale) = &mut self.trace.tale {
            let trouble = Trouble {
                peer: None,
                between: Some((HOST, joiner)),
                until: Some(self.now + time),
            };
            tale.trouble(self.now, trouble, "partition, one way");
        }
        for at in self.links_of(joiner) {
            self.stall(at, side, time);
        }
    }

    fn part(&mut self, joiner: usize, until: u64) {
        let apart = self.apart.entry((HOST, joiner)).or_default();
        *apart = until.max(*apart);
    }

    fn meets_ends(&mut self, fault: &'static str, at: usize) {
        let ends = self.links.get(&at).map(|link| link.ends);
        for end in ends.into_iter().flatten() {
            self.met(fault, end.peer);
        }
    }

    fn links_of(&self, joiner: usize) -> Vec<usize> {
        let of = |link: &crate::net::Link| link.ends.iter().any(|end| end.peer == joiner);
        let links = self.links.iter().filter(|(_, link)| of(link));
        links.map(|(at, _)| *at).collect()
    }

    /// Keeps a joiner and the host apart for a while.
    pub fn partition(&mut self, joiner: usize, time: u64) {
        let until = self.now + time;
        self.part(joiner, until);
        if let Some(tale) = &mut self.trace.tale {
            let trouble = Trouble {
                peer: None,
                between: Some((HOST, joiner)),
                until: Some(until),
            };
            tale.trouble(self.now, trouble, "partition");
        }
        for at in self.links_of(joiner) {
            self.stall(at, 0, time);
            self.stall(at, 1, time);
        }
    }

    /// Ends a process without a word; with its machine's power, if so told. It starts again.
    pub fn crash(&mut self, p: usize, power: bool) {
        let again = self.drop_engine(p, power);
        if !self.healed {
            self.after(again, Item::Start(p));
        } else {
            self.after(MS, Item::Start(p));
        }
    }

    /// Ends a process without a word, and leaves it so; returns when it might start again.
    pub fn drop_engine(&mut self, p: usize, power: bool) -> u64 {
        let boot = self.peers[p].boot;
        let mut chance = self.choices.stream(Key::Crash { peer: p, boot });
        self.met(if power { "power loss" } else { "kill" }, p);
        self.note(p, format_args!("is killed; power lost: {power}"));
        if let Some(tale) = &mut self.trace.tale {
            let how = if power { "loses power" } else { "is killed" };
            tale.ended(self.now, p, how);
        }
        let here = wall(self.wall_of(p));
        let peer = &mut self.peers[p];
        peer.engine = None;
        peer.dying = None;
        peer.asleep = 0;
        peer.caused.crash = true;
        // What the disk was doing is done in part, or wholly, or not yet begun.
        let jobs = std::mem::take(&mut peer.jobs);
        let mut begun = BTreeSet::new();
        for job in jobs.into_values() {
            if let DiskWish::Place(PlaceWish::Put { object, .. }) = &job.wish {
                // Perhaps it stands in the folder now, where programs may do with it what they like.
                peer.resume.forget(*object);
            }
            let object = crate::jobs::object(&job.wish).filter(|object| begun.insert(*object));
            let Some(object) = object.filter(|_| chance.often(800)) else {
                continue;
            };
            self.reach.hit_in("broken off", marks::job(&job.wish));
            let bytes = job.payload.as_ref().map(|(_, bytes)| bytes.as_slice());
            if (peer.objects).break_off(&job.wish, bytes.unwrap_or_default(), here, &mut chance) {
                peer.resume.forget(object);
            }
        }
        let done = chance.index(peer.commits.len() + 1);
        for pending in peer.commits.drain(..).take(done) {
            peer.records.commit(pending.records, pending.sync);
            peer.last = Last::Killed;
        }
        if peer.last == Last::Clean {
            peer.last = Last::Killed;
        }
        if power {
            reach!(self.reach, "chaos: power loss");
            peer.last = Last::Lost;
            peer.caused.power = true;
            if peer.records.lose_power(&mut chance) {
                reach!(self.reach, "power: lost a commit");
            }
            peer.objects.lose_power(&mut chance, &mut self.reach);
        } else {
            reach!(self.reach, "chaos: kill");
        }
        self.clear(p, power);
        self.lose_links(p, &mut chance, power);
        chance.between(20 * MS, 8 * SEC)
    }

    /// A process that was asked to stop has ended.
    pub(crate) fn stopped(&mut self, p: usize) {
        let boot = self.peers[p].boot;
        let mut chance = self.choices.stream(Key::Crash { peer: p, boot });
        if let Some(tale) = &mut self.trace.tale {
            tale.ended(self.now, p, STOPS);
        }
        let peer = &mut self.peers[p];
        peer.engine = None;
        peer.dying = None;
        peer.last = Last::Clean;
        for pending in std::mem::take(&mut peer.commits) {
            peer.records.commit(pending.records, pending.sync);
        }
        self.clear(p, false);
        self.lose_links(p, &mut chance, false);
        let again = chance.between(20 * MS, 5 * SEC);
        self.after(again, Item::Start(p));
    }

    fn clear(&mut self, p: usize, power: bool) {
        let seeing = self.peers[p].seeing.values();
        let taken_over: Vec<u64> = seeing.filter_map(Seeing::ends).collect();
        for size in taken_over {
            self.taken_over(p, size);
        }
        let history = &mut self.folder.history;
        let peer = &mut self.peers[p];
        peer.names.crash(power);
        peer.unnaming.clear();
        for seeing in std::mem::take(&mut peer.seeing).into_values() {
            self.kept.was_seen(p, &seeing, history);
            if let Seeing::Removes(shown) = seeing {
                self.kept.removed(peer.bodies.contents(&shown, history));
                peer.bodies.may_be_unnamed(shown.ino);
                peer.here.unnamed(self.now, shown.ino, false);
            }
        }
        let still_owed = |ino| self.kept.owes(Author::Mount(p, ino));
        let (left, torn) = peer.bodies.crash(power, still_owed, history);
        for ((ino, cells, beneath), shortest) in torn {
            let author = Author::Mount(p, ino);
            self.kept.torn(self.now, author, cells, beneath, shortest);
        }
        if power {
            self.kept.lost(p, |ino| !peer.bodies.has(ino));
            self.settling.lost(p);
        }
        for (ino, cells, beneath) in left {
            let author = Author::Mount(p, ino);
            self.kept.published(self.now, author, cells, beneath, power);
        }
        peer.crashed = Some(power || peer.crashed == Some(true));
        peer.held_back.clear();
        peer.reads.clear();
        if power || self.now < peer.slow.saturating_add(SETTLES) {
            peer.here.lost();
        } else {
            peer.here.killed(self.now);
        }
        peer.writing.clear();
        let objects = peer.resume.objects();
        let complete = objects
            .into_iter()
            .filter(|object| peer.objects.is_complete(*object))
            .collect();
        peer.resume.crash(power.then_some(&complete));
        peer.handles.crash(power);
        peer.retries.crash();
        peer.ended.clear();
        peer.unplaced.clear();
        peer.live.crash();
        peer.bounds.crash();
        peer.truth.crash(power);
        peer.payloads.clear();
        peer.jobs.clear();
        peer.busy.clear();
        peer.commit_busy = 0;
        peer.callers.clear();
        peer.wants.clear();
        peer.tick = None;
        peer.kernel = crate::kernel::Kernel::new();
        let threads = peer.threads.len();
        for n in 0..threads {
            let chance = self.choices.stream(Key::User {
                peer: p,
                thread: n + 100 * usize::try_from(peer.boot).unwrap_or(0),
            });
            let budget = peer.threads[n].budget;
            peer.threads[n] = crate::user::Thread::new(chance, budget);
        }
    }

    fn lose_links(&mut self, p: usize, chance: &mut crate::choices::Chance, power: bool) {
        let links: Vec<usize> = self.peers[p].links.values().copied().collect();
        for at in links {
            self.end_side(at, p);
            let Some(link) = self.links.get_mut(&at) else {
                continue;
            };
            link.cut = true;
            let side = usize::from(link.ends[0].peer == p);
            let other = link.ends[side].peer;
            self.peers[other].caused.other_crash = true;
            // Without power, nobody says that the connection is gone.
            if !power || chance.often(300) {
                let delay = chance.delay(20 * MS);
                self.after(delay, Item::Down(at, side));
            } else {
                reach!(self.reach, "link: half open");
            }
        }
        self.peers[p].links.clear();
        self.peers[p].asks.clear();
        self.peers[p].unheard.clear();
        self.peers[p].fetches.clear();
    }

    /// Ends all faults: links that stand still or are half open are cut, and all of them if the host
    /// gave anything up; what is down starts.
    pub fn heal(&mut self) {
        self.note(usize::MAX, format_args!("heals"));
        if let Some(tale) = &mut self.trace.tale {
            tale.trouble(self.now, Trouble::default(), "all faults end");
        }
        self.healed = true;
        self.apart.clear();
        for peer in &mut self.peers {
            if peer.dying.take().is_some() && peer.crashed.take().is_some() {
                // It does not end after all, and nobody has looked what it shows.
                peer.names.overtaken();
                peer.bodies.overtaken(&mut self.folder.history);
            }
            peer.relapses = 0;
        }
        let stalled: Vec<usize> = self.links.keys().copied().collect();
        let now = self.now;
        for at in stalled {
            let still = self.links.get(&at).map(|link| link.stalled);
            // What a host gave up, since a joiner's disk failed for long, it tries again when that
            // comes again, and not before.
            if self.gave_up || still.is_some_and(|still| still.iter().any(|until| *until > now)) {
                self.cut(at);
            }
        }
        self.lose_one();
        for p in 0..self.peers.len() {
            if self.peers[p].engine.is_none() {
                self.after(MS, Item::Start(p));
            }
        }
    }

    /// The host is asked to remove the last joiner, if it can hear of it.
    fn remove_last(&mut self) -> Verdict {
        let host = &mut self.peers[HOST];
        if host.engine.is_none() || host.stopping || self.now < host.asleep {
            return Ok(());
        }
        let (req, boot) = (ReqId(host.draw()), host.boot);
        let last = self.config.joiners;
        self.peers[last].caused.removed = true;
        let peer = self.peers[last].id;
        let told = self.tell(HOST, boot, Event::Remove { req, peer });
        self.removing = Some(boot);
        told
    }

    /// The last joiner is to be removed for good, now that all is well: until that is answered.
    pub(crate) fn insist_on_removing(&mut self) -> Verdict {
        if self.removed.is_none() {
            self.after(SEC, Item::Remove);
            self.remove_last()?;
        }
        Ok(())
    }

    /// The host has answered that the last joiner is removed, or why not.
    pub(crate) fn was_removed(&mut self, result: &Result<Removed, Unremoved>) -> Verdict {
        let boot = self.peers[HOST].boot;
        match result {
            Ok(_) => {}
            // It was not asked before in this run, and knows it from its store.
            Err(Unremoved::Already) if self.removing != Some(boot) => {}
            Err(Unremoved::Already | Unremoved::Unknown | Unremoved::Stopping) => return Ok(()),
            Err(why @ (Unremoved::NotShared | Unremoved::Oneself)) => {
                return Err(Failure::safety("the door", format!("not removed: {why}")));
            }
        }
        if self.healed {
            reach!(self.reach, "minority: removed at last");
        } else {
            reach!(self.reach, "minority: removed meanwhile");
        }
        let last = self.config.joiners;
        self.removed = Some(last);
        self.lost = Some(last);
        Ok(())
    }

    /// Leaves one joiner broken for ever, if the configuration says so.
    fn lose_one(&mut self) {
        let p = self.config.joiners;
        match self.config.minority {
            _ if p < 2 => return,
            Minority::Nobody => return,
            Minority::Apart => {
                reach!(self.reach, "minority: apart for ever");
                self.apart.insert((HOST, p), u64::MAX);
                for at in self.links_of(p) {
                    self.stall(at, 0, u64::MAX / 4);
                    self.stall(at, 1, u64::MAX / 4);
                }
            }
            Minority::Down => {
                reach!(self.reach, "minority: down for ever");
                if self.peers[p].engine.is_some() {
                    self.drop_engine(p, false);
                }
            }
            Minority::NoDisk => {
                reach!(self.reach, "minority: without a disk for ever");
                self.peers[p].caused.disk_for_good = true;
                self.peers[p].live.no_disk = true;
            }
            Minority::Removed => self.after(SEC, Item::Remove),
        }
        self.lost = Some(p);
    }
}
