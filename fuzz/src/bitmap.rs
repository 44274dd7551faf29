//! The bitmap of chunks: its bytes on disk, and its operations against a list of bools.

use tandem_core::fetch::bitmap::{ChunkBitmap, Fill};
use tandem_core::ids::ChunkIx;

/// Where the chunk size stands in a sidecar of version 1. Zero is read there and never written.
const CHUNK_SIZE_AT: std::ops::Range<usize> = 21..25;

/// Decodes any bytes as a sidecar of version 1; what is accepted must agree with itself, and be
/// written as it was read.
///
/// # Panics
///
/// When a law does not hold.
pub fn bitmap_decode(bytes: &[u8]) {
    let Ok(bitmap) = ChunkBitmap::decode(bytes, None) else {
        return;
    };
    let mut written = bitmap.encode();
    assert_eq!(
        ChunkBitmap::decode(&written, Some(bitmap.file_size())).as_ref(),
        Ok(&bitmap)
    );
    if bytes[CHUNK_SIZE_AT] == [0; 4] {
        written[CHUNK_SIZE_AT].fill(0);
    }
    assert_eq!(written, bytes);
    assert!(ChunkBitmap::decode(bytes, Some(bitmap.file_size() ^ 1)).is_err());

    let held: Vec<_> = bitmap.held().collect();
    assert_eq!(u32::try_from(held.len()), Ok(bitmap.have()));
    assert!(
        held.iter()
            .all(|&chunk| bitmap.has(chunk) && chunk.0 < bitmap.total())
    );
    assert_eq!(
        bitmap.is_complete(),
        bitmap.next_missing(ChunkIx(0)).is_none()
    );
    let bytes: u64 = held
        .iter()
        .map(|&chunk| u64::from(bitmap.chunk_range(chunk).1))
        .sum();
    assert_eq!(bytes, bitmap.have_bytes());
}

/// Reads bytes as a file and operations on its bitmap, and does them on a list of bools too.
///
/// # Panics
///
/// When the two disagree.
pub fn bitmap_ops(bytes: &[u8]) {
    let mut noise = Noise(bytes);
    let size = 1 + noise.number() % 20_000;
    let chunk_size = 1 + u32::from(noise.byte());
    let mut bitmap = ChunkBitmap::with_chunk_size(size, chunk_size).expect("small sizes are fine");
    let total = bitmap.total();
    let mut model = vec![false; usize::try_from(total).expect("small sizes are fine")];

    let mut missing = model.len();
    while let [kind, ..] = noise.0 {
        noise.byte();
        let before = missing;
        let mut hold = |held: &mut bool| missing -= usize::from(!std::mem::replace(held, true));
        let fill = match kind % 3 {
            0 => {
                let at = noise.index(total);
                model.get_mut(at).map(&mut hold);
                bitmap.set(ix(at))
            }
            1 => {
                let (offset, len) = (noise.offset(size), noise.offset(size));
                let end = u128::from(offset) + u128::from(len);
                let covered = |at: usize| {
                    let (from, len) = bitmap.chunk_range(ix(at));
                    offset <= from && u128::from(from) + u128::from(len) <= end
                };
                let held = model.iter_mut().enumerate().filter(|(at, _)| covered(*at));
                held.for_each(|(_, held)| hold(held));
                bitmap.set_range(offset, len)
            }
            _ => {
                let at = noise.index(total);
                let was = model.get_mut(at).is_some_and(std::mem::take);
                missing += usize::from(was);
                assert_eq!(bitmap.clear(ix(at)), was);
                continue;
            }
        };
        assert_eq!(fill == Fill::Known, missing == before);
        assert_eq!(fill == Fill::Completed, missing < before && missing == 0);
    }

    for (at, held) in model.iter().enumerate() {
        assert_eq!(bitmap.has(ix(at)), *held);
    }
    assert_eq!(u32::try_from(model.len() - missing), Ok(bitmap.have()));
    assert_eq!(bitmap.progress() >= 1.0, bitmap.is_complete());
    let missing = |at: &usize| !model[*at];
    assert!(
        bitmap
            .missing_in(0, size)
            .eq((0..model.len()).filter(missing).map(ix))
    );
    assert_eq!(
        ChunkBitmap::decode(&bitmap.encode(), Some(size)),
        Ok(bitmap)
    );
}

/// Returns the chunk at an index of the model.
fn ix(at: usize) -> ChunkIx {
    ChunkIx(u32::try_from(at).expect("small sizes are fine"))
}

/// Bytes, taken one after another; zeros when they have run out.
struct Noise<'a>(&'a [u8]);

impl Noise<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes([self.byte(), self.byte(), self.byte(), 0, 0, 0, 0, 0])
    }

    /// An index of the bitmap, or the one behind its last.
    fn index(&mut self, total: u32) -> usize {
        usize::try_from(self.number() % (u64::from(total) + 1)).expect("small sizes are fine")
    }

    /// A number of bytes within the file or a little beyond; now and then the largest.
    fn offset(&mut self, size: u64) -> u64 {
        match self.number() {
            0xff_ffff => u64::MAX,
            number => number % (size + 3),
        }
    }
}
