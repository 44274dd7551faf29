//! The side that dialled: it opens the control stream, and lanes when chunks are wanted.
//!
//! Law: the engine hears of the connection as soon as the peer's key is proven, so that its hello
//! travels with the first request and costs no round trip.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tandem_core::event::{Event, LinkDown};
use tandem_core::ids::PeerId;
use tandem_core::limits::LANES;
use tandem_proto::v1::tandem_client::TandemClient;
use tandem_proto::{FRAME_BYTES_MAX, LANE_REPLY_BYTES_MAX};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};

use super::bounds::{
    DIALLER_WINDOW, HEADERS_MAX, HTTP_FRAME, OPEN_DEADLINE, SEND_BUFFER, STREAM_WINDOW,
};
use super::cut::Cut;
use super::link::{Link, Said};
use super::{Shared, asks, dial};

/// What calls the peer.
pub(super) type Client = TandemClient<Connection>;

/// Runs a link from its dialling to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    link: Arc<Link>,
    said: UnboundedReceiver<Said>,
    peer: PeerId,
) {
    let why = match link.unless_closed(dial::dial(&shared, peer)).await {
        Some(Ok(stream)) => talk(&shared, &link, said, stream).await,
        Some(Err(why)) => why,
        None => LinkDown::Lost,
    };
    link.end(&shared, why).await;
}

/// Speaks with a peer whose key is proven, over any stream; returns why it ended.
async fn talk<S>(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    said: UnboundedReceiver<Said>,
    stream: S,
) -> LinkDown
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let cut = Cut {
        stop: link.stop.clone(),
        tasks: link.tasks.clone(),
    };
    let handshake = http2::Builder::new(cut)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(DIALLER_WINDOW)
        .max_frame_size(HTTP_FRAME)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(stream));
    let Ok(Ok((requests, connection))) = timeout(OPEN_DEADLINE, handshake).await else {
        return LinkDown::Unreachable;
    };
    let (id, stop) = (link.id, link.stop.clone());
    link.tasks.spawn(async move {
        if let Some(Err(why)) = stop.run_until_cancelled(connection).await {
            tracing::debug!(link = %id, "the connection broke: {why}");
        }
    });

    // HTTP/2 wants a scheme and an authority; the peer is known by its key.
    let origin = Uri::from_static("https://tandem");
    let client = TandemClient::with_origin(Connection(requests), origin);
    link.lanes.ready(
        client
            .clone()
            .max_decoding_message_size(LANE_REPLY_BYTES_MAX),
    );
    shared.tell(link, Event::Dialled { link: id });

    let server = client.clone().max_decoding_message_size(FRAME_BYTES_MAX);
    let mut client = client.max_decoding_message_size(FRAME_BYTES_MAX);
    let control = client.control(UnboundedReceiverStream::new(said).map(|said| said.frame));
    let mut inbound = match timeout(OPEN_DEADLINE, control).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return link.why(&status),
        Err(_) => return LinkDown::Lost,
    };
    for _ in 0..LANES {
        let (shared, link, server) = (Arc::clone(shared), Arc::clone(link), server.clone());
        let tasks = link.tasks.clone();
        tasks.spawn(async move {
            let serving = asks::serve_back(&shared, &link, server);
            if link.stop.run_until_cancelled(serving).await.is_some() && !link.is_closed() {
                // A connection on which the peer can't ask is of no use to it.
                link.stop.cancel();
            }
        });
    }
    link.hear(shared, &mut inbound, || {}).await
}

/// One HTTP/2 connection, as tonic wants it: it never reconnects, since a link has one life.
#[derive(Clone, Debug)]
pub(super) struct Connection(SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
