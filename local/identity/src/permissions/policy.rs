//! Policy documents: parsed, validated as IAM does, and evaluated.

use serde_json::{Map, Value};

use super::Keys;
use super::condition::{Condition, all_hold, any_holds};
use super::pattern::Pattern;

/// The outcome of evaluating policies for one action on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement applies to it.
    Unmentioned,
}

/// Evaluates policies together: a deny in any of them wins over every allow.
pub fn judge<'a>(policies: impl IntoIterator<Item = &'a Policy>, action: &str, resource: &str, keys: &Keys) -> Verdict {
    let action = action.to_ascii_lowercase();
    let mut verdict = Verdict::Unmentioned;
    for policy in policies {
        for statement in &policy.statements {
            if statement.speaks_of(&action, resource, keys, policy.is_current) {
                match statement.effect {
                    StatementEffect::Allow => verdict = Verdict::Allowed,
                    StatementEffect::Deny => return Verdict::Denied,
                }
            }
        }
    }
    verdict
}

/// An identity-based policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether it is of version `2012-10-17`, the one with policy variables.
    pub is_current: bool,
    statements: Vec<Statement>,
}

/// One statement, without the principals that a resource policy stores next to it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub effect: StatementEffect,
    actions: Listed<Pattern>,
    resources: Listed<String>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatementEffect {
    Allow,
    Deny,
}

/// The values of an element such as `Action`, or of its negation such as `NotAction`.
#[derive(Debug, Clone)]
pub(super) enum Listed<T> {
    These(Vec<T>),
    AllBut(Vec<T>),
}

impl<T> Listed<T> {
    fn has(&self, fits: impl Fn(&T) -> bool) -> bool {
        match self {
            Listed::These(list) => list.iter().any(fits),
            Listed::AllBut(list) => !list.iter().any(fits),
        }
    }
}

impl Statement {
    pub(super) fn new(
        effect: StatementEffect,
        actions: Listed<String>,
        resources: Listed<String>,
        conditions: Vec<Condition>,
    ) -> Statement {
        let lower_case = |list: Vec<String>| list.iter().map(|action| Pattern::lower_case(action)).collect();
        let actions = match actions {
            Listed::These(list) => Listed::These(lower_case(list)),
            Listed::AllBut(list) => Listed::AllBut(lower_case(list)),
        };
        Statement { effect, actions, resources, conditions }
    }

    /// Whether it applies to this request. If that is unknown, an allow statement does not apply, and a deny statement
    /// does.
    pub(super) fn speaks_of(&self, action: &str, resource: &str, keys: &Keys, has_variables: bool) -> bool {
        let names = |pattern: &String| match has_variables {
            true => Some(Pattern::with_variables(pattern, |key| keys.one(key))?.fits(resource)),
            false => Some(Pattern::new(pattern).fits(resource)),
        };
        let resources = match &self.resources {
            Listed::These(list) => any_holds(list.iter().map(names)),
            Listed::AllBut(list) => any_holds(list.iter().map(names)).map(|named| !named),
        };
        let conditions = self.conditions.iter().map(|condition| condition.holds(keys));
        self.actions.has(|pattern| pattern.fits(action))
            && all_hold([resources].into_iter().chain(conditions)).unwrap_or(self.effect == StatementEffect::Deny)
    }
}

const SYNTAX: &str = "Syntax errors in policy.";
const VERSIONS: &[&str] = &["2008-10-17", "2012-10-17"];

impl Policy {
    /// Parses an identity-based policy.
    ///
    /// Errors: the message of IAM's `MalformedPolicyDocument`.
    pub fn parse(text: &str) -> Result<Policy, String> {
        let document = document(text)?;
        let is_current = document.get("Version").is_some_and(|version| version == "2012-10-17");
        let written = statements(&document)?;
        unique_ids(&written)?;
        let statements = written.into_iter().map(statement).collect::<Result<_, _>>()?;
        Ok(Policy { is_current, statements })
    }
}

impl Policy {
    /// Returns the condition keys that statements on an action compare.
    pub fn keys_of(&self, action: &str) -> impl Iterator<Item = &str> {
        let action = action.to_ascii_lowercase();
        let of_action =
            self.statements.iter().filter(move |statement| statement.actions.has(|pattern| pattern.fits(&action)));
        of_action.flat_map(|statement| statement.conditions.iter().map(Condition::key))
    }
}

/// Parses a document as a JSON object. Refuses fields and versions that IAM does not know.
pub(super) fn document(text: &str) -> Result<Map<String, Value>, String> {
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        return Err("This policy contains invalid Json".to_owned());
    };
    let version = document.get("Version");
    let known = document.keys().all(|key| matches!(key.as_str(), "Version" | "Id" | "Statement"))
        && version.is_none_or(|version| version.as_str().is_some_and(|version| VERSIONS.contains(&version)));
    if known { Ok(document) } else { Err(SYNTAX.to_owned()) }
}

/// The statements of a document, where a single statement need not be in an array.
pub(super) fn statements(document: &Map<String, Value>) -> Result<Vec<&Map<String, Value>>, String> {
    let statements: Option<Vec<_>> = match document.get("Statement") {
        Some(Value::Object(one)) => Some(vec![one]),
        Some(Value::Array(several)) => several.iter().map(Value::as_object).collect(),
        _ => None,
    };
    statements.filter(|statements| !statements.is_empty()).ok_or_else(|| SYNTAX.to_owned())
}

fn unique_ids(statements: &[&Map<String, Value>]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut ids = statements.iter().filter_map(|statement| statement.get("Sid")?.as_str()).filter(|id| !id.is_empty());
    match ids.all(|id| seen.insert(id)) {
        true => Ok(()),
        false => Err("Statement IDs (SID) in a single policy must be unique.".to_owned()),
    }
}

fn statement(written: &Map<String, Value>) -> Result<Statement, String> {
    const KNOWN: &[&str] = &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    if written.keys().any(|key| matches!(key.as_str(), "Principal" | "NotPrincipal")) {
        return Err("Policy document should not specify a principal.".to_owned());
    }
    if !written.keys().all(|key| KNOWN.contains(&key.as_str())) || written.get("Sid").is_some_and(|id| !id.is_string())
    {
        return Err(SYNTAX.to_owned());
    }
    let effect = effect(written)?;
    let actions = listed(written, "Action", "NotAction")?.ok_or("Policy statement must contain actions.")?;
    let resources = listed(written, "Resource", "NotResource")?.ok_or("Policy statement must contain resources.")?;
    let conditions = Condition::all(written.get("Condition")).ok_or(SYNTAX)?;
    for action in strings(&actions) {
        check_action(action)?;
    }
    for resource in strings(&resources) {
        check_resource(resource)?;
    }
    Ok(Statement::new(effect, actions, resources, conditions))
}

fn effect(written: &Map<String, Value>) -> Result<StatementEffect, String> {
    match written.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Ok(StatementEffect::Allow),
        Some("Deny") => Ok(StatementEffect::Deny),
        _ => Err(SYNTAX.to_owned()),
    }
}

/// The values of an element or of its negation. Having both is an error; an empty list counts as absent.
pub(super) fn listed(
    written: &Map<String, Value>,
    these: &str,
    all_but: &str,
) -> Result<Option<Listed<String>>, String> {
    let list = match (written.get(these), written.get(all_but)) {
        (Some(_), Some(_)) => return Err(SYNTAX.to_owned()),
        (Some(value), None) => Listed::These(texts(value).ok_or(SYNTAX)?),
        (None, Some(value)) => Listed::AllBut(texts(value).ok_or(SYNTAX)?),
        (None, None) => return Ok(None),
    };
    Ok(Some(list).filter(|list| !strings(list).is_empty()))
}

pub(super) fn strings<T>(list: &Listed<T>) -> &[T] {
    match list {
        Listed::These(list) | Listed::AllBut(list) => list,
    }
}

/// A string or a list of strings.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn check_action(action: &str) -> Result<(), String> {
    match action.split(':').collect::<Vec<_>>().as_slice() {
        ["*"] => Ok(()),
        [_] => Err("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".to_owned()),
        ["*", _] => Ok(()),
        [vendor, _] if vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) => Ok(()),
        [vendor, _] => Err(format!("Vendor {vendor} is not valid")),
        _ => Err("Actions/Condition can contain only one colon.".to_owned()),
    }
}

fn check_resource(resource: &str) -> Result<(), String> {
    if resource == "*" {
        return Ok(());
    }
    let mut parts = resource.splitn(6, ':');
    if parts.next() != Some("arn") || !resource.contains(':') {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    match (parts.next(), parts.next()) {
        (Some("aws" | "*"), Some(_)) => Ok(()),
        (Some("aws" | "*"), None) => {
            Err("Resource vendor must be fully qualified and cannot contain regexes.".to_owned())
        }
        (partition, _) => {
            let partition = partition.unwrap_or_default();
            Err(format!("Partition \"{partition}\" is not valid for resource \"{resource}\"."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(statements: &str, action: &str, resource: &str) -> Verdict {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
        judge([&Policy::parse(&text).unwrap()], action, resource, &Keys::default())
    }

    #[test]
    fn only_actions_of_a_statement_are_allowed() {
        const IMAGES: &str =
            r#"{"Effect":"Allow","Action":["s3:Get*","s3:PutObject"],"Resource":"arn:aws:s3:::images/*"}"#;
        for (action, resource, expected) in [
            ("s3:GetObject", "arn:aws:s3:::images/a", Verdict::Allowed),
            ("S3:getobject", "arn:aws:s3:::images/a", Verdict::Allowed),
            ("s3:GetObject", "arn:aws:s3:::Images/a", Verdict::Unmentioned),
            ("s3:GetObject", "arn:aws:s3:::images", Verdict::Unmentioned),
            ("s3:PutObjectAcl", "arn:aws:s3:::images/a", Verdict::Unmentioned),
            ("s3:PutObject", "*", Verdict::Unmentioned),
        ] {
            assert_eq!(verdict(IMAGES, action, resource), expected, "{action} {resource}");
        }
    }

    #[test]
    fn a_denial_wins_in_any_position() {
        let both = r#"[{"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}]"#;
        assert_eq!(verdict(both, "s3:DeleteObject", "arn:aws:s3:::a/b"), Verdict::Denied);
        assert_eq!(verdict(both, "s3:GetObject", "arn:aws:s3:::a/b"), Verdict::Allowed);
    }

    #[test]
    fn negated_elements_match_everything_else() {
        let but = r#"{"Effect":"Allow","NotAction":"iam:*","NotResource":"arn:aws:s3:::secret/*"}"#;
        assert_eq!(verdict(but, "s3:GetObject", "arn:aws:s3:::open/a"), Verdict::Allowed);
        assert_eq!(verdict(but, "s3:GetObject", "arn:aws:s3:::secret/a"), Verdict::Unmentioned);
        assert_eq!(verdict(but, "iam:GetRole", "*"), Verdict::Unmentioned);
    }

    #[test]
    fn resources_may_contain_variables_of_the_caller() {
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::homes/${aws:PrincipalTag/team}/*"}}"#;
        let policies = [Policy::parse(text).unwrap()];
        let older = [Policy::parse(&text.replace("2012-10-17", "2008-10-17")).unwrap()];
        let mut keys = Keys::default();
        assert_eq!(judge(&policies, "s3:GetObject", "arn:aws:s3:::homes/red/a", &keys), Verdict::Unmentioned);
        keys.set("aws:PrincipalTag/team", "red");
        assert_eq!(judge(&policies, "s3:GetObject", "arn:aws:s3:::homes/red/a", &keys), Verdict::Allowed);
        assert_eq!(judge(&older, "s3:GetObject", "arn:aws:s3:::homes/red/a", &keys), Verdict::Unmentioned);
    }

    #[test]
    fn malformed_documents_are_refused_with_the_errors_of_iam() {
        let whole = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
        let allow = |rest: &str| whole(&format!(r#"{{"Effect":"Allow",{rest}}}"#));
        for (text, expected) in [
            ("no JSON".to_owned(), "This policy contains invalid Json"),
            ("[]".to_owned(), "This policy contains invalid Json"),
            ("{}".to_owned(), SYNTAX),
            (r#"{"Version":"2030-01-01","Statement":[]}"#.to_owned(), SYNTAX),
            (whole("[]"), SYNTAX),
            (whole(r#"{"Action":"s3:*","Resource":"*"}"#), SYNTAX),
            (whole(r#"{"Effect":"allow","Action":"s3:*","Resource":"*"}"#), SYNTAX),
            (allow(r#""Action":"s3:*","Resource":"*","Colour":"red""#), SYNTAX),
            (allow(r#""Action":"s3:*","NotAction":"s3:*","Resource":"*""#), SYNTAX),
            (allow(r#""Action":"s3:*","Resource":"*","Condition":{"StringMaybe":{"a":"b"}}"#), SYNTAX),
            (allow(r#""Resource":"*""#), "Policy statement must contain actions."),
            (allow(r#""Action":"s3:*""#), "Policy statement must contain resources."),
            (allow(r#""Action":"s3:*","Resource":[]"#), "Policy statement must contain resources."),
            (
                allow(r#""Action":"GetObject","Resource":"*""#),
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            ),
            (allow(r#""Action":"s3:a:b","Resource":"*""#), "Actions/Condition can contain only one colon."),
            (allow(r#""Action":"s 3:a","Resource":"*""#), "Vendor s 3 is not valid"),
            (allow(r#""Action":"s3:*","Resource":"images""#), r#"Resource images must be in ARN format or "*"."#),
            (
                allow(r#""Action":"s3:*","Resource":"*","Principal":"*""#),
                "Policy document should not specify a principal.",
            ),
            (
                whole(
                    r#"[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]"#,
                ),
                "Statement IDs (SID) in a single policy must be unique.",
            ),
        ] {
            assert_eq!(Policy::parse(&text).unwrap_err(), expected, "{text}");
        }
    }
}
