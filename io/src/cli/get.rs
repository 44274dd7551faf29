//! `tandem get TICKET PATH…`.
//!
//! Law: a file stands under its name only when it is whole; what was fetched before is not
//! fetched again.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::OFlags;
use tandem_core::action::{Shown, WantState};
use tandem_core::error::FsError;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;

use super::ls::{failed, names};
use super::say::Say;
use super::{CliError, settle_guest, ticket};
use crate::config::Given;
use crate::node::{Guest, GuestOptions, NodeError, guest, guest_home};

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The ticket: text, a file that holds it, or - for standard input
    ticket: OsString,
    /// Files and directories, from the folder's root
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Into which directory; it is made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

impl Get {
    pub(super) fn run(self, given: Given, say: &Say) -> Result<(), CliError> {
        let ticket = ticket(&self.ticket)?;
        let mut wanted = Vec::new();
        for path in &self.paths {
            let names = names(path)?;
            wanted.push((path, names));
        }
        make_dir(&self.output)?;
        let home = guest_home()?;
        let settings = settle_guest(&home, given)?;
        let guest = guest(&home, &GuestOptions { ticket, settings })?;
        let mut errand = Errand {
            guest: &guest,
            say,
            bar: bar(),
            missing: 0,
        };
        let mut outcome = Ok(());
        for (path, names) in &wanted {
            outcome = errand.get(path, names, &self.output);
            if outcome.is_err() {
                break;
            }
        }
        errand.bar.finish_and_clear();
        let missing = errand.missing;
        guest.leave();
        outcome?;
        if missing == 0 {
            Ok(())
        } else {
            Err(CliError::Told)
        }
    }
}

/// What is downloaded, one after the other.
struct Errand<'a> {
    guest: &'a Guest,
    say: &'a Say,
    bar: ProgressBar,
    missing: u32,
}

impl Errand<'_> {
    /// Gets what the user named. Only what ends the whole errand is an error.
    fn get(&mut self, path: &Path, names: &[Name], into: &Path) -> Result<(), CliError> {
        let found = match self.guest.desk().find(self.guest.driver(), names) {
            Ok(found) => found,
            Err(error) => {
                self.miss(failed("get", path, error));
                return Ok(());
            }
        };
        match names.last() {
            Some(name) => self.item(names, &found, &into.join(os(name.as_bytes()))),
            // The folder itself: what is in it.
            None => self.directory(names, &found, into),
        }
    }

    fn item(&mut self, names: &[Name], shown: &Shown, target: &Path) -> Result<(), CliError> {
        match shown.kind {
            Kind::File => self.file(names, shown, target),
            Kind::Symlink => {
                self.link(names, target);
                Ok(())
            }
            Kind::Directory => {
                if let Err(error) = make_dir_here(target) {
                    self.miss(error);
                    return Ok(());
                }
                self.directory(names, shown, target)
            }
        }
    }

    fn directory(&mut self, names: &[Name], shown: &Shown, target: &Path) -> Result<(), CliError> {
        let desk = self.guest.desk();
        let items = desk.find(self.guest.driver(), names).and_then(|found| {
            // Asked for by name, so that its number is counted.
            desk.list(self.guest.driver(), found.ino)
        });
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                self.miss(failed("get", target, error));
                return Ok(());
            }
        };
        for item in items {
            let Ok(name) = Name::parse(&item.name) else {
                continue;
            };
            let mut inner = names.to_vec();
            inner.push(name);
            self.item(&inner, &item.shown, &target.join(os(&item.name)))?;
        }
        // Last, since files that arrive change it, and since it may forbid writing.
        if !names.is_empty() {
            self.dress(target, shown);
        }
        Ok(())
    }

    fn link(&mut self, names: &[Name], target: &Path) {
        let desk = self.guest.desk();
        let read = desk
            .find(self.guest.driver(), names)
            .and_then(|found| desk.target(self.guest.driver(), found.ino));
        let leads = match read {
            Ok(leads) => leads,
            Err(error) => return self.miss(failed("get", target, error)),
        };
        if fs::read_link(target).is_ok_and(|there| there.as_os_str() == os(&leads)) {
            return;
        }
        // Never in the place of anything else.
        if let Err(why) = symlink(os(&leads), target) {
            self.miss(writing(target, &why));
        }
    }

    fn file(&mut self, names: &[Name], shown: &Shown, target: &Path) -> Result<(), CliError> {
        if fs::symlink_metadata(target).is_ok_and(|there| there.is_dir()) {
            self.miss(writing(target, &io::ErrorKind::IsADirectory.into()));
            return Ok(());
        }
        self.bar.reset();
        self.bar.set_length(shown.size);
        self.bar.set_message(target.display().to_string());
        let bar = &self.bar;
        let state = self.guest.fetch(names, target, |have, size| {
            bar.set_length(size);
            bar.set_position(have);
        });
        let state = match state {
            Ok(state) => state,
            Err(NodeError::Interrupted) => {
                return Err(CliError::Said(format!(
                    "stopped while getting {}; the same command goes on from there",
                    target.display()
                )));
            }
            Err(error) => return Err(error.into()),
        };
        match state {
            WantState::Done { size, .. } => {
                // There is nothing to fetch of an empty file, so nothing was put there.
                if size == 0
                    && let Err(why) = put_empty(target)
                {
                    self.miss(writing(target, &why));
                    return Ok(());
                }
                self.dress(target, shown);
            }
            WantState::NotFound => self.miss(failed("get", target, FsError::NoEntry)),
            WantState::IsDirectory | WantState::IsSymlink | WantState::Progress { .. } => {
                self.miss(failed("get", target, FsError::Stale));
            }
            WantState::NoSpace => self.miss(CliError::Said(format!(
                "can't get {}: no space left on device; make room, and the same command goes on \
                 from what is here",
                target.display()
            ))),
            WantState::Failed => self.miss(CliError::Said(format!(
                "can't get {}: the host is gone, or can't read it any more; the same command goes \
                 on from what is here",
                target.display()
            ))),
        }
        Ok(())
    }

    /// Gives a file or directory the mode and time that it has in the folder.
    fn dress(&self, target: &Path, shown: &Shown) {
        /// What a download takes over: no set-id and sticky bits.
        const MODE: u32 = 0o777;
        let mode = fs::Permissions::from_mode(u32::from(shown.mode) & MODE);
        let set = fs::File::options()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(target)
            .and_then(|file| {
                file.set_modified(system_time(shown))?;
                file.set_permissions(mode)
            });
        if let Err(why) = set {
            self.say.note(format_args!(
                "note: {} has not its mode and time: {why}",
                target.display()
            ));
        }
    }

    /// Says what could not be had, and goes on.
    fn miss(&mut self, why: CliError) {
        self.bar.suspend(|| self.say.error(&why));
        self.missing = self.missing.saturating_add(1);
    }
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn writing(target: &Path, why: &io::Error) -> CliError {
    CliError::Said(format!(
        "can't write {}: {why}; move what is there away, or give another -o",
        target.display()
    ))
}

fn make_dir(dir: &Path) -> Result<(), CliError> {
    fs::create_dir_all(dir).map_err(|why| writing(dir, &why))
}

/// Makes one directory below the output, unless it is there. A link there is not followed: it
/// may be one that the host had us make, and lead anywhere.
fn make_dir_here(dir: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(dir) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(writing(dir, &io::ErrorKind::NotADirectory.into())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(dir).map_err(|why| writing(dir, &why))
        }
        Err(why) => Err(writing(dir, &why)),
    }
}

/// Puts an empty file in the place of whatever file is there. Nothing is followed.
fn put_empty(target: &Path) -> io::Result<()> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".tandem-part");
    match fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    fs::File::create_new(&beside)?;
    fs::rename(&beside, target)
}

fn system_time(shown: &Shown) -> SystemTime {
    let secs = Duration::from_secs(shown.mtime.secs.unsigned_abs());
    let whole = if shown.mtime.secs < 0 {
        UNIX_EPOCH.checked_sub(secs)
    } else {
        UNIX_EPOCH.checked_add(secs)
    };
    whole
        .and_then(|time| time.checked_add(Duration::from_nanos(shown.mtime.nanos.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// Returns the progress bar: on a terminal only.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let form = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_the_host_planted_is_not_followed_s30() {
        let out = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(elsewhere.path(), out.path().join("d")).unwrap();
        assert!(make_dir_here(&out.path().join("d")).is_err());
        symlink(&victim, out.path().join("x.tandem-part")).unwrap();
        put_empty(&out.path().join("x")).unwrap();
        assert_eq!(fs::read(out.path().join("x")).unwrap(), b"");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        make_dir_here(&out.path().join("e")).unwrap();
        make_dir_here(&out.path().join("e")).unwrap();
    }
}
