//! Scaling policies (aws-facts §10.6).

use uuid::Uuid;

use super::groups;
use crate::compute::Site;
use crate::compute::state::{Group, Policy, State, Tracking};
use crate::compute::wire::{Answer, Fault, Params, Xml};

const METRICS: &[&str] =
    &["ASGAverageCPUUtilization", "ASGAverageNetworkIn", "ASGAverageNetworkOut", "ALBRequestCountPerTarget"];

pub fn put(state: &mut State, site: &Site, params: &Params) -> Answer {
    let group = groups::by_name(state, params.required("AutoScalingGroupName")?)?;
    let (group_name, before) = (group.name.clone(), group.policies.get(params.required("PolicyName")?).cloned());
    let name = params.required("PolicyName")?;
    groups::check_name_of("policyName", name)?;
    let kind = params.text("PolicyType").unwrap_or("SimpleScaling");
    if kind != "TargetTrackingScaling" {
        return Err(Fault::new(
            "ValidationError",
            format!("Policy type '{kind}' is not supported here; TargetTrackingScaling is"),
        ));
    }
    let arn = format!(
        "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:autoScalingGroupName/{group_name}:policyName/{name}",
        site.region,
        site.account,
        Uuid::new_v4()
    );
    let policy = Policy {
        name: name.to_owned(),
        arn: before.as_ref().map_or(arn, |before| before.arn.clone()),
        kind: kind.to_owned(),
        tracking: Some(tracking(group, params.at("TargetTrackingConfiguration"))?),
        warmup_s: params.parsed("EstimatedInstanceWarmup")?,
        alarm: before.map_or_else(|| Uuid::new_v4().to_string(), |before| before.alarm),
    };
    let mut xml = Xml::new();
    xml.text("PolicyARN", &policy.arn);
    write_alarms(&mut xml, site, &group_name, &policy);
    groups::by_name_mut(state, &group_name)?.policies.insert(name.to_owned(), policy);
    Ok(xml)
}

fn tracking(group: &Group, params: &Params) -> Result<Tracking, Fault> {
    let refuse = |message: String| Fault::new("ValidationError", message);
    let metric = params
        .text("PredefinedMetricSpecification.PredefinedMetricType")
        .ok_or_else(|| refuse("A predefined metric must be specified".to_owned()))?;
    if !METRICS.contains(&metric) {
        return Err(refuse(format!(
            "1 validation error detected: Value '{metric}' at 'predefinedMetricType' failed to satisfy constraint: Member must satisfy enum value set: {METRICS:?}"
        )));
    }
    let label = params.text("PredefinedMetricSpecification.ResourceLabel");
    if metric == "ALBRequestCountPerTarget" {
        let part = label.and_then(|label| label.find("targetgroup/").map(|at| &label[at..]));
        let part =
            part.ok_or_else(|| refuse("A resource label must be specified for ALBRequestCountPerTarget".to_owned()))?;
        if !group.target_groups.iter().any(|arn| arn.ends_with(part)) {
            return Err(refuse(format!("Target group {part} is not attached to the AutoScaling group")));
        }
    }
    let target: f64 =
        params.parsed("TargetValue")?.ok_or_else(|| refuse("A target value must be specified".to_owned()))?;
    if !target.is_finite() || target <= 0.0 {
        return Err(refuse("TargetValue must be greater than 0".to_owned()));
    }
    Ok(Tracking {
        metric: metric.to_owned(),
        label: label.map(str::to_owned),
        target,
        only_out: params.flag("DisableScaleIn"),
    })
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.text("AutoScalingGroupName");
    let names = params.texts("PolicyNames");
    let groups = state.groups.values().filter(|group| wanted.is_none_or(|name| group.name == name));
    let all = groups.flat_map(|group| group.policies.values().map(move |policy| (group, policy)));
    let chosen =
        all.filter(|(_, policy)| names.is_empty() || names.contains(&policy.name) || names.contains(&policy.arn));
    let mut xml = Xml::new();
    xml.members("ScalingPolicies", chosen, |xml, (group, policy)| {
        xml.text("AutoScalingGroupName", &group.name).text("PolicyName", &policy.name).text("PolicyARN", &policy.arn);
        xml.text("PolicyType", &policy.kind).text("Enabled", true).maybe("EstimatedInstanceWarmup", policy.warmup_s);
        xml.within("StepAdjustments", |_| ());
        write_alarms(xml, site, &group.name, policy);
        if let Some(tracking) = &policy.tracking {
            xml.within("TargetTrackingConfiguration", |xml| {
                xml.within("PredefinedMetricSpecification", |xml| {
                    xml.text("PredefinedMetricType", &tracking.metric).maybe("ResourceLabel", tracking.label.as_ref());
                });
                xml.text("TargetValue", tracking.target).text("DisableScaleIn", tracking.only_out);
            });
        }
    });
    Ok(xml)
}

fn write_alarms(xml: &mut Xml, site: &Site, group: &str, policy: &Policy) {
    xml.members("Alarms", ["AlarmHigh", "AlarmLow"], |xml, side| {
        let name = format!("TargetTracking-{group}-{side}-{}", policy.alarm);
        xml.text("AlarmARN", format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", site.region, site.account));
        xml.text("AlarmName", name);
    });
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let wanted = params.required("PolicyName")?;
    let named = params.text("AutoScalingGroupName");
    if let Some(name) = named {
        groups::by_name(state, name)?;
    }
    let mut gone = 0;
    for group in state.groups.values_mut().filter(|group| named.is_none_or(|name| group.name == name)) {
        let before = group.policies.len();
        group.policies.retain(|name, policy| name != wanted && policy.arn != wanted);
        gone += before - group.policies.len();
    }
    if gone == 0 {
        return Err(Fault::new("ValidationError", format!("Policy name {wanted} not found")));
    }
    Ok(Xml::new())
}
