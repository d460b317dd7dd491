//! Instance profiles, which give a role to instances.

use serde::Serialize;

use super::{
    role::{tag_list, tags},
    tags::bounded,
};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
    page::names::{ALL_STACKS, iam_path, is_in_region},
};

/// An instance profile, identified by its name.
#[derive(Debug, Clone)]
pub struct InstanceProfile {
    /// Its name, unique within the account.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Its path: `/deployer/STACK/`. One at another path would be in no list of ours.
    pub path: String,
    /// The name of its role; a profile has at most one.
    pub role: Option<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

impl Resource for InstanceProfile {
    const KIND: &'static str = "instance_profile";
    const FIXED: &'static [&'static str] = &["path"];
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.iam.get_instance_profile().instance_profile_name(&self.name);
        let answer = found(call.send().await)?;
        let Some(profile) = answer.and_then(|answer| answer.instance_profile) else { return Ok(Observed::Absent) };
        // Right after creation this may be the profile's id instead (docs/aws.md §6.3).
        if !profile.arn().starts_with("arn:") {
            return Ok(Observed::Settling("becoming visible".into()));
        }
        let role = profile.roles().first().map(|role| role.role_name().into());
        let settings = Settings { path: profile.path().into(), role };
        let output = Output { name: self.name.clone(), arn: profile.arn().into() };
        Ok(Observed::Present(Live { settings, output, owner: Owner::Tags(tags(profile.tags())) }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let call = aws.iam.create_instance_profile().instance_profile_name(&self.name).path(&want.path);
        let profile = call.set_tags(Some(tag_list(tags))).send().await?.instance_profile;
        // A new profile may not be visible to the next call yet: then the next round completes it.
        let complete = match &want.role {
            Some(role) => found(self.add(aws, role).await)?.is_some(),
            None => true,
        };
        let arn = profile.map(|profile| profile.arn).filter(|arn| complete && arn.starts_with("arn:"));
        Ok(arn.map(|arn| Live {
            settings: want.clone(),
            output: Output { name: self.name.clone(), arn },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// A profile has one role: the old one is removed before the new one is added (docs/aws.md §6.1).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        if want.role == live.settings.role {
            return Ok(());
        }
        self.clear(aws, live).await?;
        match &want.role {
            Some(role) => self.add(aws, role).await,
            None => Ok(()),
        }
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let call = aws.iam.tag_instance_profile().instance_profile_name(&self.name);
        call.set_tags(Some(tag_list(tags))).send().await?;
        Ok(())
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        self.clear(aws, live).await?;
        gone(aws.iam.delete_instance_profile().instance_profile_name(&self.name).send().await)
    }

    /// Lists have no tags (docs/aws.md §6.1), so each profile of ours is read.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let call = aws.iam.list_instance_profiles().path_prefix(ALL_STACKS);
        let profiles = items(call.into_paginator().send()).await?.into_iter();
        let here = profiles.filter(|it| is_in_region(&it.path, &it.instance_profile_name, &aws.region));
        let reads = here.map(async |it| {
            let call = aws.iam.get_instance_profile().instance_profile_name(&it.instance_profile_name);
            let profile = found(call.send().await)?.and_then(|answer| answer.instance_profile);
            let created_s = Some(it.create_date.secs());
            Ok(profile.map(|profile| Tagged::new(it.instance_profile_name, tags(profile.tags()), created_s)))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    /// IAM is global, so the stack's profiles of other regions are listed, too; their names distinguish them.
    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let (path, prefix) = (iam_path(stack), format!("{stack}-{}-", aws.region));
        let call = aws.iam.list_instance_profiles().path_prefix(&path);
        let profiles = items(call.into_paginator().send()).await?;
        let ours = profiles
            .into_iter()
            .filter(|it| it.path == path && it.instance_profile_name.starts_with(&prefix))
            .filter(|it| !but.contains(&it.instance_profile_name));
        Ok(ours.map(|it| InstanceProfile { name: it.instance_profile_name }).collect())
    }
}

impl InstanceProfile {
    async fn add(&self, aws: &Aws, role: &str) -> Result<(), Fault> {
        let call = aws.iam.add_role_to_instance_profile().instance_profile_name(&self.name);
        call.role_name(role).send().await?;
        Ok(())
    }

    async fn clear(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let Some(role) = &live.settings.role else { return Ok(()) };
        let call = aws.iam.remove_role_from_instance_profile().instance_profile_name(&self.name);
        gone(call.role_name(role).send().await)
    }
}
