//! The services of AWS around a compute of a test: a bucket, and one role.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use kit::call::Need;
use local::compute::{
    Certificate, Certificates, Credentials, Deliveries, LogStreams, Objects, Profile, Right, Roles, Values,
};
use serde_json::Value;
use testkit::small_programs::tiny_service;

/// The only bucket: it holds the service's program, and stores the objects that instances upload.
pub(super) struct Artifacts(pub(super) Written);

pub type Written = Arc<Mutex<BTreeMap<String, Bytes>>>;

#[async_trait]
impl Objects for Artifacts {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        match (bucket, key) {
            ("artifacts", "service") => {
                Ok(Bytes::from(std::fs::read(tiny_service()).map_err(|error| error.to_string())?))
            }
            _ => Err("NoSuchKey".to_owned()),
        }
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
        self.0.lock().unwrap().insert(format!("{bucket}/{key}"), bytes);
        Ok(())
    }
}

/// There are no log groups.
pub(super) struct NoLogs;

impl LogStreams for NoLogs {
    fn call(&self, _operation: &str, _input: &Value) -> Result<Value, (String, String)> {
        Err(("ResourceNotFoundException".to_owned(), "The specified log group does not exist.".to_owned()))
    }
}

/// There are neither secrets nor parameters.
pub(super) struct NoValues;

impl Values for NoValues {
    fn call(&self, _operation: &str, _input: &Value) -> Result<Value, (String, String)> {
        Err(("ResourceNotFoundException".to_owned(), "Secrets Manager can't find the specified secret.".to_owned()))
    }
}

/// The only role.
pub(super) struct OneRole;

#[async_trait]
impl Roles for OneRole {
    async fn profile(&self, profile: &str) -> Option<Profile> {
        let arn = format!("arn:aws:iam::000000000000:instance-profile/web/{profile}");
        (profile == "web-profile").then(|| Profile { arn, id: "AIPAEXAMPLE".to_owned() })
    }

    async fn role_of_profile(&self, profile: &str) -> Option<String> {
        (profile == "web-profile").then(|| "web-role".to_owned())
    }

    async fn may(&self, role: &str, _: &str, what: Right, bucket: &str, key: &str) -> Result<(), String> {
        let is_allowed = what == Right::Read || key.starts_with("boot/");
        let may = role == "web-role" && bucket == "artifacts" && is_allowed;
        if may { Ok(()) } else { Err("AccessDenied".to_owned()) }
    }

    async fn may_all(&self, role: &str, _: &str, _: Vec<Need>) -> Result<(), String> {
        if role == "web-role" { Ok(()) } else { Err("AccessDenied".to_owned()) }
    }

    async fn credentials(&self, role: &str, session: &str) -> std::io::Result<Credentials> {
        Ok(Credentials {
            access_key_id: "ASIALOCAL".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: format!("{role}/{session}"),
            expires: time::OffsetDateTime::now_utc() + time::Duration::hours(1),
        })
    }
}

/// No bucket has a policy.
pub(super) struct NoDeliveries;

#[async_trait]
impl Deliveries for NoDeliveries {
    async fn deliver(&self, _: &str, _: &str, bucket: &str, _: &str, _: Bytes) -> Result<(), String> {
        Err(format!("{bucket} has no policy"))
    }
}

pub(super) struct NoCertificates;

impl Certificates for NoCertificates {
    fn certificate(&self, _arn: &str) -> Option<Certificate> {
        None
    }
}
