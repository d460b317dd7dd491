//! Log groups: creation, retention and listing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use kit::ACCOUNT;
use kit::answer::Refusal;
use kit::key::Key;

use super::input::Input;
use super::tags::check_tags;
use super::{Logs, MOST_LISTED, invalid, no_group, now};
use crate::store::LogGroup;

/// The valid retentions in days (docs/aws.md §7.6).
const RETENTIONS: &[u64] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

impl Logs {
    pub(super) fn create_group(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logGroupName")?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte);
        if name.is_empty() || name.len() > 512 || !name.bytes().all(letters) || name.starts_with("aws/") {
            return Err(invalid("the name of the log group is not valid"));
        }
        let tags = input.tags();
        check_tags(&tags, &BTreeMap::new())?;
        let key = input.text("kmsKeyId").map(|key| self.checked_key(name, key)).transpose()?;
        self.kept().change(name, |groups| {
            if groups.contains_key(name) {
                let text = "The specified log group already exists";
                return Err(Refusal::new(400, "ResourceAlreadyExistsException", text));
            }
            let group = LogGroup { created: now(), tags, key, ..LogGroup::default() };
            groups.insert(name.to_owned(), group);
            Ok(json!({}))
        })
    }

    pub(super) fn delete_group(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logGroupName")?;
        self.kept().change(name, |groups| groups.remove(name).map(|_| json!({})).ok_or_else(no_group))
    }

    pub(super) fn associate_key(&self, input: Input) -> Result<Value, Refusal> {
        let (name, key) = (input.required("logGroupName")?, input.required("kmsKeyId")?);
        let key = self.checked_key(name, key)?;
        self.change_group(name, |group| {
            group.key = Some(key);
            Ok(json!({}))
        })
    }

    pub(super) fn disassociate_key(&self, input: Input) -> Result<Value, Refusal> {
        self.change_group(input.required("logGroupName")?, |group| {
            group.key = None;
            Ok(json!({}))
        })
    }

    /// The ARN of a key, which is the only name that CloudWatch Logs takes.
    fn checked_key(&self, group: &str, key: &str) -> Result<String, Refusal> {
        if key.contains(":key/") && Key::find(key, &self.region).is_ok() {
            return Ok(key.to_owned());
        }
        let arn = self.arn(group);
        Err(invalid(&format!("The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'")))
    }

    pub(super) fn put_retention(&self, input: Input) -> Result<Value, Refusal> {
        let days = input.0["retentionInDays"].as_u64().filter(|days| RETENTIONS.contains(days));
        let days = days.ok_or_else(|| invalid("retentionInDays is none of the allowed values"))?;
        self.set_retention(input, Some(days))
    }

    pub(super) fn delete_retention(&self, input: Input) -> Result<Value, Refusal> {
        self.set_retention(input, None)
    }

    fn set_retention(&self, input: Input, days: Option<u64>) -> Result<Value, Refusal> {
        self.change_group(input.required("logGroupName")?, |group| {
            group.retention_days = days;
            Ok(json!({}))
        })
    }

    pub(super) fn change_group(
        &self,
        name: &str,
        change: impl FnOnce(&mut LogGroup) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        self.kept().change(name, |groups| change(groups.get_mut(name).ok_or_else(no_group)?))
    }

    pub(super) fn describe_groups(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logGroupNamePrefix").unwrap_or_default();
        let pattern = input.text("logGroupNamePattern").unwrap_or_default();
        let after = input.text("nextToken");
        let limit = input.limit(MOST_LISTED)?;
        let kept = self.kept();
        let groups = &kept.groups;
        let mut found: Vec<(&String, &LogGroup)> = groups
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.contains(pattern))
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let mut answer = json!({
            "logGroups": found.iter().map(|(name, group)| self.describe(name, group)).collect::<Vec<_>>(),
        });
        if let Some((last, _)) = found.last().filter(|_| more) {
            answer["nextToken"] = json!(last);
        }
        Ok(answer)
    }

    fn describe(&self, name: &str, group: &LogGroup) -> Value {
        let arn = self.arn(name);
        let mut described = json!({
            "logGroupName": name,
            "creationTime": group.created,
            "metricFilterCount": 0,
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": 0,
        });
        if let Some(days) = group.retention_days {
            described["retentionInDays"] = days.into();
        }
        if let Some(key) = &group.key {
            described["kmsKeyId"] = json!(key);
        }
        described
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:{ACCOUNT}:log-group:{name}", self.region)
    }
}
