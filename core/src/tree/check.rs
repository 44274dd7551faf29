//! The tree from scratch: the rules, written as slowly as they are said.
//!
//! Law: it shares nothing with the tree that is kept incrementally but the registers and the
//! names of conflict copies, so that a mistake in one of them shows as a difference. The
//! simulator compares the two.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{Arrival, Dot, EntryId, NodeId, ObjectId};
use crate::time::WallTime;
use crate::tree::conflict::{copied, copy_name, copy_of};
use crate::tree::name::{Name, TargetPath};
use crate::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp, Xattrs};
use crate::tree::store::Registers;
use crate::tree::view::Tree;
use crate::version::VersionVector;

/// All that is visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Who is shown where, and the entry behind it.
    pub names: BTreeMap<(NodeId, Name), (NodeId, Option<EntryId>)>,
    /// The nodes that are visible, the root among them.
    pub nodes: BTreeMap<NodeId, Look>,
}

/// What a visible node looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// Its permission bits.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its extended attributes.
    pub xattrs: Xattrs,
    /// Its modification time.
    pub mtime: Option<WallTime>,
    /// Its size in bytes.
    pub size: u64,
    /// Its names, or 2 and its subdirectories.
    pub nlink: u32,
    /// The version that it shows.
    pub object: Option<ObjectId>,
}

impl View {
    /// Reads the view off a tree, by walking it from the root.
    pub fn of(tree: &Tree) -> Self {
        let mut view = Self::default();
        let mut ahead = Vec::from([NodeId::ROOT]);
        while let Some(id) = ahead.pop() {
            let Some(node) = tree.node(id) else { continue };
            let look = Look {
                kind: node.kind,
                mode: node.mode,
                uid: node.uid,
                gid: node.gid,
                xattrs: node.xattrs.clone(),
                mtime: node.mtime,
                size: node.size,
                nlink: node.nlink,
                object: node.object,
            };
            view.nodes.insert(id, look);
            if node.kind == Kind::Directory {
                for (name, child) in tree.list(id) {
                    let entry = tree.entry_at(id, name.as_bytes());
                    view.names.insert((id, name.clone()), (child, entry));
                    ahead.push(child);
                }
            }
        }
        view
    }

    /// Computes the view of these registers.
    pub fn from_scratch(registers: &Registers) -> Self {
        Scratch::of(registers).view()
    }
}

/// The registers again, and what follows from them step by step.
#[derive(Default)]
struct Scratch {
    entries: BTreeMap<EntryId, Entry>,
    attrs: BTreeMap<NodeId, Attrs>,
    contents: BTreeMap<NodeId, Vec<Content>>,
    digests: BTreeMap<ObjectId, u128>,
}

/// A file or symlink: the version under its names, and the names.
#[derive(Clone)]
struct File {
    id: NodeId,
    shown: Content,
    names: Vec<Entry>,
}

/// Who asks to be shown in a directory under a name, or under one derived from it.
#[derive(Clone)]
struct Asks {
    node: NodeId,
    parent: NodeId,
    name: Name,
    entry: Option<EntryId>,
    shown: Option<Content>,
}

#[derive(PartialEq)]
enum Held {
    Target(TargetPath),
    Bytes(u64, u128),
    Nothing,
}

impl Scratch {
    fn of(registers: &Registers) -> Self {
        let mut scratch = Self::default();
        for (_, register) in registers.after(Arrival(0)) {
            match register {
                Register::Entry(entry) => {
                    scratch.entries.insert(entry.id, entry);
                }
                Register::Attrs(attrs) => {
                    scratch.attrs.insert(attrs.node, attrs);
                }
                Register::Content(content) => {
                    scratch
                        .contents
                        .entry(content.node)
                        .or_default()
                        .push(content);
                }
                Register::Digest(digest) => {
                    scratch.digests.insert(digest.object, digest.hash);
                }
            }
        }
        scratch
    }

    fn view(&self) -> View {
        let mut files = Vec::new();
        let mut copies = Vec::new();
        let nodes: BTreeSet<_> = self.attrs.keys().chain(self.contents.keys()).collect();
        let nodes = nodes
            .into_iter()
            .copied()
            .chain(self.entries.values().map(|e| e.node));
        for id in nodes.collect::<BTreeSet<_>>() {
            if !self.is_directory(id) {
                self.file(id, &mut files, &mut copies);
            }
        }

        let moved = self.put_back();
        let mut asks = Vec::new();
        for file in &files {
            for entry in &file.names {
                asks.push(self.asks(file.id, entry, 0, Some(&file.shown), true));
            }
        }
        for (shown, beside) in &copies {
            asks.push(self.asks(copy_of(shown.stamp.dot), beside, 0, Some(shown), false));
        }
        // Deleted directories come in while something asks for them.
        let mut hidden: Vec<_> = self.anchored().filter(|&id| id != NodeId::ROOT).collect();
        loop {
            let before = hidden.len();
            hidden.retain(|&id| {
                let entry = self.name_of_directory(id);
                let counts = match &entry.deleted {
                    None => true,
                    Some(known) => {
                        !known.covers(self.attrs[&id].stamp.dot)
                            || asks.iter().any(|asks| asks.parent == id)
                    }
                };
                if counts {
                    let level = moved.get(&id).copied().unwrap_or(0);
                    asks.push(self.asks(id, entry, level, None, true));
                }
                !counts
            });
            if hidden.len() == before {
                break;
            }
        }
        self.show(asks)
    }

    // Files.

    /// Finds what is shown of a file: it and its names, and versions beside one of them.
    fn file(&self, id: NodeId, files: &mut Vec<File>, copies: &mut Vec<(Content, Entry)>) {
        let names: Vec<_> = self.entries.values().filter(|e| e.node == id).collect();
        if names.is_empty() || self.attrs_of(id).is_none() {
            return;
        }
        let mut versions = self.versions(id);
        versions.sort_by_key(|content| core::cmp::Reverse(content.stamp));
        let live: Vec<_> = names.iter().filter(|e| e.deleted.is_none()).collect();
        let newest = names.iter().max_by_key(|e| (e.stamp, e.id)).expect("some");

        let kept: Vec<Entry> = if live.is_empty() {
            let attrs = self.attrs.get(&id).map(|attrs| attrs.stamp.dot);
            let unseen = |entry: &Entry, dot: Dot| !knew(entry, newest, dot);
            let touched = |entry: &Entry| attrs.is_some_and(|dot| unseen(entry, dot));
            let kept = names.iter().filter(|entry| {
                touched(entry) || versions.iter().any(|v| unseen(entry, v.stamp.dot))
            });
            let mut kept: Vec<Entry> = kept.map(|&entry| entry.clone()).collect();
            let knew_of = |entry: &Entry| {
                let known = newest.deleted.as_ref();
                known.is_some_and(|known| known.covers(entry.stamp.dot))
            };
            let place = (newest.parent, &newest.name);
            let mut others = names.iter().filter(|e| (e.parent, &e.name) != place);
            if others.any(|entry| !knew_of(entry)) {
                if kept.is_empty() {
                    kept.push((*newest).clone());
                }
            } else if !names.iter().any(|entry| touched(entry)) {
                let deleted_by = |entry: &Entry, content: &Content| {
                    let made_on = versions.iter().find(|v| !unseen(entry, v.stamp.dot));
                    let unseen_versions = versions.iter().filter(|v| unseen(entry, v.stamp.dot));
                    let made_on = made_on.filter(|base| {
                        !unseen_versions
                            .clone()
                            .any(|v| superseded_another(v, base, |dot| !unseen(entry, dot)))
                    });
                    !unseen(entry, content.stamp.dot)
                        && made_on.is_some_and(|v| self.equal(v, content))
                };
                let left = versions
                    .iter()
                    .filter(|content| !names.iter().all(|entry| deleted_by(entry, content)));
                versions = left.cloned().collect();
            }
            kept
        } else {
            live.into_iter().map(|&entry| entry.clone()).collect()
        };

        let beside = kept.first().unwrap_or(newest).clone();
        let mut seen = Vec::new();
        if !kept.is_empty() && !versions.is_empty() {
            let shown = versions.remove(0);
            seen.push(shown.clone());
            files.push(File {
                id,
                shown,
                names: kept,
            });
        }
        versions.sort_by_key(|content| content.stamp.dot);
        for content in versions {
            if seen.iter().any(|other| self.equal(other, &content)) {
                continue;
            }
            seen.push(content.clone());
            let copy = copy_of(content.stamp.dot);
            let origin = self.origin(content.stamp.dot);
            if !self.has_names(copy) && origin == Some(content.node) && content.node == id {
                copies.push((content, beside.clone()));
            }
        }
    }

    /// Returns the versions that have not left the file.
    fn versions(&self, id: NodeId) -> Vec<Content> {
        let own = self.contents.get(&id).cloned().unwrap_or_default();
        let mut versions = own.clone();
        if own.len() > 1 {
            versions.retain(|content| !self.has_names(copy_of(content.stamp.dot)));
        }
        if let Some(dot) = copied(id) {
            let borrowed = self.origin(dot).filter(|&origin| origin != id);
            let borrowed = borrowed.and_then(|origin| {
                let mut contents = self.contents[&origin].iter();
                contents.find(|content| content.stamp.dot == dot)
            });
            if !own.iter().any(|content| content.supersedes(dot)) {
                versions.extend(borrowed.cloned());
            }
        }
        versions
    }

    /// Returns the file that has this version among several.
    fn origin(&self, version: Dot) -> Option<NodeId> {
        let several = self.contents.iter().filter(|(_, all)| all.len() > 1);
        let mut with = several.filter(|(_, all)| all.iter().any(|c| c.stamp.dot == version));
        with.next().map(|(&id, _)| id)
    }

    fn has_names(&self, id: NodeId) -> bool {
        self.entries.values().any(|entry| entry.node == id)
    }

    fn attrs_of(&self, id: NodeId) -> Option<&Attrs> {
        let mut at = id;
        for _ in 0..16 {
            let Some(version) = copied(at) else {
                return self.attrs.get(&at);
            };
            if let (true, Some(attrs)) = (self.has_names(at), self.attrs.get(&at)) {
                return Some(attrs);
            }
            at = self.origin(version)?;
        }
        None
    }

    fn held(&self, content: &Content) -> Option<Held> {
        match &content.body {
            Body::Link { target } => Some(Held::Target(target.clone())),
            Body::File { size: 0, .. } => Some(Held::Nothing),
            Body::File { size, .. } => {
                let digest = self.digests.get(&content.object())?;
                Some(Held::Bytes(*size, *digest))
            }
        }
    }

    fn equal(&self, a: &Content, b: &Content) -> bool {
        a == b || self.held(a).is_some_and(|held| self.held(b) == Some(held))
    }

    // Directories.

    fn is_directory(&self, id: NodeId) -> bool {
        let attrs = self.attrs.get(&id);
        id == NodeId::ROOT || attrs.is_some_and(|attrs| attrs.kind == Kind::Directory)
    }

    fn is_anchored(&self, id: NodeId) -> bool {
        id == NodeId::ROOT || (self.is_directory(id) && self.has_names(id))
    }

    fn anchored(&self) -> impl Iterator<Item = NodeId> {
        self.attrs
            .keys()
            .copied()
            .filter(|&id| self.is_anchored(id))
    }

    fn name_of_directory(&self, id: NodeId) -> &Entry {
        let mut names: Vec<_> = self.entries.values().filter(|e| e.node == id).collect();
        names.sort_by_key(|entry| (entry.deleted.is_none(), entry.stamp, entry.id));
        names.last().expect("it is anchored")
    }

    /// Returns where an entry stands when it is put back so far, and whether nothing is there.
    fn stands(&self, entry: &Entry, level: u8) -> (NodeId, Name) {
        let (parent, name) = match (level, &entry.previous) {
            (0, _) => (entry.parent, &entry.name),
            (1, Some((parent, name))) => (*parent, name),
            (_, _) => (NodeId::ROOT, &entry.name),
        };
        let parent = if self.is_anchored(parent) {
            parent
        } else {
            NodeId::ROOT
        };
        (parent, name.clone())
    }

    /// Returns how far directories are put back because of cycles.
    fn put_back(&self) -> BTreeMap<NodeId, u8> {
        let mut levels = BTreeMap::new();
        loop {
            let up = |id: NodeId| {
                let level = levels.get(&id).copied().unwrap_or(0);
                self.stands(self.name_of_directory(id), level).0
            };
            let mut newest: BTreeSet<(Stamp, NodeId)> = BTreeSet::new();
            for id in self.anchored().filter(|&id| id != NodeId::ROOT) {
                let mut above = Vec::new();
                let mut at = id;
                while at != NodeId::ROOT && !above.contains(&at) {
                    above.push(at);
                    at = up(at);
                }
                // It is in a cycle itself if the way up leads back to it.
                if at == id {
                    let stamped = above
                        .iter()
                        .map(|&id| (self.name_of_directory(id).stamp, id));
                    newest.extend(stamped.max());
                }
            }
            if newest.is_empty() {
                return levels;
            }
            for (_, id) in newest {
                *levels.entry(id).or_insert(0) += 1;
            }
        }
    }

    // What is shown.

    fn asks(
        &self,
        node: NodeId,
        entry: &Entry,
        level: u8,
        shown: Option<&Content>,
        own: bool,
    ) -> Asks {
        let (parent, name) = self.stands(entry, level);
        Asks {
            node,
            parent,
            name,
            entry: own.then_some(entry.id),
            shown: shown.cloned(),
        }
    }

    /// Shows everybody, from the root downwards.
    fn show(&self, asks: Vec<Asks>) -> View {
        let mut view = View::default();
        let mut shown: BTreeMap<NodeId, Vec<Content>> = BTreeMap::new();
        // Directories, each with all that are one with it.
        let mut ahead = Vec::from([Vec::from([NodeId::ROOT])]);
        shown.insert(NodeId::ROOT, Vec::new());
        while let Some(group) = ahead.pop() {
            let dir = *group.iter().min().expect("a group has a directory");
            let mut names: BTreeMap<Name, Vec<&Asks>> = BTreeMap::new();
            let mut losers = Vec::new();
            for asks in asks.iter().filter(|asks| group.contains(&asks.parent)) {
                match asks.entry {
                    Some(_) => names.entry(asks.name.clone()).or_default().push(asks),
                    None => losers.push(asks),
                }
            }
            for (name, mut all) in names {
                all.sort_by_key(|asks| (asks.shown.is_some(), asks.node, asks.entry));
                let directories = all.iter().filter(|asks| asks.shown.is_none());
                let directories: Vec<_> = directories.map(|asks| asks.node).collect();
                if !directories.is_empty() {
                    ahead.push(directories);
                }
                let mut stood: Vec<&Asks> = Vec::new();
                for asks in &all {
                    let one = stood.iter().any(|other| {
                        other.node == asks.node
                            || match (&other.shown, &asks.shown) {
                                (Some(a), Some(b)) => self.equal(a, b),
                                (None, None) => true,
                                (None, Some(_)) | (Some(_), None) => false,
                            }
                    });
                    if !one {
                        stood.push(asks);
                    }
                }
                let keeper = stood.remove(0);
                let place = (dir, name);
                view.names.insert(place, (keeper.node, keeper.entry));
                shown
                    .entry(keeper.node)
                    .or_default()
                    .extend(keeper.shown.clone());
                losers.extend(stood);
            }
            losers.sort_by_key(|asks| (asks.node, &asks.name));
            for asks in losers {
                let content = asks.shown.as_ref().expect("a directory never loses");
                let dot = copied(asks.node).unwrap_or(asks.node.0);
                let name = (0..)
                    .map(|n| copy_name(&asks.name, &content.author, content.day, dot, n))
                    .find(|name| !view.names.contains_key(&(dir, name.clone())));
                let place = (dir, name.expect("names end later than numbers"));
                view.names.insert(place, (asks.node, asks.entry));
                shown.entry(asks.node).or_default().push(content.clone());
            }
        }
        for (&id, contents) in &shown {
            let look = self.look(&view, id, contents.first());
            view.nodes.insert(id, look);
        }
        view
    }

    fn look(&self, view: &View, id: NodeId, content: Option<&Content>) -> Look {
        let attrs = self.attrs_of(id);
        let subdirs =
            |(dir, _): &&(NodeId, Name), node: NodeId| *dir == id && self.is_directory(node);
        let links = match content {
            Some(_) => view.names.values().filter(|(node, _)| *node == id).count(),
            None => {
                let names = view.names.iter();
                2 + names.filter(|(at, (node, _))| subdirs(at, *node)).count()
            }
        };
        let by_hand = attrs.filter(|attrs| content.is_none_or(|c| attrs.stamp > c.stamp));
        let by_hand = by_hand.and_then(|attrs| attrs.mtime);
        Look {
            kind: match content.map(|content| &content.body) {
                None => Kind::Directory,
                Some(Body::File { .. }) => Kind::File,
                Some(Body::Link { .. }) => Kind::Symlink,
            },
            // The root is there before it has attributes.
            mode: attrs.map_or(0o755, |attrs| attrs.mode),
            uid: attrs.map_or(0, |attrs| attrs.uid),
            gid: attrs.map_or(0, |attrs| attrs.gid),
            xattrs: attrs.map_or_else(Xattrs::new, |attrs| attrs.xattrs.clone()),
            mtime: by_hand.or(content.map(|content| content.mtime)),
            size: match content.map(|content| &content.body) {
                None => 0,
                Some(Body::File { size, .. }) => *size,
                Some(Body::Link { target }) => target.as_bytes().len() as u64,
            },
            nlink: u32::try_from(links).expect("nodes are numbered by 32 bits"),
            object: content.map(Content::object),
        }
    }
}

/// Tells whether `later` may have superseded a version that was known, and that `base` had not
/// superseded: a sibling of `base`.
fn superseded_another(later: &Content, base: &Content, known: impl Fn(Dot) -> bool) -> bool {
    let siblings = base.beside.iter().any(|&dot| later.supersedes(dot));
    let mut seen = base.context.clone();
    seen.cover(base.stamp.dot);
    siblings
        || later.context.iter().any(|(actor, last)| {
            let counter = seen.counter(actor) + 1;
            counter <= last && known(Dot { actor, counter })
        })
}

/// Tells whether the delete of a name knew of an update: itself, or because the newest delete of
/// the node's names did, which was made knowing this one.
fn knew(entry: &Entry, newest: &Entry, dot: Dot) -> bool {
    let covers = |deleted: &Option<VersionVector>, dot: Dot| {
        deleted.as_ref().is_some_and(|known| known.covers(dot))
    };
    let passed_on = covers(&newest.deleted, entry.stamp.dot);
    covers(&entry.deleted, dot) || (passed_on && covers(&newest.deleted, dot))
}
