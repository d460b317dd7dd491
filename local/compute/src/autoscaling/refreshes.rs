//! Instance refreshes: replace all instances of a group, a few at a time (docs/aws.md §10.5).

use uuid::Uuid;

use super::groups;
use crate::Site;
use crate::clock::Moment;
use crate::state::{Protected, Refresh, RefreshStatus, State};
use kit::query::{Answer, ApiError, Params, Xml, page};

pub fn start(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("AutoScalingGroupName")?;
    let refuse = |message: &str| Err(ApiError::new("ValidationError", message));
    if params.text("Strategy").is_some_and(|strategy| strategy != "Rolling") {
        return refuse("Only the strategy Rolling is supported here");
    }
    let desired = groups::template(state, params.at("DesiredConfiguration.LaunchTemplate"))?;
    if let Some(spec) = &desired {
        groups::check_template(state, site, spec)?;
    }
    let preferences = params.at("Preferences");
    let min: Option<u32> = preferences.parsed("MinHealthyPercentage")?;
    let max: Option<u32> = preferences.parsed("MaxHealthyPercentage")?;
    let (min_healthy, max_healthy) = (min.unwrap_or(90), max.unwrap_or(100));
    if min_healthy > 100 || !(100..=200).contains(&max_healthy) || max_healthy - min_healthy > 100 {
        return refuse(
            "MinHealthyPercentage must be between 0 and 100, MaxHealthyPercentage between 100 and 200, and their difference at most 100",
        );
    }
    if max.is_some() && min.is_none() {
        return refuse("You must specify MinHealthyPercentage together with MaxHealthyPercentage");
    }
    let wanted = preferences.text("ScaleInProtectedInstances").unwrap_or("Wait");
    let Some((_, protected)) = Protected::NAMES.into_iter().find(|(name, _)| *name == wanted) else {
        return refuse("ScaleInProtectedInstances must be Wait, Ignore or Refresh");
    };
    let bake_s: u64 = preferences.parsed("BakeTime")?.unwrap_or(0);
    if bake_s > LONGEST_BAKE_S {
        return refuse(&format!("BakeTime must be between 0 and {LONGEST_BAKE_S} seconds"));
    }
    let alarms = preferences.texts("AlarmSpecification.Alarms");
    check_alarms(state, &alarms)?;
    let rung = alarms.iter().find(|name| state.alarms[*name].rings()).cloned();
    let auto_rollback = preferences.flag("AutoRollback")?;
    let numbered = desired.as_ref().is_some_and(|spec| !spec.version.starts_with('$'));
    let group = state.group_mut(name)?;
    if auto_rollback && (!numbered || group.template.version.starts_with('$')) {
        return refuse("AutoRollback requires a desired configuration and numbered launch template versions");
    }
    if let Some(running) = group.refresh() {
        let message = format!(
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh. (Instance Refresh: {})",
            running.id
        );
        return Err(ApiError::new("InstanceRefreshInProgress", message));
    }
    let refresh = Refresh {
        id: Uuid::new_v4().to_string(),
        status: RefreshStatus::Pending,
        reason: None,
        started: Moment::now(),
        ended: None,
        min_healthy,
        max_healthy,
        warmup_s: preferences.parsed("InstanceWarmup")?,
        skip_matching: preferences.flag("SkipMatching")?,
        auto_rollback,
        protected,
        desired,
        bake_s,
        baking: None,
        alarms,
        rung,
        rollback: None,
        total: 0,
        left: 0,
        progressed: Moment::now(),
    };
    let mut xml = Xml::new();
    xml.text("InstanceRefreshId", &refresh.id);
    group.refreshes.push(refresh);
    Ok(xml)
}

/// The longest bake time, and the most alarms of a refresh (docs/aws.md §10.5).
const LONGEST_BAKE_S: u64 = 172_800;
const MOST_ALARMS: usize = 10;

/// Checks that a refresh can watch these alarms.
fn check_alarms(state: &State, alarms: &[String]) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new("ValidationError", message));
    if alarms.len() > MOST_ALARMS {
        return refuse(format!("You can specify up to {MOST_ALARMS} CloudWatch alarms"));
    }
    match alarms.iter().find(|name| !state.alarms.contains_key(*name)) {
        Some(missing) => refuse(format!("The CloudWatch alarm {missing} does not exist")),
        None => Ok(()),
    }
}

pub fn cancel(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    let Some(refresh) = group.refreshes.last_mut().filter(|refresh| refresh.is_open()) else {
        let message = "No in progress or pending Instance Refresh found for this Auto Scaling group";
        return Err(ApiError::new("ActiveInstanceRefreshNotFound", message));
    };
    refresh.status = RefreshStatus::Cancelling;
    let mut xml = Xml::new();
    xml.text("InstanceRefreshId", &refresh.id);
    Ok(xml)
}

pub fn roll_back(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    let moves_on = group.template.version.starts_with('$');
    let Some(refresh) = group.refreshes.last_mut().filter(|refresh| refresh.is_open()) else {
        let message = "No in progress or pending Instance Refresh found for this Auto Scaling group";
        return Err(ApiError::new("ActiveInstanceRefreshNotFound", message));
    };
    // Only a numbered version identifies the template to roll back to.
    if refresh.desired.is_none() || moves_on {
        let message = "The instance refresh cannot be rolled back: it has no desired configuration, or the group's launch template has no numbered version";
        return Err(ApiError::new("IrreversibleInstanceRefresh", message));
    }
    refresh.roll_back("Rolled back by user.".to_owned());
    let mut xml = Xml::new();
    xml.text("InstanceRefreshId", &refresh.id);
    Ok(xml)
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let group = state.group(params.required("AutoScalingGroupName")?)?;
    let ids = params.texts("InstanceRefreshIds");
    let chosen = |one: &&Refresh| ids.is_empty() || ids.contains(&one.id);
    let newest_first: Vec<&Refresh> = group.refreshes.iter().rev().filter(chosen).collect();
    let (shown, next) = page(&newest_first, params, 50)?;
    let mut xml = Xml::new();
    xml.members("InstanceRefreshes", shown, |xml, one| {
        xml.text("InstanceRefreshId", &one.id).text("AutoScalingGroupName", &group.name);
        xml.text("Status", format!("{:?}", one.status)).maybe("StatusReason", one.reason.as_ref());
        xml.text("StartTime", one.started).maybe("EndTime", one.ended);
        xml.text("PercentageComplete", one.percent()).text("InstancesToUpdate", one.left).text("Strategy", "Rolling");
        xml.within("Preferences", |xml| {
            xml.text("MinHealthyPercentage", one.min_healthy).text("MaxHealthyPercentage", one.max_healthy);
            xml.maybe("InstanceWarmup", one.warmup_s).text("SkipMatching", one.skip_matching);
            xml.text("AutoRollback", one.auto_rollback);
            let protected = Protected::NAMES.into_iter().find(|(_, known)| *known == one.protected);
            xml.maybe("ScaleInProtectedInstances", protected.map(|(name, _)| name));
            xml.text("BakeTime", one.bake_s);
            if !one.alarms.is_empty() {
                xml.within("AlarmSpecification", |xml| {
                    xml.names("Alarms", &one.alarms);
                });
            }
        });
        if let Some(rollback) = &one.rollback {
            xml.within("RollbackDetails", |xml| {
                xml.text("RollbackReason", &rollback.reason).text("RollbackStartTime", rollback.started);
                xml.text("PercentageCompleteOnRollback", rollback.percent);
                xml.text("InstancesToUpdateOnRollback", rollback.left);
            });
        }
        if let Some(spec) = &one.desired {
            xml.within("DesiredConfiguration", |xml| {
                xml.within("LaunchTemplate", |xml| groups::write_template(xml, spec));
            });
        }
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}
