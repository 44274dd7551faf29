//! Noise: the fuzzer's bytes, taken one after another.
//!
//! Law: what is built of it is valid by construction; when the bytes have run out, zeros follow.

/// Bytes that are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise<'a>(pub &'a [u8]);

impl<'a> Noise<'a> {
    /// Tells whether no bytes are left.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// Takes at most that many bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Takes up to 255 bytes that stand behind their number.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.bytes(len.into())
    }

    /// Takes an index into something of this length, at most 256; 0 if it has none.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len.max(1)
    }

    /// Takes one of a few.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.index(from.len())).copied()
    }

    /// Takes something that is so one time in `times`.
    pub(crate) fn one_in(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }
}
