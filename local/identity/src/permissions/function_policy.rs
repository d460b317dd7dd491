//! Resource policies of functions: the statements that `AddPermission` adds.

use serde_json::Value;

use super::condition::Condition;
use super::policy::{Listed, Statement, StatementEffect, texts};
use super::resource_policy::{PrincipalStatement, ResourcePolicy, principals, services};

/// Parses a function's policy from the statements that Lambda stores. A statement that cannot be parsed grants nothing.
pub fn of(statements: &[Value]) -> ResourcePolicy {
    ResourcePolicy { is_current: true, rules: statements.iter().filter_map(rule).collect() }
}

/// Parses one statement. `AddPermission` adds allow statements only.
fn rule(written: &Value) -> Option<PrincipalStatement> {
    let actions = Listed::These(texts(&written["Action"])?);
    let resources = Listed::These(texts(&written["Resource"])?);
    let conditions = Condition::all(written.get("Condition"))?;
    let principals = Listed::These(principals(&written["Principal"])?);
    let statement = Statement::new(StatementEffect::Allow, actions, resources, conditions);
    Some(PrincipalStatement {
        principals,
        services: services(written.get("Principal")),
        is_federated: false,
        statement,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::policy::Verdict;
    use super::super::resource_policy::Principal;
    use super::super::{Keys, Need};
    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:labeler";

    fn verdict(principal: Value, action: &str, condition: Option<Value>) -> Verdict {
        let mut statement =
            json!({ "Sid": "x", "Effect": "Allow", "Principal": principal, "Action": action, "Resource": FUNCTION });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        let role = "arn:aws:iam::000000000000:role/web";
        let who = Principal { role, session: "arn:aws:sts::000000000000:assumed-role/web/me" };
        of(&[statement]).judge(&Need::new("lambda:InvokeFunction", FUNCTION), &Keys::default(), who)
    }

    #[test]
    fn roles_and_everyone_are_allowed_and_services_and_the_account_are_not() {
        const INVOKE: &str = "lambda:InvokeFunction";
        for (principal, expected) in [
            (json!({ "AWS": "arn:aws:iam::000000000000:role/web" }), Verdict::Allowed),
            (json!("*"), Verdict::Allowed),
            (json!({ "AWS": "arn:aws:iam::000000000000:role/other" }), Verdict::Unmentioned),
            (json!({ "AWS": "arn:aws:iam::000000000000:root" }), Verdict::Unmentioned),
            (json!({ "Service": "s3.amazonaws.com" }), Verdict::Unmentioned),
        ] {
            assert_eq!(verdict(principal.clone(), INVOKE, None), expected, "{principal}");
        }
        assert_eq!(verdict(json!("*"), "lambda:*", None), Verdict::Allowed);
        assert_eq!(verdict(json!("*"), "lambda:GetFunction", None), Verdict::Unmentioned);
        let source = json!({ "ArnLike": { "AWS:SourceArn": "arn:aws:s3:::images" } });
        assert_eq!(verdict(json!("*"), INVOKE, Some(source)), Verdict::Unmentioned, "a role has no source");
    }
}
