//! The home of a replica: its `.tandem`, and what is written down there.
//!
//! Law: what makes a replica itself (its key, its folder's id, its secrets, its port) is drawn
//! once and kept; files with secrets are its user's alone; a file appears whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Secret};

use super::NodeError;

/// The name of the directory, in a shared folder or a store.
pub const DIRECTORY: &str = ".tandem";

/// The file with what makes a replica itself.
const FACTS: &str = "replica.toml";

/// A replica's `.tandem`.
#[derive(Clone, Debug)]
pub struct Home {
    holder: PathBuf,
    dir: PathBuf,
}

/// What kind of replica a home is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A shared folder.
    Share,
    /// The store of a joined one.
    Join,
}

/// What makes a replica itself. Ids and secrets are hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What kind it is.
    pub kind: Kind,
    /// What this peer calls itself.
    pub name: Label,
    /// The folder's id, of a shared one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub folder: Option<String>,
    /// The port on which a shared folder listens.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// The ticket by which a store was joined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ticket: Option<String>,
    /// The tickets that were given out, of a shared folder.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub invites: Vec<Invited>,
    /// The invitation of a shared folder's own mount.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mount: Option<Invited>,
}

/// A ticket that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invited {
    /// Its number.
    pub id: u64,
    /// Its secret.
    pub secret: String,
}

impl Home {
    /// Returns the home in `holder`: a shared folder, or a store.
    pub fn of(holder: &Path) -> Self {
        Self {
            holder: holder.to_owned(),
            dir: holder.join(DIRECTORY),
        }
    }

    /// Returns the home that is `dir` itself, which belongs to nobody else.
    pub fn at(dir: &Path) -> Self {
        Self {
            holder: dir.to_owned(),
            dir: dir.to_owned(),
        }
    }

    /// Returns the shared folder or the store.
    pub fn holder(&self) -> &Path {
        &self.holder
    }

    /// Returns the `.tandem` itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells whether a replica has ever lived here.
    pub fn is_lived_in(&self) -> bool {
        self.dir.join(FACTS).is_file()
    }

    /// Makes the directory, for its user alone. One that was loosened is tightened.
    ///
    /// # Errors
    /// When it can't be made, or is no directory.
    pub fn make(&self) -> Result<(), NodeError> {
        let failed = |why| NodeError::Home {
            path: self.dir.clone(),
            why,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(failed)?;
        let found = fs::symlink_metadata(&self.dir).map_err(failed)?;
        if !found.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        if found.permissions().mode() & 0o077 != 0 {
            let tight = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.dir, tight).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads the facts; `None` at the first start.
    ///
    /// # Errors
    /// When they can't be read, or make no sense.
    pub fn read(&self) -> Result<Option<Facts>, NodeError> {
        let path = self.dir.join(FACTS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(NodeError::Home { path, why }),
        };
        toml::from_str(&text)
            .map(Some)
            .map_err(|error| NodeError::Facts {
                path,
                what: error.message().to_owned(),
            })
    }

    /// Writes the facts, durably and for the user alone.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write(&self, facts: &Facts) -> Result<(), NodeError> {
        let path = self.dir.join(FACTS);
        let text = toml::to_string(facts).map_err(|error| NodeError::Facts {
            path: path.clone(),
            what: error.to_string(),
        })?;
        write_private(&path, &text).map_err(|why| NodeError::Home { path, why })
    }
}

impl Facts {
    /// Returns the folder's id.
    pub fn folder_id(&self) -> Option<FolderId> {
        self.folder.as_deref().and_then(unhex).map(FolderId)
    }
}

impl Invited {
    /// Returns the secret; `None` if it is damaged.
    pub fn secret(&self) -> Option<Secret> {
        unhex(&self.secret).map(Secret)
    }
}

/// Reads hex digits of exactly the length wanted.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Writes a file that only its user may read, in the place of whatever is there, whole or not at
/// all, durably.
///
/// # Errors
/// When it can't be written.
pub fn write_private(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes.as_ref())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_read_back_as_they_were_written_for_the_user_alone() {
        let holder = tempfile::tempdir().unwrap();
        let home = Home::of(holder.path());
        home.make().unwrap();
        assert_eq!(home.read().unwrap(), None);
        let facts = Facts {
            kind: Kind::Share,
            name: Label::parse("ada").unwrap(),
            folder: Some("00112233445566778899aabbccddeeff".to_owned()),
            port: Some(4_711),
            ticket: None,
            invites: vec![Invited {
                id: 1,
                secret: "ab".repeat(32),
            }],
            mount: None,
        };
        home.write(&facts).unwrap();
        home.write(&facts).unwrap();
        assert_eq!(home.read().unwrap(), Some(facts.clone()));
        assert_eq!(facts.folder_id().unwrap().0[1], 0x11);
        assert_eq!(facts.invites[0].secret().unwrap().0, [0xab; 32]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.dir()), 0o700);
        assert_eq!(mode(&home.dir().join(FACTS)), 0o600);
    }

    #[test]
    fn facts_that_make_no_sense_are_an_error_that_names_the_file() {
        let holder = tempfile::tempdir().unwrap();
        let home = Home::of(holder.path());
        home.make().unwrap();
        fs::write(home.dir().join(FACTS), "kind = \"neither\"").unwrap();
        let error = home.read().unwrap_err().to_string();
        assert!(error.contains("replica.toml"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
