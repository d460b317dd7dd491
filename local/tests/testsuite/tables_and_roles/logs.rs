//! Log groups and their lines.

use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, OrderBy};
use testkit::LocalAws;
use testkit::clients::code;

#[tokio::test]
async fn a_log_group_has_tags_and_a_retention() {
    let aws = LocalAws::start().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    let create = logs.create_log_group().log_group_name("/aws/lambda/labeler").tags("k", "v");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "ResourceAlreadyExistsException");
    let retain =
        |days| logs.put_retention_policy().log_group_name("/aws/lambda/labeler").retention_in_days(days).send();
    assert_eq!(code(retain(8).await), "InvalidParameterException");
    retain(7).await.unwrap();
    let aws = aws.restarted().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    let found = logs.describe_log_groups().log_group_name_prefix("/aws/lambda/").send().await.unwrap();
    let group = &found.log_groups()[0];
    assert_eq!((group.log_group_name(), group.retention_in_days()), (Some("/aws/lambda/labeler"), Some(7)));
    let arn = group.log_group_arn().unwrap();
    logs.tag_resource().resource_arn(arn).tags("b", "c").send().await.unwrap();
    logs.untag_resource().resource_arn(arn).tag_keys("k").send().await.unwrap();
    let tags = logs.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    logs.delete_log_group().log_group_name("/aws/lambda/labeler").send().await.unwrap();
    assert_eq!(
        code(logs.delete_log_group().log_group_name("/aws/lambda/labeler").send().await),
        "ResourceNotFoundException"
    );
    aws.stop().await;
}

#[tokio::test]
async fn logs_come_in_pages() {
    let aws = LocalAws::start().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    logs.create_log_group().log_group_name("group").send().await.unwrap();
    for stream in ["one", "two", "three"] {
        logs.create_log_stream().log_group_name("group").log_stream_name(stream).send().await.unwrap();
    }
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let line = |at: i64| InputLogEvent::builder().timestamp(now + at).message(format!("line {at}")).build().unwrap();
    let put = logs.put_log_events().log_group_name("group").log_stream_name("one");
    put.set_log_events(Some((0..5).map(line).collect())).send().await.unwrap();

    let streams = logs.describe_log_streams().log_group_name("group").limit(2);
    let first = streams.clone().send().await.unwrap();
    let rest = streams.set_next_token(first.next_token().map(str::to_owned)).send().await.unwrap();
    assert_eq!((first.log_streams().len(), rest.log_streams().len(), rest.next_token()), (2, 1, None));
    let latest = logs.describe_log_streams().log_group_name("group").order_by(OrderBy::LastEventTime).descending(true);
    assert_eq!(latest.send().await.unwrap().log_streams()[0].log_stream_name(), Some("one"));

    let events = logs.get_log_events().log_group_name("group").log_stream_name("one").limit(2);
    let texts = |found: &GetLogEventsOutput| -> Vec<String> {
        found.events().iter().map(|event| event.message().unwrap().to_owned()).collect()
    };
    let newest = events.clone().send().await.unwrap();
    assert_eq!(texts(&newest), ["line 3", "line 4"]);
    let before = events.clone().next_token(newest.next_backward_token().unwrap()).send().await.unwrap();
    assert_eq!(texts(&before), ["line 1", "line 2"]);
    let oldest = events.clone().start_from_head(true).send().await.unwrap();
    assert_eq!(texts(&oldest), ["line 0", "line 1"]);
    let end = events.clone().next_token(newest.next_forward_token().unwrap()).send().await.unwrap();
    assert_eq!((texts(&end).len(), end.next_forward_token()), (0, newest.next_forward_token()));
    assert_eq!(code(events.next_token("x").send().await), "InvalidParameterException");
    let found = logs.filter_log_events().log_group_name("group").filter_pattern("line").limit(4).send().await.unwrap();
    assert_eq!((found.events().len(), found.next_token().is_some()), (4, true));
    aws.stop().await;
}
