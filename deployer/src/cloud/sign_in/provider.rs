//! A credentials provider for one source, with a time limit and a reason for each failure.

use std::{
    io::IsTerminal as _,
    time::{Duration, SystemTime},
};

use aws_config::{
    Region, ecs::EcsCredentialsProvider, environment::EnvironmentVariableCredentialsProvider, imds,
    imds::credentials::ImdsCredentialsProvider, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig, retry::RetryConfig, timeout::TimeoutConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
};
use aws_smithy_runtime_api::client::{http::SharedHttpClient, orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::{DateTime, date_time::Format, error::metadata::ProvideErrorMetadata};
use parking_lot::Mutex;

use super::{CredentialSource, Profiles, Trouble, chain};
use crate::engine::Fault;

/// How long servers may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long a `credential_process` may take: it may start an interpreter, or call a server.
const PROCESS_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take at a terminal: it may prompt the user.
const PERSON_WITHIN: Duration = Duration::from_secs(60);

/// The credentials of one source.
#[derive(Debug)]
pub struct Provider {
    source: CredentialSource,
    inner: SharedCredentialsProvider,
    /// Fetched before the first call and passed to it, so that a command that prompts for a code runs only once.
    first: Mutex<Option<Credentials>>,
    expires: Mutex<Option<SystemTime>>,
}

impl Provider {
    /// A provider for a source in these profiles. Calls go out through `http`.
    pub fn new(
        source: CredentialSource,
        profiles: &Profiles,
        name: &str,
        region: &str,
        http: &SharedHttpClient,
    ) -> Provider {
        let inner = match &source {
            CredentialSource::Environment { .. } => {
                SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
            }
            _ => asking(&source, profiles, name, region, http),
        };
        Provider { source, inner, first: Mutex::default(), expires: Mutex::default() }
    }

    /// The source.
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// Fetches the credentials now. The next call that needs them gets these.
    pub async fn prepare(&self) -> Result<(), Trouble> {
        let credentials = self.ask().await?;
        *self.expires.lock() = credentials.expiry().or_else(|| self.announced());
        *self.first.lock() = Some(credentials);
        Ok(())
    }

    /// When the keys in environment variables expire, if a variable has the time. The AWS CLI sets it when it exports
    /// them.
    fn announced(&self) -> Option<SystemTime> {
        let CredentialSource::Environment { temporary: true } = self.source else { return None };
        let end = std::env::var("AWS_CREDENTIAL_EXPIRATION").ok()?;
        DateTime::from_str(end.trim(), Format::DateTimeWithOffset).ok()?.try_into().ok()
    }

    /// When the prepared credentials expire, if their source has the time.
    pub fn expires(&self) -> Option<SystemTime> {
        *self.expires.lock()
    }

    /// The time limit for fetching.
    pub fn patience(&self) -> Duration {
        match self.source.command() {
            None => ANSWER_WITHIN,
            Some(_) if std::io::stderr().is_terminal() => PERSON_WITHIN,
            Some(_) => PROCESS_WITHIN,
        }
    }

    async fn ask(&self) -> Result<Credentials, Trouble> {
        let patience = self.patience();
        match tokio::time::timeout(patience, self.inner.provide_credentials()).await {
            Ok(Ok(credentials)) => self.checked(credentials),
            Ok(Err(error)) => Err(self.trouble(&error)),
            Err(_) => Err(self.source.too_slow(patience.as_secs())),
        }
    }

    /// Keys travel in headers, which do not allow every character.
    fn checked(&self, credentials: Credentials) -> Result<Credentials, Trouble> {
        let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic());
        match is_key(credentials.access_key_id()) && credentials.session_token().is_none_or(is_key) {
            true => Ok(credentials),
            false => Err(self.source.failed("its credentials are malformed", self.source.renew())),
        }
    }

    fn trouble(&self, error: &CredentialsError) -> Trouble {
        if let Some(trouble) = Trouble::behind(error) {
            return self.source.failed(trouble, trouble.remedy.clone());
        }
        if let Some(fault) = refusal(error) {
            return self.source.refused(&fault);
        }
        let said: Vec<String> = chain(error).map(ToString::to_string).collect();
        self.source.explain(&said, &format!("{error:?}"))
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first = self.first.lock().take();
        future::ProvideCredentials::new(async move {
            match first {
                Some(credentials) => Ok(credentials),
                None => self.ask().await.map_err(CredentialsError::provider_error),
            }
        })
    }
}

/// The SDK's provider for a source that has to be contacted.
fn asking(
    source: &CredentialSource,
    profiles: &Profiles,
    name: &str,
    region: &str,
    http: &SharedHttpClient,
) -> SharedCredentialsProvider {
    let config = provider_config(region, http);
    match source {
        CredentialSource::Container(_) => {
            SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(&config).build())
        }
        CredentialSource::WebIdentity { .. } => {
            SharedCredentialsProvider::new(WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
        }
        CredentialSource::Instance { address, .. } => {
            let client = imds::Client::builder().configure(&config).max_attempts(2);
            let client = match address.as_deref().map(|address| client.clone().endpoint(address)) {
                Some(Ok(client)) => client,
                // It is off, or the SDK rejects the address despite our check.
                _ => client,
            };
            SharedCredentialsProvider::new(
                ImdsCredentialsProvider::builder().configure(&config).imds_client(client.build()).build(),
            )
        }
        CredentialSource::Profile(_) | CredentialSource::Environment { .. } => SharedCredentialsProvider::new(
            #[allow(deprecated)] // an alias of a type that is not
            ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_files(profiles.for_sdk())
                .profile_name(name)
                .build(),
        ),
    }
}

fn provider_config(region: &str, http: &SharedHttpClient) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(http.clone())
        .with_retry_config(
            RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(200)),
        )
        .with_timeout_config(TimeoutConfig::builder().connect_timeout(ANSWER_WITHIN).build())
}

/// The error from AWS STS, if it refused.
fn refusal(error: &CredentialsError) -> Option<Fault> {
    chain(error).find_map(|cause| {
        service_fault::<AssumeRoleError>(cause, "AssumeRole")
            .or_else(|| service_fault::<AssumeRoleWithWebIdentityError>(cause, "AssumeRoleWithWebIdentity"))
    })
}

fn service_fault<E: ProvideErrorMetadata + std::error::Error + 'static>(
    cause: &(dyn std::error::Error + 'static),
    operation: &str,
) -> Option<Fault> {
    let error = cause.downcast_ref::<SdkError<E, HttpResponse>>()?;
    Some(Fault::new(operation, error.code()?, error.message().unwrap_or_default()))
}
