//! `tandem ls TICKET [PATH]`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use tandem_core::action::Shown;
use tandem_core::error::FsError;
use tandem_core::time::WallTime;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;

use super::say::Say;
use super::{CliError, settle_guest, ticket};
use crate::config::Given;
use crate::node::{Guest, GuestOptions, guest, guest_home};

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// The ticket: text, a file that holds it, or - for standard input
    ticket: OsString,
    /// What to list, from the folder's root [default: the root]
    path: Option<PathBuf>,
}

impl Ls {
    pub(super) fn run(self, given: Given, say: &Say) -> Result<(), CliError> {
        let ticket = ticket(&self.ticket)?;
        let path = names(self.path.as_deref().unwrap_or(Path::new("")))?;
        let home = guest_home()?;
        let settings = settle_guest(&home, given)?;
        let guest = guest(&home, &GuestOptions { ticket, settings })?;
        let listed = list(&guest, &path, say);
        guest.leave();
        let lines = listed.map_err(|error| {
            let shown = self.path.as_deref().unwrap_or(Path::new("."));
            failed("list", shown, error)
        })?;
        say.bytes(&lines)
    }
}

/// Returns the names in a path from the folder's root; a slash at either end does no harm.
pub(super) fn names(path: &Path) -> Result<Vec<Name>, CliError> {
    path.components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .map(|part| {
            Name::parse(part.as_os_str().as_bytes()).map_err(|why| {
                CliError::Said(format!(
                    "can't look for {}: {why}; give a path from the folder's root",
                    path.display()
                ))
            })
        })
        .collect()
}

/// Says what came of a question.
pub(super) fn failed(what: &str, path: &Path, error: FsError) -> CliError {
    let hint = match error {
        FsError::NoEntry | FsError::NotDirectory => "; tandem ls TICKET shows what is there",
        FsError::IsDirectory
        | FsError::ReadOnly
        | FsError::Io
        | FsError::BadHandle
        | FsError::Stale
        | FsError::Invalid
        | FsError::NoAttribute
        | FsError::NameTooLong
        | FsError::TooManyHandles
        | FsError::NotSupported
        | FsError::Exists
        | FsError::NotEmpty
        | FsError::NoSpace
        | FsError::TooLarge
        | FsError::NotPermitted
        | FsError::TooManyLinks => "; try again",
    };
    CliError::Said(format!("can't {what} {}: {error}{hint}", path.display()))
}

/// Returns the lines of a listing.
fn list(guest: &Guest, path: &[Name], say: &Say) -> Result<Vec<u8>, FsError> {
    let (desk, driver) = (guest.desk(), guest.driver());
    let found = desk.find(driver, path)?;
    let mut items = match found.kind {
        Kind::Directory => {
            let items = desk.list(driver, found.ino)?;
            items.into_iter().map(|it| (it.name, it.shown)).collect()
        }
        Kind::File | Kind::Symlink => {
            let name = path.last().map(|name| name.as_bytes().into());
            vec![(name.unwrap_or_default(), found)]
        }
    };
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut lines = Vec::new();
    for (name, shown) in items {
        lines.extend_from_slice(line_begin(&shown).as_bytes());
        lines.extend_from_slice(&say.name(&name));
        match shown.kind {
            Kind::File => {}
            Kind::Directory => lines.push(b'/'),
            Kind::Symlink => {
                // Listings count no lookups, so its number is asked for by name.
                let mut whole = path.to_vec();
                if found.kind == Kind::Directory {
                    whole.extend(Name::parse(&name).ok());
                }
                let ino = desk.find(driver, &whole)?.ino;
                let target = desk.target(driver, ino)?;
                lines.extend_from_slice(b" -> ");
                lines.extend_from_slice(&say.name(&target));
            }
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Returns kind and mode, size, and time (UTC), as `ls -l` has them.
fn line_begin(shown: &Shown) -> String {
    let kind = match shown.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
    };
    let mut mode = String::from(kind);
    for shift in [6, 3, 0] {
        let bits = shown.mode >> shift;
        mode.push(if bits & 4 == 0 { '-' } else { 'r' });
        mode.push(if bits & 2 == 0 { '-' } else { 'w' });
        mode.push(if bits & 1 == 0 { '-' } else { 'x' });
    }
    format!("{mode} {:>14} {} ", shown.size, time_text(shown.mtime))
}

/// Returns a time as `YYYY-MM-DD HH:MM`, in UTC.
fn time_text(time: WallTime) -> String {
    const DAY: i64 = 86_400;
    let (year, month, day) = civil(time.secs.div_euclid(DAY));
    let minutes = time.secs.rem_euclid(DAY) / 60;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        minutes / 60,
        minutes % 60
    )
}

/// Returns year, month and day of a number of days from 1970-01-01.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        let text = |secs| time_text(WallTime { secs, nanos: 0 });
        assert_eq!(text(0), "1970-01-01 00:00");
        assert_eq!(text(-1), "1969-12-31 23:59");
        assert_eq!(text(951_782_400), "2000-02-29 00:00");
        assert_eq!(text(1_763_892_930), "2025-11-23 10:15");
        assert!(!text(i64::MAX).is_empty());
        assert!(!text(i64::MIN).is_empty());
    }

    #[test]
    fn a_path_is_split_into_names_and_may_not_leave_the_folder() {
        let count = |path: &str| names(Path::new(path)).map(|names| names.len());
        assert_eq!(count("").unwrap(), 0);
        assert_eq!(count("/").unwrap(), 0);
        assert_eq!(count("/a//b/").unwrap(), 2);
        assert_eq!(count("./a").unwrap(), 1);
        assert!(count("a/../b").is_err());
        assert!(count(".tandem/identity.pem").is_err());
    }
}
