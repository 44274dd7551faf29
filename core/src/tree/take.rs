//! How a register is taken in: refused, known, or held in place of what it supersedes.
//!
//! Law: what is refused or known changes nothing.

use alloc::vec::Vec;

use crate::ids::Arrival;
use crate::limits::{ENTRIES_PER_NODE_MAX, SIBLINGS_MAX};
use crate::mutant::{Mutant, is_planted};
use crate::tree::invariant;
use crate::tree::register::{Attrs, Content, Digest, Entry, Kind, Register, RegisterKey, Stamp};
use crate::tree::store::{Applied, EntryIx, Held, HeldEntry, Ix, Registers, Slot, kind_of};

impl Registers {
    pub(super) fn take(&mut self, arrival: Arrival, register: Register) -> Applied {
        if let Err(broken) = invariant::hold(&register) {
            return Applied::Refused(broken);
        }
        let Stamp { lamport, dot } = register.stamp();
        let applied = match register {
            Register::Entry(entry) => self.take_entry(arrival, entry),
            Register::Attrs(attrs) => self.take_attrs(arrival, attrs),
            Register::Content(content) => self.take_content(arrival, content),
            Register::Digest(digest) => self.take_digest(arrival, digest),
        };
        if let Applied::Stored { .. } = applied {
            self.last = self.last.max(arrival);
            self.lamport = self.lamport.max(lamport);
            self.latest.cover(dot);
        }
        applied
    }

    fn take_entry(&mut self, arrival: Arrival, entry: Entry) -> Applied {
        // A move that closes a cycle leads back there.
        let previous = entry.previous.as_ref().map(|(parent, _)| *parent);
        if let Some(&ix) = self.entry_ids.get(&entry.id) {
            let held = &self.entries[ix.0].register;
            if held.node != entry.node {
                return Applied::Refused("an entry names another node than before");
            }
            if entry.stamp <= held.stamp {
                return Applied::Known;
            }
            let parent = self.intern(entry.parent);
            previous.map(|parent| self.intern(parent));
            let held = &mut self.entries[ix.0];
            self.arrivals.remove(&held.arrival);
            self.holes.insert((arrival, held.arrival));
            self.cells[held.parent.0].kids -= 1;
            held.arrival = arrival;
            held.register = entry;
            held.parent = parent;
            self.cells[parent.0].kids += 1;
            return self.stored(arrival, Slot::Entry(ix), Vec::new());
        }
        let node = self.intern(entry.node);
        if self.cells[node.0].entries.len() >= ENTRIES_PER_NODE_MAX {
            return Applied::Refused("a node has more names than allowed");
        }
        let parent = self.intern(entry.parent);
        previous.map(|parent| self.intern(parent));
        let id = entry.id;
        let ix = EntryIx(self.entries.push(HeldEntry {
            arrival,
            register: entry,
            parent,
        }));
        self.entry_ids.insert(id, ix);
        self.cells[parent.0].kids += 1;
        let at = self.cells[node.0]
            .entries
            .partition_point(|other| self.entries[other.0].register.id < id);
        insert_exact(&mut self.cells[node.0].entries, at, ix);
        self.stored(arrival, Slot::Entry(ix), Vec::new())
    }

    fn take_attrs(&mut self, arrival: Arrival, attrs: Attrs) -> Applied {
        let ix = self.intern(attrs.node);
        if self.kind(ix).is_some_and(|kind| kind != attrs.kind) {
            return Applied::Refused("the kind of a node changed");
        }
        let cell = &mut self.cells[ix.0];
        if let Some(held) = &cell.attrs {
            if attrs.stamp <= held.register.stamp {
                return Applied::Known;
            }
            self.arrivals.remove(&held.arrival);
            self.holes.insert((arrival, held.arrival));
        }
        cell.attrs = Some(Held {
            arrival,
            register: attrs,
        });
        self.stored(arrival, Slot::Attrs(ix), Vec::new())
    }

    fn take_content(&mut self, arrival: Arrival, content: Content) -> Applied {
        let ix = self.intern(content.node);
        if self
            .kind(ix)
            .is_some_and(|kind| kind != kind_of(&content.body))
        {
            return Applied::Refused("the kind of a node changed");
        }
        let dot = content.stamp.dot;
        let cell = &mut self.cells[ix.0];
        let is_checked = !is_planted(Mutant::DominatedKept);
        let known = |held: &Held<Content>| {
            held.register.stamp.dot == dot || (is_checked && held.register.supersedes(dot))
        };
        if cell.contents.iter().any(known) {
            return Applied::Known;
        }
        let supersedes = |version| is_checked && content.supersedes(version);
        let superseded = |held: &&Held<Content>| supersedes(held.register.stamp.dot);
        let left = cell.contents.len() - cell.contents.iter().filter(superseded).count();
        if left >= SIBLINGS_MAX {
            return Applied::Refused("a file has more versions side by side than allowed");
        }

        let mut replaced = Vec::new();
        for held in &cell.contents {
            self.siblings.remove(&(held.register.stamp.dot, cell.id));
        }
        let arrivals = &mut self.arrivals;
        let holes = &mut self.holes;
        cell.contents.retain(|held| {
            let gone = supersedes(held.register.stamp.dot);
            if gone {
                arrivals.remove(&held.arrival);
                holes.insert((arrival, held.arrival));
                replaced.push(RegisterKey::Content(held.register.object()));
            }
            !gone
        });
        cell.digests.retain(|held| {
            let gone = supersedes(held.register.object.version);
            if gone {
                arrivals.remove(&held.arrival);
                holes.insert((arrival, held.arrival));
                replaced.push(RegisterKey::Digest(held.register.object));
            }
            !gone
        });
        let at = cell
            .contents
            .partition_point(|held| held.register.stamp > content.stamp);
        let held = Held {
            arrival,
            register: content,
        };
        insert_exact(&mut cell.contents, at, held);
        if cell.contents.len() > 1 {
            for held in &cell.contents {
                self.siblings.insert((held.register.stamp.dot, cell.id));
            }
        }
        self.stored(arrival, Slot::Content(ix), replaced)
    }

    fn take_digest(&mut self, arrival: Arrival, digest: Digest) -> Applied {
        let ix = self.intern(digest.object.node);
        let cell = &mut self.cells[ix.0];
        let version = digest.object.version;
        let supersedes = |held: &Held<Content>| held.register.supersedes(version);
        if cell.contents.iter().any(supersedes) {
            return Applied::Known;
        }
        let same = |held: &&mut Held<Digest>| held.register.object == digest.object;
        if let Some(held) = cell.digests.iter_mut().find(same) {
            if digest.stamp <= held.register.stamp {
                return Applied::Known;
            }
            self.arrivals.remove(&held.arrival);
            self.holes.insert((arrival, held.arrival));
            *held = Held {
                arrival,
                register: digest,
            };
        } else {
            // As many again as there may be versions: a digest may come before its version.
            if cell.digests.len() >= 2 * SIBLINGS_MAX {
                return Applied::Refused("a file has more digests than allowed");
            }
            let held = Held {
                arrival,
                register: digest,
            };
            insert_exact(&mut cell.digests, 0, held);
        }
        self.stored(arrival, Slot::Digest(ix), Vec::new())
    }

    fn stored(&mut self, arrival: Arrival, slot: Slot, replaced: Vec<RegisterKey>) -> Applied {
        self.arrivals.insert(arrival, slot);
        Applied::Stored { arrival, replaced }
    }

    /// Returns what a node is, as far as its registers tell.
    fn kind(&self, ix: Ix) -> Option<Kind> {
        let cell = &self.cells[ix.0];
        let told = cell.attrs.as_ref().map(|held| held.register.kind);
        told.or_else(|| Some(kind_of(&cell.contents.first()?.register.body)))
    }
}

/// Inserts, and takes no more memory than that: almost all nodes have one of each register.
fn insert_exact<T>(list: &mut Vec<T>, at: usize, value: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.insert(at, value);
}
