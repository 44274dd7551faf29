//! P1 truth: a read returns bytes of one version of the file at that offset.
//!
//! The history holds every content that a file of the shared folder ever had. Contents are drawn
//! so that no two have equal bytes at one place by accident, and hold no zeros but in holes. A
//! reply is true if it is a piece of a content of the file, whole up to the length asked for or
//! to that content's end; and if no earlier reply of the same inode was certainly of a later
//! one. Files that stood one after the other under one path count as one: whether a replacing
//! rename is a new version or a new file is the core's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_core::ids::{Ino, NodeId};

use super::bodies::is_open;
use super::{Failure, Verdict};
use crate::disk::folder::{Id, Path};

/// Every content of every file, in the order in which they came to be.
#[derive(Debug, Default)]
pub struct History {
    versions: Vec<(Id, Arc<Vec<u8>>)>,
    kin: BTreeMap<Id, Id>,
    stood: BTreeMap<Path, Id>,
    /// The same by directory, which may have been called otherwise then.
    stood_in: BTreeMap<(Id, Vec<u8>), Id>,
    /// The file that was last put down for a node.
    put: BTreeMap<NodeId, Id>,
    last: BTreeMap<Id, Arc<Vec<u8>>>,
    /// Contents that were written through a mount.
    written: Vec<Made>,
    /// How many cells those have together that may be made of any other.
    crossed: usize,
}

/// How many cells are kept of contents that may be made of any other: 128 MiB. Each such change
/// doubles them, and a file that is written on and on while its versions come from elsewhere has
/// more than any machine holds.
const CROSSED_MAX: usize = 1 << 26;

/// A content that was written through a mount: bytes, or what nobody knows of since a crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The bytes.
    pub cells: Arc<Vec<u16>>,
    /// The shortest length that it may have.
    pub shortest: usize,
    /// The content over which it was written, where that makes a part of it.
    pub over: Option<Arc<Vec<u16>>>,
    /// Whether another version took the place of what was there while it was written: then it may
    /// be made of any.
    pub crossed: bool,
    /// What the file may have held before all of it was written.
    pub after: Vec<Arc<Vec<u16>>>,
}

impl Made {
    /// Tells whether these may be its bytes, all of them.
    pub fn may_be(&self, bytes: &[u8]) -> bool {
        (self.shortest..=self.cells.len()).contains(&bytes.len()) && fits(&self.cells, bytes)
    }
}

impl History {
    /// Notes the content that a file has from here on.
    pub fn note(&mut self, file: Id, bytes: Arc<Vec<u8>>) {
        self.last.insert(file, bytes.clone());
        self.versions.push((file, bytes));
    }

    /// Notes that something stands under a path. What takes the place of another comes after it.
    pub fn stood(&mut self, path: &Path, file: Id) {
        if let Some(before) = self.stood.insert(path.clone(), file) {
            self.came_after(before, file);
        }
    }

    /// Notes that something stands in a directory under a name. A host that was away takes it for
    /// what it knew there, also when the directory has another name by now.
    pub fn stood_in(&mut self, dir: Id, name: &[u8], file: Id) {
        if let Some(before) = self.stood_in.insert((dir, name.to_vec()), file) {
            self.came_after(before, file);
        }
    }

    fn came_after(&mut self, before: Id, file: Id) {
        if before == file {
            return;
        }
        let (a, b) = (self.family(before), self.family(file));
        if a != b {
            self.kin.insert(b, a);
        }
        if let Some(bytes) = self.last.get(&file) {
            self.versions.push((file, bytes.clone()));
        }
    }

    /// Notes that a file was put down for a node: it comes after the one before, wherever that
    /// was. The first may be of a node that was found in the folder: then its content was there.
    pub fn put(&mut self, node: NodeId, file: Id) {
        let before = self.put.insert(node, file);
        let found = || {
            let bytes = self.last.get(&file).filter(|bytes| !bytes.is_empty())?;
            let all = self.versions.iter().rev();
            let mut same = all.filter(|(other, content)| *other != file && content == bytes);
            let same = same.next().map(|(other, _)| *other);
            same.or_else(|| self.written_over(file, bytes))
        };
        if let Some(before) = before.or_else(found) {
            let (a, b) = (self.family(before), self.family(file));
            if a != b {
                self.kin.insert(b, a);
            }
        }
    }

    /// Returns the file whose content some mount wrote over, and so made this one.
    fn written_over(&self, file: Id, bytes: &[u8]) -> Option<Id> {
        let made = self.written.iter().rfind(|made| made.may_be(bytes))?;
        let after = made.after.iter();
        let mut origins = self.origins(&made.cells);
        origins.extend(after.flat_map(|content| self.origins(content)));
        let is_one = |content: &[u8]| {
            let cells = || content.iter().map(|byte| u16::from(*byte));
            let is_it = |origin: &Arc<Vec<u16>>| cells().eq(origin.iter().copied());
            !content.is_empty() && origins.iter().any(is_it)
        };
        let mut all = self.versions.iter().rev();
        let found = all.find(|(other, content)| *other != file && is_one(content));
        found.map(|(other, _)| *other)
    }

    /// Returns what stands for all files that stood one after the other in one place.
    pub(crate) fn family(&self, file: Id) -> Id {
        let mut at = file;
        while let Some(up) = self.kin.get(&at) {
            at = *up;
        }
        at
    }

    /// Returns the contents of which `bytes` is a true piece, by their place in the order.
    fn candidates(&self, offset: u64, asked: u64, bytes: &[u8]) -> Vec<usize> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let fits = |content: &Vec<u8>| {
            let rest = content.get(at..).unwrap_or_default();
            let full = bytes.len() as u64 == asked || bytes.len() == rest.len();
            full && rest.starts_with(bytes)
        };
        let all = self.versions.iter().enumerate();
        all.filter(|(_, (_, content))| fits(content))
            .map(|(n, _)| n)
            .collect()
    }

    /// Tells whether `bytes` is the whole of a content that some file had.
    pub fn had(&self, bytes: &[u8]) -> bool {
        self.versions
            .iter()
            .any(|(_, content)| content.as_slice() == bytes)
            || self.was_written(bytes)
    }

    /// Tells whether `bytes` is the whole of a content that was written through a mount.
    pub fn was_written(&self, bytes: &[u8]) -> bool {
        let mut written = self.written.iter();
        written.any(|made| made.may_be(bytes))
    }

    /// Says where bytes that nobody wrote begin to differ from the content of as many bytes that
    /// is most like them: for who looks into a failure.
    pub fn nearest(&self, bytes: &[u8]) -> String {
        let of_file = self.versions.iter().map(|(_, content)| {
            let cells = content.iter().map(|byte| u16::from(*byte));
            cells.collect::<Vec<u16>>()
        });
        let as_long = |made: &&Made| (made.shortest..=made.cells.len()).contains(&bytes.len());
        let written = self.written.iter().filter(as_long).map(|made| {
            let mut cells = made.cells.to_vec();
            cells.truncate(bytes.len());
            cells
        });
        let differing = |cells: Vec<u16>| {
            let pairs = cells.iter().zip(bytes).enumerate();
            let differ = pairs.filter(|(_, (cell, byte))| !fits(&[**cell], &[**byte]));
            differ.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        let alike = of_file
            .chain(written)
            .filter(|cells| cells.len() == bytes.len());
        match alike.map(differing).min_by_key(Vec::len).as_deref() {
            Some([first, .., last]) => format!("{first} to {last} differ from the nearest content"),
            Some([only]) => format!("{only} differs from the nearest content"),
            Some([]) | None => "no content has as many".to_owned(),
        }
    }

    /// Notes a content that was written through a mount.
    pub fn written(&mut self, made: Made) {
        // The order tells which is the last one.
        let again = made.crossed && self.written.contains(&made);
        if !again && self.written.last() != Some(&made) {
            if made.crossed {
                self.crossed += made.cells.len();
            }
            self.written.push(made);
        }
    }

    /// Tells whether there are more contents than can be kept: nothing can be judged by them any
    /// more.
    pub fn is_full(&self) -> bool {
        self.crossed > CROSSED_MAX
    }

    /// Notes that an empty file was made.
    pub fn emptied(&mut self) {
        self.written(Made {
            cells: Arc::default(),
            shortest: 0,
            over: None,
            crossed: false,
            after: Vec::new(),
        });
    }

    /// Returns the contents over which one was written, and over which those were.
    pub fn origins(&self, of: &Arc<Vec<u16>>) -> Vec<Arc<Vec<u16>>> {
        let mut all = vec![of.clone()];
        let mut at = 0;
        while let Some(cells) = all.get(at).cloned() {
            for made in self.written.iter().filter(|made| made.cells == cells) {
                all.extend(made.over.clone().filter(|over| !all.contains(over)));
            }
            at += 1;
        }
        all
    }

    /// Returns the contents of this length that were written as another version came.
    pub fn crossed(&self, size: usize) -> impl Iterator<Item = &Arc<Vec<u16>>> {
        let is_it =
            move |made: &&Made| made.crossed && (made.shortest..=made.cells.len()).contains(&size);
        self.written.iter().filter(is_it).map(|made| &made.cells)
    }

    /// Returns every content that was written through a mount.
    pub fn all_written(&self) -> impl Iterator<Item = &Made> {
        self.written.iter()
    }

    /// Returns the contents that were written over one, and are not empty.
    pub fn made_over(&self, over: &Arc<Vec<u16>>) -> impl Iterator<Item = &Made> {
        let is_it = move |made: &&Made| made.over.as_ref() == Some(over) && !made.cells.is_empty();
        self.written.iter().filter(is_it)
    }

    /// Returns the contents that have this length.
    pub fn of_size(&self, size: usize) -> Vec<Arc<Vec<u16>>> {
        let placed = self.versions.iter().map(|(_, content)| content);
        let placed = placed.filter(|content| content.len() == size);
        let cells = |content: &Arc<Vec<u8>>| {
            let cells = content.iter().map(|byte| u16::from(*byte));
            Arc::new(cells.collect::<Vec<u16>>())
        };
        let mut all: Vec<_> = placed.map(cells).collect();
        for made in &self.written {
            if (made.shortest..=made.cells.len()).contains(&size) {
                let mut cells = made.cells.to_vec();
                cells.truncate(size);
                all.push(Arc::new(cells));
            }
        }
        all
    }

    /// Returns every content of every file.
    pub fn contents(&self) -> Vec<Made> {
        let cells = |content: &Arc<Vec<u8>>| content.iter().map(|byte| u16::from(*byte)).collect();
        let placed = self.versions.iter().map(|(_, content)| Made {
            cells: Arc::new(cells(content)),
            shortest: content.len(),
            over: None,
            crossed: false,
            after: Vec::new(),
        });
        placed.chain(self.written.iter().cloned()).collect()
    }

    /// Tells whether `bytes` is a piece of a content that was written through a mount.
    fn is_piece_of_written(&self, offset: u64, asked: u64, bytes: &[u8]) -> bool {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.written.iter().any(|made| {
            let rest = made.cells.get(at..).unwrap_or_default();
            let lengths = made.shortest.saturating_sub(at)..=rest.len();
            let full = bytes.len() as u64 == asked || lengths.contains(&bytes.len());
            full && bytes.len() <= rest.len() && fits(&rest[..bytes.len()], bytes)
        })
    }
}

/// Tells whether these bytes may be what these cells hold.
fn fits(cells: &[u16], bytes: &[u8]) -> bool {
    let mut both = cells.iter().zip(bytes);
    both.all(|(cell, byte)| is_open(*cell) || *cell == u16::from(*byte))
}

/// What the replies to one mount have shown so far.
#[derive(Debug, Default)]
pub struct Truth {
    inodes: BTreeMap<Ino, Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    files: BTreeSet<Id>,
    floor: usize,
}

/// A read and what it was answered.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Of which inode.
    pub ino: Ino,
    /// From which offset.
    pub offset: u64,
    /// How many bytes were asked for.
    pub asked: u64,
    /// What came.
    pub bytes: &'a [u8],
}

impl Truth {
    /// The process ended. An inode number still stands for the same file, unless power was lost;
    /// but what was not stored of newer versions may be learnt anew.
    pub fn crash(&mut self, power: bool) {
        if power {
            self.inodes.clear();
        }
        for shown in self.inodes.values_mut() {
            shown.floor = 0;
        }
    }

    /// An inode is shown under a name that these had.
    pub fn named(&mut self, history: &History, ino: Ino, those: &BTreeSet<Id>) -> Verdict {
        let shown = self.inodes.entry(ino).or_default();
        let families = |files: &BTreeSet<Id>| -> BTreeSet<Id> {
            files.iter().map(|id| history.family(*id)).collect()
        };
        let before = families(&shown.files);
        let is_it = |id: &Id| before.is_empty() || before.contains(&history.family(*id));
        let files: BTreeSet<Id> = those.iter().copied().filter(is_it).collect();
        if files.is_empty() {
            let what =
                format!("{ino} stands under the name of another file: {before:?}, {those:?}");
            return Err(Failure::safety("P7", what));
        }
        shown.files = files;
        Ok(())
    }

    /// Returns what an inode may be, if anything is known of it.
    pub fn files(&self, ino: Ino) -> Option<&BTreeSet<Id>> {
        let shown = self.inodes.get(&ino)?;
        Some(&shown.files).filter(|files| !files.is_empty())
    }

    /// Judges a reply to a read.
    pub fn read(&mut self, history: &History, piece: &Piece<'_>) -> Verdict {
        let of = |n: &usize| history.versions.get(*n).map(|(file, _)| *file);
        let mut found = history.candidates(piece.offset, piece.asked, piece.bytes);
        // What was written through a mount may come to stand anywhere, at any time.
        if history.is_piece_of_written(piece.offset, piece.asked, piece.bytes) {
            return Ok(());
        }
        if found.is_empty() {
            return Err(Failure::safety("P1", untrue(history, piece)));
        }
        let shown = self.inodes.entry(piece.ino).or_default();
        let families: BTreeSet<Id> = shown.files.iter().map(|f| history.family(*f)).collect();
        if !families.is_empty() {
            found.retain(|n| of(n).is_some_and(|file| families.contains(&history.family(file))));
        }
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            let what = format!("{} shows bytes of another file: {piece:?}", piece.ino);
            return Err(Failure::safety("P7", what));
        };
        if *last < shown.floor {
            let what = format!(
                "{} went back from content {} to {last}: offset {} of {:?}",
                piece.ino,
                shown.floor,
                piece.offset,
                of(last)
            );
            return Err(Failure::safety("P1", what));
        }
        shown.floor = shown.floor.max(*first);
        shown.files = found.iter().filter_map(of).collect();
        Ok(())
    }
}

fn untrue(history: &History, piece: &Piece<'_>) -> String {
    let Piece {
        ino,
        offset,
        asked,
        bytes,
    } = piece;
    let at = usize::try_from(*offset).unwrap_or(usize::MAX);
    let short = history
        .versions
        .iter()
        .any(|(_, v)| v.get(at..).is_some_and(|rest| rest.starts_with(bytes)));
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let why = if short {
        "a short read before the end of file"
    } else if zeros > bytes.len() / 4 {
        "zeros that no version has"
    } else {
        "bytes of no single version"
    };
    format!(
        "{ino} at {offset}: asked for {asked}, got {} bytes: {why}",
        bytes.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, asked: u64, bytes: &[u8]) -> Piece<'_> {
        Piece {
            ino: Ino(2),
            offset,
            asked,
            bytes,
        }
    }

    fn history() -> History {
        let mut history = History::default();
        history.note(Id(1), Arc::new(vec![1, 2, 3, 4]));
        history.note(Id(1), Arc::new(vec![5, 6, 7]));
        history.note(Id(2), Arc::new(vec![9, 9, 9, 9]));
        history
    }

    #[test]
    fn a_piece_of_a_version_is_true() {
        let mut truth = Truth::default();
        assert!(truth.read(&history(), &piece(1, 2, &[2, 3])).is_ok());
        assert!(truth.read(&history(), &piece(1, 9, &[6, 7])).is_ok());
    }

    /// Seed 0x57587855adab of the default run: a power loss took from the host that a file had been
    /// moved away; its directory got another name, and another file the first one's. To the host the
    /// name had a new content, and was said to show another file.
    #[test]
    fn what_stands_in_a_directory_comes_after_what_stood_there_whatever_that_is_called() {
        let (mut history, mut truth) = (history(), Truth::default());
        history.stood_in(Id(7), b"new3", Id(1));
        truth.read(&history, &piece(0, 4, &[1, 2, 3, 4])).unwrap();
        let mut apart = truth.read(&history, &piece(0, 4, &[9, 9, 9, 9]));
        assert!(apart.is_err());
        history.stood_in(Id(7), b"new3", Id(2));
        apart = truth.read(&history, &piece(0, 4, &[9, 9, 9, 9]));
        assert!(apart.is_ok(), "{apart:?}");
    }

    #[test]
    fn zeros_short_reads_and_mixtures_are_found() {
        let mut truth = Truth::default();
        for bytes in [&[0, 0, 0, 0][..], &[1, 2], &[1, 6, 3, 4], &[]] {
            assert!(truth.read(&history(), &piece(0, 4, bytes)).is_err());
        }
    }

    #[test]
    fn a_first_read_of_what_never_had_the_name_is_found() {
        let mut truth = Truth::default();
        let history = history();
        assert!(truth.named(&history, Ino(2), &[Id(1)].into()).is_ok());
        assert!(truth.read(&history, &piece(0, 4, &[9, 9, 9, 9])).is_err());
        assert!(truth.read(&history, &piece(0, 3, &[5, 6, 7])).is_ok());
        assert!(truth.named(&history, Ino(2), &[Id(2)].into()).is_err());
    }

    #[test]
    fn an_inode_that_goes_back_or_elsewhere_is_found() {
        let mut truth = Truth::default();
        assert!(truth.read(&history(), &piece(0, 3, &[5, 6, 7])).is_ok());
        assert!(truth.read(&history(), &piece(0, 4, &[1, 2, 3, 4])).is_err());
        assert!(truth.read(&history(), &piece(0, 4, &[9, 9, 9, 9])).is_err());
    }
}
