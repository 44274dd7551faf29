//! Names and attributes are changed through the mount of a sparse replica.
//!
//! Law: an edit is one or more registers, made at once and told to peers as one; it is answered
//! when the commit that holds them is stored (P2). What it changes the kernel knows by the answer
//! and is not told again.

use alloc::vec::Vec;

use crate::action::{Action, FsReply, Invalidation, Shown};
use crate::edit::{Make, Making, RenameHow, SetAttr, XattrHow};
use crate::engine::Engine;
use crate::error::FsError;
use crate::ids::{Dot, EntryId, Ino, NodeId, ReqId};
use crate::limits::{ENTRIES_PER_NODE_MAX, XATTR_BYTES_MAX};
use crate::on::fs::Open;
use crate::on::gone::without;
use crate::on::hush::Hush;
use crate::on::seen::day_of;
use crate::time::WallTime;
use crate::tree::conflict;
use crate::tree::name::{Name, NameError, TargetPath, XattrName};
use crate::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp};
use crate::version::VersionVector;

/// The bit of a directory's mode that gives its group, and itself, to what is made in it.
const SET_GROUP: u16 = 0o2000;

/// Returns what an application is told of a name that can't be one.
fn refused(why: NameError) -> FsError {
    match why {
        NameError::TooLong { .. } => FsError::NameTooLong,
        NameError::Reserved => FsError::NotPermitted,
        NameError::Namespace => FsError::NotSupported,
        NameError::Empty | NameError::Nul(_) | NameError::Slash(_) | NameError::Dots => {
            FsError::Invalid
        }
    }
}

impl Engine {
    /// Makes an update that an application waits for: it survives a kill before it is answered,
    /// and power loss before any peer hears of it.
    pub(crate) fn make_here(&mut self, register: Register) {
        let applied = self.absorb(register);
        debug_assert!(
            matches!(applied, crate::tree::store::Applied::Stored { .. }),
            "an update of ours is always news: {applied:?}"
        );
        self.tell.unsynced = true;
    }

    /// Returns a directory that is visible, of an inode number.
    fn dir_of(&self, ino: Ino) -> Result<NodeId, FsError> {
        let node = self.inodes.node(ino).ok_or(FsError::Stale)?;
        match self.tree.node(node).map(|view| view.kind) {
            Some(Kind::Directory) => Ok(node),
            Some(Kind::File | Kind::Symlink) => Err(FsError::NotDirectory),
            None => Err(FsError::Stale),
        }
    }

    /// Returns a directory and a name in it.
    fn spot(&self, parent: Ino, name: &[u8]) -> Result<(NodeId, Name), FsError> {
        let dir = self.dir_of(parent)?;
        Ok((dir, Name::parse(name).map_err(refused)?))
    }

    /// Returns the node of an inode number, if it has a name.
    fn named(&self, ino: Ino) -> Result<NodeId, FsError> {
        let node = self.inodes.node(ino).ok_or(FsError::Stale)?;
        let is_visible = self.tree.node(node).is_some();
        is_visible.then_some(node).ok_or(FsError::Stale)
    }

    /// What is changed under these names and of these nodes, the kernel knows from the answer.
    fn hush(&mut self, spots: &[(NodeId, &Name)], nodes: &[NodeId]) {
        let mut hush = Hush::default();
        for (dir, name) in spots {
            if let Some(parent) = self.inodes.get(*dir) {
                hush.names.insert((parent, (*name).clone()));
                hush.inodes.insert(parent);
            }
        }
        hush.attributes
            .extend(nodes.iter().filter_map(|node| self.inodes.get(*node)));
        self.hush = hush;
    }

    /// A file is made and opened, or opened if it is there.
    pub(crate) fn create_named(
        &mut self,
        req: ReqId,
        parent: Ino,
        name: &[u8],
        making: &Making,
        exclusive: bool,
    ) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        let there = self.tree.lookup(dir, name.as_bytes());
        if let Some(node) = there.filter(|_| !exclusive) {
            let last = self.shown(node).ok_or(FsError::NoEntry)?;
            match last.kind {
                Kind::Directory => return Err(FsError::IsDirectory),
                Kind::Symlink => return Err(FsError::Exists),
                Kind::File => {}
            }
            return self.created(req, node, last);
        }
        if there.is_some() {
            return Err(FsError::Exists);
        }
        let node = self.make_node(dir, &name, &Make::File, making)?;
        let shown = self.shown(node).ok_or(FsError::Io)?;
        self.created(req, node, shown)
    }

    fn created(&mut self, req: ReqId, node: NodeId, shown: Shown) -> Result<(), FsError> {
        let open = Open::File {
            last: shown,
            version: self.current(node),
            write: true,
        };
        let fh = self.handles.open(shown.ino, open);
        self.inodes.looked_up(shown.ino);
        let created = FsReply::Created {
            shown,
            fh,
            keep_cache: true,
        };
        self.reply_stored(req, created);
        Ok(())
    }

    /// Something is made.
    pub(crate) fn make_named(
        &mut self,
        req: ReqId,
        parent: Ino,
        name: &[u8],
        what: &Make,
        making: &Making,
    ) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        if self.tree.lookup(dir, name.as_bytes()).is_some() {
            return Err(FsError::Exists);
        }
        let node = self.make_node(dir, &name, what, making)?;
        let shown = self.shown(node).ok_or(FsError::Io)?;
        self.inodes.looked_up(shown.ino);
        self.reply_stored(req, FsReply::Entry(shown));
        Ok(())
    }

    /// Makes a node and its name.
    fn make_node(
        &mut self,
        dir: NodeId,
        name: &Name,
        what: &Make,
        making: &Making,
    ) -> Result<NodeId, FsError> {
        let body = match what {
            Make::File => Some(Body::File {
                size: 0,
                chunk_size: self.config.chunk_size,
            }),
            Make::Symlink(target) => Some(Body::Link {
                target: TargetPath::parse(target).map_err(refused)?,
            }),
            Make::Directory => None,
        };
        let (mut mode, mut gid) = (making.mode, making.gid);
        if let Some(above) = self.tree.node(dir).filter(|dir| dir.mode & SET_GROUP != 0) {
            gid = above.gid;
            if *what == Make::Directory {
                mode |= SET_GROUP;
            }
        }
        self.hush(&[(dir, name)], &[]);
        let attrs = self.stamp();
        let node = NodeId(attrs.dot);
        let kind = match &body {
            None => Kind::Directory,
            Some(Body::File { .. }) => Kind::File,
            Some(Body::Link { .. }) => Kind::Symlink,
        };
        self.make_here(Register::Attrs(Attrs {
            node,
            stamp: attrs,
            kind,
            mode,
            uid: making.uid,
            gid,
            mtime: body.is_none().then_some(making.wall),
            xattrs: [].into(),
        }));
        if let Some(body) = body {
            let stamp = self.stamp_beside(attrs);
            let (context, beside) = self.tree.registers().context_for(node, None);
            self.make_here(Register::Content(Content {
                node,
                stamp,
                context,
                beside,
                author: self.config.name.clone(),
                day: day_of(making.wall),
                mtime: making.wall,
                body,
                base: None,
                changed: None,
            }));
            if kind == Kind::File {
                self.begin_new_draft(node, stamp.dot, making.wall);
            }
        }
        let stamp = self.stamp_beside(attrs);
        self.name_node(node, dir, name, stamp);
        Ok(node)
    }

    /// Draws the stamp of a further update of one edit: of the same Lamport time, by which it is
    /// told in one piece.
    pub(crate) fn stamp_beside(&mut self, first: Stamp) -> Stamp {
        let lamport = first.lamport;
        Stamp {
            lamport,
            ..self.stamp()
        }
    }

    pub(crate) fn name_node(&mut self, node: NodeId, dir: NodeId, name: &Name, stamp: Stamp) {
        self.make_on_any_side(Register::Entry(Entry {
            id: EntryId(stamp.dot),
            stamp,
            node,
            parent: dir,
            name: name.clone(),
            previous: None,
            deleted: None,
        }));
    }

    /// A file or symlink gets a further name.
    pub(crate) fn link(
        &mut self,
        req: ReqId,
        ino: Ino,
        parent: Ino,
        name: &[u8],
    ) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        let node = self.named(ino)?;
        if self.is_directory(node) {
            return Err(FsError::NotPermitted);
        }
        if self.tree.lookup(dir, name.as_bytes()).is_some() {
            return Err(FsError::Exists);
        }
        if self.tree.registers().entries_of(node).count() >= ENTRIES_PER_NODE_MAX {
            return Err(FsError::TooManyLinks);
        }
        self.hush(&[(dir, &name)], &[node]);
        self.stand_alone(node);
        let stamp = self.stamp();
        self.keep_shown_here(node, &[], stamp);
        self.name_node(node, dir, &name, stamp);
        let shown = self.shown(node).ok_or(FsError::Io)?;
        self.inodes.looked_up(shown.ino);
        self.reply_stored(req, FsReply::Entry(shown));
        Ok(())
    }

    /// A name of a file or symlink goes.
    pub(crate) fn unlink(&mut self, req: ReqId, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        let node = self.tree.lookup(dir, name.as_bytes());
        let node = node.ok_or(FsError::NoEntry)?;
        if self.is_directory(node) {
            return Err(FsError::IsDirectory);
        }
        self.hush(&[(dir, &name)], &[node]);
        let stamp = self.stamp();
        self.unname(dir, &name, node, stamp);
        // A version that a draft hid, or an equal name of another file, may show there from here on.
        self.tell_other((dir, &name), None);
        self.reply_stored(req, FsReply::Done);
        Ok(())
    }

    /// An empty directory goes.
    pub(crate) fn remove_dir(
        &mut self,
        req: ReqId,
        parent: Ino,
        name: &[u8],
    ) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        let node = self.tree.lookup(dir, name.as_bytes());
        let node = node.ok_or(FsError::NoEntry)?;
        if !self.is_directory(node) {
            return Err(FsError::NotDirectory);
        }
        if self.tree.list(node).next().is_some() {
            return Err(FsError::NotEmpty);
        }
        self.hush(&[(dir, &name)], &[node]);
        let stamp = self.stamp();
        self.unname(dir, &name, node, stamp);
        self.reply_stored(req, FsReply::Done);
        Ok(())
    }

    /// Deletes a name, and the same name of whatever is one with its node there: else that would
    /// show next.
    pub(crate) fn unname(&mut self, dir: NodeId, name: &Name, node: NodeId, stamp: Stamp) {
        let mut entries: Vec<Entry> = Vec::new();
        let at = self.tree.entry_at(dir, name.as_bytes());
        match at.and_then(|id| self.tree.registers().entry(id).cloned()) {
            Some(entry) => {
                entries.extend(self.same_names(&entry));
                entries.insert(0, entry);
            }
            // A conflict copy without a name of its own ends by one that is deleted.
            None => entries.push(Entry {
                id: EntryId(stamp.dot),
                stamp,
                node,
                parent: dir,
                name: name.clone(),
                previous: None,
                deleted: None,
            }),
        }
        entries.extend(self.ending_twins(node, dir, name));
        let ends: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
        self.keep_shown_here(node, &ends, stamp);
        // Every delete of the edit knows what was known before it.
        let mut knowledge = self.me.knowledge.clone();
        for entry in &entries {
            self.know_all_of(entry.node, &mut knowledge);
        }
        let mut next = Some(stamp);
        for entry in entries {
            let stamp = next.take().unwrap_or_else(|| self.stamp_beside(stamp));
            let seen = without(knowledge.clone(), &self.hidden_by_draft(entry.node));
            self.make_on_any_side(Register::Entry(Entry {
                stamp,
                deleted: Some(seen),
                ..entry
            }));
        }
        if self.tree.node(node).is_none() && self.is_closed(node) {
            self.draft_release(node);
        }
    }

    /// Makes anew, in one piece with what follows, the names of a file that show though they were
    /// deleted. Attributes that no delete knew bring back all that these have ended, else.
    pub(crate) fn keep_shown_here(&mut self, node: NodeId, but: &[EntryId], stamp: Stamp) {
        let shown = self.shown_though_deleted(node, but);
        if !shown.is_empty() {
            self.end_what_was_deleted(node, Some(stamp));
        }
        for other in shown {
            let stamp = self.stamp_beside(stamp);
            self.make_on_any_side(Register::Entry(Entry {
                stamp,
                deleted: None,
                ..other
            }));
        }
    }

    /// See [`Self::keep_shown_here`].
    pub(crate) fn keep_shown(&mut self, node: NodeId, but: &[EntryId]) {
        let shown = self.shown_though_deleted(node, but);
        if !shown.is_empty() {
            self.end_what_was_deleted(node, None);
        }
        for other in shown {
            let stamp = self.stamp();
            self.make(Register::Entry(Entry {
                stamp,
                deleted: None,
                ..other
            }));
        }
    }

    /// Returns the names of a file that show though they were deleted once, since an edit beat
    /// that. They have to be made anew before another name goes, since a delete that knows theirs
    /// is taken for that of the last name; and before another one comes, since they show only
    /// where there is none that was not deleted.
    fn shown_though_deleted(&self, node: NodeId, but: &[EntryId]) -> Vec<Entry> {
        if self.is_directory(node) {
            return Vec::new();
        }
        let entry_of = |(dir, name): (NodeId, &Name)| {
            let id = self.tree.entry_at(dir, name.as_bytes())?;
            let is_it = |entry: &&Entry| entry.deleted.is_some() && !but.contains(&id);
            self.tree.registers().entry(id).filter(is_it).cloned()
        };
        self.tree.places(node).filter_map(entry_of).collect()
    }

    /// Returns the versions that whoever looks at a file does not see, since what is being
    /// written to it shows in their place. What lost to the version that is written to is a conflict
    /// copy, and no part of what shows here: a delete that did not know it would be none of the file.
    fn hidden_by_draft(&self, node: NodeId) -> Vec<Dot> {
        let Some(draft) = self.drafts.get(&node) else {
            return Vec::new();
        };
        let shows = self.tree.node(node).and_then(|view| view.version);
        if !draft.overlay.is_changed() || draft.is_nobodys() || shows == Some(draft.version) {
            return Vec::new();
        }
        let registers = self.tree.registers();
        let ours = registers.content(draft.last()).map(|ours| ours.stamp);
        let versions = registers.versions_of(node).map(|content| content.stamp);
        versions
            .filter(|stamp| ours.map_or(stamp.dot != draft.version, |ours| *stamp > ours))
            .map(|stamp| stamp.dot)
            .collect()
    }

    /// Covers what is here of a node. While a peer is still telling what it has, its updates are
    /// shown before all of them count as known.
    pub(crate) fn know_all_of(&self, node: NodeId, knowledge: &mut VersionVector) {
        let registers = self.tree.registers();
        let versions = registers.versions_of(node);
        let versions = versions.map(|content| content.stamp.dot);
        let attrs = registers.attrs(node).map(|attrs| attrs.stamp.dot);
        for dot in versions.chain(attrs).chain(conflict::copied(node)) {
            knowledge.cover(dot);
        }
    }

    fn is_closed(&self, node: NodeId) -> bool {
        self.inodes
            .get(node)
            .is_none_or(|ino| self.handles.opens_of(ino) == 0)
    }

    /// A name moves.
    pub(crate) fn rename_here(
        &mut self,
        req: ReqId,
        (parent, name): (Ino, &[u8]),
        (to_parent, to_name): (Ino, &[u8]),
        how: RenameHow,
    ) -> Result<(), FsError> {
        let (dir, name) = self.spot(parent, name)?;
        let (to_dir, to_name) = self.spot(to_parent, to_name)?;
        let found = self.tree.lookup(dir, name.as_bytes());
        let node = found.ok_or(FsError::NoEntry)?;
        let there = self.tree.lookup(to_dir, to_name.as_bytes());
        match (how, there) {
            (RenameHow::NoReplace, Some(_)) => return Err(FsError::Exists),
            (RenameHow::Exchange, None) => return Err(FsError::NoEntry),
            (_, Some(same)) if same == node => {
                self.reply(req, Ok(FsReply::Done));
                return Ok(());
            }
            (RenameHow::Replace, Some(other)) => self.may_replace(node, other)?,
            (RenameHow::Exchange, Some(other)) => {
                self.may_hold(other, dir)?;
            }
            (RenameHow::Replace | RenameHow::NoReplace, None) => {}
        }
        self.may_hold(node, to_dir)?;
        let mut nodes = Vec::from([node]);
        nodes.extend(there);
        self.hush(&[(dir, &name), (to_dir, &to_name)], &nodes);
        let stamp = self.stamp();
        let from = self.entry_or_new(dir, &name, node, stamp);
        let twins = self.twins(node, dir, &name);
        match (how, there) {
            (RenameHow::Exchange, Some(other)) => {
                let back = self.stamp_beside(stamp);
                let others = self.twins(other, to_dir, &to_name);
                let other = self.entry_or_new(to_dir, &to_name, other, back);
                self.move_entry(from, to_dir, &to_name, stamp);
                self.move_entry(other, dir, &name, back);
                self.move_twins(others, dir, &name, stamp);
            }
            (RenameHow::Replace, Some(other)) => {
                let gone = self.stamp_beside(stamp);
                self.unname(to_dir, &to_name, other, gone);
                self.move_entry(from, to_dir, &to_name, stamp);
            }
            (RenameHow::Replace | RenameHow::NoReplace | RenameHow::Exchange, _) => {
                self.move_entry(from, to_dir, &to_name, stamp);
            }
        }
        self.move_twins(twins, to_dir, &to_name, stamp);
        let left = there.filter(|_| how == RenameHow::Exchange);
        self.tell_other((to_dir, &to_name), Some(node));
        self.tell_other((dir, &name), left);
        self.reply_stored(req, FsReply::Done);
        Ok(())
    }

    /// A kernel takes it that this stands under a name after a rename. Where several files have
    /// the name another of them may be the one that is shown there: it is told after all.
    fn tell_other(&mut self, (dir, name): (NodeId, &Name), node: Option<NodeId>) {
        if self.tree.lookup(dir, name.as_bytes()) == node {
            return;
        }
        if let Some(parent) = self.inodes.known(dir) {
            let name = name.clone();
            self.act(Action::Invalidate(Invalidation::Entry { parent, name }));
        }
    }

    /// Tells whether a rename may put `node` in the place of `other`.
    fn may_replace(&self, node: NodeId, other: NodeId) -> Result<(), FsError> {
        match (self.is_directory(node), self.is_directory(other)) {
            (true, false) => Err(FsError::NotDirectory),
            (false, true) => Err(FsError::IsDirectory),
            (true, true) if self.tree.list(other).next().is_some() => Err(FsError::NotEmpty),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Tells whether a node may stand in a directory: not in or below itself.
    fn may_hold(&self, node: NodeId, dir: NodeId) -> Result<(), FsError> {
        let mut at = dir;
        loop {
            if at == node {
                return Err(FsError::Invalid);
            }
            match self.tree.places(at).next() {
                Some((above, _)) => at = above,
                None => return Ok(()),
            }
        }
    }

    /// Returns the entry behind a name, or one that is yet to be made (of a conflict copy).
    pub(crate) fn entry_or_new(
        &self,
        dir: NodeId,
        name: &Name,
        node: NodeId,
        stamp: Stamp,
    ) -> Entry {
        let id = self.tree.entry_at(dir, name.as_bytes());
        let held = id.and_then(|id| self.tree.registers().entry(id).cloned());
        held.unwrap_or_else(|| Entry {
            id: EntryId(stamp.dot),
            stamp,
            node,
            parent: dir,
            name: name.clone(),
            previous: None,
            deleted: None,
        })
    }

    pub(crate) fn move_entry(&mut self, old: Entry, dir: NodeId, name: &Name, stamp: Stamp) {
        if old.deleted.is_some() {
            self.end_what_was_deleted(old.node, Some(stamp));
        }
        self.keep_shown_here(old.node, &[old.id], stamp);
        for other in self.same_names(&old) {
            let deleted = Some(self.me.knowledge.clone());
            let stamp = self.stamp_beside(stamp);
            self.make_on_any_side(Register::Entry(Entry {
                stamp,
                deleted,
                ..other
            }));
        }
        self.make_on_any_side(Register::Entry(Entry {
            stamp,
            previous: Some((old.parent, old.name)),
            parent: dir,
            name: name.clone(),
            deleted: None,
            ..old
        }));
    }

    /// Attributes are set.
    pub(crate) fn set_attr(
        &mut self,
        req: ReqId,
        ino: Ino,
        set: SetAttr,
        wall: WallTime,
    ) -> Result<(), FsError> {
        let node = self.inodes.node(ino).ok_or(FsError::Stale)?;
        if set.size.is_some() && self.is_directory(node) {
            return Err(FsError::IsDirectory);
        }
        let is_visible = self.tree.node(node).is_some();
        if is_visible {
            self.hush(&[], &[node]);
            self.set_named(node, set);
        } else {
            self.set_nameless(ino, set)?;
        }
        if let Some(size) = set.size {
            self.on_resize(req, node, size, wall);
            return Ok(());
        }
        let shown = self.shown_open(ino).ok_or(FsError::Stale)?;
        self.reply_stored(req, FsReply::Attr(shown));
        Ok(())
    }

    fn set_named(&mut self, node: NodeId, set: SetAttr) {
        let Some(known) = self.attrs_shown(node) else {
            return;
        };
        let mtime = set.mtime.filter(|&mtime| !self.draft_touch(node, mtime));
        let wanted = Attrs {
            mode: set.mode.map_or(known.mode, |mode| mode & 0o7777),
            uid: set.uid.unwrap_or(known.uid),
            gid: set.gid.unwrap_or(known.gid),
            mtime: mtime.or(known.mtime),
            ..known.clone()
        };
        if wanted != known || mtime.is_some() {
            self.stand_alone(node);
            let stamp = self.stamp();
            self.keep_shown_here(node, &[], stamp);
            self.make_here(Register::Attrs(Attrs { stamp, ..wanted }));
        }
    }

    /// Returns a node's attributes to be changed: with a time set by hand only while it shows,
    /// since a newer register would have an older one show again.
    pub(crate) fn attrs_shown(&self, node: NodeId) -> Option<Attrs> {
        let view = self.tree.node(node)?;
        let held = self.tree.registers().attrs(node);
        // A conflict copy without own ones shows those of what it was made of, and the time in them.
        let by_hand = self.tree.attrs_shown(node).and_then(|attrs| {
            let version = view.version.zip(view.object).map(|(_, object)| object);
            let content = version.and_then(|object| self.tree.registers().content(object));
            let shows = content.is_none_or(|content| attrs.stamp > content.stamp);
            attrs.mtime.filter(|_| shows)
        });
        Some(Attrs {
            node,
            stamp: held.map_or(Stamp::ZERO, |attrs| attrs.stamp),
            kind: view.kind,
            mode: view.mode,
            uid: view.uid,
            gid: view.gid,
            mtime: by_hand,
            xattrs: view.xattrs.clone(),
        })
    }

    /// A file without a name has its attributes in its handles: a register would revive it.
    fn set_nameless(&mut self, ino: Ino, set: SetAttr) -> Result<(), FsError> {
        let open: Vec<_> = self.handles.on(ino).map(|(fh, _)| fh).collect();
        if open.is_empty() {
            return Err(FsError::Stale);
        }
        for fh in open {
            if let Some(Open::File { last, .. }) = self.handles.get_mut(fh) {
                last.mode = set.mode.map_or(last.mode, |mode| mode & 0o7777);
                last.uid = set.uid.unwrap_or(last.uid);
                last.gid = set.gid.unwrap_or(last.gid);
                last.mtime = set.mtime.unwrap_or(last.mtime);
            }
        }
        Ok(())
    }

    /// An extended attribute is set.
    pub(crate) fn set_xattr(
        &mut self,
        req: ReqId,
        ino: Ino,
        (name, value): (&[u8], &[u8]),
        how: XattrHow,
    ) -> Result<(), FsError> {
        let node = self.named(ino)?;
        let name = XattrName::parse(name).map_err(refused)?;
        let mut attrs = self.attrs_shown(node).ok_or(FsError::Stale)?;
        // The shared folder could not hold it: Linux has none of a user's on a symlink.
        if attrs.kind == Kind::Symlink {
            return Err(FsError::NotPermitted);
        }
        match (how, attrs.xattrs.contains_key(&name)) {
            (XattrHow::Create, true) => return Err(FsError::Exists),
            (XattrHow::Replace, false) => return Err(FsError::NoAttribute),
            (XattrHow::Set | XattrHow::Create | XattrHow::Replace, _) => {}
        }
        attrs.xattrs.insert(name, value.into());
        let bytes = attrs
            .xattrs
            .iter()
            .map(|(name, value)| name.as_bytes().len() + value.len());
        if bytes.sum::<usize>() > XATTR_BYTES_MAX {
            return Err(FsError::NoSpace);
        }
        self.put_attrs(req, attrs);
        Ok(())
    }

    /// An extended attribute is removed.
    pub(crate) fn remove_xattr(
        &mut self,
        req: ReqId,
        ino: Ino,
        name: &[u8],
    ) -> Result<(), FsError> {
        let node = self.named(ino)?;
        let name = XattrName::parse(name).map_err(refused)?;
        let mut attrs = self.attrs_shown(node).ok_or(FsError::Stale)?;
        attrs.xattrs.remove(&name).ok_or(FsError::NoAttribute)?;
        self.put_attrs(req, attrs);
        Ok(())
    }

    fn put_attrs(&mut self, req: ReqId, attrs: Attrs) {
        self.hush(&[], &[attrs.node]);
        let node = attrs.node;
        let names = |engine: &Self| engine.tree.node(node).map(|view| view.nlink);
        let before = names(self);
        self.stand_alone(node);
        let stamp = self.stamp();
        self.keep_shown_here(node, &[], stamp);
        self.make_here(Register::Attrs(Attrs { stamp, ..attrs }));
        if names(self) != before {
            // A peer had removed a name of it, which it has again: the answer does not say so.
            self.hush.attributes.clear();
            self.forget_inode(node, false);
        }
        self.reply_stored(req, FsReply::Done);
    }

    /// What was changed in a directory is to survive power loss.
    pub(crate) fn sync_dir(&mut self, req: ReqId, ino: Ino) -> Result<(), FsError> {
        self.inodes.node(ino).ok_or(FsError::Stale)?;
        self.reply_synced(req, None);
        Ok(())
    }
}
