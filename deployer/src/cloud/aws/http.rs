//! The HTTP client: no proxy for servers on this machine, and CA certificates only when they are needed.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use url::{Host, Url};

use crate::{
    cloud::sign_in::{Environment, Trouble},
    machine::files,
};

/// An HTTP client that loads the machine's certificates when it first has to verify one.
pub fn client(trust: Trust) -> SharedHttpClient {
    let plain = |proxies: fn() -> ProxyConfig| {
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder().proxy_config(proxies());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.build_http()
        })
    };
    let secure = |proxies: fn() -> ProxyConfig| {
        let trust = trust.clone();
        Builder::new().build_with_connector_fn(move |settings, components| {
            let tls = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            let mut connector = tls.tls_context(trust.context().unwrap_or_default()).proxy_config(proxies());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.build()
        })
    };
    SharedHttpClient::new(Ways {
        plain: [plain(ProxyConfig::disabled), plain(ProxyConfig::from_env)],
        secure: [secure(ProxyConfig::disabled), secure(ProxyConfig::from_env)],
        trust,
    })
}

/// A connector for one request to this address, which need not be one of AWS's. Connections are not kept.
///
/// Errors: there are no certificates to verify the server by.
pub fn connector(uri: &str, trust: &Trust, connect_within: Duration) -> Result<SharedHttpConnector, Trouble> {
    let proxies = if is_near(uri) { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
    let settings = HttpConnectorSettings::builder().connect_timeout(connect_within).build();
    if !uri.starts_with("https:") {
        let plain = Connector::builder().proxy_config(proxies).connector_settings(settings);
        return Ok(SharedHttpConnector::new(plain.sleep_impl(TokioSleep::new()).build_http()));
    }
    let tls = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(trust.context()?);
    let secure = tls.proxy_config(proxies).connector_settings(settings).sleep_impl(TokioSleep::new());
    Ok(SharedHttpConnector::new(secure.build()))
}

/// The connectors: direct, and through the proxies that the environment names.
#[derive(Debug, Clone)]
struct Ways {
    plain: [SharedHttpClient; 2],
    secure: [SharedHttpClient; 2],
    trust: Trust,
}

/// Selects the connector by the request's address.
#[derive(Debug)]
struct Undecided {
    ways: Ways,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpClient for Ways {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (settings, components) = (settings.clone(), components.clone());
        SharedHttpConnector::new(Undecided { ways: self.clone(), settings, components })
    }
}

impl HttpConnector for Undecided {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let [direct, by_proxy] = match request.uri().starts_with("https:") {
            false => &self.ways.plain,
            true => match self.ways.trust.context() {
                Ok(_) => &self.ways.secure,
                Err(trouble) => return HttpConnectorFuture::ready(Err(ConnectorError::user(trouble.into()))),
            },
        };
        let client = if is_near(request.uri()) { direct } else { by_proxy };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}

/// Whether the address is on this machine or link-local, such as that of the metadata service, so that no proxy can
/// reach it.
fn is_near(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || IpAddr::V6(ip) == IPV6_METADATA,
        None => false,
    }
}

const IPV6_METADATA: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));

/// The trusted certificates: the machine's, or a file in their place. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    bundle: Option<(String, PathBuf)>,
    context: Arc<OnceLock<Result<TlsContext, Trouble>>>,
}

/// A machine has a few hundred certificates of two kilobytes.
const MOST: u64 = 16 << 20;

const INSTALL: &str = "install them (`apt-get install ca-certificates`), or set AWS_CA_BUNDLE to a file with them";

impl Trust {
    /// From `AWS_CA_BUNDLE`, or from `ca_bundle` of a profile.
    pub fn new(environment: &Environment, of_profile: Option<&str>) -> Trust {
        let variable = environment.path("AWS_CA_BUNDLE").map(|path| ("AWS_CA_BUNDLE".to_owned(), path));
        let of_profile = of_profile.filter(|path| !path.trim().is_empty());
        let key = || of_profile.map(|path| ("ca_bundle".to_owned(), environment.expanded(path)));
        Trust { bundle: variable.or_else(key), context: Arc::default() }
    }

    fn context(&self) -> Result<TlsContext, Trouble> {
        self.context
            .get_or_init(|| match &self.bundle {
                Some((name, path)) => of_file(name, path),
                None => of_machine(),
            })
            .clone()
    }
}

fn of_machine() -> Result<TlsContext, Trouble> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        // Other code opens it without this check and would block on a FIFO.
        files::open_regular_file(Path::new(&file))
            .map_err(|error| Trouble::setting(format!("SSL_CERT_FILE: {}", words(&error)), INSTALL))?;
    }
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(found.certs);
    match usable {
        0 => Err(Trouble::setting("this machine has no CA certificates to verify AWS", INSTALL)),
        _ => Ok(TlsContext::default()),
    }
}

fn of_file(name: &str, path: &Path) -> Result<TlsContext, Trouble> {
    let remedy = format!("set {name} to a PEM file with CA certificates, or unset it");
    let text = files::read_regular_file(path, MOST)
        .map_err(|error| Trouble::setting(format!("{name}: {}", words(&error)), remedy.clone()))?;
    // The SDK assumes that it can use every certificate.
    let usable = CertificateDer::pem_slice_iter(&text)
        .filter_map(Result::ok)
        .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    let (mut store, mut count) = (TrustStore::empty(), 0);
    for certificate in usable {
        store = store.with_pem_certificate(pem(&certificate));
        count += 1;
    }
    match count {
        0 => Err(Trouble::setting(format!("{name}: {} holds no CA certificate", path.display()), remedy)),
        _ => Ok(TlsContext::builder().with_trust_store(store).build().expect("nothing is refused when it is built")),
    }
}

fn words(error: &files::FileError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_bypass_every_proxy() {
        for (uri, near) in [
            ("http://127.0.0.1:4566/a", true),
            ("http://127.8.9.1/", true),
            ("http://localhost:4566", true),
            ("http://bucket.localhost:4566/key", true),
            ("http://[::1]:4566/", true),
            ("http://169.254.169.254/latest/api/token", true),
            ("http://[fd00:ec2::254]/latest/api/token", true),
            ("https://sts.us-east-1.amazonaws.com/", false),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
            ("nothing", false),
        ] {
            assert_eq!(is_near(uri), near, "{uri}");
        }
    }

    #[test]
    fn a_bundle_is_a_file_with_certificates_or_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        for path in [file.as_path(), Path::new("/dev/zero"), folder.path(), Path::new("/nowhere.pem")] {
            let trust = Trust { bundle: Some(("AWS_CA_BUNDLE".into(), path.into())), context: Arc::default() };
            let trouble = trust.context().unwrap_err();
            assert!(trouble.what.starts_with("AWS_CA_BUNDLE: "), "{trouble}");
            assert!(trouble.what.contains(&*path.to_string_lossy()), "{trouble}");
        }
    }
}
