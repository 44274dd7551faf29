//! The mount of a folder on the machine that shares it (`share --mount`): a second, sparse replica
//! in the same process, joined over loopback.
//!
//! Law: it is a peer like any other, with a key and a store of its own in `.tandem/mount`, which
//! nobody lists, watches or shares; so what is written through it takes the same way into the
//! folder as what comes from afar, and is as safe. Its invitation is for it alone, and is never
//! shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tandem_core::ids::PeerId;
use tandem_core::label::Label;

use super::NodeError;
use super::home::{Facts, Home, Invited};
use super::join::{JoinOptions, join};
use super::running::Running;
use crate::config::Settings;
use crate::mount::PointError;
use crate::net::identity::Identity;
use crate::net::ticket::Ticket;
use crate::report::hex;

/// The name of its store, in the `.tandem` of the folder.
const STORE: &str = "mount";

/// Where the numbers of its invitations begin: above those of all tickets that are given out.
const INVITES_FROM: u64 = 1 << 32;

/// What a folder is mounted with.
#[derive(Clone, Debug)]
pub(super) struct OwnMount {
    /// The mount point, as `point::place` gives it.
    pub(super) point: PathBuf,
    /// Whether anything may be changed through it.
    pub(super) writable: bool,
    /// Settings.
    pub(super) settings: Settings,
}

/// Returns the home of the mount's replica.
fn home_of(home: &Home) -> Home {
    Home::of(&home.dir().join(STORE))
}

/// Returns the key of the mount's replica, if there is one.
pub(super) fn peer(home: &Home) -> Result<Option<PeerId>, NodeError> {
    let own = home_of(home);
    if !own.is_lived_in() {
        return Ok(None);
    }
    Ok(Some(Identity::load_or_make(own.dir())?.peer()))
}

/// Refuses a mount point in the folder, which would show the mount in itself.
pub(super) fn check_point(home: &Home, point: &Path) -> Result<(), NodeError> {
    if !point.starts_with(home.holder()) {
        return Ok(());
    }
    Err(PointError::Inside {
        path: point.to_owned(),
        other: home.holder().to_owned(),
        what: "the folder that it is to show",
    }
    .into())
}

/// Draws the invitation, if there is none or the replica that it let in is gone: an invitation
/// lets in one key only.
pub(super) fn invite(home: &Home, facts: &mut Facts) -> Result<(), NodeError> {
    let before = facts.mount.as_ref().map(|invited| invited.id);
    if before.is_some() && home_of(home).is_lived_in() {
        return Ok(());
    }
    let secret = Ticket::draw_secret().map_err(|why| NodeError::System {
        what: "randomness",
        why,
    })?;
    facts.mount = Some(Invited {
        id: before.map_or(INVITES_FROM, |id| id + 1),
        secret: hex(&secret.0),
    });
    Ok(())
}

/// Joins the folder that `host` shares and listens for at `listening`, and mounts it.
pub(super) fn mount(
    home: &Home,
    facts: &Facts,
    (host, listening): (PeerId, &[SocketAddr]),
    own: &OwnMount,
) -> Result<Running, NodeError> {
    let secret = facts.mount.as_ref().and_then(Invited::secret);
    let secret = secret.ok_or_else(|| NodeError::Facts {
        path: home.dir().to_owned(),
        what: "the secret of the mount is damaged".to_owned(),
    })?;
    let name = home.holder().file_name().unwrap_or_default();
    let ticket = Ticket {
        addresses: near(listening).into_iter().map(Into::into).collect(),
        peer: host,
        secret,
        folder: Some(Label::lossy(&name.to_string_lossy())),
    };
    let options = JoinOptions {
        ticket: Some(ticket),
        point: own.point.clone(),
        name: Some(facts.name.as_str().to_owned()),
        writable: own.writable,
        settings: own.settings.clone(),
        end_with_input: false,
    };
    join(&home_of(home), &options)
}

/// Returns the addresses of this machine's own listeners as the machine itself reaches them.
fn near(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
    listening
        .iter()
        .flat_map(|listener| {
            let port = listener.port();
            match listener.ip() {
                ip if !ip.is_unspecified() => vec![*listener],
                IpAddr::V4(_) => vec![at(Ipv4Addr::LOCALHOST.into(), port)],
                // `[::]` takes both families.
                IpAddr::V6(_) => vec![
                    at(Ipv4Addr::LOCALHOST.into(), port),
                    at(Ipv6Addr::LOCALHOST.into(), port),
                ],
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::home::Kind;

    #[test]
    fn a_listener_is_reached_nearby() {
        let listening = ["[::]:7", "0.0.0.0:8", "192.0.2.1:9"].map(|text| text.parse().unwrap());
        let near: Vec<String> = near(&listening).iter().map(ToString::to_string).collect();
        assert_eq!(
            near,
            ["127.0.0.1:7", "[::1]:7", "127.0.0.1:8", "192.0.2.1:9"]
        );
    }

    #[test]
    fn an_invitation_stays_as_long_as_the_replica_that_it_let_in() {
        let holder = tempfile::tempdir().unwrap();
        let home = Home::of(holder.path());
        let mut facts = Facts {
            kind: Kind::Share,
            name: Label::parse("ada").unwrap(),
            folder: None,
            port: None,
            ticket: None,
            invites: Vec::new(),
            mount: None,
        };
        invite(&home, &mut facts).unwrap();
        let first = facts.mount.clone().unwrap();
        let own = home_of(&home);
        own.make().unwrap();
        own.write(&facts).unwrap();
        invite(&home, &mut facts).unwrap();
        assert_eq!(facts.mount, Some(first.clone()));
        std::fs::remove_dir_all(own.holder()).unwrap();
        invite(&home, &mut facts).unwrap();
        let second = facts.mount.unwrap();
        assert_eq!(second.id, first.id + 1);
        assert_ne!(second.secret, first.secret);
    }

    #[test]
    fn a_mount_in_its_own_folder_is_refused() {
        let home = Home::of(Path::new("/srv/photos"));
        check_point(&home, Path::new("/srv/photos-mnt")).unwrap();
        for inside in ["/srv/photos", "/srv/photos/mnt"] {
            assert!(check_point(&home, Path::new(inside)).is_err(), "{inside}");
        }
    }
}
