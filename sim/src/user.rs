//! Applications on a mount: a few threads that list, stat, open, read and close at random.
//!
//! Law: they call only what a kernel would let through: known inodes and open handles, and now
//! and then a handle that nobody was given, or that is closed. One call at a time for each thread; a call that came
//! back decides the next.

use tandem_core::action::FsReply;
use tandem_core::edit::Edit;
use tandem_core::error::FsError;
use tandem_core::event::FsCall;
use tandem_core::ids::{Fh, Ino};
use tandem_core::tree::register::Kind;

use crate::choices::Chance;
use crate::editor::{Next, Scene, Script};
use crate::kernel::Kernel;

/// All tenths of the calls.
const TENTHS: u16 = (1 << 10) - 1;

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    chance: Chance,
    state: State,
    /// Which tenths of the calls below it makes: a bit for each.
    tenths: u16,
    /// What it edits.
    script: Option<Script>,
    /// How often it begins to, where it may: per thousand.
    edits: Option<u32>,
    /// Calls that it still makes before it rests.
    pub budget: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Listing {
        fh: Fh,
        from: u64,
        plus: bool,
    },
    Reading {
        fh: Fh,
        at: u64,
        left: u32,
        jumps: bool,
    },
    ClosingDir(Fh),
    Closing(Fh),
}

impl Thread {
    /// Returns an idle thread.
    pub fn new(mut chance: Chance, budget: u32) -> Self {
        Self {
            tenths: chance.some_of(TENTHS),
            edits: None,
            script: None,
            chance,
            state: State::Idle,
            budget,
        }
    }

    /// Has it read a file, once it has time.
    pub fn inspect(&mut self, ino: Ino) {
        if self.script.is_none() && matches!(self.state, State::Idle) {
            self.script = Some(Script::inspect(ino));
        }
    }

    /// Returns its next call and the bytes that it brings, if it makes one.
    pub fn next(&mut self, scene: &mut Scene<'_>) -> Option<(FsCall, Vec<u8>)> {
        self.budget = self.budget.saturating_sub(1);
        let ends = scene.last || self.budget == 0;
        if let Some(script) = &mut self.script {
            if ends {
                script.finish();
            }
            match script.next(&mut self.chance, scene) {
                Next::Call(call, bytes) => return Some((call, bytes)),
                Next::Pause => return None,
                Next::Done => self.script = None,
            }
        }
        if matches!(self.state, State::Idle) && !ends && scene.kinds != 0 {
            let drawn = [0, 200, 700, 950][self.chance.index(4)];
            let edits = *self.edits.get_or_insert(drawn);
            if self.chance.often(edits) {
                self.script = Script::draw(&mut self.chance, scene);
            }
            if self.script.is_some() {
                return None;
            }
        }
        let call = self.read(scene.kernel, scene.chunk, ends)?;
        Some((call, Vec::new()))
    }

    fn read(&mut self, kernel: &mut Kernel, chunk: u64, ends: bool) -> Option<FsCall> {
        if ends {
            match self.state {
                State::Listing { fh, .. } => self.state = State::ClosingDir(fh),
                State::Reading { fh, .. } => self.state = State::Closing(fh),
                State::Idle | State::ClosingDir(_) | State::Closing(_) => {}
            }
        }
        match self.state {
            State::Idle if ends => None,
            State::Idle => self.begin(kernel),
            State::Listing { fh, from, plus } => {
                let count = u32::try_from(self.chance.between(1, 12)).unwrap_or(1);
                Some(FsCall::ReadDir {
                    fh,
                    from,
                    count,
                    plus,
                })
            }
            State::Reading { fh, at, jumps, .. } => {
                let len = match self.chance.below(4) {
                    0 => self.chance.between(1, chunk),
                    1 => chunk,
                    2 => self.chance.between(1, 3 * chunk),
                    _ => 131_072,
                };
                let offset = if jumps {
                    self.chance.below(at.max(8 * chunk))
                } else {
                    at
                };
                if let State::Reading { at, .. } = &mut self.state {
                    *at = if jumps { *at } else { offset };
                }
                let len = u32::try_from(len).unwrap_or(4096);
                Some(FsCall::Read { fh, offset, len })
            }
            State::ClosingDir(fh) => {
                self.state = State::Idle;
                Some(FsCall::ReleaseDir { fh })
            }
            State::Closing(fh) => {
                self.state = State::Idle;
                Some(FsCall::Release { fh })
            }
        }
    }

    fn begin(&mut self, kernel: &mut Kernel) -> Option<FsCall> {
        let of = |kind: Kind, kernel: &Kernel| -> Vec<Ino> {
            let known = kernel.known.iter();
            known
                .filter(|(_, known)| known.kind == kind)
                .map(|(ino, _)| *ino)
                .collect()
        };
        let any: Vec<Ino> = kernel.known.keys().copied().collect();
        let some = *self.chance.pick(&any)?;
        let drawn = self.chance.below(100);
        let on = |drawn: &u64| self.tenths >> (drawn / 10) & 1 == 1;
        let mut tenths = (0..10).map(|tenth| (drawn + 10 * tenth) % 100);
        let call = match tenths.find(on).unwrap_or(drawn) {
            0..20 => {
                let ino = *self.chance.pick(&of(Kind::Directory, kernel))?;
                FsCall::OpenDir { ino }
            }
            20..55 => {
                let files = of(Kind::File, kernel);
                match self.chance.pick(&files) {
                    Some(ino) => FsCall::Open {
                        ino: *ino,
                        write: false,
                    },
                    None => FsCall::OpenDir { ino: Ino::ROOT },
                }
            }
            55..75 => {
                let names: Vec<_> = kernel.names.keys().collect();
                match self.chance.pick(&names) {
                    Some((parent, name)) => FsCall::Lookup {
                        parent: *parent,
                        name: name.clone(),
                    },
                    None => FsCall::OpenDir { ino: Ino::ROOT },
                }
            }
            75..80 => FsCall::Lookup {
                parent: *self.chance.pick(&of(Kind::Directory, kernel))?,
                name: [&b"f0"[..], b"f3", b"new7", b"..", b"a/b", b"\0", b""][self.chance.index(7)]
                    .to_vec(),
            },
            80..88 => FsCall::GetAttr { ino: some },
            88..92 => match self.chance.pick(&of(Kind::Symlink, kernel)) {
                Some(ino) => FsCall::ReadLink { ino: *ino },
                None => FsCall::GetAttr { ino: some },
            },
            92..96 => kernel.forget(some)?,
            96 => FsCall::StatFs,
            97 if self.chance.often(500) => FsCall::Read {
                fh: kernel.strangers[self.chance.index(2)],
                offset: 0,
                len: 4096,
            },
            97 => FsCall::ListXattr { ino: some },
            98 => FsCall::Edit(Edit::RemoveXattr {
                ino: some,
                name: b"user.x".to_vec(),
            }),
            _ => FsCall::Open {
                ino: some,
                write: true,
            },
        };
        Some(call)
    }

    /// Takes in what its call was answered.
    pub fn answered(&mut self, call: &FsCall, result: &Result<FsReply, FsError>) {
        if let Some(script) = &mut self.script {
            script.answered(call, result);
            return;
        }
        match (call, result, self.state) {
            (FsCall::OpenDir { .. }, Ok(FsReply::OpenedDir { fh }), _) => {
                self.state = State::Listing {
                    fh: *fh,
                    from: 0,
                    plus: self.chance.often(700),
                };
            }
            (FsCall::Open { .. }, Ok(FsReply::Opened { fh, .. }), _) => {
                self.state = State::Reading {
                    fh: *fh,
                    at: 0,
                    left: u32::try_from(self.chance.between(1, 20)).unwrap_or(1),
                    jumps: self.chance.often(400),
                };
            }
            (
                FsCall::ReadDir { .. },
                Ok(FsReply::Items(items)),
                State::Listing { fh, plus, .. },
            ) => {
                self.state = match items.last() {
                    Some(last) => State::Listing {
                        fh,
                        from: last.next,
                        plus,
                    },
                    None => State::ClosingDir(fh),
                };
            }
            (FsCall::ReadDir { .. }, _, State::Listing { fh, .. }) => {
                self.state = State::ClosingDir(fh);
            }
            (
                FsCall::Read { .. },
                result,
                State::Reading {
                    fh,
                    at,
                    left,
                    jumps,
                },
            ) => {
                let more = left > 0 && (jumps || matches!(result, Ok(FsReply::Data(_)) | Err(_)));
                let at = match result {
                    Ok(FsReply::Data(stored)) if !jumps => at + u64::from(stored.len),
                    _ => at,
                };
                self.state = if more {
                    State::Reading {
                        fh,
                        at,
                        left: left - 1,
                        jumps,
                    }
                } else {
                    State::Closing(fh)
                };
            }
            _ => {}
        }
    }

    /// Tells whether it has something left to do.
    pub fn is_busy(&self, last: bool) -> bool {
        let idle = matches!(self.state, State::Idle) && self.script.is_none();
        !idle || (!last && self.budget > 0)
    }

    /// Draws how long it pauses.
    pub fn pause(&mut self, think: u64) -> u64 {
        self.chance.delay(think)
    }
}
