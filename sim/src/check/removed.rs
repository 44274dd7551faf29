//! Who was removed has no access any more: once that was answered, the host says nothing to it but
//! why, asks nothing of it and answers no ask of it, whatever happens to either machine.
//!
//! Law: judged by what leaves the host's engine.

use tandem_core::action::Action;
use tandem_core::ids::LinkId;
use tandem_core::message::Message;

use super::{Failure, Verdict};
use crate::world::{HOST, World};

impl World {
    /// Returns whether a link of the host leads to a peer that was removed: that it comes again, and
    /// is told so, goes on for ever.
    pub(crate) fn is_to_removed(&self, p: usize, link: LinkId) -> bool {
        let at = self.peers[p].links.get(&link);
        p == HOST && at.is_some_and(|at| self.ends_at_removed(*at))
    }

    fn ends_at_removed(&self, at: usize) -> bool {
        let ends = self.links.get(&at).map(|link| link.ends);
        let mut ends = ends.into_iter().flatten();
        ends.any(|end| Some(end.peer) == self.removed)
    }

    /// Judges what a peer's engine wants done.
    pub(crate) fn check_removed(&self, p: usize, action: &Action) -> Verdict {
        let Some(removed) = self.removed.filter(|_| p == HOST) else {
            return Ok(());
        };
        let is_answered = |ask| {
            let asked = self.peers[HOST].asks.get(ask);
            asked.is_some_and(|asked| self.ends_at_removed(asked.link))
        };
        let does = if let Action::Send { link, message } = action
            && !matches!(message, Message::Refused(_))
            && self.is_to_removed(p, *link)
        {
            "is spoken to"
        } else if let Action::Fetch { link, .. } = action
            && self.is_to_removed(p, *link)
        {
            "is asked for a chunk"
        } else if let Action::Answer { ask, .. } = action
            && is_answered(ask)
        {
            "is answered an ask"
        } else {
            return Ok(());
        };
        let what = format!("{} was removed, and {does}", self.peers[removed].name);
        Err(Failure::safety("access ends", what))
    }
}
