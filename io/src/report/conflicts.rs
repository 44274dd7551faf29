//! What `tandem conflicts` says.
//!
//! Law: as [`super`]'s.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tandem_core::conflicts::{Conflict, Settled, Side};
use tandem_core::tree::conflict::civil;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;

use super::{joined, texts};

/// The conflicts of a running `share` or `join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictsReport {
    /// The shared folder, or the mount point.
    pub place: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place_hex: Option<String>,
    /// The process.
    pub pid: u32,
    /// The conflicts, in the order of their paths.
    pub conflicts: Vec<ConflictReport>,
}

/// A name for which several things stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Which, from the folder's root.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// What stands under it; nothing, if that was deleted.
    pub file: Option<SideReport>,
    /// The conflict copies.
    pub copies: Vec<CopyReport>,
}

/// A conflict copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Where it stands, from the folder's root.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub side: SideReport,
}

/// One of the things that stand for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideReport {
    /// `file`, `directory` or `symlink`.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// Who wrote it; nobody wrote a directory.
    pub author: Option<String>,
    /// On which UTC day: `YYYY-MM-DD`.
    pub day: Option<String>,
    /// Whether it was written on this machine.
    pub mine: bool,
    /// Bytes of it that are nowhere any more, as far as is known here: reading them fails.
    pub bytes_gone: u64,
}

/// What was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledReport {
    /// The name that it was about, from the folder's root.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Who wrote what stays.
    pub stays: Vec<String>,
    /// Who wrote what went.
    pub gone: Vec<String>,
    /// Where else something of what stays is, from the folder's root.
    pub beside: Vec<String>,
}

impl ConflictsReport {
    /// Makes the report of this process.
    pub fn new(place: &Path, conflicts: &[Conflict]) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let (place, place_hex) = texts(place.as_os_str().as_bytes());
        Self {
            place,
            place_hex,
            pid: std::process::id(),
            conflicts: conflicts.iter().map(ConflictReport::new).collect(),
        }
    }
}

impl ConflictReport {
    fn new(conflict: &Conflict) -> Self {
        let (path, path_hex) = texts(&joined(&conflict.path));
        let copy = |(path, side): &(Vec<Name>, Side)| {
            let (path, path_hex) = texts(&joined(path));
            let side = SideReport::new(side);
            CopyReport {
                path,
                path_hex,
                side,
            }
        };
        Self {
            path,
            path_hex,
            file: conflict.file.as_ref().map(SideReport::new),
            copies: conflict.copies.iter().map(copy).collect(),
        }
    }
}

impl SideReport {
    fn new(side: &Side) -> Self {
        let (author, day) = side.author.clone().unzip();
        Self {
            kind: match side.kind {
                Kind::File => "file",
                Kind::Directory => "directory",
                Kind::Symlink => "symlink",
            }
            .to_owned(),
            size: side.size,
            author: author.map(|author| author.to_string()),
            day: day.map(|day| {
                let (year, month, day) = civil(day);
                format!("{year:04}-{month:02}-{day:02}")
            }),
            mine: side.is_mine,
            bytes_gone: side.gone,
        }
    }
}

impl SettledReport {
    /// Makes the report of what was settled.
    pub fn new(settled: &Settled) -> Self {
        let (path, path_hex) = texts(&joined(&settled.path));
        let beside = settled.beside.iter().map(|path| texts(&joined(path)).0);
        Self {
            path,
            path_hex,
            stays: settled.stays.0.iter().map(ToString::to_string).collect(),
            gone: settled.gone.0.iter().map(ToString::to_string).collect(),
            beside: beside.collect(),
        }
    }
}
