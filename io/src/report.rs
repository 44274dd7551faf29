//! What `tandem status` says: the picture of an engine, with what only the shell knows.
//!
//! Law: the names of the JSON are kept once they are given; new ones may be added. A path that is
//! not UTF-8 is shown with U+FFFD for what is not, and has its bytes beside it in hex.

use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tandem_core::fetch_state::FetchState;
use tandem_core::message::Role;
use tandem_core::status::{FileStatus, LinkState, PeerStatus, Status};

/// A report of a running `share` or `join`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The shared folder, or the mount point.
    pub place: PathText,
    /// The directory that holds `.tandem`: the shared folder, or the store.
    pub store: PathText,
    /// The mount point, if there is a mount.
    pub mount: Option<PathText>,
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
    /// Known peers.
    pub peers: Vec<PeerReport>,
    /// Files of which something was fetched, or which are open.
    pub files: Vec<FileReport>,
    /// What was counted since the start.
    pub counters: CounterReport,
}

/// A path as JSON can hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathText {
    /// For people, and exact if `hex` is missing.
    pub text: String,
    /// Its bytes, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hex: Option<String>,
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
    pub path: PathText,
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
    /// The mount point, if there is a mount.
    pub mount: Option<&'a Path>,
    /// Where peers may connect.
    pub listening: Vec<String>,
}

impl Report {
    /// Makes the report of this process.
    pub fn new(status: &Status, around: Surroundings<'_>) -> Self {
        Self {
            place: PathText::of(around.place),
            store: PathText::of(around.store),
            mount: around.mount.map(PathText::of),
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
            peers: status.peers.iter().map(PeerReport::new).collect(),
            files: status.files.iter().map(FileReport::new).collect(),
            counters: status.counters.into(),
        }
    }
}

impl PathText {
    /// Returns `path` as JSON can hold it.
    pub fn of(path: &Path) -> Self {
        Self::of_bytes(path.as_os_str().as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                text: text.to_owned(),
                hex: None,
            },
            Err(_) => Self {
                text: String::from_utf8_lossy(bytes).into_owned(),
                hex: Some(hex(bytes)),
            },
        }
    }
}

impl fmt::Display for PathText {
    /// Without what would move a terminal's cursor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            f.write_char(if c.is_control() { '\u{fffd}' } else { c })?;
        }
        Ok(())
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
        let mut path = Vec::new();
        for name in &file.path {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
        }
        Self {
            path: PathText::of_bytes(&path),
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
    use std::ffi::OsStr;

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes_in_hex() {
        let text = PathText::of(Path::new(OsStr::from_bytes(b"a\xff\x1b")));
        assert_eq!(text.hex.as_deref(), Some("61ff1b"));
        assert_eq!(text.to_string(), "a\u{fffd}\u{fffd}");
        let json = serde_json::to_string(&PathText::of(Path::new("/ok"))).unwrap();
        assert_eq!(json, r#"{"text":"/ok"}"#);
    }
}
