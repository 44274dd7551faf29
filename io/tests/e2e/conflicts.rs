//! `tandem conflicts`: what two made of one file while apart is listed, and settled.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::until;
use crate::common::world::{Host, Joiner, User, World};

/// Ada shares a folder, and mo has joined.
struct Pair {
    _world: World,
    host: Host,
    joiner: Joiner,
}

impl Pair {
    fn meet() -> Self {
        let world = World::taking_changes();
        let host = world.share("dir");
        let joiner = world.join("mo", &host.ticket());
        Self {
            _world: world,
            host,
            joiner,
        }
    }

    /// Has both change a file at the same moment, until a conflict comes of it.
    fn fall_out(&mut self, name: &str) {
        let here = self.host.dir.join(name);
        fs::write(&here, "base").unwrap();
        let there = self.joiner.sees(name, 4);
        assert_eq!(fs::read(&there).unwrap(), b"base");
        self.host.stop();
        fs::write(&here, "ada's").unwrap();
        write(&there, "of mo");
        self.host.start();
        until("both are there", || {
            let names = [&self.host.dir, &self.joiner.mnt].map(|dir| files(dir, name).len());
            (names == [2, 2]).then_some(())
        });
    }

    fn conflicts(&self, of_host: bool) -> Vec<Value> {
        let (user, place) = self.side(of_host);
        let args = [
            OsStr::new("conflicts"),
            place.as_os_str(),
            OsStr::new("--json"),
        ];
        let said = user.run(args).ok();
        let value: Value = serde_json::from_str(said.text()).unwrap();
        value["conflicts"].as_array().unwrap().clone()
    }

    fn side(&self, of_host: bool) -> (&User, &PathBuf) {
        if of_host {
            (&self.host.user, &self.host.dir)
        } else {
            (&self.joiner.user, &self.joiner.mnt)
        }
    }

    /// Waits until the files of this name are the same on both sides, and so many, and there is no
    /// conflict; returns their contents.
    fn agree(&self, name: &str, count: usize) -> Vec<Vec<u8>> {
        let dirs = [&self.host.dir, &self.joiner.mnt];
        until("both agree", || {
            let [here, there] = dirs.map(|dir| {
                let paths = files(dir, name).into_iter();
                paths
                    .map(|path| fs::read(path).ok())
                    .collect::<Option<Vec<_>>>()
            });
            let is_settled = [true, false].map(|host| self.conflicts(host).is_empty());
            let is_same = here == there && here.as_ref()?.len() == count;
            (is_same && is_settled == [true, true]).then_some(here?)
        })
    }
}

/// Writes a file that is there in place, as an editor does.
fn write(path: &Path, text: &str) {
    let mut file = File::options()
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Returns the file of this name and its conflict copies, in the order of their names.
fn files(dir: &Path, name: &str) -> Vec<PathBuf> {
    let (stem, _) = name.split_once('.').unwrap();
    let copy = format!("{stem} (conflict from ");
    let names = fs::read_dir(dir).unwrap();
    let names = names.map(|item| item.unwrap().file_name().into_string().unwrap());
    let is_its = |file: &String| file == name || file.starts_with(&copy);
    let mut names: Vec<String> = names.filter(is_its).collect();
    names.sort_unstable();
    names.into_iter().map(|file| dir.join(file)).collect()
}

/// Returns the contents of all files in the trash.
fn trash(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.join(".tandem/trash")];
    while let Some(dir) = dirs.pop() {
        for item in fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(fs::read(path).unwrap());
            }
        }
    }
    found
}

/// The two are listed on both sides, by who wrote them; each side settles one its own way, and then
/// both have the same, with what went in the trash of the folder.
#[test]
fn a_conflict_is_listed_and_settled_on_either_side() {
    let mut pair = Pair::meet();
    let none = pair.joiner.user.run(["conflicts"]).ok();
    assert!(none.text().ends_with(": no conflicts\n"), "{none:?}");
    for (name, of_host, keep, stays) in [
        ("one.txt", false, "mine", "of mo"),
        ("two.txt", false, "theirs", "ada's"),
        ("three.txt", true, "mine", "ada's"),
        ("four.txt", true, "theirs", "of mo"),
    ] {
        pair.fall_out(name);
        for host in [true, false] {
            let all = pair.conflicts(host);
            let [conflict] = &all[..] else {
                panic!("{name}: {all:?}");
            };
            assert_eq!(conflict["path"], name);
            let sides = [&conflict["file"], &conflict["copies"][0]];
            let mine: Vec<&Value> = sides
                .into_iter()
                .filter(|side| side["mine"] == true)
                .collect();
            let author = mine[0]["author"].as_str().unwrap();
            let (user, place) = pair.side(host);
            let status = user.status(place);
            assert_eq!((mine.len(), status.number("conflicts")), (1, 1));
            assert!(status.text("name") == author, "{author}");
            let text = user.run([OsStr::new("status"), place.as_os_str()]).ok();
            assert!(
                text.text().contains("1 conflict (tandem conflicts"),
                "{text:?}"
            );
        }
        let (user, place) = pair.side(of_host);
        let copy = files(place, name).remove(0);
        let args = ["conflicts", "--keep", keep].map(OsStr::new);
        let said = user.run(args.into_iter().chain([copy.as_os_str()])).ok();
        assert!(
            said.text().starts_with(&format!("settled: {name}")),
            "{said:?}"
        );
        assert_eq!(pair.agree(name, 1), [stays.as_bytes()], "{name}");
        let other = if stays == "ada's" { "of mo" } else { "ada's" };
        assert!(
            trash(&pair.host.dir).contains(&other.as_bytes().to_vec()),
            "{name}"
        );
        let file = place.join(name);
        let args = args.into_iter().chain([file.as_os_str()]);
        let why = user.run(args).fails(1);
        assert!(why.contains("it is in no conflict"), "{why}");
    }
    pair.fall_out("both.txt");
    let user = &pair.joiner.user;
    let file = pair.joiner.path("both.txt");
    user.run(["conflicts", "--keep", "both", file.to_str().unwrap()])
        .ok();
    let mut kept = pair.agree("both.txt", 2);
    kept.sort_unstable();
    assert_eq!(kept, [b"ada's", b"of mo"]);
    // What is kept is a file like any other.
    let copy = files(&pair.joiner.mnt, "both.txt").remove(0);
    fs::remove_file(&copy).unwrap();
    pair.agree("both.txt", 1);
    let why = user
        .run(["conflicts", "--keep", "mine", "/nowhere/of/ours"])
        .fails(1);
    assert!(why.contains("nothing is running for"), "{why}");
}
