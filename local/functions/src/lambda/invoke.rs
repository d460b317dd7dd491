//! Invokes functions, synchronously or asynchronously.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use super::{Function, Lambda};
use crate::Outcome;
use crate::parameter;
use kit::answer::{Refusal, Response, empty};
use kit::call::Request;

/// The maximum payload sizes in bytes (docs/aws.md §7.1 cites the quota page).
const LARGEST_CALL: usize = 6 << 20;
const LARGEST_EVENT: usize = 1 << 20;

impl Lambda {
    pub(super) async fn invoke(&self, name: &str, request: &Request) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let payload = if request.body.is_empty() { Bytes::from_static(b"{}") } else { request.body.clone() };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_err() {
            let text = "Could not parse request body into json";
            return Err(Refusal::new(400, "InvalidRequestContentException", text));
        }
        let kind = request.header("x-amz-invocation-type").unwrap_or("RequestResponse");
        let largest = if kind == "Event" { LARGEST_EVENT } else { LARGEST_CALL };
        if payload.len() > largest {
            let text = format!("{} byte payload is too large (limit {largest} bytes)", payload.len());
            return Err(Refusal::new(413, "RequestTooLargeException", text));
        }
        self.registry.states.refuse_call(&function)?;
        match kind {
            "DryRun" => Ok(empty(204)),
            "Event" => {
                self.accept(&function.name, payload, Duration::ZERO)?;
                Ok(empty(202))
            }
            "RequestResponse" => self.call(self.registry.states.answering(function), payload, request).await,
            _ => Err(parameter(&format!("{kind} is not an invocation type"))),
        }
    }

    async fn call(&self, function: Function, payload: Bytes, request: &Request) -> Result<Response, Refusal> {
        let context = request.header("x-amz-client-context").map(str::to_owned);
        let outcome = self.running.call(&function, payload, context).await;
        let Some(Outcome { payload, failed, tail }) = outcome else {
            return Err(Refusal::new(429, "TooManyRequestsException", "Rate Exceeded."));
        };
        let mut answer = empty(200);
        let headers = answer.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
        if failed {
            headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
        }
        if request.header("x-amz-log-type") == Some("Tail")
            && let Ok(value) = BASE64_STANDARD.encode(tail).parse()
        {
            headers.insert("x-amz-log-result", value);
        }
        *answer.body_mut() = payload;
        Ok(answer)
    }
}
