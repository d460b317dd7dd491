//! Functions and their permissions, roles, instance profiles and log groups.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, DestinationConfig, Environment, LoggingConfig, OnFailure, Runtime, TracingConfig, TracingMode,
};
use deployer::package;

use super::{FUNCTION, FUNCTION_ARN, Hands, IMAGES, KEY, LOG_GROUP, PROFILE, ROLE, TAG};

/// The fields of a function's permission, in the order in which they are changed.
const PERMISSION: [&str; 4] = ["action", "principal", "source_arn", "source_account"];

impl Hands<'_> {
    pub(super) async fn function(&self, field: &str) {
        let lambda = &self.aws.lambda;
        let update = lambda.update_function_configuration().function_name(FUNCTION);
        let other_code = lambda.update_function_code().function_name(FUNCTION);
        let other_zip = Blob::new(package::function_zip(b"#!/bin/sh\n"));
        let changed = match field {
            "published" => {
                let versions = lambda.list_versions_by_function().function_name(FUNCTION).send().await;
                for version in versions.expect("versions").versions().iter().filter_map(|it| it.version()) {
                    if version != "$LATEST" {
                        let call = lambda.delete_function().function_name(FUNCTION).qualifier(version);
                        call.send().await.expect("a version can be deleted");
                    }
                }
                return;
            }
            "code_sha256" => return drop(other_code.zip_file(other_zip).send().await.expect("code can be changed")),
            "architecture" => {
                let call = other_code.zip_file(other_zip).architectures(Architecture::Arm64);
                return drop(call.send().await.expect("the architecture can be changed"));
            }
            "on_failure" => {
                let bucket = OnFailure::builder().destination(format!("arn:aws:s3:::{IMAGES}")).build();
                let call = lambda.put_function_event_invoke_config().function_name(FUNCTION);
                let call = call.destination_config(DestinationConfig::builder().on_failure(bucket).build());
                return drop(call.send().await.expect("failed events can be recorded"));
            }
            "concurrency" => {
                let call = lambda.put_function_concurrency().function_name(FUNCTION);
                let call = call.reserved_concurrent_executions(5);
                return drop(call.send().await.expect("concurrency can be reserved"));
            }
            "tags.course" => {
                let call = lambda.untag_resource().resource(FUNCTION_ARN).tag_keys(TAG);
                return drop(call.send().await.expect("it can be untagged"));
            }
            "runtime" => update.runtime(Runtime::Providedal2),
            "handler" => update.handler("other"),
            "memory_mb" => update.memory_size(512),
            "timeout_s" => update.timeout(60),
            "key" => update.kms_key_arn(KEY),
            "tracing" => {
                let traces = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"xray:PutTraceSegments","Resource":"*"}]}"#;
                let put = self.aws.iam.put_role_policy().role_name(ROLE).policy_name("traces");
                put.policy_document(traces).send().await.expect("the role may write traces");
                update.tracing_config(TracingConfig::builder().mode(TracingMode::Active).build())
            }
            "role" => update.role(self.other_role().await),
            "log_group" => {
                self.aws.logs.create_log_group().log_group_name("/elsewhere").send().await.expect("it can be made");
                update.logging_config(LoggingConfig::builder().log_group("/elsewhere").build())
            }
            variable => {
                let there = lambda.get_function_configuration().function_name(FUNCTION).send().await;
                let there = there.expect("it is there").environment.and_then(|there| there.variables);
                let mut variables = there.unwrap_or_default();
                let (name, value) = match variable {
                    "environment.BUCKET" => ("BUCKET", "elsewhere"),
                    "environment.DEBUG" => ("DEBUG", "1"),
                    other => panic!("there is no change by hand for {other}"),
                };
                variables.insert(name.into(), value.into());
                update.environment(Environment::builder().set_variables(Some(variables)).build())
            }
        };
        changed.send().await.expect("the configuration can be changed");
    }

    /// Creates another role that a function could assume.
    async fn other_role(&self) -> String {
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let call = self.aws.iam.create_role().role_name("somebodys-other").assume_role_policy_document(trust);
        call.send().await.expect("a role can be made").role.expect("it has been made").arn
    }

    /// Replaces the statement, because statements cannot be changed: the new one keeps the previous changes.
    pub(super) async fn permission(&self, field: &str) {
        let (lambda, id) = (&self.aws.lambda, "deployer-images");
        let remove = lambda.remove_permission().function_name(FUNCTION).statement_id(id);
        remove.send().await.expect("the statement is there");
        let field = field.rsplit('.').next().unwrap_or(field);
        let Some(last) = PERMISSION.iter().position(|name| *name == field) else {
            return assert_eq!(field, id, "the whole statement");
        };
        let pick =
            |index: usize, ours: &str, other: &str| if index <= last { other.to_owned() } else { ours.to_owned() };
        lambda
            .add_permission()
            .function_name(FUNCTION)
            .statement_id(id)
            .action(pick(0, "lambda:InvokeFunction", "lambda:GetFunction"))
            .principal(pick(1, "s3.amazonaws.com", "sns.amazonaws.com"))
            .source_arn(pick(2, &format!("arn:aws:s3:::{IMAGES}"), "arn:aws:s3:::other"))
            .source_account(pick(3, "000000000000", "999999999999"))
            .send()
            .await
            .expect("a statement can be added");
    }

    pub(super) async fn role(&self, field: &str) {
        let iam = &self.aws.iam;
        let document = |version: &str| {
            format!(
                r#"{{"Version":"{version}","Statement":[{{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}}]}}"#
            )
        };
        let write =
            |document: String| iam.put_role_policy().role_name(ROLE).policy_name("deployer").policy_document(document);
        match field {
            "trusted_service" | "trusted_account" => {
                let account = if field == "trusted_service" { "000000000000" } else { "999999999999" };
                let trust = format!(
                    r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"ec2.amazonaws.com"}},"Action":"sts:AssumeRole","Condition":{{"StringEquals":{{"aws:SourceAccount":"{account}"}}}}}}]}}"#
                );
                let call = iam.update_assume_role_policy().role_name(ROLE).policy_document(trust);
                call.send().await.expect("it can be trusted to another");
            }
            "policy.Statement" => drop(write(document("2012-10-17")).send().await.expect("it can be written")),
            "policy.Version" => drop(write(document("2008-10-17")).send().await.expect("it can be written")),
            "policy" => {
                let call = iam.delete_role_policy().role_name(ROLE).policy_name("deployer");
                call.send().await.expect("it can be deleted");
            }
            _ => {
                assert_eq!(field, "tags.course");
                iam.untag_role().role_name(ROLE).tag_keys(TAG).send().await.expect("it can be untagged");
            }
        }
    }

    pub(super) async fn profile(&self, field: &str) {
        let iam = &self.aws.iam;
        match field {
            "role" => {
                let call = iam.remove_role_from_instance_profile().instance_profile_name(PROFILE);
                call.role_name(PROFILE).send().await.expect("the role can be taken out");
            }
            _ => {
                assert_eq!(field, "tags.course");
                let call = iam.untag_instance_profile().instance_profile_name(PROFILE).tag_keys(TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    pub(super) async fn log_group(&self, field: &str) {
        let logs = &self.aws.logs;
        match field {
            "retention_days" => {
                let call = logs.put_retention_policy().log_group_name(LOG_GROUP).retention_in_days(30);
                call.send().await.expect("it can be kept longer");
            }
            "key" => {
                let call = logs.associate_kms_key().log_group_name(LOG_GROUP).kms_key_id(KEY);
                call.send().await.expect("it can have a key");
            }
            "+" => drop(logs.delete_log_group().log_group_name(LOG_GROUP).send().await.expect("it can be deleted")),
            _ => {
                assert_eq!(field, "tags.course");
                let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}");
                logs.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.expect("it can be untagged");
            }
        }
    }
}
