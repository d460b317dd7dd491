//! CloudWatch log groups.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use aws_sdk_cloudwatchlogs::types::LogGroup as Described;

use super::tags::bounded;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
    page::names::{SERVICE_LOG_GROUPS, service_log_groups},
};

/// A log group, identified by its name.
#[derive(Debug, Clone)]
pub struct LogGroup {
    /// Its name, such as `/aws/lambda/FUNCTION` or `/deployer/STACK/SERVICE`.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The retention in days; `None` keeps events forever.
    pub retention_days: Option<i32>,
    /// The ARN of the KMS key that it is encrypted with; `None` for a key of CloudWatch Logs.
    pub key: Option<String>,
}

/// Outputs for other resources. Not the ARN: the answer to the creation does not contain it, and it can be derived.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
}

impl Resource for LogGroup {
    const KIND: &'static str = "log_group";
    const SOURCES: &'static [(&'static str, &'static str)] =
        &[("retention_days", "log_retention_days"), ("key", "log_key")];
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(group) = self.describe(aws).await? else { return Ok(Observed::Absent) };
        let Some(tags) = found(tags(aws, &arn(&group)).await)? else { return Ok(Observed::Absent) };
        let key = group.kms_key_id().filter(|arn| !arn.is_empty()).map(str::to_owned);
        let settings = Settings { retention_days: group.retention_in_days(), key };
        Ok(Observed::Present(Live { settings, output: self.output(), owner: Owner::Tags(tags) }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let call = aws.logs.create_log_group().log_group_name(&self.name);
        let call = call.set_kms_key_id(want.key.clone());
        call.set_tags(Some(tags.clone().into_iter().collect())).send().await?;
        // A new group may not be visible to the next call yet: then the next round completes it.
        let complete = match want.retention_days {
            Some(_) => found(self.retain(aws, want.retention_days).await)?.is_some(),
            None => true,
        };
        let live = Live { settings: want.clone(), output: self.output(), owner: Owner::Tags(tags.clone()) };
        Ok(complete.then_some(live))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        if want.retention_days != live.settings.retention_days {
            self.retain(aws, want.retention_days).await?;
        }
        if want.key != live.settings.key {
            self.encrypt(aws, want.key.as_deref()).await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let Some(group) = self.describe(aws).await? else { return Ok(()) };
        let call = aws.logs.tag_resource().resource_arn(arn(&group));
        call.set_tags(Some(tags.clone().into_iter().collect())).send().await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.logs.delete_log_group().log_group_name(&self.name).send().await)
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let groups = below(aws, OURS.map(str::to_owned).into()).await?;
        let reads = groups.into_iter().map(async |it| {
            let (tags, created_s) = (found(tags(aws, &arn(&it)).await)?, it.creation_time.map(|ms| ms / 1_000));
            Ok(tags.map(|tags| Tagged::new(it.log_group_name.unwrap_or_default(), tags, created_s)))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let mut owned = Vec::new();
        let prefixes = vec![format!("{FUNCTION_LOG_GROUPS}{stack}-"), service_log_groups(stack)];
        for group in below(aws, prefixes).await? {
            if group.log_group_name().is_none_or(|name| but.contains(name)) {
                continue;
            }
            let tags = found(tags(aws, &arn(&group)).await)?.unwrap_or_default();
            if tags.get(STACK_TAG).is_some_and(|owner| owner == stack) {
                owned.extend(group.log_group_name.map(|name| LogGroup { name }));
            }
        }
        Ok(owned)
    }
}

/// The prefix of the log groups of all functions.
const FUNCTION_LOG_GROUPS: &str = "/aws/lambda/";

/// The prefixes of all log groups that a stack can have.
const OURS: [&str; 2] = [FUNCTION_LOG_GROUPS, SERVICE_LOG_GROUPS];

/// The log groups whose names have one of these prefixes.
async fn below(aws: &Aws, prefixes: Vec<String>) -> Result<Vec<Described>, Fault> {
    let listed = prefixes
        .into_iter()
        .map(|prefix| items(aws.logs.describe_log_groups().log_group_name_prefix(prefix).into_paginator().send()));
    Ok(futures::future::try_join_all(listed).await?.concat())
}

impl LogGroup {
    fn output(&self) -> Output {
        Output { name: self.name.clone() }
    }

    /// Its ARN; `None` if it does not exist.
    pub async fn arn(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        Ok(self.describe(aws).await?.map(|group| arn(&group)))
    }

    async fn describe(&self, aws: &Aws) -> Result<Option<Described>, Fault> {
        aws.batches.log_groups.read(&self.name, |names| described(aws, names)).await
    }

    /// Lines that arrived before keep their encryption (docs/aws.md §7.6).
    async fn encrypt(&self, aws: &Aws, key: Option<&str>) -> Result<(), Fault> {
        match key {
            Some(key) => {
                aws.logs.associate_kms_key().log_group_name(&self.name).kms_key_id(key).send().await?;
            }
            None => {
                aws.logs.disassociate_kms_key().log_group_name(&self.name).send().await?;
            }
        }
        Ok(())
    }

    async fn retain(&self, aws: &Aws, days: Option<i32>) -> Result<(), Fault> {
        match days {
            Some(days) => {
                let call = aws.logs.put_retention_policy().log_group_name(&self.name);
                call.retention_in_days(days).send().await?;
            }
            None => {
                aws.logs.delete_retention_policy().log_group_name(&self.name).send().await?;
            }
        }
        Ok(())
    }
}

/// Returns the groups of these names that exist. AWS only searches by prefix (docs/aws.md §7.6): the names of functions
/// and of services are searched for separately, because together they have hardly any prefix in common.
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let groups = below(aws, prefixes(&names)).await?;
    let named = groups.into_iter().filter_map(|group| Some((group.log_group_name.clone()?, group)));
    Ok(named.filter(|(name, _)| names.contains(name)).collect())
}

/// The prefixes that all of these names have one of: at most one below each prefix of ours, and one of the other names.
fn prefixes(names: &[String]) -> Vec<String> {
    let place = |name: &String| OURS.iter().position(|ours| name.starts_with(ours));
    let mut places: BTreeMap<Option<usize>, Vec<&str>> = BTreeMap::new();
    for name in names {
        places.entry(place(name)).or_default().push(name);
    }
    places.values().map(|names| common_prefix(names).to_owned()).collect()
}

/// The longest common prefix of these names.
fn common_prefix<'a>(names: &[&'a str]) -> &'a str {
    let Some((first, others)) = names.split_first() else { return "" };
    others.iter().fold(*first, |prefix, name| {
        let shared = prefix.char_indices().zip(name.chars()).find(|((_, ours), theirs)| ours != theirs);
        let end = shared.map_or(prefix.len().min(name.len()), |((at, _), _)| at);
        &prefix[..end]
    })
}

async fn tags(aws: &Aws, arn: &str) -> Result<Tags, Fault> {
    let answer = aws.logs.list_tags_for_resource().resource_arn(arn).send().await?;
    Ok(answer.tags.unwrap_or_default().into_iter().collect())
}

/// Calls for tags take the ARN without the trailing `:*` (docs/aws.md §7.6).
fn arn(group: &Described) -> String {
    let arn = group.log_group_arn().or(group.arn()).unwrap_or_default();
    arn.strip_suffix(":*").unwrap_or(arn).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_their_common_prefix() {
        assert_eq!(common_prefix(&["/aws/lambda/a-one", "/aws/lambda/a-two", "/aws/lambda/a-"]), "/aws/lambda/a-");
        assert_eq!(common_prefix(&["/aws/lambda/a"]), "/aws/lambda/a");
        assert_eq!(common_prefix(&["a", "b"]), "");
        assert_eq!(common_prefix(&["ä", "äö"]), "ä");
    }

    #[test]
    fn names_of_functions_and_services_are_looked_up_separately() {
        let check = |names: &[&str], expected: &[&str]| {
            assert_eq!(prefixes(&names.iter().map(|&name| name.into()).collect::<Vec<_>>()), expected, "{names:?}");
        };
        check(&["/deployer/app/web", "/aws/lambda/app-labeler"], &["/aws/lambda/app-labeler", "/deployer/app/web"]);
        let several = ["/aws/lambda/app-one", "/deployer/app/web", "/aws/lambda/app-two", "/deployer/app/admin"];
        check(&several, &["/aws/lambda/app-", "/deployer/app/"]);
        check(&["/other", "/deployer/app/web"], &["/other", "/deployer/app/web"]);
        check(&[], &[]);
    }

    #[test]
    fn the_star_of_an_arn_is_removed() {
        let group = Described::builder().arn("arn:aws:logs:us-east-1:1:log-group:/a:*");
        assert_eq!(arn(&group.clone().build()), "arn:aws:logs:us-east-1:1:log-group:/a");
        let group = group.log_group_arn("arn:aws:logs:us-east-1:1:log-group:/a").build();
        assert_eq!(arn(&group), "arn:aws:logs:us-east-1:1:log-group:/a");
    }
}
