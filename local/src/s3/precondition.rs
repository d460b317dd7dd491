//! Writes that name the state they expect to find: `If-None-Match: *` and `If-Match`.

use http::header;

use crate::answer::{Refusal, Response};
use crate::call::Request;

/// What a write expects of the object that is there.
#[derive(Debug, PartialEq)]
pub(super) enum Precondition {
    /// That there is none.
    Absent,
    /// That it has this entity tag; any object will do for `*`.
    Is(String),
}

/// What this write expects, if it says so.
pub(super) fn of(operation: &str, request: &Request) -> Option<Precondition> {
    let writes = ["PutObject", "CopyObject", "CompleteMultipartUpload"].contains(&operation);
    if writes && request.header("if-none-match").is_some_and(|value| value.trim() == "*") {
        return Some(Precondition::Absent);
    }
    let expected = request.header("if-match").filter(|_| writes || operation == "DeleteObject")?;
    Some(Precondition::Is(bare(expected).to_owned()))
}

impl Precondition {
    /// Compares it with the answer to a `HEAD`.
    pub(super) fn check(&self, there: &Response) -> Result<(), Refusal> {
        let tag = there.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(bare);
        let tag = tag.filter(|_| there.status().is_success());
        match (self, tag) {
            (Precondition::Absent, None) => Ok(()),
            (Precondition::Absent, Some(_)) => Err(failed("If-None-Match")),
            (Precondition::Is(_), None) => Err(Refusal::new(404, "NoSuchKey", "The specified key does not exist.")),
            (Precondition::Is(expected), Some(tag)) if expected == "*" || expected == tag => Ok(()),
            (Precondition::Is(_), Some(_)) => Err(failed("If-Match")),
        }
    }
}

/// Tags come with quotes and without.
fn bare(tag: &str) -> &str {
    tag.trim().trim_matches('"')
}

fn failed(condition: &str) -> Refusal {
    let text = format!("At least one of the pre-conditions you specified did not hold ({condition})");
    Refusal::new(412, "PreconditionFailed", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(status: u16, tag: &str) -> Response {
        http::Response::builder().status(status).header("etag", tag).body(bytes::Bytes::new()).unwrap()
    }

    #[test]
    fn a_write_is_refused_when_the_object_is_not_as_expected() {
        let is = |tag: &str| Precondition::Is(tag.into());
        for (expected, found, code) in [
            (Precondition::Absent, there(404, ""), None),
            (Precondition::Absent, there(200, "\"a\""), Some("PreconditionFailed")),
            (is("a"), there(200, "\"a\""), None),
            (is("*"), there(200, "\"a\""), None),
            (is("b"), there(200, "\"a\""), Some("PreconditionFailed")),
            (is("a"), there(404, ""), Some("NoSuchKey")),
        ] {
            let refused = expected.check(&found).err().map(|refusal| refusal.code);
            assert_eq!(refused.as_deref(), code, "{expected:?}");
        }
    }
}
