//! The range or the part of an object that a request asks for.

use std::ops::Range;

use crate::checksum::Sum;
use crate::metadata::set;
use crate::refused;
use crate::request::S3Request;
use crate::store::{Content, Object};
use kit::answer::{Refusal, Response};

/// The bytes of an object that a reader requests.
pub(super) struct Wanted {
    pub(super) range: Range<u64>,
    /// Whether the request asks for a range or a part, even if it covers the whole object.
    pub(super) is_part: bool,
    /// The checksum of exactly these bytes.
    pub(super) sum: Option<Sum>,
}

pub(super) fn wanted(request: &S3Request, object: &Object) -> Result<Wanted, Refusal> {
    let whole = || Wanted { range: 0..object.size, is_part: false, sum: object.sum.clone() };
    match (request.count("partNumber")?, request.header("range")) {
        (Some(_), Some(_)) => {
            let text = "Cannot specify both Range header and partNumber query parameter";
            Err(Refusal::new(400, "InvalidRequest", text))
        }
        (Some(number), None) => part(number, object),
        (None, Some(text)) => Ok(range(text, object.size)?.map_or_else(whole, |range| Wanted {
            sum: object.sum.clone().filter(|_| range == (0..object.size)),
            range,
            is_part: true,
        })),
        (None, None) => Ok(whole()),
    }
}

/// The bytes of a part. An object that was written in one piece has only part 1.
fn part(number: usize, object: &Object) -> Result<Wanted, Refusal> {
    if !(1..=10_000).contains(&number) {
        let text = "Part number must be an integer between 1 and 10000, inclusive";
        return Err(Refusal::new(400, "InvalidArgument", text));
    }
    let Content::Parts(parts) = &object.content else {
        return match number {
            1 => Ok(Wanted { range: 0..object.size, is_part: true, sum: object.sum.clone() }),
            _ => Err(no_part()),
        };
    };
    let at = parts.iter().position(|part| usize::try_from(part.number) == Ok(number)).ok_or_else(no_part)?;
    let begin: u64 = parts[..at].iter().map(|part| part.blob.size).sum();
    Ok(Wanted { range: begin..begin + parts[at].blob.size, is_part: true, sum: parts[at].sum.clone() })
}

fn no_part() -> Refusal {
    Refusal::new(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
}

/// Parses a `Range` header. Returns `None`, for the whole object, if it is invalid or, as on S3, has several ranges.
fn range(text: &str, size: u64) -> Result<Option<Range<u64>>, Refusal> {
    let unsatisfiable = || Refusal::new(416, "InvalidRange", "The requested range is not satisfiable");
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|text| text.split_once('-')) else {
        return Ok(None);
    };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        _ => return Ok(None),
    };
    if range.start >= range.end { Err(unsatisfiable()) } else { Ok(Some(range)) }
}

pub(super) fn refused_range(request: &S3Request, object: &Object, refusal: &Refusal) -> Response {
    let mut answer = refused(refusal, &request.http);
    if refusal.status == 416 {
        set(answer.headers_mut(), "content-range", &format!("bytes */{}", object.size));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_object_or_refused() {
        for (text, found) in [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=8-100", Some(Some(8..10))),
            ("bytes=5-", Some(Some(5..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("bytes=9-18446744073709551615", Some(Some(9..10))),
            ("bytes=4-2", Some(None)),
            ("bytes=0-1,3-4", Some(None)),
            ("lines=1-2", Some(None)),
            ("bytes=-", Some(None)),
            ("bytes=10-", None),
            ("bytes=-0", None),
        ] {
            assert_eq!(range(text, 10).ok(), found, "{text}");
        }
        assert!(range("bytes=0-0", 0).is_err());
    }
}
