//! Every stack of an account and region, found by the ownership tags of its resources.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    cloud::{aws::Aws, why::is_denied},
    cost::{
        Cost,
        existing::{Existing, PRICED, Sizes},
    },
    engine::{AT_ONCE, AllTagged, Fault, RESOURCE_TAG, Resource as _, STACK_TAG, Tagged},
    kinds::{
        KINDS, Kind, STORED_VALUES,
        auto_scaling_group::{ENDS_TAG, PAUSED_TAG},
        bucket::Bucket,
    },
    output::utc::timestamp,
};

/// The stacks of an account. Its fields are the keys of `ls --json`.
#[derive(Debug, Default, Serialize)]
pub struct Stacks {
    /// The account's number; `None` without a local AWS.
    pub account: Option<String>,
    /// The stacks, by name and region.
    pub stacks: Vec<FoundStack>,
    /// The resources that could not be read.
    pub unread: Vec<Unread>,
}

/// A stack that was found by its resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FoundStack {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The value of the tag `owner` of its resources, if they have one.
    pub owner: Option<String>,
    /// The oldest time of creation known.
    pub created: Option<String>,
    /// When it was paused.
    pub paused: Option<String>,
    /// When AWS ends its services, or has ended them.
    pub ends: Option<String>,
    /// The number of its resources, by kind.
    pub resources: BTreeMap<&'static str, usize>,
    /// The number of instances, and the size of the data.
    pub size: Sizes,
    /// The monthly cost of its resources.
    pub cost: Cost,
    /// How to remove it; `None` if no `stack.yaml` can have its name.
    pub remove: Option<RemovalInstructions>,
    /// Whether its artifact bucket exists: without it, `down` considers the stack removed.
    #[serde(skip)]
    pub has_anchor: bool,
}

/// How to remove a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RemovalInstructions {
    /// The contents of the file that `commands` name, unless it exists.
    pub stack_yaml: Option<String>,
    /// The commands.
    pub commands: Vec<String>,
}

/// Resources of a region that could not be read for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The region.
    pub region: String,
    /// Their kinds, such as `table`.
    pub kinds: BTreeSet<&'static str>,
    /// The reason.
    pub why: String,
}

/// Lists the regions that are enabled for the account (docs/aws.md §3.1).
pub async fn regions(aws: &Aws) -> Result<BTreeSet<String>, Fault> {
    let answer = aws.ec2.describe_regions().send().await?;
    Ok(answer.regions().iter().filter_map(|region| region.region_name().map(str::to_owned)).collect())
}

/// Searches these regions.
pub async fn search(aws: &Aws, regions: &BTreeSet<String>) -> (Vec<FoundStack>, Vec<Unread>) {
    let places: Vec<(&String, Aws)> = regions.iter().map(|region| (region, aws.in_region(region))).collect();
    // The lists of all regions share one bound, and the reads of their members another (`kinds::tags::bounded`).
    let looks: Vec<_> =
        places.iter().flat_map(|(_, aws)| every_kind().map(move |kind| kind.of_any_stack(aws))).collect();
    let mut lists = stream::iter(looks).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter();
    let (mut stacks, mut unread) = (Vec::new(), Vec::new());
    for (region, _) in &places {
        let (found, missed) = of_region(region, lists.by_ref().take(every_kind().count()));
        stacks.extend(found);
        unread.extend(missed);
    }
    stacks.sort_by(|a, b| (&a.name, &a.region).cmp(&(&b.name, &b.region)));
    (stacks, unread)
}

/// Every kind that a stack can have, including those that only `deployer secret` creates.
fn every_kind() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().chain(STORED_VALUES)
}

/// Sorts the resources of a region, listed in the order of their kinds, by their stacks.
fn of_region(region: &str, lists: impl Iterator<Item = Result<AllTagged, Fault>>) -> (Vec<FoundStack>, Vec<Unread>) {
    let mut stacks = BTreeMap::new();
    let mut unread = BTreeMap::<String, BTreeSet<&'static str>>::new();
    for (kind, list) in every_kind().zip(lists) {
        for tagged in list.unwrap_or_else(|fault| vec![Err(fault)]) {
            let counted = tagged.and_then(|tagged| count(&mut stacks, region, kind.name, tagged));
            if let Err(fault) = counted {
                unread.entry(why(&fault)).or_default().insert(kind.name);
            }
        }
    }
    let is_known = |kind: &str| !unread.values().flatten().any(|unread| *unread == kind);
    let stacks = stacks.into_values().map(|counting: Counting| counting.end(is_known)).collect();
    (stacks, unread.into_iter().map(|(why, kinds)| Unread { region: region.into(), kinds, why }).collect())
}

/// A stack whose resources are being counted.
#[derive(Default)]
struct Counting {
    stack: FoundStack,
    created_s: Option<i64>,
    existing: Existing,
}

impl Counting {
    /// The stack, after all kinds have been counted. The sizes and the costs of unread resources are unknown.
    fn end(self, is_known: impl Fn(&str) -> bool) -> FoundStack {
        let is_priced = PRICED.iter().all(|kind| is_known(kind));
        FoundStack {
            created: self.created_s.and_then(timestamp),
            cost: Cost::of(self.existing.monthly().filter(|_| is_priced)),
            size: self.existing.sizes(is_known),
            ..self.stack
        }
    }
}

/// Counts a resource as one of its stack.
///
/// Errors: its size is unknown.
fn count(
    stacks: &mut BTreeMap<String, Counting>,
    region: &str,
    kind: &'static str,
    tagged: Tagged,
) -> Result<(), Fault> {
    let Some(name) = tagged.tags.get(STACK_TAG) else { return Ok(()) };
    let Counting { stack, created_s, existing } = stacks.entry(name.clone()).or_insert_with(|| {
        let stack = FoundStack { name: name.clone(), region: region.into(), ..FoundStack::default() };
        Counting { stack, ..Counting::default() }
    });
    *stack.resources.entry(kind).or_default() += 1;
    let owner = tagged.tags.iter().find(|(key, _)| key.eq_ignore_ascii_case("owner"));
    stack.owner = stack.owner.take().or(owner.map(|(_, owner)| owner.clone()));
    let first = |known: Option<String>, key: &str| known.into_iter().chain(tagged.tags.get(key).cloned()).min();
    stack.paused = first(stack.paused.take(), PAUSED_TAG);
    stack.ends = first(stack.ends.take(), ENDS_TAG);
    *created_s = [*created_s, tagged.created_s].into_iter().flatten().min();
    let anchor = format!("{}.artifacts", Bucket::KIND);
    stack.has_anchor |= tagged.tags.get(RESOURCE_TAG) == Some(&anchor);
    existing.add(kind, &tagged.name, tagged.size?);
    Ok(())
}

/// A reason that is the same for every call that was refused for it.
fn why(fault: &Fault) -> String {
    if is_denied(fault) { "denied".into() } else { fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Size;

    fn tagged(name: &str, tags: &[(&str, &str)], created_s: Option<i64>) -> Tagged {
        let tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Tagged::new(name.into(), tags, created_s)
    }

    #[test]
    fn resources_are_counted_by_stack_and_kind_and_the_oldest_gives_the_age() {
        let mut stacks = BTreeMap::new();
        let mut add = |kind, tags: &[(&str, &str)], created_s| {
            count(&mut stacks, "us-east-1", kind, tagged("x", tags, created_s)).unwrap();
        };
        add("table", &[(STACK_TAG, "a")], Some(50));
        add("bucket", &[(STACK_TAG, "a"), (RESOURCE_TAG, "bucket.artifacts"), ("Owner", "ada")], Some(40));
        add("table", &[(STACK_TAG, "a")], None);
        add("role", &[(STACK_TAG, "b")], None);
        add("role", &[("Name", "other")], Some(1));
        let (a, b) = (&stacks["a"], &stacks["b"]);
        assert_eq!(a.stack.resources, BTreeMap::from([("bucket", 1), ("table", 2)]));
        assert_eq!((a.stack.owner.as_deref(), a.stack.has_anchor, a.created_s), (Some("ada"), true, Some(40)));
        assert_eq!((b.stack.owner.as_deref(), b.stack.has_anchor, b.created_s), (None, false, None));
        assert_eq!(stacks.len(), 2);
    }

    #[test]
    fn a_resource_whose_size_is_denied_is_counted_and_the_size_is_unknown() {
        let size = |kind: &str, denied: bool| {
            let items = Size::Items { count: 3, bytes: 30, more: false };
            let size = if denied { Err(Fault::new("ListObjectsV2", "AccessDenied", "no")) } else { Ok(items) };
            let it = tagged("x", &[(STACK_TAG, "a")], None).sized(size);
            let lists = KINDS.iter().map(|known| Ok(if known.name == kind { vec![Ok(it.clone())] } else { vec![] }));
            of_region("us-east-1", lists)
        };
        let (stacks, unread) = size("bucket", false);
        assert_eq!((stacks[0].size.objects, stacks[0].size.object_bytes, unread.len()), (Some(3), Some(30), 0));
        let (stacks, unread) = size("bucket", true);
        assert_eq!((stacks[0].resources["bucket"], stacks[0].size.objects), (1, None));
        assert_eq!((unread[0].why.as_str(), stacks[0].cost.monthly), ("denied", Some(0.0)));
        let (stacks, _) = size("launch_template", true);
        assert_eq!((stacks[0].cost.monthly, stacks[0].size.objects), (None, Some(0)), "its disk decides the cost");
    }
}
