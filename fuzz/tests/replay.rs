//! Every input that was kept is tried again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tandem_fuzz::TARGETS;

#[test]
fn every_kept_input_keeps_the_laws() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let inputs = files(&corpus.join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_corpus_and_every_binary_has_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems(&root.join("corpus"), ""), known);
    assert_eq!(stems(&root.join("fuzz_targets"), "rs"), known);
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect()
}

/// The names of the files of a folder that have this extension, without it.
fn stems(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = files(folder).into_iter();
    let files = files.filter(|path| path.extension().unwrap_or_default() == extension);
    files
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}
