//! Checks of the web ACLs of load balancers.

use super::Checks;
use crate::cloud::partition;

impl Checks<'_> {
    /// A load balancer takes a web ACL of its own partition, region and account only (docs/aws.md §9.11).
    pub(super) fn web_acls(&mut self) {
        let region = self.config.region.as_str();
        let account = self.config.account.as_deref();
        for (path, web_acl) in self.config.web_acls() {
            if let Some(elsewhere) = web_acl.region().filter(|there| *there != region) {
                let message = format!("a web ACL of {elsewhere}, and the stack is in {region}");
                self.problem(&path, message, format!("name a web ACL of {region}"));
            } else if let Some(other) = web_acl.partition().filter(|there| *there != partition::of(region)) {
                let message =
                    format!("a web ACL of the partition {other}, and {region} is in {}", partition::of(region));
                self.problem(&path, message, format!("begin its ARN with arn:{}:", partition::of(region)));
            } else if let (Some(theirs), Some(account)) = (web_acl.account(), account)
                && theirs != account
            {
                let message = format!("a web ACL of the account {theirs}, and the stack is in {account}");
                self.problem(&path, message, format!("name a web ACL of {account}, or correct `account`"));
            }
        }
    }
}
