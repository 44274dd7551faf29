//! TLS 1.3 between two peers that know each other by their keys.
//!
//! Law: both sides prove a key. Whoever dials accepts one key only; whoever listens accepts any
//! and reports it, since who is let in is the engine's choice. Names, dates and authorities say
//! nothing here; sessions are not resumed, so that the key is proven each time.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme, version,
};
use tandem_core::ids::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::identity::{Identity, peer_of};

/// The protocol inside: HTTP/2 (RFC 9113 §3.2).
const ALPN: &[u8] = b"h2";

/// The name that a client hello must have; it is not sent.
const NAME: &str = "tandem";

/// Makes encrypted streams of plain ones.
pub(super) struct Tls {
    key: Arc<SingleCertAndKey>,
    provider: Arc<CryptoProvider>,
    acceptor: TlsAcceptor,
}

/// Why there is no encrypted stream to a peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The other end has another key.
    #[error("the other end has another key")]
    WrongKey,
    /// The handshake failed, or the network did.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Tls {
    pub(super) fn new(identity: &Identity) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider());
        let key = Arc::new(SingleCertAndKey::from(identity.certified()?));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyKey(Arc::clone(&provider))))
            .with_cert_resolver(Arc::clone(&key) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            key,
            provider,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Shakes hands as the side that listens; returns whose key the other side has proven.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(server::TlsStream<S>, PeerId)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        check_alpn(session.alpn_protocol())?;
        let peer = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(|certificate| peer_of(certificate).ok())
            .ok_or_else(|| io::Error::other("no certificate"))?;
        Ok((stream, peer))
    }

    /// Shakes hands as the side that dialled, with `peer` and no other.
    pub(super) async fn connect<S>(
        &self,
        stream: S,
        peer: PeerId,
    ) -> Result<client::TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let verifier = OneKey {
            peer,
            provider: Arc::clone(&self.provider),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::clone(&self.key) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| {
                if is_wrong_key(&error) {
                    ConnectError::WrongKey
                } else {
                    ConnectError::Io(error)
                }
            })?;
        check_alpn(stream.get_ref().1.alpn_protocol())?;
        Ok(stream)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The algorithms, the preferred ones first: AES-128-GCM is the fastest where the processor has
/// AES, X25519MLKEM768 keeps what is recorded today from being read by a quantum computer later.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

fn check_alpn(chosen: Option<&[u8]>) -> io::Result<()> {
    if chosen == Some(ALPN) {
        Ok(())
    } else {
        Err(io::Error::other("the other end does not speak HTTP/2"))
    }
}

fn is_wrong_key(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>())
        == Some(&wrong_key())
}

/// What [`OneKey`] says of another key; nothing else here says it.
fn wrong_key() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Accepts whoever listens, if it has this key.
#[derive(Debug)]
struct OneKey {
    peer: PeerId,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if peer_of(certificate)? == self.peer {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(wrong_key())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Accepts whoever dials, if it proves a key at all.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        ParsedCertificate::try_from(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn only_tls13() -> rustls::Error {
    rustls::Error::General("TLS 1.3 only".to_owned())
}

#[cfg(test)]
mod tests {
    use rustls::sign::CertifiedKey;
    use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn identity() -> Identity {
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_make(directory.path()).unwrap()
    }

    #[tokio::test]
    async fn both_sides_prove_their_keys() {
        let (ada, bo) = (identity(), identity());
        let (here, there) = duplex(64 * 1024);
        let (ada_tls, bo_tls) = (Tls::new(&ada).unwrap(), Tls::new(&bo).unwrap());
        let (accepted, connected) =
            tokio::join!(ada_tls.accept(there), bo_tls.connect(here, ada.peer()));
        let ((mut accepted, who), mut connected) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(who, bo.peer());

        connected.write_all(b"hello").await.unwrap();
        connected.flush().await.unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");

        let session = connected.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let suite = session.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }

    #[tokio::test]
    async fn another_key_is_refused_by_the_side_that_dials_s33() {
        let (ada, bo, eve) = (identity(), identity(), identity());
        let (here, there) = duplex(64 * 1024);
        let (eve_tls, bo_tls) = (Tls::new(&eve).unwrap(), Tls::new(&bo).unwrap());
        let (accepted, connected) =
            tokio::join!(eve_tls.accept(there), bo_tls.connect(here, ada.peer()));
        assert!(accepted.is_err());
        assert!(matches!(connected, Err(ConnectError::WrongKey)));
    }

    #[tokio::test]
    async fn a_certificate_without_its_key_is_refused_s33() {
        let (ada, bo, eve) = (identity(), identity(), identity());
        // Eve shows Ada's certificate, which is public, and signs with a key of her own.
        let stolen = CertifiedKey::new(ada.certified().unwrap().cert, eve.certified().unwrap().key);
        let mut eve_tls = Tls::new(&eve).unwrap();
        eve_tls.key = Arc::new(SingleCertAndKey::from(stolen));
        let bo_tls = Tls::new(&bo).unwrap();
        let (here, there) = duplex(64 * 1024);
        let (accepted, _) = tokio::join!(bo_tls.accept(there), eve_tls.connect(here, bo.peer()));
        assert!(accepted.is_err());
    }

    #[tokio::test]
    async fn without_a_certificate_there_is_no_stream_s33() {
        let ada = identity();
        let ada_tls = Tls::new(&ada).unwrap();
        let verifier = OneKey {
            peer: ada.peer(),
            provider: Arc::new(provider()),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let (here, there) = duplex(64 * 1024);
        let nobody = TlsConnector::from(Arc::new(config));
        let (accepted, _) = tokio::join!(
            ada_tls.accept(there),
            nobody.connect(ServerName::try_from(NAME).unwrap(), here)
        );
        assert!(accepted.is_err());
    }
}
