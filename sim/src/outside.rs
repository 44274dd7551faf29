//! Programs that change the shared folder, and the watcher that sees some of it.
//!
//! Law: any program may do anything at any time, whether the host's engine runs or not. Each
//! change is hinted at a little later; where the hint is lost, a larger one follows, as after an
//! overflow of the watcher's queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_core::event::{Event, Hint};
use tandem_core::ids::ReqId;
use tandem_core::tree::name::{Name, TargetPath, XattrName};

use crate::check::Verdict;
use crate::choices::{Chance, Key};
use crate::config::{MS, SEC};
use crate::disk::folder::{Id, Node, Path, wall};
use crate::reach;
use crate::world::{HOST, Item, World};

/// Files, with their contents.
pub(crate) type Standing = BTreeMap<Id, Arc<Vec<u8>>>;

/// A program that writes into a file bit by bit.
#[derive(Debug)]
pub(crate) struct Writer {
    chance: Chance,
    file: Id,
    path: Path,
    left: u64,
    end: End,
}

/// What a program does with a file that it has written.
#[derive(Debug)]
enum End {
    Close,
    Rename(Path),
    Unlink,
}

impl World {
    /// Draws the first content of the folder.
    pub fn populate(&mut self) {
        let mut chance = self.choices.stream(Key::Folder);
        let wall = self.wall();
        self.folder.at(wall - 1_000_000_000_000);
        for n in 0..self.config.dirs {
            let mut path = self.some_dir(&mut chance);
            path.push(name(&format!("d{n}")));
            self.folder.place(&path, Node::Dir([].into()), 0o755);
        }
        for n in 0..self.config.files {
            let mut path = self.some_dir(&mut chance);
            path.push(name(&format!("f{n}")));
            let node = match chance.below(12) {
                0 => Node::Link(target(&format!("f{}", n + 1))),
                1 if chance.often(300) => Node::Fifo,
                _ => self.some_file(&mut chance),
            };
            let mode = [0o644, 0o600, 0o755, 0o444][chance.index(4)];
            // A symlink has no mode that anybody could choose.
            let is_link = matches!(node, Node::Link(_));
            self.folder
                .place(&path, node, if is_link { 0o777 } else { mode });
        }
        self.account_outside(&Standing::new());
    }

    fn some_file(&self, chance: &mut Chance) -> Node {
        let len = self.some_len(chance);
        Node::File(std::sync::Arc::new(chance.bytes(len)))
    }

    fn some_len(&self, chance: &mut Chance) -> usize {
        let chunk = u64::from(self.config.chunk_size);
        let many = chance.between(1, self.config.chunks_max);
        // Files of a run together stay below some megabytes.
        let many = many.min((1 << 20) / chunk).max(1);
        let len = match chance.below(8) {
            0 => 0,
            1 => chance.between(1, 20),
            2 => chunk,
            3 => chunk * many,
            4 => chunk * many - 1,
            5 => chunk * many + 1,
            _ => chance.between(1, chunk * many),
        };
        usize::try_from(len).unwrap_or(0)
    }

    fn some_dir(&self, chance: &mut Chance) -> Path {
        let walk = self.folder.walk();
        let dirs = walk
            .into_iter()
            .filter(|(_, id)| matches!(self.folder.inode(*id).node, Node::Dir(_)));
        let mut dirs: Vec<Path> = dirs.map(|(path, _)| path).collect();
        dirs.push(Path::new());
        chance.pick(&dirs).cloned().unwrap_or_default()
    }

    fn some_entry(&self, chance: &mut Chance, files: bool) -> Option<(Path, Id)> {
        let walk = self.folder.walk();
        let fits = |id: Id| !files || matches!(self.folder.inode(id).node, Node::File(_));
        let of: Vec<_> = walk.into_iter().filter(|(_, id)| fits(*id)).collect();
        chance.pick(&of).cloned()
    }

    /// While the host sleeps, nobody would tell it of what was written through a name that was
    /// gone before it woke: a limit that `docs/CONSISTENCY.md` states. Then the file's other names
    /// are hinted at too.
    fn hint_other_names(&mut self, chance: &mut Chance, path: &[Name]) {
        if self.now >= self.peers[HOST].asleep {
            return;
        }
        let file = self.folder.find(path);
        let walk = self.folder.walk();
        let others = walk
            .into_iter()
            .filter(|(other, id)| Some(*id) == file && other != path);
        for (other, _) in others.collect::<Vec<_>>() {
            self.hint(chance, &other, true);
        }
    }

    fn named(&self, file: Id) -> Option<(Path, Id)> {
        let walk = self.folder.walk();
        walk.into_iter().find(|(_, id)| *id == file)
    }

    /// Makes the planned change of this number.
    pub(crate) fn edit(&mut self, id: u32) -> Verdict {
        let before = self.standing();
        self.make_edit(id)?;
        self.account_outside(&before);
        Ok(())
    }

    /// A program writes a bit more, or is done.
    pub(crate) fn write(&mut self, writer: Writer) -> Verdict {
        let before = self.standing();
        self.write_on(writer)?;
        self.account_outside(&before);
        Ok(())
    }

    /// Returns the files that have names, or will have again, since they are out of the way for a
    /// moment and programs that have them open write on; with their contents, where that counts.
    pub(crate) fn standing(&self) -> Standing {
        if self.config.writable == 0 {
            return Standing::new();
        }
        let named = self.folder.walk().into_iter().map(|(_, id)| id);
        named
            .chain(self.folder.out_of_the_way())
            .filter_map(|id| Some((id, self.folder.bytes(id)?)))
            .collect()
    }

    /// Keeps P3's account of what programs did.
    pub(crate) fn account_outside(&mut self, before: &Standing) {
        if self.config.writable == 0 {
            return;
        }
        // What rests on a mount may be what a program took away: it is owed by then, and not only
        // when somebody looks for it the next time.
        self.note_rest();
        let after = self.standing();
        let same = |a: &Standing, id: &Id, bytes: &Arc<Vec<u8>>| {
            a.get(id).is_some_and(|other| Arc::ptr_eq(other, bytes))
        };
        let went = before.iter().filter(|(id, bytes)| !same(&after, id, bytes));
        let went: Vec<_> = went.map(|(_, bytes)| bytes.clone()).collect();
        for peer in &mut self.peers {
            went.iter().for_each(|bytes| peer.bodies.taken(bytes));
        }
        let came = after.iter().filter(|(id, bytes)| !same(before, id, bytes));
        let time = |id: &Id| wall(self.folder.inode(*id).mtime);
        let came: Vec<_> = came.map(|(id, bytes)| (bytes.clone(), time(id))).collect();
        self.kept
            .outside(self.now, came, went, &self.folder.history);
    }

    fn make_edit(&mut self, id: u32) -> Verdict {
        let mut chance = self.choices.stream(Key::Planned(id));
        let _ = (chance.bits(), chance.bits());
        let wall = self.wall();
        self.folder.at(wall);
        let mut fresh = self.some_dir(&mut chance);
        fresh.push(name(&format!("new{}", chance.below(12))));
        let kinds = self.config.edit_kinds;
        let from = chance.below(16);
        let on = |kind: &u64| kinds >> kind & 1 == 1;
        let kind = (from..from + 16).map(|kind| kind % 16).find(on);
        match kind.unwrap_or(from) {
            0 | 1 => self.begin_writing(chance, fresh, End::Close),
            // Write beside it, then rename onto it, as most editors do.
            2 | 3 => {
                let Some((old, _)) = self.some_entry(&mut chance, true) else {
                    return Ok(());
                };
                let mut lock = old.clone();
                lock.pop();
                lock.push(name(&format!("{}.lock", chance.below(3))));
                self.begin_writing(chance, lock, End::Rename(old));
            }
            // Made and deleted at once.
            4 => self.begin_writing(chance, fresh, End::Unlink),
            5 | 6 => {
                if let Some((path, file)) = self.some_entry(&mut chance, true) {
                    let left = chance.between(1, 6);
                    let end = End::Close;
                    let writer = Writer {
                        chance,
                        file,
                        path,
                        left,
                        end,
                    };
                    self.after(0, Item::Write(Box::new(writer)));
                }
            }
            7 => self.rewrite(&mut chance),
            8 => self.truncate(&mut chance),
            9 | 10 => {
                let Some((from, _)) = self.some_entry(&mut chance, false) else {
                    return Ok(());
                };
                let to = match self.some_entry(&mut chance, false) {
                    Some((to, _)) if chance.often(400) => to,
                    _ => fresh,
                };
                self.rename(&mut chance, &from, &to);
            }
            11 => {
                if let Some((path, _)) = self.some_entry(&mut chance, false) {
                    self.hint_other_names(&mut chance, &path);
                    self.folder.unlink(&path);
                    self.hint(&mut chance, &path, true);
                }
            }
            12 => {
                if self
                    .folder
                    .place(&fresh, Node::Dir([].into()), 0o755)
                    .is_some()
                {
                    self.hint(&mut chance, &fresh, true);
                    self.hint_subtree(&mut chance, fresh);
                }
            }
            13 => {
                let to = target(&format!("../x{}", chance.below(5)));
                self.folder.place(&fresh, Node::Link(to), 0o777);
                self.hint(&mut chance, &fresh, true);
            }
            14 => self.set_attributes(&mut chance),
            _ => {
                if let Some((from, _)) = self.some_entry(&mut chance, true)
                    && self.config.hard_links
                    && self.folder.link(&from, &fresh)
                {
                    reach!(self.reach, "edit: hard link");
                    self.hint(&mut chance, &fresh, true);
                }
            }
        }
        self.edited();
        Ok(())
    }

    fn edited(&mut self) {
        for peer in &mut self.peers {
            peer.caused.edit = true;
        }
    }

    fn begin_writing(&mut self, mut chance: Chance, path: Path, end: End) {
        self.hint_other_names(&mut chance, &path);
        let node = Node::File([].to_vec().into());
        if let Some(file) = self.folder.place(&path, node, 0o644) {
            self.hint(&mut chance, &path, false);
            let left = chance.between(1, 4);
            let writer = Writer {
                chance,
                file,
                path,
                left,
                end,
            };
            self.after(0, Item::Write(Box::new(writer)));
        }
    }

    fn rewrite(&mut self, chance: &mut Chance) {
        let Some((path, file)) = self.some_entry(chance, true) else {
            return;
        };
        let before = self.folder.bytes(file).unwrap_or_default();
        let len = before.len();
        let mtime = self.folder.inode(file).mtime;
        self.folder.write(file, chance.bytes(len));
        if chance.often(300) {
            // The same size, and the modification time set back: only the change time tells.
            reach!(self.reach, "edit: mtime set back");
            self.folder.touch(file, |inode, _| inode.mtime = mtime);
            self.timed(file);
            self.set_back = true;
            let after = self.folder.bytes(file).unwrap_or_default();
            let cells = std::sync::Arc::new(after.iter().map(|byte| u16::from(*byte)).collect());
            for peer in &mut self.peers {
                peer.bodies
                    .set_back(&before, &cells, &mut self.folder.history);
            }
            self.kept.set_back(after);
        }
        self.hint(chance, &path, true);
    }

    /// A file got its time by hand.
    fn timed(&mut self, id: Id) {
        let len = self.folder.bytes(id).map(|bytes| bytes.len() as u64);
        len.into_iter().for_each(|len| self.kept.touched(len));
    }

    fn truncate(&mut self, chance: &mut Chance) {
        let Some((path, file)) = self.some_entry(chance, true) else {
            return;
        };
        let mut bytes = self.folder.bytes(file).unwrap_or_default().to_vec();
        let len = match chance.below(3) {
            0 => 0,
            1 => chance.index(bytes.len() + 1),
            // A hole at the end.
            _ => bytes.len() + chance.index(3000),
        };
        bytes.resize(len, 0);
        self.folder.write(file, bytes);
        self.hint(chance, &path, true);
    }

    fn rename(&mut self, chance: &mut Chance, from: &[Name], to: &[Name]) {
        self.hint_other_names(chance, to);
        if self.folder.rename(from, to) {
            self.hint(chance, from, true);
            self.hint(chance, to, true);
            let dir = self.folder.find(to);
            if dir.is_some_and(|id| matches!(self.folder.inode(id).node, Node::Dir(_))) {
                self.hint_subtree(chance, to.to_vec());
            }
        }
    }

    fn set_attributes(&mut self, chance: &mut Chance) {
        let Some((path, id)) = self.some_entry(chance, false) else {
            return;
        };
        let is_link = matches!(self.folder.inode(id).node, Node::Link(_));
        match chance.below(3) {
            0 if !is_link => {
                let mode = [0o600, 0o640, 0o755, 0o4755][chance.index(4)];
                self.folder.touch(id, |inode, _| inode.mode = mode);
            }
            1 => {
                let mtime = i64::try_from(chance.below(2_000_000_000_000_000_000)).unwrap_or(0);
                self.folder.touch(id, |inode, _| inode.mtime = mtime);
                self.timed(id);
            }
            _ if !is_link => {
                let (value, gone) = (chance.bytes(9), chance.often(300));
                self.folder.touch(id, |inode, _| {
                    if let Ok(key) = XattrName::parse(b"user.tag") {
                        if gone {
                            inode.xattrs.remove(&key);
                        } else {
                            inode.xattrs.insert(key, value.into());
                        }
                    }
                });
            }
            _ => {}
        }
        self.hint(chance, &path, true);
    }

    fn write_on(&mut self, mut writer: Writer) -> Verdict {
        let wall = self.wall();
        self.folder.at(wall);
        // The watcher knows a directory that was renamed by its new name.
        if self.folder.find(&writer.path) != Some(writer.file)
            && let Some((path, _)) = self.named(writer.file)
        {
            writer.path = path;
        }
        if writer.left == 0 {
            match &writer.end {
                End::Close => self.hint(&mut writer.chance, &writer.path, true),
                End::Rename(to) => {
                    let from = writer.path.clone();
                    if let Some(bytes) = self.folder.bytes(writer.file) {
                        self.kept.saved(&bytes);
                    }
                    self.rename(&mut writer.chance, &from, to);
                }
                End::Unlink => {
                    if self.folder.find(&writer.path) == Some(writer.file) {
                        self.hint_other_names(&mut writer.chance, &writer.path);
                        self.folder.unlink(&writer.path);
                    }
                    self.hint(&mut writer.chance, &writer.path, true);
                }
            }
            self.edited();
            return Ok(());
        }
        writer.left -= 1;
        let len = self.some_len(&mut writer.chance).min(60_000);
        let mut bytes = self.folder.bytes(writer.file).unwrap_or_default().to_vec();
        let new = writer.chance.bytes(len);
        if writer.chance.often(600) || bytes.is_empty() {
            bytes.extend(new);
        } else {
            let at = writer.chance.index(bytes.len());
            let end = (at + len).max(bytes.len());
            bytes.resize(end, 0);
            bytes[at..at + len].copy_from_slice(&new);
        }
        // Files of a run together stay below some megabytes.
        bytes.truncate(1 << 20);
        self.folder.write(writer.file, bytes);
        let path = writer.path.clone();
        self.hint(&mut writer.chance, &path, false);
        self.edited();
        let pause = [0, 5 * MS, 300 * MS, 3 * SEC][writer.chance.index(4)];
        self.after(pause, Item::Write(Box::new(writer)));
        Ok(())
    }

    /// The watcher sees a change, or loses it.
    pub fn hint(&mut self, chance: &mut Chance, path: &[Name], settled: bool) {
        if chance.often(self.config.hints_lost) {
            reach!(self.reach, "hint: lost");
            let upto = chance.index(path.len().max(1));
            self.hint_subtree(chance, path[..upto].to_vec());
            return;
        }
        let path = path.to_vec();
        let delay = chance.delay(3 * MS);
        let hint = Hint::Path { path, settled };
        if chance.often(self.config.hints_twice) {
            reach!(self.reach, "hint: twice");
            self.after(2 * delay, Item::Hint(Box::new(hint.clone())));
        }
        self.after(delay, Item::Hint(Box::new(hint)));
    }

    fn hint_subtree(&mut self, chance: &mut Chance, path: Path) {
        let delay = chance.delay(100 * MS);
        self.after(delay, Item::Hint(Box::new(Hint::Subtree { path })));
    }

    /// Somebody wants the whole of a file, or of what is none.
    pub(crate) fn want(&mut self, p: usize, chance: &mut Chance) -> Verdict {
        if self.peers[p].config.writable {
            // Who asks for whole files (`get`) has no mount to write to.
            return Ok(());
        }
        let path = match self.some_entry(chance, false) {
            Some((path, _)) if chance.often(900) => path,
            _ => vec![name("nothing")],
        };
        self.want_path(p, path).map(|_| ())
    }

    /// Wants the whole of what stands under a path on a peer.
    pub fn want_path(&mut self, p: usize, path: Path) -> Result<ReqId, crate::check::Failure> {
        let peer = &mut self.peers[p];
        let (req, boot) = (ReqId(peer.draw()), peer.boot);
        if peer.engine.is_some() && !peer.stopping {
            peer.wants.insert(req, path.clone());
            self.tell(p, boot, Event::Want { req, path })?;
        }
        Ok(req)
    }
}

/// Returns a name that is known to be one.
///
/// # Panics
///
/// When it is none.
#[expect(
    clippy::expect_used,
    reason = "only names written in the simulator come here"
)]
pub fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).expect("the simulator's names are names")
}

#[expect(
    clippy::expect_used,
    reason = "only targets written in the simulator come here"
)]
fn target(text: &str) -> TargetPath {
    TargetPath::parse(text.as_bytes()).expect("the simulator's targets are targets")
}
