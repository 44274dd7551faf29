//! What `tandem status --json` says.

use serde_json::Value;

/// A picture of a running program.
#[derive(Clone, Debug)]
pub(crate) struct Picture(Value);

/// What it says of one file.
#[derive(Clone, Debug)]
pub(crate) struct FilePicture(Value);

impl Picture {
    /// Reads it.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Returns one of the counters.
    #[track_caller]
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counted = &self.0["counters"][name];
        counted
            .as_u64()
            .unwrap_or_else(|| panic!("no counter {name}: {self:?}"))
    }

    /// Returns a number at the top.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no number {name}: {self:?}"))
    }

    /// Returns a text at the top.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text {name}: {self:?}"))
    }

    /// Returns whether a flag at the top is set.
    #[track_caller]
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0[name]
            .as_bool()
            .unwrap_or_else(|| panic!("no flag {name}: {self:?}"))
    }

    /// Returns the state of each peer's link.
    pub(crate) fn links(&self) -> Vec<String> {
        let peers = self.0["peers"].as_array().expect("peers are a list");
        peers
            .iter()
            .map(|peer| peer["link"].as_str().expect("a link").to_owned())
            .collect()
    }

    /// Returns what it says of a file, by its path from the root.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> Option<FilePicture> {
        let files = self.0["files"].as_array();
        files
            .unwrap_or_else(|| panic!("no files: {self:?}"))
            .iter()
            .find(|file| file["path"] == path)
            .cloned()
            .map(FilePicture)
    }
}

impl FilePicture {
    /// Returns one of its numbers.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no number {name}: {self:?}"))
    }
}
