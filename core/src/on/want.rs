//! A user wants all of a file here (`get`).

use alloc::vec::Vec;

use crate::action::{Action, WantState};
use crate::engine::Engine;
use crate::ids::{ObjectId, ReqId};
use crate::tree::name::Name;
use crate::tree::register::Kind;

/// A file that is wanted whole.
#[derive(Debug)]
pub(crate) struct Wanting {
    /// Where it stands.
    pub path: Vec<Name>,
    /// Which version is being fetched, once the file is found.
    pub object: Option<ObjectId>,
}

impl Engine {
    /// A user wants a file.
    pub(crate) fn on_want(&mut self, req: ReqId, path: Vec<Name>) {
        self.wants.insert(req, Wanting { path, object: None });
        self.sought = false;
    }

    /// Sets about what is wanted and was not looked for yet: once the tree is known.
    pub(crate) fn pump_wants(&mut self) {
        if !self.me.complete || core::mem::replace(&mut self.sought, true) {
            return;
        }
        let new: Vec<ReqId> = self
            .wants
            .iter()
            .filter(|(_, want)| want.object.is_none())
            .map(|(req, _)| *req)
            .collect();
        for req in new {
            self.seek(req);
        }
    }

    fn seek(&mut self, req: ReqId) {
        let Some(want) = self.wants.get(&req) else {
            return;
        };
        let found = self.tree.resolve(&want.path);
        let view = found.and_then(|node| self.tree.node(node));
        let size = view.as_ref().map_or(0, |view| view.size);
        let wrong = match view.as_ref().map(|view| view.kind) {
            None => Some(WantState::NotFound),
            Some(Kind::Directory) => Some(WantState::IsDirectory),
            Some(Kind::Symlink) => Some(WantState::IsSymlink),
            Some(Kind::File) => None,
        };
        if let Some(wrong) = wrong {
            self.end_want(req, wrong);
            return;
        }
        let Some((object, chunk_size)) = found.and_then(|node| self.current(node)) else {
            self.end_want(req, WantState::Failed);
            return;
        };
        if size == 0 {
            self.end_want(req, WantState::Done { object, size });
            return;
        }
        if !self.keep_object(object, size, chunk_size) {
            self.end_want(req, WantState::Failed);
            return;
        }
        if let Some(want) = self.wants.get_mut(&req) {
            want.object = Some(object);
        }
        self.demand_whole(object);
        self.tell_progress(object, &[req]);
        self.want_done(object);
    }

    fn end_want(&mut self, req: ReqId, state: WantState) {
        self.wants.remove(&req);
        self.act(Action::Wanted { req, state });
    }

    fn wants_of(&self, object: ObjectId) -> Vec<ReqId> {
        self.wants
            .iter()
            .filter(|(_, want)| want.object == Some(object))
            .map(|(req, _)| *req)
            .collect()
    }

    /// Tells how far a wanted file has come.
    pub(crate) fn want_progress(&mut self, object: ObjectId) {
        let wants = self.wants_of(object);
        self.tell_progress(object, &wants);
    }

    /// Tells these, and nobody else who wants the same: many wants of one file are looked for at
    /// once, and each would tell all.
    fn tell_progress(&mut self, object: ObjectId, wants: &[ReqId]) {
        let Some(kept) = self.objects.get(&object).filter(|kept| kept.whole) else {
            return;
        };
        let (have, size) = (kept.download.bytes(), kept.size());
        for &req in wants {
            let state = WantState::Progress { have, size };
            self.act(Action::Wanted { req, state });
        }
    }

    /// Ends the wants of a file that is complete.
    pub(crate) fn want_done(&mut self, object: ObjectId) {
        let Some(kept) = self.objects.get_mut(&object) else {
            return;
        };
        if kept.stage != crate::object::Stage::Complete {
            return;
        }
        kept.whole = false;
        let size = kept.size();
        for req in self.wants_of(object) {
            self.end_want(req, WantState::Done { object, size });
        }
        self.close_idle_lanes(object.node);
    }

    /// Ends the wants of a file whose attempts have run out.
    pub(crate) fn want_failed(&mut self, object: ObjectId, state: WantState) {
        for req in self.wants_of(object) {
            self.end_want(req, state);
        }
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.whole = false;
        }
    }

    /// Ends all wants when nobody could be asked for so long that waiting is of no use; what is
    /// here is kept, and the next want goes on from there.
    pub(crate) fn give_up_wants(&mut self) {
        if !self.is_given_up() {
            return;
        }
        let wants: Vec<(ReqId, Option<ObjectId>)> = self
            .wants
            .iter()
            .map(|(req, want)| (*req, want.object))
            .collect();
        for (req, object) in wants {
            self.end_want(req, WantState::Failed);
            if let Some(kept) = object.and_then(|object| self.objects.get_mut(&object)) {
                kept.whole = false;
            }
        }
    }

    /// Has wants of a version that is not shown any more look for the one that is.
    pub(crate) fn want_moved(&mut self, object: ObjectId) {
        if self.is_needed(object) {
            return;
        }
        for req in self.wants_of(object) {
            if let Some(want) = self.wants.get_mut(&req) {
                want.object = None;
                self.sought = false;
            }
        }
        if let Some(kept) = self.objects.get_mut(&object) {
            kept.whole = false;
        }
    }
}
