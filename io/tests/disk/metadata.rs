//! The metadata store: what it remembers through clean ends, kills, power loss and damage.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tandem_core::action::Record;
use tandem_core::engine::Last;
use tandem_core::time::WallTime;
use tandem_io::disk::metadata::{Metadata, MetadataError};
use tempfile::TempDir;

use crate::{open, put};

#[test]
fn a_store_remembers_and_knows_how_it_ended() {
    let dir = TempDir::new().unwrap();
    let (mut store, opened) = open(dir.path());
    assert_eq!((opened.last, opened.records.len()), (Last::Clean, 0));
    store
        .commit(&[put(b"a", b"1"), put(b"b", b"2")], false)
        .unwrap();
    store
        .commit(&[put(b"a", b"3"), remove(b"b"), put(b"", b"")], true)
        .unwrap();
    store.commit(&[], true).unwrap();
    let records = vec![pair(b"", b""), pair(b"a", b"3")];
    assert_eq!(store.load().unwrap(), records);
    store.close_clean().unwrap();

    let (store, opened) = open(dir.path());
    assert_eq!(
        (opened.last, opened.records),
        (Last::Clean, records.clone())
    );
    drop(store);
    let (store, opened) = open(dir.path());
    assert_eq!((opened.last, opened.records), (Last::Killed, records));
    store.close_clean().unwrap();
}

#[test]
fn a_store_in_use_names_who_uses_it() {
    let dir = TempDir::new().unwrap();
    let (_store, _) = open(dir.path());
    match Metadata::open(dir.path(), WallTime::default()) {
        Err(error @ MetadataError::Busy { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&std::process::id().to_string()), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copied_store_is_lost_and_a_moved_one_is_not() {
    let dir = TempDir::new().unwrap();
    let first = dir.path().join("first");
    fs::create_dir(&first).unwrap();
    let (mut store, _) = open(&first);
    store.commit(&[put(b"k", b"v")], true).unwrap();
    store.close_clean().unwrap();

    let moved = dir.path().join("moved");
    fs::rename(&first, &moved).unwrap();
    let (store, opened) = open(&moved);
    assert_eq!(opened.last, Last::Clean);
    store.close_clean().unwrap();

    let copy = dir.path().join("copy");
    let copied = Command::new("cp").arg("-a").arg(&moved).arg(&copy).status();
    assert!(copied.unwrap().success());
    let (store, opened) = open(&copy);
    assert_eq!(
        (opened.last, opened.records),
        (Last::Lost, vec![pair(b"k", b"v")])
    );
    store.close_clean().unwrap();
    // Once it lives there, it is at home.
    assert_eq!(open(&copy).1.last, Last::Clean);
}

/// A backup was put back over the files that were there, which stayed the same files: the store was
/// taken for what it had been last, with a count of updates that others knew more of. So was one that
/// was copied while it was open.
#[test]
fn a_store_that_is_overwritten_with_an_older_one_is_lost() {
    for (what, is_live) in [
        (".", false),
        ("metadata", false),
        (".", true),
        ("metadata", true),
    ] {
        let dir = TempDir::new().unwrap();
        let (home, backup) = (dir.path().join("home"), dir.path().join("backup"));
        fs::create_dir(&home).unwrap();
        let (mut store, _) = open(&home);
        store.commit(&[put(b"k", b"old")], true).unwrap();
        let copy = |from: &Path, to: &Path| {
            let mut copy = Command::new("cp");
            let done = copy.arg("-aT").arg(from).arg(to).status();
            assert!(done.unwrap().success());
        };
        if is_live {
            copy(&home, &backup);
            store.close_clean().unwrap();
        } else {
            store.close_clean().unwrap();
            copy(&home, &backup);
            let (mut store, opened) = open(&home);
            assert_eq!(opened.last, Last::Clean);
            store.commit(&[put(b"k", b"new")], true).unwrap();
            store.close_clean().unwrap();
        }
        copy(&backup.join(what), &home.join(what));
        let (store, opened) = open(&home);
        assert_eq!(opened.last, Last::Lost, "{what}, live: {is_live}");
        assert_eq!(opened.records, vec![pair(b"k", b"old")]);
        // It is one after a kill, too, until it has said so.
        drop(store);
        let (mut store, opened) = open(&home);
        assert_eq!(opened.last, Last::Lost);
        store.commit(&[], true).unwrap();
        store.close_clean().unwrap();
        assert_eq!(open(&home).1.last, Last::Clean);
    }
}

/// What has to be looked at after a power loss is known to the next run only once this one has said
/// so: one that is killed before its first commit must not hide the loss.
#[test]
fn a_loss_is_told_until_something_was_committed() {
    let dir = TempDir::new().unwrap();
    let first = dir.path().join("first");
    fs::create_dir(&first).unwrap();
    open(&first).0.close_clean().unwrap();
    let copy = dir.path().join("copy");
    let copied = Command::new("cp").arg("-a").arg(&first).arg(&copy).status();
    assert!(copied.unwrap().success());
    for _ in 0..2 {
        let (killed, opened) = open(&copy);
        assert_eq!(opened.last, Last::Lost);
        drop(killed);
    }
    let (mut store, _) = open(&copy);
    store.commit(&[put(b"k", b"v")], false).unwrap();
    drop(store);
    assert_eq!(open(&copy).1.last, Last::Killed);
}

#[test]
fn a_damaged_store_is_set_aside_and_told() {
    for damage in [flip_a_value, cut_the_file, empty_the_file, remove_the_file] {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path());
        let value = vec![0xab; 3_000];
        for number in 0..100_u8 {
            store.commit(&[put(&[number], &value)], false).unwrap();
        }
        store.close_clean().unwrap();
        damage(&dir.path().join("metadata/store.sqlite"));

        let (mut store, opened) = open(dir.path());
        assert_eq!((opened.last, opened.records.len()), (Last::Lost, 0));
        let (aside, why) = opened.damaged.expect("it is told");
        assert_eq!(aside, dir.path().join("metadata.damaged-1"));
        assert!(aside.is_dir() && !why.is_empty());
        store.commit(&[put(b"k", b"v")], true).unwrap();
        store.close_clean().unwrap();
        assert_eq!(open(dir.path()).1.records, [pair(b"k", b"v")]);
    }
}

#[test]
fn power_loss_while_a_store_is_made_leaves_one_that_opens() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("metadata.new")).unwrap();
    fs::write(dir.path().join("metadata.new/store.sqlite"), "half").unwrap();
    let (store, opened) = open(dir.path());
    assert_eq!(opened.last, Last::Clean);
    assert!(opened.damaged.is_none());
    store.close_clean().unwrap();
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).0.close_clean().unwrap();
    let file = dir.path().join("metadata/store.sqlite");
    let sql = rusqlite::Connection::open(&file).unwrap();
    sql.pragma_update(None, "user_version", 99).unwrap();
    drop(sql);
    let error = Metadata::open(dir.path(), WallTime::default()).unwrap_err();
    assert!(
        matches!(error, MetadataError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(file.exists());
}

#[test]
fn power_loss_keeps_what_was_synced_and_all_before_it() {
    let dir = TempDir::new().unwrap();
    let kept = dir.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let (mut store, _) = open(&kept);
    for number in 1..50 {
        store.commit(&commit_of(number), false).unwrap();
    }
    store.commit(&commit_of(50), true).unwrap();
    let log = kept.join("metadata/store.sqlite-wal");
    let synced = fs::metadata(&log).unwrap().len();
    for number in 51..=60 {
        store.commit(&commit_of(number), false).unwrap();
    }
    let whole = fs::metadata(&log).unwrap().len();
    assert!(synced < whole);

    // Of what came after the sync, any part may be lost, in any order.
    let mut counts = BTreeSet::new();
    for (round, cut) in (synced..=whole).step_by(997).enumerate() {
        let lost = dir.path().join(format!("lost-{round}"));
        let copied = Command::new("cp").arg("-r").arg(&kept).arg(&lost).status();
        assert!(copied.unwrap().success());
        let log = fs::File::options()
            .write(true)
            .open(lost.join("metadata/store.sqlite-wal"))
            .unwrap();
        if round % 2 == 0 {
            log.set_len(cut).unwrap();
        } else {
            log.write_all_at(&[0; 4_096], cut).unwrap();
        }
        let (_, opened) = open(&lost);
        assert_eq!(opened.last, Last::Lost);
        assert!(opened.damaged.is_none());
        counts.insert(check_commits(&opened.records));
    }
    assert!(
        counts.first() == Some(&50) && counts.len() > 5,
        "{counts:?}"
    );
    assert!(counts.last() <= Some(&60));
}

/// Where the children of the tests have their store.
const CHILD_DIR: &str = "TANDEM_TEST_COMMITS_IN";

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged = 0_u64;
    for round in 0..20_u64 {
        let mut child = child("child_that_commits", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = acknowledged;
        let mut seen = 0;
        // Somewhere between the first commits and some hundred, at no round number.
        let enough = 1 + (round * 37) % 400;
        for line in lines.by_ref() {
            if let Some(number) = line.unwrap().strip_prefix("done ") {
                last = number.parse().unwrap();
                seen += 1;
            }
            if seen == enough {
                child.kill().unwrap();
                break;
            }
        }
        // What was said before the kill arrived counts as well.
        for line in lines {
            if let Some(number) = line.ok().as_deref().and_then(|l| l.strip_prefix("done ")) {
                last = number.parse().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen == enough, "the child ended by itself in round {round}");

        let (store, opened) = open(dir.path());
        assert_eq!(opened.last, Last::Killed);
        assert!(opened.damaged.is_none());
        let count = check_commits(&opened.records);
        assert!(
            count == last || count == last + 1,
            "{last} were acknowledged and {count} are there"
        );
        acknowledged = count;
        drop(store);
    }
    assert!(acknowledged > 20);
}

#[test]
#[ignore = "the child of a_kill_loses_nothing_that_was_acknowledged"]
fn child_that_commits() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let (mut store, opened) = open(Path::new(&dir));
    let mut number = check_commits(&opened.records);
    let mut out = std::io::stdout();
    loop {
        number += 1;
        store
            .commit(&commit_of(number), number.is_multiple_of(7))
            .unwrap();
        writeln!(out, "done {number}").unwrap();
        out.flush().unwrap();
    }
}

/// A start signs its lock, which is how an older store is told from the last one, and a kill between
/// that and the note of it made the store an older one: what had been acknowledged and not synced
/// was given up, as after power loss (P2, S26).
#[test]
fn a_kill_while_a_store_is_opened_or_closed_is_no_older_store() {
    let dir = TempDir::new().unwrap();
    for round in 0..60_u64 {
        let mut child = child("child_that_opens", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines
            .by_ref()
            .find(|line| line.as_deref().is_ok_and(|line| line.ends_with("opened")))
            .expect("the child opens its store")
            .unwrap();
        // It opens and closes some hundred times a second: this ends it at any point of that.
        thread::sleep(Duration::from_micros(10_000 + round * 577 % 10_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let (_store, opened) = open(dir.path());
        assert_ne!(opened.last, Last::Lost, "in round {round}");
        assert!(opened.damaged.is_none());
    }
}

#[test]
#[ignore = "the child of a_kill_while_a_store_is_opened_or_closed_is_no_older_store"]
fn child_that_opens() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    loop {
        let (mut store, opened) = open(Path::new(&dir));
        assert_ne!(opened.last, Last::Lost);
        println!("opened");
        store.commit(&[put(b"k", b"v")], false).unwrap();
        store.close_clean().unwrap();
    }
}

/// Starts one of the tests here, which are children of others, in a process of its own.
fn child(name: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("metadata::{name}"),
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The records of commit `number`: the count, and one of 50 slots, which it overwrites.
fn commit_of(number: u64) -> [Record; 2] {
    let slot = u8::try_from(number % 50).unwrap();
    let mut value = number.to_le_bytes().to_vec();
    value.resize(usize::try_from(8 + number % 3_000).unwrap(), slot);
    [put(b"count", &number.to_le_bytes()), put(&[slot], &value)]
}

/// Returns the number of the last commit, having checked that the records are those of it and
/// all before it.
fn check_commits(records: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    let number_in = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let count = records
        .iter()
        .find(|(key, _)| key == b"count")
        .map_or(0, |(_, value)| number_in(value));
    let mut expected = std::collections::BTreeMap::new();
    for number in count.saturating_sub(49).max(1)..=count {
        for record in commit_of(number) {
            expected.insert(record.key, record.value.unwrap());
        }
    }
    assert!(records.iter().cloned().eq(expected), "of {count}");
    count
}

fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

fn remove(key: &[u8]) -> Record {
    Record {
        key: key.to_vec(),
        value: None,
    }
}

/// Flips a bit in the middle of a value, where SQLite has no eye.
fn flip_a_value(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let run = [0xab; 1_000];
    let at = bytes
        .windows(run.len())
        .position(|window| window == run)
        .unwrap();
    bytes[at + 500] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn cut_the_file(file: &Path) {
    let half = fs::metadata(file).unwrap().len() / 2;
    fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(half)
        .unwrap();
}

fn empty_the_file(file: &Path) {
    fs::write(file, "").unwrap();
}

fn remove_the_file(file: &Path) {
    fs::remove_file(file).unwrap();
}
