//! The AWS clients, made once at start.

use std::env;
use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_dynamodb::config::endpoint as of_tables;
use aws_sdk_dynamodb::config::endpoint::ResolveEndpoint as _;
use aws_sdk_s3::config::endpoint as of_buckets;
use aws_sdk_s3::config::endpoint::{Endpoint, ResolveEndpoint as _};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use aws_smithy_types::Document;
use poem::http::Uri;

use crate::aws_settings::{AwsSettings, is_region, is_url};
use crate::config::{Auth, BadSettings, Keys, Settings};
use crate::storage::dynamodb::DynamoDb;
use crate::storage::pictures::{PROMISED, Pictures};
use crate::storage::rows::Rows;
use crate::storage::s3_pages::Pages;
use crate::storage::sigv4::{Destination, Signer};
use crate::storage::transport;

/// The clients for posts and pictures.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) rows: Rows,
    pub(crate) pictures: Pictures,
    /// The origin of the URLs that `pictures` signs: the page may connect to no other.
    pub(crate) picture_origin: String,
    tables_origin: String,
}

impl Clients {
    /// Makes the clients for these settings from the standard AWS configuration, without a call.
    pub async fn connect(settings: &Settings) -> Result<Self, BadSettings> {
        let aws = AwsSettings::read(env::vars_os())?;
        let mut shared = aws_config::defaults(BehaviorVersion::latest())
            .profile_name(aws.profile())
            .http_client(transport::OfCredentials::default())
            .timeout_config(patience())
            .retry_config(aws.retries());
        match aws.region().await? {
            Some(region) => shared = shared.region(region),
            // The SDK would accept an empty value as a region.
            None if env::var_os("AWS_REGION").is_some() => return Err(BadSettings::NoRegion),
            None => (),
        }
        let shared = shared.load().await;
        if let Some(region) = shared.region().filter(|region| !is_region(region.as_ref())) {
            return Err(BadSettings::Region(region.to_string()));
        }
        let clients = Self::new(&shared, settings).await?;
        clients.need_certificates(&settings.auth)?;
        Ok(clients)
    }

    /// Fails if an HTTPS endpoint is used and no certificate can be verified.
    fn need_certificates(&self, auth: &Auth) -> Result<(), BadSettings> {
        let keys = match auth {
            Auth::Jwt(jwt) => match &jwt.keys {
                Keys::Published(url) => Some(url.to_string()),
                Keys::Shared(_) => None,
            },
            Auth::Header => None,
        };
        let all = [Some(self.tables_origin.clone()), Some(self.picture_origin.clone()), keys];
        match all.into_iter().flatten().find(|place| place.starts_with("https:")) {
            Some(place) if !transport::has_certificates() => Err(BadSettings::NoCertificates(place)),
            _ => Ok(()),
        }
    }

    /// Makes the clients for these settings with a given configuration.
    pub async fn new(shared: &SdkConfig, settings: &Settings) -> Result<Self, BadSettings> {
        // Shared by all clients: connections and trusted certificates exist once per thread.
        let http = transport::of_aws(shared.timeout_config());
        let s3 = aws_sdk_s3::Client::from_conf(s3_config(shared, settings, http.clone()));
        let credentials = shared.credentials_provider().ok_or(BadSettings::NoCredentials)?;
        let credentials = SharedCredentialsProvider::new(Renewed(credentials));
        let bucket = place_of_bucket(shared, settings).await?;
        let picture_origin = bucket.origin.clone();
        let pictures = Pictures::new(s3, settings.bucket.clone(), Signer::new(bucket, credentials.clone()));
        let tables = place_of_tables(shared, settings).await?;
        let tables_origin = tables.origin.clone();
        let signer = Signer::new(tables, credentials);
        let dynamodb = DynamoDb::new(http, signer, shared.timeout_config(), shared.retry_config());
        Ok(Self { rows: Rows::new(dynamodb, settings.table.clone()), pictures, picture_origin, tables_origin })
    }
}

/// Users wait for these calls: an early 503 is better than a late answer.
fn patience() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(4))
        .operation_timeout(Duration::from_secs(10))
        .build()
}

fn s3_config(shared: &SdkConfig, settings: &Settings, http: SharedHttpConnector) -> aws_sdk_s3::Config {
    let mut config = aws_sdk_s3::config::Builder::from(shared)
        .http_client(http_client_fn(move |_, _| http.clone()))
        .interceptor(Pages)
        // Checksums would become part of the signature, and a browser's PUT and GET have none (docs/aws.md §4.4).
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    // Set even without an endpoint: otherwise the SDK would accept an empty variable as one.
    config.set_endpoint_url(None);
    if let Some(endpoint) = s3_endpoint(shared, settings) {
        // Outside AWS, buckets rarely have host names of their own.
        config = config.endpoint_url(endpoint).force_path_style(true);
        // These are variants of AWS's own endpoints.
        config = config.use_fips(false).use_dual_stack(false);
    }
    config.build()
}

fn s3_endpoint<'a>(shared: &'a SdkConfig, settings: &'a Settings) -> Option<&'a str> {
    settings.s3_endpoint.as_deref().or_else(|| shared.endpoint_url())
}

/// Resolves the bucket's endpoint with the rules of the SDK's client.
async fn place_of_bucket(shared: &SdkConfig, settings: &Settings) -> Result<Destination, BadSettings> {
    let region = shared.region().ok_or(BadSettings::NoRegion)?;
    let endpoint = s3_endpoint(shared, settings);
    let params = of_buckets::Params::builder()
        .region(region.as_ref())
        .bucket(&settings.bucket)
        .set_use_fips(shared.use_fips().filter(|_| endpoint.is_none()))
        .set_use_dual_stack(shared.use_dual_stack().filter(|_| endpoint.is_none()))
        .set_endpoint(endpoint.map(str::to_owned))
        .force_path_style(endpoint.is_some())
        .build()
        .map_err(|error| BadSettings::endpoint(settings, &error))?;
    let address = of_buckets::DefaultResolver::new().resolve_endpoint(&params).await;
    let address = address.map_err(|error| BadSettings::endpoint(settings, &*error))?;
    let signed_for = signed_for(&address).ok_or_else(|| BadSettings::Signature(settings.bucket.clone()))?;
    place(address.url(), signed_for)
}

/// Resolves the endpoint of `DynamoDB`.
async fn place_of_tables(shared: &SdkConfig, settings: &Settings) -> Result<Destination, BadSettings> {
    let region = shared.region().ok_or(BadSettings::NoRegion)?.as_ref();
    let endpoint = settings.dynamodb_endpoint.as_deref().or_else(|| shared.endpoint_url());
    let params = of_tables::Params::builder()
        .region(region)
        .set_use_fips(shared.use_fips().filter(|_| endpoint.is_none()))
        .set_use_dual_stack(shared.use_dual_stack().filter(|_| endpoint.is_none()))
        .set_endpoint(endpoint.map(str::to_owned))
        .build()
        .map_err(|error| BadSettings::NoDynamoDb(error.to_string()))?;
    let address = of_tables::DefaultResolver::new().resolve_endpoint(&params).await;
    let address = address.map_err(|error| BadSettings::NoDynamoDb(error.to_string()))?;
    // Most endpoints of DynamoDB leave these out.
    let signed_for = signed_for(&address).unwrap_or_else(|| (region.to_owned(), "dynamodb".to_owned()));
    place(address.url(), signed_for)
}

fn place(address: &str, (region, service): (String, String)) -> Result<Destination, BadSettings> {
    let parsed: Option<Uri> = address.parse().ok().filter(|_| is_url(address));
    let Some((scheme, authority, path)) =
        parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri.path())))
    else {
        return Err(BadSettings::NotAbsolute(address.to_owned()));
    };
    let path = path.trim_end_matches('/').to_owned();
    Ok(Destination { origin: format!("{scheme}://{authority}"), path, region, service })
}

/// The region and the service for signatures at this endpoint; `None` if it needs another scheme.
fn signed_for(address: &Endpoint) -> Option<(String, String)> {
    let scheme = address.auth_schemes().iter().find(|scheme| scheme.name() == "sigv4")?;
    let text = |name| scheme.get(name).and_then(Document::as_string).map(str::to_owned);
    Some((text("signingRegion")?, text("signingName")?))
}

/// Credentials that are renewed while they still last for the promised lifetime of a URL: a signed URL expires with its
/// credentials, and those of an instance's role are temporary (docs/aws.md §4.4). If the source has no fresher ones by
/// then, URLs expire with the credentials.
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

/// Half a URL's lifetime before the credentials expire; after that, once a minute, so that a source without fresher
/// credentials is not called all the time.
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

    async fn bucket_at(bucket: &str, region: &str, endpoint: Option<&str>) -> Destination {
        let shared = SdkConfig::builder().region(aws_config::Region::new(region.to_owned())).build();
        let settings = Settings::read(|name| match name {
            "BUCKET" => Some(bucket.to_owned()),
            "DYNAMO_TABLE" => Some("posts".to_owned()),
            "AWS_ENDPOINT_URL_S3" => endpoint.map(str::to_owned),
            _ => None,
        });
        place_of_bucket(&shared, &settings.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn picture_addresses_use_the_clients_endpoint() {
        for (bucket, region, endpoint, origin, path) in [
            ("b-1", "eu-west-3", None, "https://b-1.s3.eu-west-3.amazonaws.com", ""),
            ("b.1", "us-east-1", None, "https://s3.us-east-1.amazonaws.com", "/b.1"),
            ("b-1", "us-east-1", Some("http://127.0.0.1:4566/"), "http://127.0.0.1:4566", "/b-1"),
            ("b-1", "us-east-1", Some("http://aws:80"), "http://aws:80", "/b-1"),
        ] {
            let [origin, path, region] = [origin, path, region].map(str::to_owned);
            let place = bucket_at(bucket, &region, endpoint).await;
            assert_eq!(place, Destination { origin, path, region, service: "s3".to_owned() });
        }
    }
}
