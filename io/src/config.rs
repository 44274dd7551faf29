//! Settings: by flag, by environment (`TANDEM_…`), by `tandem.toml`, in that order.
//!
//! Law: a setting that is not understood is an error that names it and where it stands; it is
//! never passed over.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use tandem_core::engine::Durability;
use tandem_core::limits::TRASH_BYTES_MAX;

/// The name of the file of settings, in `.tandem` of a folder or store.
pub const FILE: &str = "tandem.toml";

/// What the usual log shows.
const LOG: &str = "warn";

/// Settings as one source gives them: all of them may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// What is logged to standard error: a level (error, warn, info, debug, trace), or a filter
    /// as of the tracing library
    #[arg(long, global = true, env = "TANDEM_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How long a read of absent bytes may wait (30s, 500ms, 2m)
    #[arg(long, global = true, env = "TANDEM_READ_DEADLINE", value_name = "TIME")]
    pub read_deadline: Option<Span>,
    /// Attempts at a piece of a file without progress before its reads fail
    #[arg(long, global = true, env = "TANDEM_RETRIES", value_name = "NUMBER")]
    pub retries: Option<u32>,
    /// How often a silent link is probed (5s)
    #[arg(long, global = true, env = "TANDEM_HEARTBEAT", value_name = "TIME")]
    pub heartbeat: Option<Span>,
    /// When a sync of a program on the mount is answered: once it is safe here (local), or once the
    /// shared folder holds it as well (peer), or with an error by the read deadline
    #[arg(long, global = true, env = "TANDEM_DURABILITY", value_name = "WHERE")]
    pub durability: Option<Where>,
    /// Have whoever joined fetch what is written to the shared folder, before it is read there [default:
    /// false]
    #[arg(long, global = true, env = "TANDEM_PUSH", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub push: Option<bool>,
    /// How much the shared folder keeps of what others delete or overwrite, in .tandem/trash, for 30
    /// days at most (500M, 20G, none for no bound, 0 for nothing) [default: 10G]
    #[arg(long, global = true, env = "TANDEM_TRASH", value_name = "SIZE")]
    pub trash: Option<Size>,
}

/// Where what was synced has to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// On this machine.
    Local,
    /// In the shared folder as well.
    Peer,
}

impl From<Where> for Durability {
    fn from(place: Where) -> Self {
        match place {
            Where::Local => Self::Local,
            Where::Peer => Self::Peer,
        }
    }
}

/// Settings, all of them known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A filter of the tracing library.
    pub log: String,
    /// How long a read of absent bytes may wait: 100 ms to 1 h.
    pub read_deadline: Duration,
    /// Attempts at a chunk without progress: 1 to 1,000.
    pub retries: u32,
    /// How often a silent link is probed: 100 ms to 1 h.
    pub heartbeat: Duration,
    /// Where what was synced has to be safe.
    pub durability: Where,
    /// Whether those who joined are to fetch what is written.
    pub push: bool,
    /// How many bytes are kept of what others delete or overwrite.
    pub trash: u64,
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the settings {file}: {why}; mend or remove the file", file = .file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The file says something that is not understood.
    #[error("can't use the settings {file}: {what}; mend that line or remove it", file = .file.display())]
    Parse {
        /// Which.
        file: PathBuf,
        /// What, and in which line.
        what: String,
    },
    /// A value is out of its range.
    #[error("can't use {key} = {value}: it must be {range}; change it (flag, TANDEM_… or {FILE})")]
    Range {
        /// Which setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

impl Given {
    /// Reads the file of settings in `dir`; a missing one gives none.
    ///
    /// # Errors
    /// When it can't be read, or has a key or value that is not understood.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let file = dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(why) => return Err(ConfigError::Read { file, why }),
        };
        Self::parse(&text, file)
    }

    /// Reads the text of a file of settings; `file` is where it stands.
    ///
    /// # Errors
    /// When it has a key or value that is not understood.
    pub fn parse(text: &str, file: PathBuf) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            let what = format!("line {line}: {}", error.message());
            ConfigError::Parse { file, what }
        })
    }

    /// Returns these settings, with `fallback` and then the usual ones for what is missing.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn or(self, fallback: Self) -> Result<Settings, ConfigError> {
        let second = Duration::from_secs(1);
        let retries = self.retries.or(fallback.retries).unwrap_or(5);
        if !(1..=1_000).contains(&retries) {
            return Err(ConfigError::Range {
                key: "retries",
                value: retries.to_string(),
                range: "from 1 to 1000",
            });
        }
        Ok(Settings {
            log: self.log.or(fallback.log).unwrap_or_else(|| LOG.to_owned()),
            read_deadline: span(
                "read_deadline",
                self.read_deadline.or(fallback.read_deadline),
                30 * second,
            )?,
            retries,
            heartbeat: span(
                "heartbeat",
                self.heartbeat.or(fallback.heartbeat),
                5 * second,
            )?,
            durability: self
                .durability
                .or(fallback.durability)
                .unwrap_or(Where::Local),
            push: self.push.or(fallback.push).unwrap_or(false),
            trash: (self.trash.or(fallback.trash)).map_or(TRASH_BYTES_MAX, |size| size.0),
        })
    }
}

/// Returns a time within its range, or the usual one.
fn span(key: &'static str, given: Option<Span>, usual: Duration) -> Result<Duration, ConfigError> {
    match given {
        None => Ok(usual),
        Some(Span(time)) if (SPAN_MIN..=SPAN_MAX).contains(&time) => Ok(time),
        Some(Span(time)) => Err(ConfigError::Range {
            key,
            value: format!("{time:?}"),
            range: "from 100ms to 1h",
        }),
    }
}

/// Less would be a storm, more would be for ever; by eye.
const SPAN_MIN: Duration = Duration::from_millis(100);
const SPAN_MAX: Duration = Duration::from_secs(3_600);

/// A length of time as a person writes it: a whole number and a unit (`ms`, `s`, `m`, `h`), or
/// seconds without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time; write a whole number and ms, s, m or h, such as 30s")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.to_owned());
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis_each = match unit.trim() {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let millis = number.checked_mul(millis_each).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"30s\", or seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Span, E> {
                u64::try_from(secs)
                    .map(|secs| Span(Duration::from_secs(secs)))
                    .map_err(|_| E::custom("a time can't be negative"))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// A number of bytes as a person writes it: a whole number and a unit (`K`, `M`, `G`, `T`, each 1,024
/// of the one before), bytes without one; or `none`, for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size; write a whole number and K, M, G or T, such as 20G, or none")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = || SizeError(text.to_owned());
        if text == "none" {
            return Ok(Self(u64::MAX));
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            "T" | "TIB" => 40,
            _ => return Err(wrong()),
        };
        let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"20G\", \"none\", or bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                let bytes = u64::try_from(bytes);
                bytes
                    .map(Size)
                    .map_err(|_| E::custom("a size can't be negative"))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        dir
    }

    fn file(text: &str) -> Result<Given, ConfigError> {
        Given::read(dir_with(text).path())
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_usual() {
        let from_file =
            file("retries = 7\nread_deadline = \"2s\"\nheartbeat = 3\ndurability = \"peer\"\n")
                .unwrap();
        let flags = Given {
            retries: Some(9),
            ..Given::default()
        };
        let settings = flags.or(from_file).unwrap();
        assert_eq!(settings.retries, 9);
        assert_eq!(settings.read_deadline, Duration::from_secs(2));
        assert_eq!(settings.heartbeat, Duration::from_secs(3));
        assert_eq!(settings.durability, Where::Peer);
        assert_eq!(settings.log, "warn");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_line() {
        let error = file("retries = 7\ncolour = \"red\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("tandem.toml"), "{error}");
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("colour"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_value_out_of_its_range_is_refused() {
        let zero = file("retries = 0").unwrap();
        let error = Given::default().or(zero).unwrap_err().to_string();
        assert!(error.contains("retries = 0"), "{error}");
        let long = file("heartbeat = \"2h\"").unwrap();
        assert!(Given::default().or(long).is_err());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("500M"), Ok(500 << 20));
        assert_eq!(read("20 GiB"), Ok(20 << 30));
        assert_eq!(read("1k"), Ok(1_024));
        assert_eq!(read("none"), Ok(u64::MAX));
        for wrong in ["", "G", "-1", "1.5G", "all", "1X", "99999999999T"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let given = |text| Given::default().or(file(text).unwrap()).unwrap().trash;
        assert_eq!(given(""), 10 << 30);
        assert_eq!(given("trash = \"2G\""), 2 << 30);
        assert_eq!(given("trash = 7"), 7);
        assert!(file("trash = -1").is_err());
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("30s"), Ok(30_000));
        assert_eq!(read("30"), Ok(30_000));
        assert_eq!(read("2m"), Ok(120_000));
        assert_eq!(read("1 h"), Ok(3_600_000));
        for wrong in ["", "s", "-1s", "1.5s", "1 day", "99999999999999999999s"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
