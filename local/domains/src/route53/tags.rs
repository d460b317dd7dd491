//! Tags of hosted zones.

use std::collections::BTreeMap;

use super::state::{State, Zone};
use super::{Answer, Context, Route53Request, invalid_input, no_zone};
use kit::answer::Refusal;
use kit::query::Xml;
use kit::tags::{Flaw, Rules, USUAL};

/// A zone has ten tags at most (docs/aws.md §21.4).
const RULES: Rules = Rules { most: 10, ..USUAL };

fn check_kind(request: &Route53Request) -> Result<(), Refusal> {
    match request.segment(2) {
        "hostedzone" => Ok(()),
        "healthcheck" => {
            let text = format!("A health check with id {} does not exist.", request.segment(3));
            Err(Refusal::new(404, "NoSuchHealthCheck", text))
        }
        other => Err(invalid_input(format!("{other} is not a resource type with tags"))),
    }
}

fn zone<'a>(state: &'a State, id: &str) -> Result<&'a Zone, Refusal> {
    state.zones.get(id).ok_or_else(|| no_zone(id))
}

pub fn list(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    check_kind(request)?;
    let zone = zone(state, request.segment(3))?;
    let mut xml = Xml::new();
    xml.within("ResourceTagSet", |xml| write(xml, zone));
    Ok(xml.into())
}

pub fn list_several(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    check_kind(request)?;
    let ids = request.body.items("ResourceIds");
    if !(1..=10).contains(&ids.len()) {
        return Err(invalid_input("A call has between 1 and 10 resource IDs"));
    }
    let zones: Vec<&Zone> = ids.iter().map(|id| zone(state, id.text.trim())).collect::<Result<_, Refusal>>()?;
    let mut xml = Xml::new();
    xml.list("ResourceTagSets", "ResourceTagSet", zones, write);
    Ok(xml.into())
}

fn write(xml: &mut Xml, zone: &Zone) {
    xml.text("ResourceType", "hostedzone").text("ResourceId", &zone.id);
    xml.list("Tags", "Tag", &zone.tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
}

pub fn change(state: &mut State, _context: &Context, request: &Route53Request) -> Answer {
    check_kind(request)?;
    let id = request.segment(3);
    let zone = state.zones.get_mut(id).ok_or_else(|| no_zone(id))?;
    let added: Vec<(&str, &str)> = request
        .body
        .items("AddTags")
        .iter()
        .map(|tag| (tag.text("Key").unwrap_or_default(), tag.text("Value").unwrap_or_default()))
        .collect();
    let removed: Vec<&str> = request.body.items("RemoveTagKeys").iter().map(|key| key.text.trim()).collect();
    if added.is_empty() && removed.is_empty() {
        return Err(invalid_input("Either AddTags or RemoveTagKeys must be specified"));
    }
    let mut tags: BTreeMap<String, String> = zone.tags.clone();
    tags.retain(|key, _| !removed.contains(&key.as_str()));
    RULES.check(added.iter().copied(), tags.keys().map(String::as_str)).map_err(refusal)?;
    tags.extend(added.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    zone.tags = tags;
    Ok(Xml::new().into())
}

fn refusal(flaw: Flaw) -> Refusal {
    let text = flaw.in_list("addTags").unwrap_or_else(|| match flaw {
        Flaw::Reserved(key) => format!("The tag key '{key}' begins with the reserved prefix aws:"),
        Flaw::Twice(key) => format!("The tag key '{key}' is specified more than once"),
        _ => format!("A resource may have {} tags at most", RULES.most),
    });
    invalid_input(text)
}
