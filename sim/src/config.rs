//! The configuration of a run: everything that differs from run to run, drawn from the seed.
//!
//! Law: swarm testing. Each rate is zero in many runs, so that what one fault hides another run
//! shows, and some runs have no faults at all.

use std::sync::atomic::{AtomicBool, Ordering};

use tandem_core::limits::FETCH_BYTES_IN_FLIGHT_MAX;

use crate::choices::Chance;

/// A millisecond of virtual time, in nanoseconds.
pub const MS: u64 = 1_000_000;
/// A second of virtual time, in nanoseconds.
pub const SEC: u64 = 1_000 * MS;

/// Whether mounts take edits in drawn runs. Off until the promises hold in them; `--writing` turns
/// it on for a program, before its first run.
pub static WRITING: AtomicBool = AtomicBool::new(false);

/// Whether users settle conflicts in drawn runs in which mounts take edits; `--settling` turns it on.
pub static SETTLING: AtomicBool = AtomicBool::new(false);

/// Whether syncs of some joiners wait for another machine in drawn runs (`durability = peer`); `--far`
/// turns it on.
pub static FAR: AtomicBool = AtomicBool::new(false);

/// What one peer suffers for ever, while the others must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minority {
    /// Nothing.
    Nobody,
    /// The last joiner can't reach the host.
    Apart,
    /// The last joiner does not run.
    Down,
    /// The disk of the last joiner fails at every job.
    NoDisk,
    /// The last joiner is removed, while faults go on or when they end.
    Removed,
}

/// What a run is made of. Rates are per thousand, times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Peers with a sparse store, beside the host.
    pub joiners: usize,
    /// Whether the last of them is a guest.
    pub guest: bool,
    /// What stays broken for ever, if anything does.
    pub minority: Minority,
    /// Files at the start.
    pub files: u64,
    /// Directories at the start.
    pub dirs: u64,
    /// The size of chunks, in bytes.
    pub chunk_size: u32,
    /// Chunks of the largest files.
    pub chunks_max: u64,
    /// Typical one-way latency of a link.
    pub latency: u64,
    /// Nanoseconds that a byte takes on a link.
    pub byte_time: u64,
    /// Typical time of a disk job.
    pub disk_time: u64,
    /// Chunks that arrive with flipped bytes.
    pub corrupt: u32,
    /// Disk jobs that fail, on the joiners' stores.
    pub store_errors: u32,
    /// Disk jobs that fail, in the shared folder.
    pub folder_errors: u32,
    /// Commits that fail.
    pub commit_errors: u32,
    /// Hints of the watcher that are lost, and made up for by a rescan.
    pub hints_lost: u32,
    /// Dials that find nobody.
    pub dial_errors: u32,
    /// Dials that find somebody with another key.
    pub wrong_keys: u32,
    /// Ends of a connection of which one side is not told.
    pub half_open: u32,
    /// Starts after a crash that crash again, at any action.
    pub relapses: u32,
    /// Hints of the watcher that come twice.
    pub hints_twice: u32,
    /// Cuts, stalls and partitions that are planned.
    pub cuts: u64,
    /// Kills that are planned.
    pub kills: u64,
    /// Power losses that are planned.
    pub power_losses: u64,
    /// Clean stops that are planned.
    pub stops: u64,
    /// Times at which a link gets slow that are planned.
    pub throttles: u64,
    /// Times at which a disk gets slow that are planned.
    pub slow_disks: u64,
    /// Times at which a machine sleeps that are planned.
    pub sleeps: u64,
    /// Jumps of a peer's wall clock that are planned.
    pub clock_jumps: u64,
    /// Damages to what a stopped peer has stored that are planned.
    pub rots: u64,
    /// Complete files that go bad beneath a peer that runs, as planned.
    pub vanishes: u64,
    /// How far a joiner's wall clock may be off the host's when the run begins.
    pub skew: u64,
    /// How much faster or slower than time a peer's monotonic clock may run, in millionths.
    pub drift: u64,
    /// The size of a joiner's cache in memory: complete files of which all is kept.
    pub resting: usize,
    /// Files whose lanes are open at once, for each link.
    pub lane_files: usize,
    /// Bytes that are asked for and not yet stored, for each link.
    pub window: u64,
    /// Pieces on a link that arrive twice.
    pub twice: u32,
    /// Pieces on a lane with which it breaks, while its link stays: they are lost.
    pub breaks: u32,
    /// Sessions of a hostile peer that are planned.
    pub hostile: u64,
    /// Changes by outside programs that are planned.
    pub edits: u64,
    /// Which of the sixteen kinds of changes they make: a bit for each.
    pub edit_kinds: u16,
    /// Which joiners' mounts take edits: a bit for each; none where the share is read-only.
    pub writable: u16,
    /// Which kinds of edits are made there: a bit for each.
    pub write_kinds: u16,
    /// Whether programs make hard links.
    pub hard_links: bool,
    /// Threads of applications on each mount.
    pub threads: usize,
    /// Calls that each of them makes.
    pub calls: u32,
    /// Typical pause of an application.
    pub think: u64,
    /// When faults and changes stop.
    pub heal_at: u64,
    /// How long a read of absent bytes may wait.
    pub read_deadline: u64,
    /// Attempts at a chunk without progress.
    pub retries: u32,
    /// How often a silent link is probed.
    pub heartbeat: u64,
    /// Whether joiners fetch what is written to the folder of themselves.
    pub push: bool,
    /// Times at which a user of the host brings something back out of its trash that are planned.
    pub restores: u64,
    /// How long the host keeps what lies there, in seconds.
    pub trash_kept: u64,
    /// How many bytes of it.
    pub trash_bytes: u64,
    /// How often it looks at it.
    pub trash_look: u64,
    /// Conflicts that users settle that are planned.
    pub settles: u64,
    /// Which joiners' syncs wait for another machine: a bit for each.
    pub far: u16,
}

impl Config {
    /// Draws a configuration.
    pub fn draw(chance: &mut Chance) -> Self {
        let calm = chance.often(150);
        let mut some = |permille: u32, max: u64| {
            let on = chance.often(permille);
            let drawn = chance.between(1, max.max(1));
            if on && !calm { drawn } else { 0 }
        };
        let rate = |drawn: u64| u32::try_from(drawn).unwrap_or(0);
        let corrupt = rate(some(250, 100));
        let store_errors = rate(some(200, 60));
        let folder_errors = rate(some(200, 60));
        let commit_errors = rate(some(100, 30));
        let hints_lost = rate(some(400, 400));
        let dial_errors = rate(some(300, 500));
        let half_open = rate(some(400, 600));
        let cuts = some(600, 12);
        let kills = some(500, 5);
        let many = some(250, 5);
        let power_losses = some(350, 4) * many.max(1);
        let stops = some(250, 2);
        let wrong_keys = rate(some(100, 300));
        let relapses = rate(some(400, 600));
        let hints_twice = rate(some(300, 500));
        let throttles = some(200, 3);
        let slow_disks = some(200, 3);
        let sleeps = some(200, 2);
        let clock_jumps = some(200, 3);
        let rots = some(200, 2);
        let hostile = some(200, 4);
        let skew = match some(600, 3) {
            0 => 0,
            1 => 2 * SEC,
            2 => 3_600 * SEC,
            _ => 400 * 86_400 * SEC,
        };
        let drift = some(500, 1_000);
        let twice = rate(some(150, 20));
        let breaks = rate(some(250, 60));
        let latency = [MS / 5, 5 * MS, 40 * MS, 150 * MS][chance.index(4)];
        let byte_time = [0, 10, 1_000][chance.index(3)];
        let disk_time = [MS / 20, MS, 15 * MS][chance.index(3)];
        let heal_at = chance.between(10, 40) * SEC;
        let chunk_size = 512 << chance.below(8);
        let joiners = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4][chance.index(11)];
        let minority = match chance.below(9) {
            0 if joiners > 1 && !calm => Minority::Apart,
            1 if joiners > 1 && !calm => Minority::Down,
            2 if joiners > 1 && !calm => Minority::NoDisk,
            3 if joiners > 1 && !calm => Minority::Removed,
            _ => Minority::Nobody,
        };
        Self {
            joiners,
            guest: chance.often(120),
            minority,
            files: chance.between(1, 14),
            dirs: chance.between(0, 4),
            chunk_size,
            chunks_max: chance.between(1, 24),
            latency,
            byte_time,
            disk_time,
            corrupt,
            store_errors,
            folder_errors,
            commit_errors,
            hints_lost,
            dial_errors,
            wrong_keys,
            half_open,
            relapses,
            hints_twice,
            cuts,
            kills,
            power_losses,
            stops,
            throttles,
            slow_disks,
            sleeps,
            clock_jumps,
            rots,
            hostile,
            edits: if chance.often(850) {
                chance.between(1, 40)
            } else {
                0
            },
            edit_kinds: chance.some_of(u16::MAX),
            hard_links: chance.often(250),
            threads: 1 + chance.index(4),
            calls: 300,
            think: [2 * MS, 40 * MS, 300 * MS][chance.index(3)],
            heal_at,
            // Long enough for a few round trips, each as slow as they get, and a megabyte.
            read_deadline: chance.between(2, 20) * SEC
                + 40 * latency
                + 200 * disk_time
                + byte_time * 1_000_000,
            retries: u32::try_from(chance.between(2, 8)).unwrap_or(5),
            heartbeat: chance.between(500, 5_000) * MS,
            writable: if WRITING.load(Ordering::Relaxed) && chance.often(800) {
                chance.some_of(u16::MAX)
            } else {
                0
            },
            write_kinds: chance.some_of(u16::MAX),
            resting: [0, 1, 2, 3, 5, 8, 1_024][chance.index(7)],
            lane_files: [1, 2, 3, 64][chance.index(4)],
            window: match chance.below(3) {
                0 => FETCH_BYTES_IN_FLIGHT_MAX,
                _ => u64::from(chunk_size) * chance.between(1, 8),
            },
            skew,
            drift,
            twice,
            breaks,
            vanishes: if chance.often(250) && !calm {
                chance.between(1, 6)
            } else {
                0
            },
            push: chance.often(100),
            restores: if chance.often(200) {
                chance.between(2, 12)
            } else {
                0
            },
            // What is kept for a few seconds goes while nothing else does; by then all is at rest.
            trash_kept: [u64::MAX, u64::MAX, chance.between(1, 5)][chance.index(3)],
            trash_bytes: match chance.below(3) {
                0 => u64::from(chunk_size) * chance.between(0, 12),
                _ => u64::MAX,
            },
            trash_look: chance.between(500, 3_000) * MS,
            settles: if SETTLING.load(Ordering::Relaxed) {
                chance.between(2, 12)
            } else {
                0
            },
            far: if FAR.load(Ordering::Relaxed) {
                chance.some_of(u16::MAX)
            } else {
                0
            },
        }
    }

    /// Returns this configuration with less of everything: for runs that cost little.
    #[must_use]
    pub fn short(self) -> Self {
        Self {
            files: self.files.min(4),
            dirs: self.dirs.min(1),
            chunks_max: self.chunks_max.min(4),
            cuts: self.cuts.min(4),
            kills: self.kills.min(2),
            restores: self.restores.min(2),
            settles: self.settles.min(2),
            power_losses: self.power_losses.min(2),
            stops: self.stops.min(1),
            edits: self.edits.min(6),
            threads: self.threads.min(2),
            calls: 20,
            think: 40 * MS,
            heal_at: self.heal_at.min(3 * SEC),
            heartbeat: 5 * SEC,
            ..self
        }
    }

    /// Returns a configuration in which nothing fails and nobody does anything: for stories.
    pub fn quiet() -> Self {
        Self {
            joiners: 1,
            guest: false,
            minority: Minority::Nobody,
            files: 0,
            dirs: 0,
            chunk_size: 4096,
            chunks_max: 8,
            latency: 5 * MS,
            byte_time: 10,
            disk_time: MS / 5,
            corrupt: 0,
            store_errors: 0,
            folder_errors: 0,
            commit_errors: 0,
            hints_lost: 0,
            dial_errors: 0,
            wrong_keys: 0,
            half_open: 0,
            relapses: 0,
            hints_twice: 0,
            cuts: 0,
            kills: 0,
            power_losses: 0,
            stops: 0,
            throttles: 0,
            slow_disks: 0,
            sleeps: 0,
            clock_jumps: 0,
            rots: 0,
            vanishes: 0,
            resting: 2,
            lane_files: 64,
            window: FETCH_BYTES_IN_FLIGHT_MAX,
            skew: 0,
            drift: 0,
            twice: 0,
            breaks: 0,
            hostile: 0,
            edits: 0,
            edit_kinds: u16::MAX,
            writable: 0,
            write_kinds: u16::MAX,
            hard_links: false,
            threads: 0,
            calls: 0,
            think: 10 * MS,
            heal_at: u64::MAX,
            read_deadline: 10 * SEC,
            retries: 5,
            heartbeat: 2 * SEC,
            push: false,
            restores: 0,
            trash_kept: u64::MAX,
            trash_bytes: u64::MAX,
            trash_look: u64::MAX,
            settles: 0,
            far: 0,
        }
    }
}
