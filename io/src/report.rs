//! What `tandem status` says: the picture of an engine, with what only the shell knows.
//!
//! Law: the names of the JSON are kept once they are given; new ones may be added. A path that is
//! not UTF-8 is shown with U+FFFD for what is not, and has its bytes beside it in hex.

pub mod conflicts;
pub mod log;
pub mod peers;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tandem_core::fetch_state::FetchState;
use tandem_core::message::Role;
use tandem_core::status::{FileStatus, LinkState, PeerStatus, Status, SyncStatus, WaitingFile};
use tandem_core::tree::name::Name;

/// A report of a running `share` or `join`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The shared folder, or the mount point.
    pub place: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place_hex: Option<String>,
    /// The directory that holds `.tandem`: the shared folder, or the store.
    pub store: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store_hex: Option<String>,
    /// Whether there is a mount, at `place`.
    pub mounted: bool,
    /// The process.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// Where peers may connect.
    pub listening: Vec<String>,
    /// Who this is: hex.
    pub me: String,
    /// What it calls itself.
    pub name: String,
    /// `full`, `sparse` or `guest`.
    pub role: String,
    /// The folder's id in hex, if it is known yet.
    pub folder: Option<String>,
    /// The incarnation: 16 hex digits.
    pub actor: String,
    /// Whether the shared folder is still being scanned.
    pub scanning: bool,
    /// Whether all that the host had was known once.
    pub complete: bool,
    /// Files, directories and symlinks.
    pub nodes: u64,
    /// The bytes of all files.
    pub bytes: u64,
    /// Names that are in conflict.
    #[serde(default)]
    pub conflicts: u64,
    /// Known peers.
    pub peers: Vec<PeerReport>,
    /// Files of which something was fetched, or which are open.
    pub files: Vec<FileReport>,
    /// What was counted since the start.
    pub counters: CounterReport,
    /// Whether all is synced, and what is waited for.
    #[serde(default)]
    pub sync: SyncReport,
}

/// Whether every connected peer has what is here, and the shared folder what was written on
/// mounts; and what is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    /// Whether that is so; with no peer connected it is not.
    pub synced: bool,
    /// The peers that are connected.
    pub peers: Vec<PeerSyncReport>,
    /// Files that are being written.
    pub unpublished: u64,
    /// Files that were written on a mount, and that no shared folder is known to hold.
    pub unheld: u64,
    /// Names of the shared folder that may have changed, and were not looked at since.
    pub unseen: u64,
    /// The first of those files.
    pub waiting: Vec<WaitingReport>,
}

/// What a connected peer has of what is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSyncReport {
    /// Who: hex.
    pub peer: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// Registers that it has not acknowledged as stored, at most.
    pub unacknowledged: u64,
}

/// A file that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReport {
    /// Where it stands, from the folder's root; empty if it was deleted.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&SyncStatus> for SyncReport {
    fn from(status: &SyncStatus) -> Self {
        let peers = status.peers.iter().map(|peer| PeerSyncReport {
            peer: hex(&peer.peer.0),
            name: peer.name.as_ref().map(ToString::to_string),
            unacknowledged: peer.unacknowledged,
        });
        Self {
            synced: status.synced,
            peers: peers.collect(),
            unpublished: status.unpublished,
            unheld: status.unheld,
            unseen: status.unseen,
            waiting: status.waiting.iter().map(WaitingReport::new).collect(),
        }
    }
}

impl WaitingReport {
    fn new(file: &WaitingFile) -> Self {
        let (path, path_hex) = texts(&joined(&file.path));
        Self {
            path,
            path_hex,
            size: file.size,
        }
    }
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Who: hex.
    pub peer: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// As what it comes.
    pub role: Option<String>,
    /// `dialling`, `greeting`, `live`, `suspect` or `gone`.
    pub link: String,
    /// Attempts since it was last live.
    pub attempts: u32,
    /// Milliseconds until the next attempt.
    pub next_attempt_ms: Option<u64>,
    /// Milliseconds since it was last heard of.
    pub heard_ms: Option<u64>,
    /// Why it does not let us in.
    pub refused: Option<String>,
    /// Registers that it has not acknowledged.
    pub behind: u64,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Where it stands, from the folder's root; empty if it was deleted.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its chunks.
    pub chunks: u32,
    /// Chunks that are here.
    pub chunks_present: u32,
    /// Bytes that are here.
    pub bytes_present: u64,
    /// Chunks fetched since the start.
    pub chunks_fetched: u64,
    /// Bytes fetched since the start.
    pub bytes_fetched: u64,
    /// Reads that wait.
    pub waiting: u32,
    /// Open handles.
    pub handles: u32,
    /// `idle`, `fetching`, `waiting`, `exhausted` or `complete`.
    pub state: String,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was counted since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct CounterReport {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl From<tandem_core::status::Counters> for CounterReport {
            fn from(counters: tandem_core::status::Counters) -> Self {
                Self { $($name: counters.$name,)* }
            }
        }
    };
}

counters! {
    /// Calls of the mount.
    calls,
    /// Links that went live.
    links,
    /// Messages sent, heartbeats apart.
    messages_sent,
    /// Messages received, heartbeats apart.
    messages_received,
    /// Heartbeats sent.
    heartbeats_sent,
    /// Registers sent.
    registers_sent,
    /// Registers received.
    registers_received,
    /// Chunks asked for.
    chunks_asked,
    /// Chunks received that were what they should be.
    chunks_fetched,
    /// Their bytes.
    bytes_fetched,
    /// Bytes that were not fetched, since they were here or are zeros.
    bytes_spared,
    /// Chunks received and dropped.
    chunks_dropped,
    /// Chunks sent to peers.
    chunks_served,
    /// Their bytes.
    bytes_served,
    /// Reads answered with an error.
    reads_failed,
    /// Chunks hashed after a kill, before their first use.
    claims_checked,
    /// Directories listed.
    listed,
}

/// What the shell knows of its own engine.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The shared folder, or the mount point.
    pub place: &'a Path,
    /// The directory that holds `.tandem`.
    pub store: &'a Path,
    /// Whether there is a mount.
    pub mounted: bool,
    /// Where peers may connect.
    pub listening: Vec<String>,
}

impl Report {
    /// Makes the report of this process.
    pub fn new(status: &Status, around: Surroundings<'_>) -> Self {
        let (place, place_hex) = texts(around.place.as_os_str().as_bytes());
        let (store, store_hex) = texts(around.store.as_os_str().as_bytes());
        Self {
            place,
            place_hex,
            store,
            store_hex,
            mounted: around.mounted,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listening: around.listening,
            me: hex(&status.me.0),
            name: status.name.to_string(),
            role: role(status.role).to_owned(),
            folder: status.folder.map(|folder| hex(&folder.0)),
            actor: format!("{:016x}", status.actor.0),
            scanning: status.scanning,
            complete: status.complete,
            nodes: status.nodes,
            bytes: status.bytes,
            conflicts: status.conflicts,
            peers: status.peers.iter().map(PeerReport::new).collect(),
            files: status.files.iter().map(FileReport::new).collect(),
            counters: status.counters.into(),
            sync: SyncReport::from(&status.sync),
        }
    }
}

impl PeerReport {
    fn new(peer: &PeerStatus) -> Self {
        Self {
            peer: hex(&peer.peer.0),
            name: peer.name.as_ref().map(ToString::to_string),
            role: peer.role.map(|it| role(it).to_owned()),
            link: match peer.link {
                LinkState::Dialling => "dialling",
                LinkState::Greeting => "greeting",
                LinkState::Live => "live",
                LinkState::Suspect => "suspect",
                LinkState::Gone => "gone",
            }
            .to_owned(),
            attempts: peer.attempts,
            next_attempt_ms: peer.next_attempt_ms,
            heard_ms: peer.heard_ms,
            refused: peer.refused.clone(),
            behind: peer.behind,
        }
    }
}

impl FileReport {
    fn new(file: &FileStatus) -> Self {
        let (path, path_hex) = texts(&joined(&file.path));
        Self {
            path,
            path_hex,
            size: file.size,
            chunks: file.chunks,
            chunks_present: file.chunks_present,
            bytes_present: file.bytes_present,
            chunks_fetched: file.chunks_fetched,
            bytes_fetched: file.bytes_fetched,
            waiting: file.waiting,
            handles: file.handles,
            state: match file.state {
                FetchState::Idle => "idle",
                FetchState::Fetching => "fetching",
                FetchState::Waiting => "waiting",
                FetchState::Exhausted => "exhausted",
                FetchState::Complete => "complete",
            }
            .to_owned(),
        }
    }
}

/// Returns names from the root as a path.
fn joined(names: &[Name]) -> Vec<u8> {
    let names: Vec<&[u8]> = names.iter().map(Name::as_bytes).collect();
    names.join(&b'/')
}

/// Returns a path for people and, if that is not exact, its bytes in hex.
fn texts(path: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(path) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(hex(path))),
    }
}

/// Returns the word for a role.
fn role(role: Role) -> &'static str {
    match role {
        Role::Full => "full",
        Role::Sparse => "sparse",
        Role::Guest => "guest",
    }
}

/// Returns bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes_in_hex() {
        let lossy = ("a\u{fffd}".to_owned(), Some("61ff".to_owned()));
        assert_eq!(texts(b"a\xff"), lossy);
        assert_eq!(texts(b"ok"), ("ok".to_owned(), None));
    }
}
