//! The filters of a list of parameters.

use kit::answer::Refusal;

use super::Parameter;
use crate::Input;

/// A filter of `DescribeParameters`.
pub(super) struct Filter<'a> {
    key: &'a str,
    option: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    pub(super) fn parse(input: Input<'a>) -> Result<Filter<'a>, Refusal> {
        let (key, option) = (input.required("Key")?, input.text("Option").unwrap_or("Equals"));
        input.bound(&[("Key", 1..=132), ("Values", 1..=50)])?;
        input.bound_each("Values", 1..=1024)?;
        let is_known = match option {
            "Equals" => key == "Name" || key == "Type" || key.len() > 4 && key.starts_with("tag:"),
            "BeginsWith" | "Contains" => key == "Name",
            _ => false,
        };
        match is_known {
            true => Ok(Filter { key, option, values: input.list("Values") }),
            false => {
                Err(kit::parameters::refusal(format!("the local AWS does not carry out the filter {key} {option}")))
            }
        }
    }

    pub(super) fn fits(&self, name: &str, parameter: &Parameter) -> bool {
        let has = |text: &str| match self.option {
            "BeginsWith" => self.values.iter().any(|value| text.starts_with(value)),
            "Contains" => self.values.iter().any(|value| text.contains(value)),
            _ => self.values.contains(&text),
        };
        match self.key.strip_prefix("tag:") {
            Some(key) => parameter.tags.get(key).is_some_and(|text| self.values.is_empty() || has(text)),
            None if self.key == "Type" => has(&parameter.kind),
            None => has(name),
        }
    }
}
