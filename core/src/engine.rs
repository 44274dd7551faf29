//! The door.

use alloc::vec::Vec;

use crate::action::Action;
use crate::event::Event;
use crate::ids::PeerId;
use crate::label::Label;
use crate::limits::CHUNK_SIZE;
use crate::message::{FolderId, Role, Secret};
use crate::status::Status;
use crate::time::{Duration, Time};

/// What an engine is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is.
    pub me: PeerId,
    /// What it calls itself.
    pub name: Label,
    /// What kind of replica it has.
    pub role: Role,
    /// Whom it dials (a joiner or guest), with the secret of the ticket.
    pub host: Option<Host>,
    /// Whom it lets in (a host).
    pub invites: Vec<Invite>,
    /// The folder's id, drawn by the shell when it is first shared; a joiner learns it.
    pub folder: Option<FolderId>,
    /// The size of the chunks of files shared from here, in bytes: a power of two from 512 to
    /// 16 MiB.
    pub chunk_size: u32,
    /// How long a read of absent bytes may wait.
    pub read_deadline: Duration,
    /// Attempts at a chunk without progress before its reads fail.
    pub retries: u32,
    /// How often a silent link is probed.
    pub heartbeat: Duration,
    /// Heartbeats that may stay unanswered before a link is gone.
    pub misses: u32,
}

/// Whom a joiner dials.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its key.
    pub peer: PeerId,
    /// The ticket's secret.
    pub secret: Option<Secret>,
}

/// Whom a host lets in: the first guest and the first joining peer that present the secret.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Which invitation; its bindings are stored under it.
    pub id: u64,
    /// The secret in its ticket.
    pub secret: Secret,
}

impl Config {
    /// Returns the usual settings.
    pub fn new(me: PeerId, name: Label, role: Role) -> Self {
        Self {
            me,
            name,
            role,
            host: None,
            invites: Vec::new(),
            folder: None,
            chunk_size: CHUNK_SIZE,
            read_deadline: Duration::from_secs(30),
            retries: 5,
            heartbeat: Duration::from_secs(5),
            misses: 3,
        }
    }
}

/// How the run before this one ended, as far as the store can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It stopped cleanly, or there was none: everything holds.
    Clean,
    /// It was killed: what was committed holds.
    Killed,
    /// The power failed, or the store was copied or restored: what was synced holds, and a new
    /// incarnation is drawn.
    Lost,
}

/// What differs at each start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The seed of all chance: real entropy in the real shell.
    pub seed: u64,
    /// The clock.
    pub now: Time,
    /// How the last run ended.
    pub last: Last,
}

/// Why an engine could not be made of the records of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A record is damaged, or of a later version of Tandem.
    #[error("the record {key:02x?} can't be read: it is damaged, or of a later version of Tandem")]
    Record {
        /// Its key.
        key: Vec<u8>,
    },
}

/// The state machine of one replica.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Makes the engine of what its store holds (nothing, at first), in any order of records.
    pub fn restore(
        _config: Config,
        _start: Start,
        _records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        Ok(Self {})
    }

    /// Takes in something that happened at `now`.
    pub fn handle(&mut self, _now: Time, _event: Event) {}

    /// Returns the next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// Returns when `Event::Tick` is next due, if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Returns a picture of the engine.
    pub fn status(&self, _now: Time) -> Option<Status> {
        None
    }
}
