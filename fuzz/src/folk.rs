//! The folk of a small folder: a host, an honest joiner, and whoever is hostile.
//!
//! Law: host and honest joiner talk as two shells would, and what a joiner sees in the end is what
//! lies in the host's folder.

use std::collections::BTreeMap;

use tandem_core::action::{FsReply, WantState};
use tandem_core::engine::{Config, Host, Invite};
use tandem_core::event::{Event, Fetched, FsCall, LinkDown};
use tandem_core::ids::{AskId, FetchId, Ino, LinkId, PeerId};
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Role, Secret};
use tandem_core::tree::name::Name;

use crate::disk::{Folder, Thing};
use crate::shell::{Shell, Told};

/// Who shares.
pub(crate) const HOST: PeerId = PeerId([1; 32]);
/// Who has joined and means well.
pub(crate) const HONEST: PeerId = PeerId([2; 32]);
/// Who was let in and should not have been.
pub(crate) const HOSTILE: PeerId = PeerId([3; 32]);

/// The host's folder.
pub(crate) const FOLDER: FolderId = FolderId([7; 16]);

/// The size of chunks, in bytes: the smallest, so that small files have some.
pub(crate) const CHUNK: u32 = 512;

/// Deadlines that may pass before an honest joiner has all: more than a greeting, a backoff and a
/// link that stands in its way take together, at a heartbeat each; by eye.
const PATIENCE: usize = 400;

/// Returns the secret that a peer was given.
pub(crate) fn secret_of(peer: PeerId) -> Secret {
    Secret(peer.0)
}

/// Returns the configuration of the one who shares.
pub(crate) fn host() -> Config {
    let invite = |id, peer| Invite {
        id,
        secret: secret_of(peer),
    };
    Config {
        folder: Some(FOLDER),
        invites: vec![invite(1, HONEST), invite(2, HOSTILE)],
        chunk_size: CHUNK,
        ..Config::new(HOST, Label::lossy("host"), Role::Full)
    }
}

/// Returns the configuration of one who joins.
pub(crate) fn joiner() -> Config {
    let host = Host {
        peer: HOST,
        secret: Some(secret_of(HONEST)),
    };
    Config {
        host: Some(host),
        chunk_size: CHUNK,
        ..Config::new(HONEST, Label::lossy("joiner"), Role::Sparse)
    }
}

/// A host and an honest joiner, and the wire between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub host: Shell,
    pub joiner: Shell,
    /// The joiner's end of each link, and the host's.
    links: BTreeMap<LinkId, LinkId>,
    asks: BTreeMap<AskId, FetchId>,
}

impl Pair {
    /// Returns a pair of which neither has heard of the other.
    pub(crate) fn new() -> Self {
        Self::with(Shell::new(host(), Folder::small()))
    }

    /// Returns a pair of this host and a joiner that has never heard of it.
    pub(crate) fn with(host: Shell) -> Self {
        let mut joiner = Shell::new(joiner(), Folder::default());
        joiner.wait_until(host.now);
        Self {
            host,
            joiner,
            links: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }

    /// Lets both do and say all that they want to.
    pub(crate) fn talk(&mut self) {
        while self.step() {}
    }

    fn step(&mut self) -> bool {
        let mut any = self.host.work_all() | self.joiner.work_all();
        let dialled = |(link, line): (&LinkId, &crate::shell::Line)| {
            (!line.is_up && !line.is_closed).then_some(*link)
        };
        let dialled: Vec<LinkId> = self.joiner.lines.iter().filter_map(dialled).collect();
        for link in dialled {
            let theirs = self.host.accept(HONEST);
            self.links.insert(link, theirs);
            self.joiner.connect(link);
            any = true;
        }
        for (ours, theirs) in self.links.clone() {
            any |= carry(&mut self.joiner, ours, &mut self.host, theirs);
            any |= carry(&mut self.host, theirs, &mut self.joiner, ours);
            if !self.joiner.lines.contains_key(&ours) {
                self.links.remove(&ours);
            }
        }
        for (fetch, (link, want, len)) in self.joiner.fetches.clone() {
            let is_asked = self.asks.values().any(|asked| *asked == fetch);
            if let (false, Some(theirs)) = (is_asked, self.links.get(&link)) {
                let Some(ask) = self.host.ask(*theirs, want, len) else {
                    continue;
                };
                self.asks.insert(ask, fetch);
                any = true;
            }
        }
        for (ask, told) in std::mem::take(&mut self.host.answers) {
            let Some(fetch) = self.asks.remove(&ask) else {
                continue;
            };
            any = true;
            if self.joiner.fetches.remove(&fetch).is_some() {
                let outcome = match told {
                    Told::Data(parked, recorded) => Fetched::Data {
                        payload: self.joiner.park(parked),
                        len: parked.0,
                        computed: parked.1,
                        recorded,
                    },
                    Told::Same => Fetched::Same,
                    Told::Gone => Fetched::Gone,
                };
                self.joiner.tell(Event::Fetched { fetch, outcome });
            }
        }
        any
    }

    /// Lets time pass for both, up to the next deadline of either.
    pub(crate) fn wait(&mut self) {
        let deadlines = [
            self.host.engine.poll_timeout(),
            self.joiner.engine.poll_timeout(),
        ];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            self.host.wait_until(at);
            self.joiner.wait_until(at);
        }
    }

    /// Checks that the joiner comes to see the host's folder, all of it and nothing else, and that
    /// it can have a file of it.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub(crate) fn check(&mut self) {
        let (path, size) = self.largest();
        for _ in 0..PATIENCE {
            self.talk();
            if self.sees_all() {
                break;
            }
            self.wait();
        }
        assert!(self.sees_all(), "an honest peer sees the whole folder");
        let wanted = self.joiner.want(path);
        for _ in 0..PATIENCE {
            self.talk();
            if let Some(state) = self.joiner.ended.get(&wanted) {
                assert!(
                    matches!(state, WantState::Done { size: had, .. } if *had == size),
                    "an honest peer has the file: {state:?}"
                );
                return;
            }
            self.wait();
        }
        panic!("an honest peer waits for a file for ever");
    }

    fn largest(&self) -> (Vec<Name>, u64) {
        let size = |thing: &Thing| match thing {
            Thing::File(bytes) => bytes.len() as u64,
            Thing::Dir | Thing::Link(_) => 0,
        };
        let things = self.host.folder.things();
        let sizes = things.map(|(path, thing)| (path.to_vec(), size(thing)));
        sizes
            .max_by_key(|(_, size)| *size)
            .expect("the folder has files")
    }

    /// Tells whether the joiner shows what lies in the host's folder.
    fn sees_all(&mut self) -> bool {
        let size = |thing: &Thing| match thing {
            Thing::File(bytes) => Some(bytes.len() as u64),
            Thing::Link(target) => Some(target.as_bytes().len() as u64),
            Thing::Dir => None,
        };
        let things = self.host.folder.things();
        let things: Vec<_> = things.map(|(path, it)| (path.to_vec(), size(it))).collect();
        let status = self.joiner.engine.status(self.joiner.now);
        status.nodes == things.len() as u64
            && things.iter().all(|(path, size)| {
                let found = self.joiner.find(path);
                found.is_some() && (size.is_none() || found == *size)
            })
    }
}

impl Shell {
    /// Returns the size of what stands at a path of the mount, if anything does.
    fn find(&mut self, path: &[Name]) -> Option<u64> {
        let mut found = (Ino::ROOT, 0);
        for name in path {
            let req = self.call(FsCall::Lookup {
                parent: found.0,
                name: name.as_bytes().to_vec(),
            });
            let Some(Ok(FsReply::Entry(shown))) = self.replies.remove(&req) else {
                return None;
            };
            found = (shown.ino, shown.size);
        }
        Some(found.1)
    }
}

/// Carries what was said at one end to the other, and the end of the link too.
fn carry(from: &mut Shell, out: LinkId, to: &mut Shell, into: LinkId) -> bool {
    let Some(line) = from.lines.get_mut(&out) else {
        return false;
    };
    let said = std::mem::take(&mut line.said);
    let is_closed = line.is_closed;
    let any = !said.is_empty() || is_closed;
    for message in said {
        to.hear(into, message);
    }
    if is_closed {
        to.cut(into, LinkDown::Lost);
        from.lines.remove(&out);
        to.lines.remove(&into);
    }
    any
}
