//! Who this peer is: a key, and the certificate that it signed for itself.
//!
//! Law: made once, then kept; readable by its owner only. The file appears whole or not at all,
//! and one that is loose or damaged is an error, never replaced: whoever was paired with it
//! would not know us any more.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use tandem_core::ids::PeerId;

/// The name of the file that holds an identity: the key and the certificate, as PEM.
pub const FILE: &str = "identity.pem";

/// The most that such a file may have, in bytes: ours has some 700.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// A peer's key and certificate.
pub struct Identity {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    peer: PeerId,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can't be read or written.
    #[error("{}: {why}", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error(
        "{} holds a private key and others may open it (mode {mode:o}); run: chmod 600 '{}'",
        .file.display(), .file.display()
    )]
    Loose {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no key with its certificate.
    #[error(
        "{} is damaged ({why}); restore it from a backup, or remove it and pair again",
        .file.display()
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No key could be made.
    #[error("making a key failed: {0}")]
    Make(#[from] rcgen::Error),
}

impl Identity {
    /// Loads the identity that lies in `directory`; makes and saves one where there is none.
    pub fn load_or_make(directory: &Path) -> Result<Self, IdentityError> {
        let file = directory.join(FILE);
        if let Some(text) = read(&file)? {
            return Self::parse(&file, &text);
        }
        save(directory, &file, make()?.as_bytes()).map_err(|why| io_error(&file, why))?;
        // What lies there counts: another process may have been quicker.
        match read(&file)? {
            Some(text) => Self::parse(&file, &text),
            None => Err(io_error(&file, io::ErrorKind::NotFound.into())),
        }
    }

    fn parse(file: &Path, text: &[u8]) -> Result<Self, IdentityError> {
        let damaged = |why: String| IdentityError::Damaged {
            file: file.to_owned(),
            why,
        };
        let key = PrivateKeyDer::from_pem_slice(text)
            .map_err(|why| damaged(format!("no private key in it: {why}")))?;
        let certificate = CertificateDer::from_pem_slice(text)
            .map_err(|why| damaged(format!("no certificate in it: {why}")))?;
        let identity = Self {
            peer: peer_of(&certificate).map_err(|why| damaged(why.to_string()))?,
            key,
            certificate,
        };
        // This also finds a key and a certificate that don't belong together.
        identity
            .certified()
            .map_err(|why| damaged(why.to_string()))?;
        Ok(identity)
    }

    /// Returns what others know this peer by.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns key and certificate as rustls wants them.
    pub(super) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        CertifiedKey::from_der(
            vec![self.certificate.clone()],
            self.key.clone_key(),
            &super::tls::provider(),
        )
    }
}

/// Says whose it is; the key is never printed (S36).
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Returns whose certificate this is: the SHA-256 of its SubjectPublicKeyInfo, as DER.
pub(super) fn peer_of(certificate: &CertificateDer<'_>) -> Result<PeerId, rustls::Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let mut peer = [0; 32];
    peer.copy_from_slice(digest(&SHA256, &key).as_ref());
    Ok(PeerId(peer))
}

/// Makes a key and its certificate, as PEM.
fn make() -> Result<String, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "tandem");
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

/// Returns what the file holds, if there is one.
fn read(file: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let open = match options().read(true).open(file) {
        Ok(open) => open,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(io_error(file, why)),
    };
    check_mode(file, &open)?;
    let mut text = Vec::new();
    open.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|why| io_error(file, why))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(IdentityError::Damaged {
            file: file.to_owned(),
            why: format!("it has more than {FILE_BYTES_MAX} bytes"),
        });
    }
    Ok(Some(text))
}

fn io_error(file: &Path, why: io::Error) -> IdentityError {
    IdentityError::Io {
        file: file.to_owned(),
        why,
    }
}

/// Writes `text` beside `file`, syncs it, and gives it its name, unless another has it by then.
fn save(directory: &Path, file: &Path, text: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!("{FILE}.{}", std::process::id()));
    // Left by a process of the same number that was killed.
    match fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    let mut open = options().write(true).create_new(true).open(&beside)?;
    open.write_all(text)?;
    open.sync_all()?;
    place(&beside, file)?;
    sync_directory(directory)
}

#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    let follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    options.mode(0o600).custom_flags(follow);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn check_mode(file: &Path, open: &File) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;
    let meta = open.metadata().map_err(|why| io_error(file, why))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(IdentityError::Loose {
            file: file.to_owned(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn check_mode(_file: &Path, _open: &File) -> Result<(), IdentityError> {
    Ok(())
}

/// Renames `from` to `to`, unless `to` is there.
#[cfg(target_os = "linux")]
fn place(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => fs::remove_file(from),
        // A file system that can't: then the last one wins.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        Err(why) => Err(why.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_then_kept() {
        let directory = tempfile::tempdir().unwrap();
        let made = Identity::load_or_make(directory.path()).unwrap();
        let loaded = Identity::load_or_make(directory.path()).unwrap();
        assert_eq!(made.peer(), loaded.peer());
        let files: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(files, [FILE]);

        let elsewhere = tempfile::tempdir().unwrap();
        let other = Identity::load_or_make(elsewhere.path()).unwrap();
        assert_ne!(made.peer(), other.peer());
    }

    #[test]
    fn a_peer_is_the_hash_of_its_public_key() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        // RFC 8410 §4: the DER of an Ed25519 SubjectPublicKeyInfo is this, then the key.
        let mut info = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0,
        ];
        info.extend(key.public_key_raw());
        assert_eq!(
            peer_of(certificate.der()).unwrap().0,
            digest(&SHA256, &info).as_ref()
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_loose_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_make(directory.path()).unwrap();
        let file = directory.path().join(FILE);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load_or_make(directory.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Loose { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_make(directory.path()).unwrap();
        let file = directory.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        Identity::load_or_make(elsewhere.path()).unwrap();
        let other = fs::read_to_string(elsewhere.path().join(FILE)).unwrap();
        let key_end = other.find("-----BEGIN CERT").unwrap();
        let mine = String::from_utf8(whole.clone()).unwrap();
        let mixed = other[..key_end].to_owned() + &mine[mine.find("-----BEGIN CERT").unwrap()..];

        let cases: [&[u8]; 5] = [
            b"",
            &whole[..whole.len() / 2],
            &whole[..40],
            mixed.as_bytes(),
            &[b'x'; 20_000],
        ];
        for bytes in cases {
            fs::write(&file, bytes).unwrap();
            let error = Identity::load_or_make(directory.path()).unwrap_err();
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
    }

    #[test]
    fn the_key_is_not_printed_s36() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_make(directory.path()).unwrap();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity {{ peer: {:?}, .. }}", identity.peer())
        );
    }
}
