//! The operations of CloudWatch.

use std::borrow::Cow;

use serde_json::Value;

use super::input::document;
use super::metrics::Metrics;
use super::shown::describe_alarms;
use super::{alarms, data, list, text};
use crate::Site;
use crate::state::State;
use kit::answer::Refusal;
use kit::call::{Asked, Effect, Input, Need, Needs, Operation, Pagination, Rows};

/// The supported operations and parameters; any other is refused by name.
pub(super) const OPERATIONS: &[Operation<Run>] = &[
    row("DeleteAlarms", Run::Writes(alarms::delete), Needs::Of(on_alarms), None, "AlarmNames[]"),
    row(
        "DescribeAlarms",
        Run::Reads(describe_alarms),
        // The service's name in policies differs from its name in signatures.
        Needs::Of(|_| vec![Need::new("cloudwatch:DescribeAlarms", "*")]),
        Some(Pagination::Own("MaxRecords")),
        "ActionPrefix AlarmNamePrefix AlarmNames[] AlarmTypes[] MaxRecords:integer NextToken StateValue",
    ),
    row(
        "GetMetricData",
        Run::Measures(data::get),
        // It has no resource-level permissions.
        Needs::Of(|_| vec![Need::new("cloudwatch:GetMetricData", "*")]),
        Some(Pagination::Own("MaxDatapoints")),
        "EndTime:moment MaxDatapoints:integer MetricDataQueries[].Id MetricDataQueries[].Label \
         MetricDataQueries[].MetricStat.Metric.Dimensions[].Name \
         MetricDataQueries[].MetricStat.Metric.Dimensions[].Value \
         MetricDataQueries[].MetricStat.Metric.MetricName MetricDataQueries[].MetricStat.Metric.Namespace \
         MetricDataQueries[].MetricStat.Period:integer MetricDataQueries[].MetricStat.Stat \
         MetricDataQueries[].ReturnData:boolean NextToken ScanBy StartTime:moment",
    ),
    row("ListTagsForResource", Run::Reads(alarms::list_tags), Needs::Of(on_arn), None, "ResourceARN"),
    row(
        "PutMetricAlarm",
        Run::Writes(alarms::put),
        Needs::Of(to_put),
        None,
        "ActionsEnabled:boolean AlarmDescription AlarmName ComparisonOperator DatapointsToAlarm:integer Dimensions[].Name \
         Dimensions[].Value EvaluationPeriods:integer MetricName Metrics[].Expression Metrics[].Id Metrics[].Label \
         Metrics[].MetricStat.Metric.Dimensions[].Name Metrics[].MetricStat.Metric.Dimensions[].Value \
         Metrics[].MetricStat.Metric.MetricName Metrics[].MetricStat.Metric.Namespace \
         Metrics[].MetricStat.Period:integer Metrics[].MetricStat.Stat Metrics[].ReturnData:boolean Namespace \
         Period:integer Statistic Tags[].Key Tags[].Value Threshold:double TreatMissingData",
    ),
    row("SetAlarmState", Run::Writes(alarms::set_state), Needs::Of(on_alarm), None, "AlarmName StateReason StateValue"),
    row("TagResource", Run::Writes(alarms::tag), Needs::Of(on_arn), None, "ResourceARN Tags[].Key Tags[].Value"),
    row("UntagResource", Run::Writes(alarms::untag), Needs::Of(on_arn), None, "ResourceARN TagKeys[]"),
];

/// The function behind an operation. One that reads cannot change the state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    Reads(fn(&State, &Site, &Value) -> Result<Value, Refusal>),
    /// Reads values of metrics.
    Measures(fn(&Metrics, &Site, &Value) -> Result<Value, Refusal>),
    Writes(fn(&mut State, &Site, &Value) -> Result<Value, Refusal>),
}

const fn row(
    name: &'static str,
    run: Run,
    needs: Needs,
    page: Option<Pagination>,
    parameters: &'static str,
) -> Operation<Run> {
    let effect = match run {
        Run::Reads(_) | Run::Measures(_) => Effect::Reads,
        Run::Writes(_) => Effect::Writes,
    };
    Operation::new(name, effect, needs, page, parameters, run)
}

/// The action of a call on these ARNs.
fn on(asked: &Asked, arns: Vec<String>) -> Vec<Need> {
    let action = format!("cloudwatch:{}", asked.call.operation);
    arns.into_iter().map(|arn| Need::new(action.clone(), arn)).collect()
}

fn alarm_arn(asked: &Asked, name: &str) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", asked.region, kit::ACCOUNT)
}

/// The parameters of a call, whose types have not been checked.
fn parameters<'a>(asked: &'a Asked) -> Cow<'a, Value> {
    match &asked.call.input {
        Input::Form(form) => Cow::Owned(document(form).unwrap_or_default()),
        input => Cow::Borrowed(input.json().value()),
    }
}

fn on_alarm(asked: &Asked) -> Vec<Need> {
    let name = alarm_arn(asked, text(&parameters(asked), "AlarmName").unwrap_or("*"));
    on(asked, vec![name])
}

fn on_alarms(asked: &Asked) -> Vec<Need> {
    let parameters = parameters(asked);
    let names = list(&parameters, "AlarmNames");
    let names = if names.is_empty() { vec!["*"] } else { names };
    on(asked, names.into_iter().map(|name| alarm_arn(asked, name)).collect())
}

fn on_arn(asked: &Asked) -> Vec<Need> {
    let arn = text(&parameters(asked), "ResourceARN").unwrap_or("*").to_owned();
    on(asked, vec![arn])
}

/// Tags of a new alarm need a permission of their own (`API:cloudwatch.PutMetricAlarm`).
fn to_put(asked: &Asked) -> Vec<Need> {
    let mut needs = on_alarm(asked);
    if parameters(asked)["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
        let arn = needs[0].resource.clone();
        needs.push(Need::new("cloudwatch:TagResource", arn));
    }
    needs
}

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}
