//! Targets: registration, health, and choice of the next one (docs/aws.md §9.4).

use std::net::{Ipv4Addr, SocketAddr};

use super::target_groups::by_arn;
use crate::compute::Site;
use crate::compute::clock::Moment;
use crate::compute::ec2;
use crate::compute::state::{Health, Instance, InstanceState, State, Target, TargetGroup};
use crate::compute::wire::{Answer, ApiError, Params, Xml};

/// What the load balancer meets where a target should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// A process on this machine.
    At(SocketAddr),
    /// No security group lets the load balancer in: nothing ever answers.
    Blocked,
    /// The instance is there, but nothing listens on that port.
    Closed,
}

/// The key of a target in its group.
pub fn target_key(id: &str, port: u16) -> String {
    format!("{id}:{port}")
}

/// Registers an instance; one that was going stays after all.
pub fn register(state: &mut State, group: &str, id: &str, port: Option<u16>) {
    let Some(group) = state.target_groups.get_mut(group) else {
        return;
    };
    let port = port.unwrap_or(group.port);
    let fresh = Target { id: id.to_owned(), port, health: Health::Initial, draining: None };
    let target = group.targets.entry(target_key(id, port)).or_insert(fresh);
    target.draining = None;
}

/// Lets an instance's requests finish and takes it out of a group then.
pub fn deregister(state: &mut State, group: &str, id: &str, port: Option<u16>) {
    let Some(group) = state.target_groups.get_mut(group) else {
        return;
    };
    let ours = |target: &&mut Target| target.id == id && port.is_none_or(|port| target.port == port);
    for target in group.targets.values_mut().filter(ours) {
        target.draining.get_or_insert_with(Moment::now);
    }
}

/// Where a target can be found; nothing if its instance is gone.
pub fn seen_by(state: &State, group: &TargetGroup, target: &Target) -> Option<Reachability> {
    seen_at(state, group, target, target.port)
}

/// Where a target's health is asked for: at the port of its traffic unless the group says another.
pub fn checked_at(state: &State, group: &TargetGroup, target: &Target) -> Option<Reachability> {
    seen_at(state, group, target, group.check.port.parse().unwrap_or(target.port))
}

fn seen_at(state: &State, group: &TargetGroup, target: &Target, port: u16) -> Option<Reachability> {
    let instance = state.instances.get(&target.id).filter(|one| one.is_alive())?;
    let welcome = state.balancers_of(&group.arn).into_iter().any(|arn| {
        let from = state.load_balancers.get(arn).map(|one| one.security_groups.as_slice());
        ec2::admits(state, &instance.security_groups, port, from.unwrap_or_default())
    });
    Some(match instance.port.filter(|_| instance.declared_port == Some(port)) {
        _ if !welcome => Reachability::Blocked,
        Some(port) => Reachability::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => Reachability::Closed,
    })
}

/// The targets that may get a request. If all are unhealthy they all do, since the checks may be what is wrong.
pub fn routable<'a>(state: &'a State, site: &Site, group: &'a TargetGroup) -> Vec<&'a Target> {
    let with = |wanted: &str| -> Vec<&'a Target> {
        group.targets.values().filter(|target| status(state, site, group, target).0 == wanted).collect()
    };
    let (healthy, unchecked) = (with("healthy"), with("unavailable"));
    match (healthy.is_empty(), unchecked.is_empty()) {
        (false, _) => healthy,
        (true, false) => unchecked,
        (true, true) => with("unhealthy"),
    }
}

/// State, reason and description.
pub type Status = (&'static str, Option<String>, Option<String>);

/// What the API says about a target.
pub fn status(state: &State, site: &Site, group: &TargetGroup, target: &Target) -> Status {
    let told = |state: &'static str, reason: &str, description: &str| -> Status {
        (state, Some(reason.to_owned()), Some(description.to_owned()))
    };
    if target.draining.is_some() {
        return told("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress");
    }
    let balancers = state.balancers_of(&group.arn);
    let enabled = |instance: &Instance| {
        let mut used = balancers.iter().filter_map(|arn| state.load_balancers.get(*arn));
        used.any(|one| one.subnets.iter().any(|subnet| zone_of(site, subnet).as_ref() == Some(&instance.zone)))
    };
    match state.instances.get(&target.id) {
        _ if balancers.is_empty() => told(
            "unused",
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        ),
        Some(instance) if !instance.is_alive() => {
            let description = match instance.state {
                InstanceState::Stopping | InstanceState::Stopped => "Target is in the stopped state",
                _ => "Target is in the terminated state",
            };
            told("unused", "Target.InvalidState", description)
        }
        None => told("unused", "Target.InvalidState", "Target is in the terminated state"),
        Some(instance) if !enabled(instance) => told(
            "unused",
            "Target.NotInUse",
            "Target is in an Availability Zone that is not enabled for the load balancer",
        ),
        Some(_) if !balancers.iter().any(|arn| state.load_balancers.get(*arn).is_some_and(|one| one.active)) => {
            told("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
        }
        Some(_) if !group.check.enabled => {
            told("unavailable", "Target.HealthCheckDisabled", "Health checks are disabled for this target group")
        }
        Some(_) => match &target.health {
            Health::Initial => told("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
            Health::Healthy => ("healthy", None, None),
            Health::Unhealthy { reason, description } => told("unhealthy", reason, description),
        },
    }
}

fn zone_of(site: &Site, subnet: &str) -> Option<String> {
    ec2::subnets(site).into_iter().find(|one| one.id == subnet).map(|one| one.zone)
}

pub fn register_by_id(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    by_arn(state, arn)?;
    let targets = named(params)?;
    for (id, _) in &targets {
        match state.instances.get(id) {
            None => {
                return Err(ApiError::new(
                    "InvalidTarget",
                    format!("The following targets are not valid instances: '{id}'"),
                ));
            }
            Some(one) if !one.is_alive() => {
                let message =
                    format!("The following targets are not in a running state and cannot be registered: '{id}'");
                return Err(ApiError::new("InvalidTarget", message));
            }
            Some(_) => (),
        }
    }
    for (id, port) in targets {
        register(state, arn, &id, port);
    }
    Ok(Xml::new())
}

pub fn deregister_by_id(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    by_arn(state, arn)?;
    for (id, port) in named(params)? {
        deregister(state, arn, &id, port);
    }
    Ok(Xml::new())
}

fn named(params: &Params) -> Result<Vec<(String, Option<u16>)>, ApiError> {
    params.items("Targets").into_iter().map(|one| Ok((one.required("Id")?.to_owned(), one.parsed("Port")?))).collect()
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let group = by_arn(state, params.required("TargetGroupArn")?)?;
    let asked = named(params)?;
    let mut rows: Vec<(String, u16, Status)> = Vec::new();
    if asked.is_empty() {
        rows.extend(group.targets.values().map(|one| (one.id.clone(), one.port, status(state, site, group, one))));
    }
    for (id, port) in asked {
        let port = port.unwrap_or(group.port);
        let status = match group.targets.get(&target_key(&id, port)) {
            Some(target) => status(state, site, group, target),
            None => (
                "unused",
                Some("Target.NotRegistered".to_owned()),
                Some("Target is not registered to the target group".to_owned()),
            ),
        };
        rows.push((id, port, status));
    }
    let check_port = |port: u16| {
        if group.check.port == "traffic-port" { port.to_string() } else { group.check.port.clone() }
    };
    let mut xml = Xml::new();
    xml.members("TargetHealthDescriptions", rows, |xml, (id, port, (state, reason, description))| {
        xml.within("Target", |xml| {
            xml.text("Id", &id).text("Port", port);
        });
        xml.text("HealthCheckPort", check_port(port));
        xml.within("TargetHealth", |xml| {
            xml.text("State", state).maybe("Reason", reason).maybe("Description", description);
        });
    });
    Ok(xml)
}
