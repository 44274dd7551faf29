//! What `tandem log` says.
//!
//! Law: as [`super`]'s.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tandem_core::engine::Engine;
use tandem_core::message::Role;
use tandem_core::time::WallTime;
use tandem_core::trash::{Fate, Restored, Trashed};
use tandem_core::tree::conflict::civil;
use tandem_core::tree::name::Name;

use super::{joined, role, texts};

/// What peers have deleted or overwritten in a shared folder, and what of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    /// The shared folder, or the mount point.
    pub place: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place_hex: Option<String>,
    /// The process.
    pub pid: u32,
    /// `full` where the folder is shared; elsewhere nothing is kept.
    pub role: String,
    /// Bytes that lie in the trash.
    pub bytes: u64,
    /// How many may; without a bound, if not set.
    pub budget: Option<u64>,
    /// How long each thing stays, in seconds.
    pub keep_secs: u64,
    /// What lies there, the latest first: as much as was asked for.
    pub things: Vec<ThingReport>,
    /// How many there are besides.
    pub more: u64,
}

/// A thing that lies in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingReport {
    /// Its number, by which it is brought back.
    pub id: u64,
    /// Where it stood, from the folder's root; of what is not on record its name alone.
    pub path: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// `replaced`, `deleted`, or `unknown`.
    pub fate: String,
    /// What whoever did that calls itself, if it is known.
    pub by: Option<String>,
    /// When it went to the trash: UTC, `YYYY-MM-DDTHH:MM:SSZ`.
    pub when: String,
}

/// A thing that was brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredReport {
    /// Its number.
    pub id: u64,
    /// Where it stood, from the folder's root.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where it stands: under that name, or beside it where something else has it.
    pub restored: String,
    /// Its bytes, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restored_hex: Option<String>,
}

impl LogReport {
    /// Makes the report of this process: of `count` things at most, at a path or below it.
    pub fn new(place: &Path, as_what: Role, engine: &Engine, count: usize, below: &[Name]) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let (place, place_hex) = texts(place.as_os_str().as_bytes());
        let retention = engine.retention();
        let mut all = engine
            .trash_log()
            .filter(|(_, thing)| thing.path.starts_with(below));
        let first = all.by_ref().take(count);
        let things = first.map(|(id, thing)| ThingReport::new(id, thing));
        Self {
            place,
            place_hex,
            pid: std::process::id(),
            role: role(as_what).to_owned(),
            bytes: engine.trash_bytes(),
            budget: (retention.budget < u64::MAX).then_some(retention.budget),
            keep_secs: retention.keep.as_secs(),
            things: things.collect(),
            more: all.count() as u64,
        }
    }
}

impl ThingReport {
    fn new(id: u64, thing: &Trashed) -> Self {
        let (path, path_hex) = texts(&joined(&thing.path));
        let fate = match thing.fate {
            Fate::Replaced => "replaced",
            Fate::Deleted => "deleted",
            Fate::Unknown => "unknown",
        };
        Self {
            id,
            path,
            path_hex,
            size: thing.print.size,
            fate: fate.to_owned(),
            by: thing.who.as_ref().map(ToString::to_string),
            when: when(thing.since),
        }
    }
}

impl RestoredReport {
    /// Makes the report of what was brought back.
    pub fn new(id: u64, restored: &Restored) -> Self {
        let (at, restored_hex) = texts(&joined(&restored.path));
        Self {
            id,
            path: texts(&joined(&restored.what.path)).0,
            size: restored.what.print.size,
            restored: at,
            restored_hex,
        }
    }
}

/// Returns a time as it is written: in UTC, to the second; one before 1970 as the first of it.
fn when(wall: WallTime) -> String {
    let secs = u64::try_from(wall.secs).unwrap_or(0);
    let (day, of_day) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(u32::try_from(day).unwrap_or(u32::MAX));
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let at = |secs| when(WallTime { secs, nanos: 5 });
        assert_eq!(at(1_795_428_000), "2026-11-23T10:00:00Z");
        assert_eq!(at(1_795_428_000 + 3_723), "2026-11-23T11:02:03Z");
        assert_eq!(at(-1), "1970-01-01T00:00:00Z");
    }
}
