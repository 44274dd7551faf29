//! A run: a world drawn from a seed, its faults, its healing, and the judgement at its end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use tandem_core::action::WantState;
use tandem_core::event::{Event, Hint};
use tandem_core::fetch::backoff::DIAL_CAP;
use tandem_core::ids::ReqId;

use crate::chaos;
use crate::check::{Failure, Kind, Verdict};
use crate::choices::{Chance, Choices, Key};
use crate::config::{Config, FAR, MS, Minority, SEC, SETTLING, WRITING};
use crate::html::{About, Page};
use crate::knobs;
use crate::reach::Reach;
use crate::tale::Tale;
use crate::user::Thread;
use crate::world::{HOST, Item, World};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// The broken promise, if one was.
    pub failure: Option<Failure>,
    /// Where it was cut.
    pub cut: Option<Cut>,
    /// How many actions each peer performed before its healing.
    pub actions: Vec<u64>,
    /// What it reached.
    pub reach: Reach,
    /// Events handled.
    pub events: u64,
    /// The planned events that happened.
    pub fired: Vec<u32>,
    /// The trace's lines, if they were wanted.
    pub lines: Vec<String>,
}

/// Where a run is cut: a peer loses power between two of its actions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// Whose power fails.
    pub peer: usize,
    /// After how many of its actions, over all of its starts.
    pub after: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.peer, self.after)
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(peer, after)| {
            let (peer, after) = (peer.parse().ok()?, after.parse().ok()?);
            Some(Self { peer, after })
        });
        parts.ok_or_else(|| "not PEER:ACTIONS, as in 0:217 (0 is the host)".to_owned())
    }
}

/// Returns what has to be written behind a command for the same run.
pub fn flags(seed: u64, off: &[u32], cut: Option<Cut>) -> String {
    let flag = |flag: &AtomicBool, word| {
        let is_on = flag.load(Ordering::Relaxed);
        if is_on { word } else { "" }
    };
    let writing = flag(&WRITING, " --writing");
    let settling = flag(&SETTLING, " --settling");
    let far = flag(&FAR, " --far");
    let off: Vec<String> = off.iter().copied().map(knobs::name).collect();
    let without = match off.as_slice() {
        [] => String::new(),
        off => format!(" --without {}", off.join(",")),
    };
    let cut = cut.map_or_else(String::new, |cut| format!(" --cut {cut}"));
    format!(
        "--seed {seed:#x}{writing}{settling}{far}{}{cut}{without}",
        planted()
    )
}

#[cfg(feature = "mutants")]
fn planted() -> String {
    let planted = crate::mutants::PLANTED.get();
    planted.map_or_else(String::new, |mutant| format!(" --plant {mutant:?}"))
}

#[cfg(not(feature = "mutants"))]
fn planted() -> String {
    String::new()
}

/// Runs a seed and keeps its tale; `off` are planned events and knobs that are left out.
pub fn recorded(seed: u64, off: &[u32], cut: Option<Cut>) -> (Outcome, Page) {
    let mut world = make(seed, off, false);
    world.cut = cut;
    world.record();
    let outcome = Outcome {
        cut,
        ..run_in(&mut world)
    };
    let flags = flags(seed, off, cut);
    let about = About {
        title: format!("seed {seed:#x}"),
        lead: "A run drawn from one seed: its faults, its healing, and the judgement.".to_owned(),
        again: format!("tandem-sim run {flags} --html page.html"),
    };
    let page = Page::of(&mut world, about, outcome.failure.clone());
    (outcome, page)
}

/// Runs a seed; `off` are planned events that are left out.
pub fn run(seed: u64, off: &[u32], keep_trace: bool) -> Outcome {
    run_cut(seed, off, None, keep_trace)
}

/// Runs a seed like [`run`] and takes the power of one peer between two of its actions.
pub fn run_cut(seed: u64, off: &[u32], cut: Option<Cut>, keep_trace: bool) -> Outcome {
    let mut world = make(seed, off, keep_trace);
    world.cut = cut;
    Outcome {
        cut,
        ..run_in(&mut world)
    }
}

/// Runs what these bytes choose: a short run, of some hundreds of events.
pub fn run_bytes(bytes: &[u8], keep_trace: bool) -> Outcome {
    let choices = Choices::of_bytes(bytes);
    let config = Config::draw(&mut choices.stream(Key::Config)).short();
    run_in(&mut World::new(config, choices, keep_trace))
}

/// Makes the world of a seed; `off` are planned events and knobs that are left out.
pub fn make(seed: u64, off: &[u32], keep_trace: bool) -> World {
    let mut choices = Choices::new(seed).without(off.iter().copied());
    let mut config = Config::draw(&mut choices.stream(Key::Config));
    for knob in knobs::on(&config) {
        choices.fire(knob);
    }
    knobs::turn_off(&mut config, off);
    World::new(config, choices, keep_trace)
}

/// Returns which of `off` is neither a knob nor the number of an event that this seed plans.
pub fn unplanned(seed: u64, off: &[u32]) -> Option<u32> {
    let planned = |off: &[u32]| {
        let world = make(seed, off, false);
        chaos::plan(&world.config, &world.choices).len()
    };
    let planned = planned(&[]).max(planned(off));
    let is_none = |n: &u32| !knobs::is(*n) && usize::try_from(*n).is_ok_and(|n| n >= planned);
    off.iter().copied().find(is_none)
}

/// Runs a world that [`make`] made, to its end.
pub fn run_in(world: &mut World) -> Outcome {
    judged(world, live)
}

fn judged(world: &mut World, run: fn(&mut World) -> Verdict) -> Outcome {
    let seed = world.choices.seed();
    let result = catch_unwind(AssertUnwindSafe(|| run(world)));
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(mut failure)) => {
            failure.at = world.now;
            Some(failure)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let what = text.unwrap_or("a panic without words");
            let kind = if world.in_core {
                Kind::Crash
            } else {
                Kind::Simulator
            };
            let mut failure = Failure::new(kind, "no panic", what);
            failure.at = world.now;
            Some(failure)
        }
    };
    Outcome {
        seed,
        hash: world.trace.hash(),
        failure,
        cut: None,
        actions: world.actions.clone(),
        events: world.events,
        fired: world.choices.fired().to_vec(),
        lines: world.trace.lines().to_vec(),
        reach: world.reach.clone(),
    }
}

/// Runs a seed twice and compares the traces (P8).
pub fn run_twice(seed: u64) -> Outcome {
    let mut first = run(seed, &[], false);
    let second = run(seed, &[], false);
    if first.failure.is_none() && first.hash != second.hash {
        let what = format!("trace {:016x}, then {:016x}", first.hash, second.hash);
        first.failure = Some(Failure::new(Kind::Determinism, "P8", what));
    }
    first
}

/// Runs a world whose joiner learns the folder, and then has nobody to talk to, for ever: it
/// edits, is killed and loses power, and is judged after each start.
pub fn run_alone(seed: u64, off: &[u32], keep_trace: bool) -> Outcome {
    let mut choices = Choices::new(seed).without(off.iter().copied());
    let drawn = Config::draw(&mut choices.stream(Key::Config));
    let mut config = Config {
        joiners: 1,
        guest: false,
        minority: Minority::Nobody,
        hostile: 0,
        edits: 0,
        rots: 0,
        writable: u16::MAX,
        think: drawn.think.min(40 * MS),
        ..drawn
    };
    for knob in knobs::on(&config) {
        choices.fire(knob);
    }
    knobs::turn_off(&mut config, off);
    let mut world = World::new(config, choices, keep_trace);
    judged(&mut world, alone)
}

/// How long a joiner listens before nobody is there.
const LISTENS: u64 = 4 * SEC;

fn alone(world: &mut World) -> Verdict {
    let config = world.config.clone();
    let threads = std::mem::take(&mut world.config.threads);
    begin(world);
    world.run_until(LISTENS)?;
    world.config.threads = threads;
    for p in 1..=config.joiners {
        world.partition(p, u64::MAX / 4);
        world.peers[p].bodies.alone = true;
        world.seat_users(p);
        // One that is down, or is still to be judged after a crash, lets them in by itself.
        if world.peers[p].engine.is_some() && world.peers[p].crashed.is_none() {
            world.let_users_in(p);
        }
    }
    world.run_until(config.heal_at)?;
    world.healed = true;
    for p in 1..=config.joiners {
        world.resting = true;
        world.run_for(20 * SEC)?;
        world.peers[p].dying = None;
        world.peers[p].relapses = 0;
        if world.peers[p].engine.is_some() {
            world.drop_engine(p, false);
        }
        world.restart(p)?;
        world.resting = false;
        world.run_for(20 * SEC)?;
    }
    Ok(())
}

fn live(world: &mut World) -> Verdict {
    let config = world.config.clone();
    begin(world);
    world.run_until(config.heal_at)?;
    world.heal();
    world.run_for(5 * SEC)?;
    if !world.folder.history.is_full() {
        world.settle()?;
    }
    if world.folder.history.is_full() {
        // All that came before was judged.
        crate::reach!(
            world.reach,
            "run: ended, with too many contents to judge by"
        );
        return Ok(());
    }
    world.judge_end()
}

/// Populates the folder, makes the plan, and starts everybody.
fn begin(world: &mut World) {
    let config = world.config.clone();
    let plan = chaos::plan(&config, &world.choices);
    world.populate();
    world.follow(plan);
    for p in 1..=config.joiners {
        world.seat_users(p);
    }
    for p in 0..world.peers.len() {
        let delay = world.choices.stream(Key::Shell(p)).below(SEC);
        world.after(delay, Item::Start(p));
    }
}

impl World {
    /// Puts applications on a mount.
    fn seat_users(&mut self, p: usize) {
        for thread in 0..self.config.threads {
            let chance = self.choices.stream(Key::User { peer: p, thread });
            let thread = Thread::new(chance, self.config.calls);
            self.peers[p].threads.push(thread);
        }
    }

    /// Starts every peer at once: for stories.
    pub fn start_all(&mut self) -> Verdict {
        (0..self.peers.len()).try_for_each(|p| self.start(p))
    }

    /// Starts a peer that was dropped: for stories.
    pub fn restart(&mut self, p: usize) -> Verdict {
        self.start(p)
    }

    /// Keeps a tale from here on, for a page.
    pub fn record(&mut self) {
        self.trace.tale = Some(Box::new(Tale::new(self.config.chunk_size)));
    }

    /// Cuts a link: for stories.
    pub fn cut_link(&mut self, at: usize) {
        self.cut(at);
    }

    /// Returns how a want ended, if it did: for stories.
    pub fn ended(&self, p: usize, req: ReqId) -> Option<WantState> {
        self.ended.get(&(p, req)).copied()
    }

    /// Returns the links: for stories.
    pub fn links(&self) -> impl Iterator<Item = usize> + '_ {
        self.links.keys().copied()
    }

    /// Gives the host a hint of its watcher: for stories.
    pub fn tell_hint(&mut self, hint: Hint) -> Verdict {
        let boot = self.peers[HOST].boot;
        self.tell(HOST, boot, Event::Hint(hint))
    }

    /// Gives the host a hint of its watcher in its turn: for stories.
    pub fn tell_hint_later(&mut self, hint: Hint) {
        self.after(SEC / 10, Item::Hint(Box::new(hint)));
    }

    /// Lets the hostile peer come: for stories.
    pub fn send_eve(&mut self, chance: Chance) {
        self.hostile_comes(chance);
    }

    /// Lets applications rest, and time pass until nothing but heartbeats goes on, for longer than
    /// anybody waits between two attempts.
    pub fn settle(&mut self) -> Verdict {
        self.resting = true;
        let end = self.now + self.patience();
        let quiet = (DIAL_CAP.as_secs() + 5) * SEC;
        self.run_for(SEC)?;
        self.busy_at = self.now;
        while self.now < end {
            self.run_for(SEC)?;
            if self.folder.history.is_full() {
                // Time stands still: there is nothing to judge by.
                return Ok(());
            }
            let calm = self.now > self.busy_at + quiet;
            if calm && self.is_linked() && self.peers.iter().all(|peer| peer.callers.is_empty()) {
                return Ok(());
            }
        }
        let what = format!(
            "no rest after {} s; last busy {} s ago; linked: {}",
            self.patience() / SEC,
            (self.now - self.busy_at) / SEC,
            self.is_linked()
        );
        let mut failure = Failure::new(Kind::Convergence, "P4", what);
        failure.at = self.now;
        Err(failure)
    }

    /// Waits until nothing but heartbeats goes on, for good. What a peer could not give the host is asked
    /// for again, each time after twice as long: of a peer whose disk is dead again and again.
    fn fall_silent(&mut self) -> Verdict {
        let attempts = if self.was_failed { 4 } else { 1 };
        for _ in 0..attempts {
            self.settle()?;
            self.busy_at = self.now;
            let before = self.busy_at;
            self.run_for(30 * SEC)?;
            if self.busy_at == before {
                return Ok(());
            }
        }
        let what = "something other than heartbeats goes on after all was read";
        Err(Failure::new(Kind::Convergence, "P4", what))
    }

    /// Judges a world that has settled.
    pub fn judge_end(&mut self) -> Verdict {
        self.wants_ended()?;
        self.undo_ended()?;
        self.settling_ended()?;
        let lost = self.lost;
        if self.config.writable != 0 {
            self.check_conflicts()?;
            self.oppose();
            let walk = self.folder.walk();
            let files = walk.into_iter().filter_map(|(_, id)| self.folder.bytes(id));
            let files: Vec<_> = files.collect();
            let skip = lost.into_iter().collect();
            self.kept.judge(&files, &skip, &self.folder.history)?;
        }
        for p in (HOST + 1..=self.config.joiners).filter(|p| lost != Some(*p)) {
            self.check_caches(p)?;
            self.check_converged(p)?;
        }
        self.fall_silent()?;
        if self.config.writable != 0 {
            self.check_all_synced()?;
        }
        for (_, peer) in (0..).zip(&self.peers).filter(|(p, _)| lost != Some(*p)) {
            let clock = peer.clock(self.now);
            let status = peer.engine.as_ref().map(|engine| engine.status(clock));
            let open: u32 = status
                .iter()
                .flat_map(|status| status.files.iter())
                .map(|file| file.handles)
                .sum();
            let left = (
                peer.payloads.len(),
                peer.jobs.values().filter(|job| !job.is_look()).count(),
                peer.commits.len(),
                open,
            );
            if left != (0, 0, 0, 0) {
                let what = format!(
                    "{}: payloads, jobs, commits, handles left over: {left:?}",
                    peer.name
                );
                return Err(Failure::safety("P6", what));
            }
        }
        Ok(())
    }
}
