//! What `DynamoDB` says of posts, read where it stands: nothing is copied, and texts that are only handed on are neither
//! unescaped nor escaped again.

use std::borrow::Cow;

use memchr::memmem;
use posts::{PostId, User};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A post as it is kept.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub id: PostId,
    pub user: User,
    pub title: Text<'a>,
    pub body: Text<'a>,
    pub picture: Option<Picture<'a>>,
    /// The picture that was removed because it is none that can be shown.
    pub removed: Option<Removed<'a>>,
}

/// What the labeler adds to a post.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub key: Cow<'a, str>,
    pub labels: Vec<Text<'a>>,
    /// Why there are none; absent if the picture was looked at.
    pub reason: Option<Text<'a>>,
}

/// What the labeler says of a picture that it removed: such a row has a reason and no labels.
#[derive(Debug)]
pub(crate) struct Removed<'a> {
    pub key: Text<'a>,
    pub reason: Text<'a>,
}

/// A text that is handed on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text<'a> {
    /// As it is.
    Plain(&'a str),
    /// As JSON has it, with quotes and escapes.
    Json(&'a RawValue),
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => text.serialize(serializer),
            Self::Json(text) => text.serialize(serializer),
        }
    }
}

/// A part of what a query or a scan finds.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    #[serde(borrow, default)]
    items: Vec<Row<'a>>,
}

/// The attributes of [`posts::attribute`] that a row has; others are passed over.
#[derive(Deserialize)]
#[serde(bound = "'de: 'a")]
struct Row<'a> {
    user: Option<Typed<'a>>,
    id: Option<Typed<'a>>,
    title: Option<Typed<'a>>,
    body: Option<Typed<'a>>,
    image: Option<Typed<'a>>,
    labels: Option<Typed<'a>>,
    refused: Option<Typed<'a>>,
}

/// A value behind the name of its type, `{"S":"a text"}`: all types that there are, in order of their frequency.
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

/// The posts of one answer. A row that is no post is left out: one stray row must not take the list from everybody.
pub(crate) fn posts(answer: &[u8]) -> Result<impl Iterator<Item = Post<'_>>, serde_json::Error> {
    let answer = std::str::from_utf8(answer).map_err(serde_json::Error::custom)?;
    let Page { items } = serde_json::from_str(answer)?;
    Ok(items.into_iter().filter_map(Row::post))
}

/// Where the page behind this answer begins, if there is one.
pub(crate) fn next(answer: &[u8]) -> Result<Option<Value>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Page {
        last_evaluated_key: Option<Value>,
    }
    // Nearly always there is none. No text can hold the name like this: a quote in a text has a backslash before it.
    if memmem::find(answer, b"\"LastEvaluatedKey\"").is_none() {
        return Ok(None);
    }
    let Page { last_evaluated_key: key } = serde_json::from_slice(answer)?;
    Ok(key.filter(|key| key.as_object().is_some_and(|key| !key.is_empty())))
}

impl<'a> Row<'a> {
    fn post(self) -> Option<Post<'a>> {
        let handed_on = |value: Option<Typed<'a>>| value.and_then(Typed::text).map(Text::Json);
        let image = self.image.and_then(Typed::text);
        let key = image.and_then(read).filter(|key| !key.is_empty());
        let (labels, reason) = (self.labels.and_then(Typed::texts), handed_on(self.refused));
        let removed = image.map(Text::Json).zip(reason).filter(|_| key.is_some() && labels.is_none());
        Some(Post {
            user: User::from_key(&read(self.user?.text()?)?)?,
            id: PostId::from_key(&read(self.id?.text()?)?)?,
            title: handed_on(self.title).unwrap_or(Text::Plain("")),
            body: handed_on(self.body).unwrap_or(Text::Plain("")),
            picture: key.zip(labels).map(|(key, labels)| Picture { key, labels, reason }),
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

    /// Labels are a list; a set of strings, as other programs may write it, reads the same.
    fn texts(self) -> Option<Vec<Text<'a>>> {
        match self {
            Self::L(values) => values.into_iter().map(|value| value.text().map(Text::Json)).collect(),
            Self::Set(texts) => Some(texts.into_iter().map(Text::Json).collect()),
            Self::S(_) | Self::N(_) => None,
        }
    }
}

/// What a text says.
fn read(json: &RawValue) -> Option<Cow<'_, str>> {
    let inside = json.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

#[cfg(test)]
mod tests {
    use posts::attribute::{BODY, ID, IMAGE, LABELS, REFUSED, TITLE, USER};
    use serde_json::json;

    use super::*;
    use crate::rows::item;

    fn post(title: &str) -> Post<'_> {
        let user = User::parse("ada \"b\"").unwrap();
        Post { id: PostId::new(), user, title: Text::Plain(title), body: Text::Plain(""), picture: None, removed: None }
    }

    /// What is read of a row, as it is told again.
    fn read(row: &Value) -> Option<Value> {
        let answer = json!({ "Count": 1, "Items": [row] }).to_string();
        assert_eq!(next(answer.as_bytes()).unwrap(), None);
        let post = posts(answer.as_bytes()).unwrap().next();
        post.map(|Post { id, user, title, body, picture, removed: _ }| {
            let picture = picture.map(|Picture { key, labels, reason }| json!([key, labels, reason]));
            json!([id.key(), user.key(), title, body, picture])
        })
    }

    #[test]
    fn what_is_written_is_read() {
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
            let post = posts(answer.as_bytes()).unwrap().next().unwrap();
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
    fn a_row_that_is_no_post_is_left_out() {
        for name in [USER, ID] {
            for other in [json!({ "S": "COMMENT#1" }), json!({ "N": "1" }), json!({ "M": { "S": { "S": "x" } } })] {
                let mut item = item(&post(""));
                item[name] = other;
                assert_eq!(read(&item), None);
            }
        }
    }

    #[test]
    fn values_of_every_type_may_stand_beside() {
        let mut item = item(&post("t"));
        let told = read(&item);
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
            assert_eq!(read(&item), told);
        }
        item[TITLE] = json!({ "N": "1" });
        item.as_object_mut().unwrap().remove(BODY);
        assert_eq!(read(&item).unwrap()[2], "");
    }

    #[test]
    fn a_page_names_the_next() {
        let next = |page: Value| next(page.to_string().as_bytes()).unwrap();
        let key = json!({ "id": { "S": "x" } });
        assert_eq!(next(json!({ "Items": [], "LastEvaluatedKey": key })), Some(key));
        assert_eq!(next(json!({ "Items": [], "LastEvaluatedKey": {} })), None);
    }
}
