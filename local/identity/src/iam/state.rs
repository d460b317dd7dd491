//! Roles, instance profiles and customer managed policies, as stored on disk.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;

use super::managed;
use kit::ACCOUNT;
use kit::store;

pub(super) type Tags = BTreeMap<String, String>;

/// The state of IAM. Roles and profiles are keyed by their lower-case names, which are unique regardless of case
/// (docs/aws.md §1), and policies by their ARNs.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The version of the file format. Files of version 0.1.0 have none, and their texts are percent-encoded or in
    /// Latin-1 in places.
    #[serde(default)]
    format: u32,
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    #[serde(default)]
    pub policies: BTreeMap<String, ManagedPolicy>,
    #[serde(default)]
    pub instance_profiles: BTreeMap<String, InstanceProfile>,
}

const FORMAT: u32 = 2;

/// A role with its policies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub name: String,
    pub role_id: String,
    pub path: String,
    pub arn: String,
    pub assume_role_policy_document: String,
    pub description: String,
    pub create_date: String,
    /// The maximum session duration, in seconds.
    pub max_session_duration: u32,
    #[serde(default)]
    pub tags: Tags,
    #[serde(default)]
    pub attached_policies: Vec<AttachedPolicy>,
    #[serde(default)]
    pub inline_policies: Vec<InlinePolicy>,
}

/// A managed policy attached to a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AttachedPolicy {
    pub policy_name: String,
    pub policy_arn: String,
}

/// A policy that belongs to one role only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InlinePolicy {
    pub policy_name: String,
    pub policy_document: String,
}

/// A managed policy of the account or of AWS. It has one version, because `CreatePolicyVersion` is not implemented.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ManagedPolicy {
    pub policy_name: String,
    pub policy_id: String,
    pub arn: String,
    pub path: String,
    pub description: String,
    #[serde(deserialize_with = "or_epoch")]
    pub create_date: String,
    pub document: String,
    #[serde(default)]
    pub tags: Tags,
}

/// The only version that a policy can have here.
pub(super) const VERSION: &str = "v1";

/// An instance profile with the role in it, if any.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InstanceProfile {
    pub name: String,
    pub instance_profile_id: String,
    pub path: String,
    pub arn: String,
    pub create_date: String,
    /// The role's name; at most one.
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub tags: Tags,
}

/// Reads a date. Files of version 0.1.0 have none for AWS managed policies.
fn or_epoch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_else(|| managed::SINCE.to_owned()))
}

impl State {
    /// Loads the state that an earlier server left in `file`; the default if there is none.
    pub(super) fn load(file: &Path) -> anyhow::Result<State> {
        let mut state: State = store::read_json(file)?.unwrap_or_default();
        if state.format < FORMAT {
            state.convert();
        }
        Ok(state)
    }

    /// Converts a file of version 0.1.0 to the current format.
    fn convert(&mut self) {
        self.format = FORMAT;
        self.policies.retain(|arn, _| managed::policy(arn).is_none());
        for role in self.roles.values_mut() {
            for text in [&mut role.assume_role_policy_document, &mut role.description] {
                *text = plain(text);
            }
            role.inline_policies.iter_mut().for_each(|policy| policy.policy_document = plain(&policy.policy_document));
            role.tags = plain_tags(&role.tags);
        }
        for policy in self.policies.values_mut() {
            policy.document = plain(&policy.document);
            policy.description = plain(&policy.description);
            policy.tags = plain_tags(&policy.tags);
        }
        for profile in self.instance_profiles.values_mut() {
            profile.tags = plain_tags(&profile.tags);
        }
        self.roles = std::mem::take(&mut self.roles).into_values().map(|role| (key(&role.name), role)).collect();
        let profiles = std::mem::take(&mut self.instance_profiles).into_values();
        self.instance_profiles = profiles.map(|profile| (key(&profile.name), profile)).collect();
    }

    /// A role, by its case-insensitive name.
    pub(super) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(&key(name))
    }

    /// The documents of a role's policies, inline and attached.
    pub(super) fn documents_of(&self, role: &Role) -> Vec<String> {
        let inline = role.inline_policies.iter().map(|policy| policy.policy_document.clone());
        let attached = role.attached_policies.iter().filter_map(|policy| self.policy(&policy.policy_arn));
        inline.chain(attached.map(|policy| policy.document)).collect()
    }

    /// An instance profile, by its case-insensitive name.
    pub(super) fn profile(&self, name: &str) -> Option<&InstanceProfile> {
        self.instance_profiles.get(&key(name))
    }

    /// A managed policy of the account or of AWS.
    pub(super) fn policy(&self, arn: &str) -> Option<ManagedPolicy> {
        self.policies.get(arn).cloned().or_else(|| managed::policy(arn))
    }

    /// The number of roles that a managed policy is attached to.
    pub(super) fn attachments(&self, arn: &str) -> usize {
        let has = |role: &&Role| role.attached_policies.iter().any(|attached| attached.policy_arn == arn);
        self.roles.values().filter(has).count()
    }

    /// The instance profiles that contain a role.
    pub(super) fn profiles_of(&self, role: &str) -> impl Iterator<Item = &InstanceProfile> {
        let is_in = move |profile: &&InstanceProfile| profile.roles.iter().any(|name| name.eq_ignore_ascii_case(role));
        self.instance_profiles.values().filter(is_in)
    }
}

/// The map key of a role or profile.
pub(super) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The ARN of an entity with a path.
pub(super) fn arn(kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{kind}{path}{name}")
}

/// A new id: the prefix of its kind, and 17 capital letters and digits (IAM user guide, "Unique identifiers").
pub(super) fn unique_id(prefix: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let random = first.as_bytes().iter().chain(second.as_bytes());
    // Of the fixed bits of a version 4 UUID, only bit 4 of byte 6 is among the low five bits of a byte.
    let letters = random.take(17).map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    prefix.chars().chain(letters).collect()
}

/// The current time in IAM's format, to the second.
pub(super) fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::now_utc().format(&format).unwrap_or_else(|_| managed::SINCE.to_owned())
}

/// Decodes a text of version 0.1.0, which may be percent-encoded, and whose UTF-8 may have been read as Latin-1.
fn plain(stored: &str) -> String {
    let decoded = match stored.trim_start().starts_with('%') {
        true => percent_encoding::percent_decode_str(stored).decode_utf8_lossy().into_owned(),
        false => stored.to_owned(),
    };
    let bytes: Option<Vec<u8>> = decoded.chars().map(|letter| u8::try_from(letter).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(decoded)
}

fn plain_tags(stored: &Tags) -> Tags {
    stored.iter().map(|(key, value)| (plain(key), plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_prefix_of_its_kind_and_capital_letters() {
        let id = unique_id("AROA");
        assert_eq!(id.len(), 21);
        assert!(id.starts_with("AROA") && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_ne!(id, unique_id("AROA"));
    }

    #[test]
    fn a_file_of_the_first_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("iam.json");
        let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
        let stored = serde_json::json!({
            "users": {},
            "roles": { "Web": {
                "name": "Web", "role_id": "AROA1", "account_id": ACCOUNT, "path": "/", "arn": "arn:aws:iam::0:role/Web",
                "assume_role_policy_document": "%7B%22Version%22%3A%222012-10-17%22%7D", "description": "of the web \u{c3}\u{a9}",
                "create_date": "2026-01-01T00:00:00Z", "max_session_duration": 3600, "tags": { "k": "\u{c3}\u{a9}" },
                "attached_policies": [{ "policy_name": "AWSLambdaBasicExecutionRole", "policy_arn": basic }],
                "inline_policies": [{ "policy_name": "uses", "policy_document": "{\"Id\":\"\u{c3}\u{a9}\"}" }],
                "permissions_boundary": null
            } },
            "policies": { basic: {
                "policy_name": "AWSLambdaBasicExecutionRole", "policy_id": "ANPA1", "arn": basic, "path": "/service-role/",
                "default_version_id": "v1", "description": "", "create_date": null, "update_date": null,
                "is_attachable": true, "document": "{}", "versions": [], "tags": {}, "attachment_count": 1
            } },
            "instance_profiles": { "P": {
                "name": "P", "instance_profile_id": "AIPA1", "account_id": ACCOUNT, "path": "/", "arn": "arn",
                "create_date": "2026-01-01T00:00:00Z", "roles": ["Web"], "tags": {}
            } }
        });
        store::write_json(&file, &stored).unwrap();
        let state = State::load(&file).unwrap();
        let role = state.role("wEB").unwrap();
        assert_eq!(role.assume_role_policy_document, r#"{"Version":"2012-10-17"}"#);
        assert_eq!((role.description.as_str(), role.tags["k"].as_str()), ("of the web é", "é"));
        assert_eq!(role.inline_policies[0].policy_document, r#"{"Id":"é"}"#);
        assert_eq!((state.attachments(basic), state.policies.len()), (1, 0));
        assert!(state.policy(basic).is_some());
        assert_eq!(state.profiles_of("web").count(), 1);
        store::write_json(&file, &state).unwrap();
        let again = State::load(&file).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&state).unwrap());
    }
}
