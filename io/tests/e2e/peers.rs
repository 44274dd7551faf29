//! `tandem peers`: who comes in is listed, and who was removed does not any more.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::until;
use crate::common::world::{User, World};

fn peers(user: &User, place: &Path) -> Value {
    let args = [OsStr::new("peers"), place.as_os_str(), OsStr::new("--json")];
    serde_json::from_str(user.run(args).ok().text()).unwrap()
}

fn text_of(user: &User, place: &Path) -> String {
    let args = [OsStr::new("peers"), place.as_os_str()];
    user.run(args).ok().text().to_owned()
}

fn remove<'a>(user: &User, peer: &'a str, args: &[&'a OsStr]) -> crate::common::program::Said {
    let all = ["peers", "remove", peer].map(OsStr::new);
    user.run(all.into_iter().chain(args.iter().copied()))
}

/// Mo is removed while he reads: he hears why, keeps what he has, and gets nothing more, nor does
/// his ticket, whoever is started again. With the new ticket somebody else comes in.
#[test]
fn who_was_removed_gets_nothing_more() {
    const SIZE: u64 = 8 * CHUNK;
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 1, SIZE);
    write_file(&dir.join("small"), 2, 100);
    let mut host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    let guest = world.user("guest");
    guest.run(["ls", &host.ticket()]).ok();
    let name = peers(&joiner.user, &joiner.mnt)["name"].clone();
    let name = name.as_str().unwrap();
    let all = peers(&host.user, &host.dir)["peers"].clone();
    let all = all.as_array().unwrap();
    let listed = all.iter().find(|peer| peer["role"] == "sparse").unwrap();
    assert_eq!(
        (&listed["name"], &listed["removed"]),
        (&Value::from(name), &Value::from(false))
    );
    assert!(text_of(&host.user, &host.dir).contains("joined, live"));
    assert!(text_of(&joiner.user, &joiner.mnt).contains("shares the folder, live"));
    assert_eq!(
        fs::read(joiner.sees("small", 100)).unwrap(),
        pattern(2, 0, 100)
    );

    let id = listed["peer"].as_str().unwrap();
    let said = remove(&host.user, id, &[OsStr::new("--json")]).ok();
    let removed: Value = serde_json::from_str(said.text()).unwrap();
    assert_eq!(
        (&removed["peer"], &removed["unheld"]),
        (&Value::from(id), &Value::from(0))
    );
    assert_eq!(removed["guests"].as_array().unwrap().len(), 1, "{removed}");
    let ticket = removed["ticket"].as_str().unwrap();
    assert_ne!(ticket, host.ticket());
    assert!(text_of(&host.user, &host.dir).contains("): removed"));

    let is_told = |joiner: &crate::common::world::Joiner| {
        let text = text_of(&joiner.user, &joiner.mnt);
        text.contains("refused: this peer was removed from the folder")
            .then_some(())
    };
    until("mo is told", || is_told(&joiner));
    // What is here reads, the rest does not, and what he writes goes nowhere.
    assert_eq!(fs::read(joiner.path("small")).unwrap(), pattern(2, 0, 100));
    fs::write(joiner.path("mine"), "mo's").unwrap();
    let refused = guest.run(["ls", &host.ticket()]).fails(1);
    assert!(refused.contains("not paired"), "{refused}");
    let stranger = world.user("stranger");
    let refused = stranger.run(["ls", &host.ticket()]).fails(1);
    assert!(refused.contains("not paired"), "{refused}");

    // Both are started again.
    host.kill();
    host.start();
    assert_eq!(host.ticket(), ticket, "the new one is given out");
    joiner.kill();
    joiner.restart();
    until("mo is told again", || is_told(&joiner));
    assert!(host.status().links().iter().all(|link| *link != "live"));
    let other = world.join("cy", ticket);
    assert_eq!(
        fs::read(other.sees("file", SIZE)).unwrap().len(),
        8 * 524_288
    );
    assert!(!host.dir.join("mine").exists());
    assert!(!other.path("mine").exists());
}

/// What can't be removed is said, and why.
#[test]
fn who_can_not_be_removed_is_said() {
    let world = World::taking_changes();
    let (host, mnt) = world.share_mounted("dir");
    let joiner = world.join("mo", &host.ticket());
    let dir = host.dir.as_os_str();
    let all = peers(&host.user, &host.dir);
    let own = all["peers"].as_array().unwrap().iter();
    let own: Vec<&Value> = own.filter(|peer| peer["own_mount"] == true).collect();
    assert_eq!(own.len(), 1, "{all}");
    assert!(text_of(&host.user, &host.dir).contains("the mount on this machine, live"));
    let why = remove(&host.user, own[0]["peer"].as_str().unwrap(), &[dir]).fails(1);
    assert!(why.contains("own mount on this machine"), "{why}");
    let why = remove(&host.user, all["me"].as_str().unwrap(), &[dir]).fails(1);
    assert!(why.contains("that is this peer itself"), "{why}");
    let why = remove(&host.user, "nobody", &[dir]).fails(1);
    assert!(why.contains("can't remove nobody: no such peer"), "{why}");
    // All of them have the machine's name.
    let name = all["name"].as_str().unwrap();
    let why = remove(&host.user, name, &[]).fails(1);
    assert!(
        why.contains("that may be ") && why.contains("say which"),
        "{why}"
    );
    let why = remove(&joiner.user, all["me"].as_str().unwrap(), &[]).fails(1);
    assert!(why.contains("the folder is not shared here"), "{why}");
    let why = remove(&world.user("other"), "mo", &[]).fails(1);
    assert!(why.contains("nothing is running"), "{why}");
    assert!(fs::read_dir(&mnt).is_ok());
    let all = peers(&host.user, &host.dir)["peers"].clone();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .all(|peer| peer["removed"] == false)
    );
}
