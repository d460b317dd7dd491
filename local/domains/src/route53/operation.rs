//! The operations of Route 53.

use super::Run::{Change as Make, Look};
use super::document::Element;
use super::lists::{list_records, list_zones, list_zones_by_name};
use super::record_changes::{change_records, get_change};
use super::zone_calls::{count_zones, create_zone, delete_zone, get_zone, update_comment};
use super::{Run, tags};
use crate::name;
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Need, Needs, Operation, Pagination, Rows};

const ZONE: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "hostedzone", 2))]);
const CHANGE: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "change", 2))]);
const TAGGED: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "hostedzone", 3))]);

/// The ARN of the resource whose ID is a segment of the path.
fn arn(asked: &Asked, kind: &str, at: usize) -> String {
    let id = asked.call.input.rest().path.get(at).map_or("*", String::as_str);
    format!("arn:aws:route53:::{kind}/{id}")
}

/// A change of records has condition keys with their names, types and actions (docs/aws.md §21.5).
fn to_change(asked: &Asked) -> Vec<Need> {
    let mut need = asked.own(arn(asked, "hostedzone", 2));
    let body = Element::parse(&asked.request.body).unwrap_or_default();
    for change in body.child("ChangeBatch").map_or(&[][..], |batch| batch.items("Changes")) {
        let set = change.child("ResourceRecordSet");
        let text = |name: &str| set.and_then(|set| set.text(name));
        let normal = text("Name").and_then(name::normal);
        let normal = normal.map(|name| name.trim_end_matches('.').to_owned());
        need = need
            .knowing("route53:ChangeResourceRecordSetsNormalizedRecordNames", normal)
            .knowing("route53:ChangeResourceRecordSetsRecordTypes", text("Type").map(str::to_owned))
            .knowing("route53:ChangeResourceRecordSetsActions", change.text("Action").map(str::to_owned));
    }
    vec![need]
}

/// Tags of several zones are read at once.
fn on_each(asked: &Asked) -> Vec<Need> {
    let body = Element::parse(&asked.request.body).unwrap_or_default();
    let needs =
        body.items("ResourceIds").iter().map(|id| asked.own(format!("arn:aws:route53:::hostedzone/{}", id.text)));
    let needs: Vec<Need> = needs.collect();
    if needs.is_empty() { vec![asked.own("arn:aws:route53:::hostedzone/*")] } else { needs }
}

pub(super) const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "ChangeResourceRecordSets",
        Writes,
        Needs::Of(to_change),
        None,
        "ChangeBatch.Comment ChangeBatch.Changes.Change.Action ChangeBatch.Changes.Change.ResourceRecordSet.Name \
         ChangeBatch.Changes.Change.ResourceRecordSet.Type ChangeBatch.Changes.Change.ResourceRecordSet.TTL \
         ChangeBatch.Changes.Change.ResourceRecordSet.ResourceRecords.ResourceRecord.Value \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.HostedZoneId \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.DNSName \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.EvaluateTargetHealth",
        Make(change_records),
    ),
    Operation::new(
        "ChangeTagsForResource",
        Writes,
        TAGGED,
        None,
        "AddTags.Tag.Key AddTags.Tag.Value RemoveTagKeys.Key",
        Make(tags::change),
    ),
    Operation::new(
        "CreateHostedZone",
        Writes,
        Needs::Own,
        None,
        "Name CallerReference HostedZoneConfig.Comment HostedZoneConfig.PrivateZone=false|0",
        Make(create_zone),
    ),
    Operation::new("DeleteHostedZone", Writes, ZONE, None, "", Make(delete_zone)),
    Operation::new("GetChange", Reads, CHANGE, None, "", Look(get_change)),
    Operation::new("GetHostedZone", Reads, ZONE, None, "", Look(get_zone)),
    Operation::new("GetHostedZoneCount", Reads, Needs::Own, None, "", Look(count_zones)),
    Operation::new(
        "ListHostedZones",
        Reads,
        Needs::Own,
        Some(Pagination::Own("maxitems")),
        "marker maxitems",
        Look(list_zones),
    ),
    Operation::new(
        "ListHostedZonesByName",
        Reads,
        Needs::Own,
        Some(Pagination::Own("maxitems")),
        "dnsname hostedzoneid maxitems",
        Look(list_zones_by_name),
    ),
    Operation::new(
        "ListResourceRecordSets",
        Reads,
        ZONE,
        Some(Pagination::Own("maxitems")),
        "name type maxitems",
        Look(list_records),
    ),
    Operation::new("ListTagsForResource", Reads, TAGGED, None, "", Look(tags::list)),
    Operation::new(
        "ListTagsForResources",
        Reads,
        Needs::Of(on_each),
        None,
        "ResourceIds.ResourceId",
        Look(tags::list_several),
    ),
    Operation::new("UpdateHostedZoneComment", Writes, ZONE, None, "Comment", Make(update_comment)),
];

/// Returns the operations.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}
