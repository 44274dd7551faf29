//! A hostile peer at a live engine.
//!
//! Law (P6): it says what it likes, when it likes; the engine does not panic, asks no more of its
//! shell than the bounds allow, can be restored from what it stored, and comes to its end. A host
//! loses nothing by it: an honest joiner sees the folder as it lies there, what changes afterwards
//! too.

use tandem_core::event::{Event, Fetched, FsCall, Hint, LinkDown};
use tandem_core::ids::{ChunkHash, Fh, Ino, LinkId};
use tandem_core::message::Role;

use crate::disk::{Folder, Thing, name_of};
use crate::folk::{self, HOST, HOSTILE, Pair};
use crate::noise::Noise;
use crate::shell::Shell;
use crate::words::{self, Mouth, NAMES};

/// What a hostile peer may do in one input, by eye: more finds little more, and takes its time.
const DEEDS_MAX: usize = 256;

/// Has a hostile peer, made of the bytes, at a host or (as the host) at a joiner.
///
/// # Panics
///
/// When a law does not hold.
pub fn hostile_peer(bytes: &[u8]) {
    let mut noise = Noise(bytes);
    match noise.byte() % 3 {
        0 => at_host(&mut noise, false),
        1 => at_host(&mut noise, true),
        _ => at_joiner(&mut noise),
    }
}

/// At a host, with an honest joiner that came before or comes after.
fn at_host(noise: &mut Noise<'_>, honest_first: bool) {
    let mut pair = Pair::new();
    pair.host.work_all();
    if honest_first {
        pair.check();
    }
    let mut mouth = mouth(HOSTILE, &pair.host);
    for _ in 0..DEEDS_MAX {
        if noise.is_over() {
            break;
        }
        deed(&mut pair.host, &mut mouth, noise);
        if honest_first && noise.one_in(8) {
            pair.talk();
        }
    }
    pair.host.folder.put(&[b"a"], Thing::File(vec![b'A'; 1100]));
    pair.host
        .folder
        .put(&[b"new"], Thing::File(b"new".to_vec()));
    for name in [&b"a"[..], b"new"] {
        let path = vec![name_of(name)];
        let settled = true;
        pair.host.tell(Event::Hint(Hint::Path { path, settled }));
    }
    pair.host.work_all();
    pair.check();
    pair.host.restart();
    pair.host.stop();
    pair.joiner.stop();
}

/// At a joiner, as its host.
fn at_joiner(noise: &mut Noise<'_>) {
    let mut joiner = Shell::new(folk::joiner(), Folder::default());
    let mut mouth = mouth(HOST, &joiner);
    for _ in 0..DEEDS_MAX {
        if noise.is_over() {
            break;
        }
        match noise.byte() % 4 {
            0 => user(&mut joiner, noise),
            1 => chunk(&mut joiner, noise),
            _ => deed(&mut joiner, &mut mouth, noise),
        }
    }
    joiner.work_all();
    let _ = joiner.engine.status(joiner.now);
    joiner.restart();
    joiner.work_all();
    joiner.stop();
}

fn mouth(peer: tandem_core::ids::PeerId, at: &Shell) -> Mouth {
    Mouth {
        peer,
        actors: vec![at.engine.status(at.now).actor],
        heard: Vec::new(),
    }
}

/// Does one thing that a peer, its network or the machine can do.
fn deed(at: &mut Shell, mouth: &mut Mouth, noise: &mut Noise<'_>) {
    let of_peer = |link: &LinkId, at: &Shell| {
        let line = at.lines.get(link);
        line.is_some_and(|line| line.peer == Some(mouth.peer))
    };
    let links: Vec<LinkId> = at.lines.keys().copied().collect();
    let links: Vec<LinkId> = links.into_iter().filter(|link| of_peer(link, at)).collect();
    for link in &links {
        if let Some(line) = at.lines.get_mut(link) {
            for message in line.said.drain(..) {
                mouth.hear(&message);
            }
            if line.is_closed {
                at.lines.remove(link);
            }
        }
    }
    let link = words::link(noise, &links);
    match (noise.byte() % 16, link) {
        (0, _) | (_, None) => arrive(at, mouth, noise, &links),
        (1, Some(link)) => at.hear(link, mouth.good_hello(role_of(mouth))),
        (2, Some(link)) => {
            let why = [
                LinkDown::Lost,
                LinkDown::Garbled,
                LinkDown::Unreachable,
                LinkDown::WrongKey,
            ];
            at.cut(link, noise.pick(&why).unwrap_or(LinkDown::Lost));
        }
        (3 | 4, Some(link)) => {
            let want = mouth.want(noise);
            let len = want.have.map_or(512, |have| have.len);
            at.ask(link, want, len);
        }
        (5, _) => {
            at.wait();
        }
        (6, _) => {
            at.work();
        }
        (7, _) => {
            at.commit();
        }
        (8, _) => {
            at.work_all();
        }
        (9, _) if noise.one_in(8) => at.restart(),
        (_, Some(link)) => match mouth.message(noise) {
            Some(message) => at.hear(link, message),
            None => at.cut(link, LinkDown::Garbled),
        },
    }
}

fn role_of(mouth: &Mouth) -> Role {
    if mouth.peer == HOST {
        Role::Full
    } else {
        Role::Sparse
    }
}

/// Connects to a host, or answers a joiner that dials; mostly with a hello.
fn arrive(at: &mut Shell, mouth: &Mouth, noise: &mut Noise<'_>, links: &[LinkId]) {
    let link = if mouth.peer == HOST {
        let waits = |link: &&LinkId| at.lines.get(link).is_some_and(|line| !line.is_up);
        let Some(link) = links.iter().find(waits).copied() else {
            at.wait();
            return;
        };
        at.connect(link);
        link
    } else {
        at.accept(mouth.peer)
    };
    if !noise.one_in(4) {
        at.hear(link, mouth.good_hello(role_of(mouth)));
    }
}

/// Answers a fetch of a joiner.
fn chunk(at: &mut Shell, noise: &mut Noise<'_>) {
    let fetches: Vec<_> = at.fetches.keys().copied().collect();
    let Some(fetch) = noise.pick(&fetches) else {
        return;
    };
    let Some((_, want, len)) = at.fetches.remove(&fetch) else {
        return;
    };
    let good = ChunkHash::of(&want.chunk.0.to_le_bytes());
    let other = ChunkHash(noise.byte().into());
    let mut data = |len, computed, recorded| Fetched::Data {
        payload: at.park((len, computed)),
        len,
        computed,
        recorded,
    };
    let outcome = match noise.byte() % 11 {
        0 => Fetched::Gone,
        1 => Fetched::NotHeld,
        2 => Fetched::Failed,
        8 => Fetched::Same,
        9 => Fetched::Hole { zeros: good },
        10 => Fetched::Tail {
            payload: at.park((len, other)),
            len: u32::from(noise.byte()),
            recorded: good,
        },
        3 => data(len, good, other),
        4 => data(u32::from(noise.byte()), good, good),
        5 => data(len, other, other),
        _ => data(len, good, good),
    };
    at.tell(Event::Fetched { fetch, outcome });
}

/// Does one thing that a user of a mount, or of `get`, can do.
fn user(at: &mut Shell, noise: &mut Noise<'_>) {
    let parent = at.inode(noise);
    let name = NAMES[noise.index(NAMES.len())];
    match noise.byte() % 8 {
        0 => {
            let mut path = vec![name_of(name)];
            if noise.one_in(3) {
                path.push(name_of(NAMES[noise.index(NAMES.len())]));
            }
            at.want(path);
        }
        1 | 2 => {
            let name = name.to_vec();
            at.call(FsCall::Lookup { parent, name });
        }
        3 => {
            let write = noise.one_in(8);
            at.call(FsCall::Open { ino: parent, write });
        }
        4 => {
            let fh = at.handle(noise);
            let offset = u64::from(noise.byte()) * 128;
            let len = u32::from(noise.byte()) * 16;
            at.call(FsCall::Read { fh, offset, len });
        }
        5 => {
            let fh = at.handle(noise);
            at.call(FsCall::Release { fh });
        }
        6 => {
            at.call(FsCall::OpenDir { ino: parent });
        }
        _ => {
            let fh = at.handle(noise);
            let (from, count) = (u64::from(noise.byte() % 8), 4);
            let plus = noise.one_in(2);
            at.call(FsCall::ReadDir {
                fh,
                from,
                count,
                plus,
            });
        }
    }
}

impl Shell {
    /// Returns an inode that the mount has shown, or the root.
    fn inode(&self, noise: &mut Noise<'_>) -> Ino {
        use tandem_core::action::FsReply;
        let shown = self.replies.values().filter_map(|reply| match reply {
            Ok(FsReply::Entry(shown)) => Some(shown.ino),
            Ok(_) | Err(_) => None,
        });
        let shown: Vec<Ino> = std::iter::once(Ino::ROOT).chain(shown).collect();
        noise.pick(&shown).unwrap_or(Ino::ROOT)
    }

    /// Returns a handle that the mount has given, or one that it has not.
    fn handle(&self, noise: &mut Noise<'_>) -> Fh {
        use tandem_core::action::FsReply;
        let given = self.replies.values().filter_map(|reply| match reply {
            Ok(FsReply::Opened { fh, .. } | FsReply::OpenedDir { fh }) => Some(*fh),
            Ok(_) | Err(_) => None,
        });
        let given: Vec<Fh> = given.collect();
        noise.pick(&given).unwrap_or(Fh(99))
    }
}
