//! Performing what an engine wants done, as a shell would.
//!
//! Law: nothing here decides. What takes time goes into the queue and comes back as an event of
//! the same start of the process, or never.

use tandem_core::action::{Action, DiskWish, FsReply, Invalidation, Stored, WantState};
use tandem_core::error::{Fault, FsError};
use tandem_core::event::{Event, FsCall, LinkDown};
use tandem_core::ids::{Fh, JobId, LinkId, ObjectId, PeerId, ReqId};
use tandem_core::message::{Answer, Message, Want};
use tandem_core::trash::TrashWish;

use crate::check::shown::original;
use crate::check::{Failure, Kind, Verdict};
use crate::config::MS;
use crate::disk::folder::wall;
use crate::editor::Scene;
use crate::marks;
use crate::net::{Carried, End, Link, Piece, Stream};
use crate::peer::{Caller, Fetching, Job, Pending};
use crate::reach;
use crate::reads::Ended;
use crate::world::{HOST, Item, World};

/// How often a shell asks again when bytes that were said to be there can't be read.
const AGAIN_MAX: u32 = 8;

impl World {
    pub(crate) fn perform(&mut self, p: usize, action: Action) -> Verdict {
        let now = self.now;
        match action {
            Action::Reply { req, result } => self.reply(p, req, result),
            Action::Dial { link, peer } => {
                let boot = self.peers[p].boot;
                self.dial_later(p, boot, link, peer)
            }
            Action::Send { link, message } => {
                let is_heartbeat = matches!(message, Message::Ping | Message::Pong);
                if !is_heartbeat && !self.is_to_removed(p, link) {
                    self.busy(p);
                }
                if self.config.hostile > 0 && p <= self.config.joiners {
                    self.heard.note(&message);
                }
                self.peers[p].bounds.sent(link, &message)?;
                let at = self.link_of(p, link, "sends")?;
                self.send(at, p, Stream::Control, Piece::Said(message));
                Ok(())
            }
            Action::Close { link } if self.peers[p].undialled.remove(&link) => Ok(()),
            Action::Close { link } => {
                let Some(at) = self.peers[p].links.get(&link).copied() else {
                    let what = format!("closes {link}, which is not there");
                    return Err(Failure::safety("the door", what));
                };
                self.send(at, p, Stream::Control, Piece::Closed);
                self.end_side(at, p);
                Ok(())
            }
            Action::Fetch {
                fetch,
                link,
                lane,
                want,
                len,
            } => {
                self.busy(p);
                if lane >= tandem_core::limits::LANES {
                    return Err(Failure::safety("the door", format!("lane {lane}")));
                }
                let (now, bounds) = (self.now, (self.config.lane_files, self.config.window));
                let bytes = u64::from(len);
                let node = want.object.node;
                let full = (self.peers[p].bounds).asked(now, fetch, (link, node), bytes, bounds)?;
                if full.0 {
                    reach!(self.reach, "link: lanes of as many files as may be");
                }
                if full.1 {
                    reach!(self.reach, "link: a full window");
                }
                let at = self.link_of(p, link, "fetches")?;
                let peer = &mut self.peers[p];
                let is_waited_for = !peer.callers.is_empty();
                if p != HOST && self.config.push && !is_waited_for {
                    reach!(self.reach, "fetch: pushed");
                }
                let is_it = |asked: &crate::net::Asked| {
                    (asked.want.object, asked.want.chunk) == (want.object, want.chunk)
                };
                let is_unheard = peer.unheard.contains(&(want.object, want.chunk));
                let is_passed_on = p == HOST && (is_unheard || peer.asks.values().any(is_it));
                let how = (u64::from(len), is_passed_on);
                peer.resume.fetch(fetch, link, want, how)?;
                let stream = Stream::Lane(want.object.node, lane);
                let fetching = Fetching {
                    link: at,
                    stream,
                    want,
                    len,
                };
                self.peers[p].fetches.insert(fetch, fetching);
                self.send(at, p, stream, Piece::Ask(fetch, want, len, false));
                Ok(())
            }
            Action::CloseLanes { link, node } => {
                let peer = &mut self.peers[p];
                peer.bounds.lanes_closed(link, node);
                let Some(at) = peer.links.get(&link).copied() else {
                    return Ok(());
                };
                let boot = peer.boot;
                let of = |f: &Fetching| f.link == at && f.want.object.node == node;
                let ended: Vec<_> = peer.fetches.iter().filter(|(_, f)| of(f)).collect();
                let ended: Vec<_> = ended.into_iter().map(|(fetch, _)| *fetch).collect();
                for fetch in ended {
                    let delay = self.peers[p].shell.delay(crate::config::MS);
                    self.after(delay, Item::LaneClosed(p, boot, fetch));
                }
                Ok(())
            }
            Action::Answer { ask, answer } => self.answer_ask(p, ask, answer),
            Action::Drop { payload } => match self.peers[p].payloads.remove(&payload) {
                Some(_) => {
                    self.peers[p].resume.dropped(payload);
                    if p == HOST {
                        self.leases.dropped(payload);
                    }
                    Ok(())
                }
                None => Err(Failure::safety("the door", format!("drops {payload}"))),
            },
            Action::Disk { job, wish } => {
                // The trash is looked at for ever.
                if wish != DiskWish::Trash(TrashWish::List) {
                    self.busy(p);
                }
                self.disk(p, job, wish)
            }
            Action::Commit {
                commit,
                records,
                sync,
            } => {
                self.busy(p);
                let typical = self.config.disk_time * if sync { 4 } else { 1 };
                let peer = &mut self.peers[p];
                let took = peer.disk_delay(now, typical);
                peer.commit_busy = peer.commit_busy.max(now) + took;
                let (at, boot) = (peer.commit_busy, peer.boot);
                let pending = Pending {
                    commit,
                    records,
                    sync,
                };
                peer.commits.push_back(pending);
                self.at(at, Item::Commit(p, boot));
                self.aimed(p, "committing");
                Ok(())
            }
            Action::Invalidate(what) => {
                self.busy(p);
                let peer = &mut self.peers[p];
                if let Invalidation::Inode { ino, data: true } = &what {
                    let of = |fh: &Fh| peer.kernel.open.get(fh).map(|opened| opened.ino);
                    peer.reads.retain(|fh, _| of(fh) != Some(*ino));
                    peer.here.changed(now, *ino);
                }
                if let Invalidation::Delete { child, .. } = &what {
                    let is_open = peer.kernel.has_open(*child);
                    peer.here.unnamed(now, *child, is_open);
                }
                if let Invalidation::Entry { parent, name }
                | Invalidation::Delete { parent, name, .. } = &what
                    && peer.bodies.alone
                    && !peer.caused.commit.any()
                    && !peer.exchanges()
                {
                    let spot = (*parent, original(name.as_bytes()));
                    if spot.1 != name.as_bytes() {
                        peer.copies.insert(spot);
                    } else if !peer.copies.contains(&spot) {
                        // What its own applications do their kernel knows, unless it could not be
                        // stored. (Directories that are exchanged are one for a moment: what is in
                        // them is told of.) Only copies, and what they are copies of, are given and lose
                        // names by themselves.
                        let what = format!("nobody is there, and the kernel is told: {what:?}");
                        return Err(Failure::safety("exact invalidation", what));
                    }
                }
                match &what {
                    Invalidation::Inode { ino, data: true }
                        if peer.hears || peer.bodies.may_be_nothing(*ino) =>
                    {
                        peer.bodies.superseded(*ino, &mut self.folder.history);
                    }
                    Invalidation::Inode { .. } => {}
                    Invalidation::Entry { parent, name }
                    | Invalidation::Delete { parent, name, .. } => {
                        peer.names.changed(&(*parent, name.as_bytes().to_vec()));
                    }
                }
                peer.kernel.invalidate(&what, &mut self.reach);
                Ok(())
            }
            Action::Fault(fault) => {
                let hostile = self.hostile().map(|at| self.peers[at].id);
                if let Fault::ChunkMissing { object, .. } = &fault {
                    let allowed = self.config.retries;
                    self.peers[p].retries.given_up(*object, allowed)?;
                    self.gave_up |= p == HOST && self.config.writable != 0;
                }
                self.peers[p].caused.explains(&fault, hostile)
            }
            Action::Wanted { req, state } => self.wanted(p, req, state),
            Action::Settled { req, result } => self.was_settled(p, req, &result),
            Action::Removed { result, .. } => self.was_removed(&result),
            Action::Restored { req, result } => self.was_restored(req, &result),
            Action::Stopped => {
                if !self.peers[p].stopping {
                    return Err(Failure::safety("the door", "stopped without being asked"));
                }
                self.stopped(p);
                Ok(())
            }
        }
    }

    fn link_of(&self, p: usize, link: LinkId, does: &str) -> Result<usize, Failure> {
        let at = self.peers[p].links.get(&link).copied();
        let up = at.and_then(|at| self.links.get(&at)).is_some_and(|l| {
            let end: &End = &l.ends[l.side(p, link)];
            end.up && !end.over
        });
        match (at, up) {
            (Some(at), true) => Ok(at),
            _ => {
                let what = format!("{does} on {link}, which is not there");
                Err(Failure::safety("the door", what))
            }
        }
    }

    /// Dials. After every other crash not before the mount was judged: what peers tell before
    /// that may have changed anything.
    pub(crate) fn dial_later(&mut self, p: usize, boot: u64, link: LinkId, to: PeerId) -> Verdict {
        let peer = &self.peers[p];
        if peer.boot != boot || peer.engine.is_none() {
            return Ok(());
        }
        let is_to_be_judged = peer.crashed.is_some() && peer.dying.is_none() && !peer.stopping;
        if is_to_be_judged && peer.config.writable && peer.mounts() && boot.is_multiple_of(2) {
            self.peers[p].undialled.insert(link);
            self.after(MS, Item::Dial(p, boot, link, to));
        } else {
            self.peers[p].undialled.remove(&link);
            self.dial(p, link, to);
        }
        Ok(())
    }

    fn dial(&mut self, p: usize, link: LinkId, to: PeerId) {
        let target = self.peers.iter().position(|peer| peer.id == to);
        let now = self.now;
        let (errors, latency) = (self.config.dial_errors, self.config.latency);
        let (wrong_keys, healed) = (self.config.wrong_keys, self.healed);
        let apart = target.is_some_and(|t| self.is_apart(p, t));
        let peer = &mut self.peers[p];
        let boot = peer.boot;
        let took = peer.wires.delay(2 * latency + 1);
        let refused = peer.wires.often(errors) && !healed;
        let Some(target) = target.filter(|t| !apart && !refused && *t != p) else {
            reach!(self.reach, "dial: unreachable");
            peer.caused.link = true;
            let took = if apart {
                20 * took + crate::config::SEC
            } else {
                took
            };
            let why = LinkDown::Unreachable;
            self.dialled_in_vain(p, boot, link, took, why);
            return;
        };
        if peer.wires.often(wrong_keys) && !healed {
            let why = self.wrong_key(p);
            self.dialled_in_vain(p, boot, link, took, why);
            return;
        }
        let other = &mut self.peers[target];
        let id = tandem_core::ids::LinkId(other.draw() * 2 + 1);
        let end = |peer: usize, boot, id| End {
            peer,
            boot,
            id,
            up: false,
            greeted: false,
            over: false,
        };
        let ends = [end(p, boot, link), end(target, other.boot, id)];
        let at = self.links_made;
        self.links_made += 1;
        self.links.insert(at, Link::new(ends));
        self.peers[p].links.insert(link, at);
        let accepted = took / 2;
        self.at(now + accepted, Item::Up(at, 1));
        self.at(now + took, Item::Up(at, 0));
    }

    fn dialled_in_vain(&mut self, p: usize, boot: u64, link: LinkId, took: u64, why: LinkDown) {
        let at = self.links_made;
        self.links_made += 1;
        self.peers[p].links.insert(link, at);
        self.after(took, Item::NoDial(p, boot, link, why));
    }

    /// Notes that something other than a heartbeat goes on.
    fn busy(&mut self, p: usize) {
        if self.lost != Some(p) {
            self.busy_at = self.now;
        }
    }

    fn disk(&mut self, p: usize, job: JobId, wish: DiskWish) -> Verdict {
        let now = self.now;
        let typical = self.config.disk_time;
        let object = crate::jobs::object(&wish);
        let peer = &mut self.peers[p];
        let payload = match crate::jobs::payload(&wish) {
            Some(payload) => match peer.payloads.remove(&payload) {
                Some(bytes) => Some((payload, bytes)),
                None => {
                    let what = format!("stores {payload}, which is not there");
                    return Err(Failure::safety("the door", what));
                }
            },
            None => None,
        };
        peer.bounds.begin(&wish);
        if let DiskWish::RemoveObject { object } = wish {
            peer.resume.let_go(object);
        }
        let took = peer.disk_delay(now, typical);
        let at = match object {
            Some(object) => {
                // What a draft becomes waits behind what was wished of it, and holds it up.
                let becomes = crate::jobs::becomes(&wish);
                let both = [Some(object), becomes];
                let of = |object: ObjectId| peer.busy.get(&object).copied().unwrap_or(0);
                let busy = both.into_iter().flatten().map(of).max().unwrap_or(0);
                let at = busy.max(now) + took;
                peer.busy
                    .extend(both.into_iter().flatten().map(|object| (object, at)));
                at
            }
            None => now + took / 2,
        };
        let boot = peer.boot;
        let begun = None;
        let waiting = Job {
            wish,
            payload,
            begun,
        };
        if peer.jobs.insert(job, waiting).is_some() || job.0 < peer.jobs_seen {
            return Err(Failure::safety("the door", format!("{job} is used twice")));
        }
        self.at(at, Item::Job(p, boot, job));
        if let Some(state) = self.peers[p]
            .jobs
            .get(&job)
            .map(|job| marks::job(&job.wish))
        {
            self.aimed(p, state);
        }
        Ok(())
    }

    fn answer_ask(&mut self, p: usize, ask: tandem_core::ids::AskId, answer: Answer) -> Verdict {
        let carried = match answer {
            Answer::Data { hash, payload } => match self.peers[p].payloads.remove(&payload) {
                Some(bytes) => Carried::Data(bytes, hash),
                None => {
                    let what = format!("answers with {payload}, which is not there");
                    return Err(Failure::safety("the door", what));
                }
            },
            Answer::Tail {
                hash,
                payload,
                skip,
            } => match self.peers[p].payloads.remove(&payload) {
                Some(bytes) => {
                    let tail = bytes.get(skip as usize..).unwrap_or_default();
                    Carried::Tail(tail.to_vec(), hash)
                }
                None => {
                    let what = format!("answers with {payload}, which is not there");
                    return Err(Failure::safety("the door", what));
                }
            },
            Answer::Same => Carried::Same,
            Answer::Hole => Carried::Hole,
            Answer::Gone => Carried::Gone,
            Answer::NotHeld => Carried::NotHeld,
            Answer::Failed => Carried::Failed,
        };
        if let Some(payload) = answer.payload() {
            // What was passed on to another peer is not here.
            self.peers[p].resume.dropped(payload);
        }
        // The link may have ended meanwhile; then nobody hears.
        if let Some(asked) = self.peers[p].asks.remove(&ask) {
            if p == HOST {
                match answer {
                    Answer::Data { payload, .. } | Answer::Tail { payload, .. } => {
                        self.leases.answered(asked.want.object, payload);
                    }
                    // A program that sets a time back makes versions that differ in nothing.
                    Answer::Gone | Answer::NotHeld if !self.set_back => {
                        let Want { object, chunk, .. } = asked.want;
                        let at = u64::from(chunk.0) * u64::from(self.config.chunk_size);
                        (self.leases).denied((object, at), asked.at, &self.folder)?;
                    }
                    Answer::Gone
                    | Answer::NotHeld
                    | Answer::Same
                    | Answer::Hole
                    | Answer::Failed => {}
                }
            }
            if let Carried::Data(bytes, _) | Carried::Tail(bytes, _) = &carried
                && let Some(link) = self.links.get(&asked.link)
            {
                let side = usize::from(link.ends[0].peer == p);
                let asker = link.ends[side].peer;
                let waits = self.peers[asker].fetches.get(&asked.fetch);
                // What is sent after its asker has ended, or a cut, nobody can hold against it.
                let waits = waits.filter(|fetching| fetching.link == asked.link && !asked.again);
                if let Some(want) = waits.map(|fetching| fetching.want) {
                    self.peers[asker].resume.sent(want, bytes.len() as u64)?;
                }
            }
            let piece = Piece::Answer(asked.fetch, carried);
            self.send(asked.link, p, asked.stream, piece);
        }
        Ok(())
    }

    /// Performs a reply: reads the bytes it speaks of, judges it, and tells who waits.
    fn reply(&mut self, p: usize, req: ReqId, result: Result<FsReply, FsError>) -> Verdict {
        let now = self.now;
        let peer = &mut self.peers[p];
        let (call, took) = peer.live.answered(now, req)?;
        match (&call, took) {
            (FsCall::Read { .. }, 0) => reach!(self.reach, "read: at once"),
            (FsCall::Read { .. }, _) => reach!(self.reach, "read: waited"),
            _ => {}
        }
        let Some((caller, call, tries)) = peer.callers.remove(&req) else {
            return Err(Failure::safety("the door", format!("{req} has no caller")));
        };
        let mut bytes = Vec::new();
        if let Ok(FsReply::Data(stored)) = &result {
            let ino = if let FsCall::Read { fh, .. } = &call {
                peer.kernel.open.get(fh).map(|opened| opened.ino)
            } else {
                None
            };
            // A file that is cut meanwhile is read again.
            let is_cut = ino.is_some_and(|ino| peer.kernel.is_changing(ino));
            let read = peer.objects.read(stored.object, stored.offset, stored.len);
            match read.filter(|read| read.len() == stored.len as usize || !is_cut) {
                Some(read) => bytes.extend_from_slice(read),
                None => {
                    let boot = peer.boot;
                    if tries >= AGAIN_MAX {
                        let what = format!("{:?} is said to be there, and is not", stored.object);
                        return Err(Failure::safety("P1", what));
                    }
                    peer.callers.insert(req, (caller, call, tries + 1));
                    // What a job has done to the file the engine is told in this time.
                    let told = crate::config::MS.max(self.config.disk_time);
                    self.after(told, Item::Again(p, boot, req, *stored));
                    return Ok(());
                }
            }
            if bytes.len() != stored.len as usize {
                let what = format!("{stored:?} is said to be there; {} bytes are", bytes.len());
                return Err(Failure::safety("P1", what));
            }
        }
        let peer = &mut self.peers[p];
        if let FsCall::Edit(edit) = &call {
            bytes = peer.writing.remove(&req).unwrap_or_default();
            self.edit_answered(p, req, edit, &result);
            self.check_far(p, edit, &result, took)?;
        }
        self.judge(p, &call, &result, &bytes, took)?;
        let peer = &mut self.peers[p];
        if let Ok(reply) = &result {
            (peer.kernel).learn(req, &call, reply, &bytes, &mut self.reach);
        } else {
            peer.kernel.failed(&call, bytes.len() as u64);
        }
        peer.kernel.ends(req, &mut self.reach);
        if !peer.held_back.is_empty() {
            let boot = peer.boot;
            self.after(0, Item::Unlocked(p, boot));
        }
        let peer = &mut self.peers[p];
        match caller {
            Caller::Thread(n) => {
                let think = self.config.think;
                if let Some(thread) = peer.threads.get_mut(n) {
                    thread.answered(&call, &result);
                    let (pause, boot) = (thread.pause(think), peer.boot);
                    self.after(pause, Item::User(p, boot, n));
                }
            }
            Caller::Walker => {
                self.answers
                    .insert((p, req), result.map(|reply| (reply, bytes)));
            }
            Caller::Judge => {
                let boot = peer.boot;
                self.after(0, Item::Judge(p, boot));
            }
            Caller::Nobody => {}
        }
        Ok(())
    }

    /// Judges a reply by P1 and P7.
    fn judge(
        &mut self,
        p: usize,
        call: &FsCall,
        result: &Result<FsReply, FsError>,
        bytes: &[u8],
        took: u64,
    ) -> Verdict {
        let peer = &mut self.peers[p];
        match (call, result) {
            (FsCall::Read { fh, offset, len }, result) => {
                self.note_rest();
                let read = Ended {
                    fh: *fh,
                    offset: *offset,
                    len: *len,
                    took,
                };
                match result {
                    Ok(FsReply::Eof) => reach!(self.reach, "read: end of file"),
                    Ok(_) => reach!(self.reach, "read: data"),
                    Err(error) => return self.judge_failed_read(p, read, *error),
                }
                self.judge_read(p, read, bytes)
            }
            (FsCall::Edit(_) | FsCall::Open { write: true, .. }, Ok(reply))
                if !peer.config.writable =>
            {
                let what = format!("{call:?} is answered {reply:?}");
                Err(Failure::safety("read-only", what))
            }
            (
                FsCall::GetAttr { .. }
                | FsCall::Open { .. }
                | FsCall::OpenDir { .. }
                | FsCall::ReadLink { .. }
                | FsCall::GetXattr { .. }
                | FsCall::ListXattr { .. },
                Err(FsError::NoEntry),
            ) => {
                // A kernel looks up again what is stale, and takes this for the truth.
                let what =
                    format!("{call:?}: something else may stand there, and nothing is said to");
                Err(Failure::safety("P1", what))
            }
            (_, Ok(FsReply::Opened { fh, .. } | FsReply::OpenedDir { fh })) => {
                peer.handles.opened(*fh)
            }
            (_, Ok(FsReply::Created { shown, fh, .. })) => {
                peer.handles.opened(*fh)?;
                peer.here.named(shown.ino);
                peer.handles.shown(shown)
            }
            (FsCall::Lookup { name, .. }, Ok(FsReply::Entry(shown))) => {
                self.folder.past.judge(&self.folder.history, name, shown)?;
                if let Some(those) = self.folder.past.named_so(name) {
                    peer.truth.named(&self.folder.history, shown.ino, those)?;
                }
                let history = &mut self.folder.history;
                peer.bodies.shown(shown.ino, shown.size, history)?;
                peer.here.named(shown.ino);
                peer.handles.shown(shown)
            }
            (_, Ok(FsReply::Entry(shown) | FsReply::Attr(shown))) => {
                let files = peer.truth.files(shown.ino);
                (self.folder.past).judge_any(&self.folder.history, shown, files)?;
                let history = &mut self.folder.history;
                peer.bodies.shown(shown.ino, shown.size, history)?;
                if shown.nlink == 0 && peer.removed_blindly {
                    peer.bodies.unnamed(shown.ino);
                }
                if shown.nlink > 0 {
                    peer.here.named(shown.ino);
                }
                peer.handles.shown(shown)
            }
            (_, Ok(FsReply::Items(items))) => items.iter().try_for_each(|item| {
                match &*item.name {
                    b"." | b".." => {
                        let history = &self.folder.history;
                        self.folder.past.judge_any(history, &item.shown, None)?;
                    }
                    name => {
                        let history = &mut self.folder.history;
                        let shown = &item.shown;
                        self.folder.past.judge(history, name, shown)?;
                        if let Some(those) = self.folder.past.named_so(name) {
                            peer.truth.named(history, shown.ino, those)?;
                        }
                        peer.bodies.shown(shown.ino, shown.size, history)?;
                        peer.here.named(shown.ino);
                    }
                }
                peer.handles.shown(&item.shown)
            }),
            _ => Ok(()),
        }
    }

    /// Makes a call again whose bytes could not be read; if they are not elsewhere by now, the
    /// engine is told first.
    pub(crate) fn again(&mut self, p: usize, boot: u64, req: ReqId, stored: Stored) -> Verdict {
        let peer = &self.peers[p];
        match peer.callers.get(&req) {
            Some((_, call, tries)) if peer.boot == boot => {
                let call = call.clone();
                if *tries > 1 {
                    let unreadable = Event::Unreadable {
                        object: stored.object,
                        offset: stored.offset,
                        len: stored.len,
                    };
                    self.tell(p, boot, unreadable)?;
                }
                self.tell(p, boot, Event::Fs { req, call })
            }
            _ => Ok(()),
        }
    }

    /// Lets a thread of applications go on.
    pub(crate) fn user(&mut self, p: usize, boot: u64, n: usize) -> Verdict {
        let (chunk, resting) = (u64::from(self.config.chunk_size), self.resting);
        let think = self.config.think;
        let (wall, kinds) = (wall(self.wall_of(p)), self.config.write_kinds);
        let peer = &mut self.peers[p];
        if peer.boot != boot || peer.engine.is_none() || peer.stopping {
            return Ok(());
        }
        let Some(mut thread) = peer.threads.get(n).cloned() else {
            return Ok(());
        };
        let open = &peer.kernel.open;
        peer.kernel.strangers = peer.handles.strangers(|fh| open.contains_key(fh));
        if kinds != 0 && peer.config.writable && peer.wall_off != 0 {
            reach!(self.reach, "clock: an application's is off");
        }
        let mut scene = Scene {
            kernel: &mut peer.kernel,
            chunk,
            last: resting,
            wall,
            kinds: if peer.config.writable { kinds } else { 0 },
        };
        let call = thread.next(&mut scene);
        let more = thread.is_busy(resting);
        let pause = thread.pause(think);
        if let Some(slot) = peer.threads.get_mut(n) {
            *slot = thread;
        }
        match call {
            Some((call @ FsCall::Forget { ino, .. }, _)) => {
                self.peers[p].bodies.forgotten(ino);
                self.peers[p].names.forgotten(ino);
                self.call(p, Caller::Nobody, call)?;
                self.after(pause, Item::User(p, boot, n));
            }
            Some((call, bytes)) => self.call_in_turn(p, Caller::Thread(n), call, bytes)?,
            None if more => self.after(pause, Item::User(p, boot, n)),
            None => {}
        }
        Ok(())
    }

    fn wanted(&mut self, p: usize, req: ReqId, state: WantState) -> Verdict {
        self.note_rest();
        let peer = &mut self.peers[p];
        if !peer.wants.contains_key(&req) {
            return Err(Failure::safety("the door", format!("{req} is not wanted")));
        }
        if let WantState::Done { object, size } = state {
            let read = peer.objects.read(object, 0, u32::MAX);
            let whole = read
                .is_some_and(|bytes| bytes.len() as u64 == size && self.folder.history.had(bytes));
            // Nothing is stored of an empty file, and one may have gone bad since.
            let is_here = whole && peer.objects.is_complete(object);
            if size > 0 && !is_here && !peer.objects.is_bad(object) {
                let what = format!("{object:?} is said to be all here, and is not");
                return Err(Failure::safety("P1", what));
            }
        }
        if !matches!(state, WantState::Progress { .. }) {
            peer.wants.remove(&req);
            self.ended.insert((p, req), state);
        }
        Ok(())
    }

    /// Returns a failure if a want is still open.
    pub(crate) fn wants_ended(&self) -> Verdict {
        for (p, peer) in self.peers.iter().enumerate() {
            if let Some((req, path)) = peer.wants.first_key_value()
                && self.lost != Some(p)
            {
                let what = format!("{req} wants {path:?} and never hears of it");
                return Err(Failure::new(Kind::Liveness, "P9", what));
            }
        }
        Ok(())
    }
}
