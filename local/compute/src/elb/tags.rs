//! Tags of load balancers, target groups, listeners and rules.

use crate::Site;
use crate::state::{State, Tags};
use kit::query::{Answer, ApiError, Params, Xml};
use kit::tags::{Flaw, USUAL};

pub fn add(state: &mut State, _site: &Site, params: &Params) -> Answer {
    super::needs(params, "Tags")?;
    let arns = existing(state, params)?;
    let wanted = params.tags("Tags");
    for arn in &arns {
        check(params, state.tags_of(arn))?;
    }
    for arn in arns {
        state.tag(&arn, wanted.clone());
    }
    Ok(Xml::new())
}

/// Returns the tags in a call that creates a resource.
pub fn wanted(params: &Params) -> Result<Tags, ApiError> {
    check(params, &Tags::new())?;
    Ok(params.tags("Tags"))
}

/// Checks that a call's tags can be added to a resource that already has the tags `there`. The messages are those of
/// load balancing (`API:elbv2.AddTags`); those about duplicate keys and about reserved keys were observed in AWS
/// responses.
fn check(params: &Params, there: &Tags) -> Result<(), ApiError> {
    let checked = USUAL.check(params.pairs("Tags"), there.keys().map(String::as_str));
    checked.map_err(|flaw| match flaw {
        Flaw::Twice(_) => {
            let text = "Duplicate Tag Keys found in the request. Tag keys should be unique.";
            ApiError::new("DuplicateTagKeys", text)
        }
        Flaw::TooMany => ApiError::new("TooManyTags", "You've reached the limit on the number of tags per resource"),
        Flaw::Reserved(key) => ApiError::new("ValidationError", format!("Tag key '{key}' cannot start with 'aws:'")),
        flaw => ApiError::new("ValidationError", flaw.in_list("tags").unwrap_or_default()),
    })
}

pub fn remove(state: &mut State, _site: &Site, params: &Params) -> Answer {
    super::needs(params, "TagKeys")?;
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

fn existing(state: &State, params: &Params) -> Result<Vec<String>, ApiError> {
    let arns = params.texts("ResourceArns");
    if arns.is_empty() || arns.len() > 20 {
        return Err(ApiError::new("ValidationError", "Between 1 and 20 resource ARNs must be specified"));
    }
    for arn in &arns {
        match arn {
            arn if arn.contains(":targetgroup/") => drop(state.target_group(arn)?),
            arn if arn.contains(":listener/") => drop(state.listener(arn)?),
            arn if arn.contains(":listener-rule/") => drop(state.rule(arn)?),
            arn => drop(state.load_balancer(arn)?),
        }
    }
    Ok(arns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::site;
    use kit::speed::Speed;

    #[test]
    fn lists_that_a_call_needs_are_required() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        type Call = fn(&mut State, &Site, &Params) -> Answer;
        for (call, list) in [(add as Call, "Tags"), (remove, "TagKeys")] {
            let mut code = |form: &[(&str, &str)]| {
                let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                call(&mut state, &site, &Params::parse(&form)).unwrap_err().code
            };
            let arn = ("ResourceArns.member.1", "arn:aws:elasticloadbalancing:us-east-1:0:loadbalancer/app/web/1");
            assert_eq!(code(&[arn]), "ValidationError", "{list}");
            assert_eq!(code(&[arn, (&*format!("{list}.member.1"), "k")]), "LoadBalancerNotFound", "{list}");
        }
    }
}
