//! A guest: looks and downloads (`tandem ls`, `tandem get`), and leaves no replica behind.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tandem_core::action::WantState;
use tandem_core::engine::{Config, Host, Last};
use tandem_core::event::Event;
use tandem_core::message::Role;
use tandem_core::tree::name::Name;

use super::desk::Desk;
use super::guest_store::GuestStore;
use super::home::Home;
use super::join::dialler;
use super::running::Base;
use super::share::host_label;
use super::{NodeError, state_dir};
use crate::config::Settings;
use crate::disk::metadata::Opened;
use crate::driver::{self, Driver, Notice, Store};
use crate::net::Net;
use crate::net::identity::Identity;
use crate::net::ticket::Ticket;
use crate::sink::Sink;

/// What a guest is made with.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// The ticket.
    pub ticket: Ticket,
    /// Settings.
    pub settings: Settings,
}

/// A guest that knows the folder.
pub struct Guest {
    base: Base,
    net: Arc<Net>,
    desk: Arc<Desk>,
    store: Arc<GuestStore>,
}

/// Returns where the user's guest key and settings are: `$XDG_STATE_HOME/tandem`.
///
/// # Errors
/// When there is no home.
pub fn guest_home() -> Result<Home, NodeError> {
    // The directory is Tandem's own, so its home is itself and not a `.tandem` in it.
    Ok(Home::at(&state_dir()?))
}

/// Connects as a guest, and waits until the folder is known.
///
/// # Errors
/// When the host can't be reached, or refuses.
pub fn guest(home: &Home, options: &GuestOptions) -> Result<Guest, NodeError> {
    home.make()?;
    let identity = Identity::load_or_make(home.dir())?;
    let (ticket, settings) = (&options.ticket, &options.settings);
    let config = Config {
        host: Some(Host {
            peer: ticket.peer,
            secret: Some(ticket.secret),
        }),
        read_deadline: settings.read_deadline,
        retries: settings.retries,
        heartbeat: settings.heartbeat,
        ..Config::new(identity.peer(), host_label(), Role::Guest)
    };
    // It has no memory; what it left of a download was perhaps left by a kill.
    let opened = Opened {
        records: Vec::new(),
        last: Last::Killed,
        damaged: None,
    };
    let base = Base::make(config, opened, home.dir())?;
    let net = Arc::new(dialler(&base, identity, ticket)?);
    let store = GuestStore::start(Arc::clone(&base.payloads)).map_err(|why| NodeError::System {
        what: "a thread of the disk",
        why,
    })?;
    let store = Arc::new(store);
    store.report_to(Arc::clone(&base.driver) as Arc<dyn Sink>);
    let desk = Arc::new(Desk::default());
    base.driver.connect(driver::Parts {
        wire: Arc::clone(&net) as Arc<_>,
        store: Arc::clone(&store) as Arc<dyn Store>,
        front: Arc::clone(&desk) as Arc<_>,
    });
    let guest = Guest {
        base,
        net,
        desk,
        store,
    };
    match guest.base.await_first_exchange(ticket) {
        Ok(()) => Ok(guest),
        Err(error) => {
            guest.leave();
            Err(error)
        }
    }
}

impl Guest {
    /// Returns the desk at which to ask.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Returns the driver to ask.
    pub fn driver(&self) -> &Driver {
        &self.base.driver
    }

    /// Downloads the file at `path` to `target`, whose directory must be there. `progress` is
    /// told of bytes here and in all.
    ///
    /// # Errors
    /// When it was interrupted, or the engine broke. What became of the file is the value.
    pub fn fetch(
        &self,
        path: &[Name],
        target: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<WantState, NodeError> {
        self.store.aim(target);
        let wanted = self.desk.draw();
        self.base.driver.submit(Event::Want {
            req: wanted,
            path: path.to_vec(),
        });
        loop {
            let notice = match self.base.notices.recv_timeout(Duration::from_secs(1)) {
                Ok(notice) => notice,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(NodeError::Interrupted),
            };
            match notice {
                Notice::Wanted { req, state } if req == wanted => match state {
                    WantState::Progress { have, size } => progress(have, size),
                    WantState::Done { .. }
                    | WantState::NotFound
                    | WantState::IsDirectory
                    | WantState::IsSymlink
                    | WantState::NoSpace
                    | WantState::Failed => return Ok(state),
                },
                Notice::Wanted { .. } | Notice::Stopped => {}
                Notice::StopAsked => return Err(NodeError::Interrupted),
                Notice::Broken(why) => return Err(NodeError::Broken(why)),
                Notice::Halted(why) => return Err(NodeError::Halted(why)),
            }
        }
    }

    /// Says goodbye. What was begun can be taken up by another guest.
    pub fn leave(self) {
        if !self.base.driver.is_broken() {
            self.base.driver.submit(Event::Stop);
            self.await_stopped();
        }
        self.net.shutdown();
        self.base.runtime.block_on(self.net.closed());
        self.base.driver.shutdown();
    }

    /// Waits a little for the engine's end: sidecars are then marked clean.
    fn await_stopped(&self) {
        const WITHIN: Duration = Duration::from_secs(5);
        let deadline = std::time::Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.base.notices.recv_timeout(left) {
                Ok(Notice::Stopped | Notice::Broken(_)) | Err(_) => return,
                Ok(Notice::Wanted { .. } | Notice::StopAsked | Notice::Halted(_)) => {}
            }
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}
