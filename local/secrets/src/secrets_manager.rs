//! Secrets Manager (docs/aws.md §23).

mod filter;
mod operation;
mod refusals;
mod secret;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use kit::ACCOUNT;
use kit::answer::{Refusal, Response};
use kit::call::Call;
use kit::constraint;
use kit::speed::Speed;
use kit::tags::{Flaw, USUAL};

use crate::json_state::JsonState;
use crate::{Input, now, validation};

use filter::{Filter, MOST_FILTERS};
use operation::OPERATIONS;
pub use operation::rows;
use refusals::{absent, invalid, invalid_request, marked, no_value};
use secret::{CURRENT, DAY_S, Secret, SecretValue};

/// The largest value in bytes.
const LARGEST: usize = 64 << 10;
/// The largest number of characters of a name.
const LONGEST_NAME: usize = 512;
/// The lengths of a description, and of a staging label.
const DESCRIPTION: (&str, RangeInclusive<usize>) = ("Description", 0..=2048);
const STAGE: RangeInclusive<usize> = 1..=256;
/// The most staging labels in a call.
const MOST_STAGES: usize = 20;
/// The characters of names other than letters and digits.
const SIGNS: &str = "/_+=.@-!";
/// The lengths of a version's id, which is the token of the request that made it.
const TOKEN: RangeInclusive<usize> = 32..=64;
/// The recovery window in days: least, most and default.
const WINDOW: [u64; 3] = [7, 30, 30];
/// How long a deletion without recovery takes in seconds, before scaling by the speed (docs/aws.md §23.1).
const DELETION_S: u64 = 5;

/// The secrets of a region.
///
/// Guarantees: acknowledged calls survive killing the server.
pub struct SecretsManager {
    region: String,
    speed: Speed,
    state: JsonState<Secrets>,
}

type Secrets = BTreeMap<String, Secret>;

impl std::fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretsManager").field("region", &self.region).finish_non_exhaustive()
    }
}

impl SecretsManager {
    /// Reads the secrets in a directory.
    pub fn open(dir: &Path, region: &str, speed: Speed) -> anyhow::Result<SecretsManager> {
        Ok(SecretsManager { region: region.to_owned(), speed, state: JsonState::open(dir, "secrets.json")? })
    }

    /// Makes a call for a program of the local AWS.
    pub fn call(&self, operation: &str, input: &Value) -> Result<Value, Refusal> {
        crate::run(self, OPERATIONS, operation, input).unwrap_or_else(|| Err(validation("there is no such operation")))
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        crate::answer(self, OPERATIONS, call)
    }

    /// Returns the ARN of the secret that a call names; `None` if there is none. Policies are checked against it.
    pub fn arn_of(&self, id: &str) -> Option<String> {
        self.state.read(|secrets| find(secrets, id).map(|name| secrets[&name].arn.clone()))
    }

    /// Returns the tags of the secret with this ARN, for conditions.
    pub fn tags_of(&self, arn: &str) -> BTreeMap<String, String> {
        self.state.read(|all| all.values().find(|it| it.arn == arn).map(|it| it.tags.clone()).unwrap_or_default())
    }

    fn create(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("Name")?;
        input.bound(&[("Name", 1..=LONGEST_NAME), DESCRIPTION])?;
        let is_of_names = |c: char| c.is_ascii_alphanumeric() || SIGNS.contains(c);
        if !name.chars().all(is_of_names) {
            let text = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
            return Err(validation(text));
        }
        let (token, value, tags) = (token(input)?, value(input)?, input.tags());
        check_tags(&tags, &BTreeMap::new())?;
        self.change(|secrets| {
            if let Some(there) = secrets.get(name) {
                return there.repeated(name, &token, value.as_ref());
            }
            let suffix: String = (0..6).map(|_| fastrand::alphanumeric()).collect();
            let arn = self.arn(&format!("{name}-{suffix}"));
            let mut secret = Secret {
                arn,
                description: input.text("Description").map(str::to_owned),
                tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
                created: now(),
                changed: now(),
                deleted: None,
                is_lost: false,
                versions: BTreeMap::new(),
            };
            let mut answer = json!({ "ARN": secret.arn, "Name": name });
            if let Some(value) = value {
                secret.put(&token, value, &[CURRENT])?;
                answer["VersionId"] = json!(token);
            }
            secrets.insert(name.to_owned(), secret);
            Ok(answer)
        })
    }

    fn put_value(&self, input: Input) -> Result<Value, Refusal> {
        let (token, value) = (token(input)?, value(input)?);
        let value = value.ok_or_else(|| invalid_request("You must provide either SecretString or SecretBinary."))?;
        input.bound(&[("VersionStages", 1..=MOST_STAGES)])?;
        input.bound_each("VersionStages", STAGE)?;
        let stages = input.list("VersionStages");
        let stages = if stages.is_empty() { vec![CURRENT] } else { stages };
        self.alter(input, |name, secret| {
            secret.put(&token, value, &stages)?;
            let stages = secret.versions.get(&token).map(|version| version.stages.clone());
            Ok(json!({ "ARN": secret.arn, "Name": name, "VersionId": token, "VersionStages": stages }))
        })
    }

    fn update(&self, input: Input) -> Result<Value, Refusal> {
        input.bound(&[DESCRIPTION])?;
        let (token, value) = (token(input)?, value(input)?);
        self.alter(input, |name, secret| {
            if let Some(description) = input.text("Description") {
                (secret.description, secret.changed) = (Some(description.to_owned()), now());
            }
            let mut answer = json!({ "ARN": secret.arn, "Name": name });
            if let Some(value) = value {
                secret.put(&token, value, &[CURRENT])?;
                answer["VersionId"] = json!(token);
            }
            Ok(answer)
        })
    }

    fn value(&self, input: Input) -> Result<Value, Refusal> {
        let id = secret_id(input)?;
        input.bound(&[("VersionId", TOKEN), ("VersionStage", STAGE)])?;
        let (version, stage) = (input.text("VersionId"), input.text("VersionStage"));
        self.look(id, |name, secret| {
            if secret.deleted.is_some() {
                return Err(marked());
            }
            let wanted_stage = stage.unwrap_or(CURRENT);
            let (id, found) = match version {
                Some(id) => {
                    let version = secret.versions.get(id).ok_or_else(|| no_value("VersionId", id))?;
                    if stage.is_some_and(|stage| !version.stages.contains(stage)) {
                        return Err(invalid_request(
                            "You provided a VersionStage that is not associated to the provided VersionId.",
                        ));
                    }
                    (id, version)
                }
                None => secret.at(wanted_stage).ok_or_else(|| no_value("staging label", wanted_stage))?,
            };
            let mut answer = json!({
                "ARN": secret.arn,
                "Name": name,
                "VersionId": id,
                "VersionStages": found.stages,
                "CreatedDate": found.created,
            });
            match &found.value {
                SecretValue::Text(text) => answer["SecretString"] = json!(text),
                SecretValue::Binary(bytes) => answer["SecretBinary"] = json!(bytes),
            }
            Ok(answer)
        })
    }

    fn describe(&self, input: Input) -> Result<Value, Refusal> {
        self.look(secret_id(input)?, |name, secret| Ok(secret.described(name, "VersionIdsToStages")))
    }

    /// No secret has a policy of its own: none can be put (docs/aws.md §23.1).
    fn resource_policy(&self, input: Input) -> Result<Value, Refusal> {
        self.look(secret_id(input)?, |name, secret| match secret.deleted {
            Some(_) => Err(marked()),
            None => Ok(json!({ "ARN": secret.arn, "Name": name })),
        })
    }

    fn list(&self, input: Input) -> Result<Value, Refusal> {
        input.bound(&[("Filters", 0..=MOST_FILTERS), ("NextToken", 1..=4096)])?;
        let filters = input.items("Filters").map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
        let with_deleted = input.is_set("IncludePlannedDeletion");
        let found: Vec<Value> = self.state.read(|secrets| {
            let present = secrets.iter().filter(|(_, it)| !it.has_ended());
            let wanted = present.filter(|(_, it)| with_deleted || it.deleted.is_none());
            let fitting = wanted.filter(|(name, it)| filters.iter().all(|filter| filter.fits(name, it)));
            fitting.map(|(name, it)| it.described(name, "SecretVersionsToStages")).collect()
        });
        let (page, next) = input.page(found, 100, "InvalidNextTokenException")?;
        Ok(json!({ "SecretList": page, "NextToken": next }))
    }

    fn delete(&self, input: Input) -> Result<Value, Refusal> {
        let (is_forced, window) = (input.is_set("ForceDeleteWithoutRecovery"), &input.0["RecoveryWindowInDays"]);
        let [least, most, usual] = WINDOW;
        if is_forced && !window.is_null() {
            let text = "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.";
            return Err(invalid(text));
        }
        let days = match window {
            Value::Null => usual,
            days => days
                .as_u64()
                .filter(|days| (least..=most).contains(days))
                .ok_or_else(|| invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."))?,
        };
        let id = secret_id(input)?;
        self.change(|secrets| {
            let Some(name) = find(secrets, id) else {
                // A repeated call succeeds, even for a secret that never existed.
                let answer = json!({ "ARN": self.arn(id), "Name": id, "DeletionDate": now() });
                return if is_forced { Ok(answer) } else { Err(absent()) };
            };
            let Some(secret) = secrets.get_mut(&name) else { return Err(absent()) };
            let end = if is_forced { now() } else { now() + days as f64 * DAY_S };
            match (is_forced, secret.deleted) {
                (true, _) if secret.is_lost => (),
                (true, _) => {
                    // The secret is deleted in the background.
                    let end = now() + self.speed.takes(DELETION_S).as_secs_f64();
                    (secret.deleted, secret.is_lost) = (Some([now(), end]), true);
                }
                (false, Some(_)) => return Err(marked()),
                (false, None) => secret.deleted = Some([now(), end]),
            }
            Ok(json!({ "ARN": secret.arn, "Name": name, "DeletionDate": end }))
        })
    }

    fn restore(&self, input: Input) -> Result<Value, Refusal> {
        self.alter_any(input, |name, secret| {
            if secret.is_lost {
                return Err(marked());
            }
            secret.deleted = None;
            Ok(json!({ "ARN": secret.arn, "Name": name }))
        })
    }

    fn tag(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("Tags")?;
        let tags = input.tags();
        self.alter(input, |_, secret| {
            check_tags(&tags, &secret.tags)?;
            secret.tags.extend(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            Ok(json!({}))
        })
    }

    fn untag(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("TagKeys")?;
        input.bound_each("TagKeys", 1..=128)?;
        let keys = input.list("TagKeys");
        self.alter(input, |_, secret| {
            secret.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        })
    }

    /// The ARN that ends in a name.
    fn arn(&self, name: &str) -> String {
        format!("arn:aws:secretsmanager:{}:{ACCOUNT}:secret:{name}", self.region)
    }

    fn look<T>(&self, id: &str, look: impl FnOnce(&str, &Secret) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.state.read(|secrets| {
            let name = find(secrets, id).ok_or_else(absent)?;
            look(&name, &secrets[&name])
        })
    }

    /// Changes a secret that is not scheduled for deletion.
    fn alter(
        &self,
        input: Input,
        change: impl FnOnce(&str, &mut Secret) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        self.alter_any(input, |name, secret| match secret.deleted {
            Some(_) => Err(marked()),
            None => change(name, secret),
        })
    }

    fn alter_any(
        &self,
        input: Input,
        change: impl FnOnce(&str, &mut Secret) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let id = secret_id(input)?;
        self.change(|secrets| {
            let name = find(secrets, id).ok_or_else(absent)?;
            let Some(secret) = secrets.get_mut(&name) else { return Err(absent()) };
            change(&name, secret)
        })
    }

    /// Changes the secrets, without those whose recovery window has ended.
    fn change(&self, change: impl FnOnce(&mut Secrets) -> Result<Value, Refusal>) -> Result<Value, Refusal> {
        self.state.change(|secrets| {
            secrets.retain(|_, secret| !secret.has_ended());
            change(secrets)
        })
    }
}

/// Returns the name of the secret with a name, an ARN, or an ARN without its random suffix.
fn find(secrets: &Secrets, id: &str) -> Option<String> {
    let is_meant = |name: &str, secret: &Secret| {
        let short = secret.arn.len().checked_sub(7).and_then(|end| secret.arn.get(..end));
        !secret.has_ended() && (name == id || secret.arn == id || short == Some(id))
    };
    secrets.iter().find(|(name, secret)| is_meant(name, secret)).map(|(name, _)| name.clone())
}

/// The name or ARN of a secret.
fn secret_id(input: Input<'_>) -> Result<&str, Refusal> {
    let id = input.required("SecretId")?;
    input.bound(&[("SecretId", 1..=2048)])?;
    Ok(id)
}

/// The token of a call, which becomes the id of the version. The SDKs always send one.
fn token(input: Input) -> Result<String, Refusal> {
    match input.text("ClientRequestToken") {
        Some(token) if TOKEN.contains(&token.len()) => Ok(token.to_owned()),
        Some(_) => Err(invalid("ClientRequestToken must be 32-64 characters long.")),
        None => Ok(Uuid::new_v4().to_string()),
    }
}

/// The value in a call.
fn value(input: Input) -> Result<Option<SecretValue>, Refusal> {
    let bound = |name: &str, bytes: usize| constraint::bound(name, bytes, 1..=LARGEST).map_err(validation);
    match (input.text("SecretString"), input.text("SecretBinary")) {
        (Some(_), Some(_)) => {
            Err(invalid("You can't specify both a binary secret value and a string secret value in the same secret."))
        }
        (Some(text), None) => bound("secretString", text.len()).map(|()| Some(SecretValue::Text(text.to_owned()))),
        (None, Some(bytes)) => {
            let padding = bytes.bytes().filter(|byte| *byte == b'=').count();
            bound("secretBinary", bytes.len() / 4 * 3 - padding).map(|()| Some(SecretValue::Binary(bytes.to_owned())))
        }
        (None, None) => Ok(None),
    }
}

fn check_tags(added: &[(&str, &str)], there: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let checked = USUAL.check(added.iter().copied(), there.keys().map(String::as_str));
    checked.map_err(|flaw| match flaw {
        Flaw::Reserved(_) => invalid("Tag keys can't begin with aws:, which is reserved."),
        Flaw::Twice(_) => invalid("Tag keys must be unique."),
        Flaw::TooMany => invalid("A secret can have at most 50 tags."),
        flaw => validation(flaw.in_list("tags").unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests;
