//! The alias records by which a domain leads to a load balancer, for IPv4 and IPv6.
//!
//! Records carry no tags. Ours are those that lead to our load balancer, or to another one of the stack that has this
//! domain in its tag: the domain has moved between services. Others of the same name are never touched.

use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use serde::Serialize;

use super::load_balancer;
use crate::{
    cloud::{
        aws::Aws,
        zones::{self, leads_to, plain},
    },
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// The alias of a domain.
#[derive(Debug, Clone)]
pub struct Alias {
    /// The stack.
    pub stack: String,
    /// The domain name.
    pub domain: String,
    /// The id of the hosted zone that holds it.
    pub zone: String,
    /// Its intended target.
    pub target: AliasTarget,
}

/// A load balancer as records name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// The name of the load balancer, which its DNS name begins with.
    pub balancer: String,
    /// Its DNS name.
    pub dns_name: String,
    /// The id of the hosted zone that its DNS name is in.
    pub zone: String,
}

/// The settings that we manage: where the records lead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The record for IPv4.
    pub a: Option<String>,
    /// The record for IPv6, which is empty while the load balancer has IPv4 addresses only.
    pub aaaa: Option<String>,
    /// Whether a record is not ours. Not a setting: a removal leaves it, and the load balancer takes ours with it.
    #[serde(skip)]
    pub is_bare: bool,
}

/// The present records.
#[derive(Debug, Clone)]
pub struct Output {
    sets: Vec<ResourceRecordSet>,
}

const TYPES: [RrType; 2] = [RrType::A, RrType::Aaaa];

impl Settings {
    /// Both records lead to this name.
    pub fn to(dns_name: &str) -> Settings {
        let name = Some(plain(dns_name));
        Settings { a: name.clone(), aaaa: name, is_bare: false }
    }
}

impl Resource for Alias {
    const KIND: &'static str = "alias";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.domain
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let sets = sets_of(aws, &self.zone, &self.domain).await?;
        if sets.is_empty() {
            return Ok(Observed::Absent);
        }
        let there = |kind: &RrType| sets.iter().find(|set| set.r#type == *kind).map(|set| undualled(&leads_to(set)));
        let (a, aaaa) = (there(&RrType::A), there(&RrType::Aaaa));
        let mut others: Vec<&ResourceRecordSet> = sets.iter().filter(|set| !self.target.is_of(set)).collect();
        let is_bare = !others.is_empty();
        if others.iter().any(|set| set.alias_target.is_some()) {
            let moved = load_balancer::with_domain(aws, &self.stack, &self.domain).await?;
            others.retain(|set| !moved.iter().any(|target| target.is_of(set)));
        }
        let others: Vec<String> = others
            .into_iter()
            .map(|set| format!("its {} record leads to {}", set.r#type.as_str(), leads_to(set)))
            .collect();
        let owner = match others.is_empty() {
            true => Owner::Parent,
            false => Owner::Other(format!("another owner: {}", others.join(", "))),
        };
        Ok(Observed::Present(Live { settings: Settings { a, aaaa, is_bare }, output: Output { sets }, owner }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let sets = self.wanted(&TYPES)?;
        zones::change(aws, &self.zone, Vec::new(), sets.clone()).await?;
        Ok(Some(Live { settings: want.clone(), output: Output { sets }, owner: Owner::Parent }))
    }

    /// Replaces records only if they are still as they were read: later changes are kept.
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let there = [(&live.settings.a, &want.a), (&live.settings.aaaa, &want.aaaa)];
        let differing = TYPES.iter().zip(there).filter(|(_, (there, want))| there != want);
        let differing: Vec<RrType> = differing.map(|(kind, _)| kind.clone()).collect();
        let before = live.output.sets.iter().filter(|set| differing.contains(&set.r#type)).cloned().collect();
        zones::change(aws, &self.zone, before, self.wanted(&differing)?).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let ours = live.output.sets.iter().filter(|set| self.target.is_of(set)).cloned().collect();
        zones::change(aws, &self.zone, ours, Vec::new()).await
    }

    fn is_bare(live: &Settings) -> bool {
        live.is_bare
    }
}

impl Alias {
    fn wanted(&self, kinds: &[RrType]) -> Result<Vec<ResourceRecordSet>, Fault> {
        let AliasTarget { dns_name, zone, .. } = &self.target;
        kinds.iter().map(|kind| zones::alias(&self.domain, kind.clone(), dns_name, zone)).collect()
    }
}

/// Removes the records of a domain that lead to this load balancer, from every zone that may hold them.
pub async fn remove(aws: &Aws, domain: &str, target: &AliasTarget) -> Result<(), Fault> {
    for zone in zones::above(aws, domain).await? {
        let sets = sets_of(aws, &zone.id, domain).await?;
        let ours = sets.into_iter().filter(|set| target.is_of(set)).collect();
        zones::change(aws, &zone.id, ours, Vec::new()).await?;
    }
    Ok(())
}

/// The record sets of a domain that decide where it leads.
async fn sets_of(aws: &Aws, zone: &str, domain: &str) -> Result<Vec<ResourceRecordSet>, Fault> {
    let mut sets = zones::records(aws, zone, domain).await?;
    sets.retain(|set| matches!(set.r#type, RrType::A | RrType::Aaaa | RrType::Cname));
    Ok(sets)
}

impl AliasTarget {
    /// Whether a record set is an alias of this load balancer, or of an earlier one of the same name: a load balancer that
    /// is created again gets another DNS name.
    fn is_of(&self, set: &ResourceRecordSet) -> bool {
        let is_simple = set.set_identifier.is_none() && TYPES.contains(&set.r#type);
        set.alias_target.as_ref().filter(|_| is_simple).is_some_and(|target| self.is_named(&target.dns_name))
    }

    fn is_named(&self, name: &str) -> bool {
        let (name, dns_name) = (undualled(name), plain(&self.dns_name));
        if name == dns_name {
            return true;
        }
        // NAME-NUMBER.REGION.elb.amazonaws.com, after `internal-` if it is internal; the names of load balancers of an
        // account and region are unique, and none begins with that (docs/aws.md §9.2).
        let parts = |name: &str| {
            let name = name.strip_prefix("internal-").unwrap_or(name);
            let rest = name.strip_prefix(&plain(&self.balancer))?.strip_prefix('-')?;
            let (number, place) = rest.split_once('.')?;
            number.chars().all(|c| c.is_ascii_digit()).then(|| place.to_owned())
        };
        parts(&name).is_some_and(|place| parts(&dns_name).as_ref() == Some(&place))
    }
}

/// The console writes `dualstack.` before the DNS name; it leads to the same load balancer (docs/aws.md §9.8).
fn undualled(name: &str) -> String {
    let name = plain(name);
    name.strip_prefix("dualstack.").map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_alias_of_our_load_balancer_is_ours() {
        let target = AliasTarget {
            balancer: "app-web".into(),
            dns_name: "app-web-123.us-east-1.elb.amazonaws.com".into(),
            zone: "Z1".into(),
        };
        for (name, ours) in [
            ("app-web-123.us-east-1.elb.amazonaws.com.", true),
            ("dualstack.App-Web-123.us-east-1.elb.amazonaws.com.", true),
            ("app-web-99.us-east-1.elb.amazonaws.com", true),
            ("app-web-99.eu-west-1.elb.amazonaws.com", false),
            ("app-web-2-99.us-east-1.elb.amazonaws.com", false),
            ("other-123.us-east-1.elb.amazonaws.com", false),
            ("d111111abcdef8.cloudfront.net", false),
        ] {
            let mut set = zones::alias("app.example.org", RrType::A, name, "Z1").unwrap();
            assert_eq!(target.is_of(&set), ours, "{name}");
            set.set_identifier = Some("blue".into());
            assert!(!target.is_of(&set), "{name}, weighted");
        }
        let internal = AliasTarget {
            balancer: "app-web-internal".into(),
            dns_name: "internal-app-web-internal-123.us-east-1.elb.amazonaws.com".into(),
            zone: "Z1".into(),
        };
        let earlier = "internal-app-web-internal-99.us-east-1.elb.amazonaws.com";
        let set = zones::alias("app.example.org", RrType::A, earlier, "Z1").unwrap();
        assert!(internal.is_of(&set) && !target.is_of(&set));
        let cname = zones::cname("app.example.org", &target.dns_name).unwrap();
        assert!(!target.is_of(&cname), "a CNAME is someone else's");
    }
}
