//! Functions.

use super::access::Uses;
use super::encryption_key::EncryptionKey;
use super::environment::Variables;
use super::program::Program;
use super::scalar::Name;
use crate::package::Architecture;

/// A function: a program that is invoked by events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its program.
    pub program: Program,
    /// The processor architecture.
    pub architecture: Architecture,
    /// The memory in MB, 128 to 10,240.
    pub memory_mb: u16,
    /// The timeout in seconds, 1 to 900.
    pub timeout_s: u16,
    /// The number of concurrent invocations, reserved for it; shared with other functions if absent.
    pub concurrency: Option<u16>,
    /// The destination of events that have failed all attempts.
    pub on_failure: Option<Destination>,
    /// Whether X-Ray traces its invocations.
    pub tracing: bool,
    /// The key that its environment is encrypted with; a key of Lambda if absent.
    pub key: Option<EncryptionKey>,
    /// How long its log is kept, in days; forever if absent.
    pub log_retention_days: Option<u16>,
    /// The key that its log is encrypted with; a key of CloudWatch Logs if absent.
    pub log_key: Option<EncryptionKey>,
    /// Its variables.
    pub variables: Variables,
    /// The resources it uses.
    pub uses: Uses,
}

/// The destination of failed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A bucket of the file.
    Bucket(Name),
    /// The ARN of a bucket, queue or topic.
    Arn(String),
}
