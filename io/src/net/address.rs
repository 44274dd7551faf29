//! Where a peer may be reached: a host and a port.
//!
//! Law: it is fit to be resolved, printed and put into a ticket; whether anybody is there is
//! another question.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest name of a host, in bytes (RFC 1035 §2.3.4, less the root's dot).
const HOST_LEN_MAX: usize = 253;

/// A host, by name or number, and a port of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has no port, or port 0.
    #[error("an address is HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535")]
    Port,
    /// Its host is no name and no number.
    #[error("the host of an address is a name of letters, digits, '.', '-', '_', or an IP address")]
    Host,
}

impl Address {
    /// Returns the host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, at least 1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket's address, if the host is a number.
    pub fn socket(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port.parse() {
            Ok(port) if digits && port > 0 => port,
            Ok(_) | Err(_) => return Err(AddressError::Port),
        };
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(number) if is_v6(number) => number,
            None if is_name(host) => host,
            Some(_) | None => return Err(AddressError::Host),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// An IPv6 address, with a zone (RFC 4007 §11) where it is link-local.
fn is_v6(host: &str) -> bool {
    let (number, zone) = host.split_once('%').unwrap_or((host, "0"));
    number.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

fn is_name(host: &str) -> bool {
    (1..=HOST_LEN_MAX).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self {
            host: match socket {
                SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                    format!("{}%{}", v6.ip(), v6.scope_id())
                }
                SocketAddr::V4(_) | SocketAddr::V6(_) => socket.ip().to_string(),
            },
            port: socket.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in [
            "localhost:1",
            "127.0.0.1:4711",
            "[::1]:65535",
            "[fe80::1%eth0]:7",
            "[::ffff:10.0.0.1]:7",
            "xn--bcher-kva.example:443",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let socket: SocketAddr = "[fe80::1%2]:80".parse().unwrap();
        let address = Address::from(socket);
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "host",
            "host:",
            ":1",
            "host:0",
            "host:65536",
            "host:+1",
            "[::1]",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        for text in [
            "::1:80",
            "[host]:1",
            "a b:1",
            "a/b:1",
            "[::1%]:1",
            "h\u{f6}:1",
            "[:1",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Host), "{text}");
        }
    }
}
