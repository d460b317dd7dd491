//! A function's configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::{Version, managed};
use kit::answer::Refusal;

/// Variable names reserved by Lambda, in addition to those that begin with `AWS_LAMBDA_`.
const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Everything about a function except the bytes of its code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    /// Its name, unique in the region.
    pub name: String,
    /// Its ARN, without a version.
    pub arn: String,
    /// The ARN of its role.
    pub role: String,
    /// Such as `provided.al2023` or `python3.13`.
    pub runtime: String,
    /// The handler, which custom runtimes interpret themselves.
    pub handler: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The description.
    pub description: String,
    /// The timeout of an invocation, in seconds.
    pub timeout_s: u64,
    /// The memory limit of its processes together, in MiB.
    pub memory_mb: u64,
    /// The environment variables of its processes.
    pub variables: BTreeMap<String, String>,
    /// The ARN of the key of KMS that they are encrypted with; `None` for Lambda's own.
    #[serde(default)]
    pub key: Option<String>,
    /// The log group of its processes.
    pub log_group: String,
    /// `Text` or `JSON`.
    pub log_format: String,
    /// The size of `/tmp`, in MiB.
    pub storage_mb: u64,
    /// `PassThrough` or `Active`.
    pub tracing: String,
    /// The SHA-256 of the zip in base64, as in the API.
    pub code_sha256: String,
    /// The size of the zip in bytes.
    pub code_bytes: usize,
    /// When it was last changed, in ISO 8601 format.
    pub last_modified: String,
    /// The revision ID, which changes with every update.
    pub revision: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The statements of its resource policy.
    pub statements: Vec<Value>,
    /// The revision ID of the resource policy, which changes with every update of the policy.
    pub policy_revision: String,
    /// The retry settings of asynchronous invocations, if configured.
    pub on_event: Option<OnEvent>,
    /// The reserved concurrency, if any.
    pub reserved: Option<usize>,
    /// The published versions, oldest first.
    #[serde(default)]
    pub published: Vec<Version>,
    /// The number of versions ever published: version numbers are not reused.
    #[serde(default)]
    pub published_count: u64,
}

/// The retry settings of asynchronous invocations (docs/aws.md §7.5).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnEvent {
    /// The maximum number of retries.
    pub retries: Option<u64>,
    /// The maximum age of an event, in seconds.
    pub age_s: Option<u64>,
    /// The ARN of the bucket for the records of failed events.
    #[serde(default)]
    pub on_failure: Option<String>,
    /// When this was configured, in Unix time.
    pub modified: f64,
}

pub(crate) fn check_length(field: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.chars().count() <= most {
        return Ok(());
    }
    let text = format!(
        "1 validation error detected: Value '{text}' at '{field}' failed to satisfy constraint: Member must have length less than or equal to {most}"
    );
    Err(Refusal::new(400, "ValidationException", text))
}

impl Function {
    /// A function with AWS's defaults.
    pub fn new(name: &str, arn: String) -> Function {
        Function {
            name: name.to_owned(),
            arn,
            role: String::new(),
            runtime: String::new(),
            handler: String::new(),
            architecture: "x86_64".to_owned(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            variables: BTreeMap::new(),
            key: None,
            log_group: format!("/aws/lambda/{name}"),
            log_format: "Text".to_owned(),
            storage_mb: 512,
            tracing: "PassThrough".to_owned(),
            code_sha256: String::new(),
            code_bytes: 0,
            last_modified: String::new(),
            revision: String::new(),
            tags: BTreeMap::new(),
            statements: Vec::new(),
            policy_revision: String::new(),
            on_event: None,
            reserved: None,
            published: Vec::new(),
            published_count: 0,
        }
    }

    /// Applies the settings of a call; those it omits are unchanged.
    pub fn configure(&mut self, input: &Value) -> Result<(), Refusal> {
        let text = |value: &Value, place: &mut String| {
            if let Some(text) = value.as_str() {
                text.clone_into(place);
            }
        };
        text(&input["Role"], &mut self.role);
        text(&input["Runtime"], &mut self.runtime);
        text(&input["Handler"], &mut self.handler);
        text(&input["Description"], &mut self.description);
        text(&input["LoggingConfig"]["LogGroup"], &mut self.log_group);
        text(&input["LoggingConfig"]["LogFormat"], &mut self.log_format);
        text(&input["TracingConfig"]["Mode"], &mut self.tracing);
        if let Some(arn) = input["KMSKeyArn"].as_str() {
            self.key = (!arn.is_empty()).then(|| arn.to_owned());
        }
        text(&input["Architectures"][0], &mut self.architecture);
        number(input, "Timeout", 1..=900, &mut self.timeout_s)?;
        number(input, "MemorySize", 128..=10_240, &mut self.memory_mb)?;
        number(&input["EphemeralStorage"], "Size", 512..=10_240, &mut self.storage_mb)?;
        if let Some(variables) = input["Environment"]["Variables"].as_object() {
            self.variables = variables
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect();
        }
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        managed::check(&self.runtime, &self.handler)?;
        check_length("handler", &self.handler, 128)?;
        check_length("description", &self.description, 256)?;
        if !matches!(self.tracing.as_str(), "Active" | "PassThrough") {
            let text = format!(
                "1 validation error detected: Value '{}' at 'tracingConfig.mode' failed to satisfy constraint: Member must satisfy enum value set: [Active, PassThrough]",
                self.tracing
            );
            return Err(Refusal::new(400, "ValidationException", text));
        }
        if !matches!(self.architecture.as_str(), "x86_64" | "arm64") {
            return Err(parameter("the architecture must be x86_64 or arm64"));
        }
        let is_name = |name: &str| {
            name.len() > 1
                && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let reserved = |name: &&String| name.starts_with("AWS_LAMBDA_") || RESERVED.contains(&name.as_str());
        if let Some(name) = self.variables.keys().find(|name| !reserved(name) && !is_name(name)) {
            let text = format!(
                "1 validation error detected: Value '{name}' at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
            );
            return Err(Refusal::new(400, "ValidationException", text));
        }
        if let Some(name) = self.variables.keys().find(reserved) {
            let text = format!(
                "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {name}"
            );
            return Err(parameter(&text));
        }
        let size: usize = self.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > 4096 {
            let text = "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.";
            return Err(parameter(text));
        }
        Ok(())
    }

    /// Whether X-Ray traces its invocations.
    pub fn is_traced(&self) -> bool {
        self.tracing == "Active"
    }

    /// Takes over the settings of another revision of this function that are not part of a revision: calls can change
    /// them at any time, also during an update.
    pub fn keep_settings_of(&mut self, other: &Function) {
        // Every field is named, so that a new one is not forgotten.
        let Function {
            name: _,
            arn: _,
            role: _,
            runtime: _,
            handler: _,
            architecture: _,
            description: _,
            timeout_s: _,
            memory_mb: _,
            variables: _,
            key: _,
            log_group: _,
            log_format: _,
            storage_mb: _,
            tracing: _,
            code_sha256: _,
            code_bytes: _,
            last_modified: _,
            revision: _,
            tags,
            statements,
            policy_revision,
            on_event,
            reserved,
            published,
            published_count,
        } = other;
        self.tags.clone_from(tags);
        self.statements.clone_from(statements);
        self.policy_revision.clone_from(policy_revision);
        self.on_event.clone_from(on_event);
        self.reserved = *reserved;
        self.published.clone_from(published);
        self.published_count = *published_count;
    }

    /// Sets a new revision ID and modification time.
    pub fn touch(&mut self) {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
        self.revision = Uuid::new_v4().to_string();
        self.last_modified = OffsetDateTime::now_utc().format(format).expect("every date of today has these parts");
    }

    /// Returns the `FunctionConfiguration` of the API.
    pub fn json(&self) -> Value {
        let mut shown = json!({
            "FunctionName": self.name,
            "FunctionArn": self.arn,
            "Runtime": self.runtime,
            "Role": self.role,
            "Handler": self.handler,
            "CodeSize": self.code_bytes,
            "Description": self.description,
            "Timeout": self.timeout_s,
            "MemorySize": self.memory_mb,
            "LastModified": self.last_modified,
            "CodeSha256": self.code_sha256,
            "Version": "$LATEST",
            "TracingConfig": { "Mode": self.tracing },
            "RevisionId": self.revision,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": [self.architecture],
            "EphemeralStorage": { "Size": self.storage_mb },
            "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
            "LoggingConfig": { "LogFormat": self.log_format, "LogGroup": self.log_group },
        });
        if !self.variables.is_empty() {
            shown["Environment"] = json!({ "Variables": self.variables });
        }
        if let Some(key) = &self.key {
            shown["KMSKeyArn"] = json!(key);
        }
        shown
    }

    /// Returns the event invoke configuration of the API.
    pub fn on_event_json(&self) -> Option<Value> {
        let OnEvent { retries, age_s, on_failure, modified } = self.on_event.as_ref()?;
        let on_failure = on_failure.as_ref().map_or_else(|| json!({}), |arn| json!({ "Destination": arn }));
        let mut shown = json!({
            "FunctionArn": format!("{}:$LATEST", self.arn),
            "LastModified": modified,
            "DestinationConfig": { "OnSuccess": {}, "OnFailure": on_failure },
        });
        if let Some(retries) = retries {
            shown["MaximumRetryAttempts"] = json!(retries);
        }
        if let Some(age_s) = age_s {
            shown["MaximumEventAgeInSeconds"] = json!(age_s);
        }
        Some(shown)
    }
}

/// The error for an invalid parameter value.
pub fn parameter(text: &str) -> Refusal {
    Refusal::new(400, "InvalidParameterValueException", text)
}

fn number(input: &Value, name: &str, allowed: std::ops::RangeInclusive<u64>, place: &mut u64) -> Result<(), Refusal> {
    match &input[name] {
        Value::Null => Ok(()),
        value => match value.as_u64().filter(|number| allowed.contains(number)) {
            Some(number) => {
                *place = number;
                Ok(())
            }
            None => Err(parameter(&format!(
                "Value {value} at '{name}' failed to satisfy constraint: Member must have value between {} and {}",
                allowed.start(),
                allowed.end()
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(input: Value) -> Result<Function, Refusal> {
        let mut function = Function::new("f", "arn:f".to_owned());
        function.configure(&json!({ "Runtime": "provided.al2023", "Handler": "bootstrap" }))?;
        function.configure(&input)?;
        Ok(function)
    }

    #[test]
    fn the_environment_is_replaced_as_a_whole_and_the_rest_is_kept() {
        let mut function =
            configured(json!({ "Timeout": 10, "Environment": { "Variables": { "ONE": "1" } } })).unwrap();
        function.configure(&json!({ "Environment": { "Variables": { "TWO": "2" } } })).unwrap();
        assert_eq!(function.timeout_s, 10);
        assert_eq!(function.variables.keys().collect::<Vec<_>>(), ["TWO"]);
    }

    #[test]
    fn the_names_of_variables_are_checked() {
        for name in ["a", "1A", "A-B", "É1"] {
            let refused = configured(json!({ "Environment": { "Variables": { name: "x" } } })).unwrap_err();
            assert_eq!(refused.code, "ValidationException", "{name}");
        }
    }

    #[test]
    fn values_outside_their_limits_are_refused() {
        for input in [
            json!({ "Timeout": 901 }),
            json!({ "MemorySize": 64 }),
            json!({ "Runtime": "python3.99" }),
            json!({ "Handler": "" }),
            json!({ "Environment": { "Variables": { "AWS_REGION": "x" } } }),
            json!({ "Environment": { "Variables": { "LONG": "x".repeat(5000) } } }),
        ] {
            assert_eq!(configured(input).unwrap_err().code, "InvalidParameterValueException");
        }
    }

    #[test]
    fn handlers_and_descriptions_have_a_longest_length() {
        for (handler, description, accepted) in [(128, 256, true), (129, 0, false), (1, 257, false)] {
            let mut function = Function::new("f", String::new());
            let input = json!({
                "Runtime": "provided.al2023", "Handler": "h".repeat(handler), "Description": "é".repeat(description),
            });
            assert_eq!(function.configure(&input).is_ok(), accepted, "{handler}, {description}");
        }
    }
}
