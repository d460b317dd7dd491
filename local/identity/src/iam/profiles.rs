//! Instance profiles, each with at most one role.

use super::state::{InstanceProfile, State, arn, key, now, unique_id};
use super::{Answer, conflict, exists, not_found, paths, refusal, required, roles, tag_list, tags};
use kit::answer::Refusal;
use kit::query::{Params, Xml};

pub(super) fn create(state: &mut State, params: &Params) -> Answer {
    let name = required(params, "InstanceProfileName")?;
    if state.profile(name).is_some() {
        return Err(exists(format!("Instance Profile {name} already exists.")));
    }
    let path = params.text("Path").unwrap_or("/");
    let profile = InstanceProfile {
        name: name.to_owned(),
        instance_profile_id: unique_id("AIPA"),
        path: path.to_owned(),
        arn: arn("instance-profile", path, name),
        create_date: now(),
        roles: Vec::new(),
        tags: params.tags("Tags"),
    };
    let mut xml = Xml::new();
    xml.within("InstanceProfile", |xml| {
        describe(xml, state, &profile);
        tag_list(xml, &profile.tags);
    });
    state.instance_profiles.insert(key(name), profile);
    Ok(xml)
}

pub(super) fn get(state: &State, params: &Params) -> Answer {
    let profile = one(state, params)?;
    let mut xml = Xml::new();
    xml.within("InstanceProfile", |xml| {
        describe(xml, state, profile);
        tag_list(xml, &profile.tags);
    });
    Ok(xml)
}

pub(super) fn list(state: &State, params: &Params) -> Answer {
    let profiles = state.instance_profiles.values().filter(|profile| paths(params, &profile.path));
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).members("InstanceProfiles", profiles, |xml, profile| describe(xml, state, profile));
    Ok(xml)
}

pub(super) fn list_of_role(state: &State, params: &Params) -> Answer {
    let name = required(params, "RoleName")?;
    if state.role(name).is_none() {
        return Err(roles::no_role(name));
    }
    let mut xml = Xml::new();
    xml.text("IsTruncated", false)
        .members("InstanceProfiles", state.profiles_of(name), |xml, profile| describe(xml, state, profile));
    Ok(xml)
}

pub(super) fn delete(state: &mut State, params: &Params) -> Answer {
    let profile = one(state, params)?;
    if !profile.roles.is_empty() {
        return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
    }
    let gone = key(&profile.name);
    state.instance_profiles.remove(&gone);
    Ok(Xml::new())
}

pub(super) fn add_role(state: &mut State, params: &Params) -> Answer {
    let wanted = required(params, "RoleName")?;
    let role = state.role(wanted).map(|role| role.name.clone());
    let profile = one_mut(state, params)?;
    let Some(role) = role else {
        return Err(roles::no_role(wanted));
    };
    if !profile.roles.is_empty() {
        return Err(refusal("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"));
    }
    profile.roles.push(role);
    Ok(Xml::new())
}

pub(super) fn remove_role(state: &mut State, params: &Params) -> Answer {
    let unwanted = required(params, "RoleName")?;
    let profile = one_mut(state, params)?;
    let Some(at) = profile.roles.iter().position(|role| role.eq_ignore_ascii_case(unwanted)) else {
        return Err(roles::no_role(unwanted));
    };
    profile.roles.remove(at);
    Ok(Xml::new())
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

fn describe(xml: &mut Xml, state: &State, profile: &InstanceProfile) {
    xml.text("InstanceProfileId", &profile.instance_profile_id)
        .text("InstanceProfileName", &profile.name)
        .text("Path", &profile.path)
        .text("Arn", &profile.arn)
        .text("CreateDate", &profile.create_date)
        .members("Roles", profile.roles.iter().filter_map(|name| state.role(name)), roles::identify);
}

fn one<'a>(state: &'a State, params: &Params) -> Result<&'a InstanceProfile, Refusal> {
    let name = required(params, "InstanceProfileName")?;
    state.profile(name).ok_or_else(|| no_profile(name))
}

fn one_mut<'a>(state: &'a mut State, params: &Params) -> Result<&'a mut InstanceProfile, Refusal> {
    let name = required(params, "InstanceProfileName")?;
    state.instance_profiles.get_mut(&key(name)).ok_or_else(|| no_profile(name))
}

fn no_profile(name: &str) -> Refusal {
    not_found(format!("Instance Profile {name} cannot be found."))
}
