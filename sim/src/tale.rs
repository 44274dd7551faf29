//! The tale of a run: what happened, in a shape that a page can draw.
//!
//! Law: it listens and changes nothing. A run that keeps no tale does no work for one, and the
//! trace's hash is the same with and without.

use std::collections::{BTreeMap, VecDeque};

use tandem_core::action::Action;
use tandem_core::event::Event;
use tandem_core::ids::NodeId;
use tandem_core::message::Message;
use tandem_core::tree::register::Register;

use crate::net::{Carried, Piece, Stream};
use crate::{show, words};

pub mod chunks;

use chunks::{Maps, State};

/// What something is about; a page shows some topics and hides others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Calls of applications, their answers, and what the kernel is told.
    Call,
    /// Links and what is said on them.
    Link,
    /// Chunks asked for, answered and stored.
    Chunk,
    /// Disks: jobs, commits, hints of the watcher.
    Disk,
    /// What went wrong, and starts and ends of processes.
    Fault,
}

/// An event or an action.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is about.
    pub topic: Topic,
    /// A few words.
    pub title: String,
    /// The line that the trace has for it.
    pub text: String,
}

/// Something that happened at one moment, and what an engine did about it.
#[derive(Clone, Debug)]
pub struct Turn {
    /// When, in nanoseconds.
    pub at: u64,
    /// To whom; to the world, if to nobody.
    pub peer: Option<usize>,
    /// Between which two peers it stands, if it is a trouble of links.
    pub between: Option<(usize, usize)>,
    /// Until when it lasts, if it lasts.
    pub until: Option<u64>,
    /// What.
    pub what: Item,
    /// The actions that followed at once.
    pub then: Vec<Item>,
}

/// Something that travelled.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// From whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// When it left, in nanoseconds.
    pub sent: u64,
    /// When it arrived, or would have.
    pub ended: Option<u64>,
    /// Whether it was heard.
    pub heard: bool,
    /// On which link.
    pub link: usize,
    /// On which lane; on the control stream, if on none.
    pub lane: Option<u32>,
    /// A few words.
    pub label: String,
    /// How many bytes of a file it carries.
    pub bytes: usize,
}

/// A process, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Whose.
    pub peer: usize,
    /// Which start.
    pub boot: u64,
    /// When it started, in nanoseconds.
    pub from: u64,
    /// When it ended, if it did.
    pub to: Option<u64>,
}

/// All of it.
#[derive(Debug)]
pub struct Tale {
    /// What happened, in order.
    pub turns: Vec<Turn>,
    /// What travelled, in the order in which it left.
    pub arrows: Vec<Arrow>,
    /// The processes.
    pub lives: Vec<Life>,
    /// What was stored.
    pub maps: Maps,
    /// The names of files, as far as peers told them.
    pub names: BTreeMap<NodeId, String>,
    /// What travels, by link, sending side and stream.
    on_its_way: BTreeMap<(usize, usize, Stream), VecDeque<usize>>,
}

impl Tale {
    /// Returns a tale in which nothing happened, of files in chunks of so many bytes.
    pub fn new(chunk_size: u32) -> Self {
        Self {
            turns: Vec::new(),
            arrows: Vec::new(),
            lives: Vec::new(),
            maps: Maps::new(chunk_size),
            names: BTreeMap::new(),
            on_its_way: BTreeMap::new(),
        }
    }

    /// An engine is given an event.
    pub(crate) fn event(&mut self, now: u64, peer: usize, event: &Event) {
        self.forget_idle_tick();
        if let Event::Said {
            message: Message::Registers(batch),
            ..
        } = event
        {
            for register in &batch.registers {
                if let Register::Entry(entry) = register {
                    let name = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
                    self.names.insert(entry.node, name);
                }
            }
        }
        let (topic, title) = words::event(event);
        self.turns.push(Turn {
            at: now,
            peer: Some(peer),
            between: None,
            until: None,
            what: Item {
                topic,
                title,
                text: format!("{:?}", show::event(event)),
            },
            then: Vec::new(),
        });
    }

    /// An engine wants something done.
    pub(crate) fn action(&mut self, now: u64, peer: usize, action: &Action) {
        let (topic, title) = words::action(action);
        let item = Item {
            topic,
            title,
            text: format!("{:?}", show::action(action)),
        };
        match self.turns.last_mut() {
            Some(turn) if turn.peer == Some(peer) && turn.at == now => turn.then.push(item),
            Some(_) | None => self.turns.push(Turn {
                at: now,
                peer: Some(peer),
                between: None,
                until: None,
                what: item,
                then: Vec::new(),
            }),
        }
        if let Action::Fetch { want, .. } = action {
            self.maps.mark(now, peer, *want, State::Asked);
        }
    }

    /// A tick that led to nothing says nothing.
    fn forget_idle_tick(&mut self) {
        if let Some(turn) = self.turns.last()
            && turn.then.is_empty()
            && turn.what.title == words::TICK
        {
            self.turns.pop();
        }
    }

    /// Something goes wrong, or heals.
    pub(crate) fn trouble(&mut self, now: u64, trouble: Trouble, title: impl Into<String>) {
        self.forget_idle_tick();
        let title = title.into();
        self.turns.push(Turn {
            at: now,
            peer: trouble.peer,
            between: trouble.between,
            until: trouble.until,
            what: Item {
                topic: Topic::Fault,
                text: title.clone(),
                title,
            },
            then: Vec::new(),
        });
    }

    /// A process starts.
    pub(crate) fn started(&mut self, now: u64, peer: usize, boot: u64) {
        self.lives.push(Life {
            peer,
            boot,
            from: now,
            to: None,
        });
        let trouble = Trouble {
            peer: Some(peer),
            ..Trouble::default()
        };
        self.trouble(now, trouble, format!("starts, boot {boot}"));
    }

    /// A process ends.
    pub(crate) fn ended(&mut self, now: u64, peer: usize, how: &str) {
        for life in self.lives.iter_mut().filter(|life| life.peer == peer) {
            life.to.get_or_insert(now);
        }
        self.maps.ended(now, peer, how == STOPS);
        let trouble = Trouble {
            peer: Some(peer),
            ..Trouble::default()
        };
        self.trouble(now, trouble, how);
    }

    /// A piece is put on its way.
    pub(crate) fn sent(
        &mut self,
        now: u64,
        ends: (usize, usize),
        place: (usize, usize, Stream),
        piece: &Piece,
    ) {
        let (label, bytes) = match piece {
            Piece::Said(message) => (words::message(message), 0),
            Piece::Closed => ("closes".to_owned(), 0),
            Piece::Lost => ("nothing".to_owned(), 0),
            Piece::Ask(_, want, ..) => (format!("chunk {}?", want.chunk.0), 0),
            Piece::Answer(_, Carried::Data(bytes, _)) => ("bytes".to_owned(), bytes.len()),
            Piece::Answer(_, Carried::Tail(bytes, _)) => ("last bytes".to_owned(), bytes.len()),
            Piece::Answer(_, Carried::Same) => ("the same".to_owned(), 0),
            Piece::Answer(_, Carried::Hole) => ("a hole".to_owned(), 0),
            Piece::Answer(_, Carried::Gone) => ("gone".to_owned(), 0),
            Piece::Answer(_, Carried::NotHeld) => ("not held".to_owned(), 0),
            Piece::Answer(_, Carried::Failed) => ("failed".to_owned(), 0),
        };
        let way = self.on_its_way.entry(place).or_default();
        way.push_back(self.arrows.len());
        self.arrows.push(Arrow {
            from: ends.0,
            to: ends.1,
            sent: now,
            ended: None,
            heard: false,
            link: place.0,
            lane: match place.2 {
                Stream::Control => None,
                Stream::Lane(_, lane) => Some(lane),
            },
            label,
            bytes,
        });
    }

    /// The oldest piece of a stream comes out of it, and is heard or lost.
    pub(crate) fn arrived(&mut self, now: u64, place: (usize, usize, Stream), heard: bool) {
        let arrow = self
            .on_its_way
            .get_mut(&place)
            .and_then(VecDeque::pop_front);
        if let Some(arrow) = arrow.and_then(|at| self.arrows.get_mut(at)) {
            arrow.ended = Some(now);
            arrow.heard = heard;
        }
    }
}

/// How a clean end is called.
pub(crate) const STOPS: &str = "stops cleanly";

/// Where a trouble stands, and for how long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) peer: Option<usize>,
    pub(crate) between: Option<(usize, usize)>,
    pub(crate) until: Option<u64>,
}
