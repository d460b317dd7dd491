//! Custom endpoints of individual services.

use aws_config::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::cloud::sign_in::{Trouble, check_address};

/// The services that we call, by the SDK's names.
const SERVICES: &[&str] = &[
    "S3",
    "DynamoDB",
    "IAM",
    "Lambda",
    "CloudWatch",
    "CloudWatch Logs",
    "EC2",
    "Elastic Load Balancing v2",
    "Auto Scaling",
    "Secrets Manager",
    "Service Quotas",
    "SSM",
    "STS",
];

/// The endpoint of a service.
pub fn of(config: &SdkConfig, service: &str) -> Option<String> {
    let own = key(service).and_then(|key| config.service_config()?.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// The same configuration, with blank endpoints removed.
///
/// Errors: an endpoint that is not a valid address. The SDK would panic on it.
pub fn checked(config: SdkConfig) -> Result<SdkConfig, Trouble> {
    let config = config.clone().into_builder().service_config(WithoutBlanks(config)).build();
    for service in SERVICES {
        if let Some(endpoint) = of(&config, service) {
            check_address(&format!("the endpoint_url of {service}"), &endpoint)?;
        }
    }
    Ok(config)
}

fn key(service: &str) -> Option<ServiceConfigKey<'_>> {
    ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()
}

#[derive(Debug)]
struct WithoutBlanks(SdkConfig);

impl LoadServiceConfig for WithoutBlanks {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        self.0.service_config()?.load_config(key).filter(|value| !value.trim().is_empty())
    }
}
