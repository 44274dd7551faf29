//! Applications that edit: they make, write, cut, save, move, link and remove, as programs do.
//!
//! Law: what the kernel looks up before a call is looked up; every handle is flushed and closed; a
//! script ends at its first error, as most programs do. No two contents agree by accident, and
//! none holds zeros but in holes.

use std::collections::VecDeque;

use tandem_core::action::FsReply;
use tandem_core::edit::{Edit, Make, Making, RenameHow, SetAttr, XattrHow};
use tandem_core::error::FsError;
use tandem_core::event::FsCall;
use tandem_core::ids::{Fh, Ino, PayloadId};
use tandem_core::time::WallTime;
use tandem_core::tree::register::Kind;

use crate::choices::Chance;
use crate::kernel::Kernel;

/// How many kinds of scripts there are.
pub const KINDS: u16 = 16;

/// The longest file that applications make, in bytes.
const SIZE_MAX: u64 = 1 << 18;

/// What an application sees of the world.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The kernel above the mount.
    pub kernel: &'a mut Kernel,
    /// The size of a chunk in bytes.
    pub chunk: u64,
    /// Whether to close what is open, and to rest.
    pub last: bool,
    /// The wall clock.
    pub wall: WallTime,
    /// Which kinds of scripts may be played: a bit for each; none where nothing may be written.
    pub kinds: u16,
}

/// One call of a script.
#[derive(Clone, Debug)]
enum Op {
    Create(Ino, Vec<u8>, bool),
    Open(Ino),
    /// Where, counted from the beginning or the end of the file, and how much.
    Write(Place, u64),
    /// To this length.
    Cut(Option<Ino>, Place),
    Read(u64),
    Flush,
    Sync,
    Release,
    Make(Ino, Vec<u8>, Make),
    Link(Ino, Ino, Vec<u8>),
    Unlink(Ino, Vec<u8>),
    RemoveDir(Ino, Vec<u8>),
    Rename((Ino, Vec<u8>), (Ino, Vec<u8>), RenameHow),
    Set(Ino, SetAttr),
    SetXattr(Ino, Vec<u8>, Vec<u8>, XattrHow),
    RemoveXattr(Ino, Vec<u8>),
    SyncDir(Ino),
    Rest,
}

/// An offset.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A thousandth of the file, from its beginning.
    Within(u64),
    /// So many bytes after its end.
    End(u64),
}

impl Place {
    fn of(self, size: u64) -> u64 {
        match self {
            Self::Within(thousandth) => size * thousandth / 1000,
            Self::End(more) => size + more,
        }
    }
}

/// What an application does next.
#[derive(Debug)]
pub enum Next {
    /// It calls, and brings these bytes.
    Call(FsCall, Vec<u8>),
    /// It pauses.
    Pause,
    /// It is done.
    Done,
}

/// A row of calls.
#[derive(Clone, Debug, Default)]
pub struct Script {
    ops: VecDeque<Op>,
    file: Option<(Fh, Ino)>,
}

impl Script {
    /// Draws a script.
    pub fn draw(chance: &mut Chance, scene: &Scene<'_>) -> Option<Self> {
        let from = chance.below(u64::from(KINDS));
        let on = |kind: &u64| scene.kinds >> kind & 1 == 1;
        let kind = (from..from + u64::from(KINDS))
            .map(|kind| kind % u64::from(KINDS))
            .find(on)?;
        let ops = Draw { chance, scene }.ops(kind)?;
        Some(Self {
            ops: ops.into(),
            file: None,
        })
    }

    /// Returns a script that reads a file from an offset on.
    pub fn inspect(ino: Ino) -> Self {
        Self {
            ops: [
                Op::Open(ino),
                Op::Read(0),
                Op::Read(500),
                Op::Flush,
                Op::Release,
            ]
            .into(),
            file: None,
        }
    }

    /// Leaves out all but what has to be; done twice it changes nothing.
    pub fn finish(&mut self) {
        let is_end = |op: &Op| matches!(op, Op::Flush | Op::Release);
        if self.file.is_some() && !self.ops.is_empty() && self.ops.iter().all(is_end) {
            return;
        }
        self.ops.clear();
        if self.file.is_some() {
            self.ops.extend([Op::Flush, Op::Release]);
        }
    }

    /// Returns what comes next.
    pub fn next(&mut self, chance: &mut Chance, scene: &mut Scene<'_>) -> Next {
        let Some(op) = self.ops.front().cloned() else {
            return Next::Done;
        };
        if let Some(call) = self.before(&op, scene.kernel) {
            return Next::Call(call, Vec::new());
        }
        self.ops.pop_front();
        if let Op::Rest = op {
            return Next::Pause;
        }
        let mut bytes = Vec::new();
        match self.call(op, chance, scene, &mut bytes) {
            Some(call) => Next::Call(call, bytes),
            // What it is about is not there.
            None => {
                self.finish();
                Next::Pause
            }
        }
    }

    /// Returns what a kernel looks up before a call.
    fn before(&self, op: &Op, kernel: &Kernel) -> Option<FsCall> {
        let mut spots: Vec<&(Ino, Vec<u8>)> = Vec::new();
        let spot;
        match op {
            Op::Create(parent, name, _)
            | Op::Make(parent, name, _)
            | Op::Link(_, parent, name)
            | Op::Unlink(parent, name)
            | Op::RemoveDir(parent, name) => {
                spot = (*parent, name.clone());
                spots.push(&spot);
            }
            Op::Rename(from, to, _) => spots.extend([from, to]),
            Op::Write(..) | Op::Cut(..) | Op::Read(_) => {
                let ino = if let Op::Cut(Some(ino), _) = op {
                    Some(*ino)
                } else {
                    self.file.map(|(_, ino)| ino)
                };
                let ino = ino.filter(|ino| !kernel.attrs.contains_key(ino))?;
                return Some(FsCall::GetAttr { ino });
            }
            Op::Set(..)
            | Op::Open(_)
            | Op::Flush
            | Op::Sync
            | Op::Release
            | Op::SetXattr(..)
            | Op::RemoveXattr(..)
            | Op::SyncDir(_)
            | Op::Rest => {}
        }
        let unknown = spots
            .iter()
            .find(|spot| !kernel.entries.contains_key(**spot));
        if let Some((parent, name)) = unknown {
            return Some(FsCall::Lookup {
                parent: *parent,
                name: name.clone(),
            });
        }
        // The oracles have to know what it is that an edit replaces.
        let set = if let Op::Set(ino, _) = op {
            Some(*ino)
        } else {
            None
        };
        let stands = spots.iter().filter_map(|spot| kernel.entries.get(*spot));
        let mut inodes = stands.flatten().copied().chain(set);
        let unknown = inodes.find(|ino| !kernel.attrs.contains_key(ino));
        unknown.map(|ino| FsCall::GetAttr { ino })
    }

    fn call(
        &mut self,
        op: Op,
        chance: &mut Chance,
        scene: &mut Scene<'_>,
        bytes: &mut Vec<u8>,
    ) -> Option<FsCall> {
        let wall = scene.wall;
        let making = |mode| Making {
            mode,
            uid: 1000,
            gid: 1000,
            wall,
        };
        let size = |ino: Ino| scene.kernel.attrs.get(&ino).map(|shown| shown.size);
        let edit = match op {
            Op::Create(parent, name, exclusive) => {
                let spot = (parent, name);
                // What stands there a kernel opens.
                if let Some(Some(ino)) = scene.kernel.entries.get(&spot).copied() {
                    let is_file = scene.kernel.known.get(&ino)?.kind == Kind::File;
                    let write = true;
                    return (is_file && !exclusive).then_some(FsCall::Open { ino, write });
                }
                let (parent, name) = spot;
                Edit::Create {
                    parent,
                    name,
                    making: making([0o644, 0o600][chance.index(2)]),
                    exclusive,
                }
            }
            Op::Open(ino) => return Some(FsCall::Open { ino, write: true }),
            Op::Write(place, len) => {
                let (fh, ino) = self.file?;
                // A program that has opened it to append.
                let append = matches!(place, Place::End(0)) && len % 2 == 0;
                let end = if append {
                    scene.kernel.ends.get(&ino).copied()
                } else {
                    size(ino)
                };
                let offset = place.of(end?).min(SIZE_MAX);
                *bytes = chance.bytes(usize::try_from(len).unwrap_or(1));
                Edit::Write {
                    fh,
                    offset,
                    append,
                    payload: PayloadId(0),
                    len: u32::try_from(len).unwrap_or(1),
                    wall,
                }
            }
            Op::Cut(ino, place) => {
                let fh = self.file.map(|(fh, _)| fh).filter(|_| ino.is_none());
                let ino = ino.or(self.file.map(|(_, ino)| ino))?;
                let len = place.of(size(ino)?).min(SIZE_MAX);
                let set = SetAttr {
                    size: Some(len),
                    ..SetAttr::default()
                };
                Edit::SetAttr { ino, fh, set, wall }
            }
            Op::Read(thousandth) => {
                let (fh, ino) = self.file?;
                let offset = Place::Within(thousandth).of(size(ino)?);
                let len = u32::try_from(scene.chunk * 2).unwrap_or(4096);
                return Some(FsCall::Read { fh, offset, len });
            }
            Op::Flush => Edit::Flush {
                fh: self.file?.0,
                wall,
            },
            Op::Sync => Edit::Sync {
                fh: self.file?.0,
                wall,
            },
            Op::Release => {
                let (fh, _) = self.file.take()?;
                return Some(FsCall::Release { fh });
            }
            Op::Make(parent, name, what) => Edit::Make {
                parent,
                name,
                making: making(match what {
                    Make::Directory => 0o755,
                    Make::Symlink(_) => 0o777,
                    Make::File => 0o644,
                }),
                what,
            },
            Op::Link(ino, parent, name) => Edit::Link { ino, parent, name },
            Op::Unlink(parent, name) => Edit::Unlink { parent, name },
            Op::RemoveDir(parent, name) => Edit::RemoveDir { parent, name },
            Op::Rename((parent, name), (to_parent, to_name), how) => Edit::Rename {
                parent,
                name,
                to_parent,
                to_name,
                how,
            },
            Op::Set(ino, set) => Edit::SetAttr {
                ino,
                fh: None,
                set,
                wall,
            },
            Op::SetXattr(ino, name, value, how) => Edit::SetXattr {
                ino,
                name,
                value,
                how,
            },
            Op::RemoveXattr(ino, name) => Edit::RemoveXattr { ino, name },
            Op::SyncDir(ino) => Edit::SyncDir { ino },
            Op::Rest => return None,
        };
        Some(FsCall::Edit(edit))
    }

    /// Takes in what its call was answered.
    pub fn answered(&mut self, call: &FsCall, result: &Result<FsReply, FsError>) {
        match (call, result) {
            (_, Ok(FsReply::Created { shown, fh, .. })) => self.file = Some((*fh, shown.ino)),
            (FsCall::Open { ino, .. }, Ok(FsReply::Opened { fh, .. })) => {
                self.file = Some((*fh, *ino));
            }
            (FsCall::Read { .. }, _) | (_, Ok(_)) => {}
            (FsCall::Edit(Edit::Flush { .. }), Err(_)) => {
                self.ops.clear();
                self.ops.push_back(Op::Release);
            }
            (_, Err(_)) => self.finish(),
        }
    }

    /// Returns whether a file is open.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }
}

/// Draws the calls of a script.
struct Draw<'a, 'b> {
    chance: &'a mut Chance,
    scene: &'a Scene<'b>,
}

impl Draw<'_, '_> {
    fn ops(&mut self, kind: u64) -> Option<Vec<Op>> {
        let (dir, name) = self.spot();
        let ops = match kind {
            // Make a file, or write over the one that is there.
            0 | 1 => {
                let mut ops = vec![Op::Create(dir, name, self.chance.often(300))];
                self.writes(&mut ops);
                self.close(&mut ops);
                ops
            }
            // Change one that is there.
            2 | 3 => {
                let mut ops = vec![Op::Open(self.file()?)];
                self.writes(&mut ops);
                self.close(&mut ops);
                ops
            }
            // Save as editors do: beside it, synced or not, then renamed onto it.
            4 | 5 => {
                let mut beside = name.clone();
                beside.extend_from_slice(b".tmp");
                beside.truncate(200);
                let mut ops = vec![Op::Create(dir, beside.clone(), false)];
                ops.push(Op::Cut(None, Place::Within(0)));
                self.writes(&mut ops);
                if self.chance.often(600) {
                    ops.push(Op::Sync);
                }
                let rename = Op::Rename((dir, beside), (dir, name), RenameHow::Replace);
                let early = self.chance.often(150);
                if early {
                    ops.push(rename.clone());
                }
                self.close(&mut ops);
                if !early {
                    ops.push(rename);
                }
                if self.chance.often(400) {
                    ops.push(Op::SyncDir(dir));
                }
                ops
            }
            6 => {
                let to = self.cut();
                let ino = self.file()?;
                vec![Op::Cut(Some(ino), to)]
            }
            7 => {
                let what = match self.chance.below(5) {
                    0 | 1 => Make::Directory,
                    2 => Make::Symlink(b"f0".to_vec()),
                    3 => Make::Symlink(b"w1/w2".to_vec()),
                    _ => Make::File,
                };
                let mut ops = vec![Op::Make(dir, name, what)];
                self.sync_dir(&mut ops, dir);
                ops
            }
            8 => vec![Op::Link(self.file()?, dir, name)],
            9 => {
                let (dir, name) = self.known(|kind| kind != Kind::Directory)?;
                let mut ops = Vec::new();
                if let Some(Some(ino)) = self.scene.kernel.entries.get(&(dir, name.clone()))
                    && self.is_file(*ino)
                    && self.chance.often(400)
                {
                    // Removed while it is open: it stays to its last close.
                    ops.push(Op::Open(*ino));
                    if self.chance.often(500) {
                        self.writes(&mut ops);
                    }
                    ops.push(Op::Read(0));
                    ops.push(Op::Unlink(dir, name));
                    for _ in 0..self.chance.between(1, 8) {
                        ops.extend([Op::Rest, Op::Read(0)]);
                    }
                    if self.chance.often(500) {
                        self.writes(&mut ops);
                    }
                    ops.push(Op::Read(500));
                    self.close(&mut ops);
                } else {
                    ops.push(Op::Unlink(dir, name));
                }
                self.sync_dir(&mut ops, dir);
                ops
            }
            10 => {
                let (dir, name) = self.known(|kind| kind == Kind::Directory)?;
                vec![Op::RemoveDir(dir, name)]
            }
            11 | 12 => {
                let from = self.known(|_| true)?;
                let how = match self.chance.below(4) {
                    0 => RenameHow::NoReplace,
                    1 => RenameHow::Exchange,
                    _ => RenameHow::Replace,
                };
                let to = if self.chance.often(400) {
                    self.known(|_| true)?
                } else {
                    (dir, name)
                };
                let mut ops = vec![Op::Rename(from, to.clone(), how)];
                self.sync_dir(&mut ops, to.0);
                ops
            }
            13 => {
                let ino = self.any()?;
                let mtime = WallTime {
                    secs: 1_500_000_000 + i64::try_from(self.chance.below(1 << 20)).unwrap_or(0),
                    nanos: 7,
                };
                let mode = [0o600, 0o640, 0o755, 0o444][self.chance.index(4)];
                // Linux sets no mode of a symlink.
                let known = self.scene.kernel.known.get(&ino);
                let is_link = known.is_some_and(|known| known.kind == Kind::Symlink);
                let set = match self.chance.below(3) {
                    drawn if drawn == 0 || is_link => SetAttr {
                        mtime: Some(mtime),
                        ..SetAttr::default()
                    },
                    _ => SetAttr {
                        mode: Some(mode),
                        ..SetAttr::default()
                    },
                };
                vec![Op::Set(ino, set)]
            }
            14 => {
                let ino = self.any()?;
                let name = [&b"user.a"[..], b"user.b"][self.chance.index(2)].to_vec();
                if self.chance.often(300) {
                    vec![Op::RemoveXattr(ino, name)]
                } else {
                    let value = self.chance.bytes(9);
                    vec![Op::SetXattr(ino, name, value, XattrHow::Set)]
                }
            }
            // Kept open and written to for long, as a database does.
            _ => {
                let mut ops = vec![Op::Create(dir, name, false)];
                for _ in 0..self.chance.between(2, 6) {
                    self.writes(&mut ops);
                    match self.chance.below(3) {
                        0 => ops.push(Op::Sync),
                        1 => ops.extend([Op::Rest, Op::Rest, Op::Rest]),
                        _ => {}
                    }
                    ops.push(Op::Read(self.chance.below(1000)));
                }
                self.close(&mut ops);
                ops
            }
        };
        Some(ops)
    }

    /// Draws a directory that is known, and a name: often one that stands there.
    fn spot(&mut self) -> (Ino, Vec<u8>) {
        let known = self.scene.kernel.known.iter();
        let dirs = known.filter(|(_, known)| known.kind == Kind::Directory);
        let dirs: Vec<Ino> = dirs.map(|(ino, _)| *ino).collect();
        let dir = self.chance.pick(&dirs).copied().unwrap_or(Ino::ROOT);
        let names = self.scene.kernel.entries.iter();
        let here = names.filter(|((parent, _), there)| *parent == dir && there.is_some());
        let here: Vec<Vec<u8>> = here.map(|((_, name), _)| name.clone()).collect();
        match self.chance.pick(&here) {
            Some(name) if self.chance.often(500) => (dir, name.clone()),
            _ => {
                let name = format!("w{}", self.chance.below(8));
                (dir, name.into_bytes())
            }
        }
    }

    /// Draws a name that stands somewhere.
    fn known(&mut self, fits: fn(Kind) -> bool) -> Option<(Ino, Vec<u8>)> {
        let kernel = &self.scene.kernel;
        let is = |ino: &Ino| kernel.known.get(ino).is_some_and(|known| fits(known.kind));
        let names = kernel.entries.iter();
        let all: Vec<_> = names
            .filter(|(_, there)| there.as_ref().is_some_and(is))
            .map(|(spot, _)| spot.clone())
            .collect();
        self.chance.pick(&all).cloned()
    }

    fn is_file(&self, ino: Ino) -> bool {
        let known = self.scene.kernel.known.get(&ino);
        known.is_some_and(|known| known.kind == Kind::File)
    }

    fn file(&mut self) -> Option<Ino> {
        let known = self.scene.kernel.known.iter();
        let files = known.filter(|(_, known)| known.kind == Kind::File);
        let files: Vec<Ino> = files.map(|(ino, _)| *ino).collect();
        self.chance.pick(&files).copied()
    }

    fn any(&mut self) -> Option<Ino> {
        let known = self.scene.kernel.known.keys().copied();
        let all: Vec<Ino> = known.filter(|ino| *ino != Ino::ROOT).collect();
        self.chance.pick(&all).copied()
    }

    fn writes(&mut self, ops: &mut Vec<Op>) {
        let chunk = self.scene.chunk;
        for _ in 0..self.chance.between(1, 4) {
            let len = match self.chance.below(5) {
                0 | 1 => self.chance.between(1, 40),
                2 => chunk,
                3 => self.chance.between(1, chunk),
                _ => self.chance.between(chunk, 3 * chunk),
            };
            let place = match self.chance.below(6) {
                0 | 1 => Place::End(0),
                2 => Place::Within(0),
                3 => Place::End(self.chance.between(1, 3 * chunk)),
                _ => Place::Within(self.chance.below(1000)),
            };
            ops.push(Op::Write(place, len.min(SIZE_MAX)));
            if self.chance.often(150) {
                let to = self.cut();
                ops.push(Op::Cut(None, to));
            }
            if self.chance.often(200) {
                ops.push(Op::Read(self.chance.below(1000)));
            }
        }
    }

    fn cut(&mut self) -> Place {
        match self.chance.below(4) {
            0 => Place::Within(0),
            1 => Place::End(self.chance.between(1, 2 * self.scene.chunk)),
            _ => Place::Within(self.chance.below(1000)),
        }
    }

    fn close(&mut self, ops: &mut Vec<Op>) {
        if self.chance.often(250) {
            ops.push(Op::Sync);
        }
        ops.extend([Op::Flush, Op::Release]);
    }

    fn sync_dir(&mut self, ops: &mut Vec<Op>, dir: Ino) {
        if self.chance.often(250) {
            ops.push(Op::SyncDir(dir));
        }
    }
}
