//! TLS with a certificate for 127.0.0.1 that a CA made for this server has signed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A CA, and the server that it vouches for.
pub struct Identity {
    ca: String,
    ca_der: Vec<u8>,
    acceptor: TlsAcceptor,
}

impl Identity {
    /// A new CA with a certificate for 127.0.0.1, with which these protocols are offered.
    pub fn new(protocols: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let certificate = server.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self { ca: issuer.pem(), ca_der: issuer.der().to_vec(), acceptor }
    }

    /// The CA's certificate, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The same, as DER.
    pub fn ca_der(&self) -> &[u8] {
        &self.ca_der
    }

    /// What accepts connections with the server's certificate.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}
