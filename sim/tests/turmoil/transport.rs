//! Turmoil's TCP as a transport: streams that a test delays, holds and cuts.
//!
//! Law: it adds nothing to turmoil but a count of the bytes that were written.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tandem_io::net::transport::{BoxBytes, Brought, Listener, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network of one host.
#[derive(Debug)]
pub(crate) struct Simulated {
    /// Bytes that this host wrote, over all its connections.
    pub(crate) written: Arc<AtomicU64>,
}

impl Simulated {
    fn counted(&self, stream: TcpStream) -> BoxBytes {
        let written = Arc::clone(&self.written);
        Box::new(Counted { stream, written })
    }
}

impl Transport for Simulated {
    fn bind(&self, address: SocketAddr) -> io::Result<(Box<dyn Listener>, SocketAddr)> {
        // It is a future by its type only.
        let binding = pin!(TcpListener::bind(address));
        let Poll::Ready(bound) = binding.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let listener = bound?;
        let address = listener.local_addr()?;
        let written = Arc::clone(&self.written);
        let network = Self { written };
        Ok((Box::new(Accepting { network, listener }), address))
    }

    fn connect(&self, address: SocketAddr) -> Brought<'_, BoxBytes> {
        Box::pin(async move { Ok(self.counted(TcpStream::connect(address).await?)) })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Brought<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(vec![SocketAddr::new(turmoil::lookup(host), port)]) })
    }
}

struct Accepting {
    network: Simulated,
    listener: TcpListener,
}

impl Listener for Accepting {
    fn accept(&mut self) -> Brought<'_, BoxBytes> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            Ok(self.network.counted(stream))
        })
    }
}

struct Counted {
    stream: TcpStream,
    written: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = wrote {
            self.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
