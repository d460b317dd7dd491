//! Targets: registration, health, and which of them receive requests (docs/aws.md §9.4).

use std::net::{Ipv4Addr, SocketAddr};

use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::state::{Health, Instance, InstanceState, State, Target, TargetGroup};
use kit::query::{Answer, ApiError, Params, Xml};

/// Whether and where the load balancer reaches a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// A process on this machine.
    At(SocketAddr),
    /// The security groups do not let the load balancer connect, so requests time out.
    Blocked,
    /// The instance exists, but nothing listens on that port.
    Closed,
}

/// Returns the key of a target in its group.
pub fn target_key(id: &str, port: u16) -> String {
    format!("{id}:{port}")
}

/// Registers an instance. If it is draining, that is cancelled.
pub fn register(state: &mut State, group: &str, id: &str, port: Option<u16>) {
    let Some(group) = state.target_groups.get_mut(group) else {
        return;
    };
    let port = port.unwrap_or(group.port);
    let fresh = Target { id: id.to_owned(), port, health: Health::Initial, draining: None };
    let target = group.targets.entry(target_key(id, port)).or_insert(fresh);
    target.draining = None;
}

/// Starts to drain an instance. It leaves the group once its requests have finished or the deregistration delay is
/// over.
pub fn deregister(state: &mut State, group: &str, id: &str, port: Option<u16>) {
    let Some(group) = state.target_groups.get_mut(group) else {
        return;
    };
    let ours = |target: &&mut Target| target.id == id && port.is_none_or(|port| target.port == port);
    for target in group.targets.values_mut().filter(ours) {
        target.draining.get_or_insert_with(Moment::now);
    }
}

/// Returns where a target can be reached, or `None` if its instance is gone.
pub fn seen_by(state: &State, group: &TargetGroup, target: &Target) -> Option<Reachability> {
    seen_at(state, group, target, target.port)
}

/// Returns where a target is health-checked: on the port of its traffic unless the group sets another.
pub fn checked_at(state: &State, group: &TargetGroup, target: &Target) -> Option<Reachability> {
    seen_at(state, group, target, group.check.port.parse().unwrap_or(target.port))
}

fn seen_at(state: &State, group: &TargetGroup, target: &Target, port: u16) -> Option<Reachability> {
    let instance = state.instances.get(&target.id).filter(|one| one.is_alive())?;
    let welcome = state.balancers_of(&group.arn).into_iter().any(|arn| {
        let from = state.load_balancers.get(arn).map(|one| one.security_groups.as_slice());
        ec2::connects(state, from.unwrap_or_default(), &instance.security_groups, port)
    });
    Some(match instance.port.filter(|_| instance.declared_port == Some(port)) {
        _ if !welcome => Reachability::Blocked,
        Some(port) => Reachability::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => Reachability::Closed,
    })
}

/// Returns the targets that may receive requests. Without any healthy or unchecked target, all unhealthy ones do, since
/// the checks may be at fault.
pub fn routable<'a>(state: &'a State, site: &Site, group: &'a TargetGroup) -> Vec<&'a Target> {
    let all: Vec<(&Target, TargetStatus)> =
        group.targets.values().map(|target| (target, TargetStatus::of(state, site, group, target))).collect();
    let with = |wanted: fn(&TargetStatus) -> bool| -> Vec<&'a Target> {
        all.iter().filter(|(_, status)| wanted(status)).map(|(target, _)| *target).collect()
    };
    let (healthy, unchecked) = (with(|one| *one == TargetStatus::Healthy), with(|one| *one == TargetStatus::Unchecked));
    match (healthy.is_empty(), unchecked.is_empty()) {
        (false, _) => healthy,
        (true, false) => unchecked,
        (true, true) => with(|one| one.is_unhealthy()),
    }
}

/// The status of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetStatus<'a> {
    Draining,
    /// No listener forwards to its group.
    NotInUse,
    NotRegistered,
    Stopped,
    Terminated,
    /// The load balancer is not enabled in the target's zone.
    ZoneNotEnabled,
    /// The load balancer is still being provisioned.
    Registering,
    /// No health check has decided yet.
    Checking,
    /// Health checks are disabled.
    Unchecked,
    Healthy,
    Unhealthy {
        reason: &'a str,
        description: &'a str,
    },
}

impl<'a> TargetStatus<'a> {
    /// Returns the status of a group's target.
    pub fn of(state: &State, site: &Site, group: &TargetGroup, target: &'a Target) -> TargetStatus<'a> {
        if target.draining.is_some() {
            return TargetStatus::Draining;
        }
        let balancers = state.balancers_of(&group.arn);
        if balancers.is_empty() {
            return TargetStatus::NotInUse;
        }
        let instance = match state.instances.get(&target.id) {
            Some(instance) if instance.is_alive() => instance,
            Some(Instance { state: InstanceState::Stopping | InstanceState::Stopped, .. }) => {
                return TargetStatus::Stopped;
            }
            _ => return TargetStatus::Terminated,
        };
        let balancers = || balancers.iter().filter_map(|arn| state.load_balancers.get(*arn));
        let is_enabled = |subnet: &String| zone_of(state, site, subnet).as_ref() == Some(&instance.zone);
        if !balancers().any(|one| one.subnets.iter().any(is_enabled)) {
            return TargetStatus::ZoneNotEnabled;
        }
        if !balancers().any(|one| one.active) {
            return TargetStatus::Registering;
        }
        if !group.check.enabled {
            return TargetStatus::Unchecked;
        }
        match &target.health {
            Health::Initial => TargetStatus::Checking,
            Health::Healthy => TargetStatus::Healthy,
            Health::Unhealthy { reason, description } => TargetStatus::Unhealthy { reason, description },
        }
    }

    pub fn is_unhealthy(&self) -> bool {
        matches!(self, TargetStatus::Unhealthy { .. })
    }

    /// Returns state, reason and description as in the API.
    pub fn api(&self) -> (&'static str, Option<&'a str>, Option<&'a str>) {
        let (state, reason, description) = match self {
            TargetStatus::Draining => {
                ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
            }
            TargetStatus::NotInUse => (
                "unused",
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            ),
            TargetStatus::NotRegistered => {
                ("unused", "Target.NotRegistered", "Target is not registered to the target group")
            }
            TargetStatus::Stopped => ("unused", "Target.InvalidState", "Target is in the stopped state"),
            TargetStatus::Terminated => ("unused", "Target.InvalidState", "Target is in the terminated state"),
            TargetStatus::ZoneNotEnabled => (
                "unused",
                "Target.NotInUse",
                "Target is in an Availability Zone that is not enabled for the load balancer",
            ),
            TargetStatus::Registering => {
                ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
            }
            TargetStatus::Checking => ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
            TargetStatus::Unchecked => {
                ("unavailable", "Target.HealthCheckDisabled", "Health checks are disabled for this target group")
            }
            TargetStatus::Healthy => return ("healthy", None, None),
            TargetStatus::Unhealthy { reason, description } => ("unhealthy", *reason, *description),
        };
        (state, Some(reason), Some(description))
    }

    /// Returns whether the API shows the target as `unused`: it cannot receive requests.
    pub fn is_unused(&self) -> bool {
        self.api().0 == "unused"
    }
}

fn zone_of(state: &State, site: &Site, subnet: &str) -> Option<String> {
    ec2::subnet(state, site, subnet).map(|one| one.zone)
}

pub fn register_by_id(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    let vpc = &state.target_group(arn)?.vpc;
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
            Some(one) if ec2::vpc_of(state, site, &one.subnet) != *vpc => {
                let message = format!("The following targets are not in the target group VPC '{vpc}': '{id}'");
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
    state.target_group(arn)?;
    for (id, port) in named(params)? {
        deregister(state, arn, &id, port);
    }
    Ok(Xml::new())
}

fn named(params: &Params) -> Result<Vec<(String, Option<u16>)>, ApiError> {
    params.items("Targets").into_iter().map(|one| Ok((one.required("Id")?.to_owned(), one.parsed("Port")?))).collect()
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let group = state.target_group(params.required("TargetGroupArn")?)?;
    let asked = named(params)?;
    let mut rows: Vec<(String, u16, TargetStatus)> = Vec::new();
    if asked.is_empty() {
        rows.extend(
            group.targets.values().map(|one| (one.id.clone(), one.port, TargetStatus::of(state, site, group, one))),
        );
    }
    for (id, port) in asked {
        let port = port.unwrap_or(group.port);
        let status = match group.targets.get(&target_key(&id, port)) {
            Some(target) => TargetStatus::of(state, site, group, target),
            None => TargetStatus::NotRegistered,
        };
        rows.push((id, port, status));
    }
    let check_port = |port: u16| {
        if group.check.port == "traffic-port" { port.to_string() } else { group.check.port.clone() }
    };
    let mut xml = Xml::new();
    xml.members("TargetHealthDescriptions", rows, |xml, (id, port, status)| {
        xml.within("Target", |xml| {
            xml.text("Id", &id).text("Port", port);
        });
        xml.text("HealthCheckPort", check_port(port));
        let (state, reason, description) = status.api();
        xml.within("TargetHealth", |xml| {
            xml.text("State", state).maybe("Reason", reason).maybe("Description", description);
        });
    });
    Ok(xml)
}
