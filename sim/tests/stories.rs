//! Named stories: what has bitten systems like this one, told with one host and one joiner.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "the helpers of a test may fail as loudly as the test"
)]

use std::sync::Arc;

use tandem_core::action::FsReply;
use tandem_core::edit::Edit;
use tandem_core::error::FsError;
use tandem_core::event::{FsCall, Hint};
use tandem_core::ids::{Fh, Ino};
use tandem_sim::choices::{Choices, Key};
use tandem_sim::config::{Config, MS, SEC};
use tandem_sim::disk::folder::{Node, Path};
use tandem_sim::outside::name;
use tandem_sim::peer::Caller;
use tandem_sim::world::{HOST, World};

const ADA: usize = 1;
const BO: usize = 2;
const CHUNK: usize = 4096;

/// S7.
#[test]
fn a_file_that_shrank_shows_no_old_tail_s7() {
    let mut story = Story::new(7);
    story.put("notes", 5 * CHUNK);
    story.begin();
    let fh = story.open("notes");
    assert_eq!(story.read(fh, 0, 6 * CHUNK), Ok(story.content("notes")));
    story.change("notes", |bytes| bytes.truncate(CHUNK + 9));
    story.settle();
    let again = story.open("notes");
    let short = story.content("notes");
    assert_eq!(story.read(again, 0, 6 * CHUNK), Ok(short.clone()));
    assert_eq!(story.read(again, CHUNK + 9, CHUNK), Ok(Vec::new()));
    assert_eq!(story.size("notes"), short.len());
}

/// S11.
#[test]
fn odd_requests_fetch_what_they_touch_and_mark_nothing_else_s11() {
    let mut story = Story::new(11);
    story.put("film", 40 * CHUNK + 17);
    story.begin();
    let film = story.content("film");
    let fh = story.open("film");
    let mut touched = std::collections::BTreeSet::new();
    for (offset, len) in [
        (3 * CHUNK + 1, 1),
        (40 * CHUNK, 17),
        (9 * CHUNK - 1, 2),
        (777, 131),
    ] {
        let read = story.read(fh, offset, len);
        assert_eq!(read, Ok(film[offset..offset + len].to_vec()));
        touched.extend(offset / CHUNK..=(offset + len - 1) / CHUNK);
        assert_eq!(story.fetched(), touched.len() as u64);
    }
    story.kill(ADA);
    let fh = story.open("film");
    assert_eq!(story.read(fh, 0, film.len()), Ok(film));
    assert_eq!(story.fetched(), 41);
}

/// S12.
#[test]
fn a_lock_renamed_onto_its_file_leaves_the_old_or_the_new_s12() {
    for wait in 0..20 {
        let mut story = Story::new(1200 + wait);
        story.put("X", 3 * CHUNK);
        story.begin();
        let old = story.content("X");
        story.put("X.lock", 4 * CHUNK);
        story.world.run_for(wait * 7 * MS).unwrap();
        if let Some(ino) = story.find("X.lock") {
            let open = FsCall::Open { ino, write: false };
            if let Ok((FsReply::Opened { fh, .. }, _)) = story.world.ask(ADA, open).unwrap() {
                let len = 4096;
                let read = FsCall::Read { fh, offset: 0, len };
                story.world.call(ADA, Caller::Walker, read).unwrap();
            }
        }
        story.rename("X.lock", "X");
        let new = story.content("X");
        let fh = story.open("X");
        // What is nowhere any more can't be had; anything else would be made up.
        let seen = story.read(fh, 0, 5 * CHUNK);
        assert!(seen == Err(FsError::Io) || seen == Ok(old) || seen == Ok(new.clone()));
        story.settle();
        assert_eq!(story.find("X.lock"), None);
        let fh = story.open("X");
        assert_eq!(story.read(fh, 0, 5 * CHUNK), Ok(new));
    }
}

/// S13.
#[test]
fn a_file_that_grows_between_close_and_rename_converges_s13() {
    let mut story = Story::new(13);
    story.begin();
    story.put("tmp_pack", 7 * CHUNK);
    story.world.run_for(30 * MS).unwrap();
    story.change("tmp_pack", |bytes| bytes.extend([9; 20]));
    story.rename("tmp_pack", "pack");
    story.settle();
    assert_eq!(story.size("pack"), 7 * CHUNK + 20);
    let fh = story.open("pack");
    assert_eq!(story.read(fh, 0, 8 * CHUNK), Ok(story.content("pack")));
}

/// S14.
#[test]
fn a_file_made_and_deleted_at_once_stays_deleted_s14() {
    for wait in 0..20 {
        let mut story = Story::new(1400 + wait);
        story.begin();
        story.put(".keep", 2 * CHUNK);
        story.world.run_for(wait * 10 * MS).unwrap();
        let reader = story.find(".keep").map(|ino| {
            let open = FsCall::Open { ino, write: false };
            story.world.ask(ADA, open).unwrap()
        });
        story.remove(".keep");
        if let Some(Ok((FsReply::Opened { fh, .. }, _))) = reader {
            story.world.run_for(SEC).unwrap();
            let read = story.read(fh, 0, CHUNK);
            assert!(matches!(read, Err(FsError::Io)) || read.is_ok_and(|read| read.len() == CHUNK));
        }
        story.settle();
        assert_eq!(story.find(".keep"), None);
    }
}

/// S17.
#[test]
fn a_nested_path_never_shows_at_the_root_s17() {
    let mut story = Story::new(17);
    story.begin();
    story.mkdir("a");
    story.mkdir("a/b");
    for n in 0..20 {
        story.put(&format!("a/b/deep{n}"), 10);
        story.world.run_for(13 * MS).unwrap();
        for (name, shown) in story.world.list(ADA, Ino::ROOT).unwrap() {
            assert_eq!(name, b"a");
            let call = FsCall::GetAttr { ino: shown.ino };
            assert!(story.world.ask(ADA, call).unwrap().is_ok());
        }
    }
    story.settle();
    let b = story.find("a/b").unwrap();
    assert_eq!(story.world.list(ADA, b).unwrap().len(), 20);
}

/// S21.
#[test]
fn two_hundred_cuts_lose_nothing_s21() {
    let mut story = Story::new(21);
    story.put("big", 60 * CHUNK);
    story.begin();
    let big = story.content("big");
    let fh = story.open("big");
    let mut read = Vec::new();
    for cut in 0..200 {
        let links: Vec<usize> = story.world.links().collect();
        for at in links {
            story.world.cut_link(at);
        }
        story.world.run_for((cut % 7) * 40 * MS).unwrap();
        if cut % 10 == 0
            && let Ok(more) = story.read(fh, read.len(), 3 * CHUNK)
        {
            read.extend(more);
        }
    }
    story.settle();
    while let Ok(more) = story.read(fh, read.len(), 3 * CHUNK)
        && !more.is_empty()
    {
        read.extend(more);
    }
    assert!(read == big);
    assert_eq!(story.stored(), 60);
}

/// S24.
#[test]
fn an_open_descriptor_outlives_a_sleep_of_the_machine_s24() {
    let mut story = Story::new(24);
    story.put("film", 30 * CHUNK);
    story.begin();
    let film = story.content("film");
    let fh = story.open("film");
    assert!(story.read(fh, 0, 5 * CHUNK).is_ok());
    story.world.partition(ADA, 40 * SEC);
    assert_eq!(story.read(fh, 20 * CHUNK, CHUNK), Err(FsError::Io));
    assert_eq!(story.read(fh, 0, CHUNK), Ok(film[..CHUNK].to_vec()));
    story.world.run_for(90 * SEC).unwrap();
    story.settle();
    assert_eq!(
        story.read(fh, 20 * CHUNK, CHUNK),
        Ok(film[20 * CHUNK..21 * CHUNK].to_vec())
    );
}

/// S22, U1.
#[test]
fn a_dead_host_freezes_nothing_s22_u1() {
    let mut story = Story::new(22);
    story.put("film", 30 * CHUNK);
    story.mkdir("d");
    story.begin();
    let film = story.content("film");
    let fh = story.open("film");
    assert!(story.read(fh, 0, 5 * CHUNK).is_ok());
    story.world.drop_engine(HOST, false);
    story.world.run_for(40 * SEC).unwrap();
    // The oracle of P9 holds that these answer at once.
    assert_eq!(
        story.read(fh, 4 * CHUNK, CHUNK),
        Ok(film[4 * CHUNK..5 * CHUNK].to_vec())
    );
    assert_eq!(story.world.list(ADA, Ino::ROOT).unwrap().len(), 2);
    let before = story.world.now;
    assert_eq!(story.read(fh, 9 * CHUNK, CHUNK), Err(FsError::Io));
    assert!(story.world.now - before < SEC);
    story.world.restart(HOST).unwrap();
    story.settle();
    assert_eq!(story.read(fh, 0, film.len()), Ok(film));
}

/// S26.
#[test]
fn either_side_restarts_with_the_mount_in_use_s26() {
    let mut story = Story::new(26);
    story.put("film", 30 * CHUNK);
    story.begin();
    let film = story.content("film");
    let fh = story.open("film");
    assert!(story.read(fh, 0, 10 * CHUNK).is_ok());
    story.world.drop_engine(HOST, false);
    story.put("while it was down", CHUNK);
    story.world.run_for(SEC).unwrap();
    story.world.restart(HOST).unwrap();
    story.settle();
    assert_eq!(
        story.read(fh, 0, 20 * CHUNK),
        Ok(film[..20 * CHUNK].to_vec())
    );
    assert!(story.find("while it was down").is_some());
    assert_eq!(story.fetched(), 20);
    story.kill(ADA);
    let fh = story.open("film");
    assert_eq!(story.read(fh, 0, film.len()), Ok(film));
    assert_eq!(story.fetched(), 30);
}

/// S29.
#[test]
fn a_source_rewritten_at_the_same_size_never_mixes_s29() {
    let mut story = Story::new(29);
    story.put("film", 30 * CHUNK);
    story.begin();
    let fh = story.open("film");
    assert!(story.read(fh, 0, 10 * CHUNK).is_ok());
    story.kill(ADA);
    let mut chance = Choices::new(2900).stream(Key::Folder);
    story.change("film", |bytes| *bytes = chance.bytes(30 * CHUNK));
    story.settle();
    let fh = story.open("film");
    assert_eq!(story.read(fh, 0, 30 * CHUNK), Ok(story.content("film")));
}

/// S23.
#[test]
fn an_address_that_nobody_answers_delays_no_call_s23() {
    let mut story = Story::new(23);
    story.put("a", 10);
    story.begin();
    story.world.partition(ADA, 30 * SEC);
    story.world.drop_engine(ADA, false);
    story.world.restart(ADA).unwrap();
    // Known things answer at once although every dial hangs: P9's oracle judges it.
    assert!(story.find("a").is_some());
    story.world.run_for(60 * SEC).unwrap();
    story.settle();
    let fh = story.open("a");
    assert_eq!(story.read(fh, 0, 10), Ok(story.content("a")));
}

/// S9. The oracle of P6 counts the files whose lanes are open, and the bytes asked for.
#[test]
fn a_link_carries_so_many_lanes_and_bytes_and_every_read_ends() {
    let config = Config {
        lane_files: 2,
        window: 3 * CHUNK as u64,
        ..Config::quiet()
    };
    let mut story = Story::of(33, config);
    let names = ["a", "b", "c", "d", "e", "f"];
    names.iter().for_each(|name| story.put(name, 5 * CHUNK));
    story.begin();
    let open: Vec<Fh> = names.iter().map(|name| story.open(name)).collect();
    let len = u32::try_from(5 * CHUNK).unwrap();
    let reads = open.iter().map(|fh| {
        let read = FsCall::Read {
            fh: *fh,
            offset: 0,
            len,
        };
        story.world.call(ADA, Caller::Walker, read).unwrap()
    });
    let reads: Vec<_> = reads.collect();
    for (name, read) in names.iter().zip(reads) {
        let answer = story.world.answer(ADA, read).unwrap();
        assert_eq!(answer.map(|(_, bytes)| bytes), Ok(story.content(name)));
    }
    assert_eq!(story.fetched(), 30);
    for mark in [
        "link: lanes of as many files as may be",
        "link: a full window",
    ] {
        assert!(story.world.reach.count(mark) > 0, "{mark}");
    }
}

#[test]
fn a_power_loss_leaves_no_false_bytes() {
    for seed in 0..40 {
        let mut story = Story::new(3000 + seed);
        story.put("film", 20 * CHUNK + 5);
        story.begin();
        let film = story.content("film");
        let fh = story.open("film");
        let upto = usize::try_from(seed).unwrap() % 20 * CHUNK;
        assert!(story.read(fh, 0, upto + 1).is_ok());
        story.world.run_for(seed % 8 * 300 * MS).unwrap();
        story.world.drop_engine(ADA, true);
        story.world.restart(ADA).unwrap();
        story.settle();
        let fh = story.open("film");
        assert_eq!(story.read(fh, 0, film.len()), Ok(film));
    }
}

#[test]
fn a_want_ends_with_the_whole_file_at_its_place() {
    let mut story = Story::new(31);
    story.put("film", 20 * CHUNK + 5);
    story.begin();
    story.world.want_path(ADA, path("film")).unwrap();
    story.world.want_path(ADA, path("nothing")).unwrap();
    story.world.run_for(5 * SEC).unwrap();
    let links: Vec<usize> = story.world.links().collect();
    for at in links {
        story.world.cut_link(at);
    }
    story.settle();
    assert!(story.world.peers[ADA].wants.is_empty());
    assert_eq!(story.stored(), 21);
}

#[test]
fn an_overflow_of_the_watcher_is_made_up_for() {
    let mut story = Story::new(32);
    story.begin();
    for n in 0..10 {
        let at = path(&format!("f{n}"));
        let node = Node::File(Arc::new(story.chance.bytes(100)));
        story.world.folder.place(&at, node, 0o644);
    }
    story
        .world
        .tell_hint(Hint::Subtree { path: Path::new() })
        .unwrap();
    story.settle();
    assert_eq!(story.world.list(ADA, Ino::ROOT).unwrap().len(), 10);
}

/// P7: what bo unlinks ada has open, and reads to its end, through a new link and from a host that
/// was killed: it lies in the host's trash.
#[test]
fn what_is_open_is_read_to_its_end_though_another_unlinked_it() {
    let config = Config {
        joiners: 2,
        writable: u16::MAX,
        ..Config::quiet()
    };
    let mut story = Story::of(33, config);
    story.put("film", 5 * CHUNK);
    story.begin();
    let film = story.content("film");
    let fh = story.open("film");
    let piece = |n: usize| Ok(film[n * CHUNK..(n + 1) * CHUNK].to_vec());
    assert_eq!(story.read(fh, 0, CHUNK), piece(0));
    let unlink = FsCall::Edit(Edit::Unlink {
        parent: Ino::ROOT,
        name: b"film".to_vec(),
    });
    assert!(story.world.ask(BO, unlink).unwrap().is_ok());
    story.settle();
    assert_eq!(story.world.folder.find(&path("film")), None);
    assert_eq!(story.find("film"), None);
    assert_eq!(story.read(fh, CHUNK, CHUNK), piece(1));
    let links: Vec<usize> = story.world.links().collect();
    for at in links {
        story.world.cut_link(at);
    }
    story.settle();
    assert_eq!(story.read(fh, 3 * CHUNK, CHUNK), piece(3));
    story.kill(HOST);
    assert_eq!(story.read(fh, 2 * CHUNK, CHUNK), piece(2));
    assert_eq!(story.read(fh, 4 * CHUNK, CHUNK), piece(4));
    assert_eq!(story.read(fh, 0, CHUNK), piece(0));
}

struct Story {
    world: World,
    chance: tandem_sim::choices::Chance,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self::of(seed, Config::quiet())
    }

    fn of(seed: u64, config: Config) -> Self {
        let choices = Choices::new(seed);
        let chance = choices.stream(Key::Folder);
        let world = World::new(config, choices, false);
        Self { world, chance }
    }

    fn begin(&mut self) {
        self.world.start_all().unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        self.world.settle().unwrap();
    }

    fn put(&mut self, at: &str, len: usize) {
        let wall = self.world.wall();
        let bytes = self.chance.bytes(len);
        let node = Node::File(Arc::new(bytes));
        self.world.folder.at(wall).place(&path(at), node, 0o644);
        self.hint(at);
    }

    fn mkdir(&mut self, at: &str) {
        self.world
            .folder
            .place(&path(at), Node::Dir([].into()), 0o755);
        self.hint(at);
    }

    fn change(&mut self, at: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let wall = self.world.wall();
        let id = self.world.folder.at(wall).find(&path(at)).unwrap();
        let mut bytes = self.content(at);
        change(&mut bytes);
        self.world.folder.write(id, bytes);
        self.hint(at);
    }

    fn rename(&mut self, from: &str, to: &str) {
        assert!(self.world.folder.rename(&path(from), &path(to)));
        self.hint(from);
        self.hint(to);
    }

    fn remove(&mut self, at: &str) {
        self.world.folder.unlink(&path(at));
        self.hint(at);
    }

    fn hint(&mut self, at: &str) {
        for peer in &mut self.world.peers {
            peer.caused.edit = true;
        }
        self.world.hint(&mut self.chance, &path(at), true);
    }

    fn content(&self, at: &str) -> Vec<u8> {
        let id = self.world.folder.find(&path(at)).unwrap();
        self.world.folder.bytes(id).unwrap().to_vec()
    }

    fn find(&mut self, at: &str) -> Option<Ino> {
        let mut ino = Ino::ROOT;
        for part in path(at) {
            let name = part.as_bytes().to_vec();
            let parent = ino;
            match self
                .world
                .ask(ADA, FsCall::Lookup { parent, name })
                .unwrap()
            {
                Ok((FsReply::Entry(shown), _)) => ino = shown.ino,
                _ => return None,
            }
        }
        Some(ino)
    }

    fn size(&mut self, at: &str) -> usize {
        let ino = self.find(at).unwrap();
        match self.world.ask(ADA, FsCall::GetAttr { ino }).unwrap() {
            Ok((FsReply::Attr(shown), _)) => usize::try_from(shown.size).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, at: &str) -> Fh {
        let ino = self.find(at).unwrap();
        let write = false;
        match self.world.ask(ADA, FsCall::Open { ino, write }).unwrap() {
            Ok((FsReply::Opened { fh, .. }, _)) => fh,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, fh: Fh, offset: usize, len: usize) -> Result<Vec<u8>, FsError> {
        let (offset, len) = (offset as u64, u32::try_from(len).unwrap());
        let answer = self.world.ask(ADA, FsCall::Read { fh, offset, len });
        answer.unwrap().map(|(_, bytes)| bytes)
    }

    fn kill(&mut self, p: usize) {
        self.world.drop_engine(p, false);
        self.world.run_for(SEC).unwrap();
        self.world.restart(p).unwrap();
        self.settle();
    }

    /// Chunks that ada asked for, over all her lives.
    fn fetched(&self) -> u64 {
        self.world.peers[ADA].resume.fetches()
    }

    /// Chunks that ada holds.
    fn stored(&self) -> usize {
        self.world.peers[ADA].resume.held()
    }
}

fn path(text: &str) -> Path {
    text.split('/').map(name).collect()
}
