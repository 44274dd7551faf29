//! What is planned to go wrong, and the end of processes.
//!
//! Law: the plan is made before the run; each planned event has a number, a time and a stream of
//! chance of its own, and can be switched off without disturbing the others.

use tandem_core::action::DiskWish;
use tandem_core::engine::Last;

use crate::check::Verdict;
use crate::choices::{Choices, Key};
use crate::config::{Config, MS, SEC};
use crate::reach;
use crate::tale::{STOPS, Trouble};
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
}

/// Draws the plan of a run.
pub fn plan(config: &Config, choices: &Choices) -> Vec<Planned> {
    let mut plan = Vec::new();
    let kinds = [
        (What::Cut, config.cuts),
        (What::Kill, config.kills),
        (What::PowerLoss, config.power_losses),
        (What::Stop, config.stops),
        (What::Edit, config.edits),
        (What::Want, config.files / 3),
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
        let p = chance.index(self.peers.len());
        let links: Vec<usize> = self.links.keys().copied().collect();
        match planned.what {
            What::Cut => {
                if let Some(at) = chance.pick(&links) {
                    reach!(self.reach, "chaos: cut");
                    self.cut(*at);
                }
            }
            What::Stall => {
                if let Some(at) = chance.pick(&links) {
                    reach!(self.reach, "chaos: stall");
                    let time = chance.between(MS, 20 * SEC);
                    self.stall(*at, chance.index(2), time);
                }
            }
            What::Partition => {
                reach!(self.reach, "chaos: partition");
                let time = chance.between(100 * MS, 20 * SEC);
                self.partition(1 + chance.index(self.config.joiners), time);
            }
            What::Kill | What::PowerLoss => {
                let power = matches!(planned.what, What::PowerLoss);
                if self.peers[p].engine.is_some() && self.peers[p].dying.is_none() {
                    if chance.often(500) {
                        self.crash(p, power);
                    } else {
                        self.peers[p].dying = Some((chance.below(30), power));
                    }
                }
            }
            What::Stop => {
                if self.peers[p].engine.is_some() && !self.peers[p].stopping {
                    reach!(self.reach, "chaos: stop");
                    self.stop(p)?;
                }
            }
            What::Edit => self.edit(planned.id)?,
            What::Want => self.want(1 + chance.index(self.config.joiners), &mut chance)?,
        }
        Ok(())
    }

    /// Keeps a joiner and the host apart for a while.
    pub fn partition(&mut self, joiner: usize, time: u64) {
        let until = self.now + time;
        self.apart.insert((HOST, joiner), until);
        if let Some(tale) = &mut self.trace.tale {
            let trouble = Trouble {
                peer: None,
                between: Some((HOST, joiner)),
                until: Some(until),
            };
            tale.trouble(self.now, trouble, "partition");
        }
        let between = |link: &crate::net::Link| link.ends.iter().any(|end| end.peer == joiner);
        let links: Vec<usize> = self
            .links
            .iter()
            .filter(|(_, l)| between(l))
            .map(|(at, _)| *at)
            .collect();
        for at in links {
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
        self.note(p, format_args!("is killed; power lost: {power}"));
        if let Some(tale) = &mut self.trace.tale {
            let how = if power { "loses power" } else { "is killed" };
            tale.ended(self.now, p, how);
        }
        let peer = &mut self.peers[p];
        peer.engine = None;
        peer.dying = None;
        peer.last = Last::Killed;
        peer.caused.crash = true;
        // What the disk was doing may be done, in part or wholly.
        let jobs = std::mem::take(&mut peer.jobs);
        for job in jobs.into_values() {
            if let (DiskWish::StoreChunk { object, offset, .. }, Some((_, bytes))) =
                (&job.wish, &job.payload)
                && chance.often(300)
            {
                let part = chance.index(bytes.len() + 1);
                // The object may be gone; then there is nothing to tear.
                let _ = peer.objects.write(*object, *offset, &bytes[..part]);
            }
        }
        let done = chance.index(peer.commits.len() + 1);
        for pending in peer.commits.drain(..).take(done) {
            peer.records.commit(pending.records, pending.sync);
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
        self.clear(p, power, false);
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
        self.clear(p, false, true);
        self.lose_links(p, &mut chance, false);
        let again = chance.between(20 * MS, 5 * SEC);
        self.after(again, Item::Start(p));
    }

    fn clear(&mut self, p: usize, power: bool, clean: bool) {
        let peer = &mut self.peers[p];
        let objects = peer.resume.objects();
        let complete = objects
            .into_iter()
            .filter(|object| peer.objects.is_complete(*object))
            .collect();
        peer.resume.crash(power.then_some(&complete));
        peer.handles.crash(clean);
        peer.live.crash();
        peer.bounds.crash();
        peer.truth = crate::check::truth::Truth::default();
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
            self.peers[other].caused.crash = true;
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
        self.peers[p].fetches.clear();
    }

    /// Ends all faults: links that stand still or are half open are cut, what is down starts.
    pub fn heal(&mut self) {
        self.note(usize::MAX, format_args!("heals"));
        if let Some(tale) = &mut self.trace.tale {
            tale.trouble(self.now, Trouble::default(), "all faults end");
        }
        self.healed = true;
        self.apart.clear();
        for peer in &mut self.peers {
            peer.dying = None;
        }
        let stalled: Vec<usize> = self.links.keys().copied().collect();
        let now = self.now;
        for at in stalled {
            let still = self.links.get(&at).map(|link| link.stalled);
            if still.is_some_and(|still| still.iter().any(|until| *until > now)) {
                self.cut(at);
            }
        }
        for p in 0..self.peers.len() {
            if self.peers[p].engine.is_none() {
                self.after(MS, Item::Start(p));
            }
        }
    }
}
