//! Request members that would have no effect here, and are therefore refused.

use serde_json::Value;

/// The members of each operation that AWS supports and the local AWS does not.
const MEMBERS: &[(&str, &[&str])] = &[
    (
        "CreateTable",
        &[
            "GlobalTableSettingsReplicationMode",
            "GlobalTableSourceArn",
            "ResourcePolicy",
            "VectorIndexes",
            "WarmThroughput",
        ],
    ),
    (
        "UpdateTable",
        &[
            "GlobalTableSettingsReplicationMode",
            "GlobalTableWitnessUpdates",
            "MultiRegionConsistency",
            "ReplicaUpdates",
            "VectorIndexUpdates",
            "WarmThroughput",
        ],
    ),
];

/// The unsupported members of an index that is created or updated.
const OF_INDEXES: &[&str] = &["OnDemandThroughput", "WarmThroughput"];

/// Returns the first member of `input` that would have no effect.
pub(super) fn member(operation: &str, input: &Value) -> Option<String> {
    let is_there = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let (_, members) = MEMBERS.iter().find(|(name, _)| *name == operation)?;
    if let Some(member) = members.iter().find(|member| is_there(&input[**member])) {
        return Some((*member).to_owned());
    }
    if operation == "UpdateTable" && is_there(&input["SSESpecification"]) {
        let is_other = |member: &&String| !["SSESpecification", "TableName"].contains(&member.as_str());
        let other = input.as_object().and_then(|members| members.keys().find(is_other));
        return other.map(|other| format!("both SSESpecification and {other}"));
    }
    let created = input["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
    let updates = input["GlobalSecondaryIndexUpdates"].as_array().into_iter().flatten();
    let updated = updates.flat_map(|update| [&update["Create"], &update["Update"]]);
    let of_index = |index: &Value| OF_INDEXES.iter().find(|member| is_there(&index[**member])).copied();
    created.chain(updated).find_map(of_index).map(|member| format!("{member} of an index"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_without_effect_are_named_and_others_pass() {
        let said = |operation, input| member(operation, &input).unwrap_or_default();
        assert_eq!(said("CreateTable", json!({ "TableName": "posts", "SSESpecification": { "Enabled": false } })), "");
        assert_eq!(said("CreateTable", json!({ "ResourcePolicy": "{}" })), "ResourcePolicy");
        let key = json!({ "TableName": "posts", "SSESpecification": { "Enabled": true } });
        assert_eq!((said("CreateTable", key.clone()), said("UpdateTable", key)), (String::new(), String::new()));
        let both = json!({ "SSESpecification": { "Enabled": true }, "DeletionProtectionEnabled": true });
        assert_eq!(said("UpdateTable", both), "both SSESpecification and DeletionProtectionEnabled");
        assert_eq!(said("UpdateTable", json!({ "ReplicaUpdates": [] })), "");
        assert_eq!(said("UpdateTable", json!({ "ReplicaUpdates": [{}] })), "ReplicaUpdates");
        let index = json!({ "GlobalSecondaryIndexUpdates": [{ "Create": { "WarmThroughput": {} } }] });
        assert_eq!(said("UpdateTable", index), "WarmThroughput of an index");
        assert_eq!(said("PutItem", json!({ "Item": { "WarmThroughput": { "S": "x" } } })), "");
    }
}
