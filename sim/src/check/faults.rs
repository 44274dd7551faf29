//! What the operator is told must have been caused: a fault that the simulator did not make is
//! a failure of the core.
//!
//! Law: a fault that is told at the moment at which it is met was made as often as it is told; of
//! one that is found later, as by who asks somebody else, that kind was made before.

use tandem_core::error::Fault;
use tandem_core::ids::PeerId;
use tandem_core::message::Refusal;

use super::{Failure, Verdict};

/// How often something was done to a peer, and how often its operator was told so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    done: u32,
    told: u32,
}

impl Tally {
    /// It was done once more.
    pub fn add(&mut self) {
        self.done += 1;
    }

    /// Tells whether it was ever done.
    pub fn any(self) -> bool {
        self.done > 0
    }

    /// The operator is told; returns whether there is a cause that was not told of.
    fn tell(&mut self) -> bool {
        self.told += 1;
        self.told <= self.done
    }
}

/// What was done to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caused {
    /// Jobs of its disk that failed.
    pub disk: Tally,
    /// A file of its store went bad, or its disk is gone for good: what fails then, it meets
    /// again and again.
    pub disk_for_good: bool,
    /// A job of the host's disk failed: whoever asks for what it holds may suffer.
    pub host_disk: bool,
    /// Commits that failed.
    pub commit: Tally,
    /// Chunks that were corrupted on their way.
    pub corrupt: Tally,
    /// A wire of it repeated itself.
    pub repeated: bool,
    /// A link of it was cut or stalled, or could not be dialled.
    pub link: bool,
    /// It ended without a word.
    pub crash: bool,
    /// Another that it talks to did.
    pub other_crash: bool,
    /// Its power failed.
    pub power: bool,
    /// The shared folder changed.
    pub edit: bool,
    /// A hostile peer came.
    pub hostile: bool,
    /// The host was asked to remove it.
    pub removed: bool,
}

impl Caused {
    /// Tells whether anything was done at all.
    pub fn anything(&self) -> bool {
        self.any_disk()
            || self.host_disk
            || self.commit.any()
            || self.corrupt.any()
            || self.repeated
            || self.link
            || self.crash
            || self.other_crash
            || self.power
            || self.edit
            || self.hostile
    }

    /// Tells whether its disk ever failed.
    pub fn any_disk(&self) -> bool {
        self.disk.any() || self.disk_for_good
    }

    /// Judges a fault; whatever is said of the hostile peer is deserved.
    pub fn explains(&mut self, fault: &Fault, hostile: Option<PeerId>) -> Verdict {
        let explained = match fault {
            // No simulated folder is as large as that.
            Fault::MuchMissing { .. } => false,
            Fault::Protocol { peer, .. }
            | Fault::Turned { peer, .. }
            | Fault::Forgot { peer, .. }
            | Fault::Refused { peer, .. }
                if Some(*peer) == hostile =>
            {
                true
            }
            // A peer that repeats itself does not keep to the protocol.
            Fault::Protocol { .. } => self.repeated,
            Fault::Forgot { .. } | Fault::HostForgot { .. } => false,
            Fault::Refused { why, .. } | Fault::Turned { why, .. } => match why {
                Refusal::Busy => self.link || self.crash || self.other_crash || self.repeated,
                Refusal::Broken => self.repeated,
                Refusal::Removed => self.removed,
                Refusal::NotPaired | Refusal::Protocol | Refusal::OtherFolder => false,
            },
            Fault::ChunkMissing { .. } => {
                self.link
                    || self.any_disk()
                    || self.host_disk
                    || self.corrupt.any()
                    || self.edit
                    || self.crash
                    || self.other_crash
            }
            Fault::ChunkCorrupt { .. } => self.corrupt.tell(),
            Fault::ChunkRotten { .. } => self.crash || self.power,
            Fault::Disk { .. } | Fault::Unreadable { .. } => self.disk.tell() || self.disk_for_good,
            Fault::Store { .. } => self.commit.tell(),
            Fault::Sidecar { .. } => self.crash || self.power,
            // A kill takes nothing that proves what was written.
            Fault::Draft { .. } => self.power,
        };
        if explained {
            Ok(())
        } else {
            let what = format!("a fault that nothing caused: {fault} ({self:?})");
            Err(Failure::safety("no fault without a cause", what))
        }
    }
}
