//! Tags of load balancers, target groups and listeners.

use super::{listeners, load_balancers, target_groups};
use crate::compute::Site;
use crate::compute::state::State;
use crate::compute::wire::{Answer, Fault, Params, Xml};

pub fn add(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arns = existing(state, params)?;
    let tags = params.items("Tags");
    let wanted = params.tags("Tags");
    if wanted.len() < tags.len() {
        return Err(Fault::new("DuplicateTagKeys", "A tag key was specified more than once"));
    }
    if let Some(key) = wanted.keys().find(|key| key.starts_with("aws:")) {
        return Err(Fault::new(
            "ValidationError",
            format!("aws: prefixed tag key names are not allowed for external use: {key}"),
        ));
    }
    for arn in arns {
        state.tag(&arn, wanted.clone());
    }
    Ok(Xml::new())
}

pub fn remove(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let keys = params.texts("TagKeys");
    for arn in existing(state, params)? {
        if let Some(tags) = state.tags.get_mut(&arn) {
            tags.retain(|key, _| !keys.contains(key));
        }
    }
    Ok(Xml::new())
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let arns = existing(state, params)?;
    let mut xml = Xml::new();
    xml.members("TagDescriptions", arns, |xml, arn| {
        xml.text("ResourceArn", &arn).members("Tags", state.tags_of(&arn), |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        });
    });
    Ok(xml)
}

fn existing(state: &State, params: &Params) -> Result<Vec<String>, Fault> {
    let arns = params.texts("ResourceArns");
    if arns.is_empty() || arns.len() > 20 {
        return Err(Fault::new("ValidationError", "Between 1 and 20 resource ARNs must be specified"));
    }
    for arn in &arns {
        match arn {
            arn if arn.contains(":targetgroup/") => drop(target_groups::by_arn(state, arn)?),
            arn if arn.contains(":listener/") => drop(listeners::by_arn(state, arn)?),
            arn => drop(load_balancers::by_arn(state, arn)?),
        }
    }
    Ok(arns)
}
