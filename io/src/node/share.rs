//! `tandem share`: a folder, its watcher, and a listener for peers.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tandem_core::engine::{Config, Invite};
use tandem_core::ids::PeerId;
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Role, Secret};
use tandem_core::trash::Retention;

use super::home::{DIRECTORY, Facts, Home, Invited, Kind, write_private};
use super::known::Places;
use super::own_mount::{self, OwnMount};
use super::running::{Base, DISK_THREADS, Parts, Running, open_metadata};
use super::tickets::{self, Tickets};
use super::{NodeError, data_dir};
use crate::config::Settings;
use crate::disk::folder::Folder;
use crate::disk::objects::Objects;
use crate::disk::places::Store;
use crate::disk::pool::Disk;
use crate::driver;
use crate::mount::point;
use crate::net::identity::Identity;
use crate::net::ticket::Ticket;
use crate::net::{Net, NetConfig, NetError};
use crate::node::desk::Desk;
use crate::report::hex;
use crate::sink::Sink;
use crate::watch::Watcher;

/// How long `ready` waits for the first scan; a larger folder is ready while it is scanned.
const SCAN_WITHIN: Duration = Duration::from_secs(10);

/// What a folder is shared with.
#[derive(Clone, Debug)]
pub struct ShareOptions {
    /// Where to listen. Port 0 is the port of the last time, or one that is chosen and kept.
    pub listen: Vec<SocketAddr>,
    /// Where to write the ticket.
    pub ticket_file: Option<PathBuf>,
    /// What this peer calls itself.
    pub name: Option<String>,
    /// Whether whatever is missing from the folder was deleted, however much it is.
    pub accept_deletes: bool,
    /// Whether owners that peers set are set in the folder.
    pub owners: bool,
    /// Where to mount it on this machine, as [`point::place`] gives it.
    pub mount: Option<PathBuf>,
    /// Whether peers, and the mount, may change anything.
    pub writable: bool,
    /// Settings.
    pub settings: Settings,
    /// Whether it stops at the end of its standard input: whoever holds that has ended.
    pub end_with_input: bool,
    /// Whether its ticket is a further one, and lets somebody in this time only.
    pub passing_ticket: bool,
}

/// Returns the home of the folder at `dir`, which must be there and no part of a mount of ours.
///
/// # Errors
/// When it can't be shared.
pub fn shared_folder(dir: &Path) -> Result<Home, NodeError> {
    let failed = |why| NodeError::Folder {
        path: dir.to_owned(),
        why,
    };
    // Before it is touched: it may lie in a mount that nobody serves any more.
    point::refuse_inside_mount(&point::place(dir)?)?;
    let real = dir.canonicalize().map_err(failed)?;
    if !real.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    if real.components().any(|part| part.as_os_str() == DIRECTORY) {
        return Err(NodeError::Own { path: real });
    }
    point::refuse_inside_mount(&real)?;
    point::refuse_around_mount(&real)?;
    Ok(Home::of(&real))
}

/// Shares the folder of `home`.
///
/// # Errors
/// When a part can't be started; then nothing runs.
pub fn share(home: &Home, options: &ShareOptions) -> Result<Running, NodeError> {
    if let Some(point) = &options.mount {
        own_mount::check_point(home, point)?;
    }
    home.make()?;
    let (metadata, opened) = open_metadata(home)?;
    let mut facts = facts(home, options)?;
    let folder = Folder::open(home.holder()).map_err(NodeError::Shared)?;
    let folder = folder.placing_by(home.dir()).map_err(NodeError::Shared)?;
    let folder = Arc::new(folder);
    let places = Store::open(home.dir()).map_err(|why| NodeError::Home {
        path: home.dir().to_owned(),
        why,
    })?;
    let objects = Arc::new(Objects::new(Arc::new(places)));
    let identity = Identity::load_or_make(home.dir())?;
    let settings = &options.settings;
    let passing = passing_invite(options)?;
    let kept = invites(home, &facts)?;
    let given = facts.invites.last().and_then(Invited::secret);
    let given = passing.as_ref().map(|invite| invite.secret).or(given);
    let secret = given.expect("a folder has its ticket, whose secret was read");
    let invites = passing.into_iter().chain(kept).collect();
    let usual = Config::new(identity.peer(), facts.name.clone(), Role::Full);
    let config = Config {
        invites,
        folder: facts.folder_id(),
        read_deadline: settings.read_deadline,
        retries: settings.retries,
        heartbeat: settings.heartbeat,
        push: settings.push,
        trash: Retention {
            budget: settings.trash,
            ..usual.trash
        },
        accept_deletes: options.accept_deletes,
        owners: options.owners,
        writable: options.writable,
        ..usual
    };
    let me = identity.peer();
    let base = Base::make(config, opened, home.dir())?;
    if options.end_with_input {
        base.end_with_input();
    }
    let sink = Arc::clone(&base.driver) as Arc<dyn Sink>;
    let net = listen(&base, identity, options, &mut facts)?;
    home.write(&facts)?;
    let system = |what| move |why| NodeError::System { what, why };
    let disk = Disk::start(
        Some(Arc::clone(&folder)),
        Some(objects),
        metadata,
        Arc::clone(&sink),
        Arc::clone(&base.payloads),
        DISK_THREADS,
    )
    .map_err(system("threads of the disk"))?;
    let parts = Parts {
        net: Arc::new(net),
        disk: Arc::new(disk),
        watcher: Some(Watcher::start(folder, sink).map_err(system("the watcher"))?),
    };
    base.driver.connect(driver::Parts {
        wire: Arc::clone(&parts.net) as Arc<_>,
        store: Arc::clone(&parts.disk) as Arc<_>,
        // Nobody calls a folder that is not mounted here.
        front: Arc::new(Desk::default()),
    });
    let mut running = Running::new(base, parts, home.holder());
    let begun = begin(home, (me, secret), &facts, options, &mut running);
    match begun {
        Ok(()) => Ok(running),
        Err(error) => {
            note_end(running.stop());
            Err(error)
        }
    }
}

/// What comes when everything runs.
fn begin(
    home: &Home,
    (me, secret): (PeerId, Secret),
    facts: &Facts,
    options: &ShareOptions,
    running: &mut Running,
) -> Result<(), NodeError> {
    let tickets = Tickets::new(home, me, running.net_shared());
    let ticket = tickets.text(secret);
    running.serve_control(home, Some(tickets))?;
    if let Some(path) = &options.ticket_file {
        let text = ticket.clone() + "\n";
        write_private(path, &text).map_err(|why| NodeError::TicketFile {
            path: path.clone(),
            why,
        })?;
    }
    running.set_ticket(ticket);
    if let Ok(data) = data_dir() {
        // Only a help: `status DIR` finds the folder without it.
        if let Err(error) = Places::new(&data).note(home.holder(), home.holder()) {
            tracing::info!("the list of places can't be written: {error}");
        }
    }
    running.base().await_scan(SCAN_WITHIN)?;
    if let Some(point) = &options.mount {
        let own = OwnMount {
            point: point.clone(),
            writable: options.writable,
            settings: options.settings.clone(),
        };
        let host = (me, running.net().listening());
        running.set_own_mount(own_mount::mount(home, facts, (host.0, &host.1), &own)?);
    }
    Ok(())
}

/// Says what went wrong at an end that another error has caused.
pub(super) fn note_end(stopped: Result<(), NodeError>) {
    if let Err(error) = stopped {
        tracing::warn!("{error}");
    }
}

/// Reads what makes the folder itself, or draws it.
fn facts(home: &Home, options: &ShareOptions) -> Result<Facts, NodeError> {
    let system = |why| NodeError::System {
        what: "randomness",
        why,
    };
    let found = home.read()?;
    let mut facts = match found {
        Some(facts) if facts.kind == Kind::Share => facts,
        Some(_) => {
            return Err(NodeError::OtherKind {
                path: home.holder().to_owned(),
                found: "the store of a joined folder",
                wanted: "a folder to share",
            });
        }
        None => Facts {
            kind: Kind::Share,
            name: host_label(),
            folder: None,
            port: None,
            ticket: None,
            invites: Vec::new(),
            mount: None,
        },
    };
    if let Some(name) = &options.name {
        facts.name = label(name)?;
    }
    if facts.folder.is_none() {
        let drawn = Ticket::draw_secret().map_err(system)?;
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = drawn.0;
        facts.folder = Some(hex(&FolderId(id).0));
    }
    if facts.invites.is_empty() {
        tickets::invite(&mut facts).map_err(system)?;
    }
    if options.mount.is_some() {
        own_mount::invite(home, &mut facts)?;
    }
    // Kept before anything is told to anybody.
    home.write(&facts)?;
    Ok(facts)
}

/// Returns the invitations of the tickets that were given out, and of the mount.
fn invites(home: &Home, facts: &Facts) -> Result<Vec<Invite>, NodeError> {
    let read = facts.invites.iter().chain(&facts.mount).map(|invited| {
        let secret = invited.secret()?;
        Some(Invite {
            id: invited.id,
            secret,
        })
    });
    read.collect::<Option<_>>().ok_or_else(|| NodeError::Facts {
        path: home.dir().to_owned(),
        what: "a secret is damaged".to_owned(),
    })
}

/// Returns the invitation of a ticket that is good for this time only, if one is wanted. What is
/// bound to its number is of no use later.
fn passing_invite(options: &ShareOptions) -> Result<Option<Invite>, NodeError> {
    if !options.passing_ticket {
        return Ok(None);
    }
    let draw = || {
        Ticket::draw_secret().map_err(|why| NodeError::System {
            what: "randomness",
            why,
        })
    };
    let [a, b, c, d, e, f, g, h, ..] = draw()?.0;
    Ok(Some(Invite {
        // Those that are kept count from one, and those of mounts from the middle.
        id: u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1 << 63,
        secret: draw()?,
    }))
}

/// Starts the network, and notes the port.
fn listen(
    base: &Base,
    identity: Identity,
    options: &ShareOptions,
    facts: &mut Facts,
) -> Result<Net, NodeError> {
    let kept = facts.port.unwrap_or(0);
    let usual = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    let asked: &[SocketAddr] = if options.listen.is_empty() {
        &usual
    } else {
        &options.listen
    };
    let listen = asked
        .iter()
        .map(|address| match address.port() {
            0 => SocketAddr::new(address.ip(), kept),
            _ => *address,
        })
        .collect();
    let config = NetConfig {
        identity,
        listen,
        addresses: std::collections::BTreeMap::new(),
    };
    let net = Net::start(
        config,
        Arc::clone(&base.driver) as Arc<dyn Sink>,
        Arc::clone(&base.payloads),
        base.runtime.handle().clone(),
    )
    .map_err(|error| port_hint(error, kept))?;
    let chosen = asked.iter().any(|address| address.port() == 0);
    if chosen && let Some(first) = net.listening().first() {
        facts.port = Some(first.port());
    }
    Ok(net)
}

/// A port that was kept and is taken is the one reason for which tickets may stop working.
fn port_hint(error: NetError, kept: u16) -> NodeError {
    if let NetError::InUse(address) = &error
        && address.port() == kept
        && kept != 0
    {
        tracing::info!("{address} is the port that the tickets of this folder name");
    }
    NodeError::Net(error)
}

/// Returns a name that was given, if it is one.
pub(super) fn label(name: &str) -> Result<Label, NodeError> {
    Label::parse(name).map_err(|why| NodeError::Name {
        name: name.to_owned(),
        why,
    })
}

/// Returns what a peer calls itself when nobody says: the machine's name.
pub(super) fn host_label() -> Label {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    Label::lossy(name.split('.').next().unwrap_or_default())
}

/// Tells whether a folder is shared from `dir` or from above it, and from where.
pub(super) fn shared_above(dir: &Path) -> Option<PathBuf> {
    dir.ancestors()
        .find(|above| Home::of(above).is_lived_in())
        .map(Path::to_owned)
        .filter(|above| fs::symlink_metadata(above).is_ok())
}
