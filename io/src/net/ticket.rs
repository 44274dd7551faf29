//! A ticket: all that a peer needs to join, as one word.
//!
//! Law: a ticket reads back as it was written; a character that is wrong, missing or swapped is
//! noticed. It holds a secret: only [`Ticket::text`] shows it.
//!
//! The text is `tandem1` and the base32 (RFC 4648, lower case, no padding) of: the peer's id (32
//! bytes), the secret (32 bytes), the length of the folder's name (1 byte, 0 if there is none)
//! and the name, the number of addresses (1 byte) and of each its length (1 byte) and text, and
//! the first four bytes of the little-endian xxh3-64 of all that.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use data_encoding::BASE32_NOPAD;
use tandem_core::ids::PeerId;
use tandem_core::label::Label;
use tandem_core::message::Secret;
use xxhash_rust::xxh3::xxh3_64;

use super::address::Address;

/// What every ticket begins with; the digit is the version of its layout.
const PREFIX: &str = "tandem1";

/// The addresses that a ticket may have: more are never tried within a dialling's deadline.
pub const ADDRESSES_MAX: usize = 16;

/// The most that a ticket's text may have, in bytes: with all its addresses at their longest.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// What a peer needs to join.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Where the one who shares may be reached; at most [`ADDRESSES_MAX`].
    pub addresses: Vec<Address>,
    /// Its key.
    pub peer: PeerId,
    /// What makes the bearer welcome.
    pub secret: Secret,
    /// What the folder is called.
    pub folder: Option<Label>,
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The text is something else.
    #[error("this is no ticket: a ticket begins with {PREFIX}; copy all of what tandem share says")]
    Foreign,
    /// A later version made it.
    #[error("this ticket was made by a newer Tandem; update this one")]
    Newer,
    /// A character is wrong, missing or swapped.
    #[error("this ticket is damaged: a character of it is wrong or missing; copy it again")]
    Damaged,
    /// Its checksum holds, but what it says makes no sense.
    #[error("this ticket says nothing sensible ({0}); ask for a new one")]
    Senseless(&'static str),
    /// The argument is no ticket and names no file that can be read.
    #[error(
        "{what} is no ticket, nor a file that holds one: {why}; copy all of what tandem share says, or name the file that it wrote"
    )]
    Read {
        /// What was given.
        what: String,
        /// Why it can't be read.
        why: io::Error,
    },
}

impl Ticket {
    /// Returns the ticket that `argument` is, names a file of, or (`-`) is on standard input.
    pub fn read(argument: &str) -> Result<Self, TicketError> {
        if argument == "-" {
            return Self::read_from(argument, io::stdin());
        }
        match Self::parse(argument) {
            Err(TicketError::Foreign) => match File::open(argument) {
                Ok(file) => Self::read_from(argument, file),
                Err(why) => Err(unreadable(argument, why)),
            },
            parsed => parsed,
        }
    }

    fn read_from(argument: &str, from: impl Read) -> Result<Self, TicketError> {
        let mut text = String::new();
        from.take(TEXT_BYTES_MAX as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|why| unreadable(argument, why))?;
        Self::parse(&text)
    }

    /// Returns the ticket that `text` is. White space around it and the case of its letters do
    /// not count.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TicketError::Foreign);
        }
        let text = text.to_ascii_uppercase();
        let Some(body) = text.strip_prefix(&PREFIX.to_ascii_uppercase()) else {
            let versioned = text
                .strip_prefix("TANDEM")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            let well_formed = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return Err(if versioned && well_formed && text.len() > 64 {
                TicketError::Newer
            } else {
                TicketError::Foreign
            });
        };
        let bytes = BASE32_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| TicketError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk().ok_or(TicketError::Damaged)?;
        if *sum != checksum(body) {
            return Err(TicketError::Damaged);
        }
        Self::decode(body).map_err(TicketError::Senseless)
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (peer, bytes) = bytes.split_first_chunk().ok_or("no key")?;
        let (secret, bytes) = bytes.split_first_chunk().ok_or("no secret")?;
        let (name, bytes) = counted(bytes).ok_or("no folder")?;
        let folder = match name {
            "" => None,
            name => Some(Label::parse(name).map_err(|_| "a folder's name that is none")?),
        };
        let (&count, mut bytes) = bytes.split_first().ok_or("no addresses")?;
        if usize::from(count) > ADDRESSES_MAX {
            return Err("too many addresses");
        }
        let mut addresses = Vec::new();
        for _ in 0..count {
            let (text, rest) = counted(bytes).ok_or("an address that is cut short")?;
            addresses.push(text.parse().map_err(|_| "an address that is none")?);
            bytes = rest;
        }
        if !bytes.is_empty() {
            return Err("more than addresses");
        }
        Ok(Self {
            addresses,
            peer: PeerId(*peer),
            secret: Secret(*secret),
            folder,
        })
    }

    /// Returns its text, secret and all. Addresses beyond [`ADDRESSES_MAX`], or with a name so
    /// long that it does not fit, are left out.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        bytes.extend(self.peer.0);
        bytes.extend(self.secret.0);
        let folder = self.folder.as_ref().map_or("", Label::as_str);
        bytes.extend(u8::try_from(folder.len()));
        bytes.extend(folder.as_bytes());
        let addresses: Vec<(u8, String)> = self
            .addresses
            .iter()
            .map(ToString::to_string)
            .filter_map(|text| Some((u8::try_from(text.len()).ok()?, text)))
            .take(ADDRESSES_MAX)
            .collect();
        bytes.extend(u8::try_from(addresses.len()));
        for (len, text) in addresses {
            bytes.push(len);
            bytes.extend(text.as_bytes());
        }
        bytes.extend(checksum(&bytes));
        PREFIX.to_owned() + &BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }
}

/// Says whose it is and where; the secret is never printed (S36).
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("addresses", &self.addresses)
            .field("peer", &self.peer)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64(bytes).to_le_bytes();
    [a, b, c, d]
}

/// Splits off a text that stands behind its length.
fn counted(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&len, bytes) = bytes.split_first()?;
    let (text, rest) = bytes.split_at_checked(len.into())?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// What can't be read may be a ticket whose beginning was lost, and then holds a secret: only
/// what looks like a path is named in full (S36).
fn unreadable(argument: &str, why: io::Error) -> TicketError {
    let what = if argument == "-" {
        "standard input".to_owned()
    } else if argument.contains(['/', '.']) || argument.len() <= 32 {
        format!("'{argument}'")
    } else {
        let start: String = argument.chars().take(8).collect();
        format!("'{start}…'")
    };
    TicketError::Read { what, why }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            addresses: [
                "192.168.1.2:7000",
                "[fe80::1%eth0]:7000",
                "ada.example:7000",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
            peer: PeerId([0xad; 32]),
            secret: Secret([0x5e; 32]),
            folder: Some(Label::parse("photos").unwrap()),
        }
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        let plain = Ticket {
            addresses: Vec::new(),
            folder: None,
            ..ticket()
        };
        for ticket in [ticket(), plain] {
            let text = ticket.text();
            assert!(text.starts_with("tandem1"));
            assert_eq!(Ticket::parse(&text).unwrap(), ticket);
            assert_eq!(Ticket::parse(&format!(" {text}\n")).unwrap(), ticket);
            assert_eq!(Ticket::parse(&text.to_uppercase()).unwrap(), ticket);
        }
    }

    #[test]
    fn every_typo_is_noticed() {
        let text = ticket().text();
        for at in PREFIX.len()..text.len() {
            for letter in "a7x0-".chars() {
                let mut typo = text.clone();
                typo.replace_range(at..=at, &letter.to_string());
                if typo != text {
                    let error = Ticket::parse(&typo).unwrap_err();
                    assert!(matches!(error, TicketError::Damaged), "{at} {error}");
                }
            }
            let mut short = text.clone();
            short.remove(at);
            assert!(Ticket::parse(&short).is_err(), "{at}");
            assert!(Ticket::parse(&text[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        for text in [
            "",
            "hello",
            "tandem",
            "tandemonium",
            "tandem2",
            "tande\u{301}m1",
        ] {
            assert!(
                matches!(Ticket::parse(text), Err(TicketError::Foreign)),
                "{text}"
            );
        }
        let newer = ticket().text().replacen("tandem1", "tandem2", 1);
        assert!(matches!(Ticket::parse(&newer), Err(TicketError::Newer)));
        let long = "tandem1".to_owned() + &"a".repeat(10_000);
        assert!(Ticket::parse(&long).is_err());
    }

    #[test]
    fn a_sound_checksum_does_not_make_a_ticket() {
        let of = |body: &[u8]| {
            let bytes = [body, &checksum(body)].concat();
            Ticket::parse(&(PREFIX.to_owned() + &BASE32_NOPAD.encode(&bytes)))
        };
        let keys = [7; 64];
        for tail in [
            &b""[..],
            b"\x05ab",
            b"\x00",
            b"\x00\xff",
            b"\x00\x01\x01x",
            b"\x00\x01\x03h:1extra",
            b"\x01/\x00",
        ] {
            let error = of(&[&keys[..], tail].concat()).unwrap_err();
            assert!(matches!(error, TicketError::Senseless(_)), "{tail:?}");
        }
        assert!(of(&[&keys[..], b"\x00\x01\x03h:1"].concat()).is_ok());
    }

    #[test]
    fn it_is_read_from_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", ticket().text()).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(Ticket::read(path).unwrap(), ticket());
        assert_eq!(Ticket::read(&ticket().text()).unwrap(), ticket());
        let error = Ticket::read("/no/such/file").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("'/no/such/file' is no ticket")
        );
    }

    #[test]
    fn its_secret_is_not_printed_s36() {
        let ticket = ticket();
        assert!(!format!("{ticket:?}").contains("5e5e"));
        assert!(!format!("{ticket:?}").contains("94"));
        let text = ticket.text();
        let beheaded = &text[1..];
        let error = Ticket::read(beheaded).unwrap_err().to_string();
        assert!(!error.contains(&text[20..60]), "{error}");
    }
}
