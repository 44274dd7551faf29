//! Where this machine may be reached: what a ticket says.
//!
//! Law: a listener on every address is told as the addresses that the machine has, those that
//! others can reach first, loopback last (for a peer on the same machine). They are raced, so a
//! useless one costs nothing.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Returns the addresses at which the listeners may be reached.
pub(super) fn reachable(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let (v4, v6) = (own_v4(), own_v6());
    let mut found = Vec::new();
    for listener in listening {
        let port = listener.port();
        let ips: Vec<IpAddr> = match listener.ip() {
            ip if !ip.is_unspecified() => vec![ip],
            // `[::]` takes both families.
            IpAddr::V6(_) => (v4.iter().copied().map(IpAddr::V4))
                .chain(v6.iter().copied().map(IpAddr::V6))
                .collect(),
            IpAddr::V4(_) => v4.iter().copied().map(IpAddr::V4).collect(),
        };
        found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, port)));
    }
    found.sort_by_key(|address| address.ip().is_loopback());
    let mut unique = Vec::new();
    for address in found {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

/// Returns the machine's IPv4 addresses, by the kernel's routing table; loopback always.
fn own_v4() -> Vec<Ipv4Addr> {
    let mut found = fs::read_to_string("/proc/net/fib_trie")
        .map(|table| local_v4(&table))
        .unwrap_or_default();
    found.retain(|ip| !ip.is_loopback());
    found.push(Ipv4Addr::LOCALHOST);
    found
}

/// Reads the leaves `|-- ADDRESS` that a line `/32 host LOCAL` follows.
fn local_v4(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Returns the machine's global IPv6 addresses; loopback, if it has that. Link-local ones need a
/// zone that the peer would have to know.
fn own_v6() -> Vec<Ipv6Addr> {
    fs::read_to_string("/proc/net/if_inet6")
        .map(|table| local_v6(&table))
        .unwrap_or_default()
}

/// Reads lines `ADDRESS index prefix scope flags device`: 32 hex digits, then numbers in hex.
fn local_v6(table: &str) -> Vec<Ipv6Addr> {
    /// Scopes of the kernel's `include/net/ipv6.h`: global, and the host itself.
    const GLOBAL: &str = "00";
    const HOST: &str = "10";
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u128::from_str_radix(words.next()?, 16).ok()?;
            let scope = words.nth(2)?;
            (scope == GLOBAL || scope == HOST).then(|| Ipv6Addr::from(address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_kernels_tables() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(table), [Ipv4Addr::new(10, 0, 0, 7)]);
        let table = "00000000000000000000000000000001 01 80 10 80 lo\n\
            fe80000000000000000000000000abcd 02 40 20 80 eth0\n\
            20010db8000000000000000000000042 02 40 00 80 eth0\nnonsense\n";
        let found = local_v6(table);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], "2001:db8::42".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn a_listener_of_one_address_is_told_as_it_is_and_loopback_comes_last() {
        let listening = ["[::]:7", "127.0.0.1:8", "192.0.2.1:9"].map(|text| text.parse().unwrap());
        let found = reachable(&listening);
        assert!(found.contains(&"192.0.2.1:9".parse().unwrap()));
        assert!(found.contains(&"127.0.0.1:7".parse().unwrap()));
        let first_loopback = found.iter().position(|it| it.ip().is_loopback()).unwrap();
        assert!(
            found[first_loopback..]
                .iter()
                .all(|it| it.ip().is_loopback())
        );
    }
}
