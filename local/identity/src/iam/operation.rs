//! The operations of IAM.

use kit::ACCOUNT;
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Need, Needs, Operation, Pagination, Rows, Style};

use super::Run::{Change, Look};
use super::account::{account_aliases, account_summary};
use super::{Run, policies, profiles, roles, simulation};

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

const fn list(items: &'static str) -> Option<Pagination> {
    Some(Pagination::Cut(&PAGES, items))
}

/// The row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

pub(super) const OPERATIONS: &[Operation<Run>] = &[
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
