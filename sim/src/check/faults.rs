//! What the operator is told must have been caused: a fault that the simulator did not make is
//! a failure of the core.

use tandem_core::error::Fault;
use tandem_core::ids::PeerId;
use tandem_core::message::Refusal;

use super::{Failure, Verdict};

/// What was done to a peer, ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caused {
    /// A job of its disk failed.
    pub disk: bool,
    /// A commit failed.
    pub commit: bool,
    /// A chunk was corrupted on its way.
    pub corrupt: bool,
    /// A wire of it repeated itself.
    pub repeated: bool,
    /// A link of it was cut or stalled, or could not be dialled.
    pub link: bool,
    /// A process, it or one that it talks to, ended without a word.
    pub crash: bool,
    /// Its power failed.
    pub power: bool,
    /// The shared folder changed.
    pub edit: bool,
    /// A hostile peer came.
    pub hostile: bool,
}

impl Caused {
    /// Tells whether anything was done at all.
    pub fn anything(&self) -> bool {
        self.disk
            || self.commit
            || self.corrupt
            || self.repeated
            || self.link
            || self.crash
            || self.power
            || self.edit
            || self.hostile
    }

    /// Judges a fault; whatever is said of the hostile peer is deserved.
    pub fn explains(&self, fault: &Fault, hostile: Option<PeerId>) -> Verdict {
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
                Refusal::Busy => self.link || self.crash || self.repeated,
                Refusal::Broken => self.repeated,
                Refusal::NotPaired | Refusal::Protocol | Refusal::OtherFolder => false,
            },
            Fault::ChunkMissing { .. } => {
                self.link || self.disk || self.corrupt || self.edit || self.crash
            }
            Fault::ChunkCorrupt { .. } => self.corrupt,
            Fault::ChunkRotten { .. } => self.crash || self.power,
            Fault::Disk { .. } | Fault::Unreadable { .. } => self.disk,
            Fault::Store { .. } => self.commit,
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
