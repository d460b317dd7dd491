//! Turns a version of a launch template into an instance, or explains why EC2 would refuse the launch.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Moment;
use crate::ec2::{self, Data};
use crate::state::{
    AutoScalingGroup, Instance, InstanceFault, InstanceState, SecurityGroup, State, Subnet, Tags, TemplateSpec, new_id,
};
use crate::{Profile, Site};
use chaos::ChaosKind;

/// Why an instance was not launched: EC2's error message without its code, as activities show it.
pub struct Refused {
    pub message: String,
    /// The zone of the failed launch, if other zones may still work.
    pub zone: Option<String>,
}

impl From<String> for Refused {
    fn from(message: String) -> Refused {
        Refused { message, zone: None }
    }
}

/// The instance profiles of all groups, by the name or ARN in launch templates; `None` if the profile does not exist.
pub type Profiles = BTreeMap<String, Option<Profile>>;

/// The conditions of a launch that are not part of the state.
pub struct Outlook<'a> {
    /// The instance profiles of the groups, as IAM has them now.
    pub profiles: &'a Profiles,
    /// Zones in which a launch has just failed.
    pub avoided: &'a BTreeSet<String>,
}

/// Adds an instance of this template to a group.
pub fn launch(
    state: &mut State,
    site: &Site,
    group: &AutoScalingGroup,
    spec: &TemplateSpec,
    outlook: &Outlook,
) -> Result<Instance, Refused> {
    let (number, data) = ec2::resolve_template(state, spec).map_err(|fault| fault.message)?;
    let kind = check(state, site, data)?;
    check_account(state, site, data, &kind, outlook)?;
    let subnet = emptiest(state, site, group, outlook.avoided)
        .ok_or_else(|| "No subnet is configured for the group.".to_owned())?;
    check_zone(state, site, group, &kind, &subnet.zone)?;
    check_network(state, site, data, &subnet)?;
    let id = new_id("i");
    let user_data = data.text("UserData").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let (groups, vpc) = (data.security_groups(), subnet.vpc.clone());
    let instance = Instance {
        id: id.clone(),
        group: Some(group.name.clone()),
        template: TemplateSpec { version: number.to_string(), ..spec.clone() },
        image: data.text("ImageId").unwrap_or_default().to_owned(),
        kind: data.text("InstanceType").unwrap_or_default().to_owned(),
        address: subnet.address_for(&id),
        zone: subnet.zone,
        subnet: subnet.id,
        security_groups: if groups.is_empty() { default_group(state, site, &vpc) } else { groups },
        profile: data.profile().map(str::to_owned),
        shown_profile: data.profile().and_then(|name| outlook.profiles.get(name)?.clone()),
        settings: ec2::InstanceSettings::of(data, subnet.public_addresses)?,
        volumes: ec2::volumes_of(&id, &site.region, data)?,
        user_data: String::from_utf8_lossy(&user_data).into_owned(),
        state: InstanceState::Pending,
        launched: Moment::now(),
        ended: None,
        port: None,
        declared_port: None,
        in_service: None,
        unhealthy: None,
        protected: group.protect_new,
        leaving: false,
        registered: Vec::new(),
        mishap: mishap(site, group),
        rebooting: false,
    };
    let mut tags: Tags = data.tags_for("instance");
    let propagated = group.tags.iter().filter(|(_, tag)| tag.propagate);
    tags.extend(propagated.map(|(key, tag)| (key.clone(), tag.value.clone())));
    tags.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
    tags.insert("aws:ec2launchtemplate:id".to_owned(), spec.id.clone());
    tags.insert("aws:ec2launchtemplate:version".to_owned(), number.to_string());
    let (of_interface, of_volumes) = (data.tags_for("network-interface"), data.tags_for("volume"));
    state.tag(&id, tags);
    state.tag(&ec2::interface_of(&id), of_interface);
    for volume in &instance.volumes {
        state.tag(&volume.id, of_volumes.clone());
    }
    state.instances.insert(id, instance.clone());
    Ok(instance)
}

/// Returns the fault that chaos injects into a group's next instance, if any.
fn mishap(site: &Site, group: &AutoScalingGroup) -> Option<InstanceFault> {
    let chaos = site.chaos.borrow();
    let thing = format!("{} {}", group.name, group.launches);
    let hits = |kind| chaos.lot(kind, &thing).is_some_and(|lot| lot < 0.5);
    let fates = [(ChaosKind::BootFail, InstanceFault::BootFail), (ChaosKind::CrashLoop, InstanceFault::CrashLoop)];
    fates.into_iter().find(|(kind, _)| hits(*kind)).map(|(_, mishap)| mishap)
}

/// Checks that the account may launch the instance.
fn check_account(
    state: &State,
    site: &Site,
    data: Data,
    kind: &ec2::InstanceType,
    outlook: &Outlook,
) -> Result<(), String> {
    if let Some(profile) = data.profile().filter(|name| matches!(outlook.profiles.get(*name), Some(None))) {
        return Err(format!(
            "Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        ));
    }
    // Local instances have no SSH server, so there are no key pairs.
    if let Some(key) = data.text("KeyName").filter(|key| !key.is_empty()) {
        return Err(format!("The key pair '{key}' does not exist"));
    }
    if site.chaos.borrow().kinds.contains(&ChaosKind::FreePlan) && !kind.is_free() {
        return Err("The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run 'describe-instance-types' with the filter 'free-tier-eligible=true'.".to_owned());
    }
    ec2::check_quota(state, site, kind.processors()).map_err(|fault| fault.message)
}

/// Checks that the security groups are in the VPC of the subnet.
fn check_network(state: &State, site: &Site, data: Data, subnet: &Subnet) -> Result<(), String> {
    let is_elsewhere =
        |id: &&String| state.security_groups.get(*id).is_some_and(|group| group.vpc_id(site) != subnet.vpc);
    match data.security_groups().iter().find(is_elsewhere) {
        Some(id) => Err(format!("Security group {id} and subnet {} belong to different networks.", subnet.id)),
        None => Ok(()),
    }
}

/// Checks that a zone offers the instance type and has capacity for it.
fn check_zone(
    state: &State,
    site: &Site,
    group: &AutoScalingGroup,
    kind: &ec2::InstanceType,
    zone: &str,
) -> Result<(), Refused> {
    let zones = zones(site);
    let refused = |message: String| Err(Refused { message, zone: Some(zone.to_owned()) });
    let name = kind.name();
    let list = |zones: Vec<&str>| zones.join(", ");
    if !kind.is_offered_in(zone) {
        let others = zones.iter().map(String::as_str).filter(|zone| kind.is_offered_in(zone)).collect();
        return refused(format!(
            "Your requested instance type ({name}) is not supported in your requested Availability Zone ({zone}). Please retry your request by not specifying an Availability Zone or choosing {}.",
            list(others)
        ));
    }
    let lot = site.chaos.borrow().lot(ChaosKind::Capacity, &site.region);
    if lot.is_none_or(|lot| drawn_zone(&zones_of(state, site, group), lot) != Some(zone)) {
        return Ok(());
    }
    let others = zones.iter().map(String::as_str).filter(|other| *other != zone).collect();
    refused(format!(
        "We currently do not have sufficient {name} capacity in the Availability Zone you requested ({zone}). Our system will be working on provisioning additional capacity. You can currently get {name} capacity by not specifying an Availability Zone in your request or choosing {}.",
        list(others)
    ))
}

/// Returns whether an instance of the template could be launched in this subnet of a group.
pub fn takes(state: &State, site: &Site, group: &AutoScalingGroup, spec: &TemplateSpec, subnet: &str) -> bool {
    let kind = ec2::resolve_template(state, spec).ok().and_then(|(_, data)| check(state, site, data).ok());
    let subnet = ec2::subnets(state, site).into_iter().find(|one| one.id == subnet);
    kind.zip(subnet).is_some_and(|(kind, subnet)| check_zone(state, site, group, &kind, &subnet.zone).is_ok())
}

/// Returns all zones.
fn zones(site: &Site) -> Vec<String> {
    ec2::zones(site)
}

/// Returns the zones that a group may use.
fn zones_of(state: &State, site: &Site, group: &AutoScalingGroup) -> Vec<String> {
    let ours = ec2::subnets(state, site).into_iter().filter(|subnet| group.subnets.contains(&subnet.id));
    ours.map(|subnet| subnet.zone).collect()
}

/// Returns the zone that a drawn number from 0 to 1 selects.
fn drawn_zone(zones: &[String], lot: f64) -> Option<&str> {
    zones.get(((lot * zones.len() as f64) as usize).min(zones.len().saturating_sub(1))).map(String::as_str)
}

/// Returns the instance type if EC2 would launch an instance from this data, or EC2's error message.
pub fn check(state: &State, site: &Site, data: Data) -> Result<ec2::InstanceType, String> {
    let missing = |name: &str| format!("The request must contain the parameter {name}");
    let image = data.text("ImageId").ok_or_else(|| missing("ImageId"))?;
    let image = ec2::find_image(site, image).ok_or_else(|| format!("The image id '[{image}]' does not exist"))?;
    let kind = data.text("InstanceType").ok_or_else(|| missing("InstanceType"))?;
    let kind = ec2::find_type(kind).ok_or_else(|| format!("Invalid value '{kind}' for InstanceType."))?;
    if kind.architecture() != image.architecture {
        return Err(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            kind.architecture(),
            image.architecture
        ));
    }
    ec2::InstanceSettings::of(data, true)?;
    ec2::volumes_of("i-0", &site.region, data)?;
    match data.security_groups().iter().find(|id| !state.security_groups.contains_key(*id)) {
        Some(unknown) => Err(format!("The security group '{unknown}' does not exist")),
        None => Ok(kind),
    }
}

fn default_group(state: &State, site: &Site, vpc: &str) -> Vec<String> {
    let is_it = |group: &&SecurityGroup| group.name == "default" && group.vpc_id(site) == vpc;
    state.security_groups.values().filter(is_it).map(|group| group.id.clone()).collect()
}

/// Returns the group's subnet with the fewest of its instances, outside the zones to avoid.
fn emptiest(state: &State, site: &Site, group: &AutoScalingGroup, avoided: &BTreeSet<String>) -> Option<Subnet> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in state.members(&group.name).into_iter().filter(|one| one.serves()) {
        *counts.entry(&member.subnet).or_default() += 1;
    }
    let ours = ec2::subnets(state, site)
        .into_iter()
        .filter(|subnet| group.subnets.contains(&subnet.id) && !avoided.contains(&subnet.zone));
    ours.min_by_key(|subnet| counts.get(subnet.id.as_str()).copied().unwrap_or(0))
}
