//! The values that entries of `stack.yaml` refer to.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use super::{
    Layout, policy,
    policy::{KeyUse, UsedResources},
};
use crate::{
    cloud::site::Site,
    config::{self, Piece, Reference, Store, Text},
    engine::{Joined, Wire},
};

impl Layout<'_> {
    pub(super) fn offer<const N: usize>(&mut self, section: &str, entry: &str, attributes: [(&str, Wire); N]) {
        for (attribute, wire) in attributes {
            self.wires.insert(format!("{section}.{entry}.{attribute}"), wire);
        }
    }

    pub(super) fn has_all<'t>(&self, texts: impl Iterator<Item = &'t Text>) -> bool {
        texts.flat_map(Text::references).all(|reference| self.wires.contains_key(&reference.path()))
    }

    pub(super) fn environment(&self, texts: &config::Environment) -> BTreeMap<String, Joined> {
        texts.iter().map(|(name, text)| (name.to_string(), self.joined(text))).collect()
    }

    /// A reference to a resource that is not on the page is dropped.
    pub(super) fn joined(&self, text: &Text) -> Joined {
        let wire = |piece: &Piece| match piece {
            Piece::Literal(text) => Wire::literal(text),
            Piece::Reference(reference) => {
                self.wires.get(&reference.path()).cloned().unwrap_or_else(|| Wire::literal(""))
            }
        };
        Joined(text.pieces().iter().map(wire).collect())
    }

    /// The values that these references stand for. One to a resource that is not on the page is left out.
    pub(super) fn referred<'r>(&self, references: impl Iterator<Item = &'r Reference>) -> BTreeMap<String, Wire> {
        let known = |path: String| self.wires.get(&path).cloned().map(|wire| (path, wire));
        references.map(Reference::path).filter_map(known).collect()
    }

    /// The ARNs of the resources used, derived from their names: a policy does not need them to exist.
    pub(super) fn uses(&self, uses: &config::Uses, stored: &config::StoredVariables) -> UsedResources {
        let Site { region, account, .. } = self.site;
        let partition = self.site.partition();
        let arns = |store: Store, arn: fn(&str, &str, &str) -> String| -> BTreeSet<String> {
            stored.values().filter(|it| it.store == store).map(|it| arn(region, account, &it.name)).collect()
        };
        let bucket = |entry: &str| format!("arn:{partition}:s3:::{}", self.names.bucket(entry));
        let table = |entry: &str| {
            let Site { region, account, .. } = self.site;
            format!("arn:{partition}:dynamodb:{region}:{account}:table/{}", self.names.plain(entry))
        };
        // An index has an ARN of its own; it can only be read.
        let indexes = |entry: &config::Name, how: config::Access| {
            let has_some = self.config.tables.get(entry).is_some_and(config::Table::has_indexes);
            (has_some && how.reads()).then(|| (format!("{}/index/*", table(entry.as_str())), config::Access::Read))
        };
        let tables = uses
            .tables
            .iter()
            .flat_map(|(entry, how)| iter::once((table(entry.as_str()), *how)).chain(indexes(entry, *how)));
        let of_buckets = uses.buckets.iter().filter_map(|(entry, how)| self.key_of_bucket(entry, *how));
        let of_tables = uses.tables.keys().filter_map(|entry| self.key_of_table(entry));
        UsedResources {
            buckets: uses.buckets.iter().map(|(entry, how)| (bucket(entry.as_str()), *how)).collect(),
            tables: tables.collect(),
            rekognition: uses.rekognition,
            keys: of_buckets.chain(of_tables).collect(),
            tracing: false,
            secrets: arns(Store::Secret, policy::secret_arn).into_iter().collect(),
            parameters: arns(Store::Parameter, policy::parameter_arn).into_iter().collect(),
        }
    }

    /// Access to a bucket's KMS key, if it has one. Writers need `kms:Decrypt` as well, because a multipart upload reads its
    /// own parts (docs/aws.md §4.3).
    pub(super) fn key_of_bucket(&self, entry: &config::Name, how: config::Access) -> Option<KeyUse> {
        let key = self.config.buckets.get(entry)?.key.as_ref()?;
        let actions: &[&str] = if how.writes() { &["kms:Decrypt", "kms:GenerateDataKey"] } else { &["kms:Decrypt"] };
        Some(self.key_use(key, "s3", actions))
    }

    /// Access to a table's KMS key, if it has one (docs/aws.md §5.2).
    fn key_of_table(&self, entry: &config::Name) -> Option<KeyUse> {
        let key = self.config.tables.get(entry)?.key.as_ref()?;
        Some(self.key_use(key, "dynamodb", &["kms:Decrypt"]))
    }

    /// Access to a KMS key through a service.
    pub(super) fn key_use(&self, key: &config::EncryptionKey, service: &str, actions: &[&'static str]) -> KeyUse {
        let Site { region, account, .. } = self.site;
        KeyUse::of(key, region, account, service, actions)
    }

    pub(super) fn log_group_arn(&self, name: &str) -> String {
        let Site { region, account, .. } = self.site;
        let partition = self.site.partition();
        format!("arn:{partition}:logs:{region}:{account}:log-group:{name}")
    }
}
