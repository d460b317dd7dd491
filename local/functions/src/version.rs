//! Published versions: snapshots of a function, with numbers that are never reused.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Function;

/// A published version of a function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// The version number, counted from 1.
    pub number: u64,
    /// Its configuration, as in the API.
    pub config: Value,
}

/// The fields that differ even between versions that are otherwise equal.
const OF_REVISION: &[&str] = &["Description", "FunctionArn", "LastModified", "RevisionId", "Version"];

impl Version {
    /// Returns the SHA-256 of its code.
    pub fn code_sha256(&self) -> &str {
        self.config["CodeSha256"].as_str().unwrap_or_default()
    }

    /// Whether the function is unchanged since this version.
    fn is(&self, function: &Function) -> bool {
        let plain = |mut config: Value| {
            if let Some(config) = config.as_object_mut() {
                config.retain(|name, _| !OF_REVISION.contains(&name.as_str()));
            }
            config
        };
        plain(self.config.clone()) == plain(function.json())
    }
}

impl Function {
    /// Publishes a version and returns its configuration. If nothing has changed since the last version, returns that
    /// one.
    pub fn publish(&mut self, description: Option<&str>) -> Value {
        if let Some(last) = self.published.last().filter(|last| last.is(self)) {
            return last.config.clone();
        }
        self.published_count += 1;
        let number = self.published_count;
        let mut config = self.json();
        config["Version"] = json!(number.to_string());
        config["FunctionArn"] = json!(format!("{}:{number}", self.arn));
        config["RevisionId"] = json!(Uuid::new_v4().to_string());
        if let Some(description) = description {
            config["Description"] = json!(description);
        }
        self.published.push(Version { number, config: config.clone() });
        config
    }

    /// Finds a published version by number.
    pub fn version(&self, name: &str) -> Option<&Version> {
        let number: u64 = name.parse().ok()?;
        self.published.iter().find(|version| version.number == number)
    }
}
