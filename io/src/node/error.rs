//! Why a peer could not be started, or did not end well: for its user, in one line each.

use std::io;
use std::path::PathBuf;

use tandem_core::engine::RestoreError;
use tandem_core::label::LabelError;
use tandem_core::tree::name::NameError;

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::disk::folder::FolderError;
use crate::disk::metadata::MetadataError;
use crate::mount::PointError;
use crate::net::NetError;
use crate::net::identity::IdentityError;
use crate::net::ticket::TicketError;

/// What went wrong, on what, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder to be shared can't be used.
    #[error("can't share {path}: {why}; name a directory that is there and that you may read and write", path = .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The folder to be shared can't be used, and the reason says what to do.
    #[error("can't share the folder: {0}")]
    Shared(FolderError),
    /// The folder to be shared is Tandem's own, with its keys.
    #[error("can't share {path}: it belongs to tandem itself, with keys in it; name another directory", path = .path.display())]
    Own {
        /// Which.
        path: PathBuf,
    },
    /// The store is something else.
    #[error("can't use {path} as a store: it is not a directory; choose an empty or missing one", path = .path.display())]
    StoreNotDirectory {
        /// Which.
        path: PathBuf,
    },
    /// A `.tandem`, or a file in it, can't be made, read or written.
    #[error("can't use {path}: {why}; check its permissions and the space on its disk", path = .path.display())]
    Home {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A file in a `.tandem` makes no sense.
    #[error("can't understand {path}: {what}; restore it from a backup, or move its directory away and pair again", path = .path.display())]
    Facts {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The home is of another kind of replica.
    #[error("{path} holds {found}, not {wanted}; choose another directory", path = .path.display())]
    OtherKind {
        /// Which directory.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The store was joined with another peer.
    #[error(
        "the store {path} belongs to another folder, or to this one as it was before its .tandem was \
         removed; give another --store, or leave it out (what was written there is kept: \
         tandem join MNT --store {path} shows it)",
        path = .path.display()
    )]
    OtherFolder {
        /// Which store.
        path: PathBuf,
    },
    /// No ticket, and none was ever used here.
    #[error("don't know what to mount at {path}: nothing was mounted there before; give a ticket (tandem join TICKET {path})", path = .path.display())]
    NoTicket {
        /// The mount point.
        path: PathBuf,
    },
    /// No directory for data is known.
    #[error(
        "don't know where to keep {what}: neither {variable} nor HOME is set; set one of them{hint}"
    )]
    NoPlace {
        /// What is to be kept.
        what: &'static str,
        /// The variable that would say it.
        variable: &'static str,
        /// What else can be done.
        hint: &'static str,
    },
    /// The ticket's text can't be written where it was to go.
    #[error("can't write the ticket to {path}: {why}; choose another --ticket-file", path = .path.display())]
    TicketFile {
        /// Where.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The name is none.
    #[error("can't use --name {name:?}: {why}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: LabelError,
    },
    /// No shared file can have this name.
    #[error("can't look for {path}: {why}; name a file of a shared folder or of its mount", path = .path.display())]
    FileName {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: NameError,
    },
    /// What the store says can't be taken up.
    #[error("can't use {path}: {why}; move that directory away to start over from what is on disk", path = .path.display())]
    Restore {
        /// Which metadata.
        path: PathBuf,
        /// Why.
        why: RestoreError,
    },
    /// The other side does not let us in.
    #[error("{peer} does not let us in: {why}")]
    Refused {
        /// Whom the ticket names.
        peer: String,
        /// Its reason, and what to do.
        why: String,
    },
    /// The other side can't be reached.
    #[error(
        "can't reach {peer} at {addresses}: nobody answers; check that tandem share runs there and that the network and its firewall let you through"
    )]
    Unreachable {
        /// Whom the ticket names.
        peer: String,
        /// Where it was looked for.
        addresses: String,
    },
    /// The other side was reached and has not told everything.
    #[error(
        "{peer} was reached, and sent nothing for {secs} s; try again, or start it again there"
    )]
    Silent {
        /// Whom the ticket names.
        peer: String,
        /// How long was waited.
        secs: u64,
    },
    /// The engine broke one of its own laws.
    #[error("stopped by an error of tandem's own: {0}; start it again, and please report this")]
    Broken(String),
    /// The engine stopped by itself, until somebody has said what is meant.
    #[error("stopped: {0}")]
    Halted(String),
    /// It did not get everything onto the disk in time.
    #[error(
        "stopped after {0} s without having everything on disk; nothing that was acknowledged is lost, and the next start checks it"
    )]
    Unfinished(u64),
    /// It was told to end before it was ready.
    #[error("stopped before it was ready")]
    Interrupted,
    /// The operating system gives no threads, randomness or signals.
    #[error("can't start: {what}: {why}; check the limits of this user (ulimit -a)")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why it was not given.
        why: io::Error,
    },
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The mount.
    #[error(transparent)]
    Point(#[from] PointError),
    /// The ticket.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The network.
    #[error("can't start the network: {0}")]
    Net(#[from] NetError),
    /// The key.
    #[error("can't use the key of this peer: {0}")]
    Identity(#[from] IdentityError),
    /// Another process has it.
    #[error("can't use {path}: process {pid} serves it already; stop that first (tandem stop {path})", path = .path.display())]
    Busy {
        /// Which folder or store.
        path: PathBuf,
        /// Which process.
        pid: String,
    },
    /// The metadata.
    #[error("can't open the metadata: {0}")]
    Metadata(MetadataError),
}
