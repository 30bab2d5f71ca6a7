//! Who a workload is: a certificate with its SPIFFE name, made on the spot.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};

/// What every workload's name begins with.
pub const TRUST_DOMAIN: &str = "spiffe://cluster.local/";

/// A workload's name as certificates have it.
pub fn spiffe(workload: &str) -> String {
    format!("{TRUST_DOMAIN}ns/e2e/sa/{workload}")
}

/// A certificate, its key, and whom its holder trusts; all as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub chain: String,
    /// Its key, PKCS #8.
    pub key: String,
    /// The authority by which others are judged.
    pub trusted: String,
}

/// What signs certificates: one trust domain.
pub struct Authority {
    issuer: Issuer<'static, Key>,
    certificate: String,
}

impl Authority {
    /// With a key of its own.
    pub fn new() -> Result<Self> {
        let key = Key::new();
        let mut params = params("sockway e2e authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .context("sign the authority")?
            .pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// The one that all pods of this process have their certificates from.
    pub fn of_this_process() -> Result<&'static Self> {
        static OURS: OnceLock<Authority> = OnceLock::new();
        if let Some(ours) = OURS.get() {
            return Ok(ours);
        }
        let new = Self::new()?;
        Ok(OURS.get_or_init(|| new))
    }

    /// A workload's certificate, for both ends of a connection.
    pub fn issue(&self, workload: &str) -> Result<Identity> {
        let key = Key::new();
        let mut params = params(workload);
        params.subject_alt_names = vec![SanType::URI(spiffe(workload).try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.with_context(|| format!("sign {workload}"))?;
        let pem = key.secret.to_pkcs8_pem(LineEnding::LF);
        Ok(Identity {
            chain: certificate.pem(),
            key: pem.context("encode a key")?.to_string(),
            trusted: self.certificate.clone(),
        })
    }
}

fn params(name: &str) -> CertificateParams {
    /// No two of an authority's may be the same.
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

/// An ECDSA key on P-256, as Istio's workloads have them when they are small.
struct Key {
    secret: SigningKey,
    /// The public point, uncompressed (SEC 1).
    public: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let secret = SigningKey::generate();
        let public = secret.verifying_key().to_sec1_point(false);
        Self {
            public: public.as_bytes().to_vec(),
            secret,
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.secret.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn two_authorities_and_two_workloads_differ() {
        let (one, other) = (
            Authority::new().expect("a key"),
            Authority::new().expect("a key"),
        );
        let [a, b] = ["a", "b"].map(|name| one.issue(name).expect("signs"));
        assert_eq!(a.trusted, b.trusted);
        assert_ne!(a.chain, b.chain);
        assert_ne!(a.key, b.key);
        assert_ne!(a.trusted, other.issue("a").expect("signs").trusted);
        assert!(a.chain.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(a.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
