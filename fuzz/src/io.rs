//! The parsers of `tandem-io`, compiled by themselves: the rest of that package would bring
//! SQLite, TLS and gRPC into the fuzzer, and minutes into its build.
#![allow(
    dead_code,
    unreachable_pub,
    unnameable_types,
    reason = "they are a part of tandem-io, whose other parts use the rest of them"
)]

#[path = "../../io/src/net/address.rs"]
pub(crate) mod address;
#[path = "../../io/src/config.rs"]
pub(crate) mod config;
#[path = "../../io/src/net/ticket.rs"]
pub(crate) mod ticket;
