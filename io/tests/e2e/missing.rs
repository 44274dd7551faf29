//! Much is missing all at once, or what is known of the folder: nothing is told before somebody has
//! said what is meant.

use std::ffi::OsStr;
use std::fs;

use crate::common::until;
use crate::common::world::World;

/// More than so many files may go without anybody being asked.
const UNASKED: usize = 1_000;

#[test]
fn a_share_stops_and_asks_before_it_tells_of_many_deletes() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let many = dir.join("many");
    fs::create_dir(&many).unwrap();
    for nr in 0..UNASKED + 10 {
        fs::write(many.join(format!("f{nr}")), "").unwrap();
    }
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let seen = || fs::read_dir(joiner.path("many")).map_or(0, Iterator::count);
    until("all are seen", || (seen() == UNASKED + 10).then_some(()));
    // At once: removed one by one they may be noticed in portions, which nobody is asked about.
    fs::rename(&many, world.path("elsewhere")).unwrap();
    let status = host.halted();
    assert_eq!(status.code(), Some(1), "{}", host.err());
    assert!(host.err().contains("--accept-deletes"), "{}", host.err());
    assert_eq!(seen(), UNASKED + 10, "nobody was told");
    host.start_with(&[OsStr::new("--accept-deletes")]);
    until("all are gone", || (seen() == 0).then_some(()));
}

#[test]
fn a_share_stops_when_what_it_knows_is_taken_away() {
    let world = World::new();
    fs::write(world.mkdir("dir").join("f"), "bytes").unwrap();
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("f", 5);
    fs::rename(host.dir.join(".tandem"), world.path("aside")).unwrap();
    let status = host.halted();
    assert_eq!(status.code(), Some(1), "{}", host.err());
    assert!(
        host.err().contains(".tandem was taken away"),
        "{}",
        host.err()
    );
    // Meanwhile the rest goes too, and is back before it is put back.
    fs::remove_file(host.dir.join("f")).unwrap();
    fs::write(host.dir.join("f"), "bytes").unwrap();
    fs::rename(world.path("aside"), host.dir.join(".tandem")).unwrap();
    host.start();
    assert_eq!(fs::read(joiner.path("f")).unwrap(), b"bytes");
}

/// As at a first contact: nothing is deleted, on either side.
#[test]
fn a_folder_whose_tandem_was_removed_is_shared_as_a_new_one() {
    let world = World::new();
    fs::write(world.mkdir("dir").join("f"), "bytes").unwrap();
    let mut host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    joiner.sees("f", 5);
    assert_eq!(fs::read(joiner.path("f")).unwrap(), b"bytes");
    fs::remove_dir_all(host.dir.join(".tandem")).unwrap();
    host.halted();
    let old = host.ticket();
    host.start();
    assert_ne!(host.ticket(), old, "it is another folder");
    assert_eq!(fs::read(host.dir.join("f")).unwrap(), b"bytes");
    // Who joined the old one is not mistaken for a peer of this one, and keeps what he has.
    assert_eq!(fs::read(joiner.path("f")).unwrap(), b"bytes");
    joiner.stop();
    let anew = world.join("mo2", &host.ticket());
    anew.sees("f", 5);
}
