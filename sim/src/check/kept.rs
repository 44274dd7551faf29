//! P3 no lost edit: what was closed or synced on a mount, and what a program wrote in the shared
//! folder, is a file of the folder in the end, under whatever name, unless somebody who had seen
//! it replaced or deleted it.
//!
//! Law: a content that is owed is struck off only by an edit on top of it: by the mount that made
//! it, by one that showed its size and time, or by a program in the folder itself. What the host
//! does to the folder strikes off nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_core::action::Shown;
use tandem_core::ids::Ino;
use tandem_core::time::WallTime;

use super::bodies::{BENEATH, EITHER, FREE, is_open};
use super::truth::{History, Made};
use super::{Failure, Verdict};

/// By whom a content was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A program, in the shared folder.
    Outside,
    /// An application, on the mount of this peer, as this inode.
    Mount(usize, Ino),
}

/// What an edit under way is on top of.
#[derive(Clone, Copy, Debug)]
pub enum Seeing {
    /// It writes to this.
    Writes(Shown),
    /// It removes its last name.
    Removes(Shown),
    /// It sets its time, to this.
    Touches(Shown, WallTime),
}

impl Seeing {
    /// Returns the size of what is written over or removed.
    pub fn ends(&self) -> Option<u64> {
        match self {
            Self::Writes(shown) | Self::Removes(shown) => Some(shown.size),
            Self::Touches(..) => None,
        }
    }
}

/// A content that is owed.
#[derive(Clone, Debug)]
struct Owed {
    author: Author,
    cells: Arc<Vec<u16>>,
    /// The shortest length that it may have.
    shortest: usize,
    /// Of what the version beneath may have been.
    beneath: Vec<Arc<Vec<u16>>>,
    /// Its modification time, where nobody set it by hand.
    mtime: Option<WallTime>,
    /// Whether it survives power loss where it was made.
    is_hard: bool,
    at: u64,
}

impl Owed {
    fn may_have(&self, size: u64) -> bool {
        (self.shortest as u64..=self.cells.len() as u64).contains(&size)
    }

    fn is(&self, bytes: &[u8]) -> bool {
        let fits = |beneath: Option<&Arc<Vec<u16>>>| {
            let mut cells = self.cells.iter().zip(bytes).enumerate();
            cells.all(|(n, (cell, byte))| match *cell {
                FREE | EITHER => true,
                BENEATH => beneath.is_none_or(|beneath| {
                    let below = beneath.get(n).copied();
                    below.is_some_and(is_open) || below == Some(u16::from(*byte))
                }),
                known => known == u16::from(*byte),
            })
        };
        let whole = !self.cells.contains(&BENEATH);
        self.may_have(bytes.len() as u64)
            && if whole {
                fits(None)
            } else {
                self.beneath.iter().any(|beneath| fits(Some(beneath)))
            }
    }
}

/// A content that goes as a user settles a conflict.
#[derive(Clone, Debug)]
pub enum Went {
    /// The mount of this peer shows it so.
    Shown(usize, Shown),
    /// It stands in the folder with these bytes.
    Stands(Arc<Vec<u8>>),
    /// It is on its way into the folder, with as many bytes.
    Comes(u64),
}

impl Went {
    fn is(&self, owed: &Owed, by_hand: &BTreeSet<WallTime>) -> bool {
        match self {
            Self::Shown(p, shown) => {
                let may_be = |known| known == shown.mtime || by_hand.contains(&shown.mtime);
                owed.author == Author::Mount(*p, shown.ino)
                    || (owed.may_have(shown.size) && owed.mtime.is_none_or(may_be))
            }
            Self::Stands(bytes) => owed.is(bytes),
            Self::Comes(size) => owed.may_have(*size),
        }
    }
}

/// A content that was owed until a user threw it away.
#[derive(Clone, Debug)]
struct Thrown {
    owed: Owed,
    /// As he settled which conflict.
    by: usize,
    /// Whether it lay in the folder then, or beside it, so that it could come back.
    lay_there: bool,
}

/// All contents that are owed.
#[derive(Debug, Default)]
pub struct Kept {
    owed: Vec<Owed>,
    /// Contents that went as conflicts were settled: owed again to who settled one the other way,
    /// without knowing of that, unless somebody strikes them off for another reason.
    thrown: Vec<Thrown>,
    /// Contents that somebody overwrote or removed: of a version on top of one of these, what
    /// its author never had can't come back.
    destroyed: Vec<Arc<Vec<u16>>>,
    /// Those of them that a mount went on from, or removed.
    let_go: Vec<Arc<Vec<u16>>>,
    /// Contents whose time a program has set back: nobody may see that they are new, and then
    /// they end in the trash with what they took the place of.
    set_back: Vec<Arc<Vec<u8>>>,
    /// What lay in stores whose metadata were lost, whether it was owed or not.
    rotten: Vec<Made>,
    /// Times that were set by hand on a mount: a content that a program wrote meanwhile may show one.
    by_hand: BTreeSet<WallTime>,
}

/// Tells whether two contents are one, as far as is known of them.
fn alike(a: &[u16], b: &[u16]) -> bool {
    let is_open = |cell: &u16| *cell >= BENEATH;
    let mut cells = a.iter().zip(b);
    a.len() == b.len() && cells.all(|(a, b)| a == b || is_open(a) || is_open(b))
}

impl Kept {
    /// A mount has closed or synced a file, on top of what it had made of it before.
    pub fn published(
        &mut self,
        at: u64,
        author: Author,
        cells: Vec<u16>,
        beneath: Vec<Arc<Vec<u16>>>,
        is_hard: bool,
    ) {
        let shortest = cells.len();
        self.left(at, author, (cells, shortest), beneath, is_hard);
    }

    /// A mount was killed as it wrote over what is owed: there is that, or a part of what it wrote,
    /// perhaps of another length.
    pub fn torn(
        &mut self,
        at: u64,
        author: Author,
        cells: Vec<u16>,
        beneath: Vec<Arc<Vec<u16>>>,
        shortest: usize,
    ) {
        self.left(at, author, (cells, shortest), beneath, false);
    }

    fn left(
        &mut self,
        at: u64,
        author: Author,
        (cells, shortest): (Vec<u16>, usize),
        beneath: Vec<Arc<Vec<u16>>>,
        is_hard: bool,
    ) {
        self.replaced(author);
        self.owed.push(Owed {
            author,
            cells: Arc::new(cells),
            shortest,
            beneath,
            // What a mount's clock showed nobody else knows for sure.
            mtime: None,
            is_hard,
            at,
        });
    }

    /// A mount goes on with a file, or has removed its last name.
    ///
    /// Equal versions are one, whoever made them: who goes on from one goes on from the others.
    pub fn replaced(&mut self, author: Author) {
        let gone = self.strike(|owed| owed.author == author);
        let is_known = |cells: &&Arc<Vec<u16>>| cells.iter().all(|cell| *cell < BENEATH);
        for content in gone.iter().filter(is_known) {
            self.strike(|owed| owed.may_have(content.len() as u64) && owed.cells == *content);
        }
        self.let_go.extend(gone);
    }

    /// Tells whether something that a mount made of a file is owed.
    pub fn owes(&self, author: Author) -> bool {
        self.owed.iter().any(|owed| owed.author == author)
    }

    /// Strikes off what somebody has replaced, and returns it.
    fn strike(&mut self, is_it: impl Fn(&Owed) -> bool) -> Vec<Arc<Vec<u16>>> {
        self.thrown.retain(|thrown| !is_it(&thrown.owed));
        let gone = self.take(is_it).into_iter();
        let gone: Vec<_> = gone.map(|owed| owed.cells).collect();
        self.destroyed.extend(gone.iter().cloned());
        gone
    }

    /// Takes off what somebody has replaced.
    fn take(&mut self, is_it: impl Fn(&Owed) -> bool) -> Vec<Owed> {
        let (gone, left) = std::mem::take(&mut self.owed).into_iter().partition(is_it);
        self.owed = left;
        gone
    }

    /// A user settled a conflict, and this went.
    pub fn settled(&mut self, by: usize, went: &Went, on_disk: &[Arc<Vec<u8>>], history: &History) {
        let size = match went {
            Went::Shown(_, shown) => shown.size,
            Went::Stands(bytes) => bytes.len() as u64,
            Went::Comes(size) => *size,
        };
        self.let_go_of_crossed(size, history);
        let by_hand = std::mem::take(&mut self.by_hand);
        self.thrown
            .retain(|thrown| thrown.by == by || !went.is(&thrown.owed, &by_hand));
        let gone = self.take(|owed| went.is(owed, &by_hand));
        self.by_hand = by_hand;
        for owed in gone {
            self.destroyed.push(owed.cells.clone());
            self.let_go.push(owed.cells.clone());
            let lay_there = on_disk.iter().any(|bytes| owed.is(bytes));
            self.thrown.push(Thrown {
                owed,
                by,
                lay_there,
            });
        }
    }

    /// Somebody settled the same conflict the other way, and neither knew of the other one: what
    /// went is owed still.
    pub fn opposed(&mut self, by: usize) -> usize {
        let thrown = std::mem::take(&mut self.thrown).into_iter();
        let (of, left) = thrown.partition(|thrown| thrown.by == by);
        self.thrown = left;
        let of: Vec<Thrown> = of;
        let of = of.into_iter().filter(|thrown| thrown.lay_there);
        let before = self.owed.len();
        self.owed.extend(of.map(|thrown| thrown.owed));
        self.owed.len() - before
    }

    /// An edit on the mount of this peer happened, or may have.
    pub fn was_seen(&mut self, p: usize, seeing: &Seeing, history: &History) {
        match seeing {
            Seeing::Writes(shown) => {
                self.seen(shown.size, shown.mtime);
                self.let_go_of_crossed(shown.size, history);
            }
            Seeing::Removes(shown) => {
                self.seen(shown.size, shown.mtime);
                self.let_go_of_crossed(shown.size, history);
                self.replaced(Author::Mount(p, shown.ino));
            }
            Seeing::Touches(shown, mtime) => {
                self.touched(shown.size);
                self.by_hand.insert(*mtime);
            }
        }
    }

    /// A mount edits on top of, or removes, what it shows with this size and time.
    pub fn seen(&mut self, size: u64, mtime: WallTime) {
        let is_by_hand = self.by_hand.contains(&mtime);
        let gone = self.strike(|owed| {
            let same = owed.may_have(size);
            same && owed.mtime.is_none_or(|known| known == mtime || is_by_hand)
        });
        self.let_go.extend(gone);
    }

    /// Somebody goes on from, or removes, what is shown with this size: perhaps it was written as
    /// another version came. Such a content is owed only once it is left, and some never are.
    fn let_go_of_crossed(&mut self, size: u64, history: &History) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.let_go.extend(history.crossed(size).cloned());
    }

    /// A file got its time by hand: by that it can't be told any more.
    pub fn touched(&mut self, size: u64) {
        let of = |owed: &&mut Owed| owed.may_have(size);
        for owed in self.owed.iter_mut().filter(of) {
            owed.mtime = None;
        }
    }

    /// A program has changed a file, and set its time back.
    pub fn set_back(&mut self, bytes: Arc<Vec<u8>>) {
        self.set_back.push(bytes);
    }

    /// A program changed the shared folder: these contents came, and these went.
    pub fn outside(
        &mut self,
        at: u64,
        came: impl IntoIterator<Item = (Arc<Vec<u8>>, WallTime)>,
        went: impl IntoIterator<Item = Arc<Vec<u8>>>,
        history: &History,
    ) {
        for bytes in went {
            self.let_go_of_crossed(bytes.len() as u64, history);
            self.owed.retain(|owed| !owed.is(&bytes));
            self.thrown.retain(|thrown| !thrown.owed.is(&bytes));
            let cells = bytes.iter().map(|byte| u16::from(*byte)).collect();
            self.destroyed.push(Arc::new(cells));
        }
        for (bytes, mtime) in came {
            let cells: Vec<_> = bytes.iter().map(|byte| u16::from(*byte)).collect();
            self.owed.push(Owed {
                author: Author::Outside,
                shortest: cells.len(),
                cells: Arc::new(cells),
                beneath: Vec::new(),
                mtime: Some(mtime),
                is_hard: true,
                at,
            });
        }
    }

    /// The host took a file away, as a peer wished: it lies in the trash, and nobody can be served
    /// of it. What is owed of it stays owed.
    pub fn displaced(&mut self, bytes: &[u8]) {
        if self.set_back.iter().any(|other| **other == bytes) {
            self.strike(|owed| matches!(owed.author, Author::Outside) && owed.is(bytes));
        }
        let cells = bytes.iter().map(|byte| u16::from(*byte)).collect();
        self.destroyed.push(Arc::new(cells));
    }

    /// A program renamed a file over another: it is that one's content now, and nobody can be served
    /// of the file that it was, should an edit elsewhere keep that.
    pub fn saved(&mut self, bytes: &[u8]) {
        let cells = bytes.iter().map(|byte| u16::from(*byte)).collect();
        self.destroyed.push(Arc::new(cells));
    }

    /// A mount wrote over versions of its own: whoever has made something of them has what it lacks
    /// from nobody.
    pub fn overwritten(&mut self, contents: Vec<Arc<Vec<u16>>>) {
        self.destroyed.extend(contents);
    }

    /// A mount removed the last name of what had this content, whether it was owed or, since a
    /// power loss, was not.
    pub fn removed(&mut self, contents: Vec<Arc<Vec<u16>>>) {
        self.let_go.extend(contents.iter().cloned());
        self.destroyed.extend(contents);
    }

    /// A peer lost its store, and with it what lay there of what it wrote.
    pub fn lost_with(&mut self, made: Vec<Made>) {
        self.rotten.extend(made);
    }

    /// A peer lost its store, or its power: what only it had is gone with it, but for what was
    /// synced of files of which nothing else is known.
    pub fn lost(&mut self, p: usize, keeps: impl Fn(Ino) -> bool) {
        // Of what is written on top of it later, what its author never had can't be had.
        self.strike(|owed| match owed.author {
            Author::Mount(peer, ino) if peer == p => !(owed.is_hard && keeps(ino)),
            Author::Mount(..) | Author::Outside => false,
        });
    }

    /// Tells whether a content was made over one that a program destroyed: what its author never
    /// had of that can't come back. What a disk refused in part may have left what was beneath.
    fn is_excused(&self, owed: &Owed, history: &History) -> bool {
        let had = |beneath: &Arc<Vec<u16>>| self.destroyed.iter().any(|gone| alike(beneath, gone));
        let mut beneath = owed.beneath.iter();
        let mut cells = owed.cells.iter();
        cells.any(|cell| matches!(*cell, BENEATH | EITHER))
            && beneath.any(|beneath| history.origins(beneath).iter().any(had))
    }

    /// Tells whether a file of the folder was made over a content: by a write that was under way
    /// when the content took the place of the one that its author had seen. What the write did not
    /// touch of it is there, or was let go with the rest, and what came of it is owed for itself.
    fn goes_on(&self, owed: &Owed, files: &[Arc<Vec<u8>>], history: &History) -> bool {
        let mut all = vec![owed.cells.clone()];
        let mut at = 0;
        while let Some(over) = all.get(at).cloned() {
            at += 1;
            for made in history.made_over(&over) {
                let fits = |bytes: &Arc<Vec<u8>>| {
                    let mut cells = made.cells.iter().zip(bytes.iter());
                    (made.shortest..=made.cells.len()).contains(&bytes.len())
                        && cells.all(|(cell, byte)| is_open(*cell) || *cell == u16::from(*byte))
                };
                let is_let_go = |gone: &Arc<Vec<u16>>| alike(gone, &made.cells);
                if files.iter().any(fits) || self.let_go.iter().any(is_let_go) {
                    return true;
                }
                if !all.contains(&made.cells) {
                    all.push(made.cells.clone());
                }
            }
        }
        false
    }

    /// Tells whether a file of which only these pieces can be had is one that can't be had as a
    /// whole any more: it was destroyed where it was, or made over one that was, or lies with a
    /// peer that is gone for good. It is shown, and is nowhere in the folder.
    pub fn is_in_part(
        &self,
        size: u64,
        pieces: &BTreeMap<u64, Vec<u8>>,
        (lost, with_lost): (Option<usize>, &[Made]),
        history: &History,
    ) -> bool {
        let fits = |cells: &Arc<Vec<u16>>| {
            let is_piece = |(at, bytes): (&u64, &Vec<u8>)| {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let cells = cells.get(at..at + bytes.len()).unwrap_or_default();
                let mut both = cells.iter().zip(bytes);
                both.all(|(cell, byte)| *cell >= BENEATH || *cell == u16::from(*byte))
            };
            cells.len() as u64 >= size && pieces.iter().all(is_piece)
        };
        let whole = |cells: &Arc<Vec<u16>>| cells.len() as u64 == size && fits(cells);
        let had = |beneath: &Arc<Vec<u16>>| self.destroyed.iter().any(|gone| alike(beneath, gone));
        // Of a write that crossed another version nobody knows on what it was made, nor owes it. Of one
        // that a power loss left open any byte may be of what was beneath, however short it was cut.
        let crossed = |made: &Made| {
            let is_open = made.cells.iter().any(|cell| is_open(*cell));
            let after = made.after.iter().filter(|_| is_open);
            made.shortest as u64 <= size
                && fits(&made.cells)
                && (made.over.iter().chain(after)).any(|over| history.origins(over).iter().any(had))
        };
        let is_it = |owed: &Owed| {
            let with = matches!(owed.author, Author::Mount(p, _) if Some(p) == lost);
            whole(&owed.cells) && (with || self.is_excused(owed, history))
        };
        // What its disk refused and did all the same is owed by nobody.
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let lies_there =
            |made: &Made| (made.shortest..=made.cells.len()).contains(&size) && fits(&made.cells);
        self.destroyed.iter().any(whole)
            || with_lost.iter().chain(&self.rotten).any(lies_there)
            || self.owed.iter().any(is_it)
            || history.all_written().any(crossed)
    }

    /// Judges the files of the folder at the end.
    pub fn judge(
        &self,
        files: &[Arc<Vec<u8>>],
        skip: &BTreeSet<usize>,
        history: &History,
    ) -> Verdict {
        let counts = |author| match author {
            Author::Mount(p, _) => !skip.contains(&p),
            Author::Outside => true,
        };
        self.judge_those(counts, files, history)
    }

    /// Judges what lies on the host's disk when a peer says that all it has made is held.
    pub fn judge_of(&self, p: usize, on_disk: &[Arc<Vec<u8>>], history: &History) -> Verdict {
        let counts = |author| matches!(author, Author::Mount(peer, _) if peer == p);
        self.judge_those(counts, on_disk, history)
    }

    /// Judges what lies on the host's disk when a sync is answered that waited for that.
    pub fn judge_file(
        &self,
        author: Author,
        on_disk: &[Arc<Vec<u8>>],
        history: &History,
    ) -> Verdict {
        self.judge_those(|other| other == author, on_disk, history)
    }

    fn judge_those(
        &self,
        counts: impl Fn(Author) -> bool,
        files: &[Arc<Vec<u8>>],
        history: &History,
    ) -> Verdict {
        for owed in &self.owed {
            if !counts(owed.author) {
                continue;
            }
            if self.is_excused(owed, history) {
                continue;
            }
            let stands = files.iter().any(|bytes| owed.is(bytes));
            if !stands && !self.goes_on(owed, files, history) {
                let what = format!(
                    "{} bytes, {} of them from beneath, that {:?} left at {} ms are nowhere in the \
                     shared folder",
                    owed.cells.len(),
                    owed.cells.iter().filter(|cell| **cell == BENEATH).count(),
                    owed.author,
                    owed.at / 1_000_000
                );
                return Err(Failure::safety("P3", what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Author = Author::Mount(1, Ino(2));
    const TIME: WallTime = WallTime { secs: 1, nanos: 2 };

    fn judge(kept: &Kept, files: &[&[u8]]) -> bool {
        let files: Vec<_> = files.iter().map(|bytes| Arc::new(bytes.to_vec())).collect();
        kept.judge(&files, &BTreeSet::new(), &History::default())
            .is_ok()
    }

    #[test]
    fn what_was_closed_is_owed_until_somebody_who_saw_it_goes_on() {
        let mut kept = Kept::default();
        kept.published(0, ADA, vec![1, 2, 3], Vec::new(), false);
        assert!(!judge(&kept, &[&[1, 2]]));
        assert!(judge(&kept, &[&[1, 2], &[1, 2, 3]]));
        kept.seen(4, TIME);
        assert!(!judge(&kept, &[]));
        kept.seen(3, TIME);
        assert!(judge(&kept, &[]));
    }

    #[test]
    fn what_a_refused_write_may_have_left_of_a_lost_version_is_owed_by_nobody() {
        let judge_open = |cell| {
            let mut kept = Kept::default();
            let beneath = Arc::new(vec![7, 8, 9]);
            kept.overwritten(vec![beneath.clone()]);
            kept.published(0, ADA, vec![1, cell, 3], vec![beneath], false);
            judge(&kept, &[])
        };
        assert!(judge_open(BENEATH));
        assert!(judge_open(EITHER));
        assert!(!judge_open(FREE));
        assert!(!judge_open(2));
    }

    #[test]
    fn a_program_strikes_off_what_it_overwrote_and_owes_what_it_wrote() {
        let mut kept = Kept::default();
        let old = Arc::new(vec![1, 2, 3]);
        let new = Arc::new(vec![4, 5]);
        kept.outside(0, [(old.clone(), TIME)], [], &History::default());
        kept.outside(1, [(new, TIME)], [old], &History::default());
        assert!(judge(&kept, &[&[4, 5]]));
        assert!(!judge(&kept, &[&[1, 2, 3]]));
    }
}
