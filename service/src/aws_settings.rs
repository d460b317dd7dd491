//! The settings that the AWS SDK reads itself, validated before it does: for an invalid value the SDK would log a
//! warning and use a default, fail at each call, or panic.

use std::collections::BTreeMap;
use std::ffi::OsString;

use aws_config::retry::RetryConfig;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::region::Region;
use poem::http::Uri;

use crate::config::BadSettings;

/// The AWS variables of a process; empty ones count as unset.
#[derive(Debug)]
pub(crate) struct AwsSettings(BTreeMap<String, String>);

/// A predicate for the values of a variable or profile key, with its description.
type Rule = (fn(&str) -> bool, &'static str);

const REGION: Rule = (is_region, "a region is called like us-east-1");
const FLAG: Rule = (|text| is_one_of(text, &["true", "false"]), "it must be true or false");
const URL: Rule = (is_url, "it must be an absolute address, http:// or https://");
/// A URL to which requests are sent unchanged, so it may have a query.
const REQUEST: Rule = (is_request, "it must be an absolute address, http:// or https://");
/// The AWS CLI and other SDKs also accept `legacy` and `adaptive`; this service treats them as `standard`.
const RETRY_MODE: Rule =
    (|text| is_one_of(text, &["standard", "adaptive", "legacy"]), "it must be standard, adaptive or legacy");
const ATTEMPTS: Rule =
    (|text| text.parse().is_ok_and(|count: u32| (1..=100).contains(&count)), "it must be from 1 to 100");
const IP_VERSION: Rule = (|text| is_one_of(text, &["ipv4", "ipv6"]), "it must be IPv4 or IPv6");
const VISIBLE: Rule =
    (|text| text.bytes().all(|byte| byte.is_ascii_graphic()), "it has a character that headers cannot carry");
const PATH_OF_URL: Rule =
    (|text| text.starts_with('/') && is_request(&format!("http://a{text}")), "it must begin with /");
const NUMBER: Rule = (|text| text.parse::<u32>().is_ok(), "it must be a number");

/// The variables, with the equivalent profile keys.
const RULES: &[(&str, &str, Rule)] = &[
    ("AWS_REGION", "region", REGION),
    ("AWS_DEFAULT_REGION", "", REGION),
    ("AWS_RETRY_MODE", "retry_mode", RETRY_MODE),
    ("AWS_MAX_ATTEMPTS", "max_attempts", ATTEMPTS),
    ("AWS_ENDPOINT_URL", "endpoint_url", URL),
    ("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", FLAG),
    ("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", FLAG),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls", FLAG),
    ("AWS_DISABLE_REQUEST_COMPRESSION", "disable_request_compression", FLAG),
    ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "request_min_compression_size_bytes", NUMBER),
    ("AWS_DISABLE_CLOCK_SKEW_CORRECTION", "", FLAG),
    ("AWS_NEW_RETRIES_2026", "", FLAG),
    ("AWS_EC2_METADATA_DISABLED", "", FLAG),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint", URL),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode", IP_VERSION),
    ("AWS_ACCESS_KEY_ID", "aws_access_key_id", VISIBLE),
    ("AWS_SESSION_TOKEN", "aws_session_token", VISIBLE),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "", REQUEST),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "", PATH_OF_URL),
];

/// The endpoints of individual services, each a URL.
const ENDPOINTS: &str = "AWS_ENDPOINT_URL_";

/// Variables of which the SDK does not treat an empty value as unset.
const NEVER_EMPTY: &[&str] = &[
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
];

/// Pairs of variables that must be set together.
const PAIRS: &[[&str; 2]] =
    &[["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"]];

impl AwsSettings {
    /// Reads the variables of a process; fails with the first invalid one.
    pub(crate) fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, BadSettings> {
        let mut known = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.into_string().ok().filter(|name| name.starts_with("AWS_")) else { continue };
            let Ok(value) = value.into_string() else { return Err(BadSettings::NotText(name)) };
            known.insert(name, value);
        }
        if let Some(name) =
            NEVER_EMPTY.iter().find(|name| known.get(**name).is_some_and(|value| value.trim().is_empty()))
        {
            return Err(BadSettings::Empty(name));
        }
        known.retain(|_, value| !value.trim().is_empty());
        let settings = Self(known);
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BadSettings> {
        for (name, _, rule) in RULES {
            self.get(name).map_or(Ok(()), |value| check(name, value, *rule))?;
        }
        for (name, value) in self.0.range(ENDPOINTS.to_owned()..).take_while(|(name, _)| name.starts_with(ENDPOINTS)) {
            check(name, value, URL)?;
        }
        for [one, other] in PAIRS.iter().flat_map(|[a, b]| [[a, b], [b, a]]) {
            if self.get(one).is_some() && self.get(other).is_none() {
                return Err(BadSettings::Alone((*one).to_owned(), other));
            }
        }
        Ok(())
    }

    /// Validates the selected profile, if any, and returns the region from the variables or, failing that, from the
    /// profile.
    pub(crate) async fn region(&self) -> Result<Option<Region>, BadSettings> {
        let (fs, env, files) = (Fs::real(), Env::real(), EnvConfigFiles::default());
        let profile = self.profile().to_owned();
        let profiles = aws_config::profile::load(&fs, &env, &files, Some(profile.into())).await;
        let profiles = profiles.map_err(|error| BadSettings::Profiles(one_line(&error)))?;
        if self.get("AWS_PROFILE").is_some()
            && self.get("AWS_ACCESS_KEY_ID").is_none()
            && profiles.get_profile(self.profile()).is_none()
        {
            return Err(BadSettings::NoProfile(self.profile().to_owned()));
        }
        for (_, key, rule) in RULES.iter().filter(|(_, key, _)| !key.is_empty()) {
            if let Some(value) = profiles.get(key).filter(|value| !value.is_empty()) {
                check(&format!("{key} of profile {}", self.profile()), value, *rule)?;
            }
        }
        let region = self.get("AWS_REGION").or(self.get("AWS_DEFAULT_REGION")).or(profiles.get("region"));
        Ok(region.map(|region| Region::new(region.to_owned())))
    }

    pub(crate) fn profile(&self) -> &str {
        self.get("AWS_PROFILE").unwrap_or("default")
    }

    /// The retry configuration, with the maximum number of attempts from `AWS_MAX_ATTEMPTS`, or 3.
    pub(crate) fn retries(&self) -> RetryConfig {
        let attempts = self.get("AWS_MAX_ATTEMPTS").and_then(|count| count.parse().ok());
        RetryConfig::standard().with_max_attempts(attempts.unwrap_or(3))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn check(name: &str, value: &str, (is_good, rule): Rule) -> Result<(), BadSettings> {
    if is_good(value) { Ok(()) } else { Err(BadSettings::Aws(name.to_owned(), value.to_owned(), rule)) }
}

/// The error with its causes, in one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let all = causes.fold(error.to_string(), |chain, cause| format!("{chain}: {cause}"));
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn is_region(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_of_it) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether it is an absolute URL without a query: request paths are appended to it.
pub(crate) fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let behind_host = authority.as_str().strip_prefix(authority.host());
    matches!(scheme, "http" | "https")
        && !authority.host().is_empty()
        && uri.query().is_none()
        && behind_host.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_request(text: &str) -> bool {
    let address = text.split_once('?').map_or(text, |(address, _)| address);
    is_url(address) && text.bytes().all(|byte| byte.is_ascii_graphic()) && text.parse::<Uri>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<AwsSettings, String> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        AwsSettings::read(variables).map_err(|error| error.to_string())
    }

    const ODD: &[&str] =
        &["nonsense!", "-1", "0", "é", "a b", "http://", "ftp://a/", "http://a:99999", "x\ny", "\u{0}"];

    #[test]
    fn every_invalid_value_is_refused_in_one_line_that_names_the_variable() {
        let endpoints = ["S3", "DYNAMODB", "STS"].map(|service| (format!("{ENDPOINTS}{service}"), URL));
        let all = RULES.iter().map(|(name, _, rule)| ((*name).to_owned(), *rule)).chain(endpoints);
        let mut refused = 0;
        for (name, (is_good, _)) in all {
            for odd in ODD.iter().filter(|odd| !is_good(odd)) {
                let error = read(&[(&name, odd)]).map(drop).unwrap_err();
                assert!(error.starts_with(&format!("{name} is {odd:?}: ")) && !error.contains('\n'), "{error}");
                refused += 1;
            }
        }
        assert!(refused > 15 * ODD.len(), "{refused}");
    }

    #[test]
    fn empty_values_are_unset_and_values_that_the_sdk_accepts_are_accepted() {
        for (name, ..) in RULES {
            for empty in ["", " "] {
                match read(&[(name, empty)]) {
                    Ok(settings) => assert!(settings.get(name).is_none() && !NEVER_EMPTY.contains(name), "{name}"),
                    Err(error) => assert_eq!(error, format!("{name} is empty: leave it out")),
                }
            }
        }
        for (name, value) in [
            ("AWS_RETRY_MODE", "legacy"),
            ("AWS_RETRY_MODE", "Standard"),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/credentials?role=web"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/credentials?role=web"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL", "https://[::1]:1/path/"),
            ("AWS_ENDPOINT_URL_S3", "https://s3.example"),
            ("AWS_USE_FIPS_ENDPOINT", "TRUE"),
            ("AWS_REGION", "us-gov-west-1"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap().get(name), Some(value));
        }
        assert_eq!(read(&[("AWS_MAX_ATTEMPTS", "7")]).unwrap().retries().max_attempts(), 7);
    }

    #[test]
    fn an_incomplete_pair_and_an_invalid_text_are_named() {
        assert!(
            read(&[("AWS_ACCESS_KEY_ID", "a")])
                .unwrap_err()
                .starts_with("AWS_ACCESS_KEY_ID is set without AWS_SECRET_")
        );
        assert!(read(&[("AWS_ROLE_ARN", "a")]).unwrap_err().starts_with("AWS_ROLE_ARN is set without AWS_WEB_"));
        assert!(read(&[("AWS_ACCESS_KEY_ID", "a\nb"), ("AWS_SECRET_ACCESS_KEY", "b")]).is_err());
        let broken = [("AWS_PROFILE".into(), OsString::from_vec(vec![0xff]))];
        assert_eq!(AwsSettings::read(broken.into_iter()).unwrap_err().to_string(), "AWS_PROFILE is not valid UTF-8");
    }
}
