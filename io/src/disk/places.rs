//! Where an object's files lie: its data while they are partial, its sidecar, its data once they
//! are complete.
//!
//! Law: two objects never share a place at the same time, and no name of a user's choosing
//! decides where the store of a joined folder puts anything.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tandem_core::ids::{ActorId, Dot, NodeId, ObjectId};

use crate::disk::drafts::JOURNAL;
use crate::disk::objects::NEW;
use crate::disk::open_directory;

/// A name in a directory that is held open, or in a directory in it.
#[derive(Clone, Debug)]
pub struct Spot {
    dir: Arc<OwnedFd>,
    sub: Option<String>,
    name: OsString,
}

impl Spot {
    fn new(dir: &Arc<OwnedFd>, name: impl Into<OsString>) -> Self {
        Self {
            dir: Arc::clone(dir),
            sub: None,
            name: name.into(),
        }
    }

    /// Returns the spot of the same name with `suffix`.
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        let mut beside = self.clone();
        beside.name.push(suffix);
        beside
    }

    /// Opens what lies there. A symlink there is none of ours, and is not followed.
    pub(crate) fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(&self.dir, self.path(), flags, mode)
    }

    /// Returns the length of the regular file there, if there is one.
    pub(crate) fn len(&self) -> Result<Option<u64>, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let mask = rustix::fs::StatxFlags::TYPE | rustix::fs::StatxFlags::SIZE;
        match rustix::fs::statx(&self.dir, self.path(), flags, mask) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()).is_file() => {
                Ok(Some(stat.stx_size))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Removes the file there, if there is one.
    pub(crate) fn remove(&self) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.dir, self.path(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Renames the file here to another spot, whose directory it makes.
    pub(crate) fn rename(&self, to: &Self) -> Result<(), Errno> {
        if let Some(sub) = &to.sub {
            match rustix::fs::mkdirat(&to.dir, sub.as_str(), Mode::RWXU) {
                Ok(()) => rustix::fs::fsync(&to.dir)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        rustix::fs::renameat(&self.dir, self.path(), &to.dir, to.path())
    }

    /// Makes the names in this spot's directory survive power loss.
    pub(crate) fn sync_directory(&self) -> Result<(), Errno> {
        match &self.sub {
            None => rustix::fs::fsync(&self.dir),
            Some(sub) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(&self.dir, sub.as_str(), flags, Mode::empty())?;
                rustix::fs::fsync(dir)
            }
        }
    }

    fn path(&self) -> PathBuf {
        match &self.sub {
            None => PathBuf::from(&self.name),
            Some(sub) => Path::new(sub).join(&self.name),
        }
    }
}

/// Where the files of one object lie.
#[derive(Clone, Debug)]
pub struct Place {
    /// The partial file.
    pub(crate) partial: Spot,
    /// Its sidecar.
    pub(crate) sidecar: Spot,
    /// The complete file.
    pub(crate) complete: Spot,
    /// Whether what lies at the complete place is known to be this object.
    pub(crate) ours: bool,
    /// Whether what lies at the complete place goes with the object: what was put at a place of
    /// the user's is the user's.
    pub(crate) disposable: bool,
    /// Permissions of the files, before the umask.
    pub(crate) mode: Mode,
    /// Whose place it is, where it can change hands.
    owner: Option<Arc<Mutex<ObjectId>>>,
}

impl Place {
    /// Holds the place for a change of what lies there; fails if it has gone to another object.
    pub(crate) fn hold(&self, object: ObjectId) -> Result<Option<MutexGuard<'_, ObjectId>>, Errno> {
        let Some(owner) = &self.owner else {
            return Ok(None);
        };
        let held = owner.lock().unwrap_or_else(PoisonError::into_inner);
        if *held == object {
            Ok(Some(held))
        } else {
            Err(Errno::NOENT)
        }
    }
}

/// Knows where objects lie.
pub trait Places: fmt::Debug + Send + Sync + 'static {
    /// Returns where an object's files lie, or `None` if it has no place.
    fn place(&self, object: ObjectId) -> Option<Place>;

    /// Takes note that an object stands at its complete place.
    fn finished(&self, object: ObjectId);
}

/// The store of a joined folder: `partial/OBJECT`, `partial/OBJECT.kdbitmap` and
/// `objects/XX/OBJECT`, where `OBJECT` is four numbers of 16 hex digits (the node's actor and
/// counter, the version's actor and counter) and `XX` the last two digits of the xxh3-64 of
/// that name, so that no directory grows large.
#[derive(Debug)]
pub struct Store {
    objects: Arc<OwnedFd>,
    partial: Arc<OwnedFd>,
}

impl Store {
    /// Opens the store in `dir`, and makes its directories if they are missing.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let open = |name: &str| -> std::io::Result<Arc<OwnedFd>> {
            let path = dir.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            Ok(Arc::new(open_directory(&path)?))
        };
        let store = Self {
            objects: open("objects")?,
            partial: open("partial")?,
        };
        rustix::fs::fsync(open_directory(dir)?)?;
        Ok(store)
    }
}

/// Returns the name of an object: four numbers of 16 hex digits.
pub(crate) fn object_name(object: ObjectId) -> String {
    format!(
        "{:016x}-{:016x}-{:016x}-{:016x}",
        object.node.0.actor.0,
        object.node.0.counter,
        object.version.actor.0,
        object.version.counter,
    )
}

/// Returns what an object is called in a store, and the directory in which it stands once it is
/// complete.
fn object_place(object: ObjectId) -> (String, String) {
    let name = object_name(object);
    let [.., last] = xxhash_rust::xxh3::xxh3_64(name.as_bytes()).to_be_bytes();
    (name, format!("{last:02x}"))
}

/// Returns the object that is called so, and what stands behind its name.
fn object_called(name: &str) -> Option<(ObjectId, &str)> {
    let (name, rest) = name.split_at_checked(NAME_LEN)?;
    let mut numbers = name
        .split('-')
        .map(|word| u64::from_str_radix(word, 16).ok());
    let mut dot = || {
        let (actor, counter) = (ActorId(numbers.next()??), numbers.next()??);
        Some(Dot { actor, counter })
    };
    let object = ObjectId {
        node: NodeId(dot()?),
        version: dot()?,
    };
    // Whatever is written in another way is not ours.
    (object_name(object) == name).then_some((object, rest))
}

impl Store {
    /// Removes what is left of objects that are of no use: a kill may come between the record of
    /// an object and its files. What is not called as an object is, where one would stand, is not
    /// ours and stays; so does all of an object that is written to. Returns how many files went.
    /// To be called before anything uses the store.
    pub fn sweep(&self, is_of_use: impl Fn(ObjectId) -> bool) -> Result<u64, Errno> {
        let partial = names_in(&self.partial)?;
        let drafts = partial.iter().filter_map(|name| {
            let (object, rest) = object_called(name)?;
            rest.starts_with(JOURNAL).then_some(object)
        });
        let drafts: BTreeSet<ObjectId> = drafts.collect();
        let is_left = |name: &str| {
            let (object, rest) = object_called(name)?;
            let is_ours = ["", SIDECAR, NEW, ".kdbitmap.new"].contains(&rest);
            let is_kept = drafts.contains(&object) || is_of_use(object);
            (is_ours && !is_kept).then_some(object)
        };
        let mut gone = 0;
        for name in partial {
            if is_left(&name).is_some() {
                gone += remove_file(&Spot::new(&self.partial, name))?;
            }
        }
        for sub in names_in(&self.objects)? {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(dir) = rustix::fs::openat(&self.objects, sub.as_str(), flags, Mode::empty())
            else {
                continue;
            };
            let dir = Arc::new(dir);
            for name in names_in(&dir)? {
                let stands = is_left(&name)
                    .is_some_and(|object| object_place(object) == (name.clone(), sub.clone()));
                if stands {
                    gone += remove_file(&Spot::new(&dir, name))?;
                }
            }
        }
        Ok(gone)
    }
}

/// Lists a directory; names that are not UTF-8 are not ours, and are left out.
fn names_in(dir: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        if let Ok(name) = entry?.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Removes a regular file; returns how many went.
fn remove_file(spot: &Spot) -> Result<u64, Errno> {
    match spot.len()? {
        Some(_) => spot.remove().map(|()| 1),
        None => Ok(0),
    }
}

impl Places for Store {
    fn place(&self, object: ObjectId) -> Option<Place> {
        let (name, sub) = object_place(object);
        let partial = Spot::new(&self.partial, &name);
        Some(Place {
            sidecar: partial.beside(SIDECAR),
            partial,
            complete: Spot {
                sub: Some(sub),
                ..Spot::new(&self.objects, name)
            },
            ours: true,
            disposable: true,
            mode: Mode::RUSR | Mode::WUSR,
            owner: None,
        })
    }

    fn finished(&self, _object: ObjectId) {}
}

/// Files that a user wants at places of his own (`tandem get`). Beside the target `NAME` lie
/// `.NAME.tandem-part` and `.NAME.tandem-part.kdbitmap`, with a cut `NAME` and its hash where
/// that would be too long.
///
/// What lies at a target before the object was finished there is the user's: it is neither
/// believed nor removed, only replaced at the end.
#[derive(Debug, Default)]
pub struct Targets {
    assigned: Mutex<Assigned>,
}

#[derive(Debug, Default)]
struct Assigned {
    places: BTreeMap<ObjectId, Place>,
    owners: BTreeMap<PathBuf, Arc<Mutex<ObjectId>>>,
}

impl Targets {
    /// Gives an object a target, which it takes from whatever object had it (an earlier version
    /// of the file). The directory of the target must be there.
    pub fn assign(&self, object: ObjectId, target: &Path) -> std::io::Result<()> {
        let name = target.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        let parent = match target.parent() {
            None => Path::new("."),
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        };
        let key = parent.canonicalize()?.join(name);
        let dir = Arc::new(open_directory(parent)?);
        let partial = Spot::new(&dir, partial_name(name));
        let owner = Arc::clone(
            self.lock()
                .owners
                .entry(key)
                .or_insert_with(|| Arc::new(Mutex::new(object))),
        );
        // First the owner, then the map, as whoever holds the place does. It waits for a change
        // under way, after which the former owner finds its place taken.
        let mut held = owner.lock().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *held, object);
        let mut assigned = self.lock();
        if former != object {
            assigned.places.remove(&former);
        }
        let place = Place {
            sidecar: partial.beside(SIDECAR),
            partial,
            complete: Spot::new(&dir, name),
            ours: false,
            disposable: false,
            mode: Mode::from_raw_mode(0o666),
            owner: Some(Arc::clone(&owner)),
        };
        assigned.places.entry(object).or_insert(place);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Assigned> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places for Targets {
    fn place(&self, object: ObjectId) -> Option<Place> {
        self.lock().places.get(&object).cloned()
    }

    fn finished(&self, object: ObjectId) {
        if let Some(place) = self.lock().places.get_mut(&object) {
            place.ours = true;
        }
    }
}

/// The length of an object's name: four numbers and what stands between them.
const NAME_LEN: usize = 4 * 16 + 3;

/// What the name of a sidecar ends with.
const SIDECAR: &str = ".kdbitmap";

/// The longest name that is kept whole in the name of a partial file, in bytes: with the rest it
/// stays below the 255 of every file system.
const KEPT_LEN_MAX: usize = 200;

/// Returns the name of the partial file of a target.
fn partial_name(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let mut partial = b".".to_vec();
    match bytes.get(..KEPT_LEN_MAX) {
        Some(kept) if bytes.len() > KEPT_LEN_MAX => {
            let hash = xxhash_rust::xxh3::xxh3_64(bytes);
            partial.extend_from_slice(kept);
            partial.extend_from_slice(format!("~{hash:016x}").as_bytes());
        }
        Some(_) | None => partial.extend_from_slice(bytes),
    }
    partial.extend_from_slice(b".tandem-part");
    OsString::from_vec(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partial_files_fit_and_differ() {
        assert_eq!(partial_name(OsStr::new("a.iso")), ".a.iso.tandem-part");
        let long = |last: char| OsString::from("x".repeat(254) + &last.to_string());
        let (a, b) = (partial_name(&long('a')), partial_name(&long('b')));
        assert_ne!(a, b);
        assert!(a.len() + SIDECAR.len() + NEW.len() <= 255);
    }

    /// A kill came between an object's record, which said that it was superseded, and the removal
    /// of its files: they lay in the store for ever. What somebody put there is his.
    #[test]
    fn a_sweep_takes_what_nobody_owns_and_nothing_else() {
        let object = |counter| {
            let actor = ActorId(0xabc);
            ObjectId {
                node: NodeId(Dot { actor, counter }),
                version: Dot { actor, counter },
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let put = |path: &Path| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        let (kept, left) = (object_place(object(1)), object_place(object(2)));
        let (partial, objects) = (Path::new("partial"), Path::new("objects"));
        let draft = object_name(object(4));
        let stays = [
            partial.join(&draft),
            partial.join(draft.clone() + JOURNAL),
            partial.join(&kept.0),
            partial.join(kept.0.clone() + SIDECAR),
            objects.join(&kept.1).join(&kept.0),
            partial.join("letter.txt"),
            partial.join(left.0.clone() + ".bak"),
            partial.join(left.0.to_uppercase()),
            objects.join("zz").join(&left.0),
            objects.join(&left.1).join(left.0.clone() + "~"),
            PathBuf::from(&left.0),
        ];
        let goes = [
            partial.join(&left.0),
            partial.join(left.0.clone() + SIDECAR),
            partial.join(left.0.clone() + NEW),
            partial.join(left.0.clone() + SIDECAR + NEW),
            objects.join(&left.1).join(&left.0),
        ];
        stays.iter().chain(&goes).for_each(|path| put(path));
        std::fs::create_dir(dir.path().join(partial).join(object_name(object(3)))).unwrap();
        assert_eq!(store.sweep(|it| it == object(1)), Ok(5));
        for path in stays {
            assert!(dir.path().join(&path).exists(), "{}", path.display());
        }
        for path in goes {
            assert!(!dir.path().join(&path).exists(), "{}", path.display());
        }
        assert_eq!(store.sweep(|it| it == object(1)), Ok(0));
    }
}
