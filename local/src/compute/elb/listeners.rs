//! Listeners: a port of a load balancer and what happens to its requests (aws-facts §9.5).

use super::{load_balancers, tags, target_groups};
use crate::compute::Site;
use crate::compute::state::{Action, Listener, State, new_hex};
use crate::compute::wire::{Answer, Fault, Params, Xml};

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let balancer = load_balancers::by_arn(state, params.required("LoadBalancerArn")?)?;
    let (arn, main_port) = (balancer.arn.clone(), balancer.port);
    let port: u16 =
        params.parsed("Port")?.ok_or_else(|| Fault::new("ValidationError", "A listener port must be specified"))?;
    let protocol = protocol(params)?.unwrap_or_else(|| "HTTP".to_owned());
    let actions = actions(state, params)?;
    check_alone(state, &arn, &actions)?;
    let tags = tags::wanted(params)?;
    if let Some(taken) = state.listeners_of(&arn).find(|listener| listener.port == port) {
        if taken.protocol != protocol || taken.actions != actions {
            let message = "A listener already exists on this port for this load balancer";
            return Err(Fault::new("DuplicateListener", message));
        }
        return Ok(shown([taken]));
    }
    let main_is_free = !state.listeners_of(&arn).any(|listener| listener.local_port == main_port);
    let local_port = if main_is_free { Some(main_port) } else { site.ports.reserve(None) };
    let local_port = local_port.ok_or_else(|| Fault::new("InternalFailure", "no port is free on this machine"))?;
    let listener = Listener {
        arn: format!("{}/{}", arn.replacen(":loadbalancer/", ":listener/", 1), new_hex()),
        load_balancer: arn,
        port,
        protocol,
        actions,
        local_port,
    };
    state.tag(&listener.arn, tags);
    state.listeners.insert(listener.arn.clone(), listener.clone());
    Ok(shown([&listener]))
}

fn protocol(params: &Params) -> Result<Option<String>, Fault> {
    match params.text("Protocol") {
        Some("HTTP") => Ok(Some("HTTP".to_owned())),
        Some("HTTPS") => {
            Err(Fault::new("UnsupportedProtocol", "HTTPS listeners do not exist here: there are no certificates"))
        }
        Some(other) => Err(Fault::new("UnsupportedProtocol", format!("Protocol '{other}' is not supported"))),
        None => Ok(None),
    }
}

fn actions(state: &State, params: &Params) -> Result<Vec<Action>, Fault> {
    let mut items = params.items("DefaultActions");
    if items.is_empty() {
        return Err(Fault::new("ValidationError", "A default action must be specified"));
    }
    items.sort_by_key(|item| item.parsed::<u32>("Order").ok().flatten().unwrap_or(0));
    let actions: Vec<Action> = items.into_iter().map(action).collect::<Result<_, Fault>>()?;
    let groups =
        actions.iter().filter_map(|action| if let Action::Forward(groups) = action { Some(groups) } else { None });
    for (arn, _) in groups.flatten() {
        target_groups::by_arn(state, arn)?;
    }
    Ok(actions)
}

/// A target group belongs to one load balancer.
fn check_alone(state: &State, load_balancer: &str, actions: &[Action]) -> Result<(), Fault> {
    let groups = actions.iter().flat_map(|action| match action {
        Action::Forward(groups) => groups.as_slice(),
        _ => &[],
    });
    for (arn, _) in groups {
        if state.balancers_of(arn).into_iter().any(|other| other != load_balancer) {
            let message =
                format!("The following target groups cannot be associated with more than one load balancer: {arn}");
            return Err(Fault::new("TargetGroupAssociationLimit", message));
        }
    }
    Ok(())
}

fn action(item: &Params) -> Result<Action, Fault> {
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
                return Err(Fault::new("ValidationError", "A target group ARN must be specified"));
            }
            Ok(Action::Forward(groups))
        }
        "redirect" => {
            let part =
                |name: &str, default: &str| item.text(&format!("RedirectConfig.{name}")).unwrap_or(default).to_owned();
            Ok(Action::Redirect {
                protocol: part("Protocol", "#{protocol}"),
                host: part("Host", "#{host}"),
                port: part("Port", "#{port}"),
                path: part("Path", "/#{path}"),
                query: part("Query", "#{query}"),
                status: part("StatusCode", "HTTP_301"),
            })
        }
        "fixed-response" => Ok(Action::Fixed {
            status: item.required("FixedResponseConfig.StatusCode")?.to_owned(),
            content_type: item.text("FixedResponseConfig.ContentType").map(str::to_owned),
            body: item.text("FixedResponseConfig.MessageBody").map(str::to_owned),
        }),
        other => Err(Fault::new("ValidationError", format!("Action type '{other}' is not supported"))),
    }
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let arns = params.texts("ListenerArns");
    for arn in &arns {
        by_arn(state, arn)?;
    }
    let balancer = params.text("LoadBalancerArn");
    if let Some(arn) = balancer {
        load_balancers::by_arn(state, arn)?;
    } else if arns.is_empty() {
        return Err(Fault::new("ValidationError", "You must specify either listener ARNs or a load balancer ARN"));
    }
    let chosen = |one: &&Listener| match balancer {
        Some(arn) => one.load_balancer == arn,
        None => arns.contains(&one.arn),
    };
    Ok(shown(state.listeners.values().filter(chosen)))
}

/// The listener of an ARN.
pub fn by_arn<'a>(state: &'a State, arn: &str) -> Result<&'a Listener, Fault> {
    state.listeners.get(arn).ok_or_else(|| Fault::new("ListenerNotFound", "One or more listeners not found"))
}

pub fn modify(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("ListenerArn")?;
    let before = by_arn(state, arn)?.clone();
    let port = params.parsed("Port")?.unwrap_or(before.port);
    let taken = |other: &Listener| other.arn != arn && other.port == port;
    if state.listeners_of(&before.load_balancer).any(taken) {
        return Err(Fault::new("DuplicateListener", "A listener already exists on this port for this load balancer"));
    }
    let protocol = protocol(params)?.unwrap_or(before.protocol.clone());
    let actions = if params.has("DefaultActions") { actions(state, params)? } else { before.actions.clone() };
    check_alone(state, &before.load_balancer, &actions)?;
    let listener = Listener { port, protocol, actions, ..before };
    state.listeners.insert(arn.to_owned(), listener.clone());
    Ok(shown([&listener]))
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("ListenerArn")?.to_owned();
    by_arn(state, &arn)?;
    remove(state, site, &arn);
    Ok(Xml::new())
}

/// Takes a listener away; its load balancer keeps its own port.
pub fn remove(state: &mut State, site: &Site, arn: &str) {
    let Some(listener) = state.listeners.remove(arn) else {
        return;
    };
    state.tags.remove(arn);
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
        xml.members("DefaultActions", one.actions.iter().enumerate(), |xml, (at, action)| {
            write_action(xml, action);
            if one.actions.len() > 1 {
                xml.text("Order", at + 1);
            }
        });
    });
    xml
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
