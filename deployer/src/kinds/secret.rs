//! Secrets of Secrets Manager. `deployer secret set` makes and changes them, since only the user knows their values; `up`
//! never does, and `down` removes them.

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};
use serde::Serialize;

use crate::{
    cloud::{
        aws::{Aws, gone, items},
        stored_values::{self, WINDOW_DAYS, from_secret_tags},
    },
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

/// A secret, identified by its name.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its name.
    pub name: String,
}

/// There are no settings that `stack.yaml` decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {}

impl Resource for Secret {
    const KIND: &'static str = "secret";
    const HOLDS_DATA: bool = true;
    type Cloud = Aws;
    type Settings = Settings;
    type Output = ();

    fn name(&self) -> &str {
        &self.name
    }

    /// One that is scheduled for deletion counts as absent: AWS deletes it.
    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let secret = stored_values::secret(aws, &self.name).await?.filter(|it| it.deleted_date().is_none());
        let Some(secret) = secret else { return Ok(Observed::Absent) };
        let owner = Owner::Tags(from_secret_tags(secret.tags()));
        Ok(Observed::Present(Live { settings: Settings {}, output: (), owner }))
    }

    async fn create(&self, _: &Aws, _: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        Err(Fault::new("CreateSecret", "NoValue", format!("set its value: `deployer secret set {}`", self.name)))
    }

    async fn update(&self, _: &Aws, _: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        Ok(())
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        stored_values::tag_secret(aws, &self.name, tags).await
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.secrets.delete_secret().secret_id(&self.name).recovery_window_in_days(WINDOW_DAYS).send().await)
    }

    async fn loss(&self, _: &Aws) -> Result<Option<String>, Fault> {
        Ok(Some(format!("its value, after {WINDOW_DAYS} days")))
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let secrets = of_stack(aws, stack).await?.into_iter();
        let names = secrets.filter_map(|it| it.name).filter(|name| !but.contains(name));
        Ok(names.map(|name| Secret { name }).collect())
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let tagged = |it: SecretListEntry| {
            let (tags, created_s) = (from_secret_tags(it.tags()), it.created_date.map(|at| at.secs()));
            Ok(Tagged::new(it.name.unwrap_or_default(), tags, created_s))
        };
        Ok(listed(aws).await?.into_iter().map(tagged).collect())
    }
}

/// The secrets of a stack, without those that are scheduled for deletion.
pub async fn of_stack(aws: &Aws, stack: &str) -> Result<Vec<SecretListEntry>, Fault> {
    let mut secrets = listed(aws).await?;
    secrets.retain(|it| from_secret_tags(it.tags()).get(STACK_TAG).is_some_and(|owner| owner == stack));
    Ok(secrets)
}

/// The secrets that carry the tag of a stack, without those that are scheduled for deletion.
async fn listed(aws: &Aws) -> Result<Vec<SecretListEntry>, Fault> {
    let filter = Filter::builder().key(FilterNameStringType::TagKey).values(STACK_TAG).build();
    items(aws.secrets.list_secrets().filters(filter).into_paginator().send()).await
}
