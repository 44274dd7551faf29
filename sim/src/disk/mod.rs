//! Simulated disks: the shared folder of a host, and a peer's own store.

mod drafts;
pub mod folder;
mod half;
pub mod objects;
pub mod place;
pub mod records;
