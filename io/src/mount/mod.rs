//! The mount: a folder as the kernel of this machine sees it.
//!
//! Law: a mount that was made is taken away again, whatever becomes of the program that uses it
//! or of the engine behind it; and nobody waits for ever on it.

mod errno;
mod fuse;
mod notify;
pub mod point;
mod release;
mod requests;
mod show;
pub mod table;

use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};

pub use errno::errno;
pub use point::PointError;
pub use requests::{Objects, Requests, Space};
pub use show::Owner;

use crate::driver::Driver;
use fuse::Fuse;
use notify::Outbox;
use release::Released;
use table::SOURCE;

/// Threads that take calls from the kernel, each with its own descriptor: what measured best on
/// two cores (LIMITS.md §2).
const THREADS: usize = 2;

/// How long an unmounted session may take to end before the process goes without it; by eye.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The applications' side of a mount that is yet to be made: what the driver answers to.
#[derive(Debug)]
pub struct Gate {
    requests: Arc<Requests>,
    outbox: Arc<Outbox>,
}

impl Gate {
    /// Makes it. Reads are answered with bytes from `objects`.
    pub fn new(objects: Arc<dyn Objects>, owner: Owner) -> Self {
        let outbox = Arc::new(Outbox::default());
        Self {
            requests: Arc::new(Requests::new(objects, Arc::clone(&outbox), owner)),
            outbox,
        }
    }

    /// Returns what the driver is to be connected to.
    pub fn front(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }
}

/// A mount.
pub struct Mount {
    point: PathBuf,
    outbox: Arc<Outbox>,
    session: BackgroundSession,
}

impl Mount {
    /// Mounts at `point`, which [`point::prepare`] has made ready; read-only unless `writable`.
    ///
    /// # Errors
    /// When the kernel or `fusermount3` refuses.
    pub fn start(
        point: &Path,
        gate: &Gate,
        driver: &Arc<Driver>,
        writable: bool,
    ) -> Result<Self, PointError> {
        let refused = |why| PointError::Refused {
            path: point.to_owned(),
            why,
        };
        let fuse = Fuse::new(Arc::clone(driver), gate.front());
        let session = Session::new(fuse, point, &config(writable))
            .and_then(Session::spawn)
            .map_err(refused)?;
        gate.outbox
            .start(driver, session.notifier())
            .map_err(refused)?;
        Ok(Self {
            point: point.to_owned(),
            outbox: Arc::clone(&gate.outbox),
            session,
        })
    }

    /// Returns where it is.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Tells whether somebody else has unmounted it.
    pub fn has_ended(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts. Programs that still use it are named, and lose it.
    ///
    /// # Errors
    /// When it can't be unmounted.
    pub fn stop(self) -> Result<(), PointError> {
        self.outbox.close();
        let released = release::release(&self.point);
        let deadline = Instant::now() + END_WITHIN;
        while matches!(released, Ok(Released::Whole))
            && !self.has_ended()
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(2));
        }
        // Dropped, the session would unmount by path, where something else may stand by now. The
        // kernel ends it with this process.
        mem::forget(self.session);
        released.map(drop)
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("point", &self.point)
            .finish_non_exhaustive()
    }
}

/// Returns the options of a mount. Where nothing may be changed the kernel says so itself, and to
/// programs that ask before they try.
fn config(writable: bool) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(SOURCE.to_owned()),
        // Said to the kernel itself, so that root's mounts show it as well.
        MountOption::CUSTOM(format!("subtype={SOURCE}")),
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::DefaultPermissions,
    ];
    if !writable {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if rustix::process::geteuid().is_root() {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    config
}
