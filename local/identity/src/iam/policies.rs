//! Managed policies, of the account and of AWS.

use super::state::{ManagedPolicy, State, VERSION, arn, now, unique_id};
use super::{Answer, conflict, document, exists, managed, not_found, paths, required, tag_list};
use kit::answer::Refusal;
use kit::query::{Params, Xml};

pub(super) fn create(state: &mut State, params: &Params) -> Answer {
    let (name, text) = (required(params, "PolicyName")?, required(params, "PolicyDocument")?);
    if state.policies.values().any(|policy| policy.policy_name.eq_ignore_ascii_case(name)) {
        return Err(exists(format!("A policy called {name} already exists. Duplicate names are not allowed.")));
    }
    let path = params.text("Path").unwrap_or("/");
    let policy = ManagedPolicy {
        policy_name: name.to_owned(),
        policy_id: unique_id("ANPA"),
        arn: arn("policy", path, name),
        path: path.to_owned(),
        description: params.at("Description").value().to_owned(),
        create_date: now(),
        document: text.to_owned(),
        tags: params.tags("Tags"),
    };
    let mut xml = Xml::new();
    xml.within("Policy", |xml| {
        describe(xml, state, &policy);
        tag_list(xml, &policy.tags);
    });
    state.policies.insert(policy.arn.clone(), policy);
    Ok(xml)
}

pub(super) fn get(state: &State, params: &Params) -> Answer {
    let policy = one(state, params)?;
    let mut xml = Xml::new();
    xml.within("Policy", |xml| {
        describe(xml, state, &policy);
        xml.maybe("Description", Some(&policy.description).filter(|text| !text.is_empty()));
        tag_list(xml, &policy.tags);
    });
    Ok(xml)
}

pub(super) fn delete(state: &mut State, params: &Params) -> Answer {
    let policy = one(state, params)?;
    if state.attachments(&policy.arn) > 0 {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    match state.policies.remove(&policy.arn) {
        Some(_) => Ok(Xml::new()),
        None => Err(Refusal::new(403, "AccessDenied", format!("Policy {} belongs to AWS.", policy.arn))),
    }
}

pub(super) fn list(state: &State, params: &Params) -> Answer {
    let (ours, aws) = match params.text("Scope") {
        Some("Local") => (true, false),
        Some("AWS") => (false, true),
        _ => (true, true),
    };
    let attached = params.flag("OnlyAttached")?;
    let ours = state.policies.values().filter(|_| ours).cloned();
    let policies = ours.chain(managed::all().filter(|_| aws));
    let wanted =
        |policy: &ManagedPolicy| paths(params, &policy.path) && (!attached || state.attachments(&policy.arn) > 0);
    let mut xml = Xml::new();
    xml.text("IsTruncated", false)
        .members("Policies", policies.filter(wanted), |xml, policy| describe(xml, state, &policy));
    Ok(xml)
}

pub(super) fn get_version(state: &State, params: &Params) -> Answer {
    let policy = one(state, params)?;
    let wanted = required(params, "VersionId")?;
    if wanted != VERSION {
        return Err(not_found(format!("Policy {} version {wanted} does not exist or is not attachable.", policy.arn)));
    }
    let mut xml = Xml::new();
    xml.within("PolicyVersion", |xml| {
        document(xml, "Document", &policy.document);
        describe_version(xml, &policy);
    });
    Ok(xml)
}

pub(super) fn list_versions(state: &State, params: &Params) -> Answer {
    let policy = one(state, params)?;
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).members("Versions", [&policy], describe_version);
    Ok(xml)
}

fn describe_version(xml: &mut Xml, policy: &ManagedPolicy) {
    xml.text("VersionId", VERSION).text("IsDefaultVersion", true).text("CreateDate", &policy.create_date);
}

fn describe(xml: &mut Xml, state: &State, policy: &ManagedPolicy) {
    xml.text("PolicyName", &policy.policy_name)
        .text("PolicyId", &policy.policy_id)
        .text("Arn", &policy.arn)
        .text("Path", &policy.path)
        .text("DefaultVersionId", VERSION)
        .text("AttachmentCount", state.attachments(&policy.arn))
        .text("PermissionsBoundaryUsageCount", 0)
        .text("IsAttachable", true)
        .text("CreateDate", &policy.create_date)
        .text("UpdateDate", &policy.create_date);
}

fn one(state: &State, params: &Params) -> Result<ManagedPolicy, Refusal> {
    let arn = required(params, "PolicyArn")?;
    state.policy(arn).ok_or_else(|| not_found(format!("Policy {arn} was not found.")))
}
