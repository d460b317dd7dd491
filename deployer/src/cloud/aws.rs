//! The AWS clients, and the classification of errors: "absent", "not yet" or "no".

use std::{collections::BTreeSet, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime_api::{
    client::{http::SharedHttpClient, orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    cloud::sign_in::{About, Environment, Profiles, Provider, Source, Trouble, selected},
    cloud::{dns, local_page, usual::Scale, why::RollOuts},
    engine::{Fault, Retry, Tags},
};

mod answer_limit;
mod batch;
mod clients;
mod download;
mod endpoints;
mod http;
mod journal;
mod pace;
mod pages;
mod server_time;

pub use batch::Batch;
pub use clients::Clients;
pub use download::download;
pub use http::{Trust, connector};
pub use journal::{Journal, Tally};
pub use pace::Rates;
pub use pages::{Pages, Progress, items};
pub use server_time::{Began, ServerTime};

/// The clients for one account and region.
pub struct Aws {
    clients: Clients,
    /// The region of all clients.
    pub region: String,
    /// The endpoint, unless it is AWS's.
    pub endpoint: Option<String>,
    /// The endpoint of AWS Security Token Service, unless it is AWS's.
    pub sts_endpoint: Option<String>,
    /// The source of the credentials; `None` for our local AWS, which has a fixed account.
    pub provider: Option<Arc<Provider>>,
    /// Reads that are coalesced.
    pub together: Together,
    /// Every call made through these clients.
    pub journal: Journal,
    /// When AWS was first called.
    pub began: Began,
    /// The instance refreshes that this run has started or seen in progress.
    pub watched_refreshes: WatchedRefreshes,
    /// The roll-outs that this run has observed.
    pub roll_outs: RollOuts,
    /// The speed of this cloud.
    pub scale: Scale,
    /// The rate limits, where they apply.
    pub rates: Rates,
    /// The certificates that servers are verified by.
    pub trust: Trust,
    answer_within: Duration,
    config: SdkConfig,
}

/// The ids of instance refreshes. The end of one of them is the end of this run's own roll-out: timestamps, in whole
/// seconds, cannot always show that.
#[derive(Default)]
pub struct WatchedRefreshes(Mutex<BTreeSet<String>>);

impl WatchedRefreshes {
    /// Adds one.
    pub fn add(&self, id: Option<&str>) {
        self.ids().extend(id.map(str::to_owned));
    }

    /// Whether this is one of them.
    pub fn contains(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock()
    }
}

/// Reads for which AWS accepts many names at once, by kind.
#[derive(Default)]
pub struct Together {
    /// Load balancers with their tags; one call for tags takes twenty ARNs (docs/aws.md §2.5).
    pub load_balancers: Batch<(aws_sdk_elasticloadbalancingv2::types::LoadBalancer, Tags), 20>,
    /// Target groups with their tags.
    pub target_groups: Batch<(aws_sdk_elasticloadbalancingv2::types::TargetGroup, Tags), 20>,
    /// Auto Scaling groups.
    pub auto_scaling_groups: Batch<aws_sdk_autoscaling::types::AutoScalingGroup, 50>,
    /// Launch templates, without the data of their versions.
    pub launch_templates: Batch<aws_sdk_ec2::types::LaunchTemplate, 100>,
    /// Security groups, by `VPC/NAME`.
    pub security_groups: Batch<aws_sdk_ec2::types::SecurityGroup, 100>,
    /// Alarms.
    pub alarms: Batch<aws_sdk_cloudwatch::types::MetricAlarm, 100>,
    /// Log groups, which are found by a prefix of their names.
    pub log_groups: Batch<aws_sdk_cloudwatchlogs::types::LogGroup, 50>,
}

/// State shared by the clients of all regions.
struct Shared {
    provider: Option<Arc<Provider>>,
    journal: Journal,
    began: Began,
    rates: Rates,
    trust: Trust,
}

/// Where to connect and with which credentials; the AWS configuration supplies the rest.
#[derive(Debug, Clone)]
pub struct Access {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// A profile of the shared AWS configuration.
    pub profile: Option<String>,
    /// One endpoint for all services with fixed credentials: our local AWS.
    pub local: Option<Local>,
    /// How long a call may stay unanswered before it is repeated.
    pub answer_within: Duration,
    /// Whether to apply AWS's rate limits even to a cloud on this machine.
    pub paced: bool,
}

/// The connection to our local AWS.
#[derive(Debug, Clone)]
pub struct Local {
    /// `http://127.0.0.1:port`.
    pub endpoint: String,
    /// The access key of the account.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

/// `aws.s3` is the client of Amazon S3.
impl Deref for Aws {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Aws {
    /// Makes the clients, without any call.
    ///
    /// Errors: the AWS configuration is invalid. Never for our local AWS, which ignores it.
    pub async fn connect(access: &Access) -> Result<Aws, Trouble> {
        let (journal, began, rates) = (Journal::default(), Began::default(), Rates::default());
        let (config, provider, trust) = match &access.local {
            Some(local) => (local_configuration(access, local, &rates), None, Trust::default()),
            None => {
                let (config, provider, trust) = configuration(access, &rates).await?;
                (config, Some(provider), trust)
            }
        };
        Ok(Aws::of(config, &access.region, Shared { provider, journal, began, rates, trust }, access.answer_within))
    }

    /// The same clients in another region, with the same credentials, connections and journal.
    pub fn in_region(&self, region: &str) -> Aws {
        let Aws { config, provider, journal, began, rates, trust, .. } = self;
        let config = config.to_builder().region(Region::new(region.to_owned())).build();
        let (provider, journal, began) = (provider.clone(), journal.clone(), began.clone());
        let shared = Shared { provider, journal, began, rates: rates.clone(), trust: trust.clone() };
        Aws { scale: self.scale, ..Aws::of(config, region, shared, self.answer_within) }
    }

    fn of(config: SdkConfig, region: &str, shared: Shared, answer_within: Duration) -> Aws {
        let Shared { provider, journal, began, rates, trust } = shared;
        let endpoint = config.endpoint_url().map(str::to_owned);
        Aws {
            clients: Clients::of(&config, &journal, &began),
            region: region.to_owned(),
            endpoint,
            sts_endpoint: endpoints::of(&config, "STS"),
            provider,
            together: Together::default(),
            watched_refreshes: WatchedRefreshes::default(),
            roll_outs: RollOuts::default(),
            scale: Scale::default(),
            journal,
            began,
            rates,
            trust,
            answer_within,
            config,
        }
    }

    /// The DNS resolvers that know the domains of this cloud: those of this machine for AWS, that of our local AWS, and none
    /// for another emulator, whose domains DNS does not know.
    pub async fn resolvers(&self) -> Vec<SocketAddr> {
        match &self.endpoint {
            None => dns::resolvers(),
            Some(endpoint) if self.is_here() => dns::resolver_of(endpoint).await.into_iter().collect(),
            Some(_) => Vec::new(),
        }
    }

    /// The port at which clients reach a public port of a load balancer: the local AWS listens at another one.
    pub async fn front_port(&self, balancer: &str, port: u16) -> u16 {
        let Some(endpoint) = self.endpoint.as_ref().filter(|_| self.is_here()) else { return port };
        let status = local_page::get(endpoint, local_page::STATUS).await.unwrap_or_default();
        local_page::listener_port(&status, balancer, port).unwrap_or(port)
    }

    /// Whether the endpoint is on this machine.
    pub fn is_here(&self) -> bool {
        self.endpoint.as_deref().is_some_and(is_on_this_machine)
    }

    /// How long a call that sends `bytes` may stay unanswered: AWS answers after it has received all of them, and
    /// connections below 64 KiB a second count as broken.
    pub fn upload_within(&self, bytes: usize) -> TimeoutConfig {
        let on_the_way = Duration::from_secs(bytes as u64 / (64 * 1024));
        timeouts(self.answer_within + on_the_way)
    }

    /// How long a call may stay unanswered whose work takes up to `longest`.
    pub fn work_within(&self, longest: Duration) -> TimeoutConfig {
        timeouts(self.answer_within + longest)
    }
}

/// Without these, a call whose answer is lost would wait forever: the SDK sets no such timeout itself (docs/aws.md
/// §2.2).
fn timeouts(answer_within: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(answer_within).build()
}

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The SDK configuration for our local AWS, independent of the user's AWS configuration.
fn local_configuration(access: &Access, local: &Local, rates: &Rates) -> SdkConfig {
    let Local { endpoint, access_key, secret_key } = local;
    let credentials = Credentials::new(access_key, secret_key, None, None, "deployer --local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts(access.answer_within))
        .retry_config(retries(true))
        .http_client(paced(http::client(Trust::default()), rates, access.paced))
        .sleep_impl(TokioSleep::new())
        .time_source(SystemTimeSource::new())
        .build()
}

/// The SDK configuration for AWS, or an endpoint in its place: the user's AWS configuration, validated first.
async fn configuration(access: &Access, rates: &Rates) -> Result<(SdkConfig, Arc<Provider>, Trust), Trouble> {
    let environment = Environment::of_this_process()?;
    let flag = access.profile.as_deref();
    let (name, _) = selected(&environment, flag);
    let (profiles, unusable) = match Profiles::read(&environment, name).await {
        Ok(profiles) => (profiles, None),
        Err(trouble) if trouble.about == About::Settings => return Err(trouble),
        Err(trouble) => (Profiles::none(), Some(trouble)),
    };
    let source = match (Source::find(&environment, &profiles, flag), unusable) {
        // Keys in environment variables need no file.
        (Ok(source @ Source::Environment { .. }), _) | (Ok(source), None) => source,
        (_, Some(trouble)) | (Err(trouble), None) => return Err(trouble),
    };
    let bundle = profiles.get(name).and_then(|profile| profile.get("ca_bundle"));
    let trust = Trust::new(&environment, bundle);
    let http = http::client(trust.clone());
    let provider = Arc::new(Provider::new(source, &profiles, name, &access.region, &http));
    let patience = provider.patience() + Duration::from_secs(1);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .profile_name(name)
        .profile_files(profiles.for_sdk())
        .timeout_config(timeouts(access.answer_within))
        // Checked before loading: the SDK panics on an unknown mode.
        .retry_config(retries(false))
        .http_client(http.clone())
        .credentials_provider(SharedCredentialsProvider::new(provider.clone() as Arc<dyn ProvideCredentials>))
        .identity_cache(IdentityCache::lazy().load_timeout(patience).build())
        .load()
        .await;
    let config = endpoints::checked(config)?;
    // Rate limits protect the shared AWS; a cloud on this machine serves only us.
    let is_here = config.endpoint_url().is_some_and(is_on_this_machine);
    let config = config.into_builder().retry_config(retries(is_here));
    let config = config.http_client(paced(http, rates, access.paced || !is_here)).build();
    Ok((config, provider, trust))
}

fn paced(http: SharedHttpClient, rates: &Rates, is_paced: bool) -> SharedHttpClient {
    if is_paced { pace::paced(http, rates.clone()) } else { http }
}

/// More than the default of three, because retries are cheaper than a failed deployment (docs/aws.md §2.2).
fn retries(is_here: bool) -> RetryConfig {
    let retries = RetryConfig::standard().with_max_attempts(8);
    if is_here { retries.with_initial_backoff(Duration::from_millis(20)) } else { retries }
}

fn is_on_this_machine(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    ["127.", "localhost", "[::1]"].iter().any(|here| host.starts_with(here))
}

/// An error that means "not yet" rather than "no".
struct NotYet {
    operation: &'static str,
    code: &'static str,
    message: &'static str,
    budget: Duration,
}

const fn not_yet(operation: &'static str, code: &'static str, message: &'static str, budget_s: u64) -> NotYet {
    NotYet { operation, code, message, budget: Duration::from_secs(budget_s) }
}

/// The eventual-consistency errors that no SDK retries, with Terraform's time limits (docs/aws.md §2.3). `*` matches
/// any operation.
const NOT_YET: &[NotYet] = &[
    not_yet("CreateFunction", "InvalidParameterValueException", "cannot be assumed by Lambda", 120),
    not_yet("CreateFunction", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("CreateFunction", "InvalidParameterValueException", "throttled by EC2", 660),
    not_yet("CreateFunction", "InvalidParameterValueException", "KMS key is invalid for CreateGrant", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "throttled by EC2", 660),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "KMS key is invalid for CreateGrant", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "cannot be assumed by Lambda", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("UpdateFunctionConfiguration", "ResourceConflictException", "", 600),
    not_yet("UpdateFunctionCode", "ResourceConflictException", "", 600),
    not_yet("PublishVersion", "ResourceConflictException", "", 600),
    not_yet("DeleteFunction", "ResourceConflictException", "", 600),
    not_yet("PutFunctionConcurrency", "ResourceConflictException", "", 300),
    not_yet("DeleteFunctionConcurrency", "ResourceConflictException", "", 300),
    not_yet("PutFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    not_yet("UpdateFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    not_yet("DeleteFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    // The role's policy, or the bucket, is not visible to Lambda yet.
    not_yet("PutFunctionEventInvokeConfig", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("UpdateFunctionEventInvokeConfig", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("PutFunctionEventInvokeConfig", "InvalidParameterValueException", "destination ARN", 120),
    not_yet("UpdateFunctionEventInvokeConfig", "InvalidParameterValueException", "destination ARN", 120),
    not_yet("AddPermission", "ResourceNotFoundException", "", 300),
    not_yet("AddPermission", "ResourceConflictException", "", 300),
    not_yet("RemovePermission", "ResourceConflictException", "", 300),
    not_yet("CreateFunction", "ResourceConflictException", "in progress", 600),
    not_yet("CreateRole", "MalformedPolicyDocument", "Invalid principal in policy", 120),
    not_yet("UpdateAssumeRolePolicy", "MalformedPolicyDocument", "Invalid principal in policy", 120),
    not_yet("*", "ConcurrentModification", "", 120),
    not_yet("PutRolePolicy", "NoSuchEntity", "", 120),
    not_yet("AddRoleToInstanceProfile", "InvalidParameterValue", "Invalid IAM Instance Profile name", 120),
    not_yet("AddRoleToInstanceProfile", "NoSuchEntity", "", 120),
    // It holds one role, and another one is removed first, so this is our own, not visible before (docs/aws.md §6.1).
    not_yet("AddRoleToInstanceProfile", "LimitExceeded", "", 60),
    not_yet("DeleteRole", "DeleteConflict", "", 120),
    not_yet("DeleteInstanceProfile", "DeleteConflict", "", 120),
    not_yet("CreateAutoScalingGroup", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("UpdateAutoScalingGroup", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("StartInstanceRefresh", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("StartInstanceRefresh", "InstanceRefreshInProgress", "", 900),
    not_yet("AttachLoadBalancerTargetGroups", "InstanceRefreshInProgress", "", 900),
    not_yet("DetachLoadBalancerTargetGroups", "InstanceRefreshInProgress", "", 900),
    not_yet("PutScalingPolicy", "ValidationError", "not found", 60),
    not_yet("CreateAutoScalingGroup", "AlreadyExists", "pending delete", 900),
    not_yet("CreateAutoScalingGroup", "ServiceLinkedRoleFailure", "", 120),
    not_yet("*", "ResourceContention", "", 120),
    not_yet("DeleteAutoScalingGroup", "ResourceInUse", "", 600),
    not_yet("*", "ScalingActivityInProgress", "", 600),
    not_yet("PutPublicAccessBlock", "NoSuchBucket", "", 120),
    not_yet("PutBucketOwnershipControls", "NoSuchBucket", "", 120),
    not_yet("PutBucketEncryption", "NoSuchBucket", "", 120),
    not_yet("PutBucketCors", "NoSuchBucket", "", 120),
    not_yet("PutBucketLifecycleConfiguration", "NoSuchBucket", "", 120),
    not_yet("PutBucketPolicy", "NoSuchBucket", "", 120),
    not_yet("PutBucketVersioning", "NoSuchBucket", "", 120),
    not_yet("PutBucketTagging", "NoSuchBucket", "", 120),
    not_yet("PutBucketNotificationConfiguration", "NoSuchBucket", "", 120),
    not_yet(
        "PutBucketNotificationConfiguration",
        "InvalidArgument",
        "Unable to validate the following destination",
        120,
    ),
    not_yet("PutObject", "NoSuchBucket", "", 120),
    not_yet("*", "OperationAborted", "", 300),
    not_yet("*", "OperationAbortedException", "", 60),
    not_yet("DeleteBucket", "BucketNotEmpty", "", 60),
    not_yet("CreateTable", "LimitExceededException", "simultaneously", 600),
    not_yet("UpdateContinuousBackups", "ContinuousBackupsUnavailableException", "", 1200),
    not_yet("UpdateTable", "ResourceInUseException", "", 600),
    not_yet("TagResource", "ResourceInUseException", "", 60),
    not_yet("DeleteTable", "ResourceInUseException", "being ", 600),
    not_yet("CreateListener", "CertificateNotFound", "", 300),
    not_yet("ModifyListener", "CertificateNotFound", "", 300),
    not_yet("CreateListener", "UnsupportedCertificate", "", 300),
    not_yet("ModifyListener", "UnsupportedCertificate", "", 300),
    // The load balancer uses it for some minutes after its listener is gone.
    not_yet("DeleteCertificate", "ResourceInUseException", "", 1200),
    not_yet("*", "RequestInProgressException", "", 60),
    // Another client has changed a record since it was read.
    not_yet("ChangeResourceRecordSets", "InvalidChangeBatch", "", 60),
    not_yet("ChangeResourceRecordSets", "PriorRequestNotComplete", "", 120),
    not_yet("DeleteTargetGroup", "ResourceInUse", "", 120),
    // The bucket's policy is not in force yet.
    not_yet("ModifyLoadBalancerAttributes", "InvalidConfigurationRequest", "Access Denied for bucket", 120),
    not_yet("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", "", 60),
    // Another client was faster, or the rules were read too early.
    not_yet("AuthorizeSecurityGroupIngress", "InvalidPermission.Duplicate", "", 60),
    not_yet("AuthorizeSecurityGroupEgress", "InvalidGroup.NotFound", "", 60),
    not_yet("AuthorizeSecurityGroupEgress", "InvalidPermission.Duplicate", "", 60),
    not_yet("CreateTags", "InvalidGroup.NotFound", "", 60),
    // The load balancer's network interfaces outlive it, by up to 35 minutes (docs/aws.md §9.6).
    not_yet("DeleteSecurityGroup", "DependencyViolation", "", 2100),
    not_yet("DeleteSecurityGroup", "InvalidGroup.InUse", "", 2100),
    not_yet("DeleteSubnet", "DependencyViolation", "", 2100),
    not_yet("DetachInternetGateway", "DependencyViolation", "", 2100),
    // Its parts are removed first.
    not_yet("DeleteInternetGateway", "DependencyViolation", "", 120),
    not_yet("DeleteRouteTable", "DependencyViolation", "", 120),
    not_yet("DeleteVpc", "DependencyViolation", "", 300),
    // Made a moment ago, and not visible to every call.
    not_yet("*", "InvalidVpcID.NotFound", "", 60),
    not_yet("*", "InvalidSubnetID.NotFound", "", 60),
    not_yet("*", "InvalidInternetGatewayID.NotFound", "", 60),
    not_yet("*", "InvalidRouteTableID.NotFound", "", 60),
    not_yet("CreateRoute", "InvalidGatewayID.NotFound", "", 60),
    // Our own call, repeated because its answer was lost, and not visible yet.
    not_yet("AttachInternetGateway", "Resource.AlreadyAssociated", "", 60),
    not_yet("CreateRoute", "RouteAlreadyExists", "", 60),
    not_yet("CreateLoadBalancer", "InvalidSubnet", "has no internet gateway", 60),
    not_yet("CreateLoadBalancer", "SubnetNotFound", "", 60),
];

/// Errors of a create that mean "it exists": our read did not see it, so either of the two is outdated, or another
/// client was faster. The next read decides, and shows the owner (docs/aws.md §2.6).
const EXISTS: &[&str] = &[
    "BucketAlreadyOwnedByYou",
    "EntityAlreadyExists",
    "ResourceAlreadyExistsException",
    "AlreadyExists",
    "InvalidGroup.Duplicate",
    "InvalidSubnet.Conflict",
    "InvalidLaunchTemplateName.AlreadyExistsException",
    "DuplicateLoadBalancerName",
    "DuplicateTargetGroupName",
    "DuplicateListener",
    "PriorityInUse",
    "ResourceInUseException",
    "ResourceConflictException",
];

/// Error codes that mean "absent" (docs/aws.md §18).
const ABSENT: &[&str] = &[
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchTagSet",
    "NoSuchTagSetError",
    "NoSuchCORSConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchUpload",
    "NotFound",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "TableNotFoundException",
    "NoSuchEntity",
    "InvalidGroup.NotFound",
    "InvalidSecurityGroupID.NotFound",
    "InvalidVpcID.NotFound",
    "InvalidSubnetID.NotFound",
    "InvalidInternetGatewayID.NotFound",
    "InvalidRouteTableID.NotFound",
    "InvalidAssociationID.NotFound",
    "Gateway.NotAttached",
    "InvalidPermission.NotFound",
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "ListenerNotFound",
    "RuleNotFound",
    "NoSuchHostedZone",
    "ActiveInstanceRefreshNotFound",
    "ParameterNotFound",
    "InvalidResourceId",
];

/// When one call of a read finds a resource and another does not, it is in transition: after this long both agree
/// (docs/aws.md §18).
const SEEN_BY_ALL_WITHIN: Duration = Duration::from_secs(30);

impl Fault {
    /// Whether the error means that the resource is absent.
    pub fn is_absent(&self) -> bool {
        means_absent(&self.code, &self.message)
    }
}

fn means_absent(code: &str, message: &str) -> bool {
    ABSENT.contains(&code) || (code == "ValidationError" && message.contains("not found"))
}

fn is_reading(operation: &str) -> bool {
    ["Describe", "Filter", "Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb))
}

/// Turns "absent" into `None`.
pub fn found<T>(answer: Result<T, impl Into<Fault>>) -> Result<Option<T>, Fault> {
    match answer.map_err(Into::into) {
        Ok(there) => Ok(Some(there)),
        Err(fault) if fault.is_absent() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Treats "already gone" as success.
pub fn gone<T>(answer: Result<T, impl Into<Fault>>) -> Result<(), Fault> {
    found(answer).map(drop)
}

impl<E> From<SdkError<E, HttpResponse>> for Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Fault {
        let operation = operation_of::<E>();
        if let Some(trouble) = Trouble::behind(&error) {
            return trouble.fault(&operation);
        }
        let status = error.raw_response().map(HttpResponse::status);
        let code = match error.code() {
            Some(code) => code.to_owned(),
            None => code_of_bodiless(status, &error),
        };
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None => innermost(&error),
        };
        let retry = retry(&operation, &code, &message);
        Fault { operation, code, message, retry }
    }
}

/// Derives `CreateBucket` from `aws_sdk_s3::operation::create_bucket::CreateBucketError`.
fn operation_of<E>() -> String {
    let name = std::any::type_name::<E>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.strip_suffix("Error").unwrap_or(name).to_owned()
}

/// Answers to `HEAD` have no body and so no error code (docs/aws.md §2.1).
fn code_of_bodiless<E>(status: Option<StatusCode>, error: &SdkError<E, HttpResponse>) -> String {
    match (status.map(|status| status.as_u16()), error) {
        (Some(404), _) => "NotFound".into(),
        (Some(403), _) => "AccessDenied".into(),
        (Some(status), _) => format!("HTTP {status}"),
        (None, SdkError::TimeoutError(_)) => "Timeout".into(),
        (None, SdkError::DispatchFailure(_)) => "NoConnection".into(),
        (None, _) => "BadRequest".into(),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn retry(operation: &str, code: &str, message: &str) -> Retry {
    // This error is permanent although it shares its code with "busy" (docs/aws.md §7.4).
    if message.contains("provided already exists") {
        return Retry::Never;
    }
    if operation.starts_with("Create") && EXISTS.contains(&code) && !message.contains("pending delete") {
        return Retry::Within(Duration::from_secs(120));
    }
    NOT_YET
        .iter()
        .find(|row| {
            (row.operation == "*" || row.operation == operation) && row.code == code && message.contains(row.message)
        })
        .map(|row| Retry::Within(row.budget))
        .unwrap_or(match is_reading(operation) && means_absent(code, message) {
            true => Retry::Within(SEEN_BY_ALL_WITHIN),
            false => Retry::Never,
        })
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;
    use crate::output::exit::{Exit, Failure};

    #[test]
    fn the_operation_is_read_off_the_error_type() {
        assert_eq!(operation_of::<aws_sdk_s3::operation::create_bucket::CreateBucketError>(), "CreateBucket");
    }

    #[test]
    fn a_role_that_lambda_cannot_assume_yet_is_retried_for_two_minutes() {
        let text = "The role defined for the function cannot be assumed by Lambda.";
        let budget = Retry::Within(Duration::from_secs(120));
        assert_eq!(retry("CreateFunction", "InvalidParameterValueException", text), budget);
        assert_eq!(retry("CreateFunction", "InvalidParameterValueException", "bad handler"), Retry::Never);
    }

    #[test]
    fn a_resource_that_another_call_has_seen_is_looked_up_again() {
        let budget = Retry::Within(SEEN_BY_ALL_WITHIN);
        assert_eq!(retry("ListTagsOfResource", "ResourceNotFoundException", "no such table"), budget);
        assert_eq!(retry("DescribeTags", "TargetGroupNotFound", ""), budget);
        assert_eq!(retry("DescribePolicies", "ValidationError", "Group name not found"), budget);
        assert_eq!(retry("DescribePolicies", "AccessDenied", ""), Retry::Never);
        assert_eq!(retry("DeleteTable", "ResourceNotFoundException", ""), Retry::Never);
    }

    #[test]
    fn credentials_that_cannot_be_renewed_are_reported_with_cause_and_remedy() {
        type Refused = SdkError<aws_sdk_s3::operation::list_buckets::ListBucketsError, HttpResponse>;
        let trouble = Trouble::credentials("the login has expired", "run `aws sso login`");
        let error = aws_credential_types::provider::error::CredentialsError::provider_error(trouble);
        let refused = Refused::dispatch_failure(ConnectorError::other(error.into(), None));
        let fault = Fault::from(refused);
        assert_eq!(fault.to_string(), "NotSignedIn: the login has expired: run `aws sso login` (ListBuckets)");
        assert_eq!(Failure::from(fault).exit, Exit::Credentials);
    }

    #[test]
    fn a_statement_that_exists_is_final() {
        let text = "The statement id (x) provided already exists.";
        assert_eq!(retry("AddPermission", "ResourceConflictException", text), Retry::Never);
    }
}
