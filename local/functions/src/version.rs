//! Published versions: snapshots of a function under numbers that are never reused.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Function;

/// A function at a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// 1 for the first.
    pub number: u64,
    /// As the API shows it.
    pub config: Value,
}

/// What is another one in every revision of a function.
const OF_REVISION: &[&str] = &["Description", "FunctionArn", "LastModified", "RevisionId", "Version"];

impl Version {
    /// The SHA-256 of its code.
    pub fn code_sha256(&self) -> &str {
        self.config["CodeSha256"].as_str().unwrap_or_default()
    }

    /// Whether the function is still as it was.
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
    /// Publishes what it is now, and returns the version's configuration. One that is as the last version gets no new one.
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

    /// The published version with this number.
    pub fn version(&self, name: &str) -> Option<&Version> {
        let number: u64 = name.parse().ok()?;
        self.published.iter().find(|version| version.number == number)
    }
}
