//! The kinds of state that must not be lost, and how each is written and read.

mod dynamodb;
mod ec2;
mod objects;
mod programs;
mod route53;

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use fastrand::Rng;

use testkit::clients;

pub use dynamodb::{new_table, table};
use objects::{VERSIONED, md5, notified_bucket};
pub use programs::{TRUST, zip_of};
use route53::domain;

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

/// Polls until the condition is true. Unlike that of `testkit`, it returns the error of a poll: the server is killed
/// while writers wait.
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
}
