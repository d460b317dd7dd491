//! Preconditions of reads, copies and writes.

use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::request::S3Request;
use super::xml::unserved;
use kit::answer::Refusal;

/// A write's condition on the existing object.
#[derive(Debug, PartialEq)]
pub(super) enum Precondition {
    Nothing,
    /// There must be none.
    Absent,
    /// It must have this entity tag; `*` matches any object.
    Is(String),
}

/// Parses the precondition of a write.
pub(super) fn of_write(request: &S3Request) -> Result<Precondition, Refusal> {
    match (request.header("if-none-match"), request.header("if-match")) {
        (None, None) => Ok(Precondition::Nothing),
        (Some(value), None) if value.trim() == "*" => Ok(Precondition::Absent),
        (None, Some(expected)) => Ok(Precondition::Is(bare(expected).to_owned())),
        // S3 accepts nothing else either ("Conditional requests").
        (Some(_), None) => Err(unserved("If-None-Match of a write with another value than *")),
        (Some(_), Some(_)) => Err(unserved("If-Match and If-None-Match at once")),
    }
}

impl Precondition {
    /// Checks it against the entity tag of the existing object.
    pub(super) fn check(&self, there: Option<&str>) -> Result<(), Refusal> {
        match (self, there) {
            (Precondition::Nothing, _) | (Precondition::Absent, None) => Ok(()),
            (Precondition::Absent, Some(_)) => Err(failed("If-None-Match")),
            (Precondition::Is(_), None) => Err(Refusal::new(404, "NoSuchKey", "The specified key does not exist.")),
            (Precondition::Is(expected), Some(tag)) if expected == "*" || expected == tag => Ok(()),
            (Precondition::Is(_), Some(_)) => Err(failed("If-Match")),
        }
    }
}

/// The outcome of the preconditions of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Read,
    NotModified,
    Failed,
}

/// Evaluates the preconditions in headers whose names begin with `prefix`. Entity tags take precedence over dates (RFC
/// 9110, 13.2.2).
pub(super) fn of_read(request: &S3Request, prefix: &str, etag: &str, modified: i64) -> Outcome {
    let header = |name: &str| request.header(&format!("{prefix}{name}"));
    let date = |name: &str| header(name).and_then(seconds);
    let modified = modified.div_euclid(1000);
    let has = |tags: &str| tags.split(',').map(bare).any(|tag| tag == "*" || tag == etag);
    match (header("if-match"), date("if-unmodified-since")) {
        (Some(tags), _) if !has(tags) => return Outcome::Failed,
        (None, Some(date)) if modified > date => return Outcome::Failed,
        _ => (),
    }
    match (header("if-none-match"), date("if-modified-since")) {
        (Some(tags), _) if has(tags) => Outcome::NotModified,
        // A date in the future is treated like any other: it shows only that the reader has a copy.
        (None, Some(date)) if modified <= date => Outcome::NotModified,
        _ => Outcome::Read,
    }
}

/// Parses an HTTP date into Unix seconds.
fn seconds(text: &str) -> Option<i64> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    PrimitiveDateTime::parse(text.trim(), format).ok().map(|at| at.assume_utc().unix_timestamp())
}

/// Formats Unix milliseconds as an HTTP date.
pub(super) fn http_date(at: i64) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let at = OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(format).unwrap_or_default()
}

/// An entity tag without quotes and weak prefix: clients send it with and without them.
pub(super) fn bare(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

pub(super) fn failed(condition: &str) -> Refusal {
    let text = format!("At least one of the pre-conditions you specified did not hold ({condition})");
    Refusal::new(412, "PreconditionFailed", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_refused_when_the_object_is_not_as_expected() {
        let is = |tag: &str| Precondition::Is(tag.into());
        for (expected, found, code) in [
            (Precondition::Nothing, Some("a"), None),
            (Precondition::Absent, None, None),
            (Precondition::Absent, Some("a"), Some("PreconditionFailed")),
            (is("a"), Some("a"), None),
            (is("*"), Some("a"), None),
            (is("b"), Some("a"), Some("PreconditionFailed")),
            (is("a"), None, Some("NoSuchKey")),
        ] {
            let refused = expected.check(found).err().map(|refusal| refusal.code);
            assert_eq!(refused.as_deref(), code, "{expected:?}");
        }
    }

    #[test]
    fn dates_are_read_and_written_as_in_http() {
        assert_eq!(seconds("Thu, 01 Jan 2015 00:00:00 GMT"), Some(1_420_070_400));
        assert_eq!(http_date(1_420_070_400_999), "Thu, 01 Jan 2015 00:00:00 GMT");
        assert_eq!(seconds("yesterday"), None);
        assert_eq!((bare(" W/\"a\""), bare("a")), ("a", "a"));
    }
}
