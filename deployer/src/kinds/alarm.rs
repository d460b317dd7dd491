//! CloudWatch alarms on the responses of a load balancer. A roll-out is given them and watched by AWS, which rolls it back
//! when one of them goes into the state `ALARM`, even if the deployer is gone (docs/aws.md §10.9).

use std::collections::HashMap;

use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Dimension, Metric, MetricAlarm as Described, MetricDataQuery, MetricStat, StateValue, Tag,
};
use serde::Serialize;

use super::tags::bounded;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tagged, Tags},
};

/// An alarm, identified by its name.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Its name.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The metric that counts the errors.
    pub errors: String,
    /// The load balancer whose responses are counted: `app/NAME/ID`.
    pub load_balancer: String,
    /// The target group whose responses alone are counted, where services share the load balancer:
    /// `targetgroup/NAME/ID`.
    pub target_group: Option<String>,
    /// The share of errors that is compared, in percent.
    pub expression: String,
    /// `GreaterThanThreshold`.
    pub comparison: String,
    /// The share that is exceeded, in percent.
    pub over_percent: f64,
    /// The minutes that are looked at.
    pub minutes: i32,
    /// The number of minutes that must exceed the threshold.
    pub minutes_over: i32,
    /// The treatment of minutes without values.
    pub missing_data: String,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
}

/// A kind of error that makes a roll-out fail.
#[derive(Debug)]
pub struct Watched {
    /// The end of the alarm's name.
    pub suffix: &'static str,
    /// The metric that counts them.
    metric: &'static str,
    /// The share of all responses that is tolerated, in percent.
    percent: f64,
    /// The services that have this alarm.
    of: Of,
    /// The alarm's meaning, for people.
    words: &'static str,
}

/// The services that have an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// All of them.
    Any,
    /// Those with a load balancer of their own: its responses are theirs.
    Alone,
    /// Those that share a load balancer, whose own responses are not counted by target group.
    Sharing,
}

/// Every kind. Of 4xx, a fixed share is tolerated: clients cause them, too, and metric math cannot compare with the level
/// before a release (docs/aws.md §10.9).
pub const WATCHED: &[Watched] = &[
    Watched {
        suffix: "target-5xx",
        metric: "HTTPCode_Target_5XX_Count",
        percent: 1.0,
        of: Of::Any,
        words: "it answered more than 1 % of the requests of a minute with 5xx",
    },
    Watched {
        suffix: "balancer-5xx",
        metric: "HTTPCode_ELB_5XX_Count",
        percent: 1.0,
        of: Of::Alone,
        words: "the load balancer got no proper answer to more than 1 % of the requests of a minute",
    },
    Watched {
        suffix: "target-connections",
        metric: "TargetConnectionErrorCount",
        percent: 1.0,
        of: Of::Sharing,
        words: "the load balancer failed to connect to it for more than 1 % of the requests of a minute",
    },
    Watched {
        suffix: "target-4xx",
        metric: "HTTPCode_Target_4XX_Count",
        percent: 50.0,
        of: Of::Any,
        words: "it answered more than half of the requests of a minute with 4xx",
    },
];

/// The namespace of the metrics.
pub const NAMESPACE: &str = "AWS/ApplicationELB";
/// The metric that counts all requests for which a target was chosen.
pub const REQUESTS: &str = "RequestCount";
/// The dimension of a load balancer.
pub const LOAD_BALANCER: &str = "LoadBalancer";
/// The dimension of a target group, which is always beside that of its load balancer.
pub const TARGET_GROUP: &str = "TargetGroup";
/// The id of the errors in the expression. Minutes without errors have no value, and so no share: they do not count as
/// exceeding.
pub const ERRORS_ID: &str = "errors";
/// The id of the requests in the expression.
pub const REQUESTS_ID: &str = "requests";
/// The id of the expression.
pub const SHARE_ID: &str = "share";
const EXPRESSION: &str = "100 * errors / requests";
/// The description of every alarm.
pub const DESCRIPTION: &str = "AWS rolls a release back when it goes off during the roll-out. Managed by deployer.";
/// The period of the metrics in seconds.
pub const PERIOD_S: i32 = 60;
/// One minute is enough, and of the last three, because values arrive up to two minutes late (docs/aws.md §10.9).
const MINUTES: i32 = 3;
const MINUTES_OVER: i32 = 1;

impl Watched {
    /// The name of the alarm for this service, whose load balancer has this name.
    pub fn name(&self, service: &str) -> String {
        format!("{service}-{}", self.suffix)
    }

    /// Whether a service has this alarm. No alarm of one that shares a load balancer counts requests to the others.
    fn is_for(&self, is_sharing: bool) -> bool {
        match self.of {
            Of::Any => true,
            Of::Alone => !is_sharing,
            Of::Sharing => is_sharing,
        }
    }

    /// The settings of the alarm on a load balancer, given by its ARN; if several services share it, with the ARN of the
    /// service's target group.
    pub fn settings(&self, load_balancer_arn: &str, target_group_arn: Option<&str>) -> Settings {
        let load_balancer = dimension(load_balancer_arn);
        Settings {
            errors: self.metric.into(),
            load_balancer: load_balancer.into(),
            target_group: target_group_arn.map(dimension_of_targets).map(str::to_owned),
            expression: EXPRESSION.into(),
            comparison: ComparisonOperator::GreaterThanThreshold.as_str().into(),
            over_percent: self.percent,
            minutes: MINUTES,
            minutes_over: MINUTES_OVER,
            missing_data: "notBreaching".into(),
        }
    }
}

/// The alarms of a service, which perhaps shares its load balancer.
pub fn watching(is_sharing: bool) -> impl Iterator<Item = &'static Watched> {
    WATCHED.iter().filter(move |watched| watched.is_for(is_sharing))
}

/// A load balancer, given by its ARN, as its metrics name it.
pub fn dimension(load_balancer_arn: &str) -> &str {
    load_balancer_arn.split_once("loadbalancer/").map_or(load_balancer_arn, |(_, part)| part)
}

/// A target group, given by its ARN, as its metrics name it.
pub fn dimension_of_targets(target_group_arn: &str) -> &str {
    target_group_arn.rsplit(':').next().unwrap_or(target_group_arn)
}

/// Returns the meaning of this alarm; `None` for an alarm that is not ours.
pub fn meaning(name: &str) -> Option<&'static str> {
    WATCHED.iter().find(|watched| is_of(watched, name)).map(|watched| watched.words)
}

fn is_of(watched: &Watched, name: &str) -> bool {
    name.strip_suffix(watched.suffix).is_some_and(|service| service.ends_with('-'))
}

/// Returns the alarms that are in the state `ALARM`.
pub async fn in_alarm(aws: &Aws, names: &[String]) -> Result<Vec<String>, Fault> {
    let alarms = described(aws, names.to_vec()).await?.into_values();
    let rings = |alarm: &Described| alarm.state_value() == Some(&StateValue::Alarm);
    Ok(alarms.filter(rings).filter_map(|alarm| alarm.alarm_name).collect())
}

impl Resource for Alarm {
    const KIND: &'static str = "alarm";
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let alarm = aws.batches.alarms.read(&self.name, |names| described(aws, names)).await?;
        let Some(alarm) = alarm else { return Ok(Observed::Absent) };
        let Some(tags) = tags(aws, &alarm).await? else { return Ok(Observed::Absent) };
        let output = Output { name: self.name.clone() };
        Ok(Observed::Present(Live { settings: settings(&alarm), output, owner: Owner::Tags(tags) }))
    }

    /// AWS overwrites an alarm that exists, and then ignores the tags (docs/aws.md §10.9): the next read shows the owner.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        self.put(aws, want, tags).await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, want: &Settings, _live: &Live<Self>) -> Result<(), Fault> {
        self.put(aws, want, &Tags::new()).await
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let Some(alarm) = described(aws, vec![self.name.clone()]).await?.remove(&self.name) else { return Ok(()) };
        let arn = alarm.alarm_arn.unwrap_or_default();
        aws.cloudwatch.tag_resource().resource_arn(arn).set_tags(Some(to_cloudwatch(tags))).send().await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.cloudwatch.delete_alarms().alarm_names(&self.name).send().await)
    }

    /// CloudWatch returns the time of the last change, but not of the creation.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let reads = below(aws, None).await?.into_iter().map(async |alarm| {
            let tags = tags(aws, &alarm).await?;
            let watched = alarm.metrics().iter().filter(|it| it.metric_stat().is_some()).count();
            // An alarm of one metric names it outside of this list.
            let metrics = u32::try_from(watched.max(1)).unwrap_or(u32::MAX);
            let name = alarm.alarm_name.unwrap_or_default();
            Ok(tags.map(|tags| Tagged::new(name, tags, None).sized(Ok(Size::Alarm { metrics }))))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let mut owned = Vec::new();
        for alarm in below(aws, Some(&format!("{stack}-"))).await? {
            let name = alarm.alarm_name().unwrap_or_default();
            if but.contains(name) {
                continue;
            }
            let tags = tags(aws, &alarm).await?.unwrap_or_default();
            if tags.get(STACK_TAG).is_some_and(|owner| owner == stack) {
                owned.push(Alarm { name: name.into() });
            }
        }
        Ok(owned)
    }
}

impl Alarm {
    /// Creates it, or overwrites its configuration.
    async fn put(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<(), Fault> {
        let share = MetricDataQuery::builder().id(SHARE_ID).expression(&want.expression).return_data(true);
        let call = aws
            .cloudwatch
            .put_metric_alarm()
            .alarm_name(&self.name)
            .alarm_description(DESCRIPTION)
            .comparison_operator(ComparisonOperator::from(want.comparison.as_str()))
            .threshold(want.over_percent)
            .evaluation_periods(want.minutes)
            .datapoints_to_alarm(want.minutes_over)
            .treat_missing_data(&want.missing_data)
            .metrics(share.build())
            .metrics(count(ERRORS_ID, &want.errors, want))
            .metrics(count(REQUESTS_ID, REQUESTS, want));
        call.set_tags(Some(to_cloudwatch(tags)).filter(|tags| !tags.is_empty())).send().await?;
        Ok(())
    }
}

/// The sum of a metric of what an alarm watches.
fn count(id: &str, metric: &str, watched: &Settings) -> MetricDataQuery {
    let dimension = |name: &str, value: &String| Dimension::builder().name(name).value(value).build();
    let target_group = watched.target_group.iter().map(|value| dimension(TARGET_GROUP, value));
    let dimensions = [dimension(LOAD_BALANCER, &watched.load_balancer)].into_iter().chain(target_group).collect();
    let metric = Metric::builder().namespace(NAMESPACE).metric_name(metric).set_dimensions(Some(dimensions)).build();
    let sum = MetricStat::builder().metric(metric).period(PERIOD_S).stat("Sum").build();
    MetricDataQuery::builder().id(id).metric_stat(sum).return_data(false).build()
}

/// Returns the alarms of these names that exist. An emulator without CloudWatch, which answers 404, has none (docs/aws.md
/// §17).
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let call = aws.cloudwatch.describe_alarms().set_alarm_names(Some(names));
    let alarms = found(items(call.into_paginator().send()).await)?.unwrap_or_default();
    Ok(alarms.into_iter().filter_map(|alarm| Some((alarm.alarm_name.clone()?, alarm))).collect())
}

/// The alarms whose names have this prefix and could be those of a stack.
async fn below(aws: &Aws, prefix: Option<&str>) -> Result<Vec<Described>, Fault> {
    let call = aws.cloudwatch.describe_alarms().set_alarm_name_prefix(prefix.map(str::to_owned));
    let alarms = found(items(call.into_paginator().send()).await)?.unwrap_or_default();
    let is_meant = |alarm: &Described| alarm.alarm_name().is_some_and(|name| meaning(name).is_some());
    Ok(alarms.into_iter().filter(is_meant).collect())
}

/// The tags of an alarm, unless it is gone.
async fn tags(aws: &Aws, alarm: &Described) -> Result<Option<Tags>, Fault> {
    let arn = alarm.alarm_arn().unwrap_or_default();
    let answer = found(aws.cloudwatch.list_tags_for_resource().resource_arn(arn).send().await)?;
    let pairs = |tags: Vec<Tag>| {
        let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
        tags.into_iter().filter_map(pair).collect()
    };
    Ok(answer.map(|answer| pairs(answer.tags.unwrap_or_default())))
}

fn to_cloudwatch(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn settings(alarm: &Described) -> Settings {
    let query = |id: &str| alarm.metrics().iter().find(|query| query.id() == Some(id));
    let errors = query(ERRORS_ID).and_then(MetricDataQuery::metric_stat).and_then(MetricStat::metric);
    let dimensions = errors.map(Metric::dimensions).unwrap_or_default();
    let dimension = |name: &str| dimensions.iter().find(|it| it.name() == Some(name)).and_then(Dimension::value);
    let expression = query(SHARE_ID).and_then(MetricDataQuery::expression);
    Settings {
        errors: errors.and_then(Metric::metric_name).unwrap_or_default().into(),
        load_balancer: dimension(LOAD_BALANCER).unwrap_or_default().into(),
        target_group: dimension(TARGET_GROUP).map(str::to_owned),
        expression: expression.unwrap_or_default().into(),
        comparison: alarm.comparison_operator().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        over_percent: alarm.threshold().unwrap_or_default(),
        minutes: alarm.evaluation_periods().unwrap_or_default(),
        // Without a number of its own, all minutes must exceed the threshold.
        minutes_over: alarm.datapoints_to_alarm().or(alarm.evaluation_periods()).unwrap_or_default(),
        missing_data: alarm.treat_missing_data().unwrap_or("missing").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meaning_of_an_alarm_follows_from_its_name() {
        for watched in WATCHED {
            assert_eq!(meaning(&watched.name("app-web")), Some(watched.words));
        }
        for other in ["app-web", "target-5xx", "app-web-target-5xx-too"] {
            assert_eq!(meaning(other), None, "{other}");
        }
    }

    #[test]
    fn an_alarm_names_its_load_balancer_as_its_metrics_do() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/50dc6c495c0c9188";
        assert_eq!(WATCHED[0].settings(arn, None).load_balancer, "app/web/50dc6c495c0c9188");
    }

    #[test]
    fn alarms_of_services_that_share_a_load_balancer_count_requests_to_their_own_targets_alone() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/app-api-8080-web/73e2d6bc24d8a067";
        let group = Some("targetgroup/app-api-8080-web/73e2d6bc24d8a067".to_owned());
        for watched in watching(true) {
            let Settings { errors, target_group, .. } = watched.settings("arn", Some(arn));
            assert_eq!(target_group, group, "{errors}");
            // AWS has no such metrics of a target group: they never have a value.
            assert!(!errors.starts_with("HTTPCode_ELB_"), "{errors}");
        }
        let suffixes = |is_sharing| watching(is_sharing).map(|watched| watched.suffix).collect::<Vec<_>>();
        assert_eq!(suffixes(true), ["target-5xx", "target-connections", "target-4xx"]);
        assert_eq!(suffixes(false), ["target-5xx", "balancer-5xx", "target-4xx"]);
        assert_eq!(suffixes(true).len(), suffixes(false).len(), "the costs of both are the same");
    }
}
