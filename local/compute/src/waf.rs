//! AWS WAF: the web ACLs of load balancers (docs/aws.md §9.11).
//!
//! Web ACLs cannot be created here: a well-formed ARN of this account and region stands for one that exists, but for the id
//! below, so that errors can be tried out. They inspect no requests.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::state::{LoadBalancer, State};
use crate::{Compute, Site};
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Asked, Call, Effect, Need, Needs, Operation, Rows};
use kit::{constraint, parameters};

/// The kind by which [`Asked::entity_arn`] finds the web ACL of a load balancer.
pub const OF_LOAD_BALANCER: &str = "web-acl-of-load-balancer";

/// The id of a web ACL that does not exist.
const ABSENT_ID: &str = "00000000-0000-0000-0000-000000000000";

/// The function behind an operation. One that reads cannot change the state.
#[derive(Debug, Clone, Copy)]
enum Run {
    Reads(fn(&State, &Site, &Value) -> Result<Value, Refusal>),
    Writes(fn(&mut State, &Site, &Value) -> Result<Value, Refusal>),
}

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<Run>] = &[
    row("AssociateWebACL", Run::Writes(associate), Needs::Of(to_associate), "ResourceArn WebACLArn"),
    row("DisassociateWebACL", Run::Writes(disassociate), Needs::Of(to_disassociate), "ResourceArn"),
    row("GetWebACL", Run::Reads(get), Needs::Of(to_get), "Name Scope Id"),
    row("GetWebACLForResource", Run::Reads(get_for_resource), Needs::Of(to_get_for_resource), "ResourceArn"),
];

const fn row(name: &'static str, run: Run, needs: Needs, parameters: &'static str) -> Operation<Run> {
    let effect = match run {
        Run::Reads(_) => Effect::Reads,
        Run::Writes(_) => Effect::Writes,
    };
    Operation::new(name, effect, needs, None, parameters, run)
}

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Handles a call; `None` if there is no such operation.
pub fn answer(call: &Call, compute: &Compute) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    let input = parameters::document(operation.parameters, call.input.json());
    let answer = input.and_then(|input| match operation.run {
        Run::Reads(run) => compute.read(|state| run(state, &compute.site, input)),
        Run::Writes(run) => compute.try_change(|state, site| run(state, site, input)),
    });
    Some(match answer {
        Ok(answer) => json_answer(200, Protocol::Json11, &answer),
        Err(refusal) => refusal.answer(Protocol::Json11),
    })
}

/// The ARN in a parameter; `*` if it is missing.
fn arn<'a>(asked: &'a Asked<'_>, parameter: &str) -> &'a str {
    asked.call.input.text(parameter).unwrap_or("*")
}

/// A permission of Elastic Load Balancing on the load balancer of a call.
fn on_balancer(asked: &Asked, action: &str) -> Need {
    Need::new(format!("elasticloadbalancing:{action}"), arn(asked, "ResourceArn"))
}

fn to_associate(asked: &Asked) -> Vec<Need> {
    vec![
        asked.own(arn(asked, "WebACLArn")),
        on_balancer(asked, "CreateWebACLAssociation"),
        on_balancer(asked, "SetWebAcl"),
    ]
}

fn to_disassociate(asked: &Asked) -> Vec<Need> {
    vec![asked.own("*"), on_balancer(asked, "DeleteWebACLAssociation"), on_balancer(asked, "SetWebAcl")]
}

fn to_get(asked: &Asked) -> Vec<Need> {
    let part = |parameter: &str| Some(asked.text(parameter)).filter(|text| !text.is_empty()).unwrap_or("*");
    vec![asked.own(asked.arn(&format!("regional/webacl/{}/{}", part("Name"), part("Id"))))]
}

fn to_get_for_resource(asked: &Asked) -> Vec<Need> {
    // As long as there is none, it may be any.
    let web_acl = (asked.entity_arn)(OF_LOAD_BALANCER, arn(asked, "ResourceArn"));
    let web_acl = web_acl.unwrap_or_else(|| asked.arn("regional/webacl/*"));
    vec![
        asked.own(web_acl.as_str()),
        Need::new("wafv2:GetWebACL", web_acl),
        on_balancer(asked, "GetLoadBalancerWebACL"),
    ]
}

fn associate(state: &mut State, site: &Site, input: &Value) -> Result<Value, Refusal> {
    let web_acl = arn_in(input, "WebACLArn")?.to_owned();
    let balancer = balancer(state, input)?.arn.clone();
    let WebAcl { id, .. } = WebAcl::of(&web_acl, site).ok_or_else(|| invalid(&web_acl))?;
    if id == ABSENT_ID {
        return Err(nonexistent());
    }
    let balancer = state.load_balancers.get_mut(&balancer).ok_or_else(nonexistent)?;
    available(balancer)?;
    balancer.web_acl = Some(web_acl);
    Ok(json!({}))
}

fn disassociate(state: &mut State, _: &Site, input: &Value) -> Result<Value, Refusal> {
    let balancer = balancer(state, input)?.arn.clone();
    state.load_balancers.get_mut(&balancer).ok_or_else(nonexistent)?.web_acl = None;
    Ok(json!({}))
}

/// The scope is `CLOUDFRONT` for web ACLs of CloudFront, of which there are none.
fn get(_: &State, site: &Site, input: &Value) -> Result<Value, Refusal> {
    let name = required(input, "Name", 1..=128)?;
    let scope = required(input, "Scope", 1..=usize::MAX)?;
    constraint::one_of(&constraint::member("Scope"), scope, &["CLOUDFRONT", "REGIONAL"]).map_err(invalid_input)?;
    let id = required(input, "Id", 1..=64)?;
    let arn = format!("arn:aws:wafv2:{}:{}:regional/webacl/{name}/{id}", site.region, site.account);
    match WebAcl::of(&arn, site).filter(|it| it.id != ABSENT_ID && scope == "REGIONAL") {
        // Nothing changes it: its token is its id.
        Some(web_acl) => Ok(json!({ "WebACL": described(&arn, &web_acl, site), "LockToken": web_acl.id })),
        None => Err(nonexistent()),
    }
}

fn get_for_resource(state: &State, site: &Site, input: &Value) -> Result<Value, Refusal> {
    let balancer = balancer(state, input)?;
    available(balancer)?;
    let arn = balancer.web_acl.as_deref();
    let there = arn.and_then(|arn| Some((arn, WebAcl::of(arn, site)?)));
    Ok(there.map_or_else(|| json!({}), |(arn, web_acl)| json!({ "WebACL": described(arn, &web_acl, site) })))
}

fn described(arn: &str, WebAcl { name, id }: &WebAcl, site: &Site) -> Value {
    json!({
        "Name": name,
        "Id": id,
        "ARN": arn,
        "DefaultAction": { "Allow": {} },
        "Rules": [],
        "VisibilityConfig": {
            "SampledRequestsEnabled": false,
            "CloudWatchMetricsEnabled": false,
            "MetricName": name,
        },
        "Capacity": 0,
        "ManagedByFirewallManager": false,
        "RetrofittedByFirewallManager": false,
        "LabelNamespace": format!("awswaf:{}:webacl:{name}:", site.account),
    })
}

/// A web ACL, as its ARN names it.
struct WebAcl<'a> {
    name: &'a str,
    id: &'a str,
}

impl<'a> WebAcl<'a> {
    /// The one with this ARN; `None` if it is not a regional one of this account and region.
    fn of(arn: &'a str, site: &Site) -> Option<WebAcl<'a>> {
        let ours = format!("arn:aws:wafv2:{}:{}:regional/webacl/", site.region, site.account);
        let (name, id) = arn.strip_prefix(ours.as_str())?.split_once('/')?;
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(is_of_names);
        (is_name && is_id(id)).then_some(WebAcl { name, id })
    }
}

/// Whether this has the form of a UUID.
fn is_id(id: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    let parts: Vec<&str> = id.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| part.len() == length && is_hex(part))
}

/// Returns an ARN that has to be given.
fn arn_in<'a>(input: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    required(input, name, 20..=2048)
}

/// Returns a parameter that has to be given, and have a length in this range.
fn required<'a>(input: &'a Value, name: &str, lengths: RangeInclusive<usize>) -> Result<&'a str, Refusal> {
    let member = constraint::member(name);
    let text = input[name].as_str().ok_or_else(|| invalid_input(constraint::missing(&member)))?;
    constraint::bound(&member, text.chars().count(), lengths).map_err(invalid_input)?;
    Ok(text)
}

fn invalid_input(message: String) -> Refusal {
    Refusal::new(400, "ValidationException", message)
}

/// Returns the load balancer of a call. Resources of other types do not exist here.
fn balancer<'a>(state: &'a State, input: &Value) -> Result<&'a LoadBalancer, Refusal> {
    let arn = arn_in(input, "ResourceArn")?;
    match arn.split(':').nth(5) {
        Some(resource)
            if arn.starts_with("arn:aws:elasticloadbalancing:") && resource.starts_with("loadbalancer/app/") =>
        {
            state.load_balancers.get(arn).ok_or_else(nonexistent)
        }
        _ => Err(invalid(arn)),
    }
}

/// Refuses a load balancer that is still being provisioned.
fn available(balancer: &LoadBalancer) -> Result<(), Refusal> {
    let message = "AWS WAF couldn\u{2019}t retrieve the resource that you requested. Retry your request.";
    match balancer.active {
        true => Ok(()),
        false => Err(Refusal::new(400, "WAFUnavailableEntityException", message)),
    }
}

/// The field is the same for both ARNs.
fn invalid(arn: &str) -> Refusal {
    let message = format!(
        "Error reason: The ARN isn't valid. A valid ARN begins with arn: and includes other information separated by \
         colons or slashes., field: RESOURCE_ARN, parameter: {arn}"
    );
    Refusal::new(400, "WAFInvalidParameterException", message)
}

fn nonexistent() -> Refusal {
    let message = "AWS WAF couldn\u{2019}t perform the operation because your resource doesn\u{2019}t exist.";
    Refusal::new(400, "WAFNonexistentItemException", message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Moment;
    use crate::fixture::site;
    use chaos::Chaos;
    use kit::speed::Speed;

    #[test]
    fn web_acls_are_regional_ones_of_this_account_and_region() {
        let site = site(Speed::default(), Chaos::default());
        let id = "12345678-1234-1234-1234-123456789abc";
        let found = |arn: &str| WebAcl::of(arn, &site).map(|WebAcl { name, id }| format!("{name} {id}"));
        let ours = "arn:aws:wafv2:us-east-1:000000000000:regional/webacl";
        assert_eq!(found(&format!("{ours}/my_acl-1/{id}")), Some(format!("my_acl-1 {id}")));
        for other in [
            format!("{ours}/{id}"),
            format!("{ours}/a/b/{id}"),
            format!("{ours}/a b/{id}"),
            format!("{ours}/a/{}", id.to_uppercase()),
            format!("{ours}/a/12345678"),
            format!("arn:aws:wafv2:us-east-1:000000000000:global/webacl/a/{id}"),
            format!("arn:aws:wafv2:us-east-1:123456789012:regional/webacl/a/{id}"),
            format!("arn:aws:wafv2:eu-west-3:000000000000:regional/webacl/a/{id}"),
            format!("arn:aws:waf-regional:us-east-1:000000000000:webacl/{id}"),
        ] {
            assert_eq!(found(&other), None, "{other}");
        }
    }

    const BALANCER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
    const WEB_ACL: &str = "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/a/12345678-1234-1234-1234-123456789abc";

    fn with_balancer(active: bool) -> State {
        let one = LoadBalancer {
            arn: BALANCER.to_owned(),
            name: "web".to_owned(),
            scheme: String::new(),
            ip_address_type: String::new(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            created: Moment::now(),
            active,
            port: 0,
            attributes: BTreeMap::new(),
            web_acl: None,
        };
        let mut state = State::default();
        state.load_balancers.insert(BALANCER.to_owned(), one);
        state
    }

    #[test]
    fn what_does_not_exist_or_is_not_active_is_refused() {
        let site = site(Speed::default(), Chaos::default());
        let absent = WEB_ACL.replace("12345678-1234-1234-1234-123456789abc", ABSENT_ID);
        let global = WEB_ACL.replace("regional", "global");
        let gone = BALANCER.replace("/1", "/2");
        let network = BALANCER.replace("/app/", "/net/");
        let tried = |active: bool, balancer: &str, web_acl: &str| {
            let mut state = with_balancer(active);
            let input = json!({ "ResourceArn": balancer, "WebACLArn": web_acl });
            associate(&mut state, &site, &input).map_err(|refusal| refusal.code)
        };
        for (active, balancer, web_acl, code) in [
            (false, BALANCER, WEB_ACL, "WAFUnavailableEntityException"),
            (true, BALANCER, absent.as_str(), "WAFNonexistentItemException"),
            (true, BALANCER, global.as_str(), "WAFInvalidParameterException"),
            (true, gone.as_str(), WEB_ACL, "WAFNonexistentItemException"),
            (true, network.as_str(), WEB_ACL, "WAFInvalidParameterException"),
            (true, BALANCER, "short", "ValidationException"),
        ] {
            assert_eq!(tried(active, balancer, web_acl), Err(code.to_owned()), "{balancer} {web_acl}");
        }
        assert_eq!(tried(true, BALANCER, WEB_ACL), Ok(json!({})));
        let read = |active: bool| get_for_resource(&with_balancer(active), &site, &json!({ "ResourceArn": BALANCER }));
        assert_eq!(read(true), Ok(json!({})));
        assert_eq!(read(false).map_err(|refusal| refusal.code), Err("WAFUnavailableEntityException".to_owned()));
        let missing = get_for_resource(&with_balancer(true), &site, &json!({}));
        assert_eq!(missing.unwrap_err().code, "ValidationException");
    }

    #[test]
    fn a_web_acl_is_found_by_its_name_and_id() {
        let site = site(Speed::default(), Chaos::default());
        let found = |name: &str, scope: &str, id: &str| {
            let answer = get(&State::default(), &site, &json!({ "Name": name, "Scope": scope, "Id": id }));
            answer.map(|answer| answer["WebACL"]["ARN"].clone()).map_err(|refusal| refusal.code)
        };
        let id = "12345678-1234-1234-1234-123456789abc";
        assert_eq!(found("a", "REGIONAL", id), Ok(json!(WEB_ACL)));
        for (name, scope, id, code) in [
            ("a", "REGIONAL", ABSENT_ID, "WAFNonexistentItemException"),
            ("a", "CLOUDFRONT", id, "WAFNonexistentItemException"),
            ("a", "REGIONAL", "1", "WAFNonexistentItemException"),
            ("", "REGIONAL", id, "ValidationException"),
            ("a", "GLOBAL", id, "ValidationException"),
        ] {
            assert_eq!(found(name, scope, id), Err(code.to_owned()), "{name} {scope} {id}");
        }
    }
}
