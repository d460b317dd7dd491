//! The size of a group: under load, and by schedule.

use local::Speed;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::stack::TestCompute;

pub(super) fn times(factor: u32) -> Speed {
    factor.to_string().parse().unwrap()
}

pub(super) const EMPTY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn a_group_grows_from_one_to_four_under_load_and_shrinks_when_it_is_over() {
    let test = TestCompute::start_at(times(100)).await;
    let patient = [("MaxSize", "4"), ("DefaultInstanceWarmup", "60"), ("HealthCheckGracePeriod", "3600")];
    let stack = test.up("/", &patient).await;
    let policy = [
        ("AutoScalingGroupName", "web"),
        ("PolicyName", "cpu"),
        ("PolicyType", "TargetTrackingScaling"),
        ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", "ASGAverageCPUUtilization"),
        ("TargetTrackingConfiguration.TargetValue", "2"),
    ];
    test.ok("autoscaling", "PutScalingPolicy", &policy).await;

    let client = reqwest::Client::new();
    let burn = |_| {
        let (client, url) = (client.clone(), format!("http://{}/burn=200", stack.address));
        tokio::spawn(async move {
            loop {
                // Requests may fail while instances are launched and terminated.
                drop(client.get(&url).send().await);
            }
        })
    };
    let load: Vec<_> = (0..4).map(burn).collect();
    test.until("four instances serve", async || test.healthy(&stack).await == 4).await;
    for one in &load {
        one.abort();
    }
    test.until("one instance is left", async || test.instance_ids().await.len() == 1).await;

    let activities = test.activities().await.text;
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmHigh-"), "{activities}");
    assert!(activities.contains("in state ALARM triggered policy cpu changing the desired capacity from 1 to "));
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmLow-"), "{activities}");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_group_has_at_most_125_scheduled_actions() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let put = async |number: usize| {
        let name = number.to_string();
        let form = [("AutoScalingGroupName", "web"), ("ScheduledActionName", &*name), ("Recurrence", "0 0 1 1 *")];
        let form: Vec<_> = form.into_iter().chain([("MinSize", "0")]).collect();
        test.call("autoscaling", "PutScheduledUpdateGroupAction", &form).await
    };
    for number in 0..125 {
        assert_eq!(put(number).await.status, 200, "{number}");
    }
    let refused = put(125).await;
    assert_eq!((refused.status, refused.field("Code")), (400, "LimitExceeded".into()));
    assert_eq!(put(0).await.status, 200, "an action that exists can be changed");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_scheduled_action_resizes_the_group_and_a_single_one_is_removed() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let at = |seconds: i64| (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
    let (soon, later) = (at(2), at(3600));
    let put = async |form: &[(&str, &str)]| {
        let form: Vec<_> = form.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        test.call("autoscaling", "PutScheduledUpdateGroupAction", &form).await
    };
    let once = [("ScheduledActionName", "morning"), ("StartTime", &soon), ("DesiredCapacity", "2"), ("MaxSize", "4")];
    assert_eq!(put(&once).await.status, 200);
    let daily = [
        ("ScheduledActionName", "evening"),
        ("Recurrence", "0 22 * * *"),
        ("TimeZone", "Europe/Paris"),
        ("MinSize", "0"),
        ("DesiredCapacity", "0"),
    ];
    assert_eq!(put(&daily).await.status, 200);
    let night = [("ScheduledActionName", "night"), ("StartTime", &later), ("MinSize", "0")];
    assert_eq!(put(&night).await.status, 200);
    assert_eq!(put(&night).await.status, 200, "the same action again");
    for (form, expected) in [
        (
            &[("ScheduledActionName", "x"), ("MinSize", "1")][..],
            "Either a start time or a recurrence must be specified",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", &later)],
            "At least one of MinSize, MaxSize and DesiredCapacity",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", "2020-01-01T00:00:00Z"), ("MinSize", "1")],
            "Given start time is in the past",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", &later), ("MinSize", "0")],
            "Scheduled action with this scheduled start time already exists",
        ),
        (
            &[("ScheduledActionName", "x"), ("Recurrence", "0 0 22 * * *"), ("MinSize", "1")],
            "Given recurrence string: 0 0 22 * * * is invalid",
        ),
    ] {
        let refused = put(form).await;
        // No source names the code of two actions at one time.
        if !expected.ends_with("already exists") {
            assert_eq!(refused.field("Code"), "ValidationError");
        }
        assert_eq!(refused.status, 400);
        assert!(refused.field("Message").starts_with(expected), "{}", refused.text);
    }

    let night = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "night")];
    test.ok("autoscaling", "DeleteScheduledAction", &night).await;
    let describe = async |names: &[(&str, &str)]| {
        let form: Vec<_> = names.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        test.ok("autoscaling", "DescribeScheduledActions", &form).await
    };
    let evening = describe(&[("ScheduledActionNames.member.1", "evening")]).await;
    assert_eq!((evening.field("Recurrence"), evening.field("TimeZone")), ("0 22 * * *".into(), "Europe/Paris".into()));
    let starts = evening.field("StartTime");
    assert!(starts.ends_with("T20:00:00Z") || starts.ends_with("T21:00:00Z"), "{starts}");

    test.until("the group has been moved", async || test.healthy(&stack).await == 2).await;
    assert_eq!(test.group_field("MaxSize").await, "4");
    assert!(test.activities().await.text.contains(
        "the scheduled action morning executed. Setting max size from 3 to 4. Setting desired capacity from 0 to 2"
    ));
    let left = describe(&[]).await;
    assert_eq!(left.text.matches("<ScheduledActionName>").count(), 1, "{}", left.text);

    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledUpdateGroupActions.member.1.ScheduledActionName", "noon"),
        ("ScheduledUpdateGroupActions.member.1.Recurrence", "0 12 * * *"),
        ("ScheduledUpdateGroupActions.member.1.DesiredCapacity", "1"),
        ("ScheduledUpdateGroupActions.member.2.ScheduledActionName", "never"),
    ];
    let failed = test.ok("autoscaling", "BatchPutScheduledUpdateGroupAction", &batch).await;
    assert_eq!(
        (failed.field("ScheduledActionName"), failed.field("ErrorCode")),
        ("never".into(), "ValidationError".into())
    );
    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledActionNames.member.1", "noon"),
        ("ScheduledActionNames.member.2", "missing"),
    ];
    let failed = test.ok("autoscaling", "BatchDeleteScheduledAction", &batch).await;
    assert_eq!(failed.text.matches("<ScheduledActionName>").count(), 1);
    let evening = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "evening")];
    test.ok("autoscaling", "DeleteScheduledAction", &evening).await;
    let again = test.call("autoscaling", "DeleteScheduledAction", &evening).await;
    assert_eq!(again.field("Code"), "ValidationError");
    assert!(!describe(&[]).await.text.contains("<ScheduledActionName>"));
    test.down(&stack).await;
    test.stop().await;
}
