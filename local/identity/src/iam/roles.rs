//! Roles, and the policies on them.

use super::state::{AttachedPolicy, InlinePolicy, Role, State, arn, key, now, unique_id};
use super::{Answer, conflict, document, exists, not_found, paths, refusal, required, tag_list, tags};
use kit::answer::Refusal;
use kit::parameters;
use kit::query::{Params, Xml};

pub(super) fn create(state: &mut State, params: &Params) -> Answer {
    let name = required(params, "RoleName")?;
    let trust = required(params, "AssumeRolePolicyDocument")?;
    if state.role(name).is_some() {
        return Err(exists(format!("Role with name {name} already exists.")));
    }
    let path = params.text("Path").unwrap_or("/");
    let role = Role {
        name: name.to_owned(),
        role_id: unique_id("AROA"),
        path: path.to_owned(),
        arn: arn("role", path, name),
        assume_role_policy_document: trust.to_owned(),
        description: params.at("Description").value().to_owned(),
        create_date: now(),
        max_session_duration: params.parsed("MaxSessionDuration")?.unwrap_or(SESSION_S),
        tags: params.tags("Tags"),
        attached_policies: Vec::new(),
        inline_policies: Vec::new(),
    };
    let mut xml = Xml::new();
    xml.within("Role", |xml| {
        identify(xml, &role);
        tag_list(xml, &role.tags);
    });
    state.roles.insert(key(name), role);
    Ok(xml)
}

/// The default maximum session duration, in seconds.
pub(super) const SESSION_S: u32 = 3600;

/// The services with a service-linked role here, and the suffix of its name.
const LINKED: &[(&str, &str)] =
    &[("autoscaling.amazonaws.com", "AutoScaling"), ("elasticloadbalancing.amazonaws.com", "ElasticLoadBalancing")];

pub(super) fn create_linked(state: &mut State, params: &Params) -> Answer {
    let service = required(params, "AWSServiceName")?;
    let Some((_, name)) = LINKED.iter().find(|(host, _)| *host == service) else {
        let text = format!("the local AWS has no service-linked role for {service}");
        return Err(Refusal::new(501, parameters::NOT_IMPLEMENTED, text));
    };
    let name = format!("AWSServiceRoleFor{name}");
    if state.role(&name).is_some() {
        let text = format!("Service role name {name} has been taken in this account, please try a different suffix.");
        return Err(refusal("InvalidInput", text));
    }
    let path = format!("/aws-service-role/{service}/");
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" }]
    });
    let role = Role {
        role_id: unique_id("AROA"),
        arn: arn("role", &path, &name),
        assume_role_policy_document: trust.to_string(),
        description: params.at("Description").value().to_owned(),
        create_date: now(),
        max_session_duration: SESSION_S,
        tags: Default::default(),
        attached_policies: Vec::new(),
        inline_policies: Vec::new(),
        name,
        path,
    };
    let mut xml = Xml::new();
    xml.within("Role", |xml| identify(xml, &role));
    state.roles.insert(key(&role.name), role);
    Ok(xml)
}

pub(super) fn get(state: &State, params: &Params) -> Answer {
    let role = one(state, params)?;
    let mut xml = Xml::new();
    xml.within("Role", |xml| {
        describe(xml, role);
        // Nothing here records when a role was last used.
        xml.within("RoleLastUsed", |_| ());
        tag_list(xml, &role.tags);
    });
    Ok(xml)
}

pub(super) fn list(state: &State, params: &Params) -> Answer {
    let roles = state.roles.values().filter(|role| paths(params, &role.path));
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).members("Roles", roles, describe);
    Ok(xml)
}

pub(super) fn delete(state: &mut State, params: &Params) -> Answer {
    let role = one(state, params)?;
    let conflict_text = if state.profiles_of(&role.name).next().is_some() {
        Some("Cannot delete entity, must remove roles from instance profile first.")
    } else if !role.attached_policies.is_empty() {
        Some("Cannot delete entity, must detach all policies first.")
    } else if !role.inline_policies.is_empty() {
        Some("Cannot delete entity, must delete policies first.")
    } else {
        None
    };
    if let Some(text) = conflict_text {
        return Err(conflict(text));
    }
    let gone = key(&role.name);
    state.roles.remove(&gone);
    Ok(Xml::new())
}

pub(super) fn update(state: &mut State, params: &Params) -> Answer {
    let session = params.parsed("MaxSessionDuration")?;
    let role = one_mut(state, params)?;
    if params.has("Description") {
        params.at("Description").value().clone_into(&mut role.description);
    }
    role.max_session_duration = session.unwrap_or(role.max_session_duration);
    Ok(Xml::new())
}

pub(super) fn update_description(state: &mut State, params: &Params) -> Answer {
    let role = one_mut(state, params)?;
    params.at("Description").value().clone_into(&mut role.description);
    let mut xml = Xml::new();
    xml.within("Role", |xml| describe(xml, role));
    Ok(xml)
}

pub(super) fn update_trust(state: &mut State, params: &Params) -> Answer {
    let trust = required(params, "PolicyDocument")?;
    one_mut(state, params)?.assume_role_policy_document = trust.to_owned();
    Ok(Xml::new())
}

pub(super) fn put_policy(state: &mut State, params: &Params) -> Answer {
    let (name, text) = (required(params, "PolicyName")?, required(params, "PolicyDocument")?);
    let role = one_mut(state, params)?;
    match role.inline_policies.iter_mut().find(|policy| policy.policy_name == name) {
        Some(policy) => policy.policy_document = text.to_owned(),
        None => {
            let policy = InlinePolicy { policy_name: name.to_owned(), policy_document: text.to_owned() };
            role.inline_policies.push(policy);
        }
    }
    Ok(Xml::new())
}

pub(super) fn get_policy(state: &State, params: &Params) -> Answer {
    let role = one(state, params)?;
    let policy = &role.inline_policies[inline(role, params)?];
    let mut xml = Xml::new();
    xml.text("RoleName", &role.name).text("PolicyName", &policy.policy_name);
    document(&mut xml, "PolicyDocument", &policy.policy_document);
    Ok(xml)
}

pub(super) fn delete_policy(state: &mut State, params: &Params) -> Answer {
    let role = one_mut(state, params)?;
    let at = inline(role, params)?;
    role.inline_policies.remove(at);
    Ok(Xml::new())
}

pub(super) fn list_policies(state: &State, params: &Params) -> Answer {
    let role = one(state, params)?;
    let mut xml = Xml::new();
    let names = role.inline_policies.iter().map(|policy| &policy.policy_name);
    xml.text("IsTruncated", false).names("PolicyNames", names);
    Ok(xml)
}

/// The maximum number of managed policies attached to a role (docs/aws.md §6.5).
const ATTACHED: usize = 10;

pub(super) fn attach(state: &mut State, params: &Params) -> Answer {
    let wanted = required(params, "PolicyArn")?;
    let found = state.policy(wanted);
    let role = one_mut(state, params)?;
    let Some(policy) = found else {
        return Err(not_found(format!("Policy {wanted} does not exist or is not attachable.")));
    };
    if role.attached_policies.iter().any(|attached| attached.policy_arn == policy.arn) {
        return Ok(Xml::new());
    }
    if role.attached_policies.len() >= ATTACHED {
        return Err(refusal("LimitExceeded", format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED}")));
    }
    role.attached_policies.push(AttachedPolicy { policy_name: policy.policy_name, policy_arn: policy.arn });
    Ok(Xml::new())
}

pub(super) fn detach(state: &mut State, params: &Params) -> Answer {
    let unwanted = required(params, "PolicyArn")?;
    let role = one_mut(state, params)?;
    let Some(at) = role.attached_policies.iter().position(|policy| policy.policy_arn == unwanted) else {
        return Err(not_found(format!("Policy {unwanted} was not found.")));
    };
    role.attached_policies.remove(at);
    Ok(Xml::new())
}

pub(super) fn list_attached(state: &State, params: &Params) -> Answer {
    let role = one(state, params)?;
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).members("AttachedPolicies", &role.attached_policies, |xml, policy| {
        xml.text("PolicyName", &policy.policy_name).text("PolicyArn", &policy.policy_arn);
    });
    Ok(xml)
}

pub(super) fn tag(state: &mut State, params: &Params) -> Answer {
    tags::add(&mut one_mut(state, params)?.tags, params);
    Ok(Xml::new())
}

pub(super) fn untag(state: &mut State, params: &Params) -> Answer {
    tags::remove(&mut one_mut(state, params)?.tags, params);
    Ok(Xml::new())
}

pub(super) fn list_tags(state: &State, params: &Params) -> Answer {
    Ok(tags::list(&one(state, params)?.tags))
}

/// Writes the elements that every response about a role contains.
pub(super) fn identify(xml: &mut Xml, role: &Role) {
    xml.text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", &role.role_id)
        .text("Arn", &role.arn)
        .text("CreateDate", &role.create_date);
    document(xml, "AssumeRolePolicyDocument", &role.assume_role_policy_document);
}

fn describe(xml: &mut Xml, role: &Role) {
    identify(xml, role);
    xml.maybe("Description", Some(&role.description).filter(|text| !text.is_empty()));
    xml.text("MaxSessionDuration", role.max_session_duration);
}

fn one<'a>(state: &'a State, params: &Params) -> Result<&'a Role, Refusal> {
    let name = required(params, "RoleName")?;
    state.role(name).ok_or_else(|| no_role(name))
}

fn one_mut<'a>(state: &'a mut State, params: &Params) -> Result<&'a mut Role, Refusal> {
    let name = required(params, "RoleName")?;
    state.roles.get_mut(&key(name)).ok_or_else(|| no_role(name))
}

pub(super) fn no_role(name: &str) -> Refusal {
    not_found(format!("The role with name {name} cannot be found."))
}

fn inline(role: &Role, params: &Params) -> Result<usize, Refusal> {
    let name = required(params, "PolicyName")?;
    let found = role.inline_policies.iter().position(|policy| policy.policy_name == name);
    found.ok_or_else(|| not_found(format!("The role policy with name {name} cannot be found.")))
}
