//! The instances of groups.

use super::refuse;
use super::templates::write_template;
use crate::Site;
use crate::autoscaling::activities;
use crate::clock::Moment;
use crate::state::{Instance, State};
use kit::query::{Answer, ApiError, Params, Xml};

pub(super) fn write_instance(xml: &mut Xml, one: &Instance) {
    xml.text("InstanceId", &one.id).text("InstanceType", &one.kind).text("AvailabilityZone", &one.zone);
    xml.text("LifecycleState", one.lifecycle()).text("HealthStatus", one.health());
    xml.within("LaunchTemplate", |xml| write_template(xml, &one.template));
    xml.text("ProtectedFromScaleIn", one.protected);
}

pub fn describe_instances(state: &State, _site: &Site, params: &Params) -> Answer {
    let ids = params.texts("InstanceIds");
    let shown = |one: &&Instance| one.group.as_deref().is_some_and(|group| one.is_member_of(group));
    let found = state.instances.values().filter(shown).filter(|one| ids.is_empty() || ids.contains(&one.id));
    let mut xml = Xml::new();
    xml.members("AutoScalingInstances", found, |xml, one| {
        // Only this response has the health status in capitals.
        let health = one.health().to_uppercase();
        xml.text("InstanceId", &one.id)
            .text("InstanceType", &one.kind)
            .maybe("AutoScalingGroupName", one.group.as_ref());
        xml.text("AvailabilityZone", &one.zone).text("LifecycleState", one.lifecycle()).text("HealthStatus", health);
        xml.within("LaunchTemplate", |xml| write_template(xml, &one.template));
        xml.text("ProtectedFromScaleIn", one.protected);
    });
    Ok(xml)
}

pub fn set_desired_capacity(state: &mut State, site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    let desired: u32 = params.parsed("DesiredCapacity")?.ok_or_else(|| refuse("DesiredCapacity is required"))?;
    if desired > group.max {
        return Err(refuse(format!(
            "New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.",
            group.max
        )));
    }
    if desired < group.min {
        return Err(refuse(format!(
            "New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.",
            group.min
        )));
    }
    let pause = site.speed.lasts(group.cooldown_s);
    if params.flag("HonorCooldown")? && group.scaled.is_some_and(|since| since.age() < pause) {
        let text = format!("Scaling activity is in cooldown for the AutoScalingGroup {}", group.name);
        return Err(ApiError::new("ScalingActivityInProgress", text));
    }
    if desired != group.desired {
        group.cause = format!(
            "a user request explicitly set group desired capacity changing the desired capacity from {} to {desired}",
            group.desired
        );
    }
    group.desired = desired;
    Ok(Xml::new())
}

pub fn terminate_instance(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("InstanceId")?;
    let name = member(state, id)?;
    let group = state.group_mut(&name)?;
    if params.flag("ShouldDecrementDesiredCapacity")? {
        if group.desired <= group.min {
            return Err(refuse(
                "Currently, desiredSize equals minSize. Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
            ));
        }
        group.desired -= 1;
    }
    let now = Moment::now().seconds();
    let cause = format!("At {now} instance {id} was taken out of service in response to a user request.");
    crate::autoscaling::reconcile::release(state, site, id, cause);
    let mut xml = Xml::new();
    if let Some(activity) = state.activities.last() {
        xml.within("Activity", |xml| activities::write(xml, activity));
    }
    Ok(xml)
}

/// Returns the name of the group that an instance belongs to.
fn member(state: &State, id: &str) -> Result<String, ApiError> {
    let group = state.instances.get(id).filter(|one| one.is_alive()).and_then(|one| one.group.clone());
    group.ok_or_else(|| refuse(format!("Instance Id not found - No managed instance found for instance ID: {id}")))
}

pub fn set_instance_health(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("InstanceId")?;
    let group = state.group(&member(state, id)?)?;
    let grace = site.speed.lasts(group.grace_s);
    let unhealthy = match params.required("HealthStatus")? {
        "Healthy" => None,
        "Unhealthy" => Some("a user health-check".to_owned()),
        other => {
            return Err(refuse(format!("Valid instance health states are: [Healthy, Unhealthy], not {other}")));
        }
    };
    let respects_grace = params.parsed("ShouldRespectGracePeriod")?.unwrap_or(true);
    if let Some(one) = state.instances.get_mut(id) {
        let in_grace = one.in_service.is_none_or(|since| since.age() < grace);
        if unhealthy.is_none() || !(in_grace && respects_grace) {
            one.unhealthy = unhealthy;
        }
    }
    Ok(Xml::new())
}
