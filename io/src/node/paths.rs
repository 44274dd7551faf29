//! Where things are kept when nobody says where (XDG Base Directory Specification 0.8).

use std::env;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tandem_core::tree::name::{Name, NameError};

use super::NodeError;
use super::home::Home;
use super::known::Places;
use crate::control::ControlError;
use crate::mount::{point, table};

/// Returns `$XDG_DATA_HOME/tandem`: stores, and the list of places.
///
/// # Errors
/// When there is no home.
pub fn data_dir() -> Result<PathBuf, NodeError> {
    base("XDG_DATA_HOME", ".local/share").ok_or(NodeError::NoPlace {
        what: "the store",
        variable: "XDG_DATA_HOME",
        hint: ", or give --store",
    })
}

/// Returns `$XDG_STATE_HOME/tandem`: the user's guest key.
///
/// # Errors
/// When there is no home.
pub fn state_dir() -> Result<PathBuf, NodeError> {
    base("XDG_STATE_HOME", ".local/state").ok_or(NodeError::NoPlace {
        what: "the guest key",
        variable: "XDG_STATE_HOME",
        hint: "",
    })
}

/// Returns a base directory; by the specification a relative one does not count.
fn base(variable: &str, usual: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(usual)))
        .map(|base| base.join("tandem"))
}

/// Finds the home of what `path` names: a shared folder, a store, or a mount point. Never touches
/// a mount.
///
/// # Errors
/// When nothing was ever shared or mounted there.
pub fn find_home(path: &Path) -> Result<Home, NodeError> {
    let place = point::place(path)?;
    let known = data_dir()
        .ok()
        .and_then(|dir| Places::new(&dir).find(&place));
    if let Some(holder) = known {
        return Ok(Home::of(&holder));
    }
    let is_mounted = table::mounted()?
        .iter()
        .any(|line| line.is_ours() && place.starts_with(&line.point));
    let home = Home::of(&place);
    if !is_mounted && home.is_lived_in() {
        return Ok(home);
    }
    Err(ControlError::NotRunning { place }.into())
}

/// Finds to what a file belongs, in a shared folder or a mount: the home, the folder or mount point,
/// and the names that lead from there to the file, which need not be there.
///
/// # Errors
/// When it is in nothing that was ever shared or mounted, or can't be the name of a file.
pub fn find_file(file: &Path) -> Result<(Home, PathBuf, Vec<Name>), NodeError> {
    let nowhere = || {
        NodeError::from(ControlError::NotRunning {
            place: file.to_owned(),
        })
    };
    // What its last name is, is said, and not to where that may lead.
    let name = file.file_name().ok_or_else(nowhere)?;
    let above = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => point::place(parent)?,
        Some(_) | None => point::place(Path::new("."))?,
    };
    for place in above.ancestors() {
        let Ok(home) = find_home(place) else {
            continue;
        };
        let below = above.strip_prefix(place).map_err(|_| nowhere())?;
        let names = below.iter().chain([name]);
        let names: Result<Vec<Name>, NameError> =
            names.map(|name| Name::parse(name.as_bytes())).collect();
        let names = names.map_err(|why| NodeError::FileName {
            path: file.to_owned(),
            why,
        })?;
        return Ok((home, place.to_owned(), names));
    }
    Err(nowhere())
}
