//! Buckets, with their notifications, and tables.

use std::collections::BTreeMap;

use super::Layout;
use crate::{
    config::{self},
    engine::Handle,
    kinds::{
        bucket::{self, Bucket},
        function::{self, Function},
        notification::{self, Notification, Upload},
        permissions::Permissions,
        table::{self, Table},
    },
};

impl Layout<'_> {
    /// The artifact bucket is created first and removed last: without it, the stack has no resources.
    pub(super) fn anchor(&mut self) -> Handle<Bucket> {
        self.stack.section("artifacts");
        let anchor = Bucket { name: self.names.artifacts(), account: self.site.account.clone() };
        let logging = self.config.services.iter().filter(|(_, service)| service.access_logs);
        let settings = bucket::Settings {
            boot_reports_end_days: Some(REPORTS_END_DAYS),
            // Also without a load balancer that writes any: those of one that has stopped must end, too.
            access_logs_end_days: Some(ACCESS_LOGS_END_DAYS),
            access_logs: logging.map(|(entry, _)| access_logs_prefix(entry.as_str())).collect(),
            ..bucket::Settings::private(Vec::new())
        };
        self.stack.add("artifacts", anchor, (), move |()| settings.clone())
    }

    pub(super) fn buckets(&mut self) -> BTreeMap<String, Handle<Bucket>> {
        let mut buckets = BTreeMap::new();
        for (entry, wanted) in &self.config.buckets {
            self.stack.section(format!("buckets.{entry}"));
            let cors: Vec<bucket::CorsRule> = wanted.cors.iter().map(cors_rule).collect();
            let bucket = Bucket { name: self.names.bucket(entry.as_str()), account: self.site.account.clone() };
            let settings = bucket::Settings {
                protected: wanted.protect,
                versioned: wanted.versioning,
                objects_end_days: wanted.lifecycle.expire_days.map(Into::into),
                older_versions_end_days: wanted.lifecycle.noncurrent_days.map(Into::into),
                ..bucket::Settings::private(cors).encrypted_with(wanted.key.as_ref().map(ToString::to_string))
            };
            let bucket = self.stack.add(entry.as_str(), bucket, (), move |()| settings.clone());
            self.offer(
                "buckets",
                entry.as_str(),
                [
                    ("name", bucket.wire(|bucket| bucket.name.clone())),
                    ("arn", bucket.wire(|bucket| bucket.arn.clone())),
                    ("region", bucket.wire(|bucket| bucket.region.clone())),
                ],
            );
            buckets.insert(entry.to_string(), bucket);
        }
        buckets
    }

    pub(super) fn tables(&mut self) {
        for (entry, wanted) in &self.config.tables {
            self.stack.section(format!("tables.{entry}"));
            let settings = table_settings(wanted);
            let table = Table { name: self.names.plain(entry.as_str()) };
            let table = self.stack.add(entry.as_str(), table, (), move |()| settings.clone());
            self.offer(
                "tables",
                entry.as_str(),
                [("name", table.wire(|table| table.name.clone())), ("arn", table.wire(|table| table.arn.clone()))],
            );
        }
    }

    /// Every bucket has this node, so that a trigger removed from `stack.yaml` is removed from the bucket.
    pub(super) fn notifications(
        &mut self,
        buckets: &BTreeMap<String, Handle<Bucket>>,
        functions: &BTreeMap<String, Handle<Function>>,
        permissions: &BTreeMap<String, Handle<Permissions>>,
    ) {
        for (entry, wanted) in &self.config.buckets {
            self.stack.section(format!("buckets.{entry}"));
            let account = self.site.account.clone();
            let target = wanted.on_upload.as_ref().and_then(|upload| {
                let function = upload.function.as_str();
                Some((*functions.get(function)?, *permissions.get(function)?))
            });
            let (prefix, suffix) = wanted
                .on_upload
                .as_ref()
                .map(|upload| (upload.prefix.clone(), upload.suffix.clone()))
                .unwrap_or_default();
            let inputs = (buckets[entry.as_str()], target);
            self.stack.add_inside(entry.as_str(), inputs, move |(bucket, target)| {
                let upload = |function: function::Output| Upload {
                    prefix: prefix.clone(),
                    suffix: suffix.clone(),
                    ..Upload::created(function.arn)
                };
                let uploads =
                    target.into_iter().map(|(function, _)| ("deployer-upload".to_owned(), upload(function))).collect();
                let notification = Notification { bucket: bucket.name, account: account.clone() };
                (notification, notification::Settings { uploads })
            });
        }
    }
}

/// The days that the reports of instances are kept.
const REPORTS_END_DAYS: i32 = 14;

/// The days that access logs of load balancers are kept.
const ACCESS_LOGS_END_DAYS: i32 = 90;

/// The prefix of the access logs of a service's load balancer, without a slash at the end.
pub(super) fn access_logs_prefix(entry: &str) -> String {
    format!("{}{entry}", bucket::ACCESS_LOGS)
}

fn cors_rule(cors: &config::Cors) -> bucket::CorsRule {
    bucket::CorsRule {
        origins: cors.origins.clone(),
        methods: cors.methods.iter().map(ToString::to_string).collect(),
        headers: cors.headers.clone(),
        expose: cors.expose.clone(),
        max_age_s: cors.max_age_s.map(Into::into),
    }
}

fn table_settings(wanted: &config::Table) -> table::Settings {
    table::Settings {
        partition_key: wanted.partition_key.to_string(),
        sort_key: wanted.sort_key.as_ref().map(ToString::to_string),
        local_indexes: table_indexes(&wanted.local_indexes),
        indexes: table_indexes(&wanted.indexes),
        billing: "PAY_PER_REQUEST".into(),
        protected: wanted.protect,
        point_in_time_recovery: wanted.point_in_time_recovery,
        time_to_live: wanted.time_to_live.clone(),
        stream: wanted.stream.as_ref().map(|stream| stream.to_uppercase()),
        key: wanted.key.as_ref().map(ToString::to_string),
    }
}

fn table_indexes(wanted: &BTreeMap<config::Name, config::Index>) -> BTreeMap<String, table::Index> {
    let index = |(name, wanted): (&config::Name, &config::Index)| {
        let index = table::Index {
            partition_key: wanted.partition_key.to_string(),
            sort_key: wanted.sort_key.as_ref().map(ToString::to_string),
            include: wanted.include.clone(),
        };
        (name.to_string(), index)
    };
    wanted.iter().map(index).collect()
}
