//! Lambda functions.

mod beside;
mod code;
mod settling;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use aws_sdk_lambda::{
    primitives::Blob,
    types::{
        Architecture, Environment, FunctionCode, FunctionConfiguration, LastUpdateStatus, LoggingConfig, Runtime,
        State, TracingConfig, TracingMode,
    },
};
use serde::{Serialize, Serializer};

use super::{origin::Origin, tags::bounded};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    config::{REFERENCES, is_secret},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

use beside::Beside;
use settling::{believed, settling};

/// A function, identified by its name.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The origin of the versions that this run publishes, for their descriptions. Not compared.
    pub origin: Origin,
    /// The variables whose values may be shown. Not compared.
    pub open: BTreeSet<String>,
}

/// The first part of the descriptions of our versions.
pub const PUBLISHED: &str = "deployer";

/// The settings that we manage.
#[derive(Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The SHA-256 of the zip in base64, which shows a change of the program.
    pub code_sha256: String,
    /// The zip itself. AWS does not return it, so it is never compared.
    #[serde(skip)]
    pub zip: Arc<[u8]>,
    /// The runtime: `provided.al2023` for programs, or one that Lambda manages, such as `python3.13`.
    pub runtime: String,
    /// The function that the runtime calls, such as `app.handler`; `bootstrap` for programs.
    pub handler: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Its memory in MB.
    pub memory_mb: i32,
    /// The timeout of an invocation, in seconds.
    pub timeout_s: i32,
    /// The ARN of its execution role.
    pub role: String,
    /// Its environment variables. References to values kept in AWS are compared one by one.
    #[serde(serialize_with = "one_by_one")]
    pub environment: BTreeMap<String, String>,
    /// The ARN of the KMS key that its environment is encrypted with; `None` for a key of Lambda.
    pub key: Option<String>,
    /// Whether X-Ray traces its invocations.
    pub tracing: bool,
    /// The log group it writes to.
    pub log_group: String,
    /// The number of concurrent invocations, reserved for it; the account's other functions share theirs. It is not part
    /// of a version.
    pub concurrency: Option<i32>,
    /// The ARN where Lambda records events that have failed all attempts. It is not part of a version.
    pub on_failure: Option<String>,
    /// Whether a published version has this code and configuration, so that it can be restored.
    pub published: bool,
    /// The reason why AWS failed to create it; `None` is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

impl Resource for Function {
    const KIND: &'static str = "function";
    const SOURCES: &'static [(&'static str, &'static str)] = &[
        ("runtime", "runtime"),
        ("handler", "handler"),
        ("architecture", "architecture"),
        ("memory_mb", "memory_mb"),
        ("timeout_s", "timeout_s"),
        ("concurrency", "concurrency"),
        ("on_failure", "on_failure"),
        ("key", "key"),
        ("tracing", "tracing"),
        ("environment", "environment"),
    ];
    const SECRET: &'static [&'static str] = &["environment"];
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_open(&self, path: &str, value: &str) -> bool {
        let variable = path.strip_prefix("environment.");
        variable.is_some_and(|variable| self.open.contains(variable)) && !is_secret(value)
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(Described { configuration: function, owner, concurrency }) = self.describe(aws).await? else {
            return Ok(Observed::Absent);
        };
        if let Some(state) = settling(&function) {
            return Ok(Observed::Settling(state));
        }
        let output = self.output(function.function_arn());
        let beside = self.beside(aws).await?.reserving(concurrency);
        let settings = self.settings(&function).with(&beside);
        let versions = self.versions(aws).await?;
        let published = versions.iter().any(|version| self.settings(version).is_like(&settings));
        Ok(Observed::Present(Live { settings: Settings { published, ..settings }, output, owner }))
    }

    /// Lambda cannot assume a new role for some seconds: the engine retries (docs/aws.md §6.3).
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let answer = aws
            .lambda
            .create_function()
            .function_name(&self.name)
            .code(FunctionCode::builder().zip_file(want.blob()).build())
            .runtime(Runtime::from(want.runtime.as_str()))
            .handler(&want.handler)
            .architectures(Architecture::from(want.architecture.as_str()))
            .memory_size(want.memory_mb)
            .timeout(want.timeout_s)
            .role(&want.role)
            .environment(want.environment())
            .set_kms_key_arn(want.key.clone())
            .set_tracing_config(want.tracing.then(|| want.tracing()))
            .logging_config(want.logging())
            .set_tags(Some(tags.clone().into_iter().collect()))
            .customize()
            .config_override(want.patient(aws))
            .send()
            .await;
        match answer {
            // AWS is still creating it, and its first version is not published yet.
            Ok(_) => Ok(None),
            Err(error) => Err(believed(aws, &want.role, error.into()).await),
        }
    }

    /// Updates the configuration first and the code in the next round, because AWS rejects concurrent updates
    /// (docs/aws.md §7.3). New code may need new variables; old code ignores them. A version of both is published last.
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        if let Some(reason) = &live.settings.failure {
            return Err(self.beyond_repair(reason));
        }
        if want.concurrency != live.settings.concurrency {
            self.reserve(aws, want.concurrency).await?;
        }
        // The role may write there already: roles are updated before functions.
        if want.on_failure != live.settings.on_failure {
            self.record_failures(aws, want.on_failure.as_deref()).await?;
        }
        if want.has_other_configuration_than(&live.settings) {
            self.configure(aws, want).await
        } else if !want.is_like(&live.settings) {
            self.send_code(aws, want).await
        } else if !live.settings.published {
            self.publish(aws).await
        } else {
            Ok(())
        }
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let call = aws.lambda.tag_resource().resource(&live.output.arn);
        call.set_tags(Some(tags.clone().into_iter().collect())).send().await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.lambda.delete_function().function_name(&self.name).send().await)
    }

    /// Lambda returns the time of the last change, but not of the creation.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let functions = items(aws.lambda.list_functions().into_paginator().send()).await?.into_iter();
        let reads = functions.map(async |it| {
            let tags = tags(aws, it.function_arn().unwrap_or_default()).await?;
            let (name, created_s) = (it.function_name().unwrap_or_default().to_owned(), None);
            Ok(tags.map(|tags| Tagged::new(name, tags, created_s)))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let prefix = format!("{stack}-");
        let functions = items(aws.lambda.list_functions().into_paginator().send()).await?;
        let mut owned = Vec::new();
        for function in functions {
            let (Some(name), Some(arn)) = (function.function_name(), function.function_arn()) else { continue };
            if !name.starts_with(&prefix) || but.contains(name) {
                continue;
            }
            let tags = tags(aws, arn).await?.unwrap_or_default();
            if tags.get(STACK_TAG).is_some_and(|owner| owner == stack) {
                owned.push(Function::named(name));
            }
        }
        Ok(owned)
    }
}

impl Function {
    /// A function of which only the name is known.
    pub fn named(name: &str) -> Function {
        Function { name: name.into(), origin: Origin::default(), open: BTreeSet::new() }
    }

    /// Reads its configuration and its owner; `None` if it does not exist.
    ///
    /// Without the right to list tags, `GetFunction` leaves them out (docs/aws.md §7.1). An answer without tags is
    /// therefore checked with `ListTags`, which names the missing right.
    pub async fn describe(&self, aws: &Aws) -> Result<Option<Described>, Fault> {
        let answer = found(aws.lambda.get_function().function_name(&self.name).send().await)?;
        let Some(answer) = answer else { return Ok(None) };
        let Some(configuration) = answer.configuration else { return Ok(None) };
        // One that counted as empty would be a difference (docs/aws.md §7.1).
        if let Some(hidden) = configuration.environment().and_then(|environment| environment.error()) {
            let (code, message) = (hidden.error_code().unwrap_or("Hidden"), hidden.message().unwrap_or_default());
            return Err(Fault::new("GetFunction", code, format!("its environment cannot be read: {message}")));
        }
        let shown: Tags = answer.tags.unwrap_or_default().into_iter().collect();
        let tags = match shown.is_empty() {
            true => tags(aws, configuration.function_arn().unwrap_or_default()).await?,
            false => Some(shown),
        };
        let concurrency = answer.concurrency.and_then(|reserved| reserved.reserved_concurrent_executions);
        Ok(tags.map(|tags| Described { configuration, owner: Owner::Tags(tags), concurrency }))
    }

    /// Its published versions; `$LATEST` is not one of them.
    pub async fn versions(&self, aws: &Aws) -> Result<Vec<FunctionConfiguration>, Fault> {
        let listed = aws.lambda.list_versions_by_function().function_name(&self.name).into_paginator().send();
        let versions = found(items(listed).await)?.unwrap_or_default();
        Ok(versions.into_iter().filter(|version| version.version() != Some("$LATEST")).collect())
    }

    /// Deletes one of its published versions.
    pub async fn delete_version(&self, aws: &Aws, number: i64) -> Result<(), Fault> {
        let call = aws.lambda.delete_function().function_name(&self.name).qualifier(number.to_string());
        gone(call.send().await)
    }

    /// Publishes the present code and configuration. AWS returns the last version if nothing has changed since.
    async fn publish(&self, aws: &Aws) -> Result<(), Fault> {
        let description = self.origin.describe(PUBLISHED);
        aws.lambda.publish_version().function_name(&self.name).description(description).send().await?;
        Ok(())
    }

    fn output(&self, arn: Option<&str>) -> Output {
        Output { name: self.name.clone(), arn: arn.unwrap_or_default().into() }
    }

    /// A function whose creation failed stays failed (docs/aws.md §7.1) and can only be deleted.
    fn beyond_repair(&self, reason: &str) -> Fault {
        let remedy = format!("run `aws lambda delete-function --function-name {}`, then try again", self.name);
        Fault::new("CreateFunction", "Failed", format!("{reason}: {remedy}"))
    }

    /// The settings of the function, or of one of its versions.
    pub fn settings(&self, function: &FunctionConfiguration) -> Settings {
        // After a failed update it is unknown which code is deployed: upload it again.
        let certain = function.last_update_status() != Some(&LastUpdateStatus::Failed);
        let variables = function.environment().and_then(|environment| environment.variables()).cloned();
        let failure = (function.state() == Some(&State::Failed))
            .then(|| function.state_reason().unwrap_or("AWS could not make the function").to_owned());
        let log_group = function.logging_config().and_then(|logging| logging.log_group()).map(str::to_owned);
        Settings {
            code_sha256: function.code_sha256().filter(|_| certain).unwrap_or_default().into(),
            zip: Arc::default(),
            runtime: function.runtime().map(ToString::to_string).unwrap_or_default(),
            handler: function.handler().unwrap_or_default().into(),
            architecture: function.architectures().first().unwrap_or(&Architecture::X8664).to_string(),
            memory_mb: function.memory_size().unwrap_or_default(),
            timeout_s: function.timeout().unwrap_or_default(),
            role: function.role().unwrap_or_default().into(),
            environment: variables.unwrap_or_default().into_iter().collect(),
            key: function.kms_key_arn().filter(|arn| !arn.is_empty()).map(str::to_owned),
            tracing: function.tracing_config().and_then(|tracing| tracing.mode()) == Some(&TracingMode::Active),
            log_group: log_group.unwrap_or_else(|| format!("/aws/lambda/{}", self.name)),
            concurrency: None,
            on_failure: None,
            published: true,
            failure,
        }
    }

    async fn configure(&self, aws: &Aws, want: &Settings) -> Result<(), Fault> {
        aws.lambda
            .update_function_configuration()
            .function_name(&self.name)
            .runtime(Runtime::from(want.runtime.as_str()))
            .handler(&want.handler)
            .memory_size(want.memory_mb)
            .timeout(want.timeout_s)
            .role(&want.role)
            .environment(want.environment())
            // An empty text removes the key (docs/aws.md §7.3).
            .kms_key_arn(want.key.clone().unwrap_or_default())
            .tracing_config(want.tracing())
            .logging_config(want.logging())
            .send()
            .await?;
        Ok(())
    }
}

/// Lists the tags of the function with this ARN; `None` if it does not exist.
async fn tags(aws: &Aws, arn: &str) -> Result<Option<Tags>, Fault> {
    let answer = found(aws.lambda.list_tags().resource(arn).send().await)?;
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().collect()))
}

/// A function as `GetFunction` returns it.
#[derive(Debug)]
pub struct Described {
    /// Its configuration.
    pub configuration: FunctionConfiguration,
    /// Its owner.
    pub owner: Owner,
    /// Its reserved concurrency.
    pub concurrency: Option<i32>,
}

impl Settings {
    /// The same, with what is not part of a version.
    pub fn with(self, beside: &Beside) -> Settings {
        Settings { concurrency: beside.concurrency, on_failure: beside.on_failure.clone(), ..self }
    }

    fn has_other_configuration_than(&self, live: &Settings) -> bool {
        let Settings { code_sha256, zip, architecture, concurrency, on_failure, published, .. } = self.clone();
        *self != Settings { code_sha256, zip, architecture, concurrency, on_failure, published, ..live.clone() }
    }

    /// Whether code and configuration are the same.
    pub fn is_like(&self, other: &Settings) -> bool {
        let Settings { zip, concurrency, on_failure, published, .. } = self.clone();
        *self == Settings { zip, concurrency, on_failure, published, ..other.clone() }
    }

    /// The configuration for calls that carry the program.
    fn patient(&self, aws: &Aws) -> aws_sdk_lambda::config::Builder {
        aws_sdk_lambda::config::Builder::new().timeout_config(aws.upload_within(self.zip.len()))
    }

    fn blob(&self) -> Blob {
        Blob::new(self.zip.to_vec())
    }

    /// Always the whole map, even an empty one: it replaces the previous one (docs/aws.md §7.3).
    fn environment(&self) -> Environment {
        Environment::builder().set_variables(Some(self.environment.clone().into_iter().collect())).build()
    }

    fn tracing(&self) -> TracingConfig {
        let mode = if self.tracing { TracingMode::Active } else { TracingMode::PassThrough };
        TracingConfig::builder().mode(mode).build()
    }

    fn logging(&self) -> LoggingConfig {
        LoggingConfig::builder().log_group(&self.log_group).build()
    }
}

/// Serialises variables with each reference to a value kept in AWS as a variable of its own.
fn one_by_one<S: Serializer>(environment: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    let references = environment.get(REFERENCES).and_then(|text| serde_json::from_str(text).ok());
    let Some(serde_json::Value::Object(references)) = references else { return environment.serialize(serializer) };
    let mut all: BTreeMap<&str, String> = environment.iter().map(|(name, text)| (&**name, text.clone())).collect();
    // A text that is another, but has the same references, is a change, too.
    let written = serde_json::Value::Object(references.clone()).to_string();
    let rest = written != environment[REFERENCES];
    if !rest && references.keys().all(|name| !all.contains_key(&**name)) {
        all.remove(REFERENCES);
        all.extend(references.iter().map(|(name, reference)| (&**name, reference.to_string())));
    }
    all.serialize(serializer)
}

impl fmt::Debug for Settings {
    /// Leaves out the megabytes of the zip and the values of environment variables, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("code_sha256", &self.code_sha256)
            .field("architecture", &self.architecture)
            .field("memory_mb", &self.memory_mb)
            .field("timeout_s", &self.timeout_s)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function() -> Function {
        Function::named("p-labeler")
    }

    #[test]
    fn fields_missing_from_an_answer_have_their_defaults() {
        let read = function().settings(&FunctionConfiguration::builder().build());
        assert_eq!(read.architecture, "x86_64");
        assert_eq!(read.log_group, "/aws/lambda/p-labeler");
    }

    #[test]
    fn a_function_that_failed_to_be_created_is_drift_with_a_remedy() {
        let failed = FunctionConfiguration::builder().state(State::Failed).state_reason("no such key").build();
        assert_eq!(function().settings(&failed).failure.as_deref(), Some("no such key"));
        let fault = function().beyond_repair("no such key");
        assert!(fault.message.contains("no such key") && fault.message.contains("--function-name p-labeler"));
    }

    #[test]
    fn references_are_compared_one_by_one() {
        let shown = |references: &str, more: &[(&str, &str)]| {
            let variables = more.iter().copied().chain([(REFERENCES, references)]);
            let environment = variables.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
            let settings = function().settings(&FunctionConfiguration::builder().build());
            serde_json::to_value(Settings { environment, ..settings }).unwrap()["environment"].clone()
        };
        let (one, two) = (r#"{"A":{"secret":"s"},"B":{"parameter":"p"}}"#, r#"{"A":{"secret":"s"}}"#);
        assert_eq!(shown(one, &[("C", "1")]).as_object().map(|all| all.len()), Some(3));
        assert_eq!(shown(two, &[])["A"], r#"{"secret":"s"}"#);
        assert_eq!(shown(two, &[("A", "text")])[REFERENCES], two);
        assert_eq!(shown("{ }", &[])[REFERENCES], "{ }");
    }

    #[test]
    fn code_and_architecture_are_no_configuration() {
        let live = function().settings(&FunctionConfiguration::builder().memory_size(128).build());
        let zip: Arc<[u8]> = vec![1].into();
        let code = Settings { code_sha256: "new".into(), architecture: "arm64".into(), zip, ..live.clone() };
        assert!(!code.has_other_configuration_than(&live));
        assert!(!code.is_like(&live) && Settings { published: false, ..live.clone() }.is_like(&live));
        assert!(Settings { memory_mb: 256, ..code.clone() }.has_other_configuration_than(&live));
        assert!(Settings { handler: "app.other".into(), ..code.clone() }.has_other_configuration_than(&live));
        assert!(Settings { runtime: "python3.14".into(), ..code }.has_other_configuration_than(&live));
        let reserved = Settings { concurrency: Some(5), on_failure: Some("arn".into()), ..live.clone() };
        assert!(!reserved.has_other_configuration_than(&live) && reserved.is_like(&live));
    }
}
