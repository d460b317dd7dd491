//! Values that are kept in Secrets Manager and Parameter Store, without ever reading one.

use aws_sdk_secretsmanager::{operation::describe_secret::DescribeSecretOutput, types::Tag as SecretTag};
use aws_sdk_ssm::types::{ParameterMetadata, ParameterStringFilter, ResourceTypeForTagging, Tag as ParameterTag};

use crate::{
    cloud::aws::{Aws, found, items},
    config::Store,
    engine::{Fault, Tags},
};

/// The days in which a deleted secret can be restored: the least that AWS allows (docs/aws.md §23).
pub const WINDOW_DAYS: i64 = 7;

/// Whether a secret or parameter exists and has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It has a value, of this version.
    Present(String),
    /// It has no value.
    Empty,
    /// It is scheduled for deletion.
    Ending,
    /// It does not exist.
    Absent,
}

impl Presence {
    /// Returns why a value cannot be read; `None` if it can.
    pub fn lack(&self) -> Option<&'static str> {
        match self {
            Presence::Present(_) => None,
            Presence::Empty => Some("has no value"),
            Presence::Ending => Some("is scheduled for deletion"),
            Presence::Absent => Some("does not exist"),
        }
    }
}

/// The digits of a version that are shown and compared.
const DIGITS: usize = 8;

/// Looks for a value.
pub async fn presence(aws: &Aws, store: Store, name: &str) -> Result<Presence, Fault> {
    Ok(match store {
        Store::Secret => match secret(aws, name).await? {
            None => Presence::Absent,
            Some(it) if it.deleted_date().is_some() => Presence::Ending,
            Some(it) => {
                let versions = it.version_ids_to_stages.unwrap_or_default();
                let current = versions.iter().find(|(_, stages)| stages.iter().any(|stage| stage == "AWSCURRENT"));
                current.map_or(Presence::Empty, |(id, _)| Presence::Present(id.chars().take(DIGITS).collect()))
            }
        },
        Store::Parameter => match parameter(aws, name).await? {
            None => Presence::Absent,
            Some(it) => Presence::Present(it.version().to_string()),
        },
    })
}

/// The metadata of a parameter.
pub async fn parameter(aws: &Aws, name: &str) -> Result<Option<ParameterMetadata>, Fault> {
    Ok(parameters(aws, filter("Name", Some(name))?).await?.into_iter().next())
}

/// The metadata of the parameters with a tag, or with this value of it.
pub async fn tagged_parameters(aws: &Aws, key: &str, value: Option<&str>) -> Result<Vec<ParameterMetadata>, Fault> {
    parameters(aws, filter(&format!("tag:{key}"), value)?).await
}

async fn parameters(aws: &Aws, filter: ParameterStringFilter) -> Result<Vec<ParameterMetadata>, Fault> {
    items(aws.ssm.describe_parameters().parameter_filters(filter).into_paginator().send()).await
}

fn filter(key: &str, value: Option<&str>) -> Result<ParameterStringFilter, Fault> {
    let filter = ParameterStringFilter::builder().key(key).set_values(value.map(|value| vec![value.to_owned()]));
    filter.build().map_err(|error| Fault::new("DescribeParameters", "BadRequest", error.to_string()))
}

/// The tags of a parameter; `None` if it does not exist.
pub async fn parameter_tags(aws: &Aws, name: &str) -> Result<Option<Tags>, Fault> {
    let call = aws.ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter).resource_id(name);
    let answer = found(call.send().await)?;
    let tag = |tag: ParameterTag| (tag.key, tag.value);
    Ok(answer.map(|answer| answer.tag_list.unwrap_or_default().into_iter().map(tag).collect()))
}

/// The metadata of a secret; `None` if it does not exist.
pub async fn secret(aws: &Aws, name: &str) -> Result<Option<DescribeSecretOutput>, Fault> {
    found(aws.secrets.describe_secret().secret_id(name).send().await)
}

/// Adds tags to a secret.
pub async fn tag_secret(aws: &Aws, name: &str, tags: &Tags) -> Result<(), Fault> {
    aws.secrets.tag_resource().secret_id(name).set_tags(Some(to_secret_tags(tags))).send().await?;
    Ok(())
}

/// Adds tags to a parameter.
pub async fn tag_parameter(aws: &Aws, name: &str, tags: &Tags) -> Result<(), Fault> {
    let call = aws.ssm.add_tags_to_resource().resource_type(ResourceTypeForTagging::Parameter).resource_id(name);
    call.set_tags(Some(to_parameter_tags(tags))).send().await?;
    Ok(())
}

/// Converts Secrets Manager's tags.
pub fn from_secret_tags(tags: &[SecretTag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.into(), tag.value().unwrap_or_default().into()))).collect()
}

/// Converts to Secrets Manager's tags.
pub fn to_secret_tags(tags: &Tags) -> Vec<SecretTag> {
    tags.iter().map(|(key, value)| SecretTag::builder().key(key).value(value).build()).collect()
}

/// Converts to Parameter Store's tags.
pub fn to_parameter_tags(tags: &Tags) -> Vec<ParameterTag> {
    let tag = |(key, value): (&String, &String)| ParameterTag::builder().key(key).value(value).build().ok();
    tags.iter().filter_map(tag).collect()
}
