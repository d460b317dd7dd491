//! The operations of DynamoDB.

use futures::future::BoxFuture;

use kit::answer::{Refusal, Response};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Effect, Needs, Operation, Pagination, Request, Row, Rows};
use kit::parameters::ANYTHING;

use super::{Document, DynamoDb, endpoints, needs};

pub(super) type Run =
    for<'a> fn(&'a DynamoDb, &'static Row, Document<'a>, &'a Request) -> BoxFuture<'a, Result<Response, Refusal>>;

/// An operation whose input dynoxide checks; `unserved` refuses the parameters that have no effect.
const fn row(name: &'static str, effect: Effect, needs: Needs, page: Option<Pagination>, run: Run) -> Operation<Run> {
    Operation::new(name, effect, needs, page, ANYTHING, run)
}

macro_rules! answered {
    ($method:ident) => {
        |tables, row, document, _| Box::pin(tables.$method(row, document))
    };
}

const PAGED: Option<Pagination> = Some(Pagination::Own("Limit"));

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// The supported operations; any other is refused by name.
pub(super) const OPERATIONS: &[Operation<Run>] = &[
    row("BatchExecuteStatement", Writes, needs::STATEMENTS, None, answered!(pass_on)),
    row("BatchGetItem", Reads, needs::BATCH, None, answered!(pass_on)),
    row("BatchWriteItem", Writes, needs::BATCH, None, answered!(pass_on)),
    row("CreateTable", Writes, needs::NEW_TABLE, None, answered!(on_table)),
    row("DeleteItem", Writes, needs::TABLE, None, answered!(pass_on)),
    row("DeleteTable", Writes, needs::TABLE, None, answered!(on_table)),
    Operation::new("DescribeContinuousBackups", Reads, needs::TABLE, None, "TableName", answered!(describe_backups)),
    row("DescribeEndpoints", Reads, Needs::Own, None, |_, _, _, request| {
        Box::pin(std::future::ready(Ok(endpoints(request))))
    }),
    row("DescribeLimits", Reads, Needs::Own, None, answered!(limits)),
    row("DescribeStream", Reads, needs::STREAM, None, answered!(pass_on)),
    row("DescribeTable", Reads, needs::TABLE, None, answered!(on_table)),
    row("DescribeTimeToLive", Reads, needs::TABLE, None, answered!(describe_time_to_live)),
    row("ExecuteStatement", Writes, needs::STATEMENT, PAGED, answered!(pass_on)),
    row("ExecuteTransaction", Writes, needs::TRANSACT_STATEMENTS, None, answered!(pass_on)),
    row("GetItem", Reads, needs::TABLE, None, answered!(pass_on)),
    row("GetRecords", Reads, needs::RECORDS, None, answered!(pass_on)),
    row("GetShardIterator", Reads, needs::STREAM, None, answered!(pass_on)),
    row("ListStreams", Reads, needs::STREAMS, PAGED, answered!(pass_on)),
    row("ListTables", Reads, Needs::Own, PAGED, answered!(list_tables)),
    Operation::new(
        "ListTagsOfResource",
        Reads,
        needs::TAGGED,
        PAGED,
        "Limit:integer NextToken ResourceArn",
        answered!(on_tags),
    ),
    row("PutItem", Writes, needs::TABLE, None, answered!(pass_on)),
    row("Query", Reads, needs::TABLE, PAGED, answered!(pass_on)),
    row("Scan", Reads, needs::TABLE, PAGED, answered!(pass_on)),
    row("TagResource", Writes, needs::TAGGED, None, answered!(on_tags)),
    row("TransactGetItems", Reads, needs::TRANSACTION, None, answered!(pass_on)),
    row("TransactWriteItems", Writes, needs::TRANSACTION, None, answered!(pass_on)),
    row("UntagResource", Writes, needs::TAGGED, None, answered!(on_tags)),
    Operation::new(
        "UpdateContinuousBackups",
        Writes,
        needs::TABLE,
        None,
        "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled:boolean \
         PointInTimeRecoverySpecification.RecoveryPeriodInDays:integer TableName",
        answered!(update_backups),
    ),
    row("UpdateItem", Writes, needs::TABLE, None, answered!(pass_on)),
    row("UpdateTable", Writes, needs::TABLE, None, answered!(on_table)),
    row("UpdateTimeToLive", Writes, needs::TABLE, None, answered!(update_time_to_live)),
];
