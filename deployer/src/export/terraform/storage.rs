//! Buckets, programs in them, notifications, and tables.

use aws_sdk_s3::types::LifecycleRule;
use serde_json::Value;

use super::{
    Sheet, TERRAFORMS_OWN, Terraform,
    hcl::{Body, Expr},
    sheet::{PROGRAM, identifier, json, link, link_as},
};
use crate::{
    cloud::aws::Aws,
    engine::{Fault, Live},
    kinds::{
        artifact::Artifact,
        bucket::{Bucket, CorsRule, Settings as BucketSettings, is_account_regional},
        notification::{Notification, Upload},
        permissions::Permissions,
        table::{Index, Settings as TableSettings, Table},
    },
};

impl Terraform for Bucket {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let body = Body::new().text("bucket", &self.name).set("tags", sheet.tags());
        let body = body.ignoring(TERRAFORMS_OWN, &["force_destroy"]);
        let address = sheet.add("aws_s3_bucket", &self.name, body);
        sheet.know(&self.name, format!("{address}.bucket"));
        sheet.know(&live.output.arn, format!("{address}.arn"));
        let policy = self.policy(aws).await?;
        for (kind, body) in parts(&live.settings, policy.as_ref()) {
            let bucket = Body::new().set("bucket", link(&self.name));
            sheet.add(kind, &self.name, bucket.with(body));
        }
        if is_account_regional(&self.name) {
            sheet.leave_out(format!(
                "the namespace of the bucket {}, which only the creation of a bucket takes",
                self.name
            ));
        }
        if self.has_rules_of_others(aws).await? {
            sheet.leave_out(format!("the lifecycle rules of others of the bucket {}", self.name));
        }
        Ok(())
    }
}

/// The settings of a bucket that are resources of their own, without the argument that names the bucket.
fn parts(settings: &BucketSettings, policy: Option<&Value>) -> Vec<(&'static str, Body)> {
    let encryption = Body::new().text("sse_algorithm", &settings.encryption);
    let encryption = encryption.set_some("kms_master_key_id", settings.key.as_ref().map(Expr::text));
    let encryption = Body::new()
        .set_some("bucket_key_enabled", settings.bucket_key.then_some(Expr::Bool(true)))
        .block("apply_server_side_encryption_by_default", encryption);
    let ownership = Body::new().text("object_ownership", &settings.ownership);
    let blocked = settings.public_access_blocked;
    let access = Body::new()
        .flag("block_public_acls", blocked)
        .flag("block_public_policy", blocked)
        .flag("ignore_public_acls", blocked)
        .flag("restrict_public_buckets", blocked);
    let mut parts = vec![
        ("aws_s3_bucket_public_access_block", access),
        ("aws_s3_bucket_ownership_controls", Body::new().block("rule", ownership)),
        ("aws_s3_bucket_server_side_encryption_configuration", Body::new().block("rule", encryption)),
    ];
    if settings.versioned {
        let status = Body::new().block("versioning_configuration", Body::new().text("status", "Enabled"));
        parts.push(("aws_s3_bucket_versioning", status));
    }
    let rules: Vec<Body> = settings.rules().iter().map(lifecycle_rule).collect();
    if !rules.is_empty() {
        parts.push(("aws_s3_bucket_lifecycle_configuration", Body::new().blocks("rule", rules)));
    }
    if !settings.cors.is_empty() {
        let rules = settings.cors.iter().map(cors_rule);
        parts.push(("aws_s3_bucket_cors_configuration", Body::new().blocks("cors_rule", rules)));
    }
    parts.extend(policy.map(|policy| ("aws_s3_bucket_policy", Body::new().set("policy", json(policy)))));
    parts
}

/// A rule of ours, which has a prefix, and ends one thing.
fn lifecycle_rule(rule: &LifecycleRule) -> Body {
    let prefix = rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default();
    let uploads = rule.abort_incomplete_multipart_upload().and_then(|it| it.days_after_initiation());
    let older = rule.noncurrent_version_expiration().and_then(|it| it.noncurrent_days());
    let expiration = rule.expiration().map(|it| {
        let markers = it.expired_object_delete_marker().filter(|drops| *drops).map(Expr::Bool);
        Body::new().set_some("days", it.days().map(Expr::int)).set_some("expired_object_delete_marker", markers)
    });
    Body::new()
        .text("id", rule.id().unwrap_or_default())
        .text("status", rule.status().as_str())
        .block("filter", Body::new().text("prefix", prefix))
        .blocks("abort_incomplete_multipart_upload", uploads.map(|days| Body::new().int("days_after_initiation", days)))
        .blocks("expiration", expiration)
        .blocks("noncurrent_version_expiration", older.map(|days| Body::new().int("noncurrent_days", days)))
}

fn cors_rule(rule: &CorsRule) -> Body {
    let list = |texts: &Vec<String>| (!texts.is_empty()).then(|| texts_of(texts));
    Body::new()
        .set("allowed_origins", texts_of(&rule.origins))
        .set("allowed_methods", texts_of(&rule.methods))
        .set_some("allowed_headers", list(&rule.headers))
        .set_some("expose_headers", list(&rule.expose))
        .set_some("max_age_seconds", rule.max_age_s.map(Expr::int))
}

fn texts_of<'a>(texts: impl IntoIterator<Item = &'a String>) -> Expr {
    Expr::List(texts.into_iter().map(Expr::text).collect())
}

const REPLACED: &str = "AWS does not return these arguments. An import leaves them empty.\n\
                        A new key replaces the object, which instances may still need: README.md says how to deploy another program.";

impl Terraform for Artifact {
    async fn write(&self, _: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let label = sheet.label();
        let source = sheet.file(&format!("{label}{PROGRAM}"), self.download(aws).await?, false);
        let body = Body::new()
            .set("bucket", link(&self.bucket))
            .text("key", &self.key)
            .set("source", source)
            .ignoring_and_created_first(REPLACED, &["source", "force_destroy"]);
        sheet.add("aws_s3_object", &format!("{}/{}", self.bucket, self.key), body);
        Ok(())
    }
}

impl Terraform for Notification {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        if self.has_others(aws).await? {
            sheet.leave_out(format!("the notifications of others of the bucket {}", self.bucket));
        }
        if live.settings.uploads.is_empty() {
            return Ok(());
        }
        let functions = live.settings.uploads.iter().map(|(id, upload)| notified(id, upload));
        let permissions = sheet.all_of("aws_lambda_permission");
        let body = Body::new()
            .set("bucket", link(&self.bucket))
            .blocks("lambda_function", functions)
            .set("depends_on", Expr::List(permissions));
        sheet.add("aws_s3_bucket_notification", &self.bucket, body);
        Ok(())
    }
}

fn notified(id: &str, upload: &Upload) -> Body {
    let filter = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Expr::text);
    Body::new()
        .text("id", id)
        .set("lambda_function_arn", link(&upload.function))
        .set("events", texts_of(&upload.events))
        .set_some("filter_prefix", filter(&upload.prefix))
        .set_some("filter_suffix", filter(&upload.suffix))
}

impl Terraform for Permissions {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        for (id, statement) in &live.settings.statements {
            let body = Body::new()
                .text("statement_id", id)
                .text("action", &statement.action)
                .set("function_name", link_as("function", &self.function))
                .text("principal", &statement.principal)
                .set("source_arn", link(&statement.source_arn))
                .text("source_account", &statement.source_account);
            let label = identifier(&format!("{}_{id}", sheet.label()));
            sheet.add_as("aws_lambda_permission", &label, &format!("{}/{id}", self.function), body);
        }
        Ok(())
    }
}

impl Terraform for Table {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let attribute = |(name, kind): (String, String)| Body::new().text("name", &name).text("type", &kind);
        let protected = sheet.setting("protect", "bool", Expr::Bool(settings.protected));
        let recovery = sheet.setting("point_in_time_recovery", "bool", Expr::Bool(settings.point_in_time_recovery));
        let key = |key: &String| Expr::text(TableSettings::attribute_of(key));
        let ends = |attribute: &String| Body::new().text("attribute_name", attribute).flag("enabled", true);
        let encryption = |key: &String| Body::new().flag("enabled", true).text("kms_key_arn", key);
        let body = Body::new()
            .text("name", &self.name)
            .text("billing_mode", &settings.billing)
            .set("hash_key", key(&settings.partition_key))
            .set_some("range_key", settings.sort_key.as_ref().map(key))
            .set("deletion_protection_enabled", protected)
            .set_some("stream_enabled", settings.stream.as_ref().map(|_| Expr::Bool(true)))
            .set_some("stream_view_type", settings.stream.as_ref().map(Expr::text))
            .set("tags", sheet.tags())
            .blocks("attribute", settings.attributes().into_iter().map(attribute))
            .blocks("local_secondary_index", settings.local_indexes.iter().map(|(name, index)| local(name, index)))
            .blocks("global_secondary_index", settings.indexes.iter().map(|(name, index)| global(name, index)))
            .blocks("ttl", settings.time_to_live.iter().map(ends))
            .blocks("server_side_encryption", settings.key.as_ref().map(encryption))
            .block("point_in_time_recovery", Body::new().set("enabled", recovery));
        let address = sheet.add("aws_dynamodb_table", &self.name, body);
        sheet.know(&self.name, format!("{address}.name"));
        sheet.know(&live.output.arn, format!("{address}.arn"));
        Ok(())
    }
}

fn global(name: &str, index: &Index) -> Body {
    let partition_key = TableSettings::attribute_of(&index.partition_key);
    local_keys(Body::new().text("name", name).text("hash_key", partition_key), index)
}

fn local(name: &str, index: &Index) -> Body {
    local_keys(Body::new().text("name", name), index)
}

fn local_keys(body: Body, index: &Index) -> Body {
    let (projection, copied) = match index.include.as_deref() {
        None => ("ALL", None),
        Some([]) => ("KEYS_ONLY", None),
        Some(some) => ("INCLUDE", Some(texts_of(some))),
    };
    body.set_some("range_key", index.sort_key.as_ref().map(|key| Expr::text(TableSettings::attribute_of(key))))
        .text("projection_type", projection)
        .set_some("non_key_attributes", copied)
}
