//! Authorization: a call needs actions on resources, which its caller's role policies and the resource policies allow
//! or deny.
//!
//! The account's own key may do everything. Decisions are not cached: a changed policy applies to the next call.

pub mod bucket_policy;
mod condition;
mod denial;
pub mod function_policy;
mod keys;
mod pattern;
mod policy;
mod public;
mod resource_policy;
pub mod simulation;
mod trust;
mod used;

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use kit::ACCOUNT;
pub use kit::call::Need;
pub use pattern::Pattern;
pub use policy::Policy;
use policy::{Verdict, judge};
pub use public::is_public;
use resource_policy::Principal;
pub use resource_policy::{ResourcePolicies, ResourcePolicy};
pub use trust::Trust;
pub use used::Used;

pub use denial::Denial;
use denial::Reason;
pub use keys::Keys;

/// A role's identity and policies, which determine its permissions.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The role's ARN.
    pub role_arn: String,
    /// The role's tags, for conditions.
    pub tags: BTreeMap<String, String>,
    /// Its policies, inline and attached.
    pub policies: Vec<Policy>,
}

/// The caller of a request, with its permissions.
#[derive(Debug, Clone)]
pub struct Caller {
    arn: String,
    user_id: String,
    region: String,
    power: Power,
    used: Option<Arc<Used>>,
}

#[derive(Debug, Clone)]
enum Power {
    /// The account's owner.
    Everything,
    /// A role's grants, `None` if the role was deleted, and the resource policies.
    Granted(Option<Arc<Grants>>, Arc<ResourcePolicies>),
}

impl Caller {
    /// The account's owner.
    pub fn owner(arn: String, region: &str) -> Caller {
        Caller { arn, user_id: String::new(), region: region.to_owned(), power: Power::Everything, used: None }
    }

    /// A session of a role.
    pub fn in_role(
        arn: String,
        user_id: String,
        region: &str,
        grants: Option<Arc<Grants>>,
        resources: Arc<ResourcePolicies>,
    ) -> Caller {
        Caller { arn, user_id, region: region.to_owned(), power: Power::Granted(grants, resources), used: None }
    }

    /// The same caller; the permissions that it needs are recorded here.
    #[must_use]
    pub fn noted_in(self, used: Arc<Used>) -> Caller {
        Caller { used: Some(used), ..self }
    }

    /// The principal's ARN, as in policies and error messages.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Whether everything is allowed, so that no policy needs to be evaluated.
    pub fn may_everything(&self) -> bool {
        matches!(self.power, Power::Everything)
    }

    /// Checks that the caller is allowed an action now.
    ///
    /// Errors: the denial, worded as on AWS (docs/aws.md §3.1).
    pub fn may(&self, need: &Need) -> Result<(), Denial> {
        let Power::Granted(grants, resources) = &self.power else { return Ok(()) };
        if let Some(used) = &self.used {
            used.note(&self.arn, need);
        }
        let denied = |reason| Err(Denial { caller: self.arn.clone(), need: need.clone(), reason });
        let Some(grants) = grants else { return denied(Reason::NothingAllows) };
        let keys = self.keys(need, Some(grants));
        let own = judge(&grants.policies, &need.action, &need.resource, &keys);
        let who = Principal { role: &grants.role_arn, session: &self.arn };
        let theirs = resources.of(&need.resource).map_or(Verdict::Unmentioned, |policy| policy.judge(need, &keys, who));
        match (own, theirs) {
            (Verdict::Denied, _) => denied(Reason::IdentityPolicy),
            (_, Verdict::Denied) => denied(Reason::ResourcePolicy),
            (Verdict::Allowed, _) | (_, Verdict::Allowed) => Ok(()),
            (Verdict::Unmentioned, Verdict::Unmentioned) => denied(Reason::NothingAllows),
        }
    }

    /// The condition keys of this caller's request, for evaluating a policy other than the caller's own.
    pub fn says(&self, need: &Need) -> Keys {
        match &self.power {
            Power::Granted(grants, _) => self.keys(need, grants.as_deref()),
            Power::Everything => {
                let mut keys = self.keys(need, None);
                keys.set("aws:PrincipalType", "User");
                keys.set("aws:PrincipalArn", &self.arn);
                keys
            }
        }
    }

    fn keys(&self, need: &Need, grants: Option<&Grants>) -> Keys {
        let mut keys = Keys::default();
        let now = OffsetDateTime::now_utc();
        keys.set("aws:CurrentTime", now.format(&Rfc3339).unwrap_or_default());
        keys.set("aws:EpochTime", now.unix_timestamp().to_string());
        keys.set("aws:PrincipalAccount", ACCOUNT);
        keys.set("aws:PrincipalType", "AssumedRole");
        keys.set("aws:RequestedRegion", &self.region);
        keys.set("aws:ResourceAccount", ACCOUNT);
        // Requests over the loopback interface count as secure: TLS protects against eavesdropping, which is not a threat
        // there.
        keys.set("aws:SecureTransport", "true");
        keys.set("aws:SourceIp", "127.0.0.1");
        keys.set("aws:ViaAWSService", "false");
        keys.set("aws:userid", &self.user_id);
        if let Some(grants) = grants {
            keys.set("aws:PrincipalArn", &grants.role_arn);
            for (key, value) in &grants.tags {
                keys.set(&format!("aws:PrincipalTag/{key}"), value);
            }
        }
        for (key, value) in &need.keys {
            keys.add(key, value);
        }
        keys.has_tags = need.has_tags;
        keys
    }
}

#[cfg(test)]
mod tests;
