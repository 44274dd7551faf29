//! A link: one connection with a peer, from its dialling or accepting to its end.
//!
//! Law: its task ends last, after every lane's, and only then is the link down. A link that was
//! closed says nothing more, and gets rid of what was said on it before it goes. A peer that does
//! not take what is said to it is not listened to.

use std::sync::{Arc, Mutex};

use tandem_core::event::{Event, LinkDown};
use tandem_core::ids::LinkId;
use tandem_core::limits::ASKS_PER_LINK_MAX;
use tandem_core::message::Message;
use tandem_proto::codec::is_garbled;
use tandem_proto::v1::Frame;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use super::bounds::{CLOSE_DEADLINE, SAID_MAX};
use super::lanes::Lanes;
use super::{Shared, lock};

/// A frame on its way to the network; its permit comes free when it is taken from the queue.
pub(super) struct Said {
    pub(super) frame: Frame,
    _room: Option<OwnedSemaphorePermit>,
}

/// One connection with a peer.
pub(super) struct Link {
    pub(super) id: LinkId,
    /// Where frames go; nowhere once it is closed. The engine bounds what it says by itself, and
    /// `room` what it answers.
    out: Mutex<Option<UnboundedSender<Said>>>,
    /// A permit for each frame that is in `out`, as far as there are any.
    room: Arc<Semaphore>,
    /// The lanes on which we ask.
    pub(super) lanes: Lanes,
    /// A permit for each ask of the peer whose answer is not yet on its way.
    pub(super) asks: Arc<Semaphore>,
    /// The engine wants it to end.
    closing: CancellationToken,
    /// The peer broke a rule on a lane.
    garbled: CancellationToken,
    /// Cuts the connection, and all that runs on it.
    pub(super) stop: CancellationToken,
    /// What runs on it, apart from its own task.
    pub(super) tasks: TaskTracker,
}

impl Link {
    /// Returns a link that `stop` cuts, and where what is said on it comes out.
    pub(super) fn new(id: LinkId, stop: CancellationToken) -> (Arc<Self>, UnboundedReceiver<Said>) {
        let (out, said) = unbounded_channel();
        let link = Self {
            id,
            out: Mutex::new(Some(out)),
            room: Arc::new(Semaphore::new(SAID_MAX)),
            lanes: Lanes::default(),
            asks: Arc::new(Semaphore::new(ASKS_PER_LINK_MAX)),
            closing: stop.child_token(),
            garbled: CancellationToken::new(),
            stop,
            tasks: TaskTracker::new(),
        };
        (Arc::new(link), said)
    }

    /// Puts a message behind those said before.
    pub(super) fn say(&self, message: &Message) {
        let frame = Frame::from(message);
        if let Some(out) = &*lock(&self.out) {
            // It fails only if the stream is gone, and then the link is about to be.
            let _ = out.send(Said {
                frame,
                _room: Arc::clone(&self.room).try_acquire_owned().ok(),
            });
        }
    }

    /// Begins to end it: nothing more is said or heard.
    pub(super) fn close(&self) {
        self.closing.cancel();
        lock(&self.out).take();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Returns the result of `future`, or nothing once the link is closed.
    pub(super) async fn unless_closed<F: Future>(&self, future: F) -> Option<F::Output> {
        self.closing.run_until_cancelled(future).await
    }

    /// Ends the link since the peer broke a rule.
    pub(super) fn garble(&self, what: &dyn std::fmt::Display) {
        tracing::warn!(link = %self.id, "the peer broke the protocol: {what}");
        self.garbled.cancel();
    }

    /// Hears what the peer says until there is no more; returns why. Calls `first` after the first
    /// thing that was said, if the engine then lets the link stand.
    pub(super) async fn hear(
        &self,
        shared: &Shared,
        inbound: &mut Streaming<Frame>,
        first: impl FnOnce(),
    ) -> LinkDown {
        let mut first = Some(first);
        loop {
            let heard = tokio::select! {
                biased;
                () = self.closing.cancelled() => {
                    self.drain(inbound).await;
                    return LinkDown::Lost;
                }
                () = self.garbled.cancelled() => return LinkDown::Garbled,
                heard = self.hear_one(inbound) => heard,
            };
            let frame = match heard {
                Ok(Some(frame)) => frame,
                Ok(None) => return LinkDown::Lost,
                Err(status) => return self.why(&status),
            };
            match Message::try_from(frame) {
                Ok(message) => {
                    let link = self.id;
                    shared.tell(self, Event::Said { link, message });
                    if let Some(first) = first.take_if(|_| !self.is_closed()) {
                        first();
                    }
                }
                Err(error) => {
                    self.garble(&error);
                    return LinkDown::Garbled;
                }
            }
        }
    }

    /// Hears one frame, once there is room for what it may have us answer.
    async fn hear_one(&self, inbound: &mut Streaming<Frame>) -> Result<Option<Frame>, Status> {
        // Never closed: it can't fail.
        drop(self.room.acquire().await);
        inbound.message().await
    }

    /// Waits until the peer has ended its side too, and so has had all that was said.
    async fn drain(&self, inbound: &mut Streaming<Frame>) {
        let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
        if timeout(CLOSE_DEADLINE, ended).await.is_err() {
            tracing::debug!(link = %self.id, "the peer did not close in time and was cut");
        }
    }

    /// Returns why a stream of this link ended with `status`.
    pub(super) fn why(&self, status: &Status) -> LinkDown {
        if is_garbled(status) {
            self.garble(status);
            LinkDown::Garbled
        } else {
            tracing::debug!(link = %self.id, "the connection broke: {status}");
            LinkDown::Lost
        }
    }

    /// Ends it, with all that runs on it, and says so unless it was closed.
    pub(super) async fn end(&self, shared: &Shared, why: LinkDown) {
        let ours = shared.links().remove(&self.id).is_some();
        lock(&self.out).take();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        shared.asks.forget(self.id);
        if ours {
            let link = self.id;
            shared.sink.event(Event::LinkDown { link, why });
        }
    }
}
