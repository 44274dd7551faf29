//! The trace: one line for each thing that happens, in words, with the names that the first
//! mention gave.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tandem_core::action::{Action, DiskWish, FsReply, Invalidation, Stored, WantState};
use tandem_core::event::{Event, Fetched, Hint};
use tandem_core::ids::{ActorId, Dot, NodeId, ObjectId, PeerId};
use tandem_core::message::{Answer, Batch, Cursor, Hello, Message, Role};
use tandem_core::time::Time;
use tandem_core::tree::register::{Body, Register};
use tandem_core::version::VersionVector;

use super::cast::Side;
use super::words::{self, kind, name, path, shown};

/// What was said so far, and who is who.
pub(super) struct Script {
    text: String,
    /// The time that the last line bears.
    at: Option<Time>,
    /// A heartbeat's line, kept back until it leads to something.
    kept: Option<String>,
    peers: BTreeMap<PeerId, String>,
    actors: BTreeMap<ActorId, String>,
    nodes: BTreeMap<NodeId, String>,
    /// Whether heartbeats and ticks that lead to nothing are told too.
    pub(super) heartbeats: bool,
}

impl Script {
    pub(super) fn of(sides: &[Side]) -> Self {
        let peer = |side: &Side| (side.config.me, side.name.clone());
        Self {
            text: String::new(),
            at: None,
            kept: None,
            peers: sides.iter().map(peer).collect(),
            actors: BTreeMap::new(),
            nodes: BTreeMap::from([(NodeId::ROOT, "/".to_owned())]),
            heartbeats: false,
        }
    }

    /// Notes under which actor a peer writes; a further incarnation bears a prime.
    pub(super) fn meet(&mut self, side: &Side) {
        let actor = side.engine().status(Time::ZERO).actor;
        if !self.actors.contains_key(&actor) {
            let is_own = |known: &&String| known.trim_end_matches('\'') == side.name;
            let primes = "'".repeat(self.actors.values().filter(is_own).count());
            self.actors.insert(actor, format!("{}{primes}", side.name));
        }
    }

    pub(super) fn take(&mut self) -> String {
        self.at = None;
        self.kept = None;
        std::mem::take(&mut self.text)
    }

    pub(super) fn put_back(&mut self, text: String) {
        self.text = text;
        self.kept = None;
    }

    pub(super) fn say(&mut self, now: Time, line: &str) {
        if self.at != Some(now) {
            writeln!(self.text, "--- {now:?}").unwrap();
            self.at = Some(now);
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Tells what an engine is told; nothing of a heartbeat that leads to nothing.
    pub(super) fn tell(&mut self, now: Time, who: &str, what: (bool, String)) {
        let line = format!("{who:<4} {}", what.1);
        self.kept = None;
        if what.0 && !self.heartbeats {
            self.kept = Some(line);
        } else {
            self.say(now, &line);
        }
    }

    pub(super) fn wish(&mut self, now: Time, what: (bool, String)) {
        if what.0 && !self.heartbeats {
            return;
        }
        if let Some(line) = self.kept.take() {
            self.say(now, &line);
        }
        self.say(now, &format!("       {}", what.1));
    }

    fn peer(&self, peer: PeerId) -> String {
        self.peers
            .get(&peer)
            .cloned()
            .unwrap_or_else(|| "a stranger".to_owned())
    }

    fn dot(&self, dot: Dot) -> String {
        let actor = self.actors.get(&dot.actor).cloned();
        format!(
            "{}:{}",
            actor.unwrap_or_else(|| "?".to_owned()),
            dot.counter
        )
    }

    fn node(&self, node: NodeId) -> String {
        let known = self.nodes.get(&node).cloned();
        known.unwrap_or_else(|| format!("node {}", self.dot(node.0)))
    }

    fn object(&self, object: ObjectId) -> String {
        format!("{}@{}", self.node(object.node), self.dot(object.version))
    }

    fn vector(&self, known: &VersionVector) -> String {
        let all = known
            .iter()
            .map(|(actor, counter)| self.dot(Dot { actor, counter }));
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            "nothing".to_owned()
        } else {
            all.join(" ")
        }
    }

    fn register(&mut self, register: &Register) -> String {
        let dot = self.dot(register.stamp().dot);
        match register {
            Register::Entry(entry) => {
                let text = name(entry.name.as_bytes());
                self.nodes.entry(entry.node).or_insert_with(|| text.clone());
                let (node, parent) = (self.node(entry.node), self.node(entry.parent));
                match &entry.deleted {
                    Some(known) => format!("{dot} {node} deleted, knowing {}", self.vector(known)),
                    None => format!("{dot} {node} is {text} in {parent}"),
                }
            }
            Register::Attrs(attrs) => {
                format!(
                    "{dot} {} is a {} {:03o}",
                    self.node(attrs.node),
                    kind(attrs.kind),
                    attrs.mode
                )
            }
            Register::Content(content) => {
                let body = match &content.body {
                    Body::File { size, .. } => format!("{size} bytes"),
                    Body::Link { target } => format!("the target {}", name(target.as_bytes())),
                };
                let base = self.vector(&content.context);
                format!("{dot} {} has {body}, on {base}", self.node(content.node))
            }
            Register::Digest(digest) => format!("{dot} digest of {}", self.object(digest.object)),
        }
    }

    fn batch(&mut self, batch: &Batch) -> String {
        // Names first, so that the other lines of the batch can use them.
        for register in &batch.registers {
            self.register(register);
        }
        let upto = batch.upto;
        let told: Vec<_> = batch
            .registers
            .iter()
            .map(|register| self.register(register))
            .collect();
        let told = if told.is_empty() {
            "none".to_owned()
        } else {
            told.join("; ")
        };
        let knows = batch.knowledge.as_ref().map(|known| self.vector(known));
        let knows = knows.map_or(String::new(), |known| format!("; knows {known}"));
        format!("registers upto {upto}: {told}{knows}")
    }

    fn hello(&self, hello: &Hello) -> String {
        let role = match hello.role {
            Role::Full => "host",
            Role::Sparse => "joiner",
            Role::Guest => "guest",
        };
        let secret = if hello.secret.is_some() {
            ", with a secret"
        } else {
            ""
        };
        let folder = if hello.folder.is_some() {
            ""
        } else {
            ", of no folder yet"
        };
        let cursor = hello.cursor.map_or(String::new(), |Cursor { upto, .. }| {
            format!(", has up to {upto}")
        });
        format!(
            "hello, {role} {}{secret}{folder}, knows {}{cursor}",
            hello.name,
            self.vector(&hello.knowledge)
        )
    }

    fn message(&mut self, message: &Message) -> (bool, String) {
        match message {
            Message::Hello(hello) => (false, self.hello(hello)),
            Message::Refused(why) => (false, format!("refused: {why}")),
            Message::Registers(batch) => (false, self.batch(batch)),
            Message::Ack(upto) => (false, format!("stored upto {upto}")),
            Message::Ping => (true, "are you there?".to_owned()),
            Message::Pong => (true, "I am".to_owned()),
            Message::Bye => (false, "bye".to_owned()),
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> (bool, String) {
        let line = match event {
            Event::Tick => return (true, "a deadline passes".to_owned()),
            Event::Fs { req, call } => format!("{req}: {}", words::call(call)),
            Event::Dialled { .. } => "is connected".to_owned(),
            Event::Accepted { peer, .. } => format!("{} connects", self.peer(*peer)),
            Event::Said {
                message: Message::Registers(batch),
                ..
            } => format!(
                "hears: {} registers upto {}{}",
                batch.registers.len(),
                batch.upto,
                if batch.knowledge.is_some() {
                    ", which is all"
                } else {
                    ""
                }
            ),
            Event::Said { message, .. } => {
                let (is_quiet, said) = self.message(message);
                return (is_quiet, format!("hears: {said}"));
            }
            Event::LinkDown { why, .. } => format!("link down: {why:?}"),
            Event::Fetched { fetch, outcome } => match outcome {
                Fetched::Data {
                    len,
                    computed,
                    recorded,
                    ..
                } => {
                    let spoilt = if computed == recorded { "" } else { ", spoilt" };
                    format!("{fetch} brings {len} bytes{spoilt}")
                }
                Fetched::Same => format!("{fetch}: it is the same"),
                Fetched::Hole { .. } => format!("{fetch}: it is a hole"),
                Fetched::Tail { len, .. } => format!("{fetch} brings the last {len} bytes"),
                Fetched::Gone => format!("{fetch}: that is gone"),
                Fetched::NotHeld => format!("{fetch}: not held"),
                Fetched::Failed => format!("{fetch} failed"),
            },
            Event::Asked { ask: _, want, .. } => {
                format!(
                    "is asked for {} of {}",
                    want.chunk,
                    self.object(want.object)
                )
            }
            Event::Disk { job, outcome } => match outcome {
                Ok(done) => format!("{job} done{}", words::done(done)),
                Err(why) => format!("{job} failed: {why}"),
            },
            Event::Committed { commit, outcome } => match outcome {
                Ok(()) => format!("{commit} holds"),
                Err(why) => format!("{commit} failed: {why}"),
            },
            Event::Hint(Hint::Path { path: at, .. }) => format!("watcher: look at {}", path(at)),
            Event::Hint(Hint::Subtree { path: at }) => format!("watcher: look below {}", path(at)),
            Event::Unreadable {
                object,
                offset,
                len,
            } => format!(
                "{len} bytes at {offset} of {} can't be read",
                self.object(*object)
            ),
            Event::Stop => "is told to stop".to_owned(),
            Event::Want { req, path: at } => format!("{req}: get all of {}", path(at)),
            Event::Settle {
                req,
                path: at,
                keep,
            } => format!("{req}: settle {}, keep {keep:?}", path(at)),
            Event::Invited(invite) => format!("invitation {} was given out", invite.id),
            Event::Remove { req, peer } => self.words(&format!("{req}: remove {peer}")),
            Event::Restore { req, number, .. } => format!("{req}: bring {number} back"),
        };
        (false, line)
    }

    fn wished(&self, wish: &DiskWish) -> String {
        match wish {
            DiskWish::List { path: at } => format!("list {}", path(at)),
            DiskWish::Look { path: at } => format!("look at {}", path(at)),
            DiskWish::ReadChunk {
                path: at,
                offset,
                len,
                besides,
            } => {
                let besides = words::besides(*besides);
                format!("read {len} bytes at {offset} of {}{besides}", path(at))
            }
            DiskWish::ReadThrown {
                offset,
                len,
                besides,
                ..
            } => {
                let besides = words::besides(*besides);
                format!("read {len} bytes at {offset} of what lies in the trash{besides}")
            }
            DiskWish::LoadObject { object } => format!("find {}", self.object(*object)),
            DiskWish::CreateObject { object, size, .. } => {
                format!("make {} of {size} bytes", self.object(*object))
            }
            DiskWish::CutSidecar { object, len } => {
                format!("cut the sidecar of {} to {len} bytes", self.object(*object))
            }
            DiskWish::StoreChunk { object, offset, .. } => {
                format!("store at {offset} of {}", self.object(*object))
            }
            DiskWish::StoreHole { object, offset, .. } => {
                format!("make a hole at {offset} of {}", self.object(*object))
            }
            DiskWish::MarkSidecar { object, .. } => {
                format!("mark the sidecar of {}", self.object(*object))
            }
            DiskWish::SyncObject { object } => format!("sync {}", self.object(*object)),
            DiskWish::HashChunk {
                object,
                offset,
                len,
            } => format!("hash {len} bytes at {offset} of {}", self.object(*object)),
            DiskWish::FinishObject { object } => {
                format!("put {} in its place", self.object(*object))
            }
            DiskWish::RemoveObject { object } => format!("remove {}", self.object(*object)),
            DiskWish::ReadStored {
                object,
                offset,
                len,
                besides,
            } => {
                let besides = words::besides(*besides);
                let object = self.object(*object);
                format!("read {len} bytes at {offset} of {object}{besides}")
            }
            DiskWish::Place(wish) => words::place(wish),
            DiskWish::Trash(wish) => words::trash(wish),
            DiskWish::Draft { object, wish } => {
                format!("{} {}", words::draft(wish), self.object(*object))
            }
        }
    }

    fn reply(&self, reply: &FsReply) -> String {
        match reply {
            FsReply::Entry(node) | FsReply::Attr(node) => shown(node),
            FsReply::Absent => "no such name".to_owned(),
            FsReply::Target(target) => name(target),
            FsReply::Opened { fh, .. } | FsReply::OpenedDir { fh } => format!("{fh}"),
            FsReply::Data(Stored {
                object,
                offset,
                len,
            }) => format!("{len} bytes at {offset} of {}", self.object(*object)),
            FsReply::Eof => "end of file".to_owned(),
            FsReply::Items(items) => {
                let item = |item: &tandem_core::action::DirItem| {
                    format!(
                        "{} ({}) then {}",
                        name(&item.name),
                        item.shown.ino,
                        item.next
                    )
                };
                let items: Vec<_> = items.iter().map(item).collect();
                if items.is_empty() {
                    "no more".to_owned()
                } else {
                    items.join(", ")
                }
            }
            FsReply::Value(value) => name(value),
            FsReply::Names(names) => format!("{} names", names.len()),
            FsReply::StatFs { nodes, bytes } => format!("{nodes} nodes, {bytes} bytes"),
            FsReply::Created {
                shown: node, fh, ..
            } => format!("{}, open as {fh}", shown(node)),
            FsReply::Written { len } => format!("{len} bytes written"),
            FsReply::Done => "done".to_owned(),
        }
    }

    pub(super) fn action(&mut self, action: &Action) -> (bool, String) {
        let line = match action {
            Action::Reply {
                req,
                result: Ok(reply),
            } => format!("{req} <- {}", self.reply(reply)),
            Action::Reply {
                req,
                result: Err(why),
            } => format!("{req} <- error: {why}"),
            Action::Dial { peer, .. } => format!("dial {}", self.peer(*peer)),
            Action::Send { message, .. } => {
                let (is_quiet, said) = self.message(message);
                return (is_quiet, format!("say: {said}"));
            }
            Action::Close { .. } => "hang up".to_owned(),
            Action::Fetch {
                fetch, lane, want, ..
            } => {
                let have = want
                    .have
                    .map_or(String::new(), |have| format!(", having {} bytes", have.len));
                format!(
                    "{fetch}: ask for {} of {} on lane {lane}{have}",
                    want.chunk,
                    self.object(want.object)
                )
            }
            Action::CloseLanes { node, .. } => format!("close the lanes of {}", self.node(*node)),
            Action::Answer { answer, .. } => match answer {
                Answer::Data { .. } => "answer: here it is".to_owned(),
                Answer::Same => "answer: the same".to_owned(),
                Answer::Hole => "answer: a hole".to_owned(),
                Answer::Tail { skip, .. } => format!("answer: all but {skip} bytes"),
                Answer::Gone => "answer: gone".to_owned(),
                Answer::NotHeld => "answer: not held".to_owned(),
                Answer::Failed => "answer: failed".to_owned(),
            },
            Action::Drop { .. } => "drop the bytes".to_owned(),
            Action::Disk { job, wish } => format!("{job}: {}", self.wished(wish)),
            Action::Commit {
                commit,
                records,
                sync,
            } => {
                let how = if *sync { ", synced" } else { "" };
                format!("{commit}{how}: {}", words::records(records))
            }
            Action::Invalidate(what) => format!(
                "kernel, forget {}",
                match what {
                    Invalidation::Inode { ino, data: true } => format!("{ino} and its pages"),
                    Invalidation::Inode { ino, data: false } => format!("the attributes of {ino}"),
                    Invalidation::Entry {
                        parent,
                        name: called,
                    } => format!("the name {} in {parent}", name(called.as_bytes())),
                    Invalidation::Delete {
                        parent,
                        child,
                        name: called,
                    } => format!("{} in {parent}, which was {child}", name(called.as_bytes())),
                }
            ),
            Action::Fault(fault) => format!("FAULT: {}", self.words(&fault.to_string())),
            Action::Wanted { req, state } => format!(
                "{req} <- {}",
                match state {
                    WantState::Progress { have, size } => format!("{have} of {size} bytes"),
                    WantState::Done { object, size } =>
                        format!("all of {}, {size} bytes", self.object(*object)),
                    WantState::NotFound => "no such file".to_owned(),
                    WantState::IsDirectory => "a directory".to_owned(),
                    WantState::IsSymlink => "a symlink".to_owned(),
                    WantState::NoSpace => "no space".to_owned(),
                    WantState::Failed => "failed".to_owned(),
                }
            ),
            Action::Settled { req, result } => match result {
                Ok(settled) => format!("{req} <- {} stays", settled.stays),
                Err(why) => format!("{req} <- {why}"),
            },
            Action::Removed { req, result } => match result {
                Ok(removed) => self.words(&format!("{req} <- {} is removed", removed.peer)),
                Err(why) => format!("{req} <- {why}"),
            },
            Action::Restored { req, result } => match result {
                Ok(restored) => format!("{req} <- it stands at {}", path(&restored.path)),
                Err(why) => format!("{req} <- {why}"),
            },
            Action::Stopped => "stopped".to_owned(),
        };
        (false, line)
    }

    /// Puts names for the numbers in a fault's text.
    fn words(&self, fault: &str) -> String {
        let mut text = fault.to_owned();
        for (peer, called) in &self.peers {
            text = text.replace(&peer.to_string(), called);
        }
        for (node, called) in &self.nodes {
            text = text.replace(&format!("{node:?}v"), &format!("{called}@"));
        }
        for (actor, called) in &self.actors {
            text = text.replace(&format!("{actor:?}:"), &format!("{called}:"));
        }
        text
    }
}
