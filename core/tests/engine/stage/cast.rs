//! One side: an engine, its store, its disk, the bytes parked in its shell, and what it was
//! answered.

use std::collections::BTreeMap;

use tandem_core::action::{Action, Besides, DiskWish, FsReply, Record, WantState};
use tandem_core::conflicts::{Settled, Unsettled};
use tandem_core::draft_wish::DraftWish;
use tandem_core::engine::{Config, Engine, Host, Invite, Last, Start};
use tandem_core::error::{DiskError, Fault, FsError};
use tandem_core::event::{DiskDone, Fingerprint, Nature};
use tandem_core::ids::{Arrival, ChunkHash, LinkId, PayloadId, PeerId, ReqId};
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Role, Secret};
use tandem_core::peers::{Removed, Unremoved};
use tandem_core::place_wish::PlaceWish;
use tandem_core::time::{Duration, Time};
use tandem_core::trash::{Restored, Unrestored};
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Register;

use super::Failing;
use super::folder::Files;
use super::objects::Objects;

/// The size of ada's chunks in bytes: the smallest there is.
pub(crate) const CHUNK: u32 = 512;

/// The secret in ada's ticket.
pub(crate) const TICKET: Secret = Secret([7; 32]);

/// Returns a file of three chunks and a bit.
pub(crate) fn photo() -> Vec<u8> {
    (0..1_600_u32).map(|at| (at / 7 % 251) as u8).collect()
}

/// Returns the names of a path.
pub(crate) fn path(text: &str) -> Vec<Name> {
    let parse = |part: &str| Name::parse(part.as_bytes()).unwrap();
    text.split('/')
        .filter(|part| !part.is_empty())
        .map(parse)
        .collect()
}

/// One peer and the machine that it runs on.
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) seed: u64,
    pub(crate) engine: Option<Engine>,
    /// The metadata store, and what of it survives power loss.
    pub(crate) store: BTreeMap<Vec<u8>, Vec<u8>>,
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) files: Files,
    pub(crate) objects: Objects,
    pub(crate) payloads: BTreeMap<PayloadId, Vec<u8>>,
    /// The next disk job that it picks fails.
    pub(crate) failing: Option<Failing>,
    /// The next disk job that it picks is done, and fails all the same.
    pub(crate) done_in_vain: Option<Failing>,
    /// So many commits fail.
    pub(crate) full: u32,
    /// So many chunks reach it spoilt.
    pub(crate) spoil: u32,
    pub(crate) replies: BTreeMap<ReqId, Result<FsReply, FsError>>,
    pub(crate) wanted: Vec<(ReqId, WantState)>,
    pub(crate) settled: BTreeMap<ReqId, Result<Settled, Unsettled>>,
    pub(crate) removed: BTreeMap<ReqId, Result<Removed, Unremoved>>,
    pub(crate) restored: BTreeMap<ReqId, Result<Restored, Unrestored>>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) closed: Vec<LinkId>,
    pub(crate) stopped: bool,
    /// Commits that survive power loss, and syncs of the folder, so far.
    pub(crate) syncs: u32,
}

impl Side {
    fn new(config: Config, seed: u64) -> Self {
        Self {
            name: config.name.as_str().to_owned(),
            config,
            seed,
            engine: None,
            store: BTreeMap::new(),
            synced: BTreeMap::new(),
            files: Files::default(),
            objects: Objects::default(),
            payloads: BTreeMap::new(),
            failing: None,
            done_in_vain: None,
            full: 0,
            spoil: 0,
            replies: BTreeMap::new(),
            wanted: Vec::new(),
            settled: BTreeMap::new(),
            removed: BTreeMap::new(),
            restored: BTreeMap::new(),
            faults: Vec::new(),
            closed: Vec::new(),
            stopped: false,
            syncs: 0,
        }
    }

    /// Returns who shares.
    pub(crate) fn host(name: &str) -> Self {
        let mut config = Config::new(PeerId([1; 32]), Label::parse(name).unwrap(), Role::Full);
        config.chunk_size = CHUNK;
        // Stories that are about it say when.
        config.trash.first = Duration::from_secs(1_000_000);
        config.folder = Some(FolderId([9; 16]));
        // One ticket binds one joiner; all of these have the same secret.
        let invite = |id| Invite { id, secret: TICKET };
        config.invites = (1..=3).map(invite).collect();
        Self::new(config, 1)
    }

    /// Returns who joins, with ada's ticket.
    pub(crate) fn joiner(nr: u8, name: &str) -> Self {
        let me = PeerId([nr + 1; 32]);
        let mut config = Config::new(me, Label::parse(name).unwrap(), Role::Sparse);
        config.host = Some(Host {
            peer: PeerId([1; 32]),
            secret: Some(TICKET),
        });
        Self::new(config, u64::from(nr) + 1)
    }

    pub(crate) fn start(&mut self, now: Time, last: Last) {
        self.seed += 100;
        let seed = self.seed;
        let start = Start { seed, now, last };
        let engine = Engine::restore(self.config.clone(), start, self.store.clone());
        self.engine = Some(engine.expect("it wrote its store itself"));
        self.stopped = false;
    }

    pub(crate) fn kill(&mut self) {
        self.engine = None;
        self.payloads.clear();
    }

    /// What was not synced is gone: records, and the bytes of objects (their lengths stay).
    pub(crate) fn power_loss(&mut self) {
        self.store = self.synced.clone();
        self.objects.power_loss();
        if self.config.writable {
            // What the engine did since it was last synced; elsewhere only programs write.
            self.files.power_loss();
        }
    }

    /// Returns whether it has died at a step of its disk.
    pub(crate) fn is_dead(&self) -> bool {
        self.objects.left == 0
    }

    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.engine.as_mut()?.poll_action()
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it runs")
    }

    /// Returns the registers that its store holds, in the order of their keys.
    pub(crate) fn registers(&self) -> Vec<Register> {
        let value = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let body = (key[0] == b'r').then(|| &value[1..])?;
            let (_, register): (Arrival, Register) = postcard::from_bytes(body).ok()?;
            Some(register)
        };
        self.store.iter().filter_map(value).collect()
    }

    pub(crate) fn commit(&mut self, records: Vec<Record>, sync: bool) -> Result<(), DiskError> {
        if !self.objects.step() {
            return Ok(());
        }
        if self.full > 0 {
            self.full -= 1;
            return Err(DiskError::NoSpace);
        }
        for Record { key, value } in records {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        if sync {
            self.synced = self.store.clone();
            self.syncs += 1;
        }
        Ok(())
    }

    /// Does a disk job. A chunk that is read is parked under a number of no meaning.
    pub(crate) fn disk(&mut self, wish: DiskWish) -> Result<DiskDone, DiskError> {
        if let Some((_, why)) = self.done_in_vain.take_if(|(picks, _)| picks(&wish)) {
            self.disk(wish)?;
            return Err(why);
        }
        if let Some((_, why)) = self.failing.take_if(|(picks, _)| picks(&wish)) {
            let payload = match &wish {
                DiskWish::StoreChunk { payload, .. } => Some(*payload),
                DiskWish::ReadStored {
                    besides: Besides::Join(payload),
                    ..
                }
                | DiskWish::ReadChunk {
                    besides: Besides::Join(payload),
                    ..
                } => Some(*payload),
                DiskWish::Draft { wish, .. } => payload_of(wish),
                _other => None,
            };
            if let Some(payload) = payload {
                self.payloads.remove(&payload).expect("it was not used up");
            }
            return Err(why);
        }
        match wish {
            DiskWish::List { path } => self.files.list(&path),
            DiskWish::Look { path } => Ok(self.files.look(&path)),
            DiskWish::ReadChunk {
                path,
                offset,
                len,
                besides,
            } => {
                let tail = match besides {
                    Besides::Join(tail) => self.payloads.remove(&tail).expect("it was not used up"),
                    Besides::Nothing | Besides::Prefix(_) => Vec::new(),
                };
                let (mut bytes, print) = self.files.read(&path, offset, len)?;
                bytes.extend(tail);
                Ok(self.park_chunk(bytes, print, besides))
            }
            DiskWish::ReadThrown {
                file,
                offset,
                len,
                besides,
            } => {
                let (bytes, print) = self.files.read_thrown(file, offset, len)?;
                Ok(self.park_chunk(bytes, print, besides))
            }
            DiskWish::StoreChunk {
                object,
                offset,
                payload,
                record,
            } => {
                let bytes = self.payloads.remove(&payload).expect("it was not used up");
                self.objects.store(object, offset, &bytes, &record)
            }
            DiskWish::LoadObject { .. }
            | DiskWish::CreateObject { .. }
            | DiskWish::CutSidecar { .. }
            | DiskWish::MarkSidecar { .. }
            | DiskWish::SyncObject { .. }
            | DiskWish::HashChunk { .. }
            | DiskWish::FinishObject { .. } => self.objects.perform(wish),
            DiskWish::RemoveObject { object } => {
                self.files.discard(object);
                self.objects.perform(wish)
            }
            DiskWish::Place(wish) => self.place(&wish),
            DiskWish::Trash(wish) => self.files.attend_trash(&wish),
            DiskWish::StoreHole {
                object,
                offset,
                len,
                record,
            } => {
                let bytes = vec![0; len as usize];
                self.objects.store(object, offset, &bytes, &record)
            }
            DiskWish::ReadStored {
                object,
                offset,
                len,
                besides,
            } => {
                let tail = match besides {
                    Besides::Join(tail) => self.payloads.remove(&tail).expect("it was not used up"),
                    Besides::Nothing | Besides::Prefix(_) => Vec::new(),
                };
                let mut bytes = self.objects.read_stored(object, offset, len)?;
                bytes.extend(tail);
                let done = DiskDone::Read {
                    payload: PayloadId(0),
                    len: u32::try_from(bytes.len()).unwrap(),
                    hash: ChunkHash::of(&bytes),
                    nature: Nature::of(&bytes, besides),
                };
                self.payloads.insert(PayloadId(0), bytes);
                Ok(done)
            }
            DiskWish::Draft { object, wish } => {
                let payload = payload_of(&wish);
                let bytes = payload.map(|payload| {
                    let bytes = self.payloads.remove(&payload);
                    bytes.expect("it was not used up")
                });
                let bytes = bytes.unwrap_or_default();
                self.objects.draft(object, wish, &bytes)
            }
        }
    }

    /// Parks a chunk that was read from a file of the folder.
    fn park_chunk(&mut self, bytes: Vec<u8>, print: Fingerprint, besides: Besides) -> DiskDone {
        let done = DiskDone::Chunk {
            payload: PayloadId(0),
            len: u32::try_from(bytes.len()).unwrap(),
            hash: ChunkHash::of(&bytes),
            before: print,
            after: print,
            nature: Nature::of(&bytes, besides),
        };
        self.payloads.insert(PayloadId(0), bytes);
        done
    }

    /// Does something to the shared folder.
    fn place(&mut self, wish: &PlaceWish) -> Result<DiskDone, DiskError> {
        match wish {
            PlaceWish::Prepare { files } => {
                let mut done = Vec::new();
                for ready in files {
                    let bytes = match self.objects.whole(ready.object) {
                        Some(bytes) => bytes.to_vec(),
                        None if ready.size == 0 => Vec::new(),
                        None => {
                            done.push(Err(DiskError::NotFound));
                            continue;
                        }
                    };
                    assert_eq!(
                        bytes.len() as u64,
                        ready.size,
                        "only what is whole is placed"
                    );
                    self.objects.synced(ready.object);
                    done.push(Ok(self.files.prepare(ready, &bytes)));
                }
                self.files.sync();
                self.syncs += 1;
                Ok(DiskDone::Prepared(done))
            }
            PlaceWish::Put { object, .. } => {
                let done = self.files.perform(wish);
                if done.is_ok() {
                    self.objects.take(*object);
                }
                done
            }
            PlaceWish::Harden => {
                self.syncs += 1;
                self.files.perform(wish)
            }
            PlaceWish::MakeDirectory { .. }
            | PlaceWish::MakeSymlink { .. }
            | PlaceWish::Link { .. }
            | PlaceWish::Move { .. }
            | PlaceWish::Trash { .. }
            | PlaceWish::RemoveDirectory { .. }
            | PlaceWish::Dress { .. }
            | PlaceWish::Look { .. }
            | PlaceWish::List { .. } => self.files.perform(wish),
        }
    }
}

/// Returns the bytes that a wish uses up.
fn payload_of(wish: &DraftWish) -> Option<PayloadId> {
    match wish {
        DraftWish::Write { payload, .. } => Some(*payload),
        DraftWish::Fill { payload, .. } => *payload,
        DraftWish::Open { .. }
        | DraftWish::Resize { .. }
        | DraftWish::Touch { .. }
        | DraftWish::Mark { .. }
        | DraftWish::Sync { .. }
        | DraftWish::Load
        | DraftWish::Settle { .. }
        | DraftWish::Remove => None,
    }
}
