//! A secret and its versions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use kit::answer::Refusal;

use super::refusals::{invalid_request, token_taken};
use crate::{now, tag_list};

pub(super) const DAY_S: f64 = 86_400.0;
/// The most versions of a secret. Of more, the oldest without a staging label are removed, unless they are from the last
/// day.
pub(super) const MOST_VERSIONS: usize = 100;
pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) arn: String,
    pub(super) description: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: f64,
    pub(super) changed: f64,
    /// When its deletion was requested, and when it ends.
    pub(super) deleted: Option<[f64; 2]>,
    /// Whether it is deleted without recovery.
    #[serde(default)]
    pub(super) is_lost: bool,
    pub(super) versions: BTreeMap<String, Version>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) created: f64,
    pub(super) stages: BTreeSet<String>,
    pub(super) value: SecretValue,
}

/// The value of a version.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum SecretValue {
    Text(String),
    /// In base64, as it is sent.
    Binary(String),
}

impl Secret {
    pub(super) fn has_ended(&self) -> bool {
        self.deleted.is_some_and(|[_, end]| end <= now())
    }

    /// The version with a staging label.
    pub(super) fn at(&self, stage: &str) -> Option<(&str, &Version)> {
        let mut versions = self.versions.iter().map(|(id, version)| (id.as_str(), version));
        versions.find(|(_, version)| version.stages.contains(stage))
    }

    /// Adds a version, or finds that the same request has added it. The first version is always the current one.
    pub(super) fn put(&mut self, token: &str, value: SecretValue, stages: &[&str]) -> Result<(), Refusal> {
        if let Some(there) = self.versions.get(token) {
            return if there.value == value { Ok(()) } else { Err(token_taken(token, &self.arn)) };
        }
        self.make_room()?;
        let mut stages: BTreeSet<String> = stages.iter().map(|stage| (*stage).to_owned()).collect();
        if self.versions.is_empty() {
            stages.insert(CURRENT.to_owned());
        }
        if stages.contains(CURRENT) {
            for version in self.versions.values_mut() {
                version.stages.remove(PREVIOUS);
                if version.stages.remove(CURRENT) {
                    version.stages.insert(PREVIOUS.to_owned());
                }
            }
        }
        self.versions.values_mut().for_each(|version| version.stages.retain(|stage| !stages.contains(stage)));
        self.versions.insert(token.to_owned(), Version { created: now(), stages, value });
        self.changed = now();
        Ok(())
    }

    /// Removes old versions, so that there is room for another.
    fn make_room(&mut self) -> Result<(), Refusal> {
        let is_old = |version: &Version| version.stages.is_empty() && version.created < now() - DAY_S;
        let old = self.versions.iter().filter(|(_, version)| is_old(version));
        let mut old: Vec<(f64, String)> = old.map(|(id, version)| (version.created, id.clone())).collect();
        old.sort_by(|one, other| one.0.total_cmp(&other.0));
        let surplus = (self.versions.len() + 1).saturating_sub(MOST_VERSIONS);
        for (_, id) in old.into_iter().take(surplus) {
            self.versions.remove(&id);
        }
        if self.versions.len() < MOST_VERSIONS {
            return Ok(());
        }
        let text =
            "You've reached the quota of versions of this secret. Versions of the last 24 hours are not removed.";
        Err(Refusal::new(400, "LimitExceededException", text))
    }

    /// The answer to a creation of a secret that exists: a repeated request succeeds.
    pub(super) fn repeated(&self, name: &str, token: &str, value: Option<&SecretValue>) -> Result<Value, Refusal> {
        if self.deleted.is_some() {
            return Err(invalid_request(
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            ));
        }
        match self.versions.get(token) {
            Some(there) if Some(&there.value) == value => {
                Ok(json!({ "ARN": self.arn, "Name": name, "VersionId": token }))
            }
            _ => {
                let text = format!("The operation failed because the secret {name} already exists.");
                Err(Refusal::new(400, "ResourceExistsException", text))
            }
        }
    }

    pub(super) fn described(&self, name: &str, versions: &str) -> Value {
        let labelled = self.versions.iter().filter(|(_, version)| !version.stages.is_empty());
        let stages: BTreeMap<&String, &BTreeSet<String>> =
            labelled.map(|(id, version)| (id, &version.stages)).collect();
        let mut described = json!({
            "ARN": self.arn,
            "Name": name,
            "CreatedDate": self.created,
            "LastChangedDate": self.changed,
            "Tags": tag_list(&self.tags),
        });
        described[versions] = json!(stages);
        if let Some(description) = &self.description {
            described["Description"] = json!(description);
        }
        if let Some([_, end]) = self.deleted {
            described["DeletedDate"] = json!(end);
        }
        described
    }
}
