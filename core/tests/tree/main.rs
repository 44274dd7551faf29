//! The tree: stories of each rule, and laws over random histories.

mod laws;
mod peer;
mod scale;
mod stories;
