//! What prost makes of `tandem.proto`. Nothing here is checked; see [`crate::convert`].

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::use_self,
    clippy::semicolon_if_nothing_returned,
    reason = "written by prost, documented in tandem.proto"
)]

use core::fmt;

include!(concat!(env!("OUT_DIR"), "/tandem.v1.rs"));

/// Its bytes are a secret: never printed (S36).
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
