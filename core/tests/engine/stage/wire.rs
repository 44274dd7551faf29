//! Processes and the wires between them: started, killed, cut, silenced.

use tandem_core::engine::Last;
use tandem_core::event::{Event, Fetched, LinkDown};
use tandem_core::ids::{AskId, ChunkHash, FetchId, LinkId, PayloadId, PeerId};
use tandem_core::message::Answer;

use super::{Held, Stage};

impl Stage {
    // Peers come and go.

    pub(crate) fn start(&mut self, name: &str, last: Last) {
        let ix = self.ix(name);
        self.script
            .say(self.now, &format!("{name}  starts ({last:?})"));
        self.sides[ix].start(self.now, last);
        self.script.meet(&self.sides[ix]);
        self.act(ix);
        self.settle();
    }

    /// Ends a process as `kill -9` does; its peers' kernels hear of it.
    pub(crate) fn kill(&mut self, name: &str) {
        self.script.say(self.now, &format!("{name}  is killed"));
        let ix = self.ix(name);
        self.sides[ix].kill();
        self.queue.retain(|(to, _)| *to != ix);
        self.waiting.retain(|(_, to, _)| *to != ix);
        self.fetches.retain(|(of, _), _| *of != ix);
        let ends: Vec<_> = self
            .ends
            .keys()
            .filter(|end| end.0 == ix)
            .copied()
            .collect();
        for end in ends {
            self.hang_up(end);
        }
        self.settle();
    }

    /// What was not synced is gone, after a kill.
    pub(crate) fn power_loss(&mut self, name: &str) {
        self.kill(name);
        self.side(name).power_loss();
    }

    // Wires.

    /// Breaks every connection; what was on its way is lost.
    pub(crate) fn cut(&mut self) {
        self.script.say(self.now, "      the wire is cut");
        self.fetches.clear();
        let ends: Vec<_> = std::mem::take(&mut self.ends).into_keys().collect();
        for (ix, link) in ends {
            let why = LinkDown::Lost;
            self.deliver(ix, Event::LinkDown { link, why });
        }
        self.settle();
    }

    /// Pulls a cable: nothing gets through, and nobody is told.
    pub(crate) fn mute(&mut self, name: &str) {
        self.script.say(self.now, &format!("{name}  falls silent"));
        self.muted.insert(self.ix(name));
    }

    /// Plugs the cable in; connections that stood before are dead.
    pub(crate) fn unmute(&mut self, name: &str) {
        self.script
            .say(self.now, &format!("{name}  can be reached again"));
        let ix = self.ix(name);
        self.muted.remove(&ix);
        let old: Vec<_> = self
            .ends
            .keys()
            .filter(|end| end.0 == ix)
            .copied()
            .collect();
        for end in old {
            let why = LinkDown::Lost;
            self.queue
                .push_back((ix, Event::LinkDown { link: end.1, why }));
        }
        self.settle();
    }

    pub(super) fn hang_up(&mut self, end: (usize, LinkId)) {
        let Some((to, link)) = self.ends.remove(&end) else {
            return;
        };
        if !self.is_muted(end.0, to) && self.ends.contains_key(&(to, link)) {
            let why = LinkDown::Lost;
            self.queue.push_back((to, Event::LinkDown { link, why }));
        }
    }

    pub(super) fn is_muted(&self, a: usize, b: usize) -> bool {
        self.muted.contains(&a) || self.muted.contains(&b)
    }

    /// Returns the fetch of `name` that was asked for last and is not answered.
    pub(crate) fn asked(&mut self, name: &str) -> FetchId {
        let ix = self.ix(name);
        let waiting = self.fetches.keys().filter(|(of, _)| *of == ix);
        waiting
            .map(|(_, fetch)| *fetch)
            .next_back()
            .expect("it has asked")
    }

    /// A stranger with a key of its own connects to `name`; returns its link.
    pub(crate) fn connect(&mut self, name: &str, key: u8) -> LinkId {
        let link = LinkId(self.draw() * 2 + 1);
        let peer = PeerId([key; 32]);
        self.event(name, Event::Accepted { link, peer });
        link
    }

    pub(super) fn dial(&mut self, ix: usize, link: LinkId, peer: PeerId) {
        let to = self.sides.iter().position(|side| side.config.me == peer);
        if to.is_none() {
            self.puppet = Some(link);
            self.queue.push_back((ix, Event::Dialled { link }));
            return;
        }
        let to = to.filter(|&to| self.sides[to].engine.is_some() && !self.is_muted(ix, to));
        let Some(to) = to else {
            let why = LinkDown::Unreachable;
            self.queue.push_back((ix, Event::LinkDown { link, why }));
            return;
        };
        let theirs = LinkId(self.draw() * 2 + 1);
        self.ends.insert((ix, link), (to, theirs));
        self.ends.insert((to, theirs), (ix, link));
        let peer = self.sides[ix].config.me;
        self.queue
            .push_back((to, Event::Accepted { link: theirs, peer }));
        self.queue.push_back((ix, Event::Dialled { link }));
    }

    /// Takes an answer, and its bytes, to whoever asked.
    pub(super) fn bring(&mut self, ix: usize, ask: AskId, answer: Answer) {
        let asker = self.asks.remove(&ask);
        let used = answer.payload().map(|payload| {
            let bytes = self.sides[ix].payloads.remove(&payload);
            bytes.expect("it was not used up")
        });
        let Some((to, fetch)) = asker else {
            return;
        };
        let skip = match answer {
            Answer::Tail { skip, .. } => skip as usize,
            _ => 0,
        };
        let mut sent = used.map(|bytes| bytes[skip..].to_vec());
        if let Some(bytes) = sent.as_mut()
            && self.sides[to].spoil > 0
        {
            self.sides[to].spoil -= 1;
            bytes[0] ^= 1;
        }
        let bytes = sent.unwrap_or_default();
        let len = u32::try_from(bytes.len()).unwrap();
        let computed = ChunkHash::of(&bytes);
        let outcome = match answer {
            Answer::Data { hash, .. } => Fetched::Data {
                payload: self.park(to, bytes),
                len,
                computed,
                recorded: hash,
            },
            Answer::Tail { hash, .. } => Fetched::Tail {
                payload: self.park(to, bytes),
                len,
                recorded: hash,
            },
            Answer::Same => Fetched::Same,
            Answer::Hole => {
                let len = self.fetches.get(&(to, fetch)).map_or(0, |asked| asked.1);
                let zeros = ChunkHash::of(&vec![0; len as usize]);
                Fetched::Hole { zeros }
            }
            Answer::Gone => Fetched::Gone,
            Answer::NotHeld => Fetched::NotHeld,
            Answer::Failed => Fetched::Failed,
        };
        if self.fetches.contains_key(&(to, fetch)) && !self.is_muted(ix, to) {
            self.push(Held::Chunks, to, Event::Fetched { fetch, outcome });
        } else if let Fetched::Data { payload, .. } | Fetched::Tail { payload, .. } = outcome {
            self.sides[to].payloads.remove(&payload);
        }
    }

    fn park(&mut self, ix: usize, bytes: Vec<u8>) -> PayloadId {
        let payload = PayloadId(self.draw());
        self.sides[ix].payloads.insert(payload, bytes);
        payload
    }
}
