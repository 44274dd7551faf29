//! First contact, whatever happened before: ada's metadata come from a backup, are lost, or her folder
//! is a copy.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tandem_core::edit::{Edit, RenameHow};
use tandem_core::engine::Last;
use tandem_core::event::FsCall;
use tandem_core::ids::Ino;

use crate::app::{append, both, close, create, flush, open, read, secs, written};
use crate::placing::{names, tree};
use crate::stage::Stage;

/// The files there may be.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Somebody does something to a file.
#[derive(Clone, Copy, Debug)]
struct Deed {
    is_bo: bool,
    what: What,
    name: usize,
    other: usize,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Write,
    Replace,
    Append,
    Remove,
    Rename,
    /// Bo reads it, as far as he does not have it.
    Read,
}

/// What becomes of ada while she is away.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Her metadata come from a backup.
    Backup,
    /// They are lost.
    Lost,
    /// She goes on with a copy of her folder.
    Copied,
}

fn deed() -> impl Strategy<Value = Deed> {
    let what = prop_oneof![
        3 => Just(What::Write),
        1 => Just(What::Replace),
        1 => Just(What::Append),
        1 => Just(What::Remove),
        1 => Just(What::Rename),
        2 => Just(What::Read),
    ];
    let size = prop_oneof![Just(3usize), Just(600), Just(1_300)];
    let names = 0..NAMES.len();
    (any::<bool>(), what, names.clone(), names, size).prop_map(
        |(is_bo, what, name, other, size)| Deed {
            is_bo,
            what,
            name,
            other,
            size,
        },
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Backup), Just(Fate::Lost), Just(Fate::Copied),]
}

/// Ada and bo, and what their folder holds.
struct Life {
    stage: Stage,
    files: BTreeMap<String, Vec<u8>>,
    /// Names that were left by a rename: a file that takes one of them since the backup is taken for an
    /// edit of the one that left it, whose file is another, too, if it was edited since. Both are kept,
    /// and neither the names.
    left: BTreeSet<&'static str>,
    /// Whether a backup was made. What bo has moved since and ada edited after, her restored metadata
    /// know under its old name alone, where it shows again; so he moves nothing.
    is_backed_up: bool,
    /// Grows with everything that is done: no two contents are equal, nor two times.
    done: u8,
}

impl Life {
    fn new() -> Self {
        let mut stage = both();
        stage.side("ada").files.remove("photo");
        stage.hint("photo");
        stage.wait(secs(3));
        Self {
            stage,
            files: BTreeMap::new(),
            left: BTreeSet::new(),
            is_backed_up: false,
            done: 0,
        }
    }

    /// Does something, and waits until the other has heard of it.
    fn deed(&mut self, deed: Deed) {
        let name = NAMES[deed.name];
        let is_there = self.files.contains_key(name);
        self.done += 1;
        let bytes = vec![self.done; deed.size];
        if !is_there && self.left.contains(name) {
            return;
        }
        match (deed.what, is_there) {
            (What::Write | What::Replace, _) => self.write(deed, name, bytes),
            (What::Append, true) => {
                let mut all = self.files[name].clone();
                if deed.is_bo {
                    self.append(name, &bytes);
                } else {
                    self.stage
                        .side("ada")
                        .files
                        .write(name, &[&all[..], &bytes].concat());
                }
                all.extend(bytes);
                self.files.insert(name.to_owned(), all);
            }
            (What::Remove, true) => {
                if deed.is_bo {
                    let (parent, name) = (Ino::ROOT, name.into());
                    self.stage
                        .call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
                } else {
                    self.stage.side("ada").files.remove(name);
                }
                self.files.remove(name);
            }
            (What::Rename, true) if self.may_take(deed, NAMES[deed.other]) => {
                self.left.insert(name);
                self.rename(deed.is_bo, name, NAMES[deed.other]);
            }
            (What::Read, true) => assert!(read(&mut self.stage, name) == self.files[name]),
            (What::Append | What::Remove | What::Rename | What::Read, _) => {}
        }
        for name in NAMES {
            self.stage.hint(name);
        }
        self.stage.wait(secs(6));
    }

    fn write(&mut self, deed: Deed, name: &str, bytes: Vec<u8>) {
        if !deed.is_bo {
            let files = &mut self.stage.side("ada").files;
            match deed.what {
                What::Replace => files.replace(name, &bytes),
                _ => files.write(name, &bytes),
            }
        } else if self.files.contains_key(name) {
            return;
        } else {
            self.make(name, &bytes);
        }
        self.files.insert(name.to_owned(), bytes);
    }

    /// Returns whether a file may be moved to a name.
    fn may_take(&self, deed: Deed, name: &str) -> bool {
        let is_free = !self.files.contains_key(name) && !self.left.contains(name);
        let is_known = !deed.is_bo || !self.is_backed_up;
        is_free && is_known
    }

    /// Bo makes a file.
    fn make(&mut self, name: &str, bytes: &[u8]) {
        let (_, fh) = create(&mut self.stage, name);
        written(&mut self.stage, fh, 0, bytes, 1_000 + i64::from(self.done));
        flush(&mut self.stage, fh);
        close(&mut self.stage, fh);
    }

    fn append(&mut self, name: &str, bytes: &[u8]) {
        let (_, fh) = open(&mut self.stage, name);
        let end = self.files[name].len() as u64;
        append(
            &mut self.stage,
            fh,
            end,
            bytes,
            1_000 + i64::from(self.done),
        );
        flush(&mut self.stage, fh);
        close(&mut self.stage, fh);
    }

    fn rename(&mut self, is_bo: bool, from: &str, to: &str) {
        if is_bo {
            let edit = Edit::Rename {
                parent: Ino::ROOT,
                name: from.into(),
                to_parent: Ino::ROOT,
                to_name: to.into(),
                how: RenameHow::Replace,
            };
            self.stage.call("bo", FsCall::Edit(edit));
        } else {
            self.stage.side("ada").files.rename(from, to);
        }
        let bytes = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), bytes);
    }

    /// Asserts that both sides hold what they should, and nothing else.
    fn expect(&mut self) -> Result<(), TestCaseError> {
        let called: Vec<String> = self.files.keys().cloned().collect();
        prop_assert_eq!(names(&mut self.stage), called.clone());
        prop_assert!(tree(&mut self.stage) == self.files);
        let shown: Vec<String> = self.stage.shown("bo").into_iter().collect();
        let paths: Vec<String> = called.iter().map(|name| format!("/{name}")).collect();
        prop_assert_eq!(shown, paths);
        for (name, bytes) in self.files.clone() {
            prop_assert!(
                read(&mut self.stage, &name) == bytes,
                "{} has other bytes",
                name
            );
        }
        for name in ["ada", "bo"] {
            prop_assert!(self.stage.side(name).engine().is_synced(), "{}", name);
        }
        prop_assert_eq!(self.stage.side("ada").faults.clone(), []);
        Ok(())
    }
}

proptest! {
    #[test]
    fn both_sides_end_with_all_files_once(
        before in prop::collection::vec(deed(), 0..8),
        since in prop::collection::vec(deed(), 0..8),
        fate in fate(),
    ) {
        let mut life = Life::new();
        for deed in before {
            life.deed(deed);
        }
        life.left.clear();
        life.is_backed_up = true;
        let backup = life.stage.side("ada").store.clone();
        for deed in since {
            life.deed(deed);
        }
        life.stage.kill("ada");
        life.done += 1;
        life.make("bo's", b"bo's alone");
        life.files.insert("bo's".to_owned(), b"bo's alone".to_vec());
        let ada = life.stage.side("ada");
        match fate {
            Fate::Backup => ada.store = backup,
            Fate::Lost => ada.store.clear(),
            Fate::Copied => ada.files.copied(),
        }
        ada.files.write("ada's", b"ada's alone");
        life.files.insert("ada's".to_owned(), b"ada's alone".to_vec());
        life.stage.start("ada", Last::Lost);
        life.stage.wait(secs(40));
        life.expect()?;
        life.stage.kill("ada");
        life.stage.start("ada", Last::Killed);
        life.stage.wait(secs(40));
        life.expect()?;
    }
}
