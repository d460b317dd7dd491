//! Posts as rows of the table.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use posts::{PostId, User, attribute};
use serde_json::{Value, json};

use crate::dynamodb::{DynamoDb, Failed};
use crate::error::Error;
use crate::known::Known;
use crate::row::{self, Post};
use crate::scan::{Scan, answers};
use crate::writes::Writes;

/// Which part of a list is asked for; without either, all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub after: Option<PostId>,
    pub limit: Option<usize>,
    pub order: Order,
}

/// Which posts come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

impl Part {
    /// Whether a post comes after the one that this part begins after.
    fn holds(&self, id: PostId) -> bool {
        match self.order {
            Order::OldestFirst => self.after.is_none_or(|after| id > after),
            Order::NewestFirst => self.after.is_none_or(|after| id < after),
        }
    }
}

/// The table of the posts.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    client: DynamoDb,
    table: String,
    all: Scan,
    new: Writes,
    known: Arc<Known>,
}

impl Rows {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        let (all, new) = (Scan::new(client.clone(), table.clone()), Writes::new(client.clone(), table.clone()));
        Self { client, table, all, new, known: Arc::default() }
    }

    /// Adds a post, whose id is a new one.
    pub(crate) async fn add(&self, post: &Post<'_>) -> Result<(), Error> {
        self.new.put(item(post)).await?;
        self.known.remember(&post.user, post.id);
        Ok(())
    }

    /// The posts of one user or of all.
    pub(crate) async fn find(&self, user: Option<&User>, part: Part) -> Result<Found, Error> {
        let answers = match user {
            Some(user) => self.query(user, part).await?,
            // A scan has no order, so a part of all posts costs as much as all: what a part saves is our answer.
            None => self.all.answers().await?,
        };
        Ok(Found { answers, part })
    }

    /// Fails with `NoPost` unless this user has this post.
    pub(crate) async fn require(&self, user: &User, id: PostId) -> Result<(), Error> {
        if self.known.holds(user, id) {
            return Ok(());
        }
        let names = json!({ "#id": attribute::ID });
        self.row(&key(user, id), "#id", &names).await?.ok_or(Error::NoPost)?;
        self.known.remember(user, id);
        Ok(())
    }

    /// What a row says of its picture, if anything; fails with `NoPost` unless this user has this post.
    pub(crate) async fn shown(&self, user: &User, id: PostId) -> Result<Option<Value>, Error> {
        let names = json!({ "#id": attribute::ID, "#image": attribute::IMAGE });
        let mut row = self.row(&key(user, id), "#id, #image", &names).await?.ok_or(Error::NoPost)?;
        Ok(row.get_mut(attribute::IMAGE).map(Value::take))
    }

    /// Removes a row unless it shows something else by now; whether it is gone, which it may have been before.
    pub(crate) async fn remove(&self, user: &User, id: PostId, shown: Option<Value>) -> Result<bool, Error> {
        let mut request = json!({
            "TableName": self.table,
            "Key": key(user, id),
            "ConditionExpression": "attribute_not_exists(#image)",
            "ExpressionAttributeNames": { "#image": attribute::IMAGE },
        });
        if let Some(shown) = shown {
            request["ConditionExpression"] = "attribute_not_exists(#image) OR #image = :shown".into();
            request["ExpressionAttributeValues"] = json!({ ":shown": shown });
        }
        let deleted = self.client.call("DeleteItem", &request).await;
        // Also if it failed: the answer may have been lost, and not what was done.
        self.known.forget(id);
        match deleted {
            Ok(_) => Ok(true),
            Err(failed) if failed.is_unmet_condition() => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Asks for a row that is not there, to see whether there is an answer.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let nobody = json!({ attribute::USER: { "S": "?" }, attribute::ID: { "S": "?" } });
        self.row(&nobody, "#id", &json!({ "#id": attribute::ID })).await?;
        Ok(())
    }

    /// These attributes of a row, if it is there.
    async fn row(&self, key: &Value, attributes: &str, names: &Value) -> Result<Option<Value>, Failed> {
        let request = json!({
            "TableName": self.table,
            "Key": key,
            "ConsistentRead": true,
            "ProjectionExpression": attributes,
            "ExpressionAttributeNames": names,
        });
        let answer: Bytes = self.client.call("GetItem", &request).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer.get_mut("Item").map(Value::take).filter(Value::is_object))
    }

    async fn query(&self, user: &User, part: Part) -> Result<Vec<Bytes>, Failed> {
        let mut request = json!({
            "TableName": self.table,
            "ConsistentRead": true,
            "ScanIndexForward": part.order == Order::OldestFirst,
            "KeyConditionExpression": "#user = :user",
            "ExpressionAttributeNames": { "#user": attribute::USER },
            "ExpressionAttributeValues": { ":user": { "S": user.key() } },
        });
        if let Some(after) = part.after {
            request["KeyConditionExpression"] = match part.order {
                Order::OldestFirst => "#user = :user AND #id > :after",
                Order::NewestFirst => "#user = :user AND #id < :after",
            }
            .into();
            request["ExpressionAttributeNames"]["#id"] = attribute::ID.into();
            request["ExpressionAttributeValues"][":after"] = json!({ "S": after.key() });
        }
        // One more than asked for tells whether there are more.
        let enough = part.limit.map(|limit| limit + 1);
        if let Some(enough) = enough {
            request["Limit"] = enough.into();
        }
        answers(&self.client, "Query", request, enough).await
    }
}

/// Posts, in what `DynamoDB` said of them.
pub(crate) struct Found {
    answers: Vec<Bytes>,
    part: Part,
}

impl Found {
    /// They, and whether there are more after this part.
    pub(crate) fn posts(&self) -> Result<(Vec<Post<'_>>, bool), Failed> {
        let Self { answers, part } = self;
        let mut posts = Vec::new();
        for answer in answers {
            posts.extend(row::posts(answer)?.filter(|post| part.holds(post.id)));
        }
        match part.order {
            Order::OldestFirst => posts.sort_unstable_by_key(|post| post.id),
            Order::NewestFirst => posts.sort_unstable_by_key(|post| Reverse(post.id)),
        }
        let more = part.limit.is_some_and(|limit| posts.len() > limit);
        posts.truncate(part.limit.unwrap_or(usize::MAX));
        Ok((posts, more))
    }

    /// How much was said, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.answers.iter().map(Bytes::len).sum()
    }
}

fn key(user: &User, id: PostId) -> Value {
    json!({ attribute::USER: { "S": user.key() }, attribute::ID: { "S": id.key() } })
}

/// The row of a new post.
pub(crate) fn item(post: &Post<'_>) -> Value {
    let Post { id, user, title, body, picture: _, removed: _ } = post; // only the labeler writes of pictures
    let mut item = key(user, *id);
    item[attribute::TITLE] = json!({ "S": title });
    item[attribute::BODY] = json!({ "S": body });
    item
}
