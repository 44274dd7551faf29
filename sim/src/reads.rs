//! Judging reads: what they returned by P1, P5, P7 and P9, and whether they may fail.

use tandem_core::action::Shown;
use tandem_core::error::FsError;
use tandem_core::ids::Fh;

use crate::check::here::Look;
use crate::check::truth::Piece;
use crate::check::{Failure, Kind, Verdict};
use crate::config::SEC;
use crate::reach;
use crate::world::{HOST, World};

/// A read that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Through which handle.
    pub fh: Fh,
    /// From which offset.
    pub offset: u64,
    /// How many bytes were asked for.
    pub len: u32,
    /// How long it took.
    pub took: u64,
}

/// Returns by what an application knows the version of a file.
fn look(shown: &Shown) -> Look {
    (shown.size, shown.mtime)
}

impl World {
    /// Judges what a read returned.
    pub(crate) fn judge_read(&mut self, p: usize, read: Ended, bytes: &[u8]) -> Verdict {
        let Ended {
            fh,
            offset,
            len,
            took,
        } = read;
        let now = self.now;
        let peer = &mut self.peers[p];
        let Some(opened) = peer.kernel.open.get(&fh) else {
            return Err(Failure::safety("P7", format!("{fh} is not open and reads")));
        };
        // While it is written to, the kernel's size is that of before.
        if let Some(cached) = peer.kernel.attrs.get(&opened.ino)
            && !peer.kernel.is_changing(opened.ino)
        {
            // The kernel was not told that the size has changed.
            let due = cached.size.saturating_sub(offset).min(u64::from(len));
            if bytes.len() as u64 != due {
                let got = bytes.len();
                let what = format!(
                    "{} at {offset}: {got} bytes of the {due} that its size promises",
                    opened.ino
                );
                return Err(Failure::safety("P1", what));
            }
        }
        let (ino, end) = (opened.ino, offset + bytes.len() as u64);
        peer.reads.entry(fh).or_default().push((offset, end));
        if let Some(shown) = peer.kernel.attrs.get(&ino)
            && p != HOST
        {
            let (began, file) = (now.saturating_sub(took), (ino, look(shown)));
            let had = peer.here.had(began, file, offset, bytes.len());
            if !bytes.is_empty() && had == Some(bytes) {
                reach!(self.reach, "read: of what was read before");
                peer.live.only_this_disk(now, began)?;
            }
            peer.here.read((began, now), file, (offset, bytes));
        }
        let piece = Piece {
            ino,
            offset,
            asked: u64::from(len),
            bytes,
        };
        if peer.bodies.read(&piece, &mut self.folder.history)? {
            return Ok(());
        }
        peer.truth.read(&self.folder.history, &piece)
    }

    /// Judges that a read failed.
    pub(crate) fn judge_failed_read(&mut self, p: usize, read: Ended, error: FsError) -> Verdict {
        let Ended {
            fh,
            offset,
            len,
            took,
        } = read;
        let now = self.now;
        let peer = &mut self.peers[p];
        reach!(self.reach, "read: failed");
        let end = offset + u64::from(len);
        let held = |(from, to): &(u64, u64)| *from <= offset && end <= *to;
        let read = peer
            .reads
            .get(&fh)
            .is_some_and(|reads| reads.iter().any(held));
        let whole = !peer.caused.any_disk() && !peer.caused.power && !peer.stopping;
        if read && whole && error == FsError::Io {
            let what = format!("what was read through {fh} at {offset} can't be read again");
            return Err(Failure::safety("P7", what));
        }
        let began = now.saturating_sub(took);
        if let Some(opened) = peer.kernel.open.get(&fh)
            && let Some(shown) = peer.kernel.attrs.get(&opened.ino)
            && p != HOST
            && !peer.stopping
            && !self.set_back
            && let file = (opened.ino, look(shown))
            && (peer.here).had(began, file, offset, len as usize).is_some()
        {
            let what = format!("what was read through {fh} at {offset} is not here");
            return Err(Failure::safety("P5", what));
        }
        let (open, stopping) = (peer.kernel.open.contains_key(&fh), peer.stopping);
        let fits = if open {
            error == FsError::Io
        } else {
            error == FsError::BadHandle
        };
        if !fits {
            let what = format!("a read of {fh}, open {open}, is answered {error:?}");
            return Err(Failure::safety("P1", what));
        }
        let ino = peer.kernel.open.get(&fh).map(|opened| opened.ino);
        if let Some(ino) = ino {
            let before = peer.failed.get(&ino).copied();
            if took > 0 {
                peer.failed.insert(ino, now);
            } else if before.is_some_and(|before| now < before + SEC) {
                reach!(self.reach, "read: failed again, at once");
                return Ok(());
            }
        }
        let edited = self.peers.iter().any(|peer| peer.caused.edit);
        let peer = &self.peers[p];
        if open
            && !stopping
            && !edited
            && self.config.sleeps == 0
            && took + SEC < self.config.read_deadline
            && peer.live.is_greeted()
            && !peer.retries.any(self.config.retries)
        {
            let what = format!("a read of {fh} failed before its time, and nothing ended");
            return Err(Failure::new(Kind::Liveness, "P9", what));
        }
        // One of dozens of chunks over a slow link, beside others, has its deadline too.
        let chunks = u64::from(len).div_ceil(self.config.chunk_size.into());
        let is_long = took >= self.config.read_deadline
            && chunks * 2 * self.config.latency >= self.config.read_deadline;
        let is_healthy = !self.peers.iter().any(|peer| peer.caused.anything());
        if open && !stopping && !is_long && is_healthy {
            let what = format!("a read of {fh} failed, and nothing was wrong");
            return Err(Failure::safety("P1", what));
        }
        Ok(())
    }
}
