//! The operations, with the permissions that each needs.

use serde_json::Value;

use kit::ACCOUNT;
use kit::answer::Refusal;
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Need, Needs, Operation, Pagination, Rows};

use super::Logs;
use super::input::Input;
use super::tags::name_in;

type Run = fn(&Logs, Input) -> Result<Value, Refusal>;

const OF_GROUP: Needs = Needs::Of(|asked| vec![asked.own(stream_arn(asked.region, group_of(asked), ""))]);

const OF_STREAM: Needs =
    Needs::Of(|asked| vec![asked.own(stream_arn(asked.region, group_of(asked), asked.text("logStreamName")))]);

/// Giving a new group tags needs the permission to tag it as well (docs/aws.md §2.5).
const NEW_GROUP: Needs = Needs::Of(|asked| {
    let name = group_of(asked);
    let has_tags = asked.call.input.json().value()["tags"].as_object().is_some_and(|tags| !tags.is_empty());
    let group = format!("arn:aws:logs:{}:{ACCOUNT}:log-group:{name}", asked.region);
    let tag = has_tags.then(|| Need::new("logs:TagResource", group));
    [asked.own(stream_arn(asked.region, name, ""))].into_iter().chain(tag).collect()
});

const BY_ARN: Needs = Needs::Of(|asked| vec![asked.own(asked.text("resourceArn").trim_end_matches(":*"))]);

const PAGED: Option<Pagination> = Some(Pagination::Own("limit"));

/// Returns the name of the group that a call refers to.
fn group_of<'a>(asked: &'a Asked) -> &'a str {
    let input = Input(asked.call.input.json().value());
    let name = input.text("logGroupName").or_else(|| input.text("logGroupIdentifier").map(name_in));
    name.unwrap_or_default().trim_end_matches(":*")
}

/// In policies, the ARN of a group includes its streams: `log-group:NAME:log-stream:STREAM` (docs/aws.md §7.6).
fn stream_arn(region: &str, group: &str, stream: &str) -> String {
    format!("arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}:log-stream:{stream}")
}

/// The permissions a function needs to write a line: to create its stream, once, and to write.
pub fn to_write(region: &str, group: &str, stream: &str) -> [Need; 2] {
    [
        Need::new("logs:CreateLogStream", stream_arn(region, group, "")),
        Need::new("logs:PutLogEvents", stream_arn(region, group, stream)),
    ]
}

/// The permission a function needs in addition if the group does not exist.
pub fn to_make_group(region: &str, group: &str) -> Need {
    Need::new("logs:CreateLogGroup", stream_arn(region, group, ""))
}

/// The supported operations and parameters; any other is refused by name.
pub const OPERATIONS: &[Operation<Run>] = &[
    Operation::new("AssociateKmsKey", Writes, OF_GROUP, None, "kmsKeyId logGroupName", Logs::associate_key),
    Operation::new(
        "CreateLogGroup",
        Writes,
        NEW_GROUP,
        None,
        "deletionProtectionEnabled:boolean=false kmsKeyId logGroupClass=STANDARD logGroupName tags.*",
        Logs::create_group,
    ),
    Operation::new("CreateLogStream", Writes, OF_GROUP, None, "logGroupName logStreamName", Logs::create_stream),
    Operation::new("DeleteLogGroup", Writes, OF_GROUP, None, "logGroupName", Logs::delete_group),
    Operation::new("DeleteRetentionPolicy", Writes, OF_GROUP, None, "logGroupName", Logs::delete_retention),
    Operation::new(
        "DescribeLogGroups",
        Reads,
        OF_GROUP,
        PAGED,
        "includeLinkedAccounts:boolean=false limit:integer logGroupClass=STANDARD logGroupNamePattern logGroupNamePrefix nextToken",
        Logs::describe_groups,
    ),
    Operation::new(
        "DescribeLogStreams",
        Reads,
        OF_GROUP,
        PAGED,
        "descending:boolean limit:integer logGroupIdentifier logGroupName logStreamNamePrefix nextToken orderBy",
        Logs::describe_streams,
    ),
    Operation::new("DisassociateKmsKey", Writes, OF_GROUP, None, "logGroupName", Logs::disassociate_key),
    Operation::new(
        "FilterLogEvents",
        Reads,
        OF_GROUP,
        PAGED,
        "endTime:integer filterPattern interleaved:boolean limit:integer logGroupIdentifier logGroupName \
         logStreamNamePrefix logStreamNames[] nextToken startFromHead:boolean=true startTime:integer \
         unmask:boolean=false",
        Logs::filter_events,
    ),
    Operation::new(
        "GetLogEvents",
        Reads,
        OF_STREAM,
        PAGED,
        "endTime:integer limit:integer logGroupIdentifier logGroupName logStreamName nextToken startFromHead:boolean \
         startTime:integer unmask:boolean=false",
        Logs::get_events,
    ),
    Operation::new(
        "DescribeMetricFilters",
        Reads,
        OF_GROUP,
        None,
        "limit:integer logGroupName nextToken",
        Logs::describe_metric_filters,
    ),
    Operation::new(
        "DescribeSubscriptionFilters",
        Reads,
        OF_GROUP,
        None,
        "limit:integer logGroupName nextToken",
        Logs::describe_subscription_filters,
    ),
    Operation::new("ListTagsForResource", Reads, BY_ARN, None, "resourceArn", Logs::list_tags),
    Operation::new("ListTagsLogGroup", Reads, OF_GROUP, None, "logGroupName", Logs::list_tags_by_name),
    Operation::new(
        "PutLogEvents",
        Writes,
        OF_STREAM,
        None,
        "logEvents[].message logEvents[].timestamp:integer logGroupName logStreamName sequenceToken",
        Logs::put_events,
    ),
    Operation::new(
        "PutRetentionPolicy",
        Writes,
        OF_GROUP,
        None,
        "logGroupName retentionInDays:integer",
        Logs::put_retention,
    ),
    Operation::new("TagLogGroup", Writes, OF_GROUP, None, "logGroupName tags.*", Logs::tag_by_name),
    Operation::new("TagResource", Writes, BY_ARN, None, "resourceArn tags.*", Logs::tag),
    Operation::new("UntagLogGroup", Writes, OF_GROUP, None, "logGroupName tags[]", Logs::untag_by_name),
    Operation::new("UntagResource", Writes, BY_ARN, None, "resourceArn tagKeys[]", Logs::untag),
];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}
