//! Nodes, their registers, and the tree that follows from them.

pub mod check;
pub mod conflict;
pub mod contest;
pub mod name;
pub mod register;
pub mod runs;
pub mod store;
pub mod view;

mod arena;
mod cycle;
mod derive;
mod face;
mod facts;
pub(crate) mod invariant;
mod seat;
mod settle;
mod take;
