//! Trust policies, which name the principals that may assume a role.

use serde_json::{Map, Value};

use super::Keys;
use super::condition::{Condition, all_hold};
use super::policy::{document, statements, texts};
use kit::ACCOUNT;

/// A role's trust policy.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<Statement>);

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    /// In lower case.
    actions: Vec<String>,
    /// Whether the statement has `NotPrincipal`: it applies to all principals but the named ones.
    all_but: bool,
    services: Vec<String>,
    /// ARNs, accounts, or `*`.
    principals: Vec<String>,
    conditions: Vec<Condition>,
}

/// The actions that a trust policy may contain, in lower case.
const ACTIONS: &[&str] = &[
    ASSUME_ROLE,
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:setcontext",
    "sts:setsourceidentity",
    "sts:tagsession",
];
const ASSUME_ROLE: &str = "sts:assumerole";

impl Trust {
    /// Parses a trust policy.
    ///
    /// Errors: the message of IAM's `MalformedPolicyDocument`.
    pub fn parse(text: &str) -> Result<Trust, String> {
        let document = document(text)?;
        let statements = statements(&document)?;
        Ok(Trust(statements.into_iter().map(statement).collect::<Result<_, _>>()?))
    }

    /// Whether a service such as `lambda.amazonaws.com` may assume the role on behalf of this account.
    pub fn lets_service(&self, service: &str) -> bool {
        self.lets(&Keys::of_service(service), |statement| statement.services.iter().any(|named| named == service))
    }

    /// Whether a principal of this account, named by its ARN or through the account, may assume the role in a request
    /// with these condition keys.
    pub fn lets_principal(&self, arn: &str, keys: &Keys) -> bool {
        let root = format!("arn:aws:iam::{ACCOUNT}:root");
        let is_named = |named: &String| *named == "*" || *named == ACCOUNT || *named == root || *named == arn;
        self.lets(keys, |statement| statement.principals.iter().any(is_named))
    }

    /// The users and roles of this account that it names, by ARN.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let ours = format!("arn:aws:iam::{ACCOUNT}:");
        self.0
            .iter()
            .flat_map(|statement| statement.principals.iter())
            .filter(move |arn| arn.starts_with(&ours) && !arn.ends_with(":root"))
            .map(String::as_str)
    }

    /// Whether some statement that `names` the caller allows assuming the role, and none denies it.
    fn lets(&self, keys: &Keys, names: impl Fn(&Statement) -> bool) -> bool {
        let speaks = |statement: &&Statement| {
            statement.actions.iter().any(|action| action == ASSUME_ROLE)
                && names(statement) != statement.all_but
                // An unknown condition never allows and always denies.
                && all_hold(statement.conditions.iter().map(|condition| condition.holds(keys)))
                    .unwrap_or(!statement.allows)
        };
        let mut speaking = self.0.iter().filter(speaks).peekable();
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
    let conditions = Condition::all(written.get("Condition")).ok_or("Syntax errors in policy.")?;
    let (principal, all_but) = match (written.get("Principal"), written.get("NotPrincipal")) {
        (Some(principal), None) => (principal, false),
        (None, Some(principal)) => (principal, true),
        (Some(_), Some(_)) => return Err("Syntax errors in policy.".to_owned()),
        (None, None) => return Err("Missing required field Principal".to_owned()),
    };
    let (services, principals) = named(principal)?;
    Ok(Statement { allows, actions: actions(written)?, all_but, services, principals, conditions })
}

/// Parses the actions, in lower case. Trust in identity providers and session tags use other actions than `AssumeRole`.
fn actions(written: &Map<String, Value>) -> Result<Vec<String>, String> {
    let actions = written.get("Action").ok_or("Missing required field Action")?;
    let actions = texts(actions).filter(|actions| !actions.is_empty()).ok_or("Missing required field Action")?;
    let actions: Vec<String> = actions.iter().map(|action| action.to_ascii_lowercase()).collect();
    match actions.iter().all(|action| ACTIONS.contains(&action.as_str())) {
        true => Ok(actions),
        false => Err("AssumeRole policy may only specify STS AssumeRole actions.".to_owned()),
    }
}

/// The services and the AWS principals in a `Principal` element.
fn named(principal: &Value) -> Result<(Vec<String>, Vec<String>), String> {
    match principal {
        Value::String(all) if all == "*" => Ok((Vec::new(), vec!["*".to_owned()])),
        Value::Object(kinds) => {
            let named = |kind: &str| match kinds.get(kind) {
                Some(value) => texts(value).ok_or("Syntax errors in policy."),
                None => Ok(Vec::new()),
            };
            Ok((named("Service")?, named("AWS")?))
        }
        _ => Err("Syntax errors in policy.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(principal: &str) -> Trust {
        let statement = format!(r#"{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{principal}}}"#);
        Trust::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).unwrap()
    }

    fn lets_principal(trust: &Trust, arn: &str) -> bool {
        trust.lets_principal(arn, &Keys::default())
    }

    #[test]
    fn conditions_and_actions_apply_and_negations_match_the_others() {
        let (me, web) = ("arn:aws:iam::000000000000:user/local", "arn:aws:iam::000000000000:role/web");
        let statement = |rest: &str| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{rest}}}]}}"#);
            Trust::parse(&text).unwrap()
        };
        let mut keys = Keys::default();
        keys.set("sts:ExternalId", "guest");
        for (condition, expected) in [("guest", true), ("other", false)] {
            let trust = statement(&format!(
                r#""Action":"sts:AssumeRole","Principal":"*","Condition":{{"StringEquals":{{"sts:ExternalId":"{condition}"}}}}"#
            ));
            assert_eq!(trust.lets_principal(me, &keys), expected, "{condition}");
            assert!(!lets_principal(&trust, me), "nothing is said of it");
        }
        let service = r#""Principal":{"Service":"lambda.amazonaws.com"}"#;
        let account = |account: &str| format!(r#""Condition":{{"StringEquals":{{"aws:SourceAccount":"{account}"}}}}"#);
        let for_account = |id: &str| statement(&format!(r#""Action":"sts:AssumeRole",{service},{}"#, account(id)));
        assert!(for_account(ACCOUNT).lets_service("lambda.amazonaws.com"));
        assert!(!for_account("123456789012").lets_service("lambda.amazonaws.com"));
        let of_ec2 =
            format!(r#""Action":"sts:AssumeRole","Principal":{{"Service":"ec2.amazonaws.com"}},{}"#, account(ACCOUNT));
        assert!(!statement(&of_ec2).lets_service("ec2.amazonaws.com"), "EC2 does not name an account");
        let not_for = format!(
            r#""Action":"sts:AssumeRole",{service},"Condition":{{"ArnNotEquals":{{"aws:SourceArn":"arn:aws:x:::y"}}}}"#
        );
        assert!(!statement(&not_for).lets_service("lambda.amazonaws.com"), "the condition key is unknown");

        assert!(!statement(&format!(r#""Action":"sts:TagSession",{service}"#)).lets_service("lambda.amazonaws.com"));
        let others = statement(&format!(r#""Action":"sts:assumeROLE","NotPrincipal":{{"AWS":"{me}"}}"#));
        assert!(lets_principal(&others, web) && !lets_principal(&others, me));
    }

    #[test]
    fn services_are_named_alone_or_in_a_list() {
        assert!(trust(r#"{"Service":"lambda.amazonaws.com"}"#).lets_service("lambda.amazonaws.com"));
        let both = trust(r#"{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]}"#);
        assert!(both.lets_service("lambda.amazonaws.com") && !both.lets_service("s3.amazonaws.com"));
        assert!(!lets_principal(&both, "arn:aws:iam::000000000000:user/local"));
    }

    #[test]
    fn users_and_roles_are_named_by_arn_or_as_the_account() {
        let me = "arn:aws:iam::000000000000:user/local";
        for principal in [
            r#""*""#,
            r#"{"AWS":"000000000000"}"#,
            r#"{"AWS":["arn:aws:iam::000000000000:root"]}"#,
            &format!(r#"{{"AWS":"{me}"}}"#),
        ] {
            assert!(lets_principal(&trust(principal), me), "{principal}");
        }
        let other = trust(r#"{"AWS":"arn:aws:iam::000000000000:role/web"}"#);
        assert!(!lets_principal(&other, me));
        assert_eq!(other.named().collect::<Vec<_>>(), ["arn:aws:iam::000000000000:role/web"]);
        assert!(!lets_principal(&trust(r#"{"AWS":"123456789012"}"#), me));
    }

    #[test]
    fn malformed_policies_are_refused_with_the_errors_of_iam() {
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
            (
                r#"{"Effect":"Allow","Action":["sts:AssumeRole","sts:GetCallerIdentity"],"Principal":"*"}"#,
                "AssumeRole policy may only specify STS AssumeRole actions.",
            ),
            (
                r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Condition":{"Likes":{"a":"b"}}}"#,
                "Syntax errors in policy.",
            ),
            (
                r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","NotPrincipal":{"AWS":"*"}}"#,
                "Syntax errors in policy.",
            ),
        ] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
            assert_eq!(Trust::parse(&text).unwrap_err(), expected, "{statement}");
        }
        assert_eq!(Trust::parse("{}").unwrap_err(), "Syntax errors in policy.");
        assert_eq!(Trust::parse("").unwrap_err(), "This policy contains invalid Json");
    }
}
