//! The trace: one line for each event and action, and one hash over all of them.
//!
//! Law (P8): the same seed gives the same hash, on every machine and in every profile, so
//! nothing in a line may depend on an address, a hash map or a clock.

use std::fmt::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use crate::tale::Tale;

/// What happened, as text if it is wanted, as a hash always.
pub struct Trace {
    hash: Xxh3,
    lines: Option<Vec<String>>,
    count: u64,
    /// The same for a page, if one is wanted.
    pub tale: Option<Box<Tale>>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} lines)", self.count)
    }
}

impl Trace {
    /// Returns an empty trace; `keep` tells whether its lines are wanted.
    pub fn new(keep: bool) -> Self {
        Self {
            hash: Xxh3::new(),
            lines: keep.then(Vec::new),
            count: 0,
            tale: None,
        }
    }

    /// Adds a line. What is formatted goes straight into the hash.
    pub fn line(&mut self, now: u64, who: &str, what: fmt::Arguments<'_>) {
        self.count += 1;
        self.hash.update(&now.to_le_bytes());
        self.hash.update(who.as_bytes());
        // Hashing can't fail.
        let _ = Hashed(&mut self.hash).write_fmt(what);
        if let Some(lines) = &mut self.lines {
            lines.push(format!(
                "{:>4}.{:06} {who:<5} {what}",
                now / 1_000_000_000,
                now / 1_000 % 1_000_000
            ));
        }
    }

    /// Returns the number of lines.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Tells whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the hash of all lines.
    pub fn hash(&self) -> u64 {
        self.hash.digest()
    }

    /// Returns the lines, if they were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

struct Hashed<'a>(&'a mut Xxh3);

impl Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Bytes in a line: their number, and a hash.
pub struct Short<'a>(pub &'a [u8]);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = xxhash_rust::xxh3::xxh3_64(self.0) >> 32;
        write!(f, "{}B:{hash:08x}", self.0.len())
    }
}
