//! Drawing the secret of a ticket.
//!
//! Law: it comes from the operating system; nobody can guess it.

use std::io;

use aws_lc_rs::rand;
use tandem_core::message::Secret;

use super::ticket::Ticket;

impl Ticket {
    /// Draws a secret.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn draw_secret() -> io::Result<Secret> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| io::Error::other("no randomness to be had"))?;
        Ok(Secret(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        assert_ne!(
            Ticket::draw_secret().unwrap(),
            Ticket::draw_secret().unwrap()
        );
    }
}
