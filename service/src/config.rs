//! What the environment, or a `.env` beside the program's user, says.

use std::env;

/// Everything that differs between deployments, apart from what the AWS SDK reads itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bucket of the pictures: `BUCKET`, or `S3_BUCKET` as the course also writes it.
    pub bucket: String,
    /// The table of the posts: `DYNAMO_TABLE`.
    pub table: String,
    /// The address to listen on: `HOST`, every interface unless told otherwise.
    pub host: String,
    /// The port to listen on: `PORT`, 8080 unless told otherwise.
    pub port: u16,
    /// An AWS that is not Amazon's: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
}

/// Why the service cannot start as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// A variable without a default is not there.
    #[error("{0} is not set: put it into the environment or into a file .env in the working directory")]
    Missing(&'static str),
    /// `PORT` is something else.
    #[error("PORT is {0:?}, which is not a port number")]
    Port(String),
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
    /// The endpoint has no scheme or no host.
    #[error("the endpoint {0} is not an absolute address")]
    NotAbsolute(String),
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
        match dotenvy::dotenv() {
            Err(error) if !error.not_found() => return Err(error.into()),
            _ => (),
        }
        Self::read(|name| env::var(name).ok())
    }

    /// The settings from any source of variables; an empty variable is one that is not set.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSettings> {
        let variable = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Ok(Self {
            bucket: variable("BUCKET").or_else(|| variable("S3_BUCKET")).ok_or(BadSettings::Missing("BUCKET"))?,
            table: variable("DYNAMO_TABLE").ok_or(BadSettings::Missing("DYNAMO_TABLE"))?,
            host: variable("HOST").unwrap_or_else(|| "0.0.0.0".to_owned()),
            port: variable("PORT").map_or(Ok(8080), |port| port.parse().map_err(|_| BadSettings::Port(port)))?,
            s3_endpoint: variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL")),
        })
    }
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
    fn the_endpoint_of_s3_goes_before_the_one_of_all() {
        let of_all = [("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("AWS_ENDPOINT_URL", "http://all")];
        assert_eq!(read(&of_all).unwrap().s3_endpoint.as_deref(), Some("http://all"));
        let both = [&of_all[..], &[("AWS_ENDPOINT_URL_S3", "http://s3")]].concat();
        assert_eq!(read(&both).unwrap().s3_endpoint.as_deref(), Some("http://s3"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert!(read(&[("DYNAMO_TABLE", "t")]).unwrap_err().starts_with("BUCKET is not set"));
        assert!(read(&[("BUCKET", "b")]).unwrap_err().starts_with("DYNAMO_TABLE is not set"));
        let port = read(&[("BUCKET", "b"), ("DYNAMO_TABLE", "t"), ("PORT", "http")]);
        assert_eq!(port.unwrap_err(), "PORT is \"http\", which is not a port number");
    }
}
