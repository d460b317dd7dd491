//! IAM: roles, instance profiles and policies, on disk.

mod academy;
mod managed;
mod policies;
mod profiles;
mod replication;
mod roles;
mod rules;
mod simulation;
mod state;
mod tags;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credentials::{Identity, user_arn};
use crate::permissions::{Caller, Grants, Keys, ResourcePolicies, Used};
pub use academy::{STUDENT, STUDENTS, student_arn};
use chaos::Faults;
use kit::ACCOUNT;
use kit::account::Kind;
use kit::answer::{Protocol, Refusal, Response};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Form, Need, Needs, Operation, Page, Rows, Style};
use kit::parameters;
use kit::query::{Envelope, Params, Xml};
use kit::store;
use replication::{Replica, Role};
use state::{State, Tags};

/// The XML namespace of responses.
const NAME_SPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// The result of a call: the contents of the response document.
type Answer = Result<Xml, Refusal>;

/// The handler of an operation.
#[derive(Clone, Copy)]
enum Run {
    Look(fn(&State, &Params) -> Answer),
    Change(fn(&mut State, &Params) -> Answer),
}
use Run::{Change, Look};

const ROLE: Needs = Needs::Of(|asked| vec![asked.own(arn_of(asked, &ROLE_ENTITY))]);
const NEW_ROLE: Needs = Needs::Of(|asked| with_tags(asked, &ROLE_ENTITY, "iam:TagRole"));
const PROFILE: Needs = Needs::Of(|asked| vec![asked.own(arn_of(asked, &PROFILE_ENTITY))]);
const NEW_PROFILE: Needs = Needs::Of(|asked| with_tags(asked, &PROFILE_ENTITY, "iam:TagInstanceProfile"));
const POLICY: Needs = Needs::On("{PolicyArn}");
const NEW_POLICY: Needs = Needs::Of(|asked| vec![asked.own(new_arn(asked, &POLICY_ENTITY))]);
const ROLES: Needs = Needs::On("arn:aws:iam::{account}:role/");
const PROFILES: Needs = Needs::On("arn:aws:iam::{account}:instance-profile/");
const POLICIES: Needs = Needs::On("arn:aws:iam::{account}:policy/");

/// A kind of entity: its name in ARNs, and the parameter with the name of an entity.
struct Entity {
    kind: &'static str,
    parameter: &'static str,
}

const ROLE_ENTITY: Entity = Entity { kind: "role", parameter: "RoleName" };
const PROFILE_ENTITY: Entity = Entity { kind: "instance-profile", parameter: "InstanceProfileName" };
const POLICY_ENTITY: Entity = Entity { kind: "policy", parameter: "PolicyName" };

/// The ARN of the entity that a call creates: it has the `Path` of the call. `*` if its name is missing.
fn new_arn(asked: &Asked, Entity { kind, parameter }: &Entity) -> String {
    let path = asked.call.input.text("Path").unwrap_or("/");
    match asked.call.input.text(parameter) {
        Some(name) => format!("arn:aws:iam::{ACCOUNT}:{kind}{path}{name}"),
        None => "*".to_owned(),
    }
}

/// The action on a new entity; creating it with tags needs the action that tags it as well (docs/aws.md §2.5).
fn with_tags(asked: &Asked, entity: &Entity, action: &str) -> Vec<Need> {
    let arn = new_arn(asked, entity);
    let has_tags = asked.call.input.form().keys().any(|name| name.starts_with("Tags."));
    let tag = has_tags.then(|| Need::new(action, arn.as_str()));
    [asked.own(arn.as_str())].into_iter().chain(tag).collect()
}

/// The ARN of the entity that a call names: if it exists, it has a path of its own.
fn arn_of(asked: &Asked, entity: &Entity) -> String {
    let known = asked.call.input.text(entity.parameter).and_then(|name| (asked.entity_arn)(entity.kind, name));
    known.unwrap_or_else(|| new_arn(asked, entity))
}

/// Adding a role to a profile passes the role to instances.
fn pass_role(asked: &Asked) -> Vec<Need> {
    let service = Some("ec2.amazonaws.com".to_owned());
    let pass = Need::new("iam:PassRole", arn_of(asked, &ROLE_ENTITY)).knowing("iam:PassedToService", service);
    vec![asked.own(arn_of(asked, &PROFILE_ENTITY)), pass]
}

static PAGES: Style = Style {
    size: "MaxItems",
    from: "Marker",
    next: "Marker",
    usual: 100,
    least: 1,
    most: 1000,
    bad_token: "ValidationError",
};

const fn list(items: &'static str) -> Option<Page> {
    Some(Page::Cut(&PAGES, items))
}

/// The row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "AddRoleToInstanceProfile",
        Writes,
        Needs::Of(pass_role),
        None,
        "InstanceProfileName RoleName",
        Change(profiles::add_role),
    ),
    Operation::new("AttachRolePolicy", Writes, ROLE, None, "PolicyArn RoleName", Change(roles::attach)),
    Operation::new(
        "CreateInstanceProfile",
        Writes,
        NEW_PROFILE,
        None,
        "InstanceProfileName Path Tags.*",
        Change(profiles::create),
    ),
    Operation::new(
        "CreatePolicy",
        Writes,
        NEW_POLICY,
        None,
        "Description Path PolicyDocument PolicyName Tags.*",
        Change(policies::create),
    ),
    Operation::new(
        "CreateRole",
        Writes,
        NEW_ROLE,
        None,
        "AssumeRolePolicyDocument Description MaxSessionDuration Path PermissionsBoundary RoleName Tags.*",
        Change(roles::create),
    ),
    Operation::new(
        "CreateServiceLinkedRole",
        Writes,
        Needs::Own,
        None,
        "AWSServiceName Description",
        Change(roles::create_linked),
    ),
    Operation::new("DeleteInstanceProfile", Writes, PROFILE, None, "InstanceProfileName", Change(profiles::delete)),
    Operation::new("DeletePolicy", Writes, POLICY, None, "PolicyArn", Change(policies::delete)),
    Operation::new("DeleteRole", Writes, ROLE, None, "RoleName", Change(roles::delete)),
    Operation::new("DeleteRolePolicy", Writes, ROLE, None, "PolicyName RoleName", Change(roles::delete_policy)),
    Operation::new("DetachRolePolicy", Writes, ROLE, None, "PolicyArn RoleName", Change(roles::detach)),
    Operation::new("GetAccountSummary", Reads, Needs::Own, None, "", Look(account_summary)),
    Operation::new("GetInstanceProfile", Reads, PROFILE, None, "InstanceProfileName", Look(profiles::get)),
    Operation::new("GetPolicy", Reads, POLICY, None, "PolicyArn", Look(policies::get)),
    Operation::new("GetPolicyVersion", Reads, POLICY, None, "PolicyArn VersionId", Look(policies::get_version)),
    Operation::new("GetRole", Reads, ROLE, None, "RoleName", Look(roles::get)),
    Operation::new("GetRolePolicy", Reads, ROLE, None, "PolicyName RoleName", Look(roles::get_policy)),
    Operation::new("ListAccountAliases", Reads, Needs::Own, None, "Marker MaxItems", Look(account_aliases)),
    Operation::new(
        "ListAttachedRolePolicies",
        Reads,
        ROLE,
        list("AttachedPolicies"),
        "Marker MaxItems RoleName",
        Look(roles::list_attached),
    ),
    Operation::new(
        "ListInstanceProfileTags",
        Reads,
        PROFILE,
        list("Tags"),
        "InstanceProfileName Marker MaxItems",
        Look(profiles::list_tags),
    ),
    Operation::new(
        "ListInstanceProfiles",
        Reads,
        PROFILES,
        list("InstanceProfiles"),
        "Marker MaxItems PathPrefix",
        Look(profiles::list),
    ),
    Operation::new(
        "ListInstanceProfilesForRole",
        Reads,
        ROLE,
        list("InstanceProfiles"),
        "Marker MaxItems RoleName",
        Look(profiles::list_of_role),
    ),
    Operation::new(
        "ListPolicies",
        Reads,
        POLICIES,
        list("Policies"),
        "Marker MaxItems OnlyAttached PathPrefix PolicyUsageFilter=PermissionsPolicy Scope=All|AWS|Local",
        Look(policies::list),
    ),
    Operation::new(
        "ListPolicyVersions",
        Reads,
        POLICY,
        list("Versions"),
        "Marker MaxItems PolicyArn",
        Look(policies::list_versions),
    ),
    Operation::new(
        "ListRolePolicies",
        Reads,
        ROLE,
        list("PolicyNames"),
        "Marker MaxItems RoleName",
        Look(roles::list_policies),
    ),
    Operation::new("ListRoleTags", Reads, ROLE, list("Tags"), "Marker MaxItems RoleName", Look(roles::list_tags)),
    Operation::new("ListRoles", Reads, ROLES, list("Roles"), "Marker MaxItems PathPrefix", Look(roles::list)),
    Operation::new(
        "PutRolePolicy",
        Writes,
        ROLE,
        None,
        "PolicyDocument PolicyName RoleName",
        Change(roles::put_policy),
    ),
    Operation::new(
        "RemoveRoleFromInstanceProfile",
        Writes,
        PROFILE,
        None,
        "InstanceProfileName RoleName",
        Change(profiles::remove_role),
    ),
    Operation::new(
        "SimulatePrincipalPolicy",
        Reads,
        Needs::On("{PolicySourceArn}"),
        list("EvaluationResults"),
        "ActionNames ContextEntries.ContextKeyName ContextEntries.ContextKeyType=string|stringList \
         ContextEntries.ContextKeyValues Marker MaxItems PolicySourceArn ResourceArns",
        Look(simulation::of_principal),
    ),
    Operation::new("TagInstanceProfile", Writes, PROFILE, None, "InstanceProfileName Tags.*", Change(profiles::tag)),
    Operation::new("TagRole", Writes, ROLE, None, "RoleName Tags.*", Change(roles::tag)),
    Operation::new(
        "UntagInstanceProfile",
        Writes,
        PROFILE,
        None,
        "InstanceProfileName TagKeys",
        Change(profiles::untag),
    ),
    Operation::new("UntagRole", Writes, ROLE, None, "RoleName TagKeys", Change(roles::untag)),
    Operation::new(
        "UpdateAssumeRolePolicy",
        Writes,
        ROLE,
        None,
        "PolicyDocument RoleName",
        Change(roles::update_trust),
    ),
    Operation::new("UpdateRole", Writes, ROLE, None, "Description MaxSessionDuration RoleName", Change(roles::update)),
    Operation::new(
        "UpdateRoleDescription",
        Writes,
        ROLE,
        None,
        "Description RoleName",
        Change(roles::update_description),
    ),
];

/// The roles, instance profiles and policies.
pub struct Iam {
    file: PathBuf,
    faults: Arc<Faults>,
    /// Write-locked by calls that change something, so that no change is visible before it is on disk.
    state: tokio::sync::RwLock<State>,
    replica: RwLock<Replica>,
    /// The resource policies of the buckets and functions of each region.
    resource_policies: RwLock<BTreeMap<String, Arc<ResourcePolicies>>>,
    /// The permissions that roles have used.
    pub used: Arc<Used>,
}

impl Iam {
    /// Loads the state below `dir`.
    pub fn open(dir: &Path, faults: Arc<Faults>) -> anyhow::Result<Iam> {
        Iam::of_account(dir, faults, Kind::Standard)
    }

    /// Loads the state below `dir` of an account of this kind.
    pub fn of_account(dir: &Path, faults: Arc<Faults>, kind: Kind) -> anyhow::Result<Iam> {
        let file = dir.join("iam.json");
        let mut state = State::load(&file)?;
        if kind == Kind::Academy && academy::furnish(&mut state) {
            store::write_json(&file, &state)?;
        }
        let mut replica = Replica::default();
        // Changes made before this server started are visible everywhere.
        replica.replicate(&state, |_| std::time::Duration::ZERO);
        Ok(Iam {
            file,
            faults,
            state: tokio::sync::RwLock::new(state),
            replica: RwLock::new(replica),
            resource_policies: RwLock::default(),
            used: Arc::default(),
        })
    }

    /// Answers a call; `None` means that there is no such operation.
    pub async fn answer(&self, call: &Call) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        Some(match self.act(operation, call.input.form()).await {
            Ok(xml) => Envelope::Query(NAME_SPACE).seal(operation.row.name, Ok(xml)),
            Err(refusal) => refusal.answer(Protocol::Query),
        })
    }

    async fn act(&self, Operation { row, parameters, run }: &Operation<Run>, form: &Form) -> Answer {
        parameters::check_form(parameters, form).map_err(parameters::refusal)?;
        rules::check(row.name, form)?;
        let params = Params::parse(form);
        match run {
            Look(look) => look(&*self.state.read().await, &params),
            Change(change) => {
                let mut state = self.state.write().await;
                rules::check_limits(row.name, form, &state)?;
                if matches!(row.name, "CreateRole" | "UpdateAssumeRolePolicy") {
                    rules::check_principals(form, |arn| self.knows(arn))?;
                }
                let mut next = state.clone();
                let xml = change(&mut next, &params)?;
                *state = self.keep(next).await?;
                Ok(xml)
            }
        }
    }

    /// Stores the next state, and makes it visible to other services after its lag.
    async fn keep(&self, next: State) -> Result<State, Refusal> {
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || store::write_json(&file, &next).map(|()| next)).await;
        let next = written.map_err(std::io::Error::other).flatten().map_err(|fault| {
            tracing::error!("the roles could not be written: {fault}");
            Refusal::new(500, "ServiceFailure", format!("the local AWS cannot write its roles: {fault}"))
        })?;
        self.replica.write().replicate(&next, |name| self.faults.iam_lag(name));
        Ok(next)
    }

    /// A caller with its current permissions in a region.
    pub fn caller(&self, identity: &Identity, region: &str) -> Caller {
        match identity.role() {
            Some(role) => self.in_role(role, identity.arn(), identity.user_id(), region),
            None => Caller::owner(identity.arn(), region),
        }
    }

    /// A caller in a session of a role, with its current permissions in a region.
    pub fn in_role(&self, role: &str, arn: String, user_id: String, region: &str) -> Caller {
        Caller::in_role(arn, user_id, region, self.grants(role), self.resource_policies(region))
            .noted_in(self.used.clone())
    }

    /// The resource policies of the buckets and functions of a region.
    pub fn resource_policies(&self, region: &str) -> Arc<ResourcePolicies> {
        let known = self.resource_policies.read().get(region).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.resource_policies.write();
            all.entry(region.to_owned()).or_default().clone()
        })
    }

    fn grants(&self, role: &str) -> Option<Arc<Grants>> {
        self.replica().role(role).map(|role| role.grants.clone())
    }

    /// The instance profile given by name or ARN, if it and its role are visible to other services.
    pub fn profile(&self, profile: &str) -> Option<Profile> {
        self.role_of_profile(profile)?;
        let name = profile.rsplit('/').next().unwrap_or(profile);
        self.replica().profile(name).map(|known| Profile { arn: known.arn.clone(), id: known.id.clone() })
    }

    /// The role inside an instance profile given by name or ARN, if both are visible to other services.
    pub fn role_of_profile(&self, profile: &str) -> Option<String> {
        let name = profile.rsplit('/').next().unwrap_or(profile);
        let replica = self.replica();
        let role = replica.profile(name)?.role.clone()?;
        replica.role(&role).map(|_| role)
    }

    /// The ARN of the role or instance profile with this name, by its kind as in ARNs.
    pub fn entity_arn(&self, kind: &str, name: &str) -> Option<String> {
        match kind {
            "role" => self.role_arn(name),
            "instance-profile" => self.replica().profile(name).map(|profile| profile.arn.clone()),
            _ => None,
        }
    }

    /// The ARN of the role with this name.
    pub fn role_arn(&self, name: &str) -> Option<String> {
        self.grants(name).map(|grants| grants.role_arn.clone())
    }

    /// Whether the role given by ARN exists and lets `service` assume it.
    pub fn trusts(&self, role: &str, service: &str) -> bool {
        self.with_role(role, |role| role.trust.lets_service(service)) == Some(true)
    }

    /// Whether the role given by ARN exists and lets a principal of this account assume it in a request with these
    /// condition keys.
    pub fn trusts_principal(&self, role: &str, principal: &str, keys: &Keys) -> bool {
        self.with_role(role, |role| role.trust.lets_principal(principal, keys)) == Some(true)
    }

    /// The maximum session duration, in seconds, of the role given by ARN.
    pub fn longest_session(&self, role: &str) -> Option<i64> {
        self.with_role(role, |role| role.longest_session)
    }

    /// Whether a principal with this ARN exists.
    pub fn knows(&self, arn: &str) -> bool {
        arn == user_arn() || self.with_role(arn, |_| ()).is_some()
    }

    /// Calls `look` with the role of this ARN, if it exists.
    fn with_role<T>(&self, arn: &str, look: impl FnOnce(&Role) -> T) -> Option<T> {
        let replica = self.replica();
        replica.role(arn.rsplit('/').next()?).filter(|role| role.grants.role_arn == arn).map(look)
    }

    fn replica(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read()
    }
}

/// An instance profile, as instances refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its ARN.
    pub arn: String,
    /// Its id, `AIPA…`.
    pub id: String,
}

fn account_summary(state: &State, _params: &Params) -> Answer {
    let counts = [
        ("InstanceProfiles", state.instance_profiles.len()),
        ("Policies", state.policies.len()),
        ("Roles", state.roles.len()),
    ];
    let all = QUOTAS.iter().chain(&counts).chain(ABSENT.iter());
    let mut xml = Xml::new();
    xml.within("SummaryMap", |xml| {
        for (key, value) in all {
            xml.within("entry", |xml| {
                xml.text("key", key).text("value", value);
            });
        }
    });
    Ok(xml)
}

/// The quotas of a new account (`API:iam.GetAccountSummary`).
const QUOTAS: &[(&str, usize)] = &[
    ("AccessKeysPerUserQuota", 2),
    ("AssumeRolePolicySizeQuota", 2048),
    ("AttachedPoliciesPerGroupQuota", 10),
    ("AttachedPoliciesPerRoleQuota", 10),
    ("AttachedPoliciesPerUserQuota", 10),
    ("GlobalEndpointTokenVersion", 1),
    ("GroupPolicySizeQuota", 5120),
    ("GroupsPerUserQuota", 10),
    ("GroupsQuota", 300),
    ("InstanceProfilesQuota", 1000),
    ("PoliciesQuota", 1500),
    ("PolicySizeQuota", 6144),
    ("PolicyVersionsInUseQuota", 10000),
    ("RolePolicySizeQuota", 10240),
    ("RolesQuota", 1000),
    ("ServerCertificatesQuota", 20),
    ("SigningCertificatesPerUserQuota", 2),
    ("UserPolicySizeQuota", 2048),
    ("UsersQuota", 5000),
    ("VersionsPerPolicyQuota", 5),
];

/// Counts of things that do not exist here.
const ABSENT: &[(&str, usize)] = &[
    ("AccountAccessKeysPresent", 0),
    ("AccountMFAEnabled", 0),
    ("AccountSigningCertificatesPresent", 0),
    ("Groups", 0),
    ("MFADevices", 0),
    ("MFADevicesInUse", 0),
    ("Providers", 0),
    ("ServerCertificates", 0),
    ("Users", 0),
];

fn account_aliases(_state: &State, _params: &Params) -> Answer {
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).within("AccountAliases", |_| ());
    Ok(xml)
}

/// The text of a required field.
fn required<'a>(params: &'a Params, field: &str) -> Result<&'a str, Refusal> {
    params.text(field).ok_or_else(|| {
        let label = rules::label(field);
        refusal(
            "ValidationError",
            format!(
                "1 validation error detected: Value null at '{label}' failed to satisfy constraint: Member must not be null"
            ),
        )
    })
}

/// Whether a path begins with the `PathPrefix` of a list call, if it has one.
fn paths(params: &Params, path: &str) -> bool {
    params.text("PathPrefix").is_none_or(|prefix| path.starts_with(prefix))
}

/// Writes a policy document, percent-encoded (docs/aws.md §6.3).
fn document(xml: &mut Xml, name: &str, text: &str) {
    xml.text(name, utf8_percent_encode(text, NON_ALPHANUMERIC));
}

/// Writes the tags, if there are any.
fn tag_list(xml: &mut Xml, tags: &Tags) {
    if !tags.is_empty() {
        xml.members("Tags", tags, |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        });
    }
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    let status = match code {
        "NoSuchEntity" => 404,
        "DeleteConflict" | "EntityAlreadyExists" | "LimitExceeded" => 409,
        _ => 400,
    };
    Refusal::new(status, code, message)
}

fn not_found(message: String) -> Refusal {
    refusal("NoSuchEntity", message)
}

fn exists(message: String) -> Refusal {
    refusal("EntityAlreadyExists", message)
}

fn conflict(message: &str) -> Refusal {
    refusal("DeleteConflict", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_percent_encoded() {
        let mut xml = Xml::new();
        document(&mut xml, "PolicyDocument", r#"{"a"}"#);
        let mut expected = Xml::new();
        expected.text("PolicyDocument", "%7B%22a%22%7D");
        assert_eq!(xml, expected);
    }
}
