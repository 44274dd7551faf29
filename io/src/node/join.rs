//! `tandem join`: a sparse store, a link to the host, and a mount.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_core::Owned;
use tandem_core::engine::{Config, Host};
use tandem_core::label::Label;
use tandem_core::message::Role;

use super::home::{DIRECTORY, Facts, Home, Kind};
use super::known::Places;
use super::running::{Base, DISK_THREADS, Parts, Running, open_metadata};
use super::share::{host_label, label, note_end, shared_above};
use super::wiring::StoredObjects;
use super::{NodeError, data_dir};
use crate::config::Settings;
use crate::control;
use crate::disk::objects::Objects;
use crate::disk::places::Store;
use crate::disk::pool::Disk;
use crate::driver;
use crate::mount::{Gate, Mount, Owner, PointError, point};
use crate::net::identity::Identity;
use crate::net::ticket::Ticket;
use crate::net::{Net, NetConfig};
use crate::report::hex;
use crate::sink::Sink;

/// What a folder is joined with.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// The ticket; without one, that of the last time.
    pub ticket: Option<Ticket>,
    /// The mount point, as [`point::place`] gives it.
    pub point: PathBuf,
    /// What this peer calls itself.
    pub name: Option<String>,
    /// Whether anything may be changed through the mount.
    pub writable: bool,
    /// Settings.
    pub settings: Settings,
    /// Whether it stops at the end of its standard input: whoever holds that has ended.
    pub end_with_input: bool,
}

/// Returns the home of the store for `point`: where `store` says, where the ticket's folder is
/// kept by default, or where it was the last time.
///
/// # Errors
/// When it is not known.
pub fn store_of(
    store: Option<&Path>,
    ticket: Option<&Ticket>,
    mnt: &Path,
) -> Result<Home, NodeError> {
    match (store, ticket) {
        (Some(store), _) => {
            let path = point::place(store)?;
            // Not asked of a mount, which may have nobody behind it.
            point::refuse_inside_mount(&path)?;
            if path.exists() && !path.is_dir() {
                return Err(NodeError::StoreNotDirectory { path });
            }
            Ok(Home::of(&path))
        }
        (None, Some(ticket)) => Ok(Home::of(&data_dir()?.join(store_name(ticket)))),
        (None, None) => {
            let places = Places::new(&data_dir()?);
            places
                .find(mnt)
                .map(|holder| Home::of(&holder))
                .ok_or_else(|| NodeError::NoTicket {
                    path: mnt.to_owned(),
                })
        }
    }
}

/// Returns the name of the store of a ticket's folder: the folder's name, and the first eight
/// hex digits of its host's key, which is the folder's alone.
fn store_name(ticket: &Ticket) -> String {
    let [a, b, c, d, ..] = ticket.peer.0;
    let name = ticket.folder.as_ref().map_or("folder", Label::as_str);
    // A name that begins with a dot would be hidden, and two of them mean something else.
    let name = name.trim_start_matches('.');
    format!("{name}-{}", hex(&[a, b, c, d]))
}

/// Joins a folder, and mounts it.
///
/// # Errors
/// When a part can't be started, or the folder is not known yet and its host can't be reached or
/// refuses; then nothing runs and nothing is mounted.
pub fn join(home: &Home, options: &JoinOptions) -> Result<Running, NodeError> {
    check_places(home.holder(), &options.point)?;
    home.make()?;
    let (metadata, opened) = open_metadata(home)?;
    let (facts, ticket) = facts(home, options)?;
    let before = Places::new(&data_dir()?).find(&options.point);
    point::prepare(&options.point, |_| {
        let holder = before.as_deref()?;
        // Its own store's lock is held here, so nobody else serves it.
        Some(holder != home.holder() && control::is_running(Home::of(holder).dir()))
    })?;
    let identity = Identity::load_or_make(home.dir())?;
    let settings = &options.settings;
    let config = Config {
        host: Some(Host {
            peer: ticket.peer,
            secret: Some(ticket.secret),
        }),
        read_deadline: settings.read_deadline,
        retries: settings.retries,
        heartbeat: settings.heartbeat,
        writable: options.writable,
        durability: settings.durability.into(),
        ..Config::new(identity.peer(), facts.name.clone(), Role::Sparse)
    };
    let owned = Owned::read(&opened.records);
    let base = Base::make(config, opened, home.dir())?;
    if options.end_with_input {
        base.end_with_input();
    }
    let sink = Arc::clone(&base.driver) as Arc<dyn Sink>;
    let places = Store::open(home.holder()).map_err(|why| NodeError::Home {
        path: home.holder().to_owned(),
        why,
    })?;
    if let Some(owned) = owned {
        sweep(&places, &owned);
    }
    let objects = Arc::new(Objects::new(Arc::new(places)));
    let net = dialler(&base, identity, &ticket)?;
    let disk = Disk::start(
        None,
        Some(Arc::clone(&objects)),
        metadata,
        sink,
        Arc::clone(&base.payloads),
        DISK_THREADS,
    )
    .map_err(|why| NodeError::System {
        what: "threads of the disk",
        why,
    })?;
    let parts = Parts {
        net: Arc::new(net),
        disk: Arc::new(disk),
        watcher: None,
    };
    let stored = StoredObjects {
        objects,
        dir: home.holder().to_owned(),
    };
    let gate = Gate::new(Arc::new(stored), Owner::of_this_process());
    base.driver.connect(driver::Parts {
        wire: Arc::clone(&parts.net) as Arc<_>,
        store: Arc::clone(&parts.disk) as Arc<_>,
        front: gate.front(),
    });
    let mut running = Running::new(base, parts, &options.point);
    match begin(home, &ticket, &gate, options.writable, &mut running) {
        Ok(()) => Ok(running),
        Err(error) => {
            note_end(running.stop());
            Err(error)
        }
    }
}

/// Removes what a kill has left in a store; what can't be removed costs room, and nothing else.
fn sweep(places: &Store, owned: &Owned) {
    match places.sweep(|object| owned.has(object)) {
        Ok(0) => {}
        Ok(gone) => tracing::debug!("{gone} files of versions that are gone were removed"),
        Err(why) => tracing::warn!("the store could not be swept: {why}"),
    }
}

/// What comes when everything runs: the first exchange, the mount, and what helps to find it.
fn begin(
    home: &Home,
    ticket: &Ticket,
    gate: &Gate,
    writable: bool,
    running: &mut Running,
) -> Result<(), NodeError> {
    running.base().await_first_exchange(ticket)?;
    let mount = Mount::start(running.place(), gate, &running.base().driver, writable)?;
    running.set_mount(mount);
    running.serve_control(home, None)?;
    let data = data_dir()?;
    Places::new(&data)
        .note(running.place(), home.holder())
        .map_err(|why| NodeError::Home { path: data, why })
}

/// Starts a network that listens nowhere and can dial the ticket's host.
pub(super) fn dialler(base: &Base, identity: Identity, ticket: &Ticket) -> Result<Net, NodeError> {
    let config = NetConfig {
        identity,
        listen: Vec::new(),
        addresses: BTreeMap::from([(ticket.peer, ticket.addresses.clone())]),
    };
    Ok(Net::start(
        config,
        Arc::clone(&base.driver) as Arc<dyn Sink>,
        Arc::clone(&base.payloads),
        base.runtime.handle().clone(),
    )?)
}

/// Refuses places that would hold each other: the mount would then show, or need, itself.
fn check_places(store: &Path, mnt: &Path) -> Result<(), NodeError> {
    let inside = |path: &Path, other: &Path, what| {
        Err(NodeError::Point(PointError::Inside {
            path: path.to_owned(),
            other: other.to_owned(),
            what,
        }))
    };
    point::refuse_inside_mount(store)?;
    if let Some(parent) = mnt.parent() {
        point::refuse_inside_mount(parent)?;
        if let Some(above) = shared_above(parent) {
            return inside(mnt, &above, "a folder or store of tandem's");
        }
    }
    // What is fetched would be shared again, file by file; but for the own mount's, beneath
    // `.tandem`.
    let is_shown = !store.components().any(|part| part.as_os_str() == DIRECTORY);
    if let Some(above) = store.parent().filter(|_| is_shown).and_then(shared_above) {
        return inside(store, &above, "a folder or store of tandem's");
    }
    if mnt.starts_with(store) {
        return inside(mnt, store, "the store itself");
    }
    if store.starts_with(mnt) {
        return inside(store, mnt, "the mount point itself");
    }
    Ok(())
}

/// Reads what makes the store itself, or begins it; a new ticket of the same host takes the
/// place of the old.
fn facts(home: &Home, options: &JoinOptions) -> Result<(Facts, Ticket), NodeError> {
    let before = home.read()?;
    if before.as_ref().is_some_and(|it| it.kind != Kind::Join) {
        return Err(NodeError::OtherKind {
            path: home.holder().to_owned(),
            found: "a shared folder",
            wanted: "the store of a joined one",
        });
    }
    let kept = before.as_ref().and_then(|it| it.ticket.as_deref());
    let kept = kept.map(Ticket::parse).transpose()?;
    let ticket = match (&options.ticket, kept) {
        (Some(given), Some(kept)) if given.peer != kept.peer => {
            return Err(NodeError::OtherFolder {
                path: home.holder().to_owned(),
            });
        }
        (Some(given), _) => given.clone(),
        (None, Some(kept)) => kept,
        (None, None) => {
            return Err(NodeError::NoTicket {
                path: options.point.clone(),
            });
        }
    };
    let name = match (&options.name, before) {
        (Some(name), _) => label(name)?,
        (None, Some(before)) => before.name,
        (None, None) => host_label(),
    };
    let facts = Facts {
        kind: Kind::Join,
        name,
        folder: None,
        port: None,
        ticket: Some(ticket.text()),
        invites: Vec::new(),
        mount: None,
    };
    home.write(&facts)?;
    Ok((facts, ticket))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::node::shared_folder;
    use tandem_core::ids::PeerId;
    use tandem_core::message::Secret;

    fn ticket(folder: Option<&str>) -> Ticket {
        Ticket {
            addresses: Vec::new(),
            peer: PeerId([0xab; 32]),
            secret: Secret([1; 32]),
            folder: folder.map(|name| Label::parse(name).unwrap()),
        }
    }

    #[test]
    fn a_store_is_named_for_its_folder_and_stays_in_its_directory() {
        assert_eq!(store_name(&ticket(Some("photos"))), "photos-abababab");
        assert_eq!(store_name(&ticket(Some(".."))), "-abababab");
        assert_eq!(store_name(&ticket(None)), "folder-abababab");
    }

    #[test]
    fn a_store_and_its_mount_do_not_hold_each_other() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().canonicalize().unwrap();
        let (store, mnt) = (dir.join("store"), dir.join("mnt"));
        check_places(&store, &mnt).unwrap();
        assert!(check_places(&store, &store.join("mnt")).is_err());
        assert!(check_places(&mnt.join("store"), &mnt).is_err());
        // Nor does a folder that is shared hold a store, or `.tandem` be shared itself.
        let folder = Home::of(&dir.join("folder"));
        folder.make().unwrap();
        fs::write(folder.dir().join("replica.toml"), "").unwrap();
        assert!(check_places(&folder.holder().join("deep/store"), &mnt).is_err());
        check_places(&folder.dir().join("mount"), &mnt).unwrap();
        assert!(shared_folder(folder.dir()).is_err());
    }
}
