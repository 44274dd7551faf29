//! What the engine can say of itself: a picture for people and tests, that decides nothing.

use alloc::vec::Vec;

use serde::Serialize;

use crate::fetch_state::FetchState;
use crate::ids::{ActorId, PeerId};
use crate::label::Label;
use crate::message::{FolderId, Role};
use crate::tree::name::Name;

/// A picture of an engine at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Who this is.
    pub me: PeerId,
    /// What it calls itself.
    pub name: Label,
    /// What kind of replica it has.
    pub role: Role,
    /// The folder, if it is known yet.
    pub folder: Option<FolderId>,
    /// Its incarnation.
    pub actor: ActorId,
    /// Whether the shared folder is still being scanned.
    pub scanning: bool,
    /// Whether at least one exchange of registers has been completed, ever.
    pub complete: bool,
    /// Files, directories and symlinks, without the root.
    pub nodes: u64,
    /// The bytes of all files.
    pub bytes: u64,
    /// Names that are in conflict: several things stand for each.
    pub conflicts: u64,
    /// The peers that were ever let in, or that are dialled.
    pub peers: Vec<PeerStatus>,
    /// The files of which something was fetched, or is open.
    pub files: Vec<FileStatus>,
    /// What was counted since the start.
    pub counters: Counters,
    /// Whether all is synced, and what is waited for.
    pub sync: SyncStatus,
}

/// Whether what is here is where it has to be, and what is waited for: see `on/synced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyncStatus {
    /// Whether it is.
    pub synced: bool,
    /// The peers that are connected and have a say. With none, nothing is synced.
    pub peers: Vec<PeerSync>,
    /// Files of which something was written that is no version yet.
    pub unpublished: u64,
    /// Versions made on a sparse replica that no full one is known to hold.
    pub unheld: u64,
    /// Names and directories of the shared folder that may have changed, and were not looked at
    /// since.
    pub unseen: u64,
    /// The first files among those that are unpublished or not held.
    pub waiting: Vec<WaitingFile>,
}

/// What a connected peer has of what is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerSync {
    /// Who.
    pub peer: PeerId,
    /// What it calls itself, once it has said so.
    pub name: Option<Label>,
    /// Registers that it has not acknowledged as stored, at most.
    pub unacknowledged: u64,
}

/// A file that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingFile {
    /// Where it stands: names from the root; nothing if it was deleted.
    pub path: Vec<Name>,
    /// Its size in bytes.
    pub size: u64,
}

/// How a file of a sparse replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// Nothing of it is here.
    Remote,
    /// Some of it is here.
    Partial,
    /// All of it is here, and no full replica is known to hold what was made of it here.
    Local,
    /// All of it is here, and a full replica holds it.
    Synced,
    /// It is a conflict copy.
    Conflict,
}

impl FileState {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Partial => "partial",
            Self::Local => "local",
            Self::Synced => "synced",
            Self::Conflict => "conflict",
        }
    }
}

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Being connected.
    Dialling,
    /// Connected; the hellos are on their way.
    Greeting,
    /// Greeted, and heard of lately.
    Live,
    /// Not heard of for longer than a heartbeat.
    Suspect,
    /// Not there.
    Gone,
}

/// A picture of a peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// What it calls itself, once it has said so.
    pub name: Option<Label>,
    /// As what it comes.
    pub role: Option<Role>,
    /// Its link.
    pub link: LinkState,
    /// Dialling attempts since it was last live.
    pub attempts: u32,
    /// Milliseconds until the next attempt, if one is planned.
    pub next_attempt_ms: Option<u64>,
    /// Milliseconds since it was last heard of, if it ever was.
    pub heard_ms: Option<u64>,
    /// Why it does not let us in, if it does not.
    pub refused: Option<alloc::string::String>,
    /// Registers that it has not acknowledged yet.
    pub behind: u64,
}

/// A picture of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileStatus {
    /// Where it stands: names from the root; nothing if it was deleted.
    pub path: Vec<Name>,
    /// Its size in bytes.
    pub size: u64,
    /// Its chunks.
    pub chunks: u32,
    /// Chunks that are here.
    pub chunks_present: u32,
    /// Bytes that are here.
    pub bytes_present: u64,
    /// Chunks fetched since the start, those fetched again included.
    pub chunks_fetched: u64,
    /// Bytes fetched since the start, those fetched again included.
    pub bytes_fetched: u64,
    /// Reads that wait.
    pub waiting: u32,
    /// Open handles.
    pub handles: u32,
    /// How the fetching stands.
    pub state: FetchState,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls of the mount.
    pub calls: u64,
    /// Links that went live.
    pub links: u64,
    /// Messages sent on links, heartbeats apart.
    pub messages_sent: u64,
    /// Messages received on links, heartbeats apart.
    pub messages_received: u64,
    /// Heartbeats sent.
    pub heartbeats_sent: u64,
    /// Registers sent.
    pub registers_sent: u64,
    /// Registers received.
    pub registers_received: u64,
    /// Chunks asked for.
    pub chunks_asked: u64,
    /// Chunks of which bytes were received, and that were what they should be.
    pub chunks_fetched: u64,
    /// Those bytes.
    pub bytes_fetched: u64,
    /// Bytes of chunks that were taken from what was here, or are zeros, and were not fetched.
    pub bytes_spared: u64,
    /// Chunks received that were dropped: corrupt, late, or of no use any more.
    pub chunks_dropped: u64,
    /// Chunks sent to peers.
    pub chunks_served: u64,
    /// Their bytes.
    pub bytes_served: u64,
    /// Reads answered with `EIO`.
    pub reads_failed: u64,
    /// Chunks present that were hashed after a kill, before their first use.
    pub claims_checked: u64,
    /// Directories listed.
    pub listed: u64,
}
