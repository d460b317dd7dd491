//! Kinds of state in CloudWatch Logs, IAM and Lambda.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_lambda::types::{FunctionCode, LastUpdateStatus, Runtime, State};
use aws_sdk_s3::primitives::Blob;

use super::ec2::id_in;
use super::{BoxError, Clients, Kind, found, until};

pub const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const ROLE: &str = "arn:aws:iam::000000000000:role/kept";

/// The function whose permissions represent this name.
fn permitted_function(name: &str) -> String {
    let writer = name.split('-').nth(1).unwrap_or_default();
    format!("kept-{writer}")
}

/// A zip file with this program.
pub fn zip_of(bootstrap: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(bootstrap).unwrap();
    writer.finish().unwrap().into_inner()
}

impl Clients {
    pub(super) async fn write_log(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let logs = &self.logs;
        match (kind, value) {
            (Kind::LogLine, value) => {
                let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
                let event = InputLogEvent::builder().message(value.unwrap_or_default()).timestamp(now).build()?;
                logs.put_log_events().log_group_name("kept").log_stream_name(name).log_events(event).send().await?;
            }
            (_, None) => drop(logs.delete_log_group().log_group_name(name).send().await?),
            (_, Some(value)) => drop(logs.create_log_group().log_group_name(name).tags("v", value).send().await?),
        }
        Ok(())
    }

    pub(super) async fn write_role(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let iam = &self.iam;
        match (kind, value) {
            (Kind::Role, None) => drop(iam.delete_role().role_name(name).send().await?),
            (Kind::Role, Some(value)) => {
                iam.create_role().role_name(name).assume_role_policy_document(TRUST).description(value).send().await?;
            }
            (_, None) => {
                if self.read(kind, name).await?.is_some() {
                    iam.delete_role_policy().role_name("kept").policy_name(name).send().await?;
                }
            }
            (_, Some(value)) => {
                let statement = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;
                let document = format!("{{\"Version\":\"2012-10-17\",\"Id\":\"{value}\",\"Statement\":{statement}}}");
                iam.put_role_policy().role_name("kept").policy_name(name).policy_document(document).send().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn write_function(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let lambda = &self.lambda;
        match (kind, value) {
            (Kind::Function, None) => drop(lambda.delete_function().function_name(name).send().await?),
            (Kind::Function, Some(value)) => self.new_function(name, value).await?,
            (_, None) => {
                lambda.remove_permission().function_name(permitted_function(name)).statement_id(name).send().await?;
            }
            (_, Some(value)) => {
                let add = lambda.add_permission().function_name(permitted_function(name)).statement_id(name);
                let add = add.principal("s3.amazonaws.com").action("lambda:InvokeFunction");
                add.source_arn(format!("arn:aws:s3:::{value}")).send().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn new_function(&self, name: &str, description: &str) -> Result<(), BoxError> {
        let code = FunctionCode::builder().zip_file(Blob::new(zip_of(b"#!/bin/sh\nexit 1"))).build();
        let create = self.lambda.create_function().function_name(name).runtime(Runtime::Providedal2023);
        create.handler("bootstrap").role(ROLE).description(description).code(code).send().await?;
        until(async || {
            let found = self.lambda.get_function_configuration().function_name(name).send().await?;
            let settled = found.last_update_status == Some(LastUpdateStatus::Successful);
            Ok(settled && found.state == Some(State::Active))
        })
        .await
    }

    pub(super) async fn read_log(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let logs = &self.logs;
        if kind == Kind::LogLine {
            let got = logs.get_log_events().log_group_name("kept").log_stream_name(name).send().await?;
            return Ok(got.events().last().and_then(|event| event.message()).map(str::to_owned));
        }
        let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{name}");
        let tags = logs.list_tags_for_resource().resource_arn(arn).send().await;
        let tags = found(tags, "ResourceNotFoundException")?.and_then(|found| found.tags);
        Ok(tags.and_then(|mut tags| tags.remove("v")))
    }

    pub(super) async fn read_role(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let iam = &self.iam;
        if kind == Kind::Role {
            let role = found(iam.get_role().role_name(name).send().await, "NoSuchEntity")?;
            return Ok(role.and_then(|found| found.role?.description));
        }
        let policy = iam.get_role_policy().role_name("kept").policy_name(name).send().await;
        Ok(found(policy, "NoSuchEntity")?.map(|got| id_in(got.policy_document())))
    }

    pub(super) async fn read_function(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let (lambda, absent) = (&self.lambda, "ResourceNotFoundException");
        if kind == Kind::Function {
            let function = found(lambda.get_function_configuration().function_name(name).send().await, absent)?;
            return Ok(function.and_then(|function| function.description));
        }
        let policy = found(lambda.get_policy().function_name(permitted_function(name)).send().await, absent)?;
        let Some(policy) = policy.and_then(|found| found.policy) else {
            return Ok(None);
        };
        let policy: serde_json::Value = serde_json::from_str(&policy)?;
        let statements = policy["Statement"].as_array().into_iter().flatten();
        let ours = statements.filter(|statement| statement["Sid"] == name).map(|statement| &statement["Condition"]);
        let source = ours.filter_map(|condition| condition["ArnLike"]["AWS:SourceArn"].as_str()).next();
        Ok(source.and_then(|arn| arn.rsplit(':').next()).map(str::to_owned))
    }
}
