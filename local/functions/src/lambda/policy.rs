//! The resource policy of a function (docs/aws.md §7.4).

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Lambda, shown};
use crate::parameter;
use identity::permissions::Pattern;
use kit::ACCOUNT;
use kit::answer::{Refusal, Response, empty};

/// How long it takes to write a changed policy: concurrent changes during that time are lost.
const POLICY_WRITE: Duration = Duration::from_millis(20);
/// The maximum size of a function's policy in bytes.
const LARGEST_POLICY: usize = 20_480;

impl Lambda {
    pub(super) async fn add_permission(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        if input["RevisionId"].as_str().is_some_and(|revision| revision != function.policy_revision) {
            let text = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id";
            return Err(Refusal::new(412, "PreconditionFailedException", text));
        }
        let statement = statement(input, &function.arn)?;
        self.check_principal(&statement["Principal"])?;
        let added = statement.clone();
        self.change_policy(name, |statements| {
            let id = added["Sid"].as_str().unwrap_or_default();
            if statements.iter().any(|other| other["Sid"] == id) {
                let text = format!(
                    "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
                );
                return Err(Refusal::new(409, "ResourceConflictException", text));
            }
            statements.push(added.clone());
            let size = statements.iter().map(|statement| statement.to_string().len()).sum::<usize>();
            if size > LARGEST_POLICY {
                let text = format!("The final policy size ({size}) is bigger than the limit ({LARGEST_POLICY}).");
                return Err(Refusal::new(400, "PolicyLengthExceededException", text));
            }
            Ok(())
        })
        .await?;
        Ok(shown(201, &json!({ "Statement": statement.to_string() })))
    }

    /// Refuses users and roles of this account that do not exist.
    fn check_principal(&self, principal: &Value) -> Result<(), Refusal> {
        let ours = |arn: &&str| arn.starts_with(&format!("arn:aws:iam::{ACCOUNT}:")) && !arn.ends_with(":root");
        match principal["AWS"].as_str().filter(ours) {
            Some(arn) if !self.iam.knows(arn) => {
                Err(parameter("The provided principal was invalid. Please check the principal and try again."))
            }
            _ => Ok(()),
        }
    }

    /// Reads, changes and rewrites the whole policy. Of two concurrent changes, one is lost without an error
    /// (docs/aws.md §7.4).
    async fn change_policy(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<Value>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut statements = self.find(name)?.statements;
        change(&mut statements)?;
        tokio::time::sleep(POLICY_WRITE).await;
        self.change(name, |function| {
            function.policy_revision = Uuid::new_v4().to_string();
            function.statements = statements;
        })
    }

    pub(super) fn policy(&self, name: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        if function.statements.is_empty() {
            return Err(Refusal::new(404, "ResourceNotFoundException", "The resource you requested does not exist."));
        }
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": function.statements });
        Ok(shown(200, &json!({ "Policy": policy.to_string(), "RevisionId": function.policy_revision })))
    }

    pub(super) async fn remove_permission(&self, name: &str, id: &str) -> Result<Response, Refusal> {
        self.change_policy(name, |statements| {
            let at = statements.iter().position(|statement| statement["Sid"] == id);
            let at = at.ok_or_else(|| {
                let text = format!("Statement {id} is not found in resource policy.");
                Refusal::new(404, "ResourceNotFoundException", text)
            })?;
            statements.remove(at);
            Ok(())
        })
        .await?;
        Ok(empty(204))
    }
}

/// Returns a statement in the form in which AWS stores it.
pub(super) fn statement(input: &Value, function: &str) -> Result<Value, Refusal> {
    let text = |name: &str| input[name].as_str().filter(|text| !text.is_empty());
    let required = |name: &str| {
        let text = text(name);
        text.ok_or_else(|| Refusal::new(400, "ValidationException", format!("{name} is missing")))
    };
    let principal = match required("Principal")? {
        service if service.contains(".amazonaws.com") => json!({ "Service": service }),
        "*" => json!("*"),
        account if account.bytes().all(|byte| byte.is_ascii_digit()) => {
            json!({ "AWS": format!("arn:aws:iam::{account}:root") })
        }
        arn => json!({ "AWS": arn }),
    };
    let id = required("StatementId")?;
    check_id(id)?;
    let mut statement = json!({
        "Sid": id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": required("Action")?,
        "Resource": function,
    });
    let mut condition = Map::new();
    if let Some(account) = text("SourceAccount") {
        condition.insert("StringEquals".to_owned(), json!({ "AWS:SourceAccount": account }));
    }
    if let Some(source) = text("SourceArn") {
        condition.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": source }));
    }
    if !condition.is_empty() {
        statement["Condition"] = condition.into();
    }
    Ok(statement)
}

/// A statement ID has 1 to 100 letters, digits, `-` and `_` (docs/aws.md §1).
fn check_id(id: &str) -> Result<(), Refusal> {
    let constraint = if id.len() > 100 {
        "Member must have length less than or equal to 100"
    } else if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
    } else {
        return Ok(());
    };
    let text = format!(
        "1 validation error detected: Value '{id}' at 'statementId' failed to satisfy constraint: {constraint}"
    );
    Err(Refusal::new(400, "ValidationException", text))
}

/// Whether a statement permits `service` to invoke the function on behalf of `source`.
pub(super) fn permits(statements: &[Value], service: &str, source: &str) -> bool {
    statements.iter().any(|statement| {
        let principal = &statement["Principal"];
        let account = &statement["Condition"]["StringEquals"]["AWS:SourceAccount"];
        let pattern = &statement["Condition"]["ArnLike"]["AWS:SourceArn"];
        let action = statement["Action"].as_str().unwrap_or_default();
        (principal["Service"] == service || *principal == "*")
            && matches!(action, "lambda:InvokeFunction" | "lambda:*" | "*")
            && (account.is_null() || *account == ACCOUNT)
            && pattern.as_str().is_none_or(|pattern| Pattern::new(pattern).fits(source))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_statements_are_those_of_aws() {
        let (longest, longer) = ("a".repeat(100), "a".repeat(101));
        for (id, accepted) in [
            ("images-1_a", true),
            (longest.as_str(), true),
            (&longer, false),
            ("a.b", false),
            ("a b", false),
            ("é", false),
        ] {
            let input =
                json!({ "StatementId": id, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
            assert_eq!(statement(&input, "arn").is_ok(), accepted, "{id}");
        }
    }

    const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:labeler";

    fn allowed(account: Option<&str>, source: Option<&str>) -> Vec<Value> {
        let input = json!({
            "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
            "SourceAccount": account, "SourceArn": source,
        });
        vec![statement(&input, FUNCTION).unwrap()]
    }

    #[test]
    fn the_stored_form_is_that_of_aws() {
        let statement = &allowed(Some("000000000000"), Some("arn:aws:s3:::images"))[0];
        assert_eq!(statement["Principal"], json!({ "Service": "s3.amazonaws.com" }));
        assert_eq!(statement["Condition"]["StringEquals"]["AWS:SourceAccount"], "000000000000");
        assert_eq!(statement["Condition"]["ArnLike"]["AWS:SourceArn"], "arn:aws:s3:::images");
    }

    #[test]
    fn account_source_and_service_must_all_fit() {
        let images = "arn:aws:s3:::images";
        let check = |account, source| permits(&allowed(account, source), "s3.amazonaws.com", images);
        assert!(check(Some("000000000000"), Some(images)));
        assert!(check(None, Some("arn:aws:s3:::im*s")));
        assert!(check(None, None));
        assert!(!check(Some("123456789012"), Some(images)));
        assert!(!check(None, Some("arn:aws:s3:::other")));
        assert!(!permits(&allowed(None, None), "sns.amazonaws.com", images));
        assert!(!permits(&[], "s3.amazonaws.com", images));
    }
}
