//! TLS of HTTPS listeners: certificates are chosen by the server name that the client requests (docs/aws.md §9.5).

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::Certificate;
use crate::elb::SslPolicy;

/// The protocols that are offered after the handshake, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The settings of a listener's TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsSettings {
    pub policy: &'static str,
    /// The default certificate is the first.
    pub certificates: Vec<Certificate>,
}

/// The TLS of a listener, for its latest settings.
#[derive(Default)]
pub struct Tls(Mutex<Option<(TlsSettings, Arc<ServerConfig>)>>);

impl Tls {
    /// Returns the configuration for these settings; the last one is kept, because clients resume its sessions.
    ///
    /// Errors: no certificate can be used.
    pub fn config(&self, settings: TlsSettings, policy: &SslPolicy) -> Result<Arc<ServerConfig>, String> {
        let mut kept = self.0.lock();
        if let Some((before, config)) = kept.as_ref().filter(|(before, _)| *before == settings) {
            tracing::trace!(policy = before.policy, "the TLS configuration is unchanged");
            return Ok(config.clone());
        }
        let config = Arc::new(made(&settings, policy)?);
        *kept = Some((settings, config.clone()));
        Ok(config)
    }
}

fn made(settings: &TlsSettings, policy: &SslPolicy) -> Result<ServerConfig, String> {
    let fault = |fault: rustls::Error| fault.to_string();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| policy.ciphers().any(|cipher| cipher == name(suite)));
    let keys = settings.certificates.iter().filter_map(|one| key(one, &provider).transpose());
    let keys: Vec<Named> = keys.collect::<Result<_, String>>()?;
    if keys.is_empty() {
        return Err("the listener has no certificate".to_owned());
    }
    let versions: Vec<&SupportedProtocolVersion> =
        VERSIONS.iter().filter(|(name, _)| policy.protocols.contains(name)).map(|(_, version)| *version).collect();
    let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions);
    let mut config = builder.map_err(fault)?.with_no_client_auth().with_cert_resolver(Arc::new(BySni(keys)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The versions of TLS. Those before 1.2 are not implemented.
static VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("TLSv1.2", &version::TLS12), ("TLSv1.3", &version::TLS13)];

/// Returns the ARN of the certificate for a name: the first that has it, or the default one, which is the first.
pub fn served<'a>(known: impl Iterator<Item = (&'a String, Certificate)>, name: Option<&str>) -> Option<String> {
    let known: Vec<(&String, Certificate)> = known.collect();
    let with = |name: &str| known.iter().find(|(_, one)| one.names.iter().any(|known| known == name));
    let wildcard = |name: &str| name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    let chosen = name.and_then(|name| with(name).or_else(|| with(&wildcard(name)?)));
    chosen.or(known.first()).map(|(arn, _)| (*arn).clone())
}

/// Returns the name of a cipher suite in security policies.
pub fn name(suite: &SupportedCipherSuite) -> String {
    let full = suite.suite().as_str().unwrap_or_default();
    match full.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => full.trim_start_matches("TLS_").replace("_WITH_", "-").replace("AES_", "AES").replace('_', "-"),
    }
}

/// A certificate with its names.
#[derive(Debug)]
struct Named {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// Returns a certificate for use; `None` if it has not been issued or has expired.
fn key(certificate: &Certificate, provider: &CryptoProvider) -> Result<Option<Named>, String> {
    let Some((chain, key)) = &certificate.issued else { return Ok(None) };
    let unreadable = |fault: rustls::pki_types::pem::Error| format!("a certificate cannot be read: {fault}");
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|fault| fault.to_string())?;
    Ok(Some(Named { names: certificate.names.clone(), key: Arc::new(key) }))
}

/// Chooses a certificate by the server name that the client requests: one with this very name, one with a wildcard for
/// it, or the default.
#[derive(Debug)]
struct BySni(Vec<Named>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let can_use = |one: &&Named| one.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = asked.and_then(|asked| chosen(&self.0, &asked, can_use));
        chosen.or(self.0.first()).map(|one| one.key.clone())
    }
}

fn chosen<'a>(all: &'a [Named], asked: &str, can_use: impl Fn(&&Named) -> bool) -> Option<&'a Named> {
    let mut wildcard = String::from("*");
    if let Some((_, above)) = asked.split_once('.') {
        // Writing to a `String` cannot fail.
        let _ = write!(wildcard, ".{above}");
    }
    let with = |name: &str| all.iter().filter(&can_use).find(|one| one.names.iter().any(|known| known == name));
    with(asked).or_else(|| with(&wildcard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_suite_has_the_name_of_a_policy() {
        let policy = SslPolicy::find("ELBSecurityPolicy-TLS13-1-2-2021-06").unwrap();
        let provider = aws_lc_rs::default_provider();
        let names: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        assert!(names.contains(&"ECDHE-RSA-AES128-GCM-SHA256".to_owned()), "{names:?}");
        let known = names.iter().filter(|name| policy.ciphers().any(|cipher| cipher == name.as_str()));
        // All but ChaCha20 with TLS 1.2, which load balancers do not offer.
        assert_eq!(known.count(), 7, "{names:?}");
    }
}
