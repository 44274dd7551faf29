//! First contact: a shared folder is copied, its metadata or a joiner's store come from a backup,
//! are taken away or are damaged. Each ends equal on both sides, with nothing lost, nothing twice
//! and nothing deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::program::Said;
use crate::common::tree::converge;
use crate::common::until;
use crate::common::world::{Host, Joiner, User, World};

/// More than one chunk, and the last one in part.
const LARGE: u64 = 2 * CHUNK + 77;

/// What a folder holds: bytes by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Ada shares a folder, and mo has joined.
struct Pair {
    world: World,
    host: Host,
    joiner: Joiner,
    /// What both sides hold in the end.
    files: Files,
}

impl Pair {
    /// They have met over a folder with a bit of everything, and all of it is synced.
    fn meet() -> Self {
        let world = World::taking_changes();
        let dir = world.mkdir("dir");
        for sub in ["docs", "docs/deep", "moved"] {
            fs::create_dir(dir.join(sub)).unwrap();
        }
        let host = world.share("dir");
        let joiner = world.join("mo", &host.ticket());
        let mut pair = Self {
            world,
            host,
            joiner,
            files: Files::new(),
        };
        for (number, name) in ["keep", "docs/keep", "docs/deep/keep", "moved/in"]
            .into_iter()
            .enumerate()
        {
            pair.write_here(name, &whole(number as u64, 3_000));
        }
        pair.write_here("large", &whole(9, LARGE));
        for side in ["ada", "mo"] {
            for what in ["edit", "append", "remove", "rename"] {
                pair.write_here(&format!("{side}-{what}"), &whole(0, 2_000));
            }
        }
        pair.write_there("mo-made", &whole(11, 2_500));
        pair.sync();
        pair
    }

    /// Writes a file in the shared folder.
    fn write_here(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.host.dir.join(name), bytes).unwrap();
        self.files.insert(name.to_owned(), bytes.to_owned());
    }

    /// Writes a file on the mount.
    fn write_there(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.joiner.path(name), bytes).unwrap();
        self.files.insert(name.to_owned(), bytes.to_owned());
    }

    /// Each side edits, appends, removes, renames and makes something; all of it is synced.
    fn go_on(&mut self) {
        let roots = [
            ("ada", self.host.dir.clone()),
            ("mo", self.joiner.mnt.clone()),
        ];
        for (side, root) in &roots {
            let at = |what: &str| root.join(format!("{side}-{what}"));
            let name = |what: &str| format!("{side}-{what}");
            fs::write(at("edit"), whole(21, 2_100)).unwrap();
            self.files.insert(name("edit"), whole(21, 2_100));
            let mut longer = self.files[&name("append")].clone();
            longer.extend_from_slice(b"and more");
            append(&at("append"), b"and more");
            self.files.insert(name("append"), longer);
            fs::remove_file(at("remove")).unwrap();
            self.files.remove(&name("remove"));
            fs::rename(at("rename"), at("renamed")).unwrap();
            let bytes = self.files.remove(&name("rename")).unwrap();
            self.files.insert(name("renamed"), bytes);
            fs::create_dir(at("new")).unwrap();
            fs::write(at("new").join("file"), whole(22, 1_500)).unwrap();
            self.files.insert(name("new/file"), whole(22, 1_500));
            fs::write(at("new-large"), whole(23, LARGE)).unwrap();
            self.files.insert(name("new-large"), whole(23, LARGE));
        }
        fs::rename(
            self.host.dir.join("moved"),
            self.host.dir.join("docs/moved"),
        )
        .unwrap();
        let bytes = self.files.remove("moved/in").unwrap();
        self.files.insert("docs/moved/in".to_owned(), bytes);
        self.sync();
    }

    /// Waits until the other side has everything.
    #[track_caller]
    fn sync(&self) {
        self.agree();
        synced(&self.joiner.user, &self.joiner.mnt);
        synced(&self.host.user, &self.host.dir);
    }

    /// Waits until both sides hold what they should, and nothing else.
    #[track_caller]
    fn agree(&self) {
        holds(&self.host.dir, &self.files);
        holds(&self.joiner.mnt, &self.files);
        converge(&self.host.dir, &self.joiner.mnt);
    }

    /// Copies with all attributes, as `cp -a` does.
    #[track_caller]
    fn copy(&self, from: &Path, to: &Path) {
        copy(&self.world, from, to);
    }

    /// Has the host let the joiner go, and returns the ticket for whoever takes its place.
    #[track_caller]
    fn let_go(&self) -> String {
        let (user, dir) = (&self.host.user, self.host.dir.as_os_str());
        let listed = user.run([OsStr::new("peers"), dir, OsStr::new("--json")]);
        let listed: Value = serde_json::from_str(listed.ok().text()).unwrap();
        let mut peers = listed["peers"].as_array().unwrap().iter();
        let mo = peers.find(|peer| peer["role"] == "sparse").unwrap();
        let args = ["peers", "remove", mo["peer"].as_str().unwrap(), "--json"];
        let removed = user.run(args.map(OsStr::new)).ok();
        let removed: Value = serde_json::from_str(removed.text()).unwrap();
        removed["ticket"].as_str().unwrap().to_owned()
    }

    /// Waits until both sides say that they are connected.
    #[track_caller]
    fn meets(&self) {
        until("they are connected", || {
            (self.joiner.status().links() == ["live"]).then_some(())
        });
    }
}

fn whole(stamp: u64, size: u64) -> Vec<u8> {
    pattern(stamp, 0, usize::try_from(size).unwrap())
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[track_caller]
fn copy(world: &World, from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    world
        .run(command.arg("-a").arg("-T").arg(from).arg(to))
        .ok();
}

/// Joins, in vain.
fn join(user: &User, ticket: &[&str], mnt: &Path, store: &Path) -> Said {
    let mut args = vec![OsStr::new("join")];
    args.extend(ticket.iter().map(OsStr::new));
    args.extend([mnt.as_os_str(), OsStr::new("--store"), store.as_os_str()]);
    user.run(args)
}

#[track_caller]
fn synced(user: &User, place: &Path) {
    let args = ["wait", "--synced", "--timeout", "60s"].map(OsStr::new);
    user.run(args.into_iter().chain([place.as_os_str()])).ok();
}

/// Returns the files below a directory, but for those of Tandem's.
fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(below) = dirs.pop() {
        for item in fs::read_dir(dir.join(&below))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = below.join(item.file_name());
            if item.file_name() == ".tandem" {
                continue;
            }
            if item.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(path);
                continue;
            }
            let bytes = fs::read(item.path());
            // What can't be read is there, and is not what it should be.
            let bytes = bytes.unwrap_or_else(|why| why.to_string().into_bytes());
            found.insert(path.to_string_lossy().into_owned(), bytes);
        }
    }
    found
}

/// Waits until a directory holds these files, with these bytes, and no others.
#[track_caller]
fn holds(dir: &Path, wanted: &Files) {
    let mut last = Files::new();
    let is_so = crate::common::within(|| {
        last = files(dir);
        (last == *wanted).then_some(())
    });
    if is_so.is_some() {
        return;
    }
    let names = |files: &Files| files.keys().cloned().collect::<BTreeSet<_>>();
    let differ = |name: &&String| last.get(*name) != wanted.get(*name);
    let (have, want) = (names(&last), names(wanted));
    let other: Vec<_> = have.intersection(&want).filter(differ).collect();
    panic!(
        "{}: more: {:?}; missing: {:?}; other bytes: {other:?}",
        dir.display(),
        have.difference(&want).collect::<Vec<_>>(),
        want.difference(&have).collect::<Vec<_>>(),
    );
}

/// How a backup is put back.
#[derive(Clone, Copy)]
enum Back {
    /// In the place of what is there, which is removed before.
    Anew,
    /// Over what is there: every file keeps its inode.
    Over,
}

impl Back {
    /// Puts a backup of `.tandem` back.
    #[track_caller]
    fn put(self, world: &World, backup: &Path, at: &Path) {
        if matches!(self, Self::Anew) {
            fs::remove_dir_all(at).unwrap();
        }
        copy(world, backup, at);
    }
}

/// The metadata of the shared folder come from a backup; much has happened since.
fn the_hosts_backup_is_put_back(back: Back) {
    let mut pair = Pair::meet();
    pair.host.stop();
    let (backup, store) = (pair.world.path("backup"), pair.host.dir.join(".tandem"));
    pair.copy(&store, &backup);
    pair.host.start();
    pair.meets();
    pair.go_on();
    pair.host.stop();
    back.put(&pair.world, &backup, &store);
    // Meanwhile both go on by themselves.
    pair.write_here("ada-alone", &whole(31, 700));
    pair.write_there("mo-alone", &whole(32, 800));
    pair.host.start();
    pair.agree();
    // And they are a pair as before.
    pair.write_here("ada-later", &whole(33, 900));
    pair.write_there("mo-later", &whole(34, LARGE));
    pair.sync();
    // So they are after a restart of both, which has to come back to the same.
    pair.host.stop();
    pair.joiner.stop();
    pair.host.start();
    pair.joiner.restart();
    pair.sync();
    pair.joiner.stop();
}

#[test]
fn a_hosts_metadata_come_from_a_backup() {
    the_hosts_backup_is_put_back(Back::Anew);
}

#[test]
fn a_hosts_metadata_are_overwritten_with_a_backup() {
    the_hosts_backup_is_put_back(Back::Over);
}

/// The store of the joiner comes from a backup; much has happened since.
fn the_joiners_backup_is_put_back(back: Back) {
    let mut pair = Pair::meet();
    pair.write_there("mo-before", &whole(41, LARGE));
    pair.sync();
    pair.joiner.stop();
    let (backup, store) = (pair.world.path("backup"), pair.joiner.store.clone());
    pair.copy(&store, &backup);
    pair.joiner.restart();
    pair.go_on();
    pair.write_there("mo-before", &whole(42, LARGE));
    pair.sync();
    pair.joiner.stop();
    back.put(&pair.world, &backup, &store);
    pair.write_here("ada-alone", &whole(31, 700));
    pair.joiner.restart();
    pair.agree();
    pair.write_there("mo-edit", &whole(43, 600));
    pair.write_there("mo-before", &whole(44, LARGE));
    pair.write_there("mo-later", &whole(34, LARGE));
    pair.write_here("ada-later", &whole(33, 900));
    pair.sync();
    pair.joiner.stop();
}

#[test]
fn a_joiners_store_comes_from_a_backup() {
    the_joiners_backup_is_put_back(Back::Anew);
}

#[test]
fn a_joiners_store_is_overwritten_with_a_backup() {
    the_joiners_backup_is_put_back(Back::Over);
}

/// The same with its host away: what it writes then, before it hears what was lost, is its own.
#[test]
fn a_joiner_whose_store_comes_from_a_backup_writes_before_it_meets_its_host() {
    for back in [Back::Anew, Back::Over] {
        let mut pair = Pair::meet();
        pair.joiner.stop();
        let (backup, store) = (pair.world.path("backup"), pair.joiner.store.clone());
        pair.copy(&store, &backup);
        pair.joiner.restart();
        for number in 0..5 {
            pair.write_there(&format!("since-{number}"), &whole(number, 400));
        }
        pair.sync();
        pair.joiner.stop();
        pair.host.stop();
        back.put(&pair.world, &backup, &store);
        pair.joiner.restart();
        for number in 0..3 {
            pair.write_there(&format!("alone-{number}"), &whole(50 + number, 500));
        }
        pair.host.start();
        pair.sync();
        pair.joiner.stop();
    }
}

/// The metadata of the shared folder are overwritten with noise: they are set aside, and made
/// anew of the folder and of what its peers tell.
#[test]
fn damaged_metadata_of_a_host_are_made_anew() {
    let mut pair = Pair::meet();
    pair.go_on();
    pair.host.stop();
    let store = pair.host.dir.join(".tandem/metadata");
    for file in fs::read_dir(&store).unwrap() {
        let path = file.unwrap().path();
        let size = fs::metadata(&path).unwrap().len();
        write_file(&path, 66, size.max(4_096));
    }
    pair.write_there("mo-alone", &whole(32, LARGE));
    pair.write_here("ada-alone", &whole(31, 700));
    pair.host.start();
    let said = pair.host.err();
    assert!(said.contains("damaged"), "{said}");
    assert!(pair.host.dir.join(".tandem/metadata.damaged-1").is_dir());
    pair.agree();
    pair.write_here("ada-later", &whole(33, 900));
    pair.write_there("mo-later", &whole(34, LARGE));
    pair.sync();
    pair.joiner.stop();
}

/// The joiner's store is removed. Its ticket was used up by a key that is gone with it, which is said;
/// with a new one it has everything that it had written.
#[test]
fn a_joiner_whose_store_was_removed_joins_again() {
    let mut pair = Pair::meet();
    pair.go_on();
    pair.joiner.stop();
    fs::remove_dir_all(&pair.joiner.store).unwrap();
    let (mnt, store) = (pair.joiner.mnt.clone(), pair.joiner.store.clone());
    let old = pair.host.ticket();
    let why = join(&pair.joiner.user, &[&old], &mnt, &store).fails(1);
    assert!(why.contains("not paired"), "{why}");
    fs::remove_dir_all(&pair.joiner.store).unwrap();
    let ticket = pair.let_go();
    pair.joiner.start(&[&ticket]);
    pair.agree();
    pair.write_there("mo-later", &whole(34, LARGE));
    pair.sync();
    pair.joiner.stop();
}

/// The shared folder is copied, `.tandem` and all, while it is shared, and both are shared at once,
/// with one key. What is done to the one is not done to the other.
#[test]
fn a_folder_and_its_copy_are_shared_at_once() {
    let mut pair = Pair::meet();
    pair.copy(&pair.host.dir.clone(), &pair.world.path("copy"));
    let copied = pair.files.clone();
    let mut twin = pair.world.share("copy");
    holds(&twin.dir, &copied);
    pair.write_there("mo-edit", &whole(61, 900));
    fs::remove_file(twin.dir.join("keep")).unwrap();
    fs::write(twin.dir.join("mo-edit"), "of the copy").unwrap();
    pair.go_on();
    let mut changed = copied;
    changed.remove("keep");
    changed.insert("mo-edit".to_owned(), b"of the copy".to_vec());
    holds(&twin.dir, &changed);
    twin.stop();
    pair.sync();
    pair.joiner.stop();
}

/// The shared folder was copied while nobody shared it, and the copy alone is shared from then on, at
/// the same address. Nothing in it has changed, so that what the joiner wrote meanwhile is no conflict.
#[test]
fn a_copy_takes_the_place_of_its_folder() {
    let mut pair = Pair::meet();
    assert_eq!(
        fs::read(pair.joiner.path("large")).unwrap(),
        whole(9, LARGE)
    );
    pair.host.stop();
    let (old, new) = (pair.host.dir.clone(), pair.world.path("elsewhere"));
    pair.copy(&old, &new);
    pair.host.dir = new;
    pair.write_there("mo-edit", &whole(61, 900));
    append(&pair.joiner.path("large"), b"and more");
    let mut longer = whole(9, LARGE);
    longer.extend_from_slice(b"and more");
    pair.files.insert("large".to_owned(), longer);
    fs::remove_file(pair.joiner.path("mo-remove")).unwrap();
    pair.files.remove("mo-remove");
    pair.write_here("ada-edit", &whole(62, 950));
    pair.host.start();
    pair.meets();
    pair.agree();
    pair.write_here("ada-later", &whole(33, 900));
    pair.write_there("mo-later", &whole(34, LARGE));
    pair.sync();
    // The old one comes back in its place: what it missed is done to it, and nothing undone.
    pair.host.stop();
    pair.host.dir = old;
    pair.host.start();
    pair.agree();
    pair.write_here("ada-last", &whole(35, 100));
    pair.write_there("mo-last", &whole(36, 100));
    pair.sync();
    pair.joiner.stop();
}

/// The same where nothing may be changed by joiners: what they have is theirs, and what is changed in
/// the copy arrives.
#[test]
fn a_copy_of_a_folder_that_takes_no_changes_takes_its_place() {
    let world = World::new();
    let dir = world.mkdir("dir");
    for name in ["keep", "edit", "remove"] {
        write_file(&dir.join(name), 1, LARGE);
    }
    let mut host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    assert!(fs::read(joiner.sees("keep", LARGE)).unwrap() == whole(1, LARGE));
    host.stop();
    let fetched = joiner.status().counter("bytes_fetched");
    let new = world.path("elsewhere");
    copy(&world, &host.dir, &new);
    host.dir = new;
    write_file(&host.dir.join("edit"), 2, 700);
    fs::remove_file(host.dir.join("remove")).unwrap();
    write_file(&host.dir.join("new"), 3, 700);
    host.start();
    joiner.sees("new", 700);
    assert!(fs::read(joiner.path("keep")).unwrap() == whole(1, LARGE));
    assert_eq!(joiner.status().counter("bytes_fetched"), fetched);
    let files = [("edit", 2, 700), ("keep", 1, LARGE), ("new", 3, 700)]
        .map(|(name, stamp, size)| (name.to_owned(), whole(stamp, size)));
    holds(&joiner.mnt, &files.into());
    converge(&host.dir, &joiner.mnt);
    joiner.stop();
}

/// A joiner's store is copied, and both are mounted at once: of two with one key the host lets in the
/// one that is there. What was written on the other arrives when it is its turn.
#[test]
fn of_a_store_and_its_copy_one_is_let_in() {
    let mut pair = Pair::meet();
    pair.joiner.stop();
    let (store, mnt) = (pair.world.path("store2"), pair.world.path("mnt2"));
    pair.copy(&pair.joiner.store.clone(), &store);
    pair.joiner.restart();
    pair.meets();
    let mut twin = pair.world.join_from("twin", &store, &mnt);
    until("the later one hears why", || {
        let said = twin.user.run([OsStr::new("status"), mnt.as_os_str()]);
        said.ok()
            .text()
            .contains("a session with the same key")
            .then_some(())
    });
    fs::write(twin.path("of-twin"), "twin's").unwrap();
    pair.write_there("mo-edit", &whole(61, 900));
    pair.go_on();
    pair.joiner.stop();
    pair.files.insert("of-twin".to_owned(), b"twin's".to_vec());
    holds(&pair.host.dir, &pair.files);
    holds(&twin.mnt, &pair.files);
    converge(&pair.host.dir, &twin.mnt);
    twin.stop();
    pair.joiner.restart();
    pair.sync();
    pair.joiner.stop();
}

/// All of the host's `.tandem` is removed while it is stopped: it is another folder with another key.
/// Who joined the old one hears so, keeps what he wrote and can read it; his store is not taken for one
/// of the new folder, and with a new one he has everything.
#[test]
fn a_joiner_of_a_folder_whose_tandem_was_removed_keeps_what_it_wrote() {
    let mut pair = Pair::meet();
    pair.host.stop();
    fs::write(pair.joiner.path("mine"), "mo's alone").unwrap();
    fs::remove_dir_all(pair.host.dir.join(".tandem")).unwrap();
    pair.host.start();
    holds(&pair.host.dir, &pair.files);
    until("mo hears why", || {
        let said = pair
            .joiner
            .user
            .run([OsStr::new("status"), pair.joiner.mnt.as_os_str()]);
        said.ok()
            .text()
            .contains("another key answers")
            .then_some(())
    });
    assert_eq!(fs::read(pair.joiner.path("mine")).unwrap(), b"mo's alone");
    pair.joiner.stop();
    let (mnt, store) = (pair.joiner.mnt.clone(), pair.joiner.store.clone());
    let new = pair.host.ticket();
    let why = join(&pair.joiner.user, &[&new], &mnt, &store).fails(1);
    assert!(why.contains("--store"), "{why}");
    pair.joiner.restart();
    assert_eq!(fs::read(pair.joiner.path("mine")).unwrap(), b"mo's alone");
    let anew = pair.world.join("anew", &new);
    holds(&anew.mnt, &pair.files);
    // What it alone has is brought over by hand.
    fs::copy(pair.joiner.path("mine"), anew.path("mine")).unwrap();
    pair.joiner.stop();
    pair.files.insert("mine".to_owned(), b"mo's alone".to_vec());
    pair.joiner = anew;
    pair.sync();
    pair.joiner.stop();
}
