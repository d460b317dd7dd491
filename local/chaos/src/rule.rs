//! A fault rule: the calls it matches, and their fault.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use kit::answer::Refusal;
use kit::call::{Call, Request};
use kit::glob::Glob;

/// The default delay of a slow call.
const SLOW: Duration = Duration::from_secs(3);

/// A rule, as written in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct FaultRule {
    #[serde(rename = "match")]
    pub matching: Match,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Injected>,
    pub latency_ms: u64,
}

impl FaultRule {
    /// How long to delay a call to which the rule applies.
    pub(super) fn latency(&self) -> Duration {
        match (self.latency_ms, &self.fault) {
            (0, Some(Injected::Known(Known::Slow))) => SLOW,
            (time, _) => Duration::from_millis(time),
        }
    }
}

/// A rule before validation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "match", default)]
    matching: Match,
    fault: Option<Injected>,
    #[serde(default)]
    latency_ms: u64,
}

impl TryFrom<Written> for FaultRule {
    type Error = String;

    fn try_from(written: Written) -> Result<FaultRule, String> {
        let Written { matching, fault, latency_ms } = written;
        if matching.nth_call == Some(0) {
            return Err("nth_call counts from 1".to_owned());
        }
        if fault.is_none() && latency_ms == 0 {
            return Err("a rule needs a fault or a latency_ms".to_owned());
        }
        Ok(FaultRule { matching, fault, latency_ms })
    }
}

/// The calls that a rule matches: those that meet all criteria.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Match {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutating: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    /// Text in the path, the query or the body. The bodies of large uploads are on disk and are not searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nth_call: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
}

impl Match {
    pub(super) fn fits(&self, call: &Call, caller: &str, request: &Request) -> bool {
        let Match { service, operation, mutating, caller: from, contains, nth_call: _, times: _ } = self;
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| Glob::stars(wanted).matches(found))
        };
        is(service, &call.service)
            && is(operation, &call.operation)
            && is(from, caller)
            && mutating.is_none_or(|mutating| mutating == call.mutating())
            && contains.as_ref().is_none_or(|text| says(request, text))
    }

    /// Whether the rule applies to the nth matching call: to that one if only `nth_call` is given, to the first ones if
    /// only `times` is given, to all if neither is.
    pub(super) fn hits(&self, n: u64) -> bool {
        let first = self.nth_call.unwrap_or(1);
        let times = self.times.unwrap_or(if self.nth_call.is_some() { 1 } else { u64::MAX });
        n >= first && n - first < times
    }
}

fn says(request: &Request, text: &str) -> bool {
    let in_body = || request.body.windows(text.len()).any(|part| part == text.as_bytes());
    text.is_empty() || request.path.contains(text) || request.query.contains(text) || in_body()
}

/// The fault of a call to which a rule applies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(super) enum Injected {
    Known(Known),
    /// Any error, in the protocol of the service.
    Custom(Refusal),
}

/// A named fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Throttle,
    Internal,
    InternalAfter,
    Unavailable,
    Slow,
    ResetBefore,
    ResetAfter,
    Truncate,
    ExpiredCredentials,
    HoldBefore,
    HoldAfter,
}

const NAMES: &[(&str, Known)] = &[
    ("throttle", Known::Throttle),
    ("500", Known::Internal),
    ("500-after", Known::InternalAfter),
    ("503", Known::Unavailable),
    ("slow", Known::Slow),
    ("reset-before", Known::ResetBefore),
    ("reset-after", Known::ResetAfter),
    ("truncate", Known::Truncate),
    ("expired-credentials", Known::ExpiredCredentials),
    ("hold-before", Known::HoldBefore),
    ("hold-after", Known::HoldAfter),
];

impl TryFrom<Value> for Injected {
    type Error = String;

    fn try_from(written: Value) -> Result<Injected, String> {
        let Some(name) = written.as_str() else {
            let refusal = custom(&written);
            return refusal.map(Injected::Custom).ok_or_else(|| {
                "a fault is a name, or { \"status\": 400, \"code\": \"…\", \"message\": \"…\" }".to_owned()
            });
        };
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, known)) => Ok(Injected::Known(*known)),
            None => {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                Err(format!("there is no fault \"{name}\"; there are {}", names.join(", ")))
            }
        }
    }
}

fn custom(written: &Value) -> Option<Refusal> {
    let status = u16::try_from(written["status"].as_u64()?).ok().filter(|status| (400..600).contains(status))?;
    Some(Refusal::new(status, written["code"].as_str()?, written["message"].as_str().unwrap_or_default()))
}

impl From<Injected> for Value {
    fn from(fault: Injected) -> Value {
        match fault {
            Injected::Known(known) => {
                let name = NAMES.iter().find(|(_, named)| *named == known).map(|(name, _)| *name);
                Value::from(name.unwrap_or_default())
            }
            Injected::Custom(Refusal { status, code, message }) => {
                serde_json::json!({ "status": status, "code": code, "message": message })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_anything() {
        for (pattern, name, fits) in [
            ("PutItem", "PutItem", true),
            ("PutItem", "PutItems", false),
            ("Put*", "PutItem", true),
            ("*Item", "PutItem", true),
            ("*", "", true),
            ("P*t*m", "PutItem", true),
            ("P*x*m", "PutItem", false),
            ("*ab", "ab", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(Glob::stars(pattern).matches(name), fits, "{pattern} {name}");
        }
    }
}
