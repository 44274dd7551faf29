//! An application changes something.

use crate::action::Action;
use crate::edit::Edit;
use crate::engine::Engine;
use crate::error::FsError;
use crate::ids::ReqId;

impl Engine {
    /// An application wants something changed.
    pub(crate) fn on_edit(&mut self, req: ReqId, edit: Edit) {
        if let Edit::Write { payload, .. } = edit {
            self.act(Action::Drop { payload });
        }
        self.reply(req, Err(FsError::ReadOnly));
    }
}
