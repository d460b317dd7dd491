//! The services of AWS that instances and load balancers call.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use chaos::Chaos;
use kit::account::AccountKind;
use kit::call::Need;
use kit::speed::Speed;

/// The certificates that load balancers serve.
pub trait Certificates: Send + Sync {
    /// Returns a certificate of the region, if it exists.
    fn certificate(&self, arn: &str) -> Option<Certificate>;
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its domain names in lower case. A wildcard matches one label.
    pub names: Vec<String>,
    /// The certificate with its chain, and the key, in PEM; `None` if it is not valid.
    pub issued: Option<(String, String)>,
}

/// The parts of the local AWS that compute depends on.
pub struct Context {
    /// The directory of the state and the instances' root directories.
    pub dir: PathBuf,
    /// The only region.
    pub region: String,
    /// The only account.
    pub account: String,
    /// The kind of the account.
    pub kind: AccountKind,
    /// The URL at which instances reach all APIs.
    pub endpoint: String,
    /// The objects in the buckets.
    pub objects: Arc<dyn Objects>,
    /// Writes objects into buckets on behalf of AWS services.
    pub deliveries: Arc<dyn Deliveries>,
    /// CloudWatch Logs.
    pub logs: Arc<dyn LogStreams>,
    /// Secrets Manager and Parameter Store.
    pub values: Arc<dyn Values>,
    /// IAM's roles and instance profiles.
    pub roles: Arc<dyn Roles>,
    /// Certificate Manager.
    pub certificates: Arc<dyn Certificates>,
    /// The measurements of other services, which CloudWatch shows along with its own.
    pub metrics: kit::metrics::Metrics,
    /// The kinds of chaos that are enabled, which may change at any time.
    pub chaos: watch::Receiver<Chaos>,
    /// The speed-up compared with AWS.
    pub speed: Speed,
}

/// Objects in buckets, as an instance's `aws s3 cp` reads and writes them.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Returns an object's bytes, or the reason why that failed.
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String>;

    /// Writes an object. The error is the message of the CLI.
    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String>;
}

/// Objects in buckets, as services of AWS write them.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Writes an object for a service of AWS that acts for a resource, given by its ARN, if the bucket's policy allows it.
    async fn deliver(&self, service: &str, source: &str, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String>;
}

/// CloudWatch Logs, as an instance's `aws logs` calls it.
pub trait LogStreams: Send + Sync {
    /// Makes a call. The error is the code and the message.
    fn call(&self, operation: &str, input: &Value) -> Result<Value, (String, String)>;
}

/// Secrets Manager and Parameter Store, as an instance's `aws secretsmanager` and `aws ssm` call them.
pub trait Values: Send + Sync {
    /// Makes a call. The error is the code and the message.
    fn call(&self, operation: &str, input: &Value) -> Result<Value, (String, String)>;
}

/// A permission of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// `s3:GetObject`.
    Read,
    /// `s3:PutObject`.
    Write,
    /// `s3:ListBucket`, on the bucket.
    List,
    /// `logs:CreateLogStream`, on a log group.
    MakeStream,
    /// `logs:PutLogEvents`, on a log stream.
    PutEvents,
    /// `secretsmanager:GetSecretValue`, on the secret with a name.
    ReadSecret,
    /// `ssm:GetParameter`, on the parameter with a name.
    ReadParameter,
}

/// Roles, as instances assume them.
#[async_trait]
pub trait Roles: Send + Sync {
    /// Returns the instance profile with a name or ARN, if it exists and has a role.
    async fn profile(&self, profile: &str) -> Option<Profile>;

    /// Returns the role in an instance profile, given by name or ARN.
    async fn role_of_profile(&self, profile: &str) -> Option<String>;

    /// Checks a permission of a role's session on an object of a bucket, or on a stream of a log group. The error is
    /// AWS's message.
    async fn may(&self, role: &str, session: &str, what: Right, within: &str, name: &str) -> Result<(), String>;

    /// Checks permissions of a role's session on resources of EC2. The error is AWS's message.
    async fn may_all(&self, role: &str, session: &str, needs: Vec<Need>) -> Result<(), String>;

    /// Returns new temporary credentials of a role.
    async fn credentials(&self, role: &str, session: &str) -> std::io::Result<Credentials>;
}

/// An instance profile, as shown by the instances that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The ARN, including the path.
    pub arn: String,
    /// The id, which begins with `AIPA`.
    pub id: String,
}

/// Temporary credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token, which requests must include as well.
    pub session_token: String,
    /// When they expire.
    pub expires: time::OffsetDateTime,
}
