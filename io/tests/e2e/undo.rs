//! `tandem log`: what a joiner overwrites or deletes is listed with who and when, and comes back.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::until;
use crate::common::world::{Host, User, World};

/// Runs `tandem log` with these arguments.
fn log(user: &User, args: &[&OsStr]) -> crate::common::program::Said {
    let all = [OsStr::new("log")].into_iter().chain(args.iter().copied());
    user.run(all)
}

/// Returns what is listed of a place.
fn things(host: &Host, place: &Path) -> Vec<Value> {
    let said = log(&host.user, &[place.as_os_str(), OsStr::new("--json")]).ok();
    let report: Value = serde_json::from_str(said.text()).unwrap();
    report["things"].as_array().unwrap().clone()
}

/// Waits until so many things are listed, and returns them.
fn listed(host: &Host, count: usize) -> Vec<Value> {
    until("it is listed", || {
        let all = things(host, &host.dir);
        (all.len() == count).then_some(all)
    })
}

fn restore(host: &Host, id: &Value) -> Value {
    let id = id.to_string();
    let args = [
        host.dir.as_os_str(),
        OsStr::new("--restore"),
        OsStr::new(&id),
        OsStr::new("--json"),
    ];
    serde_json::from_str(log(&host.user, &args).ok().text()).unwrap()
}

/// Mo overwrites a file and deletes a tree. Ada sees that it was he, and when, also after the machine
/// that shares was killed; what she brings back is what it was, and mo sees it too.
#[test]
fn what_a_peer_changed_is_listed_and_comes_back() {
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    fs::create_dir_all(dir.join("d/e")).unwrap();
    fs::write(dir.join("plan"), "ada's plan").unwrap();
    fs::write(dir.join("d/e/deep.txt"), "deep").unwrap();
    std::os::unix::fs::symlink("../plan", dir.join("d/link")).unwrap();
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let who = joiner_name(&joiner.user, &joiner.mnt);
    assert_eq!(fs::read(joiner.sees("plan", 10)).unwrap(), b"ada's plan");

    fs::write(joiner.path("plan"), "mo's").unwrap();
    let replaced = &listed(&host, 1)[0];
    assert_eq!(replaced["path"], "plan");
    assert_eq!(replaced["fate"], "replaced");
    assert_eq!(replaced["by"], Value::from(who.as_str()));
    assert_eq!(replaced["size"], 10);
    let when = replaced["when"].as_str().unwrap();
    assert!(when.starts_with("20") && when.ends_with('Z'), "{when}");
    assert_eq!(fs::read(host.dir.join("plan")).unwrap(), b"mo's");

    fs::remove_dir_all(joiner.path("d")).unwrap();
    // Until a kill is looked after, what goes away just before it has its name by the record, and would
    // come back beside it.
    until("d is gone", || (!host.dir.join("d").exists()).then_some(()));
    let all = listed(&host, 3);
    host.kill();
    host.start();
    assert_eq!(listed(&host, 3), all, "it is on record");
    let deleted = |path: &str| {
        let found = all.iter().find(|thing| thing["path"] == path).unwrap();
        assert_eq!(found["fate"], "deleted");
        assert_eq!(found["by"], Value::from(who.as_str()));
        found["id"].clone()
    };
    // For people, of what was once below a directory.
    let said = log(&host.user, &[host.dir.join("d/e").as_os_str()]).ok();
    let text = said.text();
    assert!(
        text.contains(&format!("{who} deleted d/e/deep.txt (4 B)")),
        "{text}"
    );
    assert!(!text.contains("plan"), "{text}");

    let restored = restore(&host, &deleted("d/e/deep.txt"));
    assert_eq!(restored["restored"], "d/e/deep.txt");
    restore(&host, &deleted("d/link"));
    let at = restore(&host, &replaced["id"])["restored"].clone();
    let at = at.as_str().unwrap();
    assert!(at.starts_with("plan (restored 20"), "{at}");
    assert_eq!(fs::read(host.dir.join("plan")).unwrap(), b"mo's");
    assert_eq!(fs::read(host.dir.join(at)).unwrap(), b"ada's plan");
    assert_eq!(fs::read(host.dir.join("d/e/deep.txt")).unwrap(), b"deep");
    let target = fs::read_link(host.dir.join("d/link")).unwrap();
    assert_eq!(target, Path::new("../plan"));
    assert_eq!(fs::read(joiner.sees(at, 10)).unwrap(), b"ada's plan");
    assert_eq!(fs::read(joiner.sees("d/e/deep.txt", 4)).unwrap(), b"deep");
    // It is a file like any other, and what lies in the trash is not it.
    fs::write(host.dir.join(at), "anew").unwrap();
    let again = restore(&host, &replaced["id"])["restored"].clone();
    let again = host.dir.join(again.as_str().unwrap());
    assert_eq!(fs::read(again).unwrap(), b"ada's plan");
}

fn joiner_name(user: &User, mnt: &Path) -> String {
    let args = [OsStr::new("peers"), mnt.as_os_str(), OsStr::new("--json")];
    let report: Value = serde_json::from_str(user.run(args).ok().text()).unwrap();
    report["name"].as_str().unwrap().to_owned()
}

/// There is room for one of two: the older goes. With none all goes, also of a folder that takes no
/// changes any more.
#[test]
fn the_trash_keeps_within_its_budget() {
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    fs::write(dir.join("a"), vec![1; 3_000]).unwrap();
    fs::write(dir.join("b"), vec![2; 3_000]).unwrap();
    let mut host = world.share_with("dir", &[OsStr::new("--trash"), OsStr::new("5K")]);
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("a", 3_000);
    joiner.sees("b", 3_000);
    fs::remove_file(joiner.path("a")).unwrap();
    assert_eq!(listed(&host, 1)[0]["path"], "a");
    fs::remove_file(joiner.path("b")).unwrap();
    let left = until("the older one goes", || {
        let all = things(&host, &host.dir);
        (all.len() == 1 && all[0]["path"] == "b").then_some(all)
    });
    let trash = host.dir.join(".tandem/trash");
    let count = || fs::read_dir(&trash).unwrap().count();
    until("one file lies there", || (count() == 1).then_some(()));
    drop(joiner);
    host.stop();
    fs::write(host.dir.join(".tandem/tandem.toml"), "trash = 0\n").unwrap();
    let mut reading = world.share("dir");
    assert_eq!(things(&reading, &reading.dir), left);
    until("nothing is left", || {
        let none = things(&reading, &reading.dir).is_empty();
        (none && count() == 0).then_some(())
    });
    reading.stop();
}

/// The machine that shares was killed between the deed and its record: what lies in the trash is listed
/// by its name there, and comes back. What somebody took out by hand is not listed any more.
#[test]
fn what_a_kill_left_without_a_record_is_listed() {
    let world = World::taking_changes();
    let dir = world.mkdir("dir");
    fs::write(dir.join("a"), "first").unwrap();
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    joiner.sees("a", 5);
    fs::remove_file(joiner.path("a")).unwrap();
    listed(&host, 1);
    host.kill();
    let trash = dir.join(".tandem/trash");
    for item in fs::read_dir(&trash).unwrap() {
        fs::remove_file(item.unwrap().path()).unwrap();
    }
    let lost = trash.join("01795428000-000000007-3-lost");
    fs::write(lost, "unrecorded").unwrap();
    host.start();
    let found = until("it is found", || {
        let all = things(&host, &host.dir);
        (all.len() == 1 && all[0]["path"] == "lost").then_some(all)
    });
    assert_eq!(found[0]["fate"], "unknown");
    assert_eq!(found[0]["when"], "2026-11-23T10:00:00Z");
    let restored = restore(&host, &found[0]["id"]);
    assert_eq!(restored["restored"], "lost");
    assert_eq!(fs::read(joiner.sees("lost", 10)).unwrap(), b"unrecorded");
}

/// What can't be brought back is said, and why.
#[test]
fn what_can_not_be_brought_back_is_said() {
    let world = World::taking_changes();
    let host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let dir = host.dir.as_os_str();
    let id = [OsStr::new("--restore"), OsStr::new("7")];
    let why = log(&host.user, &[dir, id[0], id[1]]).fails(1);
    assert!(
        why.contains("can't bring 7 back: nothing in the trash has this number"),
        "{why}"
    );
    let why = log(&joiner.user, &[joiner.mnt.as_os_str()]).fails(1);
    assert!(why.contains("nothing is kept here"), "{why}");
    let why = log(&joiner.user, &[joiner.mnt.as_os_str(), id[0], id[1]]).fails(1);
    assert!(why.contains("nothing is kept here"), "{why}");
    let why = log(&world.user("other"), &id).fails(1);
    assert!(why.contains("no folder is shared here"), "{why}");
    let why = log(&host.user, &[dir, id[0], OsStr::new("x")]).fails(2);
    assert!(why.contains("--restore"), "{why}");
    let said = log(&host.user, &[dir]).ok();
    let text = said.text();
    assert!(
        text.contains("0 B of 10.0 GiB in the trash, kept for 30 days"),
        "{text}"
    );
}
