//! The AWS clients, and the classification of errors: "absent", "not yet" or "no".

use std::{collections::BTreeSet, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    cloud::{
        dns, local_page,
        sign_in::{Provider, Trouble},
        usual::Scale,
        why::RollOuts,
    },
    engine::Tags,
};

pub use batch::Batch;
pub use clients::Clients;
pub use download::download;
pub use http::{Trust, connector};
pub use journal::{Journal, Tally};
pub use pace::Rates;
pub use pages::{ListPosition, Pages, items};
pub use server_time::{Began, ServerTime};

use configuration::{configuration, is_on_this_machine, local_configuration, timeouts};
pub use fault::{found, gone};

mod answer_limit;
mod batch;
mod clients;
mod configuration;
mod download;
mod endpoints;
mod fault;
mod http;
mod journal;
mod not_yet;
mod pace;
mod pages;
mod server_time;

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
    pub batches: Batches,
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
pub struct Batches {
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
pub struct ConnectOptions {
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
    pub async fn connect(options: &ConnectOptions) -> Result<Aws, Trouble> {
        let (journal, began, rates) = (Journal::default(), Began::default(), Rates::default());
        let (config, provider, trust) = match &options.local {
            Some(local) => (local_configuration(options, local, &rates), None, Trust::default()),
            None => {
                let (config, provider, trust) = configuration(options, &rates).await?;
                (config, Some(provider), trust)
            }
        };
        Ok(Aws::of(config, &options.region, Shared { provider, journal, began, rates, trust }, options.answer_within))
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
            batches: Batches::default(),
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
