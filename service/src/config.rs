//! The settings of the service, from the environment or a `.env` in the working directory.

use std::env::VarError;
use std::net::{IpAddr, Ipv4Addr};
use std::{env, fmt, fs};

use poem::http::Uri;

/// Everything that differs between deployments, except what the AWS SDK reads itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bucket for pictures: `BUCKET`, or `S3_BUCKET`, as the course also calls it.
    pub bucket: String,
    /// The table for posts: `DYNAMO_TABLE`.
    pub table: String,
    /// The address to listen on: `HOST`; all interfaces by default.
    pub host: String,
    /// The port to listen on: `PORT`; 8080 by default.
    pub port: u16,
    /// A custom endpoint for S3: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
    /// A custom endpoint for DynamoDB: `AWS_ENDPOINT_URL_DYNAMODB`, or the AWS configuration's endpoint for all
    /// services.
    pub dynamodb_endpoint: Option<String>,
    /// How callers are authenticated: `AUTH`; by default with the course's plain header.
    pub auth: Auth,
    /// The address of the metrics listener: `METRICS_HOST`; 127.0.0.1 by default.
    pub metrics_host: String,
    /// The port of the metrics listener: `METRICS_PORT`; off by default.
    pub metrics_port: Option<u16>,
    /// The limit of concurrent requests: `MAX_REQUESTS`; 256 by default.
    pub max_requests: usize,
}

/// How callers are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `header`: the name in the header is trusted.
    Header,
    /// `jwt`: a token signed by a trusted issuer.
    Jwt(Box<Jwt>),
}

/// Which tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The keys for their signatures.
    pub keys: Keys,
    /// The required audience: `JWT_AUDIENCE`.
    pub audience: String,
    /// The required issuer: `JWT_ISSUER`; any by default.
    pub issuer: Option<String>,
    /// The claim with the user's name: `JWT_CLAIM`; `sub` by default.
    pub claim: String,
    /// Where users get a token, shown on the page: `JWT_LOGIN_URL`.
    pub login: Option<Uri>,
}

/// The keys for signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// The issuer's published public keys: `JWT_JWKS_URL`.
    Published(Uri),
    /// A secret shared with the issuer: `JWT_SECRET`.
    Shared(Secret),
}

/// A secret; its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Secret {
    /// The shortest secret in bytes that does not weaken HS256 (RFC 7518, section 3.2).
    pub const MIN_BYTES: usize = 32;
}

/// Why the service cannot start with these settings.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// A required variable is not set.
    #[error("{0} is not set: set it in the environment or in a .env file in the working directory")]
    Missing(&'static str),
    /// The value of a port variable is invalid.
    #[error("{0} is {1:?}, which is not a port number")]
    Port(&'static str, String),
    /// The value of a number variable is invalid, or 0.
    #[error("{0} is {1:?}, which is not a number from 1 to {max}", max = u32::MAX)]
    Number(&'static str, String),
    /// `AUTH` is unknown.
    #[error("AUTH is {0:?}: it must be header or jwt")]
    Auth(String),
    /// None or both of the sources of token keys are set.
    #[error("AUTH is jwt: set JWT_JWKS_URL or JWT_SECRET, one of the two")]
    Keys,
    /// The secret could be guessed by brute force.
    #[error("JWT_SECRET is shorter than {} bytes: make one with `openssl rand -hex 32`", Secret::MIN_BYTES)]
    WeakSecret,
    /// The variable is not an `https` URL.
    #[error("{0} is {1:?}, which is not an https:// address (http:// is accepted on this machine only)")]
    Address(&'static str, String),
    /// A variable about tokens is set, but tokens are not used.
    #[error("{0} is set, but AUTH is not jwt")]
    NoTokens(&'static str),
    /// The `.env` exists and cannot be read.
    #[error("cannot read .env: {0}")]
    DotEnv(#[from] dotenvy::Error),
    /// Neither the environment nor a profile nor the instance metadata names a region.
    #[error("no AWS region is known: set AWS_REGION")]
    NoRegion,
    /// The configuration disables all sources of credentials.
    #[error("no source of AWS credentials is known")]
    NoCredentials,
    /// For example S3 Express buckets, whose requests are signed with session credentials.
    #[error("addresses of bucket {0} cannot be signed here: use a general purpose bucket")]
    Signature(String),
    /// The SDK's endpoint rules reject the bucket.
    #[error("bucket {0} has no address: {1}")]
    Endpoint(String, String),
    /// The region is unknown, or its endpoint setting is invalid.
    #[error("DynamoDB has no address: {0}")]
    NoDynamoDb(String),
    /// The endpoint lacks a scheme or a host.
    #[error("the endpoint {0} is not an absolute address")]
    NotAbsolute(String),
    /// A setting that the AWS SDK would reject or misread.
    #[error("{0} is {1:?}: {2}")]
    Aws(String, String, &'static str),
    /// The value is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    NotText(String),
    /// An empty variable that the AWS SDK would not ignore.
    #[error("{0} is empty: leave it out")]
    Empty(&'static str),
    /// A setting of the AWS SDK that needs another one.
    #[error("{0} is set without {1}")]
    Alone(String, &'static str),
    /// The AWS configuration has no such profile.
    #[error("AWS_PROFILE is {0:?}, and the AWS configuration has no such profile: see `aws configure list-profiles`")]
    NoProfile(String),
    /// A file of the AWS configuration cannot be read.
    #[error("the AWS configuration cannot be read: {0}")]
    Profiles(String),
    /// The region, possibly from instance metadata, is invalid.
    #[error("the AWS region is {0:?}: a region is called like us-east-1; set AWS_REGION")]
    Region(String),
    /// No server could be verified over HTTPS.
    #[error(
        "this machine has no CA certificates to verify {0}: install the package ca-certificates, or let \
         SSL_CERT_FILE name a file with them"
    )]
    NoCertificates(String),
    /// The bucket name is invalid.
    #[error(
        "{0} is {1:?}, which is not a bucket name: 3 to 63 lower-case letters, digits, hyphens and dots, without s3://"
    )]
    Bucket(&'static str, String),
    /// The table name is invalid.
    #[error(
        "DYNAMO_TABLE is {0:?}, which is not a table name: 3 to 255 letters, digits, hyphens, dots and underscores"
    )]
    Table(String),
    /// The address cannot be listened on.
    #[error("{0} is {1:?}: {2}")]
    Host(&'static str, String, String),
    /// Both listeners would use the same address.
    #[error("PORT and METRICS_PORT are both {0}")]
    SamePort(u16),
    /// The log filter is invalid.
    #[error("RUST_LOG is {0:?}: it must be like info,poem=warn")]
    Log(String),
}

impl BadSettings {
    pub(crate) fn endpoint(settings: &Settings, error: &dyn std::error::Error) -> Self {
        Self::Endpoint(settings.bucket.clone(), error.to_string())
    }
}

impl Settings {
    /// Reads the settings from the environment and a `.env`; the environment takes precedence.
    ///
    /// Assumes that no other thread is running yet.
    pub fn load() -> Result<Self, BadSettings> {
        load_dot_env()?;
        let not_text = VARIABLES.iter().find(|name| matches!(env::var(name), Err(VarError::NotUnicode(_))));
        if let Some(name) = not_text {
            return Err(BadSettings::NotText((*name).to_owned()));
        }
        let settings = Self::read(|name| env::var(name).ok())?;
        settings.check()?;
        Ok(settings)
    }

    /// Fails if a setting cannot work on AWS, even if it could on a developer's machine.
    fn check(&self) -> Result<(), BadSettings> {
        let bucket_variable =
            if env::var("BUCKET").is_ok_and(|name| !name.trim().is_empty()) { "BUCKET" } else { "S3_BUCKET" };
        if !is_bucket(&self.bucket) {
            return Err(BadSettings::Bucket(bucket_variable, self.bucket.clone()));
        }
        if !is_table(&self.table) {
            return Err(BadSettings::Table(self.table.clone()));
        }
        for (name, host) in [("HOST", &self.host), ("METRICS_HOST", &self.metrics_host)] {
            if !is_host(host) {
                let why = "it must be an address or a name of this machine, such as 0.0.0.0".to_owned();
                return Err(BadSettings::Host(name, host.clone(), why));
            }
        }
        match self.metrics_port {
            Some(port) if port == self.port && port != 0 => Err(BadSettings::SamePort(port)),
            _ => Ok(()),
        }
    }

    /// Reads the settings from any source of variables; empty variables count as unset.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSettings> {
        let variable = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let needed = |name| variable(name).ok_or(BadSettings::Missing(name));
        let port =
            |name| variable(name).map(|port| port.parse().map_err(|_| BadSettings::Port(name, port))).transpose();
        let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let endpoint = |name| variable(name).filter(|_| !ignored);
        Ok(Self {
            bucket: variable("BUCKET").or_else(|| variable("S3_BUCKET")).ok_or(BadSettings::Missing("BUCKET"))?,
            table: needed("DYNAMO_TABLE")?,
            host: variable("HOST").map_or_else(|| "0.0.0.0".to_owned(), without_brackets),
            port: port("PORT")?.unwrap_or(8080),
            s3_endpoint: endpoint("AWS_ENDPOINT_URL_S3").or_else(|| endpoint("AWS_ENDPOINT_URL")),
            dynamodb_endpoint: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
            auth: read_auth(&variable)?,
            metrics_host: variable("METRICS_HOST").map_or_else(|| "127.0.0.1".to_owned(), without_brackets),
            metrics_port: port("METRICS_PORT")?,
            max_requests: variable("MAX_REQUESTS").map_or(Ok(256), |number| read_number("MAX_REQUESTS", number))?,
        })
    }
}

/// The service's own variables, as opposed to AWS's.
const VARIABLES: &[&str] = &[
    "BUCKET",
    "S3_BUCKET",
    "DYNAMO_TABLE",
    "HOST",
    "PORT",
    "AUTH",
    "METRICS_HOST",
    "METRICS_PORT",
    "MAX_REQUESTS",
    "JWT_JWKS_URL",
    "JWT_SECRET",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_CLAIM",
    "JWT_LOGIN_URL",
];

/// Adds the nearest `.env`, from the working directory upwards, to the environment.
fn load_dot_env() -> Result<(), BadSettings> {
    let Ok(here) = env::current_dir() else { return Ok(()) };
    let Some(file) = here.ancestors().map(|dir| dir.join(".env")).find(|file| file.is_file()) else { return Ok(()) };
    let text = fs::read(&file).map_err(dotenvy::Error::Io)?;
    // Windows editors add a byte order mark, which would become part of the first name.
    Ok(dotenvy::from_read(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))?)
}

/// Whether it is a valid general purpose bucket name, or the ARN of something used like one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket(name: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let is_an_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.starts_with("arn:")
        || (3..=63).contains(&name.len())
            && name.bytes().all(is_of_it)
            && is_an_end(name.bytes().next())
            && is_an_end(name.bytes().next_back())
            && !name.contains("..")
            && name.parse::<Ipv4Addr>().is_err()
}

/// Whether it is a valid table name or table ARN.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html>
fn is_table(name: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let name = match name.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":table/").map_or("", |(_, name)| name),
        None => name,
    };
    (3..=255).contains(&name.len()) && name.bytes().all(is_of_it)
}

/// Strips the brackets of IPv6 addresses in URLs: `[::1]` is `::1`.
fn without_brackets(host: String) -> String {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.to_owned(),
        None => host,
    }
}

fn is_host(host: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host.parse::<IpAddr>().is_ok() || !host.is_empty() && host.len() <= 253 && host.bytes().all(is_of_it)
}

/// The settings for tokens, which are rejected without `AUTH=jwt`.
const OF_TOKENS: &[&str] = &["JWT_JWKS_URL", "JWT_SECRET", "JWT_AUDIENCE", "JWT_ISSUER", "JWT_CLAIM", "JWT_LOGIN_URL"];

fn read_auth(variable: &impl Fn(&'static str) -> Option<String>) -> Result<Auth, BadSettings> {
    match variable("AUTH").as_deref() {
        // Settings for tokens without `AUTH=jwt` would give a false sense of security.
        None | Some("header") => match OF_TOKENS.iter().find(|name| variable(name).is_some()) {
            Some(name) => Err(BadSettings::NoTokens(name)),
            None => Ok(Auth::Header),
        },
        Some("jwt") => Ok(Auth::Jwt(Box::new(Jwt {
            keys: read_keys(variable)?,
            audience: variable("JWT_AUDIENCE").ok_or(BadSettings::Missing("JWT_AUDIENCE"))?,
            issuer: variable("JWT_ISSUER"),
            claim: variable("JWT_CLAIM").unwrap_or_else(|| "sub".to_owned()),
            login: variable("JWT_LOGIN_URL").map(|url| read_address("JWT_LOGIN_URL", url)).transpose()?,
        }))),
        Some(other) => Err(BadSettings::Auth(other.to_owned())),
    }
}

fn read_keys(variable: &impl Fn(&'static str) -> Option<String>) -> Result<Keys, BadSettings> {
    match (variable("JWT_JWKS_URL"), variable("JWT_SECRET")) {
        (Some(url), None) => Ok(Keys::Published(read_address("JWT_JWKS_URL", url)?)),
        (None, Some(secret)) if secret.len() < Secret::MIN_BYTES => Err(BadSettings::WeakSecret),
        (None, Some(secret)) => Ok(Keys::Shared(Secret(secret))),
        _ => Err(BadSettings::Keys),
    }
}

/// Accepts `https` URLs, and `http` URLs of this machine: an attacker on the path could replace keys that are fetched
/// unencrypted.
fn read_address(name: &'static str, text: String) -> Result<Uri, BadSettings> {
    let address: Option<Uri> = text.parse().ok();
    let good = address.filter(|address| match (address.scheme_str(), address.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    });
    good.ok_or(BadSettings::Address(name, text))
}

fn read_number(name: &'static str, text: String) -> Result<usize, BadSettings> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0).and_then(|number| number.try_into().ok());
    number.ok_or(BadSettings::Number(name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn bucket_and_table_suffice() {
        let settings = read(&[("BUCKET", "b"), ("DYNAMO_TABLE", "t")]).unwrap();
        assert_eq!((settings.bucket.as_str(), settings.table.as_str()), ("b", "t"));
        assert_eq!((settings.host.as_str(), settings.port, settings.s3_endpoint), ("0.0.0.0", 8080, None));
    }

    #[test]
    fn s3_bucket_is_another_name_of_bucket() {
        assert_eq!(read(&[("S3_BUCKET", "b"), ("DYNAMO_TABLE", "t")]).unwrap().bucket, "b");
        assert_eq!(read(&[("BUCKET", ""), ("S3_BUCKET", "b"), ("DYNAMO_TABLE", "t")]).unwrap().bucket, "b");
    }

    #[test]
    fn the_endpoint_of_s3_overrides_the_general_one() {
        let of_all = [("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("AWS_ENDPOINT_URL", "http://all")];
        assert_eq!(read(&of_all).unwrap().s3_endpoint.as_deref(), Some("http://all"));
        let both = [&of_all[..], &[("AWS_ENDPOINT_URL_S3", "http://s3")]].concat();
        assert_eq!(read(&both).unwrap().s3_endpoint.as_deref(), Some("http://s3"));
    }

    #[test]
    fn missing_and_invalid_settings_are_named() {
        assert!(read(&[("DYNAMO_TABLE", "t")]).unwrap_err().starts_with("BUCKET is not set"));
        assert!(read(&[("BUCKET", "b")]).unwrap_err().starts_with("DYNAMO_TABLE is not set"));
        for (name, value, expected) in [
            ("PORT", "http", "PORT is \"http\", which is not a port number"),
            ("METRICS_PORT", "70000", "METRICS_PORT is \"70000\", which is not a port number"),
            ("MAX_REQUESTS", "0", "MAX_REQUESTS is \"0\", which is not a number from 1 to 4294967295"),
            ("AUTH", "JWT", "AUTH is \"JWT\": it must be header or jwt"),
            ("JWT_SECRET", "s", "JWT_SECRET is set, but AUTH is not jwt"),
        ] {
            let wrong = read(&[("BUCKET", "b"), ("DYNAMO_TABLE", "t"), (name, value)]);
            assert_eq!(wrong.unwrap_err(), expected);
        }
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn read_jwt(variables: &[(&str, &str)]) -> Result<Jwt, String> {
        let enough = [("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("AUTH", "jwt"), ("JWT_AUDIENCE", "postagram")];
        match read(&[&enough, variables].concat())?.auth {
            Auth::Jwt(jwt) => Ok(*jwt),
            Auth::Header => Err("header".to_owned()),
        }
    }

    #[test]
    fn tokens_need_a_key_and_an_audience() {
        let jwt = read_jwt(&[("JWT_SECRET", SECRET)]).unwrap();
        assert_eq!((jwt.keys, jwt.claim.as_str()), (Keys::Shared(Secret(SECRET.to_owned())), "sub"));
        let url = "https://login.example/jwks.json";
        let jwt = read_jwt(&[("JWT_JWKS_URL", url), ("JWT_ISSUER", "i"), ("JWT_CLAIM", "email")]).unwrap();
        assert_eq!(jwt.keys, Keys::Published(Uri::from_static(url)));
        assert_eq!((jwt.issuer.as_deref(), jwt.claim.as_str()), (Some("i"), "email"));
    }

    #[test]
    fn bad_settings_of_tokens_are_named() {
        let one_of_two = "AUTH is jwt: set JWT_JWKS_URL or JWT_SECRET, one of the two";
        assert_eq!(read_jwt(&[]).unwrap_err(), one_of_two);
        let both = [("JWT_SECRET", SECRET), ("JWT_JWKS_URL", "https://login.example/")];
        assert_eq!(read_jwt(&both).unwrap_err(), one_of_two);
        assert!(read_jwt(&[("JWT_SECRET", &SECRET[1..])]).unwrap_err().starts_with("JWT_SECRET is shorter than 32"));
        for url in ["http://login.example/keys", "login.example", "ftp://login.example/", "https://"] {
            let wrong = read_jwt(&[("JWT_JWKS_URL", url)]).unwrap_err();
            assert!(
                wrong.starts_with(&format!("JWT_JWKS_URL is {url:?}, which is not an https:// address")),
                "{wrong}"
            );
        }
        assert!(read_jwt(&[("JWT_JWKS_URL", "http://127.0.0.1:1/keys")]).is_ok());
        let login = [("JWT_SECRET", SECRET), ("JWT_LOGIN_URL", "javascript:alert(1)")];
        assert!(read_jwt(&login).unwrap_err().starts_with("JWT_LOGIN_URL is "));
        let without_audience = [("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("AUTH", "jwt"), ("JWT_SECRET", SECRET)];
        assert!(read(&without_audience).unwrap_err().starts_with("JWT_AUDIENCE is not set"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let jwt = read_jwt(&[("JWT_SECRET", SECRET)]).unwrap();
        assert!(!format!("{jwt:?}").contains(SECRET));
    }
}
