//! The watchdog of a test that mounts.
//!
//! Law: no test hangs. When a test's time is up, every FUSE connection below its directory is
//! aborted and every program that it started is killed, again and again until the test is over,
//! so that whoever waits on the mount is freed; and the test has failed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// Where the kernel lists its FUSE connections, once somebody has mounted fusectl there.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// What a test has started, and what the watchdog ends.
#[derive(Debug)]
pub(crate) struct Charges {
    root: PathBuf,
    pids: Mutex<BTreeSet<i32>>,
    connections: Mutex<BTreeSet<u32>>,
    barked: Mutex<Option<Duration>>,
}

impl Charges {
    /// Takes care of a process.
    pub(crate) fn started(&self, pid: u32) {
        self.pids().insert(i32::try_from(pid).unwrap());
    }

    /// Forgets a process that has been waited for.
    pub(crate) fn ended(&self, pid: u32) {
        self.pids().remove(&i32::try_from(pid).unwrap());
    }

    /// Remembers the connections of the mounts that are there, which may go on after the mount
    /// has been taken out of the tree.
    pub(crate) fn note_mounts(&self) {
        let mut known = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.extend(
            mounts_below(&self.root)
                .into_iter()
                .map(|mount| mount.connection),
        );
    }

    /// Ends everything: processes, connections, mounts.
    pub(crate) fn end_all(&self) {
        self.note_mounts();
        for &pid in &*self.pids() {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended by itself; nobody else has its number until it is waited for.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // The kernel gives a number again: one that somebody else's mount has by now is not ours.
        let others: BTreeSet<u32> = mounts_below(Path::new("/"))
            .into_iter()
            .filter(|mount| !mount.point.starts_with(&self.root))
            .map(|mount| mount.connection)
            .collect();
        let known = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for &connection in known.difference(&others) {
            abort(connection);
        }
        drop(known);
        for mount in mounts_below(&self.root).into_iter().rev() {
            let _ = unmount(&mount.point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            if mounts_below(&mount.point)
                .iter()
                .any(|left| left.point == mount.point)
            {
                let _ = Command::new("fusermount3")
                    .arg("-uz")
                    .arg("--")
                    .arg(&mount.point)
                    .output();
            }
        }
    }

    fn pids(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watchdog. Dropped, it ends everything that is left.
#[derive(Debug)]
pub(crate) struct Watchdog {
    charges: Arc<Charges>,
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches over what happens below `root` for as long as `bound`.
    pub(crate) fn start(root: &Path, bound: Duration) -> Self {
        mount_fusectl();
        let charges = Arc::new(Charges {
            root: root.to_owned(),
            pids: Mutex::default(),
            connections: Mutex::default(),
            barked: Mutex::default(),
        });
        let (over, ended) = channel();
        let watched = Arc::clone(&charges);
        let thread = thread::spawn(move || {
            let mut wait = bound;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let mut barked = watched
                    .barked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if barked.replace(bound).is_none() {
                    eprintln!(
                        "the test at {} is not over after {bound:?}: its mounts are aborted",
                        watched.root.display()
                    );
                }
                drop(barked);
                watched.end_all();
                wait = Duration::from_millis(500);
            }
        });
        Self {
            charges,
            over: Some(over),
            thread: Some(thread),
        }
    }

    /// Ends a watch in which it had to bark.
    #[track_caller]
    pub(crate) fn expect_barked(self) {
        let barked = self
            .charges
            .barked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        assert!(barked.is_some(), "the watchdog has not barked");
    }

    /// Returns what it watches over.
    pub(crate) fn charges(&self) -> Arc<Charges> {
        Arc::clone(&self.charges)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.charges.end_all();
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let left = mounts_below(&self.charges.root);
        let barked = *self
            .charges
            .barked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !thread::panicking() {
            assert_eq!(barked, None, "the test was not over within its bound");
            assert!(left.is_empty(), "left mounted: {left:?}");
        }
    }
}

/// A mount, as the kernel's table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// Where.
    pub(crate) point: PathBuf,
    /// The type of the file system.
    pub(crate) kind: String,
    /// From what.
    pub(crate) source: String,
    /// The number of its FUSE connection: the minor number of its device.
    pub(crate) connection: u32,
}

/// Returns what is mounted at `root` or below it, later mounts after those that they cover.
pub(crate) fn mounts_below(root: &Path) -> Vec<MountLine> {
    let table = fs::read("/proc/self/mountinfo").expect("proc is mounted");
    table
        .split(|&byte| byte == b'\n')
        .filter_map(mount_line)
        .filter(|line| line.point.starts_with(root))
        .collect()
}

/// Reads a line by proc(5): `36 35 0:98 /root /point options fields - type source super`. Our
/// test directories have no characters that the table escapes.
fn mount_line(line: &[u8]) -> Option<MountLine> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let (_, minor) = std::str::from_utf8(words.get(2)?).ok()?.split_once(':')?;
    let dash = words.iter().position(|&word| word == b"-")?;
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    Some(MountLine {
        point: PathBuf::from(OsStr::from_bytes(words.get(4)?)),
        kind: text(words.get(dash + 1)?),
        source: text(words.get(dash + 2)?),
        connection: minor.parse().ok()?,
    })
}

/// Aborts a FUSE connection: whoever waits on it gets `ECONNABORTED`. One that is gone already
/// has no file to write to.
fn abort(connection: u32) {
    let _ = fs::write(format!("{CONNECTIONS}/{connection}/abort"), "1");
}

/// Mounts fusectl where nobody has (containers often lack it). Without it, killing the daemon
/// still ends the connection in all cases but the worst.
fn mount_fusectl() {
    let there = !mounts_below(Path::new(CONNECTIONS)).is_empty();
    if !there && rustix::process::geteuid().is_root() {
        let _ = Command::new("mount")
            .args(["-t", "fusectl", "none", CONNECTIONS])
            .output();
    }
}
