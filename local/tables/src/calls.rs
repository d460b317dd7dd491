//! The operations of dynoxide, and the errors for malformed requests.

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

type Result<T, E = DynoxideError> = std::result::Result<T, E>;

macro_rules! calls {
    ($($operation:literal => $call:ident,)*) => {
        /// Runs an operation; its input and its response are JSON.
        pub(super) fn call(dynoxide: &Database, operation: &str, body: &str) -> Result<String> {
            match operation {
                $($operation => text(&dynoxide.$call(read(body)?)?),)*
                _ => Err(DynoxideError::UnsupportedCapability(operation.to_owned())),
            }
        }
    };
}

calls! {
    "BatchExecuteStatement" => batch_execute_statement,
    "BatchGetItem" => batch_get_item,
    "BatchWriteItem" => batch_write_item,
    "CreateTable" => create_table,
    "DeleteItem" => delete_item,
    "DeleteTable" => delete_table,
    "DescribeStream" => describe_stream,
    "DescribeTable" => describe_table,
    "DescribeTimeToLive" => describe_time_to_live,
    "ExecuteStatement" => execute_statement,
    "ExecuteTransaction" => execute_transaction,
    "GetItem" => get_item,
    "GetRecords" => get_records,
    "GetShardIterator" => get_shard_iterator,
    "ListStreams" => list_streams,
    "ListTables" => list_tables,
    "ListTagsOfResource" => list_tags_of_resource,
    "PutItem" => put_item,
    "Query" => query,
    "Scan" => scan,
    "TagResource" => tag_resource,
    "TransactGetItems" => transact_get_items,
    "TransactWriteItems" => transact_write_items,
    "UntagResource" => untag_resource,
    "UpdateItem" => update_item,
    "UpdateTable" => update_table,
    "UpdateTimeToLive" => update_time_to_live,
}

pub(super) fn text(answer: &impl Serialize) -> Result<String> {
    serde_json::to_string(answer).map_err(|fault| DynoxideError::InternalServerError(fault.to_string()))
}

/// Parses a request. Errors: DynamoDB's own for malformed requests.
pub(super) fn read<T: DeserializeOwned>(body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|fault| unreadable(&fault.to_string()))
}

/// Adjusts an error to the wording of `operation`.
pub(super) fn as_of(operation: &str, fault: DynoxideError) -> DynoxideError {
    match (operation, fault) {
        (_, DynoxideError::EnvelopedValidation(text)) => DynoxideError::ValidationException(text),
        ("DeleteItem" | "PutItem" | "UpdateItem", DynoxideError::ValidationException(text)) => {
            DynoxideError::ValidationException(without_envelope(text))
        }
        ("Query", DynoxideError::ValidationException(text)) if text.starts_with("Attribute name is a reserved") => {
            DynoxideError::ValidationException(format!("Invalid KeyConditionExpression: {text}"))
        }
        ("ExecuteStatement", DynoxideError::ConditionalCheckFailedException(text, Some(item))) => {
            DynoxideError::StatementConditionalCheckFailed(text, item)
        }
        (_, fault) => fault,
    }
}

/// For three operations, DynamoDB words errors in values differently by region and year: with the prefix of model
/// validation errors, or without it. This is the wording recorded in the suite of `nubo-db/dynamodb-conformance`.
fn without_envelope(text: String) -> String {
    match text.strip_prefix("1 validation error detected: ") {
        Some(rest) if !rest.contains("failed to satisfy constraint") => rest.to_owned(),
        _ => text,
    }
}

/// Converts a parse error. dynoxide's types prefix their errors with the kind of error (see its `src/serde_errors.rs`);
/// the others are missing fields or values of the wrong type.
fn unreadable(said: &str) -> DynoxideError {
    const EMPTY: &str = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
    let plain = without_position(said).to_owned();
    if let Some((mark, rest)) = said.split_once(':') {
        let rest = rest.to_owned();
        let short = without_position(&rest).to_owned();
        match mark {
            "SERIALIZATION_AS_READ" => return DynoxideError::SerializationException(rest),
            "VALIDATION_AS_READ" => return DynoxideError::ValidationException(rest),
            "SERIALIZATION" => return DynoxideError::SerializationException(short),
            "VALIDATION_REQUEST" => return DynoxideError::EnvelopedValidation(short),
            "VALIDATION" => return DynoxideError::ValidationException(short),
            _ => (),
        }
    }
    if said.contains("empty AttributeValue") {
        return DynoxideError::ValidationException(EMPTY.to_owned());
    }
    let invalid = ["missing field", "unknown variant", "invalid type: null", "Supplied AttributeValue"];
    if invalid.iter().any(|words| said.contains(words)) {
        return DynoxideError::ValidationException(plain);
    }
    DynoxideError::SerializationException(wrong_type(&plain).unwrap_or(plain))
}

fn without_position(said: &str) -> &str {
    match said.rfind(" at line ") {
        Some(at) if said[at..].contains("column") => &said[..at],
        _ => said,
    }
}

/// Returns DynamoDB's message for a value of the wrong type.
fn wrong_type(said: &str) -> Option<String> {
    let (found, expected) = said.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let class = match expected {
        "a string" => "String",
        "a boolean" => "Boolean",
        "i64" | "u64" | "u32" | "usize" => "Long",
        _ => return Some(structure(found).to_owned()),
    };
    let token = match found.split_whitespace().next()? {
        "integer" => "NUMBER_VALUE",
        "floating" => "DECIMAL_VALUE",
        "boolean" if found.contains("true") => "TRUE_VALUE",
        "boolean" => "FALSE_VALUE",
        "string" if class == "Boolean" => return Some("Unexpected token received from parser".to_owned()),
        "string" => "STRING_VALUE",
        "sequence" => return Some(format!("Unrecognized collection type class java.lang.{class}")),
        _ => return Some(structure(found).to_owned()),
    };
    Some(format!("{token} cannot be converted to {class}"))
}

fn structure(found: &str) -> &'static str {
    if found == "map" { "Start of structure or map found where not expected" } else { "Unexpected field type" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_requests_are_refused_with_the_errors_of_dynamodb() {
        for (said, kind, text) in [
            ("VALIDATION:no name at line 1 column 2", "ValidationException", "no name"),
            ("SERIALIZATION:odd at line 1 column 2", "SerializationException", "odd"),
            (
                "invalid type: integer `23`, expected a string at line 1 column 42",
                "SerializationException",
                "NUMBER_VALUE cannot be converted to String",
            ),
            (
                "invalid type: string \"x\", expected i64 at line 1 column 42",
                "SerializationException",
                "STRING_VALUE cannot be converted to Long",
            ),
            (
                "invalid type: map, expected a sequence at line 1 column 42",
                "SerializationException",
                "Start of structure or map found where not expected",
            ),
        ] {
            let refused = unreadable(said);
            assert!(refused.error_type().ends_with(kind), "{said}: {}", refused.error_type());
            assert_eq!(refused.to_string(), text, "{said}");
        }
        for (said, text) in [
            ("VALIDATION_REQUEST:bad", "bad"),
            ("VALIDATION:1 validation error detected: bad", "bad"),
            (
                "VALIDATION:1 validation error detected: Value '' failed to satisfy constraint: x",
                "1 validation error detected: Value '' failed to satisfy constraint: x",
            ),
        ] {
            assert_eq!(as_of("PutItem", unreadable(said)).to_string(), text, "{said}");
        }
    }
}
