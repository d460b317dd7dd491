//! Load balancers.

use super::scalar::{Cidr, Port};
use super::web_acl::WebAcl;

/// The public port of HTTPS.
pub const HTTPS_PORT: u16 = 443;

/// The load balancer of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// The public port.
    pub port: Port,
    /// The CIDR blocks that may connect.
    pub allow: Vec<Cidr>,
    /// Whether AWS refuses to delete it.
    pub protect: bool,
    /// Whether it is reachable from its VPC only.
    pub internal: bool,
    /// Its web ACL; if absent, any that it has is left.
    pub web_acl: Option<WebAcl>,
}

/// The end of an entry in the names of an internal load balancer and of everything behind it.
pub const INTERNAL_SUFFIX: &str = "-internal";

impl Balancer {
    /// Returns the entry as it is in the names of a load balancer and of everything behind it.
    pub fn entry_of(internal: bool, entry: &str) -> String {
        if internal { format!("{entry}{INTERNAL_SUFFIX}") } else { entry.to_owned() }
    }
}
