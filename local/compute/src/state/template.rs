//! Launch templates and their versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Moment;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub id: String,
    pub name: String,
    pub created: Moment,
    pub default: u64,
    pub latest: u64,
    pub versions: BTreeMap<u64, TemplateVersion>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemplateVersion {
    pub description: Option<String>,
    pub created: Moment,
    /// The client token, which identifies a repeated call.
    pub token: Option<String>,
    /// The launch template data, under the parameter names of the request.
    pub data: Value,
}

/// A launch template by id, and a version by number, `$Latest` or `$Default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    pub id: String,
    pub name: String,
    pub version: String,
}
