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
use winterbaume_iam::views::IamStateView;

use crate::ACCOUNT;
use crate::answer::{Protocol, Refusal, Response, escape};
use crate::backend::{Backend, straight};
use crate::call::Effect::{Reads, Writes};
use crate::call::{Asked, Call, Form, Need, Needs, Operation, Page, Request, Rows, Style};
use crate::compute;
use crate::credentials::{Identity, user_arn};
use crate::faults::Faults;
use crate::pages;
use crate::permissions::{Caller, Grants, Keys, ResourcePolicies};
use crate::taken;
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

    /// Answers a call; nothing means that there is no such operation.
    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        let form = call.input.form();
        let answer = match taken::check_form(operation.takes, form) {
            Ok(()) => self.act(operation, form, request).await,
            Err(text) => Err(taken::refusal(text)),
        };
        Some(answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Query)))
    }

    async fn act(&self, operation: &Operation<Run>, form: &Form, request: &Request) -> Result<Response, Refusal> {
        rules::check(operation.row.name, form)?;
        if operation.row.effect == Reads {
            let _unchanged = self.changing.read().await;
            return self.pass(operation, form.clone(), request).await;
        }
        let _alone = self.changing.write().await;
        let before = self.backend.view().await;
        let mut answer = self.pass(operation, form.clone(), request).await?;
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
        Operation { row, run, .. }: &Operation<Run>,
        mut form: Form,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let view = self.backend.view().await;
        // Names are unique without regard to case (docs/aws.md §1).
        respell(&mut form, "RoleName", view.roles.keys());
        respell(&mut form, "InstanceProfileName", view.instance_profiles.keys());
        rules::check_limits(row.name, &form, &view)?;
        if let Some(view) = (run.before)(self, &form, &view)? {
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
        (run.after)(&mut answer, &form, &view);
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

/// A trust policy names only who is there.
fn check_principals(iam: &Iam, form: &Form, _view: &IamStateView) -> Result<Option<IamStateView>, Refusal> {
    rules::check_principals(form, |arn| iam.knows(arn))?;
    Ok(None)
}

/// A policy of AWS's own is there once it is attached.
fn bring_managed(_iam: &Iam, form: &Form, view: &IamStateView) -> Result<Option<IamStateView>, Refusal> {
    let policy = form.get("PolicyArn").and_then(|arn| managed::policy(arn));
    Ok(policy.filter(|policy| !view.policies.contains_key(&policy.arn)).map(|policy| {
        let mut view = view.clone();
        view.policies.insert(policy.arn.clone(), policy);
        view
    }))
}

/// winterbaume lists every policy.
fn filter(answer: &mut Response, form: &Form, _view: &IamStateView) {
    let asked = |field: &str, value: &str| form.get(field).is_some_and(|given| given.eq_ignore_ascii_case(value));
    let (ours, attached) = (asked("Scope", "Local"), asked("OnlyAttached", "true"));
    pages::retain(answer, "Policies", |policy| {
        (!ours || !policy.contains("<Arn>arn:aws:iam::aws:")) && (!attached || !policy.contains("<AttachmentCount>0<"))
    });
}

/// winterbaume leaves a role's description and tags out.
fn complete(answer: &mut Response, form: &Form, view: &IamStateView) {
    let Some(role) = form.get("RoleName").and_then(|name| view.roles.get(name)) else { return };
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
fn respell<'a>(form: &mut Form, field: &str, existing: impl Iterator<Item = &'a String>) {
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

/// What an operation does beside what winterbaume does.
#[derive(Clone, Copy)]
struct Run {
    /// Looks at what there is, which another state may replace first.
    before: fn(&Iam, &Form, &IamStateView) -> Result<Option<IamStateView>, Refusal>,
    /// Completes the answer.
    after: fn(&mut Response, &Form, &IamStateView),
}

impl Run {
    const PLAIN: Run = Run { before: |_, _, _| Ok(None), after: |_, _, _| () };

    const fn before(before: fn(&Iam, &Form, &IamStateView) -> Result<Option<IamStateView>, Refusal>) -> Run {
        Run { before, after: Run::PLAIN.after }
    }

    const fn after(after: fn(&mut Response, &Form, &IamStateView)) -> Run {
        Run { before: Run::PLAIN.before, after }
    }
}

const ROLE: Needs = Needs::Of(|asked| vec![asked.own(role_of(asked))]);
const PROFILE: Needs = Needs::Of(|asked| vec![asked.own(arn_of(asked, "instance-profile", "InstanceProfileName"))]);
const POLICY: Needs = Needs::On("{PolicyArn}");
const NEW_POLICY: Needs = Needs::Of(|asked| vec![asked.own(arn_of(asked, "policy", "PolicyName"))]);
const ROLES: Needs = Needs::On("arn:aws:iam::{account}:role/");
const PROFILES: Needs = Needs::On("arn:aws:iam::{account}:instance-profile/");
const POLICIES: Needs = Needs::On("arn:aws:iam::{account}:policy/");

/// The ARN of what a parameter names, with the path that it has or is to have.
fn arn_of(asked: &Asked, kind: &str, name: &str) -> String {
    let path = asked.call.input.text("Path").unwrap_or("/");
    match asked.call.input.text(name) {
        Some(name) => format!("arn:aws:iam::{ACCOUNT}:{kind}{path}{name}"),
        None => "*".to_owned(),
    }
}

fn role_of(asked: &Asked) -> String {
    let known = asked.call.input.text("RoleName").and_then(|name| (asked.role_arn)(name));
    known.unwrap_or_else(|| arn_of(asked, "role", "RoleName"))
}

/// Whoever puts a role into a profile hands it to instances.
fn pass_role(asked: &Asked) -> Vec<Need> {
    let profile = arn_of(asked, "instance-profile", "InstanceProfileName");
    vec![asked.own(profile), Need::new("iam:PassRole", role_of(asked))]
}

static PAGES: Style =
    Style { size: "MaxItems", from: "Marker", next: "Marker", usual: 100, most: 1000, bad_token: "ValidationError" };

const fn list(items: &'static str) -> Option<Page> {
    Some(Page::Cut(&PAGES, items))
}

pub(crate) fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// What is answered; everything else is refused by name.
const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "AddRoleToInstanceProfile",
        Writes,
        Needs::Of(pass_role),
        None,
        "InstanceProfileName RoleName",
        Run::PLAIN,
    ),
    Operation::new("AttachRolePolicy", Writes, ROLE, None, "PolicyArn RoleName", Run::before(bring_managed)),
    Operation::new("CreateInstanceProfile", Writes, PROFILE, None, "InstanceProfileName Path Tags.*", Run::PLAIN),
    Operation::new(
        "CreatePolicy",
        Writes,
        NEW_POLICY,
        None,
        "Description Path PolicyDocument PolicyName Tags.*",
        Run::PLAIN,
    ),
    Operation::new(
        "CreateRole",
        Writes,
        ROLE,
        None,
        "AssumeRolePolicyDocument Description MaxSessionDuration Path PermissionsBoundary RoleName Tags.*",
        Run::before(check_principals),
    ),
    Operation::new("CreateServiceLinkedRole", Writes, Needs::Own, None, "AWSServiceName Description", Run::PLAIN),
    Operation::new("DeleteInstanceProfile", Writes, PROFILE, None, "InstanceProfileName", Run::PLAIN),
    Operation::new("DeletePolicy", Writes, POLICY, None, "PolicyArn", Run::PLAIN),
    Operation::new("DeleteRole", Writes, ROLE, None, "RoleName", Run::PLAIN),
    Operation::new("DeleteRolePolicy", Writes, ROLE, None, "PolicyName RoleName", Run::PLAIN),
    Operation::new("DetachRolePolicy", Writes, ROLE, None, "PolicyArn RoleName", Run::PLAIN),
    Operation::new("GetAccountSummary", Reads, Needs::Own, None, "", Run::PLAIN),
    Operation::new("GetInstanceProfile", Reads, PROFILE, None, "InstanceProfileName", Run::PLAIN),
    Operation::new("GetPolicy", Reads, POLICY, None, "PolicyArn", Run::PLAIN),
    Operation::new("GetPolicyVersion", Reads, POLICY, None, "PolicyArn VersionId", Run::PLAIN),
    Operation::new("GetRole", Reads, ROLE, None, "RoleName", Run::after(complete)),
    Operation::new("GetRolePolicy", Reads, ROLE, None, "PolicyName RoleName", Run::PLAIN),
    Operation::new("ListAccountAliases", Reads, Needs::Own, None, "Marker MaxItems", Run::PLAIN),
    Operation::new(
        "ListAttachedRolePolicies",
        Reads,
        ROLE,
        list("AttachedPolicies"),
        "Marker MaxItems RoleName",
        Run::PLAIN,
    ),
    Operation::new(
        "ListInstanceProfileTags",
        Reads,
        PROFILE,
        list("Tags"),
        "InstanceProfileName Marker MaxItems",
        Run::PLAIN,
    ),
    Operation::new(
        "ListInstanceProfiles",
        Reads,
        PROFILES,
        list("InstanceProfiles"),
        "Marker MaxItems PathPrefix",
        Run::PLAIN,
    ),
    Operation::new(
        "ListInstanceProfilesForRole",
        Reads,
        ROLE,
        list("InstanceProfiles"),
        "Marker MaxItems RoleName",
        Run::PLAIN,
    ),
    Operation::new(
        "ListPolicies",
        Reads,
        POLICIES,
        list("Policies"),
        "Marker MaxItems OnlyAttached PathPrefix PolicyUsageFilter=PermissionsPolicy Scope=All|Local",
        Run::after(filter),
    ),
    Operation::new("ListPolicyVersions", Reads, POLICY, list("Versions"), "Marker MaxItems PolicyArn", Run::PLAIN),
    Operation::new("ListRolePolicies", Reads, ROLE, list("PolicyNames"), "Marker MaxItems RoleName", Run::PLAIN),
    Operation::new("ListRoleTags", Reads, ROLE, list("Tags"), "Marker MaxItems RoleName", Run::PLAIN),
    Operation::new("ListRoles", Reads, ROLES, list("Roles"), "Marker MaxItems PathPrefix", Run::PLAIN),
    Operation::new("PutRolePolicy", Writes, ROLE, None, "PolicyDocument PolicyName RoleName", Run::PLAIN),
    Operation::new("RemoveRoleFromInstanceProfile", Writes, PROFILE, None, "InstanceProfileName RoleName", Run::PLAIN),
    Operation::new("TagInstanceProfile", Writes, PROFILE, None, "InstanceProfileName Tags.*", Run::PLAIN),
    Operation::new("TagRole", Writes, ROLE, None, "RoleName Tags.*", Run::PLAIN),
    Operation::new("UntagInstanceProfile", Writes, PROFILE, None, "InstanceProfileName TagKeys", Run::PLAIN),
    Operation::new("UntagRole", Writes, ROLE, None, "RoleName TagKeys", Run::PLAIN),
    Operation::new(
        "UpdateAssumeRolePolicy",
        Writes,
        ROLE,
        None,
        "PolicyDocument RoleName",
        Run::before(check_principals),
    ),
    Operation::new("UpdateRole", Writes, ROLE, None, "Description MaxSessionDuration RoleName", Run::PLAIN),
    Operation::new("UpdateRoleDescription", Writes, ROLE, None, "Description RoleName", Run::PLAIN),
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
