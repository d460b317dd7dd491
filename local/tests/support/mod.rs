//! A local AWS of a test's own, and clients that use it.

pub mod client;

use aws_config::SdkConfig;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use tempfile::TempDir;

/// A running cloud in a directory that goes with it.
pub struct World {
    pub cloud: Cloud,
    pub dir: TempDir,
    pub config: SdkConfig,
}

impl World {
    pub async fn new() -> World {
        World::in_dir(tempfile::tempdir().expect("temporary directory")).await
    }

    pub async fn in_dir(dir: TempDir) -> World {
        let options = Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
        let cloud = Cloud::start(options).await.expect("the cloud starts");
        let config = config(&cloud, ACCESS_KEY, SECRET_KEY, None).await;
        World { cloud, dir, config }
    }

    /// The same directory under a new server.
    #[allow(dead_code)] // each test binary uses its part
    pub async fn restarted(self) -> World {
        self.cloud.stop().await;
        World::in_dir(self.dir).await
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        s3(&self.config)
    }
}

pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    client::s3(config)
}

pub async fn config(cloud: &Cloud, key: &str, secret: &str, token: Option<String>) -> SdkConfig {
    client::config_at(&cloud.endpoint(), key, secret, token).await
}

/// An address signed as presigned ones are, whatever it asks for.
#[allow(dead_code)] // each test binary uses its part
pub fn presign(method: &reqwest::Method, url: &str, life: std::time::Duration) -> String {
    use aws_sigv4::http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    let identity = aws_credential_types::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.expires_in = Some(life);
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(std::time::SystemTime::now())
        .settings(settings)
        .build()
        .expect("everything is said")
        .into();
    let host = url.split('/').nth(2).expect("an address has a host");
    let headers = [("host", host)].into_iter();
    let request =
        SignableRequest::new(method.as_str(), url, headers, SignableBody::UnsignedPayload).expect("an address");
    let (instructions, _) = sign(request, &params).expect("it can be signed").into_parts();
    let query = instructions.params().iter().map(|(name, value)| {
        format!("&{name}={}", percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC))
    });
    format!("{url}{}{}", if url.contains('?') { "" } else { "?" }, query.collect::<String>())
}
