//! Public hosted zones of Route 53, and the records in them.

use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};

use super::aws::{Aws, found, items};
use crate::engine::Fault;

/// A public hosted zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its id, without `/hostedzone/`.
    pub id: String,
    /// Its name, without the dot at the end.
    pub name: String,
}

/// How long clients may cache a record, in seconds.
const CACHED_S: i64 = 300;
/// More record sets than a name has without a routing policy.
const SETS: i32 = 100;

/// The public hosted zones of the account that hold this domain: those with the longest name. There may be several of the
/// same name, of which DNS knows at most one (docs/aws.md §9.8).
pub async fn holding(aws: &Aws, domain: &str) -> Result<Vec<Zone>, Fault> {
    Ok(longest(above(aws, domain).await?))
}

/// All public hosted zones of the account whose name the domain ends with: any of them may have records of it from before
/// a longer one was created.
pub async fn above(aws: &Aws, domain: &str) -> Result<Vec<Zone>, Fault> {
    let zones = items(aws.route53.list_hosted_zones().into_paginator().send()).await?;
    let zones = zones.into_iter().filter(|zone| !zone.config.as_ref().is_some_and(|config| config.private_zone));
    let zone = |zone: aws_sdk_route53::types::HostedZone| Zone { id: bare(&zone.id).into(), name: plain(&zone.name) };
    Ok(suffixes(zones.map(zone).collect(), domain))
}

/// Returns the zones whose name is a suffix of the domain.
fn suffixes(mut zones: Vec<Zone>, domain: &str) -> Vec<Zone> {
    let holds = |zone: &Zone| {
        domain.strip_suffix(zone.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    zones.retain(holds);
    zones.sort_by(|a, b| a.id.cmp(&b.id));
    zones
}

/// Returns the zones with the longest name.
fn longest(mut zones: Vec<Zone>) -> Vec<Zone> {
    let most = zones.iter().map(|zone| zone.name.len()).max().unwrap_or_default();
    zones.retain(|zone| zone.name.len() == most);
    zones
}

/// The name servers that Route 53 has assigned to a zone, sorted; none if the zone is gone.
pub async fn name_servers(aws: &Aws, zone: &Zone) -> Result<Vec<String>, Fault> {
    let answer = found(aws.route53.get_hosted_zone().id(&zone.id).send().await)?;
    let set = answer.and_then(|answer| answer.delegation_set);
    let mut servers: Vec<String> = set.iter().flat_map(|set| set.name_servers()).map(|name| plain(name)).collect();
    servers.sort();
    Ok(servers)
}

/// The name servers that the NS records of a name in a zone lead to, sorted; none if it has no such records.
pub async fn led_to(aws: &Aws, zone: &Zone, name: &str) -> Result<Vec<String>, Fault> {
    let sets = records(aws, &zone.id, name).await?;
    let sets = sets.iter().filter(|set| set.r#type == RrType::Ns);
    let mut servers: Vec<String> =
        sets.flat_map(|set| set.resource_records()).map(|record| plain(&record.value)).collect();
    servers.sort();
    Ok(servers)
}

/// The record sets of exactly this name; none if the zone is gone.
pub async fn records(aws: &Aws, zone: &str, name: &str) -> Result<Vec<ResourceRecordSet>, Fault> {
    // The list begins at the name, and a name with more sets than one page has sets that are not ours in any case.
    let call = aws.route53.list_resource_record_sets().hosted_zone_id(zone).start_record_name(name).max_items(SETS);
    let answer = found(call.send().await)?;
    let sets = answer.map(|answer| answer.resource_record_sets).unwrap_or_default();
    Ok(sets.into_iter().filter(|set| plain(&set.name) == name).collect())
}

/// Changes record sets, all or none of them. A record set is deleted only if it is exactly as given, and created only if
/// there is none (docs/aws.md §9.8).
pub async fn change(
    aws: &Aws,
    zone: &str,
    delete: Vec<ResourceRecordSet>,
    create: Vec<ResourceRecordSet>,
) -> Result<(), Fault> {
    let changes = |action: ChangeAction, sets: Vec<ResourceRecordSet>| {
        sets.into_iter().map(move |set| Change::builder().action(action.clone()).resource_record_set(set).build())
    };
    let changes = changes(ChangeAction::Delete, delete).chain(changes(ChangeAction::Create, create));
    let changes: Vec<Change> = changes.collect::<Result<_, _>>().map_err(incomplete)?;
    if changes.is_empty() {
        return Ok(());
    }
    let batch = ChangeBatch::builder().set_changes(Some(changes)).build().map_err(incomplete)?;
    aws.route53.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send().await?;
    Ok(())
}

/// A CNAME record.
pub fn cname(name: &str, value: &str) -> Result<ResourceRecordSet, Fault> {
    let value = ResourceRecord::builder().value(value).build().map_err(incomplete)?;
    let set = ResourceRecordSet::builder().name(name).r#type(RrType::Cname).ttl(CACHED_S).resource_records(value);
    set.build().map_err(incomplete)
}

/// An alias record that leads to a load balancer, given by its DNS name and the id of the zone that this name is in.
pub fn alias(name: &str, kind: RrType, dns_name: &str, zone: &str) -> Result<ResourceRecordSet, Fault> {
    let target = AliasTarget::builder().dns_name(dns_name).hosted_zone_id(zone).evaluate_target_health(false);
    let target = target.build().map_err(incomplete)?;
    ResourceRecordSet::builder().name(name).r#type(kind).alias_target(target).build().map_err(incomplete)
}

/// The target of a record set: the name of an alias, or the values of the records.
pub fn leads_to(set: &ResourceRecordSet) -> String {
    match &set.alias_target {
        Some(target) => plain(&target.dns_name),
        None => set.resource_records().iter().map(|record| plain(&record.value)).collect::<Vec<_>>().join(" "),
    }
}

/// A name as we compare it: DNS ignores the case, and Route 53 returns names with a dot at the end.
pub fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

fn incomplete(error: impl std::fmt::Display) -> Fault {
    Fault::new("ChangeResourceRecordSets", "IncompleteRecord", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(id: &str, name: &str) -> Zone {
        Zone { id: id.into(), name: name.into() }
    }

    #[test]
    fn the_longest_zone_holds_a_domain() {
        let zones = || {
            let names = [("Z1", "org"), ("Z2", "example.org"), ("Z4", "dev.example.org"), ("Z3", "dev.example.org")];
            names.iter().map(|(id, name)| zone(id, name)).collect()
        };
        let ids = |zones: Vec<Zone>| zones.into_iter().map(|zone| zone.id).collect::<Vec<String>>();
        for (domain, holding, all) in [
            ("app.example.org", vec!["Z2"], vec!["Z1", "Z2"]),
            ("example.org", vec!["Z2"], vec!["Z1", "Z2"]),
            ("app.dev.example.org", vec!["Z3", "Z4"], vec!["Z1", "Z2", "Z3", "Z4"]),
            ("dev.example.org", vec!["Z3", "Z4"], vec!["Z1", "Z2", "Z3", "Z4"]),
            ("notexample.org", vec!["Z1"], vec!["Z1"]),
            ("example.com", vec![], vec![]),
        ] {
            assert_eq!(ids(suffixes(zones(), domain)), all, "{domain}");
            assert_eq!(ids(longest(suffixes(zones(), domain))), holding, "{domain}");
        }
    }

    #[test]
    fn names_are_compared_without_case_and_final_dot() {
        let set = alias("app.example.org", RrType::A, "Web-1.us-east-1.ELB.amazonaws.com.", "Z1").unwrap();
        assert_eq!(leads_to(&set), "web-1.us-east-1.elb.amazonaws.com");
        assert_eq!(leads_to(&cname("a.example.org", "B.Example.org.").unwrap()), "b.example.org");
        assert_eq!(bare("/hostedzone/Z1"), "Z1");
    }
}
