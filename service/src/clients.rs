//! The AWS clients, made once.

use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::endpoint::{DefaultResolver, Endpoint, Params, ResolveEndpoint};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_types::Document;
use poem::http::Uri;

use crate::config::{BadSettings, Settings};
use crate::pictures::{PROMISED, Pictures};
use crate::rows::Rows;
use crate::signing::{Place, Signer};

/// What the SDK uses by default.
const TLS: Provider = Provider::Rustls(CryptoMode::AwsLc);

/// Where posts and pictures are.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) rows: Rows,
    pub(crate) pictures: Pictures,
    /// Scheme, host and port of the addresses that `pictures` signs: the page may talk to no other.
    pub(crate) picture_origin: String,
}

impl Clients {
    /// The clients for these settings, with the standard AWS configuration; calls nothing of AWS itself.
    pub async fn connect(settings: &Settings) -> Result<Self, BadSettings> {
        let credentials = DefaultCredentialsChain::builder().build().await;
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(patience())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .credentials_provider(Renewed(credentials))
            // One for all clients: their connections, and the certificates that are trusted, are there once.
            .http_client(aws_smithy_http_client::Builder::new().tls_provider(TLS).build_https())
            .load()
            .await;
        Self::new(&shared, settings).await
    }

    /// The clients for these settings, with a configuration made elsewhere.
    pub async fn new(shared: &SdkConfig, settings: &Settings) -> Result<Self, BadSettings> {
        let s3 = aws_sdk_s3::Client::from_conf(s3_config(shared, settings));
        let place = place(shared, settings).await?;
        let picture_origin = place.origin.clone();
        let signer = Signer::new(place, shared.credentials_provider().ok_or(BadSettings::NoCredentials)?);
        Ok(Self {
            rows: Rows::new(aws_sdk_dynamodb::Client::from_conf(dynamodb_config(shared)), settings.table.clone()),
            picture_origin,
            pictures: Pictures::new(s3, settings.bucket.clone(), signer),
        })
    }
}

/// People wait for these calls: better an honest 503 soon than an answer that nobody awaits any more.
fn patience() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(4))
        .operation_timeout(Duration::from_secs(10))
        .build()
}

fn dynamodb_config(shared: &SdkConfig) -> aws_sdk_dynamodb::Config {
    // Answers come whole and every call has its time limit: nothing is gained from watching each stream as well.
    let config = aws_sdk_dynamodb::config::Builder::from(shared);
    config.stalled_stream_protection(StalledStreamProtectionConfig::disabled()).build()
}

fn s3_config(shared: &SdkConfig, settings: &Settings) -> aws_sdk_s3::Config {
    let mut config = aws_sdk_s3::config::Builder::from(shared)
        // Checksums would become part of what is signed, and a browser's PUT and GET carry none (aws-facts §4.4).
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint(shared, settings) {
        // Elsewhere than on AWS, a bucket rarely has a host name of its own.
        config = config.endpoint_url(endpoint).force_path_style(true);
    }
    config.build()
}

fn endpoint<'a>(shared: &'a SdkConfig, settings: &'a Settings) -> Option<&'a str> {
    settings.s3_endpoint.as_deref().or_else(|| shared.endpoint_url())
}

/// Asks the rules by which the client itself finds the bucket's address.
async fn place(shared: &SdkConfig, settings: &Settings) -> Result<Place, BadSettings> {
    let region = shared.region().ok_or(BadSettings::NoRegion)?;
    let endpoint = endpoint(shared, settings);
    let params = Params::builder()
        .region(region.as_ref())
        .bucket(&settings.bucket)
        .set_endpoint(endpoint.map(str::to_owned))
        .force_path_style(endpoint.is_some())
        .build()
        .map_err(|error| BadSettings::endpoint(settings, &error))?;
    let address = DefaultResolver::new().resolve_endpoint(&params).await;
    let address = address.map_err(|error| BadSettings::endpoint(settings, &*error))?;
    let (region, service) = signed_for(&address).ok_or_else(|| BadSettings::Signature(settings.bucket.clone()))?;
    let address: Uri = address.url().parse().map_err(|error| BadSettings::endpoint(settings, &error))?;
    let (Some(scheme), Some(authority)) = (address.scheme_str(), address.authority()) else {
        return Err(BadSettings::NotAbsolute(address.to_string()));
    };
    let path = address.path().trim_end_matches('/').to_owned();
    Ok(Place { origin: format!("{scheme}://{authority}"), path, region, service })
}

/// The region and the service in whose names requests to this address are signed; nothing if not as usual.
fn signed_for(address: &Endpoint) -> Option<(String, String)> {
    let scheme = address.auth_schemes().iter().find(|scheme| scheme.name() == "sigv4")?;
    let text = |name| scheme.get(name).and_then(Document::as_string).map(str::to_owned);
    Some((text("signingRegion")?, text("signingName")?))
}

/// The standard credentials, renewed while they still last as long as an address is promised to: a signed address
/// dies with the credentials that signed it, and those of an instance's role end (aws-facts §4.4).
#[derive(Debug)]
struct Renewed<P>(P);

impl<P: ProvideCredentials> ProvideCredentials for Renewed<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let mut credentials = self.0.provide_credentials().await?;
            if let Some(end) = credentials.expiry() {
                *credentials.expiry_mut() = Some(renew_at(SystemTime::now(), end));
            }
            Ok(credentials)
        })
    }
}

/// Half a lifetime of an address before the end; if that is past, in a minute, so that a source with nothing
/// fresher to give is not asked all the time.
fn renew_at(now: SystemTime, end: SystemTime) -> SystemTime {
    (end - PROMISED).max(now + Duration::from_secs(60)).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_they_are_too_short_for_an_address() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let minutes = |n: u64| now + Duration::from_secs(60 * n);
        assert_eq!(renew_at(now, minutes(360)), minutes(330));
        assert_eq!(renew_at(now, minutes(20)), minutes(1));
        assert_eq!(renew_at(now, now), now);
    }

    async fn place_of(bucket: &str, region: &str, endpoint: Option<&str>) -> Place {
        let shared = SdkConfig::builder().region(aws_config::Region::new(region.to_owned())).build();
        let settings = Settings::read(|name| match name {
            "BUCKET" => Some(bucket.to_owned()),
            "DYNAMO_TABLE" => Some("posts".to_owned()),
            "AWS_ENDPOINT_URL_S3" => endpoint.map(str::to_owned),
            _ => None,
        });
        place(&shared, &settings.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn pictures_come_from_where_the_client_reaches_the_bucket() {
        for (bucket, region, endpoint, origin, path) in [
            ("b-1", "eu-west-3", None, "https://b-1.s3.eu-west-3.amazonaws.com", ""),
            ("b.1", "us-east-1", None, "https://s3.us-east-1.amazonaws.com", "/b.1"),
            ("b-1", "us-east-1", Some("http://127.0.0.1:4566/"), "http://127.0.0.1:4566", "/b-1"),
            ("b-1", "us-east-1", Some("http://aws:80"), "http://aws:80", "/b-1"),
        ] {
            let [origin, path, region] = [origin, path, region].map(str::to_owned);
            let place = place_of(bucket, &region, endpoint).await;
            assert_eq!(place, Place { origin, path, region, service: "s3".to_owned() });
        }
    }
}
