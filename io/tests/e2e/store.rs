//! The joiner's store is damaged beneath it: what can't be read is fetched again, and what nobody
//! owns is swept.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

const SIZE: u64 = 5 * CHUNK + 321;

/// A joiner that has all of a file.
fn joined(world: &World) -> (Host, Joiner) {
    write_file(&world.mkdir("dir").join("film"), 3, SIZE);
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("film", SIZE);
    check(&joiner);
    until("the file is complete", || complete(&joiner.store));
    (host, joiner)
}

/// Reads all of the file, past what the kernel keeps.
#[track_caller]
fn check(joiner: &Joiner) {
    let path = joiner.path("film");
    let file = File::open(&path).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    drop(file);
    let read = fs::read(&path).unwrap();
    assert!(
        read == pattern(3, 0, usize::try_from(SIZE).unwrap()),
        "{} bytes differ",
        read.len()
    );
}

/// Returns the only complete object's file, if there is one.
fn complete(store: &Path) -> Option<PathBuf> {
    let subs = fs::read_dir(store.join("objects")).unwrap();
    let mut files = subs.flat_map(|sub| fs::read_dir(sub.unwrap().path()).unwrap());
    files.next().map(|file| file.unwrap().path())
}

/// Each read of such a file was answered with an error until the next start.
#[test]
fn a_file_that_is_cut_or_taken_beneath_us_is_fetched_again() {
    let world = World::new();
    let (_host, mut joiner) = joined(&world);
    for left in [0, SIZE / 2, SIZE - 1] {
        let object = until("the file is complete", || complete(&joiner.store));
        File::options()
            .write(true)
            .open(&object)
            .unwrap()
            .set_len(left)
            .unwrap();
        check(&joiner);
        // What was read from it before the end was met is fetched when it is read again.
        until("the file is whole again", || {
            check(&joiner);
            let object = complete(&joiner.store)?;
            (fs::metadata(object).ok()?.len() == SIZE).then_some(())
        });
    }
    // Taken, while nobody holds it open any more.
    fs::remove_file(complete(&joiner.store).unwrap()).unwrap();
    check(&joiner);
    joiner.kill();
    joiner.restart();
    check(&joiner);
    assert_eq!(
        joiner.err().matches("can't be read from the store").count(),
        3
    );
    joiner.stop();
}

/// Without its host there is nobody to have it from: an error, never zeros.
#[test]
fn what_can_not_be_read_or_fetched_is_an_error() {
    let world = World::new();
    let (mut host, mut joiner) = joined(&world);
    host.kill();
    let object = complete(&joiner.store).unwrap();
    File::options()
        .write(true)
        .open(&object)
        .unwrap()
        .set_len(CHUNK)
        .unwrap();
    let file = File::open(joiner.path("film")).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    drop(file);
    let error = fs::read(joiner.path("film")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "EIO: {error}");
    host.start();
    until("its host is back", || {
        fs::read(joiner.path("film")).is_ok().then_some(())
    });
    check(&joiner);
    joiner.stop();
}

/// A host whose metadata are built anew locked its joiners out without a word.
#[test]
fn a_host_that_forgot_and_its_joiner_say_so() {
    let world = World::new();
    let (mut host, mut joiner) = joined(&world);
    host.stop();
    fs::remove_dir_all(host.dir.join(".tandem/metadata")).unwrap();
    host.start();
    let ticket = host.ticket();
    until("both have said so", || {
        let words = "rebuilt or restored";
        (host.err().contains(words) && joiner.err().contains(words)).then_some(())
    });
    for (user, place) in [(&host.user, &host.dir), (&joiner.user, &joiner.mnt)] {
        let said = user.run([OsStr::new("status"), place.as_os_str()]).ok();
        assert!(said.text().contains("join again"), "{}", said.text());
    }
    // What is here is still here, and the way out works: the ticket was not used up.
    check(&joiner);
    let again = world.join("again", &ticket);
    again.sees("film", SIZE);
    check(&again);
    joiner.stop();
}

/// A kill came between the record of an object and its files, which lay there for ever.
#[test]
fn what_nobody_owns_is_swept_at_start() {
    let world = World::new();
    let (_host, mut joiner) = joined(&world);
    joiner.stop();
    let object = complete(&joiner.store).unwrap();
    let name = object.file_name().unwrap().to_str().unwrap();
    // Of the same form, and of nobody's: the update of that number was no version of this file.
    let orphan = format!("{}00000001", &name[..name.len() - 8]);
    let partial = joiner.store.join("partial");
    fs::write(partial.join(&orphan), "x").unwrap();
    fs::write(partial.join(orphan.clone() + ".kdbitmap"), "x").unwrap();
    fs::write(partial.join("mine.txt"), "x").unwrap();
    joiner.restart();
    let left: Vec<_> = fs::read_dir(&partial)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mine.txt"]);
    assert_eq!(complete(&joiner.store), Some(object));
    let fetched = joiner.status().counter("chunks_fetched");
    check(&joiner);
    assert_eq!(joiner.status().counter("chunks_fetched"), fetched);
    joiner.stop();
}
