//! Where things are kept when nobody says where (XDG Base Directory Specification 0.8).

use std::env;
use std::path::{Path, PathBuf};

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
