//! What links do over time: they come up, carry pieces, and end.

use tandem_core::event::{Event, Fetched, LinkDown};
use tandem_core::ids::{AskId, ChunkHash, FetchId, LinkId, PayloadId};
use tandem_core::message::Message;
use tandem_core::status::LinkState;

use crate::check::Verdict;
use crate::config::{MS, SEC};
use crate::net::{Asked, Carried, Piece, Stream, Took};
use crate::reach;
use crate::tale::Trouble;
use crate::world::{HOST, Item, World};

impl World {
    /// Tells whether two peers can't reach each other.
    pub(crate) fn is_apart(&self, a: usize, b: usize) -> bool {
        let pair = (a.min(b), a.max(b));
        self.apart.get(&pair).is_some_and(|until| *until > self.now)
    }

    /// Puts a piece on its way.
    pub(crate) fn send(&mut self, at: usize, p: usize, stream: Stream, piece: Piece) {
        let throttled = self.now < self.throttled;
        let byte_time = self.config.byte_time * if throttled { 20 } else { 1 };
        let latency = self.config.latency * if throttled { 3 } else { 1 };
        let took = Took {
            latency: match stream {
                Stream::Control => self.peers[p].wires.between(latency / 2, latency),
                Stream::Lane(..) => self.peers[p].wires.delay(latency),
            },
            bytes: match &piece {
                Piece::Answer(_, Carried::Data(bytes, _) | Carried::Tail(bytes, _)) => {
                    bytes.len() as u64 * byte_time
                }
                Piece::Answer(..)
                | Piece::Said(_)
                | Piece::Closed
                | Piece::Ask(..)
                | Piece::Lost => 0,
            },
        };
        let now = self.now;
        let Some(link) = self.links.get_mut(&at) else {
            return;
        };
        let side = usize::from(link.ends[1].peer == p);
        if let Some(tale) = &mut self.trace.tale {
            let ends = (p, link.ends[1 - side].peer);
            tale.sent(now, ends, (at, side, stream), &piece);
        }
        let twice = self.config.twice;
        let again = twice > 0 && self.peers[p].wires.often(twice) && !self.healed;
        let again = again.then(|| piece.clone());
        let due = link.send(now, side, stream, piece, took);
        if link.is_overtaking(side, due) {
            reach!(self.reach, "link: a stream overtakes another");
        }
        self.at(due, Item::Piece(at, side, stream));
        if let Some(again) = again {
            self.repeat(at, side, stream, again);
        }
    }

    /// Has a piece that was sent arrive a second time.
    fn repeat(&mut self, at: usize, side: usize, stream: Stream, piece: Piece) {
        let (kind, piece) = match piece {
            Piece::Said(_) => ("a message", piece),
            Piece::Ask(fetch, want, len, _) => ("an ask", Piece::Ask(fetch, want, len, true)),
            Piece::Answer(..) => ("an answer", piece),
            Piece::Closed | Piece::Lost => return,
        };
        self.reach.hit_in("link: twice", kind);
        let now = self.now;
        let Some(link) = self.links.get_mut(&at) else {
            return;
        };
        let ends = link.ends;
        if let Some(tale) = &mut self.trace.tale {
            let ends = (ends[side].peer, ends[1 - side].peer);
            tale.sent(now, ends, (at, side, stream), &piece);
        }
        let took = Took {
            latency: 0,
            bytes: 0,
        };
        let due = link.send(now, side, stream, piece, took);
        for end in ends {
            self.peers[end.peer].caused.repeated = true;
        }
        self.at(due, Item::Piece(at, side, stream));
    }

    /// Breaks a lane while its link stays: what is on its way there is lost, who asked on it hears
    /// so, and what was asked there is answered to nobody.
    fn break_lane(&mut self, at: usize, lane: Stream) {
        reach!(self.reach, "lane: broke");
        let Some(link) = self.links.get_mut(&at) else {
            return;
        };
        link.lose(lane);
        for end in link.ends {
            let peer = &mut self.peers[end.peer];
            peer.caused.link = true;
            let on = |link: usize, stream: Stream| link == at && stream == lane;
            let (unheard, asks) = std::mem::take(&mut peer.asks)
                .into_iter()
                .partition(|(_, asked)| on(asked.link, asked.stream));
            peer.asks = asks;
            peer.unheard(unheard);
            let lost = peer.fetches.iter().filter(|(_, f)| on(f.link, f.stream));
            let lost: Vec<FetchId> = lost.map(|(fetch, _)| *fetch).collect();
            for fetch in lost {
                let delay = self.peers[end.peer].shell.delay(50 * MS);
                self.after(delay, Item::LaneClosed(end.peer, end.boot, fetch));
            }
        }
    }

    /// A piece arrives.
    pub(crate) fn piece(&mut self, at: usize, from: usize, stream: Stream) -> Verdict {
        let now = self.now;
        let Some(link) = self.links.get_mut(&at) else {
            if let Some(tale) = &mut self.trace.tale {
                tale.arrived(now, (at, from, stream), false);
            }
            return Ok(());
        };
        let until = link.stalled[from];
        if until > now {
            self.at(until, Item::Piece(at, from, stream));
            return Ok(());
        }
        let queue = link.queues.entry((from, stream)).or_default();
        let Some(piece) = queue.pop_front() else {
            return Ok(());
        };
        let to = link.ends[1 - from];
        if let Some(tale) = &mut self.trace.tale {
            tale.arrived(now, (at, from, stream), !link.cut && !to.over);
        }
        if link.cut || to.over {
            return Ok(());
        }
        let (p, boot) = (to.peer, to.boot);
        if matches!(stream, Stream::Lane(..))
            && self.config.breaks > 0
            && self.peers[p].wires.often(self.config.breaks)
            && !self.healed
        {
            self.break_lane(at, stream);
            return Ok(());
        }
        match piece {
            Piece::Lost => Ok(()),
            Piece::Said(message) => {
                self.peers[p].bounds.heard(to.id, &message);
                if let Message::Hello(_) = &message {
                    self.peers[p].live.greeted();
                    if let Some(link) = self.links.get_mut(&at) {
                        link.ends[1 - from].greeted = true;
                    }
                }
                let link = to.id;
                self.tell(p, boot, Event::Said { link, message })
            }
            Piece::Closed => self.down(at, 1 - from),
            Piece::Ask(fetch, want, len, again) => {
                let ask = AskId(self.peers[p].draw());
                let asked = Asked {
                    link: at,
                    fetch,
                    stream,
                    want,
                    at: self.now,
                    again,
                };
                self.peers[p].asks.insert(ask, asked);
                let link = to.id;
                self.tell(
                    p,
                    boot,
                    Event::Asked {
                        link,
                        ask,
                        want,
                        len,
                    },
                )
            }
            Piece::Answer(fetch, carried) => self.fetched(p, boot, fetch, carried),
        }
    }

    fn fetched(&mut self, p: usize, boot: u64, fetch: FetchId, carried: Carried) -> Verdict {
        let peer = &mut self.peers[p];
        let Some(fetching) = peer.fetches.remove(&fetch) else {
            return Ok(());
        };
        peer.bounds.fetched(fetch);
        let object = fetching.want.object;
        let mut good = None;
        // Who may ask others has failed at this one, and so has who asks for what lies beneath a
        // draft. Of what a file shows, a newer version is on its way.
        let counts = p == HOST || self.config.writable != 0;
        let outcome = match carried {
            Carried::Data(..)
                if fetching.want.have.is_none()
                    && peer.wires.often(self.config.corrupt / 2)
                    && !self.healed =>
            {
                // An owner that says "the same" where nothing was named.
                reach!(self.reach, "answer: a lie");
                peer.caused.corrupt.add();
                peer.attempt_failed(object);
                Fetched::Same
            }
            Carried::Data(mut bytes, recorded) => {
                if peer.wires.often(self.config.corrupt) && !self.healed && !bytes.is_empty() {
                    reach!(self.reach, "chunk: corrupted");
                    peer.caused.corrupt.add();
                    let at = peer.wires.index(bytes.len());
                    bytes[at] ^= 0x40;
                }
                let computed = ChunkHash::of(&bytes);
                let payload = PayloadId(peer.draw());
                if computed == recorded {
                    good = Some((payload, computed));
                } else {
                    peer.attempt_failed(object);
                }
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                peer.payloads.insert(payload, bytes);
                Fetched::Data {
                    payload,
                    len,
                    computed,
                    recorded,
                }
            }
            Carried::Tail(mut bytes, recorded) => {
                reach!(self.reach, "answer: a tail");
                if peer.wires.often(self.config.corrupt) && !self.healed && !bytes.is_empty() {
                    reach!(self.reach, "tail: corrupted");
                    peer.caused.corrupt.add();
                    let at = peer.wires.index(bytes.len());
                    bytes[at] ^= 0x40;
                }
                let payload = PayloadId(peer.draw());
                good = Some((payload, recorded));
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                peer.payloads.insert(payload, bytes);
                Fetched::Tail {
                    payload,
                    len,
                    recorded,
                }
            }
            Carried::Same => {
                reach!(self.reach, "answer: the same");
                Fetched::Same
            }
            Carried::Hole => {
                reach!(self.reach, "answer: a hole");
                let zeros = ChunkHash::of(&vec![0; fetching.len as usize]);
                Fetched::Hole { zeros }
            }
            Carried::Gone => {
                reach!(self.reach, "answer: gone");
                if counts {
                    peer.attempt_failed(object);
                }
                Fetched::Gone
            }
            Carried::NotHeld => {
                reach!(self.reach, "answer: not held");
                if counts {
                    peer.attempt_failed(object);
                }
                Fetched::NotHeld
            }
            Carried::Failed => {
                reach!(self.reach, "answer: failed");
                peer.attempt_failed(object);
                Fetched::Failed
            }
        };
        peer.resume.fetched(fetch, good);
        if let (Some(tale), None) = (&mut self.trace.tale, good) {
            tale.maps
                .unasked(self.now, p, std::iter::once(fetching.want));
        }
        self.was_failed |= p == HOST && outcome == Fetched::Failed;
        self.tell(p, boot, Event::Fetched { fetch, outcome })
    }

    /// A fetch ends because its lane was closed under it.
    pub(crate) fn lane_closed(&mut self, p: usize, boot: u64, fetch: FetchId) -> Verdict {
        let peer = &mut self.peers[p];
        if peer.boot != boot {
            return Ok(());
        }
        let Some(fetching) = peer.fetches.remove(&fetch) else {
            return Ok(());
        };
        peer.bounds.fetched(fetch);
        peer.attempt_failed(fetching.want.object);
        peer.resume.fetched(fetch, None);
        let outcome = Fetched::Failed;
        self.was_failed |= p == HOST;
        self.tell(p, boot, Event::Fetched { fetch, outcome })
    }

    /// One side of a link learns that it is there.
    pub(crate) fn up(&mut self, at: usize, side: usize) -> Verdict {
        let Some(link) = self.links.get(&at) else {
            return Ok(());
        };
        let (end, other) = (link.ends[side], link.ends[1 - side]);
        let runs = |world: &Self, end: crate::net::End| {
            let peer = &world.peers[end.peer];
            peer.boot == end.boot && peer.engine.is_some()
        };
        if link.cut || end.over || !runs(self, end) {
            if side == 1 {
                // Nobody answers: the one who dials hears of it, in its time.
                if let Some(link) = self.links.get_mut(&at) {
                    link.cut = true;
                    link.ends[1].over = true;
                }
                self.peers[other.peer].caused.link = true;
                let latency = self.config.latency;
                self.after(latency, Item::Down(at, 0));
            }
            return Ok(());
        }
        if let Some(link) = self.links.get_mut(&at) {
            link.ends[side].up = true;
        }
        let peer = &mut self.peers[end.peer];
        peer.links.insert(end.id, at);
        peer.live.alone_since = None;
        if peer.caused.link {
            reach!(self.reach, "link: live again");
        }
        let link = end.id;
        let event = if side == 0 {
            Event::Dialled { link }
        } else {
            let peer = self.peers[other.peer].id;
            Event::Accepted { link, peer }
        };
        self.tell(end.peer, end.boot, event)
    }

    /// One side of a link learns that it is gone.
    pub(crate) fn down(&mut self, at: usize, side: usize) -> Verdict {
        let Some(link) = self.links.get(&at) else {
            return Ok(());
        };
        let end = link.ends[side];
        if end.over {
            return Ok(());
        }
        self.end_side(at, end.peer);
        if !end.up && side == 1 {
            return Ok(());
        }
        let link = end.id;
        let why = if end.up {
            LinkDown::Lost
        } else {
            LinkDown::Unreachable
        };
        self.tell(end.peer, end.boot, Event::LinkDown { link, why })
    }

    /// Marks one side of a link as over, with all that hung on it.
    pub(crate) fn end_side(&mut self, at: usize, p: usize) {
        let now = self.now;
        let id = match self.links.get_mut(&at) {
            Some(link) => {
                let side = usize::from(link.ends[1].peer == p);
                link.ends[side].over = true;
                link.ends[side].id
            }
            None => match self.peers[p].links.iter().find(|(_, to)| **to == at) {
                Some((id, _)) => *id,
                None => return,
            },
        };
        let fetches = self.peers[p].fetches.len();
        let peer = &mut self.peers[p];
        peer.links.remove(&id);
        if let Some(tale) = &mut self.trace.tale {
            let lost = peer.fetches.values().filter(|fetch| fetch.link == at);
            tale.maps.unasked(now, p, lost.map(|fetch| fetch.want));
        }
        if p == HOST {
            // It asks one after the other; whoever goes while he is asked has failed as well.
            for fetch in peer.fetches.values().filter(|fetch| fetch.link == at) {
                peer.retries.lost(fetch.want.object);
            }
        }
        peer.fetches.retain(|_, fetch| fetch.link != at);
        let (unheard, asks) = std::mem::take(&mut peer.asks)
            .into_iter()
            .partition(|(_, asked)| asked.link == at);
        peer.asks = asks;
        peer.unheard(unheard);
        peer.resume.link_down(id);
        peer.bounds.link_down(id);
        if peer.fetches.len() < fetches {
            reach!(self.reach, "fetch: died with its link");
        }
        let alive = self.peers[p].links.values().any(|at| {
            let link = self.links.get(at);
            link.is_some_and(|link| link.ends.iter().any(|end| end.peer == p && end.up))
        });
        let peer = &mut self.peers[p];
        if !alive {
            peer.live.alone(now);
        }
        if self.links.get(&at).is_some_and(|link| !link.matters()) {
            self.links.remove(&at);
        }
    }

    /// A dial found nobody.
    pub(crate) fn no_dial(&mut self, p: usize, boot: u64, link: LinkId, why: LinkDown) -> Verdict {
        let peer = &mut self.peers[p];
        if peer.boot != boot || peer.links.remove(&link).is_none() {
            return Ok(());
        }
        self.tell(p, boot, Event::LinkDown { link, why })
    }

    /// Cuts a link: what is on its way is lost, and each side hears of it, or not.
    pub(crate) fn cut(&mut self, at: usize) {
        let (half, healed) = (self.config.half_open, self.healed);
        let Some(link) = self.links.get_mut(&at) else {
            return;
        };
        if link.cut {
            return;
        }
        link.cut = true;
        if let Some(tale) = &mut self.trace.tale {
            let between = Some((link.ends[0].peer, link.ends[1].peer));
            let trouble = Trouble {
                between,
                ..Trouble::default()
            };
            tale.trouble(self.now, trouble, format!("link {at} is cut"));
        }
        for (side, end) in link.ends.into_iter().enumerate() {
            let peer = &mut self.peers[end.peer];
            // Who has left has it too: its goodbye may be what is lost.
            peer.caused.link = true;
            if end.over {
                continue;
            }
            if peer.wires.often(half) && !healed && end.up {
                reach!(self.reach, "link: half open");
            } else {
                let delay = peer.wires.delay(20 * MS);
                self.after(delay, Item::Down(at, side));
            }
        }
    }

    /// Lets what a side of a link sends stand still.
    pub(crate) fn stall(&mut self, at: usize, side: usize, time: u64) {
        let until = self.now + time;
        if let Some(link) = self.links.get_mut(&at) {
            if let Some(tale) = &mut self.trace.tale {
                let trouble = Trouble {
                    peer: None,
                    between: Some((link.ends[side].peer, link.ends[1 - side].peer)),
                    until: Some(until),
                };
                tale.trouble(self.now, trouble, format!("link {at} stands still"));
            }
            link.stalled[side] = link.stalled[side].max(until);
            for end in link.ends {
                self.peers[end.peer].caused.link = true;
            }
        }
    }

    /// Tells whether every joiner that runs has a live link to the host.
    pub fn is_linked(&self) -> bool {
        let counts = |p: &usize| self.peers[*p].mounts() && self.lost != Some(*p);
        (0..self.peers.len()).filter(counts).all(|p| {
            let peer = &self.peers[p];
            let clock = peer.clock(self.now);
            let status = peer.engine.as_ref().map(|engine| engine.status(clock));
            status.is_some_and(|status| {
                let mut links = status.peers.iter().map(|peer| peer.link);
                links.any(|link| link == LinkState::Live)
            })
        })
    }

    /// Returns how long a network takes to settle, at most: all heartbeats missed, and the
    /// longest wait before dialling again.
    pub fn patience(&self) -> u64 {
        300 * SEC + 10 * self.config.heartbeat
    }
}
