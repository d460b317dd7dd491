//! IAM: winterbaume's roles and instance profiles, kept on disk, with the answers AWS gives.

use std::collections::BTreeMap;
use std::ops::Not;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use winterbaume_iam::IamService;
use winterbaume_iam::views::RoleView;

use crate::answer::{Protocol, Refusal, Response, escape, not_implemented};
use crate::backend::{Backend, straight};
use crate::call::{Call, Request};

/// The roles and what hangs on them.
pub(crate) struct Iam {
    backend: Arc<Backend<IamService>>,
}

impl Iam {
    pub(crate) async fn open(dir: &Path, region: &str) -> anyhow::Result<Iam> {
        Ok(Iam { backend: Backend::open(IamService::new(), region, dir.join("iam.json")).await? })
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        if !OPERATIONS.contains(&call.operation.as_str()) {
            return not_implemented(Protocol::Query, "iam", &call.operation);
        }
        let answer = self.act(call, request).await;
        answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Query))
    }

    async fn act(&self, call: &Call, request: &Request) -> Result<Response, Refusal> {
        let mut form = request.form();
        let view = self.backend.view().await;
        // Names are unique without regard to case (aws-facts §1).
        respell(&mut form, "RoleName", view.roles.keys());
        respell(&mut form, "InstanceProfileName", view.instance_profiles.keys());
        check_documents(&form)?;
        if call.operation == "AddRoleToInstanceProfile" {
            let profile = form.get("InstanceProfileName").and_then(|name| view.instance_profiles.get(name));
            if profile.is_some_and(|profile| !profile.roles.is_empty()) {
                let text = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
                return Err(Refusal::new(409, "LimitExceeded", text));
            }
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let passed = Request { body: body.into(), query: String::new(), ..request.clone() };
        let mut answer = self.backend.call(&passed).await;
        encode_documents(&mut answer);
        if let Some(role) = form.get("RoleName").and_then(|name| view.roles.get(name))
            && call.operation == "GetRole"
        {
            complete(&mut answer, role);
        }
        if call.mutating() && answer.status().is_success() {
            let saved = self.backend.save().await;
            saved.map_err(|fault| Refusal::new(500, "ServiceFailure", fault.to_string()))?;
        }
        Ok(answer)
    }
}

/// winterbaume leaves a role's description and tags out.
fn complete(answer: &mut Response, role: &RoleView) {
    let tags: BTreeMap<&String, &String> = role.tags.iter().collect();
    let tags: String = tags
        .into_iter()
        .map(|(key, value)| {
            format!("<member><Key>{}</Key><Value>{}</Value></member>", escape(&straight(key)), escape(&straight(value)))
        })
        .collect();
    let mut facts = String::new();
    if !role.description.is_empty() {
        facts += &format!("<Description>{}</Description>", escape(&straight(&role.description)));
    }
    if !tags.is_empty() {
        facts += &format!("<Tags>{tags}</Tags>");
    }
    let body = String::from_utf8_lossy(answer.body()).replacen("</Role>", &format!("{facts}</Role>"), 1);
    *answer.body_mut() = body.into();
}

/// Gives a name the spelling under which it exists.
fn respell<'a>(form: &mut BTreeMap<String, String>, field: &str, existing: impl Iterator<Item = &'a String>) {
    if let Some(name) = form.get_mut(field)
        && let Some(known) = existing.into_iter().find(|known| known.eq_ignore_ascii_case(name))
    {
        name.clone_from(known);
    }
}

fn check_documents(form: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let broken = DOCUMENTS
        .iter()
        .filter_map(|name| form.get(*name))
        .any(|document| serde_json::from_str::<Value>(document).is_ok_and(|document| document.is_object()).not());
    if broken {
        return Err(Refusal::new(400, "MalformedPolicyDocument", "This policy contains invalid Json"));
    }
    Ok(())
}

/// Policies come back percent-encoded (aws-facts §6.3).
fn encode_documents(answer: &mut Response) {
    let mut body = String::from_utf8_lossy(answer.body()).into_owned();
    for name in ["AssumeRolePolicyDocument", "PolicyDocument", "Document"] {
        body = encode_element(&body, name);
    }
    *answer.body_mut() = body.into();
}

fn encode_element(body: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut parts = body.split(&open);
    let mut encoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (document, rest) = part.split_once(&close).unwrap_or((part, ""));
        let plain = quick_xml::escape::unescape(document).unwrap_or_default();
        let document = utf8_percent_encode(&plain, NON_ALPHANUMERIC);
        encoded += &format!("{open}{document}{close}{rest}");
    }
    encoded
}

/// The fields that hold policies.
const DOCUMENTS: &[&str] = &["AssumeRolePolicyDocument", "PolicyDocument"];

impl Iam {
    /// The role inside an instance profile given by name or ARN.
    pub(crate) async fn role_of_profile(&self, profile: &str) -> Option<String> {
        let name = profile.rsplit('/').next().unwrap_or(profile);
        let view = self.backend.view().await;
        let found = view.instance_profiles.values().find(|found| found.name == name)?;
        found.roles.first().cloned()
    }

    /// Whether the role given by ARN exists and lets `service` take it on.
    pub(crate) async fn trusts(&self, role: &str, service: &str) -> bool {
        let view = self.backend.view().await;
        let found = view.roles.values().find(|found| found.arn == role);
        found.is_some_and(|found| allows(&found.assume_role_policy_document, service))
    }
}

/// Whether one of the statements of a trust policy names the service.
fn allows(policy: &str, service: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(policy).decode_utf8_lossy().into_owned();
    let policy: Value = serde_json::from_str(policy).or_else(|_| serde_json::from_str(&decoded)).unwrap_or_default();
    let names = |value: &Value| match value {
        Value::Array(values) => values.iter().any(|value| value == service),
        value => value == service,
    };
    many(&policy["Statement"])
        .iter()
        .any(|statement| statement["Effect"] == "Allow" && names(&statement["Principal"]["Service"]))
}

/// Policies may leave out the brackets around a single statement.
fn many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

/// What is answered; everything else is refused by name.
const OPERATIONS: &[&str] = &[
    "AddRoleToInstanceProfile",
    "AttachRolePolicy",
    "CreateInstanceProfile",
    "CreatePolicy",
    "CreateRole",
    "CreateServiceLinkedRole",
    "DeleteInstanceProfile",
    "DeletePolicy",
    "DeleteRole",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "GetAccountSummary",
    "GetInstanceProfile",
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "GetRolePolicy",
    "ListAccountAliases",
    "ListAttachedRolePolicies",
    "ListInstanceProfileTags",
    "ListInstanceProfiles",
    "ListInstanceProfilesForRole",
    "ListPolicies",
    "ListPolicyVersions",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "PutRolePolicy",
    "RemoveRoleFromInstanceProfile",
    "TagInstanceProfile",
    "TagRole",
    "UntagInstanceProfile",
    "UntagRole",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
    "UpdateRoleDescription",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_policy_names_services_alone_or_in_a_list() {
        let policy =
            |service: &str| format!(r#"{{"Statement":{{"Effect":"Allow","Principal":{{"Service":{service}}}}}}}"#);
        assert!(allows(&policy("\"lambda.amazonaws.com\""), "lambda.amazonaws.com"));
        let list = policy("[\"ec2.amazonaws.com\",\"lambda.amazonaws.com\"]");
        assert!(allows(&list, "lambda.amazonaws.com"));
        assert!(!allows(&policy("\"ec2.amazonaws.com\""), "lambda.amazonaws.com"));
        assert!(!allows("no policy", "lambda.amazonaws.com"));
    }

    #[test]
    fn documents_are_percent_encoded_and_nothing_else_is() {
        let body = "<A>{}</A><PolicyDocument>{&quot;a&quot;}</PolicyDocument><A>{}</A>";
        let encoded = "<A>{}</A><PolicyDocument>%7B%22a%22%7D</PolicyDocument><A>{}</A>";
        assert_eq!(encode_element(body, "PolicyDocument"), encoded);
    }
}
