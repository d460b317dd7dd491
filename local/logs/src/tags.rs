//! Tags of log groups, by name and by ARN.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use kit::answer::Refusal;
use kit::tags::{Flaw, STRICT};

use super::input::Input;
use super::{Logs, invalid, no_group};

impl Logs {
    pub(super) fn list_tags(&self, input: Input) -> Result<Value, Refusal> {
        self.tags_of(name_in(input.required("resourceArn")?))
    }

    /// The older operation, which takes a name instead of an ARN.
    pub(super) fn list_tags_by_name(&self, input: Input) -> Result<Value, Refusal> {
        self.tags_of(input.required("logGroupName")?)
    }

    fn tags_of(&self, name: &str) -> Result<Value, Refusal> {
        self.kept().groups.get(name).map(|group| json!({ "tags": group.tags })).ok_or_else(no_group)
    }

    pub(super) fn tag(&self, input: Input) -> Result<Value, Refusal> {
        self.add_tags(name_in(input.required("resourceArn")?), input)
    }

    pub(super) fn tag_by_name(&self, input: Input) -> Result<Value, Refusal> {
        self.add_tags(input.required("logGroupName")?, input)
    }

    fn add_tags(&self, name: &str, input: Input) -> Result<Value, Refusal> {
        input.needs("tags")?;
        self.change_group(name, |group| {
            let added = input.tags();
            check_tags(&added, &group.tags)?;
            group.tags.extend(added);
            Ok(json!({}))
        })
    }

    pub(super) fn untag(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("tagKeys")?;
        self.remove_tags(name_in(input.required("resourceArn")?), &input.list("tagKeys"))
    }

    pub(super) fn untag_by_name(&self, input: Input) -> Result<Value, Refusal> {
        input.needs("tags")?;
        self.remove_tags(input.required("logGroupName")?, &input.list("tags"))
    }

    fn remove_tags(&self, name: &str, keys: &[&str]) -> Result<Value, Refusal> {
        self.change_group(name, |group| {
            group.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        })
    }
}

/// Checks whether tags can be added to those in `there`, with the error codes of `API:logs.TagResource`.
pub(super) fn check_tags(added: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let pairs = added.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    STRICT.check(pairs, there.keys().map(String::as_str)).map_err(|flaw| match flaw {
        Flaw::TooMany => Refusal::new(400, "TooManyTagsException", "A resource can have no more than 50 tags."),
        Flaw::Reserved(key) => invalid(&format!("Tag keys that begin with aws: are reserved: {key}")),
        flaw => invalid(&flaw.in_map().unwrap_or_default()),
    })
}

/// Returns the name in a group's ARN, which may end in `:*`.
pub(super) fn name_in(arn: &str) -> &str {
    let name = arn.split_once(":log-group:").map_or(arn, |(_, name)| name);
    name.strip_suffix(":*").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_its_arn_with_and_without_a_star() {
        for arn in
            ["arn:aws:logs:us-east-1:0:log-group:/aws/lambda/f", "arn:aws:logs:us-east-1:0:log-group:/aws/lambda/f:*"]
        {
            assert_eq!(name_in(arn), "/aws/lambda/f");
        }
    }
}
