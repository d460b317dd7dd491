//! A value kept in AWS that an instance could not read.

use crate::{
    cloud::{
        aws::Aws,
        stored_values::{Presence, presence},
    },
    config::Store,
    engine::look,
};

/// A value kept in AWS that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableValue {
    /// The value in the words of the instance's script: `TOKEN from the secret app/jwt`.
    pub what: String,
    /// The message of AWS or of the script before it.
    pub why: String,
    /// Whether it exists and has a value; `None` if that could not be read: to a role that may read one secret only,
    /// AWS denies access to missing ones as well.
    pub presence: Option<Presence>,
}

impl UnreadableValue {
    /// The same with the state of the value in AWS. It stays unknown without permission to read it.
    pub(super) async fn looked_up(self, aws: &Aws) -> UnreadableValue {
        let (_, place) = self.what.split_once(" from the ").unwrap_or_default();
        let (store, name) = match place.split_once(' ') {
            Some(("secret", name)) => (Store::Secret, name),
            Some(("parameter", name)) => (Store::Parameter, name),
            _ => return self,
        };
        let presence = look(|| presence(aws, store, name)).await.ok();
        UnreadableValue { presence, ..self }
    }
}

/// The beginnings of messages of the AWS CLI and jq, besides [`UNREACHABLE`].
pub(super) const WHYS: &[&str] = &["An error occurred (", "Unable to locate credentials", UNFIT];

/// The beginning of jq's message about a value that cannot be a variable.
pub const UNFIT: &str = "jq: error";

/// The beginnings of the AWS CLI's messages about a service that it cannot reach (botocore/exceptions.py).
pub const UNREACHABLE: &[&str] =
    &["Could not connect to", "Connect timeout on", "Connection was closed", "Read timeout on"];
