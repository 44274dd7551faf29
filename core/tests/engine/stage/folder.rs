//! Ada's folder: a few files with fingerprints that change as a real file system's do.

use std::collections::BTreeMap;

use tandem_core::error::DiskError;
use tandem_core::event::{DiskDone, Fingerprint, Seen, Sighting};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath};
use tandem_core::tree::register::Xattrs;

/// 2026-11-23, 10:00 UTC.
const MORNING: i64 = 1_795_428_000;

/// The files of a shared folder, by path.
pub(crate) struct Files {
    files: BTreeMap<String, File>,
    /// Ticks with every change.
    clock: i64,
    inodes: u64,
}

#[derive(Clone)]
struct File {
    what: Seen,
    bytes: Vec<u8>,
    mode: u16,
    print: Fingerprint,
}

impl Default for Files {
    fn default() -> Self {
        let mut files = Self {
            files: BTreeMap::new(),
            clock: MORNING,
            inodes: 10,
        };
        files.make("", Seen::Directory, &[]);
        files
    }
}

fn text(path: &[Name]) -> String {
    let names = path
        .iter()
        .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    names.collect::<Vec<_>>().join("/")
}

impl Files {
    fn tick(&mut self) -> WallTime {
        self.clock += 1;
        WallTime {
            secs: self.clock,
            nanos: 0,
        }
    }

    fn make(&mut self, path: &str, what: Seen, bytes: &[u8]) {
        self.inodes += 1;
        let (now, ino) = (self.tick(), self.inodes);
        let print = Fingerprint {
            ino,
            born_ns: now.secs * 1_000_000_000,
            size: bytes.len() as u64,
            mtime: now,
            ctime: now,
        };
        let mode = if what == Seen::Directory {
            0o755
        } else {
            0o644
        };
        let bytes = bytes.to_vec();
        self.files.insert(
            path.to_owned(),
            File {
                what,
                bytes,
                mode,
                print,
            },
        );
    }

    /// Writes a file: in place if it is there.
    pub(crate) fn write(&mut self, path: &str, bytes: &[u8]) {
        if !self.files.contains_key(path) {
            self.make(path, Seen::File, bytes);
        }
        let now = self.tick();
        let file = self.files.get_mut(path).expect("it was made");
        file.bytes = bytes.to_vec();
        file.print.size = bytes.len() as u64;
        (file.print.mtime, file.print.ctime) = (now, now);
    }

    /// Puts another file in its place, as a save by rename does.
    pub(crate) fn replace(&mut self, path: &str, bytes: &[u8]) {
        self.make(path, Seen::File, bytes);
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        self.make(path, Seen::Directory, &[]);
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        let target = TargetPath::parse(target.as_bytes()).unwrap();
        self.make(path, Seen::Symlink(target), &[]);
    }

    pub(crate) fn chmod(&mut self, path: &str, mode: u16) {
        let now = self.tick();
        let file = self.files.get_mut(path).expect("it is there");
        (file.mode, file.print.ctime) = (mode, now);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let now = self.tick();
        let mut file = self.files.remove(from).expect("it is there");
        file.print.ctime = now;
        self.files.insert(to.to_owned(), file);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.files.remove(path).expect("it is there");
    }

    fn sighting(file: &File) -> Sighting {
        Sighting {
            what: file.what.clone(),
            print: file.print,
            mode: file.mode,
            uid: 0,
            gid: 0,
            nlink: 1,
            xattrs: Xattrs::new(),
        }
    }

    pub(super) fn list(&self, dir: &[Name]) -> Result<DiskDone, DiskError> {
        let at = text(dir);
        let this = self.files.get(&at).ok_or(DiskError::NotFound)?;
        let here = |path: &str| match path.rsplit_once('/') {
            Some((parent, name)) => (parent == at).then(|| name.to_owned()),
            None => (at.is_empty() && !path.is_empty()).then(|| path.to_owned()),
        };
        let item = |(path, file): (&String, &File)| {
            Some((
                Name::parse(here(path)?.as_bytes()).ok()?,
                Self::sighting(file),
            ))
        };
        Ok(DiskDone::Listed {
            this: this.print,
            items: self.files.iter().filter_map(item).collect(),
            complete: true,
            wall: WallTime {
                secs: self.clock,
                nanos: 0,
            },
        })
    }

    pub(super) fn look(&self, path: &[Name]) -> DiskDone {
        DiskDone::Looked {
            sighting: self.files.get(&text(path)).map(Self::sighting),
            wall: WallTime {
                secs: self.clock,
                nanos: 0,
            },
        }
    }

    pub(super) fn read(
        &self,
        path: &[Name],
        offset: u64,
        len: u32,
    ) -> Result<(Vec<u8>, Fingerprint), DiskError> {
        let file = self.files.get(&text(path)).ok_or(DiskError::NotFound)?;
        let from = usize::try_from(offset).unwrap().min(file.bytes.len());
        let to = (from + len as usize).min(file.bytes.len());
        Ok((file.bytes[from..to].to_vec(), file.print))
    }
}
