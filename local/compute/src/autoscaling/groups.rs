//! Auto Scaling groups as the API sees them (docs/aws.md §10.1).

mod members;
mod processes;
mod target_groups;
mod templates;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{tags, termination};
use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::state::{AutoScalingGroup, GroupTag, State, Subnet, unknown_group};
use kit::query::{Answer, ApiError, Filters, NOT_IMPLEMENTED, Params, Xml, fact, page};

use members::write_instance;
pub use members::{describe_instances, set_desired_capacity, set_instance_health, terminate_instance};
pub use processes::{resume, suspend};
pub use target_groups::{attach_target_groups, describe_target_groups, describe_traffic_sources, detach_target_groups};
pub use templates::{check_template, profile_wanted, template, write_template};

fn refuse(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// Returns the ARN of Auto Scaling's default service-linked role.
fn service_role(site: &Site) -> String {
    let name = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
    format!("arn:aws:iam::{}:role/{name}", site.account)
}

/// Accepts only the default service-linked role: the permissions of another role would not be checked.
fn check_service_role(site: &Site, params: &Params) -> Result<(), ApiError> {
    match params.text("ServiceLinkedRoleARN").filter(|arn| *arn != service_role(site)) {
        Some(arn) => {
            let text = format!("the local AWS does not carry out the parameter ServiceLinkedRoleARN={arn}");
            Err(ApiError::new(NOT_IMPLEMENTED, text))
        }
        None => Ok(()),
    }
}

/// The maximum size of a group.
const MOST: u32 = 10_000;

/// Checks the name of a group: 1 to 255 printable ASCII characters without a colon (docs/aws.md §1).
fn check_name(name: &str) -> Result<(), ApiError> {
    check_name_of("autoScalingGroupName", name)
}

/// Checks a name like that of a group; `field` is its name in the error message.
pub fn check_name_of(field: &str, name: &str) -> Result<(), ApiError> {
    let constraint = match () {
        () if name.len() > 255 => "Member must have length less than or equal to 255",
        () if !name.bytes().all(|c| c.is_ascii_graphic() && c != b':') => {
            "Member must satisfy regular expression pattern: [^:\\x00-\\x20\\x7f-\\uffff]+"
        }
        () => return Ok(()),
    };
    Err(refuse(format!(
        "1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: {constraint}"
    )))
}

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("AutoScalingGroupName")?;
    check_name(name)?;
    match state.groups.get(name) {
        Some(group) if group.deleting => {
            let message = "AutoScalingGroup by this name already exists and is pending delete. Please wait until Autoscaling completes the deletion process before creating a group with the same name.";
            return Err(ApiError::new("AlreadyExists", message));
        }
        Some(_) => {
            let message =
                format!("AutoScalingGroup by this name already exists - A group with the name {name} already exists");
            return Err(ApiError::new("AlreadyExists", message));
        }
        None => (),
    }
    let spec = template(state, params.at("LaunchTemplate"))?
        .ok_or_else(|| refuse("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter."))?;
    check_template(state, site, &spec)?;
    check_service_role(site, params)?;
    let min = params.parsed("MinSize")?.ok_or_else(|| refuse("MinSize is required"))?;
    let max = params.parsed("MaxSize")?.ok_or_else(|| refuse("MaxSize is required"))?;
    let desired = params.parsed("DesiredCapacity")?.unwrap_or(min);
    check_bounds(min, max, desired)?;
    let arn = format!(
        "arn:aws:autoscaling:{}:{}:autoScalingGroup:{}:autoScalingGroupName/{name}",
        site.region,
        site.account,
        Uuid::new_v4()
    );
    let subnets = subnets(state, site, params)?
        .ok_or_else(|| refuse("At least one Availability Zone or VPC Subnet is required."))?;
    let target_groups = target_groups(state, params)?;
    check_network(state, site, &subnets, &target_groups)?;
    let group = AutoScalingGroup {
        name: name.to_owned(),
        arn,
        created: Moment::now(),
        template: spec,
        min,
        max,
        desired,
        cooldown_s: params.parsed("DefaultCooldown")?.unwrap_or(300),
        subnets,
        health_check_type: health_check_type(params)?.unwrap_or_else(|| "EC2".to_owned()),
        grace_s: params.parsed("HealthCheckGracePeriod")?.unwrap_or(0),
        warmup_s: params.parsed("DefaultInstanceWarmup")?,
        target_groups,
        termination_policies: policies(params)?.unwrap_or_else(|| vec!["Default".to_owned()]),
        protect_new: params.flag("NewInstancesProtectedFromScaleIn")?,
        tags: tags::wanted(params)?,
        suspended: Default::default(),
        deletion_protection: params.text("DeletionProtection").map(str::to_owned),
        deleting: false,
        policies: Default::default(),
        refreshes: Vec::new(),
        cause: format!("a user request created an AutoScalingGroup changing the desired capacity from 0 to {desired}"),
        failures: 0,
        last_launch: None,
        scaled: None,
        launches: 0,
        schedules: Default::default(),
        adding: Default::default(),
        rebalancing: None,
    };
    state.groups.insert(name.to_owned(), group);
    Ok(Xml::new())
}

fn check_bounds(min: u32, max: u32, desired: u32) -> Result<(), ApiError> {
    if max > MOST {
        return Err(refuse(format!("Max bound, {max}, must be less than or equal to {MOST}")));
    }
    if min > max {
        return Err(refuse(format!("Max bound, {max}, must be greater than or equal to min bound, {min}")));
    }
    if !(min..=max).contains(&desired) {
        return Err(refuse(format!(
            "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
        )));
    }
    Ok(())
}

/// Whether subnets, given by their ids, are in one VPC.
fn is_one_network(all: &[Subnet], ids: &[String]) -> bool {
    let vpcs: BTreeSet<&str> =
        all.iter().filter(|subnet| ids.contains(&subnet.id)).map(|subnet| subnet.vpc.as_str()).collect();
    vpcs.len() == 1
}

/// Returns the subnets of a call, given by their ids or by their zones; `None` if it names neither.
fn subnets(state: &State, site: &Site, params: &Params) -> Result<Option<Vec<String>>, ApiError> {
    let all = ec2::subnets(state, site);
    if let Some(list) = params.text("VPCZoneIdentifier") {
        let ids: Vec<String> = list.split(',').map(|id| id.trim().to_owned()).collect();
        return match ids.iter().find(|id| !all.iter().any(|subnet| subnet.id == **id)) {
            Some(unknown) => Err(refuse(format!("The subnet ID '{unknown}' does not exist"))),
            None if is_one_network(&all, &ids) => Ok(Some(ids)),
            None => Err(refuse("The subnets must be in the same VPC.".to_owned())),
        };
    }
    let mut zones = params.texts("AvailabilityZones");
    for id in params.texts("AvailabilityZoneIds") {
        let zone = all.iter().map(|subnet| &subnet.zone).find(|zone| ec2::zone_id(zone) == id);
        zones.push(zone.ok_or_else(|| refuse(format!("Invalid availability zone ids: [{id}]")))?.clone());
    }
    if zones.is_empty() {
        return Ok(None);
    }
    let all: Vec<Subnet> = all.into_iter().filter(|subnet| subnet.is_default).collect();
    match zones.iter().find(|zone| !all.iter().any(|subnet| subnet.zone == **zone)) {
        Some(unknown) => Err(refuse(format!("Invalid availability zones: [{unknown}]"))),
        None => Ok(Some(all.into_iter().filter(|one| zones.contains(&one.zone)).map(|one| one.id).collect())),
    }
}

fn health_check_type(params: &Params) -> Result<Option<String>, ApiError> {
    let Some(given) = params.text("HealthCheckType") else {
        return Ok(None);
    };
    match given.split(',').find(|kind| !matches!(*kind, "EC2" | "ELB")) {
        Some(unknown) => Err(refuse(format!("Invalid health check type: {unknown}"))),
        None => Ok(Some(given.to_owned())),
    }
}

/// Checks that a call names at most ten target groups (docs/aws.md §15).
fn check_number(arns: &[String]) -> Result<(), ApiError> {
    if arns.len() <= 10 {
        return Ok(());
    }
    Err(refuse(
        "1 validation error detected: Value at 'targetGroupARNs' failed to satisfy constraint: Member must have length less than or equal to 10",
    ))
}

fn target_groups(state: &State, params: &Params) -> Result<Vec<String>, ApiError> {
    let mut arns = params.texts("TargetGroupARNs");
    let sources = params.items("TrafficSources").into_iter();
    arns.extend(sources.map(|source| source.at("Identifier").value().to_owned()));
    check_number(&arns)?;
    match arns.iter().all(|arn| state.target_groups.contains_key(arn)) {
        true => Ok(arns),
        false => Err(refuse("Provided Target Groups may not be valid. Please ensure they exist and try again.")),
    }
}

/// Checks that target groups are in the VPC of the subnets.
fn check_network(state: &State, site: &Site, subnets: &[String], target_groups: &[String]) -> Result<(), ApiError> {
    let vpc = subnets.first().map(|id| ec2::vpc_of(state, site, id)).unwrap_or_default();
    let is_elsewhere = |arn: &&String| state.target_groups.get(*arn).is_some_and(|group| group.vpc != vpc);
    match target_groups.iter().find(is_elsewhere) {
        Some(arn) => Err(refuse(format!(
            "Provided Target Group '{arn}' is in a different VPC than the subnets of the Auto Scaling group, {vpc}."
        ))),
        None => Ok(()),
    }
}

fn policies(params: &Params) -> Result<Option<Vec<String>>, ApiError> {
    let named = params.texts("TerminationPolicies");
    match named.iter().find(|name| !termination::POLICIES.contains(&name.as_str())) {
        Some(unknown) => Err(refuse(format!("Invalid termination policy: {unknown}"))),
        None => Ok(Some(named).filter(|named| !named.is_empty())),
    }
}

pub fn update(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("AutoScalingGroupName")?;
    let spec = template(state, params.at("LaunchTemplate"))?;
    if let Some(spec) = &spec {
        check_template(state, site, spec)?;
    }
    check_service_role(site, params)?;
    let (subnets, check_type, policies) =
        (subnets(state, site, params)?, health_check_type(params)?, policies(params)?);
    if let (Some(subnets), Some(group)) = (&subnets, state.groups.get(name)) {
        check_network(state, site, subnets, &group.target_groups)?;
    }
    let group = state.group_mut(name)?;
    let min = params.parsed("MinSize")?.unwrap_or(group.min);
    let max = params.parsed("MaxSize")?.unwrap_or(group.max);
    // Without an explicit value, the desired capacity is only clamped to the bounds.
    let desired = match params.parsed("DesiredCapacity")? {
        Some(desired) => desired,
        None => group.desired.clamp(min.min(max), max),
    };
    check_bounds(min, max, desired)?;
    let grace_s = params.parsed("HealthCheckGracePeriod")?.unwrap_or(group.grace_s);
    let cooldown_s = params.parsed("DefaultCooldown")?.unwrap_or(group.cooldown_s);
    let warmup_s = params.parsed("DefaultInstanceWarmup")?.or(group.warmup_s);
    if desired != group.desired {
        group.cause = format!(
            "a user request update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {desired} changing the desired capacity from {} to {desired}",
            group.desired
        );
    }
    (group.min, group.max, group.desired) = (min, max, desired);
    (group.grace_s, group.cooldown_s, group.warmup_s) = (grace_s, cooldown_s, warmup_s);
    if let Some(spec) = spec {
        group.template = spec;
        (group.failures, group.last_launch) = (0, None);
    }
    if let Some(subnets) = subnets {
        group.subnets = subnets;
    }
    if let Some(check_type) = check_type {
        group.health_check_type = check_type;
    }
    if let Some(policies) = policies {
        group.termination_policies = policies;
    }
    if params.has("NewInstancesProtectedFromScaleIn") {
        group.protect_new = params.flag("NewInstancesProtectedFromScaleIn")?;
    }
    if let Some(protection) = params.text("DeletionProtection") {
        group.deletion_protection = Some(protection.to_owned());
    }
    Ok(Xml::new())
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let name = params.required("AutoScalingGroupName")?;
    let force = params.flag("ForceDelete")?;
    let members = state.members(name);
    let (has_members, has_serving) = (!members.is_empty(), members.iter().any(|one| one.serves()));
    let group = state.groups.get_mut(name).ok_or_else(|| unknown_group(name))?;
    let protected = match group.deletion_protection.as_deref() {
        Some("prevent-all-deletion") => true,
        Some("prevent-force-deletion") => force,
        _ => false,
    };
    if protected {
        return Err(refuse(format!("The AutoScalingGroup '{name}' is protected against deletion")));
    }
    if has_members && !has_serving && !force {
        let message =
            "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.";
        return Err(ApiError::new("ScalingActivityInProgress", message));
    }
    if has_members && !force {
        let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.";
        return Err(ApiError::new("ResourceInUse", message));
    }
    if !group.deleting {
        group.cause = format!(
            "a user request force deleted AutoScalingGroup changing the desired capacity from {} to 0",
            group.desired
        );
    }
    group.deleting = true;
    (group.min, group.desired) = (0, 0);
    Ok(Xml::new())
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let names = params.texts("AutoScalingGroupNames");
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for group in state.groups.values() {
        let tags = group.plain_tags();
        let passes = filters.pass(&tags, |name| match name {
            "tag-value" => Some(tags.values().cloned().collect()),
            "auto-scaling-group" => fact(&group.name),
            _ => None,
        })?;
        if passes && (names.is_empty() || names.contains(&group.name)) {
            found.push(group);
        }
    }
    let (shown, next) = page(&found, params, 50)?;
    let mut xml = Xml::new();
    let with_instances = params.parsed("IncludeInstances")?.unwrap_or(true);
    xml.members("AutoScalingGroups", shown, |xml, group| {
        write(xml, state, site, group);
        if with_instances {
            xml.members("Instances", state.members(&group.name), write_instance);
        }
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}

fn write(xml: &mut Xml, state: &State, site: &Site, group: &AutoScalingGroup) {
    xml.text("AutoScalingGroupName", &group.name).text("AutoScalingGroupARN", &group.arn);
    xml.within("LaunchTemplate", |xml| write_template(xml, &group.template));
    xml.text("MinSize", group.min).text("MaxSize", group.max).text("DesiredCapacity", group.desired);
    xml.text("DefaultCooldown", group.cooldown_s);
    let zones = ec2::subnets(state, site).into_iter().filter(|subnet| group.subnets.contains(&subnet.id));
    xml.names("AvailabilityZones", zones.map(|subnet| subnet.zone)).within("LoadBalancerNames", |_| ());
    xml.names("TargetGroupARNs", &group.target_groups).text("HealthCheckType", &group.health_check_type);
    xml.text("HealthCheckGracePeriod", group.grace_s).maybe("DefaultInstanceWarmup", group.warmup_s);
    xml.text("CreatedTime", group.created);
    xml.members("SuspendedProcesses", &group.suspended, |xml, process| {
        xml.text("ProcessName", process).text("SuspensionReason", "User suspended");
    });
    xml.text("VPCZoneIdentifier", group.subnets.join(",")).within("EnabledMetrics", |_| ());
    xml.members("Tags", &group.tags, |xml, (key, tag): (&String, &GroupTag)| tags::write(xml, group, key, tag));
    xml.names("TerminationPolicies", &group.termination_policies);
    xml.text("NewInstancesProtectedFromScaleIn", group.protect_new);
    xml.text("ServiceLinkedRoleARN", service_role(site));
    xml.members("TrafficSources", &group.target_groups, |xml, arn| {
        xml.text("Identifier", arn).text("Type", "elbv2");
    });
    for (part, field, value) in [
        ("AvailabilityZoneDistribution", "CapacityDistributionStrategy", "balanced-best-effort"),
        ("CapacityReservationSpecification", "CapacityReservationPreference", "default"),
    ] {
        xml.within(part, |xml| {
            xml.text(field, value);
        });
    }
    xml.maybe("DeletionProtection", group.deletion_protection.as_ref());
    xml.maybe("Status", group.deleting.then_some("Delete in progress"));
}

/// Groups have no lifecycle hooks here, so instances never wait for one.
pub fn describe_hooks(state: &State, _site: &Site, params: &Params) -> Answer {
    state.group(params.required("AutoScalingGroupName")?)?;
    let mut xml = Xml::new();
    xml.members("LifecycleHooks", None::<()>, |_, ()| ());
    Ok(xml)
}

/// Groups send no notifications.
pub fn describe_notifications(state: &State, _site: &Site, params: &Params) -> Answer {
    for name in params.texts("AutoScalingGroupNames") {
        state.group(&name)?;
    }
    let mut xml = Xml::new();
    xml.members("NotificationConfigurations", None::<()>, |_, ()| ());
    Ok(xml)
}

/// No metrics are collected, so there is nothing to disable.
pub fn disable_metrics(state: &mut State, _site: &Site, params: &Params) -> Answer {
    state.group_mut(params.required("AutoScalingGroupName")?)?;
    Ok(Xml::new())
}

/// Returns the limits of the account (docs/aws.md §15).
pub fn describe_limits(state: &State, _site: &Site, _params: &Params) -> Answer {
    let mut xml = Xml::new();
    xml.text("MaxNumberOfAutoScalingGroups", 500).text("MaxNumberOfLaunchConfigurations", 200);
    xml.text("NumberOfAutoScalingGroups", state.groups.len()).text("NumberOfLaunchConfigurations", 0);
    Ok(xml)
}
