//! Functions, and log groups.

use super::{
    Sheet, Terraform,
    hcl::{Body, Expr},
    sheet::{ARCHIVE, Mark, link, link_as},
};
use crate::{
    cloud::aws::Aws,
    config::REFERENCES,
    engine::{Fault, Live, Resource as _},
    kinds::{function::Function, log_group::LogGroup},
};

const PROGRAM: &str = "AWS does not return where a program comes from. To deploy another one, replace the file and remove\n\
                       `filename` and `source_code_hash` here.";

impl Terraform for Function {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let variables: Vec<(String, Expr)> = settings
            .environment
            .iter()
            .map(|(name, value)| {
                let is_open = name == REFERENCES || self.is_open(&format!("environment.{name}"), value);
                let value = if is_open { link(value) } else { sheet.secret(&format!("environment.{name}"), value) };
                (name.clone(), value)
            })
            .collect();
        let environment = Body::new().set("variables", Expr::Map(variables.clone()));
        let label = sheet.label();
        let zip = self.code(aws, &settings.code_sha256).await?.to_vec();
        let zip = sheet.file(&format!("{label}{ARCHIVE}"), zip, false);
        let memory = sheet.setting("memory_mb", "number", Expr::int(settings.memory_mb));
        let timeout = sheet.setting("timeout_s", "number", Expr::int(settings.timeout_s));
        let logging =
            Body::new().text("log_format", "Text").set("log_group", link_as("log group", &settings.log_group));
        let body = Body::new()
            .text("function_name", &self.name)
            .set("role", link(&settings.role))
            .text("runtime", &settings.runtime)
            .text("handler", &settings.handler)
            .set("architectures", Expr::List(vec![Expr::text(&settings.architecture)]))
            .set("memory_size", memory)
            .set("timeout", timeout)
            .set_some("kms_key_arn", settings.key.as_ref().map(Expr::text))
            .set_some("reserved_concurrent_executions", settings.concurrency.map(Expr::int))
            .set("filename", zip.clone())
            .set("source_code_hash", Expr::Call("filebase64sha256", Box::new(zip)))
            .set("tags", sheet.tags())
            .blocks("environment", (!variables.is_empty()).then_some(environment))
            .blocks("tracing_config", settings.tracing.then(|| Body::new().text("mode", "Active")))
            .block("logging_config", logging)
            .ignoring(PROGRAM, &["filename", "publish", "source_code_hash"]);
        let address = sheet.add("aws_lambda_function", &self.name, body);
        sheet.know_as("function", &self.name, format!("{address}.function_name"));
        sheet.know(&self.name, format!("{address}.function_name"));
        sheet.know(&live.output.arn, format!("{address}.arn"));
        if let Some(destination) = &settings.on_failure {
            let retries = self.event_config(aws).await?.and_then(|config| config.maximum_retry_attempts());
            let on_failure = Body::new().set("destination", link(destination));
            let body = Body::new()
                .set("function_name", Expr::raw(format!("{address}.function_name")))
                .int("maximum_retry_attempts", retries.unwrap_or(DEFAULT_RETRIES))
                .block("destination_config", Body::new().block("on_failure", on_failure))
                .ignoring(AGE, &["maximum_event_age_in_seconds"]);
            let address = sheet.add("aws_lambda_function_event_invoke_config", &self.name, body);
            if retries.is_none() {
                sheet.mark(&address, RETRIES);
            }
        }
        Ok(())
    }
}

const AGE: &str = "AWS does not return this argument while it has its default.";

/// How often AWS tries an event again, unless something else is configured (docs/aws.md §24).
const DEFAULT_RETRIES: i32 = 2;
/// An import leaves the number empty. Were it ignored, it would stay so, and the provider sends an empty one as 0 with its next
/// change of the destination.
const RETRIES: Mark =
    ("failure destination", "`maximum_retry_attempts` is set to AWS's default, which applies already.");

impl Terraform for LogGroup {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let days = live.settings.retention_days;
        let days = days.map(|days| sheet.setting("log_retention_days", "number", Expr::int(days)));
        let body = Body::new().text("name", &self.name).set_some("retention_in_days", days);
        let body = body.set_some("kms_key_id", live.settings.key.as_ref().map(Expr::text)).set("tags", sheet.tags());
        let body = body.ignoring(super::TERRAFORMS_OWN, &["skip_destroy"]);
        let address = sheet.add("aws_cloudwatch_log_group", &self.name, body);
        sheet.know_as("log group", &self.name, format!("{address}.name"));
        if let Some(arn) = self.arn(aws).await? {
            sheet.know(&arn, format!("{address}.arn"));
        }
        Ok(())
    }
}
