//! The parameters of a call.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use kit::answer::Refusal;
use kit::constraint;

use super::invalid;

/// The parameters of a call.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub(super) &'a Value);

impl<'a> Input<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0[name].as_str()
    }

    pub(super) fn required(self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name).ok_or_else(|| invalid(&constraint::missing(name)))
    }

    /// Returns the number of items on the previous pages, which is the token.
    pub(super) fn skipped(self) -> Result<usize, Refusal> {
        let token = self.text("nextToken").filter(|token| !token.is_empty());
        token.map_or(Ok(0), |token| token.parse().map_err(|_| invalid("The specified nextToken is invalid.")))
    }

    /// Returns the size of a page, which is the largest by default.
    pub(super) fn limit(self, most: usize) -> Result<usize, Refusal> {
        let Some(limit) = self.0["limit"].as_i64() else { return Ok(most) };
        constraint::within("limit", limit, 1..=most as i64).map_err(|text| invalid(&text))?;
        Ok(limit as usize)
    }

    /// Errors: a required list or map is missing.
    pub(super) fn needs(self, name: &str) -> Result<(), Refusal> {
        if self.0[name].is_null() { Err(invalid(&constraint::missing(name))) } else { Ok(()) }
    }

    pub(super) fn list(self, name: &str) -> Vec<&'a str> {
        self.0[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn tags(self) -> BTreeMap<String, String> {
        let tags = self.0["tags"].as_object().into_iter().flat_map(Map::iter);
        tags.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Returns whether a time is in the range of a call, which may or may not include its end.
    pub(super) fn in_time(self, at: i64, with_end: bool) -> bool {
        let bound = |name: &str| self.0[name].as_i64();
        bound("startTime").is_none_or(|start| at >= start)
            && bound("endTime").is_none_or(|end| at < end || with_end && at == end)
    }
}
