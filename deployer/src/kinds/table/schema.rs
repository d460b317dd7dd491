//! The keys of a table and of its secondary indexes, between the settings and the SDK's types.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    LocalSecondaryIndex, Projection, ProjectionType, ScalarAttributeType, TableDescription,
};
use serde::Serialize;

use super::Settings;

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Index {
    /// The attribute that is its partition key, in the notation of [`Settings::partition_key`]. That of a local index
    /// is the table's.
    pub partition_key: String,
    /// The attribute that is its sort key, in the same notation.
    pub sort_key: Option<String>,
    /// The attributes that it copies besides the keys; `None` for all.
    pub include: Option<Vec<String>>,
}

/// The notation of keys that are not strings: the attribute's name with its type.
const NUMBER: &str = " (number)";
const BINARY: &str = " (binary)";

/// The name of a key's attribute, and its type.
pub fn attribute(key: &str) -> (&str, ScalarAttributeType) {
    match (key.strip_suffix(NUMBER), key.strip_suffix(BINARY)) {
        (Some(name), _) => (name, ScalarAttributeType::N),
        (_, Some(name)) => (name, ScalarAttributeType::B),
        _ => (key, ScalarAttributeType::S),
    }
}

/// The schema of a table or an index.
pub fn key_schema(partition_key: &str, sort_key: Option<&str>) -> Vec<KeySchemaElement> {
    let keys = [(Some(partition_key), KeyType::Hash), (sort_key, KeyType::Range)];
    let element = |(key, role): (Option<&str>, KeyType)| {
        let element = KeySchemaElement::builder().attribute_name(attribute(key?).0).key_type(role);
        Some(element.build().expect("name and role are given"))
    };
    keys.into_iter().filter_map(element).collect()
}

/// The definitions of the key attributes of a table and these indexes. DynamoDB refuses any other attribute
/// (docs/aws.md §5.2).
pub fn definitions<'a>(table: &'a Settings, indexes: impl IntoIterator<Item = &'a Index>) -> Vec<AttributeDefinition> {
    let of_table = [Some(&table.partition_key), table.sort_key.as_ref()];
    let of_indexes = indexes.into_iter().flat_map(|index| [Some(&index.partition_key), index.sort_key.as_ref()]);
    let keys = of_table.into_iter().chain(of_indexes).flatten().map(|key| attribute(key));
    let definition = |(name, kind)| {
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
        definition.build().expect("name and type are given")
    };
    keys.collect::<BTreeMap<_, _>>().into_iter().map(definition).collect()
}

impl Index {
    /// A global index to be created with its table.
    pub fn global(&self, name: &str) -> GlobalSecondaryIndex {
        let index = GlobalSecondaryIndex::builder().index_name(name).projection(self.projection());
        index.set_key_schema(Some(self.key_schema())).build().expect("name and keys are given")
    }

    /// A local index, which is created with its table.
    pub fn local(&self, name: &str) -> LocalSecondaryIndex {
        let index = LocalSecondaryIndex::builder().index_name(name).projection(self.projection());
        index.set_key_schema(Some(self.key_schema())).build().expect("name and keys are given")
    }

    /// A global index to be added to an existing table.
    pub fn addition(&self, name: &str) -> CreateGlobalSecondaryIndexAction {
        let index = CreateGlobalSecondaryIndexAction::builder().index_name(name).projection(self.projection());
        index.set_key_schema(Some(self.key_schema())).build().expect("name and keys are given")
    }

    fn key_schema(&self) -> Vec<KeySchemaElement> {
        key_schema(&self.partition_key, self.sort_key.as_deref())
    }

    fn projection(&self) -> Projection {
        let projection = Projection::builder();
        match self.include.as_deref() {
            None => projection.projection_type(ProjectionType::All),
            Some([]) => projection.projection_type(ProjectionType::KeysOnly),
            Some(attributes) => {
                projection.projection_type(ProjectionType::Include).set_non_key_attributes(Some(attributes.to_vec()))
            }
        }
        .build()
    }
}

/// The key with this role, in the notation of the settings.
pub fn key(table: &TableDescription, schema: &[KeySchemaElement], role: &KeyType) -> Option<String> {
    let name = schema.iter().find(|key| key.key_type() == role)?.attribute_name();
    let definition = table.attribute_definitions().iter().find(|it| it.attribute_name() == name);
    Some(match definition.map(AttributeDefinition::attribute_type) {
        Some(ScalarAttributeType::N) => format!("{name}{NUMBER}"),
        Some(ScalarAttributeType::B) => format!("{name}{BINARY}"),
        _ => name.to_owned(),
    })
}

/// The global indexes of a table.
pub fn indexes(table: &TableDescription) -> BTreeMap<String, Index> {
    let indexes = table.global_secondary_indexes().iter();
    let index = |name: Option<&str>, schema, projection| Some((name?.to_owned(), index(table, schema, projection)));
    indexes.filter_map(|it| index(it.index_name(), it.key_schema(), it.projection())).collect()
}

/// The local indexes of a table.
pub fn local_indexes(table: &TableDescription) -> BTreeMap<String, Index> {
    let indexes = table.local_secondary_indexes().iter();
    let index = |name: Option<&str>, schema, projection| Some((name?.to_owned(), index(table, schema, projection)));
    indexes.filter_map(|it| index(it.index_name(), it.key_schema(), it.projection())).collect()
}

fn index(table: &TableDescription, schema: &[KeySchemaElement], projection: Option<&Projection>) -> Index {
    let include = match projection.and_then(Projection::projection_type) {
        Some(ProjectionType::KeysOnly) => Some(Vec::new()),
        // DynamoDB returns the attributes in no particular order.
        Some(ProjectionType::Include) => projection.map(|it| sorted(it.non_key_attributes())),
        _ => None,
    };
    Index {
        partition_key: key(table, schema, &KeyType::Hash).unwrap_or_default(),
        sort_key: key(table, schema, &KeyType::Range),
        include,
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}
