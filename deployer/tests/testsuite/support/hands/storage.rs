//! Buckets, their objects and notifications, and tables.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, KeySchemaElement,
    KeyType, PointInTimeRecoverySpecification, Projection, ProjectionType, ProvisionedThroughput, ScalarAttributeType,
    SseSpecification, SseType, StreamSpecification, StreamViewType, TimeToLiveSpecification, TimeToLiveStatus,
};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, Event, ExpirationStatus, FilterRule, FilterRuleName,
    LambdaFunctionConfiguration, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    NotificationConfiguration, NotificationConfigurationFilter, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, S3KeyFilter, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag as BucketTag, Tagging, VersioningConfiguration,
    builders::LifecycleRuleBuilder,
};

use super::{Hands, IMAGES, KEY, TAG, bucket_tag};

impl Hands<'_> {
    pub(super) async fn bucket(&self, field: &str) {
        let s3 = &self.aws.s3;
        match field {
            "public_access_blocked" => {
                s3.delete_public_access_block().bucket(IMAGES).send().await.expect("it can be opened");
            }
            // Each keeps the previous change.
            "encryption" | "key" | "bucket_key" => {
                let by = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
                let by = by.set_kms_master_key_id((field != "encryption").then(|| "alias/by-hand".into())).build();
                let rule = ServerSideEncryptionRule::builder()
                    .apply_server_side_encryption_by_default(by.expect("an algorithm is given"))
                    .bucket_key_enabled(field == "bucket_key")
                    .build();
                let all = ServerSideEncryptionConfiguration::builder().rules(rule).build().expect("a rule is given");
                let call = s3.put_bucket_encryption().bucket(IMAGES).server_side_encryption_configuration(all);
                call.send().await.expect("another encryption can be chosen");
            }
            "ownership" => {
                let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::BucketOwnerPreferred);
                let rules = OwnershipControls::builder().rules(rule.build().expect("an ownership is given")).build();
                let call = s3.put_bucket_ownership_controls().bucket(IMAGES);
                let call = call.ownership_controls(rules.expect("a rule is given"));
                call.send().await.expect("another ownership can be chosen");
            }
            "cors" => drop(s3.delete_bucket_cors().bucket(IMAGES).send().await.expect("it can be deleted")),
            "unfinished_uploads_end_days" => {
                drop(s3.delete_bucket_lifecycle().bucket(IMAGES).send().await.expect("it can be deleted"));
            }
            "boot_reports_end_days" => {
                let expiry = LifecycleExpiration::builder().days(14).build();
                self.add_rule("deployer-boot-reports", "boot/", |rule| rule.expiration(expiry)).await;
            }
            "objects_end_days" => {
                let expiry = LifecycleExpiration::builder().days(3).build();
                self.add_rule("deployer-objects", "", |rule| rule.expiration(expiry)).await;
            }
            "older_versions_end_days" => {
                let older = NoncurrentVersionExpiration::builder().noncurrent_days(4).build();
                let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
                let both = |rule: LifecycleRuleBuilder| rule.noncurrent_version_expiration(older).expiration(markers);
                self.add_rule("deployer-older-versions", "", both).await;
            }
            "access_logs_end_days" => {
                let expiry = LifecycleExpiration::builder().days(90).build();
                self.add_rule("deployer-access-logs", "access-logs/", |rule| rule.expiration(expiry)).await;
            }
            "access_logs" => {
                self.allow_access_logs(IMAGES).await;
            }
            "versioned" => {
                let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                let call = s3.put_bucket_versioning().bucket(IMAGES).versioning_configuration(on);
                call.send().await.expect("versions can be kept");
            }
            "plain_http_denied" => {
                s3.delete_bucket_policy().bucket(IMAGES).send().await.expect("it has a policy");
            }
            "protected" => self.retag_bucket(|tags| tags.push(bucket_tag("deployer:protected", "true"))).await,
            _ => {
                assert_eq!(field, "tags.course");
                self.retag_bucket(|tags| tags.retain(|tag| tag.key() != TAG)).await;
            }
        }
    }

    async fn add_rule(&self, id: &str, prefix: &str, act: impl FnOnce(LifecycleRuleBuilder) -> LifecycleRuleBuilder) {
        let s3 = &self.aws.s3;
        let there = s3.get_bucket_lifecycle_configuration().bucket(IMAGES).send().await.ok();
        let mut rules = there.and_then(|there| there.rules).unwrap_or_default();
        let rule = LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled);
        let rule = rule.filter(LifecycleRuleFilter::builder().prefix(prefix).build());
        rules.push(act(rule).build().expect("a status is given"));
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().expect("a rule is given");
        let call = s3.put_bucket_lifecycle_configuration().bucket(IMAGES).lifecycle_configuration(rules);
        call.send().await.expect("a rule can be put");
    }

    /// Allows load balancers to store access logs in a bucket.
    pub(super) async fn allow_access_logs(&self, bucket: &str) {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Sid":"DeployerAllowAccessLogs","Effect":"Allow","Principal":{{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"}},"Action":"s3:PutObject","Resource":"arn:aws:s3:::{bucket}/by-hand/AWSLogs/000000000000/*"}}}}"#
        );
        self.aws.s3.put_bucket_policy().bucket(bucket).policy(policy).send().await.expect("a policy can be put");
    }

    async fn retag_bucket(&self, change: impl FnOnce(&mut Vec<BucketTag>)) {
        let there = self.aws.s3.get_bucket_tagging().bucket(IMAGES).send().await.expect("it has tags");
        let mut tags = there.tag_set;
        change(&mut tags);
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().expect("tags are given");
        self.aws.s3.put_bucket_tagging().bucket(IMAGES).tagging(tagging).send().await.expect("tags can be put");
    }

    pub(super) async fn change_artifact(&self, field: &str) {
        let (bucket, key) = self.artifact().await;
        let s3 = &self.aws.s3;
        match field {
            // Another program of the same size.
            "sha256" => {
                let there = s3.get_object().bucket(&bucket).key(&key).send().await.expect("it can be read");
                let mut program = there.body.collect().await.expect("it has a body").to_vec();
                *program.last_mut().expect("it is not empty") ^= 1;
                let call = s3.put_object().bucket(bucket).key(key).body(program.into());
                call.send().await.expect("it can be overwritten");
            }
            _ => {
                assert_eq!(field, "+");
                s3.delete_object().bucket(bucket).key(key).send().await.expect("it can be deleted");
            }
        }
    }

    pub(super) async fn notification(&self, field: &str) {
        let rules: &[(FilterRuleName, &str)] = match field.rsplit('.').next() {
            Some("function") => &[],
            Some("prefix") => &[(FilterRuleName::Prefix, "in/")],
            Some("suffix" | "events") => &[(FilterRuleName::Prefix, "in/"), (FilterRuleName::Suffix, ".png")],
            _ => return self.notify(None).await,
        };
        let rules = rules.iter().map(|(name, value)| FilterRule::builder().name(name.clone()).value(*value).build());
        let key = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
        let entry = LambdaFunctionConfiguration::builder()
            .id("deployer-upload")
            .lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:other")
            .events(if field.ends_with(".events") { Event::S3ObjectRemoved } else { Event::S3ObjectCreated })
            .filter(NotificationConfigurationFilter::builder().key(key).build());
        self.notify(Some(entry.build().expect("everything is given"))).await;
    }

    async fn notify(&self, entry: Option<LambdaFunctionConfiguration>) {
        let all = NotificationConfiguration::builder().set_lambda_function_configurations(entry.map(|it| vec![it]));
        let call = self.aws.s3.put_bucket_notification_configuration().bucket(IMAGES).skip_destination_validation(true);
        call.notification_configuration(all.build()).send().await.expect("notifications can be changed");
    }

    pub(super) async fn table(&self, field: &str) {
        let dynamodb = &self.aws.dynamodb;
        let table = "postagram-posts";
        let update = dynamodb.update_table().table_name(table);
        match field {
            "billing" => {
                let throughput = ProvisionedThroughput::builder().read_capacity_units(1).write_capacity_units(1);
                let update = update.billing_mode(BillingMode::Provisioned);
                let update = update.provisioned_throughput(throughput.build().expect("both are given"));
                update.send().await.expect("it can be paid for in another way");
            }
            "key" => {
                let key =
                    SseSpecification::builder().enabled(true).sse_type(SseType::Kms).kms_master_key_id(KEY).build();
                update.sse_specification(key).send().await.expect("it can have a key");
            }
            "protected" => drop(update.deletion_protection_enabled(true).send().await.expect("it can be protected")),
            "indexes.by-hand" => {
                let string = |name: &str| {
                    let defined = AttributeDefinition::builder().attribute_name(name);
                    defined.attribute_type(ScalarAttributeType::S).build().expect("both are given")
                };
                let key = KeySchemaElement::builder().attribute_name("title").key_type(KeyType::Hash).build();
                let index = CreateGlobalSecondaryIndexAction::builder().index_name("by-hand");
                let index = index.key_schema(key.expect("both are given"));
                let keys = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
                let index = index.projection(keys).build().expect("name and keys are given");
                let update = ["user", "id", "title"]
                    .into_iter()
                    .map(string)
                    .fold(update, |update, attribute| update.attribute_definitions(attribute));
                let create = GlobalSecondaryIndexUpdate::builder().create(index).build();
                update.global_secondary_index_updates(create).send().await.expect("an index can be added");
            }
            "stream" => {
                let stream = StreamSpecification::builder().stream_enabled(true);
                let stream = stream.stream_view_type(StreamViewType::KeysOnly).build().expect("the switch is given");
                update.stream_specification(stream).send().await.expect("it can have a stream");
            }
            "time_to_live" => {
                let expiry = TimeToLiveSpecification::builder().attribute_name("ends").enabled(true).build();
                let call = dynamodb.update_time_to_live().table_name(table);
                let call = call.time_to_live_specification(expiry.expect("both are given"));
                call.send().await.expect("its rows can expire");
                // DynamoDB refuses the next change for an hour (docs/aws.md §5.2).
                testkit::eventually("the change is processed", async || {
                    let now = dynamodb.describe_time_to_live().table_name(table).send().await.ok()?;
                    let status = now.time_to_live_description?.time_to_live_status?;
                    (status == TimeToLiveStatus::Enabled).then_some(())
                })
                .await;
            }
            "point_in_time_recovery" => {
                let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
                let on = on.expect("it is given");
                // A new table refuses this call at first (docs/aws.md §5.2).
                testkit::eventually("backups", async || {
                    let call = dynamodb.update_continuous_backups().table_name(table);
                    call.point_in_time_recovery_specification(on.clone()).send().await.ok()
                })
                .await;
            }
            _ => {
                assert_eq!(field, "tags.course");
                let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/{table}");
                dynamodb.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.expect("it can be untagged");
            }
        }
    }
}
