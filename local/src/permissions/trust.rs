//! Trust policies: who may take a role on.

use serde_json::{Map, Value};

use super::policy::{document, statements, texts};
use crate::ACCOUNT;

/// A role's trust policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Vec<Statement>);

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    services: Vec<String>,
    /// ARNs, accounts, or `*`.
    principals: Vec<String>,
}

impl Trust {
    /// Reads a trust policy.
    ///
    /// Errors: the sentence that IAM answers with `MalformedPolicyDocument`.
    pub(crate) fn parse(text: &str) -> Result<Trust, String> {
        let document = document(text)?;
        let statements = statements(&document)?;
        Ok(Trust(statements.into_iter().map(statement).collect::<Result<_, _>>()?))
    }

    /// Whether a service such as `lambda.amazonaws.com` may take the role on.
    pub(crate) fn lets_service(&self, service: &str) -> bool {
        self.lets(|statement| statement.services.iter().any(|named| named == service))
    }

    /// Whether somebody of this account may: by name, or as a part of the account.
    pub(crate) fn lets_principal(&self, arn: &str) -> bool {
        let root = format!("arn:aws:iam::{ACCOUNT}:root");
        let is_named = |named: &String| *named == "*" || *named == ACCOUNT || *named == root || *named == arn;
        self.lets(|statement| statement.principals.iter().any(is_named))
    }

    /// The users and roles of this account that it names, by ARN.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let ours = format!("arn:aws:iam::{ACCOUNT}:");
        self.0
            .iter()
            .flat_map(|statement| statement.principals.iter())
            .filter(move |arn| arn.starts_with(&ours) && !arn.ends_with(":root"))
            .map(String::as_str)
    }

    fn lets(&self, speaks_of: impl Fn(&Statement) -> bool) -> bool {
        let mut speaking = self.0.iter().filter(|statement| speaks_of(statement)).peekable();
        speaking.peek().is_some() && speaking.all(|statement| statement.allows)
    }
}

fn statement(written: &Map<String, Value>) -> Result<Statement, String> {
    for field in ["Resource", "NotResource"] {
        if written.contains_key(field) {
            return Err(format!("Has prohibited field {field}"));
        }
    }
    let allows = match written.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        Some(_) => return Err("Syntax errors in policy.".to_owned()),
        None => return Err("Missing required field Effect".to_owned()),
    };
    let actions = written.get("Action").ok_or("Missing required field Action")?;
    let actions = texts(actions).filter(|actions| !actions.is_empty()).ok_or("Missing required field Action")?;
    // Whoever trusts a provider of identities or passes tags on names other actions of STS.
    if !actions.iter().all(|action| action.to_ascii_lowercase().starts_with("sts:")) {
        return Err("AssumeRole policy may only specify STS AssumeRole actions.".to_owned());
    }
    let principal =
        written.get("Principal").or(written.get("NotPrincipal")).ok_or("Missing required field Principal")?;
    let (services, principals) = match principal {
        Value::String(all) if all == "*" => (Vec::new(), vec!["*".to_owned()]),
        Value::Object(kinds) => {
            let named = |kind: &str| match kinds.get(kind) {
                Some(value) => texts(value).ok_or("Syntax errors in policy."),
                None => Ok(Vec::new()),
            };
            (named("Service")?, named("AWS")?)
        }
        _ => return Err("Syntax errors in policy.".to_owned()),
    };
    Ok(Statement { allows, services, principals })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(principal: &str) -> Trust {
        let statement = format!(r#"{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{principal}}}"#);
        Trust::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).unwrap()
    }

    #[test]
    fn services_are_named_alone_or_in_a_list() {
        assert!(trust(r#"{"Service":"lambda.amazonaws.com"}"#).lets_service("lambda.amazonaws.com"));
        let both = trust(r#"{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]}"#);
        assert!(both.lets_service("lambda.amazonaws.com") && !both.lets_service("s3.amazonaws.com"));
        assert!(!both.lets_principal("arn:aws:iam::000000000000:user/local"));
    }

    #[test]
    fn people_and_roles_are_named_by_themselves_or_as_the_account() {
        let me = "arn:aws:iam::000000000000:user/local";
        for principal in [
            r#""*""#,
            r#"{"AWS":"000000000000"}"#,
            r#"{"AWS":["arn:aws:iam::000000000000:root"]}"#,
            &format!(r#"{{"AWS":"{me}"}}"#),
        ] {
            assert!(trust(principal).lets_principal(me), "{principal}");
        }
        let other = trust(r#"{"AWS":"arn:aws:iam::000000000000:role/web"}"#);
        assert!(!other.lets_principal(me));
        assert_eq!(other.named().collect::<Vec<_>>(), ["arn:aws:iam::000000000000:role/web"]);
        assert!(!trust(r#"{"AWS":"123456789012"}"#).lets_principal(me));
    }

    #[test]
    fn malformed_ones_are_refused_in_the_words_of_iam() {
        for (statement, expected) in [
            (r#"{"Action":"sts:AssumeRole","Principal":"*"}"#, "Missing required field Effect"),
            (r#"{"Effect":"Allow","Principal":"*"}"#, "Missing required field Action"),
            (r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#, "Missing required field Principal"),
            (
                r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"}"#,
                "Has prohibited field Resource",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:GetObject","Principal":"*"}"#,
                "AssumeRole policy may only specify STS AssumeRole actions.",
            ),
        ] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
            assert_eq!(Trust::parse(&text).unwrap_err(), expected, "{statement}");
        }
        assert_eq!(Trust::parse("{}").unwrap_err(), "Syntax errors in policy.");
        assert_eq!(Trust::parse("").unwrap_err(), "This policy contains invalid Json");
    }
}
