//! A function's settings outside of its configuration: tags, asynchronous invocation, concurrency.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Function, Lambda, no_on_event, plain_name, shown, strings};
use crate::{OnEvent, parameter};
use kit::account::AccountKind;
use kit::answer::{Refusal, Response, empty};
use kit::call::Rest;
use kit::parameters;
use kit::tags::{Flaw, STRICT};

impl Lambda {
    pub(super) fn tag(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        self.try_change(name, |function| {
            let added = strings(&input["Tags"]);
            check_tags(&added, &function.tags)?;
            function.tags.extend(added);
            Ok(())
        })?;
        Ok(empty(204))
    }

    pub(super) fn tags(&self, name: &str) -> Result<Response, Refusal> {
        Ok(shown(200, &json!({ "Tags": self.find(name)?.tags })))
    }

    pub(super) fn untag(&self, name: &str, rest: &Rest) -> Result<Response, Refusal> {
        let keys: Vec<&str> = rest.all("tagKeys").collect();
        self.change(name, |function| function.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
        Ok(empty(204))
    }

    /// Replaces the configuration (docs/aws.md §7.5).
    pub(super) fn put_on_event(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        self.set_on_event(name, input, |_| Ok(None))
    }

    /// Changes the configuration, and keeps the settings that the call omits.
    pub(super) fn update_on_event(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        self.set_on_event(name, input, |function| match &function.on_event {
            Some(before) => Ok(Some(before.clone())),
            None => Err(no_on_event(name)),
        })
    }

    fn set_on_event(
        &self,
        name: &str,
        input: &Value,
        before: impl FnOnce(&Function) -> Result<Option<OnEvent>, Refusal>,
    ) -> Result<Response, Refusal> {
        let number = |key: &str, allowed: std::ops::RangeInclusive<u64>, old: Option<u64>| match &input[key] {
            Value::Null => Ok(old),
            value => match value.as_u64().filter(|number| allowed.contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(parameter(&format!("Value {value} at '{key}' is out of range"))),
            },
        };
        let wanted = self.destination(name, &input["DestinationConfig"])?;
        self.try_change(name, |function| {
            let before = before(function)?;
            let old = before.as_ref();
            let on_failure = wanted.unwrap_or_else(|| old.and_then(|old| old.on_failure.clone()));
            function.on_event = Some(OnEvent {
                on_failure,
                retries: number("MaximumRetryAttempts", 0..=2, old.and_then(|old| old.retries))?,
                age_s: number("MaximumEventAgeInSeconds", 60..=21_600, old.and_then(|old| old.age_s))?,
                modified: OffsetDateTime::now_utc().unix_timestamp() as f64,
            });
            Ok(())
        })?;
        Ok(shown(200, &self.find(name)?.on_event_json().unwrap_or_default()))
    }

    /// Returns the destination that a call sets for failed events: `Some(None)` removes it, `None` leaves it unchanged.
    ///
    /// Errors: the function's role may not write there.
    fn destination(&self, name: &str, config: &Value) -> Result<Option<Option<String>>, Refusal> {
        if config["OnSuccess"]["Destination"].is_string() {
            return Err(parameters::refusal("the local AWS has no destinations for successful events".to_owned()));
        }
        let arn = match &config["OnFailure"] {
            Value::Null => return Ok(config.is_object().then_some(None)),
            on_failure => on_failure["Destination"].as_str().filter(|arn| !arn.is_empty()),
        };
        let Some(arn) = arn else { return Ok(Some(None)) };
        let function = self.find(name)?;
        let service = arn.split(':').nth(2).unwrap_or_default();
        match service {
            "s3" => {}
            "sqs" | "sns" | "lambda" | "events" => {
                return Err(parameters::refusal(format!("the local AWS does not send events to {service}")));
            }
            _ => return Err(parameter(&format!("The destination ARN {arn} is invalid."))),
        }
        if let Some(denied) = self.running.denied_destination(&function, arn) {
            let text = format!("The function's execution role does not have permissions to call {denied} on {arn}");
            return Err(parameter(&text));
        }
        let bucket = arn.rsplit(':').next().unwrap_or_default();
        let objects = self.objects.get().and_then(std::sync::Weak::upgrade);
        match objects.is_some_and(|objects| objects.has_bucket(bucket)) {
            true => Ok(Some(Some(arn.to_owned()))),
            false => Err(parameter(&format!("The destination ARN {arn} is invalid."))),
        }
    }

    pub(super) fn on_event(&self, name: &str) -> Result<Response, Refusal> {
        Ok(shown(200, &self.find(name)?.on_event_json().ok_or_else(|| no_on_event(name))?))
    }

    pub(super) fn on_events(&self, name: &str) -> Result<Response, Refusal> {
        let config = self.find(name)?.on_event_json();
        Ok(shown(200, &json!({ "FunctionEventInvokeConfigs": config.into_iter().collect::<Vec<_>>() })))
    }

    pub(super) fn delete_on_event(&self, name: &str) -> Result<Response, Refusal> {
        self.try_change(name, |function| function.on_event.take().map(|_| ()).ok_or_else(|| no_on_event(name)))?;
        Ok(empty(204))
    }

    pub(super) fn reserve(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let number = input["ReservedConcurrentExecutions"].as_u64();
        let number = number.ok_or_else(|| parameter("ReservedConcurrentExecutions is missing"))?;
        let plain = plain_name(name);
        let mut functions = self.functions();
        let before = functions.clone();
        let others = before.values().filter(|function| function.name != plain);
        let others = others.filter_map(|function| function.reserved).sum::<usize>() as u64;
        let function = functions.get_mut(plain).ok_or_else(|| self.absent(plain))?;
        Quota::of(self.account).check(number, others)?;
        function.reserved = Some(number as usize);
        self.save(&mut functions, before)?;
        drop(functions);
        self.running.retire(plain);
        Ok(shown(200, &concurrency(&self.find(name)?)))
    }

    pub(super) fn reserved(&self, name: &str) -> Result<Response, Refusal> {
        Ok(shown(200, &concurrency(&self.find(name)?)))
    }

    /// Removes a function's reserved concurrency.
    pub(super) fn free(&self, name: &str) -> Result<Response, Refusal> {
        self.change(name, |function| function.reserved = None)?;
        self.running.retire(plain_name(name));
        Ok(empty(204))
    }

    pub(super) fn recursion(&self, name: &str) -> Result<Response, Refusal> {
        self.find(name)?;
        Ok(shown(200, &json!({ "RecursiveLoop": "Terminate" })))
    }

    pub(super) fn url(&self, name: &str) -> Result<Response, Refusal> {
        self.find(name)?;
        Err(Refusal::new(404, "ResourceNotFoundException", "The resource you requested does not exist."))
    }

    pub(super) fn runtime(&self, name: &str) -> Result<Response, Refusal> {
        let arn = self.find(name)?.arn;
        Ok(shown(200, &json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": arn, "RuntimeVersionArn": null })))
    }

    pub(super) fn signing(&self, name: &str) -> Result<Response, Refusal> {
        Ok(shown(200, &json!({ "CodeSigningConfigArn": "", "FunctionName": self.find(name)?.name })))
    }

    /// Returns an empty list, for features that no function has here.
    pub(super) fn none_of(&self, name: &str, list: &str) -> Result<Response, Refusal> {
        self.find(name)?;
        Ok(shown(200, &json!({ list: [] })))
    }

    pub(super) fn sources(&self, rest: &Rest) -> Result<Response, Refusal> {
        if let Some(function) = rest.parameter("FunctionName") {
            self.find(function)?;
        }
        Ok(shown(200, &json!({ "EventSourceMappings": [] })))
    }

    pub(super) fn account(&self) -> Response {
        let functions = self.functions();
        let code: usize = functions.values().map(|function| function.code_bytes).sum();
        let reserved = functions.values().filter_map(|function| function.reserved).sum::<usize>() as u64;
        let Quota { total, .. } = Quota::of(self.account);
        let answer = json!({
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800_u64, "CodeSizeUnzipped": 262_144_000, "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": total, "UnreservedConcurrentExecutions": total.saturating_sub(reserved),
            },
            "AccountUsage": { "TotalCodeSize": code, "FunctionCount": functions.len() },
        });
        shown(200, &answer)
    }
}

/// Checks whether tags can be added to those in `there`. Errors have Lambda's messages, except for reserved keys, for
/// which no message is published.
pub(super) fn check_tags(added: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let pairs = added.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    STRICT.check(pairs, there.keys().map(String::as_str)).map_err(|flaw| match flaw {
        Flaw::TooMany => parameter("Number of tags exceeds resource tag limit."),
        Flaw::Reserved(key) => parameter(&format!("Tag keys that begin with aws: are reserved: {key}")),
        flaw => Refusal::new(400, "ValidationException", flaw.in_map().unwrap_or_default()),
    })
}

/// The concurrency of an account (docs/aws.md §3.3, §14).
struct Quota {
    total: u64,
    /// The concurrency that must remain for functions without a reservation.
    least_unreserved: u64,
}

impl Quota {
    fn of(account: AccountKind) -> Quota {
        match account {
            AccountKind::Standard | AccountKind::NoDefaultVpc => Quota { total: 1000, least_unreserved: 100 },
            // It can only reserve 0, which prevents a function from running.
            AccountKind::Academy => Quota { total: 10, least_unreserved: 10 },
        }
    }

    /// Refuses a reservation that leaves too little for functions without one. `others` is what other functions have
    /// reserved.
    fn check(&self, number: u64, others: u64) -> Result<(), Refusal> {
        let Quota { total, least_unreserved } = *self;
        let left = number.checked_add(others).and_then(|reserved| total.checked_sub(reserved));
        if number == 0 || left.is_some_and(|left| left >= least_unreserved) {
            return Ok(());
        }
        Err(parameter(&format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{least_unreserved}]."
        )))
    }
}

fn concurrency(function: &Function) -> Value {
    match function.reserved {
        Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
        None => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_leaves_enough_to_functions_without_one() {
        for (account, number, others, allowed) in [
            (AccountKind::Standard, 900, 0, true),
            (AccountKind::Standard, 901, 0, false),
            (AccountKind::Standard, 400, 500, true),
            (AccountKind::Standard, 401, 500, false),
            (AccountKind::Standard, 0, 900, true),
            (AccountKind::Standard, u64::MAX, 900, false),
            (AccountKind::Academy, 0, 0, true),
            (AccountKind::Academy, 1, 0, false),
        ] {
            let checked = Quota::of(account).check(number, others);
            assert_eq!(checked.is_ok(), allowed, "{account} {number} {others}");
            let refused = checked.err().map(|refusal| refusal.code);
            assert!(refused.is_none_or(|code| code == "InvalidParameterValueException"));
        }
    }
}
