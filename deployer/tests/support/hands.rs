//! Manual changes to the stack `postagram`, without the deployer.

use std::time::Duration;

use aws_sdk_autoscaling::types::{
    LaunchTemplateSpecification, MetricType, PredefinedMetricSpecification, Tag as GroupTag,
    TargetTrackingConfiguration,
};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexDescription,
    GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement, KeyType, LocalSecondaryIndex,
    PointInTimeRecoverySpecification, Projection, ProjectionType, ProvisionedThroughput, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableStatus, Tag as TableTag, TimeToLiveSpecification, TimeToLiveStatus,
};
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData, ResourceType, Tag, TagSpecification, VolumeType,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, LoadBalancerSchemeEnum, Matcher, ProtocolEnum, Tag as BalancerTag,
    TargetGroupAttribute, TargetGroupTuple,
};
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_lambda::{
    primitives::Blob,
    types::{Architecture, Environment, LastUpdateStatus, LoggingConfig, Runtime},
};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, Event, ExpirationStatus, FilterRule, FilterRuleName,
    LambdaFunctionConfiguration, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NotificationConfiguration,
    NotificationConfigurationFilter, ObjectOwnership, OwnershipControls, OwnershipControlsRule, S3KeyFilter,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    Tag as BucketTag, Tagging, VersioningConfiguration,
};
use deployer::{cloud::aws::Aws, engine::STACK_TAG, package};

/// The tag that is removed from every resource.
const TAG: &str = "course";
const IMAGES: &str = "postagram-images-000000000000-us-east-1";
const FUNCTION: &str = "postagram-labeler";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:postagram-labeler";
const LOG_GROUP: &str = "/aws/lambda/postagram-labeler";
const ROLE: &str = "postagram-us-east-1-labeler-fn";
const PROFILE: &str = "postagram-us-east-1-web-svc";
const WEB: &str = "postagram-web";
/// The name of the target group and of the Auto Scaling group at one port.
const AT_PORT: &str = "postagram-web-8080";

/// Unowned instance profiles.
const BY_HAND: [&str; 2] = ["by-hand", "by-hand-too"];
/// Two of AWS's own policies.
const MANAGED: [&str; 2] =
    ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"];

/// Makes changes with the account's own credentials.
pub struct Hands<'a> {
    aws: &'a Aws,
}

/// The fields of a function's permission, in the order in which they are changed.
const PERMISSION: [&str; 4] = ["action", "principal", "source_arn", "source_account"];

impl<'a> Hands<'a> {
    pub fn of(aws: &'a Aws) -> Hands<'a> {
        Hands { aws }
    }

    /// Changes one field of one resource.
    pub async fn change(&self, address: &str, field: &str) {
        match address {
            "bucket.images" => self.bucket(field).await,
            "table.posts" => self.table(field).await,
            "log_group.labeler" => self.log_group(field).await,
            "role.labeler-fn" => self.role(field).await,
            "instance_profile.web" => self.profile(field).await,
            "function.labeler" => self.function(field).await,
            "permissions.labeler" => self.permission(field).await,
            "notification.images" => self.notification(field).await,
            "security_group.web-lb" => self.firewall(field).await,
            "target_group.web" => self.target_group(field).await,
            "load_balancer.web" => self.balancer(field).await,
            "listener.web" => self.listener(field).await,
            "default_action.web" => self.share(1).await,
            "scaling_policy.web" => self.scaling_policy(field).await,
            "auto_scaling_group.web" => self.group(field).await,
            "artifact.web" => self.change_artifact(field).await,
            "launch_template.web" => self.template(field).await,
            _ => panic!("there is no change by hand for {address}"),
        }
        if address.starts_with("table.") || address.starts_with("function.") {
            self.settled().await;
        }
    }

    async fn bucket(&self, field: &str) {
        let s3 = &self.aws.s3;
        match field {
            "public_access_blocked" => {
                s3.delete_public_access_block().bucket(IMAGES).send().await.expect("it can be opened");
            }
            "encryption" => {
                let by = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).build();
                let rule = ServerSideEncryptionRule::builder()
                    .apply_server_side_encryption_by_default(by.expect("an algorithm is given"))
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
                let rule = LifecycleRule::builder()
                    .id("deployer-boot-reports")
                    .status(ExpirationStatus::Enabled)
                    .filter(LifecycleRuleFilter::builder().prefix("boot/").build())
                    .expiration(LifecycleExpiration::builder().days(14).build());
                let rule = rule.build().expect("a status is given");
                let rules = BucketLifecycleConfiguration::builder().rules(rule).build().expect("a rule is given");
                let call = s3.put_bucket_lifecycle_configuration().bucket(IMAGES).lifecycle_configuration(rules);
                call.send().await.expect("a rule can be put");
            }
            "protected" => self.retag_bucket(|tags| tags.push(bucket_tag("deployer:protected", "true"))).await,
            _ => {
                assert_eq!(field, "tags.course");
                self.retag_bucket(|tags| tags.retain(|tag| tag.key() != TAG)).await;
            }
        }
    }

    async fn retag_bucket(&self, change: impl FnOnce(&mut Vec<BucketTag>)) {
        let there = self.aws.s3.get_bucket_tagging().bucket(IMAGES).send().await.expect("it has tags");
        let mut tags = there.tag_set;
        change(&mut tags);
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().expect("tags are given");
        self.aws.s3.put_bucket_tagging().bucket(IMAGES).tagging(tagging).send().await.expect("tags can be put");
    }

    async fn table(&self, field: &str) {
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

    async fn log_group(&self, field: &str) {
        let logs = &self.aws.logs;
        match field {
            "retention_days" => {
                let call = logs.put_retention_policy().log_group_name(LOG_GROUP).retention_in_days(30);
                call.send().await.expect("it can be kept longer");
            }
            "+" => drop(logs.delete_log_group().log_group_name(LOG_GROUP).send().await.expect("it can be deleted")),
            _ => {
                assert_eq!(field, "tags.course");
                let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}");
                logs.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.expect("it can be untagged");
            }
        }
    }

    async fn role(&self, field: &str) {
        let iam = &self.aws.iam;
        let document = |version: &str| {
            format!(
                r#"{{"Version":"{version}","Statement":[{{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}}]}}"#
            )
        };
        let write =
            |document: String| iam.put_role_policy().role_name(ROLE).policy_name("deployer").policy_document(document);
        match field {
            "trusted_service" => {
                let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
                let call = iam.update_assume_role_policy().role_name(ROLE).policy_document(trust);
                call.send().await.expect("it can be trusted to another");
            }
            "policy.Statement" => drop(write(document("2012-10-17")).send().await.expect("it can be written")),
            "policy.Version" => drop(write(document("2008-10-17")).send().await.expect("it can be written")),
            "policy" => {
                let call = iam.delete_role_policy().role_name(ROLE).policy_name("deployer");
                call.send().await.expect("it can be deleted");
            }
            _ => {
                assert_eq!(field, "tags.course");
                iam.untag_role().role_name(ROLE).tag_keys(TAG).send().await.expect("it can be untagged");
            }
        }
    }

    async fn profile(&self, field: &str) {
        let iam = &self.aws.iam;
        match field {
            "role" => {
                let call = iam.remove_role_from_instance_profile().instance_profile_name(PROFILE);
                call.role_name(PROFILE).send().await.expect("the role can be taken out");
            }
            _ => {
                assert_eq!(field, "tags.course");
                let call = iam.untag_instance_profile().instance_profile_name(PROFILE).tag_keys(TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    /// Waits until AWS has finished its changes, which would otherwise show as differences.
    async fn settled(&self) {
        let table = self.aws.dynamodb.describe_table().table_name("postagram-posts");
        let function = self.aws.lambda.get_function_configuration().function_name(FUNCTION);
        loop {
            let table = table.clone().send().await.expect("the table is there").table.expect("it is described");
            // Not every test has a function.
            let status = function.clone().send().await.ok().and_then(|function| function.last_update_status);
            let updating = status == Some(LastUpdateStatus::InProgress);
            let built = |index: &GlobalSecondaryIndexDescription| index.index_status() == Some(&IndexStatus::Active);
            let is_built = table.global_secondary_indexes().iter().all(built);
            if table.table_status == Some(TableStatus::Active) && is_built && !updating {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn function(&self, field: &str) {
        let lambda = &self.aws.lambda;
        let update = lambda.update_function_configuration().function_name(FUNCTION);
        let other_code = lambda.update_function_code().function_name(FUNCTION);
        let other_zip = Blob::new(package::function_zip(b"#!/bin/sh\n"));
        let changed = match field {
            "code_sha256" => return drop(other_code.zip_file(other_zip).send().await.expect("code can be changed")),
            "architecture" => {
                let call = other_code.zip_file(other_zip).architectures(Architecture::Arm64);
                return drop(call.send().await.expect("the architecture can be changed"));
            }
            "tags.course" => {
                let call = lambda.untag_resource().resource(FUNCTION_ARN).tag_keys(TAG);
                return drop(call.send().await.expect("it can be untagged"));
            }
            "runtime" => update.runtime(Runtime::Providedal2),
            "handler" => update.handler("other"),
            "memory_mb" => update.memory_size(512),
            "timeout_s" => update.timeout(60),
            "role" => update.role(self.other_role().await),
            "log_group" => {
                self.aws.logs.create_log_group().log_group_name("/elsewhere").send().await.expect("it can be made");
                update.logging_config(LoggingConfig::builder().log_group("/elsewhere").build())
            }
            variable => {
                let there = lambda.get_function_configuration().function_name(FUNCTION).send().await;
                let there = there.expect("it is there").environment.and_then(|there| there.variables);
                let mut variables = there.unwrap_or_default();
                let (name, value) = match variable {
                    "environment.BUCKET" => ("BUCKET", "elsewhere"),
                    "environment.DEBUG" => ("DEBUG", "1"),
                    other => panic!("there is no change by hand for {other}"),
                };
                variables.insert(name.into(), value.into());
                update.environment(Environment::builder().set_variables(Some(variables)).build())
            }
        };
        changed.send().await.expect("the configuration can be changed");
    }

    /// Creates another role that a function could assume.
    async fn other_role(&self) -> String {
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let call = self.aws.iam.create_role().role_name("somebodys-other").assume_role_policy_document(trust);
        call.send().await.expect("a role can be made").role.expect("it has been made").arn
    }

    /// Replaces the statement, because statements cannot be changed: the new one keeps the previous changes.
    async fn permission(&self, field: &str) {
        let (lambda, id) = (&self.aws.lambda, "deployer-images");
        let remove = lambda.remove_permission().function_name(FUNCTION).statement_id(id);
        remove.send().await.expect("the statement is there");
        let field = field.rsplit('.').next().unwrap_or(field);
        let Some(last) = PERMISSION.iter().position(|name| *name == field) else {
            return assert_eq!(field, id, "the whole statement");
        };
        let pick =
            |index: usize, ours: &str, other: &str| if index <= last { other.to_owned() } else { ours.to_owned() };
        lambda
            .add_permission()
            .function_name(FUNCTION)
            .statement_id(id)
            .action(pick(0, "lambda:InvokeFunction", "lambda:GetFunction"))
            .principal(pick(1, "s3.amazonaws.com", "sns.amazonaws.com"))
            .source_arn(pick(2, &format!("arn:aws:s3:::{IMAGES}"), "arn:aws:s3:::other"))
            .source_account(pick(3, "000000000000", "999999999999"))
            .send()
            .await
            .expect("a statement can be added");
    }

    async fn notification(&self, field: &str) {
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

    async fn firewall(&self, field: &str) {
        let group = self.firewall_id("postagram-web-lb").await;
        match field {
            "ingress" => {
                let call = self.aws.ec2.authorize_security_group_ingress().group_id(group).ip_protocol("tcp");
                let call = call.from_port(22).to_port(22).cidr_ip("0.0.0.0/0");
                call.send().await.expect("a door can be opened");
            }
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_ec2(group).await;
            }
        }
    }

    async fn firewall_id(&self, name: &str) -> String {
        let groups = self.aws.ec2.describe_security_groups().send().await.expect("security groups");
        let group = groups.security_groups().iter().find(|group| group.group_name() == Some(name));
        group.and_then(|group| group.group_id()).expect("it is there").to_owned()
    }

    async fn untag_in_ec2(&self, id: String) {
        let call = self.aws.ec2.delete_tags().resources(id).tags(Tag::builder().key(TAG).build());
        call.send().await.expect("it can be untagged");
    }

    async fn target_group(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.target_group_arn().await;
        let update = elb.modify_target_group().target_group_arn(&arn);
        let changed = match field {
            "health_check.path" => update.health_check_path("/elsewhere"),
            "health_check.interval_s" => update.health_check_interval_seconds(60),
            "health_check.timeout_s" => update.health_check_timeout_seconds(7),
            "health_check.healthy" => update.healthy_threshold_count(9),
            "health_check.unhealthy" => update.unhealthy_threshold_count(8),
            "health_check.matcher" => update.matcher(Matcher::builder().http_code("204").build()),
            "deregistration_delay_s" => {
                let delay = TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("300");
                let call = elb.modify_target_group_attributes().target_group_arn(arn).attributes(delay.build());
                return drop(call.send().await.expect("the delay can be changed"));
            }
            _ => {
                assert_eq!(field, "tags.course");
                return self.untag_in_elb(arn).await;
            }
        };
        changed.send().await.expect("the health check can be changed");
    }

    /// The ARN of the target group.
    pub async fn target_group_arn(&self) -> String {
        let groups = self.aws.elb.describe_target_groups().names(AT_PORT).send().await;
        groups.expect("it is there").target_groups()[0].target_group_arn().expect("it has an ARN").to_owned()
    }

    async fn untag_in_elb(&self, arn: String) {
        self.aws.elb.remove_tags().resource_arns(arn).tag_keys(TAG).send().await.expect("it can be untagged");
    }

    async fn balancer(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.load_balancer().await;
        match field {
            "subnets" => {
                let subnets = self.other_subnets().await;
                let call = elb.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets));
                call.send().await.expect("it can be put elsewhere");
            }
            "security_groups" => {
                let call = elb.set_security_groups().load_balancer_arn(arn);
                let call = call.security_groups(self.firewall_id(AT_PORT).await);
                call.send().await.expect("it can have another security group");
            }
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_elb(arn).await;
            }
        }
    }

    /// The ARN of the load balancer.
    pub async fn load_balancer(&self) -> String {
        let balancers = self.aws.elb.describe_load_balancers().names(WEB).send().await.expect("it is there");
        balancers.load_balancers()[0].load_balancer_arn().expect("it has an ARN").to_owned()
    }

    /// Two subnets other than exactly those of the load balancer.
    async fn other_subnets(&self) -> Vec<String> {
        let subnets = self.aws.ec2.describe_subnets().send().await.expect("subnets");
        let mut ids: Vec<_> = subnets.subnets().iter().filter_map(|it| it.subnet_id().map(str::to_owned)).collect();
        ids.sort();
        ids.split_off(ids.len() - 2)
    }

    /// The default network.
    pub async fn vpc(&self) -> String {
        let networks = self.aws.ec2.describe_vpcs().send().await.expect("networks");
        networks.vpcs()[0].vpc_id().expect("it has an id").to_owned()
    }

    /// The ARN of the load balancer's listener.
    pub async fn listener_arn(&self) -> String {
        let listeners = self.aws.elb.describe_listeners().load_balancer_arn(self.load_balancer().await).send().await;
        listeners.expect("listeners").listeners()[0].listener_arn().expect("it has an ARN").to_owned()
    }

    /// Makes the listener send this many of ten requests to our target group, and the others to another one.
    async fn share(&self, ours: i32) {
        let elb = &self.aws.elb;
        let other = elb.create_target_group().name("other").port(1).protocol(ProtocolEnum::Http);
        let other = other.vpc_id(self.vpc().await).send().await.expect("a target group can be made, or is there");
        let other = other.target_groups()[0].target_group_arn().expect("it has an ARN").to_owned();
        let shares = [(self.target_group_arn().await, ours), (other, 10 - ours)].into_iter();
        let shares = shares.filter(|(_, weight)| *weight > 0);
        let shares =
            shares.map(|(arn, weight)| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build());
        let config = ForwardActionConfig::builder().set_target_groups(Some(shares.collect())).build();
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        let call = elb.modify_listener().listener_arn(self.listener_arn().await).default_actions(forward);
        call.send().await.expect("it can forward elsewhere");
    }

    async fn listener(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.listener_arn().await;
        let update = elb.modify_listener().listener_arn(&arn);
        match field {
            "port" => drop(update.port(81).send().await.expect("it can be moved")),
            "target_group" => self.share(0).await,
            "+" => drop(elb.delete_listener().listener_arn(arn).send().await.expect("it can be deleted")),
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_elb(arn).await;
            }
        }
    }

    async fn scaling_policy(&self, field: &str) {
        let autoscaling = &self.aws.autoscaling;
        let metric = match field {
            "target_percent" => MetricType::AsgAverageCpuUtilization,
            "metric" => MetricType::AsgAverageNetworkIn,
            _ => {
                assert_eq!(field, "+");
                let call = autoscaling.delete_policy().auto_scaling_group_name(AT_PORT).policy_name("cpu");
                return drop(call.send().await.expect("it can be deleted"));
            }
        };
        let metric = PredefinedMetricSpecification::builder().predefined_metric_type(metric).build();
        let tracking =
            TargetTrackingConfiguration::builder().predefined_metric_specification(metric).target_value(70.0).build();
        let call = autoscaling.put_scaling_policy().auto_scaling_group_name(AT_PORT).policy_name("cpu");
        let call = call.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking);
        call.send().await.expect("the policy can be changed");
    }

    async fn group(&self, field: &str) {
        let autoscaling = &self.aws.autoscaling;
        let update = autoscaling.update_auto_scaling_group().auto_scaling_group_name(AT_PORT);
        let template = LaunchTemplateSpecification::builder().version("$Latest");
        let changed = match field {
            "min" => update.min_size(0),
            "max" => update.max_size(5),
            "subnets" => update.vpc_zone_identifier(self.other_subnets().await.join(",")),
            "health_check_type" => update.health_check_type("EC2"),
            "grace_period_s" => update.health_check_grace_period(0),
            "warmup_s" => update.default_instance_warmup(10),
            "template.version" => update.launch_template(template.launch_template_name(WEB).build()),
            "template.id" => {
                let images = self.aws.ec2.describe_images().owners("amazon").send().await.expect("images");
                let image = images.images()[0].image_id().expect("it has an id");
                let data = RequestLaunchTemplateData::builder().image_id(image).instance_type(InstanceType::T3Micro);
                let make = self.aws.ec2.create_launch_template().launch_template_name("other");
                make.launch_template_data(data.build()).send().await.expect("a template can be made");
                update.launch_template(template.launch_template_name("other").build())
            }
            "target_groups" => {
                let call = autoscaling.detach_load_balancer_target_groups().auto_scaling_group_name(AT_PORT);
                let call = call.target_group_arns(self.target_group_arn().await);
                return drop(call.send().await.expect("it can be detached"));
            }
            _ => {
                assert_eq!(field, "tags.course");
                let tag = GroupTag::builder().key(TAG).resource_id(AT_PORT).resource_type("auto-scaling-group");
                let tag = tag.build();
                return drop(autoscaling.delete_tags().tags(tag).send().await.expect("it can be untagged"));
            }
        };
        changed.send().await.expect("the group can be changed");
    }

    async fn change_artifact(&self, field: &str) {
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

    /// The bucket and the key of the service's program.
    pub async fn artifact(&self) -> (String, String) {
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        let objects = self.aws.s3.list_objects_v2().bucket(bucket).prefix("services/web/").send().await;
        let key = objects.expect("objects").contents()[0].key().expect("it has a key").to_owned();
        (bucket.into(), key)
    }

    /// Creates a new version from the previous one, so that it keeps the previous changes.
    async fn template(&self, field: &str) {
        let data = RequestLaunchTemplateData::builder();
        let data = match field {
            // A version written by hand has an image of its own, even if it is the same one.
            "image" => data.instance_type(InstanceType::T3Micro),
            "instance_type" => data.instance_type(InstanceType::T3Small),
            "instance_profile" => {
                let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name("other");
                data.iam_instance_profile(profile.build())
            }
            "security_groups" => data.security_group_ids(self.firewall_id("postagram-web-lb").await),
            "user_data" => data.user_data("I2Nsb3VkLWNvbmZpZwo="),
            "metadata_endpoint" | "metadata_tokens" | "metadata_hops" => data.metadata_options(metadata(field)),
            "instance_tags.course" | "volume_tags.course" => {
                let data = data.tag_specifications(template_tags(ResourceType::Instance, "other"));
                let volumes = if field == "volume_tags.course" { "other" } else { "cloud" };
                data.tag_specifications(template_tags(ResourceType::Volume, volumes))
            }
            "tags.course" => {
                return self.untag_in_ec2(self.template_id().await).await;
            }
            disk => data.block_device_mappings(other_disk(disk)),
        };
        let call = self.aws.ec2.create_launch_template_version().launch_template_name(WEB).source_version("$Latest");
        let call = call.version_description("by hand").launch_template_data(data.build());
        call.send().await.expect("a version can be made");
    }

    /// Sets the owner of a resource: a stack, or none.
    pub async fn give(&self, address: &str, owner: Option<&str>) {
        match address {
            "bucket.images" => self.give_bucket(IMAGES, owner).await,
            "bucket.artifacts" => self.give_bucket("postagram-artifacts-000000000000-us-east-1", owner).await,
            "table.posts" => self.give_table(owner).await,
            "log_group.labeler" => self.give_log_group(owner).await,
            "role.labeler-fn" => self.give_role(owner).await,
            "instance_profile.web" => self.give_profile(owner).await,
            "function.labeler" => self.give_function(owner).await,
            "security_group.web-lb" => self.give_in_ec2(self.firewall_id("postagram-web-lb").await, owner).await,
            "launch_template.web" => self.give_in_ec2(self.template_id().await, owner).await,
            "target_group.web" => self.give_in_elb(self.target_group_arn().await, owner).await,
            "load_balancer.web" => self.give_in_elb(self.load_balancer().await, owner).await,
            "listener.web" => self.give_in_elb(self.listener_arn().await, owner).await,
            "auto_scaling_group.web" => self.give_group(owner).await,
            _ => panic!("{address} has no owner tags"),
        }
    }

    async fn give_bucket(&self, bucket: &str, owner: Option<&str>) {
        let there = self.aws.s3.get_bucket_tagging().bucket(bucket).send().await.expect("it has tags");
        let mut tags = there.tag_set;
        tags.retain(|tag| tag.key() != STACK_TAG);
        tags.extend(owner.map(|owner| bucket_tag(STACK_TAG, owner)));
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().expect("tags are given");
        self.aws.s3.put_bucket_tagging().bucket(bucket).tagging(tagging).send().await.expect("tags can be put");
    }

    async fn give_table(&self, owner: Option<&str>) {
        let (dynamodb, arn) = (&self.aws.dynamodb, "arn:aws:dynamodb:us-east-1:000000000000:table/postagram-posts");
        match owner {
            Some(owner) => {
                let tag = TableTag::builder().key(STACK_TAG).value(owner).build().expect("both are given");
                dynamodb.tag_resource().resource_arn(arn).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = dynamodb.untag_resource().resource_arn(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_log_group(&self, owner: Option<&str>) {
        let (logs, arn) = (&self.aws.logs, format!("arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}"));
        match owner {
            Some(owner) => drop(
                logs.tag_resource().resource_arn(arn).tags(STACK_TAG, owner).send().await.expect("it can be tagged"),
            ),
            None => {
                let call = logs.untag_resource().resource_arn(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_role(&self, owner: Option<&str>) {
        let iam = &self.aws.iam;
        match owner {
            Some(owner) => {
                let call = iam.tag_role().role_name(ROLE).tags(iam_tag(STACK_TAG, owner));
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = iam.untag_role().role_name(ROLE).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_profile(&self, owner: Option<&str>) {
        let iam = &self.aws.iam;
        match owner {
            Some(owner) => {
                let call = iam.tag_instance_profile().instance_profile_name(PROFILE).tags(iam_tag(STACK_TAG, owner));
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = iam.untag_instance_profile().instance_profile_name(PROFILE).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_function(&self, owner: Option<&str>) {
        let lambda = &self.aws.lambda;
        match owner {
            Some(owner) => {
                let call = lambda.tag_resource().resource(FUNCTION_ARN).tags(STACK_TAG, owner);
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = lambda.untag_resource().resource(FUNCTION_ARN).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_in_ec2(&self, id: String, owner: Option<&str>) {
        let ec2 = &self.aws.ec2;
        match owner {
            Some(owner) => {
                let tag = Tag::builder().key(STACK_TAG).value(owner).build();
                ec2.create_tags().resources(id).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = ec2.delete_tags().resources(id).tags(Tag::builder().key(STACK_TAG).build());
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_in_elb(&self, arn: String, owner: Option<&str>) {
        let elb = &self.aws.elb;
        match owner {
            Some(owner) => {
                let tag = BalancerTag::builder().key(STACK_TAG).value(owner).build();
                elb.add_tags().resource_arns(arn).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = elb.remove_tags().resource_arns(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_group(&self, owner: Option<&str>) {
        let autoscaling = &self.aws.autoscaling;
        let tag = GroupTag::builder().key(STACK_TAG).resource_id(AT_PORT).resource_type("auto-scaling-group");
        match owner {
            Some(owner) => {
                let tag = tag.value(owner).propagate_at_launch(true).build();
                autoscaling.create_or_update_tags().tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                autoscaling.delete_tags().tags(tag.build()).send().await.expect("it can be untagged");
            }
        }
    }

    async fn template_id(&self) -> String {
        let templates = self.aws.ec2.describe_launch_templates().launch_template_names(WEB).send().await;
        let templates = templates.expect("it is there");
        templates.launch_templates()[0].launch_template_id().expect("it has an id").to_owned()
    }

    /// Puts everything that a bucket can contain into the images bucket: two versions of each key, a delete marker for
    /// each, and an incomplete upload.
    pub async fn fill_bucket(&self, keys: &[&str]) {
        let s3 = &self.aws.s3;
        let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let call = s3.put_bucket_versioning().bucket(IMAGES).versioning_configuration(versioned);
        call.send().await.expect("versions can be kept");
        for key in keys {
            for version in ["one", "two"] {
                let call = s3.put_object().bucket(IMAGES).key(*key).body(version.as_bytes().to_vec().into());
                call.send().await.expect("an object can be put");
            }
            s3.delete_object().bucket(IMAGES).key(*key).send().await.expect("it can be deleted");
            s3.create_multipart_upload().bucket(IMAGES).key(*key).send().await.expect("an upload can be begun");
        }
    }

    /// Adds unowned items to the short lists that `down` reads: policies and profiles for the service's role, and a
    /// listener for the load balancer.
    pub async fn add_to_lists(&self) {
        let iam = &self.aws.iam;
        for policy in MANAGED {
            let call = iam.attach_role_policy().role_name(PROFILE).policy_arn(policy);
            call.send().await.expect("a policy can be attached");
        }
        let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
        let call = iam.put_role_policy().role_name(PROFILE).policy_name("by-hand").policy_document(document);
        call.send().await.expect("a policy can be written");
        for profile in BY_HAND {
            iam.create_instance_profile().instance_profile_name(profile).send().await.expect("a profile can be made");
            let call = iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(PROFILE);
            call.send().await.expect("a role can be in several profiles");
        }
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(self.target_group_arn().await);
        let call = self.aws.elb.create_listener().load_balancer_arn(self.load_balancer().await).port(8081);
        let call = call.protocol(ProtocolEnum::Http).default_actions(forward.build());
        call.send().await.expect("a second listener can be made");
    }

    /// Deletes those of the added items that are not deleted with the stack.
    pub async fn take_from_lists(&self) {
        for profile in BY_HAND {
            let call = self.aws.iam.delete_instance_profile().instance_profile_name(profile);
            call.send().await.expect("there is no role in it any more");
        }
    }

    /// Creates the resources that `up` would create, with our tags, but with other values for everything that is fixed
    /// at creation.
    pub async fn make_otherwise(&self) {
        self.make_table().await;
        self.settled().await;
        let tags =
            |resource: &str| [("deployer:stack", "postagram".to_owned()), ("deployer:resource", resource.into())];
        let firewalls = [("web-lb", "postagram-web-lb", "Whom the load balancer answers"), ("web", AT_PORT, "another")];
        for (entry, name, description) in firewalls {
            let tag = |(key, value)| Tag::builder().key(key).value(value).build();
            let tags = tags(&format!("security_group.{entry}")).map(tag);
            let tags =
                TagSpecification::builder().resource_type(ResourceType::SecurityGroup).set_tags(Some(tags.into()));
            let call = self.aws.ec2.create_security_group().group_name(name);
            let call = call.description(description).vpc_id(self.vpc().await).tag_specifications(tags.build());
            call.send().await.expect("a security group can be made");
        }
        let in_elb = |resource: &str| {
            let tag = |(key, value)| BalancerTag::builder().key(key).value(value).build();
            Some(tags(resource).map(tag).to_vec())
        };
        let call = self.aws.elb.create_target_group().name(AT_PORT).port(9090);
        let call = call.protocol(ProtocolEnum::Https).vpc_id(self.vpc().await);
        call.set_tags(in_elb("target_group.web")).send().await.expect("a target group can be made");
        let call = self.aws.elb.create_load_balancer().name(WEB).scheme(LoadBalancerSchemeEnum::Internal);
        let call = call.set_subnets(Some(self.other_subnets().await)).set_tags(in_elb("load_balancer.web"));
        call.send().await.expect("a load balancer can be made");
    }

    async fn make_table(&self) {
        let tag = |(key, value)| TableTag::builder().key(key).value(value).build().expect("both are given");
        let tags = [("deployer:stack", "postagram"), ("deployer:resource", "table.posts")].map(tag);
        let mut call = self.aws.dynamodb.create_table().table_name("postagram-posts").set_tags(Some(tags.into()));
        for (name, role) in [("other", KeyType::Hash), ("also", KeyType::Range)] {
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
            let attribute =
                AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
            call =
                call.key_schema(key.expect("both are given")).attribute_definitions(attribute.expect("both are given"));
        }
        let third = AttributeDefinition::builder().attribute_name("third").attribute_type(ScalarAttributeType::S);
        let keys = [("other", KeyType::Hash), ("third", KeyType::Range)].map(|(name, role)| {
            KeySchemaElement::builder().attribute_name(name).key_type(role).build().expect("both are given")
        });
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let index = LocalSecondaryIndex::builder().index_name("by-hand").set_key_schema(Some(keys.into()));
        let index = index.projection(all).build().expect("name and keys are given");
        let call = call.attribute_definitions(third.build().expect("both are given")).local_secondary_indexes(index);
        call.billing_mode(BillingMode::PayPerRequest).send().await.expect("a table can be made");
    }
}

fn bucket_tag(key: &str, value: &str) -> BucketTag {
    BucketTag::builder().key(key).value(value).build().expect("both are given")
}

fn iam_tag(key: &str, value: &str) -> RoleTag {
    RoleTag::builder().key(key).value(value).build().expect("both are given")
}

/// Options in which every field up to this one differs from the desired value.
fn metadata(field: &str) -> LaunchTemplateInstanceMetadataOptionsRequest {
    let (with_tokens, with_hops) = (field != "metadata_endpoint", field == "metadata_hops");
    let tokens =
        if with_tokens { LaunchTemplateHttpTokensState::Optional } else { LaunchTemplateHttpTokensState::Required };
    LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Disabled)
        .http_tokens(tokens)
        .http_put_response_hop_limit(if with_hops { 2 } else { 1 })
        .build()
}

/// The tags of the resources created from the launch template, with this value of the tag `course`.
fn template_tags(of: ResourceType, course: &str) -> LaunchTemplateTagSpecificationRequest {
    let tags =
        [("Name", WEB), (TAG, course), ("deployer:stack", "postagram"), ("deployer:resource", "launch_template.web")];
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    LaunchTemplateTagSpecificationRequest::builder().resource_type(of).set_tags(Some(tags.into())).build()
}

/// A disk in which every field up to this one differs from the desired value.
fn other_disk(field: &str) -> LaunchTemplateBlockDeviceMappingRequest {
    const FIELDS: [&str; 5] = ["device", "gb", "volume_type", "encrypted", "ends_with_instance"];
    let last = FIELDS.iter().position(|name| Some(*name) == field.strip_prefix("disk.")).expect("a field of the disk");
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(if last >= 1 { 99 } else { 8 })
        .volume_type(if last >= 2 { VolumeType::Gp2 } else { VolumeType::Gp3 })
        .encrypted(last < 3)
        .delete_on_termination(last < 4);
    LaunchTemplateBlockDeviceMappingRequest::builder().device_name("/dev/sdb").ebs(volume.build()).build()
}
