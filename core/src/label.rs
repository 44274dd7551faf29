//! The name of a peer or of a folder: a short line that a person reads.
//!
//! Law: 1 to [`LABEL_LEN_MAX`] bytes of UTF-8 without control characters and without `/`, so
//! that it can stand in a log line and in a file's name.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::LABEL_LEN_MAX;

/// A checked label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

/// Why a text is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing is left of it.
    #[error("a name of a peer or folder may not be empty")]
    Empty,
    /// It is too long.
    #[error("a name of a peer or folder may have {LABEL_LEN_MAX} bytes at most; this has {0}")]
    Long(usize),
    /// It has a character that would break a line or a file's name.
    #[error("a name of a peer or folder may not contain {0:?}")]
    Character(char),
}

impl Label {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.len() > LABEL_LEN_MAX {
            return Err(LabelError::Long(text.len()));
        }
        match text.chars().find(|c| c.is_control() || *c == '/') {
            Some(c) => Err(LabelError::Character(c)),
            None => Ok(Self(text.into())),
        }
    }

    /// Makes a label of any text: what does not fit is cut or becomes `_`.
    pub fn lossy(text: &str) -> Self {
        let mut label = String::new();
        for c in text.chars() {
            let c = if c.is_control() || c == '/' { '_' } else { c };
            if label.len() + c.len_utf8() > LABEL_LEN_MAX {
                break;
            }
            label.push(c);
        }
        if label.is_empty() {
            label.push('_');
        }
        Self(label.into())
    }

    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        Self::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.to_string()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_as_long_as_is_allowed_and_no_longer() {
        let longest = "x".repeat(LABEL_LEN_MAX);
        assert_eq!(Label::parse(&longest).map(String::from), Ok(longest));
        for over in [1, 2] {
            let long = "x".repeat(LABEL_LEN_MAX + over);
            assert_eq!(
                Label::parse(&long),
                Err(LabelError::Long(LABEL_LEN_MAX + over))
            );
        }
        assert_eq!(Label::parse(""), Err(LabelError::Empty));
        assert_eq!(Label::parse("a/b"), Err(LabelError::Character('/')));
    }
}
