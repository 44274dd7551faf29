//! Where facts go: the one way from the parts of a shell to its engine.

use tandem_core::event::Event;

/// Takes events, in the order in which it is given them, and returns soon: it may take the
/// engine's lock for a moment and queue actions, and never waits for a disk or a peer.
pub trait Sink: Send + Sync + 'static {
    /// Hands one event to the engine.
    fn event(&self, event: Event);
}
