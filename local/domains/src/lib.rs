//! Domains: Route 53 with its DNS, and Certificate Manager, which issues the certificates that load balancers serve.

pub mod acm;
mod authority;
mod clock;
pub mod dns;
mod name;
pub mod route53;

pub use authority::Authority;

/// The load balancers of a region, as alias records refer to them.
pub trait Balancers: Send + Sync {
    /// Whether a load balancer has this DNS name, in the hosted zone of its region's load balancers.
    fn has(&self, hosted_zone: &str, dns_name: &str) -> bool;
}
