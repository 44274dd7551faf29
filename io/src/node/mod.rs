//! A peer, built out of its parts: home, identity, metadata, folder or store, network, engine,
//! driver, mount, control socket.
//!
//! Law: what was started is stopped again, in the opposite order, when a start fails halfway and
//! when the process is asked to end; and a process that ended on purpose has everything on disk
//! and nothing left mounted.

mod addresses;
pub mod desk;
mod error;
mod guest;
mod guest_store;
pub mod home;
mod join;
pub mod known;
mod own_mount;
mod paths;
mod running;
mod share;
mod tickets;
mod wiring;

pub use error::NodeError;
pub use guest::{Guest, GuestOptions, guest, guest_home};
pub use join::{JoinOptions, join, store_of};
pub use paths::{data_dir, find_file, find_home, state_dir};
pub use running::Running;
pub use share::{ShareOptions, share, shared_folder};
