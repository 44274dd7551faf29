//! The network shell: links to peers, each one TLS connection that carries a control stream and
//! lanes, all of it gRPC.
//!
//! Law: it performs the engine's actions and reports what happens, and decides nothing. Every
//! link ends with exactly one `Event::LinkDown`, unless it was closed; nothing of it is heard
//! after that. Every call here returns at once and may come from any thread; sends on a link keep
//! their order.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_core::event::Event;
use tandem_core::ids::{AskId, FetchId, LinkId, NodeId, PeerId};
use tandem_core::limits::GREETING_MAX;
use tandem_core::message::{Answer, Message, Want};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::payload::Payloads;
use crate::sink::Sink;

pub mod address;
mod asks;
mod bounds;
mod client;
mod cut;
mod dial;
pub mod identity;
mod lanes;
mod link;
mod secret;
mod server;
pub mod ticket;
mod tls;
pub mod transport;

use address::Address;
use asks::Asks;
use identity::Identity;
use link::Link;
use tls::Tls;
use transport::{Tcp, Transport};

/// What a network shell is started with.
#[derive(Debug)]
pub struct NetConfig {
    /// Who this is.
    pub identity: Identity,
    /// Where to listen; nowhere if it is empty. `[::]` is both families.
    pub listen: Vec<SocketAddr>,
    /// Where those that will be dialled may be reached.
    pub addresses: BTreeMap<PeerId, Vec<Address>>,
}

/// Why a network shell does not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Somebody else listens there.
    #[error("{0} is in use; stop the program that listens there, or give another --listen")]
    InUse(SocketAddr),
    /// This machine has no such address.
    #[error("{0} is no address of this machine; give another --listen")]
    NotHere(SocketAddr),
    /// Only root may listen there.
    #[error("listening on {0} is not permitted; give a --listen with a port from 1024")]
    Denied(SocketAddr),
    /// Listening failed.
    #[error("listening on {address} failed: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// The key is of no use for TLS.
    #[error("TLS can't be set up with this key: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running network shell. Dropping it cuts every link at once; [`Net::shutdown`] is polite.
pub struct Net {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
}

impl Net {
    /// Starts to listen, on TCP; events go to `sink`, and chunks through `payloads`.
    ///
    /// # Errors
    /// When one of the addresses can't be listened on; then none is.
    pub fn start(
        config: NetConfig,
        sink: Arc<dyn Sink>,
        payloads: Arc<Payloads>,
        runtime: Handle,
    ) -> Result<Self, NetError> {
        Self::start_on(Arc::new(Tcp), config, sink, payloads, runtime)
    }

    /// Does what [`Net::start`] does, on any transport.
    ///
    /// # Errors
    /// See [`Net::start`].
    pub fn start_on(
        transport: Arc<dyn Transport>,
        config: NetConfig,
        sink: Arc<dyn Sink>,
        payloads: Arc<Payloads>,
        runtime: Handle,
    ) -> Result<Self, NetError> {
        let tls = Tls::new(&config.identity)?;
        let mut listeners = Vec::new();
        for &address in &config.listen {
            listeners.push(server::bind(&*transport, address, &runtime)?);
        }
        let shared = Arc::new(Shared {
            runtime,
            transport,
            sink,
            payloads,
            tls,
            addresses: config.addresses,
            links: Mutex::default(),
            next_link: AtomicU64::new(1),
            asks: Asks::default(),
            greeting: Arc::new(Semaphore::new(GREETING_MAX)),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let mut listening = Vec::new();
        for (listener, address) in listeners {
            listening.push(address);
            shared.spawn(server::listen(Arc::clone(&shared), listener));
        }
        Ok(Self { shared, listening })
    }

    /// Returns where it listens, with the ports that were chosen.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listening.clone()
    }

    /// Performs `Action::Dial`.
    pub fn dial(&self, link: LinkId, peer: PeerId) {
        let (link, said) = Link::new(link, self.shared.stop.child_token());
        if self.shared.admit(&link) {
            let shared = Arc::clone(&self.shared);
            self.shared.spawn(client::run(shared, link, said, peer));
        }
    }

    /// Performs `Action::Send`. What is said on a link that has ended is lost.
    pub fn send(&self, link: LinkId, message: Message) {
        if let Some(link) = self.shared.link(link) {
            link.say(&message);
        }
    }

    /// Performs `Action::Close`: what was said before still goes out, unless the peer takes too
    /// long to take it. An event of the link that is on its way to the sink may still arrive.
    pub fn close(&self, link: LinkId) {
        let link = self.shared.links().remove(&link);
        if let Some(link) = link {
            link.close();
        }
    }

    /// Performs `Action::Fetch`: asks for a chunk of at most `len` bytes.
    ///
    /// # Panics
    /// When `lane` is not below `limits::LANES`.
    pub fn fetch(&self, fetch: FetchId, link: LinkId, lane: u32, want: Want, len: u32) {
        if let Some(link) = self.shared.link(link) {
            lanes::fetch(
                &self.shared,
                &link,
                lane,
                want,
                lanes::Fetch { id: fetch, len },
            );
        }
    }

    /// Performs `Action::CloseLanes`: what was asked is still answered, then the streams end.
    pub fn close_lanes(&self, link: LinkId, node: NodeId) {
        if let Some(link) = self.shared.link(link) {
            link.lanes.close(node);
        }
    }

    /// Performs `Action::Answer`. The payload is used up, even if nobody waits for it any more.
    pub fn answer(&self, ask: AskId, answer: Answer) {
        self.shared.asks.answer(ask, answer, &self.shared.payloads);
    }

    /// Stops listening, and closes every link as [`Net::close`] does.
    pub fn shutdown(&self) {
        self.shared.closing.cancel();
        let links = std::mem::take(&mut *self.shared.links());
        for link in links.values() {
            link.close();
        }
    }

    /// Waits, after [`Net::shutdown`], until what was said is out, for some seconds at most; then
    /// cuts whatever is left.
    pub async fn closed(&self) {
        self.shared.tasks.close();
        // A link that is closed ends by its own deadline; a handshake may not.
        let ended = tokio::time::timeout(bounds::CLOSE_DEADLINE, self.shared.tasks.wait());
        if ended.await.is_err() {
            tracing::debug!("some links did not close in time and were cut");
        }
        self.shared.stop.cancel();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shared.links().clear();
        self.shared.closing.cancel();
        self.shared.stop.cancel();
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// What all tasks of a network shell share.
struct Shared {
    runtime: Handle,
    transport: Arc<dyn Transport>,
    sink: Arc<dyn Sink>,
    payloads: Arc<Payloads>,
    tls: Tls,
    addresses: BTreeMap<PeerId, Vec<Address>>,
    /// The links that have neither ended nor been closed: whoever takes one out has the last word
    /// on it.
    links: Mutex<BTreeMap<LinkId, Arc<Link>>>,
    next_link: AtomicU64,
    asks: Asks,
    /// A permit for each connection on which nobody was let in yet.
    greeting: Arc<Semaphore>,
    /// No new connections.
    closing: CancellationToken,
    /// No connections at all.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<LinkId, Arc<Link>>> {
        lock(&self.links)
    }

    fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        self.links().get(&id).cloned()
    }

    /// Takes a link in, unless the shell closes.
    fn admit(&self, link: &Arc<Link>) -> bool {
        // Under the lock, so that whoever closes the links finds this one, or it finds them closed.
        let mut links = self.links();
        if self.closing.is_cancelled() {
            return false;
        }
        links.insert(link.id, Arc::clone(link));
        true
    }

    /// Draws the id of an accepted link: odd, and never again.
    fn draw_link(&self) -> LinkId {
        LinkId(self.next_link.fetch_add(2, Ordering::Relaxed))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Tells the engine of a link that was not closed.
    fn tell(&self, link: &Link, event: Event) {
        if !link.is_closed() {
            self.sink.event(event);
        }
    }
}

/// Locks; nothing that panics while it holds one of our locks leaves what it guards half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
