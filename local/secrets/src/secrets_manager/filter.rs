//! The filters of a list of secrets.

use kit::answer::Refusal;

use super::secret::Secret;
use crate::Input;

/// The most filters of a list, and values of a filter.
pub(super) const MOST_FILTERS: usize = 10;

/// A filter of `ListSecrets`: values are prefixes, and `!` negates one.
pub(super) struct Filter<'a> {
    key: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    pub(super) fn parse(input: Input<'a>) -> Result<Filter<'a>, Refusal> {
        let (key, values) = (input.required("Key")?, input.list("Values"));
        input.needs("Values")?;
        input.bound(&[("Values", 1..=MOST_FILTERS)])?;
        input.bound_each("Values", 0..=512)?;
        match key {
            "name" | "tag-key" | "tag-value" => Ok(Filter { key, values }),
            other => Err(kit::parameters::refusal(format!("the local AWS does not carry out the filter {other}"))),
        }
    }

    pub(super) fn fits(&self, name: &str, secret: &Secret) -> bool {
        let begins = |text: &str, value: &str| text.starts_with(value);
        let has = |value: &str| match self.key {
            "name" => begins(name, value),
            "tag-key" => secret.tags.keys().any(|key| begins(key, value)),
            _ => secret.tags.values().any(|text| begins(text, value)),
        };
        self.values.iter().any(|value| value.strip_prefix('!').map_or_else(|| has(value), |value| !has(value)))
    }
}
