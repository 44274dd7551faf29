//! Reaching a peer: all of its addresses are raced, and the first that proves the peer's key wins
//! (S23).
//!
//! Law: an address that is silent delays the next one by a moment and never more (the idea of
//! RFC 8305, with the TLS handshake in place of the TCP one). Some other key at an address is no
//! reason to give up the others; it is what is reported if they all fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tandem_core::event::LinkDown;
use tandem_core::ids::PeerId;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::Shared;
use super::address::Address;
use super::bounds::{DIAL_DEADLINE, DIAL_STAGGER};
use super::tls::ConnectError;
use super::transport::BoxBytes;

/// Connects to `peer`, wherever it is known to be.
pub(super) async fn dial(
    shared: &Arc<Shared>,
    peer: PeerId,
) -> Result<TlsStream<BoxBytes>, LinkDown> {
    let addresses = shared.addresses.get(&peer).map_or(&[][..], Vec::as_slice);
    let mut wrong_key = false;
    let race = race(shared, peer, addresses, &mut wrong_key);
    match timeout(DIAL_DEADLINE, race).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) | Err(_) if wrong_key => Err(LinkDown::WrongKey),
        Ok(None) | Err(_) => Err(LinkDown::Unreachable),
    }
}

/// One thing to try.
enum Try {
    /// Look a name up.
    Name(Address),
    /// Connect.
    Socket(SocketAddr),
}

/// What came of it.
enum Tried {
    /// A name has these addresses.
    Named(Vec<SocketAddr>),
    /// The peer is there.
    Connected(Box<TlsStream<BoxBytes>>),
    /// Somebody else is.
    WrongKey,
    /// Nobody is.
    Failed,
}

async fn race(
    shared: &Arc<Shared>,
    peer: PeerId,
    addresses: &[Address],
    wrong_key: &mut bool,
) -> Option<TlsStream<BoxBytes>> {
    let mut waiting: VecDeque<Try> = addresses
        .iter()
        .map(|address| match address.socket() {
            Some(socket) => Try::Socket(socket),
            None => Try::Name(address.clone()),
        })
        .collect();
    let mut running = JoinSet::new();
    loop {
        if let Some(next) = waiting.pop_front() {
            running.spawn(attempt(Arc::clone(shared), peer, next));
        }
        let ended = tokio::select! {
            biased;
            ended = running.join_next() => ended?,
            () = sleep(DIAL_STAGGER), if !waiting.is_empty() => continue,
        };
        match ended.unwrap_or(Tried::Failed) {
            Tried::Named(sockets) => {
                for socket in sockets.into_iter().rev() {
                    waiting.push_front(Try::Socket(socket));
                }
            }
            Tried::Connected(stream) => return Some(*stream),
            Tried::WrongKey => *wrong_key = true,
            Tried::Failed => {}
        }
    }
}

async fn attempt(shared: Arc<Shared>, peer: PeerId, what: Try) -> Tried {
    match what {
        Try::Name(address) => {
            let resolved = shared.transport.resolve(address.host(), address.port());
            match resolved.await {
                Ok(sockets) => Tried::Named(sockets),
                Err(why) => {
                    tracing::debug!(%address, "no such host: {why}");
                    Tried::Failed
                }
            }
        }
        Try::Socket(socket) => match connect(&shared, peer, socket).await {
            Ok(stream) => Tried::Connected(Box::new(stream)),
            Err(ConnectError::WrongKey) => {
                tracing::debug!(%socket, "whoever answers is not {peer}");
                Tried::WrongKey
            }
            Err(ConnectError::Io(why)) => {
                tracing::debug!(%socket, "could not connect: {why}");
                Tried::Failed
            }
        },
    }
}

async fn connect(
    shared: &Shared,
    peer: PeerId,
    socket: SocketAddr,
) -> Result<TlsStream<BoxBytes>, ConnectError> {
    let stream = shared.transport.connect(socket).await?;
    shared.tls.connect(stream, peer).await
}
