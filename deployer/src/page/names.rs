//! The names of all resources, known before anything exists.
//!
//! Every name begins with the stack's. Bucket names include the account, because they are global; names of roles
//! include the region, because IAM is (docs/aws.md §1). `config/checks.rs` has checked that all of them fit.

use std::collections::BTreeSet;

use crate::{
    cloud::site::Site,
    config::{ACCOUNT_REGIONAL, Config},
};

/// Derives names for a stack.
#[derive(Debug, Clone)]
pub struct StackNames {
    stack: String,
    account: String,
    region: String,
    /// The buckets in the account's regional namespace.
    regional: BTreeSet<String>,
}

impl StackNames {
    /// The names of this stack at this site.
    pub fn of(config: &Config, site: &Site) -> StackNames {
        let regional = config.buckets.iter().filter(|(_, bucket)| bucket.is_account_regional);
        StackNames {
            stack: config.name.to_string(),
            account: site.account.clone(),
            region: site.region.clone(),
            regional: regional.map(|(entry, _)| entry.to_string()).collect(),
        }
    }

    /// A table, function, launch template, load balancer, or the load balancer's security group.
    pub fn plain(&self, entry: &str) -> String {
        format!("{}-{entry}", self.stack)
    }

    /// A bucket.
    pub fn bucket(&self, entry: &str) -> String {
        let end = if self.regional.contains(entry) { ACCOUNT_REGIONAL } else { "" };
        format!("{}-{entry}-{}-{}{end}", self.stack, self.account, self.region)
    }

    /// The bucket that programs are uploaded to. It is the stack's anchor: created first, removed last.
    pub fn artifacts(&self) -> String {
        self.bucket("artifacts")
    }

    /// The role of a function.
    pub fn function_role(&self, entry: &str) -> String {
        format!("{}-{}-{entry}-fn", self.stack, self.region)
    }

    /// The role and the instance profile of a service.
    pub fn service_role(&self, entry: &str) -> String {
        format!("{}-{}-{entry}-svc", self.stack, self.region)
    }

    /// The name of the resources behind a load balancer: a target group, its Auto Scaling group, and the security group
    /// of the instances. A target group's port is fixed at creation (docs/aws.md §9.3), so another port needs another
    /// set of all three: the new set is created, the load balancer switches, the old set is removed.
    pub fn at_port(&self, entry: &str, port: u16) -> String {
        format!("{}-{entry}-{port}", self.stack)
    }

    /// The same of a service that shares the load balancer of another one. A target group belongs to one load balancer
    /// (docs/aws.md §9.3), so another load balancer needs another set of all three, too.
    pub fn at_port_behind(&self, entry: &str, port: u16, front: &str) -> String {
        format!("{}-{front}", self.at_port(entry, port))
    }

    /// A function's log group.
    pub fn log_group(&self, entry: &str) -> String {
        format!("/aws/lambda/{}", self.plain(entry))
    }

    /// A service's log group.
    pub fn service_log_group(&self, entry: &str) -> String {
        format!("{}{entry}", service_log_groups(&self.stack))
    }

    /// The IAM path of this stack's roles and profiles.
    pub fn iam_path(&self) -> String {
        iam_path(&self.stack)
    }
}

/// The prefix of the log groups of all services.
pub const SERVICE_LOG_GROUPS: &str = "/deployer/";

/// The prefix of the log groups of a stack's services.
pub fn service_log_groups(stack: &str) -> String {
    format!("{SERVICE_LOG_GROUPS}{stack}/")
}

/// The IAM path of a stack: listing it takes one call.
pub fn iam_path(stack: &str) -> String {
    format!("{ALL_STACKS}{stack}/")
}

/// The IAM path of all stacks.
pub const ALL_STACKS: &str = "/deployer/";

/// Whether a role or an instance profile with this path and name belongs to this region: IAM is global.
pub fn is_in_region(path: &str, name: &str, region: &str) -> bool {
    let stack = path.strip_prefix(ALL_STACKS).and_then(|stack| stack.strip_suffix('/'));
    let rest = stack.and_then(|stack| name.strip_prefix(stack)?.strip_prefix('-')?.strip_prefix(region));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_a_role_is_read_from_its_name() {
        let is_here = |name| is_in_region(&iam_path("app"), name, "us-east-1");
        assert!(is_here("app-us-east-1-web-svc"));
        assert!(!is_here("app-us-east-2-web-svc") && !is_here("app-us-east-1") && !is_here("web-us-east-1-web-svc"));
        assert!(!is_in_region("/other/app/", "app-us-east-1-web-svc", "us-east-1"));
    }
}
