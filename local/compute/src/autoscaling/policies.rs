//! Scaling policies (docs/aws.md §10.6).

use uuid::Uuid;

use super::groups;
use super::tracking::{HIGH_MINUTES, LOW_MINUTES, LOW_SHARE};
use crate::clock::Moment;
use crate::state::{AlarmState, AutoScalingGroup, ScalingPolicy, State, Tracking, Watch};
use crate::{Alarm, Site};
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params, Xml};

const METRICS: &[&str] =
    &["ASGAverageCPUUtilization", "ASGAverageNetworkIn", "ASGAverageNetworkOut", "ALBRequestCountPerTarget"];

pub fn put(state: &mut State, site: &Site, params: &Params) -> Answer {
    let group = state.group(params.required("AutoScalingGroupName")?)?;
    let (group_name, before) = (group.name.clone(), group.policies.get(params.required("PolicyName")?).cloned());
    let name = params.required("PolicyName")?;
    groups::check_name_of("policyName", name)?;
    let kind = params.text("PolicyType").unwrap_or("SimpleScaling");
    if kind != "TargetTrackingScaling" {
        let text = format!("the local AWS has no scaling policies of the type {kind}, only TargetTrackingScaling");
        return Err(ApiError::new(NOT_IMPLEMENTED, text));
    }
    let arn = format!(
        "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:autoScalingGroupName/{group_name}:policyName/{name}",
        site.region,
        site.account,
        Uuid::new_v4()
    );
    let policy = ScalingPolicy {
        name: name.to_owned(),
        arn: before.as_ref().map_or(arn, |before| before.arn.clone()),
        kind: kind.to_owned(),
        tracking: Some(tracking(group, params.at("TargetTrackingConfiguration"))?),
        warmup_s: params.parsed("EstimatedInstanceWarmup")?,
        alarm: before.map_or_else(|| Uuid::new_v4().to_string(), |before| before.alarm),
        made: Moment::now(),
        high: Watch::begin(),
        low: Watch::begin(),
    };
    let mut xml = Xml::new();
    xml.text("PolicyARN", &policy.arn);
    write_alarms(&mut xml, site, &group_name, &policy);
    state.group_mut(&group_name)?.policies.insert(name.to_owned(), policy);
    Ok(xml)
}

fn tracking(group: &AutoScalingGroup, params: &Params) -> Result<Tracking, ApiError> {
    let refuse = |message: String| ApiError::new("ValidationError", message);
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
        only_out: params.flag("DisableScaleIn")?,
    })
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.text("AutoScalingGroupName");
    let names = params.texts("PolicyNames");
    let groups = state.groups.values().filter(|group| wanted.is_none_or(|name| group.name == name));
    let all = groups.flat_map(|group| group.policies.values().map(move |policy| (group, policy)));
    let kinds = params.texts("PolicyTypes");
    let chosen = all.filter(|(_, policy)| {
        let is_named = names.is_empty() || names.contains(&policy.name) || names.contains(&policy.arn);
        is_named && (kinds.is_empty() || kinds.contains(&policy.kind))
    });
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

fn write_alarms(xml: &mut Xml, site: &Site, group: &str, policy: &ScalingPolicy) {
    xml.members("Alarms", [true, false], |xml, is_high| {
        let name = alarm_name(group, policy, is_high);
        xml.text("AlarmARN", alarm_arn(site, &name)).text("AlarmName", name);
    });
}

fn alarm_name(group: &str, policy: &ScalingPolicy, is_high: bool) -> String {
    let side = if is_high { "AlarmHigh" } else { "AlarmLow" };
    format!("TargetTracking-{group}-{side}-{}", policy.alarm)
}

fn alarm_arn(site: &Site, name: &str) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", site.region, site.account)
}

/// Returns the alarms of all policies, as CloudWatch shows them.
pub fn alarms(state: &State, site: &Site) -> Vec<Alarm> {
    let policies = state.groups.values().flat_map(|group| group.policies.values().map(move |policy| (group, policy)));
    let tracking = policies.filter_map(|(group, policy)| Some((group, policy, policy.tracking.as_ref()?)));
    let both = |(group, policy, tracking)| [true, false].map(|is_high| alarm(site, group, policy, tracking, is_high));
    tracking.flat_map(both).collect()
}

fn alarm(site: &Site, group: &AutoScalingGroup, policy: &ScalingPolicy, tracking: &Tracking, is_high: bool) -> Alarm {
    let name = alarm_name(&group.name, policy, is_high);
    let watch = if is_high { policy.high } else { policy.low };
    let of_group = vec![("AutoScalingGroupName", group.name.clone())];
    let (namespace, metric, statistic, dimensions) = match tracking.metric.as_str() {
        "ALBRequestCountPerTarget" => {
            let label = tracking.label.as_deref().unwrap_or_default();
            let at = label.find("targetgroup/").unwrap_or(label.len());
            let (balancer, target_group) = label.split_at(at);
            let named = vec![
                ("TargetGroup", target_group.to_owned()),
                ("LoadBalancer", balancer.trim_end_matches('/').to_owned()),
            ];
            ("AWS/ApplicationELB", "RequestCountPerTarget", "Sum", named)
        }
        "ASGAverageNetworkIn" => ("AWS/EC2", "NetworkIn", "Average", of_group),
        "ASGAverageNetworkOut" => ("AWS/EC2", "NetworkOut", "Average", of_group),
        _ => ("AWS/EC2", "CPUUtilization", "Average", of_group),
    };
    Alarm {
        arn: alarm_arn(site, &name),
        name,
        policy: policy.arn.clone(),
        is_high,
        periods: if is_high { HIGH_MINUTES } else { LOW_MINUTES },
        threshold: if is_high { tracking.target } else { tracking.target * LOW_SHARE },
        namespace,
        metric: metric.to_owned(),
        statistic,
        dimensions,
        state: match watch.verdict {
            AlarmState::Unknown => "INSUFFICIENT_DATA",
            AlarmState::Fine => "OK",
            AlarmState::Alarm => "ALARM",
        },
        since: watch.since.offset(),
        made: policy.made.offset(),
    }
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let wanted = params.required("PolicyName")?;
    let named = params.text("AutoScalingGroupName");
    if let Some(name) = named {
        state.group(name)?;
    }
    let mut gone = 0;
    for group in state.groups.values_mut().filter(|group| named.is_none_or(|name| group.name == name)) {
        let before = group.policies.len();
        group.policies.retain(|name, policy| name != wanted && policy.arn != wanted);
        gone += before - group.policies.len();
    }
    if gone == 0 {
        return Err(ApiError::new("ValidationError", format!("Policy name {wanted} not found")));
    }
    Ok(Xml::new())
}
