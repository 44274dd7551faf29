//! A peer that runs, from its start to its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tandem_core::conflicts::Keep;
use tandem_core::engine::{Config, Engine, Start};
use tandem_core::event::Event;
use tandem_core::ids::PeerId;
use tandem_core::status::LinkState;
use tandem_core::time::Time;
use tandem_core::tree::name::Name;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::NodeError;
use super::home::Home;
use super::tickets::Tickets;
use crate::control::{Control, Controlled};
use crate::disk::metadata::{Metadata, MetadataError, Opened};
use crate::disk::pool::Disk;
use crate::driver::{Driver, Notice};
use crate::mount::Mount;
use crate::net::Net;
use crate::net::ticket::Ticket;
use crate::payload::Payloads;
use crate::report::conflicts::{ConflictsReport, SettledReport};
use crate::report::log::{LogReport, RestoredReport};
use crate::report::peers::{PeersReport, RemovedReport};
use crate::report::{Report, Surroundings, SyncReport};
use crate::watch::Watcher;

/// How long the engine may take to get everything onto the disk at the end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long a first exchange may go without anything arriving.
const FIRST_EXCHANGE_WITHIN: Duration = Duration::from_secs(10);

/// How often the engine is looked at while something is waited for.
const LOOK_EACH: Duration = Duration::from_millis(10);

/// Threads of the network: as many as the measured machine has cores (LIMITS.md §2).
const NET_THREADS: usize = 2;

/// Threads that work on files, beside the one for metadata: enough that hashing and writing of
/// different files go side by side on two cores; by eye.
pub(super) const DISK_THREADS: usize = 4;

/// What every peer has: a runtime, an engine in its driver, and a way to hear from both.
pub(super) struct Base {
    pub(super) runtime: Runtime,
    pub(super) driver: Arc<Driver>,
    pub(super) payloads: Arc<Payloads>,
    pub(super) notices: Receiver<Notice>,
}

impl Base {
    /// Makes the engine of `records`, and its driver. Signals are heard from here on.
    pub(super) fn make(config: Config, opened: Opened, home: &Path) -> Result<Self, NodeError> {
        let system = |what| move |why| NodeError::System { what, why };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NET_THREADS)
            .thread_name("tandem-net")
            .enable_all()
            .build()
            .map_err(system("threads of the network"))?;
        let (sender, notices) = channel();
        hear_signals(&runtime, sender.clone()).map_err(system("signals"))?;
        if let Some((aside, what)) = &opened.damaged {
            tracing::warn!(
                "the metadata were damaged ({what}); they were put aside as {}, and are built anew \
                 from what is on disk",
                aside.display()
            );
        }
        let started = Instant::now();
        let start = Start {
            seed: draw_seed().map_err(system("randomness"))?,
            now: Time::ZERO,
            last: opened.last,
        };
        let engine =
            Engine::restore(config, start, opened.records).map_err(|why| NodeError::Restore {
                path: home.join("metadata"),
                why,
            })?;
        let payloads = Arc::new(Payloads::default());
        Ok(Self {
            driver: Driver::new(engine, started, Arc::clone(&payloads), sender),
            runtime,
            payloads,
            notices,
        })
    }

    /// Asks for an end when the standard input ends: with the process that holds the other side of
    /// it, whatever ended that one.
    pub(super) fn end_with_input(&self) {
        let driver = Arc::clone(&self.driver);
        std::thread::spawn(move || {
            // What comes is of no interest; an error is an end too.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            driver.notice(Notice::StopAsked);
        });
    }

    /// Waits until the folder behind `ticket` is known: until the first exchange is complete.
    ///
    /// # Errors
    /// When the other side refuses, can't be reached, or says nothing for long.
    pub(super) fn await_first_exchange(&self, ticket: &Ticket) -> Result<(), NodeError> {
        let mut heard = 0;
        let mut since = Instant::now();
        loop {
            let (complete, counters) = self
                .driver
                .look(|engine| (engine.is_complete(), engine.counters()))
                .ok_or_else(|| NodeError::Broken("see the log".to_owned()))?;
            if complete {
                return Ok(());
            }
            if counters.messages_received != heard {
                heard = counters.messages_received;
                since = Instant::now();
            }
            self.check_host(ticket, since.elapsed() >= FIRST_EXCHANGE_WITHIN)?;
            match self.notices.recv_timeout(LOOK_EACH) {
                Ok(Notice::StopAsked) => return Err(NodeError::Interrupted),
                Ok(Notice::Broken(why)) => return Err(NodeError::Broken(why)),
                Ok(Notice::Halted(why)) => return Err(NodeError::Halted(why)),
                Ok(Notice::Wanted { .. } | Notice::Stopped) | Err(_) => {}
            }
        }
    }

    /// Returns why the host of `ticket` will not do, if it is known, or `late`.
    fn check_host(&self, ticket: &Ticket, late: bool) -> Result<(), NodeError> {
        let Some(status) = self.driver.status() else {
            return Ok(());
        };
        let host = status.peers.iter().find(|peer| peer.peer == ticket.peer);
        let peer = host_name(ticket);
        if let Some(why) = host.and_then(|host| host.refused.clone()) {
            return Err(NodeError::Refused { peer, why });
        }
        if !late {
            return Ok(());
        }
        match host.map_or(LinkState::Gone, |host| host.link) {
            LinkState::Dialling | LinkState::Gone => Err(NodeError::Unreachable {
                peer,
                addresses: addresses_of(ticket),
            }),
            LinkState::Greeting | LinkState::Live | LinkState::Suspect => Err(NodeError::Silent {
                peer,
                secs: FIRST_EXCHANGE_WITHIN.as_secs(),
            }),
        }
    }

    /// Waits until the shared folder was scanned, at most `within`: what is shared is complete
    /// then, and it works before as well.
    pub(super) fn await_scan(&self, within: Duration) -> Result<(), NodeError> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let scanning = self.driver.look(Engine::is_scanning);
            if scanning != Some(true) {
                return Ok(());
            }
            match self.notices.recv_timeout(LOOK_EACH) {
                Ok(Notice::StopAsked) => return Err(NodeError::Interrupted),
                Ok(Notice::Broken(why)) => return Err(NodeError::Broken(why)),
                Ok(Notice::Halted(why)) => return Err(NodeError::Halted(why)),
                Ok(Notice::Wanted { .. } | Notice::Stopped) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The parts that are stopped at the end.
pub(super) struct Parts {
    pub(super) net: Arc<Net>,
    pub(super) disk: Arc<Disk>,
    pub(super) watcher: Option<Watcher>,
}

/// A peer that runs.
pub struct Running {
    base: Base,
    parts: Parts,
    mount: Option<Mount>,
    control: Option<Control>,
    place: PathBuf,
    /// Where everything is kept that is known here, and which directory that is.
    home: Option<(PathBuf, DirectoryId)>,
    ticket: Option<String>,
    /// The folder's mount on this machine, a peer of its own.
    own_mount: Option<Box<Self>>,
}

/// Which directory on which file system.
type DirectoryId = (u64, u64);

fn directory_id(found: &std::fs::Metadata) -> DirectoryId {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

impl Running {
    pub(super) fn new(base: Base, parts: Parts, place: &Path) -> Self {
        Self {
            base,
            parts,
            mount: None,
            control: None,
            place: place.to_owned(),
            home: None,
            ticket: None,
            own_mount: None,
        }
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn net(&self) -> &Net {
        &self.parts.net
    }

    pub(super) fn net_shared(&self) -> Arc<Net> {
        Arc::clone(&self.parts.net)
    }

    pub(super) fn set_mount(&mut self, mount: Mount) {
        self.mount = Some(mount);
    }

    pub(super) fn set_ticket(&mut self, ticket: String) {
        self.ticket = Some(ticket);
    }

    pub(super) fn set_own_mount(&mut self, own: Self) {
        self.own_mount = Some(Box::new(own));
    }

    /// Serves the control socket of `home`; of a folder that is shared, with what gives out its
    /// tickets.
    pub(super) fn serve_control(
        &mut self,
        home: &Home,
        tickets: Option<Tickets>,
    ) -> Result<(), NodeError> {
        let live = Live {
            driver: Arc::clone(&self.base.driver),
            place: self.place.clone(),
            store: home.holder().to_owned(),
            mounted: self.mount.is_some(),
            tickets,
            listening: self
                .parts
                .net
                .listening()
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        self.control = Some(Control::serve(home.dir(), Arc::new(live))?);
        let found = std::fs::symlink_metadata(home.dir()).ok();
        self.home = found.map(|found| (home.dir().to_owned(), directory_id(&found)));
        Ok(())
    }

    /// Returns the shared folder, or the mount point.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Returns the text of the ticket to be given out.
    pub fn ticket(&self) -> Option<&str> {
        self.ticket.as_deref()
    }

    /// Returns where the folder that is shared is mounted on this machine, if it is.
    pub fn mounted_at(&self) -> Option<&Path> {
        self.own_mount.as_deref().map(Self::place)
    }

    /// Runs until somebody asks for an end, or the mount, or what is known here, is taken away; then
    /// stops.
    ///
    /// # Errors
    /// When the engine broke, or the end was not clean.
    pub fn wait(self) -> Result<(), NodeError> {
        let end = loop {
            let heard = self.base.notices.recv_timeout(Duration::from_millis(200));
            let end = match heard {
                Ok(notice) => End::of(notice),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(End::Asked),
            };
            let own = || self.own_mount.as_deref().and_then(Self::has_to_end);
            let lost = || self.lost_mount().or_else(|| self.lost_home());
            if let Some(end) = end.or_else(lost).or_else(own) {
                break end;
            }
        };
        let stopped = self.stop();
        match end {
            End::Broken(why) => Err(NodeError::Broken(why)),
            End::Halted(why) => Err(NodeError::Halted(why)),
            End::Asked => stopped,
        }
    }

    /// Tells, without waiting, whether there is a reason to end.
    fn has_to_end(&self) -> Option<End> {
        let heard = self.base.notices.try_iter().find_map(End::of);
        let lost = || self.lost_mount().or_else(|| self.lost_home());
        heard.or_else(lost)
    }

    /// Tells whether what is known here was taken away. Whoever does that may be about to take the
    /// rest: from here on nothing of it is told to anybody.
    fn lost_home(&self) -> Option<End> {
        let (dir, id) = self.home.as_ref()?;
        let is_there = match std::fs::symlink_metadata(dir) {
            Ok(found) => directory_id(&found) == *id,
            // What can't be looked at is not gone.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        (!is_there).then(|| {
            End::Halted(format!(
                "{} was taken away while it was in use, and with it what is known here; what is \
                 missing from now on is not told to others: put it back and start again, or start without it as with a \
                 folder that was never shared or joined, with a new ticket",
                dir.display()
            ))
        })
    }

    fn lost_mount(&self) -> Option<End> {
        let is_lost = self.mount.as_ref().is_some_and(Mount::has_ended);
        is_lost.then(|| {
            tracing::warn!("{} was unmounted; stopping", self.place.display());
            End::Asked
        })
    }

    /// Ends in order: what is in memory goes to disk and peers are told, the mount is taken away,
    /// links are closed, the store is closed.
    ///
    /// # Errors
    /// When something did not end as it should; the rest was ended all the same.
    pub fn stop(mut self) -> Result<(), NodeError> {
        // First, so that what was written through it is told.
        let own = self.own_mount.take().map_or(Ok(()), |own| own.stop());
        let driver = &self.base.driver;
        let finished = !driver.is_broken() && {
            driver.submit(Event::Stop);
            self.await_stopped()
        };
        let unmounted = self.mount.map_or(Ok(()), Mount::stop);
        drop(self.parts.watcher);
        self.parts.net.shutdown();
        self.base.runtime.block_on(self.parts.net.closed());
        driver.shutdown();
        if finished && let Err(error) = self.parts.disk.stop() {
            // Everything is there; only the word that it is could not be written (a full disk).
            tracing::warn!("can't close the metadata: {error}; the next start checks them");
        }
        drop(self.control);
        unmounted?;
        own?;
        if finished || driver.is_broken() {
            Ok(())
        } else {
            Err(NodeError::Unfinished(STOP_WITHIN.as_secs()))
        }
    }

    fn await_stopped(&self) -> bool {
        let deadline = Instant::now() + STOP_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.base.notices.recv_timeout(left) {
                Ok(Notice::Stopped) => return true,
                Ok(Notice::Broken(_)) | Err(_) => return false,
                Ok(Notice::Wanted { .. } | Notice::StopAsked | Notice::Halted(_)) => {}
            }
        }
    }
}

/// Why a peer ends.
enum End {
    /// Somebody wants it to.
    Asked,
    /// The engine broke.
    Broken(String),
    /// It has stopped by itself.
    Halted(String),
}

impl End {
    fn of(notice: Notice) -> Option<Self> {
        match notice {
            Notice::StopAsked => Some(Self::Asked),
            Notice::Broken(why) => Some(Self::Broken(why)),
            Notice::Halted(why) => Some(Self::Halted(why)),
            Notice::Wanted { .. } | Notice::Stopped => None,
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Why the folder's own mount is not removed.
const OWN_MOUNT: &str = "that is the folder's own mount on this machine; share the folder without \
                         --mount instead";

/// What the control socket reports of.
struct Live {
    driver: Arc<Driver>,
    place: PathBuf,
    store: PathBuf,
    mounted: bool,
    listening: Vec<String>,
    tickets: Option<Tickets>,
}

impl Live {
    fn own_mount(&self) -> Option<PeerId> {
        let own = self.tickets.as_ref()?.own_mount();
        own.inspect_err(|error| tracing::warn!("{error}")).ok()?
    }

    /// Has a further ticket follow the one that ends when this peer is removed; returns its text.
    fn further_ticket(&self, peer: PeerId) -> Result<Option<String>, NodeError> {
        let Some(tickets) = &self.tickets else {
            return Ok(None);
        };
        let ending = self.driver.look(|engine| engine.invites_of(peer));
        let Some(invite) = tickets.succeed(&ending.unwrap_or_default())? else {
            return Ok(None);
        };
        let text = tickets.text(invite.secret);
        self.driver.submit(Event::Invited(invite));
        Ok(Some(text))
    }
}

impl Controlled for Live {
    fn report(&self) -> Option<Report> {
        let status = self.driver.status()?;
        let around = Surroundings {
            place: &self.place,
            store: &self.store,
            mounted: self.mounted,
            listening: self.listening.clone(),
        };
        Some(Report::new(&status, around))
    }

    fn sync(&self) -> Option<SyncReport> {
        let status = self.driver.look(Engine::sync_status)?;
        Some(SyncReport::from(&status))
    }

    fn conflicts(&self) -> Option<ConflictsReport> {
        let conflicts = self.driver.look(Engine::conflicts)?;
        Some(ConflictsReport::new(&self.place, &conflicts))
    }

    fn settle(&self, path: Vec<Name>, keep: Keep) -> Option<Result<SettledReport, String>> {
        let result = self.driver.settle(path, keep)?;
        Some(match result {
            Ok(settled) => Ok(SettledReport::new(&settled)),
            Err(why) => Err(why.to_string()),
        })
    }

    fn peers(&self) -> Option<PeersReport> {
        let status = self.driver.status()?;
        let peers = self.driver.peers()?;
        let own = self.own_mount();
        Some(PeersReport::new(&self.place, &status, &peers, own))
    }

    fn remove(&self, peer: PeerId) -> Option<Result<RemovedReport, String>> {
        if self.own_mount() == Some(peer) {
            return Some(Err(OWN_MOUNT.to_owned()));
        }
        let ticket = match self.further_ticket(peer) {
            Ok(ticket) => ticket,
            Err(error) => return Some(Err(error.to_string())),
        };
        let result = self.driver.remove(peer)?;
        Some(match result {
            Ok(removed) => Ok(RemovedReport::new(&removed, ticket)),
            Err(why) => Err(why.to_string()),
        })
    }

    fn log(&self, count: u32, below: &[Name]) -> Option<LogReport> {
        let role = self.driver.status()?.role;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let log = |engine: &Engine| LogReport::new(&self.place, role, engine, count, below);
        self.driver.look(log)
    }

    fn restore(&self, id: u64) -> Option<Result<RestoredReport, String>> {
        let result = self.driver.restore(id)?;
        Some(match result {
            Ok(restored) => Ok(RestoredReport::new(id, &restored)),
            Err(why) => Err(why.to_string()),
        })
    }

    fn stop(&self) {
        self.driver.notice(Notice::StopAsked);
    }
}

/// Opens the metadata in `home`, which locks it.
pub(super) fn open_metadata(home: &Home) -> Result<(Metadata, Opened), NodeError> {
    Metadata::open(home.dir(), crate::disk::wall_clock()).map_err(|why| match why {
        MetadataError::Busy { pid, .. } => NodeError::Busy {
            path: home.holder().to_owned(),
            pid,
        },
        other @ (MetadataError::Newer { .. }
        | MetadataError::Io { .. }
        | MetadataError::Sql { .. }
        | MetadataError::Damaged { .. }) => NodeError::Metadata(other),
    })
}

/// Returns what a person may call the host of a ticket.
pub(super) fn host_name(ticket: &Ticket) -> String {
    match &ticket.folder {
        Some(folder) => format!("the host of {folder:?}"),
        None => format!("{}", PeerId(ticket.peer.0)),
    }
}

fn addresses_of(ticket: &Ticket) -> String {
    let all: Vec<String> = ticket.addresses.iter().map(ToString::to_string).collect();
    if all.is_empty() {
        "no address (the ticket has none)".to_owned()
    } else {
        all.join(", ")
    }
}

/// Turns SIGINT, SIGTERM and SIGHUP into a request for an end.
fn hear_signals(runtime: &Runtime, notices: Sender<Notice>) -> io::Result<()> {
    let _inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    runtime.spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            if notices.send(Notice::StopAsked).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Draws the seed of the engine's chance.
fn draw_seed() -> io::Result<u64> {
    let [a, b, c, d, e, f, g, h, ..] = Ticket::draw_secret()?.0;
    Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}
