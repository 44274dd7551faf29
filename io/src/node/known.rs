//! The places that this user shares or mounts: which directory or mount point belongs to which
//! `.tandem`, so that `status`, `stop` and `join MNT` find it.
//!
//! Law: the list only helps to find; what is true stands in each `.tandem`. It lies in
//! `$XDG_DATA_HOME/tandem/places`: a line for each place, two paths with a tab between: the
//! place, and the directory that holds its `.tandem` (the same, for a shared folder). Bytes that
//! would break a line are written `\xNN`. A line that can't be read is passed over.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A place and where its `.tandem` lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The shared folder, or the mount point.
    pub place: PathBuf,
    /// The shared folder, or the store.
    pub holder: PathBuf,
}

/// The list, in the directory of Tandem's data.
#[derive(Clone, Debug)]
pub struct Places {
    dir: PathBuf,
}

const FILE: &str = "places";
const NEW: &str = "places.new";
const LOCK: &str = "places.lock";

/// Places that are kept: the latest; by eye, far more than anybody has.
const PLACES_MAX: usize = 1_000;

impl Places {
    /// Returns the list in `dir` (`$XDG_DATA_HOME/tandem`).
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Returns all places, the latest last. A missing list has none.
    pub fn all(&self) -> Vec<Known> {
        let Ok(bytes) = fs::read(self.dir.join(FILE)) else {
            return Vec::new();
        };
        bytes
            .split(|&byte| byte == b'\n')
            .filter_map(parse)
            .collect()
    }

    /// Returns where the `.tandem` of `place` lies, by the latest entry.
    pub fn find(&self, place: &Path) -> Option<PathBuf> {
        self.all()
            .into_iter()
            .rfind(|known| known.place == place)
            .map(|known| known.holder)
    }

    /// Notes that the `.tandem` of `place` lies in `holder`.
    ///
    /// # Errors
    /// When the list can't be written.
    pub fn note(&self, place: &Path, holder: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let lock = fs::File::create(self.dir.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut all = self.all();
        all.retain(|known| known.place != place);
        all.push(Known {
            place: place.to_owned(),
            holder: holder.to_owned(),
        });
        let mut lines = Vec::new();
        for known in all.iter().skip(all.len().saturating_sub(PLACES_MAX)) {
            escape(&known.place, &mut lines);
            lines.push(b'\t');
            escape(&known.holder, &mut lines);
            lines.push(b'\n');
        }
        let new = self.dir.join(NEW);
        let mut file = fs::File::create(&new)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        fs::rename(new, self.dir.join(FILE))
    }
}

/// Reads a line.
fn parse(line: &[u8]) -> Option<Known> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let (place, holder) = line.split_at(tab);
    Some(Known {
        place: unescape(place)?,
        holder: unescape(holder.get(1..)?)?,
    })
}

/// Appends a path as it stands in a line.
fn escape(path: &Path, line: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if byte < b' ' || byte == b'\\' || byte == 0x7f {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            line.push(byte);
        }
    }
}

/// Reads a path as it stands in a line; only absolute ones are taken.
fn unescape(text: &[u8]) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\' {
            let digits = tail.strip_prefix(b"x")?.get(..2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail.get(3..)?;
        } else {
            bytes.push(byte);
        }
    }
    let path = PathBuf::from(OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_place_is_found_by_its_latest_entry_whatever_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(&dir.path().join("made/on/demand"));
        let odd = Path::new(OsStr::from_bytes(b"/mnt/tab\there\n\\x41\xff"));
        places.note(odd, Path::new("/a")).unwrap();
        places.note(Path::new("/mnt/b"), Path::new("/b")).unwrap();
        places.note(odd, Path::new("/c")).unwrap();
        assert_eq!(places.find(odd), Some(PathBuf::from("/c")));
        assert_eq!(places.find(Path::new("/mnt/b")), Some(PathBuf::from("/b")));
        assert_eq!(places.find(Path::new("/mnt")), None);
        assert_eq!(places.all().len(), 2);
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"no tab\n\t\n/x\\\t/y\n/x\\xzz\t/y\nrelative\t/y\n/good\t/store\n";
        fs::write(dir.path().join(FILE), text).unwrap();
        let all = Places::new(dir.path()).all();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].place, Path::new("/good"));
    }
}
