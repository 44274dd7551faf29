//! An application changes something: each kind of edit finds its room.

use crate::action::{Action, FsReply};
use crate::commits::After;
use crate::edit::Edit;
use crate::engine::Engine;
use crate::error::FsError;
use crate::ids::ReqId;
use crate::message::Role;
use crate::on::hush::Hush;

impl Engine {
    /// An application wants something changed.
    pub(crate) fn on_edit(&mut self, req: ReqId, edit: Edit) {
        if let Err(why) = self.may_edit() {
            let has_nothing_to_sync = why == FsError::ReadOnly
                && matches!(
                    edit,
                    Edit::Flush { .. } | Edit::Sync { .. } | Edit::SyncDir { .. }
                );
            if has_nothing_to_sync {
                self.reply(req, Ok(FsReply::Done));
                return;
            }
            if let Edit::Write { payload, .. } = edit {
                self.act(Action::Drop { payload });
            }
            self.reply(req, Err(why));
            return;
        }
        if let Err(why) = self.edit(req, edit) {
            self.reply(req, Err(why));
        }
        self.hush = Hush::default();
    }

    /// Tells whether anything may be changed here.
    pub(crate) fn may_edit(&self) -> Result<(), FsError> {
        if !self.config.writable || self.config.role != Role::Sparse || self.is_refused() {
            return Err(FsError::ReadOnly);
        }
        if self.stopping {
            return Err(FsError::Io);
        }
        Ok(())
    }

    /// Returns whether the host has said that it takes no changes (S35).
    fn is_refused(&self) -> bool {
        let host = self.config.host.as_ref();
        let host = host.and_then(|host| self.links.peers.get(&host.peer));
        host.is_some_and(|host| host.takes_changes == Some(false))
    }

    fn edit(&mut self, req: ReqId, edit: Edit) -> Result<(), FsError> {
        match edit {
            Edit::Create {
                parent,
                name,
                making,
                exclusive,
            } => self.create_named(req, parent, &name, &making, exclusive),
            Edit::Make {
                parent,
                name,
                what,
                making,
            } => self.make_named(req, parent, &name, &what, &making),
            Edit::Link { ino, parent, name } => self.link(req, ino, parent, &name),
            Edit::Unlink { parent, name } => self.unlink(req, parent, &name),
            Edit::RemoveDir { parent, name } => self.remove_dir(req, parent, &name),
            Edit::Rename {
                parent,
                name,
                to_parent,
                to_name,
                how,
            } => self.rename_here(req, (parent, &name), (to_parent, &to_name), how),
            Edit::SetAttr {
                ino,
                fh: _,
                set,
                wall,
            } => self.set_attr(req, ino, set, wall),
            Edit::SetXattr {
                ino,
                name,
                value,
                how,
            } => self.set_xattr(req, ino, (&name, &value), how),
            Edit::RemoveXattr { ino, name } => self.remove_xattr(req, ino, &name),
            Edit::SyncDir { ino } => self.sync_dir(req, ino),
            Edit::Write {
                fh,
                offset,
                append,
                payload,
                len,
                wall,
            } => {
                self.on_write(req, fh, (offset, append), payload, len, wall);
                Ok(())
            }
            Edit::Flush { fh, wall } => {
                self.on_flush(req, fh, wall);
                Ok(())
            }
            Edit::Sync { fh, wall } => {
                self.on_sync(req, fh, wall);
                Ok(())
            }
        }
    }

    /// Answers a request when what was made for it is stored.
    pub(crate) fn reply_stored(&mut self, req: ReqId, reply: FsReply) {
        if self.commits.is_gathering() {
            let hush = self.hush.clone();
            self.commits.then(After::Reply { req, reply, hush });
        } else {
            self.reply(req, Ok(reply));
        }
    }
}
