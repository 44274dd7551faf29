//! What `tandem peers` says.
//!
//! Law: as [`super`]'s.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tandem_core::ids::PeerId;
use tandem_core::peers::{Listed, Removed};
use tandem_core::status::Status;

use super::{PeerReport, WaitingReport, hex, role, texts};

/// The peers of a running `share` or `join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersReport {
    /// The shared folder, or the mount point.
    pub place: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place_hex: Option<String>,
    /// The process.
    pub pid: u32,
    /// `full` where the folder is shared, else `sparse`.
    pub role: String,
    /// Who it is itself: hex.
    pub me: String,
    /// What it calls itself.
    pub name: String,
    /// Everybody who was ever let in, or is joined, and who was removed.
    pub peers: Vec<ListedReport>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedReport {
    /// How it stands.
    #[serde(flatten)]
    pub peer: PeerReport,
    /// Whether it is the mount of the folder on the machine that shares it.
    pub own_mount: bool,
    /// Whether it was removed.
    pub removed: bool,
}

/// A peer that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedReport {
    /// Who: hex.
    pub peer: String,
    /// What it calls itself, if it ever said so.
    pub name: Option<String>,
    /// Guests that came in by its ticket, and don't any more: hex.
    pub guests: Vec<String>,
    /// Files that show what only it may have all of.
    pub unheld: u64,
    /// The first of those files.
    pub waiting: Vec<WaitingReport>,
    /// The folder's ticket from here on, if the one before has ended.
    pub ticket: Option<String>,
}

impl PeersReport {
    /// Makes the report of this process.
    pub fn new(place: &Path, me: &Status, peers: &[Listed], own: Option<PeerId>) -> Self {
        let (place, place_hex) = texts(std::os::unix::ffi::OsStrExt::as_bytes(place.as_os_str()));
        let listed = peers.iter().map(|listed| ListedReport {
            peer: PeerReport::new(&listed.status),
            own_mount: own == Some(listed.status.peer),
            removed: listed.is_removed,
        });
        Self {
            place,
            place_hex,
            pid: std::process::id(),
            role: role(me.role).to_owned(),
            me: hex(&me.me.0),
            name: me.name.to_string(),
            peers: listed.collect(),
        }
    }
}

impl RemovedReport {
    /// Makes the report of what was removed.
    pub fn new(removed: &Removed, ticket: Option<String>) -> Self {
        Self {
            peer: hex(&removed.peer.0),
            name: removed.name.as_ref().map(ToString::to_string),
            guests: removed.guests.iter().map(|guest| hex(&guest.0)).collect(),
            unheld: removed.unheld,
            waiting: removed.waiting.iter().map(WaitingReport::new).collect(),
            ticket,
        }
    }
}
