//! The state of services and their instances.

use aws_smithy_types::DateTime;
use serde::Serialize;

use crate::{
    cloud::{
        aws::{Aws, found},
        health::{self, Target},
        why::{self, Evidence, Instance, Member, ServiceNames},
    },
    config::HTTPS_PORT,
    engine::{Fault, look},
    output::utc::timestamp,
    page::{https_url, url},
};

/// The state of a domain that is not served over HTTPS yet.
pub const PENDING: &str = "pending";

/// The state of a service.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServiceStatus {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Whether requests reach enough healthy instances; `None` if unknown.
    pub healthy: Option<bool>,
    /// The URL for its users.
    pub address: Option<String>,
    /// Whether that is reachable from its VPC only; `None` if it has none, or if that is unknown.
    pub internal: Option<bool>,
    /// Whether its domain is `served` over HTTPS or `pending`; `None` if it has none, or if that is unknown.
    pub https: Option<&'static str>,
    /// When it was paused.
    pub paused: Option<String>,
    /// When AWS ends it, or has ended it.
    pub ends: Option<String>,
    /// Whether AWS has ended it.
    pub ended: bool,
    /// The number of healthy instances.
    pub instances_healthy: Option<usize>,
    /// The number of healthy instances required.
    pub instances_wanted: Option<usize>,
    /// The version of its launch template.
    pub release: Option<String>,
    /// When that version was made.
    pub released: Option<String>,
    /// The error of the newest launch, if it failed and instances are missing.
    pub failed_launch: Option<String>,
    /// Its instances, newest first.
    pub instances: Vec<InstanceStatus>,
    /// Messages about failed reads.
    pub unread: Vec<String>,
    /// Whether its Auto Scaling group or its load balancer exists.
    #[serde(skip)]
    pub exists: bool,
    /// The number of zones of its load balancer.
    #[serde(skip)]
    pub zones: usize,
    /// Whether the maximum size of its group is 0.
    #[serde(skip)]
    pub is_empty: bool,
    /// Whether it has an elastic IP address in place of a load balancer. A pause keeps it.
    #[serde(skip)]
    pub is_direct: bool,
}

impl ServiceStatus {
    /// Whether it is off as intended: paused, and its load balancer removed, or ended.
    pub fn is_off(&self) -> bool {
        let is_unreachable = self.address.is_none() || self.is_direct;
        self.ended || (self.paused.is_some() && self.is_empty && is_unreachable && self.unread.is_empty())
    }
}

/// The state of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    /// `i-…`.
    pub id: String,
    /// Its Availability Zone.
    pub zone: Option<String>,
    /// EC2's state, such as `running`.
    pub state: Option<String>,
    /// The load balancer's state, such as `healthy`; `None` if it is not registered.
    pub health: Option<String>,
    /// AWS's reason for the state or the health.
    pub reason: Option<String>,
    /// The version of the launch template that it was started from.
    pub release: Option<String>,
    /// When it was launched.
    pub launched: Option<String>,
}

/// Reads the state of a service.
pub(super) async fn read(aws: &Aws, names: &ServiceNames) -> ServiceStatus {
    let mut unread = Vec::new();
    let (group, launches, instances, wiring) = futures::join!(
        look(|| why::group(aws, names)),
        look(|| why::launches(aws, names)),
        look(|| why::instances(aws, names)),
        look(|| why::wiring(aws, names)),
    );
    let group = why::keep(&mut unread, "the Auto Scaling group", group);
    let launches = why::keep(&mut unread, "its activities", launches).unwrap_or_default();
    let instances = why::keep(&mut unread, "the instances", instances).unwrap_or_default();
    let wiring = why::keep(&mut unread, "the load balancer", wiring);
    let release = group.iter().flatten().find_map(|group| group.release.clone());
    let targets = async {
        let address = wiring.as_ref().and_then(|it| it.address.as_ref());
        match wiring.as_ref().map(|it| it.target_group.as_str()) {
            Some("") => Ok(Some(match address {
                Some(address) => health::probed(names, address).await,
                None => Vec::new(),
            })),
            Some(arn) => look(|| health::targets(aws, arn)).await.map(Some),
            None => Ok(None),
        }
    };
    let (targets, released) = futures::join!(targets, released(aws, names, release.as_deref()));
    let targets = why::keep(&mut unread, "the targets' health", targets).flatten();
    let released = why::keep(&mut unread, "the launch template", released).flatten();
    let members = group.iter().flatten().flat_map(|group| group.members.clone()).collect();
    let instances = merged(members, instances, targets.as_deref());
    let (port, host) = (u16::try_from(names.front_port).unwrap_or_default(), wiring.as_ref().map(|it| it.host.clone()));
    let is_https = wiring.as_ref().is_some_and(|it| it.is_https);
    let host = host.filter(|host| !host.is_empty());
    let zones = wiring.as_ref().map_or(0, |it| it.zones);
    let internal = wiring.as_ref().filter(|it| !it.host.is_empty()).map(|it| it.is_internal);
    let exists = (host.is_some() && names.behind.is_none()) || group.iter().flatten().next().is_some();
    let downtime = group.iter().flatten().map(|group| group.downtime.clone()).next().unwrap_or_default();
    let (has_group, has_targets, has_wiring) = (group.is_some(), targets.is_some(), wiring.is_some());
    let evidence = Evidence { group, launches, wiring, targets: targets.unwrap_or_default(), ..Evidence::default() };
    let healthy = (has_group && has_targets && has_wiring).then(|| evidence.is_up());
    let newest = evidence.launches.first().and_then(|launch| launch.failure.clone());
    let ended = downtime.has_ended();
    let front = match (&host, names.domain.as_ref().filter(|_| is_https)) {
        (Some(_), Some(domain)) => Some(https_url(domain, aws.front_port(&names.balancer, HTTPS_PORT).await)),
        (Some(host), None) => Some(url(host, port)),
        (None, _) => None,
    };
    let address = front.map(|front| match &names.behind {
        Some(behind) => behind.url_to_open(&behind.url(&front)),
        None => front,
    });
    ServiceStatus {
        name: names.service.clone(),
        // Neither healthy nor unhealthy: it is off.
        healthy: healthy.filter(|_| !ended && !downtime.is_paused()),
        paused: downtime.paused,
        ends: downtime.ends,
        ended,
        https: names.domain.as_ref().filter(|_| has_wiring).map(|_| if is_https { "served" } else { PENDING }),
        address,
        internal,
        instances_healthy: has_targets.then(|| evidence.healthy()),
        instances_wanted: has_group.then(|| evidence.wanted()),
        release,
        released: released.and_then(|at| timestamp(at.secs())),
        failed_launch: newest.filter(|_| healthy != Some(true)),
        instances,
        unread,
        exists,
        zones,
        is_empty: downtime.is_empty,
        is_direct: names.address.is_some(),
    }
}

/// Returns when this version of the launch template was made.
async fn released(aws: &Aws, names: &ServiceNames, version: Option<&str>) -> Result<Option<DateTime>, Fault> {
    let Some(version) = version else { return Ok(None) };
    let call = aws.ec2.describe_launch_template_versions().launch_template_name(&names.template).versions(version);
    let answer = found(call.send().await)?;
    Ok(answer.and_then(|answer| answer.launch_template_versions().first()?.create_time().copied()))
}

/// Joins what the group, EC2 and the load balancer know of each instance, newest first. EC2 lists terminated instances
/// for an hour.
fn merged(members: Vec<Member>, instances: Vec<Instance>, targets: Option<&[Target]>) -> Vec<InstanceStatus> {
    let (members, instances) = (&members, &instances);
    let is_listed = |id: &str| instances.iter().any(|it| it.id == id);
    let is_member = |id: &str| members.iter().any(|it| it.id == id);
    let only_members = members.iter().filter(|it| !is_listed(&it.id)).map(|it| it.id.as_str());
    let listed = instances.iter().filter(|it| it.state != "terminated" || is_member(&it.id)).map(|it| it.id.as_str());
    let ids = only_members.chain(listed);
    ids.map(|id| {
        let member = members.iter().find(|it| it.id == id);
        let instance = instances.iter().find(|it| it.id == id);
        let target = targets.iter().flat_map(|it| it.iter()).find(|it| it.id == id);
        one(id, member, instance, target)
    })
    .collect()
}

fn one(id: &str, member: Option<&Member>, instance: Option<&Instance>, target: Option<&Target>) -> InstanceStatus {
    let zones = [member.map(|it| &it.zone), instance.map(|it| &it.zone)];
    let zone = zones.into_iter().flatten().find(|zone| !zone.is_empty()).cloned();
    let state = instance.map(|it| it.state.clone()).or(member.map(|it| it.lifecycle.clone()));
    let reasons = [
        target.map(|it| &it.description),
        target.map(|it| &it.reason),
        instance.filter(|it| it.state != "running").map(|it| &it.reason),
    ];
    InstanceStatus {
        id: id.into(),
        zone,
        state: state.filter(|state| !state.is_empty()),
        health: target.map(|it| it.state.clone()).filter(|state| !state.is_empty()),
        reason: reasons.into_iter().flatten().find(|reason| !reason.is_empty()).cloned(),
        release: member.and_then(|it| it.release.clone()),
        launched: instance.filter(|it| it.launched_s > 0).and_then(|it| timestamp(it.launched_s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, state: &str, reason: &str) -> Instance {
        let (zone, launched_s) = ("us-east-1a".into(), 1_700_000_000);
        Instance { id: id.into(), zone, state: state.into(), reason: reason.into(), launched_s, ..Instance::default() }
    }

    fn member(id: &str) -> Member {
        let (zone, lifecycle, release) = ("us-east-1b".into(), "InService".into(), Some("3".into()));
        Member { id: id.into(), zone, lifecycle, release }
    }

    #[test]
    fn each_instance_has_what_group_ec2_and_load_balancer_know_of_it() {
        let members = vec![member("i-1"), member("i-2")];
        let instances = vec![instance("i-2", "running", ""), instance("i-3", "terminated", "")];
        let (state, reason) = ("unhealthy".to_owned(), "Target.Timeout".to_owned());
        let targets = [Target { id: "i-2".into(), state, reason, description: "Request timed out".into() }];
        let merged = merged(members, instances, Some(&targets));
        let ids: Vec<&str> = merged.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["i-1", "i-2"], "EC2 may not list an instance yet, and lists terminated ones for an hour");
        assert_eq!((merged[0].state.as_deref(), merged[0].health.as_deref()), (Some("InService"), None));
        assert_eq!((merged[1].state.as_deref(), merged[1].health.as_deref()), (Some("running"), Some("unhealthy")));
        assert_eq!(merged[1].reason.as_deref(), Some("Request timed out"));
        assert_eq!(merged[1].launched.as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(merged[1].release.as_deref(), Some("3"));
    }

    #[test]
    fn an_instance_that_does_not_run_has_the_reason_of_its_state() {
        let lost = merged(vec![], vec![instance("i-1", "shutting-down", "Client.UserInitiatedShutdown")], None);
        assert_eq!(lost[0].reason.as_deref(), Some("Client.UserInitiatedShutdown"));
        let well = merged(vec![], vec![instance("i-1", "running", "an old reason")], None);
        assert_eq!(well[0].reason, None);
    }
}
