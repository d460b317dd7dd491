//! Operations on published versions.
//!
//! They can be described, listed and downloaded, but only the latest code runs.

use serde_json::{Value, json};

use super::manage::{check_revision, page_size};
use super::{Lambda, shown};
use crate::function::check_length;
use crate::parameter;
use kit::answer::{Refusal, Response, empty};
use kit::call::Rest;
use kit::parameters;

/// The longest description of a version.
const LONGEST_DESCRIPTION: usize = 256;

impl Lambda {
    pub(super) fn publish(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut published = Value::Null;
        check_length("description", input["Description"].as_str().unwrap_or_default(), LONGEST_DESCRIPTION)?;
        self.registry.states.refuse_change(&self.find(name)?)?;
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

    /// Lists `$LATEST` and the published versions, page by page: a marker is the number of versions before the page.
    pub(super) fn list_versions(&self, name: &str, rest: &Rest) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let start: usize = match rest.parameter("Marker").filter(|marker| !marker.is_empty()) {
            Some(marker) => marker.parse().map_err(|_| parameter("The marker is not valid"))?,
            None => 0,
        };
        let mut versions = vec![self.show(&function)];
        versions.extend(function.published.iter().map(|version| version.config.clone()));
        let end = versions.len().min(start.saturating_add(page_size(rest)?));
        let mut answer = json!({ "Versions": versions.get(start..end).unwrap_or_default() });
        if end < versions.len() {
            answer["NextMarker"] = json!(end.to_string());
        }
        Ok(shown(200, &answer))
    }

    /// Handles a call whose qualifier is a version.
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
            operation => Err(parameters::refusal(format!(
                "the local AWS does not carry out {operation} for the version {version}"
            ))),
        }
    }
}
