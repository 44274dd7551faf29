//! Tandem's shells: the real mount, network and disk around the core. See
//! `docs/ARCHITECTURE.md`.

pub mod driver;
pub mod mount;
pub mod payload;
pub mod sink;
