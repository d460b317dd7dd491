//! The web ACLs that `stack.yaml` names, against the account that is deployed to.

use anyhow::anyhow;

use super::{Session, place};
use crate::{
    kinds::bucket::LOCAL_ACCOUNT,
    output::{
        exit::{Exit, Failure},
        report,
    },
};

impl Session {
    /// Rejects web ACLs of another account, which no load balancer takes. Warns that the local AWS inspects no requests.
    pub(super) fn check_web_acls(&self) -> Result<(), Failure> {
        let account = &self.site.account;
        for (path, web_acl) in self.config.web_acls() {
            let Some(theirs) = web_acl.account() else { continue };
            let at = place(&self.config, &self.file, &path);
            if theirs != account {
                let error = anyhow!("the web ACL is of the account {theirs}, and this is {account}");
                let hint = match account == LOCAL_ACCOUNT {
                    true => {
                        format!("the local AWS has web ACLs of {account} only: leave `waf` out, or write that account")
                    }
                    false => format!("name a web ACL of {account}, or sign in to {theirs}"),
                };
                return Err(Failure::new(Exit::Config, error).at(at).hint(hint));
            }
            if account == LOCAL_ACCOUNT {
                let place = at.unwrap_or_default();
                let words = "there is no WAF here: every web ACL counts as existing, and none inspects requests";
                report::warning(&format!("{place}: {words}"));
            }
        }
        Ok(())
    }
}
