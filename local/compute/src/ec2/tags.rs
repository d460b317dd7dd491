//! Tags of EC2 resources.

use super::network;
use crate::Site;
use crate::state::{State, Tags};
use kit::call::{Asked, Need};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};
use kit::tags::{Bound, Flaw, USUAL};

/// Returns the tags that a call gives to the resource it creates, which must be of this type.
pub fn specified(params: &Params, resource_type: &str) -> Result<Tags, ApiError> {
    let specifications = params.items("TagSpecification");
    if let Some(other) = specifications.iter().find(|spec| spec.text("ResourceType") != Some(resource_type)) {
        let kind = other.at("ResourceType").value();
        let text = format!("'{kind}' is not a valid taggable resource type for this operation.");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let pairs = || specifications.iter().flat_map(|spec| spec.pairs("Tag"));
    check(pairs(), &Tags::new())?;
    Ok(pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Checks that tags can be added to a resource that already has the tags `there`. The code for too many tags is from
/// EC2's list of error codes. The other messages were observed in AWS responses, except those about lengths, which
/// imitate them.
fn check<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>, there: &Tags) -> Result<(), ApiError> {
    let invalid = |field: &str, text: &str, why: &str| {
        ApiError::new("InvalidParameterValue", format!("Value ( {text} ) for parameter {field} is invalid. {why}"))
    };
    USUAL.check(tags, there.keys().map(String::as_str)).map_err(|flaw| match flaw {
        Flaw::Reserved(key) => invalid("key", &key, "Tag keys starting with 'aws:' are reserved for internal use"),
        Flaw::Key(_, key, Bound::Least) => invalid("key", &key, "Tag key must not be empty"),
        Flaw::Key(_, key, _) => invalid("key", &key, "Tag key exceeds the maximum length of 128 characters"),
        Flaw::Value(_, _, value, _) => {
            invalid("value", &value, "Tag value exceeds the maximum length of 256 characters")
        }
        Flaw::Twice(key) => ApiError::new("InvalidParameterValue", format!("Duplicate tag key '{key}' specified.")),
        Flaw::TooMany => {
            ApiError::new("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
        }
    })
}

/// Returns the permissions that creating a resource of this type needs. Giving it tags needs `ec2:CreateTags` as well
/// (docs/aws.md §2.5). Its id is not known yet.
pub fn with_creation(asked: &Asked, resource_type: &str) -> Vec<Need> {
    let arn = asked.arn(&format!("{resource_type}/*"));
    let form = asked.call.input.form();
    let parameters = Params::parse(form);
    let specifications = parameters.items("TagSpecification");
    let tags: Vec<(&str, &str)> = specifications.iter().flat_map(|spec| spec.pairs("Tag")).collect();
    let with_tags = |need: Need| {
        tags.iter()
            .fold(need, |need, (key, value)| need.knowing(format!("aws:RequestTag/{key}"), Some((*value).to_owned())))
    };
    let mut needs = vec![with_tags(asked.own(arn.as_str()))];
    if !tags.is_empty() {
        let tag = Need::new("ec2:CreateTags", arn).knowing("ec2:CreateAction", Some(asked.call.operation.clone()));
        needs.push(with_tags(tag));
    }
    needs
}

/// Returns the required permissions: the action on each resource, whose type follows from its id.
pub fn needs(asked: &Asked) -> Vec<Need> {
    let ids = asked.call.input.texts("ResourceId");
    let needs: Vec<Need> =
        ids.iter().map(|id| asked.own(asked.arn(&format!("{}/{id}", kind_of(id).unwrap_or("*"))))).collect();
    if needs.is_empty() { vec![asked.own("*")] } else { needs }
}

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let tags = params.tags("Tag");
    check(params.pairs("Tag"), &Tags::new())?;
    let resources = existing(state, site, params)?;
    for resource in &resources {
        check(params.pairs("Tag"), state.tags_of(resource))?;
    }
    for resource in resources {
        state.tag(&resource, tags.clone());
    }
    Ok(done())
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let resources = existing(state, site, params)?;
    let wanted = params.items("Tag");
    for resource in resources {
        let Some(tags) = state.tags.get_mut(&resource) else {
            continue;
        };
        let is_removed = |key: &str, value: &str| {
            wanted
                .iter()
                .any(|tag| tag.text("Key") == Some(key) && (!tag.has("Value") || tag.at("Value").value() == value))
        };
        tags.retain(|key, value| !(is_removed(key, value) || wanted.is_empty() && !key.starts_with("aws:")));
    }
    Ok(done())
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for (resource, tags) in &state.tags {
        let Some(kind) = kind_of(resource) else {
            continue;
        };
        for (key, value) in tags {
            let passes = filters.pass(tags, |name| match name {
                "resource-id" => fact(resource),
                "resource-type" => fact(kind),
                "key" => fact(key),
                "value" => fact(value),
                _ => None,
            })?;
            if passes {
                found.push((resource, kind, key, value));
            }
        }
    }
    let mut xml = Xml::new();
    xml.set("tagSet", found, |xml, (resource, kind, key, value)| {
        xml.text("resourceId", resource).text("resourceType", kind).text("key", key).text("value", value);
    });
    Ok(xml)
}

fn done() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

/// Returns the resources of a call, all of which must exist.
fn existing(state: &State, site: &Site, params: &Params) -> Result<Vec<String>, ApiError> {
    let resources = params.texts("ResourceId");
    match resources.iter().find_map(|id| missing(state, site, id)) {
        Some(fault) => Err(fault),
        None => Ok(resources),
    }
}

fn missing(state: &State, site: &Site, id: &str) -> Option<ApiError> {
    let (there, code, what) = match kind_of(id) {
        Some("security-group") => (state.security_groups.contains_key(id), "InvalidGroup.NotFound", "security group"),
        Some("launch-template") => {
            (state.launch_templates.contains_key(id), "InvalidLaunchTemplateId.NotFound", "launch template")
        }
        Some("instance") => (state.instances.contains_key(id), "InvalidInstanceID.NotFound", "instance ID"),
        Some("vpc") => (network::vpc(state, site, id).is_ok(), "InvalidVpcID.NotFound", "vpc ID"),
        Some("subnet") => (network::subnet(state, site, id).is_some(), "InvalidSubnetID.NotFound", "subnet ID"),
        Some("internet-gateway") => {
            (network::gateways(state, site).contains_key(id), "InvalidInternetGatewayID.NotFound", "internetGateway ID")
        }
        Some("route-table") => {
            let there = network::route_tables(state, site).iter().any(|table| table.id == id);
            (there, "InvalidRouteTableID.NotFound", "routeTable ID")
        }
        Some("elastic-ip") => (state.addresses.contains_key(id), "InvalidAllocationID.NotFound", "allocation ID"),
        Some("volume") => {
            let there = state.instances.values().any(|one| one.volumes.iter().any(|volume| volume.id == id));
            (there, "InvalidVolume.NotFound", "volume")
        }
        Some("network-interface") => {
            let there = state.interfaces.contains_key(id)
                || state.instances.keys().any(|instance| super::interfaces::of_instance(instance) == id);
            (there, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID")
        }
        Some("security-group-rule") => {
            let there = state.security_groups.values().any(|group| group.rules.iter().any(|rule| rule.id == id));
            (there, "InvalidSecurityGroupRuleId.NotFound", "security group rule ID")
        }
        _ => (false, "InvalidID", "ID"),
    };
    (!there).then(|| ApiError::new(code, format!("The {what} '{id}' does not exist")))
}

/// Returns the type of the resource with an id, or `None` for the ARNs of load balancing resources.
fn kind_of(id: &str) -> Option<&'static str> {
    Some(match id.split_once('-')?.0 {
        "sg" => "security-group",
        "sgr" => "security-group-rule",
        "lt" => "launch-template",
        "i" => "instance",
        "eni" => "network-interface",
        "vol" => "volume",
        "vpc" => "vpc",
        "subnet" => "subnet",
        "igw" => "internet-gateway",
        "rtb" => "route-table",
        "eipalloc" => "elastic-ip",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::site;
    use kit::speed::Speed;

    #[test]
    fn the_default_network_can_be_tagged() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        for (kind, name, expected) in [
            ("vpc", "us-east-1", Ok(())),
            ("subnet", "us-east-1b", Ok(())),
            ("igw", "us-east-1", Ok(())),
            ("rtb", "us-east-1", Ok(())),
            ("vpc", "us-east-2", Err("InvalidVpcID.NotFound")),
            ("subnet", "us-east-2b", Err("InvalidSubnetID.NotFound")),
            ("igw", "us-east-2", Err("InvalidInternetGatewayID.NotFound")),
            ("rtb", "us-east-2", Err("InvalidRouteTableID.NotFound")),
        ] {
            let id = network::stable_id(kind, name);
            let form = [("ResourceId.1", &*id), ("Tag.1.Key", "a"), ("Tag.1.Value", "b")];
            let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let made = create(&mut state, &site, &Params::parse(&form));
            assert_eq!(made.map(drop).map_err(|fault| fault.code), expected, "{kind} {name}");
            assert_eq!(state.tags_of(&id).contains_key("a"), expected.is_ok(), "{kind} {name}");
        }
    }
}
