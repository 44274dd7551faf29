//! `kill -9` of either side at random moments, while both write, save, move and remove (P2, S26).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::is_large;
use crate::common::pattern::{CHUNK, Dice, pattern};
use crate::common::tree::converge;
use crate::common::world::World;

/// A content: the stamp of its pattern, and its size.
type Bytes = (u64, u64);

/// What one writer has done in its directory, and what was answered.
#[derive(Debug, Default)]
struct Truth {
    /// Of each name what it may hold: what was answered last, and what was asked for when the
    /// mount went. `None` is no file.
    names: BTreeMap<String, Vec<Option<Bytes>>>,
    /// What ever was to stand under a name.
    ever: BTreeMap<String, BTreeSet<Bytes>>,
    /// How many bytes of the log were answered, and how many were asked for.
    log: (u64, u64),
    /// How many steps were answered.
    steps: u64,
    next: u64,
}

/// The stamp of a log, by its writer.
fn log_stamp(writer: &str) -> u64 {
    0xf000_0000 + u64::from(writer.as_bytes()[0])
}

fn whole((stamp, size): Bytes) -> Vec<u8> {
    part_of(stamp, 0, size)
}

fn part_of(stamp: u64, at: u64, len: u64) -> Vec<u8> {
    pattern(stamp, at, usize::try_from(len).unwrap())
}

fn read(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

impl Truth {
    fn draw(&mut self, dice: &mut Dice) -> Bytes {
        self.next += 1;
        let most = if dice.below(8) == 0 {
            3 * CHUNK
        } else {
            40_000
        };
        (self.next, dice.below(most))
    }

    /// A name that surely holds a file.
    fn some_name(&self, dice: &mut Dice) -> Option<(String, Bytes)> {
        let sure: Vec<_> = (self.names.iter())
            .filter_map(|(name, may)| match may.as_slice() {
                [Some(bytes)] => Some((name, *bytes)),
                _ => None,
            })
            .collect();
        let ix = usize::try_from(dice.below(sure.len().max(1) as u64)).unwrap();
        sure.get(ix).map(|(name, bytes)| ((*name).clone(), *bytes))
    }

    /// A name will hold this, or no file: sure once it was answered.
    fn asks(&mut self, name: &str, what: Option<Bytes>) {
        let may = self.names.entry(name.to_owned()).or_insert(vec![None]);
        may.push(what);
        if let Some(bytes) = what {
            self.ever.entry(name.to_owned()).or_default().insert(bytes);
        }
    }

    fn answered(&mut self, name: &str) {
        let may = self.names.get_mut(name).unwrap();
        may.drain(..may.len() - 1);
    }

    /// Does one thing in `dir`, of which only the last call may fail to be answered.
    fn step(&mut self, dir: &Path, dice: &mut Dice) -> io::Result<()> {
        match (dice.below(10), self.some_name(dice)) {
            (0, Some((name, _))) => {
                self.asks(&name, None);
                fs::remove_file(dir.join(&name))?;
                self.answered(&name);
            }
            (1, Some((name, bytes))) => {
                let other = format!("f{}", dice.below(40));
                if other != name {
                    self.asks(&name, None);
                    self.asks(&other, Some(bytes));
                    fs::rename(dir.join(&name), dir.join(&other))?;
                    self.answered(&name);
                    self.answered(&other);
                }
            }
            (2, Some((name, bytes))) => {
                // A directory goes under another name with what is in it.
                let (from, to) = (format!("d{}", self.next), format!("e{}", self.next));
                self.next += 1;
                let (inner, moved) = (format!("{from}/f"), format!("{to}/f"));
                fs::create_dir(dir.join(&from))?;
                self.asks(&name, None);
                self.asks(&inner, Some(bytes));
                fs::rename(dir.join(&name), dir.join(&inner))?;
                self.answered(&name);
                self.answered(&inner);
                self.asks(&inner, None);
                self.asks(&moved, Some(bytes));
                fs::rename(dir.join(&from), dir.join(&to))?;
                self.answered(&inner);
                self.answered(&moved);
            }
            (3 | 4, _) => {
                let len = 1 + dice.below(3_000);
                let at = self.log.1;
                self.log.1 += len;
                let stamp = log_stamp(&dir.file_name().unwrap().to_string_lossy());
                let mut log = File::options()
                    .append(true)
                    .create(true)
                    .open(dir.join("log"))?;
                log.write_all(&part_of(stamp, at, len))?;
                if dice.below(2) == 0 {
                    log.sync_all()?;
                }
                self.log.0 = self.log.1;
            }
            _ => {
                let (name, bytes) = (format!("f{}", dice.below(40)), self.draw(dice));
                // A name of its own: what an earlier one left behind is nobody's.
                let tmp = dir.join(format!("tmp{}", self.next));
                let mut file = File::create(&tmp)?;
                for part in whole(bytes).chunks(100_000) {
                    file.write_all(part)?;
                }
                if dice.below(3) == 0 {
                    file.sync_all()?;
                }
                drop(file);
                self.asks(&name, Some(bytes));
                fs::rename(&tmp, dir.join(&name))?;
                self.answered(&name);
            }
        }
        self.steps += 1;
        Ok(())
    }

    /// Works in `dir` until it is told to stop, or its mount goes.
    fn work(&mut self, dir: &Path, dice: &mut Dice, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            match self.step(dir, dice) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        // ENOTCONN, ECONNABORTED, and EIO of a call that was under way.
                        Some(107 | 103 | 5)
                    ) =>
                {
                    break;
                }
                Err(error) => panic!("{}: {error}", dir.display()),
            }
        }
    }

    /// Everything that was answered is there, on the mount that wrote it. What was only asked for
    /// has happened or not, and is sure from now on.
    fn holds(&mut self, dir: &Path, when: &str) {
        for (name, may) in &mut self.names {
            let found = read(&dir.join(name));
            let is_it = |bytes: &Option<Bytes>| bytes.map(whole) == found;
            let Some(it) = may.iter().copied().find(is_it) else {
                let size = found.map(|found| found.len());
                panic!(
                    "{when}: {}/{name} holds {size:?} bytes, not {may:?}",
                    dir.display()
                );
            };
            *may = vec![it];
        }
        let log = read(&dir.join("log")).unwrap_or_default();
        let stamp = log_stamp(&dir.file_name().unwrap().to_string_lossy());
        let size = log.len() as u64;
        assert!(
            (self.log.0..=self.log.1).contains(&size) && log == whole((stamp, size)),
            "{when}: {}/log has {size} bytes, {:?} were answered and asked for",
            dir.display(),
            self.log
        );
        self.log = (size, size);
    }

    /// No half file stands under a real name of the folder.
    fn is_whole_in(&self, dir: &Path, when: &str) {
        for (name, ever) in &self.ever {
            if let Some(found) = read(&dir.join(name)) {
                let size = found.len();
                assert!(
                    ever.iter().any(|&bytes| whole(bytes) == found),
                    "{when}: {}/{name} holds {size} bytes that were never to be there",
                    dir.display()
                );
            }
        }
        let log = read(&dir.join("log")).unwrap_or_default();
        let stamp = log_stamp(&dir.file_name().unwrap().to_string_lossy());
        assert!(
            log == whole((stamp, log.len() as u64)),
            "{when}: {}/log is not what was appended",
            dir.display()
        );
    }
}

/// P2, S26: the joiner writes on its mount and the host on its own, each in a directory of its own;
/// one of them is killed, or both. What was answered is there when they are back, no half file
/// stands under a real name of the folder, and both show the same in the end.
#[test]
fn either_side_is_killed_while_both_write_s26() {
    let kills = if is_large() { 200 } else { 20 };
    let world = World::taking_changes();
    let (mut host, own) = world.share_mounted("dir");
    let mut joiner = world.join("mo", &host.ticket());
    let mut dice = Dice::new(0x5eed);
    let writers = [own.join("h"), joiner.path("j")];
    let placed: Vec<PathBuf> = ["h", "j"].map(|name| host.dir.join(name)).into();
    for dir in &writers {
        fs::create_dir(dir).unwrap();
    }
    let mut truths = [Truth::default(), Truth::default()];
    // What happened under way is counted by hand: a round in which nobody wrote shows nothing.
    let mut killed = [0, 0];
    let begun = Instant::now();
    for kill in 0..kills {
        let over = AtomicBool::new(false);
        let whom = dice.below(5);
        let moment = Duration::from_millis(20 + dice.below(500));
        let when = format!("kill {kill}");
        thread::scope(|scope| {
            for (truth, dir) in truths.iter_mut().zip(&writers) {
                let mut dice = Dice::new(dice.below(u64::MAX));
                let over = &over;
                scope.spawn(move || truth.work(dir, &mut dice, over));
            }
            thread::sleep(moment);
            if whom < 3 {
                joiner.kill();
                killed[1] += 1;
            }
            if whom > 1 {
                host.kill();
                killed[0] += 1;
            }
            over.store(true, Ordering::SeqCst);
        });
        for (truth, dir) in truths.iter().zip(&placed) {
            truth.is_whole_in(dir, &when);
        }
        if whom > 1 {
            host.start();
        }
        if whom < 3 {
            joiner.restart();
        }
        for (truth, dir) in truths.iter_mut().zip(&writers) {
            truth.holds(dir, &when);
        }
        for (truth, dir) in truths.iter().zip(&placed) {
            truth.is_whole_in(dir, &when);
        }
        if kill % 10 == 9 {
            converge(&host.dir, &joiner.mnt);
            converge(&host.dir, &own);
        }
    }
    let tree = converge(&host.dir, &joiner.mnt);
    converge(&host.dir, &own);
    for (truth, dir) in truths.iter_mut().zip(&placed) {
        truth.holds(dir, "in the end");
    }
    let copies = tree
        .keys()
        .filter(|path| path.to_string_lossy().contains("(conflict"));
    assert_eq!(
        copies.count(),
        0,
        "each wrote in a directory of its own: {tree:?}"
    );
    println!(
        "| {kills} kills | host {} | joiner {} | steps {} and {} | {} names | {:.0} s |",
        killed[0],
        killed[1],
        truths[0].steps,
        truths[1].steps,
        tree.len(),
        begun.elapsed().as_secs_f64()
    );
}
