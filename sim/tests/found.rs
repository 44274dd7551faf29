//! Stories of bugs that the simulator found: each failed before its mend.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as loudly as the test"
)]

use std::sync::Arc;

use tandem_core::action::FsReply;
use tandem_core::event::{FsCall, Hint};
use tandem_core::ids::Ino;
use tandem_sim::choices::{Chance, Choices, Key};
use tandem_sim::config::{Config, MS, SEC};
use tandem_sim::disk::folder::{Node, Path};
use tandem_sim::outside::name;
use tandem_sim::run::run;
use tandem_sim::world::{HOST, World};

const ADA: usize = 1;
const CHUNK: usize = 4096;

/// A paired peer claimed to know what nobody had made yet; the host took that over, and told its
/// later changes to nobody, since everybody was said to know them.
#[test]
fn a_peer_that_claims_to_know_the_future_keeps_nobody_from_hearing() {
    for seed in 0..40 {
        let mut config = Config::quiet();
        config.hostile = 1;
        let mut story = Story::with(config, 4000 + seed);
        story.put("a", 10);
        story.begin();
        story.world.send_eve(story.chance.clone());
        story.world.run_for(20 * SEC).unwrap();
        story.put("b", 10);
        story.check();
    }
}

/// The host was stopped while a directory was renamed and something made in it. All hints came at
/// once; those below the new name were dropped, since that was not known yet.
#[test]
fn what_is_made_in_a_directory_renamed_while_the_host_was_stopped_is_found() {
    let mut story = Story::new(41);
    story.mkdir("d");
    story.put("d/old", 10);
    story.begin();
    story.world.sleep(HOST, 10 * SEC, true);
    story.rename("d", "e");
    story.mkdir("e/new");
    story.put("e/new/file", 20);
    story.world.run_for(11 * SEC).unwrap();
    story.check();
}

/// The same, with a listing under way while the directory was renamed onto another one.
#[test]
fn a_directory_renamed_onto_another_is_listed_anew() {
    let mut story = Story::new(42);
    story.mkdir("d0");
    story.put("d0/f0", 10);
    story.mkdir("d1");
    story.begin();
    story.world.sleep(HOST, 10 * SEC, true);
    story.rename("d0/f0", "d0/new");
    story.rename("d0", "d1");
    let path = path("d1");
    story.world.tell_hint_later(Hint::Subtree { path });
    story.world.run_for(11 * SEC).unwrap();
    story.check();
}

/// A file gave way to a directory of its name, and was moved into it. What was hinted at below
/// the name was looked for below the file, which became its own parent: a conflict copy for ever.
#[test]
fn a_file_moved_into_a_directory_that_takes_its_name_has_no_conflict() {
    let mut story = Story::new(43);
    story.put("x", 10);
    story.begin();
    story.world.sleep(HOST, 10 * SEC, true);
    story.rename("x", "y");
    story.mkdir("x");
    story.rename("y", "x/x");
    story.world.run_for(11 * SEC).unwrap();
    story.check();
}

/// A file lost its last name, was changed, and came back by another: the kernel still showed the
/// attributes that it had cached before.
#[test]
fn a_file_that_comes_back_under_another_name_is_not_shown_from_a_cache() {
    let mut story = Story::new(44);
    story.put("a", 10);
    story.begin();
    let ino = story.find("a").unwrap();
    assert!(
        story
            .world
            .ask(ADA, FsCall::GetAttr { ino })
            .unwrap()
            .is_ok()
    );
    story.world.partition(ADA, 5 * SEC);
    let from = path("a");
    assert!(story.world.folder.link(&from, &path("b")));
    story.hint("b");
    story.world.run_for(SEC).unwrap();
    story.change("b", 99);
    story.world.folder.unlink(&from);
    story.hint("a");
    story.world.run_for(SEC).unwrap();
    story.world.run_for(30 * SEC).unwrap();
    story.check();
}

/// A file was written through a name that was gone before anybody looked at it.
#[test]
fn what_was_written_through_a_name_that_came_and_went_is_seen() {
    let mut story = Story::new(45);
    story.put("a", 10);
    story.begin();
    // The link is seen; the name that the file is then written through is not.
    assert!(story.world.folder.link(&path("a"), &path("gone")));
    story.hint("a");
    story.world.run_for(SEC).unwrap();
    let id = story.world.folder.find(&path("gone")).unwrap();
    story.world.folder.write(id, vec![7; 50]);
    story.world.folder.unlink(&path("gone"));
    story.hint("gone");
    story.check();
}

/// Two kills before the first commit held: both starts gave the same inode numbers.
#[test]
fn starts_that_are_killed_at_once_give_no_inode_number_twice() {
    let mut story = Story::new(46);
    for n in 0..4 {
        story.put(&format!("f{n}"), 10);
    }
    story.mkdir("d");
    story.begin();
    // P7's oracle remembers numbers over kills.
    for n in 0..20 {
        story.world.drop_engine(ADA, false);
        story.world.restart(ADA).unwrap();
        story.world.run_for(n * MS).unwrap();
        story.world.list(ADA, Ino::ROOT).unwrap();
    }
    story.check();
}

/// A version was complete, superseded and removed; then the store forgot the newer one with a
/// power loss, made the file of the older one again, and lost power again: the record of the
/// complete file was back, beside a file of zeros.
#[test]
fn an_old_record_never_vouches_for_a_new_file() {
    // The way there takes two losses at their moments: the seeds that found it.
    for seed in [0xa2dc, 0xc33f] {
        assert_eq!(run(seed, &[], false).failure, None);
    }
    for wait in 0..60 {
        let mut story = Story::new(4700 + wait);
        story.put("a", 3 * CHUNK);
        story.begin();
        story.read("a");
        story.world.run_for(8 * SEC).unwrap();
        story.change("a", 4 * CHUNK);
        story.world.run_for(300 * MS).unwrap();
        for _ in 0..2 {
            story.world.partition(ADA, 2 * SEC);
            story.world.drop_engine(ADA, true);
            story.world.restart(ADA).unwrap();
            story.world.run_for(wait * MS / 4).unwrap();
            if let Some(ino) = story.find("a") {
                // Not to be had, or true: P1's oracle judges.
                let _ = story.world.read_all(ADA, ino, 0).unwrap();
            }
        }
        story.check();
    }
}

/// A record outlived a power loss that took its bytes. Before anybody read them, other chunks were
/// synced, and the mark for those spoke of all records before it: zeros counted as durable.
#[test]
fn a_mark_for_new_chunks_says_nothing_of_old_claims() {
    for seed in 0..60 {
        let mut story = Story::new(4900 + seed);
        story.put("film", 8 * CHUNK);
        story.begin();
        story.read_at("film", 0);
        story.world.drop_engine(ADA, true);
        story.world.restart(ADA).unwrap();
        story.world.settle().unwrap();
        story.read_at("film", 5);
        story.world.run_for(10 * SEC).unwrap();
        story.kill();
        story.read_at("film", 0);
        story.check();
    }
}

/// A sync that was to harden some chunks ended after the last chunk had come: its mark went to a
/// sidecar that was gone, and the complete file was taken for broken.
#[test]
fn a_sync_that_ends_late_breaks_no_complete_file() {
    for wait in 0..80 {
        let mut config = Config::quiet();
        config.disk_time = 20 * MS;
        let mut story = Story::with(config, 4800 + wait);
        story.put("film", 6 * CHUNK);
        story.begin();
        let ino = story.find("film").unwrap();
        let write = false;
        let opened = story.world.ask(ADA, FsCall::Open { ino, write }).unwrap();
        let Ok((FsReply::Opened { fh, .. }, _)) = opened else {
            panic!("{opened:?}");
        };
        let read = |from: usize, chunks: usize, story: &mut Story| {
            let (offset, len) = (
                (from * CHUNK) as u64,
                u32::try_from(chunks * CHUNK).unwrap(),
            );
            let call = FsCall::Read { fh, offset, len };
            assert!(story.world.ask(ADA, call).unwrap().is_ok());
        };
        read(0, 3, &mut story);
        // Chunks are hardened some seconds after the first; the rest comes just then.
        story.world.run_for(4_800 * MS + wait * 5 * MS).unwrap();
        read(3, 3, &mut story);
        story.world.run_for(SEC).unwrap();
        // The oracle of faults judges: none was caused.
        assert!(
            story
                .world
                .ask(ADA, FsCall::Release { fh })
                .unwrap()
                .is_ok()
        );
        story.check();
    }
}

struct Story {
    world: World,
    chance: Chance,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self::with(Config::quiet(), seed)
    }

    fn with(config: Config, seed: u64) -> Self {
        let choices = Choices::new(seed);
        let chance = choices.stream(Key::Folder);
        let world = World::new(config, choices, false);
        Self { world, chance }
    }

    fn begin(&mut self) {
        self.world.start_all().unwrap();
        self.world.settle().unwrap();
    }

    /// Lets all settle, and judges the end.
    fn check(&mut self) {
        self.world.heal();
        self.world.settle().unwrap();
        self.world.judge_end().unwrap();
    }

    fn put(&mut self, at: &str, len: usize) {
        let wall = self.world.wall();
        let node = Node::File(Arc::new(self.chance.bytes(len)));
        self.world.folder.at(wall).place(&path(at), node, 0o644);
        self.hint(at);
    }

    fn mkdir(&mut self, at: &str) {
        let node = Node::Dir([].into());
        self.world.folder.place(&path(at), node, 0o755);
        self.hint(at);
    }

    fn change(&mut self, at: &str, len: usize) {
        let wall = self.world.wall();
        let id = self.world.folder.at(wall).find(&path(at)).unwrap();
        let bytes = self.chance.bytes(len);
        self.world.folder.write(id, bytes);
        self.hint(at);
    }

    fn rename(&mut self, from: &str, to: &str) {
        assert!(self.world.folder.rename(&path(from), &path(to)));
        self.hint(from);
        self.hint(to);
    }

    fn hint(&mut self, at: &str) {
        for peer in &mut self.world.peers {
            peer.caused.edit = true;
        }
        self.world.hint(&mut self.chance, &path(at), true);
    }

    fn find(&mut self, at: &str) -> Option<Ino> {
        let (parent, name) = (Ino::ROOT, at.as_bytes().to_vec());
        let lookup = FsCall::Lookup { parent, name };
        match self.world.ask(ADA, lookup).unwrap() {
            Ok((FsReply::Entry(shown), _)) => Some(shown.ino),
            _ => None,
        }
    }

    fn kill(&mut self) {
        self.world.drop_engine(ADA, false);
        self.world.restart(ADA).unwrap();
        self.world.settle().unwrap();
    }

    fn read_at(&mut self, at: &str, chunk: u64) {
        let (ino, write) = (self.find(at).unwrap(), false);
        let opened = self.world.ask(ADA, FsCall::Open { ino, write }).unwrap();
        let Ok((FsReply::Opened { fh, .. }, _)) = opened else {
            panic!("{opened:?}");
        };
        let (offset, len) = (chunk * CHUNK as u64, 100);
        let read = self.world.ask(ADA, FsCall::Read { fh, offset, len });
        assert!(read.unwrap().is_ok());
        let released = self.world.ask(ADA, FsCall::Release { fh });
        assert!(released.unwrap().is_ok());
    }

    fn read(&mut self, at: &str) {
        let ino = self.find(at).unwrap();
        assert!(self.world.read_all(ADA, ino, 0).unwrap().is_ok());
    }
}

fn path(text: &str) -> Path {
    text.split('/').map(name).collect()
}
