//! The configuration of an alarm, and what AWS refuses in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Answered, LONGEST_VALUE, invalid, required};
use crate::cloudwatch::math::{Expression, is_id};
use crate::cloudwatch::metrics::{self, NAMES, NAMESPACE};
use crate::cloudwatch::{flag, number, text};
use kit::answer::Refusal;
use kit::metrics::Series;
use kit::parameters;

/// The period of every alarm here, in seconds.
const PERIOD_S: u64 = 60;
/// Alarms evaluate at most a day.
const LONGEST_S: u64 = 86_400;
/// The most metrics of an alarm on an expression.
const MOST_METRICS: usize = 10;
const COMPARISONS: &[&str] =
    &["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"];
const MISSING: &[&str] = &["breaching", "notBreaching", "ignore", "missing"];

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > 255 || name.chars().any(|letter| letter.is_ascii_control()) {
        return Err(invalid("The alarm name must have 1 to 255 characters and no control characters"));
    }
    Ok(())
}

/// The checked configuration, with the defaults filled in.
pub(super) fn configuration(input: &Value) -> Answered {
    let mut config = Map::new();
    if let Some(description) = text(input, "AlarmDescription") {
        if description.chars().count() > 1024 {
            return Err(invalid("The alarm description must have at most 1024 characters"));
        }
        config.insert("AlarmDescription".to_owned(), json!(description));
    }
    config.insert("ActionsEnabled".to_owned(), json!(flag(input, "ActionsEnabled").unwrap_or(true)));
    let whole = |name: &str| number(input, name).filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let periods = whole("EvaluationPeriods").filter(|periods| *periods >= 1);
    let periods = periods.ok_or_else(|| invalid("The parameter EvaluationPeriods must be a number from 1"))? as u64;
    if periods.saturating_mul(PERIOD_S) > LONGEST_S {
        let text = "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)";
        return Err(invalid(text));
    }
    let points = match &input["DatapointsToAlarm"] {
        Value::Null => periods,
        _ => whole("DatapointsToAlarm").and_then(|points| u64::try_from(points).ok()).unwrap_or_default(),
    };
    if !(1..=periods).contains(&points) {
        return Err(invalid("The parameter DatapointsToAlarm must be from 1 to EvaluationPeriods"));
    }
    let threshold = number(input, "Threshold").filter(|threshold| threshold.is_finite());
    let threshold = threshold.ok_or_else(|| invalid("The parameter Threshold is required"))?;
    let comparison = required(input, "ComparisonOperator")?;
    if !COMPARISONS.contains(&comparison) {
        return Err(invalid(format!("{comparison} is not a ComparisonOperator of an alarm with a threshold")));
    }
    let missing = text(input, "TreatMissingData").unwrap_or("missing");
    if !MISSING.contains(&missing) {
        return Err(invalid(format!("TreatMissingData must be one of {MISSING:?}, not {missing}")));
    }
    for (field, value) in [
        ("EvaluationPeriods", json!(periods)),
        ("DatapointsToAlarm", json!(points)),
        ("Threshold", json!(threshold)),
        ("ComparisonOperator", json!(comparison)),
        ("TreatMissingData", json!(missing)),
    ] {
        config.insert(field.to_owned(), value);
    }
    match (text(input, "MetricName"), &input["Metrics"]) {
        (Some(_), Value::Null) => {
            series(input)?;
            check_statistic(required(input, "Statistic")?)?;
            check_period(number(input, "Period"))?;
            for field in ["MetricName", "Namespace", "Statistic", "Dimensions"] {
                config.insert(field.to_owned(), input[field].clone());
            }
            config.insert("Period".to_owned(), json!(PERIOD_S));
        }
        (None, Value::Array(queries)) => {
            for field in ["Namespace", "Dimensions", "Period", "Statistic"] {
                if !input[field].is_null() {
                    return Err(invalid(format!("The parameter {field} cannot be used together with Metrics")));
                }
            }
            config.insert("Metrics".to_owned(), metrics_of(queries)?);
        }
        _ => return Err(invalid("Exactly one of MetricName and Metrics must be specified")),
    }
    Ok(Value::Object(config))
}

/// The longest expression.
const LONGEST_EXPRESSION: usize = 2_048;

/// The checked queries of an alarm on an expression.
fn metrics_of(queries: &[Value]) -> Answered {
    let mut ids = BTreeSet::new();
    let mut checked = Vec::new();
    for query in queries {
        let id = required(query, "Id")?;
        if !is_id(id) || id.len() > 255 || !ids.insert(id) {
            return Err(invalid(format!("The id {id} is used twice or does not begin with a lower-case letter")));
        }
        let mut one = json!({ "Id": id, "ReturnData": flag(query, "ReturnData").unwrap_or(true) });
        if let Some(label) = text(query, "Label") {
            one["Label"] = json!(label);
        }
        match (text(query, "Expression"), &query["MetricStat"]) {
            (Some(expression), Value::Null) => {
                // This also bounds the recursion of the parser and of the evaluation.
                if expression.chars().count() > LONGEST_EXPRESSION {
                    let text = format!("The expression of {id} must have at most {LONGEST_EXPRESSION} characters");
                    return Err(invalid(text));
                }
                Expression::parse(expression).map_err(not_implemented)?;
                one["Expression"] = json!(expression);
            }
            (None, stat @ Value::Object(_)) => {
                series(&stat["Metric"])?;
                check_statistic(required(stat, "Stat")?)?;
                check_period(number(stat, "Period"))?;
                let metric = &stat["Metric"];
                one["MetricStat"] = json!({ "Metric": metric, "Period": PERIOD_S, "Stat": stat["Stat"] });
            }
            _ => return Err(invalid(format!("{id} needs either an Expression or a MetricStat"))),
        }
        checked.push(one);
    }
    if checked.iter().filter(|one| !one["MetricStat"].is_null()).count() > MOST_METRICS {
        return Err(invalid(format!("An alarm can have at most {MOST_METRICS} metrics")));
    }
    if checked.iter().filter(|one| one["ReturnData"] == true).count() != 1 {
        return Err(invalid("Exactly one element of the metrics list should return data."));
    }
    for expression in checked.iter().filter_map(|one| one["Expression"].as_str()) {
        let parsed = Expression::parse(expression).map_err(not_implemented)?;
        if let Some(unknown) = parsed.ids().into_iter().find(|id| !ids.contains(id)) {
            return Err(invalid(format!("The expression {expression} names the unknown id {unknown}")));
        }
        // AWS allows expressions of expressions; those could also refer to each other in a circle.
        let names_expression = |id: &&str| checked.iter().any(|one| one["Id"] == **id && one["MetricStat"].is_null());
        if let Some(id) = parsed.ids().iter().find(|id| names_expression(id)) {
            return Err(not_implemented(format!("an expression of another expression, {id}")));
        }
    }
    Ok(json!(checked))
}

fn not_implemented(what: String) -> Refusal {
    parameters::refusal(format!("the local AWS does not implement this metric math: {what}"))
}

fn check_statistic(statistic: &str) -> Result<(), Refusal> {
    match statistic {
        "Sum" => Ok(()),
        "Average" | "Minimum" | "Maximum" | "SampleCount" => {
            Err(parameters::refusal(format!("the local AWS has no statistic {statistic}, only Sum")))
        }
        other => Err(invalid(format!("{other} is not a statistic"))),
    }
}

fn check_period(period: Option<f64>) -> Result<(), Refusal> {
    match period {
        Some(60.0) => Ok(()),
        Some(period) if period > 0.0 && (period % 60.0 == 0.0 || [10.0, 20.0, 30.0].contains(&period)) => {
            Err(parameters::refusal(format!("the local AWS has no period of {period} seconds, only 60")))
        }
        _ => Err(invalid("The period must be 10, 20, 30 or a multiple of 60")),
    }
}

/// The series that a metric names.
pub(super) fn series(metric: &Value) -> Result<Series, Refusal> {
    let (namespace, name) = (required(metric, "Namespace")?, required(metric, "MetricName")?);
    let known = NAMES.iter().copied().find(|known| *known == name).filter(|_| namespace == NAMESPACE);
    let Some(name) = known else {
        return Err(parameters::refusal(format!("the local AWS does not measure {name} of {namespace}")));
    };
    let (mut balancer, mut target_group) = (None, None);
    for dimension in metric["Dimensions"].as_array().into_iter().flatten() {
        let value = required(dimension, "Value")?.to_owned();
        if value.len() > LONGEST_VALUE {
            return Err(invalid(format!("The value of a dimension must have at most {LONGEST_VALUE} characters")));
        }
        let before = match required(dimension, "Name")? {
            "LoadBalancer" => balancer.replace(value),
            "TargetGroup" => target_group.replace(value),
            other => {
                return Err(parameters::refusal(format!("the local AWS has no dimension {other} of load balancers")));
            }
        };
        if before.is_some() {
            return Err(invalid("A dimension is given twice"));
        }
    }
    let balancer =
        balancer.ok_or_else(|| parameters::refusal("the local AWS measures each load balancer alone".to_owned()))?;
    Ok(metrics::series(name, balancer, target_group))
}
