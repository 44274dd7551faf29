//! The engine, driven by its events alone: stories that are read, laws over random histories,
//! and peers that break every rule.

mod hostile;
mod laws;
mod stage;
mod stories;
