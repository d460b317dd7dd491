//! `Query` and `Scan`: no more than a megabyte at a time, and in segments.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{DynamoDb, calling, contents, invalid, sizes};
use crate::answer::{Refusal, Response};
use crate::call::Request;

/// The items that come after those of earlier pages, with the token of the next page.
fn statement_page(mut answer: Response, skipped: usize, limit: Option<u64>) -> Response {
    let mut found = contents(&answer);
    let Some(items) = found.get_mut("Items").and_then(Value::as_array_mut) else {
        return answer;
    };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let end = skipped.saturating_add(limit).min(items.len());
    let more = end < items.len();
    items.truncate(end);
    items.drain(..skipped.min(items.len()));
    if more {
        found["NextToken"] = json!(end.to_string());
    }
    *answer.body_mut() = Bytes::from(found.to_string());
    answer
}

/// The most segments of a parallel scan.
const MOST_SEGMENTS: u64 = 1_000_000;

/// The part of a table that one of many parallel scans reads.
#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u64,
    of: u64,
}

impl DynamoDb {
    /// winterbaume answers a statement whole: here it comes in pages of as many items as the call wants.
    pub(super) async fn execute(&self, input: &Value) -> Result<Response, Refusal> {
        let limit = match &input["Limit"] {
            Value::Null => None,
            limit => Some(limit.as_u64().filter(|limit| *limit > 0).ok_or_else(|| {
                invalid(&format!(
                    "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
                ))
            })?),
        };
        let skipped = match input["NextToken"].as_str() {
            Some(token) => token.parse().map_err(|_| invalid("NextToken does not match the request"))?,
            None => 0,
        };
        let mut whole = input.clone();
        if let Some(whole) = whole.as_object_mut() {
            whole.remove("Limit");
            whole.remove("NextToken");
        }
        let answer = self.pass(&calling("ExecuteStatement", &whole)).await;
        match answer.status().is_success() {
            true => Ok(statement_page(answer, skipped, limit)),
            false => Ok(answer),
        }
    }

    pub(super) async fn read_page(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let segment = segment(input)?;
        let answer = self.pass(request).await;
        let limited = self.limited(request, input, &answer).await;
        match (segment, limited) {
            (Some(segment), limited) => self.scan_segment(limited.as_ref().unwrap_or(request), segment).await,
            (None, Some(limited)) => Ok(self.pass(&limited).await),
            (None, None) => Ok(answer),
        }
    }

    /// The request with a limit at which a megabyte has been read, if `answer` has read more: winterbaume reads all
    /// there is.
    async fn limited(&self, request: &Request, input: &Value, answer: &Response) -> Option<Request> {
        let whole = ["FilterExpression", "ProjectionExpression", "Select"].iter().all(|name| input[*name].is_null());
        // What came whole and is short in JSON is shorter as DynamoDB counts.
        if whole && answer.body().len() <= sizes::PAGE {
            return None;
        }
        let found = contents(answer);
        let scanned = found["ScannedCount"].as_u64().unwrap_or_default();
        if scanned <= 1 {
            return None;
        }
        let read = match whole {
            true => found,
            false => contents(&self.pass(&with_body(request, &unfiltered(input))).await),
        };
        let mut room = sizes::PAGE;
        let fitting = read["Items"].as_array().into_iter().flatten().take_while(|item| {
            let fits = sizes::size_of(item) <= room;
            room = room.saturating_sub(sizes::size_of(item));
            fits
        });
        let fitting = fitting.count().max(1) as u64;
        (fitting < scanned).then(|| {
            let mut limited = input.clone();
            limited["Limit"] = json!(fitting);
            with_body(request, &limited)
        })
    }

    /// Of a page what belongs to the segment: which one an item is in, the hash of its partition key says.
    async fn scan_segment(&self, request: &Request, segment: Segment) -> Result<Response, Refusal> {
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(hash_key) = self.keys_of(input["TableName"].as_str().unwrap_or_default()).await.into_iter().next()
        else {
            return Ok(self.pass(request).await);
        };
        let (asked, added) = with_key(&input, &hash_key);
        let mut answer = self.pass(&with_body(request, &asked)).await;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let mut found = contents(&answer);
        let is_ours = |item: &Value| segment.has(&item[&hash_key]);
        let scanned = match input["FilterExpression"].is_null() {
            true => found.clone(),
            false => contents(&self.pass(&with_body(request, &unfiltered(&input))).await),
        };
        let scanned = scanned["Items"].as_array().into_iter().flatten().filter(|item| is_ours(item)).count();
        let items = found["Items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let mut items: Vec<Value> = items.into_iter().filter(is_ours).collect();
        if added {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                item.remove(&hash_key);
            }
        }
        found["Count"] = json!(items.len());
        found["ScannedCount"] = json!(scanned);
        found["Items"] = json!(items);
        *answer.body_mut() = Bytes::from(found.to_string());
        Ok(answer)
    }
}

impl Segment {
    fn has(self, partition_key: &Value) -> bool {
        let digest = Sha256::digest(partition_key.to_string().as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % self.of == self.number
    }
}

fn segment(input: &Value) -> Result<Option<Segment>, Refusal> {
    match (input["Segment"].as_u64(), input["TotalSegments"].as_u64()) {
        (None, None) => Ok(None),
        (Some(number), Some(of)) if number < of && of <= MOST_SEGMENTS => Ok(Some(Segment { number, of })),
        (Some(_), None) => Err(invalid(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(invalid(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(number), Some(of)) => Err(invalid(&format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {number} is not less than TotalSegments: {of}, or that is more than {MOST_SEGMENTS}"
        ))),
    }
}

/// The same page with everything that is on it.
fn unfiltered(input: &Value) -> Value {
    let mut whole = input.clone();
    if let Some(whole) = whole.as_object_mut() {
        for name in ["FilterExpression", "ProjectionExpression", "Select"] {
            whole.remove(name);
        }
    }
    whole
}

/// The scan with the partition key among what it gives, and whether it would not have been.
fn with_key(input: &Value, hash_key: &str) -> (Value, bool) {
    const NAME: &str = "#partitionKeyOfTheTable";
    let mut asked = input.clone();
    let Some(projection) = input["ProjectionExpression"].as_str() else {
        return (asked, false);
    };
    let named = |part: &str| {
        let part = part.trim();
        part == hash_key || input["ExpressionAttributeNames"][part] == hash_key
    };
    if projection.split(',').any(named) {
        return (asked, false);
    }
    asked["ProjectionExpression"] = json!(format!("{projection}, {NAME}"));
    if !asked["ExpressionAttributeNames"].is_object() {
        asked["ExpressionAttributeNames"] = json!({});
    }
    asked["ExpressionAttributeNames"][NAME] = json!(hash_key);
    (asked, true)
}

fn with_body(request: &Request, input: &Value) -> Request {
    Request { body: Bytes::from(input.to_string()), ..request.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_one_segment_and_no_segment_has_all() {
        let keys: Vec<Value> = (0..200).map(|number| json!({ "S": format!("USER#{number}") })).collect();
        let held = |number| keys.iter().filter(|key| Segment { number, of: 4 }.has(key)).count();
        let counts: Vec<usize> = (0..4).map(held).collect();
        assert_eq!(counts.iter().sum::<usize>(), keys.len());
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }

    #[test]
    fn a_projection_gets_the_key_it_lacks() {
        let (asked, added) = with_key(&json!({ "ProjectionExpression": "title" }), "user");
        assert!(added && asked["ProjectionExpression"] == "title, #partitionKeyOfTheTable");
        let named = json!({ "ProjectionExpression": "a, #u", "ExpressionAttributeNames": { "#u": "user" } });
        assert!(!with_key(&named, "user").1);
        assert!(!with_key(&json!({}), "user").1);
    }
}
