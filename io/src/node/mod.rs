//! x
pub mod known;
