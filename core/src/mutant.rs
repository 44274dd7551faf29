//! Faults planted on purpose, one at a time: what the simulator's oracles must find, and so the
//! measure of what they see.
//!
//! Law: nothing of them is in a build without the feature `mutants`, which only the simulator's
//! feature of that name turns on; there every question for one is `false` to the compiler.

#[cfg(not(feature = "mutants"))]
use crate::engine::Engine;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A chunk that arrives marks the next one too, as a range set does that rounds outward.
    RangeOutward,
    /// A read that failed is answered as the end of the file.
    FailedReadIsEof,
    /// Chunks are marked durable before their bytes were synced.
    BitBeforeData,
    /// A chunk of a version that was superseded is stored as one of the version that is shown.
    ReplayedChunk,
    /// The sender's knowledge counts as ours before its snapshot is complete.
    KnowledgeEarly,
    /// Attempts are counted for ever: neither progress nor a new link starts them afresh.
    AttemptsNeverReset,
    /// The number of a handle that was closed is given again.
    HandleReused,
    /// A file goes to its place as complete without a sync of its bytes.
    RenameUnsynced,
    /// Attributes that a peer tells of a node that has some are dropped.
    NewsDropped,
    /// More bytes are asked for at once than the window of a link has.
    WindowIgnored,
    /// The kernel is not told that a name is gone.
    NameNotForgotten,
    /// What a start finds of a partial file is ignored.
    SidecarIgnored,
    /// What lies in the trash is not served any more once a peer comes back, though a program has
    /// it open there.
    LeaseDropped,
    /// A file is put under its name before it is on record that it is about to be.
    IntentAfterEffect,
    /// An edit made in the shared folder counts as made on the newest version that is known, not
    /// on the one that stood there.
    ParentNewest,
    /// All is said to be synced though no full replica holds what was made here.
    SyncedUnheld,
    /// All is said to be synced though peers have not acknowledged it.
    SyncedUnacked,
    /// A peer that was removed is let in when it comes again.
    RemovedLetIn,
    /// The oldest thing in the trash goes with each look, though its time is not over and there is room.
    TrashEmptied,
    /// Who wants a thing back gets the oldest one.
    OtherRestored,
    /// The id of a conflict copy depends on who shows it.
    CopyIdLocal,
    /// Updates are ordered by the clock on the wall.
    ClockOrder,
    /// A version is held beside one that was made knowing it.
    DominatedKept,
    /// Who settles a conflict ends what nobody has told him of, with what he throws away.
    SettledBlind,
    /// Who settles a conflict does not hold on to what he keeps.
    SettledLoosely,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::RangeOutward,
        Self::FailedReadIsEof,
        Self::BitBeforeData,
        Self::ReplayedChunk,
        Self::KnowledgeEarly,
        Self::AttemptsNeverReset,
        Self::HandleReused,
        Self::RenameUnsynced,
        Self::NewsDropped,
        Self::WindowIgnored,
        Self::NameNotForgotten,
        Self::SidecarIgnored,
        Self::LeaseDropped,
        Self::IntentAfterEffect,
        Self::ParentNewest,
        Self::SyncedUnheld,
        Self::SyncedUnacked,
        Self::RemovedLetIn,
        Self::TrashEmptied,
        Self::OtherRestored,
        Self::CopyIdLocal,
        Self::ClockOrder,
        Self::DominatedKept,
        Self::SettledBlind,
        Self::SettledLoosely,
    ];

    /// Returns whether only runs in which joiners write meet what it does: nothing is put into the
    /// shared folder in others.
    pub fn is_of_writing(self) -> bool {
        match self {
            Self::LeaseDropped
            | Self::IntentAfterEffect
            | Self::ParentNewest
            | Self::SyncedUnheld
            | Self::SyncedUnacked
            | Self::TrashEmptied
            | Self::OtherRestored
            | Self::CopyIdLocal
            | Self::ClockOrder
            | Self::DominatedKept
            | Self::SettledBlind
            | Self::SettledLoosely => true,
            Self::RangeOutward
            | Self::FailedReadIsEof
            | Self::BitBeforeData
            | Self::ReplayedChunk
            | Self::KnowledgeEarly
            | Self::AttemptsNeverReset
            | Self::HandleReused
            | Self::RenameUnsynced
            | Self::NewsDropped
            | Self::WindowIgnored
            | Self::NameNotForgotten
            | Self::SidecarIgnored
            | Self::RemovedLetIn => false,
        }
    }
}

impl Mutant {
    /// Returns whether only runs in which users settle conflicts meet what it does.
    pub fn is_of_settling(self) -> bool {
        matches!(self, Self::SettledBlind | Self::SettledLoosely)
    }
}

#[cfg(feature = "mutants")]
mod planted {
    extern crate std;

    use core::cell::Cell;

    use super::Mutant;
    use crate::edit::Edit;
    use crate::engine::Engine;
    use crate::event::{Event, FsCall};
    use crate::message::Role;

    std::thread_local! {
        // Rooms that are functions of what they are given know no engine: which fault is planted in the
        // one that is at work, and whether that shares the folder.
        static AT_WORK: Cell<(Option<Mutant>, bool)> = const { Cell::new((None, false)) };
    }

    /// Returns whether this fault is planted in the engine that is at work.
    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        AT_WORK.get().0 == Some(mutant)
    }

    /// Returns whether the engine that is at work shares the folder.
    pub(crate) fn is_host() -> bool {
        AT_WORK.get().1
    }

    impl Engine {
        /// Plants a fault, at the start.
        pub fn plant(&mut self, mutant: Mutant) {
            self.mutant = Some(mutant);
        }

        /// Returns whether this fault is planted here.
        pub(crate) fn has(&self, mutant: Mutant) -> bool {
            self.mutant == Some(mutant)
        }

        /// Returns the Lamport time of the next update, which is to be this.
        pub(crate) fn ordered(&self, next: u64) -> u64 {
            if self.has(Mutant::ClockOrder) && self.wall > 0 {
                return self.wall.unsigned_abs();
            }
            next
        }

        /// This engine is at work from now on, on this.
        pub(crate) fn at_work(&mut self, event: &Event) {
            AT_WORK.set((self.mutant, self.config.role == Role::Full));
            let Event::Fs {
                call: FsCall::Edit(edit),
                ..
            } = event
            else {
                return;
            };
            if let Edit::Create { making, .. } | Edit::Make { making, .. } = edit {
                self.wall = making.wall.secs;
            } else if let Edit::Write { wall, .. } = edit {
                self.wall = wall.secs;
            }
        }
    }
}

#[cfg(feature = "mutants")]
pub(crate) use planted::{is_host, is_planted};

#[cfg(not(feature = "mutants"))]
impl Engine {
    /// Returns that no fault is planted.
    #[inline]
    pub(crate) const fn has(&self, _mutant: Mutant) -> bool {
        false
    }

    /// Returns the Lamport time of the next update, which is to be this.
    #[inline]
    pub(crate) const fn ordered(&self, next: u64) -> u64 {
        next
    }

    /// This engine is at work from now on, on this.
    #[inline]
    pub(crate) const fn at_work(&mut self, _event: &crate::event::Event) {}
}

/// Returns that no fault is planted.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn is_planted(_mutant: Mutant) -> bool {
    false
}

/// Nobody asks.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn is_host() -> bool {
    false
}
