//! The permissions that calls need for each table or index that they name.

use serde_json::Value;

use kit::call::{Asked, Need, Needs};

/// The operation's action on the call's table or index.
pub(super) const TABLE: Needs = Needs::Of(table);
pub(super) const NEW_TABLE: Needs = Needs::Of(new_table);
pub(super) const STREAM: Needs = Needs::On("{StreamArn}");
pub(super) const TAGGED: Needs = Needs::On("{ResourceArn}");
/// The operation's action on each table of a batch.
pub(super) const BATCH: Needs = Needs::Of(batch);
/// The action of each item in a transaction.
pub(super) const TRANSACTION: Needs = Needs::Of(transaction);
pub(super) const STATEMENT: Needs = Needs::Of(|asked| vec![statement(asked, input(asked))]);
pub(super) const STATEMENTS: Needs = Needs::Of(|asked| statements(asked, "Statements"));
pub(super) const TRANSACT_STATEMENTS: Needs = Needs::Of(|asked| statements(asked, "TransactStatements"));
pub(super) const RECORDS: Needs = Needs::Of(records);
pub(super) const STREAMS: Needs = Needs::Of(streams);

fn input<'a>(asked: &'a Asked) -> &'a Value {
    asked.call.input.json().value()
}

/// An action on a table, given by name or ARN.
fn on(asked: &Asked, action: &str, name: &str) -> Need {
    let arn = match name.starts_with("arn:") {
        true => name.to_owned(),
        false => asked.arn(&format!("table/{name}")),
    };
    Need::new(format!("dynamodb:{action}"), arn)
}

fn own(asked: &Asked, name: &str) -> Need {
    on(asked, &asked.call.operation, name)
}

/// Falls back to the operation's action on `*` for a call without resources. If the caller may call it, the service
/// then refuses the call with a proper error.
fn at_least_one(asked: &Asked, needs: Vec<Need>) -> Vec<Need> {
    if needs.is_empty() { vec![asked.own("*")] } else { needs }
}

fn table(asked: &Asked) -> Vec<Need> {
    let input = input(asked);
    let Some(name) = input["TableName"].as_str() else { return vec![asked.own("*")] };
    let place = input["IndexName"].as_str().map_or_else(|| name.to_owned(), |index| format!("{name}/index/{index}"));
    vec![own(asked, &place).knowing("dynamodb:Select", input["Select"].as_str().map(str::to_owned))]
}

fn new_table(asked: &Asked) -> Vec<Need> {
    let mut needs = table(asked);
    if input(asked)["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
        needs.push(on(asked, "TagResource", asked.text("TableName")));
    }
    needs
}

fn batch(asked: &Asked) -> Vec<Need> {
    let tables = input(asked)["RequestItems"].as_object().into_iter().flatten();
    at_least_one(asked, tables.map(|(name, _)| own(asked, name)).collect())
}

fn transaction(asked: &Asked) -> Vec<Need> {
    let items = input(asked)["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let needs = items.flatten().map(|(verb, item)| {
        let action = match verb.as_str() {
            "ConditionCheck" => "ConditionCheckItem".to_owned(),
            verb => format!("{verb}Item"),
        };
        on(asked, &action, item["TableName"].as_str().unwrap_or_default())
    });
    at_least_one(asked, needs.collect())
}

fn statements(asked: &Asked, list: &str) -> Vec<Need> {
    let statements = input(asked)[list].as_array().into_iter().flatten();
    at_least_one(asked, statements.map(|one| statement(asked, one)).collect())
}

fn statement(asked: &Asked, one: &Value) -> Need {
    let (action, name) = partiql(one["Statement"].as_str().unwrap_or_default());
    on(asked, action, &name)
}

/// Returns the action of a PartiQL statement, and its table or index.
fn partiql(statement: &str) -> (&'static str, String) {
    let mut words = statement.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let (action, before) = match first.as_str() {
        "INSERT" => ("PartiQLInsert", "INTO"),
        "UPDATE" => ("PartiQLUpdate", "UPDATE"),
        "DELETE" => ("PartiQLDelete", "FROM"),
        _ => ("PartiQLSelect", "FROM"),
    };
    let mut words = statement.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case(before)).skip(1);
    let name = words.next().unwrap_or_default().trim_end_matches(';');
    let parts: Vec<&str> = match name.strip_prefix('"') {
        Some(quoted) => quoted.split('"').step_by(2).filter(|part| !part.is_empty()).collect(),
        None => name.splitn(2, '.').map(|part| part.trim_matches('"')).collect(),
    };
    (action, parts.join("/index/"))
}

/// The permission on the stream of an iterator, which contains the table's name.
fn records(asked: &Asked) -> Vec<Need> {
    let table = dynoxide::actions::get_shard_iterator::decode_shard_iterator(asked.text("ShardIterator"));
    let table = table.map(|(table, ..)| table).unwrap_or_default();
    vec![own(asked, &format!("{table}/stream/*"))]
}

fn streams(asked: &Asked) -> Vec<Need> {
    let name = asked.call.input.text("TableName").unwrap_or("*");
    vec![own(asked, &format!("{name}/stream/*"))]
}
