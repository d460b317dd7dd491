//! Our statements in a function's resource policy, which allow callers to invoke it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    cloud::aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// All of our statements in one function's policy. They are one resource, because parallel calls for one function lose
/// statements silently (docs/aws.md §7.4).
#[derive(Debug, Clone)]
pub struct Permissions {
    /// The function's name.
    pub function: String,
}

/// The settings: the principals that may invoke the function.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// By statement id; ours begin with `deployer-`.
    pub statements: BTreeMap<String, Statement>,
}

/// A principal that may invoke the function.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// `Allow`.
    pub effect: String,
    /// `lambda:InvokeFunction`.
    pub action: String,
    /// The calling service: `s3.amazonaws.com`.
    pub principal: String,
    /// The source on whose behalf it invokes: the ARN of a bucket.
    pub source_arn: String,
    /// The account that must own the source: a bucket's ARN names no account, and the name of a deleted bucket can be
    /// taken by another one.
    pub source_account: String,
}

impl Statement {
    /// Lets a service invoke the function on behalf of this source.
    pub fn invoke(service: &str, source_arn: String, source_account: String) -> Statement {
        Statement {
            effect: "Allow".into(),
            action: "lambda:InvokeFunction".into(),
            principal: service.into(),
            source_arn,
            source_account,
        }
    }
}

/// No outputs.
#[derive(Debug, Clone)]
pub struct Output;

/// The prefix of our statements' ids.
const OURS: &str = "deployer-";

impl Resource for Permissions {
    const KIND: &'static str = "permissions";
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.function
    }

    /// A missing policy and a missing function give the same error, so the function is read as well.
    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let answer = found(aws.lambda.get_policy().function_name(&self.function).send().await)?;
        let document = answer.and_then(|answer| answer.policy).unwrap_or_default();
        Ok(Observed::Present(live(statements(&document))))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        self.update(aws, want, &live(BTreeMap::new())).await?;
        Ok(Some(live(want.statements.clone())))
    }

    /// A statement cannot be changed, only removed and added again (docs/aws.md §7.4).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (want, there) = (&want.statements, &live.settings.statements);
        for id in there.keys().filter(|id| want.get(*id) != there.get(*id)) {
            self.remove(aws, id).await?;
        }
        for (id, statement) in want.iter().filter(|(id, _)| want.get(*id) != there.get(*id)) {
            self.add(aws, id, statement).await?;
        }
        Ok(())
    }

    fn is_bare(live: &Settings) -> bool {
        live.statements.is_empty()
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        for id in live.settings.statements.keys() {
            self.remove(aws, id).await?;
        }
        Ok(())
    }
}

impl Permissions {
    async fn add(&self, aws: &Aws, id: &str, statement: &Statement) -> Result<(), Fault> {
        aws.lambda
            .add_permission()
            .function_name(&self.function)
            .statement_id(id)
            .action(&statement.action)
            .principal(&statement.principal)
            .source_arn(&statement.source_arn)
            .source_account(&statement.source_account)
            .send()
            .await?;
        Ok(())
    }

    async fn remove(&self, aws: &Aws, id: &str) -> Result<(), Fault> {
        gone(aws.lambda.remove_permission().function_name(&self.function).statement_id(id).send().await)
    }
}

fn live(statements: BTreeMap<String, Statement>) -> Live<Permissions> {
    Live { settings: Settings { statements }, output: Output, owner: Owner::Parent }
}

/// Our statements in a function's policy.
fn statements(document: &str) -> BTreeMap<String, Statement> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let statements = document["Statement"].as_array().cloned().unwrap_or_default();
    statements.iter().filter_map(statement).filter(|(id, _)| id.starts_with(OURS)).collect()
}

/// AWS returns the source as conditions (docs/aws.md §7.4).
fn statement(stored: &Value) -> Option<(String, Statement)> {
    let statement = Statement {
        effect: text(&stored["Effect"]),
        action: text(&stored["Action"]),
        principal: text(&stored["Principal"]["Service"]),
        source_arn: condition(stored, "AWS:SourceArn"),
        source_account: condition(stored, "AWS:SourceAccount"),
    };
    Some((stored["Sid"].as_str()?.to_owned(), statement))
}

/// Returns the value of this key under any operator; IAM ignores the case of keys.
fn condition(stored: &Value, key: &str) -> String {
    let operators = stored["Condition"].as_object().into_iter().flat_map(|operators| operators.values());
    let mut conditions = operators.filter_map(Value::as_object).flatten();
    conditions.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| text(value)).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_read_from_their_stored_form_and_others_are_ignored() {
        let document = r#"{"Version":"2012-10-17","Id":"default","Statement":[
            {"Sid":"deployer-images","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},
             "Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:1:function:f",
             "Condition":{"StringEquals":{"AWS:SourceAccount":"1"},"ArnLike":{"aws:SourceArn":"arn:aws:s3:::b"}}},
            {"Sid":"theirs","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction"}]}"#;
        let expected = Statement::invoke("s3.amazonaws.com", "arn:aws:s3:::b".into(), "1".into());
        assert_eq!(statements(document), [("deployer-images".to_owned(), expected)].into());
        assert!(statements("").is_empty());
    }
}
