//! Validates requests to IAM: names, lengths, documents and quotas (docs/aws.md §1 and §6).

use super::state::State;
use crate::permissions::{Policy, Trust};
use kit::answer::Refusal;
use kit::call::Form;
use kit::tags::{Flaw, Rules, STRICT};

/// The name fields with their maximum lengths, and the characters they may have besides ASCII letters and digits.
const NAMES: &[(&str, usize)] = &[("RoleName", 64), ("InstanceProfileName", 128), ("PolicyName", 128)];
const LETTERS: &[u8] = b"+=,.@_-";

/// Checks that the fields of a call are valid.
pub(super) fn check(operation: &str, form: &Form) -> Result<(), Refusal> {
    for (field, longest) in NAMES {
        if let Some(name) = form.get(*field) {
            check_name(field, name, *longest)?;
        }
    }
    if let Some(path) = form.get("Path") {
        check_path(path)?;
    }
    if let Some(text) = form.get("Description").filter(|text| text.chars().count() > 1000) {
        return Err(too_long("description", text, 1000));
    }
    // Accepting a boundary without enforcing it would let a role do what it may not do on AWS.
    if form.contains_key("PermissionsBoundary") {
        let text = "the local AWS has no permissions boundaries";
        return Err(Refusal::new(501, "NotImplementedException", text));
    }
    check_session(form)?;
    check_documents(operation, form)
}

fn check_name(field: &str, name: &str, longest: usize) -> Result<(), Refusal> {
    let label = label(field);
    if name.is_empty() {
        return Err(invalid(format!(
            "1 validation error detected: Value '' at '{label}' failed to satisfy constraint: Member must have length greater than or equal to 1"
        )));
    }
    if name.chars().count() > longest {
        return Err(too_long(&label, name, longest));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || LETTERS.contains(&byte)) {
        return Err(invalid(format!(
            "The specified value for {label} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Refusal> {
    let visible = path.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if path.len() > 512 {
        return Err(too_long("path", path, 512));
    }
    match path.starts_with('/') && path.ends_with('/') && !path.contains("//") && visible {
        true => Ok(()),
        false => Err(invalid(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.".to_owned(),
        )),
    }
}

fn check_session(form: &Form) -> Result<(), Refusal> {
    let Some(text) = form.get("MaxSessionDuration") else { return Ok(()) };
    let (bound, side) = match text.parse::<u32>() {
        Ok(3600..=43_200) => return Ok(()),
        Ok(43_201..) => (43_200, "less"),
        _ => (3600, "greater"),
    };
    Err(invalid(format!(
        "1 validation error detected: Value '{text}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value {side} than or equal to {bound}"
    )))
}

fn check_documents(operation: &str, form: &Form) -> Result<(), Refusal> {
    let malformed = |text| Refusal::new(400, "MalformedPolicyDocument", text);
    let trust = form.get("AssumeRolePolicyDocument");
    let document = form.get("PolicyDocument");
    let (trust, policy) = match operation {
        "UpdateAssumeRolePolicy" => (document, None),
        _ => (trust, document),
    };
    if let Some(text) = trust {
        Trust::parse(text).map_err(malformed)?;
        if letters(text) > TRUST_POLICY {
            return Err(exceeded(&format!("Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY}")));
        }
    }
    if let Some(text) = policy {
        let policy = Policy::parse(text).map_err(malformed)?;
        if operation == "CreatePolicy" && letters(text) > MANAGED_POLICY {
            return Err(exceeded(&format!("Cannot exceed quota for PolicySize: {MANAGED_POLICY}")));
        }
        if operation == "CreatePolicy" && !policy.is_current {
            return Err(malformed("Policy document must be version 2012-10-17 or greater.".to_owned()));
        }
    }
    Ok(())
}

/// Checks that a trust policy names only users and roles that exist. One that was just created may not be visible yet,
/// and then the same call succeeds later (docs/aws.md §2.3).
pub(super) fn check_principals(form: &Form, is_there: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let text = form.get("AssumeRolePolicyDocument").or_else(|| form.get("PolicyDocument"));
    let Some(Ok(trust)) = text.map(|text| Trust::parse(text)) else { return Ok(()) };
    match trust.named().find(|arn| !is_there(arn)) {
        Some(arn) => {
            let text = format!("Invalid principal in policy: \"AWS\":\"{arn}\"");
            Err(Refusal::new(400, "MalformedPolicyDocument", text))
        }
        None => Ok(()),
    }
}

/// Checks a call that changes something against the rules for tags and the quotas of its role. Service-linked roles
/// cannot be changed.
pub(super) fn check_limits(operation: &str, form: &Form, state: &State) -> Result<(), Refusal> {
    check_tags(operation, form, state)?;
    let role = form.get("RoleName").and_then(|name| state.role(name));
    let Some(role) = role else { return Ok(()) };
    if role.path.starts_with("/aws-service-role/") {
        let name = &role.name;
        let text = format!(
            "Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
        );
        return Err(Refusal::new(400, "UnmodifiableEntity", text));
    }
    if let ("PutRolePolicy", Some(document)) = (operation, form.get("PolicyDocument")) {
        let others = role.inline_policies.iter().filter(|policy| Some(&policy.policy_name) != form.get("PolicyName"));
        let size: usize = others.map(|policy| letters(&policy.policy_document)).sum();
        if size + letters(document) > INLINE_POLICIES {
            let text = format!("Maximum policy size of {INLINE_POLICIES} bytes exceeded for role {}", role.name);
            return Err(exceeded(&text));
        }
    }
    Ok(())
}

/// Tag keys are case-insensitive, unlike those of other services.
const TAGS: Rules = Rules { ignores_case: true, ..STRICT };

/// Checks that a call's tags can be added. The errors are worded as by IAM (`API:iam.TagRole`), which publishes none
/// for reserved keys.
fn check_tags(operation: &str, form: &Form, state: &State) -> Result<(), Refusal> {
    let field = |at: usize, name: &str| form.get(&format!("Tags.member.{at}.{name}"));
    let given = (1..).map_while(|at| match (field(at, "Key"), field(at, "Value")) {
        (None, None) => None,
        (key, value) => Some((key.map_or("", String::as_str), value.map_or("", String::as_str))),
    });
    let given: Vec<(&str, &str)> = given.collect();
    let named = |name: &str| form.get(name);
    let there = match operation {
        "TagRole" => named("RoleName").and_then(|name| state.role(name)).map(|role| &role.tags),
        "TagInstanceProfile" => named("InstanceProfileName").and_then(|name| state.profile(name)).map(|one| &one.tags),
        _ => None,
    };
    let there = there.into_iter().flatten().map(|(key, _)| key.as_str());
    TAGS.check(given, there).map_err(|flaw| match flaw {
        Flaw::Twice(_) => {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            Refusal::new(400, "InvalidInput", text)
        }
        Flaw::Reserved(key) => {
            Refusal::new(400, "InvalidInput", format!("Tag keys that begin with aws: are reserved: {key}"))
        }
        Flaw::TooMany => exceeded("The number of tags has reached the maximum limit."),
        flaw => invalid(flaw.in_list("tags").unwrap_or_default()),
    })
}

/// The maximum total size of a role's inline policies, in characters without white space (docs/aws.md §6.5).
const INLINE_POLICIES: usize = 10_240;
/// The maximum size of a trust policy and of a managed policy, counted the same way.
const TRUST_POLICY: usize = 2_048;
const MANAGED_POLICY: usize = 6_144;

fn letters(document: &str) -> usize {
    document.chars().filter(|letter| !letter.is_whitespace()).count()
}

fn exceeded(text: &str) -> Refusal {
    Refusal::new(409, "LimitExceeded", text)
}

fn too_long(label: &str, value: &str, longest: usize) -> Refusal {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{label}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
    ))
}

fn invalid(text: String) -> Refusal {
    Refusal::new(400, "ValidationError", text)
}

/// The name of a field in error messages, which begins with a lower-case letter.
pub(super) fn label(field: &str) -> String {
    field[..1].to_ascii_lowercase() + &field[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(field: &str, value: &str) -> Option<String> {
        refused_by("CreateRole", field, value)
    }

    fn refused_by(operation: &str, field: &str, value: &str) -> Option<String> {
        let form = [(field.to_owned(), value.to_owned())].into();
        check(operation, &form).err().map(|refusal| refusal.message)
    }

    #[test]
    fn a_policy_is_limited_to_its_quota_without_white_space() {
        let document = |rest: &str, letters: usize| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"SID","Effect":"Allow",{rest}}}]}}"#);
            let sid = "a".repeat(letters - text.len() + "SID".len());
            text.replace("SID", &sid).replace(',', ", ")
        };
        let trust =
            |letters| document(r#""Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole""#, letters);
        let policy = |letters| document(r#""Action":"s3:GetObject","Resource":"*""#, letters);
        for (operation, field, fits, exceeds, message) in [
            ("CreateRole", "AssumeRolePolicyDocument", trust(2048), trust(2049), "ACLSizePerRole: 2048"),
            ("CreatePolicy", "PolicyDocument", policy(6144), policy(6145), "PolicySize: 6144"),
        ] {
            assert_eq!(refused_by(operation, field, &fits), None, "{operation}");
            let refusal = refused_by(operation, field, &exceeds);
            assert_eq!(refusal, Some(format!("Cannot exceed quota for {message}")), "{operation}");
        }
    }

    #[test]
    fn names_paths_and_sessions_have_their_limits() {
        for (field, good) in [
            ("RoleName", "web+=,.@_-"),
            ("RoleName", &"a".repeat(64)),
            ("InstanceProfileName", &"a".repeat(128)),
            ("Path", "/"),
            ("Path", "/deployer/postagram/"),
            ("MaxSessionDuration", "3600"),
        ] {
            assert_eq!(refused(field, good), None, "{field} {good}");
        }
        for (field, bad, said) in [
            ("RoleName", "", "'roleName' failed to satisfy constraint: Member must have length greater"),
            ("RoleName", &"a".repeat(65), "Member must have length less than or equal to 64"),
            ("RoleName", "a b", "The specified value for roleName is invalid."),
            ("RoleName", "é", "The specified value for roleName is invalid."),
            ("InstanceProfileName", &"a".repeat(129), "Member must have length less than or equal to 128"),
            ("PolicyName", "a/b", "The specified value for policyName is invalid."),
            ("Path", "deployer/", "The specified value for path is invalid."),
            ("Path", "/a", "The specified value for path is invalid."),
            ("MaxSessionDuration", "60", "Member must have value greater than or equal to 3600"),
            ("MaxSessionDuration", "90000", "Member must have value less than or equal to 43200"),
            ("AssumeRolePolicyDocument", "{", "This policy contains invalid Json"),
            ("PermissionsBoundary", "arn:aws:iam::aws:policy/PowerUserAccess", "has no permissions boundaries"),
        ] {
            let refusal = refused(field, bad).unwrap_or_default();
            assert!(refusal.contains(said), "{field} {bad}: {refusal}");
        }
    }
}
