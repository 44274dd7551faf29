//! Lives of ada and bo: whatever happens, they end alike, and a second time in the same way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tandem_core::action::FsReply;
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::event::Event;
use tandem_core::ids::ReqId;
use tandem_core::time::Duration;

use crate::stage::{Held, Stage, path, photo};

#[derive(Clone, Debug)]
pub(super) enum Deed {
    Write(u8, u16),
    Replace(u8, u16),
    Rename(u8, u8),
    Remove(u8),
    Mode(u8, u16),
    Read(u8, u16, u16),
    Get(u8),
    Spoil,
    NoSpace,
    FullStore(bool),
    Cut,
    Hold(bool, u8),
    Release(bool, u8),
    Restart(bool, u8),
    Wait(u16),
}

pub(super) fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..3u8, 0..3_000u16).prop_map(|(file, len)| Deed::Write(file, len)),
        1 => (0..3u8, 1..3_000u16).prop_map(|(file, len)| Deed::Replace(file, len)),
        1 => (0..3u8, 0..3u8).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => (0..3u8).prop_map(Deed::Remove),
        1 => (0..3u8, 0..0o777u16).prop_map(|(file, mode)| Deed::Mode(file, mode)),
        6 => (0..3u8, 0..3_000u16, 1..1_500u16).prop_map(|(file, at, len)| Deed::Read(file, at, len)),
        1 => (0..3u8).prop_map(Deed::Get),
        1 => Just(Deed::Spoil),
        1 => Just(Deed::NoSpace),
        1 => any::<bool>().prop_map(Deed::FullStore),
        2 => Just(Deed::Cut),
        2 => (any::<bool>(), 0..4u8).prop_map(|(who, what)| Deed::Hold(who, what)),
        3 => (any::<bool>(), 0..4u8).prop_map(|(who, what)| Deed::Release(who, what)),
        1 => (any::<bool>(), 0..3u8).prop_map(|(who, last)| Deed::Restart(who, last)),
        4 => (0..9_000u16).prop_map(Deed::Wait),
    ]
}

pub(super) const FILES: [&str; 3] = ["photo", "letter", "song"];

pub(super) fn who(is_host: bool) -> &'static str {
    if is_host { "ada" } else { "bo" }
}

fn held(what: u8) -> Held {
    [Held::Disk, Held::Commits, Held::Chunks, Held::Messages][usize::from(what % 4)]
}

/// Two peers, and what ada's files have held: a read may bring bytes of any version, of one at
/// a time within a chunk.
pub(super) struct Life {
    pub(super) stage: Stage,
    contents: BTreeMap<String, Vec<u8>>,
    writes: u8,
    reads: Vec<ReqId>,
}

impl Life {
    pub(super) fn new() -> Self {
        let contents = BTreeMap::from([("photo".to_owned(), photo())]);
        Self {
            stage: Stage::met(),
            contents,
            writes: 0,
            reads: Vec::new(),
        }
    }

    fn bytes(&mut self, len: u16) -> Vec<u8> {
        self.writes = self.writes.wrapping_add(1);
        vec![self.writes; usize::from(len)]
    }

    pub(super) fn deed(&mut self, deed: &Deed) {
        let stage = &mut self.stage;
        let is_there = |file: u8| self.contents.contains_key(FILES[usize::from(file)]);
        match *deed {
            Deed::Write(file, len) => {
                let (name, bytes) = (FILES[usize::from(file)], self.bytes(len));
                self.stage.side("ada").files.write(name, &bytes);
                self.contents.insert(name.to_owned(), bytes);
                self.stage.hint(name);
            }
            Deed::Replace(file, len) => {
                let (name, bytes) = (FILES[usize::from(file)], self.bytes(len));
                self.stage.side("ada").files.replace(name, &bytes);
                self.contents.insert(name.to_owned(), bytes);
                self.stage.hint(name);
            }
            Deed::Rename(from, to) if is_there(from) && from != to => {
                let (from, to) = (FILES[usize::from(from)], FILES[usize::from(to)]);
                stage.side("ada").files.rename(from, to);
                let bytes = self.contents.remove(from).unwrap();
                self.contents.insert(to.to_owned(), bytes);
                self.stage.hint(from);
                self.stage.hint(to);
            }
            Deed::Remove(file) if is_there(file) => {
                let name = FILES[usize::from(file)];
                stage.side("ada").files.remove(name);
                self.contents.remove(name);
                self.stage.hint(name);
            }
            Deed::Mode(file, mode) if is_there(file) => {
                let name = FILES[usize::from(file)];
                stage.side("ada").files.chmod(name, mode);
                stage.hint(name);
            }
            Deed::Rename(..) | Deed::Remove(_) | Deed::Mode(..) => {}
            Deed::Read(file, at, len) => {
                let name = FILES[usize::from(file)];
                if stage.shown("bo").contains(&format!("/{name}")) {
                    let fh = stage.open("bo", name);
                    let read = stage.read("bo", fh, u64::from(at), u32::from(len));
                    self.reads.push(read);
                    self.check(read);
                }
            }
            Deed::Get(file) => {
                let req = ReqId(stage.draw());
                let path = path(FILES[usize::from(file)]);
                stage.event("bo", Event::Want { req, path });
            }
            Deed::Spoil => stage.side("bo").spoil = 1,
            Deed::NoSpace => {
                stage.side("bo").failing = Some((|_| true, DiskError::NoSpace));
            }
            Deed::FullStore(is_host) => stage.side(who(is_host)).full = 1,
            Deed::Cut => stage.cut(),
            Deed::Hold(is_host, what) => stage.hold(who(is_host), held(what)),
            Deed::Release(is_host, what) => stage.release(who(is_host), held(what)),
            Deed::Restart(is_host, last) => {
                let name = who(is_host);
                match last {
                    0 => {
                        stage.power_loss(name);
                        stage.start(name, Last::Lost);
                    }
                    _ => {
                        stage.kill(name);
                        stage.start(name, Last::Killed);
                    }
                }
                if !is_host {
                    self.reads.clear();
                }
            }
            Deed::Wait(ms) => stage.wait(Duration::from_millis(u64::from(ms))),
        }
    }

    /// Bytes of one version have one value, but for the photo's first.
    fn check(&mut self, read: ReqId) {
        if let Some(Ok(FsReply::Data(_))) = self.stage.answer("bo", read) {
            let bytes = self.stage.bytes("bo", read);
            let is_of = |part: &[u8]| {
                let whole = photo();
                part.iter().all(|byte| *byte == part[0] && *byte != 0)
                    || whole.windows(part.len()).any(|window| window == part)
            };
            assert!(is_of(&bytes), "P1: {bytes:?}");
        }
    }

    /// Faults stop; everything settles.
    pub(super) fn rest(&mut self) {
        for name in ["ada", "bo"] {
            self.stage.side(name).failing = None;
            self.stage.side(name).full = 0;
            self.stage.side(name).spoil = 0;
            for what in 0..4 {
                self.stage.release(name, held(what));
            }
        }
        for _ in 0..4 {
            self.stage.wait(Duration::from_secs(40));
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_both_sides_end_alike_and_twice_in_the_same_way(
        deeds in prop::collection::vec(deed(), 1..50),
    ) {
        let run = || {
            let mut life = Life::new();
            for deed in &deeds {
                life.deed(deed);
            }
            life.rest();
            life
        };
        let mut life = run();
        prop_assert_eq!(life.stage.trace(), run().stage.trace(), "P8");

        for read in life.reads.clone() {
            prop_assert!(life.stage.answer("bo", read).is_some(), "P9: {read} was not answered");
        }
        let shown: BTreeSet<_> = life.contents.keys().map(|name| format!("/{name}")).collect();
        prop_assert_eq!(life.stage.shown("ada"), shown.clone());
        prop_assert_eq!(life.stage.shown("bo"), shown, "P4");
        for (name, bytes) in life.contents.clone() {
            let fh = life.stage.open("bo", &name);
            let read = life.stage.read("bo", fh, 0, 10_000);
            life.stage.wait(Duration::from_secs(20));
            if bytes.is_empty() {
                let eof = FsReply::Eof;
                prop_assert_eq!(life.stage.answer("bo", read), Some(Ok(eof)));
            } else {
                prop_assert_eq!(life.stage.bytes("bo", read), bytes);
            }
        }
        for name in ["ada", "bo"] {
            prop_assert!(life.stage.side(name).payloads.is_empty(), "{name} keeps bytes for nothing");
            life.stage.event(name, Event::Stop);
            life.stage.wait(Duration::from_secs(1));
            prop_assert!(life.stage.side(name).stopped, "{name} does not stop");
        }
    }
}
