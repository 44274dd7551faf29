//! The tickets of a shared folder: the one that is given out, and a further one where that ends.
//!
//! Law: an invitation is kept in the home before anybody hears of its ticket, so that it holds after
//! a start; the last that is kept is the one that is given out.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tandem_core::engine::Invite;
use tandem_core::ids::PeerId;
use tandem_core::label::Label;
use tandem_core::message::Secret;

use super::NodeError;
use super::addresses::reachable;
use super::home::{Facts, Home, Invited};
use super::own_mount;
use crate::net::Net;
use crate::net::ticket::Ticket;
use crate::report::hex;

/// What a running folder needs to give out tickets.
pub(super) struct Tickets {
    home: Home,
    me: PeerId,
    net: Arc<Net>,
    /// Held by whoever changes what is kept.
    keeping: Mutex<()>,
}

impl Tickets {
    pub(super) fn new(home: &Home, me: PeerId, net: Arc<Net>) -> Self {
        Self {
            home: home.clone(),
            me,
            net,
            keeping: Mutex::default(),
        }
    }

    /// Returns the key of the folder's mount on this machine, if it was ever mounted.
    pub(super) fn own_mount(&self) -> Result<Option<PeerId>, NodeError> {
        own_mount::peer(&self.home)
    }

    /// Returns the text of the ticket with this secret.
    pub(super) fn text(&self, secret: Secret) -> String {
        let name = self.home.holder().file_name().unwrap_or_default();
        let folder = Some(Label::lossy(&name.to_string_lossy()));
        let addresses = reachable(&self.net.listening()).into_iter().map(Into::into);
        Ticket {
            addresses: addresses.collect(),
            peer: self.me,
            secret,
            folder,
        }
        .text()
    }

    /// Draws a further invitation, and keeps it, if the one that is given out is among those that
    /// are about to end.
    pub(super) fn succeed(&self, ending: &[u64]) -> Result<Option<Invite>, NodeError> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = self.home.read()?;
        let mut facts = facts.ok_or_else(|| NodeError::Facts {
            path: self.home.dir().to_owned(),
            what: "they are gone".to_owned(),
        })?;
        let last = facts.invites.last().map(|invited| invited.id);
        if last.is_none_or(|last| !ending.contains(&last)) {
            return Ok(None);
        }
        let invite = invite(&mut facts).map_err(|why| NodeError::System {
            what: "randomness",
            why,
        })?;
        self.home.write(&facts)?;
        Ok(Some(invite))
    }
}

/// Draws an invitation, the last of those that are kept.
pub(super) fn invite(facts: &mut Facts) -> io::Result<Invite> {
    let secret = Ticket::draw_secret()?;
    let ids = facts.invites.iter().map(|invited| invited.id);
    let id = ids.max().unwrap_or(0) + 1;
    facts.invites.push(Invited {
        id,
        secret: hex(&secret.0),
    });
    Ok(Invite { id, secret })
}
