//! The simulator: engines in virtual time, in a world where everything breaks, and oracles that
//! judge what they do. See `README.md`.

pub mod chaos;
pub mod check;
pub mod choices;
pub mod config;
pub mod disk;
pub mod editor;
mod edits;
mod hostile;
pub mod html;
pub mod hunt;
mod jobs;
pub mod kernel;
pub mod knobs;
pub mod marks;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod net;
pub mod outside;
pub mod peer;
mod perform;
pub mod reach;
mod reads;
pub mod run;
mod show;
pub mod shrink;
pub mod story;
pub mod tale;
pub mod trace;
pub mod user;
mod wire;
mod words;
pub mod world;
