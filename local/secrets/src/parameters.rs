//! Parameter Store of Systems Manager (docs/aws.md §23).

mod filter;
mod operation;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use kit::ACCOUNT;
use kit::answer::{Refusal, Response};
use kit::call::Call;
use kit::constraint;
use kit::tags::{Flaw, STRICT};

use crate::json_state::JsonState;
use crate::{Input, now, tag_list, validation};

use filter::Filter;
use operation::{OPERATIONS, arn_of};
pub use operation::{rows, to_read};

/// The largest value of a standard parameter in bytes.
const LARGEST: usize = 4096;
/// The longest ARN: it limits the name at its end.
const LONGEST_ARN: usize = 1011;
/// The most levels of a name with slashes.
const MOST_LEVELS: usize = 15;
/// The error code of an invalid token.
const BAD_TOKEN: &str = "InvalidNextToken";
/// The lengths of names and descriptions in a call.
const NAME: RangeInclusive<usize> = 1..=2048;
const DESCRIPTION: RangeInclusive<usize> = 0..=1024;
/// The most names in one call.
const MOST_NAMES: usize = 10;

/// The parameters of a region.
///
/// Guarantees: acknowledged calls survive killing the server.
pub struct Parameters {
    region: String,
    state: JsonState<BTreeMap<String, Parameter>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Parameter {
    kind: String,
    value: String,
    description: Option<String>,
    version: u64,
    changed: f64,
    tags: BTreeMap<String, String>,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Parameters {
    /// Reads the parameters in a directory.
    pub fn open(dir: &Path, region: &str) -> anyhow::Result<Parameters> {
        Ok(Parameters { region: region.to_owned(), state: JsonState::open(dir, "parameters.json")? })
    }

    /// Makes a call for a program of the local AWS.
    pub fn call(&self, operation: &str, input: &Value) -> Result<Value, Refusal> {
        crate::run(self, OPERATIONS, operation, input).unwrap_or_else(|| Err(validation("there is no such operation")))
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        crate::answer(self, OPERATIONS, call)
    }

    /// Returns the tags of the parameter with this ARN, for conditions.
    pub fn tags_of(&self, arn: &str) -> BTreeMap<String, String> {
        self.state.read(|all| {
            let found = all.iter().find(|(name, _)| arn_of(&self.region, name) == arn);
            found.map(|(_, parameter)| parameter.tags.clone()).unwrap_or_default()
        })
    }

    fn put(&self, input: Input) -> Result<Value, Refusal> {
        let (name, value) = (input.required("Name")?, input.required("Value")?);
        input.bound(&[("Name", NAME), ("Description", DESCRIPTION), ("Value", 1..=usize::MAX)])?;
        if let Some(kind) = input.text("Type") {
            constraint::one_of("type", kind, &["SecureString", "StringList", "String"]).map_err(validation)?;
        }
        check_name(&self.region, name)?;
        if value.len() > LARGEST {
            let text = format!(
                "Standard tier parameters support a maximum parameter value of {LARGEST} characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
            );
            return Err(validation(text));
        }
        if value.contains("{{") && value.contains("}}") {
            let text = "Parameter value can't nest another parameter. Do not use \"{{}}\" in the value.";
            return Err(validation(text));
        }
        let (overwrites, tags) = (input.is_set("Overwrite"), whole_tags(input)?);
        if overwrites && !tags.is_empty() {
            let text = "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.";
            return Err(validation(text));
        }
        check_tags(&tags, &BTreeMap::new())?;
        self.state.change(|parameters| {
            let there = parameters.get(name);
            if there.is_some() && !overwrites {
                let text = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.";
                return Err(Refusal::new(400, "ParameterAlreadyExists", text));
            }
            let kind = input.text("Type").or(there.map(|there| there.kind.as_str()));
            let missing = "A parameter type is required when you create a parameter.";
            let kind = kind.ok_or_else(|| validation(missing))?.to_owned();
            if there.is_some_and(|there| there.kind != kind) {
                let text = "The parameter type cannot be changed. Delete the parameter, and create it again.";
                return Err(Refusal::new(400, "HierarchyTypeMismatchException", text));
            }
            if input.text("KeyId").is_some() && kind != "SecureString" {
                return Err(validation("KeyId is for parameters of the type SecureString."));
            }
            let version = there.map_or(1, |there| there.version + 1);
            let description = input.text("Description").map(str::to_owned);
            let description = description.or_else(|| there.and_then(|there| there.description.clone()));
            let tags = match there {
                Some(there) => there.tags.clone(),
                None => tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            };
            let parameter = Parameter { kind, value: value.to_owned(), description, version, changed: now(), tags };
            parameters.insert(name.to_owned(), parameter);
            Ok(json!({ "Version": version, "Tier": "Standard" }))
        })
    }

    fn get(&self, input: Input) -> Result<Value, Refusal> {
        let (name, decrypts) = (readable(input.required("Name")?)?, input.is_set("WithDecryption"));
        input.bound(&[("Name", NAME)])?;
        self.state.read(|all| {
            let parameter = all.get(name).ok_or_else(absent)?;
            Ok(json!({ "Parameter": self.shown(name, parameter, decrypts) }))
        })
    }

    fn get_several(&self, input: Input) -> Result<Value, Refusal> {
        let (names, decrypts) = (names(input)?, input.is_set("WithDecryption"));
        names.iter().try_for_each(|name| readable(name).map(drop))?;
        self.state.read(|all| {
            let (known, unknown): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| all.contains_key(*name));
            let found: Vec<Value> = known.iter().map(|name| self.shown(name, &all[*name], decrypts)).collect();
            Ok(json!({ "Parameters": found, "InvalidParameters": unknown }))
        })
    }

    fn get_by_path(&self, input: Input) -> Result<Value, Refusal> {
        let (path, decrypts) = (readable(input.required("Path")?)?, input.is_set("WithDecryption"));
        input.bound(&[("Path", NAME)])?;
        if !path.starts_with('/') {
            let text = "The parameter path must begin with a slash (/). It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).";
            return Err(validation(text));
        }
        let (below, is_deep) = (format!("{}/", path.trim_end_matches('/')), input.is_set("Recursive"));
        let is_wanted = |name: &str| name.strip_prefix(&below).is_some_and(|rest| is_deep || !rest.contains('/'));
        let found: Vec<Value> = self.state.read(|all| {
            let wanted = all.iter().filter(|(name, _)| is_wanted(name));
            wanted.map(|(name, parameter)| self.shown(name, parameter, decrypts)).collect()
        });
        let (page, next) = input.page(found, 10, BAD_TOKEN)?;
        Ok(json!({ "Parameters": page, "NextToken": next }))
    }

    fn describe(&self, input: Input) -> Result<Value, Refusal> {
        let filters = input.items("ParameterFilters").map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
        let found: Vec<Value> = self.state.read(|all| {
            let wanted = all.iter().filter(|(name, it)| filters.iter().all(|filter| filter.fits(name, it)));
            wanted.map(|(name, parameter)| self.described(name, parameter)).collect()
        });
        let (page, next) = input.page(found, 50, BAD_TOKEN)?;
        Ok(json!({ "Parameters": page, "NextToken": next }))
    }

    fn delete(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("Name")?;
        input.bound(&[("Name", NAME)])?;
        self.state.change(|all| all.remove(name).map(|_| json!({})).ok_or_else(absent))
    }

    fn delete_several(&self, input: Input) -> Result<Value, Refusal> {
        let names = names(input)?;
        self.state.change(|all| {
            let (known, unknown): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| all.contains_key(*name));
            known.iter().for_each(|name| drop(all.remove(*name)));
            Ok(json!({ "DeletedParameters": known, "InvalidParameters": unknown }))
        })
    }

    fn tag(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("Tags")?;
        let tags = whole_tags(input)?;
        self.alter_tags(input, |there| {
            check_tags(&tags, there)?;
            there.extend(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            Ok(json!({}))
        })
    }

    fn untag(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("TagKeys")?;
        input.bound_each("TagKeys", 1..=128)?;
        let keys = input.list("TagKeys");
        self.alter_tags(input, |there| {
            there.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        })
    }

    fn alter_tags(
        &self,
        input: Input,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        input.needs("ResourceType")?;
        let id = input.required("ResourceId")?;
        self.state.change(|all| change(&mut all.get_mut(id).ok_or_else(|| no_resource(id))?.tags))
    }

    fn list_tags(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("ResourceType")?;
        let id = input.required("ResourceId")?;
        self.state.read(|all| {
            let parameter = all.get(id).ok_or_else(|| no_resource(id))?;
            Ok(json!({ "TagList": tag_list(&parameter.tags) }))
        })
    }

    fn shown(&self, name: &str, parameter: &Parameter, decrypts: bool) -> Value {
        let is_closed = parameter.kind == "SecureString" && !decrypts;
        // Without decryption, AWS returns the encrypted value.
        let value = if is_closed { "AQICAHlocalAWSdoesNotEncrypt" } else { &parameter.value };
        json!({
            "Name": name,
            "Type": parameter.kind,
            "Value": value,
            "Version": parameter.version,
            "LastModifiedDate": parameter.changed,
            "ARN": arn_of(&self.region, name),
            "DataType": "text",
        })
    }

    fn described(&self, name: &str, parameter: &Parameter) -> Value {
        let mut described = json!({
            "Name": name,
            "ARN": arn_of(&self.region, name),
            "Type": parameter.kind,
            "Version": parameter.version,
            "LastModifiedDate": parameter.changed,
            "LastModifiedUser": format!("arn:aws:iam::{ACCOUNT}:root"),
            "Tier": "Standard",
            "Policies": [],
            "DataType": "text",
        });
        if let Some(description) = &parameter.description {
            described["Description"] = json!(description);
        }
        if parameter.kind == "SecureString" {
            described["KeyId"] = json!("alias/aws/ssm");
        }
        described
    }
}

/// The names in a call.
fn names(input: Input<'_>) -> Result<Vec<&str>, Refusal> {
    input.needs("Names")?;
    input.bound(&[("Names", 1..=MOST_NAMES)])?;
    input.bound_each("Names", NAME)?;
    Ok(input.list("Names"))
}

/// Refuses what AWS would find here, where it would pass for absent: parameters by ARN, their versions and labels, and
/// the public ones of AWS.
fn readable(name: &str) -> Result<&str, Refusal> {
    match name.contains(':') || name == "/aws" || name.starts_with("/aws/") {
        true => Err(kit::parameters::refusal(format!("the local AWS has parameters by name only, not {name}"))),
        false => Ok(name),
    }
}

fn check_name(region: &str, name: &str) -> Result<(), Refusal> {
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    if ["aws", "ssm"].iter().any(|kept| bare.starts_with(kept)) {
        let text = "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_";
        return Err(validation(text));
    }
    let is_too_long = arn_of(region, name).len() > LONGEST_ARN;
    let is_path = !name.contains("//") && !name.ends_with('/');
    if bare.is_empty() || is_too_long || !name.chars().all(is_of_names) || !is_path {
        let text = "Parameter name must be a fully qualified name, formed of letters, numbers and the symbols .-_/";
        return Err(validation(text));
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(validation("Parameter name must be a fully qualified name."));
    }
    if name.matches('/').count() > MOST_LEVELS {
        let text = "A hierarchy can have a maximum of 15 levels.";
        return Err(Refusal::new(400, "HierarchyLevelLimitExceededException", text));
    }
    Ok(())
}

/// The tags in a call, each of which has a value.
fn whole_tags(input: Input<'_>) -> Result<Vec<(&str, &str)>, Refusal> {
    input.items("Tags").map(|tag| Ok((tag.required("Key")?, tag.required("Value")?))).collect()
}

fn check_tags(added: &[(&str, &str)], there: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let checked = STRICT.check(added.iter().copied(), there.keys().map(String::as_str));
    checked.map_err(|flaw| match flaw {
        Flaw::TooMany => Refusal::new(400, "TooManyTagsError", "A parameter can have at most 50 tags."),
        Flaw::Reserved(_) => validation("Tag keys can't begin with aws:, which is reserved."),
        Flaw::Twice(_) => validation("Tag keys must be unique."),
        flaw => validation(flaw.in_list("tags").unwrap_or_default()),
    })
}

/// AWS gives no message.
fn absent() -> Refusal {
    Refusal::new(400, "ParameterNotFound", "")
}

fn no_resource(id: &str) -> Refusal {
    let text = format!("The resource ID \"{id}\" is not valid. Verify that the ID exists and try again.");
    Refusal::new(400, "InvalidResourceId", text)
}

#[cfg(test)]
mod tests;
