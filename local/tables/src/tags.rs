//! The tags of tables, with pagination.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Document, DynamoDb, invalid, sizes};
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Effect, Row};

/// The maximum number of tags on a page of `ListTagsOfResource` (`API:dynamodb.ListTagsOfResource`); a table has up to
/// fifty (docs/aws.md §2.5).
const PAGE: usize = 10;

impl DynamoDb {
    /// Validates and paginates tags: dynoxide lists all of them at once, and accepts some that AWS refuses.
    pub(super) async fn on_tags(&self, row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let (operation, Document { input, body }) = (row.name, document);
        let arn = input["ResourceArn"].as_str().unwrap_or_default();
        if arn.starts_with("arn:aws:dynamodb:") && !arn.starts_with(&self.arn("table/")) {
            let text = format!(
                "User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: dynamodb:{operation} on resource: {arn}"
            );
            return Err(Refusal::new(400, "AccessDeniedException", text));
        }
        if operation == "UntagResource" {
            return self.pass(operation, row.effect, body).await;
        }
        let listed = self.pass("ListTagsOfResource", Effect::Reads, json!({ "ResourceArn": arn }).to_string()).await?;
        let found: Value = serde_json::from_slice(listed.body()).unwrap_or_default();
        let there = found["Tags"].as_array().cloned().unwrap_or_default();
        if operation == "TagResource" {
            sizes::check_tags(&input["Tags"], &there)?;
            return self.pass(operation, row.effect, body).await;
        }
        if !listed.status().is_success() {
            return Ok(listed);
        }
        Ok(json_answer(200, Protocol::Json10, &page(there, &input)?))
    }
}

fn key(tag: &Value) -> &str {
    tag["Key"].as_str().unwrap_or_default()
}

/// Returns the requested page. Its token is the last key of the previous page, so that no tag is skipped or repeated
/// while others are added and removed. `Limit` does not exist on AWS; it is used to shorten pages, see
/// `Pagination::Own`.
fn page(mut tags: Vec<Value>, input: &Value) -> Result<Value, Refusal> {
    let limit = input["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let after = match input["NextToken"].as_str() {
        Some(token) => key_in(token).ok_or_else(|| invalid("The provided NextToken is not valid"))?,
        None => String::new(),
    };
    tags.retain(|tag| key(tag) > after.as_str());
    tags.sort_by(|one, other| key(one).cmp(key(other)));
    let more = tags.len() > limit;
    tags.truncate(limit);
    let next = tags.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
    let mut page = json!({ "Tags": tags });
    if let Some(next) = next {
        page["NextToken"] = next.into();
    }
    Ok(page)
}

fn key_in(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(count: usize) -> Vec<Value> {
        (0..count).rev().map(|number| json!({ "Key": format!("k{number:02}"), "Value": "v" })).collect()
    }

    /// Returns the keys of all pages in order.
    fn pages(count: usize, limit: Value) -> Vec<Vec<String>> {
        let mut input = json!({ "Limit": limit });
        let mut pages = Vec::new();
        loop {
            let page = page(tags(count), &input).unwrap();
            pages.push(page["Tags"].as_array().unwrap().iter().map(|tag| key(tag).to_owned()).collect());
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => return pages,
            }
        }
    }

    #[test]
    fn ten_tags_are_a_page_and_pages_follow_each_other_without_gaps() {
        let sizes = |count, limit| pages(count, limit).iter().map(Vec::len).collect::<Vec<_>>();
        for (count, expected) in [(0, vec![0]), (10, vec![10]), (11, vec![10, 1]), (50, vec![10; 5])] {
            assert_eq!(sizes(count, Value::Null), expected, "{count}");
        }
        assert_eq!(sizes(3, json!(1)), [1, 1, 1]);
        let all: Vec<String> = pages(23, Value::Null).concat();
        assert_eq!(all, (0..23).map(|number| format!("k{number:02}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        let refused = page(tags(1), &json!({ "NextToken": "no token!" })).unwrap_err();
        assert_eq!(refused.code, "ValidationException");
    }
}
