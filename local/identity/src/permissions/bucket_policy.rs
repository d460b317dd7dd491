//! Bucket policies, parsed and refused as by S3.

use serde_json::{Map, Value};

use super::condition::Condition;
use super::policy::{Listed, Statement, StatementEffect, listed, statements, strings};
use super::resource_policy::{BUCKETS, PrincipalStatement, ResourcePolicy, principals, services};

const INVALID_PRINCIPAL: &str = "Invalid principal in policy";

/// Parses the policy of a bucket.
///
/// Errors: the message of S3's `MalformedPolicy`.
pub fn parse(text: &str, bucket: &str) -> Result<ResourcePolicy, String> {
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        return Err("Policies must be valid JSON and the first byte must be '{'".to_owned());
    };
    only(&document, &["Version", "Id", "Statement"])?;
    let is_current = match document.get("Version").map(Value::as_str) {
        None | Some(Some("2008-10-17")) => false,
        Some(Some("2012-10-17")) => true,
        Some(_) => return Err("The policy must contain a valid version string".to_owned()),
    };
    let written = statements(&document).map_err(|_| "Missing required field Statement")?;
    let rules = written.into_iter().map(|one| rule(one, bucket)).collect::<Result<_, _>>()?;
    Ok(ResourcePolicy { is_current, rules })
}

fn rule(written: &Map<String, Value>, bucket: &str) -> Result<PrincipalStatement, String> {
    const KNOWN: &[&str] =
        &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    only(written, KNOWN)?;
    let effect = match written.get("Effect").map(Value::as_str) {
        Some(Some("Allow")) => StatementEffect::Allow,
        Some(Some("Deny")) => StatementEffect::Deny,
        Some(other) => return Err(format!("Invalid effect: {}", other.unwrap_or_default())),
        None => return Err("Missing required field Effect".to_owned()),
    };
    let principals = match (written.get("Principal"), written.get("NotPrincipal")) {
        (Some(these), None) => Listed::These(principals(these).ok_or(INVALID_PRINCIPAL)?),
        (None, Some(all_but)) => Listed::AllBut(principals(all_but).ok_or(INVALID_PRINCIPAL)?),
        _ => return Err("Missing required field Principal".to_owned()),
    };
    let required = |these: &str, all_but: &str| {
        let found = listed(written, these, all_but).map_err(|_| "Invalid policy syntax.".to_owned())?;
        found.ok_or_else(|| format!("Missing required field {these}"))
    };
    let actions = required("Action", "NotAction")?;
    let resources = required("Resource", "NotResource")?;
    if !strings(&actions).iter().all(|action| action == "*" || action.to_ascii_lowercase().starts_with("s3:")) {
        return Err("Policy has invalid action".to_owned());
    }
    if !strings(&resources).iter().all(|resource| is_within(resource, bucket)) {
        return Err("Policy has invalid resource".to_owned());
    }
    if let (Listed::These(actions), Listed::These(resources)) = (&actions, &resources)
        && !actions.iter().all(|action| applies(action, resources))
    {
        return Err("Action does not apply to any resource(s) in statement".to_owned());
    }
    let conditions = Condition::all(written.get("Condition")).ok_or("Invalid policy syntax.")?;
    let is_federated = written.get("Principal").is_some_and(|principal| principal.get("Federated").is_some());
    let services = services(written.get("Principal").or(written.get("NotPrincipal")));
    let statement = Statement::new(effect, actions, resources, conditions);
    Ok(PrincipalStatement { principals, services, is_federated, statement })
}

fn only(written: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match written.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(format!("Unknown field {unknown}")),
        None => Ok(()),
    }
}

/// Whether a resource is the bucket, or in it.
fn is_within(resource: &str, bucket: &str) -> bool {
    let rest = resource.strip_prefix(BUCKETS).and_then(|name| name.strip_prefix(bucket));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*', '?']))
}

/// Whether an action applies to any of the resources: object actions need an object, bucket actions need a bucket.
fn applies(action: &str, resources: &[String]) -> bool {
    let name = action.to_ascii_lowercase();
    if name.contains(['*', '?']) {
        return true;
    }
    let is_of_objects = OF_OBJECTS.iter().any(|start| name.starts_with(start));
    resources.iter().any(|resource| match resource.split_once('/') {
        Some((bucket, _)) => is_of_objects || bucket.contains(['*', '?']),
        None => !is_of_objects || resource.contains(['*', '?']),
    })
}

/// The prefixes of object actions.
const OF_OBJECTS: &[&str] = &[
    "s3:abortmultipartupload",
    "s3:bypassgovernanceretention",
    "s3:deleteobject",
    "s3:getobject",
    "s3:listmultipartuploadparts",
    "s3:putobject",
    "s3:replicate",
    "s3:restoreobject",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_one(statement: &str) -> Result<ResourcePolicy, String> {
        parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), "images")
    }

    #[test]
    fn malformed_policies_are_refused_with_the_errors_of_s3() {
        let object = r#""Resource":"arn:aws:s3:::images/*""#;
        for (statement, expected) in [
            (format!(r#"{{"Principal":"*","Action":"s3:GetObject",{object}}}"#), "Missing required field Effect"),
            (
                format!(r#"{{"Effect":"allow","Principal":"*","Action":"s3:GetObject",{object}}}"#),
                "Invalid effect: allow",
            ),
            (format!(r#"{{"Effect":"Allow","Action":"s3:GetObject",{object}}}"#), "Missing required field Principal"),
            (format!(r#"{{"Effect":"Allow","Principal":"*",{object}}}"#), "Missing required field Action"),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}"#.to_owned(),
                "Missing required field Resource",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"web"}},"Action":"s3:GetObject",{object}}}"#),
                INVALID_PRINCIPAL,
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage",{object}}}"#),
                "Policy has invalid action",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#.to_owned(),
                "Policy has invalid resource",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::images2"}"#.to_owned(),
                "Policy has invalid resource",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::images"}"#
                    .to_owned(),
                "Action does not apply to any resource(s) in statement",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",{object}}}"#),
                "Action does not apply to any resource(s) in statement",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"s3:*","Colour":"red",{object}}}"#),
                "Unknown field Colour",
            ),
        ] {
            assert_eq!(parse_one(&statement).unwrap_err(), expected, "{statement}");
        }
        for text in ["", "[]", "no policy"] {
            let refused = parse(text, "images").unwrap_err();
            assert_eq!(refused, "Policies must be valid JSON and the first byte must be '{'", "{text}");
        }
        assert_eq!(parse("{}", "images").unwrap_err(), "Missing required field Statement");
        let old = r#"{"Version":"2013-10-17","Statement":[]}"#;
        assert_eq!(parse(old, "images").unwrap_err(), "The policy must contain a valid version string");
    }
}
