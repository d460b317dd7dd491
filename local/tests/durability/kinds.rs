//! The kinds of state that must not be lost, and how each is written and read.

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use aws_sdk_lambda::types::{FunctionCode, LastUpdateStatus, Runtime, State};
use aws_sdk_s3::primitives::{Blob, ByteStream};
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, CreateBucketConfiguration, Event,
    LambdaFunctionConfiguration, NotificationConfiguration, VersioningConfiguration,
};
use fastrand::Rng;

use testkit::clients;

/// The kinds of state that must not be lost, each stored in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Item,
    /// An item that counts: no write may be lost, and none may be applied twice.
    Counter,
    Table,
    Object,
    ObjectTag,
    /// The number of an object's versions.
    Versions,
    Part,
    CompletedUpload,
    Bucket,
    Notification,
    LogLine,
    LogGroup,
    Role,
    RolePolicy,
    Function,
    Permission,
    InstanceTag,
    SecurityGroup,
    LaunchTemplate,
    AutoScalingGroup,
    LoadBalancer,
    /// The comment of a hosted zone.
    HostedZone,
    /// A tag of a certificate.
    Certificate,
}

pub const KINDS: [Kind; 23] = [
    Kind::Item,
    Kind::Counter,
    Kind::Table,
    Kind::Object,
    Kind::ObjectTag,
    Kind::Versions,
    Kind::Part,
    Kind::CompletedUpload,
    Kind::Bucket,
    Kind::Notification,
    Kind::LogLine,
    Kind::LogGroup,
    Kind::Role,
    Kind::RolePolicy,
    Kind::Function,
    Kind::Permission,
    Kind::InstanceTag,
    Kind::SecurityGroup,
    Kind::LaunchTemplate,
    Kind::AutoScalingGroup,
    Kind::LoadBalancer,
    Kind::HostedZone,
    Kind::Certificate,
];
/// The number of concurrent writers. Each has its own names, so that it knows what they hold.
pub const WRITERS: usize = 4;
pub const NAMES: usize = 3;
pub const BUCKET: &str = "kept";
const VERSIONED: &str = "versioned";

pub const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const ROLE: &str = "arn:aws:iam::000000000000:role/kept";

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Kind {
    /// Whether it is only created and deleted, and never changed in between.
    pub fn is_never_changed(self) -> bool {
        matches!(
            self,
            Kind::Table
                | Kind::Bucket
                | Kind::LogGroup
                | Kind::Role
                | Kind::Function
                | Kind::Permission
                | Kind::SecurityGroup
                | Kind::LaunchTemplate
                | Kind::AutoScalingGroup
                | Kind::LoadBalancer
        )
    }
}

/// Returns the next value of a name that holds `old`.
pub fn new_value(kind: Kind, old: Option<&str>, random: &mut Rng) -> Option<String> {
    let text = |random: &mut Rng, most: usize| {
        let length = random.usize(1..most);
        std::iter::repeat_with(|| random.alphanumeric()).take(length).collect::<String>()
    };
    match kind {
        Kind::Counter | Kind::Versions => Some((old.map_or(0, |old| old.parse::<u64>().unwrap()) + 1).to_string()),
        Kind::Item
        | Kind::Object
        | Kind::CompletedUpload
        | Kind::RolePolicy
        | Kind::InstanceTag
        | Kind::Notification
            if random.u8(..4) == 0 =>
        {
            None
        }
        // Enough to fill the log of items several times.
        Kind::Item => Some(text(random, 60_000)),
        Kind::Object | Kind::Part | Kind::CompletedUpload => Some(text(random, 200_000)),
        kind if kind.is_never_changed() => old.is_none().then(|| text(random, 60)),
        _ => Some(text(random, 100)),
    }
}

/// Returns the form in which a value is read back: for a part, only its checksum can be read.
pub fn shown(kind: Kind, value: Option<&str>) -> Option<String> {
    value.map(|text| if kind == Kind::Part { md5(text) } else { text.to_owned() })
}

fn md5(text: &str) -> String {
    use md5::Digest;
    format!("\"{}\"", hex::encode(md5::Md5::digest(text)))
}

fn part_number(name: &str) -> i32 {
    name.bytes().filter(u8::is_ascii_digit).fold(1, |number, digit| number * 10 + i32::from(digit - b'0'))
}

/// A client of each service, and the id of the upload whose parts are written.
#[derive(Clone)]
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub s3: aws_sdk_s3::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub iam: aws_sdk_iam::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub ec2: aws_sdk_ec2::Client,
    pub groups: aws_sdk_autoscaling::Client,
    pub balancing: aws_sdk_elasticloadbalancingv2::Client,
    pub route53: aws_sdk_route53::Client,
    pub acm: aws_sdk_acm::Client,
    upload: String,
}

/// Creates the resources that the writers need. Returns the id of an upload.
pub async fn prepare(config: &SdkConfig) -> String {
    let world = Clients::new(config, "");
    table(&world.dynamodb).await;
    world.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    world.s3.create_bucket().bucket(VERSIONED).send().await.unwrap();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    world.s3.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(on).send().await.unwrap();
    world.logs.create_log_group().log_group_name("kept").send().await.unwrap();
    world.iam.create_role().role_name("kept").assume_role_policy_document(TRUST).send().await.unwrap();
    world.new_template("kept", "for groups").await.unwrap();
    for number in 0..WRITERS {
        // One function per writer: concurrent changes to one function's permissions overwrite each other.
        world.new_function(&format!("kept-{number}"), "").await.unwrap();
        for name in 0..NAMES {
            let name = format!("writer-{number}-{name}");
            world.logs.create_log_stream().log_group_name("kept").log_stream_name(&name).send().await.unwrap();
            world.s3.put_object().bucket(BUCKET).key(format!("tagged/{name}")).send().await.unwrap();
            world.s3.create_bucket().bucket(notified_bucket(&name)).send().await.unwrap();
            world.route53.create_hosted_zone().name(domain(&name)).caller_reference(&name).send().await.unwrap();
            let request = world.acm.request_certificate().domain_name(domain(&name));
            request.validation_method(aws_sdk_acm::types::ValidationMethod::Dns).send().await.unwrap();
        }
    }
    let upload = world.s3.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    upload.upload_id().unwrap().to_owned()
}

pub async fn table(dynamodb: &aws_sdk_dynamodb::Client) {
    new_table(dynamodb, "kept").send().await.unwrap();
    clients::table_is_active(dynamodb, "kept").await;
}

pub fn new_table(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> CreateTableFluentBuilder {
    let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(attribute.build().unwrap())
}

/// The domain of the hosted zone and of the certificate that represent this name.
fn domain(name: &str) -> String {
    format!("{name}.example.com")
}

/// The bucket whose notifications represent this name.
fn notified_bucket(name: &str) -> String {
    format!("noted-{name}")
}

/// The function whose permissions represent this name.
fn permitted_function(name: &str) -> String {
    let writer = name.split('-').nth(1).unwrap_or_default();
    format!("kept-{writer}")
}

/// A zip file with this program.
pub fn zip_of(bootstrap: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(bootstrap).unwrap();
    writer.finish().unwrap().into_inner()
}

/// Returns the answer, or `None` if its error has the code `absent`.
pub fn found<T, E, R>(answer: Result<T, SdkError<E, R>>, absent: &str) -> Result<Option<T>, BoxError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match answer {
        Ok(there) => Ok(Some(there)),
        Err(fault) if fault.code() == Some(absent) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

/// Polls until the condition is true; fails if the server ends.
async fn until<F: Future<Output = Result<bool, BoxError>>>(mut is_so: impl FnMut() -> F) -> Result<(), BoxError> {
    while !is_so().await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

impl Clients {
    pub fn new(config: &SdkConfig, upload: &str) -> Clients {
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            s3: clients::s3(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            groups: aws_sdk_autoscaling::Client::new(config),
            balancing: aws_sdk_elasticloadbalancingv2::Client::new(config),
            route53: aws_sdk_route53::Client::new(config),
            acm: aws_sdk_acm::Client::new(config),
            upload: upload.to_owned(),
        }
    }

    /// Makes `name` hold this value, or deletes it.
    pub async fn write(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        match kind {
            Kind::Item | Kind::Counter | Kind::Table => self.write_in_dynamodb(kind, name, value).await,
            Kind::Object | Kind::ObjectTag | Kind::Versions | Kind::Part | Kind::CompletedUpload => {
                self.write_object(kind, name, value).await
            }
            Kind::Bucket | Kind::Notification => self.write_bucket(kind, name, value).await,
            Kind::LogLine | Kind::LogGroup => self.write_log(kind, name, value).await,
            Kind::Role | Kind::RolePolicy => self.write_role(kind, name, value).await,
            Kind::Function | Kind::Permission => self.write_function(kind, name, value).await,
            Kind::InstanceTag | Kind::SecurityGroup | Kind::LaunchTemplate => {
                self.write_in_ec2(kind, name, value).await
            }
            Kind::AutoScalingGroup | Kind::LoadBalancer => self.write_scaled(kind, name, value).await,
            Kind::HostedZone | Kind::Certificate => self.write_domain(kind, name, value.unwrap_or_default()).await,
        }
    }

    async fn write_in_dynamodb(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let dynamodb = &self.dynamodb;
        let key = || AttributeValue::S(format!("{kind:?}/{name}"));
        match (kind, value) {
            (Kind::Table, None) => {
                dynamodb.delete_table().table_name(name).send().await?;
                until(async || Ok(self.read(kind, name).await?.is_none())).await?;
            }
            (Kind::Table, Some(value)) => {
                let tag = aws_sdk_dynamodb::types::Tag::builder().key("v").value(value).build()?;
                new_table(dynamodb, name).tags(tag).send().await?;
                until(async || {
                    let table = dynamodb.describe_table().table_name(name).send().await?.table;
                    Ok(table.is_some_and(|table| table.table_status == Some(TableStatus::Active)))
                })
                .await?;
            }
            (Kind::Counter, _) => {
                let update =
                    dynamodb.update_item().table_name("kept").key("name", key()).update_expression("ADD v :one");
                update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await?;
            }
            (_, None) => drop(dynamodb.delete_item().table_name("kept").key("name", key()).send().await?),
            (_, Some(value)) => {
                let value = AttributeValue::S(value.to_owned());
                dynamodb.put_item().table_name("kept").item("name", key()).item("v", value).send().await?;
            }
        }
        Ok(())
    }

    async fn write_domain(&self, kind: Kind, name: &str, value: &str) -> Result<(), BoxError> {
        if kind == Kind::HostedZone {
            let update = self.route53.update_hosted_zone_comment().id(self.zone(name).await?.id).comment(value);
            update.send().await?;
            return Ok(());
        }
        let tag = aws_sdk_acm::types::Tag::builder().key("v").value(value).build()?;
        let add = self.acm.add_tags_to_certificate().certificate_arn(self.certificate(name).await?).tags(tag);
        add.send().await?;
        Ok(())
    }

    async fn read_domain(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::HostedZone {
            return Ok(self.zone(name).await?.config.and_then(|config| config.comment));
        }
        let tags = self.acm.list_tags_for_certificate().certificate_arn(self.certificate(name).await?).send().await?;
        Ok(tags.tags().first().and_then(|tag| tag.value.clone()))
    }

    async fn zone(&self, name: &str) -> Result<aws_sdk_route53::types::HostedZone, BoxError> {
        let zones = self.route53.list_hosted_zones_by_name().dns_name(domain(name)).max_items(1).send().await?;
        zones.hosted_zones.into_iter().next().ok_or_else(|| format!("the zone of {name} is gone").into())
    }

    async fn certificate(&self, name: &str) -> Result<String, BoxError> {
        let certificates = self.acm.list_certificates().send().await?.certificate_summary_list.unwrap_or_default();
        let domain = domain(name);
        let found = certificates.into_iter().find(|one| one.domain_name.as_deref() == Some(domain.as_str()));
        found.and_then(|one| one.certificate_arn).ok_or_else(|| format!("the certificate of {name} is gone").into())
    }

    async fn write_object(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let s3 = &self.s3;
        let body = || ByteStream::from(value.unwrap_or_default().as_bytes().to_vec());
        match (kind, value) {
            (Kind::ObjectTag, value) => {
                let tag = aws_sdk_s3::types::Tag::builder().key("v").value(value.unwrap_or_default()).build()?;
                let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build()?;
                s3.put_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).tagging(tags).send().await?;
            }
            (Kind::Versions, _) => drop(s3.put_object().bucket(VERSIONED).key(name).body(body()).send().await?),
            (Kind::Part, _) => {
                let part = s3.upload_part().bucket(BUCKET).key("parts").upload_id(&self.upload);
                part.part_number(part_number(name)).body(body()).send().await?;
            }
            (Kind::CompletedUpload, Some(_)) => {
                let key = format!("completed/{name}");
                let upload = s3.create_multipart_upload().bucket(BUCKET).key(&key).send().await?;
                let id = upload.upload_id().unwrap_or_default();
                let part = s3.upload_part().bucket(BUCKET).key(&key).upload_id(id).part_number(1).body(body());
                let part = CompletedPart::builder().part_number(1).set_e_tag(part.send().await?.e_tag).build();
                let parts = CompletedMultipartUpload::builder().parts(part).build();
                let complete = s3.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(id);
                complete.multipart_upload(parts).send().await?;
            }
            (Kind::CompletedUpload, None) => {
                s3.delete_object().bucket(BUCKET).key(format!("completed/{name}")).send().await?;
            }
            (_, None) => drop(s3.delete_object().bucket(BUCKET).key(name).send().await?),
            (_, Some(_)) => drop(s3.put_object().bucket(BUCKET).key(name).body(body()).send().await?),
        }
        Ok(())
    }

    async fn write_bucket(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let s3 = &self.s3;
        match (kind, value) {
            (Kind::Notification, value) => {
                let function = |id: &str| {
                    let rule = LambdaFunctionConfiguration::builder().id(id).events(Event::S3ObjectCreated);
                    rule.lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:kept-0").build()
                };
                let rules = value.map(function).transpose()?.map(|rule| vec![rule]);
                let rules = NotificationConfiguration::builder().set_lambda_function_configurations(rules).build();
                let put = s3.put_bucket_notification_configuration().bucket(notified_bucket(name));
                put.skip_destination_validation(true).notification_configuration(rules).send().await?;
            }
            (_, None) => drop(s3.delete_bucket().bucket(name).send().await?),
            (_, Some(value)) => {
                let tag = aws_sdk_s3::types::Tag::builder().key("v").value(value).build()?;
                let tagged = CreateBucketConfiguration::builder().tags(tag).build();
                let create = s3.create_bucket().bucket(name).create_bucket_configuration(tagged);
                // The name of a deleted bucket is not free immediately.
                until(async || Ok(found(create.clone().send().await, "OperationAborted")?.is_some())).await?;
            }
        }
        Ok(())
    }

    async fn write_log(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let logs = &self.logs;
        match (kind, value) {
            (Kind::LogLine, value) => {
                let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
                let event = InputLogEvent::builder().message(value.unwrap_or_default()).timestamp(now).build()?;
                logs.put_log_events().log_group_name("kept").log_stream_name(name).log_events(event).send().await?;
            }
            (_, None) => drop(logs.delete_log_group().log_group_name(name).send().await?),
            (_, Some(value)) => drop(logs.create_log_group().log_group_name(name).tags("v", value).send().await?),
        }
        Ok(())
    }

    async fn write_role(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let iam = &self.iam;
        match (kind, value) {
            (Kind::Role, None) => drop(iam.delete_role().role_name(name).send().await?),
            (Kind::Role, Some(value)) => {
                iam.create_role().role_name(name).assume_role_policy_document(TRUST).description(value).send().await?;
            }
            (_, None) => {
                if self.read(kind, name).await?.is_some() {
                    iam.delete_role_policy().role_name("kept").policy_name(name).send().await?;
                }
            }
            (_, Some(value)) => {
                let statement = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;
                let document = format!("{{\"Version\":\"2012-10-17\",\"Id\":\"{value}\",\"Statement\":{statement}}}");
                iam.put_role_policy().role_name("kept").policy_name(name).policy_document(document).send().await?;
            }
        }
        Ok(())
    }

    async fn write_function(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let lambda = &self.lambda;
        match (kind, value) {
            (Kind::Function, None) => drop(lambda.delete_function().function_name(name).send().await?),
            (Kind::Function, Some(value)) => self.new_function(name, value).await?,
            (_, None) => {
                lambda.remove_permission().function_name(permitted_function(name)).statement_id(name).send().await?;
            }
            (_, Some(value)) => {
                let add = lambda.add_permission().function_name(permitted_function(name)).statement_id(name);
                let add = add.principal("s3.amazonaws.com").action("lambda:InvokeFunction");
                add.source_arn(format!("arn:aws:s3:::{value}")).send().await?;
            }
        }
        Ok(())
    }

    async fn new_function(&self, name: &str, description: &str) -> Result<(), BoxError> {
        let code = FunctionCode::builder().zip_file(Blob::new(zip_of(b"#!/bin/sh\nexit 1"))).build();
        let create = self.lambda.create_function().function_name(name).runtime(Runtime::Providedal2023);
        create.handler("bootstrap").role(ROLE).description(description).code(code).send().await?;
        until(async || {
            let found = self.lambda.get_function_configuration().function_name(name).send().await?;
            let settled = found.last_update_status == Some(LastUpdateStatus::Successful);
            Ok(settled && found.state == Some(State::Active))
        })
        .await
    }

    async fn write_in_ec2(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let ec2 = &self.ec2;
        match (kind, value) {
            (Kind::SecurityGroup, None) => drop(ec2.delete_security_group().group_name(name).send().await?),
            (Kind::SecurityGroup, Some(value)) => {
                ec2.create_security_group().group_name(name).description(value).send().await?;
            }
            (Kind::LaunchTemplate, None) => {
                ec2.delete_launch_template().launch_template_name(name).send().await?;
            }
            (Kind::LaunchTemplate, Some(value)) => self.new_template(name, value).await?,
            (_, value) => {
                let named = aws_sdk_ec2::types::Filter::builder().name("group-name").values("default").build();
                let groups = ec2.describe_security_groups().filters(named).send().await?;
                let group = groups.security_groups()[0].group_id().unwrap_or_default().to_owned();
                let tag = aws_sdk_ec2::types::Tag::builder().key(name);
                match value {
                    None => drop(ec2.delete_tags().resources(group).tags(tag.build()).send().await?),
                    Some(value) => {
                        drop(ec2.create_tags().resources(group).tags(tag.value(value).build()).send().await?)
                    }
                }
            }
        }
        Ok(())
    }

    /// An image for x86-64, the default architecture of instance types.
    pub async fn image(&self) -> Result<String, BoxError> {
        let x86 = aws_sdk_ec2::types::Filter::builder().name("architecture").values("x86_64").build();
        let images = self.ec2.describe_images().filters(x86).send().await?;
        Ok(images.images().first().and_then(|image| image.image_id.clone()).ok_or("there is no image")?)
    }

    async fn new_template(&self, name: &str, description: &str) -> Result<(), BoxError> {
        let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().image_id(self.image().await?);
        let data = data.instance_type(aws_sdk_ec2::types::InstanceType::T3Micro).build();
        let create = self.ec2.create_launch_template().launch_template_name(name).version_description(description);
        create.launch_template_data(data).send().await?;
        Ok(())
    }

    async fn write_scaled(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let Clients { groups, balancing, .. } = self;
        match (kind, value) {
            (Kind::AutoScalingGroup, None) => {
                groups.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(true).send().await?;
                until(async || Ok(self.read(kind, name).await?.is_none())).await?;
            }
            (Kind::AutoScalingGroup, Some(value)) => {
                let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder();
                let template = template.launch_template_name("kept").version("1").build();
                let tag = aws_sdk_autoscaling::types::Tag::builder().key("v").value(value);
                let tag = tag.propagate_at_launch(false).build();
                let create = groups.create_auto_scaling_group().auto_scaling_group_name(name).tags(tag);
                let create = create.launch_template(template).min_size(0).max_size(0).availability_zones("us-east-1a");
                create.send().await?;
            }
            (_, None) => {
                let there = balancing.describe_load_balancers().names(name).send().await?;
                let arn = there.load_balancers()[0].load_balancer_arn();
                balancing.delete_load_balancer().set_load_balancer_arn(arn.map(str::to_owned)).send().await?;
            }
            (_, Some(value)) => {
                let subnets = self.ec2.describe_subnets().send().await?;
                let subnets = subnets.subnets().iter().take(2).filter_map(|subnet| subnet.subnet_id.clone());
                let tag = aws_sdk_elasticloadbalancingv2::types::Tag::builder().key("v").value(value).build();
                let create = balancing.create_load_balancer().name(name).tags(tag);
                create.set_subnets(Some(subnets.collect())).send().await?;
            }
        }
        Ok(())
    }

    /// Returns the value that `name` holds.
    pub async fn read(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        match kind {
            Kind::Item | Kind::Counter | Kind::Table => self.read_in_dynamodb(kind, name).await,
            Kind::Object | Kind::ObjectTag | Kind::Versions | Kind::Part | Kind::CompletedUpload => {
                self.read_object(kind, name).await
            }
            Kind::Bucket | Kind::Notification => self.read_bucket(kind, name).await,
            Kind::LogLine | Kind::LogGroup => self.read_log(kind, name).await,
            Kind::Role | Kind::RolePolicy => self.read_role(kind, name).await,
            Kind::Function | Kind::Permission => self.read_function(kind, name).await,
            Kind::InstanceTag | Kind::SecurityGroup | Kind::LaunchTemplate => self.read_in_ec2(kind, name).await,
            Kind::AutoScalingGroup | Kind::LoadBalancer => self.read_scaled(kind, name).await,
            Kind::HostedZone | Kind::Certificate => self.read_domain(kind, name).await,
        }
    }

    async fn read_in_dynamodb(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let dynamodb = &self.dynamodb;
        if kind == Kind::Table {
            let described = dynamodb.describe_table().table_name(name).send().await;
            let Some(table) = found(described, "ResourceNotFoundException")?.and_then(|found| found.table) else {
                return Ok(None);
            };
            if table.table_status == Some(TableStatus::Deleting) {
                return Ok(Some("on its way".to_owned()));
            }
            let tags = dynamodb.list_tags_of_resource().set_resource_arn(table.table_arn).send().await?;
            return Ok(tags.tags().first().map(|tag| tag.value.clone()));
        }
        let key = AttributeValue::S(format!("{kind:?}/{name}"));
        let got = dynamodb.get_item().table_name("kept").key("name", key).send().await?;
        Ok(got.item().map(|item| match &item["v"] {
            AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
            other => panic!("{other:?}"),
        }))
    }

    async fn read_object(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let s3 = &self.s3;
        let key = match kind {
            Kind::CompletedUpload => format!("completed/{name}"),
            _ => name.to_owned(),
        };
        Ok(match kind {
            Kind::ObjectTag => {
                let got = s3.get_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).send().await?;
                got.tag_set().first().map(|tag| tag.value().to_owned())
            }
            Kind::Versions => {
                let listed = s3.list_object_versions().bucket(VERSIONED).prefix(name).send().await?;
                Some(listed.versions().len()).filter(|number| *number > 0).map(|number| number.to_string())
            }
            Kind::Part => {
                let listed = s3.list_parts().bucket(BUCKET).key("parts").upload_id(&self.upload).send().await?;
                let ours = listed.parts().iter().find(|part| part.part_number() == Some(part_number(name)));
                ours.and_then(|part| part.e_tag()).map(str::to_owned)
            }
            _ => match found(s3.get_object().bucket(BUCKET).key(key).send().await, "NoSuchKey")? {
                Some(got) => Some(String::from_utf8(got.body.collect().await?.to_vec())?),
                None => None,
            },
        })
    }

    async fn read_bucket(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::Notification {
            let got = self.s3.get_bucket_notification_configuration().bucket(notified_bucket(name)).send().await?;
            return Ok(got.lambda_function_configurations().first().and_then(|rule| rule.id.clone()));
        }
        let tags = found(self.s3.get_bucket_tagging().bucket(name).send().await, "NoSuchBucket")?;
        Ok(tags.and_then(|tags| tags.tag_set().first().map(|tag| tag.value().to_owned())))
    }

    async fn read_log(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let logs = &self.logs;
        if kind == Kind::LogLine {
            let got = logs.get_log_events().log_group_name("kept").log_stream_name(name).send().await?;
            return Ok(got.events().last().and_then(|event| event.message()).map(str::to_owned));
        }
        let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{name}");
        let tags = logs.list_tags_for_resource().resource_arn(arn).send().await;
        let tags = found(tags, "ResourceNotFoundException")?.and_then(|found| found.tags);
        Ok(tags.and_then(|mut tags| tags.remove("v")))
    }

    async fn read_role(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let iam = &self.iam;
        if kind == Kind::Role {
            let role = found(iam.get_role().role_name(name).send().await, "NoSuchEntity")?;
            return Ok(role.and_then(|found| found.role?.description));
        }
        let policy = iam.get_role_policy().role_name("kept").policy_name(name).send().await;
        Ok(found(policy, "NoSuchEntity")?.map(|got| id_in(got.policy_document())))
    }

    async fn read_function(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let (lambda, absent) = (&self.lambda, "ResourceNotFoundException");
        if kind == Kind::Function {
            let function = found(lambda.get_function_configuration().function_name(name).send().await, absent)?;
            return Ok(function.and_then(|function| function.description));
        }
        let policy = found(lambda.get_policy().function_name(permitted_function(name)).send().await, absent)?;
        let Some(policy) = policy.and_then(|found| found.policy) else {
            return Ok(None);
        };
        let policy: serde_json::Value = serde_json::from_str(&policy)?;
        let statements = policy["Statement"].as_array().into_iter().flatten();
        let ours = statements.filter(|statement| statement["Sid"] == name).map(|statement| &statement["Condition"]);
        let source = ours.filter_map(|condition| condition["ArnLike"]["AWS:SourceArn"].as_str()).next();
        Ok(source.and_then(|arn| arn.rsplit(':').next()).map(str::to_owned))
    }

    async fn read_in_ec2(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let ec2 = &self.ec2;
        Ok(match kind {
            Kind::SecurityGroup => {
                let named = aws_sdk_ec2::types::Filter::builder().name("group-name").values(name).build();
                let groups = ec2.describe_security_groups().filters(named).send().await?;
                groups.security_groups().first().and_then(|group| group.description.clone())
            }
            Kind::LaunchTemplate => {
                let versions = ec2.describe_launch_template_versions().launch_template_name(name).send().await;
                let versions = found(versions, "InvalidLaunchTemplateName.NotFoundException")?;
                versions.and_then(|found| found.launch_template_versions().first()?.version_description.clone())
            }
            _ => {
                let found = ec2.describe_tags().send().await?;
                let ours = found.tags().iter().find(|tag| tag.key() == Some(name));
                ours.and_then(|tag| tag.value()).map(str::to_owned)
            }
        })
    }

    async fn read_scaled(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::AutoScalingGroup {
            let groups = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await?;
            let tags = groups.auto_scaling_groups().first().map(|group| group.tags());
            return Ok(tags.and_then(|tags| tags.first()?.value.clone()));
        }
        let balancing = &self.balancing;
        let there = found(balancing.describe_load_balancers().names(name).send().await, "LoadBalancerNotFound")?;
        let Some(arn) = there.and_then(|found| found.load_balancers()[0].load_balancer_arn.clone()) else {
            return Ok(None);
        };
        let tags = balancing.describe_tags().resource_arns(arn).send().await?;
        Ok(tags.tag_descriptions().first().and_then(|one| one.tags().first()?.value.clone()))
    }
}

fn id_in(document: &str) -> String {
    let text = percent_encoding::percent_decode_str(document).decode_utf8_lossy();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["Id"].as_str().unwrap().to_owned()
}
