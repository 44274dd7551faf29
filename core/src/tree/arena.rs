//! Values that are numbered as they come and never go: 32 bits stand for what would be a key.
//!
//! Law: a number stays with its value. Pages keep a large arena from being moved when it grows,
//! and from holding twice the memory that it needs.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// How many values a page holds: small enough for a small tree, by eye.
const PAGE: usize = 256;

/// Values by number.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    pages: Vec<Vec<T>>,
    len: u32,
}

impl<T> Arena<T> {
    /// Returns an arena of nothing.
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }

    /// Returns how many values there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Iterates over the values, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Adds `value`, and returns its number.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let ix = self.len;
        self.len = ix
            .checked_add(1)
            .expect("memory ends before 32 bits of nodes or entries do");
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => page.push(value),
            Some(_) | None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(value);
                self.pages.push(page);
            }
        }
        ix
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, ix: u32) -> &T {
        let ix = ix as usize;
        &self.pages[ix / PAGE][ix % PAGE]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, ix: u32) -> &mut T {
        let ix = ix as usize;
        &mut self.pages[ix / PAGE][ix % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_numbers_across_pages() {
        let mut arena = Arena::new();
        for n in 0..1_000_u32 {
            assert_eq!(arena.push(n * 3), n);
        }
        arena[700] = 1;
        assert_eq!(arena.len(), 1_000);
        for n in 0..1_000_u32 {
            assert_eq!(arena[n], if n == 700 { 1 } else { n * 3 });
        }
    }
}
