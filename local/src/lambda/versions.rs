//! Published versions: snapshots of a function under numbers that are never reused.
//!
//! They can be described, listed and downloaded; only the newest code runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::function::parameter;
use super::manage::check_revision;
use super::{Function, Lambda, shown};
use crate::answer::{Refusal, Response, empty};
use crate::taken;

/// A function at a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    pub number: u64,
    /// As the API shows it.
    config: Value,
}

/// What is another one in every revision of a function.
const OF_REVISION: &[&str] = &["Description", "FunctionArn", "LastModified", "RevisionId", "Version"];

impl Version {
    /// The SHA-256 of its code.
    pub(super) fn code_sha256(&self) -> &str {
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
    pub(super) fn publish(&mut self, description: Option<&str>) -> Value {
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

    fn version(&self, name: &str) -> Option<&Version> {
        let number: u64 = name.parse().ok()?;
        self.published.iter().find(|version| version.number == number)
    }
}

impl Lambda {
    pub(super) fn publish(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut published = Value::Null;
        self.try_change(name, |function| {
            check_revision(function, input)?;
            if input["CodeSha256"].as_str().is_some_and(|sha256| sha256 != function.code_sha256) {
                let text = format!(
                    "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the CodeSHA256 in $LATEST.",
                    input["CodeSha256"].as_str().unwrap_or_default(),
                    function.code_sha256
                );
                return Err(parameter(&text));
            }
            published = function.publish(input["Description"].as_str());
            Ok(())
        })?;
        Ok(shown(201, &published))
    }

    pub(super) fn list_versions(&self, name: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let mut versions = vec![self.show(&function)];
        versions.extend(function.published.iter().map(|version| version.config.clone()));
        Ok(shown(200, &json!({ "Versions": versions })))
    }

    /// The answer to a call that names a version.
    pub(super) fn about_version(&self, operation: &str, name: &str, version: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let found = function.version(version).ok_or_else(|| self.absent(&format!("{}:{version}", function.name)))?;
        match operation {
            "GetFunctionConfiguration" => Ok(shown(200, &found.config)),
            "GetFunction" => {
                let code = json!({ "RepositoryType": "S3", "Location": self.location(found.code_sha256()) });
                Ok(shown(200, &json!({ "Configuration": found.config, "Code": code })))
            }
            "DeleteFunction" => {
                self.change(name, |function| function.published.retain(|one| one.number != found.number))?;
                Ok(empty(204))
            }
            operation => {
                Err(taken::refusal(format!("the local AWS does not carry out {operation} for the version {version}")))
            }
        }
    }
}
