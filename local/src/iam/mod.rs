//! IAM: winterbaume's roles and instance profiles, on disk, with AWS's answers.

mod managed;
mod rules;
mod seen;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use winterbaume_iam::IamService;
use winterbaume_iam::views::{IamStateView, RoleView};

use crate::answer::{Protocol, Refusal, Response, escape, not_implemented};
use crate::backend::{Backend, straight};
use crate::call::{Call, Request};
use crate::compute;
use crate::credentials::{Identity, user_arn};
use crate::faults::Faults;
use crate::pages;
use crate::permissions::{Caller, Grants, Keys, ResourcePolicies};
use crate::taken::{self, Takes};
use seen::{Role, Seen};

/// The roles and what hangs on them.
pub(crate) struct Iam {
    backend: Arc<Backend<IamService>>,
    faults: Arc<Faults>,
    seen: RwLock<Seen>,
    /// What the buckets and functions of each region say about callers.
    resource_policies: RwLock<BTreeMap<String, Arc<ResourcePolicies>>>,
    /// Held exclusively by calls that change something: no change is visible before it is on disk.
    changing: tokio::sync::RwLock<()>,
}

impl Iam {
    pub(crate) async fn open(dir: &Path, region: &str, faults: Arc<Faults>) -> anyhow::Result<Iam> {
        let backend = Backend::open(IamService::new(), region, dir.join("iam.json")).await?;
        let iam = Iam {
            backend,
            faults,
            seen: RwLock::default(),
            resource_policies: RwLock::default(),
            changing: tokio::sync::RwLock::default(),
        };
        // What was there before this server is known everywhere.
        let view = iam.backend.view().await;
        iam.seen.write().learn(&view, |_| std::time::Duration::ZERO);
        Ok(iam)
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        let Some((_, takes)) = OPERATIONS.iter().find(|(name, _)| *name == call.operation) else {
            return not_implemented(Protocol::Query, "iam", &call.operation);
        };
        let answer = match taken::check_form(takes, &request.form()) {
            Ok(()) => self.act(call, request).await,
            Err(text) => Err(taken::refusal(text)),
        };
        answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Query))
    }

    async fn act(&self, call: &Call, request: &Request) -> Result<Response, Refusal> {
        let form = request.form();
        rules::check(&call.operation, &form)?;
        if !call.mutating() {
            let _unchanged = self.changing.read().await;
            return self.pass(call, request, form).await;
        }
        let _alone = self.changing.write().await;
        let before = self.backend.view().await;
        let mut answer = self.pass(call, request, form).await?;
        if answer.status().is_success() {
            self.respell_ids(&mut answer).await?;
            self.keep(before).await?;
        }
        Ok(answer)
    }

    /// Gives what winterbaume has just made the ids that IAM would: a prefix that tells the kind, and capital letters.
    async fn respell_ids(&self, answer: &mut Response) -> Result<(), Refusal> {
        let mut view = self.backend.view().await;
        let roles = view.roles.values_mut().map(|role| (&mut role.role_id, "AROA"));
        let profiles = view.instance_profiles.values_mut().map(|profile| (&mut profile.instance_profile_id, "AIPA"));
        let policies = view.policies.values_mut().map(|policy| (&mut policy.policy_id, "ANPA"));
        let mut changed = Vec::new();
        for (id, prefix) in roles.chain(profiles).chain(policies) {
            let fitting = unique_id(prefix, id);
            if fitting != *id {
                changed.push((std::mem::replace(id, fitting.clone()), fitting));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.backend.replace(view).await.map_err(failed)?;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        *answer.body_mut() = changed.iter().fold(body, |body, (old, new)| body.replace(old.as_str(), new)).into();
        Ok(())
    }

    /// Writes down what there is now and lets others learn of it; what cannot be written is `before` again.
    async fn keep(&self, before: IamStateView) -> Result<(), Refusal> {
        if let Err(fault) = self.backend.save().await {
            tracing::error!("the roles could not be written: {fault:#}");
            self.backend.replace(before).await.map_err(failed)?;
            return Err(failed(fault));
        }
        let view = self.backend.view().await;
        let mut seen = self.seen.write();
        seen.learn(&view, |name| self.faults.iam_lag(name));
        Ok(())
    }

    /// Hands the call to winterbaume, and makes of its answer the one that AWS gives.
    async fn pass(
        &self,
        call: &Call,
        request: &Request,
        mut form: BTreeMap<String, String>,
    ) -> Result<Response, Refusal> {
        let view = self.backend.view().await;
        // Names are unique without regard to case (docs/aws.md §1).
        respell(&mut form, "RoleName", view.roles.keys());
        respell(&mut form, "InstanceProfileName", view.instance_profiles.keys());
        rules::check_limits(&call.operation, &form, &view)?;
        if matches!(call.operation.as_str(), "CreateRole" | "UpdateAssumeRolePolicy") {
            rules::check_principals(&form, |arn| self.knows(arn))?;
        }
        if call.operation == "AttachRolePolicy"
            && let Some(policy) = form.get("PolicyArn").and_then(|arn| managed::policy(arn))
            && !view.policies.contains_key(&policy.arn)
        {
            let mut view = view.clone();
            view.policies.insert(policy.arn.clone(), policy);
            self.backend.replace(view).await.map_err(failed)?;
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let passed = Request { body: body.into(), query: String::new(), ..request.clone() };
        let mut answer = self.backend.call(&passed).await;
        if answer.status().is_success() {
            encode_documents(&mut answer);
        } else {
            reword(&mut answer);
        }
        if call.operation == "ListPolicies" {
            let asked =
                |field: &str, value: &str| form.get(field).is_some_and(|given| given.eq_ignore_ascii_case(value));
            let (ours, attached) = (asked("Scope", "Local"), asked("OnlyAttached", "true"));
            pages::retain(&mut answer, "Policies", |policy| {
                (!ours || !policy.contains("<Arn>arn:aws:iam::aws:"))
                    && (!attached || !policy.contains("<AttachmentCount>0<"))
            });
        }
        if let Some(role) = form.get("RoleName").and_then(|name| view.roles.get(name))
            && call.operation == "GetRole"
        {
            complete(&mut answer, role);
        }
        Ok(answer)
    }

    /// Somebody who calls a region, with what its policies let it do there at this moment.
    pub(crate) fn caller(&self, identity: &Identity, region: &str) -> Caller {
        match identity.role() {
            Some(role) => self.in_role(role, identity.arn(), identity.user_id(), region),
            None => Caller::owner(identity.arn(), region),
        }
    }

    /// A session of a role that calls a region.
    pub(crate) fn in_role(&self, role: &str, arn: String, user_id: String, region: &str) -> Caller {
        Caller::in_role(arn, user_id, region, self.grants(role), self.resource_policies(region))
    }

    /// What the buckets and functions of a region say about callers.
    pub(crate) fn resource_policies(&self, region: &str) -> Arc<ResourcePolicies> {
        let known = self.resource_policies.read().get(region).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.resource_policies.write();
            all.entry(region.to_owned()).or_default().clone()
        })
    }

    fn grants(&self, role: &str) -> Option<Arc<Grants>> {
        self.seen().role(role).map(|role| role.grants.clone())
    }

    /// The instance profile given by name or ARN, if it and its role are known to others.
    pub(crate) fn profile(&self, profile: &str) -> Option<compute::Profile> {
        self.role_of_profile(profile)?;
        let name = profile.rsplit('/').next().unwrap_or(profile);
        self.seen().profile(name).map(|known| compute::Profile { arn: known.arn.clone(), id: known.id.clone() })
    }

    /// The role inside an instance profile given by name or ARN, if it is known to others.
    pub(crate) fn role_of_profile(&self, profile: &str) -> Option<String> {
        let name = profile.rsplit('/').next().unwrap_or(profile);
        let seen = self.seen();
        let role = seen.profile(name)?.role.clone()?;
        seen.role(&role).map(|_| role)
    }

    /// The ARN of the role with this name.
    pub(crate) fn role_arn(&self, name: &str) -> Option<String> {
        self.grants(name).map(|grants| grants.role_arn.clone())
    }

    /// Whether the role given by ARN exists and lets `service` take it on.
    pub(crate) fn trusts(&self, role: &str, service: &str) -> bool {
        self.with_role(role, |role| role.trust.lets_service(service)) == Some(true)
    }

    /// Whether the role given by ARN exists and lets somebody of this account take it on, who says this of the call.
    pub(crate) fn trusts_principal(&self, role: &str, principal: &str, keys: &Keys) -> bool {
        self.with_role(role, |role| role.trust.lets_principal(principal, keys)) == Some(true)
    }

    /// How many seconds a session of the role given by ARN may be long.
    pub(crate) fn longest_session(&self, role: &str) -> Option<i64> {
        self.with_role(role, |role| role.longest_session)
    }

    /// Whether a principal with this ARN exists.
    pub(crate) fn knows(&self, arn: &str) -> bool {
        arn == user_arn() || self.with_role(arn, |_| ()).is_some()
    }

    /// Looks at the role with this ARN, if there is one.
    fn with_role<T>(&self, arn: &str, look: impl FnOnce(&Role) -> T) -> Option<T> {
        let seen = self.seen();
        seen.role(arn.rsplit('/').next()?).filter(|role| role.grants.role_arn == arn).map(look)
    }

    fn seen(&self) -> RwLockReadGuard<'_, Seen> {
        self.seen.read()
    }
}

/// An id as IAM makes them: the prefix of its kind and capital letters and digits (IAM user guide, "Unique identifiers").
fn unique_id(prefix: &str, id: &str) -> String {
    let is_fitting = id.starts_with(prefix) && !id.bytes().any(|byte| byte.is_ascii_lowercase());
    if is_fitting {
        return id.to_owned();
    }
    let rest = id.strip_prefix(prefix).unwrap_or(&id[id.len().saturating_sub(17)..]);
    format!("{prefix}{}", rest.to_ascii_uppercase())
}

fn failed(fault: anyhow::Error) -> Refusal {
    Refusal::new(500, "ServiceFailure", format!("the local AWS cannot write its roles: {fault:#}"))
}

/// Sentences that winterbaume words otherwise than IAM, which clients compare (docs/aws.md §2.3).
const WORDS: &[(&str, &str)] = &[
    ("<Message>Role with name ", "<Message>The role with name "),
    ("<Message>Instance profile ", "<Message>Instance Profile "),
];

/// Why something is not deleted: IAM does not say of what it speaks.
const DELETIONS: &[(&str, &str)] = &[
    ("must detach all policies first", "Cannot delete entity, must detach all policies first."),
    ("must delete all inline policies first", "Cannot delete entity, must delete policies first."),
    (
        "must remove role from all instance profiles first",
        "Cannot delete entity, must remove roles from instance profile first.",
    ),
    ("must remove all roles first", "Cannot delete entity, must remove roles from instance profile first."),
];

fn reword(answer: &mut Response) {
    let mut body = String::from_utf8_lossy(answer.body()).into_owned();
    for (theirs, ours) in WORDS {
        if body.contains("cannot be found") {
            body = body.replace(theirs, ours);
        }
    }
    let found = DELETIONS.iter().find(|(part, _)| body.contains(part));
    if let Some((_, text)) = found
        && let Some((before, rest)) = body.split_once("<Message>")
        && let Some((_, after)) = rest.split_once("</Message>")
    {
        body = format!("{before}<Message>{text}</Message>{after}");
    }
    *answer.body_mut() = body.into();
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

/// Policies come back percent-encoded (docs/aws.md §6.3).
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

/// What is answered, with the parameters that have an effect; everything else is refused by name.
pub(crate) const OPERATIONS: &[(&str, Takes)] = &[
    ("AddRoleToInstanceProfile", "InstanceProfileName RoleName"),
    ("AttachRolePolicy", "PolicyArn RoleName"),
    ("CreateInstanceProfile", "InstanceProfileName Path Tags.*"),
    ("CreatePolicy", "Description Path PolicyDocument PolicyName Tags.*"),
    ("CreateRole", "AssumeRolePolicyDocument Description MaxSessionDuration Path PermissionsBoundary RoleName Tags.*"),
    ("CreateServiceLinkedRole", "AWSServiceName Description"),
    ("DeleteInstanceProfile", "InstanceProfileName"),
    ("DeletePolicy", "PolicyArn"),
    ("DeleteRole", "RoleName"),
    ("DeleteRolePolicy", "PolicyName RoleName"),
    ("DetachRolePolicy", "PolicyArn RoleName"),
    ("GetAccountSummary", ""),
    ("GetInstanceProfile", "InstanceProfileName"),
    ("GetPolicy", "PolicyArn"),
    ("GetPolicyVersion", "PolicyArn VersionId"),
    ("GetRole", "RoleName"),
    ("GetRolePolicy", "PolicyName RoleName"),
    ("ListAccountAliases", "Marker MaxItems"),
    ("ListAttachedRolePolicies", "Marker MaxItems RoleName"),
    ("ListInstanceProfileTags", "InstanceProfileName Marker MaxItems"),
    ("ListInstanceProfiles", "Marker MaxItems PathPrefix"),
    ("ListInstanceProfilesForRole", "Marker MaxItems RoleName"),
    ("ListPolicies", "Marker MaxItems OnlyAttached PathPrefix PolicyUsageFilter=PermissionsPolicy Scope=All|Local"),
    ("ListPolicyVersions", "Marker MaxItems PolicyArn"),
    ("ListRolePolicies", "Marker MaxItems RoleName"),
    ("ListRoleTags", "Marker MaxItems RoleName"),
    ("ListRoles", "Marker MaxItems PathPrefix"),
    ("PutRolePolicy", "PolicyDocument PolicyName RoleName"),
    ("RemoveRoleFromInstanceProfile", "InstanceProfileName RoleName"),
    ("TagInstanceProfile", "InstanceProfileName Tags.*"),
    ("TagRole", "RoleName Tags.*"),
    ("UntagInstanceProfile", "InstanceProfileName TagKeys"),
    ("UntagRole", "RoleName TagKeys"),
    ("UpdateAssumeRolePolicy", "PolicyDocument RoleName"),
    ("UpdateRole", "Description MaxSessionDuration RoleName"),
    ("UpdateRoleDescription", "Description RoleName"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_the_prefix_of_its_kind() {
        for (prefix, id, expected) in [
            ("AROA", "AROAabcXYZ0123456789a", "AROAABCXYZ0123456789A"),
            ("ANPA", "Aabcdefghijklmnopqrst", "ANPADEFGHIJKLMNOPQRST"),
            ("AIPA", "AIPAABC", "AIPAABC"),
        ] {
            assert_eq!(unique_id(prefix, id), expected);
        }
    }

    #[test]
    fn documents_are_percent_encoded_and_nothing_else_is() {
        let body = "<A>{}</A><PolicyDocument>{&quot;a&quot;}</PolicyDocument><A>{}</A>";
        let encoded = "<A>{}</A><PolicyDocument>%7B%22a%22%7D</PolicyDocument><A>{}</A>";
        assert_eq!(encode_element(body, "PolicyDocument"), encoded);
    }
}
