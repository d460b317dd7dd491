//! Listeners: a port of a load balancer, and the actions for its requests (docs/aws.md §9.5).

use super::{SslPolicy, certificates, load_balancers::vpc_of, policies, rules, tags};
use crate::Site;
use crate::state::{Action, Listener, State, new_hex};
use kit::constraint;
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params, Xml};

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let balancer = state.load_balancer(params.required("LoadBalancerArn")?)?;
    let (arn, main_port) = (balancer.arn.clone(), balancer.port);
    let port: u16 =
        params.parsed("Port")?.ok_or_else(|| ApiError::new("ValidationError", "A listener port must be specified"))?;
    let port = checked_port(port)?;
    let protocol =
        protocol(params)?.ok_or_else(|| ApiError::new("ValidationError", "A listener protocol must be specified"))?;
    let (certificates, ssl_policy) = security(site, params, &protocol, None)?;
    let actions = actions(state, params, "DefaultActions")?;
    check_redirects(&actions, &protocol, port)?;
    check_groups(state, site, &arn, &actions)?;
    let tags = tags::wanted(params)?;
    if let Some(taken) = state.listeners_of(&arn).find(|listener| listener.port == port) {
        let is_same = taken.protocol == protocol
            && taken.actions == actions
            && taken.certificates.first() == certificates.first()
            && taken.ssl_policy == ssl_policy;
        if !is_same {
            let message = "A listener already exists on this port for this load balancer";
            return Err(ApiError::new("DuplicateListener", message));
        }
        return Ok(shown([taken]));
    }
    let main_is_free = !state.listeners_of(&arn).any(|listener| listener.local_port == main_port);
    let local_port = if main_is_free { Some(main_port) } else { site.ports.reserve(None) };
    let local_port = local_port.ok_or_else(|| ApiError::new("InternalFailure", "no port is free on this machine"))?;
    let listener = Listener {
        arn: format!("{}/{}", arn.replacen(":loadbalancer/", ":listener/", 1), new_hex()),
        load_balancer: arn,
        port,
        protocol,
        actions,
        local_port,
        certificates,
        ssl_policy,
    };
    state.tag(&listener.arn, tags);
    state.listeners.insert(listener.arn.clone(), listener.clone());
    Ok(shown([&listener]))
}

fn protocol(params: &Params) -> Result<Option<String>, ApiError> {
    match params.text("Protocol") {
        Some(known @ ("HTTP" | "HTTPS")) => Ok(Some(known.to_owned())),
        Some(other) => {
            Err(ApiError::new("ValidationError", format!("Protocol '{other}' must be one of 'HTTP, HTTPS'")))
        }
        None => Ok(None),
    }
}

/// Returns the certificates, of which the first is the default, and the security policy of a listener.
fn security(
    site: &Site,
    params: &Params,
    protocol: &str,
    before: Option<&Listener>,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let default = certificates::default(site, params)?;
    let policy = params.text("SslPolicy").map(SslPolicy::required).transpose()?;
    if params.has("AlpnPolicy") {
        return Err(ApiError::new(
            "ALPNPolicyNotFound",
            "ALPN policies are not supported for application load balancers",
        ));
    }
    if protocol != "HTTPS" {
        return match (default, policy) {
            (None, None) => Ok((Vec::new(), None)),
            (Some(_), _) => {
                Err(ApiError::new("ValidationError", "A certificate cannot be specified for HTTP listeners"))
            }
            (_, Some(_)) => {
                Err(ApiError::new("ValidationError", "An SSL policy cannot be specified for HTTP listeners"))
            }
        };
    }
    let mut certificates = before.map(|before| before.certificates.clone()).unwrap_or_default();
    match default {
        Some(default) => {
            certificates.drain(..certificates.len().min(1));
            certificates.insert(0, default);
        }
        None if certificates.is_empty() => {
            return Err(ApiError::new("ValidationError", "A certificate must be specified for HTTPS listeners"));
        }
        None => (),
    }
    let kept = before.and_then(|before| before.ssl_policy.clone());
    let policy = policy.map(|policy| policy.name.to_owned()).or(kept);
    Ok((certificates, Some(policy.unwrap_or_else(|| policies::DEFAULT.to_owned()))))
}

fn checked_port(port: u16) -> Result<u16, ApiError> {
    match port {
        0 => Err(ApiError::new("ValidationError", "Listener port '0' must be between 1 and 65535")),
        port => Ok(port),
    }
}

/// Returns the actions in a list of the call. Their target groups must exist.
pub fn actions(state: &State, params: &Params, list: &str) -> Result<Vec<Action>, ApiError> {
    let mut items = params.items(list);
    if items.is_empty() {
        let what = if list == "DefaultActions" { "A default action" } else { "An action" };
        return Err(ApiError::new("ValidationError", format!("{what} must be specified")));
    }
    items.sort_by_key(|item| item.parsed::<u32>("Order").ok().flatten().unwrap_or(0));
    let actions: Vec<Action> = items.into_iter().map(action).collect::<Result<_, ApiError>>()?;
    let groups =
        actions.iter().filter_map(|action| if let Action::Forward(groups) = action { Some(groups) } else { None });
    for (arn, _) in groups.flatten() {
        state.target_group(arn)?;
    }
    Ok(actions)
}

/// Checks that the target groups are in the VPC of the load balancer, and that no other one uses them.
pub fn check_groups(state: &State, site: &Site, load_balancer: &str, actions: &[Action]) -> Result<(), ApiError> {
    let vpc = vpc_of(state, site, state.load_balancer(load_balancer)?);
    let groups = actions.iter().flat_map(|action| match action {
        Action::Forward(groups) => groups.as_slice(),
        _ => &[],
    });
    for (arn, _) in groups {
        if state.target_group(arn)?.vpc != vpc {
            let message = format!("Target group '{arn}' is in a different VPC than load balancer '{load_balancer}'");
            return Err(ApiError::new("InvalidConfigurationRequest", message));
        }
        if state.balancers_of(arn).into_iter().any(|other| other != load_balancer) {
            let message =
                format!("The following target groups cannot be associated with more than one load balancer: {arn}");
            return Err(ApiError::new("TargetGroupAssociationLimit", message));
        }
    }
    Ok(())
}

fn action(item: &Params) -> Result<Action, ApiError> {
    match item.required("Type")? {
        "forward" => {
            let mut groups = Vec::new();
            for group in item.items("ForwardConfig.TargetGroups") {
                groups.push((group.required("TargetGroupArn")?.to_owned(), group.parsed("Weight")?.unwrap_or(1)));
            }
            if let (Some(arn), true) = (item.text("TargetGroupArn"), groups.is_empty()) {
                groups.push((arn.to_owned(), 1));
            }
            if groups.is_empty() {
                return Err(ApiError::new("ValidationError", "A target group ARN must be specified"));
            }
            if groups.len() > 5 || groups.iter().any(|(_, weight)| *weight > 999) {
                let text = "An action forwards to five target groups at most, with weights between 0 and 999";
                return Err(ApiError::new("ValidationError", text));
            }
            Ok(Action::Forward(groups))
        }
        "redirect" => {
            let part =
                |name: &str, default: &str| item.text(&format!("RedirectConfig.{name}")).unwrap_or(default).to_owned();
            let status = item.required("RedirectConfig.StatusCode")?;
            one_of("RedirectConfig.StatusCode", status, &["HTTP_301", "HTTP_302"])?;
            let protocol = part("Protocol", "#{protocol}");
            one_of("RedirectConfig.Protocol", &protocol, &["HTTP", "HTTPS", "#{protocol}"])?;
            let redirect = Action::Redirect {
                protocol,
                host: part("Host", "#{host}"),
                port: part("Port", "#{port}"),
                path: part("Path", "/#{path}"),
                query: part("Query", "#{query}"),
                status: status.to_owned(),
            };
            check_redirect(&redirect)?;
            Ok(redirect)
        }
        "fixed-response" => {
            let status = item.required("FixedResponseConfig.StatusCode")?;
            let is_status = status.len() == 3 && status.parse::<u16>().is_ok() && status.starts_with(['2', '4', '5']);
            let (kind, body) =
                (item.text("FixedResponseConfig.ContentType"), item.text("FixedResponseConfig.MessageBody"));
            if !is_status || body.is_some_and(|body| body.len() > 1024) {
                let text = "A fixed response has a status of 2XX, 4XX or 5XX and a body of 1024 bytes at most";
                return Err(ApiError::new("ValidationError", text));
            }
            if let Some(kind) = kind {
                one_of("FixedResponseConfig.ContentType", kind, CONTENT_TYPES)?;
            }
            Ok(Action::Fixed {
                status: status.to_owned(),
                content_type: kind.map(str::to_owned),
                body: body.map(str::to_owned),
            })
        }
        kind @ ("authenticate-cognito" | "authenticate-oidc" | "jwt-validation") => {
            Err(ApiError::new(NOT_IMPLEMENTED, format!("the local AWS has no actions of the type {kind}")))
        }
        other => Err(ApiError::new("ValidationError", format!("Action type '{other}' is not supported"))),
    }
}

/// Checks the parts of a redirect.
fn check_redirect(action: &Action) -> Result<(), ApiError> {
    let Action::Redirect { host, port, path, query, .. } = action else { return Ok(()) };
    let is_port = port == "#{port}" || port.parse::<u16>().is_ok_and(|port| port > 0);
    if !is_port || !path.starts_with('/') {
        let text = "A redirect has a port between 1 and 65535 or #{port}, and a path that begins with '/'";
        return Err(ApiError::new("ValidationError", text));
    }
    for (name, part) in [("host", host), ("path", path), ("query", query)] {
        let member = format!("redirectConfig.{name}");
        let checked = constraint::bound(&member, part.chars().count(), 0..=LONGEST_PART);
        checked.map_err(|text| ApiError::new("ValidationError", text))?;
    }
    Ok(())
}

/// The maximum length of the host, path and query of a redirect in characters.
const LONGEST_PART: usize = 128;

/// Checks that redirects of a listener lead to other addresses than the requested ones, and not from HTTPS to HTTP. A
/// redirect that changes the query only is a loop (docs/aws.md §9.5).
pub fn check_redirects(actions: &[Action], of_protocol: &str, of_port: u16) -> Result<(), ApiError> {
    let refuse = |text: &str| Err(ApiError::new("InvalidLoadBalancerAction", text));
    for action in actions {
        let Action::Redirect { protocol, host, port, path, .. } = action else { continue };
        if of_protocol == "HTTPS" && protocol == "HTTP" {
            return refuse("You cannot redirect HTTPS to HTTP");
        }
        let same_protocol = protocol == "#{protocol}" || protocol == of_protocol;
        let same_port = port == "#{port}" || *port == of_port.to_string();
        if same_protocol && same_port && host == "#{host}" && path == "/#{path}" {
            return refuse("The redirect configuration is not valid because it creates a loop");
        }
    }
    Ok(())
}

const CONTENT_TYPES: &[&str] = &["application/javascript", "application/json", "text/css", "text/html", "text/plain"];

fn one_of(what: &str, value: &str, known: &[&str]) -> Result<(), ApiError> {
    match known.contains(&value) {
        true => Ok(()),
        false => Err(ApiError::new(
            "ValidationError",
            format!("'{value}' is not valid for {what}: it is one of {}", known.join(", ")),
        )),
    }
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let arns = params.texts("ListenerArns");
    for arn in &arns {
        state.listener(arn)?;
    }
    let balancer = params.text("LoadBalancerArn");
    if let Some(arn) = balancer {
        state.load_balancer(arn)?;
    } else if arns.is_empty() {
        return Err(ApiError::new("ValidationError", "You must specify either listener ARNs or a load balancer ARN"));
    }
    let chosen = |one: &&Listener| match balancer {
        Some(arn) => one.load_balancer == arn,
        None => arns.contains(&one.arn),
    };
    Ok(shown(state.listeners.values().filter(chosen)))
}

pub fn modify(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("ListenerArn")?;
    let before = state.listener(arn)?.clone();
    let port = checked_port(params.parsed("Port")?.unwrap_or(before.port))?;
    let taken = |other: &Listener| other.arn != arn && other.port == port;
    if state.listeners_of(&before.load_balancer).any(taken) {
        return Err(ApiError::new(
            "DuplicateListener",
            "A listener already exists on this port for this load balancer",
        ));
    }
    let protocol = protocol(params)?.unwrap_or(before.protocol.clone());
    let (certificates, ssl_policy) = security(site, params, &protocol, Some(&before))?;
    let actions = match params.has("DefaultActions") {
        true => actions(state, params, "DefaultActions")?,
        false => before.actions.clone(),
    };
    check_redirects(&actions, &protocol, port)?;
    check_groups(state, site, &before.load_balancer, &actions)?;
    let listener = Listener { port, protocol, actions, certificates, ssl_policy, ..before };
    state.listeners.insert(arn.to_owned(), listener.clone());
    Ok(shown([&listener]))
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("ListenerArn")?.to_owned();
    state.listener(&arn)?;
    remove(state, site, &arn);
    Ok(Xml::new())
}

/// Removes a listener with its rules and releases its port, unless that is the load balancer's main port.
pub fn remove(state: &mut State, site: &Site, arn: &str) {
    let Some(listener) = state.listeners.remove(arn) else {
        return;
    };
    state.tags.remove(arn);
    rules::remove_all(state, arn);
    let main = state.load_balancers.get(&listener.load_balancer).map(|one| one.port);
    if main != Some(listener.local_port) {
        site.ports.release(listener.local_port);
    }
}

fn shown<'a>(found: impl IntoIterator<Item = &'a Listener>) -> Xml {
    let mut xml = Xml::new();
    xml.members("Listeners", found, |xml, one| {
        xml.text("ListenerArn", &one.arn).text("LoadBalancerArn", &one.load_balancer);
        xml.text("Port", one.port).text("Protocol", &one.protocol);
        if one.is_secure() {
            xml.members("Certificates", one.certificates.first(), |xml, arn| {
                xml.text("CertificateArn", arn);
            });
            xml.maybe("SslPolicy", one.ssl_policy.as_ref());
            xml.within("MutualAuthentication", |xml| {
                xml.text("Mode", "off");
            });
        }
        write_actions(xml, "DefaultActions", &one.actions);
    });
    xml
}

pub fn write_actions(xml: &mut Xml, list: &str, actions: &[Action]) {
    xml.members(list, actions.iter().enumerate(), |xml, (at, action)| {
        write_action(xml, action);
        if actions.len() > 1 {
            xml.text("Order", at + 1);
        }
    });
}

fn write_action(xml: &mut Xml, action: &Action) {
    match action {
        Action::Forward(groups) => {
            xml.text("Type", "forward");
            if let [(arn, _)] = groups.as_slice() {
                xml.text("TargetGroupArn", arn);
            }
            xml.within("ForwardConfig", |xml| {
                xml.members("TargetGroups", groups, |xml, (arn, weight)| {
                    xml.text("TargetGroupArn", arn).text("Weight", weight);
                });
                xml.within("TargetGroupStickinessConfig", |xml| {
                    xml.text("Enabled", false);
                });
            });
        }
        Action::Redirect { protocol, host, port, path, query, status } => {
            xml.text("Type", "redirect").within("RedirectConfig", |xml| {
                xml.text("Protocol", protocol).text("Host", host).text("Port", port);
                xml.text("Path", path).text("Query", query).text("StatusCode", status);
            });
        }
        Action::Fixed { status, content_type, body } => {
            xml.text("Type", "fixed-response").within("FixedResponseConfig", |xml| {
                xml.text("StatusCode", status)
                    .maybe("ContentType", content_type.as_ref())
                    .maybe("MessageBody", body.as_ref());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_changes_more_than_the_query_and_does_not_leave_https() {
        let long = "x".repeat(LONGEST_PART + 1);
        let (looping, plain) = (Err("InvalidLoadBalancerAction"), Err("ValidationError"));
        let path = format!("/{}", "x".repeat(LONGEST_PART));
        for (listener, parts, expected) in [
            (("HTTP", 80), vec![("Protocol", "HTTPS"), ("Port", "443")], Ok(())),
            (("HTTP", 80), vec![("Protocol", "HTTPS")], Ok(())),
            (("HTTP", 80), vec![("Port", "8080")], Ok(())),
            (("HTTP", 80), vec![("Host", "www.#{host}")], Ok(())),
            (("HTTPS", 443), vec![("Path", "/new/#{path}")], Ok(())),
            (("HTTPS", 443), vec![("Protocol", "HTTPS"), ("Port", "8443")], Ok(())),
            (("HTTP", 80), vec![], looping),
            (("HTTP", 80), vec![("Query", "a=b")], looping),
            (("HTTP", 80), vec![("Protocol", "HTTP"), ("Port", "80")], looping),
            (("HTTPS", 443), vec![("Protocol", "HTTPS"), ("Port", "443")], looping),
            (("HTTPS", 443), vec![("Protocol", "HTTP"), ("Port", "80"), ("Host", "example.com")], looping),
            (("HTTP", 80), vec![("Host", &long)], plain),
            (("HTTP", 80), vec![("Path", &path)], plain),
            (("HTTP", 80), vec![("Port", "8080"), ("Query", &long)], plain),
            (("HTTP", 80), vec![("Path", "new")], plain),
            (("HTTP", 80), vec![("Port", "0")], plain),
        ] {
            let parts = parts.iter().map(|(name, text)| (format!("RedirectConfig.{name}"), (*text).to_owned()));
            let form = [("Type", "redirect"), ("RedirectConfig.StatusCode", "HTTP_301")];
            let form = form.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).chain(parts).collect();
            let (protocol, port) = listener;
            let checked = action(&Params::parse(&form)).and_then(|action| check_redirects(&[action], protocol, port));
            assert_eq!(checked.map_err(|fault| fault.code), expected, "{listener:?} {form:?}");
        }
    }
}
