//! What lies below a directory, so that two can be compared.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// What peers share of one name. Equal numbers of `file` are one file with several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Kind and permissions.
    mode: u32,
    nlink: Option<u64>,
    /// Of files: size, time and bytes.
    file: Option<(u64, (i64, i64), u128)>,
    target: Option<PathBuf>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Everything below a directory by its path, but for `.tandem`.
pub(crate) type Tree = BTreeMap<PathBuf, Item>;

/// Reads what lies below `dir`; what goes meanwhile is left out.
pub(crate) fn tree(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    add(dir, Path::new(""), &mut tree);
    tree
}

/// Waits until two directories hold the same.
#[track_caller]
pub(crate) fn converge(one: &Path, other: &Path) -> Tree {
    let mut last = None;
    let mut differs = String::new();
    let found = super::within(|| {
        let (a, b) = (tree(one), tree(other));
        if a == b {
            last = Some(a);
            return Some(());
        }
        differs.clear();
        for path in a.keys().chain(b.keys()) {
            if a.get(path) != b.get(path) {
                differs += &format!(
                    "{}: {:?} and {:?}\n",
                    path.display(),
                    a.get(path),
                    b.get(path)
                );
            }
        }
        None
    });
    assert!(
        found.is_some(),
        "{} and {} differ:\n{differs}",
        one.display(),
        other.display()
    );
    last.expect("they are the same")
}

fn add(dir: &Path, below: &Path, tree: &mut Tree) {
    let Ok(listed) = fs::read_dir(dir.join(below)) else {
        return;
    };
    for item in listed.flatten() {
        if item.file_name() == ".tandem" {
            continue;
        }
        let path = below.join(item.file_name());
        let Some(item) = look(&dir.join(&path)) else {
            continue;
        };
        tree.insert(path.clone(), item);
        add(dir, &path, tree);
    }
}

fn look(path: &Path) -> Option<Item> {
    let seen = fs::symlink_metadata(path).ok()?;
    let is_link = seen.file_type().is_symlink();
    Some(Item {
        mode: if is_link {
            0
        } else {
            seen.permissions().mode()
        },
        nlink: (!seen.is_dir()).then(|| seen.nlink()),
        file: if seen.is_file() {
            Some(file(path, &seen)?)
        } else {
            None
        },
        target: is_link.then(|| fs::read_link(path)).transpose().ok()?,
        xattrs: if is_link {
            BTreeMap::new()
        } else {
            xattrs(path)?
        },
    })
}

fn file(path: &Path, seen: &Metadata) -> Option<(u64, (i64, i64), u128)> {
    let bytes = fs::read(path).ok()?;
    let time = (seen.mtime(), seen.mtime_nsec());
    Some((seen.len(), time, xxh3_128(&bytes)))
}

/// Returns what is in the `user.` namespace.
pub(crate) fn xattrs(path: &Path) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 65_536];
    let len = rustix::fs::listxattr(path, &mut names).ok()?;
    names.truncate(len);
    names
        .split(|&byte| byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::getxattr(path, name, &mut value).ok()?;
            value.truncate(len);
            Some((name.to_vec(), value))
        })
        .collect()
}
