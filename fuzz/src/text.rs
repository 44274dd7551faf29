//! What people hand to the program: tickets and settings.

use std::path::PathBuf;

use crate::io::config::{ConfigError, FILE, Given};
use crate::io::ticket::{ADDRESSES_MAX, Ticket, TicketError};

/// The checksum of a ticket, in bytes.
const SUM: usize = 4;

/// Reads any bytes as a ticket's text, and as what a ticket's text says, with a checksum that
/// holds. What is accepted is read again as it was written.
///
/// # Panics
///
/// When a law does not hold.
pub fn ticket(bytes: &[u8]) {
    let _ = ticket_text(&String::from_utf8_lossy(bytes));
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes()[..SUM]);
    let text = data_encoding::BASE32_NOPAD.encode(&sealed);
    let read = ticket_text(&format!("tandem1{text}"));
    let is_refused = matches!(read, Err(TicketError::Senseless(_)));
    let is_long = matches!(read, Err(TicketError::Foreign)) && text.len() > 8_000;
    assert!(
        read.is_ok() || is_refused || is_long,
        "a checksum that holds is no damage: {read:?}"
    );
}

fn ticket_text(text: &str) -> Result<Ticket, TicketError> {
    let read = Ticket::parse(text);
    match &read {
        Ok(ticket) => {
            assert!(ticket.addresses.len() <= ADDRESSES_MAX);
            let again = Ticket::parse(&ticket.text());
            assert_eq!(again.ok().as_ref(), Some(ticket), "it reads back as it was");
            let loud = format!("\n{}\n", ticket.text().to_uppercase());
            assert_eq!(Ticket::parse(&loud).ok().as_ref(), Some(ticket));
        }
        Err(error) => assert_sentence(&error.to_string()),
    }
    read
}

/// Reads any text as a file of settings. What is accepted is within its ranges or names the
/// setting that is not; what is refused names the file and a line of it.
///
/// # Panics
///
/// When a law does not hold.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.split('\n').count();
    match Given::parse(text, PathBuf::from(FILE)) {
        Ok(given) => match given.or(Given::default()) {
            Ok(settings) => {
                let times = [settings.read_deadline, settings.heartbeat];
                let is_usable = |millis: u128| (100..=3_600_000).contains(&millis);
                assert!(times.iter().all(|time| is_usable(time.as_millis())));
                assert!((1..=1_000).contains(&settings.retries));
            }
            Err(error) => {
                assert!(matches!(error, ConfigError::Range { .. }), "{error}");
                assert_sentence(&error.to_string());
            }
        },
        Err(error) => {
            let ConfigError::Parse { what, .. } = &error else {
                panic!("a text is read from no file: {error}");
            };
            let line = what
                .strip_prefix("line ")
                .and_then(|rest| rest.split_once(':'));
            let line = line.and_then(|(line, _)| line.parse::<usize>().ok());
            assert!(
                line.is_some_and(|line| (1..=lines).contains(&line)),
                "{what}"
            );
            assert!(error.to_string().contains(FILE));
        }
    }
}

fn assert_sentence(words: &str) {
    assert!(!words.is_empty() && !words.contains('\n'), "{words:?}");
}
