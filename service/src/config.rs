//! The settings of the service, from the environment or a `.env` in the working directory.

use std::env::VarError;
use std::net::{IpAddr, Ipv4Addr};
use std::{env, fmt, fs};

use poem::http::Uri;

/// Everything that differs between deployments, apart from what the AWS SDK reads itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bucket of the pictures: `BUCKET`, or `S3_BUCKET` as the course also writes it.
    pub bucket: String,
    /// The table of the posts: `DYNAMO_TABLE`.
    pub table: String,
    /// The address to listen on: `HOST`; every interface by default.
    pub host: String,
    /// The port to listen on: `PORT`; 8080 by default.
    pub port: u16,
    /// An AWS that is not Amazon's: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
    /// The same for the posts: `AWS_ENDPOINT_URL_DYNAMODB`, or what the AWS configuration says of all services.
    pub dynamodb_endpoint: Option<String>,
    /// How callers are authenticated: `AUTH`; by the course's bare header by default.
    pub auth: Auth,
    /// The address of the metrics: `METRICS_HOST`; 127.0.0.1 by default.
    pub metrics_host: String,
    /// The port of the metrics: `METRICS_PORT`; none by default.
    pub metrics_port: Option<u16>,
    /// The limit of concurrent requests: `MAX_REQUESTS`; 256 by default.
    pub max_requests: usize,
}

/// How callers are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `header`: the name in the header is trusted.
    Header,
    /// `jwt`: a token signed by a trusted issuer.
    Jwt(Box<Jwt>),
}

/// Which tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// What their signatures are checked with.
    pub keys: Keys,
    /// The required audience: `JWT_AUDIENCE`.
    pub audience: String,
    /// The required issuer: `JWT_ISSUER`; anyone with the key by default.
    pub issuer: Option<String>,
    /// The claim that holds the user's name: `JWT_CLAIM`; `sub` by default.
    pub claim: String,
    /// Where people get a token, for the page to tell them: `JWT_LOGIN_URL`.
    pub login: Option<Uri>,
}

/// What signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// The public keys that the issuer publishes: `JWT_JWKS_URL`.
    Published(Uri),
    /// A secret that the issuer shares with us: `JWT_SECRET`.
    Shared(Secret),
}

/// What no log line may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Secret {
    /// The shortest secret with which HS256 is as strong as its hash, in bytes (RFC 7518, section 3.2).
    pub const MIN_BYTES: usize = 32;
}

/// Why the service cannot start as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// A variable without a default is not there.
    #[error("{0} is not set: put it into the environment or into a file .env in the working directory")]
    Missing(&'static str),
    /// A variable for a port holds something else.
    #[error("{0} is {1:?}, which is not a port number")]
    Port(&'static str, String),
    /// A variable for a number holds something else, or 0.
    #[error("{0} is {1:?}, which is not a number from 1 to {max}", max = u32::MAX)]
    Number(&'static str, String),
    /// `AUTH` names no way to know callers.
    #[error("AUTH is {0:?}: it must be header or jwt")]
    Auth(String),
    /// Tokens cannot be checked, or in two ways.
    #[error("AUTH is jwt: set JWT_JWKS_URL or JWT_SECRET, one of the two")]
    Keys,
    /// Anybody could try all of them.
    #[error("JWT_SECRET is shorter than {} bytes: make one with `openssl rand -hex 32`", Secret::MIN_BYTES)]
    WeakSecret,
    /// The variable holds no address on the web.
    #[error("{0} is {1:?}, which is no https:// address (http:// is enough on this machine only)")]
    Address(&'static str, String),
    /// A variable says something about tokens where there are none.
    #[error("{0} is set, but AUTH is not jwt")]
    NoTokens(&'static str),
    /// The `.env` is there and cannot be read.
    #[error("cannot read .env: {0}")]
    DotEnv(#[from] dotenvy::Error),
    /// Neither the environment nor a profile nor the machine names a region.
    #[error("no AWS region is known: set AWS_REGION")]
    NoRegion,
    /// The configuration says that there are no credentials.
    #[error("no source of AWS credentials is known")]
    NoCredentials,
    /// Such as the buckets of S3 Express, whose requests are signed with the keys of a session.
    #[error("addresses of bucket {0} cannot be signed here: use a general purpose bucket")]
    Signature(String),
    /// No bucket of this name can have an address.
    #[error("bucket {0} has no address: {1}")]
    Endpoint(String, String),
    /// There is no such region, or what is set for it is no address.
    #[error("DynamoDB has no address: {0}")]
    NoDynamoDb(String),
    /// The endpoint has no scheme or no host.
    #[error("the endpoint {0} is not an absolute address")]
    NotAbsolute(String),
    /// A setting of the AWS SDK that it would not take, or not as it is meant.
    #[error("{0} is {1:?}: {2}")]
    Aws(String, String, &'static str),
    /// Bytes that are no text.
    #[error("{0} is not valid UTF-8")]
    NotText(String),
    /// A variable of the AWS SDK that says nothing.
    #[error("{0} is empty: leave it out")]
    Empty(&'static str),
    /// A setting of the AWS SDK that means nothing by itself.
    #[error("{0} is set without {1}")]
    Alone(String, &'static str),
    /// The AWS configuration has no such profile.
    #[error("AWS_PROFILE is {0:?}, and the AWS configuration has no such profile: see `aws configure list-profiles`")]
    NoProfile(String),
    /// A file of the AWS configuration cannot be read.
    #[error("the AWS configuration cannot be read: {0}")]
    Profiles(String),
    /// The region that was found, perhaps by asking the machine, is none.
    #[error("the AWS region is {0:?}: a region is called like us-east-1; set AWS_REGION")]
    Region(String),
    /// Nobody could be known over HTTPS.
    #[error(
        "this machine has no CA certificates to check who {0} is: install its package ca-certificates, or let \
         SSL_CERT_FILE name a file of them"
    )]
    NoCertificates(String),
    /// No bucket can be called so.
    #[error(
        "{0} is {1:?}, which is no bucket's name: 3 to 63 lower-case letters, digits, hyphens and dots, without s3://"
    )]
    Bucket(&'static str, String),
    /// No table can be called so.
    #[error("DYNAMO_TABLE is {0:?}, which is no table's name: 3 to 255 letters, digits, hyphens, dots and underscores")]
    Table(String),
    /// Nobody can listen there.
    #[error("{0} is {1:?}: {2}")]
    Host(&'static str, String, String),
    /// Both would listen at the same place.
    #[error("PORT and METRICS_PORT are both {0}")]
    SamePort(u16),
    /// What is to be logged cannot be understood.
    #[error("RUST_LOG is {0:?}: it must be like info,poem=warn")]
    Log(String),
}

impl BadSettings {
    pub(crate) fn endpoint(settings: &Settings, error: &dyn std::error::Error) -> Self {
        Self::Endpoint(settings.bucket.clone(), error.to_string())
    }
}

impl Settings {
    /// The settings from the environment, with what a `.env` adds to it; what is set already wins.
    ///
    /// Assumes that no other thread runs yet.
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

    /// Fails if something cannot be right on AWS, whatever it is on a machine of one's own.
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

    /// The settings from any source of variables; an empty variable is one that is not set.
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

/// The variables that are ours, beside those of AWS.
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

/// Adds the `.env` of the working directory, or of the next one above that has one, to the environment.
fn load_dot_env() -> Result<(), BadSettings> {
    let Ok(here) = env::current_dir() else { return Ok(()) };
    let Some(file) = here.ancestors().map(|dir| dir.join(".env")).find(|file| file.is_file()) else { return Ok(()) };
    let text = fs::read(&file).map_err(dotenvy::Error::Io)?;
    // Editors of Windows begin files with a mark that would become part of the first name.
    Ok(dotenvy::from_read(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))?)
}

/// Whether a general purpose bucket can be called so, or it is the ARN of something that is used like one.
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

/// Whether a table can be called so, or it is the ARN of one.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html>
fn is_table(name: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let name = match name.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":table/").map_or("", |(_, name)| name),
        None => name,
    };
    (3..=255).contains(&name.len()) && name.bytes().all(is_of_it)
}

/// `[::1]`, as addresses on the web have it, is `::1`.
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

/// What is said about tokens, and nowhere but where there are tokens.
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

/// Whoever stands in between could put keys of his own into what comes unencrypted.
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
        for (name, value, told) in [
            ("PORT", "http", "PORT is \"http\", which is not a port number"),
            ("METRICS_PORT", "70000", "METRICS_PORT is \"70000\", which is not a port number"),
            ("MAX_REQUESTS", "0", "MAX_REQUESTS is \"0\", which is not a number from 1 to 4294967295"),
            ("AUTH", "JWT", "AUTH is \"JWT\": it must be header or jwt"),
            ("JWT_SECRET", "s", "JWT_SECRET is set, but AUTH is not jwt"),
        ] {
            let wrong = read(&[("BUCKET", "b"), ("DYNAMO_TABLE", "t"), (name, value)]);
            assert_eq!(wrong.unwrap_err(), told);
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
            assert!(wrong.starts_with(&format!("JWT_JWKS_URL is {url:?}, which is no https:// address")), "{wrong}");
        }
        assert!(read_jwt(&[("JWT_JWKS_URL", "http://127.0.0.1:1/keys")]).is_ok());
        let login = [("JWT_SECRET", SECRET), ("JWT_LOGIN_URL", "javascript:alert(1)")];
        assert!(read_jwt(&login).unwrap_err().starts_with("JWT_LOGIN_URL is "));
        let nobody = [("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("AUTH", "jwt"), ("JWT_SECRET", SECRET)];
        assert!(read(&nobody).unwrap_err().starts_with("JWT_AUDIENCE is not set"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let jwt = read_jwt(&[("JWT_SECRET", SECRET)]).unwrap();
        assert!(!format!("{jwt:?}").contains(SECRET));
    }
}
