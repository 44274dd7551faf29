//! Lanes on which we are asked: what peers ask of us and is not answered.
//!
//! Law: an ask is answered once, on the lane it came on, or forgotten with its link; its payload
//! is used up either way. A peer that does not take its answers is not read from.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tandem_core::event::Event;
use tandem_core::ids::{AskId, LinkId};
use tandem_core::message::Answer;
use tandem_proto::codec::is_garbled;
use tandem_proto::lane::{LaneAnswer, LaneAsk, LaneReply};
use tandem_proto::v1;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::client::Client;
use super::link::Link;
use super::{Shared, lock};
use crate::payload::Payloads;

/// The asks that are not answered, of all links.
#[derive(Default)]
pub(super) struct Asks {
    next: AtomicU64,
    open: Mutex<BTreeMap<AskId, Open>>,
}

/// One of them.
struct Open {
    link: LinkId,
    request: u64,
    replies: UnboundedSender<Reply>,
    permit: OwnedSemaphorePermit,
}

/// An answer on its way to the network; its permit comes free when it is taken from the queue.
struct Reply {
    answer: LaneAnswer,
    _permit: OwnedSemaphorePermit,
}

/// The answers of a lane.
pub(super) type Replies = Pin<Box<dyn Stream<Item = Result<v1::LaneReply, Status>> + Send>>;

impl Asks {
    fn open(&self, open: Open) -> AskId {
        let ask = AskId(self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.open).insert(ask, open);
        ask
    }

    /// Answers an ask, if anybody waits for it.
    pub(super) fn answer(&self, ask: AskId, answer: Answer, payloads: &Payloads) {
        let open = lock(&self.open).remove(&ask);
        let reply = match answer {
            Answer::Data { hash, payload } => match payloads.take(payload) {
                Some(data) => LaneReply::Data { hash, data },
                None => {
                    tracing::error!("{payload} was used up before it could answer {ask}");
                    LaneReply::Failed
                }
            },
            Answer::Tail {
                hash,
                payload,
                skip,
            } => match payloads.take(payload) {
                Some(data) => LaneReply::Tail {
                    hash,
                    data: behind(&data, skip),
                },
                None => {
                    tracing::error!("{payload} was used up before it could answer {ask}");
                    LaneReply::Failed
                }
            },
            Answer::Same => LaneReply::Same,
            Answer::Hole => LaneReply::Hole,
            Answer::Gone => LaneReply::Gone,
            Answer::NotHeld => LaneReply::NotHeld,
            Answer::Failed => LaneReply::Failed,
        };
        if let Some(open) = open {
            let request = open.request;
            // It fails only if the lane is gone, and then nobody waits.
            let _ = open.replies.send(Reply {
                answer: LaneAnswer { request, reply },
                _permit: open.permit,
            });
        }
    }

    /// Forgets what was asked on a link that has ended.
    pub(super) fn forget(&self, link: LinkId) {
        lock(&self.open).retain(|_, open| open.link != link);
    }
}

/// Serves a lane of a link; returns its answers. The lane is refused when the link is ending.
pub(super) fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    requests: Streaming<v1::LaneRequest>,
) -> Result<Replies, Status> {
    // The token first: a link that ends waits for it, or has ended by now.
    let token = link.tasks.token();
    if link.stop.is_cancelled() {
        return Err(Status::unavailable("the link is ending"));
    }
    let (replies, answers) = unbounded_channel();
    let (shared, link) = (Arc::clone(shared), Arc::clone(link));
    tokio::spawn(async move {
        let _token = token;
        let stop = link.stop.clone();
        stop.run_until_cancelled(take(&shared, &link, requests, &replies))
            .await;
    });
    let answers = UnboundedReceiverStream::new(answers);
    Ok(Box::pin(
        answers.map(|reply: Reply| Ok(reply.answer.into())),
    ))
}

/// Serves a lane that we opened for the peer, to its end: what it asks comes with the response to
/// what `open` sends our answers with.
pub(super) async fn serve_back(shared: &Shared, link: &Link, mut client: Client) {
    let (replies, answers) = unbounded_channel();
    let answers = UnboundedReceiverStream::new(answers).map(|reply: Reply| reply.answer.into());
    match client.serve(answers).await {
        Ok(requests) => take(shared, link, requests.into_inner(), &replies).await,
        Err(status) => {
            tracing::debug!(link = %link.id, "the peer does not ask on a lane of its own: {status}");
        }
    }
}

/// Takes asks until there are no more.
async fn take(
    shared: &Shared,
    link: &Link,
    mut requests: Streaming<v1::LaneRequest>,
    replies: &UnboundedSender<Reply>,
) {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) if is_garbled(&status) => return link.garble(&status),
            Err(status) => {
                tracing::debug!(link = %link.id, "a lane broke: {status}");
                return;
            }
        };
        let LaneAsk { request, want, len } = match LaneAsk::try_from(request) {
            Ok(ask) => ask,
            Err(error) => return link.garble(&error),
        };
        let Ok(permit) = Arc::clone(&link.asks).acquire_owned().await else {
            return;
        };
        let ask = shared.asks.open(Open {
            link: link.id,
            request,
            replies: replies.clone(),
            permit,
        });
        let link_id = link.id;
        shared.tell(
            link,
            Event::Asked {
                link: link_id,
                ask,
                want,
                len,
            },
        );
    }
}

/// Returns the bytes behind the first `skip`, uncopied.
fn behind(data: &Bytes, skip: u32) -> Bytes {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    data.slice(skip.min(data.len())..)
}
