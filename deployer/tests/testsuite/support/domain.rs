//! A domain in a hosted zone, with records of others.

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use deployer::cloud::aws::Aws;
use testkit::until;

use super::RunOutput;

/// The hosted zone.
pub const ZONE: &str = "example.org";
/// The domain of a service in it.
pub const DOMAIN: &str = "app.example.org";

/// The operations that only a domain needs, and those of listeners.
pub const OPERATIONS: &[&str] = &[
    "AddTagsToCertificate",
    "ChangeResourceRecordSets",
    "CreateListener",
    "DeleteCertificate",
    "DeleteListener",
    "DescribeCertificate",
    "GetHostedZone",
    "ListCertificates",
    "ListHostedZones",
    "ListResourceRecordSets",
    "ListTagsForCertificate",
    "ModifyListener",
    "RequestCertificate",
];

/// Creates the hosted zone, with a record of others in it, and returns its id.
pub async fn make_zone(aws: &Aws) -> String {
    let made = aws.route53.create_hosted_zone().name(ZONE).caller_reference("1").send().await;
    let id = made.expect("a zone can be made").hosted_zone.expect("a zone").id;
    let id = id.trim_start_matches("/hostedzone/").to_owned();
    change(aws, &id, ChangeAction::Create, set("mail.example.org", RrType::A, "192.0.2.1")).await;
    id
}

/// Changes one record set.
pub async fn change(aws: &Aws, zone: &str, action: ChangeAction, set: ResourceRecordSet) {
    let change = Change::builder().action(action).resource_record_set(set).build().expect("complete");
    let batch = ChangeBatch::builder().changes(change).build().expect("complete");
    until("the change", async || {
        let call = aws.route53.change_resource_record_sets().hosted_zone_id(zone);
        call.change_batch(batch.clone()).send().await.is_ok()
    })
    .await;
}

/// A record set with one value.
pub fn set(name: &str, kind: RrType, value: &str) -> ResourceRecordSet {
    set_of_values(name, kind, &[value])
}

/// A record set with these values.
pub fn set_of_values(name: &str, kind: RrType, values: &[&str]) -> ResourceRecordSet {
    let values = values.iter().map(|value| ResourceRecord::builder().value(*value).build().expect("complete"));
    let set = ResourceRecordSet::builder().name(name).r#type(kind).ttl(60);
    set.set_resource_records(Some(values.collect())).build().expect("complete")
}

/// The record sets of a zone.
pub async fn sets(aws: &Aws, zone: &str) -> Vec<ResourceRecordSet> {
    let listed = aws.route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
    listed.expect("records").resource_record_sets
}

/// The record set of this name and type.
pub async fn set_of(aws: &Aws, zone: &str, name: &str, kind: RrType) -> Option<ResourceRecordSet> {
    let mut sets = sets(aws, zone).await.into_iter();
    sets.find(|set| set.name.trim_end_matches('.') == name && set.r#type == kind)
}

/// Asserts that a command has printed the address with HTTPS, which has a port of this machine.
pub fn assert_https(said: &RunOutput) {
    let url = said.output("URL");
    let port = url.strip_prefix(&format!("https://{DOMAIN}:")).and_then(|port| port.parse::<u16>().ok());
    assert!(port.is_some(), "{url}: {}", said.all());
}
