//! Tandem's shells: the real mount, network and disk around the core. See
//! `docs/ARCHITECTURE.md`.

pub mod disk;
pub mod net;
pub mod payload;
pub mod sink;
pub mod watch;
