//! The configuration of the clients.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::http::Trust;
use super::pace::Rates;
use super::{ConnectOptions, Local, endpoints, http, pace};
use crate::cloud::sign_in::{Area, CredentialSource, Environment, Profiles, Provider, Trouble, selected};

/// Without these, a call whose answer is lost would wait forever: the SDK sets no such timeout itself (docs/aws.md
/// §2.2).
pub(super) fn timeouts(answer_within: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(answer_within).build()
}

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The SDK configuration for our local AWS, independent of the user's AWS configuration.
pub(super) fn local_configuration(options: &ConnectOptions, local: &Local, rates: &Rates) -> SdkConfig {
    let Local { endpoint, access_key, secret_key } = local;
    let credentials = Credentials::new(access_key, secret_key, None, None, "deployer --local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(options.region.clone()))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts(options.answer_within))
        .retry_config(retries(true))
        .http_client(paced(http::client(Trust::default()), rates, options.paced))
        .sleep_impl(TokioSleep::new())
        .time_source(SystemTimeSource::new())
        .build()
}

/// The SDK configuration for AWS, or an endpoint in its place: the user's AWS configuration, validated first.
pub(super) async fn configuration(
    options: &ConnectOptions,
    rates: &Rates,
) -> Result<(SdkConfig, Arc<Provider>, Trust), Trouble> {
    let environment = Environment::of_this_process()?;
    let flag = options.profile.as_deref();
    let (name, _) = selected(&environment, flag);
    let (profiles, unusable) = match Profiles::read(&environment, name).await {
        Ok(profiles) => (profiles, None),
        Err(trouble) if trouble.area == Area::Settings => return Err(trouble),
        Err(trouble) => (Profiles::none(), Some(trouble)),
    };
    let source = match (CredentialSource::find(&environment, &profiles, flag), unusable) {
        // Keys in environment variables need no file.
        (Ok(source @ CredentialSource::Environment { .. }), _) | (Ok(source), None) => source,
        (_, Some(trouble)) | (Err(trouble), None) => return Err(trouble),
    };
    let bundle = profiles.get(name).and_then(|profile| profile.get("ca_bundle"));
    let trust = Trust::new(&environment, bundle);
    let http = http::client(trust.clone());
    let provider = Arc::new(Provider::new(source, &profiles, name, &options.region, &http));
    let patience = provider.patience() + Duration::from_secs(1);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(options.region.clone()))
        .profile_name(name)
        .profile_files(profiles.for_sdk())
        .timeout_config(timeouts(options.answer_within))
        // Checked before loading: the SDK panics on an unknown mode.
        .retry_config(retries(false))
        .http_client(http.clone())
        .credentials_provider(SharedCredentialsProvider::new(provider.clone() as Arc<dyn ProvideCredentials>))
        .identity_cache(IdentityCache::lazy().load_timeout(patience).build())
        .load()
        .await;
    let config = endpoints::checked(config)?;
    // Rate limits protect the shared AWS; a cloud on this machine serves only us.
    let is_here = config.endpoint_url().is_some_and(is_on_this_machine);
    let config = config.into_builder().retry_config(retries(is_here));
    let config = config.http_client(paced(http, rates, options.paced || !is_here)).build();
    Ok((config, provider, trust))
}

fn paced(http: SharedHttpClient, rates: &Rates, is_paced: bool) -> SharedHttpClient {
    if is_paced { pace::paced(http, rates.clone()) } else { http }
}

/// More than the default of three, because retries are cheaper than a failed deployment (docs/aws.md §2.2).
fn retries(is_here: bool) -> RetryConfig {
    let retries = RetryConfig::standard().with_max_attempts(8);
    if is_here { retries.with_initial_backoff(Duration::from_millis(20)) } else { retries }
}

pub(super) fn is_on_this_machine(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    ["127.", "localhost", "[::1]"].iter().any(|here| host.starts_with(here))
}
