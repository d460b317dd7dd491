//! IAM roles, each with one trusted service and one inline policy.

use aws_sdk_iam::types::Tag;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};

use super::tags::bounded;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
    page::{
        names::{ALL_STACKS, iam_path, is_in_region},
        policy::canonical,
    },
};

/// A role, identified by its name.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, unique within the account.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Its path: `/deployer/STACK/`. One at another path would be in no list of ours.
    pub path: String,
    /// The service that may assume the role, such as `lambda.amazonaws.com`.
    pub trusted_service: String,
    /// The account on whose behalf the service must act; `None` for a service that does not pass its account.
    pub trusted_account: Option<String>,
    /// The role's permissions policy.
    pub policy: Value,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// The name of the inline policy.
pub const POLICY: &str = "deployer";

impl Resource for Role {
    const KIND: &'static str = "role";
    const FIXED: &'static [&'static str] = &["path"];
    const SOURCES: &'static [(&'static str, &'static str)] = &[("policy", "uses")];
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let answer = found(aws.iam.get_role().role_name(&self.name).send().await)?;
        let Some(role) = answer.and_then(|answer| answer.role) else { return Ok(Observed::Absent) };
        // Right after creation this may be the role's id instead (docs/aws.md §6.3).
        if !role.arn().starts_with("arn:") {
            return Ok(Observed::Settling("becoming visible".into()));
        }
        let (trusted_service, trusted_account) =
            trusted(&decoded(role.assume_role_policy_document().unwrap_or_default()));
        let (path, policy) = (role.path().into(), self.policy(aws).await?);
        let settings = Settings { path, trusted_service, trusted_account, policy };
        let output = Output { name: self.name.clone(), arn: role.arn().into() };
        Ok(Observed::Present(Live { settings, output, owner: Owner::Tags(tags(role.tags())) }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let call = aws.iam.create_role().role_name(&self.name).path(&want.path);
        let call = call.assume_role_policy_document(want.trust().to_string());
        let role = call.set_tags(Some(tag_list(tags))).send().await?.role;
        // A new role may not be visible to the next call yet: then the next round completes it.
        let complete = found(self.put_policy(aws, &want.policy).await)?.is_some();
        let arn = role.map(|role| role.arn).filter(|arn| complete && arn.starts_with("arn:"));
        Ok(arn.map(|arn| Live {
            settings: want.clone(),
            output: Output { name: self.name.clone(), arn },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Settings { path: _, trusted_service, trusted_account, policy } = &live.settings;
        if (&want.trusted_service, &want.trusted_account) != (trusted_service, trusted_account) {
            let call = aws.iam.update_assume_role_policy().role_name(&self.name);
            call.policy_document(want.trust().to_string()).send().await?;
        }
        if want.policy != *policy {
            self.put_policy(aws, &want.policy).await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        aws.iam.tag_role().role_name(&self.name).set_tags(Some(tag_list(tags))).send().await?;
        Ok(())
    }

    /// Detaches everything that prevents the deletion of the role first (docs/aws.md §6.5).
    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(self.detach(aws).await)?;
        gone(aws.iam.delete_role().role_name(&self.name).send().await)
    }

    /// Lists have no tags (docs/aws.md §6.1), so each role of ours is read.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let roles = items(aws.iam.list_roles().path_prefix(ALL_STACKS).into_paginator().send()).await?.into_iter();
        let here = roles.filter(|it| is_in_region(&it.path, &it.role_name, &aws.region));
        let reads = here.map(async |it| {
            let answer = found(aws.iam.get_role().role_name(&it.role_name).send().await)?;
            let role = answer.and_then(|answer| answer.role);
            let created_s = Some(it.create_date.secs());
            Ok(role.map(|role| Tagged::new(it.role_name, tags(role.tags()), created_s)))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    /// IAM is global, so the stack's roles of other regions are listed, too; their names distinguish them.
    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let (path, prefix) = (iam_path(stack), format!("{stack}-{}-", aws.region));
        let call = aws.iam.list_roles().path_prefix(&path);
        let roles = items(call.into_paginator().send()).await?;
        let ours = roles
            .into_iter()
            .filter(|role| role.path == path && role.role_name.starts_with(&prefix))
            .filter(|role| !but.contains(&role.role_name));
        Ok(ours.map(|role| Role { name: role.role_name }).collect())
    }
}

impl Role {
    async fn policy(&self, aws: &Aws) -> Result<Value, Fault> {
        let call = aws.iam.get_role_policy().role_name(&self.name).policy_name(POLICY);
        let answer = found(call.send().await)?;
        Ok(answer.map_or(Value::Null, |answer| decoded(answer.policy_document())))
    }

    async fn put_policy(&self, aws: &Aws, policy: &Value) -> Result<(), Fault> {
        let call = aws.iam.put_role_policy().role_name(&self.name).policy_name(POLICY);
        call.policy_document(policy.to_string()).send().await?;
        Ok(())
    }

    /// Removes it from every instance profile, and removes all of its policies.
    async fn detach(&self, aws: &Aws) -> Result<(), Fault> {
        let profiles = aws.iam.list_instance_profiles_for_role().role_name(&self.name).into_paginator().send();
        let attached = aws.iam.list_attached_role_policies().role_name(&self.name).into_paginator().send();
        let inline = aws.iam.list_role_policies().role_name(&self.name).into_paginator().send();
        for profile in items(profiles).await? {
            let call = aws.iam.remove_role_from_instance_profile().role_name(&self.name);
            gone(call.instance_profile_name(profile.instance_profile_name).send().await)?;
        }
        for policy in items(attached).await? {
            let call = aws.iam.detach_role_policy().role_name(&self.name).set_policy_arn(policy.policy_arn);
            gone(call.send().await)?;
        }
        for policy in items(inline).await? {
            gone(aws.iam.delete_role_policy().role_name(&self.name).policy_name(policy).send().await)?;
        }
        Ok(())
    }
}

/// Documents are returned URL-encoded (docs/aws.md §6.3). Invalid JSON is shown as it is.
fn decoded(document: &str) -> Value {
    let text = percent_decode_str(document).decode_utf8_lossy();
    serde_json::from_str(&text).map_or_else(|_| Value::String(text.into_owned()), canonical)
}

impl Settings {
    /// The trust policy.
    pub fn trust(&self) -> Value {
        trust(&self.trusted_service, self.trusted_account.as_deref())
    }
}

/// A role can be passed to a service only within its account. The condition also keeps a service from assuming it on
/// behalf of another account (docs/aws.md §6.1).
fn trust(service: &str, account: Option<&str>) -> Value {
    let mut statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": service },
        "Action": "sts:AssumeRole",
    });
    if let Some(account) = account {
        statement["Condition"] = json!({ "StringEquals": { "aws:SourceAccount": account } });
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// Returns the trusted service and account. If the document contains anything else, returns all of it in place of the
/// service, so that it shows as a difference.
fn trusted(document: &Value) -> (String, Option<String>) {
    let statement = &document["Statement"];
    let service = statement["Principal"]["Service"].as_str().unwrap_or_default();
    let account = statement["Condition"]["StringEquals"]["aws:SourceAccount"].as_str();
    if *document == canonical(trust(service, account)) {
        (service.into(), account.map(str::to_owned))
    } else {
        (document.to_string(), None)
    }
}

/// Converts IAM's tags.
pub(super) fn tags(list: &[Tag]) -> Tags {
    list.iter().map(|tag| (tag.key().into(), tag.value().into())).collect()
}

/// Converts to IAM's tags.
pub(super) fn tag_list(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().expect("key and value are given");
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_policy_is_compared_as_json_whatever_its_form() {
        let encoded = "%7B%22Statement%22%3A%7B%22Action%22%3A%5B%22sts%3AAssumeRole%22%5D%2C%22Principal%22%3A\
                       %7B%22Service%22%3A%5B%22ec2.amazonaws.com%22%5D%7D%2C%22Effect%22%3A%22Allow%22%7D%2C\
                       %22Version%22%3A%222012-10-17%22%7D";
        assert_eq!(trusted(&decoded(encoded)), ("ec2.amazonaws.com".into(), None));
    }

    #[test]
    fn the_account_of_a_trust_policy_is_a_setting_of_its_own() {
        let document = canonical(trust("lambda.amazonaws.com", Some("123456789012")));
        assert_eq!(trusted(&document), ("lambda.amazonaws.com".into(), Some("123456789012".into())));
    }

    #[test]
    fn trust_in_another_principal_is_a_difference() {
        let mut document = trust("ec2.amazonaws.com", None);
        document["Statement"][0]["Principal"]["AWS"] = "*".into();
        assert!(trusted(&canonical(document)).0.contains("\"AWS\":\"*\""));
        let mut document = trust("ec2.amazonaws.com", Some("123456789012"));
        document["Statement"][0]["Condition"]["StringLike"] = json!({ "aws:userid": "*" });
        assert!(trusted(&canonical(document)).0.contains("aws:userid"));
    }
}
