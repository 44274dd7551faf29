//! A program in the shared folder and one on a joiner's mount change the same file at the same
//! moment.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::common::pattern::{Dice, pattern};
use crate::common::world::World;
use crate::common::{is_large, until, within};

/// The file of a race, in a directory with some others.
fn file(dir: &Path, race: u64) -> PathBuf {
    dir.join(format!("d{}/f{race}", race % 10))
}

/// What was in it at the beginning.
fn base(race: u64) -> Vec<u8> {
    pattern(race, 0, usize::try_from(race * 37 % 5_000).unwrap())
}

fn nap(dice: &mut Dice) {
    thread::sleep(Duration::from_micros(dice.below(4_000)));
}

/// The words that one of the two appends in a race, in two writes.
fn words(who: &str, race: u64) -> [Vec<u8>; 2] {
    let (first, second) = (format!("{who} was"), format!(" here in race {race}\n"));
    [first, second].map(String::into_bytes)
}

/// Appends them, and keeps the file open for a while before, between and after.
fn append(path: &Path, who: &str, race: u64, dice: &mut Dice) {
    let mut file = File::options().append(true).open(path).unwrap();
    for word in words(who, race) {
        nap(dice);
        file.write_all(&word).unwrap();
    }
    nap(dice);
}

/// What a mount shows of a file.
enum Shown {
    Whole(Vec<u8>),
    /// Something of it is nowhere any more: what can be read at its end.
    End(Vec<u8>),
}

fn zeros(size: u64) -> Vec<u8> {
    vec![0; usize::try_from(size).unwrap()]
}

/// Opens a file to be read around the kernel's cache.
fn direct(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
}

/// Reads a file around the kernel's cache, which asks for more than it is asked for.
fn read(path: &Path) -> io::Result<Shown> {
    let file = direct(path)?;
    let size = file.metadata()?.len();
    let mut bytes = zeros(size);
    if file.read_exact_at(&mut bytes, 0).is_ok() {
        return Ok(Shown::Whole(bytes));
    }
    let is_here = |at: &u64| file.read_exact_at(&mut [0], *at).is_ok();
    let begin = (0..size).rev().take_while(is_here).last().unwrap_or(size);
    let mut end = zeros(size - begin);
    file.read_exact_at(&mut end, begin)?;
    Ok(Shown::End(end))
}

/// Returns the paths of a race's file and of its conflict copies.
fn paths(dir: &Path, race: u64) -> Vec<PathBuf> {
    let path = file(dir, race);
    let copy = format!("f{race} (conflict from ");
    let listed = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = listed.map(|item| item.unwrap().file_name().into_string().unwrap());
    let is_its = |name: &String| *name == format!("f{race}") || name.starts_with(&copy);
    names
        .filter(is_its)
        .map(|name| path.with_file_name(name))
        .collect()
}

/// Takes words off the front of some bytes, as long as there are any.
fn without_words<'a>(mut bytes: &'a [u8], words: &[Vec<u8>]) -> &'a [u8] {
    while let Some(word) = words.iter().find(|word| bytes.starts_with(word)) {
        bytes = &bytes[word.len()..];
    }
    bytes
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|piece| piece == word)
}

/// Tells how a race has ended, or what is not as it should be (yet). Whether something can't be
/// read any more takes its time: `in_part` says that it may be so.
fn judge(race: u64, (dir, mnt): (&Path, &Path), in_part: bool) -> Result<(usize, usize), String> {
    let all: Vec<Vec<u8>> = ["ada", "mo"].map(|who| words(who, race)).concat();
    let (here, there) = (paths(dir, race), paths(mnt, race));
    if !in_part && here.len() != there.len() {
        return Err(format!("{here:?} and {there:?}"));
    }
    let stands: Result<BTreeSet<Vec<u8>>, _> = here.iter().map(fs::read).collect();
    let stands = stands.map_err(|error| error.to_string())?;
    let (mut whole, mut ends) = (BTreeSet::new(), Vec::new());
    for path in there {
        match read(&path).map_err(|error| format!("{path:?}: {error}"))? {
            Shown::Whole(bytes) => drop(whole.insert(bytes)),
            Shown::End(bytes) => ends.push(bytes),
        }
    }
    if whole != stands {
        return Err("the two are not alike".to_owned());
    }
    for content in &stands {
        let added = content.strip_prefix(base(race).as_slice());
        let added = added.ok_or("the base is another")?;
        if !without_words(added, &all).is_empty() {
            return Err(format!("nobody wrote {:?}", String::from_utf8_lossy(added)));
        }
    }
    for end in &ends {
        // It may begin within a word: of what came before it nothing is here.
        if !(0..end.len()).any(|at| without_words(&end[at..], &all).is_empty()) {
            return Err(format!("nobody wrote {:?}", String::from_utf8_lossy(end)));
        }
    }
    let is_kept = |word: &Vec<u8>| {
        stands.iter().any(|content| contains(content, word))
            || ends.iter().any(|end| contains(end, word))
    };
    match all.iter().find(|word| !is_kept(word)) {
        Some(lost) => Err(format!("{:?} was lost", String::from_utf8_lossy(lost))),
        None => Ok((stands.len() + ends.len(), ends.len())),
    }
}

/// Neither's words are ever lost: whoever comes second has the first one's in what it appends to,
/// or both are kept, each in a file of its own. And nothing stands that nobody wrote.
///
/// Of the joiner's version what lay beneath can be nowhere any more: a program has gone over it in
/// place, in the only file that held it, before the joiner had it. Then what he wrote is on his
/// mount, and the rest of that file can't be read (P3).
#[test]
fn what_two_append_at_once_is_kept() {
    let races = if is_large() { 1_000 } else { 150 };
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    for race in 0..races {
        let path = file(&dir, race);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, base(race)).unwrap();
    }
    let host = world.share("dir");
    let user = world.user("mo").with("TANDEM_READ_DEADLINE", "5s");
    let joiner = world.join_as(user, "mo", &host.ticket());
    until("all files are seen", || {
        (0..races)
            .all(|race| file(&joiner.mnt, race).exists())
            .then_some(())
    });
    let line = Barrier::new(2);
    let mut dice = Dice::new(0x5eed);
    thread::scope(|scope| {
        for (who, dir) in [("ada", &host.dir), ("mo", &joiner.mnt)] {
            let mut dice = Dice::new(dice.below(u64::MAX));
            let line = &line;
            scope.spawn(move || {
                for race in 0..races {
                    // Of every second one all is here before it begins.
                    if race % 2 == 0 {
                        assert!(fs::read(file(dir, race)).unwrap() == base(race));
                    }
                    line.wait();
                    append(&file(dir, race), who, race, &mut dice);
                }
            });
        }
    });
    let dirs = (host.dir.as_path(), joiner.mnt.as_path());
    let mut left: Vec<u64> = (0..races).collect();
    let mut apart = 0;
    // As long as any race comes to its end, others may.
    let (mut since, mut before) = (Instant::now(), left.len());
    while since.elapsed() < Duration::from_secs(15) && !left.is_empty() {
        left.retain(|race| match judge(*race, dirs, false) {
            Ok((files, _)) => {
                apart += usize::from(files > 1);
                false
            }
            Err(_) => true,
        });
        if left.len() < before {
            (since, before) = (Instant::now(), left.len());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let in_part = left.len();
    thread::scope(|scope| {
        for race in left {
            scope.spawn(move || {
                let ended = within(|| judge(race, dirs, true).ok());
                assert!(
                    ended.is_some(),
                    "race {race}: {:?}",
                    judge(race, dirs, true)
                );
            });
        }
    });
    println!("| {races} | {apart} | {in_part} |");
    assert!(apart + in_part > 0, "they never met");
}
