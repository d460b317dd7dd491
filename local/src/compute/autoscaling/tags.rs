//! Tags of Auto Scaling groups.

use super::groups;
use crate::compute::Site;
use crate::compute::state::{Group, GroupTag, State};
use crate::compute::wire::{Answer, Fault, Params, Xml};

/// The tags of a creating call.
pub fn read(params: &Params) -> Vec<(String, GroupTag)> {
    let tag = |item: &Params| {
        let tag = GroupTag { value: item.at("Value").value().to_owned(), propagate: item.flag("PropagateAtLaunch") };
        (item.at("Key").value().to_owned(), tag)
    };
    params.items("Tags").into_iter().map(tag).collect()
}

pub fn create_or_update(state: &mut State, _site: &Site, params: &Params) -> Answer {
    for (item, (key, tag)) in named(state, params)?.into_iter().zip(read(params)) {
        groups::by_name_mut(state, &item)?.tags.insert(key, tag);
    }
    Ok(Xml::new())
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    for (item, (key, _)) in named(state, params)?.into_iter().zip(read(params)) {
        groups::by_name_mut(state, &item)?.tags.remove(&key);
    }
    Ok(Xml::new())
}

/// The group of each tag of a call, which all have to be there.
fn named(state: &State, params: &Params) -> Result<Vec<String>, Fault> {
    params
        .items("Tags")
        .into_iter()
        .map(|item| Ok(groups::by_name(state, item.required("ResourceId")?)?.name.clone()))
        .collect()
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let filters = params.items("Filters");
    let mut found: Vec<(&Group, &String, &GroupTag)> = Vec::new();
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
pub fn write(xml: &mut Xml, group: &Group, key: &str, tag: &GroupTag) {
    xml.text("ResourceId", &group.name).text("ResourceType", "auto-scaling-group");
    xml.text("Key", key).text("Value", &tag.value).text("PropagateAtLaunch", tag.propagate);
}
