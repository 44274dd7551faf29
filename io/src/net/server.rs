//! The side that listens: it accepts connections, and serves one link on each.
//!
//! Law: nothing is served before a key is proven. Strangers are few and brief: at most
//! `GREETING_MAX` connections on which nobody was let in, each for `GREETING_DEADLINE`; one more
//! is dropped at once. Who was turned away counts until its connection has ended. A connection has one control stream, which is the link, and lanes only
//! beside it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tandem_core::event::Event;
use tandem_core::ids::PeerId;
use tandem_core::limits::GREETING_DEADLINE;
use tandem_proto::FRAME_BYTES_MAX;
use tandem_proto::v1::tandem_server::{Tandem, TandemServer};
use tandem_proto::v1::{Frame, LaneReply, LaneRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status, Streaming};

use super::asks::{self, Replies};
use super::bounds::{
    HEADERS_MAX, HTTP_FRAME, LISTENER_WINDOW, SEND_BUFFER, STREAM_WINDOW, STREAMS_MAX,
};
use super::cut::Cut;
use super::link::Link;
use super::transport::{Listener, Transport};
use super::{NetError, Shared, lanes, lock};

/// How long to wait after accepting has failed, which it does when descriptors run out: by eye,
/// long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`; returns the address with the port that was chosen.
pub(super) fn bind(
    transport: &dyn Transport,
    address: SocketAddr,
    runtime: &Handle,
) -> Result<(Box<dyn Listener>, SocketAddr), NetError> {
    let _context = runtime.enter();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enumeration is the standard library's, and grows"
    )]
    transport.bind(address).map_err(|why| match why.kind() {
        io::ErrorKind::AddrInUse => NetError::InUse(address),
        io::ErrorKind::AddrNotAvailable => NetError::NotHere(address),
        io::ErrorKind::PermissionDenied => NetError::Denied(address),
        _ => NetError::Listen { address, why },
    })
}

/// Accepts connections until the shell closes.
pub(super) async fn listen(shared: Arc<Shared>, mut listener: Box<dyn Listener>) {
    let accept = async {
        loop {
            let stream = match listener.accept().await {
                Ok(stream) => stream,
                Err(why) => {
                    tracing::warn!("accepting a connection failed: {why}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&shared.greeting).try_acquire_owned() else {
                tracing::debug!("too many strangers; a connection was dropped");
                continue;
            };
            shared.spawn(serve(Arc::clone(&shared), stream, permit));
        }
    };
    shared.closing.run_until_cancelled(accept).await;
}

/// Serves one connection, over any stream, to its end.
async fn serve<S>(shared: Arc<Shared>, stream: S, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let deadline = Instant::now() + GREETING_DEADLINE;
    let handshake = timeout_at(deadline, shared.tls.accept(stream));
    let (stream, peer) = match shared.closing.run_until_cancelled(handshake).await {
        Some(Ok(Ok(accepted))) => accepted,
        Some(Ok(Err(why))) => return tracing::debug!("a handshake failed: {why}"),
        Some(Err(_)) | None => return,
    };
    let stop = shared.stop.child_token();
    let greeted = CancellationToken::new();
    let link = Arc::new(Mutex::new(None));
    let serving = Serving {
        shared: Arc::clone(&shared),
        peer,
        stop: stop.clone(),
        greeted: greeted.clone(),
        link: Arc::clone(&link),
    };
    // A chunk that comes on a lane of the peer's fits too: those that we share have 512 KiB.
    let service = TandemServer::new(serving).max_decoding_message_size(FRAME_BYTES_MAX);
    let cut = Cut {
        stop: stop.child_token(),
        tasks: shared.tasks.clone(),
    };
    let connection = http2::Builder::new(cut.clone())
        // A date says nothing to a peer.
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(LISTENER_WINDOW)
        .max_frame_size(HTTP_FRAME)
        .max_header_list_size(HEADERS_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let silent = async {
        let greeted = timeout_at(deadline, greeted.cancelled());
        let stays = match shared.closing.run_until_cancelled(greeted).await {
            // From here on the engine's own deadlines hold.
            Some(greeted) => greeted.is_ok(),
            // The shell closes: a link ends by itself, and nothing else has a reason to stay.
            None => lock(&link).is_some(),
        };
        drop(permit);
        if stays {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = silent => tracing::debug!(%peer, "a connection was cut that said nothing"),
        ended = connection => {
            if let Err(why) = ended {
                tracing::debug!(%peer, "the connection broke: {why}");
            }
        }
    }
    // Not the link: its task first hears what arrived before the end.
    cut.stop.cancel();
}

/// What is said on a control stream.
type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

/// What is asked on a lane that the peer serves.
type Questions = Pin<Box<dyn Stream<Item = Result<LaneRequest, Status>> + Send>>;

/// One connection, as the service sees it.
struct Serving {
    shared: Arc<Shared>,
    peer: PeerId,
    /// Cuts the connection.
    stop: CancellationToken,
    /// Something was said, and the engine did not turn it away.
    greeted: CancellationToken,
    /// The control stream, once it is there.
    link: Arc<Mutex<Option<Arc<Link>>>>,
}

#[async_trait]
impl Tandem for Serving {
    type ControlStream = Frames;
    type LaneStream = Replies;
    type ServeStream = Questions;

    async fn control(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Frames>, Status> {
        let (link, said) = {
            let mut here = lock(&self.link);
            if here.is_some() {
                return Err(Status::already_exists(
                    "a connection has one control stream",
                ));
            }
            let (link, said) = Link::new(self.shared.draw_link(), self.stop.clone());
            if !self.shared.admit(&link) {
                return Err(Status::unavailable("closing"));
            }
            *here = Some(Arc::clone(&link));
            (link, said)
        };
        self.shared.tell(
            &link,
            Event::Accepted {
                link: link.id,
                peer: self.peer,
            },
        );
        let (shared, greeted) = (Arc::clone(&self.shared), self.greeted.clone());
        let mut inbound = request.into_inner();
        self.shared.spawn(async move {
            let why = link.hear(&shared, &mut inbound, || greeted.cancel()).await;
            link.end(&shared, why).await;
        });
        let said = UnboundedReceiverStream::new(said).map(|said| Ok(said.frame));
        Ok(Response::new(Box::pin(said)))
    }

    async fn lane(
        &self,
        request: Request<Streaming<LaneRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let link = lock(&self.link).clone();
        let Some(link) = link else {
            return Err(Status::failed_precondition("no control stream yet"));
        };
        asks::serve(&self.shared, &link, request.into_inner()).map(Response::new)
    }

    async fn serve(
        &self,
        request: Request<Streaming<LaneReply>>,
    ) -> Result<Response<Questions>, Status> {
        let link = lock(&self.link).clone();
        let Some(link) = link else {
            return Err(Status::failed_precondition("no control stream yet"));
        };
        let asked = lanes::served(&self.shared, &link, request.into_inner())?;
        let asked = UnboundedReceiverStream::new(asked).map(Ok);
        Ok(Response::new(Box::pin(asked)))
    }
}
