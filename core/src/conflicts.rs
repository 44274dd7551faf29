//! Conflicts, as people see and settle them.
//!
//! Law (P3): what goes when one is settled is deleted by somebody who knew it, and who was told
//! whose it is; an edit that was not known here brings it back.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::label::Label;
use crate::tree::name::Name;
use crate::tree::register::Kind;

/// A name for which several things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which: names from the root.
    pub path: Vec<Name>,
    /// What stands under it; nothing, if that was deleted.
    pub file: Option<Side>,
    /// What stands beside it, and where.
    pub copies: Vec<(Vec<Name>, Side)>,
}

/// One of the things that stand for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Who wrote it, and on which UTC day, in days from 1970-01-01; nobody wrote a directory.
    pub author: Option<(Label, u32)>,
    /// Whether that was here, in this run of the replica's life or an earlier one.
    pub is_mine: bool,
    /// How many of its bytes are known to be nowhere any more: reading them fails.
    pub gone: u64,
}

/// What becomes of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What was written here stays, and the rest goes.
    Mine,
    /// What was written elsewhere stays, and the rest goes.
    Theirs,
    /// All of it stays: each conflict copy is a file of its own, under the name that it has.
    Both,
}

/// A conflict that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The name that it was about: names from the root.
    pub path: Vec<Name>,
    /// Who wrote what stays.
    pub stays: Authors,
    /// Who wrote what went; nobody, if all of it stays.
    pub gone: Authors,
    /// Where else something of what stays is: files of their own, or conflict copies still if
    /// several of one side are left.
    pub beside: Vec<Vec<Name>>,
}

/// Why a conflict was not settled. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// The engine does not know yet what there is.
    #[error("it has only just been started and does not know all of its files yet; try again")]
    Starting,
    /// The engine is about to end.
    #[error("it is being stopped; start it again first")]
    Stopping,
    /// Nothing may be changed here.
    #[error("nothing may be changed here; settle it where the folder may be written to")]
    ReadOnly,
    /// No file has this name.
    #[error("there is no such file; tandem conflicts lists those that are in conflict")]
    NotFound,
    /// The file is in no conflict.
    #[error("it is in no conflict; tandem conflicts lists those that are")]
    NoConflict,
    /// What stands under the name is a directory.
    #[error(
        "a directory has the name, and only files are chosen between; rename one of the two, or \
         keep both"
    )]
    Directory,
    /// All of it was written here, or none.
    #[error(
        "all of it was written by {by}, {here}, so that mine and theirs do not tell it apart; keep \
         both, or remove or rename by hand what you do not want",
        by = .authors, here = if *.is_mine { "here" } else { "elsewhere" }
    )]
    OneSided {
        /// By whom.
        authors: Authors,
        /// Whether that was here.
        is_mine: bool,
    },
    /// What would go is being written.
    #[error("{path} would go, and a program has written to it and not closed it; close it first")]
    BeingWritten {
        /// Where it stands.
        path: String,
    },
    /// Of what would stay something is nowhere any more.
    #[error(
        "{path} would stay, and {gone} bytes of it are nowhere any more; copy what you want of the \
         others first, and remove them by hand, or keep both"
    )]
    InPart {
        /// Where it stands.
        path: String,
        /// How many bytes.
        gone: u64,
    },
}

/// Some authors, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authors(pub Vec<Label>);

impl FromIterator<Label> for Authors {
    fn from_iter<T: IntoIterator<Item = Label>>(authors: T) -> Self {
        let mut all: Vec<Label> = authors.into_iter().collect();
        all.sort();
        all.dedup();
        Self(all)
    }
}

impl fmt::Display for Authors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(" and "))
    }
}
