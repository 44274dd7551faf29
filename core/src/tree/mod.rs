//! Nodes, their registers, and the tree that follows from them.

pub mod name;
pub mod register;
pub mod store;
pub mod view;
