//! The names of all resources, known before anything exists.
//!
//! Every name begins with the stack's. Bucket names include the account, because they are global; names of roles
//! include the region, because IAM is (docs/aws.md §1). `config/checks.rs` has checked that all of them fit.

use crate::{cloud::site::Site, config::Config};

/// Derives names.
#[derive(Debug, Clone)]
pub struct Names {
    stack: String,
    account: String,
    region: String,
}

impl Names {
    /// The names of this stack at this site.
    pub fn of(config: &Config, site: &Site) -> Names {
        Names { stack: config.name.to_string(), account: site.account.clone(), region: site.region.clone() }
    }

    /// A table, function, launch template, load balancer, or the load balancer's security group.
    pub fn plain(&self, entry: &str) -> String {
        format!("{}-{entry}", self.stack)
    }

    /// A bucket.
    pub fn bucket(&self, entry: &str) -> String {
        format!("{}-{entry}-{}-{}", self.stack, self.account, self.region)
    }

    /// The bucket that programs are uploaded to. It is the stack's anchor: the first to come, the last to go.
    pub fn artifacts(&self) -> String {
        self.bucket("artifacts")
    }

    /// The role of a function.
    pub fn function_role(&self, entry: &str) -> String {
        format!("{}-{}-{entry}-fn", self.stack, self.region)
    }

    /// The role of a service, and its instance profile.
    pub fn service_role(&self, entry: &str) -> String {
        format!("{}-{}-{entry}-svc", self.stack, self.region)
    }

    /// What stands behind a load balancer: a target group, the Auto Scaling group that fills it, and the security
    /// group of its instances. A target group's port is fixed at its creation (docs/aws.md §9.3), so another port is
    /// another set of all three: the new one comes, the load balancer switches, the old one goes.
    pub fn at_port(&self, entry: &str, port: u16) -> String {
        format!("{}-{entry}-{port}", self.stack)
    }

    /// A function's log group.
    pub fn log_group(&self, entry: &str) -> String {
        format!("/aws/lambda/{}", self.plain(entry))
    }

    /// Where IAM keeps what is this stack's.
    pub fn iam_path(&self) -> String {
        iam_path(&self.stack)
    }
}

/// Where IAM keeps what belongs to a stack: listing it is one call.
pub fn iam_path(stack: &str) -> String {
    format!("/deployer/{stack}/")
}
