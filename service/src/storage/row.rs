//! Parses rows from `DynamoDB`'s JSON in place: nothing is copied, and text that is only passed on is neither unescaped
//! nor escaped again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use posts::{PostId, User};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A post as it is stored.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub id: PostId,
    pub user: User,
    pub title: Text<'a>,
    pub body: Text<'a>,
    /// The author's description of the picture.
    pub alt: Option<Text<'a>>,
    pub picture: Option<Picture<'a>>,
    /// The picture that was removed because it cannot be shown.
    pub removed: Option<Removed<'a>>,
}

/// The labeler's result for a picture.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub key: Cow<'a, str>,
    pub labels: Vec<Text<'a>>,
    /// Width and height in pixels, as displayed; absent if unknown.
    pub size: Option<(u32, u32)>,
    /// Why there are no labels; absent if the picture was analysed.
    pub reason: Option<Text<'a>>,
}

/// The labeler's reason for removing a picture: such a row has a reason and no labels.
#[derive(Debug)]
pub(crate) struct Removed<'a> {
    pub key: Text<'a>,
    pub reason: Text<'a>,
}

/// A text that is passed on unchanged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text<'a> {
    /// Unescaped.
    Plain(&'a str),
    /// As JSON, with quotes and escapes.
    Json(&'a RawValue),
}

impl Text<'_> {
    /// Returns the text itself; empty if its escapes are invalid.
    pub(crate) fn read(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Json(json) => read(json).unwrap_or_default(),
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => text.serialize(serializer),
            Self::Json(text) => text.serialize(serializer),
        }
    }
}

/// Rows in one of the formats of DynamoDB's answers.
#[derive(Debug, Clone)]
pub(crate) enum RawRows {
    /// The answer to a query or a scan.
    Page(Bytes),
    /// The answer to `BatchGetItem`.
    Batch(Bytes),
    /// A single row.
    Row(Bytes),
}

impl RawRows {
    /// Returns the posts. Rows that are not posts are skipped, so that a stray row cannot break a list.
    pub(crate) fn posts(&self) -> Result<Vec<Post<'_>>, serde_json::Error> {
        let rows = match self {
            Self::Page(answer) => serde_json::from_str::<Items<Row<'_>>>(text(answer)?)?.items,
            Self::Batch(answer) => {
                let Batch { responses } = serde_json::from_str(text(answer)?)?;
                responses.into_values().flatten().collect()
            }
            Self::Row(row) => vec![serde_json::from_str(text(row)?)?],
        };
        Ok(rows.into_iter().filter_map(Row::post).collect())
    }

    pub(crate) fn len(&self) -> usize {
        let (Self::Page(bytes) | Self::Batch(bytes) | Self::Row(bytes)) = self;
        bytes.len()
    }
}

/// The items of a query or a scan. AWS always includes the list, even if it is empty: an answer without it is not
/// AWS's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Items<T> {
    items: Vec<T>,
}

/// The items of `BatchGetItem`, by table.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "'de: 'a")]
struct Batch<'a> {
    responses: HashMap<Cow<'a, str>, Vec<Row<'a>>>,
}

/// The attributes of [`posts::attribute`] in a row; others are skipped.
#[derive(Deserialize)]
#[serde(bound = "'de: 'a")]
struct Row<'a> {
    user: Option<Typed<'a>>,
    id: Option<Typed<'a>>,
    title: Option<Typed<'a>>,
    body: Option<Typed<'a>>,
    alt: Option<Typed<'a>>,
    image: Option<Typed<'a>>,
    labels: Option<Typed<'a>>,
    refused: Option<Typed<'a>>,
    size: Option<Typed<'a>>,
}

/// A value with the name of its type, `{"S":"a text"}`: all of DynamoDB's types, the most frequent first.
#[derive(Deserialize)]
enum Typed<'a> {
    #[serde(borrow)]
    S(&'a RawValue),
    #[serde(borrow)]
    L(Vec<Typed<'a>>),
    #[serde(rename = "SS", borrow)]
    Set(Vec<&'a RawValue>),
    #[serde(alias = "B", alias = "BOOL", alias = "BS", alias = "M", alias = "NS", alias = "NULL")]
    N(IgnoredAny),
}

/// Returns the byte range of each post in a page.
pub(crate) fn places(page: &[u8]) -> Result<Vec<(PostId, Range<usize>)>, serde_json::Error> {
    let page = text(page)?;
    let Items { items }: Items<&RawValue> = serde_json::from_str(page)?;
    let mut places = Vec::with_capacity(items.len());
    for row in items.iter().map(|item| item.get()) {
        if let Some(post) = serde_json::from_str::<Row<'_>>(row)?.post() {
            let start = row.as_ptr().addr() - page.as_ptr().addr();
            places.push((post.id, start..start + row.len()));
        }
    }
    Ok(places)
}

/// Returns the keys of the posts in a page.
pub(crate) fn keys(page: &[u8]) -> Result<Vec<(PostId, User)>, serde_json::Error> {
    let Items { items }: Items<Row<'_>> = serde_json::from_str(text(page)?)?;
    Ok(items.into_iter().filter_map(Row::post).map(|post| (post.id, post.user)).collect())
}

/// Returns the unprocessed part of a `BatchGetItem`, if there is one.
pub(crate) fn unprocessed(answer: &[u8]) -> Result<Option<Value>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        unprocessed_keys: Map<String, Value>,
    }
    let Answer { unprocessed_keys } = serde_json::from_slice(answer)?;
    Ok(Some(unprocessed_keys).filter(|keys| !keys.is_empty()).map(Value::Object))
}

fn text(answer: &[u8]) -> Result<&str, serde_json::Error> {
    std::str::from_utf8(answer).map_err(serde_json::Error::custom)
}

/// Returns the start key of the next page, if there is one.
pub(crate) fn next(answer: &[u8]) -> Result<Option<Value>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct LastKey {
        last_evaluated_key: Option<Value>,
    }
    // Usually there is none. The name cannot occur like this in a text: quotes in texts are escaped with a backslash.
    if memmem::find(answer, b"\"LastEvaluatedKey\"").is_none() {
        return Ok(None);
    }
    let LastKey { last_evaluated_key: key } = serde_json::from_slice(answer)?;
    match key {
        Some(Value::Object(key)) if key.is_empty() => Ok(None),
        Some(Value::Object(key)) => Ok(Some(Value::Object(key))),
        Some(_) => Err(serde_json::Error::custom("the key of the next page is not an object")),
        None => Ok(None),
    }
}

impl<'a> Row<'a> {
    fn post(self) -> Option<Post<'a>> {
        let handed_on = |value: Option<Typed<'a>>| value.and_then(Typed::text).map(Text::Json);
        let image = self.image.and_then(Typed::text);
        let key = image.and_then(read).filter(|key| !key.is_empty());
        let (labels, reason) = (self.labels.and_then(Typed::texts), handed_on(self.refused));
        let removed = image.map(Text::Json).zip(reason).filter(|_| key.is_some() && labels.is_none());
        let size = self.size.and_then(Typed::text).and_then(read).and_then(|size| read_size(&size));
        Some(Post {
            user: User::from_key(&read(self.user?.text()?)?)?,
            id: PostId::from_key(&read(self.id?.text()?)?)?,
            title: handed_on(self.title).unwrap_or(Text::Plain("")),
            body: handed_on(self.body).unwrap_or(Text::Plain("")),
            alt: handed_on(self.alt),
            picture: key.zip(labels).map(|(key, labels)| Picture { key, labels, size, reason }),
            removed: removed.map(|(key, reason)| Removed { key, reason }),
        })
    }
}

impl<'a> Typed<'a> {
    fn text(self) -> Option<&'a RawValue> {
        match self {
            Self::S(text) => Some(text),
            _ => None,
        }
    }

    /// Labels are a list; a string set, as other programs may write it, is read the same way.
    fn texts(self) -> Option<Vec<Text<'a>>> {
        match self {
            Self::L(values) => values.into_iter().map(|value| value.text().map(Text::Json)).collect(),
            Self::Set(texts) => Some(texts.into_iter().map(Text::Json).collect()),
            Self::S(_) | Self::N(_) => None,
        }
    }
}

/// The unescaped content of a text.
fn read(json: &RawValue) -> Option<Cow<'_, str>> {
    let inside = json.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// Parses `640x400`.
fn read_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| *side > 0);
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use posts::attribute::{ALT, BODY, ID, IMAGE, LABELS, REFUSED, SIZE, TITLE, USER};
    use serde_json::json;

    use super::*;
    use crate::storage::rows::item;

    fn post(title: &str) -> Post<'_> {
        let user = User::parse("ada \"b\"").unwrap();
        let (title, body) = (Text::Plain(title), Text::Plain(""));
        Post { id: PostId::new(), user, title, body, alt: None, picture: None, removed: None }
    }

    /// The fields of a parsed row, as they are sent.
    fn read(row: &Value) -> Option<Value> {
        let answer = json!({ "Count": 1, "Items": [row] }).to_string();
        assert_eq!(next(answer.as_bytes()).unwrap(), None);
        let rows = RawRows::Page(answer.clone().into());
        let posts = rows.posts().unwrap();
        let places = places(answer.as_bytes()).unwrap();
        assert_eq!(places.len(), posts.len());
        for (id, place) in places {
            let alone = RawRows::Row(Bytes::from(answer.clone()).slice(place));
            assert_eq!(alone.posts().unwrap()[0].id, id);
        }
        posts.into_iter().next().map(|Post { id, user, title, body, picture, .. }| {
            let picture = picture.map(|Picture { key, labels, reason, .. }| json!([key, labels, reason]));
            json!([id.key(), user.key(), title, body, picture])
        })
    }

    #[test]
    fn written_values_are_read_back() {
        for title in ["", "t", "\"q\" \\ \n", "é 猫 🐱\u{1}", "\"LastEvaluatedKey\""] {
            let post = post(title);
            let (id, user) = (post.id.key(), post.user.key());
            assert_eq!(read(&item(&post)), Some(json!([id, user, title, "", null])));
        }
    }

    #[test]
    fn a_picture_needs_key_and_labels() {
        let mut item = item(&post(""));
        let mut is = |attributes: &[(&str, Value)], picture: Value| {
            attributes.iter().for_each(|(name, value)| item[*name] = value.clone());
            assert_eq!(read(&item).unwrap()[4], picture, "{attributes:?}");
        };
        let list = json!({ "L": [{ "S": "Cat" }, { "S": "\"q\"" }] });
        is(&[(IMAGE, json!({ "S": "a/\"x\"/y" }))], json!(null));
        is(&[(LABELS, list.clone())], json!(["a/\"x\"/y", ["Cat", "\"q\""], null]));
        is(&[(LABELS, json!({ "SS": ["Cat"] }))], json!(["a/\"x\"/y", ["Cat"], null]));
        is(&[(LABELS, json!({ "L": [] })), (REFUSED, json!({ "S": "empty" }))], json!(["a/\"x\"/y", [], "empty"]));
        is(&[(LABELS, json!({ "L": [{ "N": "1" }] }))], json!(null));
        is(&[(LABELS, list), (IMAGE, json!({ "S": "" }))], json!(null));
    }

    #[test]
    fn a_reason_without_labels_is_of_a_picture_that_was_removed() {
        let mut item = item(&post(""));
        let removed = |item: &Value| {
            let answer = json!({ "Items": [item] }).to_string();
            let rows = RawRows::Page(answer.into());
            let post = rows.posts().unwrap().remove(0);
            post.removed.map(|Removed { key, reason }| json!([key, reason]))
        };
        item[REFUSED] = json!({ "S": "too_large" });
        assert_eq!(removed(&item), None);
        item[IMAGE] = json!({ "S": "a/\"x\"/y" });
        assert_eq!(removed(&item), Some(json!(["a/\"x\"/y", "too_large"])));
        assert_eq!(read(&item).unwrap()[4], Value::Null);
        item[LABELS] = json!({ "L": [] });
        assert_eq!(removed(&item), None);
    }

    #[test]
    fn a_picture_may_have_a_size_and_a_description() {
        let mut item = item(&post(""));
        (item[IMAGE], item[LABELS]) = (json!({ "S": "k" }), json!({ "L": [] }));
        let mut is = |size: Value, expected: Option<(u32, u32)>| {
            item[SIZE] = size.clone();
            item[ALT] = json!({ "S": "a \"cat\"" });
            let rows = RawRows::Page(json!({ "Items": [item] }).to_string().into());
            let post = rows.posts().unwrap().remove(0);
            assert_eq!(post.alt.unwrap().read(), "a \"cat\"");
            assert_eq!(post.picture.unwrap().size, expected, "{size}");
        };
        is(json!({ "S": "640x400" }), Some((640, 400)));
        for bad in ["640", "0x400", "640x", "-1x2", "1x2x3", "99999999999x1"] {
            is(json!({ "S": bad }), None);
        }
        is(json!({ "N": "640" }), None);
    }

    #[test]
    fn a_row_that_is_not_a_post_is_left_out() {
        for name in [USER, ID] {
            for other in [json!({ "S": "COMMENT#1" }), json!({ "N": "1" }), json!({ "M": { "S": { "S": "x" } } })] {
                let mut item = item(&post(""));
                item[name] = other;
                assert_eq!(read(&item), None);
            }
        }
    }

    #[test]
    fn other_attributes_of_any_type_are_skipped() {
        let mut item = item(&post("t"));
        let expected = read(&item);
        for (number, other) in [
            json!({ "N": "1" }),
            json!({ "B": "AA==" }),
            json!({ "BOOL": true }),
            json!({ "NULL": true }),
            json!({ "M": { "a": { "L": [{ "NS": ["1"] }] } } }),
            json!({ "BS": ["AA=="] }),
            json!({ "L": [{ "M": {} }, { "NULL": true }] }),
        ]
        .into_iter()
        .enumerate()
        {
            (item[&format!("more {number}")], item[LABELS]) = (other.clone(), other);
            assert_eq!(read(&item), expected);
        }
        item[TITLE] = json!({ "N": "1" });
        item.as_object_mut().unwrap().remove(BODY);
        assert_eq!(read(&item).unwrap()[2], "");
    }

    #[test]
    fn an_answer_with_missing_or_wrong_members_is_an_error() {
        for answer in [
            "{}",
            r#"{"Items":null}"#,
            r#"{"Items":{}}"#,
            r#"{"Items":[1]}"#,
            r#"{"Items":[{"id":"x"}]}"#,
            "<html>",
            "",
        ] {
            assert!(RawRows::Page(answer.into()).posts().is_err(), "{answer}");
            assert!(keys(answer.as_bytes()).is_err() && places(answer.as_bytes()).is_err(), "{answer}");
        }
        for answer in ["{}", r#"{"Responses":null}"#, r#"{"Responses":{"posts":{}}}"#] {
            assert!(RawRows::Batch(answer.into()).posts().is_err(), "{answer}");
            assert!(unprocessed(answer.as_bytes()).is_err(), "{answer}");
        }
        assert!(RawRows::Page(r#"{"Items":[]}"#.into()).posts().unwrap().is_empty());
        assert!(
            RawRows::Batch(r#"{"Responses":{"posts":[]},"UnprocessedKeys":{}}"#.into()).posts().unwrap().is_empty()
        );
        assert_eq!(unprocessed(br#"{"UnprocessedKeys":{}}"#).unwrap(), None);
    }

    #[test]
    fn a_page_has_the_token_of_the_next() {
        let next = |page: Value| next(page.to_string().as_bytes()).unwrap();
        let key = json!({ "id": { "S": "x" } });
        assert_eq!(next(json!({ "Items": [], "LastEvaluatedKey": key })), Some(key));
        assert_eq!(next(json!({ "Items": [], "LastEvaluatedKey": {} })), None);
    }
}
