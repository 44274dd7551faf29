//! Files that are being written on a sparse replica.

use crate::action::Action;
use crate::engine::Engine;
use crate::error::FsError;
use crate::ids::{Arrival, Dot, Fh, NodeId, PayloadId, ReqId};
use crate::time::WallTime;

impl Engine {
    pub(crate) fn begin_new_draft(&mut self, _node: NodeId, _version: Dot, _wall: WallTime) {}

    pub(crate) fn on_write(
        &mut self,
        req: ReqId,
        _fh: Fh,
        _offset: u64,
        payload: PayloadId,
        _len: u32,
        _wall: WallTime,
    ) {
        self.act(Action::Drop { payload });
        self.reply(req, Err(FsError::ReadOnly));
    }

    pub(crate) fn on_flush(&mut self, req: ReqId, _fh: Fh, _wall: WallTime) {
        self.reply(req, Ok(crate::action::FsReply::Done));
    }

    pub(crate) fn on_sync(&mut self, req: ReqId, _fh: Fh, _wall: WallTime) {
        self.commits.harden();
        self.reply_stored(req, crate::action::FsReply::Done);
    }

    pub(crate) fn on_resize(&mut self, req: ReqId, _node: NodeId, _size: u64, _wall: WallTime) {
        self.reply(req, Err(FsError::ReadOnly));
    }

    pub(crate) fn draft_touch(&mut self, _node: NodeId, _mtime: WallTime) -> bool {
        false
    }

    pub(crate) fn draft_release(&mut self, _node: NodeId) {}

    pub(crate) fn draft_holds_tell(&self) -> Option<Arrival> {
        None
    }
}
