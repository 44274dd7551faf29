//! P1 and P2 of files that are written through a mount: a read returns what was written there,
//! and elsewhere the bytes of one version beneath; after a kill all that was acknowledged is
//! there, after a power loss what was synced.
//!
//! Law: the model is cells: a byte that is known, a byte of the version beneath, or a byte of which
//! a crash may have left anything that was ever written there. It is moved by what the mount was
//! asked for and answered, and by nothing that the engine thinks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_core::action::Shown;
use tandem_core::edit::Edit;
use tandem_core::ids::{Fh, Ino, ReqId};

use super::truth::{History, Made, Piece};
use super::{Failure, Verdict};

/// A byte of the version beneath.
pub const BENEATH: u16 = 256;
/// A byte of which nobody knows what a crash left.
pub const FREE: u16 = 257;
/// The same, where one of the things that it may be is what is beneath.
pub const EITHER: u16 = 258;

/// Tells whether nobody knows what a byte is.
pub const fn is_open(cell: u16) -> bool {
    cell >= FREE
}

/// Nobody knows any more what is here: what was there, or something else.
fn open_up(cells: &mut [u16]) {
    for cell in cells {
        *cell = match *cell {
            BENEATH | EITHER => EITHER,
            _ => FREE,
        };
    }
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Op {
    Write(usize, Arc<Vec<u8>>),
    /// At the end, wherever that is when its turn comes.
    Append(Arc<Vec<u8>>),
    Resize(usize),
    /// One of them, of which nobody knows how much was done.
    Torn(Box<Self>),
}

impl Op {
    /// Returns the same of a file whose length is known to lie between these: what is appended to one
    /// of which it is open can be anywhere from the shortest to the longest.
    fn to(&self, sizes: (usize, usize)) -> Self {
        match self {
            Self::Append(bytes) if sizes.0 == sizes.1 => Self::Write(sizes.0, bytes.clone()),
            Self::Append(bytes) => {
                let all = vec![0; sizes.1 - sizes.0 + bytes.len()];
                Self::Torn(Box::new(Self::Write(sizes.0, Arc::new(all))))
            }
            Self::Torn(op) => Self::Torn(Box::new(op.to(sizes))),
            Self::Write(..) | Self::Resize(_) => self.clone(),
        }
    }

    fn apply(&self, cells: &mut Vec<u16>) {
        match self {
            Self::Torn(op) => op.free(cells, &mut (0, 0)),
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if cells.len() < end {
                    cells.resize(end, 0);
                }
                for (cell, byte) in cells[*at..end].iter_mut().zip(bytes.iter()) {
                    *cell = u16::from(*byte);
                }
            }
            Self::Append(bytes) => cells.extend(bytes.iter().map(|byte| u16::from(*byte))),
            Self::Resize(len) => cells.resize(*len, 0),
        }
    }

    /// Follows with the lengths that the file may have.
    fn lengthen(&self, sizes: &mut (usize, usize)) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                *sizes = (sizes.0.max(end), sizes.1.max(end));
            }
            Self::Append(bytes) => {
                *sizes = (sizes.0 + bytes.len(), sizes.1 + bytes.len());
            }
            Self::Resize(len) => *sizes = (*len, *len),
            Self::Torn(op) => op.free(&mut Vec::new(), sizes),
        }
    }

    /// It was made on what was there before, or on any content that there is.
    fn crossed(&self, before: Option<&Body>, history: &mut History) {
        let on = history.contents();
        self.crossed_over(before, on, history);
    }

    /// The same, of a change that is still to be answered. What other such changes made is left
    /// out: each read would double what there is.
    fn crossing(&self, before: Option<&Body>, history: &mut History) {
        let mut on = history.contents();
        on.retain(|made| !made.crossed);
        self.crossed_over(before, on, history);
    }

    fn crossed_over(&self, before: Option<&Body>, on: Vec<Made>, history: &mut History) {
        let before = before.into_iter().flat_map(Body::contents);
        for made in before.chain(on) {
            if history.is_full() {
                return;
            }
            let mut cells = made.cells.to_vec();
            let mut sizes = (made.shortest, cells.len());
            let op = self.to(sizes);
            op.apply(&mut cells);
            op.lengthen(&mut sizes);
            history.written(Made {
                cells: Arc::new(cells),
                shortest: sizes.0,
                over: Some(made.cells),
                crossed: true,
                after: Vec::new(),
            });
        }
    }

    /// Frees what it would have changed, if nobody knows whether it did.
    fn free(&self, cells: &mut Vec<u16>, sizes: &mut (usize, usize)) {
        match self {
            Self::Write(at, bytes) => {
                let (from, end) = ((*at).min(cells.len()), at + bytes.len());
                if cells.len() < end {
                    cells.resize(end, 0);
                }
                open_up(&mut cells[from..end]);
                sizes.1 = sizes.1.max(end);
            }
            Self::Append(bytes) => {
                let from = sizes.0.min(cells.len());
                let end = sizes.1.max(cells.len()) + bytes.len();
                cells.resize(end, FREE);
                open_up(&mut cells[from..]);
                sizes.1 = end;
            }
            Self::Resize(len) => {
                let from = (*len).min(cells.len());
                open_up(&mut cells[from..]);
                if cells.len() < *len {
                    cells.resize(*len, FREE);
                }
                sizes.0 = sizes.0.min(*len);
                sizes.1 = sizes.1.max(*len);
            }
            Self::Torn(op) => op.free(cells, sizes),
        }
    }
}

/// A file that was written to.
#[derive(Clone, Debug)]
pub struct Body {
    /// What survives power loss, and between which lengths it is.
    hard: Vec<u16>,
    hard_sizes: (usize, usize),
    /// What was acknowledged since, in order.
    since: Vec<Op>,
    /// What is there.
    cells: Vec<u16>,
    /// Between which lengths it is, where a crash or a write under way leaves that open.
    sizes: (usize, usize),
    /// The contents of which the version beneath may be one.
    beneath: Vec<Arc<Vec<u16>>>,
    /// When it was last changed.
    at: u64,
    /// Since when it was changed again and again, and nobody closed or synced it.
    busy: Option<u64>,
    /// Whether what is there now is a version already.
    noted: bool,
    /// Whether what is there now is owed already.
    owed: bool,
    /// Whether it was ever synced.
    synced: bool,
    /// Whether it has lost its last name.
    nameless: bool,
    /// Whether the kernel has forgotten it since: then nobody is told when another version shows.
    forgotten: bool,
    /// Whether it did while a change was under way.
    forgotten_meanwhile: bool,
    /// Its versions since it was last synced.
    told: Vec<Made>,
    /// Whether it is as a power loss has left it.
    lost_power: bool,
}

/// A content that was closed or synced: its cells, and of what the version beneath may have been.
pub type Left = (Ino, Vec<u16>, Vec<Arc<Vec<u16>>>);

/// A change under way.
#[derive(Clone, Debug)]
enum Pending {
    Change(Ino, Op),
    /// A change during which another version took the place of what was there: it was made on
    /// that, or on what had been there before, as given.
    Crossed(Ino, Op, Option<Box<Body>>),
    /// A sync, of what was acknowledged by then.
    Sync(Ino, usize),
    Close(Ino),
}

/// The files of one mount that were written to.
#[derive(Debug, Default)]
pub struct Bodies {
    files: BTreeMap<Ino, Body>,
    pending: BTreeMap<ReqId, Pending>,
    /// Files that have lost their last name on this mount.
    unnamed: BTreeSet<Ino>,
    /// Whether the disk failed as it was asked what a crash had left: then nobody knows yet.
    pub in_doubt: bool,
    /// Whether nobody can be heard from here on: what was written no other version takes the
    /// place of, whatever the kernel has forgotten.
    pub alone: bool,
    /// Whether power was ever lost: what was never synced before may prove to be nothing, once a host
    /// says that it has not heard of it.
    lost_power: bool,
    /// What files may hold of which a power loss left nobody know the number.
    unknown: Vec<Made>,
    /// Of files that were written to, and show another version since: a conflict copy may lie here
    /// alone.
    displaced: Vec<Made>,
    /// The same, of those of which not all was synced: a power loss may yet take a part of it.
    displaced_unsynced: Vec<Body>,
    /// Versions that were written over.
    overwritten: Vec<Arc<Vec<u16>>>,
}

/// What an answer was about.
#[derive(Debug)]
pub enum Answered {
    /// Nothing that counts.
    Nothing,
    /// A file was changed.
    Changed(Ino),
    /// A file was closed or synced, and has another content than when it last was.
    Left(Left),
}

/// How long a file rests before it is a version though it is open, at least: half of what the
/// design says, so that nothing hangs on the moment.
const QUIET: u64 = 500_000_000;

/// How long a file may grow before what is there is a version: a second less than the core has it, whose
/// clocks drift.
const GROWING: u64 = 9_000_000_000;

impl Bodies {
    /// An application makes a call; `size` is what the kernel knows of an inode's size, `of` the
    /// inode of a handle.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are what there is to know of a call"
    )]
    pub fn asked(
        &mut self,
        now: u64,
        req: ReqId,
        edit: &Edit,
        bytes: &[u8],
        history: &mut History,
        size: impl Fn(Ino) -> Option<u64>,
        of: impl Fn(Fh) -> Option<Ino>,
    ) {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let pending = match edit {
            Edit::Write {
                fh, offset, append, ..
            } => of(*fh).map(|ino| {
                let bytes = Arc::new(bytes.to_vec());
                let op = if *append {
                    Op::Append(bytes)
                } else {
                    Op::Write(at(*offset), bytes)
                };
                Pending::Change(ino, op)
            }),
            Edit::SetAttr { ino, set, .. } => {
                let resize = |len| Pending::Change(*ino, Op::Resize(at(len)));
                set.size.map(resize)
            }
            Edit::Sync { fh, .. } => of(*fh).map(|ino| {
                let upto = self.files.get(&ino).map_or(0, |body| body.since.len());
                Pending::Sync(ino, upto)
            }),
            Edit::Flush { fh, .. } => of(*fh).map(Pending::Close),
            Edit::Create { .. }
            | Edit::Make { .. }
            | Edit::Link { .. }
            | Edit::Unlink { .. }
            | Edit::RemoveDir { .. }
            | Edit::Rename { .. }
            | Edit::SetXattr { .. }
            | Edit::RemoveXattr { .. }
            | Edit::SyncDir { .. } => None,
        };
        if let Edit::Create { .. } | Edit::Make { .. } = edit {
            history.emptied();
        }
        match &pending {
            Some(Pending::Change(ino, _)) => {
                if self.may_be_another(*ino, size(*ino).map(at), history) {
                    self.superseded(*ino, history);
                }
                if !self.files.contains_key(ino)
                    && let Some(size) = size(*ino)
                {
                    let mut body = Body::over(at(size), history, now);
                    body.nameless = self.unnamed.contains(ino);
                    if self.lost_power {
                        body.hard_sizes.0 = 0;
                    }
                    self.files.insert(*ino, body);
                }
                if let Some(body) = self.files.get_mut(ino) {
                    body.is_changed(now, history);
                }
            }
            Some(Pending::Sync(ino, _) | Pending::Close(ino)) => {
                if let Some(body) = self.files.get_mut(ino) {
                    body.note(history);
                }
            }
            Some(Pending::Crossed(..)) | None => {}
        }
        // Nobody knows on what it is made.
        let pending = match pending {
            Some(Pending::Change(ino, op)) if !self.files.contains_key(&ino) => {
                Some(Pending::Crossed(ino, op, None))
            }
            pending => pending,
        };
        if let Some(pending) = pending {
            self.pending.insert(req, pending);
        }
    }

    /// Tells whether a file that the kernel had forgotten for a while may hold a content of somebody
    /// else's by now, as far as its size tells.
    fn may_be_another(&self, ino: Ino, size: Option<usize>, history: &History) -> bool {
        let body = self.files.get(&ino).filter(|body| body.forgotten);
        let (Some(body), Some(size)) = (body.filter(|_| !self.alone), size) else {
            return false;
        };
        let own: Vec<_> = body.contents().into_iter().map(|made| made.cells).collect();
        let all = history.of_size(size);
        all.iter().any(|content| !own.contains(content))
    }

    /// Returns the versions that were written over since this was last asked.
    pub fn take_overwritten(&mut self) -> Vec<Arc<Vec<u16>>> {
        std::mem::take(&mut self.overwritten)
    }

    /// A call was answered; `torn` tells that nobody knows how much of it was done.
    pub fn answered(
        &mut self,
        now: u64,
        req: ReqId,
        good: bool,
        torn: bool,
        history: &mut History,
    ) -> Answered {
        let Some(pending) = self.pending.remove(&req) else {
            return Answered::Nothing;
        };
        match pending {
            Pending::Change(ino, op) => {
                let Some(body) = self.files.get_mut(&ino) else {
                    return Answered::Nothing;
                };
                if let Op::Resize(len) = op
                    && good
                    && body.sizes == (len, len)
                {
                    return Answered::Nothing;
                }
                if !good && !torn {
                    // It was refused: all is as it was.
                    return Answered::Nothing;
                }
                if body.noted {
                    // Others may have seen it, and write on top of it.
                    let before = body.contents().into_iter().map(|made| made.cells);
                    self.overwritten.extend(before);
                }
                let op = op.to(body.sizes);
                if good {
                    op.apply(&mut body.cells);
                    op.lengthen(&mut body.sizes);
                    body.since.push(op);
                } else if torn {
                    op.free(&mut body.cells, &mut body.sizes);
                    body.since.push(Op::Torn(Box::new(op)));
                }
                body.at = now;
                body.noted = false;
                // What was not acknowledged is not owed.
                body.owed &= !good;
                body.forgotten = std::mem::take(&mut body.forgotten_meanwhile);
                body.lost_power = false;
                return Answered::Changed(ino);
            }
            Pending::Crossed(ino, op, before) if good || torn => {
                let op = if good { op } else { Op::Torn(Box::new(op)) };
                op.crossed(before.as_deref(), history);
                return Answered::Changed(ino);
            }
            Pending::Crossed(..) => {}
            Pending::Sync(ino, upto) => {
                if let Some(body) = self.files.get_mut(&ino).filter(|_| good) {
                    for op in body.since.drain(..upto.min(body.since.len())) {
                        op.apply(&mut body.hard);
                        op.lengthen(&mut body.hard_sizes);
                    }
                    body.synced = true;
                    body.busy = None;
                    body.told = body.contents();
                    return body.left(ino, history);
                }
            }
            Pending::Close(ino) => {
                if let Some(body) = self.files.get_mut(&ino).filter(|_| good) {
                    body.busy = None;
                    return body.left(ino, history);
                }
            }
        }
        Answered::Nothing
    }

    /// A handle was closed, and nobody has the file open for writing: what is there may be a
    /// version. Returns what is owed of it: whoever sees it may remove it from here on.
    pub fn released(&mut self, ino: Ino, history: &mut History) -> Option<Left> {
        match self.files.get_mut(&ino)?.left(ino, history) {
            Answered::Left(left) => Some(left),
            Answered::Nothing | Answered::Changed(_) => None,
        }
    }

    /// The kernel knows nothing of a file any more.
    pub fn forgotten(&mut self, ino: Ino) {
        let mut pending = self.pending.values();
        let is_changed = pending.any(|call| matches!(call, Pending::Change(of, _) if *of == ino));
        if let Some(body) = self.files.get_mut(&ino) {
            body.forgotten = true;
            body.forgotten_meanwhile = is_changed;
        }
    }

    /// The kernel has been shown these files since a crash, and no others.
    pub fn forget_all_but(&mut self, shown: impl Fn(Ino) -> bool) {
        for (ino, body) in &mut self.files {
            body.forgotten |= !shown(*ino);
        }
    }

    /// A file may have lost its last name when its process ended: what it holds is there or gone.
    pub fn may_be_unnamed(&mut self, ino: Ino) {
        if let Some(body) = self.files.get_mut(&ino) {
            body.owed = true;
        }
    }

    /// A file has lost its last name: what is written to it from here on is nobody's.
    pub fn unnamed(&mut self, ino: Ino) {
        self.unnamed.insert(ino);
        if let Some(body) = self.files.get_mut(&ino) {
            body.nameless = true;
        }
    }

    /// Tells whether a file is as a power loss left it, and was never synced: once a host says that it
    /// has not heard of it, it is empty, or what was beneath.
    pub fn may_be_nothing(&self, ino: Ino) -> bool {
        let body = self.files.get(&ino);
        body.is_some_and(|body| body.lost_power && !body.synced)
    }

    /// Returns what a file may hold that is shown so.
    pub fn contents(&self, shown: &Shown, history: &History) -> Vec<Arc<Vec<u16>>> {
        match self.files.get(&shown.ino) {
            Some(body) => body.contents().into_iter().map(|made| made.cells).collect(),
            None => history.of_size(usize::try_from(shown.size).unwrap_or(usize::MAX)),
        }
    }

    /// Returns what the files that were written to may hold, or their conflict copies.
    pub fn all_contents(&self) -> Vec<Made> {
        let known = self.files.values().flat_map(Body::contents);
        let others = self.unknown.iter().chain(&self.displaced);
        known.chain(others.cloned()).collect()
    }

    /// Tells whether a file was changed since then, or is being changed.
    pub fn is_changed_since(&self, ino: Ino, then: u64) -> bool {
        let of = |pending: &Pending| matches!(pending, Pending::Change(of, _) | Pending::Crossed(of, ..) if *of == ino);
        let body = self.files.get(&ino);
        body.is_some_and(|body| body.at >= then) || self.pending.values().any(of)
    }

    /// Tells whether a file was written to.
    pub fn has(&self, ino: Ino) -> bool {
        self.files.contains_key(&ino)
    }

    /// A new file was made, which is a version at once. Returns what is owed of it.
    pub fn made(&mut self, now: u64, ino: Ino, history: &mut History) -> Left {
        let body = Body {
            hard: Vec::new(),
            hard_sizes: (0, 0),
            since: Vec::new(),
            cells: Vec::new(),
            sizes: (0, 0),
            beneath: Vec::new(),
            at: now,
            busy: None,
            noted: true,
            owed: true,
            synced: false,
            nameless: false,
            forgotten: false,
            forgotten_meanwhile: false,
            told: Vec::new(),
            lost_power: false,
        };
        history.emptied();
        self.files.insert(ino, body);
        (ino, Vec::new(), Vec::new())
    }

    /// A program wrote to a file of the shared folder, and set its time back. Of what nobody has
    /// of a version nobody can tell: it is the same version, with these bytes.
    pub fn set_back(&mut self, before: &[u8], after: &Arc<Vec<u16>>, history: &mut History) {
        let was = |cells: &Arc<Vec<u16>>| {
            let same = cells.iter().zip(before);
            cells.len() == before.len() && same.into_iter().all(|(a, b)| *a == u16::from(*b))
        };
        for body in self.files.values_mut() {
            if body.beneath.iter().any(was) {
                body.beneath.push(after.clone());
                if let Some(made) = body.contents().pop().filter(|_| body.noted) {
                    history.written(made);
                }
            }
        }
    }

    /// A program took this content away from the shared folder. If it is a version that a mount
    /// has told of before it lost its power, that is settled: what is found of it later is that
    /// version, or one before it, and owed to nobody who replaced it where it had come to.
    pub fn taken(&mut self, bytes: &[u8]) {
        self.is_settled(|made| made.may_be(bytes));
    }

    /// The same, of another mount that goes on from what it shows with this size, or removes it.
    pub fn taken_over(&mut self, size: u64) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.is_settled(|made| (made.shortest..=made.cells.len()).contains(&size));
    }

    fn is_settled(&mut self, is_it: impl Fn(&Made) -> bool) {
        for body in self.files.values_mut().filter(|body| body.lost_power) {
            body.owed |= body.told.iter().any(&is_it);
        }
    }

    /// Another version took the place of what was written.
    ///
    /// A change that is under way is made on what was there or on what is there now: either way
    /// its content is one that somebody wrote.
    pub fn superseded(&mut self, ino: Ino, history: &mut History) {
        let mut before = self.files.remove(&ino);
        if let Some(body) = &mut before {
            body.note(history);
            self.displaced.extend(body.contents());
            if !body.since.is_empty() {
                self.displaced_unsynced.push(body.clone());
            }
        }
        for pending in self.pending.values_mut() {
            if let Pending::Change(of, op) = pending
                && *of == ino
            {
                *pending = Pending::Crossed(ino, op.clone(), before.clone().map(Box::new));
            }
        }
    }

    /// Other versions may have taken the place of all that was written.
    pub fn overtaken(&mut self, history: &mut History) {
        let all: Vec<Ino> = self.files.keys().copied().collect();
        for ino in all {
            self.superseded(ino, history);
        }
    }

    /// The process ended. Returns what is owed of what was written; and of files whose content was
    /// owed (`still_owed`), and written over as it was killed, what is owed in its place, with the
    /// shortest length that it may have. What was left earlier a power loss does not make owed again,
    /// if it was not synced, or was struck off since.
    pub fn crash(
        &mut self,
        power: bool,
        still_owed: impl Fn(Ino) -> bool,
        history: &mut History,
    ) -> (Vec<Left>, Vec<(Left, usize)>) {
        self.lost_power |= power;
        if power {
            for mut body in std::mem::take(&mut self.displaced_unsynced) {
                body.lose_power();
                body.note(history);
            }
        }
        let mut torn = BTreeSet::new();
        for body in self.files.values_mut() {
            // A failure of the disk left its length open earlier: somebody may have had what was
            // found then, and gone on from it.
            body.owed |= body.sizes.0 != body.sizes.1;
        }
        for pending in std::mem::take(&mut self.pending).into_values() {
            match pending {
                Pending::Change(ino, op) => {
                    let Some(body) = self.files.get_mut(&ino) else {
                        continue;
                    };
                    if !body.is_acknowledged() && !self.alone {
                        // What it was over may have been news that was not stored yet.
                        let before = self.files.remove(&ino);
                        Op::Torn(Box::new(op)).crossed(before.as_ref(), history);
                        continue;
                    }
                    let op = op.to(body.sizes);
                    op.free(&mut body.cells, &mut body.sizes);
                    body.since.push(Op::Torn(Box::new(op)));
                    body.noted = false;
                    if still_owed(ino) && !power {
                        torn.insert(ino);
                    }
                }
                Pending::Crossed(_, op, before) => {
                    Op::Torn(Box::new(op)).crossed(before.as_deref(), history);
                }
                Pending::Sync(..) | Pending::Close(_) => {}
            }
        }
        // An edit elsewhere, or the loss, may have brought back a name, and what is left of the
        // file with it.
        for body in self.files.values_mut().filter(|body| body.nameless) {
            if power {
                body.lose_power();
                body.noted = false;
            }
            body.note(history);
        }
        self.files.retain(|_, body| !body.nameless);
        self.unnamed.clear();
        let mut left = Vec::new();
        for (ino, body) in &mut self.files {
            if power {
                let settled = body.owed && !(body.synced && still_owed(*ino));
                // What was never synced may be gone, and with it what hid another's version: of that
                // nobody was told.
                body.forgotten |= !body.synced && !body.since.is_empty();
                body.lose_power();
                body.owed |= settled;
            }
            // What is found is published.
            if let Answered::Left(found) = body.left(*ino, history)
                && (body.synced || !power)
            {
                left.push(found);
            }
        }
        let torn = torn.into_iter().filter_map(|ino| {
            let body = self.files.get(&ino)?;
            let mut cells = body.cells.clone();
            cells.resize(body.sizes.1, FREE);
            Some(((ino, cells, body.beneath.clone()), body.sizes.0))
        });
        (left, torn.collect())
    }

    /// Judges a read, if it is of a file that was written to. Returns whether it is.
    pub fn read(&mut self, piece: &Piece<'_>, history: &mut History) -> Result<bool, Failure> {
        for pending in self.pending.values() {
            if let Pending::Crossed(ino, op, before) = pending
                && *ino == piece.ino
            {
                // It may be done, and is answered a moment later.
                Op::Torn(Box::new(op.clone())).crossing(before.as_deref(), history);
            }
        }
        let Some(body) = self.files.get_mut(&piece.ino) else {
            return Ok(false);
        };
        let mut body_now = body.clone();
        for pending in self.pending.values() {
            if let Pending::Change(ino, op) = pending
                && *ino == piece.ino
            {
                op.free(&mut body_now.cells, &mut body_now.sizes);
            }
        }
        if let Err(failure) = body_now.read(piece) {
            // Whatever its length was: that of a file that a disk's error left open is told of no
            // more once another's version has taken its name.
            return if body.forgotten && !self.alone {
                self.superseded(piece.ino, history);
                Ok(false)
            } else {
                Err(failure)
            };
        }
        if body_now.sizes == body.sizes {
            body.beneath = body_now.beneath;
        }
        Ok(true)
    }

    /// Judges a size that is shown.
    pub fn shown(&mut self, ino: Ino, size: u64, history: &mut History) -> Verdict {
        let Some(body) = self.files.get(&ino).filter(|_| !self.in_doubt) else {
            return Ok(());
        };
        let mut sizes = body.sizes;
        let mut cells = body.cells.clone();
        for pending in self.pending.values() {
            if let Pending::Change(of, op) = pending
                && *of == ino
            {
                op.free(&mut cells, &mut sizes);
            }
        }
        let at = usize::try_from(size).unwrap_or(usize::MAX);
        if at < sizes.0 || at > sizes.1 {
            if body.forgotten && !self.alone {
                self.superseded(ino, history);
                return Ok(());
            }
            let what = format!("{ino} shows {size} bytes; by what was written it has {sizes:?}");
            return Err(Failure::safety("P2", what));
        }
        Ok(())
    }

    /// What rests for long enough is a version, though it is open. Returns what is owed of it.
    pub fn rest(&mut self, now: u64, history: &mut History) -> Vec<Left> {
        let mut rested = Vec::new();
        for (ino, body) in &mut self.files {
            if body.is_growing(now) {
                body.note(history);
            }
            if now > body.at + QUIET
                && let Answered::Left(left) = body.left(*ino, history)
            {
                rested.push(left);
            }
        }
        rested
    }

    /// After a crash, a file was found to have this length.
    pub fn found(&mut self, ino: Ino, size: u64, power: bool) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !self.in_doubt
            && let Some(body) = self.files.get_mut(&ino)
            && body.sizes.0 != body.sizes.1
        {
            body.sizes = (size, size);
            body.cells.resize(size, FREE);
            if power {
                body.hard.clone_from(&body.cells);
                body.hard_sizes = (if body.synced { size } else { 0 }, size);
            }
        }
    }

    /// Returns the files that were written to, and in which ranges.
    pub fn written(&self) -> Vec<(Ino, u64)> {
        let some = self.files.iter().filter(|(_, body)| !body.cells.is_empty());
        some.filter_map(|(ino, body)| {
            let first = body.cells.iter().position(|cell| *cell < BENEATH)?;
            Some((*ino, first as u64))
        })
        .collect()
    }

    /// After a power loss files have these numbers; what became of others nobody knows.
    pub fn renumber(&mut self, numbers: &BTreeMap<Ino, Ino>) {
        for (old, body) in std::mem::take(&mut self.files) {
            match numbers.get(&old) {
                Some(new) => drop(self.files.insert(*new, body)),
                None => self.unknown.extend(body.contents()),
            }
        }
    }

    /// Forgets a file that has no name and no handle.
    pub fn gone(&mut self, ino: Ino) {
        self.files.remove(&ino);
    }
}

impl Body {
    fn over(size: usize, history: &History, now: u64) -> Self {
        let beneath = history.of_size(size);
        // What a crash has left of it, nobody knows.
        let cell = if beneath.is_empty() { FREE } else { BENEATH };
        let cells = vec![cell; size];
        Self {
            hard: cells.clone(),
            hard_sizes: (size, size),
            since: Vec::new(),
            cells,
            sizes: (size, size),
            beneath,
            at: now,
            busy: None,
            noted: true,
            owed: true,
            synced: false,
            nameless: false,
            forgotten: false,
            forgotten_meanwhile: false,
            told: Vec::new(),
            lost_power: false,
        }
    }

    /// Tells whether anything that was done to it was acknowledged.
    fn is_acknowledged(&self) -> bool {
        self.synced || self.since.iter().any(|op| !matches!(op, Op::Torn(_)))
    }

    /// It is about to be changed.
    fn is_changed(&mut self, now: u64, history: &mut History) {
        if now > self.at + QUIET || self.is_growing(now) {
            self.note(history);
        }
        if now > self.at + 4 * QUIET || self.busy.is_none() {
            self.busy = Some(now);
        }
    }

    /// Tells whether it has been written for so long that what is there may be a version at any moment.
    fn is_growing(&self, now: u64) -> bool {
        self.busy.is_some_and(|since| now > since + GROWING)
    }

    /// It was closed or synced.
    fn left(&mut self, ino: Ino, history: &mut History) -> Answered {
        self.note(history);
        let is_open = self.sizes.0 != self.sizes.1;
        if self.nameless || is_open || std::mem::replace(&mut self.owed, true) {
            return Answered::Nothing;
        }
        Answered::Left((ino, self.cells.clone(), self.beneath.clone()))
    }

    /// What is there is a version from here on: what others may be shown.
    fn note(&mut self, history: &mut History) {
        if std::mem::replace(&mut self.noted, true) {
            return;
        }
        for made in self.contents() {
            if !self.lost_power {
                self.told.push(made.clone());
            }
            history.written(made);
        }
    }

    /// Returns what its content may be.
    fn contents(&self) -> Vec<Made> {
        let mut cells = self.cells.clone();
        cells.resize(self.sizes.1, FREE);
        let shortest = self.sizes.0;
        if !cells.contains(&BENEATH) {
            return vec![Made {
                cells: Arc::new(cells),
                shortest,
                over: None,
                crossed: false,
                after: self.beneath.clone(),
            }];
        }
        let over = |beneath: &Arc<Vec<u16>>| {
            let mut whole = cells.clone();
            for (cell, byte) in whole.iter_mut().zip(beneath.iter()) {
                if *cell == BENEATH {
                    *cell = *byte;
                }
            }
            Made {
                cells: Arc::new(whole),
                shortest,
                over: Some(beneath.clone()),
                crossed: false,
                after: Vec::new(),
            }
        };
        self.beneath.iter().map(over).collect()
    }

    /// What was not synced may be lost, each for itself.
    fn lose_power(&mut self) {
        if self.since.is_empty() {
            return;
        }
        let mut cells = self.hard.clone();
        let mut sizes = self.hard_sizes;
        for op in self.since.drain(..) {
            op.free(&mut cells, &mut sizes);
        }
        self.cells = cells;
        self.sizes = sizes;
        self.hard.clone_from(&self.cells);
        self.hard_sizes = self.sizes;
        self.noted = false;
        self.owed = false;
        self.lost_power = true;
    }

    fn read(&mut self, piece: &Piece<'_>) -> Verdict {
        let from = usize::try_from(piece.offset).unwrap_or(usize::MAX);
        let asked = usize::try_from(piece.asked).unwrap_or(usize::MAX);
        let due = |size: usize| size.saturating_sub(from).min(asked);
        let got = piece.bytes.len();
        if got < due(self.sizes.0) || got > due(self.sizes.1) {
            let what = format!(
                "{} at {from}: asked for {asked}, got {got} bytes of a file that was written and has {:?}",
                piece.ino, self.sizes
            );
            return Err(Failure::safety("P1", what));
        }
        let cells = self.cells.get(from..).unwrap_or_default();
        let mut of_beneath = false;
        for (n, (byte, cell)) in piece.bytes.iter().zip(cells).enumerate() {
            match *cell {
                FREE | EITHER => {}
                BENEATH => of_beneath = true,
                known if known == u16::from(*byte) => {}
                known => {
                    let what = format!(
                        "{} at {}: {byte} is read where {known} was written",
                        piece.ino,
                        from + n
                    );
                    return Err(Failure::safety("P2", what));
                }
            }
        }
        if of_beneath {
            let fits = |beneath: &Arc<Vec<u16>>| {
                let bytes = piece.bytes.iter().zip(cells).enumerate();
                bytes
                    .filter(|(_, (_, cell))| **cell == BENEATH)
                    .all(|(n, (byte, _))| {
                        let cell = beneath.get(from + n);
                        cell.is_some_and(|cell| is_open(*cell) || *cell == u16::from(*byte))
                    })
            };
            self.beneath.retain(fits);
            if self.beneath.is_empty() {
                let what = format!(
                    "{} at {from}: {got} bytes, of which those that nobody wrote are of no version",
                    piece.ino
                );
                return Err(Failure::safety("P1", what));
            }
        }
        Ok(())
    }
}
