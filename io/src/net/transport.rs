//! Where byte streams come from: TCP of this machine, or a network that a test makes up.
//!
//! Law: a transport moves bytes in order or ends the stream; it knows nothing of keys, peers or
//! what is said. All that is above it, from TLS on, is the same code on every transport.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::bounds::{BACKLOG, NAME_ADDRESSES_MAX};

/// A stream of bytes in both directions.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}

/// A stream of some transport.
pub type BoxBytes = Box<dyn Bytes>;

/// What a transport brings in its time.
pub type Brought<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Makes streams to other machines, and takes those that they make.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Listens on `address`; returns the address with the port that was chosen. Called inside of
    /// the runtime that will accept.
    ///
    /// # Errors
    /// When the address is in use, not here or not permitted, by the error's kind.
    fn bind(&self, address: SocketAddr) -> io::Result<(Box<dyn Listener>, SocketAddr)>;

    /// Connects to `address`.
    fn connect(&self, address: SocketAddr) -> Brought<'_, BoxBytes>;

    /// Returns some addresses of a host's name.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Brought<'a, Vec<SocketAddr>>;
}

/// Takes streams that others make.
pub trait Listener: Send {
    /// Waits for the next one. Dropping the future loses none.
    fn accept(&mut self) -> Brought<'_, BoxBytes>;
}

/// TCP, by the operating system.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Transport for Tcp {
    fn bind(&self, address: SocketAddr) -> io::Result<(Box<dyn Listener>, SocketAddr)> {
        let socket = match open(address) {
            // A machine without IPv6 has one family: that is both of them.
            Err(why) if address.ip().is_unspecified() && address.is_ipv6() && lacks_v6(&why) => {
                open(SocketAddr::new(
                    Ipv4Addr::UNSPECIFIED.into(),
                    address.port(),
                ))
            }
            opened => opened,
        }?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok((Box::new(listener), address))
    }

    fn connect(&self, address: SocketAddr) -> Brought<'_, BoxBytes> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxBytes)
        })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Brought<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let found = lookup_host((host, port)).await?;
            Ok(found.take(NAME_ADDRESSES_MAX).collect())
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> Brought<'_, BoxBytes> {
        Box::pin(async move {
            let (stream, _) = Self::accept(self).await?;
            // It fails only on a connection that is gone already, whose handshake will tell.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as BoxBytes)
        })
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // So that a restart finds its port free; on Windows it would let others take ours.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Tells whether an error says that there is no IPv6 here.
fn lacks_v6(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::AddrNotAvailable
        || why.kind() == io::ErrorKind::Unsupported
        || why.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}
