//! CloudWatch's alarms through the SDK: refusals, tags, states, and instance refreshes that watch them.

use aws_sdk_autoscaling::types::{AlarmSpecification, RefreshPreferences};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, Metric, MetricDataQuery, MetricStat, StateValue, Tag};
use testkit::{LocalAws, until};

fn sum(id: &str, name: &str) -> MetricDataQuery {
    let dimension = Dimension::builder().name("LoadBalancer").value("app/web/1").build();
    let metric = Metric::builder().namespace("AWS/ApplicationELB").metric_name(name).dimensions(dimension).build();
    let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
    MetricDataQuery::builder().id(id).metric_stat(stat).return_data(false).build()
}

async fn put(cloudwatch: &Client, threshold: f64, tag: &str) -> Result<(), String> {
    let share = MetricDataQuery::builder().id("share").expression("100 * errors / requests").return_data(true).build();
    let put = cloudwatch
        .put_metric_alarm()
        .alarm_name("errors")
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
        .threshold(threshold)
        .evaluation_periods(3)
        .datapoints_to_alarm(1)
        .treat_missing_data("notBreaching")
        .set_metrics(Some(vec![share, sum("errors", "HTTPCode_Target_5XX_Count"), sum("requests", "RequestCount")]))
        .tags(Tag::builder().key("owner").value(tag).build());
    put.send().await.map(drop).map_err(|error| error.code().unwrap_or_default().to_owned())
}

async fn state(cloudwatch: &Client) -> Option<StateValue> {
    let answer = cloudwatch.describe_alarms().alarm_names("errors").send().await.expect("alarms");
    answer.metric_alarms().first()?.state_value().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_put_tagged_evaluated_and_deleted() {
    let aws = LocalAws::start().await;
    let cloudwatch = Client::new(&aws.config);
    assert_eq!(state(&cloudwatch).await, None);
    put(&cloudwatch, 1.0, "ada").await.expect("an alarm");
    let there = cloudwatch.describe_alarms().alarm_name_prefix("err").send().await.expect("alarms");
    let alarm = &there.metric_alarms()[0];
    assert_eq!(
        (alarm.threshold(), alarm.evaluation_periods(), alarm.datapoints_to_alarm()),
        (Some(1.0), Some(3), Some(1))
    );
    assert_eq!((alarm.metrics().len(), alarm.metrics()[0].return_data()), (3, Some(true)));
    let arn = alarm.alarm_arn().expect("an ARN").to_owned();
    assert_eq!(arn, "arn:aws:cloudwatch:us-east-1:000000000000:alarm:errors");

    // A second put overwrites the configuration, and neither tags nor state.
    put(&cloudwatch, 2.0, "eve").await.expect("an alarm");
    let tags = async || {
        let answer = cloudwatch.list_tags_for_resource().resource_arn(&arn).send().await.expect("tags");
        let pairs = answer.tags().iter();
        pairs.map(|tag| format!("{}={}", tag.key().unwrap(), tag.value().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(tags().await, ["owner=ada"]);
    let tag = Tag::builder().key("team").value("red").build();
    cloudwatch.tag_resource().resource_arn(&arn).tags(tag).send().await.expect("a tag");
    cloudwatch.untag_resource().resource_arn(&arn).tag_keys("owner").send().await.expect("no tag");
    assert_eq!(tags().await, ["team=red"]);

    // Without requests there is no data, which does not breach; a state that was set does not last.
    until("the evaluation", async || state(&cloudwatch).await == Some(StateValue::Ok)).await;
    let set = cloudwatch.set_alarm_state().alarm_name("errors").state_value(StateValue::Alarm).state_reason("a test");
    set.send().await.expect("a state can be set");
    until("the next evaluation", async || state(&cloudwatch).await == Some(StateValue::Ok)).await;

    // Wrong names do not keep the others from being deleted.
    let deleted = cloudwatch.delete_alarms().alarm_names("other").alarm_names("errors").send().await;
    assert_eq!(deleted.unwrap_err().code(), Some("ResourceNotFound"));
    assert_eq!(state(&cloudwatch).await, None);
    let gone = cloudwatch.list_tags_for_resource().resource_arn(&arn).send().await;
    assert_eq!(gone.unwrap_err().code(), Some("ResourceNotFoundException"));
    aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_is_refused() {
    let aws = LocalAws::start().await;
    let (cloudwatch, autoscaling) = (Client::new(&aws.config), aws_sdk_autoscaling::Client::new(&aws.config));
    assert_eq!(put(&cloudwatch, f64::NAN, "x").await.unwrap_err(), "ValidationError");
    assert_eq!(put(&cloudwatch, 1.0, &"x".repeat(257)).await.unwrap_err(), "InvalidParameterValue");
    let bare = cloudwatch.put_metric_alarm().alarm_name("bare").send().await;
    assert_eq!(bare.unwrap_err().code(), Some("ValidationError"));
    let none = cloudwatch.delete_alarms().send().await;
    assert_eq!(none.unwrap_err().code(), Some("ValidationError"));

    let start = async |preferences: RefreshPreferences| {
        let call = autoscaling.start_instance_refresh().auto_scaling_group_name("none").preferences(preferences);
        let error = call.send().await.unwrap_err();
        format!("{}: {}", error.code().unwrap_or_default(), error.message().unwrap_or_default())
    };
    let alarms = |names: &[String]| AlarmSpecification::builder().set_alarms(Some(names.to_vec())).build();
    let preferences = || RefreshPreferences::builder();
    for (preferences, text) in [
        (preferences().bake_time(172_801), "BakeTime"),
        (preferences().alarm_specification(alarms(&["errors".to_owned()])), "alarm errors does not exist"),
        (preferences().alarm_specification(alarms(&[const { String::new() }; 11].map(|_| "a".to_owned()))), "up to 10"),
    ] {
        let refused = start(preferences.build()).await;
        assert!(refused.starts_with("ValidationError") && refused.contains(text), "{refused}");
    }
    aws.stop().await;
}
