//! Secrets Manager (docs/aws.md §23).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use kit::ACCOUNT;
use kit::answer::{Refusal, Response};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Need, Needs, Operation, Page, Rows};
use kit::constraint;
use kit::speed::Speed;
use kit::tags::{Flaw, USUAL};

use crate::json_state::JsonState;
use crate::{Input, now, tag_list, validation, with_request_tags};

/// The largest value in bytes.
const LARGEST: usize = 64 << 10;
/// The largest number of characters of a name.
const LONGEST_NAME: usize = 512;
/// The lengths of a description, and of a staging label.
const DESCRIPTION: (&str, RangeInclusive<usize>) = ("Description", 0..=2048);
const STAGE: RangeInclusive<usize> = 1..=256;
/// The most staging labels in a call.
const MOST_STAGES: usize = 20;
/// The most filters of a list, and values of a filter.
const MOST_FILTERS: usize = 10;
/// The characters of names other than letters and digits.
const SIGNS: &str = "/_+=.@-!";
/// The lengths of a version's id, which is the token of the request that made it.
const TOKEN: RangeInclusive<usize> = 32..=64;
/// The recovery window in days: least, most and default.
const WINDOW: [u64; 3] = [7, 30, 30];
const DAY_S: f64 = 86_400.0;
/// How long a deletion without recovery takes in seconds, before scaling by the speed (docs/aws.md §23.1).
const DELETION_S: u64 = 5;
/// The most versions of a secret. Of more, the oldest without a staging label are removed, unless they are from the last
/// day.
const MOST_VERSIONS: usize = 100;
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// The secrets of a region.
///
/// Guarantees: acknowledged calls survive killing the server.
pub struct SecretsManager {
    region: String,
    speed: Speed,
    state: JsonState<Secrets>,
}

type Secrets = BTreeMap<String, Secret>;

#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    arn: String,
    description: Option<String>,
    tags: BTreeMap<String, String>,
    created: f64,
    changed: f64,
    /// When its deletion was requested, and when it ends.
    deleted: Option<[f64; 2]>,
    /// Whether it is deleted without recovery.
    #[serde(default)]
    is_lost: bool,
    versions: BTreeMap<String, Version>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Version {
    created: f64,
    stages: BTreeSet<String>,
    value: Held,
}

/// The value of a version.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
enum Held {
    Text(String),
    /// In base64, as it is sent.
    Binary(String),
}

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
                Held::Text(text) => answer["SecretString"] = json!(text),
                Held::Binary(bytes) => answer["SecretBinary"] = json!(bytes),
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

impl Secret {
    fn has_ended(&self) -> bool {
        self.deleted.is_some_and(|[_, end]| end <= now())
    }

    /// The version with a staging label.
    fn at(&self, stage: &str) -> Option<(&str, &Version)> {
        let mut versions = self.versions.iter().map(|(id, version)| (id.as_str(), version));
        versions.find(|(_, version)| version.stages.contains(stage))
    }

    /// Adds a version, or finds that the same request has added it. The first version is always the current one.
    fn put(&mut self, token: &str, value: Held, stages: &[&str]) -> Result<(), Refusal> {
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
    fn repeated(&self, name: &str, token: &str, value: Option<&Held>) -> Result<Value, Refusal> {
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

    fn described(&self, name: &str, versions: &str) -> Value {
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

/// A filter of `ListSecrets`: values are prefixes, and `!` negates one.
struct Filter<'a> {
    key: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    fn parse(input: Input<'a>) -> Result<Filter<'a>, Refusal> {
        let (key, values) = (input.required("Key")?, input.list("Values"));
        input.needs("Values")?;
        input.bound(&[("Values", 1..=MOST_FILTERS)])?;
        input.bound_each("Values", 0..=512)?;
        match key {
            "name" | "tag-key" | "tag-value" => Ok(Filter { key, values }),
            other => Err(kit::parameters::refusal(format!("the local AWS does not carry out the filter {other}"))),
        }
    }

    fn fits(&self, name: &str, secret: &Secret) -> bool {
        let begins = |text: &str, value: &str| text.starts_with(value);
        let has = |value: &str| match self.key {
            "name" => begins(name, value),
            "tag-key" => secret.tags.keys().any(|key| begins(key, value)),
            _ => secret.tags.values().any(|text| begins(text, value)),
        };
        self.values.iter().any(|value| value.strip_prefix('!').map_or_else(|| has(value), |value| !has(value)))
    }
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
fn value(input: Input) -> Result<Option<Held>, Refusal> {
    let bound = |name: &str, bytes: usize| constraint::bound(name, bytes, 1..=LARGEST).map_err(validation);
    match (input.text("SecretString"), input.text("SecretBinary")) {
        (Some(_), Some(_)) => {
            Err(invalid("You can't specify both a binary secret value and a string secret value in the same secret."))
        }
        (Some(text), None) => bound("secretString", text.len()).map(|()| Some(Held::Text(text.to_owned()))),
        (None, Some(bytes)) => {
            let padding = bytes.bytes().filter(|byte| *byte == b'=').count();
            bound("secretBinary", bytes.len() / 4 * 3 - padding).map(|()| Some(Held::Binary(bytes.to_owned())))
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

fn absent() -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

fn no_value(what: &str, which: &str) -> Refusal {
    let text = format!("Secrets Manager can't find the specified secret value for {what}: {which}");
    Refusal::new(400, "ResourceNotFoundException", text)
}

fn marked() -> Refusal {
    invalid_request("You can't perform this operation on the secret because it was marked for deletion.")
}

fn token_taken(token: &str, arn: &str) -> Refusal {
    let text = format!(
        "You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
    );
    Refusal::new(400, "ResourceExistsException", text)
}

fn invalid_request(text: &str) -> Refusal {
    Refusal::new(400, "InvalidRequestException", text)
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "InvalidParameterException", text)
}

/// The ARN of the secret that a call names. One that does not exist has only the name that the call gives: no pattern for
/// ARNs covers it.
fn resource(asked: &Asked) -> String {
    let id = asked.text("SecretId");
    (asked.entity_arn)("secret", id).unwrap_or_else(|| id.to_owned())
}

const OF_SECRET: Needs = Needs::Of(|asked| vec![asked.own(resource(asked))]);
const TAGGED: Needs = Needs::Of(|asked| vec![with_request_tags(asked.own(resource(asked)), asked)]);
/// Giving a new secret tags needs the permission to tag it as well.
const NEW: Needs = Needs::Of(|asked| {
    let arn = format!("arn:aws:secretsmanager:{}:{ACCOUNT}:secret:{}-??????", asked.region, asked.text("Name"));
    let has_tags = !Input(asked.call.input.json().value()).tags().is_empty();
    let tag = has_tags.then(|| Need::new("secretsmanager:TagResource", arn.clone()));
    [asked.own(arn)].into_iter().chain(tag).map(|need| with_request_tags(need, asked)).collect()
});

const PAGED: Option<Page> = Some(Page::Own("MaxResults"));

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<crate::Run<SecretsManager>>] = &[
    Operation::new(
        "CreateSecret",
        Writes,
        NEW,
        None,
        "ClientRequestToken Description ForceOverwriteReplicaSecret:boolean=false Name SecretBinary:blob SecretString \
         Tags[].Key Tags[].Value",
        SecretsManager::create,
    ),
    Operation::new(
        "DeleteSecret",
        Writes,
        OF_SECRET,
        None,
        "ForceDeleteWithoutRecovery:boolean RecoveryWindowInDays:integer SecretId",
        SecretsManager::delete,
    ),
    Operation::new("DescribeSecret", Reads, OF_SECRET, None, "SecretId", SecretsManager::describe),
    Operation::new("GetResourcePolicy", Reads, OF_SECRET, None, "SecretId", SecretsManager::resource_policy),
    Operation::new("GetSecretValue", Reads, OF_SECRET, None, "SecretId VersionId VersionStage", SecretsManager::value),
    Operation::new(
        "ListSecrets",
        Reads,
        Needs::Own,
        PAGED,
        "Filters[].Key Filters[].Values[] IncludePlannedDeletion:boolean MaxResults:integer NextToken",
        SecretsManager::list,
    ),
    Operation::new(
        "PutSecretValue",
        Writes,
        OF_SECRET,
        None,
        "ClientRequestToken SecretBinary:blob SecretId SecretString VersionStages[]",
        SecretsManager::put_value,
    ),
    Operation::new("RestoreSecret", Writes, OF_SECRET, None, "SecretId", SecretsManager::restore),
    Operation::new("TagResource", Writes, TAGGED, None, "SecretId Tags[].Key Tags[].Value", SecretsManager::tag),
    Operation::new("UntagResource", Writes, OF_SECRET, None, "SecretId TagKeys[]", SecretsManager::untag),
    Operation::new(
        "UpdateSecret",
        Writes,
        OF_SECRET,
        None,
        "ClientRequestToken Description SecretBinary:blob SecretId SecretString",
        SecretsManager::update,
    ),
];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> SecretsManager {
        SecretsManager::open(dir, "us-east-1", Speed::REAL).unwrap()
    }

    fn code(answer: Result<Value, Refusal>) -> String {
        answer.map(drop).unwrap_err().code
    }

    fn stages(secrets: &SecretsManager) -> Vec<Vec<String>> {
        let described = secrets.call("DescribeSecret", &json!({ "SecretId": "s" })).unwrap();
        let stages: BTreeMap<String, Vec<String>> =
            serde_json::from_value(described["VersionIdsToStages"].clone()).unwrap();
        stages.into_values().collect()
    }

    #[test]
    fn a_new_value_is_the_current_one_and_the_one_before_the_previous() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        let put = |number: usize| {
            let token = format!("{number:032}");
            let input = json!({ "SecretId": "s", "SecretString": number.to_string(), "ClientRequestToken": token });
            secrets.call("PutSecretValue", &input).unwrap();
        };
        let made = secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "0" })).unwrap();
        let arn = made["ARN"].as_str().unwrap().to_owned();
        let suffix = arn.strip_prefix("arn:aws:secretsmanager:us-east-1:000000000000:secret:s-").unwrap();
        assert_eq!(suffix.len(), 6);
        (1..=3).for_each(put);
        assert_eq!(stages(&secrets), [["AWSPREVIOUS"], ["AWSCURRENT"]]);
        // Read after a restart, by name, ARN and ARN without its suffix.
        let secrets = open(dir.path());
        for id in ["s", &arn, &arn[..arn.len() - 7]] {
            let read = |stage: &str| {
                let input = json!({ "SecretId": id, "VersionStage": stage });
                secrets.call("GetSecretValue", &input).unwrap()["SecretString"].as_str().unwrap().to_owned()
            };
            assert_eq!([read(CURRENT), read(PREVIOUS)], ["3", "2"]);
        }
        assert!(!format!("{secrets:?}").contains('3'));
    }

    #[test]
    fn a_secret_has_a_hundred_versions_of_a_day_and_loses_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "0" })).unwrap();
        let put = |value: usize| {
            secrets.call("PutSecretValue", &json!({ "SecretId": "s", "SecretString": value.to_string() }))
        };
        (1..MOST_VERSIONS).for_each(|value| drop(put(value).unwrap()));
        assert_eq!(code(put(MOST_VERSIONS)), "LimitExceededException");
        let age = |secrets: &mut Secrets| {
            let versions = secrets.values_mut().flat_map(|secret| secret.versions.values_mut());
            versions.for_each(|version| version.created -= DAY_S + 1.0);
            Ok(())
        };
        secrets.state.change(age).unwrap();
        put(MOST_VERSIONS).unwrap();
        assert_eq!(secrets.state.read(|secrets| secrets["s"].versions.len()), MOST_VERSIONS);
        let stages = stages(&secrets);
        assert!(
            stages.contains(&vec![CURRENT.to_owned()]) && stages.contains(&vec![PREVIOUS.to_owned()]),
            "{stages:?}"
        );
    }

    #[test]
    fn a_repeated_request_changes_nothing_and_its_token_cannot_be_used_for_another_value() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        let token = "t".repeat(32);
        let create = |value: &str| {
            let input = json!({ "Name": "s", "SecretString": value, "ClientRequestToken": token });
            secrets.call("CreateSecret", &input)
        };
        let first = create("one").unwrap();
        assert_eq!(create("one").unwrap(), first);
        assert_eq!(code(create("two")), "ResourceExistsException");
        let put = |value: &str| {
            let input = json!({ "SecretId": "s", "SecretString": value, "ClientRequestToken": token });
            secrets.call("PutSecretValue", &input)
        };
        assert!(put("one").is_ok());
        assert_eq!(code(put("two")), "ResourceExistsException");
        assert_eq!(stages(&secrets), [["AWSCURRENT"]]);
    }

    #[test]
    fn a_deleted_secret_keeps_its_name_until_its_window_ends_and_can_be_restored() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        let by_id = json!({ "SecretId": "s" });
        let make = json!({ "Name": "s", "SecretString": "v" });
        secrets.call("CreateSecret", &make).unwrap();
        for days in [json!(6), json!(31)] {
            let input = json!({ "SecretId": "s", "RecoveryWindowInDays": days });
            assert_eq!(code(secrets.call("DeleteSecret", &input)), "InvalidParameterException");
        }
        secrets.call("DeleteSecret", &json!({ "SecretId": "s", "RecoveryWindowInDays": 7 })).unwrap();
        assert!(secrets.call("DescribeSecret", &by_id).unwrap()["DeletedDate"].is_number());
        assert_eq!(code(secrets.call("GetSecretValue", &by_id)), "InvalidRequestException");
        assert_eq!(code(secrets.call("GetResourcePolicy", &by_id)), "InvalidRequestException");
        assert_eq!(code(secrets.call("CreateSecret", &make)), "InvalidRequestException");
        assert_eq!(secrets.call("ListSecrets", &json!({})).unwrap()["SecretList"], json!([]));
        let all = secrets.call("ListSecrets", &json!({ "IncludePlannedDeletion": true })).unwrap();
        assert_eq!(all["SecretList"].as_array().map(Vec::len), Some(1));
        secrets.call("RestoreSecret", &by_id).unwrap();
        assert!(secrets.call("GetResourcePolicy", &by_id).unwrap()["ResourcePolicy"].is_null());
        assert_eq!(secrets.call("GetSecretValue", &by_id).unwrap()["SecretString"], "v");
    }

    #[test]
    fn a_deletion_without_recovery_ends_in_the_background_and_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        let by_id = json!({ "SecretId": "s" });
        let make = json!({ "Name": "s", "SecretString": "v" });
        let force = json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": true });
        // A secret that never existed is as good as deleted.
        assert_eq!(secrets.call("DeleteSecret", &force).unwrap()["Name"], "s");
        assert_eq!(code(secrets.call("DeleteSecret", &by_id)), "ResourceNotFoundException");
        secrets.call("CreateSecret", &make).unwrap();
        let first = secrets.call("DeleteSecret", &force).unwrap()["ARN"].clone();
        assert_eq!(secrets.call("DeleteSecret", &force).unwrap()["ARN"], first);
        for (operation, input) in
            [("CreateSecret", &make), ("DeleteSecret", &by_id), ("GetSecretValue", &by_id), ("RestoreSecret", &by_id)]
        {
            assert_eq!(code(secrets.call(operation, input)), "InvalidRequestException", "{operation}");
        }
        let end = |secrets: &mut Secrets| {
            secrets.values_mut().for_each(|secret| secret.deleted = Some([0.0, 0.0]));
            Ok(())
        };
        secrets.state.change(end).unwrap();
        assert_eq!(code(secrets.call("DescribeSecret", &by_id)), "ResourceNotFoundException");
        assert!(secrets.call("CreateSecret", &make).is_ok());
    }

    #[test]
    fn members_have_limits_and_types_and_some_are_required() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "v" })).unwrap();
        let (wrong, invalid) = ("SerializationException", "ValidationException");
        let stages: Vec<String> = (0..=MOST_STAGES).map(|number| number.to_string()).collect();
        let filter = json!({ "Key": "name", "Values": ["a"] });
        let filters = vec![filter; MOST_FILTERS + 1];
        for (operation, input, expected) in [
            ("DescribeSecret", json!({}), invalid),
            ("DescribeSecret", json!({ "SecretId": "" }), invalid),
            ("DescribeSecret", json!({ "SecretId": "s".repeat(2049) }), invalid),
            ("DescribeSecret", json!({ "SecretId": 1 }), wrong),
            ("DescribeSecret", json!([]), wrong),
            ("GetSecretValue", json!({ "SecretId": "s", "VersionId": "v".repeat(31) }), invalid),
            ("GetSecretValue", json!({ "SecretId": "s", "VersionId": "v".repeat(65) }), invalid),
            ("GetSecretValue", json!({ "SecretId": "s", "VersionStage": "" }), invalid),
            ("GetSecretValue", json!({ "SecretId": "s", "VersionStage": "v".repeat(257) }), invalid),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretString": 7 }), wrong),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretBinary": "no base64" }), wrong),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretBinary": "" }), invalid),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": [] }), invalid),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": [""] }), invalid),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": stages }), invalid),
            ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": "a" }), wrong),
            ("UpdateSecret", json!({ "SecretId": "s", "Description": "d".repeat(2049) }), invalid),
            ("CreateSecret", json!({ "Name": "t", "Description": "d".repeat(2049) }), invalid),
            ("CreateSecret", json!({ "Name": "t".repeat(513) }), invalid),
            ("TagResource", json!({ "SecretId": "s" }), invalid),
            ("TagResource", json!({ "SecretId": "s", "Tags": { "Key": "a" } }), wrong),
            ("UntagResource", json!({ "SecretId": "s" }), invalid),
            ("UntagResource", json!({ "SecretId": "s", "TagKeys": [""] }), invalid),
            ("DeleteSecret", json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": "true" }), wrong),
            ("DeleteSecret", json!({ "SecretId": "s", "RecoveryWindowInDays": "7" }), wrong),
            ("ListSecrets", json!({ "Filters": filters }), invalid),
            ("ListSecrets", json!({ "Filters": [{ "Key": "name" }] }), invalid),
            ("ListSecrets", json!({ "Filters": [{ "Key": "name", "Values": [] }] }), invalid),
            ("ListSecrets", json!({ "MaxResults": 0 }), invalid),
            ("ListSecrets", json!({ "MaxResults": 101 }), invalid),
            ("ListSecrets", json!({ "NextToken": "x" }), "InvalidNextTokenException"),
        ] {
            assert_eq!(code(secrets.call(operation, &input)), expected, "{operation} {input}");
        }
        let binary = |length: usize| {
            let text = format!("{}{}", "AAAA".repeat(length / 3), ["", "AA==", "AAA="][length % 3]);
            secrets.call("PutSecretValue", &json!({ "SecretId": "s", "SecretBinary": text }))
        };
        assert!(binary(LARGEST).is_ok());
        assert_eq!(code(binary(LARGEST + 1)), invalid);
    }

    #[test]
    fn values_have_limits_and_are_in_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        let value = "hunter2".repeat(LARGEST / 7 + 1);
        for (input, expected) in [
            (json!({ "Name": "s", "SecretString": value }), "ValidationException"),
            (json!({ "Name": "s", "SecretString": "" }), "ValidationException"),
            (json!({ "Name": "a b", "SecretString": "hunter2" }), "ValidationException"),
            (json!({ "Name": "s", "SecretString": "hunter2", "SecretBinary": "eA==" }), "InvalidParameterException"),
            (json!({ "Name": "s", "SecretString": "hunter2", "ClientRequestToken": "x" }), "InvalidParameterException"),
            (json!({ "Name": "s", "SecretString": "hunter2", "KmsKeyId": "k" }), "NotImplementedException"),
        ] {
            let refusal = secrets.call("CreateSecret", &input).unwrap_err();
            assert_eq!(refusal.code, expected);
            assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
        }
    }

    #[test]
    fn lists_are_filtered_by_prefix_and_come_in_pages() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = open(dir.path());
        for (name, owner) in [("a", "one"), ("b", "one"), ("c", "two")] {
            let tags = json!([{ "Key": "owner", "Value": owner }]);
            secrets.call("CreateSecret", &json!({ "Name": name, "SecretString": "v", "Tags": tags })).unwrap();
        }
        let list = |input: Value| {
            let answer = secrets.call("ListSecrets", &input).unwrap();
            let names = answer["SecretList"].as_array().unwrap().iter().map(|it| it["Name"].as_str().unwrap());
            (names.collect::<String>(), answer["NextToken"].as_str().map(str::to_owned))
        };
        let tagged = json!([{ "Key": "tag-value", "Values": ["on"] }]);
        assert_eq!(list(json!({ "Filters": tagged })), ("ab".into(), None));
        assert_eq!(list(json!({ "Filters": [{ "Key": "name", "Values": ["!a"] }] })), ("bc".into(), None));
        assert_eq!(list(json!({ "MaxResults": 2 })), ("ab".into(), Some("2".into())));
        assert_eq!(list(json!({ "MaxResults": 2, "NextToken": "2" })), ("c".into(), None));
    }
}
