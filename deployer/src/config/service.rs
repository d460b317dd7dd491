//! Services.

use super::access::Uses;
use super::balancer::Balancer;
use super::behind::Behind;
use super::encryption_key::EncryptionKey;
use super::environment::Variables;
use super::program::Program;
use super::scalar::{InstanceType, Port};

/// A service: a program on a group of instances behind a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its program.
    pub program: Program,
    /// The port it listens on.
    pub port: Port,
    /// The instance type.
    pub instance_type: InstanceType,
    /// The number of instances.
    pub instances: Instances,
    /// The health check of its targets.
    pub health_check: HealthCheck,
    /// The settings of its load balancer; unused if it has none.
    pub load_balancer: Balancer,
    /// Whether there is no load balancer: one instance has an elastic IP address.
    pub is_direct: bool,
    /// The service whose load balancer it shares, if it has none of its own.
    pub behind: Option<Behind>,
    /// Whether its load balancer writes a log of all requests.
    pub access_logs: bool,
    /// The domain name that it is served at over HTTPS.
    pub domain: Option<String>,
    /// The ARN of an existing certificate.
    pub certificate: Option<String>,
    /// The machine image; if absent, the newest Amazon Linux 2023 at creation.
    pub image: Option<String>,
    /// The size of the root disk, in GB.
    pub disk_gb: u16,
    /// The key that the disks are encrypted with; the account's default key for volumes if absent.
    pub key: Option<EncryptionKey>,
    /// How long a new instance may be unhealthy, in seconds.
    pub grace_period_s: u16,
    /// How long a new release is watched, in minutes; 0 if it is not. If absent, it depends on the cloud.
    pub bake_minutes: Option<u16>,
    /// How long its log is kept, in days; forever if absent.
    pub log_retention_days: Option<u16>,
    /// The key that its log is encrypted with; a key of CloudWatch Logs if absent.
    pub log_key: Option<EncryptionKey>,
    /// Its variables.
    pub variables: Variables,
    /// The resources it uses.
    pub uses: Uses,
}

/// The end of an entry in the names of everything that a service without a load balancer has.
pub const DIRECT_SUFFIX: &str = "-direct";

impl Service {
    /// Returns the entry as it is in the names of the load balancer and of everything behind it. Its scheme is fixed, and
    /// its target group belongs to no other load balancer (docs/aws.md §9.2, §9.3): for another scheme, or none, a new set
    /// of all is created before the old one is removed.
    pub fn entry_in_names(&self, entry: &str) -> String {
        if self.is_direct {
            format!("{entry}{DIRECT_SUFFIX}")
        } else {
            Balancer::entry_of(self.load_balancer.internal, entry)
        }
    }
}

/// The size of a service's group, and when it scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// The minimum.
    pub min: u16,
    /// The maximum.
    pub max: u16,
    /// The target CPU utilisation, in percent.
    pub cpu_percent: u16,
}

/// The health check of the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path to request.
    pub path: String,
    /// The interval in seconds.
    pub interval_s: u16,
    /// The timeout in seconds.
    pub timeout_s: u16,
    /// Consecutive successes that make a target healthy.
    pub healthy: u16,
    /// Consecutive failures that make it unhealthy.
    pub unhealthy: u16,
    /// The statuses that count as success, such as `200` or `200-299`.
    pub matcher: String,
}
