//! Garbage: ids that were never given, ends of jobs that never began or ended before, in the
//! middle of a live session. Nothing panics, and bytes are used up once.

use proptest::prelude::*;
use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Event, Fetched, Fingerprint, FsCall, Hint, LinkDown, Nature};
use tandem_core::ids::{
    ActorId, Arrival, AskId, ChunkHash, ChunkIx, CommitId, Dot, FetchId, Fh, Ino, JobId, LinkId,
    NodeId, ObjectId, PayloadId, PeerId, ReqId,
};
use tandem_core::message::{Batch, Message, Refusal, Role, Want};
use tandem_core::time::WallTime;
use tandem_core::trash::Found;
use tandem_core::version::VersionVector;

use super::hello;
use super::lives::{Deed, FILES, Life, deed, who};
use crate::stage::{Stage, path};

#[derive(Clone, Debug)]
enum Garbage {
    Tick,
    Call(u8, u64, u64),
    Dialled(u64),
    Accepted(u8),
    Said(u64, u8, u64),
    LinkDown(u64),
    Fetched(u64, u8),
    Asked(u64, u32),
    Disk(u64, u8),
    Unreadable(u64, u32),
    Committed(u64, bool),
    Hint(u8),
    Stop,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let id = || 0..24u64;
    prop_oneof![
        1 => Just(Garbage::Tick),
        4 => (any::<u8>(), 0..6u64, any::<u64>()).prop_map(|(call, id, at)| Garbage::Call(call, id, at)),
        1 => id().prop_map(Garbage::Dialled),
        1 => (1..5u8).prop_map(Garbage::Accepted),
        4 => (id(), any::<u8>(), id()).prop_map(|(link, what, upto)| Garbage::Said(link, what, upto)),
        1 => id().prop_map(Garbage::LinkDown),
        4 => (0..6u64, any::<u8>()).prop_map(|(fetch, what)| Garbage::Fetched(fetch, what)),
        3 => (id(), any::<u32>()).prop_map(|(link, chunk)| Garbage::Asked(link, chunk)),
        6 => (0..12u64, any::<u8>()).prop_map(|(job, what)| Garbage::Disk(job, what)),
        2 => (any::<u64>(), any::<u32>()).prop_map(|(at, len)| Garbage::Unreadable(at, len)),
        3 => (0..12u64, any::<bool>()).prop_map(|(commit, holds)| Garbage::Committed(commit, holds)),
        1 => any::<u8>().prop_map(Garbage::Hint),
        1 => Just(Garbage::Stop),
    ]
}

/// Parks bytes in a side's shell, as a real event would have.
fn park(stage: &mut Stage, name: &str) -> PayloadId {
    let payload = PayloadId(stage.draw());
    stage.side(name).payloads.insert(payload, vec![1; 512]);
    payload
}

fn throw(stage: &mut Stage, name: &str, garbage: &Garbage) {
    let parent = Ino::ROOT;
    let print = Fingerprint {
        ino: 12,
        born_ns: 0,
        size: 1_600,
        mtime: WallTime::default(),
        ctime: WallTime::default(),
    };
    let wall = WallTime::default();
    let event = match *garbage {
        Garbage::Tick => Event::Tick,
        Garbage::Call(call, id, at) => {
            let (ino, fh) = (Ino(id), Fh(id));
            let call = match call % 10 {
                0 => FsCall::Lookup {
                    parent,
                    name: vec![call; usize::from(call)],
                },
                1 => FsCall::Forget { ino, lookups: at },
                2 => FsCall::GetAttr { ino },
                3 => FsCall::ReadLink { ino },
                4 => FsCall::Open { ino, write: false },
                5 | 6 => FsCall::Read {
                    fh,
                    offset: at % 2_000,
                    len: u32::MAX,
                },
                7 => FsCall::Release { fh },
                8 => FsCall::OpenDir { ino },
                _ => FsCall::ReadDir {
                    fh,
                    from: at,
                    count: 9,
                    plus: true,
                },
            };
            let req = ReqId(stage.draw());
            Event::Fs { req, call }
        }
        Garbage::Dialled(link) => Event::Dialled { link: LinkId(link) },
        Garbage::Accepted(key) => Event::Accepted {
            // Odd numbers are the shell's; it draws no number twice.
            link: LinkId(stage.draw() * 2 + 1),
            peer: PeerId([key; 32]),
        },
        Garbage::Said(link, what, upto) => {
            let upto = Arrival(upto);
            let message = match what % 6 {
                0 => hello(Role::Sparse, u64::from(what), VersionVector::new()),
                1 => Message::Refused(Refusal::Broken),
                2 => Message::Registers(Batch {
                    upto,
                    registers: Vec::new(),
                    knowledge: None,
                }),
                3 => Message::Ack(upto),
                4 => Message::Ping,
                _ => Message::Bye,
            };
            Event::Said {
                link: LinkId(link),
                message,
            }
        }
        Garbage::LinkDown(link) => Event::LinkDown {
            link: LinkId(link),
            why: LinkDown::Garbled,
        },
        Garbage::Fetched(fetch, what) => Event::Fetched {
            fetch: FetchId(fetch),
            outcome: match what % 9 {
                0 => Fetched::Gone,
                1 => Fetched::NotHeld,
                2 => Fetched::Failed,
                3 => Fetched::Same,
                4 => Fetched::Hole {
                    zeros: ChunkHash::of(&[0; 512]),
                },
                5 => Fetched::Tail {
                    payload: park(stage, name),
                    len: 512,
                    recorded: ChunkHash(u128::from(what)),
                },
                _ => Fetched::Data {
                    payload: park(stage, name),
                    len: 512,
                    computed: ChunkHash::of(&[1; 512]),
                    recorded: ChunkHash(u128::from(what)),
                },
            },
        },
        Garbage::Asked(link, chunk) => {
            let some = Dot {
                actor: ActorId(1),
                counter: 1,
            };
            let object = ObjectId {
                node: NodeId(some),
                version: some,
            };
            Event::Asked {
                link: LinkId(link),
                ask: AskId(stage.draw()),
                want: Want {
                    object,
                    chunk: ChunkIx(chunk),
                    have: None,
                },
                len: chunk,
            }
        }
        Garbage::Disk(job, what) => Event::Disk {
            job: JobId(job),
            outcome: match what % 8 {
                0 => Ok(DiskDone::Done),
                1 => Ok(DiskDone::Listed {
                    this: print,
                    items: Vec::new(),
                    complete: true,
                    wall,
                }),
                2 => Ok(DiskDone::Looked {
                    sighting: None,
                    wall,
                }),
                3 => Ok(DiskDone::Chunk {
                    payload: park(stage, name),
                    len: 512,
                    hash: ChunkHash::of(&[1; 512]),
                    before: print,
                    after: print,
                    nature: Nature::default(),
                }),
                4 => Ok(DiskDone::Hashed {
                    len: 512,
                    hash: ChunkHash(1),
                }),
                5 => Ok(DiskDone::Loaded {
                    sidecar: Some(vec![what; 200]),
                    partial: Some(1_600),
                    complete: None,
                }),
                6 => Ok(DiskDone::Trash {
                    found: vec![Found {
                        print,
                        name: None,
                        since: wall,
                    }],
                    wall,
                }),
                _ => Err(DiskError::Io),
            },
        },
        Garbage::Unreadable(at, len) => {
            let Some(object) = stage.side(name).objects.newest() else {
                return;
            };
            Event::Unreadable {
                object,
                offset: at % 2_000,
                len,
            }
        }
        Garbage::Committed(commit, holds) => Event::Committed {
            commit: CommitId(commit),
            outcome: if holds {
                Ok(())
            } else {
                Err(DiskError::NoSpace)
            },
        },
        Garbage::Hint(what) => Event::Hint(Hint::Subtree {
            path: path(FILES[usize::from(what) % 3]),
        }),
        Garbage::Stop => Event::Stop,
    };
    stage.event(name, event);
}

proptest! {
    #[test]
    fn no_event_makes_it_panic_and_bytes_are_used_up_once(
        mix in prop::collection::vec((any::<bool>(), garbage(), prop::option::of(deed())), 1..60),
    ) {
        let mut life = Life::new();
        for (is_host, garbage, deed) in &mix {
            if let Some(Deed::Hold(..) | Deed::Release(..) | Deed::Cut | Deed::Wait(_)) = deed {
                life.deed(deed.as_ref().unwrap());
            }
            throw(&mut life.stage, who(*is_host), garbage);
        }
        life.rest();
        for name in ["ada", "bo"] {
            let links = life.stage.links(name);
            for link in links {
                let why = LinkDown::Lost;
                life.stage.event(name, Event::LinkDown { link, why });
            }
            life.stage.event(name, Event::Stop);
        }
        life.rest();
        for name in ["ada", "bo"] {
            let kept = life.stage.side(name).payloads.len();
            prop_assert_eq!(kept, 0, "{} keeps bytes for nothing", name);
        }
    }
}
