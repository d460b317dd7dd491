//! The environment variables of the AWS configuration, validated before the SDK reads them.
//!
//! The SDK ignores values that it does not understand, or panics on them.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use url::Url;

use super::Trouble;
use crate::machine::platform::HOME_VARIABLES;

/// The `AWS_…` variables, and the few others that determine credentials.
///
/// Guarantees: every value is UTF-8, and those that the SDK reads itself are valid.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// The other variables that count.
const OTHERS: &[&str] = &["SECRET_ACCESS_KEY", "SSL_CERT_FILE"];

/// The values that a setting accepts. In a profile it has the same name in lower case, without `aws_`, unless stated
/// otherwise.
struct Setting {
    variable: &'static str,
    key: &'static str,
    syntax: Syntax,
}

enum Syntax {
    /// `true` or `false`.
    Switch,
    /// One of these, in upper or lower case.
    OneOf(&'static [&'static str]),
    /// A number up to this limit.
    UpTo(u64),
    /// A valid header value.
    Words,
    /// The `http` or `https` address of a server, without a query.
    Address,
    /// An address that may have a query, to which requests are sent unchanged.
    Request,
}

/// Settings that change the SDK's behaviour. Not listed: those that determine credentials, and `AWS_RETRY_MODE` and
/// `AWS_MAX_ATTEMPTS`, which have no effect, since a deployment has its own retries.
const SETTINGS: &[Setting] = &[
    switch("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
    switch("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"),
    switch("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls"),
    switch("AWS_DISABLE_REQUEST_COMPRESSION", "disable_request_compression"),
    switch("AWS_DISABLE_CLOCK_SKEW_CORRECTION", "disable_clock_skew_correction"),
    switch("AWS_EC2_METADATA_DISABLED", ""),
    switch("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled"),
    switch("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "s3_disable_express_session_auth"),
    switch("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "s3_disable_multiregion_access_points"),
    switch("AWS_S3_USE_ARN_REGION", "s3_use_arn_region"),
    one_of("AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation", &["when_supported", "when_required"]),
    one_of("AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation", &["when_supported", "when_required"]),
    one_of("AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode", &["preferred", "disabled", "required"]),
    one_of("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode", &["IPv4", "IPv6"]),
    Setting {
        variable: "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
        key: "request_min_compression_size_bytes",
        syntax: Syntax::UpTo(10_485_760),
    },
    Setting { variable: "AWS_EXECUTION_ENV", key: "", syntax: Syntax::Words },
    Setting { variable: "AWS_SDK_UA_APP_ID", key: "sdk_ua_app_id", syntax: Syntax::Words },
    Setting { variable: "AWS_EC2_METADATA_SERVICE_ENDPOINT", key: "", syntax: Syntax::Address },
    Setting { variable: "AWS_CONTAINER_CREDENTIALS_FULL_URI", key: "", syntax: Syntax::Request },
    Setting { variable: "AWS_ENDPOINT_URL", key: "endpoint_url", syntax: Syntax::Address },
];

const fn switch(variable: &'static str, key: &'static str) -> Setting {
    Setting { variable, key, syntax: Syntax::Switch }
}

const fn one_of(variable: &'static str, key: &'static str, words: &'static [&'static str]) -> Setting {
    Setting { variable, key, syntax: Syntax::OneOf(words) }
}

/// `AWS_ENDPOINT_URL_S3` and those of the other services.
const ENDPOINT_OF_A_SERVICE: &str = "AWS_ENDPOINT_URL_";

impl Environment {
    /// The environment of this process.
    ///
    /// Errors: an invalid value.
    pub fn of_this_process() -> Result<Environment, Trouble> {
        Environment::new(std::env::vars_os())
    }

    fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment, Trouble> {
        let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let mut all = BTreeMap::new();
        let counts = |name: &str| name.starts_with("AWS_") || OTHERS.contains(&name) || HOME_VARIABLES.contains(&name);
        for (name, value) in named.filter(|(name, _)| counts(name)) {
            let value = value.into_string().map_err(|_| {
                Trouble::setting(format!("{name} is not UTF-8"), format!("set {name} again, or unset it"))
            })?;
            all.insert(name, value);
        }
        let environment = Environment(all);
        environment.check()?;
        Ok(environment)
    }

    /// Returns a value. A blank one counts as unset, as it does for the AWS CLI.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// Returns a path, with `~` expanded.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|path| self.expanded(path))
    }

    /// Expands a path from a setting.
    pub fn expanded(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => path.into(),
        }
    }

    /// The home directory, found as the SDK finds it.
    pub fn home(&self) -> Option<PathBuf> {
        HOME_VARIABLES.iter().find_map(|name| self.get(name)).map(PathBuf::from)
    }

    fn check(&self) -> Result<(), Trouble> {
        for (name, value) in self.0.iter().filter(|(name, _)| self.get(name).is_some()) {
            let setting = SETTINGS.iter().find(|setting| setting.variable == name);
            match setting {
                Some(setting) => setting.syntax.check(name, value)?,
                None if name.starts_with(ENDPOINT_OF_A_SERVICE) => Syntax::Address.check(name, value)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Checks the settings of a profile that correspond to variables.
pub fn check_profile<'a>(profile: &str, value_of: impl Fn(&str) -> Option<&'a str>) -> Result<(), Trouble> {
    let keyed = SETTINGS.iter().filter(|setting| !setting.key.is_empty());
    for Setting { key, syntax, .. } in keyed {
        if let Some(value) = value_of(key).filter(|value| !value.trim().is_empty()) {
            syntax.check(&format!("{key} of profile {profile}"), value)?;
        }
    }
    Ok(())
}

/// Checks an address that was composed from variables and profiles.
pub fn check_address(name: &str, value: &str) -> Result<(), Trouble> {
    Syntax::Address.check(name, value)
}

impl Syntax {
    fn check(&self, name: &str, value: &str) -> Result<(), Trouble> {
        let refused = |remedy: String| Err(Trouble::setting(format!("{name} cannot be {value:?}"), remedy));
        match self {
            Syntax::Switch if !is_one_of(&["true", "false"], value) => {
                refused(format!("set {name} to true or false, or unset it"))
            }
            Syntax::OneOf(words) if !is_one_of(words, value) => {
                refused(format!("set {name} to {}, or unset it", words.join(" or ")))
            }
            Syntax::UpTo(most) if !value.trim().parse().is_ok_and(|number: u64| number <= *most) => {
                refused(format!("set {name} to a number up to {most}, or unset it"))
            }
            Syntax::Words if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) => {
                refused(format!("set {name} to printable ASCII, or unset it"))
            }
            Syntax::Address if !is_address(value) => {
                refused(format!("set {name} to the address of a server, such as http://127.0.0.1:4566, or unset it"))
            }
            Syntax::Request if !is_request(value) => {
                refused(format!("set {name} to an http address, such as http://127.0.0.1/credentials, or unset it"))
            }
            _ => Ok(()),
        }
    }
}

fn is_one_of(words: &[&str], value: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// Whether both the SDK's endpoint rules and its HTTP client accept it.
fn is_address(value: &str) -> bool {
    is_request(value) && !value.contains('?')
}

fn is_request(value: &str) -> bool {
    let is_plain = value.chars().all(|c| c.is_ascii_graphic());
    let url = Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    is_plain && value.contains("://") && url.is_some_and(|url| url.host().is_some() && url.fragment().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Environment {
        /// An environment with these variables.
        pub fn with(variables: &[(&str, &str)]) -> Result<Environment, Trouble> {
            Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
        }
    }

    #[test]
    fn values_that_the_sdk_cannot_read_are_refused_by_name() {
        for (name, value) in [
            ("AWS_USE_FIPS_ENDPOINT", "yes"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "1"),
            ("AWS_REQUEST_CHECKSUM_CALCULATION", "never"),
            ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "-1"),
            ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "99999999999"),
            ("AWS_EXECUTION_ENV", "a\nb"),
            ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL", "http://"),
            ("AWS_ENDPOINT_URL", "ftp://127.0.0.1"),
            ("AWS_ENDPOINT_URL", "http:127.0.0.1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1\n"),
            ("AWS_ENDPOINT_URL_S3", "localhost"),
            ("AWS_ENDPOINT_URL_S3", "http://a?b=c"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "x"),
        ] {
            let trouble = Environment::with(&[(name, value)]).unwrap_err();
            assert_eq!(trouble.what, format!("{name} cannot be {value:?}"));
            assert!(trouble.remedy.contains(name) && trouble.remedy.ends_with("unset it"), "{}", trouble.remedy);
        }
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_home_directory() {
        let home = |variables: &[(&str, &str)]| Environment::with(variables).unwrap().home();
        assert_eq!(home(&[]), None);
        for (at, name) in HOME_VARIABLES.iter().enumerate() {
            let blank = HOME_VARIABLES[..at].iter().map(|before| (*before, " "));
            let set: Vec<(&str, &str)> = blank.chain([(*name, "/home/ada")]).collect();
            assert_eq!(home(&set), Some("/home/ada".into()), "{name}");
        }
    }

    #[test]
    fn blank_values_are_unset_and_valid_ones_accepted() {
        for (name, value) in [
            ("AWS_USE_FIPS_ENDPOINT", "True"),
            ("AWS_RETRY_MODE", "legacy"),
            ("AWS_MAX_ATTEMPTS", "-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL", "https://[::1]/base"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/credentials?role=deployer"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6"),
        ] {
            assert_eq!(Environment::with(&[(name, value)]).unwrap().get(name), Some(value));
        }
        for blank in ["", " ", "\t\n"] {
            let environment = Environment::with(&[("AWS_ENDPOINT_URL", blank), ("AWS_PROFILE", blank)]).unwrap();
            assert_eq!([environment.get("AWS_ENDPOINT_URL"), environment.get("AWS_PROFILE")], [None; 2]);
        }
    }
}
