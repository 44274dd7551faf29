//! Edits on the mounts: how they are called, and how the oracles hear of them.
//!
//! Law: an oracle is told what an application asked for before its engine is, and what it was
//! answered before the application is; after a crash a mount is judged as soon as it answers,
//! before anybody else calls.

use std::collections::{BTreeMap, BTreeSet};

use tandem_core::action::FsReply;
use tandem_core::edit::{Edit, RenameHow};
use tandem_core::error::FsError;
use tandem_core::event::FsCall;
use tandem_core::ids::{Ino, PayloadId, ReqId};
use tandem_core::tree::register::Kind;

use crate::check::bodies::Answered;
use crate::check::kept::{Author, Seeing};
use crate::check::{Failure, Verdict};
use crate::peer::Caller;
use crate::reach;
use crate::world::World;

impl World {
    /// Makes a call that brings bytes; returns its request.
    pub fn call_with(
        &mut self,
        p: usize,
        caller: Caller,
        mut call: FsCall,
        bytes: Vec<u8>,
    ) -> Result<ReqId, Failure> {
        if let FsCall::Edit(Edit::Write { payload, len, .. }) = &mut call {
            let peer = &mut self.peers[p];
            *payload = PayloadId(peer.draw());
            *len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            peer.payloads.insert(*payload, bytes);
        }
        self.call(p, caller, call)
    }

    /// Makes a call of a thread, once the kernel's locks are free.
    pub(crate) fn call_in_turn(
        &mut self,
        p: usize,
        caller: Caller,
        call: FsCall,
        bytes: Vec<u8>,
    ) -> Verdict {
        let peer = &mut self.peers[p];
        if peer.kernel.must_wait(&call) {
            let seen = if let FsCall::Edit(Edit::SetAttr { ino, .. }) = &call {
                peer.kernel.attrs.get(ino).copied()
            } else {
                None
            };
            let seen = seen.or(peer.seen_before.take());
            peer.held_back.push_back((caller, call, bytes, seen));
            return Ok(());
        }
        self.look_first(p, &call)?;
        self.call_with(p, caller, call, bytes).map(drop)
    }

    /// Has names looked up that are to be taken away and of which the kernel knows nothing: it
    /// takes away nothing that it has not seen.
    fn look_first(&mut self, p: usize, call: &FsCall) -> Verdict {
        let spots: Vec<(Ino, Vec<u8>)> =
            if let FsCall::Edit(Edit::Unlink { parent, name } | Edit::RemoveDir { parent, name }) =
                call
            {
                vec![(*parent, name.clone())]
            } else if let FsCall::Edit(Edit::Rename {
                parent,
                name,
                to_parent,
                to_name,
                ..
            }) = call
            {
                vec![(*parent, name.clone()), (*to_parent, to_name.clone())]
            } else {
                return Ok(());
            };
        for (parent, name) in spots {
            let kernel = &self.peers[p].kernel;
            let is_known = match kernel.entries.get(&(parent, name.clone())) {
                Some(Some(ino)) => kernel.attrs.contains_key(ino),
                Some(None) => true,
                None => false,
            };
            if !is_known {
                let req = self.call(p, Caller::Judge, FsCall::Lookup { parent, name })?;
                self.answers.remove(&(p, req));
            }
        }
        Ok(())
    }

    pub(crate) fn unlocked(&mut self, p: usize, boot: u64) -> Verdict {
        if self.peers[p].boot != boot || self.peers[p].engine.is_none() {
            return Ok(());
        }
        for (caller, call, bytes, seen) in std::mem::take(&mut self.peers[p].held_back) {
            if self.peers[p].boot != boot || self.peers[p].engine.is_none() {
                return Ok(());
            }
            self.peers[p].seen_before = seen;
            self.call_in_turn(p, caller, call, bytes)?;
            self.peers[p].seen_before = None;
        }
        Ok(())
    }

    /// Lets the oracles know of an edit that an application asks for.
    pub(crate) fn edits(&mut self, p: usize, req: ReqId, edit: &Edit) {
        let peer = &mut self.peers[p];
        if !peer.config.writable {
            return;
        }
        let bytes = if let Edit::Write { payload, .. } = edit {
            peer.payloads.get(payload).cloned()
        } else {
            None
        };
        let bytes = bytes.unwrap_or_default();
        let (now, kernel) = (self.now, &peer.kernel);
        let of = |fh| kernel.open.get(&fh).map(|opened| opened.ino);
        let there = |spot: &(Ino, Vec<u8>)| kernel.entries.get(spot).copied();
        let size = |ino| kernel.attrs.get(&ino).map(|shown| shown.size);
        peer.names.asked(req, edit, there, of);
        let before = peer.seen_before;
        let known = |ino: Ino| {
            let before = before.filter(|shown| shown.ino == ino);
            kernel.attrs.get(&ino).copied().or(before)
        };
        let stands = |spot: &(Ino, Vec<u8>)| there(spot).flatten();
        let unnamed = match edit {
            Edit::Unlink { parent, name } => stands(&(*parent, name.clone())),
            Edit::Rename {
                parent,
                name,
                to_parent,
                to_name,
                how: RenameHow::Replace,
            } => {
                let gone = stands(&(*to_parent, to_name.clone()));
                let moved = stands(&(*parent, name.clone()));
                gone.filter(|_| gone != moved)
            }
            Edit::Create { .. }
            | Edit::Make { .. }
            | Edit::Link { .. }
            | Edit::RemoveDir { .. }
            | Edit::Rename { .. }
            | Edit::Write { .. }
            | Edit::SetAttr { .. }
            | Edit::SetXattr { .. }
            | Edit::RemoveXattr { .. }
            | Edit::Flush { .. }
            | Edit::Sync { .. }
            | Edit::SyncDir { .. } => None,
        };
        // The kernel counts a name that is being taken away until it is told that it is gone.
        let unnaming = peer.unnaming.values();
        let others = unnaming.filter(|ino| Some(**ino) == unnamed).count() as u64;
        let seeing = match edit {
            Edit::Write { fh, .. } => of(*fh)
                .filter(|ino| !peer.bodies.has(*ino))
                .and_then(known)
                .map(Seeing::Writes),
            Edit::SetAttr { ino, set, .. } if set.size.is_some() => Some(*ino)
                .filter(|ino| !peer.bodies.has(*ino))
                .and_then(known)
                .map(Seeing::Writes),
            Edit::SetAttr { ino, set, .. } => known(*ino)
                .zip(set.mtime)
                .map(|(shown, mtime)| Seeing::Touches(shown, mtime)),
            Edit::Unlink { .. } | Edit::Rename { .. } => unnamed
                .and_then(known)
                .filter(|shown| u64::from(shown.nlink) <= 1 + others)
                .map(Seeing::Removes),
            Edit::Create { .. }
            | Edit::Make { .. }
            | Edit::Link { .. }
            | Edit::RemoveDir { .. }
            | Edit::SetXattr { .. }
            | Edit::RemoveXattr { .. }
            | Edit::Flush { .. }
            | Edit::Sync { .. }
            | Edit::SyncDir { .. } => None,
        };
        let removed = if let Edit::Unlink { parent, name }
        | Edit::Rename {
            to_parent: parent,
            to_name: name,
            ..
        } = edit
        {
            Some((*parent, name.clone()))
        } else {
            None
        };
        let is_blind = |spot| match kernel.entries.get(&spot) {
            Some(Some(ino)) => !kernel.attrs.contains_key(ino),
            Some(None) => false,
            None => true,
        };
        peer.removed_blindly |= removed.is_some_and(is_blind);
        peer.seeing.extend(seeing.map(|seeing| (req, seeing)));
        peer.unnaming.extend(unnamed.map(|ino| (req, ino)));
        let history = &mut self.folder.history;
        let bodies = &mut peer.bodies;
        bodies.asked(now, req, edit, &bytes, history, size, of);
        peer.writing.insert(req, bytes);
        self.folder.past.asked(edit);
    }

    /// Judges what a mount shows at once after a crash, of what was edited through it (P2).
    pub(crate) fn judge_crash(&mut self, p: usize, boot: u64) -> Verdict {
        let peer = &mut self.peers[p];
        if peer.boot != boot || peer.engine.is_none() || peer.stopping {
            return Ok(());
        }
        self.let_users_in(p);
        let peer = &mut self.peers[p];
        if peer.dying.is_some() {
            // It ends again within moments, and is judged when it has started after that.
            return Ok(());
        }
        let Some(power) = peer.crashed.take() else {
            return Ok(());
        };
        reach!(self.reach, "judged: edits after a crash");
        self.judging = true;
        let verdict = self.judge_edits(p, power);
        self.judging = false;
        verdict
    }

    /// Judges what a mount shows of what was edited through it.
    fn judge_edits(&mut self, p: usize, power: bool) -> Verdict {
        let mut found = BTreeMap::new();
        let mut dirs = BTreeSet::from([Ino::ROOT]);
        let mut open = vec![Ino::ROOT];
        let mut files = BTreeMap::new();
        while let Some(dir) = open.pop() {
            for (name, shown) in self.list(p, dir)? {
                if shown.kind == Kind::Directory && dirs.insert(shown.ino) {
                    open.push(shown.ino);
                }
                found.insert((dir, name), shown.ino);
                files.insert(shown.ino, shown);
            }
        }
        let peer = &mut self.peers[p];
        let numbers = {
            let is_new = |ino| peer.handles.is_new(ino);
            peer.names.judge(&found, &dirs, power, is_new)?
        };
        if power {
            peer.bodies.renumber(&numbers);
        }
        let written = peer.bodies.written();
        for shown in files.values() {
            let history = &mut self.folder.history;
            peer.bodies.shown(shown.ino, shown.size, history)?;
            peer.bodies.found(shown.ino, shown.size, power);
        }
        peer.bodies.forget_all_but(|ino| files.contains_key(&ino));
        for (n, (ino, _)) in written.into_iter().enumerate() {
            if files.contains_key(&ino)
                && let Some(thread) = self.peers[p].threads.get_mut(n)
            {
                thread.inspect(ino);
            }
        }
        Ok(())
    }

    /// Lets the oracles know what an edit was answered.
    pub(crate) fn edit_answered(
        &mut self,
        p: usize,
        req: ReqId,
        edit: &Edit,
        result: &Result<FsReply, FsError>,
    ) {
        let (now, history) = (self.now, &mut self.folder.history);
        let peer = &mut self.peers[p];
        peer.names.answered(req, result);
        let torn = *result == Err(FsError::Io);
        let about = peer
            .bodies
            .answered(now, req, result.is_ok(), torn, history);
        self.kept.overwritten(peer.bodies.take_overwritten());
        // What is cut by its name, and open nowhere, is a version at once.
        let mut released = None;
        if let Edit::SetAttr { ino, set, .. } = edit
            && set.size.is_some()
            && !peer
                .kernel
                .open
                .values()
                .any(|open| open.ino == *ino && open.write)
        {
            released = peer.bodies.released(*ino, history);
        }
        match about {
            Answered::Nothing => {}
            Answered::Changed(ino) => self.kept.replaced(Author::Mount(p, ino)),
            Answered::Left((ino, cells, beneath)) => {
                let hard = matches!(edit, Edit::Sync { .. });
                let author = Author::Mount(p, ino);
                self.kept.published(now, author, cells, beneath, hard);
            }
        }
        if let Some((ino, cells, beneath)) = released {
            let author = Author::Mount(p, ino);
            self.kept.published(now, author, cells, beneath, false);
        }
        // What the disk refused may have happened.
        let may_be = matches!(result, Ok(_) | Err(FsError::NoSpace | FsError::Io));
        if let Some(unnamed) = peer.unnaming.remove(&req).filter(|_| !may_be) {
            // The name stays, and what was to be the last one after it is not.
            peer.seeing.retain(|_, seeing| match seeing {
                Seeing::Removes(shown) => shown.ino != unnamed || shown.nlink <= 1,
                Seeing::Writes(_) | Seeing::Touches(..) => true,
            });
        }
        let mut taken_over = None;
        if let Some(seen) = peer.seeing.remove(&req).filter(|_| may_be) {
            self.kept.was_seen(p, &seen, history);
            taken_over = seen.ends();
            if let Seeing::Removes(shown) = seen {
                self.kept.removed(peer.bodies.contents(&shown, history));
                peer.bodies.unnamed(shown.ino);
                peer.here
                    .unnamed(now, shown.ino, peer.kernel.has_open(shown.ino));
            }
        }
        let made = match (edit, result) {
            (Edit::Create { parent, name, .. }, Ok(FsReply::Created { shown, .. })) => {
                let spot = (*parent, name.clone());
                let was_there = matches!(peer.kernel.entries.get(&spot), Some(Some(_)));
                // One that came from elsewhere a moment before is opened, and that may be seen.
                let looks_new = (shown.size, shown.nlink) == (0, 1);
                (looks_new && !was_there).then_some(*shown)
            }
            (Edit::Make { .. }, Ok(FsReply::Entry(shown))) => Some(*shown),
            _ => None,
        };
        if let Some(shown) = made.filter(|shown| shown.kind == Kind::File) {
            let (ino, cells, beneath) = peer.bodies.made(now, shown.ino, history);
            let author = Author::Mount(p, ino);
            self.kept.published(now, author, cells, beneath, false);
        }
        if let Some(size) = taken_over {
            self.taken_over(p, size);
        }
        if result.is_ok() {
            reach!(self.reach, "edit: acknowledged");
            for peer in &mut self.peers {
                peer.caused.edit = true;
            }
        }
    }

    /// A mount goes on from what it shows with this size, or removes it: whoever made that and lies
    /// without power is owed it no more.
    pub(crate) fn taken_over(&mut self, p: usize, size: u64) {
        for (_, peer) in self.peers.iter_mut().enumerate().filter(|(q, _)| *q != p) {
            peer.bodies.taken_over(size);
        }
    }

    /// Notes what rests in files that are open: it may be shown anywhere.
    pub(crate) fn note_rest(&mut self) {
        for (p, peer) in self.peers.iter_mut().enumerate() {
            for (ino, cells, beneath) in peer.bodies.rest(self.now, &mut self.folder.history) {
                let author = Author::Mount(p, ino);
                self.kept.published(self.now, author, cells, beneath, false);
            }
        }
    }
}
