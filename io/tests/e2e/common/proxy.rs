//! A TCP proxy that stands for a bad network: it cuts, pauses, slows, leads elsewhere, and
//! counts what comes through.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy on loopback. Dropped, it refuses and cuts everything.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    open: Mutex<Vec<TcpStream>>,
    paused: AtomicBool,
    over: AtomicBool,
    /// Bytes that came from the target.
    down: AtomicU64,
    /// Bytes that went to it.
    up: AtomicU64,
    /// Bytes a second from the target, over all connections; 0 for no limit.
    rate: AtomicU64,
    /// When the next byte may pass.
    next: Mutex<Instant>,
}

impl Proxy {
    /// Starts it at `address`; whoever connects is refused until there is a target.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::default(),
            open: Mutex::default(),
            paused: AtomicBool::default(),
            over: AtomicBool::default(),
            down: AtomicU64::default(),
            up: AtomicU64::default(),
            rate: AtomicU64::default(),
            next: Mutex::new(Instant::now()),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.over.load(Ordering::SeqCst) {
                    break;
                }
                let target = *serving.target();
                if let (Ok(client), Some(target)) = (client, target) {
                    // Whoever can't be reached is a connection that is closed at once.
                    let _ = carry(&serving, client, target);
                }
            }
        });
        Self { address, shared }
    }

    /// Leads new connections to `target`; `None` closes them.
    pub(crate) fn lead_to(&self, target: Option<SocketAddr>) {
        *self.shared.target() = target;
    }

    /// Cuts every connection. New ones are accepted.
    pub(crate) fn cut(&self) {
        for stream in self.shared.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets nothing through, and closes nothing: a cable that was pulled.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::SeqCst);
    }

    /// Limits what comes from the target, in bytes a second over all connections.
    pub(crate) fn limit(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::SeqCst);
    }

    /// Returns how many bytes have come from the target.
    pub(crate) fn down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Returns how many bytes have come through, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.down() + self.shared.up.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.pause(false);
        self.limit(0);
        self.cut();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn target(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more may pass.
    fn pace(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::SeqCst);
        if rate > 0 {
            let takes = Duration::from_secs(1).mul_f64(bytes as f64 / rate as f64);
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + takes;
            drop(next);
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
        while self.paused.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn carry(shared: &Arc<Shared>, client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(2))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared
        .open()
        .extend([client.try_clone()?, server.try_clone()?]);
    for (from, to, is_down) in [
        (client.try_clone()?, server.try_clone()?, false),
        (server, client, true),
    ] {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            pump(&shared, &from, &to, is_down);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn pump(shared: &Shared, mut from: &TcpStream, mut to: &TcpStream, is_down: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if is_down {
            shared.pace(len);
            shared.down.fetch_add(len as u64, Ordering::SeqCst);
        } else {
            shared.pace(0);
            shared.up.fetch_add(len as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}
