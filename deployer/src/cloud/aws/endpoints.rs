//! Custom endpoints of individual services.

use aws_config::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::clients::SERVICES;
use crate::cloud::sign_in::{Trouble, check_address};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint for one service.
    #[derive(Debug)]
    struct Only(&'static str, &'static str);

    impl LoadServiceConfig for Only {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            (key.service_id() == self.0).then(|| self.1.to_owned())
        }
    }

    #[test]
    fn the_endpoint_of_every_service_is_checked() {
        let with = |service, endpoint| checked(SdkConfig::builder().service_config(Only(service, endpoint)).build());
        for service in SERVICES {
            let refused = with(service, "no address").expect_err("it is not an address");
            assert!(refused.to_string().contains(&format!("the endpoint_url of {service}")), "{refused}");
            for fine in ["http://127.0.0.1:4566", " "] {
                assert!(with(service, fine).is_ok(), "{service} {fine}");
            }
        }
    }
}
