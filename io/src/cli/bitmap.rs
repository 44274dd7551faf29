//! `tandem bitmap FILE.kdbitmap`: shows and converts the sidecar of a partial file.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tandem_core::fetch::bitmap::ChunkBitmap;
use tandem_core::fetch::error::SidecarError;
use tandem_core::fetch::kdbitmap::version_of;
use tandem_core::fetch::sidecar::Sidecar;
use tandem_core::ids::{ChunkIx, Dot, NodeId, ObjectId};

use super::CliError;
use super::say::{Say, bytes_text};
use crate::net::ticket::Ticket;
use crate::node::home::write_private;

#[derive(Debug, Args)]
pub(super) struct Bitmap {
    /// The sidecar
    #[arg(value_name = "FILE.kdbitmap")]
    file: PathBuf,
    /// Convert it to this version; what is here only by its word stays so
    #[arg(long, value_enum, value_name = "VERSION")]
    to: Option<Version>,
    /// Where to write what was converted, - for standard output [default: in the sidecar's place]
    #[arg(short, long, value_name = "OUT", requires = "to")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Version {
    V1,
    V2,
}

/// The longest sidecar that is read, in bytes: that of a file of 3 TiB; by eye.
const LEN_MAX: u64 = 256 * 1024 * 1024;

/// A sidecar of any version.
enum Read {
    V1(ChunkBitmap),
    V2(Sidecar),
}

impl Bitmap {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        let bytes = read_file(&self.file)?;
        let read = decode(&bytes).map_err(|why| {
            CliError::Said(format!(
                "{} is no sidecar that can be used: {why}; a download without it starts from what \
                 can be verified",
                self.file.display()
            ))
        })?;
        let Some(to) = self.to else {
            return say.bytes(text(&self.file, &read).as_bytes());
        };
        let converted = convert(read, to)?;
        match self.output {
            Some(out) if out == Path::new("-") => say.bytes(&converted),
            Some(out) => write(&out, &converted),
            None => write(&self.file, &converted),
        }
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |why: io::Error| {
        CliError::Said(format!(
            "can't read {}: {why}; name a .kdbitmap file",
            file.display()
        ))
    };
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|open| open.take(LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Read, SidecarError> {
    match version_of(bytes)? {
        1 => ChunkBitmap::decode(bytes, None).map(Read::V1),
        _ => Sidecar::decode(bytes, None).map(Read::V2),
    }
}

/// Returns the bytes of the sidecar in a version.
fn convert(read: Read, to: Version) -> Result<Vec<u8>, CliError> {
    let salt = || {
        let drawn = Ticket::draw_secret().map_err(|why| {
            CliError::Said(format!("can't draw a random number: {why}; try again"))
        })?;
        let [a, b, c, d, e, f, g, h, ..] = drawn.0;
        Ok::<_, CliError>(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    };
    Ok(match (read, to) {
        (Read::V1(bitmap), Version::V1) => bitmap.encode(),
        (Read::V1(bitmap), Version::V2) => {
            let salt = salt()?;
            Sidecar::from_v1(bitmap, NOBODY, salt).encode(salt)
        }
        (Read::V2(sidecar), Version::V1) => sidecar.to_v1(),
        (Read::V2(sidecar), Version::V2) => sidecar.encode(salt()?),
    })
}

/// Version 1 does not say of what it is the sidecar: of the root, which is no file.
const NOBODY: ObjectId = ObjectId {
    node: NodeId::ROOT,
    version: Dot {
        actor: tandem_core::ids::ActorId(0),
        counter: 0,
    },
};

/// Puts bytes in the place of what is there, whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_private(file, bytes).map_err(|why| {
        CliError::Said(format!(
            "can't write {}: {why}; give another -o",
            file.display()
        ))
    })
}

/// Returns what a sidecar says, for people.
fn text(file: &Path, read: &Read) -> String {
    let mut text = String::new();
    let (version, present) = match read {
        Read::V1(bitmap) => (1, bitmap.clone()),
        Read::V2(sidecar) => (2, sidecar.present()),
    };
    let _ = writeln!(text, "{}: version {version}", file.display());
    let _ = writeln!(
        text,
        "  file: {} bytes ({}), in {} chunks of {} bytes",
        present.file_size(),
        bytes_text(present.file_size()),
        present.total(),
        present.chunk_size()
    );
    let _ = writeln!(
        text,
        "  here: {} chunks, {} bytes ({:.1} %)",
        present.have(),
        present.have_bytes(),
        present.progress() * 100.0
    );
    match read {
        Read::V1(_) => {
            let _ = writeln!(text, "  all by its word: hashed before they are used");
        }
        Read::V2(sidecar) => {
            let _ = writeln!(
                text,
                "  of them {} on stable storage, {} by its word; {} with a hash",
                sidecar.durable().have(),
                sidecar.claims().have(),
                sidecar.hashes().len()
            );
            let end = match (sidecar.is_torn(), sidecar.is_clean()) {
                (true, _) => "torn at its end, which is passed over",
                (false, true) => "closed cleanly",
                (false, false) => "not closed cleanly",
            };
            let _ = writeln!(text, "  {end}; version {:?}", sidecar.header().object);
        }
    }
    let _ = writeln!(text, "  chunks: {}", runs(&present));
    text
}

/// How many runs are shown.
const RUNS_MAX: usize = 32;

/// Returns the chunks that are here as ranges.
fn runs(bitmap: &ChunkBitmap) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for ChunkIx(chunk) in bitmap.held() {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == chunk => *last = chunk,
            Some(_) | None => runs.push((chunk, chunk)),
        }
    }
    if runs.is_empty() {
        return "none".to_owned();
    }
    let shown = runs.iter().take(RUNS_MAX).map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let mut text = shown.collect::<Vec<_>>().join(" ");
    if runs.len() > RUNS_MAX {
        let _ = write!(text, " and {} more runs", runs.len() - RUNS_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> ChunkBitmap {
        let mut bitmap = ChunkBitmap::with_chunk_size(10_000, 512).unwrap();
        for chunk in [0, 1, 2, 7, 19] {
            bitmap.set(ChunkIx(chunk));
        }
        bitmap
    }

    #[test]
    fn converting_there_and_back_keeps_every_bit() {
        let v1 = some().encode();
        let v2 = convert(decode(&v1).unwrap(), Version::V2).unwrap();
        assert_eq!(version_of(&v2).unwrap(), 2);
        let back = convert(decode(&v2).unwrap(), Version::V1).unwrap();
        assert_eq!(back, v1);
    }

    #[test]
    fn runs_are_shown_as_ranges() {
        assert_eq!(runs(&some()), "0-2 7 19");
        assert_eq!(runs(&ChunkBitmap::new(1).unwrap()), "none");
    }
}
