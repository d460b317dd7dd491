//! A certificate authority of this server's own, in place of Amazon's.
//!
//! Programs that trust its certificate accept the certificates of the local AWS, and no other program has its key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, RsaKeySize, SerialNumber,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use kit::platform::PermissionsExt;
use kit::store;

/// The names of the files with the certificate and the key.
const CERTIFICATE: &str = "certificate-authority.pem";
const KEY: &str = "certificate-authority.key";

/// How long the authority's certificate is valid.
const LIFE: Duration = Duration::days(3650);

/// The authority.
pub struct Authority {
    certificate: PathBuf,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// The certificate in PEM.
    pub certificate: String,
    /// The authority's certificate in PEM.
    pub chain: String,
    /// The key in PEM (PKCS #8).
    pub key: String,
    /// The serial number, as Certificate Manager shows it.
    pub serial: String,
}

/// A key algorithm of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    Rsa2048,
    Ec256,
    Ec384,
}

impl Algorithm {
    /// The algorithms in requests, and as Certificate Manager shows them.
    pub const NAMES: &[(&str, &str, Algorithm)] = &[
        ("RSA_2048", "RSA-2048", Algorithm::Rsa2048),
        ("EC_prime256v1", "EC-prime256v1", Algorithm::Ec256),
        ("EC_secp384r1", "EC-secp384r1", Algorithm::Ec384),
    ];

    fn key(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Algorithm::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Algorithm::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
    }
}

impl Authority {
    /// Reads the authority in a directory, or creates one.
    ///
    /// Errors: one of its files is damaged, or cannot be read or written.
    pub fn open(dir: &Path) -> anyhow::Result<Authority> {
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        if !key.exists() || !certificate.exists() {
            create(&certificate, &key).context("failed to create a certificate authority")?;
        }
        let read = |path: &Path| -> anyhow::Result<String> {
            let bytes = store::read(path).with_context(|| format!("failed to read {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let damaged =
            |path: &Path| anyhow!("{} is damaged: remove both files to create another authority", path.display());
        let pem = read(&certificate)?;
        rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged(&certificate))?;
        let secret = PrivateKeyDer::from_pem_slice(read(&key)?.as_bytes()).map_err(|_| damaged(&key))?;
        let pair = KeyPair::try_from(&secret).map_err(|_| damaged(&key))?;
        Ok(Authority { certificate, pem, issuer: Issuer::new(params(), pair) })
    }

    /// Returns the file with the certificate, for clients.
    pub fn file(&self) -> &Path {
        &self.certificate
    }

    /// Issues a certificate for these names, of which the first is its subject.
    pub fn issue(
        &self,
        names: &[String],
        algorithm: Algorithm,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> anyhow::Result<IssuedCertificate> {
        let key = algorithm.key()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (from, until);
        let mut serial = *uuid::Uuid::new_v4().as_bytes();
        // A serial number is positive.
        serial[0] = serial[0] & 0x7f | 0x01;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedCertificate {
            certificate: pem("CERTIFICATE", certificate.der()),
            chain: self.pem.clone(),
            key: pem("PRIVATE KEY", key.serialized_der()),
            serial: serial.map(|byte| format!("{byte:02x}")).join(":"),
        })
    }
}

/// The parameters of every authority: its issuer name must not change.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Local AWS");
    params.distinguished_name.push(DnType::CommonName, "Local AWS Certificate Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn create(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let pair = Algorithm::Ec256.key()?;
    let mut params = params();
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now + LIFE);
    let signed = params.self_signed(&pair)?;
    store::write(key, pem("PRIVATE KEY", pair.serialized_der()).as_bytes())?;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600))?;
    store::write(certificate, pem("CERTIFICATE", signed.der()).as_bytes())?;
    Ok(())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_created_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap();
        let again = Authority::open(dir.path()).unwrap();
        assert_eq!(first.pem, again.pem);
        let mode = std::fs::metadata(dir.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let now = OffsetDateTime::now_utc();
        let names = ["example.com".to_owned(), "*.example.com".to_owned()];
        for (_, _, algorithm) in Algorithm::NAMES {
            let issued = again.issue(&names, *algorithm, now, now + Duration::days(1)).unwrap();
            assert!(PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).is_ok());
            assert_eq!((issued.chain.as_str(), issued.serial.len()), (first.pem.as_str(), 47));
        }
        std::fs::write(dir.path().join(KEY), "x").unwrap();
        let message = Authority::open(dir.path()).err().unwrap().to_string();
        assert!(message.contains("certificate-authority.key is damaged"), "{message}");
    }
}
