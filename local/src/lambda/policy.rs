//! Who may invoke a function: the statements of its resource policy (aws-facts §7.4).

use serde_json::{Map, Value, json};

use crate::ACCOUNT;
use crate::answer::Refusal;
use crate::permissions::Pattern;

/// A statement in the form AWS stores it.
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

/// An id has 1 to 100 letters, digits, `-` and `_` (aws-facts §1).
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

/// Whether one of the statements lets `service` invoke for `source`.
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
