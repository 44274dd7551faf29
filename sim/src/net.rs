//! Links between peers: a control stream each way, and lanes for chunks.
//!
//! Law: a stream keeps its order; streams overtake each other. A cut loses what is on its way,
//! and each side learns of it when it does, or never, but by its own heartbeats. A stall delays
//! one direction and loses nothing. A lane can break while its link stays; a piece can come twice.

use std::collections::{BTreeMap, VecDeque};

use tandem_core::ids::{AskId, ChunkHash, FetchId, LinkId, NodeId};
use tandem_core::message::{Message, Want};

/// One side of a link.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Whose.
    pub peer: usize,
    /// In which of its starts.
    pub boot: u64,
    /// What it calls the link.
    pub id: LinkId,
    /// Whether it was told that the link is there.
    pub up: bool,
    /// Whether the other side has introduced itself on it.
    pub greeted: bool,
    /// Whether it was told that the link is gone, or closed it.
    pub over: bool,
}

/// Which stream of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Messages.
    Control,
    /// A lane of a file.
    Lane(NodeId, u32),
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A message.
    Said(Message),
    /// The sender closed the link.
    Closed,
    /// A chunk is asked for; whether it was asked for before, by a wire that repeats itself.
    Ask(FetchId, Want, u32, bool),
    /// A chunk, or why not.
    Answer(FetchId, Carried),
    /// What was on a lane when it broke.
    Lost,
}

/// An answer on the wire.
#[derive(Clone, Debug)]
pub enum Carried {
    /// Bytes, and the hash that the owner has on record.
    Data(Vec<u8>, ChunkHash),
    /// It is what the asker named.
    Same,
    /// It is zeros.
    Hole,
    /// Bytes behind those that the asker named, and the hash of the whole.
    Tail(Vec<u8>, ChunkHash),
    /// It is nowhere any more.
    Gone,
    /// The one asked does not have it.
    NotHeld,
    /// The one asked could not read it.
    Failed,
}

/// A connection. Side 0 dialled.
#[derive(Debug)]
pub struct Link {
    /// Its two sides.
    pub ends: [End; 2],
    /// Whether nothing travels any more.
    pub cut: bool,
    /// Until when what goes out from each side stands still.
    pub stalled: [u64; 2],
    /// What is on its way, by sending side and stream.
    pub queues: BTreeMap<(usize, Stream), VecDeque<Piece>>,
    /// When the last piece of a stream arrives.
    pub last: BTreeMap<(usize, Stream), u64>,
    /// Until when the wire is busy with earlier bytes.
    pub busy: [u64; 2],
    /// When the last piece of any stream arrives.
    latest: [u64; 2],
}

impl Link {
    /// Returns a link that is being dialled.
    pub fn new(ends: [End; 2]) -> Self {
        Self {
            ends,
            cut: false,
            stalled: [0; 2],
            queues: BTreeMap::new(),
            last: BTreeMap::new(),
            busy: [0; 2],
            latest: [0; 2],
        }
    }

    /// Returns which side has this name for the link.
    pub fn side(&self, peer: usize, id: LinkId) -> usize {
        usize::from(!(self.ends[0].peer == peer && self.ends[0].id == id))
    }

    /// Puts a piece on its way; returns when it arrives, if nothing comes between.
    pub fn send(&mut self, now: u64, from: usize, stream: Stream, piece: Piece, took: Took) -> u64 {
        let start = if took.bytes == 0 {
            now
        } else {
            let start = self.busy[from].max(now);
            self.busy[from] = start + took.bytes;
            self.busy[from]
        };
        let last = self.last.entry((from, stream)).or_default();
        let at = (start + took.latency).max(*last);
        *last = at;
        self.latest[from] = self.latest[from].max(at);
        let queue = self.queues.entry((from, stream)).or_default();
        queue.push_back(piece);
        at
    }

    /// Tells whether a piece that arrives at `at` overtakes one of another stream.
    pub fn is_overtaking(&self, from: usize, at: u64) -> bool {
        at < self.latest[from]
    }

    /// A lane breaks: what is on its way there is lost.
    pub fn lose(&mut self, lane: Stream) {
        let both = self
            .queues
            .iter_mut()
            .filter(|((_, stream), _)| *stream == lane);
        for piece in both.flat_map(|(_, queue)| queue) {
            *piece = Piece::Lost;
        }
    }

    /// Tells whether one of its sides still counts on it.
    pub fn matters(&self) -> bool {
        self.ends.iter().any(|end| !end.over)
    }
}

/// How long a piece takes.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From one end to the other.
    pub latency: u64,
    /// To put its bytes on the wire.
    pub bytes: u64,
}

/// A chunk that a peer was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// On which link.
    pub link: usize,
    /// The asker's name for it.
    pub fetch: FetchId,
    /// On which lane.
    pub stream: Stream,
    /// Which.
    pub want: Want,
    /// When.
    pub at: u64,
    /// Whether it was asked before, by a wire that repeats itself.
    pub again: bool,
}

/// The chunks that a peer was asked for and has not answered.
pub type Asks = BTreeMap<AskId, Asked>;
