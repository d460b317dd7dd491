//! Tags of Auto Scaling groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::Site;
use crate::state::{AutoScalingGroup, GroupTag, State};
use kit::call::{Asked, Need};
use kit::query::{Answer, ApiError, Params, Xml};
use kit::tags::{Flaw, USUAL};

/// Returns the tags in a call that creates a group.
///
/// Of several tags with the same key the last one wins: Auto Scaling does not refuse duplicates, as observed on AWS
/// (`ISS:hashicorp/terraform#2270`).
pub fn wanted(params: &Params) -> Result<BTreeMap<String, GroupTag>, ApiError> {
    check_each(params)?;
    let tags: BTreeMap<_, _> = read(params)?.into_iter().collect();
    check_all(tags.keys())?;
    Ok(tags)
}

/// Checks each of a call's tags on its own. The messages follow the service's model
/// (`API:autoscaling.CreateOrUpdateTags`); for reserved keys none is published.
fn check_each(params: &Params) -> Result<(), ApiError> {
    (1..).zip(params.pairs("Tags")).try_for_each(|(at, pair)| {
        USUAL.check([pair], []).map_err(|flaw| {
            let text = match flaw.at(at) {
                Flaw::Reserved(key) => format!("Tag keys that begin with aws: are reserved: {key}"),
                flaw => flaw.in_list("tags").unwrap_or_default(),
            };
            ApiError::new("ValidationError", text)
        })
    })
}

/// Checks that a group may have tags with all these keys together.
fn check_all<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<(), ApiError> {
    USUAL.check([], keys.into_iter().map(String::as_str)).map_err(|_| {
        let text = format!("You have already reached a limit: a group has at most {} tags", USUAL.most);
        ApiError::new("LimitExceeded", text)
    })
}

fn read(params: &Params) -> Result<Vec<(String, GroupTag)>, ApiError> {
    let tag = |item: &Params| {
        let tag = GroupTag { value: item.at("Value").value().to_owned(), propagate: item.flag("PropagateAtLaunch")? };
        Ok((item.at("Key").value().to_owned(), tag))
    };
    params.items("Tags").into_iter().map(tag).collect()
}

/// Returns the required permissions: the action on each of the tags' groups.
pub fn needs(asked: &Asked) -> Vec<Need> {
    let is_group = |field: &str| field.starts_with("Tags.member.") && field.ends_with(".ResourceId");
    let names = asked.call.input.form().iter().filter(|(field, _)| is_group(field)).map(|(_, name)| name);
    let names: BTreeSet<&String> = names.collect();
    let arn = |name: &String| asked.arn(&format!("autoScalingGroup:*:autoScalingGroupName/{name}"));
    let needs: Vec<Need> = names.into_iter().map(|name| asked.own(arn(name))).collect();
    if needs.is_empty() { vec![asked.own("*")] } else { needs }
}

pub fn create_or_update(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let names = named(state, params)?;
    check_each(params)?;
    let added = read(params)?;
    for name in &names {
        let theirs = names.iter().zip(&added).filter(|(other, _)| *other == name).map(|(_, (key, _))| key);
        check_all(state.group(name)?.tags.keys().chain(theirs))?;
    }
    for (item, (key, tag)) in names.into_iter().zip(added) {
        state.group_mut(&item)?.tags.insert(key, tag);
    }
    Ok(Xml::new())
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    for (item, (key, _)) in named(state, params)?.into_iter().zip(read(params)?) {
        state.group_mut(&item)?.tags.remove(&key);
    }
    Ok(Xml::new())
}

/// Returns the name of each tag's group. All groups must exist.
fn named(state: &State, params: &Params) -> Result<Vec<String>, ApiError> {
    params.items("Tags").into_iter().map(|item| Ok(state.group(item.required("ResourceId")?)?.name.clone())).collect()
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let filters = params.items("Filters");
    let mut found: Vec<(&AutoScalingGroup, &String, &GroupTag)> = Vec::new();
    const KNOWN: &[&str] = &["auto-scaling-group", "key", "propagate-at-launch", "value"];
    if let Some(name) = filters.iter().map(|filter| filter.at("Name").value()).find(|name| !KNOWN.contains(name)) {
        return Err(ApiError::new(
            "ValidationError",
            format!(
                "Filter type {name} is not correct. Allowed Filter types are: auto-scaling-group key value propagate-at-launch"
            ),
        ));
    }
    for group in state.groups.values() {
        for (key, tag) in &group.tags {
            let fits = |filter: &&Params| {
                let wanted = filter.texts("Values");
                match filter.at("Name").value() {
                    "auto-scaling-group" => wanted.contains(&group.name),
                    "key" => wanted.contains(key),
                    "value" => wanted.contains(&tag.value),
                    "propagate-at-launch" => wanted.contains(&tag.propagate.to_string()),
                    _ => false,
                }
            };
            if filters.iter().all(fits) {
                found.push((group, key, tag));
            }
        }
    }
    let mut xml = Xml::new();
    xml.members("Tags", found, |xml, (group, key, tag)| write(xml, group, key, tag));
    Ok(xml)
}

/// Writes one tag.
pub fn write(xml: &mut Xml, group: &AutoScalingGroup, key: &str, tag: &GroupTag) {
    xml.text("ResourceId", &group.name).text("ResourceType", "auto-scaling-group");
    xml.text("Key", key).text("Value", &tag.value).text("PropagateAtLaunch", tag.propagate);
}
