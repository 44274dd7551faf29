//! What the program says.

use std::ffi::OsStr;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use super::CliError;

/// Standard output and standard error.
#[derive(Debug)]
pub(super) struct Say;

impl Say {
    /// Writes a line to standard output, at once.
    pub(super) fn line(&self, line: impl Display) -> Result<(), CliError> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Writes a value as a line of JSON to standard output.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut line =
            serde_json::to_vec(value).map_err(|error| CliError::Output(io::Error::other(error)))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Writes bytes as they are to standard output.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(CliError::Output)
    }

    /// Tells whether a person reads standard output.
    pub(super) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes an error to standard error: one line, whatever it has in it.
    pub(super) fn error(&self, error: impl Display) {
        self.note(format_args!(
            "error: {}",
            without_numbers(&error.to_string())
        ));
    }

    /// Writes a line to standard error.
    pub(super) fn note(&self, note: impl Display) {
        let mut line = one_line(&note.to_string());
        line.push('\n');
        // Who closed it does not want to know.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    /// Returns a name as it may be shown: to a person without what would move a terminal's
    /// cursor, to a program as it is.
    pub(super) fn name(&self, name: &[u8]) -> Vec<u8> {
        if self.is_terminal() {
            one_line(&String::from_utf8_lossy(name)).into_bytes()
        } else {
            name.to_vec()
        }
    }
}

/// Returns text without the numbers that the standard library puts behind the words of the
/// operating system (` (os error 2)`).
fn without_numbers(text: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(BEGIN) {
        kept.push_str(before);
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = match digits.strip_prefix(')') {
            Some(rest) => rest,
            None => {
                kept.push_str(BEGIN);
                after
            }
        };
    }
    kept.push_str(rest);
    kept
}

/// Returns text without line breaks and other characters that control a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.trim_end().chars() {
        if c == '\n' || c == '\r' || c == '\t' {
            blank = true;
            continue;
        }
        if blank && !line.ends_with(' ') && c != ' ' {
            line.push(' ');
        }
        blank = false;
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Returns a path as a person would have to write it in a shell.
pub(super) fn shell_word(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%".contains(byte);
    let bytes = path.as_os_str().as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return path.display().to_string();
    }
    let mut word = String::from("'");
    for c in OsStr::from_bytes(bytes).to_string_lossy().chars() {
        if c == '\'' {
            word.push_str("'\\''");
        } else {
            word.push(c);
        }
    }
    word.push('\'');
    word
}

/// Returns a number of bytes as a person reads it.
pub(super) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line("a\n  b\r\n\tc\n"), "a  b c");
        assert_eq!(one_line("bell\x07"), "bell\\u{7}");
    }

    #[test]
    fn errors_are_told_in_words() {
        let text = "can't: No such file (os error 2); or (os error x)";
        let told = "can't: No such file; or (os error x)";
        assert_eq!(without_numbers(text), told);
    }

    #[test]
    fn paths_are_quoted_as_a_shell_needs_them() {
        assert_eq!(shell_word(Path::new("/a/b-1")), "/a/b-1");
        assert_eq!(shell_word(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }

    #[test]
    fn sizes_are_rounded_down() {
        assert_eq!(bytes_text(1_023), "1023 B");
        assert_eq!(bytes_text(1_536), "1.5 KiB");
        assert_eq!(bytes_text(268_435_456), "256.0 MiB");
        assert_eq!(bytes_text(u64::MAX), "15.9 EiB");
    }
}
