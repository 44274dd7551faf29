//! Tandem's shells: the real mount, network and disk around the core. See
//! `docs/ARCHITECTURE.md`.

pub mod cli;
pub mod config;
pub mod control;
pub mod disk;
pub mod driver;
pub mod log;
pub mod mount;
pub mod net;
pub mod node;
pub mod payload;
pub mod report;
pub mod sink;
pub mod watch;
