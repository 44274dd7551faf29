//! An application writes to a file of a sparse replica.
//!
//! Law (P2, P9): what is answered survives a kill, what a sync answered a power loss; and nothing
//! waits for the network.

use crate::action::{Action, FsReply};
use crate::draft::journal::size_max;
use crate::draft::{Draft, Op, Stage};
use crate::draft_wish::DraftFrom;
use crate::engine::Engine;
use crate::error::FsError;
use crate::ids::{Arrival, Dot, Fh, NodeId, ObjectId, PayloadId, ReqId};
use crate::limits::{GROWING_MAX, QUIET};
use crate::on::fs::Open;
use crate::records;
use crate::time::WallTime;
use crate::timers::Timer;
use crate::tree::register::Body;

impl Engine {
    /// A file was made: what is written to it will be a draft. Its record is stored with the
    /// registers of this event.
    pub(crate) fn begin_new_draft(&mut self, node: NodeId, version: Dot, wall: WallTime) {
        let file = ObjectId { node, version };
        let mut draft = Draft::new(file, DraftFrom::Nothing, self.config.chunk_size, 0);
        (draft.mtime, draft.wall) = (wall, wall);
        // Its attributes came just before its content; its name follows.
        let last = self.tree.registers().last_arrival();
        draft.born = Some(Arrival(last.0.saturating_sub(1)));
        self.insert_draft(node, draft);
        self.record_draft(node, false);
        self.timers.set(Timer::Quiet(node), self.now + QUIET);
    }

    /// An application writes.
    pub(crate) fn on_write(
        &mut self,
        req: ReqId,
        fh: Fh,
        (offset, append): (u64, bool),
        payload: PayloadId,
        len: u32,
        wall: WallTime,
    ) {
        let node = match self.may_write(fh) {
            Ok(node) if len > 0 => node,
            Ok(_) => {
                self.act(Action::Drop { payload });
                self.reply(req, Ok(FsReply::Written { len }));
                return;
            }
            Err(why) => {
                self.act(Action::Drop { payload });
                self.reply(req, Err(why));
                return;
            }
        };
        let op = Op::Write {
            req,
            offset,
            append,
            payload,
            len,
            wall,
        };
        self.change_draft(node, op, offset.saturating_add(len.into()), wall);
    }

    /// Returns the node of a handle that may be written through.
    fn may_write(&self, fh: Fh) -> Result<NodeId, FsError> {
        match self.handles.get(fh) {
            Some(Open::File { write: true, .. }) => {}
            Some(Open::File { .. } | Open::Directory { .. }) | None => {
                return Err(FsError::BadHandle);
            }
        }
        self.node_of(fh)
    }

    fn node_of(&self, fh: Fh) -> Result<NodeId, FsError> {
        let ino = self.handles.ino(fh).ok_or(FsError::BadHandle)?;
        self.inodes.node(ino).ok_or(FsError::Stale)
    }

    /// An application cuts or extends a file.
    pub(crate) fn on_resize(&mut self, req: ReqId, node: NodeId, size: u64, wall: WallTime) {
        let ino = self.inodes.get(node);
        let shown = ino.and_then(|ino| self.shown_open(ino));
        let of = self.tree.node(node).and_then(|view| view.version);
        let op = Op::Resize {
            req,
            size,
            wall,
            shown,
            of,
        };
        self.change_draft(node, op, size, wall);
    }

    /// Has a file changed in its turn, by which it becomes a draft if it is none.
    pub(crate) fn change_draft(&mut self, node: NodeId, op: Op, end: u64, wall: WallTime) {
        let begun = if self.drafts.contains_key(&node) {
            Ok(())
        } else {
            self.begin_draft(node)
        };
        let chunk_size = self
            .drafts
            .get(&node)
            .map_or(1, |draft| draft.overlay.chunk_size());
        let begun = begun.and_then(|()| {
            if end > size_max(chunk_size) {
                Err(FsError::TooLarge)
            } else {
                Ok(())
            }
        });
        match begun {
            Ok(()) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.wall = wall;
                    draft.queue.push_back(op);
                }
                self.pump_draft(node);
            }
            Err(why) => self.fail_op(op, why),
        }
    }

    /// Answers something that can't be done.
    pub(crate) fn fail_op(&mut self, op: Op, why: FsError) {
        match op {
            Op::Write { req, payload, .. } => {
                self.act(Action::Drop { payload });
                self.reply(req, Err(why));
            }
            Op::Resize { req, .. } => self.reply(req, Err(why)),
            Op::Publish { req } | Op::Sync { req } => {
                if let Some(req) = req {
                    self.reply(req, Err(why));
                }
            }
            Op::Touch { .. } | Op::Harden => {}
        }
    }

    /// Begins a draft on the version that a file shows.
    fn begin_draft(&mut self, node: NodeId) -> Result<(), FsError> {
        let shown = self.tree.node(node);
        let shown = shown.map(|view| (view.size, view.mtime.unwrap_or_default(), view.body));
        let (size, mtime, current) = match shown {
            Some((size, mtime, Some(Body::File { .. }))) => (size, mtime, self.current(node)),
            Some((_, _, Some(Body::Link { .. }) | None)) => return Err(FsError::Invalid),
            None => {
                let ino = self.inodes.get(node).ok_or(FsError::Stale)?;
                let open = self.handles.on(ino).find_map(|(_, open)| match open {
                    Open::File { last, version, .. } => Some((last.size, last.mtime, *version)),
                    Open::Directory { .. } => None,
                });
                open.ok_or(FsError::Stale)?
            }
        };
        let (file, chunk_size) = current.ok_or(FsError::Io)?;
        if size > 0 && !self.keep_object(file, size, chunk_size) {
            return Err(FsError::Io);
        }
        if self.drafts_on.contains_key(&file) {
            // A conflict copy and the file that it is a copy of have one version in common.
            return Err(FsError::Io);
        }
        // It is a file of its own from here on, whatever becomes of the version that it shows.
        self.stand_alone(node);
        let mut draft = Draft::new(file, DraftFrom::Nothing, chunk_size, size);
        draft.mtime = mtime;
        self.insert_draft(node, draft);
        Ok(())
    }

    fn insert_draft(&mut self, node: NodeId, draft: Draft) {
        self.drafts_on.insert(draft.file, node);
        self.drafts.insert(node, draft);
    }

    /// Has a draft's record stored, and the draft go on when it is.
    pub(crate) fn record_draft(&mut self, node: NodeId, is_hard: bool) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.stage = Stage::Recording;
        let record = records::encode(&draft.record());
        self.commits.put(records::draft(node), record);
        if is_hard {
            self.commits.harden();
        }
        self.commits.then(crate::commits::After::Draft(node));
    }

    /// A descriptor was closed: a publish point.
    pub(crate) fn on_flush(&mut self, req: ReqId, fh: Fh, _wall: WallTime) {
        match self.node_of(fh) {
            Ok(node) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.queue.push_back(Op::Publish { req: Some(req) });
                    self.pump_draft(node);
                } else {
                    self.reply_stored(req, FsReply::Done);
                }
            }
            Err(why) => self.reply(req, Err(why)),
        }
    }

    /// What was written, and the file's names, are to survive power loss.
    pub(crate) fn on_sync(&mut self, req: ReqId, fh: Fh, _wall: WallTime) {
        match self.node_of(fh) {
            Ok(node) => {
                if let Some(draft) = self.drafts.get_mut(&node) {
                    draft.queue.push_back(Op::Sync { req: Some(req) });
                    self.pump_draft(node);
                } else {
                    self.reply_synced(req, Some(node));
                }
            }
            Err(why) => self.reply(req, Err(why)),
        }
    }

    /// A time is set by hand: true if that goes into what is yet to be published.
    pub(crate) fn draft_touch(&mut self, node: NodeId, mtime: WallTime) -> bool {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return false;
        };
        let is_changed = draft.overlay.is_changed() || !draft.flying.is_empty();
        if !is_changed || draft.is_nobodys() {
            return false;
        }
        draft.mtime = mtime;
        draft.queue.push_back(Op::Touch { mtime });
        self.pump_draft(node);
        true
    }

    /// Returns the size and modification time that a file shows instead of its version's.
    pub(crate) fn draft_face(&self, node: NodeId) -> Option<(u64, WallTime)> {
        let draft = self.drafts.get(&node)?;
        let is_changed = draft.overlay.is_changed() && !draft.is_nobodys();
        is_changed.then_some((draft.overlay.size(), draft.mtime))
    }

    /// The last handle through which a file could be written was closed, or the last of a file
    /// that has no name.
    pub(crate) fn draft_release(&mut self, node: NodeId) {
        if let Some(draft) = self.drafts.get_mut(&node) {
            draft.queue.push_back(Op::Publish { req: None });
            self.pump_draft(node);
        }
    }

    /// Returns from which arrival on nothing may be told yet.
    pub(crate) fn draft_holds_tell(&self) -> Option<Arrival> {
        let holds = |draft: &Draft| match (draft.born, draft.hold) {
            (Some(born), Some(hold)) => Some(born.min(hold)),
            (born, hold) => born.or(hold),
        };
        self.drafts.values().filter_map(holds).min()
    }

    /// A file that was being written has been quiet for a while, or has been written for long.
    pub(crate) fn draft_quiet(&mut self, node: NodeId) {
        let Some(draft) = self.drafts.get_mut(&node) else {
            return;
        };
        draft.born = None;
        let is_write = |op: &Op| matches!(op, Op::Write { .. } | Op::Resize { .. });
        let is_busy = !draft.flying.is_empty() || draft.queue.iter().any(is_write);
        let until = draft.changed_at.map(|since| since + GROWING_MAX);
        if is_busy && draft.stage != Stage::Broken && until.is_none_or(|until| self.now < until) {
            // It is being written at this moment, perhaps for the first time.
            self.timers.set(Timer::Quiet(node), self.now + QUIET);
            return;
        }
        match draft.stage {
            Stage::Broken => {
                draft.pausing = false;
                self.drafts_to_sync.insert(node);
            }
            Stage::Base
            | Stage::Recording
            | Stage::Closed
            | Stage::Loading
            | Stage::Opening
            | Stage::Open
            | Stage::Settling
            | Stage::Removing => draft.queue.push_back(Op::Publish { req: None }),
        }
        self.pump_draft(node);
    }

    /// Returns how a read of a file with a draft is answered from it: the size, and whether the
    /// range is here; `None` if the version that is shown has nothing to do with the draft.
    pub(crate) fn draft_reads(&self, node: NodeId, offset: u64, len: u32) -> Option<DraftRead> {
        let draft = self.drafts.get(&node)?;
        if draft.is_restored && draft.stage == Stage::Removing {
            // Nothing of it counts.
            return None;
        }
        let is_sought = matches!(draft.stage, Stage::Broken | Stage::Loading);
        if draft.is_restored || (draft.is_unsure && is_sought) || draft.is_nobodys() {
            return Some(DraftRead::NotFound);
        }
        let shown = self.shown_version(node);
        let is_ours = shown.is_none_or(|shown| shown == Some(draft.version));
        let has_file = match draft.stage {
            Stage::Base | Stage::Recording | Stage::Closed => false,
            Stage::Loading
            | Stage::Opening
            | Stage::Open
            | Stage::Broken
            | Stage::Settling
            | Stage::Removing => true,
        };
        if !(is_ours && has_file || draft.overlay.is_changed()) {
            return None;
        }
        let size = draft.overlay.size();
        let left = size.saturating_sub(offset).min(u64::from(len));
        let len = u32::try_from(left).unwrap_or(len);
        let beneath = draft.beneath(&self.objects);
        Some(DraftRead::Here {
            file: draft.file,
            len,
            is_here: draft.overlay.is_here(offset, left, beneath),
        })
    }
}

/// How a read stands to a draft.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DraftRead {
    /// What is there of it is being found.
    NotFound,
    /// Its file has the bytes, or what is beneath lacks them.
    Here {
        /// Under the name of which object it lies.
        file: ObjectId,
        /// How many bytes there are, up to what was asked for.
        len: u32,
        /// Whether they are here.
        is_here: bool,
    },
}
