//! Scheduled actions: set a group's size at a given time, once or recurring.

use std::str::FromStr;

use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::groups;
use crate::Site;
use crate::clock::Moment;
use crate::state::{AutoScalingGroup, Schedule, State};
use kit::query::{Answer, ApiError, Params, Xml, page};

/// The most scheduled actions of a group (docs/aws.md §10.8).
const MOST: usize = 125;

fn refuse(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

pub fn put(state: &mut State, site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    put_one(group, site, params)?;
    Ok(Xml::new())
}

fn put_one(group: &mut AutoScalingGroup, site: &Site, params: &Params) -> Result<(), ApiError> {
    let name = params.required("ScheduledActionName")?;
    groups::check_name_of("scheduledActionName", name)?;
    let (now, start) = (Moment::now(), moment(params, "StartTime")?);
    if !group.schedules.contains_key(name) && group.schedules.len() >= MOST {
        let text = format!("You have already reached a limit: a group has at most {MOST} scheduled actions");
        return Err(ApiError::new("LimitExceeded", text));
    }
    let known = group.schedules.get(name);
    let new_arn = || {
        format!(
            "arn:aws:autoscaling:{}:{}:scheduledUpdateGroupAction:{}:autoScalingGroupName/{}:scheduledActionName/{name}",
            site.region,
            site.account,
            Uuid::new_v4(),
            group.name
        )
    };
    let mut schedule = Schedule {
        arn: known.map_or_else(new_arn, |known| known.arn.clone()),
        end: moment(params, "EndTime")?,
        recurrence: params.text("Recurrence").map(str::to_owned),
        zone: params.text("TimeZone").map(str::to_owned),
        min: params.parsed("MinSize")?,
        max: params.parsed("MaxSize")?,
        desired: params.parsed("DesiredCapacity")?,
        next: start.unwrap_or(now),
        due: None,
    };
    if schedule.min.is_none() && schedule.max.is_none() && schedule.desired.is_none() {
        return Err(refuse("At least one of MinSize, MaxSize and DesiredCapacity must be specified"));
    }
    if start.is_some_and(|start| start < now) {
        return Err(refuse("Given start time is in the past"));
    }
    if schedule.end.is_some_and(|end| end < schedule.next) {
        return Err(refuse("Given end time is before start time"));
    }
    let next = next_after(&schedule, now)?;
    let is_taken = |(other, it): (&String, &Schedule)| other != name && Some(it.next) == start;
    if group.schedules.iter().any(is_taken) {
        let text = "Scheduled action with this scheduled start time already exists";
        return Err(ApiError::new("AlreadyExists", text));
    }
    match (start, next) {
        // A single time is a configured one, so it passes at the speed of AWS's clock here; a recurrence follows the
        // calendar.
        (Some(start), None) => schedule.due = Some(now.after(site.speed.lasts(now.until(start).as_secs()))),
        (Some(_), _) => (),
        (None, Some(next)) => schedule.next = next,
        (None, None) => return Err(refuse("Either a start time or a recurrence must be specified")),
    }
    group.schedules.insert(name.to_owned(), schedule);
    Ok(())
}

fn moment(params: &Params, name: &str) -> Result<Option<Moment>, ApiError> {
    let Some(text) = params.text(name) else {
        return Ok(None);
    };
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| refuse(format!("Value ({text}) for parameter {name} is invalid. It must be a date in UTC")))?;
    Ok(Some(Moment::from(at)))
}

/// Returns when an action recurs next after `now`; `None` if it does not recur.
///
/// Errors: its time zone or recurrence is invalid, or it never occurs.
fn next_after(schedule: &Schedule, now: Moment) -> Result<Option<Moment>, ApiError> {
    let zone = schedule.zone.as_deref().unwrap_or("Etc/UTC");
    let known = Tz::from_str(zone).map_err(|_| refuse(format!("Given time zone: {zone} is invalid")))?;
    let Some(recurrence) = &schedule.recurrence else {
        return Ok(None);
    };
    let invalid = || refuse(format!("Given recurrence string: {recurrence} is invalid"));
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(recurrence).map_err(|_| invalid())?;
    // A day that never occurs, such as 30 February, is an error here.
    let next = cron.find_next_occurrence(&now.calendar().with_timezone(&known), false).map_err(|_| invalid())?;
    Ok(Some(Moment::of(next.to_utc())))
}

/// Runs the due actions, and deletes those that will not be due again.
pub fn run_due(state: &mut State, now: Moment) {
    for group in state.groups.values_mut().filter(|group| !group.deleting) {
        let due: Vec<(String, Schedule)> = group
            .schedules
            .iter()
            .filter(|(_, schedule)| schedule.due.unwrap_or(schedule.next) <= now)
            .map(|(name, schedule)| (name.clone(), schedule.clone()))
            .collect();
        for (name, schedule) in due {
            let is_over = |at: Moment| schedule.end.is_some_and(|end| end < at);
            if !group.suspended.contains("ScheduledActions") && !is_over(schedule.next) {
                act(group, &name, &schedule);
            }
            match next_after(&schedule, now) {
                Ok(Some(next)) if !is_over(next) => {
                    group.schedules.entry(name).and_modify(|schedule| schedule.next = next);
                }
                _ => drop(group.schedules.remove(&name)),
            }
        }
    }
}

/// Applies an action's sizes to the group, unless its minimum would exceed its maximum.
fn act(group: &mut AutoScalingGroup, name: &str, schedule: &Schedule) {
    let (min, max) = (schedule.min.unwrap_or(group.min), schedule.max.unwrap_or(group.max));
    if min > max {
        return;
    }
    let desired = schedule.desired.unwrap_or(group.desired).clamp(min, max);
    let mut cause = format!("the scheduled action {name} executed");
    for (what, before, after) in
        [("min size", group.min, min), ("max size", group.max, max), ("desired capacity", group.desired, desired)]
    {
        if before != after {
            cause += &format!(". Setting {what} from {before} to {after}");
        }
    }
    if desired != group.desired {
        group.cause = cause;
    }
    (group.min, group.max, group.desired) = (min, max, desired);
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let wanted = params.text("AutoScalingGroupName");
    if let Some(name) = wanted {
        state.group(name)?;
    }
    let names = params.texts("ScheduledActionNames");
    // With names, the times are ignored.
    let (from, to) = match names.is_empty() {
        true => (moment(params, "StartTime")?, moment(params, "EndTime")?),
        false => (None, None),
    };
    let groups = state.groups.values().filter(|group| wanted.is_none_or(|name| group.name == name));
    let all = groups.flat_map(|group| group.schedules.iter().map(move |(name, schedule)| (group, name, schedule)));
    let chosen: Vec<_> = all
        .filter(|(_, name, schedule)| {
            let named = names.is_empty() || names.contains(name) || names.contains(&schedule.arn);
            named && from.is_none_or(|from| from <= schedule.next) && to.is_none_or(|to| schedule.next <= to)
        })
        .collect();
    let (shown, next) = page(&chosen, params, 50)?;
    let mut xml = Xml::new();
    xml.members("ScheduledUpdateGroupActions", shown, |xml, (group, name, schedule)| {
        xml.text("AutoScalingGroupName", &group.name).text("ScheduledActionName", name);
        xml.text("ScheduledActionARN", &schedule.arn).text("Time", schedule.next.seconds());
        xml.text("StartTime", schedule.next.seconds()).maybe("EndTime", schedule.end.map(Moment::seconds));
        xml.maybe("Recurrence", schedule.recurrence.as_ref()).maybe("TimeZone", schedule.zone.as_ref());
        xml.maybe("MinSize", schedule.min).maybe("MaxSize", schedule.max).maybe("DesiredCapacity", schedule.desired);
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    delete_one(group, params.required("ScheduledActionName")?)?;
    Ok(Xml::new())
}

fn delete_one(group: &mut AutoScalingGroup, name: &str) -> Result<(), ApiError> {
    let before = group.schedules.len();
    group.schedules.retain(|known, schedule| known != name && schedule.arn != name);
    if group.schedules.len() == before {
        return Err(refuse(format!("Scheduled action name not found - no scheduled action with the name {name}")));
    }
    Ok(())
}

pub fn put_batch(state: &mut State, site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    let mut failed = Vec::new();
    for item in params.items("ScheduledUpdateGroupActions") {
        if let Err(fault) = put_one(group, site, item) {
            failed.push((item.at("ScheduledActionName").value().to_owned(), fault));
        }
    }
    Ok(failures("FailedScheduledUpdateGroupActions", failed))
}

pub fn delete_batch(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let group = state.group_mut(params.required("AutoScalingGroupName")?)?;
    let mut failed = Vec::new();
    for name in params.texts("ScheduledActionNames") {
        if let Err(fault) = delete_one(group, &name) {
            failed.push((name, fault));
        }
    }
    Ok(failures("FailedScheduledActions", failed))
}

fn failures(list: &str, failed: Vec<(String, ApiError)>) -> Xml {
    let mut xml = Xml::new();
    xml.members(list, failed, |xml, (name, fault)| {
        xml.text("ScheduledActionName", name).text("ErrorCode", fault.code).text("ErrorMessage", fault.message);
    });
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn at(text: &str) -> Moment {
        Moment::from(OffsetDateTime::parse(text, &Rfc3339).unwrap())
    }

    fn schedule(recurrence: Option<&str>, zone: Option<&str>, next: &str) -> Schedule {
        Schedule {
            arn: String::new(),
            end: None,
            recurrence: recurrence.map(str::to_owned),
            zone: zone.map(str::to_owned),
            min: None,
            max: None,
            desired: Some(3),
            next: at(next),
            due: None,
        }
    }

    #[test]
    fn a_recurrence_is_due_at_the_hour_of_its_time_zone_whatever_the_season() {
        let check = |recurrence: &str, zone: Option<&str>, now: &str, expected: &str| {
            let next = next_after(&schedule(Some(recurrence), zone, now), at(now)).unwrap().unwrap();
            assert_eq!(next.seconds(), expected, "{recurrence} in {zone:?}");
        };
        check("0 9 * * *", None, "2026-01-10T09:00:00Z", "2026-01-11T09:00:00Z");
        check("0 9 * * *", Some("Europe/Paris"), "2026-01-10T09:00:00Z", "2026-01-11T08:00:00Z");
        check("0 9 * * *", Some("Europe/Paris"), "2026-07-10T09:00:00Z", "2026-07-11T07:00:00Z");
        check("30 8 * * MON-FRI", Some("America/New_York"), "2026-11-27T20:00:00Z", "2026-11-30T13:30:00Z");
        check("*/15 * * * *", None, "2026-01-10T09:01:00Z", "2026-01-10T09:15:00Z");
    }

    #[test]
    fn invalid_recurrences_and_time_zones_are_refused() {
        let check = |recurrence: &str, zone: Option<&str>, expected: &str| {
            let now = "2026-01-10T09:00:00Z";
            let fault = next_after(&schedule(Some(recurrence), zone, now), at(now)).unwrap_err();
            assert_eq!((fault.code, fault.message.as_str()), ("ValidationError", expected));
        };
        check("0 0 9 * * *", None, "Given recurrence string: 0 0 9 * * * is invalid");
        check("daily", None, "Given recurrence string: daily is invalid");
        check("61 * * * *", None, "Given recurrence string: 61 * * * * is invalid");
        check("0 0 30 2 *", None, "Given recurrence string: 0 0 30 2 * is invalid");
        check("0 9 * * *", Some("Mars/Olympus"), "Given time zone: Mars/Olympus is invalid");
    }

    #[test]
    fn odd_recurrences_are_refused_or_found_and_never_end_anything() {
        let long = "1,".repeat(5_000);
        let now = "2026-01-10T09:00:00Z";
        for odd in [
            "",
            "* * * * é",
            "*/0 * * * *",
            "5-1 * * * *",
            "L L L L L",
            "@reboot",
            "* * * * 9#9",
            "W W W W W",
            &long,
            "99999999999 * * * *",
        ] {
            if let Ok(Some(next)) = next_after(&schedule(Some(odd), None, now), at(now)) {
                assert!(next > at(now), "{odd}");
            }
        }
    }

    #[test]
    fn a_due_action_runs_once_and_a_recurring_one_is_due_again() {
        let mut group = AutoScalingGroup { schedules: BTreeMap::new(), ..super::super::tracking::tests::group(1) };
        let first = "2026-01-10T09:00:00Z";
        let ends = Schedule { end: Some(at("2026-01-12T00:00:00Z")), ..schedule(Some("0 9 * * *"), None, first) };
        group.schedules.insert("once".to_owned(), Schedule { desired: Some(2), ..schedule(None, None, first) });
        group.schedules.insert("daily".to_owned(), ends);
        let mut state = State { groups: BTreeMap::from([("web".to_owned(), group)]), ..State::default() };

        run_due(&mut state, at("2026-01-10T08:59:59Z"));
        assert_eq!(state.groups["web"].desired, 1);
        run_due(&mut state, at(first).after(Duration::from_millis(1)));
        let group = &state.groups["web"];
        assert_eq!(group.desired, 2, "in the order of their names");
        assert_eq!(group.cause, "the scheduled action once executed. Setting desired capacity from 3 to 2");
        assert_eq!(group.schedules.keys().collect::<Vec<_>>(), ["daily"]);
        run_due(&mut state, at("2026-01-11T09:00:00Z"));
        assert_eq!(state.groups["web"].desired, 3);
        assert!(state.groups["web"].schedules.is_empty(), "its next time would be after its end");
    }

    #[test]
    fn a_single_action_is_due_when_its_time_has_passed_at_the_speed_of_the_clock() {
        let mut group = super::super::tracking::tests::group(1);
        let (start, due) = ("2026-01-10T13:00:00Z", at("2026-01-10T09:12:00Z"));
        let once = Schedule { due: Some(due), max: Some(3), ..schedule(None, None, start) };
        group.schedules.insert("once".to_owned(), once);
        let mut state = State { groups: BTreeMap::from([("web".to_owned(), group)]), ..State::default() };
        run_due(&mut state, at("2026-01-10T09:11:59Z"));
        assert_eq!((state.groups["web"].desired, state.groups["web"].schedules.len()), (1, 1));
        run_due(&mut state, due);
        assert_eq!((state.groups["web"].desired, state.groups["web"].schedules.len()), (3, 0));
    }

    #[test]
    fn an_action_that_does_not_go_together_with_the_group_changes_nothing() {
        let mut group = super::super::tracking::tests::group(1);
        let first = "2026-01-10T09:00:00Z";
        group.schedules.insert("bad".to_owned(), Schedule { min: Some(9), ..schedule(None, None, first) });
        let mut state = State { groups: BTreeMap::from([("web".to_owned(), group)]), ..State::default() };
        run_due(&mut state, at(first));
        assert_eq!((state.groups["web"].min, state.groups["web"].desired), (1, 1));
    }
}
