//! Tables, their keys and their indexes.

use std::collections::BTreeMap;
use std::iter;

use super::{Fields, Reader};
use crate::config::{
    Index, Key, Table,
    tree::{Located, Node},
};

/// The types of key attributes.
pub const KEY_TYPES: &[&str] = &["string", "number", "binary"];

/// The view types of a stream: DynamoDB's, in lower case.
pub const STREAMS: &[&str] = &["none", "keys_only", "new_image", "old_image", "new_and_old_images"];

/// DynamoDB's limits for a table (docs/aws.md §5.2).
const MOST_INDEXES: usize = 20;

const MOST_LOCAL_INDEXES: usize = 5;

const MOST_INCLUDED: usize = 100;

/// Stands for a key that is missing or not read yet.
pub(super) fn no_key() -> Key {
    Key { name: String::new(), kind: KEY_TYPES[0] }
}

impl Reader<'_> {
    pub(super) fn table(&mut self, path: &str, value: &Located) -> Option<Table> {
        let fields = self.fields(path, value)?;
        let (partition_key, sort_key) = self.keys(&fields);
        let mut local_indexes = self.section(&fields, "local_indexes", Self::local_index);
        for index in local_indexes.values_mut() {
            index.partition_key = partition_key.clone();
        }
        if sort_key.is_none() && !local_indexes.is_empty() {
            let place = self.place(&fields, "local_indexes");
            self.problem(place, "a table with local indexes needs a sort key", "add `sort_key`, or use `indexes`");
        }
        let indexes = self.section(&fields, "indexes", Self::index);
        for (key, named, most) in
            [("indexes", &indexes, MOST_INDEXES), ("local_indexes", &local_indexes, MOST_LOCAL_INDEXES)]
        {
            let place = self.place(&fields, key);
            if named.len() > most {
                let message = format!("{} {key}", named.len());
                self.problem(place, message, format!("DynamoDB allows {most} {key} for a table"));
            }
            if let Some(short) = named.keys().find(|name| name.as_str().len() < 3) {
                let message = format!("the name of an index is too short: {short}");
                self.problem(place, message, "names of indexes have at least 3 characters");
            }
        }
        if let Some(twice) = indexes.keys().find(|name| local_indexes.contains_key(*name)) {
            let place = self.place(&fields, "local_indexes");
            self.problem(place, format!("two indexes are called {twice}"), "choose another name for one of them");
        }
        let table = Table {
            partition_key,
            sort_key,
            indexes,
            local_indexes,
            protect: self.boolean(&fields, "protect"),
            point_in_time_recovery: self.boolean(&fields, "point_in_time_recovery"),
            time_to_live: self.time_to_live(&fields),
            stream: self.stream(&fields),
            key: self.encryption_key_arn(&fields, "key"),
        };
        self.check_key_types(&fields, &table);
        Some(table)
    }

    pub(super) fn index(&mut self, path: &str, value: &Located) -> Option<Index> {
        let fields = self.fields(path, value)?;
        let (partition_key, sort_key) = self.keys(&fields);
        Some(Index { partition_key, sort_key, include: self.included(&fields) })
    }

    /// The partition key is filled in later: it is the table's.
    pub(super) fn local_index(&mut self, path: &str, value: &Located) -> Option<Index> {
        let fields = self.fields(path, value)?;
        if fields.get("sort_key").is_none() {
            self.text(&fields, "sort_key", "the attribute that is the sort key");
        }
        Some(Index {
            partition_key: no_key(),
            sort_key: self.key(&fields, "sort_key"),
            include: self.included(&fields),
        })
    }

    /// The keys of a table or a global index.
    pub(super) fn keys(&mut self, fields: &Fields<'_>) -> (Key, Option<Key>) {
        if fields.get("partition_key").is_none() {
            self.text(fields, "partition_key", "the attribute that is the partition key");
        }
        let partition_key = self.key(fields, "partition_key").unwrap_or_else(no_key);
        let sort_key = self.key(fields, "sort_key");
        if sort_key.as_ref().is_some_and(|key| !key.name.is_empty() && key.name == partition_key.name) {
            let place = self.place(fields, "sort_key");
            self.problem(place, "both keys are the same attribute", "leave `sort_key` out, or choose another one");
        }
        (partition_key, sort_key)
    }

    /// An attribute's name, or its name and type.
    pub(super) fn key(&mut self, above: &Fields<'_>, key: &str) -> Option<Key> {
        let (name, kind) = match &above.get(key)?.node {
            Node::Map(_) => {
                let fields = self.fields_of(above, key);
                (self.text(&fields, "name", "the attribute")?, self.one_of(&fields, "type", KEY_TYPES))
            }
            _ => (self.optional_text(above, key)?, KEY_TYPES[0]),
        };
        let place = self.place(above, key);
        if name.is_empty() || name.len() > 255 {
            let message = format!("`{key}` is not a valid attribute name");
            self.problem(place, message, "attribute names have 1 to 255 bytes");
        }
        // The notation of types in plans would be ambiguous.
        if let Some((name, kind)) = name.strip_suffix(')').and_then(|name| name.rsplit_once(" ("))
            && KEY_TYPES.contains(&kind)
        {
            let help = format!("write {key}: {{ name: {name}, type: {kind} }}");
            self.problem(place, format!("`{key}` is a name and a type in one text"), help);
        }
        Some(Key { name, kind })
    }

    pub(super) fn included(&mut self, fields: &Fields<'_>) -> Option<Vec<String>> {
        let mut names: Vec<String> = self.texts(fields, "include")?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        let place = self.place(fields, "include");
        if names.len() > MOST_INCLUDED {
            let help = format!("DynamoDB allows {MOST_INCLUDED}: leave `include` out to copy all attributes");
            self.problem(place, format!("{} attributes in one index", names.len()), help);
        }
        if names.iter().any(|name| name.is_empty() || name.len() > 255) {
            self.problem(place, "this is not a valid attribute name", "attribute names have 1 to 255 bytes");
        }
        Some(names)
    }

    pub(super) fn time_to_live(&mut self, fields: &Fields<'_>) -> Option<String> {
        let name = self.optional_text(fields, "time_to_live")?;
        if name.is_empty() || name.len() > 255 {
            let place = self.place(fields, "time_to_live");
            self.problem(place, "`time_to_live` is not a valid attribute name", "attribute names have 1 to 255 bytes");
        }
        Some(name)
    }

    pub(super) fn stream(&mut self, fields: &Fields<'_>) -> Option<String> {
        let contents = self.one_of(fields, "stream", STREAMS);
        (contents != STREAMS[0]).then(|| contents.to_owned())
    }

    /// An attribute has one type in all keys of a table.
    pub(super) fn check_key_types(&mut self, fields: &Fields<'_>, table: &Table) {
        let of_indexes = table.indexes.values().chain(table.local_indexes.values());
        let of_indexes = of_indexes.flat_map(|index| iter::once(&index.partition_key).chain(&index.sort_key));
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for key in iter::once(&table.partition_key).chain(&table.sort_key).chain(of_indexes) {
            let first = *known.entry(&key.name).or_insert(key.kind);
            if first != key.kind && !key.name.is_empty() {
                let message = format!("the key `{}` is a {first} in one place and a {} in another", key.name, key.kind);
                self.problem(fields.place, message, "an attribute has the same type in all keys of a table");
                return;
            }
        }
        let attribute = table.time_to_live.as_deref().unwrap_or_default();
        if let Some(kind) = known.get(attribute).filter(|kind| **kind != "number" && !attribute.is_empty()) {
            let message = format!("`time_to_live` names the key `{attribute}`, which is of type {kind}");
            let help = "DynamoDB deletes rows by a number, the seconds since 1970: name another attribute";
            self.problem(self.place(fields, "time_to_live"), message, help);
        }
    }
}
