//! Choices: all chance of a run, drawn from one seed.
//!
//! Law: every link, disk, application and planned event draws from a stream of its own, so that
//! taking one planned event away leaves all other draws as they were; that is what makes a
//! failing run shrink. (Choices made of bytes are the fuzzer's, who shrinks the bytes instead: all
//! streams draw from them, in the order of their draws.)

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

/// Whose stream of chance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The configuration.
    Config,
    /// The seed of an engine at one of its starts.
    Engine {
        /// Which peer.
        peer: usize,
        /// Which start.
        boot: u64,
    },
    /// What happens on the wires of a peer.
    Net(usize),
    /// The disk of a peer.
    Disk(usize),
    /// What a crash leaves of a disk.
    Crash {
        /// Which peer.
        peer: usize,
        /// Which start ended.
        boot: u64,
    },
    /// One thread of applications on a mount.
    User {
        /// On whose mount.
        peer: usize,
        /// Which thread.
        thread: usize,
    },
    /// The first content of the folder.
    Folder,
    /// A planned event.
    Planned(u32),
    /// When an aimed event strikes.
    Aim(u32),
    /// Small delays of a peer's shell.
    Shell(usize),
    /// How a peer's clocks are set.
    Clock(usize),
}

/// The seed of a run, and which of its planned events are switched off.
#[derive(Clone, Debug)]
pub struct Choices {
    seed: u64,
    tape: Option<Tape>,
    off: BTreeSet<u32>,
    fired: Vec<u32>,
}

impl Choices {
    /// Returns the choices of this seed, all switched on.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            tape: None,
            off: BTreeSet::new(),
            fired: Vec::new(),
        }
    }

    /// Returns the choices that these bytes make: each draw takes the next of them as its upper
    /// eight bits, and the lower ones from its stream of the seed 0. When the bytes have run out,
    /// everything comes from there.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let tape = Tape(Rc::new(RefCell::new(bytes.iter().copied().collect())));
        Self {
            tape: Some(tape),
            ..Self::new(0)
        }
    }

    /// Switches planned events off.
    pub fn without(mut self, off: impl IntoIterator<Item = u32>) -> Self {
        self.off.extend(off);
        self
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the stream of this key, from its start.
    pub fn stream(&self, key: Key) -> Chance {
        let (kind, a, b) = match key {
            Key::Config => (1, 0, 0),
            Key::Engine { peer, boot } => (2, peer as u64, boot),
            Key::Net(peer) => (3, peer as u64, 0),
            Key::Disk(peer) => (4, peer as u64, 0),
            Key::Crash { peer, boot } => (5, peer as u64, boot),
            Key::User { peer, thread } => (6, peer as u64, thread as u64),
            Key::Folder => (7, 0, 0),
            Key::Planned(n) => (8, u64::from(n), 0),
            Key::Shell(peer) => (9, peer as u64, 0),
            Key::Aim(n) => (10, u64::from(n), 0),
            Key::Clock(peer) => (11, peer as u64, 0),
        };
        let mut state = self.seed;
        for part in [kind, a, b] {
            state = mix(state ^ mix(part));
        }
        let tape = self.tape.clone();
        Chance { state, tape }
    }

    /// Tells whether a planned event is to happen, and notes that it did.
    pub fn fire(&mut self, planned: u32) -> bool {
        let on = !self.off.contains(&planned);
        if on {
            self.fired.push(planned);
        }
        on
    }

    /// Returns the planned events that happened, in order.
    pub fn fired(&self) -> &[u32] {
        &self.fired
    }
}

/// Bytes that stand for draws, shared by all streams.
#[derive(Clone, Debug)]
struct Tape(Rc<RefCell<VecDeque<u8>>>);

/// A stream of chance: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
    tape: Option<Tape>,
}

impl Chance {
    /// Draws 64 bits.
    pub fn bits(&mut self) -> u64 {
        let drawn = self.noise();
        match self.tape.as_ref().and_then(Tape::next) {
            Some(byte) => u64::from(byte) << 56 | drawn >> 8,
            None => drawn,
        }
    }

    /// Draws 64 bits that decide nothing.
    fn noise(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Draws a number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Draws an index into something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Draws a number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Draws something that happens `permille` times in a thousand.
    pub fn often(&mut self, permille: u32) -> bool {
        self.below(1000) < u64::from(permille)
    }

    /// Draws how much of something survives: often all of it, often nothing, else any part.
    pub fn part(&mut self, whole: usize) -> usize {
        match self.below(5) {
            0 | 1 => whole,
            2 => 0,
            _ => self.index(whole + 1),
        }
    }

    /// Draws one of a few.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    /// Draws a few of what `all` has a bit for, at least one of them; half the time all.
    pub fn some_of(&mut self, all: u16) -> u16 {
        let drawn = u16::try_from(self.bits() >> 48).unwrap_or(0) & all;
        if drawn == 0 || self.often(500) {
            all
        } else {
            drawn
        }
    }

    /// Draws a delay around `typical`: mostly near it, one time in twenty much longer.
    pub fn delay(&mut self, typical: u64) -> u64 {
        let base = self.between(typical / 2, typical + typical / 2);
        if self.often(50) { base * 8 } else { base }
    }

    /// Returns that many bytes that occur nowhere else; none is zero.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.noise().to_le_bytes().map(|byte| byte | 1));
        }
        bytes.truncate(len);
        bytes
    }
}

impl Tape {
    fn next(&self) -> Option<u8> {
        self.0.borrow_mut().pop_front()
    }
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeat() {
        let choices = Choices::new(7);
        let draw = |key| choices.stream(key).bits();
        assert_eq!(draw(Key::Net(0)), draw(Key::Net(0)));
        assert_ne!(draw(Key::Net(0)), draw(Key::Net(1)));
        assert_ne!(draw(Key::Net(0)), draw(Key::Disk(0)));
    }

    #[test]
    fn bytes_decide_while_they_last() {
        let choices = Choices::of_bytes(&[0xff, 0, 0x80]);
        let (mut net, mut disk) = (choices.stream(Key::Net(0)), choices.stream(Key::Disk(0)));
        assert_eq!((net.below(10), disk.below(10), net.below(10)), (9, 0, 5));
        let mut fallback = Choices::new(0).stream(Key::Disk(0));
        fallback.bits();
        assert_eq!(disk.bits(), fallback.bits());
    }

    #[test]
    fn what_is_switched_off_does_not_fire() {
        let mut choices = Choices::new(7).without([2]);
        assert!(choices.fire(1));
        assert!(!choices.fire(2));
        assert_eq!(choices.fired(), [1]);
    }
}
